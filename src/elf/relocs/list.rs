//! Listings for people, as the kernel's own tool prints them.

use super::super::raw::SHN_ABS;
use super::super::{Elf, Error, Result};
use super::walk::Walk;
use crate::arch::x86::{CONSTANT_SYMBOLS, is_any};
use std::io::Write;

/// Lists every relocation, a line each: section, type, symbol, the symbol's section (`relocs --reloc-info`).
///
/// # Errors
/// As [`super::relocs`]; [`Error::Layout`] with the writer's own error.
pub fn list_relocs(elf: &Elf<'_>, mut out: impl Write) -> Result<()> {
    let walk = Walk::new(elf)?;
    write(&mut out, &[b"reloc section\treloc type\tsymbol\tsymbol section"])?;
    walk.each(|entry| {
        let section = walk.symbols.at(entry.symbol)?.section;
        let kind = walk.kind_name(entry).as_bytes();
        let name = walk.name_of(entry.symbol)?;
        write(&mut out, &[entry.target.name, b"\t", kind, b"\t", name, b"\t", walk.section_name(section)])
    })
}

/// Lists the relocations against absolute symbols of which nothing is known (`relocs --abs-relocs`).
///
/// # Errors
/// As [`list_relocs`].
pub fn list_absolute_relocs(elf: &Elf<'_>, mut out: impl Write) -> Result<()> {
    let walk = Walk::new(elf)?;
    let width = if walk.is_64 { 16 } else { 8 };
    let mut printed = false;
    walk.each(|entry| {
        let symbol = walk.symbols.at(entry.symbol)?;
        if symbol.shndx != SHN_ABS {
            return Ok(());
        }
        let name = walk.name_of(entry.symbol)?;
        if is_any(CONSTANT_SYMBOLS, name) || walk.moves(name) {
            return Ok(());
        }
        if !printed {
            printed = true;
            write(&mut out, &[b"WARNING: Absolute relocations present"])?;
            write(&mut out, &[b"Offset     Info     Type     Sym.Value Sym.Name"])?;
        }
        let (offset, info, kind, value) = (entry.offset, entry.info, walk.kind_name(entry), symbol.value);
        let line = format!("{offset:0width$x} {info:0width$x} {kind:>10} {value:0width$x}  ");
        write(&mut out, &[line.as_bytes(), name])
    })?;
    if printed {
        write(&mut out, &[])?;
    }
    Ok(())
}

fn write(out: &mut impl Write, parts: &[&[u8]]) -> Result<()> {
    let mut line = || {
        parts.iter().try_for_each(|part| out.write_all(part))?;
        out.write_all(b"\n")
    };
    line().map_err(|error| Error::Layout(crate::layout::Error::Write(error)))
}
