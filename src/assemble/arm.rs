//! An ARM kernel to a zImage around kimage's own boot stub: any kernel in, no build tree needed.

use super::payload::flat;
use super::rules;
use super::standalone::{pack, unpacker};
use super::{Assembled, Facts, describe, trees_of_boards};
use crate::arch::Arch;
use crate::bytes::{Endian, len64, slice_at};
use crate::codec::{Bcj, Codec, Parameters, size_trailer};
use crate::elf::{self, ARM_BE8, Elf, PT_LOAD, unflatten};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::format::zimage::{self, Packed, ZImage};
use crate::format::zimage_stub::StubImage;
use crate::payload::search::Budget;
use crate::stub::arm::{ArmParameters, GUESSED_BSS, PLAIN, summed};
use crate::stub::builtin::ArmStub;
use crate::stub::{Error as StubError, Stub};
use std::borrow::Cow;

/// What kind of zImage to make.
#[derive(Debug, Clone)]
pub struct ZImageRequest<'a> {
    /// How to compress the kernel: gzip, xz, LZ4's legacy frame, or not at all.
    pub codec: Codec,
    /// What the codec is told. A dictionary of `None` is the kernel's for xz, but not larger than what there is to find in it.
    pub parameters: Parameters,
    /// Bytes from the start of the memory to the kernel (TEXT_OFFSET), in place of what its addresses or the zImage tell.
    pub text_offset: Option<u32>,
    /// The physical address that the kernel is put to, whatever the start of the memory is.
    pub load_address: Option<u32>,
    /// Device trees to append.
    pub dtbs: Vec<&'a [u8]>,
    /// Refuse a kernel of more bytes.
    pub max_size: u64,
}

impl Default for ZImageRequest<'_> {
    fn default() -> Self {
        ZImageRequest {
            codec: Codec::Gzip,
            parameters: Parameters::default(),
            text_offset: None,
            load_address: None,
            dtbs: Vec::new(),
            max_size: super::DEFAULT_MAX_SIZE,
        }
    }
}

/// A kernel, flat, and what is known of it.
struct Kernel<'a> {
    bytes: Cow<'a, [u8]>,
    text_offset: Option<u64>,
    bss_len: Option<u64>,
    big_endian: bool,
}

const WANT: &str = "an ARM kernel: vmlinux (an ELF file), Image or zImage";
/// Where kernels that do not say it are put.
const USUAL_OFFSET: u64 = 0x8000;
/// What is taken for a BSS that nothing tells of.
const GUESS: u64 = 1 << 20;

/// Is this the kernel itself, and no decompressor?
pub(super) fn is_kernel(input: &[u8]) -> bool {
    match Format::detect(input) {
        Some(Format::Elf) => Elf::parse(input).is_ok_and(|elf| matches!(Stub::arm(elf), Err(StubError::Kernel { .. }))),
        None => elf::release_in(input).is_some(),
        _ => false,
    }
}

/// ARM zImage around kimage's own boot stub, out of a kernel's ELF file, a flat `Image`, or an existing zImage, whose kernel
/// is taken out.
///
/// # Errors
/// [`Error`] says what the input is instead, or why it cannot be started.
///
/// # Example
///
/// ```
/// use kimage::assemble::{ZImageRequest, zimage_standalone};
///
/// let mut kernel = vec![0; 4096];
/// kernel[1024..1053].copy_from_slice(b"Linux version 6.1.0 (me@here)");
/// let mut image = Vec::new();
/// zimage_standalone(&kernel, &ZImageRequest::default())?.emit(&mut image)?;
/// assert_eq!(image[0x24..0x28], [0x18, 0x28, 0x6f, 0x01]);
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn zimage_standalone<'a>(input: &'a [u8], request: &ZImageRequest<'a>) -> Result<Assembled<'a>> {
    let kernel = match Format::detect(input) {
        Some(Format::Elf) => of_elf(input)?,
        Some(Format::ZImage) => of_zimage(input, request.max_size)?,
        None if elf::release_in(input).is_some() => of_flat(Cow::Borrowed(input), None)?,
        _ => {
            let help = "an arm64 or RISC-V kernel is made by `kimage image`, an x86 one by `kimage bzimage`";
            return Err(Error::wrong_input("VMLINUX", describe(input), WANT, help));
        }
    };
    wrapped(kernel, request)
}

