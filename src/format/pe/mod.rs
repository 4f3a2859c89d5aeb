//! PE/COFF: the EFI side of a bzImage and of other kernels.
//!
//! Offsets are those of the PE specification 8.3 ("COFF File Header", "Optional Header", "Section Table").

pub(crate) mod add;
pub(crate) mod authenticode;
mod check;
mod file;
pub(crate) mod sbat;
pub(crate) mod signed;
pub(crate) mod write;

pub(crate) use check::RULES;
pub(crate) use file::{
    MACHINE_AMD64, MACHINE_I386, MACHINE_LOONGARCH32, MACHINE_LOONGARCH64, NX_COMPAT, SECTION_EXECUTE, SECTION_READ,
    SECTION_WRITE, machine_name, removable_name,
};
pub use file::{Pe, PeSection};

use crate::bytes::{self, Cursor, Field, len64};

/// Offset in the MS-DOS header of the offset of the PE header (`e_lfanew`).
pub(crate) const E_LFANEW: u64 = 0x3c;
/// `PE\0\0`.
pub(crate) const SIGNATURE: u32 = 0x4550;
/// `MZ`.
pub(crate) const E_MAGIC: u16 = 0x5a4d;

/// `Magic` of the optional header: 32-bit, 64-bit.
pub(crate) const PE32: u16 = 0x10b;
pub(crate) const PE32_PLUS: u16 = 0x20b;

/// Where the optional header begins, from the signature.
pub(crate) const OPTIONAL_AT: u64 = 24;
/// Bytes of a section header.
pub(crate) const SECTION_LEN: u64 = 40;
/// Where a section header says what is in memory and in the file.
pub(crate) const SECTION_PLACES: [(&str, u64); 4] =
    [("VirtualSize", 8), ("VirtualAddress", 12), ("SizeOfRawData", 16), ("PointerToRawData", 20)];

/// The fields behind the signature, by their offset from it, where PE32+ has them.
const FIELDS: &[Field] = &[
    Field::new("Machine", 4, 2),
    Field::new("NumberOfSections", 6, 2),
    Field::new("TimeDateStamp", 8, 4),
    Field::new("PointerToSymbolTable", 12, 4),
    Field::new("NumberOfSymbols", 16, 4),
    Field::new("SizeOfOptionalHeader", 20, 2),
    Field::new("Characteristics", 22, 2),
    Field::new("Magic", OPTIONAL_AT, 2),
    Field::new("MajorLinkerVersion", OPTIONAL_AT + 2, 1),
    Field::new("SizeOfCode", OPTIONAL_AT + 4, 4),
    Field::new("SizeOfInitializedData", OPTIONAL_AT + 8, 4),
    Field::new("SizeOfUninitializedData", OPTIONAL_AT + 12, 4),
    Field::new("AddressOfEntryPoint", OPTIONAL_AT + 16, 4),
    Field::new("BaseOfCode", OPTIONAL_AT + 20, 4),
    Field::new("ImageBase", OPTIONAL_AT + 24, 8),
    Field::new("SectionAlignment", OPTIONAL_AT + 32, 4),
    Field::new("FileAlignment", OPTIONAL_AT + 36, 4),
    Field::new("MajorOperatingSystemVersion", OPTIONAL_AT + 40, 2),
    Field::new("MajorImageVersion", OPTIONAL_AT + 44, 2),
    Field::new("MinorImageVersion", OPTIONAL_AT + 46, 2),
    Field::new("MajorSubsystemVersion", OPTIONAL_AT + 48, 2),
    Field::new("Win32VersionValue", OPTIONAL_AT + 52, 4),
    Field::new("SizeOfImage", OPTIONAL_AT + 56, 4),
    Field::new("SizeOfHeaders", OPTIONAL_AT + 60, 4),
    Field::new("CheckSum", OPTIONAL_AT + 64, 4),
    Field::new("Subsystem", OPTIONAL_AT + 68, 2),
    Field::new("DllCharacteristics", OPTIONAL_AT + 70, 2),
    Field::new("SizeOfStackReserve", OPTIONAL_AT + 72, 8),
    Field::new("NumberOfRvaAndSizes", OPTIONAL_AT + 108, 4),
];

/// Bytes from the signature `PE\0\0` to a field of [`FIELDS`].
pub(crate) const fn offset_of(name: &str) -> u64 {
    bytes::offset_of(FIELDS, name)
}

/// Do `bytes` begin as an MS-DOS program, `MZ`?
pub(crate) fn is_mz(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ")
}

/// What an MS-DOS header, or its place, says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DosHeader {
    /// As [`is_mz`].
    pub is_mz: bool,
    /// `e_lfanew`, the file offset of the PE header; 0 where it cannot be read.
    pub lfanew: u64,
    /// Does a PE header begin there?
    pub leads: bool,
}

impl DosHeader {
    pub(crate) fn read(bytes: &[u8]) -> DosHeader {
        let cursor = Cursor::little(bytes);
        let lfanew = cursor.u32("e_lfanew", E_LFANEW).map_or(0, u64::from);
        let leads = cursor.u32("PE signature", lfanew) == Ok(SIGNATURE);
        DosHeader { is_mz: is_mz(bytes), lfanew, leads }
    }
}

/// Length in bytes of the program that begins `bytes`, by its sections and certificates, whether they are all there or not.
pub(crate) fn announced_len(bytes: &[u8]) -> Option<u64> {
    // No loader takes more of them ("Windows loader limits the number of sections to 96").
    const MOST: u16 = 96;
    let lfanew = DosHeader::read(bytes).lfanew;
    let count = Cursor::little(bytes).u16("NumberOfSections", lfanew.saturating_add(offset_of("NumberOfSections")));
    let pe = count.ok().filter(|count| *count <= MOST).and_then(|_| Pe::find(bytes))?;
    let sections = pe.sections.iter().filter(|section| section.raw_size > 0).map(|section| section.file_range().end);
    sections.chain(pe.certificate_range().map(|range| range.end)).max()
}

/// How many bytes the certificates of a signed image leave for the image itself.
pub(crate) fn unsigned_len(bytes: &[u8]) -> u64 {
    let pe = Pe::find(bytes);
    pe.and_then(|pe| pe.certificate_range()).map_or(len64(bytes), |range| range.start.min(len64(bytes)))
}

/// An EFI file that was changed, without signatures and checksum; `None` for another.
pub(crate) fn unsigned(bytes: &[u8]) -> Option<Vec<u8>> {
    let pe = Pe::find(bytes)?;
    pe.unsigned(unsigned_len(bytes))
}
