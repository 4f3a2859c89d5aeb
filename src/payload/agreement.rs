//! Whether a relocation table belongs to a kernel: what stands at the places that it names?
//!
//! A table of another build looks just like the right one: rising addresses, all of them inside the kernel. But at a
//! place that is relocated there is an address of the kernel, and at other places there mostly is none.

use crate::bytes::{Cursor, slice};
use crate::elf::{Elf, PT_LOAD, RelocTable, Segment, sign_extended};

/// How many of the words of one list are what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Words looked at: the length of the list.
    pub checked: u64,
    /// Those of them that point into the kernel.
    pub inside: u64,
}

impl Share {
    /// 49 of 50 at least; see [`Agreement::is_right`].
    fn is_right(self) -> bool {
        (self.checked - self.inside).saturating_mul(50) <= self.checked
    }
}

/// How well a relocation table fits a kernel, list by list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// The 64-bit addresses that point into the kernel.
    pub addresses64: Share,
    /// The 32-bit distances that lead into the per-CPU area.
    pub inverse32: Share,
    /// The 32-bit addresses, extended by their sign in a 64-bit kernel, that point into the kernel.
    pub addresses32: Share,
}

impl Agreement {
    /// Words looked at, of all lists.
    pub fn checked(&self) -> u64 {
        self.lists().iter().map(|share| share.checked).sum()
    }

    /// Those of them that are what they should be.
    pub fn inside(&self) -> u64 {
        self.lists().iter().map(|share| share.inside).sum()
    }

    /// Is it this kernel's table? It is not empty, and at least 98 of 100 words of each list are right.
    ///
    /// Measured on 14 kernels, 5.10 to 7.2, with one list, two and three (the corpus and Debian's images for amd64 and
    /// 686, 30,000 to 340,000 relocations), as the smallest share of the right table and the largest of a wrong one:
    ///
    /// | list | right table | shifted by 4 to 4096 bytes | of another kernel |
    /// |---|---:|---:|---:|
    /// | 64-bit addresses | 0.9955 | 0.743 | 0.271 |
    /// | 32-bit distances | 1.0000 | 0.020 | 0.005 |
    /// | 32-bit addresses, 64-bit kernel | 0.9994 | 0.058 | 0.034 |
    /// | 32-bit addresses, 32-bit kernel | 0.9993 | 0.359 | 0.086 |
    ///
    /// What is not inside in a right table: physical addresses (page tables, `head_64.S`), addresses of what lies
    /// before the kernel (`dummy_mapping`, arrays that are indexed from another number than 0), and the entries of
    /// functions left out that `scripts/sorttable` sets to zero in `__mcount_loc`, most of them by far (664 of 694 in
    /// Debian's 6.12).
    pub fn is_right(&self) -> bool {
        self.checked() > 0 && self.lists().iter().all(|share| share.is_right())
    }

    fn lists(&self) -> [Share; 3] {
        [self.addresses64, self.inverse32, self.addresses32]
    }
}

/// Looks at every word of `kernel` that `table` names, as `handle_relocations` of the decompressor finds it
/// (arch/x86/boot/compressed/misc.c), and counts those that point into the kernel.
///
/// The kernel lies from the first to the last byte of its `PT_LOAD` segments, as they are loaded one behind the other;
/// that is `_text` to `_end` (in Linux 7.2 a little more), and needs no symbols. A place that is not in the file counts
/// as checked and as outside.
pub fn points_into(kernel: &Elf<'_>, table: &RelocTable) -> Agreement {
    let Some(memory) = Memory::new(kernel) else { return Agreement::default() };
    let is_64 = kernel.is_64();
    let extend = |word: u32| if is_64 { sign_extended(word) } else { u64::from(word) };
    let share = |list: &[u32], is_right: &dyn Fn(u64) -> Option<bool>| Share {
        checked: u64::try_from(list.len()).unwrap_or(u64::MAX),
        inside: list.iter().map(|place| u64::from(is_right(extend(*place)) == Some(true))).sum(),
    };
    Agreement {
        addresses64: share(&table.addresses64, &|place| Some(memory.holds(memory.word64(place)?))),
        inverse32: share(&table.inverse32, &|place| {
            Some(memory.is_per_cpu(place.wrapping_add(sign_extended(memory.word32(place)?))))
        }),
        addresses32: share(&table.addresses32, &|place| Some(memory.holds(extend(memory.word32(place)?)))),
    }
}

/// The kernel as the decompressor loads it.
struct Memory<'e, 'a> {
    kernel: &'e Elf<'a>,
    /// What is loaded, by rising physical address.
    loads: Vec<&'e Segment>,
    /// What a virtual address has more than the physical one.
    bias: u64,
    /// Physical addresses.
    first: u64,
    /// Behind the last byte: `_end` is an address, too.
    end: u64,
    /// Bytes of the per-CPU area, which is linked to virtual address 0.
    per_cpu: Option<u64>,
}

impl<'e, 'a> Memory<'e, 'a> {
    fn new(kernel: &'e Elf<'a>) -> Option<Self> {
        let mut loads: Vec<&Segment> =
            kernel.segments().iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz > 0).collect();
        loads.sort_by_key(|segment| segment.paddr);
        // _text; the per-CPU segment has other virtual addresses than its place has.
        let first = loads.first()?;
        let end = kernel.physical_span()?.end;
        let per_cpu = loads.iter().filter(|segment| segment.vaddr == 0).map(|segment| segment.memsz).max();
        Some(Memory { kernel, bias: first.vaddr.wrapping_sub(first.paddr), first: first.paddr, end, per_cpu, loads })
    }

    fn physical(&self, address: u64) -> u64 {
        let address = address.wrapping_sub(self.bias);
        if self.kernel.is_64() { address } else { address & 0xffff_ffff }
    }

    fn holds(&self, address: u64) -> bool {
        (self.first..=self.end).contains(&self.physical(address))
    }

    /// Is `target` in the per-CPU area? It is measured from the operand; the distance in the file is from the end of the
    /// instruction, 4 to 8 bytes on.
    fn is_per_cpu(&self, target: u64) -> bool {
        const ON: u64 = 8;
        self.per_cpu.is_some_and(|len| target.wrapping_add(ON) <= len.saturating_add(ON))
    }

    fn bytes(&self, address: u64, len: u64) -> Option<&'a [u8]> {
        let at = self.physical(address);
        let next = self.loads.partition_point(|segment| segment.paddr <= at);
        let segment = self.loads.get(next.checked_sub(1)?)?;
        let inside = at.checked_sub(segment.paddr)?;
        inside.checked_add(len).filter(|end| *end <= segment.filesz)?;
        slice(self.kernel.bytes(), segment.offset.checked_add(inside)?, len)
    }

    fn word32(&self, address: u64) -> Option<u32> {
        Cursor::little(self.bytes(address, 4)?).u32("word", 0).ok()
    }

    fn word64(&self, address: u64) -> Option<u64> {
        Cursor::little(self.bytes(address, 8)?).u64("word", 0).ok()
    }
}
