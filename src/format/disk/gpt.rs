//! The GUID partition table, and the master boot record in front of it.
//!
//! Source: UEFI specification 2.10, section 5.2 (MBR) and 5.3 (GPT).

use super::{BOOT_MARK, SECTOR, low32, put};
use crate::bytes::{Cursor, count64, len64, slice, utf16};
use crate::finding::{Checks, rules};
use crate::layout::usize_or_max;
use std::ops::Range;

/// Sectors, of so many bytes, of the header and the entries.
pub(crate) const fn table(sector: u64) -> u64 {
    1 + ENTRIES * ENTRY / sector
}
/// Bytes that a sector may have.
const SECTORS: [u64; 2] = [SECTOR, 4096];
const ENTRIES: u64 = 128;
const ENTRY: u64 = 128;
const HEADER: u64 = 92;
/// Where the master boot record has its partitions, behind the code.
const PARTITIONS: u64 = 446;

/// A GUID as it is written: three numbers little-endian, then bytes.
pub(crate) type Guid = [u8; 16];

/// EFI system partition: C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
pub(crate) const EFI_SYSTEM: Guid =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// BIOS boot partition: 21686148-6449-6E6F-744E-656564454649.
pub(crate) const BIOS_BOOT: Guid = *b"Hah!IdontNeedEFI";

/// A partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partition {
    /// What it is for.
    pub kind: Guid,
    /// Which it is.
    pub id: Guid,
    /// Its name.
    pub name: &'static str,
    /// Its first and last sector.
    pub first: u64,
    pub last: u64,
}

/// 16 bytes of a hash as a GUID of version 8 (RFC 9562, 5.8).
pub(crate) fn id_of(hash: &[u8]) -> Guid {
    let mut id = [0; 16];
    id.iter_mut().zip(hash).for_each(|(to, byte)| *to = *byte);
    // The third number is little-endian.
    id[7] = id[7] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// The sector with the master boot record that protects a disk of so many, of `size` bytes, with the code of `boot`.
pub(crate) fn protective(boot: &[u8], sectors: u64, size: u64) -> Vec<u8> {
    let mut sector = boot.to_vec();
    sector.resize(usize_or_max(size), 0);
    let mut entries = [0; 64];
    let size = low32((sectors - 1).min(u32::MAX.into())).to_le_bytes();
    put(&mut entries, 0, &[0, 0x00, 0x02, 0x00, PROTECTIVE_KIND, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    put(&mut entries, 12, &size);
    put(&mut sector, PARTITIONS - 6, &[0; 6]);
    put(&mut sector, PARTITIONS, &entries);
    put(&mut sector, BOOT_MARK.0, BOOT_MARK.1);
    sector
}

/// The table behind the master boot record, and that at the end of a disk of so many sectors of `size` bytes.
pub(crate) fn tables(partitions: &[Partition], id: &Guid, sectors: u64, size: u64) -> (Vec<u8>, Vec<u8>) {
    let mut entries = vec![0; usize_or_max(ENTRIES * ENTRY)];
    for (index, partition) in (0..).zip(partitions) {
        let at = index * ENTRY;
        put(&mut entries, at, &partition.kind);
        put(&mut entries, at + 16, &partition.id);
        put(&mut entries, at + 32, &partition.first.to_le_bytes());
        put(&mut entries, at + 40, &partition.last.to_le_bytes());
        put(&mut entries, at + 56, &utf16(partition.name));
    }
    let (last, len) = (sectors.saturating_sub(1), table(size));
    let header = |here: u64, there: u64, table: u64| {
        let mut header = vec![0; usize_or_max(size)];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 8, &0x0001_0000_u32.to_le_bytes());
        put(&mut header, 12, &low32(HEADER).to_le_bytes());
        for (at, value) in [(24, here), (32, there), (40, 1 + len), (48, last - len), (72, table)] {
            put(&mut header, at, &value.to_le_bytes());
        }
        put(&mut header, 56, id);
        put(&mut header, 80, &low32(ENTRIES).to_le_bytes());
        put(&mut header, 84, &low32(ENTRY).to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(&entries).to_le_bytes());
        let own = crc32fast::hash(header.get(..usize_or_max(HEADER)).unwrap_or_default());
        put(&mut header, 16, &own.to_le_bytes());
        header
    };
    let front = [header(1, last, 2), entries.clone()].concat();
    let back = header(last, 1, last - (len - 1));
    (front, [entries, back].concat())
}

rules! {
    pub(super) GPT_RULES:
    PROTECTIVE = "gpt.protective_mbr", Error, "master boot record",
        "UEFI firmware does not look for the partition table",
        "copy the disk again, whole, or make the table again (sgdisk -g)";
    HEADER_CRC = "gpt.header_crc32", Error, "header of the partition table",
        "firmware goes by the other table, or does not find the partitions",
        "copy the disk again, whole; sgdisk makes one table from the other";
    ENTRIES_CRC = "gpt.entries_crc32", Error, "entries of the partition table",
        "firmware goes by the other table, or does not find the partitions",
        "copy the disk again, whole; sgdisk makes one table from the other";
    BACKUP = "gpt.backup", Warning, "partition table at the end",
        "if the first is damaged, the partitions are lost; tools complain",
        "move it to the end of the disk (sgdisk -e)";
    LAST = "gpt.alternate_lba", Error, "end of the disk",
        "the file was cut off: what was behind it is lost",
        "copy the disk again, whole";
    PLACE = "gpt.partition", Error, "place of a partition",
        "partitions share sectors, or lead out of the disk",
        "make the table again";
}

/// A partition of a disk that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its type: a GUID's bytes, or one byte of a master boot record.
    pub kind: Vec<u8>,
    /// Its name; a master boot record has none.
    pub name: String,
    /// Bytes of the disk.
    pub at: Range<u64>,
}

/// A header that has its mark, and its entries.
struct Header<'a> {
    /// Bytes of a sector.
    sector: u64,
    other: u64,
    usable: Range<u64>,
    has_crc: bool,
    /// Where the entries are, and those, if they are there.
    table: u64,
    size: u64,
    entries: Option<&'a [u8]>,
    has_entries_crc: bool,
}

