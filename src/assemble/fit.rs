//! A FIT, from files, or from an image tree that is there already.

use super::kernel::{Kernel, cut_off};
use super::{Assembled, Derived, Facts, Step};
use crate::bytes::Align;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::format::dts::Source;
use crate::format::fdt::{Dtb, Node, Property, Reservation, Tree};
use crate::format::fit::cipher::{CIPHER, ControlKeys, PLAIN_SIZE};
use crate::format::fit::control;
use crate::format::fit::verity::VERITY;
use crate::format::fit::{self, Algorithm, BootView, External, Fit, FitLayout, Options, TreeList};
use crate::format::uimage::{ARCH, OS, OS_LINUX, arch_word, comp_word};
use crate::sign::{PublicKey, Secrets};
use std::collections::HashMap;

/// A file of a FIT, with the name that messages and descriptions have for it.
#[derive(Debug, Clone, Copy)]
pub struct FitFile<'a> {
    /// Its name without folder.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What the caller wants; `None` is derived from the kernel.
#[derive(Debug, Clone, Default)]
pub struct FitRequest<'a> {
    /// The kernel: an ELF file (which is flattened), zImage, Image, or a compressed one.
    pub kernel: Option<FitFile<'a>>,
    /// Device trees: each gets a configuration.
    pub dtbs: Vec<FitFile<'a>>,
    /// Device tree overlays: each gets a configuration to be named behind another (`bootm ADDRESS#conf-1#overlay-1`).
    pub overlays: Vec<FitFile<'a>>,
    /// Ramdisk of every configuration.
    pub ramdisk: Option<FitFile<'a>>,
    /// Loadables of every configuration.
    pub loadables: Vec<FitFile<'a>>,
    /// CPU, a number of [`ARCH`].
    pub arch: Option<u8>,
    /// Operating system, a number of [`OS`].
    pub os: Option<u8>,
    /// The kernel's load address.
    pub load: Option<u64>,
    /// The kernel's entry point.
    pub entry: Option<u64>,
    /// Where the device tree is copied to; overlays need it.
    pub dtb_load: Option<u64>,
    /// Compress the kernel so.
    pub compress: Option<Codec>,
    /// The hashes of every image.
    pub hashes: Vec<Algorithm>,
    /// The description of the whole.
    pub description: Option<String>,
    /// The default configuration: its name, or the name of its device tree file.
    pub default: Option<String>,
    /// Time, placement and signatures.
    pub options: Options<'a>,
    /// Go ahead in spite of contradictions.
    pub force: bool,
}

/// What a FIT is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FitFacts {
    /// What it is, in words.
    pub description: Option<String>,
    /// Creation time in seconds since 1970.
    pub time: u32,
    /// Its images.
    pub images: Vec<FitImage>,
    /// The names of its configurations.
    pub configurations: Vec<String>,
    /// The configuration that boots when none is named.
    pub default: Option<String>,
    /// The signatures that were made, and the images that were encrypted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<FitSignature>,
    /// What nobody gave.
    pub derived: Vec<Derived>,
}

/// A signature or a cipher of a FIT, for reports.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FitSignature {
    /// The path of its node.
    pub node: String,
    /// `key-name-hint`.
    pub key: String,
    /// `algo`.
    pub algo: String,
}

impl From<[String; 3]> for FitSignature {
    fn from([node, key, algo]: [String; 3]) -> Self {
        FitSignature { node, key, algo }
    }
}

/// An image of a FIT, for reports.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FitImage {
    /// Its name.
    pub name: String,
    /// `type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `compression`.
    pub compression: Option<String>,
    /// Bytes of its data.
    pub size: u64,
    /// The algorithms of its hashes.
    pub hashes: Vec<String>,
}

/// The device trees that the generator nodes of a source are for (`@fdt-SEQ`, as U-Boot's binman has them); `None` for a source without
/// such nodes and without directives (`fit,...`).
///
/// # Errors
/// [`Error::Source`] where the source refers to what is not there.
pub fn fit_tree_list(source: &Source) -> Result<Option<TreeList>> {
    Ok(fit::tree_list(&source.tree(&[])?.root))
}

