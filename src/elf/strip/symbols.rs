//! `objcopy --strip-debug`: the symbols that stay, and the relocations against them.
//!
//! Local symbols come first. The names of files and of sections are debugging symbols and go, save the section
//! symbols that a relocation needs; so do symbols of sections that are left out. The string table is made anew.

use super::super::encode::Writer;
use super::super::raw::order;
use super::super::raw::{
    SHF_TLS, SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF, SHT_REL, SHT_RELA, SHT_SYMTAB, STB_GLOBAL, STB_GNU_UNIQUE,
    STB_LOCAL, STB_WEAK, STT_FILE, STT_GNU_IFUNC, STT_SECTION, STT_TLS,
};
use super::super::strings::StringTable;
use super::super::symbols::{RawSymbol, SymbolTable};
use super::super::{Elf, Error, Result, Section};
use super::keep::has_relocs;
use super::model::{Sections, cannot, finish};
use crate::arch::Arch;
use object::Endianness;
use object::elf::{Rel32, Rel64, Rela32, Rela64};
use object::pod::{Pod, slice_from_bytes};
use object::write::elf::Rel;

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
        each_reloc(elf, section, |rel| {
            let slot = usize::try_from(rel.r_sym).ok().and_then(|symbol| needed.get_mut(symbol));
            *slot.ok_or_else(|| outside(section, rel.r_sym))? = true;
            Ok(())
        })?;
    }
    let mut order = Vec::new();
    let mut globals = Vec::new();
    for (index, (symbol, needed)) in symbols.iter().zip(&needed).enumerate().skip(1) {
        if stays(elf, kept, symbol, *needed)? {
            if symbol.raw.binding() == STB_LOCAL { order.push(index) } else { globals.push(index) }
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
    Ok(Some(Symbols { table: finish(table)?, strings: names.bytes, locals, relocs: made }))
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
        if raw.binding() != STB_LOCAL || raw.value != at.section.addr {
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

/// Calls `process` with every relocation.
fn each_reloc(elf: &Elf<'_>, section: &Section<'_>, process: impl FnMut(Rel) -> Result<()>) -> Result<()> {
    // The entries of one form, if nothing else is there.
    fn all<T: Pod>(
        bytes: &[u8],
        read: impl Fn(&T) -> Rel,
        process: impl FnMut(Rel) -> Result<()>,
    ) -> Option<Result<()>> {
        let (entries, rest) = slice_from_bytes(bytes, bytes.len() / size_of::<T>()).ok()?;
        rest.is_empty().then(|| entries.iter().map(read).try_for_each(process))
    }
    let (bytes, order) = (elf.contents(section)?, order(elf.endian()));
    let done = match (elf.is_64(), section.kind == SHT_RELA) {
        // 64-bit MIPS packs r_info in its own way.
        _ if elf.arch() == Some(Arch::Mips64) => None,
        (true, true) => all(bytes, |rel: &Rela64<Endianness>| Rel::from_rela(order, rel, false), process),
        (true, false) => all(bytes, |rel: &Rel64<Endianness>| Rel::from_rel(order, rel), process),
        (false, true) => all(bytes, |rel: &Rela32<Endianness>| Rel::from_rela(order, rel, false), process),
        (false, false) => all(bytes, |rel: &Rel32<Endianness>| Rel::from_rel(order, rel), process),
    };
    done.unwrap_or_else(|| {
        let why = format!("the relocations in {} cannot be read", section.name());
        Err(cannot(why, "strip it wholly, or use objcopy for this file"))
    })
}

/// The relocations with the new numbers of their symbols.
fn renumber(elf: &Elf<'_>, section: &Section<'_>, new_index: &[u32]) -> Result<Vec<u8>> {
    let mut out = Writer::new(elf.encoder());
    each_reloc(elf, section, |rel| {
        let new = usize::try_from(rel.r_sym).ok().and_then(|symbol| new_index.get(symbol));
        let r_sym = *new.ok_or_else(|| outside(section, rel.r_sym))?;
        out.relocation(section.kind == SHT_RELA, &Rel { r_sym, ..rel });
        Ok(())
    })?;
    finish(out)
}

fn outside(section: &Section<'_>, symbol: u32) -> Error {
    cannot(format!("a relocation in {} is against symbol {symbol}, which is not there", section.name()), "")
}
