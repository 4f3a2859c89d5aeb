//! Where a flat kernel is linked to, for tables that do not say: by the relocations that it applies to itself, or by the
//! pointers to its functions.

use super::KernelSymbol;
use super::places::Image;
use crate::bytes::len64;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// Kernels begin at a multiple of this.
const PAGE: u64 = 0x1000;

/// The relocations of a 64-bit kernel that moves itself: Elf64_Rela, all relative (arch/arm64/kernel/pi/relocate.c and
/// arch/riscv/mm/init.c, Linux 7.2). The linker leaves their places zero. Those of RELR have their value in place and
/// need no help.
#[derive(Debug)]
pub(super) struct Rela {
    /// Place and value, both virtual addresses.
    entries: Vec<(u64, u64)>,
    /// The address of a flat kernel's first byte, when they told it.
    pub(super) base: OnceCell<u64>,
}

/// Bytes of an entry.
const ENTRY_LEN: u64 = 24;
/// A run of fewer entries proves nothing.
const LEAST: usize = 64;

/// `r_info` of relative relocations: R_AARCH64_RELATIVE, R_RISCV_RELATIVE.
const RELATIVE: [u64; 2] = [0x403, 3];

impl Rela {
    /// The longest run of relative relocations; no header leads to it.
    pub(super) fn find(image: &Image<'_>) -> Option<Rela> {
        let word = |at| image.cursor.u64("Elf64_Rela", at).ok();
        let (mut best_at, mut best_len) = (0, 0);
        for phase in [0, 8, 16] {
            let (mut at, mut run) = (phase, (0, 0_u64));
            while let Some(info) = word(at + 8) {
                let is_more = RELATIVE.contains(&info) && (run.1 == 0 || run.0 == info);
                run = if is_more { (info, run.1 + 1) } else { (0, 0) };
                if run.1 > best_len {
                    (best_at, best_len) = (at + ENTRY_LEN - run.1 * ENTRY_LEN, run.1);
                }
                at += ENTRY_LEN;
            }
        }
        let entry = |index| Some((word(best_at + index * ENTRY_LEN)?, word(best_at + index * ENTRY_LEN + 16)?));
        let entries: Vec<_> = (0..best_len).map_while(entry).collect();
        (entries.len() >= LEAST).then_some(Rela { entries, base: OnceCell::new() })
    }

    /// What is written to the word at this file offset.
    pub(super) fn value(&self, image: &Image<'_>, at: u64) -> Option<u64> {
        let place = match image.is_flat() {
            true => self.base(image, at)?.checked_add(at)?,
            false => image.address_of(at)?,
        };
        let value = self.entries.iter().find(|entry| entry.0 == place).map(|entry| entry.1);
        if let Some(base) = value.and_then(|_| place.checked_sub(at)).filter(|_| image.is_flat()) {
            self.base.get_or_init(|| base);
        }
        value
    }

    /// The address of a flat kernel's first byte, if one of the relocations is for the word at file offset `at`: the one
    /// address for which all places are in the file and empty.
    fn base(&self, image: &Image<'_>, at: u64) -> Option<u64> {
        const SAMPLE: usize = 512;
        let step = (self.entries.len() / SAMPLE).max(1);
        let word = |at| image.cursor.u64("relocation", at).ok();
        let fits = |base: &u64| {
            let (mut inside, mut all) = (0, 0);
            let is_empty = self.entries.iter().step_by(step).all(|(place, value)| {
                all += 1;
                // Some are for the start-up code in front of the kernel's first byte (arm64).
                let Some(found) = place.checked_sub(*base).and_then(word) else { return true };
                inside += 1;
                found == 0 || found == *value
            });
            is_empty && inside >= all / 10 * 9
        };
        let middle = self.entries.get(self.entries.len() / 2)?.0;
        // At most as many as the file has pages.
        let may_be = |base: &u64| {
            base % PAGE == 0 && middle.checked_sub(*base).is_some_and(|offset| offset < len64(image.bytes))
        };
        let candidates = self.entries.iter().filter_map(|entry| entry.0.checked_sub(at)).filter(may_be);
        let candidates: BTreeSet<u64> = candidates.collect();
        let mut fitting = candidates.into_iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    }
}

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
