//! What a layer of each kind says: bytes to regions, facts, parts and the layers inside.

mod behind;
mod bzimage;
mod compressed;
mod disk;
mod efi;
mod elf;
mod fdt;
pub(super) mod initrd;
mod kernel;
mod pe;
mod ramdisk;
mod relocs;
mod rpi;
mod s390;
mod uimage;
mod vendor;
mod within;
mod zimage;

pub(crate) use kernel::size_word;
pub(super) use within::{Within, images as images_within};

pub(super) use behind::behind_children;
pub(crate) use compressed::PAYLOAD;
pub(super) use compressed::{behind_stream, declared_size, expected_size, is_part, stream_facts, stream_regions};

use super::{Fact, Facts, Kind, Limits, rules};
use crate::bytes::{FieldError, len64, slice};
use crate::codec::Inflated;
use crate::elf::Elf;
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::format::fdt::Behind;
use crate::format::flat;
use crate::format::foreign::Foreign;
use crate::format::module::Module;
use crate::layout::{Region, RegionKind};
use crate::payload::search::Budget;
use std::borrow::Cow;
use std::ops::Range;

/// What is known when a layer is described.
#[derive(Debug)]
pub(super) struct Context<'c> {
    /// What it is to its parent.
    pub(super) name: &'c str,
    /// What is around it, and its name.
    pub(super) parent: Option<Kind>,
    pub(super) outer: &'c str,
    pub(super) limits: &'c Limits,
    /// Bytes that may still be decompressed.
    pub(super) left: u64,
    /// What searches may still cost.
    pub(super) budget: &'c Budget,
}

/// A layer, described.
#[derive(Debug)]
pub(super) struct Described {
    /// The kind may turn out finer than it was thought.
    pub(super) kind: Kind,
    pub(super) title: String,
    pub(super) regions: Vec<Region>,
    pub(super) facts: Facts,
    pub(super) findings: Vec<Finding>,
    pub(super) parts: Vec<PartAt>,
    pub(super) children: Vec<Child>,
    pub(super) later: Vec<Later>,
    /// As [`super::Layer`] has it.
    pub(super) crc: Option<u32>,
}

/// What takes a look at every byte: put off until somebody asks for more than the structure, as `extract` of a kernel does
/// not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    /// Facts that it may add, beside others.
    pub(super) adds: &'static [&'static str],
    /// Index of the layer's fact that the new ones come in front of.
    pub(super) facts_at: usize,
    /// Adds facts, parts, findings and children to what is empty so far; regions take the place of those that are there.
    pub(super) look: fn(&[u8], &Context<'_>, &mut Described),
}

impl Described {
    fn new(kind: Kind, title: impl Into<String>) -> Described {
        Described {
            kind,
            title: title.into(),
            regions: Vec::new(),
            facts: Facts::default(),
            findings: Vec::new(),
            parts: Vec::new(),
            children: Vec::new(),
            later: Vec::new(),
            crc: None,
        }
    }

    /// Nothing yet, for [`Later::look`].
    pub(super) fn empty(kind: Kind) -> Described {
        Described::new(kind, "")
    }

    /// Puts off what `look` does; its facts, `adds`, come behind those so far.
    fn later(&mut self, adds: &'static [&'static str], look: fn(&[u8], &Context<'_>, &mut Described)) {
        self.later.push(Later { adds, facts_at: self.facts.len(), look });
    }

    /// What could not be read: all its bytes, and why.
    pub(super) fn damaged(kind: Kind, bytes: &[u8], finding: Finding) -> Described {
        let mut described = Described::new(kind, format!("damaged: begins as {}", name(kind)));
        described.regions = Region::whole(bytes, "data", RegionKind::Data);
        described.findings.push(finding);
        described
    }

    /// Names a range of the layer as a part.
    fn part(&mut self, name: &'static str, at: Range<u64>) {
        self.parts.push(PartAt { name, what: None, at });
    }

    /// Names all of the layer.
    fn whole_part(&mut self, name: &'static str, bytes: &[u8]) {
        self.part(name, 0..len64(bytes));
    }
}

/// What [`super::PARTS`] says of the parts of that name.
pub(super) fn what_is(name: &str) -> Option<&'static str> {
    let known = super::PARTS.iter().find(|(known, _)| known.split('[').next() == Some(name));
    known.map(|(_, what)| *what)
}

/// A part, by a name of [`super::PARTS`] without its index.
#[derive(Debug, Clone)]
pub(super) struct PartAt {
    pub(super) name: &'static str,
    /// What it is, where its name does not say so.
    pub(super) what: Option<Cow<'static, str>>,
    pub(super) at: Range<u64>,
}

