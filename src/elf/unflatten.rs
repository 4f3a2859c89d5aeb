//! A flat kernel as an ELF file, with the symbols of its own kallsyms: what they say tells where it is linked to.

use super::encode::{FileHeader, FileHeaderLayout, SectionHeader, Writer, encoder, string_table};
use super::kallsyms::{KernelSymbol, flat_kallsyms};
use super::raw::{PF_R, PF_W, PF_X, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS};
use super::{PT_LOAD, SHF_ALLOC, SHT_NOBITS, Section, Segment, banner_in};
use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, len64, slice};
use std::collections::BTreeMap;

/// The kernel stays flat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnflattenError {
    /// No symbols.
    #[error("the kernel has no kallsyms (CONFIG_KALLSYMS), or tables that kimage does not know")]
    NoKallsyms,
    /// The symbols do not lead to the first byte.
    #[error("the kernel is flat, and its kallsyms do not tell the address of its first byte")]
    NoStart,
    /// Nothing tells the CPU.
    #[error("the kernel is flat, and neither a header around it nor its symbols tell its CPU")]
    NoCpu,
}

/// What is known of a flat kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatKernel {
    /// Its CPU.
    pub arch: Arch,
    /// 64-bit code?
    pub is_64: bool,
    /// Its byte order.
    pub endian: Endian,
    /// Virtual address of its first byte.
    pub base: u64,
    /// Virtual address behind its BSS, as far as its symbols tell.
    pub end: u64,
    /// Its symbols, by rising address.
    pub symbols: Vec<KernelSymbol>,
}

/// No kernel has more memory than this behind its file.
const MAX_BSS: u64 = 1 << 30;
/// The kernel's place in the file, when its address is a multiple of this.
const PAGE: u64 = 0x1000;

/// Reads what the kallsyms of a flat kernel say. `arch` is its CPU, if a header around it tells.
///
/// # Errors
/// [`UnflattenError`].
pub fn unflatten(bytes: &[u8], arch: Option<Arch>) -> Result<FlatKernel, UnflattenError> {
    use Endian::{Big, Little};
    let classes: &[bool] = match arch {
        Some(Arch::Arm64 | Arch::Mips64 | Arch::Sparc64) => &[true],
        Some(Arch::Riscv | Arch::PowerPc) | None => &[true, false],
        // A header says MIPS of either class.
        Some(Arch::Mips) => &[false, true],
        Some(_) => &[false],
    };
    let mut error = UnflattenError::NoKallsyms;
    for (is_64, endian) in classes.iter().flat_map(|is_64| [(*is_64, Little), (*is_64, Big)]) {
        let Some((symbols, known)) = flat_kallsyms(bytes, endian, is_64) else { continue };
        let Some(base) = base(bytes, &symbols, known, endian, is_64) else {
            error = UnflattenError::NoStart;
            continue;
        };
        let arch = arch.or_else(|| cpu(&symbols, is_64)).ok_or(UnflattenError::NoCpu)?;
        let file_end = base.saturating_add(len64(bytes));
        let ends = symbols.iter().filter(|symbol| matches!(&symbol.name[..], b"_end" | b"__bss_stop"));
        let end =
            ends.map(|symbol| symbol.address).filter(|end| (file_end..file_end.saturating_add(MAX_BSS)).contains(end));
        let end = end.max().unwrap_or(file_end);
        return Ok(FlatKernel { arch, is_64, endian, base, end, symbols });
    }
    Err(error)
}

/// The address of the first byte: as it is `known` already, by the banner, whose symbol kernels with all their symbols have, by the names that linker
/// scripts give to the start, or by the table of exported symbols. Nine of ten functions must then be in the file.
fn base(bytes: &[u8], symbols: &[KernelSymbol], known: Option<u64>, endian: Endian, is_64: bool) -> Option<u64> {
    let named = |name: &[u8]| symbols.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address);
    let by_banner = || named(b"linux_banner")?.checked_sub(u64::try_from(banner_in(bytes)?.start).ok()?);
    let starts: [&[u8]; 4] = [b"_text", b"_start", b"_head", b"stext"];
    let by_name = || starts.into_iter().filter_map(named).min();
    let by_exports = || by_exports(bytes, symbols, endian, is_64).or_else(|| by_near_exports(bytes, symbols, endian));
    let base = known.or_else(by_banner).or_else(by_name).or_else(by_exports)?;
    // Kernels run in the upper half, those of 64 bits at its very end.
    let is_high = if is_64 { base >> 48 == 0xffff } else { base != 0 };
    let code: Vec<u64> =
        symbols.iter().filter(|symbol| symbol.class.eq_ignore_ascii_case(&b't')).map(|symbol| symbol.address).collect();
    let inside = code.iter().filter(|at| at.checked_sub(base).is_some_and(|offset| offset <= len64(bytes))).count();
    (is_high && base % 4 == 0 && inside > 0 && inside >= code.len() / 10 * 9).then_some(base)
}

