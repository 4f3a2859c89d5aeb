//! `kimage verify`: what kernels' builds and Debian made has no errors; a changed byte gives one.

#![allow(clippy::single_range_in_vec_init, reason = "one range is as good as several")]

use crate::schema;
use crate::support::{self, corpus, kimage, missing, read, run, run_ok, stdout, tempdir, testdata};
use crate::{elf_builder, files};
use kimage::finding::Severity;
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, Opened, open};
use kimage::internals::pe::Pe;
use kimage::internals::{BzImage, CrcState};
use kimage::report::{FileVerification, Style, json_schema, write_files_json, write_verify_text};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The images of every kernel tree.
fn images() -> Vec<PathBuf> {
    let names = ["x86/boot/bzImage", "arm/boot/zImage"].map(|name| format!("arch/{name}"));
    let paths = corpus().iter().flat_map(|tree| names.iter().map(|name| tree.path(name)));
    paths.filter(|path| path.is_file()).collect()
}

/// Debian's kernels, as tests/fetch-debian.sh leaves them.
fn debian() -> Vec<PathBuf> {
    let folders = fs::read_dir(support::debian()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = folders.filter_map(|folder| support::image_in(&folder.path(), "vmlinu")).collect();
    found.sort();
    if found.is_empty() {
        missing(&format!("no Debian kernels in {}: run tests/fetch-debian.sh", support::debian().display()));
    }
    found
}

fn errors(bytes: &[u8]) -> Vec<String> {
    let opened = open(bytes, &Limits::default()).unwrap();
    let found = verify(&opened).findings;
    let errors = found.iter().filter(|found| found.finding.severity == Severity::Error);
    errors.map(|found| format!("{}: {:?}", opened.path(found.layer), found.finding)).collect()
}

#[test]
fn what_builds_make_has_no_errors() {
    let trees = corpus().iter().flat_map(|tree| ["vmlinux", "vmlinux.unstripped"].map(|name| tree.path(name)));
    for path in images().into_iter().chain(trees.filter(|path| path.is_file())) {
        let opened_bytes = read(&path);
        let opened = open(&opened_bytes, &Limits::default()).unwrap();
        let findings = verify(&opened).findings;
        // Not even a note: nobody has touched them.
        assert!(findings.is_empty(), "{}: {findings:#?}", path.display());
    }
}

#[test]
fn debians_kernels_have_no_errors_and_their_crc_is_a_note() {
    let mut broken_by_signing = 0_usize;
    for path in debian() {
        let bytes = read(&path);
        assert_eq!(errors(&bytes), [""; 0], "{}", path.display());
        let opened = open(&bytes, &Limits::default()).unwrap();
        for found in verify(&opened).findings {
            // That nobody checked the signature is said as well.
            let rule = found.finding.rule;
            assert!(["bzimage.crc32_signed", "pe.signature"].contains(&rule), "{}: {found:?}", path.display());
            broken_by_signing += usize::from(rule == "bzimage.crc32_signed");
        }
    }
    assert!(debian().is_empty() || broken_by_signing > 0, "no kernel of the cache has a CRC and a signature");
}

/// Does a change show? Most do in the header; the rest when all was taken apart.
fn is_noticed(bytes: &[u8]) -> bool {
    // Bad, or not known any more: status 1 either way.
    let worst = |opened: &Opened<'_>| !verify(opened).is_good();
    let Ok(opened) = Opened::new(bytes, &Limits::default()) else { return true }; // no gap: noticed
    worst(&opened) || worst(&open(bytes, &Limits::default()).unwrap())
}

/// Changes bytes of these ranges one at a time; `free` says which change cannot be told from what another kernel's build could
/// have written. About `samples` bytes are taken; all with KIMAGE_FULL=1.
#[track_caller]
fn every_change_is_noticed(
    what: &str,
    bytes: &[u8],
    ranges: &[Range<u64>],
    samples: u64,
    free: &dyn Fn(u64, u8) -> bool,
) {
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let full = support::full();
    let step = if full { 1 } else { (total / samples).max(1) | 1 };
    let mut changed = bytes.to_vec();
    let places = ranges.iter().cloned().flatten().step_by(step as usize);
    let mut missed = Vec::new();
    for (count, at) in places.enumerate() {
        let masks: &[u8] = if full { &[0x01, 0x80, 0xff] } else { &[[0x01], [0x80], [0xff]][count % 3] };
        for mask in masks.iter().filter(|mask| !free(at, **mask)) {
            changed[at as usize] ^= mask;
            if !is_noticed(&changed) {
                missed.push(format!("{at:#x} ^ {mask:#x}"));
            }
            changed[at as usize] ^= mask;
        }
    }
    assert!(missed.is_empty(), "{what}: not noticed: {missed:?}");
}

/// Fields of a kernel's PE header that have no counterpart: another kernel's could be so.
fn is_free_pe(pe: &Pe<'_>, at: u64, mask: u8) -> bool {
    let optional = pe.optional_at();
    let one = mask == 1;
    match at {
        // Of the entry only the section is known.
        at if (optional + 16..optional + 20).contains(&at) => true,
        // CheckSum: nobody who boots looks at it; a warning, see below.
        at if (optional + 64..optional + 68).contains(&at) => true,
        // 0 or 1 symbols; stubs count their version up; NX or not.
        at if at == pe.at + 16 || (optional + 44..optional + 48).contains(&at) || at == optional + 71 => one,
        at => pe.sections.iter().any(|section| (section.at..section.at + 8).contains(&at)) && one,
    }
}

/// The fields of the boot protocol's header that an image without a CRC leaves open.
fn is_free_setup(at: u64, mask: u8) -> bool {
    match at {
        // root_flags, vid_mode, root_dev: what rdev sets; a note.
        0x1f2 | 0x1f3 | 0x1fa..=0x1fd => true,
        // XLF_MEM_ENCRYPTION is a configuration option.
        0x236 => mask == 0x80,
        // An entry point somewhere in the code.
        0x264..=0x266 => true,
        _ => false,
    }
}

#[test]
fn every_change_of_a_bzimage_is_noticed() {
    for path in images().into_iter().filter(|path| path.ends_with("bzImage")) {
        let bytes = read(&path);
        let name = path.display().to_string();
        let opened = Opened::new(&bytes, &Limits::default()).unwrap();
        let image = &opened.layers()[0];
        if BzImage::parse(&bytes).unwrap().check_crc().unwrap().state == CrcState::Right {
            every_change_is_noticed(&name, &bytes, &[0..bytes.len() as u64], 60, &|_, _| false);
            continue;
        }
        let payload = image.regions.iter().find(|region| region.name == "payload").unwrap().at.clone();
        let pe = Pe::parse(&bytes).unwrap();
        let headers = [0..2, 0x3c..0x40, pe.at..pe.headers_end(), 0x1ef..0x26c];
        let free = |at, mask| is_free_pe(&pe, at, mask) || is_free_setup(at, mask);
        every_change_is_noticed(&name, &bytes, &headers, 200, &free);
        every_change_is_noticed(&name, &bytes, &[payload], 8, &free);
        // What is not an error because rdev could have done it is a note all the same.
        for at in [0x1f2, 0x1fa, 0x1fc] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let opened = Opened::new(&changed, &Limits::default()).unwrap();
            assert!(verify(&opened).findings.iter().any(|found| found.finding.rule == "bzimage.rdev"), "{at:#x}");
        }
    }
}

