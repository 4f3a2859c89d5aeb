//! `bench`: every codec in a process of its own, one after the other.

mod one;

pub(crate) use one::bench_one;

use super::common::at_input;
use crate::args::{Bench, Direction, Variant};
use crate::input::Input;
use crate::output::Output;
use crate::{message, screen};
use anyhow::{Result, bail};
use clap::error::ErrorKind;
use kimage::assemble::{self, Payload};
use kimage::codec::SPLIT_SIZE;
use kimage::report::{BenchReport, Conditions, Cost, Failed, Measured, write_bench_svg, write_bench_text, write_json};
use one::Child;
use std::io::{self, IsTerminal, Write};
use std::thread::available_parallelism;

/// What is worth comparing: [`Bench`]'s help says why. The LZ4 frame is that of U-Boot around nearly the same bytes as
/// the legacy one.
const DEFAULT: &str = "gzip gzip-best bzip2 lzma xz xz-0 xz-split lzo lz4 lz4-1 zstd zstd-3 zstd-19 zstd-split";

pub(crate) fn bench(args: &Bench) -> Result<()> {
    let svg = args.svg.as_deref().map(|path| Output { path, sync: false, is_text: true });
    if svg.as_ref().is_some_and(Output::is_stdout) && args.json {
        let message = "plot and results cannot both go to standard output: name a file with --svg, or leave out --json";
        message::usage(ErrorKind::ArgumentConflict, message);
    }
    let input = Input::open(&args.vmlinux)?;
    if input.is_empty() {
        bail!("{}: is empty; give a file with something to compress", input.name());
    }
    // Not after minutes of work.
    svg.as_ref().map_or(Ok(()), Output::check)?;
    let payload = if args.as_is { Ok(assemble::payload_as_is(&input)) } else { assemble::payload(&input) };
    let payload = payload.map_err(|error| at_input(error, &[("VMLINUX", &[&input])]))?;
    if !args.quiet {
        payload.findings.iter().for_each(message::finding);
    }

    let threads = args.jobs.or_else(|| available_parallelism().ok()).map_or(1, usize::from);
    let compress_runs = args.runs.get();
    let conditions = Conditions { threads, compress_runs, decompress_runs: compress_runs.saturating_mul(3) };
    let variants = variants(args, payload.bytes.len())?;
    let (measured, failed) = measure(&variants, &payload, conditions);
    let (count, of) = (failed.len(), variants.len());

    let name = input.name();
    let report = BenchReport::new(&name, &payload, conditions, measured, failed);
    // The table is not lost with the plot, nor the plot with whoever reads the table.
    let drawn = svg.as_ref().map_or(Ok(()), |svg| draw(&report, svg, args.quiet));
    if args.json {
        screen::print(|out| write_json("bench", &report, out))?;
    } else {
        // A plot on standard output leaves the other one for the table.
        let (to_stderr, is_terminal) = match &svg {
            Some(svg) if svg.is_stdout() => (true, io::stderr().is_terminal()),
            _ => (false, io::stdout().is_terminal()),
        };
        let mut table = Vec::new();
        write_bench_text(&report, is_terminal && screen::colour_wanted(), &mut table)?;
        if to_stderr {
            screen::print_error(&String::from_utf8_lossy(&table));
        } else {
            screen::print(|out| out.write_all(&table))?;
        }
    }
    drawn?;
    if count > 0 {
        bail!("{count} of {of} codecs failed");
    }
    Ok(())
}

fn draw(report: &BenchReport<'_>, svg: &Output<'_>, quiet: bool) -> Result<()> {
    let mut drawing = Vec::new();
    write_bench_svg(report, &mut drawing)?;
    svg.write(drawing.len() as u64, |out| Ok(out.write_all(&drawing)?))?;
    if !quiet && !svg.is_stdout() {
        message::line(&format!("{} is ready", svg.name()));
    }
    Ok(())
}

/// The codecs that were asked for, each once, or the default ones.
fn variants(args: &Bench, len: usize) -> Result<Vec<Variant>> {
    let mut variants: Vec<Variant> = Vec::new();
    for variant in &args.codecs {
        if !variants.contains(variant) {
            variants.push(variant.clone());
        }
    }
    if variants.is_empty() {
        // One piece is no split.
        let splits = len > SPLIT_SIZE as usize;
        let names = DEFAULT.split(' ').filter(|name| splits || !name.ends_with("-split"));
        variants = names.map(Variant::parse).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    }
    Ok(variants)
}

/// One after the other, so that none takes another's time.
fn measure(variants: &[Variant], payload: &Payload<'_>, conditions: Conditions) -> (Vec<Measured>, Vec<Failed>) {
    let (mut measured, mut failed) = (Vec::new(), Vec::new());
    for (variant, number) in variants.iter().zip(1..) {
        let child = Child { variant, payload, conditions };
        let codec = variant.name.clone();
        let run = |direction, stream: &[u8]| {
            let doing = if direction == Direction::Compress { "compressing" } else { "decompressing" };
            let what = format!("{codec}: {doing} (codec {number} of {})", variants.len());
            message::busy(&what, || child.run(direction, stream))
        };
        let both = || -> Result<(usize, Cost, Cost)> {
            let (compress, stream) = run(Direction::Compress, &[])?;
            let (decompress, _) = run(Direction::Decompress, &stream)?;
            Ok((stream.len(), compress, decompress))
        };
        match both() {
            Ok((size, compress, decompress)) => {
                measured.push(Measured { codec, size: size as u64, compress, decompress });
            }
            Err(error) => {
                failed.push(Failed { message: error.root_cause().to_string(), codec: codec.clone() });
                message::error(&error.context(codec));
            }
        }
    }
    (measured, failed)
}
