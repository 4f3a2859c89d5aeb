//! A kernel with the symbol table that its own kallsyms make.

use super::{Opened, Part};
use crate::elf::{self, Elf, KernelSymbol, UnflattenError, kallsyms, unflatten};
use crate::error::Result;
use crate::layout::Plan;
use std::borrow::Cow;

/// A kernel as an ELF file, and the symbols that its kallsyms have.
#[derive(Debug)]
pub struct WithSymbols<'a> {
    elf: Cow<'a, [u8]>,
    symbols: Vec<KernelSymbol>,
}

impl Opened<'_> {
    /// The kernel `part` with its symbols; a flat one gets the headers of an ELF file.
    ///
    /// # Errors
    /// [`Error::Elf`](crate::Error::Elf) for a damaged ELF file, [`Error::Unflatten`](crate::Error::Unflatten) when the
    /// kernel has no kallsyms that can be read, or does not tell its CPU and place.
    pub fn with_symbols(&self, part: &Part) -> Result<WithSymbols<'_>> {
        let kernel = self.part_bytes(part);
        if Elf::detect(kernel) {
            let symbols = kallsyms(&Elf::parse(kernel)?).ok_or(UnflattenError::NoKallsyms)?;
            return Ok(WithSymbols { elf: kernel.into(), symbols });
        }
        let flat = unflatten(kernel, self.arch_of(part.layer))?;
        Ok(WithSymbols { elf: flat.elf(kernel)?.into(), symbols: flat.symbols })
    }
}

impl WithSymbols<'_> {
    /// The symbols as lines of a `System.map`, in the order of the kernel's table.
    pub fn system_map(&self) -> Vec<u8> {
        elf::system_map_text(&self.symbols, elf::is_64_bit_file(&self.elf) == Some(true))
    }

    /// How many symbols the kernel has.
    pub fn count(&self) -> usize {
        // Those that tell ARM's code from Thumb's are ours.
        self.symbols.iter().filter(|symbol| !symbol.name.starts_with(b"$")).count()
    }

    /// The ELF file with its symbol table.
    ///
    /// # Errors
    /// [`Error::Elf`](crate::Error::Elf) when the table cannot be added.
    pub fn plan(&self) -> Result<Plan<'_>> {
        Ok(elf::with_symbols(&Elf::parse(&self.elf)?, &self.symbols)?)
    }
}
