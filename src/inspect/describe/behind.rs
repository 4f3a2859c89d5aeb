//! What stands behind the end of an image: device trees, padding, and anything else by the name that its magic number gives.

use super::{Child, Described, PartAt};
use crate::bytes::{len64, slice, slice_at};
use crate::format::Format;
use crate::format::fdt::Behind;
use crate::format::foreign::Foreign;
use crate::inspect::rules;
use crate::layout::{Region, RegionKind};
use std::ops::Range;

/// Pieces that are told apart in what is no device tree; the last one is all the rest.
const MOST: usize = 8;
/// Less padding than this aligns what follows it, and is no layer of its own.
const LEAST_PADDING: u64 = 16;

impl Described {
    /// Adds what stands behind an image as layers, and the regions of all of it; the first device tree has the number
    /// `first`.
    pub(super) fn behind(&mut self, bytes: &[u8], behind: &Behind, first: usize) {
        let children = behind_children(bytes, behind, first);
        self.regions
            .extend(behind.regions(first).into_iter().filter(|region| behind.rest.as_ref() != Some(&region.at)));
        for (at, is_padding) in behind.rest.iter().flat_map(|rest| pieces(bytes, rest)) {
            let (name, kind) = if is_padding { ("padding", RegionKind::Padding) } else { (TRAILER, RegionKind::Data) };
            let is_same = |region: &&Region| region.name.split('[').next() == Some(name);
            let name = match self.regions.iter().filter(is_same).count() {
                0 => name.to_owned(),
                count => format!("{name}[{count}]"),
            };
            let there = slice_at(bytes, &at).unwrap_or(&[]);
            if let Some(len) =
                Foreign::detect(there).and_then(|it| it.len).filter(|len| !is_padding && *len > len64(there))
            {
                let message = format!("{name}: found {} bytes, wanted {len} by its header", len64(there));
                let finding = rules::TRAILER_LENGTH.finding(message).at(at.start);
                self.findings.push(finding.not_checked("file systems that were cut off"));
            }
            self.regions.push(Region::new(name, at, kind));
        }
        self.children.extend(children);
    }
}

/// The layer and the part of what is no padding and no device tree.
const TRAILER: &str = "trailer";

/// The layers that stand behind an image; the first device tree has the number `first`.
pub(in crate::inspect) fn behind_children(bytes: &[u8], behind: &Behind, first: usize) -> Vec<Child> {
    let mut children = Vec::new();
    for (index, at) in behind.trees.iter().enumerate() {
        children.push((at.start, Child::range(format!("dtb[{}]", first + index), at.clone())));
    }
    let padding = |at: &Range<u64>| (at.start, Child::range("padding", at.clone()));
    children.extend(behind.padding.iter().filter(|at| at.end - at.start >= LEAST_PADDING).map(padding));
    for (at, is_padding) in behind.rest.iter().flat_map(|rest| pieces(bytes, rest)) {
        if is_padding {
            children.push(padding(&at));
            continue;
        }
        let piece = slice_at(bytes, &at).unwrap_or(&[]);
        let what = Some(piece).filter(|piece| Format::detect(piece).is_none()).and_then(Foreign::describe);
        let part = PartAt { name: TRAILER, what: what.map(|what| what.name), at: 0..len64(piece) };
        let mut child = Child::range(TRAILER, at.clone());
        child.parts.push(part);
        children.push((at.start, child));
    }
    children.sort_by_key(|(at, _)| *at);
    children.into_iter().map(|(_, child)| child).collect()
}

/// What is neither a tree nor padding, cut where a magic number's owner says how long it is; true for padding between.
fn pieces(bytes: &[u8], rest: &Range<u64>) -> Vec<(Range<u64>, bool)> {
    let mut found = Vec::new();
    let mut at = rest.start;
    while at < rest.end {
        let piece = slice(bytes, at, rest.end - at).unwrap_or(&[]);
        let padding = Behind::padding_len(piece);
        if padding >= LEAST_PADDING || padding == len64(piece) {
            found.push((at..at + padding, true));
            at += padding.max(1);
            continue;
        }
        let len = Foreign::detect(piece).and_then(|foreign| foreign.len).filter(|_| found.len() < MOST);
        let end = len.map_or(rest.end, |len| (at + len.max(1)).min(rest.end));
        found.push((at..end, false));
        at = end;
    }
    found
}
