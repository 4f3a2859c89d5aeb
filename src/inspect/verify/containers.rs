//! The containers of ARM, RISC-V and U-Boot: zImage, `Image`, zboot, uImage.

use super::{payload, unsigned_len};
use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, len64, slice};
use crate::codec::Codec;
use crate::finding::{Checks, Hex, Severity, rules};
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::image64::Image64;
use crate::format::pe::Pe;
use crate::format::trx::Trx;
use crate::format::uimage::{self, COMPRESSION, MAGIC, UImage, kind};
use crate::format::zimage::ZImage;
use crate::inspect::{Kind, Layer, Opened, hex, rules};

rules! {
    pub(super) RULES:
    TRX_CRC = "trx.crc32", Error, "crc32",
        "the boot loader refuses the firmware",
        "copy the file again, whole, or have the sum made again (OpenWrt: otrx, trx)";
    ZIMAGE_LENGTH = "zimage.length", Error, "what follows the end by the header",
        "the decompressor looks for an appended device tree just there: what is there is none, or is damaged",
        "cut it off, or append a device tree that is whole";
    ZIMAGE_DTB = "zimage.dtb", Warning, "place of the appended device tree",
        "the kernel's decompressor looks right behind the image and nowhere else: it does not find the tree",
        "append the device tree right behind the end of the zImage, without padding";
    ZIMAGE_TABLE = "zimage.table", Error, "size table",
        "boot loaders (kexec) reckon with a wrong size of the kernel: device tree or RAM disk may be overwritten",
        "take the zImage as it was built";
    IMAGE_CONSTANT = "image.constant", Error, "header field",
        "no kernel's build writes this value: the header was damaged or edited",
        "copy the image again; if the change is yours, know that no build has it";
    IMAGE_SIZE = "image.size", Error, "image_size",
        "a boot loader sets aside too little memory for the kernel, or more than it needs",
        "copy the image again, whole";
    ZBOOT_CONSTANT = "zboot.constant", Error, "header field",
        "boot loaders that unpack the kernel themselves do not know what to do with it",
        "copy the image again";
    ANDROID_ID = "android.id", Note, "id, the SHA-1 of the sections",
        "a section was changed after mkbootimg, or another tool made the image; few boot loaders look at it",
        "mkbootimg makes the id again";
}

pub(super) fn zimage(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let bytes = opened.bytes(layer);
    let Ok(image) = ZImage::parse_alone(bytes) else { return };
    let end = image.kernel_len();
    let behind = image.behind();
    let found = behind
        .rest
        .as_ref()
        .map_or(String::new(), |rest| format!("{} bytes at {:#x}", rest.end - rest.start, rest.start));
    // Without a tree there the kernel takes that of its boot loader: whatever else is there does no harm.
    let severity = if image.has_damaged_dtb() { Severity::Error } else { Severity::Warning };
    checks.expect_as(severity, &ZIMAGE_LENGTH, 0x2c, behind.rest.is_none(), found, "nothing, device trees, or padding");
    if let Some(first) = behind.trees.first() {
        let found = format!("padding, and the first device tree at {:#x}", first.start);
        checks.expect(&ZIMAGE_DTB, first.start, first.start == end, found, format!("a device tree at {end:#x}"));
    }
    zimage_table(&image, bytes, checks);
    let has_payload = opened.children(layer.id).any(|child| child.name == "payload");
    if image.table().is_some() {
        checks.expect(&rules::ZIMAGE_PAYLOAD, None, has_payload, "none", "one of the size in the table");
    }
    payload(opened, layer, None, checks);
}

fn zimage_table(image: &ZImage<'_>, bytes: &[u8], checks: &mut Checks) {
    let order = if bytes.get(0x24..0x28) == Some(&[0x18, 0x28, 0x6f, 0x01]) { Endian::Little } else { Endian::Big };
    let cursor = Cursor::new(bytes, order);
    let word = |at: u64| cursor.u32("zImage", at).unwrap_or(0);
    let mark = word(0x30);
    checks.expect(
        &ZIMAGE_TABLE,
        0x30,
        mark == 0x0403_0201 || mark == 0x0102_0304 || image.table().is_none() && !has_tag(bytes, order),
        format!("endianness mark {mark:#x}"),
        "0x4030201",
    );
    let Some(table) = image.table() else {
        let found = "its tag, and no mark at 0x34 that says where it is";
        checks.expect(&ZIMAGE_TABLE, 0x34, !has_tag(bytes, order), found, "0x45454545");
        return;
    };
    let (at, words) = (table.at, table.words);
    checks.expect(&ZIMAGE_TABLE, at, matches!(words, 2 | 4 | 6), format!("{words} words"), "2, 4 or 6");
    let last = word(table.end_at);
    checks.expect(&ZIMAGE_TABLE, at, last == 0, format!("{last:#x} at its end"), "0");
    if let (Some(text), Some(malloc)) = (table.text_offset, table.malloc_size) {
        // PAGE_OFFSET + TEXT_OFFSET, where the page tables must fit below.
        let kept = text % 0x8000 == 0 && text < 64 << 20;
        checks.expect(
            &ZIMAGE_TABLE,
            at + 16,
            kept,
            format!("TEXT_OFFSET {text:#x}"),
            "a multiple of 0x8000 below 64 MiB",
        );
        checks.expect(&ZIMAGE_TABLE, at + 20, malloc == 65536, format!("MALLOC_SIZE {malloc}"), "65536");
    }
}

