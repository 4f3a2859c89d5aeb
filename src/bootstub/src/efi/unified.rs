//! A unified kernel image: command line, RAM disk and others are sections of this program. What systemd-stub does with them
//! (systemd-stub(7); src/boot/stub.c and measure.c of systemd 257 to 261), as far as a PC and this stub have a use for it:
//! profiles, addons, credentials and extensions, measurement, what user space asks for in variables and in `/.extra`.

use core::ffi::c_void;
use core::ptr::null_mut;
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::protocol::shell_params::ShellParametersProtocol;
use uefi_raw::table::boot::MemoryType;
use uefi_raw::table::runtime::{VariableAttributes, VariableVendor};
use uefi_raw::{Guid, Status, guid};

use super::beside::{Addons, MOST, Names, archive as archive_beside};
use super::firmware::{Firmware, Outcome, complain};
use super::initrd::allocate;
use super::tables::{active_banks, is_on, measure};
use crate::CMDLINE_MAX;
use crate::console::Part::{Bytes, Hex, Text};
use crate::console::line;
use crate::efi_text::{load_options, utf16};
use crate::memory::{Span, align_up};
use crate::sections::{BESIDE, EXTRA, MEASURED, NOT_TAKEN, Sections, archive, choice, counter, tidy};

/// The vendor of systemd's variables.
static LOADER: Guid = guid!("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
/// PCRs of what is inside, of what comes from outside, and of system extensions.
const KERNEL_IMAGE: u32 = 11;
const KERNEL_CONFIG: u32 = 12;
const EXTENSIONS: u32 = 13;
const EV_EVENT_TAG: u32 = 6;
const EV_IPL: u32 = 13;
/// `UKI_PROFILE_EVENT_TAG_ID`, `UCODE_ADDON_EVENT_TAG_ID`, `INITRD_ADDON_EVENT_TAG_ID`
const PROFILE_TAG: u32 = 0x13ae_d6db;
const UCODE_TAG: u32 = 0xdac0_8e1a;
const INITRD_TAG: u32 = 0x49df_fe0f;
/// Says what it was started from, measures itself, takes credentials and extensions of both kinds, words of addons, and profiles
/// (`EFI_STUB_FEATURE_…`).
const FEATURES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10;
/// Characters of a path.
pub const PATH_MAX: usize = 512;
/// RAM disks begin at multiples of this.
const ARCHIVE: u64 = 4;

/// What is worked with; too large for a stack.
struct Room {
    /// What has come from outside.
    options: [u8; CMDLINE_MAX],
    wide: [u16; CMDLINE_MAX],
    /// An event of the TPM's log: its header, a tag and a length, a text.
    event: [u16; 13 + CMDLINE_MAX],
    /// This program's path, as UTF-16.
    path: [u16; PATH_MAX],
    folder: [u16; PATH_MAX],
    names: Names,
    device_path: [u8; 4096],
}

/// The image that runs.
pub struct Unified {
    sections: Sections<'static>,
    profile: usize,
    /// Archives of what lies beside it.
    beside: [Option<Span>; BESIDE.len()],
    /// Addons with RAM disks or microcode.
    addons: [Option<&'static LoadedImageProtocol>; MOST],
}

impl Unified {
    /// Chooses the profile, measures its sections, and writes the command line to `out`, with zeros behind it.
    pub fn open(firmware: Firmware, image: &LoadedImageProtocol, out: &mut [u8; CMDLINE_MAX]) -> Outcome<Unified> {
        let failed = |what, status| complain(what, b"", status);
        let Some(sections) = sections(image) else {
            return Err(failed("the sections of this program", Status::LOAD_ERROR));
        };
        let memory = firmware.pool(MemoryType::LOADER_DATA, size_of::<Room>());
        let memory = memory.map_err(|status| failed("memory for the command line", status))?;
        memory.fill(0);
        let room = unsafe { &mut *memory.as_mut_ptr().cast::<Room>() };

        let given = options(firmware, image, &mut room.options);
        let (profile, given) = choice(&room.options[..given]);
        if !sections.has_profile(profile) {
            line(&[Text("there is no profile "), Hex(profile as u64)]);
            return Err(Status::NOT_FOUND);
        }
        let mut unified = Unified { sections, profile, beside: [None; _], addons: [None; _] };
        for name in NOT_TAKEN {
            if sections.find(name, profile).is_some() {
                line(&[Text("nothing takes the section "), Bytes(name.as_bytes())]);
            }
        }
        let mut tpm = Tpm { firmware, event: &mut room.event, wide: &mut room.wide, is_configured: None };
        let is_measured = unified.measure(&mut tpm);
        if profile != 0 {
            let mut digits = [0; 20];
            tpm.text(Some(PROFILE_TAG), decimal(profile, &mut digits));
        }

        let (mut len, mut is_whole) = tidy(given, &mut out[..CMDLINE_MAX - 1]);
        let built_in = sections.find(".cmdline", profile);
        let is_locked = built_in.is_some() && is_on(firmware, b"SecureBoot", &VariableVendor::GLOBAL_VARIABLE.0);
        if len != 0 && is_locked {
            line(&[Text("Secure Boot: the command line from outside is left out")]);
            (len, is_whole) = (0, true);
        }
        match built_in {
            Some(text) if len == 0 => (len, is_whole) = tidy(text, &mut out[..CMDLINE_MAX - 1]),
            _ if len != 0 => tpm.text(None, &out[..len]),
            _ => {}
        }
        let start = len;
        let mut addons = Addons {
            firmware,
            image,
            ours: sections.find(".uname", profile),
            names: &mut room.names,
            device_path: &mut room.device_path,
            len,
            is_whole,
            out,
            kept: unified.addons,
            count: 0,
        };
        let global = utf16(br"\loader\addons", &mut room.folder);
        addons.of_folder(&room.folder[..global]);
        // Its own folder has the name that it has without a boot counter.
        let path_len = path(image, &mut room.path);
        let own = match path_len {
            0 => 0,
            _ => {
                let path = &room.path[..path_len];
                let cut = counter(path).unwrap_or(path_len..path_len);
                let parts = path[..cut.start].iter().chain(&path[cut.end..]);
                room.folder.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
                let len = path_len - cut.len();
                len + utf16(b".extra.d", &mut room.folder[len..])
            }
        };
        if own != 0 {
            addons.of_folder(&room.folder[..own]);
        }
        let end = addons.len;
        if !addons.is_whole {
            line(&[Text("the command line is too long: its end is left out")]);
        }
        unified.addons = addons.kept;
        if start != end {
            // Without the blank in front, where there is something before it.
            tpm.text(None, &out[start + usize::from(start != 0)..end]);
        }
        // One zero is left at the end.
        out[end..].fill(0);

        let mut extensions = [None; 2];
        for (kind, made) in BESIDE.iter().zip(&mut unified.beside) {
            let mut global = [0; 32];
            let folder = match kind.folder {
                Some(folder) => {
                    let len = utf16(folder.as_bytes(), &mut global);
                    &global[..len]
                }
                None if own == 0 => continue,
                None => &room.folder[..own],
            };
            *made = archive_beside(firmware, image, &mut room.names, folder, kind);
            if let Some(span) = *made {
                let len = utf16(kind.event.as_bytes(), tpm.wide);
                let is_measured = tpm.event(kind.pcr, None, len, bytes(span));
                match (kind.pcr, kind.folder, kind.modes) {
                    (KERNEL_CONFIG, _, (0o500, _)) => note(&mut tpm.is_configured, is_measured),
                    (KERNEL_CONFIG, ..) => note(&mut extensions[1], is_measured),
                    _ => note(&mut extensions[0], is_measured),
                }
            }
        }
        for addon in unified.addons.iter().rev().flatten() {
            tpm.addon(addon, ".ucode", UCODE_TAG);
        }
        for addon in unified.addons.iter().flatten() {
            tpm.addon(addon, ".initrd", INITRD_TAG);
        }
        let measured = [Some(is_measured), tpm.is_configured, extensions[0], extensions[1]];
        room.path[path_len.min(PATH_MAX - 1)] = 0;
        tell(firmware, image, &room.path[..path_len + 1], profile, measured);
        firmware.free(memory.as_mut_ptr());
        Ok(unified)
    }

    /// Name and contents of each, into the PCR of the image. Has the TPM taken all of it?
    fn measure(&self, tpm: &mut Tpm) -> bool {
        let mut is_measured = false;
        for name in MEASURED {
            let Some(contents) = self.sections.find(name, self.profile) else { continue };
            let mut with_zero = [0; 9];
            with_zero.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
            let len = utf16(name.as_bytes(), tpm.wide);
            is_measured = tpm.event(KERNEL_IMAGE, None, len, &with_zero[..=name.len()])
                & tpm.event(KERNEL_IMAGE, None, len, contents);
            if !is_measured {
                break;
            }
        }
        is_measured
    }

    /// Has the image a RAM disk of its own?
    pub fn has_initrd(&self) -> bool {
        self.sections.find(".initrd", self.profile).is_some()
    }

    /// Microcode, what the boot loader has offered, the image's RAM disk and what user space is to find in it, RAM disks of addons: one
    /// behind the other.
    pub fn initrd(&self, firmware: Firmware, offered: Option<Span>, last: [u64; 2]) -> Outcome<Option<Span>> {
        let find = |name| self.sections.find(name, self.profile).unwrap_or_default();
        let offered_bytes = offered.map_or(&[][..], bytes);
        let pieces = [find(".ucode"), offered_bytes, find(".initrd")];
        let each = &mut |put: &mut dyn FnMut(&[u8], bool)| {
            // Of microcode the kernel takes the first that fits; of other files the last counts.
            for addon in self.addons.iter().rev().flatten() {
                put(of_addon(addon, ".ucode"), true);
            }
            for piece in pieces.into_iter().chain(self.beside.iter().flatten().map(|span| bytes(*span))) {
                put(piece, true);
            }
            for (name, file) in EXTRA {
                let contents = find(name);
                if !contents.is_empty() {
                    archive(file, contents, &mut |piece| put(piece, false));
                }
            }
            for addon in self.addons.iter().flatten() {
                put(of_addon(addon, ".initrd"), true);
            }
        };
        let mut len: u64 = 0;
        let padded = |len: u64| align_up(len, ARCHIVE).unwrap_or(len);
        each(&mut |piece, is_archive| {
            let end = len + piece.len() as u64;
            len = if is_archive { padded(end) } else { end };
        });
        if len == padded(offered_bytes.len() as u64) {
            return Ok(offered);
        }
        let start = allocate(firmware, len, last)?;
        let mut at = start;
        each(&mut |piece, is_archive| {
            let end = at + piece.len() as u64;
            let next = if is_archive { padded(end) } else { end };
            unsafe {
                crate::bytes_mut(at, piece.len() as u64).copy_from_slice(piece);
                crate::bytes_mut(end, next - end).fill(0);
            }
            at = next;
        });
        Ok(Some(Span::new(start, len)))
    }
}

/// Memory as bytes.
fn bytes(span: Span) -> &'static [u8] {
    unsafe { crate::bytes_mut(span.start, span.end - span.start) }
}

/// What a section of an addon holds.
fn of_addon(addon: &LoadedImageProtocol, name: &str) -> &'static [u8] {
    sections(addon).and_then(|sections| sections.find(name, 0)).unwrap_or_default()
}

