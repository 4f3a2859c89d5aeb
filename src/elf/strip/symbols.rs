//! `objcopy --strip-debug`: the symbols that stay, and the relocations against them.
//!
//! Local symbols come first. The names of files and of sections are debugging symbols and go, save the section
//! symbols that a relocation needs; so do symbols of sections that are left out. The string table is made anew.

use super::super::raw::{
    SHF_TLS, SHN_ABS, SHN_COMMON, SHN_UNDEF, SHT_REL, SHT_RELA, SHT_SYMTAB, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK,
    STT_FILE, STT_GNU_IFUNC, STT_SECTION, STT_TLS,
};
use super::super::strings::StringTable;
use super::super::{Elf, Error, Result, Section};
use super::cannot;
use super::headers::Writer;
use super::keep::{Sections, has_relocs};
use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, FieldError, Problem, len64, slice};
use byteorder::{BigEndian, ByteOrder, LittleEndian};

/// The tables of the output.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    /// `.symtab`.
    pub(super) table: Vec<u8>,
    /// `.strtab`.
    pub(super) strings: Vec<u8>,
    /// The number of local symbols, the null symbol included (`sh_info`).
    pub(super) locals: u32,
    /// The relocations of each section that has some.
    pub(super) relocs: Vec<Relocs<'a>>,
}

/// The relocations of a section.
#[derive(Debug)]
pub(super) struct Relocs<'a> {
    /// Their section in the input.
    pub(super) section: Section<'a>,
    /// The section they are about, by its index in the input.
    pub(super) target: usize,
    /// Their bytes in the output.
    pub(super) bytes: Vec<u8>,
}

/// A symbol of the input.
#[derive(Debug, Clone, Copy)]
struct Symbol<'a> {
    name: &'a [u8],
    info: u8,
    other: u8,
    shndx: u16,
    value: u64,
    size: u64,
}

impl Symbol<'_> {
    fn binding(&self) -> u8 {
        self.info >> 4
    }

    fn kind(&self) -> u8 {
        self.info & 15
    }
}

