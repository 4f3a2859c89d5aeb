//! `objcopy -O binary`: the bytes of the allocated sections, each at its load address.
//!
//! The rules are those of GNU objcopy 2.40 (bfd/binary.c, bfd/elf.c `_bfd_elf_make_section_from_shdr`, binutils/objcopy.c):
//! the image begins at the lowest load address of a section with contents, sections are written in table order (so
//! the later one wins where two overlap), holes read as zeros unless `--gap-fill` says otherwise, and a NOBITS section
//! takes up room only when something lies behind it.

use super::raw::{PT_TLS, SHF_TLS, SHT_GROUP, SHT_NULL};
use super::{Elf, Error, FlagList, PT_LOAD, RemoveList, Result, SHT_NOBITS, Section, Segment};
use crate::bytes::PhysAddr;
use crate::layout::{Plan, RegionKind, Reserver};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that a flat image, a kernel that is unpacked, or the memory that an image needs to start has at most, unless more is asked
/// for: 1 GiB.
pub const DEFAULT_MAX_SIZE: u64 = 1 << 30;

/// Zeros between the sections of a kernel, all together; real ones have less than two MiB. What asks for more gets it only
/// where somebody said how much may come out.
pub(super) const MOST_ZEROS: u64 = 64 << 20;

/// How to flatten.
#[derive(Debug, Clone)]
pub struct FlatOptions {
    /// Sections to leave out.
    pub remove: RemoveList,
    /// The only sections to take (`--only-section`); all where it is empty.
    pub only: RemoveList,
    /// Sections that are loaded, or not, whatever the file says (`--set-section-flags`).
    pub flags: FlagList,
    /// Fill gaps between loaded sections with this byte (`--gap-fill`).
    pub gap_fill: Option<u8>,
    /// Pad the image to this load address (`--pad-to`).
    pub pad_to: Option<u64>,
    /// Refuse an image of more bytes than this.
    pub max_size: u64,
}

impl Default for FlatOptions {
    fn default() -> Self {
        FlatOptions {
            remove: RemoveList::default(),
            only: RemoveList::default(),
            flags: FlagList::default(),
            gap_fill: None,
            pad_to: None,
            max_size: DEFAULT_MAX_SIZE,
        }
    }
}

impl FlatOptions {
    /// Without these sections, and otherwise as [`FlatOptions::default`]: as a kernel's makefile flattens it.
    ///
    /// # Errors
    /// [`Error::Pattern`] when a name cannot be understood.
    pub(crate) fn without(names: &[&str]) -> Result<Self> {
        Ok(FlatOptions { remove: RemoveList::new(names)?, ..FlatOptions::default() })
    }

    /// For an image of `elf` that is put together in memory, of which load addresses must not say how much it is: at most
    /// 64 MiB more than the file.
    #[must_use]
    pub(crate) fn in_memory(self, elf: &Elf<'_>) -> Self {
        FlatOptions { max_size: crate::bytes::len64(elf.bytes()).saturating_add(MOST_ZEROS), ..self }
    }
}

/// A flat image.
#[derive(Debug, Clone)]
pub struct FlatImage<'a> {
    /// Load address of its first byte.
    pub base: PhysAddr,
    /// Its bytes; one region a section.
    pub plan: Plan<'a>,
}

/// A run of bytes at a load address, before overlaps are settled.
#[derive(Debug, Clone, Copy)]
struct Block<'a> {
    section: Section<'a>,
    lma: u64,
    /// None for a section of zeros that the file does not have.
    bytes: Option<&'a [u8]>,
    size: u64,
}

/// What shows at an offset of the image, once all blocks are laid over each other.
#[derive(Debug, Clone, Copy)]
enum Cover<'a> {
    Bytes { name: &'a [u8], bytes: &'a [u8] },
    Fill { name: &'a [u8], byte: u8, len: u64 },
}

impl<'a> Cover<'a> {
    fn len(&self) -> u64 {
        match self {
            Cover::Bytes { bytes, .. } => crate::bytes::len64(bytes),
            Cover::Fill { len, .. } => *len,
        }
    }

    /// The part of it from `from` up to `to`, counted from its own start.
    fn cut(&self, from: u64, to: u64) -> Cover<'a> {
        match *self {
            Cover::Bytes { name, bytes } => {
                Cover::Bytes { name, bytes: crate::bytes::slice(bytes, from, to - from).unwrap_or(&[]) }
            }
            Cover::Fill { name, byte, .. } => Cover::Fill { name, byte, len: to - from },
        }
    }
}

