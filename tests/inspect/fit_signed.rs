//! Signed FITs held to keys: the attacks of U-Boot's own tests (vboot_forge.py, vboot_evil.py, test_vboot.py, test_vboot_ext_data_bounds) and
//! others, each rebuilt here; what is whole, or changed where no signature looks, stays good.

use crate::support::{kimage, put, read, run, run_ok, stdout, tempdir, testdata};
use kimage::internals::fdt::Dtb;
use std::fs;
use std::path::{Path, PathBuf};

/// A FIT of kernel, device tree and RAM disk with a signature of its configuration.
pub(super) const SOURCE: &str = r#"/dts-v1/; / { description = "t"; #address-cells = <1>; images {
 kernel { description = "k"; data = /incbin/("kernel"); type = "kernel"; arch = "arm"; os = "linux"; compression = "none";
  load = <0x40008000>; entry = <0x40008000>; hash-1 { algo = "sha256"; }; };
 fdt-1 { description = "d"; data = /incbin/("tree"); type = "flat_dt"; arch = "arm"; compression = "none"; hash-1 { algo = "sha256"; }; };
 rd { description = "r"; data = /incbin/("ramdisk"); type = "ramdisk"; arch = "arm"; os = "linux"; compression = "none"; hash-1 { algo = "sha256"; }; };
 }; configurations { default = "conf-1"; conf-1 { kernel = "kernel"; fdt = "fdt-1"; ramdisk = "rd";
  signature-1 { algo = "sha256,rsa2048"; key-name-hint = "dev"; sign-images = "kernel", "fdt", "ramdisk"; }; }; }; };"#;

pub(super) const SIGNATURE: &str = "/configurations/conf-1/signature-1";

/// The forger's kernel.
pub(super) const EVIL: [u8; 500] = [1; 500];

pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        let dir = tempdir();
        put(dir.path(), "kernel", &[0; 500]);
        put(dir.path(), "ramdisk", b"ramdisk.");
        fs::write(dir.path().join("dev.key"), read(&testdata("keys/dev.key"))).unwrap();
        use kimage::internals::fdt::{Flat, Node, Property, Strings};
        let root = Node::new("").with(Property::string("model", "m"));
        let mut tree = Vec::new();
        Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut tree).unwrap();
        put(dir.path(), "tree", &tree);
        Folder(dir)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Signs a source, and gives the FIT; the key is in `ctl.dtb`, required as it is said.
    pub(super) fn signed(&self, source: &str, options: &[&str]) -> Vec<u8> {
        self.signed_with(source, &[&["--key", "dev.key"], options].concat())
    }

    /// The same with the keys that the options name.
    pub(super) fn signed_with(&self, source: &str, options: &[&str]) -> Vec<u8> {
        fs::write(self.path("x.its"), source).unwrap();
        fs::copy(self.path("tree"), self.path("ctl.dtb")).unwrap();
        let mut command = kimage();
        command.current_dir(self.0.path()).args(["fit", "x.its", "--quiet", "-o", "x.itb"]);
        run_ok(command.args(["--control-dtb", "ctl.dtb"]).args(options));
        read(&self.path("x.itb"))
    }

    /// What `verify` says of a FIT with these keys.
    pub(super) fn verify(&self, fit: &[u8], keys: &[&str]) -> (bool, String) {
        put(self.0.path(), "a.itb", fit);
        let output = run(kimage().current_dir(self.0.path()).args(["verify", "a.itb"]).args(keys));
        (output.status.success(), stdout(&output))
    }

    #[track_caller]
    fn refused(&self, what: &str, fit: &[u8], rule: &str) {
        let (good, said) = self.verify(fit, &["--control-dtb", "ctl.dtb"]);
        assert!(!good && said.contains(&format!("[{rule}]")), "{what}: {said}");
    }

    #[track_caller]
    fn taken(&self, what: &str, fit: &[u8]) {
        let (good, said) = self.verify(fit, &["--control-dtb", "ctl.dtb"]);
        assert!(good && said.contains("[fit.signed]") && !said.contains("not checked"), "{what}: {said}");
    }
}

/// The value of a property, by its place in the blob.
pub(super) fn value(fit: &[u8], path: &str, name: &str) -> std::ops::Range<usize> {
    let tree = Dtb::parse_at(fit, 0).unwrap().tree().unwrap();
    let property =
        tree.find(path).unwrap_or_else(|| panic!("{path}")).property(name).unwrap_or_else(|| panic!("{name}"));
    let at = property.at.0 as usize;
    at..at + property.value.len()
}

