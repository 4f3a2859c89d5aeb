//! The output in the making: its sections, its program headers, and which of them cover which.

use super::super::encode::Writer;
use super::super::raw::{
    PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_NOTE, PT_PHDR, PT_TLS, SHF_TLS, SHT_GROUP, SHT_NULL,
    SHT_REL, SHT_RELA, SHT_SYMTAB,
};
use super::super::{Elf, Error, PT_LOAD, Result, SHF_ALLOC, SHT_NOBITS, Section, Segment};
use crate::bytes::Align;
use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

/// The error for an input that is not stripped.
pub(super) fn cannot(why: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Error {
    Error::CannotStrip { why: why.into(), help: help.into() }
}

/// What was written, if all of it fits the class of the file.
pub(super) fn finish(writer: Writer) -> Result<Vec<u8>> {
    writer.finish().map_err(|value| cannot(format!("{value:#x} does not fit the 32 bits of its class"), ""))
}

/// Relocations against the symbol table say how a section was linked; those against another table, or that are loaded,
/// are the program's own data.
pub(super) fn is_of_the_linker(elf: &Elf<'_>, relocs: &Section<'_>) -> bool {
    let target = elf.section_at(relocs.info).filter(|_| relocs.info != 0);
    let sensible = target.is_some_and(|target| !matches!(target.kind, SHT_REL | SHT_RELA | SHT_NULL));
    relocs.flags & SHF_ALLOC == 0 && sensible
}

/// Did the linker keep relocations, be they of debug sections or none at all?
pub(super) fn has_relocs(elf: &Elf<'_>) -> bool {
    let is_symtab = |link: u32| elf.section_at(link).is_some_and(|table| table.kind == SHT_SYMTAB);
    let kept = |section: &&Section<'_>| matches!(section.kind, SHT_REL | SHT_RELA) && is_symtab(section.link);
    elf.sections().iter().filter(kept).any(|section| is_of_the_linker(elf, section))
}

/// `e_ehsize`.
pub(super) fn ehsize(elf: &Elf<'_>) -> u64 {
    elf.encoder().file_header_size()
}

/// Where `count` program headers end; they follow the ELF header.
pub(super) fn headers_end(elf: &Elf<'_>, count: usize) -> u64 {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    ehsize(elf).saturating_add(count.saturating_mul(elf.encoder().program_header_size()))
}

/// The alignment of tables.
pub(super) fn word_align(elf: &Elf<'_>) -> Align {
    Align::new(elf.encoder().address_size()).unwrap_or(Align::ONE)
}

/// A section of the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputSection<'a> {
    /// As it stands in the input.
    pub(super) section: Section<'a>,
    /// Its index in the input's table.
    pub(super) old: usize,
    /// Its load address.
    pub(super) lma: u64,
    /// Its offset in the output.
    pub(super) offset: u64,
    /// Its index in the output's table.
    pub(super) new: u32,
    /// Its relocations in the input, which follow it in the table.
    pub(super) relocs: Option<Section<'a>>,
}

impl OutputSection<'_> {
    /// Allocated, with bytes in the file.
    pub(super) fn is_load(&self) -> bool {
        self.section.is_alloc() && self.section.kind != SHT_NOBITS
    }

    /// The alignment that it asks for: the next power of two.
    pub(super) fn align(&self) -> Align {
        self.section.align.checked_next_power_of_two().and_then(Align::new).unwrap_or(Align::ONE)
    }

    /// `sh_addralign` of the output: no more than its address has.
    pub(super) fn header_align(&self) -> Align {
        let bits = self.align().bytes() | self.section.addr;
        Align::new(bits & bits.wrapping_neg()).unwrap_or(Align::ONE)
    }
}

/// The sections of the output, in the order of its table.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    pub(super) kept: Vec<OutputSection<'a>>,
    /// Where each section of the input stands in `kept`.
    pub(super) places: Vec<Option<usize>>,
}

impl<'a> Sections<'a> {
    /// The section that has the index `old` in the input.
    pub(super) fn of(&self, old: usize) -> Option<&OutputSection<'a>> {
        self.kept.get((*self.places.get(old)?)?)
    }
}

impl<'a> Deref for Sections<'a> {
    type Target = [OutputSection<'a>];

    fn deref(&self) -> &[OutputSection<'a>] {
        &self.kept
    }
}

impl DerefMut for Sections<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.kept
    }
}

