//! `voffset` and `zoffset`.

use crate::args::{OffsetOptions, Offsets, ZOffsets};
use crate::input::Input;
use crate::output::Output;
use anyhow::{Context, Result, bail};
use kimage::elf::Elf;
use kimage::kbuild::{OffsetHeader, VOFFSET, ZOFFSET, offsets};
use std::fmt::Write;
use std::path::Path;

pub(crate) fn voffset(args: &Offsets) -> Result<()> {
    print(&args.vmlinux, VOFFSET, &args.rest)
}

pub(crate) fn zoffset(args: &ZOffsets) -> Result<()> {
    print(&args.compressed_vmlinux, ZOFFSET, &args.rest)
}

fn print(path: &Path, header: OffsetHeader, options: &OffsetOptions) -> Result<()> {
    let input = Input::open(path)?;
    let lines = Elf::parse(&input)
        .and_then(|elf| offsets(&elf, header, options.symbols.as_deref()))
        .map_err(kimage::Error::from)
        .with_context(|| input.name())?;
    let missing: Vec<&str> = options
        .symbols
        .iter()
        .flatten()
        .map(String::as_str)
        .filter(|name| lines.iter().all(|line| line.name != *name))
        .collect();
    if !missing.is_empty() {
        bail!("{}: the symbol table has no {}", input.name(), missing.join(", "));
    }
    if lines.is_empty() {
        bail!("{}: none of the symbols of this header is in the symbol table", input.name());
    }
    let mut text = String::new();
    for line in &lines {
        writeln!(text, "{line}")?;
    }
    let output = Output { path: &options.output, sync: options.sync, is_text: true };
    output.write(text.len() as u64, |out| Ok(out.write_all(text.as_bytes())?))
}
