//! What U-Boot's bootm needs of a FIT: each node that it refuses is an error of `verify`, a warning of `fit` and an error of `lint`, with
//! the words of a real U-Boot 2023.01 in QEMU beside it; what it starts is good. What is not there or cannot be filled in is refused.

use crate::machine::Board;
use crate::support::{kimage, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

const KERNEL: &str = "type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\"; load = <0x42000000>; entry = <0x42000000>;";
const TREE: &str = "type = \"flat_dt\"; compression = \"none\";";
const BOTH: &str = "kernel = \"kernel-1\"; fdt = \"fdt-1\";";

/// What is changed, by what; the finding; and what U-Boot says.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("", "", "", "Starting kernel"),
    ("arch = \"arm64\";", "", "fit.arch", "Can't get image ARCH!"),
    ("\"linux\"", "\"linx\"", "fit.os", "No Unknown OS AArch64 Kernel Image Image"),
    ("os = \"linux\";", "", "fit.os", "No Unknown OS AArch64 Kernel Image Image"),
    ("\"kernel\"; arch", "\"kernal\"; arch", "fit.type", "No Linux AArch64 Kernel Image Image"),
    ("type = \"kernel\";", "", "fit.type", "No Linux AArch64 Kernel Image Image"),
    ("\"none\"; load", "\"zip\"; load", "fit.codec", "Unimplemented compression type"),
    ("compression = \"none\"; load", "load", "fit.codec", "Can't get image compression!"),
    ("load = <0x42000000>;", "", "fit.load", "Can't get image load address!"),
    ("entry = <0x42000000>;", "", "fit.entry", "Can't get entry point property!"),
    ("\"flat_dt\"", "\"flat_dtb\"", "fit.type", "Could not find a valid device tree"),
    ("\"flat_dt\"", "\"kernel\"", "fit.type", "Could not find a valid device tree"),
    ("/incbin/(\"b.dtb\")", "/incbin/(\"k\")", "fit.fdt", "Subimage data is not a FDT"),
    ("kernel = \"kernel-1\";", "", "fit.kernel", "Could not find subimage node type 'kernel'"),
    ("kernel = \"kernel-1\"; fdt = \"fdt-1\";", "kernel = \"fdt-1\"; fdt = \"kernel-1\";", "fit.type", "No Unknown OS"),
];

fn source(kernel: &str, tree: &str, configuration: &str) -> String {
    format!(
        "/dts-v1/; / {{ description = \"x\"; images {{ kernel-1 {{ data = /incbin/(\"k\"); {kernel} hash-1 {{ algo = \"sha1\"; }}; }}; \
         fdt-1 {{ data = /incbin/(\"b.dtb\"); {tree} }}; }}; configurations {{ default = \"conf-1\"; conf-1 {{ {configuration} }}; }}; }};"
    )
}

/// A loop, and a device tree.
fn folder() -> tempfile::TempDir {
    use kimage::internals::fdt::{Flat, Node, Property, Strings};
    let dir = tempdir();
    let mut kernel = vec![0, 0, 0, 0x14];
    kernel.resize(3000, 0);
    fs::write(dir.path().join("k"), kernel).unwrap();
    let root = Node::new("").with(Property::string("compatible", "a,b"));
    let mut out = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
    fs::write(dir.path().join("b.dtb"), out).unwrap();
    dir
}

fn fit(dir: &Path, source: &str, options: &[&str]) -> (bool, String) {
    fs::write(dir.join("x.its"), source).unwrap();
    let _ = fs::remove_file(dir.join("x.itb"));
    let output = run(kimage().current_dir(dir).args(["fit", "x.its", "-o", "x.itb"]).args(options));
    assert_eq!(output.status.success(), dir.join("x.itb").exists());
    (output.status.success(), stderr(&output))
}

fn verify(dir: &Path, file: &str) -> (bool, String) {
    let output = run(kimage().current_dir(dir).args(["verify", file]));
    (output.status.success(), stdout(&output))
}

