//! What U-Boot's `bootm` needs of the nodes of a FIT, for a tree that is read and for one that is being made.
//!
//! Source: U-Boot's boot/image-fit.c (`fit_image_load`, `fit_conf_find_compat`) and boot/bootm.c (`bootm_find_os`), 2023.01, each
//! line also seen on that U-Boot in QEMU. What another boot loader reads (SPL: `firmware` and `loadables`) is not held to it.

use super::cipher::{CIPHER, PLAIN_SIZE};
use super::{Configuration, Fit, rules};
use crate::bytes::spaced_hex;
use crate::codec::Codec;
use crate::finding::{Finding, Rule, Severity};
use crate::format::entered;
use crate::format::fdt::{Dtb, Node, NodeRef};
use crate::format::uimage::{
    ANY_ROLE, ARCH, ARCH_ARM64, BOOTED_OS, COMP_NONE, COMPRESSION, ENTERED_BY_SETUP, OS, OS_U_BOOT, TYPE, comp_id, kind,
};
use std::collections::{HashMap, HashSet};

/// An image or a configuration.
#[derive(Debug, Clone)]
struct View<'v> {
    name: &'v str,
    at: Option<u64>,
    values: HashMap<&'v str, &'v [u8]>,
    /// The data of an image, in the tree or behind it, that is not encrypted.
    data: Option<&'v [u8]>,
    /// It is encrypted, or is to be.
    has_cipher: bool,
}

/// A tree as far as `bootm` looks at it.
#[derive(Debug, Clone)]
pub(crate) struct BootView<'v> {
    description: bool,
    default: Option<&'v str>,
    images: Vec<View<'v>>,
    configurations: Vec<View<'v>>,
}

fn strings(value: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(value).ok().and_then(|text| text.strip_suffix('\0'));
    text.map(|text| text.split('\0').collect()).unwrap_or_default()
}

impl<'v> View<'v> {
    /// Of a node that is read: findings have file offsets.
    fn of_ref(node: NodeRef<'v, 'v>, data: Option<&'v [u8]>) -> Self {
        // The first property of a name counts.
        let values = node.properties().iter().rev().map(|property| (property.name, property.value)).collect();
        let has_cipher = node.child(CIPHER).is_some();
        View { name: node.name(), at: Some(node.at().0), values, data, has_cipher }.plain()
    }

    /// Of a node that is being made, with its data in it.
    fn of_node(node: &'v Node<'_>) -> Self {
        let values = node.properties.iter().rev().map(|property| (&*property.name, &*property.value));
        let values: HashMap<&str, &[u8]> = values.collect();
        let has_cipher = node.child(CIPHER).is_some();
        View { name: &node.name, at: None, data: values.get("data").copied(), values, has_cipher }.plain()
    }

    /// Without data that tells nothing.
    fn plain(self) -> Self {
        let data = self.data.filter(|_| !self.values.contains_key(PLAIN_SIZE));
        View { data, ..self }
    }

    fn list(&self, property: &str) -> Vec<&'v str> {
        self.values.get(property).map(|value| strings(value)).unwrap_or_default()
    }

    fn text(&self, property: &str) -> Option<&'v str> {
        self.list(property).first().copied()
    }

    fn number(&self, property: &str) -> Option<u64> {
        let value = *self.values.get(property)?;
        let cell = || value.try_into().ok().map(u32::from_be_bytes).map(u64::from);
        cell().or_else(|| value.try_into().ok().map(u64::from_be_bytes))
    }

    /// Of a configuration: every image that it names.
    fn all_images(&self) -> impl Iterator<Item = &'v str> {
        Configuration::ROLES.into_iter().flat_map(|role| self.list(role))
    }

    /// Does a configuration name firmware, loadables, a script ...: what others than `bootm` read?
    fn is_for_others(&self) -> bool {
        let bootm = ["kernel", "fdt", "ramdisk", "setup"];
        Configuration::ROLES.into_iter().any(|role| !bootm.contains(&role) && self.values.contains_key(role))
    }
}

impl<'v> BootView<'v> {
    /// Of a FIT that is read: findings have file offsets.
    pub(crate) fn of_fit(fit: &'v Fit<'v>) -> Self {
        BootView {
            description: fit.tree().root().property("description").is_some(),
            default: fit.default(),
            images: fit.images().map(|image| View::of_ref(image.node(), image.data())).collect(),
            configurations: fit.configurations().map(|one| View::of_ref(one.node(), None)).collect(),
        }
    }

