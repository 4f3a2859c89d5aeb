//! Layer 6: one container, one file (or one folder, when it has outgrown a file).
//!
//! Inside each the order is: records, the view, `parse`, `regions`, `plan`. [`Format::detect`] tells the containers apart by
//! what their headers say.

pub(crate) mod android;
pub(crate) mod avb;
pub(crate) mod boot_elf;
pub(crate) mod bootp;
pub(crate) mod btf;
pub mod bzimage;
pub(crate) mod cpio;
pub(crate) mod cros;
pub(crate) mod disk;
pub(crate) mod dt_table;
pub mod dts;
pub(crate) mod efi_signatures;
pub mod fdt;
pub mod fit;
pub(crate) mod flat;
pub(crate) mod footprint;
pub(crate) mod foreign;
pub mod image64;
pub(crate) mod module;
pub(crate) mod mtk;
pub mod pe;
pub(crate) mod rpi;
pub(crate) mod s390;
pub(crate) mod symvers;
pub(crate) mod tplink;
pub(crate) mod tpm;
pub(crate) mod trx;
pub mod uimage;
pub(crate) mod uki;
pub mod wrapper;
pub(crate) mod zboot;
pub mod zimage;
pub(crate) mod zimage_stub;

use crate::arch::Arch;
use crate::codec::Codec;
use crate::elf::Elf;
use crate::finding::Severity;

/// The CPU that the header of a kernel is for, and which header says so; `None` where none does.
pub(crate) fn header_arch(data: &[u8]) -> Option<(Arch, &'static str)> {
    match Format::detect(data)? {
        Format::ZImage => Some((Arch::Arm, "the ARM zImage header")),
        Format::Image64(arch) => Some((arch, "the Image header")),
        Format::S390 => Some((Arch::S390, "the S/390 header")),
        Format::BzImage => {
            let setup = bzimage::Setup::parse(data);
            let is_64 = setup.is_ok_and(|setup| setup.xloadflag(bzimage::XLF_KERNEL_64) == Some(true));
            Some((if is_64 { Arch::X86_64 } else { Arch::X86 }, "the bzImage header"))
        }
        Format::Elf => Elf::parse(data).ok()?.arch().map(|arch| (arch, "the ELF header")),
        _ => None,
    }
}

/// An EFI application that has the header of a kernel, but for the magic number: which kernel, and where that should be.
pub(crate) fn lost_magic(bytes: &[u8]) -> Option<(&'static str, u64)> {
    let bzimage = bzimage::Setup::lost_magic(bytes).map(|at| ("an x86 bzImage", at));
    let zimage = || zimage::lost_magic(bytes).map(|at| ("an ARM zImage", at));
    let image = || image64::lost_magic(bytes).map(|at| ("a flat Image of arm64, RISC-V or LoongArch", at));
    bzimage.or_else(zimage).or_else(image).or_else(|| zboot::lost_magic(bytes).map(|at| ("an EFI zboot image", at)))
}

/// Is it wrong, or doubtful, to enter a kernel as U-Boot has loaded it, uncompressed, `offset` bytes behind its first byte (`None`:
/// in front of it)? Says why; `None` when all is well, or when nothing can be known.
///
/// An [`Error`](Severity::Error) is what cannot start; a [`Warning`](Severity::Warning) may.
pub(crate) fn entered(kernel: &[u8], offset: Option<u64>) -> Option<(Severity, &'static str)> {
    let inside = offset.filter(|offset| *offset < crate::bytes::len64(kernel));
    let Some(offset) = inside else {
        return Some((Severity::Warning, "that is outside of it, where only another image could be"));
    };
    if offset == 0 {
        return None;
    }
    match Format::detect(kernel) {
        Some(Format::ZImage) => Some(zimage::entered(kernel, offset)),
        Some(Format::Image64(_)) => Some(image64::entered(kernel, offset)),
        _ => None,
    }
}

/// What `bytes` are, in words for a sentence, whether they have a header or not.
pub(crate) fn what_is(bytes: &[u8]) -> String {
    match (Format::detect(bytes), foreign::Foreign::describe(bytes)) {
        (Some(Format::Pe), _) if pe::Pe::parse(bytes).is_ok_and(|pe| pe.is_for_windows()) => {
            "a program for Windows".to_owned()
        }
        (Some(format), _) => format.name().to_owned(),
        _ if flat::is_kernel(bytes) => "a kernel without a header".to_owned(),
        (None, Some(foreign)) => format!("no image that kimage knows ({})", foreign.name),
        (None, None) if bytes.is_empty() => "no image: it is empty".to_owned(),
        (None, None) => "no image that kimage knows".to_owned(),
    }
}

