//! One small file of every format that kimage takes apart, made here by the letter of each specification.

#![allow(dead_code, unreachable_pub, reason = "a module of tests")]

use super::support::{read, testdata};
use kimage::assemble::{self, CrcChoice};
use kimage::codec::{Codec, Parameters};
use kimage::internals::fdt::{Flat, Node, Property, Strings};
use kimage::internals::uimage;
use kimage::internals::{Header, kind};
use kimage::layout::Plan;

/// Every format, with a name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = vec![
        ("elf", kernel()),
        ("bzimage", bzimage()),
        ("bzimage-2.04", old_bzimage(0x204, 1)),
        ("zimage-x86", old_bzimage(0x201, 0)),
        ("zimage", zimage()),
        ("zimage-scan", zimage_without_table()),
        ("zimage-dtb", [zimage(), dtb()].concat()),
        ("uimage", uimage(kind::KERNEL, &[&gzip(&image64(b"ARM\x64"))])),
        ("multi", uimage(kind::MULTI, &[&zimage(), &cpio(), &dtb()])),
        ("script", uimage(kind::SCRIPT, &[b"echo hello\n"])),
        ("dtb", dtb()),
        ("fit", fit(false)),
        ("fit-external", fit(true)),
        ("image-arm64", image64(b"ARM\x64")),
        ("image-riscv", image64(b"RSC\x05")),
        ("zboot", zboot()),
        ("uki", uki()),
        ("cpio", [cpio(), vec![0; 100], gzip(&cpio())].concat()),
        ("android-0", android(0)),
        ("android-2", android(2)),
        ("android-4", android(4)),
        ("android-vendor-3", android_vendor(3)),
        ("android-vendor-4", android_vendor(4)),
        ("symvers", symvers()),
    ];
    for codec in Codec::ALL {
        files.push((codec.name(), packed(codec, &kernel())));
    }
    files
}

/// What a kernel and a module export, by a build's Module.symvers.
fn symvers() -> Vec<u8> {
    let lines = [
        (0x9212_ab5c_u32, "_printk", "vmlinux", ""),
        (0x037a_0cba, "kfree", "vmlinux", ""),
        (9, "crc16", "lib/crc16", "_GPL"),
    ];
    let line = |(crc, name, owner, kind)| format!("{crc:#010x}\t{name}\t{owner}\tEXPORT_SYMBOL{kind}\t\n");
    lines.into_iter().map(line).collect::<String>().into_bytes()
}

fn tiny(name: &str) -> Vec<u8> {
    read(&testdata("tiny").join(name))
}

pub fn emit(plan: &Plan<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    plan.emit(&mut out).unwrap();
    out
}

/// The stream that the kernel's build makes, at a level that costs little.
pub fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // lzop knows one level here.
    let level = Some(if codec == Codec::Lzo { 9 } else { 1 });
    codec.compress(bytes, &Parameters { level, ..Parameters::default() }, &mut out).unwrap();
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    packed(Codec::Gzip, bytes)
}

/// An ELF file that could be a kernel: banner, configuration, initial RAM disk and its size.
pub fn kernel() -> Vec<u8> {
    let config = gzip(b"#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.1.0\nCONFIG_A=y\nCONFIG_B=m\n");
    let mut text = b"code code code Linux version 6.1.0-tiny (someone) #1\n\0".to_vec();
    text.extend(b"IKCFG_ST");
    text.extend(config);
    text.extend(b"IKCFG_ED");
    let archive = cpio();
    let mut data = archive.clone();
    data.resize(data.len().next_multiple_of(512), 0);
    let size = data.len() as u64;
    data.extend(size.to_le_bytes());
    // ELF header, one program header, the bytes; no sections.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    text.resize(text.len().next_multiple_of(8), 0);
    let len = 120 + (text.len() + data.len()) as u64;
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    [0x100_0000_u64, 64, 0].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    [0, 0xffff_ffff_8100_0000, 0x100_0000, len, len, 0x20_0000]
        .iter()
        .for_each(|word: &u64| file.extend(word.to_le_bytes()));
    file.extend(text);
    file.extend(data);
    assert_eq!(file.len() as u64, len);
    file
}

