//! x86 images of every age and of other programs: read, held to what their own age promises, and packed anew.
//!
//! The oracles are what the image builders of twenty years wrote (../shared/corpus-old), published images (../shared/wild), QEMU,
//! sbsign, and images made here by the boot protocol's document.
#![cfg(feature = "cli")]

use crate::machine;
use crate::support::{self, kimage, missing, read, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use kimage::assemble::{self, StandaloneRequest};
use kimage::codec::Codec;
use kimage::finding::Severity;
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, open};
use kimage::internals::BzImage;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Command;

/// Every file that the tools of that age took and wrote, by its path (`2.6.11-i386/plain/bzImage`).
pub(super) fn tool_outputs() -> Option<BTreeMap<String, Vec<u8>>> {
    let archive = support::shared("corpus-old/tool-outputs.tar.xz");
    if !archive.is_file() {
        missing(&format!("no images of old builders: {} is not there", archive.display()));
        return None;
    }
    let mut tar = Vec::new();
    Codec::Xz.decompress(&read(&archive), 1 << 30, &mut tar).unwrap();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    Some(files)
}

/// What the gzip command makes of a stream with other bytes behind it.
fn gunzip(stream: &[u8]) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(stream).unwrap();
    run(Command::new("gzip").arg("-dc").stdin(file.reopen().unwrap())).stdout
}

fn errors(bytes: &[u8]) -> Vec<String> {
    let opened = open(bytes, &Limits::default()).unwrap();
    let found = verify(&opened).findings.into_iter().map(|found| found.finding);
    found.filter(|one| one.severity == Severity::Error).map(|one| format!("{}: {}", one.rule, one.message)).collect()
}

fn rules(bytes: &[u8]) -> Vec<&'static str> {
    let opened = open(bytes, &Limits::default()).unwrap();
    verify(&opened).findings.into_iter().map(|found| found.finding.rule).collect()
}

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(super) fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

#[test]
fn what_the_builders_of_every_age_wrote_is_right_and_cut_it_is_not() {
    let Some(files) = tool_outputs() else { return };
    let mut count = 0;
    let mut seen = std::collections::BTreeSet::new();
    for (name, image) in &files {
        let file = name.rsplit('/').next().unwrap();
        // A refused build leaves rubbish; `efi-initsize` has a number that no formula gives.
        let command = name.rsplit_once('/').and_then(|(folder, _)| files.get(&format!("{folder}/COMMAND")));
        let good = command.is_some_and(|text| String::from_utf8_lossy(text).contains("exit status 0"));
        if !matches!(file, "bzImage" | "zImage") || !good || name.contains("efi-initsize") {
            continue;
        }
        count += 1;
        assert_eq!(errors(image), [""; 0], "{name}");
        let version = half(image, 0x206);
        // Below 2.08 the last paragraph is not filled up, and how much of it there is nothing tells.
        let cut = if version < 0x208 { 16 } else { 1 };
        assert!(!errors(&image[..image.len() - cut]).is_empty(), "{name}: {cut} bytes less");
        let mut longer = image.clone();
        longer.extend(b"0123456789abcdef");
        assert!(!errors(&longer).is_empty(), "{name}: 16 bytes more");
        // The kernel: its stream is the only one in the decompressor that was wrapped, where `gzip` itself reads it.
        let mut opened = open(image, &Limits::default()).unwrap();
        let Some(vmlinux) = opened.part("vmlinux") else { panic!("{name}: no kernel found") };
        if seen.insert(name.split('/').next().unwrap().to_owned()) {
            let unpacked = gunzip(&image[memchr::memmem::rfind(image, &[0x1f, 0x8b, 8]).unwrap()..]);
            assert!(unpacked.starts_with(opened.part_bytes(&vmlinux)), "{name}");
        }
    }
    assert!(count > 200, "{count}");
}

/// What the build has yet to fill in is no damage.
#[test]
fn a_setup_alone_is_called_so() {
    let Some(files) = tool_outputs() else { return };
    let opened = open(&files["2.6.24-i386/plain/setup.bin"], &Limits::default()).unwrap();
    let found = verify(&opened).findings;
    assert!(found[0].finding.help.starts_with("this is a setup.bin alone"), "{found:?}");
}

