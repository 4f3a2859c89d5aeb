//! Two files, layer by layer: what differs, and why.
//!
//! Layers are paired by their names from the file inwards. A pair with the same bytes has nothing to say; any other says
//! which facts, regions, parameters, symbols, options and relocations differ. [`causes`] tells the reasons from the
//! consequences.

mod cause;
mod contents;

pub use cause::Cause;
pub(crate) use cause::causes;

use super::abi::Abi;
use super::{Facts, Kind, Layer, LayerId, Opened, Row, Value};
use crate::bytes::{slice_at, spaced_hex};
use crate::layout::Region;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a [`Change`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Aspect {
    /// A whole layer.
    Layer,
    /// Something that the layer says of itself: a header field, a size, a text.
    Fact,
    /// A region of the layer: a section of an ELF file, a part of an image.
    Region,
    /// What a stream was compressed with.
    Codec,
    /// Addresses of symbols.
    Symbol,
    /// An option of the kernel's configuration.
    Option,
    /// Addresses in a relocation table.
    Relocs,
    /// Bytes that nothing else explains.
    Bytes,
}

/// One difference; a side is `None` where it has no such thing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// What it is about.
    pub aspect: Aspect,
    /// Name of the field, section, option, symbol.
    pub name: String,
    /// The first file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// The second file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
}

impl Change {
    fn new(aspect: Aspect, name: impl Into<String>, left: Option<String>, right: Option<String>) -> Change {
        Change { aspect, name: name.into(), left, right }
    }
}

/// A layer that both files have, or one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its path in either file.
    pub path: String,
    /// In the first file.
    pub left: Option<LayerId>,
    /// In the second file.
    pub right: Option<LayerId>,
    /// What differs; nothing when the bytes are the same.
    pub changes: Vec<Change>,
    /// How many further changes there are that are not listed.
    pub more: u64,
}

/// Two files compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The layers, from the outside in.
    pub pairs: Vec<Pair>,
    /// Why they differ, the first in the order of a kernel's build first.
    pub causes: Vec<Cause>,
}

impl Diff {
    /// Are the files the same, byte for byte?
    pub fn is_same(&self) -> bool {
        self.pairs.iter().all(|pair| pair.changes.is_empty())
    }
}

/// Changes listed of one aspect of a layer: enough to see what is going on.
const MOST: usize = 20;

/// The path of what [`abi`] compares.
pub(crate) const EXPORTS: &str = "exports";

/// Compares what the kernels in two files, or of the builds whose Module.symvers they are, export to modules: symbols that went,
/// came, or have another checksum; those of modules only where both files are of builds. All changes are listed.
///
/// # Errors
/// [`WrongInput`](crate::Error::WrongInput) for a file whose exports are not all known.
pub fn abi(left: &Opened<'_>, right: &Opened<'_>) -> crate::Result<Diff> {
    let of = |which, opened| {
        let abi = Abi::of(opened).filter(|abi| !abi.symbols.is_empty());
        let abi = abi.ok_or("a file in which no exported symbols were found");
        abi.and_then(|abi| {
            if abi.is_whole { Ok(abi) } else { Err("a kernel whose exported symbols were found in part only") }
        })
        .map_err(|found| {
            let want = "a kernel that loads modules, or the Module.symvers of its build";
            crate::Error::wrong_input(which, found, want, "give the Module.symvers of the build")
        })
    };
    let (one, other) = (of("OLD", left)?, of("NEW", right)?);
    let mut changes = Vec::new();
    let show = |crc: &Option<u32>| crc.map_or("exported".to_owned(), |crc| format!("{crc:#010x}"));
    let both = one.has_checksums() && other.has_checksums();
    if one.has_checksums() != other.has_checksums() {
        let count = |abi: &Abi| Some(abi.symbols.values().filter(|export| export.crc.is_some()).count().to_string());
        changes.push(Change::new(Aspect::Fact, "checksums", count(&one), count(&other)));
    }
    let with_modules = !one.of_modules.is_empty() && !other.of_modules.is_empty();
    let all = |abi: &'_ Abi| -> BTreeMap<Vec<u8>, Option<u32>> {
        let others = abi.of_modules.iter().filter(|_| with_modules);
        abi.symbols.iter().chain(others).map(|(name, export)| (name.clone(), export.crc)).collect()
    };
    let (old, new) = (all(&one), all(&other));
    let names: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        if before.is_some() != after.is_some() || both && before != after {
            let name = String::from_utf8_lossy(name).into_owned();
            changes.push(Change::new(Aspect::Symbol, name, before.map(show), after.map(show)));
        }
    }
    let pair = Pair { path: EXPORTS.to_owned(), left: Some(one.layer), right: Some(other.layer), changes, more: 0 };
    Ok(Diff { pairs: vec![pair], causes: Vec::new() })
}

