//! Does a kernel module fit a kernel? The kernel's own questions when it loads one (kernel/module/main.c and version.c, Linux
//! 6.1): CPU, vermagic, each symbol that it wants, the checksum of its type, its license and its namespace.

use super::{LayerFinding, Verified};
use crate::bytes::printable;
use crate::elf::Elf;
use crate::finding::{Checks, Hex, rules};
use crate::format::Format;
use crate::format::module::Module;
use crate::inspect::abi::{Abi, Cpu};
use crate::inspect::{Kind, LayerId, Opened};
use std::collections::BTreeMap;

rules! {
    pub(super) RULES:
    NONE = "module.none", Error, "kernel module",
        "nothing was held against the kernel",
        "give a kernel module (.ko), and an image, a vmlinux or the Module.symvers of a build";
    CPU = "module.cpu", Error, "CPU of the module",
        "the kernel refuses the module (\"Invalid architecture in ELF header\", \"Exec format error\")",
        "build the module for the kernel's CPU";
    VERMAGIC = "module.vermagic", Error, "vermagic",
        "the kernel refuses the module (\"version magic ... should be ...\")",
        "build the module with the sources and the configuration of this kernel";
    CRC = "module.crc", Error, "checksum of a symbol's type",
        "the kernel refuses the module (\"disagrees about version of symbol\")",
        "build the module with the Module.symvers of this kernel";
    SYMBOL = "module.symbol", Error, "symbol that the module wants",
        "the kernel refuses the module (\"Unknown symbol\")",
        "build the kernel with what exports it, or the module for this kernel";
    LICENSE = "module.license", Error, "license of the module",
        "the kernel refuses the module (\"Unknown symbol\"): it uses what is for modules under the GPL alone",
        "give it MODULE_LICENSE(\"GPL\") if that is its license, or use other symbols";
    NAMESPACE = "module.namespace", Error, "namespaces that the module imports",
        "the kernel refuses the module (\"uses symbol ... from namespace ..., but does not import it\")",
        "add MODULE_IMPORT_NS of that namespace to its source";
    UNCHECKED = "module.unchecked", Note, "module and kernel",
        "nobody looked whether the kernel takes the module in this respect",
        "hold it against both, one after the other: the kernel's image, and the Module.symvers of its build";
    pub(super) UNKNOWN = "module.unknown", Warning, "exported symbols",
        "nobody knows whether the kernel has what the module wants",
        "give the Module.symvers of the kernel's build";
}

/// Would the kernel in `kernel`, or of the build whose Module.symvers that is, load a module? The kernel is read once, for as
/// many modules as are asked about.
pub fn fits(kernel: &Opened<'_>) -> impl Fn(&Opened<'_>) -> Verified {
    let abi = Abi::of(kernel);
    move |module| {
        let mut checks = Checks::default();
        let elves = module.layers().iter().filter(|layer| layer.kind == Kind::Known(Format::Elf));
        let elves = elves.filter_map(|layer| Some((layer.id, Elf::parse(module.bytes(layer)).ok()?)));
        let found = elves.into_iter().find(|(_, elf)| Module::of(elf).is_some());
        let layer = found.as_ref().map_or(LayerId(0), |(id, _)| *id);
        checks.expect(&NONE, None, found.is_some(), "no module in the file", "one");
        checks.expect(&NONE, None, abi.is_some(), "no kernel in what it is held against", "one");
        if let (Some((_, elf)), Some(abi)) = (&found, &abi) {
            compare(elf, abi, &mut checks);
        }
        let count = checks.count();
        let findings = checks.into_findings().into_iter().map(|finding| LayerFinding { layer, finding }).collect();
        Verified { checks: count, findings }
    }
}

fn compare(elf: &Elf<'_>, abi: &Abi, checks: &mut Checks) {
    let Some(module) = Module::of(elf) else { return };
    match (Cpu::of(elf), abi.cpu) {
        (Some(own), Some(cpu)) => checks.expect(&CPU, None, cpu.takes(&own), own, cpu),
        _ => checks.not_checked(&UNCHECKED, None, "the CPU of one is not known", "CPUs of module and kernel"),
    }
    vermagic(&module, abi, checks);
    symbols(&module, abi, checks);
}

fn text(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes)).into_owned()
}

