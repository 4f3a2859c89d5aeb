//! S/390's bzImage and image: the kernel is found, damage is damage, and what has no kernel is not said to have one.

use super::made::{flat_kernel, noise, piggy, s390};
use super::{broken, fact, opened, part};
use kimage::codec::Codec;
use kimage::finding::Severity;

#[test]
fn what_it_says_and_what_is_in_it() {
    let kernel = flat_kernel(60_000);
    // arch/s390/boot/compressed/Makefile, Linux 7.2.
    for codec in [Codec::Gzip, Codec::Bzip2, Codec::Lz4Legacy, Codec::Lzma, Codec::Lzo, Codec::Xz, Codec::Zstd] {
        let image = s390(&piggy(codec, &kernel));
        assert!(opened(&image).layers()[0].title.starts_with("S/390 bzImage"), "{codec:?}");
        assert_eq!(fact(&image, "arch"), "S/390");
        assert_eq!(fact(&image, "kernel_version"), "6.6.1 (u@h) #1 SMP");
        assert_eq!(fact(&image, "release"), "6.6.1");
        assert_eq!(part(&image, "cmdline"), b"root=/dev/ram0 ro");
        assert_eq!(part(&image, "vmlinux"), kernel, "{codec:?}");
        assert_eq!(part(&image, "piggy"), piggy(codec, &kernel), "{codec:?}");
        super::assert_good(&format!("{codec:?}"), &image);
    }
    let image = s390(&kernel);
    assert!(opened(&image).layers()[0].title.contains("not compressed"));
    assert_eq!((fact(&image, "release"), part(&image, "vmlinux")), ("6.6.1".to_owned(), image.clone()));
}

#[test]
fn damage() {
    let payload = piggy(Codec::Gzip, &noise(80_000, 5));
    assert!(broken(&s390(&noise(40_000, 4)), Severity::Error).is_empty());
    let mut image = s390(&piggy(Codec::Gzip, &flat_kernel(90_000)));
    let middle = 0x1_1000 + 60_000;
    image[middle..middle + 64].fill(0);
    assert!(!broken(&image, Severity::Error).is_empty());
    // No kernel comes out of this one.
    assert!(opened(&s390(&payload)).layers().len() == 1);
}
