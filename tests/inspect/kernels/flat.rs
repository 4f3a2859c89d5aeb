//! Flat kernels, which have no header: known by their banner, wherever the compiler put it.

use super::made::{BANNER, noise, packed};
use super::{assert_good, fact, opened, part};
use kimage::codec::Codec;
use kimage::inspect::{Kind, Limits, open};

fn kernel(head: &[u8], before: u8, banner_at: usize) -> Vec<u8> {
    let mut kernel = head.to_vec();
    kernel.extend(noise(banner_at - head.len() - 1, 7));
    kernel.push(before);
    kernel.extend_from_slice(BANNER);
    kernel.extend(noise(5000, 8));
    kernel
}

#[test]
fn the_banner_of_each_age() {
    let vectors = vec![0; 0x400];
    for (what, kernel) in [
        ("behind a NUL", kernel(b"code", 0, 3001)),
        ("ARM 2.6.12: behind code", kernel(b"code", 0xe1, 3000)),
        ("XIP: behind a pointer", kernel(b"code", 0xc0, 3000)),
        ("MIPS: exception vectors of zeros", kernel(&vectors, 0, 3000)),
    ] {
        assert_eq!(opened(&kernel).layers()[0].kind, Kind::Kernel, "{what}");
        assert_eq!(fact(&kernel, "release"), "6.6.1", "{what}");
        assert_eq!(part(&kernel, "vmlinux"), kernel, "{what}");
        assert_good(what, &kernel);
        // The same out of a stream.
        assert_eq!(part(&packed(Codec::Gzip, &kernel), "vmlinux"), kernel, "{what}");
    }
}

#[test]
fn what_is_no_kernel() {
    let mut ext4 = kernel(&vec![0; 0x400], 0, 3000);
    ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    let mut tar = kernel(b"code", 0, 3000);
    tar[0x101..0x106].copy_from_slice(b"ustar");
    let disk = kernel(&vec![0; 0x2000], 0, 0x3000);
    let inside_a_text = kernel(b"code", b'x', 3001);
    let log =
        [&b"[    0.000000] "[..], &BANNER[..BANNER.len() - 1], b"[    0.000000] KERNEL supported cpus:\n"].concat();
    for bytes in [disk, inside_a_text, log] {
        assert!(open(&bytes, &Limits::default()).is_err());
    }
    for bytes in [ext4, tar] {
        assert_eq!(opened(&bytes).layers()[0].kind, Kind::Data);
    }
}

/// Up to Linux 3.0 the configuration began with other words; between the two marks it may begin with any.
#[test]
fn the_configuration_of_each_age() {
    let rest = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n";
    for head in [
        "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/arm 6.1.0 Kernel Configuration\n#\n",
        "#\n# Automatically generated make config: don't edit\n# Linux kernel version: 2.6.31\n#\n",
        "# Edited by hand.\n",
        "",
    ] {
        let config = [head, rest].concat();
        let mut kernel = kernel(b"code", 0, 3000);
        kernel.extend_from_slice(b"\0\0\0IKCFG_ST");
        kernel.extend(packed(Codec::Gzip, config.as_bytes()));
        kernel.extend_from_slice(b"IKCFG_ED\0");
        kernel.extend(noise(100, 9));
        assert_eq!(part(&kernel, "config"), config.as_bytes(), "{head}");
        assert_eq!((fact(&kernel, "options"), fact(&kernel, "modules")), ("2".into(), "1".into()), "{head}");
        assert_eq!(fact(&kernel, "config_built_in"), "yes", "{head}");
    }
}

/// The notes that stand with the build id, in either byte order.
#[test]
fn notes_are_a_part() {
    for is_big in [false, true] {
        let word = |word: u32| if is_big { word.to_be_bytes() } else { word.to_le_bytes() };
        let note = |owner: &[u8], kind, desc: &[u8]| {
            let owner_len = u32::try_from(owner.len()).unwrap();
            let mut note = [word(owner_len), word(u32::try_from(desc.len()).unwrap()), word(kind)].concat();
            for text in [owner, desc] {
                note.extend_from_slice(text);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let notes = [
            note(b"Xen\0", 6, b"linux\0"),
            note(b"Linux\0", 0x100, &word(0)),
            note(b"GNU\0", 3, &[0xab; 20]),
            note(b"Linux\0", 0x101, b"\x06\0\x01"),
        ]
        .concat();
        let mut kernel = kernel(b"code", 0, 3000);
        kernel.resize(kernel.len().next_multiple_of(4), 0x11);
        kernel.extend_from_slice(&notes);
        kernel.extend(noise(300, 5));
        assert_eq!(part(&kernel, "notes"), notes, "{is_big}");
        assert_eq!(fact(&kernel, "build_id"), "ab".repeat(20), "{is_big}");
    }
}
