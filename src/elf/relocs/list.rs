//! Listings for people, as the kernel's own tool prints them.

use super::super::raw::SHN_ABS;
use super::super::{Elf, Error, Result};
use super::walk::{Walk, low_half};
use crate::arch::x86::{CONSTANT_SYMBOLS, REALMODE_LINEAR, is_any};
use std::io::Write;

/// Lists every relocation, a line each: section, type, symbol, the symbol's section (`relocs --reloc-info`).
///
/// # Errors
/// As [`super::relocs`]; [`Error::Layout`] with the writer's own error.
pub fn list_relocs(elf: &Elf<'_>, mut out: impl Write) -> Result<()> {
    let walk = Walk::new(elf)?;
    write(&mut out, &[b"reloc section\treloc type\tsymbol\tsymbol section"])?;
    walk.each(
        |entry| {
            let section = walk.section_name(entry.symbol, &walk.symbols.at(entry.symbol)?);
            let kind = walk.kind_name(entry).as_bytes();
            let name = walk.name_of(entry.symbol)?;
            write(&mut out, &[entry.target.name, b"\t", kind, b"\t", name, b"\t", section])
        },
        drop,
    )
}

/// Lists the absolute symbols, a line each: index, value, size, type, binding, visibility, name (`relocs --abs-syms`).
///
/// # Errors
/// [`Error::NoSymbols`] for a stripped file; otherwise as [`list_relocs`].
pub fn list_absolute_symbols(elf: &Elf<'_>, mut out: impl Write) -> Result<()> {
    let walk = Walk::new(elf).map_err(|error| match error {
        Error::NoRelocs => Error::NoSymbols,
        other => other,
    })?;
    write(&mut out, &[b"Absolute symbols"])?;
    write(&mut out, &[b" Num:    Value Size  Type       Bind        Visibility  Name"])?;
    for index in 0..walk.symbols.len() {
        let symbol = walk.symbols.at(index)?;
        if symbol.shndx != SHN_ABS {
            continue;
        }
        let name_in =
            |names: &[&'static str], number: u8, unknown| names.get(usize::from(number)).copied().unwrap_or(unknown);
        let kind = name_in(SYMBOL_TYPES, symbol.kind(), "unknown sym type name");
        let binding = name_in(SYMBOL_BINDINGS, symbol.binding(), "unknown sym bind name");
        let visibility = name_in(SYMBOL_VISIBILITIES, symbol.other & 3, "");
        // The tool prints sizes with their sign.
        let line = if walk.is_64 {
            let size = i64::from_ne_bytes(symbol.size.to_ne_bytes());
            format!("{index:5} {:016x} {size:5} {kind:>10} {binding:>10} {visibility:>12} ", symbol.value)
        } else {
            let size = i32::from_ne_bytes(low_half(symbol.size).to_ne_bytes());
            format!("{index:5} {:08x}  {size:5} {kind:>10} {binding:>10} {visibility:>12} ", symbol.value)
        };
        write(&mut out, &[line.as_bytes(), walk.name_of(index)?])?;
    }
    write(&mut out, &[])
}

const SYMBOL_TYPES: &[&str] =
    &["STT_NOTYPE", "STT_OBJECT", "STT_FUNC", "STT_SECTION", "STT_FILE", "STT_COMMON", "STT_TLS"];
const SYMBOL_BINDINGS: &[&str] = &["STB_LOCAL", "STB_GLOBAL", "STB_WEAK"];
const SYMBOL_VISIBILITIES: &[&str] = &["STV_DEFAULT", "STV_INTERNAL", "STV_HIDDEN", "STV_PROTECTED"];

/// Lists the relocations against absolute symbols of which nothing is known (`relocs --abs-relocs`). `realmode`: of
/// the real-mode trampoline, whose known symbols are others.
///
/// # Errors
/// As [`list_relocs`].
pub fn list_absolute_relocs(elf: &Elf<'_>, realmode: bool, mut out: impl Write) -> Result<()> {
    let walk = Walk::new(elf)?;
    let width = if walk.is_64 { 16 } else { 8 };
    let mut printed = false;
    walk.each(
        |entry| {
            let symbol = walk.symbols.at(entry.symbol)?;
            if symbol.shndx != SHN_ABS {
                return Ok(());
            }
            let name = walk.name_of(entry.symbol)?;
            let is_known = match realmode {
                true => is_any(REALMODE_LINEAR, name),
                false => is_any(CONSTANT_SYMBOLS, name) || walk.moves(name),
            };
            if is_known {
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
        },
        drop,
    )?;
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
