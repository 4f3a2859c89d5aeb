//! A blob that is edited in place, byte for byte as libfdt does it: what stands behind an edit moves, and nothing is cleared.
//!
//! Source: libfdt's fdt_rw.c (`fdt_setprop`, `fdt_add_subnode`, `fdt_open_into`).

use super::{Dtb, FIELDS, PROPERTY_HEADER, Property, VERSION, token};
use crate::bytes::{FieldError, len64, offset_of};

/// A device tree blob whose blocks stand in libfdt's order.
#[derive(Debug, Clone)]
pub(crate) struct InPlace {
    bytes: Vec<u8>,
}

impl InPlace {
    /// A blob, and what may stand behind it in its file.
    ///
    /// # Errors
    /// As [`Dtb::tree`]; blocks in another order are refused.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, FieldError> {
        let dtb = Dtb::parse_at(bytes, 0)?;
        dtb.tree()?;
        let ends = dtb.structure.0.saturating_add(dtb.structure.1);
        let in_order = dtb.version() >= VERSION && ends <= dtb.strings.0;
        if !in_order {
            let field = offset_of(FIELDS, "off_dt_strings");
            let want = "version 17, with the strings behind the structure";
            let help = "write the tree again: dtc -I dtb -O dtb";
            return Err(FieldError::unknown("off_dt_strings", field, dtb.strings.0, want).with_help(help));
        }
        Ok(InPlace { bytes: bytes.to_vec() })
    }

    /// The file.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Makes file and blob larger by so many bytes.
    pub(crate) fn grow(&mut self, by: usize) {
        let len = self.bytes.len().saturating_add(by);
        self.bytes.resize(len, 0);
        self.write("totalsize", u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn write(&mut self, field: &str, value: u32) {
        let at = usize::try_from(offset_of(FIELDS, field)).unwrap_or(usize::MAX);
        if let Some(to) = at.checked_add(4).and_then(|end| self.bytes.get_mut(at..end)) {
            to.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Takes `old` bytes out at `at` and puts `new` ones in, whose contents are what stood there; false when there is no room. `bytes`
    /// are written into them.
    fn splice(&mut self, at: u64, old: u64, new: u64, bytes: &[u8]) -> Result<bool, FieldError> {
        let dtb = Dtb::parse_at(&self.bytes, 0)?;
        let (end, total) = (dtb.strings.0 + dtb.strings.1, len64(dtb.bytes()));
        let is_structure = at < dtb.strings.0;
        let sizes = [("size_dt_struct", dtb.structure.1), ("off_dt_strings", dtb.strings.0)];
        let names = [("size_dt_strings", dtb.strings.1)];
        let changed: &[(&str, u64)] = if is_structure { &sizes } else { &names };
        let changed: Vec<(&str, u64)> =
            changed.iter().map(|(field, value)| (*field, value.saturating_sub(old).saturating_add(new))).collect();
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (from, to) = (at.saturating_add(old), at.saturating_add(new));
        if end.saturating_sub(old).saturating_add(new) > total || from > end {
            return Ok(false);
        }
        self.bytes.copy_within(index(from)..index(end), index(to));
        if let Some(place) = index(at).checked_add(bytes.len()).and_then(|end| self.bytes.get_mut(index(at)..end)) {
            place.copy_from_slice(bytes);
        }
        for (field, value) in changed {
            self.write(field, u32::try_from(value).unwrap_or(u32::MAX));
        }
        Ok(true)
    }

    /// Puts a node behind the properties of the one at `parent`, in front of the nodes in it, unless it is there; false when there is
    /// no room.
    pub(crate) fn add_node(&mut self, parent: &str, name: &str) -> Result<bool, FieldError> {
        let dtb = Dtb::parse_at(&self.bytes, 0)?;
        let tree = dtb.tree()?;
        let Some(node) = tree.find(parent) else { return Ok(false) };
        if node.child(name).is_some() {
            return Ok(true);
        }
        let behind = |at: u64, len: u64| (at + len).next_multiple_of(4);
        let at = match node.properties().last() {
            Some(last) => behind(last.at.0, len64(last.value)),
            None => behind(node.at().0 + 4, len64(node.name().as_bytes()) + 1),
        };
        let mut bytes = token::BEGIN_NODE.to_be_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(&token::END_NODE.to_be_bytes());
        let len = len64(&bytes);
        self.splice(at, 0, len, &bytes)
    }

    /// Sets a property of the node at `path`: in its place when it is there, else in front of the others; false when there is no
    /// room.
    pub(crate) fn set(&mut self, path: &str, property: &Property<'_>) -> Result<bool, FieldError> {
        let (name, value) = (&*property.name, &*property.value);
        let padded = len64(value).next_multiple_of(4);
        let (at, old, names) = {
            let dtb = Dtb::parse_at(&self.bytes, 0)?;
            let tree = dtb.tree()?;
            let Some(node) = tree.find(path) else { return Ok(false) };
            let first = (node.at().0 + 4 + len64(node.name().as_bytes()) + 1).next_multiple_of(4);
            let old = node.property(name).map(|old| (old.at.0, len64(old.value)));
            (first, old, dtb.names().to_vec())
        };
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        if let Some((at, old)) = old {
            let fits = self.splice(at, old.next_multiple_of(4), padded, value)?;
            if fits {
                let field = usize::try_from(at - 8).unwrap_or(usize::MAX);
                if let Some(to) = field.checked_add(4).and_then(|end| self.bytes.get_mut(field..end)) {
                    to.copy_from_slice(&len.to_be_bytes());
                }
            }
            return Ok(fits);
        }
        let ended = [name.as_bytes(), &[0]].concat();
        let known = memchr::memmem::find(&names, &ended);
        if known.is_none() {
            let end = self.names_end()?;
            if !self.splice(end, 0, len64(&ended), &ended)? {
                return Ok(false);
            }
        }
        let name_at = u32::try_from(known.unwrap_or(names.len())).unwrap_or(u32::MAX);
        let bytes = [&token::PROP.to_be_bytes()[..], &len.to_be_bytes(), &name_at.to_be_bytes(), value].concat();
        let fits = self.splice(at, 0, PROPERTY_HEADER + padded, &bytes)?;
        if !fits && known.is_none() {
            // libfdt forgets the name again, whose bytes stay.
            self.write("size_dt_strings", u32::try_from(names.len()).unwrap_or(u32::MAX));
        }
        Ok(fits)
    }

    fn names_end(&self) -> Result<u64, FieldError> {
        let dtb = Dtb::parse_at(&self.bytes, 0)?;
        Ok(dtb.strings.0 + dtb.strings.1)
    }
}