/// Makes the flat image of an executable.
///
/// An ELF file without section headers is flattened by its `PT_LOAD` segments.
///
/// # Errors
/// [`Error::NothingToLoad`], [`Error::TooLarge`] when the load addresses lie too far apart, [`Error::Field`] when a
/// section lies outside of the file.
///
/// # Example
///
/// ```
/// use kimage::elf::{Elf, FlatOptions, flatten};
///
/// let vmlinux = include_bytes!("../../testdata/tiny/arm-vmlinux");
/// let flat = flatten(&Elf::parse(vmlinux)?, &FlatOptions::default())?;
/// println!("{} bytes for {:#x}", flat.plan.len(), flat.base.0);
/// # Ok::<(), kimage::elf::Error>(())
/// ```
pub fn flatten<'a>(elf: &Elf<'a>, options: &FlatOptions) -> Result<FlatImage<'a>> {
    let blocks = if elf.sections().len() > 1 { section_blocks(elf, options)? } else { segment_blocks(elf)? };
    let gaps = gaps(&blocks, options);
    let grown: BTreeSet<u64> = gaps.iter().map(|gap| gap.start).collect();
    let filled = blocks.iter().filter(|block| block.size > 0 || grown.contains(&block.lma));
    let low = *filled.min_by_key(|block| block.lma).ok_or(Error::NothingToLoad)?;
    let mut covers = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.size > 0) {
        let size = (block.lma - low.lma).checked_add(block.size).filter(|size| *size <= options.max_size);
        if size.is_none() {
            return Err(too_large((block.lma - low.lma).saturating_add(block.size), options, &low, block));
        }
        let name = block.section.name;
        let cover = match block.bytes {
            Some(bytes) => Cover::Bytes { name, bytes },
            None => Cover::Fill { name, byte: 0, len: block.size },
        };
        lay(&mut covers, block.lma - low.lma, cover);
    }
    // objcopy writes the gaps after all sections.
    for Gap { start, stop } in gaps {
        let size = stop - low.lma;
        if size > options.max_size {
            // A gap between sections ends where a section begins, and those are inside.
            return Err(Error::PadTooFar { pad_to: PhysAddr(stop), size, max: options.max_size });
        }
        let fill = Cover::Fill { name: b"gap", byte: options.gap_fill.unwrap_or(0), len: stop - start };
        lay(&mut covers, start - low.lma, fill);
    }

    let mut reserver = Reserver::new();
    for (at, cover) in covers {
        reserver.fill_to("the flat image", at, 0)?;
        match cover {
            Cover::Bytes { name, bytes } => {
                reserver.bytes(bytes)?;
                reserver.region(String::from_utf8_lossy(name).into_owned(), at, RegionKind::Code);
            }
            Cover::Fill { name, byte, len } => {
                reserver.fill(len, byte)?;
                reserver.region(String::from_utf8_lossy(name).into_owned(), at, RegionKind::Padding);
            }
        }
    }
    Ok(FlatImage { base: PhysAddr(low.lma), plan: reserver.finish() })
}

fn section_blocks<'a>(elf: &Elf<'a>, options: &FlatOptions) -> Result<Vec<Block<'a>>> {
    let keep_vma = paddrs_are_unset(elf);
    let wanted = |section: &Section<'a>| options.only.is_empty() || options.only.removes(section);
    let mut blocks = Vec::new();
    for section in elf.sections() {
        let in_file = section.kind != SHT_NOBITS;
        let loaded = match options.flags.of(section) {
            Some(flags) => flags.is_written(in_file),
            None => section.is_alloc() && in_file,
        };
        let is_real = !matches!(section.kind, SHT_NULL | SHT_GROUP);
        if loaded && is_real && wanted(section) && !options.remove.removes(section) {
            let lma = if keep_vma { section.addr } else { load_address(section, elf.segments()) };
            let bytes = in_file.then(|| elf.contents(section)).transpose()?;
            blocks.push(Block { section: *section, lma, bytes, size: section.size });
        }
    }
    Ok(blocks)
}

fn segment_blocks<'a>(elf: &Elf<'a>) -> Result<Vec<Block<'a>>> {
    let keep_vaddr = paddrs_are_unset(elf);
    let loads = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
    loads
        .map(|segment| {
            let section = Section {
                name: b"PT_LOAD",
                kind: PT_LOAD,
                addr: segment.vaddr,
                offset: segment.offset,
                size: segment.filesz,
                align: segment.align,
                ..Section::default()
            };
            let lma = if keep_vaddr { segment.vaddr } else { segment.paddr };
            Ok(Block { section, lma, bytes: Some(elf.contents(&section)?), size: segment.filesz })
        })
        .collect()
}

