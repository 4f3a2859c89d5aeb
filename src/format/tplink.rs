//! TP-Link's firmware header, version 1: 512 bytes in front of a kernel and a file system.
//!
//! Source: OpenWrt firmware-utils, src/mktplinkfw.c (`struct fw_header`).

use crate::bytes::{Cursor, Endian, Field, FieldError, len64, slice, until_zero};
use md5::{Digest, Md5};
use std::ops::Range;

/// Bytes of the header, and the version in its first word.
const HEADER: u64 = 512;
const VERSION: u32 = 0x0100_0000;
/// Fields of the header.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("vendor", 4, 24),
    Field::new("fw_version", 0x1c, 36),
    Field::new("hw_id", 0x40, 4),
    Field::new("hw_rev", 0x44, 4),
    Field::new("md5sum", TpLink::MD5_AT, 16),
    Field::new("kernel_load", 0x74, 4),
    Field::new("kernel_entry", 0x78, 4),
];

/// A firmware file. All integers are big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TpLink<'a> {
    /// `vendor_name` and `fw_version`, without the NULs.
    pub vendor: &'a [u8],
    /// The firmware's version.
    pub version: &'a [u8],
    /// `hw_id` and `hw_rev`.
    pub hardware: (u32, u32),
    /// `kernel_la` and `kernel_ep`: where the kernel is loaded and entered.
    pub load: u32,
    /// The entry point.
    pub entry: u32,
    /// File offsets of the kernel.
    pub kernel: Range<u64>,
    /// `fw_length`: bytes of the firmware, or of the flash that it goes to.
    pub len: u32,
    /// `rootfs_len`: bytes of the root file system behind the kernel.
    pub rootfs_len: u32,
    /// `md5sum1`: see [`TpLink::is_md5_right`].
    pub md5: [u8; 16],
    /// Is there a boot loader in it?
    has_boot: bool,
}

/// What stands in the place of `md5sum1` while the sum is made (`md5salt_normal`, `md5salt_boot`).
const SALT: [u8; 16] = [0xdc, 0xd7, 0x3a, 0xa5, 0xc3, 0x95, 0x98, 0xfb, 0xdd, 0xf9, 0xe7, 0xf4, 0x0e, 0xae, 0x47, 0x38];
const SALT_BOOT: [u8; 16] =
    [0x8c, 0xef, 0x33, 0x5b, 0xd5, 0xc5, 0xce, 0xfa, 0xa7, 0x9c, 0x28, 0xda, 0xb2, 0xe9, 0x0f, 0x42];

impl<'a> TpLink<'a> {
    /// File offset of `md5sum1`.
    pub(crate) const MD5_AT: u64 = 0x4c;
    /// File offset of `rootfs_len`.
    pub(crate) const ROOTFS_LEN_AT: u64 = 0x8c;

    /// Is `md5sum1` the MD5 of what the tool wrote: header and kernel (its option -c), `fw_length` bytes, or the whole file?
    /// What was put behind it later is in none of them, and where that begins nothing tells.
    pub(crate) fn is_md5_right(&self, bytes: &[u8]) -> bool {
        let salt = if self.has_boot { SALT_BOOT } else { SALT };
        let ends = [self.kernel.end, self.len.into(), len64(bytes)];
        let behind = Self::MD5_AT + 16;
        ends.into_iter().filter(|end| *end >= HEADER && *end <= len64(bytes)).any(|end| {
            let mut hash = Md5::new();
            hash.update(slice(bytes, 0, Self::MD5_AT).unwrap_or_default());
            hash.update(salt);
            hash.update(slice(bytes, behind, end - behind).unwrap_or_default());
            hash.finalize().as_slice() == self.md5
        })
    }

    /// Is this the header? It has no magic number: the version, a vendor's name in ASCII, and a kernel inside the file, behind
    /// the header, must agree. Of a file that is cut off, the length that the header has for all of it stands for the file's.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        TpLink::read(bytes).is_ok_and(|image| {
            image.kernel.end <= len64(bytes) || image.kernel.start == HEADER && image.kernel.end <= image.len.into()
        })
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] for another version, a vendor's name that is no text, and a kernel that leads out of the file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<TpLink<'a>, FieldError> {
        let image = Self::read(bytes)?;
        let (len, room) = (image.kernel.end - image.kernel.start, len64(bytes).saturating_sub(image.kernel.start));
        FieldError::within("kernel_len", 0x84, len, 1..=room)
            .map_err(|error| error.with_help("the file is cut off: copy it again"))?;
        Ok(image)
    }

    /// The header alone.
    fn read(bytes: &'a [u8]) -> Result<TpLink<'a>, FieldError> {
        let cursor = Cursor::new(bytes, Endian::Big);
        cursor.magic("version", 0, VERSION)?;
        let vendor = text(bytes, 4, 24);
        if vendor.is_empty() || !vendor.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Err(FieldError::unknown("vendor_name", 4, vendor.first().copied().unwrap_or(0), "a name"));
        }
        let start = u64::from(cursor.u32("kernel_ofs", 0x80)?);
        let len = u64::from(cursor.u32("kernel_len", 0x84)?);
        FieldError::within("kernel_ofs", 0x80, start, HEADER..=u64::MAX)?;
        FieldError::within("kernel_len", 0x84, len, 1..=u64::MAX)?;
        Ok(TpLink {
            vendor,
            version: text(bytes, 0x1c, 36),
            hardware: (cursor.u32("hw_id", 0x40)?, cursor.u32("hw_rev", 0x44)?),
            load: cursor.u32("kernel_la", 0x74)?,
            entry: cursor.u32("kernel_ep", 0x78)?,
            kernel: start..start + len,
            len: cursor.u32("fw_length", 0x7c)?,
            rootfs_len: cursor.u32("rootfs_len", Self::ROOTFS_LEN_AT)?,
            md5: cursor.take("md5sum1", Self::MD5_AT, 16)?.first_chunk().copied().unwrap_or_default(),
            has_boot: cursor.u32("boot_len", 0x94)? != 0,
        })
    }
}

fn text(bytes: &[u8], at: u64, len: u64) -> &[u8] {
    until_zero(slice(bytes, at, len).unwrap_or(&[]))
}
