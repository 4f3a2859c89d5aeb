//! The PE/COFF header that makes a bzImage a program for UEFI firmware.
//!
//! ```text
//! file      setup | code | data, zeros |             payload and what follows | .sbat
//! memory    setup | code | data, zeros, all the rest | payload and what follows | .sbat
//! ```

use crate::bytes::{FieldError, FieldWriter};
use crate::format::pe::write::{
    CODE, DISCARDABLE, INITIALIZED, NewHeader, NewSection, SECTION_ALIGNMENT, write_header as write_pe,
};
pub(super) use crate::format::pe::write::{FILE_ALIGNMENT, HEADER_MAX, PE_AT, SECTION_ALIGNMENT as PAGE};
use crate::format::pe::{
    MACHINE_AMD64, MACHINE_I386, SECTION_EXECUTE as EXECUTE, SECTION_READ as READ, SECTION_WRITE as WRITE,
};

/// The boot sector up to the setup header's sentinel, which all of this has to fit into: five sections do.
pub(super) const ROOM: usize = 0x1ef;

/// Bytes of the image, in the order of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct EfiSizes {
    /// For 64-bit firmware, else for 32-bit firmware.
    pub is_64: bool,
    /// The setup.
    pub setup: u64,
    /// The stub's code.
    pub code: u64,
    /// The stub's data in the file.
    pub data: u64,
    /// Its data in memory.
    pub data_memory: u64,
    /// Code and data of the program for 32-bit firmware, for which there is a section `.compat`, too.
    pub mixed: Option<[u64; 2]>,
    /// Payload, command line, RAM disk: what their section is called, and its bytes without the padding.
    pub payload: (&'static str, u64),
    /// `.sbat`, without the padding; 0 for none.
    pub sbat: u64,
    /// `.sdmagic`, by which systemd's tools know a stub's name; 0 for none.
    pub magic: u64,
    /// Where the firmware enters, from the stub's first byte.
    pub entry: u64,
}

/// The contents of `.compat`, where boot loaders of 32-bit firmware look for a way in: the machine and the entry point, counted
/// as `AddressOfEntryPoint` is (arch/x86/boot/header.S). `at`: the program's first byte, from the image's.
pub(super) fn compat(at: u64, entry: Option<u64>) -> Vec<u8> {
    const KIND: u8 = 1;
    const LEN: u8 = 8;
    let entry = u32::try_from(at.saturating_add(entry.unwrap_or(0))).unwrap_or(u32::MAX);
    let mut bytes = vec![KIND, LEN];
    bytes.extend(MACHINE_I386.to_le_bytes());
    bytes.extend(entry.to_le_bytes());
    // No entry follows.
    bytes.resize(crate::layout::usize_or_max(FILE_ALIGNMENT), 0);
    bytes
}

/// Writes the header into a setup at `pe_at`: into the boot sector, the first [`ROOM`] bytes of which are zero, or to the
/// setup's end.
pub(super) fn write_header(out: &mut FieldWriter, pe_at: u64, layout: &EfiSizes) -> Result<(), FieldError> {
    // All up to the end of the headers is no section's.
    let headers = if pe_at == PE_AT { SECTION_ALIGNMENT } else { layout.setup };
    let behind_headers = layout.setup.saturating_sub(headers);
    let [mixed_code, mixed_data] = layout.mixed.unwrap_or_default();
    let compat = if layout.mixed.is_some() { FILE_ALIGNMENT } else { 0 };
    let section = |name, len, flags| NewSection { name, len, flags: INITIALIZED | READ | flags };
    let code = |name, len| NewSection { name, len: (len, len), flags: CODE | EXECUTE | READ };
    let sections = [
        section(".setup", (behind_headers, behind_headers), DISCARDABLE),
        code(".text", layout.code),
        section(".data", (layout.data_memory, layout.data), WRITE),
        code(".text32", mixed_code),
        section(".data32", (mixed_data, mixed_data), WRITE),
        section(layout.payload.0, (layout.payload.1, layout.payload.1.next_multiple_of(FILE_ALIGNMENT)), 0),
        section(".compat", (compat, compat), DISCARDABLE),
        section(".sdmagic", (layout.magic, layout.magic.next_multiple_of(FILE_ALIGNMENT)), 0),
        section(".sbat", (layout.sbat, layout.sbat.next_multiple_of(FILE_ALIGNMENT)), 0),
    ];
    let entry = layout.setup.saturating_add(layout.entry);
    let machine = if layout.is_64 { MACHINE_AMD64 } else { MACHINE_I386 };
    let code = (layout.setup, layout.code);
    write_pe(out, &NewHeader { at: pe_at, headers, machine, entry, code, sections: &sections })
}
