//! Layer 5: the code that unpacks the payload.
//!
//! A [`Stub`] is a decompressor that is already linked around its payload: `arch/x86/boot/compressed/vmlinux` or
//! `arch/arm/boot/compressed/vmlinux`. It is recognised by its symbols, never by its name.
//!
//! [`builtin`] has the boot stubs of our own, which take any payload. What they do with memory and with the kernel is the
//! code of [`memory`], [`load`] and [`cmdline`], told by [`parameters`]: the source in `src/bootstub` includes these files.
//! [`disk`] is how a BIOS comes from a disk to a kernel.

#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod arm;
pub(crate) mod builtin;
#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod cmdline;
pub(crate) mod disk;
#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod efi_text;
#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod load;
#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod memory;
#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod parameters;
#[allow(dead_code, unreachable_pub, reason = "shared with the boot stub")]
pub(crate) mod sections;

use crate::arch::Arch;
use crate::bytes::PhysAddr;
use crate::elf::{self, Elf, FlatImage, FlatOptions, flatten};
use crate::layout::Plan;
use miette::Diagnostic;
use std::collections::HashMap;

/// The result of this module.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The file is not a linked decompressor.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The ELF file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Elf(#[from] elf::Error),
    /// It cannot be flattened: a section lies too far away. Leaving it out, as of a flat image, is no way out here.
    #[error(transparent)]
    #[diagnostic(help("its load addresses are no decompressor's: give the file as the kernel's build linked it"))]
    NotFlat(elf::Error),
    /// It is the kernel itself, not the decompressor around it.
    #[error("this is the kernel itself{}, not the decompressor linked around it: it has no symbol {missing}", name(.release))]
    #[diagnostic(help("give {instead} of the same build, which holds this kernel compressed"))]
    Kernel {
        /// `Linux version …` without the compiler, where it was found.
        release: Option<String>,
        /// The first symbol that a decompressor would have.
        missing: &'static str,
        /// The decompressor's place in the kernel tree.
        instead: &'static str,
    },
    /// It is some other program.
    #[error("this is no kernel's decompressor: it has no symbol {missing}")]
    #[diagnostic(help("give {instead} of a kernel build"))]
    NotADecompressor {
        /// The first symbol that a decompressor would have.
        missing: &'static str,
        /// The decompressor's place in the kernel tree.
        instead: &'static str,
    },
    /// It is for another CPU.
    #[error("the ELF file is for {found}, wanted {want}")]
    WrongCpu {
        /// The CPU of the file.
        found: String,
        /// The CPUs that the image format is for.
        want: &'static str,
        /// What to do instead.
        #[help]
        help: &'static str,
    },
    /// It is not linked yet.
    #[error("this is an object file (e_type ET_REL), it is not linked yet")]
    #[diagnostic(help("give the linked file, vmlinux"))]
    NotLinked,
    /// A flat file has no symbols, and none came with it.
    #[error("the decompressor is a flat file without symbols, and only they tell {what}")]
    #[diagnostic(help(
        "give arch/x86/boot/compressed/vmlinux itself, or arch/x86/boot/zoffset.h with `request.zoffset`"
    ))]
    NoSymbols {
        /// What is not known without them.
        what: &'static str,
    },
    /// A symbol that the image needs is missing.
    #[error("the decompressor has no symbol {name}, which {why}")]
    #[diagnostic(help("give the decompressor as the kernel's build linked it, with its symbol table"))]
    MissingSymbol {
        /// The symbol.
        name: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
}

fn name(release: &Option<String>) -> String {
    release.as_ref().map_or_else(String::new, |release| format!(" (Linux {release})"))
}

/// Symbols of a decompressor that image builders ask for (`arch/x86/boot/tools/build.c`, `arch/x86/boot/header.S`).
const WANTED: &[&str] = &[
    "_edata",
    "_ehead",
    "_end",
    "efi32_pe_entry",
    "efi32_stub_entry",
    "efi64_stub_entry",
    "efi_pe_entry",
    "efi_stub_entry",
    "input_data",
    "input_data_end",
    "input_len",
    "kernel_info",
    "startup_32",
    "startup_64",
    "z_input_len",
];

/// A decompressor, linked around its payload.
#[derive(Debug, Clone)]
pub(crate) struct Stub<'a> {
    code: Code<'a>,
    symbols: HashMap<&'static str, u64>,
}

