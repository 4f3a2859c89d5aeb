//! Multiboot 0.6.96.

use crate::room::{Room, Screen};
use crate::{text_at, u8_at, u32_at, u64_at};

/// In EAX.
pub const MAGIC: u32 = 0x2bad_b002;

const MEMORY: u32 = 1 << 0;
const CMDLINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER_NAME: u32 = 1 << 9;
const FRAMEBUFFER: u32 = 1 << 12;

const TEXT_MAX: usize = 4096;

pub fn read(info: u32, room: &mut Room) {
    let flags = u32_at(info);
    let has = |flag| flags & flag != 0;
    if has(CMDLINE) {
        let loader = if has(LOADER_NAME) { text_at(u32_at(info + 64), 64) } else { b"" };
        room.cmdline(without_file_name(text_at(u32_at(info + 16), TEXT_MAX), loader));
    }
    if has(MODULES) {
        let table = u32_at(info + 24);
        for index in 0..u32_at(info + 20) {
            let (start, end) = (u32_at(table + index * 16), u32_at(table + index * 16 + 4));
            room.disk(start.into(), end.saturating_sub(start).into());
        }
    }
    if has(MEMORY_MAP) {
        let (mut at, end) = (u32_at(info + 48), u32_at(info + 48) + u32_at(info + 44));
        while at < end {
            room.memory(u64_at(at + 4), u64_at(at + 12), u32_at(at + 20));
            at += u32_at(at) + 4;
        }
    }
    if has(MEMORY) {
        room.sizes = (u32_at(info + 4), u32_at(info + 8));
    }
    if has(FRAMEBUFFER) {
        screen(info + 88, info + 110, room);
    }
}

/// Both versions have the same fields in the same order, but for where the colors are.
pub fn screen(at: u32, colors: u32, room: &mut Room) {
    const RGB: u8 = 1;
    const TEXT: u8 = 2;
    let (width, height) = (u32_at(at + 12), u32_at(at + 16));
    match u8_at(at + 21) {
        RGB => room.screen(&Screen {
            address: u64_at(at),
            pitch: u32_at(at + 8),
            width,
            height,
            depth: u8_at(at + 20),
            colors: core::array::from_fn(|index| u8_at(colors + index as u32)),
        }),
        TEXT => room.text_screen(Some((width as u8, height as u8))),
        _ => (),
    }
}

/// Some loaders say the kernel's file first, which Linux would pass to its first program.
fn without_file_name<'t>(text: &'t [u8], loader: &[u8]) -> &'t [u8] {
    let text = text.trim_ascii_start();
    let says_it = loader == b"qemu" || loader.starts_with(b"GNU GRUB 0.") || loader.starts_with(b"kexec");
    if says_it || matches!(text.first(), Some(b'/' | b'(')) {
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        return &text[end..];
    }
    text
}
