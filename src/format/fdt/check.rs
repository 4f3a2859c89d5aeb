//! What the header of a device tree blob claims, held against its blocks.

use super::{Dtb, FIELDS, VERSION, token};
use crate::bytes::{Cursor, Endian, len64, offset_of, slice};
use crate::finding::{Checks, Severity, rules};

rules! {
    /// What is looked at in a blob.
    pub(crate) RULES:
    HEADER = "dtb.header", Error, "header field",
        "U-Boot and the kernel refuse the tree, or read it by the rules of another version",
        "compile the tree again with dtc";
    BLOCKS = "dtb.blocks", Error, "blocks of the tree",
        "nodes, properties or their names are read from the wrong place",
        "compile the tree again with dtc";
    ROOT = "dtb.root_name", Error, "name of the root node",
        "U-Boot refuses a FIT with such a tree (FIT_FULL_CHECK), and libfdt's fdt_check_full any tree",
        "compile the tree again with dtc";
}

impl Dtb<'_> {
    /// Holds header and blocks to the rules.
    ///
    /// Nothing is said about bytes between the blocks and behind them: libfdt leaves there what stood there before an edit
    /// (mkimage -E, `fdt_open_into`), and nobody reads it.
    pub(crate) fn check(&self) -> Checks {
        let mut checks = Checks::default();
        let at = |field| offset_of(FIELDS, field);
        let (version, compatible) = (self.version(), self.header.last_comp_version.get());
        // Trees of old versions are whole, and what read them read them: how much it matters is a question of the reader's age.
        let severity = if version < 16 { Severity::Warning } else { Severity::Error };
        let found = format!("version {version}");
        checks.expect_as(severity, &HEADER, at("version"), matches!(version, 16 | 17), found, "17");
        let found = format!("last_comp_version {compatible}");
        checks.expect(&HEADER, at("last_comp_version"), (1..=16).contains(&compatible), found, "16");
        let cpu = self.boot_cpu();
        let found = format!("boot_cpuid_phys {cpu:#x}");
        checks.expect(&HEADER, at("boot_cpuid_phys"), cpu < 1 << 24, found, "the number of a CPU");
        if version >= VERSION {
            let last = (self.structure.0 + self.structure.1).checked_sub(4);
            let closing = last.and_then(|at| Cursor::new(self.bytes, Endian::Big).u32("end", at).ok());
            let found = format!("{:#x} as its last token", closing.unwrap_or(0));
            checks.expect(&BLOCKS, at("size_dt_struct"), closing == Some(token::END), found, "9 (FDT_END)");
        }
        if version >= 3 {
            let (start, len) = self.strings;
            let ends = len == 0 || slice(self.bytes, start + len - 1, 1) == Some(&[0]);
            checks.expect(
                &BLOCKS,
                at("size_dt_strings"),
                ends,
                "names that go beyond size_dt_strings",
                "a NUL at the end",
            );
        }
        match self.blocks() {
            Ok(blocks) => {
                let mut end = 0;
                for block in blocks {
                    let found = format!("{} at {:#x}", block.name, block.at.start);
                    let kept = block.at.start >= end;
                    checks.expect(&BLOCKS, at("off_dt_struct"), kept, found, format!("{end:#x} or behind"));
                    end = block.at.end;
                }
                let total = len64(self.bytes);
                let found = format!("blocks up to {end:#x}");
                checks.expect(&BLOCKS, at("totalsize"), end <= total, found, format!("{total:#x} at most"));
            }
            Err(error) => {
                checks.expect(&BLOCKS, at("off_mem_rsvmap"), false, error, "a list that ends with an entry of zeros");
            }
        }
        if let Ok(tree) = self.tree() {
            let name = tree.root_name();
            let found = format!("{name:?}");
            checks.expect(&ROOT, self.structure.0 + 4, matches!(name, "" | "/"), found, "none");
        }
        checks
    }
}
