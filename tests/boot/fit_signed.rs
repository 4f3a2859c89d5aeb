//! Debian's U-Boots for two CPUs take a FIT signed by each algorithm that they have, with one key of several, by a token, after it was made;
//! what was changed, swapped or left unsigned they refuse, and `kimage verify` with the same control device tree says so alike.
//!
//! `bootm start` does all but leave U-Boot, so one machine tries them all; that they run is shown in `fit`.

use crate::machine::{Board, Machine, each};
use crate::support::{self, kimage, noise, put, read, run, run_ok, tempdir, testdata, tool};
use crate::token::Token;
use kimage::internals::fdt::{Dtb, Flat, Node, Property, Strings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const AT: u64 = 0x4400_0000;
/// Between one FIT and the next.
const STEP: usize = 0x10_0000;

/// The board's device tree, with what goes into its /signature.
fn control(board: &Board, dir: &Path, name: &str, signature: Node<'_>) -> PathBuf {
    let bytes = board.tree("kimage,one", &["kimage,one", "linux,dummy-virt"]);
    let tree = Dtb::parse_at(&bytes, 0).unwrap().tree().unwrap();
    let root = Node::from(tree.root()).with_child(signature);
    let mut out = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
    put(dir, name, &out)
}

fn any() -> Node<'static> {
    Node::new("signature").with(Property::string("required-mode", "any"))
}

