//! `strip --strip-unneeded`: notes of build attributes (annobin, "Watermark" specification) that say the same become one.
//!
//! GNU strip sorts them, and joins neighbours of the same name whose address ranges touch (binutils 2.40, binutils/objcopy.c,
//! `merge_gnu_build_notes`). Its orders are no total ones: what comes out depends on how glibc's qsort merges, too.

use super::super::raw::{SHT_NOTE, SHT_REL, SHT_RELA};
use super::super::{Elf, Error, Kind, Result, Section};
use super::model::{Sections, cannot};
use crate::bytes::{Cursor, Endian, len64};
use std::cmp::Ordering;

/// `NT_GNU_BUILD_ATTRIBUTE_OPEN`: of a whole range.
const OPEN: u32 = 0x100;
/// `NT_GNU_BUILD_ATTRIBUTE_FUNC`: of a function.
const FUNC: u32 = 0x101;
/// What becomes of a note that another one covers.
const DELETED: u32 = 0;
/// `n_namesz`, `n_descsz`, `n_type`.
const HEADER: u64 = 12;
/// How many notes strip looks back.
const MOST_BEFORE: usize = 18;

#[derive(Debug, Clone, Copy)]
struct Note<'a> {
    kind: u32,
    name: &'a [u8],
    /// The range of addresses, of an earlier note where this one names none.
    start: u64,
    end: u64,
}

/// The new contents of each such section whose notes can be joined, by its index in the input; its size follows.
pub(super) fn merge(elf: &Elf<'_>, kept: &mut Sections<'_>) -> Result<Vec<(usize, Vec<u8>)>> {
    let mut made = Vec::new();
    for kept in kept.iter_mut() {
        let is_about = |relocs: &Section<'_>| relocs.size > 0 && usize::try_from(relocs.info) == Ok(kept.old);
        let mut relocs = elf.sections().iter().filter(|section| matches!(section.kind, SHT_REL | SHT_RELA));
        let is_mergeable = kept.section.kind == SHT_NOTE && kept.section.name.starts_with(b".gnu.build.attributes");
        // What relocations fill in stays.
        if !is_mergeable || kept.section.size == 0 || relocs.any(is_about) {
            continue;
        }
        let Some(bytes) = merged(elf, &kept.section)? else { continue };
        if elf.kind() != Kind::Relocatable && kept.section.is_alloc() {
            return Err(odd(&kept.section, "are part of what is loaded, and would become fewer"));
        }
        kept.section.size = len64(&bytes);
        made.push((kept.old, bytes));
    }
    Ok(made)
}

fn odd(section: &Section<'_>, why: &str) -> Error {
    let why = format!("the build attributes of section {} {why}", section.name());
    cannot(why, "use strip for this file, or leave out debug sections alone (`request.debug_only`)")
}

/// The notes of a section, fewer than before; `None` where strip leaves them as they are.
fn merged(elf: &Elf<'_>, section: &Section<'_>) -> Result<Option<Vec<u8>>> {
    let bytes = elf.contents(section)?;
    let Some(notes) = read(elf, section, bytes)? else { return Ok(None) };
    let mut notes = sorted(&notes, by_attribute);
    join(&mut notes);
    let notes = sorted(&notes, by_address);
    let word = elf.encoder().address_size();
    let (mut out, mut before) = (Vec::new(), (0, 0));
    for note in notes.iter().filter(|note| note.kind != DELETED) {
        let range = (note.start, note.end);
        let desc_len = if range == before { 0 } else { 2 * word };
        for number in [len64(note.name), desc_len, u64::from(note.kind)] {
            put(&mut out, elf.endian(), number, 4);
        }
        out.extend_from_slice(note.name);
        out.resize(out.len().next_multiple_of(4), 0);
        for address in [range.0, range.1].into_iter().filter(|_| range != before) {
            put(&mut out, elf.endian(), address, word);
        }
        before = range;
    }
    Ok((out.len() < bytes.len()).then_some(out))
}

/// Writes the last `size` bytes of a number.
fn put(out: &mut Vec<u8>, endian: Endian, number: u64, size: u64) {
    let size = usize::try_from(size).unwrap_or(8).min(8);
    match endian {
        Endian::Little => out.extend(number.to_le_bytes().into_iter().take(size)),
        Endian::Big => out.extend(number.to_be_bytes().into_iter().skip(8 - size)),
    }
}

