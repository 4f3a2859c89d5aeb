//! kimage's EFI program of zboot images (arm64, RISC-V, LoongArch): unpacks a kernel, and starts the EFI program that the kernel is.
//!
//! All that a kernel wants of the firmware its own EFI stub does: initrd, command line, random seed, memory map. It is
//! entered as the firmware would enter it, in memory laid out as its PE header says, with this program's own handle: load
//! options, device and path of what the boot loader started are those of the handle, and so the kernel's. It is not handed to
//! the firmware to be loaded: Secure Boot has verified this program and what is in it, and would want a signature of the
//! kernel's own again.
#![no_std]
#![no_main]

#[allow(dead_code, reason = "the other programs' half")]
#[path = "../efi/firmware.rs"]
mod firmware;
#[allow(dead_code, reason = "the other programs' half")]
#[path = "../../../stub/memory.rs"]
mod memory;
#[allow(dead_code, reason = "the packer's half")]
#[path = "../../../stub/parameters.rs"]
mod parameters;

mod console;
mod kernel;
#[path = "../message.rs"]
mod message;

use console::Part::Text;
use console::{halt, line};
use firmware::{Firmware, Outcome, complain};
use kernel::Kernel;
use kimage_bootcodec as codec;
use parameters::Parameters;
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::table::boot::MemoryType;
use uefi_raw::table::system::SystemTable;
use uefi_raw::{Handle, Status};

/// Cargo is to know that it is used.
const _: &str = include_str!("../../zboot.ld");
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(include_str!("arm64.s"));
#[cfg(target_arch = "riscv64")]
core::arch::global_asm!(include_str!("riscv64.s"));
#[cfg(target_arch = "loongarch64")]
core::arch::global_asm!(include_str!("loongarch64.s"));
core::arch::global_asm!(include_str!("parameters.s"));

unsafe extern "C" {
    static parameters: [u64; parameters::WORDS];
    static _start: u8;
}

/// Returns to the firmware what went wrong, here or in the kernel's EFI stub.
#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(image: Handle, table: *const SystemTable) -> Status {
    let firmware = Firmware { image, table };
    console::init(firmware);
    match start(firmware) {
        Ok(status) | Err(status) => status,
    }
}

fn start(firmware: Firmware) -> Outcome<Status> {
    // Not known to the compiler, and so not taken for what the linker had.
    let p = Parameters::from_words(unsafe { &parameters });
    let p = p.unwrap_or_else(|| halt(&[Text("this stub has no parameters")]));
    let image = firmware.protocol::<LoadedImageProtocol>(firmware.image, &LoadedImageProtocol::GUID);
    let image = image.ok_or(Status::INVALID_PARAMETER)?;

    let kernel = Kernel::allocate(firmware, &p)?;
    let payload_at = (&raw const _start) as u64 + p.payload_at;
    let payload = unsafe { core::slice::from_raw_parts(payload_at as *const u8, p.payload_len as usize) };
    // Some firmware gives no memory where none is asked for, and no error.
    let heap = firmware.pool(MemoryType::LOADER_DATA, p.heap_len.max(1) as usize);
    let heap = heap.map_err(|status| complain("not enough RAM for the decompressor", b"", status))?;
    let heap_at = heap.as_mut_ptr();
    let result = codec::decompress(payload, kernel.bytes(p.unpacked_len), heap);
    firmware.free(heap_at);
    let entry = result.and_then(|()| kernel.make_ready(firmware, p.unpacked_len));
    let entry = match entry {
        Ok(entry) => entry,
        Err(why) => {
            line(&[Text("the kernel cannot be unpacked: "), Text(why)]);
            kernel.free(firmware);
            return Err(Status::LOAD_ERROR);
        }
    };

    // The kernel looks up where it is by this program's handle, and finds its load options there.
    let before = unsafe { ((*image).image_base, (*image).image_size) };
    unsafe { ((*image).image_base, (*image).image_size) = (kernel.at as *const _, kernel.len) };
    let status = entry(firmware.image, firmware.table);
    // It comes back only when it could not start.
    unsafe { ((*image).image_base, (*image).image_size) = before };
    kernel.free(firmware);
    Ok(status)
}