/// The FIT of a tree source, with the bytes of [`Source::files`] in the same order. Of generator nodes ([`fit_tree_list`]) each
/// becomes a node for each of `trees`, whose names have no `.dtb`; `default` is the name of the one that the default configuration
/// is for.
///
/// # Errors
/// [`Error::Source`] where the source refers to what is not there; [`Error::Fit`] names the node that is not what it should be;
/// [`Error::Contradiction`] lists what is not there or contradicts the data, unless `force` is given.
pub fn fit_from_source<'a>(
    source: &Source,
    files: &[&'a [u8]],
    trees: Option<&[FitFile<'a>]>,
    default: Option<&str>,
    options: &Options<'_>,
    force: bool,
) -> Result<Assembled<'a>> {
    let mut tree = source.tree(files)?;
    let (findings, mut options) = (tree.findings, *options);
    if fit::tree_list(&tree.root).is_some() {
        let trees: Option<Vec<_>> = trees.map(|trees| trees.iter().map(|file| (file.name, file.bytes)).collect());
        let made = fit::generate(tree.root, trees.as_deref(), default)?;
        tree.root = made.root;
        if let (Some(position), None) = (made.position, options.external) {
            options.external = Some(External { position: Some(position).filter(|at| *at > 0), ..External::default() });
        }
        options.external = options.external.map(|it| External { align: it.align.or(made.align), ..it });
    }
    assembled(tree.root, |root| fit::plan(root, &tree.reservations, &options), &options, force, Vec::new(), findings)
}

/// The FIT of a compiled tree: its hashes are made anew, external data is taken in first.
///
/// # Errors
/// As [`fit_from_source`]; [`Error::Input`] when the blob is damaged or cut off.
pub fn fit_from_blob<'a>(bytes: &'a [u8], options: &Options<'_>, force: bool) -> Result<Assembled<'a>> {
    let (fit, reservations) = whole(bytes)?;
    let build = |root| fit::plan(root, &reservations, options);
    assembled(fit.to_node(), build, options, force, Vec::new(), Vec::new())
}

/// A FIT signed again, as `mkimage -F -k` does it: hashes and signatures are made anew, all else stays, its time too. Data that is
/// behind the tree stays there; where [`Options::external`] says otherwise, that counts.
///
/// # Errors
/// As [`fit_from_blob`].
pub fn sign_fit<'a>(bytes: &'a [u8], options: &Options<'_>, force: bool) -> Result<Assembled<'a>> {
    let (fit, _) = whole(bytes)?;
    let mut external = None;
    for image in fit.images() {
        match image.placement() {
            Ok(Some(fit::Placement::Position(at))) => {
                let position = external.map_or(at.start, |old: fit::External| old.position.unwrap_or(at.start));
                external = Some(fit::External { position: Some(position), ..fit::External::default() });
            }
            Ok(Some(fit::Placement::Offset(_))) => external = external.or(Some(fit::External::default())),
            _ => {}
        }
    }
    let options = Options { external: options.external.or(external), ..*options };
    let signed = fit_again(bytes, &options, false, force)?;
    match &signed.facts {
        Facts::Fit(facts) if facts.signatures.is_empty() => Err(fit::Error::NothingToSign.into()),
        _ => Ok(signed),
    }
}

/// What `mkimage -F` makes of a FIT: hashes are made anew, and signatures where there are keys; data goes where [`Options::external`] says,
/// else into the tree; the time of the whole stays, unless `touch` is given (`-t`).
///
/// # Errors
/// As [`fit_from_blob`].
pub fn fit_again<'a>(bytes: &'a [u8], options: &Options<'_>, touch: bool, force: bool) -> Result<Assembled<'a>> {
    let (fit, reservations) = whole(bytes)?;
    let build = |_| fit::plan_again(&fit, &reservations, options, touch);
    let mut made = assembled(fit.to_node(), build, options, force, Vec::new(), Vec::new())?;
    if let Facts::Fit(facts) = &mut made.facts {
        facts.time = fit.timestamp().filter(|_| !touch).unwrap_or(options.time);
    }
    Ok(made)
}

