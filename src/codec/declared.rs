//! How much a stream says that will come out of it, and what one that does not say is worth.

use super::stream_parameters::number;
use super::{Codec, behind};
use crate::bytes::{Cursor, len64};

/// Bytes of memory that unpacking any file is worth.
pub(crate) const LEAST: u64 = 224 << 20;
/// Bytes of memory for each byte of a larger file: kernels are up to 12 times as large as their streams, and some decoders hold
/// what came out once more.
pub(crate) const PER_BYTE: u64 = 24;

/// See [`Codec::declared_size`]. `bytes` begin with the stream itself.
pub(super) fn size(codec: Codec, bytes: &[u8]) -> Option<u64> {
    let cursor = Cursor::little(bytes);
    match codec {
        Codec::None => Some(len64(bytes)),
        // RFC 1952, 2.3.1: ISIZE, modulo 2^32.
        Codec::Gzip => cursor.u32("ISIZE", len64(bytes).checked_sub(4)?).ok().map(u64::from),
        Codec::Lzma => cursor.u64("uncompressed size", 5).ok().filter(|size| *size != u64::MAX),
        Codec::Xz => xz(&cursor, bytes),
        Codec::Lz4Frame => {
            // lz4_Frame_format.md, FLG: bit 3 is C.Size.
            let flags = cursor.u8("FLG", 4).ok()?;
            if flags & 8 == 0 { None } else { cursor.u64("Content Size", 6).ok() }
        }
        Codec::Zstd => zstd(&cursor),
        Codec::Bzip2 | Codec::Lzo | Codec::Lz4Legacy => None,
    }
}

/// RFC 8878, 3.1.1.1.
fn zstd(cursor: &Cursor<'_>) -> Option<u64> {
    let descriptor = cursor.u8("Frame_Header_Descriptor", 4).ok()?;
    let is_single = descriptor & 0x20 != 0;
    let dictionary = match descriptor & 3 {
        3 => 4,
        short => u64::from(short),
    };
    let at = 5 + u64::from(!is_single) + dictionary;
    let field = "Frame_Content_Size";
    match descriptor >> 6 {
        0 if is_single => cursor.u8(field, at).ok().map(u64::from),
        0 => None,
        1 => cursor.u16(field, at).ok().map(|size| u64::from(size) + 256),
        2 => cursor.u32(field, at).ok().map(u64::from),
        _ => cursor.u64(field, at).ok(),
    }
}

/// What the index of the last stream adds up to, if that ends the bytes (xz-file-format.txt, 2.1.2 and 4).
fn xz(cursor: &Cursor<'_>, bytes: &[u8]) -> Option<u64> {
    let footer = len64(bytes).checked_sub(12)?;
    if !bytes.ends_with(b"YZ") {
        return None;
    }
    let index = (u64::from(cursor.u32("Backward Size", footer + 4).ok()?) + 1) * 4;
    let mut at = footer.checked_sub(index)? + 1;
    let records = number(cursor, "Number of Records", &mut at).ok()?;
    let mut size = 0_u64;
    // As many as there are bytes for: a record has two at least.
    for _ in 0..records.min(index) {
        number(cursor, "Unpadded Size", &mut at).ok()?;
        size = size.checked_add(number(cursor, "Uncompressed Size", &mut at).ok()?)?;
    }
    Some(size)
}

impl Codec {
    /// How many bytes the stream that begins `bytes` says that it holds, where its format has a place for that: in the
    /// header of lzma, zstd and lz4, at the end of gzip (modulo 2^32) and xz, where `bytes` are to end with the stream. Of
    /// several streams it is that of one. A claim, which decoding proves right or wrong.
    pub(crate) fn declared_size(self, bytes: &[u8]) -> Option<u64> {
        size(self, behind(bytes, self.skippable(bytes)))
    }

    /// How much may come out of a stream that does not say how much it holds, when unpacking may take `memory` bytes: half of
    /// it where the decoder's window can hold all of it once more. With [`LEAST`] bytes, and [`PER_BYTE`] for each byte of a
    /// larger file, no kernel reaches it; zeros that a stream was blown up with do.
    pub(crate) fn undeclared_size(self, memory: u64) -> u64 {
        match self {
            Codec::Lzma | Codec::Xz | Codec::Zstd => memory / 2,
            _ => memory,
        }
    }

