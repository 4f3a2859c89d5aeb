//! Vendors' containers around kernels: tables of device trees, MediaTek's, Broadcom's and TP-Link's headers, Chrome OS's
//! partition. They are written here field by field, after each format's own description.
#![cfg(feature = "cli")]

use crate::support::{self, kimage, run, run_ok, stderr, stdout, tempdir};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A flat kernel of our own, and the same packed by gzip.
fn kernel() -> (Vec<u8>, Vec<u8>) {
    let mut kernel = vec![0x5a; 20_000];
    kernel[0] = 0xea;
    let banner = b"\0Linux version 6.6.1 (u@h) (gcc 12) #1 SMP Mon Jan 1 00:00:00 UTC 2024\n\0";
    kernel[512..512 + banner.len()].copy_from_slice(banner);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, &kernel).unwrap();
    (kernel, packed.finish().unwrap())
}

/// The smallest device tree: a root with `compatible`.
fn tree(compatible: &str) -> Vec<u8> {
    let mut structure = Vec::new();
    let mut value = compatible.as_bytes().to_vec();
    value.push(0);
    let len = u32::try_from(value.len()).unwrap();
    value.resize(value.len().next_multiple_of(4), 0);
    for word in [1, 0, 3, len, 0] {
        structure.extend(u32::to_be_bytes(word));
    }
    structure.extend(value);
    structure.extend([2_u32, 9].map(u32::to_be_bytes).concat());
    let strings = b"compatible\0";
    let (at, size) = (56, u32::try_from(structure.len()).unwrap());
    let total = at + size + 11;
    let header = [0xd00d_feed, total, at, at + size, 40, 17, 16, 0, 11, size];
    let mut tree = header.map(u32::to_be_bytes).concat();
    tree.resize(56, 0);
    [tree, structure, strings.to_vec()].concat()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn padded(bytes: &[u8], to: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(to), 0);
    bytes
}

fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn verify(path: &Path) -> Output {
    run(kimage().arg("verify").arg(path))
}

#[track_caller]
fn good(path: &Path) {
    let output = verify(path);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(!stdout(&output).contains("error"), "{}", stdout(&output));
}

#[track_caller]
fn part(path: &Path, name: &str) -> Vec<u8> {
    run_ok(kimage().arg("extract").arg(path).arg(name)).stdout
}

