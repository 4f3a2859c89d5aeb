//! The report of `kimage info` for people: a tree of layers.

use super::finding::{Shown, write_finding};
use super::style::{Style, clean};
use crate::format::Format;
use crate::inspect::{Fact, FoundBy, Kind, Layer, Opened, Space, Value};
use std::io::{self, Write};

/// Writes the layers of the file called `name`.
///
/// # Errors
/// The writer's own.
pub fn write_info_text(name: &str, opened: &Opened<'_>, style: Style, mut out: impl Write) -> io::Result<()> {
    for layer in opened.layers() {
        let indent = "  ".repeat(usize::try_from(layer.depth).unwrap_or(0));
        let label = if layer.parent.is_none() { name } else { &layer.name };
        let label = style.paint(&clean(label), "1");
        writeln!(out, "{indent}{label}: {}", clean(&layer.title))?;
        writeln!(out, "{indent}  {}", style.paint(&place(opened, layer), "2"))?;
        for fact in layer.facts.iter() {
            write_fact(fact, &indent, style, &mut out)?;
        }
        for finding in &layer.findings {
            write_finding(finding, Shown::Below(&format!("{indent}  ")), style, &mut out)?;
        }
    }
    Ok(())
}

/// `offset 0x40, 1234 bytes, in the file`.
fn place(opened: &Opened<'_>, layer: &Layer) -> String {
    let size = layer.size();
    let what = match layer.space {
        Space::File if layer.parent.is_none() => format!("{size} bytes"),
        Space::File => format!("offset {:#x}, {size} bytes", layer.at.start),
        Space::Inside(id) => {
            let outer = opened.layer(id).map_or("", |layer| &layer.name);
            format!("offset {:#x} of what {outer} decompresses to, {size} bytes", layer.at.start)
        }
    };
    match layer.found_by {
        FoundBy::Header => what,
        FoundBy::Scan if layer.kind == Kind::Kernel => format!("{what}, known by its version banner"),
        FoundBy::Scan if layer.kind == Kind::Data => what,
        FoundBy::Scan if matches!(layer.kind, Kind::Known(Format::Compressed(_))) => {
            format!("{what}, found by scan and decoded")
        }
        FoundBy::Scan => format!("{what}, found by scan"),
    }
}

/// The names of facts are at most so long.
const WIDTH: usize = 22;

fn write_fact(fact: &Fact, indent: &str, style: Style, out: &mut impl Write) -> io::Result<()> {
    let name = format!("{:<WIDTH$}", fact.name);
    let name = style.paint(&name, "36");
    let since = fact.since.as_ref().map_or_else(String::new, |since| format!(" [since {since}]"));
    let since = style.paint(&since, "2");
    let meaning = fact.meaning.as_deref().map_or_else(String::new, clean);
    if let Value::Table(rows) = &fact.value {
        let count = rows.len();
        let meaning = if meaning.is_empty() { String::new() } else { format!(": {meaning}") };
        writeln!(out, "{indent}  {name} {count}{meaning}")?;
        for row in rows {
            let cells: Vec<String> = row.0.iter().map(|(name, value)| format!("{name} {}", cell(value))).collect();
            writeln!(out, "{indent}    {}", cells.join(", "))?;
        }
        return Ok(());
    }
    let value = fact.value.to_string();
    let mut lines = value.trim_end_matches('\n').split('\n').map(clean);
    let value = lines.next().unwrap_or_default();
    let meaning = if meaning.is_empty() { String::new() } else { format!(" ({meaning})") };
    writeln!(out, "{indent}  {name} {value}{meaning}{since}")?;
    // An SBAT table, os-release: one line each.
    lines.try_for_each(|line| writeln!(out, "{indent}  {:WIDTH$} {line}", ""))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => clean(text),
        other => clean(&other.to_string()),
    }
}
