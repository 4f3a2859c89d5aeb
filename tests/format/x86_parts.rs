//! x86 images of every generation, put together from what that kernel's build left.
//!
//! The oracles are the builders themselves (../shared/corpus-old), arithmetic of our own over parts made here, and QEMU.
#![cfg(feature = "cli")]

use crate::machine;
use crate::support::{self, assert_same, kimage, make, missing, put, read, run, run_ok, stderr, tempdir, tool};
use crate::x86_ages::{half, speaking_kernel, tool_outputs, word};
use kimage::assemble::{X86Request, x86_image};
use kimage::kbuild::{zoffset_header, zoffsets};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// As `x86_image`, or the message of its error.
fn image(vmlinux: &[u8], request: &X86Request<'_>) -> Result<Vec<u8>, String> {
    let built = x86_image(vmlinux, request).map_err(|error| error.to_string())?;
    let mut image = Vec::new();
    built.emit(&mut image).unwrap();
    Ok(image)
}

/// 294 cases: each generation's tool, linked and flat decompressor, flat and linked setup; what the tool refused is refused.
#[test]
fn images_of_every_generation_come_out_as_their_builders_wrote_them() {
    let Some(files) = tool_outputs() else { return }; // no gap: it has said so
    let (mut made, mut refused) = (0, 0);
    for (name, command) in files.iter().filter(|(name, _)| name.ends_with("/COMMAND")) {
        let folder = name.trim_end_matches("COMMAND");
        let file = |name: &str| files.get(&format!("{folder}{name}"));
        let command = String::from_utf8_lossy(command);
        let is_low = file("bzImage").is_none();
        let want = file(if is_low { "zImage" } else { "bzImage" }).unwrap();
        let root_dev = if command.contains(" sda2 ") { (8, 2) } else { (0, 0) };
        let root_dev = if command.contains(" hi ") { (260, 300) } else { root_dev };
        let symbols = file("zoffset.h").map_or_else(Vec::new, |text| zoffsets(text).unwrap());
        if let Some(want) = file("zoffset.h") {
            let found = zoffset_header(file("vmlinux").unwrap(), None).unwrap();
            assert_eq!(found.as_bytes(), want, "{folder}");
        }
        for vmlinux in ["vmlinux", "vmlinux.bin"] {
            for setup in ["setup", "setup.bin", "setup.elf"] {
                let Some(setup) = file(setup) else { continue }; // no gap: an age has either `setup` or the others
                let bootsect = file("bootsect").map(Vec::as_slice);
                let request =
                    X86Request { bootsect, setup, zoffset: &symbols, root_dev, is_low, ..X86Request::default() };
                let found = image(file(vmlinux).unwrap(), &request);
                if command.contains("exit status 0") {
                    assert_same(folder, &found.unwrap_or_else(|error| panic!("{folder}{vmlinux}: {error}")), want);
                    made += 1;
                } else {
                    assert!(found.unwrap_err().contains("a zImage can have at most 520192"), "{folder}");
                    refused += 1;
                }
            }
        }
    }
    assert!(made > 800 && refused > 20, "{made} {refused}");
}

type Words = &'static [&'static str];

