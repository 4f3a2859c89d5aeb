//! A FIT without a source, as `mkimage -f auto` and `-f auto-conf` make it: one main image, device trees, and a configuration of each.
//!
//! Source: U-Boot's tools/fit_image.c (`fit_build_fdt`, `fit_write_images`, `fit_write_configs`).

use super::Assembled;
use super::fit::{FitFile, assembled};
use crate::bytes::until_zero;
use crate::error::Result;
use crate::format::fdt::{Node, Property};
use crate::format::fit::{self, FitLayout, Options};
use crate::format::uimage::{ARCH, COMPRESSION, OS, TYPE};

/// What `mkimage -f auto` is told by its options.
#[derive(Debug, Clone, Default)]
pub struct AutoFitRequest<'a> {
    /// CPU, a number of [`ARCH`].
    pub arch: u8,
    /// Operating system, a number of [`OS`].
    pub os: u8,
    /// Type of the main image, a number of [`TYPE`].
    pub kind: u8,
    /// Compression of the main image, a number of [`COMPRESSION`].
    pub comp: u8,
    /// Load address of the main image.
    pub load: u32,
    /// Entry point of the main image.
    pub entry: u32,
    /// Description of the main image.
    pub name: Vec<u8>,
    /// The main image.
    pub data: &'a [u8],
    /// Device trees: each gets a configuration.
    pub dtbs: Vec<FitFile<'a>>,
    /// RAM disk of every configuration.
    pub ramdisk: Option<&'a [u8]>,
    /// Trusted Firmware's BL31 and where it is loaded and entered (from 2026.01 on).
    pub bl31: Option<(FitFile<'a>, u32)>,
    /// A trusted execution environment and where it is loaded and entered (from 2026.04 on).
    pub tee: Option<(FitFile<'a>, u32)>,
    /// The signatures that stand in it: algorithm, name of the key, and whether they are those of the configurations (`auto-conf`).
    pub signature: Option<(String, String, bool)>,
}

/// The FIT of `request`, byte for byte as that release of mkimage makes it. Nothing is derived, and nothing refused: what U-Boot would not
/// boot is a warning.
///
/// # Errors
/// [`crate::Error::Fit`] where it does not become one.
pub fn fit_auto<'a>(request: &AutoFitRequest<'a>, options: &Options<'_>) -> Result<Assembled<'a>> {
    let root = root(request, options.layout);
    let build = |root| fit::plan_written(root, options);
    assembled(root, build, options, true, Vec::new(), Vec::new())
}

/// Text up to a zero byte, and its own.
fn text<'a>(name: &'static str, value: &[u8]) -> Property<'a> {
    Property::bytes(name, [until_zero(value), &[0]].concat())
}

/// mkimage makes such texts in a buffer of so many bytes, with the zero byte at the end.
const BUFFER: usize = 100;

fn cut(text: &str) -> &[u8] {
    text.as_bytes().get(..BUFFER - 1).unwrap_or(text.as_bytes())
}

/// A file's name without its ending.
fn stem<'f>(file: &FitFile<'f>) -> &'f [u8] {
    cut(file.name.rsplit_once('.').map_or(file.name, |(stem, _)| stem))
}

