//! What is no kernel image: files that people give by mistake, or that hold a kernel in a way that kimage does not read. Each has
//! its name; none is called good, damaged or a kernel; a kernel that lies in one piece in a file system comes out.

use crate::elf_builder::{Builder, Section};
use crate::files;
use crate::support::{assert_same, kimage, put, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const COMMANDS: [&[&str]; 4] = [&["info"], &["map"], &["extract"], &["verify"]];

fn kimage_on(words: &[&str], path: &Path) -> Output {
    run(kimage().args(words).arg(path))
}

fn lint(path: &Path) -> String {
    let output = kimage_on(&["lint", "--board", "qemu-arm64-virt"], path);
    assert_eq!(output.status.code(), Some(1));
    stderr(&output)
}

/// Bytes that are nothing, and as dense as compressed ones.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

/// The magic numbers are those of each format's own document.
#[test]
fn files_of_other_kinds_have_their_names() {
    let dir = tempdir();
    let at = |at: usize, magic: &[u8]| [&vec![0; at][..], magic, &noise(70_000)].concat();
    let mut mbr = vec![0; 1 << 20];
    mbr[446..462].copy_from_slice(&[0x80, 1, 1, 0, 0x0c, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0xb0, 0, 0]);
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    let cases: [(&str, Vec<u8>); 17] = [
        ("squashfs file system", at(0, b"hsqs")),
        ("ext2, ext3 or ext4 file system", at(0x438, &[0x53, 0xef])),
        ("ISO 9660 file system", at(0x8001, b"CD001")),
        ("FAT file system", at(0x36, b"FAT16   ")),
        ("disk image with a GUID partition table", at(0x200, b"EFI PART")),
        ("disk image with a partition table", mbr),
        ("tar archive", at(0x101, b"ustar")),
        ("zip archive", at(0, b"PK\x03\x04")),
        ("ar archive", at(0, b"!<arch>\n")),
        ("qcow2 disk image", at(0, b"QFI\xfb")),
        ("Android sparse image", at(0, &[0x3a, 0xff, 0x26, 0xed])),
        ("Android update (payload.bin)", at(0, b"CrAU")),
        ("Mach-O file", at(0, &[0xcf, 0xfa, 0xed, 0xfe])),
        ("WebAssembly module", at(0, b"\0asm")),
        ("PDF document", at(0, b"%PDF-1.7\n")),
        ("PNG picture", at(0, b"\x89PNG\r\n\x1a\n")),
        ("7-Zip archive", at(0, b"7z\xbc\xaf\x27\x1c")),
    ];
    for (name, bytes) in cases {
        let path = put(dir.path(), "file", &bytes);
        for words in COMMANDS {
            let output = kimage_on(words, &path);
            let (text, wanted) = (stdout(&output), if words[0] == "verify" { 1 } else { 0 });
            assert_eq!(output.status.code(), Some(wanted), "{name}: {words:?}: {text}{}", stderr(&output));
            assert!(words[0] == "extract" || text.contains(name), "{name}: {words:?}: {text}");
            assert!(!text.contains("kernel without") && !text.contains("error"), "{name}: {text}");
            if words[0] == "verify" {
                assert!(text.contains("[data.foreign]") && text.contains(": not known: "), "{name}: {text}");
            }
        }
        assert!(lint(&path).contains(&format!("no image that kimage knows ({name})")), "{}", lint(&path));
    }
}

/// What has no name says what it is where all of it is the same.
#[test]
fn what_no_header_tells() {
    let dir = tempdir();
    for (what, bytes) in [
        ("; all of it is text", b"#!/bin/sh\necho Linux version 6.1.0\n".to_vec()),
        ("; all of it is text", b"signature of nobody\n".to_vec()),
        ("; all of it is zeros", vec![0; 5000]),
        ("it is empty", Vec::new()),
        ("it begins with", noise(5000)),
    ] {
        let path = put(dir.path(), "file", &bytes);
        for words in COMMANDS {
            let output = kimage_on(words, &path);
            assert_eq!(output.status.code(), Some(1));
            assert!(stderr(&output).contains(what), "{}", stderr(&output));
        }
        let said = lint(&path);
        assert!(said.contains("this is no image") && !said.contains("has no header"), "{said}");
    }
    // A kernel without a header is one for lint, too, and of what is none nothing is said of its memory.
    let flat = [&[0x5a; 512][..], b"\0Linux version 6.6.1 (u@h) #1 SMP\n\0", &[7; 600]].concat();
    let said = lint(&put(dir.path(), "flat", &flat));
    assert!(said.contains("this is a kernel without a header") && said.contains("has no header"), "{said}");
    let said = lint(&put(dir.path(), "tree", &files::dtb()));
    assert!(said.contains("this is a device tree blob") && !said.contains("has no header"), "{said}");
}

/// A kernel in one piece, as fresh file systems have it: each made by its own tool.
#[test]
fn a_kernel_on_a_disk() {
    let dir = tempdir();
    let (root, kernel) = (dir.path().join("root"), files::bzimage());
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), noise(3000)).unwrap();
    fs::write(root.join("vmlinuz"), &kernel).unwrap();
    let alone = stdout(&run_ok(kimage().args(["extract", "--json"]).arg(root.join("vmlinuz"))));
    let vmlinux = run_ok(kimage().arg("extract").arg(root.join("vmlinuz")).arg("vmlinux")).stdout;
    assert!(!vmlinux.is_empty(), "{alone}");
    let holds = |name: &str, path: &Path, is_good: bool| {
        let info = stdout(&run_ok(kimage().arg("info").arg(path)));
        assert!(info.contains(name) && info.contains("image[0]: x86 bzImage"), "{info}");
        assert_same(name, &run_ok(kimage().arg("extract").arg(path).arg("vmlinux")).stdout, &vmlinux);
        let verify = kimage_on(&["verify"], path);
        let text = stdout(&verify);
        let (status, verdict) = if is_good { (0, ": good") } else { (1, ": not known: ") };
        assert!(verify.status.code() == Some(status) && text.contains(verdict) && !text.contains("error"), "{text}");
    };
    // A partition behind a table: the kernel's first byte is that of a file of no file system.
    let mut disk = vec![0; 1 << 20];
    disk[446..462].copy_from_slice(&[0, 1, 1, 0, 0x83, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0xb0, 0, 0]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(noise(4096));
    disk.extend(&kernel);
    disk.extend(vec![0; 5000]);
    holds("disk image with a partition table", &put(dir.path(), "disk", &disk), false);
    // One byte of it is another: it may be in pieces, so nobody calls it damaged, nor good.
    let at = disk.len() - 5000 - kernel.len() / 2;
    disk[at] ^= 0x10;
    let damaged = kimage_on(&["verify"], &put(dir.path(), "pieces", &disk));
    let text = stdout(&damaged);
    assert!(damaged.status.code() == Some(1) && text.contains("in pieces") && !text.contains(": bad"), "{text}");
    if let Some(tar) = tool("tar", "tar") {
        let path = dir.path().join("tar");
        run_ok(Command::new(tar).arg("cf").arg(&path).arg("-C").arg(&root).arg("."));
        holds("tar archive", &path, false);
    }
    if let Some(mkfs) = tool("mkfs.ext4", "e2fsprogs") {
        let path = dir.path().join("ext4");
        fs::File::create(&path).unwrap().set_len(4 << 20).unwrap();
        run_ok(Command::new(mkfs).args(["-q", "-d"]).arg(&root).arg(&path));
        // It leaves out the blocks of zeros that are in the kernel, so that there are pieces.
        let text = stdout(&kimage_on(&["verify"], &path));
        assert!(text.contains("ext4 file system") && text.contains(": not known: "), "{text}");
    }
    if let Some(xorriso) = tool("xorriso", "xorriso") {
        let path = dir.path().join("iso");
        run_ok(Command::new(xorriso).args(["-as", "mkisofs", "-quiet", "-o"]).arg(&path).arg(&root));
        holds("ISO 9660 file system", &path, true);
    }
    if let (Some(mformat), Some(mcopy)) = (tool("mformat", "mtools"), tool("mcopy", "mtools")) {
        let path = dir.path().join("fat");
        fs::File::create(&path).unwrap().set_len(4 << 20).unwrap();
        run_ok(Command::new(mformat).arg("-i").arg(&path).args(["-T", "8192", "-h", "16", "-s", "32", "::"]));
        run_ok(Command::new(mcopy).arg("-i").arg(&path).arg(root.join("vmlinuz")).arg("::vmlinuz"));
        holds("FAT12 file system", &path, true);
    }
}

