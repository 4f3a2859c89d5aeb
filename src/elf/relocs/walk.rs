//! Every relocation of an x86 executable, with its symbol.

use super::super::raw::{RESERVED, SHF_EXECINSTR, SHN_ABS, SHN_COMMON, SHT_NOTE, SHT_REL, SHT_RELA};
use super::super::symbols::{RawSymbol, SymbolTable};
use super::super::{Elf, Error, Kind, Result, Section};
use super::BadReloc;
use crate::arch::Arch;
use crate::arch::x86::{self, CONSTANT_SYMBOLS, MOVING_SYMBOLS, MOVING_SYMBOLS_64, RelocType, is_any};
use crate::bytes::{Endian, VirtAddr};
use byteorder::{ByteOrder, LittleEndian};
use std::borrow::Cow;

/// A relocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) offset: u64,
    pub(super) info: u64,
    pub(super) kind: u32,
    pub(super) symbol: u32,
    pub(super) target: &'a Section<'a>,
    pub(super) target_index: u32,
}

/// All relocations of an x86 executable that are about loaded sections.
#[derive(Debug)]
pub(super) struct Walk<'e, 'a> {
    pub(super) elf: &'e Elf<'a>,
    pub(super) is_64: bool,
    pub(super) kinds: &'static [RelocType],
    pub(super) symbols: SymbolTable<'a>,
}

impl<'e, 'a> Walk<'e, 'a> {
    pub(super) fn new(elf: &'e Elf<'a>) -> Result<Self> {
        let is_64 = match elf.arch() {
            Some(Arch::X86_64) => true,
            Some(Arch::X86) => false,
            Some(other) => return Err(not_for(format!("an ELF file for {other}"), "an x86 kernel")),
            None => return Err(not_for("an ELF file for an unknown CPU", "an x86 kernel")),
        };
        if elf.is_64() != is_64 || elf.endian() != Endian::Little {
            return Err(not_for("an x86 file of the wrong class or byte order", "an x86 kernel"));
        }
        if !matches!(elf.kind(), Kind::Executable | Kind::Dynamic) {
            return Err(not_for("an object file", "the linked kernel"));
        }
        let symbols = match SymbolTable::new(elf) {
            // Without symbols there are no relocations either.
            Err(Error::NoSymbols) => return Err(Error::NoRelocs),
            other => other?,
        };
        let kinds = if is_64 { x86::RELOCS_64 } else { x86::RELOCS_32 };
        Ok(Walk { elf, is_64, kinds, symbols })
    }

    /// The relocation sections that are about loaded sections, each with its index, and those.
    fn sections(&self) -> impl Iterator<Item = (usize, &'e Section<'a>, &'e Section<'a>)> {
        let want = if self.is_64 { SHT_RELA } else { SHT_REL };
        let sections = self.elf.sections();
        sections.iter().enumerate().filter(move |(_, section)| section.kind == want).filter_map(|(index, section)| {
            let target = self.elf.section_at(section.info)?;
            // Notes are read before anything moves.
            (target.is_alloc() && target.kind != SHT_NOTE).then_some((index, section, target))
        })
    }

    pub(super) fn has_executable(&self) -> bool {
        self.sections().any(|(_, section, target)| target.flags & SHF_EXECINSTR != 0 && section.size > 0)
    }

