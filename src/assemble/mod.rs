//! Layer 8: writing. Bytes in, plan, ready to emit.
//!
//! Each function is a table of contents of one image; the decisions live in the layers below.

mod arm;
mod boot_elf;
mod disk;
mod efi_signature;
pub(crate) mod fit;
mod fit_auto;
mod kernel;
mod pad;
pub(crate) mod payload;
mod pcr_signature;
mod rules;
mod standalone;
mod uimage;
mod uki;
mod zboot;

pub(crate) use arm::zimage_rewrapped;
pub use arm::{ZImageRequest, zimage_standalone};
pub use boot_elf::{ElfRequest, boot_elf};
pub use disk::{DiskFile, DiskKind, DiskRequest, disk};
pub use efi_signature::{EfiSigning, sign_efi, unsign_efi};
pub(crate) use fit::fit_with_data;
pub use fit::{
    FitFacts, FitFile, FitImage, FitRequest, FitSignature, add_public_key, decrypt_fit, fit, fit_again, fit_from_blob,
    fit_from_source, fit_tree_list, is_tree_blob, sign_fit,
};
pub use fit_auto::{AutoFitRequest, fit_auto};
pub(crate) use kernel::packed_release;
pub use pad::{Padding, pad};
pub use payload::{Payload, PayloadForm, payload, payload_as_is};
pub use pcr_signature::{PcrSigning, sign_pcrs};
pub(crate) use rules::RULES;
pub(crate) use standalone::rewrapped;
#[cfg(feature = "internals")]
pub(crate) use standalone::unified_program;
pub use standalone::{Firmware, StandaloneRequest, bzimage_standalone};
pub use uimage::{Derived, UImageRequest, uimage};
pub use uki::{UkiRequest, uki};
pub use zboot::{ZbootRequest, zboot};

// What the requests are made of.
pub use crate::elf::{DEFAULT_MAX_SIZE, FlagList, FlatOptions, RemoveList, SectionFlags};
pub use crate::format::bzimage::{CrcChoice, Generation};
pub use crate::format::cpio::CpioFile;
pub use crate::format::dts::{Error as SourceError, File as SourceFile, Source};
pub use crate::format::fit::{Algorithm, External, FitLayout, Options as FitOptions, Signing, TreeList};
pub use crate::format::uimage::{ARCH, COMPRESSION, Name, Names, OS, TYPE};
pub use crate::format::uki::measured::PcrKey;

use crate::arch::Arch;
use crate::bytes::{Patch, len64};
use crate::codec::{Codec, Parameters};
use crate::elf::{self, Elf, flatten};
use crate::error::{Error, InputError, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::format::bootp::{self, Places};
use crate::format::bzimage::{self, Built, BzImage, Decompressor, Details, Parts, Setup, stub_cpu};
use crate::format::cpio;
use crate::format::zimage::{self, ZImage};
use crate::layout::{Content, Emitted, Plan, RegionKind, Reserver};
use crate::stub::Stub;
use crate::stub::parameters::KASLR;
use std::borrow::Cow;

/// An image that is ready to be written, and what was learned while it was planned.
#[derive(Debug)]
pub struct Assembled<'a> {
    /// The image.
    pub plan: Plan<'a>,
    /// What it is.
    pub facts: Facts,
    /// Header fields that were written into a given header.
    pub patches: Vec<Patch>,
    /// What is worth knowing about it.
    pub findings: Vec<Finding>,
    /// What was made on the way, in order; empty when the parts were given.
    pub steps: Vec<Step>,
    /// The control device tree of [`Signing::control`], with the public keys in it.
    pub control: Option<Vec<u8>>,
}

/// A file that the kernel's build makes on the way to the image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Its name in the kernel's build folder.
    pub file: String,
    /// Bytes of it.
    pub size: u64,
    /// How it came about.
    pub how: String,
}

/// `2.15`
fn version<S: serde::Serializer>(protocol: &u16, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}.{:02}", protocol >> 8, protocol & 0xff))
}

impl<'a> Assembled<'a> {
    pub(crate) fn new(plan: Plan<'a>, facts: Facts) -> Self {
        Assembled { plan, facts, patches: Vec::new(), findings: Vec::new(), steps: Vec::new(), control: None }
    }

