//! The tree that a source builds up: later blocks are merged into it, and what is deleted is marked, not taken out.
//!
//! The marks decide bytes: what was deleted and is set again stands where it stood before, and a deletion in the block that
//! makes a node deletes nothing in it. Source: dtc 1.6.1, livetree.c (`merge_nodes`, `delete_node`, `get_node_by_ref`).

use super::{Part, Place, Reference, SourceValue};
use std::collections::HashMap;

/// A node of a [`SourceTree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

/// The node that the first block makes.
pub(super) const ROOT: NodeId = NodeId(0);

#[derive(Debug, Default)]
pub(super) struct SourceTree {
    nodes: Vec<SourceNode>,
    /// The nodes that ever got a label.
    labelled: HashMap<String, Vec<NodeId>>,
}

#[derive(Debug, Default)]
pub(super) struct SourceNode {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) labels: Vec<Label>,
    pub(super) properties: Vec<SourceProperty>,
    pub(super) children: Vec<NodeId>,
    pub(super) parent: Option<NodeId>,
    pub(super) deleted: bool,
    /// `/omit-if-no-ref/`.
    pub(super) omit_if_unused: bool,
}

#[derive(Debug, Default)]
pub(super) struct SourceProperty {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) labels: Vec<Label>,
    pub(super) value: SourceValue,
    pub(super) deleted: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) deleted: bool,
}

impl SourceNode {
    /// True when the property gives the node's phandle as a number, not as a reference to the node itself.
    pub(super) fn is_explicit(&self, name: &str) -> bool {
        let refers = |(_, part): &(Place, Part)| matches!(part, Part::Phandle(_));
        self.property(name).is_some_and(|property| !property.value.parts.iter().any(refers))
    }

    /// Its name without the unit address.
    pub(super) fn base_name(&self) -> &str {
        self.name.split('@').next().unwrap_or_default()
    }

    /// The properties that are not deleted, each with its number.
    pub(super) fn live_properties(&self) -> impl Iterator<Item = (usize, &SourceProperty)> {
        self.properties.iter().enumerate().filter(|(_, property)| !property.deleted)
    }

    /// The property of that name that is not deleted.
    pub(super) fn property(&self, name: &str) -> Option<&SourceProperty> {
        self.live_properties().map(|(_, property)| property).find(|property| property.name == name)
    }
}

/// Adds a label; one that was deleted comes back.
fn add_label(labels: &mut Vec<Label>, label: Label) {
    match labels.iter_mut().find(|known| known.name == label.name) {
        Some(known) => known.deleted = false,
        None => labels.push(label),
    }
}

impl SourceTree {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a node, which is in no other yet.
    pub(super) fn push(&mut self, mut node: SourceNode) -> NodeId {
        let id = NodeId(self.nodes.len());
        let labels = std::mem::take(&mut node.labels);
        self.nodes.push(node);
        for label in labels {
            self.label(id, label);
        }
        id
    }

    pub(super) fn node(&self, id: NodeId) -> &SourceNode {
        static NONE: SourceNode = SourceNode {
            name: String::new(),
            place: Place { text: 0, line: 0, column: 0 },
            labels: Vec::new(),
            properties: Vec::new(),
            children: Vec::new(),
            parent: None,
            deleted: true,
            omit_if_unused: false,
        };
        self.nodes.get(id.0).unwrap_or(&NONE)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut SourceNode> {
        self.nodes.get_mut(id.0)
    }

    pub(super) fn label(&mut self, id: NodeId, label: Label) {
        let nodes = self.labelled.entry(label.name.clone()).or_default();
        if !nodes.contains(&id) {
            nodes.push(id);
        }
        if let Some(node) = self.node_mut(id) {
            add_label(&mut node.labels, label);
        }
    }

    pub(super) fn add_child(&mut self, parent: NodeId, child: NodeId) {
        if let Some(node) = self.node_mut(child) {
            node.parent = Some(parent);
        }
        if let Some(node) = self.node_mut(parent) {
            node.children.push(child);
        }
    }

    pub(super) fn live_children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.node(id).children.iter().copied().filter(|child| !self.node(*child).deleted)
    }

