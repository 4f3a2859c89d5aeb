//! LZ4's legacy frame: a magic number, then blocks, each with its length in front. (lz4_Frame_format.md,
//! lz4_Block_format.md.)

#[path = "copies.rs"]
mod copies;

use copies::{repeat, up_to_16};

const MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
/// Every block but the last unpacks to this.
const BLOCK: usize = 8 << 20;
/// The shortest match.
const MATCH_MIN: usize = 4;
/// What a token says when more bytes say it.
const MORE: usize = 15;
/// The largest token.
const LAST: usize = 0xff;
/// No offset is larger.
const FAR: usize = 0xffff;
/// What is copied at once.
const PIECE: usize = 16;
/// Can pieces be copied at once? Else [`up_to_16`] goes byte by byte.
const HAS_PIECES: bool = !cfg!(any(target_arch = "arm", target_arch = "riscv64"));
/// Longer matches are left to what begins slowly and is quick then.
const SHORT: usize = 256;
/// What a run writes at once.
const TURN: usize = 128;

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    let mut rest = input.strip_prefix(MAGIC).ok_or("no LZ4 legacy frame")?;
    let mut done = 0;
    while done < output.len() {
        let (len, behind) = rest.split_first_chunk::<4>().ok_or("it is truncated")?;
        let (packed, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or("it is truncated")?;
        rest = behind;
        let end = output.len().min(done + BLOCK);
        let got = block(packed, &mut output[done..end]).ok_or("it is damaged")?;
        if done + got != end {
            return Err("it is too short");
        }
        done = end;
    }
    Ok(())
}

/// Returns how much came out; `None` when it is damaged.
#[inline(never)]
fn block(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    loop {
        // Most are short and far from both ends.
        let at_match;
        (from, to, at_match) = match to > FAR {
            true => short::<true>(input, from, output, to),
            false => short::<false>(input, from, output, to),
        };
        // The rest of a sequence, or a whole one, with all checks.
        let mut token = at_match;
        if token > LAST {
            token = usize::from(*input.get(from)?);
            from += 1;
            let len = length(input, &mut from, token >> 4)?;
            let literals = input.get(from..)?.get(..len)?;
            output[to..].get_mut(..len)?.copy_from_slice(literals);
            (from, to) = (from + len, to + len);
            if from == input.len() {
                return Some(to);
            }
            from += 2;
        }
        let offset = usize::from(u16::from_le_bytes(*input.get(from - 2..)?.first_chunk()?));
        let len = length(input, &mut from, token & MORE)? + MATCH_MIN;
        let room = output.len() - to;
        if offset == 0 || offset > to || len > room {
            return None;
        }
        // SAFETY: the checks are above.
        unsafe { copy_match(output.as_mut_ptr().add(to), offset, len, room) };
        to += len;
    }
}

/// Copies `len` bytes to `at` from `offset` before it, where `room` bytes may be written.
///
/// # Safety
/// `offset` is not 0; from there to `at + room` is all one's own, and `len` is no more than `room`.
#[inline(always)]
unsafe fn copy_match(at: *mut u8, offset: usize, len: usize, room: usize) {
    unsafe {
        if HAS_PIECES && offset >= PIECE && len <= SHORT && room >= SHORT {
            // A little too much: what is behind comes later.
            let from = at.sub(offset);
            up_to_16(at, from, len.min(PIECE));
            up_to_16(at.add(PIECE), from.add(PIECE), len.saturating_sub(PIECE).min(PIECE));
            let mut done = 2 * PIECE;
            while done < len {
                up_to_16(at.add(done), from.add(done), (len - done).min(PIECE));
                done += PIECE;
            }
        } else if HAS_PIECES && offset == 1 && len >= TURN {
            run(at, len);
        } else {
            repeat(at, offset, len);
        }
    }
}

/// What stands before `at`, `len` times, which are no less than [`TURN`]. Kernels have megabytes of zeros.
///
/// # Safety
/// There is a byte before it, and so many behind.
#[inline(never)]
unsafe fn run(at: *mut u8, len: usize) {
    unsafe {
        let byte = at.sub(1).read();
        #[cfg(target_arch = "x86_64")]
        let piece: core::arch::x86_64::__m128i = core::arch::x86_64::_mm_set1_epi8(byte as i8);
        #[cfg(not(target_arch = "x86_64"))]
        let piece = [u64::from(byte) * 0x0101_0101_0101_0101; 2];
        let all = [piece; TURN / PIECE];
        let (mut turn, last) = (at, at.add(len - TURN));
        while turn < last {
            core::ptr::write_unaligned(turn.cast(), all);
            turn = turn.add(TURN);
        }
        core::ptr::write_unaligned(last.cast(), all);
    }
}