/// The same with another value of the same length.
pub(super) fn with(fit: &[u8], path: &str, name: &str, new: &[u8]) -> Vec<u8> {
    let (mut fit, at) = (fit.to_vec(), value(fit, path, name));
    assert_eq!(at.len(), new.len(), "{path} {name}");
    fit[at].copy_from_slice(new);
    fit
}

pub(super) fn word(fit: &[u8], at: usize) -> usize {
    u32::from_be_bytes(fit[at..at + 4].try_into().unwrap()) as usize
}

/// The same with these bytes at a place of the structure block; a part of them may be taken out.
pub(super) fn spliced(fit: &[u8], at: std::ops::Range<usize>, new: &[u8]) -> Vec<u8> {
    let (old_len, mut out) = (at.len(), fit.to_vec());
    out.splice(at, new.iter().copied());
    for field in [4, 12, 36] {
        let changed = word(fit, field) + new.len() - old_len;
        out[field..field + 4].copy_from_slice(&(changed as u32).to_be_bytes());
    }
    out
}

/// The tokens of a node, from its first to behind its last.
pub(super) fn span(fit: &[u8], path: &str) -> std::ops::Range<usize> {
    let wanted: Vec<&str> = if path == "/" { vec![""] } else { path.split('/').collect() };
    let (mut at, mut here, mut start) = (word(fit, 8), Vec::new(), 0);
    loop {
        match word(fit, at) {
            1 => {
                let name = fit[at + 4..].split(|byte| *byte == 0).next().unwrap();
                here.push(std::str::from_utf8(name).unwrap());
                if here == wanted {
                    start = at;
                }
                at += (4 + name.len() + 1).next_multiple_of(4);
            }
            2 => {
                at += 4;
                if here == wanted {
                    return start..at;
                }
                here.pop();
            }
            3 => at += 12 + word(fit, at + 4).next_multiple_of(4),
            _ => at += 4,
        }
    }
}

/// Tokens of a node under another name of the same padded length.
pub(super) fn renamed(node: &[u8], old: &str, new: &str) -> Vec<u8> {
    let padded = |name: &str| {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize((name.len() + 1).next_multiple_of(4), 0);
        bytes
    };
    [&node[..4], &padded(new), &node[4 + padded(old).len()..]].concat()
}

pub(super) fn sha256(data: &[u8]) -> Vec<u8> {
    let dir = tempdir();
    put(dir.path(), "data", data);
    let text = "/dts-v1/; / { description = \"x\"; images { i { data = /incbin/(\"data\"); hash { algo = \"sha256\"; }; }; }; };";
    fs::write(dir.path().join("x.its"), text).unwrap();
    run_ok(kimage().current_dir(dir.path()).args(["fit", "x.its", "--quiet", "--force", "-o", "x.itb"]));
    let made = read(&dir.path().join("x.itb"));
    made[value(&made, "/images/i/hash", "value")].to_vec()
}

