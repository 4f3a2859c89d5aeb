//! A PE/COFF image as its own headers describe it: the EFI side of a kernel, a unified kernel image.
//!
//! Source: Microsoft's PE Format specification ("COFF File Header", "Optional Header", "Section Table", "The Attribute
//! Certificate Table") and, for the digest, "Windows Authenticode Portable Executable Signature Format".

use super::{DosHeader, E_LFANEW, E_MAGIC, FIELDS, OPTIONAL_AT, PE32, PE32_PLUS, SECTION_LEN, SIGNATURE, offset_of};
use crate::bytes::{Cursor, FieldError, len64, slice, until_zero};
use std::ops::Range;

/// `Machine` of x86-64.
pub(crate) const MACHINE_AMD64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_I386`.
pub(crate) const MACHINE_I386: u16 = 0x14c;
/// `IMAGE_FILE_MACHINE_LOONGARCH32` and `IMAGE_FILE_MACHINE_LOONGARCH64`.
pub(crate) const MACHINE_LOONGARCH32: u16 = 0x6232;
pub(crate) const MACHINE_LOONGARCH64: u16 = 0x6264;
/// Index of the certificate table among the data directories.
const CERTIFICATES: u64 = 4;
/// `IMAGE_DLLCHARACTERISTICS_NX_COMPAT`.
pub(crate) const NX_COMPAT: u16 = 0x100;
/// `IMAGE_SCN_MEM_EXECUTE`.
pub(crate) const SECTION_EXECUTE: u32 = 0x2000_0000;
/// `IMAGE_SCN_MEM_READ`.
pub(crate) const SECTION_READ: u32 = 0x4000_0000;
/// `IMAGE_SCN_MEM_WRITE`.
pub(crate) const SECTION_WRITE: u32 = 0x8000_0000;

/// A section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeSection {
    /// File offset of the section header.
    pub at: u64,
    /// Name, padded with zeros.
    pub name: [u8; 8],
    /// `VirtualSize`: bytes in memory.
    pub virtual_size: u32,
    /// `VirtualAddress`: bytes from the start of the loaded image.
    pub virtual_address: u32,
    /// `SizeOfRawData`: bytes in the file.
    pub raw_size: u32,
    /// `PointerToRawData`: file offset.
    pub raw_at: u32,
    /// `Characteristics`.
    pub flags: u32,
}

impl PeSection {
    /// A section of zeros that has no bytes in the file, as `.bss` of x86 kernels from Linux 3.16 to 5.6.
    pub(crate) fn is_bss(&self) -> bool {
        const UNINITIALIZED_DATA: u32 = 0x80;
        self.flags & UNINITIALIZED_DATA != 0 && self.raw_size == 0 && self.raw_at == 0
    }

    /// The name without its padding.
    pub(crate) fn name(&self) -> &[u8] {
        until_zero(&self.name)
    }

    /// Its bytes in the file.
    pub(crate) fn file_range(&self) -> Range<u64> {
        let start = u64::from(self.raw_at);
        start..start + u64::from(self.raw_size)
    }

    /// `r-x` and the like.
    pub(crate) fn permissions(&self) -> String {
        [(SECTION_READ, 'r'), (SECTION_WRITE, 'w'), (SECTION_EXECUTE, 'x')]
            .iter()
            .map(|(bit, letter)| if self.flags & bit != 0 { *letter } else { '-' })
            .collect()
    }
}

/// An entry of the attribute certificate table: a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// File offset.
    pub at: u64,
    /// `wRevision`: 0x200.
    pub revision: u16,
    /// `wCertificateType`: 2 for a PKCS #7 signature.
    pub kind: u16,
    /// The signature itself.
    pub data: &'a [u8],
}

/// A PE image.
#[derive(Debug, Clone)]
pub struct Pe<'a> {
    bytes: &'a [u8],
    /// File offset of `PE\0\0`.
    pub at: u64,
    /// PE32+ (64-bit)?
    pub is_plus: bool,
    /// `ImageBase`.
    pub image_base: u64,
    /// Sections, in table order.
    pub sections: Vec<PeSection>,
    /// Where the certificate table's directory entry stands, and what it says: offset and length in the file.
    certificates: Option<(u64, Range<u64>)>,
    optional_at: u64,
}

impl<'a> Pe<'a> {
    /// Is the whole file one section, headers and all, as in x86 kernels of Linux 3.3 and 3.4?
    pub(crate) fn is_one_piece(&self) -> bool {
        self.sections.first().is_some_and(|first| first.raw_at == 0 && first.virtual_address == 0 && first.raw_size > 0)
    }

    /// The `.bss` that the build of Linux 3.16 to 5.6 put behind the other sections of an x86 kernel.
    pub(crate) fn bss(&self) -> Option<&PeSection> {
        self.sections.last().filter(|last| last.is_bss())
    }

    /// True when `bytes` begin with `MZ` and `e_lfanew` leads to `PE\0\0`.
    pub fn detect(bytes: &[u8]) -> bool {
        let header = DosHeader::read(bytes);
        header.is_mz && header.leads
    }

    /// The headers, where [`Pe::detect`] finds some that can be read.
    pub(crate) fn find(bytes: &'a [u8]) -> Option<Self> {
        Self::parse(bytes).ok().filter(|_| Self::detect(bytes))
    }

    /// Reads the headers.
    ///
    /// # Errors
    /// A [`FieldError`] when a header is cut off, or a magic number is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        Self::read(bytes, true)
    }

    fn read(bytes: &'a [u8], is_strict: bool) -> Result<Self, FieldError> {
        let cursor = Cursor::little(bytes);
        let at = u64::from(cursor.u32("e_lfanew", E_LFANEW)?);
        let magic = cursor.u16("e_magic", 0)?;
        if magic != E_MAGIC {
            return Err(FieldError::magic("e_magic", 0, magic, E_MAGIC));
        }
        cursor.magic("PE signature", at, SIGNATURE)?;
        let place = |name: &str| at + offset_of(name);
        let count = cursor.u16("NumberOfSections", place("NumberOfSections"))?;
        let optional_len = u64::from(cursor.u16("SizeOfOptionalHeader", place("SizeOfOptionalHeader"))?);
        let optional = at + OPTIONAL_AT;
        let is_plus = match cursor.u16("Magic", optional)? {
            PE32 => false,
            found if found == PE32_PLUS || !is_strict => true,
            found => {
                return Err(FieldError::unknown("Magic", optional, found, "0x10b (PE32) or 0x20b (PE32+)"));
            }
        };
        let image_base = match is_plus {
            true => cursor.u64("ImageBase", optional + 24)?,
            false => cursor.u32("ImageBase", optional + 28)?.into(),
        };
        let directories = optional + if is_plus { 112 } else { 96 };
        let table = optional + optional_len;
        let directory_count = cursor.u32("NumberOfRvaAndSizes", directories - 4).unwrap_or(0);
        let certificates_at = directories + 8 * CERTIFICATES;
        let certificates = match u64::from(directory_count) > CERTIFICATES && certificates_at + 8 <= table {
            true => {
                let start = u64::from(cursor.u32("certificate table offset", certificates_at)?);
                let len = u64::from(cursor.u32("certificate table size", certificates_at + 4)?);
                Some((certificates_at, start..start + len))
            }
            false => None,
        };
        let mut sections = Vec::new();
        for at in (0..u64::from(count)).map(|index| table + SECTION_LEN * index) {
            let raw = cursor.take("section header", at, SECTION_LEN)?;
            let mut name = [0; 8];
            name.copy_from_slice(raw.get(..8).unwrap_or(&[0; 8]));
            sections.push(PeSection {
                at,
                name,
                virtual_size: cursor.u32("VirtualSize", at + 8)?,
                virtual_address: cursor.u32("VirtualAddress", at + 12)?,
                raw_size: cursor.u32("SizeOfRawData", at + 16)?,
                raw_at: cursor.u32("PointerToRawData", at + 20)?,
                flags: cursor.u32("Characteristics", at + 36)?,
            });
        }
        for field in FIELDS.iter().take_while(|field| field.at < OPTIONAL_AT + 72) {
            cursor.take(field.name, at + field.at, field.width)?;
        }
        Ok(Pe { bytes, at, is_plus, image_base, sections, certificates, optional_at: optional })
    }

    /// The value of a field of the headers, by its name in the specification, where PE32+ has it.
    pub(crate) fn value(&self, name: &str) -> u64 {
        let field = FIELDS.iter().find(|field| field.name == name);
        let raw = field.and_then(|field| slice(self.bytes, self.at + field.at, field.width)).unwrap_or_default();
        raw.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// File offset of a field of the headers by its name in the specification, where PE32+ has it.
    pub(crate) fn place(&self, field: &str) -> u64 {
        self.at + offset_of(field)
    }

    /// File offset and bytes of `ImageBase`.
    pub(crate) fn image_base_place(&self) -> (u64, u64) {
        if self.is_plus { (self.optional_at + 24, 8) } else { (self.optional_at + 28, 4) }
    }

    /// The headers of what begins with `MZ`, whatever `Magic` says; `None` of anything else.
    ///
    /// # Errors
    /// As [`Pe::parse`].
    pub fn parse_if_mz(bytes: &'a [u8]) -> Result<Option<Self>, FieldError> {
        if super::is_mz(bytes) { Self::read(bytes, false).map(Some) } else { Ok(None) }
    }

    /// File offset of the optional header.
    pub fn optional_at(&self) -> u64 {
        self.optional_at
    }

    /// File offset of the section table's end.
    pub fn headers_end(&self) -> u64 {
        self.sections.last().map_or(self.optional_at, |last| last.at + SECTION_LEN)
    }

    /// Where the symbols and their names end in the file, if it has some that are inside.
    pub(crate) fn symbols_end(&self) -> Option<u64> {
        const SYMBOL_LEN: u64 = 18;
        let at = self.value("PointerToSymbolTable");
        let names = at + SYMBOL_LEN * self.value("NumberOfSymbols");
        let len = Cursor::little(self.bytes).u32("length of the string table", names).ok()?;
        Some(names + u64::from(len)).filter(|end| at != 0 && *end <= len64(self.bytes))
    }

    /// Is it a program or a driver for Windows? It says so (`Subsystem`), and calls what is in DLLs (import table), as nothing
    /// for EFI does.
    pub(crate) fn is_for_windows(&self) -> bool {
        let imports = self.optional_at + if self.is_plus { 112 } else { 96 } + 8;
        let imports = Cursor::little(self.bytes).u32("import table", imports).unwrap_or(0);
        matches!(self.value("Subsystem"), 1..=3 | 5 | 7..=9 | 14 | 16) && imports != 0
    }

    /// The first section of that name.
    pub(crate) fn section(&self, name: &[u8]) -> Option<&PeSection> {
        self.sections.iter().find(|section| section.name() == name)
    }

    /// What a section holds: its bytes in the file, without the padding behind what is loaded.
    pub(crate) fn contents(&self, section: &PeSection) -> Option<&'a [u8]> {
        let len = section.raw_size.min(if section.virtual_size == 0 { u32::MAX } else { section.virtual_size });
        slice(self.bytes, section.raw_at.into(), len.into())
    }

    /// Where the certificate table stands in the file, if the image has one.
    pub fn certificate_range(&self) -> Option<Range<u64>> {
        self.certificates.as_ref().map(|(_, range)| range.clone()).filter(|range| range.start != 0 && !range.is_empty())
    }

    /// The bytes the headers were read from.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What signing changes in the headers: `CheckSum`, and the certificate table's directory entry.
    pub fn signed_fields(&self) -> Vec<Range<u64>> {
        let checksum = self.place("CheckSum");
        let entry = self.certificates.as_ref().map(|(at, _)| *at..*at + 8);
        std::iter::once(checksum..checksum + 4).chain(entry).collect()
    }

    /// The first `len` bytes as they were before the image was signed: without what signing changes.
    pub(crate) fn unsigned(&self, len: u64) -> Option<Vec<u8>> {
        let mut plain = slice(self.bytes, 0, len)?.to_vec();
        for range in self.signed_fields() {
            if let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) {
                plain.get_mut(start..end).unwrap_or_default().fill(0);
            }
        }
        Some(plain)
    }

    /// The certificates: one for each signature. Ends at the first that does not hold together.
    pub(crate) fn certificates(&self) -> Vec<Entry<'a>> {
        let mut found = Vec::new();
        let Some(range) = self.certificate_range() else { return found };
        let cursor = Cursor::little(self.bytes);
        let mut at = range.start;
        while at < range.end {
            let read = || -> Result<(u32, Entry<'a>), FieldError> {
                let len = cursor.u32("dwLength", at)?;
                let (revision, kind) = (cursor.u16("wRevision", at + 4)?, cursor.u16("wCertificateType", at + 6)?);
                let data = cursor.take("bCertificate", at + 8, u64::from(len).saturating_sub(8))?;
                Ok((len, Entry { at, revision, kind, data }))
            };
            match read() {
                Ok((len, certificate)) if len > 8 => {
                    found.push(certificate);
                    at += u64::from(len).next_multiple_of(8);
                }
                _ => break,
            }
        }
        found
    }

    /// What Authenticode signs: the headers without checksum and certificate entry, the sections in file order, then what is
    /// behind them, the certificates left out.
    ///
    /// # Errors
    /// [`NoDigest::Outside`] when headers or a section lie outside of the file, [`NoDigest::Shared`] when all of them together
    /// are more than four times as long.
    pub(crate) fn signed_ranges(&self) -> Result<Vec<Range<u64>>, NoDigest> {
        let mut ranges = Vec::new();
        let mut put = |range: Range<u64>| {
            let is_inside = range.start <= range.end && range.end <= len64(self.bytes);
            ranges.push(range);
            if is_inside { Ok(()) } else { Err(NoDigest::Outside) }
        };
        const MOST_SHARED: u64 = 4;
        let headers_end = self.value("SizeOfHeaders");
        let checksum = self.place("CheckSum");
        put(0..checksum)?;
        match &self.certificates {
            Some((at, _)) => {
                put(checksum + 4..*at)?;
                put(at + 8..headers_end)?;
            }
            None => put(checksum + 4..headers_end)?,
        }
        let mut sections: Vec<_> = self.sections.iter().filter(|section| section.raw_size > 0).collect();
        sections.sort_by_key(|section| section.raw_at);
        let mut hashed = headers_end;
        for section in sections {
            hashed = hashed.saturating_add(section.raw_size.into());
            // Thousands of sections that share their bytes are nobody's program.
            if hashed > len64(self.bytes).saturating_mul(MOST_SHARED) {
                return Err(NoDigest::Shared);
            }
            put(section.file_range())?;
        }
        // The specification counts bytes; what sections share or leave out shifts what follows, as it does for firmware.
        let end = match self.certificate_range() {
            Some(range) => len64(self.bytes).checked_sub(range.end - range.start).ok_or(NoDigest::Outside)?,
            None => len64(self.bytes),
        };
        if hashed < end {
            put(hashed..end)?;
        }
        Ok(ranges)
    }
}

/// Why an image has no Authenticode digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NoDigest {
    /// Something that is signed lies outside of the file.
    #[error("none: headers, a section or the certificates lie outside of the file")]
    Outside,
    /// Its sections together are many times as long as the file.
    #[error("not computed: sections share their bytes, so that more than four times the file would be hashed")]
    Shared,
}

/// The CPU of `Machine`, by its usual name.
pub(crate) fn machine_name(machine: u64) -> &'static str {
    match u16::try_from(machine).unwrap_or(0) {
        0x14c => "i386",
        MACHINE_AMD64 => "x86-64",
        0x1c0 => "ARM",
        0x1c2 => "ARM Thumb",
        0x1c4 => "ARMv7 Thumb-2",
        0xaa64 => "arm64",
        0x5032 => "RISC-V, 32 bit",
        0x5064 => "RISC-V, 64 bit",
        MACHINE_LOONGARCH32 => "LoongArch, 32 bit",
        MACHINE_LOONGARCH64 => "LoongArch, 64 bit",
        0x200 => "Itanium",
        0xebc => "EFI byte code",
        _ => "unknown",
    }
}

/// What the firmware of this CPU starts of a removable disk is called: `EFI/BOOT/BOOT` and this (UEFI specification 2.10,
/// section 3.5.1.1).
pub(crate) fn removable_name(machine: u64) -> Option<&'static str> {
    Some(match machine_name(machine) {
        "i386" => "IA32.EFI",
        "x86-64" => "X64.EFI",
        "ARM Thumb" | "ARMv7 Thumb-2" => "ARM.EFI",
        "arm64" => "AA64.EFI",
        "RISC-V, 32 bit" => "RISCV32.EFI",
        "RISC-V, 64 bit" => "RISCV64.EFI",
        "LoongArch, 32 bit" => "LOONGARCH32.EFI",
        "LoongArch, 64 bit" => "LOONGARCH64.EFI",
        _ => return None,
    })
}
