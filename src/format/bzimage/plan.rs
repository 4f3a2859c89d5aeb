//! Parts to plan: what `arch/x86/boot/tools/build.c` of the kernel's generation did, derived from the parts.

use super::check::LAST_ROOT_DEV;
use super::parse::{Setup, regions};
use super::parts::{Built, CrcChoice, Details, Error, Generation};
use super::raw::{SetupHeader, offset_of};
use crate::bytes::{Align, FieldError, FieldWriter, Patch, len64};
use crate::elf::{DEFAULT_MAX_SIZE, X86_REMOVES};
use crate::format::pe::{Pe, SECTION_PLACES, is_mz};
use crate::layout::{self, Plan, Reserver};
use crate::stub::Stub;

/// Fewest sectors of a setup with its boot sector, and most (`SETUP_SECT_MIN`, `SETUP_SECT_MAX` of build.c).
const SETUP_SECTORS: std::ops::RangeInclusive<u64> = 5..=64;
/// Most bytes of a setup with its boot sector.
pub(crate) const MAX_SETUP: u64 = *SETUP_SECTORS.end() * 512;
/// Room for the `.reloc` section, and for `.compat`, behind the setup of the patched generation.
const RESERVE: u64 = 0x20;
/// Bytes of a zImage's system (`DEF_SYSSIZE` of build.c, up to Linux 2.6.29): what is free from 64 KiB on.
const MAX_LOW: u64 = 0x7f00 * 16;

/// Plans the image around a kernel's own decompressor.
///
/// # Errors
/// [`Error`]: parts that are damaged, of different builds, or too large for their header fields.
pub(super) fn plan<'a>(
    setup: &Setup<'_>,
    stub: &Stub<'a>,
    root_dev: (u32, u32),
    crc: CrcChoice,
) -> Result<Built<'a>, Error> {
    let system = stub.flat(&X86_REMOVES, DEFAULT_MAX_SIZE)?.plan;
    if root_dev != (0, 0) && setup.version() > LAST_ROOT_DEV {
        return Err(Error::RootDev { protocol: setup.version() });
    }
    // build.c's generation left both to be filled in; header.S fills in both since.
    let generation = match () {
        () if setup.is_unassembled() => Generation::Patched,
        _ if writes_crc_by_release(setup) == Some(false) => Generation::Plain,
        _ => Generation::Padded,
    };
    let crc = match (crc, generation) {
        (CrcChoice::Yes, _) => true,
        (CrcChoice::ByGeneration, Generation::Patched) => writes_crc_by_protocol(setup),
        (CrcChoice::No, _) => false,
        (CrcChoice::ByGeneration, _) => writes_crc_by_release(setup).ok_or_else(|| Error::UnknownRelease {
            found: setup
                .kernel_version()
                .map_or_else(|| "no text".to_owned(), |text| format!("`{}`", text.escape_debug())),
        })?,
    };
    let head = match generation {
        Generation::Patched => patched_setup(setup, stub, root_dev, system.len(), crc)?,
        Generation::Padded | Generation::Plain => assembled_setup(setup, system.len())?,
    };

    let header = Setup::parse(&head.bytes)?;
    let (protocol, kernel_version) = (header.version(), setup.kernel_version().map(str::to_owned));
    let fields: SetupHeader = *header.header();
    let (setup_padded, end) = (len64(&head.bytes), len64(&head.bytes) + head.system_padded);
    let mut reserver = Reserver::new();
    reserver.bytes(head.bytes)?;
    append_system(&mut reserver, &system, head.system_padded, crc)?;
    let plan = reserver.finish_with(regions(&fields, setup_padded, end, end, crc));
    let (setup_len, system_len) = (head.len, system.len());
    let details = Details::Linked { generation, protocol, setup_len, setup_padded, system_len };
    Ok(Built { plan, patches: head.patches, kernel_version, details })
}

/// Linux 2.6.26 (protocol 2.08) brought the CRC, and with it the padding to whole paragraphs.
fn writes_crc_by_protocol(setup: &Setup<'_>) -> bool {
    setup.has(0x208)
}

/// Linux 6.15 dropped the CRC (commit 9c54baab4401); nothing in setup or decompressor shows it, only the release.
fn writes_crc_by_release(setup: &Setup<'_>) -> Option<bool> {
    setup.release_numbers().map(|release| release < (6, 15, 0))
}

/// Linux 4.20 made the system of an EFI image an even number of paragraphs, for sections that are aligned to 32 bytes, and
/// so did stable releases of that month. Nothing in the parts shows it, only the release.
fn pads_to_32_bytes(setup: &Setup<'_>) -> bool {
    setup.has(0x20d)
        && setup.release_numbers().is_none_or(|release| match release {
            (4, 9, patch) => patch >= 143,
            (4, 14, patch) => patch >= 86,
            (4, 19, patch) => patch >= 7,
            (major, minor, _) => (major, minor) >= (4, 20),
        })
}

