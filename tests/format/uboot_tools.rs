//! fit_info and fdt_add_pubkey of U-Boot beside kimage's, and the keys that mkimage writes for ECDSA.

use crate::fit_sign::{folder, keys, layout, mkimages, signature, source};
use crate::support::{assert_same, kimage, put, read, run, run_ok, stderr, stdout, uboot_tools};
use kimage::internals::fdt::{Dtb, Flat, Node, Property, Strings};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn ours(dir: &Path, tool: &str, words: &[&str]) -> Output {
    run(kimage().current_dir(dir).args(["as", tool]).args(words))
}

#[test]
fn fit_info_says_the_same() {
    let dir = folder();
    let dir = dir.path();
    let text =
        source("", "empty;", "").replace("description = \"k\"", "flag; words = \"a\", \"b\"; description = \"k\"");
    fs::write(dir.join("x.its"), text).unwrap();
    for options in [&[][..], &["-E"]] {
        run_ok(kimage().current_dir(dir).args(["fit", "x.its", "--quiet", "-o", "x.itb"]).args(options));
        for (tool, release) in uboot_tools("fit_info") {
            for (node, property) in [
                ("/", "description"),
                ("/", "timestamp"),
                ("/images", "#size-cells"),
                ("/images/kernel", "description"),
                ("/images/kernel", "words"),
                ("/images/kernel", "load"),
                ("/images/kernel", "flag"),
                ("/images/kernel", "data"),
                ("/images/kernel", "data-size"),
                ("/images/kernel/hash-1", "value"),
                ("/images/kernel/", "load"),
                ("//images//kernel", "load"),
                ("/configurations/conf-1", "fdt"),
                ("/configurations/conf-1", "empty"),
                ("/nothing", "x"),
                ("/images/kern", "load"),
                ("images", "x"),
            ] {
                let words = ["-f", "x.itb", "-n", node, "-p", property];
                let theirs = run(Command::new(&tool).current_dir(dir).args(words));
                let ours = ours(dir, "fit_info", &words);
                let what = format!("{release:?} {options:?} {node} {property}");
                // A property that is not there is a length of -1 and an address to it.
                if stdout(&theirs).contains("LEN: -1\n") {
                    assert_eq!((ours.status.code(), stdout(&ours).as_str()), (Some(1), ""), "{what}");
                    continue;
                }
                assert_eq!(stdout(&ours), stdout(&theirs), "{what}: {}", stderr(&ours));
                assert_eq!(ours.status.code(), theirs.status.code(), "{what}");
            }
            for words in [
                &["-f", "kernel.bin", "-n", "/", "-p", "x"][..],
                &["-f", "nothing", "-n", "/", "-p", "x"],
                &["-n", "/", "-p", "x"],
                &["-f", "x.itb", "-p", "x"],
                &["-f", "x.itb", "-n", "/"],
                &["-f", "x.itb", "-q"],
                &[],
            ] {
                let theirs = run(Command::new(&tool).current_dir(dir).args(words));
                let ours = ours(dir, "fit_info", words);
                assert_eq!(stdout(&ours), stdout(&theirs), "{words:?}: {}", stderr(&ours));
                assert_eq!(ours.status.code(), theirs.status.code(), "{words:?}");
            }
        }
    }
}

