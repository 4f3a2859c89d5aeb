//! `zoffset.h`, before 2.6.31 `offsets.h`, and `voffset.h`: symbol values as the kernel's build hands them from link to link.
//!
//! The kernel makes them with `nm FILE | sed -n …` (`arch/x86/boot/Makefile`, `arch/x86/boot/compressed/Makefile`). The
//! symbol sets are those of the kernel's age, which its banner tells, in `nm`'s order (by name, bytewise: kbuild sets
//! `LC_COLLATE=C`). From Linux 6.1 on stable releases changed them in mid-series: there, and where no banner is found, the
//! sets are the union of those up to 7.2, so that every line of any of these kernels stands in the output.

use super::{Error, Result};
use crate::assemble::packed_release;
use crate::codec::Codec;
use crate::elf::{self, Elf, numbers};
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
    /// Values as `_AC(…,UL)`, usable from assembly and C, from this release on.
    ac_since: Option<Age>,
    /// The names that a release has of them.
    in_age: fn(&[u8], Age) -> bool,
}

/// A release's numbers.
type Age = (u32, u32, u32);

/// `zoffset.h`, of `arch/x86/boot/compressed/vmlinux`.
pub const ZOFFSET: OffsetHeader = OffsetHeader {
    prefix: "ZO_",
    wants: is_zoffset,
    classes: |class| class.is_ascii_alphabetic(),
    ac_since: None,
    in_age: zoffset_in,
};

/// `offsets.h`, which was there from 2.6.26 on for what is in `zoffset.h` since (`sed-offsets` of arch/x86/boot/Makefile).
const OFFSETS: OffsetHeader = OffsetHeader {
    prefix: "",
    wants: |name| matches!(name, b"input_data" | b"input_data_end"),
    in_age: |_, _| true,
    ..ZOFFSET
};

/// The releases that have it.
const OFFSETS_AGES: std::ops::Range<Age> = (2, 6, 26)..(2, 6, 31);

/// `voffset.h`, of the kernel's own `vmlinux`.
pub const VOFFSET: OffsetHeader = OffsetHeader {
    prefix: "VO_",
    wants: is_voffset,
    classes: |class| "ABbCDGRSTtVW".contains(class),
    ac_since: Some((4, 7, 0)),
    in_age: voffset_in,
};

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
            | b"efi_stub_entry"
    ) || matches!(name, [b'e', b'f', b'i', _, _, rest @ ..] if rest == b"_stub_entry")
        || name.starts_with(b"z_")
}

/// `sed-zoffset` of arch/x86/boot/Makefile.
fn zoffset_in(name: &[u8], age: Age) -> bool {
    match name {
        b"startup_32" | b"input_data" | b"_end" => true,
        b"efi_stub_entry" => ((3, 8, 0)..(3, 15, 0)).contains(&age),
        b"efi_pe_entry" => age >= (3, 8, 0),
        // 6.1 to 6.6 lost it in mid-series.
        b"startup_64" => ((3, 8, 0)..(6, 7, 0)).contains(&age),
        b"_ehead" | b"_text" => age >= (4, 7, 0),
        b"efi32_pe_entry" | b"kernel_info" => age >= (5, 5, 0),
        b"_data" | b"_edata" | b"_sbat" | b"_esbat" => age >= (6, 1, 0),
        name => name.starts_with(b"z_") || age >= (3, 15, 0),
    }
}

/// `sed-voffset` of arch/x86/boot/Makefile, from 4.7 on of arch/x86/boot/compressed/Makefile.
fn voffset_in(name: &[u8], age: Age) -> bool {
    match name {
        b"_text" | b"_end" => true,
        b"__bss_start" => age >= (4, 7, 0),
        _ => age >= (6, 1, 0),
    }
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
    /// Without all zeros in front but one.
    short: bool,
}

impl fmt::Display for OffsetLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OffsetLine { name, value, width, prefix, ac, short } = self;
        let digits = format!("{value:x}");
        if *short && digits.len() < *width && *value != 0 {
            write!(f, "#define {prefix}{name} 0x0{digits}")
        } else if *short {
            write!(f, "#define {prefix}{name} 0x{digits}")
        } else if *ac {
            write!(f, "#define {prefix}{name} _AC(0x{value:0width$x},UL)")
        } else {
            write!(f, "#define {prefix}{name} 0x{value:0width$x}")
        }
    }
}

