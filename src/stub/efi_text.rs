//! What the boot stub makes of what EFI says: kinds of memory, load options, paths, event logs.
//!
//! `core` alone: the boot stub compiles this file too. It trusts no length that firmware says.

/// Memory that may be used (`E820_TYPE_RAM`).
const RAM: u32 = 1;
const RESERVED: u32 = 2;
const ACPI: u32 = 3;
const NVS: u32 = 4;
const UNUSABLE: u32 = 5;
const PMEM: u32 = 7;
const SOFT_RESERVED: u32 = 0xefff_ffff;

/// `EFI_MEMORY_SP`: meant for something special.
pub const SPECIAL_PURPOSE: u64 = 0x4_0000;

/// The type that the boot protocol's memory map has for an EFI memory type (UEFI 2.10, 7.2); `None` for memory that
/// must not be told of (arch/x86/include/asm/e820/types.h).
pub const fn e820_type(efi_type: u32, attributes: u64) -> Option<u32> {
    match efi_type {
        // Loader and boot services are gone when the kernel runs.
        1..=4 | 7 if attributes & SPECIAL_PURPOSE != 0 => Some(SOFT_RESERVED),
        1..=4 | 7 => Some(RAM),
        0 | 5 | 6 | 11..=13 => Some(RESERVED),
        8 => Some(UNUSABLE),
        9 => Some(ACPI),
        10 => Some(NVS),
        14 => Some(PMEM),
        // Memory that is not accepted yet, and what nobody has defined.
        _ => None,
    }
}

/// Writes load options, UTF-16 up to a zero or a line's end, as UTF-8. Returns how many bytes it wrote, and whether that
/// is all of it; if not, it ends with a whole word.
// By hand: what `core` has for it takes a tenth of the smallest stub.
pub fn load_options(options: impl Iterator<Item = u16>, out: &mut [u8]) -> (usize, bool) {
    const REPLACEMENT: u32 = 0xfffd;
    let (mut len, mut word_end) = (0, 0);
    let mut quoted = false;
    let mut units = options.take_while(|unit| !matches!(unit, 0 | 0x0a | 0x0d)).map(u32::from).peekable();
    while let Some(unit) = units.next() {
        let found = match unit {
            0xd800..=0xdbff => match units.next_if(|low| matches!(low, 0xdc00..=0xdfff)) {
                Some(low) => 0x1_0000 + ((unit & 0x3ff) << 10 | low & 0x3ff),
                None => REPLACEMENT,
            },
            0xdc00..=0xdfff => REPLACEMENT,
            unit => unit,
        };
        quoted ^= found == u32::from(b'"');
        if found == u32::from(b' ') && !quoted {
            word_end = len;
        }
        // How many bytes follow the first, and what marks the first.
        let (more, lead) = match found {
            0..=0x7f => (0, 0),
            0x80..=0x7ff => (1, 0xc0),
            0x800..=0xffff => (2, 0xe0),
            _ => (3, 0xf0),
        };
        let Some(place) = out.get_mut(len..=len + more) else { return (word_end, false) };
        let mut rest = found;
        for byte in place.iter_mut().skip(1).rev() {
            *byte = low_byte(rest & 0x3f | 0x80);
            rest >>= 6;
        }
        place.iter_mut().take(1).for_each(|byte| *byte = low_byte(rest | lead));
        len += more + 1;
    }
    (len, true)
}

const fn low_byte(value: u32) -> u8 {
    let [byte, ..] = value.to_le_bytes();
    byte
}

/// A path as EFI's file systems have it: UCS-2 with backslashes and a zero at its end. `None` when it has other
/// characters, is no UTF-8, or longer than `out`.
pub fn file_path(path: &[u8], out: &mut [u16]) -> Option<()> {
    let mut places = out.iter_mut();
    let mut bytes = path.iter();
    while let Some(found) = character(&mut bytes) {
        let [low, high, 0, _] = found?.to_le_bytes() else { return None };
        *places.next()? = u16::from_le_bytes(if [low, high] == [b'/', 0] { [b'\\', 0] } else { [low, high] });
    }
    *places.next()? = 0;
    Some(())
}

