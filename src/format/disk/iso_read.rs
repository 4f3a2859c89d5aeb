//! ISO 9660 with Rock Ridge names and Joliet's, and El Torito, read: where the files and the boot images are.
//!
//! Source: as [`super::iso`].

use super::iso::{EFI, PRIMARY, X86};
use super::{BLOCK, Broken, Found, LONGEST_PATH, MOST_FOLDERS};
use crate::bytes::{Cursor, len64, slice, slice_at};
use crate::finding::{Checks, rules};
use std::collections::BTreeSet;
use std::ops::Range;

rules! {
    pub(super) ISO_RULES:
    SIZE = "iso.volume_space_size", Error, "end of the CD",
        "the file was cut off: files are not whole",
        "copy the image again, whole";
    RECORD = "iso.record", Error, "record of a file",
        "who reads the file gets other bytes, or an error",
        "copy the image again, whole";
    ORDERS = "iso.byte_orders", Warning, "numbers in both byte orders",
        "they are not the same: one of them was changed, and which counts depends on the machine",
        "copy the image again, whole";
    JOLIET = "iso.joliet", Warning, "files by Joliet's names",
        "Windows, which goes by these, finds another file than who goes by ISO 9660's, as Linux does",
        "copy the image again, whole";
    CATALOG = "iso.boot_catalog", Error, "boot catalog",
        "neither a BIOS nor UEFI firmware starts from the CD",
        "copy the image again, whole";
    pub(super) IMAGE = "iso.boot_image", Error, "boot image",
        "what the firmware would start is not there",
        "copy the image again, whole";
}

/// A CD, read.
#[derive(Debug)]
pub(crate) struct Volume<'a> {
    bytes: &'a [u8],
    /// The descriptor of one set of folders, and where it is.
    descriptor: &'a [u8],
    at: u64,
    /// Are its names Joliet's?
    is_joliet: bool,
}

/// What the firmware would start.
#[derive(Debug)]
pub(crate) struct Boot {
    /// For UEFI firmware?
    pub is_efi: bool,
    /// Where it begins, in bytes.
    pub at: u64,
}

/// A record of a folder.
struct Record<'a> {
    name: &'a [u8],
    at: Range<u64>,
    flags: u8,
    /// What SUSP's entries are in.
    area: &'a [u8],
    agrees: bool,
}

const FOLDER: u8 = 2;
/// The file goes on in the next record of its name.
const GOES_ON: u8 = 0x80;

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let cursor = Cursor::little(bytes);
        let (block, block_agrees) = both(bytes, 2)?;
        let (size, size_agrees) = both(bytes, 10)?;
        let extended = u64::from(cursor.u8("record", 1).ok()?);
        let len = u64::from(cursor.u8("record", 32).ok()?);
        let name = slice(bytes, 33, len)?;
        let area = (33 + len).next_multiple_of(2);
        let start = (block + extended) * BLOCK;
        Some(Record {
            name,
            at: start..start.saturating_add(size),
            flags: cursor.u8("record", 25).ok()?,
            area: super::rest(bytes, area).unwrap_or_default(),
            agrees: block_agrees && size_agrees,
        })
    }
}

/// A number in both byte orders, and whether they are the same.
fn both(bytes: &[u8], at: u64) -> Option<(u64, bool)> {
    let field = slice(bytes, at, 8)?.first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *field;
    let value = u32::from_le_bytes([a, b, c, d]);
    Some((value.into(), value == u32::from_be_bytes([e, f, g, h])))
}

/// What Rock Ridge says of a file.
#[derive(Default)]
struct RockRidge {
    name: Vec<u8>,
    is_link: bool,
    /// Its folder is another one's.
    is_moved: bool,
    /// The folder that stands here, by its block.
    child: Option<u64>,
}

