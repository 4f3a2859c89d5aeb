//! The containers of ARM, RISC-V and U-Boot: zImage, `Image`, zboot, uImage.

use super::payload;
use crate::bytes::{Cursor, Endian, len64};
use crate::finding::{Checks, Hex, rules};
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::trx::Trx;
use crate::format::uimage::{self, COMPRESSION, MAGIC, UImage, comp_word, kind};
use crate::format::zboot;
use crate::format::zimage::ZImage;
use crate::inspect::{Kind, Layer, Opened, hex, rules};

rules! {
    pub(super) RULES:
    TRX_CRC = "trx.crc32", Error, "crc32",
        "the boot loader refuses the firmware",
        "copy the file again, whole, or have the sum made again (OpenWrt: otrx, trx)";
    ANDROID_ID = "android.id", Note, "id, the SHA-1 of the sections",
        "a section was changed after mkbootimg, or another tool made the image; few boot loaders look at it",
        "mkbootimg makes the id again";
}

pub(super) fn zimage(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(image) = ZImage::parse_alone(opened.bytes(layer)) else { return };
    checks.append(image.check());
    let has_payload = opened.children(layer.id).any(|child| child.name == "payload");
    if image.table().is_some() {
        checks.expect(&rules::ZIMAGE_PAYLOAD, None, has_payload, "none", "one of the size in the table");
    }
    payload(opened, layer, None, checks);
}

pub(super) fn zboot(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    checks.append(zboot::check(opened.bytes(layer)));
    payload(opened, layer, zboot::SIZE_AT, checks);
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
    let wanted = codec.map(|codec| comp_word(codec).unwrap_or("none"));
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
