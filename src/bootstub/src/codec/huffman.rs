//! The code of literals (RFC 8878, 4.2).

use super::fse::{self, Bits, Table};

/// A code that is this long or shorter is looked up with so many bits.
const BITS: u32 = 11;
/// No code is longer; RFC 8878 has one bit less, libzstd takes it.
const BITS_MAX: u32 = 12;
/// Symbols that are read without looking whether there are enough bits.
const STEP: usize = 5;
/// Bytes that these may take.
const STEP_LEN: usize = 7;

pub struct Huffman {
    /// By the next bits: in the low byte the bits of the code, in the upper one the symbol.
    table: [u16; 1 << BITS_MAX],
    bits: u32,
}

impl Huffman {
    pub const ZERO: Huffman = Huffman { table: [0; 1 << BITS_MAX], bits: 0 };

    /// Reads a code. Returns the bytes that it took.
    pub fn read(&mut self, table: &mut Table, input: &[u8]) -> Option<usize> {
        let (first, rest) = input.split_first()?;
        let mut weights = [0; 256];
        let (count, taken) = match usize::from(*first) {
            len @ ..128 => (fse_weights(table, rest.get(..len)?, &mut weights)?, len),
            more => {
                let (count, taken) = (more - 127, (more - 126) / 2);
                for (index, byte) in rest.get(..taken)?.iter().enumerate() {
                    (weights[2 * index], weights[2 * index + 1]) = (byte >> 4, byte & 15);
                }
                (count, taken)
            }
        };
        // The last weight is what is missing to a power of two.
        let mut counts = [0_usize; BITS_MAX as usize + 1];
        let mut sum = 0;
        for weight in &weights[..count] {
            *counts.get_mut(usize::from(*weight))? += 1;
            sum += (1 << weight) >> 1;
        }
        let bits = u32::checked_ilog2(sum)? + 1;
        let missing = (1 << bits) - sum;
        if bits > BITS_MAX || !missing.is_power_of_two() {
            return None;
        }
        weights[count] = missing.ilog2() as u8 + 1;
        counts[usize::from(weights[count])] += 1;
        if counts[1] < 2 || counts[1] % 2 != 0 {
            return None;
        }
        self.bits = bits.max(BITS);
        // Where the codes of each weight begin: the longest ones first.
        let (mut places, mut at) = ([0; BITS_MAX as usize + 1], 0);
        let len = |weight: usize| 1 << (weight + (self.bits - bits) as usize - 1);
        for weight in 1..=bits as usize {
            places[weight] = at;
            at += counts[weight] * len(weight);
        }
        for (symbol, weight) in weights[..=count].iter().enumerate().filter(|(_, weight)| **weight != 0) {
            let place = &mut places[usize::from(*weight)];
            let len = len((*weight).into());
            let entry = (symbol as u16) << 8 | (bits + 1) as u16 - u16::from(*weight);
            self.table.get_mut(*place..*place + len)?.fill(entry);
            *place += len;
        }
        Some(1 + taken)
    }

    /// Literals in one stream.
    pub fn one(&self, input: &[u8], output: &mut [u8]) -> Option<()> {
        if output.is_empty() {
            return None;
        }
        // The other one is empty.
        self.pair([(input, output), (&[1], &mut [])])
    }

    /// Literals in four streams, behind the lengths of three.
    pub fn four(&self, input: &[u8], output: &mut [u8]) -> Option<()> {
        let (lengths, rest) = input.split_first_chunk::<6>()?;
        let len = |index: usize| usize::from(u16::from_le_bytes([lengths[index], lengths[index + 1]]));
        let (a, rest) = rest.split_at_checked(len(0))?;
        let (b, rest) = rest.split_at_checked(len(2))?;
        let (c, d) = rest.split_at_checked(len(4))?;
        if output.len() < 6 || d.is_empty() {
            return None;
        }
        let part = output.len().div_ceil(4);
        let (to_a, rest) = output.split_at_mut_checked(part)?;
        let (to_b, rest) = rest.split_at_mut_checked(part)?;
        let (to_c, to_d) = rest.split_at_mut_checked(part)?;
        self.pair([(a, to_a), (b, to_b)])?;
        self.pair([(c, to_c), (d, to_d)])
    }

    /// Two streams, which do not wait for each other: each to its end.
    #[inline(never)]
    fn pair(&self, [a, b]: [(&[u8], &mut [u8]); 2]) -> Option<()> {
        let (mut a, mut b) = (Stream::new(a)?, Stream::new(b)?);
        if self.bits == BITS {
            self.quick(&mut a, &mut b);
        }
        for mut stream in [a, b] {
            for place in &mut stream.output[stream.done..] {
                let entry = self.table[stream.bits.peek(self.bits) & ((1 << BITS_MAX) - 1)];
                stream.bits.drop(u32::from(entry & 0xff))?;
                *place = (entry >> 8) as u8;
            }
            if stream.bits.left != 0 {
                return None;
            }
        }
        Some(())
    }

