//! A finding for people: the same label, message and way out wherever one is shown.

use super::Style;
use super::style::clean;
use crate::finding::Finding;
use std::io::{self, Write};

/// Where a finding is shown; what the place says already is not said again.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'s> {
    /// As a message of a command: the message and what to do.
    Message,
    /// Below the layer that it is about, behind so much indentation, with its offset.
    Below(&'s str),
    /// In a list of what is wrong with a file: in full, with the file's name and the place in it.
    Listed {
        /// The file.
        file: &'s str,
        /// The layer and the offset.
        place: &'s str,
    },
}

/// `error:`, `warning:`, `note:` or `help:`, as messages begin.
pub fn label(name: &str, style: Style) -> String {
    let code = match name {
        "error" => "1;31",
        "warning" => "1;33",
        "help" => "1;36",
        _ => "1",
    };
    style.paint(&format!("{name}:"), code)
}

/// Writes a finding.
///
/// # Errors
/// The writer's own.
pub fn write_finding(finding: &Finding, shown: Shown<'_>, style: Style, mut out: impl Write) -> io::Result<()> {
    let Finding { rule, severity, message, consequence, help, offset, .. } = finding;
    let (before, after) = match shown {
        Shown::Message => (String::new(), String::new()),
        Shown::Below(indent) => (indent.to_owned(), offset.map_or_else(String::new, |at| format!(" [offset {at:#x}]"))),
        Shown::Listed { file, .. } => (format!("{}: ", clean(file)), format!(" [{rule}]")),
    };
    writeln!(out, "{before}{} {}{after}", label(severity.name(), style), clean(message))?;
    if let Shown::Listed { place, .. } = shown {
        writeln!(out, "    {}", style.paint(&clean(place), "2"))?;
        let words = [*consequence, help].into_iter().filter(|words| !words.is_empty());
        return words.into_iter().try_for_each(|words| writeln!(out, "    {}", clean(words)));
    }
    if help.is_empty() { Ok(()) } else { writeln!(out, "{before}{} {}", label("help", style), clean(help)) }
}
