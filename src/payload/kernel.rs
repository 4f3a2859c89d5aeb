//! A kernel as the boot stub unpacks it: an ELF file with its segments laid out as they lie in memory, and the
//! relocation table behind it.
//!
//! The stub unpacks the whole file to the kernel's place and moves the segments down by the one page that the headers
//! take, so each must stand in the file no earlier than in memory; laid out anew, that holds by construction, and what
//! a linker left between them is gone. The table is last, as in the kernel's own payloads, behind all that is cleared.

use crate::arch::Arch;
use crate::bytes::{Endian, PhysAddr, VirtAddr, help, len64, slice};
use crate::codec;
use crate::elf::encode::{FileHeader, FileHeaderLayout, SectionHeader, Writer, encoder, string_table};
use crate::elf::raw::{PT_INTERP, PT_NOTE};
use crate::elf::{self, Elf, PT_LOAD, RelocTable, Segment};
use miette::Diagnostic;

/// Bytes of the headers, and by how much the segments stand later in the file than in memory.
pub(crate) const HEADERS: u64 = 4096;
/// Real-mode memory, which no kernel may ask for.
const LOW_MEMORY_END: u64 = 1 << 20;
/// A table of program headers that the stub reads.
const MAX_SEGMENTS: usize = 64;
/// 64-bit Linux is linked for this address and up, and finds out itself where in physical memory it is
/// (`__START_KERNEL_map`, arch/x86/include/asm/page_64_types.h).
const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// The variable that says how many levels are on, in kernels that look (`CONFIG_X86_5LEVEL`, always on from Linux 7.2).
const FIVE_LEVELS: &[u8] = b"__pgtable_l5_enabled";
/// The contents of `.shstrtab`.
const SECTION_NAMES: &[u8] = b"\0.shstrtab\0";
/// Large pages, which a 64-bit kernel is mapped with.
const LARGE_PAGE: u64 = 2 << 20;

/// The kernel cannot be put into an image of our own.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The ELF file is damaged.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Elf(#[from] elf::Error),
    /// The compressed kernel in an image cannot be unpacked.
    #[error("the kernel in the image: {0}")]
    #[diagnostic(help("{}", packed_help(_0)))]
    Packed(#[from] codec::Error),
    /// It is for another CPU.
    #[error("the ELF file is for {found}, wanted x86-64 or 32-bit x86")]
    #[diagnostic(help("for an ARM kernel use `kimage zimage`, for others `kimage image`"))]
    WrongCpu {
        /// Its CPU.
        found: String,
    },
    /// It is not linked yet.
    #[error("this is an object file (e_type ET_REL), it is not linked yet")]
    #[diagnostic(help("give the kernel as the linker left it: vmlinux"))]
    NotLinked,
    /// It is a program of an operating system.
    #[error("the ELF file wants an interpreter (PT_INTERP): it is a program, not a kernel")]
    #[diagnostic(help("give the kernel as the linker left it: vmlinux"))]
    Interpreter,
    /// Nothing of it is loaded.
    #[error("the ELF file has no PT_LOAD segment with memory")]
    #[diagnostic(help("give the kernel as the linker left it: vmlinux"))]
    NothingToLoad,
    /// More segments than the stub reads.
    #[error("the ELF file has {count} PT_LOAD and PT_NOTE segments, the boot stub takes at most {MAX_SEGMENTS}")]
    #[diagnostic(help("let the linker script put sections into fewer segments (PHDRS)"))]
    TooManySegments {
        /// How many it has.
        count: usize,
    },
    /// A segment's numbers contradict each other or the file.
    #[error("segment {index} of the ELF file: {why}")]
    #[diagnostic(help("the file is truncated or damaged: copy it again from where it was built"))]
    Segment {
        /// Its place in the table of program headers, from 0.
        index: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A segment must not go where it wants to.
    #[error("segment {index} of the ELF file is for physical address {at}, below 1 MiB")]
    #[diagnostic(help(
        "link the kernel for physical addresses (LMA) from 1 MiB on: below are BIOS and boot parameters"
    ))]
    TooLow {
        /// Its place in the table of program headers, from 0.
        index: usize,
        /// `p_paddr`.
        at: PhysAddr,
    },
    /// Two segments want the same memory.
    #[error("segments {first} and {second} of the ELF file overlap at physical address {at}")]
    #[diagnostic(help("give each segment its own physical addresses (LMA, p_paddr)"))]
    Overlap {
        /// One of them.
        first: usize,
        /// The other.
        second: usize,
        /// The first address that both have.
        at: PhysAddr,
    },
    /// The entry point is outside of the kernel.
    #[error("the entry point {entry} of the ELF file is in none of its segments")]
    #[diagnostic(help("let the linker script say ENTRY(symbol), a symbol in a loaded section"))]
    NoEntry {
        /// `e_entry`.
        entry: PhysAddr,
    },
    /// The relocation table is not this kernel's.
    #[error("the relocation table names the address {at}, which is not in the kernel's memory")]
    #[diagnostic(help("give the vmlinux.relocs that its own build made, or none"))]
    NotItsTable {
        /// The first such address, a virtual one.
        at: VirtAddr,
    },
    /// It would take too much memory.
    #[error("the kernel takes {need} bytes of memory, more than {max}")]
    #[diagnostic(help("allow it with `request.max_memory`; physical addresses far apart take memory, too"))]
    TooLarge {
        /// Bytes it takes.
        need: u64,
        /// Bytes allowed.
        max: u64,
    },
}

