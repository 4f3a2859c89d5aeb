//! `System.map`: what `scripts/mksysmap` of the kernel's age leaves of `nm -n vmlinux`.
//!
//! Read: Linux 2.4.18, 2.6.11 to 5.7 (`grep -v`), 6.1 and 7.2 (`sed`). The age is told by the kernel's banner.

use super::facts::numbers;
use super::raw::{STT_FUNC, STT_GNU_IFUNC};
use super::{Elf, KernelSymbol, Result};
use crate::arch::Arch;

/// The symbols of `elf` that its `System.map` has, in its order: by address, then by name; before Linux 2.6 by `sort` in the
/// C locale. A kernel without a banner is taken for a new one.
///
/// # Errors
/// [`Error::NoSymbols`](super::Error::NoSymbols) for a stripped file.
pub(crate) fn system_map(elf: &Elf<'_>) -> Result<Vec<KernelSymbol>> {
    let age = elf.release().and_then(|release| numbers(&release)).unwrap_or((u32::MAX, 0, 0));
    let mut symbols = Vec::new();
    for symbol in elf.symbols()?.filter(|symbol| !symbol.is_debugging()) {
        let class = u8::try_from(elf.nm_class(&symbol)).unwrap_or(b'?');
        // What is undefined comes first in nm's order, and stands in no System.map.
        if symbol.is_defined() && !drops_class(age, class) && !drops_name(age, symbol.name) {
            // nm takes the bit that says Thumb for no part of a function's address (bfd/elf32-arm.c).
            let is_thumb = elf.arch() == Some(Arch::Arm) && matches!(symbol.kind, STT_FUNC | STT_GNU_IFUNC);
            let address = if is_thumb { symbol.value & !1 } else { symbol.value };
            symbols.push(KernelSymbol { address, class, name: symbol.name.to_vec() });
        }
    }
    if age < (2, 6, 0) {
        symbols.sort_by(|a, b| (a.address, a.class, &a.name).cmp(&(b.address, b.class, &b.name)));
    } else {
        symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
    }
    Ok(symbols)
}

/// `[aNUw]`; `[aUw]` up to 2.6.25.
fn drops_class(age: (u32, u32, u32), class: u8) -> bool {
    matches!(class, b'a' | b'U' | b'w') || class == b'N' && age >= (2, 6, 26)
}

fn drops_name(age: (u32, u32, u32), name: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
    let begins = |parts: &[&[u8]]| parts.iter().any(|part| name.starts_with(part));
    let ends = |parts: &[&[u8]]| parts.iter().any(|part| name.ends_with(part));
    if age < (2, 6, 0) {
        return has(b"compiled") || ends(&[b".o", b"..ng"]) || has(b"LASHRDI") || has(b"LASHLDI");
    }
    if age < (6, 3, 0) {
        let local = match age {
            (..=3, ..) | (4, 0, _) => false,
            // A dot too few in the pattern ` .L` took whatever has an L second.
            (4, ..) | (5, 0..=6, _) => name.get(1) == Some(&b'L'),
            (5, ..) | (6, 0, _) => name.starts_with(b".L"),
            _ => begins(&[b".L", b"L0"]),
        };
        return local || has(b"__crc_") || begins(&[b"$a", b"$d", b"$t"]);
    }
    begins(PREFIXES)
        || ends(&[b"_from_arm", b"_from_thumb", b"_veneer"])
        || matches!(name, b"L0" | b"_SDA_BASE_" | b"_SDA2_BASE_")
        || has(b".long_branch.")
        || has(b".plt_branch.")
        || is_thunk(name)
}

/// Local labels, of the kernel's own namespaces too; type identifiers of CFI, checksums and texts of exports, tables for
/// modules.
const PREFIXES: &[&[u8]] = &[
    b"$",
    b".L",
    b"__efistub_",
    b"__pi_$",
    b"__pi_.L",
    b"__kvm_nvhe_$",
    b"__kvm_nvhe_.L",
    b"__kcfi_typeid_",
    b"__kvm_nvhe___kcfi_typeid_",
    b"__pi___kcfi_typeid_",
    b"__crc_",
    b"__kstrtab_",
    b"__kstrtabns_",
    b"__mod_device_table__",
    b"__UNIQUE_ID_modinfo",
];

/// What lld makes to reach far code: `__ARMv7ABSLongThunk_…`.
fn is_thunk(name: &[u8]) -> bool {
    let word = name.strip_prefix(b"__").map(|rest| rest.split(|byte| !byte.is_ascii_alphanumeric()).next());
    word.flatten().is_some_and(|word| word.ends_with(b"Thunk") && name.get(word.len() + 2) == Some(&b'_'))
}

/// The lines of `System.map`, as `nm` prints them for a 32- or 64-bit file.
pub(crate) fn system_map_text(symbols: &[KernelSymbol], is_64: bool) -> Vec<u8> {
    let width = if is_64 { 16 } else { 8 };
    let mut text = Vec::new();
    for KernelSymbol { address, class, name } in symbols {
        text.extend(format!("{address:0width$x} {} ", char::from(*class)).bytes());
        text.extend(name.iter().chain(b"\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_age_leaves_out() {
        let ages = [(2, 4, 18), (2, 6, 11), (2, 6, 26), (4, 2, 0), (5, 7, 0), (6, 1, 0), (6, 12, 0)];
        let dropped = |name: &[u8]| ages.map(|age| u8::from(drops_name(age, name)));
        assert_eq!(dropped(b"start_kernel"), [0; 7]);
        assert_eq!(dropped(b"gcc2_compiled."), [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(dropped(b"init.o"), [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(dropped(b"$a"), [0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(dropped(b"x__crc_y"), [0, 1, 1, 1, 1, 1, 0]);
        assert_eq!(dropped(b".L3"), [0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(dropped(b"xLs"), [0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(dropped(b"L0x"), [0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(dropped(b"L0"), [0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(dropped(b"__ARMv7ABSLongThunk_x"), [0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(dropped(b"__UNIQUE_ID_modinfo_12"), [0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((drops_class((2, 6, 11), b'N'), drops_class((2, 6, 26), b'N')), (false, true));
    }
}