/// A FIT with the data of its encrypted images decrypted, hashes made anew, and without signatures; `None` where no image is encrypted.
///
/// The keys are those of `control`, a control device tree, where it is given.
///
/// # Errors
/// [`Error::Fit`] for a key that is not to be had; [`Error::Input`] for a `CONTROL_DTB` that is none; [`Error::Contradiction`] where an
/// image is not decrypted.
pub fn decrypt_fit(bytes: &[u8], secrets: &Secrets<'_>, control: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
    let keys = control.map(|control| ControlKeys::of(&control::tree_in(control)?)).transpose();
    let keys = keys.map_err(|error| Error::input("CONTROL_DTB", error))?;
    let Some(fit) = Some(bytes).filter(|bytes| Fit::detect(bytes)).and_then(|bytes| Fit::parse(bytes).ok()) else {
        return Ok(None);
    };
    let mut root = fit.to_node();
    let (mut findings, mut found) = (Vec::new(), false);
    for image in fit.encrypted() {
        let path = format!("/images/{}", image.name());
        found = true;
        let plain = match &keys {
            Some(keys) => image.decrypted_by(keys),
            None => {
                let plain = image.decrypted(secrets);
                let plain = plain.map_err(|source| fit::Error::Sign { path: path.clone(), source })?;
                plain.map_err(|why| {
                    Box::new(fit::rules::DECRYPTED.finding(format!("{path}: {why}")).at(image.node().at().0))
                })
            }
        };
        match plain {
            Ok(plain) => {
                let images = root.child_mut("images");
                if let Some(node) = images.and_then(|images| images.child_mut(image.name())) {
                    node.set(Property::bytes("data", plain));
                    node.properties.retain(|it| it.name != PLAIN_SIZE);
                    node.children.retain(|child| &*child.name != CIPHER);
                }
            }
            Err(finding) => findings.push(*finding),
        }
    }
    if !findings.is_empty() {
        return Err(Error::Contradiction { findings });
    }
    let mut made = Vec::new();
    if found {
        let time = fit.timestamp().unwrap_or(0);
        // What has a hash tree wants its data behind the tree of nodes.
        let options = Options { time, unsigned: true, external: Some(External::default()), ..Options::default() };
        fit::plan(root, &[], &options)?.plan.emit(&mut made)?;
    }
    Ok(found.then_some(made))
}

/// A FIT, all of it there, and its memory reservations.
fn whole(bytes: &[u8]) -> Result<(Fit<'_>, Vec<Reservation>)> {
    let fail = |error: crate::bytes::FieldError| Error::input("SOURCE", error);
    let fit = Fit::parse(bytes).map_err(fail)?;
    for image in fit.images() {
        image.placement().map_err(fail)?;
    }
    let reservations = fit.dtb().reservations().map_err(fail)?;
    Ok((fit, reservations))
}

/// The public key of a signature put into a control device tree, as `fdt_add_pubkey` does it: a key for `algo` (`sha256,rsa2048`),
/// whose `key-name-hint` is `name`; `required`: `conf` or `image`, the nodes that U-Boot then demands a signature of. Without a tree, an
/// overlay for one is made.
///
/// # Errors
/// [`Error::Fit`] when the algorithm is not known, the key is not for it, or the tree is damaged.
pub fn add_public_key(
    control: Option<&[u8]>,
    key: &PublicKey,
    (algo, name): (&str, &str),
    required: Option<&str>,
) -> Result<Vec<u8>> {
    Ok(fit::signature::with_key(control, key, (algo, name), required)?)
}