pub fn bzimage() -> Vec<u8> {
    let (vmlinux, setup) = (tiny("vmlinux"), tiny("setup.bin"));
    emit(&assemble::bzimage(&vmlinux, &setup, CrcChoice::ByGeneration).unwrap().plan)
}

pub fn zimage() -> Vec<u8> {
    emit(&assemble::zimage(&tiny("arm-vmlinux"), &[]).unwrap().plan)
}

/// Before protocol 2.08 no field leads to the payload; `loadflags` tell a zImage from a bzImage.
pub fn old_bzimage(version: u16, loadflags: u8) -> Vec<u8> {
    let mut file = bzimage();
    file[0x206..0x208].copy_from_slice(&version.to_le_bytes());
    file[0x211] = loadflags;
    file
}

/// As before Linux 4.15: the kernel has to be searched for.
fn zimage_without_table() -> Vec<u8> {
    let mut file = zimage();
    file[0x34..0x3c].fill(0);
    file
}

pub fn uimage(kind: u8, files: &[&[u8]]) -> Vec<u8> {
    let plans: Vec<Plan<'_>> = files.iter().map(|file| Plan::of("data", file)).collect();
    let name = uimage::name_bytes(b"tiny");
    let header = Header { time: 1_700_000_000, load: 0x8000, entry: 0x8000, os: 5, arch: 22, kind, comp: 1, name };
    emit(&uimage::plan(None, &header, &plans).unwrap())
}

/// The device tree blob of a tree.
pub fn blob(root: &Node<'_>) -> Vec<u8> {
    let mut strings = Strings::default();
    strings.insert_all(root).unwrap();
    let flat = Flat::new(root, strings).unwrap();
    emit(&flat.plan(flat.size()).unwrap())
}

pub fn dtb() -> Vec<u8> {
    let root = Node::new("")
        .with(Property::string("model", "a tiny board"))
        .with(Property::strings("compatible", ["tiny,board", "tiny"]))
        .with_child(Node::new("chosen").with(Property::string("bootargs", "console=ttyS0")));
    blob(&root)
}

/// One kernel and one device tree, in the tree or behind it.
pub fn fit(external: bool) -> Vec<u8> {
    let (kernel, tree) = (gzip(&image64(b"ARM\x64")), dtb());
    let digest = crc32fast::hash(&kernel);
    let image = |name: &'static str, kind: &'static str, data: &[u8], at: u32| {
        let node = Node::new(name).with(Property::string("type", kind)).with(Property::string("compression", "none"));
        match external {
            true => node.with(Property::u32("data-offset", at)).with(Property::u32("data-size", data.len() as u32)),
            false => node.with(Property::bytes("data", data.to_vec())),
        }
    };
    let behind = kernel.len().next_multiple_of(4);
    let hash = Node::new("hash-1").with(Property::string("algo", "crc32")).with(Property::u32("value", digest));
    let images = Node::new("images")
        .with_child(image("kernel-1", "kernel", &kernel, 0).with(Property::u32("load", 0x8000)).with_child(hash))
        .with_child(image("fdt-1", "flat_dt", &tree, behind as u32));
    let conf = Node::new("conf-1").with(Property::string("kernel", "kernel-1")).with(Property::string("fdt", "fdt-1"));
    let configurations = Node::new("configurations").with(Property::string("default", "conf-1")).with_child(conf);
    let root =
        Node::new("").with(Property::string("description", "tiny")).with_child(images).with_child(configurations);
    let mut file = blob(&root);
    if external {
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(&kernel);
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(&tree);
    }
    file
}

