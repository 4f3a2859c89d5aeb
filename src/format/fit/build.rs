//! A tree with its data to a FIT, as `mkimage -f` makes it.

use super::edits::{Edits, Place};
use super::{Algorithm, FitLayout, cut};
use crate::bytes::{Align, len64};
use crate::finding::{Finding, Severity};
use crate::format::fdt::{self, FDT_MAGIC, Flat, Node, PROPERTY_HEADER, Property, Reservation, Strings};
use crate::format::zimage::ZImage;
use crate::layout::{self, Plan, Reserver};
use miette::Diagnostic;
use std::borrow::Cow;
use std::collections::HashMap;

/// What signing a configuration adds to its node (tools/image-host.c, `fit_config_process_sig`).
const SIGNED_PROPERTIES: [&str; 6] =
    ["value", "signer-name", "signer-version", "timestamp", "hashed-nodes", "hashed-strings"];

/// What becomes of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Creation time in seconds since 1970.
    pub time: u32,
    /// Put the images' data behind the tree (`-E`).
    pub external: Option<External>,
    /// Nodes that ask for a signature stay without value; one that has a value loses it when it does not hold any more.
    pub unsigned: bool,
    /// Whose bytes these are to be.
    pub layout: FitLayout,
}

/// Where external data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct External {
    /// Each image, and the end of the tree, is aligned so (`-B`); as the [`FitLayout`] has it when it is `None`.
    pub align: Option<Align>,
    /// The file offset of the first image (`-p`); directly behind the tree when it is `None`.
    pub position: Option<u64>,
}

/// The tree does not make a FIT.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// It describes no images.
    #[error("the tree has no node /images")]
    #[diagnostic(help("a FIT has nodes /images and /configurations"))]
    NoImages,
    /// An image without data.
    #[error("{path} has no data")]
    #[diagnostic(help("name the file: data = /incbin/(\"FILE\");"))]
    NoData {
        /// Its node.
        path: String,
    },
    /// A hash whose algorithm is not said, or that kimage does not know.
    #[error("{path}: {}", match .algo { Some(algo) => format!("unknown algorithm {algo:?}"), None => "no algo".to_owned() })]
    #[diagnostic(help("say algo = \"sha256\"; known are {}", Algorithm::ALL.map(Algorithm::name).join(", ")))]
    Algorithm {
        /// Its node.
        path: String,
        /// The algorithm.
        algo: Option<String>,
    },
    /// A node asks for something that kimage does not make, and the image must not go without.
    #[error("{path} {what}")]
    #[diagnostic(forward(what))]
    Unfilled {
        /// The node.
        path: String,
        /// What it asks for.
        what: Unfilled,
    },
    /// The data was to begin inside of the tree.
    #[error("external data is to begin at {position:#x}, but the tree has {tree:#x} bytes")]
    #[diagnostic(help("change `request.position` to {:#x} or more", tree.next_multiple_of(4096)))]
    Position {
        /// Where the data was to begin.
        position: u64,
        /// Bytes of the tree.
        tree: u64,
    },
    /// The tree cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tree(#[from] fdt::Error),
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// What a node can ask for that kimage does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Unfilled {
    /// `signature`: of an image or a configuration.
    #[error("asks for a signature: kimage does not sign")]
    #[diagnostic(help(
        "make it without for now (`request.unsigned`) and sign it afterwards: mkimage -F -k KEYS FILE; or take the node out"
    ))]
    Signature,
    /// `signature` of a configuration that was signed: time and hashes of the tree are signed too.
    #[error("was signed, and that signature does not hold for the tree that is made anew: kimage does not sign")]
    #[diagnostic(help(
        "take the signature away (`request.unsigned`) and sign it again: mkimage -F -k KEYS FILE; or use the signed file as it is"
    ))]
    StaleSignature,
    /// `cipher`: the data encrypted.
    #[error("asks for the data to be encrypted: kimage does not encrypt, and the data would stand there in plain text")]
    #[diagnostic(help("take the node out, or make it with mkimage -f SOURCE -k KEYS"))]
    Cipher,
    /// `dm-verity`: a hash tree behind the data.
    #[error("asks for a hash tree (dm-verity): kimage makes none")]
    #[diagnostic(help("take the node out, or make it with mkimage 2026.10 or newer"))]
    Verity,
}

