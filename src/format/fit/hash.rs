//! The hashes that a FIT has of its images.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash algorithm of a FIT, by the names of U-Boot's common/hash.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// CRC-16/CCITT, start 0, big-endian.
    Crc16,
    /// CRC-32 as zlib has it, big-endian.
    Crc32,
    /// RFC 1321. No protection against malice.
    Md5,
    /// FIPS 180-4. No protection against malice.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha384,
    /// FIPS 180-4.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::Crc16,
        Algorithm::Crc32,
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha384,
        Algorithm::Sha512,
    ];

    /// The word in `algo`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc16 => "crc16-ccitt",
            Algorithm::Crc32 => "crc32",
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The hash of `data`, as it stands in `value`.
    pub(crate) fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Algorithm::Crc16 => crc16(data).to_be_bytes().to_vec(),
            Algorithm::Crc32 => crc32fast::hash(data).to_be_bytes().to_vec(),
            Algorithm::Md5 => Md5::digest(data).to_vec(),
            Algorithm::Sha1 => Sha1::digest(data).to_vec(),
            Algorithm::Sha256 => Sha256::digest(data).to_vec(),
            Algorithm::Sha384 => Sha384::digest(data).to_vec(),
            Algorithm::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

/// Polynomial 0x1021, not reflected, start 0 (CRC-16/XMODEM).
fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| if crc >> 15 == 1 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogues and standards for this text.
    #[test]
    fn check_values() {
        let hex = |algorithm: Algorithm| {
            let hash = algorithm.hash(b"123456789");
            hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(Algorithm::Crc16), "31c3");
        assert_eq!(hex(Algorithm::Crc32), "cbf43926");
        assert_eq!(hex(Algorithm::Md5), "25f9e794323b4538");
        assert_eq!(hex(Algorithm::Sha1), "f7c3bc1d808e0473");
        assert_eq!(hex(Algorithm::Sha256), "15e2b0d3c33891eb");
        assert_eq!(hex(Algorithm::Sha384), "eb455d56d2c1a69d");
        assert_eq!(hex(Algorithm::Sha512), "d9e6762dd1c8eaf6");
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
    }
}
