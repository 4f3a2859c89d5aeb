//! A flat kernel as an ELF file, with the symbols of its own kallsyms: what they say tells where it is linked to.

use super::code::code;
use super::encode::{FileHeader, FileHeaderLayout, SectionHeader, Writer, encoder, string_table};
use super::exports::{flat_exports, forms};
use super::kallsyms::{FlatSymbols, Image, KernelSymbol, MAX_MEMORY, flat_kallsyms};
use super::raw::{PF_R, PF_W, PF_X, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS};
use super::strings::append;
use super::{PT_LOAD, SHF_ALLOC, SHT_NOBITS, Section, Segment};
use crate::arch::Arch;
use crate::bytes::{Endian, len64};
use std::collections::BTreeMap;

/// The kernel stays flat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnflattenError {
    /// No symbols.
    #[error(
        "the kernel has neither kallsyms (CONFIG_KALLSYMS) nor exports (CONFIG_MODULES), or tables that kimage does not know"
    )]
    NoSymbols,
    /// No table of all symbols.
    #[error("the kernel has no kallsyms (CONFIG_KALLSYMS), and what it exports to modules is not all")]
    OnlyExports,
    /// No table of initcalls.
    #[error("the kernel's symbols do not say where its initcalls are (CONFIG_KALLSYMS_ALL)")]
    NoInitcalls,
    /// The symbols do not lead to the first byte.
    #[error("the kernel is flat, and its kallsyms do not tell the address of its first byte")]
    NoStart,
    /// Nothing tells the CPU.
    #[error("the kernel is flat, and neither a header around it nor its code tells its CPU")]
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
    /// Its symbols, by rising address.
    pub symbols: Vec<KernelSymbol>,
    /// Where they are from.
    pub source: SymbolSource,
    flags: u32,
    entry: u64,
    sections: Vec<Piece>,
}

/// Where a kernel's symbols are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolSource {
    /// An ELF file's symbol table.
    Table,
    /// The kernel's own kallsyms.
    Kallsyms,
    /// What it exports to modules, as it has no kallsyms.
    Exports,
}

/// Consecutive memory of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    name: &'static str,
    /// `SHF_…`, beside `SHF_ALLOC`.
    flags: u64,
    address: u64,
    len: u64,
    /// Where its bytes are in the flat kernel; `None` for BSS.
    at: Option<u64>,
}

/// The kernel's place in the file, when its address is a multiple of this.
const PAGE: u64 = 0x1000;
/// EF_ARM_BE8: little-endian code with big-endian data.
pub(crate) const ARM_BE8: u32 = 0x0080_0000;

/// Reads what a flat kernel's own symbols say. `arch` is its CPU, if a header around it tells.
///
/// # Errors
/// [`UnflattenError`].
pub fn unflatten(bytes: &[u8], arch: Option<Arch>) -> Result<FlatKernel, UnflattenError> {
    let mut error = UnflattenError::NoSymbols;
    let kallsyms = forms(arch).map(|form| (SymbolSource::Kallsyms, form));
    for (source, (is_64, endian)) in kallsyms.chain(forms(arch).map(|form| (SymbolSource::Exports, form))) {
        let image = Image::flat(bytes, endian, is_64, arch);
        let found = if source == SymbolSource::Kallsyms { flat_kallsyms(&image) } else { flat_exports(&image) };
        let Some(FlatSymbols { mut symbols, base }) = found else { continue };
        let Some(base) = base else {
            error = UnflattenError::NoStart;
            continue;
        };
        let functions = symbols.iter().filter(|symbol| symbol.is_code() || source == SymbolSource::Exports);
        let functions: Vec<u64> = functions.filter_map(|symbol| symbol.address.checked_sub(base)).collect();
        let code = code(bytes, &functions, is_64);
        let arch = match arch {
            Some(Arch::X86 | Arch::X86_64) => {
                if is_64 {
                    Arch::X86_64
                } else {
                    Arch::X86
                }
            }
            Some(arch) => arch,
            None => code.ok_or(UnflattenError::NoCpu)?.arch,
        };
        let code = code.filter(|code| code.arch == arch && arch == Arch::Arm);
        let is_be8 = code.is_some_and(|code| code.endian != endian);
        let flags = arch.elf_ids(is_64, endian).1 | if is_be8 { ARM_BE8 } else { 0 };
        let sections = pieces(len64(bytes), base, &symbols);
        // MIPS has its exception vectors first.
        let entry = symbols.iter().find(|symbol| symbol.name == b"kernel_entry").map_or(base, |symbol| symbol.address);
        if code.is_some_and(|code| code.is_thumb) {
            // What tells disassemblers (ELF for the Arm Architecture, "Mapping symbols").
            let thumb = sections.iter().filter(|piece| piece.flags & SHF_EXECINSTR != 0);
            symbols.extend(thumb.map(|piece| KernelSymbol {
                address: piece.address,
                class: b't',
                name: b"$t".to_vec(),
            }));
            symbols.sort_by_key(|symbol| symbol.address);
        }
        return Ok(FlatKernel { arch, is_64, endian, base, symbols, source, flags, entry, sections });
    }
    Err(error)
}

