//! The structure block: every token checked, once, and a view that borrows the blob.

use super::{COMPATIBLE, Dtb, token};
use crate::bytes::{Cursor, Endian, FieldError, FileOffset, count64, len64, slice};
use std::ops::Range;

/// Nodes in nodes that are read; Linux has the same limit (drivers/of/fdt.c, `FDT_MAX_DEPTH`), real trees have ten.
pub const MAX_DEPTH: usize = 64;
/// Nodes that are read: fifty times what the largest boards have.
pub(crate) const MAX_NODES: usize = 1 << 18;
/// Properties that are read.
pub(crate) const MAX_PROPERTIES: usize = 1 << 20;

/// A device tree whose every token was checked.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    /// Depth first, the root first; never empty.
    nodes: Vec<Entry<'a>>,
    properties: Vec<PropertyRef<'a>>,
    root_name: &'a str,
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    name: &'a str,
    at: FileOffset,
    parent: Option<usize>,
    /// The node behind this one and all that is in it.
    next: usize,
    properties: Range<usize>,
}

/// A property of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropertyRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a [u8],
    /// File offset of the value.
    pub at: FileOffset,
    /// What stands behind the value up to the next multiple of 4.
    pub(super) padding: &'a [u8],
}

impl<'a> PropertyRef<'a> {
    /// The value as one 32-bit cell.
    pub fn u32(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_be_bytes)
    }

    /// The value as a number of one or two cells.
    pub(crate) fn number(&self) -> Option<u64> {
        match self.value.len() {
            4 => self.u32().map(u64::from),
            8 => self.value.try_into().ok().map(u64::from_be_bytes),
            _ => None,
        }
    }

    /// The value as one string.
    pub(crate) fn string(&self) -> Option<&'a str> {
        match self.strings()?.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The value as strings, each ended by a zero byte.
    pub fn strings(&self) -> Option<Vec<&'a str>> {
        let text = std::str::from_utf8(self.value).ok()?.strip_suffix('\0')?;
        Some(text.split('\0').collect())
    }
}

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'t, 'a> {
    tree: &'t Tree<'a>,
    index: usize,
    entry: &'t Entry<'a>,
}

impl<'t, 'a> NodeRef<'t, 'a> {
    /// Its name, unit address included; the root's is empty.
    pub(crate) fn name(&self) -> &'a str {
        self.entry.name
    }

    /// File offset of its first token.
    pub(crate) fn at(&self) -> FileOffset {
        self.entry.at
    }

    /// Its path: `/` for the root, `/images/kernel-1` for another.
    pub fn path(&self) -> String {
        let mut names = Vec::new();
        let mut node = Some(*self);
        while let Some(here) = node {
            names.push(here.name());
            node = here.parent();
        }
        match names.len() {
            1 => "/".to_owned(),
            // The root's name comes last and is empty.
            _ => names.into_iter().rev().collect::<Vec<_>>().join("/"),
        }
    }

    /// The node that it is in.
    pub(crate) fn parent(&self) -> Option<NodeRef<'t, 'a>> {
        self.tree.node(self.entry.parent?)
    }

    /// Its properties, in the order of the blob.
    pub fn properties(&self) -> &'t [PropertyRef<'a>] {
        self.tree.properties.get(self.entry.properties.clone()).unwrap_or(&[])
    }

    /// The first property of that name.
    pub fn property(&self, name: &str) -> Option<&'t PropertyRef<'a>> {
        self.properties().iter().find(|property| property.name == name)
    }

    /// The nodes in it, in the order of the blob.
    pub fn children(&self) -> impl Iterator<Item = NodeRef<'t, 'a>> + use<'t, 'a> {
        let tree = self.tree;
        let end = self.entry.next;
        let first = Some(self.index + 1);
        std::iter::successors(first, move |at| tree.nodes.get(*at).map(|entry| entry.next))
            .take_while(move |at| *at < end)
            .map_while(move |at| tree.node(at))
    }

    /// The first node in it of that name. A name without unit address also finds a node with one, as libfdt does.
    pub(crate) fn child(&self, name: &str) -> Option<NodeRef<'t, 'a>> {
        let same = |found: &str| {
            found == name || (!name.contains('@') && found.split_once('@').is_some_and(|(base, _)| base == name))
        };
        self.children().find(|child| same(child.name()))
    }
}

