//! ELF files, and the relocation table behind a kernel.

use super::signatures;
use crate::bytes::len64;
use crate::elf::{Elf, Kind as ElfKind, Lists, PT_LOAD, RelocKind};
use crate::finding::{Checks, Hex, rules};
use crate::format::boot_elf::BootElf;
use crate::format::module::Module;
use crate::format::{Format, bzimage};
use crate::inspect::{Kind, Layer, Opened};
use crate::payload::{parse_relocs, points_into};

rules! {
    pub(super) RULES:
    SEGMENTS = "elf.segments", Error, "program header",
        "a loader reads beyond the end of the file, or loads one part of the kernel over another",
        "copy the file again, whole";
    SECTIONS = "elf.sections", Error, "section header",
        "the file was cut off: a loader starts what there is of it, and tools find neither symbols nor contents",
        "copy the file again, whole";
    ENTRY = "elf.entry", Error, "e_entry",
        "a loader jumps to a place that is not part of the kernel",
        "link the kernel again, with ENTRY() in one of its segments";
    ALIGN = "elf.align", Error, "p_align",
        "the decompressor of a 64-bit kernel stops with \"Alignment of LOAD segment isn't multiple of 2MB\"",
        "link the kernel again with -z max-page-size=0x200000";
    NOTES = "elf.notes", Warning, "PT_NOTE segment",
        "notes of different alignment stand in one segment: nobody finds the build id or the PVH entry behind that \
         place",
        "link the kernel so that notes of one alignment stand together";
    SORTED = "relocs.sorted", Error, "relocation table",
        "the kernel's build sorts each list: this table is damaged, and the kernel does not survive being moved",
        "take the table from the build of this kernel";
    INSIDE = "relocs.inside", Error, "relocation table",
        "it is not the table of this kernel: the kernel does not survive being moved (KASLR)",
        "take the table from the build of this kernel";
}

pub(super) fn check(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(elf) = Elf::parse(opened.bytes(layer)) else { return };
    if let Some(module) = Module::of(&elf) {
        signatures::module(&module, checks);
    }
    if let Some(ways_in) = BootElf::find(&elf) {
        checks.append(ways_in.check());
    }
    let len = len64(elf.bytes());
    let mut loads: Vec<_> = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD).collect();
    for segment in &loads {
        let end = segment.offset.saturating_add(segment.filesz);
        let found = format!("bytes {:#x} to {end:#x} of the file for {:#x} of memory", segment.offset, segment.memsz);
        let wanted = format!("no more than the file's {len:#x}, and no more than memory");
        checks.expect(&SEGMENTS, None, end <= len && segment.filesz <= segment.memsz, found, wanted);
    }
    let lost = elf.sections().iter().skip(1).find(|section| elf.contents(section).is_err());
    let found =
        lost.map_or(String::new(), |lost| format!("{} at {:#x}, {} bytes", lost.name(), lost.offset, lost.size));
    checks.expect(&SECTIONS, None, lost.is_none(), found, format!("sections inside the file's {len:#x} bytes"));
    if !matches!(elf.kind(), ElfKind::Executable | ElfKind::Dynamic) {
        return;
    }
    loads.sort_by_key(|segment| segment.paddr);
    for (one, next) in loads.iter().zip(loads.iter().skip(1)) {
        let end = one.paddr.saturating_add(one.memsz);
        let found = format!("a segment at physical address {:#x}", next.paddr);
        checks.expect(&SEGMENTS, None, next.paddr >= end, found, format!("at {end:#x} or above"));
    }
    if elf.entry() != 0 && !loads.is_empty() {
        let entry = elf.entry();
        // x86 has the physical address there, ARM the virtual one.
        let kept = loads.iter().any(|segment| {
            let within = |base: u64| entry.checked_sub(base).is_some_and(|distance| distance < segment.memsz);
            within(segment.vaddr) || within(segment.paddr)
        });
        checks.expect(&ENTRY, crate::elf::ENTRY_AT, kept, Hex(entry), "an address in a segment");
    }
    let unread = elf.unread_notes();
    checks.expect(&NOTES, unread, unread.is_none(), "bytes that are no note", "notes to its end");
    let payload = layer.parent.and_then(|id| opened.layer(id)).and_then(|payload| payload.parent);
    let is_image = |image: &&Layer| matches!(image.kind, Kind::Known(Format::BzImage | Format::Elf));
    let image = payload.and_then(|id| opened.layer(id)).filter(is_image);
    // Not every decompressor looks (Linux 4.16 and newer do, and some stable ones before): the one that does has the words.
    if elf.is_64() && image.is_some_and(|image| bzimage::demands_large_alignment(opened.bytes(image))) {
        for segment in &loads {
            let align = segment.align;
            checks.expect(&ALIGN, None, align > 0 && align % (2 << 20) == 0, Hex(align), "a multiple of 0x200000");
        }
    }
}

pub(super) fn relocs(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let siblings = |name: &'static str| {
        opened.layers().iter().find(move |other| other.parent == layer.parent && other.name == name)
    };
    let Some(Ok(elf)) = siblings("vmlinux").map(|vmlinux| Elf::parse(opened.bytes(vmlinux))) else { return };
    let Ok(found) = parse_relocs(opened.bytes(layer), 0, elf.is_64()) else { return };
    let table = found.table;
    let lists = [("64-bit", &table.addresses64), ("inverse", &table.inverse32), ("32-bit", &table.addresses32)];
    for (name, list) in lists {
        let unsorted = list.windows(2).find(|pair| pair.first() > pair.last());
        let found = unsorted.map_or(String::new(), |pair| format!("{pair:#x?} in the {name} list").replace('\n', ""));
        checks.expect(&SORTED, None, unsorted.is_none(), found, "rising addresses");
    }
    let agreement = points_into(&elf, &table);
    let found = format!("{} of {} addresses in the kernel", agreement.inside(), agreement.checked());
    let lists = if table.kind == RelocKind::Kernel64(Lists::Three) { "three lists" } else { "its lists" };
    let wanted = format!("at least 98 of 100 of each of {lists}");
    checks.expect(&INSIDE, None, table.is_empty() || agreement.is_right(), found, wanted);
}
