//! Static libraries (`.a`): each object file in them stripped, and the archive written as GNU strip 2.40 writes it: no times, no
//! owners, a symbol table where there was one (bfd/archive.c, `_bfd_write_archive_contents`).

use super::super::raw::{SHN_COMMON, SHN_UNDEF, STB_LOCAL};
use super::super::symbols::SymbolTable;
use super::super::{Elf, Result};
use super::model::cannot;
use super::{StripOptions, strip};
use crate::bytes::len64;
use crate::layout::{Plan, RegionKind, Reserver};
use object::archive::{MAGIC, TERMINATOR};
use object::read::archive::{ArchiveFile, ArchiveKind, ArchiveMember};

/// Bytes of a member's header.
const HEADER: u64 = 60;
/// Longer names stand in a table of their own.
const MAX_NAME: usize = 15;

/// A member of the output.
struct Member<'a> {
    /// As it stands in its header.
    name: String,
    plan: Plan<'a>,
    /// What it defines for others.
    symbols: Vec<Vec<u8>>,
}

/// Strips each object file of an archive; `None` when `bytes` are none.
///
/// # Errors
/// As [`strip`]; and for an archive that strip cannot copy, or of another form than GNU's.
pub(crate) fn strip_archive<'a>(bytes: &'a [u8], options: &StripOptions) -> Result<Option<Plan<'a>>> {
    if !bytes.starts_with(&MAGIC) && !bytes.starts_with(b"!<thin>\n") {
        return Ok(None);
    }
    let help = "use strip for this archive, or give its files one by one";
    let archive =
        ArchiveFile::parse(bytes).map_err(|error| cannot(format!("the archive is damaged: {error}"), help))?;
    if archive.is_thin() || !matches!(archive.kind(), ArchiveKind::Gnu | ArchiveKind::Unknown) {
        return Err(cannot("it is an archive of a form that strip does not write", help));
    }
    let (mut members, mut long_names) = (Vec::new(), Vec::new());
    for member in archive.members() {
        let member = member.map_err(|error| cannot(format!("the archive is damaged: {error}"), help))?;
        let name = String::from_utf8_lossy(member.name()).into_owned();
        let made = one(bytes, &member, options).map_err(|error| match error {
            super::super::Error::CannotStrip { why, help } => cannot(format!("{name}: {why}"), help),
            other => other,
        })?;
        let (plan, symbols) = made;
        let stored = if member.name().len() > MAX_NAME {
            let at = long_names.len();
            long_names.extend_from_slice(member.name());
            long_names.extend_from_slice(b"/\n");
            format!("/{at}")
        } else {
            format!("{name}/")
        };
        members.push(Member { name: stored, plan, symbols });
    }
    let has_table = archive.symbols().ok().flatten().is_some() && !members.is_empty();
    let too_large = || cannot("it does not fit 4 GiB", help);
    let mut out = Reserver::new();
    out.bytes(&MAGIC[..])?;
    let long_len = even(len64(&long_names));
    if has_table {
        let all = || members.iter().flat_map(|member| &member.symbols);
        let count = u32::try_from(all().count()).map_err(|_| too_large())?;
        let names: u64 = all().map(|name| len64(name) + 1).sum();
        let len = even(4 + 4 * u64::from(count) + names);
        let mut at = out.at() + HEADER + len + if long_len == 0 { 0 } else { HEADER + long_len };
        let mut table = count.to_be_bytes().to_vec();
        for member in &members {
            let place = u32::try_from(at).map_err(|_| too_large())?;
            member.symbols.iter().for_each(|_| table.extend(place.to_be_bytes()));
            at = at.saturating_add(HEADER + even(member.plan.len()));
        }
        all().for_each(|name| table.extend(name.iter().chain(&[0])));
        table.resize(usize::try_from(len).map_err(|_| too_large())?, 0);
        put_header(&mut out, "/", "0", "0", len)?;
        out.bytes(table)?;
        out.region("symbol table", len64(&MAGIC), RegionKind::Header);
    }
    if long_len > 0 {
        let start = out.at();
        put_header(&mut out, "//", "", "", long_len)?;
        out.bytes(long_names)?;
        pad(&mut out)?;
        out.region("long names", start, RegionKind::Header);
    }
    for Member { name, plan, .. } in &members {
        let start = out.at();
        put_header(&mut out, name, "0", "644", plan.len())?;
        out.append(plan)?;
        pad(&mut out)?;
        out.region(name.trim_end_matches('/').to_owned(), start, RegionKind::Data);
    }
    Ok(Some(out.finish()))
}

/// A member, stripped, and the symbols that it has for others.
fn one<'a>(bytes: &'a [u8], member: &ArchiveMember<'a>, options: &StripOptions) -> Result<(Plan<'a>, Vec<Vec<u8>>)> {
    let odd = |why: &'static str| cannot(why, "take it out of the archive, or use strip");
    if member.name().is_empty() || member.name().contains(&b'/') || !member.name().is_ascii() {
        return Err(odd("its name is none of a file"));
    }
    let data = member.data(bytes).map_err(|_| odd("it is cut off"))?;
    if !Elf::detect(data) {
        return Err(odd("it is no ELF file"));
    }
    let elf = Elf::parse(data)?;
    let plan = strip(&elf, options)?;
    let stripped = plan.bytes();
    let elf = Elf::parse(&stripped)?;
    let mut symbols = Vec::new();
    if let Ok(table) = SymbolTable::new(&elf) {
        for index in 1..table.len() {
            let Some(raw) = table.get(index) else { continue };
            let is_global = raw.binding() != STB_LOCAL || raw.shndx == SHN_COMMON;
            if is_global && raw.shndx != SHN_UNDEF {
                symbols.push(table.name(index, &raw)?.to_vec());
            }
        }
    }
    Ok((plan, symbols))
}

/// A header of `struct ar_hdr`: name, date, owner, group, mode, size, each filled up with spaces.
fn put_header(out: &mut Reserver<'_>, name: &str, zero: &str, mode: &str, len: u64) -> Result<()> {
    let mut header = format!("{name:<16}{zero:<12}{zero:<6}{zero:<6}{mode:<8}{len:<10}").into_bytes();
    header.extend(TERMINATOR);
    Ok(out.bytes(header)?)
}

/// Members begin at even offsets.
fn pad(out: &mut Reserver<'_>) -> Result<()> {
    Ok(out.fill(even(out.at()) - out.at(), b'\n')?)
}

fn even(len: u64) -> u64 {
    len.next_multiple_of(2)
}
