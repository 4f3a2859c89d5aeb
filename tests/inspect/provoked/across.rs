//! Layers inside of others, and one kernel held against another.

use super::{Rules, breaks, each_breaks_one_rule, x86};
use crate::{elf_builder, files};
use kimage::codec::Codec;
use kimage::inspect::verify::against;
use kimage::inspect::{Limits, open};

/// gABI, chapter 5: p_filesz is not more than p_memsz; the entry point is in a segment.
#[test]
fn elf_files() {
    each_breaks_one_rule(
        "ELF file",
        &files::kernel(),
        &[],
        &[("elf.segments", &[(104, &[1, 0])]), ("elf.entry", &[(24, &0x500_u32.to_le_bytes())])],
    );
}

#[test]
fn streams_archives_and_what_is_appended() {
    let stream = files::packed(Codec::Xz, &files::kernel());
    each_breaks_one_rule("xz", &stream, &[], &[("stream.damaged", &[(stream.len() / 2, &[0x55; 9])])]);
    let archive = files::cpio();
    let second = archive.windows(6).rposition(|window| window == b"070701").unwrap();
    each_breaks_one_rule("cpio", &archive, &[], &[("cpio.damaged", &[(second, b"x")])]);
    // The tree is cut off: the decompressor finds it, and cannot use it. That is said of the tree and of the end, too.
    let whole = [files::zimage(), files::dtb()].concat();
    let found: Rules = super::rules(&whole[..whole.len() - 8]);
    assert_eq!(super::rules(&whole), Rules::new());
    assert_eq!(found, ["layer.damaged", "zimage.length", "zimage.trailer"].into_iter().collect());
    // A device tree in the middle of what no header explains.
    breaks("data.unexplained", &files::dtb(), &[&[0x5a; 4096][..], &files::dtb(), &[0xa5; 4096]].concat());
}

/// The section that mkbootimg --gki_signing_key fills (header version 4: its length at 1580).
#[test]
fn a_signature_of_a_boot_image() {
    let mut signed = files::android(4);
    signed[1580..1584].copy_from_slice(&4096_u32.to_le_bytes());
    signed.extend([0x42; 4096]);
    breaks("android.signature", &files::android(4), &signed);
}

fn compared(image: &[u8], reference: &[u8]) -> Rules {
    let [image, reference] = [image, reference].map(|bytes| open(bytes, &Limits::default()).unwrap());
    against(&image, &reference).findings.into_iter().map(|found| found.finding.rule).collect()
}

/// A kernel of 64 bits whose text has room for `table`'s addresses.
fn movable() -> Vec<u8> {
    let mut elf = elf_builder::Builder::new(true, false, 62);
    elf.entry = 0x100_0000;
    let mut text = b"Linux version 6.1.0-tiny (someone) #1\n\0".to_vec();
    text.resize(0x100, 0);
    // Pointers into the text itself: 8 of 64 bits, 8 of 32.
    (0..8_u64).for_each(|index| text.extend((0xffff_ffff_8100_0000 + index).to_le_bytes()));
    (0..8_u32).for_each(|index| text.extend((0x8100_0000 + index).to_le_bytes()));
    text.resize(0x1000, 0);
    let index = elf.section(".text", 1, 6, 0xffff_ffff_8100_0000, &text);
    elf.segment(1, index..index + 1, 0x100_0000);
    elf.build()
}

/// As arch/x86/tools/relocs.c writes it: a zero before each list, rising addresses, the low 32 bits of each.
fn table(from: u32) -> Vec<u8> {
    let wide = (0..8).map(|index| 0x8100_0100 + 8 * index);
    let narrow = (from..8).map(|index| 0x8100_0140 + 4 * index);
    [0].into_iter().chain(wide).chain([0]).chain(narrow).flat_map(u32::to_le_bytes).collect()
}

/// Each list rises, and leads to pointers into the kernel.
#[test]
fn relocation_tables() {
    let image = |table: &[u8]| x86::image(&files::gzip(&[&movable()[..], table].concat()));
    let whole = table(0);
    // After the zero and eight words of 64 bits, and another zero: the words of 32 bits. Two change places.
    let mut unsorted = whole.clone();
    unsorted.copy_within(44..48, 40);
    unsorted[44..48].copy_from_slice(&whole[40..44]);
    breaks("relocs.sorted", &image(&whole), &image(&unsorted));
    // All of 64 bits lead to zeros.
    let mut outside = whole.clone();
    for (index, word) in outside[4..36].chunks_exact_mut(4).enumerate() {
        word.copy_from_slice(&(0x8100_0080 + 8 * index as u32).to_le_bytes());
    }
    breaks("relocs.inside", &image(&whole), &image(&outside));
}

#[test]
fn against_another_file() {
    let image = |from: u32| x86::image(&files::gzip(&[movable(), table(from)].concat()));
    let set = |rules: &[&'static str]| rules.iter().copied().collect::<Rules>();
    assert_eq!(compared(&image(0), &image(0)), set(&[]));
    assert_eq!(compared(&image(0), &image(1)), set(&["against.relocs"]));
    // vmlinux without relocations of its own.
    assert_eq!(compared(&image(0), &movable()), set(&["against.relocs_unknown"]));
    assert_eq!(compared(&files::dtb(), &movable()), set(&["against.none"]));
}
