//! How the kernel's build calls xz (`scripts/xz_wrap.sh`), for a build folder that keeps no compressed kernel to read it
//! from.
//!
//! There are two scripts. Up to Linux 6.11 it gives every ARM kernel the converter for 4-byte instructions, and a
//! dictionary of 32 MiB; from 6.12 on a Thumb-2 kernel gets the one for Thumb, the dictionary has 128 MiB, and literals
//! are coded by the alignment of the instructions. `lib/decompress_unxz.c` changed with it: a decompressor knows the
//! converter of its own script and no other.

use crate::arch::Arch;
use crate::codec::{Bcj, Literal, Parameters};
use crate::elf::Elf;

/// What tells which script it was; each may be missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct XzWrap<'a> {
    /// `scripts/xz_wrap.sh` itself, where the folder has the sources or a link to them.
    pub(super) script: Option<&'a [u8]>,
    /// `.config`
    pub(super) config: Option<&'a [u8]>,
}

impl XzWrap<'_> {
    /// The parameters for this kernel.
    pub(super) fn parameters(&self, vmlinux: &Elf<'_>) -> Parameters {
        let is_new = self.is_new(vmlinux);
        let bcj = match vmlinux.arch() {
            Some(Arch::Arm) if is_new && vmlinux.is_thumb() => Bcj::ArmThumb,
            Some(Arch::Arm) => Bcj::Arm,
            _ => Bcj::X86,
        };
        // The old script leaves xz's own.
        let literal = if is_new { Literal::default() } else { Literal { lc: Some(3), lp: Some(0), pb: None } };
        let dictionary = if is_new { 128 << 20 } else { 32 << 20 };
        Parameters { bcj: Some(bcj), literal, dictionary: Some(dictionary), ..Parameters::default() }
    }

    /// Is it the script from 6.12 on? By itself; else by an option that came with it and stands in `.config`, set or not,
    /// where the kernel has an xz decoder of its own; else by the kernel's release.
    fn is_new(&self, vmlinux: &Elf<'_>) -> bool {
        let names = |text: &[u8], word: &str| memchr::memmem::find(text, word.as_bytes()).is_some();
        match (self.script, self.config) {
            (Some(script), _) => names(script, "--armthumb"),
            (None, Some(config)) if names(config, "CONFIG_XZ_DEC_BCJ") => names(config, "CONFIG_XZ_DEC_ARM64"),
            _ => vmlinux.release().and_then(|release| numbers(&release)).is_none_or(|release| release >= (6, 12)),
        }
    }
}

/// Major and minor number of a release.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