    /// Writes the image.
    ///
    /// # Errors
    /// The writer's own.
    pub fn emit(&self, out: impl std::io::Write) -> Result<Emitted> {
        Ok(self.plan.emit(out)?)
    }

    /// Writes the image at the position of a file, which is behind it then. Faster where a header has a digest of what is
    /// behind it: that is hashed while it is written, and the header comes last.
    ///
    /// # Errors
    /// The file's own.
    pub fn emit_seek(&self, out: impl std::io::Write + std::io::Seek) -> Result<Emitted> {
        Ok(self.plan.emit_seek(out)?)
    }
}

/// What an assembled image is.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "format", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Facts {
    /// x86 bzImage.
    BzImage {
        /// How the kernel's own build does it.
        generation: Generation,
        /// Protocol version, 0x020f for 2.15.
        #[serde(serialize_with = "version")]
        protocol: u16,
        /// The version text of the setup.
        kernel_version: Option<String>,
        /// Bytes of the setup.
        setup_size: u64,
        /// Bytes of the setup, padded.
        setup_padded: u64,
        /// Bytes of the flat system.
        system_size: u64,
    },
    /// x86 bzImage around kimage's own boot stub.
    #[serde(rename = "bzimage")]
    StandaloneBzImage {
        /// `kimage`, where [`Facts::BzImage`] has a generation of Linux.
        stub: &'static str,
        /// What `kernel_version` says.
        kernel_version: String,
        /// The codec by which the kernel is compressed.
        compression: &'static str,
        /// Bytes of the kernel.
        kernel_size: u64,
        /// Bytes of the kernel, compressed.
        payload_size: u64,
        /// Bytes of memory that it needs to start (`init_size`).
        memory: u64,
        /// Its addresses are chosen at random.
        kaslr: bool,
        /// The CPUs that it starts on, as far as the boot stub is concerned: `x86-64`, or `486 or later`.
        cpu: &'static str,
    },
    /// ELF file for loaders that do not know a bzImage.
    #[serde(rename = "elf")]
    BootElf {
        /// 64 or 32: the file's class.
        bits: u8,
        /// The kernel's version.
        kernel_version: Option<String>,
        /// The codec by which the kernel is compressed.
        compression: &'static str,
        /// Bytes of the kernel.
        kernel_size: u64,
        /// Bytes of the kernel, compressed.
        payload_size: u64,
        /// The first physical address that is loaded.
        load_address: u64,
        /// Bytes of memory from there.
        memory: u64,
        /// `e_entry`, a physical address.
        entry_point: u64,
        /// PVH's entry, where there is one.
        pvh_entry: Option<u64>,
        /// Its addresses are chosen at random.
        kaslr: bool,
    },
    /// EFI zboot image around kimage's own EFI program.
    Zboot {
        /// `kimage`.
        stub: &'static str,
        /// The CPU.
        arch: &'static str,
        /// The kernel's release, where its banner is found.
        kernel_version: Option<String>,
        /// The codec by which the kernel is compressed.
        compression: &'static str,
        /// Bytes of the kernel.
        kernel_size: u64,
        /// Bytes of the kernel, compressed.
        payload_size: u64,
        /// Bytes of memory that it needs in one piece to start.
        memory: u64,
    },
    /// An image with something in it changed.
    Edited {
        /// What it is.
        container: &'static str,
        /// It is built around kimage's own boot stub now, and was not.
        wrapped: bool,
    },
    /// ARM zImage.
    ZImage {
        /// Bytes up to the first device tree.
        kernel_size: u64,
        /// Device trees behind it.
        dtbs: usize,
    },
    /// ARM bootpImage.
    Bootp {
        /// Bytes of the zImage up to its first device tree.
        kernel_size: u64,
        /// Bytes of the RAM disk.
        initrd_size: u64,
    },
    /// cpio archive.
    Cpio {
        /// Entries, the trailer left out.
        entries: usize,
        /// Bytes of it, before it was compressed.
        data_size: u64,
        /// The codec's name.
        compression: &'static str,
    },
    /// A disk to start from.
    Disk {
        /// Of what kind.
        kind: DiskKind,
        /// A BIOS starts it.
        bios: bool,
        /// The names in `EFI/BOOT` that UEFI firmware of each CPU starts.
        efi: Vec<String>,
        /// Files on it.
        files: usize,
    },
    /// Flat binary.
    Flat {
        /// Load address of its first byte.
        load_address: u64,
        /// The CPU, where it is known.
        arch: Option<&'static str>,
        /// Sections in it.
        sections: usize,
    },
    /// U-Boot legacy image.
    UImage {
        /// The CPU's short name, as `mkimage -A`.
        arch: Option<&'static str>,
        /// The operating system's short name, as `mkimage -O`.
        os: Option<&'static str>,
        /// The type's short name, as `mkimage -T`.
        #[serde(rename = "type")]
        kind: Option<&'static str>,
        /// The compression's short name, as `mkimage -C`.
        compression: Option<&'static str>,
        /// All four, as `mkimage -l` puts it.
        description: String,
        /// `ih_load`.
        load_address: u32,
        /// `ih_ep`.
        entry_point: u32,
        /// `ih_name`.
        name: String,
        /// `ih_time`, seconds since 1970.
        time: u32,
        /// Bytes of data behind the header.
        data_size: u64,
        /// Fields that nobody gave.
        derived: Vec<Derived>,
    },
    /// EFI program that was signed, or whose signatures were taken out.
    Efi {
        /// Who signed it, by the name in the certificate; nobody where the signatures were taken out.
        #[serde(skip_serializing_if = "Option::is_none")]
        signer: Option<String>,
        /// Hash and key of the signature: `sha256,rsa2048`.
        #[serde(skip_serializing_if = "String::is_empty")]
        algorithm: String,
        /// The Authenticode digest that was signed, hexadecimal.
        #[serde(skip_serializing_if = "String::is_empty")]
        digest: String,
        /// Signatures that are there now.
        signature_count: usize,
    },
    /// Unified kernel image, addon, or profile.
    Uki {
        /// What its boot stub calls itself.
        boot_stub: Option<String>,
        /// The kernel's release, where it is found.
        kernel_version: Option<String>,
        /// Sections that were added to the stub.
        sections: usize,
        /// Profiles among them.
        profiles: usize,
        /// It has no kernel.
        addon: bool,
    },
    /// Unified kernel image whose measurement was signed.
    PcrSignature {
        /// Policies that are signed: one for each phase, bank and profile.
        policies: usize,
        /// Profiles that it has.
        profiles: usize,
    },
    /// FIT.
    Fit(FitFacts),
}

