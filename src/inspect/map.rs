//! The picture of a file: every byte of every layer has its place, and so has the memory that the kernel takes, by the
//! [`Footprint`] of its format.

use super::{Kind, Layer, LayerId, Opened, Space};
use crate::bytes::len64;
use crate::elf::Elf;
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::bzimage::{BzImage, Unpacked};
use crate::format::fit::Fit;
use crate::format::footprint::{Footprint, Place, Stage};
use crate::format::image64::Image64;
use crate::format::uimage::{COMP_NONE, UImage};
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

impl From<&Place> for Span {
    fn from(place: &Place) -> Span {
        Span::new(place.name.clone(), place.at.clone(), place.kind.map_or(Paint::Memory, Paint::from))
    }
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
    pub(crate) fn range(&self) -> Range<u64> {
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
    // The first that is known; else why the innermost is not.
    let mut found = Err(match opened.layers().iter().any(|layer| layer.kind == Kind::Kernel) {
        true => "a kernel without a header does not say where it runs",
        false => "there is no kernel in it, nor a load address",
    });
    for memory in opened.layers().iter().filter_map(|layer| memory(opened, layer)) {
        found = memory;
        if found.is_ok() {
            break;
        }
    }
    Map { bars, memory: found }
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

/// What the addresses count from, the footprint, and what is to be said of it.
type Picture = (&'static str, Footprint, Vec<String>);

/// `None`: nothing of this layer goes to an address. An error: it does, and nothing tells where.
fn memory(opened: &Opened<'_>, layer: &Layer) -> Option<Result<Memory, &'static str>> {
    let bytes = opened.bytes(layer);
    let (title, footprint, mut notes) = match layer.kind {
        Kind::Known(Format::BzImage) => x86(opened, layer, &BzImage::parse(bytes).ok()?),
        Kind::Known(Format::ZImage) => arm(&ZImage::parse_alone(bytes).ok()?),
        Kind::Known(Format::Image64(_)) => image64(&Image64::parse(bytes).ok()?, len64(bytes)),
        Kind::Known(Format::Elf) => elf(&Elf::parse(bytes).ok()?)?,
        Kind::Known(Format::UImage) => uimage(opened, layer, &UImage::parse(bytes).ok()?),
        Kind::Known(Format::Fit) => fit(opened, layer, &Fit::parse(bytes).ok()?),
        Kind::Known(Format::Android) => android(&BootImage::parse(bytes).ok()?),
        _ => return None,
    };
    let runs = footprint.range(Stage::Running).or_else(|| footprint.range(Stage::Reserved));
    if let Some(why) = footprint.unknown {
        if runs.is_none() {
            return Some(Err(why));
        }
        notes.push(why.to_owned());
    }
    let lane = |stage: Stage| {
        let spans = footprint.places(stage);
        Lane { name: stage.name(), spans: spans.map(Span::from).collect() }
    };
    let lanes: Vec<Lane> = Stage::ALL.into_iter().map(lane).filter(|lane| !lane.spans.is_empty()).collect();
    (!lanes.is_empty()).then(|| Ok(Memory { title: title.to_owned(), lanes, notes }))
}

fn x86(opened: &Opened<'_>, layer: &Layer, image: &BzImage<'_>) -> Picture {
    let payload = opened.children(layer.id).find(|child| child.name == "payload");
    let len = payload.and_then(|payload| opened.contents(payload.id)).map(len64);
    let vmlinux = payload.and_then(|payload| opened.children(payload.id).find(|child| child.name == "vmlinux"));
    let elf = vmlinux.and_then(|vmlinux| Elf::parse(opened.bytes(vmlinux)).ok());
    let unpacked = len.map(|len| Unpacked { len, kernel_len: vmlinux.map_or(len, Layer::size), elf: elf.as_ref() });
    let footprint = image.footprint(unpacked.as_ref());
    let mut notes = Vec::new();
    let out = footprint.range(Stage::Decompressed);
    if let Some((out, read)) = out.zip(footprint.place(Stage::Decompressing, "payload").cloned()) {
        let is_over = footprint.range(Stage::Decompressing).is_some_and(|moved| out.end > moved.start);
        let left = read.end.checked_sub(out.end);
        notes.push(overlap("the decompressed kernel", out, "the payload it is read from", read));
        match left {
            Some(left) if is_over => notes.push(format!(
                "that is as it should be: the last byte is written {left} bytes before the payload's end"
            )),
            None if is_over => {
                notes.push("init_size is too small: the payload is overwritten before it is read".into())
            }
            _ => {}
        }
    }
    if let Some((last, all)) = footprint.range(Stage::Running).zip(footprint.range(Stage::Reserved)) {
        notes.push(match all.end.checked_sub(last.end) {
            Some(left) => format!("the running kernel with its BSS leaves {left} bytes of init_size"),
            None => format!("the running kernel with its BSS needs {} bytes beyond init_size", last.end - all.end),
        });
    }
    let title = match image.setup().header().relocatable_kernel {
        0 => "physical addresses",
        _ => "physical addresses, when the boot loader takes the preferred one; any other that is aligned will do",
    };
    (title, footprint, notes)
}

fn arm(image: &ZImage<'_>) -> Picture {
    const LOADED: u64 = 32 << 20;
    let footprint = image.footprint(LOADED);
    let mut notes = Vec::new();
    if let Some((runs, loaded)) = footprint.range(Stage::Running).zip(footprint.range(Stage::Loaded)) {
        let moves = format!(
            "loaded where it overlaps {:#x} to {:#x}, the zImage would first move itself",
            runs.start, runs.end
        );
        notes = vec![overlap("the running kernel", runs, "the zImage", loaded), moves];
    }
    let title = "counted from the start of RAM, when the zImage is loaded at 32 MiB as booting.rst advises";
    (title, footprint, notes)
}

fn image64(image: &Image64, len: u64) -> Picture {
    let footprint = image.footprint(image.load_offset(), len);
    let bss = footprint.place(Stage::Running, "BSS").map_or(0, |bss| bss.end - bss.start);
    let notes = if footprint.unknown.is_some() {
        Vec::new()
    } else {
        vec![format!("{bss} bytes behind the file must be free for the BSS")]
    };
    ("counted from a multiple of 2 MiB (RISC-V, LoongArch: from the start of RAM)", footprint, notes)
}

/// Programs of other kinds have gaps that no picture can show.
fn elf(elf: &Elf<'_>) -> Option<Picture> {
    let footprint = Footprint::of_elf(elf);
    let range = footprint.range(Stage::Running)?;
    (range.end - range.start < 1 << 36).then(|| ("physical addresses", footprint, Vec::new()))
}

/// What has a load address goes there, a compressed kernel with the length that it has then.
fn fit(opened: &Opened<'_>, layer: &Layer, fit: &Fit<'_>) -> Picture {
    let places = opened.children(layer.id).map(|child| ((child.in_parent.start, child.in_parent.end), child.id));
    let places: HashMap<(u64, u64), LayerId> = places.collect();
    let mut footprint = fit.footprint(|at| opened.contents(*places.get(&(at.start, at.end))?).map(len64));
    let name = fit.booted().and_then(|booted| booted.images("kernel").first().copied());
    let kernel = name.and_then(|name| fit.images().find(|image| image.name() == name)).and_then(|image| {
        let placement = image.placement().ok()??;
        let id = *places.get(&(placement.range().start, placement.range().end))?;
        start(opened, id, image.is_packed(), image.load_address()?)
    });
    let not_known = kernel.and_then(|kernel| footprint.started(kernel));
    let entries =
        fit.images().filter_map(|image| Some(entry_note(image.name(), image.entry()?, image.load_address()?)));
    let notes = entries.chain(overlaps(&footprint)).chain(not_known.map(str::to_owned)).collect();
    ("addresses as U-Boot has them; an image without a load address stays where the FIT is", footprint, notes)
}

/// Boot loaders may know better, and many do.
fn android(image: &BootImage<'_>) -> Picture {
    let footprint = image.footprint();
    let notes = overlaps(&footprint).collect();
    ("addresses as the header has them; a boot loader may choose its own", footprint, notes)
}

/// Where U-Boot copies the data, and where it would go on from there.
fn uimage(opened: &Opened<'_>, layer: &Layer, image: &UImage<'_>) -> Picture {
    let data = opened.children(layer.id).next().map(|data| data.id);
    let mut footprint = image.footprint(data.and_then(|data| opened.contents(data)).map(len64));
    let at = footprint.range(Stage::Loaded).map(|at| at.start);
    let entry = at.map(|at| entry_note("the kernel", image.header().entry.into(), at));
    let is_packed = image.header().comp != COMP_NONE;
    let kernel = data.zip(at).and_then(|(data, at)| start(opened, data, is_packed, at));
    let not_known = kernel.and_then(|kernel| footprint.started(kernel)).map(str::to_owned);
    ("addresses as U-Boot has them", footprint, entry.into_iter().chain(not_known).collect())
}

/// What the kernel in this layer takes once U-Boot has put it, unpacked if it `is_packed`, to `at` and starts it.
fn start(opened: &Opened<'_>, id: LayerId, is_packed: bool, at: u64) -> Option<Footprint> {
    const FAR: &str = "U-Boot moves the kernel to the start of the RAM, which nothing in the file tells";
    let kernel = if is_packed { opened.contents(id)? } else { opened.bytes(opened.layer(id)?) };
    Some(match Format::detect(kernel)? {
        Format::ZImage => ZImage::parse_alone(kernel).ok()?.footprint(at),
        Format::BzImage => BzImage::parse(kernel).ok()?.footprint(None),
        Format::Image64(_) => match Image64::detect(kernel)? {
            image if image.is_anywhere() => image.footprint(image.started_at(at, 0), len64(kernel)),
            _ => Footprint::unknown(FAR),
        },
        _ => return None,
    })
}

/// What overlaps of what is loaded one behind the other.
fn overlaps(footprint: &Footprint) -> impl Iterator<Item = String> {
    let mut places: Vec<_> = footprint.places(Stage::Loaded).cloned().collect();
    places.sort_by_key(|place| (place.at.start, place.at.end));
    let next = places.clone().into_iter().skip(1);
    let pairs = places.into_iter().zip(next).filter(|(one, other)| one.at.end > other.at.start);
    pairs.map(|(one, other)| overlap(&one.name, one.at, &other.name, other.at))
}

fn entry_note(name: &str, entry: u64, load: u64) -> String {
    match entry.checked_sub(load) {
        Some(0) => format!("{name} is entered at its first byte, {entry:#x}"),
        Some(offset) => format!("{name} is entered at {entry:#x}, {offset} bytes into it"),
        None => format!("{name} is entered at {entry:#x}, {} bytes before it begins", load.saturating_sub(entry)),
    }
}

fn overlap(what: &str, one: Range<u64>, other_name: &str, other: Range<u64>) -> String {
    let shared = one.end.min(other.end).saturating_sub(one.start.max(other.start));
    if shared > 0 {
        return format!("{what} overlaps {other_name} by {shared} bytes");
    }
    let gap = if one.end <= other.start { other.start - one.end } else { one.start - other.end };
    format!("{what} and {other_name} are {gap} bytes apart")
}
