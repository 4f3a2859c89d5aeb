//! The symbols that a kernel exports to its modules (`__ksymtab`), which a kernel without kallsyms still has.
//!
//! An entry has the symbol's value and the address of its name (include/linux/export.h): two words, three from 5.4 on
//! (`namespace`); or, with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (4.19 on), 32-bit distances from where each stands.
//! No header leads there: the longest run of entries whose names are names, and among them one that every kernel has.

use super::kallsyms::{FlatSymbols, Image, KernelSymbol, MAX_MEMORY, base_by_texts};
use super::{Elf, PT_LOAD};
use crate::bytes::{len64, slice};
use std::ops::Range;

/// A run of fewer entries proves nothing.
const LEAST: u64 = 32;
/// One of these is in every kernel that loads modules.
const ANCHORS: [&[u8]; 4] = [b"printk", b"_printk", b"kfree", b"__kmalloc"];
/// `KSYM_NAME_LEN` of 6.1 and newer kernels; 128 before.
const MAX_NAME: u64 = 512;

/// The exported symbols of an ELF file, by rising address; `None` when there are none. Their class is not known: `?`.
pub(crate) fn exports(elf: &Elf<'_>) -> Option<Vec<KernelSymbol>> {
    let loads = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
    let maps =
        loads.map(|it| Map { at: it.offset..it.offset.saturating_add(it.filesz), address: it.vaddr, memory: it.memsz });
    Table { image: &Image::new(elf), maps: maps.collect() }.symbols()
}

/// The same of a flat kernel, with the address of its first byte.
pub(super) fn flat_exports(image: &Image<'_>) -> Option<FlatSymbols> {
    let base = base_by_texts(image, 1..=u64::MAX)?;
    let len = len64(image.bytes);
    let map = Map { at: 0..len, address: base, memory: len.saturating_add(MAX_MEMORY) };
    let symbols = Table { image, maps: vec![map] }.symbols()?;
    Some(FlatSymbols { symbols, base: Some(base) })
}

/// Where bytes of the file are in memory.
struct Map {
    at: Range<u64>,
    address: u64,
    memory: u64,
}

struct Table<'a> {
    image: &'a Image<'a>,
    maps: Vec<Map>,
}

/// How an entry is written.
#[derive(Clone, Copy)]
struct Form {
    are_distances: bool,
    /// Bytes from one entry to the next.
    stride: u64,
}

impl Table<'_> {
    fn symbols(&self) -> Option<Vec<KernelSymbol>> {
        let word = self.image.word();
        let words = [2, 3].map(|count| Form { are_distances: false, stride: count * word });
        let distances = [2, 3].map(|count| Form { are_distances: true, stride: count * 4 });
        let runs = [(word, words), (4, distances)].into_iter().flat_map(|(step, forms)| self.runs(step, forms));
        let (at, form, count) = runs.max_by_key(|(_, _, count)| *count)?;
        let entries = (0..count).filter_map(|index| self.entry(at + index * form.stride, form));
        // What is still zero is written when the kernel starts.
        let mut symbols: Vec<KernelSymbol> = entries
            .filter(|(address, _)| *address != 0)
            .map(|(address, name)| KernelSymbol { address, class: b'?', name: without_version(name).to_vec() })
            .collect();
        symbols.sort_by_key(|symbol| symbol.address);
        Some(symbols)
    }

    /// The runs of entries of one of `forms` that are tables: where each begins, and how many entries it has.
    fn runs(&self, step: u64, forms: [Form; 2]) -> Vec<(u64, Form, u64)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < len64(self.image.bytes) {
            let lengths = forms
                .map(|form| (form, (0..).take_while(|n| self.entry(at + n * form.stride, form).is_some()).count()));
            let [a, b] = lengths;
            let (form, count) = if a.1 >= b.1 { a } else { b };
            let count = u64::try_from(count).unwrap_or(0);
            if count >= LEAST && self.is_table(at, form, count) {
                found.push((at, form, count));
            }
            at += if count >= LEAST { count * form.stride } else { step };
        }
        found
    }

    /// Is one of the names in every kernel, and are nearly all symbols in this one? Those of per-CPU variables are offsets.
    fn is_table(&self, at: u64, form: Form, count: u64) -> bool {
        let entries: Vec<_> = (0..count).filter_map(|index| self.entry(at + index * form.stride, form)).collect();
        let is_inside = |address: u64| {
            self.maps.iter().any(|map| address.checked_sub(map.address).is_some_and(|inside| inside < map.memory))
        };
        let inside = entries.iter().filter(|(address, _)| is_inside(*address)).count();
        inside >= entries.len() / 4 * 3 && entries.iter().any(|(_, name)| ANCHORS.contains(&without_version(name)))
    }

    /// Value and name of the entry at `at`.
    fn entry(&self, at: u64, form: Form) -> Option<(u64, &[u8])> {
        let (value, name) = if form.are_distances {
            let here = self.address(at)?;
            let distance = |at| {
                self.image
                    .cursor
                    .u32("__ksymtab", at)
                    .ok()
                    .map(|word| i64::from(i32::from_ne_bytes(word.to_ne_bytes())))
            };
            let name = here.wrapping_add(4).wrapping_add_signed(distance(at + 4)?);
            (here.wrapping_add_signed(distance(at)?), name)
        } else {
            (self.image.relocated_word(at).unwrap_or(0), self.image.word_at(at + self.image.word())?)
        };
        Some((value, self.name(self.offset(name)?)?))
    }

    fn address(&self, at: u64) -> Option<u64> {
        let map = self.maps.iter().find(|map| map.at.contains(&at))?;
        map.address.checked_add(at - map.at.start)
    }

    fn offset(&self, address: u64) -> Option<u64> {
        self.maps.iter().find_map(|map| {
            let at = map.at.start.checked_add(address.checked_sub(map.address)?)?;
            map.at.contains(&at).then_some(at)
        })
    }

    /// The name that begins at `at`; others may end with it (`SHF_MERGE`).
    fn name(&self, at: u64) -> Option<&[u8]> {
        const SHORTEST: usize = 3;
        let bytes = self.image.bytes;
        let text = slice(bytes, at, MAX_NAME.min(len64(bytes).checked_sub(at)?))?;
        let len = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$')))?;
        let is_name = len >= SHORTEST && text.get(len) == Some(&0) && !text.first()?.is_ascii_digit();
        is_name.then(|| text.get(..len))?
    }
}

/// 2.4's CONFIG_MODVERSIONS has the checksum in the name: `printk_R1b7d4074`, `_Rsmp_…`.
fn without_version(name: &[u8]) -> &[u8] {
    const DIGITS: usize = 8;
    let Some((rest, digits)) = name.len().checked_sub(DIGITS).and_then(|at| name.split_at_checked(at)) else {
        return name;
    };
    let rest = rest.strip_suffix(b"_Rsmp_").or_else(|| rest.strip_suffix(b"_R"));
    rest.filter(|_| digits.iter().all(u8::is_ascii_hexdigit)).unwrap_or(name)
}
