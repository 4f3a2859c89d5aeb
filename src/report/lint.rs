//! The report of `kimage lint`: the memory that a boot takes, and what is in its way.

use super::style::clean;
use crate::lint::Linted;
use serde::Serialize;
use std::io::{self, Write};

/// Writes what came of the image called `image` as one JSON document, with a newline behind it.
///
/// # Errors
/// The writer's own.
pub fn write_lint_json(image: &str, linted: &Linted, out: impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Report<'r> {
        image: &'r str,
        #[serde(flatten)]
        linted: &'r Linted,
    }
    super::write_json("lint", &Report { image, linted }, out)
}

/// Writes the board's name, and what uses its memory, one line each. The findings are messages ([`super::write_finding`]).
///
/// # Errors
/// The writer's own.
pub fn write_lint_text(linted: &Linted, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "{}", clean(&linted.board))?;
    for using in &linted.memory {
        let end = using.start.saturating_add(using.size);
        writeln!(out, "  {:#012x}..{end:#012x}  {:>11} bytes  {}", using.start, using.size, clean(&using.what))?;
    }
    Ok(())
}
