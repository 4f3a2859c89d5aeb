//! The setup of kernels before Linux 2.6.23, which their build kept in two files: boot sector and setup.

use crate::bytes::{Cursor, FieldError, len64, slice};

/// Bytes of a boot sector.
const SECTOR: u64 = 512;

/// Minix's a.out, which as86 and ld86 write, up to Linux 2.2 (`tools/build.c`): magic number with flags and CPU, and the
/// length of the header.
const MINIX_MAGIC: u32 = 0x0410_0301;
const MINIX_HEADER: u64 = 32;

/// Boot sector and setup as one file, as Linux 2.6.23 and later have it in `setup.bin`.
///
/// # Errors
/// A [`FieldError`], and whether it is the boot sector's: a sector that is not 512 bytes, an a.out file with more than code
/// in it.
pub(crate) fn join_setup(bootsect: &[u8], setup: &[u8]) -> Result<Vec<u8>, (bool, FieldError)> {
    let sector = code(bootsect).map_err(|error| (true, error))?;
    let have = len64(sector);
    if have != SECTOR {
        let help = "give arch/i386/boot/bootsect, or bbootsect, of the kernel's build";
        return Err((true, FieldError::mismatch("length", 0, have, SECTOR).with_help(help)));
    }
    Ok([sector, code(setup).map_err(|error| (false, error))?].concat())
}

/// Does a setup begin here that needs a boot sector in front of it? Its header follows a jump of two bytes.
pub(crate) fn is_second_part(bytes: &[u8]) -> bool {
    code(bytes).is_ok_and(|bytes| Cursor::little(bytes).u32("header", 2) == Ok(super::HDRS))
}

/// What is behind the header of an a.out file; all of any other.
fn code(bytes: &[u8]) -> Result<&[u8], FieldError> {
    let cursor = Cursor::little(bytes);
    if cursor.u32("a_magic", 0) != Ok(MINIX_MAGIC) || cursor.u32("a_hdrlen", 4) != Ok(32) {
        return Ok(bytes);
    }
    for (field, at) in [("a_data", 12), ("a_bss", 16), ("a_syms", 28)] {
        let value = cursor.u32(field, at)?;
        if value != 0 {
            let help =
                "a boot sector or setup is one segment without symbols: give the file that ld86 made for the build";
            return Err(FieldError::mismatch(field, at, value, 0_u64).with_help(help));
        }
    }
    Ok(slice(bytes, MINIX_HEADER, len64(bytes).saturating_sub(MINIX_HEADER)).unwrap_or(&[]))
}
