//! Where everything goes in memory: one arithmetic for the packer, the boot stub and whoever verifies an image.
//!
//! `core` alone: the boot stub compiles this file too, and its own checks are these functions.
//!
//! ```text
//! kernel's address                run_at                                  initrd_to        init_size
//! | kernel unpacked, uninitialised | stub, stack | payload, cmdline | heap | RAM disk, built in |
//! ```
//!
//! The stub copies itself and the payload behind the place of the kernel, then unpacks forwards. What it copies from
//! and what it copies to never overlap: the kernel's place begins at or above the loaded file, and `run_at` is no less
//! than the file's length.

use super::parameters::Parameters;

/// A page of memory in bytes.
pub const PAGE: u64 = 4096;

/// A range of physical addresses, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
}

impl Span {
    /// `len` bytes at `start`; ends at the end of the address space at most.
    pub const fn new(start: u64, len: u64) -> Span {
        Span { start, end: start.saturating_add(len) }
    }

    /// Is there a byte that is in both?
    pub const fn overlaps(&self, other: &Span) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Rounds up; `None` past the end of the address space, or for an alignment of 0.
pub const fn align_up(value: u64, align: u64) -> Option<u64> {
    value.checked_next_multiple_of(align)
}

/// Sizes in bytes that the layout follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What comes out of the payload.
    pub unpacked: u64,
    /// The kernel in memory.
    pub span: u64,
    /// What the loader loads.
    pub file: u64,
    /// The stub in memory, stack and page tables included.
    pub stub: u64,
    /// The compressed kernel.
    pub payload: u64,
    /// The built-in command line.
    pub cmdline: u64,
    /// The decompressor's working memory.
    pub heap: u64,
    /// The built-in RAM disk.
    pub initrd: u64,
}

/// Offsets from the kernel's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Where the stub runs.
    pub run_at: u64,
    /// Where the built-in RAM disk goes.
    pub initrd_to: u64,
    /// `init_size` of the boot protocol: all that is needed.
    pub init_size: u64,
}

/// The payload's place behind the stub, and the heap's behind the payload, are multiples of this.
pub const STEP: u64 = 64;

/// Lays out the memory; `None` when the sum does not fit 64 bits.
pub const fn layout(sizes: &Sizes) -> Option<Layout> {
    // `?` on an Option is not const yet.
    macro_rules! get {
        ($value:expr) => {
            match $value {
                Some(value) => value,
                None => return None,
            }
        };
    }
    let mut first = sizes.unpacked;
    if first < sizes.span {
        first = sizes.span;
    }
    if first < sizes.file {
        first = sizes.file;
    }
    let run_at = get!(align_up(first, PAGE));
    let payload = get!(align_up(get!(run_at.checked_add(sizes.stub)), STEP));
    let behind = get!(get!(payload.checked_add(sizes.payload)).checked_add(sizes.cmdline));
    let heap = get!(align_up(behind, STEP));
    let initrd_to = get!(align_up(get!(heap.checked_add(sizes.heap)), PAGE));
    let init_size = get!(align_up(get!(initrd_to.checked_add(sizes.initrd)), PAGE));
    Some(Layout { run_at, initrd_to, init_size })
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The memory map has no usable memory at this address, which the kernel or the stub needs.
    NotEnoughRam {
        /// All that is needed.
        need: Span,
        /// The first byte that is not there.
        missing: u64,
    },
    /// The boot loader put something where the kernel must go.
    InTheWay {
        /// What is needed.
        need: Span,
        /// What is in the way.
        what: Taken,
    },
    /// The sums do not fit: the image is damaged.
    Overflow,
}

/// Memory that something else lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// What it is, for the message.
    pub name: &'static str,
    /// Where it is.
    pub span: Span,
}

/// Where the boot protocol has the kernel, when `load` is where the loader put the first byte of the stub.
///
/// A kernel that may be moved goes to the next multiple of its alignment, but not below the address it was linked for.
pub fn protocol_address(parameters: &Parameters, load: u64) -> Option<u64> {
    if !parameters.has(super::parameters::RELOCATABLE) {
        return Some(parameters.load_min);
    }
    Some(align_up(load, parameters.align)?.max(parameters.load_min))
}

