//! Writes an ELF object file as GNU `as` 2.40 lays it out, for objects that hold data and symbols but no relocations.
//!
//! The order is the assembler's: ELF header, section contents, `.symtab`, `.strtab`, `.shstrtab`, section headers; the
//! names of symbols that end another symbol's name share its bytes. So the file is the assembler's byte for byte, and
//! a linker that takes the one takes the other.

use crate::bytes::{Align, Endian, len64};
use crate::layout::{Error, Plan, RegionKind, Reserver};
use byteorder::{BigEndian, LittleEndian, WriteBytesExt};
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
pub(super) struct Section<'a> {
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
pub(super) struct Symbol {
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
const FIRST_OWN: u16 = 4;

/// A section header in the making; the fields that only the symbol table needs are zero elsewhere.
#[derive(Debug, Default)]
struct Header {
    name: &'static str,
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entsize: u64,
}

/// The whole object. The contents are borrowed, not copied.
///
/// # Errors
/// [`Error::DoesNotFit`] when a number outgrows the fields of a 32-bit object.
pub(super) fn plan<'a>(machine: Machine, sections: Vec<Section<'a>>, symbols: &[Symbol]) -> Result<Plan<'a>, Error> {
    let (header_len, align) = if machine.is_64 { (64, Align::new(8)) } else { (52, Align::new(4)) };
    let align = align.unwrap_or(Align::ONE);
    let mut headers = vec![Header::default()];
    headers.extend(FIRST.map(|(name, kind, flags)| Header {
        name,
        kind,
        flags,
        offset: header_len,
        align: 1,
        ..Header::default()
    }));
    let mut offset = header_len;
    for section in &sections {
        let size = len64(&section.bytes);
        let Section { name, kind, flags, .. } = *section;
        headers.push(Header { name, kind, flags, offset, size, align: 1, ..Header::default() });
        offset = offset.checked_add(size).ok_or_else(|| too_large(offset))?;
    }

    let strings = Strings::new(symbols.iter().map(|symbol| symbol.name));
    let (table, locals) = symbol_table(machine, headers.len(), symbols, &strings)?;
    let table_at = align.up(offset).ok_or_else(|| too_large(offset))?;
    let strings_at = add(table_at, len64(&table))?;
    let names_at = add(strings_at, len64(&strings.bytes))?;
    let table_index = count32(headers.len())?;
    headers.push(Header {
        name: ".symtab",
        kind: spec::SHT_SYMTAB.0,
        offset: table_at,
        size: len64(&table),
        link: table_index + 1,
        info: locals,
        align: align.bytes(),
        entsize: if machine.is_64 { 24 } else { 16 },
        ..Header::default()
    });
    let string_table =
        |name, offset, size| Header { name, kind: spec::SHT_STRTAB.0, offset, size, align: 1, ..Header::default() };
    headers.push(string_table(".strtab", strings_at, len64(&strings.bytes)));
    // The assembler enters the names of the tables first.
    let tables = [".symtab", ".strtab", ".shstrtab"];
    let names = Strings::new(tables.into_iter().chain(headers.iter().map(|header| header.name)));
    headers.push(string_table(".shstrtab", names_at, len64(&names.bytes)));
    let headers_at = add(names_at, len64(&names.bytes)).and_then(|end| align.up(end).ok_or_else(|| too_large(end)))?;

    let mut file = Reserver::new();
    file.bytes(file_header(machine, headers_at, headers.len())?)?;
    file.region("ELF header", 0, RegionKind::Header);
    for section in sections {
        let start = file.at();
        file.bytes(section.bytes)?;
        file.region(section.name, start, RegionKind::Data);
    }
    file.align(align)?;
    for (name, bytes) in [(".symtab", table), (".strtab", strings.bytes), (".shstrtab", names.bytes.clone())] {
        let start = file.at();
        file.bytes(bytes)?;
        file.region(name, start, RegionKind::Data);
    }
    file.align(align)?;
    let start = file.at();
    for header in &headers {
        file.bytes(section_header(machine, header, &names)?)?;
    }
    file.region("section headers", start, RegionKind::Header);
    Ok(file.finish())
}

fn add(at: u64, len: u64) -> Result<u64, Error> {
    at.checked_add(len).ok_or_else(|| too_large(at))
}

fn too_large(need: u64) -> Error {
    Error::DoesNotFit { what: "the object file".into(), need, have: u64::from(u32::MAX) }
}

fn count32(count: usize) -> Result<u32, Error> {
    u32::try_from(count).map_err(|_| too_large(u64::MAX))
}

fn count16(count: usize) -> Result<u16, Error> {
    u16::try_from(count).map_err(|_| too_large(u64::MAX))
}

