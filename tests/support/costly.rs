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

/// A number in both byte orders, as ISO 9660 has it.
fn both(value: u32) -> Vec<u8> {
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

/// The record of a file or a folder (ECMA-119, 9.1).
fn record(name: &[u8], block: u32, size: u32, is_folder: bool) -> Vec<u8> {
    let mut record =
        [&[0, 0][..], &both(block), &both(size), &[0; 7], &[2 * u8::from(is_folder), 0, 0, 1, 0, 0, 1]].concat();
    record.push(name.len() as u8);
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = record.len() as u8;
    record
}

/// A folder: no record goes across the end of a block.
fn folder(records: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        if bytes.len() % 2048 + record.len() > 2048 {
            bytes.resize(bytes.len().next_multiple_of(2048), 0);
        }
        bytes.extend(record);
    }
    bytes.resize(bytes.len().next_multiple_of(2048), 0);
    bytes
}

/// A CD whose root folder is at block 18, with these bytes.
fn cd(root_len: usize, rest: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 18 * 2048];
    image.extend(rest);
    let blocks = image.len() as u32 / 2048;
    image[16 * 2048..][..8].copy_from_slice(b"\x01CD001\x01\0");
    image[16 * 2048 + 80..][..8].copy_from_slice(&both(blocks));
    image[16 * 2048 + 128..][..4].copy_from_slice(&[0, 8, 8, 0]);
    let root = record(b"\0", 18, root_len as u32, true);
    image[16 * 2048 + 156..][..root.len()].copy_from_slice(&root);
    image[17 * 2048..][..7].copy_from_slice(b"\xffCD001\x01");
    image
}

/// A CD of `count` entries for boot loaders, which are all the same bytes: many lines that name the last file of as many.
pub fn cd_of_entries(count: usize) -> Vec<u8> {
    const LONG: u32 = 64 << 10;
    let name = |index: usize, end: &str| format!("{index:06}{end}").into_bytes();
    let text: Vec<u8> = b"initrd /z\n".iter().copied().cycle().take(LONG as usize).collect();
    let entries_len = folder((0..count).map(|index| record(&name(index, ".CONF"), 0, LONG, false))).len() as u32;
    let text_at = 18 + 2 + entries_len / 2048;
    let entries = folder((0..count).map(|index| record(&name(index, ".CONF"), text_at, LONG, false)));
    let root = folder([record(b"LOADER", 19, 2048, true), record(b"Z", text_at, 4, false)]);
    let loader = folder([record(b"ENTRIES", 20, entries_len, true)]);
    cd(root.len(), &[root, loader, entries, text].concat())
}

/// A CD of `count` folders that each begin a block later and go to the end, so that each contains all those behind it, itself
/// and the root.
pub fn cd_of_folders(count: usize) -> Vec<u8> {
    let name = |index: usize| format!("{index:0200}").into_bytes();
    let place = |index: usize| (18 + index as u32, (count - index) as u32 * 2048);
    let block = |index: usize| {
        let folders = [index, (index + 1) % count, (index + 7) % count, 0].map(place);
        folder((0..).zip(folders).map(|(number, (at, len))| record(&name(4 * index + number), at, len, true)))
    };
    let root: Vec<u8> = (0..count).flat_map(block).collect();
    cd(root.len(), &root)
}

/// A disk with FAT32 in each of 16 partitions, which begin a sector after the other and have one table, of `count` entries: a chain
/// that leads from each cluster to one far from it and never ends; the root folder is such a one, and full of others.
pub fn fats(count: usize) -> Vec<u8> {
    const PARTITIONS: u32 = 16;
    let (first, table_at) = (40, 64);
    let table_len = (4 * count).next_multiple_of(512);
    let mut disk = vec![0; table_at as usize * 512];
    for index in 0..PARTITIONS {
        let boot = &mut disk[(first + index) as usize * 512..][..512];
        boot[11..18].copy_from_slice(&[0, 2, 1, (table_at - first - index) as u8, 0, 1, 0]);
        boot[32..40].copy_from_slice(&[(u32::MAX).to_le_bytes(), (table_len as u32 / 512).to_le_bytes()].concat());
        boot[44..48].copy_from_slice(&2_u32.to_le_bytes());
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
    }
    let next = |index: usize| 2 + (index + count / 2 + 1) % (count - 2);
    disk.extend((0..count).flat_map(|index| (next(index) as u32).to_le_bytes()));
    disk.resize(table_at as usize * 512 + table_len, 0);
    for index in 0..2000_u32 {
        let mut entry = [b' '; 32];
        entry[..8].copy_from_slice(format!("{index:08}").as_bytes());
        entry[11..].fill(0);
        entry[11] = 0x10 * (index % 2) as u8;
        let cluster = 2 + index * 7;
        entry[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
        entry[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
        entry[28..].fill(0xff);
        disk.extend(entry);
    }
    // The table of partitions (UEFI 2.10, 5.3).
    let entries: Vec<u8> = (0..PARTITIONS)
        .flat_map(|index| {
            let at = u64::from(first + index).to_le_bytes();
            [&[1; 32][..], &at, &u64::MAX.to_le_bytes()[..4], &[0; 4], &[0; 80]].concat()
        })
        .collect();
    disk[2 * 512..][..entries.len()].copy_from_slice(&entries);
    let header = &mut disk[512..][..92];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    for (at, value) in [(24, 1_u64), (40, 1), (48, u64::MAX - 1), (72, 2)] {
        header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    header[80..88].copy_from_slice(&[PARTITIONS.to_le_bytes(), 128_u32.to_le_bytes()].concat());
    disk
}

/// A table of `count` partitions, each of which is the whole disk.
pub fn partitions(count: usize) -> Vec<u8> {
    let mut disk = fats(100);
    let entry = disk[2 * 512..][..128].to_vec();
    disk.resize(1 << 20, 0);
    let last = disk.len() as u64 / 512 - 1;
    let entry = [&entry[..32], &34_u64.to_le_bytes(), &last.to_le_bytes(), &entry[48..]].concat();
    let at = disk.len() as u64 / 512;
    disk.extend(entry.repeat(count));
    disk[512 + 72..][..8].copy_from_slice(&at.to_le_bytes());
    disk[512 + 80..][..4].copy_from_slice(&(count as u32).to_le_bytes());
    disk
}
