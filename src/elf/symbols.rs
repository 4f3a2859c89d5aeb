//! The symbol table, read lazily, with the class letters of `nm`.

use super::raw::{
    RESERVED, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF, SHN_XINDEX, SHT_SYMTAB,
    SHT_SYMTAB_SHNDX, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_COMMON, STT_FILE, STT_GNU_IFUNC, STT_OBJECT,
    STT_SECTION,
};
use super::{Elf, Error, Result, SHT_NOBITS, name_at, raw};
use crate::bytes::FieldError;
use object::elf::{Sym32, Sym64};
use object::pod::slice_from_bytes;
use object::read::elf::Sym;
use object::{Endianness, U32};

/// A symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The name's bytes.
    pub name: &'a [u8],
    /// `st_value`.
    pub value: u64,
    /// `st_info & 15`: `STT_…`.
    pub kind: u8,
    /// `st_info >> 4`: `STB_…`.
    pub binding: u8,
    /// Section index; `SHN_XINDEX` is resolved. Reserved indices have `0xffff_0000` added, as a file may have as many
    /// sections: `SHN_ABS` is `0xffff_fff1`.
    pub section: u32,
}

impl Symbol<'_> {
    /// Defined in this file: has a section or is absolute.
    pub(crate) fn is_defined(&self) -> bool {
        self.section != u32::from(SHN_UNDEF)
    }

    /// One that `nm` leaves out by default: the name of a file or a section.
    pub(crate) fn is_debugging(&self) -> bool {
        self.kind == STT_FILE || self.kind == STT_SECTION
    }
}

/// An entry of a symbol table, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RawSymbol {
    /// `st_name`.
    pub(crate) name: u32,
    /// `st_info`.
    pub(crate) info: u8,
    /// `st_other`.
    pub(crate) other: u8,
    /// `st_shndx`.
    pub(crate) shndx: u16,
    /// `st_value`.
    pub(crate) value: u64,
    /// `st_size` in bytes.
    pub(crate) size: u64,
}

impl RawSymbol {
    fn read<S: Sym<Endian = Endianness>>(symbol: &S, order: Endianness) -> RawSymbol {
        RawSymbol {
            name: symbol.st_name(order),
            info: symbol.st_info().0,
            other: symbol.st_other().0,
            shndx: symbol.st_shndx(order).0,
            value: symbol.st_value(order).into(),
            size: symbol.st_size(order).into(),
        }
    }

    /// `STB_…`.
    pub(crate) fn binding(&self) -> u8 {
        self.info >> 4
    }

    /// `STT_…`.
    pub(crate) fn kind(&self) -> u8 {
        self.info & 15
    }
}

/// The symbol table of an ELF file, by index, as relocations name its entries; the null symbol has index 0. Nothing is
/// read before it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct SymbolTable<'a> {
    index: usize,
    /// Its offset in the file.
    at: u64,
    entries: Entries<'a>,
    strings: &'a [u8],
    /// `SHT_SYMTAB_SHNDX`.
    extended: &'a [U32<Endianness>],
    order: Endianness,
}

#[derive(Debug, Clone, Copy)]
enum Entries<'a> {
    Class32(&'a [Sym32<Endianness>]),
    Class64(&'a [Sym64<Endianness>]),
}

/// As many whole entries as there are.
fn entries<T: object::pod::Pod>(bytes: &[u8]) -> &[T] {
    slice_from_bytes(bytes, bytes.len() / size_of::<T>()).map_or(&[], |(entries, _)| entries)
}

impl<'a> SymbolTable<'a> {
    /// The table of `elf`.
    ///
    /// # Errors
    /// [`Error::NoSymbols`] for a stripped file, [`Error::Field`] when the table is not wholly inside the file.
    pub(crate) fn new(elf: &Elf<'a>) -> Result<Self> {
        let mut sections = elf.sections().iter().enumerate();
        let found = sections.find(|(_, section)| section.kind == SHT_SYMTAB && section.size > 0);
        let (index, section) = found.ok_or(Error::NoSymbols)?;
        let table = elf.contents(section)?;
        let strings = elf.section_at(section.link);
        let strings = strings.ok_or_else(|| elf.bad_link(index, "the index of a string table"))?;
        let extended = elf.sections().iter().find(|other| other.kind == SHT_SYMTAB_SHNDX && other.links_to(index));
        Ok(SymbolTable {
            index,
            at: section.offset,
            entries: if elf.is_64() { Entries::Class64(entries(table)) } else { Entries::Class32(entries(table)) },
            strings: elf.contents(strings)?,
            extended: extended.map_or(Ok(&[][..]), |section| elf.contents(section).map(entries))?,
            order: raw::order(elf.endian()),
        })
    }

    /// The index of the table's section.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// How many symbols there are, with the null symbol.
    pub(crate) fn len(&self) -> u32 {
        let len = match self.entries {
            Entries::Class32(entries) => entries.len(),
            Entries::Class64(entries) => entries.len(),
        };
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    /// The symbol at `index`.
    pub(crate) fn get(&self, index: u32) -> Option<RawSymbol> {
        let index = usize::try_from(index).ok()?;
        match self.entries {
            Entries::Class32(entries) => entries.get(index).map(|symbol| RawSymbol::read(symbol, self.order)),
            Entries::Class64(entries) => entries.get(index).map(|symbol| RawSymbol::read(symbol, self.order)),
        }
    }

    /// The symbol that a relocation names.
    ///
    /// # Errors
    /// [`Error::Field`] when there are not as many.
    pub(crate) fn at(&self, index: u32) -> Result<RawSymbol> {
        self.get(index).ok_or_else(|| {
            let (at, have) = (self.place(index), self.place(self.len()));
            FieldError::truncated("symbol", at, self.place(index.saturating_add(1)), have).into()
        })
    }

    /// Where the symbol at `index` stands in the file.
    fn place(&self, index: u32) -> u64 {
        let size: u64 = match self.entries {
            Entries::Class32(_) => 16,
            Entries::Class64(_) => 24,
        };
        self.at.saturating_add(size * u64::from(index))
    }

    /// The index of the section of `symbol`, which has this index, as [`Symbol::section`].
    pub(crate) fn section(&self, index: u32, symbol: &RawSymbol) -> Option<u32> {
        match symbol.shndx {
            SHN_XINDEX if !self.extended.is_empty() => {
                self.extended.get(usize::try_from(index).ok()?).map(|section| section.get(self.order))
            }
            reserved @ SHN_LORESERVE.. => Some(RESERVED | u32::from(reserved)),
            section => Some(section.into()),
        }
    }

    /// The name of `symbol`, which has this index; empty for a symbol without one.
    ///
    /// # Errors
    /// [`Error::Field`] when it is not in the string table.
    pub(crate) fn name(&self, index: u32, symbol: &RawSymbol) -> Result<&'a [u8]> {
        name_at(self.strings, symbol.name).ok_or_else(|| {
            let want = "the offset of a name in the string table";
            FieldError::unknown("st_name", self.place(index), symbol.name, want).into()
        })
    }

    /// The value of the first symbol of this name.
    pub(crate) fn value_of(&self, name: &str) -> Option<u64> {
        let mut symbols = (0..self.len()).filter_map(|index| self.get(index));
        symbols.find(|symbol| name_at(self.strings, symbol.name) == Some(name.as_bytes())).map(|symbol| symbol.value)
    }
}

/// Iterates over the symbols of an [`Elf`], without the null symbol.
#[derive(Debug, Clone)]
pub struct Symbols<'a> {
    table: SymbolTable<'a>,
    next: u32,
}

