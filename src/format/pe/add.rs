//! Puts sections into a program that is linked already: how a boot stub becomes a unified kernel image.
//!
//! The layout is that of systemd's ukify (257 and later): new sections behind all others, in memory and in the file, each
//! aligned as the program's own headers say; raw data of old stubs that is not aligned is moved to where it is; a symbol table
//! at the end goes; a section that is there already, as `.sbat`, gets its new contents where it stands.

use super::file::{Pe, PeSection, SECTION_READ};
use super::write::{CODE, INITIALIZED};
use super::{SECTION_LEN, SECTION_PLACES};
use crate::bytes::{Align, FieldError, FieldWriter, Problem, len64, slice};
use crate::layout::{Plan, RegionKind, Reserver};
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a section's name.
pub(crate) const NAME_LEN: usize = 8;

/// A section that is to be.
#[derive(Debug, Clone)]
pub(crate) struct AddedSection<'a> {
    /// At most [`NAME_LEN`] bytes.
    pub(crate) name: Cow<'a, str>,
    /// Its contents, piece by piece: each is filled up with zeros to a multiple of 4, if there are several.
    pub(crate) pieces: Vec<Cow<'a, [u8]>>,
    /// It holds code, and has [`CODE`] for a flag.
    pub(crate) is_code: bool,
}

impl<'a> AddedSection<'a> {
    pub(crate) fn new(name: impl Into<Cow<'a, str>>, contents: impl Into<Cow<'a, [u8]>>) -> Self {
        AddedSection { name: name.into(), pieces: vec![contents.into()], is_code: false }
    }

    /// Bytes of the contents.
    pub(crate) fn len(&self) -> u64 {
        let of_piece = |piece: &Cow<'_, [u8]>| len64(piece).next_multiple_of(self.piece_alignment());
        self.pieces.iter().map(of_piece).fold(0, u64::saturating_add)
    }

    /// The contents as they will stand in the file, one behind the other.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let align = self.piece_alignment();
        let zeros = |len: u64| slice(&[0; 4], 0, len.next_multiple_of(align) - len).unwrap_or_default();
        self.pieces.iter().flat_map(|piece| [&**piece, zeros(len64(piece))]).collect()
    }

    fn piece_alignment(&self) -> u64 {
        if self.pieces.len() > 1 { 4 } else { 1 }
    }

    fn put(&self, out: &mut Reserver<'a>) -> Result<(), crate::layout::Error> {
        for piece in &self.pieces {
            out.bytes(piece.clone())?;
            out.fill(len64(piece).next_multiple_of(self.piece_alignment()) - len64(piece), 0)?;
        }
        Ok(())
    }
}

/// Why sections cannot be added to a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdded {
    /// A field of its headers.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The layout cannot be made.
    #[error(transparent)]
    Layout(#[from] crate::layout::Error),
    /// Another reason, and what to do instead.
    #[error("{why}")]
    Refused { why: String, help: &'static str },
}

fn refused(why: impl Into<String>, help: &'static str) -> NotAdded {
    NotAdded::Refused { why: why.into(), help }
}

/// Raw data of old stubs moved to multiples of FileAlignment, as the headers say it is then; with the symbol table cut off.
fn aligned<'a>(mut file: Cow<'a, [u8]>, alignment: u64) -> Result<Cow<'a, [u8]>, NotAdded> {
    let pe = Pe::parse(&file)?;
    let symbols = pe.value("PointerToSymbolTable");
    let symbols = Some(symbols).filter(|at| *at != 0 && pe.symbols_end() == Some(len64(&file)));
    let places = ["PointerToSymbolTable", "NumberOfSymbols"].map(|field| pe.place(field));
    if let Some(symbols) = symbols {
        let file = file.to_mut();
        file.truncate(usize::try_from(symbols).unwrap_or(usize::MAX));
        for at in places {
            crate::bytes::overwrite(file, at, &[0; 4]);
        }
    }
    let pe = Pe::parse(&file)?;
    let is_aligned = |section: &PeSection| {
        u64::from(section.raw_at) % alignment == 0 && u64::from(section.raw_size) % alignment == 0
    };
    if pe.sections.iter().all(is_aligned) {
        return Ok(file);
    }
    let mut out = FieldWriter::new(file.to_vec());
    let mut inserts: Vec<(u64, u64)> = Vec::new();
    let (mut moved, mut end) = (0, pe.headers_end());
    for section in &pe.sections {
        let old = section.file_range();
        if section.raw_size > 0 && (old.start < end || old.end > len64(&file)) {
            return Err(refused("its sections overlap, or lie outside of the file", OTHER_STUB));
        }
        end = end.max(old.end);
        let start = old.start + moved;
        let (to, size) = (start.next_multiple_of(alignment), u64::from(section.raw_size).next_multiple_of(alignment));
        out.narrow("SizeOfRawData", section.at + 16, size)?;
        out.narrow("PointerToRawData", section.at + 20, to)?;
        inserts.push((old.start, to - start));
        inserts.push((old.end, size - u64::from(section.raw_size)));
        moved += to - start + size - u64::from(section.raw_size);
    }
    let (bytes, _) = out.finish();
    let mut moved = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for (at, count) in inserts.into_iter().filter(|(_, count)| *count > 0) {
        moved.extend_from_slice(slice(&bytes, from, at - from).unwrap_or_default());
        moved.resize(moved.len() + usize::try_from(count).unwrap_or(0), 0);
        from = at;
    }
    moved.extend_from_slice(slice(&bytes, from, len64(&bytes) - from).unwrap_or_default());
    Ok(Cow::Owned(moved))
}