fn title(path: &Path) -> String {
    stdout(&run(kimage().arg("info").arg(path))).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn tables_of_device_trees() {
    let dir = tempdir();
    let (one, two) = (tree("acme,one"), tree("acme,two-of-them"));
    let (a, b) = (padded(&one, 2048), padded(&two, 2048));
    for (name, magic, version, ids, tail) in [
        ("qcdt1", *b"QCDT", 1_u32, 3_usize, 0_usize),
        ("qcdt2", *b"QCDT", 2, 4, 0),
        ("qcdt3", *b"QCDT", 3, 8, 0),
        ("dtbh", *b"DTBH", 2, 5, 1),
    ] {
        // Three boards, two trees.
        let entry = |id: u32, at: u32, tree: &[u8]| {
            let mut entry: Vec<u32> = (0..u32::try_from(ids).unwrap()).map(|index| id + index).collect();
            entry.extend([at, size(tree)]);
            entry.extend(vec![0x20; tail]);
            words(&entry)
        };
        let mut table = [magic.to_vec(), words(&[version, 3])].concat();
        table.extend(entry(126, 2048, &a));
        table.extend(entry(130, 2048, &a));
        table.extend(entry(195, 4096, &b));
        let image = [padded(&table, 2048), a.clone(), b.clone()].concat();
        let path = write(dir.path(), name, &image);
        assert!(title(&path).contains(std::str::from_utf8(&magic).unwrap()), "{}", title(&path));
        good(&path);
        assert_eq!(part(&path, "dtb[0]"), one, "{name}");
        assert_eq!(part(&path, "dtb[1]"), two, "{name}");
        assert_eq!(run(kimage().arg("extract").arg(&path).arg("dtb[2]")).status.code(), Some(1));
        // Cut off in the second tree: an error, never silence.
        let cut = write(dir.path(), "cut", &image[..4096 + 40]);
        assert_eq!(verify(&cut).status.code(), Some(1));
    }
}

/// AOSP's table by its documentation (source.android.com, "DTB and DTBO partitions"): `struct dt_table_header` and
/// `struct dt_table_entry`, all big-endian.
#[test]
fn tables_of_aosp() {
    let dir = tempdir();
    let (one, two) = (tree("acme,one"), tree("acme,two-of-them"));
    for version in [0_u32, 1, 2] {
        let start = 32 + 3 * 32;
        let second = start + size(&one);
        let mut words = vec![0xd7b7_ab1e_u32, second + size(&two), 32, 32, 3, 32, 2048, version];
        for (tree, at, id) in [(&one, start, 0x10), (&one, start, 0x11), (&two, second, 0x20)] {
            words.extend([size(tree), at, id, 7, 0, 0, 0, 0]);
        }
        let image = [words.into_iter().flat_map(u32::to_be_bytes).collect(), one.clone(), two.clone()].concat();
        let path = write(dir.path(), "dtbo.img", &image);
        if version == 2 {
            assert_eq!(verify(&path).status.code(), Some(1));
            continue;
        }
        assert!(title(&path).contains("Android DTBO version"), "{}", title(&path));
        good(&path);
        assert_eq!((part(&path, "dtb[0]"), part(&path, "dtb[1]")), (one.clone(), two.clone()));
        let facts = stdout(&run_ok(kimage().arg("info").arg(&path)));
        assert!(facts.contains("id 0x11") || facts.contains("0x11"), "{facts}");
        let cut = write(dir.path(), "cut", &image[..image.len() - 3]);
        assert_eq!(verify(&cut).status.code(), Some(1));
        assert!(stdout(&verify(&cut)).contains("total_size"), "{}", stdout(&verify(&cut)));
    }
}

fn mtk(name: &[u8], contents: &[u8]) -> Vec<u8> {
    let mut image = [words(&[0x5888_1688, size(contents)]), name.to_vec()].concat();
    image.resize(40, 0);
    image.resize(512, 0xff);
    [image, contents.to_vec()].concat()
}

#[test]
fn mediatek_headers_inside_a_boot_image() {
    let dir = tempdir();
    let (kernel, packed) = kernel();
    let archive = b"07070100000001000081a4000000000000000000000001000000000000000000000000000000000000000000000000\
                    0000000b00000000TRAILER!!!\0\0\0\0";
    let alone = write(dir.path(), "alone", &mtk(b"KERNEL", &packed));
    assert!(title(&alone).contains("MediaTek"), "{}", title(&alone));
    good(&alone);
    assert_eq!(part(&alone, "vmlinux"), kernel);
    assert_eq!(part(&alone, "kernel"), packed);
    let Some(mkbootimg) = support::tool("mkbootimg", "mkbootimg") else { return };
    let ramdisk = write(dir.path(), "ramdisk", &mtk(b"ROOTFS", archive));
    let boot = dir.path().join("boot.img");
    run_ok(
        std::process::Command::new(mkbootimg)
            .arg("--kernel")
            .arg(&alone)
            .arg("--ramdisk")
            .arg(ramdisk)
            .args(["--pagesize", "2048", "-o"])
            .arg(&boot),
    );
    good(&boot);
    assert_eq!(part(&boot, "vmlinux"), kernel);
    // A size beyond the file.
    let mut cut = mtk(b"KERNEL", &packed);
    cut.truncate(600);
    assert_eq!(verify(&write(dir.path(), "cut", &cut)).status.code(), Some(1));
}

/// The CRC-32 of a TRX is not inverted at its end; bit by bit here, so that no code is shared.
fn crc_of_trx(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn broadcoms_trx() {
    let dir = tempdir();
    let (kernel, packed) = kernel();
    let squashfs = [b"hsqs".to_vec(), vec![7; 300]].concat();
    for (version, count) in [(1_u16, 3_usize), (2, 4)] {
        let header = 16 + 4 * count;
        let mut offsets = vec![header, header + packed.len()];
        offsets.resize(count, 0);
        let total = header + packed.len() + squashfs.len();
        let mut body = [vec![0, 0], version.to_le_bytes().to_vec()].concat();
        body.extend(offsets.iter().flat_map(|at| u32::try_from(*at).unwrap().to_le_bytes()));
        body.extend([packed.clone(), squashfs.clone()].concat());
        let head = [b"HDR0".to_vec(), words(&[u32::try_from(total).unwrap(), crc_of_trx(&body)])].concat();
        let image = [head, body].concat();
        let path = write(dir.path(), "trx", &image);
        assert!(title(&path).contains("TRX"), "{}", title(&path));
        good(&path);
        assert_eq!(part(&path, "vmlinux"), kernel);
        assert_eq!(part(&path, "image[1]"), squashfs);
        let mut damaged = image.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let output = verify(&write(dir.path(), "damaged", &damaged));
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).contains("[trx.crc32]"), "{}", stdout(&output));
    }
}

