//! A kernel to a bzImage around kimage's own boot stub: any kernel in, no build tree needed.

use super::rules;
use super::{Assembled, describe, is_setup_alone};
use crate::bytes::{FieldError, Problem, len64, printable, slice, utf16};
use crate::codec::{Bcj, Codec, Parameters as CodecParameters, size_trailer};
use crate::elf::{self, DEFAULT_MAX_SIZE, Elf, RelocOptions};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::format::boot_elf::image_in;
use crate::format::bzimage::{
    BzImage, CrcChoice, Decompressor, FLAT_64_BIT_ALIGN, Inherited, KernelInfo, NO_RELEASE, Parts, Standalone,
    StandaloneImage, XLF_5LEVEL_ENABLED, builtin_setup, flat_64_bit_address, payload_sum,
};
use crate::payload::flat::{self, Entry};
use crate::payload::kernel::{LaidOutKernel, kernel};
use crate::payload::search::Budget;
use crate::payload::{RelocForm, emit_relocs, parse_relocs, relocs_behind};
use crate::stub::Stub;
use crate::stub::builtin::{BootStub, MIXED, Unpacker};
use crate::stub::parameters::{self, Parameters};
use std::borrow::Cow;
use std::ops::Range;

/// UEFI firmware that an image around kimage's own boot stub is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// 32-bit firmware; the image of a 32-bit kernel, which then starts on CPUs without 64 bits.
    Ia32,
    /// 64-bit firmware. A 32-bit kernel, too, is then started by the boot stub for 64-bit CPUs.
    X64,
    /// 64-bit firmware, and 32-bit firmware on a 64-bit CPU: of a 64-bit kernel, with a program for the latter, which its boot
    /// loader finds by the section `.compat` or by the handover protocol.
    Mixed,
}

/// What kind of image to make.
#[derive(Debug, Clone)]
pub struct StandaloneRequest<'a> {
    /// How to compress the kernel: gzip, xz, LZ4's legacy frame, zstd, or not at all.
    pub codec: Codec,
    /// What the codec is told. A level of `None` is 19 for zstd, which takes half the time of the kernel's 22 and gives
    /// one percent more; a dictionary of `None` is the kernel's for xz, but not larger than what there is to find in it.
    pub parameters: CodecParameters,
    /// The real-mode setup of a kernel's build, in place of kimage's.
    pub setup: Option<&'a [u8]>,
    /// A relocation table, in place of the kernel's own.
    pub relocs: Option<&'a [u8]>,
    /// Use the table, where there is one, to choose addresses at random.
    pub kaslr: bool,
    /// A command line to build in.
    pub cmdline: &'a [u8],
    /// What the boot loader says is not added to it.
    pub cmdline_overrides: bool,
    /// Write a sum of a payload that is not compressed, too: the boot stub checks it, and takes several times as long. LZ4's, which has
    /// none itself either, always has one.
    pub payload_sum: bool,
    /// RAM disks to build in.
    pub initrd: Vec<&'a [u8]>,
    /// Refuse what needs more memory, in bytes.
    pub max_memory: u64,
    /// Make it a program for UEFI firmware, too.
    pub efi: bool,
    /// For which firmware; by default that of as many bits as the kernel, as its own build has it. Boot stub and CPU go by this
    /// without [`efi`](Self::efi), too.
    pub firmware: Option<Firmware>,
    /// For the section `.sbat`, by which UEFI Secure Boot takes back what is known to be broken; empty for none.
    pub sbat: &'a [u8],
    /// Write a CRC-32 at the end, as kernels before 6.15 have it; not in images for UEFI.
    pub crc: bool,
    /// Leave out what follows the setup.
    pub setup_only: bool,
}

impl Default for StandaloneRequest<'_> {
    fn default() -> Self {
        StandaloneRequest {
            codec: Codec::Gzip,
            parameters: CodecParameters::default(),
            setup: None,
            relocs: None,
            kaslr: true,
            cmdline: &[],
            cmdline_overrides: false,
            payload_sum: false,
            initrd: Vec::new(),
            max_memory: DEFAULT_MAX_SIZE,
            efi: true,
            firmware: None,
            sbat: &[],
            crc: false,
            setup_only: false,
        }
    }
}

