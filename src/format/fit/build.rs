//! A tree with its data to a FIT, as `mkimage -f` makes it.

use super::cipher::{self, CIPHER, ControlCipher, PLAIN_SIZE};
use super::control::{self, Control, Entry};
use super::edits::{Edits, Place};
use super::layout::{STEP, is_tree};
use super::signature::{self, SIGNATURE, Signed, Signing};
use super::verity::{self, Fault, VERITY};
use super::{Algorithm, Fit, FitLayout, Placement, cut};
use crate::bytes::{Align, FieldError, len64, slice};
use crate::finding::{Finding, Severity};
use crate::format::fdt::{self, Dtb, FDT_MAGIC, Flat, Node, PROPERTY_HEADER, Property, Reservation, Strings};
use crate::format::zimage::ZImage;
use crate::layout::{self, Plan, Reserver};
use crate::sign;
use miette::Diagnostic;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};

/// What signing a configuration adds to its node (tools/image-host.c, `fit_config_process_sig`).
const SIGNED_PROPERTIES: [&str; 6] =
    ["value", "signer-name", "signer-version", "timestamp", "hashed-nodes", "hashed-strings"];

/// What becomes of the tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'k> {
    /// Creation time in seconds since 1970.
    pub time: u32,
    /// Put the images' data behind the tree (`-E`).
    pub external: Option<External>,
    /// Nodes that ask for a signature stay without value; one that has a value loses it when it does not hold any more.
    pub unsigned: bool,
    /// Whose bytes these are to be.
    pub layout: FitLayout,
    /// Encrypt, and fill in the signatures unless they stay empty.
    pub signing: Option<Signing<'k>>,
}

/// Where external data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct External {
    /// Each image, and the end of the tree, is aligned so (`-B`); as the [`FitLayout`] has it when it is `None`.
    pub align: Option<Align>,
    /// Each device tree is aligned so, whatever stands before it.
    pub fdt_align: Option<Align>,
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
    /// A generator node that generates nothing.
    #[error("{path}: {why}")]
    #[diagnostic(help(
        "give the folder of the device trees (`request.fdt_dir` DIR), their names (`request.entry_arg` of-list=\"NAME NAME\") where the source \
         wants them, and the default one (`request.entry_arg` default-dt=NAME)"
    ))]
    Generator {
        /// The node.
        path: String,
        /// Why.
        why: String,
    },
    /// A hash tree that cannot be made, or that is none of the data.
    #[error("{path}: {why}")]
    #[diagnostic(help(
        "say algo = \"sha256\"; data-block-size = <4096>; hash-block-size = <4096>; and fill the data up to a multiple of both (truncate -s \
         %4096 FILE); of data that has its tree already, give all properties of mkimage, else none but these and salt"
    ))]
    Verity {
        /// Its node.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A signature that cannot be made.
    #[error("{path}: {source}")]
    #[diagnostic(forward(source))]
    Sign {
        /// Its node.
        path: String,
        /// Why.
        source: sign::Error,
    },
    /// No node asks for a signature.
    #[error("no node asks for a signature")]
    #[diagnostic(help(
        "add to each configuration of the source: signature-1 {{ algo = \"sha256,rsa2048\"; key-name-hint = \"NAME\"; sign-images = ...; }};"
    ))]
    NothingToSign,
    /// What a signature is to cover.
    #[error("{path} {why}")]
    #[diagnostic(help("correct the source: a signature covers the images that `sign-images` names, by their hashes"))]
    Coverage {
        /// Its node.
        path: String,
        /// What it lacks.
        why: String,
    },
    /// The control device tree.
    #[error("the control device tree: {0}")]
    #[diagnostic(help("give the .dtb that U-Boot is built with"))]
    Control(FieldError),
    /// The data was to begin inside of the tree.
    #[error("external data is to begin at {position:#x}, but the tree has {tree:#x} bytes")]
    #[diagnostic(help("change `request.position` to {:#x} or more", tree.next_multiple_of(4096)))]
    Position {
        /// Where the data was to begin.
        position: u64,
        /// Bytes of the tree.
        tree: u64,
    },
    /// Where the data begins is not aligned as the device trees in it are to be.
    #[error(
        "external data is to begin at {position:#x}, which is no multiple of {align:#x}, as the device trees are to be aligned"
    )]
    #[diagnostic(help("change `request.position` to a multiple, or `request.fdt_align`"))]
    PositionAlign {
        /// Where the data was to begin.
        position: u64,
        /// The alignment in bytes.
        align: u64,
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
    #[error("asks for a signature, and there is no key")]
    #[diagnostic(help(
        "give the keys (`request.keys` DIR), or make it without for now (`request.unsigned`) and sign it afterwards: kimage sign FILE \
         `request.keys` DIR; or take the node out"
    ))]
    Signature,
    /// `signature` of a configuration that was signed: time and hashes of the tree are signed too.
    #[error("was signed, and that signature does not hold for the tree that is made anew")]
    #[diagnostic(help(
        "sign it again with the keys (`request.keys` DIR), or take the signature away for now (`request.unsigned`); or use the signed \
         file as it is"
    ))]
    StaleSignature,
    /// `cipher`: the data encrypted.
    #[error("asks for the data to be encrypted, and there is no key: the data would stand there in plain text")]
    #[diagnostic(help("give the folder with the keys (`request.keys` DIR), or take the node out"))]
    Cipher,
    /// `dm-verity`: a hash tree behind the data.
    #[error("asks for a hash tree (dm-verity), which stands behind the data of an image, outside of the tree of nodes")]
    #[diagnostic(help("put the data behind the tree of nodes (`request.external`), or take the node out"))]
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
    /// The nodes that were signed, or whose images were encrypted: node, key and algorithm of each.
    pub signed: Vec<[String; 3]>,
    /// The control device tree with the public keys in it.
    pub control: Option<Vec<u8>>,
}