/// The sections of a program in memory.
pub fn sections(image: &LoadedImageProtocol) -> Option<Sections<'static>> {
    Sections::of(unsafe { crate::bytes_mut(image.image_base as u64, image.image_size) })
}

/// What has come from outside, as UTF-8: the shell's arguments but the first, or the load options if they are a text.
fn options(firmware: Firmware, image: &LoadedImageProtocol, out: &mut [u8; CMDLINE_MAX]) -> usize {
    let mut len = 0;
    let mut put = |units: &mut dyn Iterator<Item = u16>| {
        // What ends a line elsewhere is a blank here.
        let units = units.map(|unit| if matches!(unit, 1..0x20) { 0x20 } else { unit });
        let (more, is_whole) = load_options(units, &mut out[len..CMDLINE_MAX - 1]);
        len += more;
        if !is_whole {
            line(&[Text("the command line is too long: its end is left out")]);
        }
        if len < CMDLINE_MAX - 1 {
            out[len] = b' ';
            len += 1;
        }
    };
    match firmware.protocol::<ShellParametersProtocol>(firmware.image, &ShellParametersProtocol::GUID) {
        Some(shell) => {
            let shell = unsafe { &*shell };
            for index in 1..shell.argc {
                let text = unsafe { *shell.argv.add(index) };
                put(&mut (0..CMDLINE_MAX).map(|index| unsafe { text.add(index).read() }));
            }
        }
        None => {
            let text = image.load_options.cast::<u16>();
            let count = if text.is_null() { 0 } else { image.load_options_size as usize / 2 };
            let mut units = (0..count).map(|index| unsafe { text.add(index).read_unaligned() }).peekable();
            // Some firmware's boot entries have something else there.
            if units.peek().is_some_and(|first| *first >= 0x20) {
                put(&mut units);
            }
        }
    }
    // The blank behind the last.
    len.saturating_sub(1)
}

