//! Flattened device tree (DTB), the container of device trees and of FITs.
//!
//! * [`Dtb`] is the blob by its header, for those who only carry it about; [`Dtb::tree`] reads what is in it.
//! * [`Tree`] is the blob with every token checked: names and values are those of the blob, nothing is copied.
//! * [`Node`] is a tree in the making ("live tree", as dtc calls it), and [`Flat`] lays it out as dtc and libfdt do.
//!
//! Versions 1 to 3 (firmware and kexec-tools of old), 16 and 17 are read, 17 is written. Blocks may stand in any order, with
//! anything between and behind them: libfdt leaves old bytes in free space, which nobody reads.
//!
//! Source: Devicetree Specification 0.4, chapter 5; dtc 1.6 (flattree.c) for the order of the blocks and strings.

mod behind;
mod check;
mod included;
mod live;
mod place;
mod read;
mod write;

pub use behind::Behind;
pub(crate) use check::RULES;
pub use live::{Node, Property};
pub(crate) use place::InPlace;
pub use read::{MAX_DEPTH, NodeRef, PropertyRef, Tree};

pub use write::{Error, Flat, Reservation, Strings};
pub(crate) use write::{PROPERTY_HEADER, property_len};

use crate::bytes::{Cursor, Endian, FieldError, count64, len64, record, slice};
use crate::layout::{Region, RegionKind};
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `0xd00dfeed`, big-endian.
pub(crate) const FDT_MAGIC: u32 = 0xd00d_feed;

/// Tokens of the structure block.
mod token {
    pub(super) const BEGIN_NODE: u32 = 1;
    pub(super) const END_NODE: u32 = 2;
    pub(super) const PROP: u32 = 3;
    pub(super) const NOP: u32 = 4;
    pub(super) const END: u32 = 9;
}

/// The version that is written, and the newest that is read.
const VERSION: u32 = 17;
/// The oldest version that a version 17 blob can be read as; older ones have whole paths as names of nodes.
const COMPATIBLE: u32 = 16;
const HEADER_LEN: u64 = 40;
/// An entry of the memory reservation block: address and size.
const RESERVATION_LEN: u64 = 16;
/// More reservations than any board has, by far.
const MAX_RESERVATIONS: usize = 1 << 16;

const HELP: &str = "give a device tree blob (.dtb) as dtc writes it";

record! {
    /// `struct fdt_header`, version 17.
    #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    struct RawHeader,
    /// The fields of the header.
    FIELDS, at 0 => {
        magic: U32, 1;
        totalsize: U32, 1;
        off_dt_struct: U32, 1;
        off_dt_strings: U32, 1;
        off_mem_rsvmap: U32, 1;
        version: U32, 1;
        last_comp_version: U32, 1;
        boot_cpuid_phys: U32, 2;
        size_dt_strings: U32, 3;
        size_dt_struct: U32, 17;
    }
}

/// Versions that there are, or may come: there never was one between 3 and 16.
fn is_known(version: u32) -> bool {
    matches!(version, 1..=3) || version >= COMPATIBLE
}

/// Version 2 added `boot_cpuid_phys`, 3 `size_dt_strings`, 17 `size_dt_struct`.
fn header_len(version: u32) -> u64 {
    match version {
        ..=1 => 28,
        2 => 32,
        3..=16 => 36,
        _ => HEADER_LEN,
    }
}

/// A device tree blob whose header holds together.
#[derive(Debug, Clone, Copy)]
pub struct Dtb<'a> {
    bytes: &'a [u8],
    base: u64,
    header: RawHeader,
    /// The structure block; before version 17 all up to the end, since the header does not say how long it is.
    structure: (u64, u64),
    /// The strings block; before version 3 all up to the next block or the end.
    strings: (u64, u64),
}

