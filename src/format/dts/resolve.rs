//! Nodes with names to a tree with numbers: labels become phandles and paths, files become bytes.

use super::SHORT;
use super::tree::{NodeId, ROOT, SourceNode};
use super::{Error, Part, Place, Reference, Source, SourceValue};
use crate::bytes::{len64, slice};
use crate::finding::Finding;
use crate::format::fdt::{Node, Property, Reservation};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// A source with all that it refers to.
#[derive(Debug, Clone)]
pub struct Resolved<'a> {
    /// The tree.
    pub root: Node<'a>,
    /// `/memreserve/`.
    pub reservations: Vec<Reservation>,
    /// What dtc passes over without a word.
    pub findings: Vec<Finding>,
}

pub(super) struct Resolver<'s, 'f, 'a> {
    pub(super) source: &'s Source,
    files: &'f [&'a [u8]],
    /// The `name` properties that say what the node's name says, by node: which of its properties. They are left out.
    pub(super) redundant_names: HashMap<NodeId, usize>,
    /// Of the nodes that have one.
    pub(super) phandles: HashMap<NodeId, u32>,
    pub(super) used: HashSet<u32>,
    /// No number below is free.
    next: u32,
    /// The nodes that a reference leads to.
    referenced: HashSet<NodeId>,
    findings: Vec<Finding>,
}

impl<'s, 'f, 'a> Resolver<'s, 'f, 'a> {
    pub(super) fn new(source: &'s Source, files: &'f [&'a [u8]]) -> Self {
        Resolver {
            source,
            files,
            redundant_names: HashMap::new(),
            phandles: HashMap::new(),
            used: HashSet::new(),
            next: 1,
            referenced: HashSet::new(),
            findings: Vec::new(),
        }
    }

    /// The tree, once it is checked.
    pub(super) fn resolved(mut self) -> Result<Resolved<'a>, Error> {
        self.number_references()?;
        let Some(mut root) = self.node(ROOT)? else {
            let place = self.source.tree.node(ROOT).place;
            return Err(self.error(place, "the root node is deleted".to_owned(), "delete the nodes in it"));
        };
        if self.source.plugin {
            self.add_fixups(&mut root)?;
        }
        Ok(Resolved { root, reservations: self.source.reservations.clone(), findings: self.findings })
    }

    pub(super) fn error(&self, place: Place, message: String, help: &'static str) -> Error {
        place.error(&self.source.texts, message, help)
    }

    /// Gives each node that is referred to a phandle, in the order of the references, and checks that they lead somewhere.
    fn number_references(&mut self) -> Result<(), Error> {
        let tree = &self.source.tree;
        for id in tree.live() {
            for (index, property) in tree.node(id).live_properties() {
                if self.redundant_names.get(&id) == Some(&index) {
                    continue;
                }
                for (place, part) in &property.value.parts {
                    if let Part::File(index, offset, Some(len)) = part {
                        let short = self.short(*place, *index, *offset, *len);
                        self.findings.extend(short);
                    }
                    let (Part::Phandle(reference) | Part::Path(reference)) = part else { continue };
                    let Some(target) = self.target(*place, part, reference)? else { continue };
                    self.referenced.insert(target);
                    if matches!(part, Part::Phandle(_)) {
                        self.phandle(target);
                    }
                }
            }
        }
        Ok(())
    }