#[test]
fn forged_trees_are_refused() {
    let folder = Folder::new();
    let good = folder.signed(SOURCE, &["--required", "conf"]);
    folder.taken("whole", &good);
    let (is_good, said) = folder.verify(&good, &[]);
    assert!(is_good && said.contains("which was not checked"), "{said}");
    let evil_hash = sha256(&EVIL);

    let mut bit = good.clone();
    bit[value(&good, SIGNATURE, "value").start] ^= 1;
    folder.refused("a bit of the signature", &bit, "fit.unsigned");
    let evil = with(&good, "/images/kernel", "data", &EVIL);
    folder.refused("other data", &evil, "fit.hash");
    let evil = with(&evil, "/images/kernel/hash-1", "value", &evil_hash);
    folder.refused("other data with its hash", &evil, "fit.unsigned");
    for (path, name, new) in [
        ("/images/kernel", "load", &[0x40, 0, 0, 0][..]),
        ("/", "description", b"u\0"),
        ("/", "timestamp", &[0, 0, 0, 1]),
        ("/configurations/conf-1", "kernel", b"fdt-1\0\0"),
        (SIGNATURE, "algo", b"sha512,rsa2048\0"),
    ] {
        folder.refused(&format!("{name} of {path}"), &with(&good, path, name, new), "fit.unsigned");
    }
    // No part of what is signed, and nothing that U-Boot takes a name or address from.
    folder.taken("a hint", &with(&good, SIGNATURE, "key-name-hint", b"dEv\0"));

    // A second kernel and a configuration of it with the signature of the first (vboot_forge.py).
    let (kernel, conf) = (span(&good, "/images/kernel"), span(&good, "/configurations/conf-1"));
    let second = renamed(&good[conf.clone()], "conf-1", "conf-2");
    let forged = spliced(&good, conf.end..conf.end, &second);
    let copy = renamed(&forged[kernel.clone()], "kernel", "kernul");
    let forged = spliced(&forged, kernel.end..kernel.end, &copy);
    let forged = with(&forged, "/configurations/conf-2", "kernel", b"kernul\0");
    let forged = with(&forged, "/images/kernul", "data", &EVIL);
    let forged = with(&forged, "/images/kernul/hash-1", "value", &evil_hash);
    folder.refused("a second configuration", &with(&forged, "/configurations", "default", b"conf-2\0"), "fit.unsigned");

    // kernel@evil in front of kernel (vboot_evil.py).
    let mut copy = good[kernel.clone()].to_vec();
    copy.splice(4..12, *b"kernel@evil\0");
    let unit = spliced(&good, kernel.start..kernel.start, &copy);
    folder.refused("a unit address", &unit, "fit.unit_address");
    // Twice the same name.
    let twice = spliced(&good, kernel.end..kernel.end, &good[kernel.clone()]);
    folder.refused("an image twice", &twice, "fit.duplicate_name");

    // Another root in front, or behind: no reader goes on.
    let root = span(&good, "/");
    for (what, bad) in [
        ("a root in front", spliced(&good, root.start..root.start, &renamed(&good[root.clone()], "", "f@k"))),
        ("a root behind", spliced(&good, root.end..root.end, &good[root.clone()])),
    ] {
        let (is_good, said) = folder.verify(&bad, &["--control-dtb", "ctl.dtb"]);
        assert!(!is_good, "{what}: {said}");
    }

    // /images copied into itself, and hashed-nodes led there (vboot_evil.py, "clone"): U-Boot of 2023 takes it.
    let images = span(&good, "/images");
    let clone = spliced(&good, images.end - 4..images.end - 4, &good[images.clone()]);
    let hashed = value(&clone, SIGNATURE, "hashed-nodes");
    let text = String::from_utf8(clone[hashed].to_vec()).unwrap().replace("/images/", "/images/images/");
    let at = value(&clone, SIGNATURE, "hashed-nodes");
    let mut property = [3, text.len() as u32].map(u32::to_be_bytes).concat();
    property.extend_from_slice(&clone[at.start - 4..at.start]);
    property.extend_from_slice(text.as_bytes());
    property.resize(property.len().next_multiple_of(4), 0);
    let clone = spliced(&clone, at.start - 12..at.end.next_multiple_of(4), &property);
    let clone = with(&clone, "/images/kernel", "data", &EVIL);
    folder.refused(
        "a clone of the images",
        &with(&clone, "/images/kernel/hash-1", "value", &evil_hash),
        "fit.sign_images",
    );

    // The list of the names that are signed.
    let names = word(&good, 32) as u32;
    let pair = |a: u32, b: u32| [a.to_be_bytes(), b.to_be_bytes()].concat();
    let len = word(&good, value(&good, SIGNATURE, "hashed-strings").start + 4) as u32;
    for (what, start, size) in [("too long", 0, names + 1), ("the whole", 0, names), ("an offset", 4, len)] {
        let bad = with(&good, SIGNATURE, "hashed-strings", &pair(start, size));
        folder.refused(&format!("hashed-strings, {what}"), &bad, "fit.unsigned");
    }
    let at = value(&good, SIGNATURE, "hashed-strings");
    folder.refused("no hashed-strings", &spliced(&good, at.start - 12..at.end, &[]), "fit.unsigned");
    let signature = span(&good, SIGNATURE);
    folder.refused("no signature", &spliced(&good, signature, &[]), "fit.unsigned");
    let (is_good, said) = folder.verify(&folder.signed(SOURCE, &[]), &["--control-dtb", "ctl.dtb"]);
    assert!(!is_good && said.contains("[fit.not_required]"), "{said}");
}

#[test]
fn external_data_is_held_to_its_place() {
    let folder = Folder::new();
    let good = folder.signed(SOURCE, &["--required", "conf", "-E"]);
    folder.taken("external data", &good);
    for (name, new) in [
        ("data-offset", 0xffff_ffff_u32),
        ("data-offset", 0x1000_0000),
        ("data-size", 0xffff_ffff),
        ("data-size", 0x7fff_ffff),
        ("data-size", 0),
        ("data-offset", 4),
    ] {
        let bad = with(&good, "/images/kernel", name, &new.to_be_bytes());
        let (is_good, said) = folder.verify(&bad, &["--control-dtb", "ctl.dtb"]);
        assert!(!is_good, "{name} {new:#x}: {said}");
    }
    let mut changed = good.clone();
    let at = word(&good, 4);
    changed[at] ^= 1;
    folder.refused("a byte of the data", &changed, "fit.hash");
}

