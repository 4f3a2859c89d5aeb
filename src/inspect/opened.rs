//! Peeling: one layer after the other, from the outside in.

use super::describe::{self, Child, Content, Context, Decoded, Described, Later, PartAt, initrd};
use super::{Buffer, Fact, FoundBy, Kind, Layer, LayerId, Limits, Part, Space, Value, rules};
use crate::arch::Arch;
use crate::bytes::{help, len64, slice, slice_at, spaced_hex};
use crate::codec::{self, Inflated};
use crate::elf::{Elf, release_in};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::format::cpio::{self, Cpio};
use crate::format::flat;
use crate::format::foreign::Foreign;
use crate::layout::{Region, RegionKind};
use crate::payload::search::Budget;
use std::collections::HashMap;
use std::ops::Range;

/// A file that is being taken apart.
#[derive(Debug)]
pub struct Opened<'a> {
    input: &'a [u8],
    limits: Limits,
    /// Decompressed data; a layer's bytes are a range of the input or of one of these.
    buffers: Vec<Vec<u8>>,
    /// Bytes in `buffers`.
    spent: u64,
    /// Memory that streams may still take which do not say how much they hold.
    undeclared: u64,
    /// What searches may still cost.
    budget: Budget,
    /// Bytes of layers that may still be read, each of them as often as a layer has it: layers may overlap.
    unread: u64,
    layers: Vec<Layer>,
    parts: Vec<Part>,
    /// Parts of each name, without its index.
    part_counts: HashMap<&'static str, usize>,
    /// What is known to be there and not read yet, the next one last.
    pending: Vec<Pending>,
}

#[derive(Debug)]
enum Pending {
    /// A layer inside `parent`.
    Child { parent: LayerId, child: Child },
    /// A closer look at a layer.
    Later { id: LayerId, later: Later },
}

impl Pending {
    /// The layer that it is about.
    fn layer(&self) -> LayerId {
        match self {
            Pending::Child { parent, .. } => *parent,
            Pending::Later { id, .. } => *id,
        }
    }
}

/// What came of looking a fact up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactFound {
    /// No layer has it.
    None,
    /// This one has it, or holds the others that do.
    One(LayerId, Fact),
    /// These do, side by side, and say different things.
    Several(Vec<LayerId>),
}

/// Takes a file apart, down to its last layer.
///
/// # Errors
/// As [`Opened::new`]; what is wrong further in is a finding of its layer.
pub fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Opened<'a>> {
    let mut opened = Opened::new(bytes, limits)?;
    while opened.peel().is_some() {}
    Ok(opened)
}

