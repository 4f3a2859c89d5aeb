//! SBAT: which generation of each component a program is, and from which on one is taken.
//!
//! Source: shim's SBAT.md: lines of values with commas between them, the component's name and its generation first.

use super::Pe;
use crate::bytes::until_zero;

/// Components and their generations, line by line; lines without a generation are left out.
pub(crate) fn generations(text: &[u8]) -> Vec<(String, u64)> {
    let text = String::from_utf8_lossy(until_zero(text));
    let line = |line: &str| {
        let mut values = line.split(',').map(str::trim);
        Some((values.next()?.to_owned(), values.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The values of a line: component, generation, vendor, package, version, URL (shim's `struct sbat_section_entry`).
const COLUMNS: usize = 6;

/// Why shim refuses a program with this text in `.sbat` (its `parse_sbat_section`), or takes it for none.
pub(crate) fn fault(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(until_zero(text));
    if !text.starts_with("sbat,") {
        return Some("its first line is not that of SBAT itself (sbat,1,...)".into());
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let values: Vec<&str> = line.split(',').take(COLUMNS).collect();
        let why = match values.get(1).map(|generation| generation.parse::<u16>()) {
            _ if values.len() < COLUMNS => format!("has {} values, wanted {COLUMNS}", values.len()),
            _ if values.iter().any(|value| value.is_empty()) => "has an empty value".into(),
            Some(Ok(1..)) => continue,
            _ => "has no generation from 1 on as its second value".into(),
        };
        return Some(format!("line {} {why}", index + 1));
    }
    None
}

impl<'a> Pe<'a> {
    /// The text of the section `.sbat`.
    pub(crate) fn sbat(&self) -> Option<&'a [u8]> {
        self.section(b".sbat").and_then(|section| self.contents(section)).map(until_zero)
    }
}
