//! Disks, CDs and floppies: what `kimage disk` makes is good, and each claim of it has a change that breaks it. Offsets and values
//! are those of the UEFI specification (GPT), of Microsoft's FAT 1.03, of ECMA-119 and of El Torito.

use super::{Rules, breaks, rules};
use crate::support::{noise, put, read, run_ok, tempdir, testdata, tool};
use kimage::assemble::{DiskFile, DiskKind, DiskRequest, disk};
use kimage::finding::Severity;
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, Opened, open};
use kimage::internals::planned;
use std::process::Command;

const NAME: &str = "a rather long name.text";

fn made(kind: DiskKind, change: impl FnOnce(&mut DiskRequest<'_>)) -> Vec<u8> {
    let kernel = read(&testdata("tiny/kernel"));
    let mut request = DiskRequest::from(kind);
    change(&mut request);
    planned(&disk(&[DiskFile { name: "vmlinux".to_owned(), data: &kernel }], &request).unwrap().plan)
}

fn with_text(kind: DiskKind) -> Vec<u8> {
    made(kind, |request| request.add.push(DiskFile { name: NAME.to_owned(), data: b"text\n" }))
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    memchr::memmem::find(bytes, what).unwrap()
}

/// The same bytes, but for these.
fn with(bytes: &[u8], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    changes.iter().for_each(|(at, new)| bytes[*at..at + new.len()].copy_from_slice(new));
    bytes
}

fn word(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte))
}

/// A FAT12 that begins a disk.
struct Fat12 {
    bytes: Vec<u8>,
    table: usize,
    size: usize,
    data: usize,
    cluster: usize,
}

impl Fat12 {
    fn of(bytes: Vec<u8>) -> Fat12 {
        let table = word(&bytes, 14, 2) * 512;
        let size = word(&bytes, 22, 2) * 512;
        let data = table + 2 * size + word(&bytes, 17, 2) * 32;
        let cluster = word(&bytes, 13, 1) * 512;
        Fat12 { bytes, table, size, data, cluster }
    }

    /// Sets a cluster's entry, in so many of the tables.
    fn set(&mut self, cluster: usize, value: u16, tables: usize) {
        for table in (0..tables).map(|index| self.table + index * self.size) {
            let at = table + cluster * 3 / 2;
            let shift = cluster % 2 * 4;
            let pair = word(&self.bytes, at, 2) as u16;
            let pair = pair & !(0xfff << shift) | value << shift;
            self.bytes[at..at + 2].copy_from_slice(&pair.to_le_bytes());
        }
    }

    fn at(&self, cluster: usize) -> usize {
        self.data + (cluster - 2) * self.cluster
    }

    /// The entry of the kernel, and its first cluster and number of clusters.
    fn kernel(&self) -> (usize, usize, usize) {
        let entry = find(&self.bytes, b"BOOTX64 EFI");
        (entry, word(&self.bytes, entry + 26, 2), word(&self.bytes, entry + 28, 4).div_ceil(self.cluster))
    }
}

/// What is whole is good, and says what nobody looked at.
#[test]
fn what_kimage_makes_is_good() {
    for kind in [DiskKind::Esp, DiskKind::Gpt, DiskKind::Iso, DiskKind::Hybrid, DiskKind::Floppy144] {
        let bytes = made(kind, |_| {});
        let opened = open(&bytes, &Limits::default()).unwrap();
        let verified = verify(&opened);
        assert!(verified.is_good(), "{kind:?}: {:#?}", verified.findings);
        assert!(verified.findings.iter().all(|found| !found.finding.rule.starts_with("disk.")), "{kind:?}");
        assert!(opened.layers().iter().any(|layer| layer.name == "vmlinux"), "{kind:?}");
        breaks("disk.other_files", &bytes, &with_text(kind));
    }
}

