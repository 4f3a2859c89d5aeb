//! What starts a program beside the kernel: its interpreter, and the libraries that this loads.

use super::{Elf, PT_LOAD};
use crate::bytes::{Cursor, slice};
use object::elf::{DT_NEEDED, DT_STRTAB, PT_DYNAMIC, PT_INTERP};

impl<'a> Elf<'a> {
    /// `PT_INTERP`: the path of the program that the kernel starts in its place.
    pub(crate) fn interpreter(&self) -> Option<&'a [u8]> {
        self.segment_bytes(PT_INTERP.0)?.split(|byte| *byte == 0).next()
    }

    /// `DT_NEEDED`: the names of the libraries that it needs.
    pub(crate) fn needed(&self) -> Vec<&'a [u8]> {
        self.dynamic().unwrap_or_default()
    }

    fn dynamic(&self) -> Option<Vec<&'a [u8]>> {
        // Nobody has more.
        const MOST: u64 = 4096;
        let cursor = Cursor::new(self.segment_bytes(PT_DYNAMIC.0)?, self.endian());
        let width = if self.is_64() { 8 } else { 4 };
        let word = |at| match self.is_64() {
            true => cursor.u64("d_tag", at).ok(),
            false => cursor.u32("d_tag", at).ok().map(u64::from),
        };
        let entries = (0..MOST).map_while(|index| Some((word(2 * width * index)?, word(2 * width * index + width)?)));
        let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != 0).collect();
        let tagged =
            |tag: i64| entries.iter().filter(move |entry| i64::try_from(entry.0) == Ok(tag)).map(|entry| entry.1);
        let strings = tagged(DT_STRTAB.0).next()?;
        let name = |offset: u64| self.text_at(strings.checked_add(offset)?);
        tagged(DT_NEEDED.0).map(name).collect()
    }

    /// The text at a virtual address.
    fn text_at(&self, address: u64) -> Option<&'a [u8]> {
        let (segment, inside) =
            self.segments().iter().filter(|segment| segment.kind == PT_LOAD).find_map(|segment| {
                let inside = address.checked_sub(segment.vaddr).filter(|inside| *inside < segment.filesz)?;
                Some((segment, inside))
            })?;
        let rest = slice(self.bytes(), segment.offset.checked_add(inside)?, segment.filesz - inside)?;
        rest.split(|byte| *byte == 0).next()
    }

    fn segment_bytes(&self, kind: u32) -> Option<&'a [u8]> {
        let segment = self.segments().iter().find(|segment| segment.kind == kind)?;
        slice(self.bytes(), segment.offset, segment.filesz)
    }
}