#[derive(Debug, Clone)]
enum Code<'a> {
    Linked(Elf<'a>),
    Flat(&'a [u8]),
}

impl<'a> Stub<'a> {
    /// Recognises x86's `compressed/vmlinux`: an x86 ELF file with the symbols `input_data` and `z_input_len` or
    /// `input_len`, and `_end`.
    ///
    /// # Errors
    /// [`Error::WrongCpu`], [`Error::Kernel`], [`Error::NotADecompressor`] say what the file is instead.
    pub(crate) fn x86(elf: Elf<'a>) -> Result<Self> {
        const INSTEAD: &str = "arch/x86/boot/compressed/vmlinux";
        check_cpu(&elf, &[Arch::X86, Arch::X86_64], "x86", "for an ARM kernel use `kimage zimage`")?;
        let stub = Self::with_symbols(elf, INSTEAD)?;
        let missing = if stub.symbol("input_data").is_none() {
            "input_data"
        } else if stub.symbol("z_input_len").or(stub.symbol("input_len")).is_none() {
            "z_input_len"
        } else if stub.symbol("_end").is_none() {
            "_end"
        } else {
            return Ok(stub);
        };
        Err(stub.not_a_decompressor(missing, INSTEAD))
    }

    /// Takes x86's `compressed/vmlinux` as objcopy flattened it, with its symbols as `zoffset.h` has them: no more than those,
    /// and none at all before Linux 2.6.31.
    pub(crate) fn x86_flat(bytes: &'a [u8], zoffset: &[(String, u64)]) -> Self {
        let wanted = |(name, value): &(String, u64)| Some((*WANTED.iter().find(|wanted| **wanted == name)?, *value));
        Stub { code: Code::Flat(bytes), symbols: zoffset.iter().filter_map(wanted).collect() }
    }

    /// Recognises ARM's `compressed/vmlinux`: an ARM ELF file with the symbols `input_data` and `_edata`.
    ///
    /// # Errors
    /// As [`Stub::x86`].
    pub(crate) fn arm(elf: Elf<'a>) -> Result<Self> {
        const INSTEAD: &str = "arch/arm/boot/compressed/vmlinux";
        check_cpu(
            &elf,
            &[Arch::Arm],
            "32-bit ARM",
            "for an x86 kernel use `kimage bzimage`, for others `kimage image`",
        )?;
        let stub = Self::with_symbols(elf, INSTEAD)?;
        let missing = match (stub.symbol("input_data"), stub.symbol("_edata")) {
            (None, _) => "input_data",
            (_, None) => "_edata",
            _ => return Ok(stub),
        };
        Err(stub.not_a_decompressor(missing, INSTEAD))
    }

    fn not_a_decompressor(&self, missing: &'static str, instead: &'static str) -> Error {
        match &self.code {
            Code::Linked(elf) => not_a_decompressor(elf, missing, instead),
            Code::Flat(_) => Error::NotADecompressor { missing, instead },
        }
    }

    fn with_symbols(elf: Elf<'a>, instead: &'static str) -> Result<Self> {
        if elf.kind() == elf::Kind::Relocatable {
            return Err(Error::NotLinked);
        }
        let table = match elf.symbols() {
            // A stripped kernel is the wrong file before it is a stripped one.
            Err(elf::Error::NoSymbols) if elf.release().is_some() => {
                return Err(not_a_decompressor(&elf, "input_data", instead));
            }
            other => other?,
        };
        let mut symbols = HashMap::new();
        for symbol in table.filter(|symbol| symbol.is_defined() && !symbol.is_debugging()) {
            if let Some(name) = WANTED.iter().find(|name| name.as_bytes() == symbol.name) {
                symbols.insert(*name, symbol.value);
            }
        }
        Ok(Stub { code: Code::Linked(elf), symbols })
    }

    /// The flat binary of it: `objcopy -O binary`, without the sections of these names, of at most `max_size` bytes, and not
    /// much more than the file holds.
    ///
    /// # Errors
    /// [`Error::NotFlat`] for load addresses that make it larger.
    pub(crate) fn flat(&self, removes: &[&str], max_size: u64) -> Result<FlatImage<'a>> {
        let elf = match &self.code {
            Code::Linked(elf) => elf,
            Code::Flat(bytes) => return Ok(FlatImage { base: PhysAddr(0), plan: Plan::of("system", bytes) }),
        };
        let options = FlatOptions::without(removes)?.in_memory(elf);
        let options = FlatOptions { max_size: options.max_size.min(max_size), ..options };
        flatten(elf, &options).map_err(|error| match error {
            elf::Error::TooLarge { .. } | elf::Error::SectionTooLarge { .. } => Error::NotFlat(error),
            error => error.into(),
        })
    }

    /// The value of a symbol that image builders use.
    pub(crate) fn symbol(&self, name: &str) -> Option<u64> {
        self.symbols.get(name).copied()
    }

    /// Holds it to have symbols, which tell `what`.
    ///
    /// # Errors
    /// [`Error::NoSymbols`].
    pub(crate) fn need_symbols(&self, what: &'static str) -> Result<()> {
        if self.symbols.is_empty() { Err(Error::NoSymbols { what }) } else { Ok(()) }
    }

    /// The value of a symbol that must be there.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`] with the reason `why`.
    pub(crate) fn need(&self, name: &'static str, why: &'static str) -> Result<u64> {
        self.symbol(name).ok_or(Error::MissingSymbol { name, why })
    }
}

fn check_cpu(elf: &Elf<'_>, cpus: &[Arch], want: &'static str, help: &'static str) -> Result<()> {
    match elf.arch() {
        Some(arch) if cpus.contains(&arch) => Ok(()),
        Some(arch) => Err(Error::WrongCpu { found: arch.to_string(), want, help }),
        None => {
            let found = format!("an unknown CPU (e_machine {} at offset 0x12)", elf.machine());
            Err(Error::WrongCpu { found, want, help })
        }
    }
}

fn not_a_decompressor(elf: &Elf<'_>, missing: &'static str, instead: &'static str) -> Error {
    match elf.release() {
        Some(release) => Error::Kernel { release: Some(release), missing, instead },
        None if elf.section("__ksymtab").is_some() || elf.section(".init.text").is_some() => {
            Error::Kernel { release: None, missing, instead }
        }
        None => Error::NotADecompressor { missing, instead },
    }
}