/// Tells all that there is, one after the other: however many there are, they need no room.
pub type Walk<'a, T> = &'a dyn Fn(&mut dyn FnMut(T));

/// The kernel's address by the boot protocol, when there is memory and nothing in the way.
///
/// `usable` are the memory map's ranges that may be used, in any order; they may touch or overlap. `taken` is what must
/// survive. Checks all of [`Parameters::init_size`], before a byte of it is written.
///
/// # Errors
/// [`Refusal`].
pub fn check_place(
    parameters: &Parameters,
    load: u64,
    usable: Walk<'_, Span>,
    taken: Walk<'_, Taken>,
) -> Result<u64, Refusal> {
    let at = protocol_address(parameters, load).ok_or(Refusal::Overflow)?;
    let need = Span::new(at, parameters.init_size);
    if at.checked_add(parameters.init_size).is_none() || parameters.init_size == 0 {
        return Err(Refusal::Overflow);
    }
    // The copies go from the loaded file to behind the kernel's place.
    let file = Taken { name: "this image", span: Span::new(load, parameters.file_len) };
    let run = Span { start: at.saturating_add(parameters.run_at), end: need.end };
    if file.span.overlaps(&run) {
        return Err(Refusal::InTheWay { need, what: file });
    }
    if let Some(missing) = first_missing(need, usable) {
        return Err(Refusal::NotEnoughRam { need, missing });
    }
    let mut hit = None;
    taken(&mut |taken| {
        if hit.is_none() && taken.span.overlaps(&need) {
            hit = Some(taken);
        }
    });
    hit.map_or(Ok(at), |what| Err(Refusal::InTheWay { need, what }))
}

/// The first byte of `need` that is in none of the ranges.
fn first_missing(need: Span, ranges: Walk<'_, Span>) -> Option<u64> {
    let mut at = need.start;
    while at < need.end {
        let before = at;
        ranges(&mut |range| {
            if range.start <= at && at < range.end {
                at = range.end;
            }
        });
        if at == before {
            return Some(at);
        }
    }
    None
}

/// Where a kernel may be put by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Not below this address.
    pub min: u64,
    /// Not at or above this one, with all that it needs (`mem=`, or what the page tables reach).
    pub max: u64,
    /// At multiples of this.
    pub align: u64,
    /// Bytes needed.
    pub size: u64,
}

impl Choice {
    /// The addresses at which there is memory and nothing taken: how many, over all of `usable`.
    pub fn count(&self, usable: &[Span], taken: &[Taken]) -> u64 {
        match self.walk(u64::MAX, usable, taken) {
            Found::Nth(_) => u64::MAX,
            Found::Count(count) => count,
        }
    }

    /// The address with this number, counting from 0 in the order of `usable`.
    pub fn nth(&self, number: u64, usable: &[Span], taken: &[Taken]) -> Option<u64> {
        match self.walk(number, usable, taken) {
            Found::Nth(address) => Some(address),
            Found::Count(_) => None,
        }
    }

    fn walk(&self, number: u64, usable: &[Span], taken: &[Taken]) -> Found {
        let mut count: u64 = 0;
        for range in usable {
            let mut at = range.start.max(self.min);
            while let Some(run) = self.next_run(at, range.end.min(self.max), taken) {
                let left = number - count;
                if left < run.count {
                    // No less than the last address of the run, which was computed without overflow.
                    return Found::Nth(run.first.saturating_add(left.saturating_mul(self.align)));
                }
                count = count.saturating_add(run.count);
                at = run.behind;
            }
        }
        Found::Count(count)
    }

    /// The first run of free addresses at or above `at` of which all that is needed ends at or below `end`.
    fn next_run(&self, mut at: u64, end: u64, taken: &[Taken]) -> Option<Run> {
        loop {
            let first = align_up(at, self.align)?;
            let need = Span { start: first, end: first.checked_add(self.size)? };
            if need.end > end {
                return None;
            }
            if let Some(hit) = taken.iter().find(|taken| taken.span.overlaps(&need)) {
                at = hit.span.end;
                continue;
            }
            // Up to what comes next, all are free.
            let mut next = end;
            for taken in taken {
                if taken.span.start >= need.end {
                    next = next.min(taken.span.start);
                }
            }
            let steps = next.checked_sub(need.end)?.checked_div(self.align)?;
            let behind = first.checked_add(steps.checked_add(1)?.checked_mul(self.align)?)?;
            return Some(Run { first, count: steps.checked_add(1)?, behind });
        }
    }
}

