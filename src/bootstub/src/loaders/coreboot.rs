//! coreboot's table: src/commonlib/include/commonlib/coreboot_tables.h.

use crate::room::{Room, Screen};
use crate::{low, u8_at, u32_at, u64_at};

/// "LBIO"
const SIGNATURE: u32 = u32::from_le_bytes(*b"LBIO");

const MEMORY: u32 = 0x01;
const FORWARD: u32 = 0x11;
const FRAMEBUFFER: u32 = 0x12;
const RSDP: u32 = 0x43;

/// Where the table is, whole as its checksums have it.
pub fn find() -> Option<u32> {
    let low_memory = (0..0x1000).step_by(16);
    low_memory.chain((0xf_0000..0x10_0000).step_by(16)).find(|at| is_table(*at))
}

fn is_table(at: u32) -> bool {
    if u32_at(at) != SIGNATURE {
        return false;
    }
    let header = u32_at(at + 4);
    // The sum of a header with its own sum is all ones.
    (24..=64).contains(&header)
        && checksum(at, header) == 0
        && checksum(at + header, u32_at(at + 12)) == u32_at(at + 16) as u16
}

/// The Internet's checksum, of 16-bit words.
fn checksum(at: u32, len: u32) -> u16 {
    let mut sum: u32 = 0;
    for index in 0..len.min(1 << 20) {
        sum += u32::from(u8_at(at + index)) << (index % 2 * 8);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub fn read(table: u32, room: &mut Room) {
    let mut record = table + u32_at(table + 4);
    let end = record + u32_at(table + 12);
    while record + 8 <= end {
        let (tag, len) = (u32_at(record), u32_at(record + 4));
        match tag {
            // The table proper; this one was what could be put where all look for it.
            FORWARD => {
                let table = low(u64_at(record + 8));
                return if is_table(table) { read(table, room) };
            }
            MEMORY => {
                let mut entry = record + 8;
                while entry + 20 <= record + len {
                    let kind = match u32_at(entry + 16) {
                        kind @ 1..=5 => kind,
                        // The vendor's, and coreboot's own tables.
                        _ => 2,
                    };
                    room.memory(u64_at(entry), u64_at(entry + 8), kind);
                    entry += 20;
                }
            }
            FRAMEBUFFER => room.screen(&Screen {
                address: u64_at(record + 8),
                width: u32_at(record + 16),
                height: u32_at(record + 20),
                pitch: u32_at(record + 24),
                depth: u8_at(record + 28),
                colors: core::array::from_fn(|index| u8_at(record + 29 + index as u32)),
            }),
            RSDP => room.rsdp(u64_at(record + 8)),
            _ => (),
        }
        record += len.max(8);
    }
}
