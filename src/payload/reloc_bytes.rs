//! A relocation table as the bytes that the x86 decompressor reads, or as assembler text.
//!
//! Behind the kernel, 32-bit little-endian words: a zero in front of each list, the 64-bit addresses first. The
//! decompressor walks backwards from the end of the table (arch/x86/boot/compressed/misc.c, `handle_relocations`), so a
//! zero ends each list. The real-mode trampoline has counts instead of zeros (arch/x86/realmode/init.c).

use crate::elf::{Lists, RelocKind, RelocTable};
use crate::layout::Error;
use std::io::Write;

/// How to write a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocForm {
    /// The words.
    Binary,
    /// A `.long` each, for the assembler.
    Text,
}

impl RelocForm {
    /// Bytes that a table takes in this form.
    pub fn len(self, table: &RelocTable) -> u64 {
        let count = u64::try_from(words(table).count()).unwrap_or(u64::MAX);
        match self {
            RelocForm::Binary => count.saturating_mul(4),
            // `\t.long 0x00000000\n`
            RelocForm::Text => count.saturating_mul(18).saturating_add(crate::bytes::len64(TEXT_HEAD)),
        }
    }
}

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
            for form in [RelocForm::Binary, RelocForm::Text] {
                let mut out = Vec::new();
                emit_relocs(&table, form, &mut out).unwrap();
                assert_eq!(crate::bytes::len64(&out), form.len(&table));
            }
        }
    }
}
