//! The kernel as the linker left it.
//!
//! [`Elf`] is a validated, lazy view: the headers are checked when it is parsed, section contents and symbols are
//! looked at when they are asked for, and debug sections of hundreds of megabytes are never touched.

mod code;
pub(crate) mod encode;
mod exports;
pub(crate) mod facts;
mod flatten;
mod initcalls;
pub(crate) mod kallsyms;
mod notes;
mod program;
pub(crate) mod raw;
pub(crate) mod relocs;
mod remove;
pub(crate) mod resymbol;
mod strings;
mod strip;
mod symbols;
mod system_map;
mod trim;
pub(crate) mod unflatten;

pub(crate) use exports::{Export, exports, kernel_exports};
pub(crate) use facts::{BANNER, banner_in, is_64_bit_file, numbers, release_in};
pub use flatten::{DEFAULT_MAX_SIZE, FlatImage, FlatOptions, flatten};
pub(crate) use initcalls::initcalls;
pub(crate) use kallsyms::{KernelSymbol, kallsyms};
pub(crate) use notes::{Note, PHYS32_ENTRY, notes_around};
pub use relocs::{BadReloc, Lists, RelocOptions};
pub(crate) use relocs::{
    RelocKind, RelocTable, list_absolute_relocs, list_absolute_symbols, list_relocs, relocs, relocs_with_progress,
    sign_extended,
};
pub(crate) use remove::KERNEL_REMOVES;
pub(crate) use remove::{ARM_REMOVES, IMAGE_REMOVES, MODINFO, X86_REMOVES};
pub use remove::{FlagList, RemoveList, SectionFlags};
pub(crate) use resymbol::with_symbols;
pub(crate) use strings::StringTable;
pub(crate) use strip::strip_archive;
pub use strip::{StripOptions, strip};
pub(crate) use symbols::{RawSymbol, SymbolTable};
pub use symbols::{Symbol, Symbols};
pub(crate) use system_map::{system_map, system_map_text};
pub(crate) use trim::TrimWriter;
pub(crate) use unflatten::{ARM_BE8, data_end, unflatten};
pub use unflatten::{SymbolSource, UnflattenError};

use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, FieldError, FileOffset, PhysAddr, Problem, len64, printable, slice};
use miette::Diagnostic;
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SectionHeader32, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use raw::{EI_CLASS, EI_DATA, EI_VERSION};
use std::borrow::Cow;
use std::mem::{offset_of, size_of};

/// `SHT_NOBITS`: the section has addresses but no bytes in the file.
pub(crate) const SHT_NOBITS: u32 = object::elf::SHT_NOBITS.0;
/// `SHF_ALLOC`: the section is part of the running program.
pub(crate) const SHF_ALLOC: u64 = object::elf::SHF_ALLOC.0;
/// `PT_LOAD`.
pub(crate) const PT_LOAD: u32 = object::elf::PT_LOAD.0;

