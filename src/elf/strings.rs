//! String tables as the GNU tools write them.

use crate::bytes::len64;
use std::collections::HashMap;

/// Appends a name to a table that shares nothing; gives its offset. No table of names has 4 GiB.
pub(crate) fn append(table: &mut Vec<u8>, name: &[u8]) -> u32 {
    let at = u32::try_from(table.len()).unwrap_or(u32::MAX);
    table.extend_from_slice(name);
    table.push(0);
    at
}

/// Collects names, then lays them out: a name that is the end of another is not written again.
///
/// The order is that of the first mention. Which of several longer names lends its end is decided by sorting all names
/// by their letters from back to front: it is the next name kept in that order.
#[derive(Debug, Default)]
pub(crate) struct StringTable<'n> {
    names: Vec<&'n [u8]>,
    index: HashMap<&'n [u8], usize>,
}

/// A finished table.
#[derive(Debug)]
pub(crate) struct Strings {
    /// The table, with the empty name at offset 0.
    pub(crate) bytes: Vec<u8>,
    /// The offset of each name, in the order in which the names were first mentioned.
    offsets: Vec<u32>,
}

impl Strings {
    /// The offset of the name with this handle.
    pub(crate) fn offset(&self, handle: Option<usize>) -> u32 {
        handle.and_then(|index| self.offsets.get(index)).copied().unwrap_or(0)
    }
}

impl<'n> StringTable<'n> {
    /// Mentions a name. `None` is the handle of the empty one.
    pub(crate) fn add(&mut self, name: &'n [u8]) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        let next = self.names.len();
        let index = *self.index.entry(name).or_insert(next);
        if index == next {
            self.names.push(name);
        }
        Some(index)
    }

    /// Lays the table out; `None` when it would not fit the 32 bits of `sh_name`.
    pub(crate) fn finish(self) -> Option<Strings> {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        let name = |index: usize| self.names.get(index).copied().unwrap_or_default();
        order.sort_by(|a, b| name(*a).iter().rev().cmp(name(*b).iter().rev()));
        let mut lender: Vec<Option<usize>> = vec![None; self.names.len()];
        let mut kept: Option<usize> = None;
        for index in order.into_iter().rev() {
            match kept {
                Some(long) if name(long).ends_with(name(index)) => {
                    if let Some(slot) = lender.get_mut(index) {
                        *slot = Some(long);
                    }
                }
                _ => kept = Some(index),
            }
        }
        let mut bytes = vec![0];
        let mut offsets = vec![0_u32; self.names.len()];
        for (index, slot) in offsets.iter_mut().enumerate() {
            if lender.get(index) == Some(&None) {
                *slot = append(&mut bytes, name(index));
            }
        }
        for (index, long) in lender.iter().enumerate() {
            let Some(long) = *long else { continue };
            let skip = name(long).len() - name(index).len();
            let at = offsets.get(long).copied()?.checked_add(u32::try_from(skip).ok()?)?;
            if let Some(slot) = offsets.get_mut(index) {
                *slot = at;
            }
        }
        u32::try_from(len64(&bytes)).ok()?;
        Some(Strings { bytes, offsets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As GNU `as` writes the symbols of `piggy.o`.
    #[test]
    fn names_keep_their_order() {
        let mut table = StringTable::default();
        let handles = [&b"z_input_len"[..], b"input_data", b"input_len", b""].map(|name| table.add(name));
        let strings = table.finish().unwrap();
        assert_eq!(strings.bytes, b"\0z_input_len\0input_data\0");
        assert_eq!(handles.map(|handle| strings.offset(handle)), [1, 13, 3, 0]);
    }

    #[test]
    fn ends_are_shared_with_the_next_longer_name() {
        let mut table = StringTable::default();
        let names: [&[u8]; 6] = [b".shstrtab", b".text", b".init.text", b".exit.text", b"xt", b".text"];
        let handles: Vec<_> = names.iter().map(|name| table.add(name)).collect();
        assert_eq!(table.add(b""), None);
        let strings = table.finish().unwrap();
        assert_eq!(strings.bytes, b"\0.shstrtab\0.init.text\0.exit.text\0");
        for (handle, name) in handles.iter().zip(names) {
            let at = strings.offset(*handle) as usize;
            assert_eq!(&strings.bytes[at..at + name.len() + 1], [name, b"\0"].concat());
        }
        // `.text` ends both; `n` sorts before `x`.
        assert_eq!(strings.offset(handles[1]), 11 + 5);
        assert_eq!(strings.offset(None), 0);
    }
}
