//! Writes a plan: copies, fills, computes the digest at an end. Knows no format.

use super::{Content, Error, Piece, Plan};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;

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
    /// CRC-32 (ISO-HDLC, as zlib has it) of `len` bytes behind the first piece.
    fn crc32_behind(&self, len: u64) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let end = self.pieces().first().map_or(0, |header| header.at.end).saturating_add(len);
        for piece in self.pieces().iter().skip(1).take_while(|piece| piece.at.end <= end) {
            match &piece.content {
                Content::Bytes(bytes) => hasher.combine(&hashed(bytes)),
                Content::Fill(byte) => {
                    filled(*byte, &piece.at, |chunk| {
                        hasher.update(chunk);
                        Ok(())
                    })
                    .ok();
                }
                Content::Leading(_) | Content::Crc32NoXor => {}
            }
        }
        hasher.finalize()
    }

    /// Writes the image to `out`, front to back, in one pass.
    ///
    /// # Errors
    /// [`Error::Write`] with the writer's own error.
    pub fn emit(&self, mut out: impl Write) -> Result<Emitted, Error> {
        if let Some(Piece { content: Content::Leading(header), .. }) = self.pieces().first() {
            out.write_all(&header.finished(self.crc32_behind(header.len))).map_err(Error::Write)?;
        }
        self.emit_behind(out)
    }

    /// The same into a file, whose header is written last where it has a digest of what is behind it: that is hashed while
    /// it is written. Where `out` does not know its position, as [`Plan::emit`].
    ///
    /// # Errors
    /// As [`Plan::emit`].
    pub(crate) fn emit_seek(&self, mut out: impl Write + Seek) -> Result<Emitted, Error> {
        let (Some(Piece { content: Content::Leading(header), at }), Ok(start)) =
            (self.pieces().first(), out.stream_position())
        else {
            return self.emit(out);
        };
        std::thread::scope(|scope| {
            let crc32 = std::thread::Builder::new().spawn_scoped(scope, || self.crc32_behind(header.len));
            out.seek(SeekFrom::Start(start.saturating_add(at.end))).map_err(Error::Write)?;
            let emitted = self.emit_behind(&mut out)?;
            let crc32 =
                crc32.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| self.crc32_behind(header.len));
            out.seek(SeekFrom::Start(start)).map_err(Error::Write)?;
            out.write_all(&header.finished(crc32)).map_err(Error::Write)?;
            out.seek(SeekFrom::Start(start.saturating_add(self.len()))).map_err(Error::Write)?;
            Ok(emitted)
        })
    }

    /// Writes all but a header with a digest of what is behind it.
    fn emit_behind(&self, mut out: impl Write) -> Result<Emitted, Error> {
        let has_crc = self.pieces().iter().any(|piece| piece.content == Content::Crc32NoXor);
        let mut hasher = has_crc.then(crc32fast::Hasher::new);
        let mut emitted = Emitted { len: self.len(), crc32: None };
        let mut put = |bytes: &[u8], hasher: &mut Option<crc32fast::Hasher>| -> Result<(), Error> {
            if let Some(hasher) = hasher {
                hasher.update(bytes);
            }
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
                Content::Fill(byte) => filled(*byte, &piece.at, |chunk| put(chunk, &mut hasher))?,
                Content::Crc32NoXor => {
                    // crc32fast finishes with an inversion; the kernel's tool did not.
                    let crc = !hasher.clone().unwrap_or_default().finalize();
                    emitted.crc32 = Some(crc);
                    put(&crc.to_le_bytes(), &mut hasher)?;
                }
                Content::Leading(_) => {}
            }
        }
        out.flush().map_err(Error::Write)?;
        Ok(emitted)
    }
}

/// Gives `put` as many of these bytes as the piece has, in blocks.
fn filled(byte: u8, at: &Range<u64>, mut put: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let block = [byte; FILL_CHUNK];
    let mut left = super::usize_or_max(at.end - at.start);
    while left > 0 {
        let chunk = block.get(..left).unwrap_or(&block);
        put(chunk)?;
        left -= chunk.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::layout::{Leading, RegionKind, Reserver};
    use std::io::Cursor;

    /// Both ways into a file, around the lengths at which another thread begins, and what is in front of the file's image.
    #[test]
    fn a_header_has_the_crc_of_what_is_behind_it() {
        for len in [0, 1, super::SHARE, super::SHARE + 1, 3 * super::SHARE - 1, 9 * super::SHARE + 12345] {
            let bytes: Vec<u8> = (0..len).map(|at| ((at * 31) >> 7) as u8).collect();
            let mut reserver = Reserver::new();
            let header = b"head........".to_vec();
            reserver.leading(Leading { bytes: header, len: 10 + len as u64, behind_at: 8, own_at: 4 }).unwrap();
            reserver.bytes(&b"table"[..]).unwrap();
            reserver.bytes(&bytes[..]).unwrap();
            reserver.fill(5, 9).unwrap();
            reserver.bytes(&b"not of it"[..]).unwrap();
            let plan = reserver.finish();

            let behind = [&b"table"[..], &bytes, &[9; 5]].concat();
            let crc = crc32fast::hash(&behind).to_be_bytes();
            let own = crc32fast::hash(&[&b"head...."[..], &crc].concat()).to_be_bytes();
            let want = [&b"head"[..], &own, &crc, &behind, b"not of it"].concat();
            let mut in_order = Vec::new();
            assert_eq!(plan.emit(&mut in_order).unwrap().len, plan.len());
            assert!(in_order == want, "{len}");
            let mut file = Cursor::new(b"##".to_vec());
            file.set_position(2);
            plan.emit_seek(&mut file).unwrap();
            assert_eq!(file.position(), 2 + plan.len());
            assert!(file.into_inner() == [&b"##"[..], &want].concat(), "{len}");
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
