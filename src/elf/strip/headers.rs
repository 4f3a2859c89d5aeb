//! What the headers of the output say.

use super::super::encode::{FileHeaderLayout, SectionHeader, Writer};
use super::super::raw::{
    PN_XNUM, SHF_COMPRESSED, SHF_EXECINSTR, SHF_GROUP, SHF_INFO_LINK, SHF_LINK_ORDER, SHF_MERGE, SHF_STRINGS, SHF_TLS,
    SHF_WRITE, SHN_LORESERVE, SHT_DYNAMIC, SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GNU_HASH, SHT_GNU_VERDEF, SHT_GNU_VERNEED,
    SHT_GNU_VERSYM, SHT_GROUP, SHT_HASH, SHT_INIT_ARRAY, SHT_LOOS, SHT_MIPS_CONTENT, SHT_MIPS_EVENTS, SHT_MIPS_GPTAB,
    SHT_MIPS_LIBLIST, SHT_MIPS_SYMBOL_LIB, SHT_MIPS_XHASH, SHT_PREINIT_ARRAY, SHT_REL, SHT_RELA, SHT_SYMTAB,
};
use super::super::{Elf, Kind, Result, SHF_ALLOC, Section};
use super::model::{OutputSection, OutputSegment, cannot, ehsize, finish};
use crate::arch::Arch;

/// Offset and size of a table in the file, in bytes.
type Place = (u64, u64);

/// The header of the symbol table.
pub(super) fn symbol_table(elf: &Elf<'_>, name: u32, (at, size): Place, strings: u32, locals: u32) -> SectionHeader {
    let header = elf.encoder().symtab_section_header(strings, locals);
    SectionHeader { sh_name: name, sh_offset: at, sh_size: size, ..header }
}

/// The header of relocations that are not loaded.
pub(super) fn relocs(
    elf: &Elf<'_>,
    kind: u32,
    name: u32,
    (at, size): Place,
    (symbols, target): (u32, u32),
) -> SectionHeader {
    let header = elf.encoder().relocation_section_header(kind == SHT_RELA);
    SectionHeader { sh_name: name, sh_offset: at, sh_size: size, sh_link: symbols, sh_info: target, ..header }
}

