//! An ELF file that any loader takes: a bzImage with the ways in of PVH, Multiboot, Multiboot2 and coreboot in front of it.
//!
//! ```text
//! ELF header, PVH's note | ways in | zeros | bzImage: setup, boot stub, kernel ...
//! page 0, not loaded     | to one range of memory, whose end is behind all that the kernel needs
//! ```
//!
//! The ways in ([`LOADERS`], `src/bootstub/src/loaders`) fill in the boot parameters and go on by the 32-bit boot protocol.
//! They and the setup stand directly below the kernel's place, so that the boot stub needs not be moved.

use super::bzimage::{BzImage, Error, Setup, StandaloneImage};
use crate::bytes::{Cursor, Endian, FieldWriter, Patch, len64, slice, slice_at};
use crate::elf::encode::{FileHeader, FileHeaderLayout, Writer, encoder};
use crate::elf::raw::{PF_R, PF_W, PF_X, PT_NOTE};
use crate::elf::{Elf, PHYS32_ENTRY, PT_LOAD, Segment};
use crate::finding::{Checks, rules};
use crate::layout::{Plan, Region, RegionKind, Reserver, usize_or_max};
use crate::stub::builtin::{LOADERS, Program};
use crate::stub::memory::align_up;
use crate::stub::parameters::BITS32;
use std::ops::Range;

rules! {
    /// Rules of bzImages with ways in for other loaders in front.
    pub(crate) BOOT_ELF_RULES:
    HEAD = "elf.boot_head", Error, "what stands in front of the bzImage",
        "a loader puts the kernel to another place than it is made for, or enters it where no code is",
        "make the file again with kimage elf";
    PROGRAM = "elf.boot_program", Note, "code of the ways in",
        "another version of kimage made the file, or the code is damaged",
        "make the file again with this kimage to be sure";
}

/// Where the file goes on behind the headers.
const HEADERS: u64 = 4096;
const PAGE: u64 = 4096;
/// Boot parameters, command line, memory map and stack of the ways in (`ROOM` in bootstub/src/loaders/head.s).
const ROOM: u64 = 0x2_0000;
/// Below are the BIOS and what loaders leave.
const LOW_MEMORY_END: u64 = 1 << 20;
/// In front of the parameters, which are the place of the bzImage and that of the room.
const MAGIC: &[u8] = b"kimage\0L";
/// The parameters stand within so many bytes of the ways in.
const FURTHEST: u64 = 4096;

/// What was laid out.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// All that stands in front of the bzImage.
    bytes: Vec<u8>,
    /// Where the ways in have what depends on the bzImage: file offsets.
    patches: Vec<Patch>,
    /// `e_entry`, a physical address.
    pub(crate) entry: u64,
    /// PVH's entry.
    pub(crate) pvh_entry: u64,
    /// The memory that a loader provides.
    pub(crate) memory: Range<u64>,
}

/// Lays out what stands in front of a bzImage, in an ELF file of 64 or 32 bits.
///
/// # Errors
/// [`Error`]: a bzImage that is damaged, or that does not fit 32-bit addresses.
pub(crate) fn head(image: &BzImage<'_>, is_64: bool) -> Result<Head, Error> {
    let program = Program::read(LOADERS)?;
    let header = image.setup().header();
    let (setup_len, image_len) = (image.system_range().0, len64(image.bytes()));
    let up = |at: u64, align: u64| align_up(at, align).unwrap_or(u64::MAX);
    let lead = up(len64(&program.bytes).saturating_add(setup_len), PAGE);
    let setup_at = lead - setup_len;
    let (pref, needs) = (header.pref_address.get(), u64::from(header.init_size.get()));
    let moves = header.relocatable_kernel != 0;
    let base = match pref.checked_sub(lead) {
        Some(base) if base >= LOW_MEMORY_END => base,
        _ if moves => LOW_MEMORY_END,
        _ => up(pref.saturating_add(needs), PAGE),
    };
    // Where the boot protocol has the kernel.
    let kernel =
        if moves { up(base.saturating_add(lead), header.kernel_alignment.get().into()).max(pref) } else { pref };
    let file_end = base.saturating_add(setup_at).saturating_add(image_len);
    let room = up(kernel.saturating_add(needs).max(file_end), PAGE);
    let end = room.saturating_add(ROOM);
    let max = u64::from(u32::MAX);
    if end > max {
        return Err(Error::TooLarge { need: end, max });
    }
    let (entry, pvh_entry) = (base + program.symbol("entry")?, base + program.symbol("entry_pvh")?);
    let mut bytes = headers(is_64, entry, pvh_entry, base, file_end, end)?;
    bytes.extend(&program.bytes);
    bytes.resize(usize_or_max(HEADERS + setup_at), 0);
    let mut out = FieldWriter::new(bytes);
    let mut put = |field, symbol: &'static str, index: u64, value| -> Result<(), Error> {
        Ok(out.narrow(field, HEADERS + program.symbol(symbol)? + 4 * index, value)?)
    };
    // The Multiboot header is the first thing of the ways in.
    for (index, value) in (0..).zip([base, base, file_end, end, entry]) {
        put("Multiboot address", "multiboot_addresses", index, value)?;
    }
    put("bzImage's place", "loader_parameters", 2, setup_at)?;
    put("room's place", "loader_parameters", 3, room - base)?;
    put("address of the ways in", "start_address", 0, base)?;
    let (bytes, patches) = out.finish();
    Ok(Head { bytes, patches, entry, pvh_entry, memory: base..end })
}

