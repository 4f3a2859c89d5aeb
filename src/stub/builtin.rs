//! The boot stubs and the setup that come with kimage, built from `src/bootstub` by its `build.sh`.
//!
//! `builtin/manifest.json` says with which compiler; `tests/architecture/bootstub.rs` builds them again and compares.

use super::arm;
use super::parameters::{LEN, MAGIC, Parameters};
use crate::arch::Arch;
use crate::bytes::{Cursor, FieldError, len64, overwrite, slice};
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

    /// Leaves the bytes up to where initialised data ends.
    fn end_with_data(&mut self) -> elf::Result<()> {
        let end = self.symbol("_edata")?;
        self.bytes.resize(crate::layout::usize_or_max(end.min(1 << 24)), 0);
        Ok(())
    }

    /// Where the block is that [`crate::stub::parameters`] describes.
    fn parameters_at(&self) -> elf::Result<u64> {
        let at = self.symbol("parameters")?;
        let block = Cursor::little(&self.bytes);
        block.take("parameters", at, LEN as u64)?;
        let magic = block.u64("parameters", at)?;
        if magic != MAGIC {
            let problem = crate::bytes::Problem::Magic { found: magic, want: MAGIC };
            return Err(FieldError::new("parameters", at, problem).into());
        }
        Ok(at)
    }
}

/// The boot sector and loader for disks, an ELF file.
pub(crate) const DISK: &[u8] = include_bytes!("builtin/disk.elf");
/// The program for 32-bit firmware that goes into an image of a 64-bit kernel, an ELF file.
pub(crate) const MIXED: &[u8] = include_bytes!("builtin/mixed-i486.elf");

/// Which decompressor a boot stub has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unpacker {
    /// LZ4's legacy frame; takes payloads that are not compressed, too.
    Lz4,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// xz, with the CPU's branch converter or without.
    Xz,
    /// LZMA alone.
    Lzma,
    /// LZO1X in lzop's container.
    Lzo,
}

impl Unpacker {
    /// All of them.
    pub(crate) const ALL: [Unpacker; 6] =
        [Unpacker::Lz4, Unpacker::Gzip, Unpacker::Zstd, Unpacker::Xz, Unpacker::Lzma, Unpacker::Lzo];

    /// What its codec is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unpacker::Lz4 => "lz4",
            Unpacker::Gzip => "gzip",
            Unpacker::Zstd => "zstd",
            Unpacker::Xz => "xz",
            Unpacker::Lzma => "lzma",
            Unpacker::Lzo => "lzo",
        }
    }

    /// The boot stub, an ELF file, for CPUs of 64 bits or of 32; the last two are zboot images' alone.
    pub(crate) fn elf(self, is_64: bool) -> Option<&'static [u8]> {
        Some(match (self, is_64) {
            (Unpacker::Lz4, true) => include_bytes!("builtin/lz4.elf"),
            (Unpacker::Lz4, false) => include_bytes!("builtin/lz4-i486.elf"),
            (Unpacker::Gzip, true) => include_bytes!("builtin/gzip.elf"),
            (Unpacker::Gzip, false) => include_bytes!("builtin/gzip-i486.elf"),
            (Unpacker::Zstd, true) => include_bytes!("builtin/zstd.elf"),
            (Unpacker::Zstd, false) => include_bytes!("builtin/zstd-i486.elf"),
            (Unpacker::Xz, true) => include_bytes!("builtin/xz.elf"),
            (Unpacker::Xz, false) => include_bytes!("builtin/xz-i486.elf"),
            (Unpacker::Lzma | Unpacker::Lzo, _) => return None,
        })
    }

    /// The boot stub of unified kernel images, an ELF file for CPUs of 64 bits.
    pub(crate) fn unified_elf(self) -> Option<&'static [u8]> {
        match self {
            Unpacker::Lz4 => Some(include_bytes!("builtin/unified-lz4.elf")),
            Unpacker::Zstd => Some(include_bytes!("builtin/unified-zstd.elf")),
            Unpacker::Gzip | Unpacker::Xz | Unpacker::Lzma | Unpacker::Lzo => None,
        }
    }

    /// The boot stub for ARM, an ELF file.
    pub(crate) fn arm_elf(self) -> Option<&'static [u8]> {
        match self {
            Unpacker::Lz4 => Some(include_bytes!("builtin/arm-lz4.elf")),
            Unpacker::Gzip => Some(include_bytes!("builtin/arm-gzip.elf")),
            Unpacker::Zstd | Unpacker::Lzma | Unpacker::Lzo => None,
            Unpacker::Xz => Some(include_bytes!("builtin/arm-xz.elf")),
        }
    }
}

