//! Words to nodes.

use super::scan::{Scanner, is_label, is_name};
use super::{Error, File, Include, Part, Place, Reference, Source, SourceNode, SourceProperty};
use crate::format::fdt::{MAX_DEPTH, Reservation};

pub(super) struct Parser<'i> {
    pub(super) scan: Scanner<'i>,
    root: Option<SourceNode>,
    reservations: Vec<Reservation>,
    files: Vec<File>,
}

/// What a node's body holds: deletions come before what follows them.
struct Body {
    node: SourceNode,
    deleted_properties: Vec<String>,
    deleted_nodes: Vec<String>,
}

impl<'i> Parser<'i> {
    pub(super) fn new(name: &str, text: &[u8], include: &'i mut Include<'i>) -> Self {
        let scan = Scanner::new(name, text, include);
        Parser { scan, root: None, reservations: Vec::new(), files: Vec::new() }
    }

    pub(super) fn source(mut self) -> Result<Source, Error> {
        self.scan.space()?;
        if !self.scan.looking_at("/dts-v1/") {
            let place = self.scan.place();
            let help = "an image tree source begins with /dts-v1/;";
            return Err(self.scan.error(place, "this is no device tree source", help));
        }
        while self.scan.skip("/dts-v1/")? {
            self.scan.expect(";")?;
        }
        loop {
            self.scan.space()?;
            while self.scan.label()?.is_some() {}
            match self.scan.peek() {
                None => break,
                _ if self.scan.skip("/memreserve/")? => {
                    let address = self.number()?;
                    let size = self.number()?;
                    self.scan.expect(";")?;
                    self.reservations.push(Reservation { address, size });
                }
                _ if self.scan.skip("/delete-node/")? => {
                    let place = self.scan.place();
                    let reference = self.reference()?;
                    self.scan.expect(";")?;
                    self.delete(&reference).ok_or_else(|| self.nowhere(place, &reference))?;
                }
                Some(b'&') => {
                    let place = self.scan.place();
                    let reference = self.reference()?;
                    let body = self.body(String::new(), 1)?;
                    self.end_of_node()?;
                    let Some(root) = &mut self.root else { return Err(self.nowhere(place, &reference)) };
                    match root.path_to(&reference).and_then(|path| root.at_mut(&path)) {
                        Some(node) => node.merge(body),
                        None => return Err(self.nowhere(place, &reference)),
                    }
                }
                Some(b'/') => {
                    self.refuse_unknown(&["/ {", "/memreserve/", "/delete-node/", "/include/"])?;
                    self.scan.expect("/")?;
                    let body = self.body(String::new(), 1)?;
                    self.end_of_node()?;
                    match &mut self.root {
                        Some(root) => root.merge(body),
                        None => self.root = Some(body.node),
                    }
                }
                _ => return Err(self.scan.wanted("the root node, / { ... }")),
            }
        }
        match self.root {
            Some(root) => {
                let (files, texts) = (self.files, std::mem::take(&mut self.scan.texts));
                Ok(Source { root, reservations: self.reservations, files, texts })
            }
            None => Err(self.scan.wanted("the root node, / { ... }")),
        }
    }

    /// A directive in slashes that is none of ours.
    fn refuse_unknown(&mut self, known: &[&str]) -> Result<(), Error> {
        let place = self.scan.place();
        for (word, help) in [
            ("/plugin/", "an overlay is no FIT: compile it with dtc"),
            ("/omit-if-no-ref/", "leave the word out, or compile the source with dtc"),
            ("/dts-v1/", "it stands once, at the start"),
        ] {
            if self.scan.looking_at(word) {
                return Err(self.scan.error(place, format!("{word} cannot be used here"), help));
            }
        }
        let rest_is_directive = ["/a", "/b", "/i", "/o", "/p"].iter().any(|start| self.scan.looking_at(start));
        if rest_is_directive { Err(self.scan.wanted(&known.join(", "))) } else { Ok(()) }
    }

    fn nowhere(&self, place: Place, reference: &Reference) -> Error {
        self.scan.error(place, format!("there is no node {reference}"), "label the node first, or correct the name")
    }

    fn delete(&mut self, reference: &Reference) -> Option<()> {
        let root = self.root.as_mut()?;
        let mut path = root.path_to(reference)?;
        let last = path.pop()?;
        root.at_mut(&path)?.children.remove(last);
        Some(())
    }

    fn end_of_node(&mut self) -> Result<(), Error> {
        self.scan.expect("}")?;
        self.scan.expect(";")
    }

