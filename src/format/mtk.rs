//! MediaTek's header of 512 bytes in front of kernel and RAM disk, inside a boot.img or alone.
//!
//! Source: MediaTek's `mkimage` of its Android trees (`mtk_header`), and U-Boot's tools/mtk_image.h (`union gfh`'s neighbour
//! `lk_hdr`, v2023.01: magic, size, name).

use crate::bytes::{Cursor, Field, FieldError, len64, slice, until_zero};
use std::ops::Range;

/// The magic number, little-endian.
const MAGIC: u32 = 0x5888_1688;
/// Bytes of the header; what is not used is 0xff.
const HEADER: u64 = 512;
/// Its fields.
pub(crate) const FIELDS: &[Field] = &[Field::new("size", 4, 4), Field::new("name", 8, 32)];

/// A header and its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MtkImage<'a> {
    /// `KERNEL`, `ROOTFS`, `RECOVERY` …, without the NULs.
    pub name: &'a [u8],
    /// File offsets of the contents.
    pub contents: Range<u64>,
}

impl<'a> MtkImage<'a> {
    /// True when `bytes` begin with the magic number.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC.to_le_bytes())
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] for another magic number, and for a size that leads out of the file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<MtkImage<'a>, FieldError> {
        let cursor = Cursor::little(bytes);
        cursor.magic("magic", 0, MAGIC)?;
        let size = u64::from(cursor.u32("size", 4)?);
        let name = slice(bytes, 8, 32).unwrap_or(&[]);
        let name = until_zero(name);
        let end = HEADER + size;
        if end > len64(bytes) {
            return Err(FieldError::truncated("size", 4, end, len64(bytes)));
        }
        Ok(MtkImage { name, contents: HEADER..end })
    }

    /// Does the name say that it is a RAM disk?
    pub(crate) fn is_ramdisk(&self) -> bool {
        self.name == b"ROOTFS" || self.name == b"RECOVERY"
    }
}