/// A boot protocol header of some other program, in front of `code`.
fn foreign(version: u16, syssize: u32, code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1f4, &syssize.to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &version.to_le_bytes());
    put(0x20e, &0x80_u16.to_le_bytes());
    put(0x211, &[0x81]);
    put(0x214, &0x20_0000_u32.to_le_bytes());
    put(0x22c, &u32::MAX.to_le_bytes());
    put(0x280, b"Tester v7\0");
    file.extend(code);
    file
}

#[test]
fn other_programs_are_held_to_the_protocol_alone() {
    let code: Vec<u8> = (0..1001_u32).map(|at| (at % 251) as u8 + 1).collect();
    let paragraphs = 1001_u32.div_ceil(16);
    for (version, syssize) in
        [(0x20a, paragraphs), (0x207, paragraphs), (0x203, 0), (0x203, paragraphs), (0x20c, paragraphs)]
    {
        let file = foreign(version, syssize, &code);
        assert_eq!(rules(&file), [""; 0], "{version:#x} {syssize}");
        let image = BzImage::parse(&file).unwrap();
        assert_eq!(image.system_range(), (1024, 1024 + 1001));
        assert!(image.check_crc().is_none());
    }
    // What the protocol does demand.
    assert!(BzImage::parse(&foreign(0x20a, paragraphs + 1, &code)).is_err(), "more than there is");
    let mut bad = foreign(0x20c, paragraphs, &code);
    bad[0x248..0x250].copy_from_slice(&[0, 0x10, 0, 0, 1, 0, 0, 0]);
    assert_eq!(rules(&bad), ["bzimage.payload"]);
    // Not a word about damage or edits, and no kernel is promised where there is none.
    let dir = tempdir();
    let path = dir.path().join("tester");
    std::fs::write(&path, foreign(0x20a, paragraphs, &code)).unwrap();
    let refused = run(kimage().arg("bzimage").arg(&path).arg("-o").arg(dir.path().join("out")));
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("no kernel is found"), "{}", stderr(&refused));
}

/// 16 bits of `syssize` overflow with a bzImage's length up to Linux 2.6.13: the code goes to the end of the file, and the bits that
/// are there must fit.
#[test]
fn sixteen_bits_of_syssize_are_held_to_the_length_modulo_a_mebibyte() {
    let mut file = foreign(0x203, 0, &vec![0x90; (1 << 20) + 1000]);
    file[0x280..0x2a0].copy_from_slice(b"2.4.99 (someone@somewhere) #1\0\0\0");
    file[0x1f2] = 1;
    file[0x20a..0x20e].fill(0);
    file[0x20c] = 0;
    file[0x20d] = 0x10;
    file[0x211] = 1;
    file[0x212..0x214].copy_from_slice(&0x8000_u16.to_le_bytes());
    file[0x214..0x218].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    file[0x1fa..0x1fc].fill(0xff);
    file[0x1f4..0x1f6].copy_from_slice(&63_u16.to_le_bytes());
    // What stood behind the field was another one.
    file[0x1f6] = 0x55;
    assert_eq!(BzImage::parse(&file).unwrap().system_range().1, file.len() as u64);
    assert!(!rules(&file).contains(&"bzimage.length"));
    let cut = &file[..file.len() - 16];
    assert!(rules(cut).contains(&"bzimage.length"));
    file.resize(file.len() + 4096, 0);
    let found = rules(&file);
    assert!(found.contains(&"bzimage.trailer") && !found.contains(&"bzimage.length"), "{found:?}");
}

