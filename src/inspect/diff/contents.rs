//! What differs inside of a layer of a certain kind.

use super::{Aspect, Change, List};
use crate::codec::{Codec, Parameters};
use crate::elf::{Elf, kallsyms};
use crate::payload::parse_relocs;
use std::collections::{BTreeMap, BTreeSet};

/// A parameter as it is shown.
type Show<'s> = &'s dyn Fn(&Parameters) -> String;

/// What the streams tell of how they were made.
pub(super) fn codec(codec: Codec, left: &[u8], right: &[u8], list: &mut List) {
    let (Ok(one), Ok(other)) = (codec.parameters_of(left), codec.parameters_of(right)) else { return };
    let show = |value: Option<u64>| value.map_or_else(|| "default".to_owned(), |value| value.to_string());
    let rows: [(&str, Show<'_>); 4] = [
        ("level", &|p| show(p.level.map(u64::from))),
        ("dictionary", &|p| show(p.dictionary)),
        ("branch converter", &|p| p.bcj.map_or_else(|| "default".to_owned(), |bcj| format!("{bcj:?}").to_lowercase())),
        ("literal bits", &|p| {
            let [lc, lp, pb] = [p.literal.lc, p.literal.lp, p.literal.pb].map(|bits| show(bits.map(u64::from)));
            format!("lc={lc} lp={lp} pb={pb}")
        }),
    ];
    for (name, show) in rows {
        let (one, other) = (show(&one), show(&other));
        if one != other {
            list.push(Change::new(Aspect::Codec, name, Some(one), Some(other)));
        }
    }
}

/// Symbols that came, went or moved: of the symbol table, or of kallsyms.
pub(super) fn symbols(left: &[u8], right: &[u8], list: &mut List) {
    let (one, other) = (table(left), table(right));
    if one.is_empty() || other.is_empty() {
        return;
    }
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let hex = |value: &u64| format!("{value:#x}");
    let (mut moved, mut resized) = (0_u64, (0_u64, 0_u64));
    let mut changes = Vec::new();
    for (symbol, value) in &one {
        match other.get(symbol) {
            Some(new) if new != value => {
                moved += 1;
                changes.push((*value, Change::new(Aspect::Symbol, name(symbol), Some(hex(value)), Some(hex(new)))));
            }
            Some(_) => {}
            None => {
                resized.0 += 1;
                changes.push((*value, Change::new(Aspect::Symbol, name(symbol), Some(hex(value)), None)));
            }
        }
    }
    for (symbol, value) in other.iter().filter(|(symbol, _)| !one.contains_key(*symbol)) {
        resized.1 += 1;
        changes.push((*value, Change::new(Aspect::Symbol, name(symbol), None, Some(hex(value)))));
    }
    if changes.is_empty() {
        return;
    }
    let (gone, new) = resized;
    let left = format!("{} symbols, {gone} of them only here, {moved} at other addresses", one.len());
    let right = format!("{} symbols, {new} of them only here", other.len());
    list.push(Change::new(Aspect::Symbol, "all", Some(left), Some(right)));
    // The first in memory is where the rest was moved from.
    changes.sort_by_key(|(value, _)| *value);
    changes.into_iter().for_each(|(_, change)| list.push(change));
}

/// Names that stand for one address alone.
fn table(bytes: &[u8]) -> BTreeMap<Vec<u8>, u64> {
    let Ok(elf) = Elf::parse(bytes) else { return BTreeMap::new() };
    let mut all: Vec<(Vec<u8>, u64)> = match elf.symbols() {
        Ok(symbols) => {
            let found = symbols.filter(|symbol| symbol.is_defined() && !symbol.name.is_empty());
            // Neither sections nor source files.
            found
                .filter(|symbol| !matches!(symbol.kind, 3 | 4))
                .map(|symbol| (symbol.name.to_vec(), symbol.value))
                .collect()
        }
        Err(_) => {
            let found = kallsyms(&elf).unwrap_or_default();
            found.into_iter().map(|symbol| (symbol.name, symbol.address)).collect()
        }
    };
    all.sort();
    let mut unique = BTreeMap::new();
    for group in all.chunk_by(|one, other| one.0 == other.0) {
        if let [(name, value)] = group {
            unique.insert(name.clone(), *value);
        }
    }
    unique
}

/// Options that are set otherwise.
pub(super) fn options(left: &[u8], right: &[u8], list: &mut List) {
    let (one, other) = (settings(left), settings(right));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        if one.get(name) != other.get(name) {
            list.push(Change::new(Aspect::Option, name.clone(), one.get(name).cloned(), other.get(name).cloned()));
        }
    }
}

/// `CONFIG_A=y`; what is not set is as good as absent.
fn settings(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn relocs(left: &[u8], right: &[u8], list: &mut List) {
    // The number of lists tells the class: one in 32-bit kernels, more in 64-bit ones.
    let parse = |bytes| parse_relocs(bytes, 0, true).or_else(|_| parse_relocs(bytes, 0, false));
    let (Ok(one), Ok(other)) = (parse(left), parse(right)) else { return };
    for (name, one, other) in [
        ("64-bit addresses", one.table.addresses64, other.table.addresses64),
        ("32-bit distances", one.table.inverse32, other.table.inverse32),
        ("32-bit addresses", one.table.addresses32, other.table.addresses32),
    ] {
        let (left, right): (BTreeSet<u32>, BTreeSet<u32>) = (one.into_iter().collect(), other.into_iter().collect());
        if left != right {
            let show = |all: &BTreeSet<u32>, others: &BTreeSet<u32>| {
                let own = all.difference(others).count();
                let first = all.difference(others).next().map_or(String::new(), |first| format!(", first {first:#x}"));
                format!("{}, {own} of them only here{first}", all.len())
            };
            let (left, right) = (show(&left, &right), show(&right, &left));
            list.push(Change::new(Aspect::Relocs, name, Some(left), Some(right)));
        }
    }
}
