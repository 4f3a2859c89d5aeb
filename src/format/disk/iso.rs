//! ISO 9660 with Rock Ridge names and Joliet's, and El Torito: a CD that PCs and UEFI firmware start from.
//!
//! Source: ECMA-119; IEEE P1282 (Rock Ridge) and P1281 (SUSP); Microsoft, "Joliet Specification" 1; Phoenix and IBM, "El Torito"
//! 1.0; UEFI specification 2.10, section 13.3.2.

use super::{BLOCK, Entry, Folder, SECTOR, Tree, low8, low16, low32, put};
use crate::bytes::{count64, len64, utc_fields};
use crate::layout::usize_or_max;
use std::collections::BTreeSet;
use std::ops::Range;

/// Blocks in front of the descriptors, free for other systems.
pub(crate) const SYSTEM_AREA: u64 = 16;
pub(super) const PRIMARY: u64 = SYSTEM_AREA;
/// El Torito has a fixed place for its descriptor, and the others come before that of the end.
const BOOT_RECORD: u64 = PRIMARY + 1;
const JOLIET: u64 = PRIMARY + 2;
const CATALOG: u64 = PRIMARY + 4;
/// The platforms of El Torito.
pub(super) const X86: u8 = 0;
pub(super) const EFI: u8 = 0xef;

/// What a CD has, in bytes from its start.
#[derive(Debug, Clone)]
pub(crate) struct Disc<'t> {
    /// The folders.
    pub tree: &'t Tree,
    /// Where each file is.
    pub files: Vec<Range<u64>>,
    /// What a BIOS starts.
    pub bios: Option<Range<u64>>,
    /// The file system from which UEFI firmware starts.
    pub efi: Range<u64>,
    /// Bytes of all of it.
    pub len: u64,
    /// The time of all, in seconds since 1970.
    pub time: u32,
}

/// A number in both byte orders.
fn both32(value: u64) -> Vec<u8> {
    let value = low32(value);
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

fn both16(value: u64) -> Vec<u8> {
    let value = low16(value);
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK)
}

/// The folders once, by names of one kind.
struct Names {
    /// Of each folder, the names of its entries, as a record has them, but for a file's version.
    entries: Vec<Vec<Vec<u8>>>,
    /// Joliet's; else those that every system knows, with Rock Ridge's beside them.
    are_joliet: bool,
    /// The folders in the order of the path table: level by level, each by the number of its parent, then by name.
    order: Vec<usize>,
    /// Block of the path table whose numbers are little-endian; the other is behind it.
    table: u64,
    /// Bytes of a path table.
    table_len: u64,
    /// Where each folder is.
    places: Vec<Range<u64>>,
}