    /// As long as neither end of either is near.
    #[inline(always)]
    fn quick(&self, a: &mut Stream<'_>, b: &mut Stream<'_>) {
        let table = self.table.as_ptr();
        loop {
            let turns = a.turns().min(b.turns());
            if turns == 0 {
                return;
            }
            // SAFETY: as counted; there are so many places in the table.
            unsafe {
                let ((mut from_a, mut bits_a, mut to_a), (mut from_b, mut bits_b, mut to_b)) = (a.place(), b.place());
                // Filled up, with a one that tells how far the bits were moved.
                macro_rules! fill {
                    ($from:ident, $bits:ident) => {
                        (u64::from_le($from.cast::<u64>().read_unaligned()) | 1) << $bits
                    };
                }
                macro_rules! symbol {
                    ($word:ident, $to:ident, $index:expr) => {
                        let entry = *table.add(($word >> (64 - BITS)) as usize);
                        $to.add($index).write((entry >> 8) as u8);
                        $word <<= entry & 63;
                    };
                }
                macro_rules! moved {
                    ($word:ident, $from:ident, $bits:ident, $to:ident) => {
                        $bits = $word.trailing_zeros();
                        $from = $from.sub(($bits >> 3) as usize);
                        $bits &= 7;
                        $to = $to.add(STEP);
                    };
                }
                for _ in 0..turns {
                    let (mut word_a, mut word_b) = (fill!(from_a, bits_a), fill!(from_b, bits_b));
                    symbol!(word_a, to_a, 0);
                    symbol!(word_b, to_b, 0);
                    symbol!(word_a, to_a, 1);
                    symbol!(word_b, to_b, 1);
                    symbol!(word_a, to_a, 2);
                    symbol!(word_b, to_b, 2);
                    symbol!(word_a, to_a, 3);
                    symbol!(word_b, to_b, 3);
                    symbol!(word_a, to_a, 4);
                    symbol!(word_b, to_b, 4);
                    moved!(word_a, from_a, bits_a, to_a);
                    moved!(word_b, from_b, bits_b, to_b);
                }
                a.moved(from_a, bits_a, to_a);
                b.moved(from_b, bits_b, to_b);
            }
        }
    }
}

/// A stream of literals.
struct Stream<'a> {
    bits: Bits<'a>,
    output: &'a mut [u8],
    done: usize,
}

impl<'a> Stream<'a> {
    fn new((input, output): (&'a [u8], &'a mut [u8])) -> Option<Stream<'a>> {
        Some(Stream { bits: Bits::new(input)?, output, done: 0 })
    }

    /// How many times [`STEP`] symbols can be read and written without a look, eight bytes at a time.
    fn turns(&self) -> usize {
        ((self.bits.left / 8).saturating_sub(8) / STEP_LEN).min((self.output.len() - self.done) / STEP)
    }

    /// The eight bytes that have the next bits; how many of the last ones are done; where to write.
    fn place(&mut self) -> (*const u8, u32, *mut u8) {
        let end = self.bits.left.div_ceil(8);
        let from = self.bits.input[end - 8..end].as_ptr();
        (from, (8 * end - self.bits.left) as u32, self.output[self.done..].as_mut_ptr())
    }

    fn moved(&mut self, from: *const u8, bits: u32, to: *mut u8) {
        self.bits.left = 8 * (from as usize + 8 - self.bits.input.as_ptr() as usize) - bits as usize;
        self.done = to as usize - self.output.as_ptr() as usize;
    }
}

/// The weights that tell a code, as the last one does not. Returns how many there are.
fn fse_weights(table: &mut Table, input: &[u8], weights: &mut [u8; 256]) -> Option<usize> {
    let mut counts = [0; 256];
    let (state_bits, taken) = fse::counts(input, &mut counts).filter(|(bits, _)| *bits <= 6)?;
    table.build(&counts, state_bits, &[])?;
    let mut bits = Bits::new(input.get(taken..)?)?;
    let mut states = [bits.take(state_bits)?, bits.take(state_bits)?];
    // In turn, until there are not enough bits for one; the other stands for one more.
    for index in 0..weights.len() - 2 {
        let state = states[index % 2] & (fse::ROOM - 1);
        weights[index] = table.bases[state] as u8;
        let step = table.steps[state];
        match bits.take(step.bits.into()) {
            Some(more) => states[index % 2] = step.next as usize + more,
            None => {
                weights[index + 1] = table.bases[states[(index + 1) % 2] & (fse::ROOM - 1)] as u8;
                return Some(index + 2);
            }
        }
    }
    None
}
