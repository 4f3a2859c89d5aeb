//! Whom a boot loader or firmware trusts; would a U-Boot with these keys take the FIT, what of it do the signatures cover, and what is
//! in its encrypted images?
//!
//! Stricter than U-Boot: what a signature covers is made of the configuration, as U-Boot 2026.04 does it, and not read from the
//! signature (`hashed-nodes`); and what a forger could change without being found out is an error.

use super::authenticode::{self, Firmware, FirmwareRequest};
use super::{LayerFinding, Verified};
use crate::bytes::FieldError;
use crate::codec::Codec;
use crate::error::Error;
use crate::finding::{Finding, Rule, Severity};
use crate::format::Format;
use crate::format::fdt::NodeRef;
use crate::format::fit::cipher::{CIPHER, ControlKeys};
use crate::format::fit::control;
use crate::format::fit::signature::{self, ControlKey, NoControlKey, SIGNATURE};
use crate::format::fit::{Configuration, Fit, Image, compression_fits, rules};
use crate::inspect::{Kind, LayerId, Limits, Opened, open};
use crate::sign::{Algorithm, PublicKey, Scheme, Secrets};
use std::collections::HashSet;

/// Keys, and what is demanded of them.
#[derive(Debug, Clone)]
pub struct Trust {
    keys: Vec<Trusted>,
    /// One good signature of those that are demanded is enough (`required-mode`).
    any: bool,
    findings: Vec<Finding>,
    /// The keys are those of a control device tree, which may leave things unsigned.
    is_control: bool,
    /// A key that cannot be used here demands signatures of configurations.
    has_other: bool,
    /// What U-Boot decrypts images with.
    ciphers: Option<ControlKeys>,
    /// Whom UEFI firmware trusts, in place of U-Boot.
    firmware: Option<Firmware>,
}

#[derive(Debug, Clone)]
struct Trusted {
    name: String,
    key: PublicKey,
    algo: Option<String>,
    demand: Demand,
}

/// What must be signed with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Nothing,
    Configurations,
    Images,
    /// Each configuration, or all of its images.
    Either,
}

impl Trust {
    fn empty() -> Trust {
        Trust {
            keys: Vec::new(),
            any: false,
            findings: Vec::new(),
            is_control: false,
            has_other: false,
            ciphers: None,
            firmware: None,
        }
    }

    /// Every configuration is to be signed with this key.
    pub fn of_key(name: &str, key: PublicKey) -> Trust {
        let key = Trusted { name: name.to_owned(), key, algo: None, demand: Demand::Either };
        Trust { keys: vec![key], ..Trust::empty() }
    }

    /// What a U-Boot with this control device tree demands, and can decrypt.
    ///
    /// # Errors
    /// A [`FieldError`] when it is no device tree, nor U-Boot with one at its end.
    pub fn of_control(dtb: &[u8]) -> Result<Trust, FieldError> {
        let tree = control::tree_in(dtb)?;
        let mut trust = Trust { is_control: true, ciphers: Some(ControlKeys::of(&tree)?), ..Trust::empty() };
        let (found, mode) = signature::control_keys(&tree)?;
        trust.any = mode == Some("any");
        let (mut demanded, mut unsupported) = (false, Vec::new());
        for ControlKey { name, key, algo, required } in found {
            let mut useless = |why: String| {
                trust
                    .findings
                    .push(rules::CONTROL_KEY.finding(format!("key {name} of the control device tree: {why}")));
            };
            let demand = match required {
                Some("conf") => Demand::Configurations,
                Some("image") => Demand::Images,
                _ => Demand::Nothing,
            };
            if let Some(required) = required.filter(|_| demand == Demand::Nothing) {
                useless(format!("required is {required:?}, wanted \"conf\" or \"image\""));
            }
            if algo.is_none() {
                useless("it has no algo".to_owned());
            }
            demanded |= demand != Demand::Nothing;
            match key {
                Ok(key) => {
                    let algo = algo.map(str::to_owned);
                    trust.keys.push(Trusted { name: name.to_owned(), key, algo, demand });
                }
                Err(NoControlKey::Damaged(why)) => {
                    useless(why);
                    trust.has_other |= demand == Demand::Configurations;
                }
                Err(NoControlKey::Unsupported(why)) => {
                    trust.has_other |= demand == Demand::Configurations;
                    let demands = match demand {
                        Demand::Configurations => "it demands a signature of each configuration, which was not checked",
                        Demand::Images => "it demands a signature of each image, which was not checked",
                        _ => "it demands nothing",
                    };
                    unsupported.push((demand, format!("key {name} of the control device tree: {why}; {demands}")));
                }
            }
        }
        let has_one = trust.keys.iter().any(|key| key.demand == Demand::Configurations);
        for (demand, message) in unsupported {
            let finding = rules::KEY_UNSUPPORTED.finding(message);
            trust.findings.push(match demand {
                // What demands nothing refuses nothing.
                Demand::Nothing => finding.with_severity(Severity::Note),
                Demand::Configurations if trust.any && has_one => finding
                    .with_severity(Severity::Warning)
                    .not_checked("signatures with keys that kimage does not know"),
                _ => finding.not_checked("signatures with keys that kimage does not know"),
            });
        }
        if !demanded {
            let message = "no key of the control device tree is required";
            trust.findings.push(rules::NOT_REQUIRED.finding(message));
        }
        Ok(trust)
    }