/// The FIT `bytes` with other data in one image, its hashes made anew, in the layout of mkimage's that it has now; `None` where it
/// has none of these, or a signature.
pub(crate) fn fit_with_data(bytes: &[u8], image: &str, data: &[u8]) -> Result<Option<Vec<u8>>> {
    /// Each stands for those from the one before on.
    const LAYOUTS: [&str; 4] = ["2023", "2025.07", "2026.01", "2026"];
    let fail = |error: crate::bytes::FieldError| Error::input("IMAGE", error);
    let fit = Fit::parse(bytes).map_err(fail)?;
    let reservations = fit.dtb().reservations().map_err(fail)?;
    // As it was compiled: mkimage adds time and hashes.
    let mut old = fit.to_node();
    old.properties.retain(|property| property.name != "timestamp");
    for image in old.child_mut("images").into_iter().flat_map(|images| &mut images.children) {
        for hash in image.children.iter_mut().filter(|node| node.name.starts_with("hash")) {
            hash.properties.retain(|property| property.name != "value");
        }
    }
    let placements: Vec<_> = fit.images().filter_map(|image| image.placement().ok().flatten()).collect();
    let is_external = placements.iter().any(|placement| !matches!(placement, fit::Placement::Embedded(_)));
    let position = placements.iter().filter_map(|placement| match placement {
        fit::Placement::Position(range) => Some(range.start),
        _ => None,
    });
    let position = position.min();
    let externals: Vec<Option<External>> = match is_external {
        false => vec![None],
        true => {
            [None, Align::new(4096)].map(|align| Some(External { align, position, ..External::default() })).to_vec()
        }
    };
    // Where the data was a property of the node, nothing tells any more: bytes that were left over prove it right.
    let places = if is_external { 0..4 } else { 0..1 };
    for place in places {
        let mut root = old.clone();
        for image in root.child_mut("images").into_iter().flat_map(|images| &mut images.children).filter(|_| place > 0)
        {
            let len = image.properties.len().min(place + 1);
            image.properties.get_mut(..len).into_iter().for_each(|first| first.rotate_left(1));
        }
        for layout in LAYOUTS.into_iter().filter_map(FitLayout::from_release) {
            for external in externals.iter().copied() {
                let options = Options { time: fit.timestamp().unwrap_or(0), external, layout, ..Options::default() };
                let made = |root: Node<'_>| -> Result<Vec<u8>> {
                    let mut out = Vec::new();
                    fit::plan(root, &reservations, &options)?.plan.emit(&mut out)?;
                    Ok(out)
                };
                if made(root.clone()).is_ok_and(|made| bytes.starts_with(&made)) {
                    let images = root.child_mut("images");
                    let node = images.and_then(|images| images.child_mut(image));
                    // The key is not at hand; and a hash tree is not that of other data.
                    let is_plain =
                        |node: &&mut Node<'_>| node.property(PLAIN_SIZE).is_none() && node.child(VERITY).is_none();
                    let Some(node) = node.filter(is_plain) else { return Ok(None) };
                    node.set(Property::bytes("data", data));
                    return made(root).map(Some);
                }
            }
        }
    }
    Ok(None)
}

/// Is it a compiled tree, for [`fit_from_blob`]?
pub fn is_tree_blob(bytes: &[u8]) -> bool {
    Dtb::detect(bytes)
}

impl<'a> Fit<'a> {
    /// The tree with all data in it.
    fn to_node(&self) -> Node<'a> {
        let mut root = Node::from(self.tree().root());
        let is_external =
            |image: &fit::Image<'_, 'a>| !matches!(image.placement(), Ok(Some(fit::Placement::Embedded(_))));
        let external = self.images().filter(is_external);
        let mut found = HashMap::new();
        for (name, data) in external.filter_map(|image| Some((image.name(), image.data()?))) {
            // The first of a name counts, as everywhere.
            found.entry(name).or_insert(data);
        }
        for image in root.child_mut("images").into_iter().flat_map(|images| &mut images.children) {
            if let Some(data) = found.get(&*image.name) {
                image.properties.retain(|it| !["data-offset", "data-position", "data-size"].contains(&&*it.name));
                image.set(Property::bytes("data", *data));
            }
        }
        root
    }
}

