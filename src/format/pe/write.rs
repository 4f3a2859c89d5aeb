//! The PE/COFF header of an image that we make, a program for UEFI firmware.
//!
//! Firmware, shim and signing tools are strict, each in its own way, and this is what pleases them all: sections in the
//! order of the file, without gap or overlap in it, aligned to pages in memory and to sectors in the file; none is both
//! writable and executable; nothing behind the last, so no CRC.
//!
//! PE specification 8.3; arch/x86/boot/header.S, drivers/firmware/efi/libstub/zboot-header.S and include/linux/pe.h of
//! Linux 6.12.

use super::{
    E_LFANEW, E_MAGIC, MACHINE_I386, NX_COMPAT, OPTIONAL_AT, PE32, PE32_PLUS, SECTION_LEN, SECTION_PLACES, SIGNATURE,
    offset_of,
};
use crate::bytes::{FieldError, FieldWriter};

/// Bytes that `e_lfanew` leaves for the MS-DOS header; Linux has the PE header here.
pub(crate) const PE_AT: u64 = 0x40;
/// Bytes of a header with eight sections.
pub(crate) const HEADER_MAX: u64 = OPTIONAL_AT + 112 + 8 * DIRECTORIES as u64 + 8 * SECTION_LEN;
/// `LINUX_PE_MAGIC`, for boot loaders that look for Linux.
const LINUX_PE_MAGIC: u32 = 0x8182_23cd;
/// `LINUX_EFISTUB_MAJOR_VERSION`: the initrd is asked for by `LoadFile2`, memory may be above 4 GiB.
const EFISTUB_VERSION: (u16, u16) = (3, 0);
/// `IMAGE_FILE_EXECUTABLE_IMAGE`, `_LINE_NUMS_STRIPPED`, `_DEBUG_STRIPPED`. Not `_RELOCS_STRIPPED`: it runs anywhere.
const CHARACTERISTICS: u16 = 0x0206;
const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
/// Data directories, all empty; a signature goes into the fifth.
const DIRECTORIES: u16 = 6;
/// In memory, and the headers, too.
pub(crate) const SECTION_ALIGNMENT: u64 = 4096;
/// In the file.
pub(crate) const FILE_ALIGNMENT: u64 = 512;

/// Flags of a section: what it holds, and that nobody needs it in memory.
pub(crate) const CODE: u32 = 0x20;
pub(crate) const INITIALIZED: u32 = 0x40;
pub(crate) const DISCARDABLE: u32 = 0x0200_0000;

/// A section that is to be.
pub(crate) struct NewSection {
    /// At most eight characters.
    pub(crate) name: &'static str,
    /// Bytes in memory and in the file; there is none where it has none in memory.
    pub(crate) len: (u64, u64),
    pub(crate) flags: u32,
}

/// What the header says besides what is the same for all.
pub(crate) struct NewHeader<'s> {
    /// File offset; [`PE_AT`], unless there is no room.
    pub(crate) at: u64,
    /// Bytes up to the first section, in the file and in memory.
    pub(crate) headers: u64,
    /// PE32 for an i386, else PE32+.
    pub(crate) machine: u16,
    /// Where the firmware enters, from the first byte in memory.
    pub(crate) entry: u64,
    /// Where the code begins in memory, and its bytes.
    pub(crate) code: (u64, u64),
    /// In the order of the file.
    pub(crate) sections: &'s [NewSection],
}

/// Writes the header to a file whose bytes are zero where it stands.
///
/// # Errors
/// [`FieldError`] where a number does not fit, or the header does not.
pub(crate) fn write_header(out: &mut FieldWriter, header: &NewHeader<'_>) -> Result<(), FieldError> {
    out.u16("MZ", 0, E_MAGIC)?;
    out.u32("LINUX_PE_MAGIC", 0x38, LINUX_PE_MAGIC)?;
    out.narrow("e_lfanew", E_LFANEW, header.at)?;

    let place = |field: &str| header.at + offset_of(field);
    // COFF file header
    out.u32("PE signature", header.at, SIGNATURE)?;
    out.u16("Machine", place("Machine"), header.machine)?;
    let (magic, directories_at) = if header.machine == MACHINE_I386 { (PE32, 96) } else { (PE32_PLUS, 112) };
    let optional_header = directories_at + 8 * DIRECTORIES;
    out.u16("SizeOfOptionalHeader", place("SizeOfOptionalHeader"), optional_header)?;
    out.u16("Characteristics", place("Characteristics"), CHARACTERISTICS)?;

    // Section table
    let mut at = header.at + OPTIONAL_AT + u64::from(optional_header);
    let (mut memory, mut file, mut count) = (header.headers, header.headers, 0);
    for section in header.sections.iter().filter(|section| section.len.0 != 0) {
        let mut name = [0; 8];
        name.iter_mut().zip(section.name.bytes()).for_each(|(to, from)| *to = from);
        let [a, b, c, d, e, f, g, h] = name;
        out.u32("Name", at, u32::from_le_bytes([a, b, c, d]))?;
        out.u32("Name", at + 4, u32::from_le_bytes([e, f, g, h]))?;
        for ((field, place), value) in SECTION_PLACES.into_iter().zip([section.len.0, memory, section.len.1, file]) {
            out.narrow(field, at + place, value)?;
        }
        out.u32("Characteristics", at + 36, section.flags)?;
        memory = memory.saturating_add(section.len.0).next_multiple_of(SECTION_ALIGNMENT);
        file = file.saturating_add(section.len.1);
        count += 1;
        at += SECTION_LEN;
    }
    out.u16("NumberOfSections", place("NumberOfSections"), count)?;

    // Optional header
    let (code_at, code_len) = header.code;
    out.u16("Magic", place("Magic"), magic)?;
    out.u16("MajorLinkerVersion", place("MajorLinkerVersion"), 0x1402)?;
    out.narrow("SizeOfCode", place("SizeOfCode"), code_len)?;
    out.narrow("SizeOfInitializedData", place("SizeOfInitializedData"), memory - header.headers - code_len)?;
    out.narrow("AddressOfEntryPoint", place("AddressOfEntryPoint"), header.entry)?;
    out.narrow("BaseOfCode", place("BaseOfCode"), code_at)?;
    out.narrow("SectionAlignment", place("SectionAlignment"), SECTION_ALIGNMENT)?;
    out.narrow("FileAlignment", place("FileAlignment"), FILE_ALIGNMENT)?;
    out.u16("MajorImageVersion", place("MajorImageVersion"), EFISTUB_VERSION.0)?;
    out.u16("MinorImageVersion", place("MinorImageVersion"), EFISTUB_VERSION.1)?;
    out.narrow("SizeOfImage", place("SizeOfImage"), memory)?;
    out.narrow("SizeOfHeaders", place("SizeOfHeaders"), header.headers)?;
    out.u16("Subsystem", place("Subsystem"), SUBSYSTEM_EFI_APPLICATION)?;
    out.u16("DllCharacteristics", place("DllCharacteristics"), NX_COMPAT)?;
    // Right in front of them.
    let count_at = header.at + OPTIONAL_AT + u64::from(directories_at) - 4;
    out.u16("NumberOfRvaAndSizes", count_at, DIRECTORIES)?;
    Ok(())
}
