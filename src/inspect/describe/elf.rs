//! An ELF file: a kernel, as a rule.

use super::{Child, Context, Decoded, Described, PAYLOAD, PartAt, kernel};
use crate::bytes::{Cursor, Endian, FieldError, len64, slice, slice_at, until_zero};
use crate::codec::Codec;
use crate::elf::raw::{E_ENTRY, E_MACHINE, E_TYPE, EI_CLASS, EI_DATA, PF_R, PF_W, PF_X, PT_INTERP, SHF_EXECINSTR};
use crate::elf::{Elf, Error, Kind as ElfKind, MODINFO, Note, PHYS32_ENTRY, PT_LOAD, banner_in};
use crate::format::boot_elf::{self, BootElf};
use crate::format::module::Module;
use crate::format::{Format, wrapper};
use crate::inspect::{Fact, Kind, Row, Value, rules};
use crate::layout::{Region, RegionKind};
use crate::payload::search::{Tried, VERBATIM, dense_stream, find_stream, is_dense, kernel_end};
use std::ops::Range;

/// Sections of a kernel that are parts (include/asm-generic/vmlinux.lds.h, Linux 7.2).
const PARTS: [(&str, &str); 5] = [
    (".notes", "notes"),
    (".orc_unwind", "orc_unwind"),
    (".orc_unwind_ip", "orc_unwind_ip"),
    (".orc_header", "orc_header"),
    (MODINFO, "modinfo"),
];

pub(super) fn describe(bytes: &[u8], context: &Context<'_>) -> Result<Described, FieldError> {
    let elf = Elf::parse(bytes).map_err(field_error)?;
    let order = match elf.endian() {
        Endian::Little => "little-endian",
        Endian::Big => "big-endian",
    };
    let bits: u64 = if elf.is_64() { 64 } else { 32 };
    let arch = elf.arch().map_or_else(|| format!("machine {}", elf.machine()), |arch| arch.to_string());
    let module = Module::of(&elf);
    let what = if module.is_some() { "kernel module" } else { "ELF file" };
    let title = format!("{what}, {bits}-bit {order}, {arch}");
    let mut described = Described::new(Kind::Known(Format::Elf), title);
    let facts = &mut described.facts;
    facts.push(Fact::new("arch", arch).at(E_MACHINE, 2));
    facts.push(Fact::number("bits", bits).at(EI_CLASS, 1));
    facts.push(Fact::new("endianness", order).at(EI_DATA, 1));
    let kind = match elf.kind() {
        ElfKind::Relocatable => "relocatable",
        ElfKind::Executable => "executable",
        ElfKind::Dynamic => "shared object",
        ElfKind::Other(_) => "other",
    };
    facts.push(Fact::new("elf_type", kind).at(E_TYPE, 2));
    facts.push(Fact::hex("entry", elf.entry()).at(E_ENTRY, elf.encoder().address_size()));
    if let Some(span) = elf.physical_span() {
        facts.push(Fact::hex("load_address", span.start).meaning("lowest physical address"));
        facts.push(Fact::number("memory_size", span.end - span.start).meaning("bytes of memory, BSS included"));
    }
    let rows = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD).map(|segment| {
        Row(vec![
            ("offset", Value::Hex(segment.offset)),
            ("size", Value::Number(segment.filesz)),
            ("physical", Value::Hex(segment.paddr)),
            ("virtual", Value::Hex(segment.vaddr)),
            ("memory_size", Value::Number(segment.memsz)),
            ("permissions", Value::Text(permissions(segment.flags))),
        ])
    });
    facts.push(Fact::new("segments", Value::Table(rows.collect())));
    let sections = u64::try_from(elf.sections().len().saturating_sub(1)).unwrap_or(0);
    facts.push(Fact::number("sections", sections));
    facts.push(Fact::new("symbols", elf.symbols().is_ok()).meaning("symbol table, .symtab"));
    let ways_in = BootElf::find(&elf);
    match (&module, &ways_in) {
        (Some(module), _) => describe_module(module, &mut described),
        (None, Some(ways_in)) => described.children.push(Child::range(boot_elf::IMAGE, ways_in.image.clone())),
        (None, None) => described.later(super::kernel::INSIDE, look_inside),
    }
    let notes = elf.notes();
    describe_notes(&elf, &notes, &mut described);
    let headers =
        [("multiboot", boot_elf::multiboot_header(bytes)), ("multiboot2", boot_elf::multiboot2_header(bytes))];
    for (name, at) in headers {
        let fact =
            |at| Fact::hex(name, at).meaning("file offset of the header: boot loaders can enter this file directly");
        described.facts.extend(at.map(fact));
    }
    if is_contents(context) {
        described.whole_part("vmlinux", bytes);
    }
    described.regions = regions(&elf, bytes);
    if let Some(ways_in) = ways_in {
        // What is loaded is one segment.
        described.regions.retain(|region| region.kind == RegionKind::Header);
        described.regions.extend(ways_in.regions());
    }
    if let Some(signature) = module.and_then(|module| module.signature()) {
        cut_out(&mut described.regions, Region::new("signature", signature.at, RegionKind::Data));
    }
    Ok(described)
}

