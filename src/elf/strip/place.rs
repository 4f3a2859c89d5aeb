//! What goes where in the file.

use super::super::raw::{PT_GNU_RELRO, PT_PHDR, PT_TLS, SHF_TLS};
use super::super::{Elf, PT_LOAD, Result, SHT_NOBITS};
use super::segments::Map;
use super::{Kept, cannot, headers};
use crate::bytes::Align;

/// Gives every section its file offset and every program header its offset and sizes; returns where the last
/// section ends.
///
/// Loaded segments come first, by rising load address, each at the next offset that fits its address modulo its
/// alignment; then the sections that no segment loads, in table order.
pub(super) fn assign(elf: &Elf<'_>, header_end: u64, kept: &mut [Kept<'_>], maps: &mut [Map]) -> Result<u64> {
    let mut at = header_end;
    let mut loads: Vec<usize> = (0..maps.len()).filter(|index| is_load(maps, *index)).collect();
    loads.sort_by_key(|index| maps.get(*index).map(|map| (!map.file_header, map.out.paddr, *index)));
    for index in loads {
        if let Some(map) = maps.get_mut(index) {
            at = load(elf, at, header_end, kept, map)?;
        }
    }
    let mut placed = vec![false; kept.len()];
    for index in maps.iter().filter(|map| map.out.kind == PT_LOAD).flat_map(|map| &map.sections) {
        if let Some(slot) = placed.get_mut(*index) {
            *slot = true;
        }
    }
    for (section, placed) in kept.iter_mut().zip(placed) {
        if placed {
            continue;
        }
        if section.section.is_alloc() {
            // As if it were a segment of its own.
            at = congruent(at, section.section.addr, default_page(elf, section)?)?;
        } else {
            at = section.align().up(at).ok_or_else(too_long)?;
        }
        section.offset = at;
        if section.section.kind != SHT_NOBITS {
            at = at.checked_add(section.section.size).ok_or_else(too_long)?;
        }
    }
    let done: Vec<Map> = maps.to_vec();
    for map in maps.iter_mut().filter(|map| map.out.kind != PT_LOAD) {
        other(elf, header_end, kept, &done, map);
    }
    Ok(at)
}

/// The page that objcopy takes for a section that no segment loads.
fn default_page(elf: &Elf<'_>, section: &Kept<'_>) -> Result<u64> {
    elf.arch().and_then(|arch| arch.facts().objcopy).map(|objcopy| objcopy.page).ok_or_else(|| {
        let why = format!("section {} is allocated, but in no segment", section.section.name());
        cannot(why, "remove that section, or use objcopy for this file")
    })
}

fn is_load(maps: &[Map], index: usize) -> bool {
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

/// A loaded segment: its sections keep their distances in memory.
fn load(elf: &Elf<'_>, start: u64, header_end: u64, kept: &mut [Kept<'_>], map: &mut Map) -> Result<u64> {
    let mut at = start;
    let paddr = map.out.paddr;
    let mut headers_len = 0;
    // Bytes that the segment takes in the file but that shall not move what comes behind it.
    let mut lent = 0;
    if map.file_header || map.program_headers {
        if map.file_header {
            map.out.offset = 0;
            headers_len = if map.program_headers { header_end } else { headers::ehsize(elf) };
        } else {
            map.out.offset = headers::ehsize(elf);
            headers_len = header_end - headers::ehsize(elf);
        }
    } else if map.sections.is_empty() {
        map.out.offset = congruent(at, map.out.vaddr, map.out.align)?;
    } else {
        let aligned = congruent(at, map.out.vaddr, map.out.align)?;
        map.out.offset = aligned;
        if !has_contents(kept, map) {
            // It needs no room in the file, but a loader may want its offset to fit its address.
            lent = aligned - at;
            map.out.offset = map.out.vaddr & map.out.align.saturating_sub(1);
        }
        at = aligned;
    }
    (map.out.filesz, map.out.memsz) = (headers_len, headers_len);
    for index in &map.sections {
        let Some(kept) = kept.get_mut(*index) else { continue };
        let section = &kept.section;
        let is_nobits = section.kind == SHT_NOBITS;
        if !(is_nobits && section.flags & SHF_TLS != 0) {
            let end = paddr.wrapping_add(map.out.memsz);
            let gap = kept.lma.checked_sub(end).ok_or_else(|| {
                let name = section.name().into_owned();
                cannot(format!("section {name} is loaded over the one before it"), "overlays are not taken apart")
            })?;
            map.out.memsz = map.out.memsz.checked_add(gap).ok_or_else(too_long)?;
            if !is_nobits {
                // Bytes behind a section without contents: that section takes up room in the file after all.
                let hole = map.out.memsz - map.out.filesz;
                at = at.checked_add(hole).ok_or_else(too_long)?;
                map.out.filesz = map.out.memsz;
            }
        }
        kept.offset = at;
        if !is_nobits {
            at = at.checked_add(section.size).ok_or_else(too_long)?;
            map.out.filesz = map.out.filesz.checked_add(section.size).ok_or_else(too_long)?;
        }
        if section.flags & SHF_TLS == 0 || !is_nobits {
            map.out.memsz = map.out.memsz.checked_add(section.size).ok_or_else(too_long)?;
        }
    }
    Ok(at - lent)
}

