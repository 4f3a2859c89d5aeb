//! An image of a setup and a payload of any kind, by the boot protocol (Documentation/arch/x86/boot.rst, protocol 2.15).

use super::each_breaks_one_rule;
use crate::{elf_builder, files};
use kimage::codec::Codec;

/// Bytes of the setup.
const SETUP: usize = 0x1000;
/// From the protected-mode code.
const INFO: usize = 0x100;
const PAYLOAD: usize = 0x200;
/// Bytes of protected-mode code.
const SYSTEM: usize = 0x3000;

const START: [u8; 5] = [0x8c, 0xd8, 0x8e, 0xc0, 0xfc];

/// A bzImage around `payload`, for a 64-bit kernel of release `6.1.0-tiny` at 0x100_0000 that takes 0x4_0000 bytes to start.
pub(super) fn image(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; SETUP + SYSTEM];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1ef, &[0xff, 0xff, (SETUP / 512 - 1) as u8, 1, 0]);
    put(0x1f4, &(SYSTEM as u32 / 16).to_le_bytes());
    put(0x1fa, &[0xff, 0xff]);
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &[0x0f, 2]);
    put(0x20c, &[0, 0x10, 0xc0, 1]); // start_sys_seg, kernel_version
    put(0x211, &[1, 0, 0x80]);
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x224, &0x1660_u16.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x230, &0x20_0000_u32.to_le_bytes());
    put(0x234, &[1, 21, 7, 0]); // relocatable, min_alignment, xloadflags: 64 bits, above 4 GiB, 32-bit handover
    put(0x238, &2047_u32.to_le_bytes());
    put(0x248, &(PAYLOAD as u32).to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    put(0x258, &0x100_0000_u64.to_le_bytes());
    put(0x260, &0x4_0000_u32.to_le_bytes());
    put(0x264, &0x10_u32.to_le_bytes()); // handover_offset
    put(0x268, &(INFO as u32).to_le_bytes());
    // start_of_setup; then `mov $0x1460,%dx; testb $0x80,loadflags; add $0x400,%dx`: the heap ends at
    // 0x1460 + 0x400 - 0x200 = 0x1660.
    put(0x26c, &START);
    put(0x271, &[0xba, 0x60, 0x14, 0xf6, 0x06, 0x11, 2, 0x80, 0x81, 0xc2, 0, 4]);
    put(0x3c0, b"6.1.0-tiny (kimage@testdata) #1\0");
    put(SETUP + INFO, b"LToP\x10\0\0\0\x10\0\0\0\x09\0\0\x80");
    put(SETUP + PAYLOAD, payload);
    file
}

/// No ELF file: whether header and kernel belong together is not looked at.
pub(super) fn flat() -> Vec<u8> {
    let kernel = [&vec![7; 3000][..], b"Linux version 6.1.0-tiny (someone) #1\n\0"].concat();
    image(&files::gzip(&kernel))
}

#[test]
fn fields_of_the_header() {
    let payload_at = (PAYLOAD as u32).to_le_bytes();
    let whole = flat();
    let len = u32::from_le_bytes(whole[0x24c..0x250].try_into().unwrap());
    each_breaks_one_rule(
        "bzImage",
        &whole,
        &[],
        &[
            ("bzimage.version", &[(0x206, &[0x10, 2])]),
            ("bzimage.jump", &[(0x201, &[0x6b])]),
            ("bzimage.constant", &[(0x228, &[1])]),
            ("bzimage.alignment", &[(0x235, &[22])]),
            ("bzimage.alignment", &[(0x258, &[0, 0x10])]),
            ("bzimage.flags", &[(0x236, &[0x47])]),
            ("bzimage.heap", &[(0x224, &[0x61])]),
            ("bzimage.handover", &[(0x264, &payload_at)]),
            ("bzimage.kernel_info", &[(0x268, &[4])]),
            ("bzimage.kernel_version", &[(0x20e, &[0xc1])]),
            // root_flags, which rdev could set.
            ("bzimage.rdev", &[(0x1f2, &[0])]),
            ("payload.codec", &[(SETUP + PAYLOAD, &[0, 0, 0])]),
            ("payload.length", &[(0x24c, &(len + 16).to_le_bytes())]),
        ],
    );
}

/// The size behind a stream of xz is that of the kernel's build (scripts/Makefile.lib, `size_append`).
#[test]
fn the_size_behind_the_stream() {
    let kernel = [&vec![7; 3000][..], b"Linux version 6.1.0-tiny (someone) #1\n\0"].concat();
    let mut payload = files::packed(Codec::Xz, &kernel);
    payload.extend((kernel.len() as u32).to_le_bytes());
    let last = SETUP + PAYLOAD + payload.len() - 1;
    each_breaks_one_rule("bzImage of xz", &image(&payload), &[], &[("payload.size", &[(last, &[1])])]);
}

#[test]
fn header_and_kernel() {
    let whole = image(&files::gzip(&files::kernel()));
    each_breaks_one_rule(
        "bzImage",
        &whole,
        &[],
        &[
            // All fields of a 32-bit kernel, whose pages are of 4 KiB.
            ("bzimage.class", &[(0x235, &[13, 0, 0]), (0x264, &[0])]),
            ("bzimage.pref_address", &[(0x258, &0x120_0000_u32.to_le_bytes())]),
            // 64 KiB beyond kernel and decompressor (0x3000) are enough until Linux 5.9; 128 KiB have been wanted since.
            ("bzimage.init_size_formula", &[(0x260, &0x2_0000_u32.to_le_bytes())]),
            ("bzimage.release", &[(0x3c0, b"6.2.0")]),
        ],
    );
}

/// A kernel of 32 bits that may be loaded anywhere needs its relocations; one that may not needs none.
#[test]
fn relocations_of_32_bits() {
    let mut elf = elf_builder::Builder::new(false, false, 3);
    elf.entry = 0x100_0000;
    let text = elf.section(".text", 1, 6, 0xc100_0000, b"Linux version 6.1.0-tiny (someone) #1\n\0");
    elf.segment(1, text..text + 1, 0x100_0000);
    let mut whole = image(&files::gzip(&elf.build()));
    whole[0x234..0x237].copy_from_slice(&[0, 13, 0]);
    whole[0x264] = 0;
    each_breaks_one_rule("bzImage of 32 bits", &whole, &[], &[("bzimage.relocs", &[(0x234, &[1])])]);
}