/// What a module says of itself, as modinfo shows it.
fn describe_module(module: &Module<'_, '_>, described: &mut Described) {
    const TEXTS: [&str; 6] = ["version", "license", "vermagic", "kernel_version", "depends", "srcversion"];
    let facts = &mut described.facts;
    facts.extend(module.name().map(|name| Fact::new("name", Value::text(name))));
    for key in TEXTS {
        let found = module.info(key);
        facts.extend(found.map(|(value, at)| Fact::new(key, Value::text(value)).at(at, len64(value))));
    }
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    facts.push(Fact::number("parameters", count(module.parameters().len())));
    let versions = module.versions().map_or(0, |versions| versions.len());
    facts.push(Fact::number("modversions", count(versions)).meaning("symbols of others whose checksums it has"));
    let Some(signature) = module.signature() else {
        facts.push(Fact::new("signature", "none"));
        return;
    };
    let at = signature.at;
    facts.push(Fact::new("signature", signature.form).meaning("not checked").at(at.start, at.end - at.start));
    facts.extend(signature.signer.map(|name| Fact::new("signer", Value::text(name))));
    facts.extend(signature.hash.map(|hash| Fact::new("signature_hash", hash)));
}

/// Whatever a decompressor starts is the kernel; of another ELF file its banner tells.
fn is_contents(context: &Context<'_>) -> bool {
    matches!(context.parent, Some(Kind::Known(Format::Compressed(_)))) && context.outer == PAYLOAD
}

fn look_inside(bytes: &[u8], context: &Context<'_>, described: &mut Described) {
    let Ok(elf) = Elf::parse(bytes) else { return };
    let loaded = elf.loaded_ranges();
    let banner = loaded.iter().find_map(|range| {
        let at = banner_in(slice_at(bytes, range)?)?.start;
        Some(range.start + u64::try_from(at).ok()?)
    });
    if !is_contents(context) && payload(&elf, banner, context, described) {
        return;
    }
    let init = elf.section(".init.data").or_else(|| elf.section(".init.ramfs"));
    let init = init.filter(|section| elf.contents(section).is_ok());
    let init = init.map(|section| section.offset..section.offset + section.size);
    let init = init.as_ref().map_or(loaded.as_slice(), std::slice::from_ref);
    kernel::describe_inside(bytes, &loaded, init, Some(elf.endian()), context, described);
    for (section, part) in PARTS {
        let section = elf.section(section).filter(|section| elf.contents(section).is_ok_and(|bytes| !bytes.is_empty()));
        if let Some(section) = section.filter(|_| described.facts.get("banner").is_some()) {
            described.part(part, section.offset..section.offset + section.size);
        }
    }
    if is_contents(context) {
        return;
    }
    let is_stream = matches!(context.parent, Some(Kind::Known(Format::Compressed(_))));
    if described.facts.get("banner").is_some() {
        described.whole_part("vmlinux", bytes);
    } else if is_stream && !is_for_a_system(&elf) {
        // It may be a kernel of others.
        let what = "the program in the stream, decompressed: an ELF file that needs no operating system";
        described.parts.push(PartAt { name: "vmlinux", what: Some(what.into()), at: 0..len64(bytes) });
    }
}

/// Is it no kernel, whatever it does? A program that wants an interpreter, or a module.
pub(super) fn is_for_a_system(elf: &Elf<'_>) -> bool {
    elf.kind() == ElfKind::Relocatable || elf.segments().iter().any(|segment| segment.kind == PT_INTERP)
}