impl Disc<'_> {
    /// What stands behind the system area: descriptors, boot catalog, path tables and folders. Its length depends on the names
    /// alone.
    pub(crate) fn front(&self) -> Vec<u8> {
        let mut next = CATALOG + 1;
        let [plain, joliet] = [false, true].map(|are_joliet| self.names(are_joliet, &mut next));
        let mut out = vec![0; usize_or_max((next - SYSTEM_AREA) * BLOCK)];
        let mut set = |block: u64, bytes: &[u8]| put(&mut out, (block - SYSTEM_AREA) * BLOCK, bytes);
        set(PRIMARY, &self.descriptor(&plain));
        set(BOOT_RECORD, &boot_record());
        set(JOLIET, &self.descriptor(&joliet));
        set(JOLIET + 1, b"\xffCD001\x01");
        set(CATALOG, &self.catalog());
        for names in [&plain, &joliet] {
            set(names.table, &self.path_table(names, false));
            set(names.table + blocks(names.table_len), &self.path_table(names, true));
            for (index, place) in names.places.iter().enumerate() {
                set(place.start / BLOCK, &self.folder(index, names));
            }
        }
        out
    }

    /// Names of this kind, with tables and folders from the block `next` on.
    fn names(&self, are_joliet: bool, next: &mut u64) -> Names {
        let entries = self.tree.folders.iter().map(if are_joliet { joliet_names } else { plain_names }).collect();
        let places = vec![0..0; self.tree.folders.len()];
        let mut names = Names { entries, are_joliet, order: Vec::new(), table: *next, table_len: 0, places };
        names.order = self.order(&names.entries);
        names.table_len = len64(&self.path_table(&names, false));
        *next += 2 * blocks(names.table_len);
        for index in names.order.clone() {
            let len = len64(&self.folder(index, &names)).next_multiple_of(BLOCK);
            if let Some(to) = names.places.get_mut(index) {
                *to = *next * BLOCK..*next * BLOCK + len;
            }
            *next += blocks(len);
        }
        names
    }

    fn order(&self, names: &[Vec<Vec<u8>>]) -> Vec<usize> {
        let mut order = vec![0];
        let mut at = 0;
        while let Some(folder) = order.get(at).and_then(|index| self.tree.folders.get(*index)) {
            let own = order.get(at).and_then(|index| names.get(*index)).map_or(&[][..], Vec::as_slice);
            let mut inner: Vec<(&Vec<u8>, usize)> = own
                .iter()
                .zip(&folder.entries)
                .filter_map(|(name, (_, entry))| match entry {
                    Entry::Folder(index) => Some((name, *index)),
                    Entry::File(_) => None,
                })
                .collect();
            inner.sort();
            order.extend(inner.into_iter().map(|(_, index)| index));
            at += 1;
        }
        order
    }

    /// The name of a folder in its parent.
    fn name<'n>(&self, index: usize, names: &'n Names) -> &'n [u8] {
        let parent = self.tree.folders.get(index).map_or(0, |folder| folder.parent);
        let entries = self.tree.folders.get(parent).map_or(&[][..], |folder| &folder.entries);
        let place = entries.iter().position(|(_, entry)| *entry == Entry::Folder(index) && index != 0);
        place.and_then(|place| names.entries.get(parent)?.get(place)).map_or(b"\0", Vec::as_slice)
    }

    fn path_table(&self, names: &Names, is_big: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for index in &names.order {
            let name = self.name(*index, names);
            let parent = self.tree.folders.get(*index).map_or(0, |folder| folder.parent);
            let number = names.order.iter().position(|folder| *folder == parent).map_or(1, |at| count64(at) + 1);
            let block = low32(names.places.get(*index).map_or(0, |place| place.start / BLOCK));
            out.extend([low8(len64(name)), 0]);
            out.extend(if is_big { block.to_be_bytes() } else { block.to_le_bytes() });
            let number = low16(number);
            out.extend(if is_big { number.to_be_bytes() } else { number.to_le_bytes() });
            out.extend(name);
            out.extend(vec![0; name.len() % 2]);
        }
        out
    }

    fn folder(&self, index: usize, names: &Names) -> Vec<u8> {
        let Some(folder) = self.tree.folders.get(index) else { return Vec::new() };
        let place = |index: usize| names.places.get(index).cloned().unwrap_or(0..0);
        // Rock Ridge's words.
        let area = |own: &dyn Fn() -> Vec<u8>| if names.are_joliet { Vec::new() } else { own() };
        let first = area(&|| {
            // SUSP is in use; by which extension.
            let head: &[u8] =
                if index == 0 { b"SP\x07\x01\xbe\xef\x00ER\x12\x01\x0a\x00\x00\x01RRIP_1991A" } else { &[] };
            [head, &mode(true)].concat()
        });
        let mut records = vec![
            self.record(b"\0", &place(index), true, &first),
            self.record(b"\x01", &place(folder.parent), true, &area(&|| mode(true))),
        ];
        let own = names.entries.get(index).map_or(&[][..], Vec::as_slice);
        let mut entries: Vec<_> = own.iter().zip(&folder.entries).collect();
        entries.sort_by_key(|(name, _)| *name);
        for (iso, (name, entry)) in entries {
            let (at, is_folder) = match entry {
                Entry::Folder(inner) => (place(*inner), true),
                Entry::File(file) => (self.files.get(*file).cloned().unwrap_or(0..0), false),
            };
            let area = area(&|| {
                let head = [b'N', b'M', low8(len64(name.as_bytes()) + 5), 1, 0];
                [&mode(is_folder)[..], &head, name.as_bytes()].concat()
            });
            // Its version, by which nothing is sorted.
            let version: &[u8] = match (is_folder, names.are_joliet) {
                (true, _) => b"",
                (false, false) => b";1",
                (false, true) => b"\0;\x001",
            };
            records.push(self.record(&[iso, version].concat(), &at, is_folder, &area));
        }
        // None goes across the end of a block.
        let mut out: Vec<u8> = Vec::new();
        for record in records {
            let left = BLOCK - len64(&out) % BLOCK;
            if len64(&record) > left {
                out.resize(out.len().saturating_add(usize_or_max(left)), 0);
            }
            out.extend(record);
        }
        out
    }

    fn record(&self, name: &[u8], at: &Range<u64>, is_folder: bool, area: &[u8]) -> Vec<u8> {
        let mut record = vec![0, 0];
        record.extend(both32(at.start / BLOCK));
        record.extend(both32(at.end - at.start));
        record.extend(self.time7());
        record.extend([if is_folder { 2 } else { 0 }, 0, 0]);
        record.extend(both16(1));
        record.push(low8(len64(name)));
        record.extend(name);
        record.extend(vec![0; (name.len() + 1) % 2]);
        record.extend(area);
        record.extend(vec![0; record.len() % 2]);
        put_byte(&mut record, 0);
        record
    }

    fn time7(&self) -> [u8; 7] {
        let [year, month, day, hour, minute, second] = utc_fields(self.time.into());
        [low8(year - 1900), low8(month), low8(day), low8(hour), low8(minute), low8(second), 0]
    }

    /// The descriptor of the CD by names of this kind.
    fn descriptor(&self, names: &Names) -> Vec<u8> {
        let mut out = vec![0; usize_or_max(BLOCK)];
        let padded = |text: &str, len: usize| match names.are_joliet {
            false => format!("{text:len$.len$}").into_bytes(),
            // An odd length leaves a byte over.
            true => [text.encode_utf16().collect::<Vec<u16>>(), vec![u16::from(b' '); len / 2 - text.len()]]
                .concat()
                .into_iter()
                .flat_map(u16::to_be_bytes)
                .collect(),
        };
        put(&mut out, 0, if names.are_joliet { b"\x02CD001\x01" } else { b"\x01CD001\x01" });
        if names.are_joliet {
            // UCS-2, level 3.
            put(&mut out, 88, b"%/E");
        }
        put(&mut out, 8, &padded("", 32));
        put(&mut out, 40, &padded("KIMAGE", 32));
        put(&mut out, 80, &both32(self.len / BLOCK));
        put(&mut out, 120, &both16(1));
        put(&mut out, 124, &both16(1));
        put(&mut out, 128, &both16(BLOCK));
        put(&mut out, 132, &both32(names.table_len));
        put(&mut out, 140, &low32(names.table).to_le_bytes());
        put(&mut out, 148, &low32(names.table + blocks(names.table_len)).to_be_bytes());
        let root = names.places.first().cloned().unwrap_or(0..0);
        put(&mut out, 156, &self.record(b"\0", &root, true, &[]));
        for (at, len) in [(190, 128), (318, 128), (446, 128), (574, 128), (702, 37), (739, 37), (776, 37)] {
            put(&mut out, at, &padded("", len));
        }
        let [year, month, day, hour, minute, second] = utc_fields(self.time.into());
        let time = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
        let none = "0000000000000000\0";
        for (at, text) in [(813, &*time), (830, &*time), (847, none), (864, none)] {
            put(&mut out, at, text.as_bytes());
        }
        put(&mut out, 881, &[1]);
        out
    }

    /// The entries for a BIOS and for UEFI firmware, the first of them the default.
    fn catalog(&self) -> Vec<u8> {
        let entry = |at: &Range<u64>, sectors: u64| {
            let mut entry = vec![0; 32];
            put(&mut entry, 0, &[0x88]);
            put(&mut entry, 6, &low16(sectors).to_le_bytes());
            put(&mut entry, 8, &low32(at.start / BLOCK).to_le_bytes());
            entry
        };
        let mut validation = vec![0; 32];
        put(&mut validation, 0, &[1, if self.bios.is_some() { X86 } else { EFI }]);
        put(&mut validation, 30, &[0x55, 0xaa]);
        let words =
            validation.chunks_exact(2).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u16::from(*byte)));
        let sum = words.fold(0_u16, u16::wrapping_add);
        put(&mut validation, 28, &sum.wrapping_neg().to_le_bytes());
        // 0: to the end of the CD, as what 16 bits do not count.
        let sectors = Some((self.efi.end - self.efi.start) / SECTOR).filter(|sectors| *sectors <= u16::MAX.into());
        let efi = entry(&self.efi, sectors.unwrap_or(0));
        match &self.bios {
            None => [validation, efi].concat(),
            Some(bios) => {
                let mut section = vec![0; 32];
                put(&mut section, 0, &[0x91, EFI, 1, 0]);
                // BIOSes load a block of it, and no more with certainty.
                [validation, entry(bios, BLOCK / SECTOR), section, efi].concat()
            }
        }
    }
}