/// The relocation sections that go with `kept`, with the index of the section they are about.
pub(super) fn reloc_sections<'a>(elf: &Elf<'a>, kept: &Sections<'a>) -> Result<Vec<(Section<'a>, usize)>> {
    let mut found: Vec<(Section<'a>, usize)> = Vec::new();
    for section in elf.sections() {
        let is_reloc = matches!(section.kind, SHT_REL | SHT_RELA);
        if !is_reloc || section.is_alloc() || section.size == 0 {
            continue;
        }
        let target = usize::try_from(section.info).unwrap_or(usize::MAX);
        let Some(target_kept) = kept.of(target) else { continue };
        let prefix: &[u8] = if section.kind == SHT_RELA { b".rela" } else { b".rel" };
        if section.name.strip_prefix(prefix) != Some(target_kept.section.name)
            || found.iter().any(|(_, other)| *other == target)
        {
            let why = format!("the relocations in {} are not named after their section", section.name());
            return Err(cannot(why, "strip it wholly, or use objcopy for this file"));
        }
        found.push((*section, target));
    }
    found.sort_by_key(|(_, target)| *target);
    Ok(found)
}

/// Makes the tables; `None` when no symbol is left. Sections in `kept` have their new indices.
pub(super) fn tables<'a>(
    elf: &Elf<'a>,
    kept: &Sections<'a>,
    relocs: &[(Section<'a>, usize)],
) -> Result<Option<Symbols<'a>>> {
    if relocs.is_empty() && !elf.sections().iter().any(|section| section.kind == SHT_SYMTAB) {
        return Ok(None);
    }
    let objcopy = elf.arch().and_then(|arch| arch.facts().objcopy).ok_or_else(|| {
        let why = "the rules for symbols of its CPU are not known";
        cannot(why, "strip it wholly, or use objcopy for this file")
    })?;
    let mut symbols = read(elf)?;
    let mut needed = vec![false; symbols.len()];
    for (section, _) in relocs {
        each_reloc(elf, section, |symbol, _| match needed.get_mut(symbol) {
            Some(slot) => {
                *slot = true;
                Ok(())
            }
            None => Err(outside(section, symbol)),
        })?;
    }
    let mut order = Vec::new();
    let mut globals = Vec::new();
    for (index, (symbol, needed)) in symbols.iter().zip(&needed).enumerate().skip(1) {
        if stays(elf, kept, symbol, *needed)? {
            if symbol.binding() == STB_LOCAL { order.push(index) } else { globals.push(index) }
        }
    }
    if order.is_empty() && globals.is_empty() && relocs.is_empty() {
        return Ok(None);
    }
    // Relocations decide which section symbols there are; without any, all are there or none.
    if objcopy.section_symbols && !has_relocs(elf) {
        for kept in kept.iter() {
            order.push(symbols.len());
            let shndx = u16::try_from(kept.old).unwrap_or(u16::MAX);
            let value = kept.section.addr;
            symbols.push(Symbol { name: b"", info: STT_SECTION, other: 0, shndx, value, size: 0 });
        }
    }
    let locals = u32::try_from(order.len() + 1).unwrap_or(u32::MAX);
    order.append(&mut globals);

    let mut names = StringTable::default();
    let mut handles = Vec::with_capacity(order.len());
    for symbol in order.iter().filter_map(|index| symbols.get(*index)) {
        // A section symbol goes by its section's name; MIPS has one without a section (`_DYNAMIC_LINKING`).
        let is_nameless = symbol.kind() == STT_SECTION && u32::from(symbol.shndx) != SHN_ABS;
        handles.push(if is_nameless { None } else { names.add(symbol.name) });
    }
    let names = names.finish().ok_or_else(|| cannot("its symbol names do not fit 4 GiB", ""))?;
    let mut new_index = vec![0_u32; symbols.len()];
    let mut table = Writer::new(elf);
    table.symbol(0, 0, 0, 0, 0, 0)?;
    for (new, (index, handle)) in order.iter().zip(handles).enumerate() {
        let Some(symbol) = symbols.get(*index) else { continue };
        // A relocation against an absolute zero needs no symbol.
        let is_zero = u32::from(symbol.shndx) == SHN_ABS && symbol.value == 0;
        if let Some(slot) = new_index.get_mut(*index).filter(|_| !is_zero) {
            *slot = u32::try_from(new + 1).unwrap_or(u32::MAX);
        }
        let section = kept.of(usize::from(symbol.shndx));
        let shndx = match section {
            Some(kept) if u32::from(symbol.shndx) < 0xff00 => u16::try_from(kept.new).unwrap_or(u16::MAX),
            _ => symbol.shndx,
        };
        let mut info = symbol.info;
        let is_tls = section.is_some_and(|kept| kept.section.flags & SHF_TLS != 0);
        if is_tls && symbol.kind() != STT_SECTION {
            // The linker marks what it defines itself (`__preinit_array_start`) only by the section.
            info = symbol.info & 0xf0 | STT_TLS;
        }
        table.symbol(names.offset(handle), info, symbol.other, shndx, symbol.value, symbol.size)?;
    }
    let mut made = Vec::new();
    for (section, target) in relocs {
        let bytes = renumber(elf, section, &new_index)?;
        made.push(Relocs { section: *section, target: *target, bytes });
    }
    Ok(Some(Symbols { table: table.finish(), strings: names.bytes, locals, relocs: made }))
}

/// Does the symbol stay?
fn stays(elf: &Elf<'_>, kept: &Sections<'_>, symbol: &Symbol<'_>, needed: bool) -> Result<bool> {
    let shndx = u32::from(symbol.shndx);
    let special = shndx == SHN_UNDEF || shndx >= 0xff00;
    let at = kept.of(usize::from(symbol.shndx));
    let odd = |what: &str| {
        // Symbols of sections have no names of their own.
        let section = elf.sections().get(usize::from(symbol.shndx)).filter(|_| symbol.name.is_empty());
        let why = match section {
            Some(section) => format!("the symbol of section {} {what}", section.name()),
            None => format!("symbol {} {what}", String::from_utf8_lossy(symbol.name)),
        };
        cannot(why, "strip it wholly, or use objcopy for this file")
    };
    let known_binding = matches!(symbol.binding(), STB_LOCAL | 1 | STB_WEAK | STB_GNU_UNIQUE);
    let known_kind = matches!(symbol.kind(), 0..=4 | 6 | STT_GNU_IFUNC);
    if !known_binding || !known_kind {
        return Err(odd("is of an unknown kind"));
    }
    if symbol.kind() == STT_FILE {
        return if needed { Err(odd("is the name of a file, and a relocation needs it")) } else { Ok(false) };
    }
    if special {
        if symbol.binding() == STB_LOCAL && shndx != SHN_ABS {
            return Err(odd("is local and undefined"));
        }
        if !matches!(shndx, SHN_UNDEF | SHN_ABS | SHN_COMMON) {
            return Err(odd("is in no section"));
        }
        return Ok(true);
    }
    let Some(at) = at else {
        let exists = elf
            .sections()
            .get(usize::from(symbol.shndx))
            .is_some_and(|section| section.is_alloc() || !matches!(section.kind, SHT_REL | SHT_RELA | SHT_SYMTAB));
        if needed || !exists {
            return Err(odd("is in a section that would go, and a relocation needs it"));
        }
        return Ok(false);
    };
    if symbol.kind() == STT_SECTION {
        if symbol.binding() != STB_LOCAL || symbol.value != at.section.addr {
            return Err(odd("stands for a section, but is not at its start"));
        }
        return Ok(needed);
    }
    Ok(true)
}

/// The whole symbol table, the null symbol included.
fn read<'a>(elf: &Elf<'a>) -> Result<Vec<Symbol<'a>>> {
    let symtab = elf.sections().iter().find(|section| section.kind == SHT_SYMTAB).ok_or(Error::NoSymbols)?;
    let strings = usize::try_from(symtab.link).ok().and_then(|link| elf.sections().get(link));
    let strings = strings.map(|strings| elf.contents(strings)).transpose()?.unwrap_or_default();
    let bytes = elf.contents(symtab)?;
    let table = Cursor::new(bytes, elf.endian());
    let size = if elf.is_64() { 24 } else { 16 };
    (0..len64(bytes) / size)
        .map(|index| {
            let at = index * size;
            let start = u64::from(table.u32("st_name", at)?);
            let rest = len64(strings).checked_sub(start).and_then(|len| slice(strings, start, len));
            let name = rest.and_then(|rest| rest.get(..memchr::memchr(0, rest)?)).ok_or_else(|| {
                let max = len64(strings).saturating_sub(1);
                FieldError::new("st_name", at, Problem::OutOfRange { value: start, min: 0, max })
            })?;
            let word = |field, at| if elf.is_64() { table.u64(field, at) } else { table.u32(field, at).map(u64::from) };
            let (value, size, info) = if elf.is_64() { (at + 8, at + 16, at + 4) } else { (at + 4, at + 8, at + 12) };
            Ok(Symbol {
                name,
                info: table.u8("st_info", info)?,
                other: table.u8("st_other", info + 1)?,
                shndx: table.u16("st_shndx", info + 2)?,
                value: word("st_value", value)?,
                size: word("st_size", size)?,
            })
        })
        .collect()
}

