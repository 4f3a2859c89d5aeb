//! A tree that is edited in place: how much room that takes, and what the edits leave behind.
//!
//! mkimage fills time and hashes into a compiled tree, and takes the data out of it afterwards where it is to stand behind the
//! tree. libfdt moves what stands behind an edit and clears nothing, so that behind the last block old bytes stay. Nobody
//! reads them; a FIT of the same bytes has them. Source: libfdt's fdt_rw.c (`fdt_splice_`, `fdt_delprop`,
//! `fdt_add_property_`, `fdt_resize_property_`), U-Boot 2023.01, tools/fit_image.c (`fit_extract_data`).

use crate::bytes::{len64, slice};
use crate::format::fdt::{self, PROPERTY_HEADER, Property, Strings, property_len};
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
    /// Nodes that are done: where the first property was, and the bytes put in and taken out.
    done: Vec<(u64, u64, u64)>,
    /// All that was put in and taken out of them, and the farthest of them.
    put: u64,
    taken: u64,
    farthest: u64,
    /// Something was changed in the node that is being edited.
    is_begun: bool,
}

impl Edits {
    /// Of a blob whose last block ends at `end`.
    pub(super) fn new(end: u64) -> Edits {
        Edits { edits: Vec::new(), end, most: end, done: Vec::new(), put: 0, taken: 0, farthest: 0, is_begun: false }
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

    /// Bytes put in and taken out before that place of the blob.
    fn before(&self, first: u64) -> (u64, u64) {
        if first >= self.farthest {
            return (self.put, self.taken);
        }
        let done = self.done.iter().filter(|(at, ..)| *at < first);
        done.fold((0, 0), |sum, (_, put, taken)| (sum.0 + put, sum.1 + taken))
    }

    /// Where the property of that number begins, after the edits of the nodes before this one.
    fn at(&self, place: &Place, index: usize) -> u64 {
        let before: u64 = place.properties.iter().take(index).map(|(_, len)| len).sum();
        let (put, taken) = self.before(place.first);
        place.first.saturating_add(put).saturating_sub(taken).saturating_add(before)
    }

    /// What stands where the padding of a value of `len` bytes will be that begins at `at`.
    fn padding(&self, place: &Place, at: u64, len: u64, blob: &Plan<'_>) -> Vec<u8> {
        let end = at.saturating_add(len);
        let range = end..end.next_multiple_of(4);
        if range.is_empty() {
            return Vec::new();
        }
        // Behind the first edit of a node there is what was there at first, as long as no node behind it was edited.
        let (put, taken) = self.before(place.first);
        let back = |at: u64| at.saturating_sub(put).saturating_add(taken);
        if !self.is_begun && place.first >= self.farthest && back(range.end) <= blob.len() {
            return blob.bytes_at(back(range.start)..back(range.end));
        }
        self.left_over(range, blob)
    }

    /// Takes a property out.
    pub(super) fn delete(&mut self, place: &mut Place, name: &str) {
        let Some(index) = place.properties.iter().position(|(known, _)| known == name) else { return };
        let at = self.at(place, index);
        let (_, len) = place.properties.remove(index);
        self.splice(at, len, 0, Vec::new());
    }

    /// Sets a property, and puts what stands behind its value into its padding.
    pub(super) fn set(
        &mut self,
        place: &mut Place,
        property: &mut Property<'_>,
        strings: &mut Strings,
        blob: &Plan<'_>,
    ) -> Result<(), fdt::Error> {
        let len = len64(&property.value);
        let new = property_len(len);
        if let Some(index) = place.properties.iter().position(|(known, _)| *known == property.name) {
            let at = self.at(place, index).saturating_add(PROPERTY_HEADER);
            property.set_padding(&self.padding(place, at, len, blob));
            let old = place.properties.get(index).map_or(0, |(_, len)| len.saturating_sub(PROPERTY_HEADER));
            self.splice(at, old, new - PROPERTY_HEADER, property.value.to_vec());
            if let Some((_, len)) = place.properties.get_mut(index) {
                *len = new;
            }
        } else {
            let names = strings.bytes().len();
            let name_at = strings.insert(&property.name)?;
            if strings.bytes().len() > names {
                let ended = [property.name.as_bytes(), &[0]].concat();
                self.splice(self.end, 0, len64(&ended), ended);
            }
            let at = self.at(place, 0);
            property.set_padding(&self.padding(place, at.saturating_add(PROPERTY_HEADER), len, blob));
            let size = u32::try_from(len).unwrap_or(u32::MAX);
            let head = [3_u32.to_be_bytes(), size.to_be_bytes(), name_at.to_be_bytes()].concat();
            self.splice(at, 0, new, [&head, &*property.value].concat());
            place.properties.insert(0, (property.name.to_string(), new));
        }
        self.is_begun = true;
        Ok(())
    }

    /// The node is done; `before` is what it was.
    pub(super) fn done(&mut self, place: &Place, before: &Place) {
        let len = |place: &Place| place.properties.iter().map(|(_, len)| len).sum::<u64>();
        self.done.push((before.first, len(place), len(before)));
        self.put = self.put.saturating_add(len(place));
        self.taken = self.taken.saturating_add(len(before));
        self.farthest = self.farthest.max(before.first);
        self.is_begun = false;
    }

    /// The bytes of `range` after all edits of `blob`; zeros behind its end.
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
