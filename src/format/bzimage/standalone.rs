//! A bzImage around a boot stub of our own: setup, stub, compressed kernel, command line, RAM disk.
//!
//! ```text
//! setup, padded to pages | stub | zeros | kernel, size | command line | RAM disk | padding, CRC or .sbat
//! ```
//!
//! The zeros are memory that the stub needs before it has moved: only the file itself is known to be in free memory then.

use super::efi;
use super::kernel_info;
use super::parse::Setup;
use super::parts::{Built, Details, Error, OLDEST_STANDALONE, Standalone};
use super::raw::{
    LOADED_HIGH, XLF_5LEVEL, XLF_5LEVEL_ENABLED, XLF_CAN_BE_LOADED_ABOVE_4G, XLF_EFI_HANDOVER_32, XLF_KERNEL_64,
    offset_of,
};
use crate::bytes::{Align, FieldError, FieldWriter, Patch, len64, slice};
use crate::elf::{self, Elf, FlatOptions, flatten};
use crate::format::pe;
use crate::layout::{self, Region, RegionKind, Reserver};
use crate::stub::builtin::{self, BootStub};
use crate::stub::memory::{self, Sizes};
use crate::stub::parameters::{BITS32, FIVE_LEVELS, Parameters, RELOCATABLE};
use std::borrow::Cow;
use std::ops::Range;

/// The built-in setup, flat.
pub(crate) fn builtin_setup() -> elf::Result<Vec<u8>> {
    let elf = Elf::parse(builtin::SETUP)?;
    let flat = flatten(&elf, &FlatOptions::default())?;
    let mut bytes = vec![0; layout::usize_or_max(flat.base.0)];
    bytes.extend(flat.plan.bytes());
    Ok(bytes)
}

fn builtin_symbol(name: &str) -> Result<u64, Error> {
    let elf = Elf::parse(builtin::SETUP)?;
    let symbol = elf.symbols()?.find(|symbol| symbol.name == name.as_bytes());
    Ok(symbol.map_or(0, |symbol| symbol.value))
}

/// Plans the image around a boot stub of our own.
///
/// # Errors
/// [`Error`].
pub(super) fn plan<'a>(given: &Setup<'_>, parts: Standalone<'a, '_>, crc: bool) -> Result<Built<'a>, Error> {
    let stub = parts.stub;
    let mixed = parts.mixed.filter(|_| parts.efi);
    let payload_at = stub.early_end.saturating_add(mixed.map_or(0, |mixed| mixed.memory));
    let initrd = joined(&parts.initrd);
    let cmdline_at = payload_at.saturating_add(len64(&parts.payload));
    let cmdline_end = cmdline_at.saturating_add(len64(&parts.cmdline));
    let initrd_at = cmdline_end.next_multiple_of(16);
    let crc = crc && !parts.efi;
    let tail = if crc { 4 } else { 0 };
    let compat_at = initrd_at.saturating_add(initrd.len).saturating_add(tail).next_multiple_of(efi::FILE_ALIGNMENT);
    let sbat_at = compat_at.saturating_add(if mixed.is_some() { efi::FILE_ALIGNMENT } else { 0 });
    let file_len = sbat_at.saturating_add(len64(&parts.sbat)).next_multiple_of(efi::FILE_ALIGNMENT);
    let sizes = Sizes {
        unpacked: parts.parameters.unpacked_len,
        span: parts.parameters.span,
        file: file_len,
        stub: stub.memory,
        payload: len64(&parts.payload),
        cmdline: len64(&parts.cmdline),
        heap: parts.parameters.heap_len,
        initrd: initrd.len,
    };
    let max = parts.max_memory.min(u64::from(u32::MAX));
    let memory = memory::layout(&sizes).ok_or(Error::TooLarge { need: u64::MAX, max })?;
    if memory.init_size > max {
        return Err(Error::TooLarge { need: memory.init_size, max });
    }
    let parameters = Parameters {
        payload_at,
        payload_len: len64(&parts.payload).saturating_sub(parts.trailer),
        run_at: memory.run_at,
        initrd_to: memory.initrd_to,
        init_size: memory.init_size,
        file_len,
        cmdline_at,
        cmdline_len: len64(&parts.cmdline),
        initrd_at,
        initrd_len: initrd.len,
        stub_len: stub.memory,
        ..parts.parameters
    };

    let (setup, patches) = setup(given, &parts, &parameters, compat_at)?;
    let setup_len = len64(&setup);
    let told = |stub| head(stub, &parameters, parts.setup_type_max, Setup::parse(&setup)?.header_bytes());
    let (head, mixed_head) = (told(stub)?, mixed.map(told).transpose()?);
    let compat = mixed.map(|mixed| efi::compat(setup_len + stub.memory, mixed.efi_pe_entry));
    let details = Details::Standalone { codec: parts.codec, parameters, is_64: stub.is_64 };
    let kernel_version = Some(parts.version);
    let mut reserver = Reserver::new();
    if parts.is_unified {
        program(&mut reserver, stub, head, parts.payload, &parts.sbat)?;
        return Ok(Built { plan: reserver.finish(), patches: Vec::new(), kernel_version, details });
    }
    reserver.bytes(setup)?;
    if parts.setup_only {
        reserver.region("setup", 0, RegionKind::Header);
        return Ok(Built { plan: reserver.finish(), patches, kernel_version, details });
    }
    reserver.bytes(head)?;
    reserver.fill_to("the boot stub", setup_len + stub.early_end, 0)?;
    reserver.bytes(mixed_head.unwrap_or_default())?;
    reserver.fill_to("the program for 32-bit firmware", setup_len + payload_at, 0)?;
    reserver.bytes(parts.payload)?;
    reserver.bytes(parts.cmdline)?;
    reserver.fill_to("the command line", setup_len + initrd_at, 0)?;
    for (disk, padding) in initrd.pieces {
        reserver.bytes(disk)?;
        reserver.fill(padding, 0)?;
    }
    let end = setup_len + file_len;
    let sbat_len = len64(&parts.sbat);
    if let Some(compat) = compat {
        reserver.fill_to("the RAM disk", setup_len + compat_at, 0)?;
        reserver.bytes(compat)?;
    }
    if !parts.sbat.is_empty() {
        reserver.fill_to("the RAM disk", setup_len + sbat_at, 0)?;
        reserver.bytes(parts.sbat)?;
    }
    reserver.fill_to("the image", end - tail, 0)?;
    if crc {
        reserver.crc32_no_xor()?;
    }
    let sbat_end = if sbat_len == 0 { 0 } else { sbat_at.saturating_add(sbat_len) };
    let plan = reserver.finish_with(regions(&parameters, setup_len, sbat_at..sbat_end, end - tail..end));
    Ok(Built { plan, patches, kernel_version, details })
}