/// Every kind that has a magic number of its own is found where nothing explains what is around it.
#[test]
fn every_kind_in_the_middle_of_data() {
    let dir = tempdir();
    let mut arm64 = files::image64(b"ARM\x64");
    arm64[32] = 0;
    let size = arm64.len() as u64;
    arm64[16..24].copy_from_slice(&size.to_le_bytes());
    let riscv = {
        let mut image = arm64.clone();
        image[8..16].fill(0);
        image[24] = 0;
        image[32] = 2;
        image[48..56].copy_from_slice(b"RISCV\0\0\0");
        image[56..60].copy_from_slice(b"RSC\x05");
        image
    };
    let cases = [
        ("bzimage", files::bzimage()),
        ("zimage", files::zimage()),
        ("image", arm64),
        ("image", riscv),
        ("zboot", files::zboot()),
        ("android", files::android(0)),
        ("android", files::android(4)),
    ];
    for (format, image) in cases {
        let front = vec![0x11; 777];
        let path = put(dir.path(), "dump", &[&front[..], &image, &[0x22; 333]].concat());
        let json = run_ok(kimage().args(["info", "--json"]).arg(&path)).stdout;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let layer = &json["files"][0]["layers"][1];
        assert_eq!((layer["format"].as_str(), layer["offset"].as_u64()), (Some(format), Some(777)), "{json}");
        let part = run_ok(kimage().arg("extract").arg(&path).arg("image")).stdout;
        assert!(part.starts_with(&image[..image.len().min(part.len())]) || image.starts_with(&part), "{format}");
        assert!(part.len() + 512 > image.len() && image.len() + 4096 > part.len(), "{format}: {}", part.len());
    }
}

