//! What is fuzzed. Where something is to be chosen beside the file itself, the first bytes of the input choose it.

use crate::stub;
use kimage::assemble::{
    self, Algorithm, CrcChoice, External, FitFile, FitRequest, UImageRequest, fit_from_source, unsign_efi,
};
use kimage::bytes::Align;
use kimage::codec::{Codec, Literal, Parameters};
use kimage::elf::{Elf, FlatOptions, Lists, RelocOptions, StripOptions, flatten, strip};
use kimage::internals::elf::{kallsyms, list_absolute_relocs, list_absolute_symbols, list_relocs, nm_class, relocs, unflatten, with_symbols};
use kimage::internals::dts::{Resolved, Source};
use kimage::internals::fdt::{Dtb, Flat, Node, Strings};
use kimage::internals::Fit;
use kimage::internals::fit::Options;
use kimage::inspect::verify::{FirmwareRequest, Trust, Verified, signed, verify};
use kimage::inspect::{Limits, Opened, diff::diff, map::map, open};
use kimage::kbuild::{LinkCommand, Target};
use kimage::internals::{LinkFacts, VOFFSET, ZOFFSET, offsets, set_defsym, tree};
use kimage::lint::{Board, Files, SHIPPED, lint as lint_boot};
use kimage::{internals::wrapper, report};
use std::io::sink;
use std::sync::OnceLock;

pub const ALL: [(&str, fn(&[u8])); 11] = [
    ("inspect", inspect),
    ("lint", lint),
    ("elf", elf),
    ("images", images),
    ("dts", dts),
    ("fit", fit),
    ("uimage", uimage),
    ("codecs", codecs),
    ("pack", pack),
    ("texts", texts),
    ("standalone", stub::standalone),
];

/// Bytes that may come out of anything.
pub const MOST: u64 = 4 << 20;

const LIMITS: Limits = Limits { size: MOST, undeclared: MOST, layers: 64, depth: 16, uimage_magic: None };

fn inspect(bytes: &[u8]) {
    let Ok(mut opened) = open(bytes, &LIMITS) else { return };
    let (verified, map) = (verify(&opened), map(&opened));
    for layer in opened.layers() {
        assert_eq!(opened.bytes(layer).len() as u64, layer.size());
    }
    let style = report::Style::default();
    let _ = report::write_info_text("fuzz", &opened, style, sink());
    let _ = report::write_files_json("info", &[report::FileInfo::new("fuzz", Ok(&opened))], sink());
    let _ = report::write_verify_text("fuzz", &opened, &verified, style, sink());
    let _ = report::write_map_text("fuzz", &map, 80, style, sink());
    let _ = report::map_svg("fuzz", &map);
    assert!(diff(&opened, &opened).is_same());
    for (name, _) in kimage::internals::PARTS {
        if let Some(part) = opened.part(&name.replace("[N]", "[0]")) {
            assert_eq!(opened.part_bytes(&part).len() as u64, part.at.end - part.at.start);
        }
    }
    let _ = opened.fact("release");
    trust(bytes, &opened, &verified);
}

/// Whom firmware trusts, of a file and for it; signatures taken out.
fn trust(bytes: &[u8], opened: &Opened<'_>, verified: &Verified) {
    static CERTIFICATE: OnceLock<Vec<u8>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| crate::support::read(&crate::support::testdata("keys/dev.pem")));
    let request = FirmwareRequest { sbat_level: Some(b"test,2"), ..FirmwareRequest::default() };
    let all = [
        FirmwareRequest { allowed: &[certificate], ..request },
        FirmwareRequest { allowed: &[bytes], ..request },
        FirmwareRequest { forbidden: &[bytes], ..request },
        FirmwareRequest { variables: Some(bytes), ..request },
    ];
    let all = all.iter().flat_map(Trust::of_firmware);
    all.for_each(|trust| signed(opened, &trust, &mut verified.clone()));
    if let Ok(made) = unsign_efi(bytes) {
        assert!(made.plan.len() <= bytes.len() as u64);
        emitted(&made.plan);
    }
}

fn boards() -> &'static [Board] {
    static BOARDS: OnceLock<Vec<Board>> = OnceLock::new();
    BOARDS.get_or_init(|| SHIPPED.iter().map(|(_, text)| Board::parse(text).unwrap()).collect())
}

fn lint(bytes: &[u8]) {
    let Some(([board, more], image)) = bytes.split_first_chunk::<2>() else { return };
    let board = &boards()[usize::from(*board) % boards().len()];
    let (image, behind) = match more & 4 {
        0 => (image, image),
        _ => image.split_at(image.len() / 2),
    };
    let files = Files {
        image,
        dtb: (more & 1 != 0).then_some(behind),
        ramdisk: (more & 2 != 0).then_some(&behind[behind.len() / 2..]),
    };
    let _ = lint_boot(board, &files);
}

