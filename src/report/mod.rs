//! Layer 10: reports. One model, one writer a form.

mod bench;
mod diff;
mod finding;
mod info;
mod info_text;
mod json;
mod lint;
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
pub use json::{SCHEMA, json_schema, write_files_json, write_json};
pub use lint::{write_lint_json, write_lint_text};
pub use map_svg::map_svg;
pub use map_text::write_map_text;
pub use rules::{
    CODEC_TRAILER, CODEC_TRAILING, OUTPUT_OWNER, rules, write_rule_text, write_rules_json, write_rules_list,
};
pub use style::Style;
pub use text::{write_plan, write_text};
pub use verify::{FileVerification, write_verify_text};

use crate::assemble::{Assembled, Derived, Facts, FitFacts, Step};
use crate::bytes::Patch;
use crate::finding::Finding;
use crate::format::bzimage::Generation;
use crate::format::uimage::{ARCH, COMPRESSION, Names, OS, TYPE};
use crate::layout::{Emitted, Region, RegionKind};
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
    regions: Vec<RegionReport<'r>>,
    fields: &'r [Patch],
    findings: &'r [Finding],
}

#[derive(Debug, Serialize)]
struct RegionReport<'r> {
    name: &'r str,
    kind: RegionKind,
    offset: u64,
    size: u64,
}

impl<'r> From<&'r Region> for RegionReport<'r> {
    fn from(region: &'r Region) -> Self {
        let size = region.at.end - region.at.start;
        RegionReport { name: &region.name, kind: region.kind, offset: region.at.start, size }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "format", rename_all = "lowercase")]
enum ImageReport<'r> {
    BzImage {
        generation: Generation,
        protocol: String,
        kernel_version: Option<&'r str>,
        setup_size: u64,
        setup_padded: u64,
        system_size: u64,
        /// Hexadecimal, as the kernel's tool printed it.
        crc32: Option<String>,
    },
    #[serde(rename = "bzimage")]
    StandaloneBzImage {
        /// `kimage`, where [`ImageReport::BzImage`] has a generation of Linux.
        stub: &'static str,
        kernel_version: &'r str,
        compression: &'static str,
        kernel_size: u64,
        payload_size: u64,
        memory: u64,
        kaslr: bool,
    },
    ZImage {
        kernel_size: u64,
        dtbs: usize,
    },
    Flat {
        load_address: u64,
        arch: Option<&'static str>,
        sections: usize,
    },
    UImage {
        arch: Option<&'static str>,
        os: Option<&'static str>,
        #[serde(rename = "type")]
        kind: Option<&'static str>,
        compression: Option<&'static str>,
        /// As `mkimage -l` puts it.
        description: String,
        load_address: u32,
        entry_point: u32,
        name: String,
        time: u32,
        data_size: u64,
        derived: &'r [Derived],
    },
    Fit(&'r FitFacts),
}

impl<'r> Report<'r> {
    /// The report of a command that wrote `assembled` to `output`, or, when not `written`, would.
    pub fn new(output: &'r str, assembled: &'r Assembled<'_>, emitted: Emitted, written: bool) -> Self {
        Report {
            output,
            size: emitted.len,
            written,
            steps: &assembled.steps,
            image: image_report(&assembled.facts, emitted),
            regions: assembled.plan.regions().iter().map(RegionReport::from).collect(),
            fields: &assembled.patches,
            findings: &assembled.findings,
        }
    }
}

fn image_report(facts: &Facts, emitted: Emitted) -> ImageReport<'_> {
    match facts {
        Facts::BzImage { generation, protocol, kernel_version, setup, system } => ImageReport::BzImage {
            generation: *generation,
            protocol: format!("{}.{:02}", protocol >> 8, protocol & 0xff),
            kernel_version: kernel_version.as_deref(),
            setup_size: setup.0,
            setup_padded: setup.1,
            system_size: *system,
            crc32: emitted.crc32.map(|crc| format!("{crc:x}")),
        },
        Facts::StandaloneBzImage { codec, kernel_version, kernel, memory, kaslr } => ImageReport::StandaloneBzImage {
            stub: "kimage",
            kernel_version,
            compression: codec.name(),
            kernel_size: kernel.0,
            payload_size: kernel.1,
            memory: *memory,
            kaslr: *kaslr,
        },
        Facts::ZImage { kernel_len, dtbs } => ImageReport::ZImage { kernel_size: *kernel_len, dtbs: *dtbs },
        Facts::Flat { base, arch, sections } => {
            ImageReport::Flat { load_address: base.0, arch: arch.map(|arch| arch.facts().name), sections: *sections }
        }
        Facts::Fit(facts) => ImageReport::Fit(facts),
        Facts::UImage { header, data_len, derived } => {
            let long = |names: Names, id| names.long(id).unwrap_or("Unknown");
            let description = format!(
                "{} {} {} ({})",
                long(ARCH, header.arch),
                long(OS, header.os),
                long(TYPE, header.kind),
                long(COMPRESSION, header.comp)
            );
            ImageReport::UImage {
                arch: ARCH.short(header.arch),
                os: OS.short(header.os),
                kind: TYPE.short(header.kind),
                compression: COMPRESSION.short(header.comp),
                description,
                load_address: header.load,
                entry_point: header.entry,
                name: header.name().into_owned(),
                time: header.time,
                data_size: *data_len,
                derived,
            }
        }
    }
}
