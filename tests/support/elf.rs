//! Builds ELF files of either class and byte order, for tests and benches.
//!
//! Knows nothing of kimage: the layout is the specification's (gABI, chapters 4 and 5), so that a reader can be held to
//! it. The file grows from front to back: header, whatever is added, symbol table, string tables, and last the two
//! header tables. Nothing is checked: what the caller asks for is written, be it ever so absurd.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use std::ops::Range;

pub const SHT_PROGBITS: u32 = 1;
pub const SHT_SYMTAB: u32 = 2;
pub const SHT_STRTAB: u32 = 3;
pub const SHT_NOTE: u32 = 7;
pub const SHT_NOBITS: u32 = 8;
pub const SHT_INIT_ARRAY: u32 = 14;
pub const SHF_WRITE: u64 = 1;
pub const SHF_ALLOC: u64 = 2;
pub const SHF_EXECINSTR: u64 = 4;
pub const SHF_TLS: u64 = 0x400;
pub const PT_LOAD: u32 = 1;
pub const PT_NOTE: u32 = 4;
pub const PT_TLS: u32 = 7;
pub const ET_REL: u16 = 1;
pub const ET_EXEC: u16 = 2;
pub const SHN_ABS: u16 = 0xfff1;
/// `st_info` of a global symbol without type.
pub const GLOBAL: u8 = 0x10;

/// A section header.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub name: String,
    pub kind: u32,
    pub flags: u64,
    pub addr: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u32,
    pub info: u32,
    pub entsize: u64,
}

/// A program header.
#[derive(Debug, Clone, Copy, Default)]
pub struct Segment {
    pub kind: u32,
    pub offset: u64,
    pub vaddr: u64,
    pub paddr: u64,
    pub filesz: u64,
    pub memsz: u64,
}

/// A symbol; `section` is the index of its section.
#[derive(Debug, Clone, Default)]
pub struct Symbol {
    pub name: String,
    pub value: u64,
    pub info: u8,
    pub section: u16,
}

/// An ELF file in the making. What was added can be changed until [`Builder::build`].
#[derive(Debug, Clone)]
pub struct Builder {
    pub is_64: bool,
    pub big_endian: bool,
    pub machine: u16,
    pub kind: u16,
    pub entry: u64,
    /// The sections in table order, the null section first.
    pub sections: Vec<Section>,
    pub segments: Vec<Segment>,
    /// The symbols without the null symbol; none makes a stripped file.
    pub symbols: Vec<Symbol>,
    file: Vec<u8>,
}

impl Builder {
    /// A linked program (`ET_EXEC`) without anything in it.
    pub fn new(is_64: bool, big_endian: bool, machine: u16) -> Builder {
        let file = vec![0; if is_64 { 64 } else { 52 }];
        let (sections, segments, symbols) = (vec![Section::default()], Vec::new(), Vec::new());
        Builder { is_64, big_endian, machine, kind: ET_EXEC, entry: 0, sections, segments, symbols, file }
    }

    /// Where the next bytes will stand in the file.
    pub fn at(&self) -> u64 {
        self.file.len() as u64
    }

    /// Leaves `len` bytes of the file to nobody.
    pub fn skip(&mut self, len: u64) {
        // Not zeros: whoever reads them by mistake shall be seen to.
        self.file.resize(self.file.len() + usize::try_from(len).unwrap(), 0xee);
    }

    /// Adds a section with contents where the file ends; gives its index.
    pub fn section(&mut self, name: &str, kind: u32, flags: u64, addr: u64, bytes: &[u8]) -> usize {
        let (offset, size) = (self.at(), bytes.len() as u64);
        self.file.extend_from_slice(bytes);
        self.header(Section { name: name.to_owned(), kind, flags, addr, offset, size, ..Section::default() })
    }

    /// Adds a section without contents; gives its index.
    pub fn nobits(&mut self, name: &str, flags: u64, addr: u64, size: u64) -> usize {
        let (name, offset) = (name.to_owned(), self.at());
        self.header(Section { name, kind: SHT_NOBITS, flags, addr, offset, size, ..Section::default() })
    }

    /// Adds a section header as it stands; gives its index.
    pub fn header(&mut self, section: Section) -> usize {
        self.sections.push(section);
        self.sections.len() - 1
    }

    /// Adds a program header that covers these sections, in the file and in memory, and is loaded at `paddr`.
    pub fn segment(&mut self, kind: u32, sections: Range<usize>, paddr: u64) {
        let covered = &self.sections[sections];
        let (offset, vaddr) = (covered[0].offset, covered[0].addr);
        let filled = covered.iter().filter(|section| section.kind != SHT_NOBITS);
        let filesz = filled.map(|section| section.offset + section.size - offset).max().unwrap_or(0);
        let memory = covered.iter().map(|section| (section.addr + section.size).saturating_sub(vaddr));
        let memsz = memory.max().unwrap_or(0).max(filesz);
        self.segments.push(Segment { kind, offset, vaddr, paddr, filesz, memsz });
    }

