//! What the kernel is to know of the firmware: screen, Secure Boot, ACPI, random numbers, the TPM's log.

use core::ffi::c_void;
use uefi_raw::protocol::console::{GraphicsOutputProtocol, GraphicsPixelFormat};
use uefi_raw::protocol::rng::RngProtocol;
#[cfg(feature = "unified")]
use uefi_raw::protocol::tcg::v2::Tcg2BootServiceCapability;
use uefi_raw::protocol::tcg::v2::{Tcg2EventLogBitmap, Tcg2HashLogExtendEventFlags, Tcg2Protocol};
use uefi_raw::table::runtime::{VariableAttributes, VariableVendor};
use uefi_raw::{Boolean, Guid, Status, guid};

use super::firmware::{Firmware, Outcome};
use crate::boot_params::{BootParams, at};
use crate::efi_text::{event_len, first_event_len};
use crate::memory::Span;

/// `VIDEO_TYPE_EFI`
const VIDEO_TYPE_EFI: u8 = 0x70;
/// `VIDEO_CAPABILITY_64BIT_BASE`
const BASE_64: u32 = 1 << 1;

/// Marks the handles that the console writes to.
static CONSOLE_OUT_DEVICE: Guid = guid!("d3b36f2c-d551-11d4-9a46-0090273fc14d");
static ACPI_20: Guid = guid!("8868e871-e4f1-11d3-bc22-0080c73c8881");
static ACPI_10: Guid = guid!("eb9d2d30-2d88-11d3-9a16-0090273fc14d");
// Linux's own tables (include/linux/efi.h).
static RANDOM_SEED: Guid = guid!("1ce1e5bc-7ceb-42f2-81e5-8aadf180f57b");
static TPM_LOG: Guid = guid!("b7799cb0-eca2-4943-9667-1fae07b747fa");
static TPM_FINAL_LOG: Guid = guid!("1e2ed096-30e2-4254-bd89-863bbef82325");
static SHIM: Guid = guid!("605dab50-e046-4300-abb6-3dd810dd8b23");

/// The frame buffer (`struct screen_info`), that of the console if there are several.
pub fn screen(firmware: Firmware, params: BootParams) {
    let guid = &GraphicsOutputProtocol::GUID;
    let mut chosen = None;
    for handle in firmware.handles(guid) {
        let Some(output) = firmware.protocol::<GraphicsOutputProtocol>(*handle, guid) else { continue };
        let is_console = firmware.protocol::<u8>(*handle, &CONSOLE_OUT_DEVICE).is_some();
        let mode = unsafe { &*(*output).mode };
        let has_memory = unsafe { (*mode.info).pixel_format } < GraphicsPixelFormat::PIXEL_BLT_ONLY;
        if has_memory && (chosen.is_none() || is_console) {
            chosen = Some(mode);
            if is_console {
                break;
            }
        }
    }
    let Some(mode) = chosen else { return };
    let info = unsafe { &*mode.info };
    let masks = match info.pixel_format {
        GraphicsPixelFormat::PIXEL_RED_GREEN_BLUE_RESERVED_8_BIT_PER_COLOR => [0xff, 0xff00, 0xff_0000, 0xff00_0000],
        GraphicsPixelFormat::PIXEL_BIT_MASK => {
            let bits = info.pixel_information;
            [bits.red, bits.green, bits.blue, bits.reserved]
        }
        _ => [0xff_0000, 0xff00, 0xff, 0xff00_0000],
    };
    let mut depth = 0;
    for (index, mask) in masks.into_iter().enumerate() {
        let size = mask.count_ones() as u8;
        depth += u16::from(size);
        params.set_u8(at::RED_SIZE + 2 * index, size);
        params.set_u8(at::RED_SIZE + 2 * index + 1, if mask == 0 { 0 } else { mask.trailing_zeros() as u8 });
    }
    let line = info.pixels_per_scan_line.wrapping_mul(u32::from(depth)) / 8;
    params.set_u8(at::ORIG_VIDEO_IS_VGA, VIDEO_TYPE_EFI);
    params.set_u16(at::LFB_WIDTH, info.horizontal_resolution as u16);
    params.set_u16(at::LFB_HEIGHT, info.vertical_resolution as u16);
    params.set_u16(at::LFB_DEPTH, depth);
    params.set_u16(at::LFB_LINE_LENGTH, line as u16);
    params.set_u32(at::LFB_SIZE, line.wrapping_mul(info.vertical_resolution));
    params.set_u16(at::PAGES, 1);
    params.set_u32(at::LFB_BASE, mode.frame_buffer_base as u32);
    let upper = (mode.frame_buffer_base >> 32) as u32;
    if upper != 0 {
        params.set_u32(at::EXT_LFB_BASE, upper);
        params.set_u32(at::CAPABILITIES, BASE_64);
    }
}

