//! gzip (RFC 1952), as kimage packs it: a header without a name. Its CRC-32 would take longer than unpacking does; the packer
//! left another sum.

use crate::inflate::{MARGIN, Tables, inflate};

const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0];
const HEADER_LEN: usize = 10;
/// CRC-32 and length, of which nothing is read that means anything.
const _: () = assert!(MARGIN == 8);

pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    static mut TABLES: Tables = Tables::ZERO;
    let rest = input.strip_prefix(HEADER).and_then(|rest| rest.get(HEADER_LEN - HEADER.len()..)).ok_or("no gzip header")?;
    let len = output.len();
    match inflate(unsafe { &mut *core::ptr::addr_of_mut!(TABLES) }, rest, output) {
        Some((_, produced)) if produced == len => Ok(()),
        _ => Err("it is damaged"),
    }
}
