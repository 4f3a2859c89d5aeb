//! Images in the middle of data that no header explains: their headers decide, and they are taken apart like any other. And what
//! vendors have in the place of a uImage's name.

use crate::files;
use crate::support::{assert_same, kimage, run, run_ok, stderr, stdout, tempdir};
use kimage::inspect::{Limits, Opened, map::map, open, verify::verify};
use kimage::internals::kind;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn extract(path: &Path, part: &str) -> Vec<u8> {
    run_ok(kimage().arg("extract").arg(path).arg(part)).stdout
}

fn layers(path: &Path) -> Vec<(String, String, u64)> {
    let json: Value = serde_json::from_slice(&run_ok(kimage().args(["info", "--json"]).arg(path)).stdout).unwrap();
    let text = |layer: &Value, name: &str| layer[name].as_str().unwrap().to_owned();
    let layers = json["files"][0]["layers"].as_array().unwrap().iter().filter(|layer| layer.get("in").is_none());
    layers.map(|layer| (text(layer, "path"), text(layer, "format"), layer["offset"].as_u64().unwrap())).collect()
}

/// A flat kernel as a vendor's boot loader has it: code, banner, NUL.
fn flat() -> Vec<u8> {
    let mut kernel = vec![0x5a; 9000];
    kernel[0] = 0xea;
    let banner = b"\0Linux version 6.6.1 (u@h) (gcc 12) #1 SMP Mon Jan 1 00:00:00 UTC 2024\n\0";
    kernel[512..512 + banner.len()].copy_from_slice(banner);
    kernel
}

/// Bytes that are nothing.
fn junk(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b9) ^ 0x55aa_1234).to_le_bytes()).take(len).collect()
}

/// The pieces one behind the other, and where each begins.
fn dump(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
    let starts = pieces.iter().scan(0, |at, piece| {
        let start = *at;
        *at += piece.len() as u64;
        Some(start)
    });
    (pieces.concat(), starts.collect())
}

#[test]
fn a_dump_of_flash() {
    let dir = tempdir();
    let image = files::uimage(kind::KERNEL, &[&files::gzip(&flat())]);
    let (tree, fit, external) = (files::dtb(), files::fit(false), files::fit(true));
    let (erased, zeros, code) = (vec![0xff; 4096], vec![0; 333], junk(5001));
    let decoy = [&0xd00d_feed_u32.to_be_bytes()[..], &0x2705_1956_u32.to_be_bytes(), &junk(200)].concat();
    let pieces = [&code[..], &image, &erased, &tree, &decoy, &fit, &zeros, &external, &code];
    let (bytes, at) = dump(&pieces);
    let path = write(dir.path(), "dump", &bytes);
    let found = layers(&path);
    let top: Vec<(&str, &str, u64)> = found
        .iter()
        .filter(|(path, ..)| path.matches('/').count() == 1)
        .map(|(path, format, at)| (path.as_str(), format.as_str(), *at))
        .collect();
    let want = [
        ("file/image[0]", "uimage", at[1]),
        ("file/dtb[0]", "dtb", at[3]),
        ("file/image[1]", "fit", at[5]),
        ("file/image[2]", "fit", at[7]),
    ];
    assert_eq!(top, want);
    assert!(stdout(&run_ok(kimage().arg("info").arg(&path))).contains("with 4 images in it"));
    assert_same("kernel", &extract(&path, "vmlinux"), &flat());
    assert_same("tree", &extract(&path, "dtb"), &tree);
    for (part, want) in [("image[0]", &image), ("image[1]", &fit)] {
        assert_same(part, &extract(&path, part), want);
    }
    // A uImage alone is the same as in the dump.
    let alone = write(dir.path(), "alone", &image);
    assert_same("payload", &extract(&path, "payload"), &extract(&alone, "payload"));
    let verdict = run(kimage().arg("verify").arg(&path));
    let text = stdout(&verdict);
    assert!(text.contains("data that no header explains") && text.contains("NOT checked"), "{text}");
    // What the file itself is nobody knows, however good the images in it are: that is not "good".
    let good = [&b"of an unknown vendor"[..], &image, b"and its end"].concat();
    let verdict = run(kimage().arg("verify").arg(write(dir.path(), "unknown", &good)));
    let words = stdout(&verdict);
    assert_eq!(verdict.status.code(), Some(1), "{words}");
    assert!(words.contains(": not known: no header tells what the file is: "), "{words}");
    // What is wrong inside is an error there.
    let mut damaged = bytes.clone();
    let middle = usize::try_from(at[1]).unwrap() + 64 + 30;
    damaged[middle] ^= 0x40;
    let verdict = run(kimage().arg("verify").arg(write(dir.path(), "damaged", &damaged)));
    assert_eq!(verdict.status.code(), Some(1));
    assert!(stdout(&verdict).contains("[uimage.dcrc]"), "{}", stdout(&verdict));
    // Packed as a whole, it is found all the same.
    let packed = write(dir.path(), "dump.gz", &files::gzip(&bytes));
    assert_same("kernel in gzip", &extract(&packed, "vmlinux"), &flat());
    // Every byte is accounted for.
    let opened = open(&bytes, &Limits::default()).unwrap();
    let regions = &opened.layers()[0].regions;
    assert_eq!(regions.iter().map(|region| region.at.end - region.at.start).sum::<u64>(), bytes.len() as u64);
    let _ = map(&opened);
}

