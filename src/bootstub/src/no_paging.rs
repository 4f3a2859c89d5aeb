//! In place of page tables, for CPUs of 32 bits: paging is off, and all memory that they reach is where its address says.

use crate::memory::Span;

/// Nothing to be mapped.
pub struct Tables;

/// No.
pub fn five_levels() -> bool {
    false
}

impl Tables {
    pub fn new() -> Tables {
        Tables
    }

    pub fn of_head(_code: Span) -> Tables {
        Tables
    }

    pub fn map(&mut self, _start: u64, _len: u64) {}

    pub fn code(&mut self, _code: Span) {}

    pub fn load(&self) {}

    /// Goes on in the copy of the stub that is at `run`, or in the stub that was put there. The firmware's page tables, if it has some, map memory to itself.
    ///
    /// # Safety
    /// EFI's boot services have ended.
    pub unsafe fn leave(&self, run: u64, page: u64) -> ! {
        unsafe extern "C" {
            static moved: u8;
        }
        unsafe {
            core::arch::asm!(
                "cli",
                "mov ecx, cr0",
                "and ecx, 0x7fffffff", // PG
                "mov cr0, ecx",
                "xor ecx, ecx",
                "mov cr4, ecx",
                "mov esi, edi",
                "jmp edx",
                in("eax") run as usize,
                in("edx") ((&raw const moved) as u64 - crate::base() + run) as usize,
                in("edi") page as usize,
                options(noreturn),
            )
        }
    }
}
