//! Deflated data: RFC 1951. Straight into the kernel's place; most of it by a loop that looks at neither end.

#[path = "copies.rs"]
mod copies;

use copies::repeat;
#[cfg(not(target_arch = "arm"))]
use copies::repeat_and_more;

/// Bits of a code that are looked up at once; of longer ones the rest in a second table.
const LITLEN_BITS: u32 = 10;
const DISTANCE_BITS: u32 = 8;
const PRECODE_BITS: u32 = 7;
/// Entries of all tables of a code, for the most that there are of symbols (zlib's examples/enough.c: 2342 and 402).
const LITLEN_ROOM: usize = 2400;
const DISTANCE_ROOM: usize = 448;

/// An entry of a table: in its lowest byte the bits of the code, all of them; what it stands for from bit 16 on.
type Entry = u32;
/// A literal.
const LITERAL: Entry = 1 << 31;
/// From here on the number of extra bits.
const EXTRA: u32 = 8;
const EXTRA_MASK: Entry = 15;
/// A length to which nothing has to be added: its extra bits have been looked up, too.
const LENGTH: Entry = 1 << 13;
/// The end of the block.
const END: Entry = 1 << 14;
/// More is in another table, which has as many bits as extra bits are said to be; where it begins in place of a symbol.
const MORE: Entry = 1 << 15;
/// No code.
const NONE: Entry = MORE;
const SYMBOL: u32 = 16;

#[rustfmt::skip]
const LENGTHS: [(u16, u8); 29] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
    (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5), (195, 5),
    (227, 5), (258, 0),
];
/// In this order are the lengths of the code of lengths.
const PRECODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

fn litlen(symbol: usize) -> Entry {
    match symbol {
        0..256 => LITERAL | (symbol as Entry) << SYMBOL,
        256 => END,
        _ => LENGTHS.get(symbol - 257).map_or(NONE, |(base, extra)| {
            let kind = if *extra == 0 { LENGTH } else { 0 };
            kind | Entry::from(*base) << SYMBOL | Entry::from(*extra) << EXTRA
        }),
    }
}

fn distance(symbol: usize) -> Entry {
    let extra = (symbol as u32 / 2).saturating_sub(1);
    let base = if symbol < 4 { symbol as u32 + 1 } else { (2 + (symbol as u32 & 1) << extra) + 1 };
    if symbol < 30 { base << SYMBOL | extra << EXTRA } else { NONE }
}

pub struct Tables {
    litlen: [Entry; LITLEN_ROOM],
    distance: [Entry; DISTANCE_ROOM],
}

impl Tables {
    pub const ZERO: Tables = Tables { litlen: [0; LITLEN_ROOM], distance: [0; DISTANCE_ROOM] };
}