/// The TPM, and room for what it is told.
struct Tpm<'r> {
    firmware: Firmware,
    event: &'r mut [u16; 13 + CMDLINE_MAX],
    wide: &'r mut [u16; CMDLINE_MAX],
    /// There was something from outside: has it measured all of that?
    is_configured: Option<bool>,
}

/// What is promised of a register holds when each of its events was taken.
fn note(all: &mut Option<bool>, is_measured: bool) {
    *all = Some(all.unwrap_or(true) && is_measured);
}

impl Tpm<'_> {
    /// A text from outside, as UTF-16 with its zero, described by itself.
    fn text(&mut self, tag: Option<u32>, text: &[u8]) {
        let len = utf16(text, self.wide);
        let data = Span::new(self.wide.as_ptr() as u64, 2 * len as u64);
        let data = bytes(data);
        let is_measured = self.event(KERNEL_CONFIG, tag, len, data);
        note(&mut self.is_configured, is_measured);
    }

    /// A section of an addon, described by the addon's name.
    fn addon(&mut self, addon: &LoadedImageProtocol, section: &str, tag: u32) {
        let data = of_addon(addon, section);
        if !data.is_empty() {
            let mut whole = [0; PATH_MAX];
            let len = path(addon, &mut whole);
            let name = whole[..len].rsplit(|unit| *unit == u16::from(b'\\')).next().unwrap_or_default();
            let units = name.iter().copied().chain([0]);
            self.wide.iter_mut().zip(units).for_each(|(to, from)| *to = from);
            let is_measured = self.event(KERNEL_CONFIG, Some(tag), name.len() + 1, data);
            note(&mut self.is_configured, is_measured);
        }
    }

    /// Measures `data` as an event whose description is the first `len` units of the text.
    fn event(&mut self, pcr: u32, tag: Option<u32>, len: usize, data: &[u8]) -> bool {
        const HEADER: u32 = 14;
        let tagged = if tag.is_some() { 8 } else { 0 };
        let size = 4 + HEADER + tagged + 2 * len as u32;
        let kind = if tag.is_some() { EV_EVENT_TAG } else { EV_IPL };
        let tag = tag.map(|tag| [tag, 2 * len as u32]).unwrap_or_default();
        let halves = |value: u32| [value as u16, (value >> 16) as u16];
        let words = [halves(size), halves(HEADER)].into_iter().flatten().chain([1]);
        let words = words.chain([pcr, kind].into_iter().flat_map(halves));
        let words = words.chain(tag.into_iter().flat_map(halves).take(tagged as usize / 2));
        let text = self.wide[..len].iter().copied();
        self.event.iter_mut().zip(words.chain(text)).for_each(|(to, from)| *to = from);
        let data = Span::new(data.as_ptr() as u64, data.len() as u64);
        measure(self.firmware, self.event.as_ptr().cast::<c_void>(), data)
    }
}

