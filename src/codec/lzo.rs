//! LZO1X in the container of `lzop`, without its clock.
//!
//! lzop stamps the current time into the header, so a kernel that it packed never reproduces; here the time is 0. The
//! container is that of lzop 1.04: a header (big-endian, behind its magic number, closed by an Adler-32), then blocks
//! of at most 256 KiB of data: its length, its compressed length, the Adler-32 of the data, the compressed bytes, or
//! the data itself where it did not shrink. A length of 0 ends it. The kernel's decoder (lib/decompress_unlzo.c)
//! wants just that one checksum.

use super::parallel::in_order;
use super::parameters::in_range;
use super::{Codec, Error, Parameters, Result, Sink};
use crate::bytes::{Cursor, Endian, FieldError, Problem, len64};
use adler2::adler32_slice as adler32;
use std::io::Write;

pub(super) const MAGIC: [u8; 9] = [0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a];
/// Bytes of data in one block: the most that the kernel takes (LZO_BLOCK_SIZE).
const BLOCK: usize = 256 << 10;
/// The most that lzop takes (lzop.h, MAX_BLOCK_SIZE), in bytes.
const MAX_BLOCK: u64 = 64 << 20;
/// More than one byte of a block can say: a zero in a length stands for 255 bytes.
const MAX_RATIO: u64 = 256;

// Versions: of lzop 1.04, of liblzo2 2.10, and the one needed to extract. The headers are laid out as from 0.940 on.
const VERSION: u16 = 0x1040;
const LIBRARY_VERSION: u16 = 0x20a0;
const NEEDED_VERSION: u16 = 0x0940;
/// M_LZO1X_999, the method of `lzop -9`.
const METHOD: u8 = 3;
const LEVEL: u8 = 9;
/// From standard input to standard output, on Unix, and [`ADLER32_DATA`]: what `lzop -9` says in a pipe.
const FLAGS: u32 = 0x0300_0000 | 0x8 | 0x4 | ADLER32_DATA;

// Flags that say what else is there.
const ADLER32_DATA: u32 = 0x1;
const ADLER32_PACKED: u32 = 0x2;
const EXTRA_FIELD: u32 = 0x40;
const CRC32_DATA: u32 = 0x100;
const CRC32_PACKED: u32 = 0x200;
const MULTIPART: u32 = 0x400;
const FILTER: u32 = 0x800;
const CRC32_HEADER: u32 = 0x1000;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    in_range(Codec::Lzo, "`request.level`", parameters.level.unwrap_or(LEVEL.into()), 9..=9, "only 9")?;
    let mut header = Vec::new();
    for version in [VERSION, LIBRARY_VERSION, NEEDED_VERSION] {
        header.extend(version.to_be_bytes());
    }
    header.extend([METHOD, LEVEL]);
    // Flags, mode, time (64 bits in two words).
    for word in [FLAGS, 0, 0, 0] {
        header.extend(word.to_be_bytes());
    }
    // No name.
    header.push(0);
    out.write_all(&MAGIC)?;
    out.write_all(&header)?;
    out.write_all(&adler32(&header).to_be_bytes())?;
    let blocks: Vec<&[u8]> = bytes.chunks(BLOCK).collect();
    in_order(
        blocks.len(),
        parameters.threads,
        |index| block(blocks.get(index).copied().unwrap_or_default()),
        |block| Ok(out.write_all(&block?)?),
    )?;
    Ok(out.write_all(&0_u32.to_be_bytes())?)
}

/// A block with its lengths and its checksum.
fn block(data: &[u8]) -> Result<Vec<u8>> {
    let packed = lzokay::compress::compress(data).map_err(|error| Error::library(Codec::Lzo, format!("{error:?}")))?;
    let body = if packed.len() < data.len() { &packed } else { data };
    let mut block = Vec::with_capacity(12 + body.len());
    for word in [data.len(), body.len()] {
        block.extend(u32::try_from(word).unwrap_or_default().to_be_bytes());
    }
    block.extend(adler32(data).to_be_bytes());
    block.extend(body);
    Ok(block)
}

/// Checks the checksum of the header and, as far as the flags announce them, those of the blocks, compressed and not.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    let cursor = Cursor::new(bytes, Endian::Big);
    let (flags, mut at) = header(cursor).map_err(|error| sink.field(error))?;
    let mut buffer = Vec::new();
    loop {
        match read_block(cursor, flags, at, &mut buffer).map_err(|error| sink.field(error))? {
            (None, next) => return Ok(next),
            (Some(data), next) => {
                sink.put(data)?;
                at = next;
            }
        }
    }
}

type Field<T> = std::result::Result<T, FieldError>;