/// The result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with an ELF file, for what was asked of it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// A header field is impossible.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Field(#[from] FieldError),
    /// A table that the header points to is damaged.
    #[error("{field} at offset {at}: {reason}")]
    #[diagnostic(help("{DAMAGED}"))]
    Damaged {
        /// The field that leads nowhere.
        field: &'static str,
        /// Where it stands in the file.
        at: FileOffset,
        /// The reader's words.
        reason: String,
    },
    /// There is no symbol table.
    #[error("the ELF file has no symbol table (.symtab): it was stripped")]
    #[diagnostic(help("give the file as the linker left it, before `strip` or `objcopy -S`"))]
    NoSymbols,
    /// Nothing of it is loaded into memory.
    #[error("the ELF file has nothing to load: no section that is allocated and has contents is left")]
    #[diagnostic(help("give a linked executable; if `request.remove` took everything, remove fewer sections"))]
    NothingToLoad,
    /// The flat image would be mostly gap.
    #[error(
        "the flat image would be {size} bytes, more than {max}: section {low} is at load address {low_at}, \
         section {high} at {high_at}"
    )]
    #[diagnostic(help(
        "leave out the section that does not belong in the image (`request.remove` {low} or `request.remove` {high}), or \
         allow the size with `request.max_size`"
    ))]
    TooLarge {
        /// Bytes the image would have.
        size: u64,
        /// Bytes allowed.
        max: u64,
        /// The section with the lowest load address.
        low: String,
        /// Its load address.
        low_at: PhysAddr,
        /// The section that reaches too far.
        high: String,
        /// Its load address.
        high_at: PhysAddr,
    },
    /// One section alone is larger than the flat image may be.
    #[error("the flat image would be {size} bytes, more than {max}, of section {section} alone")]
    #[diagnostic(help("leave it out (`request.remove` {section}), or allow the size with `request.max_size`"))]
    SectionTooLarge {
        /// Bytes the image would have.
        size: u64,
        /// Bytes allowed.
        max: u64,
        /// The section.
        section: String,
    },
    /// The address to pad to is too far away.
    #[error("padded to load address {pad_to}, the flat image would be {size} bytes, more than {max}")]
    #[diagnostic(help("lower `request.pad_to`, or allow the size with `request.max_size`"))]
    PadTooFar {
        /// The address to pad to.
        pad_to: PhysAddr,
        /// Bytes the image would have.
        size: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// A section name pattern cannot be understood.
    #[error("`{pattern}` is not a section name pattern: {reason}")]
    #[diagnostic(help("use a section name, with * ? or [abc] as wildcards"))]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The pattern reader's words.
        reason: String,
    },
    /// The file cannot be stripped as objcopy would.
    #[error("this ELF file cannot be stripped: {why}")]
    CannotStrip {
        /// What stands in the way.
        why: Cow<'static, str>,
        /// What to do instead.
        #[help]
        help: Cow<'static, str>,
    },
    /// The relocations are not in this file.
    #[error("no executable section of this file has relocations: they were cut out after the link")]
    #[diagnostic(help(
        "give vmlinux.unstripped where the build leaves one, or take arch/x86/boot/compressed/vmlinux.relocs as the build \
         made it (some kernels around 6.12 keep them nowhere else); a kernel without CONFIG_X86_NEED_RELOCS has no table \
         and needs none"
    ))]
    NoRelocs,
    /// A relocation that cannot be applied when the kernel is moved.
    #[error(transparent)]
    #[diagnostic(help(
        "a kernel with it would crash when it is moved: build the code that has it without that kind of address (no -fPIC, \
         no GOT), or let the linker script give the symbol a section"
    ))]
    RelocNotAllowed(Box<BadReloc>),
    /// The file is none that a relocation table is made of.
    #[error("this is {found}; wanted {want}")]
    #[diagnostic(help("give the kernel's own vmlinux, as the linker left it"))]
    NotForRelocs {
        /// What it is.
        found: Cow<'static, str>,
        /// What it should be.
        want: &'static str,
    },
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] crate::layout::Error),
}

/// What kind of program an ELF file is (`e_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ET_REL`: an object file, not linked yet.
    Relocatable,
    /// `ET_EXEC`.
    Executable,
    /// `ET_DYN`.
    Dynamic,
    /// `ET_CORE` and whatever else there is.
    Other(u16),
}

/// A program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`: `PF_…`.
    pub flags: u32,
    /// `p_offset`: file offset of the first byte.
    pub offset: u64,
    /// `p_vaddr`.
    pub vaddr: u64,
    /// `p_paddr`.
    pub paddr: u64,
    /// `p_filesz`: bytes in the file.
    pub filesz: u64,
    /// `p_memsz`: bytes in memory.
    pub memsz: u64,
    /// `p_align` in bytes.
    pub align: u64,
}

