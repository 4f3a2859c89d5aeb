//! `edit`.

use super::codec::{CODECS, CodecOptions, one_of};
use super::{Building, Source, size};
use clap::Args;
use kimage::assemble::DEFAULT_MAX_SIZE;
use kimage::codec::Codec;
use std::path::PathBuf;

/// An image with something in it changed: built-in RAM disk, command line, device tree, compression
///
/// x86 bzImage, ARM zImage, arm64 and RISC-V Image and flat kernels, compressed or not, EFI zboot images, and uImages, FITs and
/// Android's boot images of these. What is built into a
/// kernel is changed where it stands, and the kernel is compressed into the place that it had, so that the image keeps its own
/// decompressor. Where there is no room, an x86 image or a zImage gets kimage's boot stub, as by `kimage bzimage IMAGE` and
/// `kimage zimage IMAGE`, and that is said; others are refused, with the figures. Checksums are computed anew; signatures are left out: sign again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage edit vmlinuz --initramfs rootfs -o vmlinuz-rescue
  kimage edit Image.gz --initramfs initrd.cpio.gz -o Image-rescue.gz
  kimage edit bzImage --cmdline 'console=ttyS0 quiet' -o bzImage-serial
  kimage edit zImage --dtb board.dtb -o zImage-board
  kimage edit vmlinuz --compress lz4 -o vmlinuz-quick")]
pub(crate) struct Edit {
    /// The image
    pub(crate) image: PathBuf,
    /// Where to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Build this RAM disk into the kernel: an archive, compressed or not, a folder, or a list as for `kimage cpio`
    ///
    /// What is larger than the built-in one becomes the RAM disk of an x86 image, with kimage's boot stub: that of the boot loader
    /// is then not used.
    #[arg(long, value_name = "FILE|DIR|LIST")]
    pub(crate) initramfs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Build in this command line
    ///
    /// In place of CONFIG_CMDLINE, which a kernel with CONFIG_IKCONFIG tells; of other x86 kernels, by kimage's boot stub.
    #[arg(long, value_name = "TEXT")]
    pub(crate) cmdline: Option<std::ffi::OsString>,
    /// Append this device tree to an ARM zImage, in place of those behind it
    #[arg(long, value_name = "DTB")]
    pub(crate) dtb: Option<PathBuf>,
    /// Compress the kernel anew (x86: gzip, xz, zstd, lz4 or none)
    #[arg(long, value_name = "CODEC", value_parser = one_of(CODECS))]
    pub(crate) compress: Option<Codec>,
    #[command(flatten)]
    pub(crate) codec: CodecOptions,
    /// Refuse an image around kimage's boot stub that needs more memory to start (K, M and G count in 1024s)
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = DEFAULT_MAX_SIZE)]
    pub(crate) max_memory: u64,
    /// Stop after this many decompressed bytes in all (K, M and G count in 1024s)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) building: Building,
}