/// The address of the first byte, by `__ksymtab` of kernels without CONFIG_HAVE_ARCH_PREL32_RELOCATIONS: the address of a
/// function and that of its name (include/linux/export.h, Linux 2.6 to 6.12). Where the name stands in the file, the rest
/// follows, and several must say the same.
fn by_exports(bytes: &[u8], symbols: &[KernelSymbol], endian: Endian, is_64: bool) -> Option<u64> {
    const AGREE: u32 = 8;
    const TRIALS: usize = 64;
    let width: u64 = if is_64 { 8 } else { 4 };
    let cursor = Cursor::new(bytes, endian);
    let word = |at: u64| if is_64 { cursor.u64("word", at).ok() } else { cursor.u32("word", at).ok().map(u64::from) };
    let code = symbols.iter().filter(|symbol| symbol.class == b'T');
    let code: BTreeMap<u64, &[u8]> = code.map(|symbol| (symbol.address, &symbol.name[..])).collect();
    let (mut votes, mut tried) = (BTreeMap::new(), 0);
    let mut at = 0;
    while at + width <= len64(bytes) && tried < TRIALS {
        let here = word(at)?;
        if let Some(name) = code.get(&here) {
            // One entry behind the other, with two or three words each.
            let is_table =
                |stride: u64| (1..4).all(|n| word(at + n * stride * width).is_some_and(|it| code.contains_key(&it)));
            let pointer = word(at + width).filter(|pointer| !code.contains_key(pointer));
            if let Some(pointer) = pointer.filter(|_| is_table(2) || is_table(3)) {
                tried += 1;
                let text = [b"\0", *name, b"\0"].concat();
                for found in memchr::memmem::find_iter(bytes, &text).take(4) {
                    if let Some(base) = pointer.checked_sub(u64::try_from(found).ok()? + 1) {
                        *votes.entry(base).or_insert(0_u32) += 1;
                    }
                }
            }
        }
        at += width;
    }
    votes.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count >= AGREE).map(|(base, _)| base)
}

