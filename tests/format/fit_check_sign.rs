//! fit_check_sign by its name, beside the real ones of two releases: the same text on standard output and the same status, for what is
//! signed, not signed and forged.

use crate::files::gzip;
use crate::fit_sign::{folder, keys, layout, signature, source};
use crate::support::{kimage, put, read, run, run_ok, stderr, stdout, uboot_tools};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A change of a FIT's bytes.
type Change = fn(&mut [u8]);

struct Case {
    what: &'static str,
    source: String,
    /// Options of `kimage fit`, which makes it.
    made: &'static str,
    /// What is changed afterwards.
    change: Change,
    /// Keys of the control device tree: name and what they are required for; the algorithm is sha256,rsa2048.
    keys: &'static [(&'static str, &'static str)],
    /// More options of fit_check_sign.
    options: &'static str,
}

fn same(_: &mut [u8]) {}

fn find(fit: &[u8], bytes: &[u8]) -> usize {
    memchr::memmem::find(fit, bytes).unwrap()
}

/// The first byte of the kernel.
fn data(fit: &mut [u8]) {
    let at = find(fit, &crate::support::noise(5001, 7));
    fit[at] ^= 1;
}

/// A load address.
fn load(fit: &mut [u8]) {
    let at = find(fit, &[0x40, 0, 0x80, 0]);
    fit[at] ^= 0x10;
}

/// The signature names another algorithm of the same length.
fn algo(fit: &mut [u8]) {
    let at = find(fit, b"sha256,rsa2048");
    fit[at + 13] = b'9';
}

/// The name of the list of what is signed, wherever it is used.
fn unlisted(fit: &mut [u8]) {
    let at = find(fit, b"hashed-nodes\0");
    fit[at] = b'H';
}

/// An os that there is none of.
fn os(fit: &mut [u8]) {
    let at = find(fit, b"linux\0");
    fit[at] = b'L';
    fit[at + 1] = b'L';
}

