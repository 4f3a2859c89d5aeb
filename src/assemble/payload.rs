//! What a kernel's build compresses, out of the top vmlinux.

use super::kernel::not_flat;
use crate::arch::Arch;
use crate::bytes::len64;
use crate::codec::Bcj;
use crate::elf::{
    self, ARM_REMOVES, Elf, FlatOptions, IMAGE_REMOVES, KERNEL_REMOVES, RelocOptions, RemoveList, StripOptions, flatten,
};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::layout::Plan;
use crate::payload::{RelocForm, emit_relocs};
use crate::stub::Stub;
use serde::Serialize;
use std::borrow::Cow;

/// The data that goes into a compressed kernel.
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// What they are.
    pub form: PayloadForm,
    /// The branch converter that the kernel's build puts in front of xz for them.
    pub bcj: Bcj,
    /// What is worth knowing about them.
    pub findings: Vec<Finding>,
}

/// What a payload is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "form", rename_all = "kebab-case")]
pub enum PayloadForm {
    /// The stripped ELF file, and behind it the relocation table where there is one.
    Elf {
        /// Bytes of the table.
        relocs_size: Option<u64>,
    },
    /// The flat binary.
    Flat,
    /// The input itself.
    AsIs,
}

/// ELF files become what the build of a kernel for their CPU compresses; other files are taken as they are.
///
/// x86: the stripped ELF file and the relocation table, where the file has relocations (`vmlinux.bin.all`, byte for
/// byte). [`Arch::compresses_elf`]: the stripped ELF file. Other CPUs: the flat `Image` or `vmlinux.bin`. A stripped ELF
/// file with something behind it is such a payload already.
///
/// # Errors
/// [`Error::Input`] about `VMLINUX` says why the ELF file can be neither stripped nor flattened.
pub fn payload(input: &[u8]) -> Result<Payload<'_>> {
    if !Elf::detect(input) {
        return Ok(payload_as_is(input));
    }
    let elf = Elf::parse(input).map_err(failed)?;
    let is_stripped = matches!(elf.symbols(), Err(elf::Error::NoSymbols));
    if is_stripped && elf.file_end() < len64(input) {
        let behind = len64(input) - elf.file_end();
        let message =
            format!("{behind} bytes stand behind the ELF file: this is what a kernel's build compresses already");
        let finding = super::rules::READY.finding(message);
        return Ok(Payload { findings: vec![finding], ..payload_as_is(input) });
    }
    let mut findings = Vec::new();
    if Stub::x86(elf.clone()).is_ok() || Stub::arm(elf.clone()).is_ok() {
        let message = "this is the decompressor with the compressed kernel inside, which hardly gets smaller";
        findings.push(super::rules::DECOMPRESSOR.finding(message));
    }
    let bcj = match Bcj::of(input) {
        Bcj::Arm if elf.is_thumb() => Bcj::ArmThumb,
        bcj => bcj,
    };
    let (bytes, form) = match elf.arch() {
        Some(arch) if !arch.compresses_elf() => (flat(&elf, arch).map_err(failed)?.bytes(), PayloadForm::Flat),
        _ => {
            let mut bytes = stripped(&elf).map_err(failed)?.bytes();
            let relocs = relocs_if_any(&elf, &mut findings).map_err(failed)?;
            bytes.extend_from_slice(relocs.as_deref().unwrap_or_default());
            (bytes, PayloadForm::Elf { relocs_size: relocs.as_deref().map(len64) })
        }
    };
    Ok(Payload { bytes: Cow::Owned(bytes), form, bcj, findings })
}

fn failed(error: elf::Error) -> Error {
    not_flat("VMLINUX", error)
}

/// Any file as it is.
pub fn payload_as_is(input: &[u8]) -> Payload<'_> {
    let mut findings = Vec::new();
    if let Some(format @ Format::Compressed(_)) = Format::detect(input) {
        let message = format!("the input is {} already, which hardly gets smaller", format.name());
        findings.push(super::rules::COMPRESSED.finding(message));
    }
    Payload { bytes: Cow::Borrowed(input), form: PayloadForm::AsIs, bcj: Bcj::of(input), findings }
}

/// The table that stands behind an x86 kernel that can be moved.
fn relocs_if_any(elf: &Elf<'_>, findings: &mut Vec<Finding>) -> elf::Result<Option<Vec<u8>>> {
    if !matches!(elf.arch(), Some(Arch::X86 | Arch::X86_64)) {
        return Ok(None);
    }
    match relocs(elf) {
        Err(elf::Error::NoRelocs) => {
            let message =
                "this file has no relocations: the payload is without the table of a kernel that can be moved";
            findings.push(super::rules::PAYLOAD_NO_RELOCS.finding(message));
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// As x86's build makes `vmlinux.bin`.
pub(crate) fn stripped<'a>(vmlinux: &Elf<'a>) -> elf::Result<Plan<'a>> {
    let remove = RemoveList::new(KERNEL_REMOVES)?;
    elf::strip(vmlinux, &StripOptions { remove, ..StripOptions::default() })
}

/// As x86's build makes `vmlinux.relocs`.
pub(crate) fn relocs(vmlinux: &Elf<'_>) -> elf::Result<Vec<u8>> {
    let table = elf::relocs(vmlinux, RelocOptions::default())?;
    let mut bytes = Vec::new();
    emit_relocs(&table, RelocForm::Binary, &mut bytes)?;
    Ok(bytes)
}

/// As the builds of ARM, arm64 and RISC-V make `Image`.
pub(crate) fn flat<'a>(vmlinux: &Elf<'a>, arch: Arch) -> elf::Result<Plan<'a>> {
    let names = if arch == Arch::Arm { &ARM_REMOVES[..] } else { &IMAGE_REMOVES };
    Ok(flatten(vmlinux, &FlatOptions::without(names)?.in_memory(vmlinux))?.plan)
}
