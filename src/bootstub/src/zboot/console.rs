//! Messages on the firmware's console.

use uefi_raw::{Handle, Status};

use crate::firmware::Firmware;
use crate::message::to_firmware;
pub use crate::message::{Part, line};

static mut FIRMWARE: Firmware = Firmware { image: core::ptr::null_mut::<core::ffi::c_void>() as Handle, table: core::ptr::null() };

/// Before the first message.
pub fn init(firmware: Firmware) {
    unsafe { FIRMWARE = firmware };
}

pub fn put_byte(byte: u8) {
    let console = unsafe { FIRMWARE }.table().stdout;
    // A machine may have none.
    if !console.is_null() {
        to_firmware(console, byte);
    }
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
