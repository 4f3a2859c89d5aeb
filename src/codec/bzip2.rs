//! bzip2, byte-identical to `bzip2 -9`, on several threads.
//!
//! A bzip2 stream is a chain of blocks that know nothing of each other, at any bit. Where a block ends depends on the
//! data alone: it is full when its first run-length step has made 100000 × level - 19 bytes (bzip2 1.0.8, compress.c,
//! `BZ2_bzCompressInit` and `ADD_CHAR_TO_BLOCK`). So the ends are found first, each block is compressed as a stream of
//! its own, and the blocks are taken out of those streams and joined bit by bit.

use super::parallel::in_order;
use super::{Codec, Error, Parameters, Result, Sink};
use crate::bytes::len64;
use bzip2::{Action, Compress, Compression, Decompress, Status};
use std::io::Write;

/// Bits of a stream's header, `BZh9`.
const HEADER_BITS: usize = 32;
/// Bits of a block's magic number, and of the one that ends the stream.
const MAGIC_BITS: usize = 48;
const END_MAGIC: u64 = 0x1772_4538_5090;
const CRC_BITS: usize = 32;
/// 0 is the library's default of 30, which is that of the command.
const WORK_FACTOR: u32 = 0;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let level = parameters.level(Codec::Bzip2, 9, 1..=9, "1 to 9")?;
    let blocks = blocks(bytes, level);
    let digit = u8::try_from(level).unwrap_or(9) + b'0';
    let mut joined = BitWriter::default();
    joined.bytes.extend([b'B', b'Z', b'h', digit]);
    let mut checksum = 0_u32;
    in_order(
        blocks.len(),
        parameters.threads,
        |index| blocks.get(index).map(|block| block_stream(block, level)),
        |stream| {
            let Some(stream) = stream else { return Ok(()) };
            let stream = stream?;
            let block = block_bits(&stream)?;
            checksum = checksum.rotate_left(1) ^ block.checksum;
            joined.append(&block);
            out.write_all(&joined.bytes)?;
            joined.bytes.clear();
            Ok(())
        },
    )?;
    joined.push(END_MAGIC, MAGIC_BITS);
    joined.push(checksum.into(), CRC_BITS);
    Ok(out.write_all(&joined.finish())?)
}

/// The data of each block.
fn blocks(bytes: &[u8], level: u32) -> Vec<&[u8]> {
    let full = usize::try_from(level).unwrap_or(9) * 100_000 - 19;
    let (mut blocks, mut start, mut made) = (Vec::new(), 0, 0);
    let (mut run_of, mut run) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == run_of && run != 0 && run < 255 {
            run += 1;
            continue;
        }
        // A run of four to 255 becomes four bytes and a count.
        made += if run < 4 { run } else { 5 };
        (run_of, run) = (*byte, 1);
        if made >= full {
            // The run that begins here is still pending and passes into the next block.
            blocks.extend(bytes.get(start..at));
            (start, made) = (at, 0);
        }
    }
    blocks.extend(bytes.get(start..).filter(|rest| !rest.is_empty()));
    blocks
}

/// The block as a stream of its own.
fn block_stream(block: &[u8], level: u32) -> Result<Vec<u8>> {
    let failed = |error: bzip2::Error| Error::library(Codec::Bzip2, error);
    let mut compress = Compress::new(Compression::new(level), WORK_FACTOR);
    // The most that a block can grow to, as the library's manual has it.
    let mut stream = Vec::with_capacity(block.len() + block.len() / 100 + 600);
    loop {
        let used = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = block.get(used..).unwrap_or_default();
        if compress.compress_vec(rest, &mut stream, Action::Finish).map_err(failed)? == Status::StreamEnd {
            return Ok(stream);
        }
        stream.reserve(64 << 10);
    }
}

/// A block inside of its stream.
struct Block<'s> {
    stream: &'s [u8],
    /// The first bit behind it.
    end: usize,
    checksum: u32,
}

fn block_bits(stream: &[u8]) -> Result<Block<'_>> {
    let checksum = bits(stream, HEADER_BITS + MAGIC_BITS, CRC_BITS);
    // The end mark and the checksum are padded to a byte; a stream of one block has that block's checksum twice.
    let mut ends = (0..8).filter_map(|padding| (stream.len() * 8).checked_sub(padding + CRC_BITS + MAGIC_BITS));
    let is_end = |end: &usize| {
        bits(stream, *end, MAGIC_BITS) == END_MAGIC && bits(stream, *end + MAGIC_BITS, CRC_BITS) == checksum
    };
    match ends.find(is_end).filter(|end| *end > HEADER_BITS) {
        Some(end) => Ok(Block { stream, end, checksum: u32::try_from(checksum).unwrap_or_default() }),
        None => Err(Error::library(Codec::Bzip2, "more than one block where one was expected")),
    }
}