fn cases() -> Vec<Case> {
    const DEV: &[(&str, &str)] = &[("dev", "conf")];
    let of = |covered: &str| signature("sha256,rsa2048", "dev", &format!("sign-images = {covered};"));
    let signed = of(r#""kernel", "fdt""#);
    let image = signature("sha256,rsa2048", "dev", "");
    let both = format!(
        "{signed} signature-2 {{ algo = \"sha256,rsa2048\"; key-name-hint = \"prod\"; sign-images = \"kernel\", \"fdt\"; }};"
    );
    let second = "conf-2 { kernel = \"kernel\"; };";
    let case = |what, source: String, keys, options| Case { what, source, made: "", change: same, keys, options };
    let plain = || source("", &signed, second);
    let ramdisk =
        format!("ramdisk = \"rd-1\"; loadables = \"rd-2\"; {}", of(r#""kernel", "fdt", "ramdisk", "loadables""#));
    let changed = |what, change| Case { change, ..case(what, plain(), DEV, "") };
    let compressed = |what: &'static str, name: &str| {
        let text = plain().replace(&format!("(\"{name}.bin\")"), &format!("(\"{name}.gz\")"));
        let at = text.find(&format!("{name}.gz")).unwrap();
        let (before, after) = text.split_at(at);
        case(what, before.to_owned() + &after.replacen("compression = \"none\"", "compression = \"gzip\"", 1), DEV, "")
    };
    vec![
        case("signed", plain(), DEV, ""),
        case("signed, with ramdisk and loadables", source("", &ramdisk, ""), DEV, ""),
        case("its image is signed, too", source(&image, &signed, ""), DEV, ""),
        case("named", plain(), DEV, "-c conf-1"),
        case("named with an overlay", plain(), DEV, "-c conf-1#x"),
        case("another one, unsigned", plain(), DEV, "-c conf-2"),
        case("unsigned", source("", "", ""), DEV, ""),
        case("wrong key", plain(), &[("prod", "conf")], ""),
        case("two keys, one signature", plain(), &[("dev", "conf"), ("prod", "conf")], ""),
        case("two keys, two signatures", source("", &both, ""), &[("dev", "conf"), ("prod", "conf")], ""),
        case("images demanded, one is not signed", source(&image, "", ""), &[("dev", "image")], ""),
        case(
            "images demanded, and signed",
            source(&image, "", "conf-2 { kernel = \"kernel\"; };"),
            &[("dev", "image")],
            "-c conf-2",
        ),
        case("images demanded, by another key", source(&image, "", second), &[("prod", "image")], "-c conf-2"),
        case("both demanded", source(&image, &signed, second), &[("dev", "conf"), ("prod", "image")], ""),
        case("PSS", source("", &signature("sha256,rsa2048", "dev", "padding = \"pss\";"), ""), DEV, ""),
        case("unit address", source("", &signed, "").replace("conf-1", "conf@1"), DEV, ""),
        case("unit address elsewhere", source("", &signed, "other@1 { kernel = \"kernel\"; };"), DEV, ""),
        case("no os", plain().replacen("os = \"linux\";", "", 1), DEV, ""),
        case(
            "a ramdisk as the kernel",
            source("", "", "conf-2 { kernel = \"rd-1\"; };"),
            &[("dev", "image")],
            "-c conf-2",
        ),
        compressed("compressed kernel", "kernel"),
        compressed("compressed device tree", "fdt"),
        Case { made: "-E", ..case("external data", plain(), DEV, "") },
        Case { made: "--unsigned", ..case("a signature without value", plain(), DEV, "") },
        changed("a changed kernel", data),
        changed("a changed address", load),
        changed("an algorithm that is none", algo),
        changed("an os that is none", os),
        Case { change: unlisted, ..case("no list", plain(), DEV, "") },
        Case { change: data, ..case("a changed kernel, the other one named", plain(), DEV, "-c conf-2") },
    ]
}

/// Standard output without addresses in fit_check_sign's own memory.
fn text(output: &Output) -> String {
    let address = |line: &str| {
        let known =
            ["## Loading ", "   Uncompressing Flat Device Tree to "].iter().any(|start| line.starts_with(start));
        match line.split_once(" at ").or(line.rsplit_once(" to ")) {
            Some((start, _)) if known => start.to_owned(),
            _ => line.to_owned(),
        }
    };
    stdout(output).lines().map(|line| address(line) + "\n").collect()
}

/// Both with the same arguments, ours with the release's text.
fn both(tool: &Path, dir: &Path, words: &[&str]) -> (Output, Output) {
    let release = layout(&tool.with_file_name("mkimage"));
    let mut theirs = Command::new(tool);
    let theirs = run(theirs.current_dir(dir).env("TZ", "XYZ-5:30").args(words));
    let mut ours = kimage();
    ours.current_dir(dir).env("TZ", "XYZ-5:30").args(["as", "--layout", &release, "fit_check_sign"]);
    (run(ours.args(words)), theirs)
}

/// Makes x.itb and ctl.dtb of a case.
fn make(dir: &Path, keys: &Path, case: &Case) {
    fs::write(dir.join("x.its"), &case.source).unwrap();
    let mut command = kimage();
    command.current_dir(dir).args(["fit", "x.its", "--quiet", "--force", "-o", "x.itb"]);
    command.env("SOURCE_DATE_EPOCH", "1700000000").args(case.made.split_whitespace());
    if case.made != "--unsigned" {
        command.arg("--keys").arg(keys);
    }
    run_ok(&mut command);
    let mut fit = read(&dir.join("x.itb"));
    (case.change)(&mut fit);
    put(dir, "x.itb", &fit);
    control(dir, keys, case.keys);
}

fn control(dir: &Path, keys: &Path, required: &[(&str, &str)]) {
    fs::copy(dir.join("ctl-plain.dtb"), dir.join("ctl.dtb")).unwrap();
    for (name, of) in required {
        put_key(dir, keys, "sha256,rsa2048", of, name);
    }
}

/// The public key of that name goes into the control device tree.
fn put_key(dir: &Path, keys: &Path, algo: &str, required: &str, name: &str) {
    let mut command = kimage();
    command.current_dir(dir).args(["pubkey", "ctl.dtb", "-o", "ctl.dtb", "--algo", algo, "--required", required]);
    run_ok(command.arg("--key-dir").arg(keys).args(["--key-name", name]));
}

#[test]
fn it_says_the_same() {
    let tools = uboot_tools("fit_check_sign");
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    for name in ["kernel", "fdt"] {
        put(dir, &format!("{name}.gz"), &gzip(&read(&dir.join(format!("{name}.bin")))));
    }
    let mut wrong = Vec::new();
    for case in cases() {
        make(dir, keys, &case);
        let words = ["-f", "x.itb", "-k", "ctl.dtb"].into_iter().chain(case.options.split_whitespace());
        let words: Vec<&str> = words.collect();
        for (tool, release) in &tools {
            // From then on it does not look at the list, which kimage wants to see.
            if case.what == "no list" && *release >= (2026, 4) {
                continue;
            }
            let (ours, theirs) = both(tool, dir, &words);
            if (text(&ours), ours.status.code()) != (text(&theirs), theirs.status.code()) {
                wrong.push(format!(
                    "== {}, {release:?}\n= ours {}\n{}{}\n= theirs {}\n{}{}",
                    case.what,
                    ours.status,
                    text(&ours),
                    stderr(&ours),
                    theirs.status,
                    text(&theirs),
                    stderr(&theirs)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What fit_check_sign takes and kimage does not, and the other way round, as docs/peers.md has it.
#[test]
fn where_they_differ() {
    let tools = uboot_tools("fit_check_sign");
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    let signed = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\";");
    let case = |what, source, keys| Case { what, source, made: "", change: same, keys, options: "" };
    let missing = format!("ramdisk = \"none\"; {signed}");
    let weak = source("", &signed, "").replacen("\"sha256\"", "\"crc32\"", 1);
    for case in [
        case("no key is required", source("", &signed, ""), &[]),
        case("an image that is not there", source("", &missing, ""), &[("dev", "conf")]),
        case("an image with a weak hash", weak, &[("dev", "conf")]),
    ] {
        make(dir, keys, &case);
        for (tool, _) in &tools {
            let (ours, theirs) = both(tool, dir, &["-f", "x.itb", "-k", "ctl.dtb"]);
            assert!(theirs.status.success(), "{}: {}", case.what, stderr(&theirs));
            assert_eq!(ours.status.code(), Some(1), "{}: {}", case.what, stderr(&ours));
            let start = "Verifying Hash Integrity for node 'conf-1'...  error!\nRefused by kimage";
            assert!(stdout(&ours).starts_with(start), "{}: {}", case.what, stdout(&ours));
            assert!(!stdout(&ours).contains("OK"), "{}: {}", case.what, stdout(&ours));
        }
    }
    // Older ones look for the private key of an ECDSA signature, in no folder; of what is not there it crashes.
    make(dir, keys, &case("ECDSA", source("", &signature("sha256,ecdsa256", "e256", ""), ""), &[]));
    put_key(dir, keys, "sha256,ecdsa256", "conf", "e256");
    for (tool, release) in &tools {
        let (ours, theirs) = both(tool, dir, &["-f", "x.itb", "-k", "ctl.dtb"]);
        assert!(ours.status.success() && stdout(&ours).contains("... sha256,ecdsa256:e256+ \nVerified OK"), "{ours:?}");
        if theirs.status.success() {
            assert_eq!(text(&ours), text(&theirs));
        } else {
            assert!(stdout(&theirs).contains("sha256,ecdsa256:e256- \n error!"), "{theirs:?}");
        }
        for words in [&["-f", "x.itb", "-k", "ctl.dtb", "-c", "none"][..], &["-f", "fdt.bin", "-k", "ctl.dtb"]] {
            let (ours, theirs) = both(tool, dir, words);
            assert_eq!(theirs.status.code(), None, "{words:?}: {theirs:?}");
            assert_eq!((ours.status.code(), stdout(&ours).as_str()), (Some(1), ""), "{words:?}: {}", stderr(&ours));
        }
        for words in [
            &["-f", "x.itb"][..],
            &["-k", "ctl.dtb"],
            &["-Q"],
            &["-f", "nothing", "-k", "ctl.dtb"],
            &["-f", "x.itb", "-k", "nothing"],
            &["-f", "kernel.bin", "-k", "ctl.dtb"],
            &["-f", "x.itb", "-k", "kernel.bin"],
        ] {
            let (ours, theirs) = both(tool, dir, words);
            // From then on it checks hashes alone.
            if !words.contains(&"-k") && *release >= (2025, 7) {
                assert_eq!(ours.status.code(), Some(1), "{words:?}: {}", stderr(&ours));
                continue;
            }
            assert_eq!(ours.status.code(), theirs.status.code(), "{words:?}: {}", stderr(&ours));
            assert_eq!(stdout(&ours), stdout(&theirs), "{words:?}: {}", stderr(&ours));
        }
    }
}
