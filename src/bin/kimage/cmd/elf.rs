//! `strip` and `relocs`: what the kernel's build makes of vmlinux before it is compressed.

use crate::args::{Relocs, Strip};
use crate::input::Input;
use crate::output::Output;
use anyhow::{Context, Result};
use kimage::kbuild::{self, Listing, RelocForm, RelocOptions, RemoveList, StripOptions};

pub(crate) fn strip(args: &Strip) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let options = StripOptions {
        remove: RemoveList::new(&args.remove_section).map_err(kimage::Error::from)?,
        debug_only: args.strip_debug || args.strip_unneeded,
        unneeded: args.strip_unneeded,
        smallest: args.smallest,
        max_size: args.max_size,
    };
    let plan = kbuild::strip(&input, &options).with_context(|| input.name())?;
    let output = Output { path: &args.output, sync: args.sync, is_text: false };
    output.write(plan.len(), |out| Ok(plan.emit(out).map(|_| ())?))
}

pub(crate) fn relocs(args: &Relocs) -> Result<()> {
    let input = Input::open(&args.vmlinux)?;
    let listing = match (args.abs_syms, args.abs_relocs, args.reloc_info) {
        (true, ..) => Some(Listing::AbsoluteSymbols),
        (_, true, _) => Some(Listing::AbsoluteRelocs { realmode: args.realmode }),
        (.., true) => Some(Listing::Relocs),
        _ => None,
    };
    let options = RelocOptions { lists: args.lists, realmode: args.realmode };
    let form = if args.text { RelocForm::Text } else { RelocForm::Binary };
    let made = match listing {
        Some(listing) => kbuild::list(&input, listing),
        None => kbuild::relocs(&input, options, form, |bytes| input.forget(bytes)),
    };
    let made = made.with_context(|| input.name())?;
    let output = Output { path: &args.output, sync: args.sync, is_text: listing.is_some() || args.text };
    output.write(made.len() as u64, |out| Ok(out.write_all(&made)?))
}
