//! cpio archives as the kernel unpacks them: an initial RAM disk.
//!
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst, Linux 7.2: "newc" (070701) and "crc" (070702)
//! entries, each a header of 110 hexadecimal characters, a name and data, both padded to 4 bytes.

use crate::bytes::{FieldError, len64, slice};

/// Length of an entry's header in bytes.
pub(crate) const HEADER_LEN: u64 = 110;
/// Offset of `c_check` in an entry's header.
const CHECK_AT: u64 = 102;
/// The name that ends an archive.
pub(crate) const TRAILER: &[u8] = b"TRAILER!!!";

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
    /// `c_check` of a "crc" entry.
    check: Option<u32>,
    /// Offset of the next entry.
    next: u64,
}

impl Entry<'_> {
    /// `c_check` where the kernel looks at it, in a "crc" entry of a file that has data: the sum of its bytes, modulo 2^32
    /// (init/initramfs.c, `do_copy`, Linux 5.18). A further name of a file has none of the data.
    pub(crate) fn checksum(&self) -> Option<u32> {
        const TYPE: u32 = 0o170_000;
        const FILE: u32 = 0o100_000;
        self.check.filter(|_| self.mode & TYPE == FILE && self.size > 0)
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
    /// True when `bytes` begin with a whole header.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        (bytes.starts_with(b"070701") || bytes.starts_with(b"070702")) && entry(bytes, 0).is_ok()
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
    let have = len64(bytes);
    let take = |field: &'static str, at: u64, len: u64| {
        slice(bytes, at, len).ok_or_else(|| {
            let need = at.saturating_add(len);
            FieldError::truncated(field, at, need, have).with_help("the archive is cut off")
        })
    };
    let header = take("cpio header", at, HEADER_LEN)?;
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
    let check = if header.starts_with(b"070702") { Some(number("c_check", 12)?) } else { None };
    let name = take("name", at + HEADER_LEN, name_size)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    let data_at = (at + HEADER_LEN + name_size).next_multiple_of(4);
    take("data", data_at.min(have), size)?;
    Ok(Entry { name, mode, mtime, at, data_at, size, check, next: (data_at + size).next_multiple_of(4) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u32, name: &str) -> Vec<u8> {
        let mut out = b"070701".to_vec();
        for field in [1, 0o100_644, 0, 0, 1, 7, size, 0, 0, 0, 0, name.len() as u32 + 1, 0] {
            out.extend(format!("{field:08x}").bytes());
        }
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn entries_and_length() {
        let mut archive = header(5, "a/b");
        archive.extend(b"hello\0\0\0");
        archive.extend(header(0, "TRAILER!!!"));
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
