//! What lies beside a unified kernel image on its disk: addons, credentials, extensions. It is read in the order of names, so that
//! what is made and measured of it is the same each time.

use core::ptr::{null, null_mut};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::file_system::{FileAttribute, FileInfo};
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::{Boolean, Status};

use super::files::File;
use super::firmware::{Firmware, Outcome, check, complain};
use super::unified::{MEDIA, MEDIA_FILE_PATH, PATH_MAX, nodes, sections};
use crate::CMDLINE_MAX;
use crate::memory::Span;
use crate::sections::{ADDON, Beside, NOT_TAKEN, ends_with, file, filling, folders, tidy, trailer};

/// How many addons with RAM disks or microcode count.
pub const MOST: usize = 64;

/// The names of a folder's files, one after the other; too large for a stack.
pub struct Names {
    name: [u16; PATH_MAX],
    before: [u16; PATH_MAX],
    /// An entry of the folder.
    entry: [u64; (size_of::<FileInfo>() + 2 * PATH_MAX) / 8 + 1],
}

impl Names {
    fn begin(&mut self) {
        self.before.fill(0);
    }

    /// The name of the next file behind the one before, with its zero, by reading the whole folder: nothing is to be kept of it.
    fn next(&mut self, folder: &File, is_one: &dyn Fn(&[u16]) -> bool) -> Option<&[u16]> {
        const NAME_AT: usize = 80;
        let text = |name: &[u16; PATH_MAX]| name.iter().position(|unit| *unit == 0).unwrap_or(PATH_MAX);
        let mut is_found = false;
        folder.rewind().ok()?;
        loop {
            let room = size_of_val(&self.entry);
            let len = match folder.read(self.entry.as_mut_ptr().cast(), room) {
                Ok(len) if len > NAME_AT => len.min(room),
                Ok(_) => break,
                // Of a name that is longer than any that is taken, too: firmware does not go on behind it.
                Err(status) => {
                    let _ = complain("a folder beside the image is not read to its end", b"", status);
                    break;
                }
            };
            // A folder's attribute, and the name up to its zero.
            let entry = self.entry.as_ptr().cast::<u8>();
            let attributes = unsafe { entry.add(NAME_AT - 8).cast::<u64>().read() };
            let name = unsafe { core::slice::from_raw_parts(entry.add(NAME_AT).cast::<u16>(), (len - NAME_AT) / 2) };
            let name = name.split(|unit| *unit == 0).next().unwrap_or_default();
            if attributes & FileAttribute::DIRECTORY.bits() != 0 || !is_one(name) || name.len() >= PATH_MAX {
                continue;
            }
            let (best, last) = (text(&self.name), text(&self.before));
            if name > &self.before[..last] && (!is_found || name < &self.name[..best]) {
                self.name.fill(0);
                self.name[..name.len()].copy_from_slice(name);
                is_found = true;
            }
        }
        if !is_found {
            return None;
        }
        self.before = self.name;
        Some(&self.name[..(text(&self.name) + 1).min(PATH_MAX)])
    }
}

/// Says of a file what became of it.
fn tell(what: &'static str, name: &[u16], status: Status) {
    let mut text = [b' '; 64];
    // To be read by people.
    text.iter_mut().zip(name).for_each(|(to, from)| *to = *from as u8);
    let len = name.iter().take(text.len()).take_while(|unit| **unit != 0).count();
    let _ = complain(what, &text[..len], status);
}

/// Makes the archive of such files in that folder, with its zero; `None` when there are none.
pub fn archive(
    firmware: Firmware,
    image: &LoadedImageProtocol,
    names: &mut Names,
    folder: &[u16],
    kind: &Beside,
) -> Option<Span> {
    let folder = File::root(firmware, image)?.open(folder).ok()?;
    packed(firmware, names, &folder, kind).unwrap_or_else(|status| {
        let _ = complain("files beside the image are left out: ", kind.ending.as_bytes(), status);
        None
    })
}

