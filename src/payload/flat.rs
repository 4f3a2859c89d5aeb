//! A kernel without headers, given those of an ELF file: what Linux up to 2.6.25 compressed was `objcopy -O binary` of vmlinux.

use super::kernel::Error;
use crate::bytes::{Endian, len64};
use crate::elf::encode::{FileHeader, FileHeaderLayout, Writer, encoder};
use crate::elf::raw::{PF_R, PF_W, PF_X};
use crate::elf::{PT_LOAD, Segment};

/// Bytes of memory behind a flat kernel for its BSS and first page tables: i386 maps 8 MiB in all before it knows better.
pub(crate) const BSS: u64 = 8 << 20;

/// Where a 64-bit kernel sees the physical address 0 (`__START_KERNEL_map`).
const MAP_64: u64 = 0xffff_ffff_8000_0000;

/// How the decompressor enters a flat kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// In 32-bit mode, 64-bit kernels up to Linux 2.6.21, too.
    Bits32,
    /// In 64-bit mode, with all of its memory mapped to itself.
    Bits64,
}

/// An ELF file with one segment: `flat` at the physical address `address`, which is entered at its first byte.
///
/// Those entered in 32-bit mode load, up to 2.4, a segment register by the descriptor table that they found, after they have
/// mapped the first 8 MiB alone: so they are given a table there, in the first bytes of their BSS, which they clear when they
/// need it no more.
///
/// # Errors
/// [`Error::TooLarge`] when it does not fit into 32 bits.
pub(crate) fn as_elf(flat: &[u8], address: u64, entry: Entry) -> Result<Vec<u8>, Error> {
    const HEADERS: u64 = 0x1000;
    let too_large = || Error::TooLarge { need: address.saturating_add(len64(flat)), max: u32::MAX.into() };
    let word = |value: u64| u32::try_from(value).map_err(|_| too_large());
    let behind = len64(flat).checked_next_multiple_of(16).ok_or_else(too_large)?;
    let start = word(address.saturating_add(behind))?;
    let is_64 = entry == Entry::Bits64;
    let (code, e_entry, vaddr) = match entry {
        Entry::Bits32 => (entry_code(start, word(address)?), start.into(), address),
        Entry::Bits64 => (Vec::new(), address, address.wrapping_add(MAP_64)),
    };
    let filesz = behind + len64(&code);
    word(address.saturating_add(filesz + BSS))?;
    let encoder = encoder(is_64, Endian::Little);
    let header = FileHeader {
        e_type: object::elf::ET_EXEC,
        e_machine: if is_64 { object::elf::EM_X86_64 } else { object::elf::EM_386 },
        e_entry,
        ..FileHeader::default()
    };
    let e_phoff = encoder.file_header_size();
    let mut out = Writer::new(encoder);
    out.file_header(&header, &FileHeaderLayout { e_phoff, segment_num: 1, ..FileHeaderLayout::default() });
    out.segment(&Segment {
        kind: PT_LOAD,
        flags: PF_R | PF_W | PF_X,
        offset: HEADERS,
        vaddr,
        paddr: address,
        filesz,
        memsz: filesz + BSS,
        align: HEADERS,
    });
    out.fill_to(HEADERS);
    out.put(flat);
    out.fill_to(HEADERS + behind);
    out.put(&code);
    out.finish().map_err(|_| too_large())
}

/// Code at `start` that loads a descriptor table of its own and goes to `address`; the table has what boot.rst promises: code at
/// 0x10, data at 0x18.
fn entry_code(start: u32, address: u32) -> Vec<u8> {
    const TABLE: u32 = 16;
    const POINTER: u32 = TABLE + 32;
    let mut code = Vec::new();
    // lgdt start + POINTER; jmp address.
    code.extend([0x0f, 0x01, 0x15]);
    code.extend(start.wrapping_add(POINTER).to_le_bytes());
    code.push(0xe9);
    code.extend(address.wrapping_sub(start.wrapping_add(12)).to_le_bytes());
    code.extend([0; 4]);
    for descriptor in [0, 0, 0x00cf_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff] {
        code.extend(descriptor.to_le_bytes());
    }
    code.extend(31_u16.to_le_bytes());
    code.extend(start.wrapping_add(TABLE).to_le_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Elf;

    /// The fields by the ELF specification, read by the reader; the code by hand.
    #[test]
    fn a_flat_kernel_gets_headers_and_an_entry() {
        let bytes = as_elf(&[0x90; 100], 0x10_0000, Entry::Bits32).unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        let segments = elf.segments();
        assert_eq!((elf.entry(), segments.len()), (0x10_0070, 1));
        assert_eq!((segments[0].paddr, segments[0].filesz), (0x10_0000, 0x70 + 54));
        assert_eq!(segments[0].memsz, 0x70 + 54 + BSS);
        assert_eq!(bytes[0x1000..0x1064], [0x90; 100]);
        // lgdt 0x1000a0; jmp 0x100000 from 0x10007c.
        assert_eq!(bytes[0x1070..0x107c], [0x0f, 0x01, 0x15, 0xa0, 0, 0x10, 0, 0xe9, 0x84, 0xff, 0xff, 0xff]);
        assert!(as_elf(&[0; 16], 0xffff_f000, Entry::Bits32).is_err());
        let bytes = as_elf(&[0x90; 100], 0x20_0000, Entry::Bits64).unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        let segment = &elf.segments()[0];
        assert_eq!(
            (elf.is_64(), elf.entry(), segment.paddr, segment.vaddr),
            (true, 0x20_0000, 0x20_0000, 0xffff_ffff_8020_0000)
        );
        assert_eq!((segment.filesz, segment.memsz), (0x70, 0x70 + BSS));
    }
}
