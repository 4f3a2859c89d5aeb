//! The functions by which a kernel starts what is built into it (`initcall_levels`, init/main.c): a table for each level,
//! bounded by symbols (include/asm-generic/vmlinux.lds.h, `INIT_CALLS`, Linux 2.6 to 7.2).
//!
//! An entry is the function's address, or, with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (4.19 on), its distance from the entry.

use super::{Elf, KernelSymbol, PT_LOAD};
use crate::bytes::{Cursor, slice};
use std::collections::BTreeMap;

/// In the kernel's order; before Linux 3.4 there are none but the first and the end.
const LEVELS: [(&str, &str); 10] = [
    ("early", "__initcall_start"),
    ("0", "__initcall0_start"),
    ("1", "__initcall1_start"),
    ("2", "__initcall2_start"),
    ("3", "__initcall3_start"),
    ("4", "__initcall4_start"),
    ("5", "__initcall5_start"),
    ("rootfs", "__initcallrootfs_start"),
    ("6", "__initcall6_start"),
    ("7", "__initcall7_start"),
];
const END: &str = "__initcall_end";

/// A line for each: address, level and name, in the order in which they are called. `None` where the symbols do not bound
/// the table, or an entry leads to no function among them.
pub(crate) fn initcalls(elf: &Elf<'_>, symbols: &[KernelSymbol]) -> Option<Vec<u8>> {
    let find = |name: &str| symbols.iter().find(|symbol| symbol.name == name.as_bytes()).map(|symbol| symbol.address);
    let end = find(END)?;
    let levels: Vec<(&str, u64)> = LEVELS.iter().filter_map(|(level, name)| Some((*level, find(name)?))).collect();
    let start = levels.first().map(|level| level.1)?;
    let mut load = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
    let load = load.find(|it| start.checked_sub(it.vaddr).is_some_and(|inside| inside < it.filesz))?;
    let table = slice(elf.bytes(), load.offset.checked_add(start - load.vaddr)?, end.checked_sub(start)?)?;
    let functions = symbols.iter().filter(|symbol| symbol.is_code());
    let functions: BTreeMap<u64, &[u8]> = functions.map(|symbol| (symbol.address, &*symbol.name)).collect();
    let cursor = Cursor::new(table, elf.endian());
    // The lowest bit tells Thumb code.
    let function = |address: u64| {
        let found = [address, address & !1].into_iter().find(|address| functions.contains_key(address))?;
        functions.get(&found).map(|name| (found, *name))
    };
    let word = if elf.is_64() { 8 } else { 4 };
    let by_distance = |at: u64| {
        let distance = i32::from_ne_bytes(cursor.u32("initcall", at).ok()?.to_ne_bytes());
        let address = start.wrapping_add(at).wrapping_add_signed(distance.into());
        function(if elf.is_64() { address } else { address & u64::from(u32::MAX) })
    };
    let by_address = |at: u64| match elf.is_64() {
        true => function(cursor.u64("initcall", at).ok()?),
        false => function(cursor.u32("initcall", at).ok()?.into()),
    };
    let places = |step: u64| (0..(end - start) / step).map(move |index| index * step);
    let entries = places(4).map(|at| Some((at, by_distance(at)?))).collect::<Option<Vec<_>>>();
    let entries = entries.or_else(|| places(word).map(|at| Some((at, by_address(at)?))).collect())?;
    let mut text = Vec::new();
    for (at, (address, name)) in entries {
        let level = levels.iter().rev().find(|(_, from)| *from <= start + at).filter(|_| levels.len() > 1);
        let width = 2 * usize::from(if elf.is_64() { 8_u8 } else { 4 });
        text.extend(format!("{address:0width$x} {} ", level.map_or("-", |level| level.0)).bytes());
        text.extend(name.iter().chain(b"\n"));
    }
    Some(text)
}
