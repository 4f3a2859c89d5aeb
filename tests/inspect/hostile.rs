//! Damaged and hostile files, one small file of every format: never a panic, never more memory than allowed, never a
//! layer, region or part outside of what is there; and `verify`, `map` and `diff` take all of them.
//!
//! `KIMAGE_FULL=1` takes every value of every byte of the headers, every length and 100,000 random cases for each
//! format:
//!
//! ```sh
//! KIMAGE_FULL=1 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --test inspect hostile::
//! ```

use crate::files;
use crate::support;
use kimage::codec::Codec;
use kimage::inspect::diff::diff;
use kimage::inspect::map::map;
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, Opened, Space, open};
use kimage::layout::RegionKind;
use kimage::report::{self, FileInfo, FileVerification, Style};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

const LIMITS: Limits = Limits { depth: 16, layers: 64, size: 4 << 20, undeclared: 4 << 20, uimage_magic: None };

/// The library's own buffers are bounded by [`LIMITS`]; the rest is for decoders, the files of the tests, and as many
/// threads as the harness likes.
const MEMORY: u64 = 1 << 30;

/// Opens `bytes`, and holds what was found to its own word.
fn check(bytes: &[u8], good: &Opened<'_>) {
    let Ok(opened) = open(bytes, &LIMITS) else { return }; // no gap: a refusal is an answer
    check_layers(&opened);
    check_passing(bytes, &opened);
    let verified = verify(&opened);
    let file = FileVerification::new("file", Ok((&opened, &verified)));
    report::write_files_json("verify", &[file], std::io::sink()).unwrap();
    check_text(|out| report::write_verify_text("file", &opened, &verified, Style::default(), out));
    let map = map(&opened);
    check_text(|out| report::write_map_text("file", &map, 80, Style::default(), out));
    assert!(report::map_svg("file", &map).ends_with("</svg>\n"));
    let diff = diff(good, &opened);
    check_text(|out| report::write_diff_text(["good", "file"], good, &diff, Style::default(), out));
}

/// A kernel that passes by on its way to a file is the same as the one that is held.
fn check_passing(bytes: &[u8], opened: &Opened<'_>) {
    let mut out = Vec::new();
    let mut again = Opened::new(bytes, &LIMITS).unwrap();
    let passed = again.packed_kernel().and_then(|kernel| kernel.unpack(&mut out).unwrap());
    let held = opened.parts().iter().find(|part| part.name == "vmlinux");
    if let (Some(len), Some(part)) = (passed, held) {
        assert_eq!(out.len() as u64, len);
        assert!(opened.part_bytes(part) == out);
    }
}

/// Reports go to terminals, which obey control characters.
fn check_text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character gets through:\n{text}");
}

fn check_layers(opened: &Opened<'_>) {
    let mut inflated = 0;
    for layer in opened.layers() {
        let path = opened.path(layer.id);
        assert_eq!(opened.bytes(layer).len() as u64, layer.size(), "{path}");
        let mut at = 0;
        for region in &layer.regions {
            assert!(
                region.at.start >= at && region.at.end > region.at.start,
                "{path}: {region:?} begins before {at:#x}"
            );
            at = region.at.end;
        }
        assert!(at <= layer.size(), "{path}: regions end at {at:#x} of {:#x}", layer.size());
        if let Some(parent) = layer.parent {
            assert!(parent < layer.id);
            let outer = opened.layer(parent).unwrap();
            assert_eq!(layer.depth, outer.depth + 1);
        }
        inflated += opened.contents(layer.id).map_or(0, <[u8]>::len);
    }
    assert!(inflated as u64 <= LIMITS.size);
    for part in opened.parts() {
        assert_eq!(opened.part_bytes(part).len() as u64, part.at.end - part.at.start, "{}", part.name);
        assert!(part.name.chars().all(|c| c.is_ascii_alphanumeric() || "[]".contains(c)), "{}", part.name);
    }
    check_text(|out| report::write_info_text("file", opened, Style::default(), out));
    report::write_files_json("info", &[FileInfo::new("file", Ok(opened))], std::io::sink()).unwrap();
}

#[test]
fn every_format_is_recognised_and_whole() {
    for (name, file) in files::all() {
        let opened = open(&file, &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&file, &opened);
        for layer in opened.layers() {
            assert!(layer.findings.is_empty(), "{name}: {}: {:?}", opened.path(layer.id), layer.findings);
        }
        assert!(
            opened.layers().len() > 1 || ["dtb", "image-arm64", "image-riscv", "symvers"].contains(&name),
            "{name} has one layer"
        );
    }
}