/// A section header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Section<'a> {
    /// The name's bytes.
    pub name: &'a [u8],
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// `sh_addr`: virtual address.
    pub addr: u64,
    /// `sh_offset`: file offset of the first byte.
    pub offset: u64,
    /// `sh_size` in bytes, in memory and (unless [`SHT_NOBITS`]) in the file.
    pub size: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
    /// `sh_addralign` in bytes, as in the file: zero and what is no power of two included.
    pub align: u64,
    /// `sh_entsize` in bytes.
    pub entsize: u64,
}

impl Section<'_> {
    /// The name for messages: a terminal obeys control characters, so they are escaped.
    pub fn name(&self) -> Cow<'_, str> {
        match String::from_utf8_lossy(self.name) {
            Cow::Borrowed(name) => printable(name),
            Cow::Owned(name) => printable(&name).into_owned().into(),
        }
    }

    /// Does `sh_link` name the section with this index?
    pub(crate) fn links_to(&self, index: usize) -> bool {
        usize::try_from(self.link) == Ok(index)
    }

    /// Part of the running program?
    pub(crate) fn is_alloc(&self) -> bool {
        self.flags & SHF_ALLOC != 0
    }

    /// Has it bytes in the file?
    pub(crate) fn is_filled(&self) -> bool {
        !matches!(self.kind, SHT_NOBITS | raw::SHT_NULL) && self.size > 0
    }

    /// For debuggers: not loaded, and of one of the names that GNU's tools know (binutils 2.40, bfd/elf.c,
    /// `_bfd_elf_make_section_from_shdr`).
    pub(crate) fn is_debug(&self) -> bool {
        const PREFIXES: [&[u8]; 6] =
            [b".debug", b".gnu.debuglto_.debug_", b".gnu.linkonce.wi.", b".zdebug", b".line", b".stab"];
        let is_named = self.name == b".gdb_index" || PREFIXES.iter().any(|prefix| self.name.starts_with(prefix));
        !self.is_alloc() && is_named
    }
}

/// File offset of `e_entry`, in either class.
pub(crate) const ENTRY_AT: u64 = 24;

/// An ELF file.
#[derive(Debug, Clone)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    is_64: bool,
    endian: Endian,
    header: encode::FileHeader,
    layout: encode::FileHeaderLayout,
    segments: Vec<Segment>,
    sections: Vec<Section<'a>>,
}

