//! arm64, RISC-V and LoongArch flat `Image`.
//!
//! Source: Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst and
//! Documentation/arch/loongarch/booting.rst, Linux 7.2; arch/loongarch/kernel/head.S of Linux 6.1, which has no magic number.

use crate::arch::Arch;
use crate::bytes::{Cursor, Field, FieldError, len64, slice};
use crate::finding::{Checks, Hex, Severity, rules};
use crate::format::fdt::Behind;
use crate::format::footprint::{Footprint, Stage};
use crate::format::pe::{self, Pe};
use crate::format::zboot::Zboot;
use crate::layout::RegionKind;

pub(crate) const ARM64_MAGIC: u32 = 0x644d_5241; // "ARM\x64"
pub(crate) const RISCV_MAGIC2: u32 = 0x0543_5352; // "RSC\x05"
/// `LINUX_PE_MAGIC`: LoongArch (from Linux 6.3 on) and EFI applications that are no `Image`.
pub(crate) const PE_MAGIC: u32 = 0x8182_23cd;
/// `LA32` and `LA64`: LoongArch kernels that are no EFI application.
const LOONGARCH_MAGIC: [u32; 2] = [0x3233_414c, 0x3436_414c];
pub(crate) const MAGIC_AT: u64 = 56;
/// What arm64 and RISC-V kernels map their first bytes by.
pub(crate) const LARGE_PAGE: u64 = 2 << 20;
const TEXT_OFFSET_AT: u64 = 8;
const SIZE_AT: u64 = 16;
const FLAGS_AT: u64 = 24;
/// RISC-V alone, as the words behind it are: `RISCV`, the older magic number, at 48.
const VERSION_AT: u64 = 32;
const RISCV_MAGIC_AT: u64 = 48;
const RISCV_MAGIC: u64 = 0x0056_4353_4952;
/// Of LoongArch's header, which has other fields in other places.
const LOONGARCH_ENTRY_AT: u64 = 8;
const LOONGARCH_OFFSET_AT: u64 = 24;
const LOONGARCH_FLAGS_AT: u64 = 32;
const LOONGARCH_VERSION_AT: u64 = 36;

/// Fields of the header.
const FIELDS: &[Field] = &[
    Field::new("text_offset", TEXT_OFFSET_AT, 8),
    Field::new("image_size", SIZE_AT, 8),
    Field::new("flags", FLAGS_AT, 8),
    Field::new("endianness", FLAGS_AT, 8),
    Field::new("header_version", VERSION_AT, 4),
];
const LOONGARCH_FIELDS: &[Field] = &[
    Field::new("kernel_entry", LOONGARCH_ENTRY_AT, 8),
    Field::new("image_size", SIZE_AT, 8),
    Field::new("text_offset", LOONGARCH_OFFSET_AT, 8),
    Field::new("flags", LOONGARCH_FLAGS_AT, 4),
    Field::new("header_version", LOONGARCH_VERSION_AT, 4),
];

rules! {
    /// What is looked at in the header.
    pub(crate) RULES:
    CONSTANT = "image.constant", Error, "header field",
        "no kernel's build writes this value: the header was damaged or edited",
        "copy the image again; if the change is yours, know that no build has it";
    SIZE = "image.size", Error, "image_size",
        "a boot loader sets aside too little memory for the kernel, or more than it needs",
        "copy the image again, whole";
}