/// Where a layer's bytes come from.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A range of the parent, counted from its first byte.
    Range(Range<u64>),
    /// What the parent decompresses to.
    Stream,
}

/// What was decoded while a layer was looked for.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) data: Vec<u8>,
    pub(super) inflated: Inflated,
}

/// A layer that is known to be there.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: Cow<'static, str>,
    pub(super) content: Content,
    /// By header or by scan?
    pub(super) scanned: bool,
    /// Its kind, where the parent knows.
    pub(super) kind: Option<Kind>,
    /// The range counts in the parent's decompressed contents.
    pub(super) inside: bool,
    /// Parts that the parent's header makes of it; their ranges count in the child.
    pub(super) parts: Vec<PartAt>,
    /// Its contents, if it is compressed and they are known.
    pub(super) decoded: Option<Decoded>,
    /// What its contents are, if it is compressed and the parent knows.
    pub(super) contents: Option<Kind>,
}

impl Child {
    pub(super) fn new(name: impl Into<Cow<'static, str>>, content: Content) -> Child {
        let (name, parts) = (name.into(), Vec::new());
        Child { name, content, scanned: false, kind: None, inside: false, parts, decoded: None, contents: None }
    }

    pub(super) fn range(name: impl Into<Cow<'static, str>>, at: Range<u64>) -> Child {
        Child::new(name, Content::Range(at))
    }

    pub(super) fn kind(mut self, kind: Kind) -> Child {
        self.kind = Some(kind);
        self
    }

    /// The payload that a search in the bytes `within` found damaged: what decodes it says where.
    pub(super) fn broken(within: Range<u64>, budget: &Budget) -> Option<Child> {
        let broken = budget.broken()?;
        let at = within.start.saturating_add(broken.at)..within.end;
        Some(Child::range(PAYLOAD, at).kind(Kind::Known(Format::Compressed(broken.codec))))
    }

    /// Found by a magic number alone, and decoded to be sure.
    pub(super) fn scanned(mut self) -> Child {
        self.scanned = true;
        self
    }

    /// All of it is also a part.
    fn part(mut self, name: &'static str) -> Child {
        if let Content::Range(at) = &self.content {
            self.parts.push(PartAt { name, what: None, at: 0..at.end - at.start });
        }
        self
    }
}

/// What `bytes` are, by their header.
pub(super) fn detect(bytes: &[u8], limits: &Limits) -> Option<Kind> {
    let vendor = limits.uimage_magic.is_some_and(|magic| bytes.starts_with(&magic.to_be_bytes()));
    if vendor { Some(Kind::Known(Format::UImage)) } else { Format::detect(bytes).map(Kind::Known) }
}

/// Describes `bytes`.
pub(super) fn describe(kind: Kind, bytes: &[u8], context: &mut Context<'_>) -> Result<Described, FieldError> {
    match kind {
        Kind::Known(Format::BzImage) => bzimage::describe(bytes, context),
        Kind::Known(Format::Elf) => elf::describe(bytes, context),
        Kind::Known(Format::ZImage) => zimage::describe(bytes, context),
        Kind::Known(Format::S390) => Ok(s390::describe(bytes, context)),
        Kind::Known(Format::UImage) => uimage::describe(bytes, context),
        Kind::Known(Format::Fdt) => fdt::describe(bytes),
        Kind::Known(Format::Fit) => fdt::describe_fit(bytes),
        Kind::Known(Format::Compressed(codec)) => Ok(compressed::describe(codec, bytes, context)),
        Kind::Known(Format::Image64(_)) => efi::describe_image(bytes),
        Kind::Known(Format::Zboot) => efi::describe_zboot(bytes),
        Kind::Known(Format::Uki | Format::Pe) => efi::describe_pe(bytes),
        Kind::Known(Format::KernelImg) => rpi::describe(bytes),
        Kind::Known(Format::DtTable) => vendor::dt_table(bytes),
        Kind::Known(Format::Mtk) => vendor::mtk(bytes),
        Kind::Known(Format::Trx) => vendor::trx(bytes),
        Kind::Known(Format::TpLink) => vendor::tplink(bytes),
        Kind::Known(Format::ChromeOs) => vendor::cros(bytes),
        Kind::Known(Format::Symvers) => symvers(bytes),
        Kind::Known(Format::Disk) => Ok(disk::describe(bytes, context)),
        Kind::Known(Format::Cpio) => ramdisk::describe_cpio(bytes),
        Kind::Known(Format::Android) => ramdisk::describe_android(bytes),
        Kind::Kernel => Ok(kernel::describe_flat(bytes)),
        Kind::Relocs => relocs::describe(bytes),
        Kind::Config => Ok(config(bytes)),
        Kind::Data => Ok(data(kind, bytes, context)),
    }
}

