//! What fit_check_sign prints of a FIT: how its signatures are checked, and what U-Boot would load of it.
//!
//! Source: U-Boot's tools/image-host.c (`fit_check_sign`), boot/bootm.c (`bootm_host_load_image`), boot/image-fit-sig.c,
//! boot/image-fit.c (`fit_image_load`, `fit_image_verify_with_data`) and boot/image.c (`image_decomp`), 2023.01 and 2026.10-rc2.

use super::listing::{Lines, Listing, long};
use crate::bytes::{FieldError, until_zero};
use crate::error::{Error, Result};
use crate::finding::Severity;
use crate::format::fdt::NodeRef;
use crate::format::fit::cipher::{CIPHER, ControlKeys};
use crate::format::fit::control;
use crate::format::fit::signature::{self, ControlKey, SIGNATURE};
use crate::format::fit::{Algorithm, Fit, Image};
use crate::format::uimage::{ANY_ROLE, ARCH, BOOTED_OS, COMP_NONE, COMPRESSION, OS, TYPE, kind};
use crate::inspect::verify::{Verified, holds};
use crate::inspect::{LayerId, Opened};
use crate::sign::Scheme;
use std::collections::HashSet;

/// The most nodes that `hashed-nodes` may name (`IMAGE_MAX_HASHED_NODES`).
const MOST_NODES: usize = 100;

/// The images of a configuration that fit_check_sign looks at: the property, and the type.
const LOADED: [(&str, u8); 3] = [("kernel", kind::KERNEL), ("fdt", kind::FLAT_DT), ("ramdisk", kind::RAMDISK)];

/// A step of U-Boot's that ended; what there is to say of it was printed.
struct Refused;

type Step = std::result::Result<(), Refused>;

impl Listing<'_> {
    /// What fit_check_sign prints of the FIT in `opened`, held to the keys of a control device tree, and whether it takes it: the
    /// configuration of that name, or the default one. kimage is as strict as U-Boot and [`signed`](crate::inspect::verify::signed)
    /// together, which made `verified`: what that says of other configurations and their images alone does not count.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no FIT, or no control device tree; [`Error::WrongInput`] where it has no such configuration.
    pub fn check_sign(
        &self,
        opened: &Opened<'_>,
        control: &[u8],
        configuration: Option<&str>,
        verified: &Verified,
    ) -> Result<(Vec<u8>, bool)> {
        let layer = opened.layers().first();
        let fit = Fit::parse(layer.map_or(&[], |layer| opened.bytes(layer)));
        let fit = fit.map_err(|error| Error::input("FIT", error))?;
        let in_control = |error: FieldError| Error::input("CONTROL_DTB", error);
        let tree = control::tree_in(control).map_err(in_control)?;
        let (keys, mode) = signature::control_keys(&tree).map_err(in_control)?;
        let ciphers = ControlKeys::of(&tree).map_err(in_control)?;
        let named = configuration.or(fit.default()).map(|name| name.split_once('#').map_or(name, |(name, _)| name));
        let Some(chosen) = fit.configurations().find(|it| Some(it.name()) == named) else {
            let help = "kimage info lists the configurations; without a name it is the default one";
            return Err(Error::wrong_input("FIT", "a FIT without this configuration", "one that has it", help));
        };
        let node = chosen.node();
        let mut check =
            Check { listing: self, fit: &fit, keys: &keys, any: mode == Some("any"), ciphers, out: Lines::default() };
        let start = format!("Verifying Hash Integrity for node '{}'... ", chosen.name());
        check.out.bytes(start.as_bytes());
        let mut taken = check.configuration(node).is_ok();
        if taken {
            check.out.line(format_args!("Verified OK, loading images"));
            // All are looked at, whatever became of those before.
            let steps = LOADED.map(|(role, of)| check.load(node, role, of).is_ok());
            taken = steps.iter().all(|step| *step);
        }
        let (is_good, out) = (is_good(&fit, node, verified), check.out);
        if taken && !is_good {
            let mut out = Lines::default();
            out.bytes(start.as_bytes());
            let name = chosen.name();
            out.line(format_args!(" error!\nRefused by kimage (standard error says why) for '{name}' config node"));
            return Ok((out.0, false));
        }
        Ok((out.0, taken && is_good))
    }
}

