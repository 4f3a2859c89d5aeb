//! Multiboot2 2.0.

use crate::boot_params::at;
use crate::room::Room;
use crate::{multiboot, text_at, u32_at, u64_at};

/// In EAX.
pub const MAGIC: u32 = 0x36d7_6289;

const END: u32 = 0;
const CMDLINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY: u32 = 4;
const MEMORY_MAP: u32 = 6;
const FRAMEBUFFER: u32 = 8;
const EFI_TABLE_32: u32 = 11;
const EFI_TABLE_64: u32 = 12;
const RSDP_OLD: u32 = 14;
const RSDP_NEW: u32 = 15;
const EFI_MEMORY_MAP: u32 = 17;

pub fn read(info: u32, room: &mut Room) {
    let end = info + u32_at(info);
    let mut rsdp = None;
    let (mut table, mut map) = (None, None);
    let mut tag = info + 8;
    while tag + 8 <= end {
        let (kind, len) = (u32_at(tag), u32_at(tag + 4));
        match kind {
            END => break,
            CMDLINE => room.cmdline(text_at(tag + 8, len.saturating_sub(8) as usize)),
            MODULE => {
                let (start, end) = (u32_at(tag + 8), u32_at(tag + 12));
                room.disk(start.into(), end.saturating_sub(start).into());
            }
            MEMORY_MAP => {
                let step = u32_at(tag + 8).max(24);
                let mut entry = tag + 16;
                while entry + step <= tag + len {
                    room.memory(u64_at(entry), u64_at(entry + 8), u32_at(entry + 16));
                    entry += step;
                }
            }
            MEMORY => room.sizes = (u32_at(tag + 8), u32_at(tag + 12)),
            FRAMEBUFFER => multiboot::screen(tag + 8, tag + 32, room),
            EFI_TABLE_32 => table = Some((b"EL32", u64::from(u32_at(tag + 8)))),
            EFI_TABLE_64 => table = Some((b"EL64", u64_at(tag + 8))),
            EFI_MEMORY_MAP => map = Some(tag),
            // The newer one has the older one's fields, and more.
            RSDP_NEW => rsdp = Some(tag),
            RSDP_OLD => rsdp = rsdp.or(Some(tag)),
            _ => (),
        }
        tag += len.max(8).next_multiple_of(8);
    }
    match (table, map) {
        // The kernel finds ACPI in the firmware's table.
        (Some((signature, table)), Some(map)) => {
            let len = u32_at(map + 4) - 16;
            let memory = room.keep(map + 16, len);
            let params = room.params();
            for (field, value) in [
                (at::EFI_LOADER_SIGNATURE, u32::from_le_bytes(*signature)),
                (at::EFI_MEMDESC_SIZE, u32_at(map + 8)),
                (at::EFI_MEMDESC_VERSION, u32_at(map + 12)),
                (at::EFI_MEMMAP_SIZE, len),
                (at::EFI_SYSTAB, table as u32),
                (at::EFI_SYSTAB_HI, (table >> 32) as u32),
                (at::EFI_MEMMAP, memory),
            ] {
                params.set_u32(field, value);
            }
        }
        _ => {
            if let Some(tag) = rsdp {
                room.rsdp_copy(tag + 8, u32_at(tag + 4) - 8);
            }
        }
    }
}
