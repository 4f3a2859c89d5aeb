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
    #[arg(long, value_name = "MAJOR:MINOR", value_parser = numbers, requires = "setup")]
    pub(crate) root_dev: Option<(u32, u32)>,
    /// The symbols of a VMLINUX that is flat already: arch/x86/boot/zoffset.h [default: zoffset.h beside SETUP, where there is
    /// one]
    #[arg(long, value_name = "FILE", requires = "setup")]
    pub(crate) zoffset: Option<PathBuf>,
}

/// Two numbers: of a device, of an owner.
pub(super) fn numbers(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once(':').and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
    numbers.ok_or_else(|| "wanted two numbers, as 8:1".to_owned())
}
