//! FIT (flattened image tree): a device tree blob whose nodes describe kernels, device trees and ramdisks, with their data
//! in it or behind it, and the configurations that say which of them boot together.
//!
//! Source: Flattened Image Tree specification 0.8 (fitspec.osfw.foundation) and U-Boot's boot/image-fit.c and
//! tools/fit_image.c.

mod bootm;
mod build;
mod check;
pub(crate) mod cipher;
pub(crate) mod control;
mod edits;
mod generate;
mod layout;
pub(crate) mod rules;
pub(crate) mod signature;
pub(crate) mod verity;

pub(crate) use bootm::{BootView, compression_fits};
pub use build::{Built, Error, External, Options, Unfilled, plan, plan_again, plan_written};
pub use generate::TreeList;
pub(crate) use generate::{generate, tree_list};
pub use layout::FitLayout;
pub(crate) use rules::RULES;
pub use signature::Signing;

pub use crate::sign::Algorithm;

use crate::bytes::{FieldError, FileOffset, count64, len64, slice_at};
use crate::format::fdt::{Dtb, NodeRef, Tree};
use crate::format::footprint::{Footprint, Stage};
use crate::layout::{Region, RegionKind};
use std::collections::HashMap;
use std::ops::Range;
use verity::VERITY;

/// A FIT.
#[derive(Debug, Clone)]
pub struct Fit<'a> {
    /// The whole file: the blob, and external data behind it.
    bytes: &'a [u8],
    dtb: Dtb<'a>,
    tree: Tree<'a>,
}

/// Where the data of an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// In the tree, property `data`: file offsets.
    Embedded(Range<u64>),
    /// Behind the tree, `data-offset` from its end rounded up to 4: file offsets.
    Offset(Range<u64>),
    /// At a place of the file, `data-position`: file offsets.
    Position(Range<u64>),
}

impl Placement {
    /// The file offsets.
    pub fn range(&self) -> &Range<u64> {
        match self {
            Placement::Embedded(range) | Placement::Offset(range) | Placement::Position(range) => range,
        }
    }
}

/// An image of a [`Fit`]: a node in `/images`.
#[derive(Debug, Clone, Copy)]
pub struct Image<'f, 'a> {
    fit: &'f Fit<'a>,
    node: NodeRef<'f, 'a>,
}

/// A hash of an image's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash<'a> {
    /// The name of its node, `hash-1`.
    pub node: &'a str,
    /// `algo` as it stands there.
    pub algo: Option<&'a str>,
    /// `value`; a tree that mkimage has not seen yet has none.
    pub value: Option<&'a [u8]>,
    /// File offset of the value, or else of the node.
    pub at: FileOffset,
    /// `uboot-ignore`: U-Boot does not look at it.
    pub ignored: bool,
}

/// A configuration of a [`Fit`]: images that boot together.
#[derive(Debug, Clone, Copy)]
pub struct Configuration<'f, 'a> {
    node: NodeRef<'f, 'a>,
}

