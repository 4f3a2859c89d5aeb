//! `strip`: ELF in, ELF out.

use crate::args::Strip;
use crate::input::Input;
use crate::output::Output;
use anyhow::{Context, Result};
use kimage::elf::{Elf, KERNEL_REMOVES, RemoveList, StripOptions};

pub(crate) fn strip(args: &Strip) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let patterns = KERNEL_REMOVES.iter().copied().chain(args.remove_section.iter().map(String::as_str));
    let options =
        StripOptions { remove: RemoveList::new(patterns).map_err(kimage::Error::from)?, smallest: args.smallest };
    let plan = Elf::parse(&input)
        .and_then(|elf| kimage::elf::strip(&elf, &options))
        .map_err(kimage::Error::from)
        .with_context(|| input.name())?;
    let output = Output { path: &args.output, sync: args.sync, is_text: false };
    output.write(plan.len(), |out| Ok(plan.emit(out).map(|_| ())?))
}
