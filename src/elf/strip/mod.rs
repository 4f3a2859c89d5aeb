//! `objcopy -S`, `objcopy --strip-debug` and `--strip-unneeded`: the executable without symbols, relocations and debug
//! sections, or an executable, an object file (a kernel module) or each of an archive's without debug sections alone.
//!
//! What comes out is what GNU objcopy 2.40 writes, byte for byte. The rules were found by comparing its outputs, and
//! are told where they are followed: [`keep`] which sections stay, [`segments`] which section is loaded by which
//! program header, [`place`] what goes where in the file, [`headers`] what the headers say, [`symbols`] which of them
//! stay; [`model`] is what they work on; [`groups`] and [`archive`] are of object files alone, [`notes`] of build attributes, [`mips64`] of that CPU's
//! relocations. An input for which one of the rules is not known is refused.
//!
//! Contents are borrowed from the input: a debug section is never looked at.

mod archive;
mod groups;
mod headers;
mod keep;
mod mips64;
mod model;
mod notes;
mod place;
mod segments;
mod symbols;

use super::encode::{SectionHeader, Writer, string_table};
use super::flatten::MOST_ZEROS;
use super::strings::StringTable;
use super::{Elf, Kind, RemoveList, Result, SHT_NOBITS, Section};
use crate::bytes::{Align, len64};
use crate::layout::{Plan, RegionKind, Reserver};
pub(crate) use archive::strip_archive;
use groups::{Group, groups};
use model::{OutputSection, OutputSegment, cannot, ehsize, finish, headers_end, word_align};

/// How to strip.
#[derive(Debug, Clone, Default)]
pub struct StripOptions {
    /// Further sections to leave out.
    pub remove: RemoveList,
    /// Leave out debug sections and debugging symbols only: symbols and relocations stay (`objcopy --strip-debug`).
    pub debug_only: bool,
    /// With `debug_only`: symbols that no relocation needs and that no other file can want go too (`--strip-unneeded`).
    pub unneeded: bool,
    /// Leave out the section headers too: the same segments at the same offsets, and nothing behind them.
    pub smallest: bool,
    /// Refuse a larger output, in bytes; `None` for 64 MiB more than the input.
    pub max_size: Option<u64>,
}

/// Largest product of the numbers of segments and of sections: a damaged file shall not take minutes.
const MAX_PAIRS: usize = 1 << 20;

/// Strips an executable; of an object file nothing but what is for debuggers.
///
/// # Errors
/// [`CannotStrip`](super::Error::CannotStrip) when the file is neither, or built in a way for which objcopy's bytes are not known;
/// [`Field`](super::Error::Field) when a section that stays lies outside of the file.
///
/// # Example
///
/// ```
/// use kimage::elf::{Elf, StripOptions, strip};
///
/// let vmlinux = include_bytes!("../../../testdata/tiny/kernel");
/// let stripped = strip(&Elf::parse(vmlinux)?, &StripOptions::default())?;
/// assert!(stripped.len() < vmlinux.len() as u64);
/// # Ok::<(), kimage::elf::Error>(())
/// ```
pub fn strip<'a>(elf: &Elf<'a>, options: &StripOptions) -> Result<Plan<'a>> {
    let is_object = elf.kind() == Kind::Relocatable && elf.segments().is_empty();
    if is_object && !options.debug_only {
        let why = "it is no linked executable: without its symbols and relocations nobody could link or load it";
        return Err(cannot(why, "leave out debug sections alone (`request.debug_only`)"));
    }
    if !is_object && (!matches!(elf.kind(), Kind::Executable | Kind::Dynamic) || elf.segments().is_empty()) {
        return Err(cannot(
            "it is no linked executable: it has no program headers",
            "give the file as the linker left it",
        ));
    }
    // The smallest is nobody's output but ours.
    if !options.smallest && elf.arch().and_then(|arch| arch.facts().objcopy).is_none() {
        let cpu = elf.arch().map_or_else(|| format!("of ELF machine {}", elf.machine()), |arch| arch.to_string());
        let why = format!("its CPU is {cpu}, for which kimage was never compared with objcopy");
        return Err(cannot(
            why,
            "use the objcopy for this CPU, or `request.smallest`, which keeps what is loaded and no more",
        ));
    }
    if !is_object && elf.layout().e_phoff != ehsize(elf) {
        let why = "its program headers do not follow the ELF header";
        return Err(cannot(why, "use objcopy for this file, or the file as the linker left it"));
    }
    if elf.sections().len() <= 1 {
        return Err(cannot("it has no section headers", "there is nothing left to strip"));
    }
    // Every segment is held against every section: real files have some ten by some hundred.
    if elf.segments().len().saturating_mul(elf.sections().len()) > MAX_PAIRS {
        return Err(cannot("it has too many segments and sections", "use objcopy for this file"));
    }
    let is_shadow = |section: &&Section<'_>| section.kind == SHT_NOBITS && (section.link != 0 || section.info != 0);
    if let Some(section) = elf.sections().iter().find(is_shadow) {
        let why = format!("section {} has lost its contents: this is a separate debug file", section.name());
        return Err(cannot(why, "give the program that it belongs to"));
    }
    let groups = groups(elf)?;
    let mut kept = keep::sections(elf, options, &groups)?;
    let mut made = if options.unneeded { notes::merge(elf, &mut kept)? } else { Vec::new() };
    let mut maps = segments::maps(elf, &kept)?;
    let header_end = headers_end(elf, maps.len());
    let relocs = if options.debug_only { symbols::reloc_sections(elf, &kept)? } else { Vec::new() };
    // Groups come first, and relocations follow their section in the table, though not in the file.
    let mut next = 0_u32;
    for kept in model::table_order(&mut kept) {
        next = next.saturating_add(1);
        kept.new = next;
        kept.relocs = relocs.iter().find(|(_, target)| *target == kept.old).map(|(relocs, _)| *relocs);
        next = next.saturating_add(u32::from(kept.relocs.is_some()));
    }
    made.extend(groups::contents(elf, &groups, &mut kept)?);
    let end = match is_object {
        true => place::in_order(header_end, &mut kept)?,
        false => place::assign(elf, header_end, &mut kept, &mut maps)?,
    };

    let tables = Tables::make(elf, options, &mut kept, (&relocs, &groups), (next, end))?;
    let max = options.max_size.unwrap_or_else(|| len64(elf.bytes()).saturating_add(MOST_ZEROS));
    if tables.headers_at > max {
        let why = format!("the output would be {} bytes, more than {max}", tables.headers_at);
        let help = "its sections lie too far apart: the file is damaged, or needs another linker script; if that much is \
                    right, allow it with `request.max_size`";
        return Err(cannot(why, help));
    }
    let head = headers::head(elf, &maps, if options.smallest { 0 } else { tables.count }, tables.headers_at)?;

    let mut reserver = Reserver::new();
    let start = reserver.at();
    reserver.bytes(head)?;
    reserver.region("headers", start, RegionKind::Header);
    contents(elf, &kept, made, options.smallest.then_some(&maps), &mut reserver)?;
    if !options.smallest {
        tables.emit(&mut reserver)?;
    }
    Ok(reserver.finish())
}

