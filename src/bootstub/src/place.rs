//! Where the kernel goes: by the boot protocol, or by chance.

use super::CMDLINE_MAX;
use super::boot_params::{BootParams, NODE_HEADER};
use super::cmdline;
use super::console::Part::{Hex, Text};
use super::console::halt;
use super::memory::{Choice, PAGE, Refusal, Span, Taken, check_place};
use super::paging::Tables;
use super::parameters::{BITS32, CMDLINE_OVERRIDES, KASLR, Parameters, RELOCATABLE, RELOCS};
use super::random::Random;

/// The part of the virtual address space that a 64-bit Linux kernel may be in, from `__START_KERNEL_map`
/// (`KERNEL_IMAGE_SIZE` of a kernel that can be randomised).
const KERNEL_IMAGE_SIZE: u64 = 1 << 30;
/// A kernel is moved down to here at the lowest, as Linux does it.
const LOWEST: u64 = 512 << 20;
/// Behind this, four levels of page tables do not reach (Linux `MAXMEM`); or what a CPU of 32 bits reaches.
const HIGHEST: u64 = if cfg!(target_arch = "x86_64") { 1 << 46 } else { 1 << 32 };

/// What was decided.
pub struct Decision {
    /// The kernel's address.
    pub at: u64,
    /// How far it is moved in virtual memory.
    pub delta: u64,
    /// By chance?
    pub random: bool,
}

/// Maps all that the stub reads, and `own`.
pub fn map_inputs(tables: &mut Tables, params: BootParams, own: Span) {
    tables.map(own.start, own.end - own.start);
    let page = params.span();
    tables.map(page.start, PAGE);
    tables.map(params.cmdline_at(), CMDLINE_MAX as u64);
    params.nodes(&mut |node, header| {
        tables.map(node, NODE_HEADER + header.map_or(0, |(_, len)| u64::from(len)));
    });
}

/// A list with room for so many.
pub struct List<T, const N: usize> {
    items: [T; N],
    len: usize,
    /// There were more.
    full: bool,
}

impl<T: Copy, const N: usize> List<T, N> {
    fn new(blank: T) -> Self {
        List { items: [blank; N], len: 0, full: false }
    }

    fn push(&mut self, item: T) {
        match self.items.get_mut(self.len) {
            Some(place) => {
                *place = item;
                self.len += 1;
            }
            None => self.full = true,
        }
    }

    pub fn get(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or(&[])
    }
}

const EMPTY: Span = Span::new(0, 0);

/// What of the memory may be used, neighbours joined.
#[inline(never)]
pub fn usable(params: BootParams) -> List<Span, 160> {
    let mut list = List::<Span, 160>::new(EMPTY);
    params.memory_map(&mut |span, usable| {
        if !usable {
            return;
        }
        match list.len.checked_sub(1).and_then(|last| list.items.get_mut(last)) {
            Some(last) if last.end == span.start => last.end = span.end,
            _ => list.push(span),
        }
    });
    list
}

/// Everything that must survive the stub. False when not all of it can be known.
#[inline(never)]
pub fn taken(params: BootParams, see: &mut dyn FnMut(Taken)) -> bool {
    let mut push = |name, span: Span| {
        if span.start < span.end {
            see(Taken { name, span });
        }
    };
    push("the initrd", params.ramdisk());
    push("the boot parameters", params.span());
    let cmdline = params.cmdline(CMDLINE_MAX);
    // With the zero at its end.
    let len = if params.cmdline_at() == 0 { 0 } else { cmdline.len() as u64 + 1 };
    push("the command line", Span::new(params.cmdline_at(), len));
    params.setup_data_spans(&mut |span| push("the setup data", span))
}

/// What the command line says about the place.
pub struct Wishes {
    /// By chance?
    random: bool,
    /// `mem=`
    pub limit: Option<u64>,
    /// The memory map is all there is to know.
    pub plain_map: bool,
}

impl Wishes {
    /// `loader`: what the boot loader says, as far as it counts.
    pub fn read(p: &Parameters, built_in: &[u8], loader: &[u8]) -> Wishes {
        let said = |word: &[u8]| cmdline::has(built_in, word) || cmdline::has(loader, word);
        let value = |name: &[u8]| cmdline::value(loader, name).or_else(|| cmdline::value(built_in, name));
        Wishes {
            random: p.has(KASLR) && p.has(RELOCS) && !said(b"nokaslr"),
            limit: value(b"mem=").and_then(cmdline::size).filter(|limit| *limit != 0),
            // What the kernel takes away itself is not in the map.
            plain_map: value(b"memmap=").is_none(),
        }
    }
}

