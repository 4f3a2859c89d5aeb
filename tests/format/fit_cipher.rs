//! Encrypted images beside mkimage and openssl: the same FITs and control device trees, the same plain text back, and no way past a key
//! that is missing, wrong, or of another length.

use super::fit_sign::{folder, keys, mkimages, same, signature, source};
use crate::support::{assert_same, full, kimage, put, read, run, run_ok, stderr, stdout, tool};
use kimage::internals::Fit;
use kimage::internals::fdt::{Dtb, Flat, Node, Property, Strings};
use std::fs;
use std::path::Path;
use std::process::Command;

fn cipher(algo: &str, more: &str) -> String {
    format!("cipher {{ algo = \"{algo}\"; key-name-hint = \"{algo}\"; {more} }};")
}

const IV: &str = "iv-name-hint = \"iv-1\";";

fn cases() -> Vec<(&'static str, String)> {
    let signed = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\";");
    let aes256 = cipher("aes256", IV);
    vec![
        ("aes128", source(&cipher("aes128", IV), "", "")),
        ("aes192", source(&cipher("aes192", IV), "", "")),
        ("aes256", source(&aes256, "", "")),
        ("signed configuration", source(&aes256, &signed, "")),
        ("signed image", source(&format!("{aes256} {}", signature("sha1,rsa2048", "prod", "")), &signed, "")),
        // One key for two images, and a second cipher.
        (
            "all images",
            source(&aes256, &signed, "").replace("hash-1 {", &format!("{} hash-1 {{", cipher("aes128", IV))).replacen(
                &cipher("aes128", IV),
                "",
                1,
            ),
        ),
    ]
}

const OPTIONS: &[(&[&str], Option<&str>)] = &[
    (&[], None),
    (&[], Some("ctl-plain.dtb")),
    (&["-r"], Some("ctl-pad.dtb")),
    (&["-E"], Some("ctl-big.dtb")),
    (&["-E", "-p", "5000"], None),
    (&["-E", "-B", "1000", "-c", "x"], Some("ctl-sig.dtb")),
];

/// Every cipher and option as by three mkimages; made again, what is encrypted stays, and what is not is encrypted.
#[test]
fn encrypted_as_by_mkimage() {
    let all = mkimages();
    if all.is_empty() || keys().is_none() {
        return; // no gap: mkimages() and keys() say so
    }
    let dir = folder();
    for (number, (what, text)) in cases().iter().enumerate() {
        fs::write(dir.path().join("x.its"), text).unwrap();
        for (index, (options, control)) in OPTIONS.iter().enumerate() {
            for (which, mkimage) in all.iter().enumerate() {
                if full() || (number + index + which) % 6 == 0 {
                    same(mkimage, dir.path(), what, "fit", options, *control);
                }
                // Before 2025 mkimage -F refuses what was made with -p.
                if options.contains(&"-p") || !text.contains("signature") || !(full() || (number + index) % 6 == which)
                {
                    continue;
                }
                for encrypted in [true, false] {
                    let mut base = Command::new(mkimage);
                    base.current_dir(dir.path()).env("SOURCE_DATE_EPOCH", "1600000000").args(["-f", "x.its"]);
                    base.args(encrypted.then_some(["-k", keys().unwrap().to_str().unwrap()]).iter().flatten());
                    run_ok(base.args(options.iter().filter(|it| **it != "-r")).arg("base.itb"));
                    same(mkimage, dir.path(), &format!("{what}, again, {encrypted}"), "sign", options, *control);
                }
            }
        }
    }
}

fn fit(dir: &Path, text: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    fs::write(dir.join("x.its"), text).unwrap();
    let _ = fs::remove_file(dir.join("x.itb"));
    let output = run(kimage().current_dir(dir).args(["fit", "x.its", "--quiet", "-o", "x.itb"]).args(options));
    let made = fs::read(dir.join("x.itb")).ok();
    assert_eq!(output.status.success(), made.is_some());
    made.ok_or_else(|| stderr(&output))
}

