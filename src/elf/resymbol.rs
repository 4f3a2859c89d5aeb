//! A symbol table for a kernel that was stripped of it.

use super::encode::{FileHeaderLayout, SectionHeader, Writer, string_table};
use super::kallsyms::KernelSymbol;
use super::raw::{
    SHF_EXECINSTR, SHN_ABS, SHN_LORESERVE, STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, STT_OBJECT,
};
use super::strings::append;
use super::symbols::RawSymbol;
use super::{Elf, Error, Kind, Result};
use crate::bytes::{len64, slice};
use crate::layout::{Plan, Reserver};

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
    if matches!(elf.kind(), Kind::Relocatable) || elf.sections().len() >= usize::from(SHN_LORESERVE) {
        return Err(refuse("it is no linked program, or has too many sections"));
    }
    let end = elf.file_end();
    let old = slice(elf.bytes(), 0, end).ok_or_else(|| refuse("its headers lead beyond its end"))?;
    let too_large = |_: u64| refuse("it is a 32-bit file, and too large for one");
    let (symtab, strtab, locals) = tables(elf, symbols);
    let symtab = symtab.finish().map_err(too_large)?;
    // Old section names, as they stand, with more behind.
    let names = elf.sections().get(elf.names_index()).and_then(|section| elf.contents(section).ok()).unwrap_or(&[0]);
    let mut new_names = names.to_vec();
    let [symtab_name, strtab_name, shstrtab_name] =
        [b".symtab".as_slice(), b".strtab", b".shstrtab"].map(|name| append(&mut new_names, name));

    let symtab_at = end.next_multiple_of(8);
    let strtab_at = symtab_at + len64(&symtab);
    let names_at = strtab_at + len64(&strtab);
    let table_at = (names_at + len64(&new_names)).next_multiple_of(8);

    let mut table = Writer::new(elf.encoder());
    let old_count = elf.layout().section_num.max(1);
    if elf.sections().is_empty() {
        table.section(&SectionHeader::default());
    }
    for section in elf.sections() {
        // A section's name is a slice of the old table: how far in it is stays.
        let name = (section.name.as_ptr().addr()).wrapping_sub(names.as_ptr().addr());
        table.section(&section.header(u32::try_from(name).unwrap_or(0)));
    }
    let header = elf.encoder().symtab_section_header(old_count + 1, locals);
    table.section(&SectionHeader { sh_name: symtab_name, sh_offset: symtab_at, sh_size: len64(&symtab), ..header });
    table.section(&string_table(elf.encoder(), strtab_name, strtab_at, len64(&strtab)));
    table.section(&string_table(elf.encoder(), shstrtab_name, names_at, len64(&new_names)));

    let mut head = Writer::new(elf.encoder());
    let (section_num, shstrtab_index) = (old_count + 3, old_count + 2);
    head.file_header(
        elf.header(),
        &FileHeaderLayout { e_shoff: table_at, section_num, shstrtab_index, ..elf.layout().clone() },
    );
    let head = head.finish().map_err(too_large)?;
    let rest = slice(old, len64(&head), end - len64(&head)).unwrap_or(&[]);
    let mut plan = Reserver::new();
    plan.bytes(head)?;
    plan.bytes(rest)?;
    plan.fill_to(".symtab", symtab_at, 0)?;
    plan.bytes(symtab)?;
    plan.bytes(strtab)?;
    plan.bytes(new_names)?;
    plan.fill_to("the section table", table_at, 0)?;
    plan.bytes(table.finish().map_err(too_large)?)?;
    Ok(plan.finish())
}

/// The symbol table, its strings, and the index of the first global symbol.
fn tables(elf: &Elf<'_>, symbols: &[KernelSymbol]) -> (Writer, Vec<u8>, u32) {
    let places = Places::new(elf);
    let mut strings = vec![0];
    let mut table = Writer::new(elf.encoder());
    table.symbol(&RawSymbol::default());
    let is_local = |symbol: &KernelSymbol| binding(symbol.class) == STB_LOCAL;
    let mut locals = 1;
    for local in [true, false] {
        for (index, symbol) in symbols.iter().enumerate().filter(|(_, symbol)| is_local(symbol) == local) {
            locals += u32::from(local);
            let place = places.of(symbol);
            // Up to the next symbol, as the kernel itself counts (kernel/kallsyms.c, get_symbol_pos).
            let later = symbols.get(index + 1..).unwrap_or(&[]);
            let next = later.iter().map(|next| next.address).find(|next| *next > symbol.address);
            // How large an exported symbol is is not known: what stands behind it may have no name.
            let size = place
                .filter(|_| symbol.class != b'?')
                .map_or(0, |place| next.map_or(place.end, |next| next.min(place.end)).saturating_sub(symbol.address));
            let kind = match (place, symbol.class.to_ascii_lowercase()) {
                // A mapping symbol, or nowhere, or function and variable alike.
                _ if symbol.name.starts_with(b"$") => STT_NOTYPE,
                (None, _) | (_, b'?') => STT_NOTYPE,
                (Some(place), class) if class == b't' || class == b'w' && place.is_code => STT_FUNC,
                (Some(_), _) => STT_OBJECT,
            };
            table.symbol(&RawSymbol {
                name: append(&mut strings, &symbol.name),
                info: binding(symbol.class) << 4 | kind,
                other: 0,
                shndx: place.map_or(SHN_ABS, |place| place.index),
                value: symbol.address,
                size,
            });
        }
    }
    (table, strings, locals)
}

/// Upper case is global, and what is exported; `w` and `v` are weak in either case.
fn binding(class: u8) -> u8 {
    match class {
        b'w' | b'W' | b'v' | b'V' => STB_WEAK,
        class if class.is_ascii_uppercase() || class == b'?' => STB_GLOBAL,
        _ => STB_LOCAL,
    }
}

/// The section that an address is in.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u64,
    end: u64,
    index: u16,
    is_code: bool,
}

struct Places(Vec<Place>);

impl Places {
    fn new(elf: &Elf<'_>) -> Places {
        let alloc = elf.sections().iter().zip(0..).filter(|(section, _)| section.is_alloc() && section.size > 0);
        let mut places: Vec<Place> = alloc
            .map(|(section, index)| Place {
                start: section.addr,
                end: section.addr.saturating_add(section.size),
                index,
                is_code: section.flags & SHF_EXECINSTR != 0,
            })
            .collect();
        places.sort_by_key(|place| (place.start, place.end));
        Places(places)
    }

    /// An address at the very end of a section counts to it when no other begins there: `_etext`, `_end`.
    fn of(&self, symbol: &KernelSymbol) -> Option<Place> {
        // A per-CPU section may overlap others at small addresses; absolute symbols are nowhere.
        if symbol.class.eq_ignore_ascii_case(&b'a') {
            return None;
        }
        let after = self.0.partition_point(|place| place.start <= symbol.address);
        let before = self.0.get(..after)?;
        let inside = before.iter().rev().find(|place| symbol.address < place.end);
        inside.or_else(|| before.iter().rev().find(|place| symbol.address == place.end)).copied()
    }
}