/// Plans the FIT of `root`: adds the time, computes every hash, signs, and moves the data out if wished.
///
/// The bytes are those of mkimage, which has dtc compile the tree and then edits it in place: where a property is
/// new it comes first in its node, new names come last among the strings, the file has the space that mkimage makes for
/// all, and what an edit left behind stays where mkimage leaves it. Each node is signed once, as the last thing that happens to
/// it, where mkimage signs whenever it tries how much space it needs.
///
/// # Errors
/// [`Error`] names the node.
pub fn plan<'a>(root: Node<'a>, reservations: &[Reservation], options: &Options<'_>) -> Result<Built<'a>, Error> {
    first(root, Strings::default(), reservations, options, None)
}

/// The same for a tree that mkimage writes itself instead of dtc (`-f auto`).
///
/// # Errors
/// As [`plan`].
pub fn plan_written<'a>(root: Node<'a>, options: &Options<'_>) -> Result<Built<'a>, Error> {
    let strings = Strings::written(&root)?;
    first(root, strings, &[], options, Some(options.layout.written_for()))
}

fn first<'a>(
    mut root: Node<'a>,
    mut strings: Strings,
    reservations: &[Reservation],
    options: &Options<'_>,
    compatible: Option<u32>,
) -> Result<Built<'a>, Error> {
    let compiled = Compiled { compatible, ..Compiled::new(&root, &mut strings, reservations, &[])? };
    let mut filling = Edits::new(compiled.size);
    let time = Property::u32("timestamp", options.time);
    compiled.fill(&mut filling, &mut strings, (&[""], &mut root), [time])?;
    filled(root, reservations, options, compiled, (strings, filling), false)
}

