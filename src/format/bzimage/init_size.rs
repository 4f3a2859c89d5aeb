//! `init_size`: how much memory a kernel asks for, by the formulas of every age.
//!
//! Source: arch/x86/boot/compressed/mkpiggy.c of Linux 2.6.31 to 4.6, `INIT_SIZE` in arch/x86/boot/header.S of 2.6.31 to 7.2.

use super::parse::BzImage;
use crate::bytes::{Align, slice};

/// Bytes that the decompressor needs beyond the unpacked kernel so as not to overtake what it reads, for `unpacked` bytes: Linux
/// 2.6.31 to 2.6.37, 2.6.38 to 4.12, 4.13 to 5.8, and from 5.9 on.
fn extra(unpacked: u64) -> [u64; 4] {
    [(unpacked >> 12) + 32_768 + 18, (unpacked >> 12) + 65_536 + 128, (unpacked >> 8) + 65_536, newest_extra(unpacked)]
}

fn newest_extra(unpacked: u64) -> u64 {
    (unpacked >> 8) + 131_072
}

fn init_size_with(extra: u64, memory: &MemoryOf) -> Option<u64> {
    let extract_offset = match memory.unpacked > memory.packed {
        true => memory.unpacked.checked_add(extra)?.checked_sub(memory.packed)?,
        false => extra,
    };
    Some(memory.decompressor.checked_add(Align::PAGE.up(memory.head.max(extract_offset))?)?.max(memory.kernel))
}

/// What goes into `init_size`; all in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryOf {
    /// The compressed payload, with the size behind it.
    pub packed: u64,
    /// What it decompresses to.
    pub unpacked: u64,
    /// The code in front of the payload; 0 where it is not known: it is shorter than what the decompressor needs behind the
    /// payload in every kernel.
    pub head: u64,
    /// What the decompressor takes in memory: `ZO__end - ZO_startup_32`.
    pub decompressor: u64,
    /// What the running kernel takes, BSS included: `VO__end - VO__text`.
    pub kernel: u64,
}

/// What `init_size` should be by the formula of header.S (`INIT_SIZE`, the same from Linux 5.9 to 7.2): memory for the decompressor behind
/// its compressed data, or for the kernel with its BSS, whichever is more.
pub(crate) fn init_size(memory: &MemoryOf) -> Option<u64> {
    init_size_with(newest_extra(memory.unpacked), memory)
}

/// What `init_size` may be where the decompressor's memory is not known, and nothing tells which formula an image was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitSizeBounds {
    /// Less is too little by every formula that an image of this protocol can have been made by.
    pub least: u64,
    /// As much or more is enough by each of them.
    pub enough: u64,
    /// More is too much by each of them.
    pub most: u64,
}

impl BzImage<'_> {
    /// Bounds of `init_size`. `memory.decompressor` is not used.
    pub(crate) fn init_size_bounds(&self, memory: &MemoryOf) -> InitSizeBounds {
        // Heap (4 MiB with bzip2), stack and page tables of the decompressor, behind its code.
        const MOST: u64 = 6 << 20;
        let extra = extra(memory.unpacked);
        let (oldest, newest) = match self.setup().version() {
            ..=0x20a => (extra[0], extra[1]),
            0x20b..=0x20e => (extra[1], extra[2]),
            _ => (extra[2], extra[3]),
        };
        let (start, end) = self.system_range();
        let with =
            |extra, decompressor| init_size_with(extra, &MemoryOf { decompressor, ..*memory }).unwrap_or(u64::MAX);
        let decompressor = self.decompressor_end() - start;
        InitSizeBounds {
            least: with(oldest, decompressor),
            enough: with(newest, decompressor),
            most: with(newest_extra(memory.unpacked), end - start + MOST),
        }
    }

    /// The least that the decompressor's `_end` can be: the end of the code. Linkers put sections that no script names (`.got`,
    /// `.dynamic`) behind `_end`; then the BSS stands in the file as zeros, and `_end` is where they end.
    fn decompressor_end(&self) -> u64 {
        const ORPHANS: u64 = 0x1000;
        const BSS: usize = 0x400;
        // Sections behind may begin with zeros themselves.
        const ZEROS_BEHIND: u64 = 64;
        let (start, end) = self.system_range();
        // The CRC, the last paragraph's padding, and one more for EFI.
        let code_end = end.saturating_sub(36).max(start);
        let from = code_end.saturating_sub(ORPHANS + 0x1000).max(start);
        let tail = slice(self.bytes(), from, code_end - from).unwrap_or(&[]);
        let mut run_end = None;
        let mut zeros = 0_usize;
        for (at, byte) in (from..).zip(tail) {
            if *byte == 0 {
                zeros += 1;
                continue;
            }
            if zeros >= BSS {
                run_end = Some(at);
            }
            zeros = 0;
        }
        match run_end {
            _ if zeros >= BSS => code_end - u64::try_from(zeros).unwrap_or(0).min(code_end - start),
            Some(at) if at + ORPHANS > code_end => at.saturating_sub(ZEROS_BEHIND).max(start),
            _ => code_end,
        }
    }
}
