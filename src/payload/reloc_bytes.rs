//! A relocation table as the bytes that the x86 decompressor reads, or as assembler text.
//!
//! Behind the kernel, 32-bit little-endian words: a zero in front of each list, the 64-bit addresses first. The
//! decompressor walks backwards from the end of the table (arch/x86/boot/compressed/misc.c, `handle_relocations`), so a
//! zero ends each list, and no list can have a zero in it. The real-mode trampoline has counts instead of zeros
//! (arch/x86/realmode/init.c).

use crate::bytes::{FieldError, len64};
use crate::elf::{Elf, Lists, RelocKind, RelocTable};
use crate::layout::Error;
use byteorder::{ByteOrder, LittleEndian};
use std::io::Write;
use std::ops::Range;

/// How to write a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocForm {
    /// The words.
    Binary,
    /// A `.long` each, for the assembler.
    Text,
}

impl RelocForm {}

const TEXT_HEAD: &[u8] = b".section \".data.reloc\",\"a\"\n.balign 4\n";

/// Writes `table`.
///
/// # Errors
/// [`Error::Write`] with the writer's own error.
pub fn emit_relocs(table: &RelocTable, form: RelocForm, mut out: impl Write) -> Result<(), Error> {
    let mut put = || {
        if form == RelocForm::Text {
            out.write_all(TEXT_HEAD)?;
        }
        for word in words(table) {
            match form {
                RelocForm::Binary => out.write_all(&word.to_le_bytes())?,
                RelocForm::Text => writeln!(out, "\t.long 0x{word:08x}")?,
            }
        }
        out.flush()
    };
    put().map_err(Error::Write)
}

/// The words of a table, in file order.
fn words(table: &RelocTable) -> impl Iterator<Item = u32> {
    // More relocations than 32 bits count would need a kernel of 4 GiB.
    let count = |list: &[u32]| u32::try_from(list.len()).unwrap_or(u32::MAX);
    let lists: Vec<(u32, &[u32])> = match table.kind {
        RelocKind::Kernel32 => vec![(0, &table.addresses32)],
        RelocKind::Kernel64(Lists::Two) => vec![(0, &table.addresses64), (0, &table.addresses32)],
        RelocKind::Kernel64(Lists::Three) => {
            vec![(0, &table.addresses64), (0, &table.inverse32), (0, &table.addresses32)]
        }
        RelocKind::RealMode => {
            vec![(count(&table.segments16), &table.segments16), (count(&table.addresses32), &table.addresses32)]
        }
    };
    lists.into_iter().flat_map(|(head, list)| std::iter::once(head).chain(list.iter().copied()))
}

/// A table and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRelocs {
    /// The table.
    pub table: RelocTable,
    /// Its bytes, as offsets into the file.
    pub range: Range<u64>,
}

/// Reads the table that stands behind the kernel `payload`; `None` when nothing does.
///
/// The payload of a bzImage, decompressed, is an ELF file whose end its own headers tell, and the table if there is one.
///
/// # Errors
/// As [`parse_relocs`], and [`Problem::Truncated`] when the kernel itself is not all there.
pub fn relocs_behind(payload: &Elf<'_>) -> Result<Option<FoundRelocs>, FieldError> {
    let (end, have) = (payload.file_end(), len64(payload.bytes()));
    if end == have {
        return Ok(None);
    }
    if end > have {
        return Err(FieldError::truncated("kernel", 0, end, have).with_help("the payload was cut short: copy it again"));
    }
    // Nothing but zeros are lists without entries at most; the memory of a last segment without bytes looks so, too.
    let behind = usize::try_from(end).ok().and_then(|end| payload.bytes().get(end..)).unwrap_or_default();
    if behind.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    parse_relocs(payload.bytes(), end, payload.is_64()).map(Some)
}

/// Reads the table that begins at `at` and ends with `bytes`: a `vmlinux.relocs` (`at` is 0), or what follows the kernel
/// in a payload. `is_64` is the class of the kernel, which decides how many lists there can be.
///
/// # Errors
/// [`Problem::Truncated`] when `bytes` end before the first word or within a word, [`Problem::Mismatch`] when the first word
/// is not zero, [`Problem::OutOfRange`] for more or fewer lists than a decompressor reads.
pub fn parse_relocs(bytes: &[u8], at: u64, is_64: bool) -> Result<FoundRelocs, FieldError> {
    let have = len64(bytes);
    let raw = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let whole = len64(raw).max(1).next_multiple_of(4);
    if len64(raw) != whole {
        return Err(FieldError::truncated("relocation table", at, at.saturating_add(whole), have).with_help(NO_TABLE));
    }
    let words: Vec<u32> = raw.chunks_exact(4).map(LittleEndian::read_u32).collect();
    if let Some(first) = words.first().filter(|word| **word != 0) {
        return Err(FieldError::mismatch("first word of the relocation table", at, *first, 0_u64).with_help(NO_TABLE));
    }
    // Nothing stands in front of the first zero. One list more than there can be is enough to see that it is none.
    let lists: Vec<&[u32]> = words.split(|word| *word == 0).skip(1).take(4).collect();
    let (kind, wide, inverse, narrow) = match (is_64, &lists[..]) {
        (false, [narrow]) => (RelocKind::Kernel32, &[][..], &[][..], *narrow),
        (true, [wide, narrow]) => (RelocKind::Kernel64(Lists::Two), *wide, &[][..], *narrow),
        (true, [wide, inverse, narrow]) => (RelocKind::Kernel64(Lists::Three), *wide, *inverse, *narrow),
        _ => {
            let value = u64::try_from(lists.len()).unwrap_or(u64::MAX);
            let (min, max) = if is_64 { (2, 3) } else { (1, 1) };
            return Err(
                FieldError::range("number of lists of the relocation table", at, value, min..=max).with_help(NO_TABLE)
            );
        }
    };
    let table = RelocTable {
        kind,
        segments16: Vec::new(),
        addresses32: narrow.to_vec(),
        inverse32: inverse.to_vec(),
        addresses64: wide.to_vec(),
    };
    Ok(FoundRelocs { table, range: at..have })
}

const NO_TABLE: &str =
    "this is no relocation table of this kernel, or a damaged one: give the vmlinux.relocs that its own build made";

#[cfg(test)]
mod tests {
    use super::*;

    fn table(kind: RelocKind) -> RelocTable {
        RelocTable { kind, segments16: vec![1, 2], addresses32: vec![3], inverse32: vec![4], addresses64: vec![5, 6] }
    }

    #[test]
    fn heads_and_order() {
        for (kind, want) in [
            (RelocKind::Kernel32, &[0, 3][..]),
            (RelocKind::Kernel64(Lists::Two), &[0, 5, 6, 0, 3]),
            (RelocKind::Kernel64(Lists::Three), &[0, 5, 6, 0, 4, 0, 3]),
            (RelocKind::RealMode, &[2, 1, 2, 1, 3]),
        ] {
            let table = table(kind);
            assert_eq!(words(&table).collect::<Vec<_>>(), want);
            // `\t.long 0x00000000\n`
            for (form, len) in
                [(RelocForm::Binary, 4 * want.len()), (RelocForm::Text, 18 * want.len() + TEXT_HEAD.len())]
            {
                let mut out = Vec::new();
                emit_relocs(&table, form, &mut out).unwrap();
                assert_eq!(out.len(), len);
            }
        }
    }
}
