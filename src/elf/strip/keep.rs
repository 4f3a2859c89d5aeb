//! Which sections stay.

use super::super::raw::{
    PT_TLS, SHF_GROUP, SHF_TLS, SHT_GROUP, SHT_NULL, SHT_REL, SHT_RELA, SHT_STRTAB, SHT_SYMTAB, SHT_SYMTAB_SHNDX,
};
use super::super::{Elf, PT_LOAD, RemoveList, Result, SHF_ALLOC, Section, Segment};
use super::{Kept, cannot, segments};
use crate::elf::SHT_NOBITS;

/// The sections of the output, in the order of the input.
pub(super) fn sections<'a>(elf: &Elf<'a>, remove: &RemoveList) -> Result<Vec<Kept<'a>>> {
    let symtab = elf.sections().iter().position(|section| section.kind == SHT_SYMTAB);
    let mut kept = Vec::new();
    for (old, section) in elf.sections().iter().enumerate() {
        if section.kind == SHT_NULL || is_bookkeeping(elf, old, section, symtab) {
            continue;
        }
        if section.kind == SHT_GROUP || section.flags & SHF_GROUP != 0 {
            let why = format!("section {} belongs to a section group", section.name());
            return Err(cannot(why, "only a linker can take groups apart: give the linked file"));
        }
        if is_debug(section) || remove.removes(section) {
            continue;
        }
        kept.push(Kept { section: *section, old, lma: load_address(section, elf.segments()), offset: 0, new: 0 });
    }
    Ok(kept)
}

/// Tables that describe the file itself: they are made anew, or go with the symbols.
fn is_bookkeeping(elf: &Elf<'_>, index: usize, section: &Section<'_>, symtab: Option<usize>) -> bool {
    let is_symtab = |link: u32| symtab.is_some() && usize::try_from(link).ok() == symtab;
    match section.kind {
        SHT_SYMTAB | SHT_SYMTAB_SHNDX => true,
        SHT_STRTAB if section.flags & SHF_ALLOC == 0 => {
            let of_symbols = |other: &Section<'_>| {
                matches!(other.kind, SHT_SYMTAB) && usize::try_from(other.link).ok() == Some(index)
            };
            elf.names_index() == index || elf.sections().iter().any(of_symbols)
        }
        // Relocations against the symbol table say how a section was linked; those against another table, or that
        // are loaded, are the program's own data.
        SHT_REL | SHT_RELA => {
            let target = usize::try_from(section.info).ok().and_then(|info| elf.sections().get(info));
            let sensible =
                section.info != 0 && target.is_some_and(|target| !matches!(target.kind, SHT_REL | SHT_RELA | SHT_NULL));
            section.flags & SHF_ALLOC == 0 && is_symtab(section.link) && sensible
        }
        _ => false,
    }
}

/// BFD knows debug sections by their names.
fn is_debug(section: &Section<'_>) -> bool {
    const PREFIXES: [&[u8]; 6] =
        [b".debug", b".gnu.debuglto_.debug_", b".gnu.linkonce.wi.", b".zdebug", b".line", b".stab"];
    section.flags & SHF_ALLOC == 0
        && (PREFIXES.iter().any(|prefix| section.name.starts_with(prefix)) || section.name == b".gdb_index")
}

/// Where a section is loaded: by its file offset in the segment that holds it, by its address when it has no bytes.
fn load_address(section: &Section<'_>, all: &[Segment]) -> u64 {
    let loads = all.iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz > 0).count();
    let unset = all.iter().all(|segment| segment.paddr == 0) && loads > 1;
    if !section.is_alloc() || unset {
        return section.addr;
    }
    let carrier = if section.flags & SHF_TLS != 0 { PT_TLS } else { PT_LOAD };
    let mut lma = section.addr;
    for segment in all.iter().filter(|segment| segment.kind == carrier && segments::covers(segment, section)) {
        lma = if section.kind == SHT_NOBITS {
            segment.paddr.wrapping_add(section.addr).wrapping_sub(segment.vaddr)
        } else {
            segment.paddr.wrapping_add(section.offset).wrapping_sub(segment.offset)
        };
        // An empty section may touch two segments; its address decides.
        let inside = section.addr.checked_sub(segment.vaddr).and_then(|delta| delta.checked_add(section.size));
        if inside.is_some_and(|end| end <= segment.memsz) {
            break;
        }
    }
    lma
}