/// The system, zero-padded to `padded` bytes, its last four replaced by the CRC where there is one.
fn append_system<'a>(reserver: &mut Reserver<'a>, system: &Plan<'a>, padded: u64, crc: bool) -> Result<(), Error> {
    let start = reserver.at();
    let digest = start + padded - 4;
    for piece in system.pieces() {
        let room = digest.saturating_sub(reserver.at());
        match &piece.content {
            layout::Content::Bytes(bytes) if crc && room < len64(bytes) => {
                let keep = bytes.get(..layout::usize_or_max(room)).unwrap_or(&[]).to_vec();
                reserver.bytes(keep)?;
            }
            layout::Content::Fill(byte) if crc => {
                reserver.fill(room.min(piece.at.end - piece.at.start), *byte)?;
            }
            layout::Content::Bytes(bytes) => reserver.bytes(bytes.clone())?,
            layout::Content::Fill(byte) => reserver.fill(piece.at.end - piece.at.start, *byte)?,
            // A flat ELF image holds no digest.
            layout::Content::Crc32NoXor | layout::Content::Leading(_) => {}
        }
    }
    if crc {
        reserver.fill_to("the system", digest, 0)?;
        reserver.crc32_no_xor()?;
    } else {
        reserver.fill_to("the system", start + padded, 0)?;
    }
    Ok(())
}

/// A setup as it will be written.
struct Head {
    bytes: Vec<u8>,
    /// Length before padding.
    len: u64,
    /// Length of the system that follows, with padding and CRC.
    system_padded: u64,
    patches: Vec<Patch>,
}

/// Linux 6.7 and later: the assembler has filled in everything; pad to pages, and check that header and parts agree.
fn assembled_setup(setup: &Setup<'_>, system_len: u64) -> Result<Head, Error> {
    let len = len64(setup.bytes());
    let padded = Align::PAGE.up(len).unwrap_or(len);
    let sectors = u64::from(setup.header().setup_sects) + 1;
    if sectors * 512 != padded {
        let help = "give setup.bin or setup.elf as the kernel's build left it, of the same build";
        return Err(FieldError::mismatch(
            "setup_sects",
            offset_of("setup_sects"),
            sectors - 1,
            (padded / 512).saturating_sub(1),
        )
        .with_help(help)
        .into());
    }
    let found = u64::from(setup.header().syssize.get()) * 16;
    if found != system_len {
        return Err(Error::Mixed {
            field: "syssize (times 16)",
            at: offset_of("syssize"),
            found,
            symbol: "the length of the flat image (_edata)",
            want: system_len,
        });
    }
    let mut bytes = setup.bytes().to_vec();
    bytes.resize(layout::usize_or_max(padded), 0);
    Ok(Head { bytes, len, system_padded: system_len, patches: Vec::new() })
}

