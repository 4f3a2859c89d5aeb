//! The report for programs.

use crate::bytes::is_printable;
use serde::Serialize;
use std::io::{self, Write};

/// Version of the JSON forms; grows when a field of one changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// The JSON Schema (draft 2020-12) of what `command` prints with `--json`; `None` when it has no such form.
pub fn json_schema(command: &str) -> Option<&'static str> {
    Some(match command {
        "bzimage" | "elf" | "zimage" | "image" | "xipimage" | "bootp" | "cpio" | "disk" | "edit" | "uimage" | "fit"
        | "sign" | "uki" | "zboot" => {
            include_str!("build.schema.json")
        }
        "info" | "extract" => include_str!("info.schema.json"),
        "verify" => include_str!("verify.schema.json"),
        "diff" => include_str!("diff.schema.json"),
        "lint" => include_str!("lint.schema.json"),
        "measure" => include_str!("measure.schema.json"),
        "doctor" => include_str!("doctor.schema.json"),
        "explain" => include_str!("rules.schema.json"),
        "bench" => include_str!("bench.schema.json"),
        _ => return None,
    })
}

/// What every document begins with.
#[derive(Serialize)]
struct Document<'r, R> {
    schema: u32,
    command: &'r str,
    #[serde(flatten)]
    report: &'r R,
}

/// Writes the report of `command`, a struct, as one JSON document, with a newline behind it; [`json_schema`] describes it. What
/// [`is_printable`] is not stands in it as `\u` escape: for a JSON reader the same text, for a terminal harmless.
///
/// # Errors
/// The writer's own.
pub fn write_json(command: &str, report: &impl Serialize, out: impl Write) -> io::Result<()> {
    write(&Document { schema: SCHEMA, command, report }, out)
}

fn write(document: &impl Serialize, mut out: impl Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    // Between strings nothing but line breaks is not printable, and within them those are escaped.
    for part in text.split_inclusive(|c| c != '\n' && !is_printable(c)) {
        let end = part.char_indices().next_back().filter(|(_, c)| *c != '\n' && !is_printable(*c));
        let (plain, escaped) = part.split_at(end.map_or(part.len(), |(at, _)| at));
        out.write_all(plain.as_bytes())?;
        escaped.encode_utf16().try_for_each(|unit| write!(out, "\\u{unit:04x}"))?;
    }
    out.write_all(b"\n")
}

/// Writes what `command` has to say of some files ([`super::FileInfo`], [`super::FileVerification`]), as [`write_json`] does.
///
/// # Errors
/// The writer's own.
pub fn write_files_json(command: &str, files: &[impl Serialize], out: impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Files<'f, F> {
        files: &'f [F],
    }
    write_json(command, &Files { files }, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_the_same_text_and_a_terminal_no_orders() {
        let value = serde_json::json!({ "a\u{202e}b": ["\x1b[31m\x7f\u{9b}", "\u{e0041}x\"\\\n", {}, []], "c": 1 });
        let mut out = Vec::new();
        write(&value, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.chars().all(|c| c == '\n' || is_printable(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        let plain = serde_json::json!({ "a": [1, { "b": "ü\n" }, []] });
        let mut out = Vec::new();
        write(&plain, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&plain).unwrap() + "\n");
    }
}
