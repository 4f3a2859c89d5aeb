//! Generator nodes: one description for many boards. A node `@fdt-SEQ` or `@config-SEQ` becomes a node for each device tree of a list,
//! one with `fit,operation = "split-elf"` a node for each segment of an ELF file (TF-A's BL31, OP-TEE).
//!
//! Source: U-Boot's binman of 2026.10, documentation of the entry type `fit` (tools/binman/entries.rst).

use super::Error;
use crate::bytes::{Align, count64, len64, slice};
use crate::elf::{Elf, PT_LOAD};
use crate::format::fdt::{Dtb, Node, Property};
use std::borrow::Cow;

/// Properties with this in front are directives, which the FIT does not get.
const DIRECTIVE: &str = "fit,";

/// Directives of the root node.
const OF_ROOT: [&str; 7] = [
    "fit,external-offset",
    "fit,align",
    "fit,fdt-list",
    "fit,fdt-list-val",
    "fit,fdt-list-dir",
    "fit,sign",
    "fit,encrypt",
];

/// The device trees that generator nodes are for, as a source says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeList {
    /// Those that the caller names with an argument of this name (`fit,fdt-list`).
    Argument(String),
    /// Those of these names, without `.dtb` (`fit,fdt-list-val`).
    Names(Vec<String>),
    /// All of this folder (`fit,fdt-list-dir`).
    Folder(String),
    /// It does not say.
    Unsaid,
}

/// A device tree for the generator nodes: its name without `.dtb`, and its bytes.
pub(crate) type Tree<'t, 'a> = (&'t str, &'a [u8]);

/// What came of the generator nodes.
#[derive(Debug)]
pub(crate) struct Generated<'a> {
    pub(crate) root: Node<'a>,
    /// `fit,external-offset`: the data goes behind the tree; 0 is directly behind it.
    pub(crate) position: Option<u64>,
    /// `fit,align`.
    pub(crate) align: Option<Align>,
}

fn is_generator(node: &Node<'_>) -> bool {
    node.name.starts_with('@')
}

/// The list of a source that has generator nodes or directives; `None` for one that has none.
pub(crate) fn tree_list(root: &Node<'_>) -> Option<TreeList> {
    let has_directive = |node: &Node<'_>| node.properties.iter().any(|property| property.name.starts_with(DIRECTIVE));
    let groups = || root.children.iter();
    let has_generator = groups().any(|group| group.children.iter().any(is_generator));
    if !has_generator && !has_directive(root) {
        return None;
    }
    let strings = |name: &str| -> Option<Vec<String>> {
        let value = root.property(name)?.value.clone();
        let text = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(&value)).into_owned();
        Some(text.split('\0').map(str::to_owned).collect())
    };
    let first = |name: &str| strings(name)?.into_iter().next();
    let list = first("fit,fdt-list").map(TreeList::Argument);
    let list = list.or_else(|| first("fit,fdt-list-dir").map(TreeList::Folder));
    Some(list.or_else(|| strings("fit,fdt-list-val").map(TreeList::Names)).unwrap_or(TreeList::Unsaid))
}

/// Replaces the generator nodes of a tree, and takes the directives out. `trees`: the list, where there is one; `default`: the
/// name of the device tree that `DEFAULT-SEQ` and `DEFAULT-NAME` stand for.
pub(crate) fn generate<'a>(
    root: Node<'a>,
    trees: Option<&[Tree<'_, 'a>]>,
    default: Option<&str>,
) -> Result<Generated<'a>, Error> {
    let images = root.child("images").map(|images| images.children.as_slice()).unwrap_or_default();
    let images = images.iter().filter(|image| !is_generator(image)).map(|image| image.name.to_string()).collect();
    let number = |name: &str| -> Result<Option<u64>, Error> {
        let Some(property) = root.property(name) else { return Ok(None) };
        let cell = property.value.as_ref().try_into().ok().map(u32::from_be_bytes);
        let wrong = || fault("/", format!("{name} is not one cell"));
        cell.map(u64::from).map(Some).ok_or_else(wrong)
    };
    let position = number("fit,external-offset")?;
    let align = match number("fit,align")? {
        Some(align) => {
            let wrong = || fault("/", format!("fit,align: found {align}, wanted a power of two"));
            Some(Align::new(align).ok_or_else(wrong)?)
        }
        None => None,
    };
    let mut generator = Generator { trees, default, images, loadables: Vec::new() };
    Ok(Generated { root: generator.node(root, "")?, position, align })
}

fn fault(path: &str, why: impl Into<String>) -> Error {
    Error::Generator { path: path.to_owned(), why: why.into() }
}

struct Generator<'g, 'a> {
    trees: Option<&'g [Tree<'g, 'a>]>,
    default: Option<&'g str>,
    /// The images of the source that are no generators.
    images: Vec<String>,
    /// The nodes that were made of ELF files.
    loadables: Vec<String>,
}