/// The header of a section that stays; what it says of other sections is said anew.
pub(super) fn section(
    elf: &Elf<'_>,
    kept: &OutputSection<'_>,
    all: &[OutputSection<'_>],
    name: u32,
    symtab: u32,
) -> Result<SectionHeader> {
    let section = &kept.section;
    let index_of = |old: u32| {
        let old = usize::try_from(old).ok()?;
        all.iter().find(|kept| kept.old == old).map(|kept| kept.new)
    };
    let named = |name: &[u8]| all.iter().find(|kept| kept.section.name == name).map_or(0, |kept| kept.new);
    let plt_is_got = elf.arch().and_then(|arch| arch.facts().objcopy).is_some_and(|objcopy| objcopy.plt_is_got);
    let is_object = elf.kind() == Kind::Relocatable;
    let is_mips = elf.arch() == Some(Arch::Mips);
    let (mut link, mut info) = (0, 0);
    let mut flags = section.flags;
    match section.kind {
        SHT_REL | SHT_RELA => {
            // Without dynamic symbols the others are meant.
            link = Some(named(b".dynsym")).filter(|index| *index != 0).unwrap_or(symtab);
            info = relocated(section).map_or(0, |name| match name {
                // The relocations of the procedure linkage table fill the table of its addresses.
                b".plt" if plt_is_got => {
                    Some(named(b".got.plt")).filter(|index| *index != 0).unwrap_or_else(|| named(b".got"))
                }
                name => named(name),
            });
            flags &= !SHF_INFO_LINK;
            if info != 0 {
                flags |= SHF_INFO_LINK;
            }
        }
        SHT_DYNAMIC | SHT_DYNSYM | SHT_GNU_VERDEF | SHT_GNU_VERNEED => link = named(b".dynstr"),
        SHT_HASH | SHT_GNU_HASH | SHT_GNU_VERSYM => link = named(b".dynsym"),
        SHT_MIPS_XHASH if is_mips => link = named(b".dynsym"),
        SHT_MIPS_LIBLIST..=SHT_MIPS_GPTAB | SHT_MIPS_CONTENT | SHT_MIPS_SYMBOL_LIB | SHT_MIPS_EVENTS if is_mips => {
            let why = format!("section {} names others in a way of IRIX", section.name());
            return Err(cannot(why, "use objcopy for this file"));
        }
        // What was linked to may be gone already.
        _ if flags & SHF_LINK_ORDER != 0 && section.link == 0 => {}
        _ if flags & SHF_LINK_ORDER != 0 => {
            link = index_of(section.link).ok_or_else(|| {
                let why = format!("section {} is ordered by one that would go", section.name());
                cannot(why, "leave that section in")
            })?;
        }
        // In an object file these are about its symbols (`SHT_LLVM_ADDRSIG`).
        SHT_LOOS.. if is_object && section.link != 0 && section.size != 0 => {
            let is_symtab = elf.section_at(section.link).is_some_and(|table| table.kind == SHT_SYMTAB);
            if !is_symtab || symtab == 0 {
                let why = format!("section {} names another one that is no symbol table", section.name());
                return Err(cannot(why, "use objcopy for this file"));
            }
            link = symtab;
        }
        _ => {}
    }
    if matches!(section.kind, SHT_DYNSYM | SHT_GNU_VERDEF | SHT_GNU_VERNEED) {
        info = section.info;
    }
    let mut known = SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR | SHF_TLS | SHF_INFO_LINK | SHF_LINK_ORDER | SHF_COMPRESSED;
    known |= SHF_MERGE | SHF_STRINGS | SHF_GROUP;
    if flags & !(known | 0xfff0_0000) != 0 {
        let why = format!("section {} has flags {flags:#x}, of which one is unknown", section.name());
        return Err(cannot(why, "use objcopy for this file"));
    }
    let section = Section {
        flags,
        offset: kept.offset,
        link,
        info,
        align: kept.header_align().bytes(),
        entsize: entsize(elf, section),
        ..*section
    };
    Ok(section.header(name))
}

/// The section that a loaded relocation section is about: told by its name.
fn relocated<'n>(section: &Section<'n>) -> Option<&'n [u8]> {
    let prefix: &[u8] = if section.kind == SHT_RELA { b".rela" } else { b".rel" };
    section.name.strip_prefix(prefix)
}

/// `sh_entsize`: BFD's own value for the kinds that it knows; other linkers leave some of them zero.
fn entsize(elf: &Elf<'_>, section: &Section<'_>) -> u64 {
    let sizes = elf.encoder();
    let by_class = |wide: u64, narrow: u64| if elf.is_64() { wide } else { narrow };
    match section.kind {
        SHT_INIT_ARRAY | SHT_FINI_ARRAY | SHT_PREINIT_ARRAY => sizes.address_size(),
        SHT_DYNSYM => sizes.sym_size(),
        SHT_DYNAMIC => sizes.dyn_size(),
        SHT_RELA | SHT_REL => sizes.rel_size(section.kind == SHT_RELA),
        SHT_GNU_VERSYM => 2,
        SHT_GNU_VERDEF | SHT_GNU_VERNEED => 0,
        SHT_GROUP => super::groups::WORD,
        SHT_GNU_HASH => by_class(0, 4),
        SHT_MIPS_XHASH if elf.arch() == Some(Arch::Mips) => by_class(0, 4),
        _ => section.entsize,
    }
}

/// The ELF header and the program headers.
pub(super) fn head(elf: &Elf<'_>, maps: &[OutputSegment], sections: usize, table_at: u64) -> Result<Vec<u8>> {
    let too_many =
        || cannot("more sections or segments than a plain ELF header can count", "use objcopy for this file");
    let section_num = u16::try_from(sections).ok().filter(|count| *count < SHN_LORESERVE).ok_or_else(too_many)?;
    let segment_num = u16::try_from(maps.len()).ok().filter(|count| *count < PN_XNUM).ok_or_else(too_many)?;
    let mut out = Writer::new(elf.encoder());
    let layout = FileHeaderLayout {
        e_phoff: if maps.is_empty() { 0 } else { ehsize(elf) },
        segment_num: segment_num.into(),
        e_shoff: if sections == 0 { 0 } else { table_at },
        section_num: section_num.into(),
        shstrtab_index: section_num.saturating_sub(1).into(),
    };
    out.file_header(elf.header(), &layout);
    maps.iter().for_each(|map| out.segment(&map.out));
    finish(out)
}
