//! Where the tables of kallsyms stand.

use super::image::Image;
use crate::bytes::{len64, slice};

/// Where everything is.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) count: u64,
    pub(super) names_at: u64,
    pub(super) tokens: Tokens,
    pub(super) addresses: Addresses,
}

/// How the symbols' addresses are written, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// A word each.
    Absolute { at: u64 },
    /// 32 bits each, to be added to a base.
    Offsets {
        at: u64,
        base: u64,
        /// Negative offsets count down from the base, others are addresses (CONFIG_KALLSYMS_ABSOLUTE_PERCPU).
        signed: bool,
    },
    /// 32 bits each, from the place where they stand; `address` is that of the first, in a flat kernel its file offset.
    Distances { at: u64, address: u64 },
}

/// From here on a 32-bit number is negative; where it wraps.
const NEGATIVE: u64 = 1 << 31;
const WRAP: u64 = 1 << 32;

impl Addresses {
    /// The address of a symbol.
    pub(super) fn address(&self, image: &Image<'_>, index: u64) -> Option<u64> {
        let narrow = |at: u64| image.cursor.u32("kallsyms_offsets", at + 4 * index).ok();
        let address = match *self {
            Addresses::Absolute { at } => image.word_at(at + index * image.word())?,
            Addresses::Offsets { at, base, signed: false } => base.wrapping_add(narrow(at)?.into()),
            Addresses::Offsets { at, base, signed: true } => match u64::from(narrow(at)?) {
                // kernel/kallsyms.c, kallsyms_sym_address.
                negative @ NEGATIVE.. => base.wrapping_sub(1).wrapping_add(WRAP - negative),
                absolute => absolute,
            },
            Addresses::Distances { at, address } => {
                let here = address.wrapping_add(4 * index);
                match u64::from(narrow(at)?) {
                    negative @ NEGATIVE.. => here.wrapping_sub(WRAP - negative),
                    distance => here.wrapping_add(distance),
                }
            }
        };
        Some(if image.is_64 { address } else { address & u64::from(u32::MAX) })
    }
}

/// The texts behind the 256 tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    texts: Vec<Vec<u8>>,
    /// Offset of the table, before which names end.
    at: u64,
    /// Offset behind the index; `None` where names are not compressed.
    end: Option<u64>,
}

impl Tokens {
    /// The text of the symbol whose length stands at `at`, and where the next one begins.
    pub(super) fn expand(&self, image: &[u8], at: u64) -> Option<(Vec<u8>, u64)> {
        let (start, len) = symbol(image, at)?;
        let mut text = Vec::new();
        for token in slice(image, start, len)? {
            text.extend_from_slice(self.texts.get(usize::from(*token))?);
        }
        Some((text, start + len))
    }

    /// The class letter of a symbol.
    fn class(&self, image: &[u8], at: u64) -> Option<u8> {
        let (start, len) = symbol(image, at)?;
        let first = slice(image, start, len)?.first()?;
        self.texts.get(usize::from(*first))?.first().copied()
    }
}

/// Where the tokens of the symbol at `at` begin, and how many there are.
fn symbol(image: &[u8], at: u64) -> Option<(u64, u64)> {
    let byte = |at| slice(image, at, 1)?.first().copied().map(u64::from);
    match byte(at)? {
        // Before 6.2 names had at most 127 tokens, too.
        long @ 0x80.. => Some((at + 2, (long & 0x7f) | byte(at + 1)? << 7)),
        0 => None,
        short => Some((at + 1, short)),
    }
}

/// A debug kernel has 300,000 symbols, the smallest some thousands.
pub(super) const SYMBOLS: std::ops::Range<u64> = 512..1 << 22;
/// As many bytes of names and markers may stand between the number of symbols and the tokens.
const MAX_NAMES: u64 = 64 << 20;

pub(super) fn find(image: &Image<'_>) -> Option<Places> {
    // The tokens of the ten digits, one behind the other.
    const DIGITS: &[u8] = b"\x000\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
    let compressed = memchr::memmem::find_iter(image.bytes, DIGITS).take(64).find_map(|at| {
        let tokens = tokens(image, u64::try_from(at).ok()? + 1)?;
        let before = tokens.at;
        find_rest(image, tokens, before, MAX_NAMES)
    });
    compressed.or_else(|| find_plain(image))
}