/// The next character of UTF-8; `Some(None)` where it is none.
fn character(bytes: &mut core::slice::Iter<'_, u8>) -> Option<Option<u32>> {
    let first = *bytes.next()?;
    if first < 0x80 {
        return Some(Some(first.into()));
    }
    let Some(more @ 1..=3) = first.leading_ones().checked_sub(1) else { return Some(None) };
    let mut found = u32::from(first) & 0x3f >> more;
    for _ in 0..more {
        match bytes.clone().next() {
            Some(byte) if byte & 0xc0 == 0x80 => found = found << 6 | u32::from(byte & 0x3f),
            _ => return Some(None),
        }
        bytes.next();
    }
    Some(Some(found))
}

/// Writes UTF-8 as UTF-16 with a zero at its end, as much as there is room for. Returns how many units, the zero included.
pub fn utf16(text: &[u8], out: &mut [u16]) -> usize {
    let mut len: usize = 0;
    let mut bytes = text.iter();
    while let Some(found) = character(&mut bytes) {
        let found = found.filter(|found| *found <= 0x10_ffff).unwrap_or(0xfffd);
        let half = |value: u32| u16::from_le_bytes([low_byte(value), low_byte(value >> 8)]);
        let units = match found.checked_sub(0x1_0000) {
            None => [half(found), 0],
            Some(above) => [half(0xd800 | above >> 10), half(0xdc00 | above & 0x3ff)],
        };
        let count = if found < 0x1_0000 { 1 } else { 2 };
        // One is left for the zero.
        let Some(places) = out.get_mut(len..).filter(|free| free.len() > count) else { break };
        places.iter_mut().zip(units).take(count).for_each(|(to, from)| *to = from);
        len += count;
    }
    if let Some(end) = out.get_mut(len) {
        *end = 0;
        len += 1;
    }
    len
}

/// A little-endian number of `N` bytes; `None` when they are not all there.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    usize::try_from(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))).ok()
}

/// The length of an event as TPM 1.2 logs have it, and as the first of every log is: PCR, type, SHA-1 digest, length,
/// data (TCG PC Client Platform Firmware Profile 1.06, 10.2.1).
pub fn first_event_len(log: &[u8]) -> Option<usize> {
    number::<4>(log, 28)?.checked_add(32)
}

