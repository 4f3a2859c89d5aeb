//! Raspberry Pi kernel.img of 2012: boot code, ATAGs, the kernel at 32 KiB.

use super::made::{Order, flat_kernel, noise, piggy, zimage};
use super::{assert_good, fact, part};
use crate::files::dtb;
use kimage::codec::Codec;
use kimage::inspect::{Limits, open};

fn kernel_img(tags: &[u32], kernel: &[u8]) -> Vec<u8> {
    let mut image = [&0xea00_0006_u32.to_le_bytes()[..], &noise(60, 1)].concat();
    image.resize(0x100, 0);
    image.extend(tags.iter().flat_map(|word| word.to_le_bytes()));
    image.resize(0x8000, 0);
    image.extend_from_slice(kernel);
    image
}

const TAGS: [u32; 17] = [
    5,
    0x5441_0001,
    1,
    0x1000,
    0, // ATAG_CORE
    4,
    0x5441_0002,
    0x0800_0000,
    0, // ATAG_MEM: 128 MiB at 0
    5,
    0x5441_0009,
    0x746f_6f72,
    0x2f3d_0061,
    0, // ATAG_CMDLINE: "root", "a"
    0,
    0,
    0,
];

#[test]
fn a_zimage_or_a_flat_kernel_behind_boot_code() {
    let kernel = flat_kernel(30_000);
    let zimage = zimage(Order::Little, &piggy(Codec::Gzip, &kernel), &[]);
    for inner in [&zimage, &kernel] {
        let image = kernel_img(&TAGS, inner);
        assert_good("kernel.img", &image);
        assert_eq!(part(&image, "kernel"), *inner);
        assert_eq!(part(&image, "vmlinux"), kernel);
        assert_eq!((fact(&image, "atag_memory"), fact(&image, "release")), ("134217728".into(), "6.6.1".into()));
        assert_eq!(part(&image, "cmdline"), b"roota");
    }
    let mut with_tree = zimage.clone();
    with_tree.extend(dtb());
    assert_eq!(part(&kernel_img(&TAGS, &with_tree), "dtb"), dtb());
}

#[test]
fn what_is_none() {
    let kernel = noise(30_000, 4);
    let mut other = TAGS;
    other[1] = 0x5441_0002;
    let mut endless = TAGS;
    endless[14] = 1;
    for tags in [&other[..], &endless, &[]] {
        assert!(open(&kernel_img(tags, &kernel), &Limits::default()).is_err(), "{tags:x?}");
    }
    assert!(open(&kernel_img(&TAGS, b""), &Limits::default()).is_err());
}
