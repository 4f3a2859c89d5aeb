//! The kernel's own symbol table (CONFIG_KALLSYMS), which a stripped kernel still has.
//!
//! What scripts/kallsyms.c of Linux 2.6.10 to 7.2 writes into `.rodata`, all in the kernel's byte order:
//!
//! * `kallsyms_num_syms`: how many, 32 bits.
//! * `kallsyms_names`: for each symbol a length (one byte; from 6.2 on two, 7 bits each, when the first has its top bit
//!   set) and as many tokens; the first character of the text is `nm`'s class.
//! * `kallsyms_markers`: 32 bits for every 256th symbol, its offset in the names.
//! * `kallsyms_token_table`, `kallsyms_token_index`: 256 texts, and 16 bits for each text's offset.
//! * `kallsyms_offsets`, 32 bits a symbol, and `kallsyms_relative_base`, one word; in kernels without
//!   CONFIG_KALLSYMS_BASE_RELATIVE `kallsyms_addresses` instead, one word a symbol; in 7.2 no base, 64-bit kernels count
//!   each offset from the place where it stands, and 32-bit kernels have addresses.
//!
//! Up to 6.3 the addresses come first, from 6.4 on last. No header leads here: the table of tokens is found by its digits,
//! which are tokens of their own in every kernel, and everything else by what must stand beside it. Nothing is believed that
//! the rest does not confirm: the index fits the tokens, the markers fit the names, the addresses are in order.
//!
//! From 2.6.10 on it is so, with a word for a number of 32 bits up to 4.19; for what was before see [`old`].
//!
//! A kernel that relocates itself (CONFIG_RELOCATABLE of arm64 and RISC-V) may have its base in a RELA table only.

mod image;
mod linked;
mod old;
mod places;

use super::{Elf, banner_in};
use crate::bytes::len64;
pub(super) use image::Image;
pub(super) use linked::base_by_texts;
use places::{Addresses, Places};

/// Kernels begin at a multiple of this.
const PAGE: u64 = 0x1000;
/// No kernel takes more memory than this.
pub(super) const MAX_MEMORY: u64 = 1 << 30;

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSymbol {
    /// Virtual address.
    pub address: u64,
    /// Class letter, as `nm` prints it; `?` of an exported symbol, which has none.
    pub class: u8,
    /// Name.
    pub name: Vec<u8>,
}

impl KernelSymbol {
    /// In the code?
    pub(super) fn is_code(&self) -> bool {
        self.class.eq_ignore_ascii_case(&b't')
    }
}

/// Reads the symbols of a kernel; `None` when there are none.
pub fn kallsyms(elf: &Elf<'_>) -> Option<Vec<KernelSymbol>> {
    let image = Image::new(elf);
    match places::find(&image) {
        Some(places) => symbols(&image, &places),
        None => old::find(&image),
    }
}

/// A flat kernel's symbols, and the address of its first byte where they or its contents tell it.
pub(super) struct FlatSymbols {
    pub(super) symbols: Vec<KernelSymbol>,
    pub(super) base: Option<u64>,
}

/// The same of a flat kernel.
pub(super) fn flat_kallsyms(image: &Image<'_>) -> Option<FlatSymbols> {
    let (mut symbols, are_offsets) = match places::find(image) {
        Some(places) => (symbols(image, &places)?, matches!(places.addresses, Addresses::Distances { .. })),
        None => (old::find(image)?, false),
    };
    if !are_offsets {
        let base = image.base().or_else(|| start(image, &symbols));
        return Some(FlatSymbols { symbols, base });
    }
    let base = linked::base_by_functions(image, &linked::functions(&symbols));
    symbols.iter_mut().for_each(|symbol| symbol.address = symbol.address.wrapping_add(base.unwrap_or(0)));
    Some(FlatSymbols { symbols, base })
}

/// The address of the first byte: by the banner, whose symbol kernels with all their symbols have, by the pointers to texts, or
/// by the names that linker scripts give to the start. Nine of ten functions must then be in the file.
fn start(image: &Image<'_>, symbols: &[KernelSymbol]) -> Option<u64> {
    let named = |name: &[u8]| symbols.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address);
    let len = len64(image.bytes);
    let code = linked::functions(symbols);
    let holds = |base: &u64| {
        let inside = code.iter().filter(|at| at.checked_sub(*base).is_some_and(|offset| offset <= len)).count();
        image.is_address(*base) && base % 4 == 0 && inside > 0 && inside >= code.len() / 10 * 9
    };
    let banner = || named(b"linux_banner")?.checked_sub(u64::try_from(banner_in(image.bytes)?.start).ok()?);
    let starts: [&[u8]; 4] = [b"_text", b"_start", b"_head", b"stext"];
    let by_name = || starts.into_iter().filter_map(named).min();
    let by_texts = || {
        let bases = code.iter().max()?.saturating_sub(len)..=*code.iter().min()?;
        base_by_texts(image, bases)
    };
    banner().filter(holds).or_else(|| by_texts().filter(holds)).or_else(|| by_name().filter(holds))
}

fn symbols(image: &Image<'_>, places: &Places) -> Option<Vec<KernelSymbol>> {
    let mut at = places.names_at;
    let mut symbols = Vec::new();
    for index in 0..places.count {
        let (text, next) = places.tokens.expand(image.bytes, at)?;
        let (class, name) = text.split_first()?;
        let address = places.addresses.address(image, index)?;
        symbols.push(KernelSymbol { address, class: *class, name: name.to_vec() });
        at = next;
    }
    Some(symbols)
}
