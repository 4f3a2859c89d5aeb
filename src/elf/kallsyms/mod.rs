//! The kernel's own symbol table (CONFIG_KALLSYMS), which a stripped kernel still has.
//!
//! What scripts/kallsyms.c of Linux 4.6 to 7.2 writes into `.rodata`, all in the kernel's byte order:
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
//! A kernel that relocates itself (CONFIG_RELOCATABLE of arm64 and RISC-V) may have its base in a RELA table only.

mod image;
mod linked;
mod places;

use super::Elf;
use crate::bytes::Endian;
use image::Image;
use places::{Addresses, Places};

/// Kernels begin at a multiple of this.
const PAGE: u64 = 0x1000;

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSymbol {
    /// Virtual address.
    pub address: u64,
    /// Class letter, as `nm` prints it.
    pub class: u8,
    /// Name.
    pub name: Vec<u8>,
}

/// Reads the symbols of a kernel; `None` when there are none.
pub fn kallsyms(elf: &Elf<'_>) -> Option<Vec<KernelSymbol>> {
    let image = Image::new(elf);
    symbols(&image, &places::find(&image)?)
}

/// The same of a flat kernel, of this byte order and class, with the address of its first byte where that was needed to
/// read them. When nothing tells it and tables count from their own place, the symbols' addresses are offsets in the file.
pub(super) fn flat_kallsyms(bytes: &[u8], endian: Endian, is_64: bool) -> Option<(Vec<KernelSymbol>, Option<u64>)> {
    let image = Image::flat(bytes, endian, is_64);
    let places = places::find(&image)?;
    let mut symbols = symbols(&image, &places)?;
    if !matches!(places.addresses, Addresses::Distances { .. }) {
        return Some((symbols, image.base()));
    }
    let base = linked::base_by_pointers(&image, &symbols);
    symbols.iter_mut().for_each(|symbol| symbol.address = symbol.address.wrapping_add(base.unwrap_or(0)));
    Some((symbols, base))
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
