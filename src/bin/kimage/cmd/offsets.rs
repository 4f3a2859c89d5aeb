//! `voffset` and `zoffset`.

use super::common::put_text;
use crate::args::{OffsetOptions, Offsets, ZOffsets};
use crate::input::Input;
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
    put_text(&options.text, text.as_bytes())
}
