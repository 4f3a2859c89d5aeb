//! A tree in the making.

use super::NodeRef;
use std::borrow::Cow;

/// A node of a tree in the making.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node<'a> {
    /// Its name, unit address included; the root's is empty.
    pub name: Cow<'a, str>,
    /// Its properties, in the order in which they are written.
    pub properties: Vec<Property<'a>>,
    /// The nodes in it, in the order in which they are written.
    pub children: Vec<Node<'a>>,
}

/// A property of a [`Node`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value. A borrowed one is not copied on the way to the file.
    pub value: Cow<'a, [u8]>,
    /// What stands behind it up to the next multiple of 4.
    padding: [u8; 3],
}

impl<'a> Property<'a> {
    /// A property of these bytes.
    pub fn bytes(name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Property { name: name.into(), value: value.into(), padding: [0; 3] }
    }

    /// Fills the bytes between the value's end and the next multiple of 4, which are zeros otherwise, and which no reader looks
    /// at; those that are too many are left out.
    pub(crate) fn set_padding(&mut self, bytes: &[u8]) {
        self.padding.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
    }

    /// The bytes between the value's end and the next multiple of 4.
    pub(super) fn padding(&self) -> &[u8] {
        let len = self.value.len().next_multiple_of(4) - self.value.len();
        self.padding.get(..len).unwrap_or_default()
    }

    /// A property of one 32-bit cell.
    pub fn u32(name: impl Into<Cow<'a, str>>, value: u32) -> Self {
        Property::bytes(name, value.to_be_bytes().to_vec())
    }

    /// A property of a 64-bit number, two cells.
    pub fn u64(name: impl Into<Cow<'a, str>>, value: u64) -> Self {
        Property::bytes(name, value.to_be_bytes().to_vec())
    }

    /// A property of one string.
    pub fn string(name: impl Into<Cow<'a, str>>, value: &str) -> Self {
        Property::strings(name, [value])
    }

    /// A property of strings.
    pub fn strings<'s>(name: impl Into<Cow<'a, str>>, values: impl IntoIterator<Item = &'s str>) -> Self {
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        Property::bytes(name, bytes)
    }

    /// The value as one string.
    pub(crate) fn as_string(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.value).ok()?.strip_suffix('\0')?;
        (!text.contains('\0')).then_some(text)
    }
}

impl<'a> Node<'a> {
    /// A node without anything in it.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Node { name: name.into(), ..Node::default() }
    }

    /// The same node with a further property at its end.
    #[must_use]
    pub fn with(mut self, property: Property<'a>) -> Self {
        self.properties.push(property);
        self
    }

    /// The same node with a further node at its end.
    #[must_use]
    pub fn with_child(mut self, child: Node<'a>) -> Self {
        self.children.push(child);
        self
    }

    fn clear_padding(&mut self) {
        self.properties.iter_mut().for_each(|property| property.padding = [0; 3]);
        self.children.iter_mut().for_each(Node::clear_padding);
    }

    /// The property of that name.
    pub(crate) fn property(&self, name: &str) -> Option<&Property<'a>> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The node in it of exactly that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Node<'a>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The node in it of exactly that name.
    pub(crate) fn child_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// Sets a property: in its place when it is there, else **in front** of the others, as libfdt's `fdt_setprop` does.
    pub fn set(&mut self, property: Property<'a>) {
        match self.properties.iter_mut().find(|old| old.name == property.name) {
            Some(old) => *old = property,
            None => self.properties.insert(0, property),
        }
    }
}

impl<'a> Node<'a> {
    /// The same node as one in the making, with what stands behind its values.
    pub(crate) fn verbatim(node: NodeRef<'_, 'a>) -> Self {
        let properties = node.properties().iter().map(|property| {
            let mut same = Property::bytes(property.name, property.value);
            same.set_padding(property.padding);
            same
        });
        Node {
            name: node.name().into(),
            properties: properties.collect(),
            children: node.children().map(Node::verbatim).collect(),
        }
    }
}

impl<'a> From<NodeRef<'_, 'a>> for Node<'a> {
    /// The same node as one in the making; values are borrowed from the blob.
    fn from(node: NodeRef<'_, 'a>) -> Self {
        let mut same = Node::verbatim(node);
        same.clear_padding();
        same
    }
}
