//! PE headers by the PE Format specification; a kernel's as arch/x86/boot/header.S writes them (Linux 6.7 on).

use super::{breaks, each_breaks_one_rule, x86};
use crate::files;

const CODE: u32 = 0x6000_0020;
const DATA: u32 = 0xc000_0040;
const ALIGNMENT: u32 = 0x200;
/// Where the tests put the header, and fields from there.
const AT: usize = 0x40;
const OPTIONAL: usize = AT + 24;
const SECTIONS: usize = OPTIONAL + 112 + 6 * 8;

/// Puts an EFI header of x86-64 into the first bytes of a file whose code begins at `code` and whose data begin at `data`.
fn with_pe(mut file: Vec<u8>, code: usize, data: usize) -> Vec<u8> {
    let len = file.len();
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[AT as u8]);
    put(AT, b"PE\0\0\x64\x86\x02\0");
    put(AT + 20, &[160, 0, 6, 2]);
    put(OPTIONAL, &[0x0b, 2, 2, 0x14]);
    let words = [(4, data - code), (8, len - data), (16, code), (20, code), (56, len), (60, code), (108, 6)];
    for (at, value) in words {
        put(OPTIONAL + at, &(value as u32).to_le_bytes());
    }
    put(OPTIONAL + 32, &ALIGNMENT.to_le_bytes());
    put(OPTIONAL + 36, &ALIGNMENT.to_le_bytes());
    put(OPTIONAL + 44, &[3]);
    put(OPTIONAL + 68, &[10]);
    put(OPTIONAL + 70, &[0, 1]);
    for (index, (name, from, to, flags)) in
        [(b".text", code, data, CODE), (b".data", data, len, DATA)].iter().enumerate()
    {
        let at = SECTIONS + 40 * index;
        put(at, *name);
        for (index, word) in [to - from, *from, to - from, *from].into_iter().enumerate() {
            put(at + 8 + 4 * index, &(word as u32).to_le_bytes());
        }
        put(at + 36, &flags.to_le_bytes());
    }
    file
}

fn application() -> Vec<u8> {
    with_pe(vec![0; 0x800], 0x400, 0x600)
}

#[test]
fn headers_of_efi_programs() {
    each_breaks_one_rule(
        "EFI application",
        &application(),
        &[],
        &[
            // .data inside of .text, in the file; then in memory.
            ("pe.sections", &[(SECTIONS + 40 + 20, &0x400_u32.to_le_bytes())]),
            ("pe.sections", &[(SECTIONS + 40 + 12, &0x400_u32.to_le_bytes()), (OPTIONAL + 56, &[0, 6])]),
            ("pe.alignment", &[(OPTIONAL + 36, &0x300_u32.to_le_bytes())]),
            ("pe.sizes", &[(OPTIONAL + 56, &0x600_u32.to_le_bytes())]),
            ("pe.entry", &[(OPTIONAL + 16, &0x600_u32.to_le_bytes())]),
            ("pe.subsystem", &[(OPTIONAL + 68, &[3])]),
            ("pe.checksum", &[(OPTIONAL + 64, &[1])]),
            ("pe.nx", &[(SECTIONS + 36, &(CODE | 0x8000_0000).to_le_bytes())]),
        ],
    );
    // A certificate of 8 bytes behind its own header, of another revision than 2.0.
    let mut signed = application();
    let end = signed.len();
    signed.extend(b"\x10\0\0\0\0\x02\x02\0PKCS #7!");
    signed[OPTIONAL + 144..][..4].copy_from_slice(&(end as u32).to_le_bytes());
    signed[OPTIONAL + 148] = 0x10;
    let expected = ["pe.no_digest", "pe.signature"];
    each_breaks_one_rule(
        "signed application",
        &signed,
        &expected,
        &[("pe.certificates", &[(end + 5, &[1])]), ("pe.certificates", &[(OPTIONAL + 148, &[8])])],
    );
    breaks("pe.kernel_magic", &files::zboot(), &{
        let mut lost = files::zboot();
        lost[4] = 0;
        lost
    });
}

#[test]
fn the_efi_side_of_a_bzimage() {
    let whole = with_pe(x86::flat(), 0x1000, 0x3000);
    each_breaks_one_rule(
        "bzImage with an EFI stub",
        &whole,
        &[],
        &[
            ("pe.header", &[(0, b"mz")]),
            ("pe.damaged", &[(OPTIONAL, &[0x0c])]),
            ("pe.constant", &[(AT + 8, &[1])]),
            ("pe.constant", &[(SECTIONS, b".Text")]),
            // .data 0x200 bytes shorter, and all that follows from it.
            (
                "bzimage.pe_layout",
                &[
                    (SECTIONS + 48, &0xe00_u32.to_le_bytes()),
                    (SECTIONS + 56, &0xe00_u32.to_le_bytes()),
                    (OPTIONAL + 8, &0xe00_u32.to_le_bytes()),
                    (OPTIONAL + 56, &0x3e00_u32.to_le_bytes()),
                ],
            ),
        ],
    );
}
