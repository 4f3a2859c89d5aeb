//! gzip (RFC 1952).

use std::io::{self, Read};

/// Feeds the decompressed bytes of the gzip member that begins `bytes`, piece by piece, to `look`, until `look`
/// returns a value, the member ends, or `limit` bytes were inflated.
///
/// Never holds more than one piece in memory. A piece repeats the last `overlap` bytes of the piece before it, so that
/// something up to that long is seen whole.
///
/// # Errors
/// What the decoder says of a damaged or truncated member.
pub fn scan<T>(
    bytes: &[u8],
    limit: u64,
    overlap: usize,
    mut look: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    const PIECE: usize = 64 << 10;
    let mut reader = flate2::bufread::GzDecoder::new(bytes).take(limit);
    let mut window: Vec<u8> = Vec::with_capacity(PIECE + overlap);
    loop {
        let tail = window.len().saturating_sub(overlap);
        window.drain(..tail);
        let got = reader.by_ref().take(PIECE as u64).read_to_end(&mut window)?;
        if got == 0 {
            return Ok(None);
        }
        if let Some(found) = look(&window) {
            return Ok(Some(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn sees_what_straddles_two_pieces() {
        let mut data = vec![b'.'; (64 << 10) - 3];
        data.extend_from_slice(b"needle....");
        let found = scan(&packed(&data), u64::MAX, 16, |piece| memchr::memmem::find(piece, b"needle")).unwrap();
        assert!(found.is_some());
    }

    #[test]
    fn stops_at_the_limit_and_on_damage() {
        let zipped = packed(&vec![0; 1 << 20]);
        let mut seen = 0;
        let none: Option<()> = scan(&zipped, 100, 0, |piece| {
            seen += piece.len();
            None
        })
        .unwrap();
        assert_eq!((none, seen), (None, 100));
        assert!(scan::<()>(&zipped[..zipped.len() / 2], u64::MAX, 0, |_| None).is_err());
    }
}