/// `count` (at most 56) bits at bit `at`, most significant first; 0 beyond the end.
fn bits(stream: &[u8], at: usize, count: usize) -> u64 {
    let mut value = 0;
    for bit in at..at + count {
        let byte = stream.get(bit / 8).copied().unwrap_or_default();
        value = value << 1 | u64::from(byte >> (7 - bit % 8) & 1);
    }
    value
}

/// Bits, most significant first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// The bits that do not make a byte yet, in the low `pending` bits.
    partial: u64,
    pending: usize,
}

impl BitWriter {
    /// The low `count` (at most 56) bits of `value`.
    fn push(&mut self, value: u64, count: usize) {
        self.partial = self.partial << count | value;
        self.pending += count;
        while self.pending >= 8 {
            self.pending -= 8;
            let [.., byte] = (self.partial >> self.pending).to_be_bytes();
            self.bytes.push(byte);
        }
        self.partial &= (1 << self.pending) - 1;
    }

    /// A block, magic number and all.
    fn append(&mut self, block: &Block<'_>) {
        let (whole, odd) = (block.end / 8, block.end % 8);
        for byte in block.stream.get(HEADER_BITS / 8..whole).unwrap_or_default() {
            self.push((*byte).into(), 8);
        }
        self.push(bits(block.stream, whole * 8, odd), odd);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.pending > 0 {
            self.push(0, 8 - self.pending);
        }
        self.bytes
    }
}

/// Checks the CRC of every block and of the whole.
///
/// The decoder clears room for a whole block first, 3.6 MB with `BZh9`: a file of thousands of small streams would take
/// minutes. Behind a small stream another one is expected, and first decoded as if its blocks were the smallest.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    if let Some((data, consumed)) = sink.is_behind_small().then(|| small(bytes)).flatten() {
        sink.put(&data)?;
        return Ok(consumed);
    }
    let mut decoder = bzip2::bufread::BzDecoder::new(bytes);
    sink.take(&mut decoder, |decoder| len64(bytes) - len64(decoder.get_ref()))
}

/// Decodes a stream of few bytes, and says how long it is. `None` for any other, whatever is wrong with it.
fn small(bytes: &[u8]) -> Option<(Vec<u8>, u64)> {
    // No block, and the checksum of none.
    const EMPTY: [u8; 10] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0, 0, 0, 0];
    let rest = bytes.get(HEADER_BITS / 8..)?;
    if rest.starts_with(&EMPTY) {
        return Some((Vec::new(), len64(&EMPTY) + 4));
    }
    // Less room for the slower way to put a block together, which counts for nothing here.
    let mut decoder = Decompress::new(true);
    let room = usize::try_from(Sink::SMALL).ok()?;
    let mut data = Vec::with_capacity(room + 1);
    decoder.decompress_vec(b"BZh1", &mut data).ok()?;
    let status = decoder.decompress_vec(rest, &mut data).ok()?;
    (status == Status::StreamEnd && data.len() <= room).then(|| (data, decoder.total_in()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_as_the_first_step_makes_them() {
        let lens = |bytes: &[u8]| blocks(bytes, 1).iter().map(|block| block.len()).collect::<Vec<_>>();
        // 255 equal bytes make five: 19997 of those are 99985 of the 99981 that fill a block.
        let zeros = vec![0; 255 * 19_997 + 1];
        assert_eq!(lens(&zeros), [255 * 19_997, 1]);
        assert_eq!(lens(zeros.get(..255 * 19_997).unwrap()), [255 * 19_997]);
        assert!(lens(b"").is_empty());
        let mixed: Vec<u8> = (0..99_982_u32).map(|at| (at % 251) as u8).collect();
        assert_eq!(lens(&mixed), [99_981, 1]);
    }

    #[test]
    fn bits_go_in_and_out() {
        let mut writer = BitWriter::default();
        writer.push(0b101, 3);
        writer.push(END_MAGIC, MAGIC_BITS);
        writer.push(1, 1);
        let bytes = writer.finish();
        assert_eq!(bits(&bytes, 0, 3), 0b101);
        assert_eq!(bits(&bytes, 3, 48), END_MAGIC);
        assert_eq!(bits(&bytes, 51, 5), 0b10000);
    }
}
