//! cpio archives as the kernel unpacks them: an initial RAM disk.
//!
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst, Linux 7.2: "newc" (070701) and "crc" (070702)
//! entries, each a header of 110 hexadecimal characters, a name and data, both padded to 4 bytes.

use crate::bytes::{Align, FieldError, len64, slice};
use crate::layout::{self, Plan, RegionKind, Reserver};
use miette::Diagnostic;
use std::borrow::Cow;

/// Length of an entry's header in bytes.
pub(crate) const HEADER_LEN: u64 = 110;
/// Offset of `c_check` in an entry's header.
const CHECK_AT: u64 = 102;
/// The name that ends an archive.
pub(crate) const TRAILER: &[u8] = b"TRAILER!!!";
/// The bits of `st_mode` that are the type, and the types.
pub(crate) const TYPE: u32 = 0o170_000;
const FIFO: u32 = 0o010_000;
pub(crate) const CHARACTER: u32 = 0o020_000;
pub(crate) const FOLDER: u32 = 0o040_000;
const BLOCK: u32 = 0o060_000;
pub(crate) const FILE: u32 = 0o100_000;
pub(crate) const LINK: u32 = 0o120_000;
const SOCKET: u32 = 0o140_000;

/// One entry of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Path, without its NUL.
    pub name: &'a [u8],
    /// Type and permissions (`st_mode`).
    pub mode: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Offset of the entry in the archive.
    pub at: u64,
    /// Offset of the data in the archive.
    pub data_at: u64,
    /// Bytes of data.
    pub size: u64,
    /// `c_ino`, `c_devmajor` and `c_devminor` of a file with several names, whose data stands at one of them.
    pub inode: Option<[u32; 3]>,
    /// `c_check` of a "crc" entry.
    check: Option<u32>,
    /// Offset of the next entry.
    next: u64,
}

impl Entry<'_> {
    /// `c_check` where the kernel looks at it, in a "crc" entry of a file that has data: the sum of its bytes, modulo 2^32
    /// (init/initramfs.c, `do_copy`, Linux 5.18). A further name of a file has none of the data.
    pub(crate) fn checksum(&self) -> Option<u32> {
        self.check.filter(|_| self.mode & TYPE == FILE && self.size > 0)
    }

    /// The sum of its bytes, which `c_check` is to be.
    pub(crate) fn sum(data: &[u8]) -> u32 {
        data.iter().fold(0_u32, |sum, byte| sum.wrapping_add((*byte).into()))
    }

    /// Offset of `c_check` in the archive.
    pub(crate) fn check_at(&self) -> u64 {
        self.at + CHECK_AT
    }
}

/// An archive that begins a piece of data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpio<'a> {
    bytes: &'a [u8],
}

impl<'a> Cpio<'a> {
    /// True when `bytes` begin with a whole header and a name.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        (bytes.starts_with(b"070701") || bytes.starts_with(b"070702")) && head(bytes, 0).is_ok()
    }

    /// The archive that begins `bytes`.
    ///
    /// # Errors
    /// A [`FieldError`] when the first entry is none.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        entry(bytes, 0)?;
        Ok(Cpio { bytes })
    }

    /// The entries, the trailer left out; ends behind the first error.
    pub(crate) fn entries(&self) -> Entries<'a> {
        Entries { bytes: self.bytes, next: Some(0) }
    }
}

/// Iterates over the entries of a [`Cpio`].
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    next: Option<u64>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, FieldError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next.take()?;
        match entry(self.bytes, at) {
            Ok(entry) if entry.name == TRAILER => None,
            Ok(entry) => {
                self.next = Some(entry.next);
                Some(Ok(entry))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// The length of the archive that begins `bytes`, its trailer included; `None` when it has no end.
pub(crate) fn archive_len(bytes: &[u8]) -> Option<u64> {
    let mut at = 0;
    loop {
        let entry = entry(bytes, at).ok()?;
        // The trailer's padding may be missing at the very end.
        if entry.name == TRAILER {
            return Some(entry.next.min(len64(bytes)));
        }
        at = entry.next;
    }
}

fn entry(bytes: &[u8], at: u64) -> Result<Entry<'_>, FieldError> {
    let entry = head(bytes, at)?;
    take(bytes, "data", entry.data_at.min(len64(bytes)), entry.size)?;
    Ok(entry)
}

fn take<'a>(bytes: &'a [u8], field: &'static str, at: u64, len: u64) -> Result<&'a [u8], FieldError> {
    slice(bytes, at, len).ok_or_else(|| {
        let need = at.saturating_add(len);
        FieldError::truncated(field, at, need, len64(bytes)).with_help("the archive is cut off")
    })
}

/// An entry whose data may be cut off.
fn head(bytes: &[u8], at: u64) -> Result<Entry<'_>, FieldError> {
    let header = take(bytes, "cpio header", at, HEADER_LEN)?;
    if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
        let found = header.iter().take(6).fold(0, |all, byte| all << 8 | u64::from(*byte));
        return Err(FieldError::unknown("c_magic", at, found, "070701 or 070702"));
    }
    let number = |field: &'static str, index: u64| {
        let start = 6 + 8 * index;
        let digits = slice(header, start, 8).unwrap_or_default();
        digits.iter().try_fold(0_u32, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?)).ok_or_else(
            || {
                let found = digits.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
                FieldError::unknown(field, at + start, found, "eight hexadecimal digits")
            },
        )
    };
    let (mode, mtime) = (number("c_mode", 1)?, number("c_mtime", 5)?);
    let (size, name_size) = (u64::from(number("c_filesize", 6)?), u64::from(number("c_namesize", 11)?));
    let inode = [number("c_ino", 0)?, number("c_devmajor", 7)?, number("c_devminor", 8)?];
    let inode = (number("c_nlink", 4)? > 1).then_some(inode);
    let check = if header.starts_with(b"070702") { Some(number("c_check", 12)?) } else { None };
    let name = take(bytes, "name", at + HEADER_LEN, name_size)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    let data_at = (at + HEADER_LEN + name_size).next_multiple_of(4);
    let next = (data_at + size).next_multiple_of(4);
    Ok(Entry { name, mode, mtime, at, data_at, size, inode, check, next })
}

