//! `system-map`.

use crate::args::SystemMap;
use crate::input::Input;
use crate::message;
use crate::output::Output;
use anyhow::{Context, Result, bail};
use kimage::inspect::{Limits, open};
use kimage::kbuild;

pub(crate) fn system_map(args: &SystemMap) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let output = Output { path: &args.output, sync: args.sync, is_text: true };
    let text = kbuild::system_map(&input).or_else(|_| from_image(&input))?;
    output.write(text.len() as u64, |out| Ok(out.write_all(&text)?))
}

/// What a stripped kernel knows of itself.
fn from_image(input: &Input) -> Result<Vec<u8>> {
    let mut opened = open(input, &Limits::default()).with_context(|| input.name())?;
    let Some(part) = opened.part("vmlinux") else {
        opened.layers().iter().flat_map(|layer| &layer.findings).for_each(message::finding);
        bail!("{}: no kernel was found in it", input.name())
    };
    opened.with_symbols(&part).and_then(|kernel| kernel.system_map()).with_context(|| input.name())
}
