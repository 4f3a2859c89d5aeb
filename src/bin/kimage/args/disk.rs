//! `disk`.

use super::{Building, size};
use clap::{Args, ValueEnum};
use kimage::assemble::DiskKind;
use std::ffi::OsString;
use std::path::PathBuf;

/// Any CPU: kernels to a disk, CD or floppy that a machine starts from
///
/// UEFI firmware starts EFI/BOOT/BOOTX64.EFI (AA64, IA32, ARM, RISCV64, LOONGARCH64) of the disk's FAT file system: the kernel
/// itself, if it is a program for UEFI (EFI stub, EFI zboot, unified kernel image). A BIOS starts kimage's boot sector, which
/// loads the first bzImage, from a floppy, a disk or a CD (El Torito).
///
/// Firmware passes what it starts from a disk no command line and no RAM disk. With --cmdline or --initrd, an x86 kernel
/// (vmlinux or bzImage) is therefore wrapped with kimage's boot stub, which has both in it; on a floppy, kimage's loader passes
/// both to the kernel as it is. For other CPUs, and to choose from several kernels, give a boot loader with --loader
/// (systemd-boot): it finds the kernels in loader/entries, with both.
///
/// The same inputs give the same bytes: the GUIDs of disk and partitions are made from the contents, the files have one time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage disk bzImage --kind gpt -o disk.img
  kimage disk vmlinux --initrd initrd.cpio --cmdline 'console=ttyS0' --kind hybrid -o boot.iso
  kimage disk bzImage --initrd rootfs.cpio.xz --kind floppy144 -o floppy.img
  kimage disk Image --loader /usr/lib/systemd/boot/efi/systemd-bootaa64.efi --initrd initrd --cmdline quiet --kind esp -o esp.img
  kimage disk bzImage --kind gpt --sector-size 4096 -o nvme.img
  kimage disk bzImage Image --kind esp --size 64M --add README.TXT=notes.txt -o both.img
  qemu-system-x86_64 -drive format=raw,file=disk.img       (by SeaBIOS; with -bios OVMF.fd by UEFI)")]
pub(crate) struct Disk {
    /// Kernels: one for each CPU; with --loader any number
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// What to make
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Kind,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "disk.img")]
    pub(crate) output: PathBuf,
    /// The RAM disk (repeatable: one behind the other)
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT")]
    pub(crate) cmdline: Option<OsString>,
    /// Start this boot loader for UEFI, which reads loader/entries (repeatable: for several CPUs)
    #[arg(long, value_name = "FILE")]
    pub(crate) loader: Vec<PathBuf>,
    /// Add a file, as PATH=FILE, or all that is in a folder (repeatable)
    #[arg(long, value_name = "PATH=FILE|DIR")]
    pub(crate) add: Vec<OsString>,
    /// Size of the disk (K, M and G count in 1024s) [default: as large as needed]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) size: Option<u64>,
    /// Bytes of a sector of the disk that it is written to: 512, or 4096 as some SSDs and UFS have it, from which UEFI alone starts
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = sector_size)]
    pub(crate) sector_size: u32,
    /// Time of the files in seconds since 1970 [default: SOURCE_DATE_EPOCH, else 0; a FAT has none before 1980]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    #[command(flatten)]
    pub(crate) building: Building,
}

fn sector_size(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|size| matches!(size, 512 | 4096)).ok_or_else(|| "wanted 512 or 4096".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// An EFI system partition by itself, for UEFI firmware
    Esp,
    /// A disk with a GUID partition table, for UEFI firmware and BIOS
    Gpt,
    /// A CD, for UEFI firmware and BIOS
    Iso,
    /// A floppy of 1.44 MB, for BIOS
    Floppy144,
    /// A CD that can also be written to a USB stick
    Hybrid,
}

impl From<Kind> for DiskKind {
    fn from(kind: Kind) -> DiskKind {
        match kind {
            Kind::Esp => DiskKind::Esp,
            Kind::Gpt => DiskKind::Gpt,
            Kind::Iso => DiskKind::Iso,
            Kind::Floppy144 => DiskKind::Floppy144,
            Kind::Hybrid => DiskKind::Hybrid,
        }
    }
}
