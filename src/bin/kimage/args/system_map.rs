//! The command lines of `kimage system-map`, `kimage xipimage` and `kimage bootp`.

use super::vendor::hex32;
use super::{Building, TextOutput};
use clap::Args;
use std::path::PathBuf;

/// Any CPU: the addresses and names of a kernel's symbols (System.map)
///
/// Of vmlinux, the same bytes as scripts/mksysmap of the kernel's age; before Linux 2.6 in the order of the C locale, where
/// the build's own decided. Of an image, or of a vmlinux without symbol table, what the kernel's kallsyms have.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage system-map vmlinux -o System.map
  kimage system-map vmlinux.unstripped -o System.map       where the build leaves one
  kimage system-map /boot/vmlinuz | grep -w start_kernel   by the kernel's kallsyms")]
pub(crate) struct SystemMap {
    /// The kernel's own vmlinux, or an image
    pub(crate) vmlinux: PathBuf,
    #[command(flatten)]
    pub(crate) text: TextOutput,
}

/// ARM: a kernel that runs where its flash memory is (xipImage)
///
/// The same bytes as objcopy -O binary -R .comment -S of vmlinux. A kernel of CONFIG_XIP_DEFLATED_DATA gets its data
/// compressed with gzip, as arch/arm/boot/deflate_xip_data.sh does; a little smaller than there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage xipimage vmlinux
  kimage xipimage vmlinux -o flash.bin --json")]
pub(crate) struct Xipimage {
    /// The kernel's own vmlinux, linked with CONFIG_XIP_KERNEL
    pub(crate) vmlinux: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "xipImage")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) building: Building,
}

/// ARM: a zImage with an initial RAM disk in one file (bootpImage)
///
/// For boot loaders that know no RAM disks, and pass tags (no device tree). Code in front of the zImage, kimage's own or that of a build, copies the
/// disk to its place, adds ATAG_INITRD2 to the list of tags, and starts the kernel; it runs wherever it is loaded, and does
/// what arch/arm/boot/bootp/init.S of the kernel does, up to Linux 5.9.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage bootp zImage initrd.gz --initrd-phys 0x800000 --params-phys 0x100             ARM Versatile
  kimage bootp zImage initrd.gz --initrd-phys 0x30800000 --params-phys 0x30000100      S3C2410
  kimage bootp zImage initrd.gz --initrd-phys 0x800000 --params-phys 0x100 --build-dir linux")]
pub(crate) struct Bootp {
    /// The kernel, an ARM zImage
    pub(crate) zimage: PathBuf,
    /// The initial RAM disk
    pub(crate) initrd: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "bootpImage")]
    pub(crate) output: PathBuf,
    /// Copy the RAM disk to this physical address, hexadecimal (initrd_phys-y of the board's Makefile.boot)
    #[arg(long, value_name = "ADDRESS", value_parser = hex32)]
    pub(crate) initrd_phys: u32,
    /// The list of tags is at this physical address, hexadecimal (params_phys-y there)
    #[arg(long, value_name = "ADDRESS", value_parser = hex32)]
    pub(crate) params_phys: u32,
    /// Take the code that brings the RAM disk to its place from this folder of a kernel build (arch/arm/boot/bootp/init.o)
    /// [default: kimage's own]
    #[arg(long, value_name = "TREE")]
    pub(crate) build_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) building: Building,
}
