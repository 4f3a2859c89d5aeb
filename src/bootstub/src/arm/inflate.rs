//! Deflate (RFC 1951) for CPUs of 32 bits, straight into the kernel's place: what is unpacked is its own window.
//!
//! A symbol is one look into a table, by ten bits of what comes; longer codes take a second one. Where the distance allows it,
//! matches are copied by halves of a word or by words: no ARM before ARMv6 reads a word that is not at a multiple of 4.

/// The first look has so many bits; that of the distances, and of the code of the codes' lengths.
const ROOT: u32 = 10;
const DISTANCE_ROOT: u32 = 8;
const LENGTHS_ROOT: u32 = 7;
/// No code is longer.
const LONGEST: usize = 15;
/// A first look, and what the longest codes need: each second look is for two of them at least.
const SYMBOLS_LEN: usize = (1 << ROOT) + 144 * (1 << (LONGEST as u32 - ROOT));
const DISTANCES_LEN: usize = (1 << DISTANCE_ROOT) + 16 * (1 << (LONGEST as u32 - DISTANCE_ROOT));

/// What a look gives: in the low byte the bits that it took, then the number of bits to add, in the upper half the literal or
/// what to add them to; and one of these. No code has 0.
const LITERAL: u32 = 1 << 31;
const BASE: u32 = 1 << 15;
const FURTHER: u32 = 1 << 14;
const STOP: u32 = 1 << 13;

/// Memory for the tables.
pub struct Tables {
    symbols: [u32; SYMBOLS_LEN],
    distances: [u32; DISTANCES_LEN],
}

impl Tables {
    pub const ZERO: Tables = Tables { symbols: [0; SYMBOLS_LEN], distances: [0; DISTANCES_LEN] };
}

/// What comes, lowest bit first. There are [`MARGIN`] bytes behind the end that may be read.
struct Bits {
    next: *const u8,
    last: *const u8,
    hold: u32,
    count: u32,
}

/// So many bytes behind the input must be there to read; they mean nothing.
pub const MARGIN: usize = 8;

impl Bits {
    /// At least 16 bits, in one step.
    #[inline(always)]
    fn half(&mut self) {
        if self.count < 16 {
            // SAFETY: as for `fill`.
            let (low, high) = unsafe { (*self.next, *self.next.add(1)) };
            self.hold |= (u32::from(low) | u32::from(high) << 8) << self.count;
            self.next = unsafe { self.next.add(2) };
            self.count += 16;
        }
    }

