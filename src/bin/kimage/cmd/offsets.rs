//! `voffset` and `zoffset`.

use crate::args::{OffsetOptions, Offsets, ZOffsets};
use crate::input::Input;
use crate::output::Output;
use anyhow::{Context, Result};
use kimage::kbuild::{OffsetHeader, VOFFSET, ZOFFSET, offset_header};
use std::path::Path;

pub(crate) fn voffset(args: &Offsets) -> Result<()> {
    print(&args.vmlinux, VOFFSET, &args.rest)
}

pub(crate) fn zoffset(args: &ZOffsets) -> Result<()> {
    print(&args.compressed_vmlinux, ZOFFSET, &args.rest)
}

fn print(path: &Path, header: OffsetHeader, options: &OffsetOptions) -> Result<()> {
    let input = Input::open(path)?;
    let text = offset_header(&input, header, options.symbols.as_deref()).with_context(|| input.name())?;
    let output = Output { path: &options.output, sync: options.sync, is_text: true };
    output.write(text.len() as u64, |out| Ok(out.write_all(text.as_bytes())?))
}
