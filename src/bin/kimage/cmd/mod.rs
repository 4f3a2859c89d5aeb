//! One function a command: arguments to one journey to a report.

mod build;
mod codec;
mod elf;
mod fit;
mod lint;
mod manual;
mod offsets;
mod piggy;
mod rebuild;

use crate::args::{Cli, Command};
use anyhow::Result;

pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Bzimage(args) => build::bzimage(&args),
        Command::Zimage(args) => build::zimage(&args),
        Command::Image(args) => build::image(&args),
        Command::Uimage(args) => build::uimage(&args),
        Command::Fit(args) => fit::fit(&args),
        Command::Lint(args) => lint::lint(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Relocs(args) => elf::relocs(&args),
        Command::Strip(args) => elf::strip(&args),
        Command::Voffset(args) => offsets::voffset(&args),
        Command::Zoffset(args) => offsets::zoffset(&args),
        Command::Piggy(args) => piggy::piggy(&args),
        Command::Compress(args) => codec::compress(&args),
        Command::Decompress(args) => codec::decompress(&args),
    }
}
