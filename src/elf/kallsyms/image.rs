//! The kernel that is searched, and the relocations that it applies to itself.

use super::PAGE;
use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, len64};
use crate::elf::{Elf, PT_LOAD};
use std::cell::OnceCell;

/// The kernel that is searched.
pub(in crate::elf) struct Image<'a> {
    pub(in crate::elf) bytes: &'a [u8],
    pub(in crate::elf) cursor: Cursor<'a>,
    pub(in crate::elf) is_64: bool,
    /// A 64-bit kernel that is not at the end of all addresses.
    is_low: bool,
    /// File offset, bytes and address of each loaded piece; `None` of a flat kernel.
    loads: Option<Vec<(u64, u64, u64)>>,
    rela: OnceCell<Option<Rela>>,
}

/// S/390 and SPARC give each process and the kernel all addresses.
fn is_low(arch: Arch) -> bool {
    matches!(arch, Arch::S390 | Arch::Sparc64)
}

impl<'a> Image<'a> {
    pub(in crate::elf) fn new(elf: &Elf<'a>) -> Image<'a> {
        let bytes = elf.bytes();
        let loads = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
        Image {
            bytes,
            cursor: Cursor::new(bytes, elf.endian()),
            is_64: elf.is_64(),
            is_low: elf.arch().is_some_and(is_low),
            loads: Some(loads.map(|segment| (segment.offset, segment.filesz, segment.vaddr)).collect()),
            rela: OnceCell::new(),
        }
    }

    /// A kernel that is flat: where it runs is not known.
    pub(in crate::elf) fn flat(bytes: &'a [u8], endian: Endian, is_64: bool, arch: Option<Arch>) -> Image<'a> {
        let is_low = arch.is_some_and(is_low);
        Image { bytes, cursor: Cursor::new(bytes, endian), is_64, is_low, loads: None, rela: OnceCell::new() }
    }

    /// Is it flat?
    pub(in crate::elf) fn is_flat(&self) -> bool {
        self.loads.is_none()
    }

    /// May a kernel run at this address? 64-bit ones run at the end of all addresses, or where the CPU maps memory as it is:
    /// LoongArch, MIPS with and without cache, PowerPC.
    pub(in crate::elf) fn is_address(&self, address: u64) -> bool {
        match self.is_64 {
            true if self.is_low => (PAGE..1 << 53).contains(&address),
            true => matches!(address >> 48, 0xffff | 0x9000 | 0x9800 | 0xa800 | 0xc000),
            false => address != 0,
        }
    }

    /// Bytes in a word.
    pub(in crate::elf) fn word(&self) -> u64 {
        if self.is_64 { 8 } else { 4 }
    }

    /// What tables are aligned to: a word; from 7.0 on 4 bytes; up to 4.19 `.align 4` and `.align 8`, which for ARM's
    /// assembler (and others') are powers of two.
    pub(in crate::elf) fn aligns(&self) -> [u64; 3] {
        [self.word(), 4, if self.is_64 { 256 } else { 16 }]
    }

    pub(in crate::elf) fn word_at(&self, at: u64) -> Option<u64> {
        match self.is_64 {
            true => self.cursor.u64("word", at).ok(),
            false => self.cursor.u32("word", at).ok().map(u64::from),
        }
    }

    /// The virtual address of a file offset; `None` of a flat kernel.
    pub(in crate::elf) fn address_of(&self, at: u64) -> Option<u64> {
        self.loads.iter().flatten().find_map(|(offset, len, address)| {
            let inside = at.checked_sub(*offset).filter(|inside| inside < len)?;
            address.checked_add(inside)
        })
    }
}

impl Image<'_> {
    /// The address of a flat kernel's first byte, when its relocations were needed and told it.
    pub(in crate::elf) fn base(&self) -> Option<u64> {
        *self.rela.get()?.as_ref()?.base.get()?
    }

    /// A word that holds an address; where it is zero, what the kernel itself writes there when it starts.
    pub(in crate::elf) fn relocated_word(&self, at: u64) -> Option<u64> {
        match self.word_at(at)? {
            0 if self.is_64 => self.rela.get_or_init(|| Rela::find(self)).as_ref()?.value(self, at),
            word => Some(word),
        }
    }
}

/// The relocations of a 64-bit kernel that moves itself: Elf64_Rela, relative ones first (arch/arm64/kernel/pi/relocate.c,
/// arch/riscv/mm/init.c and arch/s390/boot/startup.c, Linux 7.2). The linker leaves their places zero. Those of RELR have
/// their value in place and need no help.
#[derive(Debug)]
struct Rela {
    /// Place and value of the relative ones, both virtual addresses; by rising place.
    entries: Vec<(u64, u64)>,
    /// Place and addend of those that add the value of a symbol (S/390, up to 6.9); by rising place.
    symbolic: Vec<(u64, u64)>,
    /// The address of a flat kernel's first byte, when they told it.
    base: OnceCell<Option<u64>>,
}

/// Bytes of an entry.
const ENTRY_LEN: u64 = 24;
/// A run of fewer entries proves nothing.
const LEAST: usize = 64;

/// `r_info` of relative relocations: R_AARCH64_RELATIVE, R_RISCV_RELATIVE and R_LARCH_RELATIVE, R_390_RELATIVE,
/// R_PPC64_RELATIVE.
const RELATIVE: [u64; 4] = [0x403, 3, R_390_RELATIVE, 22];
const R_390_RELATIVE: u64 = 12;
/// The lower half of `r_info`; the upper one is the symbol.
const R_390_64: u64 = 22;

impl Rela {
    /// The longest run of relative relocations, and what follows; no header leads to it.
    fn find(image: &Image<'_>) -> Option<Rela> {
        let word = |at| image.cursor.u64("Elf64_Rela", at).ok();
        let (mut best_at, mut best_len, mut kind) = (0, 0, 0);
        for phase in [0, 8, 16] {
            let (mut at, mut run) = (phase, (0, 0_u64));
            while let Some(info) = word(at + 8) {
                let is_more = RELATIVE.contains(&info) && (run.1 == 0 || run.0 == info);
                run = if is_more { (info, run.1 + 1) } else { (0, 0) };
                if run.1 > best_len {
                    (best_at, best_len, kind) = (at + ENTRY_LEN - run.1 * ENTRY_LEN, run.1, info);
                }
                at += ENTRY_LEN;
            }
        }
        let entry = |index| Some((word(best_at + index * ENTRY_LEN)?, word(best_at + index * ENTRY_LEN + 16)?));
        let is_symbolic = |index: &u64| {
            let info = word(best_at + index * ENTRY_LEN + 8);
            kind == R_390_RELATIVE && info.is_some_and(|info| info & u64::from(u32::MAX) == R_390_64)
        };
        let mut entries: Vec<_> = (0..best_len).map_while(entry).collect();
        let mut symbolic: Vec<_> = (best_len..).take_while(is_symbolic).map_while(entry).collect();
        entries.sort_unstable();
        symbolic.sort_unstable();
        (entries.len() >= LEAST).then_some(Rela { entries, symbolic, base: OnceCell::new() })
    }

