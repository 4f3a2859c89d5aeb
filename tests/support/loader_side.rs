//! What the boot stub decides by what a boot loader says, on the host: its own files, with a CPU and a console that do nothing.

#![allow(unsafe_code, dead_code, unreachable_pub, clippy::duplicate_mod, reason = "the stub's own files")]

#[cfg(target_arch = "x86_64")]
#[path = "any_tables.rs"]
pub mod any_tables;
#[path = "../../src/bootstub/src/boot_params.rs"]
pub mod boot_params;
#[path = "../../src/stub/cmdline.rs"]
pub mod cmdline;
#[path = "../../src/stub/memory.rs"]
pub mod memory;
#[cfg(target_arch = "x86_64")]
#[path = "../../src/bootstub/src/paging.rs"]
pub mod page_tables;
#[path = "../../src/stub/parameters.rs"]
pub mod parameters;
#[path = "../../src/bootstub/src/place.rs"]
pub mod place;

use boot_params::{BootParams, at};
use memory::{PAGE, Span};
use parameters::{BITS32, KASLR, Parameters, RELOCATABLE, RELOCS};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The longest command line, as in the stub.
pub const CMDLINE_MAX: usize = 2048;

pub unsafe fn bytes_mut(start: u64, len: u64) -> &'static mut [u8] {
    match len {
        0 => &mut [],
        _ => unsafe { std::slice::from_raw_parts_mut(start as *mut u8, len as usize) },
    }
}

pub mod console {
    pub enum Part {
        Text(&'static str),
        Hex(u64),
    }

    /// What the stub said when it stopped.
    pub struct Halted(pub String);

    pub fn halt(parts: &[Part]) -> ! {
        let text = parts.iter().map(|part| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Hex(value) => format!("{value:#x}"),
        });
        super::resume_unwind(Box::new(Halted(text.collect())))
    }
}

pub mod paging {
    /// What was mapped.
    #[derive(Default)]
    pub struct Tables(pub Vec<(u64, u64)>);

    impl Tables {
        pub fn map(&mut self, start: u64, len: u64) {
            self.0.push((start, len));
        }
    }
}

pub mod random {
    /// Numbers that the input chooses.
    pub struct Random(pub u64);

    impl Random {
        pub fn new(seeds: [&[u8]; 2]) -> Self {
            Random(seeds.concat().iter().fold(7, |sum, byte| sum.rotate_left(9) ^ u64::from(*byte)))
        }

        pub fn below(&mut self, count: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 11) % count
        }
    }
}

/// Where the stub's first byte is.
fn base() -> u64 {
    0
}

/// Memory of the machine that is there to be read: boot parameters, command line, setup_data.
pub struct Arena {
    start: *mut u8,
    len: usize,
}

impl Arena {
    /// # Safety
    /// The memory is there, and nobody else's; more than 8 KiB, aligned to 8.
    pub unsafe fn new(start: *mut u8, len: usize) -> Arena {
        unsafe { start.write_bytes(0, len) };
        Arena { start, len }
    }

    pub fn at(&self, offset: usize) -> u64 {
        assert!(offset < self.len);
        self.start as u64 + offset as u64
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        unsafe { self.start.add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// A node of setup_data.
    pub fn node(&mut self, offset: usize, next: u64, kind: u32, data: &[u8]) {
        let head = [&next.to_le_bytes()[..], &kind.to_le_bytes(), &(data.len() as u32).to_le_bytes()].concat();
        self.write(offset, &[&head, data].concat());
    }

    pub fn params(&self) -> BootParams {
        unsafe { BootParams::new(self.start) }
    }

    /// The memory map: start, length, kind of each.
    pub fn map(&mut self, entries: &[(u64, u64, u32)]) {
        self.params().set_u8(at::E820_ENTRIES, entries.len() as u8);
        for (index, (start, len, kind)) in entries.iter().enumerate() {
            self.write(at::E820_TABLE + 20 * index, &entry(*start, *len, *kind));
        }
    }
}

/// An entry of the memory map.
pub fn entry(start: u64, len: u64, kind: u32) -> Vec<u8> {
    [&start.to_le_bytes()[..], &len.to_le_bytes(), &kind.to_le_bytes()].concat()
}

/// Where the stub puts the kernel, and whether by chance; or what it says.
pub fn decide(p: &Parameters, params: BootParams, load: u64) -> Result<(u64, bool), String> {
    match catch_unwind(AssertUnwindSafe(|| place::decide(p, params, load))) {
        Ok(decision) => Ok((decision.at, decision.random)),
        Err(why) => match why.downcast::<console::Halted>() {
            Ok(halted) => Err(halted.0),
            Err(other) => resume_unwind(other),
        },
    }
}

/// Takes what is to be chosen from the front of the input; zeros when there is nothing left.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    pub fn byte(&mut self) -> u64 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        (*first).into()
    }

    pub fn half(&mut self) -> u64 {
        self.byte() << 8 | self.byte()
    }

    /// Mostly small, seldom anything.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            0xff => (0..4).fold(0, |all, _| all << 16 | self.half()),
            unit => self.half() << (unit % 17),
        }
    }
}

