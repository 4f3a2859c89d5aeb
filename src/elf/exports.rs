//! The symbols that a kernel exports to its modules (`__ksymtab`), which a kernel without kallsyms still has.
//!
//! An entry has the symbol's value and the address of its name (include/linux/export.h): two words, three from 5.4 on
//! (`namespace`); or, with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (4.19 on), 32-bit distances from where each stands.
//! The checksum of each symbol's type (CONFIG_MODVERSIONS) stands in `__kcrctab`, in the same order: a word; 32 bits where entries
//! are distances, for some years (4.11 to 6.3) the distance to where it stands.
//! No header leads there, unless an ELF file has kept its sections: the longest run of entries whose names are names, and among
//! them one that every kernel has.

use super::kallsyms::{FlatSymbols, Image, KernelSymbol, MAX_MEMORY, base_by_texts};
use super::{Elf, PT_LOAD, Segment};
use crate::arch::Arch;
use crate::bytes::{Endian, len64, slice, until_zero};
use std::collections::BTreeMap;
use std::ops::Range;

/// A run of fewer entries proves nothing.
const LEAST: u64 = 32;
/// One of these is in every kernel that loads modules.
const ANCHORS: [&[u8]; 4] = [b"printk", b"_printk", b"kfree", b"__kmalloc"];
/// `KSYM_NAME_LEN` of 6.1 and newer kernels; 128 before.
const MAX_NAME: u64 = 512;

/// The exported symbols of an ELF file, by rising address; `None` when there are none. Their class is not known: `?`.
pub(crate) fn exports(elf: &Elf<'_>) -> Option<Vec<KernelSymbol>> {
    Table { image: &Image::new(elf), maps: maps(elf) }.symbols()
}

fn maps(elf: &Elf<'_>) -> Vec<Map> {
    let loads = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
    let map =
        |it: &Segment| Map { at: it.offset..it.offset.saturating_add(it.filesz), address: it.vaddr, memory: it.memsz };
    loads.map(map).collect()
}

/// What is known of an exported symbol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Export {
    /// The checksum of its type.
    pub(crate) crc: Option<u32>,
    /// For modules under the GPL alone (`EXPORT_SYMBOL_GPL`)?
    pub(crate) is_gpl: Option<bool>,
    /// The namespace that a module has to import; empty for none.
    pub(crate) namespace: Vec<u8>,
}

/// What a kernel exports, with the checksums.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    pub(crate) symbols: BTreeMap<Vec<u8>, Export>,
    /// Is that all? Sections tell, or that nothing else is between the entries and their names.
    pub(crate) is_whole: bool,
}

/// The exports of a kernel: an ELF file, or flat, with its CPU as far as a header tells it.
pub(crate) fn kernel_exports(kernel: &[u8], arch: Option<Arch>) -> Option<Exports> {
    if let Ok(elf) = Elf::parse(kernel) {
        let table = Table { image: &Image::new(&elf), maps: maps(&elf) };
        return table.of_sections(&elf).or_else(|| table.with_checksums());
    }
    forms(arch).find_map(|(is_64, endian)| {
        let image = Image::flat(kernel, endian, is_64, arch);
        Table { image: &image, maps: vec![flat_map(&image)?] }.with_checksums()
    })
}

/// Classes and byte orders that a flat kernel for this CPU may have.
pub(super) fn forms(arch: Option<Arch>) -> impl Iterator<Item = (bool, Endian)> {
    let classes: &[bool] = match arch {
        Some(Arch::Arm64 | Arch::Mips64 | Arch::Sparc64) => &[true],
        // A header says x86 or MIPS of either class.
        Some(Arch::Riscv | Arch::LoongArch | Arch::PowerPc | Arch::S390 | Arch::X86 | Arch::X86_64) | None => {
            &[true, false]
        }
        Some(Arch::Mips) => &[false, true],
        Some(_) => &[false],
    };
    classes.iter().flat_map(|is_64| [(*is_64, Endian::Little), (*is_64, Endian::Big)])
}

/// The same of a flat kernel, with the address of its first byte.
pub(super) fn flat_exports(image: &Image<'_>) -> Option<FlatSymbols> {
    let map = flat_map(image)?;
    let base = Some(map.address);
    Some(FlatSymbols { symbols: Table { image, maps: vec![map] }.symbols()?, base })
}

