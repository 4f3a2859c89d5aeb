//! Small files that are made to cost much: every reading of them ends soon, holds little, and says what was not done.
//!
//! Work is counted where it can be (what a finding says was tried); the times are for a loaded machine without optimised
//! code, some twenty times what a release needs. What they guard against takes minutes or hours.

use crate::costly;
use kimage::codec::{Codec, Parameters};
use kimage::elf::{Elf, StripOptions, strip};
use kimage::inspect::{Limits, Opened, diff::diff, map::map, open, verify::verify};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// Everything that is read of a file, within the time.
fn read<T>(bytes: &[u8], judge: impl FnOnce(&Opened<'_>) -> T) -> T {
    let start = Instant::now();
    let opened = open(bytes, &Limits::default()).unwrap();
    let _ = (verify(&opened), map(&opened), diff(&opened, &opened));
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    judge(&opened)
}

fn has(opened: &Opened<'_>, rule: &str) -> bool {
    opened.layers().iter().flat_map(|layer| &layer.findings).any(|finding| finding.rule == rule)
}

#[test]
fn overlapping_streams_end_with_a_word() {
    for count in [1, 3000] {
        read(&costly::zimage(&costly::overlapping_zstd(count)), |opened| {
            assert!(has(opened, "layer.search_limit"), "{count} frames")
        });
    }
}

#[test]
fn heads_of_streams_end_with_a_word() {
    for magic in [&[0x1f, 0x8b, 8, 0][..], b"BZh9", &[0x28, 0xb5, 0x2f, 0xfd], b"\xfd7zXZ\0\0\x04"] {
        read(&costly::zimage(&magic.repeat(8_000_000 / magic.len())), |opened| {
            assert!(has(opened, "layer.search_limit"), "{magic:x?}");
        });
    }
}

/// A kernel behind a few thousand false heads still comes out, and nothing is said to be missing.
#[test]
fn a_kernel_behind_false_heads_is_found() {
    let mut kernel = vec![0; 80 << 20];
    kernel[70 << 20..(70 << 20) + 40].copy_from_slice(b"Linux version 6.1.0-test (x@y) #1 SMP \n\0");
    for (at, byte) in kernel.iter_mut().enumerate().take(1 << 20) {
        *byte = ((at * at) >> 7) as u8;
    }
    let mut body = [0x1f, 0x8b, 8, 0].repeat(2000);
    let parameters = Parameters { level: Some(1), ..Parameters::default() };
    Codec::Zstd.compress(&kernel, &parameters, &mut body).unwrap();
    // The file is worth more than the stream alone: 16 for each byte, and 64 MiB.
    body.resize(body.len().max(4 << 20), 0);
    let opened = open(&costly::zimage(&body), &Limits::default()).map(|opened| {
        assert!(!has(&opened, "layer.search_limit"));
        opened.layers().iter().filter_map(|layer| opened.contents(layer.id)).any(|data| data == kernel)
    });
    assert!(opened.unwrap());
}

/// Sections of an EFI application that all are the same archive.
#[test]
fn sections_over_one_archive() {
    for (name, count) in [(b".initrd\0", 1000), (b".linux\0\0", 60_000)] {
        let bytes = costly::sections(name, count, &costly::archive(20_000));
        read(&bytes, |opened| assert!(opened.layers().len() <= Limits::default().layers));
    }
}

#[test]
fn many_files_in_a_uimage() {
    read(&costly::multi(40_000), |opened| {
        assert_eq!(opened.parts().iter().filter(|part| part.name.starts_with("image[")).count(), 40_000)
    });
}

#[test]
fn many_images_and_shared_bytes_in_a_fit() {
    let count =
        |opened: &Opened<'_>, rule| verify(opened).findings.iter().filter(|one| one.finding.rule == rule).count();
    // Each image is looked at, and each hash is wrong.
    read(&costly::fit(20_000, 4), |opened| assert_eq!(count(opened, "fit.hash"), 20_000));
    // A thousand times the same megabytes are hashed by nobody, which is an error and is said.
    read(&costly::fit(1000, 4 << 20), |opened| {
        assert_eq!((count(opened, "fit.hash_limit"), count(opened, "fit.hash")), (1, 0))
    });
}

#[test]
fn many_members_are_one_stream() {
    for (codec, count) in [(Codec::Gzip, 400_000), (Codec::Bzip2, 40_000)] {
        read(&costly::members(codec, b"", count), |opened| {
            let streams = opened.layers()[0].facts.get("streams").map(|fact| fact.text());
            assert_eq!(streams, Some(count.to_string()), "{}", codec.name());
        });
    }
}

#[test]
fn nested_streams_end_at_the_limit() {
    read(&costly::nested(200), |opened| assert!(has(opened, "layer.limit")));
}

/// A segment of 12 KiB that asks for an offset at three quarters of a GiB, by its alignment: strip refuses unless it is told to
/// go ahead.
#[test]
fn strip_writes_no_gigabyte_unasked() {
    let mut elf = vec![0; 0x3000];
    elf[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    let put = |elf: &mut Vec<u8>, at: usize, len: usize, value: u64| {
        elf[at..at + len].copy_from_slice(&value.to_le_bytes()[..len])
    };
    for (at, len, value) in [
        (20, 4, 1),
        (24, 8, 0x3000_0000),
        (32, 8, 64),
        (40, 8, 0x2100),
        (52, 2, 64),
        (54, 2, 56),
        (56, 2, 1),
        (58, 2, 64),
        (60, 2, 4),
        (62, 2, 3),
    ] {
        put(&mut elf, at, len, value);
    }
    let address = 0x3000_0000;
    let size = 0x1000;
    // PT_LOAD, RWX, at offset 0x1000.
    for (at, len, value) in [
        (64, 4, 1),
        (68, 4, 7),
        (72, 8, 0x1000),
        (80, 8, address),
        (88, 8, address),
        (96, 8, 0x1000),
        (104, 8, size),
        (112, 8, 1 << 30),
    ] {
        put(&mut elf, at, len, value);
    }
    elf[0x2000..0x2020].copy_from_slice(b"\0.text\0.far\0.shstrtab\0\0\0\0\0\0\0\0\0\0\0");
    let section = |elf: &mut Vec<u8>, index: usize, words: [u64; 6]| {
        let at = 0x2100 + 64 * index;
        let [name, kind, flags, addr, offset, size] = words;
        for (at, len, value) in [
            (at, 4, name),
            (at + 4, 4, kind),
            (at + 8, 8, flags),
            (at + 16, 8, addr),
            (at + 24, 8, offset),
            (at + 32, 8, size),
            (at + 48, 8, 1),
        ] {
            put(elf, at, len, value);
        }
    };
    section(&mut elf, 1, [1, 1, 6, address, 0x1000, 0x100]);
    section(&mut elf, 2, [7, 1, 3, address + size - 0x100, 0x1f00, 0x100]);
    section(&mut elf, 3, [12, 3, 0, 0, 0x2000, 0x20]);
    let parsed = Elf::parse(&elf).unwrap();
    let error = strip(&parsed, &StripOptions::default()).expect_err("a large output").to_string();
    assert!(error.contains("the output would be") && error.contains("more than"), "{error}");
    let options = StripOptions { max_size: Some(1 << 30), ..StripOptions::default() };
    let plan = strip(&parsed, &options).unwrap();
    assert!(plan.len() > address, "{}", plan.len());
}