/// Parts of published kernels: image, then vmlinux, setups, options.
const TREES: &[(&str, Words, Words, Words)] = &[
    (
        "2.2.17-i386/bzImage",
        &["2.2.17-i386/compressed/bvmlinux", "2.2.17-i386/compressed/bvmlinux.out"],
        &["2.2.17-i386/bbootsect", "2.2.17-i386/bsetup"],
        &["--root-dev", "8:2"],
    ),
    (
        "2.4.18-i386/bzImage",
        &["2.4.18-i386/compressed/bvmlinux", "2.4.18-i386/compressed/bvmlinux.out"],
        &["2.4.18-i386/bbootsect", "2.4.18-i386/bsetup"],
        &["--root-dev", "8:2"],
    ),
    (
        "2.6.11-x86_64/bzImage",
        &["2.6.11-x86_64/compressed/vmlinux", "2.6.11-x86_64/vmlinux.bin"],
        &["2.6.11-x86_64/bootsect", "2.6.11-x86_64/setup"],
        &["--root-dev", "3:1"],
    ),
    (
        "mixed/a-2.6.22-setup/bzImage",
        &["mixed/a-2.6.22-setup/vmlinux"],
        &["mixed/a-2.6.22-setup/bootsect", "mixed/a-2.6.22-setup/setup"],
        &[],
    ),
    ("mixed/b-2.6.35-setup/bzImage", &["mixed/b-2.6.35-setup/vmlinux"], &["mixed/b-2.6.35-setup/setup.elf"], &[]),
    (
        "mixed/b-2.6.35-setup/bzImage.root-8-2",
        &["mixed/b-2.6.35-setup/vmlinux"],
        &["mixed/b-2.6.35-setup/setup.bin"],
        &["--root-dev", "8:2"],
    ),
    ("mixed/c-3.14-setup/bzImage", &["mixed/c-3.14-setup/vmlinux"], &["mixed/c-3.14-setup/setup.bin"], &[]),
    // Flat, for UEFI: zoffset.h stands beside the setup.
    (
        "mixed/d-rhel-setup-efi/bzImage",
        &["mixed/d-rhel-setup-efi/vmlinux.bin"],
        &["mixed/d-rhel-setup-efi/setup.bin"],
        &[],
    ),
    (
        "5.14-striplinux/bzImage",
        &["5.14-striplinux/compressed/vmlinux", "5.14-striplinux/vmlinux.bin"],
        &["5.14-striplinux/setup.bin"],
        &[],
    ),
];

#[test]
fn images_of_published_trees_come_out_as_they_were_published() {
    let Some(dir) = support::old_trees(TREES.iter().map(|(image, ..)| image.rsplit_once('/').unwrap().0)) else {
        return;
    };
    let at = |name: &&str| dir.path().join(name);
    for (want, vmlinux, setup, options) in TREES {
        for vmlinux in *vmlinux {
            let out = at(&"out");
            let mut command = kimage();
            command.arg("bzimage").arg(at(vmlinux)).args(setup.iter().map(at)).args(*options).arg("-o").arg(&out);
            run_ok(&mut command);
            assert_same(vmlinux, &read(&out), &read(&at(want)));
        }
    }
    let mut low = kimage();
    low.arg("zimage").args(["compressed/vmlinux", "bootsect", "setup"].map(|name| at(&"2.2.17-i386").join(name)));
    let output = run(low.arg("-o").arg(at(&"none")));
    assert!(stderr(&output).contains("590944 bytes with its padding"), "{}", stderr(&output));
}

/// Boot sector and setup of a protocol's version, `len` bytes of setup, as its build leaves them.
fn setup(version: u16, is_low: bool, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..512 + len).map(|at| (at % 251) as u8).collect();
    bytes[..0x400].fill(0);
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let is_filled_in = version <= 0x209;
    put(0x1f1, &[if is_filled_in { 4 } else { 0 }]);
    put(0x1f4, &u32::from_le_bytes(if is_filled_in { [0, 0x7f, 0, 0] } else { [0; 4] }).to_le_bytes());
    put(0x1fc, &[9, 9, 0x55, 0xaa, 0xeb, 0x66]);
    put(0x202, b"HdrS");
    put(0x206, &version.to_le_bytes());
    put(0x20e, &0x100_u16.to_le_bytes());
    put(0x211, &[u8::from(!is_low)]);
    put(0x300, b"2.6.0 (made@up) #1\0");
    bytes
}

/// A flat decompressor: a gzip stream among `len` bytes.
fn flat(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|at| (at % 241) as u8).collect();
    bytes[40..50].copy_from_slice(&[0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 2, 3]);
    bytes
}