/// The sections in the order of the table of headers: groups come first.
pub(super) fn table_order<'k, 'a>(kept: &'k mut [OutputSection<'a>]) -> Vec<&'k mut OutputSection<'a>> {
    let mut all: Vec<_> = kept.iter_mut().collect();
    all.sort_by_key(|kept| kept.section.kind != SHT_GROUP);
    all
}

/// A program header on its way into the output.
#[derive(Debug, Clone)]
pub(super) struct OutputSegment {
    /// The header as it will be written.
    pub(super) out: Segment,
    /// The sections it covers, by their place in the list of kept sections, by rising load address.
    pub(super) sections: Vec<usize>,
    /// It covers the ELF header.
    pub(super) file_header: bool,
    /// It covers the program headers.
    pub(super) program_headers: bool,
    /// Its own header is kept (nothing it covers was removed): alignment and addresses stand.
    pub(super) intact: bool,
    /// Where its contents begin.
    pub(super) start: Start,
}

/// Addresses of the first byte that a segment loads behind the headers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Start {
    pub(super) vaddr: u64,
    /// That of the whole segment where it is fixed.
    pub(super) paddr: u64,
    /// The segment's physical address is the one that its header had.
    pub(super) paddr_is_fixed: bool,
}

/// A section's bytes within its segment: thread-local ones without contents take room only in `PT_TLS`.
pub(super) fn size_in(segment: &Segment, section: &Section<'_>) -> u64 {
    let is_tbss = section.flags & SHF_TLS != 0 && section.kind == SHT_NOBITS;
    if is_tbss && segment.kind != PT_TLS { 0 } else { section.size }
}

/// Does the range of `size` bytes at `at` lie within `len` bytes from `start`?
pub(super) fn within(at: u64, size: u64, start: u64, len: u64) -> bool {
    at.checked_sub(start).and_then(|delta| delta.checked_add(size)).is_some_and(|end| end <= len)
}

/// Strictly inside: neither at the start nor at the end.
fn strictly_within(at: u64, start: u64, len: u64) -> bool {
    at.checked_sub(start).is_some_and(|delta| delta > 0 && delta < len)
}

/// Does `segment` cover `section`? By file offset and by address, whichever the section has.
pub(super) fn covers(segment: &Segment, section: &Section<'_>) -> bool {
    holds(segment, section, true)
}

/// As [`covers`], by address or by file offset alone (`ELF_SECTION_IN_SEGMENT_1` in include/elf/internal.h of binutils).
pub(super) fn holds(segment: &Segment, section: &Section<'_>, by_address: bool) -> bool {
    let is_tls = section.flags & SHF_TLS != 0;
    let is_alloc = section.flags & SHF_ALLOC != 0;
    let is_nobits = section.kind == SHT_NOBITS;
    let right_kind = if is_tls {
        matches!(segment.kind, PT_TLS | PT_GNU_RELRO | PT_LOAD)
    } else {
        !matches!(segment.kind, PT_TLS | PT_PHDR)
    };
    let loaded_only =
        matches!(segment.kind, PT_LOAD | PT_DYNAMIC | PT_GNU_EH_FRAME | PT_GNU_STACK | PT_GNU_RELRO | PT_GNU_SFRAME)
            || PT_GNU_MBIND.contains(&segment.kind);
    let size = size_in(segment, section);
    let in_file = is_nobits || within(section.offset, size, segment.offset, segment.filesz);
    let in_memory = !by_address || !is_alloc || within(section.addr, size, segment.vaddr, segment.memsz);
    let edges_matter = matches!(segment.kind, PT_DYNAMIC | PT_NOTE) && section.size == 0 && segment.memsz != 0;
    let off_the_edges = !edges_matter
        || ((is_nobits || strictly_within(section.offset, segment.offset, segment.filesz))
            && (!is_alloc || strictly_within(section.addr, segment.vaddr, segment.memsz)));
    right_kind && (is_alloc || !loaded_only) && in_file && in_memory && off_the_edges
}

const PT_GNU_SFRAME: u32 = 0x6474_e554;
/// `PT_GNU_MBIND_LO` and `PT_GNU_MBIND_HI`.
const PT_GNU_MBIND: std::ops::RangeInclusive<u32> = 0x6474_e555..=0x6474_f554;
