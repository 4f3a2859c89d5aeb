//! PVH: Xen's and QEMU's `hvm_start_info`.

use crate::console::Part::Text;
use crate::console::halt;
use crate::room::Room;
use crate::{low, text_at, u32_at, u64_at};

/// At the start of the structure.
pub const MAGIC: u32 = 0x336e_c578;

pub fn read(info: u32, room: &mut Room) {
    if u32_at(info) != MAGIC {
        halt(&[Text("entered by PVH, without its start_info")]);
    }
    if u32_at(info + 4) == 0 {
        halt(&[Text("PVH's start_info has no memory map (version 0)")]);
    }
    let modules = u64_at(info + 16);
    for index in 0..u32_at(info + 12) {
        let module = low(modules) + index * 32;
        room.disk(u64_at(module), u64_at(module + 8));
    }
    match u64_at(info + 24) {
        0 => (),
        text => room.cmdline(text_at(low(text), 4096)),
    }
    room.rsdp(u64_at(info + 32));
    let map = low(u64_at(info + 40));
    for index in 0..u32_at(info + 48) {
        let entry = map + index * 24;
        room.memory(u64_at(entry), u64_at(entry + 8), u32_at(entry + 16));
    }
}
