//! Section groups of object files: sections that stay or go together, under the name of a symbol (gABI, "Section Groups").

use super::super::raw::{SHF_GROUP, SHT_GROUP, SHT_SYMTAB};
use super::super::symbols::SymbolTable;
use super::super::{Elf, Kind, Result, Section};
use super::model::{OutputSection, Sections, cannot, is_of_the_linker};
use crate::bytes::{Cursor, Endian, len64};

/// Bytes of each number in a group: its flags, then the indices of its sections.
pub(super) const WORD: u64 = 4;

/// A group.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) index: usize,
    pub(super) section: Section<'a>,
    flags: u32,
    /// Its sections, and their indices; relocations are not among them.
    pub(super) members: Vec<(usize, Section<'a>)>,
    /// The sections whose relocations are in it, too.
    with_relocs: Vec<usize>,
}

impl Group<'_> {
    /// Is the section with this index in it?
    pub(super) fn has(&self, index: usize) -> bool {
        self.members.iter().any(|(member, _)| *member == index)
    }
}

/// All groups of an object file. Members come in the order in which BFD writes them: it reads the sections one by one, and puts
/// each behind the first of the group that it has read already.
pub(super) fn groups<'a>(elf: &Elf<'a>) -> Result<Vec<Group<'a>>> {
    let sections = elf.sections();
    let all = sections.iter().enumerate().filter(|(_, section)| section.kind == SHT_GROUP);
    let mut groups = Vec::new();
    let mut owner = vec![false; sections.len()];
    for (index, section) in all {
        let odd = |why: &str| {
            cannot(
                format!("section group {} {why}", section.name()),
                "only a linker can take groups apart: give the linked file",
            )
        };
        if elf.kind() != Kind::Relocatable {
            return Err(odd("stands in a linked file"));
        }
        let bytes = elf.contents(section)?;
        let cursor = Cursor::new(bytes, elf.endian());
        let is_named = elf.section_at(section.link).is_some_and(|table| table.kind == SHT_SYMTAB);
        let name = SymbolTable::new(elf).ok().and_then(|table| table.get(section.info));
        if section.entsize != WORD || section.size < 2 * WORD || section.size % WORD != 0 || section.info == 0 {
            return Err(odd("is not made of numbers of 32 bits"));
        }
        if !is_named || name.is_none() {
            return Err(odd("has no symbol for its name"));
        }
        let numbers = (1..section.size / WORD).map_while(|at| cursor.u32("group", at * WORD).ok());
        let (mut members, mut with_relocs) = (Vec::new(), Vec::new());
        for number in numbers {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            let member = sections.get(place).filter(|member| member.flags & SHF_GROUP != 0 && member.kind != SHT_GROUP);
            let member = member.ok_or_else(|| odd("has a section that says nothing of it"))?;
            match owner.get_mut(place) {
                Some(taken) if !*taken => *taken = true,
                _ => return Err(odd("has a section twice, or one of another group")),
            }
            match is_of_the_linker(elf, member) {
                true => with_relocs.push(usize::try_from(member.info).unwrap_or(usize::MAX)),
                false => members.push((place, *member)),
            }
        }
        let is_sorted = members.windows(2).all(|pair| matches!(pair, [one, next] if one.0 < next.0));
        if !is_sorted {
            return Err(odd("has its sections in another order than the file"));
        }
        groups.push(Group { index, section: *section, flags: cursor.u32("group", 0)?, members, with_relocs });
    }
    // Sections and relocations that are flagged for a group which does not name them.
    let lost =
        |(index, section): (usize, &Section<'_>)| section.flags & SHF_GROUP != 0 && owner.get(index) != Some(&true);
    match sections.iter().enumerate().find(|one| lost(*one)) {
        Some((_, section)) => {
            let why = format!("section {} belongs to a section group that is not there", section.name());
            Err(cannot(why, "only a linker can take groups apart: give the linked file"))
        }
        None => Ok(groups),
    }
}

/// The numbers of each group that stays, by its index in the input; its size follows.
pub(super) fn contents(elf: &Elf<'_>, groups: &[Group<'_>], kept: &mut Sections<'_>) -> Result<Vec<(usize, Vec<u8>)>> {
    let mut made = Vec::new();
    for group in groups {
        if kept.of(group.index).is_none() {
            continue;
        }
        let mut numbers = vec![group.flags];
        for member in group.members.iter().filter_map(|(member, _)| kept.of(*member)) {
            numbers.push(member.new);
            numbers.extend((flag_of_relocs(groups, member) != 0).then(|| member.new.saturating_add(1)));
        }
        let put = |number: &u32| match elf.endian() {
            Endian::Little => number.to_le_bytes(),
            Endian::Big => number.to_be_bytes(),
        };
        let bytes: Vec<u8> = numbers.iter().flat_map(put).collect();
        if let Some(section) = kept.iter_mut().find(|section| section.old == group.index) {
            section.section.size = len64(&bytes);
        }
        made.push((group.index, bytes));
    }
    Ok(made)
}

/// `SHF_GROUP`, if the relocations of this section are in its group, too.
pub(super) fn flag_of_relocs(groups: &[Group<'_>], section: &OutputSection<'_>) -> u64 {
    let is_in = section.relocs.is_some() && section.section.flags & SHF_GROUP != 0;
    let group = groups.iter().find(|group| group.has(section.old));
    if is_in && group.is_some_and(|group| group.with_relocs.contains(&section.old)) { SHF_GROUP } else { 0 }
}