/// Has any section of the segment bytes in the file? A thread-local one without contents at the start says nothing.
fn has_contents(kept: &[Kept<'_>], map: &Map) -> bool {
    let first = map
        .sections
        .iter()
        .filter_map(|index| kept.get(*index))
        .find(|kept| kept.section.kind != SHT_NOBITS || kept.section.flags & SHF_TLS == 0);
    first.is_some_and(|kept| kept.section.kind != SHT_NOBITS)
}

/// A program header that points into what the others load.
fn other(elf: &Elf<'_>, header_end: u64, kept: &[Kept<'_>], maps: &[Map], map: &mut Map) {
    let word = headers::word_align(elf).bytes();
    if map.out.kind == PT_PHDR {
        map.out.offset = headers::ehsize(elf);
        map.out.filesz = header_end - headers::ehsize(elf);
        map.out.memsz = map.out.filesz;
        if !map.intact {
            map.out.align = word;
        }
        return;
    }
    let sections: Vec<&Kept<'_>> = map.sections.iter().filter_map(|index| kept.get(*index)).collect();
    let Some(first) = sections.first() else {
        if !map.intact {
            map.out.align = word;
        }
        return;
    };
    if map.out.kind == PT_GNU_RELRO {
        // A range of memory that need not end where a section ends: it moves with the segment that loads it.
        let carrier = maps.iter().find(|load| {
            let delta = map.out.vaddr.checked_sub(load.out.vaddr);
            load.out.kind == PT_LOAD && delta.is_some_and(|delta| delta < load.out.memsz)
        });
        if let Some(load) = carrier {
            let delta = map.out.vaddr - load.out.vaddr;
            map.out.offset = load.out.offset.saturating_add(delta);
            // Some linkers count bytes that are not in the file.
            map.out.filesz = map.out.memsz.min(load.out.filesz.saturating_sub(delta));
        }
        return;
    }
    map.out.offset = first.offset;
    let last = sections.iter().rev().find(|kept| kept.section.kind != SHT_NOBITS);
    map.out.filesz = last.map_or(0, |last| last.offset.saturating_sub(first.offset).saturating_add(last.section.size));
    map.out.memsz = 0;
    let paddr = if map.out.kind == PT_TLS { first.lma } else { map.out.paddr };
    for kept in &sections {
        let section = &kept.section;
        if map.out.kind == PT_TLS {
            let gap = kept.lma.saturating_sub(paddr.wrapping_add(map.out.memsz));
            map.out.memsz = map.out.memsz.saturating_add(gap);
        }
        let counts = section.is_alloc()
            && (map.out.kind == PT_TLS || section.kind != SHT_NOBITS || section.flags & SHF_TLS == 0);
        if counts {
            map.out.memsz = map.out.memsz.saturating_add(section.size);
        }
    }
    if !map.intact {
        map.out.align = sections.iter().map(|kept| kept.align().bytes()).max().unwrap_or(1);
    }
}

fn too_long() -> super::Error {
    cannot("the output would not fit 2^64 bytes", "")
}
