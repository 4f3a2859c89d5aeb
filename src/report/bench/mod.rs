//! What codecs cost for one input, side by side: [`BenchReport`], and its writers for people.
//!
//! A result is on a front when no other result is at most as large and at most as slow, and better in one of the two
//! ([`pareto_front`]). There are two fronts: over size and the time to decompress, and over size and the time to
//! compress.

mod axis;
mod labels;
mod plot;
mod text;
mod units;

pub use plot::write_bench_svg;
pub use text::write_bench_text;

use crate::assemble::{Payload, PayloadForm};
use crate::bytes::len64;
use crate::finding::Finding;
use serde::Serialize;

/// What one direction of a codec took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Wall-clock time in nanoseconds, of the fastest run.
    pub ns: u64,
    /// The most bytes of memory in use at once, beyond the input and the output; `None` where that is not known.
    pub memory: Option<u64>,
}

/// What became of one codec, with the parameters that its name tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The codec and its parameters, as `--codec` takes them: `zstd-19`.
    pub codec: String,
    /// Bytes of the compressed stream.
    pub size: u64,
    /// Making it.
    pub compress: Cost,
    /// Reading it back.
    pub decompress: Cost,
}

/// A codec that gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// As [`Measured::codec`].
    pub codec: String,
    /// Why.
    pub message: String,
}

/// How it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Conditions {
    /// Threads that a codec may use to compress; decompressing takes one.
    pub threads: usize,
    /// Runs to compress, of which the fastest counts.
    pub compress_runs: u32,
    /// Runs to decompress, of which the fastest counts.
    pub decompress_runs: u32,
}

/// What `kimage bench` found out.
#[derive(Debug, Serialize)]
pub struct BenchReport<'r> {
    input: &'r str,
    payload: PayloadReport,
    conditions: Conditions,
    /// Smallest first.
    results: Vec<Row>,
    failed: Vec<Failed>,
    findings: &'r [Finding],
}

#[derive(Debug, Serialize)]
struct PayloadReport {
    #[serde(flatten)]
    form: PayloadForm,
    size: u64,
    bcj: &'static str,
}

#[derive(Debug, Serialize)]
struct Row {
    codec: String,
    size: u64,
    /// `size` by that of the payload.
    ratio: f64,
    compress: Side,
    decompress: Side,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Side {
    ns: u64,
    memory: Option<u64>,
    on_front: bool,
}

impl<'r> BenchReport<'r> {
    /// The report on `payload`, which was made of the input of this name.
    pub fn new(
        input: &'r str,
        payload: &'r Payload<'_>,
        conditions: Conditions,
        mut measured: Vec<Measured>,
        failed: Vec<Failed>,
    ) -> Self {
        measured.sort_by(|a, b| (a.size, a.decompress.ns, &a.codec).cmp(&(b.size, b.decompress.ns, &b.codec)));
        let front = |side: fn(&Measured) -> Cost| {
            pareto_front(&measured.iter().map(|one| (one.size, side(one).ns)).collect::<Vec<_>>())
        };
        let fronts = front(|one| one.compress).into_iter().zip(front(|one| one.decompress));
        let size = len64(&payload.bytes);
        let row = |(one, (compress, decompress)): (&Measured, (bool, bool))| {
            let side = |cost: Cost, on_front| Side { ns: cost.ns, memory: cost.memory, on_front };
            Row {
                codec: one.codec.clone(),
                size: one.size,
                ratio: one.size as f64 / size.max(1) as f64,
                compress: side(one.compress, compress),
                decompress: side(one.decompress, decompress),
            }
        };
        BenchReport {
            input,
            payload: PayloadReport { form: payload.form, size, bcj: payload.bcj.name() },
            conditions,
            results: measured.iter().zip(fronts).map(row).collect(),
            failed,
            findings: &payload.findings,
        }
    }

    /// What was compressed, in words.
    fn payload_text(&self) -> String {
        let size = units::bytes(self.payload.size, 4);
        match self.payload.form {
            PayloadForm::Elf { relocs_size: None } => format!("{size}: the stripped ELF file"),
            PayloadForm::Elf { relocs_size: Some(relocs) } => {
                format!("{size}: the stripped ELF file and {} of relocations", units::bytes(relocs, 3))
            }
            PayloadForm::Flat => format!("{size}: the flat image"),
            PayloadForm::AsIs => format!("{size}, taken as it is"),
        }
    }

    /// How it was measured, in words.
    fn conditions_text(&self) -> String {
        let Conditions { threads, compress_runs, decompress_runs } = self.conditions;
        let runs = |count: u32| if count == 1 { "1 run".to_owned() } else { format!("the best of {count} runs") };
        let (compress, decompress) = (runs(compress_runs), runs(decompress_runs));
        let threads = if threads == 1 { "1 thread".to_owned() } else { format!("up to {threads} threads") };
        format!("compress: {compress}, {threads}; decompress: {decompress}, 1 thread")
    }
}

/// Which of these pairs no other pair beats, smaller being better: another pair beats one when it is at most as large
/// in both values and smaller in one. Equal pairs do not beat each other.
pub(crate) fn pareto_front(pairs: &[(u64, u64)]) -> Vec<bool> {
    let beaten = |one: &(u64, u64)| pairs.iter().any(|other| other.0 <= one.0 && other.1 <= one.1 && other != one);
    pairs.iter().map(|one| !beaten(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_nothing_beats() {
        assert!(pareto_front(&[]).is_empty());
        assert_eq!(pareto_front(&[(5, 5)]), [true]);
        // A chain, and one behind it.
        assert_eq!(pareto_front(&[(1, 9), (2, 5), (3, 6), (9, 1)]), [true, true, false, true]);
        // The order does not matter.
        assert_eq!(pareto_front(&[(9, 1), (3, 6), (1, 9), (2, 5)]), [true, false, true, true]);
        // One beats all.
        assert_eq!(pareto_front(&[(2, 2), (1, 1), (1, 2), (2, 1)]), [false, true, false, false]);
    }

    #[test]
    fn ties() {
        // As large, and slower; as fast, and larger.
        assert_eq!(pareto_front(&[(1, 5), (1, 6)]), [true, false]);
        assert_eq!(pareto_front(&[(1, 5), (2, 5)]), [true, false]);
        // Equal in both: neither beats the other, and both go when a third beats them.
        assert_eq!(pareto_front(&[(2, 2), (2, 2)]), [true, true]);
        assert_eq!(pareto_front(&[(2, 2), (2, 2), (2, 1)]), [false, false, true]);
    }
}
