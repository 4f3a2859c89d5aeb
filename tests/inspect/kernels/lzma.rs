//! LZMA as OpenWrt packs kernels: lc=1, lp=2, pb=2 and a known size, which the usual header test does not know.

use super::made::{flat_kernel, uimage};
use super::{assert_good, broken, part};
use crate::support::{kimage, run, run_ok, stdout, tempdir};
use kimage::codec::{Codec, Literal, Parameters};
use kimage::finding::Severity;
use std::fs;

/// `lzma e -lc1 -lp2 -pb2` of the LZMA SDK, which has no end mark but the size in its header: what our encoder writes, with
/// the size put in.
fn openwrt(data: &[u8], literal: Literal) -> Vec<u8> {
    let parameters = Parameters { literal, dictionary: Some(8 << 20), ..Parameters::default() };
    let mut out = Vec::new();
    Codec::Lzma.compress(data, &parameters, &mut out).unwrap();
    out[5..13].copy_from_slice(&(data.len() as u64).to_le_bytes());
    out
}

fn of(lc: u32, lp: u32, pb: u32) -> Literal {
    Literal { lc: Some(lc), lp: Some(lp), pb: Some(pb) }
}

#[test]
fn any_properties_with_a_known_size() {
    let dir = tempdir();
    let kernel = flat_kernel(300_000);
    for (lc, lp, pb) in [(1, 2, 2), (0, 0, 0), (4, 0, 0), (0, 4, 4), (3, 0, 2)] {
        let what = format!("lc={lc} lp={lp} pb={pb}");
        let stream = openwrt(&kernel, of(lc, lp, pb));
        assert_eq!(u32::from(stream[0]), (pb * 5 + lp) * 9 + lc, "{what}");
        assert_eq!(Codec::detect(&stream), Some(Codec::Lzma), "{what}");
        let image = uimage(&stream, 3);
        assert_good(&what, &image);
        assert_eq!(part(&image, "vmlinux"), kernel, "{what}");
        assert_eq!(part(&stream, "vmlinux"), kernel, "{what}");
        fs::write(dir.path().join("k.lzma"), &stream).unwrap();
        run_ok(kimage().current_dir(dir.path()).args(["decompress", "k.lzma", "-o", "k", "-q"]));
        assert_eq!(fs::read(dir.path().join("k")).unwrap(), kernel, "{what}");
        // The other codec's number in the header is still an error.
        assert_eq!(broken(&uimage(&stream, 1), Severity::Error), ["uimage.comp"], "{what}");
    }
}

/// A size that no encoder would guess: only the uImage's header says what this is.
#[test]
fn what_a_header_calls_lzma() {
    let kernel = flat_kernel(50_000);
    let mut stream = openwrt(&kernel, of(3, 0, 2));
    // A dictionary of 5,000,000 bytes.
    stream[1..5].copy_from_slice(&5_000_000_u32.to_le_bytes());
    assert_eq!(Codec::detect(&stream), None);
    let image = uimage(&stream, 3);
    assert_good("an odd dictionary", &image);
    assert_eq!(part(&image, "vmlinux"), kernel);
}

/// Neither zeros with a few numbers in front nor a flat kernel are LZMA, whatever a header says.
#[test]
fn what_is_none() {
    let mut zeros = vec![0; 100_000];
    zeros[3] = 0x80;
    zeros[5] = 77;
    assert_eq!(Codec::detect(&zeros), None);
    assert!(!kimage::internals::fits(Codec::Lzma, &zeros));
    let kernel = flat_kernel(50_000);
    assert!(!kimage::internals::fits(Codec::Lzma, &kernel));
    assert_eq!(broken(&uimage(&kernel, 3), Severity::Error), ["uimage.comp"]);
    // A damaged stream is not called good.
    let mut stream = openwrt(&kernel, of(1, 2, 2));
    let half = stream.len() / 2;
    stream.truncate(half);
    let dir = tempdir();
    fs::write(dir.path().join("k.lzma"), &stream).unwrap();
    let output = run(kimage().current_dir(dir.path()).args(["decompress", "k.lzma", "-o", "k"]));
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
}
