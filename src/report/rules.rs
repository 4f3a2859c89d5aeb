//! The rules that findings are about, and their texts: `kimage explain`.

use super::Style;
use super::style::clean;
use crate::finding::{Rule, rules};
use crate::format::{
    android, boot_elf, bzimage, disk, dts, fdt, fit, image64, pe, trx, uimage, uki, zboot, zimage, zimage_stub,
};
use crate::{assemble, doctor, inspect, kbuild, lint, payload};
use serde::Serialize;
use std::io::{self, Write};

rules! {
    /// The rules of what the command does with its files.
    RULES:
    pub CODEC_TRAILER = "codec.trailer", Note, "four bytes behind a stream",
        "they are the size that a kernel's build appends, and no part of the stream",
        "";
    pub CODEC_TRAILING = "codec.trailing", Warning, "bytes behind a stream",
        "they were not decompressed",
        "look at them with kimage info, if they should be part of the stream";
    pub OUTPUT_OWNER = "output.owner", Warning, "owner and permissions of a file that is replaced",
        "the new file has others than the old one",
        "set them again, or run kimage as the owner";
}

/// All rules, format by format; no two have the same id.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let formats = [
        bzimage::RULES,
        bzimage::STANDALONE_RULES,
        boot_elf::BOOT_ELF_RULES,
        zimage::RULES,
        zimage_stub::STUB_RULES,
        image64::RULES,
        zboot::RULES,
        pe::RULES,
        uki::check::RULES,
        pe::signed::RULES,
        uimage::RULES,
        fdt::RULES,
        fit::RULES,
        android::RULES,
        trx::RULES,
        dts::RULES,
    ];
    let making = [payload::search::RULES, kbuild::RULES, assemble::RULES];
    let looking = [inspect::RULES, inspect::MEASURE_RULES, lint::RULES, doctor::RULES, RULES];
    formats
        .into_iter()
        .chain(disk::RULES)
        .chain(making)
        .chain(inspect::verify::RULES.iter().copied())
        .chain(looking)
        .flatten()
        .copied()
}

#[derive(Serialize)]
struct Explained<'r> {
    rules: &'r [&'r Rule],
}

/// Writes rules as one JSON document, with a newline behind it.
///
/// # Errors
/// The writer's own.
pub fn write_rules_json(rules: &[&Rule], out: impl Write) -> io::Result<()> {
    super::write_json("explain", &Explained { rules }, out)
}

/// Writes a list of rules: one line each.
///
/// # Errors
/// The writer's own.
pub fn write_rules_list(rules: &[&Rule], mut out: impl Write) -> io::Result<()> {
    let width = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    rules.iter().try_for_each(|rule| writeln!(out, "{:<width$}  {:<8} {}", rule.id, rule.severity.name(), rule.what))
}

/// Writes what a rule looks at, what a breach means and what to do.
///
/// # Errors
/// The writer's own.
pub fn write_rule_text(rule: &Rule, style: Style, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "{} ({})", style.paint(rule.id, "1"), rule.severity.name())?;
    let lines = [("looks at", rule.what), ("means", rule.consequence), ("to do", rule.help)];
    for (label, words) in lines.into_iter().filter(|(_, words)| !words.is_empty()) {
        writeln!(out, "  {label:<9} {}", clean(words))?;
    }
    Ok(())
}
