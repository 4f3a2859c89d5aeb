//! Loaders that cannot be had as packages, as a flash chip in place of a PC's BIOS: what coreboot leaves for its payload, and
//! Linux' 32-bit and 64-bit boot protocols as VMMs use them. QEMU itself puts the ELF file's segments into memory.

use crate::machine::{self, Machine};
use crate::support::{self, kimage, put, read, run_ok, stdout, tool};
use std::path::Path;
use std::process::Command;

/// How the program is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// 32 bits, registers of no meaning, coreboot's table in memory.
    Coreboot,
    /// The same, whose table has a framebuffer and the place of ACPI's tables, too.
    CorebootScreen,
    /// The same without the table.
    Nothing,
    /// ESI: boot parameters.
    Linux32,
    /// RSI: boot parameters; the first 4 GiB mapped to themselves.
    Linux64,
}

const MEMORY: u64 = 256 << 20;
const LEN: usize = 128 << 10;
/// What the chip's first bytes are copied to.
const PARAMETERS: u32 = 0x7000;
const COPIED: u32 = 0x8000;
/// In the copy: 0x1000 the command line, 0x2000 page tables.
const CMDLINE: u32 = 0x8000;
const TABLES: u32 = 0x9000;
/// At the end of the memory.
const RAMDISK: u64 = 0xf00_0000;

/// A PC of 256 MiB with this chip, the ELF file, and a RAM disk for Linux' protocols.
pub(crate) fn machine(dir: &Path, protocol: Protocol, elf: &Path, ramdisk: &Path, cmdline: &str) -> Option<Command> {
    machine_told(dir, protocol, MEMORY >> 20, elf, ramdisk, cmdline)
}

/// The same, whose memory map has so many MiB.
pub(crate) fn machine_told(
    dir: &Path,
    protocol: Protocol,
    megabytes: u64,
    elf: &Path,
    ramdisk: &Path,
    cmdline: &str,
) -> Option<Command> {
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86")?;
    let entry = stdout(&run_ok(kimage().args(["info", "--field", "entry"]).arg(elf)));
    let entry = u32::from_str_radix(entry.trim().trim_start_matches("0x"), 16).unwrap();
    let chip = put(dir, "chip", &chip(protocol, megabytes << 20, entry, read(ramdisk).len(), cmdline));
    let mut command = machine::pc(&qemu, "pc", "Nehalem-v1", 1, (MEMORY >> 20) as usize);
    command.arg("-bios").arg(chip).arg("-device").arg(format!("loader,file={}", elf.display()));
    if matches!(protocol, Protocol::Linux32 | Protocol::Linux64) {
        command.args(machine::loaders(&[(ramdisk, RAMDISK)]));
    }
    Some(command)
}

