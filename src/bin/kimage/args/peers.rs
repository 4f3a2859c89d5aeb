//! `as` and `links`: U-Boot's own tools by their names.

use clap::Args;
use kimage::assemble::FitLayout;
use std::ffi::OsString;
use std::path::PathBuf;

/// Called as mkimage, dumpimage, fit_check_sign, fit_info, fdt_add_pubkey or ukify
///
/// Takes the same options, prints the same text and ends with the same status as U-Boot's own tools for what kimage makes: legacy images
/// and FITs, signed or not, and -f auto and auto-conf, which make a FIT from -A -O -T -C -a -e -n -d -b -i without a source. What it
/// refuses, and why, is in docs/peers.md. A link of a tool's name to kimage does the same without `kimage as` (kimage links DIR); there,
/// KIMAGE_LAYOUT in the environment stands for --layout. `ukify build` takes ukify's options and configuration, and makes its bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage as mkimage -A arm -O linux -T kernel -C none -a 80008000 -e 80008000 -n Linux -d zImage uImage
  kimage as mkimage -f auto -A arm64 -O linux -T kernel -C none -a 80080000 -d Image -b board.dtb image.itb
  kimage as mkimage -F -k keys -K u-boot.dtb -r image.itb
  kimage as mkimage -l image.itb
  kimage as dumpimage -T flat_dt -p 0 -o kernel image.itb
  kimage as ukify build --linux vmlinuz --initrd initrd --cmdline quiet --output linux.efi
  kimage as --layout 2026.04 mkimage -f image.its image.itb")]
pub(crate) struct Peer {
    /// The text and the bytes of this release, 2021.01 to 2026.10, or a year for its last one [default: 2023.01]
    #[arg(long, value_name = "RELEASE", value_parser = super::sign::layout)]
    pub(crate) layout: Option<FitLayout>,
    /// The tool and its arguments: mkimage, dumpimage, fit_check_sign, fit_info, fdt_add_pubkey, ukify
    #[arg(value_name = "TOOL [ARGUMENTS]", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// Links to kimage by the names of U-Boot's own tools, and of ukify
///
/// Makes mkimage, dumpimage, fit_check_sign, fit_info, fdt_add_pubkey and ukify in a folder that is there, for a build's PATH.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage links tools && PATH=$PWD/tools:$PATH make uImage")]
pub(crate) struct Links {
    /// The folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Replace files and links of these names
    #[arg(long)]
    pub(crate) force: bool,
}
