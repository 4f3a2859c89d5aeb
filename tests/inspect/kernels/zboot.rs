//! EFI zboot images of every CPU and compression.

use super::made::{BANNER, piggy};
use super::{broken, part};
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
        _ => {
            put(0, b"MZ");
            put(8, &0x100_0000_u64.to_le_bytes());
            put(16, &size);
            put(24, &0x20_0000_u64.to_le_bytes());
            put(56, &0x8182_23cd_u32.to_le_bytes());
        }
    }
    image
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
