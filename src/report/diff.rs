//! The report of `kimage diff`: what differs between two files, and why.

use super::Style;
use super::style::clean;
use crate::inspect::diff::{Aspect, Cause, Change, Diff, EXPORTS, Pair};
use crate::inspect::{LayerId, Opened};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Debug, Serialize)]
struct Report<'r> {
    files: [&'r str; 2],
    same: bool,
    layers: Vec<LayerReport<'r>>,
    causes: &'r [Cause],
}

#[derive(Debug, Serialize)]
struct LayerReport<'r> {
    path: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<LayerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<LayerId>,
    same: bool,
    changes: &'r [Change],
    /// Changes that are not listed.
    more: u64,
}

/// Writes what differs between the files of these names as one JSON document, with a newline behind it.
///
/// # Errors
/// The writer's own.
pub fn write_diff_json(names: [&str; 2], diff: &Diff, out: impl Write) -> io::Result<()> {
    let layers = diff.pairs.iter().map(|pair| {
        let Pair { path, left, right, changes, more } = pair;
        LayerReport { path, left: *left, right: *right, same: changes.is_empty(), changes, more: *more }
    });
    let layers = layers.collect();
    let report = Report { files: names, same: diff.is_same(), layers, causes: &diff.causes };
    super::write_json("diff", &report, out)
}

/// Writes what differs between the files of these names: `-` lines are the first file's, `+` lines the second's.
///
/// # Errors
/// The writer's own.
pub fn write_diff_text(
    names: [&str; 2],
    left: &Opened<'_>,
    diff: &Diff,
    style: Style,
    mut out: impl Write,
) -> io::Result<()> {
    if diff.is_same() {
        let is_abi = diff.pairs.first().is_some_and(|pair| pair.path == EXPORTS);
        if is_abi {
            return writeln!(out, "{} and {} export the same to modules", clean(names[0]), clean(names[1]));
        }
        return writeln!(out, "{} and {} are the same", clean(names[0]), clean(names[1]));
    }
    writeln!(out, "{}", style.paint(&format!("--- {}", clean(names[0])), "1"))?;
    writeln!(out, "{}", style.paint(&format!("+++ {}", clean(names[1])), "1"))?;
    for pair in &diff.pairs {
        let title = pair.left.and_then(|id| left.layer(id)).map_or("", |layer| &layer.title);
        if pair.changes.is_empty() {
            writeln!(out, "{}", style.paint(&format!("{}: the same", clean(&pair.path)), "2"))?;
            continue;
        }
        let title = if title.is_empty() { String::new() } else { format!(" ({})", clean(title)) };
        writeln!(out, "{}{title}", style.paint(&format!("@@ {}", clean(&pair.path)), "36"))?;
        for change in &pair.changes {
            write_change(change, style, &mut out)?;
        }
        if pair.more > 0 {
            writeln!(out, "    and {} more", pair.more)?;
        }
    }
    for (index, cause) in diff.causes.iter().enumerate() {
        let label = if index == 0 { "first cause:" } else { "also:" };
        writeln!(out, "{} {}", style.paint(label, "1;33"), clean(&cause.message))?;
        write_sides(cause.left.as_deref(), cause.right.as_deref(), style, &mut out)?;
        if !cause.help.is_empty() {
            writeln!(out, "    help: {}", cause.help)?;
        }
    }
    Ok(())
}

fn write_change(change: &Change, style: Style, out: &mut impl Write) -> io::Result<()> {
    let aspect = match change.aspect {
        Aspect::Layer => "layer ",
        Aspect::Region => "region ",
        Aspect::Symbol => "symbol ",
        Aspect::Relocs => "relocations, ",
        Aspect::Codec => "codec, ",
        _ => "",
    };
    writeln!(out, "  {aspect}{}", clean(&change.name))?;
    write_sides(change.left.as_deref(), change.right.as_deref(), style, out)
}

fn write_sides(left: Option<&str>, right: Option<&str>, style: Style, out: &mut impl Write) -> io::Result<()> {
    for (text, sign, code) in [(left, '-', "31"), (right, '+', "32")] {
        if let Some(text) = text {
            writeln!(out, "{}", style.paint(&format!("    {sign} {}", clean(text)), code))?;
        }
    }
    Ok(())
}