    /// The body of a node from its brace on, up to the closing one.
    fn body(&mut self, name: String, depth: usize) -> Result<Body, Error> {
        if depth > MAX_DEPTH {
            let place = self.scan.place();
            return Err(self.scan.error(place, format!("nodes lie deeper than {MAX_DEPTH}"), "flatten the tree"));
        }
        self.scan.expect("{")?;
        let node = SourceNode { name, ..SourceNode::default() };
        let mut body = Body { node, deleted_properties: Vec::new(), deleted_nodes: Vec::new() };
        loop {
            let mut labels = Vec::new();
            while let Some(label) = self.scan.label()? {
                labels.push(label);
            }
            match self.scan.peek() {
                Some(b'}') => return Ok(body),
                Some(b'/') => self.deletion(&mut body)?,
                _ => self.member(&mut body, labels, depth)?,
            }
        }
    }

    fn deletion(&mut self, body: &mut Body) -> Result<(), Error> {
        let is_property = self.scan.skip("/delete-property/")?;
        if !is_property && !self.scan.skip("/delete-node/")? {
            self.refuse_unknown(&["/delete-property/", "/delete-node/"])?;
            return Err(self.scan.wanted("a property, a node, /delete-property/ or /delete-node/"));
        }
        self.scan.space()?;
        let name = self.name()?;
        self.scan.expect(";")?;
        if is_property {
            body.node.properties.retain(|property| property.name != name);
            body.deleted_properties.push(name);
        } else {
            body.node.children.retain(|child| child.name != name);
            body.deleted_nodes.push(name);
        }
        Ok(())
    }

    /// A property or a node.
    fn member(&mut self, body: &mut Body, labels: Vec<String>, depth: usize) -> Result<(), Error> {
        let place = self.scan.place();
        let name = self.name()?;
        self.scan.space()?;
        match self.scan.peek() {
            Some(b'{') => {
                let mut child = self.body(name, depth + 1)?;
                self.end_of_node()?;
                if body.node.children.iter().any(|known| known.name == child.node.name) {
                    let message = format!("a second node {} in the same node", child.node.name);
                    return Err(self.scan.error(place, message, "give it another name"));
                }
                child.node.labels = labels;
                body.node.children.push(child.node);
            }
            Some(b'=' | b';') => {
                if body.node.properties.iter().any(|known| known.name == name) {
                    let message = format!("a second property {name} in the same node");
                    return Err(self.scan.error(place, message, "leave one of the two out"));
                }
                if !body.node.children.is_empty() {
                    let message = format!("property {name} stands behind a node");
                    return Err(self.scan.error(place, message, "put the properties of a node before the nodes in it"));
                }
                let parts = if self.scan.skip("=")? { self.value()? } else { Vec::new() };
                self.scan.expect(";")?;
                body.node.properties.push(SourceProperty { name, parts });
            }
            _ => return Err(self.scan.wanted("{, = or ;")),
        }
        Ok(())
    }

    fn name(&mut self) -> Result<String, Error> {
        let name = self.scan.run(is_name);
        if name.is_empty() { Err(self.scan.wanted("the name of a property or node")) } else { Ok(name) }
    }

    fn reference(&mut self) -> Result<Reference, Error> {
        self.scan.expect("&")?;
        if self.scan.peek() == Some(b'{') {
            self.scan.next();
            let path = self.scan.run(|byte| is_name(byte) || byte == b'/');
            self.scan.expect("}")?;
            return Ok(Reference::Path(path));
        }
        let label = self.scan.run(is_label);
        if label.is_empty() { Err(self.scan.wanted("a label")) } else { Ok(Reference::Label(label)) }
    }

