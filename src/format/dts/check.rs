//! What dtc calls an error of the tree (dtc 1.6.1, checks.c, those of `ERROR`), in its order.

use super::resolve::Resolver;
use super::tree::{Label, NodeId};
use super::{Error, Part};
use std::collections::{HashMap, HashSet};

pub(super) fn check(resolver: &mut Resolver<'_, '_, '_>) -> Result<(), Error> {
    let live = resolver.source.tree.live();
    for id in &live {
        names_are_unique(resolver, *id)?;
    }
    for id in &live {
        names_are_allowed(resolver, *id)?;
    }
    for id in &live {
        name_property(resolver, *id)?;
    }
    labels(resolver, &live)?;
    for id in &live {
        explicit_phandle(resolver, *id)?;
    }
    Ok(())
}

fn names_are_unique(resolver: &Resolver<'_, '_, '_>, id: NodeId) -> Result<(), Error> {
    let tree = &resolver.source.tree;
    let mut seen = HashSet::new();
    // A deletion behind the node, in the block that makes both, deletes nothing: dtc counts it as a second node.
    for child in tree.node(id).children.iter().map(|child| tree.node(*child)) {
        let is_new = if child.deleted { !seen.contains(child.name.as_str()) } else { seen.insert(child.name.as_str()) };
        if !is_new {
            let message = format!("a second node {} in the same node", child.name);
            return Err(resolver.error(child.place, message, "give it another name"));
        }
    }
    seen.clear();
    for (_, property) in tree.node(id).live_properties() {
        if !seen.insert(property.name.as_str()) {
            let message = format!("a second property {} in the same node", property.name);
            return Err(resolver.error(property.place, message, "leave one of the two out"));
        }
    }
    Ok(())
}

fn names_are_allowed(resolver: &Resolver<'_, '_, '_>, id: NodeId) -> Result<(), Error> {
    let node = resolver.source.tree.node(id);
    let of_both = |byte: u8| byte.is_ascii_alphanumeric() || b",._+-".contains(&byte);
    if !node.name.bytes().all(|byte| of_both(byte) || byte == b'@') {
        let help = "names of nodes have letters, digits and , . _ + - @";
        return Err(resolver.error(node.place, format!("{} cannot be the name of a node", node.name), help));
    }
    if node.name.matches('@').count() > 1 {
        let help = "one @ stands in front of the unit address";
        return Err(resolver.error(node.place, format!("{} has more than one @", node.name), help));
    }
    for (_, property) in node.live_properties() {
        if !property.name.bytes().all(|byte| of_both(byte) || b"*#?".contains(&byte)) {
            let message = format!("{} cannot be the name of a property", property.name);
            let help = "names of properties have letters, digits and , . _ + * # ? -";
            return Err(resolver.error(property.place, message, help));
        }
    }
    Ok(())
}

/// A property `name` is left out where it repeats the node's own name, and wrong elsewhere. dtc sees deleted ones, too.
fn name_property(resolver: &mut Resolver<'_, '_, '_>, id: NodeId) -> Result<(), Error> {
    let node = resolver.source.tree.node(id);
    let Some(index) = node.properties.iter().position(|property| property.name == "name") else { return Ok(()) };
    let Some(property) = node.properties.get(index) else { return Ok(()) };
    let value = resolver.early_value(&property.value)?;
    let wanted = [node.base_name().as_bytes(), &[0]].concat();
    if value == wanted {
        resolver.redundant_names.insert(id, index);
        return Ok(());
    }
    let message = format!("property name is not {:?}, the name of the node", node.base_name());
    Err(resolver.error(property.place, message, "leave the property out"))
}

/// A label stands once in the tree, be it at a node, a property or in a value.
fn labels(resolver: &Resolver<'_, '_, '_>, live: &[NodeId]) -> Result<(), Error> {
    let tree = &resolver.source.tree;
    let mut seen: HashMap<&str, (NodeId, Option<usize>)> = HashMap::new();
    let twice = |label: &Label| {
        let message = format!("the label {} is there twice", label.name);
        Err(resolver.error(label.place, message, "rename one of the labels"))
    };
    for id in live {
        let node = tree.node(*id);
        for label in node.labels.iter().filter(|label| !label.deleted) {
            if seen.insert(&label.name, (*id, None)).is_some() {
                return twice(label);
            }
        }
        for (index, property) in node.live_properties() {
            if resolver.redundant_names.get(id) == Some(&index) {
                continue;
            }
            let of_property = property.labels.iter().filter(|label| !label.deleted);
            for label in of_property.chain(&property.value.labels) {
                if seen.insert(&label.name, (*id, Some(index))).is_some() {
                    return twice(label);
                }
            }
        }
    }
    Ok(())
}

fn explicit_phandle(resolver: &mut Resolver<'_, '_, '_>, id: NodeId) -> Result<(), Error> {
    let tree = &resolver.source.tree;
    let node = tree.node(id);
    let mut given: Option<u32> = None;
    for name in ["phandle", "linux,phandle"] {
        let Some(property) = node.property(name) else { continue };
        let fail = |message: String, help| Err(resolver.error(property.place, message, help));
        let value = resolver.early_value(&property.value)?;
        let Ok(cell) = <[u8; 4]>::try_from(value.as_slice()) else {
            return fail(format!("{name} has {} bytes", value.len()), "a phandle is one cell");
        };
        if !node.is_explicit(name) {
            let to_itself = property.value.parts.iter().all(|(_, part)| match part {
                Part::Phandle(reference) => tree.find(reference) == Some(id),
                _ => true,
            });
            if !to_itself {
                return fail(
                    format!("{name} is a reference to another node"),
                    "refer to the node itself, or leave it out",
                );
            }
            // The next free number, once all given ones are known.
            continue;
        }
        let phandle = u32::from_be_bytes(cell);
        if matches!(phandle, 0 | u32::MAX) {
            return fail(format!("{name} is {phandle:#x}"), "0 and 0xffffffff are no phandles");
        }
        if given.is_some_and(|given| given != phandle) {
            return fail("phandle and linux,phandle differ".to_owned(), "leave one of the two out");
        }
        if given.is_none() && resolver.used.contains(&phandle) {
            return fail(format!("two nodes have the phandle {phandle:#x}"), "refer to labels, and leave phandles out");
        }
        given = Some(phandle);
    }
    if let Some(phandle) = given {
        resolver.used.insert(phandle);
        resolver.phandles.insert(id, phandle);
    }
    Ok(())
}
