//! `system-map`.

use super::common::{put_text, undamaged};
use crate::args::SystemMap;
use crate::input::Input;
use crate::message;
use anyhow::{Context, Result, bail};
use kimage::inspect::{Limits, open};
use kimage::kbuild;

pub(crate) fn system_map(args: &SystemMap) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let text = kbuild::system_map(&input).or_else(|_| from_image(&input))?;
    put_text(&args.text, &text)
}

/// What a stripped kernel knows of itself.
fn from_image(input: &Input) -> Result<Vec<u8>> {
    let mut opened = open(input, &Limits::default()).with_context(|| input.name())?;
    let Some(part) = opened.part("vmlinux") else {
        opened.layers().iter().flat_map(|layer| &layer.findings).for_each(message::finding);
        bail!("{}: no kernel was found in it", input.name())
    };
    undamaged(&opened, &part).with_context(|| input.name())?;
    opened.with_symbols(&part).and_then(|kernel| kernel.system_map()).with_context(|| input.name())
}
