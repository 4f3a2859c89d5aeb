//! `objcopy --strip-debug` and `--strip-unneeded`: the symbols that stay, and the relocations against them.
//!
//! Local symbols come first. The names of files and of sections are debugging symbols and go, save the section
//! symbols that a relocation needs; so do symbols of sections that are left out. The string table is made anew.

use super::super::encode::Writer;
use super::super::raw::{
    SHF_TLS, SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF, SHT_REL, SHT_RELA, SHT_SYMTAB, STB_GLOBAL, STB_GNU_UNIQUE,
    STB_LOCAL, STB_WEAK, STT_FILE, STT_GNU_IFUNC, STT_SECTION, STT_TLS,
};
use super::super::strings::StringTable;
use super::super::symbols::{RawSymbol, SymbolTable};
use super::super::{Elf, Error, Kind, Result, Section};
use super::groups::Group;
use super::mips64;
use super::model::{Sections, cannot, finish, has_relocs};
use crate::arch::Arch;
use crate::bytes::Endian;
use std::ops::Range;

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
    /// For each group that stays, by its index in the input, the symbol that names it.
    pub(super) signatures: Vec<(usize, u32)>,
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
    raw: RawSymbol,
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
    found.sort_by_key(|(_, target)| kept.places.get(*target).copied());
    Ok(found)
}

/// Makes the tables; `None` when no symbol is left. Sections in `kept` have their new indices.
pub(super) fn tables<'a>(
    elf: &Elf<'a>,
    kept: &Sections<'a>,
    (relocs, groups): (&[(Section<'a>, usize)], &[Group<'a>]),
    unneeded: bool,
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
    let groups = || groups.iter().filter(|group| kept.of(group.index).is_some());
    for group in groups() {
        let slot = usize::try_from(group.section.info).ok().and_then(|symbol| needed.get_mut(symbol));
        *slot.ok_or_else(|| outside(&group.section, group.section.info))? = true;
    }
    for (section, _) in relocs {
        for entry in entries(elf, section)? {
            let symbol = entry?.symbol;
            let slot = usize::try_from(symbol).ok().and_then(|symbol| needed.get_mut(symbol));
            *slot.ok_or_else(|| outside(section, symbol))? = true;
        }
    }
    let mut order = Vec::new();
    let mut globals = Vec::new();
    for (index, (symbol, needed)) in symbols.iter().zip(&needed).enumerate().skip(1) {
        if stays(elf, kept, symbol, *needed)? && (*needed || !unneeded || is_wanted(elf, symbol)) {
            if symbol.raw.binding() == STB_LOCAL { order.push(index) } else { globals.push(index) }
        }
    }
    if order.is_empty() && globals.is_empty() && relocs.is_empty() {
        return Ok(None);
    }
    // Relocations decide which section symbols there are; in a program without any, all are there or none.
    if objcopy.section_symbols && elf.kind() != Kind::Relocatable && !has_relocs(elf) {
        for kept in kept.iter() {
            order.push(symbols.len());
            let shndx = u16::try_from(kept.old).unwrap_or(u16::MAX);
            let value = kept.section.addr;
            symbols
                .push(Symbol { name: b"", raw: RawSymbol { info: STT_SECTION, shndx, value, ..RawSymbol::default() } });
        }
    }
    let locals = u32::try_from(order.len() + 1).unwrap_or(u32::MAX);
    order.append(&mut globals);

    let mut names = StringTable::default();
    let mut handles = Vec::with_capacity(order.len());
    for symbol in order.iter().filter_map(|index| symbols.get(*index)) {
        // A section symbol goes by its section's name; MIPS has one without a section (`_DYNAMIC_LINKING`).
        let is_nameless = symbol.raw.kind() == STT_SECTION && symbol.raw.shndx != SHN_ABS;
        handles.push(if is_nameless { None } else { names.add(symbol.name) });
    }
    let names = names.finish().ok_or_else(|| cannot("its symbol names do not fit 4 GiB", ""))?;
    let mut new_index = vec![0_u32; symbols.len()];
    let mut table = Writer::new(elf.encoder());
    table.symbol(&RawSymbol::default());
    for (new, (index, handle)) in order.iter().zip(handles).enumerate() {
        let Some(&Symbol { raw, .. }) = symbols.get(*index) else { continue };
        // A relocation against an absolute zero needs no symbol.
        let is_zero = raw.shndx == SHN_ABS && raw.value == 0;
        if let Some(slot) = new_index.get_mut(*index).filter(|_| !is_zero) {
            *slot = u32::try_from(new + 1).unwrap_or(u32::MAX);
        }
        let section = kept.of(usize::from(raw.shndx));
        let mut symbol = RawSymbol { name: names.offset(handle), ..raw };
        if let Some(kept) = section.filter(|_| raw.shndx < SHN_LORESERVE) {
            symbol.shndx = u16::try_from(kept.new).unwrap_or(u16::MAX);
        }
        if section.is_some_and(|kept| kept.section.flags & SHF_TLS != 0) && raw.kind() != STT_SECTION {
            // The linker marks what it defines itself (`__preinit_array_start`) only by the section.
            symbol.info = raw.info & 0xf0 | STT_TLS;
        }
        table.symbol(&symbol);
    }
    let mut made = Vec::new();
    for (section, target) in relocs {
        let bytes = renumber(elf, section, &new_index)?;
        made.push(Relocs { section: *section, target: *target, bytes });
    }
    let signature = |group: &Group<'_>| {
        let symbol = usize::try_from(group.section.info).ok().and_then(|symbol| new_index.get(symbol));
        (group.index, symbol.copied().unwrap_or_default())
    };
    let signatures = groups().map(signature).collect();
    Ok(Some(Symbols { table: finish(table)?, strings: names.bytes, locals, relocs: made, signatures }))
}