    fn value(&mut self) -> Result<Vec<(Place, Part)>, Error> {
        let mut parts = Vec::new();
        loop {
            while self.scan.label()?.is_some() {}
            let place = self.scan.place();
            match self.scan.peek() {
                Some(b'"') => {
                    let mut bytes = self.scan.string()?;
                    bytes.push(0);
                    parts.push((place, Part::Bytes(bytes)));
                }
                Some(b'<') => self.cells(32, &mut parts)?,
                Some(b'[') => parts.push((place, Part::Bytes(self.byte_string()?))),
                Some(b'&') => parts.push((place, Part::Path(self.reference()?))),
                _ if self.scan.skip("/bits/")? => {
                    self.scan.space()?;
                    let place = self.scan.place();
                    let bits = self.number()?;
                    if ![8, 16, 32, 64].contains(&bits) {
                        let message = format!("/bits/ {bits}");
                        return Err(self.scan.error(place, message, "an array has elements of 8, 16, 32 or 64 bits"));
                    }
                    self.scan.space()?;
                    self.cells(bits, &mut parts)?;
                }
                _ if self.scan.skip("/incbin/")? => parts.push((place, self.incbin()?)),
                _ => return Err(self.scan.wanted("a value: \"text\", <cells>, [bytes], &label or /incbin/(\"file\")")),
            }
            while self.scan.label()?.is_some() {}
            if !self.scan.skip(",")? {
                return Ok(parts);
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
        let file = File { name, from: self.scan.text_name().to_owned() };
        let index = match self.files.iter().position(|known| *known == file) {
            Some(index) => index,
            None => {
                self.files.push(file);
                self.files.len() - 1
            }
        };
        Ok(Part::File(index, offset, len))
    }

    fn byte_string(&mut self) -> Result<Vec<u8>, Error> {
        self.scan.expect("[")?;
        let mut bytes = Vec::new();
        loop {
            while self.scan.label()?.is_some() {}
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            if self.scan.skip("]")? {
                return Ok(bytes);
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
    fn cells(&mut self, bits: u64, parts: &mut Vec<(Place, Part)>) -> Result<(), Error> {
        self.scan.expect("<")?;
        let start = self.scan.place();
        let mut bytes = Vec::new();
        loop {
            while self.scan.label()?.is_some() {}
            let place = self.scan.place();
            match self.scan.peek() {
                Some(b'>') => break,
                Some(b'&') if bits == 32 => {
                    parts.push((start, Part::Bytes(std::mem::take(&mut bytes))));
                    parts.push((place, Part::Phandle(self.reference()?)));
                }
                Some(b'&') => {
                    return Err(self.scan.error(
                        place,
                        "a reference in an array that is not of 32 bits",
                        "use /bits/ 32",
                    ));
                }
                _ => {
                    let value = self.number()?;
                    let width = usize::try_from(bits / 8).unwrap_or(8);
                    let mask = u64::MAX >> (64 - bits);
                    // Above the element all is zero, or all is one: a negative number.
                    if value > mask && value | mask != u64::MAX {
                        let message = format!("{value:#x} does not fit {bits} bits");
                        return Err(self.scan.error(place, message, "split it into two cells, or say /bits/ 64"));
                    }
                    bytes.extend(value.to_be_bytes().into_iter().skip(8 - width));
                }
            }
        }
        self.scan.expect(">")?;
        parts.push((start, Part::Bytes(bytes)));
        Ok(())
    }
}

impl SourceNode {
    /// The way to a node: which child, of that which child, and so on.
    pub(super) fn path_to(&self, reference: &Reference) -> Option<Vec<usize>> {
        match reference {
            Reference::Label(label) => {
                if self.labels.contains(label) {
                    return Some(Vec::new());
                }
                self.children.iter().enumerate().find_map(|(index, child)| {
                    let mut path = child.path_to(reference)?;
                    path.insert(0, index);
                    Some(path)
                })
            }
            Reference::Path(path) => {
                let mut way = Vec::new();
                let mut node = self;
                for name in path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()) {
                    let index = node.children.iter().position(|child| child.name == name)?;
                    way.push(index);
                    node = node.children.get(index)?;
                }
                Some(way)
            }
        }
    }

    fn at_mut(&mut self, path: &[usize]) -> Option<&mut SourceNode> {
        path.iter().try_fold(self, |node, index| node.children.get_mut(*index))
    }

    /// Takes in a later body of the same node: what is there already is overridden in its place, as dtc does.
    fn merge(&mut self, body: Body) {
        self.properties.retain(|property| !body.deleted_properties.contains(&property.name));
        self.children.retain(|child| !body.deleted_nodes.contains(&child.name));
        let later = body.node;
        self.labels.extend(later.labels);
        for property in later.properties {
            match self.properties.iter_mut().find(|known| known.name == property.name) {
                Some(known) => known.parts = property.parts,
                None => self.properties.push(property),
            }
        }
        for child in later.children {
            match self.children.iter_mut().find(|known| known.name == child.name) {
                // Deletions of nodes further down were carried out within their own body.
                Some(known) => known.merge(Body::of(child)),
                None => self.children.push(child),
            }
        }
    }
}

impl Body {
    fn of(node: SourceNode) -> Body {
        Body { node, deleted_properties: Vec::new(), deleted_nodes: Vec::new() }
    }
}
