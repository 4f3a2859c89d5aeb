//! Skippable frames: data of others in front of, between and behind the frames of zstd and LZ4, which both have them.
//!
//! A magic number of which the last four bits are anything, the length of what follows (LE32), so many bytes (RFC 8878,
//! 3.1.2; lz4, doc/lz4_Frame_format.md, "Skippable Frames"). `pzstd` puts one in front of every frame.

use crate::bytes::{Cursor, len64};

/// A file of nothing but such frames is no reason to look for long: real ones have one in front of a frame.
const MOST: usize = 64;

/// Bytes of the skippable frames at the start of `bytes`, as far as they are whole.
pub(super) fn len(bytes: &[u8]) -> u64 {
    let cursor = Cursor::little(bytes);
    let mut at = 0;
    for _ in 0..MOST {
        let Ok(0x184d_2a50..=0x184d_2a5f) = cursor.u32("magic number", at) else { break };
        let Ok(len) = cursor.u32("length", at + 4) else { break };
        let end = at + 8 + u64::from(len);
        if end > len64(bytes) {
            break;
        }
        at = end;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_count() {
        let frame = [0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        assert_eq!(len(&frame), 11);
        assert_eq!(len(&[frame, frame].concat()), 22);
        assert_eq!(len(&[&frame[..], &frame[..10]].concat()), 11);
        assert_eq!(len(&frame[..7]), 0);
        assert_eq!(len(&[0x60, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]), 0);
        assert_eq!(len(b""), 0);
        let endless = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0].repeat(1000);
        assert_eq!(len(&endless), 8 * MOST as u64);
    }
}
