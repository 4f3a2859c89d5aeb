//! What can be wrong with a FIT that can be read.

use super::cipher::{CIPHER, PLAIN_SIZE};
use super::verity::{self, Fault, VERITY};
use super::{Algorithm, BootView, Fit, Image, rules};
use crate::bytes::{hex, len64};
use crate::finding::{Checks, Finding, Severity};
use crate::format::fdt::NodeRef;
use std::collections::{HashMap, HashSet};

impl Fit<'_> {
    /// Compares every hash, and looks for what U-Boot would stumble over.
    pub(crate) fn check(&self) -> Checks {
        let mut findings = Vec::new();
        let mut add = |finding: Finding, at| findings.push(finding.at(at));
        let root = self.tree().root();
        if root.property("timestamp").is_none() {
            add(rules::TIMESTAMP.finding("the root node has no timestamp"), root.at().0);
        }
        let is_signed = self.tree().nodes().any(|node| node.name().starts_with("signature"));
        for node in self.tree().nodes() {
            let under = |name: &str| node.name().starts_with(name);
            if node.name().contains('@') {
                let message = format!("the name of node {} has a unit address", node.path());
                // What reads no signatures may well take it.
                let severity = if is_signed { Severity::Error } else { Severity::Warning };
                add(rules::UNIT_ADDRESS.finding(message).with_severity(severity), node.at().0);
            } else if under("signature") && node.property("algo").is_some() {
                let (message, help) = match node.property("value") {
                    Some(_) => {
                        (format!("{} is a signature, which was not checked", node.path()), rules::SIGNATURE.help)
                    }
                    None => {
                        let help = "sign it: kimage sign FILE `request.keys` DIR; a board that wants a signature refuses it as it is";
                        (format!("{} is to be a signature, but has no value", node.path()), help)
                    }
                };
                add(
                    rules::SIGNATURE.finding(message).with_help(help).not_checked("signatures of the FIT"),
                    node.at().0,
                );
            } else if node.name() == CIPHER && node.property("algo").is_some() {
                let is_encrypted = node.parent().is_some_and(|image| image.property(PLAIN_SIZE).is_some());
                let finding = match is_encrypted {
                    true => {
                        let message = format!("{}: the data is encrypted, and was not checked", node.path());
                        rules::CIPHER.finding(message).not_checked("contents of encrypted images")
                    }
                    false => rules::NOT_ENCRYPTED.finding(format!("{}: the data is not encrypted", node.path())),
                };
                add(finding, node.at().0);
            }
        }
        let hashable = self.hashed_bytes();
        if let Err(bytes) = hashable {
            let have = len64(self.bytes);
            let message = format!(
                "no hash was checked: images share their bytes, so that {bytes} are hashed of a file of {have}"
            );
            findings.push(rules::HASH_LIMIT.finding(message));
        }
        for image in self.images() {
            findings.extend(image.check(hashable.is_ok()));
        }
        findings.extend(self.check_overlaps());
        findings.extend(self.check_default());
        let view = BootView::of_fit(self);
        findings.extend(view.missing());
        findings.extend(view.bootm(None));
        findings.extend(view.matching());
        findings.extend(view.unmatched());
        findings.extend(self.check_signatures());
        findings.into()
    }

    fn check_overlaps(&self) -> Vec<Finding> {
        let placed = |image: Image<'_, '_>| Some((image.placement().ok()??.range().clone(), image.name().to_owned()));
        let mut placed: Vec<_> = self.images().filter_map(placed).filter(|(at, _)| !at.is_empty()).collect();
        placed.sort_by_key(|(at, _)| (at.start, at.end));
        let overlap = |pair: &[(std::ops::Range<u64>, String)]| match pair {
            [(first, one), (second, other)] if second.start < first.end && first != second => {
                let message = format!("the data of image {other} begins inside of that of {one}");
                Some(rules::OVERLAP.finding(message).at(second.start))
            }
            _ => None,
        };
        let tree_end = len64(self.dtb().bytes());
        let inside = self.images().filter_map(|image| match image.placement() {
            Ok(Some(super::Placement::Position(at))) if at.start < tree_end => {
                let message = format!("the external data of image {} begins inside of the tree", image.name());
                Some(rules::OVERLAP.finding(message).with_severity(Severity::Error).at(at.start))
            }
            _ => None,
        });
        placed.windows(2).filter_map(overlap).chain(inside).collect()
    }

    fn check_default(&self) -> Option<Finding> {
        if self.default().is_some() || self.configurations().next().is_none() {
            return None;
        }
        let at = self.tree().find("/configurations").map_or(0, |node| node.at().0);
        let message = "no configuration is the default: U-Boot boots only one that is named, or that suits its board";
        Some(rules::NO_DEFAULT.finding(message).at(at))
    }

    /// Signatures of configurations list the nodes that they sign: one that does not list the configuration that it is in
    /// (CVE-2020-10648) or the images that it says to sign belongs to another.
    fn check_signatures(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let known: HashMap<&str, Image<'_, '_>> = self.images().map(|image| (image.name(), image)).collect();
        for configuration in self.configurations() {
            let path = configuration.node().path();
            let signatures = configuration.node().children().filter(|node| node.name().starts_with("signature"));
            for signature in signatures.filter(|node| node.property("value").is_some()) {
                let list = |name: &str| signature.property(name).and_then(|it| it.strings());
                let Some(hashed) = list("hashed-nodes") else {
                    let message = format!("{} has a value, but no hashed-nodes", signature.path());
                    let help = "sign it again: U-Boot says \"Can't get hashed-nodes property\"";
                    findings.push(rules::HASHED_NODES.finding(message).at(signature.at().0).with_help(help));
                    continue;
                };
                let hashed: HashSet<&str> = hashed.into_iter().collect();
                // mkimage signs these unless the source says which.
                let signed = list("sign-images").unwrap_or_else(|| vec!["kernel", "fdt", "script"]);
                let names = signed.iter().flat_map(|role| configuration.images(role));
                let images = names.map(|name| format!("/images/{}", name.strip_prefix("/images/").unwrap_or(name)));
                for wanted in [path.clone()].into_iter().chain(images) {
                    // The data is signed by its hash.
                    let image = wanted.strip_prefix("/images/").and_then(|name| known.get(name));
                    let is_hashed = image.is_none_or(|image| {
                        image.hashes().any(|hash| hashed.contains(&*format!("{wanted}/{}", hash.node)))
                    });
                    if !hashed.contains(&*wanted) || !is_hashed {
                        let message = format!("{} does not sign {wanted}, which it stands for", signature.path());
                        findings.push(rules::HASHED_NODES.finding(message).at(signature.at().0));
                    }
                }
            }
        }
        findings
    }
}

