//! FITs with TF-A's BL31 and a TEE beside mkimage: the same bytes and the same text, signed as a whole, of a source and of options.

use super::fit_sign::{folder, keys, layout, mkimages, same, signature};
use crate::support::{assert_same, kimage, noise, put, read, run, run_ok, stdout};
use std::fs;
use std::path::Path;
use std::process::Command;

/// U-Boot itself, BL31, a TEE and a device tree, as U-Boot's SPL loads them.
fn source(signature: &str) -> String {
    let image = |name: &str, kind: &str, os: &str, at: &str| {
        format!(
            "{name} {{ description = \"{name}\"; data = /incbin/(\"{name}.bin\"); type = \"{kind}\"; arch = \"arm64\"; os = \"{os}\"; \
             compression = \"none\"; load = <{at}>; entry = <{at}>; hash-1 {{ algo = \"sha256\"; }}; }};"
        )
    };
    format!(
        "/dts-v1/; / {{ description = \"firmware\"; #address-cells = <1>; images {{ {} {} {}
          fdt-1 {{ description = \"d\"; data = /incbin/(\"fdt.bin\"); type = \"flat_dt\"; arch = \"arm64\"; compression = \"none\";
           hash-1 {{ algo = \"sha256\"; }}; }}; }};
         configurations {{ default = \"conf-1\"; conf-1 {{ description = \"c\"; firmware = \"bl31\"; loadables = \"u-boot\", \"tee\";
          fdt = \"fdt-1\"; {signature} }}; }}; }};",
        image("u-boot", "standalone", "u-boot", "0x200000"),
        image("bl31", "tfa-bl31", "arm-trusted-firmware", "0x40000"),
        image("tee", "tee", "tee", "0x8400000")
    )
}

fn inputs() -> tempfile::TempDir {
    let dir = folder();
    for (name, len) in [("u-boot.bin", 7001), ("bl31.bin", 3002), ("tee.bin", 2003)] {
        put(dir.path(), name, &noise(len, len as u64));
    }
    dir
}

/// The text of mkimage -l, by both.
fn listed(mkimage: &Path, dir: &Path, file: &str) {
    let theirs = run_ok(Command::new(mkimage).current_dir(dir).env("TZ", "UTC0").args(["-l", file]));
    let mut ours = kimage();
    ours.current_dir(dir).env("TZ", "UTC0").args(["as", "--layout", &layout(mkimage), "mkimage", "-l", file]);
    // To releases before 2025 this type is unknown; it is named all the same.
    let theirs = stdout(&theirs).replace("Type:         Unknown Image", "Type:         TFA BL31 Image");
    assert_eq!(stdout(&run_ok(&mut ours)), theirs, "{}", mkimage.display());
}

#[test]
fn bl31_and_tee_as_by_mkimage() {
    let all = mkimages();
    if all.is_empty() || keys().is_none() {
        return; // no gap: mkimages() and keys() say so
    }
    let dir = inputs();
    let dir = dir.path();
    let covered = "sign-images = \"firmware\", \"loadables\", \"fdt\";";
    for mkimage in &all {
        for (what, text, options, control) in [
            ("plain", source(""), &[][..], None),
            ("signed", source(&signature("sha256,rsa2048", "dev", covered)), &["-r"], Some("ctl-plain.dtb")),
            ("behind", source(&signature("sha256,rsa2048", "dev", covered)), &["-E", "-B", "1000"], None),
        ] {
            fs::write(dir.join("x.its"), text).unwrap();
            same(mkimage, dir, what, "fit", options, control);
            listed(mkimage, dir, "theirs.itb");
        }
    }
}

/// What the configuration names as firmware and loadables is covered, or said not to be; what is not there is refused.
#[test]
fn signed_as_a_whole() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = inputs();
    let dir = dir.path();
    let fit = |text: &str| {
        fs::write(dir.join("x.its"), text).unwrap();
        fs::copy(dir.join("ctl-plain.dtb"), dir.join("ctl.dtb")).unwrap();
        let mut command = kimage();
        command.current_dir(dir).args([
            "fit",
            "x.its",
            "-o",
            "x.itb",
            "--control-dtb",
            "ctl.dtb",
            "--required",
            "conf",
        ]);
        run(command.arg("--keys").arg(keys))
    };
    let verify = || {
        let output = run(kimage().current_dir(dir).args(["verify", "x.itb", "--control-dtb", "ctl.dtb"]));
        (output.status.success(), stdout(&output))
    };
    let whole = source(&signature("sha256,rsa2048", "dev", "sign-images = \"firmware\", \"loadables\", \"fdt\";"));
    let output = fit(&whole);
    assert!(output.status.success(), "{output:?}");
    let (good, said) = verify();
    assert!(good && ["bl31", "tee", "u-boot", "fdt-1"].iter().all(|name| said.contains(name)), "{said}");
    let good = read(&dir.join("x.itb"));
    for name in ["u-boot.bin", "bl31.bin", "tee.bin"] {
        let at = memchr::memmem::find(&good, &read(&dir.join(name))).unwrap();
        let mut bad = good.clone();
        bad[at + 1000] ^= 1;
        put(dir, "x.itb", &bad);
        let (good, said) = verify();
        assert!(!good && said.contains("[fit.hash]"), "{name}: {said}");
    }
    // Who leaves the TEE out lets anybody replace it.
    let part = whole.replace("\"loadables\", ", "");
    let output = fit(&part);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("does not cover /images/tee"), "{said}");
    let (good, said) = verify();
    assert!(!good && said.contains("does not cover") && said.contains("tee"), "{said}");
    for (from, to) in [("firmware = \"bl31\"", "firmware = \"bl32\""), ("\"u-boot\", \"tee\"", "\"u-boot\", \"tea\"")] {
        let output = fit(&whole.replace(from, to));
        assert!(!output.status.success(), "{to}");
    }
}

/// mkimage -f auto with -y, -Y, -z and -Z, which the newest have.
#[test]
fn of_options_alone() {
    let dir = inputs();
    let dir = dir.path();
    let auto = "-f auto -A arm64 -O linux -T kernel -C none -a 80000 -e 80000 -n x -d u-boot.bin -b fdt.bin";
    for mkimage in mkimages() {
        let knows = run(Command::new(&mkimage).arg("-h"));
        if !String::from_utf8_lossy(&knows.stderr).contains("-y ==>") {
            continue; // no gap: this release has no such options
        }
        for more in ["-y bl31.bin -Y 40000 -z tee.bin -Z 8400000", "-y bl31.bin -Y 40000", "-z tee.bin -Z 8400000 -E"] {
            let words: Vec<&str> = auto.split(' ').chain(more.split(' ')).collect();
            let mut theirs = Command::new(&mkimage);
            theirs.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000").args(&words).arg("theirs.itb");
            run_ok(&mut theirs);
            let mut ours = kimage();
            ours.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000");
            ours.args(["as", "--layout", &layout(&mkimage), "mkimage"]).args(&words).arg("ours.itb");
            run_ok(&mut ours);
            assert_same(more, &read(&dir.join("ours.itb")), &read(&dir.join("theirs.itb")));
            listed(&mkimage, dir, "theirs.itb");
        }
    }
}
