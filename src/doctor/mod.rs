//! Layer 9: will this kernel reach user space?
//!
//! [`doctor`] asks the kernel for what it needs to know (`kernel`: its configuration, its symbols), unpacks the initial RAM disks
//! as the kernel does (`initrd`), starts the first program as it does (`exec`), and says where that ends (`check`). What drivers,
//! targets and messages are called stands in `targets.toml` (`data`). What is not known is called not known, and no fault.

mod check;
mod data;
mod exec;
mod initrd;
mod kernel;
mod rules;

pub(crate) use rules::RULES;

use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::inspect::{self, Kind, Layer, Limits, Opened};
use check::{Boot, CommandLine};
use data::Data;
use exec::Files;
use initrd::Tree;
use kernel::{Answer, Kernel};
use std::collections::BTreeMap;
use std::fmt;

/// What is to be booted, and what is known of it beside the image.
#[derive(Debug, Clone, Default)]
pub struct Request<'r> {
    /// The initial RAM disks, as the boot loader puts them one behind the other.
    pub initrds: Vec<&'r [u8]>,
    /// The command line that the boot loader gives.
    pub cmdline: Option<&'r str>,
    /// Names of targets.
    pub targets: Vec<&'r str>,
    /// Texts of files like the library's own `targets.toml`, all of whose targets count.
    pub target_files: Vec<&'r str>,
    /// The kernel's `.config`, for a kernel that does not have it built in.
    pub config: Option<&'r str>,
    /// What a boot said on the console.
    pub log: Option<&'r str>,
    /// How far files are taken apart.
    pub limits: Limits,
}

/// What came of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Diagnosis {
    /// The kernel: release and CPU, as far as they are known.
    pub kernel: String,
    /// The command line, if anybody tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// `yes`, `no` or `not known`: does a first program run?
    pub reaches_user_space: &'static str,
    /// Options that were asked for: `yes`, `module`, `no` or `not known`, and where that is from.
    pub options: BTreeMap<String, String>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// One line a fact.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.kernel)?;
        if let Some(line) = &self.cmdline {
            writeln!(f, "  command line: {}", crate::bytes::printable(line))?;
        }
        let width = self.options.keys().map(String::len).max().unwrap_or(0);
        self.options.iter().try_for_each(|(option, answer)| writeln!(f, "  {option:<width$}  {answer}"))?;
        writeln!(f, "  reaches user space: {}", self.reaches_user_space)
    }
}