/// Bytes of a relocation, and where in it the symbol and the type are.
fn reloc_size(elf: &Elf<'_>, section: &Section<'_>) -> usize {
    match (elf.is_64(), section.kind == SHT_RELA) {
        (true, true) => 24,
        (true, false) => 16,
        (false, true) => 12,
        (false, false) => 8,
    }
}

/// Calls `process` with the symbol and the type of every relocation.
fn each_reloc(elf: &Elf<'_>, section: &Section<'_>, mut process: impl FnMut(usize, u32) -> Result<()>) -> Result<()> {
    let bytes = elf.contents(section)?;
    let size = reloc_size(elf, section);
    // 64-bit MIPS packs r_info in its own way.
    if bytes.len() % size != 0 || elf.arch() == Some(Arch::Mips64) {
        let why = format!("the relocations in {} cannot be read", section.name());
        return Err(cannot(why, "strip it wholly, or use objcopy for this file"));
    }
    for raw in bytes.chunks_exact(size) {
        let cursor = Cursor::new(raw, elf.endian());
        let (symbol, kind) = if elf.is_64() {
            let info = cursor.u64("r_info", 8)?;
            (info >> 32, u32::try_from(info & 0xffff_ffff).unwrap_or_default())
        } else {
            let info = cursor.u32("r_info", 4)?;
            (u64::from(info >> 8), info & 0xff)
        };
        process(usize::try_from(symbol).unwrap_or(usize::MAX), kind)?;
    }
    Ok(())
}

/// The relocations with the new numbers of their symbols.
fn renumber(elf: &Elf<'_>, section: &Section<'_>, new_index: &[u32]) -> Result<Vec<u8>> {
    let mut out = elf.contents(section)?.to_vec();
    let mut infos = Vec::with_capacity(out.len() / reloc_size(elf, section));
    each_reloc(elf, section, |symbol, kind| {
        let new = new_index.get(symbol).copied().ok_or_else(|| outside(section, symbol))?;
        infos.push((new, kind));
        Ok(())
    })?;
    for (raw, (symbol, kind)) in out.chunks_exact_mut(reloc_size(elf, section)).zip(infos) {
        if elf.is_64() {
            let info = u64::from(symbol) << 32 | u64::from(kind);
            if let Some(slot) = raw.get_mut(8..16) {
                match elf.endian() {
                    Endian::Little => LittleEndian::write_u64(slot, info),
                    Endian::Big => BigEndian::write_u64(slot, info),
                }
            }
        } else if let Some(slot) = raw.get_mut(4..8) {
            let info = symbol << 8 | kind;
            match elf.endian() {
                Endian::Little => LittleEndian::write_u32(slot, info),
                Endian::Big => BigEndian::write_u32(slot, info),
            }
        }
    }
    Ok(out)
}

fn outside(section: &Section<'_>, symbol: usize) -> Error {
    cannot(format!("a relocation in {} is against symbol {symbol}, which is not there", section.name()), "")
}
