//! What an ELF file says about itself, for reports.

use super::{Elf, SHT_NOBITS};
use crate::bytes::len64;

/// How every kernel's banner begins (`init/version.c`).
pub(crate) const BANNER: &[u8] = b"Linux version ";

/// The release after `Linux version ` in `bytes`: `6.1.0-50-amd64`.
///
/// Text that only looks like a banner (a format string with `%s`) is passed over: a release begins with a digit.
pub fn release_in(bytes: &[u8]) -> Option<String> {
    find_release(bytes).map(|(_, release)| release)
}

/// The numbers of a release: 5, 10 and 0 for `5.10-rc1`.
pub(crate) fn numbers(release: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

/// Is it an ELF file of class 64? `None` when it is none. The first five bytes tell.
pub(crate) fn is_64_bit_file(bytes: &[u8]) -> Option<bool> {
    let class = bytes.strip_prefix(&object::elf::ELFMAG)?.first()?;
    Some(*class == object::elf::ELFCLASS64.0)
}

/// Where the whole banner stands: from `Linux version 6.1.0` to the end of its line.
///
/// A kernel may have two: from 6.1 on `init/version.c` has a weak one, without the number of the build behind its `#`,
/// for the link to find symbols by; the one that is printed is `init/version-timestamp.c`'s.
pub(crate) fn banner_in(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    // The longest parts are the names of compiler and linker, which the build's configuration limits.
    const LONGEST: usize = 1024;
    let mut banners = releases(bytes).filter_map(|(start, _)| {
        let rest = bytes.get(start..)?;
        let len = memchr::memchr2(b'\n', 0, rest.get(..LONGEST).unwrap_or(rest))?;
        Some((start..start + len, rest.get(..len)?))
    });
    let first = banners.next()?;
    let is_whole = |line: &[u8]| line.windows(3).any(|three| matches!(three, [b' ', b'#', b'0'..=b'9']));
    let whole = if is_whole(first.1) { None } else { banners.find(|(_, line)| is_whole(line)) };
    Some(whole.unwrap_or(first).0)
}

fn find_release(bytes: &[u8]) -> Option<(usize, String)> {
    releases(bytes).next()
}

fn releases(bytes: &[u8]) -> impl Iterator<Item = (usize, String)> {
    memchr::memmem::find_iter(bytes, BANNER).filter_map(|at| {
        let rest = bytes.get(at + BANNER.len()..)?;
        // A release is at most 64 bytes (__NEW_UTS_LEN) and ends at a space.
        let end = rest.iter().take(65).position(|byte| *byte == b' ' || *byte == 0 || *byte == b'\n')?;
        let release = std::str::from_utf8(rest.get(..end)?).ok()?;
        let good = release.starts_with(|c: char| c.is_ascii_digit()) && release.chars().all(|c| c.is_ascii_graphic());
        good.then(|| (at, release.to_owned()))
    })
}

impl Elf<'_> {
    /// The release in the `linux_banner` of a kernel, found in its allocated sections.
    pub(crate) fn release(&self) -> Option<String> {
        let mut read_to = 0;
        self.sections().iter().filter(|section| section.is_alloc() && section.kind != SHT_NOBITS).find_map(|section| {
            let contents = self.contents(section).ok()?;
            // No byte twice: a linker writes section behind section, and thousands that overlap would be a trap.
            let fresh = section.offset >= read_to;
            read_to = read_to.max(section.offset + len64(contents));
            if fresh { release_in(contents) } else { None }
        })
    }
}

impl Elf<'_> {
    /// Is the kernel Thumb-2 code? The address of a Thumb function is odd (ELF for the Arm Architecture, 5.5.3).
    pub(crate) fn is_thumb(&self) -> bool {
        let Ok(mut symbols) = self.symbols() else { return false };
        symbols.find(|symbol| symbol.name == b"start_kernel").is_some_and(|symbol| symbol.value & 1 == 1)
    }

    /// Where the file ends by its own headers: the offset behind the last byte that one of them speaks of. What is there
    /// is no part of it; behind a kernel it is the relocation table. A truncated file ends there all the same.
    pub(crate) fn file_end(&self) -> u64 {
        let sizes = self.encoder();
        let table = |at, size, count: u32| end_of(at, u64::from(count).saturating_mul(size));
        let tables = [
            sizes.file_header_size(),
            table(self.layout.e_phoff, sizes.program_header_size(), self.layout.segment_num),
            table(self.layout.e_shoff, sizes.section_header_size(), self.layout.section_num),
        ];
        let segments = self.segments.iter().map(|segment| end_of(segment.offset, segment.filesz));
        let filled = self.sections.iter().filter(|section| section.is_filled());
        let sections = filled.map(|section| end_of(section.offset, section.size));
        segments.chain(sections).chain(tables).max().unwrap_or_default()
    }
}

/// Where `len` bytes from `at` on end; 0 for none, wherever they are.
pub(super) fn end_of(at: u64, len: u64) -> u64 {
    if len == 0 { 0 } else { at.saturating_add(len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banner_not_format_string() {
        let text = b"..Linux version %s.. Linux version 6.1.0-50-amd64 (builder) gcc";
        assert_eq!(release_in(text).as_deref(), Some("6.1.0-50-amd64"));
        assert_eq!(release_in(b"Linux version "), None);
        assert_eq!(release_in(b"Linux version 6.1"), None);
    }

    #[test]
    fn the_banner_with_the_build_number() {
        let text = b"Linux version 6.12.1 (a@b) (gcc) # SMP\n\0Linux version 6.12.1 (a@b) (gcc) #7 SMP Sat Nov 21\n\0";
        assert_eq!(banner_in(text), Some(40..90));
        let weak = &text[..40];
        assert_eq!(banner_in(weak), Some(0..38));
    }
}
