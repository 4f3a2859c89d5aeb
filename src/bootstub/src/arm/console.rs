//! Messages, where the device tree's console is a PL011 or an 8250, as the boot loader left it. Nothing else is the same on all
//! machines: without a device tree nothing can be said.

use crate::arm_tree::{PL011, SHIFT, Tree};

/// Registers: a PL011's flags; of an 8250 the line's status. In both one bit tells whether there is room.
const FLAGS: u32 = 0x18;
const STATUS: u32 = 5;
const ROOM: u32 = 1 << 5;
/// A UART that is off never has room.
const PATIENCE: u32 = 1 << 16;

fn put(console: u32, byte: u8) {
    let (at, is_pl011, shift) = (console & !7, console & PL011 != 0, console & SHIFT);
    let flags_at = at + if is_pl011 { FLAGS } else { STATUS << shift };
    // As wide as they are apart: some take nothing else.
    let is_wide = is_pl011 || shift == 2;
    for _ in 0..PATIENCE {
        // SAFETY: a device, nothing of the stub's.
        let flags = unsafe { if is_wide { (flags_at as *const u32).read_volatile() } else { (flags_at as *const u8).read_volatile().into() } };
        if (flags & ROOM != 0) != is_pl011 {
            break;
        }
    }
    // SAFETY: the same.
    unsafe { if is_wide { (at as *mut u32).write_volatile(byte.into()) } else { (at as *mut u8).write_volatile(byte) } }
}

/// Says why, if the tree knows of a console, and stops for ever.
pub fn halt(why: &str, tree: Option<Tree<'_>>) -> ! {
    if let Some(console) = tree.and_then(|tree| tree.console()) {
        let put_all = |text: &str| text.bytes().for_each(|byte| put(console, byte));
        put_all("\r\nkimage cannot start this kernel: ");
        put_all(why);
        put_all("\r\n");
    }
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    halt("", None)
}
