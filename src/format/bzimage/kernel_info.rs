//! `struct kernel_info` of boot protocol 2.15: what only loaders that know it ask for.
//!
//! Source: Documentation/arch/x86/boot.rst ("The kernel_info") and arch/x86/boot/compressed/kernel_info.S, Linux 5.5 to 7.2.

use super::parse::BzImage;
use crate::bytes::Cursor;

/// `LToP`, its first word.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"LToP");
/// Its length in bytes.
pub(super) const LEN: u64 = 16;
/// Where in it `setup_type_max` stands.
pub(super) const SETUP_TYPE_MAX_AT: u64 = 12;

/// The words at the place that `kernel_info_offset` names, little-endian; 0 for those behind the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelInfo {
    /// File offset.
    pub at: u64,
    /// `header`: [`KernelInfo::is_one`] if it is right.
    pub magic: u32,
    /// Bytes of the fixed part.
    pub size: u32,
    /// Bytes with the data that its fields point to.
    pub size_total: u32,
    /// Highest type of `setup_data` that the kernel knows.
    pub setup_type_max: u32,
}

impl KernelInfo {
    /// File offset of [`KernelInfo::setup_type_max`].
    pub(crate) fn setup_type_max_at(&self) -> u64 {
        self.at + SETUP_TYPE_MAX_AT
    }

    /// Does it begin as one?
    pub(crate) fn is_one(&self) -> bool {
        self.magic == MAGIC
    }

    /// Are its sizes possible, too?
    pub(crate) fn is_right(&self) -> bool {
        self.is_one() && u64::from(self.size) >= LEN && self.size_total >= self.size
    }
}

impl BzImage<'_> {
    /// What stands where `kernel_info_offset` leads; `None` when there is no such field, or it is 0.
    pub(crate) fn kernel_info(&self) -> Option<KernelInfo> {
        let setup = self.setup();
        let offset = u64::from(setup.header().kernel_info_offset.get());
        if !setup.has(0x20f) || offset == 0 {
            return None;
        }
        let (cursor, at) = (Cursor::little(self.bytes()), self.system_range().0 + offset);
        let word = |index: u64| cursor.u32("kernel_info", at + 4 * index).unwrap_or(0);
        Some(KernelInfo { at, magic: word(0), size: word(1), size_total: word(2), setup_type_max: word(3) })
    }
}