impl<'a> Fit<'a> {
    /// True when `bytes` are a device tree blob with a node `/images`.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        Dtb::detect(bytes)
            && Dtb::parse_at(bytes, 0).and_then(|dtb| dtb.tree()).is_ok_and(|tree| tree.find("/images").is_some())
    }

    /// Reads the tree. Where an image's data is said to lie outside of the file is a finding: see [`Fit::check`].
    ///
    /// # Errors
    /// A [`FieldError`] when the blob is damaged or has no node `/images`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let dtb = Dtb::parse_at(bytes, 0)?;
        let tree = dtb.tree()?;
        if tree.find("/images").is_none() {
            let at = tree.root().at().0;
            let help = "this is a device tree, not a FIT: give an .itb file as mkimage -f makes it";
            return Err(FieldError::unknown("images", at, 0_u64, "a node /images").with_help(help));
        }
        Ok(Fit { bytes, dtb, tree })
    }

    /// The tree.
    pub(crate) fn tree(&self) -> &Tree<'a> {
        &self.tree
    }

    /// The blob without external data.
    pub(crate) fn dtb(&self) -> &Dtb<'a> {
        &self.dtb
    }

    /// Where U-Boot puts the images that have a load address. `unpacked`: how many bytes the data at this place of the file
    /// unpacks to.
    pub(crate) fn footprint(&self, unpacked: impl Fn(&Range<u64>) -> Option<u64>) -> Footprint {
        let mut footprint = Footprint::default();
        for image in self.images() {
            let (Some(load), Ok(Some(placement))) = (image.load_address(), image.placement()) else { continue };
            let at = placement.range();
            let plain = image.plain_size();
            let len = Some(at).filter(|_| image.is_packed() && plain.is_none()).and_then(&unpacked);
            let len = len.or(plain).unwrap_or(at.end.saturating_sub(at.start));
            let is_code = image.entry().is_some() || image.text("type") == Some("kernel");
            let kind = if is_code { RegionKind::Code } else { RegionKind::Data };
            footprint.add(Stage::Loaded, image.name().to_owned(), load, len, kind);
        }
        footprint
    }

    /// What it is, in words.
    pub fn description(&self) -> Option<&'a str> {
        self.tree.root().property("description")?.string()
    }

    /// When it was made, in seconds since 1970.
    pub fn timestamp(&self) -> Option<u32> {
        self.tree.root().property("timestamp")?.u32()
    }

    /// Its images.
    pub fn images(&self) -> impl Iterator<Item = Image<'_, 'a>> {
        let images = self.tree.find("/images");
        images.into_iter().flat_map(|images| images.children()).map(|node| Image { fit: self, node })
    }

    /// How many bytes its hashes are made of. Images whose data overlaps may make that any number.
    ///
    /// # Errors
    /// The number, when it is more than sixteen times the file: nobody's, and not worth the time.
    pub(crate) fn hashed_bytes(&self) -> Result<u64, u64> {
        const MOST: u64 = 16;
        let of = |image: Image<'_, '_>| {
            let trees = usize::from(image.verity().is_some());
            len64(image.data().unwrap_or(&[])).saturating_mul(count64(image.hashes().count() + trees))
        };
        let bytes = self.images().map(of).fold(0, u64::saturating_add);
        if bytes > len64(self.bytes).saturating_mul(MOST) { Err(bytes) } else { Ok(bytes) }
    }

    /// Where the FIT ends, external data included.
    pub(crate) fn end(&self) -> u64 {
        let external = self.images().filter_map(|image| Some(image.placement().ok()??.range().end));
        external.fold(len64(self.dtb().bytes()), u64::max)
    }

    /// Its configurations.
    pub fn configurations(&self) -> impl Iterator<Item = Configuration<'_, 'a>> {
        let configurations = self.tree.find("/configurations");
        configurations.into_iter().flat_map(|all| all.children()).map(|node| Configuration { node })
    }

    /// The name of the configuration that boots when none is asked for.
    pub fn default(&self) -> Option<&'a str> {
        self.tree.find("/configurations")?.property("default")?.string()
    }

    /// The configuration that boots if nobody names another: the default one, or the first.
    pub(crate) fn booted(&self) -> Option<Configuration<'_, 'a>> {
        let first = || self.configurations().next().map(|first| first.name());
        let wanted = self.default().or_else(first);
        self.configurations().find(|it| Some(it.name()) == wanted)
    }

    /// Where external data is counted from: the end of the blob, rounded up to 4 (boot/image-fit.c,
    /// `fit_image_get_data_and_size`).
    fn external_base(&self) -> u64 {
        len64(self.dtb.bytes()).next_multiple_of(4)
    }

    /// What the file consists of: the blocks of the tree, cut around the images' data, and external data.
    ///
    /// # Errors
    /// As [`Dtb::regions`].
    pub fn regions(&self) -> Result<Vec<Region>, FieldError> {
        let mut data: Vec<(String, Range<u64>)> = self
            .images()
            .filter_map(|image| Some((format!("images/{}", image.name()), image.placement().ok()??.range().clone())))
            .filter(|(_, at)| !at.is_empty())
            .collect();
        data.sort_by_key(|(_, at)| (at.start, at.end));
        Ok(cut(&self.dtb.regions()?, &data, len64(self.bytes)))
    }
}

/// The blocks of a tree with the ranges of data cut out of them, and what lies behind them.
///
/// `data` is sorted; of ranges that overlap, the later one begins where the earlier one ends.
fn cut(blocks: &[Region], data: &[(String, Range<u64>)], end: u64) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut add = |name: &str, at: Range<u64>, kind| {
        if at.start >= at.end {
            return;
        }
        let count = counts.entry(name.to_owned()).or_default();
        let numbered = if *count == 0 { name.to_owned() } else { format!("{name}[{count}]") };
        *count += 1;
        regions.push(Region::new(numbered, at, kind));
    };
    let mut data = data.iter().peekable();
    let mut at = 0;
    for block in blocks {
        while let Some((name, range)) = data.next_if(|(_, range)| range.start < block.at.end) {
            add(&block.name, at.max(block.at.start)..range.start, block.kind);
            add(name, at.max(range.start)..range.end, RegionKind::Data);
            at = at.max(range.end);
        }
        add(&block.name, at.max(block.at.start)..block.at.end, block.kind);
        at = at.max(block.at.end);
    }
    for (name, range) in data {
        add("padding", at..range.start, RegionKind::Padding);
        add(name, at.max(range.start)..range.end, RegionKind::Data);
        at = at.max(range.end);
    }
    add("padding", at..end, RegionKind::Padding);
    regions
}

