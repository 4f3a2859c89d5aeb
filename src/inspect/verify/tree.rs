//! Device trees and FITs.

use crate::bytes::{Cursor, Endian, len64, slice};
use crate::codec::Codec;
use crate::finding::{Checks, Severity, rules};
use crate::format::Format;
use crate::format::fdt::{Behind, Dtb};
use crate::format::fit::{Fit, compression_fits};
use crate::inspect::{Kind, Layer, Opened};
use std::collections::HashMap;

rules! {
    pub(super) RULES:
    HEADER = "dtb.header", Error, "header field",
        "U-Boot and the kernel refuse the tree, or read it by the rules of another version",
        "compile the tree again with dtc";
    BLOCKS = "dtb.blocks", Error, "blocks of the tree",
        "nodes, properties or their names are read from the wrong place",
        "compile the tree again with dtc";
    ROOT = "dtb.root_name", Error, "name of the root node",
        "U-Boot refuses a FIT with such a tree (FIT_FULL_CHECK), and libfdt's fdt_check_full any tree",
        "compile the tree again with dtc";
    TOTAL = "dtb.totalsize", Warning, "bytes behind totalsize",
        "nobody who reads the tree sees them",
        "cut them off, if nobody put them there on purpose";
}

/// The header's fields are (Devicetree Specification 0.4, 5.2): magic, totalsize, off_dt_struct, off_dt_strings,
/// off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys, size_dt_strings, size_dt_struct.
///
/// Nothing is said about bytes between the blocks and behind them: libfdt leaves there what stood there before an edit
/// (mkimage -E, `fdt_open_into`), and nobody reads it.
pub(super) fn fdt(bytes: &[u8], checks: &mut Checks) {
    let Ok(dtb) = Dtb::parse_at(bytes, 0) else { return };
    let cursor = Cursor::new(bytes, Endian::Big);
    let word = |index: u64| u64::from(cursor.u32("fdt_header", 4 * index).unwrap_or(0));
    let (version, compatible) = (dtb.version(), word(6));
    // Trees of old versions are whole, and what read them read them: how much it matters is a question of the reader's age.
    let severity = if version < 16 { Severity::Warning } else { Severity::Error };
    checks.expect_as(severity, &HEADER, 20, matches!(version, 16 | 17), format!("version {version}"), "17");
    let kept = (1..=16).contains(&compatible);
    checks.expect(&HEADER, 24, kept, format!("last_comp_version {compatible}"), "16");
    let cpu = dtb.boot_cpu();
    checks.expect(&HEADER, 28, cpu < 1 << 24, format!("boot_cpuid_phys {cpu:#x}"), "the number of a CPU");
    if version >= 17 {
        let closing = (word(2) + word(9)).checked_sub(4).and_then(|at| cursor.u32("end", at).ok());
        let found = format!("{:#x} as its last token", closing.unwrap_or(0));
        checks.expect(&BLOCKS, 36, closing == Some(9), found, "9 (FDT_END)");
    }
    if version >= 3 {
        let end = word(3) + word(8);
        let ends = word(8) == 0 || slice(bytes, end - 1, 1) == Some(&[0]);
        checks.expect(&BLOCKS, 32, ends, "names that go beyond size_dt_strings", "a NUL at the end");
    }
    match dtb.blocks() {
        Ok(blocks) => {
            let mut end = 0;
            for block in blocks {
                let found = format!("{} at {:#x}", block.name, block.at.start);
                checks.expect(&BLOCKS, 8, block.at.start >= end, found, format!("{end:#x} or behind"));
                end = block.at.end;
            }
            let total = len64(dtb.bytes());
            checks.expect(&BLOCKS, 4, end <= total, format!("blocks up to {end:#x}"), format!("{total:#x} at most"));
        }
        Err(error) => checks.expect(&BLOCKS, 16, false, error, "a list that ends with an entry of zeros"),
    }
    if let Ok(tree) = dtb.tree() {
        let name = tree.root_name();
        checks.expect(&ROOT, word(2) + 4, matches!(name, "" | "/"), format!("{name:?}"), "none");
    }
}

pub(super) fn fit(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(fit) = Fit::parse(opened.bytes(layer)) else { return };
    checks.extend(fit.check());
    let kinds: HashMap<&str, Kind> = opened.children(layer.id).map(|child| (child.name.as_str(), child.kind)).collect();
    for (index, image) in fit.images().enumerate() {
        let found = match kinds.get(format!("image[{index}]").as_str()) {
            Some(Kind::Known(Format::Compressed(codec))) => Some(*codec),
            // The limit of layers: what it begins as was not looked at.
            None => continue,
            _ => None,
        };
        let Some(kept) = compression_fits(image.text("compression").unwrap_or(""), found) else { continue };
        let text = found.map_or("data", Codec::name);
        let found_text = format!("{} for {text}, image {}", image.text("compression").unwrap_or(""), image.name());
        checks.expect(&crate::format::fit::rules::COMPRESSION, None, kept, found_text, "what its data begins as");
    }
}

/// What is behind the tree: others, or nothing but padding.
pub(super) fn trailer(bytes: &[u8], checks: &mut Checks) {
    let total = Cursor::new(bytes, Endian::Big).u32("totalsize", 4).map_or(0, u64::from);
    let rest = Behind::read(bytes, total).rest.unwrap_or(0..0);
    checks.expect(&TOTAL, 4, rest.is_empty(), rest.end - rest.start, 0);
}