/// The nodes of a device path, without its end: kind, kind within that, bytes behind the header.
pub fn nodes(path: *const DevicePathProtocol) -> impl Iterator<Item = (u8, u8, &'static [u8])> {
    /// A path that is longer is none.
    const MOST: usize = 64;
    const END: u8 = 0x7f;
    let mut at = path.cast::<u8>();
    (0..MOST).map_while(move |_| {
        if at.is_null() {
            return None;
        }
        let head = unsafe { at.cast::<[u8; 4]>().read() };
        let len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let data = unsafe { core::slice::from_raw_parts(at.add(4), len.checked_sub(4)?) };
        at = at.wrapping_add(len);
        (head[0] != END).then_some((head[0], head[1], data))
    })
}

pub const MEDIA: u8 = 4;
const MEDIA_HARD_DRIVE: u8 = 1;
pub const MEDIA_FILE_PATH: u8 = 4;

/// The path that the image was loaded from, without a zero at its end; 0 when there is none, or it is too long.
fn path(image: &LoadedImageProtocol, out: &mut [u16; PATH_MAX]) -> usize {
    let mut len = 0;
    for (kind, sub, data) in nodes(image.file_path) {
        if (kind, sub) != (MEDIA, MEDIA_FILE_PATH) {
            return 0;
        }
        for unit in data.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).take_while(|unit| *unit != 0) {
            // Room for `.extra.d`, too.
            if len >= PATH_MAX - 16 {
                return 0;
            }
            out[len] = unit;
            len += 1;
        }
    }
    len
}

