//! LZO1X in lzop's container: blocks with their lengths and the Adler-32 of what is in them. (Linux, Documentation/staging/lzo.rst
//! and lib/decompress_unlzo.c, 6.1; lzop 1.04.)

#[path = "copies.rs"]
mod copies;

use copies::repeat;

const MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";
/// Where the flags are, and where the name, behind its length.
const FLAGS_AT: usize = 17;
const NAME_AT: usize = 33;
/// Flags that change what stands in a block or in front of it, and that of the checksum that there must be.
const FORM: u32 = 0x1f43;
const ADLER32: u32 = 1;

const TRUNCATED: &str = "it is truncated";
const DAMAGED: &str = "it is damaged";

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    unpack(input, output)
}

/// What `input` unpacks to must be as long as `output`, and nothing may stand behind it.
pub fn unpack(input: &[u8], output: &mut [u8]) -> Result<(), &'static str> {
    let mut rest = input.strip_prefix(MAGIC).ok_or("no LZO file")?;
    let header_len = input.get(NAME_AT).map_or(0, |len| usize::from(*len)) + NAME_AT + 1 - MAGIC.len();
    let header = take(&mut rest, header_len)?;
    let sum = word(&mut rest)?;
    if sum != adler32(header) {
        return Err("its checksum is wrong");
    }
    if word(&mut &header[FLAGS_AT - MAGIC.len()..])? & FORM != ADLER32 {
        return Err("it is packed in a way that this stub does not know");
    }
    let mut done = 0;
    loop {
        let len = word(&mut rest)? as usize;
        if len == 0 {
            break;
        }
        let packed_len = word(&mut rest)? as usize;
        let sum = word(&mut rest)?;
        let packed = take(&mut rest, packed_len)?;
        if len > output.len() - done {
            return Err(DAMAGED);
        }
        let block = &mut output[done..done + len];
        if packed_len == len {
            block.copy_from_slice(packed);
        } else if packed_len > len || self::block(packed, block) != Some(len) {
            return Err(DAMAGED);
        }
        if sum != adler32(block) {
            return Err("its checksum is wrong");
        }
        done += len;
    }
    if done != output.len() {
        return Err("it is too short");
    }
    if rest.is_empty() { Ok(()) } else { Err(DAMAGED) }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], &'static str> {
    let (taken, behind) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
    *rest = behind;
    Ok(taken)
}

fn word(rest: &mut &[u8]) -> Result<u32, &'static str> {
    let (word, behind) = rest.split_first_chunk::<4>().ok_or(TRUNCATED)?;
    *rest = behind;
    Ok(u32::from_be_bytes(*word))
}

/// RFC 1950, 8.2.
fn adler32(bytes: &[u8]) -> u32 {
    /// So many bytes do not overflow.
    const MOST: usize = 5552;
    const PRIME: u32 = 65521;
    let (mut a, mut b) = (1, 0);
    for part in bytes.chunks(MOST) {
        for byte in part {
            a += u32::from(*byte);
            b += a;
        }
        a %= PRIME;
        b %= PRIME;
    }
    b << 16 | a
}

/// Returns how much came out; `None` when it is damaged.
#[inline(never)]
fn block(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    // How many literals came right before: none, one to three, more.
    const MORE: usize = 4;
    let mut before = 0;
    if let Some(first @ 18..) = input.first() {
        let len = usize::from(*first) - 17;
        from = 1;
        literals(input, &mut from, output, &mut to, len)?;
        before = len.min(MORE);
    }
    loop {
        let code = usize::from(*input.get(from)?);
        from += 1;
        let (len, distance, behind);
        match code {
            0..16 if before == 0 => {
                let len = 3 + length(input, &mut from, code, 15)?;
                literals(input, &mut from, output, &mut to, len)?;
                before = MORE;
                continue;
            }
            0..16 => {
                let high = usize::from(*input.get(from)?) << 2;
                from += 1;
                behind = code & 3;
                (len, distance) = match before {
                    MORE => (3, (code >> 2) + high + 0x801),
                    _ => (2, (code >> 2) + high + 1),
                };
            }
            64.. => {
                let high = usize::from(*input.get(from)?) << 3;
                from += 1;
                behind = code & 3;
                (len, distance) = ((code >> 5) + 1, (code >> 2 & 7) + high + 1);
            }
            _ => {
                let (most, base) = if code < 32 { (7, (code & 8) << 11) } else { (31, 0) };
                len = 2 + length(input, &mut from, code & most, most)?;
                let low = usize::from(u16::from_le_bytes(*input.get(from..)?.first_chunk()?));
                from += 2;
                behind = low & 3;
                let far = base + (low >> 2);
                if code < 32 && far == 0 {
                    return (from == input.len()).then_some(to);
                }
                distance = if code < 32 { far + 0x4000 } else { far + 1 };
            }
        }
        if distance > to || len > output.len() - to {
            return None;
        }
        // SAFETY: the checks are above.
        unsafe { repeat(output.as_mut_ptr().add(to), distance, len) };
        to += len;
        literals(input, &mut from, output, &mut to, behind)?;
        before = behind;
    }
}

#[inline(always)]
fn literals(input: &[u8], from: &mut usize, output: &mut [u8], to: &mut usize, len: usize) -> Option<()> {
    let bytes = input.get(*from..)?.get(..len)?;
    output[*to..].get_mut(..len)?.copy_from_slice(bytes);
    (*from, *to) = (*from + len, *to + len);
    Some(())
}

/// A length that a code has, or, where it has 0, bytes behind it. It has no more bytes than the input, and so does not overflow.
#[inline(always)]
fn length(input: &[u8], from: &mut usize, len: usize, most: usize) -> Option<usize> {
    if len != 0 {
        return Some(len);
    }
    let mut len = most;
    loop {
        let byte = usize::from(*input.get(*from)?);
        *from += 1;
        if byte != 0 {
            return Some(len + byte);
        }
        len += 255;
    }
}
