//! What goes where in the file.

use super::super::raw::{PT_GNU_RELRO, PT_GNU_STACK, PT_NOTE, PT_PHDR, PT_TLS, SHF_TLS};
use super::super::{Elf, PT_LOAD, Result, SHT_NOBITS, Section};
use super::model::{OutputSection, OutputSegment, cannot, ehsize, holds, table_order, word_align};
use crate::bytes::Align;

/// Gives every section its file offset and every program header its offset and sizes; returns where the last
/// section ends.
///
/// Loaded segments come first, by rising load address, each at the next offset that fits its address modulo its
/// alignment; then the sections that no segment loads, in table order; then the headers that point into what is placed
/// (bfd/elf.c of binutils 2.40, `assign_file_positions_for_load_sections` and `..._for_non_load_sections`).
pub(super) fn assign(
    elf: &Elf<'_>,
    header_end: u64,
    kept: &mut [OutputSection<'_>],
    maps: &mut [OutputSegment],
) -> Result<u64> {
    let mut loads: Vec<usize> = (0..maps.len()).filter(|index| is_load(maps, *index)).collect();
    loads.sort_by_key(|index| maps.get(*index).map(|map| (!map.file_header, map.start.paddr, *index)));
    let headers_loader = loads.iter().copied().find(|index| maps.get(*index).is_some_and(|map| map.program_headers));
    // The program headers follow the ELF header; they are counted with the segment that loads them.
    let mut at = if headers_loader.is_some() { ehsize(elf) } else { header_end };
    for index in loads {
        if let Some(map) = maps.get_mut(index) {
            let program_headers = if headers_loader == Some(index) { header_end - ehsize(elf) } else { 0 };
            at = load(elf, at, program_headers, kept, map)?;
        }
    }
    let loads_end = at;
    let mut placed = vec![false; kept.len()];
    for index in maps.iter().filter(|map| map.out.kind == PT_LOAD).flat_map(|map| &map.sections) {
        if let Some(slot) = placed.get_mut(*index) {
            *slot = true;
        }
    }
    // Thread-local ones without bytes stand where a segment of no bytes would, and move nothing.
    for index in maps.iter().filter(|map| map.out.kind != PT_LOAD).flat_map(|map| &map.sections) {
        if let (Some(section), Some(slot @ false)) = (kept.get_mut(*index), placed.get_mut(*index)) {
            if is_tbss(&section.section) {
                section.offset = congruent(loads_end, section.section.addr, section.align().bytes())?;
                *slot = true;
            }
        }
    }
    let is_paged = is_paged(elf);
    for (section, placed) in kept.iter_mut().zip(placed) {
        if placed {
            continue;
        }
        if section.section.is_alloc() && is_nobits(section) {
            // Nobody asked for a place.
            section.offset = 0;
            continue;
        }
        if section.section.is_alloc() {
            // As if it were a segment of its own; empty ones need no page.
            let wants_page = is_paged && section.section.size != 0;
            let align = if wants_page { default_page(elf, section)? } else { section.align().bytes() };
            at = congruent(at, section.section.addr, align)?;
        } else {
            at = section.align().up(at).ok_or_else(too_long)?;
        }
        section.offset = at;
        if section.section.kind != SHT_NOBITS {
            at = at.checked_add(section.section.size).ok_or_else(too_long)?;
        }
    }
    let done: Vec<OutputSegment> = maps.to_vec();
    for map in maps.iter_mut().filter(|map| map.out.kind != PT_LOAD) {
        other(elf, header_end, kept, &done, map)?;
    }
    Ok(at)
}

/// Gives the sections of an object file their offsets, one behind the other in the order of the table; returns where the last
/// one ends (bfd/elf.c of binutils 2.40, `assign_file_positions_except_relocs`).
pub(super) fn in_order(header_end: u64, kept: &mut [OutputSection<'_>]) -> Result<u64> {
    let mut at = header_end;
    for kept in table_order(kept) {
        kept.offset = kept.header_align().up(at).ok_or_else(too_long)?;
        let len = if is_nobits(kept) { 0 } else { kept.section.size };
        at = kept.offset.checked_add(len).ok_or_else(too_long)?;
    }
    Ok(at)
}

/// Is the file laid out for demand paging: is every loaded section at an offset that equals its address modulo the page
/// (bfd/elfcode.h, `D_PAGED`)?
fn is_paged(elf: &Elf<'_>) -> bool {
    // `minpagesize` of nearly all CPUs.
    const PAGE: u64 = 0x1000;
    let has_bytes = |section: &&Section<'_>| section.is_alloc() && section.kind != SHT_NOBITS && section.size != 0;
    elf.sections().iter().filter(has_bytes).all(|section| section.addr.wrapping_sub(section.offset) % PAGE == 0)
}

/// Thread-local, without bytes in the file.
fn is_tbss(section: &Section<'_>) -> bool {
    section.kind == SHT_NOBITS && section.flags & SHF_TLS != 0
}

/// The page that objcopy takes for a section that no segment loads.
fn default_page(elf: &Elf<'_>, section: &OutputSection<'_>) -> Result<u64> {
    elf.arch().and_then(|arch| arch.facts().objcopy).map(|objcopy| objcopy.page).ok_or_else(|| {
        let why = format!("section {} is allocated, but in no segment", section.section.name());
        cannot(why, "remove that section, or use objcopy for this file")
    })
}

fn is_load(maps: &[OutputSegment], index: usize) -> bool {
    maps.get(index).is_some_and(|map| map.out.kind == PT_LOAD)
}

/// The next offset at or above `at` that equals `addr` modulo `align`.
fn congruent(at: u64, addr: u64, align: u64) -> Result<u64> {
    let align = Align::new(align.max(1)).ok_or_else(|| {
        cannot(format!("a segment is aligned to {align:#x}, which is no power of two"), "link it with a power of two")
    })?;
    let bias = addr.wrapping_sub(at) & (align.bytes() - 1);
    at.checked_add(bias).ok_or_else(too_long)
}

/// A loaded segment: its sections keep their distances in memory. `program_headers` is how many bytes of them it loads.
fn load(
    elf: &Elf<'_>,
    start: u64,
    program_headers: u64,
    kept: &mut [OutputSection<'_>],
    map: &mut OutputSegment,
) -> Result<u64> {
    let mut at = start;
    let out = &mut map.out;
    (out.vaddr, out.paddr, out.filesz, out.memsz) = (map.start.vaddr, map.start.paddr, 0, 0);
    if !map.file_header {
        out.offset = at;
    }
    at = at.checked_add(program_headers).ok_or_else(too_long)?;
    let is_empty = map.sections.is_empty();
    let has_contents = map.sections.iter().filter_map(|index| kept.get(*index)).any(|kept| !is_nobits(kept));
    // Bytes that the segment takes in the file but that shall not move what comes behind it.
    let mut lent = 0;
    if !is_empty {
        let aligned = congruent(at, out.vaddr, out.align)?;
        lent = if has_contents { 0 } else { aligned - at };
        at = aligned;
    }
    if map.file_header || map.program_headers {
        let ehsize = ehsize(elf);
        if map.file_header {
            (out.offset, out.filesz, out.memsz) = (0, ehsize, ehsize);
        }
        if !is_empty {
            let before = at - out.offset;
            let no_room = || {
                cannot(
                    "a segment has no room for the headers in front of its first section",
                    "use objcopy for this file",
                )
            };
            out.vaddr = out.vaddr.checked_sub(before).ok_or_else(no_room)?;
            if !map.start.paddr_is_fixed {
                out.paddr = out.paddr.checked_sub(before).ok_or_else(no_room)?;
            }
        }
        out.filesz = out.filesz.saturating_add(program_headers);
        // What stands between the headers and the first section is loaded too.
        out.memsz = at - out.offset;
        if has_contents || is_empty {
            out.filesz = out.memsz;
        }
    } else {
        out.offset = at;
        if !is_empty && !has_contents {
            // It needs no room in the file, but a loader may want its offset to fit its address.
            out.offset = at % out.align.max(1);
        }
    }
    for (place, index) in map.sections.iter().enumerate() {
        let Some(kept) = kept.get_mut(*index) else { continue };
        let (section, is_nobits) = (&kept.section, is_nobits(kept));
        if !is_tbss(section) {
            let end = out.paddr.wrapping_add(out.memsz);
            let mut gap = kept.lma.checked_sub(end).ok_or_else(|| {
                let name = section.name().into_owned();
                cannot(format!("section {name} is loaded over the one before it"), "overlays are not taken apart")
            })?;
            out.memsz = out.memsz.checked_add(gap).ok_or_else(too_long)?;
            if !is_nobits {
                lent = 0;
                // Bytes behind a section without contents: that section takes up room in the file after all.
                gap = gap.max(out.memsz.saturating_sub(out.filesz));
                out.filesz = out.filesz.checked_add(gap).ok_or_else(too_long)?;
            }
            if !is_nobits || place == 0 {
                at = at.checked_add(gap).ok_or_else(too_long)?;
                lent = if is_nobits { lent.saturating_add(gap) } else { lent };
            }
        }
        kept.offset = at;
        if !is_nobits {
            at = at.checked_add(section.size).ok_or_else(too_long)?;
            out.filesz = out.filesz.checked_add(section.size).ok_or_else(too_long)?;
        }
        if !is_tbss(section) {
            out.memsz = out.memsz.checked_add(section.size).ok_or_else(too_long)?;
        }
    }
    check_inside(kept, map)?;
    Ok(at.saturating_sub(lent))
}

/// Refuses a segment that does not hold what it shall load: objcopy warns of it and writes a file that loads other bytes.
fn check_inside(kept: &[OutputSection<'_>], map: &OutputSegment) -> Result<()> {
    let sections: Vec<&OutputSection<'_>> = map.sections.iter().filter_map(|index| kept.get(*index)).collect();
    let size = |kept: &OutputSection<'_>| if is_tbss(&kept.section) { 0 } else { kept.section.size };
    let is_overlay = sections.windows(2).any(|pair| match pair {
        [one, next] => one.section.addr == next.section.addr && size(one) != 0 && size(next) != 0,
        _ => false,
    });
    for section in sections {
        let placed = Section { offset: section.offset, ..section.section };
        if !is_tbss(&section.section) && !holds(&map.out, &placed, !is_overlay) {
            let why = format!("section {} would not lie in the segment that loads it", section.section.name());
            return Err(cannot(why, "its load addresses contradict its addresses: link the file anew"));
        }
    }
    Ok(())
}

fn is_nobits(kept: &OutputSection<'_>) -> bool {
    kept.section.kind == SHT_NOBITS
}

/// A program header that points into what the others load.
fn other(
    elf: &Elf<'_>,
    header_end: u64,
    kept: &[OutputSection<'_>],
    maps: &[OutputSegment],
    map: &mut OutputSegment,
) -> Result<()> {
    let word = word_align(elf).bytes();
    let ehsize = ehsize(elf);
    if map.out.kind == PT_PHDR {
        map.out.offset = ehsize;
        map.out.filesz = header_end - ehsize;
        map.out.memsz = map.out.filesz;
        if !map.intact {
            map.out.align = word;
        }
        let loader = maps.iter().find(|load| load.out.kind == PT_LOAD && load.program_headers);
        let Some(loader) = loader else {
            return Err(cannot(
                "its program headers have a segment, and no segment loads them",
                "link it with FILEHDR PHDRS",
            ));
        };
        let before = if loader.file_header { ehsize } else { 0 };
        map.out.vaddr = loader.out.vaddr.wrapping_add(before);
        if !map.start.paddr_is_fixed {
            map.out.paddr = loader.out.paddr.wrapping_add(before);
        }
        return Ok(());
    }
    (map.out.vaddr, map.out.paddr) = (map.start.vaddr, map.start.paddr);
    let sections: Vec<&OutputSection<'_>> = map.sections.iter().filter_map(|index| kept.get(*index)).collect();
    let Some(first) = sections.first() else {
        // It covers nothing: only its addresses, and the size of a stack, mean something.
        (map.out.offset, map.out.filesz) = (0, 0);
        map.out.memsz = if map.out.kind == PT_GNU_STACK { map.out.memsz } else { 0 };
        if map.out.kind == PT_GNU_RELRO {
            return Err(cannot("the part that is made read-only covers no section", "use objcopy for this file"));
        }
        if !map.intact {
            map.out.align = word;
        }
        return Ok(());
    };
    if map.file_header || map.program_headers {
        return Err(cannot(
            "a segment that is not loaded covers the headers and sections",
            "use objcopy for this file",
        ));
    }
    if map.out.kind == PT_GNU_RELRO {
        return relro(kept, maps, map, first.section.addr);
    }
    map.out.offset = first.offset;
    let last = sections.iter().rev().find(|kept| !is_nobits(kept));
    map.out.filesz = last.map_or(0, |last| last.offset.wrapping_sub(first.offset).wrapping_add(last.section.size));
    map.out.memsz = 0;
    for kept in &sections {
        let section = &kept.section;
        if map.out.kind == PT_TLS {
            let end = map.out.paddr.wrapping_add(map.out.memsz);
            let gap = kept.lma.checked_sub(end).ok_or_else(|| {
                let name = section.name().into_owned();
                cannot(
                    format!("thread-local section {name} lies over the one before it"),
                    "link the file with another layout",
                )
            })?;
            map.out.memsz = map.out.memsz.saturating_add(gap);
        }
        if section.is_alloc() && (map.out.kind == PT_TLS || !is_tbss(section)) {
            map.out.memsz = map.out.memsz.saturating_add(section.size);
        }
    }
    if map.out.kind == PT_NOTE && last.is_some_and(|last| last.section.is_alloc()) {
        map.out.memsz = map.out.filesz;
    }
    if !map.intact {
        map.out.align = sections.iter().map(|kept| kept.align().bytes()).max().unwrap_or(1);
    }
    Ok(())
}

/// `PT_GNU_RELRO`, a range of memory that need not end where a section ends: from the first section in it, as the segment
/// that loads that one has it.
fn relro(kept: &[OutputSection<'_>], maps: &[OutputSegment], map: &mut OutputSegment, start: u64) -> Result<()> {
    let end = start.saturating_add(map.out.memsz);
    let sections = |load: &OutputSegment| -> Vec<OutputSection<'_>> {
        load.sections.iter().filter_map(|index| kept.get(*index)).copied().collect()
    };
    let carries = |load: &&OutputSegment| {
        let sections = sections(load);
        let last = sections.last().map_or(0, |last| {
            let size = if is_tbss(&last.section) { 0 } else { last.section.size };
            last.section.addr.saturating_add(size)
        });
        load.out.kind == PT_LOAD && last > start && sections.first().is_some_and(|first| first.section.addr < end)
    };
    let within = |kept: &OutputSection<'_>| (start..end).contains(&kept.section.addr) && kept.section.size != 0;
    let load = maps.iter().find(carries);
    let Some((load, first)) = load.and_then(|load| Some((load, sections(load).into_iter().find(|kept| within(kept))?)))
    else {
        return Err(cannot("the part that is made read-only is loaded by no segment", "use objcopy for this file"));
    };
    map.out.vaddr = first.section.addr;
    map.out.paddr = first.lma;
    map.out.offset = first.offset;
    map.out.memsz = end - first.section.addr;
    // Some linkers count bytes that are not in the file.
    let loaded = load.out.vaddr.wrapping_add(load.out.filesz).wrapping_sub(first.section.addr);
    map.out.filesz = map.out.memsz.min(loaded);
    Ok(())
}

fn too_long() -> super::super::Error {
    cannot("the output would not fit 2^64 bytes", "")
}