/// How the stub of unified images is called, where systemd's tools look for it (`SD_MAGIC`).
const NAME: &[u8] = concat!("#### LoaderInfo: kimage ", env!("CARGO_PKG_VERSION"), " ####\0").as_bytes();

/// The program of a unified kernel image: a page of headers, in which there is room for some 90 sections, the stub, the kernel.
/// In memory all stands as it does of a bzImage that firmware has loaded.
fn program<'a>(
    reserver: &mut Reserver<'a>,
    stub: &BootStub,
    head: Vec<u8>,
    payload: Cow<'a, [u8]>,
    sbat: &[u8],
) -> Result<(), Error> {
    let sizes = efi::EfiSizes {
        is_64: stub.is_64,
        setup: efi::PAGE,
        code: stub.data_at,
        data: len64(&head).saturating_sub(stub.data_at),
        data_memory: stub.memory.saturating_sub(stub.data_at),
        mixed: None,
        payload: (".linux", len64(&payload)),
        sbat: len64(sbat),
        magic: len64(NAME),
        entry: stub.efi_pe_entry.unwrap_or(0),
    };
    let mut headers = FieldWriter::new(vec![0; layout::usize_or_max(efi::PAGE)]);
    efi::write_header(&mut headers, efi::PE_AT, &sizes)?;
    let align = Align::new(efi::FILE_ALIGNMENT).unwrap_or(Align::PAGE);
    for (name, bytes, kind) in [
        ("headers", Cow::Owned(headers.finish().0), RegionKind::Header),
        ("stub", Cow::Owned(head), RegionKind::Code),
        ("linux", payload, RegionKind::Payload),
        ("name", Cow::Borrowed(NAME), RegionKind::Data),
        ("sbat", Cow::Owned(sbat.to_vec()), RegionKind::Data),
    ] {
        let start = reserver.at();
        if !bytes.is_empty() {
            reserver.bytes(bytes)?;
            reserver.align(align)?;
            reserver.region(name, start, kind);
        }
    }
    Ok(())
}

