//! The sequences of a block (RFC 8878, 3.1.1.3.2 and 4): literals that are copied, then what was unpacked before.

use super::copies::{MORE, repeat, repeat_and_more, up_to_16};
use super::fse::{Bits, ROOM, Table, Value};

/// What the states of a table stand for, in the order of the tables.
#[derive(Clone, Copy)]
pub enum Kind {
    Literals,
    Offset,
    Match,
}

/// A kind of codes.
pub struct Codes {
    pub values: &'static [Value],
    /// Bits of a state, at most.
    pub bits_max: u32,
    /// The table that no block has to bring along.
    pub usual: &'static [i16],
    pub usual_bits: u32,
}

/// Each begins where the one before ends.
const fn values<const LEN: usize>(mut base: u32, extra: [u8; LEN]) -> [Value; LEN] {
    let mut values = [(0, 0); LEN];
    let mut code = 0;
    while code < LEN {
        values[code] = (base, extra[code]);
        base += 1 << extra[code];
        code += 1;
    }
    values
}

/// Less what stands for an offset of a sequence before: the first two are among those.
const OFFSETS: [Value; 32] = {
    let mut values = [(0, 0); 32];
    let mut code = 0;
    while code < 32 {
        values[code] = ((1_u32 << code).wrapping_sub(if code < 2 { 1 } else { 3 }), code as u8);
        code += 1;
    }
    values
};

#[rustfmt::skip]
pub static KINDS: [Codes; 3] = [
    Codes {
        values: &values(0, [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ]),
        bits_max: 9,
        usual: &[
            4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
        ],
        usual_bits: 6,
    },
    Codes {
        values: &OFFSETS,
        bits_max: 8,
        usual: &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
        usual_bits: 5,
    },
    Codes {
        values: &values(3, [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2,
            3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ]),
        bits_max: 9,
        usual: &[
            1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
        ],
        usual_bits: 6,
    },
];

pub struct Tables {
    pub kinds: [Table; 3],
    /// The lowest bits, by their number.
    masks: [u32; 32],
}

impl Tables {
    pub const ZERO: Tables = Tables { kinds: [Table::ZERO; 3], masks: [0; 32] };

    /// What does not depend on what is unpacked; the file has no room for it.
    pub fn prepare(&mut self) {
        self.masks = core::array::from_fn(|bits| (1 << bits) - 1);
    }
}

/// Literals that are copied, and what is copied behind them.
#[derive(Clone, Copy)]
struct Sequence {
    literals: usize,
    len: usize,
    offset: usize,
}

/// What is written too much, and read.
const SLACK: usize = 16 + MORE;
/// Bits of a word that is filled up as far as whole bytes go.
const WORD: u32 = u64::BITS;
/// An address and an offset are less than half of what there is: their difference tells which is larger.
const IS_WIDE: bool = usize::BITS >= 64;

/// The sequences of a block on their way.
pub struct Run<'a> {
    tables: &'a Tables,
    bits: Bits<'a>,
    /// By kind.
    states: [usize; 3],
    /// Sequences that are left.
    count: usize,
    /// Literals, and what may be read behind them.
    literals: &'a [u8],
    from: usize,
    literals_len: usize,
    /// The last offsets.
    repeats: &'a mut [usize; 3],
    output: &'a mut [u8],
    to: usize,
}