/// A source with two configurations; `signature` is the first one's, `other` the second one's.
fn source(arch: &str, signature: &str, other: &str) -> String {
    let kernel = |name: &str| {
        format!(
            "{name} {{ description = \"k\"; data = /incbin/(\"{name}\"); type = \"kernel\"; arch = \"{arch}\"; os = \"linux\";
              compression = \"none\"; load = <0x42008000>; entry = <0x42008000>; hash-1 {{ algo = \"sha256\"; }}; }};"
        )
    };
    format!(
        "/dts-v1/; / {{ description = \"x\"; #address-cells = <1>; images {{ {} {}
          fdt-1 {{ data = /incbin/(\"board.dtb\"); type = \"flat_dt\"; arch = \"{arch}\"; compression = \"none\";
           hash-1 {{ algo = \"sha256\"; }}; }}; }};
         configurations {{ default = \"conf-1\"; conf-1 {{ kernel = \"kernel-1\"; fdt = \"fdt-1\"; {signature} }};
          conf-2 {{ kernel = \"kernel-2\"; fdt = \"fdt-1\"; {other} }}; }}; }};",
        kernel("kernel-1"),
        kernel("kernel-2")
    )
}

fn signature(number: usize, algo: &str, key: &str) -> String {
    format!(
        "signature-{number} {{ algo = \"{algo}\"; key-name-hint = \"{key}\"; sign-images = \"kernel\", \"fdt\"; }};"
    )
}

/// A folder with what the sources include.
fn folder(board: &Board) -> tempfile::TempDir {
    let dir = tempdir();
    put(dir.path(), "board.dtb", &board.tree("kimage,one", &["kimage,one"]));
    for (name, seed) in [("kernel-1", 1), ("kernel-2", 2)] {
        put(dir.path(), name, &noise(5000, seed));
    }
    fs::copy(testdata("keys/dev.key"), dir.path().join("dev.key")).unwrap();
    dir
}

fn fit(dir: &Path, name: &str, text: &str, options: &[&str]) -> PathBuf {
    fs::write(dir.join("x.its"), text).unwrap();
    run_ok(kimage().current_dir(dir).args(["fit", "x.its", "-q", "-o", name]).args(options));
    dir.join(name)
}

/// Does `kimage verify` take it?
fn is_good(fit: &Path, control: &Path) -> (bool, String) {
    let output = run(kimage().arg("verify").arg(fit).arg("--control-dtb").arg(control));
    (output.status.success(), support::stdout(&output))
}

/// The board with these FITs one behind the other.
fn start(board: &Board, what: &str, fits: &[PathBuf]) -> (Machine, Vec<u64>) {
    let addresses: Vec<u64> = (AT..).step_by(STEP).take(fits.len()).collect();
    let loaded: Vec<(&Path, u64)> = fits.iter().map(PathBuf::as_path).zip(addresses.iter().copied()).collect();
    (board.start(what, &loaded), addresses)
}

/// U-Boot takes all of `taken`, and says the words; it refuses all of `refused`; and so does `kimage verify`.
fn held(board: &Board, control: &Path, taken: &[(PathBuf, String)], refused: &[PathBuf]) {
    let fits: Vec<PathBuf> = taken.iter().map(|(path, _)| path).chain(refused).cloned().collect();
    let (mut machine, addresses) = start(&board.with_tree(control), "signed", &fits);
    machine.ask("setenv fdt_high");
    for (number, (image, at)) in fits.iter().zip(addresses).enumerate() {
        let what = image.display();
        let said = machine.ask(&format!("bootm start {at:#x}#conf-1"));
        // What it says of the kernel, and then of the device tree.
        let loads =
            said.contains("Verifying Hash Integrity ... sha256+ OK") && said.contains("Booting using the fdt blob");
        let wanted = taken.get(number);
        assert_eq!(loads, wanted.is_some(), "{what}: {said}");
        assert!(wanted.is_none_or(|(_, words)| said.contains(words)), "{what}: {said}");
        let (is_good, found) = is_good(image, control);
        assert_eq!(is_good, wanted.is_some(), "{what}: {found}");
    }
}

/// A byte of a FIT changed.
fn changed(dir: &Path, from: &Path, name: &str, at: usize) -> PathBuf {
    let mut bytes = read(from);
    bytes[at] ^= 1;
    put(dir, name, &bytes)
}

/// `one` and `other`, of one length, each in the other's place.
fn swapped(dir: &Path, from: &Path, name: &str, one: &[u8], other: &[u8]) -> PathBuf {
    let mut bytes = read(from);
    let places = |what: &[u8]| memchr::memmem::find_iter(&bytes, what).collect::<Vec<_>>();
    let (ones, others) = (places(one), places(other));
    assert!(one.len() == other.len() && !ones.is_empty() && !others.is_empty(), "{name}");
    ones.iter().for_each(|at| bytes[*at..at + one.len()].copy_from_slice(other));
    others.iter().for_each(|at| bytes[*at..at + one.len()].copy_from_slice(one));
    put(dir, name, &bytes)
}

/// Four hashes and three lengths of RSA keys, on both CPUs: any key of twelve is enough.
#[test]
fn every_algorithm_on_two_cpus() {
    let Some(openssl) = tool("openssl", "openssl") else { return };
    let (Some(arm), Some(arm64)) = (Board::arm(), Board::arm64(256)) else { return };
    each(&[(arm, "arm"), (arm64, "arm64")], |(board, arch)| {
        let dir = folder(board);
        let dir = dir.path();
        fs::copy(dir.join("dev.key"), dir.join("2048.key")).unwrap();
        for bits in ["3072", "4096"] {
            let file = format!("{bits}.key");
            run_ok(Command::new(&openssl).current_dir(dir).args(["genrsa", "-out", &file, bits]));
        }
        let path = control(board, dir, "ctl.dtb", any());
        let mut taken = Vec::new();
        for hash in ["sha1", "sha256", "sha384", "sha512"] {
            for bits in ["2048", "3072", "4096"] {
                let (key, algo) = (format!("{hash}-{bits}"), format!("{hash},rsa{bits}"));
                fs::copy(dir.join(format!("{bits}.key")), dir.join(format!("{key}.key"))).unwrap();
                let own = signature(1, &algo, &key);
                let options = ["--keys", ".", "--control-dtb", "ctl.dtb", "--required", "conf"];
                let made = fit(dir, &format!("{key}.itb"), &source(arch, &own, &own), &options);
                taken.push((made, format!("{algo}:{key}+")));
            }
        }
        let unsigned = fit(dir, "unsigned.itb", &source(arch, "", ""), &[]);
        // A key that is for another algorithm.
        run_ok(Command::new(&openssl).current_dir(dir).args(["genrsa", "-out", "odd.key", "2048"]));
        let mut command = kimage();
        command.current_dir(dir).args(["pubkey", "ctl.dtb", "--key-dir", ".", "--key-name", "odd", "-o", "ctl.dtb"]);
        run_ok(command.args(["--algo", "sha256,rsa2048", "--required", "conf"]));
        let other = signature(1, "sha512,rsa2048", "odd");
        let other = fit(dir, "other.itb", &source(arch, &other, &other), &["--keys", "."]);
        held(board, &path, &taken, &[unsigned, other]);
    });
}

/// Two keys that must both have signed; one of two that is enough; signed by a token, after it was made, with data behind the tree; and each
/// kind of change to a signed FIT.
#[test]
fn several_keys_tokens_and_changes() {
    let Some(openssl) = tool("openssl", "openssl") else { return };
    let Some(board) = Board::arm() else { return };
    let dir = folder(&board);
    let dir = dir.path();
    for name in ["second.key", "stranger.key"] {
        run_ok(Command::new(&openssl).current_dir(dir).args(["genrsa", "-out", name, "2048"]));
    }
    let one = signature(1, "sha256,rsa2048", "dev");
    let two = signature(2, "sha256,rsa2048", "second");
    let both = source("arm", &format!("{one} {two}"), &format!("{one} {two}"));
    // Both are required.
    let all = control(&board, dir, "all.dtb", Node::new("signature"));
    let required = ["--keys", ".", "--required", "conf", "--control-dtb"];
    let with = |control: &'static str, more: &[&'static str]| [&required[..], &[control], more].concat();
    let signed = fit(dir, "both.itb", &both, &with("all.dtb", &[]));
    let half = fit(dir, "half.itb", &source("arm", &one, &one), &["--keys", "."]);
    held(&board, &all, &[(signed.clone(), "sha256,rsa2048:second+".into())], std::slice::from_ref(&half));

    // One of them is enough.
    let path = control(&board, dir, "any.dtb", any());
    fit(dir, "both.itb", &both, &with("any.dtb", &[]));
    let external = fit(dir, "external.itb", &source("arm", &one, &one), &["--keys", ".", "-E"]);
    let later = fit(dir, "later.itb", &source("arm", &two, &two), &["--unsigned"]);
    run_ok(kimage().current_dir(dir).args(["sign", "later.itb", "-q", "--keys", "."]));
    let mut taken = vec![
        (signed, "sha256,rsa2048:second+".to_owned()),
        (half, "sha256,rsa2048:dev+".to_owned()),
        (external, "sha256,rsa2048:dev+".to_owned()),
        (later, "sha256,rsa2048:second+".to_owned()),
    ];
    if let Some(token) = Token::new(&[("a1", dir.join("dev.key"))]) {
        let key = format!("pkcs11:token=fit?module-path={}&pin-value=1234", token.module.display());
        let mut command = token.kimage(dir);
        fs::write(dir.join("x.its"), source("arm", &one, &one)).unwrap();
        run_ok(command.args(["fit", "x.its", "-q", "--keys", &key, "-o", "token.itb"]));
        taken.push((dir.join("token.itb"), "sha256,rsa2048:dev+".to_owned()));
    }
    let good = taken[1].0.clone();
    let bytes = read(&good);
    let dtb = Dtb::parse_at(&bytes, 0).unwrap();
    let tree = dtb.tree().unwrap();
    let place = |path: &str, property: &str| tree.find(path).unwrap().property(property).unwrap().at.0 as usize;
    let mut refused = vec![
        fit(dir, "unsigned.itb", &source("arm", "", ""), &[]),
        swapped(dir, &good, "nodes.itb", b"\0\0\0\x01kernel-1", b"\0\0\0\x01kernel-2"),
    ];
    fs::copy(&good, dir.join("stranger.itb")).unwrap();
    run_ok(kimage().current_dir(dir).args(["sign", "stranger.itb", "-q", "--key", "stranger.key"]));
    refused.push(dir.join("stranger.itb"));
    // The data of both kernels, with their hashes, and the signatures of both configurations.
    let value = |path: &str, name: &str| tree.find(path).unwrap().property(name).unwrap().value.to_vec();
    for (name, property, paths) in [
        ("images.itb", "data", ["/images/kernel-1", "/images/kernel-2"]),
        ("hashes.itb", "value", ["/images/kernel-1/hash-1", "/images/kernel-2/hash-1"]),
        ("values.itb", "value", ["/configurations/conf-1/signature-1", "/configurations/conf-2/signature-1"]),
    ] {
        let [one, other] = paths.map(|path| value(path, property));
        refused.push(swapped(dir, &good, name, &one, &other));
    }
    let with_hashes = {
        let [one, other] = ["/images/kernel-1/hash-1", "/images/kernel-2/hash-1"].map(|path| value(path, "value"));
        swapped(dir, &dir.join("images.itb"), "images-and-hashes.itb", &one, &other)
    };
    refused.push(with_hashes);
    let kernel = "/images/kernel-1";
    let (conf, own) = ("/configurations/conf-1", "/configurations/conf-1/signature-1");
    let classes = [
        ("/", "description", 0),
        (kernel, "description", 0),
        (kernel, "data", 4000),
        (kernel, "type", 1),
        (kernel, "arch", 1),
        (kernel, "os", 1),
        (kernel, "compression", 1),
        (kernel, "load", 3),
        (kernel, "entry", 3),
        ("/images/kernel-1/hash-1", "value", 0),
        ("/images/kernel-1/hash-1", "algo", 5),
        ("/images/fdt-1", "data", 600),
        ("/images/fdt-1/hash-1", "value", 31),
        (conf, "kernel", 0),
        (conf, "fdt", 4),
        (own, "value", 100),
        (own, "algo", 3),
        // Not hashed-nodes: since Debian's fix of CVE-2026-46728 this U-Boot does not read it any more.
        (own, "hashed-strings", 7),
    ];
    for (path, property, more) in classes {
        let name = format!("{}-{property}.itb", path.replace('/', "_"));
        refused.push(changed(dir, &good, &name, place(path, property) + more));
    }
    // A name in the strings block, a length and the name of a node in the structure block.
    let find = |what: &[u8]| memchr::memmem::find(&bytes, what).unwrap();
    refused.push(changed(dir, &good, "string.itb", find(b"\0compression\0") + 2));
    refused.push(changed(dir, &good, "length.itb", place(kernel, "load") - 5));
    refused.push(changed(dir, &good, "node.itb", find(b"\0\0\0\x01hash-1") + 4));
    held(&board, &path, &taken, &refused);
}
