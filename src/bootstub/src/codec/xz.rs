//! xz: one stream of LZMA2, with the CPU's branch converter or without, CRC-32 or none; that is what kimage packs.
//! (xz-file-format.txt 1.2.)

#[path = "branches.rs"]
mod branches;
#[path = "lzma2.rs"]
mod lzma2;
#[path = "x86.rs"]
mod x86;

use crate::crc32::crc32;
pub use lzma2::Models;

const MAGIC: &[u8] = b"\xfd7zXZ\0";
const FOOTER_MAGIC: &[u8] = b"YZ";
const FLAGS_NO_CHECK: &[u8] = &[0, 0];
const FLAGS_CRC32: &[u8] = &[0, 1];
/// Flags of a block, beside how many filters there are, less one: the sizes that its header has.
const HAS_PACKED: u8 = 0x40;
const HAS_UNPACKED: u8 = 0x80;
/// Filters.
const X86: u8 = 0x04;
const ARM: u8 = 0x07;
const ARM_THUMB: u8 = 0x08;
const ARM64: u8 = 0x0a;
const RISCV: u8 = 0x0b;
const LZMA2: u8 = 0x21;

const TRUNCATED: &str = "it is truncated";
const DAMAGED: &str = "it is damaged";
const CHECKSUM: &str = "its checksum is wrong";
const UNKNOWN: &str = "it is packed in a way that this stub does not know";

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    static mut MODELS: Models = Models::ZERO;
    unpack(unsafe { &mut *core::ptr::addr_of_mut!(MODELS) }, input, output)
}

/// What `input` unpacks to must be as long as `output`, and nothing may stand behind it.
pub fn unpack(models: &mut Models, input: &[u8], output: &mut [u8]) -> Result<(), &'static str> {
    let mut rest = input;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return Err("no xz stream");
    }
    let flags = summed(&mut rest, 2)?;
    let has_check = flags == FLAGS_CRC32;
    if !has_check && flags != FLAGS_NO_CHECK {
        return Err(UNKNOWN);
    }
    // What the index has to say.
    let (mut blocks, mut sizes, mut done) = (0, 0, 0);
    // It begins with a zero, where a block has its header's length.
    while rest.first().is_some_and(|len| *len != 0) {
        let before = rest.len();
        let header_len = (usize::from(rest[0]) + 1) * 4 - 4;
        let converter = filters(summed(&mut rest, header_len)?)?;
        let (packed, len) = lzma2::unpack(models, rest, &mut output[done..]).ok_or(DAMAGED)?;
        take(&mut rest, packed)?;
        let block = &mut output[done..done + len];
        match converter {
            Some((X86, start)) if is_for(X86) => x86::undo(block, start),
            Some((ARM, start)) if is_for(ARM) => branches::arm(block, start),
            Some((ARM_THUMB, start)) if is_for(ARM_THUMB) => branches::arm_thumb(block, start),
            Some((ARM64, start)) if is_for(ARM64) => branches::arm64(block, start),
            Some((RISCV, start)) if is_for(RISCV) => branches::riscv(block, start),
            _ => {}
        }
        done += len;
        zeros(take(&mut rest, packed.wrapping_neg() % 4)?)?;
        let sum: &[u8] = if has_check { take(&mut rest, 4)? } else { &[] };
        // The ARM stub holds another sum against the kernel, in a tenth of the instructions.
        if has_check && !cfg!(target_arch = "arm") && sum != crc32(block).to_le_bytes() {
            return Err(CHECKSUM);
        }
        (blocks, sizes) = (blocks + 1, sizes + before - rest.len());
    }
    if done != output.len() {
        return Err("it is too short");
    }
    tail(rest, flags, [blocks, sizes as u64, done as u64])
}

/// Does a stub for this CPU undo this branch converter? Tests do all.
const fn is_for(converter: u8) -> bool {
    match converter {
        X86 => cfg!(any(target_arch = "x86", target_arch = "x86_64")),
        ARM | ARM_THUMB => cfg!(any(target_arch = "arm", test)),
        ARM64 => cfg!(any(target_arch = "aarch64", test)),
        RISCV => cfg!(any(target_arch = "riscv64", test)),
        _ => false,
    }
}

/// The branch converter before LZMA2, when there is one, and where it began to count.
fn filters(header: &[u8]) -> Result<Option<(u8, u32)>, &'static str> {
    let mut rest = header.get(1..).ok_or(DAMAGED)?;
    let flags = take(&mut rest, 1)?[0];
    for size in [HAS_PACKED, HAS_UNPACKED] {
        if flags & size != 0 {
            number(&mut rest)?;
        }
    }
    let mut start = None;
    match flags & !(HAS_PACKED | HAS_UNPACKED) {
        0 => (),
        1 => {
            start = match take(&mut rest, 2)? {
                [converter, 0] if is_for(*converter) => Some((*converter, 0)),
                [converter, 4] if is_for(*converter) => {
                    take(&mut rest, 4)?.try_into().ok().map(|start| (*converter, u32::from_le_bytes(start)))
                }
                _ => return Err(UNKNOWN),
            }
        }
        _ => return Err(UNKNOWN),
    }
    match take(&mut rest, 3)? {
        // The size of the dictionary does not matter: it is all that was unpacked.
        [LZMA2, 1, _] => zeros(rest).map(|()| start),
        _ => Err(UNKNOWN),
    }
}

/// Index and footer. `wanted`: blocks, all of their bytes packed, and unpacked.
fn tail(all: &[u8], flags: &[u8], wanted: [u64; 3]) -> Result<(), &'static str> {
    let mut rest = all.get(1..).ok_or(TRUNCATED)?;
    let mut found = [number(&mut rest)?, 0, 0];
    for _ in 0..found[0] {
        let [packed, unpacked] = [number(&mut rest)?, number(&mut rest)?];
        found[1] = found[1].wrapping_add(packed.next_multiple_of(4));
        found[2] = found[2].wrapping_add(unpacked);
    }
    let len = all.len() - rest.len();
    zeros(take(&mut rest, len.wrapping_neg() % 4)?)?;
    let len = len.next_multiple_of(4);
    rest = all;
    summed(&mut rest, len)?;
    let sum = take(&mut rest, 4)?;
    let end = take(&mut rest, 6)?;
    let (index_words, end_flags) = end.split_at(4);
    let is_end = rest == FOOTER_MAGIC && end_flags == flags && index_words == (len as u32 / 4).to_le_bytes();
    if found != wanted || !is_end || sum != crc32(end).to_le_bytes() {
        return Err(DAMAGED);
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], &'static str> {
    let (taken, behind) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
    *rest = behind;
    Ok(taken)
}

/// Bytes with their CRC-32 behind them.
fn summed<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], &'static str> {
    let bytes = take(rest, len)?;
    if take(rest, 4)? != crc32(bytes).to_le_bytes() {
        return Err(CHECKSUM);
    }
    Ok(bytes)
}

/// Seven bits a byte, the lowest first; fewer than 2^56 here.
fn number(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for shift in (0..56).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(DAMAGED)
}

fn zeros(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(DAMAGED) }
}
