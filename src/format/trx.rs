//! TRX, the firmware container of Broadcom's routers: a header with a CRC-32 and the offsets of up to four partitions.
//!
//! Source: Linux drivers/mtd/parsers/parser_trx.c (`struct trx_header`, 6.1) and OpenWrt's trx tool.

use crate::bytes::{Cursor, Field, FieldError, len64, slice};
use crate::finding::{Checks, Hex, rules};
use std::ops::Range;

const MAGIC: &[u8] = b"HDR0";
/// Where the bytes of the checksum begin: at the flags.
const CRC_FROM: u64 = 12;
const CRC_AT: u64 = 8;
const VERSION_AT: u64 = 14;
/// Fields of the header.
pub(crate) const FIELDS: &[Field] = &[Field::new("crc32", CRC_AT, 4), Field::new("header_version", VERSION_AT, 2)];

rules! {
    /// What is looked at in the header.
    pub(crate) RULES:
    CRC = "trx.crc32", Error, "crc32",
        "the boot loader refuses the firmware",
        "copy the file again, whole, or have the sum made again (OpenWrt: otrx, trx)";
}

/// A TRX file. All integers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trx {
    /// Version of the header: 1 has three offsets, 2 has four.
    pub version: u16,
    /// `crc32`: the CRC-32 of the bytes from the flags to the end, not inverted at the end.
    pub crc32: u32,
    /// The same, computed.
    pub computed: u32,
    /// Bytes of the header.
    pub header_len: u64,
    /// File offset of the end.
    pub end: u64,
    /// File offsets of the partitions.
    pub partitions: Vec<Range<u64>>,
}

impl Trx {
    /// True when `bytes` begin with the magic number.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] for an unknown version, a length that leads out of the file, and offsets that do not rise.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Trx, FieldError> {
        let cursor = Cursor::little(bytes);
        let end = u64::from(cursor.u32("length", 4)?);
        let crc32 = cursor.u32("crc32", CRC_AT)?;
        let version = cursor.u16("version", VERSION_AT)?;
        let count = match version {
            1 => 3,
            2 => 4,
            _ => {
                return Err(FieldError::unknown("version", VERSION_AT, version, "version 1 or 2"));
            }
        };
        let header_len = 16 + 4 * count;
        FieldError::within("length", 4, end, header_len..=len64(bytes))?;
        let mut starts = Vec::new();
        for at in (16..header_len).step_by(4) {
            let start = u64::from(cursor.u32("partition offset", at)?);
            let least = starts.last().copied().unwrap_or(header_len);
            // Those that are not used are zero.
            if start != 0 {
                starts.push(FieldError::within("partition offset", at, start, least..=end)?);
            }
        }
        let ends = starts.iter().skip(1).copied().chain([end]);
        let partitions = starts.iter().copied().zip(ends).map(|(start, end)| start..end);
        let partitions = partitions.filter(|at| !at.is_empty()).collect();
        let computed = !crc32fast::hash(slice(bytes, CRC_FROM, end - CRC_FROM).unwrap_or(&[]));
        Ok(Trx { version, crc32, computed, header_len, end, partitions })
    }

    /// Holds the checksum to the bytes.
    pub(crate) fn check(&self) -> Checks {
        let mut checks = Checks::default();
        let (found, wanted) = (Hex(self.crc32.into()), Hex(self.computed.into()));
        checks.expect(&CRC, CRC_AT, found == wanted, found, wanted);
        checks
    }
}