/// A boot stub, read. All numbers are bytes from its first one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub(crate) struct BootStub {
    /// For CPUs of 64 bits; else for those of 32 bits, from the 486 on.
    pub(crate) is_64: bool,
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
    /// Where boot loaders of 32-bit EFI enter by the handover protocol, in [`MIXED`].
    pub(crate) efi_handover_entry: Option<u64>,
}

impl BootStub {
    /// Reads a boot stub: the bytes and symbols that its linker script promises.
    ///
    /// # Errors
    /// [`elf::Error`] for a file that is none.
    pub(crate) fn read(file: &[u8]) -> elf::Result<BootStub> {
        let mut program = Program::read(file)?;
        program.end_with_data()?;
        Ok(BootStub {
            is_64: program.elf.is_64(),
            early_end: program.symbol("_early_end")?,
            memory: program.symbol("_end")?,
            data_at: program.symbol("_data")?,
            parameters_at: program.parameters_at()?,
            setup_header_at: program.symbol("setup_header")?,
            kernel_info_at: program.symbol("kernel_info")?,
            efi_pe_entry: program.find("efi_pe_entry")?,
            efi_handover_entry: program.find("efi_handover_entry")?,
            bytes: program.bytes,
        })
    }
}

/// The EFI program of zboot images, read. All numbers are bytes from its first one.
#[derive(Debug, Clone)]
pub(crate) struct EfiProgram {
    /// Its bytes, from where it is loaded to where its initialised data ends.
    pub(crate) bytes: Vec<u8>,
    /// The memory that it takes.
    pub(crate) memory: u64,
    /// Where writable data begins.
    pub(crate) data_at: u64,
    /// Where the packer's parameters go.
    pub(crate) parameters_at: u64,
    /// Where the firmware enters.
    pub(crate) entry: u64,
}

impl EfiProgram {
    /// The one for this CPU; `None` where there is none.
    ///
    /// # Errors
    /// As [`BootStub::read`].
    pub(crate) fn of(arch: Arch, unpacker: Unpacker) -> elf::Result<Option<EfiProgram>> {
        let file: &[u8] = match (arch, unpacker) {
            (Arch::Arm64, Unpacker::Lz4) => include_bytes!("builtin/zboot-arm64-lz4.elf"),
            (Arch::Arm64, Unpacker::Gzip) => include_bytes!("builtin/zboot-arm64-gzip.elf"),
            (Arch::Arm64, Unpacker::Zstd) => include_bytes!("builtin/zboot-arm64-zstd.elf"),
            (Arch::Arm64, Unpacker::Xz) => include_bytes!("builtin/zboot-arm64-xz.elf"),
            (Arch::Arm64, Unpacker::Lzma) => include_bytes!("builtin/zboot-arm64-lzma.elf"),
            (Arch::Arm64, Unpacker::Lzo) => include_bytes!("builtin/zboot-arm64-lzo.elf"),
            (Arch::Riscv, Unpacker::Lz4) => include_bytes!("builtin/zboot-riscv64-lz4.elf"),
            (Arch::Riscv, Unpacker::Gzip) => include_bytes!("builtin/zboot-riscv64-gzip.elf"),
            (Arch::Riscv, Unpacker::Zstd) => include_bytes!("builtin/zboot-riscv64-zstd.elf"),
            (Arch::Riscv, Unpacker::Xz) => include_bytes!("builtin/zboot-riscv64-xz.elf"),
            (Arch::Riscv, Unpacker::Lzma) => include_bytes!("builtin/zboot-riscv64-lzma.elf"),
            (Arch::Riscv, Unpacker::Lzo) => include_bytes!("builtin/zboot-riscv64-lzo.elf"),
            (Arch::LoongArch, Unpacker::Lz4) => include_bytes!("builtin/zboot-loongarch64-lz4.elf"),
            (Arch::LoongArch, Unpacker::Gzip) => include_bytes!("builtin/zboot-loongarch64-gzip.elf"),
            (Arch::LoongArch, Unpacker::Zstd) => include_bytes!("builtin/zboot-loongarch64-zstd.elf"),
            (Arch::LoongArch, Unpacker::Xz) => include_bytes!("builtin/zboot-loongarch64-xz.elf"),
            (Arch::LoongArch, Unpacker::Lzma) => include_bytes!("builtin/zboot-loongarch64-lzma.elf"),
            (Arch::LoongArch, Unpacker::Lzo) => include_bytes!("builtin/zboot-loongarch64-lzo.elf"),
            _ => return Ok(None),
        };
        let mut program = Program::read(file)?;
        program.end_with_data()?;
        Ok(Some(EfiProgram {
            memory: program.symbol("_end")?,
            data_at: program.symbol("_data")?,
            parameters_at: program.parameters_at()?,
            entry: program.symbol("efi_pe_entry")?,
            bytes: program.bytes,
        }))
    }