/// The parts of an image, each up to the next; `sbat` counts from the stub's first byte, and is empty for none.
fn regions(p: &Parameters, setup_len: u64, sbat: Range<u64>, crc: Range<u64>) -> Vec<Region> {
    let mut regions = vec![Region::new("setup", 0..setup_len, RegionKind::Header)];
    let mut end = setup_len;
    for (name, from, to, kind) in [
        ("stub", 0, p.payload_at, RegionKind::Code),
        ("payload", p.payload_at, p.cmdline_at, RegionKind::Payload),
        ("cmdline", p.cmdline_at, p.cmdline_at.saturating_add(p.cmdline_len), RegionKind::Data),
        ("initrd", p.initrd_at, p.initrd_at.saturating_add(p.initrd_len), RegionKind::Data),
        ("sbat", sbat.start, sbat.end, RegionKind::Data),
    ] {
        if from < to {
            let (from, to) = (setup_len.saturating_add(from), setup_len.saturating_add(to));
            if let Some(before) = regions.last_mut() {
                before.at.end = from;
            }
            regions.push(Region::new(name, from..to, kind));
            end = to;
        }
    }
    for (name, at, kind) in [("padding", end..crc.start, RegionKind::Padding), ("crc32", crc, RegionKind::Digest)] {
        if !at.is_empty() {
            regions.push(Region::new(name, at, kind));
        }
    }
    regions
}

/// RAM disks one behind the other, each but the last padded to the four bytes that cpio archives are aligned to.
pub(crate) struct Joined<'a> {
    /// Each with the bytes of padding behind it.
    pub(crate) pieces: Vec<(&'a [u8], u64)>,
    /// Bytes of all.
    pub(crate) len: u64,
}

/// See [`Joined`].
pub(crate) fn joined<'a>(disks: &[&'a [u8]]) -> Joined<'a> {
    let mut joined = Joined { pieces: Vec::new(), len: 0 };
    let last = disks.len().saturating_sub(1);
    for (index, disk) in disks.iter().enumerate() {
        let len = len64(disk);
        let padding = if index == last { 0 } else { len.next_multiple_of(4) - len };
        joined.pieces.push((disk, padding));
        joined.len = joined.len.saturating_add(len + padding);
    }
    joined
}

/// The stub with what it is to know.
fn head(stub: &BootStub, parameters: &Parameters, setup_type_max: u32, header: &[u8]) -> Result<Vec<u8>, Error> {
    let mut head = stub.bytes.clone();
    for (field, at, bytes) in [
        ("parameters", stub.parameters_at, &builtin::block(parameters)[..]),
        ("setup_header", stub.setup_header_at, header),
        ("setup_type_max", stub.kernel_info_at + kernel_info::SETUP_TYPE_MAX_AT, &setup_type_max.to_le_bytes()),
    ] {
        builtin::put(&mut head, field, at, bytes)?;
    }
    Ok(head)
}