/// May another file want the symbol, though nothing in this one does? Of a program nobody asks this table, of an object file
/// not for those that are unknown to itself.
fn is_wanted(elf: &Elf<'_>, Symbol { raw, name }: &Symbol<'_>) -> bool {
    let is_defined = raw.shndx != SHN_UNDEF;
    let is_global = raw.binding() == STB_GLOBAL && is_defined || raw.binding() == STB_WEAK || raw.shndx == SHN_COMMON;
    elf.kind() == Kind::Relocatable && (is_global || raw.shndx != SHN_ABS && is_mapping(elf, name))
}

/// Does the symbol tell ARM's code from data (ELF for the Arm Architecture, "Mapping symbols")? BFD keeps those.
fn is_mapping(elf: &Elf<'_>, name: &[u8]) -> bool {
    let kinds: &[u8] = match elf.arch() {
        Some(Arch::Arm) => b"atd",
        Some(Arch::Arm64) => b"xd",
        _ => &[],
    };
    matches!(name, [b'$', kind] | [b'$', kind, b'.', ..] if kinds.contains(kind))
}

/// Does the symbol stay?
fn stays(elf: &Elf<'_>, kept: &Sections<'_>, Symbol { name, raw }: &Symbol<'_>, needed: bool) -> Result<bool> {
    let special = raw.shndx == SHN_UNDEF || raw.shndx >= SHN_LORESERVE;
    let section = elf.sections().get(usize::from(raw.shndx));
    let at = kept.of(usize::from(raw.shndx));
    let odd = |what: &str| {
        // Symbols of sections have no names of their own.
        let why = match section.filter(|_| name.is_empty()) {
            Some(section) => format!("the symbol of section {} {what}", section.name()),
            None => format!("symbol {} {what}", String::from_utf8_lossy(name)),
        };
        cannot(why, "strip it wholly, or use objcopy for this file")
    };
    let known_binding = matches!(raw.binding(), STB_LOCAL | STB_GLOBAL | STB_WEAK | STB_GNU_UNIQUE);
    let known_kind = matches!(raw.kind(), 0..=4 | 6 | STT_GNU_IFUNC);
    if !known_binding || !known_kind {
        return Err(odd("is of an unknown kind"));
    }
    if raw.kind() == STT_FILE {
        return if needed { Err(odd("is the name of a file, and a relocation needs it")) } else { Ok(false) };
    }
    if special {
        if raw.binding() == STB_LOCAL && raw.shndx != SHN_ABS {
            return Err(odd("is local and undefined"));
        }
        if !matches!(raw.shndx, SHN_UNDEF | SHN_ABS | SHN_COMMON) {
            return Err(odd("is in no section"));
        }
        return Ok(true);
    }
    let Some(at) = at else {
        let exists = section
            .is_some_and(|section| section.is_alloc() || !matches!(section.kind, SHT_REL | SHT_RELA | SHT_SYMTAB));
        if needed || !exists {
            return Err(odd("is in a section that would go, and a relocation needs it"));
        }
        return Ok(false);
    };
    if raw.kind() == STT_SECTION {
        // In an object file values count from the section.
        let start = if elf.kind() == Kind::Relocatable { 0 } else { at.section.addr };
        if raw.binding() != STB_LOCAL || raw.value != start {
            return Err(odd("stands for a section, but is not at its start"));
        }
        return Ok(needed);
    }
    Ok(true)
}

