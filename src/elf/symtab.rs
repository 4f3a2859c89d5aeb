//! The symbol table by index, as relocations name its entries.

use super::raw::{SHN_XINDEX, SHT_SYMTAB, SHT_SYMTAB_SHNDX};
use super::{Elf, Error, Result};
use crate::bytes::{Cursor, FieldError, Problem, len64, slice};

/// What a relocation asks of its symbol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) value: u64,
    /// `st_shndx` as it stands in the table.
    pub(crate) shndx: u32,
    /// The section's index, with `SHN_XINDEX` resolved.
    pub(crate) section: u32,
}

/// The rest of a symbol, for a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Details {
    pub(crate) info: u8,
    pub(crate) other: u8,
    pub(crate) size: u64,
}

/// The symbol table of an ELF file; nothing is read before it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct SymbolTable<'a> {
    index: usize,
    table: Cursor<'a>,
    strings: &'a [u8],
    extended: Option<Cursor<'a>>,
    is_64: bool,
}

impl<'a> SymbolTable<'a> {
    /// The table of `elf`.
    pub(crate) fn new(elf: &Elf<'a>) -> Result<Self> {
        let found = elf.sections().iter().enumerate().find(|(_, section)| section.kind == SHT_SYMTAB);
        let (index, section) = found.filter(|(_, section)| section.size > 0).ok_or(Error::NoSymbols)?;
        let strings = usize::try_from(section.link).ok().and_then(|link| elf.sections().get(link));
        let strings = strings.ok_or_else(|| {
            let problem = Problem::Unknown { found: u64::from(section.link), want: "the index of a string table" };
            FieldError::new("sh_link of .symtab", section.offset, problem)
        })?;
        let is_ours = |link: u32| usize::try_from(link).ok() == Some(index);
        let extended = elf.sections().iter().find(|other| other.kind == SHT_SYMTAB_SHNDX && is_ours(other.link));
        Ok(SymbolTable {
            index,
            table: Cursor::new(elf.contents(section)?, elf.endian()),
            strings: elf.contents(strings)?,
            extended: extended
                .map(|section| elf.contents(section).map(|bytes| Cursor::new(bytes, elf.endian())))
                .transpose()?,
            is_64: elf.is_64(),
        })
    }

    /// Is this the index of the table's section?
    pub(crate) fn is_index(&self, link: u32) -> bool {
        usize::try_from(link).ok() == Some(self.index)
    }

    /// The symbol at `index`.
    pub(crate) fn at(&self, index: u32) -> Result<Entry> {
        let index = u64::from(index);
        let (shndx, value) = if self.is_64 {
            let at = index * 24;
            (self.table.u16("st_shndx", at + 6)?, self.table.u64("st_value", at + 8)?)
        } else {
            let at = index * 16;
            (self.table.u16("st_shndx", at + 14)?, u64::from(self.table.u32("st_value", at + 4)?))
        };
        let section = match (&self.extended, shndx) {
            (Some(extended), SHN_XINDEX) => extended.u32("st_shndx", index * 4)?,
            _ => u32::from(shndx),
        };
        Ok(Entry { value, shndx: u32::from(shndx), section })
    }

    /// What [`SymbolTable::at`] leaves out.
    pub(crate) fn details(&self, index: u32) -> Result<Details> {
        let at = u64::from(index) * self.entry_size();
        let (info, size) = if self.is_64 {
            (at + 4, self.table.u64("st_size", at + 16)?)
        } else {
            (at + 12, u64::from(self.table.u32("st_size", at + 8)?))
        };
        Ok(Details { info: self.table.u8("st_info", info)?, other: self.table.u8("st_other", info + 1)?, size })
    }

    /// How many symbols there are, with the null symbol.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.table.len() / self.entry_size()).unwrap_or(u32::MAX)
    }

    fn entry_size(&self) -> u64 {
        if self.is_64 { 24 } else { 16 }
    }

    /// The name of the symbol at `index`; empty for a symbol without one.
    pub(crate) fn name(&self, index: u32) -> Result<&'a [u8]> {
        let at = u64::from(index) * self.entry_size();
        let start = u64::from(self.table.u32("st_name", at)?);
        let have = len64(self.strings);
        let end = have.checked_sub(start).and_then(|len| {
            let rest = slice(self.strings, start, len)?;
            Some((rest, memchr::memchr(0, rest)?))
        });
        end.and_then(|(rest, end)| rest.get(..end)).ok_or_else(|| {
            let problem = Problem::OutOfRange { value: start, min: 0, max: have.saturating_sub(1) };
            FieldError::new("st_name", at, problem).into()
        })
    }

    /// The value of the first symbol of this name.
    pub(crate) fn value_of(&self, name: &str) -> Option<u64> {
        (0..self.count())
            .find(|index| self.name(*index).is_ok_and(|found| found == name.as_bytes()))
            .and_then(|index| self.at(index).ok())
            .map(|entry| entry.value)
    }
}
