//! Files of the disk that the image came from.

use core::ptr::null_mut;
use uefi_raw::Status;
use uefi_raw::protocol::file_system::{FileAttribute, FileMode, FileProtocolV1, SimpleFileSystemProtocol};
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;

use super::firmware::{Firmware, Outcome, check};

/// Some firmware cannot read more at once.
const READ_MAX: u64 = 1 << 20;

/// An open file or folder.
pub struct File(*mut FileProtocolV1);

impl Drop for File {
    fn drop(&mut self) {
        // Closing never fails, says the specification.
        let _ = unsafe { ((*self.0).close)(self.0) };
    }
}

impl File {
    /// The root of the file system that the image came from.
    pub fn root(firmware: Firmware, image: &LoadedImageProtocol) -> Option<File> {
        let guid = &SimpleFileSystemProtocol::GUID;
        let system = firmware.protocol::<SimpleFileSystemProtocol>(image.device_handle, guid)?;
        let mut root = null_mut();
        let status = unsafe { ((*system).open_volume)(system, &mut root) };
        (status == Status::SUCCESS).then_some(File(root))
    }

    /// A file of this folder. `path`: with its zero.
    pub fn open(&self, path: &[u16]) -> Outcome<File> {
        let mut file = null_mut();
        let open = unsafe { (*self.0).open };
        check(unsafe { open(self.0, &mut file, path.as_ptr(), FileMode::READ, FileAttribute::empty()) })?;
        Ok(File(file))
    }

    pub fn len(&self) -> Outcome<u64> {
        const TO_THE_END: u64 = u64::MAX;
        let mut len = 0;
        check(unsafe { ((*self.0).set_position)(self.0, TO_THE_END) })?;
        check(unsafe { ((*self.0).get_position)(self.0, &mut len) })?;
        Ok(len)
    }

    /// From its beginning, or that of a folder.
    pub fn rewind(&self) -> Outcome<()> {
        check(unsafe { ((*self.0).set_position)(self.0, 0) })
    }

    /// Reads once: up to `len` bytes of a file, an entry of a folder.
    pub fn read(&self, to: *mut u8, mut len: usize) -> Outcome<usize> {
        check(unsafe { ((*self.0).read)(self.0, &mut len, to.cast()) })?;
        Ok(len)
    }

    /// Reads all of it, which is to fill these places exactly: a file that has grown or shrunk since is refused.
    pub fn read_all(&self, start: u64, end: u64) -> Outcome<()> {
        self.rewind()?;
        let mut at = start;
        while at < end {
            let asked = (end - at).min(READ_MAX) as usize;
            match self.read(at as *mut u8, asked)? {
                len if len == 0 || len > asked => break,
                len => at += len as u64,
            }
        }
        check(if at == end && self.len()? == end - start { Status::SUCCESS } else { Status::MEDIA_CHANGED })
    }
}
