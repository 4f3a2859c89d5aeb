//! The picture of a file: every byte of every layer has its place, and so has the memory that the kernel takes.
//!
//! Sources: arch/x86/boot/compressed/head_64.S ("Where should the compressed image go temporarily while decompression occurs")
//! and misc.c, Linux 5.10 to 7.2; Documentation/arch/arm/booting.rst and arch/arm/boot/compressed/head.S;
//! Documentation/arch/arm64/booting.rst.

use super::{Kind, Layer, LayerId, Opened, Space};
use crate::bytes::len64;
use crate::elf::raw::PF_X;
use crate::elf::{Elf, PT_LOAD};
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::bzimage::BzImage;
use crate::format::fit::Fit;
use crate::format::image64::Image64;
use crate::format::pe::Pe;
use crate::format::uimage::{UImage, kind};
use crate::format::zimage::ZImage;
use crate::layout::RegionKind;
use std::collections::HashMap;
use std::ops::Range;

/// What a [`Span`] is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paint {
    /// Fields that a loader reads.
    Header,
    /// Code and data that runs as it stands.
    Code,
    /// Something compressed.
    Payload,
    /// Data of another format.
    Data,
    /// Checksums and signatures.
    Digest,
    /// Bytes without meaning, or that no header explains.
    Padding,
    /// Memory that is set aside and not loaded from the file: BSS, heap, stack.
    Memory,
}

impl Paint {
    /// Each, in the order of a legend.
    pub(crate) const ALL: [Paint; 7] =
        [Paint::Header, Paint::Code, Paint::Payload, Paint::Data, Paint::Digest, Paint::Padding, Paint::Memory];

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Paint::Header => "header",
            Paint::Code => "code",
            Paint::Payload => "compressed",
            Paint::Data => "data",
            Paint::Digest => "checksum",
            Paint::Padding => "padding",
            Paint::Memory => "memory only",
        }
    }
}

impl From<RegionKind> for Paint {
    fn from(kind: RegionKind) -> Paint {
        match kind {
            RegionKind::Header => Paint::Header,
            RegionKind::Code => Paint::Code,
            RegionKind::Payload => Paint::Payload,
            RegionKind::Data => Paint::Data,
            RegionKind::Digest => Paint::Digest,
            RegionKind::Padding => Paint::Padding,
        }
    }
}

/// A named range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub name: String,
    /// Offsets or addresses, end exclusive.
    pub at: Range<u64>,
    /// Its colour.
    pub paint: Paint,
}

impl Span {
    fn new(name: impl Into<String>, at: Range<u64>, paint: Paint) -> Span {
        Span { name: name.into(), at, paint }
    }

    /// Its length.
    pub(crate) fn size(&self) -> u64 {
        self.at.end.saturating_sub(self.at.start)
    }
}

/// The name of bytes that nothing says anything of: mostly what aligns the next part.
const GAP: &str = "gap";

/// A layer, from its first byte to its last: the spans lie one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// The layer.
    pub layer: LayerId,
    /// The bar it is inside of.
    pub parent: Option<LayerId>,
    /// Its path.
    pub path: String,
    /// What it is.
    pub title: String,
    /// Where it stands in its parent, if it is no decompressed contents of it.
    pub in_parent: Option<Range<u64>>,
    /// All its bytes.
    pub spans: Vec<Span>,
}

/// A moment of booting: what is where in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which moment.
    pub name: &'static str,
    /// What is there.
    pub spans: Vec<Span>,
}

/// The memory picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// What the addresses count from.
    pub title: String,
    /// The moments, in the order of booting.
    pub lanes: Vec<Lane>,
    /// What overlaps what, and what is left free.
    pub notes: Vec<String>,
}

impl Memory {
    /// From the first address to the last.
    pub fn range(&self) -> Range<u64> {
        let spans = || self.lanes.iter().flat_map(|lane| &lane.spans);
        let start = spans().map(|span| span.at.start).min().unwrap_or(0);
        start..spans().map(|span| span.at.end).max().unwrap_or(0)
    }
}

/// A file as a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Layer under layer, from the outside in.
    pub bars: Vec<Bar>,
    /// Where the kernel goes; or why that is not known.
    pub memory: Result<Memory, &'static str>,
}

/// Makes the picture of a file that was taken apart ([`super::open`]).
pub fn map(opened: &Opened<'_>) -> Map {
    let bars = opened.layers().iter().filter(|layer| layer.size() > 0).map(|layer| bar(opened, layer)).collect();
    let memory = opened.layers().iter().find_map(|layer| memory(opened, layer));
    Map { bars, memory: memory.ok_or_else(|| no_memory(opened)) }
}

