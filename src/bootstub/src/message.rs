//! Messages, on whatever console a program has.

use crate::console::put_byte;
use uefi_raw::protocol::console::SimpleTextOutputProtocol;

/// Writes a byte to the firmware's console, which is there.
pub fn to_firmware(console: *mut SimpleTextOutputProtocol, byte: u8) {
    let text = if byte == b'\n' { [0x0d, 0x0a, 0] } else { [u16::from(byte), 0, 0] };
    // There is nobody to tell if it fails.
    let _ = unsafe { ((*console).output_string)(console, text.as_ptr()) };
}

pub fn put(text: &[u8]) {
    text.iter().copied().for_each(put_byte);
}

pub fn put_hex(value: u64) {
    put(b"0x");
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let digit = (value >> (digit * 4) & 15) as u8;
        put_byte(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

/// What can stand in a message.
pub enum Part<'p> {
    Text(&'static str),
    Bytes(&'p [u8]),
    Hex(u64),
}

/// Writes one line.
pub fn line(parts: &[Part]) {
    put(b"kimage: ");
    for part in parts {
        match part {
            Part::Text(text) => put(text.as_bytes()),
            Part::Bytes(text) => put(text),
            Part::Hex(value) => put_hex(*value),
        }
    }
    put(b"\n");
}
