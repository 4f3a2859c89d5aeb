//! What a codec can be told; by default it is told what the kernel's build tells it.

use super::{Codec, Error, Result};
use crate::bytes::Cursor;
use std::ops::RangeInclusive;

/// How to compress. The default is what the newest kernel's `scripts/Makefile.lib` asks of the codec's command line.
///
/// What a codec does not know is refused, not ignored; `threads` alone is for all of them, and changes no byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The codec's own scale; `None` is the kernel's: 9, but 6 for xz and 22 for zstd.
    pub level: Option<u32>,
    /// The dictionary (lzma, xz) or window (zstd) in bytes; `None` is the kernel's.
    pub dictionary: Option<u64>,
    /// The branch converter in front of xz; `None` is that of the ELF file's machine.
    pub bcj: Option<Bcj>,
    /// Literal context bits, literal position bits and position bits of lzma and xz, each `None` for the kernel's.
    pub literal: Literal,
    /// How many threads may work; 0 counts as 1.
    pub threads: usize,
    /// xz and zstd: cut the data into pieces of [`SPLIT_SIZE`] that several threads can compress. The result is
    /// larger.
    pub split: bool,
    /// gzip: search for the smallest result instead of level 9.
    pub best: bool,
}

/// How much data `split` puts in one piece, in bytes.
///
/// Measured on Debian's x86-64 kernels 6.1.0-50, 6.1.0-50-cloud and 6.12.111 (53 to 66 MB, each with its relocations), four
/// pieces each: xz grows by 0.15, 0.16 and 0.25 percent, zstd by 0.10, 0.07 and 0.17.
pub const SPLIT_SIZE: u32 = 16 << 20;

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            level: None,
            dictionary: None,
            bcj: None,
            literal: Literal::default(),
            threads: 1,
            split: false,
            best: false,
        }
    }
}

impl Parameters {
    /// Do both ask for the same bytes? The number of threads changes none.
    pub(crate) fn gives_same_bytes(&self, other: &Parameters) -> bool {
        Parameters { threads: 1, ..self.clone() } == Parameters { threads: 1, ..other.clone() }
    }
}

/// How LZMA predicts literals (`lc`, `lp`) and matches (`pb`); `lc` + `lp` is at most 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Literal {
    /// Literal context bits, 0 to 4.
    pub lc: Option<u32>,
    /// Literal position bits, 0 to 4.
    pub lp: Option<u32>,
    /// Position bits, 0 to 4.
    pub pb: Option<u32>,
}

/// The branch converters of xz that the kernel's decoder knows: they turn the relative addresses in jumps and calls
/// into absolute ones, which repeat more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bcj {
    /// None.
    None,
    /// 32- and 64-bit x86.
    X86,
    /// ARM, 4-byte instructions.
    Arm,
    /// ARM Thumb-2.
    ArmThumb,
    /// 64-bit ARM (kernels from 6.12 on).
    Arm64,
    /// PowerPC, big-endian.
    PowerPc,
    /// RISC-V (kernels from 6.12 on).
    RiscV,
    /// SPARC.
    Sparc,
}

/// `e_machine` at offset 18 of both ELF classes (System V ABI, chapter 4).
const E_MACHINE_AT: u64 = 18;

impl Bcj {
    /// Each with the name that `--bcj` takes and its filter id (xz-file-format.txt, 5.3.2).
    const ALL: [(Bcj, &'static str, u64); 8] = [
        (Bcj::None, "none", 0),
        (Bcj::X86, "x86", 4),
        (Bcj::PowerPc, "powerpc", 5),
        (Bcj::Arm, "arm", 7),
        (Bcj::ArmThumb, "armthumb", 8),
        (Bcj::Sparc, "sparc", 9),
        (Bcj::Arm64, "arm64", 10),
        (Bcj::RiscV, "riscv", 11),
    ];

    /// The name that `--bcj` takes.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(bcj, ..)| *bcj == self).map_or("", |(_, name, _)| name)
    }

    /// The one with this filter id.
    pub(super) fn of_filter(id: u64) -> Option<Bcj> {
        Self::ALL.iter().find(|(.., filter)| id != 0 && *filter == id).map(|(bcj, ..)| *bcj)
    }