/// Why nothing says where the kernel goes.
fn no_memory(opened: &Opened<'_>) -> &'static str {
    let has = |wanted: fn(Kind) -> bool| opened.layers().iter().any(|layer| wanted(layer.kind));
    if has(|kind| kind == Kind::Known(Format::BzImage)) {
        "init_size, how much memory the kernel takes, is told from boot protocol 2.10 (Linux 2.6.31) on"
    } else if has(|kind| kind == Kind::Known(Format::ZImage)) {
        "the zImage has no table with the sizes of the kernel (Linux 4.15 and later)"
    } else if has(|kind| kind == Kind::Known(Format::Android)) {
        "header versions 3 and 4 have no load addresses: the boot loader chooses them"
    } else if has(|kind| kind == Kind::Kernel) {
        "a kernel without a header does not say where it runs"
    } else {
        "there is no kernel in it, nor a load address"
    }
}

fn bar(opened: &Opened<'_>, layer: &Layer) -> Bar {
    let mut regions: Vec<_> = layer.regions.iter().filter(|region| !region.at.is_empty()).collect();
    regions.sort_by_key(|region| region.at.start);
    let (mut spans, mut at) = (Vec::new(), 0);
    for region in regions {
        // What overlaps another region is shown as far as it sticks out.
        let (start, end) = (region.at.start.max(at), region.at.end.min(layer.size()));
        if start > at {
            spans.push(Span::new(GAP, at..start, Paint::Padding));
        }
        if end > start {
            spans.push(Span::new(region.name.clone(), start..end, region.kind.into()));
            at = end;
        }
    }
    if at < layer.size() {
        spans.push(Span::new(GAP, at..layer.size(), Paint::Padding));
    }
    let is_contents = layer.parent.is_some_and(|parent| layer.space == Space::Inside(parent));
    Bar {
        layer: layer.id,
        parent: layer.parent,
        path: opened.path(layer.id),
        title: layer.title.clone(),
        in_parent: (!is_contents).then(|| layer.in_parent.clone()),
        spans,
    }
}

fn memory(opened: &Opened<'_>, layer: &Layer) -> Option<Memory> {
    let bytes = opened.bytes(layer);
    match layer.kind {
        Kind::Known(Format::BzImage) => x86(opened, layer, bytes),
        Kind::Known(Format::ZImage) => arm(bytes),
        Kind::Known(Format::Image64(_)) => image64(bytes),
        Kind::Known(Format::Elf) => elf(bytes),
        Kind::Known(Format::UImage) => uimage(opened, layer, bytes),
        Kind::Known(Format::Fit) => fit(opened, layer, bytes),
        Kind::Known(Format::Android) => android(bytes),
        _ => None,
    }
}

/// The decompressor copies itself to the end of `init_size` bytes and decompresses to their beginning.
fn x86(opened: &Opened<'_>, layer: &Layer, bytes: &[u8]) -> Option<Memory> {
    let image = BzImage::parse(bytes).ok()?;
    let (setup, header) = (image.setup(), image.setup().header());
    if !setup.has(0x20a) {
        return None;
    }
    let (start, end) = image.system_range();
    let len = end - start;
    let base = header.pref_address.get();
    let init_end = base.checked_add(u64::from(header.init_size.get()))?;
    let (from, packed) = (u64::from(header.payload_offset.get()), u64::from(header.payload_length.get()));
    let place = |name: &'static str, at: u64, rest: Option<u64>| {
        let mut spans = vec![
            Span::new("head", at..at + from, Paint::Code),
            Span::new("payload", at + from..at + from + packed, Paint::Payload),
            Span::new("decompressor", at + from + packed..(at + len).max(at + from + packed), Paint::Code),
        ];
        spans.extend(
            rest.filter(|end| *end > at + len).map(|end| Span::new("BSS, heap, stack", at + len..end, Paint::Memory)),
        );
        Lane { name, spans }
    };
    let loaded = if header.relocatable_kernel != 0 { base } else { u64::from(header.code32_start.get()) };
    let mut lanes = vec![place("loaded", loaded, None)];
    // The decompressor with its BSS: newer PE headers tell; of others only the part in the file is known.
    let pe = Pe::parse(bytes).ok().filter(|pe| Pe::detect(bytes) && pe.file_alignment >= 0x200);
    let whole = pe.and_then(|pe| u64::from(pe.size_of_image).checked_sub(start)).unwrap_or(len);
    let moved = init_end.checked_sub(whole)? & !0xfff;
    lanes.push(place("decompressing", moved, Some(init_end)));
    let payload = opened.children(layer.id).find(|child| child.name == "payload")?;
    let data = opened.contents(payload.id).map_or(0, len64);
    let vmlinux = opened.children(payload.id).find(|child| child.name == "vmlinux");
    let elf = vmlinux.and_then(|vmlinux| Elf::parse(opened.bytes(vmlinux)).ok());
    let mut notes = Vec::new();
    if data > 0 {
        let kernel = vmlinux.map_or(data, Layer::size).min(data);
        let mut spans = vec![Span::new("vmlinux", base..base + kernel, Paint::Data)];
        if kernel < data {
            spans.push(Span::new("relocations", base + kernel..base + data, Paint::Data));
        }
        lanes.push(Lane { name: "decompressed", spans });
        let out = base + data;
        notes.push(overlap(
            "the decompressed kernel",
            base..out,
            "the payload it is read from",
            moved + from..moved + from + packed,
        ));
        if out > moved {
            let left = (moved + from + packed).saturating_sub(out);
            notes.push(format!(
                "that is as it should be: the last byte is written {left} bytes before the payload's end"
            ));
        }
    }
    if let Some(elf) = elf {
        let spans = segments(&elf);
        let last = spans.iter().map(|span| span.at.end).max().unwrap_or(base);
        lanes.push(Lane { name: "running", spans });
        notes.push(format!(
            "the running kernel with its BSS leaves {} bytes of init_size",
            init_end.saturating_sub(last)
        ));
    }
    lanes.retain(|lane| !lane.spans.is_empty());
    let title = match header.relocatable_kernel {
        0 => "physical addresses",
        _ => "physical addresses, when the boot loader takes the preferred one; any other that is aligned will do",
    };
    lanes.insert(0, Lane { name: "init_size", spans: vec![Span::new("init_size", base..init_end, Paint::Memory)] });
    Some(Memory { title: title.to_owned(), lanes, notes })
}