impl<'a> Opened<'a> {
    /// Reads the outermost layer of a file, and no further.
    ///
    /// A file whose header is known and damaged is opened all the same, as far as it could be read: see
    /// [`Layer::is_damaged`].
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] when no header tells what it is.
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut opened = Opened {
            input: bytes,
            limits: *limits,
            buffers: Vec::new(),
            spent: 0,
            undeclared: limits.undeclared.max(len64(bytes).saturating_mul(codec::PER_BYTE)),
            budget: Budget::new(len64(bytes)),
            unread: len64(bytes).saturating_mul(limits.depth.into()),
            layers: Vec::new(),
            parts: Vec::new(),
            part_counts: HashMap::new(),
            pending: Vec::new(),
        };
        let whole = 0..len64(bytes);
        let child = Child::new("file", Content::Range(whole.clone()));
        let child = match describe::detect(bytes, limits) {
            Some(kind) => child.kind(kind),
            None => match opened.without_header() {
                Some(kind) => child.kind(kind).scanned(),
                None => return Err(Error::UnknownFormat { found: first_bytes(bytes) }),
            },
        };
        opened.add(None, Space::File, Buffer::Input, whole.clone(), whole, child);
        Ok(opened)
    }

    /// What a file is that has no header: a kernel, data with images in the middle, or what has a name and is not read.
    fn without_header(&self) -> Option<Kind> {
        let images = describe::images_within(self.input, &self.limits, &self.budget);
        // The banner may be that of a kernel in an image; a kernel may have device trees built in.
        let banner = flat::banner_at(self.input).filter(|_| flat::is_kernel(self.input));
        let is_inside = |image: &describe::Within| banner.is_some_and(|banner| image.at.contains(&banner));
        match banner {
            Some(_) if !images.iter().any(is_inside) => Some(Kind::Kernel),
            _ => {
                let is_known = || initrd::behind_zeros(self.input).is_some() || Foreign::detect(self.input).is_some();
                (!images.is_empty() || is_known()).then_some(Kind::Data)
            }
        }
    }

    /// Reads the next layer, or takes a closer look at one that is there; `None` when there is nothing left.
    pub(crate) fn peel(&mut self) -> Option<LayerId> {
        while let Some(pending) = self.pending.pop() {
            let added = self.take(pending);
            if added.is_some() {
                return added;
            }
        }
        None
    }

    fn take(&mut self, pending: Pending) -> Option<LayerId> {
        match pending {
            Pending::Later { id, later } => self.refine(id, later),
            Pending::Child { parent, child } => match child.content {
                Content::Range(ref at) => self.add_range(parent, at.clone(), child),
                Content::Stream => self.add_contents(parent, child.decoded, child.kind),
            },
        }
    }

    /// The layers read so far, each before those inside it.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer with that index.
    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.get(id.0)
    }

    /// The layers directly inside `id`, of those read so far.
    pub fn children(&self, id: LayerId) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(move |layer| layer.parent == Some(id))
    }

    /// The names of the layers from the file inwards, `file/payload/vmlinux`.
    pub fn path(&self, id: LayerId) -> String {
        match self.layer(id) {
            None => String::new(),
            Some(Layer { parent: None, name, .. }) => name.clone(),
            Some(Layer { parent: Some(parent), name, .. }) => format!("{}/{name}", self.path(*parent)),
        }
    }

    /// The bytes of a layer.
    pub fn bytes(&self, layer: &Layer) -> &[u8] {
        slice(self.buffer(layer.buffer), layer.at.start, layer.size()).unwrap_or(&[])
    }

    /// The CPU that a header around a layer names, the nearest one; of the layer itself, too.
    pub(crate) fn arch_of(&self, id: LayerId) -> Option<Arch> {
        let mut next = self.layer(id);
        while let Some(layer) = next {
            let arch = match layer.kind {
                Kind::Known(Format::ZImage | Format::KernelImg) => Some(Arch::Arm),
                Kind::Known(Format::BzImage) => Some(Arch::X86),
                Kind::Known(Format::S390) => Some(Arch::S390),
                Kind::Known(Format::Image64(arch)) => Some(arch),
                Kind::Known(Format::Elf) => Elf::parse(self.bytes(layer)).ok().and_then(|elf| elf.arch()),
                _ => None,
            };
            if arch.is_some() {
                return arch;
            }
            next = layer.parent.and_then(|parent| self.layer(parent));
        }
        None
    }

    /// The decompressed contents of a compressed layer, once they were read.
    pub fn contents(&self, id: LayerId) -> Option<&[u8]> {
        let inside = self.layers.iter().find(|layer| layer.space == Space::Inside(id))?;
        Some(self.buffer(inside.buffer))
    }

    /// The parts known so far. All of them, once [`Opened::peel`] has nothing left.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The bytes of a part.
    pub fn part_bytes(&self, part: &Part) -> &[u8] {
        let layer = self.layer(part.layer).map_or(&[][..], |layer| self.bytes(layer));
        slice_at(layer, &part.at).unwrap_or(&[])
    }

    /// Why the bytes of a part are not what was packed: they came out of a stream that is damaged, as this finding says.
    pub fn part_damage(&self, part: &Part) -> Option<&Finding> {
        let mut layer = self.layer(part.layer)?;
        while let Space::Inside(stream) = layer.space {
            layer = self.layer(stream)?;
            let damage = layer.findings.iter().find(|finding| finding.rule == rules::STREAM_DAMAGED.id);
            if damage.is_some() {
                return damage;
            }
        }
        None
    }

    /// Peels until the part of that name is there; `dtb` stands for `dtb[0]`.
    ///
    /// # Example
    ///
    /// ```
    /// use kimage::assemble::{StandaloneRequest, bzimage_standalone};
    /// use kimage::elf::Elf;
    /// use kimage::inspect::{Limits, Opened};
    ///
    /// let kernel = include_bytes!("../../testdata/tiny/kernel");
    /// let mut image = Vec::new();
    /// bzimage_standalone(kernel, &StandaloneRequest::default())?.emit(&mut image)?;
    ///
    /// let mut opened = Opened::new(&image, &Limits::default())?;
    /// let part = opened.part("vmlinux").expect("its kernel");
    /// assert_eq!(Elf::parse(opened.part_bytes(&part))?.physical_entry(), Elf::parse(kernel)?.physical_entry());
    /// # Ok::<(), kimage::Error>(())
    /// ```
    pub fn part(&mut self, name: &str) -> Option<Part> {
        let first = format!("{name}[0]");
        loop {
            let find = |wanted: &str| self.parts.iter().find(|part| part.name == wanted);
            // One alone is the first as well, once all is known.
            let found = find(name).or_else(|| find(&first)).or_else(|| {
                let alone = name.strip_suffix("[0]").filter(|_| self.pending.is_empty())?;
                find(alone)
            });
            if let Some(part) = found {
                return Some(part.clone());
            }
            self.peel()?;
        }
    }

    /// The layer whose contents come next, if they were not seen before.
    pub(super) fn next_stream(&self) -> Option<LayerId> {
        match self.pending.last()? {
            Pending::Child { parent, child: Child { content: Content::Stream, decoded: None, .. } } => Some(*parent),
            _ => None,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How much may still be decompressed.
    pub(super) fn left(&self) -> u64 {
        self.limits.size.saturating_sub(self.spent)
    }

    /// Looks a fact up, from the outside in: the layer that holds the others that have it wins. `name` may have the names of
    /// layers in front, as many as it takes to tell one from another: `setup_sects`, `vmlinux.build_id`,
    /// `kernel.payload.codec`. Peels no further than it must.
    ///
    /// # Example
    ///
    /// ```
    /// use kimage::assemble::{CrcChoice, bzimage};
    /// use kimage::inspect::{FactFound, Limits, Opened};
    ///
    /// let vmlinux = include_bytes!("../../testdata/tiny/vmlinux");
    /// let setup = include_bytes!("../../testdata/tiny/setup.bin");
    /// let mut image = Vec::new();
    /// bzimage(vmlinux, setup, CrcChoice::default())?.emit(&mut image)?;
    ///
    /// let FactFound::One(_, protocol) = Opened::new(&image, &Limits::default())?.fact("protocol") else { panic!() };
    /// assert_eq!(protocol.text(), "2.15");
    /// # Ok::<(), kimage::Error>(())
    /// ```
    pub fn fact(&mut self, name: &str) -> FactFound {
        let mut path: Vec<&str> = name.split('.').collect();
        let name = path.pop().unwrap_or_default();
        loop {
            let hits: Vec<LayerId> =
                self.layers.iter().filter(|layer| self.has_fact(layer, &path, name)).map(|layer| layer.id).collect();
            if hits.is_empty() {
                match self.peel() {
                    Some(_) => continue,
                    None => return FactFound::None,
                }
            }
            // What is inside of another that has it counts no more.
            let outer: Vec<LayerId> = hits
                .iter()
                .copied()
                .filter(|id| !hits.iter().any(|other| other != id && self.is_inside(*id, *other)))
                .collect();
            // A layer further out, or beside these, may have it as well.
            let open = |pending: &Pending| match pending {
                Pending::Later { id, later } => {
                    later.adds.contains(&name) && !outer.contains(id) && self.may_match(*id, &path)
                }
                Pending::Child { .. } => self.layers.len() < self.limits.layers,
            };
            let is_inside = |pending: &Pending| {
                outer.iter().any(|outer| pending.layer() == *outer || self.is_inside(pending.layer(), *outer))
            };
            match self.pending.iter().rposition(|pending| open(pending) && !is_inside(pending)) {
                Some(index) => {
                    let pending = self.pending.remove(index);
                    self.take(pending);
                }
                None => {
                    let facts: Vec<(LayerId, Fact)> =
                        outer.iter().filter_map(|id| Some((*id, self.layer(*id)?.facts.get(name)?.clone()))).collect();
                    return match facts.as_slice() {
                        [] => FactFound::None,
                        [(id, fact), rest @ ..] if rest.iter().all(|(_, other)| other.value == fact.value) => {
                            FactFound::One(*id, fact.clone())
                        }
                        _ => FactFound::Several(outer),
                    };
                }
            }
        }
    }

    fn has_fact(&self, layer: &Layer, path: &[&str], name: &str) -> bool {
        layer.facts.get(name).is_some() && self.may_match(layer.id, path)
    }

    /// Do the names of the layers down to this one end with `path`?
    fn may_match(&self, id: LayerId, path: &[&str]) -> bool {
        let mut here = Some(id);
        path.iter().rev().all(|name| {
            let layer = here.and_then(|id| self.layer(id));
            here = layer.and_then(|layer| layer.parent);
            layer.is_some_and(|layer| layer.name == *name)
        })
    }

    /// Does `outer` hold `inner`, however far in?
    fn is_inside(&self, inner: LayerId, outer: LayerId) -> bool {
        let mut here = self.layer(inner).and_then(|layer| layer.parent);
        while let Some(id) = here.filter(|id| *id != outer) {
            here = self.layer(id).and_then(|layer| layer.parent);
        }
        here.is_some()
    }

    fn buffer(&self, buffer: Buffer) -> &[u8] {
        match buffer {
            Buffer::Input => self.input,
            Buffer::Owned(index) => self.buffers.get(index).map_or(&[], Vec::as_slice),
        }
    }

    /// Adds what stands at `at` of `parent`.
    fn add_range(&mut self, parent: LayerId, at: Range<u64>, child: Child) -> Option<LayerId> {
        let outer = self.layer(parent)?;
        // What is decompressed counts in its own bytes.
        let contents = self.layers.iter().find(|layer| layer.space == Space::Inside(parent));
        let (space, buffer, base, end) = match (child.inside, contents) {
            (true, Some(first)) => (first.space, first.buffer, 0, len64(self.buffer(first.buffer))),
            _ => (outer.space, outer.buffer, outer.at.start, outer.at.end),
        };
        let start = base.saturating_add(at.start).min(end);
        let stop = base.saturating_add(at.end).clamp(start, end);
        self.add(Some(parent), space, buffer, start..stop, at, child)
    }

    /// Decompresses `parent` and adds what comes out.
    fn add_contents(&mut self, parent: LayerId, decoded: Option<Decoded>, kind: Option<Kind>) -> Option<LayerId> {
        let layer = self.layer(parent)?;
        let Kind::Known(Format::Compressed(codec)) = layer.kind else { return None };
        let bytes = self.bytes(layer);
        let declared = describe::declared_size(codec, bytes, &layer.name);
        let (mut data, produced, inflated) = match decoded {
            Some(Decoded { data, inflated }) => (data, inflated.produced, Ok(inflated)),
            None => {
                let worth = codec.undeclared_size(self.undeclared);
                let limit = self.left().min(declared.max(worth));
                let room = describe::expected_size(codec, bytes, limit.min(worth));
                // The kernel takes one stream of an initial RAM disk after the other; commands take all of them for one.
                codec::held(worth, room, |out| match initrd::is_packed_archive(codec, bytes) {
                    true => codec.decompress_one(bytes, limit, out),
                    false => codec.decompress(bytes, limit, out),
                })
            }
        };
        let mut facts = Vec::new();
        let mut findings = Vec::new();
        let mut regions = None;
        let mut behind = None;
        let around = layer.parent.and_then(|id| self.layer(id)).map(|outer| outer.kind);
        let is_initrd = Cpio::detect(&data) || initrd::is_further(&layer.name);
        match &inflated {
            Ok(inflated) => {
                let rest = slice(bytes, inflated.consumed, len64(bytes) - inflated.consumed).unwrap_or(&[]);
                behind = describe::behind_stream(bytes, inflated, &layer.name, around).filter(|_| !is_initrd);
                regions = Some(describe::stream_regions(inflated, rest, &layer.name, behind.as_ref()));
                describe::stream_facts(bytes, inflated, rest, &mut facts);
            }
            Err(error) => {
                findings.push(stream_finding(error, len64(bytes), produced));
                // The rest would be called damaged for want of what was not unpacked.
                if matches!(error, codec::Error::TooBig { .. }) {
                    data = Vec::new();
                }
            }
        }
        let consumed = inflated.as_ref().map_or(len64(bytes), |inflated: &Inflated| inflated.consumed);
        self.spent = self.spent.saturating_add(produced);
        if produced > declared || inflated.is_err() {
            self.undeclared = self.undeclared.saturating_sub(produced);
        }
        // Only now its end is known: the part is what its codec's command reads.
        let place = self.layer(parent).map(|layer| (layer.parent, layer.in_parent.clone()));
        let is_ramdisk = self
            .parts
            .iter()
            .any(|part| part.name.starts_with("initramfs") && Some((Some(part.layer), part.at.clone())) == place);
        let is_part = self.layer(parent).is_some_and(|layer| describe::is_part(&layer.name, around));
        if is_part && !is_ramdisk && !is_initrd {
            let is_said = self.layer(parent).is_some_and(|layer| matches!(&*layer.name, describe::PAYLOAD | "kernel"));
            let what = if is_said || release_in(&data).is_some() { "" } else { STREAM };
            self.add_part(parent, "payload", what, 0..consumed);
        }
        if let Some(layer) = self.layers.get_mut(parent.0) {
            layer.facts.extend(facts);
            layer.findings.extend(findings);
            if let Some(regions) = regions {
                layer.regions = regions;
            }
        }
        if is_initrd && inflated.is_ok() {
            let layer = self.layers.get_mut(parent.0);
            if !Cpio::detect(&data) {
                layer.into_iter().for_each(|layer| layer.findings.push(initrd::no_archive()));
            } else if codec == codec::Codec::Lz4Frame {
                // Of a further segment it is said already.
                let first = layer.into_iter().filter(|layer| !initrd::is_further(&layer.name));
                first.for_each(|layer| layer.findings.push(initrd::newer_lz4().at(0)));
            }
            self.follow(parent, consumed);
        }
        // Below what comes out of the stream, so that it is read after that.
        let behind = behind
            .iter()
            .flat_map(|behind| {
                describe::behind_children(self.layer(parent).map_or(&[][..], |layer| self.bytes(layer)), behind, 0)
            })
            .collect();
        self.add_inside(parent, Vec::new(), behind);
        if data.is_empty() {
            return None;
        }
        data.shrink_to_fit();
        // What is decompressed holds containers in containers too, though not as many.
        self.unread = self.unread.saturating_add(produced.saturating_mul(4));
        let split = describe::split(&data, self.layer(parent).map_or("", |layer| layer.name.as_str()), kind);
        self.buffers.push(data);
        let buffer = Buffer::Owned(self.buffers.len() - 1);
        let mut children = split.into_iter();
        let first = children.next()?;
        for mut child in children.rev() {
            child.inside = true;
            self.pending.push(Pending::Child { parent, child });
        }
        let Content::Range(at) = first.content.clone() else { return None };
        self.add(Some(parent), Space::Inside(parent), buffer, at.clone(), at, first)
    }

    fn add(
        &mut self,
        parent: Option<LayerId>,
        space: Space,
        buffer: Buffer,
        at: Range<u64>,
        in_parent: Range<u64>,
        child: Child,
    ) -> Option<LayerId> {
        let outer = parent.and_then(|id| self.layer(id));
        let depth = outer.map_or(0, |outer| outer.depth + 1);
        let size = at.end - at.start;
        if depth >= self.limits.depth || self.layers.len() >= self.limits.layers {
            self.note_limit(parent, "the limit of nested layers is reached");
            return None;
        }
        if size > self.unread {
            self.note_limit(parent, "layers overlap, and all that the file is worth was read");
            return None;
        }
        self.unread -= size;
        let bytes = slice_at(self.buffer(buffer), &at).unwrap_or(&[]);
        let mut kind = child.kind.or_else(|| describe::detect(bytes, &self.limits)).unwrap_or(Kind::Data);
        let mut scanned = child.scanned;
        // A uImage or a FIT says that this is the kernel, but not which kind.
        if kind == Kind::Data && child.parts.iter().any(|part| part.name == "kernel") && flat::is_kernel(bytes) {
            (kind, scanned) = (Kind::Kernel, true);
        }
        let name = self.layer_name(parent, &child.name);
        let described = describe::describe(kind, bytes, &mut self.context(&name, parent))
            .unwrap_or_else(|error| Described::damaged(kind, bytes, rules::DAMAGED.of(error)));
        let id = LayerId(self.layers.len());
        let Described { kind, title, regions, facts, findings, parts, mut children, later, .. } = described;
        let mut findings = findings;
        findings.extend(self.budget.finding());
        let regions = in_order(regions, at.end - at.start);
        let found_by = if scanned { FoundBy::Scan } else { FoundBy::Header };
        if let Some(stream) = children.iter_mut().find(|child| matches!(child.content, Content::Stream)) {
            stream.decoded = child.decoded;
            stream.kind = child.contents;
        }
        self.pending.extend(later.into_iter().map(|later| Pending::Later { id, later }));
        self.add_inside(id, parts, children);
        self.layers.push(Layer {
            id,
            parent,
            depth,
            name,
            kind,
            title,
            space,
            at,
            in_parent,
            found_by,
            regions,
            facts,
            findings,
            buffer,
            crc: None,
        });
        if kind == Kind::Known(Format::Cpio) {
            let len = self.layer(id).and_then(|layer| cpio::archive_len(self.bytes(layer)));
            len.into_iter().for_each(|len| self.follow(id, len));
        }
        Some(id)
    }

    /// Goes on behind a segment of an initial RAM disk, of `len` bytes: to the next one, a further child of the first.
    fn follow(&mut self, id: LayerId, len: u64) {
        let Some(layer) = self.layer(id) else { return };
        let is_further = initrd::is_further(&layer.name);
        let is_archive = layer.kind == Kind::Known(Format::Cpio);
        let (head, start) = match layer.parent.filter(|_| is_further) {
            Some(head) => (head, layer.in_parent.start),
            None => (id, 0),
        };
        let Some(first) = self.layer(head) else { return };
        let inside =
            first.space != Space::File && matches!(first.space, Space::Inside(around) if first.parent == Some(around));
        let whole = first.size();
        let end = start.saturating_add(len).min(whole);
        let next = initrd::next(self.bytes(first), end, is_archive, inside);
        let place = (first.parent, first.in_parent.clone());
        let at_place = |part: &Part| Some(part.layer) == place.0 && part.at == place.1;
        let is_initrd = !inside
            && (place.0.is_none()
                || self.parts.iter().any(|part| at_place(part) && part.name.starts_with("initramfs")));
        // cpio writes whole blocks of 512 bytes; other padding is none of the archive.
        let blocks = len.next_multiple_of(512);
        let padding = next.regions.first().filter(|region| region.kind == RegionKind::Padding);
        let padded = padding.is_some_and(|padding| padding.at.end >= start.saturating_add(blocks));
        let taken = if padded && is_archive { blocks } else { len };
        if is_initrd {
            if place.0.is_none() && !is_further {
                self.add_part(head, "initramfs", "", 0..whole);
            }
            // One alone is the whole.
            if is_further || next.segment.is_some() {
                self.add_segment(id, 0..taken);
            }
        }
        if let Some(layer) = self.layers.get_mut(id.0) {
            layer.regions.retain(|region| region.at.start < len);
            layer.regions.iter_mut().for_each(|region| region.at.end = region.at.end.min(len));
            if is_further {
                let taken = taken.max(len);
                layer.at.end = layer.at.start.saturating_add(taken).min(layer.at.end);
                layer.in_parent.end = layer.in_parent.start.saturating_add(taken).min(whole);
            }
        }
        if let Some(first) = self.layers.get_mut(head.0) {
            // Of the head the last region is always all that comes behind the segments read so far.
            first.regions.retain(|region| region.at.start < end);
            first.regions.iter_mut().for_each(|region| region.at.end = region.at.end.min(end));
            first.regions.extend(next.regions);
            first.findings.extend(next.finding);
            first.regions = in_order(std::mem::take(&mut first.regions), whole);
        }
        if let Some(child) = next.segment {
            self.pending.push(Pending::Child { parent: head, child });
        } else if let Some(rest) = next.junk {
            let behind = crate::format::fdt::Behind { rest: Some(rest), ..Default::default() };
            let bytes = self.layer(head).map_or(&[][..], |layer| self.bytes(layer));
            let children = describe::behind_children(bytes, &behind, 0);
            self.add_inside(head, Vec::new(), children);
        }
    }

    /// `initramfs[N]`, the first number that is free: the whole is `initramfs` where there are several.
    fn add_segment(&mut self, layer: LayerId, at: Range<u64>) {
        let name = (0_usize..).map(|number| format!("initramfs[{number}]"));
        let mut names = name.filter(|name| !self.parts.iter().any(|part| part.name == *name));
        let what = "a segment of the initial RAM disk, as it stands there: compressed or not";
        if let Some(name) = names.next() {
            *self.part_counts.entry("initramfs").or_default() += 1;
            self.parts.push(Part { name, what: what.into(), layer, at });
        }
    }

    /// Notes the parts of a layer, and the layers inside it.
    fn add_inside(&mut self, id: LayerId, parts: Vec<PartAt>, children: Vec<Child>) {
        for part in parts {
            self.add_part(id, part.name, part.what.as_deref().unwrap_or(""), part.at);
        }
        // What a container says of the layers in it comes before what they say themselves: `initramfs` is that of the
        // UKI, and `initramfs[1]` the one built into its kernel.
        for child in &children {
            if let Content::Range(at) = &child.content {
                for part in &child.parts {
                    let at = at.start.saturating_add(part.at.start)..at.start.saturating_add(part.at.end);
                    self.add_part(id, part.name, part.what.as_deref().unwrap_or(""), at);
                }
            }
        }
        self.pending.extend(children.into_iter().rev().map(|child| Pending::Child { parent: id, child }));
    }

    /// Takes the closer look that was put off when the layer was described.
    fn refine(&mut self, id: LayerId, Later { facts_at, look, .. }: Later) -> Option<LayerId> {
        let layer = self.layer(id)?;
        let mut described = Described::empty(layer.kind);
        look(self.bytes(layer), &self.context(&layer.name, layer.parent), &mut described);
        let Described { regions, facts, findings, parts, children, crc, .. } = described;
        let layer = self.layers.get_mut(id.0)?;
        layer.crc = layer.crc.or(crc);
        layer.facts.insert(facts_at, facts);
        layer.findings.extend(findings);
        layer.findings.extend(self.budget.finding());
        if !regions.is_empty() {
            layer.regions = in_order(regions, layer.size());
        }
        self.add_inside(id, parts, children);
        Some(id)
    }

    fn context<'c>(&'c self, name: &'c str, parent: Option<LayerId>) -> Context<'c> {
        Context {
            name,
            parent: parent.and_then(|id| self.layer(id)).map(|outer| outer.kind),
            outer: parent.and_then(|id| self.layer(id)).map_or("", |outer| outer.name.as_str()),
            limits: &self.limits,
            left: self.left(),
            budget: &self.budget,
        }
    }

    /// `name`, or `name[1]`, `name[2]` … when siblings have it already.
    fn layer_name(&self, parent: Option<LayerId>, name: &str) -> String {
        let Some(parent) = parent else { return name.to_owned() };
        let base = name.split('[').next().unwrap_or(name);
        let is_taken = |name: &str| self.children(parent).any(|layer| layer.name == name);
        if !is_taken(name) {
            return name.to_owned();
        }
        let count = self.children(parent).filter(|layer| layer.name.split('[').next() == Some(base)).count();
        format!("{base}[{count}]")
    }

    /// Device trees and files are numbered through the whole file; of other parts the second is `name[1]`.
    fn add_part(&mut self, layer: LayerId, name: &'static str, what: &str, at: Range<u64>) {
        let counter = self.part_counts.entry(name).or_default();
        let count = *counter;
        *counter += 1;
        let known = super::PARTS.iter().find(|(known, _)| known.split('[').next() == Some(name));
        let always = known.is_some_and(|(known, _)| known.ends_with(']'));
        let name = if always || count > 0 { format!("{name}[{count}]") } else { name.to_owned() };
        let what = match (what, known) {
            ("", Some((_, what))) => std::borrow::Cow::Borrowed(*what),
            (what, _) => std::borrow::Cow::Owned(what.to_owned()),
        };
        self.parts.push(Part { name, what, layer, at });
    }

    fn note_limit(&mut self, parent: Option<LayerId>, why: &'static str) {
        let Some(layer) = parent.and_then(|parent| self.layers.get_mut(parent.0)) else { return };
        if !layer.findings.iter().any(|finding| finding.rule == rules::LIMIT.id) {
            let message = format!("not all that is inside was looked at: {why}");
            layer.findings.push(rules::LIMIT.finding(message).not_checked("layers beyond the limits"));
        }
    }
}

/// What a stream is as a part that nothing tells to be a kernel.
const STREAM: &str = "the compressed stream alone, as its codec's command reads it";

fn stream_finding(error: &codec::Error, len: u64, produced: u64) -> Finding {
    let message = format!("{error}; {produced} bytes came out before");
    match error {
        codec::Error::TooBig { limit, .. } => {
            let message =
                format!("{len} bytes of a stream hold more than the {limit} that may come out: it was not unpacked");
            rules::LIMIT.finding(message).not_checked("layers beyond the limits")
        }
        _ => rules::STREAM_DAMAGED.finding(message),
    }
    .with_help(help(error))
}

fn first_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    let what = Foreign::describe(bytes).map_or(String::new(), |what| format!("; all of it is {}", what.name));
    format!("{}{what}", spaced_hex(bytes.get(..8).unwrap_or(bytes)))
}

/// Absurd headers let regions overlap or lead out of the layer: of two that overlap the first stays, and the second has
/// what is left.
fn in_order(mut regions: Vec<Region>, len: u64) -> Vec<Region> {
    regions.sort_by_key(|region| region.at.start);
    let mut at = 0;
    for region in &mut regions {
        region.at.start = region.at.start.max(at);
        region.at.end = region.at.end.min(len);
        at = at.max(region.at.end);
    }
    regions.retain(|region| region.at.start < region.at.end);
    regions
}

impl Fact {
    /// The value's text, as `--field` prints it.
    pub fn text(&self) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }
}