/// A header and a banner.
pub fn image64(magic: &[u8; 4]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[8..16].copy_from_slice(&0x8_0000_u64.to_le_bytes());
    file[16..24].copy_from_slice(&0x10_0000_u64.to_le_bytes());
    file[24..32].copy_from_slice(&10_u64.to_le_bytes());
    file[32..36].copy_from_slice(&2_u32.to_le_bytes());
    file[56..60].copy_from_slice(magic);
    file.extend(b"code Linux version 6.1.0-tiny (someone) #1\n\0");
    file
}

/// A PE file with these sections, and `head` in its MS-DOS header.
pub fn pe(head: &[(usize, &[u8])], sections: &[(&str, &[u8])]) -> Vec<u8> {
    const OPTIONAL: usize = 112 + 5 * 8;
    let mut file = vec![0; 64];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 64;
    head.iter().for_each(|(at, bytes)| file[*at..at + bytes.len()].copy_from_slice(bytes));
    file.extend(b"PE\0\0");
    file.extend([0x64, 0xaa, sections.len() as u8, 0]);
    file.resize(64 + 20, 0);
    file.extend([OPTIONAL as u8, 0, 6, 2]);
    file.extend([0x0b, 2]);
    file.resize(64 + 24 + OPTIONAL, 0);
    file[64 + 24 + 16] = 0x40;
    file[64 + 24 + 60..][..4].copy_from_slice(&0x400_u32.to_le_bytes());
    file[64 + 24 + 68] = 10;
    file[64 + 24 + 108] = 5;
    let mut at = 0x400_u32;
    for (name, contents) in sections {
        let mut name = name.as_bytes().to_vec();
        name.resize(8, 0);
        file.extend(name);
        let raw = (contents.len() as u32).next_multiple_of(0x200);
        for word in [contents.len() as u32, at, raw, at, 0, 0, 0, 0x4000_0040] {
            file.extend(word.to_le_bytes());
        }
        at += raw;
    }
    file.resize(0x400, 0);
    for (_, contents) in sections {
        file.extend_from_slice(contents);
        file.resize(file.len().next_multiple_of(0x200), 0);
    }
    file
}

