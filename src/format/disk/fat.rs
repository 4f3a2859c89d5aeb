//! FAT12, FAT16 and FAT32: a new file system with files in it, each in one piece. [`super::fat_read`] reads any.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03 (names of fields as there).

use super::{BOOT_MARK, Entry, Error, File, SECTOR, Tree, count, low8, low16, low32, put};
use crate::bytes::{Field, len64, offset_of, utc_fields};
use crate::layout::{Plan, RegionKind, Reserver};
use std::collections::BTreeSet;
use std::ops::Range;

/// The parameters in the boot sector.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("BPB_BytsPerSec", 11, 2),
    Field::new("BPB_SecPerClus", 13, 1),
    Field::new("BPB_RsvdSecCnt", 14, 2),
    Field::new("BPB_NumFATs", 16, 1),
    Field::new("BPB_RootEntCnt", 17, 2),
    Field::new("BPB_TotSec16", 19, 2),
    Field::new("BPB_Media", 21, 1),
    Field::new("BPB_FATSz16", 22, 2),
    Field::new("BPB_SecPerTrk", 24, 2),
    Field::new("BPB_NumHeads", 26, 2),
    Field::new("BPB_HiddSec", 28, 4),
    Field::new("BPB_TotSec32", 32, 4),
    Field::new("BPB_FATSz32", 36, 4),
    Field::new("BPB_RootClus", 44, 4),
    Field::new("BPB_FSInfo", 48, 2),
    Field::new("BPB_BkBootSec", 50, 2),
];

/// What follows the parameters: drive number, 0x29, serial number, label, name of the file system.
const TAIL: u64 = 36;
const TAIL_32: u64 = 64;
/// Bytes of an entry of a folder.
pub(super) const ENTRY: u64 = 32;
/// UTF-16 units of a long name in one entry.
pub(super) const UNITS: usize = 13;
pub(super) const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
pub(super) const LABEL: u8 = 0x08;
pub(super) const LONG_NAME: u8 = 0x0f;
/// A file ends here.
const END: u32 = 0x0fff_ffff;
/// FAT32: the sectors of the second boot sector, and of the counts of free clusters.
const BACKUP: u64 = 6;
const INFO: u64 = 1;

/// Bits of a cluster's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    /// 12.
    Twelve,
    /// 16.
    Sixteen,
    /// 32, of which 28 count.
    ThirtyTwo,
}

impl Bits {
    /// The number of clusters decides which it is; nobody should come near to the limits, for not all count alike.
    const fn clusters(self) -> (u64, u64) {
        match self {
            Bits::Twelve => (1, 4084 - 16),
            Bits::Sixteen => (4085 + 16, 65524 - 16),
            Bits::ThirtyTwo => (65525 + 16, 0x0fff_fff0),
        }
    }

    const fn count(self) -> u64 {
        match self {
            Bits::Twelve => 12,
            Bits::Sixteen => 16,
            Bits::ThirtyTwo => 32,
        }
    }

    const fn name(self) -> &'static [u8; 8] {
        match self {
            Bits::Twelve => b"FAT12   ",
            Bits::Sixteen => b"FAT16   ",
            Bits::ThirtyTwo => b"FAT32   ",
        }
    }
}

/// What a file system is like, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub bits: Bits,
    /// Bytes of a sector.
    pub sector: u64,
    pub reserved: u64,
    /// Of each of the two tables.
    pub table: u64,
    pub root_entries: u64,
    pub cluster: u64,
    pub total: u64,
    media: u8,
    track: u16,
    heads: u16,
}

/// Clusters of disks, from the smallest on: the kind of table, and bytes. All begin where a CD's sector does.
const CHOICES: [(Bits, u64); 9] = [
    (Bits::Twelve, 2 << 10),
    (Bits::Sixteen, 2 << 10),
    (Bits::Twelve, 4 << 10),
    (Bits::Sixteen, 4 << 10),
    (Bits::Sixteen, 8 << 10),
    (Bits::ThirtyTwo, 4 << 10),
    (Bits::ThirtyTwo, 8 << 10),
    (Bits::ThirtyTwo, 16 << 10),
    (Bits::ThirtyTwo, 32 << 10),
];

