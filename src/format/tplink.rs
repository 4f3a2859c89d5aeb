//! TP-Link's firmware header, version 1: 512 bytes in front of a kernel and a file system.
//!
//! Source: OpenWrt firmware-utils, src/mktplinkfw.c (`struct fw_header`).

use crate::bytes::{Cursor, Endian, FieldError, Problem, len64, slice};
use std::ops::Range;

/// Bytes of the header, and the version in its first word.
const HEADER: u64 = 512;
const VERSION: u32 = 0x0100_0000;

/// A firmware file. All integers are big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpLink<'a> {
    /// `vendor_name` and `fw_version`, without the NULs.
    pub vendor: &'a [u8],
    /// The firmware's version.
    pub version: &'a [u8],
    /// `hw_id` and `hw_rev`.
    pub hardware: (u32, u32),
    /// `kernel_la` and `kernel_ep`: where the kernel is loaded and entered.
    pub load: u32,
    /// The entry point.
    pub entry: u32,
    /// File offsets of the kernel.
    pub kernel: Range<u64>,
}

impl<'a> TpLink<'a> {
    /// Is this the header? It has no magic number: the version, a vendor's name in ASCII, and a kernel inside the file, behind
    /// the header, must agree.
    pub fn detect(bytes: &[u8]) -> bool {
        TpLink::parse(bytes).is_ok()
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] for another version, a vendor's name that is no text, and a kernel that leads out of the file.
    pub fn parse(bytes: &'a [u8]) -> Result<TpLink<'a>, FieldError> {
        let cursor = Cursor::new(bytes, Endian::Big);
        let version = cursor.u32("version", 0)?;
        if version != VERSION {
            return Err(FieldError::new("version", 0, Problem::Magic { found: version.into(), want: VERSION.into() }));
        }
        let vendor = text(bytes, 4, 24);
        if vendor.is_empty() || !vendor.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            let problem = Problem::Unknown { found: vendor.first().copied().unwrap_or(0).into(), want: "a name" };
            return Err(FieldError::new("vendor_name", 4, problem));
        }
        let start = u64::from(cursor.u32("kernel_ofs", 0x80)?);
        let len = u64::from(cursor.u32("kernel_len", 0x84)?);
        let room = len64(bytes).saturating_sub(start);
        if start < HEADER || len == 0 || len > room {
            let problem = Problem::OutOfRange { value: len, min: 1, max: room };
            return Err(FieldError::new("kernel_len", 0x84, problem));
        }
        Ok(TpLink {
            vendor,
            version: text(bytes, 0x1c, 36),
            hardware: (cursor.u32("hw_id", 0x40)?, cursor.u32("hw_rev", 0x44)?),
            load: cursor.u32("kernel_la", 0x74)?,
            entry: cursor.u32("kernel_ep", 0x78)?,
            kernel: start..start + len,
        })
    }
}

fn text(bytes: &[u8], at: u64, len: u64) -> &[u8] {
    let text = slice(bytes, at, len).unwrap_or(&[]);
    text.split(|byte| *byte == 0).next().unwrap_or(text)
}