    /// Shows every entry to `process`, and then the bytes that it was in to `passed`, some thousand entries at a time.
    pub(super) fn each(
        &self,
        mut process: impl FnMut(&Entry<'e>) -> Result<()>,
        mut passed: impl FnMut(&'a [u8]),
    ) -> Result<()>
    where
        'a: 'e,
    {
        const AT_A_TIME: usize = 1 << 15;
        let size = if self.is_64 { 24 } else { 8 };
        for (index, section, target) in self.sections() {
            if !section.links_to(self.symbols.index()) {
                return Err(self.elf.bad_link(index, "the index of the symbol table").into());
            }
            for block in self.elf.contents(section)?.chunks(size * AT_A_TIME) {
                for raw in block.chunks_exact(size) {
                    process(&self.entry(raw, target, section.info))?;
                }
                passed(block);
            }
        }
        Ok(())
    }

    /// The entry in `raw`, which has its size.
    fn entry(&self, raw: &[u8], target: &'e Section<'a>, target_index: u32) -> Entry<'e>
    where
        'a: 'e,
    {
        if self.is_64 {
            let (offset, rest) = raw.split_at(8);
            let info = LittleEndian::read_u64(rest);
            Entry {
                offset: LittleEndian::read_u64(offset),
                info,
                kind: low_half(info),
                symbol: low_half(info >> 32),
                target,
                target_index,
            }
        } else {
            let (offset, info) = raw.split_at(4);
            let info = LittleEndian::read_u32(info);
            Entry {
                offset: LittleEndian::read_u32(offset).into(),
                info: info.into(),
                kind: info & 0xff,
                symbol: info >> 8,
                target,
                target_index,
            }
        }
    }

    pub(super) fn kind(&self, entry: &Entry<'_>) -> Option<&'static RelocType> {
        // The common numbers are their own index.
        let quick = usize::try_from(entry.kind).ok().and_then(|index| self.kinds.get(index));
        quick
            .filter(|kind| kind.number == entry.kind)
            .or_else(|| self.kinds.iter().find(|kind| kind.number == entry.kind))
    }

    pub(super) fn kind_name(&self, entry: &Entry<'_>) -> &'static str {
        self.kind(entry).map_or("unknown type rel type name", |kind| kind.name)
    }

    /// Does the symbol move with the kernel though it is absolute?
    pub(super) fn moves(&self, name: &[u8]) -> bool {
        is_any(MOVING_SYMBOLS, name) || (self.is_64 && is_any(MOVING_SYMBOLS_64, name))
    }

    /// Is the symbol absolute, and known to be the same anywhere? An absolute symbol of which nothing is known is
    /// an error.
    pub(super) fn is_constant(&self, entry: &Entry<'_>, shndx: u16) -> Result<bool> {
        if shndx != SHN_ABS {
            return Ok(false);
        }
        let name = self.name_of(entry.symbol)?;
        if self.moves(name) {
            return Ok(false);
        }
        if is_any(CONSTANT_SYMBOLS, name) {
            return Ok(true);
        }
        Err(self.refuse(entry, "the symbol is absolute, and not one of those known to be right anywhere")?)
    }

    /// The name of a symbol; one without a name goes by that of its section.
    pub(super) fn name_of(&self, index: u32) -> Result<&'a [u8]> {
        let symbol = self.symbols.at(index)?;
        let name = self.symbols.name(index, &symbol)?;
        if name.is_empty() { Ok(self.section_name(index, &symbol)) } else { Ok(name) }
    }

    /// The name of the section of `symbol`, which has this index.
    pub(super) fn section_name(&self, index: u32, symbol: &RawSymbol) -> &'a [u8] {
        const ABS: u32 = RESERVED | SHN_ABS as u32;
        const COMMON: u32 = RESERVED | SHN_COMMON as u32;
        match self.symbols.section(index, symbol) {
            Some(ABS) => b"ABSOLUTE",
            Some(COMMON) => b"COMMON",
            index => {
                let section = index.and_then(|index| self.elf.section_at(index));
                section.map_or(b"<noname>", |section| section.name)
            }
        }
    }

    /// The error for a relocation that cannot be applied.
    pub(super) fn refuse(&self, entry: &Entry<'_>, why: &'static str) -> Result<Error> {
        Ok(Error::RelocNotAllowed(Box::new(BadReloc {
            kind: self.kind(entry).map_or_else(|| "unknown".into(), |kind| kind.name.into()),
            number: entry.kind,
            section: entry.target.name().into_owned(),
            at: VirtAddr(entry.offset),
            symbol: String::from_utf8_lossy(self.name_of(entry.symbol)?).into_owned(),
            why,
        })))
    }
}

pub(super) fn not_for(found: impl Into<Cow<'static, str>>, want: &'static str) -> Error {
    Error::NotForRelocs { found: found.into(), want }
}

/// The lower 32 bits.
pub(super) fn low_half(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or_default()
}
