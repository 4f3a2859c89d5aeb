//! Coverage-guided fuzzing of the library, one target a process: `TARGET=inspect kimage-fuzz CORPUS` (see run.sh).
#![no_main]

use kimage::assemble;
use kimage::codec::Codec;
use kimage::elf::{Elf, FlatOptions, RelocOptions, StripOptions, flatten, relocs, strip};
use kimage::format::dts::Source;
use kimage::inspect::{Limits, diff::diff, map::map, open, verify::verify};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// Bytes that may come out of anything.
const MOST: u64 = 4 << 20;

fn inspect(bytes: &[u8]) {
    let limits = Limits { size: MOST, layers: 64, ..Limits::default() };
    let Ok(opened) = open(bytes, &limits) else { return };
    let _ = (verify(&opened), map(&opened), diff(&opened, &opened));
    for layer in opened.layers() {
        assert_eq!(opened.bytes(layer).len() as u64, layer.size());
    }
}

fn elf(bytes: &[u8]) {
    let Ok(elf) = Elf::parse(bytes) else { return };
    if let Ok(plan) = strip(&elf, &StripOptions::default()) {
        if plan.len() <= MOST {
            let _ = plan.emit(std::io::sink());
        }
    }
    let _ = flatten(&elf, &FlatOptions { max_size: MOST, ..FlatOptions::default() });
    let _ = relocs(&elf, RelocOptions::default());
    let _ = elf.symbols().map(|symbols| symbols.count());
}

fn dts(bytes: &[u8]) {
    let Ok(source) = Source::parse("fuzz.dts", bytes, &mut |_, _| Err(std::io::ErrorKind::NotFound.into())) else { return };
    let files = vec![&b"file"[..]; source.files().len()];
    let _ = source.tree(&files);
}

fn fit(bytes: &[u8]) {
    if let Ok(image) = assemble::fit_from_blob(bytes, &Default::default(), true) {
        if image.plan.len() <= MOST {
            let _ = image.emit(std::io::sink());
        }
    }
}

fn uimage(bytes: &[u8]) {
    if let Ok(image) = assemble::uimage(&Default::default(), &[bytes], &[]) {
        if image.plan.len() <= MOST {
            let _ = image.emit(std::io::sink());
        }
    }
}

/// What unpacks must unpack the same with the same limit, and never to more.
fn codecs(bytes: &[u8]) {
    for codec in Codec::ALL {
        let mut out = Vec::new();
        if let Ok(inflated) = codec.decompress(bytes, MOST, &mut out) {
            assert_eq!(inflated.produced, out.len() as u64);
            assert!(inflated.consumed <= bytes.len() as u64);
        }
        assert!(out.len() as u64 <= MOST);
        let _ = codec.parameters_of(bytes);
    }
}

const TARGETS: &[(&str, fn(&[u8]))] =
    &[("inspect", inspect), ("elf", elf), ("dts", dts), ("fit", fit), ("uimage", uimage), ("codecs", codecs)];

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let wanted = std::env::var("TARGET").unwrap_or_default();
        let known = TARGETS.iter().find(|(name, _)| *name == wanted);
        known.unwrap_or_else(|| panic!("TARGET={wanted}: known are {:?}", TARGETS.iter().map(|one| one.0).collect::<Vec<_>>())).1
    });
    target(bytes);
});
