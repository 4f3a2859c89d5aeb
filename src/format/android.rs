//! Android boot image, header versions 0 to 4: read only.
//!
//! Source: <https://source.android.com/docs/core/architecture/bootloader/boot-image-header>.

use crate::bytes::{Cursor, FieldError, Problem, len64, slice};
use std::ops::Range;

/// The first eight bytes.
pub const MAGIC: &[u8] = b"ANDROID!";
/// Versions 3 and 4 have no page size of their own.
const PAGE_3: u64 = 4096;
/// Where every version has its number: in versions 0 to 2 the field after the reserved word.
const VERSION_AT: u64 = 40;
/// Page sizes that boot loaders know.
const PAGES: Range<u64> = 2048..(64 << 10) + 1;

/// A part of a boot image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// `kernel`, `ramdisk`, `second`, `recovery_dtbo`, `dtb`, `signature`.
    pub name: &'static str,
    /// File offsets.
    pub at: Range<u64>,
    /// The field of its size, and where it stands.
    pub field: (&'static str, u64),
    /// Physical load address, in versions 0 to 2.
    pub address: Option<u64>,
}

/// A boot image.
#[derive(Debug, Clone)]
pub struct BootImage<'a> {
    /// `header_version`.
    pub version: u32,
    /// Bytes in a page: each section begins at a multiple of it.
    pub page_size: u64,
    /// `os_version`: version of the system and of its security patches.
    pub os_version: u32,
    /// Name of the product, in versions 0 to 2.
    pub name: &'a [u8],
    /// Where the command line stands, and what it is. Versions 0 to 2 may go on in `extra_cmdline`.
    pub cmdline: (u64, &'a [u8]),
    /// The rest of the command line, in versions 0 to 2.
    pub extra_cmdline: (u64, &'a [u8]),
    /// `tags_addr`: where the device tree goes, in versions 0 to 2.
    pub tags_address: Option<u32>,
    /// SHA-1 or such of the contents, in versions 0 to 2.
    pub id: &'a [u8],
    /// The sections that have contents, in file order.
    pub sections: Vec<Section>,
}

impl<'a> BootImage<'a> {
    /// True when `bytes` begin with the magic number.
    pub fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads the header and lays out the sections.
    ///
    /// # Errors
    /// A [`FieldError`] for an unknown version, a page size that is none, and a section that leads out of the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let cursor = Cursor::little(bytes);
        if !Self::detect(bytes) {
            let found = cursor.u64("magic", 0)?;
            return Err(FieldError::new("magic", 0, Problem::Magic { found, want: u64::from_le_bytes(*b"ANDROID!") }));
        }
        match cursor.u32("header_version", VERSION_AT)? {
            version @ 0..=2 => Self::parse_old(bytes, &cursor, version),
            version @ 3..=4 => Self::parse_new(bytes, &cursor, version),
            // Before there were versions, this word was the size of an appended device tree, by some vendors.
            _ => Self::parse_old(bytes, &cursor, 0),
        }
    }

    fn parse_old(bytes: &'a [u8], cursor: &Cursor<'a>, version: u32) -> Result<Self, FieldError> {
        let page_size = u64::from(cursor.u32("page_size", 36)?);
        if !PAGES.contains(&page_size) || !page_size.is_power_of_two() {
            let problem = Problem::OutOfRange { value: page_size, min: PAGES.start, max: PAGES.end - 1 };
            return Err(FieldError::new("page_size", 36, problem).with_help("a page size is a power of two"));
        }
        let mut fields = vec![
            ("kernel", "kernel_size", 8, Some(u64::from(cursor.u32("kernel_addr", 12)?))),
            ("ramdisk", "ramdisk_size", 16, Some(u64::from(cursor.u32("ramdisk_addr", 20)?))),
            ("second", "second_size", 24, Some(u64::from(cursor.u32("second_addr", 28)?))),
        ];
        if version >= 1 {
            fields.push(("recovery_dtbo", "recovery_dtbo_size", 1632, None));
        }
        if version >= 2 {
            fields.push(("dtb", "dtb_size", 1648, Some(cursor.u64("dtb_addr", 1652)?)));
        }
        let text = |at, len| Ok::<_, FieldError>((at, until_zero(cursor.take("cmdline", at, len)?)));
        Ok(BootImage {
            version,
            page_size,
            os_version: cursor.u32("os_version", 44)?,
            name: until_zero(cursor.take("name", 48, 16)?),
            cmdline: text(64, 512)?,
            extra_cmdline: text(608, 1024)?,
            tags_address: Some(cursor.u32("tags_addr", 32)?),
            id: cursor.take("id", 576, 32)?,
            sections: sections(bytes, cursor, &fields, page_size)?,
        })
    }

    fn parse_new(bytes: &'a [u8], cursor: &Cursor<'a>, version: u32) -> Result<Self, FieldError> {
        let mut fields = vec![("kernel", "kernel_size", 8, None), ("ramdisk", "ramdisk_size", 12, None)];
        if version >= 4 {
            fields.push(("signature", "signature_size", 1580, None));
        }
        Ok(BootImage {
            version,
            page_size: PAGE_3,
            os_version: cursor.u32("os_version", 16)?,
            name: &[],
            cmdline: (44, until_zero(cursor.take("cmdline", 44, 1536)?)),
            extra_cmdline: (0, &[]),
            tags_address: None,
            id: &[],
            sections: sections(bytes, cursor, &fields, PAGE_3)?,
        })
    }
}

type SizeField = (&'static str, &'static str, u64, Option<u64>);

/// Each section begins at a multiple of the page size, the first behind the header's page.
fn sections(bytes: &[u8], cursor: &Cursor<'_>, fields: &[SizeField], page: u64) -> Result<Vec<Section>, FieldError> {
    let mut sections = Vec::new();
    let mut at = page;
    for (name, field, field_at, address) in fields {
        let len = u64::from(cursor.u32(field, *field_at)?);
        if len == 0 {
            continue;
        }
        if slice(bytes, at, len).is_none() {
            let problem = Problem::Truncated { need: at.saturating_add(len), have: len64(bytes) };
            return Err(FieldError::new(*field, *field_at, problem).with_help("the image is cut off: copy it again"));
        }
        sections.push(Section { name, at: at..at + len, field: (field, *field_at), address: *address });
        at = (at + len).next_multiple_of(page);
    }
    Ok(sections)
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}
