//! Options of `kimage bzimage` for images around kimage's own boot stub, and the command line of `kimage elf`.

use super::codec::{ARM_STUB_CODECS, CodecOptions, STUB_CODECS, Word, one_of};
use super::vendor::hex32;
use super::{Building, size};
use clap::{Args, ValueEnum};
use kimage::assemble::{DEFAULT_MAX_SIZE, Firmware};
use kimage::codec::Codec;
use std::path::PathBuf;

/// What goes into an image around kimage's own boot stub.
#[derive(Debug, Args)]
#[command(next_help_heading = "With kimage's own boot stub")]
pub(crate) struct Carried {
    /// How to compress the kernel
    ///
    /// gzip is the default: of a distribution's kernel it makes a sixth more than zstd does at level 19, in a tenth of
    /// the time, and it starts as fast. lz4 is quickest both ways and largest, xz smallest and slowest; none is for media
    /// that are compressed themselves. The boot stub checks the checksums of gzip, zstd and xz, and one that is written beside
    /// lz4, which has none; of none with --payload-sum alone.
    #[arg(long, value_name = "CODEC", value_parser = one_of(STUB_CODECS))]
    pub(crate) compress: Option<Codec>,
    /// Build in this command line; what the boot loader says is added behind it
    #[arg(long, value_name = "TEXT")]
    pub(crate) cmdline: Option<std::ffi::OsString>,
    /// Do not add what the boot loader says
    #[arg(long, requires = "cmdline")]
    pub(crate) cmdline_override: bool,
    /// Have the boot stub check a kernel that is not compressed, too
    ///
    /// Compressed ones are checked anyway. Without, the kernel is just copied, which takes a fraction of the time.
    #[arg(long)]
    pub(crate) payload_sum: bool,
    /// Build in this RAM disk (repeatable: one behind the other)
    ///
    /// A kernel takes one RAM disk: that of the boot loader is then not used.
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// Do not choose the kernel's addresses at random
    ///
    /// The default is to do so where there is a relocation table, unless the command line says nokaslr. With memmap=, and
    /// where a boot loader passes UEFI's memory map, only the virtual address is chosen.
    #[arg(long)]
    pub(crate) no_kaslr: bool,
    /// The relocation table (vmlinux.relocs), where the kernel does not bring it along
    #[arg(long, value_name = "FILE")]
    pub(crate) relocs: Option<PathBuf>,
    /// Refuse a kernel that needs more memory to start (K, M and G count in 1024s)
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = DEFAULT_MAX_SIZE)]
    pub(crate) max_memory: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With kimage's own boot stub")]
pub(crate) struct Own {
    #[command(flatten)]
    pub(crate) carried: Carried,
    /// Make no program for UEFI firmware of it: for BIOS, and for boot loaders that know the boot protocol
    #[arg(long)]
    pub(crate) no_efi: bool,
    /// Which UEFI firmware it is for; by default the one of as many bits as the kernel
    ///
    /// The boot stub goes by it: an image for x64 needs a 64-bit CPU, whoever loads it, and one for ia32 starts on any from the
    /// 486 on that the kernel is for. A 32-bit kernel can be for either. mixed makes a 64-bit kernel start from 32-bit firmware,
    /// too, by boot loaders that know .compat or the handover protocol.
    #[arg(long, value_name = "FIRMWARE", value_parser = one_of(FIRMWARE))]
    pub(crate) efi: Option<Firmware>,
    /// The contents of the section .sbat, for images that will be signed for UEFI Secure Boot
    #[arg(long, value_name = "FILE", conflicts_with = "no_efi")]
    pub(crate) sbat: Option<PathBuf>,
    /// Write just the padded setup with its filled-in header
    #[arg(long)]
    pub(crate) setup_only: bool,
}

const FIRMWARE: &[Word<Firmware>] =
    &[("ia32", Firmware::Ia32, ""), ("x64", Firmware::X64, ""), ("mixed", Firmware::Mixed, "")];

