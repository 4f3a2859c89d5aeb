//! LZMA alone (`.lzma`), byte-identical to `lzma -9` of XZ Utils.
//!
//! The header: one byte of properties, the dictionary's size (32 bits), the data's (64 bits, all ones for unknown:
//! an end mark follows). There is no checksum.

use super::parameters::in_range;
use super::{Codec, Error, Parameters, Result, Sink};
use crate::bytes::{Cursor, len64};
use liblzma::bufread::{XzDecoder, XzEncoder};
use liblzma::stream::{LzmaOptions, Stream};
use std::io::{self, Read, Write};

/// The encoder's range (lzma12.h: from LZMA_DICT_SIZE_MIN to 1.5 GiB).
pub(super) const DICTIONARIES: std::ops::RangeInclusive<u32> = 4096..=1536 << 20;
pub(super) const DICTIONARIES_ALLOWED: &str = "4 KiB to 1536 MiB";
/// Nothing smaller is ever needed.
const MIN_DICTIONARY: u64 = 4096;
/// More than one byte of LZMA can say: a decision costs at least 1/45 bit (probabilities are 31/2048 at least), the
/// longest match 273 bytes and 14 decisions, which makes less than 7200 bytes from one.
const MAX_RATIO: u64 = 8192;
/// Bytes of the header.
const HEADER_LEN: usize = 13;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let level = parameters.level(Codec::Lzma, 9, 0..=9, "0 to 9")?;
    let options = options(Codec::Lzma, level, parameters, None)?;
    let stream = Stream::new_lzma_encoder(&options).map_err(|error| Error::library(Codec::Lzma, error))?;
    copy(Codec::Lzma, XzEncoder::new_stream(bytes, stream), out)
}

/// The options of LZMA1 and LZMA2 for a preset; `dictionary` is the kernel's, where it is not the preset's.
pub(super) fn options(
    codec: Codec,
    level: u32,
    parameters: &Parameters,
    dictionary: Option<u32>,
) -> Result<LzmaOptions> {
    let mut options = LzmaOptions::new_preset(level).map_err(|error| Error::library(codec, error))?;
    if dictionary.is_some() || parameters.dictionary.is_some() {
        let kernel = dictionary.unwrap_or_default();
        options.dict_size(parameters.dictionary(codec, kernel, DICTIONARIES, DICTIONARIES_ALLOWED)?);
    }
    let bits = parameters.literal;
    // lc + lp is at most 4: the one that is not given makes room for the one that is.
    let lc = bits.lc.unwrap_or_else(|| 3.min(4_u32.saturating_sub(bits.lp.unwrap_or(0))));
    let lp = bits.lp.unwrap_or(0);
    options.literal_context_bits(in_range(codec, "`request.lc`", lc, 0..=4, "0 to 4")?);
    options.literal_position_bits(in_range(
        codec,
        "`request.lp`",
        lp,
        0..=4_u32.saturating_sub(lc),
        "0 to 4 minus `request.lc`",
    )?);
    options.position_bits(in_range(codec, "`request.pb`", bits.pb.unwrap_or(2), 0..=4, "0 to 4")?);
    Ok(options)
}

/// Writes all that an encoder makes; its failures are kept apart from those of `out`.
pub(super) fn copy(codec: Codec, mut encoder: impl Read, out: &mut dyn Write) -> Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        match encoder.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => out.write_all(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::library(codec, error)),
        }
    }
}

pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    let header = modest_header(bytes).ok_or_else(|| sink.truncated(len64(bytes)))?;
    let rest = bytes.get(HEADER_LEN..).unwrap_or_default();
    let stream = Stream::new_lzma_decoder(u64::MAX).map_err(|error| sink.damaged(0, error.to_string()))?;
    let mut decoder = XzDecoder::new_stream((&header[..]).chain(rest), stream);
    sink.take(&mut decoder, XzDecoder::total_in)
}

/// What a header says.
struct Header {
    properties: u8,
    dictionary: u32,
    /// All ones when it is not known.
    size: u64,
}