    /// At least 25 bits.
    fn fill(&mut self) {
        while self.count < 25 {
            // SAFETY: the users look at the end often enough for the margin.
            self.hold |= u32::from(unsafe { *self.next }) << self.count;
            self.next = unsafe { self.next.add(1) };
            self.count += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.hold >>= count & 31;
        self.count -= count;
    }

    #[inline(always)]
    fn take(&mut self, count: u32) -> u32 {
        let value = self.hold & ((1 << (count & 31)) - 1);
        self.drop(count);
        value
    }

    fn is_over(&self) -> bool {
        // What was read and is not used yet is not over.
        unsafe { self.next.sub((self.count / 8) as usize) > self.last }
    }

    #[inline(always)]
    fn look(&mut self, table: &[u32], root: u32) -> u32 {
        // SAFETY: tables are longer than a first look; what leads further was made with room behind it.
        let mut entry = unsafe { *table.get_unchecked((self.hold & ((1 << root) - 1)) as usize) };
        if entry & FURTHER != 0 {
            let bits = entry >> 8 & 15;
            let at = (entry >> 16 & 0x1fff) + (self.hold >> root & ((1 << bits) - 1));
            entry = unsafe { *table.get_unchecked(at as usize) };
        }
        self.drop(entry & 0xff);
        entry
    }

    fn number(&mut self, count: u32) -> u32 {
        self.fill();
        self.take(count)
    }
}

/// Makes the table of a canonical code. `entry` says what a symbol is.
fn build(lengths: &[u8], root: u32, table: &mut [u32], entry: fn(u32) -> u32) -> Option<()> {
    let mut counts = [0_u32; LONGEST + 1];
    for len in lengths {
        counts[usize::from(*len & 15)] += 1;
    }
    counts[0] = 0;
    let (mut left, mut total, mut longest) = (1_i32, 0, 1);
    let mut starts = [0_usize; LONGEST + 2];
    for len in 1..=LONGEST {
        left = (left << 1) - counts[len] as i32;
        if left < 0 {
            return None;
        }
        starts[len + 1] = starts[len] + counts[len] as usize;
        total += counts[len];
        if counts[len] != 0 {
            longest = len;
        }
    }
    // A single code may have one bit that is never 1.
    if left > 0 && total > 1 {
        return None;
    }
    let mut sorted = [0_u16; 288];
    for (symbol, len) in lengths.iter().enumerate() {
        if *len != 0 {
            let at = &mut starts[usize::from(*len & 15)];
            *sorted.get_mut(*at)? = symbol as u16;
            *at += 1;
        }
    }
    table.get_mut(..1 << root)?.fill(0);
    let further = (longest as u32).saturating_sub(root);
    // The code, its first bit the lowest.
    let (mut code, mut next, mut at) = (0_u32, 1_usize << root, 0);
    for len in 1..=longest as u32 {
        for _ in 0..counts[len as usize] {
            let value = entry(u32::from(*sorted.get(at)?)) | len;
            at += 1;
            let (mut to, step, end) = if len <= root {
                (code as usize, 1_usize << len, 1_usize << root)
            } else {
                let first = &mut table[(code & ((1 << root) - 1)) as usize];
                let start = if *first & FURTHER != 0 {
                    (*first >> 16 & 0x1fff) as usize
                } else {
                    let start = next;
                    next += 1 << further;
                    *first = FURTHER | (start as u32) << 16 | further << 8 | root;
                    start
                };
                (start + (code >> root) as usize, 1_usize << (len - root), start + (1 << further))
            };
            while to < end {
                *table.get_mut(to)? = value;
                to += step;
            }
            let mut bit = 1_u32 << (len - 1);
            while code & bit != 0 {
                bit >>= 1;
            }
            code = if bit == 0 { 0 } else { (code & (bit - 1)) + bit };
        }
    }
    Some(())
}

/// A value that `extra` bits are added to, for the `index`th of ranges that double every `2^shift`.
fn range(index: u32, shift: u32, first: u32) -> u32 {
    let extra = (index >> shift).saturating_sub(1);
    let within = index & ((1 << shift) - 1);
    let base = if index >> shift == 0 { within } else { (within + (1 << shift)) << extra };
    BASE | (base + first) << 16 | extra << 8
}

fn symbol(symbol: u32) -> u32 {
    match symbol {
        0..256 => LITERAL | symbol << 16,
        256 => STOP,
        257..285 => range(symbol - 257, 2, 3),
        285 => BASE | 258 << 16,
        _ => 0,
    }
}

fn distance(symbol: u32) -> u32 {
    if symbol < 30 { range(symbol, 1, 1) } else { 0 }
}

fn plain(symbol: u32) -> u32 {
    BASE | symbol << 16
}

/// The order in which the lengths of the code of the lengths come.
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The codes of a block that brings them along.
fn codes(bits: &mut Bits, tables: &mut Tables) -> Option<()> {
    let counts = [bits.number(5) as usize + 257, bits.number(5) as usize + 1];
    let mut lengths = [0_u8; 19];
    for at in &ORDER[..bits.number(4) as usize + 4] {
        lengths[usize::from(*at)] = bits.number(3) as u8;
    }
    build(&lengths, LENGTHS_ROOT, &mut tables.distances, plain)?;
    let mut all = [0_u8; 288 + 32];
    let (mut at, end) = (0, counts[0] + counts[1]);
    while at < end {
        bits.fill();
        let entry = bits.look(&tables.distances, LENGTHS_ROOT);
        if entry == 0 || bits.is_over() {
            return None;
        }
        let (value, repeat) = match entry >> 16 & 31 {
            16 => (*all.get(at.checked_sub(1)?)?, bits.number(2) + 3),
            17 => (0, bits.number(3) + 3),
            18 => (0, bits.number(7) + 11),
            len => (len as u8, 1),
        };
        all.get_mut(at..(at + repeat as usize).min(end))?.fill(value);
        at += repeat as usize;
    }
    if at != end || counts[0] > 286 {
        return None;
    }
    build(&all[..counts[0]], ROOT, &mut tables.symbols, symbol)?;
    build(&all[counts[0]..end], DISTANCE_ROOT, &mut tables.distances, distance)
}

/// The codes of a block that has none.
fn fixed_codes(tables: &mut Tables) -> Option<()> {
    let mut lengths = [8_u8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    build(&lengths, ROOT, &mut tables.symbols, symbol)?;
    build(&[5; 32], DISTANCE_ROOT, &mut tables.distances, distance)
}

/// Copies `len` bytes to `to` from `distance` before it, each after the one before.
///
/// # Safety
/// All of it is inside of the output.
#[inline(always)]
unsafe fn repeat(mut to: *mut u8, distance: usize, len: usize) {
    unsafe {
        let end = to.add(len);
        let mut from: *const u8 = to.sub(distance);
        macro_rules! copy {
            ($number:ty) => {
                while (to as usize) % size_of::<$number>() != 0 && to < end {
                    *to = *from;
                    (to, from) = (to.add(1), from.add(1));
                }
                let last = end.wrapping_sub(4 * size_of::<$number>());
                while to <= last {
                    let (into, of) = (to.cast::<$number>(), from.cast::<$number>());
                    *into = *of;
                    *into.add(1) = *of.add(1);
                    *into.add(2) = *of.add(2);
                    *into.add(3) = *of.add(3);
                    (to, from) = (to.add(4 * size_of::<$number>()), from.add(4 * size_of::<$number>()));
                }
                let last = end.wrapping_sub(size_of::<$number>());
                while to <= last {
                    *to.cast::<$number>() = *from.cast::<$number>();
                    (to, from) = (to.add(size_of::<$number>()), from.add(size_of::<$number>()));
                }
            };
        }
        if distance % 4 == 0 {
            copy!(u32);
        } else if distance % 2 == 0 {
            copy!(u16);
        } else if distance == 1 && len > 8 {
            let all = u32::from(*from) * 0x0101_0101;
            while to as usize % 4 != 0 {
                *to = all as u8;
                to = to.add(1);
            }
            let last = end.sub(4);
            while to <= last {
                *to.cast::<u32>() = all;
                to = to.add(4);
            }
            from = to.sub(1);
        } else {
            let last = end.wrapping_sub(4);
            while to <= last {
                *to = *from;
                *to.add(1) = *from.add(1);
                *to.add(2) = *from.add(2);
                *to.add(3) = *from.add(3);
                (to, from) = (to.add(4), from.add(4));
            }
        }
        while to < end {
            *to = *from;
            (to, from) = (to.add(1), from.add(1));
        }
    }
}

/// The symbols of a block. Returns behind the last byte that came out. This alone has to be quick.
#[inline(never)]
#[cfg_attr(target_arch = "arm", instruction_set(arm::a32), optimize(speed))]
fn block(bits: &mut Bits, tables: &Tables, start: *mut u8, mut to: *mut u8, end: *mut u8) -> Option<*mut u8> {
    let Bits { next, last, hold, count } = *bits;
    // In registers.
    let mut own = Bits { next, last, hold, count };
    let done = loop {
        if own.next > own.last {
            // Up to three bytes more were read than are used.
            if own.is_over() {
                return None;
            }
        }
        own.half();
        let entry = own.look(&tables.symbols, ROOT);
        if entry & LITERAL != 0 {
            if to == end {
                return None;
            }
            // SAFETY: in front of the end.
            unsafe {
                *to = (entry >> 16) as u8;
                to = to.add(1);
            }
            continue;
        }
        if entry & BASE == 0 {
            if entry & STOP == 0 {
                return None;
            }
            break to;
        }
        own.half();
        let len = ((entry >> 16 & 0x1ff) + own.take(entry >> 8 & 15)) as usize;
        own.half();
        let entry = own.look(&tables.distances, DISTANCE_ROOT);
        own.half();
        let distance = ((entry >> 16 & 0x7fff) + own.take(entry >> 8 & 15)) as usize;
        if entry == 0 || distance > to as usize - start as usize || len > end as usize - to as usize {
            return None;
        }
        // SAFETY: both were held to the output.
        unsafe {
            repeat(to, distance, len);
            to = to.add(len);
        }
    };
    *bits = own;
    Some(done)
}

/// Unpacks all of a deflated stream, the beginning of `input`, which has [`MARGIN`] bytes more than may belong to it. Returns
/// how many bytes of `input` and `output` it took.
pub fn inflate(tables: &mut Tables, input: &[u8], output: &mut [u8]) -> Option<(usize, usize)> {
    let len = input.len().checked_sub(MARGIN)?;
    let range = output.as_mut_ptr_range();
    let mut to = range.start;
    let mut bits = Bits { next: input.as_ptr(), last: input.as_ptr().wrapping_add(len), hold: 0, count: 0 };
    loop {
        if bits.is_over() {
            return None;
        }
        let is_last = bits.number(1) != 0;
        match bits.number(2) {
            0 => {
                bits.take(bits.count % 8);
                bits.next = unsafe { bits.next.sub((bits.count / 8) as usize) };
                (bits.hold, bits.count) = (0, 0);
                let at = bits.next as usize - input.as_ptr() as usize;
                let [a, b, c, d, rest @ ..] = input.get(at..len)? else { return None };
                let len = usize::from(u16::from_le_bytes([*a, *b]));
                if len != usize::from(!u16::from_le_bytes([*c, *d])) {
                    return None;
                }
                let from = rest.get(..len)?;
                let done = to as usize - range.start as usize;
                output.get_mut(done..done + len)?.copy_from_slice(from);
                bits.next = unsafe { bits.next.add(4 + len) };
                to = unsafe { to.add(len) };
            }
            1 => {
                fixed_codes(tables)?;
                to = block(&mut bits, tables, range.start, to, range.end)?;
            }
            2 => {
                codes(&mut bits, tables)?;
                to = block(&mut bits, tables, range.start, to, range.end)?;
            }
            _ => return None,
        }
        if is_last {
            break;
        }
    }
    if bits.is_over() {
        return None;
    }
    let used = bits.next as usize - (bits.count / 8) as usize - input.as_ptr() as usize;
    Some((used, to as usize - range.start as usize))
}