/// What the signature leaves out, or what stands for the data, is too little.
#[test]
fn what_is_not_covered_is_said() {
    let folder = Folder::new();
    let chosen = ", \"ramdisk\"; }";
    assert!(SOURCE.contains(chosen));
    let some = folder.signed(&SOURCE.replace(chosen, "; }"), &["--required", "conf"]);
    let (is_good, said) = folder.verify(&some, &["--control-dtb", "ctl.dtb"]);
    assert!(!is_good && said.contains("[fit.sign_images]") && said.contains("does not cover rd"), "{said}");
    for (algo, severity) in [("crc32", "error"), ("md5", "error"), ("sha1", "warning")] {
        let weak = folder.signed(&SOURCE.replacen("sha256", algo, 1), &["--required", "conf"]);
        let (is_good, said) = folder.verify(&weak, &["--control-dtb", "ctl.dtb"]);
        assert!(said.contains("[fit.weak_hash]") && is_good == (severity == "warning"), "{algo}: {said}");
    }
    // Signatures of images are for their data alone.
    let signature = "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; };";
    let own = &SOURCE[SOURCE.rfind("signature-1").unwrap()..SOURCE.rfind("}; }; }; };").unwrap() + 2];
    let source = SOURCE.replace(own, "").replace("hash-1 {", &format!("{signature} hash-1 {{"));
    let images = folder.signed(&source, &["--required", "image"]);
    folder.taken("images", &images);
    let moved = with(&images, "/images/kernel", "load", &[0x40, 0, 0, 0]);
    let (is_good, said) = folder.verify(&moved, &["--control-dtb", "ctl.dtb"]);
    assert!(is_good && said.contains("not their addresses and types"), "{said}");
    let mut bit = images.clone();
    bit[value(&images, "/images/rd/signature-1", "value").start] ^= 1;
    folder.refused("a bit of an image's signature", &bit, "fit.unsigned");
    let without = spliced(&images, span(&images, "/images/rd/signature-1"), &[]);
    folder.refused("an image without signature", &without, "fit.unsigned");
}

#[test]
fn keys_and_what_is_demanded_of_them() {
    let folder = Folder::new();
    let good = folder.signed(SOURCE, &["--required", "conf"]);
    let pubkey = |control: &str, name: &str, key: &Path, required: &str| {
        fs::copy(key, folder.path(&format!("{name}.key"))).unwrap();
        let mut command = kimage();
        command.current_dir(folder.0.path()).args(["pubkey", control, "--key-name", name, "--algo", "sha256,rsa2048"]);
        run_ok(command.args(["--required", required, "-o", control]));
    };
    let Some(openssl) = crate::support::tool("openssl", "openssl") else { return };
    let other = folder.path("other.pem");
    run_ok(std::process::Command::new(openssl).args(["genrsa", "-traditional", "-out"]).arg(&other).arg("2048"));
    // Both are demanded, of which one is there.
    pubkey("ctl.dtb", "prod", &other, "conf");
    folder.refused("two keys demanded", &good, "fit.unsigned");
    // Another one alone.
    fs::copy(folder.path("tree"), folder.path("ctl.dtb")).unwrap();
    pubkey("ctl.dtb", "prod", &other, "conf");
    folder.refused("another key", &good, "fit.unsigned");
    let (is_good, said) = folder.verify(&good, &["--key", "prod.key"]);
    assert!(!is_good && said.contains("does not hold"), "{said}");
    let (is_good, said) = folder.verify(&good, &["--key", "dev.key"]);
    assert!(is_good && said.contains("covers the configuration with kernel, fdt-1, rd"), "{said}");
    // A key that U-Boot does not use.
    pubkey("ctl.dtb", "dev", &testdata("keys/dev.key"), "conf");
    let control = read(&folder.path("ctl.dtb"));
    put(folder.0.path(), "ctl.dtb", &with(&control, "/signature/key-prod", "required", b"canf\0"));
    folder.refused("a key that demands nothing", &good, "fit.control_key");
    // One of two is enough where the tree says so; any of its nodes may.
    put(folder.0.path(), "ctl.dtb", &control);
    folder.refused("all of two keys", &good, "fit.unsigned");
    let property =
        [&3_u32.to_be_bytes()[..], &4_u32.to_be_bytes(), &(word(&control, 32) as u32).to_be_bytes(), b"any\0"];
    let at = span(&control, "/signature").start + 4 + 12;
    let mut any = spliced(&control, at..at, &property.concat());
    let name = b"required-mode\0";
    let end = word(&any, 12) + word(&any, 32);
    any.splice(end..end, *name);
    for field in [4, 32] {
        let changed = (word(&any, field) + name.len()) as u32;
        any[field..field + 4].copy_from_slice(&changed.to_be_bytes());
    }
    put(folder.0.path(), "ctl.dtb", &any);
    let (is_good, said) = folder.verify(&good, &["--control-dtb", "ctl.dtb"]);
    assert!(is_good && said.contains("[fit.signed]"), "{said}");
    let mut bit = good.clone();
    bit[value(&good, SIGNATURE, "value").start] ^= 1;
    folder.refused("none of any", &bit, "fit.unsigned");
    // What is no FIT has no signature.
    folder.refused("no FIT", &read(&folder.path("tree")), "fit.unsigned");
}

