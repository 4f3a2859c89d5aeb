//! Which sections each program header covers, and what of a header is kept as it is.

use super::super::raw::{
    PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_NOTE, PT_NULL, PT_PHDR, PT_TLS, SHF_TLS, SHT_NOTE,
};
use super::super::{Elf, PT_LOAD, Result, Section, Segment};
use super::model::{
    OutputSection, OutputSegment, Sections, Start, cannot, covers, ehsize, headers_end, size_in, within,
};

/// The program headers of the output.
///
/// As long as no section that a segment covers was removed, the headers are kept, and only file offsets and sizes are
/// computed anew. Else all are made again from the sections that are left: `PT_GNU_RELRO` goes and so does what MIPS
/// linkers leave spare (`PT_NULL`), alignments become those of the sections, save that of `PT_LOAD`.
pub(super) fn maps(elf: &Elf<'_>, kept: &Sections<'_>) -> Result<Vec<OutputSegment>> {
    let stays = |old: usize| kept.of(old).is_some();
    let removed = |segment: &Segment| {
        let mut sections = elf.sections().iter().enumerate().skip(1);
        sections.any(|(old, section)| {
            covers(segment, section) && (section.is_alloc() || section.kind == SHT_NOTE) && !stays(old)
        })
    };
    let odd =
        |segment: &Segment| segment.paddr == 0 && segment.memsz == 0 && matches!(segment.kind, PT_INTERP | PT_DYNAMIC);
    let rewrite = elf.segments().iter().any(|segment| removed(segment) || odd(segment));
    if rewrite {
        check_rewrite(elf, kept)?;
    }
    let header_len = headers_end(elf, elf.segments().len());
    let mut in_load = false;
    let mut maps = Vec::new();
    for segment in elf.segments() {
        let file_header = segment.offset == 0 && segment.filesz >= ehsize(elf);
        let mut program_headers = false;
        if !in_load || segment.kind != PT_LOAD {
            let end = segment.offset.saturating_add(segment.filesz);
            program_headers = segment.offset <= ehsize(elf) && end >= header_len;
            in_load |= segment.kind == PT_LOAD && program_headers;
        }
        let mut map = OutputSegment {
            out: *segment,
            sections: Vec::new(),
            file_header,
            program_headers,
            intact: !rewrite,
            start: Start::default(),
        };
        if rewrite {
            if matches!(segment.kind, PT_GNU_RELRO | PT_NULL) {
                continue;
            }
            map.sections = remake(elf, segment, kept, &maps, &mut map.out)?;
        } else {
            map.sections = (0..kept.len())
                .filter(|index| kept.get(*index).is_some_and(|kept| covers(segment, &kept.section)))
                .collect();
        }
        map.sections.sort_by_key(|index| order(kept, *index));
        check_mixture(segment, kept, &map.sections)?;
        map.start = if rewrite {
            let headers = if map.sections.is_empty() || !(file_header || program_headers) { 0 } else { header_len };
            let vaddr = map.out.vaddr.wrapping_add(headers);
            Start { vaddr, paddr: map.out.paddr, paddr_is_fixed: true }
        } else {
            start(elf, segment, kept, &map)
        };
        maps.push(map);
    }
    Ok(maps)
}

/// Where the contents of a segment begin in memory, as BFD copies its header: the addresses of the first section, moved by
/// what lay between the segment's start and its lowest section. A physical address that contradicts the sections' load
/// addresses, and those of a file whose headers have none, are derived from the first section (bfd/elf.c,
/// `copy_elf_program_header`).
fn start(elf: &Elf<'_>, segment: &Segment, kept: &[OutputSection<'_>], map: &OutputSegment) -> Start {
    let sections = || map.sections.iter().filter_map(|index| kept.get(*index));
    let agrees = |kept: &OutputSection<'_>| {
        let distance = if kept.is_load() {
            kept.section.offset.wrapping_sub(segment.offset)
        } else {
            kept.section.addr.wrapping_sub(segment.vaddr)
        };
        kept.lma.wrapping_sub(segment.paddr) == distance
    };
    let loaded = || sections().filter(|kept| kept.section.is_alloc());
    let paddr_is_fixed = !elf.has_no_physical_addresses() && loaded().all(agrees);
    let Some(first) = sections().next() else {
        let paddr = if paddr_is_fixed { segment.paddr } else { 0 };
        return Start { vaddr: segment.vaddr, paddr, paddr_is_fixed };
    };
    if !paddr_is_fixed {
        return Start { vaddr: first.section.addr, paddr: first.lma, paddr_is_fixed };
    }
    let mut headers = if map.file_header { ehsize(elf) } else { 0 };
    if map.program_headers {
        headers += headers_end(elf, elf.segments().len()) - ehsize(elf);
    }
    let lowest = loaded().map(|kept| kept.lma).min().unwrap_or(0);
    let before = segment.paddr.wrapping_add(headers).wrapping_sub(lowest);
    Start { vaddr: first.section.addr.wrapping_add(before), paddr: segment.paddr, paddr_is_fixed }
}