impl<'a> Tree<'a> {
    /// The root node.
    pub fn root(&self) -> NodeRef<'_, 'a> {
        // A tree without a root is not made.
        static NONE: Entry<'static> = Entry { name: "", at: FileOffset(0), parent: None, next: 0, properties: 0..0 };
        let entry: &Entry<'a> = self.nodes.first().unwrap_or(&NONE);
        NodeRef { tree: self, index: 0, entry }
    }

    /// The name that the blob gives the root: none, if it is as it should be, or `/`, as some writers had it.
    pub(crate) fn root_name(&self) -> &'a str {
        self.root_name
    }

    /// Every node, the root first, each before the nodes in it.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_, 'a>> {
        self.nodes.iter().enumerate().map(|(index, entry)| NodeRef { tree: self, index, entry })
    }

    /// The node of a path such as `/images/kernel-1`.
    pub fn find(&self, path: &str) -> Option<NodeRef<'_, 'a>> {
        let names = path.strip_prefix('/')?;
        names.split('/').filter(|name| !name.is_empty()).try_fold(self.root(), |node, name| node.child(name))
    }

    fn node(&self, index: usize) -> Option<NodeRef<'_, 'a>> {
        self.nodes.get(index).map(|entry| NodeRef { tree: self, index, entry })
    }

    pub(super) fn read(dtb: &Dtb<'a>) -> Result<Self, FieldError> {
        let mut reader = Reader::new(dtb);
        reader.tokens().map_err(|error| dtb.outer(error))?;
        Ok(Tree { nodes: reader.nodes, properties: reader.properties, root_name: reader.root_name })
    }

    /// Where the structure block ends, by its last token; `None` when there is none.
    pub(super) fn end(dtb: &Dtb<'a>) -> Option<u64> {
        let mut reader = Reader::new(dtb);
        reader.tokens().ok().map(|()| reader.at)
    }
}

