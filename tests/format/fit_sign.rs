//! Signed FITs beside mkimage, byte for byte, and the control device trees that get the keys; what is random in mkimage's is checked by openssl
//! and by kimage.

use crate::support::{
    self, assert_same, cache, kimage, missing, put, read, run, run_ok, stderr, stdout, tempdir, tool,
};
use kimage::sign::PrivateKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const EPOCH: &str = "1700000000";

/// Keys of all kinds, made once by openssl: NAME.key with NAME.crt for RSA, NAME.pem for ECDSA; NAME.bin for ciphers.
pub(super) fn keys() -> Option<&'static Path> {
    static KEYS: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let openssl = tool("openssl", "openssl")?;
        let dir = tempdir();
        let make = |args: &[&str]| drop(run_ok(Command::new(&openssl).current_dir(dir.path()).args(args)));
        for (name, bits) in [("dev", "2048"), ("prod", "2048"), ("r3072", "3072"), ("r4096", "4096")] {
            let (new, key, crt) = (format!("rsa:{bits}"), format!("{name}.key"), format!("{name}.crt"));
            make(&["req", "-batch", "-newkey", &new, "-nodes", "-x509", "-keyout", &key, "-out", &crt]);
        }
        for (curve, name) in [("prime256v1", "e256.pem"), ("secp384r1", "e384.pem")] {
            make(&["ecparam", "-name", curve, "-genkey", "-noout", "-out", name]);
        }
        for (name, len) in [("aes128", 16), ("aes192", 24), ("aes256", 32), ("iv-1", 16)] {
            put(dir.path(), &format!("{name}.bin"), &support::noise(len, len as u64 + name.len() as u64));
        }
        Some(dir)
    });
    keys.as_ref().map(|dir| dir.path())
}

pub(super) fn signature(algo: &str, key: &str, more: &str) -> String {
    format!("signature-1 {{ algo = \"{algo}\"; key-name-hint = \"{key}\"; {more} }};")
}