impl<'a> Volume<'a> {
    /// The CD, if it has the descriptor of one.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Volume<'a>> {
        let primary = slice(bytes, PRIMARY * BLOCK, BLOCK).filter(|block| block.starts_with(b"\x01CD001\x01"))?;
        // Sectors of other sizes are not in use.
        let is_one = slice(primary, 128, 2)? == [0, 8];
        is_one.then_some(Volume { bytes, descriptor: primary, at: PRIMARY * BLOCK, is_joliet: false })
    }

    /// The same CD by Joliet's names, if it has them.
    fn joliet(&self) -> Option<Volume<'a>> {
        /// No CD has more descriptors.
        const MOST: u64 = 32;
        let blocks = (1..MOST).map(|index| self.at + index * BLOCK);
        let descriptors = blocks.map_while(|at| Some((at, slice(self.bytes, at, BLOCK)?)));
        let is_descriptor =
            |(_, block): &(u64, &[u8])| block.get(1..6) == Some(b"CD001") && block.first() != Some(&0xff);
        let is_joliet = |(_, block): &(u64, &[u8])| {
            block.starts_with(&[2]) && matches!(slice(block, 88, 3), Some(b"%/@" | b"%/C" | b"%/E"))
        };
        let (at, descriptor) = descriptors.take_while(is_descriptor).find(is_joliet)?;
        Some(Volume { bytes: self.bytes, descriptor, at, is_joliet: true })
    }

    /// Holds what it is by Joliet's names, if it has them, to its files by the others.
    pub(crate) fn hold_joliet(&self, files: &[Found], most: usize, checks: &mut Checks) {
        let Some(joliet) = self.joliet() else { return };
        let (found, _) = joliet.walk(most, checks);
        let known: BTreeSet<(u64, u64)> = files.iter().map(place_of).collect();
        let mut wrong = Broken::default();
        for file in &found {
            let is_known = known.contains(&place_of(file));
            wrong.add_all((!is_known).then(|| (joliet.at, format!("{}, which is no file by the others", file.path))));
        }
        wrong.check(&JOLIET, "files that are there by the others, too", checks);
    }

    /// Bytes of it.
    pub(crate) fn len(&self) -> u64 {
        both(self.descriptor, 80).map_or(0, |(blocks, _)| blocks.saturating_mul(BLOCK))
    }

    /// The files, up to `most`, and whether those are all.
    pub(crate) fn walk(&self, most: usize, checks: &mut Checks) -> (Vec<Found>, bool) {
        const DEEPEST: usize = 32;
        /// Bytes of all folders, which may lie one over the other.
        const LARGEST: u64 = 16 << 20;
        let mut read = 0_u64;
        let have = len64(self.bytes);
        checks.expect(&SIZE, self.at + 80, have >= self.len(), format!("{have} bytes"), self.len());
        let (mut found, mut wrong, mut orders) = (Vec::<Found>::new(), Broken::default(), Broken::default());
        let sizes = both(self.descriptor, 80).is_some_and(|(_, agrees)| agrees);
        orders.add_all((!sizes).then(|| (self.at + 80, "two sizes of the CD".to_owned())));
        let root = super::rest(self.descriptor, 156).and_then(Record::read);
        let mut folders: Vec<(String, Range<u64>, usize)> =
            root.map(|root| (String::new(), root.at, 0)).into_iter().collect();
        let (mut seen, mut skip, mut are_all) = (BTreeSet::new(), None, true);
        while let Some((path, at, depth)) = folders.pop() {
            read = read.saturating_add(at.end - at.start);
            if depth > DEEPEST || !seen.insert(at.start) || read > LARGEST {
                are_all &= depth <= DEEPEST && read <= LARGEST;
                continue;
            }
            let Some(bytes) = slice_at(self.bytes, &at) else {
                wrong.add_all(Some((at.start, format!("the folder /{path} outside of the CD"))));
                continue;
            };
            let mut goes_on = false;
            for (place, bytes) in records(bytes) {
                let Some(record) = Record::read(bytes) else {
                    wrong.add_all(Some((at.start + place, format!("one that ends too early in /{path}"))));
                    continue;
                };
                if let [0 | 1] = record.name {
                    // The root says whether SUSP is in use, and how many bytes of others stand in front of it.
                    if skip.is_none() && !self.is_joliet {
                        skip = Some(match record.area {
                            [b'S', b'P', 7, 1, 0xbe, 0xef, skip, ..] => Some(*skip),
                            _ => None,
                        });
                    }
                    continue;
                }
                let ridge = skip.flatten().map(|skip| self.rock_ridge(record.area, skip)).unwrap_or_default();
                let name = self.name(record.name, &ridge);
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                if path.len() > LONGEST_PATH || folders.len() > MOST_FOLDERS {
                    are_all = false;
                    continue;
                }
                orders.add_all((!record.agrees).then(|| (at.start + place, format!("others for {path}"))));
                if ridge.is_moved || ridge.is_link {
                    continue;
                }
                if record.flags & FOLDER != 0 {
                    folders.push((path, record.at, depth + 1));
                    continue;
                }
                if let Some(block) = ridge.child {
                    let start = block.saturating_mul(BLOCK);
                    let own = super::rest(self.bytes, start).and_then(Record::read);
                    folders.extend(own.map(|own| (path, own.at, depth + 1)));
                    continue;
                }
                let size = record.at.end - record.at.start;
                let is_whole = size == 0 || slice_at(self.bytes, &record.at).is_some();
                wrong.add_all((!is_whole).then(|| (at.start + place, format!("{path} outside of the CD"))));
                let pieces = if size == 0 { Vec::new() } else { vec![record.at] };
                let is_full = found.len() == most;
                match found.last_mut().filter(|last| goes_on && last.path == path) {
                    Some(last) => {
                        last.size = last.size.saturating_add(size);
                        last.pieces.extend(pieces);
                        last.is_whole &= is_whole;
                    }
                    None if is_full => are_all = false,
                    None => found.push(Found { path, size, pieces, is_whole }),
                }
                goes_on = record.flags & GOES_ON != 0;
            }
        }
        wrong.check(&RECORD, "one of bytes on the CD", checks);
        orders.check(&ORDERS, "the same twice", checks);
        (found, are_all)
    }

    fn name(&self, own: &[u8], ridge: &RockRidge) -> String {
        let text = if self.is_joliet {
            let units = own.chunks_exact(2).map(|unit| unit.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)));
            String::from_utf16_lossy(&units.collect::<Vec<_>>())
        } else if ridge.name.is_empty() {
            String::from_utf8_lossy(own).into_owned()
        } else {
            return String::from_utf8_lossy(&ridge.name).into_owned();
        };
        let plain = text.split(';').next().unwrap_or_default();
        plain.strip_suffix('.').unwrap_or(plain).to_owned()
    }

    fn rock_ridge(&self, area: &'a [u8], skip: u8) -> RockRidge {
        const MOST: usize = 32;
        let mut found = RockRidge::default();
        let mut areas = vec![area.get(usize::from(skip)..).unwrap_or_default()];
        let mut count = 0;
        while let Some(mut left) = areas.pop() {
            while let [a, b, len, _, ..] = *left {
                let Some(entry) = left.get(..usize::from(len)).filter(|entry| entry.len() >= 4 && count < MOST) else {
                    break;
                };
                count += 1;
                let number = |at| both(entry, at).map(|(value, _)| value);
                match &[a, b] {
                    b"NM" => found.name.extend_from_slice(entry.get(5..).unwrap_or_default()),
                    // S_IFLNK
                    b"PX" => found.is_link = number(4).is_some_and(|mode| mode & 0o170_000 == 0o120_000),
                    b"RE" => found.is_moved = true,
                    b"CL" => found.child = number(4),
                    b"CE" => {
                        let place = number(4).zip(number(12)).zip(number(20));
                        let further = place.and_then(|((block, at), len)| slice(self.bytes, block * BLOCK + at, len));
                        areas.extend(further);
                    }
                    _ => {}
                }
                left = left.get(usize::from(len)..).unwrap_or_default();
            }
        }
        found
    }

    /// What its boot catalog names.
    pub(crate) fn boot(&self, checks: &mut Checks) -> Vec<Boot> {
        let Some(record) = slice(self.bytes, (PRIMARY + 1) * BLOCK, BLOCK) else { return Vec::new() };
        if !record.starts_with(b"\0CD001\x01EL TORITO SPECIFICATION") {
            return Vec::new();
        }
        let at = Cursor::little(record).u32("boot catalog", 71).map_or(0, u64::from) * BLOCK;
        let catalog = slice(self.bytes, at, BLOCK).unwrap_or_default();
        let first = catalog.get(..32).unwrap_or_default();
        let words =
            first.chunks_exact(2).map(|word| word.iter().rev().fold(0, |all, byte| all << 8 | u16::from(*byte)));
        let is_right = words.fold(0_u16, u16::wrapping_add) == 0
            && first.first() == Some(&1)
            && first.get(30..) == Some(&[0x55, 0xaa]);
        checks.expect(&CATALOG, at, is_right, "another sum or mark", "those of its first entry");
        let (mut platform, mut found) = (X86, Vec::new());
        for (index, entry) in (0..).zip(catalog.chunks_exact(32)) {
            match entry {
                [1 | 0x90 | 0x91, kind, ..] => platform = *kind,
                [0x88, ..] => {
                    let block = Cursor::little(entry).u32("Load RBA", 8).map_or(0, u64::from);
                    let start = block * BLOCK;
                    let is_there = start > 0 && start < len64(self.bytes);
                    checks.expect(&IMAGE, at + 32 * index, is_there, format!("block {block}"), "a block of the CD");
                    found.push(Boot { is_efi: platform == EFI, at: start });
                }
                _ => {}
            }
        }
        found
    }
}

/// Where a file begins, and its size; of an empty one the place says nothing.
fn place_of(file: &Found) -> (u64, u64) {
    (file.pieces.first().map_or(0, |piece| piece.start), file.size)
}

/// The records of a folder, with where they stand: none goes across the end of a block.
fn records(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let len = u64::from(*super::rest(bytes, at)?.first()?);
            if len == 0 {
                at = (at + 1).next_multiple_of(BLOCK);
                continue;
            }
            let place = at;
            at += len;
            return Some((place, slice(bytes, place, len).unwrap_or_default()));
        }
    })
}
