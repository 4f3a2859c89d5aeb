//! The symbol tables of kernels before 2.6.10.
//!
//! * 2.5.53 to 2.6.9 (scripts/kallsyms.c): `kallsyms_addresses`, a word a symbol; `kallsyms_num_syms`, a word;
//!   `kallsyms_names`, for each symbol how many bytes its name has in common with the one before, and the rest with a NUL.
//!   There is no class: the kernel calls code `t` and all else `d`.
//! * 2.4 with the kallsyms patch (modutils 2.3.11 and newer, include/linux/kallsyms.h): a header with the places of
//!   sections, symbols and names, and the sizes of each, in words and 32-bit numbers.

use super::image::Image;
use super::places::SYMBOLS;
use super::{KernelSymbol, MAX_MEMORY};
use crate::bytes::{len64, slice};
use crate::elf::raw::{SHF_EXECINSTR, SHF_WRITE};

/// `KSYM_NAME_LEN`.
const MAX_NAME: u64 = 128;

pub(super) fn find(image: &Image<'_>) -> Option<Vec<KernelSymbol>> {
    let words = 0..len64(image.bytes) / image.word();
    words.map(|index| index * image.word()).find_map(|at| match image.word_at(at)? {
        count if SYMBOLS.contains(&count) => stems(image, at, count),
        _ if image.cursor.u32("kallsyms_header.size", at) == Ok(Header::len(image)) => modutils(image, at),
        _ => None,
    })
}

/// The name that begins at `at`, or the rest of it.
fn text<'a>(image: &Image<'a>, at: u64) -> Option<&'a [u8]> {
    let text = slice(image.bytes, at, MAX_NAME.min(len64(image.bytes).checked_sub(at)?))?;
    let text = text.get(..memchr::memchr(0, text)?)?;
    text.iter().all(u8::is_ascii_graphic).then_some(text)
}

/// The symbols whose number stands at `count_at`: names behind it, addresses in front of it.
fn stems(image: &Image<'_>, count_at: u64, count: u64) -> Option<Vec<KernelSymbol>> {
    let word = image.word();
    image.aligns().into_iter().find_map(|align| {
        let align = align.max(word);
        let first_at = count_at.checked_sub((count * word).next_multiple_of(align))?;
        let address = |index: u64| image.word_at(first_at + index * word);
        let (first, last) = (address(0)?, address(count - 1)?);
        let is_kernel = image.is_address(first) && (first..first.saturating_add(MAX_MEMORY)).contains(&last);
        if !is_kernel || count_at % align != 0 {
            return None;
        }
        let (mut at, mut before, mut name) = ((count_at + word).next_multiple_of(align), first, Vec::new());
        let mut symbols: Vec<KernelSymbol> = Vec::new();
        for index in 0..count {
            let address = address(index).filter(|address| *address >= before)?;
            let common = usize::from(*slice(image.bytes, at, 1)?.first()?);
            let rest = text(image, at + 1).filter(|_| common <= name.len())?;
            name.truncate(common);
            name.extend_from_slice(rest);
            if name.is_empty() || len64(&name) > MAX_NAME {
                return None;
            }
            (at, before) = (at + len64(rest) + 2, address);
            symbols.push(KernelSymbol { address, class: b't', name: name.clone() });
        }
        let named = |name: &[u8]| symbols.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address);
        let init = named(b"_sinittext").zip(named(b"_einittext")).map_or(0..0, |(start, end)| start..end);
        let code_end = named(b"_etext").unwrap_or(u64::MAX);
        for symbol in symbols.iter_mut().filter(|it| it.address >= code_end && !init.contains(&it.address)) {
            symbol.class = b'd';
        }
        Some(symbols)
    })
}

/// `struct kallsyms_header` and what it leads to; offsets count from it.
struct Header<'a> {
    image: &'a Image<'a>,
    at: u64,
}

impl Header<'_> {
    fn len(image: &Image<'_>) -> u32 {
        if image.is_64 { 72 } else { 44 }
    }

    /// The number at this offset of the 32-bit or the 64-bit header.
    fn number(&self, at_32: u64, at_64: u64) -> Option<u64> {
        let at = self.at + if self.image.is_64 { at_64 } else { at_32 };
        self.image.cursor.u32("kallsyms_header", at).ok().map(u64::from)
    }

    /// The word there.
    fn word(&self, at_32: u64, at_64: u64) -> Option<u64> {
        self.image.word_at(self.at + if self.image.is_64 { at_64 } else { at_32 })
    }
}

/// The symbols that a header at `at` leads to, by rising address.
fn modutils(image: &Image<'_>, at: u64) -> Option<Vec<KernelSymbol>> {
    let (word, header) = (image.word(), Header { image, at });
    let total = header.number(4, 4)?;
    let (count, size, first) = (header.number(20, 28)?, header.number(28, 40)?, header.word(24, 32)?);
    let strings = header.word(32, 48)?;
    let end = first.checked_add(count.checked_mul(size)?)?;
    if !SYMBOLS.contains(&count)
        || size < 3 * word
        || end.max(strings) > total
        || slice(image.bytes, at, total).is_none()
    {
        return None;
    }
    let sections = header.word(12, 16)?;
    let named = |name: u64| text(image, at.checked_add(strings)?.checked_add(name).filter(|name| *name < at + total)?);
    let symbol = |index: u64| {
        let here = at + first + index * size;
        let section = at.checked_add(sections)?.checked_add(image.word_at(here)?)?;
        let flags = image.cursor.u32("kallsyms_section.flags", section.checked_add(3 * word)?).ok()?;
        let section = named(image.word_at(section + 2 * word)?)?;
        let class = match u64::from(flags) {
            _ if section.starts_with(b".bss") => b'b',
            flags if flags & SHF_EXECINSTR != 0 => b't',
            flags if flags & SHF_WRITE != 0 => b'd',
            _ => b'r',
        };
        let name = named(image.word_at(here + 2 * word)?)?;
        // Sections are among the symbols.
        Some((name != section).then_some(KernelSymbol {
            address: image.word_at(here + word)?,
            class,
            name: name.to_vec(),
        }))
    };
    let symbols = (0..count).map(symbol).collect::<Option<Vec<_>>>()?;
    let mut symbols: Vec<KernelSymbol> = symbols.into_iter().flatten().collect();
    symbols.sort_by_key(|symbol| symbol.address);
    Some(symbols)
}