fn has_tag(bytes: &[u8], order: Endian) -> bool {
    const TAG: u32 = 0x5a53_4c4b;
    let tag = if order == Endian::Little { TAG.to_le_bytes() } else { TAG.to_be_bytes() };
    memchr::memmem::find_iter(bytes, &tag).any(|at| at % 4 == 0)
}

pub(super) fn image64(bytes: &[u8], checks: &mut Checks) {
    let Ok(image) = Image64::parse(bytes) else { return };
    let cursor = Cursor::little(bytes);
    let word = |at: u64| cursor.u32("Image", at).unwrap_or(0);
    let mut constant = |name: &str, at: u64, kept: bool, found: u64, wanted: &str| {
        checks.expect(&IMAGE_CONSTANT, at, kept, format!("{name} {found:#x}"), wanted);
    };
    let offset = image.text_offset;
    if image.arch == Arch::Arm64 {
        let kept = offset % 0x1000 == 0 && offset < 2 << 20;
        constant("text_offset", 8, kept, offset, "a multiple of 0x1000 below 2 MiB");
        constant("flags", 24, image.flags >> 4 == 0, image.flags, "no bits above 3");
        for at in (32..56).step_by(4) {
            constant("reserved word", at, word(at) == 0, word(at).into(), "0");
        }
    } else {
        constant("text_offset", 8, matches!(offset, 0 | 0x20_0000 | 0x40_0000), offset, "0, 0x200000 or 0x400000");
        constant("flags", 24, image.flags >> 1 == 0, image.flags, "no bits above 0");
        constant("version", 32, word(32) <= 2, word(32).into(), "0x2 (0.2)");
        for at in [36, 40, 44] {
            constant("reserved word", at, word(at) == 0, word(at).into(), "0");
        }
        let magic = cursor.u64("magic", 48).unwrap_or(0);
        constant("magic", 48, magic == 0x0056_4353_4952, magic, "0x5643534952 (RISCV)");
    }
    let is_mz = bytes.starts_with(b"MZ");
    constant("offset of the PE header", 60, is_mz == (word(60) != 0), word(60).into(), "0 without MZ, another with MZ");
    if image.image_size == 0 {
        return;
    }
    let len = unsigned_len(slice(bytes, 0, image.extent(bytes).0).unwrap_or(bytes));
    let found = image.image_size;
    checks.expect(&IMAGE_SIZE, 16, found >= len, found, format!("the file's {len} bytes at least"));
    if let Some(pe) = Pe::parse(bytes).ok().filter(|_| is_mz) {
        let wanted = u64::from(pe.size_of_image);
        checks.expect(
            &IMAGE_SIZE,
            16,
            found == wanted,
            Hex(found),
            format!("{wanted:#x}, SizeOfImage of the PE header"),
        );
        let end = pe.sections.iter().map(|section| section.file_range().end).max().unwrap_or(0);
        let wanted = format!("{end:#x}, where the PE sections end");
        checks.expect(&IMAGE_SIZE, None, end == len || bytes.len() > 1 << 30, format!("{len:#x} bytes"), wanted);
    }
}

pub(super) fn zboot(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let cursor = Cursor::little(opened.bytes(layer));
    for (name, at) in [("upper half of e_magic", 0), ("reserved word", 16), ("reserved word", 20)] {
        let value = cursor.u32("zboot", at).unwrap_or(0) >> if at == 0 { 16 } else { 0 };
        checks.expect(&ZBOOT_CONSTANT, at, value == 0, format!("{name} {value:#x}"), "0");
    }
    let codec = crate::format::zboot::Zboot::parse(opened.bytes(layer)).ok().map(|image| (image.tag(), image.codec()));
    if let Some((tag, codec)) = codec {
        let found = format!("compression type {:?}", String::from_utf8_lossy(tag));
        checks.expect(
            &ZBOOT_CONSTANT,
            24,
            codec.is_some(),
            found,
            "gzip or zstd; before Linux 6.12 also lz4, lzma, lzo, xzkern",
        );
    }
    payload(opened, layer, 12, checks);
}