/// Decides. A place by chance may fail to be found, then it is as without chance; `None` when there is none at all.
pub fn choose(
    p: &Parameters,
    wishes: &Wishes,
    chance: &mut Random,
    by_chance: &mut dyn FnMut(&mut Random) -> Option<u64>,
    by_rule: &mut dyn FnMut() -> Option<u64>,
) -> Option<Decision> {
    if wishes.random {
        let physical = by_chance(chance);
        if p.has(BITS32) {
            // One number for both.
            if let Some(at) = physical {
                return Some(Decision { at, delta: at.wrapping_sub(p.load_min), random: true });
            }
        } else {
            let at = physical.or_else(&mut *by_rule)?;
            let room = KERNEL_IMAGE_SIZE.saturating_sub(p.load_min).saturating_sub(p.span);
            let delta = chance.below(room / p.align + 1) * p.align;
            return Some(Decision { at, delta, random: true });
        }
    }
    let at = by_rule()?;
    // A 64-bit kernel can be anywhere in physical memory; a 32-bit one has the same distance in both.
    let delta = if p.has(BITS32) { at.wrapping_sub(p.load_min) } else { 0 };
    Some(Decision { at, delta, random: false })
}

/// Decides; does not return when there is no place.
pub fn decide(p: &Parameters, params: BootParams, load: u64) -> Decision {
    let built_in = unsafe { super::bytes_mut(load + p.cmdline_at, p.cmdline_len) };
    let loader = if p.has(CMDLINE_OVERRIDES) { &[] } else { params.cmdline(CMDLINE_MAX) };
    let wishes = Wishes::read(p, built_in, loader);
    // EFI's own map knows more.
    let plain_map = wishes.plain_map && !params.is_efi();
    let seed = if wishes.random { params.bytes() } else { &[] };
    let decision = choose(
        p,
        &wishes,
        &mut Random::new([seed, &[]]),
        &mut |chance| if plain_map { by_chance(p, params, load, wishes.limit, chance) } else { None },
        &mut || Some(by_protocol(p, params, load)),
    );
    // Where the protocol has it, there it goes.
    match decision {
        Some(decision) => decision,
        None => unreachable!(),
    }
}

/// Where a kernel that can be moved can go, below the limit.
#[inline(never)]
pub fn anywhere(p: &Parameters, limit: Option<u64>) -> Choice {
    let max = if p.has(BITS32) { LOWEST } else { HIGHEST };
    Choice { min: p.load_min.min(LOWEST), max: max.min(limit.unwrap_or(u64::MAX)), align: p.align, size: p.init_size }
}

fn by_chance(p: &Parameters, params: BootParams, load: u64, limit: Option<u64>, chance: &mut Random) -> Option<u64> {
    if !p.has(RELOCATABLE) {
        return None;
    }
    let choice = anywhere(p, limit);
    let usable = usable(params);
    let mut list = List::<Taken, 160>::new(Taken { name: "", span: EMPTY });
    let is_all = taken(params, &mut |one| list.push(one));
    // Not on the file itself either: it is copied forwards. Nor where the map contradicts itself.
    list.push(Taken { name: "this image", span: Span::new(load, p.file_len) });
    params.memory_map(&mut |span, usable| {
        if !usable {
            list.push(Taken { name: "reserved memory", span });
        }
    });
    let count = choice.count(usable.get(), list.get());
    if list.full || !is_all || count == 0 {
        return None;
    }
    choice.nth(chance.below(count), usable.get(), list.get())
}

fn by_protocol(p: &Parameters, params: BootParams, load: u64) -> u64 {
    // All of them, however many there are.
    let usable = |see: &mut dyn FnMut(Span)| {
        params.memory_map(&mut |span, usable| {
            if usable {
                see(span);
            }
        });
    };
    if !taken(params, &mut |_| {}) {
        halt(&[Text("the list of the setup data has no end")]);
    }
    let taken = |see: &mut dyn FnMut(Taken)| {
        taken(params, see);
    };
    match check_place(p, load, &usable, &taken) {
        Ok(at) => at,
        Err(Refusal::NotEnoughRam { need, missing }) => halt(&[
            Text("not enough RAM: the kernel needs "),
            Hex(need.start),
            Text(" to "),
            Hex(need.end),
            Text(", and there is none at "),
            Hex(missing),
        ]),
        Err(Refusal::InTheWay { need, what }) => halt(&[
            Text(what.name),
            Text(" at "),
            Hex(what.span.start),
            Text(" to "),
            Hex(what.span.end),
            Text(" is in the way: the kernel needs "),
            Hex(need.start),
            Text(" to "),
            Hex(need.end),
        ]),
        Err(Refusal::Overflow) => halt(&[Text("the image is damaged: impossible sizes")]),
    }
}