/// What came out of a stream: a kernel with a relocation table behind it, or whatever it is. `kind` is what it must be by
/// what is around the stream, `name` that of the stream: what a decompressor unpacks is a kernel at the least sign.
pub(super) fn split(data: &[u8], name: &str, kind: Option<Kind>) -> Vec<Child> {
    let end = len64(data);
    if kind == Some(Kind::Config) {
        return vec![Child::range("config", 0..end).kind(Kind::Config)];
    }
    let format = Format::detect(data);
    if format == Some(Format::Elf) {
        let Ok(elf) = Elf::parse(data) else { return vec![Child::range("vmlinux", 0..end)] };
        if Module::of(&elf).is_some() {
            // What is signed behind it is a part of it.
            return vec![Child::range("module", 0..end)];
        }
        let len = elf.file_end().min(end);
        let name = if name != PAYLOAD && elf::is_for_a_system(&elf) { "contents" } else { "vmlinux" };
        let mut children = vec![Child::range(name, 0..len)];
        if len < end {
            let rest = slice(data, len, end - len).unwrap_or(&[]);
            if relocs::detect(rest) {
                children.push(Child::range("relocs", len..end).kind(Kind::Relocs));
            } else {
                children.extend(behind_children(data, &Behind::read(data, len), 0));
            }
        }
        return children;
    }
    match format {
        Some(_) => vec![Child::range("contents", 0..end)],
        None if kernel::is_config(data) => vec![Child::range("config", 0..end).kind(Kind::Config)],
        None if flat::has_banner(data) || name == PAYLOAD && crate::elf::release_in(data).is_some() => {
            vec![Child::range("kernel", 0..end).kind(Kind::Kernel).scanned()]
        }
        None => vec![Child::range("contents", 0..end)],
    }
}

fn data(kind: Kind, bytes: &[u8], context: &Context<'_>) -> Described {
    let what = Foreign::describe(bytes).map_or_else(|| name(kind).into(), |foreign| foreign.name);
    let mut described = Described::new(kind, what);
    described.regions = Region::whole(bytes, "data", RegionKind::Data);
    // Behind an image, the image says so.
    let len = Foreign::detect(bytes).and_then(|foreign| foreign.len).filter(|_| context.parent.is_none());
    if let Some(len) = len.filter(|len| *len > len64(bytes)) {
        let message = format!("{}: found {} bytes, wanted {len} by its header", described.title, len64(bytes));
        described.findings.push(rules::TRAILER_LENGTH.finding(message).with_severity(Severity::Error));
    }
    described.within(bytes, context);
    if let Some(next) = initrd::behind_zeros(bytes).filter(|_| described.children.is_empty()) {
        described.title = "initial RAM disk, with zeros in front".into();
        described.regions = next.regions;
        described.findings.extend(next.finding);
        described.children.extend(next.segment);
        if context.parent.is_none() {
            described.whole_part("initramfs", bytes);
        }
    }
    described
}

fn symvers(bytes: &[u8]) -> Result<Described, FieldError> {
    let exports = crate::format::symvers::parse(bytes)
        .map_err(|at| FieldError::unknown("line", at, 0_u64, "checksum, name and owner of an export"))?;
    let mut described =
        Described::new(Kind::Known(Format::Symvers), "what a kernel's build exports to modules (Module.symvers)");
    described.regions = Region::whole(bytes, "exports", RegionKind::Data);
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let kernel = exports.iter().filter(|export| export.owner == crate::format::symvers::KERNEL).count();
    let checksums = exports.iter().filter(|export| export.crc != 0).count();
    described.facts.push(Fact::number("exports", number(exports.len())).meaning("symbols for modules"));
    described.facts.push(Fact::number("of_kernel", number(kernel)).meaning("of them the kernel's own"));
    described.facts.push(Fact::number("checksums", number(checksums)).meaning("of them with one (CONFIG_MODVERSIONS)"));
    Ok(described)
}

fn config(bytes: &[u8]) -> Described {
    let mut described = Described::new(Kind::Config, "kernel configuration");
    described.regions = Region::whole(bytes, "config", RegionKind::Data);
    let (set, modules) = kernel::config_options(bytes);
    described.facts.push(Fact::number("options", set).meaning("options that are set"));
    described.facts.push(Fact::number("modules", modules).meaning("of them built as modules"));
    described.whole_part("config", bytes);
    described
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Known(format) => format.name(),
        Kind::Kernel => "a kernel without a header",
        Kind::Relocs => "a relocation table",
        Kind::Config => "a kernel configuration",
        Kind::Data => "data that no header explains",
    }
}
