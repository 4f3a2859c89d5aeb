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
        if offset == 0 || offset > to || len > output.len() - to {
            return None;
        }
        // SAFETY: the checks are above.
        unsafe { repeat(output.as_mut_ptr().add(to), offset, len) };
        to += len;
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

/// Sequences of few literals whose matches are short and do not overlap themselves, from `from` to `to` on, while
/// neither end is near. `IS_FAR`: any offset is behind the start. Returns how far it came, and the token when the match of that one
/// is next, behind its offset, else more than [`LAST`].
#[inline(always)]
fn short<const IS_FAR: bool>(input: &[u8], from: usize, output: &mut [u8], to: usize) -> (usize, usize, usize) {
    // One takes 1 + 14 + 2 bytes at most, and makes 14 + 16.
    let count = (input.len() - from).min(output.len() - to) / 32;
    let (input, output) = (input.as_ptr(), output.as_mut_ptr());
    // SAFETY: as counted, and with the check of the offset.
    unsafe {
        let (mut from, mut to, mut at_match) = (input.add(from), output.add(to), LAST + 1);
        for _ in 0..count {
            let token = usize::from(*from);
            let (literals, len) = (token >> 4, token & MORE);
            up_to_16(to, from.add(1), literals.min(16));
            if literals == MORE {
                break;
            }
            let offset = opaque(usize::from(u16::from_le_bytes([*from.add(literals + 1), *from.add(literals + 2)])));
            (from, to) = (from.add(literals + 3), to.add(literals));
            if len > 16 - MATCH_MIN || offset < 16 || !IS_FAR && offset > to as usize - output as usize {
                at_match = token;
                break;
            }
            up_to_16(to, to.sub(offset), len + MATCH_MIN);
            to = to.add(len + MATCH_MIN);
        }
        (from as usize - input as usize, to as usize - output as usize, at_match)
    }
}

/// The compiler is not to know that it has 16 bits, or it extends it again and again.
#[inline(always)]
fn opaque(mut offset: usize) -> usize {
    // SAFETY: it does nothing.
    unsafe { core::arch::asm!("/* {0} */", inlateout(reg) offset, options(pure, nomem, nostack, preserves_flags)) };
    offset
}