/// The length of the event at `at` of a log with digests of several kinds (same, 10.2.2), whose first event says how long
/// each kind is (10.4.5.1).
pub fn event_len(header: &[u8], log: &[u8], at: usize) -> Option<usize> {
    const HEADER_DATA: usize = 32;
    const KINDS: usize = HEADER_DATA + 24;
    let kinds = number::<4>(header, KINDS)?;
    let digest_len = |kind: usize| {
        let entries = (0..kinds.min(64)).map(|index| KINDS + 4 + 4 * index);
        entries.into_iter().find(|at| number::<2>(header, *at) == Some(kind)).and_then(|at| number::<2>(header, at + 2))
    };
    let count = number::<4>(log, at.checked_add(8)?)?;
    let mut end = at.checked_add(12)?;
    for _ in 0..count {
        let len = digest_len(number::<2>(log, end)?)?;
        end = end.checked_add(2)?.checked_add(len)?;
    }
    end.checked_add(4)?.checked_add(number::<4>(log, end)?)?.checked_sub(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_memory() {
        assert_eq!(e820_type(7, 0xf), Some(1));
        assert_eq!(e820_type(7, 0xf | SPECIAL_PURPOSE), Some(0xefff_ffff));
        assert_eq!([0, 1, 2, 3, 4, 5].map(|kind| e820_type(kind, 0)), [2, 1, 1, 1, 1, 2].map(Some));
        assert_eq!([8, 9, 10, 11, 14].map(|kind| e820_type(kind, 0)), [5, 3, 4, 2, 7].map(Some));
        assert_eq!([15, 16, 0x8000_0000].map(|kind| e820_type(kind, 0)), [None; 3]);
    }

    fn convert(text: &[u16], room: usize) -> (String, bool) {
        let mut out = vec![0; room];
        let (len, whole) = load_options(text.iter().copied(), &mut out);
        (String::from_utf8(out[..len].to_vec()).unwrap(), whole)
    }

    #[test]
    fn load_options_are_utf_16() {
        let text: Vec<u16> = "console=ttyS0 name=\u{e4}\u{20ac}\u{1f600}\0behind".encode_utf16().collect();
        assert_eq!(convert(&text, 99), ("console=ttyS0 name=\u{e4}\u{20ac}\u{1f600}".to_owned(), true));
        assert_eq!(convert(&text, 20), ("console=ttyS0".to_owned(), false));
        let text: Vec<u16> = "a \"b c d".encode_utf16().collect();
        assert_eq!(convert(&text, 7), ("a".to_owned(), false));
        assert_eq!(convert(&[0x61, 0xd800, 0x62, 0x0a, 0x63], 9), ("a\u{fffd}b".to_owned(), true));
        assert_eq!(convert(&[], 0), (String::new(), true));
    }

    #[test]
    fn texts_as_utf_16() {
        let text = "a/\u{e4}\u{20ac}\u{1f600}z";
        let want: Vec<u16> = text.encode_utf16().chain([0]).collect();
        for room in 0..12 {
            let mut out = [7; 12];
            let len = utf16(text.as_bytes(), &mut out[..room]);
            assert!(len <= room && out[len..].iter().all(|unit| *unit == 7));
            match room {
                0 => {}
                // A pair is not cut.
                5 => assert_eq!((&out[..4], out[4]), (&want[..4], 0)),
                1..8 => assert_eq!((&out[..len - 1], out[len - 1]), (&want[..len - 1], 0)),
                _ => assert_eq!(out[..len], want),
            }
        }
        let mut out = [7; 12];
        assert_eq!(utf16(b"a\xffb\xc3", &mut out), 5);
        assert_eq!(out[..5], [0x61, 0xfffd, 0x62, 0xfffd, 0]);
    }

    #[test]
    fn paths_have_backslashes() {
        let mut out = [9; 6];
        assert_eq!(file_path("/a/\u{e4}".as_bytes(), &mut out), Some(()));
        assert_eq!(out, [0x5c, 0x61, 0x5c, 0xe4, 0, 9]);
        assert_eq!(file_path(b"123456", &mut out), None);
        assert_eq!(file_path("\u{20ac}".as_bytes(), &mut out), Some(()));
        assert_eq!(out[..2], [0x20ac, 0]);
        for bad in [&b"\xff"[..], b"\xc3", b"\xc3a", b"\xa4", "\u{1f600}".as_bytes()] {
            assert_eq!(file_path(bad, &mut out), None, "{bad:x?}");
        }
    }

    /// A log as firmware with SHA-1 and SHA-256 banks writes it.
    fn log() -> Vec<u8> {
        let mut log = vec![0; 28];
        let mut data = b"Spec ID Event03\0".to_vec();
        data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        data.extend([2, 0, 0, 0, 4, 0, 20, 0, 11, 0, 32, 0, 0]);
        log.extend((data.len() as u32).to_le_bytes());
        log.extend(data);
        log
    }

    #[test]
    fn lengths_of_events() {
        let header = log();
        assert_eq!(first_event_len(&header), Some(header.len()));
        let mut event = vec![0; 8];
        event.extend([2, 0, 0, 0, 4, 0]);
        event.extend([1; 20]);
        event.extend([11, 0]);
        event.extend([2; 32]);
        event.extend([3, 0, 0, 0, 7, 7, 7]);
        let both = [&*header, &event].concat();
        assert_eq!(event_len(&header, &both, header.len()), Some(event.len()));
        // An unknown digest, and a log that is cut off.
        event[12] = 5;
        assert_eq!(event_len(&header, &event, 0), None);
        assert_eq!(event_len(&header, &both[..both.len() - 10], header.len()), None);
        assert_eq!(event_len(&[], &both, 0), None);
    }
}