impl<'a> Header<'a> {
    /// That in this sector, of `size` bytes.
    fn read(bytes: &'a [u8], sector: u64, size: u64) -> Option<Header<'a>> {
        const MOST: u64 = 1 << 20;
        let at = sector.checked_mul(size)?;
        let header = slice(bytes, at, SECTOR).filter(|header| header.starts_with(b"EFI PART"))?;
        let cursor = Cursor::little(header);
        let (word, long) = (|at| cursor.u32("header", at).ok(), |at| cursor.u64("header", at).ok());
        let len = u64::from(word(12)?);
        let (count, entry) = (u64::from(word(80)?), u64::from(word(84)?));
        // Other versions of the table have no other mark.
        if word(8)? != 0x0001_0000 || !(HEADER..=SECTOR).contains(&len) || entry < ENTRY {
            return None;
        }
        let mut own = slice(header, 0, len)?.to_vec();
        put(&mut own, 16, &[0; 4]);
        let table = long(72)?.checked_mul(size)?;
        let entries = count.checked_mul(entry).filter(|len| *len <= MOST).and_then(|len| slice(bytes, table, len));
        Some(Header {
            sector: size,
            other: long(32)?,
            usable: long(40)?..long(48)?.saturating_add(1),
            has_crc: word(16)? == crc32fast::hash(&own) && long(24)? == sector,
            table,
            size: entry,
            entries,
            has_entries_crc: entries.is_some_and(|entries| word(88) == Some(crc32fast::hash(entries))),
        })
    }
}

/// Is there a partition table, at the beginning or at the end?
pub(crate) fn detect(bytes: &[u8]) -> bool {
    sector_size(bytes).is_some()
}

/// Bytes of a sector of a disk with a partition table.
pub(crate) fn sector_size(bytes: &[u8]) -> Option<u64> {
    let at_end = |size: u64| {
        let last = (len64(bytes) / size).saturating_sub(1);
        last > 1 && Header::read(bytes, last, size).is_some_and(|header| header.has_crc)
    };
    // A table that knows its own place tells most.
    let is_whole = |size: u64| Header::read(bytes, 1, size).is_some_and(|header| header.has_crc);
    let is_there = |size: u64| Header::read(bytes, 1, size).is_some();
    SECTORS
        .into_iter()
        .find(|size| is_whole(*size))
        .or_else(|| SECTORS.into_iter().find(|size| is_there(*size)))
        .or_else(|| SECTORS.into_iter().find(|size| at_end(*size)))
}

/// The partitions of a disk with a table, whose claims are held to each other.
pub(crate) fn read(bytes: &[u8], checks: &mut Checks) -> Vec<Entry> {
    let size = sector_size(bytes).unwrap_or(SECTOR);
    let sectors = len64(bytes) / size;
    let first = Header::read(bytes, 1, size);
    let last = first.as_ref().map_or(sectors.saturating_sub(1), |header| header.other);
    let second = Header::read(bytes, last, size).filter(|_| last > 1);
    let is_right =
        |header: &Option<Header<'_>>| header.as_ref().is_some_and(|header| header.has_crc && header.has_entries_crc);
    let is_protected = slice(bytes, BOOT_MARK.0, 2) == Some(BOOT_MARK.1)
        && bytes.get(usize_or_max(PARTITIONS)..).unwrap_or_default().chunks_exact(16).take(4).any(|entry| {
            entry.get(4) == Some(&PROTECTIVE_KIND) && Cursor::little(entry).u32("StartingLBA", 8) == Ok(1)
        });
    checks.expect(
        &PROTECTIVE,
        PARTITIONS,
        is_protected,
        "none that protects it",
        "one partition of type 0xee from sector 1 on",
    );
    let has_crc = first.as_ref().is_some_and(|header| header.has_crc);
    checks.expect(&HEADER_CRC, size, has_crc, "another sum, place or mark", "those of its bytes");
    if let Some(header) = first.as_ref().filter(|header| header.has_crc) {
        checks.expect(&ENTRIES_CRC, header.table, header.has_entries_crc, "another sum", "that of the entries");
        let wanted = format!("{} at least", last.saturating_add(1));
        checks.expect(&LAST, size + 32, last < sectors, format!("{sectors} sectors"), wanted);
        let found = match &second {
            None => "none",
            Some(second) if !(second.has_crc && second.has_entries_crc) => "a damaged one",
            Some(second) if header.has_entries_crc && second.entries != header.entries => "another",
            Some(_) => "",
        };
        if last < sectors {
            checks.expect(&BACKUP, last * size, found.is_empty(), found, "one like the first");
        }
    }
    let header = if is_right(&first) { first } else { second.filter(|second| second.has_crc).or(first) };
    let Some(header) = header else { return Vec::new() };
    let mut found = Vec::new();
    let mut wrong = super::Broken::default();
    for (index, entry) in header.entries.unwrap_or_default().chunks_exact(usize_or_max(header.size)).enumerate() {
        let kind = entry.get(..16).unwrap_or_default();
        if kind.iter().all(|byte| *byte == 0) {
            continue;
        }
        let long = |at| Cursor::little(entry).u64("entry", at).unwrap_or(0);
        let (start, end) = (long(32), long(40).saturating_add(1));
        let units = entry.get(56..128).unwrap_or_default().chunks_exact(2);
        let units = units.map(|unit| unit.iter().rev().fold(0, |all, byte| all << 8 | u16::from(*byte)));
        let name = String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<u16>>());
        let at = start.saturating_mul(header.sector)..end.saturating_mul(header.sector);
        let is_inside = start < end && header.usable.start <= start && end <= header.usable.end;
        let shares = found.iter().any(|other: &Entry| other.at.start < at.end && at.start < other.at.end);
        let place = header.table + count64(index) * header.size;
        wrong.add_all((!is_inside || shares).then(|| (place, format!("sectors {start} to {end} for \"{name}\""))));
        found.push(Entry { kind: kind.to_vec(), name, at });
    }
    let usable = &header.usable;
    let wanted = format!("sectors of its own from {} to {}", usable.start, usable.end);
    wrong.check(&PLACE, &wanted, checks);
    found
}

