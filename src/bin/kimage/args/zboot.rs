//! The command line of `kimage zboot`.

use super::codec::{CodecOptions, ZBOOT_CODECS, one_of};
use super::{Building, size};
use clap::Args;
use kimage::assemble::DEFAULT_MAX_SIZE;
use kimage::codec::Codec;
use std::path::PathBuf;

/// arm64, RISC-V, LoongArch: a kernel to an EFI program that decompresses it (vmlinuz.efi)
///
/// What `make vmlinuz.efi` makes where CONFIG_EFI_ZBOOT is set, without a build tree and for kernels since EFI stubs are
/// in them: for UEFI firmware, U-Boot's bootefi, GRUB and systemd-boot. The program in front of the kernel is kimage's own; it
/// enters the kernel's EFI stub, which asks for initrd, random seed and memory map itself. The header is Linux's, so that
/// kexec, QEMU and unzboot take the kernel out. A vmlinuz.efi is taken apart and packed anew, its own program left out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage zboot Image
  kimage zboot /boot/vmlinuz-6.12-arm64 --compress zstd -o vmlinuz.efi
  kimage zboot vmlinuz.efi --compress xz -o smaller.efi
  kimage zboot Image --sbat sbat.csv -o vmlinuz.efi               to be signed for Secure Boot")]
pub(crate) struct Zboot {
    /// The kernel: Image, compressed or not, vmlinux, or another vmlinuz.efi
    pub(crate) image: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "vmlinuz.efi")]
    pub(crate) output: PathBuf,
    /// How to compress the kernel
    ///
    /// gzip is the default: everything that takes zboot images apart knows it. The program checks the checksums of gzip, zstd,
    /// xz and lzo; lz4 and lzma have none.
    #[arg(long, value_name = "CODEC", value_parser = one_of(ZBOOT_CODECS), default_value = "gzip")]
    pub(crate) compress: Codec,
    /// The contents of the section .sbat, for images that will be signed for UEFI Secure Boot
    #[arg(long, value_name = "FILE")]
    pub(crate) sbat: Option<PathBuf>,
    /// Refuse a larger kernel (K, M and G count in 1024s)
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = DEFAULT_MAX_SIZE)]
    pub(crate) max_size: u64,
    #[command(flatten)]
    pub(crate) codec: CodecOptions,
    #[command(flatten)]
    pub(crate) building: Building,
}
