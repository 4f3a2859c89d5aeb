//! The PE/COFF header that makes a bzImage a program for UEFI firmware.
//!
//! ```text
//! file      setup | code | data, zeros |             payload and what follows | .sbat
//! memory    setup | code | data, zeros, all the rest | payload and what follows | .sbat
//! ```

use crate::bytes::{FieldError, FieldWriter};
pub(super) use crate::format::pe::write::FILE_ALIGNMENT;
use crate::format::pe::write::{
    CODE, DISCARDABLE, INITIALIZED, NewHeader, NewSection, SECTION_ALIGNMENT, write_header as write_pe,
};
use crate::format::pe::{MACHINE_AMD64, SECTION_EXECUTE as EXECUTE, SECTION_READ as READ, SECTION_WRITE as WRITE};

/// The boot sector up to the setup header's sentinel, which all of this has to fit into: five sections do.
pub(super) const ROOM: usize = 0x1ef;

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

/// Writes the header into the boot sector of a setup, the first [`ROOM`] bytes of which are zero.
pub(super) fn write_header(out: &mut FieldWriter, layout: &EfiSizes) -> Result<(), FieldError> {
    let behind_headers = layout.setup.saturating_sub(SECTION_ALIGNMENT);
    let section = |name, len, flags| NewSection { name, len, flags: INITIALIZED | READ | flags };
    let sections = [
        section(".setup", (behind_headers, behind_headers), DISCARDABLE),
        NewSection { name: ".text", len: (layout.code, layout.code), flags: CODE | EXECUTE | READ },
        section(".data", (layout.data_memory, layout.data), WRITE),
        section(".payload", (layout.payload, layout.payload), 0),
        section(".sbat", (layout.sbat, layout.sbat.next_multiple_of(FILE_ALIGNMENT)), 0),
    ];
    let entry = layout.setup.saturating_add(layout.entry);
    let code = (layout.setup, layout.code);
    write_pe(out, &NewHeader { machine: MACHINE_AMD64, entry, code, sections: &sections })
}
