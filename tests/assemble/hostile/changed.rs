//! Changed bytes.

use super::*;

/// Values that a hostile byte is most likely to have: the ends, the signs, and one bit away.
fn telling(old: u8) -> Vec<u8> {
    vec![0, 1, 0x7f, 0x80, 0xfe, 0xff, old ^ 1, old ^ 4, old ^ 0x80, old.wrapping_add(1), old.wrapping_sub(1)]
}

/// Every byte of `range` is given every value (or the telling ones).
fn change(doors: &[Door], name: &str, input: &[u8], range: Range<usize>, all: bool) {
    let mut bytes = input.to_vec();
    for at in range {
        let old = bytes[at];
        let values = if all { (0..=255).collect() } else { telling(old) };
        for value in values.into_iter().filter(|value| *value != old) {
            bytes[at] = value;
            for door in doors {
                attempt(*door, || format!("{name} with {value:#04x} at {at:#x}"), &bytes);
            }
        }
        bytes[at] = old;
    }
}

#[test]
fn every_byte_of_x86_elf_headers() {
    let good = good();
    for (doors, name, input) in
        [(&[VMLINUX, IMAGE_FILLED][..], "vmlinux", &good.vmlinux), (&[SETUP, IMAGE], "setup.elf", &good.setup_elf)]
    {
        let [header, segments, sections, symbols] = elf_tables(input);
        change(doors, name, input, header, true);
        change(doors, name, input, segments, true);
        change(doors, name, input, sections, false);
        change(&[ZOFFSETS], name, input, symbols.start..symbols.start + 200, false);
    }
}

#[test]
fn every_byte_of_arm_elf_headers() {
    let input = &good().arm;
    let [header, segments, sections, symbols] = elf_tables(input);
    change(&[ARM, ELF, DATA], "arm-vmlinux", input, header, true);
    change(&[ARM, ELF], "arm-vmlinux", input, segments, true);
    change(&[ARM, ELF], "arm-vmlinux", input, sections, false);
    change(&[ARM], "arm-vmlinux", input, symbols.start..symbols.start + 200, false);
    // The zImage header and the size table, where the decompressor has them.
    change(&[ARM], "arm-vmlinux", input, 0x1024..0x1040, true);
    change(&[ARM], "arm-vmlinux", input, 0x11bc..0x11d8, true);
}

#[test]
fn every_byte_of_setup_and_pe_headers() {
    let good = good();
    for (name, input) in [("setup.bin", &good.setup), ("setup-5.bin", &good.setup_5), ("setup-7.bin", &good.setup_7)] {
        change(&[SETUP, SETUP_HEADER], name, input, 0x1f1..0x26c, true);
    }
    change(&[SETUP], "setup.bin", &good.setup, 0x26c..good.setup.len(), false);
    let pe = pe_setup();
    change(&[PE], "PE setup", &pe, 0..PE_END, true);
    change(&[SETUP], "PE setup", &pe, 0..PE_END, false);
    change(&[BZIMAGE], "bzImage", &good.bzimage, 0x1f1..0x26c, true);
}

#[test]
fn every_byte_of_the_other_headers() {
    let good = good();
    change(&[ZIMAGE, ARM, DATA], "zImage", &good.zimage, 0x20..0x40, true);
    change(&[ZIMAGE, ARM, DATA], "zImage", &good.zimage, 0x1bc..0x1d8, true);
    change(&[ZIMAGE, ARM], "zImage", &good.zimage, 0..good.zimage.len(), false);
    let trees = good.zimage.len()..good.zimage_dtbs.len();
    change(&[ZIMAGE, ARM, DATA_DTB], "zImage with trees", &good.zimage_dtbs, trees, true);
    change(&[UIMAGE, DATA], "uImage", &good.uimage, 0..64, true);
    change(&[UIMAGE], "multi-file uImage", &good.multi, 0..good.multi.len(), true);
    change(&[DTB, APPEND], "dtb", &good.dtb, 0..good.dtb.len(), true);
    change(&[DTB, FIT], "fit", &good.fit, 0..good.fit.len(), true);
    let mut image64 = vec![7; 200];
    image64[56..60].copy_from_slice(b"RSC\x05");
    change(&[IMAGE64, DATA], "Image", &image64, 0..64, true);
}