fn put_at(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn chip(protocol: Protocol, memory: u64, entry: u32, ramdisk: usize, cmdline: &str) -> Vec<u8> {
    let mut chip = vec![0; LEN];
    put_at(&mut chip, 0, &parameters(memory, ramdisk));
    put_at(&mut chip, (CMDLINE - PARAMETERS) as usize, cmdline.as_bytes());
    put_at(&mut chip, (TABLES - PARAMETERS) as usize, &page_tables());
    if matches!(protocol, Protocol::Coreboot | Protocol::CorebootScreen) {
        // At 0xf0000; the one at 0x500 only leads there.
        put_at(&mut chip, 0x1_0000, &table(&coreboot_records(protocol, memory)));
        let forward = table(&[0x11_u32, 16, 0xf_0000, 0].map(u32::to_le_bytes).concat());
        put_at(&mut chip, 0x1_ff88, &forward);
    }
    put_at(&mut chip, 0x1_1000, &acpi());
    let start = chip.len() - 0x100;
    let mut code: Vec<u8> = [
        &[0xfa][..],                                       // cli
        &[0x2e, 0x66, 0x0f, 0x01, 0x16, 0x80, 0xff],       // lgdt %cs:0xff80
        &[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0], // CR0.PE
        &[0x66, 0xea, 0x20, 0xff, 0xff, 0xff, 0x08, 0x00], // ljmp $8, $0xffffff20
    ]
    .concat();
    code.resize(0x20, 0x90);
    code.extend([0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8]); // segments
    // The local APIC lets the interrupts of the 8259 pass, as firmware leaves it (MP specification 1.4, 3.6.2.1): a kernel
    // without APIC code, which is one of 32 bits, has no timer otherwise.
    if protocol != Protocol::Linux64 {
        code.extend([0xc7, 0x05, 0x50, 0x03, 0xe0, 0xfe, 0x00, 0x07, 0x00, 0x00]); // movl $0x700, LINT0
    }
    let (from, to, len) = match protocol {
        Protocol::Coreboot | Protocol::CorebootScreen | Protocol::Nothing => (0xffff_ff88_u32, 0x500_u32, 40_u32),
        _ => (0xfffe_0000, PARAMETERS, COPIED),
    };
    for (opcode, value) in [(0xbe, from), (0xbf, to), (0xb9, len)] {
        code.push(opcode); // movl to ESI, EDI, ECX
        code.extend(value.to_le_bytes());
    }
    code.extend([0xfc, 0xf3, 0xa4]); // cld; rep movsb
    if protocol == Protocol::Linux64 {
        code.extend([0x0f, 0x20, 0xe0, 0x0c, 0x20, 0x0f, 0x22, 0xe0]); // CR4.PAE
        code.push(0xb8); // movl to EAX, CR3
        code.extend(TABLES.to_le_bytes());
        code.extend([0x0f, 0x22, 0xd8]);
        code.extend([0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x0f, 0xba, 0xe8, 0x08, 0x0f, 0x30]); // EFER.LME
        code.extend([0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xe8, 0x1f, 0x0f, 0x22, 0xc0]); // CR0.PG
        let next = 0xffff_ff00_u32 + code.len() as u32 + 7;
        code.push(0xea); // ljmp $0x18
        code.extend(next.to_le_bytes());
        code.extend([0x18, 0x00]);
    }
    // Registers that mean nothing must not lead anywhere.
    let esi = if to == PARAMETERS { PARAMETERS } else { 0x7fff_fff0 };
    for (opcode, value) in [(0xbe, esi), (0xb8, entry)] {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    }
    code.extend([0xff, 0xe0]); // jmp *%eax, *%rax
    assert!(code.len() <= 0x80);
    put_at(&mut chip, start, &code);
    // The GDT's pointer and the GDT: code and data of 32 bits, code of 64.
    let mut gdt = vec![0x1f, 0];
    gdt.extend(0xffff_ffc0_u32.to_le_bytes());
    put_at(&mut chip, start + 0x80, &gdt);
    for (index, word) in [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00af_9b00_0000_ffff_u64].iter().enumerate()
    {
        put_at(&mut chip, start + 0xc0 + index * 8, &word.to_le_bytes());
    }
    put_at(&mut chip, start + 0xf0, &[0xe9, 0x0d, 0xff]); // the reset vector: jmp to the start
    chip
}

/// Boot parameters as a VMM fills them in: three ranges of memory, command line, RAM disk.
fn parameters(memory: u64, ramdisk: usize) -> Vec<u8> {
    let mut page = vec![0; 4096];
    put_at(&mut page, 0x1fe, &0xaa55_u16.to_le_bytes());
    put_at(&mut page, 0x202, b"HdrS\x0c\x02");
    page[0x210] = 0xff;
    for (at, value) in [(0x218, RAMDISK as u32), (0x21c, ramdisk as u32), (0x228, CMDLINE), (0x238, 2047)] {
        put_at(&mut page, at, &value.to_le_bytes());
    }
    put_at(&mut page, 0x230, &0x100_0000_u32.to_le_bytes());
    let map = memory_map(memory);
    page[0x1e8] = map.len() as u8;
    for (index, (start, len, kind)) in map.iter().enumerate() {
        put_at(&mut page, 0x2d0 + index * 20, &entry(*start, *len, *kind));
    }
    page
}

fn memory_map(memory: u64) -> [(u64, u64, u32); 3] {
    [(0, 0xa_0000, 1), (0xf_0000, 0x1_0000, 2), (1 << 20, memory - (1 << 20), 1)]
}

fn entry(start: u64, len: u64, kind: u32) -> Vec<u8> {
    [&start.to_le_bytes()[..], &len.to_le_bytes(), &kind.to_le_bytes()].concat()
}

/// 4 GiB in pages of 2 MiB: PML4, PDPT, four directories, each bit of "accessed" set.
fn page_tables() -> Vec<u8> {
    let mut tables = vec![0; 0x6000];
    put_at(&mut tables, 0, &u64::from((TABLES + 0x1000) | 0x23).to_le_bytes());
    for directory in 0..4_u32 {
        let at = TABLES + 0x2000 + directory * 0x1000;
        put_at(&mut tables, 0x1000 + directory as usize * 8, &u64::from(at | 0x23).to_le_bytes());
    }
    for page in 0..2048_u64 {
        put_at(&mut tables, 0x2000 + page as usize * 8, &(page << 21 | 0xe3).to_le_bytes());
    }
    tables
}

/// coreboot's table of these records, with its checksums (src/commonlib/include/commonlib/coreboot_tables.h).
fn table(records: &[u8]) -> Vec<u8> {
    let sum = |bytes: &[u8]| {
        let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) | u32::from(*pair.get(1).unwrap_or(&0)) << 8);
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !sum & 0xffff
    };
    let mut header = b"LBIO".to_vec();
    for word in [24, 0, records.len() as u32, sum(records), 1] {
        header.extend(word.to_le_bytes());
    }
    let own = sum(&header);
    put_at(&mut header, 8, &own.to_le_bytes());
    [header, records.to_vec()].concat()
}

