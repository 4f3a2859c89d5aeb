//! FAT12, FAT16 and FAT32: a new file system with files in it, each in one piece; and where the files of any are.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03 (names of fields as there).

use super::{BOOT_MARK, Entry, Error, File, SECTOR, Tree, count, low8, low16, low32, put};
use crate::bytes::{Cursor, Field, len64, offset_of, slice, utc_fields};
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
const ENTRY: u64 = 32;
/// UTF-16 units of a long name in one entry.
const UNITS: usize = 13;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
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

/// Clusters of disks, from the smallest on: the kind of table, and sectors. All begin where a CD's sector does.
const CHOICES: [(Bits, u64); 9] = [
    (Bits::Twelve, 4),
    (Bits::Sixteen, 4),
    (Bits::Twelve, 8),
    (Bits::Sixteen, 8),
    (Bits::Sixteen, 16),
    (Bits::ThirtyTwo, 8),
    (Bits::ThirtyTwo, 16),
    (Bits::ThirtyTwo, 32),
    (Bits::ThirtyTwo, 64),
];

impl Shape {
    /// A floppy of 1.44 MB, as all systems format it.
    pub(crate) const FLOPPY: Shape = Shape {
        bits: Bits::Twelve,
        reserved: 1,
        table: 9,
        root_entries: 224,
        cluster: 1,
        total: 2880,
        media: 0xf0,
        track: 18,
        heads: 2,
    };

