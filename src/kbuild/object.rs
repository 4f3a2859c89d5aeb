//! Writes an ELF object file as GNU `as` 2.40 lays it out, for objects that hold data and symbols but no relocations.
//!
//! The order is the assembler's: ELF header, section contents, `.symtab`, `.strtab`, `.shstrtab`, section headers; the
//! names of symbols that end another symbol's name share its bytes. So the file is the assembler's byte for byte, and
//! a linker that takes the one takes the other.

use crate::bytes::{Align, Endian, len64};
use crate::elf::encode::{Encoder, FileHeader, FileHeaderLayout, SectionHeader, Writer, encoder, string_table};
use crate::elf::{RawSymbol, StringTable};
use crate::layout::{Error, Plan, RegionKind, Reserver};
use object::elf as spec;
use std::borrow::Cow;

/// The class, byte order and CPU of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// ELF class 64?
    pub(super) is_64: bool,
    /// Byte order of every number in the file.
    pub(super) endian: Endian,
    /// `e_machine`.
    pub(super) machine: u16,
    /// `e_flags`.
    pub(super) flags: u32,
    /// A symbol for each section ahead of the others, as the ARM assembler writes them.
    pub(super) section_symbols: bool,
}

/// A section with contents, aligned to one byte.
#[derive(Debug)]
pub(super) struct ObjectSection<'a> {
    /// Its name.
    pub(super) name: &'static str,
    /// `sh_type`.
    pub(super) kind: u32,
    /// `sh_flags`.
    pub(super) flags: u64,
    /// Its bytes.
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Where a symbol's value counts from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base {
    /// From zero: `SHN_ABS`.
    Absolute,
    /// From the start of this one of the sections given (the first has number 0).
    Section(u16),
}

/// A global symbol without type or size.
#[derive(Debug)]
pub(super) struct ObjectSymbol {
    /// Its name.
    pub(super) name: &'static str,
    /// Its value in bytes from the base.
    pub(super) value: u64,
    /// What the value counts from.
    pub(super) base: Base,
}

/// The sections that every object of the assembler begins with, all empty here.
const FIRST: [(&str, u32, u64); 3] = [
    (".text", spec::SHT_PROGBITS.0, spec::SHF_ALLOC.0 | spec::SHF_EXECINSTR.0),
    (".data", spec::SHT_PROGBITS.0, spec::SHF_ALLOC.0 | spec::SHF_WRITE.0),
    (".bss", spec::SHT_NOBITS.0, spec::SHF_ALLOC.0 | spec::SHF_WRITE.0),
];
/// Index of the first section after the null section and [`FIRST`].
const FIRST_GIVEN: u16 = 4;

/// The whole object. The contents are borrowed, not copied.
///
/// # Errors
/// [`Error::DoesNotFit`] when a number outgrows the fields of a 32-bit object.
pub(super) fn plan<'a>(
    machine: Machine,
    sections: Vec<ObjectSection<'a>>,
    symbols: &[ObjectSymbol],
) -> Result<Plan<'a>, Error> {
    let encoder = encoder(machine.is_64, machine.endian);
    let align = Align::new(encoder.address_size()).unwrap_or(Align::ONE);
    let header = |kind, flags, sh_offset, sh_size| SectionHeader {
        sh_type: spec::SectionType(kind),
        sh_flags: spec::SectionFlags(flags),
        sh_offset,
        sh_size,
        sh_addralign: 1,
        ..SectionHeader::default()
    };
    let mut offset = encoder.file_header_size();
    let mut headers = vec![("", SectionHeader::default())];
    headers.extend(FIRST.map(|(name, kind, flags)| (name, header(kind, flags, offset, 0))));
    for section in &sections {
        let size = len64(&section.bytes);
        headers.push((section.name, header(section.kind, section.flags, offset, size)));
        offset = add(offset, size)?;
    }

    let (table, strings, locals) = symbol_table(encoder, machine, headers.len(), symbols)?;
    let table_at = align.up(offset).ok_or_else(|| too_large(offset))?;
    let strings_at = add(table_at, len64(&table))?;
    let names_at = add(strings_at, len64(&strings))?;
    let strings_index = u32::try_from(headers.len() + 1).unwrap_or(u32::MAX);
    let symtab = encoder.symtab_section_header(strings_index, locals);
    headers.push((".symtab", SectionHeader { sh_offset: table_at, sh_size: len64(&table), ..symtab }));
    headers.push((".strtab", string_table(encoder, 0, strings_at, len64(&strings))));
    // The assembler enters the names of the tables first.
    let mut names = StringTable::default();
    let tables = [".symtab", ".strtab", ".shstrtab"].map(|name| names.add(name.as_bytes()));
    let mut handles: Vec<_> = headers.iter().map(|(name, _)| names.add(name.as_bytes())).collect();
    handles.extend(tables.last());
    let names = names.finish().ok_or_else(|| too_large(u64::MAX))?;
    headers.push((".shstrtab", string_table(encoder, 0, names_at, len64(&names.bytes))));
    let headers_at = add(names_at, len64(&names.bytes)).and_then(|end| align.up(end).ok_or_else(|| too_large(end)))?;
    let mut table_of_sections = Writer::new(encoder);
    for ((_, header), handle) in headers.iter().zip(handles) {
        table_of_sections.section(&SectionHeader { sh_name: names.offset(handle), ..header.clone() });
    }

    let mut file = Reserver::new();
    file.bytes(file_header(encoder, machine, headers_at, headers.len())?)?;
    file.region("ELF header", 0, RegionKind::Header);
    for section in sections {
        let start = file.at();
        file.bytes(section.bytes)?;
        file.region(section.name, start, RegionKind::Data);
    }
    file.align(align)?;
    for (name, bytes) in [(".symtab", table), (".strtab", strings), (".shstrtab", names.bytes)] {
        let start = file.at();
        file.bytes(bytes)?;
        file.region(name, start, RegionKind::Data);
    }
    file.align(align)?;
    let start = file.at();
    file.bytes(table_of_sections.finish().map_err(too_large)?)?;
    file.region("section headers", start, RegionKind::Header);
    Ok(file.finish())
}