/// The same of a zImage in whose kernel something was changed.
pub(crate) fn zimage_rewrapped<'a>(
    image: &'a [u8],
    kernel: Vec<u8>,
    request: &ZImageRequest<'a>,
) -> Result<Assembled<'a>> {
    let image = ZImage::parse_alone(image).map_err(|error| Error::input("VMLINUX", error))?;
    wrapped(of_flat(Cow::Owned(kernel), Some(&image))?, request)
}

fn wrapped<'a>(kernel: Kernel<'_>, request: &ZImageRequest<'a>) -> Result<Assembled<'a>> {
    trees_of_boards(&request.dtbs)?;
    let mut findings = Vec::new();
    let text_offset = request.text_offset.map(u64::from).or(kernel.text_offset).unwrap_or(USUAL_OFFSET);
    if request.load_address.is_none() && (text_offset % 0x1000 != 0 || !(0x5000..64 << 20).contains(&text_offset)) {
        let found = "a kernel whose addresses do not tell how far from the start of the memory it goes";
        return Err(Error::wrong_input(
            "VMLINUX",
            found,
            WANT,
            "give `request.text_offset`, or `request.load_address`",
        ));
    }
    if kernel.bss_len.is_none() {
        findings.push(guessed(text_offset));
    }
    const CODECS: &str = "gzip, lz4 or xz";
    let Some(stub) = unpacker(request.codec, CODECS)?.arm_elf() else {
        let codec = if request.codec == Codec::Zstd { "zstd on ARM" } else { request.codec.name() };
        return Err(Error::NoBootStub { codec, wanted: CODECS });
    };
    let mut packed = pack(&kernel.bytes, request.codec, &request.parameters, &[Bcj::Arm, Bcj::ArmThumb])?;
    if request.codec == Codec::None {
        // The size table leads to it.
        packed.bytes.extend(size_trailer(len64(&kernel.bytes))?);
        packed.trailer = 4;
    }
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    let parameters = ArmParameters {
        flags: flag(request.codec == Codec::None, PLAIN) | flag(kernel.bss_len.is_none(), GUESSED_BSS),
        unpacked_len: word(len64(&kernel.bytes)),
        bss_len: word(kernel.bss_len.unwrap_or(GUESS)),
        text_offset: word(text_offset),
        load_at: request.load_address.unwrap_or(0),
        sum: sum(&kernel.bytes),
        ..ArmParameters::default()
    };
    let packed = Packed {
        bytes: packed.bytes,
        trailer: packed.trailer,
        stub: ArmStub::read(stub)?,
        parameters,
        big_endian: kernel.big_endian,
    };
    let plan = zimage::plan_packed(packed, &request.dtbs).map_err(Error::ZImage)?;
    let kernel_size = plan.regions().first().map_or(0, |region| region.at.end);
    let facts = Facts::ZImage { kernel_size, dtbs: request.dtbs.len() };
    Ok(Assembled { findings, ..Assembled::new(plan, facts) })
}

fn sum(bytes: &[u8]) -> [u32; 2] {
    let (words, rest) = (bytes.chunks_exact(4), bytes.chunks_exact(4).remainder());
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    let words = words.map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
    words.chain([u32::from_le_bytes(last)]).fold([0; 2], summed)
}

fn guessed(text_offset: u64) -> Finding {
    let message = format!(
        "the kernel does not tell how much memory it takes behind its data: {} MiB are set aside; it goes {text_offset:#x} behind \
         the start of the memory",
        GUESS >> 20
    );
    rules::ARM_FLAT.finding(message)
}

