//! Device trees and FITs.

use crate::bytes::{Cursor, Endian, slice};
use crate::codec::Codec;
use crate::finding::{Checks, Rule, Severity};
use crate::format::Format;
use crate::format::fdt::Behind;
use crate::format::fit::{Fit, compression_fits};
use crate::inspect::{Kind, Layer, Opened};

pub(super) const RULES: &[&Rule] = &[&HEADER, &BLOCKS, &TOTAL, &COMPRESSION];

const HEADER: Rule = Rule {
    id: "dtb.header",
    severity: Severity::Error,
    what: "header field",
    means: "U-Boot and the kernel refuse the tree, or read it by the rules of another version",
};
const BLOCKS: Rule = Rule {
    id: "dtb.blocks",
    severity: Severity::Error,
    what: "blocks of the tree",
    means: "nodes, properties or their names are read from the wrong place",
};
const TOTAL: Rule = Rule {
    id: "dtb.totalsize",
    severity: Severity::Warning,
    what: "bytes behind totalsize",
    means: "nobody who reads the tree sees them",
};
const COMPRESSION: Rule = Rule {
    id: "fit.compression",
    severity: Severity::Error,
    what: "compression of an image",
    means: "U-Boot fails to decompress the image",
};

/// The header's fields are (Devicetree Specification 0.4, 5.2): magic, totalsize, off_dt_struct, off_dt_strings,
/// off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys, size_dt_strings, size_dt_struct.
pub(super) fn fdt(bytes: &[u8], checks: &mut Checks) {
    let cursor = Cursor::new(bytes, Endian::Big);
    let word = |index: u64| u64::from(cursor.u32("fdt_header", 4 * index).unwrap_or(0));
    let (total, version, compatible) = (word(1), word(5), word(6));
    checks.hold(&HEADER, 20, matches!(version, 16 | 17), format!("version {version}"), "17");
    let kept = (1..=16).contains(&compatible);
    checks.hold(&HEADER, 24, kept, format!("last_comp_version {compatible}"), "16");
    let cpu = word(7);
    checks.hold(&HEADER, 28, cpu < 1 << 24, format!("boot_cpuid_phys {cpu:#x}"), "the number of a CPU");
    // The reserve map ends with an entry of 16 zero bytes.
    let entries = (0..(1 << 16))
        .find(|index| slice(bytes, word(4) + 16 * index, 16).is_none_or(|entry| entry.iter().all(|byte| *byte == 0)));
    let reserve = word(4)..word(4) + 16 * (entries.unwrap_or(0) + 1);
    let (structure, strings) = (word(2), word(3)..word(3) + word(8));
    let structure =
        structure..structure + if version >= 17 { word(9) } else { strings.start.saturating_sub(structure) };
    let closing = structure.end.checked_sub(4).and_then(|at| cursor.u32("end", at).ok());
    if version >= 17 {
        let found = format!("{:#x} as its last token", closing.unwrap_or(0));
        checks.hold(&BLOCKS, 36, closing == Some(9), found, "9 (FDT_END)");
    }
    let ends = strings.is_empty() || slice(bytes, strings.end - 1, 1) == Some(&[0]);
    checks.hold(&BLOCKS, 32, ends, "names that go beyond size_dt_strings", "a NUL at the end");
    let header = 0..if version >= 17 { 40 } else { 36 };
    let mut blocks = [("header", header), ("reserve map", reserve), ("structure", structure), ("strings", strings)];
    blocks.sort_by_key(|(_, range)| range.start);
    let mut at = 0;
    for (name, range) in blocks.iter().map(|(name, range)| (*name, range)).chain([("end of the tree", &(total..total))])
    {
        // Between blocks there is only padding.
        let gap = range.start.checked_sub(at).and_then(|len| slice(bytes, at, len));
        let kept = gap.is_some_and(|gap| gap.iter().all(|byte| *byte == 0));
        let found = format!("{name} at {:#x}", range.start);
        checks.hold(&BLOCKS, 8, kept, found, format!("{at:#x}, or zeros from there on"));
        at = range.end;
    }
}

pub(super) fn fit(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(fit) = Fit::parse(opened.bytes(layer)) else { return };
    checks.extend(fit.check());
    for (index, image) in fit.images().enumerate() {
        let child = opened.children(layer.id).find(|child| child.name == format!("image[{index}]"));
        let found = match child.map(|child| child.kind) {
            Some(Kind::Known(Format::Compressed(codec))) => Some(codec),
            _ => None,
        };
        let Some(kept) = compression_fits(image.text("compression").unwrap_or(""), found) else { continue };
        let text = found.map_or("data", Codec::name);
        let found_text = format!("{} for {text}, image {}", image.text("compression").unwrap_or(""), image.name());
        checks.hold(&COMPRESSION, None, kept, found_text, "what its data begins as");
    }
}

/// What is behind the tree: others, or nothing but padding.
pub(super) fn trailer(bytes: &[u8], checks: &mut Checks) {
    let total = Cursor::new(bytes, Endian::Big).u32("totalsize", 4).map_or(0, u64::from);
    let rest = Behind::read(bytes, total).rest.unwrap_or(0..0);
    checks.hold(&TOTAL, 4, rest.is_empty(), rest.end - rest.start, 0);
}