/// Any boot parameters, and any image: where the stub decides that the kernel goes is free, there is memory, and it is refused where
/// the boot protocol's place is not.
///
/// The arena has more than 8 KiB; what is mapped below [`CMDLINE_MAX`] bytes of its end is zero.
pub fn any_place(arena: &mut Arena, input: &[u8]) {
    let mut choices = Choices(input);
    let how = choices.byte();
    let mut kept = vec![arena.params().span()];
    // The parameters of the image, as the packer makes them.
    let align = 1 << (12 + choices.byte() % 14);
    let run_at = (1 + choices.half()) << 12;
    let flags = [RELOCATABLE, BITS32, RELOCS, KASLR];
    let p = Parameters {
        flags: flags.iter().enumerate().map(|(bit, flag)| if how >> bit & 1 == 0 { *flag } else { 0 }).sum(),
        load_min: choices.half() << 12,
        align,
        init_size: run_at + ((1 + choices.byte()) << 12),
        run_at,
        span: run_at,
        file_len: run_at.min(choices.number().max(1)),
        ..Parameters::default()
    };
    let load = choices.half() << 12;
    let initrd = Span::new(choices.number(), choices.number());
    arena.params().set_ramdisk(initrd);
    kept.push(initrd);
    // Command line and setup_data stand one behind the other.
    let words = [&b""[..], b"mem=64M", b"nokaslr", b"memmap=1", b"mem=1G quiet"];
    let text = words[choices.byte() as usize % words.len()];
    let mut free = PAGE as usize;
    if how & 0x10 == 0 {
        arena.write(free, text);
        arena.params().set_cmdline_at(arena.at(free));
        kept.push(Span::new(arena.at(free), text.len() as u64 + 1));
        free += text.len().next_multiple_of(8) + 8;
    }
    let mut entries = Vec::new();
    let map = |choices: &mut Choices<'_>| (choices.number(), choices.number(), choices.byte() as u32 % 3);
    for _ in 0..choices.byte() % 129 {
        entries.push(map(&mut choices));
    }
    arena.map(&entries);
    let is_mapped = !entries.is_empty();
    let nodes = choices.byte() as usize % 20;
    let mut before = None;
    for _ in 0..nodes {
        let (kind, data) = match choices.byte() % 4 {
            0 => (1 << 31, [&[0; 8][..], &choices.number().to_le_bytes(), &choices.number().to_le_bytes()].concat()),
            1 => {
                let more: Vec<_> = (0..choices.byte() % 4).map(|_| map(&mut choices)).collect();
                entries.extend(is_mapped.then_some(&more).into_iter().flatten());
                (1, more.iter().flat_map(|(start, len, kind)| entry(*start, *len, *kind)).collect())
            }
            _ => (2, vec![0; choices.byte() as usize % 50]),
        };
        if free + 16 + data.len() + CMDLINE_MAX > arena.len {
            break;
        }
        arena.node(free, 0, kind, &data);
        match before {
            None => arena.params().set_u64(at::SETUP_DATA, arena.at(free)),
            Some(before) => arena.write(before, &arena.at(free).to_le_bytes()),
        }
        kept.push(Span::new(arena.at(free), 16 + data.len() as u64));
        if kind == 1 << 31 {
            let number = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
            kept.push(Span::new(number(16), number(8)));
        }
        before = Some(free);
        free += (16 + data.len()).next_multiple_of(8);
    }
    let is_endless = before.is_some() && how & 0xe0 == 0xe0;
    if is_endless {
        arena.write(before.unwrap_or_default(), &arena.params().u64(at::SETUP_DATA).to_le_bytes());
    }
    if !is_mapped {
        let kib = choices.half() << 4;
        arena.params().set_u32(at::ALT_MEM_K, kib as u32);
        if kib != 0 {
            entries.push((1 << 20, kib << 10, 1));
        }
    }

    let is_free = |at: u64| {
        let Some(end) = at.checked_add(p.init_size) else { return false };
        let need = Span { start: at, end };
        let mut ram: Vec<_> =
            entries.iter().filter(|entry| entry.2 == 1).map(|entry| Span::new(entry.0, entry.1)).collect();
        ram.sort_by_key(|span| span.start);
        let reached =
            ram.iter().fold(at, |reached, span| if span.start <= reached { reached.max(span.end) } else { reached });
        reached >= end && kept.iter().all(|span| span.start >= span.end || !span.overlaps(&need))
    };
    let by_protocol = match p.has(RELOCATABLE) {
        true => load.next_multiple_of(align).max(p.load_min),
        false => p.load_min,
    };
    let file = Span::new(load, p.file_len);
    let is_copied = file.overlaps(&Span { start: by_protocol + p.run_at, end: by_protocol + p.init_size });
    let can = is_free(by_protocol) && !is_copied && !is_endless;
    match decide(&p, arena.params(), load) {
        Ok((at, random)) if at == by_protocol => assert!(can || random && is_free(at), "{at:#x}"),
        Ok((at, random)) => {
            assert!(random && !is_endless && is_free(at), "{at:#x}");
            let need = Span::new(at, p.init_size);
            assert!(at % align == 0 && at >= p.load_min.min(512 << 20) && !need.overlaps(&file));
            let reserved = entries.iter().filter(|entry| entry.2 != 1 && entry.1 != 0);
            assert!(reserved.into_iter().all(|entry| !Span::new(entry.0, entry.1).overlaps(&need)));
        }
        Err(why) => assert!(!can, "{why}: {p:x?} {by_protocol:#x} {load:#x}"),
    }
}
