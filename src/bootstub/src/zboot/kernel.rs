//! The kernel in memory, as a PE loader lays it out. The packer has seen to it that file and memory are the same, but for
//! zeros behind the file.

use uefi_raw::protocol::memory_protection::MemoryAttributeProtocol;
use uefi_raw::table::boot::{AllocateType, MemoryAttribute, MemoryType};
use uefi_raw::table::system::SystemTable;
use uefi_raw::{Handle, Status};

use crate::console::Part::{Hex, Text};
use crate::console::line;
use crate::firmware::{Firmware, Outcome, check, complain};
use crate::memory::{PAGE, align_up};
use crate::parameters::Parameters;

pub type Entry = extern "efiapi" fn(Handle, *const SystemTable) -> Status;

const DAMAGED: &str = "its PE header is damaged";
// PE format, "COFF File Header", "Optional Header", "Section Table", as the packer's src/format/pe has them.
const E_LFANEW: u64 = 0x3c;
const SECTIONS: u64 = 6;
const OPTIONAL_LEN: u64 = 20;
const OPTIONAL: u64 = 24;
const ENTRY: u64 = 24 + 16;
const SECTION_LEN: u64 = 40;
const EXECUTE: u32 = 1 << 29;
const WRITE: u32 = 1 << 31;

/// Memory for a kernel.
pub struct Kernel {
    pub at: u64,
    pub len: u64,
}

impl Kernel {
    /// At a multiple of what the kernel can run from, so that its EFI stub need not move it.
    pub fn allocate(firmware: Firmware, p: &Parameters) -> Outcome<Kernel> {
        let services = firmware.services();
        let pages = |len: u64| (len / PAGE) as usize;
        let len = align_up(p.span.max(p.unpacked_len), PAGE).unwrap_or(u64::MAX);
        let all = len.saturating_add(p.align - PAGE);
        let mut start = 0;
        // Code: what firmware protects is executable there.
        let status = unsafe {
            (services.allocate_pages)(AllocateType::ANY_PAGES, MemoryType::LOADER_CODE, pages(all), &mut start)
        };
        check(status).map_err(|status| {
            line(&[Text("not enough RAM: the kernel needs "), Hex(all), Text(" bytes in one piece")]);
            status
        })?;
        let at = align_up(start, p.align).unwrap_or(start);
        for (from, to) in [(start, at), (at + len, start + all)] {
            if from < to {
                // Not more than memory that nobody uses until the kernel runs.
                let _ = unsafe { (services.free_pages)(from, pages(to - from)) };
            }
        }
        Ok(Kernel { at, len })
    }

    pub fn free(self, firmware: Firmware) {
        self.protect(firmware, 0, self.len, 0);
        // Nothing to be done if the firmware does not want it back.
        let _ = unsafe { (firmware.services().free_pages)(self.at, (self.len / PAGE) as usize) };
    }

    /// The first `len` of it.
    pub fn bytes(&self, len: u64) -> &'static mut [u8] {
        unsafe { core::slice::from_raw_parts_mut(self.at as *mut u8, len.min(self.len) as usize) }
    }

    fn word(&self, at: u64) -> Result<u32, &'static str> {
        let bytes = self.bytes(self.len).get(at as usize..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or(DAMAGED)
    }

    /// Zeros behind the `file`, rights for each section, no stale instructions. Returns where it is entered.
    pub fn make_ready(&self, firmware: Firmware, file: u64) -> Result<Entry, &'static str> {
        self.bytes(self.len)[file as usize..].fill(0);
        let pe = u64::from(self.word(E_LFANEW)?);
        let entry = u64::from(self.word(pe + ENTRY)?);
        if entry >= self.len {
            return Err(DAMAGED);
        }
        synchronize(self.at, self.len);
        let table = pe + OPTIONAL + u64::from(self.word(pe + OPTIONAL_LEN)? & 0xffff);
        for index in 0..u64::from(self.word(pe + SECTIONS)? & 0xffff) {
            let section = table + SECTION_LEN * index;
            let (len, at) = (u64::from(self.word(section + 8)?), u64::from(self.word(section + 12)?));
            let end = at.saturating_add(len).next_multiple_of(PAGE);
            if at % PAGE != 0 || end > self.len {
                return Err(DAMAGED);
            }
            self.protect(firmware, at, end - at, self.word(section + 36)?);
        }
        Ok(unsafe { core::mem::transmute::<*const u8, Entry>((self.at + entry) as *const u8) })
    }

    /// Where the firmware can: what is written is not executed, and the other way round.
    fn protect(&self, firmware: Firmware, at: u64, len: u64, flags: u32) {
        let Some(protocol) = firmware.locate::<MemoryAttributeProtocol>(&MemoryAttributeProtocol::GUID) else { return };
        let (mut set, mut clear) = (MemoryAttribute::EXECUTE_PROTECT, MemoryAttribute::READ_ONLY);
        if flags & EXECUTE != 0 {
            core::mem::swap(&mut set, &mut clear);
        }
        if flags & (EXECUTE | WRITE) == EXECUTE | WRITE {
            // The kernel's choice.
            set = MemoryAttribute::empty();
            clear = MemoryAttribute::EXECUTE_PROTECT | MemoryAttribute::READ_ONLY;
        }
        let change = |way: unsafe extern "efiapi" fn(*const MemoryAttributeProtocol, u64, u64, MemoryAttribute) -> Status,
                      what: MemoryAttribute| {
            if !what.is_empty() && len != 0 {
                let status = unsafe { way(protocol, self.at + at, len, what) };
                if status != Status::SUCCESS {
                    let _ = complain("memory attributes", b"", status);
                }
            }
        };
        // Never both at once.
        unsafe {
            change((*protocol).set_memory_attributes, set);
            change((*protocol).clear_memory_attributes, clear);
        }
    }
}

/// What was written is what the CPU executes.
#[cfg(target_arch = "aarch64")]
fn synchronize(at: u64, len: u64) {
    use core::arch::asm;
    let types: u64;
    unsafe { asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack, preserves_flags)) };
    // Logarithms of words.
    let (data, code) = (4 << (types >> 16 & 15), 4 << (types & 15));
    for line in (at..at + len).step_by(data) {
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for line in (at..at + len).step_by(code) {
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// What was written is what the CPU executes.
#[cfg(target_arch = "riscv64")]
fn synchronize(_: u64, _: u64) {
    unsafe { core::arch::asm!("fence.i", options(nostack, preserves_flags)) };
}

/// What was written is what the CPU executes.
#[cfg(target_arch = "loongarch64")]
fn synchronize(_: u64, _: u64) {
    unsafe { core::arch::asm!("ibar 0", options(nostack, preserves_flags)) };
}