/// The same for a FIT that is there already, as `mkimage -F` does it: external data is taken in, hashes and signatures are
/// made anew, and the time of the whole stays, unless it is `touch`ed (`-t`). Without keys the signatures stay as they are.
///
/// # Errors
/// [`Error`] names the node.
pub fn plan_again<'a>(
    fit: &Fit<'a>,
    reservations: &[Reservation],
    options: &Options<'_>,
    touch: bool,
) -> Result<Built<'a>, Error> {
    let (dtb, mut root) = (fit.dtb(), Node::verbatim(fit.tree().root()));
    let mut strings = Strings::of(dtb);
    let blob = dtb.bytes();
    let compiled = Compiled::new(&root, &mut strings, reservations, blob)?;
    let mut taking_in = Edits::new(compiled.size);
    let external = |image: &super::Image<'_, 'a>| !matches!(image.placement(), Ok(Some(Placement::Embedded(_)) | None));
    let data = fit.images().map(|image| image.data().filter(|_| external(&image)));
    let images = root.child_mut("images").into_iter().flat_map(|images| &mut images.children);
    for (image, data) in images.zip(data) {
        let Some(data) = data else { continue };
        let before = compiled.places.next(&["", "images", &image.name]);
        let mut place = before.clone();
        let mut property = Property::bytes("data", data);
        taking_in.set(&mut place, &mut property, &mut strings, &compiled.blob)?;
        image.set(property);
        for name in options.layout.forgotten_places() {
            taking_in.delete(&mut place, name);
            image.properties.retain(|it| it.name != **name);
        }
        taking_in.done(&place, &before);
    }
    let compatible = Some(dtb.compatible());
    let compiled = Compiled { compatible, ..Compiled::new(&root, &mut strings, reservations, &[])? };
    let mut filling = Edits::new(compiled.size);
    let time = touch.then(|| Property::u32("timestamp", options.time));
    compiled.fill(&mut filling, &mut strings, (&[""], &mut root), time)?;
    let mut built = filled(root, reservations, options, compiled, (strings, filling), true)?;
    if options.signing.is_none() {
        let nodes = built.root.children.iter().flat_map(|group| &group.children).flat_map(|node| &node.children);
        let kept = nodes.filter(|node| node.name.starts_with(SIGNATURE) && node.property("value").is_some()).count();
        let finding = super::rules::SIGNATURE.finding(format!("{kept} signatures are kept as they were, unchecked"));
        let help = "kimage verify FILE `request.control_dtb` DTB tells whether they hold";
        built.findings.extend((kept > 0).then(|| finding.with_severity(Severity::Warning).with_help(help)));
    }
    Ok(built)
}

