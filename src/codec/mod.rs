//! Room 2: bytes to fewer bytes and back.
//!
//! [`Codec::detect`] knows the magic of every codec a kernel is packed with. One file a codec holds its two
//! directions; so far [`gzip`] can be read, as much as a version string needs.

pub mod gzip;

/// A compression format of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
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

impl Codec {
    /// The codec's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Bzip2 => "bzip2",
            Codec::Lzma => "lzma",
            Codec::Xz => "xz",
            Codec::Lzo => "lzo",
            Codec::Lz4Legacy => "lz4 (legacy frame)",
            Codec::Lz4Frame => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec whose magic number begins `bytes`.
    ///
    /// LZMA alone has no magic: its header must have the usual properties byte, a dictionary size that an encoder
    /// writes (2^n or 2^n + 2^(n-1)) and a plausible uncompressed size (unknown, or below 4 GiB).
    pub fn detect(bytes: &[u8]) -> Option<Codec> {
        match bytes {
            [0x1f, 0x8b, 8, ..] => Some(Codec::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Codec::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Codec::Xz),
            [0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Codec::Lzo),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Codec::Lz4Legacy),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Codec::Lz4Frame),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Codec::Zstd),
            [0x5d, d0, d1, d2, d3, s0, s1, s2, s3, s4, s5, s6, s7, ..] => {
                let dict = u32::from_le_bytes([*d0, *d1, *d2, *d3]);
                let size = u64::from_le_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]);
                let dict_plausible = dict >= 1 << 10 && (dict.is_power_of_two() || dict.count_ones() == 2);
                let size_plausible = size == u64::MAX || size < 1 << 32;
                (dict_plausible && size_plausible).then_some(Codec::Lzma)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics() {
        assert_eq!(Codec::detect(&[0x1f, 0x8b, 8, 0]), Some(Codec::Gzip));
        assert_eq!(Codec::detect(b"BZh91AY"), Some(Codec::Bzip2));
        assert_eq!(Codec::detect(&[0x02, 0x21, 0x4c, 0x18]), Some(Codec::Lz4Legacy));
        let lzma = [0x5d, 0, 0, 0, 4, 255, 255, 255, 255, 255, 255, 255, 255, 0];
        assert_eq!(Codec::detect(&lzma), Some(Codec::Lzma));
        assert_eq!(Codec::detect(b"]hello, a text file"), None);
        assert_eq!(Codec::detect(b""), None);
    }
}
