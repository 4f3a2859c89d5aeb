//! Control device trees of other forms: U-Boot's own file with the tree at its end, and overlays.

use crate::fit_sign::{folder, keys, signature, source};
use crate::support::{self, assert_same, kimage, missing, put, read, run, run_ok, stderr, stdout, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

fn ours(dir: &Path, args: &[&str]) -> Command {
    let mut command = kimage();
    command.current_dir(dir).args(args);
    command
}

/// What stands behind U-Boot is what the tree alone becomes; what is before it stays, and so does padding where there is room. Real
/// U-Boots of Malta and x86, and one of noise.
#[test]
fn a_tree_behind_u_boot() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let keys = keys.to_str().unwrap();
    let dir = folder();
    let dir = dir.path();
    let plain = read(&dir.join("ctl-plain.dtb"));
    let program = support::noise(70_001, 3);
    let mut files = vec![
        ("noise", [&*program, &plain].concat(), program.len(), plain.len()),
        ("padded", [&*program, &plain, &[0xff; 9000]].concat(), program.len(), plain.len()),
    ];
    for name in ["maltael", "qemu-x86_64"] {
        match fs::read(format!("/usr/lib/u-boot/{name}/u-boot.bin")) {
            Ok(bytes) => {
                let at = memchr::memmem::rfind(&bytes, &[0xd0, 0x0d, 0xfe, 0xed]).unwrap();
                files.push((name, bytes.clone(), at, bytes.len() - at));
            }
            Err(_) => missing("Debian's U-Boots: packages u-boot-qemu"),
        }
    }
    let own = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\";");
    fs::write(dir.join("x.its"), source("", &own, "")).unwrap();
    for (name, bytes, at, len) in files {
        put(dir, "u-boot.bin", &bytes);
        put(dir, "tree.dtb", &bytes[at..at + len]);
        let fit = |control: &str| {
            let mut command = ours(dir, &["fit", "x.its", "-q", "-o", "x.itb", "--keys", keys, "--required", "conf"]);
            run_ok(command.args(["--control-dtb", control]));
            read(&dir.join(control))
        };
        let (made, tree) = (fit("u-boot.bin"), fit("tree.dtb"));
        assert_same(name, &made[..at], &bytes[..at]);
        assert_same(name, &made[at..at + tree.len()], &tree);
        assert_eq!(made.len(), bytes.len().max(at + tree.len()), "{name}");
        assert!(made[at + tree.len()..].iter().all(|byte| *byte == 0xff), "{name}");
        for control in ["u-boot.bin", "tree.dtb"] {
            let said = stdout(&run_ok(&mut ours(dir, &["verify", "x.itb", "--control-dtb", control])));
            assert!(said.contains("signed with key-dev"), "{name}: {said}");
        }
        // A second key, by the command for one alone.
        let second = ["--key-dir", keys, "--key-name", "prod", "--algo", "sha256,rsa2048", "--required", "conf", "-o"];
        run_ok(ours(dir, &["pubkey", "u-boot.bin"]).args(second).arg("both.bin"));
        let output = run(&mut ours(dir, &["verify", "x.itb", "--control-dtb", "both.bin"]));
        assert!(!output.status.success() && stdout(&output).contains("key key-prod"), "{name}: {}", stdout(&output));
    }
    // None, two, cut off, damaged.
    for (name, bytes) in [
        ("none", program.clone()),
        ("two", [&*program, &plain, &plain].concat()),
        ("cut off", [&*program, &plain[..plain.len() - 8]].concat()),
        ("empty", Vec::new()),
    ] {
        put(dir, "u-boot.bin", &bytes);
        for command in [
            &["fit", "x.its", "-o", "bad.itb", "--keys", keys, "--control-dtb", "u-boot.bin"][..],
            &["verify", "x.itb", "--control-dtb", "u-boot.bin"],
        ] {
            let output = run(&mut ours(dir, command));
            let said = stderr(&output);
            assert!(!output.status.success() && said.contains("control device tree"), "{name}: {said}");
        }
        assert_same(name, &read(&dir.join("u-boot.bin")), &bytes);
        assert!(!dir.join("bad.itb").exists());
    }
}

/// An overlay: what fdtoverlay makes of it and a tree has the keys; `verify` reads both; more go into one that is there.
#[test]
fn an_overlay_with_the_keys() {
    let (Some(keys), Some(fdtoverlay)) = (keys(), tool("fdtoverlay", "device-tree-compiler")) else { return };
    let keys = keys.to_str().unwrap();
    let dir = folder();
    let dir = dir.path();
    let second = "signature-2 { algo = \"sha256,rsa2048\"; key-name-hint = \"prod\"; };";
    fs::write(dir.join("x.its"), source("", &format!("{} {second}", signature("sha256,rsa2048", "dev", "")), ""))
        .unwrap();
    let fit = ["fit", "x.its", "-q", "-o", "x.itb", "--keys", keys, "--required", "conf", "--control-dtb", "k.dtbo"];
    run_ok(ours(dir, &fit).arg("--as-overlay"));
    let first = read(&dir.join("k.dtbo"));
    let both = |name: &str| {
        let mut apply = Command::new(&fdtoverlay);
        run_ok(apply.current_dir(dir).args(["-i", "ctl-plain.dtb", "-o", "merged.dtb", name]));
        for control in [name, "merged.dtb"] {
            let said = stdout(&run_ok(&mut ours(dir, &["verify", "x.itb", "--control-dtb", control])));
            assert!(said.contains("signed with key-dev") && said.contains("signed with key-prod"), "{control}: {said}");
        }
    };
    both("k.dtbo");
    // Made anew: the same. Without --as-overlay the keys go into the overlay that is there, and are there already.
    run_ok(ours(dir, &fit).arg("--as-overlay"));
    assert_same("anew", &read(&dir.join("k.dtbo")), &first);
    run_ok(&mut ours(dir, &fit));
    both("k.dtbo");
    let pubkey = |name: &str, from: &[&str], to: &str| {
        let mut command = ours(dir, &["pubkey", "--key-dir", keys, "--key-name", name, "--algo", "sha256,rsa2048"]);
        run_ok(command.args(["--required", "conf", "-o", to]).args(from));
    };
    pubkey("dev", &["--as-overlay"], "one.dtbo");
    pubkey("prod", &["one.dtbo"], "two.dtbo");
    both("two.dtbo");
    // An overlay that puts nothing into the root.
    let other = String::from_utf8_lossy(&first).contains("target-path");
    assert!(other);
    let at = memchr::memmem::find(&first, b"\0\0\0/\0\0\0")
        .map_or_else(|| memchr::memmem::find(&first, b"/\0\0\0").unwrap(), |at| at + 3);
    let mut elsewhere = first.clone();
    elsewhere[at] = b'x';
    put(dir, "elsewhere.dtbo", &elsewhere);
    let output = run(&mut ours(dir, &["verify", "x.itb", "--control-dtb", "elsewhere.dtbo"]));
    assert!(!output.status.success() && stderr(&output).contains("target-path"), "{}", stderr(&output));
    let output = run(&mut ours(dir, &["pubkey", "--key-name", "dev", "--algo", "sha256,rsa2048"]));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
