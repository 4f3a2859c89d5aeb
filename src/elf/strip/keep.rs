//! Which sections stay.

use super::super::raw::{
    PT_TLS, SHF_GROUP, SHF_INFO_LINK, SHF_TLS, SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GROUP, SHT_INIT_ARRAY, SHT_LOOS,
    SHT_NULL, SHT_PREINIT_ARRAY, SHT_REL, SHT_RELA, SHT_STRTAB, SHT_SYMTAB, SHT_SYMTAB_SHNDX,
};
use super::super::{Elf, Kind, PT_LOAD, Result, SHF_ALLOC, Section, Segment};
use super::StripOptions;
use super::groups::Group;
use super::model::{OutputSection, Sections, cannot, covers, is_of_the_linker};
use crate::elf::SHT_NOBITS;
use crate::elf::flatten::paddrs_are_unset;

/// Which sections stay.
pub(super) fn sections<'a>(elf: &Elf<'a>, options: &StripOptions, groups: &[Group<'a>]) -> Result<Sections<'a>> {
    let remove = &options.remove;
    let symtab = elf.sections().iter().position(|section| section.kind == SHT_SYMTAB);
    let unset = paddrs_are_unset(elf);
    let mut kept = Vec::new();
    let mut places = vec![None; elf.sections().len()];
    for old in reading_order(elf)? {
        let Some(section) = elf.sections().get(old) else { continue };
        if section.kind == SHT_NULL || is_bookkeeping(elf, old, section, symtab) {
            continue;
        }
        let goes = |section: &Section<'_>| section.is_debug() || remove.removes(section);
        // A group stays as long as one of its sections does.
        let stays = |group: &Group<'_>| !goes(&group.section) && group.members.iter().any(|(_, member)| !goes(member));
        let mut section = *section;
        if section.kind == SHT_GROUP {
            if !groups.iter().any(|group| group.index == old && stays(group)) {
                continue;
            }
        } else if goes(&section) {
            continue;
        } else if section.flags & SHF_GROUP != 0 && !groups.iter().any(|group| group.has(old) && stays(group)) {
            section.flags &= !SHF_GROUP;
        }
        if elf.kind() == Kind::Relocatable {
            check_object_section(&section)?;
        }
        if let Some(place) = places.get_mut(old) {
            *place = Some(kept.len());
        }
        kept.push(OutputSection {
            section,
            old,
            lma: load_address(&section, elf.segments(), unset),
            offset: 0,
            new: 0,
            relocs: None,
        });
    }
    Ok(Sections { kept, places })
}

/// Refuses what BFD writes otherwise than it stands in an object file: by rules that hardly any file shows.
fn check_object_section(section: &Section<'_>) -> Result<()> {
    let typed = [
        (&b".init_array"[..], SHT_INIT_ARRAY),
        (b".fini_array", SHT_FINI_ARRAY),
        (b".preinit_array", SHT_PREINIT_ARRAY),
    ];
    let is_mistyped = typed.iter().any(|(name, kind)| section.name.starts_with(name) && section.kind != *kind);
    let why = if matches!(section.kind, SHT_REL | SHT_RELA) || section.name.starts_with(b".rel") {
        "is named like relocations, or has some of another kind"
    } else if is_mistyped {
        "is of another kind than its name says"
    } else if section.name.starts_with(b".stab") {
        "has debug information of the old kind, stabs"
    } else if section.kind >= SHT_LOOS && section.info != 0 {
        "says something of others in a way of its own"
    } else if section.flags & SHF_INFO_LINK != 0 {
        "names another one by sh_info"
    } else {
        return Ok(());
    };
    Err(cannot(format!("section {} {why}", section.name()), "use objcopy for this file"))
}

/// The sections in the order in which BFD makes them its own, and objcopy writes them: that of the table, but a string
/// table comes after what names it (`sh_link`), and relocations after the symbols that they name. In the kernel of S/390
/// `.dynstr` comes first in the table.
fn reading_order(elf: &Elf<'_>) -> Result<Vec<usize>> {
    let sections = elf.sections();
    let mut users = vec![Vec::new(); sections.len()];
    for (index, section) in sections.iter().enumerate().skip(1) {
        let named = usize::try_from(section.link).ok().and_then(|link| users.get_mut(link));
        named.into_iter().for_each(|users| users.push(index));
    }
    let seen = vec![false; sections.len()];
    let mut reader = Reader { elf, users, seen, symtab: None, dynsym: None, order: Vec::new() };
    for index in 1..sections.len() {
        reader.read(index, 0)?;
    }
    Ok(reader.order)
}

struct Reader<'e, 'a> {
    elf: &'e Elf<'a>,
    /// For each section those that name it.
    users: Vec<Vec<usize>>,
    seen: Vec<bool>,
    symtab: Option<usize>,
    dynsym: Option<usize>,
    order: Vec<usize>,
}

impl Reader<'_, '_> {
    fn read(&mut self, index: usize, depth: usize) -> Result<()> {
        // Real files go three deep.
        const MAX_DEPTH: usize = 100;
        if depth > MAX_DEPTH {
            return Err(cannot("its sections name each other in a long chain", "use objcopy for this file"));
        }
        let Some(section) = self.elf.sections().get(index) else { return Ok(()) };
        match self.seen.get_mut(index) {
            Some(seen) if !*seen => *seen = true,
            _ => return Ok(()),
        }
        let link = usize::try_from(section.link).unwrap_or(usize::MAX);
        match section.kind {
            SHT_SYMTAB => self.symtab = self.symtab.or(Some(index)),
            SHT_DYNSYM => self.dynsym = self.dynsym.or(Some(index)),
            SHT_STRTAB if self.searches(index) => {
                for user in self.users.get(index).cloned().unwrap_or_default() {
                    self.read(user, depth + 1)?;
                    if self.symtab == Some(user) || self.dynsym == Some(user) {
                        break;
                    }
                }
            }
            SHT_REL | SHT_RELA => {
                let kind = self.elf.sections().get(link).map(|section| section.kind);
                if matches!(kind, Some(SHT_SYMTAB | SHT_DYNSYM)) {
                    self.read(link, depth + 1)?;
                }
            }
            _ => {}
        }
        self.order.push(index);
        // The first section of a group leads to all groups.
        let is_plain = !matches!(section.kind, SHT_REL | SHT_RELA | SHT_SYMTAB | SHT_GROUP);
        if section.flags & SHF_GROUP != 0 && is_plain {
            let groups = self.elf.sections().iter().enumerate().filter(|(_, section)| section.kind == SHT_GROUP);
            for (group, _) in groups {
                self.read(group, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Is this a string table of which nobody knows yet what it is for, as long as one of the symbol tables is unknown?
    fn searches(&self, index: usize) -> bool {
        let names = |table: usize| self.elf.sections().get(table).is_some_and(|section| section.links_to(index));
        let tables = [self.symtab, self.dynsym];
        index != self.elf.names_index() && tables.contains(&None) && !tables.into_iter().flatten().any(names)
    }
}

/// Tables that describe the file itself: they are made anew, or go with the symbols.
fn is_bookkeeping(elf: &Elf<'_>, index: usize, section: &Section<'_>, symtab: Option<usize>) -> bool {
    match section.kind {
        SHT_SYMTAB | SHT_SYMTAB_SHNDX => true,
        SHT_STRTAB if section.flags & SHF_ALLOC == 0 => {
            let of_symbols = |other: &Section<'_>| other.kind == SHT_SYMTAB && other.links_to(index);
            elf.names_index() == index || elf.sections().iter().any(of_symbols)
        }
        SHT_REL | SHT_RELA => symtab.is_some_and(|symtab| section.links_to(symtab)) && is_of_the_linker(elf, section),
        _ => false,
    }
}

/// Where a section is loaded: by its file offset in the segment that holds it, by its address when it has no bytes.
fn load_address(section: &Section<'_>, all: &[Segment], unset: bool) -> u64 {
    if !section.is_alloc() || unset {
        return section.addr;
    }
    let carrier = if section.flags & SHF_TLS != 0 { PT_TLS } else { PT_LOAD };
    let mut lma = section.addr;
    for segment in all.iter().filter(|segment| segment.kind == carrier && covers(segment, section)) {
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