impl<'a> Run<'a> {
    /// `literals` has more than `literals_len`, as `copies::MORE` says.
    #[allow(clippy::too_many_arguments, reason = "all of it is needed")]
    pub fn new(
        tables: &'a Tables,
        input: &'a [u8],
        count: usize,
        literals: &'a [u8],
        literals_len: usize,
        repeats: &'a mut [usize; 3],
        output: &'a mut [u8],
        to: usize,
    ) -> Option<Run<'a>> {
        let mut bits = Bits::new(input)?;
        let [a, b, c] = &tables.kinds;
        let states = [bits.take(a.bits)?, bits.take(b.bits)?, bits.take(c.bits)?];
        Some(Run { tables, bits, states, count, literals, from: 0, literals_len, repeats, output, to })
    }

    /// All of them, and the literals that are left. Returns where that ends in the output.
    pub fn all(mut self) -> Option<usize> {
        while self.count != 0 {
            let Sequence { literals, len, offset } = match self.quick()? {
                Some(sequence) => sequence,
                None => self.next()?,
            };
            self.copy_literals(literals)?;
            if offset == 0 || offset > self.to || len > self.output.len() - self.to {
                return None;
            }
            // SAFETY: the checks are above.
            unsafe { repeat(self.output.as_mut_ptr().add(self.to), offset, len) };
            self.to += len;
        }
        self.copy_literals(self.literals_len - self.from)?;
        (self.bits.left == 0).then_some(self.to)
    }

    fn copy_literals(&mut self, len: usize) -> Option<()> {
        let literals = self.literals[..self.literals_len].get(self.from..)?.get(..len)?;
        self.output[self.to..].get_mut(..len)?.copy_from_slice(literals);
        (self.from, self.to) = (self.from + len, self.to + len);
        Some(())
    }

    /// Reads one, with all checks.
    fn next(&mut self) -> Option<Sequence> {
        let states = self.states;
        let of = |kind: Kind| {
            let (table, state) = (&self.tables.kinds[kind as usize], states[kind as usize] & (ROOM - 1));
            (table.steps[state], table.bases[state] as usize)
        };
        let [(literals_step, literals), (offset_step, offset), (len_step, len)] =
            [of(Kind::Literals), of(Kind::Offset), of(Kind::Match)];
        let value = offset.wrapping_add(self.bits.take(offset_step.extra.into())?);
        let len = len + self.bits.take(len_step.extra.into())?;
        let literals = literals + self.bits.take(literals_step.extra.into())?;
        self.count -= 1;
        // The last one has no next states.
        if self.count != 0 {
            for (kind, step) in [(Kind::Literals, literals_step), (Kind::Match, len_step), (Kind::Offset, offset_step)]
            {
                self.states[kind as usize] = step.next as usize + self.bits.take(step.bits.into())?;
            }
        }
        let offset = resolve(self.repeats, offset_step.extra, value, literals);
        Some(Sequence { literals, len, offset })
    }

    /// As many as can be read and copied without coming near an end, and without much that is rare. Returns one that was read
    /// and is still to be copied, if there is one; `None` when it is damaged.
    #[inline(always)]
    fn quick(&mut self) -> Option<Option<Sequence>> {
        let input_end = self.bits.left.div_ceil(8);
        let (Some(first), Some(limit)) = (input_end.checked_sub(8), self.output.len().checked_sub(SLACK)) else {
            return Some(None);
        };
        let start = self.output.as_mut_ptr();
        if self.to > limit || IS_WIDE && (start as isize) < 0 {
            return Some(None);
        }
        let input = self.bits.input.as_ptr();
        let [literal_table, offset_table, len_table] = &self.tables.kinds;
        let masks = &self.tables.masks;
        let mut pending = None;
        // SAFETY: eight bytes are read where they are in the input; states are what tables have; what is copied is held to
        // both ends, with what is copied too much.
        unsafe {
            let (mut from, mut moved) = (input.add(first), (8 * input_end - self.bits.left) as u32);
            let (mut to, limit) = (start.add(self.to), start.add(limit));
            let mut literal = self.literals.as_ptr().add(self.from);
            let literals_end = self.literals.as_ptr().add(self.literals_len);
            let [mut literals_state, mut offset_state, mut len_state] = self.states;
            let [mut a, mut b, mut c] = *self.repeats;
            let mut count = self.count;
            while count > 1 {
                from = from.wrapping_sub((moved >> 3) as usize);
                moved &= 7;
                if from < input {
                    break;
                }
                // What comes next is at the top.
                let mut word = u64::from_le(from.cast::<u64>().read_unaligned()) << moved;
                let literals_step = literal_table.steps.as_ptr().add(literals_state);
                let offset_step = offset_table.steps.as_ptr().add(offset_state);
                let len_step = len_table.steps.as_ptr().add(len_state);
                let all = moved
                    + u32::from((*literals_step).all)
                    + u32::from((*offset_step).all)
                    + u32::from((*len_step).all);
                if all > WORD {
                    break;
                }
                moved = all;
                count -= 1;
                macro_rules! take {
                    ($bits:expr) => {{
                        let bits = u32::from($bits);
                        word = word.rotate_left(bits);
                        (word as u32 & *masks.as_ptr().add(bits as usize)) as usize
                    }};
                }
                let offset_bits = (*offset_step).extra;
                let value = (*offset_table.bases.as_ptr().add(offset_state) as usize).wrapping_add(take!(offset_bits));
                let len = *len_table.bases.as_ptr().add(len_state) as usize + take!((*len_step).extra);
                let literals =
                    *literal_table.bases.as_ptr().add(literals_state) as usize + take!((*literals_step).extra);
                literals_state = (*literals_step).next as usize + take!((*literals_step).bits);
                len_state = (*len_step).next as usize + take!((*len_step).bits);
                offset_state = (*offset_step).next as usize + take!((*offset_step).bits);
                if offset_bits > 1 {
                    (a, b, c) = (value, a, b);
                } else {
                    let mut repeats = [a, b, c];
                    if resolve(&mut repeats, offset_bits, value, literals) == 0 {
                        return None;
                    }
                    [a, b, c] = repeats;
                }
                let (literal_end, at) = (literal.wrapping_add(literals), to.wrapping_add(literals));
                let end = at.wrapping_add(len);
                if literal_end > literals_end || end > limit || !IS_WIDE && end < to {
                    pending = Some(Sequence { literals, len, offset: a });
                    break;
                }
                up_to_16(to, literal, literals.min(16));
                let mut done = 16;
                while done < literals {
                    up_to_16(to.add(done), literal.add(done), (literals - done).min(16));
                    done += 16;
                }
                (literal, to) = (literal_end, end);
                let is_before = match IS_WIDE {
                    true => (at as isize).wrapping_sub(a as isize) < start as isize,
                    false => a > at as usize - start as usize,
                };
                if is_before {
                    return None;
                }
                repeat_and_more(at, a, len);
            }
            self.bits.left = 8 * (from.wrapping_add(8) as usize).wrapping_sub(input as usize) - moved as usize;
            (self.to, self.from) =
                (to as usize - start as usize, self.literals_len - (literals_end as usize - literal as usize));
            self.states = [literals_state, offset_state, len_state];
            *self.repeats = [a, b, c];
            self.count = count;
        }
        Some(pending)
    }
}

/// The offset that a code of so many bits stands for; 0: there is none.
#[inline(always)]
fn resolve(repeats: &mut [usize; 3], bits: u8, value: usize, literals: usize) -> usize {
    let [a, b, c] = *repeats;
    if bits > 1 {
        *repeats = [value, a, b];
        return value;
    }
    match value + usize::from(literals == 0) {
        0 => {}
        1 => *repeats = [b, a, c],
        2 => *repeats = [c, a, b],
        _ => *repeats = [a.wrapping_sub(1), a, b],
    }
    repeats[0]
}
