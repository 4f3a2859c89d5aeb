//! FAT12, FAT16 and FAT32, read: where the files are, and whether the tables agree with them.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03 (names of fields as there).

use super::fat::{Bits, ENTRY, FIELDS, FOLDER, LABEL, LONG_NAME, UNITS, short_sum};
use super::{BOOT_MARK, Broken, Found, LONGEST_PATH, MOST_FOLDERS};
use crate::bytes::{Cursor, count64, len64, slice, slice_at};
use crate::finding::{Checks, Severity, rules};
use crate::layout::{Region, RegionKind, usize_or_max};
use std::ops::Range;

rules! {
    pub(super) FAT_RULES:
    pub(super) PARAMETERS = "fat.parameters", Error, "parameters of the file system",
        "neither firmware nor a system finds the files",
        "copy the disk again, whole";
    TOTAL = "fat.total_sectors", Error, "end of the file system",
        "the file was cut off: files are not whole",
        "copy the disk again, whole";
    CHAIN = "fat.chain", Error, "clusters of a file",
        "who reads the file gets other bytes, or an error",
        "copy the disk again, whole; fsck.vfat mends the tables, not the files";
    COPIES = "fat.copies", Warning, "second table",
        "who reads it finds other files than who reads the first, as firmware does",
        "copy the disk again, whole, or mend it with fsck.vfat";
    LOST = "fat.lost_clusters", Warning, "clusters in use",
        "a file or a folder that had them is gone, or its table was changed",
        "copy the disk again, whole, or mend it with fsck.vfat";
    NAME = "fat.long_name", Warning, "checksum of a long name",
        "the file has its short name alone, and nobody finds it by the long one",
        "copy the disk again, whole, or write the file again";
    BACKUP = "fat.backup_boot", Warning, "second boot sector",
        "who goes by it does not find the files",
        "copy the disk again, whole, or mend it with fsck.vfat";
}

/// A file system, read.
#[derive(Debug)]
pub(crate) struct Volume<'a> {
    bytes: &'a [u8],
    /// Where it begins on its disk.
    start: u64,
    bits: Bits,
    sector: u64,
    /// Bytes of all of it.
    total: u64,
    /// Bytes of a cluster.
    cluster: u64,
    clusters: u64,
    /// How many tables, and bytes of each.
    tables: (u64, u64),
    /// Where the first table, the root folder outside of clusters and the clusters are, in bytes.
    table: u64,
    root: Range<u64>,
    data: u64,
    root_cluster: u64,
    /// Where FAT32 has its second boot sector.
    backup: u64,
}

/// What the table says of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Free,
    Cluster(u64),
    Bad,
    End,
    /// No cluster's number, or none can be read.
    Wrong,
}

/// What was seen of the clusters.
struct Seen {
    used: Vec<u64>,
    steps: u64,
    runs: u64,
}

/// What is looked at of the table in all.
const MOST_STEPS: u64 = 4 << 20;
/// Pieces of all files.
const MOST_RUNS: u64 = 256 << 10;

impl Seen {
    /// May more be looked at?
    fn is_left(&self) -> bool {
        self.steps <= MOST_STEPS && self.runs <= MOST_RUNS
    }

