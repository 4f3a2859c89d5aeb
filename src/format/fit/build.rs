//! A tree with its data to a FIT, as `mkimage -f` makes it.

use super::edits::{Edits, Place};
use super::{Algorithm, cut};
use crate::bytes::{Align, len64};
use crate::finding::{Finding, Severity};
use crate::format::fdt::{self, FDT_MAGIC, Flat, Node, PROPERTY_HEADER, Property, Reservation, Strings};
use crate::format::zimage::ZImage;
use crate::layout::{self, Plan, Reserver};
use std::borrow::Cow;
use std::collections::HashMap;

/// By how much mkimage enlarges the tree, which it has packed first, until time and hashes fit into it (tools/fit_image.c).
const STEP: u64 = 1024;

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
}

/// Where external data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External {
    /// Each image, and the end of the tree, is aligned so (`-B`).
    pub align: Align,
    /// The file offset of the first image (`-p`); directly behind the tree when it is `None`.
    pub position: Option<u64>,
}

impl Default for External {
    /// As mkimage: aligned to 4, behind the tree.
    fn default() -> Self {
        External { align: Align::new(4).unwrap_or(Align::ONE), position: None }
    }
}

/// The tree does not make a FIT.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It describes no images.
    #[error("the tree has no node /images")]
    NoImages,
    /// An image without data.
    #[error("{path} has no data")]
    NoData {
        /// Its node.
        path: String,
    },
    /// A hash whose algorithm is not said, or that kimage does not know.
    #[error("{path}: {}", match .algo { Some(algo) => format!("unknown algorithm {algo:?}"), None => "no algo".to_owned() })]
    Algorithm {
        /// Its node.
        path: String,
        /// The algorithm.
        algo: Option<String>,
    },
    /// A node asks for something that kimage does not make, and the image must not go without.
    #[error("{path} {}", .what.message())]
    Unfilled {
        /// The node.
        path: String,
        /// What it asks for.
        what: Unfilled,
    },
    /// The data was to begin inside of the tree.
    #[error("external data is to begin at {position:#x}, but the tree has {tree:#x} bytes")]
    Position {
        /// Where the data was to begin.
        position: u64,
        /// Bytes of the tree.
        tree: u64,
    },
    /// The tree cannot be written.
    #[error(transparent)]
    Tree(#[from] fdt::Error),
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// What a node can ask for that kimage does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfilled {
    /// `signature`: of an image or a configuration.
    Signature,
    /// `signature` of a configuration that was signed: time and hashes of the tree are signed too.
    StaleSignature,
    /// `cipher`: the data encrypted.
    Cipher,
    /// `dm-verity`: a hash tree behind the data.
    Verity,
}

impl Unfilled {
    fn message(self) -> &'static str {
        match self {
            Unfilled::Signature => "asks for a signature: kimage does not sign",
            Unfilled::StaleSignature => {
                "was signed, and that signature does not hold for the tree that is made anew: kimage does not sign"
            }
            Unfilled::Cipher => {
                "asks for the data to be encrypted: kimage does not encrypt, and the data would stand there in plain text"
            }
            Unfilled::Verity => "asks for a hash tree (dm-verity): kimage makes none",
        }
    }
}

