//! An ELF file that passes by in pieces: what belongs to it goes on, what is behind it does not.

use super::raw::SHT_NULL;
use super::{Elf, SHT_NOBITS};
use crate::bytes::{Cursor, Endian, FieldError, len64, slice};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;

/// Hands on the ELF file that its input begins with, to where [`Elf::file_end`] has its end, without ever holding it.
///
/// Fails with [`ErrorKind::InvalidData`] when the input is no ELF file, or one whose end cannot be told in passing: with
/// its section table in front of its contents, or with so many sections or segments that their number is elsewhere.
#[derive(Debug)]
pub struct Passing<W> {
    out: W,
    seen: u64,
    /// The first bytes, until the tables are known.
    head: Vec<u8>,
    layout: Option<Layout>,
    /// The section table.
    sections: Vec<u8>,
    end: Option<u64>,
}

/// What the file header says.
#[derive(Debug, Clone)]
struct Layout {
    is_64: bool,
    endian: Endian,
    /// Where segments and tables end; more than that comes from the section table.
    end: u64,
    sections: Range<u64>,
}

/// Enough for the file header and the program headers of a kernel.
const HEAD: usize = 4096;

impl<W: Write> Passing<W> {
    /// A writer in front of `out`.
    pub fn new(out: W) -> Self {
        Passing { out, seen: 0, head: Vec::new(), layout: None, sections: Vec::new(), end: None }
    }

    /// How long the ELF file was.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when its end was not seen.
    pub fn finish(self) -> io::Result<u64> {
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
        let damaged = |_: FieldError| io::Error::from(ErrorKind::InvalidData);
        let Some(layout) = &self.layout else { return Err(ErrorKind::InvalidData.into()) };
        let table = layout.sections.clone();
        let Some(end) = self.end else {
            // All in front of the end of the section table belongs to the file.
            let (start, stop) = (self.seen, self.seen.saturating_add(len64(bytes)));
            let (from, to) = (table.start.clamp(start, stop), table.end.clamp(start, stop));
            self.sections.extend_from_slice(slice(bytes, from - start, to - from).unwrap_or_default());
            let now = slice(bytes, 0, to - start).unwrap_or_default();
            if stop < table.end {
                return self.pass(bytes, u64::MAX);
            }
            let end = layout.end_of(&self.sections).map_err(damaged)?;
            self.end = Some(end);
            self.pass(now, u64::MAX)?;
            let rest = slice(bytes, to - start, stop - to).unwrap_or_default();
            return self.pass(rest, end);
        };
        self.pass(bytes, end)
    }
}

impl<W: Write> Write for Passing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.layout.is_some() {
            self.take(bytes)?;
            return Ok(bytes.len());
        }
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        if self.head.len() == HEAD {
            let layout = Layout::read(&self.head).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
            self.layout = Some(layout.ok_or(ErrorKind::InvalidData)?);
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

impl Layout {
    /// Reads file header and program headers; `None` for what [`Passing`] leaves to others.
    fn read(head: &[u8]) -> Result<Option<Layout>, FieldError> {
        let (is_64, endian) = match head {
            [_, _, _, _, class @ (1 | 2), 1, ..] => (*class == 2, Endian::Little),
            [_, _, _, _, class @ (1 | 2), 2, ..] => (*class == 2, Endian::Big),
            _ => return Ok(None),
        };
        let cursor = Cursor::new(head, endian);
        let word =
            |at_64, at_32| if is_64 { cursor.u64("e_off", at_64) } else { cursor.u32("e_off", at_32).map(Into::into) };
        let half = |at_64, at_32| cursor.u16("e_num", if is_64 { at_64 } else { at_32 }).map(u64::from);
        let (header, segment, section) = if is_64 { (64, 56, 64) } else { (52, 32, 40) };
        let (segments_at, sections_at) = (word(32, 28)?, word(40, 32)?);
        let (segments, sections) = (half(56, 44)?, half(60, 48)?);
        let odd = half(54, 42)? != segment || (sections > 0 && half(58, 46)? != section);
        // 0 and 0xffff stand for numbers that are elsewhere (gABI, "ELF Header").
        if !Elf::detect(head) || odd || sections == 0 || sections_at == 0 || segments == 0xffff {
            return Ok(None);
        }
        let table_end = |at: u64, count: u64, size: u64| at.saturating_add(count * size);
        let sections = sections_at..table_end(sections_at, sections, section);
        let mut end = header.max(sections.end).max(table_end(segments_at, segments, segment));
        for index in 0..segments {
            let at = segments_at.saturating_add(index * segment);
            let field = |at_64: u64, at_32: u64| match is_64 {
                true => cursor.u64("program header", at.saturating_add(at_64)),
                false => cursor.u32("program header", at.saturating_add(at_32)).map(Into::into),
            };
            end = end.max(stop(field(8, 4)?, field(32, 16)?));
        }
        Ok((sections.start >= len64(head)).then_some(Layout { is_64, endian, end, sections }))
    }

    fn end_of(&self, table: &[u8]) -> Result<u64, FieldError> {
        let cursor = Cursor::new(table, self.endian);
        let size = if self.is_64 { 64 } else { 40 };
        let mut end = self.end;
        for at in (0..len64(table)).step_by(size) {
            let field = |at_64: u64, at_32: u64| match self.is_64 {
                true => cursor.u64("section header", at + at_64),
                false => cursor.u32("section header", at + at_32).map(Into::into),
            };
            let kind = cursor.u32("sh_type", at + 4)?;
            if kind != SHT_NOBITS && kind != SHT_NULL {
                end = end.max(stop(field(24, 16)?, field(32, 20)?));
            }
        }
        Ok(end)
    }
}

/// Where something ends, if it has any bytes.
fn stop(at: u64, len: u64) -> u64 {
    if len == 0 { 0 } else { at.saturating_add(len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tiny/vmlinux`, made longer than the head, with something behind it.
    fn passed(file: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut passing = Passing::new(&mut out);
        file.chunks(piece).try_for_each(|piece| passing.write_all(piece))?;
        let len = passing.finish()?;
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
                assert!(passed(&longer, piece).unwrap() == file, "{name} in pieces of {piece}");
                assert!(passed(&file, piece).unwrap() == file, "{name} alone");
            }
            assert!(passed(&file[..file.len() - 1], 4096).is_err(), "{name}, cut off");
        }
        assert!(passed(&[0; 10_000], 4096).is_err());
        assert!(passed(b"\x7fELF", 1).is_err());
    }
}