/// ELF header, program headers and note, one page.
fn headers(is_64: bool, entry: u64, pvh: u64, base: u64, file_end: u64, end: u64) -> Result<Vec<u8>, Error> {
    let encoder = encoder(is_64, Endian::Little);
    let mut note = Vec::new();
    // As the kernel has it: an address of the file's class.
    let desc = pvh.to_le_bytes().into_iter().take(if is_64 { 8 } else { 4 }).collect::<Vec<u8>>();
    let len = u32::try_from(desc.len()).unwrap_or(0);
    [4, len, PHYS32_ENTRY].iter().for_each(|word| note.extend(word.to_le_bytes()));
    note.extend(b"Xen\0");
    note.extend(desc);
    let note_at = (encoder.file_header_size() + 2 * encoder.program_header_size()).next_multiple_of(16);
    let header = FileHeader {
        e_type: object::elf::ET_EXEC,
        e_machine: if is_64 { object::elf::EM_X86_64 } else { object::elf::EM_386 },
        e_entry: entry,
        ..FileHeader::default()
    };
    let layout = FileHeaderLayout {
        e_phoff: encoder.file_header_size(),
        segment_num: 2,
        e_shoff: 0,
        section_num: 0,
        shstrtab_index: 0,
    };
    let mut writer = Writer::new(encoder);
    writer.file_header(&header, &layout);
    writer.segment(&Segment {
        kind: PT_LOAD,
        flags: PF_R | PF_W | PF_X,
        offset: HEADERS,
        vaddr: base,
        paddr: base,
        filesz: file_end - base,
        memsz: end - base,
        align: PAGE,
    });
    let len = len64(&note);
    let (kind, flags) = (PT_NOTE, PF_R);
    writer.segment(&Segment { kind, flags, offset: note_at, vaddr: 0, paddr: 0, filesz: len, memsz: len, align: 4 });
    writer.fill_to(note_at);
    writer.put(&note);
    writer.fill_to(HEADERS);
    writer.finish().map_err(|need| Error::TooLarge { need, max: u32::MAX.into() })
}

/// The whole file.
///
/// # Errors
/// As [`head`].
pub(crate) fn plan(image: Vec<u8>, is_64: bool) -> Result<(Plan<'static>, Head), Error> {
    let parsed = BzImage::parse(&image)?;
    let mut head = head(&parsed, is_64)?;
    let mut reserver = Reserver::new();
    let bytes = std::mem::take(&mut head.bytes);
    let (headers, program) = bytes.split_at(usize_or_max(HEADERS).min(bytes.len()));
    reserver.bytes(headers.to_vec())?;
    reserver.region("ELF header", 0, RegionKind::Header);
    let at = reserver.at();
    reserver.bytes(program.to_vec())?;
    reserver.region(ENTRY_CODE, at, RegionKind::Code);
    let at = reserver.at();
    reserver.bytes(image)?;
    reserver.region(IMAGE, at, RegionKind::Payload);
    Ok((reserver.finish(), head))
}

/// What the ways in are called in a map.
const ENTRY_CODE: &str = "loaders";
/// What the bzImage is called, in a map and as a layer.
pub(crate) const IMAGE: &str = "bzimage";

/// A file of this kind.
#[derive(Debug, Clone)]
pub(crate) struct BootElf<'a> {
    elf: &'a [u8],
    is_64: bool,
    /// File offsets of the bzImage.
    pub(crate) image: Range<u64>,
}

impl<'a> BootElf<'a> {
    /// `None` for other ELF files.
    pub(crate) fn find(elf: &Elf<'a>) -> Option<BootElf<'a>> {
        let loaded = elf.segments().iter().find(|segment| segment.kind == PT_LOAD)?;
        let bytes = slice(elf.bytes(), loaded.offset, loaded.filesz)?;
        let start = slice(bytes, 0, FURTHEST.min(len64(bytes)))?;
        let at = u64::try_from(memchr::memmem::find(start, MAGIC)?).ok()?;
        let setup_at = Cursor::little(start).u32("bzImage's place", at + len64(MAGIC)).ok()?;
        let image = loaded.offset.checked_add(setup_at.into())?..loaded.offset + loaded.filesz;
        let is_image = slice_at(elf.bytes(), &image).is_some_and(Setup::detect);
        is_image.then_some(BootElf { elf: elf.bytes(), is_64: elf.is_64(), image })
    }

    /// What stands behind the headers, as [`plan`] has it.
    pub(crate) fn regions(&self) -> [Region; 2] {
        [
            Region::new(ENTRY_CODE, HEADERS.min(self.image.start)..self.image.start, RegionKind::Code),
            Region::new(IMAGE, self.image.clone(), RegionKind::Payload),
        ]
    }

    /// The bzImage.
    pub(crate) fn image(&self) -> &'a [u8] {
        slice_at(self.elf, &self.image).unwrap_or_default()
    }

