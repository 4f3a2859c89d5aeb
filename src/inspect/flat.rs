//! The same kernel as an ELF file and flat.

use crate::elf::{ARM_REMOVES, Elf, FlatOptions, IMAGE_REMOVES, X86_REMOVES, flatten};
use crate::layout::Plan;

/// What the kernels' builds make of an ELF file when they make it flat (`objcopy -O binary` with the sections that each CPU
/// leaves out: arch/*/boot/Makefile); empty for what is no ELF file.
pub(super) fn flat_forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(elf) = Elf::parse(bytes) else { return Vec::new() };
    let whole = |plan: Plan<'_>| plan.bytes_at(0..plan.len());
    let mut all: Vec<Vec<u8>> = Vec::new();
    for names in [&ARM_REMOVES[..], &IMAGE_REMOVES, &X86_REMOVES] {
        let Ok(options) = FlatOptions::without(names) else { continue };
        all.extend(
            flatten(&elf, &options.in_memory(&elf))
                .ok()
                .map(|flat| whole(flat.plan))
                .filter(|flat| !all.contains(flat)),
        );
    }
    all
}

/// Is one of them an ELF file and the other what it is flat?
pub(super) fn is_same_kernel(one: &[u8], other: &[u8]) -> bool {
    match (Elf::detect(one), Elf::detect(other)) {
        (true, false) => flat_forms(one).iter().any(|flat| flat == other),
        (false, true) => flat_forms(other).iter().any(|flat| flat == one),
        _ => false,
    }
}