    /// The smallest disk with room for `files` and `free` bytes more.
    ///
    /// # Errors
    /// [`Error::Full`] when there is none.
    pub(crate) fn for_files(files: &[File<'_>], tree: &Tree, free: u64) -> Result<Shape, Error> {
        let mut need = 0;
        for (bits, cluster) in CHOICES {
            let clusters = Self::need(files, tree, bits, cluster) + free.div_ceil(cluster * SECTOR);
            need = clusters * cluster * SECTOR;
            let (least, most) = bits.clusters();
            if clusters <= most {
                let shape = Shape::with(bits, cluster, clusters.max(least));
                if shape.total <= u32::MAX.into() {
                    return Ok(shape);
                }
            }
        }
        Err(Error::Full { what: "largest FAT", need, have: u64::from(u32::MAX) * SECTOR, help: "" })
    }

    /// A disk of so many sectors, with room for `files`.
    ///
    /// # Errors
    /// [`Error::Full`] when they do not fit.
    pub(crate) fn of_size(total: u64, files: &[File<'_>], tree: &Tree) -> Result<Shape, Error> {
        const HELP: &str = "give a larger `request.size`, or none: then it is as large as the files need";
        let total = total.min(u32::MAX.into());
        for (bits, cluster) in CHOICES {
            // The tables for more clusters than there will be.
            let mut shape = Shape::with(bits, cluster, total / cluster);
            shape.total = total;
            let (least, most) = bits.clusters();
            if (least..=most).contains(&shape.clusters()) {
                let (need, have) = (Self::need(files, tree, bits, cluster), shape.clusters());
                if need > have {
                    let bytes = cluster * SECTOR;
                    return Err(Error::Full { what: "disk", need: need * bytes, have: have * bytes, help: HELP });
                }
                return Ok(shape);
            }
        }
        Err(Error::Full { what: "disk", need: SECTOR, have: 0, help: HELP })
    }

    fn with(bits: Bits, cluster: u64, clusters: u64) -> Shape {
        let table = ((clusters + 2) * bits.count()).div_ceil(8 * SECTOR);
        let (least, root_entries) = if bits == Bits::ThirtyTwo { (32, 0) } else { (1, 512) };
        let behind = 2 * table + root_entries * ENTRY / SECTOR;
        let reserved = (least + behind).next_multiple_of(cluster) - behind;
        let total = reserved + behind + clusters * cluster;
        Shape { bits, reserved, table, root_entries, cluster, total, media: 0xf8, track: 63, heads: 255 }
    }

    /// Clusters that files and folders take, but for those of a root folder outside of them.
    fn need(files: &[File<'_>], tree: &Tree, bits: Bits, cluster: u64) -> u64 {
        let size = cluster * SECTOR;
        let files: u64 = files.iter().map(|file| file.len().div_ceil(size)).sum();
        let is_inside = |index: &usize| *index > 0 || bits == Bits::ThirtyTwo;
        let folders = (0..tree.folders.len()).filter(is_inside);
        files + folders.map(|index| (folder_entries(tree, index) * ENTRY).div_ceil(size)).sum::<u64>()
    }

    /// The sector at which the clusters begin.
    pub(crate) fn data(&self) -> u64 {
        self.reserved + 2 * self.table + self.root_entries * ENTRY / SECTOR
    }

    fn clusters(&self) -> u64 {
        self.total.saturating_sub(self.data()) / self.cluster
    }

    /// Bytes of a cluster.
    fn size(&self) -> u64 {
        self.cluster * SECTOR
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
        let start = (self.shape.data() + (first - 2) * self.shape.cluster) * SECTOR;
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
    out.fill_to("boot sector", shape.reserved * SECTOR, 0)?;
    for name in ["FAT[0]", "FAT[1]"] {
        let start = out.at();
        out.bytes(table(layout))?;
        out.fill_to("table", start + shape.table * SECTOR, 0)?;
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
        let end = out.at() - shape.data() * SECTOR;
        out.fill(end.next_multiple_of(shape.size()) - end, 0)?;
    }
    let start = out.at();
    out.fill_to("file system", shape.total * SECTOR, 0)?;
    out.region("free clusters", start, RegionKind::Padding);
    Ok(out.finish())
}

/// The boot sector, and FAT32's further ones.
fn reserved(layout: &Layout, options: &Options<'_>) -> Vec<u8> {
    let shape = layout.shape;
    let mut sector = options.boot.to_vec();
    sector.resize(crate::layout::usize_or_max(SECTOR), 0);
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
    set("BPB_BytsPerSec", SECTOR);
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
    let mut info = vec![0; crate::layout::usize_or_max(SECTOR)];
    let free = shape.clusters() - (layout.free - 2);
    put(&mut info, 0, b"RRaA");
    put(&mut info, 484, b"rrAa");
    put(&mut info, 488, &low32(free).to_le_bytes());
    put(&mut info, 492, &low32(layout.free).to_le_bytes());
    put(&mut info, at, mark);
    let boot = [sector, info].concat();
    let mut all = vec![0; crate::layout::usize_or_max(8 * SECTOR)];
    put(&mut all, 0, &boot);
    put(&mut all, BACKUP * SECTOR, &boot);
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
        let sum = name.short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
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

/// A file of a file system that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path, as [`super::File::path`].
    pub path: String,
    /// Where its first byte is, from the start of the file system.
    pub at: u64,
    /// Bytes of it.
    pub size: u64,
    /// In how many pieces it lies; 0 where its clusters end too early.
    pub pieces: u64,
}

/// A file system, read.
#[derive(Debug)]
pub(crate) struct Volume<'a> {
    bytes: &'a [u8],
    /// Bits of a cluster's number.
    pub bits: Bits,
    /// Bytes of a cluster.
    cluster: u64,
    clusters: u64,
    /// Where the table, the root folder outside of clusters and the clusters are, in bytes.
    table: u64,
    root: Range<u64>,
    data: u64,
    root_cluster: u64,
}

impl<'a> Volume<'a> {
    /// The file system that begins `bytes`, if its parameters agree with each other.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Volume<'a>> {
        let (at, mark) = BOOT_MARK;
        let cursor = Cursor::little(bytes);
        let get = |name: &'static str| -> Option<u64> {
            let field = FIELDS.iter().find(|field| field.name == name)?;
            Some(match field.width {
                1 => cursor.u8(name, field.at).ok()?.into(),
                2 => cursor.u16(name, field.at).ok()?.into(),
                _ => cursor.u32(name, field.at).ok()?.into(),
            })
        };
        let either = |short, long| get(short).filter(|value| *value > 0).or_else(|| get(long));
        let sector = get("BPB_BytsPerSec").filter(|size| matches!(size, 512 | 1024 | 2048 | 4096))?;
        let cluster = get("BPB_SecPerClus").filter(|count| count.is_power_of_two())?;
        let (reserved, tables) = (get("BPB_RsvdSecCnt").filter(|count| *count > 0)?, get("BPB_NumFATs")?);
        let total = either("BPB_TotSec16", "BPB_TotSec32")?;
        let table = either("BPB_FATSz16", "BPB_FATSz32").filter(|size| *size > 0)?;
        let root = reserved + tables * table;
        let data = root + (get("BPB_RootEntCnt")? * ENTRY).div_ceil(sector);
        let clusters = total.checked_sub(data)? / cluster;
        if slice(bytes, at, len64(mark)) != Some(mark) || !(1..=2).contains(&tables) || clusters == 0 {
            return None;
        }
        let bits = match clusters {
            0..4085 => Bits::Twelve,
            4085..65525 => Bits::Sixteen,
            _ => Bits::ThirtyTwo,
        };
        let root_cluster = if bits == Bits::ThirtyTwo { get("BPB_RootClus")? } else { 0 };
        let (table, root, data) = (reserved * sector, root * sector..data * sector, data * sector);
        Some(Volume { bytes, bits, cluster: cluster * sector, clusters, table, root, data, root_cluster })
    }

    /// What the table says of a cluster: the next; `None` at the end.
    fn next(&self, at: u64) -> Option<u64> {
        let cursor = Cursor::little(self.bytes);
        let next: u64 = match self.bits {
            Bits::Twelve => {
                let pair = cursor.u16("FAT", self.table + at + at / 2).ok()?;
                u64::from(if at % 2 == 0 { pair & 0xfff } else { pair >> 4 })
            }
            Bits::Sixteen => cursor.u16("FAT", self.table + 2 * at).ok()?.into(),
            Bits::ThirtyTwo => u64::from(cursor.u32("FAT", self.table + 4 * at).ok()? & 0x0fff_ffff),
        };
        (2..self.clusters + 2).contains(&next).then_some(next)
    }

    fn at(&self, cluster: u64) -> u64 {
        self.data + cluster.saturating_sub(2).saturating_mul(self.cluster)
    }

    /// The files, up to `most` of them, and whether those are all.
    pub(crate) fn files(&self, most: usize) -> (Vec<Found>, bool) {
        /// What is looked at of the table in all, and the clusters of a folder.
        const MOST_STEPS: u64 = 4 << 20;
        const LARGEST: usize = 1 << 10;
        let (mut found, mut steps, mut seen) = (Vec::new(), 0, BTreeSet::new());
        let mut folders = vec![(String::new(), self.root_cluster)];
        while let Some((path, first)) = folders.pop() {
            let mut entries = Vec::new();
            if first == 0 {
                entries.extend_from_slice(crate::bytes::slice_at(self.bytes, &self.root).unwrap_or_default());
            }
            let mut cluster = Some(first).filter(|first| (2..self.clusters + 2).contains(first));
            while let Some(at) = cluster.filter(|at| seen.insert(*at) && entries.len() < LARGEST * 2048) {
                entries.extend_from_slice(slice(self.bytes, self.at(at), self.cluster).unwrap_or_default());
                cluster = self.next(at);
            }
            for (name, kind, first, size) in names_of(&entries) {
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                if kind & FOLDER != 0 {
                    // The root is no folder of any.
                    folders.extend((first != 0).then_some((path, first)));
                    continue;
                }
                if found.len() == most || steps > MOST_STEPS {
                    return (found, false);
                }
                let (mut at, mut pieces, mut left) = (first, u64::from(size > 0), size.div_ceil(self.cluster));
                if size > 0 && !(2..self.clusters + 2).contains(&first) {
                    (pieces, left) = (0, 0);
                }
                while left > 1 && steps <= MOST_STEPS {
                    steps += 1;
                    left -= 1;
                    let Some(next) = self.next(at) else {
                        pieces = 0;
                        break;
                    };
                    pieces += u64::from(next != at + 1);
                    at = next;
                }
                found.push(Found { path, at: if size == 0 { 0 } else { self.at(first) }, size, pieces });
            }
        }
        (found, true)
    }
}

/// The names in a folder, with kind, first cluster and size.
fn names_of(entries: &[u8]) -> Vec<(String, u8, u64, u64)> {
    let (mut found, mut long) = (Vec::new(), Vec::new());
    for entry in entries.chunks_exact(32) {
        let (Some((short, _)), Some(kind)) = (entry.split_first_chunk::<11>(), entry.get(11)) else { break };
        match short.first() {
            Some(0) => break,
            Some(0xe5) => {
                long.clear();
                continue;
            }
            _ => {}
        }
        if *kind & 0x3f == LONG_NAME {
            let units = [1..11, 14..26, 28..32].map(|part| entry.get(part).unwrap_or_default()).concat();
            let units =
                units.chunks_exact(2).map(|unit| unit.iter().rev().fold(0, |all, byte| all << 8 | u16::from(*byte)));
            // The last piece of a name stands first.
            let units: Vec<u16> = units.take_while(|unit| *unit != 0 && *unit != 0xffff).collect();
            long.splice(0..0, units);
            long.truncate(20 * UNITS);
            continue;
        }
        let name = std::mem::take(&mut long);
        if kind & LABEL != 0 || short.starts_with(b".") {
            continue;
        }
        let part = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
        let (base, extension) = short.split_at(8);
        // Windows NT's marks of names all in small letters.
        let marks = entry.get(12).copied().unwrap_or(0);
        let cased = |text: String, mark: u8| if marks & mark != 0 { text.to_lowercase() } else { text };
        let plain = [cased(part(base), 0x08), cased(part(extension), 0x10)];
        let plain = plain.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(".");
        let name = if name.is_empty() { plain } else { String::from_utf16_lossy(&name) };
        let word = |at| u64::from(Cursor::little(entry).u16("entry", at).unwrap_or(0));
        let size = Cursor::little(entry).u32("entry", 28).unwrap_or(0);
        found.push((name, *kind, word(20) << 16 | word(26), size.into()));
    }
    found
}
