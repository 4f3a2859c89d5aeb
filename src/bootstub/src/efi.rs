//! UEFI's way in: the firmware starts the image as a program ([`efi_main`], from `efi_pe_entry` in head.s).
//!
//! What a boot loader does for the other ways in is done here, with the firmware's help: boot parameters, command line,
//! RAM disk, memory map. Then boot services end, and the copy of the stub goes on as always.
//!
//! The PE file has the stub's uninitialised data in its place, before the payload: `.bss` may be used here.

#[cfg(feature = "unified")]
mod beside;
mod files;
mod firmware;
mod initrd;
mod tables;
#[cfg(feature = "unified")]
mod unified;

use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::table::boot::{MemoryDescriptor, MemoryType};
use uefi_raw::table::system::SystemTable;
use uefi_raw::{Handle, Status};

use crate::boot_params::{BootParams, E820_MAX, at};
use crate::cmdline;
use crate::console::Part::{Hex, Text};
use crate::console::{halt, line};
use crate::efi_text::e820_type;
#[cfg(not(feature = "unified"))]
use crate::efi_text::load_options;
use crate::memory::{Choice, PAGE, Span};
use crate::paging::{Tables, five_levels};
use crate::parameters::{BITS32, CMDLINE_OVERRIDES, FIVE_LEVELS, MEMORY_OVERWRITE, Parameters, RELOCATABLE};
use crate::place::{self, Decision, Wishes};
use crate::random::Random;
use crate::shared::{CMDLINE_MAX, base, bytes_mut, code, memory_len, read_parameters};
use firmware::{Firmware, Map, Outcome, complain};

/// `type_of_loader` of a kernel that is its own EFI loader.
const LOADER: u8 = 0x21;
/// How many bits the firmware has.
#[cfg(target_arch = "x86_64")]
const SIGNATURE: u32 = u32::from_le_bytes(*b"EL64");
#[cfg(target_arch = "x86")]
const SIGNATURE: u32 = u32::from_le_bytes(*b"EL32");
const SETUP_E820_EXT: u32 = 1;

/// Returns to the firmware only what went wrong.
#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(image: Handle, table: *const SystemTable) -> Status {
    enter(Firmware { image, table }, None)
}

/// The same by the handover protocol: a boot loader has loaded the image, and filled in boot parameters.
#[cfg(feature = "mixed")]
#[unsafe(no_mangle)]
extern "C" fn efi_handover(image: Handle, table: *const SystemTable, page: *mut u8) -> Status {
    crate::IS_FLAT.store(true, core::sync::atomic::Ordering::Relaxed);
    enter(Firmware { image, table }, Some(page))
}

#[inline(always)]
fn enter(firmware: Firmware, page: Option<*mut u8>) -> Status {
    crate::console::init_firmware(firmware.table().stdout);
    match start(firmware, page) {
        Err(status) => status,
        Ok(never) => match never {},
    }
}

/// Can the boot stub that is to go on run here?
#[cfg(feature = "mixed")]
fn has_long_mode() -> bool {
    use core::arch::x86::__cpuid;
    __cpuid(0x8000_0000).eax > 0x8000_0000 && __cpuid(0x8000_0001).edx & 1 << 29 != 0
}

enum Never {}