/// Looks for what a decompressor has in it. False: it is none. A `banner` is that of a kernel, if it is not in a stream.
fn payload(elf: &Elf<'_>, banner: Option<u64>, context: &Context<'_>, described: &mut Described) -> bool {
    let bytes = elf.bytes();
    let payloads = wrapper::payloads(elf);
    for (role, at) in &payloads {
        let child = |name| Child::range(name, at.clone());
        described.children.push(match role {
            wrapper::Role::Kernel => child(PAYLOAD),
            wrapper::Role::Dtb => child("dtb"),
            wrapper::Role::Initrd => child("initrd").part("initramfs"),
        });
    }
    if !payloads.iter().any(|(role, _)| *role == wrapper::Role::Kernel) {
        let judge = |codec, at: &Range<u64>, tried: &Tried| {
            kernel_end(bytes, codec, at, tried).filter(|_| banner.is_none_or(|banner| at.contains(&banner)))
        };
        let codecs = if banner.is_some() { VERBATIM } else { &Codec::ALL };
        let before = banner.unwrap_or(len64(bytes));
        let child = match find_stream(bytes, before, codecs, (context.left, context.budget), judge) {
            Some(found) => {
                let child =
                    Child::range(PAYLOAD, found.at).kind(Kind::Known(Format::Compressed(found.codec))).scanned();
                Some(Child { decoded: Some(Decoded { data: found.data, inflated: found.inflated }), ..child })
            }
            // Other programs may hold what they like.
            None if banner.is_none() => broken_payload(elf, context, described),
            None => None,
        };
        let Some(child) = child else { return !payloads.is_empty() };
        described.children.push(child);
    }
    described.whole_part("decompressor", bytes);
    described.facts.push(Fact::new("decompressor", true).meaning("it unpacks the kernel and starts it"));
    let mut regions = regions(elf, bytes);
    for region in kernel::child_regions(&described.children) {
        cut_out(&mut regions, region);
    }
    described.regions = regions;
    true
}

/// A damaged stream that is most of what a program without an operating system loads.
fn broken_payload(elf: &Elf<'_>, context: &Context<'_>, described: &mut Described) -> Option<Child> {
    if elf.kind() != ElfKind::Executable || is_for_a_system(elf) {
        return None;
    }
    let loaded = elf.loaded_ranges();
    let broken = context.budget.broken().and_then(|broken| {
        let at = loaded.iter().find(|range| range.contains(&broken.at))?;
        let is_most = at.end - broken.at > (at.end - at.start) / 2;
        Child::broken(0..at.end, context.budget).filter(|_| is_most)
    });
    // What is damaged near its beginning gave nothing.
    broken.or_else(|| {
        let at = loaded.iter().max_by_key(|range| range.end - range.start)?;
        let bytes = slice_at(elf.bytes(), at).filter(|bytes| is_dense(bytes))?;
        let Some((start, codec)) = dense_stream(bytes, context.budget) else {
            let message = "most of the program is compressed or encrypted, in a way that kimage does not know";
            described.findings.push(rules::ELF_PAYLOAD.finding(message).not_checked("compressed data of the program"));
            return None;
        };
        Some(Child::range(PAYLOAD, at.start + start..at.end).kind(Kind::Known(Format::Compressed(codec))))
    })
}

/// Puts `inner` among `regions`, into the place of what it covers of them.
fn cut_out(regions: &mut Vec<Region>, inner: Region) {
    let mut kept = Vec::new();
    for region in regions.drain(..) {
        let Region { name, at, kind } = region;
        let before = at.start..at.end.min(inner.at.start);
        let after = at.start.max(inner.at.end)..at.end;
        for part in [before, after] {
            if part.start < part.end {
                kept.push(Region::new(name.clone(), part, kind));
            }
        }
    }
    kept.push(inner);
    kept.sort_by_key(|region| region.at.start);
    *regions = kept;
}

fn permissions(flags: u32) -> String {
    [(PF_R, 'r'), (PF_W, 'w'), (PF_X, 'x')]
        .iter()
        .map(|(bit, letter)| if flags & bit != 0 { *letter } else { '-' })
        .collect()
}

