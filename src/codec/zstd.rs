//! zstd (RFC 8878), as `zstd -22 --ultra` of the same library version writes it.
//!
//! The kernel's parameters: level 22, whose window is 128 MiB, a checksum of the data, no size in the header. zstd
//! promises no equal bytes across its versions.

use super::parameters::SPLIT_SIZE;
use super::sink::ErrorCapture;
use super::{Codec, Error, Parameters, Result, Sink};
use crate::bytes::len64;
use std::io::{self, Write};
use zstd::bulk::Decompressor;
use zstd::stream::raw::{CParameter, DParameter};
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

/// The largest window that zstd makes on a 64-bit machine, as a power of two: it is only touched as far as the data
/// reaches, so nothing is lost by accepting it.
const WINDOW_LOG_MAX: u32 = if usize::BITS == 64 { 31 } else { 27 };
/// 1 is no overlap: a job that may refer to the data before it must first search through it, which doubles its work
/// and gains less than 0.1 percent.
const NO_OVERLAP: u32 = 1;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let failed = |error: io::Error| Error::library(Codec::Zstd, error);
    let level = parameters.level(Codec::Zstd, 22, 1..=22, "1 to 22")?;
    let mut capture = ErrorCapture::new(out);
    let mut encoder = Encoder::new(&mut capture, i32::try_from(level).unwrap_or(22)).map_err(failed)?;
    let mut set = |parameter| encoder.set_parameter(parameter).map_err(failed);
    set(CParameter::ChecksumFlag(true))?;
    let asked = parameters.dictionary.map(window_log).transpose()?;
    if let Some(window) = asked {
        set(CParameter::WindowLog(window))?;
    }
    if parameters.split {
        set(CParameter::NbWorkers(parameters.threads32()))?;
        set(CParameter::JobSize(SPLIT_SIZE))?;
        set(CParameter::OverlapSizeLog(NO_OVERLAP))?;
        // A job cannot refer beyond itself: a larger window is only memory.
        let window = window_log(SPLIT_SIZE.into())?;
        set(CParameter::WindowLog(asked.map_or(window, |asked| asked.min(window))))?;
    }
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish().map(|_| ()));
    capture.result(Codec::Zstd, done)
}

/// A window is a power of two.
fn window_log(window: u64) -> Result<u32> {
    let log = window.checked_ilog2().unwrap_or(0);
    if window.is_power_of_two() && (10..=27).contains(&log) {
        return Ok(log);
    }
    let allowed = "the powers of two from 1 KiB to 128 MiB";
    Err(Error::Range { codec: Codec::Zstd, option: "`request.dictionary`", value: window, allowed })
}

/// Checks the checksum and the size where the frame has them.
///
/// A decoder and its buffers take longer to make than a small frame to decode: behind a small one another is expected, and first
/// decoded by the one decoder that the sink holds for such.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    if let Some((data, consumed)) = sink.is_behind_small().then(|| small(bytes, sink)).flatten() {
        sink.put(&data)?;
        return Ok(consumed);
    }
    let damaged = |error: io::Error| sink.damaged(0, error.to_string());
    let mut decoder = Decoder::with_buffer(bytes).map_err(damaged)?.single_frame();
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(damaged)?;
    sink.take(&mut decoder, |decoder| len64(bytes) - len64(decoder.get_ref()))
}

/// Decodes a frame of few bytes, and says how long it is. `None` for any other, whatever is wrong with it.
fn small(bytes: &[u8], sink: &mut Sink<'_>) -> Option<(Vec<u8>, u64)> {
    let frame = bytes.get(..zstd::zstd_safe::find_frame_compressed_size(bytes).ok()?)?;
    let decoder = match &mut sink.decompressor {
        Some(decoder) => decoder,
        none => none.insert(Decompressor::new().ok()?),
    };
    let data = decoder.decompress(frame, usize::try_from(Sink::SMALL).ok()?).ok()?;
    Some((data, len64(frame)))
}