/// A source: what stands in the kernel's image, in the first configuration, and behind it.
pub(super) fn source(image: &str, configuration: &str, behind: &str) -> String {
    let other = |name: &str, hashes: &str| {
        format!(
            "{name} {{ description = \"r\"; data = /incbin/(\"rd.bin\"); type = \"ramdisk\"; arch = \"arm\"; os = \"linux\"; \
             compression = \"none\"; {hashes} }};"
        )
    };
    format!(
        "/dts-v1/; / {{ description = \"signed\"; #address-cells = <1>; images {{
         kernel {{ description = \"k\"; data = /incbin/(\"kernel.bin\"); type = \"kernel\"; arch = \"arm\"; os = \"linux\";
          compression = \"none\"; load = <0x40008000>; entry = <0x40008000>; hash-1 {{ algo = \"sha256\"; }}; {image} }};
         fdt-1 {{ description = \"d\"; data = /incbin/(\"fdt.bin\"); type = \"flat_dt\"; arch = \"arm\"; compression = \"none\";
          hash-1 {{ algo = \"sha1\"; }}; hash-2 {{ algo = \"crc32\"; }}; }};
         {} {} }};
         configurations {{ default = \"conf-1\";
          conf-1 {{ description = \"c\"; kernel = \"kernel\"; fdt = \"fdt-1\"; {configuration} }}; {behind} }}; }};",
        other("rd-1", "hash-1 { algo = \"sha512\"; }; hash-2 { algo = \"md5\"; };"),
        other("rd-2", "hash { algo = \"sha384\"; };")
    )
}

/// A folder with what the sources include, and control device trees: `plain`, `pad` with room, `sig` with a node /signature.
pub(super) fn folder() -> tempfile::TempDir {
    let dir = tempdir();
    put(dir.path(), "kernel.bin", &support::noise(5001, 7));
    put(dir.path(), "rd.bin", b"ramdisk");
    use kimage::internals::fdt::{Flat, Node, Property, Strings};
    let tree = |node: Node<'_>, room: u64| {
        let mut out = Vec::new();
        let flat = Flat::new(&node, Strings::default()).unwrap();
        flat.plan(flat.size() + room).unwrap().emit(&mut out).unwrap();
        out
    };
    let root = || Node::new("").with(Property::string("model", "m")).with(Property::string("compatible", "x,y"));
    let with = |child: &'static str| root().with_child(Node::new(child).with(Property::string("bootargs", "a")));
    put(dir.path(), "fdt.bin", &tree(root(), 0));
    put(dir.path(), "ctl-plain.dtb", &tree(with("chosen"), 0));
    put(dir.path(), "ctl-pad.dtb", &tree(with("chosen"), 300));
    put(dir.path(), "ctl-big.dtb", &tree(with("chosen"), 9000));
    put(dir.path(), "ctl-sig.dtb", &tree(with("signature"), 1));
    dir
}

/// What kimage's `--layout` calls this mkimage: signatures name a candidate, too.
pub(super) fn layout(mkimage: &Path) -> String {
    let said = stdout(&run_ok(Command::new(mkimage).arg("-V")));
    let version = said.trim().rsplit(' ').next().unwrap();
    version.split('+').next().unwrap().to_owned()
}

/// Runs both and compares FIT and control device tree.
#[track_caller]
pub(super) fn same(mkimage: &Path, dir: &Path, what: &str, command: &str, options: &[&str], control: Option<&str>) {
    let layout = layout(mkimage);
    let keys = keys().unwrap().to_str().unwrap();
    let (input, theirs) = match command {
        "fit" => (vec!["-f", "x.its"], "theirs.itb"),
        _ => {
            fs::copy(dir.join("base.itb"), dir.join("theirs.itb")).unwrap();
            (vec!["-F"], "theirs.itb")
        }
    };
    let mut peer = Command::new(mkimage);
    peer.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH).args(input).args(["-k", keys]).args(options);
    let mut ours = kimage();
    ours.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH).arg(command);
    ours.arg(if command == "fit" { "x.its" } else { "base.itb" })
        .args(["--quiet", "--keys", keys, "--layout", &layout]);
    if let Some(control) = control {
        fs::copy(dir.join(control), dir.join("theirs.dtb")).unwrap();
        fs::copy(dir.join(control), dir.join("ours.dtb")).unwrap();
        peer.args(["-K", "theirs.dtb"]);
        ours.args(["--control-dtb", "ours.dtb"]);
    }
    let required = options.contains(&"-r");
    ours.args(options.iter().filter(|option| **option != "-r")).args(required.then_some("--required=conf,image"));
    run_ok(peer.arg(theirs));
    run_ok(ours.args(["-o", "ours.itb"]));
    let what = format!("{what}, mkimage {layout}, {options:?}, {control:?}");
    assert_same(&what, &read(&dir.join("ours.itb")), &read(&dir.join(theirs)));
    if control.is_some() {
        assert_same(&format!("{what}: control"), &read(&dir.join("ours.dtb")), &read(&dir.join("theirs.dtb")));
    }
}

/// mkimage of this machine, and of other releases where tests/fetch-mkimage.sh put them.
pub(super) fn mkimages() -> Vec<PathBuf> {
    let Some(own) = tool("mkimage", "u-boot-tools").filter(|_| tool("dtc", "device-tree-compiler").is_some()) else {
        return Vec::new();
    };
    let mut all = vec![own];
    // Debian 11's has its own words for its version.
    for suite in ["trixie", "newest"] {
        let mkimage = cache().join("mkimage").join(suite).join("mkimage");
        match mkimage.is_file() {
            true => all.push(mkimage),
            false => missing(&format!("mkimage of {suite}: sh tests/fetch-mkimage.sh")),
        }
    }
    all
}

type Case = (&'static str, String);

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (algo, key) in
        [("sha1,rsa2048", "dev"), ("sha256,rsa2048", "dev"), ("sha384,rsa3072", "r3072"), ("sha512,rsa4096", "r4096")]
    {
        let chosen = signature(algo, key, "sign-images = \"kernel\", \"fdt\";");
        all.push(("configuration", source("", &chosen, "")));
        all.push(("image", source(&signature(algo, key, ""), "", "")));
    }
    let plain = signature("sha256,rsa2048", "dev", "");
    let second = "signature-2 { algo = \"sha1,rsa2048\"; key-name-hint = \"prod\"; };";
    all.push(("padding", source("", &signature("sha256,rsa2048", "dev", "padding = \"pkcs-1.5\";"), "")));
    all.push(("kernel alone", source("", &signature("sha256,rsa2048", "dev", "sign-images = \"kernel\";"), "")));
    all.push((
        "three configurations",
        source(
            "",
            &plain,
            &format!("conf-2 {{ kernel = \"kernel\"; {second} }}; conf-3 {{ kernel = \"kernel\"; fdt = \"fdt-1\"; }};"),
        ),
    ));
    all.push(("two signatures", source(&plain, &format!("{plain} {second}"), "")));
    let loadables = "loadables = \"rd-1\", \"rd-2\";";
    let chosen = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\", \"loadables\";");
    all.push(("loadables", source("", &format!("{loadables} {chosen}"), "")));
    let more = "signature-2 { algo = \"sha384,rsa3072\"; key-name-hint = \"r3072\"; }; signature-3 { algo = \"sha256,rsa2048\"; \
                key-name-hint = \"dev\"; };";
    all.push(("three keys", source("", &format!("{} {more}", signature("sha512,rsa4096", "r4096", "")), "")));
    all
}

const OPTIONS: &[(&[&str], Option<&str>)] = &[
    (&[], None),
    (&["-r"], Some("ctl-plain.dtb")),
    (&["-c", "hello wor"], Some("ctl-pad.dtb")),
    (&["-E"], Some("ctl-big.dtb")),
    (&["-E", "-B", "1000"], Some("ctl-plain.dtb")),
    (&["-E", "-p", "3000"], None),
    (&["-r", "-c", "x", "-E"], Some("ctl-sig.dtb")),
];

/// Signing while building: every case and every option; with --full, each with each and each mkimage.
#[test]
fn signed_sources() {
    let all = mkimages();
    if all.is_empty() || keys().is_none() {
        return;
    }
    let dir = folder();
    for (number, (what, text)) in cases().iter().enumerate() {
        fs::write(dir.path().join("x.its"), text).unwrap();
        for (index, (options, control)) in OPTIONS.iter().enumerate() {
            for (which, mkimage) in all.iter().enumerate() {
                // The first mkimage sees two options of each case, others one of some.
                let chosen = match which {
                    0 => (number + index) % 4 == 0,
                    _ => (number + which) % 4 == 0 && index == (number + which) % OPTIONS.len(),
                };
                if chosen || support::full() {
                    same(mkimage, dir.path(), what, "fit", options, *control);
                }
            }
        }
    }
}

/// Signing afterwards, and again: with other comments, other places of the data, keys that are there already.
#[test]
fn signed_again() {
    let all = mkimages();
    if all.is_empty() || keys().is_none() {
        return;
    }
    let dir = folder();
    let keys = keys().unwrap().to_str().unwrap();
    let again: [(&[&str], &[&str], Option<&str>); 7] = [
        (&[], &[], None),
        (&[], &["-r"], Some("ctl-plain.dtb")),
        (&["-E"], &["-E"], Some("ctl-pad.dtb")),
        (&["-c", "one"], &["-c", "another comment"], Some("ctl-big.dtb")),
        (&["-c", "a long comment that is there"], &["-c", "x"], Some("ctl-plain.dtb")),
        (&["-E", "-B", "200"], &["-E", "-B", "400", "-r"], Some("ctl-sig.dtb")),
        (&["-E", "-p", "3000"], &["-E", "-p", "4000"], None),
    ];
    for (number, (what, text)) in cases().iter().enumerate() {
        fs::write(dir.path().join("x.its"), text).unwrap();
        for (index, (first, second, control)) in again.iter().enumerate() {
            for (which, mkimage) in all.iter().enumerate() {
                let chosen = (number + index) % 7 == 0 && which == number % all.len();
                // Before 2025 mkimage -F refuses what was made with -p.
                let refused = first.contains(&"-p") && *layout(mkimage) < *"2025.10";
                if refused || !(chosen || support::full()) {
                    continue;
                }
                for signed in [true, false] {
                    let mut base = Command::new(mkimage);
                    base.current_dir(dir.path()).env("SOURCE_DATE_EPOCH", "1600000000").args(["-f", "x.its"]);
                    run_ok(base.args(signed.then_some(["-k", keys]).iter().flatten()).args(*first).arg("base.itb"));
                    same(mkimage, dir.path(), &format!("{what}, signed {signed}"), "sign", second, *control);
                }
            }
        }
    }
}

/// What a key made of random numbers in mkimage, and not in kimage: the same twice; openssl and kimage take it, and nobody takes
/// it for other data.
#[test]
fn pss_and_ecdsa() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let dir = folder();
    let dir = dir.path();
    for (algo, key, more) in [
        ("sha256,rsa2048", "dev.key", "padding = \"pss\";"),
        ("sha384,rsa3072", "r3072.key", "padding = \"pss\";"),
        ("sha512,rsa4096", "r4096.key", "padding = \"pss\";"),
        ("sha256,ecdsa256", "e256.pem", ""),
        ("sha384,ecdsa384", "e384.pem", ""),
    ] {
        let hint = key.split('.').next().unwrap();
        let image = source(&signature(algo, hint, more), "", "");
        fs::write(dir.join("x.its"), &image).unwrap();
        let make = |name: &str| {
            let mut command = kimage();
            command.current_dir(dir).args(["fit", "x.its", "--quiet", "-o", name, "--keys"]);
            run_ok(command.arg(keys));
            read(&dir.join(name))
        };
        let made = make("one.itb");
        assert_same(algo, &make("two.itb"), &made);
        let fit = kimage::internals::Fit::parse(&made).unwrap();
        let root = fit.images().find(|image| image.name() == "kernel").unwrap();
        let tree = kimage::internals::fdt::Dtb::parse_at(&made, 0).unwrap().tree().unwrap();
        let value = tree.find("/images/kernel/signature-1").unwrap().property("value").unwrap().value;
        let value = match algo.contains("ecdsa") {
            true => der(value),
            false => value.to_vec(),
        };
        put(dir, "value", &value);
        put(dir, "data", root.data().unwrap());
        let public = run_ok(Command::new(&openssl).args(["pkey", "-pubout", "-in"]).arg(keys.join(key)));
        put(dir, "public.pem", &public.stdout);
        let hash = format!("-{}", algo.split(',').next().unwrap());
        let mut check = Command::new(&openssl);
        check.current_dir(dir).args(["dgst", &hash, "-verify", "public.pem", "-signature", "value"]);
        if !more.is_empty() {
            check.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"]);
        }
        assert!(stdout(&run_ok(check.arg("data"))).contains("Verified OK"), "{algo}");
        let verify = |name: &str| run(kimage().current_dir(dir).args(["verify", name, "--key", "public.pem"]));
        // The other images have no signature.
        let alone = image.replace("fdt = \"fdt-1\";", "");
        fs::write(dir.join("x.its"), alone).unwrap();
        let mut made = make("alone.itb");
        let said = verify("alone.itb");
        assert!(said.status.success() && stdout(&said).contains("covers the data of kernel"), "{}", stdout(&said));
        let at = memchr::memmem::find(&made, root.data().unwrap()).unwrap();
        made[at] ^= 1;
        put(dir, "bad.itb", &made);
        assert!(!verify("bad.itb").status.success());
    }
}

/// `r || s` as openssl wants them: SEQUENCE of two INTEGERs.
fn der(value: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..];
        let sign: &[u8] = if bytes[0] >> 7 == 1 { &[0] } else { &[] };
        [&[2, (bytes.len() + sign.len()) as u8], sign, bytes].concat()
    };
    let (r, s) = value.split_at(value.len() / 2);
    let body = [number(r), number(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// Keys of every form sign alike; what is no key, or not the right one, is refused with the way out, and writes nothing.
#[test]
fn keys_of_every_form() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let dir = folder();
    let dir = dir.path();
    fs::write(dir.join("x.its"), source("", &signature("sha256,rsa2048", "dev", ""), "")).unwrap();
    let key = keys.join("dev.key");
    let openssl = |args: &[&str]| drop(run_ok(Command::new(&openssl).current_dir(dir).args(args).arg("-in").arg(&key)));
    openssl(&["rsa", "-traditional", "-out", "pkcs1.key"]);
    openssl(&["pkcs8", "-topk8", "-passout", "pass:secret", "-out", "closed.key"]);
    openssl(&["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-scrypt", "-passout", "pass:secret", "-out", "scrypt.key"]);
    put(dir, "passphrase", b"secret\nnot this\n");
    put(dir, "wrong", b"wrong\n");
    // One of 256 wrong ones gives padding that is right.
    openssl(&["pkcs8", "-topk8", "-iter", "1", "-passout", "pass:secret", "-out", "quick.key"]);
    let quick = fs::read(dir.join("quick.key")).unwrap();
    for wrong in 0..2000 {
        let Err(error) = PrivateKey::from_pem(&quick, Some(format!("{wrong}").as_bytes())) else {
            panic!("{wrong} opens it")
        };
        assert!(error.to_string().contains("this passphrase does not open it"), "{wrong}: {error}");
    }
    let fit = |options: &[&str]| {
        let _ = fs::remove_file(dir.join("x.itb"));
        let mut command = kimage();
        let output = run(command.current_dir(dir).args(["fit", "x.its", "--quiet", "-o", "x.itb"]).args(options));
        let made = fs::read(dir.join("x.itb")).ok();
        assert_eq!(output.status.success(), made.is_some());
        made.ok_or_else(|| stderr(&output))
    };
    let wanted = fit(&["--keys", keys.to_str().unwrap()]).unwrap();
    for options in [
        &["--key", "pkcs1.key"][..],
        &["--key", "closed.key", "--passphrase", "passphrase"],
        &["--key", "scrypt.key", "--passphrase", "passphrase"],
    ] {
        assert_same(&format!("{options:?}"), &fit(options).unwrap(), &wanted);
    }
    let (prod, e256) = (keys.join("r4096.key"), keys.join("e256.pem"));
    for (options, words) in [
        (&["--keys", "."][..], "the key ./dev.key is not there"),
        (&["--key", "closed.key"], "there is no passphrase"),
        (&["--key", "closed.key", "--passphrase", "wrong"], "this passphrase does not open it"),
        (&["--key", "x.its"], "is no private key that kimage reads"),
        (&["--key", prod.to_str().unwrap()], "the key is of rsa4096, the algorithm sha256,rsa2048 was asked for"),
        (&["--key", e256.to_str().unwrap()], "the key is of ecdsa256"),
        (&["--key", "pkcs1.key", "--algo", "sha256,rsa1024"], "unknown algorithm"),
        (&["--key", "pkcs1.key", "--algo", "md5,rsa2048"], "unknown algorithm"),
        (&["--passphrase", "wrong"], "means nothing without"),
        (&["--key", "pkcs1.key", "--unsigned"], "cannot be used with"),
    ] {
        let said = fit(options).unwrap_err();
        assert!(said.contains(words), "{options:?}: {said}");
    }
    for (text, words) in [
        (source("", &signature("sha256,rsa2048", "dev", "sign-images = \"rd\";"), ""), "covers no image"),
        (
            source("", &format!("rd = \"rd-9\"; {}", signature("sha256,rsa2048", "dev", "sign-images = \"rd\";")), ""),
            "rd-9, which is not there",
        ),
        (source("", &signature("sha256,rsa2048", "dev", ""), "").replace("hash-1 {", "h {"), "which has no hash"),
    ] {
        fs::write(dir.join("x.its"), text).unwrap();
        let said = fit(&["--key", "pkcs1.key", "--force"]).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    // Nothing is signed where nothing asks for it, and that is said.
    fs::write(dir.join("x.its"), source("", "", "")).unwrap();
    let output = run_ok(kimage().current_dir(dir).args(["fit", "x.its", "-o", "none.itb", "--key", "pkcs1.key"]));
    assert!(stderr(&output).contains("the keys sign nothing"), "{}", stderr(&output));
    let output = run(kimage().current_dir(dir).args(["sign", "none.itb", "--key", "pkcs1.key"]));
    assert!(!output.status.success() && stderr(&output).contains("no node asks"), "{}", stderr(&output));
    // mkimage's own choice leaves the ramdisk out.
    let text = source("", &format!("ramdisk = \"rd-1\"; {}", signature("sha256,rsa2048", "dev", "")), "");
    fs::write(dir.join("x.its"), text).unwrap();
    let output =
        run_ok(kimage().current_dir(dir).args(["fit", "x.its", "-o", "x.itb", "--key", "pkcs1.key", "--json"]));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report.to_string();
    assert!(findings.contains("\"fit.sign_images\"") && findings.contains("does not cover /images/rd-1"), "{findings}");
}
