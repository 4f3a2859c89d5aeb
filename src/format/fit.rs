//! FIT, U-Boot's flattened image tree: a device tree whose nodes hold or name the images.
//!
//! Source: U-Boot's doc/usage/fit/source_file_format.rst and boot/image-fit.c. So far the reader.

use super::fdt::{Dtb, NodeRef, Tree};
use crate::bytes::{FieldError, Problem, len64, slice};
use std::ops::Range;

/// A hash of an image, or a signature of an image or a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash<'a> {
    /// `hash-1`, `signature-1`.
    pub name: &'a str,
    /// `crc32`, `sha256`, `sha256,rsa2048`.
    pub algo: &'a str,
    /// The value as it stands in the tree; empty when there is none.
    pub value: &'a [u8],
    /// Offset of the value in the file.
    pub at: u64,
    /// Name of the key, for signatures.
    pub key: Option<&'a str>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// The node's name: `kernel-1`.
    pub name: &'a str,
    /// What is known of it by a property of that name; empty where there is none.
    pub description: &'a str,
    /// `kernel`, `flat_dt`, `ramdisk` …
    pub kind: &'a str,
    /// `arm64` …
    pub arch: &'a str,
    /// `linux` …
    pub os: &'a str,
    /// `none`, `gzip` …
    pub compression: &'a str,
    /// Load address.
    pub load: Option<u64>,
    /// Entry point.
    pub entry: Option<u64>,
    /// Where the data stands in the file; `None` when there is none or it leads out of the file.
    pub data: Option<Range<u64>>,
    /// The data is behind the tree instead of in it.
    pub is_external: bool,
    /// Hashes of the data.
    pub hashes: Vec<Hash<'a>>,
    /// Signatures of the data.
    pub signatures: Vec<Hash<'a>>,
}

/// A configuration: which images go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration<'a> {
    /// The node's name: `conf-1`.
    pub name: &'a str,
    /// For people.
    pub description: &'a str,
    /// The names of images by role, in the order of the tree: `kernel`, `fdt`, `ramdisk`, `loadables`, …
    pub images: Vec<(&'a str, Vec<&'a str>)>,
    /// The board it is for.
    pub compatible: &'a str,
    /// Signatures of the configuration.
    pub signatures: Vec<Hash<'a>>,
}

/// A FIT.
#[derive(Debug, Clone)]
pub struct Fit<'a> {
    /// The device tree blob in front.
    pub dtb: Dtb<'a>,
    /// The tree in it.
    pub tree: Tree<'a>,
    /// For people.
    pub description: &'a str,
    /// Creation time in seconds since 1970.
    pub timestamp: Option<u64>,
    /// Name of the default configuration; empty when there is none.
    pub default: &'a str,
    /// The images, in the order of the tree.
    pub images: Vec<Image<'a>>,
    /// The configurations, in the order of the tree.
    pub configurations: Vec<Configuration<'a>>,
}

impl<'a> Fit<'a> {
    /// True when `bytes` begin with a device tree that has a node `/images`.
    pub fn detect(bytes: &[u8]) -> bool {
        let Ok(tree) = Dtb::parse_at(bytes, 0).and_then(|dtb| dtb.tree()) else { return false };
        tree.find("/images").is_some()
    }

    /// Reads a FIT with the data behind it.
    ///
    /// # Errors
    /// What [`Dtb::tree`] says, and a [`FieldError`] when there is no node `/images`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let dtb = Dtb::parse_at(bytes, 0)?;
        let tree = dtb.tree()?;
        let node = tree.find("/images").ok_or_else(|| {
            let problem = Problem::Unknown { found: 0, want: "a node /images" };
            FieldError::new("FIT", tree.root().at().0, problem).with_help("this device tree is no FIT")
        })?;
        // External data counts from the end of the tree, rounded up to 4 (boot/image-fit.c, fit_image_get_data).
        let base = len64(dtb.bytes()).next_multiple_of(4);
        let images = node.children().map(|node| image(bytes, node, base)).collect();
        let chosen = tree.find("/configurations");
        let configurations = chosen.map_or_else(Vec::new, |node| node.children().map(configuration).collect());
        Ok(Fit {
            dtb,
            description: text(tree.root(), "description"),
            timestamp: number(tree.root(), "timestamp"),
            default: chosen.map_or("", |node| text(node, "default")),
            images,
            configurations,
            tree,
        })
    }

    /// What this image is in the default configuration: its `kernel`, `fdt`, `ramdisk` …
    pub fn default_role(&self, image: &str) -> Option<&'a str> {
        let chosen = self.configurations.iter().find(|configuration| configuration.name == self.default);
        let chosen = chosen.or(self.configurations.first())?;
        chosen.images.iter().find(|(_, names)| names.contains(&image)).map(|(role, _)| *role)
    }
}

/// A text property. What is no text is shown as far as it is one.
fn text<'a>(node: NodeRef<'_, 'a>, name: &str) -> &'a str {
    let value = node.property(name).map_or(&[][..], |property| property.value);
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(value) {
        Ok(text) => text,
        Err(error) => value.get(..error.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok()).unwrap_or(""),
    }
}

fn number(node: NodeRef<'_, '_>, name: &str) -> Option<u64> {
    node.property(name)?.number()
}

fn image<'a>(bytes: &[u8], node: NodeRef<'_, 'a>, base: u64) -> Image<'a> {
    let inside = |range: Range<u64>| slice(bytes, range.start, range.end - range.start).map(|_| range);
    let embedded = node.property("data").map(|data| data.at.0..data.at.0 + len64(data.value));
    let position = number(node, "data-position");
    let position = position.or_else(|| number(node, "data-offset").and_then(|offset| base.checked_add(offset)));
    let external = position.zip(number(node, "data-size")).and_then(|(at, len)| Some(at..at.checked_add(len)?));
    Image {
        name: node.name(),
        description: text(node, "description"),
        kind: text(node, "type"),
        arch: text(node, "arch"),
        os: text(node, "os"),
        compression: text(node, "compression"),
        load: number(node, "load"),
        entry: number(node, "entry"),
        is_external: embedded.is_none() && external.is_some(),
        data: embedded.or(external).and_then(inside),
        hashes: hashes(node, "hash"),
        signatures: hashes(node, "signature"),
    }
}

fn configuration<'a>(node: NodeRef<'_, 'a>) -> Configuration<'a> {
    let images = node.properties().iter().filter(|property| ROLES.contains(&property.name));
    Configuration {
        name: node.name(),
        description: text(node, "description"),
        images: images.map(|property| (property.name, property.strings().unwrap_or_default())).collect(),
        compatible: text(node, "compatible"),
        signatures: hashes(node, "signature"),
    }
}

/// The properties of a configuration that name images.
pub const ROLES: [&str; 8] = ["kernel", "fdt", "ramdisk", "loadables", "firmware", "setup", "fpga", "standalone"];

fn hashes<'a>(parent: NodeRef<'_, 'a>, prefix: &str) -> Vec<Hash<'a>> {
    let found = parent.children().filter(|node| node.name().starts_with(prefix));
    found
        .map(|node| {
            let value = node.property("value");
            Hash {
                name: node.name(),
                algo: text(node, "algo"),
                value: value.map_or(&[], |value| value.value),
                at: value.map_or(node.at().0, |value| value.at.0),
                key: node.property("key-name-hint").map(|_| text(node, "key-name-hint")),
            }
        })
        .collect()
}