    /// UEFI firmware with Secure Boot.
    ///
    /// # Errors
    /// An [`Error::Part`] for a file that is none of those it may be: `VARS`, `CERT` or `DBX`.
    pub fn of_firmware(request: &FirmwareRequest<'_>) -> Result<Trust, Error> {
        Ok(Trust { firmware: Some(Firmware::new(request)?), ..Trust::empty() })
    }
}

/// Holds the FIT in `opened` to the keys, or the EFI program to what firmware trusts, and says so in `verified`, which [`super::verify`] made of it: what was not checked there
/// is checked now. Encrypted images are decrypted with the keys of the control device tree.
pub fn signed(opened: &Opened<'_>, trust: &Trust, verified: &mut Verified) {
    if let Some(firmware) = &trust.firmware {
        return authenticode::check(opened, firmware, verified);
    }
    let layer = opened.layers().first();
    let is_fit = layer.is_some_and(|layer| layer.kind == Kind::Known(Format::Fit));
    let fit = layer.filter(|_| is_fit).and_then(|layer| Fit::parse(opened.bytes(layer)).ok());
    let mut check = Check { trust, findings: trust.findings.clone(), done: HashSet::new() };
    match &fit {
        Some(fit) => check.fit(fit),
        None => {
            check.findings.push(rules::UNSIGNED.finding("the file is no FIT: it has no signature that was looked for"))
        }
    }
    let Check { findings, done, .. } = check;
    verified.checks += 1;
    replace(verified, &rules::SIGNATURE, &done, findings);
    if let (Some(fit), Some(keys)) = (&fit, &trust.ciphers) {
        let mut contents = Contents { limits: opened.limits(), checks: 0, done: HashSet::new(), findings: Vec::new() };
        fit.encrypted().for_each(|image| contents.check(image, image.decrypted_by(keys)));
        contents.say(verified);
        // Which U-Boot it is that decrypts is known here.
        let plain = |found: &&mut LayerFinding| found.finding.rule == rules::NOT_ENCRYPTED.id && !keys.is_empty();
        verified.findings.iter_mut().filter(plain).for_each(|found| found.finding.severity = Severity::Error);
    }
}

/// Puts `findings` of the file itself in the place of those of a rule that say that nobody looked at these nodes.
fn replace(verified: &mut Verified, unchecked: &Rule, done: &HashSet<u64>, findings: Vec<Finding>) {
    verified.findings.retain(|found| {
        let is_done = found.finding.offset.is_some_and(|at| done.contains(&at));
        !(is_done && found.layer == LayerId(0) && found.finding.rule == unchecked.id)
    });
    for finding in findings.into_iter().map(|finding| LayerFinding { layer: LayerId(0), finding }) {
        // Two may have looked: keys in files, and a control device tree.
        if !verified.findings.contains(&finding) {
            verified.findings.push(finding);
        }
    }
}

/// Decrypts the encrypted images of the FIT in `opened` and checks what is in them, as far as `limits` allow, and says so in
/// `verified`, which [`super::verify`] made of it.
///
/// # Errors
/// [`crate::sign::Error`] for a key that is not to be had, or is none for its cipher.
pub fn decrypted(
    opened: &Opened<'_>,
    secrets: &Secrets<'_>,
    limits: &Limits,
    verified: &mut Verified,
) -> Result<(), crate::sign::Error> {
    let Some(layer) = opened.layers().first() else { return Ok(()) };
    let Ok(fit) = Fit::parse(opened.bytes(layer)) else { return Ok(()) };
    let mut contents = Contents { limits, checks: 0, done: HashSet::new(), findings: Vec::new() };
    for image in fit.encrypted() {
        let plain = image.decrypted(secrets)?.map_err(|why| {
            Box::new(rules::DECRYPTED.finding(format!("image {}: {why}", image.name())).at(image.node().at().0))
        });
        contents.check(image, plain);
    }
    contents.say(verified);
    Ok(())
}