    /// False when it was seen before.
    fn insert(&mut self, cluster: u64) -> bool {
        let Some(word) = self.used.get_mut(usize_or_max(cluster / 64)) else { return false };
        let bit = 1 << (cluster % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn has(&self, cluster: u64) -> bool {
        self.used.get(usize_or_max(cluster / 64)).is_some_and(|word| word >> (cluster % 64) & 1 == 1)
    }
}

/// The clusters of a file, and why they are not all.
struct Chain {
    clusters: Vec<Range<u64>>,
    problem: Option<(u64, String)>,
}

impl<'a> Volume<'a> {
    /// The file system that begins at `start` of a disk, if its parameters agree with each other.
    pub(crate) fn read(disk: &'a [u8], start: u64) -> Option<Volume<'a>> {
        let bytes = super::rest(disk, start)?;
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
        let (reserved, count) = (get("BPB_RsvdSecCnt").filter(|count| *count > 0)?, get("BPB_NumFATs")?);
        let total = either("BPB_TotSec16", "BPB_TotSec32")?;
        let table = either("BPB_FATSz16", "BPB_FATSz32").filter(|size| *size > 0)?;
        let root = reserved + count * table;
        let data = root + (get("BPB_RootEntCnt")? * ENTRY).div_ceil(sector);
        let clusters = total.checked_sub(data)? / cluster;
        if slice(bytes, at, len64(mark)) != Some(mark) || !(1..=2).contains(&count) || clusters == 0 {
            return None;
        }
        // Firmware and Linux go by this; by the specification the number of clusters alone decides, and FAT32 has many.
        let is_32 = get("BPB_FATSz16") == Some(0);
        let bits = match clusters {
            _ if is_32 => Bits::ThirtyTwo,
            0..4085 => Bits::Twelve,
            _ => Bits::Sixteen,
        };
        Some(Volume {
            bytes,
            start,
            bits,
            sector,
            total: total * sector,
            cluster: cluster * sector,
            clusters,
            tables: (count, table * sector),
            table: reserved * sector,
            root: root * sector..data * sector,
            data: data * sector,
            root_cluster: if is_32 { get("BPB_RootClus")? } else { 0 },
            backup: if is_32 { get("BPB_BkBootSec")? * sector } else { 0 },
        })
    }

    /// Does `disk` say at `start` that a FAT begins there, whatever its parameters are?
    pub(crate) fn is_announced(disk: &[u8], start: u64) -> bool {
        let is = |at: u64, text: &[u8]| slice(disk, start.saturating_add(at), len64(text)) == Some(text);
        is(BOOT_MARK.0, BOOT_MARK.1) && (is(0x36, b"FAT1") || is(0x52, b"FAT32"))
    }

    /// Where it is on its disk.
    pub(crate) fn at(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.total)
    }

    /// What it is, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self.bits {
            Bits::Twelve => "FAT12",
            Bits::Sixteen => "FAT16",
            Bits::ThirtyTwo => "FAT32",
        }
    }

    /// What it has in front of its clusters.
    pub(crate) fn regions(&self) -> Vec<Region> {
        let (count, size) = self.tables;
        let region = |name: String, at: Range<u64>, kind| {
            Region::new(name, self.start.saturating_add(at.start)..self.start.saturating_add(at.end), kind)
        };
        let mut regions = vec![region("boot sector".to_owned(), 0..self.table, RegionKind::Code)];
        regions.extend((0..count).map(|index| {
            let at = self.table + index * size;
            region(format!("FAT[{index}]"), at..at + size, RegionKind::Header)
        }));
        regions.push(region("root folder".to_owned(), self.root.clone(), RegionKind::Header));
        regions
    }

    fn next(&self, at: u64) -> Next {
        let cursor = Cursor::little(self.bytes);
        let (next, all): (Option<u64>, u64) = match self.bits {
            Bits::Twelve => {
                let pair = cursor.u16("FAT", self.table + at + at / 2).ok();
                (pair.map(|pair| u64::from(if at % 2 == 0 { pair & 0xfff } else { pair >> 4 })), 0xfff)
            }
            Bits::Sixteen => (cursor.u16("FAT", self.table + 2 * at).ok().map(u64::from), 0xffff),
            Bits::ThirtyTwo => {
                let next = cursor.u32("FAT", self.table + 4 * at).ok();
                (next.map(|next| u64::from(next & 0x0fff_ffff)), 0x0fff_ffff)
            }
        };
        match next {
            Some(0) => Next::Free,
            Some(next) if next >= all - 7 => Next::End,
            Some(next) if next == all - 8 => Next::Bad,
            Some(next) if self.is_cluster(next) => Next::Cluster(next),
            _ => Next::Wrong,
        }
    }

    fn is_cluster(&self, number: u64) -> bool {
        (2..self.clusters + 2).contains(&number)
    }

    /// Where a cluster is on the disk.
    fn place(&self, cluster: u64) -> u64 {
        let inside = cluster.saturating_sub(2).saturating_mul(self.cluster);
        self.start.saturating_add(self.data).saturating_add(inside)
    }