/// A variable of one byte, and its attributes.
fn variable(firmware: Firmware, name: &[u8], vendor: &Guid) -> Option<(u8, VariableAttributes)> {
    let mut wide = [0; 16];
    wide.iter_mut().zip(name).for_each(|(to, from)| *to = u16::from(*from));
    let (mut attributes, mut len, mut value) = (VariableAttributes::empty(), 1, 0);
    let runtime = unsafe { &*firmware.table().runtime_services };
    let status = unsafe { (runtime.get_variable)(wide.as_ptr(), vendor, &mut attributes, &mut len, &mut value) };
    (status == Status::SUCCESS && len == 1).then_some((value, attributes))
}

/// Is this variable 1?
#[cfg(feature = "unified")]
pub fn is_on(firmware: Firmware, name: &[u8], vendor: &Guid) -> bool {
    variable(firmware, name, vendor).is_some_and(|(value, _)| value == 1)
}

/// `efi_secureboot_mode_enabled`
pub const SECURE_BOOT_ON: u8 = 3;

/// `secure_boot`: on or off (`enum efi_secureboot_mode`).
pub fn secure_boot(firmware: Firmware, params: BootParams) {
    const DISABLED: u8 = 2;
    let global = &VariableVendor::GLOBAL_VARIABLE.0;
    let is_on = |name, vendor| variable(firmware, name, vendor).map(|(value, attributes)| (value == 1, attributes));
    let mut state = DISABLED;
    if let (Some((true, _)), Some((false, _))) = (is_on(b"SecureBoot", global), is_on(b"SetupMode", global)) {
        // The owner has told shim not to look: only boot services can write that variable.
        let told = is_on(b"MokSBState", &SHIM);
        let off = matches!(told, Some((true, how)) if !how.contains(VariableAttributes::RUNTIME_ACCESS));
        state = if off { DISABLED } else { SECURE_BOOT_ON };
    }
    params.set_u8(at::SECURE_BOOT, state);
}

/// Asks firmware that knows how to overwrite all memory at the next start, whoever starts then
/// (drivers/firmware/efi/libstub/tpm.c; TCG PC Client Platform Reset Attack Mitigation 1.10, 6).
pub fn overwrite_memory(firmware: Firmware) {
    const NAME: &[u8] = b"MemoryOverwriteRequestControl";
    static VENDOR: Guid = guid!("e20939be-32d4-41be-a150-897f85d49829");
    let mut name = [0; NAME.len() + 1];
    name.iter_mut().zip(NAME).for_each(|(to, from)| *to = u16::from(*from));
    let runtime = unsafe { &*firmware.table().runtime_services };
    let (mut attributes, mut len, value) = (VariableAttributes::empty(), 0, 1_u8);
    let found = unsafe {
        (runtime.get_variable)(name.as_ptr(), &VENDOR, &mut attributes, &mut len, core::ptr::null_mut())
    };
    if found != Status::NOT_FOUND {
        let how = VariableAttributes::NON_VOLATILE
            | VariableAttributes::BOOTSERVICE_ACCESS
            | VariableAttributes::RUNTIME_ACCESS;
        // The kernel starts without it, too.
        let _ = unsafe { (runtime.set_variable)(name.as_ptr(), &VENDOR, how, 1, &value) };
    }
}

/// Where ACPI's tables begin.
pub fn acpi(firmware: Firmware, params: BootParams) {
    if let Some(rsdp) = firmware.configuration(&ACPI_20).or_else(|| firmware.configuration(&ACPI_10)) {
        params.set_u64(at::ACPI_RSDP_ADDR, rsdp as u64);
    }
}

/// Bytes of a seed.
const SEED: usize = 32;

/// The firmware's random numbers: some for the kernel, in its table (`struct linux_efi_random_seed`: a length, then as many
/// bytes) behind what the boot loader may have put there, and some that are returned.
pub fn random(firmware: Firmware) -> [u8; SEED] {
    const EARLIER_MAX: usize = 512;
    let mut own = [0; SEED];
    let Some(source) = firmware.locate::<RngProtocol>(&RngProtocol::GUID) else { return own };
    let get = |to: *mut u8| unsafe { ((*source).get_rng)(source, core::ptr::null(), SEED, to) } == Status::SUCCESS;
    let earlier: &mut [u8] = match firmware.configuration(&RANDOM_SEED) {
        Some(table) => unsafe {
            let len = table.cast::<u32>().read() as usize;
            core::slice::from_raw_parts_mut(table.add(4), len.min(EARLIER_MAX))
        },
        None => &mut [],
    };
    let len = earlier.len() + SEED;
    if let Ok(table) = firmware.table_memory(4 + len) {
        let table = table.as_mut_ptr();
        unsafe {
            table.cast::<u32>().write(len as u32);
            table.add(4).copy_from(earlier.as_ptr(), earlier.len());
            // Without it, the kernel is just as it was before.
            if get(table.add(4 + earlier.len())) && firmware.install(&RANDOM_SEED, table).is_ok() {
                // Nobody else is to find it.
                earlier.fill(0);
            }
        }
    }
    // The kernel's seed is none of the numbers that its addresses show.
    get(own.as_mut_ptr());
    own
}

/// An event of the TPM's log, as `EFI_TCG2_EVENT` and the tagged event in it have it.
#[repr(C, packed)]
pub struct Event<const LEN: usize> {
    len: u32,
    header_len: u32,
    version: u16,
    pcr: u32,
    kind: u32,
    tag: u32,
    text_len: u32,
    text: [u8; LEN],
}