/// ARM: the kernel goes to the start of RAM, its page tables in front of it.
fn arm(bytes: &[u8]) -> Option<Memory> {
    const LOADED: u64 = 32 << 20;
    let image = ZImage::parse_alone(bytes).ok()?;
    let table = image.table()?;
    let text_offset = table.kernel_offset();
    let end = text_offset + u64::from(table.kernel_size);
    let bss = end + u64::from(table.bss_size);
    let zimage = LOADED..LOADED + image.kernel_len();
    let mut loaded = vec![Span::new("zImage", zimage.clone(), Paint::Payload)];
    let len = len64(bytes);
    if len > image.kernel_len() {
        loaded.push(Span::new("device trees", zimage.end..LOADED + len, Paint::Data));
    }
    let kernel = vec![
        Span::new("page tables", text_offset.saturating_sub(0x4000)..text_offset, Paint::Memory),
        Span::new("kernel", text_offset..end, Paint::Code),
        Span::new("BSS", end..bss, Paint::Memory),
    ];
    let note = overlap("the kernel with its BSS", text_offset..bss, "the zImage", zimage);
    Some(Memory {
        title: "counted from the start of RAM, when the zImage is loaded at 32 MiB as booting.rst advises".to_owned(),
        lanes: vec![Lane { name: "loaded", spans: loaded }, Lane { name: "running", spans: kernel }],
        notes: vec![note, format!("loaded below {bss:#x}, the zImage would first have to move itself")],
    })
}

fn image64(bytes: &[u8]) -> Option<Memory> {
    let image = Image64::parse(bytes).ok()?;
    let base = image.text_offset;
    let end = base.checked_add(image.image_size.max(len64(bytes)))?;
    let file = base..base + len64(bytes);
    let mut spans = vec![Span::new("Image", file.clone(), Paint::Code)];
    if file.end < end {
        spans.push(Span::new("BSS", file.end..end, Paint::Memory));
    }
    Some(Memory {
        title: "counted from a multiple of 2 MiB (RISC-V: from the start of RAM)".to_owned(),
        lanes: vec![Lane { name: "running", spans }],
        notes: vec![format!("{} bytes behind the file must be free for the BSS", end - file.end)],
    })
}

fn elf(bytes: &[u8]) -> Option<Memory> {
    let elf = Elf::parse(bytes).ok()?;
    let spans = segments(&elf);
    let lanes = vec![Lane { name: "running", spans }];
    let memory = Memory { title: "physical addresses".to_owned(), lanes, notes: Vec::new() };
    let range = memory.range();
    // Programs of other kinds have gaps that no picture can show.
    (range.end - range.start > 0 && range.end - range.start < 1 << 36).then_some(memory)
}

