//! Generated inputs, written piece by piece: the program that measures must stay small, because a child's peak memory
//! as the system counts it begins with its parent's.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its share")]

use std::borrow::Cow;
use std::io::{self, Write};

/// The one CPU that every x86 machine's objcopy knows.
const EM_X86_64: u16 = 62;

const PAGE: u64 = 4096;

/// File offset of the loaded sections, which lie there as in memory.
pub const FLAT_AT: u64 = PAGE;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_RELA: u32 = 4;

/// Where the bytes of a section come from.
#[derive(Debug, Clone)]
pub enum Content {
    Given(Vec<u8>),
    /// So many bytes of noise: no file system and no tool can take a short cut.
    Noise(u64),
    /// So many relocations (RELA) of the section of this index.
    Relocations {
        of: u32,
        count: u64,
    },
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Content::Given(bytes) => bytes.len() as u64,
            Content::Noise(len) => *len,
            Content::Relocations { count, .. } => 24 * count,
        }
    }
}

/// A little-endian 64-bit executable: loaded sections, each on pages of its own, in one segment; then sections that are
/// not loaded; then a symbol table.
#[derive(Debug, Clone)]
pub struct ElfFile {
    /// Address of the first loaded section.
    pub base: u64,
    pub loaded: Vec<(&'static str, Content)>,
    pub debug: Vec<(&'static str, Content)>,
    /// Symbols by name.
    pub symbols: Vec<(&'static str, u64)>,
    /// And so many that only fill the table. They are made when they are written, since they would take much memory.
    pub functions: u64,
}

impl ElfFile {
    /// [`ElfFile::debug_kernel`] as x86 links it with CONFIG_X86_NEED_RELOCS (`ld --emit-relocs`): the linker keeps the
    /// relocations of every section, also of the debug sections.
    pub fn kept_relocations(mut self) -> ElfFile {
        // Bytes of relocations in percent of the section's: as Debian's 6.1.0-50-cloud-amd64 has them, 26 MB for what is
        // loaded and 300 MB for the debug sections.
        const SHARES: [(&str, u32, u64); 7] = [
            (".rela.text", 2, 60),
            (".rela.rodata", 3, 40),
            (".rela.init.text", 4, 190),
            (".rela.init.data", 5, 60),
            (".rela.data", 6, 45),
            (".rela.debug_info", 8, 156),
            (".rela.debug_loclists", 12, 70),
        ];
        for (name, index, percent) in SHARES {
            let (_, of) = self.loaded.iter().chain(&self.debug).nth(index as usize - 1).unwrap();
            let count = of.len() * percent / 100 / 24;
            self.debug.push((name, Content::Relocations { of: index, count }));
        }
        self
    }

    /// A kernel with its debug information, of about these sizes.
    pub fn debug_kernel(loaded: u64, debug: u64, symbols: u64) -> ElfFile {
        let base = 0xffff_ffff_8100_0000;
        let noise = |whole: u64, percent: u64| Content::Noise(whole * percent / 100 + 123);
        ElfFile {
            base,
            loaded: vec![
                (".head.text", Content::Noise(PAGE)),
                (".text", noise(loaded, 50)),
                (".rodata", noise(loaded, 25)),
                (".init.text", noise(loaded, 5)),
                (".init.data", noise(loaded, 5)),
                (".data", noise(loaded, 15)),
            ],
            debug: vec![
                (".debug_aranges", noise(debug, 2)),
                (".debug_info", noise(debug, 52)),
                (".debug_abbrev", noise(debug, 2)),
                (".debug_line", noise(debug, 12)),
                (".debug_str", noise(debug, 5)),
                (".debug_loclists", noise(debug, 18)),
                (".debug_rnglists", noise(debug, 9)),
            ],
            symbols: Vec::new(),
            functions: symbols,
        }
    }

    /// x86's `compressed/vmlinux` around a payload of this size. All its symbols count as code, also the numbers.
    pub fn decompressor(payload: u64) -> ElfFile {
        let mut elf = ElfFile {
            base: 0,
            loaded: vec![
                (".head.text", Content::Noise(PAGE)),
                (".rodata..compressed", Content::Noise(payload)),
                (".text", Content::Noise(12 * PAGE)),
                (".data", Content::Noise(PAGE)),
            ],
            debug: vec![(".comment", Content::Noise(64))],
            symbols: Vec::new(),
            functions: 0,
        };
        let end = elf.flat_len();
        elf.symbols = [
            ("startup_32", 0),
            ("_text", 0),
            ("startup_64", 0x200),
            ("_ehead", PAGE),
            ("input_data", PAGE),
            ("input_data_end", PAGE + payload),
            ("z_input_len", payload),
            ("z_output_len", 4 * payload),
            ("_data", end - PAGE),
            ("_edata", end),
            ("_end", end + 0x10000),
            ("kernel_info", end - 2 * PAGE),
        ]
        .to_vec();
        elf
    }

    /// x86's `setup.elf` to go with a [`ElfFile::decompressor`], as Linux 6.7 to 6.14 link it.
    pub fn setup(decompressor: &ElfFile) -> ElfFile {
        let payload = decompressor.loaded[1].1.len() as u32;
        let mut bytes = vec![0x90; 15000];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0x1f1, &[31, 1, 0]); // setup_sects: with the boot sector four pages.
        put(0x1f4, &(decompressor.flat_len() as u32 / 16).to_le_bytes());
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &[0x0f, 0x02]);
        put(0x20e, &(0x1000_u16 - 0x200).to_le_bytes());
        put(0x211, &[1]);
        put(0x248, &(PAGE as u32).to_le_bytes());
        put(0x24c, &payload.to_le_bytes());
        put(0x1000, b"6.12.0 (bench@generated) #1\0");
        let symbols = vec![("_start", 0x200)];
        ElfFile { base: 0, loaded: vec![(".bstext", Content::Given(bytes))], debug: vec![], symbols, functions: 0 }
    }

    /// Bytes of the flat image.
    pub fn flat_len(&self) -> u64 {
        let len = |(mut at, _): (u64, u64), content: &Content| {
            at = at.next_multiple_of(PAGE);
            (at + content.len(), at)
        };
        self.loaded.iter().map(|(_, content)| content).fold((0, 0), len).0
    }

    /// All symbols, in table order.
    fn all_symbols(&self) -> impl Iterator<Item = (Cow<'static, str>, u64)> {
        let named = self.symbols.iter().map(|(name, value)| (Cow::Borrowed(*name), *value));
        let functions = (0..self.functions)
            .map(|index| (Cow::Owned(format!("__kernel_function_number_{index:06}")), self.base + 16 * index));
        named.chain(functions)
    }

    /// Writes the file.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = Counted { out, at: 0 };
        // ELF header and program header come first: lay out what they need to know before.
        let mut sections = vec![Header::default()];
        let mut names = vec![0];
        let mut at = PAGE;
        for (name, content) in &self.loaded {
            at = at.next_multiple_of(PAGE);
            // SHF_ALLOC | SHF_EXECINSTR
            sections.push(Header {
                name: push_name(&mut names, name),
                kind: SHT_PROGBITS,
                flags: 6,
                addr: self.base + at - PAGE,
                offset: at,
                size: content.len(),
                ..Header::default()
            });
            at += content.len();
        }
        let symtab_index = 1 + (self.loaded.len() + self.debug.len()) as u32;
        for (name, content) in &self.debug {
            let name = push_name(&mut names, name);
            let plain = Header { name, kind: SHT_PROGBITS, offset: at, size: content.len(), ..Header::default() };
            sections.push(match content {
                // SHF_INFO_LINK; the symbol table is the first section behind these.
                Content::Relocations { of, .. } => {
                    Header { kind: SHT_RELA, flags: 0x40, link: symtab_index, info: *of, entsize: 24, ..plain }
                }
                _ => plain,
            });
            at += content.len();
        }
        at = at.next_multiple_of(8);
        let symtab = Header {
            name: push_name(&mut names, ".symtab"),
            kind: SHT_SYMTAB,
            offset: at,
            size: 24 * (self.all_symbols().count() as u64 + 1),
            link: symtab_index + 1,
            info: 1,
            entsize: 24,
            ..Header::default()
        };
        at += symtab.size;
        let strtab = Header {
            name: push_name(&mut names, ".strtab"),
            kind: SHT_STRTAB,
            offset: at,
            size: 1 + self.all_symbols().map(|(name, _)| name.len() as u64 + 1).sum::<u64>(),
            ..Header::default()
        };
        at += strtab.size;
        let shstrtab_name = push_name(&mut names, ".shstrtab");
        let size = names.len() as u64;
        let shstrtab = Header { name: shstrtab_name, kind: SHT_STRTAB, offset: at, size, ..Header::default() };
        at += size;
        sections.extend([symtab, strtab, shstrtab]);
        let table_at = at.next_multiple_of(8);

        out.put(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        out.u16s(&[2, EM_X86_64])?;
        out.u32s(&[1])?;
        out.u64s(&[self.base, 64, table_at])?;
        out.u32s(&[0])?;
        let count = sections.len() as u16;
        out.u16s(&[64, 56, 1, 64, count, count - 1])?;
        let flat = self.flat_len();
        // PT_LOAD, readable and executable; loaded where it is linked.
        out.u32s(&[1, 5])?;
        out.u64s(&[PAGE, self.base, self.base, flat, flat, PAGE])?;

        for ((index, section), (_, content)) in
            sections.iter().enumerate().skip(1).zip(self.loaded.iter().chain(&self.debug))
        {
            out.zeros_to(section.offset)?;
            match content {
                Content::Given(bytes) => out.put(bytes)?,
                Content::Noise(len) => noise(index as u64, *len, |block| out.put(block))?,
                Content::Relocations { of, count } => {
                    let symbols = self.all_symbols().count().max(1) as u64;
                    let of = &sections[*of as usize];
                    for index in 0..*count {
                        let place = of.addr + index * of.size / count;
                        out.u64s(&[place, (1 + index % symbols) << 32 | relocation(index, of.addr != 0), index])?;
                    }
                }
            }
        }
        out.zeros_to(symtab.offset)?;
        out.put(&[0; 24])?;
        let mut name_at = 1;
        for (name, value) in self.all_symbols() {
            out.u32s(&[name_at])?;
            // Global, of no type, in the first section.
            out.put(&[0x10, 0, 1, 0])?;
            out.u64s(&[value, 0])?;
            name_at += name.len() as u32 + 1;
        }
        out.put(&[0])?;
        for (name, _) in self.all_symbols() {
            out.put(name.as_bytes())?;
            out.put(&[0])?;
        }
        out.put(&names)?;
        out.zeros_to(table_at)?;
        for header in &sections {
            out.u32s(&[header.name, header.kind])?;
            out.u64s(&[header.flags, header.addr, header.offset, header.size])?;
            out.u32s(&[header.link, header.info])?;
            out.u64s(&[1, header.entsize])?;
        }
        out.out.flush()
    }

    /// The file in memory, for small ones.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = self.write(&mut bytes);
        bytes
    }
}

