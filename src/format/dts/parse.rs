//! Words to nodes.

use super::scan::{Scanner, is_label, is_name};
use super::tree::{Label, NodeId, ROOT, SourceNode, SourceProperty, SourceTree};
use super::{Error, File, Include, Part, Place, Reference, Source, SourceValue};
use crate::format::fdt::{MAX_DEPTH, Reservation};

pub(super) struct Parser<'i> {
    pub(super) scan: Scanner<'i>,
    tree: SourceTree,
    reservations: Vec<Reservation>,
    files: Vec<File>,
    /// `/plugin/`: a reference that leads nowhere is left to whoever applies the overlay.
    plugin: bool,
    /// The fragments made so far.
    fragments: usize,
}

impl<'i> Parser<'i> {
    pub(super) fn new(name: &str, text: &[u8], include: &'i mut Include<'i>) -> Self {
        let scan = Scanner::new(name, text, include);
        let (tree, reservations, files) = Default::default();
        Parser { scan, tree, reservations, files, plugin: false, fragments: 0 }
    }

    pub(super) fn source(mut self) -> Result<Source, Error> {
        self.scan.space()?;
        if !self.scan.looking_at("/dts-v1/") {
            let place = self.scan.place();
            let help = "an image tree source begins with /dts-v1/;, a kernel is given with `request.kernel`";
            return Err(self.scan.error(place, "this is no device tree source", help));
        }
        let mut headers = 0;
        while self.scan.skip("/dts-v1/")? {
            self.scan.expect(";")?;
            let place = self.scan.place();
            let plugin = self.scan.skip("/plugin/")?;
            if plugin {
                self.scan.expect(";")?;
            }
            if headers > 0 && plugin != self.plugin {
                let message = "one /dts-v1/; is followed by /plugin/;, the other is not";
                return Err(self.scan.error(place, message, "give /dts-v1/; once"));
            }
            (self.plugin, headers) = (plugin, headers + 1);
        }
        let mut labels = self.labels()?;
        while self.scan.skip("/memreserve/")? {
            let address = self.number()?;
            let size = self.number()?;
            self.scan.expect(";")?;
            self.reservations.push(Reservation { address, size });
            labels = self.labels()?;
        }
        loop {
            match self.scan.peek() {
                None if labels.is_empty() && !self.tree.is_empty() => break,
                Some(b'&') if labels.len() <= 1 && !(self.tree.is_empty() && self.plugin && !labels.is_empty()) => {
                    self.override_node(labels)?;
                }
                Some(b'/') if labels.is_empty() => self.top_level()?,
                _ if self.tree.is_empty() => return Err(self.scan.wanted("the root node, / { ... }")),
                _ => return Err(self.scan.wanted("a further block: / { ... } or &label { ... }")),
            }
            labels = self.labels()?;
        }
        let Parser { mut scan, tree, reservations, files, plugin, .. } = self;
        Ok(Source { tree, reservations, files, texts: std::mem::take(&mut scan.texts), plugin })
    }

    /// A block of the root, a deletion, or what may be left out.
    fn top_level(&mut self) -> Result<(), Error> {
        let deletes = self.scan.skip("/delete-node/")?;
        if deletes || self.scan.skip("/omit-if-no-ref/")? {
            self.scan.space()?;
            let target = self.target()?;
            self.scan.expect(";")?;
            if deletes {
                self.tree.delete(target);
            } else if let Some(node) = self.tree.node_mut(target) {
                node.omit_if_unused = true;
            }
            return Ok(());
        }
        self.refuse_unknown(&["/ {", "/delete-node/", "/omit-if-no-ref/", "/include/"])?;
        let place = self.scan.place();
        self.scan.expect("/")?;
        let body = self.body(SourceNode { place, ..SourceNode::default() }, 1)?;
        if body != ROOT {
            self.tree.merge(ROOT, body);
        }
        Ok(())
    }