impl<'a> Generator<'_, 'a> {
    /// A node that stays, and what is in it.
    fn node(&mut self, node: Node<'a>, path: &str) -> Result<Node<'a>, Error> {
        let here = if path.is_empty() { "/" } else { path };
        let mut made = Node::new(node.name);
        for property in node.properties {
            if property.name.starts_with(DIRECTIVE) {
                self.known(&property.name, here, if path.is_empty() { &OF_ROOT } else { &[] })?;
            } else if property.name == "default" && property.value.starts_with(b"@") {
                made.properties.extend(self.default(&property, here)?);
            } else {
                made.properties.push(property);
            }
        }
        for child in node.children {
            let below = format!("{path}/{}", child.name);
            match is_generator(&child) {
                true => made.children.extend(self.generated(&child, &below, path == "/images")?),
                false => made.children.push(self.node(child, &below)?),
            }
        }
        Ok(made)
    }

    /// A directive is one that is known here, or refused.
    fn known(&self, name: &str, path: &str, known: &[&str]) -> Result<(), Error> {
        match name {
            _ if known.contains(&name) => Ok(()),
            "fit,engine" | "fit,engine-keydir" => {
                Err(fault(path, format!("{name}: keys on tokens are named by `request.key`, not by the source")))
            }
            "fit,fdt-phase" => {
                Err(fault(path, format!("{name}: kimage does not thin device trees out; run fdtgrep before")))
            }
            _ => Err(fault(path, format!("{name} is no directive that is known here"))),
        }
    }

    /// The default configuration; none where there are no device trees.
    fn default(&self, property: &Property<'a>, path: &str) -> Result<Option<Property<'a>>, Error> {
        let Some(trees) = self.trees.filter(|trees| !trees.is_empty()) else { return Ok(None) };
        let Some(default) = self.default else {
            return Err(fault(
                path,
                "`default` names a generated node, and nobody says which device tree is the default",
            ));
        };
        let index = trees.iter().position(|(name, _)| *name == default);
        let index = index.or_else(|| {
            let base = default.rsplit('/').next()?;
            trees.iter().position(|(name, _)| *name == base)
        });
        let Some(index) = index else {
            let names: Vec<&str> = trees.iter().map(|(name, _)| *name).take(20).collect();
            return Err(fault(
                path,
                format!("the default device tree {default} is not in the list: {}", names.join(", ")),
            ));
        };
        let text = property.as_string().unwrap_or_default().trim_start_matches('@');
        let text = text.replace("DEFAULT-SEQ", &(index + 1).to_string()).replace("DEFAULT-NAME", default);
        Ok(Some(Property::string(property.name.clone(), &text)))
    }

    /// The nodes that a generator makes.
    fn generated(&mut self, template: &Node<'a>, path: &str, in_images: bool) -> Result<Vec<Node<'a>>, Error> {
        match template.property("fit,operation").map(|it| it.as_string().unwrap_or_default()) {
            None | Some("gen-fdt-nodes") => self.of_trees(template, path, in_images),
            Some("split-elf") => self.of_segments(template, path),
            Some(other) => Err(fault(path, format!("unknown operation {other:?}, wanted gen-fdt-nodes or split-elf"))),
        }
    }

    fn of_trees(&mut self, template: &Node<'a>, path: &str, in_images: bool) -> Result<Vec<Node<'a>>, Error> {
        let Some(trees) = self.trees else {
            return Err(fault(path, "generates nodes for device trees, and nobody says which"));
        };
        let known = ["fit,operation", "fit,firmware", "fit,loadables", "fit,compatible"];
        for property in template.properties.iter().filter(|property| property.name.starts_with(DIRECTIVE)) {
            self.known(&property.name, path, &known)?;
        }
        let (firmware, loadables) = self.firmware(template);
        let mut made = Vec::new();
        for (number, (name, bytes)) in (1_u64..).zip(trees) {
            let number = number.to_string();
            let title = template.name.trim_start_matches('@').replace("SEQ", &number).replace("NAME", name);
            let mut node = Node::new(title);
            for property in &template.properties {
                node.properties.extend(match &*property.name {
                    "fit,operation" => None,
                    "fit,firmware" => firmware.as_deref().map(|name| Property::string("firmware", name)),
                    "fit,loadables" if loadables.is_empty() => None,
                    "fit,loadables" => Some(Property::strings("loadables", loadables.iter().map(String::as_str))),
                    "fit,compatible" => Some(Property::bytes("compatible", compatible(bytes, name, path)?)),
                    _ => {
                        let value = replaced(property.value.clone(), b"NAME", name.as_bytes());
                        Some(Property::bytes(property.name.clone(), replaced(value, b"SEQ", number.as_bytes())))
                    }
                });
            }
            if in_images {
                node.properties.retain(|property| property.name != "data");
                node.properties.push(Property::bytes("data", *bytes));
            }
            node.children = self.children(template, path)?;
            made.push(node);
        }
        Ok(made)
    }

    /// The firmware of configurations, and their loadables: of what `fit,firmware` names the first that is there, and the others with
    /// what was made of ELF files.
    fn firmware(&self, template: &Node<'_>) -> (Option<String>, Vec<String>) {
        let Some(wanted) = template.property("fit,firmware") else { return (None, self.loadables.clone()) };
        let names = wanted.value.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
        let there = names.filter(|name| self.images.iter().chain(&self.loadables).any(|known| known == name));
        let mut found: Vec<String> = Vec::new();
        for name in there.map(str::to_owned).chain(self.loadables.iter().cloned()) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
        let has_first =
            found.first().is_some_and(|first| wanted.value.split(|byte| *byte == 0).any(|it| it == first.as_bytes()));
        let firmware = has_first.then(|| found.remove(0));
        (firmware, found)
    }

    fn of_segments(&mut self, template: &Node<'a>, path: &str) -> Result<Vec<Node<'a>>, Error> {
        let data =
            template.property("data").ok_or_else(|| fault(path, "has no data: the ELF file that is to be split"))?;
        let elf = Elf::parse(&data.value).map_err(|error| fault(path, format!("is to split an ELF file: {error}")))?;
        let address = |name: &'static str, value: u64| match u32::try_from(value) {
            Ok(value) => Property::u32(name, value),
            Err(_) => Property::u64(name, value),
        };
        let known = ["fit,operation", "fit,load", "fit,entry", "fit,data"];
        let mut made = Vec::new();
        for (index, segment) in elf.segments().iter().enumerate() {
            if segment.kind != PT_LOAD || segment.memsz == 0 {
                continue;
            }
            let cut = || fault(path, format!("segment {index} of the ELF file is not all there"));
            let contents: Cow<'a, [u8]> = match &data.value {
                Cow::Borrowed(bytes) => slice(bytes, segment.offset, segment.filesz).ok_or_else(cut)?.into(),
                Cow::Owned(bytes) => slice(bytes, segment.offset, segment.filesz).ok_or_else(cut)?.to_vec().into(),
            };
            let name = template.name.trim_start_matches('@').replace("SEQ", &(count64(index) + 1).to_string());
            self.loadables.push(name.clone());
            let mut node = Node::new(name);
            for property in &template.properties {
                node.properties.extend(match &*property.name {
                    "data" | "fit,operation" => None,
                    "fit,load" => Some(address("load", segment.paddr)),
                    "fit,entry" => (index == 0).then(|| address("entry", elf.entry())),
                    "fit,data" => Some(Property::bytes("data", contents.clone())),
                    name if name.starts_with(DIRECTIVE) => {
                        return Err(self.known(name, path, &known).err().unwrap_or_else(|| fault(path, name)));
                    }
                    _ => Some(property.clone()),
                });
            }
            node.children = self.children(template, path)?;
            made.push(node);
        }
        if made.is_empty() {
            return Err(fault(path, format!("the ELF file of {} bytes loads nothing", len64(&data.value))));
        }
        Ok(made)
    }

    /// The nodes in a generator, which each node gets as they are.
    fn children(&mut self, template: &Node<'a>, path: &str) -> Result<Vec<Node<'a>>, Error> {
        let each = |child: &Node<'a>| self.node(child.clone(), &format!("{path}/{}", child.name));
        template.children.iter().map(each).collect()
    }
}

/// `compatible` of the root of a device tree.
fn compatible<'a>(bytes: &'a [u8], name: &str, path: &str) -> Result<&'a [u8], Error> {
    let tree = Dtb::parse_at(bytes, 0).and_then(|dtb| dtb.tree());
    let tree = tree.map_err(|error| fault(path, format!("{name}.dtb is no device tree: {error}")))?;
    let property = tree.root().property("compatible").map(|property| property.value);
    property.ok_or_else(|| fault(path, format!("the root of {name}.dtb has no `compatible`")))
}

/// Every `from` in `value` as `to`.
fn replaced<'a>(value: Cow<'a, [u8]>, from: &[u8], to: &[u8]) -> Cow<'a, [u8]> {
    let mut places = memchr::memmem::find_iter(&value, from).peekable();
    if places.peek().is_none() {
        return value;
    }
    let (mut out, mut start) = (Vec::new(), 0);
    for at in places {
        out.extend_from_slice(value.get(start..at).unwrap_or(&[]));
        out.extend_from_slice(to);
        start = at + from.len();
    }
    out.extend_from_slice(value.get(start..).unwrap_or(&[]));
    out.into()
}