fn property<'a>(itb: &'a [u8], path: &str, name: &str) -> Option<&'a [u8]> {
    let tree = kimage::internals::fdt::Dtb::parse_at(itb, 0).unwrap().tree().unwrap();
    tree.find(path).and_then(|node| node.property(name)).map(|it| it.value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// openssl decrypts what was encrypted, and so do `extract` and `verify`; an iv that nobody gave is new each time and stands in the
/// node, one that is given makes the same bytes.
#[test]
fn decrypted_by_openssl_and_kimage() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let dir = folder();
    let dir = dir.path();
    let keys_dir = keys.to_str().unwrap();
    let kernel = read(&dir.join("kernel.bin"));
    for (algo, iv) in
        [("aes128", IV), ("aes192", ""), ("aes256", "iv = [00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f];")]
    {
        let text = source(&cipher(algo, iv), "", "");
        let made = fit(dir, &text, &["--keys", keys_dir]).unwrap();
        let again = fit(dir, &text, &["--keys", keys_dir]).unwrap();
        assert_eq!(made == again, !iv.is_empty(), "{algo}");
        let in_node = property(&again, "/images/kernel/cipher", "iv").map(<[u8]>::to_vec);
        assert_eq!(in_node.is_none(), iv == IV);
        let iv = in_node.unwrap_or_else(|| read(&keys.join("iv-1.bin")));
        let image = Fit::parse(&again).unwrap();
        let image = image.images().find(|image| image.name() == "kernel").unwrap();
        assert_eq!(property(&again, "/images/kernel", "data-size-unciphered").unwrap(), 5001_u32.to_be_bytes());
        put(dir, "encrypted", image.data().unwrap());
        let key = hex(&read(&keys.join(format!("{algo}.bin"))));
        let mut decrypt = Command::new(&openssl);
        decrypt.current_dir(dir).args(["enc", "-d", &format!("-aes-{}-cbc", &algo[3..]), "-K", &key]);
        assert_same(algo, &run_ok(decrypt.args(["-iv", &hex(&iv), "-in", "encrypted"])).stdout, &kernel);
        for part in ["kernel", "image[0]"] {
            let of = |options: &[&str]| {
                run_ok(kimage().current_dir(dir).args(["extract", "x.itb", part]).args(options)).stdout
            };
            assert_same(part, &of(&["--keys", keys_dir]), &kernel);
            assert_same(part, &of(&[]), image.data().unwrap());
        }
        let verify = |options: &[&str]| {
            let output = run(kimage().current_dir(dir).args(["verify", "x.itb"]).args(options));
            (output.status.success(), stdout(&output))
        };
        let (good, said) = verify(&[]);
        assert!(good && said.contains("the data is encrypted, and was not checked"), "{said}");
        assert!(said.contains("good but for contents of encrypted images"), "{said}");
        let (good, said) = verify(&["--keys", keys_dir]);
        assert!(good && !said.contains("encrypted"), "{said}");
        let info = stdout(&run_ok(kimage().current_dir(dir).args(["info", "x.itb", "--json"])));
        for words in ["\"ciphers\"", "\"decrypted_size\"", algo] {
            assert!(info.contains(words), "{words}: {info}");
        }
    }
}