/// What is known about a kernel that comes out of an image.
#[derive(Debug, Default)]
struct Origin {
    align: Option<u64>,
    is_movable: Option<bool>,
    knows_five_levels: Option<bool>,
    /// It asks firmware to overwrite the memory at the next start (`CONFIG_RESET_ATTACK_MITIGATION`).
    overwrites_memory: bool,
    version: Option<String>,
    setup_type_max: u32,
    /// The relocation table in the payload of an image of ours, which knows; empty for none.
    table: Option<Range<u64>>,
    /// What the image's header says to the kernel.
    inherited: Option<Inherited>,
    /// The command line that kimage's boot stub has in the image, and how many bytes of RAM disks.
    built_in: (String, u64),
    /// What is to be said of the image.
    findings: Vec<Finding>,
}

impl Origin {
    /// Says what is built into the image, and not into the new one: what nothing takes the place of.
    fn left_out(&self, has_cmdline: bool, has_initrd: bool) -> impl Iterator<Item = Finding> {
        let (cmdline, initrd) = &self.built_in;
        let line = format!("the command line `{}` is left out", printable(cmdline));
        let line = (!has_cmdline && !cmdline.is_empty()).then_some(line);
        let disk = (!has_initrd && *initrd > 0).then(|| format!("the RAM disk of {initrd} bytes is left out"));
        [line, disk].into_iter().flatten().map(|message| rules::BUILT_IN.finding(message))
    }
}

/// Is this the kernel itself, or an image, and no decompressor?
pub(super) fn is_kernel(vmlinux: &[u8]) -> bool {
    match Format::detect(vmlinux) {
        Some(Format::BzImage) => BzImage::parse(vmlinux).is_ok(),
        Some(Format::Elf) if image_in(vmlinux).is_some() => true,
        Some(Format::Elf) => {
            Elf::parse(vmlinux).is_ok_and(|elf| matches!(Stub::x86(elf), Err(crate::stub::Error::Kernel { .. })))
        }
        _ => false,
    }
}

/// x86 bzImage around kimage's own boot stub, out of a kernel's ELF file (a relocation table may stand behind it) or
/// of an existing bzImage, whose kernel is taken out.
///
/// # Errors
/// [`Error`] says what the input is instead, or why it cannot be started.
///
/// # Example
///
/// ```
/// use kimage::assemble::{StandaloneRequest, bzimage_standalone};
///
/// let kernel = include_bytes!("../../testdata/tiny/kernel");
/// let request = StandaloneRequest { cmdline: b"console=ttyS0", ..StandaloneRequest::default() };
/// let mut image = Vec::new();
/// bzimage_standalone(kernel, &request)?.emit(&mut image)?;
/// assert_eq!(&image[0x202..0x206], b"HdrS");
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn bzimage_standalone<'a>(vmlinux: &'a [u8], request: &StandaloneRequest<'a>) -> Result<Assembled<'a>> {
    standalone(vmlinux, None, request, false)
}

/// The program that a unified kernel image of ours begins with: kimage's own boot stub for 64-bit firmware, and the kernel in
/// its section `.linux`, compressed. What belongs to the kernel is put behind it as further sections, for about 90 of which the
/// headers have room; the stub reads `.cmdline`, `.initrd`, `.ucode` and the others by [`crate::stub::sections`].
///
/// # Errors
/// As [`bzimage_standalone`].
pub(crate) fn unified_program<'a>(
    kernel: &'a [u8],
    codec: Codec,
    parameters: &CodecParameters,
    sbat: &'a [u8],
) -> Result<Assembled<'a>> {
    let mut parameters = parameters.clone();
    if codec == Codec::Zstd {
        parameters.level.get_or_insert(UNIFIED_ZSTD_LEVEL);
    }
    let firmware = Some(Firmware::X64);
    standalone(
        kernel,
        None,
        &StandaloneRequest { codec, parameters, firmware, sbat, ..StandaloneRequest::default() },
        true,
    )
}

/// The same of an image in whose payload something was changed.
pub(crate) fn rewrapped<'a>(
    image: &'a [u8],
    changed: Unpacked<'a>,
    request: &StandaloneRequest<'a>,
) -> Result<Assembled<'a>> {
    standalone(image, Some(changed), request, false)
}

