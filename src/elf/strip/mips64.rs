//! Relocations of 64-bit MIPS: each has up to three operations, and of these the first that takes a symbol takes `r_sym`, the
//! next one the special symbol `r_ssym` (64-bit ELF Object File Specification, 2.9).

/// `R_MIPS_NONE`, `R_MIPS_LITERAL`, `R_MIPS_INSERT_A`, `R_MIPS_INSERT_B` and `R_MIPS_DELETE` take none.
const WITHOUT_SYMBOL: [u8; 5] = [0, 8, 25, 26, 27];

/// How many of a relocation's operations take a symbol, by its `r_info`: `r_sym` of four bytes, `r_ssym`, `r_type3`,
/// `r_type2`, `r_type`, whatever the byte order.
pub(super) fn symbols(info: &[u8]) -> usize {
    info.iter().skip(5).filter(|kind| !WITHOUT_SYMBOL.contains(kind)).count()
}

/// The relocations, of `size` bytes each, as BFD writes them: it takes them apart to single operations, and joins those without
/// a symbol to what is before them at the same place (bfd/elf64-mips.c of binutils 2.40).
pub(super) fn joined(relocs: &[u8], size: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(relocs.len());
    // Operations that the last one of `out` has room for.
    let mut room = 0;
    for reloc in relocs.chunks_exact(size) {
        let part = |range| reloc.get(range).unwrap_or_default();
        let (place, mut symbol, addend) = (part(0..8), Some(part(8..12)), part(16..size));
        for kind in part(8..16).iter().rev().take(3) {
            let taken = if WITHOUT_SYMBOL.contains(kind) { None } else { symbol.take() };
            let taken = taken.filter(|symbol| *symbol != [0; 4]);
            let last = out.len().saturating_sub(size);
            let joins = room > 0 && taken.is_none() && out.get(last..last + 8) == Some(place);
            if let Some(slot) = out.get_mut(last + 12 + room).filter(|_| joins) {
                *slot = *kind;
                room -= 1;
            } else {
                out.extend([place, taken.unwrap_or(&[0; 4]), &[0, 0, 0, *kind], addend].concat());
                room = 2;
            }
        }
    }
    out
}
