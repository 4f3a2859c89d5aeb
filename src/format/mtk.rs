//! MediaTek's header of 512 bytes in front of kernel and RAM disk, inside a boot.img or alone.
//!
//! Source: MediaTek's `mkimage` of its Android trees (`mtk_header`), and U-Boot's tools/mtk_image.h (`union gfh`'s neighbour
//! `lk_hdr`, v2023.01: magic, size, name).

use crate::bytes::{Cursor, Field, FieldError, Problem, len64, slice};
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
        let found = cursor.u32("magic", 0)?;
        if found != MAGIC {
            return Err(FieldError::new("magic", 0, Problem::Magic { found: found.into(), want: MAGIC.into() }));
        }
        let size = u64::from(cursor.u32("size", 4)?);
        let name = slice(bytes, 8, 32).unwrap_or(&[]);
        let name = name.split(|byte| *byte == 0).next().unwrap_or(name);
        let end = HEADER + size;
        if end > len64(bytes) {
            return Err(FieldError::new("size", 4, Problem::Truncated { need: end, have: len64(bytes) }));
        }
        Ok(MtkImage { name, contents: HEADER..end })
    }

    /// Does the name say that it is a RAM disk?
    pub(crate) fn is_ramdisk(&self) -> bool {
        self.name == b"ROOTFS" || self.name == b"RECOVERY"
    }
}
