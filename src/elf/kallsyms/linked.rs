//! Where a flat kernel is linked to, by the pointers in it.

use super::image::Image;
use super::{KernelSymbol, PAGE};
use crate::bytes::{len64, slice};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The address of the first byte of a flat kernel: the one of `bases` for which the most pointers in the file lead to one
/// of `targets`, which are offsets in the file. Kernels begin at the start of a page.
pub(super) fn base_by_pointers(image: &Image<'_>, bases: RangeInclusive<u64>, targets: &[u64]) -> Option<u64> {
    const SAMPLE: usize = 8192;
    const LEAST: u32 = 32;
    // Real kernels: some 200 functions, or 50 texts, for each pointer.
    const MAX_VOTES: u32 = 1 << 22;
    let width = image.word();
    let addresses = *bases.start()..=bases.end().saturating_add(len64(image.bytes));
    let words = (0..len64(image.bytes) / width).filter_map(|index| image.word_at(width * index));
    let is_pointer = |word: &u64| addresses.contains(word) && image.is_address(*word) && *word < u64::MAX - PAGE;
    let mut pointers: Vec<u64> = words.filter(is_pointer).collect();
    pointers.sort_unstable();
    pointers.dedup();
    let mut in_page: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for target in targets {
        in_page.entry(target % PAGE).or_default().push(*target);
    }
    let (mut votes, mut work): (BTreeMap<u64, u32>, _) = (BTreeMap::new(), 0);
    for pointer in pointers.iter().step_by((pointers.len() / SAMPLE).max(1)) {
        for target in in_page.get(&(pointer % PAGE)).into_iter().flatten() {
            work += 1;
            if work > MAX_VOTES {
                return None;
            }
            if let Some(base) =
                pointer.checked_sub(*target).filter(|base| bases.contains(base) && image.is_address(*base))
            {
                *votes.entry(base).or_default() += 1;
            }
        }
    }
    let (base, most) = votes.iter().max_by_key(|(_, count)| **count)?;
    let second = votes.iter().filter(|(other, _)| *other != base).map(|(_, count)| *count).max().unwrap_or(0);
    (*most >= LEAST && *most / 2 > second).then_some(*base)
}

/// The functions among `symbols`.
pub(super) fn functions(symbols: &[KernelSymbol]) -> Vec<u64> {
    symbols.iter().filter(|symbol| symbol.is_code()).map(|symbol| symbol.address).collect()
}

/// The same by the texts in it.
pub(super) fn base_by_texts(image: &Image<'_>, bases: RangeInclusive<u64>) -> Option<u64> {
    base_by_pointers(image, bases, &texts(image.bytes))
}

/// Where the texts of a kernel begin: what is between two NULs and can be read.
fn texts(bytes: &[u8]) -> Vec<u64> {
    const LEAST: u64 = 6;
    const MOST: usize = 1 << 20;
    let mut start = 0;
    let ends = memchr::memchr_iter(0, bytes).filter_map(|end| {
        let end = u64::try_from(end).ok()?;
        let begin = std::mem::replace(&mut start, end + 1);
        let text = slice(bytes, begin, end - begin).filter(|text| len64(text) >= LEAST)?;
        text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')).then_some(begin)
    });
    ends.take(MOST).collect()
}