impl<'a> Elf<'a> {
    /// True when `bytes` begin with the ELF magic number.
    pub fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(&object::elf::ELFMAG)
    }

    /// Reads the headers of an ELF file of either class and byte order.
    ///
    /// # Errors
    /// [`Error::Field`] when a header is truncated or impossible, [`Error::Damaged`] when the section names are.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        Self::read(bytes).map_err(|error| match error {
            Error::Field(field) if field.help.is_empty() && matches!(field.problem, Problem::Truncated { .. }) => {
                field.with_help("the file is cut off: copy it again").into()
            }
            error => error,
        })
    }

    fn read(bytes: &'a [u8]) -> Result<Self> {
        let head = Cursor::little(bytes);
        const NOT_ELF: &str = "this is not an ELF file: give the file that the linker wrote";
        let not_elf = |error: FieldError| error.with_help(NOT_ELF);
        Cursor::new(bytes, Endian::Big).magic("e_ident[EI_MAG]", 0, 0x7f45_4c46).map_err(not_elf)?;
        let endian = match head.u8("e_ident[EI_DATA]", EI_DATA).map_err(not_elf)? {
            1 => Endian::Little,
            2 => Endian::Big,
            found => return Err(unknown("e_ident[EI_DATA]", EI_DATA, found, "1 (little-endian) or 2 (big-endian)")),
        };
        match head.u8("e_ident[EI_VERSION]", EI_VERSION).map_err(not_elf)? {
            1 => {}
            found => return Err(unknown("e_ident[EI_VERSION]", EI_VERSION, found, "1 (current)")),
        }
        match head.u8("e_ident[EI_CLASS]", EI_CLASS).map_err(not_elf)? {
            1 => Self::parse_class::<FileHeader32<Endianness>>(bytes, endian, false),
            2 => Self::parse_class::<FileHeader64<Endianness>>(bytes, endian, true),
            found => Err(unknown("e_ident[EI_CLASS]", EI_CLASS, found, "1 (32-bit) or 2 (64-bit)")),
        }
    }

    fn parse_class<H>(bytes: &'a [u8], endian: Endian, is_64: bool) -> Result<Self>
    where
        H: FileHeader<Endian = Endianness>,
    {
        let at = HeaderFields::of(is_64);
        check_tables(bytes, endian, &at)?;
        let header = H::parse(bytes).map_err(damaged("e_ident", 0))?;
        let order = header.endian().map_err(damaged("e_ident", 0))?;
        let segments: Vec<Segment> = header
            .program_headers(order, bytes)
            .map_err(damaged("e_phnum", at.phnum))?
            .iter()
            .map(|raw| Segment {
                kind: raw.p_type(order).0,
                flags: raw.p_flags(order).0,
                offset: raw.p_offset(order).into(),
                vaddr: raw.p_vaddr(order).into(),
                paddr: raw.p_paddr(order).into(),
                filesz: raw.p_filesz(order).into(),
                memsz: raw.p_memsz(order).into(),
                align: raw.p_align(order).into(),
            })
            .collect();
        let table = header.section_headers(order, bytes).map_err(damaged("e_shnum", at.shnum))?;
        let names = if table.is_empty() { &[][..] } else { section_names(bytes, header, order, table, &at)? };
        let section_table_at = header.e_shoff(order).into();
        let mut sections = Vec::with_capacity(table.len());
        for (raw, at) in table.iter().zip((section_table_at..).step_by(size_of::<H::SectionHeader>())) {
            sections.push(Section {
                name: name_at(names, raw.sh_name(order)).ok_or_else(|| {
                    let want = "the offset of a name in the section name table";
                    FieldError::unknown("sh_name", at, raw.sh_name(order), want).with_help(DAMAGED)
                })?,
                kind: raw.sh_type(order).0,
                flags: raw.sh_flags(order).0,
                addr: raw.sh_addr(order).into(),
                offset: raw.sh_offset(order).into(),
                size: raw.sh_size(order).into(),
                link: raw.sh_link(order),
                info: raw.sh_info(order),
                align: raw.sh_addralign(order).into(),
                entsize: raw.sh_entsize(order).into(),
            });
        }
        let layout = encode::FileHeaderLayout {
            e_phoff: header.e_phoff(order).into(),
            segment_num: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            e_shoff: section_table_at,
            section_num: u32::try_from(sections.len()).unwrap_or(u32::MAX),
            shstrtab_index: header.shstrndx(order, bytes).unwrap_or(0),
        };
        Ok(Elf {
            bytes,
            is_64,
            endian,
            header: encode::FileHeader::from_raw(order, header),
            layout,
            segments,
            sections,
        })
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The CPU; `None` when kimage does not know `e_machine`.
    pub fn arch(&self) -> Option<Arch> {
        Arch::from_elf_machine(self.machine(), self.is_64)
    }

    /// `e_machine`.
    pub(crate) fn machine(&self) -> u16 {
        self.header.e_machine.0
    }

    /// 64-bit class?
    pub fn is_64(&self) -> bool {
        self.is_64
    }

    /// Byte order.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// What kind of program it is.
    pub fn kind(&self) -> Kind {
        match self.header.e_type {
            object::elf::ET_REL => Kind::Relocatable,
            object::elf::ET_EXEC => Kind::Executable,
            object::elf::ET_DYN => Kind::Dynamic,
            other => Kind::Other(other.0),
        }
    }

    /// `e_entry`: a virtual address in most kernels, a physical one in some (x86).
    pub fn entry(&self) -> u64 {
        self.header.e_entry
    }

    /// Is the physical address of every program header zero? Some linkers leave it so; GNU's tools then take the
    /// virtual ones (bfd/elf.c of binutils 2.40).
    pub(crate) fn has_no_physical_addresses(&self) -> bool {
        self.segments().iter().all(|segment| segment.paddr == 0)
    }

    /// Program headers, in table order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Section headers, in table order, the null section first.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// What the file header says of the program.
    pub(crate) fn header(&self) -> &encode::FileHeader {
        &self.header
    }

    /// Where the tables are: of program headers and section headers, and the section that holds the section names.
    pub(crate) fn layout(&self) -> &encode::FileHeaderLayout {
        &self.layout
    }

    /// Writes structures of the class and byte order of this file.
    pub(crate) fn encoder(&self) -> encode::Encoder {
        encode::encoder(self.is_64, self.endian)
    }

    /// The index of the section that holds the section names (`e_shstrndx`).
    pub(crate) fn names_index(&self) -> usize {
        usize::try_from(self.layout.shstrtab_index).unwrap_or(0)
    }

    /// The error for a section whose `sh_link` does not lead to what it should.
    pub(crate) fn bad_link(&self, index: usize, want: &'static str) -> FieldError {
        let (name, found) = self.sections.get(index).map_or(("?".into(), 0), |section| (section.name(), section.link));
        let (before, field) = match self.is_64 {
            true => (size_of::<SectionHeader64<Endianness>>(), offset_of!(SectionHeader64<Endianness>, sh_link)),
            false => (size_of::<SectionHeader32<Endianness>>(), offset_of!(SectionHeader32<Endianness>, sh_link)),
        };
        let at = u64::try_from(index.saturating_mul(before).saturating_add(field)).unwrap_or(u64::MAX);
        FieldError::unknown(format!("sh_link of {name}"), self.layout.e_shoff.saturating_add(at), found, want)
    }

    /// The section with this index, as `sh_link`, `sh_info` and symbols name it.
    pub(crate) fn section_at(&self, index: u32) -> Option<&Section<'a>> {
        self.sections.get(usize::try_from(index).ok()?)
    }

    /// The first section of this name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// A section's bytes in the file; empty for [`SHT_NOBITS`].
    ///
    /// # Errors
    /// [`Error::Field`] when they are not wholly inside the file.
    pub fn contents(&self, section: &Section<'_>) -> Result<&'a [u8]> {
        if section.kind == SHT_NOBITS {
            return Ok(&[]);
        }
        slice(self.bytes, section.offset, section.size).ok_or_else(|| {
            let need = section.offset.saturating_add(section.size);
            FieldError::truncated(format!("section {}", section.name()), section.offset, need, len64(self.bytes))
                .with_help("the file is truncated: copy it again from the build tree")
                .into()
        })
    }

    /// Where the program is entered, as a load address: [`Elf::entry`] through the segment that holds it.
    pub fn physical_entry(&self) -> PhysAddr {
        let inside = |start: u64, segment: &Segment| {
            self.entry().checked_sub(start).filter(|delta| segment.kind == PT_LOAD && *delta < segment.memsz)
        };
        let by_vaddr = self
            .segments
            .iter()
            .find_map(|segment| inside(segment.vaddr, segment).and_then(|delta| segment.paddr.checked_add(delta)));
        PhysAddr(by_vaddr.unwrap_or(self.entry()))
    }

    /// The loaded memory, as load addresses: from the lowest to the highest byte of all `PT_LOAD` segments.
    pub(crate) fn physical_span(&self) -> Option<std::ops::Range<u64>> {
        let loads = || self.segments.iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz > 0);
        let start = loads().map(|segment| segment.paddr).min()?;
        let end = loads().map(|segment| segment.paddr.saturating_add(segment.memsz)).max()?;
        Some(start..end)
    }
}