/// Three tests for each of [`files::all`]; a format that has none is missed by `every_format_has_its_tests`.
macro_rules! formats {
    ($($test:ident: $name:literal,)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(mod $test {
            #[test]
            fn cut_anywhere() {
                super::cut_anywhere($name);
            }

            #[test]
            fn every_byte_of_the_headers() {
                super::every_byte_of_the_headers($name);
            }

            #[test]
            fn random_damage() {
                super::random_damage($name);
            }
        })*
    };
}

formats! {
    elf: "elf",
    bzimage: "bzimage",
    bzimage_old: "bzimage-2.04",
    zimage_x86: "zimage-x86",
    zimage: "zimage",
    zimage_without_table: "zimage-scan",
    zimage_dtb: "zimage-dtb",
    uimage: "uimage",
    uimage_multi: "multi",
    uimage_script: "script",
    dtb: "dtb",
    fit: "fit",
    fit_external: "fit-external",
    image_arm64: "image-arm64",
    image_riscv: "image-riscv",
    zboot: "zboot",
    uki: "uki",
    cpio: "cpio",
    android_0: "android-0",
    android_2: "android-2",
    android_4: "android-4",
    android_vendor_3: "android-vendor-3",
    android_vendor_4: "android-vendor-4",
    symvers: "symvers",
    gzip: "gzip",
    bzip2: "bzip2",
    lzma: "lzma",
    xz: "xz",
    lzo: "lzo",
    lz4_legacy: "lz4 (legacy frame)",
    lz4: "lz4",
    zstd: "zstd",
}

#[test]
fn every_format_has_its_tests() {
    let all: BTreeSet<&str> = files::all().iter().map(|(name, _)| *name).collect();
    assert_eq!(all, TESTED.iter().copied().collect());
}

fn file(name: &str) -> Vec<u8> {
    files::all().into_iter().find(|(each, _)| *each == name).unwrap().1
}

fn is_full() -> bool {
    support::full()
}

/// Every length with KIMAGE_FULL=1. Else all in the first KiB and around the ends of regions, and one in so many.
fn cut_anywhere(name: &str) {
    let file = file(name);
    let good = open(&file, &LIMITS).unwrap();
    let mut lengths: BTreeSet<usize> = (0..file.len().min(1024)).collect();
    let ends = regions(&good).into_iter().flat_map(|(at, _)| [at.start, at.end]);
    lengths.extend(ends.flat_map(|at| at.saturating_sub(2)..=at + 2));
    lengths.extend((0..file.len()).step_by(if is_full() { 1 } else { (file.len() / 100).max(1) }));
    lengths.into_iter().filter(|len| *len < file.len()).for_each(|len| check(&file[..len], &good));
    check_memory();
}

/// The regions of all layers that stand in the file itself.
fn regions(opened: &Opened<'_>) -> Vec<(std::ops::Range<usize>, RegionKind)> {
    let layers = opened.layers().iter().filter(|layer| layer.space == Space::File);
    let place = |at: u64| usize::try_from(at).unwrap();
    layers
        .flat_map(|layer| {
            let start = layer.at.start;
            // What a format has no region for is in its first bytes: the header of a stream, of an ELF file.
            let head = (place(start)..place((start + 128).min(layer.at.end)), RegionKind::Header);
            let regions =
                layer.regions.iter().map(move |at| (place(start + at.at.start)..place(start + at.at.end), at.kind));
            regions.chain([head])
        })
        .collect()
}

/// Every byte of every header, and one in so many of the rest: one other value of each, with KIMAGE_FULL=1 all 255.
fn every_byte_of_the_headers(name: &str) {
    let file = file(name);
    let good = open(&file, &LIMITS).unwrap();
    let headers = regions(&good).into_iter().filter(|(_, kind)| *kind == RegionKind::Header);
    // What follows the first KiB of a header is text and zeros.
    let mut places: BTreeSet<usize> = headers.flat_map(|(at, _)| at.take(1024)).collect();
    let quick = [file.len().min(512), (file.len() / 300).max(1)];
    let [dense, step] = if is_full() { [1024.min(file.len()), (file.len() / 300).max(1)] } else { quick };
    places.extend((0..dense).chain((dense..file.len()).step_by(step)));
    let mut damaged = file.clone();
    for at in places {
        let old = file[at];
        let some = [old ^ 1, 0xff, old ^ 0x80, 0, old.wrapping_add(1), old ^ 0x20];
        let values: Vec<u8> = if is_full() { (0..=0xff).collect() } else { vec![some[at % 6]] };
        for value in values.into_iter().filter(|value| *value != old) {
            damaged[at] = value;
            check(&damaged, &good);
        }
        damaged[at] = old;
    }
    check_memory();
}