/// The FIT of these files: the kernel with its device trees, ramdisk, overlays and loadables.
///
/// # Errors
/// [`Error::Underivable`] names the option for what could not be found out; [`Error::WrongInput`] says which file is not
/// what it should be; [`Error::Contradiction`] lists what contradicts itself.
///
/// # Example
///
/// ```
/// use kimage::assemble::{ARCH, Algorithm, FitFile, FitRequest, fit};
/// use kimage::inspect::{Limits, open};
///
/// let kernel = FitFile { name: "Image", bytes: b"a kernel" };
/// let request = FitRequest {
///     kernel: Some(kernel),
///     arch: ARCH.id("arm64"),
///     load: Some(0x4020_0000),
///     entry: Some(0x4020_0000),
///     hashes: vec![Algorithm::Sha256],
///     ..FitRequest::default()
/// };
/// let mut image = Vec::new();
/// fit(&request)?.emit(&mut image)?;
/// let mut read = open(&image, &Limits::default())?;
/// let kernel = read.part("kernel").ok_or("no kernel")?;
/// assert_eq!(read.part_bytes(&kernel), b"a kernel");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fit<'a>(request: &FitRequest<'a>) -> Result<Assembled<'a>> {
    let mut builder = Builder::new(request);
    let root = builder.root()?;
    let Builder { derived, findings, steps, .. } = builder;
    let build = |root| fit::plan(root, &[], &request.options);
    Ok(Assembled { steps, ..assembled(root, build, &request.options, request.force, derived, findings)? })
}

pub(super) fn assembled<'a>(
    root: Node<'a>,
    build: impl FnOnce(Node<'a>) -> std::result::Result<fit::Built<'a>, fit::Error>,
    options: &Options<'_>,
    force: bool,
    derived: Vec<Derived>,
    mut findings: Vec<Finding>,
) -> Result<Assembled<'a>> {
    // What U-Boot would not boot may be meant for something else; what is not there, or is not what it says, can be meant for nothing.
    let view = BootView::of_node(&root);
    findings.extend(view.missing());
    findings.extend(view.miscompressed());
    let sizes: Vec<u64> = root
        .child("images")
        .into_iter()
        .flat_map(|images| &images.children)
        .map(|image| image.property("data").map_or(0, |data| crate::bytes::len64(&data.value)))
        .collect();
    let boot: Vec<Finding> = view.bootm(None).into_iter().chain(view.matching()).chain(view.unmatched()).collect();
    let built = build(root)?;
    if !force && findings.iter().any(|finding| finding.severity == Severity::Error) {
        findings.retain(|finding| finding.severity == Severity::Error);
        return Err(Error::Contradiction { findings });
    }
    findings.extend(
        boot.into_iter().map(|finding| Finding { severity: finding.severity.min(Severity::Warning), ..finding }),
    );
    findings.extend(built.findings);
    let text = |node: &Node<'_>, name| node.property(name).and_then(|it| it.as_string().map(str::to_owned));
    let children = |name| built.root.child(name).map(|node| node.children.as_slice()).unwrap_or_default();
    let images = children("images").iter().zip(sizes).map(|(image, size)| FitImage {
        name: image.name.to_string(),
        kind: text(image, "type"),
        compression: text(image, "compression"),
        size,
        hashes: image.children.iter().filter_map(|child| text(child, "algo")).collect(),
    });
    let facts = FitFacts {
        description: text(&built.root, "description"),
        time: options.time,
        images: images.collect(),
        configurations: children("configurations").iter().map(|node| node.name.to_string()).collect(),
        default: built.root.child("configurations").and_then(|node| text(node, "default")),
        signatures: built.signed.into_iter().map(FitSignature::from).collect(),
        derived,
    };
    Ok(Assembled { findings, control: built.control, ..Assembled::new(built.plan, Facts::Fit(facts)) })
}

