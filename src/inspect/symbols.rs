//! A kernel with the symbol table that its own symbols make.

use super::{Opened, Part};
pub use crate::elf::SymbolSource;
use crate::elf::{self, Elf, KernelSymbol, Symbol, UnflattenError, kallsyms, unflatten};
use crate::error::Result;
use crate::layout::{Plan, Reserver};
use std::borrow::Cow;

/// A kernel as an ELF file, and the symbols that it has of itself.
#[derive(Debug)]
pub struct WithSymbols<'a> {
    elf: Cow<'a, [u8]>,
    symbols: Vec<KernelSymbol>,
    source: SymbolSource,
}

impl Opened<'_> {
    /// The kernel `part` with its symbols; a flat one gets the headers of an ELF file, and one that has a symbol table stays
    /// as it is.
    ///
    /// # Errors
    /// [`Error::Elf`](crate::Error::Elf) for a damaged ELF file, [`Error::Unflatten`](crate::Error::Unflatten) when the
    /// kernel has no symbols that can be read, or does not tell its CPU and place.
    pub fn with_symbols(&self, part: &Part) -> Result<WithSymbols<'_>> {
        let kernel = self.part_bytes(part);
        if !Elf::detect(kernel) {
            let flat = unflatten(kernel, self.arch_of(part.layer))?;
            return Ok(WithSymbols { elf: flat.elf(kernel)?.into(), symbols: flat.symbols, source: flat.source });
        }
        let elf = Elf::parse(kernel)?;
        let (symbols, source) = if elf.symbols().is_ok() {
            (Vec::new(), SymbolSource::Table)
        } else if let Some(symbols) = kallsyms(&elf) {
            (symbols, SymbolSource::Kallsyms)
        } else {
            (elf::exports(&elf).ok_or(UnflattenError::NoSymbols)?, SymbolSource::Exports)
        };
        Ok(WithSymbols { elf: kernel.into(), symbols, source })
    }
}

impl WithSymbols<'_> {
    /// The symbols as lines of a `System.map`, in the order of the kernel's table.
    ///
    /// # Errors
    /// [`Error::Unflatten`](crate::Error::Unflatten) when only exports are known, which are no `System.map`.
    pub fn system_map(&self) -> Result<Vec<u8>> {
        let is_64 = elf::is_64_bit_file(&self.elf) == Some(true);
        match self.source {
            SymbolSource::Table => Ok(elf::system_map_text(&elf::system_map(&Elf::parse(&self.elf)?)?, is_64)),
            SymbolSource::Kallsyms => Ok(elf::system_map_text(&self.own().cloned().collect::<Vec<_>>(), is_64)),
            SymbolSource::Exports => Err(UnflattenError::OnlyExports.into()),
        }
    }

    /// The functions that start what is built in, as lines of text: address, level and name, in the kernel's order.
    ///
    /// # Errors
    /// [`Error::Unflatten`](crate::Error::Unflatten) when the symbols do not bound their table.
    pub fn initcalls(&self) -> Result<Vec<u8>> {
        let elf = Elf::parse(&self.elf)?;
        let table = elf.symbols().into_iter().flatten().filter(|_| self.source == SymbolSource::Table);
        let table = table.map(|symbol| KernelSymbol {
            address: symbol.value,
            class: u8::try_from(elf.nm_class(&symbol)).unwrap_or(b'?'),
            name: symbol.name.to_vec(),
        });
        let symbols: Vec<KernelSymbol> = table.chain(self.symbols.iter().cloned()).collect();
        Ok(elf::initcalls(&elf, &symbols).ok_or(UnflattenError::NoInitcalls)?)
    }

    /// Without those that tell ARM's code from Thumb's, which are ours.
    fn own(&self) -> impl Iterator<Item = &KernelSymbol> {
        self.symbols.iter().filter(|symbol| !symbol.name.starts_with(b"$"))
    }

    /// How many symbols the kernel has of itself; none beside a symbol table.
    pub fn count(&self) -> usize {
        self.own().count()
    }

    /// The names of those that are part of the kernel.
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        let elf = Elf::parse(&self.elf).ok().filter(|_| self.source == SymbolSource::Table);
        let table = elf.iter().filter_map(|elf| elf.symbols().ok()).flatten().filter(Symbol::is_defined);
        table.map(|symbol| symbol.name.to_vec()).chain(self.own().map(|symbol| symbol.name.clone())).collect()
    }

    /// Where they are from.
    pub fn source(&self) -> SymbolSource {
        self.source
    }

    /// The ELF file with its symbol table.
    ///
    /// # Errors
    /// [`Error::Elf`](crate::Error::Elf) when the table cannot be added.
    pub fn plan(&self) -> Result<Plan<'_>> {
        if self.source == SymbolSource::Table {
            let mut plan = Reserver::new();
            plan.bytes(&*self.elf)?;
            return Ok(plan.finish());
        }
        Ok(elf::with_symbols(&Elf::parse(&self.elf)?, &self.symbols)?)
    }
}
