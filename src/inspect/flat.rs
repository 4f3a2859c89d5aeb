//! The same kernel in other words: as another ELF file, or flat.

use crate::bytes::slice;
use crate::elf::{ARM_REMOVES, Elf, FlatOptions, IMAGE_REMOVES, PT_LOAD, Segment, X86_REMOVES, flatten};

/// What the kernels' builds make of an ELF file when they make it flat (`objcopy -O binary` with the sections that each CPU
/// leaves out: arch/*/boot/Makefile); empty for what is no ELF file.
pub(super) fn flat_forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(elf) = Elf::parse(bytes) else { return Vec::new() };
    let mut all: Vec<Vec<u8>> = Vec::new();
    for names in [&ARM_REMOVES[..], &IMAGE_REMOVES, &X86_REMOVES] {
        let Ok(options) = FlatOptions::without(names) else { continue };
        let flat = flatten(&elf, &options.in_memory(&elf)).map(|flat| flat.plan.bytes());
        all.extend(flat.ok().filter(|flat| !all.contains(flat)));
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

/// Do two ELF files bring the same bytes to the same places in memory, and start there at the same one? Whatever else is in
/// them, the same kernel runs.
///
/// The entry point is held as a load address: packing gives it to decompressors as one, and many kernels have it as a
/// virtual one.
pub(super) fn is_loaded_alike(one: &[u8], other: &[u8]) -> bool {
    fn loads<'a>(elf: &Elf<'a>) -> Option<Vec<([u64; 3], &'a [u8])>> {
        let loads = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz > 0);
        let load =
            |one: &Segment| Some(([one.paddr, one.vaddr, one.memsz], slice(elf.bytes(), one.offset, one.filesz)?));
        loads.map(load).collect()
    }
    let (Ok(one), Ok(other)) = (Elf::parse(one), Elf::parse(other)) else { return false };
    let (ones, others) = (loads(&one), loads(&other));
    let is_started_alike = one.machine() == other.machine() && one.physical_entry() == other.physical_entry();
    is_started_alike && ones == others && ones.is_some_and(|loads| !loads.is_empty())
}
