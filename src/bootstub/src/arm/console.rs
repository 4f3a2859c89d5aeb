//! Messages, where the device tree names a PL011 or an 8250 as its console: ARM has no other that all machines have.

use crate::arm_tree::Tree;

pub fn find(_tree: &Tree<'_>) {}

/// Says why and stops for ever.
pub fn halt(_why: &str) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    halt("internal error of the boot stub")
}