impl Error {
    /// What to do next; empty when the message says it all.
    pub fn help(&self) -> Cow<'static, str> {
        match self {
            Error::NoImages => "a FIT has nodes /images and /configurations".into(),
            Error::NoData { .. } => "name the file: data = /incbin/(\"FILE\");".into(),
            Error::Algorithm { .. } => {
                let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
                format!("say algo = \"sha256\"; known are {}", names.join(", ")).into()
            }
            Error::Unfilled { what, .. } => match what {
                Unfilled::Signature => {
                    "make it without for now (--unsigned) and sign it afterwards: mkimage -F -k KEYS FILE; or take the node out"
                }
                Unfilled::StaleSignature => {
                    "take the signature away (--unsigned) and sign it again: mkimage -F -k KEYS FILE; or use the signed file as it is"
                }
                Unfilled::Cipher => "take the node out, or make it with mkimage -f SOURCE -k KEYS",
                Unfilled::Verity => "take the node out, or make it with mkimage 2026.10 or newer",
            }
            .into(),
            Error::Position { tree, .. } => format!("change -p to {:#x} or more", tree.next_multiple_of(4096)).into(),
            Error::Tree(error) => error.help(),
            Error::Layout(_) => "".into(),
        }
    }
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
/// The bytes are those of mkimage 2023.01, which has dtc compile the tree and then edits it in place: where a property is
/// new it comes first in its node, new names come last among the strings, and the file has the
/// space that mkimage makes for both.
///
/// # Errors
/// [`Error`] names the node.
pub fn plan<'a>(mut root: Node<'a>, reservations: &[Reservation], options: &Options) -> Result<Built<'a>, Error> {
    let mut strings = Strings::default();
    strings.insert_all(&root)?;
    let compiled = Flat::new(&root, strings.clone())?.with_reservations(reservations)?.len();

    strings.insert("timestamp")?;
    root.set(Property::u32("timestamp", options.time));
    let mut findings = Vec::new();
    let images = root.child_mut("images").ok_or(Error::NoImages)?;
    for image in &mut images.children {
        let path = format!("/images/{}", image.name);
        let data = image.property("data").map(|data| data.value.clone());
        let data = data.ok_or_else(|| Error::NoData { path: path.clone() })?;
        for child in &mut image.children {
            if child.name.starts_with("hash") {
                strings.insert("value")?;
                let value = hash(child, &data).map_err(|algo| {
                    let path = format!("{path}/{}", child.name);
                    Error::Algorithm { path, algo }
                })?;
                child.set(Property::bytes("value", value));
            }
        }
    }
    findings.extend(unfilled(&mut root, options.unsigned)?);
    let boot_cpu = boot_cpu(&root);
    let needed = Flat::new(&root, strings.clone())?.with_reservations(reservations)?.len();
    let total = compiled + needed.saturating_sub(compiled).next_multiple_of(STEP);

    let Some(external) = options.external else {
        let flat = Flat::new(&root, strings)?.with_reservations(reservations)?.with_boot_cpu(boot_cpu);
        let blob = flat.plan(total)?;
        let mut data = Vec::new();
        flat.each_property(&mut |path, property, at| {
            if let ([_, "images", image], "data") = (path, &*property.name) {
                let start = at.start + PROPERTY_HEADER;
                data.push((format!("images/{image}"), start..start + len64(&property.value)));
            }
        });
        data.retain(|(_, at)| !at.is_empty());
        let regions = cut(blob.regions(), &data, blob.len());
        let mut out = Reserver::new();
        out.append(&blob)?;
        return Ok(Built { plan: out.finish_with(regions), root, findings });
    };

    // mkimage packs the data in first; what it leaves in the free space comes from there.
    let flat = Flat::new(&root, strings.clone())?.with_reservations(reservations)?;
    let packed = flat.plan(total)?;
    let mut edits = Edits::new(flat.len());
    let mut places: HashMap<String, Place> = HashMap::new();
    flat.each_property(&mut |path, property, at| {
        let name = &*property.name;
        if let ["", "images", image] = path {
            let place =
                places.entry((*image).to_owned()).or_insert_with(|| Place { first: at.start, properties: Vec::new() });
            place.properties.push((name.to_owned(), at.end - at.start));
        }
    });
    drop(flat);
    let mut data: Vec<(String, Cow<'a, [u8]>, u64)> = Vec::new();
    let mut at = 0;
    let images = root.child_mut("images").ok_or(Error::NoImages)?;
    for image in &mut images.children {
        let Some(index) = image.properties.iter().position(|property| property.name == "data") else { continue };
        let bytes = image.properties.remove(index).value;
        let len = len64(&bytes);
        let narrow = |value: u64| u32::try_from(value).map_err(|_| fdt::Error::TooLarge { size: value });
        let (name, offset) = match external.position {
            Some(position) => ("data-position", position.saturating_add(at)),
            None => ("data-offset", at),
        };
        let before = places.remove(&*image.name).unwrap_or_default();
        let mut place = before.clone();
        edits.delete(&mut place, "data");
        for (name, value) in [(name, narrow(offset)?), ("data-size", narrow(len)?)] {
            let names = strings.bytes().len();
            let name_at = strings.insert(name)?;
            edits.set(&mut place, name, name_at, strings.bytes().len() > names, value);
            image.set(Property::u32(name, value));
        }
        edits.done(&place, &before);
        data.push((format!("images/{}", image.name), bytes, at));
        let too_large = || fdt::Error::TooLarge { size: u64::MAX };
        at = external.align.up(at.saturating_add(len)).ok_or_else(too_large)?;
    }
    let flat = Flat::new(&root, strings)?.with_reservations(reservations)?.with_boot_cpu(boot_cpu);
    let tree_len = external.align.up(flat.len()).unwrap_or(flat.len());
    let blob = flat.plan_over(tree_len, edits.left_over(flat.len()..tree_len, &packed))?;
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
    let help = "put the device trees before the kernel, or apart from it: -B 1000";
    Some(Finding::new("fit.appended-dtb", Severity::Warning, message).with_help(help))
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
                    findings.push(Finding::new(super::UNCHECKED_SIGNATURE, severity, message).with_help(help));
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
                            say(Severity::Note, format!("{path} is left without value (--unsigned)"), sign)
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