/// What was planned.
#[derive(Debug)]
pub struct Built<'a> {
    /// The file.
    pub plan: Plan<'a>,
    /// The tree as it is written.
    pub root: Node<'a>,
    /// What is worth knowing about it.
    pub findings: Vec<Finding>,
}

/// Plans the FIT of `root`: adds the time, computes every hash, and moves the data out if wished.
///
/// The bytes are those of mkimage, which has dtc compile the tree and then edits it in place: where a property is
/// new it comes first in its node, new names come last among the strings, the file has the space that mkimage makes for
/// both, and what an edit left behind stays where mkimage leaves it.
///
/// # Errors
/// [`Error`] names the node.
pub fn plan<'a>(mut root: Node<'a>, reservations: &[Reservation], options: &Options) -> Result<Built<'a>, Error> {
    let mut strings = Strings::default();
    let layout = options.layout;
    let compiled = Compiled::new(&root, &mut strings, reservations)?;
    let mut filling = Edits::new(compiled.blob.len());

    let time = Property::u32("timestamp", options.time);
    compiled.fill(&mut filling, &mut strings, (&[""], &mut root), time)?;
    let mut findings = Vec::new();
    let images = root.child_mut("images").ok_or(Error::NoImages)?;
    for image in &mut images.children {
        let path = format!("/images/{}", image.name);
        let data = image.property("data").map(|data| data.value.clone());
        let data = data.ok_or_else(|| Error::NoData { path: path.clone() })?;
        for child in &mut image.children {
            if child.name.starts_with("hash") {
                let value = hash(child, &data).map_err(|algo| {
                    let path = format!("{path}/{}", child.name);
                    Error::Algorithm { path, algo }
                })?;
                let path = ["", "images", &image.name, &child.name.clone()];
                let value = Property::bytes("value", value);
                compiled.fill(&mut filling, &mut strings, (&path, child), value)?;
            }
        }
    }
    let total = layout.room(compiled.blob.len(), filling.most(), &root);
    findings.extend(unfilled(&mut root, options.unsigned)?);
    let boot_cpu = boot_cpu(&root);
    let flat = Flat::new(&root, strings.clone())?.with_reservations(reservations)?.with_boot_cpu(boot_cpu);
    // Values that were longer before leave what stood at the end.
    let filled = flat.plan_over(total, filling.left_over(flat.size()..total, &compiled.blob))?;

    let Some(external) = options.external else {
        let mut data = Vec::new();
        flat.each_property(&mut |path, property, at| {
            if let ([_, "images", image], "data") = (path, &*property.name) {
                let start = at.start + PROPERTY_HEADER;
                data.push((format!("images/{image}"), start..start + len64(&property.value)));
            }
        });
        data.retain(|(_, at)| !at.is_empty());
        let regions = cut(filled.regions(), &data, filled.len());
        let mut out = Reserver::new();
        out.append(&filled)?;
        return Ok(Built { plan: out.finish_with(regions), root, findings });
    };
    // What mkimage's edits leave in the free space comes from the tree with its data in it.
    let mut edits = Edits::new(flat.size());
    let mut places = places(&flat, |path| matches!(path, ["", "images", _]));
    drop(flat);
    let mut data: Vec<(String, Cow<'a, [u8]>, u64)> = Vec::new();
    // Where the image before begins, its length, and the alignment of the last.
    let (mut at, mut len, mut align) = (0_u64, 0, external.align.unwrap_or(Align::ONE));
    let too_large = || fdt::Error::TooLarge { size: u64::MAX };
    let images = root.child_mut("images").ok_or(Error::NoImages)?;
    for image in &mut images.children {
        // The alignment is that of the distance from the image before: mkimage 2026.04 puts a tree behind an odd number of words
        // at such a place.
        align = external.align.or(Align::new(layout.alignment(image))).unwrap_or(Align::ONE);
        let Some(index) = image.properties.iter().position(|property| property.name == "data") else { continue };
        at = align.up(len).and_then(|len| at.checked_add(len)).ok_or_else(too_large)?;
        let bytes = image.properties.remove(index).value;
        len = len64(&bytes);
        let narrow = |value: u64| u32::try_from(value).map_err(|_| fdt::Error::TooLarge { size: value });
        let (name, offset) = match external.position {
            Some(position) => ("data-position", position.saturating_add(at)),
            None => ("data-offset", at),
        };
        let before = places.remove(&key(&["", "images", &image.name])).unwrap_or_default();
        let mut place = before.clone();
        edits.delete(&mut place, "data");
        for (name, value) in [(name, narrow(offset)?), ("data-size", narrow(len)?)] {
            let names = strings.bytes().len();
            let name_at = strings.insert(name)?;
            let property = Property::u32(name, value);
            edits.set(&mut place, &property, name_at, strings.bytes().len() > names);
            image.set(property);
        }
        edits.done(&place, &before);
        data.push((format!("images/{}", image.name), bytes, at));
    }
    at = align.up(len).and_then(|len| at.checked_add(len)).ok_or_else(too_large)?;
    let flat = Flat::new(&root, strings)?.with_reservations(reservations)?.with_boot_cpu(boot_cpu);
    let tree_len = align.up(flat.size()).unwrap_or(flat.size());
    let left_over = match layout.leaves_old_bytes() {
        true => edits.left_over(flat.size()..tree_len, &filled),
        false => Vec::new(),
    };
    let blob = flat.plan_over(tree_len, left_over)?;
    let start = external.position.unwrap_or(tree_len);
    if start < tree_len {
        return Err(Error::Position { position: start, tree: tree_len });
    }
    let mut out = Reserver::new();
    out.append(&blob)?;
    // Without a byte of data mkimage writes none, and the file ends with the tree.
    let last = if at > 0 { start.saturating_add(at) } else { tree_len };
    for (_, bytes, offset) in data.iter().filter(|_| at > 0) {
        out.fill_to("the tree", start.saturating_add(*offset), 0)?;
        out.bytes(bytes.clone())?;
    }
    out.fill_to("the tree", last, 0)?;
    findings.extend(data.windows(2).filter_map(taken_for_appended));
    let ranges = data.iter().map(|(name, bytes, offset)| (name.clone(), start + offset..start + offset + len64(bytes)));
    let ranges = ranges.filter(|(_, at)| !at.is_empty()).collect::<Vec<_>>();
    let regions = cut(blob.regions(), &ranges, out.at());
    Ok(Built { plan: out.finish_with(regions), root, findings })
}