    /// Adds a symbol.
    pub fn symbol(&mut self, name: &str, value: u64, info: u8, section: u16) {
        self.symbols.push(Symbol { name: name.to_owned(), value, info, section });
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut out = Out { bytes: self.file.clone(), is_64: self.is_64, big_endian: self.big_endian };
        let mut sections = self.sections.clone();
        let table = |name: &str, kind, offset| Section { name: name.to_owned(), kind, offset, ..Section::default() };
        if !self.symbols.is_empty() {
            let mut strings = vec![0];
            let mut symtab = table(".symtab", SHT_SYMTAB, out.align());
            out.symbol(0, &Symbol::default());
            for symbol in &self.symbols {
                out.symbol(strings.len() as u32, symbol);
                strings.extend(symbol.name.bytes().chain([0]));
            }
            symtab.size = out.bytes.len() as u64 - symtab.offset;
            symtab.entsize = if self.is_64 { 24 } else { 16 };
            symtab.link = sections.len() as u32 + 1;
            // The first global symbol; locals that follow it are the caller's wish.
            let locals = self.symbols.iter().take_while(|symbol| symbol.info >> 4 == 0).count();
            symtab.info = 1 + locals as u32;
            let mut strtab = table(".strtab", SHT_STRTAB, out.bytes.len() as u64);
            strtab.size = strings.len() as u64;
            out.bytes.extend(strings);
            sections.extend([symtab, strtab]);
        }
        let names_at = out.bytes.len();
        sections.push(table(".shstrtab", SHT_STRTAB, names_at as u64));
        let mut name_at = Vec::new();
        for section in &sections {
            name_at.push((out.bytes.len() - names_at) as u32);
            out.bytes.extend(section.name.bytes().chain([0]));
        }
        sections.last_mut().unwrap().size = (out.bytes.len() - names_at) as u64;

        let phoff = out.align();
        self.segments.iter().for_each(|segment| out.segment(segment));
        let shoff = out.align();
        sections.iter().zip(name_at).for_each(|(section, name)| out.section(name, section));
        let (phnum, shnum) = (self.segments.len() as u64, sections.len() as u64);

        let mut head = Out { bytes: b"\x7fELF".to_vec(), ..out };
        head.bytes.extend([1 + u8::from(self.is_64), 1 + u8::from(self.big_endian), 1]);
        head.bytes.resize(16, 0);
        [self.kind, self.machine].iter().for_each(|half| head.number(2, u64::from(*half)));
        head.number(4, 1);
        [self.entry, if phnum == 0 { 0 } else { phoff }, shoff].iter().for_each(|word| head.word(*word));
        head.number(4, 0);
        let (ehsize, phentsize, shentsize) = if self.is_64 { (64, 56, 64) } else { (52, 32, 40) };
        for half in [ehsize, phentsize, phnum, shentsize, shnum, shnum - 1] {
            head.number(2, half);
        }
        out.bytes[..head.bytes.len()].copy_from_slice(&head.bytes);
        out.bytes
    }
}

/// Bytes of one class and byte order.
struct Out {
    bytes: Vec<u8>,
    is_64: bool,
    big_endian: bool,
}

impl Out {
    fn number(&mut self, width: usize, value: u64) {
        match self.big_endian {
            true => self.bytes.extend_from_slice(&value.to_be_bytes()[8 - width..]),
            false => self.bytes.extend_from_slice(&value.to_le_bytes()[..width]),
        }
    }

    fn word(&mut self, value: u64) {
        self.number(if self.is_64 { 8 } else { 4 }, value);
    }

    fn align(&mut self) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.bytes.len() as u64
    }

    fn section(&mut self, name: u32, section: &Section) {
        self.number(4, name.into());
        self.number(4, section.kind.into());
        [section.flags, section.addr, section.offset, section.size].iter().for_each(|value| self.word(*value));
        self.number(4, section.link.into());
        self.number(4, section.info.into());
        self.word(1);
        self.word(section.entsize);
    }

    fn segment(&mut self, segment: &Segment) {
        let Segment { kind, offset, vaddr, paddr, filesz, memsz } = *segment;
        // Read, write, execute: nobody here asks, but p_flags stands elsewhere in the two classes.
        const FLAGS: u64 = 7;
        self.number(4, kind.into());
        if self.is_64 {
            self.number(4, FLAGS);
        }
        [offset, vaddr, paddr, filesz, memsz].iter().for_each(|value| self.word(*value));
        if !self.is_64 {
            self.number(4, FLAGS);
        }
        self.word(1);
    }

    fn symbol(&mut self, name: u32, symbol: &Symbol) {
        self.number(4, name.into());
        if !self.is_64 {
            self.number(4, symbol.value);
            self.number(4, 0);
        }
        self.bytes.extend([symbol.info, 0]);
        self.number(2, symbol.section.into());
        if self.is_64 {
            self.number(8, symbol.value);
            self.number(8, 0);
        }
    }
}