/// Puts the tree together.
struct Builder<'r, 'a> {
    request: &'r FitRequest<'a>,
    derived: Vec<Derived>,
    findings: Vec<Finding>,
    images: Vec<Node<'a>>,
    arch: &'static str,
    steps: Vec<Step>,
}

impl<'r, 'a> Builder<'r, 'a> {
    fn new(request: &'r FitRequest<'a>) -> Self {
        let (derived, findings, images, steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Builder { request, derived, findings, images, arch: "", steps }
    }

    fn derive(&mut self, field: &'static str, value: impl Into<String>, from: &'static str) {
        self.derived.push(Derived { field, value: value.into(), from });
    }

    fn root(&mut self) -> Result<Node<'a>> {
        let request = self.request;
        let Some(file) = request.kernel else {
            return Err(Error::Underivable {
                field: "kernel",
                option: "`request.kernel` FILE, or give an image tree source",
            });
        };
        self.findings.extend(empty("kernel", file));
        if let Some(error) = cut_off(Format::detect(file.bytes), file.bytes) {
            let message = format!("{} is cut off: {error}", file.name);
            let finding = super::rules::FIT_TRUNCATED.finding(message);
            self.findings.push(finding.with_help(error.help));
        }
        let mut kernel = Kernel::read("KERNEL", file.bytes, &[], request.compress)?;
        self.steps.append(&mut kernel.steps);
        let wide = self.kernel(kernel, file.name)?;
        let configurations = self.configurations()?;
        // Device trees first: an ARM kernel takes a tree directly behind it for one that was appended to it, and with
        // external data nothing stands between them.
        self.images.sort_by_key(|image| !image.name.starts_with("fdt-"));
        let description = request.description.clone().unwrap_or_else(|| file.name.to_owned());
        let mut images = Node::new("images");
        images.children = std::mem::take(&mut self.images);
        Ok(Node::new("")
            .with(Property::string("description", &description))
            .with(Property::u32("#address-cells", if wide { 2 } else { 1 }))
            .with_child(images)
            .with_child(configurations))
    }

