//! xz, byte-identical to the kernel's xz_wrap.sh with the same parameters.
//!
//! The kernel's: CRC32 (its decoder knows no other check), the branch converter of the CPU, LZMA2 of preset 6 with a
//! dictionary of 128 MiB (32 MiB up to 6.1), its literal coding matched to the alignment of the instructions.

use super::parameters::SPLIT_SIZE;
use super::{Bcj, Codec, Error, Parameters, Result, Sink, lzma};
use liblzma::bufread::{XzDecoder, XzEncoder};
use liblzma::stream::{Check, Filters, MtStreamBuilder, Stream};
use std::io::Write;

/// `dict=128MiB` of scripts/xz_wrap.sh from 6.12 on.
const DICTIONARY: u32 = 128 << 20;
/// xz's own default, which xz_wrap.sh leaves as it is.
const LEVEL: u32 = 6;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let failed = |error: liblzma::stream::Error| Error::library(Codec::Xz, error);
    let filters = filters(bytes, parameters)?;
    let stream = if parameters.split {
        let mut builder = MtStreamBuilder::new();
        builder.threads(parameters.threads32()).block_size(SPLIT_SIZE.into()).filters(filters).check(Check::Crc32);
        builder.encoder().map_err(failed)?
    } else {
        Stream::new_stream_encoder(&filters, Check::Crc32).map_err(failed)?
    };
    lzma::copy(Codec::Xz, XzEncoder::new_stream(bytes, stream), out)
}

fn filters(bytes: &[u8], parameters: &Parameters) -> Result<Filters> {
    let level = parameters.level(Codec::Xz, LEVEL, 0..=9, "0 to 9")?;
    let bcj = parameters.bcj.unwrap_or_else(|| Bcj::of(bytes));
    let mut filters = Filters::new();
    match bcj {
        Bcj::None => &mut filters,
        Bcj::X86 => filters.x86(),
        Bcj::Arm => filters.arm(),
        Bcj::ArmThumb => filters.arm_thumb(),
        Bcj::Arm64 => filters.arm64(),
        Bcj::PowerPc => filters.powerpc(),
        Bcj::RiscV => filters.riscv(),
        Bcj::Sparc => filters.sparc(),
    };
    let mut tuned = parameters.clone();
    let (lc, lp) = match bcj {
        Bcj::None | Bcj::X86 => (None, None),
        // xz_wrap.sh: instructions at even addresses; RISC-V as with CONFIG_RISCV_ISA_C.
        Bcj::ArmThumb | Bcj::RiscV => (None, Some(1)),
        Bcj::Arm | Bcj::Arm64 | Bcj::PowerPc | Bcj::Sparc => (Some(2), Some(2)),
    };
    // Either by the kernel's rule or by the caller's, not half and half.
    if tuned.literal.lc.is_none() && tuned.literal.lp.is_none() {
        tuned.literal.lc = lc;
        tuned.literal.lp = lp;
    }
    let mut options = lzma::options(Codec::Xz, level, &tuned, Some(DICTIONARY))?;
    if parameters.split {
        // A block cannot refer beyond itself: a larger dictionary is only memory.
        let asked = parameters.dictionary(Codec::Xz, DICTIONARY, lzma::DICTIONARIES, lzma::DICTIONARIES_ALLOWED)?;
        options.dict_size(asked.min(SPLIT_SIZE));
    }
    filters.lzma2(&options);
    Ok(filters)
}

/// Checks the CRCs of headers, blocks, index and data.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    let stream = Stream::new_stream_decoder(u64::MAX, 0).map_err(|error| sink.damaged(0, error.to_string()))?;
    let mut decoder = XzDecoder::new_stream(bytes, stream);
    sink.take(&mut decoder, XzDecoder::total_in)
}

/// Bytes of padding between two streams: zeros, a multiple of four (xz-file-format.txt, 2.2).
pub(super) fn padding(rest: &[u8]) -> u64 {
    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
    u64::try_from(zeros - zeros % 4).unwrap_or_default()
}
