//! Page tables that map memory to itself, in pages of 2 MiB: what may be written is not executed, where the CPU can tell, and what is
//! executed is not written. The stub's own code has pages of 4 KiB for that.

use core::arch::asm;
use core::arch::x86_64::__cpuid;

use super::console::Part::{Hex, Text};
use super::console::halt;
use super::memory::{PAGE, Span};

const LARGE: u64 = 1 << 21;
const PRESENT: u64 = 0b1;
const PRESENT_WRITABLE: u64 = 0b11;
const TABLE: usize = 512;
/// In an entry for 2 MiB: it is no table.
const IS_LARGE: u64 = 1 << 7;
const LARGE_PAGE: u64 = PRESENT_WRITABLE | IS_LARGE;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// No CPU has more physical memory, and no entry room for more.
const ADDRESS_BITS: u32 = 52;

unsafe extern "C" {
    static mut pages: [[u64; TABLE]; 1];
    static mut pages_end: u8;
}

/// Tables under construction, or in use: mapping more is allowed at any time.
pub struct Tables {
    root: *mut [u64; TABLE],
    next: *mut [u64; TABLE],
    end: *mut [u64; TABLE],
    levels: u32,
    /// What keeps a page from being executed; 0 on a CPU that cannot.
    no_execute: u64,
    /// Tables with an entry that is for pages of 4 KiB; more than there is room for: any may be one.
    small: [*mut [u64; TABLE]; 4],
    small_count: usize,
}

const NONE: Tables = Tables {
    root: core::ptr::null_mut(),
    next: core::ptr::null_mut(),
    end: core::ptr::null_mut(),
    levels: 0,
    no_execute: 0,
    small: [core::ptr::null_mut(); 4],
    small_count: 0,
};

/// Writes entries in a row, `step` bytes of memory each: two a turn.
fn write(entries: &mut [u64], value: u64, step: u64) {
    let pairs = entries.len() / 2;
    if entries.len() % 2 == 1 {
        entries[2 * pairs] = value + 2 * pairs as u64 * step;
    }
    if pairs > 0 {
        unsafe {
            asm!("2:", "mov [{at}], {value}", "add {value}, {step}", "mov [{at} + 8], {value}", "add {value}, {step}",
                 "add {at}, 16", "cmp {at}, {end}", "jb 2b",
                 at = inout(reg) entries.as_mut_ptr() => _, value = inout(reg) value => _, step = in(reg) step,
                 end = in(reg) entries.as_mut_ptr().add(2 * pairs), options(nostack))
        }
    }
}

/// [`NO_EXECUTE`], where the CPU knows it.
fn no_execute() -> u64 {
    if __cpuid(0x8000_0001).edx & 1 << 20 != 0 { NO_EXECUTE } else { 0 }
}

/// Has the CPU five levels of page tables on? Nothing in 64-bit mode can change that.
pub fn five_levels() -> bool {
    let cr4: u64;
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) }
    cr4 & 1 << 12 != 0
}

impl Tables {
    /// Fresh tables in the stub's own memory, which must not be in use: of 0 to 4 GiB, all that 32-bit entries reach.
    /// (Kernels may look at the RAM disk before they have tables of their own.)
    pub fn new() -> Tables {
        let first = core::ptr::addr_of_mut!(pages).cast::<[u64; TABLE]>();
        let end = core::ptr::addr_of_mut!(pages_end).cast::<[u64; TABLE]>();
        let levels = if five_levels() { 5 } else { 4 };
        let mut tables = Tables { root: first, next: first, end, levels, no_execute: no_execute(), ..NONE };
        tables.root = tables.take();
        tables.map(0, 4 << 30);
        tables
    }

    /// Those that head.s made for 0 to 4 GiB, in use by `code`.
    pub fn of_head(code: Span) -> Tables {
        let first = core::ptr::addr_of_mut!(pages).cast::<[u64; TABLE]>();
        let end = core::ptr::addr_of_mut!(pages_end).cast::<[u64; TABLE]>();
        let mut tables =
            Tables { root: first, next: first.wrapping_add(6), end, levels: 4, no_execute: no_execute(), ..NONE };
        // They are in use: what runs now comes first.
        tables.enable();
        tables.code(code);
        tables.map(0, 4 << 30);
        tables
    }

    /// In other memory, and for any CPU: of nothing yet.
    ///
    /// # Safety
    /// These tables are nobody else's.
    #[allow(dead_code, reason = "for the tests on the host")]
    pub unsafe fn of_none(tables: &'static mut [[u64; TABLE]], levels: u32, can_no_execute: bool) -> Tables {
        let no_execute = if can_no_execute { NO_EXECUTE } else { 0 };
        let ends = tables.as_mut_ptr_range();
        let mut tables = Tables { next: ends.start, end: ends.end, levels, no_execute, ..NONE };
        tables.root = tables.take();
        tables
    }

    /// What the CPU begins with.
    #[allow(dead_code, reason = "for the tests on the host")]
    pub fn root(&self) -> *const [u64; TABLE] {
        self.root
    }

    fn take(&mut self) -> *mut [u64; TABLE] {
        if self.next >= self.end {
            halt(&[Text("out of page tables")]);
        }
        let table = self.next;
        self.next = table.wrapping_add(1);
        unsafe { table.write_bytes(0, 1) };
        table
    }