/// What rdev and the build machine left in a header is for the kernel, and goes with it.
#[test]
fn the_header_goes_with_the_kernel() {
    let kernel = read(&testdata("tiny/kernel"));
    let plain = StandaloneRequest { efi: false, ..StandaloneRequest::default() };
    let emit = |bytes: &[u8]| {
        let built = assemble::bzimage_standalone(bytes, &plain).unwrap();
        kimage::internals::planned(&built.plan)
    };
    let mut old = emit(&kernel);
    assert_eq!((half(&old, 0x1f2), half(&old, 0x1fa), half(&old, 0x1fc)), (1, 0xffff, 0));
    let fields = [(0x1f2, 0_u16), (0x1f8, 0x4000), (0x1fa, 0x317), (0x1fc, 0x0802)];
    for (at, value) in fields {
        old[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    old[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
    old[0x238..0x23c].copy_from_slice(&255_u32.to_le_bytes());
    let new = emit(&old);
    for (at, value) in fields {
        assert_eq!(half(&new, at), value, "{at:#x}");
    }
    assert_eq!((word(&new, 0x22c), word(&new, 0x238)), (0x37ff_ffff, 255));
}

/// Published kernels boot out of their new image to the very point they boot to from the old: Linux 2.4.18, a flat kernel, and 2.6.29,
/// both without `root=`, which only the old header knows.
#[test]
fn old_kernels_boot_out_of_a_new_image() {
    let (Some(wild), Some(qemu)) = (support::wild(), tool("qemu-system-x86_64", "qemu-system-x86")) else { return };
    let dir = tempdir();
    for (file, words) in [
        ("062-bzImage-2.4.18", "Unable to mount root fs on 08:02"),
        ("103-bzImage-mini-2.6.29", "Unable to mount root fs on unknown-block(253,0)"),
    ] {
        let image = dir.path().join(file);
        let built = run_ok(kimage().arg("bzimage").arg(wild.join(file)).arg("-o").arg(&image));
        if file.starts_with("062") {
            assert!(stderr(&built).contains("APM BIOS"), "{}", stderr(&built));
        }
        let mut command = Command::new(&qemu);
        command.args(["-M", "pc", "-cpu", "max", "-m", "256", "-display", "none", "-serial", "stdio", "-no-reboot"]);
        command.arg("-kernel").arg(&image).args(["-append", "console=ttyS0 panic=1 no_timer_check"]);
        machine::Machine::start(file, &mut command).wait_for(words);
    }
}

/// Too little and too much, whatever formula the age may have had; and the CPU by the ELF file inside.
#[test]
fn memory_that_is_too_small_is_still_noticed() {
    let Some(wild) = support::wild() else { return };
    for (file, is_64) in [("007-bzImage-apu3", true), ("112-vmlinuz-openwrt-x86-64", true), ("132-vmlinuz-viab", true)]
    {
        let mut bytes = read(&wild.join(file));
        let arch = run_ok(kimage().arg("info").arg(wild.join(file)).args(["--field", "arch"]));
        assert_eq!(stdout(&arch).trim() == "x86-64", is_64, "{file}");
        for wrong in [word(&bytes, 0x260) / 2, word(&bytes, 0x260) + (16 << 20), word(&bytes, 0x260) - 0x2_0000] {
            bytes[0x260..0x264].copy_from_slice(&wrong.to_le_bytes());
            assert!(rules(&bytes).contains(&"bzimage.init_size"), "{file}: {wrong:#x}");
            let right = read(&wild.join(file));
            bytes[0x260..0x264].copy_from_slice(&right[0x260..0x264]);
        }
    }
}

/// Signing changes bytes that the CRC counts: a note, once and twice signed.
#[test]
fn a_crc_that_signing_broke_is_a_note() {
    let (Some(openssl), Some(sbsign)) = (tool("openssl", "openssl"), tool("sbsign", "sbsigntool")) else { return };
    let dir = tempdir();
    let at = |name: &str| dir.path().join(name);
    let mut key = Command::new(openssl);
    key.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "9", "-keyout"]);
    run_ok(key.arg(at("key")).arg("-out").arg(at("certificate")));
    for tree in support::x86_trees() {
        let image = tree.read("arch/x86/boot/bzImage");
        let crc = BzImage::parse(&image).unwrap().crc32();
        if crc.is_none() || !image.starts_with(b"MZ") {
            continue;
        }
        std::fs::write(at("0"), &image).unwrap();
        for (from, to) in [("0", "1"), ("1", "2")] {
            let mut sign = Command::new(&sbsign);
            sign.arg("--key")
                .arg(at("key"))
                .arg("--cert")
                .arg(at("certificate"))
                .arg("--output")
                .arg(at(to))
                .arg(at(from));
            run_ok(&mut sign);
            let signed = read(&at(to));
            assert_eq!(errors(&signed), [""; 0], "{}", tree.name);
            assert!(rules(&signed).contains(&"bzimage.crc32_signed"), "{}", tree.name);
            // A byte that the signature covers.
            let mut damaged = signed.clone();
            let middle = image.len() / 2;
            damaged[middle] ^= 1;
            assert!(errors(&damaged).iter().any(|error| error.starts_with("bzimage.crc32:")), "{}", tree.name);
        }
    }
}

/// A kernel of one page that says so when it is entered as those of Linux 2.6.20 to 2.6.25 must be: at its address, in 32-bit mode,
/// with `%ebx` 0 and the boot parameters in `%esi`.
pub(super) fn speaking_kernel(address: u32, words: &str) -> Vec<u8> {
    let mut kernel = vec![0x85, 0xdb, 0x75, 0x1d]; // test %ebx, %ebx; jne 33
    kernel.extend([0x81, 0xbe, 2, 2, 0, 0]); // cmpl $"HdrS", 0x202(%esi)
    kernel.extend(b"HdrS");
    kernel.extend([0x75, 0x11, 0xbe]); // jne 33; mov $words, %esi
    kernel.extend((address + 64).to_le_bytes());
    kernel.extend([0x66, 0xba, 0xf8, 0x03]); // mov $0x3f8, %dx
    kernel.extend([0xac, 0x84, 0xc0, 0x74, 3, 0xee, 0xeb, 0xf8]); // lodsb; test %al, %al; jz 33; out %al, %dx; jmp 25
    kernel.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp 33
    assert_eq!(kernel.len(), 36);
    kernel.resize(64, 0);
    kernel.extend(words.bytes());
    kernel.extend(b"\n\0");
    kernel.resize(512, 0);
    kernel.extend(b"\0\0\0\0Linux version 2.6.22.6 (u@h) (gcc version 4.1.2) #1 Mon Jan 1 00:00:00 UTC 2007\n\0");
    kernel.extend((0..40_000_u32).map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]));
    kernel
}

