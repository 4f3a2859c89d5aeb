//! `zoffset.h` and `voffset.h`: symbol values as the kernel's build hands them from link to link.
//!
//! The kernel makes them with `nm FILE | sed -n …` (`arch/x86/boot/Makefile`, `arch/x86/boot/compressed/Makefile`). The
//! symbol sets here are the union of those of Linux 5.10 to 7.2, so every line of any of these kernels stands in the
//! output, in `nm`'s order (by name, bytewise: kbuild sets `LC_COLLATE=C`).

use super::{Error, Result};
use crate::elf::{self, Elf};
use std::fmt;

/// Which header.
#[derive(Debug, Clone, Copy)]
pub struct OffsetHeader {
    /// What every name is prefixed with.
    prefix: &'static str,
    /// Symbols that belong in it.
    wants: fn(&[u8]) -> bool,
    /// Letters of `nm` that belong in it.
    classes: fn(char) -> bool,
    /// Values as `_AC(…,UL)`, usable from assembly and C.
    ac: bool,
}

/// `zoffset.h`, of `arch/x86/boot/compressed/vmlinux`.
pub const ZOFFSET: OffsetHeader =
    OffsetHeader { prefix: "ZO_", wants: is_zoffset, classes: |class| class.is_ascii_alphabetic(), ac: false };

/// `voffset.h`, of the kernel's own `vmlinux`.
pub const VOFFSET: OffsetHeader =
    OffsetHeader { prefix: "VO_", wants: is_voffset, classes: |class| "ABbCDGRSTtVW".contains(class), ac: true };

fn is_zoffset(name: &[u8]) -> bool {
    matches!(
        name,
        b"startup_32"
            | b"startup_64"
            | b"efi_pe_entry"
            | b"efi32_pe_entry"
            | b"input_data"
            | b"kernel_info"
            | b"_end"
            | b"_ehead"
            | b"_text"
            | b"_data"
            | b"_edata"
            | b"_sbat"
            | b"_esbat"
    ) || matches!(name, [b'e', b'f', b'i', _, _, rest @ ..] if rest == b"_stub_entry")
        || name.starts_with(b"z_")
}

fn is_voffset(name: &[u8]) -> bool {
    matches!(name, b"_text" | b"__bss_start" | b"_end" | b"__start_rodata" | b"_sinittext" | b"__inittext_end")
}

/// One `#define`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetLine {
    /// The symbol's name, without prefix.
    pub name: String,
    /// Its value.
    pub value: u64,
    /// Hexadecimal digits that `nm` prints: 8 for 32-bit files, 16 for 64-bit ones.
    pub width: usize,
    prefix: &'static str,
    ac: bool,
}

impl fmt::Display for OffsetLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OffsetLine { name, value, width, prefix, ac } = self;
        if *ac {
            write!(f, "#define {prefix}{name} _AC(0x{value:0width$x},UL)")
        } else {
            write!(f, "#define {prefix}{name} 0x{value:0width$x}")
        }
    }
}

/// The lines of the header for `elf`, sorted by name. With `only`, those symbols instead of the header's own set.
///
/// # Errors
/// [`elf::Error::NoSymbols`] for a stripped file.
pub fn offsets(elf: &Elf<'_>, header: OffsetHeader, only: Option<&[String]>) -> elf::Result<Vec<OffsetLine>> {
    let wanted = |name: &[u8]| match only {
        Some(names) => names.iter().any(|other| other.as_bytes() == name),
        None => (header.wants)(name),
    };
    let mut lines = Vec::new();
    for symbol in elf.symbols()? {
        if symbol.is_defined()
            && !symbol.is_debugging()
            && wanted(symbol.name)
            && (only.is_some() || (header.classes)(elf.nm_class(&symbol)))
        {
            lines.push(OffsetLine {
                name: String::from_utf8_lossy(symbol.name).into_owned(),
                value: symbol.value,
                width: if elf.is_64() { 16 } else { 8 },
                prefix: header.prefix,
                ac: header.ac,
            });
        }
    }
    lines.sort();
    Ok(lines)
}

/// The text of the header for the ELF file `bytes`, as [`offsets`].
///
/// # Errors
/// As [`offsets`], and [`Error::NoSymbols`] when one of `only` is missing, or all of the header's own set.
pub fn offset_header(bytes: &[u8], header: OffsetHeader, only: Option<&[String]>) -> Result<String> {
    let lines = offsets(&Elf::parse(bytes)?, header, only)?;
    let is_missing = |name: &&String| lines.iter().all(|line| line.name != **name);
    let names: Vec<String> = only.unwrap_or_default().iter().filter(is_missing).cloned().collect();
    if !names.is_empty() || lines.is_empty() {
        return Err(Error::NoSymbols { names });
    }
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_sets() {
        for name in ["efi32_stub_entry", "efi64_stub_entry", "z_input_len", "_esbat", "_data"] {
            assert!(is_zoffset(name.as_bytes()), "{name}");
        }
        for name in ["efi_stub_entry", "xefi32_stub_entry", "_edata2", "az_", "input_data_end"] {
            assert!(!is_zoffset(name.as_bytes()), "{name}");
        }
    }
}
