//! Writes the structures of an ELF file, of either class and byte order: the one place where such bytes are made. What
//! a file consists of, and where in it, is the caller's business.

use super::raw;
use super::symbols::RawSymbol;
use super::{Section, Segment};
use crate::bytes::Endian;
use object::Endianness;
use object::elf as spec;
pub(crate) use object::write::elf::{FileHeader, FileHeaderLayout, SectionHeader};
use object::write::elf::{ProgramHeader, Sym};

/// Knows the sizes of all structures of a class, in bytes.
pub(crate) type Encoder = object::write::elf::Encoder<Endianness>;

/// The encoder of a class and byte order.
pub(crate) fn encoder(is_64: bool, endian: Endian) -> Encoder {
    Encoder::new(raw::order(endian), is_64, spec::EM_NONE)
}

/// The header of a string table without address.
pub(crate) fn string_table(encoder: Encoder, name: u32, offset: u64, size: u64) -> SectionHeader {
    SectionHeader { sh_name: name, sh_offset: offset, sh_size: size, ..encoder.strtab_section_header() }
}

impl Section<'_> {
    /// The header as it is written; `name` is the offset of its name in the table of section names.
    pub(crate) fn header(&self, name: u32) -> SectionHeader {
        SectionHeader {
            sh_name: name,
            sh_type: spec::SectionType(self.kind),
            sh_flags: spec::SectionFlags(self.flags),
            sh_addr: self.addr,
            sh_offset: self.offset,
            sh_size: self.size,
            sh_link: self.link,
            sh_info: self.info,
            sh_addralign: self.align,
            sh_entsize: self.entsize,
        }
    }
}

/// ELF structures, one behind the other.
///
/// A number that is too large for a 32-bit file is not refused where it is written, but when all is: by [`Writer::finish`].
#[derive(Debug)]
pub(crate) struct Writer {
    encoder: Encoder,
    bytes: Vec<u8>,
    /// The first number that did not fit.
    too_large: Option<u64>,
}

impl Writer {
    /// Writes nothing yet.
    pub(crate) fn new(encoder: Encoder) -> Writer {
        Writer { encoder, bytes: Vec::new(), too_large: None }
    }

    /// All that was written.
    ///
    /// # Errors
    /// The first number that is too large for its field.
    pub(crate) fn finish(self) -> Result<Vec<u8>, u64> {
        self.too_large.map_or(Ok(self.bytes), Err)
    }

    /// Writes `bytes` as they are.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes zeros up to the offset `at`.
    pub(crate) fn fill_to(&mut self, at: u64) {
        self.bytes.resize(crate::layout::usize_or_max(at).max(self.bytes.len()), 0);
    }

    fn check(&mut self, words: &[u64]) {
        if !self.encoder.is_64() && self.too_large.is_none() {
            self.too_large = words.iter().copied().find(|word| u32::try_from(*word).is_err());
        }
    }

    /// Writes the file header. `e_shentsize` has its value without section headers too, as GNU's tools have it.
    pub(crate) fn file_header(&mut self, header: &FileHeader, layout: &FileHeaderLayout) {
        self.check(&[header.e_entry, layout.e_phoff, layout.e_shoff]);
        if self.encoder.file_header(&mut self.bytes, header, layout).is_err() {
            self.too_large = Some(layout.segment_num.into());
        }
        if layout.section_num == 0 {
            // The third field from the end: e_shentsize, e_shnum, e_shstrndx.
            let size = u16::try_from(self.encoder.section_header_size()).unwrap_or_default();
            let size =
                if self.encoder.endian() == Endianness::Little { size.to_le_bytes() } else { size.to_be_bytes() };
            let at = self.bytes.len().saturating_sub(6);
            self.bytes.iter_mut().skip(at).zip(size).for_each(|(slot, byte)| *slot = byte);
        }
    }

    /// Writes a program header.
    pub(crate) fn segment(&mut self, segment: &Segment) {
        let Segment { kind, flags, offset, vaddr, paddr, filesz, memsz, align } = *segment;
        self.check(&[offset, vaddr, paddr, filesz, memsz, align]);
        let header = ProgramHeader {
            p_type: spec::ProgramType(kind),
            p_flags: spec::ProgramFlags(flags),
            p_offset: offset,
            p_vaddr: vaddr,
            p_paddr: paddr,
            p_filesz: filesz,
            p_memsz: memsz,
            p_align: align,
        };
        self.encoder.program_header(&mut self.bytes, &header);
    }

    /// Writes a section header.
    pub(crate) fn section(&mut self, header: &SectionHeader) {
        let SectionHeader { sh_flags, sh_addr, sh_offset, sh_size, sh_addralign, sh_entsize, .. } = *header;
        self.check(&[sh_flags.0, sh_addr, sh_offset, sh_size, sh_addralign, sh_entsize]);
        self.encoder.section_header(&mut self.bytes, header);
    }

    /// Writes a symbol.
    pub(crate) fn symbol(&mut self, symbol: &RawSymbol) {
        let RawSymbol { name, info, other, shndx, value, size } = *symbol;
        self.check(&[value, size]);
        let symbol = Sym {
            section: None,
            st_name: name,
            st_info: spec::SymbolInfo(info),
            st_other: spec::SymbolOther(other),
            st_shndx: spec::SymbolSection(shndx),
            st_value: value,
            st_size: size,
        };
        self.encoder.symbol(&mut self.bytes, &symbol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes by hand, from the tables of the gABI.
    #[test]
    fn a_number_that_32_bits_cannot_hold_is_refused_at_the_end() {
        let symbol = RawSymbol { value: 1 << 32, ..RawSymbol::default() };
        for (is_64, len) in [(true, Ok(24)), (false, Err(1 << 32))] {
            let mut out = Writer::new(encoder(is_64, Endian::Big));
            out.symbol(&symbol);
            assert_eq!(out.finish().map(|bytes| bytes.len()), len);
        }
        let mut out = Writer::new(encoder(false, Endian::Big));
        out.symbol(&RawSymbol { name: 1, info: 0x12, other: 3, shndx: 4, value: 5, size: 6 });
        assert_eq!(out.finish(), Ok(vec![0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 6, 0x12, 3, 0, 4]));
        let mut out = Writer::new(encoder(false, Endian::Little));
        out.file_header(&FileHeader::default(), &FileHeaderLayout::default());
        assert_eq!(out.finish().unwrap()[46..], [40, 0, 0, 0, 0, 0]);
    }
}
