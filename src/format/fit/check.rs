//! What can be wrong with a FIT that can be read.

use super::{Algorithm, Configuration, Fit, Image};
use crate::finding::{Finding, Severity};

impl Fit<'_> {
    /// Compares every hash, and looks for what U-Boot would stumble over.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |rule, severity, at, message: String, help: &'static str| {
            findings.push(Finding::new(rule, severity, message).at(at).with_help(help));
        };
        let root = self.tree().root();
        if root.property("description").is_none() {
            let help = "add a description: U-Boot takes none without";
            add("fit.description", Severity::Error, root.at().0, "the root node has no description".to_owned(), help);
        }
        if root.property("timestamp").is_none() {
            let help = "make it with kimage fit or mkimage -f: U-Boot built with CONFIG_TIMESTAMP takes none without";
            add("fit.timestamp", Severity::Warning, root.at().0, "the root node has no timestamp".to_owned(), help);
        }
        for node in self.tree().nodes() {
            let under = |name: &str| node.name().starts_with(name);
            if node.name().contains('@') {
                let message = format!("the name of node {} has a unit address", node.path());
                let help = "change @ to - in the name: U-Boot from 2021.04 on refuses it (CVE-2021-27138)";
                add("fit.unit-address", Severity::Warning, node.at().0, message, help);
            } else if under("signature") && node.property("algo").is_some() {
                let message = format!("{} is a signature, which kimage does not check", node.path());
                add("fit.signature", Severity::Note, node.at().0, message, "check it with fit_check_sign");
            } else if under("cipher") && node.property("algo").is_some() {
                let message = format!("{} says that the data is encrypted, which kimage cannot undo", node.path());
                add("fit.cipher", Severity::Note, node.at().0, message, "");
            }
        }
        for image in self.images() {
            findings.extend(image.check());
        }
        findings.extend(self.check_overlaps());
        findings.extend(self.check_configurations());
        findings
    }

    fn check_overlaps(&self) -> Vec<Finding> {
        let placed = |image: Image<'_, '_>| Some((image.placement().ok()??.range().clone(), image.name().to_owned()));
        let mut placed: Vec<_> = self.images().filter_map(placed).filter(|(at, _)| !at.is_empty()).collect();
        placed.sort_by_key(|(at, _)| (at.start, at.end));
        let overlap = |pair: &[(std::ops::Range<u64>, String)]| match pair {
            [(first, one), (second, other)] if second.start < first.end && first != second => {
                let message = format!("the data of image {other} begins inside of that of {one}");
                Some(Finding::new("fit.overlap", Severity::Warning, message).at(second.start))
            }
            _ => None,
        };
        let tree_end = crate::bytes::len64(self.dtb().bytes());
        let inside = self.images().filter_map(|image| match image.placement() {
            Ok(Some(super::Placement::Position(at))) if at.start < tree_end => {
                let message = format!("the external data of image {} begins inside of the tree", image.name());
                Some(Finding::new("fit.overlap", Severity::Error, message).at(at.start))
            }
            _ => None,
        });
        placed.windows(2).filter_map(overlap).chain(inside).collect()
    }

    fn check_configurations(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let names: Vec<&str> = self.configurations().map(|configuration| configuration.name()).collect();
        let at = self.tree().find("/configurations").map_or(0, |node| node.at().0);
        match self.default() {
            Some(default) if !names.contains(&default) => {
                let message = format!("the default configuration {default} is not there");
                let help = "change `default` to one of the configurations";
                findings.push(Finding::new("fit.default", Severity::Error, message).at(at).with_help(help));
            }
            None if !names.is_empty() => {
                let message =
                    "no configuration is the default: U-Boot boots only one that is named, or that suits its board";
                let help = "add `default`";
                findings.push(Finding::new("fit.default", Severity::Note, message).at(at).with_help(help));
            }
            _ => {}
        }
        for configuration in self.configurations() {
            for role in Configuration::ROLES {
                for name in configuration.images(role) {
                    // A ramdisk, say, of another configuration's image may be named with its path.
                    let name = name.strip_prefix("/images/").unwrap_or(name);
                    if self.image(name).is_none() {
                        let message =
                            format!("configuration {} wants image {name}, which is not there", configuration.name());
                        let help = "change the name to that of an image";
                        let finding = Finding::new("fit.configuration", Severity::Error, message);
                        findings.push(finding.at(configuration.node().at().0).with_help(help));
                    }
                }
            }
        }
        findings
    }
}

impl Image<'_, '_> {
    fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let name = self.name();
        let mut add = |rule, severity, at, message: String, help: &'static str| {
            findings.push(Finding::new(rule, severity, message).at(at).with_help(help));
        };
        if let Err(error) = self.placement() {
            findings.push(
                Finding::new("fit.data", Severity::Error, error.to_string()).at(error.at.0).with_help(error.help),
            );
            return findings;
        }
        let Some(data) = self.data() else {
            let help = "a tree source names the file with /incbin/; make the FIT with kimage fit or mkimage -f";
            let at = self.node().at().0;
            add("fit.data", Severity::Error, at, format!("image {name} has no data"), help);
            return findings;
        };
        for hash in self.hashes().filter(|hash| !hash.ignored) {
            let (node, at) = (hash.node, hash.at.0);
            let Some(algo) = hash.algo else {
                let help = "add `algo`";
                add(
                    "fit.hash",
                    Severity::Error,
                    at,
                    format!("{node} of image {name} does not say its algorithm"),
                    help,
                );
                continue;
            };
            let Some(algorithm) = Algorithm::from_name(algo) else {
                let message = format!("{node} of image {name} has the algorithm {algo:?}, which kimage does not know");
                add("fit.hash", Severity::Warning, at, message, "use sha256");
                continue;
            };
            let want = algorithm.hash(data);
            match hash.value {
                None => {
                    let message = format!("{node} of image {name} has no value");
                    add("fit.hash", Severity::Error, at, message, "make the FIT with kimage fit or mkimage -f");
                }
                Some(value) if value != want => {
                    let message = format!("{algo} of image {name}: found {}, wanted {}", hex(value), hex(&want));
                    add("fit.hash", Severity::Error, at, message, "the data or the hash is damaged: copy it again");
                }
                Some(_) => {}
            }
        }
        findings
    }
}

/// As much of a hash as tells it from another.
fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 20 { format!("{digits}…") } else { digits }
}
