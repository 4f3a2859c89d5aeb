//! The boot stubs and the setup that come with kimage, built from `src/bootstub` by its `build.sh`.
//!
//! `builtin/manifest.json` says with which compiler; `tests/architecture/bootstub.rs` builds them again and compares.

use super::parameters::{LEN, MAGIC};
use crate::bytes::{Cursor, slice};
use crate::elf::{self, Elf, PT_LOAD};

/// The real-mode setup, an ELF file.
pub(crate) const SETUP: &[u8] = include_bytes!("builtin/setup.elf");

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
        let elf = Elf::parse(file)?;
        let find = |name: &'static str| -> elf::Result<Option<u64>> {
            Ok(elf.symbols()?.find(|symbol| symbol.name == name.as_bytes()).map(|symbol| symbol.value))
        };
        let symbol = |name| -> elf::Result<u64> {
            find(name)?.ok_or_else(|| elf::Error::Damaged {
                field: name,
                at: crate::bytes::FileOffset(0),
                reason: "no such symbol".to_owned(),
            })
        };
        let end = symbol("_edata")?;
        let mut bytes = vec![0; crate::layout::usize_or_max(end.min(1 << 24))];
        for segment in elf.segments().iter().filter(|segment| segment.kind == PT_LOAD) {
            let from = slice(file, segment.offset, segment.filesz).unwrap_or_default();
            let start = crate::layout::usize_or_max(segment.vaddr);
            if let Some(to) = start.checked_add(from.len()).and_then(|end| bytes.get_mut(start..end)) {
                to.copy_from_slice(from);
            }
        }
        let stub = BootStub {
            early_end: symbol("_early_end")?,
            memory: symbol("_end")?,
            data_at: symbol("_data")?,
            parameters_at: symbol("parameters")?,
            setup_header_at: symbol("setup_header")?,
            kernel_info_at: symbol("kernel_info")?,
            efi_pe_entry: find("efi_pe_entry")?,
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
