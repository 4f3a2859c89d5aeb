//! LZ4's legacy frame, byte-identical to `lz4 -l -9`: the one that the kernel reads.
//!
//! A magic number, then blocks of 8 MiB of data that know nothing of each other, each behind its compressed length
//! (LE32). Nothing marks the end, and there is no checksum (lz4, doc/lz4_Frame_format.md, "Legacy frame").

use super::parallel::in_order;
use super::{Codec, Error, Parameters, Result, Sink};
use crate::bytes::{Cursor, len64};
use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};
use std::io::Write;

pub(super) const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Bytes of data in one block.
const BLOCK: usize = 8 << 20;
/// The most that a block of that much data can need: lz4.h, LZ4_COMPRESSBOUND.
const MAX_PACKED: u64 = (BLOCK + BLOCK / 255 + 16) as u64;
/// More than one byte of a block can say: a length byte stands for at most 255 bytes.
const MAX_RATIO: usize = 256;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let mode = mode(parameters.level(Codec::Lz4Legacy, 9, 1..=12, "1 to 12")?);
    out.write_all(&MAGIC)?;
    let blocks: Vec<&[u8]> = bytes.chunks(BLOCK).collect();
    in_order(
        blocks.len(),
        parameters.threads,
        |index| block(blocks.get(index).copied().unwrap_or_default(), mode),
        |packed| {
            let packed = packed?;
            out.write_all(&u32::try_from(packed.len()).unwrap_or_default().to_le_bytes())?;
            Ok(out.write_all(&packed)?)
        },
    )
}

/// As the command: the fast compressor below level 3.
fn mode(level: u32) -> CompressionMode {
    match i32::try_from(level) {
        Ok(level @ 3..) => CompressionMode::HIGHCOMPRESSION(level),
        _ => CompressionMode::FAST(1),
    }
}

fn block(data: &[u8], mode: CompressionMode) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::library(Codec::Lz4Legacy, error);
    let mut packed = vec![0; compress_bound(data.len()).map_err(failed)?];
    let len = compress_to_buffer(data, Some(mode), false, &mut packed).map_err(failed)?;
    packed.truncate(len);
    Ok(packed)
}

/// May a stream from which `size` bytes came out, and behind which nothing stands, lack blocks? Only its last one has less than
/// 8 MiB.
pub(crate) fn may_go_on(size: u64) -> bool {
    size % BLOCK as u64 == 0
}

/// The stream ends with the input, with zeros as they pad initial RAM disks (a length of 0; lib/decompress_unlz4.c, Linux
/// 5.11 and newer), with a length that none can have, or with four bytes that tell how much data there
/// was: the kernel's size trailer, which for small data looks like a length. Where more follows, it is one behind a block
/// of less than 8 MiB, which only the last one is.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    let cursor = Cursor::little(bytes);
    let mut at = len64(&MAGIC);
    cursor.take("magic number", 0, at).map_err(|error| sink.field(error))?;
    let before = sink.produced();
    let mut buffer = Vec::new();
    let mut is_last = false;
    while at < cursor.len() {
        let word = (cursor.len() - at).min(4);
        if cursor.take("padding", at, word).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0)) {
            break;
        }
        let len = cursor.u32("block length", at).map_err(|error| sink.field(error))?;
        let is_size = u64::from(len) == (sink.produced() - before) & u64::from(u32::MAX);
        if u64::from(len) > MAX_PACKED || (is_size && (is_last || cursor.len() - at == 4)) {
            break;
        }
        let packed = cursor.take("block", at + 4, len.into()).map_err(|error| sink.field(error))?;
        let most = packed.len().saturating_mul(MAX_RATIO).min(BLOCK);
        if buffer.len() < most {
            // Fresh zeros cost nothing where nothing is written, and nothing that was there is needed.
            buffer = vec![0; most];
        }
        let room = i32::try_from(most).unwrap_or(i32::MAX);
        let count = decompress_to_buffer(packed, Some(room), &mut buffer)
            .map_err(|_| sink.damaged(at, "a block that is no LZ4 data, or more than 8 MiB of it"))?;
        sink.put(buffer.get(..count).unwrap_or_default())?;
        is_last = count < BLOCK;
        at += 4 + u64::from(len);
    }
    Ok(at)
}