#[test]
fn each_alone_and_none() {
    let dir = tempdir();
    let front = junk(777);
    for (name, image) in [
        ("uimage", files::uimage(kind::KERNEL, &[&files::gzip(&flat())])),
        ("multi", files::uimage(kind::MULTI, &[&files::gzip(&flat()), &files::dtb()])),
        ("dtb", files::dtb()),
        ("fit", files::fit(false)),
    ] {
        let (bytes, _) = dump(&[&front, &image, &front]);
        let path = write(dir.path(), name, &bytes);
        assert!(layers(&path).iter().any(|(_, _, at)| *at == 777), "{name}: {:?}", layers(&path));
        // One byte of the header, or of the structure, and it is none.
        let mut broken = bytes;
        let at = 8;
        broken[777 + at] ^= 0x80;
        let path = write(dir.path(), "broken", &broken);
        if name == "multi" || name == "fit" {
            // The tree in it is found for itself.
            assert!(layers(&path).iter().all(|(_, _, at)| *at != 777), "{name}: {:?}", layers(&path));
            continue;
        }
        let output = run(kimage().arg("info").arg(path));
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains("no header"), "{name}: {}", stderr(&output));
    }
    // A tree whose structure does not hold, with a header that does.
    let mut tree = files::dtb();
    let structure = usize::try_from(u32::from_be_bytes(tree[8..12].try_into().unwrap())).unwrap();
    tree[structure] = 7;
    let output = run(kimage().arg("info").arg(write(dir.path(), "structure", &[front.clone(), tree].concat())));
    assert_eq!(output.status.code(), Some(1));
    // A whole header and half of the data: cut off, and said so.
    let image = files::uimage(kind::KERNEL, &[&files::gzip(&flat())]);
    let cut = write(dir.path(), "cut", &[&front[..], &image[..image.len() / 2]].concat());
    let verdict = run(kimage().arg("verify").arg(&cut));
    assert_eq!(verdict.status.code(), Some(1));
    assert!(stdout(&verdict).contains("ih_size"), "{}", stdout(&verdict));
}

/// The banner of a kernel that is not compressed: in an image it is that of the image; a kernel with a tree built in is a kernel.
#[test]
fn a_kernel_as_it_is() {
    let dir = tempdir();
    let mut image = files::uimage(kind::KERNEL, &[&flat()]);
    image[31] = 0;
    let header = [&image[..4], &[0; 4], &image[8..64]].concat();
    let crc = crc32fast::hash(&header);
    image[4..8].copy_from_slice(&crc.to_be_bytes());
    let path = write(dir.path(), "dump", &[junk(4096), image, junk(99)].concat());
    let found = layers(&path);
    assert_eq!(found[1], ("file/image[0]".to_owned(), "uimage".to_owned(), 4096));
    assert_same("kernel", &extract(&path, "vmlinux"), &flat());
    let built_in = [flat(), files::dtb(), vec![0x11; 64]].concat();
    let found = layers(&write(dir.path(), "kernel", &built_in));
    assert_eq!(found[0].1, "kernel");
}

