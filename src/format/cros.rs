//! A Chrome OS kernel partition: a key block and a preamble, both signed, and behind them the kernel, its command line and, for
//! x86, the setup that was cut off the bzImage.
//!
//! Source: vboot_reference, firmware/2lib/include/2struct.h (`vb2_keyblock`, `vb2_kernel_preamble`) and
//! futility/vb1_helper.c (the order of the body).

use crate::bytes::{Cursor, FieldError, len64};
use std::ops::Range;

const MAGIC: &[u8] = b"CHROMEOS";
/// Bytes of the command line, and of the boot parameters behind it, in front of the boot loader stub.
const CONFIG: u64 = 4096;
const PARAMETERS: u64 = 4096;
/// The least that a key block and a preamble take.
const KEYBLOCK: u64 = 112;
const PREAMBLE: u64 = 96;

/// A kernel partition. All integers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelPartition {
    /// `kernel_version`: what the TPM's rollback counter is held against.
    pub version: u64,
    /// `body_load_address`.
    pub load: u64,
    /// File offsets of key block and preamble.
    pub keyblock: Range<u64>,
    /// The preamble.
    pub preamble: Range<u64>,
    /// File offsets of the kernel: a FIT, or what of a bzImage stands behind its setup.
    pub kernel: Range<u64>,
    /// The command line, with the NULs behind it.
    pub cmdline: Range<u64>,
    /// The boot loader stub.
    pub bootloader: Range<u64>,
    /// x86: the setup of the bzImage.
    pub setup: Option<Range<u64>>,
    /// Where the signed body ends.
    pub end: u64,
}

impl KernelPartition {
    /// True when `bytes` begin with the magic number.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads both headers and lays out the body.
    ///
    /// # Errors
    /// A [`FieldError`] for sizes and addresses that contradict each other or lead out of the file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<KernelPartition, FieldError> {
        let cursor = Cursor::little(bytes);
        let have = len64(bytes);
        let within = |name, at, value: u64, min, max| FieldError::within(name, at, value, min..=max);
        let keyblock = within("keyblock_size", 16, cursor.u64("keyblock_size", 16)?, KEYBLOCK, have)?;
        let size = cursor.u64("preamble_size", keyblock)?;
        let preamble = within("preamble_size", keyblock, size, PREAMBLE, have - keyblock)?;
        let body = keyblock + preamble;
        let load = cursor.u64("body_load_address", keyblock + 48)?;
        let stub = cursor.u64("bootloader_address", keyblock + 56)?;
        let stub_len = cursor.u64("bootloader_size", keyblock + 64)?;
        let len = cursor.u64("body_signature.data_size", keyblock + 88)?;
        let len = within("body_signature.data_size", keyblock + 88, len, 0, have - body)?;
        let least = load.saturating_add(CONFIG + PARAMETERS);
        let stub = within("bootloader_address", keyblock + 56, stub, least, load.saturating_add(len))? - load;
        let stub_len = within("bootloader_size", keyblock + 64, stub_len, 0, len - stub)?;
        let cmdline = body + stub - PARAMETERS - CONFIG;
        let (setup_at, setup_len) = if preamble >= PREAMBLE + 16 {
            let at = cursor.u64("vmlinuz_header_address", keyblock + 96)?;
            (at, cursor.u64("vmlinuz_header_size", keyblock + 104)?)
        } else {
            (0, 0)
        };
        let setup = if setup_len == 0 {
            None
        } else {
            let last = load.saturating_add(len);
            let at = within("vmlinuz_header_address", keyblock + 96, setup_at, load, last)? - load;
            let setup_len = within("vmlinuz_header_size", keyblock + 104, setup_len, 1, len - at)?;
            Some(body + at..body + at + setup_len)
        };
        Ok(KernelPartition {
            version: cursor.u64("kernel_version", keyblock + 40)?,
            load,
            keyblock: 0..keyblock,
            preamble: keyblock..body,
            kernel: body..cmdline,
            cmdline: cmdline..cmdline + CONFIG,
            bootloader: body + stub..body + stub + stub_len,
            setup,
            end: body + len,
        })
    }
}