/// The memory map; coreboot's own tables have a type of their own.
fn coreboot_records(protocol: Protocol, memory: u64) -> Vec<u8> {
    let map = [(0, 0x1000, 16), (0x1000, 0x9_f000, 1), (0xf_0000, 0x1_0000, 2), (1 << 20, memory - (1 << 20), 1)];
    let entries: Vec<u8> = map.iter().flat_map(|(start, len, kind)| entry(*start, *len, *kind)).collect();
    let record =
        |tag: u32, data: &[u8]| [&tag.to_le_bytes()[..], &(8 + data.len() as u32).to_le_bytes(), data].concat();
    let mut records = record(1, &entries);
    if protocol == Protocol::CorebootScreen {
        // Address, width, height, bytes of a line; bits; place and size of red, green, blue, and of what is reserved; padding.
        let mut screen = SCREEN.to_le_bytes().to_vec();
        [800_u32, 600, 3200].iter().for_each(|word| screen.extend(word.to_le_bytes()));
        screen.extend([32, 16, 8, 8, 8, 0, 8, 24, 8, 0, 0, 0]);
        records.extend(record(0x12, &screen));
        records.extend(record(0x43, &u64::from(ACPI).to_le_bytes()));
    }
    records
}

/// Where nothing else is.
const SCREEN: u64 = 0xe000_0000;
/// The chip once more, below 4 GiB: there nobody looks for tables who was not told.
const ACPI: u32 = 0xffff_1000;

/// ACPI's RSDP and an XSDT without tables (ACPI 6.5, 5.2.5.3 and 5.2.8).
fn acpi() -> Vec<u8> {
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    let mut pointer = b"RSD PTR \0KIMAGE\x02".to_vec();
    pointer.extend([0; 4]);
    pointer.extend(36_u32.to_le_bytes());
    pointer.extend(u64::from(ACPI + 64).to_le_bytes());
    pointer.extend([0; 4]);
    pointer[8] = sum(&pointer[..20]);
    pointer[32] = sum(&pointer);
    let mut table = b"XSDT".to_vec();
    table.extend(36_u32.to_le_bytes());
    table.extend(b"\x01\0KIMAGEKIMAGE  ");
    table.resize(36, 0);
    table[9] = sum(&table);
    pointer.resize(64, 0);
    [pointer, table].concat()
}

/// A kernel that says where it has its screen and ACPI's tables from: both are coreboot's.
#[test]
fn what_coreboot_has_is_passed_on() {
    if !support::full() {
        return; // no gap: the long matrix alone boots it
    }
    let Some(kernel) = support::debian_kernel("bookworm-amd64-amd64") else { return };
    let dir = support::tempdir();
    let options = ["--compress", "lz4", "--level", "1", "--cmdline", "console=ttyS0 panic=-1"];
    let elf = support::make(dir.path(), "kernel.elf", "elf", &[&kernel], &options);
    let Some(mut command) = machine(dir.path(), Protocol::CorebootScreen, &elf, &elf, "") else { return };
    let mut machine = Machine::start("coreboot", &mut command);
    machine.wait_for("ACPI: RSDP 0x00000000FFFF1000 000024 (v02 KIMAGE)");
    machine.wait_for("vesafb: mode is 800x600x32, linelength=3200, ");
    // The bits that mean nothing have no place.
    machine.wait_for("vesafb: Truecolor: size=0:8:8:8, shift=0:16:8:0");
    machine.wait_for("vesafb: framebuffer at 0xe0000000");
}
