//! FITs that are signed elsewhere: what `sign --prepare` writes is signed by openssl, and `sign --attach` makes of it what the keys make.

use crate::fit_sign::{folder, keys, signature, source};
use crate::support::{assert_same, kimage, put, read, run, run_ok, stderr, tool};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const EPOCH: &str = "1700000000";

/// kimage in that folder.
fn ours(dir: &Path, args: &[&str]) -> Command {
    let mut command = kimage();
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH).args(args);
    command
}

/// What is to be signed, by the manifest.
fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&read(&folder.join("manifest.json"))).unwrap()
}

/// Signs all of a folder with openssl; `of_input`: the bytes that the private key works on, of PKCS#1 without telling the hash.
fn signed_by_openssl(openssl: &Path, folder: &Path, keys: &Path, of_input: bool) {
    for wanted in manifest(folder)["signatures"].as_array().unwrap() {
        let text = |name: &str| wanted[name].as_str().unwrap_or_default();
        let (hash, crypto) = text("algo").split_once(',').unwrap();
        let key = keys.join(format!("{}.{}", text("key"), if crypto.starts_with("rsa") { "key" } else { "pem" }));
        let is_bare = of_input && text("padding") == "pkcs-1.5";
        let mut command = Command::new(openssl);
        // pkeyutl of OpenSSL 3.0 takes 64 bytes at most without a hash.
        command.current_dir(folder).arg(if is_bare { "rsautl" } else { "pkeyutl" });
        command.args(["-sign", "-out", text("signature_file"), "-inkey"]).arg(key);
        command.args(["-in", text(if of_input { "input_file" } else { "digest_file" })]);
        if text("padding") == "pss" {
            command.args(["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]);
        }
        if !is_bare {
            command.args(["-pkeyopt", &format!("digest:{hash}")]);
        }
        run_ok(&mut command);
        if crypto.starts_with("rsa") {
            let made = read(&folder.join(text("signature_file"))).len() as u64;
            assert_eq!(wanted["size"].as_u64(), Some(made), "{wanted}");
        }
    }
}

/// PKCS#1 v1.5: the very bytes that one step makes, of images and configurations, several keys, external data, options.
#[test]
fn one_step_and_two_make_the_same() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let dir = folder();
    let dir = dir.path();
    let dev = signature("sha256,rsa2048", "dev", "");
    let second = "signature-2 { algo = \"sha384,rsa3072\"; key-name-hint = \"r3072\"; };";
    let behind =
        "conf-2 { kernel = \"kernel\"; signature { algo = \"sha512,rsa4096\"; key-name-hint = \"r4096\"; }; };";
    let text = source(&signature("sha1,rsa2048", "prod", ""), &format!("{dev} {second}"), behind);
    fs::write(dir.join("x.its"), text).unwrap();
    let keys_of = keys.to_str().unwrap();
    for (number, (first, options)) in [
        (&[][..], &[][..]),
        (&["-E"], &["--layout", "2026.10-rc5"]),
        (&[], &["--comment", "a comment", "-E", "-B", "1000", "--time", "7"]),
    ]
    .into_iter()
    .enumerate()
    {
        let (folder, one) = (format!("to-sign{number}"), format!("one{number}.itb"));
        run_ok(ours(dir, &["fit", "x.its", "--unsigned", "-q", "-o", "x.itb"]).args(first));
        fs::copy(dir.join("ctl-plain.dtb"), dir.join("one.dtb")).unwrap();
        fs::copy(dir.join("ctl-plain.dtb"), dir.join("two.dtb")).unwrap();
        run_ok(
            ours(dir, &["sign", "x.itb", "-q", "--keys", keys_of, "--control-dtb", "one.dtb", "-o", &one])
                .args(options),
        );
        let before = read(&dir.join("x.itb"));
        run_ok(ours(dir, &["sign", "x.itb", "-q", "--prepare", &folder]).args(options));
        assert_same("a FIT that is prepared", &read(&dir.join("x.itb")), &before);
        signed_by_openssl(&openssl, &dir.join(&folder), keys, number == 1);
        let attach = ["sign", "x.itb", "-q", "--attach", &folder, "--keys", keys_of];
        // Another time in the environment does not count: the manifest's does.
        let mut command = ours(dir, &attach);
        run_ok(command.env("SOURCE_DATE_EPOCH", "1").args(["--control-dtb", "two.dtb"]));
        assert_same(&format!("{options:?}"), &read(&dir.join("x.itb")), &read(&dir.join(one)));
        assert_same(&format!("{options:?}: control"), &read(&dir.join("two.dtb")), &read(&dir.join("one.dtb")));
    }
}

/// PSS and ECDSA, of which openssl makes another one each time: good for `verify`, the value in the form that U-Boot reads.
#[test]
fn random_ones_are_attached() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let dir = folder();
    let dir = dir.path();
    for (algo, key, more, size) in [
        ("sha256,rsa2048", "dev", "padding = \"pss\";", 256),
        ("sha256,ecdsa256", "e256", "", 64),
        ("sha384,ecdsa384", "e384", "", 96),
    ] {
        let all = "sign-images = \"kernel\", \"fdt\";";
        fs::write(dir.join("x.its"), source("", &signature(algo, key, &format!("{more} {all}")), "")).unwrap();
        run_ok(&mut ours(dir, &["fit", "x.its", "--unsigned", "-q", "-o", "x.itb"]));
        let folder = dir.join(key);
        run_ok(ours(dir, &["sign", "x.itb", "-q", "--prepare"]).arg(&folder));
        signed_by_openssl(&openssl, &folder, keys, false);
        run_ok(ours(dir, &["sign", "x.itb", "-q", "-o", "y.itb", "--attach"]).arg(&folder).arg("--keys").arg(keys));
        let made = read(&dir.join("y.itb"));
        let tree = kimage::internals::fdt::Dtb::parse_at(&made, 0).unwrap().tree().unwrap();
        let node = tree.find("/configurations/conf-1/signature-1").unwrap();
        assert_eq!(node.property("value").unwrap().value.len(), size, "{algo}");
        let file = keys.join(format!("{key}.{}", if size > 96 { "crt" } else { "pem" }));
        run_ok(ours(dir, &["verify", "y.itb", "--key"]).arg(file));
    }
}