/// Everything but the last step can fail, and then nothing has happened.
#[cfg_attr(not(feature = "mixed"), inline(always))]
fn start(firmware: Firmware, given: Option<*mut u8>) -> Outcome<Never> {
    let p = read_parameters();
    firmware.protect(code(base()), memory_len());
    let failed = |what| move |status| complain(what, b"", status);
    #[cfg(feature = "mixed")]
    if !has_long_mode() {
        line(&[Text("this kernel needs a 64-bit (x86-64) CPU")]);
        return Err(Status::UNSUPPORTED);
    }
    if five_levels() && !p.has(FIVE_LEVELS) && !p.has(BITS32) {
        line(&[Text("this kernel knows no 5-level paging, but the firmware uses it")]);
        return Err(Status::UNSUPPORTED);
    }
    let image = firmware.protocol::<LoadedImageProtocol>(firmware.image, &LoadedImageProtocol::GUID);
    let image = unsafe { &*image.ok_or(Status::INVALID_PARAMETER)? };
    // A 32-bit kernel reaches what a 32-bit loader would give it.
    let last = if p.has(BITS32) || cfg!(target_arch = "x86") { u64::from(u32::MAX) } else { u64::MAX };
    #[cfg(feature = "unified")]
    let mut unified = None;
    let (page, params, text) = match given {
        None => {
            let len = PAGE + CMDLINE_MAX as u64;
            let page = firmware.pages(len, last).map_err(failed("memory for boot parameters"))?;
            let params = boot_params(page);
            params.set_cmdline_at(page + PAGE);
            #[cfg(feature = "unified")]
            {
                let room = unsafe { &mut *((page + PAGE) as *mut [u8; CMDLINE_MAX]) };
                unified = Some(unified::Unified::open(firmware, image, room)?);
            }
            #[cfg(not(feature = "unified"))]
            outside(firmware, image, page + PAGE);
            (page, params, params.cmdline(CMDLINE_MAX))
        }
        Some(page) => {
            let params = unsafe { BootParams::new(page) };
            (page as u64, params, params.cmdline(CMDLINE_MAX))
        }
    };
    tables::secure_boot(firmware, params);
    // What is built in was signed, what comes from outside was not.
    let is_closed = p.cmdline_len != 0 && params.u8(at::SECURE_BOOT) == tables::SECURE_BOOT_ON;
    if is_closed && !text.is_empty() && !p.has(CMDLINE_OVERRIDES) {
        line(&[Text("Secure Boot: the boot loader's command line is left out, for there is one in the image")]);
        params.set_cmdline_at(0);
    }
    let loader = if is_closed || p.has(CMDLINE_OVERRIDES) { &[] } else { text };
    let parts = crate::parts(&p);
    if !crate::is_whole(&p, parts) {
        line(&[Text(crate::DAMAGED)]);
        return Err(Status::LOAD_ERROR);
    }
    let built_in: &[u8] = unsafe { bytes_mut(parts + p.cmdline_at, p.cmdline_len) };

    let decision = place(firmware, &p, &Wishes::read(&p, built_in, loader), params)?;
    let is_given = given.is_some() && params.ramdisk().start != 0;
    let has_own =
        is_given || p.initrd_len != 0 || cmdline::has(built_in, b"noinitrd") || cmdline::has(loader, b"noinitrd");
    if !has_own {
        let low = u64::from(params.u32(at::INITRD_ADDR_MAX));
        let last = [low, last.max(low)];
        // What an image of its own has is instead of files by name.
        #[cfg(feature = "unified")]
        let offered_alone = unified.as_ref().is_some_and(unified::Unified::has_initrd);
        #[cfg(not(feature = "unified"))]
        let offered_alone = false;
        let disk = match offered_alone {
            true => initrd::offered(firmware, last)?,
            false => initrd::load(firmware, image, [built_in, loader], last)?,
        };
        if let Some(disk) = disk {
            params.set_ramdisk(disk);
            tables::measure(firmware, (&raw const tables::INITRD).cast(), disk);
        }
        #[cfg(feature = "unified")]
        if let Some(disk) = unified.as_ref().map_or(Ok(None), |unified| unified.initrd(firmware, disk, last))? {
            params.set_ramdisk(disk);
        }
    }
    tables::screen(firmware, params);
    tables::acpi(firmware, params);
    // A kernel without the log starts, too.
    let _ = tables::tpm_log(firmware);

    let run = unsafe { crate::copy(&p, &decision, parts) };
    let mut pages = Tables::new();
    place::map_inputs(&mut pages, params, Span::new(decision.at, p.init_size));
    pages.map(base(), memory_len());
    // This code goes on to that one.
    pages.code(code(base()));
    pages.code(code(run));
    if p.has(MEMORY_OVERWRITE) {
        tables::overwrite_memory(firmware);
    }
    exit(firmware, params).map_err(failed("the end of boot services"))?;
    unsafe { pages.leave(run, page) }
}

