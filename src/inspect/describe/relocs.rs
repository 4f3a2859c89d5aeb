//! The relocation table behind an x86 kernel.

use super::Described;
use crate::bytes::len64;
use crate::inspect::{Fact, Kind, Value};
use crate::layout::RegionKind;

/// Whole words, and a zero in front of the first list.
pub(super) fn detect(bytes: &[u8]) -> bool {
    bytes.len() >= 4 && bytes.len() % 4 == 0 && bytes.starts_with(&[0; 4])
}

pub(super) fn describe(bytes: &[u8]) -> Described {
    let mut described = Described::new(Kind::Relocs, "relocation table");
    described.regions = crate::inspect::opened::whole(bytes, "relocs", RegionKind::Data);
    // A zero begins each list, the last list being that of 32-bit addresses.
    let words = bytes.chunks_exact(4).map(|word| <[u8; 4]>::try_from(word).map_or(0, u32::from_le_bytes));
    let mut lists: Vec<u64> = Vec::new();
    for word in words {
        match (word, lists.last_mut()) {
            (0, _) => lists.push(0),
            (_, Some(count)) => *count += 1,
            (_, None) => {}
        }
    }
    let names: &[&str] = match lists.len() {
        3 => &["addresses64", "inverse32", "addresses32"],
        2 => &["addresses64", "addresses32"],
        _ => &["addresses32"],
    };
    described.facts.push(Fact::number("relocs", lists.iter().sum::<u64>()).meaning("in all lists"));
    described.facts.push(Fact::number("lists", u64::try_from(lists.len()).unwrap_or(0)));
    let mut row = crate::inspect::Row::default();
    for (name, count) in names.iter().zip(&lists) {
        row.0.push((name, Value::Number(*count)));
    }
    described.facts.push(Fact::new("list_sizes", Value::Table(vec![row])));
    described.part("relocs", 0..len64(bytes));
    described
}