impl<'f, 'a> Image<'f, 'a> {
    /// Its name: that of its node.
    pub fn name(&self) -> &'a str {
        self.node.name()
    }

    /// Its node.
    pub(crate) fn node(&self) -> NodeRef<'f, 'a> {
        self.node
    }

    /// Does U-Boot decompress it?
    pub(crate) fn is_packed(&self) -> bool {
        self.text("compression").is_some_and(|name| name != "none")
    }

    /// A property that is text: `description`, `type`, `os`, `arch`, `compression`.
    pub fn text(&self, property: &str) -> Option<&'a str> {
        self.node.property(property)?.string()
    }

    /// Load address, of one or two cells.
    pub fn load(&self) -> Option<u64> {
        self.node.property("load")?.number()
    }

    /// Where U-Boot copies or unpacks it to; `None`: it stays where it is.
    pub(crate) fn load_address(&self) -> Option<u64> {
        self.load().filter(|_| self.text("type") != Some("kernel_noload"))
    }

    /// Entry point, of one or two cells.
    pub fn entry(&self) -> Option<u64> {
        self.node.property("entry")?.number()
    }

    /// Where its data is; `None` when it has none.
    ///
    /// # Errors
    /// A [`FieldError`] when external data is not all in the file, or the properties that say where contradict themselves.
    pub fn placement(&self) -> Result<Option<Placement>, FieldError> {
        let node = self.node;
        // U-Boot looks in this order too (boot/image-fit.c, fit_image_get_data_and_size).
        let external = [("data-position", 0), ("data-offset", self.fit.external_base())];
        for (name, base) in external {
            let Some(property) = node.property(name) else { continue };
            let wrong = |field: &'static str, at: FileOffset, found: usize, want| {
                Err(FieldError::unknown(field, at.0, count64(found), want))
            };
            let Some(offset) = property.u32() else {
                return wrong("data-offset", property.at, property.value.len(), "one cell (4 bytes)");
            };
            let Some(size) = node.property("data-size") else {
                return wrong("data-size", node.at(), 0, "one cell: how long the external data is");
            };
            let Some(len) = size.u32() else {
                return wrong("data-size", size.at, size.value.len(), "one cell (4 bytes)");
            };
            let start = base + u64::from(offset);
            let range = start..start + u64::from(len);
            let have = len64(self.fit.bytes);
            if range.end > have && node.property("data").is_some() {
                let help = "U-Boot takes what `data-offset` says: put the data behind the tree again (kimage fit or mkimage \
                            -F, with `request.external`), or take data-offset and data-size out";
                return Err(FieldError::unknown(
                    format!("{}/{name}", node.path()),
                    property.at.0,
                    offset,
                    "none where the data is in the tree (`data`)",
                )
                .with_help(help));
            }
            if range.end > have {
                let help = "the file is cut off, or the external data was left behind: copy the whole .itb again";
                return Err(FieldError::truncated(format!("{}/{name}", node.path()), property.at.0, range.end, have)
                    .with_help(help));
            }
            return Ok(Some(if name == "data-offset" { Placement::Offset(range) } else { Placement::Position(range) }));
        }
        let embedded = node.property("data").map(|data| data.at.0..data.at.0 + len64(data.value));
        Ok(embedded.map(Placement::Embedded))
    }

    /// Its data as it stands in the file; `None` when it is not all there.
    pub fn data(&self) -> Option<&'a [u8]> {
        let at = self.placement().ok()??.range().clone();
        slice_at(self.fit.bytes, &at)
    }

    /// The node of the hash tree behind its data.
    pub(crate) fn verity(&self) -> Option<NodeRef<'f, 'a>> {
        self.node.child(VERITY)
    }

    /// The hashes of its data.
    pub fn hashes(&self) -> impl Iterator<Item = Hash<'a>> + use<'f, 'a> {
        // U-Boot takes each node whose name begins so (boot/image-fit.c, FIT_HASH_NODENAME).
        self.node.children().filter(|child| child.name().starts_with("hash")).map(|node| {
            let value = node.property("value");
            Hash {
                node: node.name(),
                algo: node.property("algo").and_then(|algo| algo.string()),
                value: value.map(|value| value.value),
                at: value.map_or(node.at(), |value| value.at),
                ignored: node.property("uboot-ignore").is_some(),
            }
        })
    }
}

impl<'f, 'a> Configuration<'f, 'a> {
    /// The properties that name images.
    pub(crate) const ROLES: [&'static str; 9] =
        ["kernel", "fdt", "ramdisk", "firmware", "loadables", "setup", "fpga", "script", "standalone"];

    /// Its name: that of its node.
    pub fn name(&self) -> &'a str {
        self.node.name()
    }

    /// Its node.
    pub(crate) fn node(&self) -> NodeRef<'f, 'a> {
        self.node
    }

    /// What it is, in words.
    pub fn description(&self) -> Option<&'a str> {
        self.node.property("description")?.string()
    }

    /// The images in a role (`kernel`, `fdt` with its overlays, `loadables` ...), in order.
    pub fn images(&self, role: &str) -> Vec<&'a str> {
        self.node.property(role).and_then(|names| names.strings()).unwrap_or_default()
    }

    /// The boards that it is for, most specific first.
    pub fn compatible(&self) -> Vec<&'a str> {
        self.images("compatible")
    }
}