#[test]
fn fdt_add_pubkey_writes_the_same() {
    let tools = uboot_tools("fdt_add_pubkey");
    let Some(keys) = keys().and_then(Path::to_str) else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    for (tool, release) in tools {
        // Both, one line after the other, each on a tree of its own.
        let both = |control: &str, lines: &[&[&str]]| {
            for name in ["ours.dtb", "theirs.dtb"] {
                fs::copy(dir.join(control), dir.join(name)).unwrap();
            }
            for words in lines {
                let theirs = run(Command::new(&tool).current_dir(dir).args(*words).arg("theirs.dtb"));
                let ours = ours(dir, "fdt_add_pubkey", &[words, &["ours.dtb"][..]].concat());
                let what = format!("{release:?} {control} {words:?}");
                assert_eq!(ours.status.code(), theirs.status.code(), "{what}: {}", stderr(&ours));
                assert_eq!(stdout(&ours), stdout(&theirs), "{what}");
                assert_same(&what, &read(&dir.join("ours.dtb")), &read(&dir.join("theirs.dtb")));
            }
        };
        let dev = ["-a", "sha256,rsa2048", "-k", keys, "-n", "dev", "-r", "conf"];
        let prod = ["-a", "sha512,rsa2048", "-k", keys, "-n", "prod"];
        let image = ["-rimage", "-asha1,rsa2048", "-k", keys, "-ndev"];
        let longer = ["-a", "sha384,rsa3072", "-k", keys, "-n", "r3072", "-r", "image"];
        let longest = ["-a", "sha512,rsa4096", "-k", keys, "-n", "r4096"];
        for control in ["ctl-plain.dtb", "ctl-pad.dtb", "ctl-big.dtb", "ctl-sig.dtb"] {
            both(control, &[&dev, &dev, &prod, &image, &longer, &longest]);
        }
        both("ctl-plain.dtb", &[&["-a", "nothing", "-k", keys, "-n", "dev"]]);
        both("ctl-plain.dtb", &[&["-a", "sha256,rsa2048", "-k", keys, "-n", "nothing"]]);
        both("ctl-plain.dtb", &[&["-h"], &["-Q"], &["-k", "nowhere"]]);
        for words in [&[][..], &["nothing.dtb"], &["-n"]] {
            let theirs = run(Command::new(&tool).current_dir(dir).args(words));
            let ours = ours(dir, "fdt_add_pubkey", words);
            assert_eq!((ours.status.code(), stdout(&ours)), (theirs.status.code(), stdout(&theirs)), "{words:?}");
        }
        // What it writes and U-Boot never uses is refused: docs/peers.md.
        for words in [
            ["-a", "sha256,rsa4096", "-k", keys, "-n", "dev", "-r", "conf"],
            ["-a", "sha256,rsa2048", "-k", keys, "-n", "dev", "-r", "other"],
        ] {
            fs::copy(dir.join("ctl-plain.dtb"), dir.join("ours.dtb")).unwrap();
            let ours = ours(dir, "fdt_add_pubkey", &[&words[..], &["ours.dtb"]].concat());
            assert_eq!(ours.status.code(), Some(1), "{words:?}");
            assert_same("refused", &read(&dir.join("ours.dtb")), &read(&dir.join("ctl-plain.dtb")));
        }
    }
}

/// The properties of a node, in their order.
fn properties(tree: &[u8], path: &str) -> Vec<(String, Vec<u8>)> {
    let tree = Dtb::parse_at(tree, 0).unwrap().tree().unwrap();
    let node = tree.find(path).unwrap_or_else(|| panic!("{path}"));
    node.properties().iter().map(|it| (it.name.to_owned(), it.value.to_vec())).collect()
}

