//! LZMA2, straight into the kernel's place: what is unpacked is its own dictionary, so that nothing is copied twice and
//! no window takes memory. (xz-file-format.txt 5.3.1; the LZMA specification of the LZMA SDK.)
//!
//! Of a large kernel, that is a hundred million bits: all of a chunk is one function, which has them in registers.

/// Lengths of LZMA: the shortest match, and how long the first two of three ranges of lengths are.
const MATCH_MIN: usize = 2;
const SHORT: usize = 8;

/// The coder's state after a literal, by the state before. Below 7, what came before was a literal.
const AFTER_LITERAL: [u8; 16] = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5, 0, 0, 0, 0];
const LITERALS: usize = 7;

/// How likely the next bit is 0, in 2048ths.
type Model = u16;
const EVEN: Model = 1024;

struct Lengths {
    /// Is it in the second range, in the third?
    choice: [Model; 2],
    short: [[Model; 8]; 16],
    middle: [[Model; 8]; 16],
    long: [Model; 256],
}

/// All that is learned from the data. Sizes are powers of two, so that a mask is the check of an index.
pub struct Models {
    literal: [[Model; 0x400]; 16],
    is_match: [[Model; 16]; 16],
    is_repeated: [Model; 16],
    is_not_last: [Model; 16],
    is_not_second: [Model; 16],
    is_fourth: [Model; 16],
    is_long: [[Model; 16]; 16],
    slot: [[Model; 64]; 4],
    distance: [Model; 128],
    align: [Model; 16],
    new: Lengths,
    repeated: Lengths,
}

impl Lengths {
    const ZERO: Lengths = Lengths { choice: [0; 2], short: [[0; 8]; 16], middle: [[0; 8]; 16], long: [0; 256] };

    fn reset(&mut self) {
        self.choice.fill(EVEN);
        self.short.as_flattened_mut().fill(EVEN);
        self.middle.as_flattened_mut().fill(EVEN);
        self.long.fill(EVEN);
    }
}

impl Models {
    pub const ZERO: Models = Models {
        literal: [[0; 0x400]; 16],
        is_match: [[0; 16]; 16],
        is_repeated: [0; 16],
        is_not_last: [0; 16],
        is_not_second: [0; 16],
        is_fourth: [0; 16],
        is_long: [[0; 16]; 16],
        slot: [[0; 64]; 4],
        distance: [0; 128],
        align: [0; 16],
        new: Lengths::ZERO,
        repeated: Lengths::ZERO,
    };

    fn reset(&mut self) {
        self.literal.as_flattened_mut().fill(EVEN);
        self.is_match.as_flattened_mut().fill(EVEN);
        self.is_long.as_flattened_mut().fill(EVEN);
        self.slot.as_flattened_mut().fill(EVEN);
        self.distance.fill(EVEN);
        for models in [
            &mut self.is_repeated,
            &mut self.is_not_last,
            &mut self.is_not_second,
            &mut self.is_fourth,
            &mut self.align,
        ] {
            models.fill(EVEN);
        }
        self.new.reset();
        self.repeated.reset();
    }
}