/// A file of an archive that is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpioFile<'a> {
    /// Its path; of a file with hard links all of them. A `/` in front is left out.
    pub names: Vec<Vec<u8>>,
    /// Type and permissions (`st_mode`).
    pub mode: u32,
    /// Numbers of user and group.
    pub owner: (u32, u32),
    /// Of a device node, major and minor number.
    pub device: (u32, u32),
    /// Contents of a file; what a symbolic link leads to.
    pub data: Cow<'a, [u8]>,
    /// Where the contents of a file are to be read, as a list has it: with `${NAME}` for a variable of the environment.
    pub location: Option<Vec<u8>>,
}

/// An archive cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// A line of a list is none.
    #[error("line {number} of the list, `{}`: {why}", line.escape_debug())]
    #[diagnostic(help("the kinds of lines, in numbers that are octal for MODE:\n{LINES}"))]
    Line {
        /// Counted from 1.
        number: usize,
        /// Its text.
        line: String,
        /// What is wrong.
        why: &'static str,
    },
    /// More than the 32 bits of a header's field can say.
    #[error("{}: {need} bytes are more than an archive can say of {field}, {max}", String::from_utf8_lossy(name).escape_debug())]
    #[diagnostic(help("leave it out, or make it shorter"))]
    TooLarge {
        /// Path of the file.
        name: Vec<u8>,
        /// `c_filesize` or `c_namesize`.
        field: &'static str,
        /// Bytes.
        need: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// A file has the name that ends an archive.
    #[error("a file cannot be called TRAILER!!!, which is how an archive ends")]
    #[diagnostic(help("leave it out, or give it another name"))]
    Trailer,
    /// The archive did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// What a list consists of.
const LINES: &str = "  file NAME LOCATION MODE UID GID [HARD_LINK...]
  dir NAME MODE UID GID
  nod NAME MODE UID GID b|c MAJOR MINOR
  slink NAME TARGET MODE UID GID
  pipe NAME MODE UID GID
  sock NAME MODE UID GID";

/// The files of a list as usr/gen_init_cpio.c of the kernel reads it (Linux 2.6 to 7.2). What that passes over with a message,
/// or without one, as a line of an unknown kind, is an error here.
///
/// # Errors
/// [`Error::Line`], with the number of the line.
pub(crate) fn list<'a>(text: &[u8]) -> Result<Vec<CpioFile<'a>>, Error> {
    let lines = (1..).zip(text.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.starts_with(b"#"));
    let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    // Of a file of another kind, all may be one line.
    let shown = |line: &[u8]| String::from_utf8_lossy(line).chars().take(80).collect();
    let fault = |number, line: &[u8], why| Error::Line { number, line: shown(line), why };
    filled.map(|(number, line)| file_of(line).map_err(|why| fault(number, line, why))).collect()
}

/// One line of a list.
fn file_of<'a>(line: &[u8]) -> Result<CpioFile<'a>, &'static str> {
    fn number(word: Option<&[u8]>, radix: u32) -> Option<u32> {
        u32::from_str_radix(std::str::from_utf8(word?).ok()?, radix).ok()
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let kind = match words.next() {
        Some(b"file") => FILE,
        Some(b"dir") => FOLDER,
        Some(b"nod") => CHARACTER,
        Some(b"slink") => LINK,
        Some(b"pipe") => FIFO,
        Some(b"sock") => SOCKET,
        _ => return Err("no kind of file begins so"),
    };
    let mut names = vec![words.next().ok_or("a name is missing")?.to_vec()];
    let place = match kind {
        FILE | LINK => Some(words.next().ok_or("a location or target is missing")?.to_vec()),
        _ => None,
    };
    let permissions = number(words.next(), 8).filter(|mode| *mode & !0o7777 == 0).ok_or("no mode in octal digits")?;
    let mut decimal = || number(words.next(), 10).ok_or("no number from 0 to 4294967295");
    let owner = (decimal()?, decimal()?);
    let (mut mode, mut device) = (kind | permissions, (0, 0));
    if kind == CHARACTER {
        mode = match words.next() {
            Some(b"c") => mode,
            Some(b"b") => BLOCK | permissions,
            _ => return Err("the type of a device node is neither b nor c"),
        };
        let mut decimal = || number(words.next(), 10).ok_or("a device node without its two numbers");
        device = (decimal()?, decimal()?);
    }
    let (data, location) = match place {
        Some(target) if kind == LINK => (target, None),
        location => (Vec::new(), location),
    };
    if kind == FILE {
        names.extend(words.map(<[u8]>::to_vec));
    }
    Ok(CpioFile { names, mode, owner, device, data: data.into(), location })
}

/// Plans an archive as usr/gen_init_cpio.c writes it (Linux 2.6 to 7.2), byte for byte where `mtime` is the time of all files:
/// inode numbers from 721 on, a symbolic link's target with its NUL, zeros up to a multiple of 512 bytes.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Trailer`].
pub(crate) fn plan<'a>(files: Vec<CpioFile<'a>>, mtime: u32) -> Result<Plan<'a>, Error> {
    /// `PATH_MAX`: init/initramfs.c passes over longer names.
    const MAX_NAME: u64 = 4096;
    const BLOCK_LEN: u64 = 512;
    let word = Align::new(4).unwrap_or(Align::PAGE);
    let mut out = Reserver::new();
    for (inode, file) in (721..).zip(files) {
        let CpioFile { names, mode, owner, device, mut data, .. } = file;
        let kind = mode & TYPE;
        if kind == LINK {
            data.to_mut().push(0);
        }
        let links = match kind {
            FOLDER | FIFO | SOCKET => 2,
            _ => u32::try_from(names.len()).unwrap_or(u32::MAX),
        };
        let last = names.len().saturating_sub(1);
        for (index, name) in names.iter().enumerate() {
            // The data goes with the last of the names.
            let data = if index == last { std::mem::take(&mut data) } else { Cow::Borrowed(&[][..]) };
            let fits = |field, len: u64, max: u64| match u32::try_from(len) {
                Ok(value) if len <= max => Ok(value),
                _ => Err(Error::TooLarge { name: name.clone(), field, need: len, max }),
            };
            let size = fits("c_filesize", len64(&data), u32::MAX.into())?;
            let name = name.strip_prefix(b"/").unwrap_or(name);
            if name == TRAILER {
                return Err(Error::Trailer);
            }
            let name_size = fits("c_namesize", len64(name) + 1, MAX_NAME)?;
            #[rustfmt::skip]
            let fields = [inode, mode, owner.0, owner.1, links, mtime, size, 3, 1, device.0, device.1, name_size, 0];
            out.bytes(header(fields, name))?;
            out.align(word)?;
            out.bytes(data)?;
            out.align(word)?;
        }
    }
    out.bytes(header([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0], TRAILER))?;
    out.align(Align::new(BLOCK_LEN).unwrap_or(Align::PAGE))?;
    out.region("archive", 0, RegionKind::Data);
    Ok(out.finish())
}

/// A header and the name behind it: inode, mode, user, group, links, time, size, the file system's device, the node's, length of
/// the name, sum.
pub(super) fn header(fields: [u32; 13], name: &[u8]) -> Vec<u8> {
    let mut out = b"070701".to_vec();
    fields.iter().for_each(|field| out.extend(format!("{field:08X}").bytes()));
    out.extend_from_slice(name);
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_of(size: u32, name: &str) -> Vec<u8> {
        let mut out = header([1, 0o100_644, 0, 0, 1, 7, size, 0, 0, 0, 0, name.len() as u32 + 1, 0], name.as_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn entries_and_length() {
        let mut archive = entry_of(5, "a/b");
        archive.extend(b"hello\0\0\0");
        archive.extend(entry_of(0, "TRAILER!!!"));
        let len = len64(&archive);
        archive.extend([0; 300]);
        let entries: Vec<_> = Cpio::parse(&archive).unwrap().entries().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].name, entries[0].size, entries[0].mtime), (&b"a/b"[..], 5, 7));
        assert_eq!(archive_len(&archive), Some(len));
        assert_eq!(archive_len(&archive[..100]), None);
        assert!(!Cpio::detect(b"070701 is a number"));
    }
}