/// All notes of a section; `None` where they are of a version that strip does not merge. What it takes for damage it leaves
/// as it is, and ends with status 1.
fn read<'a>(elf: &Elf<'_>, section: &Section<'_>, bytes: &'a [u8]) -> Result<Option<Vec<Note<'a>>>> {
    let cursor = Cursor::new(bytes, elf.endian());
    let cut = |_| odd(section, "end within a note");
    let number = |field, at| cursor.u32(field, at).map(u64::from).map_err(cut);
    let address = |field, at| cursor.u64(field, at).map_err(cut);
    let (mut notes, mut at) = (Vec::new(), 0);
    let mut versions = [false; 3];
    let mut ranges = [(0, 0); 2];
    while at < cursor.len() {
        let (name_len, desc_len) = (number("n_namesz", at)?, number("n_descsz", at + 4)?);
        let kind = cursor.u32("n_type", at + 8).map_err(cut)?;
        let name = cursor.take("name", at + HEADER, name_len).map_err(cut)?;
        let desc = at + HEADER + name_len.next_multiple_of(4);
        cursor.take("descriptor", desc, desc_len).map_err(cut)?;
        if !matches!(kind, OPEN | FUNC) || name.len() < 3 || name.last() != Some(&0) {
            return Err(odd(section, "are not made as they ought to be: a note's type or its name"));
        }
        match name {
            [b'$', 1, b'1', ..] => versions[0] = true,
            [b'G', b'A', b'$', 1, b'2', ..] => versions[1] = true,
            [b'G', b'A', b'$', 1, b'3', ..] => versions[2] = true,
            [b'G', b'A', b'$', 1, _, ..] => return Err(odd(section, "are of a version that is not known")),
            _ => {}
        }
        // A start alone has no end.
        let (start, end) = match desc_len {
            0 => (0, 0),
            4 => (number("start", desc)?, u64::MAX),
            8 => (number("start", desc)?, number("end", desc + 4)?),
            16 => (address("start", desc)?, address("end", desc + 8)?),
            _ => return Err(odd(section, "have address ranges of a size that is not known")),
        };
        let start = start.min(end);
        let [open, func] = &mut ranges;
        let range = if kind == OPEN { open } else { func };
        *range = (if start == 0 { range.0 } else { start }, if end == 0 { range.1 } else { end });
        notes.push(Note { kind, name, start: range.0, end: range.1 });
        at = desc + desc_len;
    }
    match versions.iter().filter(|seen| **seen).count() {
        0 => Ok(Some(notes)),
        1 => Ok(versions[2].then_some(notes)),
        _ => Err(odd(section, "are of several versions")),
    }
}

/// Takes out notes without a range, and those that one before them covers, or whose range can be joined to its.
fn join(notes: &mut [Note<'_>]) {
    let mut live: Vec<usize> = Vec::new();
    for index in 0..notes.len() {
        let Some(mut note) = notes.get(index).copied() else { break };
        let mut goes = note.start == note.end;
        for before in live.iter().rev().take(if goes { 0 } else { MOST_BEFORE }) {
            let Some(before) = notes.get_mut(*before).filter(|before| before.name == note.name) else { break };
            let is_covered = note.start >= before.start && note.end <= before.end;
            goes = is_covered || touches(before, &note) && (before.kind == FUNC) == (note.kind == FUNC);
            if goes {
                if !is_covered {
                    (before.start, before.end) = (before.start.min(note.start), before.end.max(note.end));
                }
                break;
            }
        }
        if goes {
            note.kind = DELETED;
            if let Some(slot) = notes.get_mut(index) {
                *slot = note;
            }
        } else {
            live.push(index);
        }
    }
}

/// Strip's own idea of ranges that overlap or adjoin.
fn touches(one: &Note<'_>, two: &Note<'_>) -> bool {
    let up = |address: u64| address.checked_add(15).map_or(u64::MAX, |address| address & !15);
    if one.end < two.start {
        up(one.end) < two.start
    } else if two.end < two.start {
        up(two.end) < one.start
    } else {
        one.end != two.end
    }
}

/// By what they say, then by their ranges (`compare_gnu_build_notes`).
fn by_attribute(one: &Note<'_>, two: &Note<'_>) -> Ordering {
    let len = one.name.len().min(two.name.len());
    let names = one.name.get(3..len).cmp(&two.name.get(3..len));
    names.then_with(|| {
        if one.end < two.start {
            Ordering::Less
        } else if one.start > two.end {
            Ordering::Greater
        } else if one.start < two.start {
            Ordering::Less
        } else {
            one.end.cmp(&two.end).then((one.kind != OPEN).cmp(&(two.kind != OPEN)))
        }
    })
}

/// The way they are written in (`sort_gnu_build_notes`).
fn by_address(one: &Note<'_>, two: &Note<'_>) -> Ordering {
    let kind = |note: &Note<'_>| [OPEN, FUNC, DELETED].iter().position(|kind| *kind == note.kind);
    let attributes = match (one.name, two.name) {
        // The first letter of an attribute's name, which is a signed char.
        ([_, _, _, one, _, ..], [_, _, _, two, _, ..]) => i8::from_ne_bytes([*one]).cmp(&i8::from_ne_bytes([*two])),
        _ => Ordering::Equal,
    };
    kind(one).cmp(&kind(two)).then(one.start.cmp(&two.start)).then(two.end.cmp(&one.end)).then(attributes)
}

/// Sorts as qsort of glibc does.
fn sorted<'a>(notes: &[Note<'a>], compare: fn(&Note<'_>, &Note<'_>) -> Ordering) -> Vec<Note<'a>> {
    let (first, second) = notes.split_at(notes.len() / 2);
    if first.is_empty() {
        return notes.to_vec();
    }
    let (first, second) = (sorted(first, compare), sorted(second, compare));
    let (mut first, mut second) = (&*first, &*second);
    let mut out = Vec::with_capacity(notes.len());
    while let ([one, ones @ ..], [two, twos @ ..]) = (first, second) {
        if compare(one, two) == Ordering::Greater {
            (second, _) = (twos, out.push(*two));
        } else {
            (first, _) = (ones, out.push(*one));
        }
    }
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    out
}