/// What the kernel's build has for an x86 image besides the decompressor.
#[derive(Debug, Clone, Default)]
pub struct X86Request<'a> {
    /// `bootsect`, before Linux 2.6.23.
    pub bootsect: Option<&'a [u8]>,
    /// `setup.bin` or `setup.elf`; before Linux 2.6.23 `setup`.
    pub setup: &'a [u8],
    /// The symbols of a flat decompressor, which has none itself: names without `ZO_`, and values, as `zoffset.h` has them.
    pub zoffset: &'a [(String, u64)],
    /// Whether to write the CRC.
    pub crc: CrcChoice,
    /// Major and minor number of the device of the root file system, up to Linux 3.2; 8 bits of each are written.
    pub root_dev: (u32, u32),
    /// A zImage, which is loaded below 640 KiB; a bzImage otherwise. The setup has to be made for it.
    pub is_low: bool,
}

/// x86 bzImage out of the linked decompressor and the setup (`setup.bin` or `setup.elf`).
///
/// # Errors
/// As [`x86_image`].
pub fn bzimage<'a>(vmlinux: &'a [u8], setup: &'a [u8], crc: CrcChoice) -> Result<Assembled<'a>> {
    x86_image(vmlinux, &X86Request { setup, crc, ..X86Request::default() })
}

/// x86 bzImage or zImage out of the decompressor, linked or already flat, and what else the kernel's build has for it.
///
/// # Errors
/// [`Error`] says which of them is not what it should be, and which file of the kernel tree to give instead.
pub fn x86_image<'a>(vmlinux: &'a [u8], request: &X86Request<'a>) -> Result<Assembled<'a>> {
    let stub = x86_stub(vmlinux, request)?;
    let setup = match request.bootsect {
        None => bzimage_setup(request.setup)?,
        Some(bootsect) => two_part_setup(bootsect, request.setup)?,
    };
    if Setup::parse(&setup).is_ok_and(|setup| setup.is_loaded_high() == request.is_low) {
        let (found, want, help) = match request.is_low {
            true => ("the setup of a bzImage (LOADED_HIGH is set)", "that of a zImage", "use `kimage bzimage`"),
            false => ("the setup of a zImage (LOADED_HIGH is not set)", "that of a bzImage", "use `kimage zimage`"),
        };
        return Err(Error::wrong_input("SETUP", found, want, help));
    }
    let decompressor = Decompressor::Linked { stub: &stub, root_dev: request.root_dev };
    planned(Parts { setup, decompressor, crc: request.crc })
}

