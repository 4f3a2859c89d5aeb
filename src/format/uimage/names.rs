//! The names that mkimage knows, with their numbers.
//!
//! Source: U-Boot's include/image.h and boot/image.c, August 2026. Names are matched without regard to case, as mkimage
//! does; a number that U-Boot reserves without giving it a short name has none here either.

use crate::arch::Arch;
use crate::codec::Codec;

/// A number in a header field and what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The number in the header.
    pub id: u8,
    /// The word on the command line.
    pub short: &'static str,
    /// The words in a listing.
    pub long: &'static str,
}

/// A header field's names. The first entry of a number is its proper name, later ones are aliases.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// What the field is called.
    pub field: &'static str,
    table: &'static [Name],
}

impl Names {
    /// The number that `short` stands for.
    pub fn id(&self, short: &str) -> Option<u8> {
        self.table.iter().find(|name| name.short.eq_ignore_ascii_case(short)).map(|name| name.id)
    }

    /// The short name of a number.
    pub(crate) fn short(&self, id: u8) -> Option<&'static str> {
        self.table.iter().find(|name| name.id == id).map(|name| name.short)
    }

    /// The long name of a number.
    pub fn long(&self, id: u8) -> Option<&'static str> {
        self.table.iter().find(|name| name.id == id).map(|name| name.long)
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = &'static Name> + use<> {
        self.table.iter()
    }
}

/// Numbers of [`OS`] that `fit_image_load` lets pass: linux, vxworks, u-boot, openrtos, tee, efi, elf (the last from 2024 on).
pub(crate) const BOOTED_OS: [u8; 7] = [5, 14, OS_U_BOOT, 24, 26, 28, 29];
/// U-Boot itself.
pub(crate) const OS_U_BOOT: u8 = 17;
/// Numbers of [`TYPE`] that it takes in every role: firmware, tee, tfa-bl31.
pub(crate) const ANY_ROLE: [u8; 3] = [5, 31, 45];
/// A number of [`ARCH`].
pub(crate) const ARCH_ARM64: u8 = 22;
/// Numbers of [`ARCH`] whose kernels are entered by `setup`, not by `entry`: x86, x86_64.
pub(crate) const ENTERED_BY_SETUP: [u8; 2] = [3, 24];

const fn name(id: u8, short: &'static str, long: &'static str) -> Name {
    Name { id, short, long }
}

/// `-A`: `IH_ARCH_…`.
pub const ARCH: Names = Names {
    field: "arch",
    table: &[
        name(0, "invalid", "Invalid ARCH"),
        name(1, "alpha", "Alpha"),
        name(2, "arm", "ARM"),
        name(3, "x86", "Intel x86"),
        name(3, "i386", "Intel x86"),
        name(4, "ia64", "IA64"),
        name(5, "mips", "MIPS"),
        name(6, "mips64", "MIPS 64 Bit"),
        name(7, "powerpc", "PowerPC"),
        name(7, "ppc", "PowerPC"),
        name(8, "s390", "IBM S390"),
        name(9, "sh", "SuperH"),
        name(10, "sparc", "SPARC"),
        name(11, "sparc64", "SPARC 64 Bit"),
        name(12, "m68k", "M68K"),
        name(14, "microblaze", "MicroBlaze"),
        name(15, "nios2", "NIOS II"),
        name(16, "blackfin", "Blackfin"),
        name(17, "avr32", "AVR32"),
        name(19, "sandbox", "Sandbox"),
        name(20, "nds32", "NDS32"),
        name(21, "or1k", "OpenRISC 1000"),
        name(22, "arm64", "AArch64"),
        name(22, "aarch64", "AArch64"),
        name(23, "arc", "ARC"),
        name(24, "x86_64", "AMD x86_64"),
        name(24, "amd64", "AMD x86_64"),
        name(25, "xtensa", "Xtensa"),
        name(26, "riscv", "RISC-V"),
    ],
};