/// What stands behind the last section: symbols, relocations, names, section headers.
struct Tables {
    /// Offset, name and bytes, in file order.
    pieces: Vec<(u64, String, Vec<u8>)>,
    /// Where the section headers are.
    headers_at: u64,
    headers: Vec<u8>,
    /// How many section headers there are.
    count: usize,
}

impl Tables {
    /// `next` is the number of the last section so far, `end` where its contents end.
    fn make<'a>(
        elf: &Elf<'a>,
        options: &StripOptions,
        kept: &mut model::Sections<'a>,
        (relocs, groups): (&[(Section<'a>, usize)], &[Group<'a>]),
        (next, end): (u32, u64),
    ) -> Result<Tables> {
        let symbols = match options.debug_only {
            true => symbols::tables(elf, kept, (relocs, groups), options.unneeded)?,
            false => None,
        };
        let symtab_index = next.saturating_add(1);

        let mut names = StringTable::default();
        // The names of the tables come first.
        let table_names = symbols.as_ref().map(|_| (names.add(b".symtab"), names.add(b".strtab")));
        let own = names.add(b".shstrtab");
        let mut handles = Vec::new();
        for kept in kept.iter() {
            let section = names.add(kept.section.name);
            handles.push((section, kept.relocs.map(|section| names.add(section.name))));
        }
        let names = names.finish().ok_or_else(|| cannot("its section names do not fit 4 GiB", ""))?;

        let mut tail = Tail { word: word_align(elf), at: end, pieces: Vec::new() };
        let mut table = Writer::new(elf.encoder());
        table.section(&SectionHeader::default());
        let mut last = Vec::new();
        let mut reloc_headers = Vec::new();
        let mut signatures = Vec::new();
        let symtab_link = if symbols.is_some() { symtab_index } else { 0 };
        if let (Some(symbols), Some((symtab, strtab))) = (symbols, table_names) {
            let place = tail.put(".symtab", symbols.table, true)?;
            let (name, strings) = (names.offset(symtab), symtab_index.saturating_add(1));
            last.push(headers::symbol_table(elf, name, place, strings, symbols.locals));
            let (at, len) = tail.put(".strtab", symbols.strings, false)?;
            last.push(string_table(elf.encoder(), names.offset(strtab), at, len));
            signatures = symbols.signatures;
            for relocs in symbols.relocs {
                let name = relocs.section.name().into_owned();
                let place = tail.put(&name, relocs.bytes, true)?;
                reloc_headers.push((relocs.target, relocs.section.kind, place));
            }
        }
        let own_name = names.offset(own);
        let mut rows = Vec::new();
        for (kept_section, (name, reloc_name)) in kept.iter().zip(handles) {
            let mut header = headers::section(elf, kept_section, kept, names.offset(name), symtab_link)?;
            if let Some((_, symbol)) = signatures.iter().find(|(group, _)| *group == kept_section.old) {
                (header.sh_link, header.sh_info) = (symtab_index, *symbol);
            }
            rows.push((kept_section.new, header));
            let header = reloc_headers.iter().find(|(target, ..)| *target == kept_section.old);
            if let (Some((_, kind, place)), Some(name)) = (header, reloc_name) {
                let links = (symtab_index, kept_section.new);
                let mut header = headers::relocs(elf, *kind, names.offset(name), *place, links);
                header.sh_flags.0 |= groups::flag_of_relocs(groups, kept_section);
                rows.push((kept_section.new.saturating_add(1), header));
            }
        }
        rows.sort_by_key(|(index, _)| *index);
        rows.iter().for_each(|(_, header)| table.section(header));
        let (at, len) = tail.put(".shstrtab", names.bytes, false)?;
        last.push(string_table(elf.encoder(), own_name, at, len));
        last.iter().for_each(|header| table.section(header));
        let headers_at = tail.word.up(tail.at).ok_or_else(|| cannot("the output would not fit 2^64 bytes", ""))?;
        let count = usize::try_from(next).unwrap_or(usize::MAX).saturating_add(1 + last.len());
        Ok(Tables { pieces: tail.pieces, headers_at, headers: finish(table)?, count })
    }

