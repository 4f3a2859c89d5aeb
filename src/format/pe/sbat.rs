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

impl<'a> Pe<'a> {
    /// The text of the section `.sbat`.
    pub(crate) fn sbat(&self) -> Option<&'a [u8]> {
        self.section(b".sbat").and_then(|section| self.contents(section)).map(until_zero)
    }
}