fn x86_stub<'a>(vmlinux: &'a [u8], request: &X86Request<'_>) -> Result<Stub<'a>> {
    const WANT: &str = "arch/x86/boot/compressed/vmlinux (an ELF file), or what objcopy made of it";
    match Format::detect(vmlinux) {
        Some(Format::Elf) => {}
        None if is_flat(vmlinux) => return Ok(Stub::x86_flat(vmlinux, request.zoffset)),
        Some(Format::BzImage) if is_setup_alone(vmlinux) => {
            let help = "the order is VMLINUX SETUP: give arch/x86/boot/compressed/vmlinux first";
            return Err(Error::wrong_input("VMLINUX", "a setup.bin", WANT, help));
        }
        _ => {
            let help =
                "give the decompressor as the linker left it, or as objcopy flattened that (arch/x86/boot/vmlinux.bin)";
            return Err(Error::wrong_input("VMLINUX", describe(vmlinux), WANT, help));
        }
    }
    let elf = Elf::parse(vmlinux).map_err(|error| Error::input("VMLINUX", error))?;
    Stub::x86(elf).map_err(|error| Error::input("VMLINUX", error))
}

fn planned<'a>(parts: Parts<'a, '_>) -> Result<Assembled<'a>> {
    let Built { plan, patches, kernel_version, details } = bzimage::plan(parts).map_err(Error::BzImage)?;
    let facts = match details {
        Details::Linked { generation, protocol, setup_len, setup_padded, system_len } => Facts::BzImage {
            generation,
            protocol,
            kernel_version,
            setup_size: setup_len,
            setup_padded,
            system_size: system_len,
        },
        Details::Standalone { codec, parameters, is_64 } => Facts::StandaloneBzImage {
            stub: "kimage",
            kernel_version: kernel_version.unwrap_or_default(),
            compression: codec.name(),
            kernel_size: parameters.unpacked_len,
            payload_size: parameters.payload_len,
            memory: parameters.init_size,
            kaslr: parameters.has(KASLR),
            cpu: stub_cpu(is_64),
        },
    };
    Ok(Assembled { patches, ..Assembled::new(plan, facts) })
}

/// True when `kernel` is what [`bzimage_standalone`] takes and [`bzimage`] does not: the kernel itself, or an image. For
/// [`Arch::Arm`] the same of [`zimage_standalone`] and [`zimage`].
pub fn is_for_standalone_stub(kernel: &[u8], arch: Arch) -> bool {
    if arch == Arch::Arm { arm::is_kernel(kernel) } else { standalone::is_kernel(kernel) }
}

/// Is `vmlinux` no linked decompressor, but what objcopy may have made of one? [`X86Request::zoffset`] has its symbols then.
pub fn is_flat(vmlinux: &[u8]) -> bool {
    Format::detect(vmlinux).is_none() && holds_kernel(vmlinux)
}

/// Is there a kernel in what may be a flat decompressor, compressed or as an ELF file?
fn holds_kernel(flat: &[u8]) -> bool {
    let by_magic = |codec: &Codec| *codec != Codec::None && codec.candidates(flat).next().is_some();
    Codec::ALL.iter().any(by_magic) || memchr::memmem::find(flat, &object::elf::ELFMAG).is_some()
}

/// `bootsect` and `setup`.
fn two_part_setup<'a>(bootsect: &[u8], setup: &[u8]) -> Result<Cow<'a, [u8]>> {
    const WANT: &str = "arch/i386/boot/setup (bsetup up to Linux 2.4)";
    if !bzimage::is_second_part(setup) {
        let help = "the order is VMLINUX BOOTSECT SETUP; a setup.bin has its boot sector in it, and is given alone";
        return Err(Error::wrong_input("SETUP", describe(setup), WANT, help));
    }
    let joined = bzimage::join_setup(bootsect, setup)
        .map_err(|(is_bootsect, error)| Error::input(if is_bootsect { "BOOTSECT" } else { "SETUP" }, error))?;
    Ok(Cow::Owned(joined))
}