/// What is not there, is of another key, another length, another FIT or a folder that is none: refused with the name of node and
/// file, and nothing is written.
#[test]
fn what_does_not_fit_is_refused() {
    let (Some(keys), Some(openssl)) = (keys(), tool("openssl", "openssl")) else { return };
    let dir = folder();
    let dir = dir.path();
    let second = "signature-2 { algo = \"sha256,rsa2048\"; key-name-hint = \"prod\"; };";
    let text = source("", &format!("{} {second}", signature("sha256,rsa2048", "dev", "")), "");
    fs::write(dir.join("x.its"), &text).unwrap();
    run_ok(&mut ours(dir, &["fit", "x.its", "--unsigned", "-q", "-o", "x.itb"]));
    run_ok(&mut ours(dir, &["sign", "x.itb", "-q", "--prepare", "d"]));
    signed_by_openssl(&openssl, &dir.join("d"), keys, false);
    let (one, two) = ("d/1-conf-1.signature-1.sig", "d/2-conf-1.signature-2.sig");
    let good = read(&dir.join(one));
    let fit = read(&dir.join("x.itb"));
    let keys_of = keys.to_str().unwrap();
    let refused = |args: &[&str], words: &[&str]| {
        let output = run(&mut ours(dir, args));
        let said = stderr(&output);
        assert!(!output.status.success(), "{args:?}");
        assert!(words.iter().all(|words| said.contains(words)), "{args:?}: {said}");
        assert_same("refused", &read(&dir.join("x.itb")), &fit);
    };
    let attach = ["sign", "x.itb", "--attach", "d", "--keys", keys_of];
    let node = "/configurations/conf-1/signature-1";
    for (bytes, words) in [
        (None, "is not there"),
        (Some(&[][..]), "has 0 bytes, wanted 256"),
        (Some(&good[1..]), "has 255 bytes, wanted 256"),
        (Some(&[good.as_slice(), b"\n"].concat()), "has 257 bytes"),
        (Some(&vec![0; 256]), "is not that of this hash"),
        (Some(&read(&dir.join(two))), "is not that of this hash"),
    ] {
        fs::remove_file(dir.join(one)).unwrap();
        bytes.map(|bytes| put(dir, one, bytes));
        refused(&attach, &[node, one, words]);
        put(dir, one, &good);
    }
    fs::remove_file(dir.join(one)).unwrap();
    fs::create_dir(dir.join(one)).unwrap();
    refused(&attach, &[node, one, "directory"]);
    fs::remove_dir(dir.join(one)).unwrap();
    put(dir, one, &good);
    // Without a public key nothing can be checked.
    refused(&["sign", "x.itb", "--attach", "d"], &["give the public keys"]);
    refused(&["sign", "x.itb", "--attach", "d", "--keys", "."], &["./dev.crt is not there"]);
    let r4096 = keys.join("r4096.crt");
    refused(&["sign", "x.itb", "--attach", "d", "--key", r4096.to_str().unwrap()], &["rsa4096"]);
    // Folders.
    refused(&["sign", "x.itb", "--attach", "nowhere", "--keys", keys_of], &["nowhere/manifest.json", "--prepare"]);
    refused(&["sign", "x.itb", "--prepare", "d"], &["is there already"]);
    refused(&["sign", "x.itb", "--prepare", "x.its"], &["x.its"]);
    refused(&["sign", "x.itb", "--prepare", "e", "--keys", keys_of], &["cannot be used with"]);
    let text = fs::read_to_string(dir.join("d/manifest.json")).unwrap();
    for (old, new, words) in [
        (&*text, "", "is no manifest"),
        ("\"prod\"", "\"dev\"", "prepare it again"),
        ("signature-2.sig", "../../x.itb", "prepare it again"),
        ("signature-2\"", "signature-3\"", "has no signature"),
        ("\"2023.01\"", "\"1999.01\"", "layout"),
        ("\"time\": 1700000000", "\"time\": -1", "is no manifest"),
    ] {
        put(dir, "d/manifest.json", text.replace(old, new).as_bytes());
        refused(&attach, &[words]);
    }
    put(dir, "d/manifest.json", text.as_bytes());
    // Another FIT: one byte, where no signature looks.
    let at = memchr::memmem::find(&fit, b"signed\0").unwrap();
    let changed = [&fit[..at], b"S", &fit[at + 1..]].concat();
    put(dir, "x.itb", &changed);
    let output = run(&mut ours(dir, &attach));
    assert!(!output.status.success() && stderr(&output).contains("was changed after"), "{}", stderr(&output));
    put(dir, "x.itb", &fit);
    // What nobody signs is not prepared.
    fs::write(dir.join("none.its"), source("", "", "")).unwrap();
    run_ok(&mut ours(dir, &["fit", "none.its", "-q", "-o", "none.itb"]));
    refused(&["sign", "none.itb", "--prepare", "e"], &["no node asks"]);
    assert!(!dir.join("e").exists());
    run_ok(&mut ours(dir, &attach));
    // Names of nodes are those of a forger: they lead nowhere.
    let named = fs::read_to_string(dir.join("x.its")).unwrap().replace("signature-1 ", "signature-.._..+,A ");
    fs::write(dir.join("x.its"), named).unwrap();
    run_ok(&mut ours(dir, &["fit", "x.its", "--unsigned", "-q", "-o", "n.itb"]));
    run_ok(&mut ours(dir, &["sign", "n.itb", "-q", "--prepare", "f"]));
    assert!(dir.join("f/1-conf-1.signature-.._..__A.digest").is_file(), "{}", manifest(&dir.join("f")));
}
