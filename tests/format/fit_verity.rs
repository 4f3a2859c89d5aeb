//! Hash trees of dm-verity in FITs: those of veritysetup, in the bytes of the newest mkimage, checked block by block, and signed.

use super::fit_sign::{folder, keys, layout, signature, source};
use crate::support::{assert_same, cache, full, kimage, missing, noise, put, read, run, run_ok, stderr, stdout, tool};
use kimage::internals::Fit;
use kimage::internals::fdt::Dtb;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn veritysetup() -> Option<PathBuf> {
    tool("/usr/sbin/veritysetup", "cryptsetup-bin")
}

fn verity(algo: &str, data: u32, hash: u32, more: &str) -> String {
    format!("dm-verity {{ algo = \"{algo}\"; data-block-size = <{data}>; hash-block-size = <{hash}>; {more} }};")
}

/// The first ramdisk of the source is a file system with a tree instead.
fn with_tree(node: &str, configuration: &str) -> String {
    let text = source("", &format!("loadables = \"rd-1\"; {configuration}"), "");
    let text = text.replacen("rd.bin\"); type = \"ramdisk\"", "rootfs\"); type = \"filesystem\"", 1);
    text.replacen("hash-1 { algo = \"sha512\"; };", &format!("hash-1 {{ algo = \"sha512\"; }}; {node}"), 1)
}

fn fit(dir: &Path, text: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    fs::write(dir.join("x.its"), text).unwrap();
    let _ = fs::remove_file(dir.join("x.itb"));
    let mut command = kimage();
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000");
    let output = run(command.args(["fit", "x.its", "--quiet", "-o", "x.itb"]).args(options));
    let made = fs::read(dir.join("x.itb")).ok();
    assert_eq!(output.status.success(), made.is_some());
    made.ok_or_else(|| stderr(&output))
}

fn property(itb: &[u8], name: &str) -> Vec<u8> {
    let tree = Dtb::parse_at(itb, 0).unwrap().tree().unwrap();
    tree.find("/images/rd-1/dm-verity").unwrap().property(name).unwrap().value.to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verify(dir: &Path, options: &[&str]) -> (bool, String) {
    let output = run(kimage().current_dir(dir).args(["verify", "x.itb"]).args(options));
    (output.status.success(), stdout(&output) + &stderr(&output))
}

/// Root hash and tree as by veritysetup, whose own check takes what kimage wrote.
#[test]
fn trees_of_veritysetup() {
    let Some(veritysetup) = veritysetup() else { return };
    let dir = folder();
    let dir = dir.path();
    for (number, (algo, data, hash, blocks)) in [
        ("sha1", 512, 512, 1),
        ("sha256", 4096, 4096, 1),
        ("sha256", 4096, 4096, 2),
        ("sha256", 4096, 4096, 129),
        ("sha256", 512, 512, 300),
        ("sha256", 512, 4096, 136),
        ("sha256", 4096, 512, 19),
        ("sha384", 1024, 1024, 40),
        ("sha512", 4096, 1024, 33),
        ("sha512", 4096, 4096, 70),
    ]
    .into_iter()
    .enumerate()
    {
        let rootfs = noise(data as usize * blocks, number as u64);
        put(dir, "rootfs", &rootfs);
        // Salts of the usual length, of another, and none.
        let salt = noise([32, 5, 0][number % 3], 9);
        let made = fit(dir, &with_tree(&verity(algo, data, hash, &format!("salt = [{}];", hex(&salt))), ""), &["-E"]);
        let made = made.unwrap();
        let image = Fit::parse(&made).unwrap();
        let image = image.images().find(|image| image.name() == "rd-1").unwrap();
        let ours = image.data().unwrap();
        put(dir, "ours", ours);
        fs::copy(dir.join("rootfs"), dir.join("theirs")).unwrap();
        let salt = if salt.is_empty() { "-".to_owned() } else { hex(&salt) };
        let call = |verb: &str, file: &str, root: &[&str]| {
            let mut command = Command::new(&veritysetup);
            command.current_dir(dir).args([verb, file, file]).args(root).args(["--no-superblock", "--hash", algo]);
            command.arg(format!("--data-block-size={data}")).arg(format!("--hash-block-size={hash}"));
            command.arg(format!("--data-blocks={blocks}"));
            stdout(&run_ok(command.arg(format!("--hash-offset={}", rootfs.len())).args(["--salt", &salt])))
        };
        let said = call("format", "theirs", &[]);
        let root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned();
        assert_eq!(hex(&property(&made, "digest")), root, "{algo} {data} {hash} {blocks}");
        assert_same(&format!("{algo} {data} {hash} {blocks}"), ours, &read(&dir.join("theirs")));
        if blocks > 1 {
            call("verify", "ours", &[&root]);
        }
        let (good, said) = verify(dir, &[]);
        assert!(good && !said.contains("dm_verity"), "{said}");
    }
}

/// The bytes of the newest mkimage with the salt that it made, signed too; made again the tree stays.
#[test]
fn bytes_of_the_newest_mkimage() {
    let mkimage = cache().join("mkimage/newest/mkimage");
    let (Some(_), Some(keys)) = (veritysetup(), keys()) else { return };
    if !mkimage.is_file() || *layout(&mkimage) < *"2026.10" {
        missing("mkimage 2026.10 or newer: sh tests/fetch-mkimage.sh");
        return;
    }
    let dir = folder();
    let dir = dir.path();
    let keys = keys.to_str().unwrap();
    let signed = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\", \"loadables\";");
    let path = std::env::var("PATH").unwrap() + ":/usr/sbin";
    for (number, (algo, data, hash, blocks, options)) in [
        ("sha256", 4096, 4096, 200, &["-E"][..]),
        ("sha256", 512, 512, 1, &["-E", "-B", "200"]),
        ("sha512", 1024, 4096, 44, &["-E", "-p", "4000"]),
        ("sha1", 4096, 1024, 7, &["-E", "-k", keys]),
        ("sha384", 4096, 4096, 130, &["-E", "-k", keys, "-B", "1000"]),
    ]
    .into_iter()
    .enumerate()
    {
        if !full() && number % 2 == 1 {
            continue;
        }
        put(dir, "rootfs", &noise(data as usize * blocks, 77));
        let text = |salt: &str| {
            let node = verity(algo, data, hash, &format!("salt = [{salt}]; panic-on-corruption;"));
            with_tree(&node, if options.contains(&"-k") { &signed } else { "" })
        };
        fs::write(dir.join("x.its"), text(&"00".repeat(32))).unwrap();
        let mut peer = Command::new(&mkimage);
        peer.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000").env("PATH", &path).args(["-f", "x.its"]);
        run_ok(peer.args(options).arg("theirs.itb"));
        let theirs = read(&dir.join("theirs.itb"));
        let text = text(&hex(&property(&theirs, "salt")));
        let layout = layout(&mkimage);
        let options = [options, &["--layout", layout.as_str()]].concat();
        let ours = fit(dir, &text, &options).unwrap();
        assert_same(&format!("{algo} {data} {hash} {blocks} {options:?}"), &ours, &theirs);
        if options.contains(&"-k") {
            let mut sign = kimage();
            sign.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000").args(["sign", "x.itb", "--quiet"]);
            run_ok(sign.args(&options));
            let images = |itb: &[u8]| {
                let fit = Fit::parse(itb).unwrap();
                fit.images().map(|image| image.data().unwrap().to_vec()).collect::<Vec<_>>()
            };
            assert_eq!(images(&read(&dir.join("x.itb"))), images(&theirs));
            assert!(verify(dir, &[]).0);
        }
    }
}