/// What is done to a file.
#[derive(Debug, Clone)]
enum Damage {
    Byte(Index, u8),
    /// A number that headers like to have, at a multiple of two.
    Word(Index, u32, bool),
    Long(Index, u64, bool),
    /// The bytes at one place, again at another.
    Copy(Index, Index, usize),
    Cut(Index),
    Grow(usize, u8),
}

impl Damage {
    fn apply(&self, file: &mut Vec<u8>) {
        let put = |file: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            let bytes = &bytes[..bytes.len().min(file.len() - at)];
            file[at..at + bytes.len()].copy_from_slice(bytes);
        };
        // Half of all places are in the first bytes, where the headers are.
        let place = |file: &[u8], index: &Index| {
            let near = index.index(2 * file.len());
            if near < file.len() { near } else { (near - file.len()) % file.len().min(512) }
        };
        if file.is_empty() {
            return; // no gap: nothing to change
        }
        match self {
            Damage::Byte(index, value) => {
                let at = place(file, index);
                file[at] = *value;
            }
            Damage::Word(index, value, big) => {
                let at = place(file, index) & !1;
                put(file, at, &if *big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            Damage::Long(index, value, big) => {
                let at = place(file, index) & !3;
                put(file, at, &if *big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            Damage::Copy(from, to, len) => {
                let (from, to) = (place(file, from), place(file, to));
                let bytes = file[from..(from + len).min(file.len())].to_vec();
                put(file, to, &bytes);
            }
            Damage::Cut(at) => file.truncate(at.index(file.len()) + 1),
            Damage::Grow(len, value) => file.resize(file.len() + len, *value),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let words = prop::sample::select(vec![0, 1, 4, 0x1000, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX]);
    let longs = prop::sample::select(vec![0, 1, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX - 7, u64::MAX]);
    prop_oneof![
        8 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Damage::Byte(at, value)),
        4 => (any::<Index>(), words, any::<bool>()).prop_map(|(at, value, big)| Damage::Word(at, value, big)),
        2 => (any::<Index>(), any::<u32>(), any::<bool>()).prop_map(|(at, value, big)| Damage::Word(at, value, big)),
        2 => (any::<Index>(), longs, any::<bool>()).prop_map(|(at, value, big)| Damage::Long(at, value, big)),
        2 => (any::<Index>(), any::<Index>(), 1..64_usize).prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (1..1000_usize, any::<u8>()).prop_map(|(len, value)| Damage::Grow(len, value)),
    ]
}

/// 100,000 cases with KIMAGE_FULL=1; `PROPTEST_CASES` asks for another number.
fn random_damage(name: &str) {
    let file = file(name);
    let good = open(&file, &LIMITS).unwrap();
    let mut config = ProptestConfig { failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = if is_full() { 100_000 } else { 200 };
    }
    let result = TestRunner::new(config).run(&prop::collection::vec(damage(), 1..8), |damages| {
        let mut file = file.clone();
        damages.iter().for_each(|damage| damage.apply(&mut file));
        check(&file, &good);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{name}: {error}"));
    check_memory();
}

/// What the process has ever had resident.
fn check_memory() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return support::missing("the peak of memory: no /proc here (run it on Linux)");
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak << 10 < MEMORY, "{peak} KiB of memory");
}

/// Zeros that come to four times the limit, and streams in streams without end.
#[test]
fn bombs_are_cut_off() {
    for codec in Codec::ALL {
        let bomb = files::packed(codec, &vec![0; 16 << 20]);
        let opened = open(&bomb, &LIMITS).unwrap();
        check_layers(&opened);
        let is_told = opened.layers()[0].findings.iter().any(|finding| finding.rule == "layer.limit");
        let verified = verify(&opened);
        assert!(is_told && !verified.is_good() && verified.unknown().is_some(), "{}", codec.name());
    }
    let mut nested = b"the end".to_vec();
    for _ in 0..40 {
        nested = files::gzip(&nested);
    }
    let opened = open(&nested, &LIMITS).unwrap();
    assert_eq!(opened.layers().len(), 16);
    assert!(opened.layers()[15].findings.iter().any(|finding| finding.rule == "layer.limit"));
}