fn add(at: u64, len: u64) -> Result<u64, Error> {
    at.checked_add(len).ok_or_else(|| too_large(at))
}

fn too_large(need: u64) -> Error {
    Error::DoesNotFit { what: "the object file".into(), need, have: u64::from(u32::MAX) }
}

fn file_header(encoder: Encoder, machine: Machine, e_shoff: u64, sections: usize) -> Result<Vec<u8>, Error> {
    let section_num = u32::try_from(sections).map_err(|_| too_large(u64::MAX))?;
    let header = FileHeader {
        e_type: spec::ET_REL,
        e_machine: spec::Machine(machine.machine),
        e_flags: spec::FileFlags(machine.flags),
        ..FileHeader::default()
    };
    // .shstrtab is the last.
    let shstrtab_index = section_num.saturating_sub(1);
    let mut out = Writer::new(encoder);
    out.file_header(&header, &FileHeaderLayout { e_shoff, section_num, shstrtab_index, ..FileHeaderLayout::default() });
    out.finish().map_err(too_large)
}

/// The table, its strings, and the index of its first global symbol.
fn symbol_table(
    encoder: Encoder,
    machine: Machine,
    sections: usize,
    symbols: &[ObjectSymbol],
) -> Result<(Vec<u8>, Vec<u8>, u32), Error> {
    let mut strings = StringTable::default();
    let handles: Vec<_> = symbols.iter().map(|symbol| strings.add(symbol.name.as_bytes())).collect();
    let strings = strings.finish().ok_or_else(|| too_large(u64::MAX))?;
    let mut out = Writer::new(encoder);
    out.symbol(&RawSymbol::default());
    let mut locals = 1;
    if machine.section_symbols {
        for shndx in 1..u16::try_from(sections).map_err(|_| too_large(u64::MAX))? {
            out.symbol(&RawSymbol { info: spec::STT_SECTION.0, shndx, ..RawSymbol::default() });
            locals += 1;
        }
    }
    for (symbol, handle) in symbols.iter().zip(handles) {
        let shndx = match symbol.base {
            Base::Absolute => spec::SHN_ABS.0,
            Base::Section(index) => index.saturating_add(FIRST_GIVEN),
        };
        let (name, info) = (strings.offset(handle), spec::STB_GLOBAL.0 << 4);
        out.symbol(&RawSymbol { name, info, other: 0, shndx, value: symbol.value, size: 0 });
    }
    Ok((out.finish().map_err(too_large)?, strings.bytes, locals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_32_bits_cannot_count_is_refused() {
        let machine = Machine { is_64: false, endian: Endian::Little, machine: 3, flags: 0, section_symbols: false };
        let symbol = ObjectSymbol { name: "far", value: 1 << 32, base: Base::Absolute };
        assert!(plan(machine, Vec::new(), &[symbol]).is_err());
    }
}
