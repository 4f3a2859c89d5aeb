//! What `kimage verify` does not check, no verdict passes over: signatures of every kind are named, in words and in JSON;
//! sums that need no key are computed. Each input is made here.

use crate::support::{kimage, run, run_ok, stdout, tempdir, tool};
use crate::{files, schema};
use kimage::codec::Codec;
use kimage::report::json_schema;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The last line of what verify prints, and what its JSON says of the file.
fn verdict(path: &Path) -> (String, Value) {
    let text = run(kimage().arg("verify").arg(path));
    let json = run(kimage().args(["verify", "--json"]).arg(path));
    assert_eq!(text.status.code(), json.status.code());
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    schema::assert_valid(json_schema("verify").unwrap(), &value);
    let file = value["files"][0].clone();
    assert_eq!(file["ok"].as_bool(), Some(text.status.success()));
    (stdout(&text).lines().last().unwrap_or_default().to_owned(), file)
}

/// Good but for these, one after the other.
#[track_caller]
fn good_but_for(path: &Path, unchecked: &[&str]) -> Value {
    let (line, file) = verdict(path);
    let words = match unchecked {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => unchecked.concat(),
    };
    if unchecked.is_empty() {
        assert!(line.contains(": good: "), "{line}");
    } else {
        assert!(line.contains(&format!("good but for {words}, which were NOT checked")), "{line}");
    }
    let listed: Vec<&str> = file["unchecked"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(listed, unchecked);
    file
}

fn rules(file: &Value) -> Vec<&str> {
    file["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The file with a certificate table behind it that holds `certificates`.
fn certified(mut file: Vec<u8>, certificates: &[&[u8]]) -> Vec<u8> {
    file.resize(file.len().next_multiple_of(8), 0);
    let start = u32::try_from(file.len()).unwrap();
    for certificate in certificates {
        file.extend((u32::try_from(certificate.len()).unwrap() + 8).to_le_bytes());
        file.extend([0, 2, 2, 0]);
        file.extend(*certificate);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    let len = u32::try_from(file.len()).unwrap() - start;
    let pe = usize::try_from(u32::from_le_bytes(file[0x3c..0x40].try_into().unwrap())).unwrap();
    let entry = pe + 24 + 112 + 8 * 4;
    file[entry..entry + 4].copy_from_slice(&start.to_le_bytes());
    file[entry + 4..entry + 8].copy_from_slice(&len.to_le_bytes());
    file
}

#[test]
fn a_signature_without_a_digest_that_is_known() {
    let dir = tempdir();
    let plain = files::pe(&[], &[(".text", &[0x90; 64]), (".data", b"data")]);
    let unchecked = |name: &str, bytes: &[u8]| {
        let (_, file) = verdict(&write(dir.path(), name, bytes));
        (file["unchecked"].clone(), file["findings"].as_array().unwrap().clone())
    };
    assert_eq!(unchecked("plain.efi", &plain).0, serde_json::json!([]));
    let (names, findings) = unchecked("signed.efi", &certified(plain, &[b"no PKCS #7", b"another"]));
    assert_eq!(names, serde_json::json!(["Authenticode digests", "Authenticode signatures"]));
    let signature = findings.iter().find(|one| one["rule"] == "pe.signature").unwrap();
    assert!(signature["message"].as_str().unwrap().contains("2 signatures"), "{signature}");
}

/// sbsign is the oracle: right digest, signature named; a changed byte is an error, and what was not checked stays named.
#[test]
fn signed_images_of_every_kind() {
    let (Some(openssl), Some(sbsign)) = (tool("openssl", "openssl"), tool("sbsign", "sbsigntool")) else { return };
    let dir = tempdir();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    let mut make = Command::new(openssl);
    make.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=kimage test/"]);
    run_ok(make.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    for (name, file) in [
        ("uki", files::uki()),
        ("zboot", files::zboot()),
        ("application", files::pe(&[], &[(".text", &[0x90; 512]), (".data", &[1; 512])])),
    ] {
        let plain = write(dir.path(), name, &file);
        let signed = dir.path().join(format!("{name}.signed"));
        run_ok(
            Command::new(&sbsign)
                .arg("--key")
                .arg(&key)
                .arg("--cert")
                .arg(&certificate)
                .arg(&plain)
                .arg("--output")
                .arg(&signed),
        );
        let (line, report) = verdict(&signed);
        assert!(line.contains("Authenticode signatures") && line.contains("NOT checked"), "{name}: {line}");
        assert!(rules(&report).contains(&"pe.signature") && !rules(&report).contains(&"pe.digest"), "{name}: {report}");
        assert!(report["unchecked"].as_array().unwrap().contains(&"Authenticode signatures".into()), "{name}");
        let mut bytes = fs::read(&signed).unwrap();
        let at = file.len() - 3;
        bytes[at] ^= 1;
        let (line, report) = verdict(&write(dir.path(), "changed", &bytes));
        assert!(line.contains("bad") && line.contains("NOT checked: "), "{name}: {line}");
        assert!(rules(&report).contains(&"pe.digest"), "{name}: {report}");
    }
}

/// Forty sections of the same bytes: nobody hashes them forty times, and that is said.
#[test]
fn a_digest_that_is_not_computed() {
    let dir = tempdir();
    let mut sections: Vec<(&str, &[u8])> = vec![(".text", &[0x90; 4096])];
    sections.extend([(".data", &[1_u8; 16][..]); 40]);
    let mut file = files::pe(&[], &sections);
    let pe = usize::try_from(u32::from_le_bytes(file[0x3c..0x40].try_into().unwrap())).unwrap();
    let table = pe + 24 + usize::from(u16::from_le_bytes([file[pe + 20], file[pe + 21]]));
    let first = file[table + 16..table + 24].to_vec();
    for index in 1..=40 {
        file[table + 40 * index + 16..table + 40 * index + 24].copy_from_slice(&first);
    }
    let (line, report) = verdict(&write(dir.path(), "shared.efi", &file));
    assert!(line.contains("bad") && line.contains("NOT checked: Authenticode digests"), "{line}");
    assert!(rules(&report).contains(&"pe.no_digest"), "{report}");
}

#[test]
fn signatures_of_pcr_values() {
    let dir = tempdir();
    let uki = |json: &[u8]| files::pe(&[], &[(".cmdline", b"root=x"), (".pcrsig", json)]);
    let (_, file) = verdict(&write(dir.path(), "addon.efi", &uki(b"{\"sha256\":[]}")));
    assert_eq!(file["unchecked"].as_array().unwrap(), &["signatures of PCR values"], "{file}");
    assert!(rules(&file).contains(&"uki.pcrsig"), "{file}");
    let (_, file) = verdict(&write(dir.path(), "none.efi", &files::pe(&[], &[(".cmdline", b"root=x")])));
    assert!(file["unchecked"].as_array().unwrap().is_empty(), "{file}");
}

/// An entry of a cpio archive, newc or crc.
fn entry(magic: &str, name: &str, mode: u32, data: &[u8], check: u32) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    let name_len = u32::try_from(name.len()).unwrap() + 1;
    let mut out = magic.as_bytes().to_vec();
    for field in [1, mode, 0, 0, 1, 7, len, 0, 0, 0, 0, name_len, check] {
        out.extend(format!("{field:08X}").bytes());
    }
    out.extend(name.bytes().chain([0]));
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

#[test]
fn modules_that_are_signed() {
    let dir = tempdir();
    let module = [b"\x7fELF and so on".to_vec(), vec![9; 300], b"~Module signature appended~\n".to_vec()].concat();
    let archive = [
        entry("070701", "a.ko", 0o100_644, &module, 0),
        entry("070701", "b.ko", 0o100_644, b"not signed", 0),
        entry("070701", "c.ko", 0o100_644, &module, 0),
        entry("070701", "d.ko.gz", 0o100_644, &files::gzip(&module), 0),
        entry("070701", "e.ko.xz", 0o100_644, &files::packed(Codec::Xz, b"not signed"), 0),
        entry("070701", "f.ko.zst", 0o100_644, &files::packed(Codec::Zstd, &module), 0),
        entry("070701", "TRAILER!!!", 0, b"", 0),
    ]
    .concat();
    let file = good_but_for(&write(dir.path(), "initrd", &archive), &["signatures of kernel modules"]);
    assert!(file["findings"][0]["message"].as_str().unwrap().contains("4 with a signature, not checked"), "{file}");
    assert_eq!(rules(&file), ["cpio.module_signature"]);
    // One whose stream is damaged, and more than the work that all are worth: counted as not looked into.
    let many = (0..2100).map(|n| entry("070701", &format!("{n}.ko.gz"), 0o100_644, &files::gzip(b"not signed"), 0));
    let many = many.chain([entry("070701", "TRAILER!!!", 0, b"", 0)]).collect::<Vec<_>>().concat();
    let file = good_but_for(&write(dir.path(), "many", &many), &["signatures of kernel modules"]);
    assert!(
        file["findings"][0]["message"].as_str().unwrap().contains("compressed ones were not looked into"),
        "{file}"
    );
    let chain = write(dir.path(), "initrd.gz", &files::gzip(&archive));
    let (_, file) = verdict(&chain);
    assert_eq!(file["unchecked"].as_array().unwrap(), &["signatures of kernel modules"], "{file}");
    good_but_for(&write(dir.path(), "plain", &files::cpio()), &[]);
}

#[test]
fn sums_of_crc_archives() {
    let dir = tempdir();
    // 0xff * 5 = 0x4fb.
    let sums = |sum: u32| {
        [
            entry("070702", "dir", 0o040_755, b"", 0),
            entry("070702", "a", 0o100_644, &[0xff; 5], sum),
            // The kernel does not look at the sums of links, nor at those of files without data.
            entry("070702", "link", 0o120_777, b"a", 0),
            entry("070702", "empty", 0o100_644, b"", 77),
            entry("070702", "TRAILER!!!", 0, b"", 0),
        ]
        .concat()
    };
    good_but_for(&write(dir.path(), "right", &sums(0x4fb)), &[]);
    let (line, file) = verdict(&write(dir.path(), "wrong", &sums(0x4fc)));
    assert!(line.contains("bad"), "{line}");
    assert_eq!(rules(&file), ["cpio.c_check"]);
    let finding = &file["findings"][0];
    assert_eq!((finding["found"].as_str(), finding["offset"].as_u64()), (Some("0x4fc for a"), Some(116 + 102)));
    assert!(finding["wanted"].as_str().unwrap().starts_with("0x4fb,"), "{finding}");
    let Some(cpio) = tool("cpio", "cpio") else { return };
    // What the command writes is right; a changed byte of a file's data is not.
    let folder = dir.path().join("tree");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("one"), vec![0xa5; 70_000]).unwrap();
    fs::write(folder.join("two"), b"two").unwrap();
    fs::hard_link(folder.join("two"), folder.join("three")).unwrap();
    std::os::unix::fs::symlink("two", folder.join("link")).unwrap();
    let archive = dir.path().join("command");
    let script = "find . | LC_ALL=C sort | \"$0\" -o -H crc -F \"$1\" 2>/dev/null";
    run_ok(Command::new("sh").args(["-c", script]).arg(cpio).arg(&archive).current_dir(&folder));
    good_but_for(&archive, &[]);
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.windows(8).position(|window| window == [0xa5; 8]).unwrap();
    bytes[at] = 0;
    assert_eq!(rules(&verdict(&write(dir.path(), "changed", &bytes)).1), ["cpio.c_check"]);
}

/// The header of `struct fw_header` (OpenWrt's mktplinkfw.c), a kernel and a file system behind it.
fn tplink(kernel: &[u8], rootfs: &[u8], len: u32, boot: u32) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(&[1, 0, 0, 0]);
    header[4..11].copy_from_slice(b"OpenWrt");
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    for (at, value) in [(0x7c, len), (0x80, 512), (0x84, size(kernel)), (0x8c, size(rootfs)), (0x94, boot)] {
        header[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
    }
    [&header[..], kernel, rootfs].concat()
}

/// md5sum is the oracle; the two constants are the published ones.
#[test]
fn the_sum_of_tp_link() {
    let dir = tempdir();
    let Some(md5sum) = tool("md5sum", "coreutils") else { return };
    let salts = ["dcd73aa5c39598fbddf9e7f40eae4738", "8cef335bd5c5cefaa79c28dab2e90f42"];
    let bytes_of = |digits: &str| -> Vec<u8> {
        (0..16).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let kernel = files::packed(kimage::codec::Codec::Lzma, &files::kernel());
    let rootfs = [b"hsqs".to_vec(), vec![7; 3000]].concat();
    let whole = u32::try_from(512 + kernel.len() + rootfs.len()).unwrap();
    for (boot, salt) in [(0, salts[0]), (1, salts[1])] {
        // The whole file; that of a larger flash; header and kernel alone; a file to which something was added later.
        for (len, end, more) in
            [(whole, whole, 0), (8 << 20, whole, 0), (8 << 20, 512 + kernel.len() as u32, 0), (whole, whole, 40)]
        {
            let mut image = tplink(&kernel, &rootfs, len, boot);
            image[0x4c..0x5c].copy_from_slice(&bytes_of(salt));
            let salted = write(dir.path(), "salted", &image[..usize::try_from(end).unwrap()]);
            let sum = stdout(&run_ok(Command::new(&md5sum).arg(&salted)));
            image[0x4c..0x5c].copy_from_slice(&bytes_of(&sum));
            image.resize(image.len() + more, 0x55);
            let path = write(dir.path(), "image", &image);
            good_but_for(&path, &[]);
            let mut damaged = image.clone();
            damaged[600] ^= 1;
            let (line, file) = verdict(&write(dir.path(), "damaged", &damaged));
            assert!(line.contains("NOT checked") && line.contains("MD5 sums of firmware"), "{line}");
            assert!(rules(&file).contains(&"tplink.md5sum"), "{file}");
            if end == whole && more == 0 {
                let (_, file) = verdict(&write(dir.path(), "cut", &image[..image.len() - 10]));
                assert!(rules(&file).contains(&"tplink.rootfs_len"), "{file}");
                // In the middle of the kernel: its header is still one.
                let (line, file) = verdict(&write(dir.path(), "cut", &image[..512 + kernel.len() / 2]));
                assert!(line.contains(": bad: ") && rules(&file) == ["layer.damaged"], "{line} {file}");
                assert!(file["findings"][0]["message"].as_str().unwrap().contains("kernel_len"), "{file}");
            }
        }
    }
}

#[test]
fn what_androids_boot_loader_checks() {
    let dir = tempdir();
    let with = |mark: &[u8]| [files::android(2), vec![0; 64], mark.to_vec()].concat();
    let name = "digests and signatures of Android's verified boot";
    let boot_1 = [&[0x30, 0x82, 1, 0, 2, 1, 1, 0x30, 0x82, 0, 200][..], &[6; 249]].concat();
    for (what, mark) in [
        ("vbmeta", [b"AVB0\0\0\0\x01".to_vec(), vec![5; 300]].concat()),
        ("footer", [b"AVBf\0\0\0\x01".to_vec(), vec![5; 56]].concat()),
        ("boot-1.0", boot_1),
    ] {
        let (line, file) = verdict(&write(dir.path(), what, &with(&mark)));
        assert!(line.contains(name), "{what}: {line}");
        assert!(rules(&file).contains(&"data.signature"), "{what}: {file}");
    }
    let (line, _) = verdict(&write(dir.path(), "none", &with(b"")));
    assert!(!line.contains("NOT checked"), "{line}");
}

/// A partition as avbtool's add_hash_footer lays it out (AOSP, external/avb, avbtool.py): the image, the metadata at the next
/// 4 KiB, the footer at the end. The digests are computed here.
fn with_footer(image: &[u8], algorithm: u32, claimed: &[u8]) -> Vec<u8> {
    let salt = [0x5a; 32];
    let name = b"boot";
    let digest = Sha256::new().chain_update(salt).chain_update(claimed).finalize();
    let mut hash = [2_u64.to_be_bytes(), [0; 8], (image.len() as u64).to_be_bytes()].concat();
    hash.extend(b"sha256");
    hash.resize(56, 0);
    [name.len(), salt.len(), digest.len()].iter().for_each(|len| hash.extend((*len as u32).to_be_bytes()));
    hash.resize(132, 0);
    hash.extend([&name[..], &salt, &digest].concat());
    hash.resize(hash.len().next_multiple_of(8), 0);
    let following = (hash.len() as u64 - 16).to_be_bytes();
    hash[8..16].copy_from_slice(&following);
    let mut auxiliary = hash.clone();
    auxiliary.resize(auxiliary.len().next_multiple_of(64), 0);
    let mut header = vec![0; 256];
    let mut put = |at: usize, value: u64| header[at..at + 8].copy_from_slice(&value.to_be_bytes());
    put(12, 64);
    put(20, auxiliary.len() as u64);
    put(40, 32);
    put(104, hash.len() as u64);
    header[..8].copy_from_slice(b"AVB0\0\0\0\x01");
    header[28..32].copy_from_slice(&algorithm.to_be_bytes());
    let signed = Sha256::new().chain_update(&header).chain_update(&auxiliary).finalize();
    let metadata = [&header[..], &signed, &[7; 32], &auxiliary].concat();
    let at = image.len().next_multiple_of(4096);
    let mut partition = image.to_vec();
    partition.resize(at, 0);
    partition.extend(&metadata);
    partition.resize(at + 8192 - 64, 0);
    partition.extend(b"AVBf\0\0\0\x01\0\0\0\0");
    [image.len(), at, metadata.len()].iter().for_each(|value| partition.extend((*value as u64).to_be_bytes()));
    partition.resize(at + 8192, 0);
    partition
}

/// The digest of the partition and that of the metadata are computed; the signature needs a key.
#[test]
fn digests_of_androids_verified_boot() {
    let dir = tempdir();
    let signatures = "signatures of Android's verified boot";
    let good = with_footer(&files::dtb(), 1, &files::dtb());
    let file = good_but_for(&write(dir.path(), "signed", &good), &[signatures]);
    assert!(rules(&file).contains(&"avb.signature"), "{file}");
    good_but_for(&write(dir.path(), "unsigned", &with_footer(&files::dtb(), 0, &files::dtb())), &[]);
    for image in [files::android(2), files::android(4), files::dtb()] {
        let good = with_footer(&image, 1, &image);
        let (_, file) = verdict(&write(dir.path(), "good", &good));
        assert!(rules(&file).contains(&"avb.signature") && !rules(&file).contains(&"avb.digest"), "{file}");
        // Another image, another name in the descriptor.
        let mut renamed = good.clone();
        let at = memchr::memmem::rfind(&renamed, b"bootZZZZ").unwrap();
        renamed[at] = b'B';
        for bad in [with_footer(&image, 1, b"other"), renamed] {
            let (line, file) = verdict(&write(dir.path(), "bad", &bad));
            assert!(line.contains(": bad: ") && rules(&file).contains(&"avb.digest"), "{line}");
        }
    }
}

/// Where neither a header nor a container says how long a kernel is, nobody knows whether it was cut off; of a stream of lz4's
/// legacy frame neither, where its last block is full (lz4, doc/lz4_Frame_format.md: "Legacy frame").
#[test]
fn ends_that_nothing_states() {
    let dir = tempdir();
    let ends = "ends of files that state no length";
    let mut flat = vec![0x5a; 9000];
    let banner = b"\0Linux version 6.6.1 (u@h) (gcc 12) #1 SMP Mon Jan 1 00:00:00 UTC 2024\n\0";
    flat[512..512 + banner.len()].copy_from_slice(banner);
    let mut arm64 = files::image64(b"ARM\x64");
    arm64[32] = 0;
    for (name, kernel) in [("flat", &flat), ("arm64", &arm64)] {
        let file = good_but_for(&write(dir.path(), name, kernel), &[ends]);
        assert_eq!(rules(&file), ["kernel.no_end"], "{name}");
        good_but_for(&write(dir.path(), "tree", &[&kernel[..], &files::dtb()].concat()), &[]);
        good_but_for(&write(dir.path(), "gzip", &files::gzip(kernel)), &[]);
    }
    // In a uImage, uncompressed (ih_comp 0): its header says how long the kernel is.
    let mut image = files::uimage(kimage::internals::kind::KERNEL, &[&flat]);
    image[31] = 0;
    let header = [&image[..4], &[0; 4], &image[8..64]].concat();
    image[4..8].copy_from_slice(&crc32fast::hash(&header).to_be_bytes());
    good_but_for(&write(dir.path(), "uimage", &image), &[]);
    let lz4 = |len: usize| files::packed(kimage::codec::Codec::Lz4Legacy, &vec![7; len]);
    good_but_for(&write(dir.path(), "full", &lz4(16 << 20)), &[ends]);
    good_but_for(&write(dir.path(), "less", &lz4((16 << 20) - 1)), &[]);
    let sized = [lz4(16 << 20), (16_u32 << 20).to_le_bytes().to_vec()].concat();
    good_but_for(&write(dir.path(), "sized", &sized), &[]);
}

/// A hash of an algorithm that nobody knows, and a limit that ends the work.
#[test]
fn what_was_not_looked_at_for_other_reasons() {
    let dir = tempdir();
    let fit = files::fit(false);
    let path = write(dir.path(), "fit", &fit);
    let before = verdict(&path).1["unchecked"].as_array().unwrap().len();
    let at = fit.windows(6).position(|window| window == b"crc32\0").expect("the FIT has a CRC-32");
    let mut other = fit;
    other[at..at + 5].copy_from_slice(b"crc99");
    let (line, file) = verdict(&write(dir.path(), "unknown", &other));
    assert!(line.contains("hashes of algorithms that kimage does not know"), "{line}");
    assert_eq!(file["unchecked"].as_array().unwrap().len(), before + 1);
    let mut nested = files::kernel();
    for _ in 0..20 {
        nested = files::gzip(&nested);
    }
    let (line, file) = verdict(&write(dir.path(), "nested", &nested));
    assert!(line.contains(": not known: ") && line.ends_with("NOT checked: layers beyond the limits"), "{line}");
    assert_eq!(file["ok"], false);
}