    /// Maps at least `len` bytes at `start` to themselves, for data.
    pub fn map(&mut self, start: u64, len: u64) {
        self.fill(start, len, LARGE_PAGE | self.no_execute, false);
    }

    /// Maps at least `len` bytes at `start` to themselves, for whatever the kernel does there.
    pub fn map_kernel(&mut self, start: u64, len: u64) {
        self.fill(start, len, LARGE_PAGE, true);
    }

    /// What is in pages of 4 KiB stays as it is, unless it is `all`.
    fn fill(&mut self, start: u64, len: u64, flags: u64, all: bool) {
        let end = start.saturating_add(len);
        if end > 1 << (11 + 9 * self.levels).min(ADDRESS_BITS) {
            halt(&[Text("no page table reaches "), Hex(end)]);
        }
        let mut at = start & !(LARGE - 1);
        while at < end {
            let table = self.table(at);
            // To the end of this table. There are thousands of entries: the loops do no more than they must.
            let first = (at >> 21) as usize % TABLE;
            let count = (end - at).div_ceil(LARGE).min((TABLE - first) as u64) as usize;
            let mut value = at | flags;
            at += count as u64 * LARGE;
            // No further than the table: see `count`.
            let entries = unsafe { core::slice::from_raw_parts_mut(table.cast::<u64>().add(first), count) };
            if all || !self.has_small(table) {
                write(entries, value, LARGE);
                continue;
            }
            for entry in entries {
                if *entry & (PRESENT | IS_LARGE) != PRESENT {
                    *entry = value;
                }
                value += LARGE;
            }
        }
    }

    /// The table with the entry for the 2 MiB around `at`.
    fn table(&mut self, at: u64) -> *mut [u64; TABLE] {
        let mut table = self.root;
        for level in (3..=self.levels).rev() {
            let index = (at >> (12 + 9 * (level - 1))) as usize % TABLE;
            let entry = unsafe { (*table)[index] };
            table = if entry & PRESENT != 0 {
                (entry & ADDRESS) as *mut [u64; TABLE]
            } else {
                let fresh = self.take();
                unsafe { (*table)[index] = fresh as u64 | PRESENT_WRITABLE };
                fresh
            };
        }
        table
    }

    /// Has the table an entry for pages of 4 KiB?
    fn has_small(&self, table: *mut [u64; TABLE]) -> bool {
        self.small.get(..self.small_count).is_none_or(|small| small.contains(&table))
    }

    /// The stub's code, which is mapped already: executed, and not written.
    pub fn code(&mut self, code: Span) {
        let mut page = code.start & !(PAGE - 1);
        while page < code.end {
            let table = self.table(page);
            let entry = unsafe { &mut (&mut (*table))[(page >> 21) as usize % TABLE] };
            if *entry & IS_LARGE != 0 {
                let fresh = self.take();
                write(unsafe { &mut *fresh }, page & !(LARGE - 1) | PRESENT_WRITABLE | self.no_execute, PAGE);
                *entry = fresh as u64 | PRESENT_WRITABLE;
                if let Some(free) = self.small.get_mut(self.small_count) {
                    *free = table;
                }
                self.small_count += 1;
            }
            let small = (*entry & ADDRESS) as *mut [u64; TABLE];
            // Where a loader has put the image to no page's beginning, code and data share one.
            let is_alone = code.start <= page && page + PAGE <= code.end;
            let flags = if is_alone { PRESENT } else { PRESENT_WRITABLE };
            unsafe { (*small)[(page >> 12) as usize % TABLE] = page | flags };
            page += PAGE;
        }
    }

    /// Has the CPU obey the entries' highest bit, which is reserved else.
    fn enable(&self) {
        if self.no_execute != 0 {
            // EFER.NXE.
            unsafe {
                asm!("rdmsr", "or eax, 0x800", "wrmsr", in("ecx") 0xc000_0080_u32, out("eax") _, out("edx") _,
                     options(nostack))
            }
        }
    }

    /// Puts them to use.
    pub fn load(&self) {
        self.enable();
        unsafe { asm!("mov cr3, {}", in(reg) self.root as u64, options(nostack, preserves_flags)) }
    }

    /// Goes on in the copy of the stub that is at `run`, with these tables.
    ///
    /// # Safety
    /// EFI's boot services have ended.
    pub unsafe fn leave(&self, run: u64, page: u64) -> ! {
        unsafe extern "C" {
            static moved: u8;
        }
        /// Pages that are global outlive their tables; shadow stacks know nothing of our jumps.
        const PGE_CET: u64 = 1 << 7 | 1 << 23;
        self.enable();
        unsafe {
            asm!(
                "cli",
                "mov rax, cr4",
                "and rax, {keep}",
                "mov cr4, rax",
                "mov cr3, {root}",
                "jmp {to}",
                keep = in(reg) !PGE_CET,
                root = in(reg) self.root as u64,
                // Scratch: an asm block that does not return has no outputs.
                in("rax") 0,
                to = in(reg) (&raw const moved) as u64 - super::base() + run,
                in("rdi") page,
                options(noreturn),
            )
        }
    }
}
