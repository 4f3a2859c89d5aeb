//! A unified kernel image: command line, RAM disk and others are sections of this program. What systemd-stub does with them
//! (systemd-stub(7); src/boot/stub.c and measure.c of systemd 257 to 261), as far as a PC and this stub have a use for it:
//! profiles, addons with a command line, measurement, what user space asks for in variables and in `/.extra`.

use core::ffi::c_void;
use core::ptr::{null, null_mut};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::file_system::{FileAttribute, FileInfo, FileMode, FileProtocolV1};
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::protocol::shell_params::ShellParametersProtocol;
use uefi_raw::table::boot::MemoryType;
use uefi_raw::table::runtime::{VariableAttributes, VariableVendor};
use uefi_raw::{Boolean, Guid, Status, guid};

use super::firmware::{Firmware, Outcome, check, complain};
use super::initrd::{allocate, volume};
use super::tables::{is_on, measure};
use crate::CMDLINE_MAX;
use crate::console::Part::{Hex, Text};
use crate::console::line;
use crate::efi_text::{load_options, utf16};
use crate::memory::{Span, align_up};
use crate::sections::{EXTRA, MEASURED, Sections, archive, choice, tidy};

/// The vendor of systemd's variables.
static LOADER: Guid = guid!("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
/// PCRs of what is inside, and of what comes from outside.
const KERNEL_IMAGE: u32 = 11;
const KERNEL_CONFIG: u32 = 12;
const EV_EVENT_TAG: u32 = 6;
const EV_IPL: u32 = 13;
/// `UKI_PROFILE_EVENT_TAG_ID`
const PROFILE_TAG: u32 = 0x13ae_d6db;
/// Measures itself and takes command lines of addons and profiles, and says what it was started from
/// (`EFI_STUB_FEATURE_…`).
const FEATURES: u64 = 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 10;
/// Characters of a path.
const PATH_MAX: usize = 512;
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
    /// The names of an addon and of the one before it.
    name: [u16; PATH_MAX],
    before: [u16; PATH_MAX],
    /// An entry of a folder.
    entry: [u64; (size_of::<FileInfo>() + 2 * PATH_MAX) / 8 + 1],
    device_path: [u8; 4096],
}

/// The image that runs.
pub struct Unified {
    sections: Sections<'static>,
    profile: usize,
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
        let unified = Unified { sections, profile };
        let mut tpm = Tpm { firmware, event: &mut room.event, wide: &mut room.wide, is_configured: false };
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
        let path_len = path(image, &mut room.path);
        let mut addons = Addons {
            firmware,
            image,
            ours: sections.find(".uname", profile),
            name: &mut room.name,
            before: &mut room.before,
            entry: &mut room.entry,
            device_path: &mut room.device_path,
            start: len,
            len,
            is_whole,
            out,
        };
        let global = utf16(br"\loader\addons", &mut room.folder);
        addons.of_folder(&room.folder[..global]);
        if path_len != 0 {
            let (own, rest) = room.folder.split_at_mut(path_len.min(PATH_MAX));
            own.copy_from_slice(&room.path[..own.len()]);
            let behind = utf16(b".extra.d", rest);
            addons.of_folder(&room.folder[..path_len + behind]);
        }
        let (start, end) = (addons.start, addons.len);
        if !addons.is_whole {
            line(&[Text("the command line is too long: its end is left out")]);
        }
        if start != end {
            // Without the blank in front, where there is something before it.
            tpm.text(None, &out[start + usize::from(start != 0)..end]);
        }
        // One zero is left at the end.
        out[end..].fill(0);
        let is_configured = tpm.is_configured;
        room.path[path_len.min(PATH_MAX - 1)] = 0;
        tell(firmware, image, &room.path[..path_len + 1], profile, [is_measured, is_configured]);
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