/// Refuses a segment that reaches a section that is not loaded beside one that is (`.pdr` behind `.reginfo` of MIPS, in
/// some layouts): objcopy takes its addresses from the wrong one.
fn check_mixture(segment: &Segment, kept: &[OutputSection<'_>], sections: &[usize]) -> Result<()> {
    let mut covered = sections.iter().filter_map(|index| kept.get(*index));
    // objcopy would make notes of them.
    if let Some(other) = covered.clone().find(|kept| segment.kind == PT_NOTE && kept.section.kind != SHT_NOTE) {
        let why = format!("section {} lies in a segment of notes and is none", other.section.name());
        return Err(cannot(why, "use objcopy for this file, or link it with another layout"));
    }
    let is_loaded = covered.clone().any(|kept| kept.section.is_alloc());
    match covered.find(|kept| !kept.section.is_alloc()) {
        Some(other) if is_loaded && segment.kind != PT_LOAD => {
            let why = format!("section {} is not loaded, but touches a segment of what is", other.section.name());
            Err(cannot(why, "use objcopy for this file, or remove that section"))
        }
        _ => Ok(()),
    }
}

/// Refuses what is not known well enough to be made again.
fn check_rewrite(elf: &Elf<'_>, kept: &[OutputSection<'_>]) -> Result<()> {
    let loads = || elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
    if loads().any(|segment| segment.align < 0x1000) {
        let why = "a section that is loaded would go, and the segments are not aligned to pages";
        return Err(cannot(why, "leave that section in"));
    }
    let has_phdr = elf.segments().iter().any(|segment| segment.kind == PT_PHDR && segment.paddr != 0);
    let headed = loads().find(|segment| segment.offset == 0 && segment.filesz > 0);
    if let Some(segment) = headed.filter(|_| has_phdr) {
        let first = elf.sections().iter().skip(1).find(|section| covers(segment, section));
        if let Some(first) = first.filter(|first| !kept.iter().any(|kept| kept.section == **first)) {
            let why = format!("section {}, the first behind the headers, would go", first.name());
            return Err(cannot(why, "leave that section in"));
        }
    }
    Ok(())
}

/// Sections within a segment: by load address, then address, those with bytes first, empty ones before others.
fn order(kept: &[OutputSection<'_>], index: usize) -> (u64, u64, bool, u64, usize) {
    kept.get(index).map_or((0, 0, false, 0, index), |kept| {
        let at_end = !kept.is_load() && kept.section.flags & SHF_TLS == 0;
        let size = if kept.is_load() { kept.section.size } else { 0 };
        (kept.lma, kept.section.addr, at_end, size, index)
    })
}

/// The sections of a segment that is made again, and its addresses.
fn remake(
    elf: &Elf<'_>,
    segment: &Segment,
    kept: &[OutputSection<'_>],
    before: &[OutputSegment],
    out: &mut Segment,
) -> Result<Vec<usize>> {
    if elf.has_no_physical_addresses() {
        let why = "a section that is loaded would go, and the file has no physical addresses to place the rest by";
        return Err(cannot(why, "leave that section in"));
    }
    let all: Vec<&Section<'_>> = elf.sections().iter().skip(1).filter(|section| covers(segment, section)).collect();
    let sections: Vec<usize> = (0..kept.len())
        .filter(|index| kept.get(*index).is_some_and(|kept| reaches(segment, kept)))
        .filter(|index| {
            // Each section is loaded once.
            segment.kind != PT_LOAD || !before.iter().any(|map| map.out.kind == PT_LOAD && map.sections.contains(index))
        })
        .collect();
    let first = sections.first().and_then(|index| kept.get(*index));
    let first_is_gone = all.first().is_some_and(|first| !kept.iter().any(|kept| kept.section == **first));
    let has_headers = segment.offset == 0;
    match first {
        None if segment.kind == PT_LOAD && !has_headers => {
            return Err(cannot("nothing would be left of a loaded segment", "leave one of its sections in"));
        }
        None => {
            // Nothing left: only the address stays.
            *out = Segment { offset: 0, paddr: if first_is_gone { 0 } else { segment.paddr }, ..*segment };
            if segment.kind != PT_PHDR {
                out.filesz = 0;
                out.memsz = 0;
            }
        }
        Some(first) if first_is_gone && !has_headers => {
            if first.section.flags & SHF_TLS != 0 {
                return Err(cannot(
                    "the first thread-local section of a loaded segment would go",
                    "leave that section in",
                ));
            }
            // A note is found by its offset, whatever its address: objcopy forgets the address. Others begin anew.
            (out.vaddr, out.paddr) = if segment.kind == PT_NOTE { (0, 0) } else { (first.section.addr, first.lma) };
        }
        Some(_) => {}
    }
    Ok(sections)
}

/// Does a segment that is made again cover this section? By load address; a note by file offset.
fn reaches(segment: &Segment, kept: &OutputSection<'_>) -> bool {
    let section = &kept.section;
    let is_tls = section.flags & SHF_TLS != 0;
    let size = segment.memsz.max(segment.filesz);
    let section_size = size_in(segment, section);
    let by_address = section.is_alloc()
        && if segment.paddr != 0 {
            within(kept.lma, section_size, segment.paddr, size)
        } else {
            within(section.addr, section_size, segment.vaddr, size)
        };
    let is_note = segment.kind == PT_NOTE
        && section.kind == SHT_NOTE
        && within(section.offset, section.size, segment.offset, segment.filesz);
    let dynamic =
        segment.kind != PT_DYNAMIC || section_size > 0 || segment.paddr != kept.lma || section.name == b".dynamic";
    (by_address || is_note)
        && segment.kind != PT_GNU_STACK
        && (segment.kind != PT_TLS || is_tls)
        && (matches!(segment.kind, PT_LOAD | PT_TLS) || !is_tls)
        && dynamic
}