/// Fills in hashes and signatures, and moves the data out. `again`: signatures that are there stay where there are no keys.
fn filled<'a>(
    mut root: Node<'a>,
    reservations: &[Reservation],
    options: &Options<'_>,
    compiled: Compiled<'a>,
    (mut strings, mut filling): (Strings, Edits),
    again: bool,
) -> Result<Built<'a>, Error> {
    let layout = options.layout;
    let mut findings = Vec::new();
    let mut keys = Vec::new();
    let images = root.child_mut("images").ok_or(Error::NoImages)?;
    let signing = options.signing.filter(|_| !options.unsigned);
    if let Some(signing) = options.signing {
        for image in images.children.iter_mut().filter(|image| image.property(PLAIN_SIZE).is_none()) {
            encrypt(image, signing, (&compiled, &mut filling, &mut strings), &mut keys)?;
        }
    }
    let mut trees: HashMap<String, Vec<u8>> = HashMap::new();
    for image in &mut images.children {
        let path = format!("/images/{}", image.name);
        let data = image.property("data").map(|data| data.value.clone());
        let data = data.ok_or_else(|| Error::NoData { path: path.clone() })?;
        let name = image.name.to_string();
        if let Some(node) = image.child_mut(VERITY) {
            if let Some(made) = hash_tree(node, &data, &path, options.external.is_some())? {
                compiled.fill(&mut filling, &mut strings, (&["", "images", &name, VERITY], node), made.properties)?;
                trees.insert(name.clone(), made.tree);
            }
        }
        let tree: &[u8] = trees.get(&name).map_or(&[], Vec::as_slice);
        for child in &mut image.children {
            let names = ["", "images", &image.name, &child.name.clone()];
            let path = || format!("{path}/{}", child.name);
            if child.name.starts_with("hash") {
                let value = hash(child, &[&data, tree]).map_err(|algo| Error::Algorithm { path: path(), algo })?;
                let value = Property::bytes("value", value);
                compiled.fill(&mut filling, &mut strings, (&names, child), [value])?;
            } else if let Some(signing) = signing.filter(|_| child.name.starts_with(SIGNATURE)) {
                let signed = signing.sign(&path(), child, &[&data, tree])?;
                let properties = signing.properties(&signed, (layout, options.time), None);
                compiled.fill(&mut filling, &mut strings, (&names, child), properties)?;
                let what = Handed::Signature(signed, signing.required("images"));
                keys.push(Made { room: filling.most(), what });
            }
        }
    }
    if let Some(signing) = signing {
        let mut signer =
            Configurations { compiled: &compiled, signing, options, findings: &mut findings, keys: &mut keys };
        signer.sign(&mut root, &mut strings, &mut filling)?;
        if keys.is_empty() {
            let finding = super::rules::SIGNATURE.finding(format!("{}: the keys sign nothing", Error::NothingToSign));
            findings
                .push(finding.with_severity(Severity::Warning).with_help("add signature nodes, or leave the keys out"));
        }
    }
    let (total, control) = room(options, &root, compiled.size, filling.most(), &keys)?;
    let signed = keys.into_iter().map(Made::named).collect();
    if signing.is_none() {
        findings.extend(unfilled(&mut root, options.unsigned, !again)?);
    } else {
        unfilled(&mut root, false, false)?;
    }
    let boot_cpu = boot_cpu(&root);
    let flat = Flat::new(&root, strings.clone())?.with_reservations(reservations)?.with_boot_cpu(boot_cpu);
    let flat = flat.with_compatible(compiled.compatible);
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
        return Ok(Built { plan: out.finish_with(regions), root, findings, signed, control });
    };
    // What mkimage's edits leave in the free space comes from the tree with its data in it.
    let mut edits = Edits::new(flat.size());
    let places = Places::of(&flat, |path| matches!(path, ["", "images", _]));
    drop(flat);
    let mut data: Vec<Placed<'a>> = Vec::new();
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
        if let Some(fdt_align) = external.fdt_align.filter(|_| is_tree(image)) {
            at = fdt_align.up(at).ok_or_else(too_large)?;
        }
        let bytes = image.properties.remove(index).value;
        let tree = trees.remove(&*image.name).unwrap_or_default();
        len = len64(&bytes).saturating_add(len64(&tree));
        let narrow = |value: u64| u32::try_from(value).map_err(|_| fdt::Error::TooLarge { size: value });
        let (name, offset) = match external.position {
            Some(position) => ("data-position", position.saturating_add(at)),
            None => ("data-offset", at),
        };
        let before = places.next(&["", "images", &image.name]);
        let mut place = before.clone();
        edits.delete(&mut place, "data");
        for (name, value) in [(name, narrow(offset)?), ("data-size", narrow(len)?)] {
            let mut property = Property::u32(name, value);
            edits.set(&mut place, &mut property, &mut strings, &filled)?;
            image.set(property);
        }
        edits.done(&place, &before);
        data.push(Placed { name: format!("images/{}", image.name), bytes, tree, at });
    }
    at = align.up(len).and_then(|len| at.checked_add(len)).ok_or_else(too_large)?;
    let flat = Flat::new(&root, strings)?.with_reservations(reservations)?.with_boot_cpu(boot_cpu);
    let flat = flat.with_compatible(compiled.compatible);
    let tree_len = align.up(flat.size()).unwrap_or(flat.size());
    let tree_len = external.fdt_align.and_then(|align| align.up(tree_len)).unwrap_or(tree_len);
    let left_over = match layout.leaves_old_bytes() {
        true => edits.left_over(flat.size()..tree_len, &filled),
        false => Vec::new(),
    };
    let blob = flat.plan_over(tree_len, left_over)?;
    let start = external.position.unwrap_or(tree_len);
    if let Some(align) = external.fdt_align.filter(|align| align.up(start) != Some(start)) {
        return Err(Error::PositionAlign { position: start, align: align.bytes() });
    }
    if start < tree_len {
        return Err(Error::Position { position: start, tree: tree_len });
    }
    let mut out = Reserver::new();
    out.append(&blob)?;
    // Without a byte of data mkimage writes none, and the file ends with the tree.
    let last = if at > 0 { start.saturating_add(at) } else { tree_len };
    findings.extend(data.windows(2).filter_map(taken_for_appended));
    let mut ranges = Vec::new();
    for Placed { name, bytes, tree, at: offset } in data.into_iter().filter(|_| at > 0) {
        let from = start.saturating_add(offset);
        out.fill_to("the tree", from, 0)?;
        out.bytes(bytes)?;
        out.bytes(tree)?;
        ranges.push((name, from..out.at()));
    }
    out.fill_to("the tree", last, 0)?;
    let ranges = ranges.into_iter().filter(|(_, at)| !at.is_empty()).collect::<Vec<_>>();
    let regions = cut(blob.regions(), &ranges, out.at());
    Ok(Built { plan: out.finish_with(regions), root, findings, signed, control })
}

