//! Tables of device trees for Android kernels: Qualcomm's `QCDT`, Samsung's `DTBH`, and AOSP's own, the `dtbo` partition.
//!
//! Sources: dtbTool of Code Aurora (`dtbtool.c`, versions 1 to 3 of QCDT), Samsung's dtbhtool (`dtbh_header`, `dtbh_entry`),
//! AOSP's system/libufdt (`dt_table.h`, versions 0 and 1).

use crate::bytes::{Cursor, Endian, Field, FieldError, len64};
use std::ops::Range;

const QCDT: &[u8] = b"QCDT";
const DTBH: &[u8] = b"DTBH";
/// Big-endian, as all of this table is.
const DTBO: &[u8] = &0xd7b7_ab1e_u32.to_be_bytes();
/// Boards with more than some hundred trees are unknown.
const MAX_ENTRIES: u64 = 4096;

/// Fields of the header.
pub(crate) const FIELDS: &[Field] = &[Field::new("entries", 8, 4)];
/// And of AOSP's.
pub(crate) const ANDROID_FIELDS: &[Field] = &[Field::new("entries", 16, 4)];

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vendor {
    /// Qualcomm: `QCDT`.
    Qualcomm,
    /// Samsung: `DTBH`.
    Samsung,
    /// AOSP: device trees or overlays (`mkdtboimg`).
    Android,
}

impl Vendor {
    /// The magic number as text.
    pub(crate) fn magic(self) -> &'static str {
        match self {
            Vendor::Qualcomm => "QCDT",
            Vendor::Samsung => "DTBH",
            Vendor::Android => "Android DTBO",
        }
    }
}

/// One board's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Names and values of what the boot loader chooses by.
    pub ids: Vec<(&'static str, u32)>,
    /// File offsets of the tree with its padding; several entries may have the same.
    pub at: Range<u64>,
}

/// A table of device trees. All integers are little-endian, but for AOSP's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DtTable {
    /// Whose it is.
    pub vendor: Vendor,
    /// Version of the table.
    pub version: u32,
    /// Where the table ends.
    pub header_end: u64,
    /// The entries, in table order.
    pub entries: Vec<Entry>,
}

impl DtTable {
    /// True when `bytes` begin with one of the magic numbers.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        [QCDT, DTBH, DTBO].iter().any(|magic| bytes.starts_with(magic))
    }

    fn parse_android(bytes: &[u8]) -> Result<DtTable, FieldError> {
        /// `struct dt_table_header`, and the least of `struct dt_table_entry`.
        const HEADER: u64 = 32;
        const ENTRY: u64 = 32;
        let cursor = Cursor::new(bytes, Endian::Big);
        let word = |field: &'static str, at| cursor.u32(field, at).map(u64::from);
        let version = cursor.u32("version", 28)?;
        if version > 1 {
            return Err(FieldError::unknown("version", 28, version, "a version of this table that is known: 0 or 1"));
        }
        let total = FieldError::within("total_size", 4, word("total_size", 4)?, HEADER..=len64(bytes))?;
        let len = FieldError::within("dt_entry_size", 12, word("dt_entry_size", 12)?, ENTRY..=total)?;
        let count = FieldError::within("dt_entry_count", 16, word("dt_entry_count", 16)?, 0..=MAX_ENTRIES)?;
        let start = FieldError::within("dt_entries_offset", 20, word("dt_entries_offset", 20)?, HEADER..=total)?;
        let mut entries = Vec::new();
        for at in (0..count).map(|index| start + len * index) {
            let names = ["id", "rev", "custom0", "custom1", "custom2", "custom3"];
            let ids = names.into_iter().zip((at + 8..).step_by(4)).map(|(name, at)| Ok((name, cursor.u32(name, at)?)));
            let ids = ids.collect::<Result<_, FieldError>>()?;
            let (size, offset) = (word("dt_size", at)?, word("dt_offset", at + 4)?);
            cursor.take("device tree", offset, size)?;
            entries.push(Entry { ids, at: offset..offset + size });
        }
        Ok(DtTable { vendor: Vendor::Android, version, header_end: start + len * count, entries })
    }

    /// Reads the table.
    ///
    /// # Errors
    /// A [`FieldError`] for an unknown version, for more entries than boards have, and for a tree that leads out of the file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<DtTable, FieldError> {
        if bytes.starts_with(DTBO) {
            return Self::parse_android(bytes);
        }
        let cursor = Cursor::little(bytes);
        let vendor = if bytes.starts_with(DTBH) { Vendor::Samsung } else { Vendor::Qualcomm };
        let version = cursor.u32("version", 4)?;
        let count = cursor.u32("number of entries", 8)?;
        let count = FieldError::within("number of entries", 8, count, 0..=MAX_ENTRIES)?;
        let (names, has_tail): (&[&'static str], bool) = match (vendor, version) {
            (Vendor::Qualcomm, 1) => (&["platform_id", "variant_id", "soc_rev"], false),
            (Vendor::Qualcomm, 2) => (&["platform_id", "variant_id", "subtype", "soc_rev"], false),
            (Vendor::Qualcomm, 3) => {
                (&["platform_id", "variant_id", "subtype", "soc_rev", "pmic0", "pmic1", "pmic2", "pmic3"], false)
            }
            (Vendor::Samsung, 2) => (&["chip_id", "platform_id", "subtype", "hw_rev", "hw_rev_end"], true),
            _ => {
                let want = "a version of this table that is known: QCDT 1 to 3, DTBH 2";
                return Err(FieldError::unknown("version", 4, version, want));
            }
        };
        let mut entries = Vec::new();
        let mut at = 12;
        for _ in 0..count {
            let mut ids = Vec::with_capacity(names.len());
            for name in names {
                ids.push((*name, cursor.u32(name, at)?));
                at += 4;
            }
            let start = u64::from(cursor.u32("offset", at)?);
            let size = u64::from(cursor.u32("size", at + 4)?);
            cursor.take("device tree", start, size)?;
            // `space`, a word whose meaning is not known.
            at += if has_tail { 12 } else { 8 };
            entries.push(Entry { ids, at: start..start + size });
        }
        let first = entries.iter().map(|entry| entry.at.start).min().unwrap_or(len64(bytes));
        FieldError::within("offset", 12, first, at..=len64(bytes))?;
        Ok(DtTable { vendor, version, header_end: at, entries })
    }

    /// The trees in file order, each once.
    ///
    /// # Errors
    /// A [`FieldError`] when two of them overlap without being the same.
    pub(crate) fn trees(&self) -> Result<Vec<Range<u64>>, FieldError> {
        let mut trees: Vec<Range<u64>> = self.entries.iter().map(|entry| entry.at.clone()).collect();
        trees.sort_by_key(|at| (at.start, at.end));
        trees.dedup();
        for pair in trees.windows(2) {
            if let [one, next] = pair {
                FieldError::within("offset", 12, next.start, one.end..=u64::MAX)?;
            }
        }
        Ok(trees)
    }
}