    /// The one of the machine when `bytes` begin with an ELF file, as the kernel's xz_wrap.sh chooses it; else none.
    ///
    /// A Thumb-2 kernel cannot be told from its ELF header: it needs [`Bcj::ArmThumb`] said.
    pub(crate) fn of(bytes: &[u8]) -> Bcj {
        let big = match bytes {
            [0x7f, b'E', b'L', b'F', _, 1, ..] => false,
            [0x7f, b'E', b'L', b'F', _, 2, ..] => true,
            _ => return Bcj::None,
        };
        let endian = if big { crate::bytes::Endian::Big } else { crate::bytes::Endian::Little };
        match Cursor::new(bytes, endian).u16("e_machine", E_MACHINE_AT) {
            Ok(3 | 62) => Bcj::X86,
            Ok(40) => Bcj::Arm,
            Ok(183) => Bcj::Arm64,
            // The filter knows big-endian instructions only.
            Ok(20 | 21) if big => Bcj::PowerPc,
            Ok(243) => Bcj::RiscV,
            Ok(2 | 18 | 43) => Bcj::Sparc,
            _ => Bcj::None,
        }
    }
}

impl Parameters {
    /// Refuses what `codec` does not know.
    pub(super) fn check(&self, codec: Codec) -> Result<()> {
        let lzma_like = matches!(codec, Codec::Lzma | Codec::Xz);
        let given = [
            ("`request.level`", self.level.is_some() && codec == Codec::None, "the codecs that compress"),
            (
                "`request.dictionary`",
                self.dictionary.is_some() && !lzma_like && codec != Codec::Zstd,
                "lzma, xz and zstd",
            ),
            ("`request.bcj`", self.bcj.is_some() && codec != Codec::Xz, "xz"),
            ("`request.lc`", self.literal.lc.is_some() && !lzma_like, "lzma and xz"),
            ("`request.lp`", self.literal.lp.is_some() && !lzma_like, "lzma and xz"),
            ("`request.pb`", self.literal.pb.is_some() && !lzma_like, "lzma and xz"),
            ("`request.split`", self.split && !matches!(codec, Codec::Xz | Codec::Zstd), "xz and zstd"),
            ("`request.best`", self.best && codec != Codec::Gzip, "gzip"),
        ];
        match given.into_iter().find(|(_, wrong, _)| *wrong) {
            Some((option, _, known_to)) => Err(Error::NotForCodec { codec, option, known_to }),
            None => Ok(()),
        }
    }

    /// The level, or the kernel's.
    pub(super) fn level(
        &self,
        codec: Codec,
        kernel: u32,
        range: RangeInclusive<u32>,
        allowed: &'static str,
    ) -> Result<u32> {
        in_range(codec, "`request.level`", self.level.unwrap_or(kernel), range, allowed)
    }

    /// The dictionary in bytes, or the kernel's.
    pub(super) fn dictionary(
        &self,
        codec: Codec,
        kernel: u32,
        range: RangeInclusive<u32>,
        allowed: &'static str,
    ) -> Result<u32> {
        let Some(value) = self.dictionary else { return Ok(kernel) };
        match u32::try_from(value) {
            Ok(size) => in_range(codec, "`request.dictionary`", size, range, allowed),
            Err(_) => Err(Error::Range { codec, option: "`request.dictionary`", value, allowed }),
        }
    }

    /// As the number that a library's interface wants.
    pub(super) fn threads32(&self) -> u32 {
        u32::try_from(self.threads.max(1)).unwrap_or(u32::MAX)
    }
}

pub(super) fn in_range(
    codec: Codec,
    option: &'static str,
    value: u32,
    range: RangeInclusive<u32>,
    allowed: &'static str,
) -> Result<u32> {
    if range.contains(&value) { Ok(value) } else { Err(Error::Range { codec, option, value: value.into(), allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_codec_does_not_know_is_refused() {
        let split = Parameters { split: true, ..Parameters::default() };
        assert!(split.check(Codec::Xz).is_ok());
        assert_eq!(split.check(Codec::Gzip).unwrap_err().to_string(), "`request.split` means nothing to gzip");
        let level = Parameters { level: Some(10), ..Parameters::default() };
        let error = level.level(Codec::Gzip, 9, 1..=9, "1 to 9").unwrap_err();
        assert_eq!(error.to_string(), "`request.level` 10 for gzip: allowed are 1 to 9");
    }
}
