//! What a stream tells of the parameters it was made with, so that the same data can be compressed the same way again.

use super::{Bcj, Codec, Literal, Parameters};
use crate::bytes::{Cursor, Field, FieldError, offset_of};

type Result<T> = std::result::Result<T, FieldError>;

/// Fields of the headers that streams begin with, as reports call them: RFC 1952, 2.3.1 (`MTIME`, `XFL`); bzip2's level;
/// lzma-file-format.txt, 1.1 and 1.2; xz-file-format.txt, 2.1.1.2 (`Stream Flags`, second byte).
pub(crate) const FIELDS: &[Field] = &[
    Field::new("gzip_time", 4, 4),
    Field::new("gzip_level", 8, 1),
    Field::new("block_size", 3, 1),
    Field::new("lzma_properties", 0, 1),
    Field::new("dictionary", 1, 4),
    Field::new("xz_check", 7, 1),
];

/// Reads the headers of the stream that begins `bytes`. Some parameters leave no trace (the level of all but bzip2): they
/// stay the kernel's.
pub(super) fn read(codec: Codec, bytes: &[u8]) -> Result<Parameters> {
    let cursor = Cursor::little(bytes);
    let mut found = Parameters::default();
    match codec {
        // A digit: hundreds of thousands of bytes in a block.
        Codec::Bzip2 => {
            found.level = Some(u32::from(cursor.u8("block size", offset_of(FIELDS, "block_size"))?.wrapping_sub(b'0')))
        }
        Codec::Lzma => {
            let at = offset_of(FIELDS, "lzma_properties");
            found.literal = literal(cursor.u8("properties", at)?, at)?;
            found.dictionary = Some(cursor.u32("dictionary size", offset_of(FIELDS, "dictionary"))?.into());
        }
        Codec::Xz => xz(&cursor, &mut found)?,
        Codec::Zstd => found.dictionary = window(&cursor)?,
        Codec::None | Codec::Gzip | Codec::Lzo | Codec::Lz4Legacy | Codec::Lz4Frame => {}
    }
    Ok(found)
}

/// `(pb * 5 + lp) * 9 + lc` (lzma-file-format.txt, 1.1).
fn literal(properties: u8, at: u64) -> Result<Literal> {
    let value = u32::from(properties);
    if value >= 9 * 5 * 5 {
        return Err(wrong("properties", at, value.into(), "lc, lp and pb in one byte, up to 224"));
    }
    Ok(Literal { lc: Some(value % 9), lp: Some(value / 9 % 5), pb: Some(value / 45) })
}

fn wrong(field: &'static str, at: u64, found: u64, want: &'static str) -> FieldError {
    FieldError::unknown(field, at, found, want).with_help("the stream is damaged")
}

/// The filters of the first block, and the properties in its first LZMA2 chunk (xz-file-format.txt, 3.1 and 5.3).
fn xz(cursor: &Cursor<'_>, found: &mut Parameters) -> Result<()> {
    const BLOCK: u64 = 12;
    let header_len = (u64::from(cursor.u8("block header size", BLOCK)?) + 1) * 4;
    let flags = cursor.u8("block flags", BLOCK + 1)?;
    let mut at = BLOCK + 2;
    for present in [0x40, 0x80] {
        if flags & present != 0 {
            number(cursor, "block size", &mut at)?;
        }
    }
    found.bcj = Some(Bcj::None);
    for _ in 0..=flags & 3 {
        let start = at;
        let id = number(cursor, "filter id", &mut at)?;
        let len = number(cursor, "size of filter properties", &mut at)?;
        let converter = Bcj::of_filter(id);
        if id == 0x21 {
            let code = u32::from(cursor.u8("dictionary size", at)? & 0x3f);
            // 2^n and 2^n + 2^(n-1) in turns; 40 stands for all of 32 bits.
            let size = if code < 40 { u64::from(2 | code & 1) << (code / 2 + 11) } else { u32::MAX.into() };
            found.dictionary = Some(size);
        } else if converter.is_some() {
            found.bcj = converter;
        } else {
            return Err(wrong(
                "filter id",
                start,
                id,
                "LZMA2 (0x21), or a branch converter (0x4 to 0xb) in front of it",
            ));
        }
        at = at.saturating_add(len);
    }
    // The first chunk that is compressed sets the properties; those before it are stored.
    let mut at = BLOCK.saturating_add(header_len);
    loop {
        match cursor.u8("LZMA2 control", at)? {
            0xc0.. => {
                found.literal = literal(cursor.u8("LZMA2 properties", at + 5)?, at + 5)?;
                return Ok(());
            }
            1 | 2 => {
                // Big-endian, less one.
                let [low, high] = cursor.u16("LZMA2 chunk size", at + 1)?.to_le_bytes();
                at = at + 4 + u64::from(u16::from_be_bytes([low, high]));
            }
            _ => return Ok(()),
        }
    }
}

/// A number of up to 63 bits, seven in each byte (xz-file-format.txt, 1.2).
pub(super) fn number(cursor: &Cursor<'_>, field: &'static str, at: &mut u64) -> Result<u64> {
    let (start, mut value) = (*at, 0);
    for shift in (0..63).step_by(7) {
        let byte = cursor.u8(field, *at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(wrong(field, start, value, "a number of at most nine bytes"))
}

/// The window of a frame (RFC 8878, 3.1.1.1.2). `None` for a frame that needs none, and for sizes that the encoder
/// cannot be asked for.
fn window(cursor: &Cursor<'_>) -> Result<Option<u64>> {
    const SINGLE_SEGMENT: u8 = 0x20;
    if cursor.u8("Frame_Header_Descriptor", 4)? & SINGLE_SEGMENT != 0 {
        return Ok(None);
    }
    let descriptor = cursor.u8("Window_Descriptor", 5)?;
    let (exponent, mantissa) = (descriptor >> 3, descriptor & 7);
    Ok((mantissa == 0 && exponent <= 17).then(|| 1 << (10 + exponent)))
}
