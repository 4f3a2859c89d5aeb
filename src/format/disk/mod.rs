//! Disks that a machine starts from: a FAT file system, a GUID partition table around it, an ISO 9660 file system beside it.

pub(crate) mod fat;
mod fat_read;
pub(crate) mod gpt;
pub(crate) mod iso;
mod iso_read;
mod read;

pub(crate) use read::{Disk, IN_PIECES, UNREAD, detect};

use crate::bytes::{FieldError, count64, len64};
use crate::finding::{Checks, Rule};
use crate::layout;
use miette::Diagnostic;
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a sector, in which all of a disk but a CD's own structures is counted; some disks have larger ones.
pub(crate) const SECTOR: u64 = 512;
/// Bytes of a CD's sector.
pub(crate) const BLOCK: u64 = 2048;
/// kimage's loader for BIOS on a floppy.
pub(crate) const FLOPPY_LOADER: &str = "LOADER.SYS";
/// What ends a boot sector, and where.
const BOOT_MARK: (u64, &[u8]) = (510, &[0x55, 0xaa]);

/// The files do not make a disk.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The files need more room than there is.
    #[error("the files do not fit: they need {need} bytes with their folders, and the {what} has {have} for them")]
    #[diagnostic(help("{help}"))]
    Full {
        /// Of what kind the disk is.
        what: &'static str,
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
        /// What to do.
        help: &'static str,
    },
    /// The disk is to have fewer bytes than its files need.
    #[error("a disk of {have} bytes is too small: with its tables and folders it needs {need}")]
    #[diagnostic(help("give a larger `request.size`, or none: then it is as large as the files need"))]
    Small {
        /// Bytes needed.
        need: u64,
        /// Bytes that it is to have.
        have: u64,
    },
    /// No disk of this kind has such sectors.
    #[error("sectors of {size} bytes: kimage makes no such disk")]
    #[diagnostic(help("`request.sector_size` is 512, or 4096 of a GUID partition table or an EFI system partition"))]
    SectorSize {
        /// Bytes of one.
        size: u32,
    },
    /// A file that the file system cannot have.
    #[error("{path}: {why}")]
    #[diagnostic(help("give it another name, or leave it out"))]
    File {
        /// Its path on the disk.
        path: String,
        /// Why it cannot.
        why: &'static str,
    },
    /// The firmware would start it without what it needs.
    #[error("{image} is {found}: UEFI firmware starts it from a disk without command line and RAM disk")]
    #[diagnostic(help(
        "give a boot loader that passes both, with `request.loader` (/usr/lib/systemd/boot/efi/systemd-bootaa64.efi), or a unified \
         kernel image that has both; into an x86 kernel, vmlinux or bzImage, kimage builds them itself"
    ))]
    Carries {
        /// The image.
        image: String,
        /// What it is.
        found: &'static str,
    },
    /// An image that nothing on such a disk starts.
    #[error("{image} is {found}: {why}")]
    #[diagnostic(help("{help}"))]
    NotStarted {
        /// The image.
        image: String,
        /// What it is.
        found: &'static str,
        /// Why it is not started.
        why: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The kernel takes no such command line.
    #[error("the command line has {len} bytes, and the kernel takes {most}")]
    #[diagnostic(help("make it shorter"))]
    CommandLine {
        /// Its bytes.
        len: u64,
        /// The most of them.
        most: u64,
    },
    /// A header of an image is wrong, or the layout did not come out.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Field(#[from] FieldError),
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// kimage's boot sector cannot be read.
    #[error(transparent)]
    Loader(#[from] crate::elf::Error),
}

impl Error {
    /// The same of a disk of `have` bytes that has so many more around its file system.
    pub(crate) fn around(self, more: u64, have: u64) -> Error {
        match self {
            Error::Small { need, .. } => Error::Small { need: need.saturating_add(more), have },
            other => other,
        }
    }
}

/// What of `bytes` begins there.
pub(crate) fn rest(bytes: &[u8], at: u64) -> Option<&[u8]> {
    crate::bytes::slice(bytes, at, len64(bytes).checked_sub(at)?)
}

/// The rules of disks.
pub(crate) const RULES: [&[&Rule]; 4] = [fat_read::FAT_RULES, gpt::GPT_RULES, iso_read::ISO_RULES, read::DISK_RULES];

/// A file of a file system that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path, as [`File::path`].
    pub path: String,
    /// Bytes of it.
    pub size: u64,
    /// Where they are on the disk.
    pub pieces: Vec<Range<u64>>,
    /// Are those all?
    pub is_whole: bool,
}

/// Longer paths are of nobody's files, and cost memory.
const LONGEST_PATH: usize = 4096;
/// Folders that wait to be looked at.
const MOST_FOLDERS: usize = 16 << 10;

/// The first of what does not hold, and how many more do not.
#[derive(Debug, Default)]
struct Broken {
    first: Option<(u64, String)>,
    more: u64,
}