/// The properties of nearly every stream: lc=3, lp=0, pb=2.
const USUAL: u8 = 0x5d;

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        let cursor = Cursor::little(bytes.get(..HEADER_LEN)?);
        Some(Header {
            properties: cursor.u8("properties", 0).ok()?,
            dictionary: cursor.u32("dictionary size", 1).ok()?,
            size: cursor.u64("uncompressed size", 5).ok()?,
        })
    }

    /// `(pb * 5 + lp) * 9 + lc`, with `lc + lp` up to 4 (what xz reads) and `pb` up to 4.
    fn has_properties(&self) -> bool {
        let (lc, lp, pb) = (self.properties % 9, self.properties / 9 % 5, self.properties / 45);
        lc + lp <= 4 && pb <= 4
    }

    /// Would an encoder write these numbers?
    fn is_plausible(&self) -> bool {
        let one_and_a_half = self.dictionary % 3 == 0 && (self.dictionary / 3).is_power_of_two();
        let dictionary = self.dictionary >= 1 << 10 && (self.dictionary.is_power_of_two() || one_and_a_half);
        self.has_properties() && dictionary && (self.size == u64::MAX || self.size < 1 << 32)
    }
}

/// Does this begin as a `.lzma` file does? See [`Codec::detect`].
pub(super) fn detect(bytes: &[u8]) -> bool {
    Header::parse(bytes).is_some_and(|header| {
        header.is_plausible() && (header.size == u64::MAX || header.properties == USUAL || decodes(bytes))
    })
}

/// The size of the dictionary by the header, in bytes.
pub(crate) fn dictionary(bytes: &[u8]) -> Option<u32> {
    Cursor::little(bytes).u32("dictionary size", 1).ok()
}

/// Does the first of it decode, whatever the header says of dictionary and size?
pub(super) fn decodes(bytes: &[u8]) -> bool {
    const ENOUGH: u64 = 64 << 10;
    let Some(header) = beginning(bytes) else { return false };
    match Codec::Lzma.decompress_one(bytes, ENOUGH, &mut io::sink()) {
        Ok(inflated) => header.size == u64::MAX || inflated.produced == header.size,
        Err(error) => matches!(error, Error::TooBig { .. }),
    }
}

/// The header, if something may be behind it.
fn beginning(bytes: &[u8]) -> Option<Header> {
    // The first byte of the range coder is always zero (lzma_rc_reset, range_decoder.h); zeros behind it would decode to
    // zeros without end, which no encoder writes.
    let starts =
        matches!(bytes.get(HEADER_LEN..HEADER_LEN + 5), Some([0, code @ ..]) if code.iter().any(|byte| *byte != 0));
    Header::parse(bytes).filter(|header| starts && header.has_properties() && header.size > 0)
}

/// Where streams with other than the usual properties may begin: nothing is decoded, so that whoever tries can count.
pub(super) fn unusual(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(HEADER_LEN + 1).enumerate().filter_map(move |(at, head)| {
        // The quick test: a dictionary of whole 64 KiB, a size below 4 GiB or none, the zero of the range coder.
        let quick =
            matches!(head, [_, 0, 0, _, _, _, _, _, _, 0, 0, 0, 0, 0] | [_, 0, 0, _, _, .., 0xff, 0xff, 0xff, 0xff, 0]);
        let header = quick.then(|| beginning(bytes.get(at..)?)).flatten()?;
        (header.properties != USUAL && header.is_plausible()).then_some(at)
    })
}

/// The header, with a dictionary no larger than what can come out: the decoder allocates as much as the header says.
fn modest_header(bytes: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let mut header: [u8; HEADER_LEN] = *bytes.first_chunk()?;
    let cursor = Cursor::little(&header);
    let dictionary = cursor.u32("dictionary size", 1).ok()?;
    // Unknown is all ones, the largest of numbers.
    let size = cursor.u64("uncompressed size", 5).ok()?;
    let most = size.min(len64(bytes).saturating_mul(MAX_RATIO)).max(MIN_DICTIONARY);
    let modest = u32::try_from(most).unwrap_or(u32::MAX).min(dictionary);
    let (_, after) = header.split_at_mut_checked(1)?;
    after.first_chunk_mut().map(|field: &mut [u8; 4]| *field = modest.to_le_bytes())?;
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gets_no_more_dictionary_than_data() {
        let mut bytes = vec![0x5d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        bytes.resize(100, 0);
        assert_eq!(modest_header(&bytes).unwrap()[1..5], (819_200_u32).to_le_bytes());
        bytes[5..13].copy_from_slice(&5_u64.to_le_bytes());
        assert_eq!(modest_header(&bytes).unwrap()[1..5], (4096_u32).to_le_bytes());
        bytes[1..5].copy_from_slice(&(1024_u32).to_le_bytes());
        assert_eq!(modest_header(&bytes).unwrap()[1..5], (1024_u32).to_le_bytes());
        assert_eq!(modest_header(&bytes[..12]), None);
    }
}