    /// Of a tree that is being made, with all data in it.
    pub(crate) fn of_node(root: &'v Node<'_>) -> Self {
        let children = |name| root.child(name).map(|group| group.children.as_slice()).unwrap_or_default();
        let default = root.child("configurations").and_then(|node| node.property("default"));
        BootView {
            description: root.property("description").is_some(),
            default: default.and_then(|default| strings(&default.value).first().copied()),
            images: children("images").iter().map(View::of_node).collect(),
            configurations: children("configurations").iter().map(View::of_node).collect(),
        }
    }

    fn by_name(&self) -> HashMap<&'v str, &View<'v>> {
        self.images.iter().rev().map(|image| (image.name, image)).collect()
    }

    /// Names that nothing has: a default configuration, images of configurations, the description of the whole. mkimage
    /// refuses these (the last by all versions, the others from 2025.10 on).
    pub(crate) fn missing(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.description {
            let message = "the root node has no description";
            findings.push(rules::DESCRIPTION.finding(message));
        }
        let known: HashSet<&str> = self.configurations.iter().map(|configuration| configuration.name).collect();
        if let Some(default) = self.default.filter(|default| !known.contains(default)) {
            let message = format!("the default configuration {default} is not there");
            findings.push(rules::DEFAULT.finding(message));
        }
        let images = self.by_name();
        for configuration in &self.configurations {
            for name in configuration.all_images().map(bare).filter(|name| !images.contains_key(name)) {
                let message = format!("configuration {} wants image {name}, which is not there", configuration.name);
                findings.push(placed(rules::CONFIGURATION.finding(message), configuration.at));
            }
        }
        findings
    }

    /// Images whose data is not what `compression` says.
    pub(crate) fn miscompressed(&self) -> Vec<Finding> {
        let found = self.images.iter().filter_map(|image| {
            let word = image.text("compression")?;
            let found = match COMPRESSION.id(word) {
                // Of any properties: the word says so, and the decoder.
                id if id == comp_id(Codec::Lzma) && Codec::Lzma.fits(image.data?) => Some(Codec::Lzma),
                _ => Codec::detect(image.data?),
            };
            if compression_fits(word, found)? {
                return None;
            }
            let is = found.map_or("not compressed in a way that kimage knows".to_owned(), |codec| {
                format!("{} data", codec.name())
            });
            let message = format!("image {} says compression {word}, but is {is}", image.name);
            Some(placed(rules::COMPRESSION.finding(message), image.at))
        });
        found.collect()
    }

