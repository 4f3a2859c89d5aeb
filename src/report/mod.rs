//! Layer 10: reports. One model, one writer a form.

mod bench;
mod check_sign;
mod diff;
mod finding;
mod info;
mod info_text;
mod json;
mod lint;
mod listing;
mod map_svg;
mod map_text;
mod rules;
mod style;
mod svg;
mod text;
mod verify;

pub use bench::{BenchReport, Conditions, Cost, Failed, Measured, write_bench_svg, write_bench_text};
pub use diff::{write_diff_json, write_diff_text};
pub use finding::{Shown, label, write_finding};
pub use info::FileInfo;
pub use info_text::write_info_text;
pub use json::{json_schema, write_files_json, write_json};
pub use lint::{write_lint_json, write_lint_text};
pub use listing::{Listing, last_signature, property_at};
pub use map_svg::map_svg;
pub use map_text::write_map_text;
pub use rules::{
    CODEC_TRAILER, CODEC_TRAILING, OUTPUT_OWNER, rules, write_rule_text, write_rules_json, write_rules_list,
};
pub use style::Style;
pub use text::{write_plan, write_text};
pub use verify::{FileVerification, write_verify_text};

use crate::assemble::{Assembled, Facts, Step};
use crate::bytes::Patch;
use crate::finding::Finding;
use crate::layout::{Emitted, Region};
use serde::Serialize;

/// The name of an output that is not a file.
pub const STDOUT: &str = "standard output";

/// What a building command did.
#[derive(Debug, Serialize)]
pub struct Report<'r> {
    output: &'r str,
    size: u64,
    /// False for a plan.
    written: bool,
    image: ImageReport<'r>,
    steps: &'r [Step],
    regions: &'r [Region],
    fields: &'r [Patch],
    findings: &'r [Finding],
}

#[derive(Debug, Serialize)]
struct ImageReport<'r> {
    #[serde(flatten)]
    facts: &'r Facts,
    /// Hexadecimal, as the kernel's tool printed it; of a bzImage of its build alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    crc32: Option<Option<String>>,
}

impl<'r> Report<'r> {
    /// The report of a command that wrote `assembled` to `output`, or, when not `written`, would.
    pub fn new(output: &'r str, assembled: &'r Assembled<'_>, emitted: Emitted, written: bool) -> Self {
        let facts = &assembled.facts;
        let crc32 = || emitted.crc32.map(|crc| format!("{crc:x}"));
        let crc32 = matches!(facts, Facts::BzImage { .. }).then(crc32);
        Report {
            output,
            size: emitted.len,
            written,
            steps: &assembled.steps,
            image: ImageReport { facts, crc32 },
            regions: assembled.plan.regions(),
            fields: &assembled.patches,
            findings: &assembled.findings,
        }
    }
}
