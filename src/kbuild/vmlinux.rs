//! What the kernel's build makes of vmlinux before it is compressed.

use super::Result;
use crate::elf::{
    self, Elf, KERNEL_REMOVES, Kind, RelocOptions, StripOptions, list_absolute_relocs, list_absolute_symbols,
    list_relocs,
};
use crate::layout::Plan;
use crate::payload::{RelocForm, emit_relocs};

/// What can be listed of a vmlinux that was linked with its relocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Every relocation: section, type, symbol, the symbol's section.
    Relocs,
    /// The relocations against absolute symbols.
    AbsoluteRelocs {
        /// Of the real-mode code.
        realmode: bool,
    },
    /// The absolute symbols.
    AbsoluteSymbols,
}

/// `input` as [`elf::strip`] has it: a kernel or another program also without the sections that its build leaves out
/// ([`KERNEL_REMOVES`]), an object file, or each of a static library.
///
/// # Errors
/// [`Error::Image`](super::Error::Image) when it is no ELF file or cannot be stripped.
pub fn strip<'a>(input: &'a [u8], options: &StripOptions) -> Result<Plan<'a>> {
    if let Some(plan) = elf::strip_archive(input, options)? {
        return Ok(plan);
    }
    let elf = Elf::parse(input)?;
    if elf.kind() == Kind::Relocatable {
        return Ok(elf::strip(&elf, options)?);
    }
    let remove = options.remove.clone().and(KERNEL_REMOVES)?;
    Ok(elf::strip(&elf, &StripOptions { remove, ..options.clone() })?)
}

/// The relocation table of `vmlinux` (`vmlinux.relocs`). `done` is told of each part of the file that is not read again.
///
/// # Errors
/// [`Error::Image`](super::Error::Image) when it is no ELF file, has no relocations, or has some that no decompressor can apply.
pub fn relocs<'a>(
    vmlinux: &'a [u8],
    options: RelocOptions,
    form: RelocForm,
    done: impl FnMut(&'a [u8]),
) -> Result<Vec<u8>> {
    let table = elf::relocs_with_progress(&Elf::parse(vmlinux)?, options, done)?;
    let mut bytes = Vec::new();
    emit_relocs(&table, form, &mut bytes)?;
    Ok(bytes)
}

/// `System.map` of `vmlinux`, as [`elf::system_map`] chooses its lines.
///
/// # Errors
/// [`Error::Image`](super::Error::Image) when it is no ELF file, or a stripped one.
pub fn system_map(vmlinux: &[u8]) -> Result<Vec<u8>> {
    let elf = Elf::parse(vmlinux)?;
    Ok(elf::system_map_text(&elf::system_map(&elf)?, elf.is_64()))
}

/// The lines of `listing`, as arch/x86/tools/relocs prints them.
///
/// # Errors
/// As [`relocs`].
pub fn list(vmlinux: &[u8], listing: Listing) -> Result<Vec<u8>> {
    let elf = Elf::parse(vmlinux)?;
    let mut text = Vec::new();
    match listing {
        Listing::Relocs => list_relocs(&elf, &mut text),
        Listing::AbsoluteRelocs { realmode } => list_absolute_relocs(&elf, realmode, &mut text),
        Listing::AbsoluteSymbols => list_absolute_symbols(&elf, &mut text),
    }?;
    Ok(text)
}
