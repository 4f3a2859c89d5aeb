//! `lint`.

use clap::Args;
use std::path::PathBuf;

/// Will it boot there? Computes the memory that the boot takes on a board, and says what is in the way of what
///
/// By the rules of U-Boot and of the kernels: where the image is loaded, copied or unpacked to, how far the running kernel
/// reaches with its BSS, where device tree and ramdisk lie meanwhile; and whether the boot loader can start and unpack it,
/// and its flash partition hold it. Exit status 1 when it would not boot.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage lint zImage --board beaglebone-black --dtb board.dtb --ramdisk initrd
  kimage lint image.itb --board my-board.toml --uboot-env printenv.txt
  kimage lint --board list

A board file is a few lines of TOML: `kimage lint --board NAME --show` prints a shipped one to start from.")]
pub(crate) struct Lint {
    /// The image: uImage, FIT, zImage, Image (also compressed), bzImage
    pub(crate) image: Option<PathBuf>,
    /// A board file (.toml), or the name of a shipped one; `list` shows those
    #[arg(long, value_name = "FILE")]
    pub(crate) board: PathBuf,
    /// What `printenv` says on the board: its addresses win over those of the board file
    #[arg(long, value_name = "FILE")]
    pub(crate) uboot_env: Option<PathBuf>,
    /// The device tree that the boot script loads to fdt_addr_r
    #[arg(long, value_name = "FILE")]
    pub(crate) dtb: Option<PathBuf>,
    /// The ramdisk that the boot script loads to ramdisk_addr_r
    #[arg(long, value_name = "FILE")]
    pub(crate) ramdisk: Option<PathBuf>,
    /// Print the board file and do nothing else
    #[arg(long)]
    pub(crate) show: bool,
    /// Print memory and findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
