//! Page tables that map memory to itself, in pages of 2 MiB.

use core::arch::asm;

const LARGE: u64 = 1 << 21;
const PRESENT_WRITABLE: u64 = 0b11;
const TABLE: usize = 512;
/// Present, writable, 2 MiB, global.
const LARGE_PAGE: u64 = 0x183;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

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
        let mut tables = Tables { root: first, next: first, end, levels: if five_levels() { 5 } else { 4 } };
        tables.root = tables.take();
        tables.map(0, 4 << 30);
        tables
    }

    /// Those that head.s made for 0 to 4 GiB, in use.
    pub fn of_head() -> Tables {
        let first = core::ptr::addr_of_mut!(pages).cast::<[u64; TABLE]>();
        let end = core::ptr::addr_of_mut!(pages_end).cast::<[u64; TABLE]>();
        Tables { root: first, next: first.wrapping_add(6), end, levels: 4 }
    }

    fn take(&mut self) -> *mut [u64; TABLE] {
        if self.next >= self.end {
            crate::console::halt(&[crate::console::Part::Text("out of page tables")]);
        }
        let table = self.next;
        self.next = table.wrapping_add(1);
        unsafe { table.write_bytes(0, 1) };
        table
    }

    /// Maps at least `len` bytes at `start` to themselves.
    pub fn map(&mut self, start: u64, len: u64) {
        let end = start.saturating_add(len);
        let mut at = start & !(LARGE - 1);
        while at < end {
            let mut table = self.root;
            for level in (3..=self.levels).rev() {
                let index = (at >> (12 + 9 * (level - 1))) as usize % TABLE;
                let entry = unsafe { (*table)[index] };
                table = if entry & 1 != 0 {
                    (entry & ADDRESS) as *mut [u64; TABLE]
                } else {
                    let fresh = self.take();
                    unsafe { (*table)[index] = fresh as u64 | PRESENT_WRITABLE };
                    fresh
                };
            }
            // To the end of this table.
            let first = (at >> 21) as usize % TABLE;
            for entry in unsafe { &mut (&mut (*table))[first..] } {
                *entry = at | LARGE_PAGE;
                match at.checked_add(LARGE) {
                    Some(next) if next < end => at = next,
                    _ => return,
                }
            }
        }
    }

    /// Puts them to use.
    pub fn load(&self) {
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
                to = in(reg) (&raw const moved) as u64 - crate::base() + run,
                in("rdi") page,
                options(noreturn),
            )
        }
    }
}