fn standalone<'a>(
    vmlinux: &'a [u8],
    changed: Option<Unpacked<'a>>,
    request: &StandaloneRequest<'a>,
    is_unified: bool,
) -> Result<Assembled<'a>> {
    let vmlinux = image_in(vmlinux).unwrap_or(vmlinux);
    let (payload, origin) = extract_kernel(vmlinux, changed, request.max_memory)?;
    let (kernel, mut findings) = lay_out(&payload, &origin, request)?;
    let of_setup = |finding: &Finding| request.setup.is_some() && finding.rule == rules::APM.id;
    findings.splice(0..0, origin.findings.iter().filter(|finding| !of_setup(finding)).cloned());
    findings.extend(origin.left_out(!request.cmdline.is_empty(), !request.initrd.is_empty()));
    drop(payload);
    let firmware = firmware(kernel.is_64, request.firmware)?;
    let wanted = if is_unified { UNIFIED_CODECS } else { CODECS };
    let unpacker = unpacker(request.codec, wanted)?;
    let stub = if is_unified { unpacker.unified_elf() } else { unpacker.elf(firmware != Firmware::Ia32) };
    let stub = BootStub::read(stub.ok_or(Error::NoBootStub { codec: request.codec.name(), wanted })?)?;
    let packed = pack(&kernel.bytes, request.codec, &request.parameters, &[Bcj::X86])?;
    let mixed = if firmware == Firmware::Mixed { Some(BootStub::read(MIXED)?) } else { None };
    let setup = match request.setup {
        None => Cow::Owned(builtin_setup()?),
        Some(setup) => super::bzimage_setup(setup)?,
    };
    let has_relocs = kernel.has_relocs();
    let knows_five_levels = origin.knows_five_levels.unwrap_or(kernel.knows_five_levels);
    let is_movable = origin.is_movable.unwrap_or(kernel.is_movable) && (kernel.is_64 || has_relocs);
    let mut flags = packed.flags;
    for (flag, is_set) in [
        (parameters::RELOCATABLE, is_movable),
        (parameters::BITS32, !kernel.is_64),
        (parameters::RELOCS, has_relocs),
        (parameters::KASLR, has_relocs && request.kaslr),
        (parameters::CMDLINE_OVERRIDES, request.cmdline_overrides),
        (parameters::FIVE_LEVELS, knows_five_levels),
        (parameters::MEMORY_OVERWRITE, origin.overwrites_memory),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    // These formats have no sum of what they pack.
    let sum = match request.codec {
        Codec::Lz4Legacy | Codec::None if request.codec != Codec::None || request.payload_sum => {
            slice(&packed.bytes, 0, len64(&packed.bytes).saturating_sub(packed.trailer)).map(payload_sum)
        }
        _ => None,
    };
    flags |= if sum.is_some() { parameters::SUMMED } else { 0 };
    if request.kaslr && !has_relocs {
        let message = "there is no relocation table: the kernel's addresses will not be chosen at random";
        findings.push(rules::NO_RELOCS.finding(message));
    }
    let version = origin.version.unwrap_or_else(|| match &kernel.release {
        Some(release) => format!("{release} (kimage)"),
        None => NO_RELEASE.to_owned(),
    });
    let standalone = Standalone {
        stub: &stub,
        codec: request.codec,
        payload: Cow::Owned(packed.bytes),
        trailer: packed.trailer,
        parameters: Parameters {
            flags,
            unpacked_len: len64(&kernel.bytes),
            elf_len: kernel.elf_len,
            load_min: kernel.load_min,
            align: origin.align.unwrap_or(kernel.align),
            span: kernel.span,
            virt_offset: kernel.virt_offset,
            heap_len: packed.heap,
            payload_sum: sum.unwrap_or_default(),
            ..Parameters::default()
        },
        cmdline: Cow::Borrowed(request.cmdline),
        initrd: request.initrd.clone(),
        inherited: origin.inherited,
        version,
        is_setup_builtin: request.setup.is_none(),
        setup_type_max: origin.setup_type_max,
        efi: request.efi && stub.efi_pe_entry.is_some(),
        mixed: mixed.as_ref(),
        sbat: Cow::Borrowed(request.sbat),
        setup_only: request.setup_only,
        is_unified,
        max_memory: request.max_memory,
    };
    let decompressor = Decompressor::Standalone(Box::new(standalone));
    let crc = if request.crc { CrcChoice::Yes } else { CrcChoice::No };
    let assembled = super::planned(Parts { setup, decompressor, crc })?;
    Ok(Assembled { findings, ..assembled })
}

/// The kernel alone, laid out for a loader of ELF files.
pub(super) fn loadable(vmlinux: &[u8], max_memory: u64) -> Result<(LaidOutKernel, Vec<Finding>)> {
    let (payload, mut origin) = extract_kernel(image_in(vmlinux).unwrap_or(vmlinux), None, max_memory)?;
    let elf = Elf::parse(&payload).map_err(|error| Error::input("VMLINUX", error))?;
    origin.findings.extend(origin.left_out(false, false).collect::<Vec<_>>());
    Ok((kernel(&elf, None, max_memory).map_err(Error::Kernel)?, origin.findings))
}

