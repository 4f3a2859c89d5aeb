//! Hashes, by the names that U-Boot has for them.

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
    pub(crate) fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Do U-Boot's signatures know it?
    pub(super) fn signs(self) -> bool {
        matches!(self, Algorithm::Sha1 | Algorithm::Sha256 | Algorithm::Sha384 | Algorithm::Sha512)
    }

    /// The hash of `data`, as it stands in `value`.
    pub fn hash(self, data: &[u8]) -> Vec<u8> {
        self.hash_all(&[data])
    }

    /// The hash of these bytes, one behind the other.
    pub(crate) fn hash_all(self, parts: &[&[u8]]) -> Vec<u8> {
        fn of<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            parts.iter().fold(D::new(), |state, part| state.chain_update(part)).finalize().to_vec()
        }
        match self {
            Algorithm::Crc16 => parts.iter().fold(0, |crc, part| crc16(crc, part)).to_be_bytes().to_vec(),
            Algorithm::Crc32 => {
                let mut state = crc32fast::Hasher::new();
                parts.iter().for_each(|part| state.update(part));
                state.finalize().to_be_bytes().to_vec()
            }
            Algorithm::Md5 => of::<Md5>(parts),
            Algorithm::Sha1 => of::<Sha1>(parts),
            Algorithm::Sha256 => of::<Sha256>(parts),
            Algorithm::Sha384 => of::<Sha384>(parts),
            Algorithm::Sha512 => of::<Sha512>(parts),
        }
    }
}

/// Polynomial 0x1021, not reflected, start 0 (CRC-16/XMODEM).
fn crc16(start: u16, data: &[u8]) -> u16 {
    data.iter().fold(start, |crc, byte| {
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
