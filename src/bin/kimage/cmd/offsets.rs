//! `voffset` and `zoffset`.

use super::common::put_text;
use crate::args::{OffsetOptions, Offsets, ZOffsets};
use crate::input::Input;
use anyhow::{Context, Result};
use kimage::kbuild::{self, voffset_header, zoffset_header};
use std::path::Path;

pub(crate) fn voffset(args: &Offsets) -> Result<()> {
    print(&args.vmlinux, voffset_header, &args.rest)
}

pub(crate) fn zoffset(args: &ZOffsets) -> Result<()> {
    print(&args.compressed_vmlinux, zoffset_header, &args.rest)
}

type Header = fn(&[u8], Option<&[String]>) -> kbuild::Result<String>;

fn print(path: &Path, header: Header, options: &OffsetOptions) -> Result<()> {
    let input = Input::open(path)?;
    let text = header(&input, options.symbols.as_deref()).with_context(|| input.name())?;
    put_text(&options.text, text.as_bytes())
}