/// Linux 6.6 and earlier: everything that build.c fills in.
fn patched_setup(
    setup: &Setup<'_>,
    stub: &Stub<'_>,
    (major, minor): (u32, u32),
    system_len: u64,
    crc: bool,
) -> Result<Head, Error> {
    // Linux 3.8 brought zoffset.h to the tool.
    if setup.has(0x20f) || setup.has(0x20c) && is_mz(setup.bytes()) {
        stub.need_symbols("an entry point that the header is to have")?;
    }
    let pe = Pe::parse_if_mz(setup.bytes())?;
    let has_section = |name: &[u8]| pe.as_ref().is_some_and(|pe| pe.section(name).is_some());
    let mixed = has_section(b".compat");
    // The first EFI images (Linux 3.3 and 3.4) have no section for the setup, and .reloc linked into it.
    let reserved = RESERVE * (u64::from(has_section(b".setup")) + u64::from(mixed));
    let len = len64(setup.bytes()) + reserved;
    let sectors = len.div_ceil(512).max(*SETUP_SECTORS.start());
    if sectors > *SETUP_SECTORS.end() {
        return Err(Error::SetupTooLong { len, sectors, max: *SETUP_SECTORS.end() });
    }
    let padded = sectors * 512;
    // Paragraphs, with room for the CRC.
    let has_room = crc || pe.is_some() || writes_crc_by_protocol(setup);
    let paragraphs = (system_len + if has_room { 4 } else { 0 }).div_ceil(16);
    let is_even = pe.is_some() && pads_to_32_bytes(setup);
    let paragraphs = if is_even { paragraphs.next_multiple_of(2) } else { paragraphs };
    let image = Halves { setup: padded, system: paragraphs * 16 };
    if !setup.is_loaded_high() && image.system > MAX_LOW {
        return Err(Error::TooLargeForLow { len: image.system, max: MAX_LOW });
    }

    let mut bytes = setup.bytes().to_vec();
    bytes.resize(layout::usize_or_max(padded), 0);
    let mut out = FieldWriter::new(bytes);
    out.u8("setup_sects", offset_of("setup_sects"), u8::try_from(sectors - 1).unwrap_or(u8::MAX))?;
    if setup.has(0x204) {
        out.narrow("syssize", offset_of("syssize"), paragraphs)?;
    } else {
        // The field had 16 bits, which a bzImage of 1 MiB outgrows.
        out.u16("syssize", offset_of("syssize"), low_bits(paragraphs))?;
    }
    out.u16("root_dev", offset_of("root_dev"), low_bits(u64::from(major & 0xff) << 8 | u64::from(minor & 0xff)))?;
    if let Some(pe) = &pe {
        let init_size = init_size(setup, stub, image)?;
        if init_size != u64::from(setup.header().init_size.get()) {
            out.narrow("init_size", offset_of("init_size"), init_size)?;
        }
        patch_pe(&mut out, pe, stub, setup, image, init_size)?;
        // Linux 3.6 and 3.7 (protocol 2.11) leave what header.S has.
        if setup.has(0x20c) {
            let handover = handover_offset(setup, pe, stub, mixed)?;
            out.narrow("handover_offset", offset_of("handover_offset"), handover)?;
        }
    }
    if setup.has(0x20f) {
        let kernel_info = stub.symbol("kernel_info").unwrap_or(0);
        out.narrow("kernel_info_offset", offset_of("kernel_info_offset"), kernel_info)?;
    }
    let (bytes, patches) = out.finish();
    let system_padded = if has_room { image.system } else { system_len };
    Ok(Head { bytes, len, system_padded, patches })
}

fn low_bits(value: u64) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or_default()
}

/// Bytes of the two halves of an image of the patched generation, padded.
#[derive(Clone, Copy)]
struct Halves {
    setup: u64,
    system: u64,
}

impl Halves {
    fn file(self) -> u64 {
        self.setup + self.system
    }
}

/// header.S computes `init_size`; an EFI loader also puts the setup in front of the buffer, whose head must survive the
/// move of the decompressor to the buffer's end (build.c since Linux 5.7).
fn init_size(setup: &Setup<'_>, stub: &Stub<'_>, image: Halves) -> Result<u64, Error> {
    let init_size = u64::from(setup.header().init_size.get());
    let Some(ehead) = stub.symbol("_ehead").filter(|_| setup.has(0x20f)) else { return Ok(init_size) };
    let end = stub.need("_end", "says how much memory the decompressor takes")?;
    let head = image.setup.saturating_add(ehead);
    // build.c computes in 32 bits: an init_size below _end wraps around and counts as large.
    let room = init_size.wrapping_sub(end) & u64::from(u32::MAX);
    if room < head {
        return Ok(Align::PAGE.up(head.saturating_add(end)).unwrap_or(u64::MAX));
    }
    Ok(init_size)
}

/// `efi_stub_entry_update()`: an offset into the system, 0x200 less for 64-bit kernels, whose loaders add it again.
fn handover_offset(setup: &Setup<'_>, pe: &Pe<'_>, stub: &Stub<'_>, mixed: bool) -> Result<u64, Error> {
    let bias = if pe.is_plus { 0x200 } else { 0 };
    if !setup.has(0x20d) {
        // One entry point up to Linux 3.14, at a fixed place where it has no symbol.
        return Ok(stub.symbol("efi_stub_entry").map_or(0x30, |entry| entry.wrapping_sub(bias)));
    }
    let entry32 = stub.symbol("efi32_stub_entry").unwrap_or(0);
    // Without CONFIG_EFI_HANDOVER_PROTOCOL (6.2 to 6.6) there is no 64-bit entry, and 0 is written.
    let Some(entry64) = stub.symbol("efi64_stub_entry").filter(|_| pe.is_plus) else { return Ok(entry32) };
    let addr = entry64.wrapping_sub(bias);
    if mixed && entry32 != addr {
        return Err(Error::MixedEntry { found: entry32, want: addr });
    }
    Ok(addr)
}

