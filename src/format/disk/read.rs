//! A disk, read: what it is, the file systems on it, their files, and whether what starts from it finds what it names.

use super::fat_read::{PARAMETERS, Volume};
use super::gpt::{self, Entry};
use super::{Found, SECTOR, iso_read};
use crate::bytes::{len64, slice_at};
use crate::finding::{Checks, Severity, rules};
use crate::format::Format;
use crate::format::pe::{Pe, removable_name};
use crate::layout::Region;
use crate::stub::disk::DiskLoader;
use std::collections::HashMap;
use std::ops::Range;

rules! {
    pub(super) DISK_RULES:
    ENTRY = "disk.loader_entry", Error, "entry of the Boot Loader Specification",
        "the boot loader leaves the entry out, or fails where it is chosen",
        "add the file, or take the entry away";
    PROGRAM = "disk.efi_program", Error, "program that UEFI firmware starts",
        "the firmware does not start it",
        "copy the disk again, whole, or put a program for that CPU there";
    LOADER = "disk.bios_loader", Error, "files that kimage's loader for BIOS reads",
        "it loads other bytes, and says that the kernel is not where it was",
        "make the disk anew: what it reads is in one piece, where it was when the disk was made";
    /// The verdict on the disk is open.
    pub(crate) UNREAD = "disk.unread", Note, "partition of another kind",
        "kimage does not read what is in it: nobody looked whether it is whole",
        "take out of it what is to be checked, and check that";
    /// The same.
    pub(crate) IN_PIECES = "disk.in_pieces", Note, "images in several pieces",
        "kimage does not look into them where they are",
        "take them out (kimage extract), and check them";
    OTHERS = "disk.other_files", Note, "files that are no images",
        "neither they nor the file system say whether they are whole",
        "compare them, or sums of them, with the originals";
}

/// A file of a disk.
#[derive(Debug)]
pub(crate) struct OnDisk {
    /// The file; its path has the file system's number in front where that is not the first.
    pub found: Found,
    /// What it is, by its header.
    pub format: Option<Format>,
    /// Which file system it is of.
    volume: usize,
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk<'a> {
    bytes: &'a [u8],
    /// What it is, in words.
    pub name: String,
    /// The files of all file systems, and whether those are all.
    pub files: Vec<OnDisk>,
    pub are_all: bool,
    /// The partitions, with what is in each.
    pub partitions: Vec<(Entry, String)>,
    /// Those of which nothing is read.
    pub unread: Vec<Range<u64>>,
    /// What it consists of.
    pub regions: Vec<Region>,
    /// What it claims.
    pub checks: Checks,
}

/// File systems of a disk that are looked at: they may lie one over the other.
const MOST_VOLUMES: usize = 8;
/// Files of a disk that are looked at.
const MOST: usize = 4096;

/// Is this a disk of which kimage reads a file system or a table?
pub(crate) fn detect(bytes: &[u8]) -> bool {
    let is_fat = |at: u64| Volume::read(bytes, at).is_some();
    is_fat(0)
        || Volume::is_announced(bytes, 0)
        || iso_read::Volume::read(bytes).is_some()
        || gpt::detect(bytes)
        || crate::format::foreign::is_partitioned(bytes)
            && gpt::master_boot_record(bytes).iter().any(|entry| is_fat(entry.at.start))
}