fn elf(bytes: &[u8]) {
    let _ = unflatten(bytes, None);
    let Ok(elf) = Elf::parse(bytes) else { return };
    let default = || StripOptions { max_size: Some(MOST), ..StripOptions::default() };
    for options in
        [default(), StripOptions { debug_only: true, ..default() }, StripOptions { smallest: true, ..default() }]
    {
        if let Ok(plan) = strip(&elf, &options) {
            let stripped = emitted(&plan);
            let again = Elf::parse(&stripped);
            assert!(again.is_ok(), "{again:?}");
        }
    }
    if let Ok(flat) = flatten(&elf, &FlatOptions { max_size: MOST, ..FlatOptions::default() }) {
        assert_eq!(emitted(&flat.plan).len() as u64, flat.plan.len());
    }
    for (lists, realmode) in [(None, false), (None, true), (Some(Lists::Two), false), (Some(Lists::Three), false)] {
        let _ = relocs(&elf, RelocOptions { lists, realmode });
    }
    let _ = (list_relocs(&elf, sink()), list_absolute_symbols(&elf, sink()), list_absolute_relocs(&elf, false, sink()));
    if let Ok(symbols) = elf.symbols() {
        symbols.for_each(|symbol| {
            let _ = nm_class(&elf, &symbol);
        });
    }
    let _ = kimage::internals::elf::physical_span(&elf);
    let names = kallsyms(&elf).unwrap_or_default();
    if let Ok(plan) = with_symbols(&elf, &names) {
        assert!(Elf::parse(&emitted(&plan)).is_ok());
    }
    for header in [ZOFFSET, VOFFSET] {
        let _ = offsets(&elf, header, None);
    }
    let _ = (Target::like_file(bytes).is_ok(), wrapper::payloads(&elf), assemble::payload(bytes).is_ok());
}

pub fn emitted(plan: &kimage::layout::Plan<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if plan.len() <= MOST {
        plan.emit(&mut out).unwrap();
        assert_eq!(out.len() as u64, plan.len());
    }
    out
}

/// The images of the kernel's build, out of what it linked.
fn images(bytes: &[u8]) {
    static SETUP: &[u8] = include_bytes!("../../testdata/tiny/setup.bin");
    static VMLINUX: &[u8] = include_bytes!("../../testdata/tiny/vmlinux");
    let Some((how, bytes)) = bytes.split_first() else { return };
    let made = match how % 4 {
        0 => assemble::bzimage(bytes, SETUP, CrcChoice::ByGeneration),
        1 => assemble::bzimage(VMLINUX, bytes, CrcChoice::ByGeneration),
        2 => assemble::zimage(bytes, &[]),
        _ => {
            let (kernel, dtb) = bytes.split_at(bytes.len() / 2);
            assemble::zimage(kernel, &[dtb])
        }
    };
    if let Ok(image) = made {
        let _ = open(&emitted(&image.plan), &LIMITS).map(|opened| verify(&opened));
    }
}

pub const INCLUDED: &str = "#address-cells = <1>; outer = <&inner>; inner: inner { reg = <1 2>; };";

pub fn source(bytes: &[u8]) -> Option<Source> {
    let mut include = |name: &str, from: &str| match name {
        "a" => Ok((format!("{from}/a"), INCLUDED.as_bytes().to_vec())),
        "loop" => Ok((name.to_owned(), b"/include/ \"loop\" a;".to_vec())),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    Source::parse("fuzz.dts", bytes, &mut include).ok()
}

/// A source, compiled, is a blob that reads as the tree it was.
fn dts(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    let files = vec![&b"bytes of a file"[..]; source.files().len()];
    let Ok(Resolved { root, reservations, findings: _ }) = kimage::internals::resolved(&source, &files) else { return };
    if let Ok(flat) = Flat::new(&root, Strings::default()).and_then(|flat| flat.with_reservations(&reservations)) {
        let blob = emitted(&flat.plan(flat.size()).unwrap());
        let dtb = Dtb::parse_at(&blob, 0).unwrap();
        assert_eq!(dtb.reservations().unwrap(), reservations);
        assert_eq!(Node::from(dtb.tree().unwrap().root()), root);
    }
    let _ = fit_from_source(&source, &files, None, None, &Options::default(), true);
}

fn fit_options(how: u8) -> Options<'static> {
    let external = |_| External {
        align: [None, Align::new(4), Align::new(64), Align::new(512)][usize::from(how >> 2 & 3)],
        position: (how & 0x10 != 0).then_some(0x2000),
        fdt_align: None,
    };
    Options {
        time: 1,
        external: (how & 2 != 0).then_some(()).map(external),
        unsigned: how & 0x20 != 0,
        layout: (if how & 0x80 == 0 { "2023" } else { "2026" }).parse().unwrap(),
        signing: None,
    }
}

