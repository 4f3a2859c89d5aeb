//! gzip (RFC 1952), with deflate by zlib-rs, or by libdeflate and zopfli for the smallest result.
//!
//! The header is that of the kernel's `gzip -n -f -9`: no name, no time, Unix. The data is cut into chunks of 1 MiB,
//! each of which may refer to the 32 KiB before it, so that it is still one member and chunks can be compressed
//! side by side. The bytes differ from GNU gzip's, whose rule to end a block is its own; the result is smaller.

use super::parallel::in_order;
use super::{Codec, Error, Parameters, Result, Sink};
use crate::bytes::len64;
use flate2::{Compress, Compression, FlushCompress, Status};
use std::io::Write;
use std::num::NonZeroU64;

/// Bytes of input in one chunk. Each costs the five bytes of an empty stored block and the start of a new block.
const CHUNK: usize = 1 << 20;
/// How far deflate can refer back (RFC 1951, 2).
const WINDOW: usize = 32 << 10;
/// libdeflate's slowest level.
const BEST: i32 = 12;
/// Up to so many bytes zopfli searches as well. It takes some ten times as long for half a percent, which small kernels
/// need to be 3 percent below `gzip -9`, and large ones do not.
const SMALL: usize = 8 << 20;
/// How often zopfli begins again with what it has learned: after five times little more is gained.
const ROUNDS: NonZeroU64 = NonZeroU64::MIN.saturating_add(4);
/// Bytes of data for which zopfli may begin another block. Its default, 15 blocks however large the data, loses to
/// libdeflate.
const BLOCK: usize = 50_000;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let level = parameters.level(Codec::Gzip, 9, 1..=9, "1 to 9")?;
    // XFL: the slowest or the fastest algorithm (RFC 1952, 2.3.1).
    let extra = match level {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra, 3])?;
    let mut checksum = crc32fast::Hasher::new();
    if parameters.best {
        checksum.update(bytes);
        let mut smallest = best(bytes)?;
        if bytes.len() <= SMALL {
            let other = searched(bytes)?;
            if other.len() < smallest.len() {
                smallest = other;
            }
        }
        out.write_all(&smallest)?;
    } else {
        // An empty input is one empty chunk.
        let count = bytes.len().div_ceil(CHUNK).max(1);
        let work = |index: usize| {
            let start = index * CHUNK;
            let end = bytes.len().min(start + CHUNK);
            let chunk = bytes.get(start..end).unwrap_or_default();
            let before = bytes.get(start.saturating_sub(WINDOW)..start).unwrap_or_default();
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(chunk);
            (deflate(before, chunk, level, index + 1 == count), checksum)
        };
        in_order(count, parameters.threads, work, |(deflated, part)| {
            checksum.combine(&part);
            Ok(out.write_all(&deflated?)?)
        })?;
    }
    out.write_all(&checksum.finalize().to_le_bytes())?;
    // ISIZE: modulo 2^32.
    let [a, b, c, d, ..] = len64(bytes).to_le_bytes();
    Ok(out.write_all(&[a, b, c, d])?)
}

/// One chunk as deflate blocks that end on a byte boundary.
fn deflate(before: &[u8], chunk: &[u8], level: u32, last: bool) -> Result<Vec<u8>> {
    let failed = |error: flate2::CompressError| Error::library(Codec::Gzip, error);
    let mut stream = Compress::new(Compression::new(level), false);
    if !before.is_empty() {
        stream.set_dictionary(before).map_err(failed)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut deflated = Vec::with_capacity(chunk.len() / 2 + 1024);
    loop {
        let used = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let rest = chunk.get(used..).unwrap_or_default();
        let status = stream.compress_vec(rest, &mut deflated, flush).map_err(failed)?;
        // Room left means that nothing is held back.
        if status == Status::StreamEnd || (!last && deflated.len() < deflated.capacity()) {
            return Ok(deflated);
        }
        deflated.reserve(64 << 10);
    }
}

fn best(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |what: String| Error::library(Codec::Gzip, what);
    let level = libdeflater::CompressionLvl::new(BEST).map_err(|error| failed(format!("{error:?}")))?;
    let mut compressor = libdeflater::Compressor::new(level);
    let mut deflated = vec![0; compressor.deflate_compress_bound(bytes.len())];
    let len = compressor.deflate_compress(bytes, &mut deflated).map_err(|error| failed(format!("{error:?}")))?;
    deflated.truncate(len);
    Ok(deflated)
}

fn searched(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::library(Codec::Gzip, error);
    let maximum_block_splits = u16::try_from(bytes.len() / BLOCK + 15).unwrap_or(u16::MAX);
    let options = zopfli::Options { iteration_count: ROUNDS, maximum_block_splits, ..zopfli::Options::default() };
    let mut encoder = zopfli::DeflateEncoder::new(options, zopfli::BlockType::Dynamic, Vec::new());
    // In one piece: each call ends a block.
    encoder.write_all(bytes).map_err(failed)?;
    encoder.finish().map_err(failed)
}

/// Checks the CRC-32 and the length behind the data.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    sink.take(&mut decoder, |decoder| len64(bytes) - len64(decoder.get_ref()))
}