/// A kernel that says so when it is entered as 64-bit ones of Linux 2.6.22 to 2.6.25 must be: in 64-bit mode at the address that
/// it says it was linked for, with the boot parameters in `%rsi`, and the memory behind it mapped to itself.
fn speaking_kernel_of_64_bits(address: u32, words: &str) -> Vec<u8> {
    let mut kernel = vec![0x48, 0x8d, 0x2d, 0xf9, 0xff, 0xff, 0xff, 0x48, 0x81, 0xed]; // lea _text(%rip), %rbp; sub $address, %rbp
    kernel.extend(address.to_le_bytes());
    kernel.extend([0x48, 0x85, 0xed, 0x75, 0x2a]); // test %rbp, %rbp; jne 61
    kernel.extend([0x81, 0xbe, 2, 2, 0, 0]); // cmpl $"HdrS", 0x202(%rsi)
    kernel.extend(b"HdrS");
    kernel.extend([0x75, 0x1e, 0x48, 0x8d, 0x35, 0x1e, 0, 0, 0]); // jne 61; lea words(%rip), %rsi
    kernel.extend([0x66, 0xba, 0xf8, 0x03]); // mov $0x3f8, %dx
    kernel.extend([0x48, 0x8b, 0x85, 0x00, 0x00, 0x80, 0x00]); // mov 0x800000(%rbp), %rax
    kernel.extend([0xac, 0x84, 0xc0, 0x74, 8, 0xee, 0xeb, 0xf8]); // lodsb; test %al, %al; jz 65; out %al, %dx; jmp 50
    kernel.resize(66, 0xf4); // hlt
    kernel.extend([0xeb, 0xfd]); // jmp 65
    assert_eq!(kernel.len(), 68);
    kernel.extend(words.bytes());
    kernel.extend(b"\n\0");
    kernel.resize(512, 0);
    kernel.extend(b"\0\0\0\0Linux version 2.6.24.7 (u@h) (gcc version 4.1.2) #1 Mon Jan 1 00:00:00 UTC 2008\n\0");
    kernel.extend((0..40_000_u32).map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]));
    kernel
}

