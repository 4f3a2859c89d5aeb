//! Layer 2: bytes to fewer bytes and back.
//!
//! [`Codec::detect`] knows the magic of every codec a kernel is packed with. One file a codec holds its two
//! directions, `compress` and `decompress`; the only `match` over them is here. By default a codec is told what the
//! kernel's build tells it ([`Parameters`]).
//!
//! * **Threads change no byte.** How the data is cut depends on the data and the parameters alone.
//! * **No number in a stream is believed.** Decoders hand on what they have in small pieces, check every checksum there
//!   is, and hold at most the window that the data reached into.
//! * **Nothing is found twice.** [`Codec::scan`] reads only as far into a stream as its caller wants to look.

mod bzip2;
mod declared;
mod error;
mod gzip;
mod held;
mod lz4_frame;
mod lz4_legacy;
mod lzma;
mod lzo;
mod none;
mod parallel;
mod parameters;
mod sink;
mod skippable;
mod stream_parameters;
mod xz;
mod zstd;

pub(crate) use declared::{LEAST, PER_BYTE};
pub use error::{Error, Result};
pub(crate) use held::held;
pub(crate) use lz4_legacy::may_go_on;
pub(crate) use lzma::dictionary as lzma_dictionary;
pub use parameters::{Bcj, Literal, Parameters, SPLIT_SIZE};
pub(crate) use stream_parameters::FIELDS;

use crate::bytes::spaced_hex;
use sink::Sink;
use std::io::{self, Write};

/// A compression format of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// The bytes as they are.
    None,
    /// RFC 1952.
    Gzip,
    /// bzip2 1.0.
    Bzip2,
    /// The `.lzma` (LZMA alone) format.
    Lzma,
    /// The `.xz` format.
    Xz,
    /// The `lzop` container.
    Lzo,
    /// LZ4's legacy frame, the one the kernel reads.
    Lz4Legacy,
    /// LZ4's frame format, the one U-Boot reads.
    Lz4Frame,
    /// RFC 8878.
    Zstd,
}

/// What differs from codec to codec.
struct Facts {
    name: &'static str,
    file: &'static str,
    magic: &'static [u8],
    compress: fn(&[u8], &Parameters, &mut dyn Write) -> Result<()>,
    decompress: fn(&[u8], &mut Sink<'_>) -> Result<u64>,
}

/// What a decompression came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inflated {
    /// Bytes of the input that belong to the stream; what is behind them is something else.
    pub consumed: u64,
    /// Bytes that came out.
    pub produced: u64,
    /// Streams one behind the other, which the codec's own command reads as one.
    pub streams: u64,
}

impl Codec {
    /// Every codec that compresses.
    pub const ALL: [Codec; 8] =
        [Codec::Gzip, Codec::Bzip2, Codec::Lzma, Codec::Xz, Codec::Lzo, Codec::Lz4Legacy, Codec::Lz4Frame, Codec::Zstd];