/// An image behind the tree: its data with the hashes of its blocks, and where it is, counted from the first.
struct Placed<'a> {
    name: String,
    bytes: Cow<'a, [u8]>,
    tree: Vec<u8>,
    at: u64,
}

/// The hash tree of an image; `None` when it has one already, which is held to its digest.
fn hash_tree<'a>(node: &Node<'_>, data: &[u8], image: &str, external: bool) -> Result<Option<verity::Made<'a>>, Error> {
    let path = format!("{image}/{VERITY}");
    let made = match node.property("digest") {
        Some(_) => verity::check(|name| node.property(name).map(|it| &*it.value), data).map(|()| None),
        None if external => verity::make(node, data).map(Some),
        None => return Err(Error::Unfilled { path, what: Unfilled::Verity }),
    };
    made.map_err(|fault| match fault {
        Fault::Unknown(algo) => Error::Verity { path, why: format!("unknown algorithm {algo:?}") },
        Fault::Wrong(why) => Error::Verity { path, why },
    })
}

/// What was made with a key, and how large the tree was before the key was handed on.
struct Made {
    room: u64,
    what: Handed,
}

/// What is handed on to the control device tree.
enum Handed {
    /// The public key of a signature, and whether boards are to require it.
    Signature(Signed, Option<&'static str>),
    /// The key of a cipher, for this node.
    Cipher(String, ControlCipher),
}

impl Made {
    fn entry(&self) -> Result<Entry, Error> {
        match &self.what {
            Handed::Signature(signed, required) => signed.entry(*required),
            Handed::Cipher(_, cipher) => Ok(cipher.entry()),
        }
    }