/// What a decompressor of a 64-bit kernel does: it reads EFER and sets LME.
const LONG_MODE: [u8; 13] = [0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x0f, 0xba, 0xe8, 8, 0x0f, 0x30];

/// Flat 64-bit kernels of Linux 2.6.22 to 2.6.25: one of ours, and a published one of 2.6.32, which begins with the same
/// instructions, made flat as the builds of that age did. QEMU is the oracle.
#[test]
fn flat_kernels_of_64_bits_are_entered_in_64_bit_mode() {
    let dir = tempdir();
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86");
    let boot = |kernel: &[u8], words: &str, megabytes: &str| {
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, image_of_2_6_22(kernel, &LONG_MODE, &[])).unwrap();
        let built = run_ok(kimage().arg("bzimage").arg(&old).arg("-o").arg(&new));
        assert!(stderr(&built).contains("8 MiB are set aside"), "{}", stderr(&built));
        assert_eq!(stdout(&run_ok(kimage().args(["info", "--field", "arch"]).arg(&new))).trim(), "x86-64");
        let Some(qemu) = &qemu else { return }; // no gap: said where it was looked for
        let mut command = Command::new(qemu);
        command.args([
            "-M",
            "pc",
            "-cpu",
            "Nehalem-v1",
            "-m",
            megabytes,
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ]);
        command.arg("-kernel").arg(&new).args(["-append", "console=ttyS0 panic=1 no_timer_check"]);
        machine::Machine::start(words, &mut command).wait_for(words);
    };
    for address in [0x20_0000_u32, 0x100_0000] {
        let words = format!("ENTERED 64 AT {address:#x}");
        boot(&speaking_kernel_of_64_bits(address, &words), &words, "64");
    }
    let Some(wild) = support::wild() else { return };
    let (elf, flat) = (dir.path().join("elf"), dir.path().join("flat"));
    run_ok(kimage().arg("extract").arg(wild.join("132-vmlinuz-viab")).arg("vmlinux").arg("-o").arg(&elf));
    run_ok(kimage().arg("image").arg(&elf).arg("-o").arg(&flat));
    boot(&read(&flat), "Unable to mount root fs", "256");
}

/// The setup of an older protocol, and the protected-mode code behind it.
fn old_image(version: u16, code: &[u8]) -> Vec<u8> {
    let mut setup = read(&testdata("tiny").join("setup.bin"));
    setup.resize(setup.len().next_multiple_of(512), 0);
    setup[..2].fill(0);
    setup[0x1f1] = u8::try_from(setup.len() / 512 - 1).unwrap();
    setup[0x206..0x208].copy_from_slice(&version.to_le_bytes());
    let mut code = code.to_vec();
    code.resize(code.len().next_multiple_of(16), 0);
    setup[0x1f4..0x1f8].copy_from_slice(&u32::try_from(code.len() / 16).unwrap().to_le_bytes());
    [setup, code].concat()
}