    /// A block for a node that is there; the label is a further one of that node.
    fn override_node(&mut self, labels: Vec<Label>) -> Result<(), Error> {
        let place = self.scan.place();
        let reference = self.reference()?;
        let found = if self.tree.is_empty() { None } else { self.tree.find(&reference) };
        if self.plugin && labels.is_empty() && (found.is_none() || reference.is_path()) {
            return self.fragment(place, reference);
        }
        let target = found.ok_or_else(|| self.no_node(place, &reference))?;
        // The block goes on where the node stands, and nodes may not lie deeper than any reader follows.
        let depth = self.tree.parents(target).count() + 1;
        let body = self.body(SourceNode { place, ..SourceNode::default() }, depth)?;
        for label in labels {
            self.tree.label(target, label);
        }
        self.tree.merge(target, body);
        Ok(())
    }

    /// A block of an overlay for a node of the tree that it will be applied to.
    fn fragment(&mut self, place: Place, reference: Reference) -> Result<(), Error> {
        if self.tree.is_empty() {
            self.tree.push(SourceNode { place, ..SourceNode::default() });
        }
        let (name, part) = if reference.is_path() {
            ("target-path", Part::Bytes([reference.0.as_bytes(), &[0]].concat()))
        } else if reference.is_label() {
            ("target", Part::Phandle(reference))
        } else {
            let message = format!("{reference} leads nowhere, and an overlay cannot refer to it");
            return Err(self.scan.error(place, message, "refer to a label, or to a path from the root"));
        };
        let value = SourceValue { parts: vec![(place, part)], ..SourceValue::default() };
        let target = SourceProperty { name: name.to_owned(), place, value, ..SourceProperty::default() };
        let name = format!("fragment@{}", self.fragments);
        self.fragments += 1;
        let overlay = self.body(SourceNode { name: "__overlay__".to_owned(), place, ..SourceNode::default() }, 3)?;
        let fragment = self.tree.push(SourceNode { name, place, properties: vec![target], ..SourceNode::default() });
        self.tree.add_child(fragment, overlay);
        self.tree.add_child(ROOT, fragment);
        Ok(())
    }

    /// The node that a reference at the top level leads to: it must be there by now.
    fn target(&mut self) -> Result<NodeId, Error> {
        let place = self.scan.place();
        let reference = self.reference()?;
        let found = if self.tree.is_empty() { None } else { self.tree.find(&reference) };
        found.ok_or_else(|| self.no_node(place, &reference))
    }

    fn no_node(&self, place: Place, reference: &Reference) -> Error {
        let help = "label the node first, or correct the name";
        self.scan.error(place, format!("there is no node {reference}"), help)
    }

    fn labels(&mut self) -> Result<Vec<Label>, Error> {
        let mut labels = Vec::new();
        while let Some((place, name)) = self.scan.label()? {
            labels.push(Label { name, place, deleted: false });
        }
        Ok(labels)
    }

    /// A directive in slashes that is none of ours.
    fn refuse_unknown(&mut self, known: &[&str]) -> Result<(), Error> {
        let place = self.scan.place();
        for (word, help) in [
            ("/plugin/", "it stands behind /dts-v1/; at the start"),
            ("/dts-v1/", "it stands at the start"),
            ("/memreserve/", "memory is reserved before the root node"),
        ] {
            if self.scan.looking_at(word) {
                return Err(self.scan.error(place, format!("{word} cannot be used here"), help));
            }
        }
        let rest_is_directive = ["/a", "/b", "/i", "/m", "/o", "/p"].iter().any(|start| self.scan.looking_at(start));
        if rest_is_directive { Err(self.scan.wanted(&known.join(", "))) } else { Ok(()) }
    }