/// Makes the tables of the code that has these lengths. `bits`: of the first one. `None` when there is no such code; one
/// symbol of one bit is, unless `is_whole`, and none is until it is looked for.
fn build(table: &mut [Entry], bits: u32, lengths: &[u8], entry: fn(usize) -> Entry, is_whole: bool) -> Option<()> {
    let mut counts = [0u16; 16];
    lengths.iter().for_each(|len| counts[usize::from(*len & 15)] += 1);
    counts[0] = 0;
    let longest = (1..16).rev().find(|len| counts[*len as usize] != 0).unwrap_or(0);
    let left = (1..16).try_fold(1i32, |left, len| (2 * left).checked_sub(counts[len].into()).filter(|left| *left >= 0))?;
    if left != 0 && (is_whole || longest > 1) {
        return None;
    }
    let first = 1usize << bits;
    if left != 0 {
        table.get_mut(..first)?.fill(NONE);
    }
    let mut places = [0u16; 16];
    (1..15).for_each(|len| places[len + 1] = places[len] + counts[len]);
    let mut symbols = [0u16; 320];
    for (symbol, len) in lengths.iter().enumerate().filter(|(_, len)| **len != 0) {
        let place = &mut places[usize::from(*len & 15)];
        *symbols.get_mut(usize::from(*place))? = symbol as u16;
        *place += 1;
    }
    // The code, its bits from last to first: as they are read.
    let (mut code, mut next, mut prefix, mut sub_bits) = (0usize, first, usize::MAX, 0);
    for symbol in symbols.iter().take(places[15].into()) {
        let symbol = usize::from(*symbol);
        let len = u32::from(lengths[symbol]);
        let what = match entry(symbol) {
            NONE => NONE,
            what => what | len,
        };
        let (start, size, step, at) = if len <= bits {
            (0, bits, len, code)
        } else {
            // The first of those with these first bits.
            if code & (first - 1) != prefix {
                prefix = code & (first - 1);
                sub_bits = len - bits;
                let mut left = 1 << sub_bits;
                while sub_bits + bits < longest {
                    left -= i32::from(counts[(sub_bits + bits) as usize]);
                    if left <= 0 {
                        break;
                    }
                    sub_bits += 1;
                    left <<= 1;
                }
                *table.get_mut(prefix)? = MORE | (next as Entry) << SYMBOL | sub_bits << EXTRA | bits;
                next += 1 << sub_bits;
            }
            (next - (1 << sub_bits), sub_bits, len - bits, code >> bits)
        };
        let places = table.get_mut(start..start + (1 << size))?;
        places.get_mut(at..)?.iter_mut().step_by(1 << step).for_each(|place| *place = what);
        counts[len as usize] -= 1;
        // One more, its carry going down.
        let mut bit = 1usize << (len - 1);
        while code & bit != 0 {
            code ^= bit;
            bit >>= 1;
        }
        code |= bit;
    }
    Some(())
}

/// Looks up the extra bits of lengths, too, where there is room.
fn with_extra_bits(table: &mut [Entry; LITLEN_ROOM]) {
    for (index, place) in table.iter_mut().enumerate().take(1 << LITLEN_BITS) {
        let (code, extra) = (*place & 0xff, *place >> EXTRA & EXTRA_MASK);
        if *place & (LITERAL | LENGTH | END | MORE) == 0 && code + extra <= LITLEN_BITS {
            let more = index as u32 >> code & ((1 << extra) - 1);
            *place = (*place & !0 << SYMBOL) + (more << SYMBOL) | LENGTH | code + extra;
        }
    }
}

/// Bits of a word that is filled up as far as whole bytes go.
const FULL: u32 = usize::BITS - 8;
#[cfg(not(target_arch = "arm"))]
/// All of a length and its distance are in a word; else they are read one by one.
const IS_WIDE: bool = usize::BITS >= 64;
#[cfg(not(target_arch = "arm"))]
/// What is read without looking whether the word has it: a literal, if so, then the code and extra bits of a length; those of
/// a distance.
const LEAST: u32 = if IS_WIDE { LITLEN_BITS + 15 + 5 } else { 15 + 5 };
#[cfg(not(target_arch = "arm"))]
const LEAST_DISTANCE: u32 = 15 + 13;
/// What two words of bits may make of matches with their shortest codes, and what is copied too much.
const ROOM: usize = usize::BITS as usize * 258 + copies::MORE;
#[cfg(not(target_arch = "arm"))]
/// The lowest bits, by their number.
const MASKS: [u16; 16] = [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047, 4095, 8191, 16383, 32767];

/// What is read: the lowest bits come next. Above those that count stand others that do, too, or zeros.
struct Bits<'a> {
    word: usize,
    count: u32,
    input: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// To the end of the input, and not a bit further.
    fn fill(&mut self) {
        while self.count <= FULL {
            let Some(byte) = self.input.get(self.at) else { return };
            self.word |= usize::from(*byte) << self.count;
            self.count += 8;
            self.at += 1;
        }
    }

    fn drop(&mut self, count: u32) -> Option<()> {
        self.count = self.count.checked_sub(count)?;
        self.word >>= count;
        Some(())
    }

    fn take(&mut self, count: u32) -> Option<usize> {
        self.fill();
        let value = self.word & ((1 << count) - 1);
        self.drop(count).map(|()| value)
    }

    /// The next code's entry; its bits are dropped.
    fn code(&mut self, table: &[Entry], bits: u32) -> Option<Entry> {
        self.fill();
        let mut entry = *table.get(self.word & ((1 << bits) - 1))?;
        if entry & MORE != 0 {
            let index = self.word >> bits & ((1 << (entry >> EXTRA & EXTRA_MASK)) - 1);
            entry = *table.get((entry >> SYMBOL) as usize + index)?;
            // Of no code, it is that of all zeros.
            if entry & MORE != 0 || (entry & 0xff) <= bits {
                return None;
            }
        }
        self.drop(entry & 0xff)?;
        Some(entry)
    }

    /// Back to whole bytes: those that were read too early are given back.
    fn align(&mut self) {
        self.at -= (self.count / 8) as usize;
        (self.word, self.count) = (0, 0);
    }
}