    /// The node, the name of its key, and the algorithm.
    fn named(self) -> [String; 3] {
        match self.what {
            Handed::Signature(Signed { request, .. }, _) => [request.subject, request.key, request.scheme.to_string()],
            Handed::Cipher(node, cipher) => [node, cipher.hint, cipher.cipher.name().to_owned()],
        }
    }
}

/// Encrypts an image that asks for it.
fn encrypt<'a>(
    image: &mut Node<'a>,
    signing: Signing<'_>,
    (compiled, filling, strings): (&Compiled<'a>, &mut Edits, &mut Strings),
    keys: &mut Vec<Made>,
) -> Result<(), Error> {
    let name = image.name.to_string();
    let Some(data) = image.property("data").map(|data| data.value.clone()) else { return Ok(()) };
    let Some(node) = image.child_mut(CIPHER) else { return Ok(()) };
    let path = format!("/images/{name}/{CIPHER}");
    let size = u32::try_from(data.len()).map_err(|_| fdt::Error::TooLarge { size: len64(&data) })?;
    let made = cipher::encrypt(node, &data, signing.secrets);
    let made = made.map_err(|source| Error::Sign { path: path.clone(), source })?;
    compiled.fill(filling, strings, (&["", "images", &name, CIPHER], node), made.iv)?;
    keys.push(Made { room: filling.most(), what: Handed::Cipher(path, made.handed) });
    let properties = [Property::bytes("data", made.data), Property::u32(PLAIN_SIZE, size)];
    compiled.fill(filling, strings, (&["", "images", &name], image), properties)
}

/// The size of the tree with free space, as mkimage finds it by trying, and the control device tree, which grows with each try.
fn room(
    options: &Options<'_>,
    root: &Node<'_>,
    compiled: u64,
    most: u64,
    keys: &[Made],
) -> Result<(u64, Option<Vec<u8>>), Error> {
    /// More space than the keys of all who ever lived would take: what does not fit then never will.
    const MOST: u64 = 1 << 26;
    let first = options.layout.first_room(root, options.signing.is_some() && !options.unsigned);
    let overlay = options.signing.filter(|signing| signing.control_overlay).map(|_| control::overlay());
    let Some(control) = overlay.as_deref().or(options.signing.and_then(|signing| signing.control)) else {
        let start = compiled.saturating_add(first);
        return Ok((start.saturating_add(most.saturating_sub(start).next_multiple_of(STEP)), None));
    };
    let mut control = Control::new(control).map_err(Error::Control)?;
    let entries = keys.iter().map(Made::entry).collect::<Result<Vec<Entry>, Error>>()?;
    let mut more = first;
    while more < MOST {
        control.grow(usize::try_from(more).unwrap_or(usize::MAX));
        let total = compiled.saturating_add(more);
        let mut fits = true;
        for (made, entry) in keys.iter().zip(&entries) {
            fits = made.room <= total && control.put(entry).map_err(Error::Control)?;
            if !fits {
                break;
            }
        }
        if fits && most <= total {
            return Ok((total, Some(control.into_bytes())));
        }
        more += STEP;
    }
    Err(fdt::Error::TooLarge { size: compiled.saturating_add(more) }.into())
}

/// Signs the configurations.
struct Configurations<'s, 'a> {
    compiled: &'s Compiled<'a>,
    signing: Signing<'s>,
    options: &'s Options<'s>,
    findings: &'s mut Vec<Finding>,
    keys: &'s mut Vec<Made>,
}

impl<'a> Configurations<'_, 'a> {
    fn sign(&mut self, root: &mut Node<'a>, strings: &mut Strings, filling: &mut Edits) -> Result<(), Error> {
        let children = |root: &Node<'_>| root.child("configurations").map_or(0, |node| node.children.len());
        for number in 0..children(root) {
            let of = |root: &Node<'a>| root.child("configurations").and_then(|all| all.children.get(number)).cloned();
            for index in 0..of(root).map_or(0, |configuration| configuration.children.len()) {
                let Some(configuration) = of(root) else { continue };
                let Some(node) = configuration.children.get(index).filter(|it| it.name.starts_with(SIGNATURE)) else {
                    continue;
                };
                let path = format!("/configurations/{}/{}", configuration.name, node.name);
                // No signature covers the data itself: without it the tree is small.
                let flat = without_data(root);
                let bytes = Flat::new(&flat, strings.clone())?.plan(0)?.bytes();
                let (signed, nodes) = self.signed(&path, node, &bytes)?;
                let names = ["", "configurations", &*configuration.name, &*node.name];
                let covered = Some((&*nodes, len64(strings.bytes())));
                let properties = self.signing.properties(&signed, (self.options.layout, self.options.time), covered);
                let place = root.child_mut("configurations").and_then(|all| all.children.get_mut(number));
                if let Some(node) = place.and_then(|one| one.children.get_mut(index)) {
                    self.compiled.fill(filling, strings, (&names, node), properties)?;
                }
                let what = Handed::Signature(signed, self.signing.required("configurations"));
                self.keys.push(Made { room: filling.most(), what });
            }
        }
        Ok(())
    }

