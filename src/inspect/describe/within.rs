//! Images in the middle of data that no header explains, or that kimage does not read: a dump of a flash memory, a vendor's
//! firmware, a disk. Their headers decide: a uImage by the CRC-32 of its header, a device tree or a FIT by its structure, others
//! by what each field of theirs may be.

use super::{Child, Context, Described};
use crate::bytes::{len64, run_of, slice, slice_at};
use crate::codec::Codec;
use crate::format::Format;
use crate::format::android::{self, BootImage};
use crate::format::bzimage::{self, BzImage};
use crate::format::cros::{self, KernelPartition};
use crate::format::fdt::{Behind, Dtb, FDT_MAGIC};
use crate::format::fit::Fit;
use crate::format::image64::{self, Image64};
use crate::format::uimage::{self, UImage};
use crate::format::zboot::{self, Zboot};
use crate::format::zimage::{self, ZImage};
use crate::inspect::{Kind, Limits};
use crate::layout::{Region, RegionKind};
use crate::payload::search::{Budget, Tried as Payload, find_stream, kernel_end};
use memchr::memmem;
use std::ops::Range;

/// What a candidate costs by itself, and one of whose header several words are looked at.
const EACH: u64 = 64;
const WORDS: u64 = 4096;

/// An image that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inspect) struct Within {
    pub(in crate::inspect) at: Range<u64>,
    pub(in crate::inspect) format: Format,
}

/// The images, as many as may become layers, in order; none of them inside of another.
pub(in crate::inspect) fn images(bytes: &[u8], limits: &Limits, budget: &Budget) -> Vec<Within> {
    // Each magic number is searched by itself: none of that for a gigabyte of zeros.
    if bytes.first().is_none_or(|first| run_of(bytes, *first) == bytes.len()) {
        return Vec::new();
    }
    let mut magics: Vec<Magic<'_>> = MAGICS.iter().map(|(magic, at, read)| Magic::new(magic, *at, *read)).collect();
    let vendor = limits.uimage_magic.map(u32::to_be_bytes);
    magics.extend(vendor.iter().map(|magic| Magic::new(magic, 0, legacy)));
    let (mut found, mut from) = (Vec::new(), 0);
    // One more than become layers, which tells that there are more.
    while budget.is_left() && found.len() <= limits.layers {
        let next = magics.iter_mut().filter_map(|magic| Some((magic.next(bytes, from)?, magic.number, magic.read)));
        let Some((start, magic, read)) = next.min_by_key(|(start, ..)| *start) else { break };
        let rest = slice(bytes, start, len64(bytes) - start).unwrap_or_default();
        from = start + 1;
        budget.spend(EACH);
        match read(rest, magic) {
            Tried::Is(format, len) => {
                let len = if format == Format::BzImage { bounded(rest, len, budget) } else { len };
                let end = start.saturating_add(len).min(len64(bytes));
                found.push(Within { at: start..end, format });
                from = end.max(from);
            }
            Tried::No(work) => budget.spend(work),
        }
    }
    found
}

/// What came of looking at a candidate.
enum Tried {
    /// An image, and its length.
    Is(Format, u64),
    /// None, and what it cost to see that.
    No(u64),
}

type Read = fn(&[u8], &[u8]) -> Tried;

/// What is searched: a magic number, where in the image it stands, and who reads the image.
const MAGICS: &[(&[u8], u64, Read)] = &[
    (&FDT_MAGIC.to_be_bytes(), 0, tree),
    (&uimage::MAGIC.to_be_bytes(), 0, legacy),
    (&bzimage::HDRS.to_le_bytes(), bzimage::offset_of("header"), |bytes, _| {
        Tried::of(Format::BzImage, BzImage::announced_len(bytes))
    }),
    (&zimage::ZIMAGE_MAGIC.to_le_bytes(), zimage::MAGIC_AT, |bytes, _| {
        Tried::of(Format::ZImage, ZImage::announced_len(bytes))
    }),
    (&zimage::ZIMAGE_MAGIC.to_be_bytes(), zimage::MAGIC_AT, |bytes, _| {
        Tried::of(Format::ZImage, ZImage::announced_len(bytes))
    }),
    (&image64::ARM64_MAGIC.to_le_bytes(), image64::MAGIC_AT, flat),
    (&image64::RISCV_MAGIC2.to_le_bytes(), image64::MAGIC_AT, flat),
    (&image64::PE_MAGIC.to_le_bytes(), image64::MAGIC_AT, flat),
    (&zboot::MAGIC.to_le_bytes(), zboot::MAGIC_AT, |bytes, _| Tried::of(Format::Zboot, Zboot::announced_len(bytes))),
    (android::MAGIC, 0, |bytes, _| Tried::of(Format::Android, BootImage::announced_len(bytes))),
    (cros::MAGIC, 0, |bytes, _| Tried::of(Format::ChromeOs, KernelPartition::parse(bytes).ok().map(|image| image.end))),
];

impl Tried {
    fn of(format: Format, len: Option<u64>) -> Tried {
        len.map_or(Tried::No(0), |len| Tried::Is(format, len))
    }
}