const OTHER_STUB: &str = "give a stub as systemd or its package has it (linuxx64.efi.stub), unsigned and whole";

/// A part of the file that is there already.
pub(crate) fn part<'a>(file: &Cow<'a, [u8]>, at: Range<u64>) -> Cow<'a, [u8]> {
    match file {
        Cow::Borrowed(bytes) => slice(bytes, at.start, at.end - at.start).unwrap_or_default().into(),
        Cow::Owned(bytes) => slice(bytes, at.start, at.end - at.start).unwrap_or_default().to_vec().into(),
    }
}

/// The program with these sections. `clear`: bits of DllCharacteristics that the whole must not have.
///
/// # Errors
/// [`NotAdded`] when the program is damaged or signed, its headers have no room, or the whole would be longer than 4 GiB.
pub(crate) fn with_sections<'a>(
    program: Cow<'a, [u8]>,
    added: &[AddedSection<'a>],
    clear: u16,
) -> Result<Plan<'a>, NotAdded> {
    let pe = Pe::parse(&program)?;
    if pe.certificate_range().is_some() {
        return Err(refused("it is signed: sections cannot be added to it without breaking the signature", OTHER_STUB));
    }
    let alignment = |field: &str| {
        let found = pe.value(field);
        let align = Align::new(found).filter(|align| (0x20..=0x20_0000).contains(&align.bytes()));
        align
            .ok_or_else(|| FieldError::unknown(field.to_owned(), pe.place(field), found, "a power of two from 0x20 on"))
    };
    let (in_file, in_memory) = (alignment("FileAlignment")?.bytes(), alignment("SectionAlignment")?.bytes());
    let file = aligned(program, in_file)?;
    let pe = Pe::parse(&file)?;
    let headers = pe.value("SizeOfHeaders").next_multiple_of(in_file);
    let first = pe.sections.iter().filter(|section| section.raw_size > 0).map(|section| section.raw_at).min();
    if first.is_none_or(|first| u64::from(first) < headers)
        || pe.sections.iter().any(|it| it.file_range().end > len64(&file))
    {
        return Err(refused("its sections begin inside of its headers, or lie outside of the file", OTHER_STUB));
    }
    // A new one goes behind the last. In the images of systemd's stub 252 `.sbat` reaches into the next.
    let in_order = pe.sections.is_sorted_by(|one, next| {
        let end = if one.name() == b".sbat" { one.virtual_address.into() } else { end_in_memory(one) };
        end <= next.virtual_address.into()
    });
    if !in_order {
        return Err(refused("its sections overlap in memory, or are not in order", OTHER_STUB));
    }
    let mut head = FieldWriter::new(slice(&file, 0, headers).unwrap_or_default().to_vec());
    let mut replaced: Vec<(Range<u64>, &AddedSection<'a>)> = Vec::new();
    let mut new: Vec<(u64, &AddedSection<'a>)> = Vec::new();
    let mut table_at = pe.headers_end();
    let mut memory = pe.sections.iter().map(end_in_memory).max().unwrap_or(0);
    let mut raw_at = len64(&file).next_multiple_of(in_file);
    let mut initialized = pe.value("SizeOfInitializedData");
    let room = |used: u64| headers.saturating_sub(used) / SECTION_LEN;
    for section in added {
        let len = section.len();
        let there = pe.section(section.name.as_bytes()).filter(|_| section.name != ".dtbauto");
        if let Some(there) = there {
            if len > there.raw_size.into() {
                let why =
                    format!("its section {} has room for {} bytes, {len} are needed", section.name, there.raw_size);
                return Err(refused(why, "take a newer stub, or a shorter text (SBAT)"));
            }
            head.narrow("VirtualSize", there.at + 8, len)?;
            replaced.push((there.file_range(), section));
            continue;
        }
        if room(table_at) == 0 {
            let free = room(pe.headers_end());
            let wanted = added.iter().filter(|one| pe.section(one.name.as_bytes()).is_none()).count();
            let why = format!("its headers have room for {free} further sections, {wanted} are needed");
            return Err(refused(why, "leave some out, or take a newer stub (systemd 254 and later have room)"));
        }
        if slice(head.bytes(), table_at, SECTION_LEN).is_some_and(|free| free.iter().any(|byte| *byte != 0)) {
            return Err(refused("bytes that are in use lie behind its section table", OTHER_STUB));
        }
        let virtual_at = memory.next_multiple_of(in_memory);
        let raw_len = len.next_multiple_of(in_file);
        let mut name = [0; NAME_LEN];
        name.iter_mut().zip(section.name.bytes()).for_each(|(to, from)| *to = from);
        for (index, byte) in (table_at..).zip(name) {
            head.u8("Name", index, byte)?;
        }
        for ((field, place), value) in SECTION_PLACES.into_iter().zip([len, virtual_at, raw_len, raw_at]) {
            let fits = head.narrow(field, table_at + place, value);
            fits.map_err(|error| match error.problem {
                Problem::OutOfRange { .. } => refused("the whole would be longer than 4 GiB", "leave something out"),
                _ => error.into(),
            })?;
        }
        head.u32("Characteristics", table_at + 36, SECTION_READ | if section.is_code { CODE } else { INITIALIZED })?;
        new.push((raw_at, section));
        table_at += SECTION_LEN;
        memory = virtual_at.saturating_add(len);
        raw_at = raw_at.saturating_add(raw_len);
        initialized = initialized.saturating_add(len);
    }
    let count = crate::bytes::count64(pe.sections.len() + new.len());
    head.u16("NumberOfSections", pe.place("NumberOfSections"), u16::try_from(count).unwrap_or(u16::MAX))?;
    head.u32(
        "SizeOfInitializedData",
        pe.place("SizeOfInitializedData"),
        u32::try_from(initialized).unwrap_or(u32::MAX),
    )?;
    head.narrow("SizeOfImage", pe.place("SizeOfImage"), memory.next_multiple_of(in_memory))?;
    head.narrow("SizeOfHeaders", pe.place("SizeOfHeaders"), headers)?;
    head.u32("CheckSum", pe.place("CheckSum"), 0)?;
    let flags = u16::try_from(pe.value("DllCharacteristics")).unwrap_or(0) & !clear;
    head.u16("DllCharacteristics", pe.place("DllCharacteristics"), flags)?;

    let mut out = Reserver::new();
    out.bytes(head.finish().0)?;
    out.region("headers", 0, RegionKind::Header);
    replaced.sort_by_key(|(at, _)| at.start);
    for (at, section) in replaced {
        let from = out.at();
        out.bytes(part(&file, from..at.start))?;
        out.region("stub", from, RegionKind::Code);
        section.put(&mut out)?;
        out.fill_to("a section", at.end, 0)?;
        out.region(section.name.clone().into_owned(), at.start, RegionKind::Data);
    }
    let from = out.at();
    out.bytes(part(&file, from..len64(&file)))?;
    out.region("stub", from, RegionKind::Code);
    let mut names: Vec<String> = Vec::new();
    for (at, section) in new {
        out.fill_to("a section", at, 0)?;
        section.put(&mut out)?;
        out.fill(section.len().next_multiple_of(in_file) - section.len(), 0)?;
        let before = names.iter().filter(|name| **name == section.name).count();
        let name = if before > 0 { format!("{}[{before}]", section.name) } else { section.name.to_string() };
        out.region(name, at, if section.is_code { RegionKind::Payload } else { RegionKind::Data });
        names.push(section.name.to_string());
    }
    Ok(out.finish())
}

fn end_in_memory(section: &PeSection) -> u64 {
    u64::from(section.virtual_address) + u64::from(section.virtual_size)
}