    /// The signature of the node at `path` of the tree `bytes`, and what it covers.
    fn signed(&mut self, path: &str, node: &Node<'_>, bytes: &[u8]) -> Result<(Signed, Vec<String>), Error> {
        let failed = |error: FieldError| Error::Coverage { path: path.to_owned(), why: error.to_string() };
        let dtb = Dtb::parse_at(bytes, 0).map_err(failed)?;
        let tree = dtb.tree().map_err(failed)?;
        let lost = || Error::Coverage { path: path.to_owned(), why: "is not there".to_owned() };
        let here = tree.find(path).ok_or_else(lost)?;
        let nodes = signature::covered_by(here, self.options.layout)?;
        let set: HashSet<String> = nodes.iter().cloned().collect();
        let left_out = here.parent().map(signature::named).unwrap_or_default();
        for image in left_out.into_iter().filter(|image| !set.contains(&image.path())) {
            let message = format!("{path} does not cover {}, which the configuration names", image.path());
            self.findings.push(super::rules::SIGN_IMAGES.finding(message));
        }
        let parts = signature::covered_bytes(&dtb, &set, len64(dtb.names())).map_err(failed)?;
        Ok((self.signing.sign(path, node, &parts)?, nodes))
    }
}

/// The tree without the images' data.
fn without_data<'a>(root: &Node<'a>) -> Node<'a> {
    let images = |node: &Node<'a>| Node {
        name: node.name.clone(),
        properties: node.properties.iter().filter(|it| it.name != "data").cloned().collect(),
        children: node.children.clone(),
    };
    let children = root.children.iter().map(|child| match &*child.name {
        "images" => Node {
            name: child.name.clone(),
            properties: child.properties.clone(),
            children: child.children.iter().map(images).collect(),
        },
        _ => child.clone(),
    });
    Node { name: root.name.clone(), properties: root.properties.clone(), children: children.collect() }
}

/// The tree as dtc makes it, before mkimage fills anything in.
struct Compiled<'a> {
    blob: Plan<'a>,
    /// Bytes of the blob without what stands behind it.
    size: u64,
    places: Places,
    /// `last_comp_version`, where it is not dtc's.
    compatible: Option<u32>,
}

impl<'a> Compiled<'a> {
    /// `old`: the blob that it was read from, whose free space stays.
    fn new(root: &Node<'a>, strings: &mut Strings, reservations: &[Reservation], old: &[u8]) -> Result<Self, Error> {
        strings.insert_all(root)?;
        let flat = Flat::new(root, strings.clone())?.with_reservations(reservations)?;
        let places = Places::of(&flat, |path| match path {
            [_] | ["", "images", _] => true,
            ["", "images", _, child] => {
                child.starts_with("hash") || child.starts_with(SIGNATURE) || [CIPHER, VERITY].contains(child)
            }
            ["", "configurations", _, child] => child.starts_with(SIGNATURE),
            _ => false,
        });
        let root = || VecDeque::from([Place::empty(flat.root_properties_at())]);
        places.0.borrow_mut().entry(key(&[""])).or_insert_with(root);
        let size = flat.size();
        let free = slice(old, size, len64(old).saturating_sub(size)).unwrap_or(&[]);
        Ok(Compiled { blob: flat.plan_over(len64(old), free.to_vec())?, size, places, compatible: None })
    }

    /// Sets properties of `node`, whose path is `path`, and keeps track of what that moves.
    fn fill(
        &self,
        edits: &mut Edits,
        strings: &mut Strings,
        (path, node): (&[&str], &mut Node<'a>),
        properties: impl IntoIterator<Item = Property<'a>>,
    ) -> Result<(), Error> {
        let before = self.places.next(path);
        let mut place = before.clone();
        for mut property in properties {
            edits.set(&mut place, &mut property, strings, &self.blob)?;
            node.set(property);
        }
        edits.done(&place, &before);
        Ok(())
    }
}

/// A node in a table of nodes.
fn key(path: &[&str]) -> String {
    path.join("/")
}

/// Where the properties of nodes are that have any, by the path; nodes of one path, which `mkimage -f auto` makes of a RAM disk and
/// another one, in their order.
struct Places(RefCell<HashMap<String, VecDeque<Place>>>);

impl Places {
    /// Of the nodes whose path `wanted` takes.
    fn of(flat: &Flat<'_, '_>, wanted: impl Fn(&[&str]) -> bool) -> Places {
        let mut places: HashMap<String, VecDeque<Place>> = HashMap::new();
        let mut end = None;
        flat.each_property(&mut |path, property, at| {
            if wanted(path) {
                let all = places.entry(key(path)).or_default();
                // The properties of a node have nothing between them.
                if end != Some(at.start) || all.is_empty() {
                    all.push_back(Place::empty(at.start));
                }
                if let Some(place) = all.back_mut() {
                    place.properties.push((property.name.to_string(), at.end - at.start));
                }
                end = Some(at.end);
            }
        });
        Places(RefCell::new(places))
    }