/// The partitions of a master boot record without such a table.
pub(crate) fn master_boot_record(bytes: &[u8]) -> Vec<Entry> {
    let entries = slice(bytes, PARTITIONS, 64).unwrap_or_default().chunks_exact(16);
    let partitions = entries.filter_map(|entry| {
        let at = |at| Some(u64::from(Cursor::little(entry).u32("partition", at).ok()?) * SECTOR);
        let (kind, start, len) = (*entry.get(4)?, at(8)?, at(12)?);
        let is_used = kind != 0 && start != 0 && len != 0;
        is_used.then(|| Entry { kind: vec![kind], name: String::new(), at: start..start.saturating_add(len) })
    });
    partitions.collect()
}

impl Entry {
    /// What it is for.
    pub(crate) fn what(&self) -> String {
        match &*self.kind {
            kind if kind == EFI_SYSTEM => "EFI system partition".to_owned(),
            kind if kind == BIOS_BOOT => "BIOS boot partition".to_owned(),
            [0xef] => "EFI system partition (0xef)".to_owned(),
            [kind] => format!("{kind:#04x}"),
            [a, b, c, d, e, f, g, h, rest @ ..] => {
                let (front, back) = rest.split_at(2.min(rest.len()));
                let word = |bytes: &[u8]| crate::bytes::hex(bytes);
                let numbers = [word(&[*d, *c, *b, *a]), word(&[*f, *e]), word(&[*h, *g]), word(front), word(back)];
                numbers.join("-")
            }
            _ => String::new(),
        }
    }

    /// Is it one from which UEFI firmware starts?
    pub(crate) fn is_efi(&self) -> bool {
        self.kind == EFI_SYSTEM || self.kind == [0xef]
    }

    /// Is it for code that a boot sector reads?
    pub(crate) fn is_for_code(&self) -> bool {
        self.kind == BIOS_BOOT
    }
}

/// The type of the partition that protects the table.
const PROTECTIVE_KIND: u8 = 0xee;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_have_their_checksums() {
        let partition = Partition { kind: EFI_SYSTEM, id: id_of(&[7; 32]), name: "EFI", first: 34, last: 99 };
        let (front, back) = tables(&[partition], &id_of(&[1; 32]), 200, 512);
        assert_eq!((front.len(), back.len()), (33 * 512, 33 * 512));
        for header in [&front[..512], &back[32 * 512..]] {
            let mut without = header[..92].to_vec();
            without[16..20].fill(0);
            assert_eq!(header[16..20], crc32fast::hash(&without).to_le_bytes());
        }
        assert_eq!(front[512..], back[..32 * 512]);
        assert_eq!(front[512 + 16 + 7] >> 4, 8);
    }
}
