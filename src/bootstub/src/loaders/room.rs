//! The memory behind all else that the packer sets aside: boot parameters, command line, and what is too long for them.

use crate::boot_params::{BootParams, E820_MAX, at};
use crate::console::Part::{Hex, Text};
use crate::console::halt;
use crate::memory::{Choice, PAGE, Span, Taken, align_up};
use crate::u8_at;

/// All of it; the stack is at its end. As in head.s, and in the packer.
const LEN: u32 = 0x20000;
const STACK: u32 = 0x4000;
/// The longest command line of a kernel, with its zero (`COMMAND_LINE_SIZE`).
const CMDLINE_MAX: usize = 2048;
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const SETUP_E820_EXT: u32 = 1;
/// `orig_video_isVGA`: pixels, with a place in memory.
const VIDEO_TYPE_VLFB: u8 = 0x23;
/// Entries of the memory map beyond those in the boot parameters, and the node of setup_data that has them.
const MORE: usize = 1000;
const MORE_LEN: u32 = 16 + MORE as u32 * 20;
/// Modules, and pieces of memory to look for room in.
const MANY: usize = 64;

/// What a screen with pixels is like.
pub struct Screen {
    pub address: u64,
    pub pitch: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u8,
    /// Position and size of red, green and blue.
    pub colors: [u8; 6],
}

pub struct Room {
    params: BootParams,
    start: u32,
    /// Where free memory goes on.
    next: u32,
    /// Of the memory map.
    entries: usize,
    /// KiB of memory from 0 and from 1 MiB, for loaders that have no map.
    pub sizes: (u32, u32),
    ram: [Span; MANY],
    ram_count: usize,
    disks: [Span; MANY],
    disk_count: usize,
}

impl Room {
    pub fn new(start: u32) -> (BootParams, Room) {
        // All but the stack, which is in use.
        unsafe { (start as *mut u8).write_bytes(0, (LEN - STACK) as usize) };
        let params = unsafe { BootParams::new(start as *mut u8) };
        let none = Span::new(0, 0);
        let next = start + PAGE as u32 + CMDLINE_MAX as u32 + MORE_LEN;
        let room = Room {
            params,
            start,
            next,
            entries: 0,
            sizes: (0, 0),
            ram: [none; MANY],
            ram_count: 0,
            disks: [none; MANY],
            disk_count: 0,
        };
        (params, room)
    }

    /// So many bytes that nobody else uses, zero.
    fn take(&mut self, len: u32) -> u32 {
        let at = self.next.next_multiple_of(8);
        if len > LEN || at + len > self.start + LEN - STACK {
            halt(&[Text("the loader says more than there is room for")]);
        }
        self.next = at + len;
        at
    }

    /// A copy of what the loader may have anywhere.
    pub fn keep(&mut self, from: u32, len: u32) -> u32 {
        let at = self.take(len);
        unsafe { (at as *mut u8).copy_from(from as *const u8, len as usize) };
        at
    }

    pub fn params(&self) -> BootParams {
        self.params
    }

    /// A command line.
    pub fn cmdline(&mut self, text: &[u8]) {
        let place = self.start + PAGE as u32;
        let text = text.trim_ascii();
        let len = text.len().min(CMDLINE_MAX - 1);
        unsafe { (place as *mut u8).copy_from(text.as_ptr(), len) };
        self.params.set_cmdline_at(place.into());
    }

    /// A piece of the memory map; types are those of the BIOS in all protocols.
    pub fn memory(&mut self, start: u64, len: u64, kind: u32) {
        if len == 0 {
            return;
        }
        if kind == E820_RAM {
            if let Some(place) = self.ram.get_mut(self.ram_count) {
                *place = Span::new(start, len);
                self.ram_count += 1;
            }
        }
        let place = match self.entries.checked_sub(E820_MAX) {
            None => self.params.entry(self.entries) as u32,
            Some(index @ ..MORE) => self.more() + 16 + index as u32 * 20,
            Some(_) => halt(&[Text("the memory map has too many entries")]),
        };
        unsafe {
            (place as *mut u64).write_unaligned(start);
            (place as *mut u64).add(1).write_unaligned(len);
            (place as *mut u32).add(4).write_unaligned(kind);
        }
        self.entries += 1;
    }

    fn more(&self) -> u32 {
        self.start + PAGE as u32 + CMDLINE_MAX as u32
    }

    /// A RAM disk, or a part of one.
    pub fn disk(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        match self.disks.get_mut(self.disk_count) {
            Some(place) => *place = Span::new(start, len),
            None => halt(&[Text("the loader passes too many modules")]),
        }
        self.disk_count += 1;
    }