    /// Its bytes, with what the packer tells it.
    ///
    /// # Errors
    /// A [`FieldError`] where it has no room for it.
    pub(crate) fn with(&self, parameters: &Parameters) -> Result<Vec<u8>, FieldError> {
        let mut bytes = self.bytes.clone();
        put(&mut bytes, "parameters", self.parameters_at, &block(parameters))?;
        Ok(bytes)
    }
}

/// The parameters as they stand in a stub.
pub(crate) fn block(parameters: &Parameters) -> Vec<u8> {
    parameters.to_words().iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Writes what a stub has room for.
///
/// # Errors
/// A [`FieldError`] where it has none.
pub(crate) fn put(stub: &mut [u8], field: &'static str, at: u64, bytes: &[u8]) -> Result<(), FieldError> {
    let have = len64(stub);
    let truncated = || FieldError::truncated(field, at, at.saturating_add(len64(bytes)), have);
    overwrite(stub, at, bytes).ok_or_else(truncated)
}

/// The boot stub for ARM, read.
#[derive(Debug, Clone)]
pub(crate) struct ArmStub {
    /// Its bytes in the file.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of memory that it takes, its variables and its stack included.
    pub(crate) memory: u64,
}

/// No boot stub for ARM is longer.
const FURTHEST: u64 = 64 << 10;

impl ArmStub {
    /// Reads a boot stub.
    ///
    /// # Errors
    /// [`elf::Error`] for a file that is none.
    pub(crate) fn read(file: &[u8]) -> elf::Result<ArmStub> {
        let mut head = Program::read(file)?.bytes;
        let word = |at: usize| Cursor::little(&head).u32("parameters", u64::try_from(at).unwrap_or(u64::MAX));
        let [len, memory] = arm::LENGTHS_AT;
        let len = u64::from(word(len)?);
        let memory = word(memory)?.into();
        head.resize(crate::layout::usize_or_max(len.min(FURTHEST)), 0);
        Ok(ArmStub { bytes: head, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_and_small() {
        for is_64 in [true, false] {
            for (unpacker, limit) in Unpacker::ALL.into_iter().zip([36, 44, 176, 96]) {
                let stub = BootStub::read(unpacker.elf(is_64).unwrap()).unwrap();
                assert_eq!(stub.is_64, is_64);
                assert!(stub.bytes.len() <= limit << 10, "{unpacker:?} has {} bytes", stub.bytes.len());
                assert!(stub.early_end >= stub.bytes.len() as u64 && stub.memory > stub.early_end);
            }
        }
    }

    #[test]
    fn those_of_unified_images_are_there_and_small() {
        for unpacker in Unpacker::ALL {
            let Some(file) = unpacker.unified_elf() else { continue };
            let stub = BootStub::read(file).unwrap();
            let plain = BootStub::read(unpacker.elf(true).unwrap()).unwrap();
            let more = stub.bytes.len() - plain.bytes.len();
            assert!(stub.is_64 && stub.efi_pe_entry.is_some() && more <= 24 << 10, "{unpacker:?}: {more} bytes more");
        }
    }

    #[test]
    fn efi_programs_are_there_and_small() {
        for arch in [Arch::Arm64, Arch::Riscv, Arch::LoongArch] {
            for (unpacker, limit) in Unpacker::ALL.into_iter().zip([24, 40, 160, 64, 64, 24]) {
                let program = EfiProgram::of(arch, unpacker).unwrap().unwrap();
                assert!(program.bytes.len() <= limit << 10, "{arch:?} {unpacker:?}: {} bytes", program.bytes.len());
                assert!(program.memory >= program.bytes.len() as u64 && program.entry < program.data_at);
            }
        }
    }
}
