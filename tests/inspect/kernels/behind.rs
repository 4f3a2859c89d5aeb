//! What stands behind an image: a layer each, named by its magic number.

use super::made::{Order, flat_kernel, noise, packed, piggy, uimage, zimage};
use super::{broken, opened, part};
use crate::files;
use kimage::codec::Codec;
use kimage::finding::Severity;
use kimage::inspect::{map, verify};

/// A squashfs of version 4 that says to have `used` bytes.
fn squashfs(used: usize) -> Vec<u8> {
    let mut fs = noise(used, 3);
    fs[..4].copy_from_slice(b"hsqs");
    fs[28..32].copy_from_slice(&[4, 0, 0, 0]);
    fs[40..48].copy_from_slice(&(used as u64).to_le_bytes());
    fs
}

/// Names and titles of the layers directly in the file.
fn layers(bytes: &[u8]) -> Vec<(String, String)> {
    let opened = opened(bytes);
    let file = opened.layers()[0].id;
    opened.children(file).map(|layer| (layer.name.clone(), layer.title.clone())).collect()
}

#[test]
fn behind_a_uimage() {
    let kernel = flat_kernel(30_000);
    let fs = squashfs(5000);
    let mut image = uimage(&packed(Codec::Lzma, &kernel), 3);
    image.resize(0x8000, 0);
    image.extend(&fs);
    image.resize(0xa000, 0xff);
    image.extend([0xde, 0xad, 0xc0, 0xde]);
    let layers = layers(&image);
    let names: Vec<_> = layers.iter().map(|(name, title)| (name.as_str(), title.as_str())).collect();
    assert_eq!(
        names,
        [
            ("data", "lzma stream"),
            ("padding", "zeros (padding)"),
            ("trailer", "squashfs file system"),
            ("padding[1]", "0xff bytes (erased flash or padding)"),
            ("trailer[1]", "OpenWrt's end mark (0xdeadc0de)"),
        ]
    );
    assert_eq!((part(&image, "vmlinux"), part(&image, "trailer")), (kernel, fs));
    assert_eq!(broken(&image, Severity::Warning), ["uimage.size"]);
    // A file system says how long it is.
    assert_eq!(broken(&image[..0x9000], Severity::Warning), ["trailer.length", "uimage.size"]);
    let unchecked = |image: &[u8]| verify::verify(&opened(image)).unchecked();
    assert_eq!(unchecked(&image[..0x9000]), ["file systems that were cut off"]);
    assert!(unchecked(&image).is_empty());
    let opened = opened(&image);
    let map = map::map(&opened);
    let spans: Vec<_> = map.bars[0].spans.iter().map(|span| &*span.name).collect();
    assert_eq!(spans, ["header", "data", "padding", "trailer", "padding[1]", "trailer[1]"]);
}

#[test]
fn behind_a_fit_and_a_tree() {
    for image in [files::fit(false), files::fit(true), files::dtb()] {
        assert!(layers(&image).iter().all(|(name, _)| name != "trailer"));
        let mut tampered = image.clone();
        tampered.extend(b"TAMPERED_DATA\n");
        assert_eq!(part(&tampered, "trailer"), b"TAMPERED_DATA\n");
        assert!(layers(&tampered).contains(&("trailer".to_owned(), "text".to_owned())));
    }
}

/// Samsung's kernels have an HMAC-SHA256 of themselves behind them, and boot: no error. A device tree that is damaged is one.
#[test]
fn behind_a_zimage() {
    let kernel = flat_kernel(30_000);
    let image = zimage(Order::Little, &piggy(Codec::Gzip, &kernel), &[]);
    let mut signed = image.clone();
    signed.extend(noise(32, 5));
    assert_eq!(broken(&signed, Severity::Error), [""; 0]);
    assert_eq!(broken(&signed, Severity::Warning), ["zimage.length"]);
    assert_eq!((part(&signed, "vmlinux"), part(&signed, "trailer")), (kernel, noise(32, 5)));
    let mut padded = image.clone();
    padded.extend([0; 544]);
    assert_eq!((broken(&padded, Severity::Error), broken(&padded, Severity::Warning)), (vec![], vec![]));
    assert!(layers(&padded).contains(&("padding".to_owned(), "zeros (padding)".to_owned())));
    let mut cut = image.clone();
    let dtb = files::dtb();
    cut.extend(&dtb[..dtb.len() - 1]);
    assert!(broken(&cut, Severity::Error).contains(&"zimage.length"));
}