    /// The node as it is written; `None` when it is left out.
    fn node(&mut self, id: NodeId) -> Result<Option<Node<'a>>, Error> {
        let source: &SourceNode = self.source.tree.node(id);
        if self.is_left_out(id) {
            return Ok(None);
        }
        let mut out = Node::new(source.name.clone());
        for (index, property) in source.live_properties() {
            if self.redundant_names.get(&id) != Some(&index) {
                out.properties.push(Property::bytes(property.name.clone(), self.value(&property.value)?));
            }
        }
        // dtc adds a property to each node that was referred to, behind all others.
        let phandle = self.phandles.get(&id).copied();
        let has_own = ["phandle", "linux,phandle"].iter().any(|name| source.is_explicit(name));
        if let Some(phandle) = phandle.filter(|_| !has_own && source.property("phandle").is_none()) {
            out.properties.push(Property::u32("phandle", phandle));
        }
        for child in self.source.tree.live_children(id) {
            out.children.extend(self.node(child)?);
        }
        Ok(Some(out))
    }

    fn value(&mut self, value: &SourceValue) -> Result<Cow<'a, [u8]>, Error> {
        if let [(place, Part::File(index, offset, len))] = value.parts.as_slice() {
            return Ok(Cow::Borrowed(self.file(*place, *index, *offset, *len)?));
        }
        let mut out = Vec::new();
        for (place, part) in &value.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::File(index, offset, len) => out.extend_from_slice(self.file(*place, *index, *offset, *len)?),
                Part::Phandle(reference) => {
                    let target = self.target(*place, part, reference)?;
                    out.extend_from_slice(&target.map_or(u32::MAX, |target| self.phandle(target)).to_be_bytes());
                }
                Part::Path(reference) => {
                    let Some(target) = self.target(*place, part, reference)? else { continue };
                    out.extend_from_slice(self.source.tree.path(target).as_bytes());
                    out.push(0);
                }
            }
        }
        Ok(Cow::Owned(out))
    }

    /// A value as it is before references are filled in: dtc checks it so.
    pub(super) fn early_value(&self, value: &SourceValue) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for (place, part) in &value.parts {
            out.extend_from_slice(match part {
                Part::Bytes(bytes) => bytes,
                Part::File(index, offset, len) => self.file(*place, *index, *offset, *len)?,
                Part::Phandle(_) => &[0xff; 4],
                Part::Path(_) => &[],
            });
        }
        Ok(out)
    }

    /// Deleted, or one that may be left out and that nothing refers to.
    pub(super) fn is_left_out(&self, id: NodeId) -> bool {
        let source = self.source.tree.node(id);
        source.deleted || (source.omit_if_unused && !self.referenced.contains(&id))
    }

    /// `None` where an overlay leaves the phandle of a node open.
    fn target(&self, place: Place, part: &Part, reference: &Reference) -> Result<Option<NodeId>, Error> {
        let found = self.source.tree.find(reference);
        if found.is_none() && !(self.source.plugin && matches!(part, Part::Phandle(_))) {
            let message = format!("there is no node {reference}");
            return Err(self.error(place, message, "label the node, or correct the name"));
        }
        Ok(found)
    }

    /// The number of a node: its own, or the next that no node has.
    fn phandle(&mut self, id: NodeId) -> u32 {
        if let Some(known) = self.phandles.get(&id) {
            return *known;
        }
        while self.used.contains(&self.next) {
            self.next = self.next.saturating_add(1);
        }
        self.used.insert(self.next);
        self.phandles.insert(id, self.next);
        self.next
    }

    /// As dtc reads it: what is there of the bytes that are asked for. An offset is a signed number of 64 bits there, a length
    /// one of 32 bits, or all ones where none is given.
    pub(super) fn file(&self, place: Place, index: usize, offset: u64, len: Option<u64>) -> Result<&'a [u8], Error> {
        let bytes = self.files.get(index).copied().unwrap_or(&[]);
        let have = len64(bytes);
        let len = len.unwrap_or(u64::MAX);
        if i64::try_from(offset).is_err() || (len != u64::MAX && u32::try_from(len).is_err()) {
            let message = self.asked(index, offset, len);
            return Err(self.error(place, message, "change offset and length, or give the whole file"));
        }
        let start = offset.min(have);
        let end = offset.saturating_add(len).clamp(start, have);
        Ok(slice(bytes, start, end - start).unwrap_or(&[]))
    }

    /// What to say where a file has fewer bytes than are asked for.
    fn short(&self, place: Place, index: usize, offset: u64, len: u64) -> Option<Finding> {
        let have = len64(self.files.get(index).copied().unwrap_or(&[]));
        if len == u64::MAX || offset.checked_add(len).is_some_and(|end| end <= have) {
            return None;
        }
        let message = format!("{}: what is there is taken", self.asked(index, offset, len));
        let error = self.error(place, message, "");
        Some(SHORT.finding(error.to_string()))
    }

    fn asked(&self, index: usize, offset: u64, len: u64) -> String {
        let have = len64(self.files.get(index).copied().unwrap_or(&[]));
        let name = self.source.files.get(index).map_or("", |file| file.name.as_str());
        format!("{name} has {have} bytes; /incbin/ asks for {len} bytes from offset {offset}")
    }
}