    fn emit(self, reserver: &mut Reserver<'_>) -> Result<()> {
        for (at, name, bytes) in self.pieces {
            reserver.fill_to("a table", at, 0)?;
            reserver.bytes(bytes)?;
            reserver.region(name, at, RegionKind::Data);
        }
        reserver.fill_to("the section headers", self.headers_at, 0)?;
        reserver.bytes(self.headers)?;
        reserver.region("section headers", self.headers_at, RegionKind::Header);
        Ok(())
    }
}

/// Places tables behind the last section.
struct Tail {
    word: Align,
    at: u64,
    pieces: Vec<(u64, String, Vec<u8>)>,
}

impl Tail {
    /// Adds a table, aligned to a word if it is made of words; returns its offset and size.
    fn put(&mut self, name: &str, bytes: Vec<u8>, words: bool) -> Result<(u64, u64)> {
        let too_long = || cannot("the output would not fit 2^64 bytes", "");
        let at = if words { self.word.up(self.at).ok_or_else(too_long)? } else { self.at };
        let len = len64(&bytes);
        self.at = at.checked_add(len).ok_or_else(too_long)?;
        self.pieces.push((at, name.to_owned(), bytes));
        Ok((at, len))
    }
}

/// Copies the contents, or puts those that were `made` of a section of the input, in the order of the file; with `only`, just those that a segment covers.
fn contents<'a>(
    elf: &Elf<'a>,
    kept: &[OutputSection<'a>],
    mut made: Vec<(usize, Vec<u8>)>,
    only: Option<&Vec<OutputSegment>>,
    reserver: &mut Reserver<'a>,
) -> Result<()> {
    let covered = |kept: &OutputSection<'_>| {
        only.is_none_or(|maps| {
            maps.iter().any(|map| {
                let inside = kept.offset.checked_sub(map.out.offset).is_some_and(|delta| delta < map.out.filesz);
                map.out.filesz > 0 && inside
            })
        })
    };
    let mut order: Vec<&OutputSection<'a>> =
        kept.iter().filter(|kept| kept.section.is_filled() && covered(kept)).collect();
    order.sort_by_key(|kept| kept.offset);
    for kept in order {
        if kept.offset < reserver.at() {
            let name = kept.section.name();
            return Err(cannot(format!("section {name} would lie over the one before it"), ""));
        }
        reserver.fill_to("a section", kept.offset, 0)?;
        match made.iter_mut().find(|(group, _)| *group == kept.old) {
            Some((_, bytes)) => reserver.bytes(std::mem::take(bytes))?,
            None => reserver.bytes(elf.contents(&kept.section)?)?,
        }
        let kind = if kept.section.is_alloc() { RegionKind::Code } else { RegionKind::Data };
        reserver.region(kept.section.name().into_owned(), kept.offset, kind);
    }
    // Without section headers the file must still hold every byte that a program header promises.
    let filled = only.into_iter().flatten().filter(|map| map.out.filesz > 0);
    let end = filled.map(|map| map.out.offset.saturating_add(map.out.filesz)).max();
    if let Some(end) = end.filter(|end| *end > reserver.at()) {
        reserver.fill_to("a segment", end, 0)?;
    }
    Ok(())
}