/// Some linkers leave every `p_paddr` zero; with more than one segment these cannot be load addresses.
pub(super) fn paddrs_are_unset(elf: &Elf<'_>) -> bool {
    let loads = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz > 0).count();
    elf.has_no_physical_addresses() && loads > 1
}

fn load_address(section: &Section<'_>, segments: &[Segment]) -> u64 {
    let carrier = if section.flags & SHF_TLS != 0 { PT_TLS } else { PT_LOAD };
    let within = |at: u64, start: u64, size: u64| {
        at.checked_sub(start).and_then(|delta| delta.checked_add(section.size)).is_some_and(|end| end <= size)
    };
    segments
        .iter()
        .find(|segment| {
            segment.kind == carrier
                && within(section.offset, segment.offset, segment.filesz)
                && within(section.addr, segment.vaddr, segment.memsz)
        })
        // By file offset, not by address, as BFD does: the two differ when a linker script overlays sections.
        .map_or(section.addr, |segment| segment.paddr.wrapping_add(section.offset - segment.offset))
}

/// Lays `cover` at `at` over what is there: the newcomer wins.
fn lay<'a>(covers: &mut BTreeMap<u64, Cover<'a>>, at: u64, cover: Cover<'a>) {
    let end = at.saturating_add(cover.len());
    let first = covers
        .range(..at)
        .next_back()
        .filter(|(start, old)| start.saturating_add(old.len()) > at)
        .map_or(at, |(start, _)| *start);
    let hidden: Vec<(u64, Cover<'a>)> = covers.range(first..end).map(|(start, old)| (*start, *old)).collect();
    for (start, old) in hidden {
        covers.remove(&start);
        let old_end = start.saturating_add(old.len());
        if start < at {
            covers.insert(start, old.cut(0, at - start));
        }
        if old_end > end {
            covers.insert(end, old.cut(end - start, old.len()));
        }
    }
    covers.insert(at, cover);
}

/// Load addresses to fill.
#[derive(Debug, Clone, Copy)]
struct Gap {
    start: u64,
    stop: u64,
}

/// `--gap-fill` and `--pad-to`: objcopy lets each loaded section but the last grow to the start of the next, and the
/// last one to the address given. An empty section grows too, and so can become the first of the image.
fn gaps(blocks: &[Block<'_>], options: &FlatOptions) -> Vec<Gap> {
    let mut sorted = blocks.to_vec();
    sorted.sort_by_key(|block| (block.lma, block.size));
    let mut gaps = Vec::new();
    let mut grow = |after: &Block<'_>, stop: u64| {
        let start = after.lma.saturating_add(after.size);
        if start < stop {
            gaps.push(Gap { start, stop });
        }
    };
    if options.gap_fill.is_some() {
        for pair in sorted.windows(2) {
            if let [this, next] = pair {
                grow(this, next.lma);
            }
        }
    }
    if let (Some(pad_to), Some(last)) = (options.pad_to, sorted.last()) {
        grow(last, pad_to);
    }
    gaps
}

fn too_large(size: u64, options: &FlatOptions, low: &Block<'_>, high: &Block<'_>) -> Error {
    let max = options.max_size;
    let section = high.section.name().into_owned();
    if low.lma == high.lma {
        return Error::SectionTooLarge { size, max, section };
    }
    let (low, low_at) = (low.section.name().into_owned(), PhysAddr(low.lma));
    Error::TooLarge { size, max, low, low_at, high: section, high_at: PhysAddr(high.lma) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(covers: &BTreeMap<u64, Cover<'_>>) -> String {
        let mut text = String::new();
        for (at, cover) in covers {
            while text.len() < usize::try_from(*at).unwrap() {
                text.push('.');
            }
            match cover {
                Cover::Bytes { bytes, .. } => text.push_str(std::str::from_utf8(bytes).unwrap()),
                Cover::Fill { byte, len, .. } => (0..*len).for_each(|_| text.push(char::from(*byte))),
            }
        }
        text
    }

    fn bytes(text: &str) -> Cover<'_> {
        Cover::Bytes { name: b"", bytes: text.as_bytes() }
    }

    #[test]
    fn the_later_cover_wins() {
        let mut covers = BTreeMap::new();
        lay(&mut covers, 2, bytes("aaaaaaaa"));
        lay(&mut covers, 0, bytes("bbb"));
        lay(&mut covers, 5, bytes("cc"));
        lay(&mut covers, 9, bytes("ddd"));
        assert_eq!(shown(&covers), "bbbaaccaaddd");
        lay(&mut covers, 1, Cover::Fill { name: b"gap", byte: b'-', len: 10 });
        assert_eq!(shown(&covers), "b----------d");
        lay(&mut covers, 20, bytes("e"));
        assert_eq!(shown(&covers), "b----------d........e");
    }
}