/// The tree as dtc makes it, before mkimage fills anything in.
struct Compiled<'a> {
    blob: Plan<'a>,
    places: HashMap<String, Place>,
}

impl<'a> Compiled<'a> {
    fn new(root: &Node<'a>, strings: &mut Strings, reservations: &[Reservation]) -> Result<Self, Error> {
        strings.insert_all(root)?;
        let flat = Flat::new(root, strings.clone())?.with_reservations(reservations)?;
        let mut places = places(&flat, |path| match path {
            [_] => true,
            ["", "images", _, child] => child.starts_with("hash"),
            _ => false,
        });
        places.entry(key(&[""])).or_insert_with(|| Place::empty(flat.root_properties_at()));
        Ok(Compiled { blob: flat.plan(0)?, places })
    }

    /// Sets a property of `node`, whose path is `path`, and keeps track of what that moves.
    fn fill(
        &self,
        edits: &mut Edits,
        strings: &mut Strings,
        (path, node): (&[&str], &mut Node<'a>),
        mut property: Property<'a>,
    ) -> Result<(), Error> {
        let before = self.places.get(&key(path)).cloned().unwrap_or_default();
        // What was behind the value's place stays there. No edit came that far yet.
        let end = before.value_at(&property.name).saturating_add(len64(&property.value));
        if end % 4 != 0 {
            property.set_padding(&self.blob.bytes_at(end..end.next_multiple_of(4)));
        }
        let names = strings.bytes().len();
        let name_at = strings.insert(&property.name)?;
        let mut place = before.clone();
        edits.set(&mut place, &property, name_at, strings.bytes().len() > names);
        edits.done(&place, &before);
        node.set(property);
        Ok(())
    }
}

/// A node in a table of nodes.
fn key(path: &[&str]) -> String {
    path.join("/")
}

/// Where the properties of the nodes are whose path `wanted` takes, and that have any.
fn places(flat: &Flat<'_, '_>, wanted: impl Fn(&[&str]) -> bool) -> HashMap<String, Place> {
    let mut places: HashMap<String, Place> = HashMap::new();
    flat.each_property(&mut |path, property, at| {
        if wanted(path) {
            let place = places.entry(key(path)).or_insert_with(|| Place::empty(at.start));
            place.properties.push((property.name.to_string(), at.end - at.start));
        }
    });
    places
}

/// The hash that a node asks for; the error is its algorithm.
fn hash(node: &Node<'_>, data: &[u8]) -> Result<Vec<u8>, Option<String>> {
    let Some(algo) = node.property("algo") else { return Err(None) };
    let name = algo.as_string().unwrap_or_default();
    Algorithm::from_name(name).map(|algorithm| algorithm.hash(data)).ok_or_else(|| Some(name.to_owned()))
}

/// The `reg` of the first CPU, which dtc takes for the one that boots.
fn boot_cpu(root: &Node<'_>) -> u32 {
    let reg = root.child("cpus").and_then(|cpus| cpus.children.first()).and_then(|cpu| cpu.property("reg"));
    reg.and_then(|reg| reg.value.as_ref().try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// An ARM kernel whose decompressor looks for a device tree behind itself (CONFIG_ARM_APPENDED_DTB) takes what stands there,
/// whatever the configuration says: seen on U-Boot 2023.01 with a kernel that runs where it lies.
fn taken_for_appended(pair: &[(String, Cow<'_, [u8]>, u64)]) -> Option<Finding> {
    let [(kernel, bytes, at), (tree, next, start)] = pair else { return None };
    let magic = FDT_MAGIC.to_be_bytes();
    let looks = || [magic, FDT_MAGIC.to_le_bytes()].iter().any(|word| memchr::memmem::find(bytes, word).is_some());
    let adjacent = at.saturating_add(len64(bytes)) == *start && next.starts_with(&magic);
    if !adjacent || !ZImage::detect(bytes) || !looks() {
        return None;
    }
    let message = format!("{tree} stands directly behind {kernel}, which takes it for a device tree appended to it");
    Some(super::rules::APPENDED_DTB.finding(message))
}

/// Nodes that ask for signatures, ciphers and hash trees: kimage holds no keys.
///
/// The signature of an image signs its data alone, which stays as it is; that of a configuration signs nodes with their hashes, and the
/// root with its time.
fn unfilled(root: &mut Node<'_>, unsigned: bool) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for group in ["images", "configurations"] {
        for node in root.child_mut(group).into_iter().flat_map(|group| &mut group.children) {
            let name = node.name.clone();
            for child in &mut node.children {
                let path = format!("/{group}/{name}/{}", child.name);
                let fail = |what| Err(Error::Unfilled { path: path.clone(), what });
                let sign = "sign it afterwards: mkimage -F -k KEYS FILE";
                let mut say = |severity, message: String, help: &'static str| {
                    findings.push(super::rules::SIGNATURE.finding(message).with_severity(severity).with_help(help));
                };
                let has = |name: &str| child.property(name).is_some();
                if child.name.starts_with("signature") {
                    match (has("value"), group) {
                        (true, "images") => {
                            say(
                                Severity::Warning,
                                format!("{path}: the signature is kept, for the data is the same; it was not checked"),
                                "",
                            );
                        }
                        (true, _) if unsigned => {
                            child.properties.retain(|it| !SIGNED_PROPERTIES.contains(&&*it.name));
                            say(Severity::Warning, format!("{path}: the old signature is gone"), sign);
                        }
                        (true, _) => return fail(Unfilled::StaleSignature),
                        (false, _) if unsigned => {
                            say(Severity::Note, format!("{path} is left without value (`request.unsigned`)"), sign)
                        }
                        (false, _) => return fail(Unfilled::Signature),
                    }
                } else if group == "images" && child.name.starts_with("cipher") {
                    return fail(Unfilled::Cipher);
                } else if group == "images" && &*child.name == "dm-verity" && !has("digest") {
                    return fail(Unfilled::Verity);
                }
            }
        }
    }
    Ok(findings)
}
