//! The memory that a kernel takes: `init_size`, by the formulas of every age, and where in it what goes.
//!
//! Source: "Where should the compressed image go temporarily while decompression occurs" in arch/x86/boot/compressed/head_64.S, arch/x86/boot/compressed/mkpiggy.c of Linux 2.6.31 to 4.6, `INIT_SIZE` in arch/x86/boot/header.S of 2.6.31 to 7.2.

use super::parse::{BzImage, Setup};
use super::standalone_image::StandaloneImage;
use crate::bytes::{Align, slice};
use crate::codec::Codec;
use crate::elf::Elf;
use crate::format::footprint::{Footprint, Stage};
use crate::format::pe::Pe;
use crate::layout::RegionKind;

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

/// What came out of a payload; lengths in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacked<'e, 'a> {
    /// All of it.
    pub(crate) len: u64,
    /// The kernel in front; relocations follow.
    pub(crate) kernel_len: u64,
    /// The kernel, if it is an ELF file.
    pub(crate) elf: Option<&'e Elf<'a>>,
}

impl Setup<'_> {
    /// Bytes by which a stream that decompresses to `unpacked` bytes may end before its place does: the decompressor reads it
    /// at the end of the memory that it writes to. That is what its memory has beyond what the codec needs, by the comments of
    /// lib/decompress_*.c (`safety margin`); codecs without one go by the formula of their time.
    pub(crate) fn slack(&self, codec: Codec, unpacked: u64) -> u64 {
        let [first, second, third, _] = extra(unpacked);
        let needed = match codec {
            Codec::Gzip => first,
            Codec::Zstd => 131_072 + 22 + (unpacked >> 15),
            _ => second,
        };
        let set_aside = match self.version() {
            ..=0x20a => first,
            0x20b..=0x20e => second,
            _ => third,
        };
        // zstd came with the newest formula.
        (if codec == Codec::Zstd { newest_extra(unpacked) } else { set_aside }).saturating_sub(needed)
    }

    /// Where a boot loader puts the protected-mode code, if nothing is in its way.
    pub(crate) fn load_address(&self) -> u64 {
        match self.is_loaded_high() {
            false => 0x1_0000,
            true if self.has(0x20a) && self.header().relocatable_kernel != 0 => self.header().pref_address.get(),
            true => self.header().code32_start.get().into(),
        }
    }
}

impl BzImage<'_> {
    /// What the kernel's own decompressor takes in memory (`ZO__end - ZO_startup_32`), where the PE header tells: from Linux
    /// 6.7 on. Before, that was made from `init_size`, and not the other way round.
    pub(crate) fn decompressor_memory(&self) -> Option<u64> {
        const FILE_ALIGNMENT: u64 = 0x200;
        let pe =
            Pe::find(self.bytes()).filter(|pe| pe.value("FileAlignment") >= FILE_ALIGNMENT && !pe.is_one_piece())?;
        pe.value("SizeOfImage").checked_sub(self.system_range().0)
    }

    /// The memory that it takes when the boot loader puts it where the header prefers it, by the header and what came out of the
    /// payload, as far as that is known.
    pub(crate) fn footprint(&self, unpacked: Option<&Unpacked<'_, '_>>) -> Footprint {
        let (setup, header) = (self.setup(), self.setup().header());
        let (base, size) = (header.pref_address.get(), u64::from(header.init_size.get()));
        if !setup.has(0x20a) {
            return Footprint::unknown(
                "init_size, how much memory the kernel takes, is told from boot protocol 2.10 (Linux 2.6.31) on",
            );
        }
        let Some(init_end) = base.checked_add(size).filter(|_| size > 0) else {
            return Footprint::unknown("pref_address and init_size name no memory");
        };
        let mut footprint = Footprint::default();
        footprint.add(Stage::Reserved, "init_size", base, size, None);
        self.add_code(&mut footprint, Stage::Loaded, setup.load_address());
        if let Some(standalone) = StandaloneImage::find(self) {
            standalone.add_moved(&mut footprint, base);
        } else {
            // The decompressor copies itself to the end; without its BSS, only the part in the file is known.
            let (start, end) = self.system_range();
            let memory = self.decompressor_memory().unwrap_or_else(|| {
                footprint.unknown = Some("no header tells the decompressor's memory: it may begin lower");
                end - start
            });
            if let Some(moved) = init_end.checked_sub(memory).map(|at| at & !(Align::PAGE.bytes() - 1)) {
                let code_end = self.add_code(&mut footprint, Stage::Decompressing, moved);
                let rest = init_end.saturating_sub(code_end);
                footprint.add(Stage::Decompressing, "BSS, heap, stack", code_end, rest, None);
            }
        }
        if let Some(Unpacked { len, kernel_len, elf }) = unpacked {
            let kernel = *kernel_len.min(len);
            let end = footprint.add(Stage::Decompressed, "vmlinux", base, kernel, RegionKind::Data);
            footprint.add(Stage::Decompressed, "relocations", end, len - kernel, RegionKind::Data);
            elf.inspect(|elf| footprint.add_segments(elf));
        }
        footprint
    }

    /// The protected-mode code at `at`; gives its end.
    fn add_code(&self, footprint: &mut Footprint, stage: Stage, at: u64) -> u64 {
        let (header, (start, end)) = (self.setup().header(), self.system_range());
        let (from, packed) = (header.payload_offset.get().into(), header.payload_length.get().into());
        let at = footprint.add(stage, "head", at, from, RegionKind::Code);
        let at = footprint.add(stage, "payload", at, packed, RegionKind::Payload);
        let rest = (end - start).saturating_sub(from).saturating_sub(packed);
        footprint.add(stage, "decompressor", at, rest, RegionKind::Code)
    }

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