/// Says whether the kernel in `image` reaches user space.
///
/// # Errors
/// [`Error`] when the image cannot be opened, or a target is not known.
pub fn doctor(image: &[u8], request: &Request<'_>) -> Result<Diagnosis> {
    let targets = |reason| Error::Target { reason };
    let data = Data::read(&request.targets, &request.target_files).map_err(targets)?;
    let opened = inspect::open(image, &request.limits)?;
    let kernel = Kernel::new(&opened, request.config, &data);
    let (own, carried) = archives(&opened);
    let has_initrd = !carried.is_empty() || !request.initrds.is_empty();
    let own: Vec<_> = own.iter().map(|bytes| inspect::open(bytes, &request.limits)).collect();
    let given: Vec<_> = carried.into_iter().chain(request.initrds.iter().copied()).collect();
    let given = given.iter().map(|bytes| (*bytes, inspect::open(bytes, &request.limits)));
    let given: Vec<(&[u8], Result<Opened<'_>>)> = given.collect();

    let unpacked = || {
        let mut tree = Tree::new();
        own.iter().flatten().for_each(|opened| tree.unpack(opened));
        // Each kernel that unpacks archives has one, if only with the console: here it was not found.
        let is_hidden = || own.is_empty() && kernel.option("BLK_DEV_INITRD") != Answer::No;
        tree.is_partial |= own.iter().any(Result::is_err) || tree.fault.take().is_some() || is_hidden();
        if own.is_empty() {
            tree.add_default();
        }
        // What the kernel's build compressed, it can unpack.
        tree.codecs.clear();
        tree
    };
    let (bare, mut tree) = (unpacked(), unpacked());
    for (bytes, opened) in &given {
        match opened {
            Ok(opened) => tree.unpack(opened),
            // The kernel passes over zeros.
            Err(_) if bytes.iter().all(|byte| *byte == 0) => {}
            Err(_) => tree.refuse(bytes.starts_with(b"070707")),
        }
    }

    let (line, is_told) = command_line(&opened, &kernel, request);
    let parsed = line.as_deref().map(CommandLine::parse);
    let root =
        |layer: &Layer| layer.facts.get("root_dev").is_some_and(|fact| fact.text() != "0x0" && fact.text() != "0");
    let mut boot = Boot {
        files: Files { kernel: &kernel, tree: &tree },
        bare: &bare,
        data: &data,
        line: parsed.as_ref(),
        is_told,
        has_initrd,
        has_root: opened.layers().iter().any(root),
        findings: Vec::new(),
    };
    let kind = opened.layers().first().map_or(Kind::Data, |layer| layer.kind);
    let runs = boot.check(kind);
    if let Some(log) = request.log {
        boot.log(log);
    }
    let mut findings = boot.findings;
    findings.extend(kernel.stranger().map(|why| rules::CONFIG.finding(why)));
    let unknown = kernel.not_known();
    if kernel.is_unknown() && !unknown.is_empty() {
        let message =
            format!("the image has neither its configuration nor symbols: {} are not known", unknown.join(", "));
        findings.push(rules::NOT_KNOWN.finding(message));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    // What a target's programs need is another matter.
    let ends = |finding: &Finding| finding.severity == Severity::Error && finding.rule != rules::TARGET.id;
    let reaches_user_space = match findings.iter().any(ends) {
        true => "no",
        false if runs => "yes",
        false => "not known",
    };
    let bits = kernel.is_64.map(|is_64| if is_64 { ", 64 bits" } else { ", 32 bits" });
    let cpu = kernel.arch.map_or_else(|| "CPU not known".to_owned(), |arch| arch.to_string());
    let release = kernel.release.as_ref().map(|release| format!("Linux {release}"));
    let release = release.unwrap_or_else(|| "a kernel of a release that is not known".to_owned());
    let name = format!("{release}, {cpu}{}", bits.unwrap_or_default());
    Ok(Diagnosis { kernel: name, cmdline: line, reaches_user_space, options: kernel.facts(), findings })
}

/// The archives built into the kernel, and those that stand beside it in a container.
fn archives<'o>(opened: &'o Opened<'_>) -> (Vec<&'o [u8]>, Vec<&'o [u8]>) {
    let (mut own, mut carried) = (Vec::new(), Vec::new());
    for part in opened.parts().iter().filter(|part| part.name.split('[').next() == Some("initramfs")) {
        let Some(layer) = opened.layer(part.layer) else { continue };
        if layer.facts.get("initramfs_built_in").is_some() {
            own.push(opened.part_bytes(part));
        } else if !matches!(layer.kind, Kind::Known(Format::Cpio | Format::Compressed(_))) {
            carried.push(opened.part_bytes(part));
        }
    }
    (own, carried)
}

/// What the kernel takes for its command line: that of its configuration, of a container, of the boot loader, of a log; and
/// whether that is all that the boot loader gives.
fn command_line(opened: &Opened<'_>, kernel: &Kernel<'_>, request: &Request<'_>) -> (Option<String>, bool) {
    let part = opened.parts().iter().find(|part| part.name == "cmdline");
    let carried = part.map(|part| String::from_utf8_lossy(opened.part_bytes(part)));
    let carried = carried.map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
    let is_uki = opened.layers().first().is_some_and(|layer| layer.kind == Kind::Known(Format::Uki));
    let is_told = request.cmdline.is_some() || is_uki && carried.is_some();
    let given = request.cmdline.map(str::to_owned).or(carried);
    let logged = || request.log?.lines().find_map(|line| line.split_once("ommand line: "));
    if let (None, Some((_, line))) = (&given, logged()) {
        return (Some(line.to_owned()), is_told);
    }
    let stub = opened.layers().iter().find_map(|layer| layer.facts.get("builtin_cmdline")).map(inspect::Fact::text);
    let built_in = kernel.text("CMDLINE").replace("\\\"", "\"").replace("\\\\", "\\");
    // It may have been changed since (`kimage edit`).
    let built_in = Some(built_in).filter(|text| !text.is_empty() && kernel.has_text(text));
    let is_set = |option: &str| kernel.text(option) == "y";
    if built_in.is_some() && ["CMDLINE_OVERRIDE", "CMDLINE_FORCE"].into_iter().any(is_set) {
        return (built_in, is_told);
    }
    // x86 puts its own in front; others have theirs where the boot loader gives none, or are told.
    let is_joined = ["CMDLINE_BOOL", "CMDLINE_EXTEND"].into_iter().any(is_set);
    let built_in = built_in.filter(|_| is_joined || given.is_none());
    let all: Vec<String> = [built_in, stub, given].into_iter().flatten().collect();
    ((!all.is_empty()).then(|| all.join(" ")), is_told)
}
