//! BTF, the kernel's description of its own types (CONFIG_DEBUG_INFO_BTF).
//!
//! Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h, Linux 7.2. In the kernel's byte order: magic number
//! 0xeb9f, version 1, flags 0, length of the header in bytes (24; more in newer ones), and offset and length of the types
//! and of the strings, which count from behind the header.

use crate::bytes::{Cursor, Endian, len64, slice};
use std::ops::Range;

const VERSION: u8 = 1;
/// The flags, too.
const HEADS: [([u8; 4], Endian); 2] =
    [([0x9f, 0xeb, VERSION, 0], Endian::Little), ([0xeb, 0x9f, VERSION, 0], Endian::Big)];
const HEADER_LENS: Range<u64> = 24..129;

/// Where the kernel's BTF stands in `bytes`: the largest, as BPF programs in it bring small ones of their own.
pub(crate) fn find(bytes: &[u8]) -> Option<Range<u64>> {
    let found = HEADS.iter().flat_map(|(head, endian)| {
        memchr::memmem::find_iter(bytes, head).filter_map(|at| extent(bytes, u64::try_from(at).ok()?, *endian))
    });
    found.max_by_key(|range| range.end - range.start)
}

/// All of the BTF that begins at `at`, when its header holds: types, and strings of which the first is empty.
fn extent(bytes: &[u8], at: u64, endian: Endian) -> Option<Range<u64>> {
    let cursor = Cursor::new(bytes, endian);
    let number = |offset: u64| cursor.u32("btf_header", at.checked_add(offset)?).ok().map(u64::from);
    let (len, types_at, types_len, strings_at, strings_len) =
        (number(4)?, number(8)?, number(12)?, number(16)?, number(20)?);
    let strings = slice(bytes, at + len + strings_at, strings_len)?;
    let is_sound =
        HEADER_LENS.contains(&len) && types_len > 0 && types_at % 4 == 0 && strings_at >= types_at + types_len;
    let ends = [strings.first(), strings.last()] == [Some(&0), Some(&0)];
    (is_sound && ends).then(|| at..at + len + strings_at + len64(strings))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One type, and two strings, by hand after the document.
    fn btf(endian: Endian) -> Vec<u8> {
        let word = |word: u32| if endian == Endian::Little { word.to_le_bytes() } else { word.to_be_bytes() };
        let magic = if endian == Endian::Little { [0x9f, 0xeb] } else { [0xeb, 0x9f] };
        let mut out = [&magic[..], &[1, 0]].concat();
        // Header, types and strings; an integer `int` of 4 bytes.
        for number in [24, 0, 16, 16, 5, 1, 1 << 24, 4, 1 << 24 | 32] {
            out.extend(word(number));
        }
        out.extend(b"\0int\0");
        out
    }

    #[test]
    fn it_is_found_by_its_own_lengths() {
        for endian in [Endian::Little, Endian::Big] {
            let btf = btf(endian);
            let kernel = [&[7; 33][..], &btf, &[0; 100]].concat();
            assert_eq!(find(&kernel), Some(33..33 + 45), "{endian:?}");
            assert_eq!(find(&kernel[..77]), None, "cut off");
            for (at, value) in [(2, 2), (4, 0xff), (40, 1)] {
                let mut damaged = btf.clone();
                damaged[at] = value;
                assert_eq!(find(&damaged), None, "{at}");
            }
        }
    }
}