/// The whole symbol table, the null symbol included.
fn read<'a>(elf: &Elf<'a>) -> Result<Vec<Symbol<'a>>> {
    let table = match SymbolTable::new(elf) {
        // There is a table, without an entry.
        Err(Error::NoSymbols) if elf.sections().iter().any(|section| section.kind == SHT_SYMTAB) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    let symbols = (0..table.len()).filter_map(|index| Some((index, table.get(index)?)));
    symbols.map(|(index, raw)| Ok(Symbol { name: table.name(index, &raw)?, raw })).collect()
}

/// What a relocation says of its symbol.
struct Entry {
    /// `r_sym`.
    symbol: u32,
    /// Where `r_info` is, in the table.
    info: Range<usize>,
    /// `r_info` without the symbol, and by how many bits that is shifted in it.
    rest: u64,
    shift: u32,
}

/// Every relocation of a section: `r_offset` and `r_info` of a word each, and an addend (gABI, "Relocation"). 64-bit MIPS has
/// the symbol in the first four bytes of `r_info`, whatever the byte order, and then a second symbol and three types.
fn entries<'e>(elf: &'e Elf<'_>, section: &'e Section<'_>) -> Result<impl Iterator<Item = Result<Entry>> + 'e> {
    let (word, size) = (word(elf), reloc_size(elf, section));
    let bytes = elf.contents(section)?;
    let odd =
        |why: &str| cannot(format!("{why} in {}", section.name()), "strip it wholly, or use objcopy for this file");
    if bytes.len() % size != 0 {
        return Err(odd("there is half a relocation"));
    }
    let is_mips64 = elf.arch() == Some(Arch::Mips64);
    let symbol_is_low = is_mips64 && elf.endian() == Endian::Little;
    Ok(bytes.chunks_exact(size).enumerate().map(move |(index, entry)| {
        let info = entry.get(word..2 * word).unwrap_or_default();
        let symbols = if is_mips64 { mips64::symbols(info) } else { 1 };
        if symbols > 1 && info.get(4) != Some(&0) {
            return Err(odd("there is a relocation with two symbols, of which strip itself loses the second"));
        }
        let value = integer(info, elf.endian());
        let (shift, kept) = match (elf.is_64(), symbol_is_low) {
            (false, _) => (8, 0xff),
            (true, false) => (32, u64::from(u32::MAX)),
            (true, true) => (0, !u64::from(u32::MAX)),
        };
        let symbol = if symbols == 0 { 0 } else { u32::try_from((value & !kept) >> shift).unwrap_or(u32::MAX) };
        let start = index * size + word;
        Ok(Entry { symbol, info: start..start + word, rest: value & kept, shift })
    }))
}

/// Bytes of a word.
fn word(elf: &Elf<'_>) -> usize {
    usize::try_from(elf.encoder().address_size()).unwrap_or(8)
}

/// Bytes of each relocation.
fn reloc_size(elf: &Elf<'_>, section: &Section<'_>) -> usize {
    if section.kind == SHT_RELA { 3 * word(elf) } else { 2 * word(elf) }
}

fn integer(bytes: &[u8], endian: Endian) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match endian {
        Endian::Big => bytes.iter().fold(0, add),
        Endian::Little => bytes.iter().rev().fold(0, add),
    }
}

/// The relocations with the new numbers of their symbols.
fn renumber(elf: &Elf<'_>, section: &Section<'_>, new_index: &[u32]) -> Result<Vec<u8>> {
    let mut out = elf.contents(section)?.to_vec();
    for entry in entries(elf, section)? {
        let Entry { symbol, info, rest, shift } = entry?;
        let new = usize::try_from(symbol).ok().and_then(|symbol| new_index.get(symbol));
        let value = rest | u64::from(*new.ok_or_else(|| outside(section, symbol))?) << shift;
        let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
        let wide = match elf.endian() {
            Endian::Little => little.get(..info.len()),
            Endian::Big => big.get(big.len() - info.len()..),
        };
        if let (Some(slot), Some(bytes)) = (out.get_mut(info), wide) {
            slot.copy_from_slice(bytes);
        }
    }
    if elf.arch() == Some(Arch::Mips64) {
        return Ok(mips64::joined(&out, reloc_size(elf, section)));
    }
    Ok(out)
}

fn outside(section: &Section<'_>, symbol: u32) -> Error {
    cannot(format!("a relocation in {} is against symbol {symbol}, which is not there", section.name()), "")
}