    /// What is written to the word at this file offset.
    fn value(&self, image: &Image<'_>, at: u64) -> Option<u64> {
        let place = match image.is_flat() {
            true => self.base(image)?.checked_add(at)?,
            false => image.address_of(at)?,
        };
        let find = |all: &[(u64, u64)]| {
            all.binary_search_by_key(&place, |entry| entry.0).ok().and_then(|index| all.get(index)).map(|entry| entry.1)
        };
        // What kallsyms adds something to is `_text`, the first byte (scripts/kallsyms.c, output_address).
        find(&self.entries).or_else(|| find(&self.symbolic)?.checked_add(self.base(image)?))
    }

    /// The address of a flat kernel's first byte: the one for which all places are in the file and empty.
    fn base(&self, image: &Image<'_>) -> Option<u64> {
        *self.base.get_or_init(|| {
            const SAMPLE: usize = 512;
            let step = (self.entries.len() / SAMPLE).max(1);
            let word = |at| image.cursor.u64("relocation", at).ok();
            let fits = |base: &u64| {
                let (mut inside, mut all) = (0, 0);
                let is_empty = self.entries.iter().step_by(step).all(|(place, value)| {
                    all += 1;
                    // Some are for the start-up code in front of the kernel's first byte (arm64).
                    let Some(found) = place.checked_sub(*base).and_then(word) else { return true };
                    inside += 1;
                    found == 0 || found == *value
                });
                is_empty && inside >= all / 10 * 9
            };
            let middle = self.entries.get(self.entries.len() / 2)?.0;
            let pages = (0..len64(image.bytes) / PAGE).map_while(|page| (middle / PAGE).checked_sub(page));
            let mut fitting = pages.map(|page| page * PAGE).filter(fits);
            fitting.next().filter(|_| fitting.next().is_none())
        })
    }
}