/// What a finding is about: the node or property, by its place, and what stands there.
#[test]
fn the_place_of_what_is_wrong() {
    let folder = Folder::new();
    let good = folder.signed(SOURCE, &["--required", "conf"]);
    let tree_place = |fit: &[u8], path: &str, property: &str| {
        let tree = Dtb::parse_at(fit, 0).unwrap().tree().unwrap();
        let node = tree.find(path).unwrap();
        let place = node.property(property).map(|property| property.at.0);
        place.unwrap_or_else(|| span(fit, path).start as u64)
    };
    let says = |fit: &[u8], path: &str, property: &str, values: Option<(&str, &str)>| {
        put(&folder.path(""), "a.itb", fit);
        let mut command = kimage();
        command.current_dir(folder.path("")).args(["verify", "a.itb", "--control-dtb", "ctl.dtb", "--json"]);
        let said: serde_json::Value = serde_json::from_str(&stdout(&run(&mut command))).unwrap();
        let found = said["files"][0]["findings"].as_array().unwrap();
        let is_it = |found: &&serde_json::Value| {
            found["rule"] == "fit.unsigned" && found["message"].as_str().unwrap().contains(", key key-dev: ")
        };
        let found = found.iter().find(is_it).unwrap_or_else(|| panic!("{said:#}"));
        assert_eq!(found["offset"], tree_place(fit, path, property), "{path} {property}: {found:#}");
        let of = |name: &str| found[name].as_str().map(str::to_owned);
        let values = values.map(|(is, wanted)| (is.to_owned(), wanted.to_owned()));
        assert_eq!(of("found").zip(of("wanted")), values, "{path} {property}: {found:#}");
    };
    let mut bit = good.clone();
    bit[value(&good, SIGNATURE, "value").start] ^= 1;
    says(&bit, SIGNATURE, "value", None);
    let other = with(&good, SIGNATURE, "algo", b"sha384,rsa2048\0");
    says(&other, SIGNATURE, "algo", Some(("sha384,rsa2048", "sha256,rsa2048")));
    let unknown = with(&good, SIGNATURE, "algo", b"sha256,rsa2049\0");
    says(&unknown, SIGNATURE, "algo", None);
    let mut start = good.clone();
    start[value(&good, SIGNATURE, "hashed-strings").start + 3] = 4;
    says(&start, SIGNATURE, "hashed-strings", Some(("4", "0")));
    // Partly signed: the other configuration, and a signature by another key behind the one that is meant.
    let partly = SOURCE.replace("}; }; }; };", "}; }; conf-2 { kernel = \"kernel\"; }; }; };");
    let partly = folder.signed(&partly, &["--required", "conf"]);
    says(&partly, "/configurations/conf-2", "", Some(("none", "a node signature")));
    let two = "}; signature-2 { algo = \"sha256,rsa2048\"; key-name-hint = \"aaa\"; }; }; }; };";
    let two = folder.signed_with(
        &SOURCE.replace("}; }; }; };", two),
        &["--key", "dev=dev.key", "--key", "aaa=dev.key", "--required", "conf"],
    );
    let mut bit = two.clone();
    bit[value(&two, SIGNATURE, "value").start] ^= 1;
    bit[value(&two, &SIGNATURE.replace("-1/signature-1", "-1/signature-2"), "value").start] ^= 1;
    says(&bit, SIGNATURE, "value", None);
}