#[test]
fn every_change_of_a_zimage_is_noticed() {
    for path in images().into_iter().filter(|path| path.ends_with("zImage")) {
        let bytes = read(&path);
        let name = path.display().to_string();
        let opened = open(&bytes, &Limits::default()).unwrap();
        let payload = opened.layers()[0].regions.iter().find(|region| region.name == "payload").unwrap().at.clone();
        let table = bytes.windows(4).position(|window| window == b"KLSZ").map(|at| at as u64 - 4);
        let table = table.or_else(|| bytes.windows(4).position(|window| window == b"ZSLK").map(|at| at as u64 - 4));
        let table = table.unwrap();
        // BSS and TEXT_OFFSET are the kernel's own business.
        let free =
            |at, mask| (table + 12..table + 16).contains(&at) || at == table + 17 && mask == 0x80 || at == table + 18;
        every_change_is_noticed(&name, &bytes, &[0x24..0x3c, table..table + 28], 60, &free);
        // gzip's own header has a time and a name of an operating system.
        let header = |at, _| at < payload.start + 10;
        every_change_is_noticed(&name, &bytes, std::slice::from_ref(&payload), 12, &header);
        if let Some(pe) = Pe::detect(&bytes).then(|| Pe::parse(&bytes).unwrap()) {
            let free = |at, mask| is_free_pe(&pe, at, mask);
            every_change_is_noticed(&name, &bytes, &[0..2, 0x3c..0x40, pe.at..pe.headers_end()], 80, &free);
        }
    }
}

