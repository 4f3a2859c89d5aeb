//! The two nodes that tell whoever applies an overlay where its phandles stand.
//!
//! Source: dtc 1.6.1, livetree.c (`generate_fixups_tree`, `generate_local_fixups_tree`).

use super::resolve::Resolver;
use super::tree::{NodeId, ROOT};
use super::{Error, Part, Reference};
use crate::bytes::len64;
use crate::format::fdt::{Node, Property};

/// A phandle in the value of a property.
struct Use<'s> {
    node: NodeId,
    property: &'s str,
    /// Offset in the value, in bytes.
    offset: u64,
    reference: &'s Reference,
}

impl<'s, 'a> Resolver<'s, '_, 'a> {
    /// Adds `__fixups__` (labels that the other tree has to have: `path:property:offset`) and `__local_fixups__` (the offsets
    /// of phandles of the overlay itself, in nodes named as those they stand in) to the tree as it is written.
    pub(super) fn add_fixups(&self, root: &mut Node<'a>) -> Result<(), Error> {
        let tree = &self.source.tree;
        let (local, open): (Vec<Use<'_>>, _) =
            self.uses()?.into_iter().partition(|found| self.leads_to_written(found.reference));
        for found in open {
            let entry = format!("{}:{}:{}\0", tree.path(found.node), found.property, found.offset);
            append(root, &["__fixups__"], &found.reference.0, entry.as_bytes());
        }
        for found in local {
            let parents = std::iter::once(found.node).chain(tree.parents(found.node));
            let mut path: Vec<&str> = parents.filter(|id| *id != ROOT).map(|id| tree.node(id).name.as_str()).collect();
            path.push("__local_fixups__");
            path.reverse();
            let offset = u32::try_from(found.offset).unwrap_or(u32::MAX);
            append(root, &path, found.property, &offset.to_be_bytes());
        }
        Ok(())
    }

    /// Every phandle of the tree as it is written, in its order.
    fn uses(&self) -> Result<Vec<Use<'s>>, Error> {
        let tree = &self.source.tree;
        let mut uses = Vec::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            for (index, property) in tree.node(id).live_properties() {
                if self.redundant_names.get(&id) == Some(&index) {
                    continue;
                }
                let mut offset = 0;
                for (place, part) in &property.value.parts {
                    if let Part::Phandle(reference) = part {
                        uses.push(Use { node: id, property: &property.name, offset, reference });
                    }
                    offset += match part {
                        Part::Bytes(bytes) => len64(bytes),
                        Part::File(index, at, len) => len64(self.file(*place, *index, *at, *len)?),
                        Part::Phandle(_) => 4,
                        Part::Path(reference) => {
                            tree.find(reference).map_or(0, |id| len64(tree.path(id).as_bytes()) + 1)
                        }
                    };
                }
            }
            let children: Vec<NodeId> = tree.live_children(id).filter(|id| !self.is_left_out(*id)).collect();
            open.extend(children.into_iter().rev());
        }
        Ok(uses)
    }

    /// The node is there and not left out, nor one that it is in.
    fn leads_to_written(&self, reference: &Reference) -> bool {
        let tree = &self.source.tree;
        let found = tree.find(reference);
        found.is_some_and(|id| !std::iter::once(id).chain(tree.parents(id)).any(|id| self.is_left_out(id)))
    }
}

/// Adds to the value of a property; the nodes of the path and the property are made where they are not there.
fn append(node: &mut Node<'_>, path: &[&str], name: &str, bytes: &[u8]) {
    if let Some((first, rest)) = path.split_first() {
        // From the back: it is the one of the entry before, as a rule.
        match node.children.iter_mut().rfind(|child| child.name == *first) {
            Some(child) => append(child, rest, name, bytes),
            None => {
                let mut child = Node::new((*first).to_owned());
                append(&mut child, rest, name, bytes);
                node.children.push(child);
            }
        }
        return;
    }
    match node.properties.iter_mut().find(|property| property.name == name) {
        Some(property) => property.value.to_mut().extend_from_slice(bytes),
        None => node.properties.push(Property::bytes(name.to_owned(), bytes.to_vec())),
    }
}