    /// What `bootm` would refuse, or stumble over, in the configuration `only`, or in all of them.
    pub(crate) fn bootm(&self, only: Option<&str>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let images = self.by_name();
        let boots_kernels =
            self.images.iter().any(|image| {
                let kind = image.text("type").and_then(|kind| TYPE.id(kind));
                matches!(kind, Some(kind::KERNEL | kind::KERNEL_NOLOAD))
            }) || self.configurations.iter().any(|configuration| !configuration.list("kernel").is_empty());
        if !boots_kernels {
            return findings;
        }
        let mut seen = HashSet::new();
        for configuration in self.configurations.iter().filter(|it| only.is_none_or(|only| only == it.name)) {
            let named = |role: &str| -> Vec<&View<'v>> {
                configuration.list(role).into_iter().filter_map(|name| images.get(bare(name)).copied()).collect()
            };
            let kernel = configuration.text("kernel");
            let trees = named("fdt");
            if kernel.is_none() {
                if configuration.is_for_others() {
                    continue;
                }
                let is_default = self.default == Some(configuration.name);
                let overlays = !trees.is_empty() && trees.iter().all(|tree| tree.data.is_none_or(may_be_overlay));
                if is_default || !overlays {
                    let message = format!("configuration {} has no kernel", configuration.name);
                    findings.push(placed(rules::KERNEL.finding(message), configuration.at));
                }
            }
            // Of several kernels the first boots.
            for (role, images) in [
                (Role::Kernel, kernel.and_then(|name| images.get(bare(name)).copied()).into_iter().collect()),
                (Role::Tree, trees),
                (Role::Ramdisk, named("ramdisk")),
            ] {
                for image in images {
                    if seen.insert((role, image.name)) {
                        image.check(role, &mut findings);
                    }
                }
            }
        }
        findings
    }

    /// Configurations that U-Boot would not find by its board's `compatible` (CONFIG_FIT_BEST_MATCH): they have none of their own,
    /// and it does not look into a device tree that is compressed or encrypted.
    pub(crate) fn unmatched(&self) -> Option<Finding> {
        let images = self.by_name();
        let unread = |configuration: &View<'v>| {
            let tree = images.get(bare(configuration.text("fdt")?)).copied()?;
            let codec = tree.text("compression").and_then(|word| COMPRESSION.id(word));
            let why = match codec {
                _ if tree.has_cipher => "is encrypted",
                Some(COMP_NONE) => return None,
                Some(_) => "is compressed",
                None => "has no known `compression`",
            };
            let is_asked = configuration.list("compatible").is_empty() && configuration.text("kernel").is_some();
            is_asked.then_some((tree.name, why))
        };
        let mut found = self.configurations.iter().filter_map(|one| Some((one, unread(one)?)));
        let (configuration, (tree, why)) = found.next()?;
        let others = match found.count() {
            0 => String::new(),
            count => format!("; {count} more are so"),
        };
        let name = configuration.name;
        let message = format!("configuration {name} has no compatible, and its device tree {tree} {why}{others}");
        Some(placed(rules::COMPATIBLE_UNREAD.finding(message), configuration.at))
    }

    /// How U-Boot chooses a configuration by the board's `compatible` (CONFIG_FIT_BEST_MATCH), where that is not what is meant.
    pub(crate) fn matching(&self) -> Vec<Finding> {
        let images = self.by_name();
        let mut first: HashMap<Vec<String>, &str> = HashMap::new();
        let mut findings = Vec::new();
        let mut warn = |at: Option<u64>, message: String, help: &'static str| {
            findings.push(placed(rules::COMPATIBLE.finding(message).with_help(help), at));
        };
        for configuration in &self.configurations {
            let name = configuration.name;
            let tree = configuration.text("fdt").and_then(|name| images.get(bare(name)));
            let data = tree.and_then(|tree| tree.data);
            let of_tree = data.and_then(root_compatible);
            let compatible: Vec<String> = match (&*configuration.list("compatible"), &of_tree) {
                ([], Some(of_tree)) => of_tree.clone(),
                ([], None) => continue,
                (own, of_tree) => {
                    let shared = |of_tree: &Vec<String>| own.iter().any(|own| of_tree.iter().any(|it| it == own));
                    if of_tree.as_ref().is_some_and(|of_tree| !of_tree.is_empty() && !shared(of_tree)) {
                        warn(
                            configuration.at,
                            format!(
                                "configuration {name} is compatible with {}, its device tree with {}",
                                own.join(", "),
                                of_tree.clone().unwrap_or_default().join(", ")
                            ),
                            "change `compatible`: by it U-Boot chooses the configuration for its board, not by the tree",
                        );
                    }
                    own.iter().map(|own| (*own).to_owned()).collect()
                }
            };
            match first.get(&compatible) {
                Some(other) if !compatible.is_empty() => warn(
                    configuration.at,
                    format!("configurations {other} and {name} are compatible with the same boards"),
                    "where U-Boot chooses by `compatible` it takes the first of them: name the other one (bootm ADDRESS#NAME)",
                ),
                _ => drop(first.insert(compatible, name)),
            }
        }
        findings
    }
}

/// What a configuration uses an image for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Kernel,
    Tree,
    Ramdisk,
}

