//! The payload of images whose header does not say where it is, and what the code says of the CPU.

use super::parse::BzImage;
use super::raw::XLF_KERNEL_64;
use crate::bytes::{len64, slice, slice_at};
use crate::codec::Codec;
use crate::elf::{is_64_bit_file, release_in};
use crate::format::pe::{MACHINE_AMD64, Pe};
use crate::payload::search::{Budget, Found, Tried, find_stream};
use std::ops::Range;

impl BzImage<'_> {
    /// Before protocol 2.08 the header says nothing of the payload: the first stream that decodes to a kernel is it. `limit`: most
    /// bytes to decode, beside what `budget` has left.
    pub(crate) fn scan_payload(&self, limit: u64, budget: &Budget) -> Option<Found> {
        let (start, end) = self.system_range();
        let system = slice(self.bytes(), start, end - start)?;
        let is_kernel = |_, at: &Range<u64>, tried: &Tried| tried.has_release.then_some(at.end);
        let found = find_stream(system, len64(system), &Codec::ALL, (limit, budget), is_kernel)?;
        Some(Found { at: start + found.at.start..start + found.at.end, ..found })
    }

    /// Where the protected-mode code goes and is entered, when it is a kernel that is not compressed at all (tccboot), as
    /// its banner says. Not asked where there is a payload.
    pub(crate) fn bare_kernel_address(&self) -> Option<u64> {
        let (start, end) = self.system_range();
        release_in(slice(self.bytes(), start, end - start)?)?;
        self.setup().is_loaded_high().then(|| self.setup().header().code32_start.get().into())
    }

    /// Where a kernel without ELF headers is put and entered in 32-bit mode, as the decompressor says it
    /// (arch/i386/boot/compressed/head.S, later arch/x86/boot/compressed/head_32.S). Its last instruction is
    /// `ljmp $0x10, $address` up to Linux 2.6.19 (2.6.20 on x86-64). From 2.6.20 to 2.6.25 it is `jmp *%ebp`; i386 code that must
    /// not be moved has `mov $address, %ebp` in front of its jump to the copy of itself, and code that may be moved finds out
    /// how far it was: `mov %ebp, %ebx; sub $address, %ebx`. 64-bit kernels from 2.6.22 on are entered in 64-bit mode: `None`.
    ///
    /// `payload`: the stream, which is no code. `flat`: what it decompresses to.
    pub(crate) fn flat_kernel_address(&self, payload: &Range<u64>, flat: &[u8]) -> Option<u64> {
        const LONGEST: usize = 13;
        let (start, end) = self.system_range();
        let code = |at: Range<u64>| slice_at(self.bytes(), &at);
        let pieces = [code(start..payload.start)?, code(payload.end..end)?];
        let find = |read: fn(&[u8]) -> Option<[u8; 4]>| {
            let mut places = pieces.iter().flat_map(|code| (0..code.len()).filter_map(|at| code.get(at..)));
            places.find_map(|code| kernel_address(read(code.get(..LONGEST).unwrap_or(code))?))
        };
        let far = find(|code| match code {
            [0xea, a, b, c, d, 0x10, 0x00, ..] => Some([*a, *b, *c, *d]),
            _ => None,
        });
        // xor %ebx, %ebx; jmp *%ebp.
        let is_near = pieces.iter().any(|code| memchr::memmem::find(code, &[0x31, 0xdb, 0xff, 0xe5]).is_some());
        if far.is_some() || !is_near || self.is_64_bit(Some(flat)) == Some(true) {
            return far;
        }
        find(|code| match code {
            // mov $address, %ebp; lea relocated(%ebx), %eax; jmp *%eax.
            [0xbd, a, b, c, d, 0x8d, 0x83, _, _, _, _, 0xff, 0xe0] => Some([*a, *b, *c, *d]),
            [0x89, 0xeb, 0x81, 0xeb, a, b, c, d, ..] => Some([*a, *b, *c, *d]),
            _ => None,
        })
    }

    /// 64-bit code? By `XLF_KERNEL_64` (protocol 2.12), the PE header, the ELF file in the payload; before Linux 2.6.26 the
    /// payload has no ELF header, and `flat`, what it decompresses to, or the decompressor turns on long mode. `None` when
    /// nothing tells.
    pub(crate) fn is_64_bit(&self, flat: Option<&[u8]>) -> Option<bool> {
        let setup = self.setup();
        if let Some(is_64) = setup.xloadflag(XLF_KERNEL_64).filter(|_| setup.is_linux()) {
            return Some(is_64);
        }
        if let Some(pe) = Pe::find(self.bytes()) {
            return Some(pe.value("Machine") == u64::from(MACHINE_AMD64));
        }
        if let Some(is_64) = self.payload().and_then(class) {
            return Some(is_64);
        }
        let flat = flat?;
        if let Some(is_64) = is_64_bit_file(flat) {
            return Some(is_64);
        }
        let (start, end) = self.system_range();
        let head = |bytes: &[u8]| turns_on_long_mode(bytes.get(..HEAD).unwrap_or(bytes));
        let system = slice(self.bytes(), start, end - start).unwrap_or(&[]);
        Some(head(flat) || head(system))
    }
}

/// Where a 64-bit kernel without ELF headers was linked to run: from Linux 2.6.22 on (arch/x86_64/kernel/head.S, later
/// arch/x86/kernel/head_64.S) it is entered at its first byte in 64-bit mode, and begins with how far it was moved: `lea _text(%rip),
/// %rbp; sub $address, %rbp`.
pub(crate) fn flat_64_bit_address(flat: &[u8]) -> Option<u64> {
    match flat {
        [0x48, 0x8d, 0x2d, 0xf9, 0xff, 0xff, 0xff, 0x48, 0x81, 0xed, a, b, c, d, ..] => {
            kernel_address([*a, *b, *c, *d]).filter(|address| address % FLAT_64_BIT_ALIGN == 0)
        }
        _ => None,
    }
}

/// Such a kernel runs at multiples of this: its page tables have entries of 2 MiB.
pub(crate) const FLAT_64_BIT_ALIGN: u64 = 2 << 20;

/// An address that a kernel can be at.
fn kernel_address(word: [u8; 4]) -> Option<u64> {
    const LOWEST: u32 = 0x10_0000;
    let address = u32::from_le_bytes(word);
    (address >= LOWEST && address % 0x1000 == 0).then_some(address.into())
}

/// The class of the ELF file that a payload is, or decompresses to.
fn class(payload: &[u8]) -> Option<bool> {
    const HEADER: u64 = 64;
    if let Some(is_64) = is_64_bit_file(payload) {
        return Some(is_64);
    }
    let codec = Codec::detect(payload)?;
    codec.scan(payload, HEADER, 0, |head| Some(is_64_bit_file(head))).ok()??
}

/// Where the code that turns on long mode stands, from the start of decompressor or kernel.
const HEAD: usize = 0x2000;

/// Does 32-bit code read the extended features (`EFER`) and set the bit for long mode (`LME`) in it?
fn turns_on_long_mode(code: &[u8]) -> bool {
    // movl $0xc0000080, %ecx; rdmsr; and within the next instructions btsl $8, %eax.
    const READ: &[u8] = &[0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32];
    const SET: &[u8] = &[0x0f, 0xba, 0xe8, 0x08];
    const NEAR: usize = 32;
    memchr::memmem::find_iter(code, READ).any(|at| {
        let rest = code.get(at..).unwrap_or(&[]);
        memchr::memmem::find(rest.get(..NEAR).unwrap_or(rest), SET).is_some()
    })
}