/// `-O`: `IH_OS_…`.
pub const OS: Names = Names {
    field: "os",
    table: &[
        name(0, "invalid", "Invalid OS"),
        name(1, "openbsd", "OpenBSD"),
        name(2, "netbsd", "NetBSD"),
        name(3, "freebsd", "FreeBSD"),
        name(4, "4_4bsd", "4_4BSD"),
        name(5, "linux", "Linux"),
        name(6, "svr4", "SVR4"),
        name(7, "esix", "Esix"),
        name(8, "solaris", "Solaris"),
        name(9, "irix", "Irix"),
        name(10, "sco", "SCO"),
        name(11, "dell", "Dell"),
        name(12, "ncr", "NCR"),
        name(14, "vxworks", "VxWorks"),
        name(15, "psos", "pSOS"),
        name(16, "qnx", "QNX"),
        name(17, "u-boot", "U-Boot"),
        name(18, "rtems", "RTEMS"),
        name(21, "integrity", "INTEGRITY"),
        name(22, "ose", "Enea OSE"),
        name(23, "plan9", "Plan 9"),
        name(24, "openrtos", "OpenRTOS"),
        name(25, "arm-trusted-firmware", "ARM Trusted Firmware"),
        name(26, "tee", "Trusted Execution Environment"),
        name(27, "opensbi", "RISC-V OpenSBI"),
        name(28, "efi", "EFI Firmware"),
        name(29, "elf", "ELF Image"),
    ],
};

/// `-C`: `IH_COMP_…`.
pub const COMPRESSION: Names = Names {
    field: "compression",
    table: &[
        name(0, "none", "uncompressed"),
        name(1, "gzip", "gzip compressed"),
        name(2, "bzip2", "bzip2 compressed"),
        name(3, "lzma", "lzma compressed"),
        name(4, "lzo", "lzo compressed"),
        name(5, "lz4", "lz4 compressed"),
        name(6, "zstd", "zstd compressed"),
    ],
};

/// `-T`: `IH_TYPE_…`.
pub const TYPE: Names = Names {
    field: "type",
    table: &[
        name(0, "invalid", "Invalid Image"),
        name(1, "standalone", "Standalone Program"),
        name(2, "kernel", "Kernel Image"),
        name(3, "ramdisk", "RAMDisk Image"),
        name(4, "multi", "Multi-File Image"),
        name(5, "firmware", "Firmware"),
        name(6, "script", "Script"),
        name(7, "filesystem", "Filesystem Image"),
        name(8, "flat_dt", "Flat Device Tree"),
        name(9, "kwbimage", "Kirkwood Boot Image"),
        name(10, "imximage", "Freescale i.MX Boot Image"),
        name(11, "ublimage", "Davinci UBL image"),
        name(12, "omapimage", "TI OMAP SPL With GP CH"),
        name(13, "aisimage", "Davinci AIS image"),
        name(14, "kernel_noload", "Kernel Image (no loading done)"),
        name(15, "pblimage", "Freescale PBL Boot Image"),
        name(16, "mxsimage", "Freescale MXS Boot Image"),
        name(17, "gpimage", "TI Keystone SPL Image"),
        name(18, "atmelimage", "ATMEL ROM-Boot Image"),
        name(19, "socfpgaimage", "Altera SoCFPGA CV/AV preloader"),
        name(20, "x86_setup", "x86 setup.bin"),
        name(21, "lpc32xximage", "LPC32XX Boot Image"),
        name(23, "rkimage", "Rockchip Boot Image"),
        name(24, "rksd", "Rockchip SD Boot Image"),
        name(25, "rkspi", "Rockchip SPI Boot Image"),
        name(26, "zynqimage", "Xilinx Zynq Boot Image"),
        name(27, "zynqmpimage", "Xilinx ZynqMP Boot Image"),
        name(28, "zynqmpbif", "Xilinx ZynqMP Boot Image (bif)"),
        name(29, "fpga", "FPGA Image"),
        name(30, "vybridimage", "Vybrid Boot Image"),
        name(31, "tee", "Trusted Execution Environment Image"),
        name(32, "firmware_ivt", "Firmware with HABv4 IVT"),
        name(33, "pmmc", "TI Power Management Micro-Controller Firmware"),
        name(34, "stm32image", "STMicroelectronics STM32 Image"),
        name(35, "socfpgaimage_v1", "Altera SoCFPGA A10 preloader"),
        name(36, "mtk_image", "MediaTek BootROM loadable Image"),
        name(37, "imx8mimage", "NXP i.MX8M Boot Image"),
        name(38, "imx8image", "NXP i.MX8 Boot Image"),
        name(39, "copro", "Coprocessor Image"),
        name(40, "sunxi_egon", "Allwinner eGON Boot Image"),
        name(41, "sunxi_toc0", "Allwinner TOC0 Boot Image"),
        name(42, "fdt_legacy", "legacy Image with Flat Device Tree"),
        name(43, "spkgimage", "Renesas SPKG Image"),
        name(44, "sfspl", "StarFive SPL Image"),
        name(45, "tfa-bl31", "TFA BL31 Image"),
        name(46, "stm32imagev2", "STMicroelectronics STM32 Image V2.0"),
        name(47, "amlimage", "Amlogic Boot Image"),
    ],
};

