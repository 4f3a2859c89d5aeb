//! Damaged and hostile files under `open`: never a panic, never more memory than allowed, never a layer, region or part
//! outside of what is there. `KIMAGE_FULL=1` runs 100,000 random cases for each format.

#[path = "support/files.rs"]
mod files;
mod support;

use kimage::inspect::{Limits, Opened, open};
use kimage::report::{FileInfo, Info, Style, write_info_json, write_info_text};
use proptest::prelude::*;

const LIMITS: Limits = Limits { depth: 16, layers: 64, size: 4 << 20, uimage_magic: None };

/// Opens `bytes`, and holds what was found to its own word.
fn check(bytes: &[u8]) {
    if let Ok(opened) = open(bytes, &LIMITS) {
        check_layers(&opened);
    }
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
    let mut out = Vec::new();
    write_info_text("file", opened, Style::default(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character gets through:\n{text}");
    write_info_json(&Info::new(vec![FileInfo::new("file", opened)]), std::io::sink()).unwrap();
}

#[test]
fn every_format_is_recognised_and_whole() {
    for (name, file) in files::all() {
        let opened = open(&file, &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_layers(&opened);
        for layer in opened.layers() {
            assert!(layer.findings.is_empty(), "{name}: {}: {:?}", opened.path(layer.id), layer.findings);
        }
        assert!(
            opened.layers().len() > 1 || ["dtb", "image-arm64", "image-riscv"].contains(&name),
            "{name} has one layer"
        );
    }
}

#[test]
fn cut_anywhere() {
    for (_, file) in files::all() {
        let step = (file.len() / 2000).max(1);
        (0..file.len()).step_by(step).for_each(|len| check(&file[..len]));
    }
}

/// Every byte of the first 2 KiB, and one in so many of the rest.
#[test]
fn every_byte_of_the_headers() {
    for (_, file) in files::all() {
        let rest = (2048..file.len()).step_by((file.len() / 500).max(1));
        for at in (0..file.len().min(2048)).chain(rest) {
            for value in [0, 0xff, file[at] ^ 1, file[at] ^ 0x80] {
                let mut file = file.clone();
                file[at] = value;
                check(&file);
            }
        }
    }
}

/// A gigabyte of zeros in a megabyte, and streams in streams without end.
#[test]
fn bombs_are_cut_off() {
    let bomb = files::gzip(&vec![0; 64 << 20]);
    let opened = open(&bomb, &LIMITS).unwrap();
    check_layers(&opened);
    assert!(opened.layers()[0].findings.iter().any(|finding| finding.rule == "layer.limit"));
    let mut nested = b"the end".to_vec();
    for _ in 0..40 {
        nested = files::gzip(&nested);
    }
    let opened = open(&nested, &LIMITS).unwrap();
    assert_eq!(opened.layers().len(), 16);
    assert!(opened.layers()[15].findings.iter().any(|finding| finding.rule == "layer.limit"));
}

fn cases() -> u32 {
    if std::env::var_os("KIMAGE_FULL").is_some() { 100_000 } else { 64 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Some bytes anywhere, and a cut: of every format in turn.
    #[test]
    fn random_damage(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12), cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        for (_, file) in FILES.with(Clone::clone).iter() {
            let mut file = file.clone();
            for (index, value) in &edits {
                let at = index.index(file.len().min(8192));
                file[at] = *value;
            }
            if !whole {
                file.truncate(cut.index(file.len()) + 1);
            }
            check(&file);
        }
    }

    /// Words that numbers in headers like to be: in every format, at a multiple of 4.
    #[test]
    fn absurd_numbers(edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![0_u32, 1, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX, u32::MAX - 3, 0x1000])), 1..4), big in any::<bool>()) {
        for (_, file) in FILES.with(Clone::clone).iter() {
            let mut file = file.clone();
            for (index, value) in &edits {
                let at = index.index(file.len().min(4096) / 4) * 4;
                if let Some(word) = file.get_mut(at..at + 4) {
                    word.copy_from_slice(&if big { value.to_be_bytes() } else { value.to_le_bytes() });
                }
            }
            check(&file);
        }
    }
}

thread_local! {
    static FILES: std::rc::Rc<Vec<(&'static str, Vec<u8>)>> = std::rc::Rc::new(files::all());
}