impl<'a> Disk<'a> {
    /// Reads a disk, for which [`Disk::detect`] is true.
    pub(crate) fn read(bytes: &'a [u8]) -> Disk<'a> {
        let mut disk = Disk {
            bytes,
            name: String::new(),
            files: Vec::new(),
            are_all: true,
            partitions: Vec::new(),
            unread: Vec::new(),
            regions: Vec::new(),
            checks: Checks::default(),
        };
        let cd = iso_read::Volume::read(bytes);
        let alone = Volume::read(bytes, 0);
        let has_table = gpt::detect(bytes);
        let partitions = match () {
            () if has_table => gpt::read(bytes, &mut disk.checks),
            () if alone.is_some() => Vec::new(),
            () => gpt::master_boot_record(bytes),
        };
        disk.name = match (&cd, &alone) {
            (Some(_), _) => "ISO 9660 file system".to_owned(),
            _ if has_table => "disk image with a GUID partition table".to_owned(),
            (None, Some(fat)) => format!("{} file system", fat.name()),
            (None, None) if partitions.is_empty() => "FAT file system".to_owned(),
            (None, None) => "disk image with a partition table".to_owned(),
        };
        let boot = cd.as_ref().map(|cd| cd.boot(&mut disk.checks)).unwrap_or_default();
        let mut wanted: Vec<(u64, bool)> = vec![(0, cd.is_none() && partitions.is_empty() && !has_table)];
        wanted.extend(boot.iter().map(|boot| (boot.at, boot.is_efi)));
        wanted.extend(partitions.iter().map(|entry| (entry.at.start, entry.is_efi())));
        let (mut volumes, mut seen): (Vec<Volume<'_>>, Vec<u64>) = (Vec::new(), Vec::new());
        for (at, must_be) in wanted {
            if seen.contains(&at) || at >= len64(bytes) {
                continue;
            }
            seen.push(at);
            if volumes.len() == MOST_VOLUMES {
                disk.are_all = false;
                break;
            }
            let fat = Volume::read(bytes, at);
            if must_be {
                let found = "none that agree with each other";
                disk.checks.expect(&PARAMETERS, at, fat.is_some(), found, "those of a FAT");
            }
            volumes.extend(fat);
        }
        let mut count = 0;
        if let Some(cd) = &cd {
            let (files, are_all) = cd.walk(MOST, &mut disk.checks);
            if are_all && files.iter().all(|file| file.is_whole) {
                cd.hold_joliet(&files, MOST, &mut disk.checks);
            }
            disk.add(files, are_all, &mut count);
        }
        for volume in &volumes {
            let (files, are_all) = volume.walk(MOST.saturating_sub(disk.files.len()), &mut disk.checks);
            disk.add(files, are_all, &mut count);
            disk.regions.extend(volume.regions());
        }
        let cd_len = cd.as_ref().map_or(0, iso_read::Volume::len);
        for entry in partitions {
            let at = entry.at.clone();
            let inside = slice_at(bytes, &(at.start..at.end.min(len64(bytes)))).unwrap_or_default();
            let what = match volumes.iter().find(|volume| volume.at().start == at.start) {
                Some(volume) => format!("{} file system", volume.name()),
                None if at.end <= cd_len => "a part of the CD".to_owned(),
                None if entry.is_for_code() => "code".to_owned(),
                None => {
                    let what = crate::format::foreign::Foreign::detect(inside);
                    let what = what.map_or("no file system that kimage knows".into(), |what| what.name);
                    // The firmware's own is called damaged.
                    if !entry.is_efi() {
                        disk.checks.not_checked(&UNREAD, at.start, &what, "partitions of other kinds");
                        disk.unread.push(at);
                    }
                    what.into_owned()
                }
            };
            disk.partitions.push((entry, what));
        }
        disk.hold_files(&boot);
        disk
    }

    /// The bytes of a file, if they are in one piece.
    pub(crate) fn data(&self, file: &Found) -> Option<&'a [u8]> {
        match &*file.pieces {
            [] => Some(&[]),
            [piece] if file.is_whole => slice_at(self.bytes, piece),
            _ => None,
        }
    }

    /// Adds the files of one more file system, but for those that another has, too.
    fn add(&mut self, files: Vec<Found>, are_all: bool, count: &mut usize) {
        let volume = *count;
        *count += 1;
        self.are_all &= are_all;
        let places = (0..).zip(&self.files).map(|(place, file)| (file.found.path.clone(), place));
        let known: HashMap<String, usize> = places.collect();
        let mut others = self.files.iter().filter(|file| file.volume != volume).count();
        for mut found in files {
            let first = known.get(&found.path).and_then(|place| self.files.get_mut(*place));
            if let Some(first) = first.filter(|first| first.found.pieces == found.pieces) {
                // Of a CD that is a FAT, too: firmware knows the latter.
                others -= usize::from(first.volume != volume);
                first.volume = volume;
                continue;
            }
            // What tells is at the front.
            let head = found.pieces.first().and_then(|piece| slice_at(self.bytes, piece)).unwrap_or_default();
            let format = Format::detect(head).filter(|format| *format != Format::Disk);
            if volume > 0 && others > 0 {
                found.path = format!("{}:{}", volume + 1, found.path);
            }
            self.files.push(OnDisk { found, format, volume });
        }
    }

    /// Whether what starts from the disk is there.
    fn hold_files(&mut self, boot: &[iso_read::Boot]) {
        let mut checks = Checks::default();
        let pieces = self.files.iter().filter(|file| file.format.is_some() && file.found.pieces.len() > 1).count();
        if pieces > 0 {
            checks.not_checked(&IN_PIECES, None, pieces, "images in several pieces");
        }
        let others =
            self.files.iter().filter(|file| file.format.is_none() && file.found.is_whole && file.found.size > 0);
        let others: Vec<_> = others.filter(|file| !file.is_for_loaders()).collect();
        if let Some(first) = others.first() {
            let found = format!("{}, the first of them {}", others.len(), first.found.path);
            checks.not_checked(&OTHERS, None, found, "files of a disk that are no images");
        }
        for file in &self.files {
            let (Some(name), Some(data)) = (file.boot_name(), self.data(&file.found)) else { continue };
            let found = Pe::parse(data).ok().and_then(|pe| removable_name(pe.value("Machine")));
            let found = found.map_or("no program for UEFI".to_owned(), |name| format!("one to be called BOOT{name}"));
            let at = file.found.pieces.first().map(|piece| piece.start);
            let wanted = format!("one to be called {name}");
            checks.expect(&PROGRAM, at, found == wanted, format!("{found} in {}", file.found.path), wanted);
        }
        self.are_all &= self.hold_entries(&mut checks);
        self.hold_loader(boot, &mut checks);
        self.checks.append(checks);
    }

    /// Whether the entries for boot loaders name files of their file system. One that does not is left out by a loader that has
    /// others. False when there is more to read than any loader has.
    fn hold_entries(&self, checks: &mut Checks) -> bool {
        const LARGEST: u64 = 64 << 10;
        const MOST_TEXT: u64 = 4 << 20;
        let mut left = MOST_TEXT;
        let mut found = Vec::new();
        let entries: Vec<_> = self.files.iter().filter(|file| file.is_entry() && file.found.size <= LARGEST).collect();
        let mut names = HashMap::new();
        for file in self.files.iter().filter(|_| !entries.is_empty()) {
            let name = (file.volume, file.plain_path().to_lowercase());
            names.entry(name).or_insert(file.format.is_some());
        }
        for file in entries {
            let Some(data) = self.data(&file.found) else { continue };
            let Some(rest) = left.checked_sub(len64(data)) else { return false };
            left = rest;
            let text = String::from_utf8_lossy(data);
            let wrong = text.lines().find_map(|line| wrong_line(line, file.volume, &names));
            found.push((file, wrong));
        }
        let has_others = found.iter().any(|(_, wrong)| wrong.is_none());
        let severity = if has_others { Severity::Warning } else { Severity::Error };
        for (file, wrong) in found {
            let at = file.found.pieces.first().map(|piece| piece.start);
            let what = format!("{} in {}", wrong.as_deref().unwrap_or_default(), file.found.path);
            checks.expect_as(severity, &ENTRY, at, wrong.is_none(), what, "files of this file system");
        }
        true
    }

    /// Whether the files that our loader for BIOS reads are where it looks.
    fn hold_loader(&self, boot: &[iso_read::Boot], checks: &mut Checks) {
        let sectors = std::iter::once(0).chain(boot.iter().filter(|boot| !boot.is_efi).map(|boot| boot.at));
        let Some((at, loaded)) = sectors.into_iter().find_map(|at| DiskLoader::loaded(self.bytes, at)) else { return };
        let is_file = |(lba, len): (u32, u32)| {
            let start = u64::from(lba) * SECTOR;
            let place = start..start + u64::from(len);
            len == 0 || self.files.iter().any(|file| file.found.pieces == [place.clone()])
        };
        for (what, place) in [("a kernel", loaded.kernel), ("a RAM disk", loaded.initrd)] {
            let found = format!("{what} of {} bytes from sector {} on, where no such file is", place.1, place.0);
            checks.expect(&LOADER, at, is_file(place), found, "files of the disk");
        }
    }
}

/// What a line of an entry names that is not there, or no image; `names` says of the files of each file system whether they are
/// some.
fn wrong_line(line: &str, volume: usize, names: &HashMap<(usize, String), bool>) -> Option<String> {
    let mut words = line.split_whitespace();
    let (key, path) = (words.next()?, words.next()?);
    if !matches!(key, "linux" | "initrd" | "efi" | "uki" | "devicetree") {
        return None;
    }
    let wanted = path.replace('\\', "/").trim_start_matches('/').to_lowercase();
    match names.get(&(volume, wanted)) {
        None => Some(format!("{key} {path}, which is not there")),
        Some(false) if key != "initrd" => Some(format!("{key} {path}, which is no image")),
        Some(_) => None,
    }
}

impl OnDisk {
    /// Its path in its file system.
    fn plain_path(&self) -> &str {
        let path = &*self.found.path;
        let number = path.split_once(':').filter(|(number, _)| *number == (self.volume + 1).to_string());
        number.map_or(path, |(_, path)| path)
    }

    /// Its name, if the firmware starts it by that.
    fn boot_name(&self) -> Option<String> {
        let path = self.plain_path().to_uppercase();
        let name = path.strip_prefix("EFI/BOOT/BOOT").filter(|name| name.ends_with(".EFI"))?;
        let known = ["IA32", "X64", "ARM", "AA64", "RISCV32", "RISCV64", "LOONGARCH32", "LOONGARCH64"];
        known.iter().any(|cpu| name.strip_suffix(".EFI") == Some(cpu)).then(|| format!("BOOT{name}"))
    }

    fn is_entry(&self) -> bool {
        let path = self.plain_path().to_lowercase();
        path.starts_with("loader/entries/") && path.ends_with(".conf")
    }

    /// Is it one that is read for what it says, or our loader?
    fn is_for_loaders(&self) -> bool {
        let path = self.plain_path();
        self.is_entry() || path.eq_ignore_ascii_case("loader/loader.conf") || path == super::FLOPPY_LOADER
    }
}
