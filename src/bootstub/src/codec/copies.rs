//! Copies of a few bytes, and of what was unpacked before.

/// What is written too much, at most.
#[allow(dead_code, reason = "each decoder uses its share")]
pub const MORE: usize = 31;

/// Copies `len` bytes, at most 16, where 16 may be read and written. What is there is read before anything is written.
///
/// # Safety
/// There are 16 bytes at both.
#[inline(always)]
pub unsafe fn up_to_16(to: *mut u8, from: *const u8, len: usize) {
    if cfg!(any(target_arch = "arm", target_arch = "riscv64")) {
        // Not all of these CPUs can load words from anywhere; and most copies are short.
        for index in 0..len {
            unsafe { to.add(index).write(from.add(index).read()) };
        }
        return;
    }
    unsafe { from.copy_to(to, 16) };
}

/// Copies `len` bytes to `at` from `distance` before it, which may be less: then they repeat themselves.
///
/// # Safety
/// `distance` is not 0; from there to `at + len` is all one's own.
#[inline(always)]
pub unsafe fn repeat(at: *mut u8, distance: usize, len: usize) {
    /// Pieces that do not overlap, each twice as long as the one before, for what stands there repeats itself, too.
    #[inline(never)]
    unsafe fn overlapping(at: *mut u8, distance: usize, len: usize) {
        let (mut done, mut step) = (0, distance);
        while done < len {
            let count = step.min(len - done);
            unsafe { at.add(done).copy_from_nonoverlapping(at.add(done).sub(step), count) };
            done += count;
            step += step;
        }
    }
    unsafe {
        match distance < len {
            true => overlapping(at, distance, len),
            false => at.copy_from_nonoverlapping(at.sub(distance), len),
        }
    }
}

/// The same, where up to [`MORE`] bytes behind may be written, too.
///
/// # Safety
/// As of [`repeat`], and so many bytes behind `at + len`.
#[allow(dead_code, reason = "each decoder uses its share")]
#[inline(always)]
pub unsafe fn repeat_and_more(at: *mut u8, distance: usize, len: usize) {
    unsafe {
        if distance >= 16 {
            let from = at.sub(distance);
            up_to_16(at, from, len.min(16));
            if len > 16 {
                more_than_16(at, from, len);
            }
            return;
        }
        // What fills a word evenly: most are runs of zeros.
        let word = match distance {
            1 => u64::from(at.sub(1).read()) * 0x0101_0101_0101_0101,
            2 => u64::from(at.sub(2).cast::<u16>().read_unaligned()) * 0x0001_0001_0001_0001,
            4 => u64::from(at.sub(4).cast::<u32>().read_unaligned()) * 0x0000_0001_0000_0001,
            8 => at.sub(8).cast::<u64>().read_unaligned(),
            _ => return repeat(at, distance, len),
        };
        let mut done = 0;
        loop {
            at.add(done).cast::<[u64; 4]>().write_unaligned([word; 4]);
            done += 32;
            if done >= len {
                return;
            }
        }
    }
}

/// The rest of it, when the first 16 bytes have been copied.
#[allow(dead_code, reason = "each decoder uses its share")]
#[inline(always)]
unsafe fn more_than_16(at: *mut u8, from: *const u8, len: usize) {
    let mut done = 16;
    loop {
        unsafe { up_to_16(at.add(done), from.add(done), (len - done).min(16)) };
        done += 16;
        if done >= len {
            return;
        }
    }
}