    pub fn screen(&mut self, screen: &Screen) {
        let params = self.params;
        let size = u64::from(screen.pitch) * u64::from(screen.height);
        params.set_u8(at::ORIG_VIDEO_IS_VGA, VIDEO_TYPE_VLFB);
        params.set_u16(at::LFB_WIDTH, screen.width as u16);
        params.set_u16(at::LFB_HEIGHT, screen.height as u16);
        params.set_u16(at::LFB_DEPTH, screen.depth.into());
        params.set_u16(at::LFB_LINE_LENGTH, screen.pitch as u16);
        params.set_u32(at::LFB_BASE, screen.address as u32);
        params.set_u32(at::EXT_LFB_BASE, (screen.address >> 32) as u32);
        // Bit 1: the base has 64 bits.
        params.set_u32(at::CAPABILITIES, 1 << 1);
        // In units of 64 KiB.
        params.set_u32(at::LFB_SIZE, size.div_ceil(1 << 16) as u32);
        let [red, red_size, green, green_size, blue, blue_size] = screen.colors;
        let fields = [red_size, red, green_size, green, blue_size, blue];
        for (index, value) in (at::RED_SIZE..).zip(fields) {
            params.set_u8(index, value);
        }
    }

    /// A text screen, in characters; by what the BIOS wrote down where nobody says.
    pub fn text_screen(&mut self, size: Option<(u8, u8)>) {
        let mode = u8_at(0x449);
        let (cols, lines) = size.unwrap_or_else(|| (u8_at(0x44a), u8_at(0x484).wrapping_add(1)));
        if !matches!(mode, 3 | 7) || !matches!(cols, 80..=132) || !matches!(lines, 25..=60) {
            return;
        }
        let params = self.params;
        params.set_u8(at::ORIG_VIDEO_MODE, mode);
        params.set_u8(at::ORIG_VIDEO_COLS, cols);
        params.set_u8(at::ORIG_VIDEO_LINES, lines);
        params.set_u8(at::ORIG_VIDEO_IS_VGA, 1);
        params.set_u16(at::ORIG_VIDEO_POINTS, 16);
        params.set_u8(at::ORIG_X, u8_at(0x450).min(cols - 1));
        params.set_u8(at::ORIG_Y, u8_at(0x451).min(lines - 1));
    }

    /// Where the ACPI tables begin.
    pub fn rsdp(&mut self, address: u64) {
        self.params.set_u64(at::ACPI_RSDP_ADDR, address);
    }

    /// A copy of where they begin: the kernel reads it late, so that its memory must not be taken for free.
    pub fn rsdp_copy(&mut self, from: u32, len: u32) {
        self.next = (self.next + PAGE as u32).next_multiple_of(PAGE as u32);
        let at = self.keep(from, len);
        self.next = at + PAGE as u32;
        self.memory(at.into(), PAGE, E820_RESERVED);
        self.rsdp(at.into());
    }

    /// Writes down what had to be complete first. `low`: this file and the kernel's place are between here and the room.
    pub fn finish(&mut self, low: u32) {
        let params = self.params;
        if params.u8(at::ORIG_VIDEO_IS_VGA) == 0 {
            self.text_screen(None);
        }
        crate::console::init(params);
        if self.entries == 0 {
            let (lower, upper) = self.sizes;
            self.memory(0, u64::from(lower) << 10, E820_RAM);
            self.memory(1 << 20, u64::from(upper) << 10, E820_RAM);
        }
        if self.entries == 0 {
            halt(&[Text("the loader passes no memory map")]);
        }
        params.set_u8(at::E820_ENTRIES, self.entries.min(E820_MAX) as u8);
        if let Some(count @ 1..) = self.entries.checked_sub(E820_MAX) {
            let node = self.more() as *mut u32;
            unsafe {
                node.add(2).write_unaligned(SETUP_E820_EXT);
                node.add(3).write_unaligned(count as u32 * 20);
            }
            params.set_u64(at::SETUP_DATA, self.more().into());
        }
        match self.disks.get(..self.disk_count) {
            Some([]) | None => (),
            Some([one]) => params.set_ramdisk(*one),
            Some(_) => self.join(low),
        }
    }

    /// Puts several RAM disks together, one behind the other: as high as there is room below 4 GiB.
    fn join(&mut self, low: u32) {
        let disks = self.disks.get(..self.disk_count).unwrap_or_default();
        // The kernel looks for the next archive at a multiple of four.
        let size = disks.iter().map(|disk| (disk.end - disk.start).next_multiple_of(4)).sum();
        let mut taken = [Taken { name: "", span: Span::new(0, 0) }; MANY + 1];
        for (place, disk) in taken.iter_mut().zip(disks) {
            place.span = *disk;
        }
        taken[MANY].span = Span { start: low.into(), end: (self.start + LEN).into() };
        let choice = Choice { min: 1 << 20, max: 1 << 32, align: PAGE, size };
        let ram = self.ram.get(..self.ram_count).unwrap_or_default();
        let count = choice.count(ram, &taken);
        let place = count.checked_sub(1).and_then(|last| choice.nth(last, ram, &taken));
        let Some(place) = place else {
            halt(&[Text("no room to put the RAM disks together: "), Hex(size), Text(" bytes")]);
        };
        let mut to = place;
        for disk in disks {
            let len = disk.end - disk.start;
            let (from, room) = (crate::low(disk.start), align_up(len, 4).unwrap_or(len));
            unsafe {
                (crate::low(to) as *mut u8).copy_from(from as *const u8, len as usize);
                (crate::low(to + len) as *mut u8).write_bytes(0, (room - len) as usize);
            }
            to += room;
        }
        self.params.set_ramdisk(Span::new(place, size));
    }
}
