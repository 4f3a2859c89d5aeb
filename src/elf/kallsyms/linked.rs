//! Where a flat kernel is linked to, by the pointers to its functions.

use super::image::Image;
use super::{KernelSymbol, PAGE};
use crate::bytes::len64;
use std::collections::{BTreeMap, BTreeSet};

/// The address of the first byte of a flat 64-bit kernel, of whose symbols only the offsets in the file are known: the one
/// for which the most pointers in it are the addresses of functions.
pub(super) fn base_by_pointers(image: &Image<'_>, symbols: &[KernelSymbol]) -> Option<u64> {
    const SAMPLE: usize = 2048;
    const LEAST: u32 = 32;
    // Real kernels: some 200 functions for each pointer.
    const MAX_VOTES: u32 = 1 << 21;
    let is_pointer = |word: &u64| word >> 48 == 0xffff && *word < u64::MAX - PAGE;
    let words = (0..len64(image.bytes) / 8).filter_map(|index| image.cursor.u64("pointer", 8 * index).ok());
    let pointers: BTreeSet<u64> = words.filter(is_pointer).collect();
    let mut functions: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for symbol in symbols.iter().filter(|symbol| symbol.class.eq_ignore_ascii_case(&b't')) {
        functions.entry(symbol.address % PAGE).or_default().insert(symbol.address);
    }
    let (mut votes, mut work): (BTreeMap<u64, u32>, _) = (BTreeMap::new(), 0);
    for pointer in pointers.iter().step_by((pointers.len() / SAMPLE).max(1)) {
        for function in functions.get(&(pointer % PAGE)).into_iter().flatten() {
            work += 1;
            if work > MAX_VOTES {
                return None;
            }
            if let Some(base) = pointer.checked_sub(*function) {
                *votes.entry(base).or_default() += 1;
            }
        }
    }
    let (base, most) = votes.iter().max_by_key(|(_, count)| **count)?;
    let second = votes.iter().filter(|(other, _)| *other != base).map(|(_, count)| *count).max().unwrap_or(0);
    (*most >= LEAST && *most / 2 > second).then_some(*base)
}