/// Unpacks up to the end of the last block. Returns how much of input and output it took; `None` when it is damaged.
pub fn inflate(tables: &mut Tables, input: &[u8], output: &mut [u8]) -> Option<(usize, usize)> {
    let mut bits = Bits { word: 0, count: 0, input, at: 0 };
    let mut to = 0;
    loop {
        let is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => {
                bits.align();
                let [a, b, c, d] = *input.get(bits.at..)?.first_chunk()?;
                if [a, b] != [!c, !d] {
                    return None;
                }
                let len = usize::from(u16::from_le_bytes([a, b]));
                let plain = input.get(bits.at + 4..)?.get(..len)?;
                output[to..].get_mut(..len)?.copy_from_slice(plain);
                (bits.at, to) = (bits.at + 4 + len, to + len);
            }
            1 => {
                let mut lengths = [8; 288 + 32];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                lengths[288..].fill(5);
                let (first, second) = lengths.split_at(288);
                to = compressed(tables, first, second, &mut bits, output, to)?;
            }
            2 => {
                let mut lengths = [0; 288 + 32];
                let (first, second) = read_lengths(tables, &mut bits, &mut lengths)?;
                to = compressed(tables, first, second, &mut bits, output, to)?;
            }
            _ => return None,
        }
        if is_last {
            bits.align();
            return Some((bits.at, to));
        }
    }
}

/// The lengths of a block's two codes.
fn read_lengths<'a>(tables: &mut Tables, bits: &mut Bits<'_>, lengths: &'a mut [u8; 320]) -> Option<(&'a [u8], &'a [u8])> {
    let [first, second, count] = [(5, 257), (5, 1), (4, 4)].map(|(count, least)| Some(bits.take(count)? + least));
    let (first, second, count) = (first?, second?, count?);
    if first > 286 || second > 30 {
        return None;
    }
    let mut precode = [0; 19];
    for place in PRECODE_ORDER.iter().take(count) {
        precode[*place] = bits.take(3)? as u8;
    }
    let entry = |symbol| (symbol as Entry) << SYMBOL;
    build(&mut tables.litlen, PRECODE_BITS, &precode, entry, true)?;
    let mut at = 0;
    while at < first + second {
        let symbol = bits.code(&tables.litlen, PRECODE_BITS)? >> SYMBOL;
        let (value, times) = match symbol {
            16 => (*lengths.get(at.checked_sub(1)?)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            len => (len as u8, 1),
        };
        lengths.get_mut(at..at + times).filter(|_| at + times <= first + second)?.fill(value);
        at += times;
    }
    let (first, second) = lengths.split_at(first);
    (first[256] != 0).then_some((first, second.get(..at - first.len())?))
}

/// A block with these two codes. Returns where it ends in the output.
#[inline(never)]
fn compressed(
    tables: &mut Tables,
    first: &[u8],
    second: &[u8],
    bits: &mut Bits<'_>,
    output: &mut [u8],
    mut to: usize,
) -> Option<usize> {
    build(&mut tables.litlen, LITLEN_BITS, first, litlen, false)?;
    build(&mut tables.distance, DISTANCE_BITS, second, distance, false)?;
    with_extra_bits(&mut tables.litlen);
    loop {
        let mut len;
        (to, len) = quick(tables, bits, output, to)?;
        // The rest of a match, or a symbol, with all checks.
        if len == 0 {
            let entry = bits.code(&tables.litlen, LITLEN_BITS)?;
            if entry & LITERAL != 0 {
                *output.get_mut(to)? = (entry >> SYMBOL) as u8;
                to += 1;
                continue;
            }
            if entry & END != 0 {
                return Some(to);
            }
            len = (entry >> SYMBOL) as usize + bits.take(entry >> EXTRA & EXTRA_MASK)?;
        }
        let entry = bits.code(&tables.distance, DISTANCE_BITS)?;
        let distance = (entry >> SYMBOL) as usize + bits.take(entry >> EXTRA & EXTRA_MASK)?;
        if distance > to || len > output.len() - to {
            return None;
        }
        // SAFETY: the checks are above.
        unsafe { repeat(output.as_mut_ptr().add(to), distance, len) };
        to += len;
    }
}

