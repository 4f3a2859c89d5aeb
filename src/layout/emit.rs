//! Writes a plan: copies, fills, computes the trailing digest. Knows no format.

use super::{Content, Error, Plan};
use crate::bytes::len64;
use std::io::Write;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emitted {
    /// Bytes written.
    pub len: u64,
    /// The value of the plan's CRC, where it has one.
    pub crc32: Option<u32>,
}

/// Hash and write in turns of this size: the second finds the bytes in the cache.
const CHUNK: usize = 256 << 10;
const FILL_CHUNK: usize = 32 << 10;

/// A thread is worth it from so many bytes on: getting them out of a mapped file takes longer than hashing them.
const SHARE: usize = 4 << 20;
/// More threads than this only wait for memory.
const THREADS: usize = 4;

/// The CRC-32 of `bytes`, for [`crc32fast::Hasher::combine`]: by several threads where there is much of them.
fn hashed(bytes: &[u8]) -> crc32fast::Hasher {
    let one = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(bytes);
        hasher
    };
    let share = bytes.len().div_ceil(THREADS).max(SHARE);
    let mut shares = bytes.chunks(share);
    let first = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        // Where no thread can be had, its share is hashed here.
        let others: Vec<_> = shares
            .map(|share| (share, std::thread::Builder::new().spawn_scoped(scope, move || one(share)).ok()))
            .collect();
        let mut all = one(first);
        for (share, thread) in others {
            let hashed = thread.and_then(|thread| thread.join().ok()).unwrap_or_else(|| one(share));
            all.combine(&hashed);
        }
        all
    })
}

impl Plan<'_> {
    /// CRC-32 (ISO-HDLC, as zlib has it) of the whole image, which must hold no digest of its own.
    pub(crate) fn crc32(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for piece in self.pieces() {
            match &piece.content {
                Content::Bytes(bytes) => hasher.combine(&hashed(bytes)),
                Content::Fill(byte) => {
                    let mut left = super::usize_or_max(piece.at.end - piece.at.start);
                    let block = [*byte; FILL_CHUNK];
                    while left > 0 {
                        let chunk = block.get(..left).unwrap_or(&block);
                        hasher.update(chunk);
                        left -= chunk.len();
                    }
                }
                Content::Crc32NoXor => hasher.update(&[0; 4]),
            }
        }
        hasher.finalize()
    }

    /// Writes the image to `out`, front to back, in one pass.
    ///
    /// # Errors
    /// [`Error::Write`] with the writer's own error.
    pub fn emit(&self, mut out: impl Write) -> Result<Emitted, Error> {
        let has_crc = self.pieces().iter().any(|piece| piece.content == Content::Crc32NoXor);
        let mut hasher = has_crc.then(crc32fast::Hasher::new);
        let mut emitted = Emitted { len: 0, crc32: None };
        let mut put = |bytes: &[u8], hasher: &mut Option<crc32fast::Hasher>| -> Result<(), Error> {
            if let Some(hasher) = hasher {
                hasher.update(bytes);
            }
            emitted.len += len64(bytes);
            out.write_all(bytes).map_err(Error::Write)
        };
        for piece in self.pieces() {
            match &piece.content {
                Content::Bytes(bytes) if hasher.is_none() => put(bytes, &mut hasher)?,
                Content::Bytes(bytes) => {
                    for chunk in bytes.chunks(CHUNK) {
                        put(chunk, &mut hasher)?;
                    }
                }
                Content::Fill(byte) => {
                    let block = [*byte; FILL_CHUNK];
                    let mut left = super::usize_or_max(piece.at.end - piece.at.start);
                    while left > 0 {
                        let chunk = block.get(..left).unwrap_or(&block);
                        put(chunk, &mut hasher)?;
                        left -= chunk.len();
                    }
                }
                Content::Crc32NoXor => {
                    // crc32fast finishes with an inversion; the kernel's tool did not.
                    let crc = !hasher.clone().unwrap_or_default().finalize();
                    emitted.crc32 = Some(crc);
                    put(&crc.to_le_bytes(), &mut hasher)?;
                }
            }
        }
        out.flush().map_err(Error::Write)?;
        Ok(emitted)
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::{RegionKind, Reserver};

    /// The value of crc32fast over all of it at once; lengths around those at which another thread begins.
    #[test]
    fn threads_do_not_change_the_crc() {
        for len in [0, 1, super::SHARE, super::SHARE + 1, 3 * super::SHARE - 1, 9 * super::SHARE + 12345] {
            let bytes: Vec<u8> = (0..len).map(|at| ((at * 31) >> 7) as u8).collect();
            let mut reserver = Reserver::new();
            reserver.bytes(&b"head"[..]).unwrap();
            reserver.bytes(&bytes[..]).unwrap();
            reserver.fill(5, 9).unwrap();
            let want = crc32fast::hash(&[&b"head"[..], &bytes, &[9; 5]].concat());
            assert_eq!(reserver.finish().crc32(), want, "{len}");
        }
    }

    #[test]
    fn one_pass_with_crc() {
        let mut reserver = Reserver::new();
        reserver.bytes(&b"123456789"[..]).unwrap();
        reserver.region("text", 0, RegionKind::Data);
        reserver.crc32_no_xor().unwrap();
        reserver.fill(3, 7).unwrap();
        let plan = reserver.finish();
        let mut out = Vec::new();
        let emitted = plan.emit(&mut out).unwrap();
        assert_eq!(emitted.len, plan.len());
        // 0xcbf43926 is the check value of CRC-32/ISO-HDLC for this text.
        assert_eq!(emitted.crc32, Some(!0xcbf4_3926));
        assert_eq!(out, [&b"123456789"[..], &(!0xcbf4_3926_u32).to_le_bytes(), &[7, 7, 7]].concat());
        assert_eq!(plan.bytes_at(7..11), [b'8', b'9', 0, 0]);
    }
}