    /// The next node of that path: each is edited once.
    fn next(&self, path: &[&str]) -> Place {
        self.0.borrow_mut().get_mut(&key(path)).and_then(VecDeque::pop_front).unwrap_or_default()
    }
}

/// The hash that a node asks for; the error is its algorithm.
fn hash(node: &Node<'_>, data: &[&[u8]]) -> Result<Vec<u8>, Option<String>> {
    let Some(algo) = node.property("algo") else { return Err(None) };
    let name = algo.as_string().unwrap_or_default();
    Algorithm::from_name(name).map(|algorithm| algorithm.hash_all(data)).ok_or_else(|| Some(name.to_owned()))
}

/// The `reg` of the first CPU, which dtc takes for the one that boots.
fn boot_cpu(root: &Node<'_>) -> u32 {
    let reg = root.child("cpus").and_then(|cpus| cpus.children.first()).and_then(|cpu| cpu.property("reg"));
    reg.and_then(|reg| reg.value.as_ref().try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// An ARM kernel whose decompressor looks for a device tree behind itself (CONFIG_ARM_APPENDED_DTB) takes what stands there,
/// whatever the configuration says: seen on U-Boot 2023.01 with a kernel that runs where it lies.
fn taken_for_appended(pair: &[Placed<'_>]) -> Option<Finding> {
    let [Placed { name: kernel, bytes, at, .. }, Placed { name: tree, bytes: next, at: start, .. }] = pair else {
        return None;
    };
    let magic = FDT_MAGIC.to_be_bytes();
    let looks = || [magic, FDT_MAGIC.to_le_bytes()].iter().any(|word| memchr::memmem::find(bytes, word).is_some());
    let adjacent = at.saturating_add(len64(bytes)) == *start && next.starts_with(&magic);
    if !adjacent || !ZImage::detect(bytes) || !looks() {
        return None;
    }
    let message = format!("{tree} stands directly behind {kernel}, which takes it for a device tree appended to it");
    Some(super::rules::APPENDED_DTB.finding(message))
}

/// Nodes that ask for what was not made: ciphers and hash trees, and signatures where there are no keys.
///
/// The signature of an image signs its data alone, which stays as it is; that of a configuration signs nodes with their hashes, and the
/// root with its time.
fn unfilled(root: &mut Node<'_>, unsigned: bool, signatures: bool) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for group in ["images", "configurations"] {
        for node in root.child_mut(group).into_iter().flat_map(|group| &mut group.children) {
            let name = node.name.clone();
            let is_encrypted = node.property(PLAIN_SIZE).is_some();
            for child in &mut node.children {
                let path = format!("/{group}/{name}/{}", child.name);
                let fail = |what| Err(Error::Unfilled { path: path.clone(), what });
                let sign = "sign it afterwards: kimage sign FILE `request.keys` DIR";
                let mut say = |severity, message: String, help: &'static str| {
                    findings.push(super::rules::SIGNATURE.finding(message).with_severity(severity).with_help(help));
                };
                let has = |name: &str| child.property(name).is_some();
                if child.name.starts_with(SIGNATURE) {
                    match (has("value"), group) {
                        _ if !signatures => {}
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
                } else if group == "images" && child.name.starts_with(CIPHER) && !is_encrypted {
                    return fail(Unfilled::Cipher);
                }
            }
        }
    }
    Ok(findings)
}