/// Each damage is found and named; a signature covers the digest; what cannot have a tree is refused with the reason.
#[test]
fn damage_and_refusals() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    let keys_dir = keys.to_str().unwrap();
    let rootfs = noise(4096 * 200, 3);
    put(dir, "rootfs", &rootfs);
    let node = verity("sha256", 4096, 4096, "");
    let signed = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\", \"loadables\";");
    let made = fit(dir, &with_tree(&node, &signed), &["-E", "--keys", keys_dir]).unwrap();
    // No salt is given: the same data has the same tree.
    assert_same("again", &fit(dir, &with_tree(&node, &signed), &["-E", "--keys", keys_dir]).unwrap(), &made);
    let key = keys.join("dev.crt");
    let key = ["--key", key.to_str().unwrap()];
    let (good, said) = verify(dir, &key);
    assert!(good && said.contains("covers the configuration with kernel, fdt-1, rd-1"), "{said}");
    let info = stdout(&run_ok(kimage().current_dir(dir).args(["info", "x.itb"])));
    assert!(info.contains("hash_trees") && info.contains("right"), "{info}");
    let find = |bytes: &[u8]| memchr::memmem::find(&made, bytes).unwrap();
    let (start, digest, salt) = (find(&rootfs), find(&property(&made, "digest")), find(&property(&made, "salt")));
    for (at, words) in [
        (start + 4096 * 77 + 5, "data block 77 of 200, at 0x4d000, does not have its hash"),
        (start + 4096 * 199, "data block 199 of 200"),
        (start + 4096 * 200, "the digest is not that of the root"),
        (start + 4096 * 202, "hash block 2 of 3 does not have the hash above it"),
        (digest, "the digest is not that of the root"),
        (salt, "the digest is not that of the root"),
    ] {
        let mut bad = made.clone();
        bad[at] ^= 1;
        put(dir, "x.itb", &bad);
        let (good, said) = verify(dir, &key);
        assert!(!good && said.contains(words) && said.contains("[fit.dm_verity_tree]"), "{words}: {said}");
        let in_tree = at < start;
        assert_eq!(said.contains("[fit.unsigned]"), in_tree, "{words}: {said}");
    }
    for (text, options, words) in [
        (with_tree(&node, ""), &[][..], "put the data behind the tree of nodes (-E)"),
        (with_tree(&node, ""), &["--unsigned", "--force"], "asks for a hash tree (dm-verity)"),
        (
            with_tree(&verity("sha256", 300, 4096, ""), ""),
            &["-E"],
            "data-block-size: found 300, wanted a power of two from 512",
        ),
        (with_tree(&verity("sha256", 4096, 256, ""), ""), &["-E"], "hash-block-size: found 256"),
        (with_tree(&verity("crc32", 4096, 4096, ""), ""), &["-E"], "unknown algorithm \"crc32\""),
        (with_tree(&verity("sha256", 4096, 65536, ""), ""), &["-E"], "wanted a multiple of 65536"),
        (with_tree("dm-verity { algo = \"sha256\"; };", ""), &["-E"], "data-block-size is not one cell"),
        (with_tree(&verity("sha256", 4096, 4096, "digest = [00];"), ""), &["-E"], "it has no salt"),
    ] {
        let said = fit(dir, &text, options).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    // The trap of veritysetup and mkimage, which overwrite the data's end: a multiple of one block size alone.
    put(dir, "rootfs", &rootfs[..66048]);
    let said = fit(dir, &with_tree(&verity("sha256", 512, 4096, ""), ""), &["-E"]).unwrap_err();
    assert!(said.contains("the data has 66048 bytes, wanted a multiple of 4096"), "{said}");
    put(dir, "rootfs", b"");
    assert!(fit(dir, &with_tree(&node, ""), &["-E"]).unwrap_err().contains("has 0 bytes"));
}
