//! Finite state entropy (RFC 8878, 4.1), and bits that are read from the last to the first.

/// States of the largest table.
pub const ROOM: usize = 512;

/// What is done in a state.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Step {
    /// Where the next state counts from, and how many bits are added to it.
    pub next: u32,
    pub bits: u8,
    /// Bits to add to what the state stands for.
    pub extra: u8,
    /// Both.
    pub all: u8,
}

/// What a symbol stands for, and how many bits are added to it.
pub type Value = (u32, u8);

pub struct Table {
    pub steps: [Step; ROOM],
    /// What each state stands for.
    pub bases: [u32; ROOM],
    /// Bits of a state.
    pub bits: u32,
}

impl Table {
    pub const ZERO: Table =
        Table { steps: [Step { next: 0, bits: 0, extra: 0, all: 0 }; ROOM], bases: [0; ROOM], bits: 0 };

    /// For one symbol, which takes no bits.
    pub fn only(&mut self, (base, extra): Value) {
        self.steps[0] = Step { next: 0, bits: 0, extra, all: extra };
        (self.bases[0], self.bits) = (base, 0);
    }

    /// For symbols with these counts, whose sum is 1 << `bits`, -1 being one that is rare.
    pub fn build(&mut self, counts: &[i16], bits: u32, values: &[Value]) -> Option<()> {
        let size = 1_usize << bits;
        let (mut rare_at, mut next) = (size, [0_u16; 256]);
        for (symbol, (count, next)) in counts.iter().zip(&mut next).enumerate() {
            if *count < 0 {
                rare_at = rare_at.checked_sub(1)?;
                *self.bases.get_mut(rare_at)? = symbol as u32;
            }
            *next = count.unsigned_abs();
        }
        let (mut at, step, mask) = (0, (size >> 1) + (size >> 3) + 3, (size - 1) & (ROOM - 1));
        for (symbol, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                self.bases[at & mask] = symbol as u32;
                at = (at + step) & mask;
                while at >= rare_at {
                    at = (at + step) & mask;
                }
            }
        }
        let states = self.steps.iter_mut().zip(&mut self.bases);
        for (step, base) in states.take(size) {
            let symbol = *base as u8;
            let state = &mut next[usize::from(symbol)];
            let count = bits.checked_sub(state.checked_ilog2()?)? as u8;
            let (value, extra) = values.get(usize::from(symbol)).copied().unwrap_or((symbol.into(), 0));
            let start = (u32::from(*state) << count).wrapping_sub(size as u32);
            *step = Step { next: start, bits: count, extra, all: count + extra };
            (*base, *state) = (value, *state + 1);
        }
        self.bits = bits;
        Some(())
    }
}

/// Reads how often each symbol is. Returns the bits of the states, and the bytes that it took.
pub fn counts(input: &[u8], counts: &mut [i16]) -> Option<(u32, usize)> {
    let mut at = 0;
    let peek = |at: usize| {
        let mut word = [0; 4];
        let rest = input.get(at / 8..).unwrap_or_default();
        word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        u32::from_le_bytes(word) >> (at % 8)
    };
    let bits = (peek(at) & 15) + 5;
    at += 4;
    if bits > ROOM.ilog2() {
        return None;
    }
    let (mut left, mut symbol) = ((1_u32 << bits) + 1, 0);
    while left > 1 {
        let width = left.ilog2();
        // Numbers up to `left`: the first of them have a bit less.
        let (word, short) = (peek(at), (2 << width) - 1 - left);
        let mut value = word & ((1 << width) - 1);
        at += width as usize;
        if value >= short {
            value = word & ((2 << width) - 1);
            at += 1;
            if value >= 1 << width {
                value -= short;
            }
        }
        let count = value as i16 - 1;
        *counts.get_mut(symbol)? = count;
        left -= u32::from(count.unsigned_abs());
        symbol += 1;
        while count == 0 {
            let more = peek(at) as usize & 3;
            at += 2;
            symbol += more;
            if more < 3 {
                break;
            }
            if symbol > counts.len() {
                return None;
            }
        }
    }
    let taken = at.div_ceil(8);
    (symbol <= counts.len() && taken <= input.len()).then_some((bits, taken))
}

/// Bits, the last ones first.
pub struct Bits<'a> {
    pub input: &'a [u8],
    pub left: usize,
}

impl<'a> Bits<'a> {
    /// Behind the last bit stands a one.
    pub fn new(input: &'a [u8]) -> Option<Bits<'a>> {
        let last = input.last()?.checked_ilog2()?;
        Some(Bits { input, left: 8 * (input.len() - 1) + last as usize })
    }

    /// The next bits, at most 31; zeros when there are no more.
    pub fn peek(&self, count: u32) -> usize {
        let (at, missing) = match self.left.checked_sub(count as usize) {
            Some(at) => (at, 0),
            None => (0, count as usize - self.left),
        };
        let word = match self.input.get(at / 8..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(word) => u64::from_le_bytes(*word),
            None => self
                .input
                .get(at / 8..)
                .unwrap_or_default()
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        ((word >> (at % 8) & ((1 << (count as usize - missing)) - 1)) as usize) << missing
    }

    pub fn drop(&mut self, count: u32) -> Option<()> {
        self.left = self.left.checked_sub(count as usize)?;
        Some(())
    }

    pub fn take(&mut self, count: u32) -> Option<usize> {
        let value = self.peek(count);
        self.drop(count).map(|()| value)
    }
}