/// A number's digits.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// Tells user space, in variables, what started it from where, and what was measured.
fn tell(firmware: Firmware, image: &LoadedImageProtocol, path: &[u16], profile: usize, measured: [Option<bool>; 4]) {
    let runtime = unsafe { &*firmware.table().runtime_services };
    let how = VariableAttributes::BOOTSERVICE_ACCESS | VariableAttributes::RUNTIME_ACCESS;
    let mut name_buffer = [0; 32];
    let mut set = |name: &str, value: &[u8]| {
        utf16(name.as_bytes(), &mut name_buffer);
        // Nothing here needs to be known.
        let _ = unsafe { (runtime.set_variable)(name_buffer.as_ptr(), &LOADER, how, value.len(), value.as_ptr()) };
    };
    let mut buffer = [0; 48];
    let mut text = |set: &mut dyn FnMut(&str, &[u8]), name: &str, value: &[u8]| {
        let len = utf16(value, &mut buffer);
        set(name, unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast(), 2 * len) });
    };
    text(&mut set, "StubInfo", concat!("kimage ", env!("CARGO_PKG_VERSION")).as_bytes());
    set("StubFeatures", &FEATURES.to_le_bytes());
    let mut digits = [0; 20];
    text(&mut set, "StubProfile", decimal(profile, &mut digits));
    for (name, pcr, is_measured) in [
        ("StubPcrKernelImage", KERNEL_IMAGE, measured[0]),
        ("StubPcrKernelParameters", KERNEL_CONFIG, measured[1]),
        ("StubPcrInitRDSysExts", EXTENSIONS, measured[2]),
        ("StubPcrInitRDConfExts", KERNEL_CONFIG, measured[3]),
    ] {
        if is_measured == Some(true) {
            text(&mut set, name, decimal(pcr as usize, &mut digits));
        }
    }
    let is_first = |name: &str| {
        let (mut wide, mut len) = ([0; 32], 0);
        utf16(name.as_bytes(), &mut wide);
        let mut attributes = VariableAttributes::empty();
        let get = runtime.get_variable;
        unsafe { get(wide.as_ptr(), &LOADER, &mut attributes, &mut len, null_mut()) == Status::NOT_FOUND }
    };
    if path.len() > 1 {
        let bytes = unsafe { core::slice::from_raw_parts(path.as_ptr().cast(), size_of_val(path)) };
        set("StubImageIdentifier", bytes);
        if is_first("LoaderImageIdentifier") {
            set("LoaderImageIdentifier", bytes);
        }
    }
    let table = firmware.table();
    let vendor = table.firmware_vendor.cast::<u16>();
    for (name, vendor, revision) in [
        ("LoaderFirmwareInfo", vendor, table.firmware_revision),
        ("LoaderFirmwareType", UEFI.as_ptr(), table.header.revision.0),
    ] {
        if !vendor.is_null() && is_first(name) {
            let mut text = [0; 96];
            let len = 2 * versioned(vendor, revision, &mut text);
            set(name, unsafe { core::slice::from_raw_parts(text.as_ptr().cast(), len) });
        }
    }
    if is_first("LoaderTpm2ActivePcrBanks") {
        let mut banks = *b"0x00000000";
        let mut rest = active_banks(firmware);
        for digit in banks[2..].iter_mut().rev() {
            *digit = b"0123456789abcdef"[rest as usize & 15];
            rest >>= 4;
        }
        text(&mut set, "LoaderTpm2ActivePcrBanks", &banks);
    }
    if let Some(partition) = partition(firmware, image) {
        text(&mut set, "StubDevicePartUUID", &partition);
        if is_first("LoaderDevicePartUUID") {
            text(&mut set, "LoaderDevicePartUUID", &partition);
        }
    }
}

