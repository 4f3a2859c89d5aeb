//! The ways in of loaders that do not know Linux, in front of a bzImage: PVH, Multiboot, Multiboot2, coreboot.
//!
//! `head.s` has the entry points and calls [`fill`], which makes of what the loader passes the boot parameters of the
//! 32-bit boot protocol. 32-bit code for any CPU since the Pentium: the bzImage decides what it needs.
//!
//! Paging is off: an address is a physical address, and none is beyond 4 GiB.
#![no_std]
#![no_main]

#[allow(dead_code, reason = "the stub's half")]
#[path = "../boot_params.rs"]
mod boot_params;
#[allow(dead_code, reason = "the stub's half")]
#[path = "../console.rs"]
mod console;
mod coreboot;
#[path = "../mem.rs"]
mod mem;
#[allow(dead_code, reason = "the stub's half")]
#[path = "../message.rs"]
mod message;
#[allow(dead_code, reason = "the packer's half")]
#[path = "../../../stub/memory.rs"]
mod memory;
mod multiboot;
mod multiboot2;
#[allow(dead_code, reason = "for memory.rs")]
#[path = "../../../stub/parameters.rs"]
mod parameters;
mod pvh;
mod room;

use boot_params::at;
use console::Part::{Hex, Text};
use console::halt;
use room::Room;

/// Cargo is to know that it is used.
const _: &str = include_str!("../../loaders.ld");
core::arch::global_asm!(include_str!("../entry.s"), include_str!("head.s"), options(att_syntax, raw));

/// `type_of_loader` of a loader that has no number.
const LOADER: u8 = 0xff;
/// "HdrS"
const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");

/// A number at a physical address.
fn u32_at(address: u32) -> u32 {
    unsafe { (address as *const u32).read_unaligned() }
}

fn u64_at(address: u32) -> u64 {
    u64::from(u32_at(address)) | u64::from(u32_at(address.wrapping_add(4))) << 32
}

fn u8_at(address: u32) -> u8 {
    unsafe { (address as *const u8).read_volatile() }
}

/// A text in memory, up to its zero, of at most `max` bytes.
fn text_at(address: u32, max: usize) -> &'static [u8] {
    let start = address as *const u8;
    let len = (0..max).take_while(|index| unsafe { start.add(*index).read() } != 0).count();
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// An address that 32-bit code can use.
fn low(address: u64) -> u32 {
    u32::try_from(address).unwrap_or_else(|_| halt(&[Text("the loader put beyond 4 GiB what is needed: "), Hex(address)]))
}

/// What a way in gives back, in EAX and EDX.
fn go(params: u32, entry: u32) -> u64 {
    u64::from(entry) << 32 | u64::from(params)
}

/// Makes boot parameters of what the loader passes. `kind` and `info` are what it left in EAX and EBX, `esi` in ESI;
/// this program begins at `start`, the bzImage at `setup`, free memory at `room`.
#[unsafe(no_mangle)]
extern "C" fn fill(kind: u32, info: u32, esi: u32, start: u32, setup: u32, room: u32) -> u64 {
    let entry = setup + (u32::from(u8_at(setup + at::HEADER as u32)) + 1) * 512;
    let (params, mut room) = Room::new(room);
    // The header says how long it is.
    let end = 0x202 + usize::from(u8_at(setup + 0x201));
    for index in at::HEADER..end.min(at::HEADER_MAX) {
        params.set_u8(index, u8_at(setup + index as u32));
    }
    params.set_u8(at::TYPE_OF_LOADER, LOADER);
    params.set_u32(at::CODE32_START, entry);
    console::init(params);
    match kind {
        multiboot::MAGIC => multiboot::read(info, &mut room),
        multiboot2::MAGIC => multiboot2::read(info, &mut room),
        pvh::MAGIC => pvh::read(info, &mut room),
        // Linux' own protocol.
        _ if esi < 0x8000_0000 && u32_at(esi + 0x202) == HEADER_MAGIC && u32_at(esi + 0x1fe) as u16 == 0xaa55 => {
            return go(esi, entry);
        }
        _ => match coreboot::find() {
            Some(table) => coreboot::read(table, &mut room),
            None => halt(&[
                Text("the loader left no memory map: neither PVH's, Multiboot's nor Linux' (EAX "),
                Hex(kind.into()),
                Text("), and there is no coreboot table"),
            ]),
        },
    }
    // A kernel that is not moved may lie below all this.
    room.finish(start.min(params.u32(at::PREF_ADDRESS)));
    go(params.span().start as u32, entry)
}
