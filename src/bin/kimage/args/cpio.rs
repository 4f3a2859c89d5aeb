//! `cpio`.

use super::Building;
use super::codec::{CodecOptions, RAMDISK_CODECS, one_of};
use super::x86::numbers;
use clap::Args;
use kimage::codec::Codec;
use std::path::PathBuf;

/// Any CPU: folders and lists to an initial RAM disk (cpio archive, newc)
///
/// A list has the format of the kernel's usr/gen_init_cpio, and gives the bytes that it writes; its locations are relative to
/// the current folder, and ${NAME} in them is a variable of the environment. A folder gives its files in the order of their
/// names, byte by byte. Device nodes of a list need no root. All files have one time, never the clock's: the same input gives
/// the same file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage cpio rootfs -o initrd.cpio
  kimage cpio rootfs nodes.txt --compress zstd -o initrd.zst
  kimage cpio nodes.txt -o - | cpio -itv

Lines of a list; MODE is octal:
  file NAME LOCATION MODE UID GID [HARD_LINK...]
  dir NAME MODE UID GID
  nod NAME MODE UID GID b|c MAJOR MINOR
  slink NAME TARGET MODE UID GID
  pipe NAME MODE UID GID
  sock NAME MODE UID GID")]
pub(crate) struct Cpio {
    /// A folder, whose files come without its own name, or a list (several: one behind the other)
    #[arg(value_name = "DIR|LIST", required = true)]
    pub(crate) sources: Vec<PathBuf>,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "initrd.cpio")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) source: Source,
    /// How to compress the archive
    #[arg(long, value_name = "CODEC", value_parser = one_of(RAMDISK_CODECS), default_value = "none")]
    pub(crate) compress: Codec,
    #[command(flatten)]
    pub(crate) codec: CodecOptions,
    #[command(flatten)]
    pub(crate) building: Building,
}

#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The numbers of user and group whose a folder's files are
    #[arg(long, value_name = "UID:GID", value_parser = numbers, default_value = "0:0")]
    pub(crate) owner: (u32, u32),
    /// Time of an archive's files in seconds since 1970 [default: SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
}
