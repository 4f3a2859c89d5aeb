//! arm64 and RISC-V flat `Image`.
//!
//! Source: Documentation/arch/arm64/booting.rst and Documentation/arch/riscv/boot-image-header.rst, Linux 7.2.

use crate::arch::Arch;
use crate::bytes::{Cursor, FieldError, Problem, len64, slice};
use crate::finding::Severity;
use crate::format::fdt::Behind;

const ARM64_MAGIC: u32 = 0x644d_5241; // "ARM\x64"
const RISCV_MAGIC2: u32 = 0x0543_5352; // "RSC\x05"
const MAGIC_AT: u64 = 56;

/// The 64-byte header of an `Image`, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image64 {
    /// arm64 or RISC-V.
    pub arch: Arch,
    /// Bytes from a 2 MiB boundary (RISC-V: from the start of memory) to the image.
    pub text_offset: u64,
    /// Bytes of memory from the image's start that it needs, BSS included; 0 in arm64 images before Linux 3.17.
    pub image_size: u64,
    /// Bit 0: big-endian; arm64 has its page size and place in memory in bits 1 to 3.
    pub flags: u64,
    /// RISC-V: version of the header, major number in the upper half.
    pub version: Option<u32>,
}

impl Image64 {
    /// Reads the header; `None` when the magic number is not there.
    pub fn detect(bytes: &[u8]) -> Option<Image64> {
        Self::parse(bytes).ok()
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] when the magic number is not there.
    pub fn parse(bytes: &[u8]) -> Result<Image64, FieldError> {
        let cursor = Cursor::little(bytes);
        let arch = match cursor.u32("magic", MAGIC_AT)? {
            ARM64_MAGIC => Arch::Arm64,
            RISCV_MAGIC2 => Arch::Riscv,
            found => {
                let problem = Problem::Unknown { found: found.into(), want: "ARM\\x64 or RSC\\x05" };
                return Err(FieldError::new("magic", MAGIC_AT, problem));
            }
        };
        Ok(Image64 {
            arch,
            text_offset: cursor.u64("text_offset", 8)?,
            image_size: cursor.u64("image_size", 16)?,
            flags: cursor.u64("flags", 24)?,
            version: (arch == Arch::Riscv).then(|| cursor.u32("version", 32)).transpose()?,
        })
    }

    /// Length in bytes of the image that begins `bytes`, and the device trees behind it. The header says how much memory
    /// the image needs, BSS included, and not how long the file is: it ends where the first of the trees begins that
    /// `bytes` end with, or before the padding in front of that, as far as it is beyond that memory.
    pub fn extent(&self, bytes: &[u8]) -> (u64, Behind) {
        let Some(mut behind) = Behind::at_end(bytes) else { return (len64(bytes), Behind::default()) };
        let first = behind.start(bytes);
        let padding = Behind::before_padding(bytes, first);
        if self.image_size == 0 || !(padding..first).contains(&self.image_size) {
            return (first, behind);
        }
        behind.padding.insert(0, self.image_size..first);
        (self.image_size, behind)
    }
}

/// What comes of entering an `Image` `offset` bytes behind its first byte, which is not 0.
///
/// The first two words are code (one of them a branch over the header), the next 14 are the header.
pub(super) fn entered(bytes: &[u8], offset: u64) -> (Severity, &'static str) {
    const HEADER_LEN: u64 = 64;
    const PE_AT: u64 = 0x3c;
    let word = |at: u64| Cursor::little(bytes).u32("Image", at).unwrap_or(0);
    let is_arm64 = Image64::detect(bytes).is_some_and(|image| image.arch == Arch::Arm64);
    let is_branch = |at: u64| word(at) >> 26 == 0b000101;
    // EFI: the PE header stands where its offset says.
    let is_pe =
        bytes.starts_with(b"MZ") && u64::from(word(PE_AT)) == offset && slice(bytes, offset, 4) == Some(b"PE\0\0");
    match offset {
        4 if is_arm64 && is_branch(4) && !is_branch(0) => {
            (Severity::Warning, "it starts all the same, by the second instruction")
        }
        4 if !is_arm64 => (Severity::Warning, "that is behind its first instructions"),
        1..HEADER_LEN => (Severity::Error, "its header is there, which is no code"),
        _ if is_pe => (Severity::Error, "its PE header is there, which is no code"),
        _ => (Severity::Warning, "that is behind the branch over its header"),
    }
}