fn segments(elf: &Elf<'_>) -> Vec<Span> {
    let mut loads: Vec<_> = elf.segments().iter().filter(|one| one.kind == PT_LOAD && one.memsz > 0).collect();
    loads.sort_by_key(|segment| segment.paddr);
    let mut spans = Vec::new();
    for (index, segment) in loads.iter().enumerate() {
        let file = segment.paddr.saturating_add(segment.filesz.min(segment.memsz));
        let end = segment.paddr.saturating_add(segment.memsz);
        let paint = if segment.flags & PF_X != 0 { Paint::Code } else { Paint::Data };
        if file > segment.paddr {
            spans.push(Span::new(format!("segment {index}"), segment.paddr..file, paint));
        }
        if end > file {
            spans.push(Span::new(format!("BSS {index}"), file..end, Paint::Memory));
        }
    }
    spans
}

/// What has a load address goes there, a compressed kernel with the length that it has then.
fn fit(opened: &Opened<'_>, layer: &Layer, bytes: &[u8]) -> Option<Memory> {
    let fit = Fit::parse(bytes).ok()?;
    let mut spans = Vec::new();
    let mut notes = Vec::new();
    let places = opened.children(layer.id).map(|child| ((child.in_parent.start, child.in_parent.end), child.id));
    let places: HashMap<(u64, u64), LayerId> = places.collect();
    for image in fit.images() {
        let (Some(load), Ok(Some(placement))) = (image.load(), image.placement()) else { continue };
        let at = placement.range();
        let is_packed = image.text("compression").is_some_and(|name| name != "none");
        let inside = places.get(&(at.start, at.end)).filter(|_| is_packed).and_then(|id| opened.contents(*id));
        let end = load.checked_add(inside.map_or(at.end.saturating_sub(at.start), len64))?;
        let is_code = image.entry().is_some() || image.text("type") == Some("kernel");
        let paint = if is_code { Paint::Code } else { Paint::Data };
        notes.extend(image.entry().map(|entry| entry_note(image.name(), entry, load)));
        spans.push(Span::new(image.name(), load..end, paint));
    }
    loaded("addresses as U-Boot has them; an image without a load address stays where the FIT is", spans, notes)
}

/// Boot loaders may know better, and many do.
fn android(bytes: &[u8]) -> Option<Memory> {
    let image = BootImage::parse(bytes).ok()?;
    let sections = image.sections.iter().filter_map(|section| {
        let address = section.address?;
        let end = address.checked_add(section.at.end.saturating_sub(section.at.start))?;
        let paint = if section.name == "kernel" { Paint::Code } else { Paint::Data };
        Some(Span::new(section.name, address..end, paint))
    });
    loaded("addresses as the header has them; a boot loader may choose its own", sections.collect(), Vec::new())
}

/// One lane, and what in it overlaps.
fn loaded(title: &str, mut spans: Vec<Span>, mut notes: Vec<String>) -> Option<Memory> {
    spans.retain(|span| span.size() > 0);
    spans.sort_by_key(|span| (span.at.start, span.at.end));
    for two in spans.windows(2) {
        let [one, other] = two else { continue };
        if one.at.end > other.at.start {
            notes.push(overlap(&one.name, one.at.clone(), &other.name, other.at.clone()));
        }
    }
    let is_any = !spans.is_empty();
    let lanes = vec![Lane { name: "loaded", spans }];
    is_any.then(|| Memory { title: title.to_owned(), lanes, notes })
}

fn entry_note(name: &str, entry: u64, load: u64) -> String {
    match entry.checked_sub(load) {
        Some(0) => format!("{name} is entered at its first byte, {entry:#x}"),
        Some(offset) => format!("{name} is entered at {entry:#x}, {offset} bytes into it"),
        None => format!("{name} is entered at {entry:#x}, {} bytes before it begins", load.saturating_sub(entry)),
    }
}

/// Where U-Boot copies the data, and where it would go on from there.
fn uimage(opened: &Opened<'_>, layer: &Layer, bytes: &[u8]) -> Option<Memory> {
    let image = UImage::parse(bytes).ok()?;
    let header = image.header();
    if header.kind != kind::KERNEL {
        return None;
    }
    let data = opened.children(layer.id).next();
    let inside = data.and_then(|data| opened.contents(data.id)).map(len64);
    let start = u64::from(header.load);
    let len = inside.filter(|_| header.comp != 0).unwrap_or_else(|| u64::from(image.size()));
    let spans = vec![Span::new("kernel", start..start + len, Paint::Code)];
    loaded("addresses as U-Boot has them", spans, vec![entry_note("the kernel", header.entry.into(), start)])
}

fn overlap(what: &str, one: Range<u64>, other_name: &str, other: Range<u64>) -> String {
    let shared = one.end.min(other.end).saturating_sub(one.start.max(other.start));
    if shared > 0 {
        return format!("{what} overlaps {other_name} by {shared} bytes");
    }
    let gap = if one.end <= other.start { other.start - one.end } else { one.start - other.end };
    format!("{what} and {other_name} are {gap} bytes apart")
}
