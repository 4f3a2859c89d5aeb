//! The symbol table, read lazily, with the class letters of `nm`.

use super::raw::{
    RESERVED, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF, SHN_XINDEX, SHT_SYMTAB,
    SHT_SYMTAB_SHNDX, STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_COMMON, STT_FILE, STT_GNU_IFUNC, STT_OBJECT,
    STT_SECTION,
};
use super::{Elf, Error, Result, SHT_NOBITS, name_at};
use crate::bytes::{Cursor, FieldError, Problem};

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
    pub fn is_defined(&self) -> bool {
        self.section != SHN_UNDEF
    }
}

/// Iterates over the symbols of an [`Elf`], without the null symbol.
#[derive(Debug, Clone)]
pub struct Symbols<'a> {
    table: Cursor<'a>,
    strings: &'a [u8],
    extended: Option<Cursor<'a>>,
    is_64: bool,
    next: u64,
    count: u64,
}

impl<'a> Elf<'a> {
    /// The symbols, in table order.
    ///
    /// # Errors
    /// [`Error::NoSymbols`] for a stripped file, [`Error::Field`] when the table is not wholly inside the file.
    pub fn symbols(&self) -> Result<Symbols<'a>> {
        let (index, section) = self
            .sections()
            .iter()
            .enumerate()
            .find(|(_, section)| section.kind == SHT_SYMTAB && section.size > 0)
            .ok_or(Error::NoSymbols)?;
        let table = self.contents(section)?;
        let strings_index = usize::try_from(section.link).unwrap_or(usize::MAX);
        let strings = self.sections().get(strings_index).ok_or_else(|| {
            let problem = Problem::Unknown { found: u64::from(section.link), want: "the index of a string table" };
            let (entry, link) = if self.is_64() { (64, 40) } else { (40, 24) };
            let at = self.section_table_at + entry * u64::try_from(index).unwrap_or(0) + link;
            FieldError::new("sh_link of .symtab", at, problem)
        })?;
        let extended = self
            .sections()
            .iter()
            .find(|other| other.kind == SHT_SYMTAB_SHNDX && usize::try_from(other.link) == Ok(index))
            .map(|other| self.contents(other))
            .transpose()?;
        let entry = if self.is_64() { 24 } else { 16 };
        Ok(Symbols {
            table: Cursor::new(table, self.endian()),
            strings: self.contents(strings)?,
            extended: extended.map(|bytes| Cursor::new(bytes, self.endian())),
            is_64: self.is_64(),
            next: 1,
            count: crate::bytes::len64(table) / entry,
        })
    }

    /// The class letter that `nm` prints for `symbol`: upper case for global symbols.
    pub fn nm_class(&self, symbol: &Symbol<'_>) -> char {
        // bfd_decode_symclass (binutils 2.40, bfd/syms.c): common, undefined and the special kinds come before
        // the section decides.
        let undefined = symbol.section == SHN_UNDEF;
        let weak = symbol.binding == STB_WEAK;
        let object = matches!(symbol.kind, STT_OBJECT | STT_COMMON);
        if symbol.section == RESERVED | SHN_COMMON {
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
        let class = if symbol.section == RESERVED | SHN_ABS { 'a' } else { self.section_class(symbol.section) };
        if symbol.binding == STB_LOCAL { class } else { class.to_ascii_uppercase() }
    }

    fn section_class(&self, index: u32) -> char {
        let Some(section) = usize::try_from(index).ok().and_then(|index| self.sections().get(index)) else {
            return '?';
        };
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
        } else if is_debugging(section.name) {
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

/// Sections that are not loaded are for debuggers by their names (binutils 2.40, bfd/elf.c,
/// `_bfd_elf_make_section_from_shdr`).
fn is_debugging(name: &[u8]) -> bool {
    const PREFIXES: &[&[u8]] =
        &[b".debug", b".gnu.debuglto_.debug_", b".gnu.linkonce.wi.", b".zdebug", b".line", b".stab"];
    name == b".gdb_index" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl<'a> Iterator for Symbols<'a> {
    type Item = Symbol<'a>;

    fn next(&mut self) -> Option<Symbol<'a>> {
        while self.next < self.count {
            let index = self.next;
            self.next += 1;
            // A symbol whose name lies outside of the string table is nobody's; the others are still good.
            if let Some(symbol) = self.read(index) {
                return Some(symbol);
            }
        }
        None
    }
}

impl<'a> Symbols<'a> {
    fn read(&self, index: u64) -> Option<Symbol<'a>> {
        let table = &self.table;
        let (name, info, section, value) = if self.is_64 {
            let at = index * 24;
            (
                table.u32("st_name", at).ok()?,
                table.u8("st_info", at + 4).ok()?,
                table.u16("st_shndx", at + 6).ok()?,
                table.u64("st_value", at + 8).ok()?,
            )
        } else {
            let at = index * 16;
            (
                table.u32("st_name", at).ok()?,
                table.u8("st_info", at + 12).ok()?,
                table.u16("st_shndx", at + 14).ok()?,
                u64::from(table.u32("st_value", at + 4).ok()?),
            )
        };
        let name = name_at(self.strings, name)?;
        let section = match (section, &self.extended) {
            (SHN_XINDEX, Some(extended)) => extended.u32("st_shndx", index * 4).ok()?,
            (section @ SHN_LORESERVE.., _) => RESERVED | u32::from(section),
            (section, _) => u32::from(section),
        };
        Some(Symbol { name, value, kind: info & 15, binding: info >> 4, section })
    }
}

impl Symbol<'_> {
    /// One that `nm` leaves out by default: the name of a file or a section.
    pub fn is_debugging(&self) -> bool {
        self.kind == STT_FILE || self.kind == STT_SECTION
    }
}