impl Broken {
    fn add_all(&mut self, wrong: Option<(u64, String)>) {
        let Some(wrong) = wrong else { return };
        match self.first {
            None => self.first = Some(wrong),
            Some(_) => self.more += 1,
        }
    }

    fn check(self, rule: &'static Rule, wanted: &str, checks: &mut Checks) {
        let at = self.first.as_ref().map(|(at, _)| *at);
        let more = if self.more > 0 { format!(", and {} more", self.more) } else { String::new() };
        let found = self.first.as_ref().map_or(String::new(), |(_, found)| format!("{found}{more}"));
        checks.expect(rule, at, self.first.is_none(), found, wanted);
    }
}

/// A file of a disk.
#[derive(Debug, Clone)]
pub(crate) struct File<'a> {
    /// Its path: folders and name, each with `/` in front but the first.
    pub path: String,
    /// What is in it, piece by piece.
    pub data: Vec<Cow<'a, [u8]>>,
}

impl File<'_> {
    /// Bytes of it.
    pub(crate) fn len(&self) -> u64 {
        self.data.iter().map(|piece| len64(piece)).sum()
    }
}

/// What is in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Another, by its index in [`Tree::folders`].
    Folder(usize),
    /// A file, by its index.
    File(usize),
}

/// A folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    /// The folder that it is in, by its index; of the root itself.
    pub parent: usize,
    /// What is in it, with names.
    pub entries: Vec<(String, Entry)>,
}

/// The folders that the paths of files name, the root first, each before those in it.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// All of them.
    pub folders: Vec<Folder>,
}

impl Tree {
    /// The folders of these files.
    ///
    /// # Errors
    /// [`Error::File`] for a name that FAT cannot have, and for one that is there twice: it does not tell `a` from `A`.
    pub(crate) fn of<'f>(paths: impl Iterator<Item = &'f str>) -> Result<Tree, Error> {
        const DEEPEST: usize = 8;
        let mut tree = Tree { folders: vec![Folder::default()] };
        for (index, path) in paths.enumerate() {
            let fail = |why| Error::File { path: path.to_owned(), why };
            let names: Vec<&str> = path.split('/').collect();
            if names.len() > DEEPEST {
                return Err(fail("a CD has at most 8 levels of folders"));
            }
            let mut at = 0;
            for (depth, name) in names.iter().enumerate() {
                check_name(name).map_err(fail)?;
                let is_last = depth + 1 == names.len();
                let next = tree.folders.len();
                let Some(folder) = tree.folders.get_mut(at) else { break };
                let found = folder.entries.iter().find(|(known, _)| known.to_uppercase() == name.to_uppercase());
                match found {
                    Some((known, Entry::Folder(inner))) if !is_last && known == name => at = *inner,
                    Some(_) => return Err(fail("there is one of that name already (a FAT does not tell a from A)")),
                    None if is_last => folder.entries.push(((*name).to_owned(), Entry::File(index))),
                    None => {
                        folder.entries.push(((*name).to_owned(), Entry::Folder(next)));
                        tree.folders.push(Folder { parent: at, entries: Vec::new() });
                        at = next;
                    }
                }
            }
        }
        Ok(tree)
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    const FORBIDDEN: &str = "\"*:<>?\\|";
    const LONGEST: usize = 110;
    if name.is_empty() || name == "." || name == ".." {
        return Err("this is no path of a file inside of the disk");
    }
    if name.chars().any(|c| c.is_control() || FORBIDDEN.contains(c)) || name.ends_with(['.', ' ']) {
        return Err("a name on a FAT has none of \" * : < > ? \\ |, and no dot or blank at its end");
    }
    if name.len() > LONGEST { Err("the name is longer than 110 bytes") } else { Ok(()) }
}

/// Writes `value` in as many bytes as there are in `field`'s place, little-endian; no more than fits is ever asked for.
fn put(to: &mut [u8], at: u64, bytes: &[u8]) {
    crate::bytes::overwrite(to, at, bytes).unwrap_or_default();
}

/// A number that was seen to fit.
fn low32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn low16(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn low8(value: u64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// How many of something, as a number of 64 bits.
fn count<T>(of: &[T]) -> u64 {
    count64(of.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let tree = Tree::of(["EFI/BOOT/X.EFI", "vmlinuz", "EFI/Linux/a"].into_iter()).unwrap();
        let names: Vec<_> = tree.folders.iter().map(|folder| (folder.parent, folder.entries.len())).collect();
        assert_eq!(names, [(0, 2), (0, 2), (1, 1), (1, 1)]);
    }

    #[test]
    fn names_that_no_fat_has() {
        for bad in ["", "a//b", "../a", "a:b", "a.", "a\nb", "1/2/3/4/5/6/7/8/9"] {
            assert!(Tree::of([bad].into_iter()).is_err(), "{bad:?}");
        }
        for pair in [["a", "A"], ["a", "a"], ["a", "a/b"], ["a/b", "a"], ["a/b", "A/c"]] {
            assert!(Tree::of(pair.into_iter()).is_err(), "{pair:?}");
        }
    }
}
