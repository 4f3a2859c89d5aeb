//! `fit`.

use super::codec::{UBOOT_CODECS, one_of};
use super::sign::{Placing, Signer, layout};
use super::{Building, NameArg, hex, name};
use clap::Args;
use kimage::assemble::{ARCH, Algorithm, FitLayout, OS};
use kimage::codec::Codec;
use std::path::PathBuf;

/// U-Boot: kernel, device trees and ramdisk to a FIT (flattened image tree)
///
/// From an image tree source (.its), the same bytes as mkimage -f of U-Boot 2023.01, or of the release that --layout
/// names, without dtc; from a compiled tree (.dtb, .itb), the same with its hashes made anew; or from the files
/// themselves: one configuration for each device tree, with the compatible strings of that tree, so that U-Boot finds the
/// one for its board. (What mkimage -f auto makes of such options, byte for byte: kimage as mkimage -f auto.)
/// The time in the tree is --time, else SOURCE_DATE_EPOCH, else 0: never the clock. Signatures that the source
/// asks for are filled in with the keys of --keys, or left empty with --unsigned, to be filled in by kimage sign; without either
/// the source is refused. Images with a node `cipher` are encrypted with the keys of --keys, too; an iv that the source does not give
/// is random, and is the one thing that is not the same every time.
/// What is not there, or contradicts the data, is refused unless --force is given; what U-Boot would not boot is a warning.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage fit image.its -o image.itb
  kimage fit image.its -E -B 1000 -o image.itb          data behind the tree, at multiples of 4 KiB
  kimage fit image.its -E --layout 2026.04              the bytes of that release of mkimage
  kimage fit image.its --keys keys --control-dtb u-boot.dtb --required conf
                                                        signed, and the public keys for U-Boot
  kimage fit boards.its --fdt-dir dtbs --entry-arg default-dt=one
                                                        a configuration for each .dtb, by generator nodes
  kimage fit --kernel zImage --dtb one.dtb --dtb two.dtb --ramdisk initrd.cpio.gz
  kimage fit --kernel Image --compress gzip -a 0x80080000 --dtb board.dtb --hash sha256,crc32
  kimage fit --kernel zImage --dtb base.dtb --overlay hat.dtbo --dtb-load 0x83000000
                                                        boots with: bootm ADDRESS#conf-1#overlay-1

-A list and -O list show the names.")]
pub(crate) struct Fit {
    /// An image tree source (.its), or a compiled tree with its data (.dtb, .itb)
    #[arg(value_name = "SOURCE", conflicts_with_all = ["kernel", "dtb", "ramdisk", "overlay", "loadable"])]
    pub(crate) source: Option<PathBuf>,
    /// Where to write
    #[arg(short, long, value_name = "FILE", default_value = "image.itb")]
    pub(crate) output: PathBuf,
    /// Where to look for files that SOURCE names, behind its own folder (repeatable)
    #[arg(short = 'i', long, value_name = "DIR", requires = "source")]
    pub(crate) include: Vec<PathBuf>,
    /// Where the device trees of generator nodes are (@fdt-SEQ, as binman has them); all of the folder, where the source names none
    #[arg(long, value_name = "DIR", requires = "source")]
    pub(crate) fdt_dir: Option<PathBuf>,
    /// An argument that the source asks for (repeatable): of-list="NAME NAME", the device trees, where it says fit,fdt-list =
    /// "of-list"; default-dt=NAME, the device tree of the default configuration
    #[arg(long, value_name = "NAME=VALUE", requires = "source", value_parser = entry_arg)]
    pub(crate) entry_arg: Vec<(String, String)>,
    /// The kernel: zImage, Image, Image.gz ..., or vmlinux, which is flattened
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// A device tree blob; each gets a configuration: conf-1, conf-2 ... (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) dtb: Vec<PathBuf>,
    /// A device tree overlay; each gets a configuration to be added to another: overlay-1 ... (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
    /// The initial RAM disk of every configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) ramdisk: Option<PathBuf>,
    /// Another file that every configuration loads (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) loadable: Vec<PathBuf>,
    /// CPU [default: as the kernel says]
    #[arg(short = 'A', long, value_name = "ARCH", value_parser = |text: &str| name("-A", ARCH, text))]
    pub(crate) arch: Option<NameArg>,
    /// Operating system [default: linux]
    #[arg(short = 'O', long, value_name = "OS", value_parser = |text: &str| name("-O", OS, text))]
    pub(crate) os: Option<NameArg>,
    /// Load address of the kernel, hexadecimal [default: that of vmlinux; a zImage or arm64 Image needs none]
    #[arg(short = 'a', long, value_name = "HEX", value_parser = hex)]
    pub(crate) load_address: Option<u64>,
    /// Entry point of the kernel, hexadecimal [default: that of vmlinux, else the load address]
    #[arg(short = 'e', long, value_name = "HEX", value_parser = hex)]
    pub(crate) entry_point: Option<u64>,
    /// Address that U-Boot copies the device tree to, hexadecimal; overlays need it
    #[arg(long, value_name = "HEX", value_parser = hex)]
    pub(crate) dtb_load: Option<u64>,
    /// Compress the kernel
    #[arg(long, value_name = "COMP", value_parser = one_of(UBOOT_CODECS))]
    pub(crate) compress: Option<Codec>,
    /// Hashes of every image: crc32, md5, sha1, sha256, sha384, sha512, or none
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = algorithm, default_value = "sha256")]
    pub(crate) hash: Vec<Option<Algorithm>>,
    /// Description of the whole [default: the name of the kernel's file]
    #[arg(short = 'n', long = "name", value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// The default configuration, by its name or that of its device tree file [default: the first]
    #[arg(long, value_name = "NAME", conflicts_with = "source")]
    pub(crate) default: Option<String>,
    #[command(flatten)]
    pub(crate) placing: Placing,
    /// The bytes of this release of mkimage, 2021.01 to 2026.10, or a year for its last one [default: 2023.01]
    #[arg(long, value_name = "RELEASE", value_parser = layout)]
    pub(crate) layout: Option<FitLayout>,
    /// Creation time in seconds since 1970 [default: SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Leave signature nodes without value, to be signed afterwards (with --keys, encrypt alone); an old signature that does not hold any more is taken away
    #[arg(long, conflicts_with = "key")]
    pub(crate) unsigned: bool,
    /// Go ahead though the source contradicts itself or the data
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) signer: Signer,
    #[command(flatten)]
    pub(crate) building: Building,
}

fn entry_arg(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("wanted NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn algorithm(text: &str) -> Result<Option<Algorithm>, String> {
    let known = || Algorithm::ALL.map(Algorithm::name).join(", ");
    match Algorithm::ALL.into_iter().find(|known| known.name() == text) {
        _ if text == "none" => Ok(None),
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(format!("wanted none or one of {}", known())),
    }
}
