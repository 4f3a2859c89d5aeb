//! Signatures: which nodes they cover, what stands beside their values, and the keys that control device trees have for them.
//!
//! Source: U-Boot's tools/image-host.c (`fit_config_get_hash_list`, `fit_image_write_sig`), boot/image-fit-sig.c, lib/rsa/rsa-sign.c
//! (`rsa_add_verify_data`) and lib/ecdsa/ecdsa-libcrypto.c (`ecdsa_add_verify_data`).

use super::cipher::CIPHER;
use super::control::{Control, Entry, overlay, root_of};
use super::verity::VERITY;
use super::{Error, FitLayout};
use crate::bytes::{FieldError, count64, slice_at};
use crate::format::fdt::{Dtb, Node, NodeRef, Property, Tree};
use crate::sign::{self, EcPoint, PublicKey, Request, RsaNumbers, Scheme, Signature, Signer};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// The nodes of signatures are called so, or begin with it.
pub(crate) const SIGNATURE: &str = "signature";

/// Properties that no signature covers: where data is, and the data itself, for which its hash stands.
const NOT_COVERED: [&str; 4] = ["data", "data-size", "data-position", "data-offset"];

/// Properties of a configuration that name no images (boot/image-fit-sig.c of 2026.04, `fit_config_get_hash_list`).
const NO_IMAGES: [&str; 3] = ["description", "compatible", "default"];

/// Who fills in the signatures of a FIT, and with what.
#[derive(Clone, Copy)]
pub struct Signing<'k> {
    /// Who has the keys.
    pub signer: &'k dyn Signer,
    /// Keys of ciphers, and random numbers.
    pub secrets: &'k sign::Secrets<'k>,
    /// `comment` of each signature.
    pub comment: Option<&'k str>,
    /// The algorithm of each signature, in place of the tree's (`sha256,rsa2048`).
    pub algo: Option<&'k str>,
    /// The device tree of the U-Boot that is to boot the FIT: the public keys are put there.
    pub control: Option<&'k [u8]>,
    /// The public keys are put into an overlay that is made anew, in place of [`Signing::control`].
    pub control_overlay: bool,
    /// The keys of configurations' signatures become `required` there.
    pub require_configurations: bool,
    /// The keys of images' signatures become `required` there.
    pub require_images: bool,
}

impl fmt::Debug for Signing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").finish_non_exhaustive()
    }
}

/// A signature that was made, and what was asked for.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) request: Request,
    pub(super) made: Signature,
}

impl Signing<'_> {
    /// What the node at `path` asks for, made of `bytes`.
    pub(super) fn sign(&self, path: &str, node: &Node<'_>, bytes: &[&[u8]]) -> Result<Signed, Error> {
        let text = |name: &str| node.property(name).and_then(|it| it.as_string());
        let algo = self.algo.or_else(|| text("algo"));
        let failed = |source| Error::Sign { path: path.to_owned(), source };
        let scheme = Scheme::parse(algo.unwrap_or_default(), text("padding")).map_err(failed)?;
        let key = text("key-name-hint").unwrap_or_default().to_owned();
        let request = Request { subject: path.to_owned(), key, scheme, digest: scheme.hash.hash_all(bytes) };
        let made = self.signer.sign(&request).map_err(failed)?;
        Ok(Signed { request, made })
    }

    /// What stands in the node beside the value, in the order in which it is put in.
    pub(super) fn properties<'a>(
        &self,
        signed: &Signed,
        (layout, time): (FitLayout, u32),
        covered: Option<(&[String], u64)>,
    ) -> Vec<Property<'a>> {
        let mut all = vec![
            Property::bytes("value", signed.made.value.clone()),
            Property::string("signer-name", "mkimage"),
            Property::string("signer-version", &layout.to_string()),
        ];
        all.extend(self.comment.map(|comment| Property::string("comment", comment)));
        all.push(Property::u32("timestamp", time));
        if let Some((nodes, names)) = covered {
            all.push(Property::strings("hashed-nodes", nodes.iter().map(String::as_str)));
            let names = u32::try_from(names).unwrap_or(u32::MAX);
            all.push(Property::bytes("hashed-strings", [[0; 4], names.to_be_bytes()].concat()));
        }
        all.extend(self.algo.map(|algo| Property::string("algo", algo)));
        all
    }

    /// What makes the key of a signature of this group of nodes `required`.
    pub(super) fn required(&self, group: &str) -> Option<&'static str> {
        match group {
            "images" => self.require_images.then_some("image"),
            _ => self.require_configurations.then_some("conf"),
        }
    }
}

impl Signed {
    /// What a control device tree gets of it.
    pub(super) fn entry(&self, required: Option<&str>) -> Result<Entry, Error> {
        let Signed { request: Request { subject, key: name, scheme, .. }, made } = self;
        let Some(key) = &made.public else {
            let source = sign::Error::NoKey { found: "a signature that is made later".into(), wanted: "public key" };
            return Err(Error::Sign { path: subject.clone(), source });
        };
        Ok(entry(&scheme.to_string(), name, key, required))
    }
}