/// The limit of what is unpacked is the memory that was allowed.
fn packed_help(error: &codec::Error) -> String {
    match error {
        codec::Error::TooBig { .. } => "allow it with `request.max_memory`".to_owned(),
        error => help(error),
    }
}

/// The result of laying a kernel out.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A kernel, ready to be compressed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub(crate) struct LaidOutKernel {
    /// The ELF file, and the relocation table behind it.
    pub bytes: Vec<u8>,
    /// Bytes of the ELF file.
    pub elf_len: u64,
    /// The lowest physical address.
    pub load_min: u64,
    /// From there to behind the last byte, uninitialised data included.
    pub span: u64,
    /// The entry point, a physical address.
    pub entry: u64,
    /// Virtual minus physical address.
    pub virt_offset: u64,
    /// It can be put at multiples of this when it can be moved; a power of two.
    pub align: u64,
    /// 64-bit code?
    pub is_64: bool,
    /// It runs at any physical address.
    pub is_movable: bool,
    /// It can take over when the CPU has five levels of page tables on.
    pub knows_five_levels: bool,
    /// The release of a Linux kernel.
    pub release: Option<String>,
}

impl LaidOutKernel {
    /// Has it a relocation table?
    pub(crate) fn has_relocs(&self) -> bool {
        len64(&self.bytes) > self.elf_len
    }

    /// Is all that `table` names in the kernel's memory? Who moves a kernel refuses any other table, and the boot stub does
    /// so when it is too late (Linux: arch/x86/boot/compressed/misc.c,
    /// `handle_relocations`, "relocation outside of kernel").
    ///
    /// # Errors
    /// [`Error::NotItsTable`].
    pub(crate) fn check_table(&self, table: &RelocTable) -> Result<()> {
        let lists = [(&table.addresses64, 8), (&table.inverse32, 4), (&table.addresses32, 4)];
        for (word, width) in lists.into_iter().flat_map(|(list, width)| list.iter().map(move |word| (*word, width))) {
            let address = if self.is_64 { elf::sign_extended(word) } else { u64::from(word) };
            let at = address.wrapping_sub(self.virt_offset).wrapping_sub(self.load_min);
            if at.checked_add(width).filter(|end| *end <= self.span).is_none() {
                return Err(Error::NotItsTable { at: VirtAddr(address) });
            }
        }
        Ok(())
    }
}

/// A segment, and its place in the table of program headers.
type Load = (usize, Segment);

