//! Where a flat kernel is linked to, by the pointers in it. Kernels begin at the start of a page.

use super::image::Image;
use super::{KernelSymbol, PAGE};
use crate::bytes::{len64, slice};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

/// Fewer pointers prove nothing.
const LEAST: usize = 32;

/// The address of the first byte of a flat kernel, of whose functions the offsets in the file are known: the one for which
/// by far the most pointers lead to one.
pub(super) fn base_by_functions(image: &Image<'_>, functions: &[u64]) -> Option<u64> {
    let all = 1..=u64::MAX;
    let [(base, most), (_, second), ..] = *candidates(&pointers(image, &all), &all, functions, image)? else {
        return None;
    };
    (most >= LEAST && most / 2 > second).then_some(base)
}

/// The one of `bases` for which the most pointers lead to a text, if they lead to where one begins: with any other, they would
/// lead to anywhere in it.
pub(in crate::elf) fn base_by_texts(image: &Image<'_>, bases: RangeInclusive<u64>) -> Option<u64> {
    const TRIALS: usize = 8;
    let texts = texts(image.bytes);
    let starts: Vec<u64> = texts.iter().map(|text| text.start).collect();
    let pointers = pointers(image, &bases);
    let found = candidates(&pointers, &bases, &starts, image)?;
    found.into_iter().take(TRIALS).map(|(base, _)| base).find(|base| {
        let (mut at_start, mut inside) = (0, 0);
        for at in pointers.iter().filter_map(|pointer| pointer.checked_sub(*base)) {
            let before =
                texts.partition_point(|text| text.start <= at).checked_sub(1).and_then(|index| texts.get(index));
            let Some(text) = before.filter(|text| text.contains(&at)) else { continue };
            inside += 1;
            at_start += usize::from(text.start == at);
        }
        at_start >= LEAST && at_start > inside / 2
    })
}

/// As many different words as are worth a look that may be the addresses of something in a kernel at one of `bases`.
fn pointers(image: &Image<'_>, bases: &RangeInclusive<u64>) -> Vec<u64> {
    const SAMPLE: usize = 8192;
    let width = image.word();
    let addresses = *bases.start()..=bases.end().saturating_add(len64(image.bytes));
    let words = (0..len64(image.bytes) / width).filter_map(|index| image.word_at(width * index));
    let is_pointer = |word: &u64| addresses.contains(word) && image.is_address(*word) && *word < u64::MAX - PAGE;
    let mut pointers: Vec<u64> = words.filter(is_pointer).collect();
    pointers.sort_unstable();
    pointers.dedup();
    let step = (pointers.len() / SAMPLE).max(1);
    pointers.into_iter().step_by(step).collect()
}

/// The addresses of the first byte for which the most of `pointers` lead to one of `targets`, and how many: the best first.
fn candidates(
    pointers: &[u64],
    bases: &RangeInclusive<u64>,
    targets: &[u64],
    image: &Image<'_>,
) -> Option<Vec<(u64, usize)>> {
    // Real kernels: some 200 functions, or 50 texts, for each pointer.
    const MAX_VOTES: u32 = 1 << 22;
    let mut in_page: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for target in targets {
        in_page.entry(target % PAGE).or_default().push(*target);
    }
    let (mut votes, mut work): (BTreeMap<u64, usize>, _) = (BTreeMap::new(), 0);
    for pointer in pointers {
        for target in in_page.get(&(pointer % PAGE)).into_iter().flatten() {
            work += 1;
            if work > MAX_VOTES {
                return None;
            }
            if let Some(base) = pointer.checked_sub(*target).filter(|it| bases.contains(it) && image.is_address(*it)) {
                *votes.entry(base).or_default() += 1;
            }
        }
    }
    let mut found: Vec<(u64, usize)> = votes.into_iter().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found.resize(found.len().max(2), (0, 0));
    Some(found)
}

/// The functions among `symbols`.
pub(super) fn functions(symbols: &[KernelSymbol]) -> Vec<u64> {
    symbols.iter().filter(|symbol| symbol.is_code()).map(|symbol| symbol.address).collect()
}

/// The texts of a kernel: what is between two NULs and can be read.
fn texts(bytes: &[u8]) -> Vec<Range<u64>> {
    const SHORTEST: u64 = 6;
    const MOST: usize = 1 << 20;
    let mut start = 0;
    let ends = memchr::memchr_iter(0, bytes).filter_map(|end| {
        let end = u64::try_from(end).ok()?;
        let at = std::mem::replace(&mut start, end + 1)..end;
        let text = slice(bytes, at.start, end - at.start).filter(|text| len64(text) >= SHORTEST)?;
        text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')).then_some(at)
    });
    ends.take(MOST).collect()
}