/// The keys of ECDSA: mkimage of 2025.01 and newer writes what `pubkey` and `--control-dtb` do; that of 2023.01 leaves out what
/// makes U-Boot demand the signature, and kimage puts it in.
#[test]
fn keys_of_ecdsa() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    let root = Node::new("").with_child(Node::new("signature"));
    let mut room = Vec::new();
    let flat = Flat::new(&root, Strings::default()).unwrap();
    flat.plan(flat.size() + 3000).unwrap().emit(&mut room).unwrap();
    put(dir, "ctl-room.dtb", &room);
    for mkimage in mkimages() {
        let release = layout(&mkimage);
        for (algo, hint) in [("sha256,ecdsa256", "e256"), ("sha384,ecdsa384", "e384")] {
            let is_old = release == "2023.01";
            // It has no other curve.
            if is_old && hint == "e384" {
                continue;
            }
            fs::write(dir.join("x.its"), source("", &signature(algo, hint, ""), "")).unwrap();
            for control in ["ctl-room.dtb", "ctl-plain.dtb", "ctl-sig.dtb"] {
                // It does not make the node, nor room.
                if is_old && control != "ctl-room.dtb" {
                    continue;
                }
                let what = format!("mkimage {release}, {algo}, {control}");
                for name in ["theirs.dtb", "ours.dtb", "added.dtb"] {
                    fs::copy(dir.join(control), dir.join(name)).unwrap();
                }
                let mut theirs = Command::new(&mkimage);
                theirs.current_dir(dir).args(["-f", "x.its", "-K", "theirs.dtb", "-r", "-k"]).arg(keys);
                run_ok(theirs.arg("theirs.itb"));
                let mut made = kimage();
                made.current_dir(dir)
                    .args(["fit", "x.its", "--quiet", "--layout", &release, "-o", "ours.itb", "--keys"]);
                run_ok(made.arg(keys).args(["--control-dtb", "ours.dtb", "--required", "conf"]));
                let mut added = kimage();
                added.current_dir(dir).args([
                    "pubkey",
                    "added.dtb",
                    "--algo",
                    algo,
                    "--key-name",
                    hint,
                    "--required",
                    "conf",
                ]);
                run_ok(added.args(["-o", "added.dtb", "--key-dir"]).arg(keys));
                let node = |name: &str| properties(&read(&dir.join(name)), &format!("/signature/{hint}"));
                let (theirs, ours) = (node("theirs.dtb"), node("ours.dtb"));
                assert_eq!(node("added.dtb"), ours, "{what}");
                if is_old {
                    let named = |name: &str| ours.iter().find(|(is, _)| is == name).unwrap().clone();
                    let known = ["ecdsa,y-point", "ecdsa,x-point", "ecdsa,curve"].map(named);
                    assert_eq!(theirs, known, "{what}");
                    for (name, value) in
                        [("required", "conf\0"), ("algo", "sha256,ecdsa256\0"), ("key-name-hint", "e256\0")]
                    {
                        assert_eq!(named(name).1, value.as_bytes(), "{what}");
                    }
                    let mut check = kimage();
                    check.current_dir(dir).args(["verify", "theirs.itb", "--control-dtb", "theirs.dtb"]);
                    let output = run(&mut check);
                    let said = stdout(&output);
                    assert!(!output.status.success() && said.contains("[fit.boots_unsigned]"), "{what}: {said}");
                    continue;
                }
                assert_eq!(ours, theirs, "{what}");
                assert_same(&what, &read(&dir.join("ours.dtb")), &read(&dir.join("theirs.dtb")));
                // Their signature, our check.
                let mut check = kimage();
                check.current_dir(dir).args(["verify", "theirs.itb", "--control-dtb", "theirs.dtb"]);
                let said = stdout(&run_ok(&mut check));
                assert!(said.contains(&format!("signed with {hint}: {algo}")), "{what}: {said}");
            }
        }
    }
}

/// A property of a control device tree that is changed or left out.
fn changed(tree: &[u8], hint: &str, name: &str, value: Option<&[u8]>) -> Vec<u8> {
    let mut key = Node::new(hint.to_owned());
    for (is, old) in properties(tree, &format!("/signature/{hint}")) {
        match value {
            _ if is != name => key = key.with(Property::bytes(is, old)),
            Some(new) => key = key.with(Property::bytes(is, new.to_vec())),
            None => {}
        }
    }
    let root = Node::new("").with_child(Node::new("signature").with_child(key));
    let flat = Flat::new(&root, Strings::default()).unwrap();
    let mut out = Vec::new();
    flat.plan(0).unwrap().emit(&mut out).unwrap();
    out
}

