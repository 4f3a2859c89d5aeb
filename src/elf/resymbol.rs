//! A symbol table for a kernel that was stripped of it.

use super::kallsyms::KernelSymbol;
use super::raw::{SHF_EXECINSTR, SHN_ABS, STB_LOCAL, STB_WEAK, STT_OBJECT};
use super::{Elf, Error, Kind, Result, Section};
use crate::bytes::{Endian, len64, slice};
use crate::layout::{Plan, Reserver};

const STB_GLOBAL: u8 = 1;
const STT_NOTYPE: u8 = 0;
const STT_FUNC: u8 = 2;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;

/// Writes numbers of a class and byte order.
struct Out {
    bytes: Vec<u8>,
    is_64: bool,
    endian: Endian,
}

impl Out {
    fn new(elf: &Elf<'_>) -> Out {
        Out { bytes: Vec::new(), is_64: elf.is_64(), endian: elf.endian() }
    }

    fn put(&mut self, value: u64, width: usize) {
        let little = value.to_le_bytes();
        let bytes = little.iter().take(width);
        match self.endian {
            Endian::Little => self.bytes.extend(bytes),
            Endian::Big => self.bytes.extend(bytes.rev()),
        }
    }

    fn word(&mut self, value: u64) {
        self.put(value, if self.is_64 { 8 } else { 4 });
    }
}

/// `elf` with `symbols` as its symbol table: all its bytes stay where they are, and `.symtab`, `.strtab`, new section
/// names and a new section table follow. Addresses that no section has become absolute symbols.
///
/// # Errors
/// [`Error::CannotStrip`] when the file has a symbol table already, is no linked program, or would have too many sections.
pub fn with_symbols<'a>(elf: &Elf<'a>, symbols: &[KernelSymbol]) -> Result<Plan<'a>> {
    let refuse = |why: &'static str| Error::CannotStrip { why: why.into(), help: "take the file as it is".into() };
    if elf.symbols().is_ok() {
        return Err(refuse("it has a symbol table already"));
    }
    if matches!(elf.kind(), Kind::Relocatable) || elf.sections().len() >= 0xff00 {
        return Err(refuse("it is no linked program, or has too many sections"));
    }
    let end = elf.file_end();
    let old = slice(elf.bytes(), 0, end).ok_or_else(|| refuse("its headers lead beyond its end"))?;
    let (symtab, strtab, locals) = tables(elf, symbols);
    // Old section names, as they stand, with two more behind.
    let names = elf.sections().get(elf.names_index()).and_then(|section| elf.contents(section).ok()).unwrap_or(&[0]);
    let mut new_names = names.to_vec();
    let name_at = |name: &[u8], names: &mut Vec<u8>| {
        let at = len64(names);
        names.extend_from_slice(name);
        names.push(0);
        at
    };
    let (symtab_name, strtab_name) = (name_at(b".symtab", &mut new_names), name_at(b".strtab", &mut new_names));
    let (shstrtab_name, null_needed) = (name_at(b".shstrtab", &mut new_names), elf.sections().is_empty());

    let symtab_at = end.next_multiple_of(8);
    let strtab_at = symtab_at + len64(&symtab);
    let names_at = strtab_at + len64(&strtab);
    let table_at = (names_at + len64(&new_names)).next_multiple_of(8);
    let old_count = u64::try_from(elf.sections().len()).unwrap_or(0) + u64::from(null_needed);

    let mut table = Out::new(elf);
    let null =
        Section { name: b"", kind: 0, flags: 0, addr: 0, offset: 0, size: 0, link: 0, info: 0, align: 0, entsize: 0 };
    if null_needed {
        header(&mut table, 0, &null);
    }
    for section in elf.sections() {
        // A section's name is a slice of the old table: how far in it is stays.
        let name = (section.name.as_ptr().addr()).wrapping_sub(names.as_ptr().addr());
        header(&mut table, u64::try_from(name).unwrap_or(0), section);
    }
    let entsize = if elf.is_64() { 24 } else { 16 };
    let link = u32::try_from(old_count + 1).unwrap_or(0);
    let align = if elf.is_64() { 8 } else { 4 };
    let size = len64(&symtab);
    let section = Section { kind: SHT_SYMTAB, offset: symtab_at, size, link, info: locals, align, entsize, ..null };
    header(&mut table, symtab_name, &section);
    let section = Section { kind: SHT_STRTAB, offset: strtab_at, size: len64(&strtab), align: 1, ..null };
    header(&mut table, strtab_name, &section);
    let section = Section { kind: SHT_STRTAB, offset: names_at, size: len64(&new_names), align: 1, ..null };
    header(&mut table, shstrtab_name, &section);

    let head = file_header(elf, old, table_at, old_count + 3);
    let rest = slice(old, len64(&head), end - len64(&head)).unwrap_or(&[]);
    let mut plan = Reserver::new();
    plan.bytes(head)?;
    plan.bytes(rest)?;
    plan.fill_to(".symtab", symtab_at, 0)?;
    plan.bytes(symtab)?;
    plan.bytes(strtab)?;
    plan.bytes(new_names)?;
    plan.fill_to("the section table", table_at, 0)?;
    plan.bytes(table.bytes)?;
    Ok(plan.finish())
}