/// Where the header has the fields that are checked here.
struct HeaderFields {
    phoff: u64,
    shoff: u64,
    phentsize: u64,
    phnum: u64,
    shentsize: u64,
    shnum: u64,
    shstrndx: u64,
    is_64: bool,
}

impl HeaderFields {
    const fn of(is_64: bool) -> Self {
        let (phoff, shoff, phentsize) = if is_64 { (32, 40, 54) } else { (28, 32, 42) };
        let (phnum, shentsize, shnum, shstrndx) = (phentsize + 2, phentsize + 4, phentsize + 6, phentsize + 8);
        HeaderFields { phoff, shoff, phentsize, phnum, shentsize, shnum, shstrndx, is_64 }
    }
}

/// Checks that the two tables lie inside the file, so that the error can name the field and the offset.
fn check_tables(bytes: &[u8], endian: Endian, at: &HeaderFields) -> Result<()> {
    let cursor = Cursor::new(bytes, endian);
    let word = |field, at_32_or_64| match at.is_64 {
        true => cursor.u64(field, at_32_or_64),
        false => cursor.u32(field, at_32_or_64).map(u64::from),
    };
    // The last field of the header; with it all the others are there.
    cursor.u16("e_shstrndx", at.shstrndx)?;
    let sizes = encode::encoder(at.is_64, endian);
    let phnum = u64::from(cursor.u16("e_phnum", at.phnum)?);
    // 0 says that the first section header has the number: that one must be there.
    let shnum = u64::from(cursor.u16("e_shnum", at.shnum)?).max(1);
    for (entsize_field, entsize_at, want, count, off_field, off_at) in [
        ("e_phentsize", at.phentsize, sizes.program_header_size(), phnum, "e_phoff", at.phoff),
        ("e_shentsize", at.shentsize, sizes.section_header_size(), shnum, "e_shoff", at.shoff),
    ] {
        let offset = word(off_field, off_at)?;
        if offset == 0 || count == 0 {
            continue;
        }
        let entsize = u64::from(cursor.u16(entsize_field, entsize_at)?);
        if entsize != want {
            return Err(FieldError::mismatch(entsize_field, entsize_at, entsize, want).with_help(DAMAGED).into());
        }
        let need = offset.saturating_add(count * entsize);
        if need > cursor.len() {
            return Err(FieldError::truncated(off_field, off_at, need, cursor.len()).with_help(DAMAGED).into());
        }
    }
    Ok(())
}