#[test]
fn what_bootm_refuses_is_an_error() {
    let board = Board::arm64(256);
    for (from, to, rule, words) in CASES {
        let dir = folder();
        let dir = dir.path();
        let good = source(KERNEL, TREE, BOTH);
        let bad = if from.is_empty() { good.clone() } else { good.replacen(from, to, 1) };
        assert!(from.is_empty() || bad != good, "{from}");
        let (made, said) = fit(dir, &bad, &[]);
        assert!(made, "{from} {to}: {said}");
        let (is_good, found) = verify(dir, "x.itb");
        let lint = run(kimage().current_dir(dir).args(["lint", "x.itb", "--board", "qemu-arm64-virt"]));
        assert_eq!(
            (is_good, said.contains("warning:")),
            (rule.is_empty(), !rule.is_empty()),
            "{from} {to}: {said}{found}"
        );
        assert!(found.contains(rule), "{from} {to}: {found}");
        assert_eq!(lint.status.success(), rule.is_empty(), "{from} {to}: {}", stderr(&lint));
        let Some(board) = &board else { continue }; // no gap: what made the board says so
        let mut machine = board.start(&format!("{from} {to}"), &[(&dir.join("x.itb"), 0x4400_0000)]);
        machine.type_keys("bootm 0x44000000#conf-1\r");
        machine.wait_for(words);
    }
}

/// The parts of a FIT that bootm does not read are not held to it.
#[test]
fn what_others_read_is_good() {
    let dir = folder();
    let dir = dir.path();
    let firmware = "type = \"firmware\"; arch = \"arm64\"; os = \"u-boot\"; compression = \"none\"; load = <0>;";
    let spl = source(firmware, TREE, "firmware = \"kernel-1\"; fdt = \"fdt-1\";");
    // Without arch a device tree is good, without word of its compression too.
    let bare = source(KERNEL, "type = \"flat_dt\";", BOTH);
    for text in [spl, bare] {
        let (made, said) = fit(dir, &text, &[]);
        assert!(made && !said.contains("warning"), "{said}");
        let (good, found) = verify(dir, "x.itb");
        assert!(good, "{found}");
    }
}

/// mkimage refuses a tree without description; kimage's verify calls all of these bad, so `fit` refuses them, and --force does not.
#[test]
fn what_is_not_there_is_refused() {
    let dir = folder();
    let dir = dir.path();
    let good = source(KERNEL, TREE, BOTH);
    let mkimage = tool("mkimage", "u-boot-tools").filter(|_| tool("dtc", "device-tree-compiler").is_some());
    for (from, to, rule) in [
        ("description = \"x\";", "", "no description"),
        ("default = \"conf-1\"", "default = \"conf-2\"", "conf-2 is not there"),
        ("fdt = \"fdt-1\"", "fdt = \"fdt-9\"", "wants image fdt-9, which is not there"),
        ("\"none\"; load", "\"gzip\"; load", "says compression gzip, but is not compressed"),
    ] {
        let text = good.replacen(from, to, 1);
        let (made, said) = fit(dir, &text, &[]);
        assert!(!made && said.contains(rule) && said.contains("--force"), "{said}");
        if let (Some(mkimage), true) = (&mkimage, to.is_empty()) {
            assert!(!run(Command::new(mkimage).current_dir(dir).args(["-f", "x.its", "m.itb"])).status.success());
        }
        let (made, _) = fit(dir, &text, &["--force"]);
        assert!(made);
        let (is_good, found) = verify(dir, "x.itb");
        assert!(!is_good, "{found}");
    }
}