/// The setup, padded to pages, its header filled in.
fn setup(
    given: &Setup<'_>,
    parts: &Standalone<'_, '_>,
    p: &Parameters,
    compat_at: u64,
) -> Result<(Vec<u8>, Vec<Patch>), Error> {
    if given.version() < OLDEST_STANDALONE {
        return Err(Error::OldSetup { found: given.version() });
    }
    let version = given.version();
    let least =
        |own: u32, inherited: Option<u32>| inherited.filter(|value| *value != 0).map_or(own, |value| own.min(value));
    let inherited = parts.inherited;
    let cmdline_size = least(given.header().cmdline_size.get(), inherited.map(|old| old.cmdline_size));
    let initrd_addr_max = least(given.header().initrd_addr_max.get(), inherited.map(|old| old.initrd_addr_max));
    if p.cmdline_len > u64::from(cmdline_size) {
        return Err(Error::Cmdline { len: p.cmdline_len, max: cmdline_size.into() });
    }
    let mut bytes = given.bytes().to_vec();
    let version_at = if parts.is_setup_builtin { put_version(&mut bytes, &parts.version)? } else { None };
    if parts.efi {
        // Nothing runs there: boot loaders begin behind it.
        bytes.iter_mut().take(efi::ROOM).for_each(|byte| *byte = 0);
    } else if pe::is_mz(&bytes) {
        // Without an EFI entry there must be no sign of one.
        bytes.iter_mut().take(2).for_each(|byte| *byte = 0xff);
    }
    let mixed = parts.mixed.filter(|_| parts.efi);
    // The boot sector has no room for so many sections.
    let pe_at = mixed.map_or(efi::PE_AT, |_| len64(&bytes).next_multiple_of(8));
    let end = len64(&bytes).max(pe_at + mixed.map_or(0, |_| efi::HEADER_MAX));
    let padded = Align::PAGE.up(end).unwrap_or(u64::MAX);
    bytes.resize(layout::usize_or_max(padded), 0);

    let mut out = FieldWriter::new(bytes);
    if let Some(entry) = parts.stub.efi_pe_entry.filter(|_| parts.efi) {
        let stub = parts.stub;
        let layout = efi::EfiSizes {
            is_64: stub.is_64,
            setup: padded,
            code: stub.data_at,
            data: stub.early_end.saturating_sub(stub.data_at),
            data_memory: stub.memory.saturating_sub(stub.data_at),
            mixed: mixed.map(|mixed| [mixed.data_at, mixed.memory.saturating_sub(mixed.data_at)]),
            payload: (".payload", compat_at.saturating_sub(p.payload_at)),
            sbat: len64(&parts.sbat),
            magic: 0,
            entry,
        };
        efi::write_header(&mut out, pe_at, &layout)?;
    }
    let sectors = u8::try_from(padded / 512 - 1)
        .map_err(|_| FieldError::range("setup_sects", offset_of("setup_sects"), padded / 512 - 1, 4..=255))?;
    let moves = p.has(RELOCATABLE);
    let step = u8::try_from(p.align.trailing_zeros()).unwrap_or(0);
    // The stub's own, whatever the kernel is. By it the built-in setup knows what CPU to ask for.
    let mut xloadflags = if parts.stub.is_64 { XLF_KERNEL_64 } else { 0 };
    if !p.has(BITS32) {
        xloadflags |= XLF_CAN_BE_LOADED_ABOVE_4G;
    }
    if mixed.is_some() {
        xloadflags |= XLF_EFI_HANDOVER_32;
    }
    if p.has(FIVE_LEVELS) {
        xloadflags |= XLF_5LEVEL | XLF_5LEVEL_ENABLED;
    }
    out.u8("setup_sects", offset_of("setup_sects"), sectors)?;
    put32(&mut out, "syssize", p.file_len / 16)?;
    match inherited {
        None => out.u16("root_dev", offset_of("root_dev"), 0)?,
        Some(old) => {
            for (field, value) in [
                ("root_flags", old.root_flags),
                ("ram_size", old.ram_size),
                ("vid_mode", old.vid_mode),
                ("root_dev", old.root_dev),
            ] {
                out.u16(field, offset_of(field), value)?;
            }
            put32(&mut out, "initrd_addr_max", initrd_addr_max.into())?;
            put32(&mut out, "cmdline_size", cmdline_size.into())?;
        }
    }
    if let Some(at) = version_at {
        out.u16("kernel_version", offset_of("kernel_version"), at)?;
    }
    out.u8("loadflags", offset_of("loadflags"), LOADED_HIGH)?;
    put32(&mut out, "code32_start", 0x10_0000)?;
    put32(&mut out, "kernel_alignment", p.align)?;
    out.u8("relocatable_kernel", offset_of("relocatable_kernel"), u8::from(moves))?;
    out.u8("min_alignment", offset_of("min_alignment"), step)?;
    out.u16("xloadflags", offset_of("xloadflags"), xloadflags)?;
    put32(&mut out, "payload_offset", p.payload_at)?;
    put32(&mut out, "payload_length", len64(&parts.payload))?;
    put32(&mut out, "pref_address", p.load_min & u64::from(u32::MAX))?;
    let upper = u32::try_from(p.load_min >> 32).unwrap_or(u32::MAX);
    out.u32("pref_address (upper half)", offset_of("pref_address") + 4, upper)?;
    put32(&mut out, "init_size", p.init_size)?;
    let handover = mixed.and_then(|mixed| mixed.efi_handover_entry).map(|entry| parts.stub.early_end + entry);
    put32(&mut out, "handover_offset", handover.unwrap_or(0))?;
    if version >= 0x20f {
        put32(&mut out, "kernel_info_offset", parts.stub.kernel_info_at)?;
    }
    Ok(out.finish())
}

/// Writes the text where the built-in setup has room for it; returns what `kernel_version` is to say.
fn put_version(setup: &mut [u8], text: &str) -> Result<Option<u16>, Error> {
    let (start, end) = (builtin_symbol("version_text")?, builtin_symbol("version_text_end")?);
    let room = end.saturating_sub(start).saturating_sub(1);
    let mut cut = text.len().min(layout::usize_or_max(room));
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let text = slice(text.as_bytes(), 0, u64::try_from(cut).unwrap_or(0)).unwrap_or_default();
    let place = setup.iter_mut().skip(layout::usize_or_max(start));
    place.zip(text).for_each(|(to, from)| *to = *from);
    // The pointer counts from 0x200.
    Ok(u16::try_from(start.saturating_sub(0x200)).ok().filter(|_| start > 0x200))
}

/// Writes a field, or the lower half of it.
fn put32(out: &mut FieldWriter, field: &'static str, value: u64) -> Result<(), FieldError> {
    out.narrow(field, offset_of(field), value)
}
