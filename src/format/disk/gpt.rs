//! The GUID partition table, and the master boot record in front of it.
//!
//! Source: UEFI specification 2.10, section 5.2 (MBR) and 5.3 (GPT).

use super::{BOOT_MARK, SECTOR, low32, put};
use crate::bytes::{Cursor, slice};
use crate::layout::usize_or_max;

/// Sectors of the header and the entries.
pub(crate) const TABLE: u64 = 1 + ENTRIES * ENTRY / SECTOR;
/// Sectors in front of the first partition: the master boot record and the table.
pub(crate) const FRONT: u64 = 1 + TABLE;
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

/// The master boot record that protects a disk of so many sectors, with the code of `boot`.
pub(crate) fn protective(boot: &[u8], sectors: u64) -> Vec<u8> {
    let mut sector = boot.to_vec();
    sector.resize(usize_or_max(SECTOR), 0);
    let mut entries = [0; 64];
    let size = low32((sectors - 1).min(u32::MAX.into())).to_le_bytes();
    put(&mut entries, 0, &[0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    put(&mut entries, 12, &size);
    put(&mut sector, PARTITIONS - 6, &[0; 6]);
    put(&mut sector, PARTITIONS, &entries);
    put(&mut sector, BOOT_MARK.0, BOOT_MARK.1);
    sector
}

/// The table behind the master boot record, and that at the end of a disk of so many sectors.
pub(crate) fn tables(partitions: &[Partition], id: &Guid, sectors: u64) -> (Vec<u8>, Vec<u8>) {
    let mut entries = vec![0; usize_or_max(ENTRIES * ENTRY)];
    for (index, partition) in (0..).zip(partitions) {
        let at = index * ENTRY;
        put(&mut entries, at, &partition.kind);
        put(&mut entries, at + 16, &partition.id);
        put(&mut entries, at + 32, &partition.first.to_le_bytes());
        put(&mut entries, at + 40, &partition.last.to_le_bytes());
        let name: Vec<u8> = partition.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        put(&mut entries, at + 56, &name);
    }
    let last = sectors.saturating_sub(1);
    let header = |here: u64, there: u64, table: u64| {
        let mut header = vec![0; usize_or_max(SECTOR)];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 8, &0x0001_0000_u32.to_le_bytes());
        put(&mut header, 12, &low32(HEADER).to_le_bytes());
        for (at, value) in [(24, here), (32, there), (40, FRONT), (48, last - TABLE), (72, table)] {
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
    let back = header(last, 1, last - (TABLE - 1));
    (front, [entries, back].concat())
}

/// Where the first EFI system partition of a disk begins.
pub(crate) fn efi_system_at(bytes: &[u8]) -> Option<u64> {
    let is_table = slice(bytes, SECTOR, 8) == Some(b"EFI PART");
    let entries = slice(bytes, 2 * SECTOR, ENTRIES * ENTRY).filter(|_| is_table)?;
    let entry = entries.chunks_exact(usize_or_max(ENTRY)).find(|entry| entry.starts_with(&EFI_SYSTEM))?;
    Cursor::little(entry).u64("StartingLBA", 32).ok()?.checked_mul(SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_have_their_checksums() {
        let partition = Partition { kind: EFI_SYSTEM, id: id_of(&[7; 32]), name: "EFI", first: 34, last: 99 };
        let (front, back) = tables(&[partition], &id_of(&[1; 32]), 200);
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