/// Up to protocol 2.07 no header leads to the kernel: one that was damaged is an error all the same, and where none is found,
/// nobody knows.
#[test]
fn a_damaged_kernel_without_a_header_is_not_called_good() {
    let mut kernel = speaking_kernel(0x10_0000, "");
    kernel.extend(support::noise(100_000, 1));
    let good = image_of_2_6_22(&kernel, &[], &[]);
    assert_eq!(rules(&good), [""; 0]);
    let mut damaged = good.clone();
    let from = good.len() - 20_000;
    damaged[from..from + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
    assert_eq!(rules(&damaged), ["stream.damaged"]);
    let nothing = old_image(0x206, &kernel[1000..]);
    assert_eq!(rules(&nothing), ["bzimage.kernel"]);
    let opened = open(&nothing, &Limits::default()).unwrap();
    assert_eq!(verify(&opened).unchecked(), ["the compressed kernel"]);
}

/// Protocol 2.06 around a decompressor that has what Linux 2.6.22's says of the address in front of the payload and behind it.
fn image_of_2_6_22(kernel: &[u8], front: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(kernel).unwrap();
    old_image(0x206, &[&[0xfc, 0xfa][..], front, &packed.finish().unwrap(), behind].concat())
}

/// Flat kernels of Linux 2.6.20 to 2.6.25: their decompressors name the address in two ways, by whether they may be moved. QEMU is
/// the oracle: the kernel itself says whether it was entered rightly.
#[test]
fn flat_kernels_of_2_6_20_to_2_6_25_are_entered_as_they_want() {
    let dir = tempdir();
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86");
    let end: &[u8] = &[0x83, 0xc4, 0x14, 0x59, 0x31, 0xdb, 0xff, 0xe5];
    for address in [0x10_0000_u32, 0x80_0000] {
        let bytes = address.to_le_bytes();
        let fixed = [&[0xbd][..], &bytes, &[0x8d, 0x83, 0x10, 0x7d, 0x27, 0, 0xff, 0xe0]].concat();
        let moved = [&[0x59, 0x89, 0xef, 0x01, 0xcf, 0x89, 0xeb, 0x81, 0xeb][..], &bytes, &[0x74, 0], end].concat();
        for (name, front, behind) in [("fixed", &fixed[..], end), ("moved", &[0x90][..], &moved[..])] {
            let words = format!("ENTERED {name} AT {address:#x}");
            let kernel = speaking_kernel(address, &words);
            let old = dir.path().join("old");
            std::fs::write(&old, image_of_2_6_22(&kernel, front, behind)).unwrap();
            let new = dir.path().join(name);
            run_ok(kimage().arg("bzimage").arg(&old).arg("-o").arg(&new));
            let Some(qemu) = &qemu else { continue }; // no gap: said where it was looked for
            let mut command = Command::new(qemu);
            command.args(["-M", "pc", "-cpu", "max", "-m", "64", "-display", "none", "-serial", "stdio", "-no-reboot"]);
            machine::Machine::start(name, command.arg("-kernel").arg(&new)).wait_for(&words);
        }
    }
    // A kernel that is not compressed at all, as tccboot loads it: where its image is loaded.
    let words = "ENTERED bare";
    let kernel = speaking_kernel(0x10_0000, words);
    let (old, new) = (dir.path().join("old"), dir.path().join("bare"));
    std::fs::write(&old, old_image(0x203, &kernel)).unwrap();
    run_ok(kimage().arg("bzimage").arg(&old).arg("-o").arg(&new));
    if let Some(qemu) = &qemu {
        let mut command = Command::new(qemu);
        command.args(["-M", "pc", "-cpu", "max", "-m", "64", "-display", "none", "-serial", "stdio", "-no-reboot"]);
        machine::Machine::start(words, command.arg("-kernel").arg(&new)).wait_for(words);
    }
    // Nothing says where it goes, or it is entered in 64-bit mode and does not say it: refused, each with its reason.
    let named = [0xbd, 0, 0, 0x10, 0, 0x8d, 0x83, 0, 0, 0, 0, 0xff, 0xe0];
    for (front, reason) in
        [(vec![0x90], "does not say where it goes"), ([&LONG_MODE[..], &named].concat(), "64-bit mode")]
    {
        let old = dir.path().join("old");
        std::fs::write(&old, image_of_2_6_22(&speaking_kernel(0x10_0000, ""), &front, end)).unwrap();
        let output = run(kimage().arg("bzimage").arg(&old).arg("-o").arg(dir.path().join("none")));
        assert!(!output.status.success() && stderr(&output).contains(reason), "{}", stderr(&output));
    }
}
