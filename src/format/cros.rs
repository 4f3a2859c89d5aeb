//! A Chrome OS kernel partition: a key block and a preamble, both signed, and behind them the kernel, its command line and, for
//! x86, the setup that was cut off the bzImage.
//!
//! Source: vboot_reference, firmware/2lib/include/2struct.h (`vb2_keyblock`, `vb2_kernel_preamble`) and
//! futility/vb1_helper.c (the order of the body).

use crate::bytes::{Cursor, Field, FieldError, len64, offset_of};
use std::ops::Range;

pub(crate) const MAGIC: &[u8] = b"CHROMEOS";
/// Bytes of the command line, and of the boot parameters behind it, in front of the boot loader stub.
const CONFIG: u64 = 4096;
const PARAMETERS: u64 = 4096;
/// The least that a key block and a preamble take.
const KEYBLOCK: u64 = 112;
const PREAMBLE: u64 = 96;
/// A field of the key block.
const KEYBLOCK_FIELDS: &[Field] = &[Field::new("keyblock_size", 16, 8)];
/// Fields of the preamble, from its start. The last two are there from version 2.1 on.
const PREAMBLE_FIELDS: &[Field] = &[
    Field::new("preamble_size", 0, 8),
    Field::new("kernel_version", 40, 8),
    Field::new("body_load_address", 48, 8),
    Field::new("bootloader_address", 56, 8),
    Field::new("bootloader_size", 64, 8),
    Field::new("body_signature.data_size", 88, 8),
    Field::new("vmlinuz_header_address", PREAMBLE, 8),
    Field::new("vmlinuz_header_size", PREAMBLE + 8, 8),
];

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
        let size_at = offset_of(KEYBLOCK_FIELDS, "keyblock_size");
        let size = cursor.u64("keyblock_size", size_at)?;
        let keyblock = FieldError::within("keyblock_size", size_at, size, KEYBLOCK..=have)?;
        let place = |name| keyblock + offset_of(PREAMBLE_FIELDS, name);
        let read = |name| cursor.u64(name, place(name));
        let within = |name, value: u64, min, max| FieldError::within(name, place(name), value, min..=max);
        let preamble = within("preamble_size", read("preamble_size")?, PREAMBLE, have - keyblock)?;
        let body = keyblock + preamble;
        let load = read("body_load_address")?;
        let (stub, stub_len) = (read("bootloader_address")?, read("bootloader_size")?);
        let len = within("body_signature.data_size", read("body_signature.data_size")?, 0, have - body)?;
        let (least, last) = (load.saturating_add(CONFIG + PARAMETERS), load.saturating_add(len));
        let stub = within("bootloader_address", stub, least, last)? - load;
        let stub_len = within("bootloader_size", stub_len, 0, len - stub)?;
        let cmdline = body + stub - PARAMETERS - CONFIG;
        let (setup_at, setup_len) = if preamble >= PREAMBLE + 16 {
            (read("vmlinuz_header_address")?, read("vmlinuz_header_size")?)
        } else {
            (0, 0)
        };
        let setup = if setup_len == 0 {
            None
        } else {
            let at = within("vmlinuz_header_address", setup_at, load, last)? - load;
            let setup_len = within("vmlinuz_header_size", setup_len, 1, len - at)?;
            Some(body + at..body + at + setup_len)
        };
        Ok(KernelPartition {
            version: read("kernel_version")?,
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
