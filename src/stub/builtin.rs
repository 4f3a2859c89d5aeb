//! The boot stubs and the setup that come with kimage, built from `src/bootstub` by its `build.sh`.
//!
//! `builtin/manifest.json` says with which compiler; `tests/architecture/bootstub.rs` builds them again and compares.

use super::parameters::{LEN, MAGIC};
use crate::bytes::{Cursor, slice};
use crate::elf::{self, Elf, PT_LOAD};

/// The real-mode setup, an ELF file.
pub(crate) const SETUP: &[u8] = include_bytes!("builtin/setup.elf");
/// The ways in of loaders that do not know Linux, an ELF file.
pub(crate) const LOADERS: &[u8] = include_bytes!("builtin/loaders.elf");

/// A linked program, read: its bytes from address 0 on, and its symbols.
#[derive(Debug)]
pub(crate) struct Program<'f> {
    /// Up to the end of its initialised data.
    pub(crate) bytes: Vec<u8>,
    elf: Elf<'f>,
}

impl<'f> Program<'f> {
    /// Reads a program of ours.
    ///
    /// # Errors
    /// [`elf::Error`] for a file that is none.
    pub(crate) fn read(file: &'f [u8]) -> elf::Result<Program<'f>> {
        const MOST: u64 = 1 << 24;
        let elf = Elf::parse(file)?;
        let mut bytes = Vec::new();
        for segment in elf.segments().iter().filter(|segment| segment.kind == PT_LOAD && segment.vaddr < MOST) {
            let from = slice(file, segment.offset, segment.filesz).unwrap_or_default();
            let start = crate::layout::usize_or_max(segment.vaddr);
            let end = start.saturating_add(from.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes.get_mut(start..end).unwrap_or_default().copy_from_slice(from);
        }
        Ok(Program { bytes, elf })
    }

    fn find(&self, name: &'static str) -> elf::Result<Option<u64>> {
        Ok(self.elf.symbols()?.find(|symbol| symbol.name == name.as_bytes()).map(|symbol| symbol.value))
    }

    /// The value of a symbol.
    ///
    /// # Errors
    /// [`elf::Error`] where there is none.
    pub(crate) fn symbol(&self, name: &'static str) -> elf::Result<u64> {
        self.find(name)?.ok_or_else(|| elf::Error::Damaged {
            field: name,
            at: crate::bytes::FileOffset(0),
            reason: "no such symbol".to_owned(),
        })
    }
}

/// Which decompressor a boot stub has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unpacker {
    /// LZ4's legacy frame; takes payloads that are not compressed, too.
    Lz4,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// xz, with the x86 branch converter or without.
    Xz,
}

impl Unpacker {
    /// All of them.
    pub(crate) const ALL: [Unpacker; 4] = [Unpacker::Lz4, Unpacker::Gzip, Unpacker::Zstd, Unpacker::Xz];

    /// What its codec is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unpacker::Lz4 => "lz4",
            Unpacker::Gzip => "gzip",
            Unpacker::Zstd => "zstd",
            Unpacker::Xz => "xz",
        }
    }

    /// The boot stub, an ELF file.
    pub(crate) fn elf(self) -> &'static [u8] {
        match self {
            Unpacker::Lz4 => include_bytes!("builtin/lz4.elf"),
            Unpacker::Gzip => include_bytes!("builtin/gzip.elf"),
            Unpacker::Zstd => include_bytes!("builtin/zstd.elf"),
            Unpacker::Xz => include_bytes!("builtin/xz.elf"),
        }
    }
}

/// A boot stub, read. All numbers are bytes from its first one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub(crate) struct BootStub {
    /// Its bytes, from where it is loaded to where its initialised data ends.
    pub(crate) bytes: Vec<u8>,
    /// Where the file may go on: up to here the stub needs memory before it has moved, all zero.
    pub(crate) early_end: u64,
    /// The memory that it takes, stack and page tables included.
    pub(crate) memory: u64,
    /// Where writable data begins.
    pub(crate) data_at: u64,
    /// Where the packer's parameters go.
    pub(crate) parameters_at: u64,
    /// Where the copy of the setup's header goes, which EFI's way in reads.
    pub(crate) setup_header_at: u64,
    /// Where `struct kernel_info` of the boot protocol stands.
    pub(crate) kernel_info_at: u64,
    /// Where EFI enters, when it can.
    pub(crate) efi_pe_entry: Option<u64>,
}

impl BootStub {
    /// Reads a boot stub: the bytes and symbols that its linker script promises.
    ///
    /// # Errors
    /// [`elf::Error`] for a file that is none.
    pub(crate) fn read(file: &[u8]) -> elf::Result<BootStub> {
        let mut program = Program::read(file)?;
        let mut bytes = std::mem::take(&mut program.bytes);
        bytes.resize(crate::layout::usize_or_max(program.symbol("_edata")?.min(1 << 24)), 0);
        let stub = BootStub {
            early_end: program.symbol("_early_end")?,
            memory: program.symbol("_end")?,
            data_at: program.symbol("_data")?,
            parameters_at: program.symbol("parameters")?,
            setup_header_at: program.symbol("setup_header")?,
            kernel_info_at: program.symbol("kernel_info")?,
            efi_pe_entry: program.find("efi_pe_entry")?,
            bytes,
        };
        let block = Cursor::little(&stub.bytes);
        block.take("parameters", stub.parameters_at, LEN as u64)?;
        let magic = block.u64("parameters", stub.parameters_at)?;
        if magic != MAGIC {
            let problem = crate::bytes::Problem::Magic { found: magic, want: MAGIC };
            return Err(crate::bytes::FieldError::new("parameters", stub.parameters_at, problem).into());
        }
        Ok(stub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_and_small() {
        for (unpacker, limit) in Unpacker::ALL.into_iter().zip([24, 32, 160, 96]) {
            let stub = BootStub::read(unpacker.elf()).unwrap();
            assert!(stub.bytes.len() <= limit << 10, "{unpacker:?} has {} bytes", stub.bytes.len());
            assert!(stub.early_end >= stub.bytes.len() as u64 && stub.memory > stub.early_end);
        }
    }
}