/// Of a kernel's ELF file. Its addresses are virtual: PAGE_OFFSET, a multiple of 256 MiB, and TEXT_OFFSET.
fn of_elf(input: &[u8]) -> Result<Kernel<'_>> {
    const PAGE_OFFSET: u64 = 256 << 20;
    let input_error = |error: elf::Error| Error::input("VMLINUX", error);
    let elf = Elf::parse(input).map_err(|error| Error::input("VMLINUX", error))?;
    if elf.arch() != Some(Arch::Arm) {
        let found = elf.arch().map_or("a kernel for an unknown CPU", |arch| arch.facts().name);
        let help = "an arm64 or RISC-V kernel is made by `kimage image`, an x86 one by `kimage bzimage`";
        return Err(Error::wrong_input("VMLINUX", found, WANT, help));
    }
    if Stub::arm(elf.clone()).is_ok() {
        let help = "leave out what is for kimage's own boot stub, or give the kernel's own vmlinux";
        return Err(Error::wrong_input("VMLINUX", "a decompressor with a kernel in it", WANT, help));
    }
    let big_endian = elf.endian() == Endian::Big;
    if big_endian && elf.header().e_flags.0 & ARM_BE8 == 0 {
        return Err(old_big_endian());
    }
    let is_xip = elf.symbols().is_ok_and(|mut symbols| symbols.any(|symbol| symbol.name == b"_xiprom"));
    if is_xip {
        let found = "a kernel that runs where it is stored (CONFIG_XIP_KERNEL)";
        return Err(Error::wrong_input("VMLINUX", found, WANT, "use `kimage xipimage`"));
    }
    let plan = flat(&elf, Arch::Arm).map_err(input_error)?;
    let loads = || elf.segments().iter().filter(|segment| segment.kind == PT_LOAD && segment.memsz > 0);
    let base = loads().map(|segment| segment.paddr).min().unwrap_or(0);
    let end = loads().map(|segment| segment.paddr.saturating_add(segment.memsz)).max().unwrap_or(0);
    if elf.physical_entry().0 != base {
        let found = "a program that is not entered at its first byte, as a kernel is";
        return Err(Error::wrong_input("VMLINUX", found, WANT, "give the kernel as the linker left it"));
    }
    let bytes = plan.bytes();
    let bss_len = (end - base).saturating_sub(len64(&bytes));
    Ok(Kernel { bytes: Cow::Owned(bytes), text_offset: Some(base % PAGE_OFFSET), bss_len: Some(bss_len), big_endian })
}

fn old_big_endian() -> Error {
    let found = "a kernel that runs big-endian from its first instruction (BE32, up to ARMv5)";
    let help = "kimage's boot stub is little-endian: take the zImage of the kernel's own build";
    Error::wrong_input("VMLINUX", found, WANT, help)
}

/// Of a flat kernel: what the zImage around it says, and else its own symbols.
fn of_flat<'a>(bytes: Cow<'a, [u8]>, image: Option<&ZImage<'_>>) -> Result<Kernel<'a>> {
    let told = unflatten(&bytes, Some(Arch::Arm)).and_then(|kernel| kernel.elf(&bytes)).ok();
    let told = told.as_deref().and_then(|elf| of_elf(elf).ok());
    let told_big_endian = told.as_ref().is_some_and(|kernel| kernel.big_endian);
    let table = image.and_then(ZImage::table);
    let text_offset = table.and_then(|table| table.text_offset).map(u64::from);
    Ok(Kernel {
        bytes,
        text_offset: text_offset.or(told.as_ref().and_then(|kernel| kernel.text_offset)),
        bss_len: table.map(|table| table.bss_size.into()).or(told.and_then(|kernel| kernel.bss_len)),
        big_endian: image.map_or(told_big_endian, ZImage::is_big_endian),
    })
}

fn of_zimage(input: &[u8], max_size: u64) -> Result<Kernel<'_>> {
    let image = ZImage::parse_alone(input).map_err(|error| Error::input("VMLINUX", error))?;
    if image.is_old_big_endian() {
        return Err(old_big_endian());
    }
    if let Some(stub) = StubImage::find(input).filter(StubImage::is_plain) {
        let kernel = slice_at(input, &stub.payload()).unwrap_or_default();
        return of_flat(Cow::Borrowed(kernel), Some(&image));
    }
    let Some(found) = image.find_payload(max_size, &Budget::new(len64(input))) else {
        let help = "kimage info says why; give the kernel's vmlinux";
        return Err(Error::wrong_input("VMLINUX", "a zImage in which no kernel is found", WANT, help));
    };
    of_flat(Cow::Owned(found.data), Some(&image))
}