/// How old a kernel is by its banner, or by that of the kernel which a decompressor has in it. Without one it is a new one.
/// Red Hat's 3.10 has the decompressor of 4.7, which does without `z_extract_offset`.
fn age(elf: &Elf<'_>) -> elf::Result<Age> {
    let packed = || {
        let names = [b".rodata..compressed", &b".rodata.compressed"[..]];
        let section = elf.sections().iter().find(|section| names.contains(&section.name))?;
        let stream = elf.contents(section).ok()?;
        packed_release(Codec::detect(stream)?, stream)
    };
    let symbols: Vec<_> = elf.symbols()?.filter(|symbol| symbol.is_defined()).collect();
    let has = |name: &[u8]| symbols.iter().any(|symbol| symbol.name == name);
    let unknown = if has(b"z_extract_offset") { (2, 6, 31) } else { (u32::MAX, 0, 0) };
    let found = elf.release().or_else(packed).and_then(|release| numbers(&release)).unwrap_or(unknown);
    let is_backport = ((2, 6, 31)..(4, 7, 0)).contains(&found) && has(b"z_input_len") && !has(b"z_extract_offset");
    Ok(if is_backport { (4, 7, 0) } else { found })
}

/// The lines of the header for `elf`, sorted by name. With `only`, those symbols instead of the header's own set.
///
/// # Errors
/// [`elf::Error::NoSymbols`] for a stripped file.
pub fn offsets(elf: &Elf<'_>, header: OffsetHeader, only: Option<&[String]>) -> elf::Result<Vec<OffsetLine>> {
    let age = age(elf)?;
    let is_old = header.prefix == ZOFFSET.prefix && OFFSETS_AGES.contains(&age);
    let header = if is_old { OFFSETS } else { header };
    // Newer kernels than 6.12 have both of these.
    let has_inittext = elf.symbols()?.any(|symbol| symbol.name == b"__inittext_end");
    let wanted = |name: &[u8]| match only {
        Some(names) => names.iter().any(|other| other.as_bytes() == name),
        None => (header.wants)(name) && (header.in_age)(name, age) && (has_inittext || name != b"_sinittext"),
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
                short: is_old,
                ac: header.ac_since.is_some_and(|since| age >= since),
            });
        }
    }
    lines.sort();
    Ok(lines)
}

/// The text of `voffset.h` for `vmlinux`, the kernel's own ELF file: with the symbols `only`, or those that its build has.
///
/// # Errors
/// Those of [`Elf::parse`] for a file that is none, and [`Error::NoSymbols`] when one of `only` is missing, or all of the header's
/// own set.
pub fn voffset_header(vmlinux: &[u8], only: Option<&[String]>) -> Result<String> {
    offset_header(vmlinux, VOFFSET, only)
}

/// The same of `zoffset.h` for `arch/x86/boot/compressed/vmlinux`.
///
/// # Errors
/// As [`voffset_header`].
pub fn zoffset_header(vmlinux: &[u8], only: Option<&[String]>) -> Result<String> {
    offset_header(vmlinux, ZOFFSET, only)
}

fn offset_header(bytes: &[u8], header: OffsetHeader, only: Option<&[String]>) -> Result<String> {
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
        for name in ["xefi32_stub_entry", "_edata2", "az_", "input_data_end"] {
            assert!(!is_zoffset(name.as_bytes()), "{name}");
        }
        let names =
            [&b"startup_64"[..], b"efi_stub_entry", b"efi64_stub_entry", b"_ehead", b"kernel_info", b"_edata", b"z_x"];
        for (age, want) in [
            ((2, 6, 31), [0, 0, 0, 0, 0, 0, 1]),
            ((3, 8, 13), [1, 1, 0, 0, 0, 0, 1]),
            ((3, 15, 5), [1, 0, 1, 0, 0, 0, 1]),
            ((4, 8, 6), [1, 0, 1, 1, 0, 0, 1]),
            ((5, 7, 14), [1, 0, 1, 1, 1, 0, 1]),
            ((7, 2, 0), [0, 0, 1, 1, 1, 1, 1]),
        ] {
            assert_eq!(names.map(|name| u8::from(zoffset_in(name, age))), want, "{age:?}");
        }
    }
}
