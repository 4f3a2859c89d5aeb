//! The PE/COFF header that makes a bzImage a program for UEFI firmware.
//!
//! ```text
//! file      setup | code | data, zeros |             payload and what follows | .sbat
//! memory    setup | code | data, zeros, all the rest | payload and what follows | .sbat
//! ```
//!
//! Firmware, shim and signing tools are strict, each in its own way, and this is what pleases them all: sections in the
//! order of the file, without gap or overlap in it, aligned to pages in memory and to sectors in the file; none is both
//! writable and executable; nothing behind the last, so no CRC.
//!
//! PE specification 8.3; arch/x86/boot/header.S and include/linux/pe.h of Linux 6.12.

use crate::bytes::{FieldError, FieldWriter};
use crate::format::pe::{
    self, MACHINE_AMD64, NX_COMPAT, OPTIONAL_AT, PE32_PLUS, SECTION_EXECUTE as EXECUTE, SECTION_LEN, SECTION_PLACES,
    SECTION_READ as READ, SECTION_WRITE as WRITE,
};

/// Bytes that `e_lfanew` leaves for the MS-DOS header; Linux has the PE header here.
const PE_AT: u64 = 0x40;
/// The boot sector up to the setup header's sentinel, which all of this has to fit into: five sections do.
pub(super) const ROOM: usize = 0x1ef;
/// `LINUX_PE_MAGIC`, for boot loaders that look for Linux.
const LINUX_PE_MAGIC: u32 = 0x8182_23cd;
/// `LINUX_EFISTUB_MAJOR_VERSION`: the initrd is asked for by `LoadFile2`, memory may be above 4 GiB.
const EFISTUB_VERSION: (u16, u16) = (3, 0);
/// `IMAGE_FILE_EXECUTABLE_IMAGE`, `_LINE_NUMS_STRIPPED`, `_DEBUG_STRIPPED`. Not `_RELOCS_STRIPPED`: it runs anywhere.
const CHARACTERISTICS: u16 = 0x0206;
const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
/// Data directories, all empty; a signature goes into the fifth.
const DIRECTORIES: u16 = 6;
const OPTIONAL_HEADER: u16 = 112 + 8 * DIRECTORIES;
/// In memory, and the headers, too.
const SECTION_ALIGNMENT: u64 = 4096;
/// In the file.
pub(super) const FILE_ALIGNMENT: u64 = 512;

const CODE: u32 = 0x20;
const INITIALIZED: u32 = 0x40;
const DISCARDABLE: u32 = 0x0200_0000;

/// Bytes of the image, in the order of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct EfiSizes {
    /// The setup.
    pub setup: u64,
    /// The stub's code.
    pub code: u64,
    /// The stub's data in the file.
    pub data: u64,
    /// Its data in memory.
    pub data_memory: u64,
    /// Payload, command line, RAM disk.
    pub payload: u64,
    /// `.sbat`, without the padding; 0 for none.
    pub sbat: u64,
    /// Where the firmware enters, from the stub's first byte.
    pub entry: u64,
}

struct EfiSection {
    name: &'static str,
    /// Bytes in memory and in the file.
    len: (u64, u64),
    flags: u32,
}

/// Writes the header into the boot sector of a setup, the first [`ROOM`] bytes of which are zero.
pub(super) fn write_header(out: &mut FieldWriter, layout: &EfiSizes) -> Result<(), FieldError> {
    let behind_headers = layout.setup.saturating_sub(SECTION_ALIGNMENT);
    let sections = [
        EfiSection { name: ".setup", len: (behind_headers, behind_headers), flags: INITIALIZED | READ | DISCARDABLE },
        EfiSection { name: ".text", len: (layout.code, layout.code), flags: CODE | EXECUTE | READ },
        EfiSection { name: ".data", len: (layout.data_memory, layout.data), flags: INITIALIZED | READ | WRITE },
        EfiSection { name: ".payload", len: (layout.payload, layout.payload), flags: INITIALIZED | READ },
        EfiSection {
            name: ".sbat",
            len: (layout.sbat, layout.sbat.next_multiple_of(FILE_ALIGNMENT)),
            flags: INITIALIZED | READ,
        },
    ];
    out.u16("MZ", 0, pe::E_MAGIC)?;
    out.u32("LINUX_PE_MAGIC", 0x38, LINUX_PE_MAGIC)?;
    out.narrow("e_lfanew", pe::E_LFANEW, PE_AT)?;

    let place = |field: &str| PE_AT + pe::offset_of(field);
    // COFF file header
    out.u32("PE signature", PE_AT, pe::SIGNATURE)?;
    out.u16("Machine", place("Machine"), MACHINE_AMD64)?;
    out.u16("SizeOfOptionalHeader", place("SizeOfOptionalHeader"), OPTIONAL_HEADER)?;
    out.u16("Characteristics", place("Characteristics"), CHARACTERISTICS)?;

    // Section table
    let mut at = PE_AT + OPTIONAL_AT + u64::from(OPTIONAL_HEADER);
    let (mut memory, mut file, mut count) = (SECTION_ALIGNMENT, SECTION_ALIGNMENT, 0);
    for section in sections.iter().filter(|section| section.len.0 != 0) {
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
    out.u16("Magic", place("Magic"), PE32_PLUS)?;
    out.u16("MajorLinkerVersion", place("MajorLinkerVersion"), 0x1402)?;
    out.narrow("SizeOfCode", place("SizeOfCode"), layout.code)?;
    out.narrow("SizeOfInitializedData", place("SizeOfInitializedData"), memory - SECTION_ALIGNMENT - layout.code)?;
    out.narrow("AddressOfEntryPoint", place("AddressOfEntryPoint"), layout.setup.saturating_add(layout.entry))?;
    out.narrow("BaseOfCode", place("BaseOfCode"), layout.setup)?;
    out.narrow("SectionAlignment", place("SectionAlignment"), SECTION_ALIGNMENT)?;
    out.narrow("FileAlignment", place("FileAlignment"), FILE_ALIGNMENT)?;
    out.u16("MajorImageVersion", place("MajorImageVersion"), EFISTUB_VERSION.0)?;
    out.u16("MinorImageVersion", place("MinorImageVersion"), EFISTUB_VERSION.1)?;
    out.narrow("SizeOfImage", place("SizeOfImage"), memory)?;
    out.narrow("SizeOfHeaders", place("SizeOfHeaders"), SECTION_ALIGNMENT)?;
    out.u16("Subsystem", place("Subsystem"), SUBSYSTEM_EFI_APPLICATION)?;
    out.u16("DllCharacteristics", place("DllCharacteristics"), NX_COMPAT)?;
    out.u16("NumberOfRvaAndSizes", place("NumberOfRvaAndSizes"), DIRECTORIES)?;
    Ok(())
}
