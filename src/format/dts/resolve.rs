//! Nodes with names to a tree with numbers: labels become phandles and paths, files become bytes.

use super::{Error, Part, Place, Reference, Source, SourceNode};
use crate::bytes::{len64, slice};
use crate::format::fdt::{Node, Property, Reservation};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A source with all that it refers to.
#[derive(Debug, Clone)]
pub struct Resolved<'a> {
    /// The tree.
    pub root: Node<'a>,
    /// `/memreserve/`.
    pub reservations: Vec<Reservation>,
}

pub(super) fn resolve<'a>(source: &Source, files: &[&'a [u8]]) -> Result<Resolved<'a>, Error> {
    let mut labels = BTreeSet::new();
    let mut resolver = Resolver { source, files, phandles: BTreeMap::new(), used: BTreeSet::new() };
    resolver.explicit(&source.root, &mut Vec::new());
    if let Some(label) = duplicate(&source.root, &mut labels) {
        let place = Place { text: 0, line: 1, column: 1 };
        return Err(resolver.error(place, format!("two nodes have the label {label}"), "rename one of the labels"));
    }
    let mut root = resolver.node(&source.root)?;
    // dtc adds a property to each node that was referred to, behind all others.
    for (path, phandle) in &resolver.phandles {
        let node = path.iter().try_fold(&mut root, |node, index| node.children.get_mut(*index));
        if let Some(node) = node.filter(|node| node.property("phandle").is_none()) {
            node.properties.push(Property::u32("phandle", *phandle));
        }
    }
    Ok(Resolved { root, reservations: source.reservations.clone() })
}

fn duplicate(node: &SourceNode, seen: &mut BTreeSet<String>) -> Option<String> {
    let mut own = BTreeSet::new();
    for label in &node.labels {
        // A node may say its own label again where it is overridden.
        if own.insert(label) && !seen.insert(label.clone()) {
            return Some(label.clone());
        }
    }
    node.children.iter().find_map(|child| duplicate(child, seen))
}

struct Resolver<'s, 'f, 'a> {
    source: &'s Source,
    files: &'f [&'a [u8]],
    /// Of the nodes that have one, by the way to them.
    phandles: BTreeMap<Vec<usize>, u32>,
    used: BTreeSet<u32>,
}

impl<'a> Resolver<'_, '_, 'a> {
    fn error(&self, place: Place, message: String, help: &'static str) -> Error {
        let file = self.source.texts.get(place.text).cloned().unwrap_or_default();
        Error { file, line: place.line, column: place.column, message, help: help.into() }
    }

    /// Phandles that the source gives itself.
    fn explicit(&mut self, node: &SourceNode, path: &mut Vec<usize>) {
        let given = node.properties.iter().find(|property| property.name == "phandle");
        // The number stands in one part; a part without bytes may stand beside it.
        let parts = given.map(|property| property.parts.as_slice()).unwrap_or_default();
        for (_, part) in parts {
            if let Part::Bytes(bytes) = part {
                if let Ok(cell) = <[u8; 4]>::try_from(bytes.as_slice()) {
                    self.phandles.insert(path.clone(), u32::from_be_bytes(cell));
                    self.used.insert(u32::from_be_bytes(cell));
                }
            }
        }
        for (index, child) in node.children.iter().enumerate() {
            path.push(index);
            self.explicit(child, path);
            path.pop();
        }
    }

    fn node(&mut self, node: &SourceNode) -> Result<Node<'a>, Error> {
        let mut out = Node::new(node.name.clone());
        for property in &node.properties {
            let value = self.value(&property.parts)?;
            out.properties.push(Property::bytes(property.name.clone(), value));
        }
        for child in &node.children {
            out.children.push(self.node(child)?);
        }
        Ok(out)
    }

    fn value(&mut self, parts: &[(Place, Part)]) -> Result<Cow<'a, [u8]>, Error> {
        if let [(place, Part::File(index, offset, len))] = parts {
            return Ok(Cow::Borrowed(self.file(*place, *index, *offset, *len)?));
        }
        let mut out = Vec::new();
        for (place, part) in parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::File(index, offset, len) => out.extend_from_slice(self.file(*place, *index, *offset, *len)?),
                Part::Phandle(reference) => {
                    let path = self.path(*place, reference)?;
                    out.extend_from_slice(&self.phandle(path).to_be_bytes());
                }
                Part::Path(reference) => {
                    let path = self.path(*place, reference)?;
                    let mut node = &self.source.root;
                    let mut names = String::new();
                    for index in &path {
                        let Some(child) = node.children.get(*index) else { break };
                        names.push('/');
                        names.push_str(&child.name);
                        node = child;
                    }
                    out.extend_from_slice(if names.is_empty() { b"/" } else { names.as_bytes() });
                    out.push(0);
                }
            }
        }
        Ok(Cow::Owned(out))
    }

    fn path(&self, place: Place, reference: &Reference) -> Result<Vec<usize>, Error> {
        let found = self.source.root.path_to(reference);
        found.ok_or_else(|| {
            self.error(place, format!("there is no node {reference}"), "label the node, or correct the name")
        })
    }

    /// The number of a node: its own, or the next that no node has.
    fn phandle(&mut self, path: Vec<usize>) -> u32 {
        if let Some(known) = self.phandles.get(&path) {
            return *known;
        }
        let next = (1..).find(|number| !self.used.contains(number)).unwrap_or(u32::MAX);
        self.used.insert(next);
        self.phandles.insert(path, next);
        next
    }

    fn file(&self, place: Place, index: usize, offset: u64, len: Option<u64>) -> Result<&'a [u8], Error> {
        let bytes = self.files.get(index).copied().unwrap_or(&[]);
        let have = len64(bytes);
        let wanted = len.or_else(|| have.checked_sub(offset));
        wanted.and_then(|len| slice(bytes, offset, len)).ok_or_else(|| {
            let name = self.source.files.get(index).map_or("", |file| file.name.as_str());
            let asked = len.map_or_else(String::new, |len| format!("{len} bytes "));
            let message = format!("{name} has {have} bytes; /incbin/ asks for {asked}from offset {offset}");
            self.error(place, message, "change offset and length, or give the whole file")
        })
    }
}
