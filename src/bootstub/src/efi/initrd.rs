//! The initial RAM disk: from the loader that offers one, or from files that the command line names.

use core::ptr::null_mut;
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::protocol::media::LoadFile2Protocol;
use uefi_raw::{Boolean, Status};

use super::files::File;
use super::firmware::{Firmware, Outcome, complain};
use crate::cmdline::values;
use crate::memory::{Span, align_up};

/// A device path of `LINUX_EFI_INITRD_MEDIA_GUID`, 5568e427-68fc-4f3d-ac74-ca555231cc68: whoever has an initrd to offer
/// has that path (include/linux/efi.h).
static MEDIA: [u8; 24] = [
    4, 3, 20, 0, 0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc,
    0x68, //
    0x7f, 0xff, 4, 0,
];

const INITRD: &str = "initrd=";
/// Characters of a path.
const PATH_MAX: usize = 512;
/// Archives begin at multiples of this.
const ARCHIVE: u64 = 4;

/// Loads it; `None` when there is none. `texts`: the parts of the command line; below `last` if possible.
pub fn load(
    firmware: Firmware,
    image: &LoadedImageProtocol,
    texts: [&[u8]; 2],
    last: [u64; 2],
) -> Outcome<Option<Span>> {
    match offered(firmware, last)? {
        None => named(firmware, image, texts, last),
        offered => Ok(offered),
    }
}

/// Low memory if there is some, or what the kernel can take.
pub fn allocate(firmware: Firmware, len: u64, last: [u64; 2]) -> Outcome<u64> {
    let place = firmware.pages(len, last[0]).or_else(|_| firmware.pages(len, last[1]));
    place.map_err(|status| complain("not enough RAM for the initrd", b"", status))
}

/// What the boot loader has; `None` when there is none.
pub fn offered(firmware: Firmware, last: [u64; 2]) -> Outcome<Option<Span>> {
    let (mut path, mut handle) = (MEDIA.as_ptr().cast::<DevicePathProtocol>(), null_mut());
    let locate = firmware.services().locate_device_path;
    if unsafe { locate(&LoadFile2Protocol::GUID, &mut path, &mut handle) } != Status::SUCCESS {
        return Ok(None);
    }
    let Some(loader) = firmware.protocol::<LoadFile2Protocol>(handle, &LoadFile2Protocol::GUID) else {
        return Ok(None);
    };
    let failed = |status| complain("the boot loader's initrd", b"", status);
    let mut len = 0;
    let load =
        |len: &mut usize, to: u64| unsafe { ((*loader).load_file)(loader, path, Boolean::FALSE, len, to as *mut _) };
    match load(&mut len, 0) {
        Status::BUFFER_TOO_SMALL => {}
        Status::SUCCESS | Status::NOT_FOUND => return Ok(None),
        status => return Err(failed(status)),
    }
    let at = allocate(firmware, len as u64, last)?;
    match load(&mut len, at) {
        Status::SUCCESS => Ok(Some(Span::new(at, len as u64))),
        status => Err(failed(status)),
    }
}

/// Files of the file system that the image came from.
fn named(firmware: Firmware, image: &LoadedImageProtocol, texts: [&[u8]; 2], last: [u64; 2]) -> Outcome<Option<Span>> {
    // First the length of all, then all into one piece.
    let mut place = Span::new(0, 0);
    for is_read in [false, true] {
        let mut to = place.start;
        for text in texts {
            for path in values(text, b"initrd=") {
                let failed = |status| complain(INITRD, path, status);
                let file = open(firmware, image, path)?;
                let start = align_up(to, ARCHIVE).unwrap_or(to);
                let end = start.checked_add(file.len().map_err(failed)?);
                // One that has grown since takes the place of none.
                let fits = end.filter(|end| !is_read || *end <= place.end);
                to = fits.ok_or_else(|| failed(Status::BAD_BUFFER_SIZE))?;
                if is_read {
                    file.read_all(start, to).map_err(failed)?;
                }
            }
        }
        if to == 0 {
            return Ok(None);
        }
        if !is_read {
            place = Span::new(allocate(firmware, to, last)?, to);
            unsafe { crate::bytes_mut(place.start, to) }.fill(0);
        }
    }
    Ok(Some(place))
}

fn open(firmware: Firmware, image: &LoadedImageProtocol, path: &[u8]) -> Outcome<File> {
    let mut name = [0; PATH_MAX];
    let root = File::root(firmware, image)
        .ok_or_else(|| complain("initrd=: the image's file system", b"", Status::UNSUPPORTED))?;
    let file = match crate::efi_text::file_path(path, &mut name) {
        Some(()) => root.open(&name),
        None => Err(Status::INVALID_PARAMETER),
    };
    file.map_err(|status| complain(INITRD, path, status))
}