pub(crate) fn bzimage_setup(setup: &[u8]) -> Result<Cow<'_, [u8]>> {
    const WANT: &str = "arch/x86/boot/setup.bin or setup.elf";
    match Format::detect(setup) {
        Some(Format::Elf) => {
            let elf = Elf::parse(setup).map_err(|error| Error::input("SETUP", error))?;
            // As the kernel's Makefile does: objcopy -O binary, nothing removed. What is too far away is named there.
            let options = FlatOptions { max_size: bzimage::MAX_SETUP, ..FlatOptions::default() };
            let flat = flatten(&elf, &options).map_err(|error| Error::Input {
                which: "SETUP",
                source: match error {
                    elf::Error::TooLarge { .. } => InputError::SetupTooLarge(error),
                    error => error.into(),
                },
            })?;
            let bytes = flat.plan.bytes();
            if !Setup::detect(&bytes) {
                let help =
                    "give the setup of the kernel's build; where it is the first file, the order is VMLINUX SETUP";
                return Err(Error::wrong_input("SETUP", "an ELF file without setup header", WANT, help));
            }
            Ok(Cow::Owned(bytes))
        }
        Some(Format::BzImage) if BzImage::parse(setup).is_ok_and(|image| !image.setup().is_unassembled()) => {
            let help = "give the setup alone, as the kernel's build left it";
            Err(Error::wrong_input("SETUP", "a whole bzImage", WANT, help))
        }
        None if bzimage::is_second_part(setup) => {
            let help = "give arch/i386/boot/bootsect too, in front of it: VMLINUX BOOTSECT SETUP";
            Err(Error::wrong_input("SETUP", "a setup without its boot sector", WANT, help))
        }
        // Setup::parse says what is wrong with anything else that may be a setup; one that is cut off may have its EFI
        // header still.
        Some(Format::BzImage | Format::Pe) | None if !setup.is_empty() => Ok(Cow::Borrowed(setup)),
        _ => Err(Error::wrong_input("SETUP", describe(setup), WANT, "give the real-mode setup of the kernel's build")),
    }
}

/// What an input is that is not what was wanted, for "this is …".
pub(crate) fn describe(input: &[u8]) -> &'static str {
    match Format::detect(input) {
        Some(Format::BzImage) if is_setup_alone(input) => "a setup.bin",
        None if input.is_empty() => "an empty file",
        found => found.map_or(UNKNOWN, Format::name),
    }
}

/// What [`Format::detect`] does not know.
const UNKNOWN: &str = "no kernel file that kimage knows";

/// A bzImage's real-mode setup, with nothing behind it: what the kernel's build calls setup.bin, padded or not.
fn is_setup_alone(bytes: &[u8]) -> bool {
    Setup::parse(bytes).is_ok_and(|setup| len64(bytes) <= setup.padded_len())
}

/// Files that are to be appended as device trees are no files of another kind; a FIT is a device tree blob, but no board's.
fn trees_of_boards(dtbs: &[&[u8]]) -> Result<()> {
    for (index, bytes) in dtbs.iter().enumerate() {
        if let Some(found) = Format::detect(bytes).filter(|found| *found != Format::Fdt) {
            let help = "give the .dtb file of the board, as dtc makes it";
            let source = Error::wrong_input("DTB", found.name(), "the device tree blob of a board", help);
            return Err(Error::Part { which: "DTB", index, source: Box::new(source) });
        }
    }
    Ok(())
}