/// Nodes that ask for what kimage does not make.
#[test]
fn nodes_that_cannot_be_filled_are_refused() {
    let dir = folder();
    let dir = dir.path();
    let signature = "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; sign-images = \"kernel\"; };";
    let in_configuration = source(KERNEL, TREE, &format!("{BOTH} {signature}"));
    let in_image = source(&format!("{KERNEL} {signature}"), TREE, BOTH);
    for text in [&in_configuration, &in_image] {
        let (made, said) = fit(dir, text, &[]);
        assert!(!made && said.contains("signature-1 asks for a signature") && said.contains("--unsigned"), "{said}");
        assert!(!fit(dir, text, &["--force"]).0);
        assert!(fit(dir, text, &["--unsigned"]).0);
        let (good, found) = verify(dir, "x.itb");
        assert!(good && found.contains("has no value") && found.contains("good but for signatures"), "{found}");
    }
    for (node, words) in [
        ("cipher { algo = \"aes256\"; key-name-hint = \"x\"; };", "plain text"),
        ("dm-verity { algo = \"sha256\"; data-block-size = <4096>; hash-block-size = <4096>; };", "dm-verity"),
    ] {
        for options in [&[][..], &["--unsigned"], &["--force"]] {
            let (made, said) = fit(dir, &source(&format!("{KERNEL} {node}"), TREE, BOTH), options);
            assert!(!made && said.contains(words) && said.contains("take the node out"), "{said}");
        }
    }
}

/// A FIT that mkimage has signed: its signature is named as not checked, a forged configuration and a name with @ are errors, and
/// what is made of it anew says what becomes of the signature. fit_check_sign is not in Debian; mkimage signs.
#[test]
fn signed_fits() {
    let (Some(mkimage), Some(openssl)) = (tool("mkimage", "u-boot-tools"), tool("openssl", "openssl")) else { return };
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    let dir = folder();
    let dir = dir.path();
    run_ok(
        Command::new(openssl)
            .current_dir(dir)
            .args(["req", "-batch", "-newkey", "rsa:2048", "-nodes", "-x509", "-keyout", "dev.key", "-out", "dev.crt"]),
    );
    let signature = "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; sign-images = \"kernel\"; };";
    let sign = |text: &str| {
        assert!(fit(dir, text, &["--unsigned"]).0);
        run_ok(Command::new(&mkimage).current_dir(dir).args(["-F", "-k", ".", "x.itb"]));
        fs::read(dir.join("x.itb")).unwrap()
    };
    let good = sign(&source(KERNEL, TREE, &format!("{BOTH} {signature}")));
    let (is_good, found) = verify(dir, "x.itb");
    assert!(is_good && found.contains("which was not checked") && found.contains("NOT checked"), "{found}");
    assert!(!found.contains(": good: "), "{found}");

    // As vboot_forge.py does it: the configuration has another name than the one that was signed.
    let forged = String::from_utf8_lossy(&good).contains("/configurations/conf-1\0");
    assert!(forged);
    let at = memchr::memmem::find(&good, b"/configurations/conf-1\0").unwrap();
    let mut bytes = good.clone();
    bytes[at + 21] = b'2';
    fs::write(dir.join("forged.itb"), &bytes).unwrap();
    let (is_good, found) = verify(dir, "forged.itb");
    assert!(!is_good && found.contains("does not sign /configurations/conf-1"), "{found}");
    let at = memchr::memmem::find(&good, b"/images/kernel-1/hash-1\0").unwrap();
    let mut bytes = good.clone();
    bytes[at + 22] = b'2';
    fs::write(dir.join("forged.itb"), &bytes).unwrap();
    let (is_good, found) = verify(dir, "forged.itb");
    assert!(!is_good && found.contains("does not sign /images/kernel-1"), "{found}");

    let again = |options: &[&str]| {
        fs::write(dir.join("good.itb"), &good).unwrap();
        let output = run(kimage().current_dir(dir).args(["fit", "good.itb", "-o", "again.itb"]).args(options));
        (output.status.success(), stderr(&output))
    };
    let (made, said) = again(&[]);
    assert!(!made && said.contains("was signed") && said.contains("--unsigned"), "{said}");
    let (made, said) = again(&["--unsigned"]);
    assert!(made && said.contains("the old signature is gone"), "{said}");
    let (is_good, found) = verify(dir, "again.itb");
    assert!(is_good && found.contains("has no value"), "{found}");

    // Of an image: the data is signed, and stays.
    sign(&source(&format!("{KERNEL} {}", signature.replace("sign-images = \"kernel\";", "")), TREE, BOTH));
    let output = run(kimage().current_dir(dir).args(["fit", "x.itb", "-o", "again.itb"]));
    assert!(output.status.success() && stderr(&output).contains("the signature is kept"), "{}", stderr(&output));

    // CVE-2021-27138.
    let at = source(KERNEL, TREE, &format!("{BOTH} {signature}")).replace("kernel-1", "kernel@1");
    sign(&at);
    let (is_good, found) = verify(dir, "x.itb");
    assert!(!is_good && found.contains("has a unit address"), "{found}");

    // Signed with external data, without -E: data is back in the tree, data-offset stays.
    assert!(fit(dir, &source(KERNEL, TREE, &format!("{BOTH} {signature}")), &["--unsigned", "-E"]).0);
    run_ok(Command::new(&mkimage).current_dir(dir).args(["-F", "-k", ".", "x.itb"]));
    let (is_good, found) = verify(dir, "x.itb");
    assert!(
        !is_good && found.contains("data-offset") && !found.contains("cut off") && !found.contains("too early"),
        "{found}"
    );
}