fn packed(firmware: Firmware, names: &mut Names, folder: &File, kind: &Beside) -> Outcome<Option<Span>> {
    /// Where the archive is written, once it is known how long it gets.
    struct Out {
        at: u64,
        end: u64,
        is_written: bool,
    }
    impl Out {
        fn put(&mut self, bytes: &[u8]) {
            let to = self.at;
            self.at = to.saturating_add(bytes.len() as u64);
            if self.is_written && self.at <= self.end {
                unsafe { crate::bytes_mut(to, bytes.len() as u64) }.copy_from_slice(bytes);
            }
        }
    }
    let changed = Err(Status::MEDIA_CHANGED);
    let mut place = Span::new(0, 0);
    for is_written in [false, true] {
        let mut out = Out { at: place.start, end: place.end, is_written };
        let mut inode = folders(kind.path, kind.modes.0, &mut |piece| out.put(piece));
        let first = inode;
        names.begin();
        while let Some(name) = names.next(folder, &|name| kind.takes(name)) {
            let open = folder.open(name)?;
            let len = u32::try_from(open.len()?).or(Err(Status::BAD_BUFFER_SIZE))? as usize;
            let mut text = [0; 256];
            // ASCII, as such names are.
            text.iter_mut().zip(name).for_each(|(to, from)| *to = *from as u8);
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            file(inode, kind.modes.1, [kind.path.as_bytes(), text], len, &mut |piece| out.put(piece));
            let end = out.at.saturating_add(len as u64);
            if is_written {
                match end <= out.end {
                    true => open.read_all(out.at, end)?,
                    false => return changed,
                }
            }
            out.at = end;
            out.put(filling(len));
            inode += 1;
        }
        if inode == first {
            return Ok(None);
        }
        trailer(&mut |piece| out.put(piece));
        if is_written {
            return if out.at == place.end { Ok(Some(place)) } else { changed };
        }
        place = Span::new(firmware.pages(out.at, u64::MAX)?, out.at);
    }
    Ok(None)
}

/// Addons: EFI programs without code whose sections count as the image's do.
pub struct Addons<'r> {
    pub firmware: Firmware,
    pub image: &'r LoadedImageProtocol,
    /// The kernel's release: an addon for another is left out.
    pub ours: Option<&'static [u8]>,
    pub names: &'r mut Names,
    pub device_path: &'r mut [u8; 4096],
    /// How long the command line is, and whether that is all of it.
    pub len: usize,
    pub is_whole: bool,
    pub out: &'r mut [u8; CMDLINE_MAX],
    /// Those that have more than words: they stay loaded.
    pub kept: [Option<&'static LoadedImageProtocol>; MOST],
    pub count: usize,
}

impl Addons<'_> {
    /// Those in a folder of the disk that the image came from. `folder`: with its zero.
    pub fn of_folder(&mut self, folder: &[u16]) {
        let root = File::root(self.firmware, self.image);
        let Some(open) = root.and_then(|root| root.open(folder).ok()) else { return };
        let behind = &folder[..folder.len() - 1];
        self.names.begin();
        while self.names.next(&open, &|name| ends_with(name, ADDON)).is_some() {
            if let Err(status) = self.take(behind) {
                tell("this addon is left out: ", &self.names.name, status);
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
        if !handle.is_null() && !matches!(taken, Ok(true)) {
            // What was taken of it was copied.
            let _ = unsafe { (services.unload_image)(handle) };
        }
        taken.map(drop)
    }

    /// True when it is still needed.
    fn add(&mut self, handle: uefi_raw::Handle) -> Outcome<bool> {
        let image = self.firmware.protocol::<LoadedImageProtocol>(handle, &LoadedImageProtocol::GUID);
        let image: &'static LoadedImageProtocol = unsafe { &*image.ok_or(Status::LOAD_ERROR)? };
        let sections = sections(image).ok_or(Status::LOAD_ERROR)?;
        let find = |name| sections.find(name, 0);
        // It is no image of its own.
        if find(".linux").is_some() {
            return Err(Status::UNSUPPORTED);
        }
        if let (Some(ours), Some(theirs)) = (self.ours, find(".uname")) {
            let text = |text: &'static [u8]| text.split(|byte| *byte == 0).next();
            if text(ours) != text(theirs) {
                return Err(Status::INCOMPATIBLE_VERSION);
            }
        }
        let stays = find(".ucode").is_some() || find(".initrd").is_some();
        let words = find(".cmdline");
        for name in NOT_TAKEN {
            if find(name).is_some() {
                tell("a device tree or firmware is left out of ", &self.names.name, Status::UNSUPPORTED);
            }
        }
        if !stays && words.is_none() {
            return Err(Status::NOT_FOUND);
        }
        if stays {
            *self.kept.get_mut(self.count).ok_or(Status::OUT_OF_RESOURCES)? = Some(image);
            self.count += 1;
        }
        let Some(words) = words else { return Ok(stays) };
        let mut at = self.len;
        if at != 0 && at < CMDLINE_MAX - 1 {
            self.out[at] = b' ';
            at += 1;
        }
        let (len, is_whole) = tidy(words, &mut self.out[at..CMDLINE_MAX - 1]);
        self.is_whole &= is_whole;
        if len != 0 {
            self.len = at + len;
        }
        Ok(stays)
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
        let name = &self.names.name;
        let name_len = name.iter().position(|unit| *unit == 0)?;
        put(&head(MEDIA, MEDIA_FILE_PATH, 4 + 2 * (folder.len() + 1 + name_len + 1))?)?;
        for unit in folder.iter().chain(&[u16::from(b'\\')]).chain(&name[..=name_len]) {
            put(&unit.to_le_bytes())?;
        }
        put(&[0x7f, 0xff, 4, 0])?;
        Some(self.device_path.as_ptr().cast())
    }
}