/// The header with the new place, count and names of the section table.
fn file_header(elf: &Elf<'_>, old: &[u8], table_at: u64, count: u64) -> Vec<u8> {
    let (len, shoff, shentsize) = if elf.is_64() { (64, 40, 58) } else { (52, 32, 46) };
    let mut out = Out::new(elf);
    out.bytes.extend_from_slice(slice(old, 0, shoff).unwrap_or(&[]));
    out.word(table_at);
    let at = len64(&out.bytes);
    out.bytes.extend_from_slice(slice(old, at, shentsize - at).unwrap_or(&[]));
    out.put(if elf.is_64() { 64 } else { 40 }, 2);
    out.put(count, 2);
    out.put(count - 1, 2);
    debug_assert_eq!(len64(&out.bytes), len);
    out.bytes
}

fn header(out: &mut Out, name: u64, section: &Section<'_>) {
    out.put(name, 4);
    out.put(section.kind.into(), 4);
    for value in [section.flags, section.addr, section.offset, section.size] {
        out.word(value);
    }
    out.put(section.link.into(), 4);
    out.put(section.info.into(), 4);
    out.word(section.align);
    out.word(section.entsize);
}

/// The symbol table, its strings, and the index of the first global symbol.
fn tables(elf: &Elf<'_>, symbols: &[KernelSymbol]) -> (Vec<u8>, Vec<u8>, u32) {
    let homes = Homes::new(elf);
    let mut strings = vec![0];
    let mut table = Out::new(elf);
    let entry_len = if elf.is_64() { 24 } else { 16 };
    table.bytes.resize(entry_len, 0);
    let is_local = |symbol: &KernelSymbol| binding(symbol.class) == STB_LOCAL;
    let mut locals = 1;
    for local in [true, false] {
        for (index, symbol) in symbols.iter().enumerate().filter(|(_, symbol)| is_local(symbol) == local) {
            locals += u32::from(local);
            let home = homes.of(symbol);
            // Up to the next symbol, as the kernel itself counts (kernel/kallsyms.c, get_symbol_pos).
            let later = symbols.get(index + 1..).unwrap_or(&[]);
            let next = later.iter().map(|next| next.address).find(|next| *next > symbol.address);
            let size =
                home.map_or(0, |home| next.map_or(home.end, |next| next.min(home.end)).saturating_sub(symbol.address));
            let kind = match (home, symbol.class.to_ascii_lowercase()) {
                (Some(home), _) if home.is_code => STT_FUNC,
                (Some(_), _) => STT_OBJECT,
                (None, _) => STT_NOTYPE,
            };
            let name = len64(&strings);
            strings.extend_from_slice(&symbol.name);
            strings.push(0);
            let info = u64::from(binding(symbol.class) << 4 | kind);
            let section = home.map_or(u64::from(SHN_ABS & 0xffff), |home| home.index);
            table.put(name, 4);
            if elf.is_64() {
                table.put(info, 1);
                table.put(0, 1);
                table.put(section, 2);
                table.word(symbol.address);
                table.word(size);
            } else {
                table.word(symbol.address);
                table.word(size);
                table.put(info, 1);
                table.put(0, 1);
                table.put(section, 2);
            }
        }
    }
    (table.bytes, strings, locals)
}

/// Upper case is global; `w` and `v` are weak in either case.
fn binding(class: u8) -> u8 {
    match class {
        b'w' | b'W' | b'v' | b'V' => STB_WEAK,
        class if class.is_ascii_uppercase() => STB_GLOBAL,
        _ => STB_LOCAL,
    }
}

/// The section that an address is in.
#[derive(Debug, Clone, Copy)]
struct Home {
    start: u64,
    end: u64,
    index: u64,
    is_code: bool,
}

struct Homes(Vec<Home>);

impl Homes {
    fn new(elf: &Elf<'_>) -> Homes {
        let alloc = elf.sections().iter().zip(0..).filter(|(section, _)| section.is_alloc() && section.size > 0);
        let mut homes: Vec<Home> = alloc
            .map(|(section, index)| Home {
                start: section.addr,
                end: section.addr.saturating_add(section.size),
                index,
                is_code: section.flags & SHF_EXECINSTR != 0,
            })
            .collect();
        homes.sort_by_key(|home| (home.start, home.end));
        Homes(homes)
    }

    /// An address at the very end of a section counts to it when no other begins there: `_etext`, `_end`.
    fn of(&self, symbol: &KernelSymbol) -> Option<Home> {
        // A per-CPU section may overlap others at small addresses; absolute symbols are nowhere.
        if symbol.class.eq_ignore_ascii_case(&b'a') {
            return None;
        }
        let after = self.0.partition_point(|home| home.start <= symbol.address);
        let before = self.0.get(..after)?;
        let inside = before.iter().rev().find(|home| symbol.address < home.end);
        inside.or_else(|| before.iter().rev().find(|home| symbol.address == home.end)).copied()
    }
}
