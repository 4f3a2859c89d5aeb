//! x86: which relocations a kernel may have, and which of them its decompressor must apply.
//!
//! Facts of arch/x86/tools/relocs.c, the union of Linux 5.10, 6.1, 6.12 and 7.2: no kernel of one release has symbols
//! or relocations of another that would be judged differently there.

/// What a relocation means for a kernel that runs somewhere else than where it was linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelocAction {
    /// Nothing: relative to the place itself, or no relocation at all.
    Nothing,
    /// A 32-bit distance: right anywhere, unless it leads into the per-CPU area, which stays while the rest moves.
    Distance32,
    /// A 64-bit distance (jump labels); must not lead into the per-CPU area.
    Distance64,
    /// A 16-bit address: a segment of real-mode code.
    Address16,
    /// A 32-bit address: the difference is added.
    Address32,
    /// A 64-bit address: the difference is added.
    Address64,
    /// Known by name only: such a relocation cannot be applied.
    NotAllowed,
}

/// A relocation type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelocType {
    /// Its number in `r_info`.
    pub number: u32,
    /// Its name in the psABI.
    pub name: &'static str,
    /// What to do with it.
    pub action: RelocAction,
}

const fn kind(number: u32, name: &'static str, action: RelocAction) -> RelocType {
    RelocType { number, name, action }
}

/// The types of a 64-bit kernel.
pub(crate) const RELOCS_64: &[RelocType] = {
    use RelocAction::{Address32, Address64, Distance32, Distance64, NotAllowed, Nothing};
    &[
        kind(0, "R_X86_64_NONE", Nothing),
        kind(1, "R_X86_64_64", Address64),
        kind(2, "R_X86_64_PC32", Distance32),
        kind(3, "R_X86_64_GOT32", NotAllowed),
        kind(4, "R_X86_64_PLT32", Distance32),
        kind(5, "R_X86_64_COPY", NotAllowed),
        kind(6, "R_X86_64_GLOB_DAT", NotAllowed),
        kind(7, "R_X86_64_JUMP_SLOT", NotAllowed),
        kind(8, "R_X86_64_RELATIVE", NotAllowed),
        kind(9, "R_X86_64_GOTPCREL", NotAllowed),
        kind(10, "R_X86_64_32", Address32),
        kind(11, "R_X86_64_32S", Address32),
        kind(12, "R_X86_64_16", NotAllowed),
        kind(13, "R_X86_64_PC16", NotAllowed),
        kind(14, "R_X86_64_8", NotAllowed),
        kind(15, "R_X86_64_PC8", NotAllowed),
        kind(24, "R_X86_64_PC64", Distance64),
        // Allowed in Linux 7.2; the linker has made it a plain distance.
        kind(42, "R_X86_64_REX_GOTPCRELX", Nothing),
    ]
};

/// The types of a 32-bit kernel and of the real-mode trampoline.
pub(crate) const RELOCS_32: &[RelocType] = {
    use RelocAction::{Address16, Address32, NotAllowed, Nothing};
    &[
        kind(0, "R_386_NONE", Nothing),
        kind(1, "R_386_32", Address32),
        kind(2, "R_386_PC32", Nothing),
        kind(3, "R_386_GOT32", NotAllowed),
        kind(4, "R_386_PLT32", Nothing),
        kind(5, "R_386_COPY", NotAllowed),
        kind(6, "R_386_GLOB_DAT", NotAllowed),
        kind(7, "R_386_JMP_SLOT", NotAllowed),
        kind(8, "R_386_RELATIVE", NotAllowed),
        kind(9, "R_386_GOTOFF", NotAllowed),
        kind(10, "R_386_GOTPC", NotAllowed),
        kind(20, "R_386_16", Address16),
        kind(21, "R_386_PC16", Nothing),
        kind(22, "R_386_8", NotAllowed),
        kind(23, "R_386_PC8", Nothing),
    ]
};

/// Names of symbols with spaces between; `*` stands for any characters, in the middle of a name for one at least.
pub(crate) type Names = &'static str;

/// Absolute symbols whose values are the same wherever the kernel runs: a relocation against one is left alone.
pub(crate) const CONSTANT_SYMBOLS: Names =
    "xen_irq_disable_direct_reloc xen_save_fl_direct_reloc xen_elfnote_*_offset VDSO* __kcfi_typeid_* __crc_*";