/// Compares two files that were taken apart ([`super::open`]).
pub fn diff(left: &Opened<'_>, right: &Opened<'_>) -> Diff {
    let find = |opened: &Opened<'_>, path: &str| {
        opened.layers().iter().map(|layer| layer.id).find(|id| opened.path(*id) == path)
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for layer in left.layers() {
        let path = left.path(layer.id);
        let other = find(right, &path);
        let (changes, more) = match other.and_then(|id| right.layer(id)) {
            Some(other) => compare(left, layer, right, other),
            None => (vec![only(layer, true)], 0),
        };
        pairs.push(Pair { path, left: Some(layer.id), right: other, changes, more });
    }
    for layer in right.layers() {
        let path = right.path(layer.id);
        if find(left, &path).is_none() {
            let changes = vec![only(layer, false)];
            pairs.push(Pair { path, left: None, right: Some(layer.id), changes, more: 0 });
        }
    }
    let causes = causes(left, right, &pairs);
    Diff { pairs, causes }
}

fn only(layer: &Layer, is_left: bool) -> Change {
    let text = Some(format!("{}, {} bytes", layer.title, layer.size()));
    let (left, right) = if is_left { (text, None) } else { (None, text) };
    Change::new(Aspect::Layer, layer.name.clone(), left, right)
}

fn compare(a: &Opened<'_>, left: &Layer, b: &Opened<'_>, right: &Layer) -> (Vec<Change>, u64) {
    let (bytes, other) = (a.bytes(left), b.bytes(right));
    if bytes == other {
        return (Vec::new(), 0);
    }
    let mut list = List::default();
    if left.kind != right.kind {
        list.push(Change::new(Aspect::Layer, "format", Some(left.title.clone()), Some(right.title.clone())));
        return list.finish();
    }
    facts(&left.facts, &right.facts, &mut list);
    regions((bytes, &left.regions), (other, &right.regions), &mut list);
    match left.kind {
        Kind::Known(crate::format::Format::Compressed(codec)) => contents::codec(codec, bytes, other, &mut list),
        Kind::Known(crate::format::Format::Elf) => contents::symbols(bytes, other, &mut list),
        Kind::Config => contents::options(bytes, other, &mut list),
        Kind::Relocs => contents::relocs(bytes, other, &mut list),
        _ => {}
    }
    if list.changes.is_empty() {
        list.push(bytes_change("contents", bytes, other));
    }
    list.finish()
}

/// Changes, not too many of each aspect.
#[derive(Debug, Default)]
struct List {
    changes: Vec<Change>,
    more: u64,
}

impl List {
    fn push(&mut self, change: Change) {
        let same = self.changes.iter().filter(|other| other.aspect == change.aspect).count();
        if same < MOST { self.changes.push(change) } else { self.more += 1 }
    }

    fn finish(self) -> (Vec<Change>, u64) {
        (self.changes, self.more)
    }
}