/// What is in encrypted images.
struct Contents<'l> {
    limits: &'l Limits,
    checks: u64,
    /// Where the nodes of the ciphers are that were looked at.
    done: HashSet<u64>,
    findings: Vec<Finding>,
}

impl Contents<'_> {
    /// Looks at what an image was decrypted to, or notes why it was not.
    fn check(&mut self, image: Image<'_, '_>, plain: Result<Vec<u8>, Box<Finding>>) {
        let name = image.name();
        self.checks += 1;
        self.done.extend(image.node().child(CIPHER).map(|node| node.at().0));
        let plain = match plain {
            Ok(plain) => plain,
            Err(finding) => return self.findings.push(*finding),
        };
        let word = image.text("compression").unwrap_or("");
        if compression_fits(word, Codec::detect(&plain)) == Some(false) {
            let message = format!("image {name} says compression {word}, but is something else when it is decrypted");
            self.findings.push(rules::COMPRESSION.finding(message).at(image.node().at().0));
        }
        // What has no header is data, of which nothing is known.
        let Ok(inner) = open(&plain, self.limits) else { return };
        let found = super::verify(&inner);
        self.checks += found.checks;
        self.findings.extend(found.findings.into_iter().map(|LayerFinding { layer, finding }| {
            let message = format!("image {name}, decrypted, {}: {}", inner.path(layer), finding.message);
            Finding { message, offset: None, ..finding }
        }));
    }

    fn say(self, verified: &mut Verified) {
        verified.checks += self.checks;
        replace(verified, &rules::CIPHER, &self.done, self.findings);
    }
}

struct Check<'t> {
    trust: &'t Trust,
    findings: Vec<Finding>,
    /// Where the nodes of the signatures are that were checked.
    done: HashSet<u64>,
}

