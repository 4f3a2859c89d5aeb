//! What an ELF file says about itself, for reports.

use super::{Elf, SHT_NOBITS};

/// How every kernel's banner begins (`init/version.c`).
pub const BANNER: &[u8] = b"Linux version ";

/// The release after `Linux version ` in `bytes`: `6.1.0-50-amd64`.
///
/// Text that only looks like a banner (a format string with `%s`) is passed over: a release begins with a digit.
pub fn release_in(bytes: &[u8]) -> Option<String> {
    memchr::memmem::find_iter(bytes, BANNER).find_map(|at| {
        let rest = bytes.get(at + BANNER.len()..)?;
        // A release is at most 64 bytes (__NEW_UTS_LEN) and ends at a space.
        let end = rest.iter().take(65).position(|byte| *byte == b' ' || *byte == 0 || *byte == b'\n')?;
        let release = std::str::from_utf8(rest.get(..end)?).ok()?;
        let good = release.starts_with(|c: char| c.is_ascii_digit()) && release.chars().all(|c| c.is_ascii_graphic());
        good.then(|| release.to_owned())
    })
}

impl Elf<'_> {
    /// The release in the `linux_banner` of a kernel, found in its allocated sections.
    pub fn release(&self) -> Option<String> {
        self.sections()
            .iter()
            .filter(|section| section.is_alloc() && section.kind != SHT_NOBITS)
            .find_map(|section| release_in(self.contents(section).ok()?))
    }
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
}