/// Lays out `elf` with the relocation table `relocs` (whose lists [`parse_relocs`](super::parse_relocs) has checked)
/// behind it.
///
/// # Errors
/// [`Error`], with the segment that cannot be loaded.
pub(crate) fn kernel(elf: &Elf<'_>, relocs: Option<&[u8]>, max_memory: u64) -> Result<LaidOutKernel> {
    let is_64 = match elf.arch() {
        Some(Arch::X86_64) => true,
        Some(Arch::X86) => false,
        Some(other) => return Err(Error::WrongCpu { found: other.facts().name.to_owned() }),
        None => return Err(Error::WrongCpu { found: format!("e_machine {}", elf.machine()) }),
    };
    if elf.kind() == elf::Kind::Relocatable {
        return Err(Error::NotLinked);
    }
    if elf.segments().iter().any(|segment| segment.kind == PT_INTERP) {
        return Err(Error::Interpreter);
    }
    let loads = loads(elf)?;
    let (Some((_, first)), Some((_, last))) = (loads.first(), loads.last()) else { return Err(Error::NothingToLoad) };
    let load_min = first.paddr;
    let span = last.paddr.saturating_add(last.memsz) - load_min;
    if span > max_memory {
        return Err(Error::TooLarge { need: span, max: max_memory });
    }
    let entry = entry(elf, &loads)?;
    // The segment that is entered: others, as that of the per-CPU data, may have virtual addresses of their own.
    let entered = loads.iter().map(|(_, segment)| segment).find(|segment| holds(segment.paddr, segment, entry));
    let virt_offset = entered.map_or(0, |segment| segment.vaddr.wrapping_sub(segment.paddr));
    let release = elf.release().or_else(|| elf::release_in(elf.bytes()));
    let align =
        loads.iter().map(|(_, segment)| segment.align).filter(|align| align.is_power_of_two()).fold(1, u64::max);
    let mut kernel = LaidOutKernel {
        bytes: Vec::new(),
        elf_len: 0,
        load_min,
        span,
        entry,
        virt_offset,
        align: align.max(if is_64 || relocs.is_some() { LARGE_PAGE } else { 4096 }),
        is_64,
        is_movable: if is_64 { release.is_some() && virt_offset == KERNEL_MAP } else { relocs.is_some() },
        knows_five_levels: is_64 && has_symbol(elf, FIVE_LEVELS),
        release,
    };
    lay_out(&mut kernel, elf, &loads, relocs)?;
    Ok(kernel)
}

/// The segments to load, by rising physical address.
fn loads(elf: &Elf<'_>) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    for (index, segment) in elf.segments().iter().enumerate() {
        if segment.kind != PT_LOAD || segment.memsz == 0 {
            continue;
        }
        let fault = |why| Err(Error::Segment { index, why });
        if segment.filesz > segment.memsz {
            return fault("p_filesz is more than p_memsz");
        }
        if slice(elf.bytes(), segment.offset, segment.filesz).is_none() {
            return fault("it is not wholly inside the file");
        }
        if segment.paddr.checked_add(segment.memsz).is_none() {
            return fault("it ends behind the end of the address space");
        }
        if segment.paddr < LOW_MEMORY_END {
            return Err(Error::TooLow { index, at: PhysAddr(segment.paddr) });
        }
        loads.push((index, *segment));
    }
    loads.sort_by_key(|(index, segment)| (segment.paddr, *index));
    for pair in loads.windows(2) {
        if let [(first, low), (second, high)] = pair {
            if high.paddr < low.paddr.saturating_add(low.memsz) {
                return Err(Error::Overlap { first: *first, second: *second, at: PhysAddr(high.paddr) });
            }
        }
    }
    Ok(loads)
}

fn has_symbol(elf: &Elf<'_>, name: &[u8]) -> bool {
    elf.symbols().is_ok_and(|mut symbols| symbols.any(|symbol| symbol.name == name))
}

fn holds(start: u64, segment: &Segment, address: u64) -> bool {
    address.checked_sub(start).is_some_and(|offset| offset < segment.memsz)
}

/// Linux has a physical entry point; a virtual one goes through the segment that holds it.
fn entry(elf: &Elf<'_>, loads: &[Load]) -> Result<u64> {
    let entry = elf.entry();
    if loads.iter().any(|(_, segment)| holds(segment.paddr, segment, entry)) {
        return Ok(entry);
    }
    loads
        .iter()
        .find(|(_, segment)| holds(segment.vaddr, segment, entry))
        .map(|(_, segment)| entry - segment.vaddr + segment.paddr)
        .ok_or(Error::NoEntry { entry: PhysAddr(entry) })
}