pub(super) fn uimage(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let bytes = opened.bytes(layer);
    // A vendor's magic number was asked for by whoever opened it.
    let magic = Cursor::new(bytes, Endian::Big).u32("ih_magic", 0).unwrap_or(MAGIC);
    let Ok(image) = UImage::parse_magic(bytes, magic) else { return };
    let (header, data) = image.checksums();
    checks.expect(&uimage::rules::HCRC, 4, header.0 == header.1, Hex(header.0.into()), Hex(header.1.into()));
    checks.expect(&uimage::rules::DCRC, 24, data.0 == data.1, Hex(data.0.into()), Hex(data.1.into()));
    let end = 64 + u64::from(image.size());
    let csf = image.header().kind == kind::FIRMWARE_IVT;
    // `ih_size` of this type counts the signature data, whether it is there yet or not.
    let data_end = image.data_end();
    let behind = len64(bytes).saturating_sub(data_end);
    checks.expect(&uimage::rules::SIZE, 12, behind == 0 || csf, behind, 0);
    if behind > 0 && csf {
        let what = "signatures of the boot ROM (HABv4)";
        checks.not_checked(&uimage::rules::CSF, data_end, format!("{behind} bytes, not checked"), what);
    }
    let header = image.header();
    if matches!(header.kind, kind::MULTI | kind::SCRIPT) {
        let last = image.file_ranges().last().map_or(68, |range| range.end);
        let found = format!("files up to {last:#x}");
        // The last file is not padded, but some tools do.
        checks.expect(
            &uimage::rules::TABLE,
            64,
            (last..last + 4).contains(&end),
            found,
            format!("{end:#x}, the end of the data"),
        );
    }
    let first = opened.children(layer.id).next();
    let codec = first.and_then(|first| match first.kind {
        Kind::Known(Format::Compressed(codec)) => Some(codec),
        _ => None,
    });
    let name = COMPRESSION.short(header.comp).unwrap_or("unknown");
    let wanted = codec.map(|codec| match codec {
        Codec::Gzip => "gzip",
        Codec::Bzip2 => "bzip2",
        Codec::Lzma => "lzma",
        Codec::Lzo => "lzo",
        Codec::Lz4Legacy | Codec::Lz4Frame => "lz4",
        Codec::Zstd => "zstd",
        _ => "none",
    });
    // A RAM disk is decompressed by the kernel, not by U-Boot: both ways are used.
    let kept = match (wanted, header.kind) {
        (Some(wanted), kind::KERNEL | kind::KERNEL_NOLOAD) => name == wanted,
        (None, kind::KERNEL | kind::KERNEL_NOLOAD | kind::STANDALONE) => name == "none" || first.is_none(),
        _ => true,
    };
    checks.expect(&uimage::rules::COMP, 31, kept, name, wanted.unwrap_or("none"));
    let (load, entry) = (u64::from(header.load), u64::from(header.entry));
    if header.kind == kind::KERNEL && name == "none" && !(load..load + u64::from(image.size())).contains(&entry) {
        let wanted = format!("{load:#x} to {:#x}", load + u64::from(image.size()));
        checks.expect(&uimage::rules::ENTRY, 20, false, Hex(entry), wanted);
    } else if matches!(header.kind, kind::KERNEL | kind::KERNEL_NOLOAD) {
        let found = header.entered(image.files().next().unwrap_or(&[]), false);
        let (severity, why) = found.unwrap_or((uimage::rules::ENTRY.severity, ""));
        let first = if header.kind == kind::KERNEL { load } else { 0 };
        let wanted = format!("{first:#x}, its first byte: {why}");
        checks.expect_as(severity, &uimage::rules::ENTRY, 20, found.is_none(), Hex(entry), wanted);
    }
}

pub(super) fn android(bytes: &[u8], checks: &mut Checks) {
    const ID_AT: u64 = 576;
    let Ok(image) = BootImage::parse(bytes) else { return };
    // Zeros are no claim.
    let Some((digest, rest)) = image.id.split_at_checked(20).filter(|_| image.id.iter().any(|byte| *byte != 0)) else {
        return;
    };
    let computed = image.computed_id(bytes);
    let is_right = digest == computed && rest.iter().all(|byte| *byte == 0);
    checks.expect(&ANDROID_ID, ID_AT, is_right, hex(image.id), hex(&computed));
}

pub(super) fn trx(bytes: &[u8], checks: &mut Checks) {
    let Ok(trx) = Trx::parse(bytes) else { return };
    checks.expect(&TRX_CRC, 8, trx.crc32 == trx.computed, Hex(trx.crc32.into()), Hex(trx.computed.into()));
}
