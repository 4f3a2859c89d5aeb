//! EFI zboot images of every CPU and compression.

use super::made::{BANNER, piggy};
use super::{broken, fact, opened, part};
use crate::files;
use kimage::codec::Codec;
use kimage::finding::Severity;

/// Every name that the codec field has had (Makefile.zboot of Linux 6.1 to 7.2), and what it means.
const NAMES: [(&[u8], Codec); 8] = [
    (b"gzip", Codec::Gzip),
    (b"lz4", Codec::Lz4Legacy),
    (b"lzma", Codec::Lzma),
    (b"lzo", Codec::Lzo),
    (b"xzkern", Codec::Xz),
    (b"xz", Codec::Xz),
    (b"zstd22", Codec::Zstd),
    (b"zstd", Codec::Zstd),
];

/// An Image of arm64, RISC-V or LoongArch by its PE machine (Documentation/arch/*/booting, image headers).
fn kernel(machine: u16) -> Vec<u8> {
    let mut image = vec![0; 65536];
    image[4096..4096 + BANNER.len()].copy_from_slice(BANNER);
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let size = 65536_u64.to_le_bytes();
    match machine {
        0xaa64 => {
            put(0, &0x1400_0010_u32.to_le_bytes());
            put(16, &size);
            put(24, &10_u64.to_le_bytes());
            put(56, b"ARM\x64");
        }
        0x5064 => {
            put(0, &0x106f_u32.to_le_bytes());
            put(8, &0x20_0000_u64.to_le_bytes());
            put(16, &size);
            put(32, &2_u32.to_le_bytes());
            put(48, b"RISCV\0\0\0RSC\x05");
        }
        _ => return loongarch(Some(0x8182_23cd)),
    }
    image
}

/// A LoongArch Image, as arch/loongarch/kernel/head.S has it: without a magic number up to Linux 6.2.
fn loongarch(magic: Option<u32>) -> Vec<u8> {
    let code = [&[0; 512][..], BANNER].concat();
    let mut image =
        files::pe(&[(8, &0x20_0400_u64.to_le_bytes()), (24, &0x20_0000_u64.to_le_bytes())], &[(".text", &code)]);
    image[0x44..0x46].copy_from_slice(&0x6264_u16.to_le_bytes());
    let size = u32::try_from(image.len()).unwrap().to_le_bytes();
    image[16..20].copy_from_slice(&size);
    image[0x40 + 24 + 56..][..4].copy_from_slice(&size);
    image[56..60].copy_from_slice(&magic.unwrap_or(0).to_le_bytes());
    image
}

#[test]
fn loongarch_images() {
    for magic in [Some(0x8182_23cd), None] {
        let image = loongarch(magic);
        assert!(opened(&image).layers()[0].title.starts_with("LoongArch Image"), "{magic:x?}");
        let facts = ["text_offset", "image_size", "kernel_entry", "release"].map(|name| fact(&image, name));
        assert_eq!(facts, ["0x200000", "2048", "0x200400", "6.6.1"].map(str::to_owned), "{magic:x?}");
        assert_eq!(part(&image, "vmlinux"), image, "{magic:x?}");
        let is_image = |rule: &&str| rule.starts_with("image.") || *rule == "pe.kernel_magic";
        assert_eq!(broken(&image, Severity::Error).into_iter().find(is_image), None, "{magic:x?}");
        // An entry that is not in it, and a reserved word.
        for at in [10, 44] {
            let mut image = image.clone();
            image[at] ^= 0x40;
            assert!(broken(&image, Severity::Error).contains(&"image.constant"), "{magic:x?}");
        }
    }
    // Without PE header the kernel has a word of its own.
    let mut plain = loongarch(None);
    plain[..2].fill(0);
    plain[56..64].copy_from_slice(b"LA64\0\0\0\0");
    assert!(opened(&plain).layers()[0].title.starts_with("LoongArch Image"));
    // A size that disagrees, where nothing else tells: another EFI application.
    let mut other = loongarch(None);
    other[17] ^= 1;
    assert!(!opened(&other).layers()[0].title.contains("Image"));
}

#[test]
fn every_name_of_every_codec() {
    for machine in [0xaa64_u16, 0x5064, 0x6264] {
        let kernel = kernel(machine);
        for (name, codec) in NAMES {
            let payload = piggy(codec, &kernel);
            // The header does not count the size behind the stream, which gzip has inside.
            let len = payload.len() - if codec == Codec::Gzip { 0 } else { 4 };
            let mut image = files::pe(
                &[
                    (4, b"zimg"),
                    (8, &0x400_u32.to_le_bytes()),
                    (12, &u32::try_from(len).unwrap().to_le_bytes()),
                    (0x18, name),
                ],
                &[(".gzdata", &payload), (".text", b"the decompressor")],
            );
            let pe = u32::from_le_bytes(image[0x3c..0x40].try_into().unwrap()) as usize;
            image[pe + 4..pe + 6].copy_from_slice(&machine.to_le_bytes());
            let what = format!("{machine:x} {}", String::from_utf8_lossy(name));
            // Of the PE file around it the tests know no more than its name.
            let broken = broken(&image, Severity::Error);
            assert!(broken.iter().all(|rule| rule.starts_with("pe.")), "{what}: {broken:?}");
            assert_eq!(part(&image, "vmlinux"), kernel, "{what}");
        }
    }
}