/// The layout by hand: sectors, paragraphs, padding and CRC from 2.08 on, 16 bits of `syssize` before 2.04.
#[test]
fn sizes_of_each_protocol_are_those_of_its_builder() {
    for version in [0x201_u16, 0x202, 0x203, 0x204, 0x206, 0x207, 0x209, 0x20a] {
        for (setup_len, len) in [(1100, 1000), (3000, 1004), (4608 - 512, 1005), (6000, 0x10_0b31)] {
            let (setup, code) = (setup(version, false, setup_len), flat(len));
            let has_crc = version >= 0x208;
            let sectors = (512 + setup_len).div_ceil(512).max(5);
            let paragraphs = (len + if has_crc { 4 } else { 0 }).div_ceil(16);
            let mut want = setup.clone();
            want.resize(sectors * 512, 0);
            want[0x1f1] = (sectors - 1) as u8;
            let syssize = (paragraphs as u32).to_le_bytes();
            want[0x1f4..0x1f6].copy_from_slice(&syssize[..2]);
            if version >= 0x204 {
                want[0x1f6..0x1f8].copy_from_slice(&syssize[2..]);
            }
            // 259:258 is major 3 and minor 2.
            want[0x1fc..0x1fe].copy_from_slice(&[2, 3]);
            want.extend(&code);
            if has_crc {
                want.resize(sectors * 512 + paragraphs * 16 - 4, 0);
                want.extend((!crc32fast::hash(&want)).to_le_bytes());
            }
            // As one file, as two, and as two of the a.out format that Linux 2.2 had.
            let root_dev = (259, 258);
            let whole = X86Request { setup: &setup, root_dev, ..X86Request::default() };
            assert_same("setup.bin", &image(&code, &whole).unwrap(), &want);
            let (sector, rest) = setup.split_at(512);
            let two =
                |bootsect, setup| X86Request { bootsect: Some(bootsect), setup, root_dev, ..X86Request::default() };
            assert_same("two parts", &image(&code, &two(sector, rest)).unwrap(), &want);
            let minix = |bytes: &[u8]| [&[1, 3, 0x10, 4, 32][..], &[0; 27], bytes].concat();
            assert_same("a.out", &image(&code, &two(&minix(sector), &minix(rest))).unwrap(), &want);
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let (high, low) = (setup(0x206, false, 3000), setup(0x206, true, 3000));
    let code = flat(0x7f000);
    let request = |setup, is_low| X86Request { setup, is_low, ..X86Request::default() };
    let zimage = image(&code, &request(&low, true)).unwrap();
    assert_eq!((half(&zimage, 0x1f4), zimage.len()), (0x7f00, 3584 + 0x7f000));
    let too_long = flat(0x7f001);
    for (found, words) in [
        (image(&too_long, &request(&low, true)), "520208 bytes with its padding, a zImage can have at most 520192"),
        (image(&code, &request(&high, true)), "this is the setup of a bzImage"),
        (image(&code, &request(&low, false)), "this is the setup of a zImage"),
        (image(&code, &request(&high[512..], false)), "a setup without its boot sector"),
        (image(&vec![7; 5000], &request(&high, false)), "this is no kernel file that kimage knows"),
    ] {
        let error = found.unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let two = |bootsect, setup| X86Request { bootsect: Some(bootsect), setup, ..X86Request::default() };
    let minix = |at: usize| {
        let mut file = [&[1, 3, 0x10, 4, 32][..], &[0; 27], &high[512..]].concat();
        file[at] = 1;
        file
    };
    let with_data = minix(12);
    for (bootsect, second, words) in [
        (&high[..512], &high[..], "wanted arch/i386/boot/setup"),
        (&high[..500], &high[512..], "length at offset 0x0: found 0x1f4, wanted 0x200"),
        (&high[..512], &with_data[..], "wanted arch/i386/boot/setup"),
    ] {
        let error = image(&code, &two(bootsect, second)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let with_symbols = minix(28);
    let error = image(&code, &two(&with_symbols, &high[512..])).unwrap_err();
    assert!(error.starts_with("a_syms at offset 0x1c"), "{error}");
    // What Linux from 3.6 on has no root_dev, and from 3.8 on needs symbols for.
    let new = setup(0x20c, false, 3000);
    let error = image(&code, &X86Request { root_dev: (8, 1), ..request(&new, false) }).unwrap_err();
    assert!(error.contains("root_dev at offset 0x1fc is 0 in every kernel"), "{error}");
    let mut efi = new.clone();
    efi[..2].copy_from_slice(b"MZ");
    assert!(image(&code, &request(&new, false)).is_ok());
    assert!(image(&code, &request(&efi, false)).unwrap_err().contains("a flat file without symbols"));
}

/// Code that goes from real mode to 0x10000, with the boot parameters in `%esi`, as the setup of a kernel does.
fn entering_setup() -> Vec<u8> {
    let mut bytes = setup(0x206, true, 1100);
    // In the segment of the setup, 0x9020: from 0x246 of the file on.
    let code = [
        &[0xeb, 0x44][..],                              // jmp 0x46
        &[0xfa, 0x2e, 0x0f, 0x01, 0x16, 0x80, 0],       // cli; lgdt %cs:0x80
        &[0x66, 0x31, 0xdb],                            // xor %ebx, %ebx
        &[0x66, 0xbe, 0, 0, 9, 0],                      // mov $0x90000, %esi
        &[0x0f, 0x20, 0xc0, 0x0c, 1, 0x0f, 0x22, 0xc0], // mov %cr0, %eax; or $1, %al; mov %eax, %cr0
        &[0xb8, 0x18, 0, 0x8e, 0xd8],                   // mov $0x18, %ax; mov %ax, %ds
        &[0x66, 0xea, 0, 0, 1, 0, 0x10, 0],             // ljmp $0x10, $0x10000
    ];
    bytes[0x200..0x202].copy_from_slice(code[0]);
    let code = code[1..].concat();
    bytes[0x246..0x246 + code.len()].copy_from_slice(&code);
    bytes[0x280..0x286].copy_from_slice(&[0x1f, 0, 0x88, 2, 9, 0]); // 32 bytes at 0x90288
    let segments = [[0; 8], [0; 8], [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0], [0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]];
    bytes[0x288..0x2a8].copy_from_slice(&segments.concat());
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A zImage is loaded at 0x10000; QEMU's own loader and GRUB's for real mode still know how.
#[test]
fn a_zimage_boots() {
    let dir = tempdir();
    let (words, parts) = ("ENTERED low", entering_setup());
    let kernel = speaking_kernel(0x1_0000, words);
    let code = [&kernel[..], &gzip(&kernel)].concat();
    let file = |name, bytes: &[u8]| put(dir.path(), name, bytes);
    let (code, sector, second) =
        (file("vmlinux.bin", &code), file("bootsect", &parts[..512]), file("setup", &parts[512..]));
    let two = make(dir.path(), "zImage", "zimage", &[&code, &sector, &second], &[]);
    let one = make(dir.path(), "zImage.one", "zimage", &[&code, &file("setup.bin", &parts)], &[]);
    assert_same("one part or two", &read(&one), &read(&two));
    assert_eq!((read(&two)[0x211], word(&read(&two), 0x1f4) as usize), (0, read(&code).len().div_ceil(16)));
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let mut command = machine::pc(&qemu, "pc", "Nehalem-v1", 1, 64);
    machine::Machine::start(words, command.arg("-kernel").arg(&two)).wait_for(words);
    let (Some(grub), Some(_)) = (tool("grub-mkrescue", "grub-common"), tool("xorriso", "xorriso")) else { return };
    if !Path::new("/usr/lib/grub/i386-pc").is_dir() {
        return missing("no GRUB for BIOS (apt-get install grub-pc-bin)");
    }
    let (tree, iso) = (dir.path().join("tree"), dir.path().join("iso"));
    fs::create_dir_all(tree.join("boot/grub")).unwrap();
    put(&tree, "zImage", &read(&two));
    put(&tree.join("boot/grub"), "grub.cfg", b"linux16 /zImage\nboot\n");
    run_ok(Command::new(grub).arg("-o").arg(&iso).arg(&tree));
    let mut command = machine::pc(&qemu, "pc", "Nehalem-v1", 1, 64);
    machine::Machine::start("GRUB", command.arg("-cdrom").arg(iso)).wait_for(words);
}