fn describe_notes(elf: &Elf<'_>, notes: &[Note<'_>], described: &mut Described) {
    if let Some(note) = notes.iter().find(|note| note.owner == b"GNU" && note.kind == 3) {
        let fact = Fact::new("build_id", Value::Bytes(note.desc.to_vec()));
        described.facts.push(fact.at(note.at, len64(note.desc)));
    }
    let xen: Vec<&Note<'_>> = notes.iter().filter(|note| note.owner == b"Xen").collect();
    if let Some(note) = xen.iter().find(|note| note.kind == PHYS32_ENTRY) {
        let value = number(elf, note).unwrap_or(0);
        let meaning = "a VMM can enter this ELF file directly (PVH)";
        described.facts.push(Fact::hex("pvh_entry", value).meaning(meaning).at(note.at, len64(note.desc)));
    }
    if !xen.is_empty() {
        let rows = xen.iter().map(|note| {
            let is_text = matches!(note.kind, 5..=10) && note.desc.len() > 1;
            let value = match (is_text, number(elf, note)) {
                (false, Some(value)) => Value::Hex(value),
                (true, _) => Value::text(until_zero(note.desc)),
                (false, None) => Value::Bytes(note.desc.iter().take(64).copied().collect()),
            };
            Row(vec![("name", xen_note(note.kind).into()), ("value", value)])
        });
        described.facts.push(Fact::new("xen_notes", Value::Table(rows.collect())));
    }
}

fn number(elf: &Elf<'_>, note: &Note<'_>) -> Option<u64> {
    let cursor = Cursor::new(note.desc, elf.endian());
    match note.desc.len() {
        4 => cursor.u32("note", 0).ok().map(u64::from),
        8 => cursor.u64("note", 0).ok(),
        _ => None,
    }
}

/// Names of Xen's notes (xen/include/public/elfnote.h), without `XEN_ELFNOTE_`.
fn xen_note(kind: u32) -> &'static str {
    const NAMES: &str = "INFO ENTRY HYPERCALL_PAGE VIRT_BASE PADDR_OFFSET XEN_VERSION GUEST_OS GUEST_VERSION LOADER PAE_MODE \
                         FEATURES BSD_SYMTAB HV_START_LOW L1_MFN_VALID SUSPEND_CANCEL INIT_P2M MOD_START_PFN \
                         SUPPORTED_FEATURES PHYS32_ENTRY";
    usize::try_from(kind).ok().and_then(|kind| NAMES.split(' ').nth(kind)).unwrap_or("unknown")
}

/// The file, cut by its own headers: tables, sections with contents, what lies between.
fn regions(elf: &Elf<'_>, bytes: &[u8]) -> Vec<Region> {
    // A map of thousands of sections shows nothing; those of a kernel are some dozens.
    const MOST: usize = 512;
    let header = elf.encoder().file_header_size();
    let mut found = vec![Region::new("ELF header", 0..header.min(len64(bytes)), RegionKind::Header)];
    for section in elf.sections().iter().skip(1).take(MOST) {
        if section.size == 0 || elf.contents(section).map_or(true, <[u8]>::is_empty) {
            continue;
        }
        let kind = if section.flags & SHF_EXECINSTR != 0 { RegionKind::Code } else { RegionKind::Data };
        found.push(Region::new(section.name().into_owned(), section.offset..section.offset + section.size, kind));
    }
    // A stripped kernel may have nothing but the names of its sections left.
    if !elf.sections().iter().any(|section| section.is_alloc() && section.size > 0) {
        for (index, segment) in elf.segments().iter().take(MOST).enumerate() {
            if slice(bytes, segment.offset, segment.filesz).is_some_and(|bytes| !bytes.is_empty()) {
                let at = segment.offset..segment.offset + segment.filesz;
                found.push(Region::new(format!("segment[{index}]"), at, RegionKind::Data));
            }
        }
    }
    found.sort_by_key(|region| (region.at.start, region.at.end));
    // Regions do not overlap: of two that do, the first stays.
    let mut regions: Vec<Region> = Vec::new();
    for region in found {
        if regions.last().is_none_or(|last| last.at.end <= region.at.start) {
            regions.push(region);
        }
    }
    regions
}

/// The error of a layer is about a field.
pub(super) fn field_error(error: Error) -> FieldError {
    match error {
        Error::Field(error) => error,
        Error::Damaged { field, at, .. } => FieldError::unknown(field, at.0, 0_u64, "a table inside the file"),
        other => FieldError::unknown(other.to_string(), 0, 0_u64, "an ELF file"),
    }
}