/// A page with the setup's header, as the packer has copied it.
fn boot_params(page: u64) -> BootParams {
    unsafe extern "C" {
        static setup_header: [u8; at::HEADER_MAX - at::HEADER];
    }
    unsafe { bytes_mut(page, PAGE) }.fill(0);
    let params = unsafe { BootParams::new(page as *mut u8) };
    for (index, byte) in (at::HEADER..).zip(unsafe { &setup_header }) {
        params.set_u8(index, *byte);
    }
    params.set_u8(at::TYPE_OF_LOADER, LOADER);
    params
}

/// The load options as a C string at `at`, where there is room for [`CMDLINE_MAX`] bytes; measures them.
#[cfg(not(feature = "unified"))]
fn outside(firmware: Firmware, image: &LoadedImageProtocol, at: u64) {
    let room = unsafe { bytes_mut(at, CMDLINE_MAX as u64) };
    let options = image.load_options.cast::<u16>();
    let count = if options.is_null() { 0 } else { image.load_options_size as usize / 2 };
    let units = (0..count).map(|index| unsafe { options.add(index).read_unaligned() });
    let (len, is_whole) = load_options(units, &mut room[..CMDLINE_MAX - 1]);
    if !is_whole {
        line(&[Text("the command line is too long: its end is left out")]);
    }
    room[len..].fill(0);
    let options = Span::new(image.load_options as u64, image.load_options_size.into());
    tables::measure(firmware, (&raw const tables::LOAD_OPTIONS).cast(), options);
}

/// Decides where the kernel goes, and takes that memory.
fn place(firmware: Firmware, p: &Parameters, wishes: &Wishes, params: BootParams) -> Outcome<Decision> {
    let seed = tables::random(firmware);
    let mut map = E820::allocate(firmware)?;
    map.memory.again(firmware)?;
    // Only what is free right now.
    map.tell(params, &|entry| {
        (entry.ty == MemoryType::CONVENTIONAL).then(|| e820_type(entry.ty.0, entry.att.bits()))?
    })?;
    // Not every firmware has random numbers: then they are what RDRAND, clocks, and this map make them.
    let mut chance = Random::new([&seed, params.bytes()]);
    let free = place::usable(params);
    let free = free.get();
    map.free(firmware, params);
    let moves = p.has(RELOCATABLE);
    let decision = place::choose(
        p,
        wishes,
        &mut chance,
        &mut |chance| {
            let choice = place::anywhere(p, wishes.limit);
            let count = choice.count(free, &[]);
            if moves && wishes.plain_map && count != 0 { choice.nth(chance.below(count), free, &[]) } else { None }
        },
        &mut || {
            let any = place::anywhere(p, None);
            let linked = Choice { min: p.load_min, max: p.load_min + p.init_size, ..any };
            linked.nth(0, free, &[]).or(if moves { any.nth(0, free, &[]) } else { None })
        },
    );
    let taken = decision.filter(|decision| firmware.pages_at(decision.at, p.init_size).is_ok());
    taken.ok_or(Status::OUT_OF_RESOURCES).inspect_err(|_| {
        let at = if moves { "" } else { ", where it was linked" };
        line(&[Text("not enough RAM: the kernel needs "), Hex(p.init_size), Text(" bytes in one piece"), Text(at)]);
    })
}

/// The memory map as the firmware has it, and as the boot parameters have it.
struct E820 {
    memory: Map,
    /// What is too much for the page, an entry of setup_data.
    more: *mut u8,
    /// How many entries there is room for in it.
    room: usize,
}

impl E820 {
    const ENTRY: usize = 20;
    const NODE: usize = 16;

