//! Kernels of ARM, MIPS, PowerPC, RISC-V and SuperH in every wrapping that their builds make, small ones made here byte by
//! byte: what is told, found wrong and taken out.
//!
//! The right values are the generator's own numbers; real images of each kind are in `tests/inspect/wild.rs`.

mod against;
mod behind;
mod decompressor;
mod flat;
mod initcalls;
mod lzma;
mod made;
mod rpi;
mod s390;
mod symbols;
mod zboot;
mod zimage;

use kimage::finding::Severity;
use kimage::inspect::{FactFound, Limits, Opened, open, verify};

/// Takes a file apart, down to its last layer.
fn opened(bytes: &[u8]) -> Opened<'_> {
    open(bytes, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The bytes of a part.
#[track_caller]
fn part(bytes: &[u8], name: &str) -> Vec<u8> {
    let mut opened = opened(bytes);
    let part = opened.part(name).unwrap_or_else(|| panic!("no part {name} among {:?}", opened.parts()));
    opened.part_bytes(&part).to_vec()
}

/// The text of a fact.
#[track_caller]
fn fact(bytes: &[u8], name: &str) -> String {
    match opened(bytes).fact(name) {
        FactFound::One(_, fact) => fact.text(),
        other => panic!("fact {name}: {other:?}"),
    }
}

/// The rules that `verify` finds broken so badly, each once.
fn broken(bytes: &[u8], severity: Severity) -> Vec<&'static str> {
    let verified = verify::verify(&opened(bytes));
    let mut rules: Vec<_> = verified
        .findings
        .iter()
        .filter(|found| found.finding.severity == severity)
        .map(|found| found.finding.rule)
        .collect();
    rules.dedup();
    rules
}

/// Nothing that verify says is worse than a note.
#[track_caller]
fn assert_good(what: &str, bytes: &[u8]) {
    let verified = verify::verify(&opened(bytes));
    let is_note = |found: &verify::LayerFinding| found.finding.severity == Severity::Note;
    assert!(verified.findings.iter().all(is_note), "{what}: {:#?}", verified.findings);
}
