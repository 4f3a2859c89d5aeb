//! ELF files with everything that a linker script can do.

use super::*;

/// SplitMix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Bytes of which none is 0, so that a hole shows.
    pub(super) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(255) as u8 + 1).collect()
    }
}

/// For a linker that still has to link: an image has it all the same.
const SHF_EXCLUDE: u64 = 0x8000_0000;

const NAMES: [&str; 16] = [
    ".text",
    ".rodata",
    ".data",
    ".bss",
    ".note",
    ".note.a",
    ".init.text",
    ".init.data",
    ".tdata",
    ".tbss",
    ".a-b",
    ".x[1]",
    "__ex_table",
    ".exit.text",
    "text",
    ".comment",
];

/// A file with everything that a linker script can do to load addresses.
pub(super) fn generate(rng: &mut Rng) -> Builder {
    // x86 has backends of its own in objcopy; the other machines, known or not, have the generic ones.
    let (is_64, big_endian, machine) = match rng.below(6) {
        0 => (true, false, 62),
        1 => (false, false, 3),
        _ => (rng.one_in(2), rng.one_in(2), rng.pick(&[40, 8, 20, 183, 243, 2, 42, 0x1234, 0xfeed, 0])),
    };
    let mut elf = Builder::new(is_64, big_endian, machine);
    elf.kind = if rng.one_in(8) { ET_REL } else { rng.pick(&[ET_EXEC, 3]) };
    let high = if is_64 { 0xffff_ffff_8000_0000 } else { 0xc000_0000 };
    let link_base = rng.pick(&[0, 0, 0, 0, 0x7000_0000, high]);
    let mut vaddr: u64 = link_base + rng.pick(&[0, 0x1000, 0x2000]);
    let count = 1 + rng.below(12);
    while (elf.sections.len() as u64) <= count {
        let first = elf.sections.len();
        for _ in 0..1 + rng.below(5) {
            let name = rng.pick(&NAMES);
            let mut flags = rng.pick(&[0, SHF_WRITE, SHF_EXECINSTR]) | if rng.one_in(12) { 0 } else { SHF_ALLOC };
            if name.starts_with(".t") && rng.one_in(2) {
                flags |= SHF_TLS;
            }
            if rng.one_in(15) {
                flags |= SHF_EXCLUDE;
            }
            let size = match rng.below(6) {
                0 => 0,
                1 => rng.below(3000),
                _ => 1 + rng.below(64),
            };
            match rng.below(5) {
                0 => drop(elf.nobits(name, flags, vaddr, size)),
                1 => {
                    // Arrays of constructors, hash tables, and what only an operating system or a CPU knows.
                    let kind = rng.pick(&[SHT_NOTE, SHT_INIT_ARRAY, 15, 16, 5, 0x6fff_fff6, 0x6000_0001, 0x7000_0001]);
                    let bytes = rng.bytes(size);
                    elf.section(name, kind, flags, vaddr, &bytes);
                }
                _ => {
                    let bytes = rng.bytes(size);
                    elf.section(name, SHT_PROGBITS, flags, vaddr, &bytes);
                }
            }
            let contents = elf.sections.last().unwrap().kind != SHT_NOBITS;
            let gap = if rng.one_in(2) { 0 } else { rng.below(200) };
            // Most of the time the file has the same gaps as the memory, as a segment wants it.
            match rng.below(8) {
                0 => {
                    vaddr = vaddr.saturating_sub(rng.below(100));
                    elf.skip(rng.below(30));
                }
                _ => {
                    vaddr += size + gap;
                    elf.skip(if contents { gap } else { 0 });
                }
            }
        }
        let end = elf.sections.len();
        // Some sections are in no segment, some in several. Those in none stay where they were linked, which makes
        // most images huge that were linked high: such are few.
        let strays = link_base == 0 || rng.one_in(20);
        for _ in 0..if strays { rng.pick(&[0, 1, 1, 1, 2]) } else { rng.pick(&[1, 1, 1, 2]) } {
            let from = first as u64 + rng.below((end - first) as u64);
            let to = from + 1 + rng.below(end as u64 - from);
            let range = if strays && rng.one_in(3) { from as usize..to as usize } else { first..end };
            let at = elf.sections[range.start].addr.saturating_sub(link_base);
            // Where it is linked, at a fixed distance from there (a few of these overlap), or anywhere.
            let paddr = rng.pick(&[at, at, at + 0x1000, at + 0x80, at.saturating_sub(0x40), 0x3000, 0]);
            let kind = if rng.one_in(8) { rng.pick(&[PT_TLS, PT_NOTE, 0x6474_e552]) } else { PT_LOAD };
            elf.segment(kind, range, paddr);
        }
        vaddr += rng.pick(&[0, 0, 1, 0x1000, 0x321]);
    }
    if elf.kind == ET_REL && rng.one_in(2) {
        elf.segments.clear();
        elf.sections.iter_mut().for_each(|section| section.addr = 0);
    }
    for segment in &mut elf.segments {
        match rng.below(12) {
            0 => segment.filesz = rng.below(segment.filesz + 1),
            1 => segment.memsz += rng.below(500),
            2 => segment.memsz = 0,
            _ => {}
        }
    }
    if rng.one_in(5) {
        elf.segments.iter_mut().for_each(|segment| segment.paddr = 0);
    }
    if rng.one_in(6) {
        elf.segments.reverse();
    }
    if rng.one_in(4) {
        elf.segments.push(Segment { kind: 0x6474_e551, ..Segment::default() });
    }
    elf
}