#[cfg(target_arch = "arm")]
core::arch::global_asm!(include_str!("inflate_arm.s"), options(raw));

/// What the loop for ARM begins and ends with.
#[cfg(target_arch = "arm")]
#[repr(C)]
struct Quick {
    from: *const u8,
    at: *mut u8,
    word: usize,
    count: u32,
    litlen: *const Entry,
    distance: *const Entry,
    /// Of what is looked up at once, as the place in the table.
    mask: usize,
    start: *mut u8,
    last_in: *const u8,
    last_out: *mut u8,
}

/// As below.
#[cfg(target_arch = "arm")]
fn quick(tables: &Tables, bits: &mut Bits<'_>, output: &mut [u8], to: usize) -> Option<(usize, usize)> {
    unsafe extern "C" {
        fn inflate_quick(quick: &mut Quick) -> bool;
    }
    const _: () = assert!(LITLEN_BITS == 10 && DISTANCE_BITS == 8 && EXTRA == 8 && EXTRA_MASK == 15 && SYMBOL == 16);
    const _: () = assert!(LITERAL == 1 << 31 && LENGTH == 1 << 13 && END == 1 << 14 && MORE == 1 << 15 && NONE == MORE);
    // Behind a look at the ends, 8 bytes of input, and 31 literals and a match.
    let last_in = bits.input.len().checked_sub(8).filter(|last| bits.at <= *last);
    let (Some(last_in), Some(last_out)) = (last_in, output.len().checked_sub(ROOM)) else { return Some((to, 0)) };
    // It reads two bytes at a time, and has less than 16 bits then.
    bits.at -= (bits.count / 8) as usize;
    bits.count %= 8;
    bits.word &= (1 << bits.count) - 1;
    if bits.input.as_ptr() as usize + bits.at & 1 != 0 {
        bits.word |= usize::from(bits.input[bits.at]) << bits.count;
        (bits.at, bits.count) = (bits.at + 1, bits.count + 8);
    }
    let (input, start) = (bits.input.as_ptr(), output.as_mut_ptr());
    // SAFETY: of the ends see above; indices are masked, and those of second tables are as `build` has made them.
    unsafe {
        let mut quick = Quick {
            from: input.add(bits.at),
            at: start.add(to),
            word: bits.word,
            count: bits.count,
            litlen: tables.litlen.as_ptr(),
            distance: tables.distance.as_ptr(),
            mask: ((1 << LITLEN_BITS) - 1) * size_of::<Entry>(),
            start,
            last_in: input.add(last_in),
            last_out: start.add(last_out),
        };
        if !inflate_quick(&mut quick) {
            return None;
        }
        (bits.word, bits.count, bits.at) = (quick.word, quick.count, quick.from as usize - input as usize);
        Some((quick.at as usize - start as usize, 0))
    }
}