    /// Holds all that stands in front of the bzImage to what this kimage writes for that bzImage.
    pub(crate) fn check(&self) -> Checks {
        let mut checks = Checks::default();
        let Ok(image) = BzImage::parse(self.image()) else { return checks };
        let wanted = match head(&image, self.is_64) {
            Ok(wanted) => wanted,
            Err(error) => {
                checks.expect(&HEAD, None, false, error, "a bzImage that a loader can load");
                return checks;
            }
        };
        let found = slice(self.elf, 0, self.image.start).unwrap_or_default();
        let mut head: Vec<Range<u64>> = wanted
            .patches
            .iter()
            .map(|patch| patch.offset..patch.offset + 4)
            .chain(std::iter::once(0..HEADERS))
            .collect();
        head.extend(multiboot_headers(&wanted.bytes).into_iter().flatten());
        let differs = |in_code: bool| {
            let pairs = (0_u64..).zip(found.iter().zip(&wanted.bytes));
            let mut parts = pairs.filter(|(at, _)| head.iter().any(|part| part.contains(at)) != in_code);
            parts.find(|(_, (found, wanted))| found != wanted).map(|(at, _)| at)
        };
        let code = differs(true).or((found.len() != wanted.bytes.len()).then_some(HEADERS));
        checks.expect(&PROGRAM, code, code.is_none(), "none of this version", "that of this version");
        // Another version may lay out otherwise.
        if code.is_none() {
            let at = differs(false);
            let memory = format!("ways in and bzImage for {:#x} to {:#x}", wanted.memory.start, wanted.memory.end);
            checks.expect(&HEAD, at, at.is_none(), "another header or address", memory);
        } else {
            // By their own sums.
            let has_both = multiboot_headers(found).iter().all(Option::is_some);
            checks.expect(
                &HEAD,
                HEADERS,
                has_both,
                "a Multiboot header that is none",
                "those of Multiboot and Multiboot2",
            );
        }
        checks
    }
}

/// The bzImage in a file of this kind.
pub(crate) fn image_in(file: &[u8]) -> Option<&[u8]> {
    let elf = Elf::parse(file).ok().filter(|_| Elf::detect(file))?;
    Some(BootElf::find(&elf)?.image())
}

/// Is the kernel in a bzImage one of 64 bits? In one around a boot stub of ours that is known.
pub(crate) fn is_for_64_bits(image: &[u8]) -> bool {
    let image = BzImage::parse(image).ok();
    !image.and_then(|image| StandaloneImage::find(&image)).is_some_and(|stub| stub.parameters.has(BITS32))
}

/// File offset of a Multiboot header (0.6.96, 3.1.1: within 8192 bytes, aligned to 4).
pub(crate) fn multiboot_header(bytes: &[u8]) -> Option<u64> {
    find_words(bytes, 8192, 4, |[magic, flags, sum]| {
        magic == 0x1bad_b002 && magic.wrapping_add(flags).wrapping_add(sum) == 0
    })
}

/// File offset of a Multiboot2 header (2.0, 3.1.1: within 32768 bytes, aligned to 8), by magic number and architecture.
pub(crate) fn multiboot2_header(bytes: &[u8]) -> Option<u64> {
    let found = find_words(bytes, 32768, 8, |[magic, arch, _]| magic == 0xe852_50d6 && matches!(arch, 0 | 4))?;
    let words = (0..4).map(|index| Cursor::little(bytes).u32("Multiboot2 header", found + 4 * index));
    let sum = words.map(|word| word.unwrap_or(0)).fold(0, u32::wrapping_add);
    (sum == 0).then_some(found)
}

/// The headers of both, where they are whole: the first has its addresses, the second says how long it is.
fn multiboot_headers(bytes: &[u8]) -> [Option<Range<u64>>; 2] {
    const LEN: u64 = 32;
    let first = multiboot_header(bytes).map(|at| at..at + LEN);
    let second = multiboot2_header(bytes).and_then(|at| {
        let len = Cursor::little(bytes).u32("header_length", at + 8).ok()?;
        Some(at..at.saturating_add(len.into()))
    });
    [first, second]
}

/// The first place of three such words.
fn find_words(bytes: &[u8], most: u64, step: usize, is_one: impl Fn([u32; 3]) -> bool) -> Option<u64> {
    let cursor = Cursor::little(slice(bytes, 0, most.min(len64(bytes)))?);
    (0..most).step_by(step).find(|at| {
        let word = |index: u64| cursor.u32("header", at + 4 * index).ok();
        matches!([word(0), word(1), word(2)], [Some(a), Some(b), Some(c)] if is_one([a, b, c]))
    })
}