/// Before protocol 2.04 the header has 16 bits of the length alone (boot.rst, `syssize`): where the kernel ends tells the rest.
#[test]
fn an_old_kernel_in_front_of_another() {
    let dir = tempdir();
    let (old, new) = (files::old_bzimage(0x203, 1), files::bzimage());
    let mut disk = vec![0; 4096];
    disk[446..462].copy_from_slice(&[0, 1, 1, 0, 0x83, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0xb0, 0, 0]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for image in [&old, &new] {
        disk.extend(image);
        disk.resize(disk.len().next_multiple_of(2048), 0);
    }
    let path = put(dir.path(), "disk", &disk);
    for (part, image) in [("image[0]", &old), ("image[1]", &new)] {
        assert_same(part, &run_ok(kimage().arg("extract").arg(&path).arg(part)).stdout, image);
    }
}

/// A program that needs an operating system, and text, compressed: what comes out is no kernel.
#[test]
fn a_stream_without_a_kernel() {
    let dir = tempdir();
    let text = put(dir.path(), "text.gz", &files::gzip(b"some text\n"));
    // The system's own program, dynamically linked.
    let program = tool("ls", "coreutils").map(|ls| put(dir.path(), "program.gz", &files::gzip(&fs::read(ls).unwrap())));
    for path in std::iter::once(text).chain(program) {
        let parts = stdout(&run_ok(kimage().arg("extract").arg(&path)));
        assert!(parts.contains("the compressed stream alone") && !parts.contains("kernel"), "{parts}");
        assert!(!parts.contains("vmlinux"), "{parts}");
    }
    // A kernel is one.
    let parts = stdout(&run_ok(kimage().arg("extract").arg(put(dir.path(), "k.gz", &files::gzip(&files::kernel())))));
    assert!(parts.contains("the compressed kernel alone") && parts.contains("vmlinux"), "{parts}");
}

/// PE Format specification: `Subsystem` 3 is a console program; the second data directory is the import table.
#[test]
fn a_program_for_windows() {
    let dir = tempdir();
    let mut program = files::pe(&[], &[(".text", b"code")]);
    program[64 + 24 + 68] = 3;
    // An EFI application with another number there is wrong.
    let verify = kimage_on(&["verify"], &put(dir.path(), "efi", &program));
    assert!(stdout(&verify).contains("[pe.subsystem]"), "{}", stdout(&verify));
    program[64 + 24 + 112 + 8..][..4].copy_from_slice(&0x400_u32.to_le_bytes());
    let path = put(dir.path(), "windows", &program);
    assert!(stdout(&kimage_on(&["info"], &path)).contains("program for Windows"));
    let verify = kimage_on(&["verify"], &path);
    let text = stdout(&verify);
    assert!(verify.status.code() == Some(1) && text.contains(": not known: ") && !text.contains("error"), "{text}");
    assert!(lint(&path).contains("this is a program for Windows"));
}

/// A core file has segments too, and can be cut off.
#[test]
fn a_core_file() {
    let dir = tempdir();
    let mut core = files::kernel();
    core[16] = 4;
    let whole = kimage_on(&["verify"], &put(dir.path(), "core", &core));
    assert_eq!(whole.status.code(), Some(0), "{}", stdout(&whole));
    let cut = kimage_on(&["verify"], &put(dir.path(), "cut", &core[..core.len() - 100]));
    assert!(stdout(&cut).contains("[elf.segments]"), "{}", stdout(&cut));
}

/// A program that lacks what its section headers promise, as one that was cut off: what is loaded may be whole.
#[test]
fn sections_behind_the_end() {
    let dir = tempdir();
    let file = |size: u64| {
        let mut elf = Builder::new(false, true, 8);
        let text = elf.section(".text", 1, 6, 0x8000_0000, &[0x27; 4096]);
        elf.segment(1, text..text + 1, 0x8000_0000);
        elf.header(Section { name: ".debug_str".to_owned(), kind: 1, offset: 64, size, ..Section::default() });
        elf.build()
    };
    let whole = kimage_on(&["verify"], &put(dir.path(), "whole", &file(10)));
    assert_eq!(whole.status.code(), Some(0), "{}", stdout(&whole));
    let cut = kimage_on(&["verify"], &put(dir.path(), "cut", &file(1 << 20)));
    let text = stdout(&cut);
    assert!(cut.status.code() == Some(1) && text.contains("[elf.sections]") && text.contains(".debug_str"), "{text}");
}

/// A decompressor that is an ELF file: damage anywhere in its stream is seen, near the beginning too, where nothing comes out; and
/// where the stream's own head is damaged, that nobody looked is said.
#[test]
fn damage_near_the_beginning_of_a_stream() {
    let dir = tempdir();
    let kernel = [&b"\0Linux version 6.6.1 (u@h) #1 SMP\n\0"[..], &noise(400_000)].concat();
    let stream = files::gzip(&kernel);
    let code: Vec<u8> = (0..20_000_u32).flat_map(|at| (0x27bd_ffe0 ^ (at % 97)).to_be_bytes()).collect();
    let file = |stream: &[u8]| {
        let mut elf = Builder::new(false, true, 8);
        let text = elf.section(".text", 1, 6, 0x8000_0000, &code);
        let data = elf.section(".data", 1, 3, 0x8000_0000 + code.len() as u64, stream);
        elf.segment(1, text..data + 1, 0x8000_0000);
        elf.build()
    };
    let verdict = |stream: &[u8]| {
        let output = kimage_on(&["verify"], &put(dir.path(), "vmlinuz", &file(stream)));
        (output.status.code(), stdout(&output))
    };
    let (status, text) = verdict(&stream);
    assert!(status == Some(0) && text.contains(": good: "), "{text}");
    for at in [40, 3000, 100_000] {
        let mut damaged = stream.clone();
        damaged[at..at + 40].iter_mut().for_each(|byte| *byte ^= 0x5a);
        let (status, text) = verdict(&damaged);
        assert!(status == Some(1) && text.contains("[stream.damaged]"), "{at}: {text}");
    }
    let mut headless = stream;
    headless[0] = 0;
    let (status, text) = verdict(&headless);
    assert!(status == Some(0) && text.contains("[elf.payload]") && text.contains("NOT checked"), "{text}");
}