    /// The clusters from this one on.
    fn chain(&self, first: u64, seen: &mut Seen) -> Chain {
        let mut chain = Chain { clusters: Vec::new(), problem: None };
        let mut at = first;
        let fail = |at: u64, why: &str| Some((self.place(at), format!("cluster {at} {why}")));
        if !self.is_cluster(first) {
            chain.problem = Some((self.start, format!("a first cluster {first}, of {}", self.clusters)));
            return chain;
        }
        loop {
            if !seen.insert(at) {
                chain.problem = fail(at, "is in two chains");
                return chain;
            }
            seen.steps += 1;
            match chain.clusters.last_mut() {
                Some(last) if last.end == at => last.end = at + 1,
                _ => {
                    seen.runs += 1;
                    chain.clusters.push(at..at + 1);
                }
            }
            match self.next(at) {
                Next::Cluster(next) if seen.is_left() => at = next,
                Next::Cluster(_) | Next::End => return chain,
                Next::Free => chain.problem = fail(at, "leads to a free one"),
                Next::Bad => chain.problem = fail(at, "leads to a bad one"),
                Next::Wrong => chain.problem = fail(at, "leads to none"),
            }
            if chain.problem.is_some() {
                return chain;
            }
        }
    }

    /// The bytes of these clusters, up to `size` of them, on the disk.
    fn pieces(&self, clusters: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
        let mut left = size;
        let mut pieces = Vec::new();
        for run in clusters {
            let len = ((run.end - run.start).saturating_mul(self.cluster)).min(left);
            left -= len;
            let at = self.place(run.start);
            pieces.extend((len > 0).then_some(at..at.saturating_add(len)));
        }
        pieces
    }

    /// The files, up to `most` of them, and whether those are all; holds the tables to each other and to the folders.
    pub(crate) fn walk(&self, most: usize, checks: &mut Checks) -> (Vec<Found>, bool) {
        /// The largest folder.
        const LARGEST: u64 = 2 << 20;
        let have = len64(self.bytes);
        checks.expect(&TOTAL, self.start, have >= self.total, format!("{have} bytes"), format!("{}", self.total));
        let room = have.min(self.tables.1).saturating_mul(8) / 12 + 2;
        let words = usize_or_max((self.clusters + 2).min(room) / 64 + 1);
        let mut seen = Seen { used: vec![0; words], steps: 0, runs: 0 };
        let (mut found, mut chains, mut names) = (Vec::new(), Broken::default(), Broken::default());
        let mut folders = vec![(String::new(), self.root_cluster)];
        let mut are_all = true;
        while let Some((path, first)) = folders.pop() {
            let mut entries = Vec::new();
            if first == 0 {
                entries.extend_from_slice(slice_at(self.bytes, &self.root).unwrap_or_default());
            } else {
                let chain = self.chain(first, &mut seen);
                chains.add_all(chain.problem.map(|(at, why)| (at, format!("{why}, of the folder /{path}"))));
                for piece in self.pieces(&chain.clusters, LARGEST) {
                    let inside = piece.start - self.start..piece.end.saturating_sub(self.start);
                    entries.extend_from_slice(slice_at(self.bytes, &inside).unwrap_or_default());
                }
            }
            for Listed { name, kind, first, size, has_lost } in names_of(&entries) {
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                if path.len() > LONGEST_PATH || folders.len() > MOST_FOLDERS {
                    are_all = false;
                    continue;
                }
                names.add_all(has_lost.then(|| (self.start, format!("another for {path}"))));
                if kind & FOLDER != 0 {
                    // The root is no folder of any.
                    folders.extend((first != 0).then_some((path, first)));
                    continue;
                }
                if found.len() == most || !seen.is_left() {
                    are_all = false;
                    continue;
                }
                if size == 0 {
                    found.push(Found { path, size, pieces: Vec::new(), is_whole: true });
                    continue;
                }
                let Chain { clusters, problem } = self.chain(first, &mut seen);
                let wanted = size.div_ceil(self.cluster);
                let count: u64 = clusters.iter().map(|run| run.end - run.start).sum();
                let pieces = self.pieces(&clusters, size);
                let end = pieces.iter().map(|piece| piece.end).max().unwrap_or(0);
                let is_there = end <= self.start.saturating_add(have);
                let wrong = |why: String| Some((self.place(first), format!("{why}, of {path}")));
                let is_whole = problem.is_none() && count >= wanted && is_there;
                chains.add_all(match problem {
                    Some((at, why)) => Some((at, format!("{why}, of {path}"))),
                    None if !seen.is_left() => None,
                    None if count < wanted => wrong(format!("{count} clusters")),
                    None if !is_there => wrong("clusters behind the end".to_owned()),
                    None if count > wanted => {
                        let found = format!("{count} for {path}");
                        checks.expect_as(Severity::Warning, &CHAIN, self.place(first), false, found, wanted);
                        None
                    }
                    None => None,
                });
                found.push(Found { path, size, pieces, is_whole });
            }
        }
        chains.check(&CHAIN, "as many as its size needs, each its own", checks);
        names.check(&NAME, "that of the short name", checks);
        are_all &= seen.is_left();
        if are_all {
            self.check_tables(&seen, checks);
        }
        (found, are_all)
    }

