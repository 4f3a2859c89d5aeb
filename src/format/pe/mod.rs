//! PE/COFF: the EFI side of a bzImage and of other kernels.
//!
//! [`PeHeader`] has what the bzImage builder fills in; [`Pe`] is the whole view. Offsets are those of the PE
//! specification 8.3 ("COFF File Header", "Optional Header", "Section Table").

mod check;
mod file;

pub use check::RULES;
pub use file::{
    Certificate, MACHINE_AMD64, NX_COMPAT, NoDigest, Pe, SECTION_EXECUTE, SECTION_READ, SECTION_WRITE, Section,
    machine_name,
};

use crate::bytes::{Cursor, FieldError, Problem};

/// Offset in the MS-DOS header of the offset of the PE header (`e_lfanew`).
pub const E_LFANEW: u64 = 0x3c;

/// A section header, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeSection {
    /// File offset of the section header.
    pub at: u64,
    /// Name, padded with zeros.
    pub name: [u8; 8],
}

impl PeSection {
    /// Is this the section of that name?
    pub fn is(&self, name: &str) -> bool {
        let len = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        self.name.get(..len) == Some(name.as_bytes())
    }
}

/// The PE header of an image that begins with `MZ`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeHeader {
    /// File offset of the `PE\0\0` signature.
    pub at: u64,
    /// Section headers, in table order.
    pub sections: Vec<PeSection>,
}

impl PeHeader {
    /// Reads the header; `None` when `bytes` do not begin with `MZ`.
    ///
    /// # Errors
    /// A [`FieldError`] when `e_lfanew` leads nowhere or the section table is cut off.
    pub fn parse(bytes: &[u8]) -> Result<Option<PeHeader>, FieldError> {
        if !bytes.starts_with(b"MZ") {
            return Ok(None);
        }
        let cursor = Cursor::little(bytes);
        let at = u64::from(cursor.u32("e_lfanew", E_LFANEW)?);
        let signature = cursor.u32("PE signature", at)?;
        if signature != 0x4550 {
            return Err(FieldError::new("PE signature", at, Problem::Magic { found: signature.into(), want: 0x4550 }));
        }
        let count = u64::from(cursor.u16("NumberOfSections", at + 6)?);
        let table = at + 24 + u64::from(cursor.u16("SizeOfOptionalHeader", at + 20)?);
        let mut sections = Vec::new();
        for at in (0..count).map(|index| table + 40 * index) {
            let raw = cursor.take("section header", at, 40)?;
            let mut name = [0; 8];
            name.copy_from_slice(raw.get(..8).unwrap_or(&[0; 8]));
            sections.push(PeSection { at, name });
        }
        Ok(Some(PeHeader { at, sections }))
    }

    /// The section of that name.
    pub fn section(&self, name: &str) -> Option<&PeSection> {
        self.sections.iter().find(|section| section.is(name))
    }
}