/// The PE fields and sections, as four ages of build.c filled them in.
fn patch_pe(
    out: &mut FieldWriter,
    pe: &Pe<'_>,
    stub: &Stub<'_>,
    setup: &Setup<'_>,
    image: Halves,
    init_size: u64,
) -> Result<(), Error> {
    let mixed = pe.section(b".compat").is_some();
    let file = image.file();
    let compat = image.setup - RESERVE;
    let reloc = if mixed { compat - RESERVE } else { compat };
    let has_setup = pe.section(b".setup").is_some();
    if has_setup {
        section(out, pe, ".setup", 0x200, reloc - 0x200, reloc - 0x200, 0x200)?;
        section(out, pe, ".reloc", reloc, RESERVE, RESERVE, reloc)?;
        // One entry, for the field that follows it: some loaders refuse an image without relocations.
        out.narrow(".reloc page RVA", reloc, reloc + 10)?;
        out.u32(".reloc block size", reloc + 4, 10)?;
    }
    if mixed {
        section(out, pe, ".compat", compat, RESERVE, RESERVE, compat)?;
        let entry = stub.need("efi32_pe_entry", "is the entry point of EFI mixed mode")?;
        out.u8(".compat type", compat, 1)?;
        out.u8(".compat size", compat + 1, 8)?;
        out.u16(".compat machine", compat + 2, 0x14c)?;
        out.narrow(".compat entry point", compat + 4, entry.saturating_add(image.setup))?;
    }

    // What loaders take into memory, and .text of it: address, bytes there and in the file.
    let has_bss = pe.section(b".bss").is_some();
    let bss_size = init_size.saturating_sub(file);
    let (size_of_code, size_of_image, text) = if has_bss {
        // Linux 3.16 to 5.6: uninitialised memory is a section of its own.
        (file - 512, init_size, (image.setup, image.system, image.system))
    } else if setup.has(0x20f) {
        let size_of_image = if has_boot_sector_message(setup) {
            // Linux 5.7 to 6.6: room to decompress, and slack to align it in.
            init_size.saturating_add(u64::from(setup.header().kernel_alignment.get()))
        } else {
            // The middle of the 6.7 series: the EFI stub allocates its own buffer.
            image.setup.saturating_add(stub.need("_end", "is the size of the EFI image")?)
        };
        let in_memory = size_of_image.saturating_sub(image.setup);
        (size_of_image.saturating_sub(512), size_of_image, (image.setup, in_memory, image.system))
    } else if !has_setup {
        // Linux 3.3 and 3.4: one section is the whole file.
        (file, file, (0, file, file))
    } else {
        // Linux 3.5 to 3.15.
        (file - 512, file, (image.setup, image.system, image.system))
    };
    out.narrow("SizeOfCode", pe.place("SizeOfCode"), size_of_code)?;
    if has_bss {
        out.narrow("SizeOfUninitializedData", pe.place("SizeOfUninitializedData"), bss_size)?;
    }
    out.narrow("SizeOfImage", pe.place("SizeOfImage"), size_of_image)?;
    section(out, pe, ".text", text.0, text.1, text.2, text.0)?;
    section(out, pe, ".bss", file, bss_size, 0, 0)?;
    // Before the symbol, the entry stood at a fixed place of head_32.S and head_64.S.
    let entry = stub.symbol("efi_pe_entry").unwrap_or(if pe.is_plus { 0x210 } else { 0x10 });
    out.narrow("AddressOfEntryPoint", pe.place("AddressOfEntryPoint"), entry.saturating_add(image.setup))?;
    Ok(())
}

/// `update_pecoff_section_header_fields()`; a section that the table does not have is passed over.
fn section(
    out: &mut FieldWriter,
    pe: &Pe<'_>,
    name: &'static str,
    rva: u64,
    size: u64,
    raw_size: u64,
    raw_at: u64,
) -> Result<(), Error> {
    let Some(section) = pe.section(name.as_bytes()) else { return Ok(()) };
    for ((field, at), value) in SECTION_PLACES.into_iter().zip([size, rva, raw_size, raw_at]) {
        out.narrow(section_field(name, field), section.at + at, value)?;
    }
    Ok(())
}

/// `.text VirtualSize` and so on, for reports.
pub(super) fn section_field(section: &'static str, field: &'static str) -> &'static str {
    macro_rules! names {
        ($($section:literal),*) => {
            match (section, field) {
                $(
                    ($section, "VirtualSize") => concat!($section, " VirtualSize"),
                    ($section, "VirtualAddress") => concat!($section, " VirtualAddress"),
                    ($section, "SizeOfRawData") => concat!($section, " SizeOfRawData"),
                    ($section, "PointerToRawData") => concat!($section, " PointerToRawData"),
                )*
                _ => field,
            }
        };
    }
    names!(".setup", ".reloc", ".compat", ".text", ".sbat", ".data", ".bss")
}

/// Linux before the 6.7 series had a boot sector that said "Use a boot loader." when it was booted from a floppy disk; the
/// series took it out right before it shrank the EFI image.
fn has_boot_sector_message(setup: &Setup<'_>) -> bool {
    let sector = crate::bytes::slice(setup.bytes(), 0, 512).unwrap_or(&[]);
    memchr::memmem::find(sector, b"Use a boot loader").is_some()
}