/// All bytes that a signature signs, and the signature's own table.
#[test]
fn every_change_of_a_signed_image_is_noticed() {
    for path in debian() {
        let bytes = read(&path);
        let Some(pe) = Pe::detect(&bytes).then(|| Pe::parse(&bytes).unwrap()) else { continue }; // no gap: no PE file
        let Some(certificates) = pe.certificate_range() else { continue }; // no gap: not signed
        let name = path.display().to_string();
        let sum = pe.optional_at() + 64;
        let free = |at, _| (sum..sum + 4).contains(&at);
        every_change_is_noticed(&name, &bytes, &[0..certificates.start + 8], 4, &free);
        every_change_is_noticed(&name, &bytes, &pe.signed_fields(), 4, &free);
        // No firmware looks at the sum: where the signed digest is right, it is stale and no more.
        let mut stale = bytes.clone();
        stale[sum as usize] ^= 1;
        let found = verify(&Opened::new(&stale, &Limits::default()).unwrap()).findings;
        let found = found.iter().find(|found| found.finding.rule == "pe.checksum").unwrap();
        assert_eq!(found.finding.severity, Severity::Warning, "{name}");
    }
}

#[test]
fn every_change_of_small_containers_is_noticed() {
    for (name, bytes) in files::all() {
        let len = bytes.len() as u64;
        let noticed = |range: Range<u64>, free: &dyn Fn(u64, u8) -> bool| {
            every_change_is_noticed(name, &bytes, &[range], 400, free);
        };
        match name {
            "bzimage" | "multi" | "script" => noticed(0..len, &|_, _| false),
            // boot_cpuid_phys may be any CPU's.
            "dtb" => noticed(0..40, &|at, _| at > 28 && at < 32),
            "fit" => noticed(0..40, &|at, _| at > 28 && at < 32),
            _ => {}
        }
    }
}

#[test]
fn a_fits_hashed_data_is_compared() {
    for external in [false, true] {
        let bytes = files::fit(external);
        let data = files::gzip(&files::image64(b"ARM\x64"));
        let at = memchr::memmem::find(&bytes, &data).unwrap() as u64;
        every_change_is_noticed("FIT", &bytes, &[at..at + data.len() as u64], 400, &|_, _| false);
    }
}

#[test]
fn against_the_kernel_it_was_made_of() {
    for tree in corpus() {
        let (boot, name) = if tree.is_x86() { ("arch/x86/boot", "bzImage") } else { ("arch/arm/boot", "zImage") };
        let image = tree.path(&format!("{boot}/{name}"));
        let unstripped = tree.path("vmlinux.unstripped");
        for vmlinux in [tree.path("vmlinux"), unstripped].into_iter().filter(|path| path.is_file()) {
            let output = run(kimage().args(["verify", "--against"]).arg(&vmlinux).arg(&image));
            assert!(output.status.success(), "{}: {}", image.display(), stdout(&output));
            assert!(!stdout(&output).contains("error"), "{}", stdout(&output));
        }
        run_ok(kimage().args(["verify", "--against"]).arg(&image).arg(&image));
    }
    let others = images();
    let bzimages: Vec<&PathBuf> = others.iter().filter(|path| path.ends_with("bzImage")).collect();
    for pair in bzimages.windows(2) {
        let output = run(kimage().args(["verify", "--against"]).arg(pair[0]).arg(pair[1]));
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).contains("[against.kernel]"), "{}", stdout(&output));
    }
}