/// OpenWrt's CONFIG_KALLSYMS_UNCOMPRESSED: names as they are, and no tokens. One of the first symbols of every kernel leads
/// to them.
fn find_plain(image: &Image<'_>) -> Option<Places> {
    /// Length, class and name, as far as they go in front of `_text`: per-CPU variables of x86.
    const FIRST: [&[u8]; 6] =
        [b"\x06T_text", b"\x06t_text", b"\x07T_stext", b"\x07t_stext", b"\x06Tstext", b"\x06tstext"];
    const FAR: u64 = 64 << 10;
    FIRST.iter().flat_map(|first| memchr::memmem::find_iter(image.bytes, first).take(4)).find_map(|at| {
        let texts = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let tokens = Tokens { texts, at: len64(image.bytes), end: None };
        find_rest(image, tokens, u64::try_from(at).ok()?, FAR)
    })
}

/// The table in which the token `0` stands at `zero_at`.
fn tokens(image: &Image<'_>, zero_at: u64) -> Option<Tokens> {
    const ZERO: usize = 0x30;
    let (cursor, image) = (&image.cursor, image.bytes);
    // Forward to the end of the last token.
    let mut at = zero_at;
    let mut lengths = Vec::new();
    for _ in ZERO..256 {
        let rest = slice(image, at, len64(image).checked_sub(at)?.min(4096))?;
        let len = u64::try_from(memchr::memchr(0, rest)?).ok()?;
        lengths.push(len);
        at += len + 1;
    }
    // The index follows, aligned to a word of either size, or more: see `Image::aligns`.
    [8, 4, 2, 16, 256].into_iter().find_map(|align| {
        let index_at = at.checked_next_multiple_of(align)?;
        let index = (0..256).map(|token| cursor.u16("kallsyms_token_index", index_at + 2 * token).ok().map(u64::from));
        let index: Vec<u64> = index.collect::<Option<_>>()?;
        let fits = |(pair, len): (&[u64], &u64)| matches!(pair, [a, b] if *b == a + len + 1);
        if index.first() != Some(&0) || !index.get(ZERO..)?.windows(2).zip(&lengths).all(fits) {
            return None;
        }
        let start = zero_at.checked_sub(*index.get(ZERO)?)?;
        let text = |offset: &u64| {
            let rest = slice(image, start + offset, 4096.min(len64(image).checked_sub(start + offset)?))?;
            Some(rest.get(..memchr::memchr(0, rest)?)?.to_vec())
        };
        let texts = index.iter().map(text).collect::<Option<Vec<_>>>()?;
        Some(Tokens { texts, at: start, end: Some(index_at + 512) })
    })
}

/// The tables around `tokens`, whose names begin at most `far` bytes before `before`.
fn find_rest(image: &Image<'_>, tokens: Tokens, before: u64, far: u64) -> Option<Places> {
    // Backwards: names are closer than anything else that looks like them.
    let low = before.saturating_sub(far);
    let mut count_at = (before / 4 * 4).checked_sub(4)?;
    while count_at >= low {
        let count = u64::from(image.cursor.u32("kallsyms_num_syms", count_at).ok()?);
        if SYMBOLS.contains(&count) {
            for align in image.aligns() {
                let names_at = (count_at + 4).next_multiple_of(align);
                let end = Some(names_at).filter(|names_at| *names_at <= before);
                let Some(end) = end.and_then(|at| names_fit(image, &tokens, at, count, align)) else { continue };
                let end = tokens.end.unwrap_or(end);
                if let Some(addresses) = find_addresses(image, end, count_at, count, align) {
                    return Some(Places { count, names_at, tokens, addresses });
                }
            }
        }
        count_at = count_at.checked_sub(4)?;
    }
    None
}