/// What a control device tree gets of a public key.
fn entry(algo: &str, hint: &str, key: &PublicKey, required: Option<&str>) -> Entry {
    let mut properties = vec![Property::string("key-name-hint", hint)];
    let mut name = format!("key-{hint}");
    if let Some(RsaNumbers { bits, modulus, exponent, r_squared, n0_inverse }) = key.numbers() {
        properties.extend([
            Property::u32("rsa,num-bits", bits),
            Property::u32("rsa,n0-inverse", n0_inverse),
            Property::u64("rsa,exponent", exponent),
            Property::bytes("rsa,modulus", modulus),
            Property::bytes("rsa,r-squared", r_squared),
        ]);
    }
    if let Some(EcPoint { curve, x, y }) = key.point() {
        properties.extend([
            Property::string("ecdsa,curve", curve),
            Property::bytes("ecdsa,x-point", x),
            Property::bytes("ecdsa,y-point", y),
        ]);
        name = if hint.is_empty() { "default-key".to_owned() } else { hint.to_owned() };
    }
    properties.push(Property::string("algo", algo));
    properties.extend(required.map(|required| Property::string("required", required)));
    Entry { group: SIGNATURE, name, properties }
}

/// A key of a control device tree.
pub(crate) struct ControlKey<'a> {
    /// The name of its node.
    pub(crate) name: &'a str,
    pub(crate) key: Result<PublicKey, NoControlKey>,
    pub(crate) algo: Option<&'a str>,
    pub(crate) required: Option<&'a str>,
}

/// Why a key of a control device tree cannot be used.
pub(crate) enum NoControlKey {
    /// It is none, for U-Boot neither.
    Damaged(String),
    /// It may be one: kimage does not check signatures with such a key.
    Unsupported(String),
}

/// The key in a node: of its own properties, and what `algo` says that it is for.
fn control_key(node: NodeRef<'_, '_>, algo: Option<&str>) -> Result<PublicKey, NoControlKey> {
    use NoControlKey::{Damaged, Unsupported};
    let bytes = |name: &str| node.property(name).map(|it| it.value).unwrap_or_default();
    let damaged = |error: sign::Error| Damaged(error.to_string());
    let scheme = algo.map(|algo| Scheme::parse(algo, None));
    if let Some(Err(_)) = scheme {
        return Err(Unsupported(format!("its algo is {:?}, which kimage does not know", algo.unwrap_or_default())));
    }
    let key = match node.property("ecdsa,curve") {
        Some(curve) => {
            let curve = curve.string().unwrap_or_default();
            if !PublicKey::CURVES.contains(&curve) {
                let known = PublicKey::CURVES.join(" and ");
                return Err(Unsupported(format!("its curve is {curve:?}; kimage checks {known}")));
            }
            PublicKey::ecdsa(curve, bytes("ecdsa,x-point"), bytes("ecdsa,y-point")).map_err(damaged)?
        }
        None if bytes("rsa,modulus").is_empty() => {
            return Err(Unsupported("it has neither rsa,modulus nor ecdsa,curve".to_owned()));
        }
        None => {
            let (modulus, exponent) = (bytes("rsa,modulus"), node.property("rsa,exponent"));
            let bits = PublicKey::rsa_bits(modulus);
            if !PublicKey::is_rsa_size(bits) {
                let why = format!("it is an RSA key of {bits} bits; kimage checks those of 2048, 3072 and 4096");
                return Err(Unsupported(why));
            }
            PublicKey::try_from((modulus, exponent.map_or(&[1, 0, 1][..], |it| it.value))).map_err(damaged)?
        }
    };
    if let Some(Ok(scheme)) = scheme {
        let other = |_| Damaged(format!("its algo is {scheme}, but it is a key of {}", key.name()));
        scheme.check(key.name()).map_err(other)?;
    }
    Ok(key)
}

/// The keys of a control device tree, and its `required-mode`.
pub(crate) fn control_keys<'a>(tree: &Tree<'a>) -> Result<(Vec<ControlKey<'a>>, Option<&'a str>), FieldError> {
    let Some(all) = root_of(tree)?.child(SIGNATURE) else { return Ok((Vec::new(), None)) };
    let key = |node: NodeRef<'_, 'a>| {
        let text = |name: &str| node.property(name).and_then(|it| it.string());
        let algo = text("algo");
        ControlKey { name: node.name(), key: control_key(node, algo), algo, required: text("required") }
    };
    let mode = all.property("required-mode").and_then(|it| it.string());
    Ok((all.children().map(key).collect(), mode))
}