/// The type of a section's relocation of this number. In what is loaded, 5 of 32 end up in the kernel's table: three
/// R_X86_64_64 and two R_X86_64_32S; the others are distances, R_X86_64_PC32 and R_X86_64_PLT32. Debug sections have
/// R_X86_64_32.
fn relocation(index: u64, is_loaded: bool) -> u64 {
    match index % 32 {
        _ if !is_loaded => 10,
        0 | 11 | 22 => 1,
        5 | 16 => 11,
        odd if odd % 2 == 1 => 2,
        _ => 4,
    }
}

/// A section header.
#[derive(Debug, Clone, Copy, Default)]
struct Header {
    name: u32,
    kind: u32,
    flags: u64,
    addr: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    entsize: u64,
}

fn push_name(names: &mut Vec<u8>, name: &str) -> u32 {
    let at = names.len() as u32;
    names.extend_from_slice(name.as_bytes());
    names.push(0);
    at
}

struct Counted<W> {
    out: W,
    at: u64,
}

impl<W: Write> Counted<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn u16s(&mut self, values: &[u16]) -> io::Result<()> {
        values.iter().try_for_each(|value| self.put(&value.to_le_bytes()))
    }

    fn u32s(&mut self, values: &[u32]) -> io::Result<()> {
        values.iter().try_for_each(|value| self.put(&value.to_le_bytes()))
    }

    fn u64s(&mut self, values: &[u64]) -> io::Result<()> {
        values.iter().try_for_each(|value| self.put(&value.to_le_bytes()))
    }

    fn zeros_to(&mut self, end: u64) -> io::Result<()> {
        while self.at < end {
            let len = (end - self.at).min(PAGE) as usize;
            self.put(&[0; PAGE as usize][..len])?;
        }
        Ok(())
    }
}

/// Feeds `len` bytes of noise to `put`, in blocks; the same bytes for the same seed.
pub fn noise(seed: u64, len: u64, mut put: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0; 64 << 10];
    let mut left = len;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let turn = left.min(block.len() as u64);
        put(&block[..turn as usize])?;
        left -= turn;
    }
    Ok(())
}
