//! One function a command: arguments to one call of the library to a report.

mod bench;
mod build;
mod codec;
mod common;
mod cpio;
mod deferred;
mod diff;
mod disk;
mod doctor;
mod edit;
mod elf;
mod explain;
mod extract;
mod fit;
mod info;
mod lint;
mod manual;
mod map;
mod measure;
mod offsets;
mod peers;
mod piggy;
mod rebuild;
mod sign;
mod sign_efi;
mod standalone;
mod system_map;
mod uki;
mod verify;

pub(crate) use peers::by_name;

use crate::args::{Cli, Command};
use anyhow::Result;

/// Gives the exit status.
pub(crate) fn run(cli: Cli) -> Result<u8> {
    let done = match cli.command {
        Command::Peer(args) => return peers::peer(&args),
        Command::Links(args) => peers::links(&args),
        Command::Bzimage(args) => build::bzimage(&args),
        Command::Elf(args) => standalone::elf(&args),
        Command::Zimage(args) => build::zimage(&args),
        Command::Image(args) => build::image(&args),
        Command::Uimage(args) => build::uimage(&args),
        Command::Fit(args) => fit::fit(&args),
        Command::Sign(args) => sign::sign(&args),
        Command::Pubkey(args) => sign::pubkey(&args),
        Command::Lint(args) => lint::lint(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Relocs(args) => elf::relocs(&args),
        Command::Strip(args) => elf::strip(&args),
        Command::Measure(args) => measure::measure(&args),
        Command::Voffset(args) => offsets::voffset(&args),
        Command::Zoffset(args) => offsets::zoffset(&args),
        Command::Piggy(args) => piggy::piggy(&args),
        Command::SystemMap(args) => system_map::system_map(&args),
        Command::Xipimage(args) => build::xipimage(&args),
        Command::Uki(args) => uki::uki(&args),
        Command::Zboot(args) => build::zboot(&args),
        Command::Bootp(args) => build::bootp(&args),
        Command::Cpio(args) => cpio::cpio(&args),
        Command::Disk(args) => disk::disk(&args),
        Command::Edit(args) => edit::edit(&args),
        Command::Compress(args) => codec::compress(&args),
        Command::Decompress(args) => codec::decompress(&args),
        Command::Info(args) => info::info(&args),
        Command::Extract(args) => extract::extract(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Map(args) => map::map(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::BenchOne(args) => bench::bench_one(&args),
    };
    done.map(|()| 0)
}