/// A key that kimage does not know is said to be one, and nothing is passed for it; what boots unsigned is named.
#[test]
fn keys_that_are_not_known() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    let more = "sign-images = \"kernel\", \"fdt\";";
    for (algo, hint, node) in [("sha256,rsa2048", "dev", "key-dev"), ("sha256,ecdsa256", "e256", "e256")] {
        fs::write(dir.join("x.its"), source("", &signature(algo, hint, more), "conf-2 { kernel = \"kernel\"; };"))
            .unwrap();
        fs::copy(dir.join("ctl-plain.dtb"), dir.join("ctl.dtb")).unwrap();
        let mut made = kimage();
        made.current_dir(dir).args(["fit", "x.its", "--quiet", "-o", "x.itb", "--keys"]).arg(keys);
        run_ok(made.args(["--control-dtb", "ctl.dtb", "--required", "conf"]));
        let control = read(&dir.join("ctl.dtb"));
        let verify = |name: &str, value: Option<&[u8]>| {
            put(dir, "changed.dtb", &changed(&control, node, name, value));
            let output = run(kimage().current_dir(dir).args(["verify", "x.itb", "--control-dtb", "changed.dtb"]));
            (output.status.success(), stdout(&output))
        };
        let unknown = |name: &str, value: Option<&[u8]>, words: &str| {
            let (good, said) = verify(name, value);
            assert!(!good && said.contains("[fit.key_unsupported]") && said.contains(words), "{name}: {said}");
            assert!(
                said.contains("it demands a signature of each configuration, which was not checked"),
                "{name}: {said}"
            );
            assert!(!said.contains("boots unsigned") && !said.contains("[fit.not_required]"), "{name}: {said}");
        };
        unknown("algo", Some(b"sha256,mldsa65\0"), "its algo is \"sha256,mldsa65\", which kimage does not know");
        if hint == "dev" {
            unknown(
                "rsa,modulus",
                Some(&[0xc5; 128]),
                "an RSA key of 1024 bits; kimage checks those of 2048, 3072 and 4096",
            );
            unknown("rsa,modulus", None, "it has neither rsa,modulus nor ecdsa,curve");
            let (good, said) = verify("algo", Some(b"sha256,rsa4096\0"));
            assert!(
                !good && said.contains("[fit.control_key]") && said.contains("but it is a key of rsa2048"),
                "{said}"
            );
        } else {
            unknown(
                "ecdsa,curve",
                Some(b"secp521r1\0"),
                "its curve is \"secp521r1\"; kimage checks prime256v1 and secp384r1",
            );
            let (good, said) = verify("ecdsa,x-point", Some(&[1; 32]));
            assert!(!good && said.contains("[fit.control_key]"), "{said}");
        }
        // Nothing is demanded: each configuration, and what is known of its signature.
        let (good, said) = verify("required", None);
        let signed =
            format!("configuration conf-1 boots unsigned: no key is required for it; its signature with {node} holds");
        assert!(!good && said.contains(&signed), "{said}");
        assert!(
            said.contains("configuration conf-2 boots unsigned: no key is required for it [fit.boots_unsigned]"),
            "{said}"
        );
        assert!(said.contains("boot unsigned, as no key is required for images: kernel, fdt-1, rd-1, rd-2"), "{said}");
        let (_, said) = verify("required", Some(b"conf\0"));
        assert!(!said.contains("boots unsigned") && said.contains("[fit.image_alone]"), "{said}");
        let (_, said) = verify("required", Some(b"image\0"));
        assert!(!said.contains("[fit.image_alone]"), "{said}");
        put(dir, "changed.dtb", &changed(&control, node, "required", None));
        let output = run(kimage().current_dir(dir).args(["verify", "x.itb", "--json", "--control-dtb", "changed.dtb"]));
        let said: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let findings = said["files"][0]["findings"].as_array().unwrap();
        let of = |rule: &str| findings.iter().filter(|it| it["rule"] == rule).count();
        assert_eq!((of("fit.boots_unsigned"), of("fit.image_alone"), of("fit.not_required")), (2, 1, 1), "{said}");
    }
}
