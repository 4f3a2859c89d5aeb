//! Messages on the first serial port and on a screen in text mode.

use crate::boot_params::{BootParams, at};
use crate::message::{put, put_hex, to_firmware};
pub use crate::message::{Part, line};
use core::arch::asm;
use uefi_raw::protocol::console::SimpleTextOutputProtocol;

const COM1: u16 = 0x3f8;

/// Where messages go.
#[derive(Clone, Copy)]
pub struct Console {
    /// Characters of the screen; null when it is in no text mode.
    screen: *mut u16,
    cols: usize,
    lines: usize,
    position: usize,
}

// Not in .bss: where the loader put the image, the payload lies there.
#[used]
#[unsafe(link_section = ".data.console")]
static mut CONSOLE: Console = Console { screen: core::ptr::null_mut(), cols: 0, lines: 0, position: 0 };

/// The firmware's console, as long as there is one.
#[used]
#[unsafe(link_section = ".data.console")]
static mut FIRMWARE: *mut SimpleTextOutputProtocol = core::ptr::null_mut();

fn out8(port: u16, value: u8) {
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) }
}

fn in8(port: u16) -> u8 {
    let value: u8;
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) }
    value
}

/// Writes to the firmware's console, until [`init`].
pub fn init_firmware(console: *mut SimpleTextOutputProtocol) {
    unsafe { FIRMWARE = console };
}

/// Learns what the screen is like.
pub fn init(params: BootParams) {
    init_firmware(core::ptr::null_mut());
    let cols = usize::from(params.u8(at::ORIG_VIDEO_COLS));
    let lines = usize::from(params.u8(at::ORIG_VIDEO_LINES));
    let screen = match params.u8(at::ORIG_VIDEO_MODE) {
        _ if cols == 0 || lines == 0 => 0,
        7 => 0xb_0000,
        _ => 0xb_8000_usize,
    };
    let position = usize::from(params.u8(at::ORIG_Y)) * cols + usize::from(params.u8(at::ORIG_X));
    let console = Console { screen: screen as *mut u16, cols, lines, position: position.min(cols * lines) };
    unsafe { CONSOLE = console };
}

fn screen(byte: u8) {
    let console = unsafe { &mut *core::ptr::addr_of_mut!(CONSOLE) };
    if console.screen.is_null() {
        return;
    }
    let (cols, cells) = (console.cols, console.cols * console.lines);
    if byte == b'\n' {
        console.position = (console.position / cols + 1) * cols;
    }
    if console.position >= cells {
        for index in 0..cells {
            unsafe {
                let value =
                    if index + cols < cells { console.screen.add(index + cols).read_volatile() } else { 0x0720 };
                console.screen.add(index).write_volatile(value);
            }
        }
        console.position = cells - cols;
    }
    if byte != b'\n' {
        unsafe { console.screen.add(console.position).write_volatile(0x0700 | u16::from(byte)) };
        console.position += 1;
    }
}

fn serial(byte: u8) {
    // No waiting for ever: there may be no such port.
    for _ in 0..0x10000 {
        if in8(COM1 + 5) & 0x20 != 0 {
            break;
        }
    }
    out8(COM1, byte);
}

pub fn put_byte(byte: u8) {
    let firmware = unsafe { FIRMWARE };
    if !firmware.is_null() {
        return to_firmware(firmware, byte);
    }
    if byte == b'\n' {
        serial(b'\r');
    }
    serial(byte);
    screen(byte);
}

/// Says why and stops for ever.
pub fn halt(parts: &[Part]) -> ! {
    put(b"\n");
    line(parts);
    stop()
}

fn stop() -> ! {
    put(b"kimage: the system is halted\n");
    loop {
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// Called by head.s for every exception of the CPU.
#[unsafe(no_mangle)]
extern "C" fn exception(values: &[usize; 5]) -> ! {
    // One string: pointers to five would each need a relocation.
    #[cfg(target_arch = "x86_64")]
    let names = b"\nkimage: stub at |, CR2 |: exception |, error code |, RIP ";
    #[cfg(target_arch = "x86")]
    let names = b"\nkimage: stub at |, CR2 |: exception |, error code |, EIP ";
    for (name, value) in names.split(|byte| *byte == b'|').zip(values) {
        put(name);
        put_hex(*value as u64);
    }
    put(b"\n");
    stop()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    halt(&[Part::Text("internal error of the boot stub")])
}
