//! Raspberry Pi `kernel.img` of 2012: 32 KiB of boot code with ATAGs, and the kernel behind them.
//!
//! Source: github.com/raspberrypi/tools, `mkimage/imagetool-uncompressed.py` (`first32k.bin` in front of the kernel), and
//! Documentation/arch/arm/booting.rst for the tags (arch/arm/include/uapi/asm/setup.h).

use crate::bytes::{Cursor, FieldError, len64, slice, until_zero};
use std::ops::Range;

/// Where the tags stand.
pub(crate) const TAGS_AT: u64 = 0x100;
/// Where the kernel stands; it is loaded to address 0, so that this is its address, too.
pub(crate) const KERNEL_AT: u64 = 0x8000;
/// The tags in the list: its first, a range of memory, the command line.
const ATAG_CORE: u32 = 0x5441_0001;
const ATAG_MEM: u32 = 0x5441_0002;
const ATAG_CMDLINE: u32 = 0x5441_0009;
/// A branch, always taken: the first instruction of the boot code.
const BRANCH: u32 = 0xea;

/// A `kernel.img` with boot code in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelImg {
    /// File offsets of the tags, with the one that ends the list.
    pub tags: Range<u64>,
    /// Start and size in bytes of the memory that the tags speak of.
    pub memory: Option<(u32, u32)>,
    /// File offsets of the command line, without the NUL at its end.
    pub cmdline: Option<Range<u64>>,
    /// File offsets of the kernel.
    pub kernel: Range<u64>,
}

impl KernelImg {
    /// Does `bytes` begin with a branch, and has it a list of tags in the right place and something behind the 32 KiB?
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        KernelImg::parse(bytes).is_ok()
    }

    /// Reads the list of tags.
    ///
    /// # Errors
    /// A [`FieldError`] when the first instruction is no branch, the list does not begin or end as it must, or nothing
    /// follows the 32 KiB.
    pub(crate) fn parse(bytes: &[u8]) -> Result<KernelImg, FieldError> {
        let cursor = Cursor::little(bytes);
        let first = cursor.u32("first instruction", 0)?;
        if first >> 24 != BRANCH {
            return Err(FieldError::unknown("first instruction", 0, first, "a branch"));
        }
        cursor.magic("first tag", TAGS_AT + 4, ATAG_CORE)?;
        let kernel = KERNEL_AT..len64(bytes);
        if kernel.is_empty() {
            return Err(FieldError::truncated("kernel", KERNEL_AT, KERNEL_AT + 1, len64(bytes)));
        }
        let (mut at, mut memory, mut cmdline) = (TAGS_AT, None, None);
        loop {
            let (words, tag) = (cursor.u32("tag size", at)?, cursor.u32("tag", at + 4)?);
            // The last one says 0 words and is none.
            if words == 0 && tag == 0 {
                return Ok(KernelImg { tags: TAGS_AT..at + 8, memory, cmdline, kernel });
            }
            let end = at + 4 * u64::from(words);
            if words < 2 || end + 8 > KERNEL_AT {
                return Err(FieldError::range("tag size", at, words, 2..=(KERNEL_AT - 8 - at) / 4));
            }
            match tag {
                ATAG_MEM if words >= 4 => memory = Some((cursor.u32("start", at + 12)?, cursor.u32("size", at + 8)?)),
                ATAG_CMDLINE => {
                    let text = slice(bytes, at + 8, end - at - 8).unwrap_or(&[]);
                    let len = len64(until_zero(text));
                    cmdline = Some(at + 8..at + 8 + len);
                }
                _ => {}
            }
            at = end;
        }
    }
}