/// U-Boot with CONFIG_FIT_BEST_MATCH takes the first configuration that is compatible with its board.
#[test]
fn best_match() {
    let dir = folder();
    let dir = dir.path();
    let two = |one: &str, two: &str| {
        source(KERNEL, TREE, BOTH).replace("}; }; };", &format!("{one} }}; conf-2 {{ {BOTH} {two} }}; }}; }};"))
    };
    for (text, words) in [
        (
            two("compatible = \"a,b\";", "compatible = \"a,b\";"),
            "conf-1 and conf-2 are compatible with the same boards",
        ),
        (
            two("compatible = \"a,b\";", "compatible = \"c,d\";"),
            "configuration conf-2 is compatible with c,d, its device tree with a,b",
        ),
    ] {
        let (made, said) = fit(dir, &text, &[]);
        assert!(made && said.contains(words), "{said}");
        let (good, found) = verify(dir, "x.itb");
        assert!(good && found.contains(words), "{found}");
    }
}

/// The board may choose another configuration than the default one: a mistake in that one is told by `verify` as an error, by
/// `lint` as a warning, and a part of the memory that only that one takes is named.
#[test]
fn every_configuration_that_may_be_chosen() {
    let dir = folder();
    let dir = dir.path();
    let other = "kernel = \"kernel-2\"; fdt = \"fdt-1\"; compatible = \"linux,dummy-virt\";";
    let two = |kernel: &str| {
        source(KERNEL, TREE, BOTH)
            .replace("fdt-1 {", &format!("kernel-2 {{ data = /incbin/(\"k\"); {kernel} }}; fdt-1 {{"))
            .replace("}; }; };", &format!("}}; conf-2 {{ {other} }}; }}; }};"))
    };
    fs::write(dir.join("env"), "kernel_addr_r=44000000\nfdt_high=ffffffffffffffff\n").unwrap();
    let lint = || {
        let output =
            run(kimage().current_dir(dir).args(["lint", "x.itb", "--board", "qemu-arm64-virt", "--uboot-env", "env"]));
        (output.status.success(), stdout(&output) + &stderr(&output))
    };
    assert!(fit(dir, &two(KERNEL), &["--force"]).0);
    assert!(verify(dir, "x.itb").0);
    let (good, found) = lint();
    assert!(good && found.contains("other images have not been placed: conf-2"), "{found}");
    assert!(fit(dir, &two(&KERNEL.replace("os = \"linux\";", "")), &["--force"]).0);
    let (good, found) = verify(dir, "x.itb");
    assert!(!good && found.contains("[fit.os]"), "{found}");
    let (good, found) = lint();
    assert!(good && found.contains("warning: os of the kernel kernel-2"), "{found}");

    // The real U-Boot: the default one boots by its name; without one the board's own is taken, and refused.
    let Some(board) = Board::arm64(256) else { return };
    for (command, words) in
        [("bootm 44000000#conf-1", "Starting kernel"), ("bootm 44000000", "Using 'conf-2' configuration")]
    {
        let mut machine = board.start(command, &[(&dir.join("x.itb"), 0x4400_0000)]);
        machine.type_keys(&format!("{command}\r"));
        machine.wait_for(words);
        if words.contains("conf-2") {
            machine.wait_for("No Unknown OS AArch64 Kernel Image Image");
        }
    }
}
