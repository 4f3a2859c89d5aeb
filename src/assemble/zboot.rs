//! A kernel to an EFI zboot image around kimage's own EFI program.

use super::standalone::{pack, unpacker};
use super::{Assembled, Facts, describe, payload, rules};
use crate::arch::Arch;
use crate::bytes::{len64, slice};
use crate::codec::{Bcj, Codec, Parameters as CodecParameters};
use crate::elf::release_in;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::format::image64::{Image64, LARGE_PAGE};
use crate::format::pe::{self, Pe};
use crate::format::zboot::{NewZboot, Zboot};
use crate::stub::builtin::EfiProgram;
use crate::stub::parameters::Parameters;
use std::borrow::Cow;

/// What kind of zboot image to make.
#[derive(Debug, Clone)]
pub struct ZbootRequest<'a> {
    /// How to compress the kernel: gzip, xz, LZ4's legacy frame, zstd, LZMA or LZO.
    pub codec: Codec,
    /// What the codec is told; the defaults are those of
    /// [`StandaloneRequest::parameters`](super::StandaloneRequest::parameters).
    pub parameters: CodecParameters,
    /// The contents of the section `.sbat`, for images that will be signed; empty for none.
    pub sbat: &'a [u8],
    /// Refuse a kernel that is larger, in bytes.
    pub max_size: u64,
}

impl Default for ZbootRequest<'_> {
    /// gzip, which everything that unpacks zboot images knows.
    fn default() -> Self {
        let (codec, parameters) = (Codec::Gzip, CodecParameters::default());
        ZbootRequest { codec, parameters, sbat: &[], max_size: super::DEFAULT_MAX_SIZE }
    }
}

const WANT: &str =
    "an arm64, 64-bit RISC-V or LoongArch kernel that is an EFI program (Image, Image.gz, vmlinuz.efi, vmlinux)";

/// What the EFI program unpacks.
const CODECS: &str = "gzip, lz4, lzma, lzo, xz or zstd";

const OTHER: &str = "the kernel's own build makes vmlinuz.efi where CONFIG_EFI_ZBOOT is set";

/// EFI zboot image (`vmlinuz.efi`) of an arm64, RISC-V or LoongArch kernel: its `Image`, compressed or not, its ELF file, or another
/// zboot image, whose kernel is taken out. The EFI program in it is kimage's own.
///
/// # Errors
/// [`Error`] says what the input is instead, or why firmware cannot start it.
pub fn zboot<'a>(image: &[u8], request: &ZbootRequest<'a>) -> Result<Assembled<'a>> {
    if request.codec == Codec::None {
        let codec = "what is not compressed (an Image is an EFI program by itself)";
        return Err(Error::NoBootStub { codec, wanted: CODECS });
    }
    let mut findings = Vec::new();
    let kernel = unsigned(extract(image, request.max_size, &mut findings)?, &mut findings);
    let (arch, machine, span) = check(&kernel)?;
    let converters: &[Bcj] = match arch {
        Arch::Arm64 => &[Bcj::Arm64],
        Arch::Riscv => &[Bcj::RiscV],
        _ => &[],
    };
    let Some(program) = EfiProgram::of(arch, unpacker(request.codec, CODECS)?)? else {
        return Err(Error::wrong_input("IMAGE", "a kernel for a CPU that kimage has no EFI program for", WANT, OTHER));
    };
    let packed = pack(&kernel, request.codec, &request.parameters, converters)?;
    let payload_size = len64(&packed.bytes);
    let parts = NewZboot {
        machine,
        program: &program,
        codec: request.codec,
        payload: packed.bytes,
        trailer: packed.trailer,
        parameters: Parameters {
            unpacked_len: len64(&kernel),
            span,
            align: LARGE_PAGE,
            heap_len: packed.heap,
            ..Parameters::default()
        },
        sbat: request.sbat,
    };
    let head = parts.head().map_err(|error| Error::input("IMAGE", error))?;
    let facts = Facts::Zboot {
        stub: "kimage",
        arch: arch.facts().name,
        kernel_version: release_in(&kernel),
        compression: request.codec.name(),
        kernel_size: len64(&kernel),
        payload_size,
        memory: span.saturating_add(LARGE_PAGE),
    };
    Ok(Assembled { findings, ..Assembled::new(parts.plan(head)?, facts) })
}