/// The range decoder, over one chunk. Behind the chunk's end it reads zeros; [`Bits::finish`] tells.
struct Bits<'a> {
    range: u32,
    code: u32,
    input: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(input: &'a [u8]) -> Option<Self> {
        match input {
            [0, a, b, c, d, ..] => Some(Bits { range: !0, code: u32::from_be_bytes([*a, *b, *c, *d]), input, at: 5 }),
            _ => None,
        }
    }

    #[inline(always)]
    fn fill(&mut self) {
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(self.input.get(self.at).copied().unwrap_or(0));
            self.at += 1;
        }
    }

    /// Without branches, for nobody can tell where they would go: quicker on a CPU, and more so under emulation.
    #[inline(always)]
    fn bit(&mut self, model: &mut Model) -> usize {
        self.fill();
        let chance = i32::from(*model);
        let bound = (self.range >> 11) * chance as u32;
        // All ones when the bit is 0.
        let zero = u32::from(self.code < bound).wrapping_neg();
        let rest = self.range - bound;
        self.range = rest ^ (rest ^ bound) & zero;
        self.code -= bound & !zero;
        // A 32nd of the way to 2048 (rounded down: hence 31), or to 0.
        *model = (chance - ((chance + (zero as i32 & (31 - 2048))) >> 5)) as Model;
        zero.wrapping_add(1) as usize
    }

    /// A number of `count` bits, the highest first; each has its model by those before it.
    #[inline(always)]
    fn tree<const LEN: usize>(&mut self, models: &mut [Model; LEN]) -> usize {
        let mut node = 1;
        for _ in 0..LEN.trailing_zeros() {
            node = node << 1 | self.bit(&mut models[node & (LEN - 1)]);
        }
        node - LEN
    }

    /// A number of `count` bits, the lowest first; models from `at` on, without the one of an empty tree.
    #[inline(always)]
    fn reverse_tree<const LEN: usize>(&mut self, models: &mut [Model; LEN], at: usize, count: u32) -> usize {
        let (mut node, mut value) = (1, 0);
        for index in 0..count {
            let bit = self.bit(&mut models[at.wrapping_add(node) & (LEN - 1)]);
            node = node << 1 | bit;
            value |= bit << index;
        }
        value
    }

    /// `count` bits that are as likely 0 as 1.
    #[inline(always)]
    fn direct(&mut self, count: u32) -> usize {
        let mut value = 0;
        for _ in 0..count {
            self.fill();
            self.range >>= 1;
            let bit = u32::from(self.code >= self.range);
            self.code -= self.range & bit.wrapping_neg();
            value = value << 1 | bit as usize;
        }
        value
    }

    #[inline(always)]
    fn length(&mut self, models: &mut Lengths, position: usize) -> usize {
        if self.bit(&mut models.choice[0]) == 0 {
            return MATCH_MIN + self.tree(&mut models.short[position & 15]);
        }
        if self.bit(&mut models.choice[1]) == 0 {
            return MATCH_MIN + SHORT + self.tree(&mut models.middle[position & 15]);
        }
        MATCH_MIN + 2 * SHORT + self.tree(&mut models.long)
    }

    /// How far back, less one.
    #[inline(always)]
    fn distance(&mut self, models: &mut Models, len: usize) -> usize {
        let slot = self.tree(&mut models.slot[(len - MATCH_MIN).min(3)]);
        if slot < 4 {
            return slot;
        }
        let count = (slot as u32 >> 1) - 1;
        let base = (2 | slot & 1) << count;
        if slot < 14 {
            return base + self.reverse_tree(&mut models.distance, base.wrapping_sub(slot), count);
        }
        let high = self.direct(count - 4) << 4;
        base + high + self.reverse_tree(&mut models.align, 0, 4)
    }

    /// Was everything read, and nothing behind?
    fn finish(mut self) -> bool {
        self.fill();
        self.at == self.input.len() && self.code == 0
    }
}

/// What goes on from chunk to chunk.
struct Decoder<'a> {
    models: &'a mut Models,
    state: usize,
    /// The last distances, less one; the latest first.
    distances: [usize; 4],
    /// By how many bits of the previous byte literals differ, and masks for the position.
    literal_bits: u32,
    literal_mask: usize,
    position_mask: usize,
}

impl Decoder<'_> {
    fn reset(&mut self) {
        self.models.reset();
        self.state = 0;
        self.distances = [0; 4];
    }

    fn set_properties(&mut self, byte: u8) -> Option<()> {
        let (lc, lp, pb) = (byte % 9, byte / 9 % 5, byte / 45);
        if pb > 4 || lc + lp > 4 {
            return None;
        }
        self.literal_bits = lc.into();
        self.literal_mask = (1 << lp) - 1;
        self.position_mask = (1 << pb) - 1;
        Some(())
    }

    /// One chunk, to `dictionary[from..to]`. `None` when it is damaged.
    fn chunk(&mut self, input: &[u8], dictionary: &mut [u8], from: usize, to: usize) -> Option<()> {
        self.run(Bits::new(input)?, dictionary, from, to)?.finish().then_some(())
    }

    #[inline(always)]
    fn run<'b>(&mut self, mut bits: Bits<'b>, dictionary: &mut [u8], from: usize, to: usize) -> Option<Bits<'b>> {
        let models = &mut *self.models;
        let [mut last, mut second, mut third, mut fourth] = self.distances;
        let mut state = self.state;
        let mut at = from;
        while at < to {
            let position = at & self.position_mask;
            if bits.bit(&mut models.is_match[state & 15][position & 15]) == 0 {
                let before = at.checked_sub(1).map_or(0, |at| usize::from(dictionary[at]));
                let group = (at & self.literal_mask) << self.literal_bits | before >> (8 - self.literal_bits);
                let literal = &mut models.literal[group & 15];
                let mut node = 1;
                if state < LITERALS {
                    for _ in 0..8 {
                        node = node << 1 | bits.bit(&mut literal[node & 0xff]);
                    }
                } else {
                    // As long as they agree, the bits of what a repetition would have brought choose the models.
                    let mut expected = usize::from(*dictionary.get(at.checked_sub(last + 1)?)?) << 1;
                    let mut agrees = 0x100;
                    for _ in 0..8 {
                        let wanted = expected & agrees;
                        let bit = bits.bit(&mut literal[(agrees + wanted + node) & 0x3ff]);
                        agrees &= if bit != 0 { expected } else { !expected };
                        node = node << 1 | bit;
                        expected <<= 1;
                    }
                }
                dictionary[at] = node as u8;
                at += 1;
                state = AFTER_LITERAL[state & 15].into();
                continue;
            }
            let after_literal = state < LITERALS;
            let len;
            if bits.bit(&mut models.is_repeated[state & 15]) == 0 {
                (second, third, fourth) = (last, second, third);
                len = bits.length(&mut models.new, position);
                last = bits.distance(models, len);
                state = if after_literal { 7 } else { 10 };
            } else {
                let mut is_long = true;
                if bits.bit(&mut models.is_not_last[state & 15]) == 0 {
                    is_long = bits.bit(&mut models.is_long[state & 15][position & 15]) != 0;
                } else if bits.bit(&mut models.is_not_second[state & 15]) == 0 {
                    (last, second) = (second, last);
                } else if bits.bit(&mut models.is_fourth[state & 15]) == 0 {
                    (last, second, third) = (third, last, second);
                } else {
                    (last, second, third, fourth) = (fourth, last, second, third);
                }
                if is_long {
                    len = bits.length(&mut models.repeated, position);
                    state = if after_literal { 8 } else { 11 };
                } else {
                    len = 1;
                    state = if after_literal { 9 } else { 11 };
                }
            }
            if last >= at || len > to - at {
                return None;
            }
            repeat(dictionary, at, last + 1, len);
            at += len;
        }
        self.distances = [last, second, third, fourth];
        self.state = state;
        Some(bits)
    }

    #[allow(dead_code, reason = "of LZMA alone")]
    /// Is a match next that is as far away as none can be: the mark of the end?
    fn is_at_end(&mut self, bits: &mut Bits<'_>, at: usize) -> bool {
        let (state, position, models) = (self.state, at & self.position_mask, &mut *self.models);
        bits.bit(&mut models.is_match[state & 15][position & 15]) != 0
            && bits.bit(&mut models.is_repeated[state & 15]) == 0
            && {
                let len = bits.length(&mut models.new, position);
                bits.distance(models, len) as u32 == u32::MAX
            }
    }
}

