//! The control device tree, that of the U-Boot which boots a FIT: a file of its own, the end of U-Boot's own file, or an overlay for it.
//!
//! Source: U-Boot's doc/develop/devicetree/control.rst (`OF_SEPARATE`: the tree stands directly behind U-Boot), lib/fdtdec.c
//! (`fdt_find_separate`).

use crate::bytes::{FieldError, len64, slice};
use crate::format::fdt::{Behind, Dtb, Flat, InPlace, Node, NodeRef, Property, Strings, Tree};
use std::collections::HashMap;
use std::ops::Range;

const OVERLAY: &str = "__overlay__";

/// What goes into a control device tree: a node of that name in the group, a node of the root.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) group: &'static str,
    pub(super) name: String,
    /// In the order in which they are put in, each in front of those before it.
    pub(super) properties: Vec<Property<'static>>,
}

/// A control device tree that gets keys.
pub(super) struct Control {
    /// U-Boot.
    before: Vec<u8>,
    tree: InPlace,
    /// How long the file was, and what it was filled up with.
    len: usize,
    fill: u8,
    /// The node that stands for the root.
    base: String,
    /// What was put in, by the path of its node.
    done: HashMap<String, Vec<Property<'static>>>,
}

/// Where the tree is in a file.
///
/// # Errors
/// A [`FieldError`] when none stands at its beginning or end, or several.
fn place(bytes: &[u8]) -> Result<Range<u64>, FieldError> {
    if Dtb::detect(bytes) {
        return Ok(0..len64(bytes));
    }
    let found = Behind::at_end(bytes).map(|behind| behind.trees).unwrap_or_default();
    match &*found {
        [tree] => Ok(tree.clone()),
        _ => {
            let count = len64(&found.iter().map(|_| 0).collect::<Vec<u8>>());
            let want = "one device tree, or U-Boot with one at its end";
            let help = "give the .dtb that U-Boot is built with (dts/dt.dtb in its build folder), or u-boot-dtb.bin";
            Err(FieldError::unknown("control device tree", 0, count, want).with_help(help))
        }
    }
}

/// The control device tree in a file.
///
/// # Errors
/// As [`place`]; a [`FieldError`] for a tree that is damaged.
pub(crate) fn tree_in(bytes: &[u8]) -> Result<Tree<'_>, FieldError> {
    let place = place(bytes)?;
    let tree = slice(bytes, place.start, place.end - place.start).unwrap_or_default();
    Dtb::parse_at(tree, place.start)?.tree()
}

/// The node that stands for the root: of an overlay what it puts there.
///
/// # Errors
/// A [`FieldError`] for an overlay that puts nothing into the root.
pub(super) fn root_of<'t, 'a>(tree: &'t Tree<'a>) -> Result<NodeRef<'t, 'a>, FieldError> {
    let fragments = || tree.root().children().filter(|node| node.child(OVERLAY).is_some());
    let is_for_root = |node: &NodeRef<'_, '_>| node.property("target-path").is_some_and(|path| path.value == b"/\0");
    match (fragments().find(is_for_root).and_then(|node| node.child(OVERLAY)), fragments().next()) {
        (Some(root), _) => Ok(root),
        (None, None) => Ok(tree.root()),
        (None, Some(other)) => {
            let want = "an overlay with a fragment of target-path = \"/\"";
            Err(FieldError::unknown("target-path", other.at().0, 0_u64, want))
        }
    }
}

/// An overlay that puts nothing into the root yet.
pub(super) fn overlay() -> Vec<u8> {
    let fragment = Node::new("fragment@0").with(Property::string("target-path", "/")).with_child(Node::new(OVERLAY));
    let root = Node::new("").with_child(fragment);
    let flat = Flat::new(&root, Strings::default()).and_then(|flat| flat.plan(flat.size()));
    flat.map(|plan| plan.bytes().to_vec()).unwrap_or_default()
}

impl Control {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, FieldError> {
        let place = place(bytes)?;
        let part = |range: Range<u64>| slice(bytes, range.start, range.end - range.start).unwrap_or_default();
        let tree = part(place.clone());
        let base = root_of(&Dtb::parse_at(tree, 0)?.tree()?)?.path();
        Ok(Control {
            before: part(0..place.start).to_vec(),
            tree: InPlace::new(tree)?,
            len: bytes.len(),
            fill: part(place.end..len64(bytes)).first().copied().unwrap_or(0),
            base: if base == "/" { String::new() } else { base },
            done: HashMap::new(),
        })
    }

    /// Makes the tree larger by so many bytes.
    pub(super) fn grow(&mut self, by: usize) {
        self.tree.grow(by);
    }

    /// Puts an entry in; false when there is no room. What is there already is overwritten.
    pub(super) fn put(&mut self, entry: &Entry) -> Result<bool, FieldError> {
        let Entry { group, name, properties } = entry;
        if name.contains('/') {
            let want = "names of keys without a slash, for the name of a node";
            return Err(FieldError::unknown(*group, 0, 0_u64, want));
        }
        let root = if self.base.is_empty() { "/" } else { &self.base };
        let (group_path, path) = (format!("{}/{group}", self.base), format!("{}/{group}/{name}", self.base));
        // Many signatures of one key: once is enough.
        if self.done.get(&path) == Some(properties) {
            return Ok(true);
        }
        if !self.tree.add_node(root, group)? || !self.tree.add_node(&group_path, name)? {
            return Ok(false);
        }
        for property in properties {
            if !self.tree.set(&path, property)? {
                return Ok(false);
            }
        }
        self.done.insert(path, properties.clone());
        Ok(true)
    }

    /// The file.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.before;
        bytes.extend(self.tree.into_bytes());
        let len = bytes.len().max(self.len);
        bytes.resize(len, self.fill);
        bytes
    }
}