/// Decrypted data is held to what the nodes say of it, a damaged stream in it is found, and wrong keys are.
#[test]
fn wrong_keys_and_damage() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    let keys_dir = keys.to_str().unwrap();
    let packed = |damage: Option<usize>| {
        let mut packed = run_ok(kimage().current_dir(dir).args(["compress", "gzip", "kernel.bin"])).stdout;
        damage.into_iter().for_each(|at| packed[at] ^= 1);
        packed
    };
    let text = source(&cipher("aes256", IV), "", "").replacen("compression = \"none\"", "compression = \"gzip\"", 1);
    let text = text.replace("kernel.bin", "packed");
    let verify = |file: &str, folder: &str| {
        let output = run(kimage().current_dir(dir).args(["verify", file, "--keys", folder]));
        (output.status.success(), stdout(&output) + &stderr(&output))
    };
    put(dir, "packed", &packed(None));
    let made = fit(dir, &text, &["--keys", keys_dir]).unwrap();
    let (good, said) = verify("x.itb", keys_dir);
    assert!(good && !said.contains("fit.compression"), "{said}");
    // The kernel inside, too.
    let extract = run_ok(kimage().current_dir(dir).args(["extract", "x.itb", "--keys", keys_dir]));
    assert!(stdout(&extract).contains("payload"), "{}", stdout(&extract));
    // Other bytes of the same hash's length are none: openssl's and mkimage's padding is checked.
    let other = tempfile::tempdir().unwrap();
    for name in ["aes256.bin", "iv-1.bin"] {
        put(other.path(), name, &read(&keys.join(name)));
    }
    let mut key = read(&keys.join("aes256.bin"));
    key[0] ^= 1;
    put(other.path(), "aes256.bin", &key);
    let (good, said) = verify("x.itb", other.path().to_str().unwrap());
    assert!(!good && said.contains("fit.decrypted"), "{said}");
    let mut extract = kimage();
    extract.current_dir(dir).args(["extract", "x.itb", "kernel", "-o", "none", "--keys"]).arg(other.path());
    let said = run(&mut extract);
    assert!(!said.status.success() && !dir.join("none").exists(), "{}", stderr(&said));
    for (bytes, words) in [(&key[1..], "aes256.bin has 31 bytes, wanted 32"), (&[], "has 0 bytes")] {
        put(other.path(), "aes256.bin", bytes);
        put(dir, "x.itb", &made);
        let (good, said) = verify("x.itb", other.path().to_str().unwrap());
        assert!(!good && said.contains(words), "{said}");
        let said = fit(dir, &text, &["--keys", other.path().to_str().unwrap()]).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    put(other.path(), "aes256.bin", &read(&keys.join("aes256.bin")));
    put(other.path(), "iv-1.bin", b"short");
    assert!(fit(dir, &text, &["--keys", other.path().to_str().unwrap()]).unwrap_err().contains("iv-1.bin has 5 bytes"));
    // Nobody sees the damage but who decrypts.
    put(dir, "packed", &packed(Some(2000)));
    fit(dir, &text, &["--keys", keys_dir]).unwrap();
    assert!(run(kimage().current_dir(dir).args(["verify", "x.itb"])).status.success());
    let (good, said) = verify("x.itb", keys_dir);
    assert!(!good && said.contains("stream.damaged") && said.contains("image kernel, decrypted"), "{said}");
    put(dir, "packed", b"no gzip stream");
    fit(dir, &text, &["--keys", keys_dir, "--force"]).unwrap();
    let (good, said) = verify("x.itb", keys_dir);
    assert!(!good && said.contains("fit.compression"), "{said}");
    // Without a key nothing is made, nor with one of no folder, an unknown cipher, or no name.
    let plain = source(&cipher("aes256", IV), "", "");
    for (text, options, words) in [
        (plain.clone(), &[][..], "the data would stand there in plain text"),
        (plain.clone(), &["--unsigned"], "the data would stand there in plain text"),
        (plain.clone(), &["--key", "no.key"], "aes256.bin is not there: it is looked for in the folder of --keys"),
        (plain.clone(), &["--keys", "."], "the key ./aes256.bin is not there"),
        (plain.replace("\"aes256\"; key", "\"aes-256\"; key"), &["--keys", keys_dir], "unknown cipher \"aes-256\""),
        (plain.replace("key-name-hint = \"aes256\";", ""), &["--keys", keys_dir], "no key-name-hint"),
        (plain.replace("\"iv-1\"", "\"iv-9\""), &["--keys", keys_dir], "iv-9.bin is not there"),
        (plain.replace(IV, "iv = [00];"), &["--keys", keys_dir], "iv has 1 bytes, wanted 16"),
        (plain.replace("cipher {", "cipher-1 {"), &["--keys", keys_dir], "plain text"),
    ] {
        let said = fit(dir, &text, options).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    // Encrypted now and signed later is what is done at once.
    let text = cases().swap_remove(3).1;
    let at_once = fit(dir, &text, &["--keys", keys_dir]).unwrap();
    fit(dir, &text, &["--keys", keys_dir, "--unsigned"]).unwrap();
    run_ok(kimage().current_dir(dir).args(["sign", "x.itb", "--quiet", "--keys", keys_dir]));
    let now = read(&dir.join("x.itb"));
    for (path, name) in [("/images/kernel", "data"), ("/configurations/conf-1/signature-1", "hashed-nodes")] {
        assert_eq!(property(&now, path, name), property(&at_once, path, name));
    }
    // A node that was never looked at by mkimage without -k.
    put(dir, "x.itb", &made);
    let Some(mkimage) = mkimages().into_iter().next() else { return }; // no gap: mkimages() says so
    fs::write(dir.join("x.its"), &plain).unwrap();
    run_ok(Command::new(mkimage).current_dir(dir).args(["-f", "x.its", "x.itb"]));
    let said = run(kimage().current_dir(dir).args(["verify", "x.itb"]));
    assert!(said.status.success() && stdout(&said).contains("fit.not_encrypted"), "{}", stdout(&said));
}

/// A control device tree, with its group of keys for ciphers changed.
fn control(dir: &Path, from: &str, to: &str, change: impl Fn(&mut Node<'_>)) {
    let bytes = read(&dir.join(from));
    let tree = Dtb::parse_at(&bytes, 0).unwrap().tree().unwrap();
    let mut root = Node::from(tree.root());
    change(&mut root);
    let mut out = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
    put(dir, to, &out);
}

/// With a control device tree, its keys decrypt as in U-Boot (boot::fit_cipher has it do so): those that mkimage put there, in a tree or in
/// an overlay. What it lacks, and what does not decrypt, is an error.
#[test]
fn decrypted_with_the_keys_of_a_control_tree() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    let keys_dir = keys.to_str().unwrap();
    let kernel = read(&dir.join("kernel.bin"));
    let signed = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\";");
    let at = |node: &str| node.replace("kernel.bin", "packed").replacen("\"none\"", "\"gzip\"", 1);
    put(dir, "packed", &run_ok(kimage().current_dir(dir).args(["compress", "gzip", "kernel.bin"])).stdout);
    let verify = |control: &str, more: &[&str]| {
        let mut command = kimage();
        let output = run(command.current_dir(dir).args(["verify", "x.itb", "--control-dtb", control]).args(more));
        (output.status.success(), stdout(&output) + &stderr(&output))
    };
    let extract =
        |control: &str| run(kimage().current_dir(dir).args(["extract", "x.itb", "kernel", "--control-dtb", control]));
    for (iv, is_overlay) in [(IV, false), ("", false), (IV, true)] {
        fs::copy(dir.join("ctl-plain.dtb"), dir.join("ctl.dtb")).unwrap();
        let mut options = vec!["--keys", keys_dir, "--required", "conf", "--control-dtb", "ctl.dtb"];
        if is_overlay {
            fs::remove_file(dir.join("ctl.dtb")).unwrap();
            options.push("--as-overlay");
        }
        fit(dir, &at(&source(&cipher("aes192", iv), &signed, "")), &options).unwrap();
        let (good, said) = verify("ctl.dtb", &[]);
        assert!(good && said.contains("[fit.signed]") && !said.contains("encrypted"), "{said}");
        let unpacked = run_ok(Command::new("gzip").current_dir(dir).args(["-dc", "packed"])).stdout;
        assert_same("packed", &unpacked, &kernel);
        assert_same(iv, &extract("ctl.dtb").stdout, &read(&dir.join("packed")));
    }
    // mkimage's own control device tree.
    for mkimage in mkimages() {
        fs::write(dir.join("x.its"), at(&source(&cipher("aes192", IV), &signed, ""))).unwrap();
        fs::copy(dir.join("ctl-plain.dtb"), dir.join("ctl.dtb")).unwrap();
        let mut command = Command::new(mkimage);
        run_ok(command.current_dir(dir).args(["-f", "x.its", "-k", keys_dir, "-K", "ctl.dtb", "-r", "x.itb"]));
        assert!(verify("ctl.dtb", &[]).0);
        assert_same("mkimage's", &extract("ctl.dtb").stdout, &read(&dir.join("packed")));
    }
    fit(
        dir,
        &at(&source(&cipher("aes192", IV), &signed, "")),
        &["--keys", keys_dir, "--required", "conf", "--control-dtb", "ctl.dtb"],
    )
    .unwrap();
    const NAME: &str = "key-aes192-aes192-iv-1";
    let entry = |root: &mut Node<'_>, name: &'static str, bytes: Option<Vec<u8>>| {
        let group = root.children.iter_mut().find(|child| child.name == "cipher").unwrap();
        let node = group.children.iter_mut().find(|child| child.name == NAME).unwrap();
        node.properties.retain(|it| it.name != name);
        bytes.into_iter().for_each(|bytes| node.properties.push(Property::bytes(name, bytes)));
    };
    let mut wrong = read(&keys.join("aes192.bin"));
    wrong[5] ^= 0x40;
    control(dir, "ctl.dtb", "no-group.dtb", |root| root.children.retain(|child| child.name != "cipher"));
    control(dir, "ctl.dtb", "no-key.dtb", |root| entry(root, "key", None));
    control(dir, "ctl.dtb", "no-iv.dtb", |root| entry(root, "iv", None));
    control(dir, "ctl.dtb", "wrong-key.dtb", |root| entry(root, "key", Some(wrong.clone())));
    control(dir, "ctl.dtb", "short-key.dtb", |root| entry(root, "key", Some(wrong[1..].to_vec())));
    control(dir, "ctl.dtb", "short-iv.dtb", |root| entry(root, "iv", Some(vec![1; 15])));
    // Of the first block alone: no padding tells that.
    control(dir, "ctl.dtb", "wrong-iv.dtb", |root| entry(root, "iv", Some(vec![1; 16])));
    for (file, rule, words) in [
        ("no-group.dtb", "fit.cipher_key", "has no node /cipher/key-aes192-aes192-iv-1"),
        ("ctl-plain.dtb", "fit.cipher_key", "has no node /cipher/key-aes192-aes192-iv-1"),
        ("no-key.dtb", "fit.cipher_key", "has no key in /cipher/key-aes192-aes192-iv-1"),
        ("no-iv.dtb", "fit.cipher_key", "has no iv in /cipher/key-aes192-aes192-iv-1"),
        ("wrong-key.dtb", "fit.decrypted", "image kernel: the key aes192 does not decrypt it"),
        ("short-key.dtb", "fit.decrypted", "key has 23 bytes, wanted 24"),
        ("short-iv.dtb", "fit.decrypted", "iv has 15 bytes, wanted 16"),
        ("wrong-iv.dtb", "fit.compression", "is something else when it is decrypted"),
    ] {
        let (good, said) = verify(file, &[]);
        let is_named = said.contains(&format!("[{rule}]")) && said.contains(words);
        assert!(!good && is_named && !said.contains("encrypted, and was not checked"), "{file}: {said}");
        // Files that are right do not make the device tree right.
        let (good, said) = verify(file, &["--keys", keys_dir]);
        assert!(!good && said.contains(words), "{file}: {said}");
        let output = extract(file);
        let is_refused = !output.status.success() && output.stdout.is_empty() && stderr(&output).contains(words);
        assert!(is_refused || file == "wrong-iv.dtb", "{file}: {}", stderr(&output));
    }
    // Both look, and say a thing once.
    let (good, said) = verify("ctl.dtb", &["--keys", keys_dir]);
    assert!(good && !said.contains("encrypted"), "{said}");
    let output = extract("kernel.bin");
    assert!(!output.status.success() && stderr(&output).contains("kernel.bin: "), "{}", stderr(&output));
    // An iv of its own comes before the one that the hint names, which mkimage encrypts with.
    let both = cipher("aes192", &format!("{IV} iv = [00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f];"));
    fit(dir, &at(&source(&both, &signed, "")), &["--keys", keys_dir, "--control-dtb", "ctl.dtb"]).unwrap();
    let (good, said) = verify("ctl.dtb", &[]);
    assert!(!good && said.contains("[fit.compression]"), "{said}");
    // U-Boot that decrypts refuses what asks for it and was not encrypted.
    let text = at(&source(&cipher("aes192", IV), "", ""));
    fs::write(dir.join("x.its"), text).unwrap();
    let Some(mkimage) = mkimages().into_iter().next() else { return }; // no gap: mkimages() says so
    run_ok(Command::new(mkimage).current_dir(dir).args(["-f", "x.its", "x.itb"]));
    let (good, said) = verify("ctl.dtb", &[]);
    assert!(!good && said.contains("error: /images/kernel/cipher: the data is not encrypted"), "{said}");
    assert!(!verify("no-group.dtb", &[]).1.contains("error: /images/kernel/cipher"));
}