#[test]
fn fat() {
    let whole = with_text(DiskKind::Esp);
    let fat = Fat12::of(whole.clone());
    let (entry, first, count) = fat.kernel();
    let text = 11 + (0..whole.len()).step_by(32).find(|at| whole[at + 11] == 0x0f && whole[*at] & 0x40 != 0).unwrap();
    breaks("fat.parameters", &whole, &with(&whole, &[(13, &[3])]));
    breaks("fat.total_sectors", &whole, &whole[..whole.len() - 512]);
    let more = (word(&whole, entry + 28, 4) + (1 << 18)) as u32;
    breaks("fat.chain", &whole, &with(&whole, &[(entry + 28, &more.to_le_bytes())]));
    breaks("fat.copies", &whole, &with(&whole, &[(fat.table + fat.size + 700, &[1])]));
    let mut lost = Fat12::of(whole.clone());
    lost.set(first + count + 100, 0xfff, 2);
    breaks("fat.lost_clusters", &whole, &lost.bytes);
    breaks("fat.long_name", &whole, &with(&whole, &[(text + 2, &[whole[text + 2] ^ 1])]));
    // A free cluster, a bad one, none, one that is in the chain already: of the kernel's second cluster.
    for value in [0, 0xff7, 0xf00, first as u16] {
        let mut broken = Fat12::of(whole.clone());
        broken.set(first + 1, value, 2);
        assert!(rules(&broken.bytes).contains("fat.chain"), "{value:#x}");
    }
    breaks("disk.efi_program", &whole, &with(&whole, &[(entry, b"BOOTAA64EFI")]));
    let begin = fat.at(first);
    assert!(rules(&with(&whole, &[(begin, b"??")])).contains("disk.efi_program"));
}

/// The kernel's last cluster is another: nobody looks into it where it is, and all of it comes out.
#[test]
fn in_pieces() {
    let whole = made(DiskKind::Esp, |_| {});
    let mut fat = Fat12::of(whole.clone());
    let (_, first, count) = fat.kernel();
    let (last, free) = (first + count - 1, first + count + 50);
    let contents = fat.bytes[fat.at(last)..fat.at(last + 1)].to_vec();
    let (from, to) = (fat.at(last), fat.at(free));
    fat.bytes[to..to + contents.len()].copy_from_slice(&contents);
    fat.bytes[from..from + contents.len()].fill(0x55);
    fat.set(last - 1, free as u16, 2);
    fat.set(free, 0xfff, 2);
    fat.set(last, 0, 2);
    breaks("disk.in_pieces", &whole, &fat.bytes);
    let file = |bytes: &[u8]| {
        let mut opened = Opened::new(bytes, &Limits::default()).unwrap();
        let files = opened.files();
        assert_eq!(files.iter().map(|file| &file.path).collect::<Vec<_>>(), ["EFI/BOOT/BOOTX64.EFI"]);
        opened.file_bytes(&files[0]).unwrap().concat()
    };
    assert!(file(&whole) == file(&fat.bytes));
    let opened = open(&fat.bytes, &Limits::default()).unwrap();
    assert!(!verify(&opened).is_good() && verify(&opened).unknown().is_some());
}

/// FAT32 has its boot sector twice.
#[test]
fn fat32() {
    let Some(mkfs) = tool("mkfs.vfat", "dosfstools") else { return };
    let dir = tempdir();
    let path = put(dir.path(), "fat32", &vec![0; 40 << 20]);
    run_ok(Command::new(mkfs).args(["-F", "32", "-s", "1"]).arg(&path));
    let whole = read(&path);
    let whole = Whole::of(whole);
    assert_eq!(whole.found, Rules::new());
    whole.gives(&[(6 * 512 + 3, b"X")], "fat.backup_boot");
}

/// A file that is large, so that it is looked at once.
struct Whole {
    bytes: Vec<u8>,
    found: Rules,
}

impl Whole {
    fn of(bytes: Vec<u8>) -> Whole {
        Whole { found: rules(&bytes), bytes }
    }

    #[track_caller]
    fn gives(&self, changes: &[(usize, &[u8])], rule: &'static str) {
        let changed = rules(&with(&self.bytes, changes));
        let added: Vec<&str> = changed.difference(&self.found).copied().collect();
        assert_eq!(added, [rule]);
    }
}