fn section_names<'a, H: FileHeader<Endian = Endianness>>(
    bytes: &'a [u8],
    header: &H,
    order: Endianness,
    table: &[H::SectionHeader],
    at: &HeaderFields,
) -> Result<&'a [u8]> {
    let index = header.section_strings_index(order, bytes).map_err(damaged("e_shstrndx", at.shstrndx))?.0;
    let (offset, size) = table.get(index).and_then(|raw| raw.file_range(order)).ok_or_else(|| {
        let found = u64::try_from(index).unwrap_or(u64::MAX);
        let want = "the index of the section name table";
        FieldError::unknown("e_shstrndx", at.shstrndx, found, want).with_help(DAMAGED)
    })?;
    slice(bytes, offset, size).ok_or_else(|| {
        FieldError::truncated("section name table", offset, offset.saturating_add(size), len64(bytes))
            .with_help(DAMAGED)
            .into()
    })
}

/// The name that begins at `at` of a string table; `None` when it does not end in it.
fn name_at(strings: &[u8], at: u32) -> Option<&[u8]> {
    // Nobody has longer names. A million headers that all name the same megabytes would be a trap.
    const MAX_NAME: usize = 64 << 10;
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let rest = rest.get(..MAX_NAME).unwrap_or(rest);
    rest.get(..memchr::memchr(0, rest)?)
}

const DAMAGED: &str = "the file is truncated or damaged: copy it again from the build tree";

fn unknown(field: &'static str, at: u64, found: u8, want: &'static str) -> Error {
    FieldError::unknown(field, at, found, want).into()
}

fn damaged(field: &'static str, at: u64) -> impl Fn(object::read::Error) -> Error {
    move |error| Error::Damaged { field, at: FileOffset(at), reason: error.to_string() }
}