impl Own {
    /// The first option that only makes sense with kimage's own boot stub.
    pub(crate) fn asked_for(&self) -> Option<&'static str> {
        let carried = &self.carried;
        [
            (carried.compress.is_some(), "--compress"),
            (carried.cmdline.is_some(), "--cmdline"),
            (!carried.initrd.is_empty(), "--initrd"),
            (carried.payload_sum, "--payload-sum"),
            (carried.no_kaslr, "--no-kaslr"),
            (carried.relocs.is_some(), "--relocs"),
            (self.setup_only, "--setup-only"),
            (self.no_efi, "--no-efi"),
            (self.efi.is_some(), "--efi"),
            (self.sbat.is_some(), "--sbat"),
        ]
        .into_iter()
        .find_map(|(is_given, name)| is_given.then_some(name))
    }
}

/// x86: a kernel to an ELF file that PVH, Multiboot, coreboot and plain ELF loaders start
///
/// For loaders that do not know a bzImage: VMMs (QEMU, Xen's and others' PVH; Firecracker and Cloud Hypervisor, which enter
/// by Linux' 64-bit protocol), GRUB's multiboot and multiboot2, QEMU's -kernel, kexec, coreboot as its payload. Whoever
/// enters, the code in front of the kernel makes Linux' boot parameters of what it passes: memory map, command line, RAM
/// disks, screen, ACPI. Needs no CONFIG_PVH of the kernel. Several modules are one RAM disk, one behind the other.
///
/// With --compress none the kernel itself is written, with the segments that such VMMs load and its own PVH entry, if it has
/// one: then nothing can be built in, and Multiboot and coreboot cannot start it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage elf vmlinux -o kernel.elf
  kimage elf /boot/vmlinuz --initrd initrd.img --cmdline 'console=ttyS0' -o payload.elf    for coreboot
  kimage elf vmlinux --class 32                       for loaders that take files of 32 bits only
  kimage elf /boot/vmlinuz --compress none -o vmlinux.fc                 for Firecracker, as it is
  kimage elf vmlinux --json | jq .image.pvh_entry")]
pub(crate) struct BootElf {
    /// The kernel's own vmlinux, or a bzImage
    pub(crate) vmlinux: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "kernel.elf")]
    pub(crate) output: PathBuf,
    /// Class of the ELF file [default: the kernel's]
    ///
    /// The kernel is the same in both. coreboot's cbfstool and most loaders take either.
    #[arg(long, value_name = "BITS")]
    pub(crate) class: Option<Class>,
    #[command(flatten)]
    pub(crate) carried: Carried,
    #[command(flatten)]
    pub(crate) building: Building,
    #[command(flatten)]
    pub(crate) codec: CodecOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Class {
    #[value(name = "32")]
    Bits32,
    #[value(name = "64")]
    Bits64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With kimage's own boot stub (ARM)")]
pub(crate) struct OwnArm {
    /// How to compress the kernel [default: gzip]
    #[arg(long, value_name = "CODEC", value_parser = one_of(ARM_STUB_CODECS), conflicts_with_all = ["setup", "build_dir"])]
    pub(crate) compress: Option<Codec>,
    /// How far from the start of the memory the kernel goes (TEXT_OFFSET), where its file does not tell; 0x8000 for most
    #[arg(long, value_name = "HEX", value_parser = hex32, conflicts_with_all = ["setup", "build_dir"])]
    pub(crate) text_offset: Option<u32>,
    /// The physical address that the kernel goes to [default: TEXT_OFFSET behind the start of the memory, which the boot stub
    /// finds as the kernel's own does]
    #[arg(long, value_name = "HEX", value_parser = hex32, conflicts_with_all = ["setup", "build_dir", "text_offset"])]
    pub(crate) load_address: Option<u32>,
}

impl OwnArm {
    /// Was anything asked for that only kimage's own boot stub has?
    pub(crate) fn is_asked_for(&self) -> bool {
        self.compress.is_some() || self.text_offset.is_some() || self.load_address.is_some()
    }
}