/// Packing lays a kernel without section headers out anew, and a kernel without a banner is one all the same: what is held
/// against it is what is loaded. A byte of that is found where it differs, and so is another entry point.
#[test]
fn against_kernels_that_were_laid_out_anew() {
    let dir = tempdir();
    let real = support::tree("6.1-x86_64").map(|tree| tree.read("vmlinux"));
    let made = [("tiny", read(&testdata("tiny/kernel"))), ("sectionless", files::kernel())];
    // `e_entry` of a 64-bit file.
    const ENTRY: usize = 0x18;
    for (name, vmlinux) in made.into_iter().chain(real.map(|bytes| ("6.1", bytes))) {
        let (path, image) = (dir.path().join(name), dir.path().join(format!("{name}.bzImage")));
        fs::write(&path, &vmlinux).unwrap();
        for codec in ["gzip", "none"] {
            run_ok(kimage().args(["bzimage", "--compress", codec, "-q", "-o"]).arg(&image).arg(&path));
            run_ok(kimage().args(["verify", "--against"]).arg(&path).arg(&image));
        }
        let elf = kimage::elf::Elf::parse(&vmlinux).unwrap();
        let load = elf.segments().iter().find(|segment| segment.kind == 1 && segment.filesz > 0x200).unwrap();
        for at in [ENTRY, (load.offset + load.filesz - 1) as usize, (load.offset + 0x100) as usize] {
            let mut other = vmlinux.clone();
            other[at] ^= 0x10;
            fs::write(&path, &other).unwrap();
            let output = run(kimage().args(["verify", "--against"]).arg(&path).arg(&image));
            assert_eq!(output.status.code(), Some(1), "{name}, {at:#x}: {}", stdout(&output));
            assert!(stdout(&output).contains("[against.kernel]"), "{name}, {at:#x}: {}", stdout(&output));
        }
    }
}

/// A relocation table of another kernel, or one out of order, is found inside the compressed payload.
#[test]
fn a_foreign_relocation_table_is_found() {
    let Some(tree) = support::tree("6.1-x86_64") else { return };
    let bytes = tree.read("arch/x86/boot/bzImage");
    let opened = open(&bytes, &Limits::default()).unwrap();
    let table = opened.layers().iter().find(|layer| layer.name == "relocs").unwrap();
    let payload = opened.contents(table.parent.unwrap()).unwrap().to_vec();
    let start = table.in_parent.start as usize;
    for (rule, change) in [
        (
            "relocs.inside",
            (|words: &mut [u32]| words.iter_mut().filter(|w| **w != 0).for_each(|w| *w += 64)) as fn(&mut [u32]),
        ),
        ("relocs.sorted", |words| words.swap(100, 200)),
    ] {
        let mut words: Vec<u32> =
            payload[start..].chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        change(&mut words);
        let mut changed = payload[..start].to_vec();
        changed.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let packed = files::gzip(&changed);
        let opened = open(&packed, &Limits::default()).unwrap();
        let found = verify(&opened).findings;
        assert!(found.iter().any(|found| found.finding.rule == rule), "{rule}: {found:#?}");
    }
}

/// A file of each format, and the same with a byte changed in the middle: text and JSON, word for word.
#[test]
fn goldens() {
    let update = std::env::var_os("KIMAGE_UPDATE").is_some();
    let folder = testdata("golden");
    let mut reports = Vec::new();
    let (mut text, mut json) = (Vec::new(), Vec::new());
    let shown = ["bzimage", "zimage-dtb", "multi", "dtb", "fit", "zboot"];
    for (name, mut bytes) in files::all().into_iter().filter(|(name, _)| shown.contains(name)) {
        for suffix in ["", ", changed"] {
            let opened = open(&bytes, &Limits::default()).unwrap();
            let verified = verify(&opened);
            let name = format!("{name}{suffix}");
            write_verify_text(&name, &opened, &verified, Style::default(), &mut text).unwrap();
            reports.push(FileVerification::new(&name, Ok((&opened, &verified))));
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x11;
        }
    }
    reports.push(FileVerification::new("nothing", Err("cannot be opened".to_owned())));
    write_files_json("verify", &reports, &mut json).unwrap();
    schema::assert_valid(json_schema("verify").unwrap(), &serde_json::from_slice(&json).unwrap());
    for (name, got) in [("verify.txt", text), ("verify.json", json)] {
        let path: &Path = &folder.join(name);
        if update {
            fs::write(path, &got).unwrap();
        }
        let got = String::from_utf8(got).unwrap();
        assert!(
            got == fs::read_to_string(path).unwrap(),
            "{name} is not as it was; KIMAGE_UPDATE=1 writes it anew:\n{got}"
        );
    }
}