    /// The codec's usual name.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// What a file of it is called: `a gzip file`.
    pub(crate) fn file(self) -> &'static str {
        self.facts().file
    }

    /// How the streams that the kernel's build makes begin; empty for [`Codec::None`].
    ///
    /// Enough to search for candidates (LZMA may have other properties than the usual 0x5d); [`Codec::detect`] decides.
    pub fn magic(self) -> &'static [u8] {
        self.facts().magic
    }

    fn facts(self) -> Facts {
        let facts = |name, file, magic, compress, decompress| Facts { name, file, magic, compress, decompress };
        match self {
            Codec::None => facts("none", "data", b"", none::compress, none::decompress),
            Codec::Gzip => facts("gzip", "a gzip file", &[0x1f, 0x8b, 8], gzip::compress, gzip::decompress),
            Codec::Bzip2 => facts("bzip2", "a bzip2 file", b"BZh", bzip2::compress, bzip2::decompress),
            Codec::Lzma => facts("lzma", "an LZMA file", &[0x5d, 0], lzma::compress, lzma::decompress),
            Codec::Xz => facts("xz", "an xz file", b"\xfd7zXZ\0", xz::compress, xz::decompress),
            Codec::Lzo => facts("lzo", "an lzop file", &lzo::MAGIC, lzo::compress, lzo::decompress),
            Codec::Lz4Legacy => facts(
                "lz4 (legacy frame)",
                "an LZ4 file",
                &lz4_legacy::MAGIC,
                lz4_legacy::compress,
                lz4_legacy::decompress,
            ),
            Codec::Lz4Frame => {
                facts("lz4", "an LZ4 file", &[0x04, 0x22, 0x4d, 0x18], lz4_frame::compress, lz4_frame::decompress)
            }
            Codec::Zstd => facts("zstd", "a zstd file", &[0x28, 0xb5, 0x2f, 0xfd], zstd::compress, zstd::decompress),
        }
    }

    /// The codec whose magic number begins `bytes`.
    ///
    /// LZMA alone has no magic: its header must have properties that an encoder writes (the usual 0x5d, or others with
    /// lc + lp up to 4), a dictionary size that an encoder writes (2^n or 2^n + 2^(n-1)) and a plausible uncompressed size
    /// (unknown, or below 4 GiB). Other properties and a known size, as OpenWrt has them, are no proof: then the data must
    /// decode, up to 64 KiB of it.
    ///
    /// Skippable frames in front of a frame of zstd or LZ4 are passed over.
    pub fn detect(bytes: &[u8]) -> Option<Codec> {
        let skipped = skippable::len(bytes);
        if skipped > 0 {
            let frame = behind(bytes, skipped);
            return [Codec::Lz4Frame, Codec::Zstd].into_iter().find(|codec| frame.starts_with(codec.magic()));
        }
        let by_magic = Codec::ALL.into_iter().find(|codec| *codec != Codec::Lzma && bytes.starts_with(codec.magic()));
        match (by_magic, bytes) {
            (Some(Codec::Bzip2), [_, _, _, b'1'..=b'9', ..]) => Some(Codec::Bzip2),
            (Some(Codec::Bzip2), _) => None,
            (Some(codec), _) => Some(codec),
            (None, _) => lzma::detect(bytes).then_some(Codec::Lzma),
        }
    }

    /// Can `bytes` be such a stream, when whoever hands them out says so? For LZMA, whose header proves little, any
    /// dictionary and any size will do then, as long as the data decodes (up to 64 KiB of it).
    pub(crate) fn fits(self, bytes: &[u8]) -> bool {
        Codec::detect(bytes) == Some(self) || self == Codec::Lzma && lzma::decodes(bytes)
    }

    /// Where in `bytes` streams of this codec may begin, in order; none of them has been decoded.
    pub(crate) fn candidates(self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let magic = (self != Codec::None).then(|| memchr::memmem::find_iter(bytes, self.magic()));
        let by_magic = magic.into_iter().flatten();
        // The header of LZMA has no magic number; other properties than the usual ones are rare.
        let others = (self == Codec::Lzma).then(|| lzma::unusual(bytes));
        by_magic
            .filter(move |at| bytes.get(*at..).is_some_and(|rest| Codec::detect(rest) == Some(self)))
            .chain(others.into_iter().flatten())
    }

    /// The codec of a whole file.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it begins with no codec's magic number.
    pub fn identify(bytes: &[u8]) -> Result<Codec> {
        Codec::detect(bytes).ok_or_else(|| {
            let first = spaced_hex(bytes.get(..8).unwrap_or(bytes));
            Error::Unknown { found: if first.is_empty() { "an empty file".to_owned() } else { first } }
        })
    }

    /// Compresses `bytes` as one stream into `out`.
    ///
    /// # Errors
    /// [`Error::Range`] and [`Error::NotForCodec`] for parameters that the codec cannot have, before anything is
    /// written; what the writer says.
    pub fn compress(self, bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
        parameters.check(self)?;
        (self.facts().compress)(bytes, parameters, out)
    }

    /// The parameters that the stream which begins `bytes` was made with, as far as it tells: branch converter,
    /// dictionary and literal bits of xz and lzma, window of zstd, block size of bzip2. The others are the kernel's.
    ///
    /// # Errors
    /// [`Error::Field`] when its headers are damaged or cut off.
    pub(crate) fn parameters_of(self, bytes: &[u8]) -> Result<Parameters> {
        let skipped = self.skippable(bytes);
        stream_parameters::read(self, behind(bytes, skipped)).map_err(|mut source| {
            source.at.0 += skipped;
            Error::Field { codec: self, source }
        })
    }

    /// Bytes of the skippable frames at the start of `bytes`, if this codec has such.
    fn skippable(self, bytes: &[u8]) -> u64 {
        if matches!(self, Codec::Zstd | Codec::Lz4Frame) { skippable::len(bytes) } else { 0 }
    }

    /// Decompresses the one stream that begins `bytes`, behind skippable frames if there are any; what follows it is left
    /// alone.
    ///
    /// # Errors
    /// [`Error::TooBig`] after `limit` bytes; [`Error::Truncated`], [`Error::Damaged`] and [`Error::Field`] name the
    /// offset. Until then `out` has got what came before.
    pub(crate) fn decompress_one(self, bytes: &[u8], limit: u64, out: &mut dyn Write) -> Result<Inflated> {
        let mut sink = Sink::new(self, limit, out);
        let skipped = self.skippable(bytes);
        sink.begin(skipped);
        let consumed = skipped + (self.facts().decompress)(behind(bytes, skipped), &mut sink)?;
        Ok(Inflated { consumed, produced: sink.produced(), streams: 1 })
    }

    /// Decompresses the stream that begins `bytes` and those of the same codec behind it, as the codec's command does;
    /// skippable frames between and behind them belong to it.
    ///
    /// # Errors
    /// As [`Codec::decompress_one`].
    ///
    /// # Example
    ///
    /// ```
    /// use kimage::codec::{Codec, Parameters};
    ///
    /// let kernel = vec![7; 100_000];
    /// let mut stream = Vec::new();
    /// Codec::Zstd.compress(&kernel, &Parameters::default(), &mut stream)?;
    /// assert_eq!(Codec::detect(&stream), Some(Codec::Zstd));
    ///
    /// let mut out = Vec::new();
    /// let inflated = Codec::Zstd.decompress(&stream, 1 << 20, &mut out)?;
    /// assert_eq!((out, inflated.consumed), (kernel, stream.len() as u64));
    /// # Ok::<(), kimage::codec::Error>(())
    /// ```
    pub fn decompress(self, bytes: &[u8], limit: u64, out: &mut dyn Write) -> Result<Inflated> {
        let mut sink = Sink::new(self, limit, out);
        let mut inflated = Inflated { consumed: 0, produced: 0, streams: 0 };
        let mut next = self.skippable(bytes);
        loop {
            sink.begin(next);
            inflated.consumed = next + (self.facts().decompress)(behind(bytes, next), &mut sink)?;
            inflated.produced = sink.produced();
            inflated.streams += 1;
            let rest = behind(bytes, inflated.consumed);
            let skipped = self.skippable(rest);
            let padding = if self == Codec::Xz { xz::padding(rest) } else { skipped };
            let another = behind(rest, padding);
            // LZMA's weak header is no proof of another stream, and its command reads one only.
            if matches!(self, Codec::None | Codec::Lzma) || Codec::detect(another) != Some(self) {
                inflated.consumed += skipped;
                return Ok(inflated);
            }
            next = inflated.consumed + padding;
        }
    }

    /// Feeds the decompressed bytes of the stream that begins `bytes`, piece by piece, to `look`, until `look` returns
    /// a value, the stream ends, or `limit` bytes came out.
    ///
    /// Never holds more than one piece and the decoder's window in memory. A piece repeats the last `overlap` bytes of
    /// the piece before it, so that something up to that long is seen whole.
    ///
    /// # Errors
    /// What the decoder says of a damaged or truncated stream.
    pub(crate) fn scan<T>(
        self,
        bytes: &[u8],
        limit: u64,
        overlap: usize,
        look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut scan = Scan { look, overlap, window: Vec::new(), found: None };
        let result = self.decompress_one(bytes, limit, &mut scan);
        match (scan.found, result) {
            (Some(found), _) => Ok(Some(found)),
            (None, Ok(_) | Err(Error::TooBig { .. })) => Ok(None),
            (None, Err(error)) => Err(error),
        }
    }
}