/// An `Image` that is an EFI program, of this `Machine` of PE (arm64, RISC-V, LoongArch), with a BSS behind it
/// (Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst, Documentation/arch/loongarch/booting.rst).
pub fn efi_image(machine: u16) -> Vec<u8> {
    const BSS: u32 = 0x3000;
    let noise = super::support::noise(70_000, 7);
    let code = [b"Linux version 6.12.0-tiny (someone) #1\n\0", &noise[..], &[0; 70_000]].concat();
    let head: &[(usize, &[u8])] = match machine {
        0xaa64 => &[(56, b"ARM\x64"), (24, &[10])],
        0x5064 => &[(56, b"RSC\x05"), (32, b"\x02"), (48, b"RISCV")],
        // kernel_entry and text_offset.
        _ => &[(56, &[0xcd, 0x23, 0x82, 0x81]), (8, &[0, 4, 0x20]), (24, &[0, 0, 0x20])],
    };
    let mut image = pe(head, &[(".text", &code)]);
    let memory = (image.len() as u32 + BSS).next_multiple_of(0x1000);
    for (at, bytes) in
        [(16, &memory.to_le_bytes()[..]), (0x44, &machine.to_le_bytes()), (64 + 24 + 56, &memory.to_le_bytes())]
    {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

pub fn zboot() -> Vec<u8> {
    let payload = gzip(&image64(b"ARM\x64"));
    let len = (payload.len() as u32).to_le_bytes();
    pe(
        &[(4, b"zimg"), (8, &0x400_u32.to_le_bytes()), (12, &len), (0x18, b"gzip\0")],
        &[(".gzdata", &payload), (".text", b"the decompressor")],
    )
}

pub fn uki() -> Vec<u8> {
    pe(
        &[],
        &[
            (".text", b"the stub"),
            (".osrel", b"ID=tiny\n"),
            (".cmdline", b"console=ttyS0\0"),
            (".uname", b"6.1.0-tiny"),
            (".sbat", b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"),
            (".linux", &image64(b"ARM\x64")),
            (".initrd", &cpio()),
            (".dtb", &dtb()),
        ],
    )
}

/// A boot stub for x86-64 that calls itself systemd's, with room for sections.
pub fn stub() -> Vec<u8> {
    let mut stub = pe(&[], &[(".text", b"the stub"), (".sdmagic", b"#### LoaderInfo: systemd-stub 257 ####")]);
    for (at, value) in [(0x44, 0x8664_u16), (0x58 + 32, 0x200), (0x58 + 36, 0x200)] {
        stub[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    stub
}

pub fn cpio() -> Vec<u8> {
    cpio_of(&[("dev", 0o040_755, b""), ("init", 0o100_755, b"#!/bin/sh\n")])
}

/// A cpio archive: names, modes, contents.
pub fn cpio_of(entries: &[(&str, usize, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, mode, data) in entries.iter().copied().chain([("TRAILER!!!", 0, &b""[..])]) {
        out.extend(b"070701");
        for field in [1, mode, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0] {
            out.extend(format!("{field:08x}").bytes());
        }
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

fn android_vendor(version: u32) -> Vec<u8> {
    let (ramdisk, dtb) = (gzip(&cpio()), dtb());
    let mut file = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    let word = |value: usize| (value as u32).to_le_bytes();
    put(0, b"VNDRBOOT");
    put(8, &version.to_le_bytes());
    put(12, &2048_u32.to_le_bytes());
    put(16, &0x8000_u32.to_le_bytes());
    put(20, &0x100_0000_u32.to_le_bytes());
    put(24, &word(2 * ramdisk.len()));
    put(28, b"console=ttyS0");
    put(2080, b"tiny");
    put(2100, &word(dtb.len()));
    put(2104, &0x1f0_0000_u64.to_le_bytes());
    let mut table = Vec::new();
    for (index, name) in ["", "recovery"].iter().enumerate() {
        let fields = [ramdisk.len(), index * ramdisk.len(), index + 1];
        fields.iter().for_each(|field| table.extend(word(*field)));
        table.extend(name.bytes());
        table.resize((index + 1) * 108, 0);
    }
    let mut sections = vec![[&ramdisk[..], &ramdisk[..]].concat(), dtb];
    if version == 4 {
        put(2096, &word(2128));
        put(2112, &word(table.len()));
        put(2116, &word(2));
        put(2120, &word(108));
        let bootconfig = b"androidboot.tiny=1\n".to_vec();
        put(2124, &word(bootconfig.len()));
        sections.extend([table, bootconfig]);
    }
    for section in sections {
        file.extend(section);
        file.resize(file.len().next_multiple_of(2048), 0);
    }
    file
}

pub fn android(version: u32) -> Vec<u8> {
    let (kernel, ramdisk, dtb) = (gzip(&image64(b"ARM\x64")), gzip(&cpio()), dtb());
    let page = if version >= 3 { 4096 } else { 2048 };
    let mut file = vec![0; page];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    let len = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
    put(0, b"ANDROID!");
    put(8, &len(&kernel));
    put(40, &version.to_le_bytes());
    let mut sections = vec![&kernel, &ramdisk];
    if version >= 3 {
        put(12, &len(&ramdisk));
        put(44, b"console=ttyS0");
    } else {
        put(12, &0x8000_u32.to_le_bytes());
        put(16, &len(&ramdisk));
        put(36, &2048_u32.to_le_bytes());
        put(64, b"console=ttyS0");
    }
    if version == 2 {
        put(1648, &len(&dtb));
        sections.push(&dtb);
    }
    for section in sections {
        file.extend(section);
        file.resize(file.len().next_multiple_of(page), 0);
    }
    file
}