    /// How much the stream that is `bytes` is worth, whatever it declares.
    pub(crate) fn worth(self, bytes: &[u8]) -> u64 {
        self.worth_of(bytes, LEAST)
    }

    fn worth_of(self, bytes: &[u8], undeclared: u64) -> u64 {
        self.undeclared_size(undeclared.max(len64(bytes).saturating_mul(PER_BYTE)))
    }

    /// Where to stop unpacking the stream that begins `bytes`: at what it declares, or else at what one is worth that declares
    /// nothing, by `undeclared` bytes of memory.
    pub(crate) fn most(self, bytes: &[u8], undeclared: u64) -> u64 {
        self.declared_size(bytes).unwrap_or(0).max(self.worth_of(bytes, undeclared))
    }

    /// Where to stop unpacking the stream that begins `bytes`, when nobody asked for more: at what it declares, or else at
    /// what it is worth.
    pub(crate) fn expected_most(self, bytes: &[u8]) -> u64 {
        self.most(bytes, LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Parameters, behind};
    use super::*;

    #[test]
    fn what_is_written_is_declared() {
        for len in [0_usize, 1, 255, 256, 70_000, 3 << 20] {
            let data = vec![7; len];
            for codec in Codec::ALL {
                let mut out = Vec::new();
                let level = Some(if codec == Codec::Lzo { 9 } else { 1 });
                codec.compress(&data, &Parameters { level, ..Parameters::default() }, &mut out).unwrap();
                let declared = codec.declared_size(&out);
                match codec {
                    Codec::Gzip | Codec::Xz => assert_eq!(declared, Some(len as u64), "{}", codec.name()),
                    Codec::Bzip2 | Codec::Lzo | Codec::Lz4Legacy => assert_eq!(declared, None),
                    // The encoder's choice; right where there is one.
                    _ => assert!(declared.is_none_or(|size| size == len as u64), "{} {declared:?}", codec.name()),
                }
                for cut in 0..out.len().min(64) {
                    codec.declared_size(behind(&out, cut as u64));
                    codec.declared_size(&out[..cut]);
                }
            }
        }
    }

    /// Every width of the field, with its arithmetic: RFC 8878, 3.1.1.1.4.
    #[test]
    fn zstd_has_five_ways_to_say_it() {
        let frame = |descriptor: u8, rest: &[u8]| {
            let bytes = [Codec::Zstd.magic(), &[descriptor], rest].concat();
            Codec::Zstd.declared_size(&bytes)
        };
        assert_eq!(frame(0x00, &[0x58, 1, 2, 3, 4]), None);
        assert_eq!(frame(0x20, &[9, 1, 2, 3]), Some(9));
        assert_eq!(frame(0x40, &[0x58, 1, 0]), Some(257));
        assert_eq!(frame(0x61, &[0xdd, 2, 0]), Some(258));
        assert_eq!(frame(0xa3, &[1, 2, 3, 4, 0, 0, 0, 0x40]), Some(1 << 30));
        assert_eq!(frame(0xc2, &[0x58, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0]), Some(1 << 32));
    }

    #[test]
    fn lzma_and_lz4_say_it_in_their_headers() {
        let lzma = |size: u64| [&[0x5d, 0, 0, 0x80, 0][..], &size.to_le_bytes(), &[0; 5]].concat();
        assert_eq!(Codec::Lzma.declared_size(&lzma(1 << 30)), Some(1 << 30));
        assert_eq!(Codec::Lzma.declared_size(&lzma(u64::MAX)), None);
        let lz4 = |flags: u8| [Codec::Lz4Frame.magic(), &[flags, 0x70], &12345_u64.to_le_bytes(), &[0; 4]].concat();
        assert_eq!(Codec::Lz4Frame.declared_size(&lz4(0x48)), Some(12345));
        assert_eq!(Codec::Lz4Frame.declared_size(&lz4(0x40)), None);
    }
}