/// As long as neither end is near and nothing is special. Returns how far it came, and the length of a match whose distance is
/// next, or 0; `None` for a distance that cannot be.
#[cfg(not(target_arch = "arm"))]
#[inline(always)]
fn quick(tables: &Tables, bits: &mut Bits<'_>, output: &mut [u8], to: usize) -> Option<(usize, usize)> {
    let (Some(last_in), Some(last_out)) = (bits.input.len().checked_sub(2 * size_of::<usize>()), output.len().checked_sub(ROOM))
    else {
        return Some((to, 0));
    };
    if bits.at > last_in || to > last_out {
        return Some((to, 0));
    }
    let start = output.as_mut_ptr();
    // A distance may reach below address 0: not where addresses are large anyway.
    let can_wrap = !IS_WIDE;
    if !can_wrap && (start as usize) < 1 << 16 {
        return Some((to, 0));
    }
    // SAFETY: before words are filled, neither end is near; indices are masked, and those of second tables are as `build` has
    // made them, within the room.
    unsafe {
        let (mut from, mut at) = (bits.input.as_ptr().add(bits.at), start.add(to));
        let (last_in, last_out) = (bits.input.as_ptr().add(last_in), start.add(last_out));
        // Of the count, the lowest byte counts.
        let (mut word, mut count) = (bits.word, bits.count);
        let (litlen, distances) = (tables.litlen.as_ptr(), tables.distance.as_ptr());
        let mut len = 0;
        macro_rules! fill {
            () => {
                word |= usize::from_le(from.cast::<usize>().read_unaligned()) << (count & (usize::BITS - 1));
                from = from.add(((!count & (usize::BITS - 1)) / 8) as usize);
                count |= FULL;
            };
        }
        macro_rules! consume {
            ($entry:expr) => {
                word >>= $entry & (usize::BITS - 1);
                count = count.wrapping_sub($entry);
            };
        }
        loop {
            if (count as u8) < LEAST as u8 {
                if from > last_in || at > last_out {
                    break;
                }
                fill!();
            }
            let mut entry = *litlen.add(word & ((1 << LITLEN_BITS) - 1));
            if entry & LITERAL != 0 {
                consume!(entry);
                at.write((entry >> SYMBOL) as u8);
                at = at.add(1);
                if !IS_WIDE {
                    continue;
                }
                entry = *litlen.add(word & ((1 << LITLEN_BITS) - 1));
                if entry & LITERAL != 0 {
                    consume!(entry);
                    at.write((entry >> SYMBOL) as u8);
                    at = at.add(1);
                    continue;
                }
            }
            if entry & LENGTH == 0 {
                if entry & (MORE | END) == MORE && entry != NONE {
                    let index = word >> LITLEN_BITS & ((1 << (entry >> EXTRA & EXTRA_MASK)) - 1);
                    entry = *litlen.add((entry >> SYMBOL) as usize + index);
                    if entry & LITERAL != 0 {
                        consume!(entry);
                        at.write((entry >> SYMBOL) as u8);
                        at = at.add(1);
                        continue;
                    }
                }
                if entry & (END | MORE) != 0 {
                    break;
                }
                // As if looked up with its extra bits.
                let (code, extra) = (entry & 0xff, entry >> EXTRA & EXTRA_MASK);
                let more = (word >> code) as u32 & ((1 << extra) - 1);
                entry = (entry & !0 << SYMBOL) + (more << SYMBOL) | code + extra;
            }
            consume!(entry);
            len = (entry >> SYMBOL) as usize;
            if (count as u8) < LEAST_DISTANCE as u8 {
                if from > last_in || at > last_out {
                    break;
                }
                fill!();
            }
            let mut entry = *distances.add(word & ((1 << DISTANCE_BITS) - 1));
            if entry & MORE != 0 {
                let index = word >> DISTANCE_BITS & ((1 << (entry >> EXTRA & EXTRA_MASK)) - 1);
                entry = *distances.add((entry >> SYMBOL) as usize + index);
                if entry & MORE != 0 || (entry & 0xff) <= DISTANCE_BITS {
                    return None;
                }
            }
            consume!(entry);
            if !IS_WIDE && (count as u8) < 13 {
                fill!();
            }
            let extra = entry >> EXTRA & EXTRA_MASK;
            let before = at.wrapping_sub((entry >> SYMBOL) as usize + (word & usize::from(MASKS[extra as usize])));
            consume!(extra);
            if before < start || can_wrap && before > at {
                return None;
            }
            repeat_and_more(at, at as usize - before as usize, len);
            at = at.add(len);
            len = 0;
        }
        (bits.word, bits.count, bits.at) = (word, count & 0xff, from as usize - bits.input.as_ptr() as usize);
        Some((at as usize - start as usize, len))
    }
}