/// Is nothing wrong that concerns this configuration?
fn is_good(fit: &Fit<'_>, chosen: NodeRef<'_, '_>, verified: &Verified) -> bool {
    let named: HashSet<u64> = signature::named(chosen).iter().map(|image| image.at().0).collect();
    let others = fit.configurations().map(|it| it.node()).filter(|node| node.at() != chosen.at());
    let images = fit.images().map(|image| image.node()).filter(|node| !named.contains(&node.at().0));
    let mut elsewhere = HashSet::new();
    let mut nodes: Vec<NodeRef<'_, '_>> = others.chain(images).collect();
    while let Some(node) = nodes.pop() {
        elsewhere.insert(node.at().0);
        elsewhere.extend(node.properties().iter().map(|property| property.at.0));
        nodes.extend(node.children());
    }
    let concerns = |at: Option<u64>| at.is_none_or(|at| !elsewhere.contains(&at));
    let wrong = verified.findings.iter().filter(|found| found.finding.severity == Severity::Error);
    let mut wrong = wrong.filter(|found| found.layer != LayerId(0) || concerns(found.finding.offset));
    wrong.next().is_none() && verified.unknown().is_none()
}

struct Check<'c, 'a> {
    listing: &'c Listing<'c>,
    fit: &'c Fit<'a>,
    keys: &'c [ControlKey<'c>],
    /// One good signature of those that are demanded is enough.
    any: bool,
    ciphers: ControlKeys,
    out: Lines,
}

/// A property's text as C reads it.
fn text<'a>(node: NodeRef<'_, 'a>, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    node.property(name).map(|it| String::from_utf8_lossy(until_zero(it.value)))
}

fn signatures<'t, 'a>(node: NodeRef<'t, 'a>) -> impl Iterator<Item = NodeRef<'t, 'a>> {
    node.children().filter(|child| child.name().starts_with(SIGNATURE))
}

impl Check<'_, '_> {
    /// puts(3), which U-Boot's own does not end the line in.
    fn puts(&mut self, text: &str) {
        self.out.line(format_args!("{text}"));
    }

    fn mark(&mut self, is_good: bool) {
        self.puts(if is_good { "+ " } else { "- " });
    }

    /// The signatures of a configuration that the keys demand (`fit_config_verify_required_keys`).
    fn configuration(&mut self, node: NodeRef<'_, '_>) -> Step {
        let name = node.name();
        if name.contains('@') {
            self.out.line(format_args!("Configuration node '{name}' contains '@'"));
            return Err(Refused);
        }
        let (mut demanded, mut good) = (false, false);
        for key in self.keys.iter().filter(|key| key.required == Some("conf")) {
            demanded = true;
            let is_held = self.signed_with(node, key).is_ok();
            if is_held {
                good = true;
                if self.any {
                    break;
                }
            } else if !self.any {
                self.out.line(format_args!("Failed to verify required signature '{}'", key.name));
                return Err(Refused);
            }
        }
        if demanded && !good {
            self.out.line(format_args!("Failed to verify 'any' of the required signature(s)"));
            return Err(Refused);
        }
        Ok(())
    }

    /// `fit_config_verify_key`.
    fn signed_with(&mut self, node: NodeRef<'_, '_>, key: &ControlKey<'_>) -> Step {
        let mut why = "No 'signature' subnode found";
        for signature in signatures(node) {
            match self.signature(signature, std::slice::from_ref(key), Some(node)) {
                Ok(()) => {
                    self.mark(true);
                    return Ok(());
                }
                Err(found) => {
                    why = found;
                    self.mark(false);
                }
            }
        }
        let name = node.name();
        match self.listing.layout.names_configuration_alone() {
            true => self.out.line(format_args!(" error!\n{why} for '{name}' config node")),
            false => self.out.line(format_args!(" error!\n{why} for '(null)' hash node in '{name}' config node")),
        }
        Err(Refused)
    }

    /// A signature of a configuration or, without one, of an image: one of the keys is to hold. The error is U-Boot's word for what
    /// is wrong.
    fn signature(
        &mut self,
        signature: NodeRef<'_, '_>,
        keys: &[ControlKey<'_>],
        configuration: Option<NodeRef<'_, '_>>,
    ) -> std::result::Result<(), &'static str> {
        let layout = self.listing.layout;
        let algo = text(signature, "algo").ok_or("Can't get hash algo property")?;
        let hint = text(signature, "key-name-hint").unwrap_or("(null)".into());
        self.out.bytes(format!("{algo}:{hint}").as_bytes());
        let padding = text(signature, "padding").filter(|_| layout.knows_padding_first());
        if Scheme::parse(&algo, padding.as_deref()).is_err() {
            return Err("Unknown signature algorithm");
        }
        if signature.property("value").is_none() {
            return Err("Can't get hash value property");
        }
        if let Some(node) = configuration {
            match layout.rebuilds_coverage() {
                true => self.coverage(node).map_err(|Refused| "Failed to build hash node list")?,
                false => hashed_nodes(signature, node)?,
            }
        }
        let held = keys.iter().any(|key| {
            key.key.as_ref().is_ok_and(|it| holds(self.fit, signature, (it, key.algo), configuration).is_ok())
        });
        if held { Ok(()) } else { Err("Verification failed") }
    }

