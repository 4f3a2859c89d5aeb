//! Initial RAM disks as the kernel unpacks them: one segment after the other, compressed or not (init/initramfs.c). The
//! segments are made by the commands that distributions use, where they are installed.

use crate::files;
use crate::support::{assert_same, kimage, run, run_ok, stdout, tempdir};
use kimage::codec::Codec;
use std::fs;
use std::path::Path;

/// A cpio archive in whole blocks, as cpio writes it.
fn archive() -> Vec<u8> {
    let mut archive = files::cpio();
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

fn segments() -> Vec<Vec<u8>> {
    let packed = |codec| files::packed(codec, &archive());
    let mut all = vec![archive()];
    // lz4's legacy format has no end but that of the file or zeros: it comes last.
    for codec in [Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Lzma, Codec::Bzip2, Codec::Lz4Legacy] {
        // The kernel's own size behind a stream is none of a RAM disk's.
        let stream = packed(codec);
        let mut out = Vec::new();
        let inflated = kimage::internals::decompress_one(codec, &stream, 1 << 20, &mut out).unwrap();
        all.push(stream[..usize::try_from(inflated.consumed).unwrap()].to_vec());
    }
    all
}

fn extract(path: &Path, part: &str) -> Vec<u8> {
    run_ok(kimage().arg("extract").arg(path).arg(part)).stdout
}

fn verify(path: &Path) -> (Option<i32>, String) {
    let output = run(kimage().arg("verify").arg(path));
    (output.status.code(), stdout(&output))
}

fn aligned(bytes: &[u8], to: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(to), 0);
    bytes
}

/// The kernel passes over zeros in front (`unpack_to_rootfs`; tests/boot/initrd.rs has it boot them): they are no damage, and
/// what stands behind them is looked at, in containers too.
#[test]
fn zeros_in_front() {
    let dir = tempdir();
    let path = dir.path().join("initrd");
    for (zeros, segment) in segments().into_iter().flat_map(|segment| [(512, segment.clone()), (8, segment)]) {
        let chain = [vec![0; zeros], segment.clone(), vec![0; 512]].concat();
        fs::write(&path, &chain).unwrap();
        assert_eq!(verify(&path).0, Some(0), "{}", verify(&path).1);
        assert_same("the whole", &extract(&path, "initramfs"), &chain);
        let part = extract(&path, "initramfs[0]");
        assert_same("the segment", &part[..segment.len()], &segment);
        assert!(part[segment.len()..].iter().all(|byte| *byte == 0));
        fs::write(&path, files::uimage(3, &[&chain])).unwrap();
        let (status, text) = verify(&path);
        assert_eq!(status, Some(0), "{text}");
        assert!(!text.contains("in 2 layers"), "{text}");
    }
    // An archive has to stand at a multiple of 4 there, too; and behind zeros alone, or text, there is none.
    fs::write(&path, [vec![0; 5], archive()].concat()).unwrap();
    assert!(verify(&path).1.contains("[initramfs.junk]"));
    for rest in [&b""[..], b"text", &files::gzip(b"text")] {
        fs::write(&path, [&[0; 512][..], rest].concat()).unwrap();
        assert_eq!(verify(&path).0, Some(1));
    }
}

#[test]
fn every_segment_is_a_part() {
    let dir = tempdir();
    let path = dir.path().join("initrd");
    let segments = segments();
    for padding in [1, 4, 512] {
        let chain: Vec<u8> = segments.iter().flat_map(|segment| aligned(segment, padding)).collect();
        // With all of them twice, each kind follows each other kind that way round.
        let between = vec![0; 4 + chain.len().next_multiple_of(4) - chain.len()];
        let chain = [chain.clone(), between, chain].concat();
        fs::write(&path, &chain).unwrap();
        assert_same("the whole", &extract(&path, "initramfs"), &chain);
        for (index, segment) in segments.iter().chain(&segments).enumerate() {
            assert_same(&format!("{index}"), &extract(&path, &format!("initramfs[{index}]")), segment);
        }
        let (code, text) = verify(&path);
        assert!(code == Some(0) && !text.contains("warning"), "{text}");
    }
    // One alone is the whole, and the first.
    for segment in &segments {
        fs::write(&path, segment).unwrap();
        assert_same("alone", &extract(&path, "initramfs"), segment);
        assert_same("alone", &extract(&path, "initramfs[0]"), segment);
        let list = stdout(&run_ok(kimage().arg("extract").arg(&path)));
        assert!(list.lines().all(|line| line.starts_with("initramfs ")), "{list}");
    }
}

#[test]
fn in_containers() {
    let dir = tempdir();
    let path = dir.path().join("file");
    let segments = segments();
    let chain = segments.concat();
    for (name, file) in [
        ("uki", files::pe(&[], &[(".linux", b"kernel"), (".initrd", &chain)])),
        ("uimage", files::uimage(kimage::internals::kind::RAMDISK, &[&chain])),
    ] {
        fs::write(&path, file).unwrap();
        assert_same(name, &extract(&path, "initramfs"), &chain);
        for (index, segment) in segments.iter().enumerate() {
            assert_same(name, &extract(&path, &format!("initramfs[{index}]")), segment);
        }
    }
}

#[test]
fn junk_is_found() {
    let dir = tempdir();
    let path = dir.path().join("initrd");
    let [plain, gzip] = [archive(), files::gzip(&archive())];
    let check = |what: &str, bytes: &[u8], wanted: bool| {
        fs::write(&path, bytes).unwrap();
        let (code, text) = verify(&path);
        assert!(code == Some(0) && text.contains("[initramfs.junk]") == wanted, "{what}: {text}");
    };
    check("zeros", &[&plain[..], &[0; 999]].concat(), false);
    check("zeros behind gzip", &[&gzip[..], &[0; 999]].concat(), false);
    check("text", &[&plain[..], b"text"].concat(), true);
    check("text behind gzip", &[&gzip[..], b"text"].concat(), true);
    check("erased flash", &[&gzip[..], &[0xff; 512]].concat(), true);
    // An archive is looked for at multiples of 4; a stream anywhere behind a stream (tests/boot/initrd.rs: a real kernel).
    check("at an odd place", &[&plain[..], &[0; 3], &plain].concat(), true);
    check("a stream at an odd place", &[&plain[..], &[0; 3], &gzip].concat(), true);
    check("a stream at an odd place behind a stream", &[&gzip[..], &[0; 3], &gzip].concat(), false);
    check("no archive inside", &[&plain[..], &files::gzip(b"just text")].concat(), true);
    check("newer lz4", &[&plain[..], &files::packed(Codec::Lz4Frame, &plain)].concat(), true);
    check("newer lz4 alone", &files::packed(Codec::Lz4Frame, &plain), true);
    check("compressed twice", &files::gzip(&[&plain[..], &gzip].concat()), true);
    // Damage stays an error.
    let mut cut = [&plain[..], &gzip].concat();
    cut.truncate(cut.len() - 9);
    fs::write(&path, &cut).unwrap();
    assert_eq!(verify(&path).0, Some(1));
    let mut cut = [&gzip[..], &plain].concat();
    cut.truncate(gzip.len() + 150);
    fs::write(&path, &cut).unwrap();
    assert_eq!(verify(&path).0, Some(1));
}
