//! The notes of an ELF file: build id, boot entry points for hypervisors.

use super::Elf;
use super::raw::{PT_NOTE, SHT_NOTE};
use crate::bytes::{Cursor, Endian, slice, until_zero};
use std::ops::Range;

/// A note (gABI, "Note Section").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note<'a> {
    /// The owner, without its NUL: `GNU`, `Xen`, `Linux`.
    pub owner: &'a [u8],
    /// `n_type`: what the owner means by it.
    pub kind: u32,
    /// The contents.
    pub desc: &'a [u8],
    /// File offset of the contents.
    pub at: u64,
}

/// The Xen note that names the PVH entry point (`XEN_ELFNOTE_PHYS32_ENTRY`, xen/include/public/elfnote.h).
pub(crate) const PHYS32_ENTRY: u32 = 18;
/// No kernel has as many.
const MAX_NOTES: usize = 4096;

impl<'a> Elf<'a> {
    /// All notes: of the `PT_NOTE` segments, or, without those, of the note sections.
    pub(crate) fn notes(&self) -> Vec<Note<'a>> {
        let mut notes = Vec::new();
        for segment in self.segments().iter().filter(|segment| segment.kind == PT_NOTE) {
            self.notes_in(segment.offset, segment.filesz, segment.align, &mut notes);
        }
        if notes.is_empty() {
            for section in self.sections().iter().filter(|section| section.kind == SHT_NOTE) {
                self.notes_in(section.offset, section.size, section.align, &mut notes);
            }
        }
        notes
    }

    /// Where the notes of a `PT_NOTE` segment cannot be read on, as a file offset: what stands there is no note, by the
    /// segment's own alignment. Notes of 8-byte alignment (`.note.gnu.property`) in one segment with those of 4-byte
    /// alignment do that; nobody finds what stands behind them.
    pub(crate) fn unread_notes(&self) -> Option<u64> {
        let notes = self.segments().iter().filter(|segment| segment.kind == PT_NOTE);
        notes.into_iter().find_map(|segment| {
            let bytes = slice(self.bytes(), segment.offset, segment.filesz)?;
            let at = self.notes_in(segment.offset, segment.filesz, segment.align, &mut Vec::new());
            let rest = bytes.get(usize::try_from(at).ok()?..)?;
            rest.iter().any(|byte| *byte != 0).then(|| segment.offset.saturating_add(at))
        })
    }

    /// Collects notes; returns where, from `offset` on, the last one ends.
    fn notes_in(&self, offset: u64, size: u64, align: u64, notes: &mut Vec<Note<'a>>) -> u64 {
        let Some(bytes) = slice(self.bytes(), offset, size) else { return 0 };
        let cursor = Cursor::new(bytes, self.endian());
        let mut at = 0;
        while notes.len() < MAX_NOTES {
            let Some((note, next)) = read(&cursor, at, align, offset) else { return at };
            notes.push(note);
            at = next;
        }
        // More than anybody has: what is left is not called unreadable.
        size
    }

    /// The file ranges that are loaded, in file order, overlaps joined; the whole file where nothing says.
    pub(crate) fn loaded_ranges(&self) -> Vec<std::ops::Range<u64>> {
        let have = crate::bytes::len64(self.bytes());
        let loads = self.segments().iter().filter(|segment| segment.kind == super::PT_LOAD && segment.filesz > 0);
        let mut ranges: Vec<_> = loads
            .map(|segment| segment.offset.min(have)..segment.offset.saturating_add(segment.filesz).min(have))
            .collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut joined: Vec<std::ops::Range<u64>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        if joined.is_empty() { std::iter::once(0..have).collect() } else { joined }
    }
}

/// The notes of a kernel without headers, one of which is at `at`: those that are one behind the other with it.
pub(crate) fn notes_around(bytes: &[u8], at: u64, endian: Endian) -> Range<u64> {
    /// A kernel's notes take some hundred bytes.
    const FAR: u64 = 4096;
    let cursor = Cursor::new(bytes, endian);
    let next = |at: &u64| {
        let (note, next) = read(&cursor, *at, 4, 0)?;
        matches!(note.owner, b"GNU" | b"Linux" | b"Xen").then_some(next)
    };
    let chain = |from: u64| std::iter::successors(Some(from), next).take(MAX_NOTES);
    let before = (0..FAR.min(at) / 4).rev().map(|words| at - 4 * (words + 1));
    let start = before.into_iter().find(|from| chain(*from).take_while(|here| *here <= at).last() == Some(at));
    start.unwrap_or(at)..chain(at).last().unwrap_or(at)
}

fn read<'a>(cursor: &Cursor<'a>, at: u64, align: u64, base: u64) -> Option<(Note<'a>, u64)> {
    let name_len = u64::from(cursor.u32("n_namesz", at).ok()?);
    let desc_len = u64::from(cursor.u32("n_descsz", at + 4).ok()?);
    let kind = cursor.u32("n_type", at + 8).ok()?;
    // Notes of the kernel are 4-aligned even in 64-bit files; 8 is the rule for .note.gnu.property.
    let align = if align == 8 { 8 } else { 4_u64 };
    let name_at = at + 12;
    let owner = cursor.take("name", name_at, name_len).ok()?;
    let owner = until_zero(owner);
    let desc_at = (name_at + name_len).checked_next_multiple_of(align)?;
    let desc = cursor.take("desc", desc_at, desc_len).ok()?;
    let next = desc_at.checked_add(desc_len)?.checked_next_multiple_of(align)?;
    Some((Note { owner, kind, desc, at: base + desc_at }, next))
}