impl<'a> Iterator for Symbols<'a> {
    type Item = Symbol<'a>;

    fn next(&mut self) -> Option<Symbol<'a>> {
        loop {
            let index = self.next;
            let raw = self.table.get(index)?;
            self.next += 1;
            // A symbol whose name lies outside of the string table is nobody's; the others are still good.
            if let (Some(name), Some(section)) =
                (name_at(self.table.strings, raw.name), self.table.section(index, &raw))
            {
                return Some(Symbol { name, value: raw.value, kind: raw.kind(), binding: raw.binding(), section });
            }
        }
    }
}

impl<'a> Elf<'a> {
    /// The symbols, in table order.
    ///
    /// # Errors
    /// [`Error::NoSymbols`] for a stripped file, [`Error::Field`] when the table is not wholly inside the file.
    pub fn symbols(&self) -> Result<Symbols<'a>> {
        Ok(Symbols { table: SymbolTable::new(self)?, next: 1 })
    }

    /// The class letter that `nm` prints for `symbol`: upper case for global symbols.
    pub(crate) fn nm_class(&self, symbol: &Symbol<'_>) -> char {
        // bfd_decode_symclass (binutils 2.40, bfd/syms.c): common, undefined and the special kinds come before
        // the section decides.
        let undefined = !symbol.is_defined();
        let weak = symbol.binding == STB_WEAK;
        let object = matches!(symbol.kind, STT_OBJECT | STT_COMMON);
        if symbol.section == RESERVED | u32::from(SHN_COMMON) {
            return 'C';
        }
        if undefined {
            return match (weak, object) {
                (true, true) => 'v',
                (true, false) => 'w',
                (false, _) => 'U',
            };
        }
        if symbol.kind == STT_GNU_IFUNC {
            return 'i';
        }
        if weak {
            return if object { 'V' } else { 'W' };
        }
        if symbol.binding == STB_GNU_UNIQUE {
            return 'u';
        }
        let class =
            if symbol.section == RESERVED | u32::from(SHN_ABS) { 'a' } else { self.section_class(symbol.section) };
        if symbol.binding == STB_LOCAL { class } else { class.to_ascii_uppercase() }
    }

    fn section_class(&self, index: u32) -> char {
        let Some(section) = self.section_at(index) else { return '?' };
        if let Some(class) = class_by_name(section.name) {
            return class;
        }
        // decode_section_type, with what bfd/elf.c makes of the section's flags.
        let is = |bit: u64| section.flags & bit != 0;
        if is(SHF_EXECINSTR) {
            't'
        } else if section.kind == SHT_NOBITS {
            'b'
        } else if section.is_alloc() {
            if is(SHF_WRITE) { 'd' } else { 'r' }
        } else if section.is_debug() {
            'N'
        } else if !is(SHF_WRITE) {
            'n'
        } else {
            '?'
        }
    }
}

/// The section names that `nm` classifies before it looks at any flag (binutils 2.40, bfd/syms.c, `stt`): the name
/// itself, or the name followed by `.`, `$` or a digit.
fn class_by_name(name: &[u8]) -> Option<char> {
    const NAMES: &[(&[u8], char)] = &[(b".drectve", 'i'), (b".edata", 'e'), (b".idata", 'i'), (b".pdata", 'p')];
    NAMES.iter().find_map(|(prefix, class)| {
        let rest = name.strip_prefix(*prefix)?;
        matches!(rest.first(), None | Some(b'.' | b'$' | b'0'..=b'9')).then_some(*class)
    })
}