/// A length whose first four bits are `first`. It has no more bytes than the input, and so does not overflow.
#[inline(always)]
fn length(input: &[u8], from: &mut usize, first: usize) -> Option<usize> {
    let mut len = first;
    if first == MORE {
        loop {
            let byte = *input.get(*from)?;
            *from += 1;
            len += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Some(len)
}

/// Of each token, the largest offset whose match is not for [`short`]: it overlaps itself. Every offset, when there are many literals
/// or the match is long.
static TOO_NEAR: [u16; LAST + 1] = {
    let mut table = [u16::MAX; LAST + 1];
    let mut token = 0;
    while token < MORE << 4 {
        let len = (token & MORE) + MATCH_MIN;
        if len <= PIECE {
            table[token] = len as u16 - 1;
        }
        token += 1;
    }
    table
};

/// Sequences of few literals whose matches are short and do not overlap themselves, from `from` to `to` on, while
/// neither end is near. `IS_FAR`: any offset is behind the start. Returns how far it came, and the token when the match of that one
/// is next, behind its offset, else more than [`LAST`].
#[inline(always)]
fn short<const IS_FAR: bool>(input: &[u8], from: usize, output: &mut [u8], to: usize) -> (usize, usize, usize) {
    // One takes 1 + 14 + 2 bytes at most, and makes 14 + 16.
    let count = (input.len() - from).min(output.len() - to) / 32;
    if count == 0 {
        return (from, to, LAST + 1);
    }
    let (input, output) = (input.as_ptr(), output.as_mut_ptr());
    // SAFETY: as counted, and with the check of the offset.
    unsafe {
        let (mut from, mut to) = (input.add(from), output.add(to));
        let token;
        #[cfg(target_arch = "x86_64")]
        if IS_FAR {
            (from, to, token) = far(from, to, count);
        } else {
            (from, to, token) = near::<IS_FAR>(from, to, count, output);
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            (from, to, token) = near::<IS_FAR>(from, to, count, output);
        }
        // The literals of this one are there.
        let mut at_match = LAST + 1;
        if token < MORE << 4 {
            (from, to, at_match) = (from.add((token >> 4) + 3), to.add(token >> 4), token);
        }
        (from as usize - input as usize, to as usize - output as usize, at_match)
    }
}

/// At most `count` sequences; the token of the first that is not one of these, else more than [`LAST`].
///
/// # Safety
/// There are 32 bytes for each at both; `output` is the start.
#[inline(always)]
unsafe fn near<const IS_FAR: bool>(
    mut from: *const u8,
    mut to: *mut u8,
    count: usize,
    output: *mut u8,
) -> (*const u8, *mut u8, usize) {
    for _ in 0..count {
        unsafe {
            let token = usize::from(*from);
            let literals = token >> 4;
            up_to_16(to, from.add(1), literals);
            let offset = u16::from_le_bytes([*from.add(literals + 1), *from.add(literals + 2)]);
            let behind = to.add(literals);
            if offset <= TOO_NEAR[token] || !IS_FAR && usize::from(offset) > behind as usize - output as usize {
                return (from, to, token);
            }
            let len = (token & MORE) + MATCH_MIN;
            up_to_16(behind, behind.sub(usize::from(offset)), len);
            (from, to) = (from.add(literals + 3), behind.add(len));
        }
    }
    (from, to, LAST + 1)
}

/// The same where any offset is behind the start: most of the time is spent here.
///
/// # Safety
/// There are 32 bytes for each at both, and 64 KiB before `to`; `count` is not 0.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn far(mut from: *const u8, mut to: *mut u8, count: usize) -> (*const u8, *mut u8, usize) {
    let (left, token): (usize, usize);
    unsafe {
        core::arch::asm!(
            "2:",
            "movzx {token:e}, byte ptr [{from}]",
            "movups {piece}, [{from} + 1]",
            "movups [{to}], {piece}",
            "mov {literals:e}, {token:e}",
            "shr {literals:e}, 4",
            "movzx {offset:e}, word ptr [{from} + {literals} + 1]",
            "cmp {offset:x}, word ptr [{too_near} + 2 * {token}]",
            "jbe 3f",
            "add {to}, {literals}",
            "lea {from}, [{from} + {literals} + 3]",
            "neg {offset}",
            "movups {piece}, [{to} + {offset}]",
            "movups [{to}], {piece}",
            "and {token:e}, {more}",
            "lea {to}, [{to} + {token} + {match_min}]",
            "dec {count}",
            "jnz 2b",
            "3:",
            from = inout(reg) from,
            to = inout(reg) to,
            count = inout(reg) count => left,
            token = out(reg) token,
            literals = out(reg) _,
            offset = out(reg) _,
            piece = out(xmm_reg) _,
            too_near = in(reg) TOO_NEAR.as_ptr(),
            more = const MORE,
            match_min = const MATCH_MIN,
            options(nostack)
        );
    }
    (from, to, if left == 0 { LAST + 1 } else { token })
}