/// The numbers of [`ARCH`] under which U-Boots of this CPU take an image; the first is the proper one.
pub(crate) fn arch_ids(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86 => &[3],
        // A 64-bit kernel may be meant for a 32-bit U-Boot.
        Arch::X86_64 => &[24, 3],
        Arch::Arm => &[2],
        Arch::Arm64 => &[22],
        Arch::Riscv => &[26],
        Arch::Mips => &[5],
        // U-Boot knows one MIPS (IH_ARCH_DEFAULT, include/image.h), as the kernel's own uImage has it; a 64-bit U-Boot
        // says "Unsupported Architecture" to 6.
        Arch::Mips64 => &[5, 6],
        Arch::PowerPc => &[7],
        Arch::M68k => &[12],
        Arch::MicroBlaze => &[14],
        Arch::Xtensa => &[25],
        Arch::Sh => &[9],
        Arch::Arc => &[23],
        Arch::Nios2 => &[15],
        Arch::OpenRisc => &[21],
        Arch::Sparc => &[10],
        Arch::Sparc64 => &[11, 10],
        Arch::S390 => &[8],
        // U-Boot's list ends before it (include/image.h, 2023.01).
        Arch::LoongArch => &[],
    }
}

/// `IH_COMP_NONE`, a number of [`COMPRESSION`].
pub(crate) const COMP_NONE: u8 = 0;

/// The number of [`COMPRESSION`]; `None` for what U-Boot has no number for.
pub(crate) fn comp_id(codec: Codec) -> Option<u8> {
    // One number stands for both of LZ4's frames.
    COMPRESSION.id(codec.name().split(' ').next()?)
}

/// U-Boot's word for a codec; `None` for what it has no number for.
pub(crate) fn comp_word(codec: Codec) -> Option<&'static str> {
    comp_id(codec).and_then(|id| COMPRESSION.short(id))
}

/// U-Boot's word for a CPU.
pub(crate) fn arch_word(arch: Arch) -> &'static str {
    arch_ids(arch).first().and_then(|id| ARCH.short(*id)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_aliases_point_back() {
        for names in [ARCH, OS, COMPRESSION, TYPE] {
            let ids: Vec<u8> = names.all().map(|name| name.id).collect();
            assert!(ids.is_sorted(), "{}", names.field);
            for name in names.all() {
                assert_eq!(names.id(&name.short.to_uppercase()), Some(name.id), "{}", name.short);
            }
        }
        assert_eq!(ARCH.short(7), Some("powerpc"));
        assert_eq!(ARCH.id("PPC"), Some(7));
    }
}