/// Unpacks one stream of LZMA, which has a mark at its end or not. `None` when it is damaged, or not as long as `output`.
#[allow(dead_code, reason = "of LZMA alone")]
pub fn unpack_alone(
    models: &mut Models,
    properties: u8,
    input: &[u8],
    output: &mut [u8],
    is_marked: bool,
) -> Option<()> {
    let mut decoder =
        Decoder { models, state: 0, distances: [0; 4], literal_bits: 0, literal_mask: 0, position_mask: 0 };
    decoder.reset();
    decoder.set_properties(properties)?;
    let len = output.len();
    let mut bits = decoder.run(Bits::new(input)?, output, 0, len)?;
    (!is_marked || decoder.is_at_end(&mut bits, len)).then_some(())?;
    bits.finish().then_some(())
}

/// Copies `len` bytes to `at` from `distance` before it. Other bytes behind them may change, too.
#[inline(always)]
fn repeat(bytes: &mut [u8], at: usize, distance: usize, len: usize) {
    let (from, end) = (at - distance, at + len);
    if distance < 8 || end + 8 > bytes.len() {
        for at in at..end {
            bytes[at] = bytes[at - distance];
        }
        return;
    }
    let bytes = bytes.as_mut_ptr();
    for step in (0..len).step_by(8) {
        // SAFETY: it ends less than 8 bytes behind `end`; the check is above.
        unsafe {
            let word = bytes.add(from + step).cast::<u64>().read_unaligned();
            bytes.add(at + step).cast::<u64>().write_unaligned(word);
        }
    }
}

/// Unpacks up to the end mark. Returns how much of input and output it took; `None` when it is damaged.
pub fn unpack(models: &mut Models, input: &[u8], output: &mut [u8]) -> Option<(usize, usize)> {
    let mut decoder =
        Decoder { models, state: 0, distances: [0; 4], literal_bits: 0, literal_mask: 0, position_mask: 0 };
    let (mut dictionary, mut has_properties) = (None, false);
    let mut at = 0;
    let mut rest = input;
    loop {
        let (&control, behind) = rest.split_first()?;
        rest = behind;
        if control == 0 {
            return Some((input.len() - rest.len(), at));
        }
        if control == 1 || control >= 0xe0 {
            dictionary = Some(at);
            has_properties = false;
        }
        let start = dictionary?;
        let (low, behind) = rest.split_first_chunk::<2>()?;
        rest = behind;
        let mut len = usize::from(u16::from_be_bytes(*low)) + 1;
        if control >= 0x80 {
            len += usize::from(control & 0x1f) << 16;
            let (packed, behind) = rest.split_first_chunk::<2>()?;
            rest = behind;
            if control >= 0xc0 {
                let (byte, behind) = rest.split_first()?;
                rest = behind;
                decoder.set_properties(*byte)?;
                has_properties = true;
            }
            if control >= 0xa0 {
                decoder.reset();
            }
            if !has_properties {
                return None;
            }
            let (chunk, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes(*packed)) + 1)?;
            rest = behind;
            if len > output.len() - at {
                return None;
            }
            decoder.chunk(chunk, &mut output[start..], at - start, at - start + len)?;
        } else if control <= 2 {
            let (chunk, behind) = rest.split_at_checked(len)?;
            rest = behind;
            output.get_mut(at..at + len)?.copy_from_slice(chunk);
        } else {
            return None;
        }
        at += len;
    }
}