/// Where the markers end, if `count` names begin here with the markers behind them.
fn names_fit(image: &Image<'_>, tokens: &Tokens, names_at: u64, count: u64, align: u64) -> Option<u64> {
    let is_class = |class: u8| b"aAbBcCdDgGiIlLnNpPrRsStTuUvVwW".contains(&class);
    let mut at = names_at;
    let mut marks = Vec::new();
    for index in 0..count {
        if index % 256 == 0 {
            marks.push(at - names_at);
        }
        // The first few tell a wrong place at once.
        if index < 64 && !tokens.class(image.bytes, at).is_some_and(is_class) {
            return None;
        }
        match symbol(image.bytes, at) {
            Some((start, len)) if start + len <= tokens.at => at = start + len,
            _ => return None,
        }
    }
    let marks_at = at.checked_next_multiple_of(align)?;
    // 32 bits each since 4.20; a word each before.
    let width = [4, image.word()].into_iter().find(|width| {
        marks.iter().zip(0..).all(|(mark, index)| match width {
            8 => image.cursor.u64("kallsyms_markers", marks_at + 8 * index) == Ok(*mark),
            _ => image.cursor.u32("kallsyms_markers", marks_at + 4 * index).map(u64::from) == Ok(*mark),
        })
    })?;
    Some(marks_at + width * u64::try_from(marks.len()).ok()?)
}

/// The addresses, which stand behind `end`, that of the tokens' index (or of the markers, where there are no tokens), or before
/// the number of symbols.
fn find_addresses(image: &Image<'_>, end: u64, count_at: u64, count: u64, align: u64) -> Option<Addresses> {
    let size = image.word();
    // From 6.4 on: behind the index, offsets and then the base.
    let at = end.next_multiple_of(size);
    let base_at = (at + 4 * count).next_multiple_of(size);
    if let Some(found) = offsets(image, at, base_at, count) {
        return Some(found);
    }
    // From 7.0 on: behind the index, distances from each word itself; 32-bit kernels have addresses there.
    let at = end.next_multiple_of(4);
    let address = if image.is_flat() { Some(at) } else { image.address_of(at) };
    let found = match image.is_64 {
        true => address.map(|address| Addresses::Distances { at, address }),
        false => Some(Addresses::Absolute { at }),
    };
    if let Some(found) = found.filter(|found| is_in_order(image, found, count)) {
        return Some(found);
    }
    // Up to 6.3: offsets, base, number of symbols; or addresses, number of symbols.
    let align = align.max(size);
    let end = count_at / align * align;
    let base_at = end.checked_sub(align)?;
    let at = base_at.checked_sub((4 * count).next_multiple_of(align));
    if let Some(found) = at.and_then(|at| offsets(image, at, base_at, count)) {
        return Some(found);
    }
    let found = Addresses::Absolute { at: end.checked_sub((size * count).next_multiple_of(align))? };
    is_in_order(image, &found, count).then_some(found)
}

/// Symbols are sorted by address, and the last one is in the kernel: in the upper half, where there is one.
fn is_in_order(image: &Image<'_>, addresses: &Addresses, count: u64) -> bool {
    let last = (0..count).try_fold(0, |last, index| addresses.address(image, index).filter(|address| *address >= last));
    // A distance of zero leads to where it stands: only the table's own symbol is there, and whoever reads zeros.
    let zeros =
        |at: &u64| (0..count).filter(|index| image.cursor.u32("kallsyms_offsets", at + 4 * index) == Ok(0)).count();
    last.is_some_and(|last| match addresses {
        Addresses::Distances { at, .. } if zeros(at) > 1 => false,
        // Distances that count down would pass for offsets; 64-bit kernels have less than 2 GiB.
        Addresses::Offsets { base, signed: false, .. } if image.is_64 && last.wrapping_sub(*base) >= NEGATIVE => false,
        Addresses::Distances { .. } if image.is_flat() => (1..len64(image.bytes) + super::MAX_MEMORY).contains(&last),
        _ => image.is_address(last),
    })
}

/// Offsets from a base that come to addresses in ascending order. The base is the lowest address of the kernel
/// (scripts/kallsyms.c, record_relative_base), and the symbols that are left begin shortly behind; addresses do not.
fn offsets(image: &Image<'_>, at: u64, base_at: u64, count: u64) -> Option<Addresses> {
    const NEAR: u32 = 16 << 20;
    let (first, base) = (image.cursor.u32("kallsyms_offsets", at).ok()?, image.relocated_word(base_at)?);
    let found = [false, true].into_iter().filter(|signed| *signed || first < NEAR);
    let mut found = found.map(|signed| Addresses::Offsets { at, base, signed });
    found.find(|found| base != 0 && is_in_order(image, found, count))
}
