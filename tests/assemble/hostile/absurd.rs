//! Absurd numbers, and random bytes behind each magic number.

use super::*;

/// Every number of the headers and of the symbol table.
fn numbers(input: &[u8], is_64: bool) -> Vec<Number> {
    let word = if is_64 { 8 } else { 4 };
    let header = [2, 2, 4, word, word, word, 4, 2, 2, 2, 2, 2, 2];
    let segment: &[usize] = if is_64 { &[4, 4, 8, 8, 8, 8, 8, 8] } else { &[4; 8] };
    let section = [4, 4, word, word, word, word, 4, 4, word, word];
    let symbol: &[usize] = if is_64 { &[4, 1, 1, 2, 8, 8] } else { &[4, 4, 4, 1, 1, 2] };
    let [_, segments, sections, symbols] = elf_tables(input);
    let mut found = Vec::new();
    for (range, widths) in
        [(16..if is_64 { 64 } else { 52 }, &header[..]), (segments, segment), (sections, &section), (symbols, symbol)]
    {
        let (mut at, mut widths) = (range.start, widths.iter().cycle());
        while at < range.end {
            let width = *widths.next().unwrap();
            found.push((at, width));
            at += width;
        }
    }
    found
}

/// Numbers at the ends of every width, and around the length of a file.
fn absurd(len: u64) -> [u64; 20] {
    [
        0,
        1,
        len - 1,
        len,
        len + 1,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_f000,
        0xffff_ffff,
        0x1_0000_0000,
        1 << 40,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 0xfff,
        u64::MAX - 0x1000,
        u64::MAX - 1,
        u64::MAX,
    ]
}

const ELF_DOORS: [Door; 6] = [IMAGE, IMAGE_FILLED, VMLINUX_5, ARM, ELF, DATA];

#[test]
fn absurd_numbers_in_every_field() {
    for (is_64, big_endian, machine) in VARIANTS {
        let input = program(is_64, big_endian, machine);
        assert!((IMAGE.open)(&input).is_ok() && (ELF.open)(&input).is_ok());
        let mut bytes = input.clone();
        for (at, width) in numbers(&input, is_64) {
            for value in absurd(input.len() as u64) {
                put(&mut bytes, big_endian, (at, width), value);
                for door in ELF_DOORS {
                    attempt(door, || format!("machine {machine}: {value:#x} as {width} bytes at {at:#x}"), &bytes);
                }
            }
            bytes.copy_from_slice(&input);
        }
    }
}

fn quiet(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(quiet(4000))]

    /// Several at once: what one check catches may hide what the next one misses.
    #[test]
    fn absurd_numbers_in_several_fields(
        variant in prop::sample::select(&VARIANTS[..]),
        changes in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u64>()), 2..7),
    ) {
        let (is_64, big_endian, machine) = variant;
        let mut bytes = program(is_64, big_endian, machine);
        let (numbers, len) = (numbers(&bytes, is_64), bytes.len() as u64);
        for (number, value, random) in changes {
            let choices = absurd(len);
            // Some are not absurd, only wrong.
            let value = choices.get(value.index(choices.len() + 6)).copied().unwrap_or(random % (2 * len));
            put(&mut bytes, big_endian, numbers[number.index(numbers.len())], value);
        }
        for door in ELF_DOORS {
            attempt(door, || format!("several fields of machine {machine}"), &bytes);
        }
    }

    #[test]
    fn random_bytes_behind_each_magic(head in 0..MAGICS.len(), tail in vec(any::<u8>(), 0..2500), small in any::<bool>()) {
        let mut bytes = tail;
        if small {
            // Zeros and small numbers get further than noise.
            bytes.iter_mut().enumerate().filter(|(at, _)| at % 4 != 0).for_each(|(_, byte)| *byte = 0);
        }
        for (at, magic) in MAGICS[head] {
            let end = at + magic.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(magic);
        }
        for door in DOORS {
            attempt(*door, || format!("random bytes behind magic {head}"), &bytes);
        }
    }
}

/// What the formats are known by, each a list of bytes and where they stand.
const MAGICS: &[&[(usize, &[u8])]] = &[
    &[],
    &[(0, b"\x7fELF")],
    // Tables at a small offset with entries of the right size: half the way in.
    &[
        (0, b"\x7fELF\x02\x01\x01\0"),
        (32, &[64, 0, 0, 0, 0, 0, 0, 0]),
        (40, &[200, 0, 0, 0, 0, 0, 0, 0]),
        (52, &[64, 0, 56, 0, 2, 0, 64, 0, 4, 0, 3, 0]),
    ],
    &[
        (0, b"\x7fELF\x01\x02\x01\0"),
        (18, &[0, 40]),
        (28, &[0, 0, 0, 60, 0, 0, 0, 200]),
        (40, &[0, 52, 0, 32, 0, 3, 0, 40, 0, 5, 0, 2]),
    ],
    &[(0x1fe, b"\x55\xaa"), (0x202, b"HdrS")],
    &[(0, b"MZ"), (0x3c, &[0x40, 0, 0, 0]), (0x40, b"PE\0\0"), (0x1fe, b"\x55\xaa"), (0x202, b"HdrS")],
    &[(0, b"MZ"), (0x3c, &[0x40, 0, 0, 0]), (0x40, b"PE\0\0"), (0x46, &[3, 0]), (0x54, &[0x60, 0])],
    &[(0x24, &[0x18, 0x28, 0x6f, 0x01])],
    &[(0x24, &[0x01, 0x6f, 0x28, 0x18]), (0x28, &[0, 0, 0, 0, 0, 0, 2, 0])],
    &[(0x24, &[0x18, 0x28, 0x6f, 0x01]), (0x28, &[0, 0, 0, 0, 0, 2, 0, 0]), (0x34, b"EEEE\x40\0\0\0"), (0x44, b"KLSZ")],
    &[(0, &[0x27, 0x05, 0x19, 0x56])],
    &[(0, &[0x27, 0x05, 0x19, 0x56]), (12, &[0, 0, 0, 100]), (30, &[kind::MULTI])],
    &[(0, &[0xd0, 0x0d, 0xfe, 0xed])],
    &[(0, &[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 100])],
    &[(56, b"ARM\x64")],
    &[(56, b"RSC\x05")],
    &[(0, &[0x1f, 0x8b, 8, 0])],
    &[(0, &[0x5d, 0, 0, 0, 4])],
];
