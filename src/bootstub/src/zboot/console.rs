//! Messages on the firmware's console.

use uefi_raw::protocol::console::SimpleTextOutputProtocol;
use uefi_raw::{Handle, Status};

use crate::firmware::Firmware;

static mut FIRMWARE: Firmware = Firmware { image: core::ptr::null_mut::<core::ffi::c_void>() as Handle, table: core::ptr::null() };

/// Before the first message.
pub fn init(firmware: Firmware) {
    unsafe { FIRMWARE = firmware };
}

fn put_byte(byte: u8) {
    let console: *mut SimpleTextOutputProtocol = unsafe { FIRMWARE }.table().stdout;
    // A machine may have none.
    if !console.is_null() {
        let text = if byte == b'\n' { [0x0d, 0x0a, 0] } else { [u16::from(byte), 0, 0] };
        // There is nobody to tell if it fails.
        let _ = unsafe { ((*console).output_string)(console, text.as_ptr()) };
    }
}

fn put(text: &[u8]) {
    text.iter().copied().for_each(put_byte);
}

fn put_hex(value: u64) {
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

/// Says why, and ends the program: the firmware goes on with what it would start next.
pub fn halt(parts: &[Part]) -> ! {
    line(parts);
    let firmware = unsafe { FIRMWARE };
    // Does not return.
    let _ = unsafe { (firmware.services().exit)(firmware.image, Status::ABORTED, 0, core::ptr::null_mut()) };
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    halt(&[Part::Text("internal error of the boot stub")])
}
