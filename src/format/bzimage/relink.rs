//! A setup that follows a new link of its decompressor.
//!
//! header.S is compiled with the numbers of `zoffset.h` and `voffset.h` in it. When the payload changes its size, the
//! decompressor is linked to other addresses, and these fields must follow. What a field was made of is found by computing it
//! from the old `zoffset.h`: the expression that gives what stands in the setup is the one to compute anew.

use super::init_size::{self, MemoryOf};
use super::parse::Setup;
use super::parts::Error;
use super::plan::section_field;
use super::raw::offset_of;
use crate::bytes::{Cursor, FieldWriter, Patch};
use crate::format::pe::{Pe, SECTION_PLACES};
use std::collections::BTreeMap;

/// Symbols and their values: `zoffset.h` or `voffset.h` without the prefixes.
pub type Offsets = BTreeMap<String, u64>;

/// A field, and what it may have been made of.
struct Slot {
    field: &'static str,
    at: u64,
    /// Values of the expressions that kernels have there, most usual first; `None` where a symbol is missing.
    may_be: Vec<Option<u64>>,
}

/// `setup` with every field that depends on the link computed anew, and the fields that changed. `old` is the link that it
/// was compiled for (`zoffset.h`), `new` the link that it is put in front of, `kernel` is `voffset.h`.
///
/// # Errors
/// [`Error::Setup`] for a damaged setup, [`Error::Unfollowed`] for a field that changes and that `old` does not explain.
pub fn follow_link(
    setup: &[u8],
    old: &Offsets,
    new: &Offsets,
    kernel: &Offsets,
) -> Result<(Vec<u8>, Vec<Patch>), Error> {
    let parsed = Setup::parse(setup)?;
    let mut out = FieldWriter::new(setup.to_vec());
    let (before, after) = (slots(&parsed, old, kernel)?, slots(&parsed, new, kernel)?);
    for (before, after) in before.into_iter().zip(after) {
        if before.may_be == after.may_be {
            continue;
        }
        let (field, at) = (before.field, before.at);
        let found = Cursor::little(setup).u32(field, at)?;
        let explained = before.may_be.iter().zip(&after.may_be).find(|(value, _)| **value == Some(found.into()));
        match explained {
            Some((_, Some(value))) if *value == u64::from(found) => {}
            Some((_, Some(value))) => out.narrow(field, at, *value)?,
            _ => {
                let want = before.may_be.into_iter().flatten().next();
                return Err(Error::Unfollowed { field, at, found: found.into(), want });
            }
        }
    }
    Ok(out.finish())
}

fn slots(setup: &Setup<'_>, link: &Offsets, kernel: &Offsets) -> Result<Vec<Slot>, Error> {
    let zo = |name: &str| link.get(name).copied();
    let mut slots = Vec::new();
    let mut slot = |field, at, may_be: &[Option<u64>]| slots.push(Slot { field, at, may_be: may_be.to_vec() });
    if setup.has(0x208) {
        slot("payload_offset", offset_of("payload_offset"), &[zo("input_data")]);
        slot("payload_length", offset_of("payload_length"), &[zo("z_input_len")]);
    }
    if setup.has(0x20a) {
        slot("init_size", offset_of("init_size"), &[init_size(link, kernel)]);
    }
    // The rest is zero until build.c fills it in, which is done with every image.
    if (setup.header().setup_sects, setup.header().syssize.get()) == (0, 0) {
        return Ok(slots);
    }
    slot("syssize", offset_of("syssize"), &[zo("_edata").map(|end| end / 16)]);
    if setup.has(0x20b) {
        let entry64 = zo("efi64_stub_entry").and_then(|entry| entry.checked_sub(0x200));
        // Zero without CONFIG_EFI_HANDOVER_PROTOCOL.
        slot("handover_offset", offset_of("handover_offset"), &[Some(0), entry64, zo("efi32_stub_entry")]);
    }
    if setup.has(0x20f) {
        slot("kernel_info_offset", offset_of("kernel_info_offset"), &[zo("kernel_info")]);
    }
    let Some(pe) = Pe::parse_if_mz(setup.bytes())? else { return Ok(slots) };
    let start = setup.padded_len();
    let behind = |name: &str| zo(name).map(|at| at + start);
    let between = |from: &str, to: &str| zo(to).zip(zo(from)).and_then(|(to, from)| to.checked_sub(from));
    // Linux 7.2 has a section .sbat between code and data.
    slot("SizeOfCode", pe.place("SizeOfCode"), &[zo("_data"), zo("_sbat")]);
    slot(
        "SizeOfInitializedData",
        pe.place("SizeOfInitializedData"),
        &[between("_data", "_end"), between("_sbat", "_end")],
    );
    slot("AddressOfEntryPoint", pe.place("AddressOfEntryPoint"), &[behind("efi_pe_entry")]);
    slot("SizeOfImage", pe.place("SizeOfImage"), &[behind("_end")]);
    let (sbat, sbat_at) = ([between("_sbat", "_esbat"), between("_sbat", "_data")], [behind("_sbat")]);
    let (text, data_at) = ([zo("_sbat"), zo("_data")], [behind("_data")]);
    let (data, data_in_file) = ([between("_data", "_end")], [between("_data", "_edata")]);
    // In the order of `SECTION_PLACES`.
    let sections: [(_, [&[Option<u64>]; 4]); 3] = [
        (".text", [&text, &[], &text, &[]]),
        (".sbat", [&sbat, &sbat_at, &sbat, &sbat_at]),
        (".data", [&data, &data_at, &data_in_file, &data_at]),
    ];
    for (name, values) in sections {
        let Some(section) = pe.section(name.as_bytes()) else { continue };
        for (may_be, (field, at)) in values.into_iter().zip(SECTION_PLACES) {
            slot(section_field(name, field), section.at + at, may_be);
        }
    }
    if let Some(compat) = pe.section(b".compat") {
        // Type, size and machine take four bytes (header.S, `.pecompat`).
        slot(".compat entry point", u64::from(compat.raw_at) + 4, &[behind("efi32_pe_entry")]);
    }
    Ok(slots)
}

/// `init_size` by the symbols of the two links.
fn init_size(link: &Offsets, kernel: &Offsets) -> Option<u64> {
    let zo = |name: &str| link.get(name).copied();
    let start = zo("startup_32").unwrap_or(0);
    init_size::init_size(&MemoryOf {
        packed: zo("z_input_len")?,
        unpacked: zo("z_output_len")?,
        head: zo("_ehead")?.checked_sub(start)?,
        decompressor: zo("_end")?.checked_sub(start)?,
        kernel: kernel.get("_end")?.checked_sub(*kernel.get("_text")?)?,
    })
}