    /// The kernel's image; true when its addresses need 64 bits.
    fn kernel(&mut self, kernel: Kernel<'a>, name: &str) -> Result<bool> {
        let request = self.request;
        self.arch = match (request.arch, kernel.arch) {
            (Some(id), _) => ARCH.short(id).unwrap_or("invalid"),
            (None, Some((arch, from))) => {
                let name = arch_word(arch);
                self.derive("arch", name, from);
                name
            }
            (None, None) => {
                return Err(Error::Underivable {
                    field: "CPU",
                    option: "`request.arch` (`request.arch` list shows the names)",
                });
            }
        };
        let (kind, load, entry) = match (request.load, kernel.addresses) {
            (Some(load), found) => {
                // An entry point of the file counts only where the file's own addresses do.
                let entry = found.filter(|(base, _)| *base == load).map(|(_, entry)| entry);
                ("kernel", load, request.entry.or(entry).unwrap_or(load))
            }
            (None, Some((load, entry))) => {
                self.findings.extend(kernel.virtual_finding());
                self.derive("load address", format!("{load:#x}"), "the ELF file's program headers");
                if request.entry.is_none() {
                    self.derive("entry point", format!("{entry:#x}"), "the ELF file's entry point");
                }
                ("kernel", load, request.entry.unwrap_or(entry))
            }
            (None, None) if kernel.is_relocatable() => {
                self.derive("type", "kernel_noload", "the kernel's header: it runs anywhere");
                ("kernel_noload", 0, request.entry.unwrap_or(0))
            }
            (None, None) => return Err(Error::Underivable { field: "load address", option: "`request.load`" }),
        };
        if kernel.codec.is_none() && matches!(kernel.format, Some(Format::Compressed(_))) {
            let message = "U-Boot has no word for this compression: the kernel is labelled `none`";
            self.findings.push(fit::rules::CODEC_UNNAMED.finding(message));
        }
        if kernel.codec == Some(Codec::Lz4Legacy) {
            let message =
                "the kernel is in LZ4's legacy frame, which the kernel's build makes but U-Boot does not read";
            let help =
                "compress with `lz4 -9` (without -l), or give the kernel uncompressed with `request.compress` lz4";
            self.findings.push(fit::rules::LZ4_LEGACY.finding(message).with_help(help));
        }
        let end = load.checked_add(kernel.len());
        if kind == "kernel" && kernel.codec.is_none() && !end.is_some_and(|end| (load..end).contains(&entry)) {
            let message = format!(
                "`request.entry` {entry:#x} is outside of the kernel ({load:#x}..{:#x})",
                end.unwrap_or(u64::MAX)
            );
            let finding = fit::rules::ENTRY.finding(message);
            self.findings.push(finding.with_help("change `request.entry` or `request.load`"));
        }
        let description = kernel.release.map_or_else(|| name.to_owned(), |release| format!("Linux-{release}"));
        let wide = [load, entry].iter().any(|address| u32::try_from(*address).is_err());
        let address = |name: &'static str, value: u64| match u32::try_from(value) {
            Ok(value) if !wide => Property::u32(name, value),
            _ => Property::u64(name, value),
        };
        let codec = kernel.codec.and_then(comp_word).unwrap_or("none");
        let os = OS.short(request.os.unwrap_or(OS_LINUX)).unwrap_or("linux");
        let node = Node::new("kernel-1")
            .with(Property::string("description", &description))
            .with(Property::bytes("data", kernel.bytes))
            .with(Property::string("type", kind))
            .with(Property::string("arch", self.arch))
            .with(Property::string("os", os))
            .with(Property::string("compression", codec))
            .with(address("load", load))
            .with(address("entry", entry));
        self.add(node);
        Ok(wide)
    }

    /// An image with its hashes.
    fn add(&mut self, mut node: Node<'a>) {
        for (index, algorithm) in self.request.hashes.iter().enumerate() {
            let name = format!("hash-{}", index + 1);
            node.children.push(Node::new(name).with(Property::string("algo", algorithm.name())));
        }
        self.images.push(node);
    }

    /// An image that is handed on as it is.
    fn add_file(&mut self, name: String, file: FitFile<'a>, kind: &str, load: Option<u64>) {
        self.findings.extend(empty(kind, file));
        let mut node = Node::new(name)
            .with(Property::string("description", file.name))
            .with(Property::bytes("data", file.bytes))
            .with(Property::string("type", kind))
            .with(Property::string("arch", self.arch));
        if kind == "ramdisk" {
            let os = OS.short(self.request.os.unwrap_or(OS_LINUX)).unwrap_or("linux");
            node = node.with(Property::string("os", os));
        }
        // The kernel unpacks a ramdisk itself, and nobody unpacks a device tree.
        node = node.with(Property::string("compression", "none"));
        match load.map(u32::try_from) {
            Some(Ok(load)) => node = node.with(Property::u32("load", load)),
            Some(Err(_)) => node = node.with(Property::u64("load", load.unwrap_or_default())),
            None => {}
        }
        self.add(node);
    }

    fn configurations(&mut self) -> Result<Node<'a>> {
        let request = self.request;
        let mut shared = vec![Property::string("kernel", "kernel-1")];
        let mut configurations = Vec::new();
        let mut names: Vec<(String, &str)> = Vec::new();
        for (index, file) in request.dtbs.iter().enumerate() {
            let tree = device_tree("DTB", index, *file)?;
            let root = tree.root();
            let number = index + 1;
            self.add_file(format!("fdt-{number}"), *file, "flat_dt", request.dtb_load);
            let model = root.property("model").and_then(|model| model.string()).unwrap_or(file.name);
            let mut node = Node::new(format!("conf-{number}"))
                .with(Property::string("description", model))
                .with(Property::string("kernel", "kernel-1"))
                .with(Property::string("fdt", &format!("fdt-{number}")));
            if let Some(compatible) = root.property("compatible") {
                node = node.with(Property::bytes("compatible", compatible.value));
            }
            names.push((node.name.to_string(), file.name));
            configurations.push(node);
        }
        if configurations.is_empty() {
            let description = request.description.as_deref().unwrap_or("kernel");
            let node = Node::new("conf-1").with(Property::string("description", description));
            names.push(("conf-1".to_owned(), ""));
            configurations.push(node.with(shared.remove(0)));
        }
        let mut extra = Vec::new();
        if let Some(file) = request.ramdisk {
            self.add_file("ramdisk-1".to_owned(), file, "ramdisk", None);
            extra.push(Property::string("ramdisk", "ramdisk-1"));
        }
        let mut loadables = Vec::new();
        for (index, file) in request.loadables.iter().enumerate() {
            let name = format!("loadable-{}", index + 1);
            self.add_file(name.clone(), *file, "firmware", None);
            loadables.push(name);
        }
        if !loadables.is_empty() {
            extra.push(Property::strings("loadables", loadables.iter().map(String::as_str)));
        }
        for node in &mut configurations {
            node.properties.extend(extra.iter().cloned());
        }
        for (index, file) in request.overlays.iter().enumerate() {
            device_tree("OVERLAY", index, *file)?;
            let name = format!("overlay-{}", index + 1);
            self.add_file(format!("fdt-{name}"), *file, "flat_dt", None);
            let node = Node::new(name.clone()).with(Property::string("description", file.name));
            configurations.push(node.with(Property::string("fdt", &format!("fdt-{name}"))));
            names.push((name, file.name));
        }
        if !request.overlays.is_empty() && request.dtb_load.is_none() {
            let message =
                "U-Boot enlarges the device tree in place to apply an overlay, over what follows it in the FIT";
            let help = "say where the device tree is copied to first: `request.dtb_load` HEX";
            self.findings.push(fit::rules::OVERLAY.finding(message).with_help(help));
        }
        let mut node = Node::new("configurations");
        node = node.with(Property::string("default", &self.default_name(&names)?));
        node.children = configurations;
        Ok(node)
    }

    fn default_name(&self, names: &[(String, &str)]) -> Result<String> {
        let first = names.first().map_or("conf-1", |(name, _)| name);
        let Some(wanted) = &self.request.default else { return Ok(first.to_owned()) };
        let is = |file: &str| file == wanted || file.rsplit_once('.').is_some_and(|(stem, _)| stem == wanted);
        match names.iter().find(|(name, file)| name == wanted || is(file)) {
            Some((name, _)) => Ok(name.clone()),
            None if self.request.force => Ok(wanted.clone()),
            None => {
                let known: Vec<String> = names
                    .iter()
                    .map(|(name, file)| if file.is_empty() { name.clone() } else { format!("{name} ({file})") })
                    .collect();
                let message = format!("`request.default` {wanted}: there is no such configuration");
                let help = format!("change `request.default` to one of: {}", known.join(", "));
                let finding = fit::rules::DEFAULT.finding(message).with_help(help);
                Err(Error::Contradiction { findings: vec![finding] })
            }
        }
    }
}

/// A file without a byte, which nobody boots; `role` is what it is for.
fn empty(role: &str, file: FitFile<'_>) -> Option<Finding> {
    let message = format!("{} ({role}) is empty", file.name);
    file.bytes.is_empty().then(|| super::rules::FIT_EMPTY.finding(message))
}

/// A device tree blob, read to its end: a damaged one would not boot.
fn device_tree<'a>(which: &'static str, index: usize, file: FitFile<'a>) -> Result<Tree<'a>> {
    let tree = match Format::detect(file.bytes) {
        Some(Format::Fdt) => {
            Dtb::parse_at(file.bytes, 0).and_then(|dtb| dtb.tree()).map_err(|error| Error::input(which, error))
        }
        _ => {
            let help = "give a .dtb file; its source is compiled by dtc -O dtb";
            Err(Error::wrong_input(which, super::describe(file.bytes), "a device tree blob", help))
        }
    };
    tree.map_err(|error| Error::Part { which, index, source: Box::new(error) })
}