fn flat_map(image: &Image<'_>) -> Option<Map> {
    let address = base_by_texts(image, 1..=u64::MAX)?;
    let len = len64(image.bytes);
    Some(Map { at: 0..len, address, memory: len.saturating_add(MAX_MEMORY) })
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

impl Form {
    /// Bytes of each of an entry's words.
    fn width(self, image: &Image<'_>) -> u64 {
        if self.are_distances { 4 } else { image.word() }
    }
}

impl Table<'_> {
    /// The forms of entries, with what each may begin at a multiple of.
    fn forms(&self) -> [(u64, [Form; 2]); 2] {
        let word = self.image.word();
        let words = [2, 3].map(|count| Form { are_distances: false, stride: count * word });
        let distances = [2, 3].map(|count| Form { are_distances: true, stride: count * 4 });
        [(word, words), (4, distances)]
    }

    /// The longest run: where it begins, and how many entries it has.
    fn longest(&self) -> Option<(u64, Form, u64)> {
        let runs = self.forms().into_iter().flat_map(|(step, forms)| self.runs(step, forms));
        runs.max_by_key(|(_, _, count)| *count)
    }

    /// The tables of an ELF file that has kept its sections: `__ksymtab`, `__ksymtab_gpl` and so on, each with its checksums.
    fn of_sections(&self, elf: &Elf<'_>) -> Option<Exports> {
        let mut found = Exports { symbols: BTreeMap::new(), is_whole: true };
        for section in elf.sections().iter().filter(|section| section.size > 0) {
            let Some(suffix) = section.name.strip_prefix(b"__ksymtab").filter(|suffix| *suffix != b"_strings") else {
                continue;
            };
            let all = self.forms().into_iter().flat_map(|(_, forms)| forms);
            let form = all.filter(|form| section.size % form.stride == 0).find(|form| {
                (0..section.size / form.stride).all(|n| self.entry(section.offset + n * form.stride, *form).is_some())
            })?;
            let count = section.size / form.stride;
            let table = elf.sections().iter().find(|table| table.name.strip_prefix(b"__kcrctab") == Some(suffix));
            let checksums = table.filter(|table| count > 0 && table.size % count == 0);
            let checksums = checksums.and_then(|table| self.checksums(table.offset, count, table.size / count));
            // Newer kernels have one table, and flags beside it.
            let is_gpl = elf.section("__kflagstab").is_none().then(|| memchr::memmem::find(suffix, b"gpl").is_some());
            self.collect((section.offset, form, count), checksums.as_deref(), |_| is_gpl, &mut found);
        }
        Some(found).filter(|found| !found.symbols.is_empty())
    }

    /// The longest run, with the checksums that stand between it and the names.
    fn with_checksums(&self) -> Option<Exports> {
        /// Alignment, and an empty namespace.
        const SLACK: u64 = 16;
        let (at, form, count) = self.longest()?;
        let end = at + form.stride * count;
        let names = (0..count).filter_map(|index| self.name_offset(at + index * form.stride, form));
        let names = names.filter(|name| *name >= end).min()?;
        let word = self.image.word();
        let fits = |width: &u64| names.checked_sub(end + width * count).is_some_and(|rest| rest <= SLACK);
        let width = [0, 4, word].into_iter().find(fits);
        let checksums = width.filter(|width| *width > 0).and_then(|width| self.checksums(end, count, width));
        let mut found = Exports { symbols: BTreeMap::new(), is_whole: width.is_some() };
        // From 2.6.39 on each table is sorted by name: where the order begins anew, that of the GPL's symbols begins.
        let name = |index| self.entry(at + index * form.stride, form).map(|(_, name)| name);
        let mut begins = (1..count).filter(|index| name(*index) < name(index - 1));
        let begin = begins.next().filter(|_| begins.next().is_none());
        self.collect((at, form, count), checksums.as_deref(), |index| Some(index >= begin?), &mut found);
        Some(found)
    }

    fn collect(
        &self,
        (at, form, count): (u64, Form, u64),
        checksums: Option<&[u32]>,
        is_gpl: impl Fn(u64) -> Option<bool>,
        into: &mut Exports,
    ) {
        for index in 0..count {
            let Some((_, name)) = self.entry(at + index * form.stride, form) else { continue };
            let in_table = usize::try_from(index).ok().and_then(|index| checksums?.get(index).copied());
            let plain = without_version(name);
            let in_name = || std::str::from_utf8(name.get(name.len().checked_sub(DIGITS)?..)?).ok();
            let in_name = || u32::from_str_radix(in_name()?, 16).ok().filter(|_| plain.len() < name.len());
            let namespace = self.namespace(at + index * form.stride, form).unwrap_or_default().to_vec();
            let export = Export { crc: in_table.or_else(in_name), is_gpl: is_gpl(index), namespace };
            into.symbols.insert(plain.to_vec(), export);
        }
    }

    /// `count` checksums of `width` bytes. All of them distances into the kernel, or none.
    fn checksums(&self, at: u64, count: u64, width: u64) -> Option<Vec<u32>> {
        let cursor = &self.image.cursor;
        let one = |at| match width {
            4 => cursor.u32("__kcrctab", at).ok(),
            8 => cursor.u64("__kcrctab", at).ok().and_then(|word| u32::try_from(word).ok()),
            _ => None,
        };
        let plain: Vec<u32> = (0..count).map(|index| one(at + index * width)).collect::<Option<_>>()?;
        let target = |(index, value): (u64, &u32)| {
            let address = self.address(at + index * width)?;
            let target = self.offset(address.wrapping_add_signed(i32::from_ne_bytes(value.to_ne_bytes()).into()))?;
            Some(target).filter(|target| width == 4 && target % 4 == 0)
        };
        let targets: Option<Vec<u64>> = (0..).zip(&plain).map(target).collect();
        let far = |targets: Vec<u64>| targets.into_iter().map(|at| cursor.u32("__crc", at).ok()).collect();
        targets.filter(|_| count >= LEAST).map_or(Some(plain), far)
    }

    fn symbols(&self) -> Option<Vec<KernelSymbol>> {
        let (at, form, count) = self.longest()?;
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
        let (value, name) = self.words(at, form)?;
        Some((value, self.name(self.offset(name)?)?))
    }

    /// Where the name of that entry is in the file.
    fn name_offset(&self, at: u64, form: Form) -> Option<u64> {
        self.offset(self.words(at, form)?.1)
    }

    /// The namespace of that entry: its third word, none where that is 0.
    fn namespace(&self, at: u64, form: Form) -> Option<&[u8]> {
        let width = form.width(self.image);
        let at = at + 2 * width;
        let target = match form.are_distances {
            _ if form.stride == 2 * width => return None,
            true => {
                let distance = self.image.cursor.u32("__ksymtab", at).ok().filter(|distance| *distance != 0)?;
                self.address(at)?.wrapping_add_signed(i32::from_ne_bytes(distance.to_ne_bytes()).into())
            }
            false => self.image.relocated_word(at).filter(|address| *address != 0)?,
        };
        let rest = slice(self.image.bytes, self.offset(target)?, MAX_NAME.min(len64(self.image.bytes)))?;
        Some(until_zero(rest))
    }

    fn words(&self, at: u64, form: Form) -> Option<(u64, u64)> {
        Some(if form.are_distances {
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
        })
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
        // `up`, of semaphores.
        const SHORTEST: usize = 2;
        let bytes = self.image.bytes;
        let text = slice(bytes, at, MAX_NAME.min(len64(bytes).checked_sub(at)?))?;
        let len = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$')))?;
        let is_name = len >= SHORTEST && text.get(len) == Some(&0) && !text.first()?.is_ascii_digit();
        is_name.then(|| text.get(..len))?
    }
}

/// Of a checksum in hexadecimal.
const DIGITS: usize = 8;

/// 2.4's CONFIG_MODVERSIONS has the checksum in the name: `printk_R1b7d4074`, `_Rsmp_…`.
fn without_version(name: &[u8]) -> &[u8] {
    let Some((rest, digits)) = name.len().checked_sub(DIGITS).and_then(|at| name.split_at_checked(at)) else {
        return name;
    };
    let rest = rest.strip_suffix(b"_Rsmp_").or_else(|| rest.strip_suffix(b"_R"));
    rest.filter(|_| digits.iter().all(u8::is_ascii_hexdigit)).unwrap_or(name)
}