    /// `fit_config_get_signed_nodes`.
    fn coverage(&mut self, node: NodeRef<'_, '_>) -> Step {
        let images = signature::named(node);
        let is_hashed = |image: &&NodeRef<'_, '_>| image.children().any(|child| child.name().starts_with("hash"));
        if let Some(image) = images.iter().find(|image| !is_hashed(image)) {
            self.out.line(format_args!("No hash nodes in image '{}'", image.name()));
            return Err(Refused);
        }
        if images.is_empty() {
            self.out.line(format_args!("No images in config '{}'", node.name()));
            return Err(Refused);
        }
        Ok(())
    }

    /// An image of a configuration: is it one that U-Boot would load? (`fit_image_load`, `bootm_host_load_image`)
    fn load(&mut self, configuration: NodeRef<'_, '_>, role: &str, of: u8) -> Step {
        let layout = self.listing.layout;
        let phase = if layout.says_phase() { " (any)" } else { "" };
        // fit_check_sign says where the FIT is in its own memory, which tells nobody anything.
        self.out.line(format_args!("## Loading {role}{phase} from FIT Image at {:08x} ...", 0));
        self.format(role)?;
        self.out.line(format_args!("   Using '{}' configuration", configuration.name()));
        self.puts("   Verifying Hash Integrity ... ");
        self.configuration(configuration)?;
        self.puts("OK\n");
        let names = configuration.property(role).and_then(|it| it.strings());
        let name = names.and_then(|names| names.first().copied());
        let Some(image) = self.fit.images().find(|image| Some(image.name()) == name) else {
            // Nothing is wrong with that.
            self.out.line(format_args!("Could not find subimage node type '{role}'"));
            return Ok(());
        };
        let node = image.node();
        self.out.line(format_args!("   Trying '{}' {role} subimage", image.name()));
        let mut listed = Lines::default();
        self.listing.fit_image(self.fit, node, &mut listed);
        for line in listed.0.split_inclusive(|byte| *byte == b'\n') {
            self.out.bytes(b"   ");
            self.out.bytes(line);
        }
        self.puts("   Verifying Hash Integrity ... ");
        if self.image(image).is_err() {
            self.puts("Bad Data Hash\n");
            return Err(Refused);
        }
        self.puts("OK\n");
        let id = |property: &str, names: crate::format::uimage::Names| {
            text(node, property).map(|word| names.id(&word).unwrap_or(u8::MAX))
        };
        let kind = id("type", TYPE).unwrap_or(u8::MAX);
        let os = id("os", OS).unwrap_or(u8::MAX);
        let is_type = kind == of || ANY_ROLE.contains(&kind) || of == kind::KERNEL && kind == kind::KERNEL_NOLOAD;
        if !is_type || of != kind::FLAT_DT && !BOOTED_OS.contains(&os) {
            let [os, arch, of] = [(OS, os), (ARCH, 0), (TYPE, of)].map(long);
            self.out.line(format_args!("No {os} {arch} {of} Image"));
            return Err(Refused);
        }
        self.puts("   Decrypting Data ... ");
        if let Some(why) = self.not_decrypted(image) {
            self.out.line(format_args!("{why}"));
            self.puts("Error\n");
            return Err(Refused);
        }
        self.puts("OK\n");
        let codec = id("compression", COMPRESSION).unwrap_or(COMP_NONE);
        if of == kind::FLAT_DT && !layout.says_phase() {
            if codec != COMP_NONE {
                self.unpack(of, codec);
                self.out.line(format_args!("Error decompressing {role}"));
                return Err(Refused);
            }
            if !image.data().is_some_and(crate::format::fdt::Dtb::detect) && node.child(CIPHER).is_none() {
                self.puts("Subimage data is not a FDT\n");
                return Err(Refused);
            }
        }
        if of == kind::RAMDISK && codec != COMP_NONE {
            self.puts("WARNING: 'compression' nodes for ramdisks are deprecated, please fix your .its file!\n");
        }
        self.unpack(kind, codec);
        Ok(())
    }

