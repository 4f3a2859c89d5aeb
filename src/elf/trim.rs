//! A writer in front of another one: it passes on the ELF file that it is given, and drops what is behind it.

use super::facts::{end_of, is_64_bit_file};
use super::raw::{PN_XNUM, SHT_NOBITS, SHT_NULL};
use crate::bytes::{len64, slice};
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::pod::slice_from_bytes;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use std::io::{self, ErrorKind, Write};
use std::mem::size_of;
use std::ops::Range;

/// Writes the ELF file that its input begins with, to where [`Elf::file_end`](super::Elf::file_end) has its end, without
/// ever holding it.
///
/// Fails with [`ErrorKind::InvalidData`] when the input is no ELF file, or one whose end cannot be told on the way: with
/// its section table in front of its contents, or with so many sections or segments that their number is elsewhere.
#[derive(Debug)]
pub(crate) struct TrimWriter<W> {
    out: W,
    seen: u64,
    /// The first bytes, until the tables are known.
    head: Vec<u8>,
    headers: Option<Headers>,
    /// The section table.
    sections: Vec<u8>,
    end: Option<u64>,
}

/// What the file header says.
#[derive(Debug, Clone)]
struct Headers {
    /// Where segments and tables end; more than that comes from the section table.
    end: u64,
    /// Where the section table is.
    sections: Range<u64>,
    /// Where the contents of the sections in such a table end.
    contents_end: fn(&[u8], Endianness) -> u64,
    order: Endianness,
}

/// Enough for the file header and the program headers of a kernel.
const HEAD: usize = 4096;

impl<W: Write> TrimWriter<W> {
    /// A writer in front of `out`.
    pub(crate) fn new(out: W) -> Self {
        TrimWriter { out, seen: 0, head: Vec::new(), headers: None, sections: Vec::new(), end: None }
    }

    /// How long the ELF file was.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when its end was not seen.
    pub(crate) fn finish(self) -> io::Result<u64> {
        self.end.filter(|end| *end <= self.seen).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Hands on what of `bytes`, which begin at `seen`, is in front of `end`.
    fn pass(&mut self, bytes: &[u8], end: u64) -> io::Result<()> {
        let room = usize::try_from(end.saturating_sub(self.seen)).unwrap_or(usize::MAX);
        self.out.write_all(bytes.get(..room).unwrap_or(bytes))?;
        self.seen += len64(bytes);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(headers) = &self.headers else { return Err(ErrorKind::InvalidData.into()) };
        let table = headers.sections.clone();
        let Some(end) = self.end else {
            // All in front of the end of the section table belongs to the file.
            let (start, stop) = (self.seen, self.seen.saturating_add(len64(bytes)));
            let (from, to) = (table.start.clamp(start, stop), table.end.clamp(start, stop));
            self.sections.extend_from_slice(slice(bytes, from - start, to - from).unwrap_or_default());
            let now = slice(bytes, 0, to - start).unwrap_or_default();
            if stop < table.end {
                return self.pass(bytes, u64::MAX);
            }
            let end = headers.end.max((headers.contents_end)(&self.sections, headers.order));
            self.end = Some(end);
            self.pass(now, u64::MAX)?;
            let rest = slice(bytes, to - start, stop - to).unwrap_or_default();
            return self.pass(rest, end);
        };
        self.pass(bytes, end)
    }
}

impl<W: Write> Write for TrimWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.headers.is_some() {
            self.take(bytes)?;
            return Ok(bytes.len());
        }
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        if self.head.len() == HEAD {
            self.headers = Some(Headers::read(&self.head).ok_or(ErrorKind::InvalidData)?);
            let head = std::mem::take(&mut self.head);
            self.take(&head)?;
            self.take(rest)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Headers {
    /// Reads file header and program headers; `None` for what [`TrimWriter`] leaves to others.
    fn read(head: &[u8]) -> Option<Headers> {
        match is_64_bit_file(head)? {
            true => Self::of_class::<FileHeader64<Endianness>>(head),
            false => Self::of_class::<FileHeader32<Endianness>>(head),
        }
    }

    fn of_class<H: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<Headers> {
        let header = H::parse(head).ok()?;
        let order = header.endian().ok()?;
        let (count, size) = (header.e_shnum(order), size_of::<H::SectionHeader>());
        let (start, segments): (u64, u64) = (header.e_shoff(order).into(), header.e_phoff(order).into());
        // 0 and 0xffff stand for numbers that are elsewhere (gABI, "ELF Header").
        if count == 0 || usize::from(header.e_shentsize(order)) != size || header.e_phnum(order) == PN_XNUM {
            return None;
        }
        let table = header.program_headers(order, head).ok()?;
        let sections = start..start.saturating_add(product(usize::from(count), size));
        let ends = table.iter().map(|segment| end_of(segment.p_offset(order).into(), segment.p_filesz(order).into()));
        let segments_end = end_of(segments, product(table.len(), size_of::<H::ProgramHeader>()));
        let end = ends.max().unwrap_or(0).max(segments_end).max(sections.end);
        (start >= len64(head)).then_some(Headers { end, sections, contents_end: contents_end::<H>, order })
    }
}

/// Bytes of `count` entries.
fn product(count: usize, size: usize) -> u64 {
    u64::try_from(count.saturating_mul(size)).unwrap_or(u64::MAX)
}

fn contents_end<H: FileHeader<Endian = Endianness>>(table: &[u8], order: Endianness) -> u64 {
    let count = table.len() / size_of::<H::SectionHeader>();
    let sections: &[H::SectionHeader] = slice_from_bytes(table, count).map_or(&[], |(sections, _)| sections);
    let filled = sections.iter().filter(|section| !matches!(section.sh_type(order).0, SHT_NOBITS | SHT_NULL));
    filled.map(|section| end_of(section.sh_offset(order).into(), section.sh_size(order).into())).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Elf;

    /// `tiny/vmlinux`, made longer than the head, with something behind it.
    fn trimmed(file: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut trim = TrimWriter::new(&mut out);
        file.chunks(piece).try_for_each(|piece| trim.write_all(piece))?;
        let len = trim.finish()?;
        assert_eq!(len64(&out), len);
        Ok(out)
    }

    #[test]
    fn the_end_is_that_of_the_whole_file() {
        for name in ["vmlinux", "arm-vmlinux", "kernel"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tiny").join(name);
            let file = std::fs::read(path).unwrap();
            let end = Elf::parse(&file).unwrap().file_end();
            assert_eq!(end, len64(&file), "{name}");
            let longer = [&file[..], &[0x5a; 10_000]].concat();
            for piece in [1, 7, 4095, 4096, 4097, 1 << 20] {
                assert!(trimmed(&longer, piece).unwrap() == file, "{name} in pieces of {piece}");
                assert!(trimmed(&file, piece).unwrap() == file, "{name} alone");
            }
            assert!(trimmed(&file[..file.len() - 1], 4096).is_err(), "{name}, cut off");
        }
        assert!(trimmed(&[0; 10_000], 4096).is_err());
        assert!(trimmed(b"\x7fELF", 1).is_err());
    }
}