/// A control device tree with a public key put into it; it grows when that has no room.
///
/// # Errors
/// [`Error::Sign`] for an algorithm that is not known or not the key's, [`Error::Control`] for a tree that is damaged.
pub(crate) fn with_key(
    control: Option<&[u8]>,
    key: &PublicKey,
    (algo, name): (&str, &str),
    required: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Sign { path: format!("/{SIGNATURE}"), source };
    Scheme::parse(algo, None).and_then(|scheme| scheme.check(key.name())).map_err(failed)?;
    let control = control.map_or_else(|| overlay().into(), Cow::from);
    let mut control = Control::new(&control).map_err(Error::Control)?;
    let entry = entry(algo, name, key, required);
    // More than any key needs.
    for _ in 0..16 {
        if control.put(&entry).map_err(Error::Control)? {
            return Ok(control.into_bytes());
        }
        control.grow(1024);
    }
    Err(Error::Sign {
        path: format!("/{SIGNATURE}"),
        source: sign::Error::Failed { why: "the tree takes no key".into() },
    })
}

/// Hashes and the like of an image, which stand for its data; `None` when it has no hash.
fn of_image(image: NodeRef<'_, '_>) -> Option<Vec<String>> {
    let path = image.path();
    let mut nodes = vec![path.clone()];
    nodes.extend(image.children().filter(|child| child.name().starts_with("hash")).map(|child| child.path()));
    // mkimage before 2026.10 leaves the digest of a hash tree out, and makes none: what lacks it U-Boot from 2026.04 on refuses.
    let extra = [CIPHER, VERITY].into_iter().filter(|name| image.child(name).is_some());
    let found = extra.map(|name| format!("{path}/{name}"));
    (nodes.len() > 1).then(|| nodes.into_iter().chain(found).collect())
}

/// The nodes that a configuration's signature covers when it is made: what `sign-images` says, or mkimage's own choice.
pub(super) fn covered_by(signature: NodeRef<'_, '_>, layout: FitLayout) -> Result<Vec<String>, Error> {
    let path = signature.path();
    let unsigned = |why: String| Error::Coverage { path: path.clone(), why };
    let Some(configuration) = signature.parent() else { return Err(unsigned("stands in no configuration".into())) };
    let images = configuration.parent().and_then(|all| all.parent()).and_then(|root| root.child("images"));
    let mut nodes = vec!["/".to_owned(), configuration.path()];
    let chosen = signature.property("sign-images");
    if chosen.is_some_and(|chosen| chosen.value.is_empty()) {
        return Ok(nodes);
    }
    let roles = chosen.map(|chosen| chosen.strings().unwrap_or_default());
    let mut count = 0;
    for role in roles.as_deref().unwrap_or(layout.signed_roles()) {
        let named = configuration.property(role).and_then(|names| names.strings()).unwrap_or_default();
        for name in named {
            let Some(image) = images.and_then(|images| images.child(name)) else {
                match chosen {
                    Some(_) => return Err(unsigned(format!("is to cover the image {name}, which is not there"))),
                    None => continue,
                }
            };
            let found = of_image(image);
            nodes.extend(found.ok_or_else(|| unsigned(format!("covers {}, which has no hash", image.path())))?);
            count += 1;
        }
    }
    match count {
        0 => Err(unsigned("covers no image".into())),
        _ => Ok(nodes),
    }
}

/// The images that a configuration names, each once.
pub(crate) fn named<'t, 'a>(configuration: NodeRef<'t, 'a>) -> Vec<NodeRef<'t, 'a>> {
    let images = configuration.parent().and_then(|all| all.parent()).and_then(|root| root.child("images"));
    let mut found: Vec<NodeRef<'t, 'a>> = Vec::new();
    let mut seen = HashSet::new();
    for property in configuration.properties().iter().filter(|it| !NO_IMAGES.contains(&it.name)) {
        let names = property.value.split_inclusive(|byte| *byte == 0).filter_map(|name| name.strip_suffix(&[0]));
        let names = names.filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| !name.is_empty());
        for image in names.filter_map(|name| images.and_then(|images| images.child(name))) {
            if seen.insert(image.at()) {
                found.push(image);
            }
        }
    }
    found
}

/// The nodes that the signature of a configuration must cover: itself, the root, and every image that it names. The error names an
/// image without hash.
pub(crate) fn to_be_covered(configuration: NodeRef<'_, '_>) -> Result<HashSet<String>, String> {
    let mut nodes = HashSet::from(["/".to_owned(), configuration.path()]);
    for image in named(configuration) {
        nodes.extend(of_image(image).ok_or_else(|| image.path())?);
    }
    Ok(nodes)
}

/// The bytes of a blob that a signature covers which covers these nodes, and so many bytes of the names.
pub(crate) fn covered_bytes<'a>(
    dtb: &Dtb<'a>,
    nodes: &HashSet<String>,
    names: u64,
) -> Result<Vec<&'a [u8]>, FieldError> {
    let mut parts = Vec::new();
    for range in dtb.included(nodes, &NOT_COVERED)? {
        parts.extend(slice_at(dtb.bytes(), &range));
    }
    let all = dtb.names();
    let names = usize::try_from(names).ok().and_then(|len| all.get(..len));
    let too_many = || FieldError::range("hashed-strings", 0, count64(all.len()), 0..=count64(all.len()));
    parts.push(names.ok_or_else(too_many)?);
    Ok(parts)
}
