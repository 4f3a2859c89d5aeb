//! S/390 `bzImage` and `image`: what is loaded to address 0, by a program of channel commands in its first bytes or by a
//! boot loader.
//!
//! Source: arch/s390/boot/head.S and arch/s390/include/asm/setup.h, Linux 2.6.12 to 7.2; arch/s390/kernel/head.S before
//! Linux 4.18.

use crate::bytes::{Cursor, Field, len64, slice, until_zero};
use std::ops::Range;

/// The first two channel commands: read the next card twice, to 0x18 and 0x68 (Principles of Operation, "CCW").
const COMMANDS: &[u8] = b"\x02\0\0\x18\x60\0\0\x50\x02\0\0\x68\x60\0\0\x50";
const COMMANDS_AT: u64 = 8;
/// `KERNEL_VERSION_OFFSET`, the address of a text; no such word before Linux 5.1.
const VERSION_AT: u64 = 0x1_0428;
/// `COMMAND_LINE`, and the longest that there is room for.
const CMDLINE_AT: u64 = 0x1_0480;
const CMDLINE_MAX: u64 = 4096;

/// Fields of the header.
pub(crate) const FIELDS: &[Field] = &[Field::new("kernel_version", VERSION_AT, 8)];

/// Do `bytes` begin with the channel commands, and reach to the parameters?
pub(crate) fn detect(bytes: &[u8]) -> bool {
    slice(bytes, COMMANDS_AT, len64(COMMANDS)) == Some(COMMANDS) && len64(bytes) > CMDLINE_AT
}

/// File offsets of the command line that is used when none is given, without its NUL; `None` when there is none.
pub(crate) fn cmdline(bytes: &[u8]) -> Option<Range<u64>> {
    let room = slice(bytes, CMDLINE_AT, CMDLINE_MAX.min(len64(bytes).checked_sub(CMDLINE_AT)?))?;
    let text = until_zero(room);
    let is_text = !text.is_empty() && text.len() < room.len() && text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    is_text.then(|| CMDLINE_AT..CMDLINE_AT + len64(text))
}

/// The text that tells the kernel's version: release, builder, build number and time.
pub(crate) fn version(bytes: &[u8]) -> Option<&[u8]> {
    const MOST: u64 = 256;
    let at = Cursor::new(bytes, crate::bytes::Endian::Big).u64("kernel_version", VERSION_AT).ok()?;
    let text = until_zero(slice(bytes, at, MOST.min(len64(bytes).checked_sub(at)?))?);
    (at != 0 && text.first()?.is_ascii_digit() && text.iter().all(|byte| matches!(byte, b' '..=b'~'))).then_some(text)
}