/// Bytes of the flat kernel `bytes` that there must be at least, up to where its data end, by its kallsyms; `None` when they have
/// no data (no CONFIG_KALLSYMS_ALL).
pub(crate) fn data_end(bytes: &[u8], arch: Option<Arch>) -> Option<u64> {
    let kernel = unflatten(bytes, arch).ok().filter(|kernel| kernel.source == SymbolSource::Kallsyms)?;
    let find = |name: &str| kernel.symbols.iter().find(|one| one.name == name.as_bytes()).map(|one| one.address);
    let end = find("_edata").or_else(|| find("__bss_start"))?;
    // Where it runs from where it is stored (XIP), they are stored elsewhere.
    let moved = find("__data_loc").and_then(|stored| stored.checked_add(end.checked_sub(find("_sdata")?)?));
    let len = moved.unwrap_or(end).checked_sub(kernel.base)?;
    Some(len).filter(|len| *len < MAX_MEMORY)
}

/// Where no symbol bounds the BSS, its variables tell how much memory there is at least behind the file.
const MAX_UNBOUNDED: u64 = 64 << 20;

/// The parts of a kernel that its linker script bounds by symbols: the first of each list that there is
/// (include/asm-generic/vmlinux.lds.h and sections.h, Linux 2.6 to 7.2).
const BOUNDED: [(&str, u64, &[&str], &[&str]); 5] = [
    (".text", SHF_EXECINSTR, &["_stext", "_text"], &["_etext"]),
    (".rodata", 0, &["__start_rodata"], &["__end_rodata"]),
    (".init.text", SHF_EXECINSTR, &["_sinittext"], &["_einittext"]),
    (".data", SHF_WRITE, &["_sdata", "_data"], &["_edata"]),
    (".bss", SHF_WRITE, &["__bss_start"], &["_end", "__bss_stop"]),
];
/// What is between them.
const BETWEEN: &str = ".kernel";

/// The sections of a flat kernel of `len` bytes.
fn pieces(len: u64, base: u64, symbols: &[KernelSymbol]) -> Vec<Piece> {
    let mut marks: BTreeMap<&[u8], u64> = BTreeMap::new();
    for symbol in symbols.iter().filter(|symbol| symbol.name.first() == Some(&b'_') && symbol.name.len() < 16) {
        marks.insert(&symbol.name, symbol.address);
    }
    let mark = |names: &[&str]| names.iter().find_map(|name| marks.get(name.as_bytes()).copied());
    let end = base.saturating_add(len);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut others = Vec::new();
    for (name, flags, starts, ends) in BOUNDED {
        let Some((address, stop)) = mark(starts).zip(mark(ends)).filter(|(start, stop)| start < stop) else { continue };
        let piece = Piece { name, flags, address, len: stop - address, at: address.checked_sub(base) };
        if (base..end).contains(&address) && stop <= end {
            pieces.push(piece);
        } else if flags == SHF_WRITE {
            others.push(piece);
        }
    }
    pieces.sort_by_key(|piece| piece.address);
    let mut all: Vec<Piece> = Vec::new();
    let has_code = |from: u64, to: u64| {
        let inside = symbols.get(symbols.partition_point(|symbol| symbol.address <= from)..).unwrap_or_default();
        inside.iter().take_while(|symbol| symbol.address < to).any(KernelSymbol::is_code)
    };
    let fill = |all: &mut Vec<Piece>, from: u64, to: u64| {
        // The first byte is where the kernel is entered.
        let code = if from == base || has_code(from, to) { SHF_EXECINSTR } else { 0 };
        match all.last_mut() {
            // Alignment.
            Some(last) if to - from < PAGE && code == 0 => last.len += to - from,
            _ => all.push(Piece {
                name: BETWEEN,
                flags: SHF_WRITE | code,
                address: from,
                len: to - from,
                at: Some(from - base),
            }),
        }
    };
    let mut from = base;
    for (index, piece) in pieces.iter().enumerate() {
        // In some linker scripts one is inside of another.
        let next = pieces.get(index + 1).map_or(end, |next| next.address);
        let stop = (piece.address + piece.len).min(next);
        if from < piece.address {
            fill(&mut all, from, piece.address);
        }
        if piece.address < stop {
            all.push(Piece { len: stop - piece.address, ..*piece });
        }
        from = stop.max(from);
    }
    if from < end {
        fill(&mut all, from, end);
    }
    // A kernel that runs where it is stored (XIP) has its data elsewhere, and `__data_loc` is where they are stored.
    let stored = mark(&["__data_loc"]).and_then(|at| at.checked_sub(base));
    if let Some(data) = others.iter().find(|piece| piece.name == ".data") {
        if let Some(at) = stored.filter(|at| at.checked_add(data.len).is_some_and(|end| end <= len)) {
            all.push(Piece { at: Some(at), ..*data });
        }
    }
    let last = all.last().map_or(end, |last| last.address.saturating_add(last.len));
    let variables = symbols.iter().filter(|symbol| symbol.address > last && !symbol.class.eq_ignore_ascii_case(&b'a'));
    let variables = variables.map(|symbol| symbol.address.saturating_add(1));
    let least = || variables.filter(|at| *at < last.saturating_add(MAX_UNBOUNDED)).max();
    let stop = mark(&["_end"]).max(mark(&["__bss_stop"])).or_else(least);
    if let Some(stop) = stop.filter(|stop| (last + 1..last.saturating_add(MAX_MEMORY)).contains(stop)) {
        all.push(Piece { name: ".bss", flags: SHF_WRITE, address: last, len: stop - last, at: None });
    }
    all
}

