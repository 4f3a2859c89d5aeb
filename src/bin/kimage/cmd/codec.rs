//! `compress` and `decompress`: filters, to standard output unless a file is named.

use crate::args::{Compress, Decompress};
use crate::input::Input;
use crate::message;
use crate::output::Output;
use anyhow::{Context, Result, anyhow};
use kimage::codec::{self, Codec, Parameters, SPLIT_SIZE, size_trailer};
use kimage::finding::Finding;
use kimage::report::{CODEC_TRAILER, CODEC_TRAILING};
use std::io::{self, Write};

pub(crate) fn compress(args: &Compress) -> Result<()> {
    let input = Input::open(&args.file)?;
    let codec = args.codec;
    let parameters = args.options.over(Parameters::default());
    let trailer = match args.with_size && codec != Codec::Gzip {
        true => Some(size_trailer(input.len() as u64).map_err(kimage::Error::from).with_context(|| input.name())?),
        false => None,
    };
    let output = Output { path: &args.output, sync: args.filter.sync, is_text: codec == Codec::None };
    let len = output.write(input.len() as u64, |out| {
        let mut out = Counted { out, len: 0 };
        codec.compress(&input, &parameters, &mut out).map_err(kimage::Error::from)?;
        out.write_all(trailer.as_ref().map_or(&[], |trailer| trailer))?;
        Ok(out.len)
    })?;
    if args.filter.quiet {
        return Ok(());
    }
    if args.options.split {
        let count = input.len().div_ceil(SPLIT_SIZE as usize).max(1);
        let pieces = if count == 1 { "1 piece".to_owned() } else { format!("{count} pieces of 16 MiB") };
        let cost = if args.split_cost {
            let mut whole = Counted { out: io::sink(), len: 0 };
            let parameters = Parameters { split: false, ..parameters };
            codec.compress(&input, &parameters, &mut whole).map_err(kimage::Error::from)?;
            let whole = whole.len + trailer.map_or(0, |trailer| trailer.len() as u64);
            let percent = (len as f64 / whole as f64 - 1.0) * 100.0;
            format!("{percent:+.2} percent ({:+} bytes) against one piece", len as i64 - whole as i64)
        } else if count == 1 {
            "data of up to 16 MiB is not split".to_owned()
        } else {
            // See SPLIT_SIZE.
            let cost = if codec == Codec::Xz { "0.15 to 0.25" } else { "0.07 to 0.17" };
            format!("whole x86-64 kernels grew by {cost} percent; --split-cost measures this one")
        };
        message::line(&format!("{pieces}: {cost}"));
    }
    if !output.is_stdout() {
        let percent = match input.len() {
            0 => String::new(),
            before => format!(" ({:.1} percent)", len as f64 / before as f64 * 100.0),
        };
        message::line(&format!("{}: {} bytes to {len}{percent}", codec.name(), input.len()));
        message::line(&format!("{} is ready", output.name()));
    }
    Ok(())
}

pub(crate) fn decompress(args: &Decompress) -> Result<()> {
    let input = Input::open(&args.file)?;
    let codec = Codec::identify(&input).map_err(kimage::Error::from).with_context(|| input.name())?;
    let output = Output { path: &args.output, sync: args.filter.sync, is_text: false };
    // How much comes out is known only at the end.
    let mut damaged = None;
    let written = output.write(input.len() as u64, |mut out| {
        let inflated = codec.decompress(&input, args.limit, &mut out);
        inflated.map_err(|error| match error {
            codec::Error::Write(_) => kimage::Error::from(error).into(),
            error => {
                damaged = Some(error);
                anyhow!("the input is damaged")
            }
        })
    });
    // What is wrong with the input is no fault of the output.
    let inflated = match damaged {
        Some(error) => return Err(kimage::Error::from(error)).with_context(|| input.name()),
        None => written?,
    };
    if args.filter.quiet {
        return Ok(());
    }
    let consumed = usize::try_from(inflated.consumed).unwrap_or(usize::MAX);
    let behind = input.get(consumed..).unwrap_or_default();
    if !behind.is_empty() {
        message::finding(&trailing(codec, behind, consumed, inflated.produced));
    }
    if !output.is_stdout() {
        message::line(&format!("{}: {consumed} bytes to {}", codec.name(), inflated.produced));
        message::line(&format!("{} is ready", output.name()));
    }
    Ok(())
}

/// What is behind the stream: the kernel's size trailer, or who knows.
fn trailing(codec: Codec, behind: &[u8], at: usize, produced: u64) -> Finding {
    if let Ok(trailer) = <[u8; 4]>::try_from(behind) {
        let says = u32::from_le_bytes(trailer);
        if u64::from(says) == produced & u64::from(u32::MAX) {
            let message = format!("the 4 bytes at offset {at:#x} are the kernel's size trailer: {says}");
            return CODEC_TRAILER.finding(message);
        }
        let message = format!(
            "4 bytes follow the {} stream, at offset {at:#x}: {says:#x}, not the {produced} of its data",
            codec.name()
        );
        return CODEC_TRAILING.finding(message);
    }
    let first: Vec<String> = behind.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let count = behind.len();
    let message = format!(
        "{count} {} the {} stream, at offset {at:#x}: {}{}",
        if count == 1 { "byte follows" } else { "bytes follow" },
        codec.name(),
        first.join(" "),
        if count > 8 { " ..." } else { "" }
    );
    CODEC_TRAILING.finding(message)
}

/// Counts what passes through.
struct Counted<W> {
    out: W,
    len: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.len += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