/// Those of a disk with sectors of so many bytes; clusters in sectors.
fn choices(sector: u64) -> impl Iterator<Item = (Bits, u64)> {
    CHOICES.into_iter().filter_map(move |(bits, size)| (size >= sector).then_some((bits, size / sector)))
}

impl Shape {
    /// A floppy of 1.44 MB, as all systems format it.
    pub(crate) const FLOPPY: Shape = Shape {
        bits: Bits::Twelve,
        sector: SECTOR,
        reserved: 1,
        table: 9,
        root_entries: 224,
        cluster: 1,
        total: 2880,
        media: 0xf0,
        track: 18,
        heads: 2,
    };

    /// The smallest disk with room for `files` and `free` bytes more, with sectors of so many bytes.
    ///
    /// # Errors
    /// [`Error::Full`] when there is none.
    pub(crate) fn for_files(files: &[File<'_>], tree: &Tree, free: u64, sector: u64) -> Result<Shape, Error> {
        let mut need = 0;
        for (bits, cluster) in choices(sector) {
            let clusters = Self::need(files, tree, bits, cluster * sector) + free.div_ceil(cluster * sector);
            need = clusters * cluster * sector;
            let (least, most) = bits.clusters();
            if clusters <= most {
                let shape = Shape::with(bits, sector, cluster, clusters.max(least));
                if shape.total <= u32::MAX.into() {
                    return Ok(shape);
                }
            }
        }
        Err(Error::Full { what: "largest FAT", need, have: u64::from(u32::MAX) * sector, help: "" })
    }

    /// A disk of so many sectors of so many bytes, with room for `files`.
    ///
    /// # Errors
    /// [`Error::Full`] when they do not fit.
    pub(crate) fn of_size(total: u64, files: &[File<'_>], tree: &Tree, sector: u64) -> Result<Shape, Error> {
        let total = total.min(u32::MAX.into());
        let of = |total: u64| {
            let shapes = choices(sector).map(|(bits, cluster)| {
                // The tables for more clusters than there will be.
                (bits, Shape { total, ..Shape::with(bits, sector, cluster, total / cluster) })
            });
            let is_one = |(bits, shape): &(Bits, Shape)| {
                let (least, most) = bits.clusters();
                (least..=most).contains(&shape.clusters())
            };
            let (bits, shape) = shapes.into_iter().find(is_one)?;
            (Self::need(files, tree, bits, shape.size()) <= shape.clusters()).then_some(shape)
        };
        if let Some(shape) = of(total) {
            return Ok(shape);
        }
        // Its tables may need a sector or two more than those of the smallest.
        let least = Self::for_files(files, tree, 0, sector)?.total;
        let need = (least..=u32::MAX.into()).find(|total| of(*total).is_some()).unwrap_or(least);
        Err(Error::Small { need: need * sector, have: total * sector })
    }

    fn with(bits: Bits, sector: u64, cluster: u64, clusters: u64) -> Shape {
        let table = ((clusters + 2) * bits.count()).div_ceil(8 * sector);
        let (least, root_entries) = if bits == Bits::ThirtyTwo { (32, 0) } else { (1, 512) };
        let behind = 2 * table + root_entries * ENTRY / sector;
        let reserved = (least + behind).next_multiple_of(cluster) - behind;
        let total = reserved + behind + clusters * cluster;
        Shape { bits, sector, reserved, table, root_entries, cluster, total, media: 0xf8, track: 63, heads: 255 }
    }

    /// Clusters of `size` bytes that files and folders take, but for those of a root folder outside of them.
    fn need(files: &[File<'_>], tree: &Tree, bits: Bits, size: u64) -> u64 {
        let files: u64 = files.iter().map(|file| file.len().div_ceil(size)).sum();
        let is_inside = |index: &usize| *index > 0 || bits == Bits::ThirtyTwo;
        let folders = (0..tree.folders.len()).filter(is_inside);
        files + folders.map(|index| (folder_entries(tree, index) * ENTRY).div_ceil(size)).sum::<u64>()
    }

    /// The sector at which the clusters begin.
    pub(crate) fn data(&self) -> u64 {
        self.reserved + 2 * self.table + self.root_entries * ENTRY / self.sector
    }

    fn clusters(&self) -> u64 {
        self.total.saturating_sub(self.data()) / self.cluster
    }

    /// Bytes of a cluster.
    fn size(&self) -> u64 {
        self.cluster * self.sector
    }
}

/// How many entries a folder has: its label or itself and its parent, and what is in it.
fn folder_entries(tree: &Tree, index: usize) -> u64 {
    let names = tree.folders.get(index).map(short_names).unwrap_or_default();
    let own = if index == 0 { 1 } else { 2 };
    own + names.iter().map(|name| 1 + count(&name.long)).sum::<u64>()
}

/// The name of an entry as every system knows it, and the long one, from its end on, where it needs one.
#[derive(Debug)]
struct Name {
    short: [u8; 11],
    long: Vec<[u16; UNITS]>,
}

/// `NAME.EXT` in capital letters.
fn short_name(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = |part: &str, len| part.len() <= len && part.bytes().all(is_short);
    if base.is_empty() || !fits(base, 8) || !fits(extension, 3) || name.ends_with('.') {
        return None;
    }
    let mut short = [b' '; 11];
    put(&mut short, 0, base.as_bytes());
    put(&mut short, 8, extension.as_bytes());
    Some(short)
}

fn is_short(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn short_names(folder: &super::Folder) -> Vec<Name> {
    let mut taken: BTreeSet<[u8; 11]> = folder.entries.iter().filter_map(|(name, _)| short_name(name)).collect();
    let mut names = Vec::new();
    for (name, _) in &folder.entries {
        if let Some(short) = short_name(name) {
            names.push(Name { short, long: Vec::new() });
            continue;
        }
        let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let mangled = |part: &str, len| -> Vec<u8> {
            let upper = part.bytes().filter(u8::is_ascii).map(|byte| byte.to_ascii_uppercase());
            upper.filter(|byte| is_short(*byte) && *byte != b'~').take(len).collect()
        };
        let short = (1_u32..).find_map(|number| {
            let tail = format!("~{number}");
            let mut short = [b' '; 11];
            let base = mangled(base, 8_usize.saturating_sub(tail.len()));
            put(&mut short, 0, &base);
            put(&mut short, len64(&base), tail.as_bytes());
            put(&mut short, 8, &mangled(extension, 3));
            taken.insert(short).then_some(short)
        });
        let mut units: Vec<u16> = name.encode_utf16().collect();
        if units.len() % UNITS != 0 {
            units.push(0);
        }
        let pieces = units.chunks(UNITS).map(|chunk| {
            let mut piece = [0xffff; UNITS];
            piece.iter_mut().zip(chunk).for_each(|(to, unit)| *to = *unit);
            piece
        });
        names.push(Name { short: short.unwrap_or([b' '; 11]), long: pieces.collect() });
    }
    names
}

/// Time and date of an entry: from 1980 to 2107, to two seconds.
fn stamp(time: u32) -> [u8; 4] {
    let [year, month, day, hour, minute, second] = utc_fields(time.into());
    let date = match year.checked_sub(1980) {
        Some(year) => low16(year << 9 | month << 5 | day),
        None => return [0, 0, 0x21, 0],
    };
    let [a, b] = low16(hour << 11 | minute << 5 | (second / 2)).to_le_bytes();
    let [c, d] = date.to_le_bytes();
    [a, b, c, d]
}

/// Where everything of a new file system is.
#[derive(Debug)]
pub(crate) struct Layout {
    pub shape: Shape,
    /// The clusters of each folder; none of a root folder outside of them.
    folders: Vec<Range<u64>>,
    /// Those of each file.
    files: Vec<Range<u64>>,
    /// The lengths of the files.
    lengths: Vec<u64>,
    /// The first cluster that is free.
    free: u64,
}

impl Layout {
    /// The folders, and behind them the files, one behind the other.
    ///
    /// # Errors
    /// [`Error::Full`] when they do not fit, and [`Error::File`] for a file of 4 GiB.
    pub(crate) fn new(shape: Shape, files: &[File<'_>], tree: &Tree) -> Result<Layout, Error> {
        let mut next = 2;
        let mut take = |bytes: u64| {
            let start = next;
            next += bytes.div_ceil(shape.size());
            start..next
        };
        let mut folders = Vec::new();
        for index in 0..tree.folders.len() {
            let bytes = folder_entries(tree, index) * ENTRY;
            let is_outside = index == 0 && shape.bits != Bits::ThirtyTwo;
            if is_outside && bytes > shape.root_entries * ENTRY {
                let path = tree.folders.first().and_then(|root| root.entries.last()).map(|(name, _)| name.clone());
                let why = "there are more files in the root folder than it has entries for";
                return Err(Error::File { path: path.unwrap_or_default(), why });
            }
            folders.push(if is_outside { take(0) } else { take(bytes) });
        }
        if let Some(file) = files.iter().find(|file| u32::try_from(file.len()).is_err()) {
            return Err(Error::File { path: file.path.clone(), why: "a FAT has no files of 4 GiB" });
        }
        let lengths: Vec<u64> = files.iter().map(File::len).collect();
        let files = lengths.iter().map(|len| take(*len)).collect();
        let (need, have) = ((next - 2) * shape.size(), shape.clusters() * shape.size());
        if need > have {
            let help =
                "compress the kernel with xz (`kimage bzimage`), build a smaller one, or take another kind of disk";
            return Err(Error::Full { what: "floppy", need, have, help });
        }
        Ok(Layout { shape, folders, files, lengths, free: next })
    }

    /// Where a file is, in bytes from the start of the file system.
    pub(crate) fn file(&self, index: usize) -> Range<u64> {
        let first = self.files.get(index).map_or(2, |clusters| clusters.start);
        let start = (self.shape.data() + (first - 2) * self.shape.cluster) * self.shape.sector;
        start..start + self.lengths.get(index).copied().unwrap_or_default()
    }
}

/// What a new file system is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'b> {
    /// The code of its boot sector, a sector.
    pub boot: &'b [u8],
    /// Sectors in front of it on its disk.
    pub hidden: u64,
    /// Its serial number.
    pub id: u32,
    /// The time of its files, in seconds since 1970.
    pub time: u32,
}

/// The file system with these files, for which the layout was made.
///
/// # Errors
/// [`Error::Layout`].
pub(crate) fn plan<'a>(
    layout: &Layout,
    files: Vec<File<'a>>,
    tree: &Tree,
    options: &Options<'_>,
) -> Result<Plan<'a>, Error> {
    let shape = layout.shape;
    let mut out = Reserver::new();
    out.bytes(reserved(layout, options))?;
    out.region("boot sector", 0, RegionKind::Code);
    out.fill_to("boot sector", shape.reserved * shape.sector, 0)?;
    for name in ["FAT[0]", "FAT[1]"] {
        let start = out.at();
        out.bytes(table(layout))?;
        out.fill_to("table", start + shape.table * shape.sector, 0)?;
        out.region(name, start, RegionKind::Header);
    }
    for (index, clusters) in layout.folders.iter().enumerate() {
        let start = out.at();
        let bytes = folder(layout, tree, index, options.time);
        out.bytes(bytes)?;
        let clusters = (clusters.end - clusters.start) * shape.size();
        let len = if index == 0 { clusters.max(shape.root_entries * ENTRY) } else { clusters };
        out.fill_to("folder", start + len, 0)?;
        out.region(format!("folder[{index}]"), start, RegionKind::Header);
    }
    for file in files {
        let start = out.at();
        for piece in file.data {
            out.bytes(piece)?;
        }
        out.region(file.path, start, RegionKind::Data);
        let end = out.at() - shape.data() * shape.sector;
        out.fill(end.next_multiple_of(shape.size()) - end, 0)?;
    }
    let start = out.at();
    out.fill_to("file system", shape.total * shape.sector, 0)?;
    out.region("free clusters", start, RegionKind::Padding);
    Ok(out.finish())
}

/// The boot sector, and FAT32's further ones.
fn reserved(layout: &Layout, options: &Options<'_>) -> Vec<u8> {
    let shape = layout.shape;
    let mut sector = options.boot.to_vec();
    sector.resize(crate::layout::usize_or_max(shape.sector), 0);
    let is_32 = shape.bits == Bits::ThirtyTwo;
    let (total_16, total_32) = if shape.total < 0x1_0000 && !is_32 { (shape.total, 0) } else { (0, shape.total) };
    let (table_16, table_32) = if is_32 { (0, shape.table) } else { (shape.table, 0) };
    put(&mut sector, 3, b"KIMAGE  ");
    let tail = if is_32 { TAIL_32 } else { TAIL };
    put(&mut sector, 11, &vec![0; crate::layout::usize_or_max(tail + 26 - 11)]);
    let mut set = |name, value: u64| {
        let width = FIELDS.iter().find(|field| field.name == name).map_or(0, |field| field.width);
        let bytes = value.to_le_bytes();
        put(&mut sector, offset_of(FIELDS, name), bytes.get(..crate::layout::usize_or_max(width)).unwrap_or_default());
    };
    set("BPB_BytsPerSec", shape.sector);
    set("BPB_SecPerClus", shape.cluster);
    set("BPB_RsvdSecCnt", shape.reserved);
    set("BPB_NumFATs", 2);
    set("BPB_RootEntCnt", shape.root_entries);
    set("BPB_TotSec16", total_16);
    set("BPB_Media", shape.media.into());
    set("BPB_FATSz16", table_16);
    set("BPB_SecPerTrk", shape.track.into());
    set("BPB_NumHeads", shape.heads.into());
    set("BPB_HiddSec", options.hidden);
    set("BPB_TotSec32", total_32);
    if is_32 {
        set("BPB_FATSz32", table_32);
        set("BPB_RootClus", 2);
        set("BPB_FSInfo", INFO);
        set("BPB_BkBootSec", BACKUP);
    }
    let drive = if shape.media == Shape::FLOPPY.media { 0 } else { 0x80 };
    put(&mut sector, tail, &[drive, 0, 0x29]);
    put(&mut sector, tail + 3, &options.id.to_le_bytes());
    put(&mut sector, tail + 7, VOLUME);
    put(&mut sector, tail + 18, shape.bits.name());
    let (at, mark) = BOOT_MARK;
    put(&mut sector, at, mark);
    if !is_32 {
        return sector;
    }
    let mut info = vec![0; crate::layout::usize_or_max(shape.sector)];
    let free = shape.clusters() - (layout.free - 2);
    put(&mut info, 0, b"RRaA");
    put(&mut info, 484, b"rrAa");
    put(&mut info, 488, &low32(free).to_le_bytes());
    put(&mut info, 492, &low32(layout.free).to_le_bytes());
    put(&mut info, at, mark);
    let boot = [sector, info].concat();
    let mut all = vec![0; crate::layout::usize_or_max(8 * shape.sector)];
    put(&mut all, 0, &boot);
    put(&mut all, BACKUP * shape.sector, &boot);
    all
}

/// The label.
const VOLUME: &[u8; 11] = b"KIMAGE     ";

/// The table, up to the last cluster that is used.
fn table(layout: &Layout) -> Vec<u8> {
    let shape = layout.shape;
    let mut entries = vec![0x0fff_ff00 | u32::from(shape.media), END];
    for clusters in layout.folders.iter().chain(&layout.files) {
        entries.extend(clusters.clone().map(|at| if at + 1 == clusters.end { END } else { low32(at + 1) }));
    }
    match shape.bits {
        Bits::ThirtyTwo => entries.iter().flat_map(|entry| entry.to_le_bytes()).collect(),
        Bits::Sixteen => entries.iter().flat_map(|entry| low16((entry & 0xffff).into()).to_le_bytes()).collect(),
        Bits::Twelve => entries
            .chunks(2)
            .flat_map(|pair| {
                let (first, second) = (pair.first().unwrap_or(&0) & 0xfff, pair.get(1).unwrap_or(&0) & 0xfff);
                let [a, b, c, _] = (first | second << 12).to_le_bytes();
                [a, b, c]
            })
            .collect(),
    }
}

fn folder(layout: &Layout, tree: &Tree, index: usize, time: u32) -> Vec<u8> {
    let Some(folder) = tree.folders.get(index) else { return Vec::new() };
    let mut out = Vec::new();
    let of_folder = |index: usize| layout.folders.get(index).map_or(0, |clusters| clusters.start);
    if index == 0 {
        out.extend(entry(VOLUME, LABEL, 0, 0, time));
    } else {
        out.extend(entry(b".          ", FOLDER, of_folder(index), 0, time));
        // The root folder is 0 here, wherever it is.
        let parent = if folder.parent == 0 { 0 } else { of_folder(folder.parent) };
        out.extend(entry(b"..         ", FOLDER, parent, 0, time));
    }
    for ((_, what), name) in folder.entries.iter().zip(short_names(folder)) {
        let sum = short_sum(&name.short);
        for (number, units) in name.long.iter().enumerate().rev() {
            let last = if number + 1 == name.long.len() { 0x40 } else { 0 };
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let part = |range: Range<usize>| bytes.get(range).unwrap_or_default().to_vec();
            let head = [last | low8(crate::bytes::count64(number) + 1)];
            out.extend([&head[..], &part(0..10), &[LONG_NAME, 0, sum], &part(10..22), &[0, 0], &part(22..26)].concat());
        }
        let (kind, clusters, len) = match what {
            Entry::Folder(inner) => (FOLDER, layout.folders.get(*inner), 0),
            Entry::File(file) => (ARCHIVE, layout.files.get(*file), layout.lengths.get(*file).copied().unwrap_or(0)),
        };
        let cluster = clusters.filter(|clusters| !clusters.is_empty()).map_or(0, |clusters| clusters.start);
        out.extend(entry(&name.short, kind, cluster, len, time));
    }
    out
}

/// What each piece of a long name has of the short one.
pub(super) fn short_sum(name: &[u8; 11]) -> u8 {
    name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// An entry of a folder.
fn entry(name: &[u8; 11], kind: u8, cluster: u64, len: u64, time: u32) -> [u8; 32] {
    let mut entry = [0; 32];
    let [time_low, time_high, date_low, date_high] = stamp(time);
    let [low, lower, high, higher] = low32(cluster).to_le_bytes();
    put(&mut entry, 0, name);
    put(&mut entry, 11, &[kind]);
    put(&mut entry, 14, &[time_low, time_high, date_low, date_high, date_low, date_high, high, higher]);
    put(&mut entry, 22, &[time_low, time_high, date_low, date_high, low, lower]);
    put(&mut entry, 28, &low32(len).to_le_bytes());
    entry
}
