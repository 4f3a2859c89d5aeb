//! The program of an addon or a profile: firmware loads it for its sections, and nobody starts it.
//!
//! Source: systemd-stub(7), and systemd's own (src/boot/addon.c): a program that gives an error back.

use crate::bytes::{FieldError, FieldWriter};
use crate::format::pe::write::{CODE, FILE_ALIGNMENT, NewHeader, NewSection, PE_AT, SECTION_ALIGNMENT, write_header};
use crate::format::pe::{MACHINE_AMD64, SECTION_EXECUTE, SECTION_READ};
use crate::layout::usize_or_max;

/// Who starts it all the same gets `EFI_UNSUPPORTED`, by `mov rax, 0x8000000000000003` and `ret`.
const RETURNS: [u8; 11] = [0x48, 0xb8, 3, 0, 0, 0, 0, 0, 0, 0x80, 0xc3];

/// Such a program for x86-64, the CPU of kimage's own boot stub.
///
/// # Errors
/// [`FieldError`] never: all its numbers are small.
pub(crate) fn program() -> Result<Vec<u8>, FieldError> {
    let mut out = FieldWriter::new(vec![0; usize_or_max(SECTION_ALIGNMENT)]);
    let flags = CODE | SECTION_EXECUTE | SECTION_READ;
    let sections = [NewSection { name: ".text", len: (FILE_ALIGNMENT, FILE_ALIGNMENT), flags }];
    write_header(
        &mut out,
        &NewHeader {
            at: PE_AT,
            headers: SECTION_ALIGNMENT,
            machine: MACHINE_AMD64,
            entry: SECTION_ALIGNMENT,
            code: (SECTION_ALIGNMENT, FILE_ALIGNMENT),
            sections: &sections,
        },
    )?;
    let (mut file, _) = out.finish();
    file.extend(RETURNS);
    file.resize(usize_or_max(SECTION_ALIGNMENT + FILE_ALIGNMENT), 0);
    Ok(file)
}