/// Writes the file.
fn lay_out(kernel: &mut LaidOutKernel, elf: &Elf<'_>, loads: &[Load], relocs: Option<&[u8]>) -> Result<()> {
    let encoder = encoder(kernel.is_64, Endian::Little);
    let place = |paddr: u64| HEADERS + (paddr - kernel.load_min);
    let mut headers = Vec::new();
    let mut notes_apart = Vec::new();
    let mut end = HEADERS;
    for (_, segment) in loads {
        let offset = place(segment.paddr);
        end = end.max(offset + segment.filesz);
        headers.push(Segment { offset, align: 4096, ..*segment });
    }
    for (index, note) in elf.segments().iter().enumerate().filter(|(_, segment)| segment.kind == PT_NOTE) {
        let Some(bytes) = slice(elf.bytes(), note.offset, note.filesz) else {
            return Err(Error::Segment { index, why: "it is not wholly inside the file" });
        };
        let inside = loads.iter().map(|(_, load)| load).find(|load| {
            let start = note.offset.checked_sub(load.offset);
            start.is_some_and(|start| start.saturating_add(note.filesz) <= load.filesz)
        });
        match inside {
            Some(load) => {
                let offset = place(load.paddr) + (note.offset - load.offset);
                headers.push(Segment { offset, ..*note });
            }
            None => {
                notes_apart.push((headers.len(), bytes));
                headers.push(*note);
            }
        }
    }
    if headers.len() > MAX_SEGMENTS {
        return Err(Error::TooManySegments { count: headers.len() });
    }
    if relocs.is_some() {
        // The stub clears up to here.
        end = end.max(kernel.span);
    }
    for (index, bytes) in &notes_apart {
        end = end.next_multiple_of(16);
        if let Some(header) = headers.get_mut(*index) {
            header.offset = end;
        }
        end += len64(bytes);
    }
    // A section table says where the file ends, for who looks for the relocation table behind it.
    let names_at = end.next_multiple_of(16);
    let sections_at = relocs.map(|_| (names_at + len64(SECTION_NAMES)).next_multiple_of(16));
    kernel.elf_len = sections_at.map_or(end, |at| at + 2 * encoder.section_header_size());

    let mut out = Vec::with_capacity(usize_of(kernel.elf_len + relocs.map_or(0, len64)));
    let header = FileHeader {
        e_type: object::elf::ET_EXEC,
        e_machine: object::elf::Machine(elf.machine()),
        e_entry: kernel.entry,
        ..FileHeader::default()
    };
    let (section_num, shstrtab_index) = if sections_at.is_some() { (2, 1) } else { (0, 0) };
    let layout = FileHeaderLayout {
        e_phoff: encoder.file_header_size(),
        segment_num: u32::try_from(headers.len()).unwrap_or(u32::MAX),
        e_shoff: sections_at.unwrap_or(0),
        section_num,
        shstrtab_index,
    };
    let too_large = |need| Error::TooLarge { need, max: u32::MAX.into() };
    let mut writer = Writer::new(encoder);
    writer.file_header(&header, &layout);
    headers.iter().for_each(|header| writer.segment(header));
    out.extend(writer.finish().map_err(too_large)?);
    for (_, segment) in loads {
        out.resize(usize_of(place(segment.paddr)), 0);
        out.extend_from_slice(slice(elf.bytes(), segment.offset, segment.filesz).unwrap_or_default());
    }
    for (index, bytes) in notes_apart {
        out.resize(headers.get(index).map_or(out.len(), |header| usize_of(header.offset)), 0);
        out.extend_from_slice(bytes);
    }
    if let Some(at) = sections_at {
        out.resize(usize_of(names_at), 0);
        out.extend_from_slice(SECTION_NAMES);
        out.resize(usize_of(at), 0);
        let mut writer = Writer::new(encoder);
        writer.section(&SectionHeader::default());
        writer.section(&string_table(encoder, 1, names_at, len64(SECTION_NAMES)));
        out.extend(writer.finish().map_err(too_large)?);
    }
    out.resize(usize_of(kernel.elf_len), 0);
    out.extend_from_slice(relocs.unwrap_or_default());
    kernel.bytes = out;
    Ok(())
}

fn usize_of(value: u64) -> usize {
    crate::layout::usize_or_max(value)
}