/// The kernel's `Image`, out of whatever is around it.
fn extract<'k>(image: &'k [u8], max_size: u64, findings: &mut Vec<Finding>) -> Result<Cow<'k, [u8]>> {
    let unpacked = |codec: Codec, stream: &[u8]| -> Result<Cow<'k, [u8]>> {
        let mut kernel = Vec::new();
        codec.decompress_one(stream, max_size, &mut kernel)?;
        Ok(Cow::Owned(kernel))
    };
    match Format::detect(image) {
        Some(Format::Image64(_)) => Ok(Cow::Borrowed(image)),
        Some(Format::Compressed(codec)) => unpacked(codec, image),
        Some(Format::Zboot) => {
            let zboot = Zboot::parse(image).map_err(|error| Error::input("IMAGE", error))?;
            let at = zboot.payload_range();
            let stream = slice(image, at.start, at.end - at.start).unwrap_or_default();
            let codec = match zboot.codec() {
                Some(codec) => codec,
                None => Codec::identify(stream)?,
            };
            let message = "the EFI program in the image is left out: kimage's own is in the new one";
            findings.push(rules::ZBOOT_PROGRAM.finding(message));
            unpacked(codec, stream)
        }
        Some(Format::Elf) => Ok(payload(image)?.bytes),
        _ => {
            let help = "for an x86 kernel use `kimage bzimage`, for a 32-bit ARM kernel `kimage zimage`";
            Err(Error::wrong_input("IMAGE", describe(image), WANT, help))
        }
    }
}

/// Without the kernel's own signatures: that of the whole image is what counts.
fn unsigned<'k>(kernel: Cow<'k, [u8]>, findings: &mut Vec<Finding>) -> Cow<'k, [u8]> {
    let signed = Pe::find(&kernel).filter(|pe| pe.certificate_range().is_some());
    match signed.and_then(|_| pe::unsigned(&kernel)) {
        Some(plain) => {
            let message = "the kernel's own signature is left out: firmware looks at that of the whole image";
            findings.push(rules::ZBOOT_SIGNATURE.finding(message));
            Cow::Owned(plain)
        }
        None => kernel,
    }
}

/// Holds the kernel to what the EFI program expects. Returns its CPU, `Machine` of its PE header, and the memory that it takes.
fn check(kernel: &[u8]) -> Result<(Arch, u16, u64)> {
    let wrong = |found, help| Error::wrong_input("IMAGE", found, WANT, help);
    let Some(image) = Image64::detect(kernel) else {
        return Err(wrong(describe(kernel), "give the kernel's Image, or its vmlinux"));
    };
    let Some(pe) = Pe::find(kernel) else {
        let help = "build it with CONFIG_EFI=y (no big-endian kernel can have it); boot loaders that need no EFI take a \
                    FIT or uImage: kimage fit, kimage uimage";
        return Err(wrong("a kernel without EFI stub", help));
    };
    let machine = u16::try_from(pe.value("Machine")).unwrap_or(0);
    if !pe.is_plus {
        return Err(wrong("a 32-bit kernel", OTHER));
    }
    let memory = pe.value("SizeOfImage");
    let outside = pe.sections.iter().find(|section| section.file_range().end > len64(kernel));
    if let Some(section) = outside {
        let error =
            crate::bytes::FieldError::truncated("SizeOfRawData", section.at, section.file_range().end, len64(kernel));
        return Err(Error::input("IMAGE", error.with_help("the kernel is cut off: copy it again")));
    }
    if image.extent(kernel).0 < len64(kernel) {
        let help = "EFI firmware gives the kernel its device tree; give the Image alone (kimage extract IMAGE vmlinux)";
        return Err(wrong("a kernel with device trees behind it", help));
    }
    let in_place = |section: &pe::PeSection| {
        let end = u64::from(section.virtual_address).saturating_add(section.virtual_size.into());
        (section.raw_size == 0 || section.raw_at == section.virtual_address) && end <= memory
    };
    if !pe.sections.iter().all(in_place) || pe.value("AddressOfEntryPoint") >= memory || memory < len64(kernel) {
        let help =
            "that is no kernel's layout (file and memory are the same in an Image): give it as its build made it";
        return Err(wrong("an EFI program that has to be moved into place", help));
    }
    Ok((image.arch, machine, memory.max(image.image_size)))
}