/// Does the image ask firmware to overwrite the memory at the next start? One of ours knows; the kernel's own EFI stub then has the name of
/// the variable, in UTF-16 (drivers/firmware/efi/libstub/tpm.c).
fn overwrites_memory(image: &BzImage<'_>, ours: Option<&StandaloneImage>) -> bool {
    if let Some(ours) = ours {
        return ours.parameters.has(parameters::MEMORY_OVERWRITE);
    }
    memchr::memmem::find(image.bytes(), &utf16("MemoryOverwriteRequestControl")).is_some()
}

/// The firmware, and with it the boot stub, for a kernel of 64 or 32 bits.
fn firmware(is_64: bool, wanted: Option<Firmware>) -> Result<Firmware> {
    match wanted {
        Some(Firmware::Ia32) if is_64 => Err(Error::Firmware { bits: 64, without: "ia32" }),
        Some(Firmware::Mixed) if !is_64 => Err(Error::Firmware { bits: 32, without: "mixed" }),
        Some(wanted) => Ok(wanted),
        None => Ok(if is_64 { Firmware::X64 } else { Firmware::Ia32 }),
    }
}

/// The kernel, out of whatever is around it.
fn extract_kernel<'a>(
    vmlinux: &'a [u8],
    changed: Option<Unpacked<'a>>,
    max_memory: u64,
) -> Result<(Cow<'a, [u8]>, Origin)> {
    const WANT: &str = "a kernel (vmlinux, an ELF file) or a bzImage";
    match Format::detect(vmlinux) {
        Some(Format::Elf) => {
            if Elf::parse(vmlinux).is_ok_and(|elf| Stub::x86(elf).is_ok()) {
                let help = "give the setup of its build, too (arch/x86/boot/setup.bin), or the kernel's own vmlinux";
                return Err(Error::wrong_input("VMLINUX", "a decompressor with a kernel in it", WANT, help));
            }
            Ok((Cow::Borrowed(vmlinux), Origin::default()))
        }
        Some(Format::BzImage) if !is_setup_alone(vmlinux) => {
            let image = BzImage::parse(vmlinux).map_err(|error| Error::input("VMLINUX", cut_off(error)))?;
            let header = image.setup().header();
            let align = u64::from(header.kernel_alignment.get());
            let ours = StandaloneImage::find(&image);
            // Who changes an image gives all that it has.
            let built_in = ours
                .as_ref()
                .filter(|_| changed.is_none())
                .map(|ours| (String::from_utf8_lossy(ours.cmdline(&image)).into_owned(), ours.parameters.initrd_len));
            let mut origin = Origin {
                built_in: built_in.unwrap_or_default(),
                align: Some(align).filter(|align| align.is_power_of_two() && *align >= 4096),
                is_movable: Some(header.relocatable_kernel != 0),
                overwrites_memory: overwrites_memory(&image, ours.as_ref()),
                knows_five_levels: Some(image.setup().xloadflag(XLF_5LEVEL_ENABLED).unwrap_or(false)),
                version: image.setup().kernel_version().map(str::to_owned),
                setup_type_max: image.kernel_info().filter(KernelInfo::is_one).map_or(0, |info| info.setup_type_max),
                table: ours.map(|ours| table(&ours.parameters)),
                inherited: Some(Inherited::of(image.setup())),
                findings: not_kept(&image),
            };
            let (kernel, at) = changed.map_or_else(|| unpacked(&image, max_memory), Ok)?;
            if Elf::detect(&kernel) {
                return Ok((kernel, origin));
            }
            let of_code =
                || at.and_then(|at| image.flat_kernel_address(&at, &kernel)).or_else(|| image.bare_kernel_address());
            let of_kernel = flat_64_bit_address(&kernel).map(|address| (address, Entry::Bits64));
            let Some((address, entry)) = of_kernel.or_else(|| Some((of_code()?, Entry::Bits32))) else {
                let help = match image.is_64_bit(Some(&kernel)) {
                    Some(true) => {
                        "it is entered in 64-bit mode, and does not begin as Linux 2.6.22 to 2.6.25 does, which says where it goes; \
                         give its vmlinux, or a newer image"
                    }
                    _ => "its decompressor does not say where it goes; give its vmlinux, or a newer image",
                };
                let found = "a bzImage whose kernel has no ELF headers";
                return Err(Error::wrong_input("VMLINUX", found, WANT, help));
            };
            let message = format!(
                "the kernel has no ELF headers, which would say how much memory it takes: {} MiB are set aside behind it",
                flat::BSS >> 20
            );
            origin.findings.push(rules::FLAT.finding(message));
            match entry {
                Entry::Bits32 => origin.is_movable = Some(false),
                Entry::Bits64 => origin.align = Some(origin.align.unwrap_or_default().max(FLAT_64_BIT_ALIGN)),
            }
            Ok((Cow::Owned(flat::as_elf(&kernel, address, entry).map_err(Error::Kernel)?), origin))
        }
        _ => {
            let help = "give the kernel's own vmlinux as the linker left it, or /boot/vmlinuz-...";
            Err(Error::wrong_input("VMLINUX", describe(vmlinux), WANT, help))
        }
    }
}