/// The sums of both tables made right again (UEFI 2.10, table 5.5).
fn seal(disk: &mut [u8]) {
    let last = disk.len() / 512 - 1;
    for header in [1, last] {
        let header = header * 512;
        let entries = word(disk, header + 72, 8) * 512;
        let sum = crc32fast::hash(&disk[entries..entries + 128 * 128]);
        disk[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
        disk[header + 16..header + 20].fill(0);
        let sum = crc32fast::hash(&disk[header..header + 92]);
        disk[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

#[test]
fn partition_table() {
    let whole = Whole::of(made(DiskKind::Gpt, |_| {}));
    let bytes = &whole.bytes;
    let last = bytes.len() - 512;
    whole.gives(&[(450, &[0x0c])], "gpt.protective_mbr");
    whole.gives(&[(512 + 56, &[bytes[512 + 56] ^ 1])], "gpt.header_crc32");
    whole.gives(&[(512, b"e")], "gpt.header_crc32");
    whole.gives(&[(1024 + 16, &[bytes[1024 + 16] ^ 1])], "gpt.entries_crc32");
    whole.gives(&[(last + 56, &[bytes[last + 56] ^ 1])], "gpt.backup");
    breaks("gpt.alternate_lba", bytes, &bytes[..last]);
    for (at, value) in [(32, 40_u64), (40, 1 << 40), (40, 100)] {
        let mut changed = bytes.clone();
        for entries in [1024, last - 32 * 512] {
            changed[entries + at..entries + at + 8].copy_from_slice(&value.to_le_bytes());
        }
        seal(&mut changed);
        assert!(rules(&changed).contains("gpt.partition"), "{at} {value}");
    }
    let parameters = find(bytes, b"KIMGDISK") + 8;
    whole.gives(&[(parameters, &[bytes[parameters] ^ 1])], "disk.bios_loader");
    whole.gives(&[(parameters + 4, &[bytes[parameters + 4] ^ 1])], "disk.bios_loader");
    // Sectors of 4 KiB: the same claims, elsewhere.
    let large = Whole::of(made(DiskKind::Gpt, |request| request.sector_size = 4096));
    assert_eq!(large.found, Rules::new());
    let (bytes, last) = (&large.bytes, large.bytes.len() - 4096);
    large.gives(&[(450, &[0x0c])], "gpt.protective_mbr");
    large.gives(&[(4096 + 56, &[bytes[4096 + 56] ^ 1])], "gpt.header_crc32");
    large.gives(&[(8192 + 16, &[bytes[8192 + 16] ^ 1])], "gpt.entries_crc32");
    large.gives(&[(last + 56, &[bytes[last + 56] ^ 1])], "gpt.backup");
    breaks("gpt.alternate_lba", bytes, &bytes[..last]);
    let bytes = &whole.bytes;
    // The table at the end alone is one, too; and no file system is none that firmware starts from.
    let mut second = bytes.clone();
    second[512..1024].fill(0);
    assert!(rules(&second).contains("gpt.header_crc32"));
    assert!(rules(&with(bytes, &[((1 << 20) + 11, &[7])])).contains("fat.parameters"));
}

#[test]
fn cd() {
    let whole = Whole::of(made(DiskKind::Iso, |_| {}));
    let bytes = &whole.bytes;
    let both = |value: u32| [value.to_le_bytes(), value.to_be_bytes()].concat();
    whole.gives(&[(0x8050, &both(word(bytes, 0x8050, 4) as u32 + 1))], "iso.volume_space_size");
    let record = find(bytes, b"BOOTX64.EFI;1") - 33;
    whole.gives(&[(record + 2, &[0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff])], "iso.record");
    whole.gives(&[(record + 9, &[bytes[record + 9] ^ 1])], "iso.byte_orders");
    let name: Vec<u8> = "BOOTX64.EFI;1".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let joliet = find(bytes, &name) - 33;
    let [block, size] = [2, 10].map(|at| word(bytes, joliet + at, 4) as u32);
    whole.gives(&[(joliet + 2, &both(block - 1))], "iso.joliet");
    whole.gives(&[(joliet + 10, &both(size - 1))], "iso.joliet");
    whole.gives(&[(joliet + 9, &[bytes[joliet + 9] ^ 1])], "iso.byte_orders");
    let catalog = 20 * 2048;
    whole.gives(&[(catalog + 4, b"X")], "iso.boot_catalog");
    whole.gives(&[(catalog + 96 + 8, &[0xff, 0xff, 0xff, 0])], "iso.boot_image");
}

/// A boot loader's entries name files of the disk.
#[test]
fn loader_entries() {
    let kernel = read(&testdata("tiny/kernel"));
    let own = planned(&kimage::assemble::bzimage_standalone(&kernel, &Default::default()).unwrap().plan);
    let entries = |initrd: bool| {
        let mut request = DiskRequest::from(DiskKind::Esp);
        request.loader.push(&own);
        request.initrd.extend(initrd.then_some(&b"07070"[..]));
        let images = ["one", "two"].map(|name| DiskFile { name: name.to_owned(), data: &own });
        planned(&disk(&images, &request).unwrap().plan)
    };
    let whole = entries(true);
    let at = |name: &[u8]| find(&whole, name) + name.len() - 1;
    let one = at(b"linux /one");
    breaks("disk.loader_entry", &whole, &with(&whole, &[(one, b"x")]));
    let severities = |bytes: &[u8]| -> Vec<_> {
        let opened = open(bytes, &Limits::default()).unwrap();
        let found = verify(&opened).findings.into_iter().map(|found| found.finding);
        found.filter(|finding| finding.rule == "disk.loader_entry").map(|finding| finding.severity).collect()
    };
    assert_eq!(severities(&with(&whole, &[(one, b"x")])), [Severity::Warning]);
    let initrds =
        memchr::memmem::find_iter(&whole, b"initrd /initrd").map(|at| (at + 13, &b"x"[..])).collect::<Vec<_>>();
    assert_eq!(initrds.len(), 2);
    assert_eq!(severities(&with(&whole, &initrds)), [Severity::Error; 2]);
}

/// A partition that kimage reads, and one that it does not.
#[test]
fn partitions() {
    let fat = made(DiskKind::Esp, |_| {});
    let entry = |kind: u8, start: u32, sectors: u32| {
        [&[0, 0, 0, 0, kind, 0, 0, 0][..], &start.to_le_bytes(), &sectors.to_le_bytes()].concat()
    };
    let mut disk = vec![0; 512 + fat.len() + 4096];
    let sectors = (fat.len() / 512) as u32;
    disk[446..462].copy_from_slice(&entry(0x0c, 1, sectors));
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[512..512 + fat.len()].copy_from_slice(&fat);
    assert_eq!(rules(&disk), rules(&fat));
    let two = with(&disk, &[(462, &entry(0x83, 1 + sectors, 8))]);
    breaks("disk.unread", &disk, &two);
    assert!(verify(&open(&two, &Limits::default()).unwrap()).unknown().is_some());
}

/// Any byte of the structures changed, or the end missing: nothing panics, and what is named is inside of the file.
#[test]
fn damage_is_borne() {
    for kind in [DiskKind::Gpt, DiskKind::Hybrid, DiskKind::Floppy144] {
        let whole = with_text(kind);
        let look = |bytes: &[u8]| {
            let Ok(mut opened) = Opened::new(bytes, &Limits::default()) else { return }; // no gap: an error is an answer
            for file in opened.files() {
                let len = opened.file_bytes(&file).map_or(0, |pieces| pieces.concat().len());
                assert!(len as u64 == file.size || len == 0);
            }
            verify(&opened);
        };
        let random = noise(2000, 3);
        let front = whole.len().min(1 << 17);
        for pair in random.chunks_exact(4) {
            let at = word(pair, 0, 3) % front;
            look(&with(&whole, &[(at, &[pair[3]])]));
        }
        for len in [0, 511, 512, 600, 1024, 5000, 32768 + 100, 40000, whole.len() / 2, whole.len() - 1] {
            look(&whole[..len.min(whole.len())]);
        }
    }
}