/// The 64-byte header of an `Image`, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image64 {
    /// arm64, RISC-V or LoongArch.
    pub arch: Arch,
    /// Bytes from a 2 MiB boundary (RISC-V, LoongArch: from the start of memory) to the image.
    pub text_offset: u64,
    /// Bytes of memory from the image's start that it needs, BSS included; 0 in arm64 images before Linux 3.17.
    pub image_size: u64,
    /// Bit 0: big-endian; arm64 has its page size and place in memory in bits 1 to 3. LoongArch has none yet.
    pub flags: u64,
    /// RISC-V: version of the header, major number in the upper half.
    pub version: Option<u32>,
    /// LoongArch: where it is entered, a physical address; a virtual one before Linux 6.10.
    pub entry: Option<u64>,
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
    pub(crate) fn parse(bytes: &[u8]) -> Result<Image64, FieldError> {
        let cursor = Cursor::little(bytes);
        let arch = match cursor.u32("magic", MAGIC_AT)? {
            ARM64_MAGIC => Arch::Arm64,
            RISCV_MAGIC2 => Arch::Riscv,
            found if LOONGARCH_MAGIC.contains(&found) || is_loongarch(bytes, found) => {
                return Ok(Image64 {
                    arch: Arch::LoongArch,
                    text_offset: cursor.u64("text_offset", LOONGARCH_OFFSET_AT)?,
                    image_size: cursor.u64("image_size", SIZE_AT)?,
                    flags: cursor.u32("flags", LOONGARCH_FLAGS_AT)?.into(),
                    version: None,
                    entry: Some(cursor.u64("kernel_entry", LOONGARCH_ENTRY_AT)?),
                });
            }
            found => {
                return Err(FieldError::unknown("magic", MAGIC_AT, found, "ARM\\x64, RSC\\x05, LA64 or 0x818223cd"));
            }
        };
        Ok(Image64 {
            arch,
            text_offset: cursor.u64("text_offset", TEXT_OFFSET_AT)?,
            image_size: cursor.u64("image_size", SIZE_AT)?,
            flags: cursor.u64("flags", FLAGS_AT)?,
            version: (arch == Arch::Riscv).then(|| cursor.u32("version", VERSION_AT)).transpose()?,
            entry: None,
        })
    }

    /// Fields of the header.
    pub(crate) fn fields(&self) -> &'static [Field] {
        if self.arch == Arch::LoongArch { LOONGARCH_FIELDS } else { FIELDS }
    }

    /// Length in bytes of the image that begins `bytes`, and the device trees behind it. The header says how much memory
    /// the image needs, BSS included, and not how long the file is: it ends where the first of the trees begins that
    /// `bytes` end with, or before the padding in front of that, as far as it is beyond that memory.
    pub(crate) fn extent(&self, bytes: &[u8]) -> (u64, Behind) {
        let Some(mut behind) = Behind::at_end(bytes) else { return (len64(bytes), Behind::default()) };
        let first = behind.start(bytes);
        let padding = Behind::before_padding(bytes, first);
        if self.image_size == 0 || !(padding..first).contains(&self.image_size) {
            return (first, behind);
        }
        behind.padding.insert(0, self.image_size..first);
        (self.image_size, behind)
    }

    /// Length in bytes of the image, whose header begins `bytes`, whether they are all there or not: by its PE header; without
    /// one, what it takes of the memory, with its BSS. `None` of a header that breaks a rule, or says no size.
    pub(crate) fn announced_len(&self, bytes: &[u8]) -> Option<u64> {
        // Most numbers that look like the magic one are seen here.
        let is_zero = |at, len| slice(bytes, at, len).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        let quick = match self.arch {
            Arch::Arm64 => is_zero(32, 24),
            Arch::LoongArch => is_zero(40, 16),
            _ => is_zero(36, 12),
        };
        if !quick || self.image_size == 0 || !self.check_constants(bytes).into_findings().is_empty() {
            return None;
        }
        pe::announced_len(bytes).or(Some(self.image_size))
    }

    /// Bytes from a multiple of 2 MiB to the image, as boot loaders take it: arm64 images without a size (before Linux 3.17)
    /// are at 0x80000, whatever their header says.
    pub(crate) fn load_offset(&self) -> u64 {
        if self.image_size == 0 && self.arch == Arch::Arm64 { 0x8_0000 } else { self.text_offset }
    }

    /// May it be anywhere in memory, not only close to the start of it (arm64, bit 3 of `flags`; the others have no such rule)?
    pub(crate) fn is_anywhere(&self) -> bool {
        self.arch != Arch::Arm64 || self.flags & 1 << 3 != 0
    }

    /// Where U-Boot's `booti` and `bootm` start an image that was loaded to `at`, on a board whose RAM begins at `ram`
    /// (arch/arm/lib/image.c, `booti_setup`): arm64's may be anywhere, or goes close to the start of the RAM, each from a multiple
    /// of 2 MiB on; the others stay.
    pub(crate) fn started_at(&self, at: u64, ram: u64) -> u64 {
        if self.arch != Arch::Arm64 {
            return at;
        }
        let low = if self.is_anywhere() { at.saturating_sub(self.load_offset()) } else { ram };
        low.checked_next_multiple_of(LARGE_PAGE).unwrap_or(low).saturating_add(self.load_offset())
    }

    /// The memory that an image of `len` bytes takes whose first byte is at `start`. It runs where it was loaded.
    pub(crate) fn footprint(&self, start: u64, len: u64) -> Footprint {
        let mut footprint = Footprint::default();
        let end = footprint.add(Stage::Running, "Image", start, len, RegionKind::Code);
        footprint.add(Stage::Running, "BSS", end, self.image_size.saturating_sub(len), None);
        if self.image_size == 0 {
            footprint.unknown = Some("image_size is 0: how much memory the BSS behind the file takes is not known");
        }
        footprint
    }

    fn check_constants(&self, bytes: &[u8]) -> Checks {
        let mut checks = Checks::default();
        let cursor = Cursor::little(bytes);
        let word = |at: u64| cursor.u32("Image", at).unwrap_or(0);
        let mut constant = |name: &str, at: u64, kept: bool, found: u64, wanted: &str| {
            checks.expect(&CONSTANT, at, kept, format!("{name} {found:#x}"), wanted);
        };
        let offset = self.text_offset;
        if let Some(entry) = self.entry {
            // Virtual and physical addresses differ in the upper bits alone (48-bit physical addresses).
            let at = (entry & 0xffff_ffff_ffff).wrapping_sub(offset);
            constant(
                "kernel_entry",
                LOONGARCH_ENTRY_AT,
                offset == 0 || at < self.image_size,
                entry,
                "inside of the image",
            );
            for at in [4, 40, 44, 48, 52] {
                constant("reserved word", at, word(at) == 0, word(at).into(), "0");
            }
        } else if self.arch == Arch::Arm64 {
            let kept = offset % 0x1000 == 0 && offset < 2 << 20;
            constant("text_offset", TEXT_OFFSET_AT, kept, offset, "a multiple of 0x1000 below 2 MiB");
            constant("flags", FLAGS_AT, self.flags >> 4 == 0, self.flags, "no bits above 3");
            for at in (32..56).step_by(4) {
                constant("reserved word", at, word(at) == 0, word(at).into(), "0");
            }
        } else {
            let kept = matches!(offset, 0 | 0x20_0000 | 0x40_0000);
            constant("text_offset", TEXT_OFFSET_AT, kept, offset, "0, 0x200000 or 0x400000");
            constant("flags", FLAGS_AT, self.flags >> 1 == 0, self.flags, "no bits above 0");
            let version = self.version.unwrap_or(0);
            constant("version", VERSION_AT, version <= 2, version.into(), "0x2 (0.2)");
            for at in [36, 40, 44] {
                constant("reserved word", at, word(at) == 0, word(at).into(), "0");
            }
            let magic = cursor.u64("magic", RISCV_MAGIC_AT).unwrap_or(0);
            constant("magic", RISCV_MAGIC_AT, magic == RISCV_MAGIC, magic, "0x5643534952 (RISCV)");
        }
        let is_mz = pe::is_mz(bytes);
        let lfanew = word(pe::E_LFANEW);
        let wanted = "0 without MZ, another with MZ";
        constant("offset of the PE header", pe::E_LFANEW, is_mz == (lfanew != 0), lfanew.into(), wanted);
        checks
    }

    /// Holds the header that begins `bytes` to the rules.
    pub(crate) fn check(&self, bytes: &[u8]) -> Checks {
        let mut checks = self.check_constants(bytes);
        if self.image_size == 0 {
            return checks;
        }
        let len = pe::unsigned_len(slice(bytes, 0, self.extent(bytes).0).unwrap_or(bytes));
        let found = self.image_size;
        checks.expect(&SIZE, SIZE_AT, found >= len, found, format!("the file's {len} bytes at least"));
        if let Ok(pe) = Pe::parse(bytes) {
            let wanted = pe.value("SizeOfImage");
            let text = format!("{wanted:#x}, SizeOfImage of the PE header");
            checks.expect(&SIZE, SIZE_AT, found == wanted, Hex(found), text);
            let end = pe.sections.iter().map(|section| section.file_range().end).max().unwrap_or(0);
            let wanted = format!("{end:#x}, where the PE sections end");
            // LoongArch's objcopy writes the BSS, too, where a section with contents is behind it.
            let kept = end == len || self.arch == Arch::LoongArch && end < len;
            checks.expect(&SIZE, None, kept || bytes.len() > 1 << 30, format!("{len:#x} bytes"), wanted);
        }
        checks
    }
}

