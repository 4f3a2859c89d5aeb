//! The report for programs.

use serde::Serialize;
use std::io::{self, Write};

/// Writes `report` as one JSON document, with a newline behind it.
///
/// # Errors
/// The writer's own.
pub fn write_json(report: &impl Serialize, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, report)?;
    out.write_all(b"\n")
}
