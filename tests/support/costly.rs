//! Small files that are made to cost much: tables of thousands of entries over the same bytes, streams in streams.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use super::elf_builder::Builder;
use kimage::codec::{Codec, Parameters};
use kimage::internals::fdt::{Flat, Node, Property, Strings};
use kimage::internals::uimage::{name_bytes, plan};
use kimage::internals::{Header, kind};
use kimage::layout::Plan;

/// An ARM zImage without a table, of that body.
pub fn zimage(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let end = 64 + body.len() as u32;
    for (at, word) in [(0x24, 0x016f_2818_u32), (0x28, 0), (0x2c, end), (0x30, 0x0403_0201)] {
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

/// `count` zstd frames, the raw block at the head of each of which has the next one in it; all end in 1 GiB of zeros.
pub fn overlapping_zstd(count: usize) -> Vec<u8> {
    let block = |last: u32, kind: u32, size: u32| (last | kind << 1 | size << 3).to_le_bytes()[..3].to_vec();
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    let mut body = Vec::new();
    for _ in 1..count {
        body.extend_from_slice(&head);
        body.extend_from_slice(&block(0, 0, 6));
    }
    body.extend_from_slice(&head);
    for _ in 0..8192 {
        body.extend_from_slice(&block(0, 1, 128 << 10));
        body.push(0);
    }
    body.extend_from_slice(&block(0, 3, 0));
    body.extend_from_slice(&[0; 8]);
    body
}

/// The heads of `count` LZMA streams, none of which decodes far: other properties than the usual ones, 64 KiB of dictionary,
/// and bytes of a range coder that are no good.
pub fn lzma_heads(count: usize) -> Vec<u8> {
    [0x66, 0, 0, 1, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff].repeat(count)
}

/// A cpio archive of `count` empty files.
pub fn archive(count: usize) -> Vec<u8> {
    let entry = |name: &[u8]| {
        let mut head = b"070701".to_vec();
        for word in [1, 0o100_644, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() + 1, 0] {
            head.extend_from_slice(format!("{word:08x}").as_bytes());
        }
        head.extend_from_slice(name);
        head.push(0);
        head.resize(head.len().next_multiple_of(4), 0);
        head
    };
    [entry(b"a").repeat(count), entry(b"TRAILER!!!")].concat()
}

/// An EFI application with `count` sections of that name, which all are the same bytes.
pub fn sections(name: &[u8; 8], count: u32, data: &[u8]) -> Vec<u8> {
    let headers = 64 + 24 + 152 + 40 * count;
    let mut bytes = vec![0; 64];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 64;
    bytes.extend_from_slice(b"PE\0\0\x64\x86");
    bytes.extend_from_slice(&(count as u16).to_le_bytes());
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&[152, 0, 6, 2]);
    let mut optional = vec![0; 152];
    optional[..2].copy_from_slice(&[0x0b, 2]);
    for (at, word) in [(32, 0x1000), (36, 512), (60, headers), (68, 10), (108, 5)] {
        optional[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
    }
    bytes.extend_from_slice(&optional);
    for _ in 0..count {
        bytes.extend_from_slice(name);
        for word in [data.len() as u32, 0x1000, data.len() as u32, headers, 0, 0, 0, 0x4000_0040] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes.extend_from_slice(data);
    bytes
}

/// A multi-file uImage of `count` files.
pub fn multi(count: usize) -> Vec<u8> {
    let plans: Vec<Plan<'_>> = (0..count).map(|_| Plan::of("data", b"1234")).collect();
    let header =
        Header { time: 0, load: 0, entry: 0, os: 5, arch: 2, kind: kind::MULTI, comp: 0, name: name_bytes(b"") };
    let mut bytes = Vec::new();
    plan(None, &header, &plans).unwrap().emit(&mut bytes).unwrap();
    bytes
}

/// A uImage with that data, compressed as `comp` says, for 32-bit ARM.
pub fn uimage(comp: u8, data: &[u8]) -> Vec<u8> {
    let name = name_bytes(b"");
    let header = Header { time: 0, load: 0x8000, entry: 0x8000, os: 5, arch: 2, kind: kind::KERNEL, comp, name };
    let mut bytes = Vec::new();
    plan(None, &header, &[Plan::of("data", data)]).unwrap().emit(&mut bytes).unwrap();
    bytes
}

fn flat(root: &Node<'_>) -> Vec<u8> {
    let flat = Flat::new(root, Strings::default()).unwrap();
    let mut bytes = Vec::new();
    flat.plan(flat.size().next_multiple_of(4)).unwrap().emit(&mut bytes).unwrap();
    bytes
}

/// A FIT of `count` images that all are the same `data` bytes behind the tree, each with a hash.
pub fn fit(count: u32, data: usize) -> Vec<u8> {
    let mut images = Node::new("images");
    for index in 0..count {
        let hash =
            Node::new("hash-1").with(Property::string("algo", "sha256")).with(Property::bytes("value", &[0; 32][..]));
        let image = Node::new(format!("image-{index}")).with(Property::u32("data-offset", 0));
        images = images.with_child(image.with(Property::u32("data-size", data as u32)).with_child(hash));
    }
    let mut bytes = flat(&Node::new("").with_child(images));
    bytes.resize(bytes.len() + data, 7);
    bytes
}

/// A FIT of a kernel and `count` device trees, each loaded to where no memory is, and as many configurations, of which the
/// first has all of them.
pub fn fit_of_trees(count: u32) -> Vec<u8> {
    let external = |name: String, kind| {
        let image = Node::new(name).with(Property::string("type", kind)).with(Property::string("compression", "none"));
        image.with(Property::string("arch", "arm64")).with(Property::u32("data-offset", 0))
    };
    let kernel = external("kernel".to_owned(), "kernel").with(Property::string("os", "linux"));
    let kernel = kernel.with(Property::u32("load", 0x4000_0000)).with(Property::u32("entry", 0x4000_0000));
    let mut images = Node::new("images").with_child(kernel.with(Property::u32("data-size", 64)));
    let mut configurations = Node::new("configurations").with(Property::string("default", "c-0"));
    let all: String = (0..count).map(|index| format!("fdt-{index}\0")).collect();
    for index in 0..count {
        let tree = external(format!("fdt-{index}"), "flat_dt").with(Property::u32("load", 0x10 * index));
        images = images.with_child(tree.with(Property::u32("data-size", 64)));
        let configuration = Node::new(format!("c-{index}")).with(Property::string("kernel", "kernel"));
        configurations = configurations.with_child(match index {
            0 => configuration.with(Property::bytes("fdt", all.clone().into_bytes())),
            _ => configuration.with(Property::bytes("fdt", format!("fdt-{index}\0").into_bytes())),
        });
    }
    let mut bytes = flat(&Node::new("").with_child(images).with_child(configurations));
    bytes.resize(bytes.len() + 64, 7);
    bytes
}

/// `count` streams one behind the other, all but the last of that data.
pub fn members(codec: Codec, data: &[u8], count: usize) -> Vec<u8> {
    let mut member = Vec::new();
    codec.compress(data, &Parameters::default(), &mut member).unwrap();
    let mut last = Vec::new();
    codec.compress(b"end", &Parameters::default(), &mut last).unwrap();
    [member.repeat(count - 1), last].concat()
}

/// `count` gzip streams one inside the other.
pub fn nested(count: usize) -> Vec<u8> {
    let mut data = b"inside".to_vec();
    for _ in 0..count {
        let mut outer = Vec::new();
        Codec::Gzip.compress(&data, &Parameters::default(), &mut outer).unwrap();
        data = outer;
    }
    data
}

/// A vendor_boot of version 4 with `count` entries in its table, each of which is the one RAM disk.
pub fn vendor_boot(count: usize, ramdisk: &[u8]) -> Vec<u8> {
    const PAGE: usize = 4096;
    const ENTRY: usize = 108;
    let mut file = vec![0; PAGE];
    let mut put = |at: usize, value: usize| file[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    for (at, value) in
        [(8, 4), (12, PAGE), (24, ramdisk.len()), (2096, 2128), (2112, count * ENTRY), (2116, count), (2120, ENTRY)]
    {
        put(at, value);
    }
    file[..8].copy_from_slice(b"VNDRBOOT");
    let mut table = Vec::new();
    for index in 0..count {
        for word in [ramdisk.len(), 0, 1 + index % 3] {
            table.extend((word as u32).to_le_bytes());
        }
        table.extend(format!("r{index}").bytes());
        table.resize((index + 1) * ENTRY, 0);
    }
    for section in [ramdisk, &table] {
        file.extend(section);
        file.resize(file.len().next_multiple_of(PAGE), 0);
    }
    file
}

/// An ELF file of a kernel's shape with `count` sections.
pub fn elf(count: usize) -> Vec<u8> {
    let mut builder = Builder::new(true, false, 62);
    builder.skip(0x1000 - builder.at());
    let first = builder.section(".text", 1, 6, 0x10_0000, &[0x90; 0x1000]);
    for index in 1..count {
        builder.section(&format!(".data.{index}"), 1, 3, 0x10_1000 + 16 * (index as u64 - 1), &[1; 16]);
    }
    builder.segment(1, first..first + count, 0x10_0000);
    builder.build()
}
