//! A bzImage and the kernel in it.

use super::{kernel, payload};
use crate::bytes::len64;
use crate::codec::Codec;
use crate::elf::Elf;
use crate::finding::{Checks, Hex, rules};
use crate::format::Format;
use crate::format::bzimage::{BzImage, MemoryOf, StandaloneImage, XLF_KERNEL_64, init_size, offset_of};
use crate::format::pe::Pe;
use crate::inspect::{Kind, Layer, Opened};
use crate::stub::parameters::{PLAIN, RELOCS as HAS_TABLE};

rules! {
    pub(super) RULES:
    CLASS = "bzimage.class", Error, "xloadflags, XLF_KERNEL_64",
        "a boot loader enters a 32-bit kernel in 64-bit mode, or refuses a 64-bit one",
        "take the setup from the build of this kernel";
    ADDRESS = "bzimage.pref_address", Error, "pref_address",
        "a boot loader sets aside memory where the kernel does not go",
        "take the setup from the build of this kernel";
    INIT_SIZE = "bzimage.init_size", Error, "init_size",
        "a boot loader sets aside too little memory, so that the decompressor overwrites itself or an initial RAM \
         disk; or more than there is",
        "build the image again with the zoffset.h and voffset.h of this kernel";
    FORMULA = "bzimage.init_size_formula", Note, "init_size",
        "whether a boot loader sets aside enough memory depends on the kernel's version, which nothing tells",
        "build the image again with the zoffset.h and voffset.h of this kernel, if it stops while it is unpacked";
    RELEASE = "bzimage.release", Error, "release in the setup",
        "setup and kernel are not of the same build: it boots at most by chance",
        "take the setup from the build of this kernel";
    RELOCS = "bzimage.relocs", Error, "relocations behind the kernel",
        "a 32-bit kernel that may be loaded anywhere cannot run anywhere but at its link address",
        "build the image again with the kernel's relocations, or not relocatable";
    SECTIONS = "bzimage.pe_layout", Error, "end of the last PE section",
        "UEFI firmware loads another part of the file than other boot loaders do",
        "build the image again; a tool that changed it left one of the two as it was";
}

pub(super) fn check(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let bytes = opened.bytes(layer);
    let Ok(image) = BzImage::parse(bytes) else { return };
    let image = image.with_crc(layer.crc);
    checks.append(image.check());
    let standalone = StandaloneImage::find(&image);
    let packed = opened.children(layer.id).find(|child| child.name == "payload");
    if let Some(standalone) = &standalone {
        checks.append(standalone.check(&image));
        let plain = standalone.parameters.has(PLAIN);
        let unpacked =
            packed.and_then(|payload| if plain { Some(opened.bytes(payload)) } else { opened.contents(payload.id) });
        if let Some(unpacked) = unpacked {
            checks.append(standalone.check_kernel(unpacked));
        }
    }
    // What is not Linux need not be compressed.
    let may_be_plain = standalone.as_ref().is_some_and(|standalone| standalone.parameters.has(PLAIN));
    let may_be_plain =
        may_be_plain || !image.setup().is_linux() && packed.is_some_and(|payload| codec_of(payload).is_none());
    if !may_be_plain {
        payload(opened, layer, offset_of("payload_length"), checks);
    }
    let end = image.system_range().1;
    if let Some(last) = Pe::find(bytes)
        .filter(|_| image.setup().is_linux())
        .and_then(|pe| pe.sections.iter().map(|section| section.file_range().end).max())
    {
        checks.expect(&SECTIONS, offset_of("syssize"), last == end, Hex(last), format!("{end:#x}, where syssize ends"));
    }
    // A payload that is not compressed is the kernel itself.
    let plain = packed.filter(|payload| payload.kind == Kind::Known(Format::Elf));
    let Some(vmlinux) = kernel(opened, layer).or(plain) else { return };
    let Ok(elf) = Elf::parse(opened.bytes(vmlinux)) else { return };
    let (setup, header) = (image.setup(), image.setup().header());
    if let Some(flag) = setup.xloadflag(XLF_KERNEL_64) {
        let bits = |wide: bool| if wide { "64 bits" } else { "32 bits" };
        // Our own boot stub for 64-bit CPUs is entered in 64-bit mode for any kernel.
        let wanted = elf.is_64() || standalone.as_ref().is_some_and(|standalone| standalone.is_64);
        checks.expect(&CLASS, offset_of("xloadflags"), flag == wanted, bits(flag), bits(wanted));
    }
    if let (true, Some(release)) = (setup.release().is_some(), vmlinux.facts.get("release")) {
        let found = setup.release().unwrap_or_default();
        let wanted = release.text();
        checks.expect(&RELEASE, offset_of("kernel_version"), found == wanted, found, wanted);
    }
    let stub_has_table = standalone.as_ref().is_some_and(|standalone| standalone.parameters.has(HAS_TABLE));
    let relocs =
        stub_has_table || opened.layers().iter().any(|other| other.parent == vmlinux.parent && other.name == "relocs");
    let needed = !elf.is_64() && setup.has(0x205) && header.relocatable_kernel != 0;
    checks.expect(&RELOCS, offset_of("relocatable_kernel"), relocs || !needed, "none", "a table");
    if let (true, Some(span)) = (setup.has(0x20a), elf.physical_span()) {
        let address = header.pref_address.get();
        checks.expect(&ADDRESS, offset_of("pref_address"), address == span.start, Hex(address), Hex(span.start));
        let outputs = vmlinux.parent.and_then(|id| opened.contents(id)).map_or(0, len64);
        let compressed = u64::from(header.payload_length.get());
        let memory = span.end - span.start;
        if standalone.is_none() && setup.is_linux() {
            let memory = MemoryOf { packed: compressed, unpacked: outputs, head: 0, decompressor: 0, kernel: memory };
            check_init_size(&image, memory, elf.is_64(), checks);
        }
    }
}

/// The decompressor's memory is told by the PE header of newer kernels; otherwise the formula and its memory are known within
/// bounds only.
fn check_init_size(image: &BzImage<'_>, memory: MemoryOf, is_64: bool, checks: &mut Checks) {
    let found = u64::from(image.setup().header().init_size.get());
    let at = offset_of("init_size");
    if let Some(decompressor) = image.decompressor_memory() {
        let wanted = init_size(&MemoryOf { decompressor, ..memory }).unwrap_or(u64::MAX);
        checks.expect(&INIT_SIZE, at, found == wanted, Hex(found), format!("{wanted:#x} by the formula of header.S"));
        return;
    }
    let bounds = image.init_size_bounds(&memory);
    let range = bounds.least..=bounds.most;
    // A 32-bit decompressor did not end at a page before Linux 4.7.
    let whole = is_64 || image.setup().has(0x20f);
    let kept = range.contains(&found) && (found % 0x1000 == 0 || !whole);
    let pages = if whole { "whole pages, " } else { "" };
    checks.expect(&INIT_SIZE, at, kept, Hex(found), format!("{pages}{:#x} to {:#x}", range.start(), range.end()));
    if kept && found < bounds.enough {
        let found = format!(
            "found {found:#x}, not known whether it is enough: {:#x} by the oldest formula of such an image, {:#x} by the newest",
            bounds.least, bounds.enough
        );
        checks.not_checked(&FORMULA, at, found, "values of init_size");
    }
}

fn codec_of(layer: &Layer) -> Option<Codec> {
    if let Kind::Known(Format::Compressed(codec)) = layer.kind { Some(codec) } else { None }
}