impl Image<'_, '_> {
    fn check(&self, hashable: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        let name = self.name();
        let mut unknown = Vec::new();
        let mut add = |finding: Finding, at| findings.push(finding.at(at));
        if let Err(error) = self.placement() {
            findings.push(rules::DATA.of(error));
            return findings;
        }
        let Some(data) = self.data() else {
            add(rules::DATA.finding(format!("image {name} has no data")), self.node().at().0);
            return findings;
        };
        for hash in self.hashes().filter(|hash| hashable && !hash.ignored) {
            let (node, at) = (hash.node, hash.at.0);
            let Some(algo) = hash.algo else {
                let message = format!("{node} of image {name} does not say its algorithm");
                add(rules::HASH.finding(message).with_help("add `algo`"), at);
                continue;
            };
            let Some(algorithm) = Algorithm::from_name(algo) else {
                let message = format!("{node} of image {name} has the algorithm {algo:?}, which kimage does not know");
                let finding =
                    rules::HASH.finding(message).with_severity(Severity::Warning).at(at).with_help("use sha256");
                unknown.push(finding.not_checked("hashes of algorithms that kimage does not know"));
                continue;
            };
            let want = algorithm.hash(data);
            match hash.value {
                None => {
                    let message = format!("{node} of image {name} has no value");
                    add(rules::HASH.finding(message).with_help("make the FIT with kimage fit or mkimage -f"), at);
                }
                Some(value) if value != want => {
                    let message = format!("{algo} of image {name}: found {}, wanted {}", short(value), short(&want));
                    add(rules::HASH.finding(message), at);
                }
                Some(_) => {}
            }
        }
        findings.extend(unknown);
        findings.extend(self.verity().filter(|_| hashable).and_then(|node| check_tree(name, node, data)));
        findings
    }
}

/// The hash tree of an image that asks for one.
fn check_tree(image: &str, node: NodeRef<'_, '_>, data: &[u8]) -> Option<Finding> {
    let finding = match verity::check_node(node, data) {
        _ if node.property("digest").is_none() => {
            rules::DM_VERITY.finding(format!("{VERITY} of image {image} has no digest"))
        }
        Ok(()) => return None,
        Err(Fault::Unknown(algo)) => {
            let message = format!("{VERITY} of image {image} has the algorithm {algo:?}, which kimage does not know");
            rules::DM_VERITY_DIGEST.finding(message).not_checked("hash trees of dm-verity")
        }
        Err(Fault::Wrong(why)) => rules::DM_VERITY_TREE.finding(format!("{VERITY} of image {image}: {why}")),
    };
    Some(finding.at(node.at().0))
}

/// As much of a hash as tells it from another.
fn short(bytes: &[u8]) -> String {
    bytes.get(..20).filter(|_| bytes.len() > 20).map_or_else(|| hex(bytes), |first| format!("{}…", hex(first)))
}