/// A magic number, where it stands next, and who reads what begins with it.
struct Magic<'m> {
    number: &'m [u8],
    /// Bytes of the image in front of it.
    offset: u64,
    read: Read,
    /// The image that it is in begins here; nothing is in front of it.
    at: Option<u64>,
    is_searched: bool,
}

impl Magic<'_> {
    fn new(number: &[u8], offset: u64, read: Read) -> Magic<'_> {
        Magic { number, offset, read, at: None, is_searched: false }
    }

    /// The first image at `from` or behind.
    fn next(&mut self, bytes: &[u8], from: u64) -> Option<u64> {
        if !self.is_searched || self.at.is_some_and(|at| at < from) {
            let start = from.saturating_add(self.offset);
            let rest = slice(bytes, start, len64(bytes).saturating_sub(start)).unwrap_or_default();
            let at = memmem::find(rest, self.number);
            self.at = at.and_then(|at| u64::try_from(at).ok()).map(|at| from + at);
            self.is_searched = true;
        }
        self.at
    }
}

/// An image that is cut off is one, too: its header is right.
fn legacy(bytes: &[u8], magic: &[u8]) -> Tried {
    let magic = magic.first_chunk().map_or(uimage::MAGIC, |magic| u32::from_be_bytes(*magic));
    Tried::of(Format::UImage, UImage::announced_len(bytes, magic))
}

/// The length of a bzImage whose header has the lower bits of it alone, by where its kernel ends; where none is found, `len`.
fn bounded(bytes: &[u8], len: u64, budget: &Budget) -> u64 {
    /// The code in front of the kernel, and the kernels of that age: ten times what they have.
    const BEFORE: u64 = 256 << 10;
    const MOST: u64 = 64 << 20;
    let image = slice(bytes, 0, len).unwrap_or(bytes);
    if !BzImage::is_open_ended(image) {
        return len;
    }
    let judge = |codec, at: &Range<u64>, tried: &Payload| kernel_end(image, codec, at, tried);
    let found = find_stream(image, BEFORE, &[Codec::Gzip, Codec::Bzip2], (MOST, budget), judge);
    let end = found.and_then(|found| {
        budget.spend(len64(&found.data));
        BzImage::end_behind(image, found.at.end)
    });
    end.map_or(len, |end| end.min(len))
}

fn flat(bytes: &[u8], _: &[u8]) -> Tried {
    let image = Image64::detect(bytes);
    match image.as_ref().and_then(|image| Some((image.arch, image.announced_len(bytes)?))) {
        Some((arch, len)) => Tried::Is(Format::Image64(arch), len),
        None => Tried::No(WORDS),
    }
}

fn tree(bytes: &[u8], _: &[u8]) -> Tried {
    let Ok(dtb) = Dtb::parse_at(bytes, 0) else { return Tried::No(0) };
    let len = len64(dtb.bytes());
    if dtb.tree().is_err() {
        return Tried::No(len);
    }
    match Fit::detect(bytes).then(|| Fit::parse(bytes)) {
        Some(Ok(fit)) => Tried::Is(Format::Fit, fit.end()),
        _ => Tried::Is(Format::Fdt, len),
    }
}

/// Does anybody ask for what is in these data? Where a file, or all that a file decompresses to, is nothing that is known.
pub(super) fn is_asked_for(context: &Context<'_>) -> bool {
    match context.parent {
        None => true,
        Some(Kind::Known(Format::Compressed(_))) => context.outer == "file",
        Some(_) => false,
    }
}

impl Described {
    /// Adds the images that are in the middle of data, and what lies between them.
    pub(super) fn within(&mut self, bytes: &[u8], context: &Context<'_>) {
        if !is_asked_for(context) {
            return;
        }
        let found = images(bytes, context.limits, context.budget);
        if found.is_empty() {
            return;
        }
        let count = if found.len() == 1 { "an image".to_owned() } else { format!("{} images", found.len()) };
        self.title = format!("{}, with {count} in it", self.title);
        self.regions.clear();
        let (mut at, mut trees, mut others, mut gaps) = (0, 0_u64, 0_u64, 0_u64);
        let end = len64(bytes);
        for Within { at: range, format } in found {
            self.gap(bytes, at..range.start, &mut gaps);
            at = range.end;
            let is_tree = format == Format::Fdt;
            let counter = if is_tree { &mut trees } else { &mut others };
            let name = if is_tree { format!("dtb[{counter}]") } else { format!("image[{counter}]") };
            *counter += 1;
            self.regions.push(Region::new(name.clone(), range.clone(), RegionKind::Data));
            let child = Child::range(name, range).kind(Kind::Known(format)).scanned();
            self.children.push(if is_tree { child } else { child.part("image") });
        }
        self.gap(bytes, at..end, &mut gaps);
    }

    fn gap(&mut self, bytes: &[u8], at: Range<u64>, count: &mut u64) {
        if at.is_empty() {
            return;
        }
        let gap = slice_at(bytes, &at).unwrap_or_default();
        let is_padding = Behind::padding_len(gap) == len64(gap);
        let (name, kind) = if is_padding { ("padding", RegionKind::Padding) } else { (UNEXPLAINED, RegionKind::Data) };
        self.regions.push(Region::new(format!("{name}[{count}]"), at, kind));
        *count += 1;
    }
}

/// The regions that nothing explains.
const UNEXPLAINED: &str = "data";