#[test]
fn tp_links_header() {
    let dir = tempdir();
    let (kernel, packed) = kernel();
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(&[1, 0, 0, 0]);
    header[4..11].copy_from_slice(b"OpenWrt");
    header[0x1c..0x22].copy_from_slice(b"r45230");
    for (at, value) in [(0x74, 0x8006_0000), (0x78, 0x8006_0000), (0x80, 512), (0x84, size(&packed))] {
        header[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
    }
    let image = [header, packed, b"hsqs".to_vec(), vec![7; 300]].concat();
    let path = write(dir.path(), "tplink", &image);
    assert!(title(&path).contains("TP-Link"), "{}", title(&path));
    good(&path);
    assert_eq!(part(&path, "vmlinux"), kernel);
    assert_eq!(part(&path, "trailer").len(), 304);
    assert!(stdout(&verify(&path)).contains("[tplink.md5sum]"));
}

/// The parts of a partition, laid out as futility does: key block and preamble of 32 KiB each, kernel, command line,
/// parameters, boot loader stub, setup.
fn partition(system: &[u8], setup: &[u8]) -> Vec<u8> {
    let load = 0x10_0000_u64;
    let kernel = padded(system, 4096);
    let mut cmdline = b"console=tty0 root=/dev/dm-0\0".to_vec();
    cmdline.resize(4096, 0);
    let stub_at = kernel.len() + 8192;
    let body = [kernel, cmdline, vec![0; 4096], vec![0x90; 4096], setup.to_vec()].concat();
    let mut head = vec![0; 65536];
    head[..8].copy_from_slice(b"CHROMEOS");
    let mut set = |at: usize, value: u64| head[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let preamble = 32768;
    set(16, 32768);
    set(preamble, 32768);
    set(preamble + 40, 7);
    set(preamble + 48, load);
    set(preamble + 56, load + u64::try_from(stub_at).unwrap());
    set(preamble + 64, 4096);
    set(preamble + 88, u64::try_from(body.len()).unwrap());
    set(preamble + 96, load + u64::try_from(stub_at + 4096).unwrap());
    set(preamble + 104, u64::try_from(setup.len()).unwrap());
    [head, body, vec![0; 1000]].concat()
}

#[test]
fn a_kernel_partition_of_chrome_os() {
    let dir = tempdir();
    let damaged = write(dir.path(), "zeros", &[b"CHROMEOS".to_vec(), vec![0; 70_000]].concat());
    assert_eq!(verify(&damaged).status.code(), Some(1));
    assert!(title(&damaged).contains("Chrome OS"), "{}", title(&damaged));
    let mut images: Vec<PathBuf> = support::x86_trees().iter().map(|tree| tree.path("arch/x86/boot/bzImage")).collect();
    let own = dir.path().join("bzImage");
    run_ok(kimage().args(["bzimage", "-q"]).arg(support::testdata("tiny").join("kernel")).arg("-o").arg(&own));
    images.push(own);
    for image in images {
        let bytes = fs::read(&image).unwrap();
        let setup = (usize::from(bytes[0x1f1]) + 1) * 512;
        let path = write(dir.path(), "kpart", &partition(&bytes[setup..], &bytes[..setup]));
        assert!(title(&path).contains("Chrome OS"), "{}", title(&path));
        good(&path);
        assert_eq!(part(&path, "vmlinux"), part(&image, "vmlinux"), "{}", image.display());
        assert_eq!(part(&path, "setup"), &bytes[..setup]);
        assert_eq!(part(&path, "cmdline"), b"console=tty0 root=/dev/dm-0");
        let verdict = stdout(&verify(&path));
        assert!(
            verdict.contains("good but for signatures of the Chrome OS partition, which were NOT checked"),
            "{verdict}"
        );
        assert!(verdict.contains("[chromeos.signature]"), "{verdict}");
        // One byte of the key block's size: an error.
        let mut damaged = fs::read(&path).unwrap();
        damaged[23] = 1;
        assert_eq!(verify(&write(dir.path(), "damaged", &damaged)).status.code(), Some(1));
    }
}