/// What Linux's own EFI entry measures, as it measures it (drivers/firmware/efi/libstub/efi-stub-helper.c).
#[cfg(not(feature = "unified"))]
pub static LOAD_OPTIONS: Event<26> = event(0x8f3b_22ed, *b"LOADED_IMAGE::LoadOptions\0");
pub static INITRD: Event<13> = event(0x8f3b_22ec, *b"Linux initrd\0");

const fn event<const LEN: usize>(tag: u32, text: [u8; LEN]) -> Event<LEN> {
    /// `EV_EVENT_TAG`
    const TAGGED: u32 = 6;
    let len = size_of::<Event<LEN>>() as u32;
    Event { len, header_len: 14, version: 1, pcr: 9, kind: TAGGED, tag, text_len: LEN as u32, text }
}

/// Lets the TPM, if there is one, measure what has come from outside of the image. True when it has: who relies on it sees that
/// it is missing.
pub fn measure(firmware: Firmware, event: *const c_void, data: Span) -> bool {
    let Some(tpm) = firmware.locate::<Tcg2Protocol>(&Tcg2Protocol::GUID) else { return false };
    let flags = Tcg2HashLogExtendEventFlags::empty();
    let status = unsafe { ((*tpm).hash_log_extend_event)(tpm, flags, data.start, data.end - data.start, event) };
    status == Status::SUCCESS
}

/// The banks of the TPM that are in use (`EFI_TCG2_BOOT_HASH_ALG_…`), as systemd's user space asks for them: 0 without a TPM, all ones where
/// firmware is too old to say.
#[cfg(feature = "unified")]
pub fn active_banks(firmware: Firmware) -> u32 {
    let Some(tpm) = firmware.locate::<Tcg2Protocol>(&Tcg2Protocol::GUID) else { return 0 };
    let mut found = Tcg2BootServiceCapability { size: size_of::<Tcg2BootServiceCapability>() as u8, ..Default::default() };
    let status = unsafe { ((*tpm).get_capability)(tpm, &mut found) };
    let version = found.structure_version;
    match status {
        Status::SUCCESS if (version.major, version.minor) == (1, 0) => u32::MAX,
        Status::SUCCESS if found.tpm_present_flag != 0 => found.active_pcr_banks.bits(),
        _ => 0,
    }
}

/// The log of what the firmware has measured is gone with boot services: a copy of it, for the kernel
/// (`struct linux_efi_tpm_eventlog`).
pub fn tpm_log(firmware: Firmware) -> Outcome<()> {
    let guid = &Tcg2Protocol::GUID;
    let Some(tpm) = firmware.locate::<Tcg2Protocol>(guid) else { return Ok(()) };
    for format in [Tcg2EventLogBitmap::TCG_2, Tcg2EventLogBitmap::TCG_1_2] {
        let (mut start, mut last, mut truncated) = (0, 0, Boolean::FALSE);
        let status = unsafe { ((*tpm).get_event_log)(tpm, format, &mut start, &mut last, &mut truncated) };
        if status != Status::SUCCESS || start == 0 {
            continue;
        }
        let log = unsafe { log_at(start) };
        let len = match last.checked_sub(start) {
            Some(before) => last_event(log, before as usize, format).unwrap_or(0),
            // It is empty.
            None => 0,
        };
        let after = if format == Tcg2EventLogBitmap::TCG_2 { final_len(firmware, log) } else { 0 };
        let table = firmware.table_memory(9 + len)?;
        let (head, copy) = table.split_at_mut(9);
        head[..4].copy_from_slice(&(len as u32).to_le_bytes());
        head[4..8].copy_from_slice(&(after as u32).to_le_bytes());
        head[8] = format.bits() as u8;
        copy.copy_from_slice(&log[..len]);
        return firmware.install(&TPM_LOG, table.as_mut_ptr());
    }
    Ok(())
}

/// A log whose end is not known yet.
unsafe fn log_at(start: u64) -> &'static [u8] {
    const MAX: usize = 16 << 20;
    unsafe { core::slice::from_raw_parts(start as *const u8, MAX) }
}

/// Where the last event ends, which begins at `at`.
fn last_event(log: &[u8], at: usize, format: Tcg2EventLogBitmap) -> Option<usize> {
    let len = match format {
        Tcg2EventLogBitmap::TCG_2 if at != 0 => event_len(log, log, at),
        _ => first_event_len(log.get(at..)?),
    };
    at.checked_add(len?).filter(|end| *end <= log.len())
}

/// Events that were logged since somebody asked for the log stand in a table that the kernel reads; those are in our
/// copy, too. How many bytes.
fn final_len(firmware: Firmware, header: &[u8]) -> usize {
    let Some(table) = firmware.configuration(&TPM_FINAL_LOG) else { return 0 };
    let count = unsafe { table.cast::<u64>().add(1).read() };
    let log = unsafe { log_at(table as u64 + 16) };
    let mut end = 0;
    for _ in 0..count {
        match event_len(header, log, end) {
            Some(len) => end += len,
            None => break,
        }
    }
    end
}