impl<'a> Dtb<'a> {
    /// True when `bytes` begin with the magic number.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(&FDT_MAGIC.to_be_bytes())
    }

    /// Reads the header of the blob that begins `bytes`; more bytes may follow it.
    ///
    /// `base` is the file offset of `bytes`, for errors.
    ///
    /// # Errors
    /// A [`FieldError`] when the magic number is wrong, the version is none of 1 to 3, 16 and 17 (nor a newer one
    /// that can be read as 17), `totalsize` promises more than there is, or a block lies outside of it or in another block.
    pub fn parse_at(bytes: &'a [u8], base: u64) -> Result<Self, FieldError> {
        let place = |at: u64| base.saturating_add(at);
        let have = len64(bytes);
        let Ok((header, _)) = RawHeader::read_from_prefix(bytes) else {
            return Err(FieldError::truncated("fdt_header", base, HEADER_LEN, have).with_help(HELP));
        };
        if header.magic.get() != FDT_MAGIC {
            return Err(FieldError::magic("magic", base, header.magic.get(), FDT_MAGIC).with_help(HELP));
        }
        let total = u64::from(header.totalsize.get());
        let cut = |need| FieldError::truncated("totalsize", place(4), need, have).with_help(HELP);
        let bytes = slice(bytes, 0, total).ok_or_else(|| cut(total))?;
        let (version, compatible) = (header.version.get(), header.last_comp_version.get());
        if !is_known(version) {
            return Err(FieldError::unknown("version", place(20), version, "1, 2, 3, 16 or 17").with_help(HELP));
        }
        let within = |field, at, value: u64, allowed| {
            FieldError::within(field, place(at), value, allowed).map_err(|error| error.with_help(HELP))
        };
        if compatible > VERSION {
            within("last_comp_version", 24, compatible.into(), 1..=VERSION.into())?;
        }
        let header_len = header_len(version);
        within("totalsize", 4, total, header_len..=have)?;
        let start = u64::from(header.off_dt_struct.get());
        let structure = match version {
            ..VERSION => (start, total.saturating_sub(start)),
            _ => (start, u64::from(header.size_dt_struct.get())),
        };
        let strings_at = u64::from(header.off_dt_strings.get());
        let strings = match version {
            ..3 => {
                let blocks = [start, u64::from(header.off_mem_rsvmap.get()), total];
                let end = blocks.into_iter().filter(|at| *at > strings_at).min().unwrap_or(strings_at);
                (strings_at, end - strings_at)
            }
            _ => (strings_at, u64::from(header.size_dt_strings.get())),
        };
        for (field, at, (start, len)) in [
            ("off_dt_struct", 8, structure),
            ("off_dt_strings", 12, strings),
            // The reserve map ends itself with an entry of 16 zero bytes.
            ("off_mem_rsvmap", 16, (u64::from(header.off_mem_rsvmap.get()), RESERVATION_LEN)),
        ] {
            if start < header_len {
                return Err(FieldError::range(field, place(at), start, header_len..=total).with_help(HELP));
            }
            if start + len > total {
                return Err(FieldError::truncated(field, place(at), start + len, total).with_help(HELP));
            }
        }
        if start % 4 != 0 {
            return Err(FieldError::unknown("off_dt_struct", place(8), start, "a multiple of 4").with_help(HELP));
        }
        let overlap = structure.0 < strings.0 + strings.1 && strings.0 < structure.0 + structure.1;
        if version >= VERSION && overlap {
            let want = "a place outside of the structure block";
            return Err(FieldError::unknown("off_dt_strings", place(12), strings.0, want).with_help(HELP));
        }
        Ok(Dtb { bytes, base, header, structure, strings })
    }

    /// The blob, `totalsize` bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The version by which it was written.
    pub fn version(&self) -> u32 {
        self.header.version.get()
    }

    /// `boot_cpuid_phys`: the `reg` of the CPU that boots; 0 in version 1, which does not say it.
    pub fn boot_cpu(&self) -> u32 {
        if self.version() == 1 { 0 } else { self.header.boot_cpuid_phys.get() }
    }

    /// `last_comp_version`: the oldest version whose readers can read it.
    pub(crate) fn compatible(&self) -> u32 {
        self.header.last_comp_version.get()
    }

    /// The strings block.
    pub(crate) fn names(&self) -> &'a [u8] {
        slice(self.bytes, self.strings.0, self.strings.1).unwrap_or(&[])
    }

    /// Reads the tree, and checks every token of it.
    ///
    /// # Errors
    /// A [`FieldError`] at the token that is not what it should be.
    pub fn tree(&self) -> Result<Tree<'a>, FieldError> {
        Tree::read(self)
    }

    /// The memory that the boot program must leave alone, without the entry of zeros that ends the list.
    ///
    /// # Errors
    /// A [`FieldError`] when the list has no end, or far more entries than a board can have.
    pub fn reservations(&self) -> Result<Vec<Reservation>, FieldError> {
        let cursor = Cursor::new(self.bytes, Endian::Big);
        let start = u64::from(self.header.off_mem_rsvmap.get());
        let mut found = Vec::new();
        let mut at = start;
        loop {
            let read = |at, field| cursor.u64(field, at).map_err(|error| self.outer(error));
            let entry =
                Reservation { address: read(at, "mem_rsvmap.address")?, size: read(at + 8, "mem_rsvmap.size")? };
            if entry == (Reservation { address: 0, size: 0 }) {
                return Ok(found);
            }
            if found.len() == MAX_RESERVATIONS {
                let max = MAX_RESERVATIONS as u64;
                return Err(FieldError::range("mem_rsvmap", self.base + at, max + 1, 0..=max).with_help(HELP));
            }
            found.push(entry);
            at += RESERVATION_LEN;
        }
    }

    /// The header and the blocks that the header names, in the order of the blob, offsets counted from its start. Blocks
    /// without a byte are left out; others may overlap in a blob that is damaged.
    ///
    /// # Errors
    /// As [`Dtb::reservations`], whose list has no length but its end.
    pub fn blocks(&self) -> Result<Vec<Region>, FieldError> {
        let entries = count64(self.reservations()?.len()) + 1;
        let reserve = u64::from(self.header.off_mem_rsvmap.get());
        let ((start, len), (strings, strings_len)) = (self.structure, self.strings);
        let structure_end = match self.version() {
            VERSION.. => start + len,
            // The last token ends the block; without it, what follows does.
            _ => Tree::end(self).unwrap_or(if strings >= start { strings } else { start + len }),
        };
        let mut blocks = vec![
            Region::new("header", 0..header_len(self.version()), RegionKind::Header),
            Region::new("reservations", reserve..reserve + entries * RESERVATION_LEN, RegionKind::Header),
            Region::new("structure", start..structure_end, RegionKind::Data),
            Region::new("strings", strings..strings + strings_len, RegionKind::Data),
        ];
        blocks.retain(|block| !block.at.is_empty());
        blocks.sort_by_key(|block| block.at.start);
        Ok(blocks)
    }

    /// What the blob consists of, offsets counted from the start of the blob: [`Dtb::blocks`] and what lies between them.
    ///
    /// # Errors
    /// As [`Dtb::blocks`].
    pub fn regions(&self) -> Result<Vec<Region>, FieldError> {
        let mut regions: Vec<Region> = Vec::new();
        let mut end = 0;
        let mut pads = 0;
        let mut gap = |regions: &mut Vec<Region>, at: std::ops::Range<u64>| {
            if at.start < at.end {
                let name = if pads == 0 { "padding".to_owned() } else { format!("padding[{pads}]") };
                pads += 1;
                regions.push(Region::new(name, at, RegionKind::Padding));
            }
        };
        for block in self.blocks()? {
            gap(&mut regions, end..block.at.start);
            end = end.max(block.at.end);
            regions.push(block);
        }
        gap(&mut regions, end..len64(self.bytes));
        Ok(regions)
    }

    /// An error of a cursor over the blob, as one of the file that it stands in.
    fn outer(&self, mut error: FieldError) -> FieldError {
        error.at.0 = error.at.0.saturating_add(self.base);
        error.with_help(HELP)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest tree there is: an unnamed root node.
    pub(crate) fn tiny() -> Vec<u8> {
        let words: [u32; 18] = [FDT_MAGIC, 72, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 0, 0, 1, 0, 2, 9];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn header_is_checked() {
        let good = tiny();
        assert_eq!(Dtb::parse_at(&good, 0).unwrap().bytes().len(), 72);
        let err = Dtb::parse_at(&good[..60], 0x100).unwrap_err();
        assert_eq!(err.to_string(), "totalsize at offset 0x104: the input ends too early: 72 bytes needed, 60 there");
        let bad = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            Dtb::parse_at(&bad, 0).unwrap_err().field
        };
        assert_eq!(bad(11, 200), "off_dt_struct");
        assert_eq!(bad(11, 57), "off_dt_struct");
        assert_eq!(bad(15, 8), "off_dt_strings");
        assert_eq!(bad(19, 0), "off_mem_rsvmap");
        assert_eq!(bad(23, 15), "version");
        assert_eq!(bad(27, 18), "last_comp_version");
        assert!(Dtb::parse_at(b"\xd0\x0d", 0).is_err());
        let mut overlap = good.clone();
        overlap[15] = 60;
        overlap[35] = 8;
        assert_eq!(Dtb::parse_at(&overlap, 0).unwrap_err().field, "off_dt_strings");
    }

    #[test]
    fn reservations_must_end() {
        let mut endless = tiny();
        endless[47] = 1;
        // What follows the list is the structure block, which is no entry of zeros, and then nothing.
        let error = Dtb::parse_at(&endless, 0x10).unwrap().reservations().unwrap_err();
        assert_eq!((&*error.field, error.at.0), ("mem_rsvmap.address", 0x10 + 72));
    }

    #[test]
    fn regions_leave_nothing_out() {
        let tiny = tiny();
        let names: Vec<String> = Dtb::parse_at(&tiny, 0)
            .unwrap()
            .regions()
            .unwrap()
            .iter()
            .map(|region| format!("{} {:?}", region.name, region.at))
            .collect();
        assert_eq!(names, ["header 0..40", "reservations 40..56", "structure 56..72"]);
    }
}