impl Check<'_> {
    fn fit(&mut self, fit: &Fit<'_>) {
        for node in fit.tree().nodes() {
            let mut names = HashSet::new();
            let properties = node.properties().iter().find(|it| !names.insert(it.name)).map(|it| it.name);
            names.clear();
            let nodes = node.children().find(|child| !names.insert(child.name())).map(|child| child.name());
            if let Some(name) = properties.or(nodes) {
                let message = format!("{} has {name} twice", node.path());
                self.findings.push(rules::DUPLICATE_NAME.finding(message).at(node.at().0));
            }
        }
        for configuration in fit.configurations() {
            self.configuration(fit, configuration);
        }
        let demands_images = self.trust.keys.iter().any(|key| key.demand == Demand::Images);
        let images: Vec<&str> = fit.images().map(|image| image.name()).collect();
        if self.trust.is_control && !demands_images && !images.is_empty() {
            let message = format!(
                "by themselves (bootm ADDRESS:IMAGE) boot unsigned, as no key is required for images: {}",
                images.join(", ")
            );
            self.findings.push(rules::IMAGE_ALONE.finding(message));
        }
        if fit.configurations().next().is_none() {
            let root = fit.tree().root();
            let at = root.child("configurations").unwrap_or(root).at().0;
            self.findings.push(rules::UNSIGNED.finding("there is no configuration that could be signed").at(at));
        }
    }

    fn configuration(&mut self, fit: &Fit<'_>, configuration: Configuration<'_, '_>) {
        let trust = self.trust;
        let (name, at) = (configuration.name(), configuration.node().at().0);
        let images = signature::named(configuration.node());
        let mut found = Vec::new();
        let (mut wanted, mut good) = (0, 0);
        for key in trust.keys.iter().filter(|key| key.demand != Demand::Nothing) {
            let mut done = Vec::new();
            let of_configuration = || self_or_images(fit, configuration, key, &images);
            let held = match key.demand {
                Demand::Images => all_images(fit, key, &images),
                Demand::Configurations => held(fit, configuration.node(), key, Some(configuration.node())),
                _ => of_configuration(),
            };
            let children = images.iter().flat_map(|image| image.children());
            done.extend(configuration.node().children().chain(children).filter(|it| it.name().starts_with(SIGNATURE)));
            wanted += 1;
            match held {
                Ok(how) => {
                    good += 1;
                    self.done.extend(done.iter().map(|node| node.at().0));
                    let message = format!("configuration {name}: signed with {}: {how}", key.name);
                    found.push(rules::SIGNED.finding(message).at(at));
                }
                Err(Fault { why, left_out, place, values }) => {
                    if key.demand != Demand::Images {
                        self.done.extend(configuration.node().children().map(|node| node.at().0));
                    }
                    let rule = if left_out { &rules::SIGN_IMAGES } else { &rules::UNSIGNED };
                    let message = format!("configuration {name}, key {}: {why}", key.name);
                    let enough = trust.any && key.demand == Demand::Configurations;
                    let severity = if enough { Severity::Note } else { Severity::Error };
                    let finding = rule.finding(message).with_severity(severity).at(place.unwrap_or(at));
                    let (is, wanted) = values.unzip();
                    found.push(Finding { found: is, wanted, ..finding });
                }
            }
        }
        if wanted == 0 && trust.is_control && !trust.has_other {
            let held = |key: &&Trusted| held(fit, configuration.node(), key, Some(configuration.node())).is_ok();
            let signed: Vec<&str> = trust.keys.iter().filter(held).map(|key| &*key.name).collect();
            let signed = match &*signed {
                [] => String::new(),
                keys => format!("; its signature with {} holds, but is not asked for", keys.join(", ")),
            };
            let message = format!("configuration {name} boots unsigned: no key is required for it{signed}");
            found.push(rules::BOOTS_UNSIGNED.finding(message).at(at));
        }
        if trust.any && good == 0 && wanted > 0 {
            found.iter_mut().for_each(|finding| finding.severity = Severity::Error);
        }
        self.findings.extend(found);
        if wanted > 0 {
            images.iter().for_each(|image| self.hashes(*image));
        }
    }

    /// What stands for the data of an image in the signature of a configuration.
    fn hashes(&mut self, image: NodeRef<'_, '_>) {
        let hashes = image.children().filter(|child| child.name().starts_with("hash"));
        let algorithms = hashes.filter_map(|hash| hash.property("algo").and_then(|algo| algo.string()));
        let algorithms: Vec<Algorithm> = algorithms.filter_map(Algorithm::from_name).collect();
        let has = |wanted: &[Algorithm]| algorithms.iter().any(|it| wanted.contains(it));
        if algorithms.is_empty() || has(&[Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512]) {
            return;
        }
        let severity = if has(&[Algorithm::Sha1]) { Severity::Warning } else { Severity::Error };
        let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        let message = format!("image {} has no hash but {}", image.name(), names.join(", "));
        let finding = rules::WEAK_HASH.finding(message).with_severity(severity).at(image.at().0);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// Why no signature holds.
pub(crate) struct Fault {
    why: String,
    /// One would, did the configuration name less.
    left_out: bool,
    /// The file offset of the property or the node that it is about.
    place: Option<u64>,
    /// What stands there, and what should.
    values: Option<(String, String)>,
}

impl Fault {
    fn new(why: impl Into<String>) -> Fault {
        Fault { why: why.into(), left_out: false, place: None, values: None }
    }

    /// About a property, or the node where it is missing.
    fn of(self, node: NodeRef<'_, '_>, property: &str) -> Fault {
        let place = node.property(property).map_or(node.at(), |property| property.at);
        Fault { place: Some(place.0), ..self }
    }

    fn with(self, found: impl ToString, wanted: impl ToString) -> Fault {
        Fault { values: Some((found.to_string(), wanted.to_string())), ..self }
    }
}

/// A configuration that is signed itself, or by all of its images.
fn self_or_images(
    fit: &Fit<'_>,
    configuration: Configuration<'_, '_>,
    key: &Trusted,
    images: &[NodeRef<'_, '_>],
) -> Result<String, Fault> {
    let own = held(fit, configuration.node(), key, Some(configuration.node()));
    let is_signed = configuration.node().children().any(|child| child.name().starts_with(SIGNATURE));
    if is_signed { own } else { all_images(fit, key, images).or(own) }
}

/// All images are signed with the key.
fn all_images(fit: &Fit<'_>, key: &Trusted, images: &[NodeRef<'_, '_>]) -> Result<String, Fault> {
    for image in images {
        held(fit, *image, key, None)
            .map_err(|fault| Fault { why: format!("image {}: {}", image.name(), fault.why), ..fault })?;
    }
    match images {
        [] => Err(Fault::new("it names no image")),
        _ => {
            let names: Vec<&str> = images.iter().map(|image| image.name()).collect();
            Ok(format!("covers the data of {}; not their addresses and types, nor the configuration", names.join(", ")))
        }
    }
}

/// One of the signatures in `node` holds; of the configuration it is in, or of an image.
fn held(
    fit: &Fit<'_>,
    node: NodeRef<'_, '_>,
    key: &Trusted,
    configuration: Option<NodeRef<'_, '_>>,
) -> Result<String, Fault> {
    let mut fault = Fault::new("it has no signature").of(node, SIGNATURE).with("none", "a node signature");
    let mut is_best = false;
    for signature in node.children().filter(|child| child.name().starts_with(SIGNATURE)) {
        let found = match holds(fit, signature, (&key.key, key.algo.as_deref()), configuration) {
            Ok(how) => return Ok(how),
            Err(found) => found,
        };
        // That which says to be made with this key tells more than another.
        let hint = signature.property("key-name-hint").and_then(|it| it.string());
        let is_of_key = hint.is_some_and(|hint| key.name.strip_prefix("key-").unwrap_or(&key.name) == hint);
        if found.left_out || !is_best {
            is_best = found.left_out || is_of_key;
            fault = found;
        }
    }
    Err(fault)
}

/// Does this signature hold with the key, of the configuration it is in, or of an image?
pub(crate) fn holds(
    fit: &Fit<'_>,
    signature: NodeRef<'_, '_>,
    (key, key_algo): (&PublicKey, Option<&str>),
    configuration: Option<NodeRef<'_, '_>>,
) -> Result<String, Fault> {
    let name = signature.name();
    let about = |property: &str, why: String| Fault::new(format!("{name} {why}")).of(signature, property);
    let lacks = |property: &str| about(property, format!("has no {property}")).with("none", format!("a {property}"));
    let text = |property: &str| signature.property(property).and_then(|it| it.string());
    let algo = text("algo").ok_or_else(|| lacks("algo"))?;
    let padding = signature.property("padding").map(|it| it.string().unwrap_or_default());
    let unknown = if Scheme::parse(algo, None).is_err() { "algo" } else { "padding" };
    let scheme =
        Scheme::parse(algo, padding).map_err(|error| Fault::new(format!("{name}: {error}")).of(signature, unknown))?;
    if let Some(wanted) = key_algo.filter(|wanted| *wanted != algo) {
        let fault = about("algo", format!("has the algorithm {algo}, the key is for {wanted}"));
        return Err(fault.with(algo, wanted));
    }
    let value = signature.property("value").ok_or_else(|| lacks("value"))?.value;
    let wrong = || about("value", "does not hold".to_owned());
    let is_of = |parts: &[&[u8]]| key.verify(scheme, &scheme.hash.hash_all(parts), value);
    let Some(configuration) = configuration else {
        let image = signature.parent().and_then(|image| fit.images().find(|it| it.node().at() == image.at()));
        let data = image.and_then(|image| image.data()).ok_or_else(|| Fault::new("it has no data"))?;
        return if is_of(&[data]) { Ok(algo.to_owned()) } else { Err(wrong()) };
    };
    let images = signature::named(configuration);
    let nodes = signature::to_be_covered(configuration).map_err(|path| {
        let image = images.iter().copied().find(|image| image.path() == path).unwrap_or(configuration);
        Fault::new(format!("{path} has no hash")).of(image, "hash").with("none", "a node hash")
    })?;
    let strings = signature.property("hashed-strings").map(|it| it.value).unwrap_or_default();
    let of_strings =
        |why: String| Fault::new(format!("hashed-strings of {name} {why}")).of(signature, "hashed-strings");
    let (start, names) = match *strings {
        [a, b, c, d, e, f, g, h] => (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])),
        _ => return Err(of_strings(format!("has {} bytes, wanted 8", strings.len())).with(strings.len(), 8)),
    };
    if start != 0 {
        return Err(of_strings(format!("begins at {start}, wanted 0")).with(start, 0));
    }
    let covers = |nodes| {
        signature::covered_bytes(fit.dtb(), nodes, names.into())
            .map_err(|error| Fault::new(error.to_string()).of(signature, "hashed-strings"))
    };
    if is_of(&covers(&nodes)?) {
        let names: Vec<&str> = images.iter().map(|image| image.name()).collect();
        return Ok(format!("{algo}, covers the configuration with {}", names.join(", ")));
    }
    // What it says itself to cover.
    let said = signature.property("hashed-nodes").and_then(|it| it.strings()).unwrap_or_default();
    let said: HashSet<String> = said.into_iter().map(str::to_owned).collect();
    if said.contains(&configuration.path()) && is_of(&covers(&said)?) {
        let left_out = images.iter().filter(|image| !said.contains(&image.path())).map(|image| image.name());
        let left_out: Vec<&str> = left_out.collect();
        let why = format!("holds, but does not cover {}", left_out.join(", "));
        return Err(Fault { left_out: true, ..about("hashed-nodes", why) });
    }
    Err(wrong())
}
