//! ARM zImages of every age.

use super::made::{Order, flat_kernel, noise, piggy, zimage};
use super::{assert_good, broken, fact, part};
use kimage::codec::Codec;
use kimage::finding::Severity;
use kimage::inspect::{Limits, map, open, verify};
use kimage::internals::zimage::ZImage;

/// Linux 4.15 to 5.6 count the words of the table without the size and the tag (`LONG(ZIMAGE_MAGIC(2))`), later ones with
/// them (4; 6 with TEXT_OFFSET and MALLOC_SIZE).
#[test]
fn the_size_table_of_each_age() {
    let kernel = flat_kernel(40_000);
    let piggy = piggy(Codec::Gzip, &kernel);
    let tables: [&[u32]; 3] = [&[2, 5000, 0], &[4, 5000, 0], &[6, 5000, 0x20_8000, 65536, 0]];
    for order in [Order::Little, Order::Big] {
        for table in tables {
            let image = zimage(order, &piggy, table);
            let what = format!("{order:?} {table:?}");
            assert_good(&what, &image);
            assert_eq!(fact(&image, "kernel_size"), "40000", "{what}");
            assert_eq!(fact(&image, "kernel_bss_size"), "5000", "{what}");
            assert_eq!(part(&image, "vmlinux"), kernel, "{what}");
            let read = ZImage::parse(&image).unwrap().table().unwrap();
            assert_eq!(read.text_offset, (table[0] == 6).then_some(0x20_8000), "{what}");
            // Where the kernel will run: behind TEXT_OFFSET, which was 0x8000 on nearly every machine.
            let opened = open(&image, &Limits::default()).unwrap();
            let memory = map::map(&opened).memory.unwrap();
            let kernel = memory.lanes.iter().flat_map(|lane| &lane.spans).find(|span| span.name == "kernel").unwrap();
            assert_eq!(kernel.at.start, if table[0] == 6 { 0x20_8000 } else { 0x8000 }, "{what}");
        }
    }
}

/// What no build writes is still an error.
#[test]
fn a_damaged_size_table() {
    let piggy = piggy(Codec::Gzip, &flat_kernel(4000));
    let good: [&[u32]; 3] = [&[2, 5, 0], &[4, 5, 0], &[6, 5, 0x8000, 65536, 0]];
    for table in good {
        for (index, value) in [(0, 3), (0, 5), (0, 1), (0, 65), (table.len() - 1, 7)] {
            let mut table = table.to_vec();
            table[index] = value;
            let image = zimage(Order::Little, &piggy, &table);
            let rules = broken(&image, Severity::Error);
            assert!(rules == ["zimage.table"] || rules == ["layer.damaged"], "{table:?}: {rules:?}");
        }
        // The size of another kernel.
        let mut image = zimage(Order::Little, &piggy, table);
        let read = ZImage::parse(&image).unwrap().table().unwrap();
        image[read.size_word_at as usize] ^= 4;
        assert!(broken(&image, Severity::Error).contains(&"zimage.payload"), "{table:?}");
    }
}

/// The decompressor's own code may have a codec's magic number in it (that of xz has): what decodes to the kernel is the
/// payload, with a size table and without, in both byte orders.
#[test]
fn magic_numbers_in_the_decompressor() {
    let kernel = flat_kernel(40_000);
    for codec in [Codec::Gzip, Codec::Xz, Codec::Lz4Legacy] {
        let heads = [&b"\xfd7zXZ\0\0\x04"[..], b"\x1f\x8b\x08\0", b"\x02\x21\x4c\x18", &[0x55; 16]].concat();
        let code = [heads, piggy(codec, &kernel)].concat();
        for (order, table) in [Order::Little, Order::Big].iter().flat_map(|o| [(*o, &[][..]), (*o, &[4, 5000, 0])]) {
            let image = zimage(order, &code, table);
            let what = format!("{order:?} {} {table:?}", codec.name());
            assert_good(&what, &image);
            assert_eq!(part(&image, "vmlinux"), kernel, "{what}");
        }
    }
}

/// A payload that was damaged or cut on its way is an error where no header leads to it, too: much came out of it before. Where
/// nothing is found, nothing is called good.
#[test]
fn a_damaged_payload_without_a_size_table() {
    // Decoders give what comes out in pieces of up to 256 KiB.
    let code = noise(600_000, 9).into_iter().map(|byte| byte & 31);
    let kernel: Vec<u8> = flat_kernel(40_000).into_iter().chain(code).collect();
    for codec in [Codec::Gzip, Codec::Lzma, Codec::Xz] {
        let piggy = piggy(codec, &kernel);
        let good = zimage(Order::Little, &piggy, &[]);
        assert_good(codec.name(), &good);
        let start = good.windows(piggy.len()).position(|window| window == piggy).unwrap();
        for from in [piggy.len() / 2, piggy.len() * 9 / 10] {
            let mut image = good.clone();
            image[start + from..start + from + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
            assert_eq!(broken(&image, Severity::Error), ["stream.damaged"], "{} at {from}", codec.name());
        }
        let mut image = good.clone();
        image[start..start + 2000].fill(0x55);
        let verified = verify::verify(&open(&image, &Limits::default()).unwrap());
        assert_eq!(verified.unchecked(), ["the compressed kernel"], "{}", codec.name());
    }
}

/// Another project's header, whose end is that of the header: nothing is called damaged, but what is missing is said.
#[test]
fn a_header_that_ends_with_itself() {
    let words = [&[0xe1a0_0000_u32; 8][..], &[0xea00_0005, 0x016f_2818, 0x3000_0000, 0x3000_0030]].concat();
    let mut image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(super::made::noise(5000, 7));
    assert_eq!(broken(&image, Severity::Error), Vec::<&str>::new());
    assert_eq!(broken(&image, Severity::Warning), ["zimage.payload", "zimage.length"]);
}