impl FlatKernel {
    /// The ELF file around `bytes`, which are the flat kernel: sections as far as the symbols bound them, and a segment for
    /// all that is consecutive. Symbols are for [`with_symbols`](super::with_symbols) to add.
    ///
    /// # Errors
    /// [`UnflattenError::NoStart`] when it would end behind the last 32-bit address.
    pub(crate) fn elf(&self, bytes: &[u8]) -> Result<Vec<u8>, UnflattenError> {
        let encoder = encoder(self.is_64, self.endian);
        let offset = PAGE + self.base % PAGE;
        let mut names = vec![0];
        let sections: Vec<SectionHeader> = self
            .sections
            .iter()
            .map(|piece| self.section(piece, offset, append(&mut names, piece.name.as_bytes())))
            .collect();
        let own_name = append(&mut names, b".shstrtab");
        let segments = self.segments(offset);
        let names_at = offset + len64(bytes);
        let sections_at = (names_at + len64(&names)).next_multiple_of(8);
        let count = u32::try_from(sections.len()).unwrap_or(u32::MAX);
        let header = FileHeader {
            e_type: object::elf::ET_EXEC,
            e_machine: object::elf::Machine(self.arch.elf_ids(self.is_64, self.endian).0),
            e_flags: object::elf::FileFlags(self.flags),
            e_entry: self.entry,
            ..FileHeader::default()
        };
        let layout = FileHeaderLayout {
            e_phoff: encoder.file_header_size(),
            segment_num: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            e_shoff: sections_at,
            section_num: count + 2,
            shstrtab_index: count + 1,
        };
        let mut out = Writer::new(encoder);
        out.file_header(&header, &layout);
        segments.iter().for_each(|segment| out.segment(segment));
        out.fill_to(offset);
        out.put(bytes);
        out.put(&names);
        out.fill_to(sections_at);
        out.section(&SectionHeader::default());
        sections.iter().for_each(|section| out.section(section));
        out.section(&string_table(encoder, own_name, names_at, len64(&names)));
        out.finish().map_err(|_| UnflattenError::NoStart)
    }

    fn section(&self, piece: &Piece, kernel_at: u64, name: u32) -> SectionHeader {
        let (kind, at) = match piece.at {
            Some(at) => (SHT_PROGBITS, at),
            None => (SHT_NOBITS, 0),
        };
        Section {
            name: b"",
            kind,
            flags: SHF_ALLOC | piece.flags,
            addr: piece.address,
            offset: kernel_at + at,
            size: piece.len,
            link: 0,
            info: 0,
            align: 4,
            entsize: 0,
        }
        .header(name)
    }

