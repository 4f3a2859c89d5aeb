//! A tree that is edited in place: how much room that takes, and what the edits leave behind.
//!
//! mkimage fills time and hashes into a compiled tree, and takes the data out of it afterwards where it is to stand behind the
//! tree. libfdt moves what stands behind an edit and clears nothing, so that behind the last block old bytes stay. Nobody
//! reads them; a FIT of the same bytes has them. Source: libfdt's fdt_rw.c (`fdt_splice_`, `fdt_delprop`,
//! `fdt_add_property_`, `fdt_resize_property_`), U-Boot 2023.01, tools/fit_image.c (`fit_extract_data`).

use crate::bytes::{len64, slice};
use crate::format::fdt::{PROPERTY_HEADER, Property, property_len};
use crate::layout::Plan;
use std::ops::Range;

/// A node's properties in the blob: where the first begins, and the name and length of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) first: u64,
    pub(super) properties: Vec<(String, u64)>,
}

impl Place {
    /// A node whose properties would begin there.
    pub(super) fn empty(first: u64) -> Place {
        Place { first, properties: Vec::new() }
    }

    /// Where the value of a property begins, or would if it were put in.
    pub(super) fn value_at(&self, name: &str) -> u64 {
        let index = self.properties.iter().position(|(known, _)| known == name).unwrap_or(0);
        let before: u64 = self.properties.iter().take(index).map(|(_, len)| len).sum();
        self.first.saturating_add(before).saturating_add(PROPERTY_HEADER)
    }
}

/// Bytes taken out and put in at one place; all behind it up to the end of the last block moves.
#[derive(Debug)]
struct Edit {
    at: u64,
    old: u64,
    new: u64,
    /// The end of the last block, before and after.
    end: (u64, u64),
    /// What was written into the new bytes.
    bytes: Vec<u8>,
}

/// The edits of a blob, in their order.
#[derive(Debug)]
pub(super) struct Edits {
    edits: Vec<Edit>,
    end: u64,
    most: u64,
    /// Bytes put in and taken out before the node that is being edited.
    put: u64,
    taken: u64,
}

impl Edits {
    /// Of a blob whose last block ends at `end`.
    pub(super) fn new(end: u64) -> Edits {
        Edits { edits: Vec::new(), end, most: end, put: 0, taken: 0 }
    }

    /// The farthest that the last block ever reached.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    fn splice(&mut self, at: u64, old: u64, new: u64, bytes: Vec<u8>) {
        let end = (self.end.saturating_sub(old)).saturating_add(new);
        self.edits.push(Edit { at, old, new, end: (self.end, end), bytes });
        self.end = end;
        self.most = self.most.max(end);
    }

    /// Where the property of that number begins, after the edits of the nodes before this one.
    fn at(&self, place: &Place, index: usize) -> u64 {
        let before: u64 = place.properties.iter().take(index).map(|(_, len)| len).sum();
        place.first.saturating_add(self.put).saturating_sub(self.taken).saturating_add(before)
    }

    /// Takes a property out.
    pub(super) fn delete(&mut self, place: &mut Place, name: &str) {
        let Some(index) = place.properties.iter().position(|(known, _)| known == name) else { return };
        let at = self.at(place, index);
        let (_, len) = place.properties.remove(index);
        self.splice(at, len, 0, Vec::new());
    }

    /// Sets a property, whose name stands at `name_at` of the names; `name_is_new` when it was just put there.
    pub(super) fn set(&mut self, place: &mut Place, property: &Property<'_>, name_at: u32, name_is_new: bool) {
        let (name, value) = (&*property.name, &*property.value);
        let new = property_len(len64(value));
        if let Some(index) = place.properties.iter().position(|(known, _)| known == name) {
            let at = self.at(place, index).saturating_add(PROPERTY_HEADER);
            let len = place.properties.get(index).map_or(0, |(_, len)| len.saturating_sub(PROPERTY_HEADER));
            self.splice(at, len, new - PROPERTY_HEADER, value.to_vec());
            if let Some((_, len)) = place.properties.get_mut(index) {
                *len = new;
            }
            return;
        }
        if name_is_new {
            let ended = [name.as_bytes(), &[0]].concat();
            self.splice(self.end, 0, len64(&ended), ended);
        }
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let bytes = [&3_u32.to_be_bytes()[..], &len.to_be_bytes(), &name_at.to_be_bytes(), value].concat();
        self.splice(self.at(place, 0), 0, new, bytes);
        place.properties.insert(0, (name.to_owned(), new));
    }

    /// The node is done; `before` is what it was.
    pub(super) fn done(&mut self, place: &Place, before: &Place) {
        let len = |place: &Place| place.properties.iter().map(|(_, len)| len).sum::<u64>();
        self.put = self.put.saturating_add(len(place));
        self.taken = self.taken.saturating_add(len(before));
    }

    /// The bytes of `range`, behind the last block, after all edits of `blob`; zeros behind its end.
    pub(super) fn left_over(&self, range: Range<u64>, blob: &Plan<'_>) -> Vec<u8> {
        // What no edit reached was never written. From the last edit to the first: where did the bytes come from?
        let range = range.start..range.end.min(self.most.max(blob.len()));
        let Ok(len) = usize::try_from(range.end.saturating_sub(range.start)) else { return Vec::new() };
        if len == 0 {
            return Vec::new();
        }
        let mut out = vec![0; len];
        let mut put = |to: u64, bytes: &[u8]| {
            let to = usize::try_from(to.saturating_sub(range.start)).unwrap_or(usize::MAX);
            if let Some(place) = to.checked_add(bytes.len()).and_then(|end| out.get_mut(to..end)) {
                place.copy_from_slice(bytes);
            }
        };
        // Where they end up, and where they stand.
        let mut open = vec![(range.start, range.clone())];
        for edit in self.edits.iter().rev() {
            let new = edit.at..edit.at.saturating_add(edit.new);
            let written = edit.at..edit.at.saturating_add(len64(&edit.bytes));
            let mut earlier = Vec::new();
            for (to, at) in open {
                let mut start = at.start;
                for limit in [edit.at, written.end, new.end, edit.end.1, u64::MAX] {
                    let end = at.end.min(limit);
                    if start >= end {
                        continue;
                    }
                    let to = to + (start - at.start);
                    if written.contains(&start) {
                        put(to, slice(&edit.bytes, start - edit.at, end - start).unwrap_or(&[]));
                    } else if start >= new.end && start < edit.end.1 {
                        let back = |at: u64| (at - edit.new).saturating_add(edit.old);
                        earlier.push((to, back(start)..back(end)));
                    } else {
                        earlier.push((to, start..end));
                    }
                    start = end;
                }
            }
            open = earlier;
        }
        for (to, at) in open {
            put(to, &blob.bytes_at(at));
        }
        out
    }
}
