//! gzip: RFC 1952 around RFC 1951.

#[path = "inflate.rs"]
mod inflate;

use crate::crc32::crc32;
use inflate::{Tables, inflate};

const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const FHCRC: u8 = 1 << 1;

/// What stands in front of the deflated data.
fn header_len(input: &[u8]) -> Option<usize> {
    let flags = match input {
        [0x1f, 0x8b, 8, flags, ..] => *flags,
        _ => return None,
    };
    let mut at = 10;
    // The ARM stub takes what kimage packs.
    if cfg!(target_arch = "arm") {
        return (flags == 0).then_some(at);
    }
    if flags & FEXTRA != 0 {
        let len = input.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            at += input.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & FHCRC != 0 {
        at += 2;
    }
    Some(at)
}

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    static mut TABLES: Tables = Tables::ZERO;
    let at = header_len(input).ok_or("no gzip header")?;
    let deflated = input.get(at..).ok_or("it is truncated")?;
    let tables = unsafe { &mut *core::ptr::addr_of_mut!(TABLES) };
    let (consumed, produced) = inflate(tables, deflated, output).ok_or("it is damaged")?;
    if produced != output.len() {
        return Err("it is too short");
    }
    // The ARM stub holds another sum against the kernel, in a tenth of the instructions.
    if cfg!(target_arch = "arm") {
        return Ok(());
    }
    let trailer = deflated.get(consumed..).and_then(|rest| rest.first_chunk::<8>()).ok_or("it is truncated")?;
    let wanted = u64::from(crc32(output)) | (output.len() as u64) << 32;
    if u64::from_le_bytes(*trailer) != wanted {
        return Err("its checksum is wrong");
    }
    Ok(())
}