impl View<'_> {
    fn check(&self, role: Role, findings: &mut Vec<Finding>) {
        let name = self.name;
        let mut add = |rule: &Rule, severity, message: String, help: String| {
            findings.push(placed(rule.finding(message).with_severity(severity).with_help(help), self.at));
        };
        let (what, kinds, word) = match role {
            Role::Kernel => ("kernel", &[kind::KERNEL, kind::KERNEL_NOLOAD][..], "kernel"),
            Role::Tree => ("device tree", &[kind::FLAT_DT][..], "flat_dt"),
            Role::Ramdisk => ("ramdisk", &[kind::RAMDISK][..], "ramdisk"),
        };
        let [type_word, os_word, arch_word, compression_word] =
            ["type", "os", "arch", "compression"].map(|it| self.text(it));
        let says = |value: Option<&str>| value.map_or("none".to_owned(), |value| format!("{value:?}"));
        let os = os_word.and_then(|os| OS.id(os));
        let kind = type_word.and_then(|kind| TYPE.id(kind));
        if !kind.is_some_and(|kind| kinds.contains(&kind) || ANY_ROLE.contains(&kind)) {
            // U-Boot's own SPL looks at no type of a U-Boot.
            let severity = if os == Some(OS_U_BOOT) { Severity::Warning } else { Severity::Error };
            let message = format!("type of the {what} {name}: found {}, wanted \"{word}\"", says(type_word));
            add(&rules::TYPE, severity, message, format!("say type = \"{word}\": bootm refuses the image"));
        }
        if role != Role::Tree && os.is_none_or(|os| !BOOTED_OS.contains(&os)) {
            let severity = if os.is_some_and(|os| os != 0) { Severity::Warning } else { Severity::Error };
            let message = format!("os of the {what} {name}: found {}, wanted one that bootm starts", says(os_word));
            add(&rules::OS, severity, message, rules::OS.help.to_owned());
        }
        let arch = arch_word.and_then(|arch| ARCH.id(arch));
        // Of a device tree and a ramdisk it does not look at it.
        if role == Role::Kernel && arch.is_none_or(|arch| arch == 0) {
            let message = format!("arch of the {what} {name}: found {}, wanted a CPU's name", says(arch_word));
            add(&rules::ARCH, Severity::Error, message, rules::ARCH.help.to_owned());
        }
        let compression = compression_word.and_then(|word| COMPRESSION.id(word));
        // A ramdisk is not unpacked, and without a word a device tree is not either.
        if compression.is_none() && (role == Role::Kernel || role == Role::Tree && compression_word.is_some()) {
            let known: Vec<&str> = COMPRESSION.all().map(|name| name.short).collect();
            let message = format!(
                "compression of the {what} {name}: found {}, wanted a word that U-Boot knows",
                says(compression_word)
            );
            add(
                &rules::CODEC,
                Severity::Error,
                message,
                format!("say compression = \"none\", or one of: {}", known.join(", ")),
            );
        }
        match role {
            Role::Kernel => self.check_addresses(kind, arch, compression, &mut add),
            Role::Tree => {
                let plain = matches!(compression, None | Some(0));
                if let Some(data) = self.data.filter(|data| plain && !Dtb::detect(data)) {
                    let magic = spaced_hex(data.get(..4).unwrap_or(data));
                    let message = format!("the device tree {name} is none: it begins with {magic}");
                    add(&rules::FDT, Severity::Error, message, rules::FDT.help.to_owned());
                }
            }
            Role::Ramdisk => {}
        }
    }

    fn check_addresses(
        &self,
        kind: Option<u8>,
        arch: Option<u8>,
        compression: Option<u8>,
        add: &mut impl FnMut(&Rule, Severity, String, String),
    ) {
        let name = self.name;
        let (load, entry) = (self.number("load"), self.number("entry"));
        let noload = kind == Some(kind::KERNEL_NOLOAD);
        // What need not be loaded could do without, but U-Boot 2023.01 asks for it all the same.
        let severity = if noload { Severity::Warning } else { Severity::Error };
        if load.is_none() {
            let message = format!("the kernel {name} has no load address of one or two cells");
            add(&rules::LOAD, severity, message, rules::LOAD.help.to_owned());
        }
        if entry.is_none() && !arch.is_some_and(|arch| ENTERED_BY_SETUP.contains(&arch)) {
            let message = format!("the kernel {name} has no entry point of one or two cells");
            add(&rules::ENTRY, severity, message, rules::ENTRY.help.to_owned());
        }
        let (Some(entry), Some(data), Some(0)) = (entry, self.data, compression) else { return };
        // Of what is not loaded the entry point is an offset.
        let Some(load) = (if noload { Some(0) } else { load }) else { return };
        // U-Boot takes an arm64 kernel that is not loaded to its place and enters it there.
        if noload && arch == Some(ARCH_ARM64) {
            return;
        }
        if let Some((severity, why)) = entered(data, entry.checked_sub(load)) {
            let message =
                format!("the kernel {name} is entered at {entry:#x}, not at its first byte, {load:#x}: {why}");
            add(&rules::ENTRY, severity, message, format!("say entry = <{load:#x}>"));
        }
    }
}

/// Does data that `word` names begin as such a stream does? `None`: the word names none.
pub(crate) fn compression_fits(word: &str, found: Option<Codec>) -> Option<bool> {
    let id = COMPRESSION.id(word).filter(|id| *id != COMP_NONE)?;
    Some(found.and_then(comp_id) == Some(id))
}

/// An image may be named with its path.
fn bare(name: &str) -> &str {
    name.strip_prefix("/images/").unwrap_or(name)
}

fn placed(finding: Finding, at: Option<u64>) -> Finding {
    match at {
        Some(at) => finding.at(at),
        None => finding,
    }
}

/// An overlay has fragments. What cannot be read (compressed, or damaged, which is another finding) may be one.
fn may_be_overlay(data: &[u8]) -> bool {
    let Ok(tree) = Dtb::parse_at(data, 0).and_then(|dtb| dtb.tree()) else { return true };
    tree.root().children().any(|node| node.child("__overlay__").is_some() || node.name() == "__fixups__")
}

/// `compatible` of the root of a device tree that is not compressed.
fn root_compatible(data: &[u8]) -> Option<Vec<String>> {
    let tree = Dtb::parse_at(data, 0).ok()?.tree().ok()?;
    let compatible = tree.root().property("compatible").and_then(|it| it.strings()).unwrap_or_default();
    Some(compatible.into_iter().map(str::to_owned).collect())
}