    /// The root and every node in it that is not deleted, each before the nodes in it.
    pub(super) fn live(&self) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            found.push(id);
            let first = open.len();
            open.extend(self.live_children(id));
            if let Some(children) = open.get_mut(first..) {
                children.reverse();
            }
        }
        found
    }

    /// The nodes that it is in, the nearest first.
    pub(super) fn parents(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(self.node(id).parent, |id| self.node(*id).parent)
    }

    /// `/` for the root, `/a/b` for another.
    pub(super) fn path(&self, id: NodeId) -> String {
        let mut names: Vec<&str> = self.parents(id).map(|id| self.node(id).name.as_str()).collect();
        names.reverse();
        names.push(&self.node(id).name);
        if names.len() == 1 { "/".to_owned() } else { names.join("/") }
    }

    /// Marks a node as deleted with all that is in it.
    pub(super) fn delete(&mut self, id: NodeId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            open.extend(self.live_children(id));
            let Some(node) = self.node_mut(id) else { continue };
            node.deleted = true;
            node.labels.iter_mut().for_each(|label| label.deleted = true);
            node.properties.iter_mut().for_each(SourceProperty::delete);
        }
    }

    /// Takes a later block into a node, and the block's node out of the tree.
    pub(super) fn merge(&mut self, old: NodeId, new: NodeId) {
        let Some(node) = self.node_mut(new) else { return };
        let later = SourceNode {
            labels: std::mem::take(&mut node.labels),
            properties: std::mem::take(&mut node.properties),
            children: std::mem::take(&mut node.children),
            ..SourceNode::default()
        };
        node.deleted = true;
        node.parent = None;
        for label in later.labels {
            self.label(old, label);
        }
        let Some(node) = self.node_mut(old) else { return };
        node.deleted = false;
        let mut known = Names::of(node.properties.iter().map(|property| &property.name), later.properties.len());
        for property in later.properties {
            let found = known.find(&property.name, || node.properties.iter().map(|property| &property.name));
            match found.and_then(|index| node.properties.get_mut(index)) {
                Some(same) if property.deleted => same.delete(),
                Some(same) => {
                    property.labels.into_iter().for_each(|label| add_label(&mut same.labels, label));
                    same.value = property.value;
                    same.place = property.place;
                    same.deleted = false;
                }
                None if property.deleted => {}
                None => {
                    known.add(&property.name, node.properties.len());
                    node.properties.push(property);
                }
            }
        }
        let children = &self.node(old).children;
        let mut known = Names::of(children.iter().map(|child| &self.node(*child).name), later.children.len());
        for child in later.children {
            let (name, deleted) = (self.node(child).name.clone(), self.node(child).deleted);
            let children = &self.node(old).children;
            let found = known.find(&name, || children.iter().map(|child| &self.node(*child).name));
            match found.and_then(|index| children.get(index).copied()) {
                Some(same) if deleted => self.delete(same),
                Some(same) => self.merge(same, child),
                None if deleted => {}
                None => {
                    known.add(&name, children.len());
                    self.add_child(old, child);
                }
            }
        }
    }

    /// The node that a reference leads to: by its label, by its path, or by the label of a node and the path from there.
    pub(super) fn find(&self, reference: &Reference) -> Option<NodeId> {
        let Reference(text) = reference;
        if text == "/" {
            return Some(ROOT);
        }
        if text.starts_with('/') {
            return self.by_path(ROOT, text);
        }
        match text.split_once('/') {
            Some((label, path)) => self.by_path(self.by_label(label)?, path),
            None => self.by_label(text),
        }
    }

    fn by_path(&self, from: NodeId, path: &str) -> Option<NodeId> {
        if path.is_empty() {
            return (!self.node(from).deleted).then_some(from);
        }
        let path = path.trim_start_matches('/');
        let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let child = self.live_children(from).find(|child| self.node(*child).name == name)?;
        rest.map_or(Some(child), |rest| self.by_path(child, rest))
    }

    fn by_label(&self, label: &str) -> Option<NodeId> {
        let has = |id: NodeId| self.node(id).labels.iter().any(|known| known.name == label && !known.deleted);
        let is_live = |id: NodeId| {
            let mut way = std::iter::once(id).chain(self.parents(id)).peekable();
            // dtc looks into the root even when it was deleted.
            while let Some(here) = way.next() {
                match way.peek() {
                    None => return here == ROOT,
                    Some(_) if self.node(here).deleted => return false,
                    Some(_) => {}
                }
            }
            false
        };
        let mut found = self.labelled.get(label)?.iter().copied().filter(|id| has(*id) && is_live(*id));
        match (found.next(), found.next()) {
            // Two nodes have it: the first in the tree counts, for as long as both do.
            (Some(_), Some(_)) => self.live().into_iter().find(|id| has(*id)),
            (found, _) => found,
        }
    }
}

impl SourceProperty {
    fn delete(&mut self) {
        self.deleted = true;
        self.labels.iter_mut().for_each(|label| label.deleted = true);
    }
}

/// Where names stand first; sought one by one when there are few to seek.
struct Names(Option<HashMap<String, usize>>);

impl Names {
    fn of<'n>(names: impl Iterator<Item = &'n String>, to_seek: usize) -> Names {
        if to_seek < 8 {
            return Names(None);
        }
        let mut map = HashMap::new();
        for (index, name) in names.enumerate() {
            map.entry(name.clone()).or_insert(index);
        }
        Names(Some(map))
    }

    fn find<'n, I: Iterator<Item = &'n String>>(&self, name: &String, names: impl FnOnce() -> I) -> Option<usize> {
        match &self.0 {
            Some(map) => map.get(name).copied(),
            None => names().position(|known| known == name),
        }
    }

    fn add(&mut self, name: &str, index: usize) {
        if let Some(map) = &mut self.0 {
            map.entry(name.to_owned()).or_insert(index);
        }
    }
}