/// ARM zImage out of the linked decompressor, or out of a zImage, with device trees appended.
///
/// # Errors
/// [`Error`] says what the input is instead, or which header field of it or of a device tree is wrong.
pub fn zimage<'a>(vmlinux: &'a [u8], dtbs: &[&'a [u8]]) -> Result<Assembled<'a>> {
    const WANT: &str = "arch/arm/boot/compressed/vmlinux (an ELF file) or a zImage";
    trees_of_boards(dtbs)?;
    let plan = match Format::detect(vmlinux) {
        Some(Format::Elf) => {
            let elf = Elf::parse(vmlinux).map_err(|error| Error::input("VMLINUX", error))?;
            let stub = Stub::arm(elf).map_err(|error| Error::input("VMLINUX", error))?;
            zimage::plan(&stub, dtbs)
        }
        Some(Format::ZImage) => ZImage::parse(vmlinux)
            .map_err(|error| Error::input("VMLINUX", error))
            .map(|image| zimage::plan_append(&image, dtbs))?,
        _ => {
            let help = "an arm64 or RISC-V kernel is made by `kimage image`, an x86 one by `kimage bzimage`";
            return Err(Error::wrong_input("VMLINUX", describe(vmlinux), WANT, help));
        }
    };
    let plan = plan.map_err(Error::ZImage)?;
    let kernel_size = plan.regions().first().map_or(0, |region| region.at.end);
    let trees = plan.regions().len().saturating_sub(1);
    let mut findings = Vec::new();
    if trees > 0 && !looks_for_appended_dtb(&plan, kernel_size) {
        let message = "the decompressor holds no device tree magic number: it does not seem to look behind itself";
        findings.push(rules::APPENDED_DTB.finding(message));
    }
    Ok(Assembled { findings, ..Assembled::new(plan, Facts::ZImage { kernel_size, dtbs: trees }) })
}

/// head.S compares the word at `_edata` with the device tree magic number, which it keeps in a literal pool.
fn looks_for_appended_dtb(plan: &Plan<'_>, kernel_len: u64) -> bool {
    let magic = crate::format::fdt::FDT_MAGIC;
    let words = [magic.to_le_bytes(), magic.to_be_bytes()];
    plan.pieces().iter().take_while(|piece| piece.at.start < kernel_len).any(|piece| match &piece.content {
        Content::Bytes(bytes) => words.iter().any(|word| memchr::memmem::find(bytes, word).is_some()),
        _ => false,
    })
}

/// What an ARM bootpImage is made of.
#[derive(Debug, Clone, Copy)]
pub struct BootpRequest<'a> {
    /// The initial RAM disk.
    pub initrd: &'a [u8],
    /// The kernel's own code for it, arch/arm/boot/bootp/init.o of its build; without it kimage's.
    pub init: Option<&'a [u8]>,
    /// Physical address that it is to be copied to, a multiple of 4.
    pub initrd_phys: u32,
    /// Physical address of the list of tags, a multiple of 4.
    pub params_phys: u32,
}

/// ARM `bootpImage`: a zImage with an initial RAM disk, for boot loaders that know no RAM disks. The code in front of them is
/// kimage's own, or the kernel's.
///
/// # Errors
/// [`Error`] says what the input is instead, or which address or size is wrong.
pub fn bootp<'a>(image: &'a [u8], request: &BootpRequest<'a>) -> Result<Assembled<'a>> {
    if Format::detect(image) != Some(Format::ZImage) {
        let help = "make one with `kimage zimage`";
        return Err(Error::wrong_input("ZIMAGE", describe(image), "an ARM zImage", help));
    }
    let parsed = ZImage::parse(image).map_err(|error| Error::input("ZIMAGE", error))?;
    let places = Places { initrd: request.initrd_phys, params: request.params_phys };
    let facts = Facts::Bootp { kernel_size: parsed.kernel_len(), initrd_size: len64(request.initrd) };
    let plan = bootp::plan(image, request.initrd, request.init, places)?;
    Ok(Assembled::new(plan, facts))
}

/// The files of a list in the format of the kernel's `usr/gen_init_cpio`; where they have a
/// [`location`](CpioFile::location), their data is yet to be read.
///
/// # Errors
/// [`Error::Cpio`], with the number of the line that is none.
pub fn cpio_list<'a>(text: &[u8]) -> Result<Vec<CpioFile<'a>>> {
    Ok(cpio::list(text)?)
}