/// What a file is, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// An ELF file.
    Elf,
    /// An x86 bzImage (or a zImage of the same header).
    BzImage,
    /// An ARM zImage.
    ZImage,
    /// An arm64, RISC-V or LoongArch `Image`.
    Image64(Arch),
    /// An S/390 `bzImage` or `image`.
    S390,
    /// A U-Boot legacy image.
    UImage,
    /// A device tree blob.
    Fdt,
    /// A U-Boot FIT: a device tree blob that holds images.
    Fit,
    /// An EFI application whose payload is a compressed kernel (arm64, RISC-V, LoongArch).
    Zboot,
    /// A unified kernel image: an EFI application with a kernel in a section.
    Uki,
    /// Any other EFI application.
    Pe,
    /// An Android boot image.
    Android,
    /// A Raspberry Pi kernel.img with boot code in front.
    KernelImg,
    /// A table of device trees of Qualcomm's or Samsung's boot loaders.
    DtTable,
    /// MediaTek's header in front of a kernel or RAM disk.
    Mtk,
    /// A Broadcom router's firmware.
    Trx,
    /// A TP-Link router's firmware.
    TpLink,
    /// A Chrome OS kernel partition.
    ChromeOs,
    /// A cpio archive: an initial RAM disk.
    Cpio,
    /// What a kernel's build exports to modules.
    Symvers,
    /// A disk, CD or floppy: a partition table, a FAT, an ISO 9660 file system.
    Disk,
    /// A bare compressed stream.
    Compressed(Codec),
}

impl Format {
    /// What `bytes` are; `None` when no header says so.
    pub(crate) fn detect(bytes: &[u8]) -> Option<Format> {
        // Those with a magic number at the front first: nothing else can begin so. bzImage, zImage and Image may begin
        // with code or with an MS-DOS header, and have theirs further in.
        type Detect = fn(&[u8]) -> bool;
        const BY_HEADER: [(Detect, Format); 15] = [
            (Elf::detect, Format::Elf),
            (uimage::UImage::detect, Format::UImage),
            (fit::Fit::detect, Format::Fit),
            (fdt::Dtb::detect, Format::Fdt),
            (cpio::Cpio::detect, Format::Cpio),
            (android::BootImage::detect, Format::Android),
            (dt_table::DtTable::detect, Format::DtTable),
            (mtk::MtkImage::detect, Format::Mtk),
            (trx::Trx::detect, Format::Trx),
            (cros::KernelPartition::detect, Format::ChromeOs),
            (tplink::TpLink::detect, Format::TpLink),
            (symvers::detect, Format::Symvers),
            (s390::detect, Format::S390),
            (bzimage::Setup::detect, Format::BzImage),
            (zimage::ZImage::detect, Format::ZImage),
        ];
        let by_header = BY_HEADER.into_iter().find(|(detect, _)| detect(bytes)).map(|(_, format)| format);
        if by_header.is_some() {
            return by_header;
        }
        if rpi::KernelImg::detect(bytes) {
            Some(Format::KernelImg)
        } else if let Some(image) = image64::Image64::detect(bytes) {
            Some(Format::Image64(image.arch))
        } else if zboot::Zboot::detect(bytes) {
            Some(Format::Zboot)
        } else if pe::Pe::detect(bytes) {
            let is_uki = pe::Pe::parse(bytes).is_ok_and(|pe| pe.section(uki::LINUX).is_some());
            Some(if is_uki { Format::Uki } else { Format::Pe })
        } else if disk::detect(bytes) {
            Some(Format::Disk)
        } else {
            Codec::detect(bytes).map(Format::Compressed)
        }
    }

    /// A stable name for programs.
    pub(crate) fn id(self) -> &'static str {
        self.names().0
    }

    /// The usual name.
    pub(crate) fn name(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Format::Elf => ("elf", "an ELF file"),
            Format::BzImage => ("bzimage", "an x86 bzImage"),
            Format::ZImage => ("zimage", "an ARM zImage"),
            Format::Image64(Arch::Riscv) => ("image", "a RISC-V Image"),
            Format::Image64(Arch::LoongArch) => ("image", "a LoongArch Image"),
            Format::Image64(_) => ("image", "an arm64 Image"),
            Format::S390 => ("s390", "an S/390 bzImage"),
            Format::UImage => ("uimage", "a U-Boot uImage"),
            Format::Fdt => ("dtb", "a device tree blob"),
            Format::Fit => ("fit", "a U-Boot FIT"),
            Format::Zboot => ("zboot", "an EFI zboot image"),
            Format::Uki => ("uki", "a unified kernel image"),
            Format::Pe => ("pe", "an EFI application"),
            Format::Android => ("android", "an Android boot image"),
            Format::KernelImg => ("kernel.img", "a Raspberry Pi kernel.img"),
            Format::DtTable => ("dt_table", "a table of device trees (QCDT, DTBH, DTBO)"),
            Format::Mtk => ("mtk", "a MediaTek header"),
            Format::Trx => ("trx", "a Broadcom TRX firmware"),
            Format::TpLink => ("tplink", "a TP-Link firmware"),
            Format::ChromeOs => ("chromeos", "a Chrome OS kernel partition"),
            Format::Cpio => ("cpio", "a cpio archive"),
            Format::Symvers => ("symvers", "a Module.symvers"),
            Format::Disk => ("disk", "a disk image"),
            Format::Compressed(codec) => ("compressed", codec.file()),
        }
    }
}