/// Free addresses, one alignment apart.
struct Run {
    first: u64,
    count: u64,
    behind: u64,
}

enum Found {
    Nth(u64),
    Count(u64),
}

#[cfg(test)]
mod tests {
    use super::super::parameters::RELOCATABLE;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn parameters() -> Parameters {
        Parameters {
            flags: RELOCATABLE,
            load_min: 16 * MIB,
            align: 2 * MIB,
            init_size: 20 * MIB,
            run_at: 12 * MIB,
            file_len: 8 * MIB,
            ..Parameters::default()
        }
    }

    fn span(start: u64, end: u64) -> Span {
        Span { start: start * MIB, end: end * MIB }
    }

    #[test]
    fn what_the_boot_protocol_says() {
        let mut p = parameters();
        assert_eq!(protocol_address(&p, MIB), Some(16 * MIB));
        assert_eq!(protocol_address(&p, 33 * MIB), Some(34 * MIB));
        p.flags = 0;
        assert_eq!(protocol_address(&p, 33 * MIB), Some(16 * MIB));
    }

    #[test]
    fn memory_and_what_is_in_the_way() {
        let p = parameters();
        let check = |usable: &[Span], taken: &[Span]| {
            let usable = |see: &mut dyn FnMut(Span)| usable.iter().copied().for_each(see);
            let taken =
                |see: &mut dyn FnMut(Taken)| taken.iter().for_each(|span| see(Taken { name: "x", span: *span }));
            check_place(&p, MIB, &usable, &taken)
        };
        assert_eq!(check(&[span(1, 36)], &[]), Ok(16 * MIB));
        assert_eq!(check(&[span(30, 40), span(0, 20), span(20, 30)], &[span(36, 40), span(0, 16)]), Ok(16 * MIB));
        let need = span(16, 36);
        assert_eq!(check(&[span(1, 35)], &[]), Err(Refusal::NotEnoughRam { need, missing: 35 * MIB }));
        assert_eq!(check(&[], &[]), Err(Refusal::NotEnoughRam { need, missing: 16 * MIB }));
        let what = Taken { name: "x", span: span(35, 36) };
        assert_eq!(check(&[span(0, 99)], &[span(1, 2), span(35, 36)]), Err(Refusal::InTheWay { need, what }));
    }

    #[test]
    fn every_address_that_is_chosen_is_free() {
        let choice = Choice { min: 16 * MIB, max: 200 * MIB, align: 2 * MIB, size: 5 * MIB };
        let usable = [span(1, 30), span(100, 101), span(64, 90), span(195, 300)];
        let taken = [span(20, 22), span(70, 71), span(29, 31)].map(|span| Taken { name: "x", span });
        let mut wanted = Vec::new();
        for range in usable {
            for at in (0..400).map(|at| at * 2) {
                let need = span(at, at + 5);
                let inside = at >= 16 && at + 5 <= 200 && range.start <= need.start && need.end <= range.end;
                if inside && taken.iter().all(|taken| !taken.span.overlaps(&need)) {
                    wanted.push(at * MIB);
                }
            }
        }
        assert_eq!(choice.count(&usable, &taken), wanted.len() as u64);
        let got: Vec<_> = (0..).map_while(|n| choice.nth(n, &usable, &taken)).collect();
        assert_eq!(got, wanted);
        assert_eq!(wanted.len(), 10);
    }

    #[test]
    fn nothing_overlaps_and_nothing_overflows() {
        let sizes =
            Sizes { unpacked: 10, span: 5000, file: 9000, stub: 70000, payload: 8000, cmdline: 5, heap: 0, initrd: 1 };
        let got = layout(&sizes).unwrap();
        assert_eq!(got, Layout { run_at: 0x3000, initrd_to: 0x17000, init_size: 0x18000 });
        assert_eq!(layout(&Sizes { heap: u64::MAX, ..sizes }), None);
    }
}