/// A kernel, decompressed, and where in the file its stream was found if no header names the place.
pub(crate) type Unpacked<'a> = (Cow<'a, [u8]>, Option<Range<u64>>);

/// The kernel of an image: where the header says, or by scan.
fn unpacked<'a>(image: &BzImage<'a>, max_memory: u64) -> Result<Unpacked<'a>> {
    if let Some(payload) = image.payload() {
        if Elf::detect(payload) {
            return Ok((Cow::Borrowed(payload), None));
        }
        let mut kernel = Vec::new();
        let codec = Codec::identify(payload).map_err(|error| Error::Kernel(error.into()))?;
        codec.decompress_one(payload, max_memory, &mut kernel).map_err(|error| Error::Kernel(error.into()))?;
        return Ok((Cow::Owned(kernel), None));
    }
    if let Some(scanned) = image.scan_payload(max_memory, &Budget::new(len64(image.bytes()))) {
        return Ok((Cow::Owned(scanned.data), Some(scanned.at)));
    }
    if image.bare_kernel_address().is_some() {
        let (start, end) = image.system_range();
        return Ok((Cow::Borrowed(slice(image.bytes(), start, end - start).unwrap_or_default()), None));
    }
    let help = "its header does not say where the kernel is, and the search for a stream of one found none; give the kernel's vmlinux";
    Err(Error::wrong_input("VMLINUX", "a bzImage in which no kernel is found", "a Linux kernel in a bzImage", help))
}

/// What the kernel's own setup does that kimage's does not.
fn not_kept(image: &BzImage<'_>) -> Vec<Finding> {
    if !image.setup().asks_apm() {
        return Vec::new();
    }
    let message =
        "the image's own setup asks for an APM BIOS, kimage's does not: the kernel will say that there is none";
    vec![rules::APM.finding(message)]
}

/// Where the relocation table is in what comes out of an image of ours; the stub reads it there.
fn table(p: &Parameters) -> Range<u64> {
    let start = p.elf_len.max(p.span);
    if p.has(parameters::RELOCS) { start..p.unpacked_len.max(start) } else { 0..0 }
}

/// What is advised of a setup by itself is of no use for an image.
fn cut_off(error: FieldError) -> FieldError {
    match error.problem {
        Problem::Truncated { .. } => error.with_help("the image is cut off: copy it again"),
        _ => error,
    }
}

