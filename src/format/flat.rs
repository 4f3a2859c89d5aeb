//! Kernels without any header, as ARM's `Image`: the banner that the compiler put there tells them.

use super::foreign::Foreign;
use crate::elf::banner_in;

/// Could this be a kernel without a header? It begins with code, is no file system or archive, and has a kernel's banner.
pub(crate) fn is_kernel(bytes: &[u8]) -> bool {
    // A disk image may have a kernel somewhere, too.
    const FAR: usize = 64 << 20;
    // MIPS has its exception vectors first, 0x400 bytes that are filled when it runs.
    const VECTORS: usize = 0x1000;
    let bytes = bytes.get(..FAR).unwrap_or(bytes);
    bytes.iter().take(VECTORS).any(|byte| *byte != 0) && has_banner(bytes)
}

/// Where the banner stands that makes it one.
pub(crate) fn banner_at(bytes: &[u8]) -> Option<u64> {
    banner_in(bytes).and_then(|at| u64::try_from(at.start).ok())
}

/// Has it the banner as the compiler puts it there, unlike that in a log or a document? That is a text with a line end and
/// a NUL, alone: behind a NUL, or where an array of characters begins, behind whatever code or data.
pub(crate) fn has_banner(bytes: &[u8]) -> bool {
    Foreign::detect(bytes).is_none()
        && banner_in(bytes).is_some_and(|at| {
            let before = at.start.checked_sub(1).and_then(|before| bytes.get(before));
            (at.start % 4 == 0 || before == Some(&0)) && bytes.get(at.end..at.end.saturating_add(2)) == Some(b"\n\0")
        })
}