fn root<'a>(request: &AutoFitRequest<'a>, layout: FitLayout) -> Node<'a> {
    let description =
        format!("{} image with one or more FDT blobs", TYPE.long(request.kind).unwrap_or("Unknown Image"));
    let mut images = Node::new("images");
    images.children.push(main_image(request, layout));
    let arch = || text("arch", ARCH.short(request.arch).unwrap_or("unknown").as_bytes());
    let os = || text("os", OS.short(request.os).unwrap_or("unknown").as_bytes());
    for (index, file) in request.dtbs.iter().enumerate() {
        let node = Node::new(format!("fdt-{}", index + 1))
            .with(text("description", stem(file)))
            .with(Property::bytes("data", file.bytes))
            .with(Property::string("type", "flat_dt"))
            .with(arch())
            .with(Property::string("compression", "none"));
        images.children.push(with_check((request, layout), node, true));
    }
    if let Some(data) = request.ramdisk {
        let node = Node::new("ramdisk-1").with(Property::string("type", "ramdisk")).with(os()).with(arch());
        images.children.push(with_check((request, layout), node.with(Property::bytes("data", data)), true));
    }
    for (kind, part) in [("tfa-bl31", request.bl31), ("tee", request.tee)] {
        let Some((file, address)) = part else { continue };
        let node = Node::new(format!("{kind}-1"))
            .with(Property::string("type", kind))
            .with(os())
            .with(arch())
            .with(text("description", stem(&file)))
            .with(Property::bytes("data", file.bytes))
            .with(Property::u32("load", address))
            .with(Property::u32("entry", address));
        images.children.push(with_check((request, layout), node, true));
    }
    Node::new("")
        .with(text("description", cut(&description)))
        .with(text("creator", cut(&format!("U-Boot mkimage {layout}"))))
        .with(Property::u32("#address-cells", 1))
        .with_child(images)
        .with_child(configurations(request, layout))
}

fn main_image<'a>(request: &AutoFitRequest<'a>, layout: FitLayout) -> Node<'a> {
    let kind = kind(request);
    let name = |text: Option<&'static str>| text.unwrap_or("unknown");
    let node = Node::new(format!("{kind}-1"))
        .with(text("description", &request.name))
        .with(Property::string("type", kind))
        .with(Property::string("arch", name(ARCH.short(request.arch))))
        .with(Property::string("os", name(OS.short(request.os))))
        .with(Property::string("compression", name(COMPRESSION.short(request.comp))))
        .with(Property::u32("load", request.load))
        .with(Property::u32("entry", request.entry))
        .with(Property::bytes("data", request.data));
    with_check((request, layout), node, true)
}

fn kind(request: &AutoFitRequest<'_>) -> &'static str {
    TYPE.short(request.kind).unwrap_or("unknown")
}

/// The node with its hash or signature, if it gets one.
fn with_check<'a>((request, layout): (&AutoFitRequest<'_>, FitLayout), node: Node<'a>, is_image: bool) -> Node<'a> {
    let number = if layout.numbers_checks() { "-1" } else { "" };
    let hash = |algo| Node::new(format!("hash{number}")).with(Property::string("algo", algo));
    let check = match &request.signature {
        None if is_image => hash("crc32"),
        Some((_, _, true)) if is_image => hash("sha1"),
        Some((algo, hint, configurations)) if *configurations != is_image => Node::new(format!("signature{number}"))
            .with(Property::string("algo", algo))
            .with(Property::string("key-name-hint", hint)),
        _ => return node,
    };
    node.with_child(check)
}

fn configurations<'a>(request: &AutoFitRequest<'a>, layout: FitLayout) -> Node<'a> {
    let kind = kind(request);
    let main = format!("{kind}-1");
    let mut all = Node::new("configurations").with(Property::string("default", "conf-1"));
    let parts = [("tfa-bl31-1", request.bl31), ("tee-1", request.tee)];
    let loadables: Vec<&str> =
        std::iter::once(&*main).chain(parts.iter().filter(|(_, part)| part.is_some()).map(|(name, _)| *name)).collect();
    let trees = if request.dtbs.is_empty() { vec![None] } else { request.dtbs.iter().map(Some).collect() };
    for (index, tree) in trees.into_iter().enumerate() {
        let number = index + 1;
        let mut node = Node::new(format!("conf-{number}"));
        if let Some(file) = tree {
            node = node.with(text("description", stem(file)));
        }
        node = node.with(Property::string(kind, &main));
        if tree.is_some() || layout.loads_main_image_twice() {
            node = node.with(Property::strings("loadables", loadables.iter().copied()));
        }
        if request.ramdisk.is_some() {
            node = node.with(Property::string("ramdisk", "ramdisk-1"));
        }
        if tree.is_some() {
            node = node.with(Property::string("fdt", &format!("fdt-{number}")));
        }
        all.children.push(with_check((request, layout), node, false));
    }
    all
}