/// Absolute symbols that move with the kernel all the same: the linker script defines them outside of any section.
pub(crate) const MOVING_SYMBOLS: Names = "\
    __init_begin __init_end __x86_cpu_dev_start __x86_cpu_dev_end __parainstructions __parainstructions_end \
    __alt_instructions __alt_instructions_end __iommu_table __iommu_table_end __apicdrivers __apicdrivers_end \
    __smp_locks __smp_locks_end __start_pci_* __end_pci_* __start_builtin_fw __end_builtin_fw __start___ksymtab \
    __stop___ksymtab __start___ksymtab_gpl __stop___ksymtab_gpl __start___ksymtab_unused __stop___ksymtab_unused \
    __start___ksymtab_unused_gpl __stop___ksymtab_unused_gpl __start___ksymtab_gpl_future \
    __stop___ksymtab_gpl_future __start___kcrctab __stop___kcrctab __start___kcrctab_gpl __stop___kcrctab_gpl \
    __start___kcrctab_unused __stop___kcrctab_unused __start___kcrctab_unused_gpl __stop___kcrctab_unused_gpl \
    __start___kcrctab_gpl_future __stop___kcrctab_gpl_future __start___param __stop___param __start___modver \
    __stop___modver __start___bug_table __stop___bug_table __tracedata_start __tracedata_end __start_notes \
    __stop_notes __end_rodata __end_rodata_aligned __initramfs_start jiffies jiffies_64 __vvar_page _end";

/// As [`MOVING_SYMBOLS`], in 64-bit kernels only.
pub(crate) const MOVING_SYMBOLS_64: Names = "__per_cpu_load init_per_cpu__* __end_rodata_hpage_align";

/// Real mode: symbols that the trampoline's linker script gives as physical addresses, and that move.
pub(crate) const REALMODE_LINEAR: Names = "pa_*";

/// Real mode: the symbol that stands for the segment.
pub(crate) const REALMODE_SEGMENT: Names = "real_mode_seg";

/// Where the first copy of the per-CPU data is loaded. A kernel has this symbol exactly as long as its table has the
/// list of inverse relocations (Linux 5.10, 6.1 and 6.12 have both, 7.2 has neither).
pub(crate) const PER_CPU_LOAD: &str = "__per_cpu_load";

/// The section of the per-CPU data; at address 0 its symbols are offsets, and do not move.
pub(crate) const PER_CPU_SECTION: &str = ".data..percpu";

/// Symbols that linkers count to [`PER_CPU_SECTION`] though they move with the kernel.
pub(crate) const NOT_PER_CPU: Names = "__init_begin __per_cpu_load init_per_cpu_*";

/// Is `name` one of `names`?
pub(crate) fn is_any(names: Names, name: &[u8]) -> bool {
    names.split(' ').map(str::as_bytes).any(|known| match known.iter().position(|byte| *byte == b'*') {
        None => known == name,
        Some(star) => {
            let (start, end) = (known.get(..star).unwrap_or_default(), known.get(star + 1..).unwrap_or_default());
            let least = start.len() + if end.is_empty() { 0 } else { end.len() + 1 };
            name.len() >= least && name.starts_with(start) && name.ends_with(end)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_anchored_as_the_kernels_are() {
        assert!(is_any(CONSTANT_SYMBOLS, b"__crc_printk"));
        assert!(is_any(CONSTANT_SYMBOLS, b"xen_elfnote_entry_offset"));
        assert!(!is_any(CONSTANT_SYMBOLS, b"xen_elfnote__offset"));
        assert!(!is_any(CONSTANT_SYMBOLS, b"xen_irq_disable_direct_reloc2"));
        assert!(is_any(MOVING_SYMBOLS, b"__start_pci_fixups"));
        assert!(!is_any(MOVING_SYMBOLS, b"_end2"));
        assert!(is_any(MOVING_SYMBOLS_64, b"init_per_cpu__gdt_page"));
    }

    #[test]
    fn types_are_sorted() {
        for table in [RELOCS_32, RELOCS_64] {
            assert!(table.is_sorted_by_key(|kind| kind.number));
        }
    }
}
