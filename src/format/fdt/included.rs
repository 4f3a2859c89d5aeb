//! The parts of a blob that stand for some of its nodes: what signatures are made of.

use super::{Dtb, token};
use crate::bytes::{Cursor, Endian, FieldError, len64, slice};
use std::collections::HashSet;
use std::ops::Range;

impl Dtb<'_> {
    /// The ranges of the structure block that stand for the nodes of these paths, offsets of the blob: their tokens with their
    /// properties, except those called `without`; of the nodes in them that are not named themselves the bare tokens with the
    /// name; of deeper ones nothing. The last range ends with the block's last token.
    ///
    /// Source: libfdt's fdt_region.c as U-Boot has it (`fdt_find_regions`).
    ///
    /// # Errors
    /// As [`Dtb::tree`].
    pub(crate) fn included(&self, nodes: &HashSet<String>, without: &[&str]) -> Result<Vec<Range<u64>>, FieldError> {
        let cursor = Cursor::new(self.bytes, Endian::Big);
        let text = |bytes: &[u8]| {
            let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
            String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned()
        };
        let end = self.structure.0.saturating_add(self.structure.1);
        let mut found: Vec<Range<u64>> = Vec::new();
        // How much of what is in the node counts: 2 all, 1 the tokens of nodes, 0 nothing; of the nodes around it, too.
        let (mut want, mut outer, mut path) = (0_u8, Vec::new(), Vec::new());
        let mut at = self.structure.0;
        loop {
            let found_token = cursor.u32("token", at).map_err(|error| self.outer(error))?;
            let mut next = at.saturating_add(4);
            let mut is_included = want == 2;
            match found_token {
                token::BEGIN_NODE => {
                    let name = text(slice(self.bytes, next, end.saturating_sub(next)).unwrap_or(&[]));
                    next = next.saturating_add(len64(name.as_bytes()) + 1).next_multiple_of(4);
                    path.push(name);
                    outer.push(want);
                    let here = if path.len() == 1 { "/".to_owned() } else { path.join("/") };
                    want = if nodes.contains(&here) { 2 } else { want.saturating_sub(1) };
                    is_included = want > 0;
                }
                token::END_NODE => {
                    is_included = want > 0;
                    want = outer.pop().unwrap_or(0);
                    path.pop();
                }
                token::PROP => {
                    let word = |at| cursor.u32("property", at).map_err(|error| self.outer(error));
                    let (len, name) = (u64::from(word(next)?), u64::from(word(next + 4)?));
                    let names = self.names();
                    let name = text(slice(names, name, len64(names).saturating_sub(name)).unwrap_or(&[]));
                    is_included &= !without.contains(&&*name);
                    next = next.saturating_add(8).saturating_add(len).next_multiple_of(4);
                }
                token::END => is_included = true,
                _ => {}
            }
            if is_included {
                match found.last_mut() {
                    Some(last) if last.end == at => last.end = next,
                    _ => found.push(at..next),
                }
            }
            if found_token == token::END || next >= end {
                return Ok(found);
            }
            at = next;
        }
    }
}