/// What follows the first `len` bytes.
fn behind(bytes: &[u8], len: u64) -> &[u8] {
    usize::try_from(len).ok().and_then(|len| bytes.get(len..)).unwrap_or_default()
}

/// A writer that shows what it gets, and fails once enough was seen.
struct Scan<T, L> {
    look: L,
    overlap: usize,
    window: Vec<u8>,
    found: Option<T>,
}

impl<T, L: FnMut(&[u8]) -> Option<T>> Write for Scan<T, L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let tail = self.window.len().saturating_sub(self.overlap);
        self.window.drain(..tail);
        self.window.extend_from_slice(bytes);
        self.found = (self.look)(&self.window);
        match self.found {
            Some(_) => Err(io::ErrorKind::Other.into()),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of [`size_trailer`].
pub(crate) const TRAILER_LEN: u64 = 4;

/// The size trailer that the kernel's build puts behind every stream but gzip's, whose own end tells the size.
///
/// # Errors
/// [`Error::Trailer`] from 4 GiB on.
pub fn size_trailer(len: u64) -> Result<[u8; 4]> {
    u32::try_from(len).map(u32::to_le_bytes).map_err(|_| Error::Trailer { len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(codec: Codec, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.compress(data, &Parameters { level: Some(codec.quick()), ..Parameters::default() }, &mut out).unwrap();
        out
    }

    impl Codec {
        /// A level at which a debug build does not take long.
        fn quick(self) -> u32 {
            if self == Codec::Lzo { 9 } else { 1 }
        }
    }

    #[test]
    fn sees_what_straddles_two_pieces() {
        let mut data = vec![b'.'; (64 << 10) - 3];
        data.extend_from_slice(b"needle....");
        for codec in Codec::ALL {
            let look = |piece: &[u8]| memchr::memmem::find(piece, b"needle");
            assert!(codec.scan(&packed(codec, &data), u64::MAX, 16, look).unwrap().is_some(), "{}", codec.name());
        }
    }

    #[test]
    fn stops_at_the_limit_and_on_damage() {
        for codec in Codec::ALL {
            let zipped = packed(codec, &vec![0; 1 << 20]);
            let mut seen = 0;
            let count = |piece: &[u8]| {
                seen += piece.len();
                None::<()>
            };
            assert_eq!(codec.scan(&zipped, 100, 0, count).unwrap(), None);
            assert_eq!(seen, 100, "{}", codec.name());
            let cut = zipped.len() / 2;
            assert!(codec.scan(&zipped[..cut], u64::MAX, 0, |_| None::<()>).is_err(), "{}", codec.name());
        }
    }
}