/// The kernel laid out, with the relocation table that was given, stands behind it, or can be made from it.
fn lay_out(payload: &[u8], origin: &Origin, request: &StandaloneRequest<'_>) -> Result<(LaidOutKernel, Vec<Finding>)> {
    let elf = Elf::parse(payload).map_err(|error| Error::input("VMLINUX", error))?;
    let mut findings = Vec::new();
    let behind = match (request.relocs, &origin.table) {
        (Some(_), _) => None,
        (None, Some(table)) => Some(table.clone()).filter(|table| !table.is_empty()),
        (None, None) => relocs_behind(&elf).map_err(|error| Error::input("VMLINUX", error))?.map(|found| found.range),
    };
    let lay = |table: Option<&[u8]>| kernel(&elf, table, request.max_memory).map_err(Error::Kernel);
    if let Some(table) = request.relocs {
        let found = parse_relocs(table, 0, elf.is_64()).map_err(|error| Error::input("RELOCS", error))?;
        let kernel = lay(Some(table))?;
        kernel.check_table(&found.table).map_err(Error::Kernel)?;
        return Ok((kernel, findings));
    }
    if let Some(range) = behind {
        let found = parse_relocs(payload, range.start, elf.is_64()).map_err(|error| Error::input("VMLINUX", error))?;
        let kernel = lay(slice(payload, range.start, range.end - range.start))?;
        kernel.check_table(&found.table).map_err(Error::Kernel)?;
        return Ok((kernel, findings));
    }
    let immovable = |why: &dyn std::fmt::Display| {
        let message = format!("the kernel cannot be moved, and is left where it was linked: {why}");
        rules::NOT_MOVABLE.finding(message)
    };
    match elf::relocs(&elf, RelocOptions::default()) {
        Ok(table) => {
            let mut made = Vec::new();
            emit_relocs(&table, RelocForm::Binary, &mut made)?;
            let kernel = lay(Some(&made))?;
            match kernel.check_table(&table) {
                Ok(()) => return Ok((kernel, findings)),
                Err(error) => findings.push(immovable(&error)),
            }
        }
        Err(elf::Error::RelocNotAllowed(bad)) => findings.push(immovable(&bad)),
        // Without, it is a kernel that is not moved.
        Err(_) => {}
    }
    Ok((lay(None)?, findings))
}

/// A compressed kernel.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Bytes of it that are the size trailer's.
    pub(super) trailer: u64,
    flags: u64,
    pub(super) heap: u64,
}

/// The level of zstd, unless another was asked for.
const ZSTD_LEVEL: u32 = 19;
/// The same for unified images: zstd's own. They are made on each machine, at each update, around RAM disks that are larger.
const UNIFIED_ZSTD_LEVEL: u32 = 3;
/// xz's dictionary: the kernel's own, but never more than what there is to find in it.
const XZ_DICTIONARY: u64 = 32 << 20;
/// The smallest dictionary that xz has.
const XZ_DICTIONARY_MIN: u64 = 4096;
/// Where the zstd decoder has the literals of a block (`LITERALS` in bootstub/src/codec/zstd.rs), all else in place.
const ZSTD_WORK: u64 = (128 << 10) + 64;

/// What the boot stubs unpack, in words: that of a PC, and that of a unified kernel image.
const CODECS: &str = "gzip, lz4, xz or zstd";
const UNIFIED_CODECS: &str = "lz4 or zstd";

/// What unpacks this codec in a boot stub of ours, of which some unpack those that are `wanted`.
pub(super) fn unpacker(codec: Codec, wanted: &'static str) -> Result<Unpacker> {
    match codec {
        Codec::None | Codec::Lz4Legacy => Ok(Unpacker::Lz4),
        Codec::Gzip => Ok(Unpacker::Gzip),
        Codec::Zstd => Ok(Unpacker::Zstd),
        Codec::Xz => Ok(Unpacker::Xz),
        Codec::Lzma => Ok(Unpacker::Lzma),
        Codec::Lzo => Ok(Unpacker::Lzo),
        other => Err(Error::NoBootStub { codec: other.name(), wanted }),
    }
}

/// Compresses a kernel so that a boot stub of ours can unpack it, which undoes these branch converters of xz.
pub(super) fn pack(kernel: &[u8], codec: Codec, options: &CodecParameters, converters: &[Bcj]) -> Result<Packed> {
    let mut options = options.clone();
    let (mut flags, mut heap) = (0, 0);
    match codec {
        Codec::None => flags = parameters::PLAIN,
        Codec::Zstd => {
            options.level.get_or_insert(ZSTD_LEVEL);
            heap = ZSTD_WORK;
        }
        // It decodes in place.
        Codec::Xz => {
            let all = len64(kernel).next_power_of_two().max(XZ_DICTIONARY_MIN);
            options.dictionary.get_or_insert(XZ_DICTIONARY.min(all));
            if options.bcj.is_some_and(|bcj| bcj != Bcj::None && !converters.contains(&bcj)) {
                let codec = "xz with the branch converter of another CPU";
                return Err(Error::NoBootStub { codec, wanted: "that of the kernel's CPU, or none" });
            }
        }
        _ => {}
    }
    let mut bytes = Vec::new();
    codec.compress(kernel, &options, &mut bytes)?;
    let mut trailer = 0;
    // As the kernel's build has it: who takes images apart finds the size there.
    if !matches!(codec, Codec::None | Codec::Gzip) {
        bytes.extend(size_trailer(len64(kernel))?);
        trailer = 4;
    }
    Ok(Packed { bytes, trailer, flags, heap })
}
