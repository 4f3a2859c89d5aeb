//! What the compiler expects of a C library, by the names of ARM's EABI and by C's. A loop in Rust could be turned into a call
//! to itself. And the sum of a kernel, by eight words at a time.

core::arch::global_asm!(include_str!("mem.s"), options(raw));

unsafe extern "C" {
    fn summed_words(start: *const u32, end: *const u32, sum: u32, sums: u32) -> u64;
}

/// What `arm::summed` makes of all of `words`.
pub fn summed(words: &[u32]) -> [u32; 2] {
    let (eights, rest) = words.as_chunks::<8>();
    let eights = eights.as_flattened().as_ptr_range();
    // SAFETY: it reads from the first to the last.
    let both = unsafe { summed_words(eights.start, eights.end, 0, 0) };
    rest.iter().fold([both as u32, (both >> 32) as u32], |sum, word| crate::arm::summed(sum, *word))
}
