//! What the headers of the output say, and how they are written in either class and byte order.

use super::super::raw::{
    SHF_COMPRESSED, SHF_EXECINSTR, SHF_INFO_LINK, SHF_LINK_ORDER, SHF_MERGE, SHF_STRINGS, SHF_TLS, SHF_WRITE,
    SHT_DYNAMIC, SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GNU_HASH, SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM, SHT_HASH,
    SHT_INIT_ARRAY, SHT_MIPS_CONTENT, SHT_MIPS_EVENTS, SHT_MIPS_GPTAB, SHT_MIPS_LIBLIST, SHT_MIPS_SYMBOL_LIB,
    SHT_MIPS_XHASH, SHT_NULL, SHT_PREINIT_ARRAY, SHT_REL, SHT_RELA, SHT_STRTAB, SHT_SYMTAB,
};
use super::super::{Elf, Result, SHF_ALLOC, Section};
use super::segments::Map;
use super::{Kept, cannot};
use crate::arch::Arch;
use crate::bytes::{Align, Endian, slice};
use byteorder::{BigEndian, ByteOrder, LittleEndian};

/// A section header as it will be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw {
    name: u32,
    kind: u32,
    flags: u64,
    addr: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entsize: u64,
}

impl Raw {
    /// The first entry of every table.
    pub(super) fn null() -> Raw {
        Raw { name: 0, kind: SHT_NULL, flags: 0, addr: 0, offset: 0, size: 0, link: 0, info: 0, align: 0, entsize: 0 }
    }
}

/// `e_ehsize`.
pub(super) fn ehsize(elf: &Elf<'_>) -> u64 {
    if elf.is_64() { 64 } else { 52 }
}

/// Where `count` program headers end; they follow the ELF header.
pub(super) fn end(elf: &Elf<'_>, count: usize) -> u64 {
    let size = if elf.is_64() { 56 } else { 32 };
    ehsize(elf).saturating_add(u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(size))
}

/// The alignment of the section header table.
pub(super) fn word_align(elf: &Elf<'_>) -> Align {
    Align::new(if elf.is_64() { 8 } else { 4 }).unwrap_or(Align::ONE)
}

/// The header of the section name table.
pub(super) fn string_table(name: u32, offset: u64, size: u64) -> Raw {
    Raw { name, kind: SHT_STRTAB, offset, size, align: 1, ..Raw::null() }
}

/// The header of the symbol table.
pub(super) fn symbol_table(elf: &Elf<'_>, name: u32, offset: u64, size: u64, strings: u32, locals: u32) -> Raw {
    let (align, entsize) = (word_align(elf).bytes(), if elf.is_64() { 24 } else { 16 });
    Raw { name, kind: SHT_SYMTAB, offset, size, link: strings, info: locals, align, entsize, ..Raw::null() }
}

/// The header of relocations that are not loaded.
pub(super) fn relocs(
    elf: &Elf<'_>,
    kind: u32,
    name: u32,
    offset: u64,
    size: u64,
    (symbols, target): (u32, u32),
) -> Raw {
    let entsize = match (elf.is_64(), kind == SHT_RELA) {
        (true, true) => 24,
        (true, false) => 16,
        (false, true) => 12,
        (false, false) => 8,
    };
    let align = word_align(elf).bytes();
    let (link, info) = (symbols, target);
    Raw { name, kind, flags: SHF_INFO_LINK, offset, size, link, info, align, entsize, ..Raw::null() }
}

/// The header of a section that stays; what it says of other sections is said anew.
pub(super) fn section(elf: &Elf<'_>, kept: &Kept<'_>, all: &[Kept<'_>], name: u32, symtab: u32) -> Result<Raw> {
    let section = &kept.section;
    let index_of = |old: u32| {
        let old = usize::try_from(old).ok()?;
        all.iter().find(|kept| kept.old == old).map(|kept| kept.new)
    };
    let named = |name: &[u8]| all.iter().find(|kept| kept.section.name == name).map_or(0, |kept| kept.new);
    let plt_is_got = elf.arch().and_then(|arch| arch.facts().objcopy).is_some_and(|objcopy| objcopy.plt_is_got);
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
        _ if flags & SHF_LINK_ORDER != 0 => {
            link = index_of(section.link).ok_or_else(|| {
                let why = format!("section {} is ordered by one that would go", section.name());
                cannot(why, "leave that section in")
            })?;
        }
        _ => {}
    }
    if matches!(section.kind, SHT_DYNSYM | SHT_GNU_VERDEF | SHT_GNU_VERNEED) {
        info = section.info;
    }
    let mut known = SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR | SHF_TLS | SHF_INFO_LINK | SHF_LINK_ORDER | SHF_COMPRESSED;
    known |= SHF_MERGE | SHF_STRINGS;
    if flags & !(known | 0xfff0_0000) != 0 {
        let why = format!("section {} has flags {flags:#x}, of which one is unknown", section.name());
        return Err(cannot(why, "use objcopy for this file"));
    }
    Ok(Raw {
        name,
        kind: section.kind,
        flags,
        addr: section.addr,
        offset: kept.offset,
        size: section.size,
        link,
        info,
        align: kept.align().bytes(),
        entsize: entsize(elf, section),
    })
}

/// The section that a loaded relocation section is about: told by its name.
fn relocated<'n>(section: &Section<'n>) -> Option<&'n [u8]> {
    let prefix: &[u8] = if section.kind == SHT_RELA { b".rela" } else { b".rel" };
    section.name.strip_prefix(prefix)
}