/// Nothing but magic numbers, and headers that hold but for their structure: the work ends, and that is said.
#[test]
fn magic_numbers_without_end() {
    // For a loaded machine without optimised code; a release takes a hundredth.
    const LONG: Duration = Duration::from_secs(60);
    let has_limit =
        |opened: &Opened<'_>| opened.layers().iter().any(|l| l.findings.iter().any(|f| f.rule == "layer.search_limit"));
    let start = Instant::now();
    for magic in [0xd00d_feed_u32, 0x2705_1956] {
        let bytes = [junk(64), magic.to_be_bytes().repeat(2_500_000)].concat();
        assert!(open(&bytes, &Limits::default()).is_err());
    }
    // 100,000 trees, each of which has all the others in its structure, which is wrong at its end alone.
    let mut bytes = junk(64);
    let whole = 72 * 100_000_u32;
    for index in 0..100_000_u32 {
        let left = whole - 72 * index;
        let header = [0xd00d_feed, left, 56, left - 4, 40, 17, 16, 0, 0, left - 60];
        let mut tree = header.map(u32::to_be_bytes).concat();
        tree.resize(56, 0);
        // A property of all that follows: nobody walks through it.
        tree.extend([1_u32, 0, 4, 4].map(u32::to_be_bytes).concat());
        bytes.extend(tree);
    }
    bytes.extend(files::dtb());
    match open(&bytes, &Limits::default()) {
        Ok(opened) => assert!(has_limit(&opened) || opened.layers().len() > 1),
        Err(error) => assert!(error.to_string().contains("header"), "{error}"),
    }
    // As many whole ones: named up to the limit of layers, and the rest is not passed over.
    let many = [junk(64), files::dtb().repeat(20_000)].concat();
    let opened = open(&many, &Limits::default()).unwrap();
    assert_eq!(opened.layers().len(), Limits::default().layers);
    assert!(verify(&opened).unchecked().contains(&"layers beyond the limits"));
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
}

fn named(name: &[u8]) -> Vec<u8> {
    let mut image = files::uimage(kind::KERNEL, &[&files::gzip(&flat())]);
    image[32..64].fill(0);
    image[32..32 + name.len()].copy_from_slice(name);
    image[4..8].fill(0);
    let crc = crc32fast::hash(&image[..64]);
    image[4..8].copy_from_slice(&crc.to_be_bytes());
    image
}

/// Names that are none: `TAIL` of Asus's published tools (two versions, a name of 12 bytes, eight versions of hardware), other data,
/// and a name with data behind it.
#[test]
fn binary_names() {
    let dir = tempdir();
    let facts = |name: &[u8]| {
        let path = write(dir.path(), "image", &named(name));
        let json = run_ok(kimage().args(["info", "--json"]).arg(&path));
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        let text = stdout(&run_ok(kimage().arg("info").arg(&path)));
        assert!(!text.contains("\\u{"), "{text}");
        assert!(run(kimage().arg("verify").arg(&path)).status.success());
        json["files"][0]["layers"][0]["facts"].clone()
    };
    let value = |facts: &Value, name: &str| facts[name]["value"].as_str().map(str::to_owned);
    let asus = facts(b"\x03\x00\x00\x04RT-AC51U\0\0\0\0\x01\x02\x01\x09");
    assert_eq!(value(&asus, "vendor_product").as_deref(), Some("RT-AC51U"));
    assert_eq!(value(&asus, "vendor_kernel_version").as_deref(), Some("3.0"));
    assert_eq!(value(&asus, "vendor_fs_version").as_deref(), Some("0.4"));
    assert_eq!(value(&asus, "vendor_hardware").as_deref(), Some("01020109000000000000000000000000"));
    assert!(value(&asus, "ih_name").unwrap().starts_with("0300000452542d41433531"), "{asus}");
    // Version 0.0 and no hardware.
    let zeros = facts(b"\0\0\0\0RT-N14U");
    assert_eq!(value(&zeros, "vendor_product").as_deref(), Some("RT-N14U"));
    assert_eq!(value(&zeros, "vendor_hardware"), None);
    // Anything else is bytes.
    for name in [&b"\x01\x02\x03\x04\xff\xfe"[..], b"\xc4\xe3\xba\xc3", b"tab\tulator", &[0, 0, 0, 1]] {
        let facts = facts(name);
        assert_eq!(value(&facts, "vendor_product"), None, "{name:?}");
        let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(value(&facts, "ih_name").unwrap().starts_with(&digits), "{name:?}: {facts}");
    }
    let behind = facts(b"Linux-5.4\0\0\x07");
    assert_eq!(value(&behind, "ih_name").as_deref(), Some("Linux-5.4"));
    assert!(value(&behind, "ih_name_rest").unwrap().starts_with("000007"), "{behind}");
    for text in ["MIPS OpenWrt Linux-3.7.5", "Gerät №1", "", "0123456789abcdef0123456789abcdef"] {
        let facts = facts(text.as_bytes());
        assert_eq!(value(&facts, "ih_name").as_deref(), Some(text));
        assert_eq!(facts.get("ih_name_rest"), None);
    }
}