    /// Microcode, what the boot loader has offered, the image's RAM disk and what user space is to find in it: one behind
    /// the other.
    pub fn initrd(&self, firmware: Firmware, offered: Option<Span>, last: [u64; 2]) -> Outcome<Option<Span>> {
        let find = |name| self.sections.find(name, self.profile).unwrap_or_default();
        let offered_bytes: &[u8] =
            offered.map_or(&[], |span| unsafe { crate::bytes_mut(span.start, span.end - span.start) });
        let pieces = [find(".ucode"), offered_bytes, find(".initrd")];
        let each = &mut |put: &mut dyn FnMut(&[u8], bool)| {
            for piece in pieces {
                put(piece, true);
            }
            for (name, file) in EXTRA {
                let contents = find(name);
                if !contents.is_empty() {
                    archive(file, contents, &mut |piece| put(piece, false));
                }
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

/// The sections of a program in memory.
fn sections(image: &LoadedImageProtocol) -> Option<Sections<'static>> {
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
    /// It has measured something from outside.
    is_configured: bool,
}

impl Tpm<'_> {
    /// A text from outside, as UTF-16 with its zero, described by itself.
    fn text(&mut self, tag: Option<u32>, text: &[u8]) {
        let len = utf16(text, self.wide);
        let data = Span::new(self.wide.as_ptr() as u64, 2 * len as u64);
        let data = unsafe { crate::bytes_mut(data.start, data.end - data.start) };
        self.is_configured |= self.event(KERNEL_CONFIG, tag, len, data);
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
fn nodes(path: *const DevicePathProtocol) -> impl Iterator<Item = (u8, u8, &'static [u8])> {
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

const MEDIA: u8 = 4;
const MEDIA_HARD_DRIVE: u8 = 1;
const MEDIA_FILE_PATH: u8 = 4;

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

/// Takes the command lines of addons.
struct Addons<'r> {
    firmware: Firmware,
    image: &'r LoadedImageProtocol,
    /// The kernel's release: an addon for another is left out.
    ours: Option<&'static [u8]>,
    name: &'r mut [u16; PATH_MAX],
    before: &'r mut [u16; PATH_MAX],
    entry: &'r mut [u64; (size_of::<FileInfo>() + 2 * PATH_MAX) / 8 + 1],
    device_path: &'r mut [u8; 4096],
    /// Where the addons' part of the command line begins, and how long all is.
    start: usize,
    len: usize,
    is_whole: bool,
    out: &'r mut [u8; CMDLINE_MAX],
}

impl Addons<'_> {
    /// Those in a folder of the disk that the image came from, sorted by name. `folder`: with its zero.
    fn of_folder(&mut self, folder: &[u16]) {
        let Some(root) = volume(self.firmware, self.image) else { return };
        let mut open = null_mut();
        let status =
            unsafe { ((*root).open)(root, &mut open, folder.as_ptr(), FileMode::READ, FileAttribute::empty()) };
        if status != Status::SUCCESS {
            return;
        }
        self.before.fill(0);
        while self.next(open) {
            if let Err(status) = self.take(&folder[..folder.len() - 1]) {
                let mut name = [b' '; 64];
                // To be read by people.
                name.iter_mut().zip(self.name.iter()).for_each(|(to, from)| *to = *from as u8);
                let len = self.name.iter().take(64).take_while(|unit| **unit != 0).count();
                let _ = complain("this addon is left out: ", &name[..len], status);
            }
            *self.before = *self.name;
        }
        let _ = unsafe { ((*open).close)(open) };
    }

    /// The name of the next addon behind the one before, by reading the whole folder: nothing is to be kept of it.
    fn next(&mut self, folder: *mut FileProtocolV1) -> bool {
        const NAME_AT: usize = 80;
        const SUFFIX: &[u8] = b".addon.efi";
        let mut is_found = false;
        if unsafe { ((*folder).set_position)(folder, 0) } != Status::SUCCESS {
            return false;
        }
        loop {
            let mut len = size_of_val(self.entry);
            match unsafe { ((*folder).read)(folder, &mut len, self.entry.as_mut_ptr().cast()) } {
                Status::SUCCESS if len > NAME_AT => {}
                _ => return is_found,
            }
            // A folder's attribute, and the name up to its zero.
            let entry = self.entry.as_ptr().cast::<u8>();
            let attributes = unsafe { entry.add(NAME_AT - 8).cast::<u64>().read() };
            let units = (len.min(size_of_val(self.entry)) - NAME_AT) / 2;
            let name = unsafe { core::slice::from_raw_parts(entry.add(NAME_AT).cast::<u16>(), units) };
            let name = name.split(|unit| *unit == 0).next().unwrap_or_default();
            let end = name.len().checked_sub(SUFFIX.len()).map(|start| &name[start..]);
            let is_one = end.is_some_and(|end| {
                end.iter().zip(SUFFIX).all(|(unit, want)| {
                    let lower = if matches!(*unit, 0x41..=0x5a) { unit | 0x20 } else { *unit };
                    lower == u16::from(*want)
                })
            });
            if attributes & FileAttribute::DIRECTORY.bits() != 0 || !is_one || name.len() >= PATH_MAX {
                continue;
            }
            let text = |name: &[u16; PATH_MAX]| name.iter().position(|unit| *unit == 0).unwrap_or(PATH_MAX);
            let (best, last) = (text(self.name), text(self.before));
            if name > &self.before[..last] && (!is_found || name < &self.name[..best]) {
                self.name.fill(0);
                self.name[..name.len()].copy_from_slice(name);
                is_found = true;
            }
        }
    }

    /// Lets the firmware load the addon, as it does programs: under Secure Boot only what it trusts.
    fn take(&mut self, folder: &[u16]) -> Outcome<()> {
        let firmware = self.firmware;
        let path = self.device_path_of(folder).ok_or(Status::BUFFER_TOO_SMALL)?;
        let services = firmware.services();
        let mut handle = null_mut();
        let status =
            unsafe { (services.load_image)(Boolean::FALSE, firmware.image, path, null(), 0, &mut handle) };
        let taken = check(status).and_then(|()| self.add(handle));
        if !handle.is_null() {
            // What was taken of it was copied.
            let _ = unsafe { (services.unload_image)(handle) };
        }
        taken
    }

    fn add(&mut self, handle: uefi_raw::Handle) -> Outcome<()> {
        let image = self.firmware.protocol::<LoadedImageProtocol>(handle, &LoadedImageProtocol::GUID);
        let sections = image.and_then(|image| sections(unsafe { &*image })).ok_or(Status::LOAD_ERROR)?;
        let find = |name| sections.find(name, 0);
        if let (Some(ours), Some(theirs)) = (self.ours, find(".uname")) {
            let text = |text: &'static [u8]| text.split(|byte| *byte == 0).next();
            if text(ours) != text(theirs) {
                return Err(Status::INCOMPATIBLE_VERSION);
            }
        }
        let text = find(".cmdline").ok_or(Status::NOT_FOUND)?;
        let mut at = self.len;
        if at != 0 && at < CMDLINE_MAX - 1 {
            self.out[at] = b' ';
            at += 1;
        }
        let (len, is_whole) = tidy(text, &mut self.out[at..CMDLINE_MAX - 1]);
        self.is_whole &= is_whole;
        if len != 0 {
            self.len = at + len;
        }
        Ok(())
    }

    /// The device's path, and behind it folder and name.
    fn device_path_of(&mut self, folder: &[u16]) -> Option<*const DevicePathProtocol> {
        let device =
            self.firmware.protocol::<DevicePathProtocol>(self.image.device_handle, &DevicePathProtocol::GUID)?;
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            self.device_path.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
            len += bytes.len();
            Some(())
        };
        let head = |kind, sub, len: usize| Some([kind, sub, len as u8, u8::try_from(len >> 8).ok()?]);
        for (kind, sub, data) in nodes(device) {
            put(&head(kind, sub, data.len() + 4)?)?;
            put(data)?;
        }
        let name_len = self.name.iter().position(|unit| *unit == 0)?;
        put(&head(MEDIA, MEDIA_FILE_PATH, 4 + 2 * (folder.len() + 1 + name_len + 1))?)?;
        for unit in folder.iter().chain(&[u16::from(b'\\')]).chain(&self.name[..=name_len]) {
            put(&unit.to_le_bytes())?;
        }
        put(&[0x7f, 0xff, 4, 0])?;
        Some(self.device_path.as_ptr().cast())
    }
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
fn tell(firmware: Firmware, image: &LoadedImageProtocol, path: &[u16], profile: usize, measured: [bool; 2]) {
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
    ] {
        if is_measured {
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
    if let Some(partition) = partition(firmware, image) {
        text(&mut set, "StubDevicePartUUID", &partition);
        if is_first("LoaderDevicePartUUID") {
            text(&mut set, "LoaderDevicePartUUID", &partition);
        }
    }
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
            *places.next()?.1 = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        }
    }
    Some(text)
}
