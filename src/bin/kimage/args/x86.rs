//! What `kimage bzimage` and `kimage zimage` take of an x86 kernel's build.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "With the setup of a kernel's build (x86)")]
pub(crate) struct X86Options {
    /// arch/x86/boot/setup.bin or setup.elf: real-mode code with the boot protocol's header; before Linux 2.6.23 two files,
    /// bootsect and setup
    #[arg(value_name = "BOOTSECT] [SETUP", num_args = 0..=2, conflicts_with = "build_dir", help_heading = None)]
    pub(crate) setup: Vec<PathBuf>,
    /// The device of the root file system, which kernels up to 3.2 have in their header [default: 0:0, none]
    #[arg(long, value_name = "MAJOR:MINOR", value_parser = device, requires = "setup")]
    pub(crate) root_dev: Option<(u32, u32)>,
    /// The symbols of a VMLINUX that is flat already: arch/x86/boot/zoffset.h [default: zoffset.h beside SETUP, where there is
    /// one]
    #[arg(long, value_name = "FILE", requires = "setup")]
    pub(crate) zoffset: Option<PathBuf>,
}

fn device(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.ok_or_else(|| "wanted the device's numbers, as 8:1".to_owned())
}