/// Is it an EFI application for LoongArch that has this number where the magic number is: the magic number itself (which
/// zboot images have, too), or none and the size of an image?
fn is_loongarch(bytes: &[u8], magic: u32) -> bool {
    const MACHINES: [u64; 2] = [pe::MACHINE_LOONGARCH32 as u64, pe::MACHINE_LOONGARCH64 as u64];
    let size = || Cursor::little(bytes).u64("image_size", SIZE_AT).unwrap_or(0);
    let is_image = |pe: &Pe<'_>| match magic {
        PE_MAGIC => !Zboot::detect(bytes),
        0 => size() != 0 && size() == pe.value("SizeOfImage"),
        _ => false,
    };
    matches!(magic, 0 | PE_MAGIC)
        && Pe::parse(bytes).is_ok_and(|pe| MACHINES.contains(&pe.value("Machine")) && is_image(&pe))
}

/// Where the magic number should be of an EFI application whose `image_size` is that of its PE header.
pub(super) fn lost_magic(bytes: &[u8]) -> Option<u64> {
    let size = Cursor::little(bytes).u64("image_size", SIZE_AT).unwrap_or(0);
    let size_of_image = Pe::parse(bytes).map_or(0, |pe| pe.value("SizeOfImage"));
    (size != 0 && size == size_of_image).then_some(MAGIC_AT)
}

/// What comes of entering an `Image` `offset` bytes behind its first byte, which is not 0.
///
/// The first two words are code (one of them a branch over the header), the next 14 are the header.
pub(super) fn entered(bytes: &[u8], offset: u64) -> (Severity, &'static str) {
    const HEADER_LEN: u64 = 64;
    let word = |at: u64| Cursor::little(bytes).u32("Image", at).unwrap_or(0);
    let is_arm64 = Image64::detect(bytes).is_some_and(|image| image.arch == Arch::Arm64);
    let is_branch = |at: u64| word(at) >> 26 == 0b000101;
    // EFI: the PE header stands where its offset says.
    let is_pe = Pe::detect(bytes) && pe::DosHeader::read(bytes).lfanew == offset;
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