    fn check_tables(&self, seen: &Seen, checks: &mut Checks) {
        let (count, size) = self.tables;
        let table = |index: u64| slice(self.bytes, self.table + index * size, size);
        if let (2, Some(first), Some(second)) = (count, table(0), table(1)) {
            let differ = first.iter().zip(second).position(|(first, second)| first != second);
            let at = differ.map(|at| self.start + self.table + size + count64(at));
            checks.expect(&COPIES, at, differ.is_none(), "another", "the same as the first");
        }
        // There is no more of the table.
        let clusters = (2..self.clusters + 2).take(seen.used.len().saturating_mul(64).min(usize_or_max(MOST_STEPS)));
        let lost =
            clusters.filter(|at| !seen.has(*at) && !matches!(self.next(*at), Next::Free | Next::Bad | Next::Wrong));
        let lost = count64(lost.count());
        checks.expect(&LOST, self.start + self.table, lost == 0, format!("{lost} that no file has"), "none");
        if self.backup != 0 && self.backup < self.table {
            let sector = |at: u64| slice(self.bytes, at, self.sector);
            let at = self.start + self.backup;
            checks.expect(&BACKUP, at, sector(0) == sector(self.backup), "another", "the same as the first");
        }
    }
}

/// An entry of a folder.
struct Listed {
    name: String,
    kind: u8,
    first: u64,
    size: u64,
    /// It has a long name that is not that of its short one.
    has_lost: bool,
}

/// What is in a folder.
fn names_of(entries: &[u8]) -> Vec<Listed> {
    let (mut found, mut long, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries.chunks_exact(32) {
        let (Some((short, _)), Some(kind)) = (entry.split_first_chunk::<11>(), entry.get(11)) else { break };
        match short.first() {
            Some(0) => break,
            Some(0xe5) => {
                long.clear();
                sums.clear();
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
            sums.extend(entry.get(13).filter(|_| sums.len() < UNITS * 2).copied());
            continue;
        }
        let (name, sums) = (std::mem::take(&mut long), std::mem::take(&mut sums));
        if kind & LABEL != 0 || short.starts_with(b".") {
            continue;
        }
        let sum = short_sum(short);
        let has_lost = sums.iter().any(|other| *other != sum);
        let part = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
        let (base, extension) = short.split_at(8);
        // Windows NT's marks of names all in small letters.
        let marks = entry.get(12).copied().unwrap_or(0);
        let cased = |text: String, mark: u8| if marks & mark != 0 { text.to_lowercase() } else { text };
        let plain = [cased(part(base), 0x08), cased(part(extension), 0x10)];
        let plain = plain.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(".");
        let name = if name.is_empty() || has_lost { plain } else { String::from_utf16_lossy(&name) };
        let word = |at| u64::from(Cursor::little(entry).u16("entry", at).unwrap_or(0));
        let size = Cursor::little(entry).u32("entry", 28).unwrap_or(0).into();
        found.push(Listed { name, kind: *kind, first: word(20) << 16 | word(26), size, has_lost });
    }
    found
}
