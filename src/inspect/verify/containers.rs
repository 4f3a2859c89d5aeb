//! The containers of ARM, RISC-V and U-Boot: zImage, `Image`, zboot, uImage.

use super::payload;
use crate::finding::Checks;
use crate::format::Format;
use crate::format::uimage::{self, COMPRESSION, UImage, comp_word, kind};
use crate::format::zboot;
use crate::format::zimage::ZImage;
use crate::format::zimage_stub::StubImage;
use crate::inspect::{Kind, Layer, Opened, rules};

pub(super) fn zimage(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(image) = ZImage::parse_alone(opened.bytes(layer)) else { return };
    checks.append(image.check());
    let has_payload = opened.children(layer.id).any(|child| child.name == "payload");
    if image.table().is_some() {
        checks.expect(&rules::ZIMAGE_PAYLOAD, None, has_payload, "none", "one of the size in the table");
    }
    // A kernel that is not compressed is what the parameters of the boot stub say.
    if !StubImage::find(opened.bytes(layer)).is_some_and(|stub| stub.is_plain()) {
        payload(opened, layer, None, checks);
    }
}

pub(super) fn zboot(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    checks.append(zboot::check(opened.bytes(layer)));
    payload(opened, layer, zboot::SIZE_AT, checks);
}

pub(super) fn uimage(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(image) = UImage::parse_any(opened.bytes(layer)) else { return };
    checks.append(image.check());
    let header = image.header();
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
    checks.expect(&uimage::rules::COMP, uimage::offset_of("ih_comp"), kept, name, wanted.unwrap_or("none"));
}