fn facts(left: &Facts, right: &Facts, list: &mut List) {
    for fact in left.iter() {
        match (&fact.value, right.get(fact.name).map(|other| &other.value)) {
            (Value::Table(rows), Some(Value::Table(others))) => tables(fact.name, rows, others, list),
            (value, other) if Some(value) != other => {
                let other = other.map(Value::to_string);
                list.push(Change::new(Aspect::Fact, fact.name, Some(value.to_string()), other));
            }
            _ => {}
        }
    }
    for fact in right.iter().filter(|fact| left.get(fact.name).is_none()) {
        list.push(Change::new(Aspect::Fact, fact.name, None, Some(fact.value.to_string())));
    }
}

/// Rows are paired by their first column, which is their name.
fn tables(name: &str, rows: &[Row], others: &[Row], list: &mut List) {
    let key = |row: &Row| row.0.first().map(|(_, value)| value.to_string());
    let show =
        |row: &Row| row.0.iter().skip(1).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
    for (row, other) in paired(rows, others, key) {
        if row != other {
            let name = format!("{name}.{}", row.or(other).and_then(key).unwrap_or_default());
            list.push(Change::new(Aspect::Fact, name, row.map(show), other.map(show)));
        }
    }
}

/// Pairs what has the same name: where several have it, the first with the first. What only the right has comes last.
fn paired<'t, T, K: Ord>(
    left: &'t [T],
    right: &'t [T],
    key: impl Fn(&'t T) -> K,
) -> Vec<(Option<&'t T>, Option<&'t T>)> {
    let mut waiting: BTreeMap<K, VecDeque<usize>> = BTreeMap::new();
    for (index, one) in right.iter().enumerate() {
        waiting.entry(key(one)).or_default().push_back(index);
    }
    let mut next = |one| waiting.get_mut(&key(one)).and_then(VecDeque::pop_front).and_then(|index| right.get(index));
    let mut pairs: Vec<_> = left.iter().map(|one| (Some(one), next(one))).collect();
    let rest: BTreeSet<usize> = waiting.into_values().flatten().collect();
    pairs.extend(rest.into_iter().map(|index| (None, right.get(index))));
    pairs
}

fn regions((bytes, left): (&[u8], &[Region]), (others, right): (&[u8], &[Region]), list: &mut List) {
    let size = |region: &Region| format!("{} bytes", region.at.end - region.at.start);
    for pair in paired(left, right, |region| &*region.name) {
        let (region, other) = match pair {
            (Some(region), Some(other)) => (region, other),
            (one, None) | (None, one) => {
                let name = one.map(|region| region.name.clone()).unwrap_or_default();
                list.push(Change::new(Aspect::Region, name, pair.0.map(size), pair.1.map(size)));
                continue;
            }
        };
        let cut = |bytes, region: &Region| slice_at(bytes, &region.at).map(<[u8]>::to_vec);
        let (one, two) = (cut(bytes, region).unwrap_or_default(), cut(others, other).unwrap_or_default());
        if one != two {
            let change = bytes_change(&region.name, &one, &two);
            list.push(Change { aspect: Aspect::Region, ..change });
        }
    }
}

/// How many bytes differ, and where the first one is.
fn bytes_change(name: &str, left: &[u8], right: &[u8]) -> Change {
    let first = left.iter().zip(right).position(|(one, other)| one != other).unwrap_or(left.len().min(right.len()));
    let count = left.iter().zip(right).filter(|(one, other)| one != other).count();
    let show = |bytes: &[u8]| {
        let near = bytes.get(first..).unwrap_or_default();
        let near = if near.is_empty() { "the end".to_owned() } else { spaced_hex(near.get(..8).unwrap_or(near)) };
        match left.len() == right.len() {
            true => format!("{count} of {} bytes differ, first at {first:#x}: {near}", bytes.len()),
            false => format!("{} bytes, first difference at {first:#x}: {near}", bytes.len()),
        }
    };
    Change::new(Aspect::Bytes, name, Some(show(left)), Some(show(right)))
}