fn file_header(machine: Machine, headers_at: u64, count: usize) -> Result<Vec<u8>, Error> {
    let mut record = Record::new(machine);
    let class = if machine.is_64 { spec::ELFCLASS64 } else { spec::ELFCLASS32 };
    let order = if machine.endian == Endian::Big { spec::ELFDATA2MSB } else { spec::ELFDATA2LSB };
    record.bytes.extend_from_slice(&spec::ELFMAG);
    record.bytes.extend_from_slice(&[class.0, order.0, spec::EV_CURRENT.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    record.u16(spec::ET_REL.0);
    record.u16(machine.machine);
    record.u32(u32::from(spec::EV_CURRENT.0));
    record.word(0)?; // e_entry
    record.word(0)?; // e_phoff
    record.word(headers_at)?;
    record.u32(machine.flags);
    record.u16(if machine.is_64 { 64 } else { 52 });
    record.u16(0); // e_phentsize
    record.u16(0); // e_phnum
    record.u16(if machine.is_64 { 64 } else { 40 });
    record.u16(count16(count)?);
    record.u16(count16(count.saturating_sub(1))?); // .shstrtab is the last
    Ok(record.bytes)
}

fn section_header(machine: Machine, header: &Header, names: &Strings) -> Result<Vec<u8>, Error> {
    let mut record = Record::new(machine);
    record.u32(names.at(header.name)?);
    record.u32(header.kind);
    record.word(header.flags)?;
    record.word(0)?; // sh_addr
    record.word(header.offset)?;
    record.word(header.size)?;
    record.u32(header.link);
    record.u32(header.info);
    record.word(header.align)?;
    record.word(header.entsize)?;
    Ok(record.bytes)
}

/// The table, and the index of its first global symbol.
fn symbol_table(
    machine: Machine,
    sections: usize,
    symbols: &[Symbol],
    strings: &Strings,
) -> Result<(Vec<u8>, u32), Error> {
    let mut record = Record::new(machine);
    record.symbol(0, 0, 0, 0)?;
    let mut locals = 1;
    if machine.section_symbols {
        for index in 1..count16(sections)? {
            record.symbol(0, 0, spec::STT_SECTION.0, index)?;
            locals += 1;
        }
    }
    for symbol in symbols {
        let section = match symbol.base {
            Base::Absolute => spec::SHN_ABS.0,
            Base::Section(index) => index.saturating_add(FIRST_OWN),
        };
        record.symbol(strings.at(symbol.name)?, symbol.value, spec::STB_GLOBAL.0 << 4, section)?;
    }
    Ok((record.bytes, locals))
}

/// A string table in which a name that ends an earlier, longer one needs no bytes of its own.
struct Strings {
    bytes: Vec<u8>,
}

impl Strings {
    fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut table = Strings { bytes: vec![0] };
        for name in names {
            if table.find(name).is_none() {
                table.bytes.extend_from_slice(name.as_bytes());
                table.bytes.push(0);
            }
        }
        table
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = [name.as_bytes(), &[0]].concat();
        memchr::memmem::find(&self.bytes, &name)
    }

    fn at(&self, name: &str) -> Result<u32, Error> {
        count32(self.find(name).unwrap_or_default())
    }
}

/// A record of the object's class and byte order.
struct Record {
    machine: Machine,
    bytes: Vec<u8>,
}

impl Record {
    fn new(machine: Machine) -> Self {
        Record { machine, bytes: Vec::new() }
    }

    fn u16(&mut self, value: u16) {
        // Writing to a Vec cannot fail.
        let _ = match self.machine.endian {
            Endian::Little => self.bytes.write_u16::<LittleEndian>(value),
            Endian::Big => self.bytes.write_u16::<BigEndian>(value),
        };
    }

    fn u32(&mut self, value: u32) {
        let _ = match self.machine.endian {
            Endian::Little => self.bytes.write_u32::<LittleEndian>(value),
            Endian::Big => self.bytes.write_u32::<BigEndian>(value),
        };
    }

    /// An address, offset or size: 4 or 8 bytes by the class.
    fn word(&mut self, value: u64) -> Result<(), Error> {
        if !self.machine.is_64 {
            self.u32(u32::try_from(value).map_err(|_| too_large(value))?);
            return Ok(());
        }
        let _ = match self.machine.endian {
            Endian::Little => self.bytes.write_u64::<LittleEndian>(value),
            Endian::Big => self.bytes.write_u64::<BigEndian>(value),
        };
        Ok(())
    }

    /// A symbol of size 0.
    fn symbol(&mut self, name: u32, value: u64, info: u8, section: u16) -> Result<(), Error> {
        self.u32(name);
        if self.machine.is_64 {
            self.bytes.extend_from_slice(&[info, 0]);
            self.u16(section);
            self.word(value)?;
            self.word(0)
        } else {
            self.word(value)?;
            self.word(0)?;
            self.bytes.extend_from_slice(&[info, 0]);
            self.u16(section);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_share_tails_and_keep_their_order() {
        let strings = Strings::new(["z_input_len", "input_data", "input_len", ""].into_iter());
        assert_eq!(strings.bytes, b"\0z_input_len\0input_data\0");
        assert_eq!(strings.at("input_len").unwrap(), 3);
        assert_eq!(strings.at("").unwrap(), 0);
    }

    #[test]
    fn what_32_bits_cannot_count_is_refused() {
        let machine = Machine { is_64: false, endian: Endian::Little, machine: 3, flags: 0, section_symbols: false };
        let symbol = Symbol { name: "far", value: 1 << 32, base: Base::Absolute };
        assert!(plan(machine, Vec::new(), &[symbol]).is_err());
    }
}