    /// What is compressed the tool does not unpack; that is no failure (`image_decomp`).
    fn unpack(&mut self, kind: u8, codec: u8) {
        let to = if self.listing.layout.says_where_to() { " to 0" } else { "" };
        let kind = long((TYPE, kind));
        if codec == COMP_NONE {
            self.out.line(format_args!("   Loading {kind}{to}"));
        } else {
            self.out.line(format_args!("   Uncompressing {kind}{to}"));
            self.out.line(format_args!("Unimplemented compression type {codec}"));
        }
    }

    /// `fit_check_format`, with the number of the error.
    fn format(&mut self, role: &str) -> Step {
        let root = self.fit.tree().root();
        let has_at = self.fit.tree().nodes().any(|node| node.name().contains('@'));
        let error = match root.property("description") {
            _ if has_at => 99,
            None => 42,
            Some(_) if root.property("timestamp").is_none() => 74,
            Some(_) => return Ok(()),
        };
        self.out.line(format_args!("Bad FIT {role} image format! (err=-{error})"));
        if has_at {
            self.out.line(format_args!("Signature checking prevents use of unit addresses (@) in nodes"));
        }
        Err(Refused)
    }

    /// The signatures and hashes of an image (`fit_image_verify_with_data`).
    fn image(&mut self, image: Image<'_, '_>) -> Step {
        let (node, name) = (image.node(), image.name());
        let Some(data) = image.data() else {
            self.out.line(format_args!("error!\nCan't get image data/size in '{name}' image node"));
            return Err(Refused);
        };
        let failed = |check: &mut Self, why: &str, of: &str| {
            check.out.line(format_args!(" error!\n{why} for '{of}' hash node in '{name}' image node"));
            Err(Refused)
        };
        let mut demanded = false;
        for key in self.keys.iter().filter(|key| key.required == Some("image")) {
            demanded = true;
            let mut held = false;
            for signature in signatures(node) {
                held = self.signature(signature, self.keys, None).is_ok();
                self.mark(held);
                if held {
                    break;
                }
            }
            if !held {
                self.out.line(format_args!("Failed to verify required signature '{}'", key.name));
                return failed(self, "Unable to verify required signature", "");
            }
        }
        for child in node.children() {
            if child.name().starts_with("hash") {
                match self.hash(child, data) {
                    Ok(()) => self.mark(true),
                    Err(why) => return failed(self, why, child.name()),
                }
            } else if child.name().starts_with(SIGNATURE) && !demanded {
                let held = self.signature(child, self.keys, None).is_ok();
                self.mark(held);
            }
        }
        Ok(())
    }

    fn hash(&mut self, node: NodeRef<'_, '_>, data: &[u8]) -> std::result::Result<(), &'static str> {
        let algo = text(node, "algo").ok_or("Can't get hash algo property")?;
        self.out.bytes(algo.as_bytes());
        let value = node.property("value").ok_or("Can't get hash value property")?.value;
        let wanted = Algorithm::from_name(&algo).ok_or("Unsupported hash algorithm")?.hash(data);
        match value.len() == wanted.len() {
            false => Err("Bad hash value len"),
            true if value != wanted => Err("Bad hash value"),
            true => Ok(()),
        }
    }

    /// Why an image with a cipher is not decrypted.
    fn not_decrypted(&self, image: Image<'_, '_>) -> Option<&'static str> {
        image.node().child(CIPHER)?;
        if image.plain_size().is_none() {
            return Some("Can't get size of unciphered data");
        }
        let found = image.decrypted_by(&self.ciphers).err()?;
        match found.rule == crate::format::fit::rules::CIPHER_KEY.id {
            true => Some("Can't found cipher node offset"),
            false => Some("Can't decrypt"),
        }
    }
}

/// What releases before 2026.04 want of the list of what is signed.
fn hashed_nodes(signature: NodeRef<'_, '_>, configuration: NodeRef<'_, '_>) -> std::result::Result<(), &'static str> {
    let listed = signature.property("hashed-nodes").map(|it| it.value).unwrap_or_default();
    let ends = listed.iter().filter(|byte| **byte == 0).count();
    if ends == 0 {
        return Err("Can't get hashed-nodes property");
    }
    if listed.last() != Some(&0) {
        return Err("hashed-nodes property must be null-terminated");
    }
    if ends > MOST_NODES {
        return Err("Number of hashed nodes exceeds maximum");
    }
    let path = configuration.path();
    let is_named = listed.split(|byte| *byte == 0).any(|name| name == path.as_bytes());
    if is_named { Ok(()) } else { Err("Selected config not in hashed nodes") }
}