fn vermagic(module: &Module<'_, '_>, abi: &Abi, checks: &mut Checks) {
    let Some(wanted) = &abi.vermagic else {
        let found = "the kernel's vermagic is not known";
        return checks.not_checked(&UNCHECKED, None, found, "vermagic of module and kernel");
    };
    let (found, at) = module.info("vermagic").map_or((None, None), |(value, at)| (Some(text(value)), Some(at)));
    // A kernel with checksums looks at no release of a module with checksums.
    let by_checksums = wanted.split(' ').any(|word| word == "modversions") && module.versions().is_some();
    let compared = |text: &str| match by_checksums {
        true => text.split_once(' ').map_or(String::new(), |(_, flags)| flags.to_owned()),
        false => text.to_owned(),
    };
    let is_same = found.as_deref().is_some_and(|found| compared(found) == compared(wanted));
    let shown = found.map_or("none".to_owned(), |found| format!("`{found}`"));
    checks.expect(&VERMAGIC, at, is_same, shown, format!("`{wanted}`"));
}

/// The first of several, and how many more there are.
fn first(names: &[String]) -> String {
    let first = names.first().cloned().unwrap_or_default();
    if names.len() > 1 { format!("{first} and {} more", names.len() - 1) } else { first }
}

fn symbols(module: &Module<'_, '_>, abi: &Abi, checks: &mut Checks) {
    let versions = module.versions();
    let own: BTreeMap<&[u8], u32> = versions.iter().flatten().copied().collect();
    let wanted = module.imports();
    if abi.symbols.is_empty() && !wanted.is_empty() {
        return checks.not_checked(&UNKNOWN, None, "none found in the kernel", "exported symbols");
    }
    // Who has checksums at all compares them.
    let compares = versions.is_some() && abi.has_checksums();
    let (mut missing, mut wrong, mut closed, mut foreign) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (is_free, mut is_license_known) = (module.is_gpl_compatible(), true);
    // The layout of `struct module` comes first, whatever is wanted.
    for name in [&b"module_layout"[..]].into_iter().filter(|name| own.contains_key(name)).chain(wanted) {
        let Some(export) = abi.symbols.get(name).or_else(|| abi.of_modules.get(name)) else {
            if name != b"module_layout" {
                missing.push(text(name));
            }
            continue;
        };
        if let Some(crc) = export.crc.filter(|crc| compares && own.get(name) != Some(crc)) {
            let found = own.get(name).map_or("none".to_owned(), |own| Hex((*own).into()).to_string());
            wrong.push((format!("{} for {}", found, text(name)), Hex(crc.into()).to_string()));
        }
        is_license_known &= is_free || export.is_gpl.is_some();
        if !is_free && export.is_gpl == Some(true) {
            closed.push(text(name));
        }
        if !module.imports_namespace(&export.namespace) {
            foreign.push(format!("{} of {}", text(name), text(&export.namespace)));
        }
    }
    let (license, at) = module.info("license").map_or((None, None), |(value, at)| (Some(text(value)), Some(at)));
    let license = license.map_or("none".to_owned(), |license| format!("`{license}`"));
    if closed.is_empty() && !is_license_known {
        let found = format!("{license}; which symbols are for the GPL alone is not known");
        checks.not_checked(&UNCHECKED, at, found, "symbols that are for modules under the GPL alone");
    } else {
        let wanted = format!("one compatible with the GPL, for {}", first(&closed));
        checks.expect(&LICENSE, at, closed.is_empty(), license, wanted);
    }
    match abi.wants_namespaces {
        _ if foreign.is_empty() => checks.expect(&NAMESPACE, None, true, "", ""),
        Some(refuses) => {
            let found = format!("none for {}", first(&foreign));
            checks.expect(&NAMESPACE, None, !refuses, found, "the namespace of each symbol that it uses");
        }
        None => {
            let found = format!("{} is not imported: not known whether the kernel takes that", first(&foreign));
            checks.not_checked(&UNKNOWN, None, found, "namespaces of symbols");
        }
    }
    if compares {
        let (found, wanted): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
        checks.expect(&CRC, None, found.is_empty(), first(&found), wanted.first().cloned().unwrap_or_default());
    } else {
        let who = if versions.is_none() { "the module has none" } else { "none found in the kernel" };
        checks.not_checked(&UNCHECKED, None, who, "checksums of symbols");
    }
    let depends = module.info("depends").map(|(value, _)| text(value).replace('-', "_"));
    let others: Vec<&str> = depends.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).collect();
    let are_known = depends.is_some() && others.iter().all(|name| abi.modules.contains(*name));
    if missing.is_empty() || abi.is_whole && are_known {
        checks.expect(&SYMBOL, None, missing.is_empty(), first(&missing), "one that is exported");
    } else if !abi.is_whole {
        checks.not_checked(
            &UNKNOWN,
            None,
            format!("not all could be read; not found: {}", first(&missing)),
            "exported symbols",
        );
    } else {
        let found = format!(
            "{}, if not of {}",
            first(&missing),
            if others.is_empty() { "others" } else { "the modules that it depends on" }
        );
        checks.not_checked(&UNCHECKED, None, found, "symbols of other modules");
    }
}