/// What firmware is called that says no more.
static UEFI: [u16; 5] = [0x55, 0x45, 0x46, 0x49, 0];

/// Writes a name, and the version behind it as two numbers, the second of which has at least two digits: `EDK II 1.00`. Returns how many
/// units, the zero included.
fn versioned(name: *const u16, version: u32, out: &mut [u16; 96]) -> usize {
    const NAME_MAX: usize = 64;
    let name = (0..NAME_MAX).map(|index| unsafe { name.add(index).read() }).take_while(|unit| *unit != 0);
    let (mut major, mut minor) = ([0; 20], [0; 20]);
    let major = decimal((version >> 16) as usize, &mut major);
    let minor = decimal((version & 0xffff) as usize, &mut minor);
    let zero: &[u8] = if minor.len() < 2 { b"0" } else { b"" };
    let digits = [b" ", major, b".", zero, minor, b"\0"].into_iter().flatten().map(|byte| u16::from(*byte));
    let places = out.iter_mut().zip(name.chain(digits)).map(|(to, from)| *to = from);
    places.count()
}

/// The UUID of the partition that the image came from, of a disk with a GPT.
fn partition(firmware: Firmware, image: &LoadedImageProtocol) -> Option<[u8; 36]> {
    const GPT: u8 = 2;
    let device = firmware.protocol::<DevicePathProtocol>(image.device_handle, &DevicePathProtocol::GUID)?;
    let (.., drive) = nodes(device).find(|(kind, sub, _)| (*kind, *sub) == (MEDIA, MEDIA_HARD_DRIVE))?;
    let uuid = drive.get(20..36).filter(|_| drive.get(37) == Some(&GPT))?;
    let mut text = [b'-'; 36];
    // The first three numbers are little-endian.
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut places = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
    for index in ORDER {
        let byte = uuid[index];
        for digit in [byte >> 4, byte & 15] {
            *places.next()?.1 = if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
        }
    }
    Some(text)
}