/// Walks the tokens. Offsets are those of the blob.
struct Reader<'a> {
    /// The blob up to the end of the structure block.
    structure: Cursor<'a>,
    strings: &'a [u8],
    base: u64,
    /// Before version 16 nodes are called by their paths, and values of 8 bytes and more are aligned to 8 from here on.
    old_from: Option<u64>,
    root_name: &'a str,
    at: u64,
    nodes: Vec<Entry<'a>>,
    properties: Vec<PropertyRef<'a>>,
    /// The nodes that are not closed yet.
    open: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(dtb: &Dtb<'a>) -> Self {
        let (start, len) = dtb.structure;
        let strings = dtb.names();
        let upto = slice(dtb.bytes, 0, start + len).unwrap_or(dtb.bytes);
        Reader {
            structure: Cursor::new(upto, Endian::Big),
            strings,
            base: dtb.base,
            old_from: (dtb.version() < COMPATIBLE).then_some(start),
            root_name: "",
            at: start,
            nodes: Vec::new(),
            properties: Vec::new(),
            open: Vec::new(),
        }
    }

    fn tokens(&mut self) -> Result<(), FieldError> {
        loop {
            let at = self.at;
            let found = self.word("token")?;
            let root_is_closed = self.open.is_empty() && !self.nodes.is_empty();
            let wrong = |want| Err(FieldError::unknown("token", at, found, want));
            match found {
                token::NOP => {}
                token::END if root_is_closed => return Ok(()),
                token::END => return wrong("FDT_END_NODE (2): a node is still open"),
                _ if root_is_closed => return wrong("FDT_END (9): the root node is closed"),
                token::BEGIN_NODE => self.begin(at)?,
                token::END_NODE => match self.open.pop() {
                    Some(index) => {
                        let next = self.nodes.len();
                        if let Some(entry) = self.nodes.get_mut(index) {
                            entry.next = next;
                        }
                    }
                    None => return wrong("FDT_BEGIN_NODE (1): no node is open"),
                },
                token::PROP => self.property(at)?,
                _ => return wrong("FDT_BEGIN_NODE (1), FDT_END_NODE (2), FDT_PROP (3), FDT_NOP (4) or FDT_END (9)"),
            }
        }
    }

    fn word(&mut self, field: &'static str) -> Result<u32, FieldError> {
        let word = self.structure.u32(field, self.at)?;
        self.at += 4;
        Ok(word)
    }

    fn begin(&mut self, at: u64) -> Result<(), FieldError> {
        limit("depth of nodes", at, self.open.len(), MAX_DEPTH)?;
        limit("number of nodes", at, self.nodes.len(), MAX_NODES)?;
        let rest = self.structure.len().saturating_sub(self.at);
        let rest = self.structure.take("node name", self.at, rest)?;
        let whole = self.string("node name", rest, self.at)?;
        let name = match self.old_from {
            Some(_) => whole.rsplit_once('/').map_or(whole, |(_, name)| name),
            None => whole,
        };
        if let Some(slash) = name.bytes().position(|byte| byte == b'/').filter(|_| name != "/") {
            return Err(FieldError::unknown("node name", self.at + count64(slash), b'/', "a name without slash"));
        }
        let parent = self.open.last().copied();
        if name.is_empty() && parent.is_some() {
            return Err(FieldError::unknown("node name", self.at, 0_u64, "a name"));
        }
        self.at = (self.at + len64(whole.as_bytes()) + 1).next_multiple_of(4);
        let first = self.properties.len();
        self.open.push(self.nodes.len());
        // Nobody asks for the root by its name.
        let name = match parent {
            Some(_) => name,
            None => {
                self.root_name = whole;
                ""
            }
        };
        let at = FileOffset(self.base.saturating_add(at));
        self.nodes.push(Entry { name, at, parent, next: 0, properties: first..first });
        Ok(())
    }

    fn property(&mut self, at: u64) -> Result<(), FieldError> {
        // A node's properties come before the nodes in it, so the node that was begun last must be the one that is open.
        let last = self.nodes.len().checked_sub(1);
        if self.open.last().copied() != last || last.is_none() {
            let want = "a property before the nodes that are in the same node";
            return Err(FieldError::unknown("token", at, token::PROP, want));
        }
        limit("number of properties", at, self.properties.len(), MAX_PROPERTIES)?;
        let len = u64::from(self.word("property length")?);
        let name_field = self.at;
        let name_at = u64::from(self.word("property name")?);
        let names = len64(self.strings);
        let Some(rest) = slice(self.strings, name_at, names.saturating_sub(name_at)).filter(|rest| !rest.is_empty())
        else {
            return Err(FieldError::range("property name", name_field, name_at, 0..=names.saturating_sub(1)));
        };
        let name = self.string("property name", rest, name_field)?;
        if let Some(start) = self.old_from.filter(|_| len >= 8) {
            self.at = start + (self.at - start).next_multiple_of(8);
        }
        let value = self.structure.take("property value", self.at, len)?;
        let value_at = FileOffset(self.base.saturating_add(self.at));
        let end = self.at + len;
        self.at = end.next_multiple_of(4);
        let padding = self.structure.take("property value", end, self.at - end).unwrap_or(&[]);
        self.properties.push(PropertyRef { name, value, at: value_at, padding });
        let end = self.properties.len();
        if let Some(entry) = self.nodes.last_mut() {
            entry.properties.end = end;
        }
        Ok(())
    }

    /// The text up to the first zero byte.
    fn string(&self, field: &'static str, bytes: &'a [u8], at: u64) -> Result<&'a str, FieldError> {
        let Some(end) = memchr::memchr(0, bytes) else {
            let have = len64(bytes);
            return Err(FieldError::truncated(field, at, have + 1, have));
        };
        let name = bytes.get(..end).unwrap_or(&[]);
        std::str::from_utf8(name).map_err(|error| {
            let found = name.get(error.valid_up_to()).copied().unwrap_or_default();
            FieldError::unknown(field, at, found, "text")
        })
    }
}

/// One more than `count` must not be more than `max`.
fn limit(field: &'static str, at: u64, count: usize, max: usize) -> Result<u64, FieldError> {
    FieldError::within(field, at, count64(count).saturating_add(1), 0..=count64(max))
}