/// The flags, and where the blocks begin.
fn header(cursor: Cursor<'_>) -> Field<(u32, u64)> {
    let start = len64(&MAGIC);
    cursor.take("magic number", 0, start)?;
    let version = cursor.u16("version", start)?;
    if version < NEEDED_VERSION {
        return Err(FieldError::range("version", start, version, NEEDED_VERSION.into()..=u16::MAX.into())
            .with_help("pack it again with a current lzop"));
    }
    let method = cursor.u8("method", start + 6)?;
    if !(1..=3).contains(&method) {
        return Err(FieldError::range("method", start + 6, method, 1..=3));
    }
    let flags = cursor.u32("flags", start + 8)?;
    if flags & (MULTIPART | FILTER) != 0 {
        return Err(FieldError::unknown("flags", start + 8, flags, "neither parts (0x400) nor a filter (0x800)")
            .with_help("unpack it with lzop"));
    }
    let name_at = start + 24;
    let end = name_at + 1 + u64::from(cursor.u8("name length", name_at)?);
    let covered = cursor.take("header", start, end - start)?;
    let want = if flags & CRC32_HEADER != 0 { crc32fast::hash(covered) } else { adler32(covered) };
    same("checksum of the header", end, cursor.u32("checksum of the header", end)?, want)?;
    let mut at = end + 4;
    if flags & EXTRA_FIELD != 0 {
        // Its length, itself, its checksum.
        let len = u64::from(cursor.u32("extra field length", at)?);
        cursor.take("extra field", at + 4, len + 4)?;
        at += 8 + len;
    }
    Ok((flags, at))
}

/// The data of the block at `at`, `None` at the end, and where the next one begins.
fn read_block<'b>(
    cursor: Cursor<'b>,
    flags: u32,
    mut at: u64,
    buffer: &'b mut Vec<u8>,
) -> Field<(Option<&'b [u8]>, u64)> {
    let begin = at;
    let len = cursor.u32("block length", at)?;
    if len == 0 {
        return Ok((None, at + 4));
    }
    let packed_len = cursor.u32("compressed length", at + 4)?;
    at += 8;
    let range = |value: u32, max: u64| Problem::OutOfRange { value: value.into(), min: 1, max };
    if u64::from(len) > MAX_BLOCK {
        return Err(FieldError::new("block length", begin, range(len, MAX_BLOCK)));
    }
    if packed_len == 0 || packed_len > len {
        return Err(FieldError::new("compressed length", begin + 4, range(packed_len, len.into())));
    }
    let mut checksum = |present: bool| {
        let found = if present { cursor.u32("checksum", at).map(|value| Some((at, value))) } else { Ok(None) };
        at += if present { 4 } else { 0 };
        found
    };
    let data_adler = checksum(flags & ADLER32_DATA != 0)?;
    let data_crc = checksum(flags & CRC32_DATA != 0)?;
    // What is stored as it is has the same checksum twice, of which lzop writes one.
    let is_packed = packed_len < len;
    let packed_adler = checksum(is_packed && flags & ADLER32_PACKED != 0)?;
    let packed_crc = checksum(is_packed && flags & CRC32_PACKED != 0)?;
    let packed = cursor.take("block", at, packed_len.into())?;
    let check = |name, found: Option<(u64, u32)>, want: fn(&[u8]) -> u32, bytes: &[u8]| match found {
        Some((at, found)) => same(name, at, found, want(bytes)),
        None => Ok(()),
    };
    check("Adler-32 of the compressed block", packed_adler, adler32, packed)?;
    check("CRC-32 of the compressed block", packed_crc, crc32fast::hash, packed)?;
    let data = if is_packed {
        let bad = || FieldError::unknown("compressed block", at, packed_len, "LZO data of the block length");
        let most = u64::from(packed_len).saturating_mul(MAX_RATIO);
        let len = usize::try_from(len).ok().filter(|_| u64::from(len) <= most).ok_or_else(bad)?;
        buffer.clear();
        buffer.resize(len, 0);
        match lzokay::decompress::decompress(packed, buffer) {
            Ok(count) if count == len => &buffer[..],
            _ => return Err(bad()),
        }
    } else {
        packed
    };
    check("Adler-32 of the block", data_adler, adler32, data)?;
    check("CRC-32 of the block", data_crc, crc32fast::hash, data)?;
    Ok((Some(data), at + u64::from(packed_len)))
}

fn same(field: &'static str, at: u64, found: u32, want: u32) -> Field<()> {
    if found == want {
        return Ok(());
    }
    Err(FieldError::mismatch(field, at, found, want).with_help("the data is damaged: make or fetch the file again"))
}