    /// The body of a node from its brace on, up to the semicolon behind the closing one; it is in no other node yet.
    fn body(&mut self, node: SourceNode, depth: usize) -> Result<NodeId, Error> {
        if depth > MAX_DEPTH {
            return Err(self.scan.error_here(format!("nodes lie deeper than {MAX_DEPTH}"), "flatten the tree"));
        }
        self.scan.expect("{")?;
        let id = self.tree.push(node);
        loop {
            let mut labels = self.labels()?;
            let mut omit_if_unused = false;
            while self.scan.skip("/omit-if-no-ref/")? {
                omit_if_unused = true;
                labels.extend(self.labels()?);
            }
            let place = self.scan.place();
            if self.scan.skip("/delete-node/")? {
                self.scan.space()?;
                let name = self.name()?;
                self.scan.expect(";")?;
                let child = SourceNode { name, place, labels, deleted: true, ..SourceNode::default() };
                let child = self.tree.push(child);
                self.tree.add_child(id, child);
            } else if !omit_if_unused && self.scan.skip("/delete-property/")? {
                self.scan.space()?;
                let name = self.name()?;
                self.scan.expect(";")?;
                let property = SourceProperty { name, place, labels, deleted: true, ..SourceProperty::default() };
                self.add_property(id, property)?;
            } else if self.scan.peek() == Some(b'}') && labels.is_empty() && !omit_if_unused {
                self.scan.expect("}")?;
                self.scan.expect(";")?;
                return Ok(id);
            } else {
                self.member(id, labels, omit_if_unused, depth)?;
            }
        }
    }

    /// A property or a node.
    fn member(&mut self, id: NodeId, labels: Vec<Label>, omit_if_unused: bool, depth: usize) -> Result<(), Error> {
        if self.scan.peek() == Some(b'/') {
            self.refuse_unknown(&["/delete-property/", "/delete-node/", "/omit-if-no-ref/"])?;
            return Err(self.scan.wanted("a property, a node, /delete-property/ or /delete-node/"));
        }
        let place = self.scan.place();
        let name = self.name()?;
        self.scan.space()?;
        match self.scan.peek() {
            Some(b'{') => {
                let child = SourceNode { name, place, labels, omit_if_unused, ..SourceNode::default() };
                let child = self.body(child, depth + 1)?;
                self.tree.add_child(id, child);
                Ok(())
            }
            Some(b'=' | b';') if !omit_if_unused => {
                let value = if self.scan.skip("=")? { self.value()? } else { SourceValue::default() };
                self.scan.expect(";")?;
                self.add_property(id, SourceProperty { name, place, labels, value, deleted: false })
            }
            _ => Err(self.scan.wanted("{, = or ;")),
        }
    }

    fn add_property(&mut self, id: NodeId, mut property: SourceProperty) -> Result<(), Error> {
        let Some(node) = self.tree.node_mut(id) else { return Ok(()) };
        if !node.children.is_empty() {
            let message = format!("property {} stands behind a node", property.name);
            let help = "put the properties of a node before the nodes in it";
            return Err(self.scan.error(property.place, message, help));
        }
        // A label that is given twice is one.
        let mut seen = std::collections::BTreeSet::new();
        property.labels.retain(|label| seen.insert(label.name.clone()));
        node.properties.push(property);
        Ok(())
    }

    /// A name; a backslash may stand in front of it, and is no part of it.
    fn name(&mut self) -> Result<String, Error> {
        if self.scan.looking_at("\\") {
            self.scan.next();
        }
        let name = self.scan.run(is_name);
        if name.is_empty() { Err(self.scan.wanted("the name of a property or node")) } else { Ok(name) }
    }

    fn reference(&mut self) -> Result<Reference, Error> {
        self.scan.expect("&")?;
        let text = if self.scan.peek() == Some(b'{') {
            self.scan.next();
            let path = self.scan.run(|byte| is_name(byte) || byte == b'/');
            if self.scan.peek() != Some(b'}') {
                return Err(self.scan.wanted("a path and \"}\""));
            }
            self.scan.next();
            path
        } else {
            self.scan.run(is_label)
        };
        let first = text.split('/').next().unwrap_or_default();
        let starts_well = text.starts_with('/')
            || (first.bytes().all(is_label) && first.bytes().next().is_some_and(|byte| !byte.is_ascii_digit()));
        if starts_well { Ok(Reference(text)) } else { Err(self.scan.wanted("a label, or a path from the root")) }
    }