    fn allocate(firmware: Firmware) -> Outcome<E820> {
        let memory = Map::allocate(firmware)?;
        let room = memory.room();
        let more = firmware.pool(MemoryType::LOADER_DATA, Self::NODE + room * Self::ENTRY)?;
        Ok(E820 { memory, more: more.as_mut_ptr(), room })
    }

    fn free(self, firmware: Firmware, params: BootParams) {
        params.set_u64(at::SETUP_DATA, 0);
        firmware.free(self.more);
        self.memory.free(firmware);
    }

    /// Writes the boot parameters' map; `kind` says what an entry is, if it is to be told of at all.
    fn tell(&self, params: BootParams, kind: &dyn Fn(&MemoryDescriptor) -> Option<u32>) -> Outcome<()> {
        let mut count: usize = 0;
        let mut before = (0, 0);
        let mut place = core::ptr::null_mut::<u8>();
        for entry in self.memory.entries() {
            let Some(kind) = kind(entry) else { continue };
            let Span { start, end } = Span::new(entry.phys_start, entry.page_count.saturating_mul(PAGE));
            let len = end - start;
            unsafe {
                if count != 0 && before == (entry.phys_start, kind) {
                    let known = place.add(8).cast::<u64>();
                    known.write_unaligned(known.read_unaligned() + len);
                } else {
                    // There is room for as many as the firmware's map can have, if entries are as long as they were.
                    place = match count.checked_sub(E820_MAX) {
                        None => params.entry(count),
                        Some(index) if index < self.room => self.more.add(Self::NODE + index * Self::ENTRY),
                        Some(_) => return Err(Status::BUFFER_TOO_SMALL),
                    };
                    place.cast::<u64>().write_unaligned(entry.phys_start);
                    place.add(8).cast::<u64>().write_unaligned(len);
                    place.add(16).cast::<u32>().write_unaligned(kind);
                    count += 1;
                }
            }
            before = (end, kind);
        }
        params.set_u8(at::E820_ENTRIES, count.min(E820_MAX) as u8);
        if count > E820_MAX {
            let len = (count - E820_MAX) * Self::ENTRY;
            unsafe {
                self.more.cast::<u64>().write_unaligned(0);
                self.more.add(8).cast::<u32>().write_unaligned(SETUP_E820_EXT);
                self.more.add(12).cast::<u32>().write_unaligned(len as u32);
            }
            params.set_u64(at::SETUP_DATA, self.more as u64);
        }
        Ok(())
    }
}

/// Ends boot services, and writes down what memory there is.
fn exit(firmware: Firmware, params: BootParams) -> Outcome<()> {
    let mut map = E820::allocate(firmware)?;
    // A change of the map between the two makes its key stale: then once more, and no other service.
    let mut tries = 3;
    loop {
        map.memory.again(firmware)?;
        match unsafe { (firmware.services().exit_boot_services)(firmware.image, map.memory.key) } {
            Status::SUCCESS => break,
            Status::INVALID_PARAMETER if tries > 0 => tries -= 1,
            status => return Err(status),
        }
    }
    crate::console::init(params);
    // The firmware is gone: nobody is left to be told.
    if map.tell(params, &|entry| e820_type(entry.ty.0, entry.att.bits())).is_err() {
        halt(&[Text("the firmware's memory map has more entries than it had")]);
    }
    let (table, memory) = (firmware.table as u64, map.memory.at());
    for (at, value) in [
        (at::EFI_LOADER_SIGNATURE, SIGNATURE),
        (at::EFI_MEMDESC_SIZE, map.memory.entry as u32),
        (at::EFI_MEMDESC_VERSION, map.memory.version),
        (at::EFI_MEMMAP_SIZE, map.memory.len() as u32),
        (at::EFI_SYSTAB, table as u32),
        (at::EFI_SYSTAB_HI, (table >> 32) as u32),
        (at::EFI_MEMMAP, memory as u32),
        (at::EFI_MEMMAP_HI, (memory >> 32) as u32),
    ] {
        params.set_u32(at, value);
    }
    Ok(())
}