    /// Each has what follows in memory and in the file, and the BSS behind it.
    fn segments(&self, kernel_at: u64) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for piece in &self.sections {
            let vaddr = piece.address;
            let follows = |last: &&mut Segment| {
                let is_next = piece.at.is_none_or(|at| kernel_at + at == last.offset + last.filesz);
                vaddr == last.vaddr.wrapping_add(last.memsz) && is_next
            };
            let filesz = if piece.at.is_some() { piece.len } else { 0 };
            if let Some(last) = segments.last_mut().filter(follows) {
                last.memsz += piece.len;
                last.filesz += filesz;
                continue;
            }
            let offset = kernel_at + piece.at.unwrap_or(0);
            let (kind, flags, paddr) = (PT_LOAD, PF_R | PF_W | PF_X, self.base.wrapping_add(offset - kernel_at));
            let align = if segments.is_empty() { PAGE } else { 4 };
            segments.push(Segment { kind, flags, offset, vaddr, paddr, filesz, memsz: piece.len, align });
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(all: &[(&str, u64)]) -> Vec<KernelSymbol> {
        let class = |name: &str| if name.starts_with("__") { b'd' } else { b't' };
        let symbol = |(name, address): &(&str, u64)| KernelSymbol {
            address: *address,
            class: class(name),
            name: name.as_bytes().to_vec(),
        };
        all.iter().map(symbol).collect()
    }

    fn kernel(is_64: bool, endian: Endian, len: u64, base: u64, symbols: Vec<KernelSymbol>) -> FlatKernel {
        let sections = pieces(len, base, &symbols);
        FlatKernel {
            arch: Arch::PowerPc,
            is_64,
            endian,
            base,
            symbols,
            source: SymbolSource::Kallsyms,
            flags: 0,
            entry: base,
            sections,
        }
    }

    /// Every class and byte order, read by another reader.
    #[test]
    fn a_flat_kernel_in_an_elf_file() {
        let bytes = [0x5a; 0x321];
        for (is_64, endian) in
            [true, false].into_iter().flat_map(|is_64| [(is_64, Endian::Little), (is_64, Endian::Big)])
        {
            let base = if is_64 { 0xffff_ffff_8020_0100 } else { 0xc020_0100 };
            let file = kernel(is_64, endian, 0x321, base, symbols(&[("_end", base + 0x1000)])).elf(&bytes).unwrap();
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
        let high = kernel(false, Endian::Little, 0x800, 0xffff_f000, symbols(&[]));
        assert!(high.elf(&[0; 0x800]).is_ok());
        let high = kernel(false, Endian::Little, 0x1001, 0xffff_f000, symbols(&[("_end", 0x1_0000_1000)]));
        assert_eq!(high.elf(&[0; 0x1001]), Err(UnflattenError::NoStart), "its BSS would begin behind the last address");
    }

    /// As `readelf -S` has the sections of real kernels: what their linker scripts bound.
    #[test]
    fn sections_as_symbols_bound_them() {
        let shown = |symbols: &[(&str, u64)], len| {
            let pieces = pieces(len, 0xc000_8000, &self::symbols(symbols));
            let letters = |flags| {
                format!(
                    "{}{}",
                    if flags & SHF_WRITE != 0 { "W" } else { "" },
                    if flags & SHF_EXECINSTR != 0 { "X" } else { "" }
                )
            };
            pieces
                .iter()
                .map(|it| format!("{} {:x}+{:x} {:x?} {}", it.name, it.address, it.len, it.at, letters(it.flags)))
                .collect::<Vec<_>>()
        };
        let all = [
            ("_stext", 0xc000_9000),
            ("_etext", 0xc001_0000),
            ("__start_rodata", 0xc001_1000),
            ("__end_rodata", 0xc001_4f00),
            ("_sinittext", 0xc001_5000),
            ("_einittext", 0xc001_6000),
            ("exit", 0xc001_6010),
            ("_sdata", 0xc002_0000),
            ("_edata", 0xc002_1000),
            ("__bss_start", 0xc002_1000),
            ("_end", 0xc003_0000),
        ];
        assert_eq!(
            shown(&all, 0x19000),
            [
                ".kernel c0008000+1000 Some(0) WX",
                ".text c0009000+7000 Some(1000) X",
                ".kernel c0010000+1000 Some(8000) W",
                ".rodata c0011000+4000 Some(9000) ",
                ".init.text c0015000+1000 Some(d000) X",
                ".kernel c0016000+a000 Some(e000) WX",
                ".data c0020000+1000 Some(18000) W",
                ".bss c0021000+f000 None W",
            ]
        );
        // Old ARM's `_etext` is behind the read-only data.
        let nested = [
            ("_stext", 0xc000_8000),
            ("__start_rodata", 0xc000_a000),
            ("__end_rodata", 0xc000_b000),
            ("_etext", 0xc000_c000),
        ];
        assert_eq!(
            shown(&nested, 0x4000),
            [
                ".text c0008000+2000 Some(0) X",
                ".rodata c000a000+1000 Some(2000) ",
                ".kernel c000b000+1000 Some(3000) W"
            ]
        );
        // A kernel that runs where it is stored.
        let xip = [
            ("_stext", 0xc000_8000),
            ("_etext", 0xc000_a000),
            ("__data_loc", 0xc000_b000),
            ("_sdata", 0xd000_0000),
            ("_edata", 0xd000_1000),
            ("_end", 0xd000_3000),
        ];
        assert_eq!(
            shown(&xip, 0x4000),
            [
                ".text c0008000+2000 Some(0) X",
                ".kernel c000a000+2000 Some(2000) W",
                ".data d0000000+1000 Some(3000) W",
                ".bss d0001000+2000 None W",
            ]
        );
    }
}