    fn value(&mut self) -> Result<SourceValue, Error> {
        let mut value = SourceValue::default();
        loop {
            value.labels.extend(self.labels()?);
            let place = self.scan.place();
            match self.scan.peek() {
                Some(b'"') => {
                    let mut bytes = self.scan.string()?;
                    bytes.push(0);
                    value.parts.push((place, Part::Bytes(bytes)));
                }
                Some(b'<') => self.cells(32, &mut value)?,
                Some(b'[') => self.byte_string(&mut value)?,
                Some(b'&') => value.parts.push((place, Part::Path(self.reference()?))),
                _ if self.scan.skip("/bits/")? => {
                    self.scan.space()?;
                    let place = self.scan.place();
                    let bits = match self.scan.peek() {
                        Some(b'0'..=b'9') => self.literal()?,
                        _ => return Err(self.scan.wanted("8, 16, 32 or 64")),
                    };
                    if ![8, 16, 32, 64].contains(&bits) {
                        let message = format!("/bits/ {bits}");
                        return Err(self.scan.error(place, message, "an array has elements of 8, 16, 32 or 64 bits"));
                    }
                    self.scan.space()?;
                    self.cells(bits, &mut value)?;
                }
                _ if self.scan.skip("/incbin/")? => value.parts.push((place, self.incbin()?)),
                _ => return Err(self.scan.wanted("a value: \"text\", <cells>, [bytes], &label or /incbin/(\"file\")")),
            }
            value.labels.extend(self.labels()?);
            if !self.scan.skip(",")? {
                return Ok(value);
            }
        }
    }

    fn incbin(&mut self) -> Result<Part, Error> {
        self.scan.expect("(")?;
        self.scan.space()?;
        let place = self.scan.place();
        let name = self.scan.string()?;
        let Ok(name) = String::from_utf8(name) else {
            return Err(self.scan.error(place, "the file name is no text", "rename the file"));
        };
        let (mut offset, mut len) = (0, None);
        if self.scan.skip(",")? {
            offset = self.number()?;
            self.scan.expect(",")?;
            len = Some(self.number()?);
        }
        self.scan.expect(")")?;
        let from = self.scan.text_name();
        let index = match self.files.iter().position(|known| known.name == name && known.from == from) {
            Some(index) => index,
            None => {
                let (from, Place { line, column, .. }) = (from.to_owned(), place);
                self.files.push(File { name, from, line, column });
                self.files.len() - 1
            }
        };
        Ok(Part::File(index, offset, len))
    }

    fn byte_string(&mut self, value: &mut SourceValue) -> Result<(), Error> {
        let start = self.scan.place();
        self.scan.expect("[")?;
        let mut bytes = Vec::new();
        loop {
            value.labels.extend(self.labels()?);
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            if self.scan.skip("]")? {
                value.parts.push((start, Part::Bytes(bytes)));
                return Ok(());
            }
            let place = self.scan.place();
            let (high, low) = (self.scan.next(), self.scan.next());
            match (digit(high), digit(low)) {
                (Some(high), Some(low)) => bytes.push(high << 4 | low),
                _ => return Err(self.scan.error(place, "no byte", "bytes are pairs of hexadecimal digits")),
            }
        }
    }

    /// An array in angle brackets.
    fn cells(&mut self, bits: u64, value: &mut SourceValue) -> Result<(), Error> {
        self.scan.expect("<")?;
        let start = self.scan.place();
        let mut bytes = Vec::new();
        loop {
            value.labels.extend(self.labels()?);
            let place = self.scan.place();
            match self.scan.peek() {
                Some(b'>') => break,
                Some(b'&') if bits == 32 => {
                    value.parts.push((start, Part::Bytes(std::mem::take(&mut bytes))));
                    value.parts.push((place, Part::Phandle(self.reference()?)));
                }
                Some(b'&') => {
                    return Err(self.scan.error(
                        place,
                        "a reference in an array that is not of 32 bits",
                        "use /bits/ 32",
                    ));
                }
                _ => {
                    let number = self.number()?;
                    let width = usize::try_from(bits / 8).unwrap_or(8);
                    let mask = u64::MAX >> (64 - bits);
                    // Above the element all is zero, or all is one: a negative number.
                    if number > mask && number | mask != u64::MAX {
                        let message = format!("{number:#x} does not fit {bits} bits");
                        return Err(self.scan.error(place, message, "split it into two cells, or say /bits/ 64"));
                    }
                    bytes.extend(number.to_be_bytes().into_iter().skip(8 - width));
                }
            }
        }
        self.scan.expect(">")?;
        value.parts.push((start, Part::Bytes(bytes)));
        Ok(())
    }
}
