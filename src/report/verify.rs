//! The report of `kimage verify`: what does not hold, for people and for programs.

use super::Style;
use super::finding::{Shown, write_finding};
use super::style::clean;
use crate::finding::{Finding, Severity};
use crate::inspect::verify::{LayerFinding, Verified};
use crate::inspect::{LayerId, Opened, Space};
use serde::Serialize;
use std::io::{self, Write};

/// What came of one file.
#[derive(Debug, Default, Serialize)]
pub struct FileVerification {
    /// Its path, as it was given.
    file: String,
    /// No error was found, and all was looked at that kimage can check.
    ok: bool,
    /// Why it could not be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    checks: u64,
    errors: usize,
    warnings: usize,
    notes: usize,
    /// What is there and was not checked, whatever the verdict.
    unchecked: Vec<&'static str>,
    findings: Vec<FindingReport>,
}

#[derive(Debug, Serialize)]
struct FindingReport {
    layer: LayerId,
    path: String,
    format: &'static str,
    #[serde(flatten)]
    finding: Finding,
    /// The same place counted from the file's first byte, where the layer is not compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_offset: Option<u64>,
}

impl FileVerification {
    /// What came of the file called `name`, or why it could not be opened for what it is.
    pub fn new(name: &str, verified: Result<(&Opened<'_>, &Verified), String>) -> FileVerification {
        let (opened, verified) = match verified {
            Ok(verified) => verified,
            Err(error) => {
                return FileVerification { file: name.to_owned(), error: Some(error), ..FileVerification::default() };
            }
        };
        FileVerification {
            file: name.to_owned(),
            ok: verified.is_good(),
            error: None,
            checks: verified.checks,
            errors: verified.count(Severity::Error),
            warnings: verified.count(Severity::Warning),
            notes: verified.count(Severity::Note),
            unchecked: verified.unchecked(),
            findings: verified.findings.iter().map(|found| finding_report(opened, found)).collect(),
        }
    }
}

fn finding_report(opened: &Opened<'_>, found: &LayerFinding) -> FindingReport {
    let layer = opened.layer(found.layer);
    FindingReport {
        layer: found.layer,
        path: opened.path(found.layer),
        format: layer.map_or("data", |layer| layer.kind.id()),
        finding: found.finding.clone(),
        file_offset: file_offset(opened, found),
    }
}

/// Where a finding is in the file, if it is not in something compressed.
fn file_offset(opened: &Opened<'_>, found: &LayerFinding) -> Option<u64> {
    let layer = opened.layer(found.layer)?;
    let offset = found.finding.offset?;
    (layer.space == Space::File).then(|| layer.at.start.saturating_add(offset))
}

/// Writes the findings of the file called `name`, and a line that sums them up.
///
/// # Errors
/// The writer's own.
pub fn write_verify_text(
    name: &str,
    opened: &Opened<'_>,
    verified: &Verified,
    style: Style,
    mut out: impl Write,
) -> io::Result<()> {
    for found in &verified.findings {
        let path = opened.path(found.layer);
        let place = match (file_offset(opened, found), found.finding.offset) {
            (Some(at), _) => format!("{path}, file offset {at:#x}"),
            (None, Some(at)) => format!("{path}, offset {at:#x} in it"),
            (None, None) => path,
        };
        write_finding(&found.finding, Shown::Listed { file: name, place: &place }, style, &mut out)?;
    }
    let count = |severity, one: &str| match verified.count(severity) {
        0 => String::new(),
        1 => format!(", 1 {one}"),
        count => format!(", {count} {one}s"),
    };
    let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    let notes = count(Severity::Note, "note");
    // What was not looked at is no part of "good".
    let unchecked = listed(&verified.unchecked());
    let also = if unchecked.is_empty() { String::new() } else { format!("; NOT checked: {unchecked}") };
    let (verdict, unchecked) = match verified.unknown() {
        _ if !errors.is_empty() => (style.paint("bad", "1;31"), also),
        Some(why) => (format!("{}: {why}", style.paint("not known", "1;33")), also),
        None if unchecked.is_empty() => (style.paint("good", "1;32"), String::new()),
        None => (style.paint(&format!("good but for {unchecked}, which were NOT checked"), "1;33"), String::new()),
    };
    let layers = opened.layers().len();
    let layers = if layers == 1 { "1 layer".to_owned() } else { format!("{layers} layers") };
    let claims = if verified.checks == 1 { "1 claim".to_owned() } else { format!("{} claims", verified.checks) };
    writeln!(out, "{}: {verdict}: {claims} in {layers} checked{errors}{warnings}{notes}{unchecked}", clean(name))
}

/// `one, two and three`.
fn listed(names: &[&str]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => format!("{} and {last}", names.join(", ")),
        _ => names.concat(),
    }
}