/// `sh_entsize`: BFD's own value for the kinds that it knows; other linkers leave some of them zero.
fn entsize(elf: &Elf<'_>, section: &Section<'_>) -> u64 {
    let by_class = |wide: u64, narrow: u64| if elf.is_64() { wide } else { narrow };
    match section.kind {
        SHT_INIT_ARRAY | SHT_FINI_ARRAY | SHT_PREINIT_ARRAY => by_class(8, 4),
        SHT_DYNSYM => by_class(24, 16),
        SHT_DYNAMIC => by_class(16, 8),
        SHT_RELA => by_class(24, 12),
        SHT_REL => by_class(16, 8),
        SHT_GNU_VERSYM => 2,
        SHT_GNU_VERDEF | SHT_GNU_VERNEED => 0,
        SHT_GNU_HASH => by_class(0, 4),
        SHT_MIPS_XHASH if elf.arch() == Some(Arch::Mips) => by_class(0, 4),
        _ => section.entsize,
    }
}

/// The ELF header and the program headers.
pub(super) fn head(elf: &Elf<'_>, maps: &[Map], sections: usize, table_at: u64) -> Result<Vec<u8>> {
    let old = slice(elf.bytes(), 0, ehsize(elf)).unwrap_or_default();
    let mut out = Writer::new(elf);
    let too_many =
        || cannot("more sections or segments than a plain ELF header can count", "use objcopy for this file");
    let sections = u16::try_from(sections).ok().filter(|count| *count < 0xff00).ok_or_else(too_many)?;
    let segments = u16::try_from(maps.len()).ok().filter(|count| *count < 0xffff).ok_or_else(too_many)?;
    // e_ident, e_type and e_machine stay; the version is always 1.
    let ident = old.get(..16).unwrap_or_default();
    // Bytes behind EI_ABIVERSION are padding.
    out.raw(ident.get(..9).unwrap_or_default());
    out.raw(&[0; 7]);
    out.raw(old.get(16..20).unwrap_or_default());
    out.u32(1);
    out.word(elf.entry())?;
    out.word(ehsize(elf))?;
    out.word(if sections == 0 { 0 } else { table_at })?;
    let flags_at = if elf.is_64() { 48 } else { 36 };
    out.raw(old.get(flags_at..flags_at + 4).unwrap_or_default());
    let (ehsize, phent, shent) = if elf.is_64() { (64, 56, 64) } else { (52, 32, 40) };
    for half in [ehsize, phent, segments, shent, sections, sections.saturating_sub(1)] {
        out.u16(half);
    }
    for map in maps {
        let segment = &map.out;
        out.u32(segment.kind);
        if elf.is_64() {
            out.u32(segment.flags);
        }
        for value in [segment.offset, segment.vaddr, segment.paddr, segment.filesz, segment.memsz] {
            out.word(value)?;
        }
        if !elf.is_64() {
            out.u32(segment.flags);
        }
        out.word(segment.align)?;
    }
    Ok(out.finish())
}

/// Writes integers in the class and byte order of the file.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    endian: Endian,
    is_64: bool,
}

impl Writer {
    pub(super) fn new(elf: &Elf<'_>) -> Writer {
        Writer { bytes: Vec::new(), endian: elf.endian(), is_64: elf.is_64() }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// A section header.
    pub(super) fn section(&mut self, raw: &Raw) -> Result<()> {
        self.u32(raw.name);
        self.u32(raw.kind);
        for value in [raw.flags, raw.addr, raw.offset, raw.size] {
            self.word(value)?;
        }
        self.u32(raw.link);
        self.u32(raw.info);
        self.word(raw.align)?;
        self.word(raw.entsize)
    }

    /// A symbol.
    pub(super) fn symbol(&mut self, name: u32, info: u8, other: u8, shndx: u16, value: u64, size: u64) -> Result<()> {
        self.u32(name);
        if self.is_64 {
            self.raw(&[info, other]);
            self.u16(shndx);
            self.word(value)?;
            self.word(size)
        } else {
            self.word(value)?;
            self.word(size)?;
            self.raw(&[info, other]);
            self.u16(shndx);
            Ok(())
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn u16(&mut self, value: u16) {
        let mut raw = [0; 2];
        match self.endian {
            Endian::Little => LittleEndian::write_u16(&mut raw, value),
            Endian::Big => BigEndian::write_u16(&mut raw, value),
        }
        self.raw(&raw);
    }

    fn u32(&mut self, value: u32) {
        let mut raw = [0; 4];
        match self.endian {
            Endian::Little => LittleEndian::write_u32(&mut raw, value),
            Endian::Big => BigEndian::write_u32(&mut raw, value),
        }
        self.raw(&raw);
    }

    /// An address, offset or size: as wide as the class.
    fn word(&mut self, value: u64) -> Result<()> {
        if !self.is_64 {
            let value = u32::try_from(value)
                .map_err(|_| cannot(format!("{value:#x} does not fit the 32 bits of its class"), ""))?;
            self.u32(value);
            return Ok(());
        }
        let mut raw = [0; 8];
        match self.endian {
            Endian::Little => LittleEndian::write_u64(&mut raw, value),
            Endian::Big => BigEndian::write_u64(&mut raw, value),
        }
        self.raw(&raw);
        Ok(())
    }
}
