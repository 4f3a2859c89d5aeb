//! `objcopy -S`: the executable without symbols, relocations and debug sections.
//!
//! What comes out is what GNU objcopy 2.40 writes, byte for byte. The rules were found by comparing its outputs, and
//! are told where they are followed: [`keep`] which sections stay, [`segments`] which section is loaded by which
//! program header, [`place`] what goes where in the file, [`headers`] what the headers say. An input for which one of
//! the rules is not known is refused.
//!
//! Contents are borrowed from the input: a debug section is never looked at.

mod headers;
mod keep;
mod place;
mod segments;

use super::raw::SHT_NULL;
use super::strings::StringTable;
use super::{Elf, Error, Kind, RemoveList, Result, SHT_NOBITS, Section};
use crate::bytes::{Align, len64};
use crate::layout::{Plan, RegionKind, Reserver};
use std::borrow::Cow;

/// How to strip.
#[derive(Debug, Clone, Default)]
pub struct StripOptions {
    /// Further sections to leave out.
    pub remove: RemoveList,
    /// Leave out the section headers too: the same segments at the same offsets, and nothing behind them.
    pub smallest: bool,
}

/// A section of the output.
#[derive(Debug, Clone, Copy)]
struct Kept<'a> {
    /// As it stands in the input.
    section: Section<'a>,
    /// Its index in the input's table.
    old: usize,
    /// Its load address.
    lma: u64,
    /// Its offset in the output.
    offset: u64,
}

impl Kept<'_> {
    /// Allocated, with bytes in the file.
    fn is_load(&self) -> bool {
        self.section.is_alloc() && self.section.kind != SHT_NOBITS
    }

    /// `sh_addralign` of the output: the next power of two.
    fn align(&self) -> Align {
        self.section.align.checked_next_power_of_two().and_then(Align::new).unwrap_or(Align::ONE)
    }
}

/// The sections that kernels carry for `modinfo` and `objcopy` alone, and that their own build leaves out of the
/// payload: `.comment` always, `.modinfo` since it is kept in `vmlinux.unstripped` (Linux 6.18,
/// scripts/Makefile.vmlinux).
pub const KERNEL_REMOVES: [&str; 2] = [".comment", ".modinfo"];

/// Strips an executable.
///
/// # Errors
/// [`Error::CannotStrip`] when the file is no executable, or built in a way for which objcopy's bytes are not known;
/// [`Error::Field`] when a section that stays lies outside of the file.
pub fn strip<'a>(elf: &Elf<'a>, options: &StripOptions) -> Result<Plan<'a>> {
    if !matches!(elf.kind(), Kind::Executable | Kind::Dynamic) || elf.segments().is_empty() {
        return Err(cannot(
            "it is no linked executable: it has no program headers",
            "give the file as the linker left it",
        ));
    }
    if elf.program_headers_at() != headers::ehsize(elf) {
        let why = "its program headers do not follow the ELF header";
        return Err(cannot(why, "use objcopy for this file, or the file as the linker left it"));
    }
    if elf.sections().len() <= 1 {
        return Err(cannot("it has no section headers", "there is nothing left to strip"));
    }
    let is_shadow = |section: &&Section<'_>| section.kind == SHT_NOBITS && (section.link != 0 || section.info != 0);
    if let Some(section) = elf.sections().iter().find(is_shadow) {
        let why = format!("section {} has lost its contents: this is a separate debug file", section.name());
        return Err(cannot(why, "give the program that it belongs to"));
    }
    let mut kept = keep::sections(elf, &options.remove)?;
    let mut maps = segments::maps(elf, &kept)?;
    let header_end = headers::end(elf, maps.len());
    let end = place::assign(elf, header_end, &mut kept, &mut maps)?;

    let mut names = StringTable::default();
    // The table's own name comes first, as those of all tables do.
    let own = names.add(b".shstrtab");
    let handles: Vec<_> = kept.iter().map(|kept| names.add(kept.section.name)).collect();
    let names = names.finish().ok_or_else(|| cannot("its section names do not fit 4 GiB", ""))?;
    let table_at = headers::word_align(elf)
        .up(end.saturating_add(len64(&names.bytes)))
        .ok_or_else(|| cannot("the output would not fit 2^64 bytes", ""))?;

    let mut table = headers::Writer::new(elf);
    if !options.smallest {
        table.section(&headers::Raw::null())?;
        for (kept_section, handle) in kept.iter().zip(&handles) {
            table.section(&headers::section(elf, kept_section, &kept, names.offset(*handle))?)?;
        }
        table.section(&headers::string_table(names.offset(own), end, len64(&names.bytes)))?;
    }
    let count = if options.smallest { 0 } else { kept.len() + 2 };
    let head = headers::head(elf, &maps, count, table_at)?;

    let mut reserver = Reserver::new();
    let start = reserver.at();
    reserver.bytes(head)?;
    reserver.region("headers", start, RegionKind::Header);
    contents(elf, &kept, options.smallest.then_some(&maps), &mut reserver)?;
    if options.smallest {
        return Ok(reserver.finish());
    }
    reserver.fill_to("the section names", end, 0)?;
    reserver.bytes(names.bytes)?;
    reserver.region(".shstrtab", end, RegionKind::Data);
    reserver.fill_to("the section headers", table_at, 0)?;
    reserver.bytes(table.finish())?;
    reserver.region("section headers", table_at, RegionKind::Header);
    Ok(reserver.finish())
}

/// Copies the contents, in the order of the file; with `only`, just those that a segment covers.
fn contents<'a>(
    elf: &Elf<'a>,
    kept: &[Kept<'a>],
    only: Option<&Vec<segments::Map>>,
    reserver: &mut Reserver<'a>,
) -> Result<()> {
    let covered = |kept: &Kept<'_>| {
        only.is_none_or(|maps| {
            maps.iter().any(|map| {
                let inside = kept.offset.checked_sub(map.out.offset).is_some_and(|delta| delta < map.out.filesz);
                map.out.filesz > 0 && inside
            })
        })
    };
    let mut order: Vec<&Kept<'a>> = kept.iter().filter(|kept| has_bytes(&kept.section) && covered(kept)).collect();
    order.sort_by_key(|kept| kept.offset);
    for kept in order {
        if kept.offset < reserver.at() {
            let name = kept.section.name();
            return Err(cannot(format!("section {name} would lie over the one before it"), ""));
        }
        reserver.fill_to("a section", kept.offset, 0)?;
        reserver.bytes(elf.contents(&kept.section)?)?;
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

fn has_bytes(section: &Section<'_>) -> bool {
    !matches!(section.kind, SHT_NOBITS | SHT_NULL) && section.size > 0
}

fn cannot(why: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Error {
    Error::CannotStrip { why: why.into(), help: help.into() }
}
