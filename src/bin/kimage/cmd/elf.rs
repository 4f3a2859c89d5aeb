//! `strip` and `relocs`: what the kernel's build makes of vmlinux before it is compressed.

use crate::args::{Relocs, Strip};
use crate::input::Input;
use crate::output::Output;
use anyhow::{Context, Result};
use kimage::elf::{
    Elf, KERNEL_REMOVES, RelocOptions, RemoveList, StripOptions, list_absolute_relocs, list_absolute_symbols,
    list_relocs,
};
use kimage::payload::{RelocForm, emit_relocs};

pub(crate) fn strip(args: &Strip) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let patterns = KERNEL_REMOVES.iter().copied().chain(args.remove_section.iter().map(String::as_str));
    let options = StripOptions {
        remove: RemoveList::new(patterns).map_err(kimage::Error::from)?,
        debug_only: args.strip_debug,
        smallest: args.smallest,
        max_size: args.max_size,
    };
    let plan = Elf::parse(&input)
        .and_then(|elf| kimage::elf::strip(&elf, &options))
        .map_err(kimage::Error::from)
        .with_context(|| input.name())?;
    let output = Output { path: &args.output, sync: args.sync, is_text: false };
    output.write(plan.len(), |out| Ok(plan.emit(out).map(|_| ())?))
}

pub(crate) fn relocs(args: &Relocs) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let elf = Elf::parse(&input).map_err(kimage::Error::from).with_context(|| input.name())?;
    if args.reloc_info || args.abs_relocs || args.abs_syms {
        let mut text = Vec::new();
        let listed = match (args.abs_syms, args.abs_relocs) {
            (true, _) => list_absolute_symbols(&elf, &mut text),
            (_, true) => list_absolute_relocs(&elf, args.realmode, &mut text),
            _ => list_relocs(&elf, &mut text),
        };
        listed.map_err(kimage::Error::from).with_context(|| input.name())?;
        let output = Output { path: &args.output, sync: args.sync, is_text: true };
        return output.write(text.len() as u64, |out| Ok(out.write_all(&text)?));
    }
    let options = RelocOptions { lists: args.lists, realmode: args.realmode };
    let table = kimage::elf::relocs_with_progress(&elf, options, |bytes| input.forget(bytes))
        .map_err(kimage::Error::from)
        .with_context(|| input.name())?;
    let form = if args.text { RelocForm::Text } else { RelocForm::Binary };
    let output = Output { path: &args.output, sync: args.sync, is_text: args.text };
    output.write(form.len(&table), |out| Ok(emit_relocs(&table, form, out)?))
}