/// A cpio archive (newc) for an initial RAM disk, with the bytes of the kernel's `usr/gen_init_cpio`. All files have the time
/// `mtime`, in seconds since 1970.
///
/// # Errors
/// [`Error::Cpio`] for what an archive cannot hold, and what compressing says.
///
/// # Example
///
/// ```
/// let list = b"dir /dev 0755 0 0\nnod /dev/console 0600 0 0 c 5 1\n";
/// let files = kimage::assemble::cpio_list(list)?;
/// let archive = kimage::assemble::cpio(files, 0, kimage::codec::Codec::None, &Default::default())?;
/// assert_eq!(archive.plan.len(), 512);
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn cpio<'a>(files: Vec<CpioFile<'a>>, mtime: u32, codec: Codec, options: &Parameters) -> Result<Assembled<'a>> {
    let entries = files.iter().map(|file| file.names.len()).sum();
    let mut plan = cpio::plan(files, mtime)?;
    let data_size = plan.len();
    if codec != Codec::None {
        let (mut packed, mut reserver) = (Vec::new(), Reserver::new());
        codec.compress(&plan.bytes(), options, &mut packed)?;
        reserver.bytes(packed)?;
        reserver.region("archive", 0, RegionKind::Payload);
        plan = reserver.finish();
    }
    Ok(Assembled::new(plan, Facts::Cpio { entries, data_size, compression: codec.name() }))
}

/// ARM `xipImage`, a kernel that runs where its flash memory is: the flat binary of `vmlinux`. Where it is to unpack its
/// data (`CONFIG_XIP_DEFLATED_DATA`, from Linux 4.15 on: it has `__inflate_kernel_data`), what begins at `__data_loc` is
/// compressed with gzip, as arch/arm/boot/deflate_xip_data.sh does.
///
/// # Errors
/// As [`image`], and [`Error::WrongInput`] for a kernel that is not linked to run in place.
pub fn xipimage(vmlinux: &[u8]) -> Result<Assembled<'_>> {
    let options = FlatOptions::without(&crate::elf::ARM_REMOVES)?;
    let mut assembled = image(vmlinux, &options)?;
    let elf = Elf::parse(vmlinux).map_err(|error| Error::input("VMLINUX", error))?;
    let find = |name: &[u8]| elf.symbols().ok()?.find(|symbol| symbol.name == name).map(|symbol| symbol.value);
    let Some(start) = find(b"_xiprom").filter(|_| elf.arch() == Some(Arch::Arm)) else {
        let found = "a kernel that is not linked to run in place: it is not ARM's, or has no symbol _xiprom";
        return Err(Error::wrong_input("VMLINUX", found, "vmlinux of CONFIG_XIP_KERNEL", "use `kimage image`"));
    };
    if find(b"__inflate_kernel_data").is_none() {
        return Ok(assembled);
    }
    let len = assembled.plan.len();
    let (data, end) = (find(b"__data_loc"), find(b"_edata_loc"));
    let data = data.and_then(|data| data.checked_sub(start)).filter(|data| *data <= len && end == Some(start + len));
    let Some(data) = data else {
        let found = "a kernel whose data does not end its file: __data_loc to _edata_loc";
        return Err(Error::wrong_input("VMLINUX", found, "vmlinux of CONFIG_XIP_DEFLATED_DATA", "link it again"));
    };
    let mut packed = Vec::new();
    Codec::Gzip.compress(&assembled.plan.bytes_at(data..len), &Parameters::default(), &mut packed)?;
    let mut reserver = Reserver::new();
    reserver.bytes(assembled.plan.bytes_at(0..data))?;
    reserver.region("kernel", 0, RegionKind::Code);
    let step = Step { file: "data.gz".to_owned(), size: len64(&packed), how: "compressed".to_owned() };
    reserver.bytes(packed)?;
    reserver.region("data", data, RegionKind::Data);
    assembled.plan = reserver.finish();
    assembled.steps.push(step);
    Ok(assembled)
}

/// Flat binary of any linked ELF file.
///
/// # Errors
/// [`Error`] when the input is no ELF file, has nothing to load, or would make a file over the limit.
pub fn image<'a>(vmlinux: &'a [u8], options: &FlatOptions) -> Result<Assembled<'a>> {
    if !Elf::detect(vmlinux) {
        let help = "give the kernel as the linker left it: vmlinux";
        return Err(Error::wrong_input("VMLINUX", describe(vmlinux), "an ELF file", help));
    }
    let elf = Elf::parse(vmlinux).map_err(|error| Error::input("VMLINUX", error))?;
    let flat = flatten(&elf, options).map_err(|error| Error::input("VMLINUX", error))?;
    let sections = flat.plan.regions().iter().filter(|region| region.kind == RegionKind::Code).count();
    let arch = elf.arch().map(|arch| arch.facts().name);
    let facts = Facts::Flat { load_address: flat.base.0, arch, sections };
    Ok(Assembled::new(flat.plan, facts))
}