/// The descriptor that says where the boot catalog is.
fn boot_record() -> Vec<u8> {
    let mut out = vec![0; usize_or_max(BLOCK)];
    put(&mut out, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(&mut out, 71, &low32(CATALOG).to_le_bytes());
    out
}

/// A record's first byte is its length.
fn put_byte(record: &mut [u8], at: u64) {
    let len = [low8(len64(record))];
    put(record, at, &len);
}

/// Who may do what with it (`PX`): all may read.
fn mode(is_folder: bool) -> Vec<u8> {
    let (mode, links) = if is_folder { (0o040_555, 2) } else { (0o100_444, 1) };
    [&b"PX\x24\x01"[..], &both32(mode), &both32(links), &both32(0), &both32(0)].concat()
}

/// Names of the few characters that ISO 9660 has, no two of a folder the same.
fn plain_names(folder: &Folder) -> Vec<Vec<u8>> {
    const LONGEST: usize = 27;
    let mut taken = BTreeSet::new();
    let clean = |text: &str, len: usize| -> String {
        let one = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(one).take(len).collect()
    };
    let mut names = Vec::new();
    for (name, entry) in &folder.entries {
        let (base, extension) = match (entry, name.rsplit_once('.')) {
            (Entry::File(_), Some((base, extension))) if extension.len() <= 12 => (base, extension),
            (Entry::File(_), _) => (&**name, ""),
            (Entry::Folder(_), _) => (&**name, ""),
        };
        let dot = if matches!(entry, Entry::File(_)) { "." } else { "" };
        let extension = clean(extension, 12);
        let made = (0_usize..).find_map(|number| {
            let tail = if number == 0 { String::new() } else { number.to_string() };
            let room = LONGEST.saturating_sub(extension.len() + tail.len());
            let name = format!("{}{tail}{dot}{extension}", clean(base, room));
            taken.insert(name.clone()).then_some(name)
        });
        names.push(made.unwrap_or_default().into_bytes());
    }
    names
}

/// Names as they are, in UTF-16; of long ones the beginning and the extension, no two of a folder the same.
fn joliet_names(folder: &Folder) -> Vec<Vec<u8>> {
    /// UTF-16 units, without the version.
    const LONGEST: usize = 64;
    let units = |text: &str| text.encode_utf16().count();
    let mut taken = BTreeSet::new();
    let mut names = Vec::new();
    for (name, _) in &folder.entries {
        // The only character that Joliet has not and a FAT has.
        let name = name.replace(';', "_");
        let (base, extension) = match name.rsplit_once('.') {
            Some((base, extension)) if units(extension) <= 12 => (base, format!(".{extension}")),
            _ => (&*name, String::new()),
        };
        let made = (0_usize..).find_map(|number| {
            let tail = if number == 0 { String::new() } else { format!("~{number}") };
            let mut room = LONGEST.saturating_sub(units(&extension) + units(&tail));
            let fits = |one: &char| {
                let rest = room.checked_sub(one.len_utf16());
                room = rest.unwrap_or(0);
                rest.is_some()
            };
            let name = format!("{}{tail}{extension}", base.chars().take_while(fits).collect::<String>());
            // Who reads it may not tell `a` from `A`.
            taken.insert(name.to_uppercase()).then_some(name)
        });
        names.push(made.unwrap_or_default().encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    names
}