/// The same by `__ksymtab` of kernels with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (include/linux/export.h, Linux 4.19 to 7.2):
/// the distances of a function and of its name, 32 bits each, from the places where they stand.
fn by_near_exports(bytes: &[u8], symbols: &[KernelSymbol], endian: Endian) -> Option<u64> {
    const AGREE: u32 = 8;
    const TRIALS: u32 = 64;
    const MAX_NAME: u64 = 512;
    let cursor = Cursor::new(bytes, endian);
    let end = len64(bytes);
    // Where the distance at `at` leads.
    let leads_to = |at: u64| {
        let distance = i32::from_ne_bytes(cursor.u32("distance", at).ok()?.to_ne_bytes());
        at.checked_add_signed(distance.into()).filter(|place| *place < end)
    };
    let code = symbols.iter().filter(|symbol| symbol.class == b'T');
    let code: BTreeMap<&[u8], u64> = code.map(|symbol| (&symbol.name[..], symbol.address)).collect();
    let (mut votes, mut tried) = (BTreeMap::new(), 0);
    for at in (0..end / 4 * 4).step_by(4) {
        let Some((function, name_at)) = leads_to(at).zip(leads_to(at + 4)) else { continue };
        if name_at == 0 || function % 4 != 0 || slice(bytes, name_at - 1, 1) != Some(b"\0") {
            continue;
        }
        let name = slice(bytes, name_at, MAX_NAME.min(end - name_at)).unwrap_or_default();
        let Some(name) = memchr::memchr(0, name).and_then(|len| name.get(..len)) else { continue };
        let Some(base) = code.get(name).and_then(|address| address.checked_sub(function)) else { continue };
        *votes.entry(base).or_insert(0_u32) += 1;
        tried += 1;
        if tried == TRIALS {
            break;
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count >= AGREE).map(|(base, _)| base)
}

/// The CPU whose name most symbols begin with: each has dozens of functions of its own.
fn cpu(symbols: &[KernelSymbol], is_64: bool) -> Option<Arch> {
    const LEAST: usize = 8;
    let count = |names: &[&str]| {
        symbols.iter().filter(|symbol| names.iter().any(|name| symbol.name.starts_with(name.as_bytes()))).count()
    };
    let arm =
        if is_64 { (Arch::Arm64, count(&["arm64_", "__arm64_"])) } else { (Arch::Arm, count(&["arm_", "__arm_"])) };
    let mips = if is_64 { Arch::Mips64 } else { Arch::Mips };
    let all = [
        arm,
        (mips, count(&["mips_", "__mips_", "r4k_", "do_mips_"])),
        (Arch::Riscv, count(&["riscv_", "__riscv_", "sbi_"])),
        (Arch::PowerPc, count(&["ppc_", "__ppc_", "powerpc_"])),
        (Arch::Sh, count(&["sh_", "sh4_", "__sh_"])),
    ];
    let (arch, most) = all.into_iter().max_by_key(|(_, count)| *count)?;
    let second = all.into_iter().filter(|(other, _)| *other != arch).map(|(_, count)| count).max()?;
    (most >= LEAST && most > 2 * second).then_some(arch)
}

impl FlatKernel {
    /// The ELF file around `bytes`, which are the flat kernel: one section and one segment, with the BSS behind. Symbols are
    /// for [`with_symbols`](super::with_symbols) to add.
    ///
    /// # Errors
    /// [`UnflattenError::NoStart`] when it would end behind the last 32-bit address.
    pub(crate) fn elf(&self, bytes: &[u8]) -> Result<Vec<u8>, UnflattenError> {
        const NAMES: &[u8] = b"\0.kernel\0.bss\0.shstrtab\0";
        const ALL: u32 = PF_R | PF_W | PF_X;
        const DATA: u64 = SHF_WRITE | SHF_ALLOC;
        let encoder = encoder(self.is_64, self.endian);
        let offset = PAGE + self.base % PAGE;
        let len = len64(bytes);
        let memory = self.end.wrapping_sub(self.base).max(len);
        let names_at = offset + len;
        let sections_at = (names_at + len64(NAMES)).next_multiple_of(8);
        let machines = self.arch.facts().elf_machines;
        // PowerPC has another number for 64 bits.
        let machine = if self.is_64 && self.arch == Arch::PowerPc { machines.last() } else { machines.first() };
        let header = FileHeader {
            e_type: object::elf::ET_EXEC,
            e_machine: object::elf::Machine(machine.copied().unwrap_or(0)),
            e_entry: self.base,
            ..FileHeader::default()
        };
        let layout = FileHeaderLayout {
            e_phoff: encoder.file_header_size(),
            segment_num: 1,
            e_shoff: sections_at,
            section_num: 4,
            shstrtab_index: 3,
        };
        let (vaddr, paddr, filesz, memsz) = (self.base, self.base, len, memory);
        let mut out = Writer::new(encoder);
        out.file_header(&header, &layout);
        out.segment(&Segment { kind: PT_LOAD, flags: ALL, offset, vaddr, paddr, filesz, memsz, align: PAGE });
        out.fill_to(offset);
        out.put(bytes);
        out.put(NAMES);
        out.fill_to(sections_at);
        let section = |kind, flags, addr, offset, size| Section {
            name: b"",
            kind,
            flags,
            addr,
            offset,
            size,
            link: 0,
            info: 0,
            align: 4,
            entsize: 0,
        };
        out.section(&SectionHeader::default());
        out.section(&section(SHT_PROGBITS, DATA | SHF_EXECINSTR, self.base, offset, len).header(1));
        let end = self.base.wrapping_add(len);
        out.section(&section(SHT_NOBITS, DATA, end, offset + len, memory - len).header(9));
        out.section(&string_table(encoder, 14, names_at, len64(NAMES)));
        out.finish().map_err(|_| UnflattenError::NoStart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every class and byte order, read by another reader.
    #[test]
    fn a_flat_kernel_in_an_elf_file() {
        let bytes = [0x5a; 0x321];
        for (is_64, endian) in
            [true, false].into_iter().flat_map(|is_64| [(is_64, Endian::Little), (is_64, Endian::Big)])
        {
            let base = if is_64 { 0xffff_ffff_8020_0100 } else { 0xc020_0100 };
            let kernel =
                FlatKernel { arch: Arch::PowerPc, is_64, endian, base, end: base + 0x1000, symbols: Vec::new() };
            let file = kernel.elf(&bytes).unwrap();
            let elf = goblin::elf::Elf::parse(&file).unwrap();
            assert_eq!((elf.is_64, elf.little_endian, elf.entry), (is_64, endian == Endian::Little, base));
            assert_eq!(elf.header.e_machine, if is_64 { 21 } else { 20 });
            let [load] = &elf.program_headers[..] else { panic!("{:?}", elf.program_headers) };
            assert_eq!((load.p_type, load.p_flags, load.p_vaddr, load.p_paddr), (1, 7, base, base));
            assert_eq!((load.p_offset, load.p_filesz, load.p_memsz, load.p_align), (0x1100, 0x321, 0x1000, 0x1000));
            assert_eq!(file[0x1100..0x1100 + 0x321], bytes);
            let names: Vec<_> =
                elf.section_headers.iter().map(|section| elf.shdr_strtab.get_at(section.sh_name)).collect();
            assert_eq!(names, [Some(""), Some(".kernel"), Some(".bss"), Some(".shstrtab")]);
            let bss = &elf.section_headers[2];
            assert_eq!((bss.sh_type, bss.sh_addr, bss.sh_size), (8, base + 0x321, 0x1000 - 0x321));
        }
        let arch = Arch::Arm;
        let (base, end) = (0xffff_f000, 0x1_0000_1000);
        let high = FlatKernel { arch, is_64: false, endian: Endian::Little, base, end, symbols: Vec::new() };
        assert!(high.elf(&bytes).is_ok());
        assert_eq!(high.elf(&[0; 0x1001]), Err(UnflattenError::NoStart), "its BSS would begin behind the last address");
    }
}