/// An image tree that was compiled already, or files; what comes out has hashes that are right.
fn fit(bytes: &[u8]) {
    let Some(([how, more], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let (options, force) = (fit_options(*how), how & 1 != 0);
    let third = bytes.len() / 3;
    let file = |name, bytes| FitFile { name, bytes };
    let made = match how & 0x40 {
        0 => assemble::fit_from_blob(bytes, &options, force),
        _ => assemble::fit(&FitRequest {
            kernel: Some(file("kernel", if more & 1 == 0 { bytes } else { &bytes[..third] })),
            dtbs: if more & 1 == 0 { vec![] } else { vec![file("dtb", &bytes[third..])] },
            ramdisk: (more & 2 != 0).then(|| file("ramdisk", &bytes[2 * third..])),
            loadables: (more & 4 != 0).then(|| file("more", &bytes[third..])).into_iter().collect(),
            arch: (more & 8 != 0).then_some(more >> 4),
            load: (more & 0x10 != 0).then_some(0x8000),
            entry: (more & 0x20 != 0).then_some(0x8000),
            compress: (more & 0x40 != 0).then_some(Codec::Gzip),
            hashes: vec![Algorithm::Crc32, Algorithm::Sha1],
            options,
            force,
            ..FitRequest::default()
        }),
    };
    let Ok(image) = made else { return };
    if image.plan.len() > MOST {
        return;
    }
    let made = emitted(&image.plan);
    Fit::parse(&made).unwrap();
    let opened = Opened::new(&made, &LIMITS).unwrap();
    let wrong = verify(&opened).findings.into_iter().find(|found| found.finding.rule == "fit.hash");
    assert!(wrong.is_none(), "{wrong:?}");
}

fn uimage(bytes: &[u8]) {
    let Some(([given, flags, arch, os, kind, comp, load, entry], bytes)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let field = |bit: u8, value: &u8| (given & 1 << bit != 0).then_some(*value);
    let request = UImageRequest {
        arch: field(0, arch),
        os: field(1, os),
        kind: field(2, kind),
        comp: field(3, comp),
        load: field(4, load).map(|load| u64::from(load) << 12),
        entry: field(5, entry).map(|entry| u64::from(entry) << 12),
        name: (given & 0x40 != 0).then(|| bytes.iter().copied().take(usize::from(*arch)).collect()),
        truncate_name: flags & 1 != 0,
        xip: flags & 2 != 0,
        force: given & 0x80 != 0,
        compress: (flags & 4 != 0).then_some(Codec::Gzip),
        magic: (flags & 8 != 0).then_some(0x1234_5678),
        empty: flags & 0x80 != 0,
        ..UImageRequest::default()
    };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let (files, dtbs) = match flags >> 4 & 3 {
        0 => (vec![bytes], vec![]),
        1 => (vec![first], vec![second]),
        2 => (vec![first, second], vec![]),
        _ => (vec![first, second, bytes], vec![]),
    };
    let Ok(image) = assemble::uimage(&request, &files, &dtbs) else { return };
    let made = emitted(&image.plan);
    let limits = Limits { uimage_magic: request.magic, ..LIMITS };
    if let Ok(opened) = Opened::new(&made, &limits) {
        let wrong = verify(&opened).findings.into_iter().find(|found| found.finding.rule.contains("crc"));
        assert!(wrong.is_none(), "{wrong:?}");
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
        let _ = kimage::internals::parameters_of(codec, bytes);
    }
}

/// What is packed comes out again, whatever it was packed with.
fn pack(bytes: &[u8]) {
    let Some(([codec, level, dictionary, literal], bytes)) = bytes.split_first_chunk::<4>() else { return };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let has_dictionary = matches!(codec, Codec::Lzma | Codec::Xz);
    let parameters = Parameters {
        // zstd's default here is the kernel's, which takes a second for any input.
        level: (*level < 30 || codec == Codec::Zstd).then_some((level % 30 % 16).into()),
        dictionary: (has_dictionary || dictionary & 0x80 != 0).then_some(1 << (dictionary % 6 + 12)),
        literal: if has_dictionary {
            Literal {
                lc: Some((literal & 3).into()),
                lp: Some((literal >> 2 & 3).into()),
                pb: Some((literal >> 4 & 7).into()),
            }
        } else {
            Literal::default()
        },
        threads: 1,
        ..Parameters::default()
    };
    let mut packed = Vec::new();
    if codec.compress(bytes, &parameters, &mut packed).is_ok() {
        let mut out = Vec::new();
        let inflated = kimage::internals::decompress_one(codec, &packed, bytes.len() as u64, &mut out).unwrap();
        assert!(out == bytes && inflated.consumed == packed.len() as u64);
    }
}

/// Texts of a kernel's build folder and of boards.
fn texts(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match how % 4 {
        0 => {
            if let Ok(mut command) = LinkCommand::parse(bytes, (how & 4 != 0).then_some("ld")) {
                command.redirect("here/piggy.o", "here/vmlinux");
                let _ = set_defsym(&mut command, "_kernel_bss_size", 1);
                let _ = (command.words(), LinkFacts::of(&command));
            }
        }
        1 => {
            let _ = (tree::voffsets(bytes).is_ok(), tree::zoffsets(bytes).is_ok(), tree::incbin(bytes).is_ok());
            let _ = (tree::is_set(bytes, "CONFIG_A"), tree::codec(Some(bytes), Some(bytes)).is_ok());
            let _ = tree::thin_members(bytes).is_ok();
        }
        2 => {
            let _ = Board::parse(&text);
        }
        _ => {
            let _ = boards()[0].clone().env.read(&text);
        }
    }
}