#[test]
fn exit_status_and_streams() {
    let dir = tempdir();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    let (_, bytes) = files::all().into_iter().find(|(name, _)| *name == "bzimage").unwrap();
    fs::write(&good, &bytes).unwrap();
    let mut changed = bytes;
    changed[700] ^= 1;
    fs::write(&bad, &changed).unwrap();
    run_ok(kimage().arg("verify").arg(&good));
    let output = run(kimage().arg("verify").args([&good, &bad]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("[bzimage.crc32]"), "{}", stdout(&output));
    let output = run(kimage().args(["verify", "--json"]).args([&good, &bad, &dir.path().join("none")]));
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    schema::assert_valid(json_schema("verify").unwrap(), &report);
    let ok: Vec<bool> = report["files"].as_array().unwrap().iter().map(|file| file["ok"].as_bool().unwrap()).collect();
    assert_eq!(ok, [true, false, false]);
    assert_eq!(run(kimage().arg("verify")).status.code(), Some(2));
}

/// `p_align` of 2 MiB is what a decompressor demands that has the words for it, and no other.
#[test]
fn alignment_that_the_decompressor_demands() {
    let mut kernel = files::kernel();
    let align = 64 + 48;
    let verdict = |kernel: &[u8], words: &[u8]| {
        let mut elf = elf_builder::Builder::new(true, false, 62);
        let text = elf.section(".head.text", 1, 6, 0, &[0x90; 512]);
        elf.section(".rodata..compressed", 1, 2, 0x1000, &files::gzip(kernel));
        elf.section(".rodata", 1, 2, 0x10_0000, words);
        elf.segment(1, text..text + 1, 0);
        let bytes = elf.build();
        let opened = open(&bytes, &Limits::default()).unwrap();
        assert!(opened.layers().iter().any(|layer| layer.name == "vmlinux"), "the kernel was found");
        verify(&opened).findings.into_iter().filter(|found| found.finding.rule == "elf.align").count()
    };
    let (with, without) =
        (&b"\0Alignment of LOAD segment isn't multiple of 2MB\n\0"[..], &b"\0Destination address too large\n\0"[..]);
    assert_eq!((verdict(&kernel, with), verdict(&kernel, without)), (0, 0));
    kernel[align..align + 8].copy_from_slice(&0x1000_u64.to_le_bytes());
    assert_eq!((verdict(&kernel, with), verdict(&kernel, without)), (1, 0));
}

/// Too little by every formula is an error; by less than the gap between two, not known; as much as the newest asks for is enough.
/// The formulas of protocol 2.15 (Linux 5.5 to 5.8, and from 5.9 on) are 64 KiB apart.
#[test]
fn memory_that_no_formula_tells() {
    // The setup of a build, a decompressor that is nothing but its payload, and no EFI side that tells its memory.
    let built = files::bzimage();
    assert_eq!(built[0x206..0x208], [0x0f, 2]);
    let setup = (usize::from(built[0x1f1]) + 1) * 512;
    let payload = files::gzip(&files::kernel());
    let mut code = [vec![0x90; 0x400], payload.clone(), vec![0x90; 4096]].concat();
    code.resize(code.len().next_multiple_of(16), 0x90);
    let mut image = [&built[..setup], &code[..]].concat();
    image[..2].fill(0);
    let words = [(0x1f4, code.len() / 16), (0x248, 0x400), (0x24c, payload.len()), (0x258, 0x100_0000)];
    for (at, value) in words {
        image[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
    }
    let mut classes: Vec<(&str, u32)> = Vec::new();
    for size in (0..8_u32 << 20).step_by(0x1000) {
        image[0x260..0x264].copy_from_slice(&size.to_le_bytes());
        let opened = open(&image, &Limits::default()).unwrap();
        let verified = verify(&opened);
        let has = |rule: &str| verified.findings.iter().any(|found| found.finding.rule == rule);
        let unknown = verified.unchecked().contains(&"values of init_size");
        let class = match (has("bzimage.init_size"), unknown) {
            (true, false) => "wrong",
            (false, true) => "unknown",
            (false, false) => "enough",
            (true, true) => panic!("{size:#x}: both"),
        };
        match classes.last_mut() {
            Some((last, count)) if *last == class => *count += 1,
            _ => classes.push((class, 1)),
        }
    }
    let names: Vec<&str> = classes.iter().map(|(class, _)| *class).collect();
    assert_eq!(names, ["wrong", "unknown", "enough", "wrong"], "{classes:?}");
    assert_eq!(classes[1].1, 65_536 / 0x1000, "{classes:?}");
}
