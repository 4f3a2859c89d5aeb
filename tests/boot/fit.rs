//! FITs boot on real U-Boot in QEMU: each configuration by its name, and the one that suits the board; data in the tree and behind it;
//! compressed or not. A changed byte is refused by U-Boot and found by kimage alike.

use crate::machine::{Board, Cpu, USER_OK, each, initrd};
use crate::support::{self, kimage, make, put, read, run_ok, tempdir, testdata, tool};
use kimage::internals::Fit;
use kimage::internals::check_fit;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ARGS: &str = "console=ttyAMA0 panic=-1";
const AT: u64 = 0x4400_0000;

/// The board's own device tree under another name.
fn device_tree(board: &Board, dir: &Path, model: &str) -> PathBuf {
    // With CONFIG_FIT_BEST_MATCH, which this U-Boot has, it takes the configuration for its own board, which is
    // "linux,dummy-virt", and not the default one.
    let own = model.ends_with("own").then_some("linux,dummy-virt");
    let compatible: Vec<&str> = [model].into_iter().chain(own).collect();
    put(dir, &format!("{}.dtb", model.replace(',', "-")), &board.tree(model, &compatible))
}

fn fit(dir: &Path, name: &str, options: &[&str]) -> PathBuf {
    make(dir, name, "fit", &[], options)
}

/// Real kernels, to user space: two configurations, of which each brings its own device tree.
#[test]
fn every_configuration_to_user_space() {
    let Some(board) = Board::arm() else { return };
    for tree in support::arm_trees().into_iter() {
        let dir = tempdir();
        let dir = dir.path();
        device_tree(&board, dir, "kimage,one");
        device_tree(&board, dir, "kimage,two");
        device_tree(&board, dir, "kimage,own");
        run_ok(
            kimage().arg("zimage").arg(tree.path("arch/arm/boot/compressed/vmlinux")).arg("-o").arg(dir.join("zImage")),
        );
        let zimage = read(&dir.join("zImage"));
        let cpu = if kimage::internals::zimage::ZImage::parse(&zimage).unwrap().is_big_endian() {
            Cpu::ArmBe8
        } else {
            Cpu::Arm
        };
        fs::write(dir.join("initrd"), initrd(cpu)).unwrap();
        let all = ["--kernel=zImage", "--dtb=kimage-one.dtb", "--dtb=kimage-two.dtb", "--ramdisk=initrd"];
        let with = |more: &[&'static str]| [&all[..], more].concat();
        let images = [
            // (file, how it is started, the model that must come up, words of U-Boot)
            (fit(dir, "plain.itb", &with(&[])), "#conf-1", "kimage,one", "sha256+ OK"),
            (
                fit(dir, "matching.itb", &with(&["--dtb=kimage-own.dtb"])),
                "",
                "kimage,own",
                "Using 'conf-3' configuration",
            ),
            (fit(dir, "chosen.itb", &with(&["--hash=crc32,sha1"])), "#conf-2", "kimage,two", "crc32+ sha1+ OK"),
            (fit(dir, "external.itb", &with(&["-E", "-B", "1000"])), "#conf-1", "kimage,one", "sha256+ OK"),
            (fit(dir, "position.itb", &with(&["-E", "-p", "10000"])), "#conf-2", "kimage,two", "sha256+ OK"),
            (
                fit(dir, "gzip.itb", &with(&["--compress=gzip", "-a", "0x40008000"])),
                "#conf-2",
                "kimage,two",
                "Uncompressing Kernel Image",
            ),
        ];
        fs::write(dir.join("env"), format!("kernel_addr_r={AT:x}\n")).unwrap();
        for (image, ..) in &images {
            let mut command = kimage();
            command.arg("lint").arg(image).args(["--board", "qemu-arm-virt", "--uboot-env"]).arg(dir.join("env"));
            run_ok(&mut command);
        }
        each(&images, |(image, which, model, words)| {
            let what = format!("{}, {}", tree.name, image.file_name().unwrap().display());
            let mut machine = board.start(&what, &[(image, AT)]);
            machine.ask(&format!("setenv bootargs {ARGS}"));
            // This board's U-Boot uses the parts where they lie if not told otherwise, and Linux wants a device tree on 8
            // bytes.
            machine.ask("setenv fdt_high; setenv initrd_high");
            let console = machine.leave(&format!("bootm {AT:#x}{which}"));
            console.says(&["## Loading kernel from FIT Image", words, &format!("Machine model: {model}"), USER_OK]);
            console.never_says("Kernel panic");
        });
    }
}

/// mkimage's order puts a device tree directly behind the kernel, which takes it for its own: seen here on the board, and
/// said when the FIT is made.
#[test]
fn a_tree_behind_the_kernel_wins() {
    let Some(board) = Board::arm() else { return };
    let Some(tree) = support::tree("arm") else { return };
    let dir = tempdir();
    let dir = dir.path();
    device_tree(&board, dir, "kimage,one");
    device_tree(&board, dir, "kimage,two");
    run_ok(kimage().arg("zimage").arg(tree.path("arch/arm/boot/compressed/vmlinux")).arg("-o").arg(dir.join("zImage")));
    let image = |name: &str, file: &str, kind: &str| {
        format!(
            "{name} {{ data = /incbin/(\"{file}\"); type = \"{kind}\"; arch = \"arm\"; os = \"linux\"; compression = \"none\"; \
             load = <0>; entry = <0>; }};"
        )
    };
    let source = format!(
        "/dts-v1/; / {{ description = \"x\"; images {{ {} {} {} }}; configurations {{ conf {{ kernel = \"kernel\"; fdt = \"two\"; }}; }}; }};",
        image("kernel", "zImage", "kernel_noload"),
        image("one", "kimage-one.dtb", "flat_dt").replace("load = <0>; entry = <0>; ", ""),
        image("two", "kimage-two.dtb", "flat_dt").replace("load = <0>; entry = <0>; ", "")
    );
    fs::write(dir.join("fit.its"), source).unwrap();
    for (options, model, warns) in [(&["-E"][..], "kimage,one", true), (&["-E", "-B", "1000"], "kimage,two", false)] {
        let mut command = kimage();
        let output = run_ok(command.current_dir(dir).args(["fit", "fit.its", "-o", "fit.itb"]).args(options));
        let said = support::stderr(&output);
        assert_eq!(said.contains("images/one stands directly behind images/kernel"), warns, "{said}");
        let mut machine = board.start(&format!("{options:?}"), &[(&dir.join("fit.itb"), AT)]);
        machine.ask(&format!("setenv bootargs {ARGS}"));
        machine.ask("setenv fdt_high");
        machine.type_keys(&format!("bootm {AT:#x}#conf\r"));
        machine.wait_for("Trying 'two' fdt subimage");
        machine.wait_for(&format!("Machine model: {model}"));
    }
}

/// One changed byte of kernel, device tree, or of a hash itself.
#[test]
fn a_changed_byte_is_refused() {
    let Some(board) = Board::arm() else { return };
    let dir = tempdir();
    let dir = dir.path();
    device_tree(&board, dir, "kimage,own");
    run_ok(kimage().arg("zimage").arg(testdata("tiny/arm-vmlinux")).arg("-o").arg(dir.join("zImage")));
    let image = fit(dir, "good.itb", &["--kernel=zImage", "--dtb=kimage-own.dtb"]);
    let good = read(&image);
    let parsed = Fit::parse(&good).unwrap();
    let place = |name: &str| {
        parsed.images().find(|image| image.name() == name).unwrap().placement().unwrap().unwrap().range().clone()
    };
    let (kernel, dtb) = (place("kernel-1"), place("fdt-1"));
    let hash = parsed.images().find(|image| image.name() == "kernel-1").unwrap().hashes().next().unwrap().at.0;
    let cases = [
        (kernel.start, "Bad hash value for 'hash-1' hash node in 'kernel-1' image node"),
        (kernel.end - 1, "Bad hash value for 'hash-1' hash node in 'kernel-1' image node"),
        (hash, "Bad hash value for 'hash-1' hash node in 'kernel-1' image node"),
        (dtb.end - 1, "Bad hash value for 'hash-1' hash node in 'fdt-1' image node"),
        (0, "Wrong Image Format for bootm command"),
    ];
    run_ok(kimage().arg("verify").arg(&image));
    let mut loaded = vec![(image.clone(), AT)];
    for (number, (at, _)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        bad[*at as usize] ^= 0x10;
        let findings = Fit::parse(&bad).map(|fit| check_fit(&fit)).map_or(1, |findings| findings.len());
        assert_eq!(findings, 1, "byte {at:#x}");
        let path = dir.join(format!("bad-{at}"));
        fs::write(&path, bad).unwrap();
        let verified = support::run(kimage().arg("verify").arg(&path));
        assert_eq!(verified.status.code(), Some(1), "byte {at:#x}: {}", support::stdout(&verified));
        loaded.push((path, AT + 0x10_0000 * (number as u64 + 1)));
    }
    let loaded: Vec<_> = loaded.iter().map(|(path, at)| (path.as_path(), *at)).collect();
    let mut machine = board.start("damaged FITs", &loaded);
    let info = machine.ask(&format!("iminfo {AT:#x}"));
    assert!(info.contains("Hash(es) for Image 0 (fdt-1): sha256+"), "{info}");
    for ((at, want), (_, address)) in cases.iter().zip(&loaded[1..]) {
        let said = machine.ask(&format!("bootm {address:#x}"));
        assert!(said.contains(want), "byte {at:#x}: {said}");
    }
    machine.ask("setenv fdt_high");
    machine.leave(&format!("bootm {AT:#x}")).says(&["tiny arm: device tree from the loader\n", "TINY-BOOT-OK\n"]);
}

/// An overlay is named behind the configuration that it changes: U-Boot finds it, and applies it where it can.
#[test]
fn an_overlay_is_found() {
    let Some(board) = Board::arm() else { return };
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let Some(tree) = support::tree("arm") else { return };
    let dir = tempdir();
    let dir = dir.path();
    device_tree(&board, dir, "kimage,one");
    fs::write(
        dir.join("hat.dts"),
        "/dts-v1/;\n/plugin/;\n/ { fragment@0 { target-path = \"/\"; __overlay__ { model = \"kimage,hat\"; }; }; };\n",
    )
    .unwrap();
    run_ok(Command::new(dtc).current_dir(dir).args(["-q", "-O", "dtb", "-o", "hat.dtbo", "hat.dts"]));
    run_ok(kimage().arg("zimage").arg(tree.path("arch/arm/boot/compressed/vmlinux")).arg("-o").arg(dir.join("zImage")));
    let options = ["--kernel=zImage", "--dtb=kimage-one.dtb", "--overlay=hat.dtbo", "--dtb-load=0x48000000"];
    let image = fit(dir, "overlay.itb", &options);
    let mut machine = board.start("overlay", &[(&image, AT)]);
    // Debian's U-Boot for this board knows the configuration's name but was built without the code that applies it.
    let applies = machine.ask("fdt").contains("fdt apply");
    machine.ask(&format!("setenv bootargs {ARGS}"));
    machine.ask("setenv fdt_high");
    machine.type_keys(&format!("bootm {AT:#x}#conf-1#overlay-1\r"));
    if applies {
        machine.wait_for("Machine model: kimage,hat");
    } else {
        eprintln!("this U-Boot cannot apply an overlay; seen is only that it finds it");
        machine.wait_for("config with overlays but CONFIG_OF_LIBFDT_OVERLAY not set");
    }
}

/// U-Boot with a key in its device tree: what kimage signed starts, with every algorithm that this U-Boot has; what is not signed, or
/// was changed, does not, and `kimage verify` says the same.
#[test]
fn signed_fits_start_and_others_do_not() {
    let Some(board) = Board::arm() else { return };
    let Some(openssl) = tool("openssl", "openssl") else { return };
    let dir = tempdir();
    let dir = dir.path();
    put(dir, "board.dtb", &board.tree("kimage,one", &["kimage,one", "linux,dummy-virt"]));
    run_ok(kimage().arg("zimage").arg(testdata("tiny/arm-vmlinux")).arg("-o").arg(dir.join("zImage")));
    fs::copy(testdata("keys/dev.key"), dir.join("dev.key")).unwrap();
    run_ok(Command::new(&openssl).current_dir(dir).args(["genrsa", "-out", "r4096.key", "4096"]));
    run_ok(Command::new(openssl).current_dir(dir).args(["genrsa", "-out", "other.key", "2048"]));
    let source = |signature: &str, image: &str| {
        format!(
            "/dts-v1/; / {{ description = \"x\"; #address-cells = <1>; images {{
              kernel {{ data = /incbin/(\"zImage\"); type = \"kernel\"; arch = \"arm\"; os = \"linux\"; compression = \"none\";
               load = <0x40008000>; entry = <0x40008000>; hash-1 {{ algo = \"sha256\"; }}; {image} }};
              fdt-1 {{ data = /incbin/(\"board.dtb\"); type = \"flat_dt\"; arch = \"arm\"; compression = \"none\";
               hash-1 {{ algo = \"sha256\"; }}; {image} }}; }};
             configurations {{ default = \"conf-1\"; conf-1 {{ kernel = \"kernel\"; fdt = \"fdt-1\"; {signature} }}; }}; }};"
        )
    };
    let signature = |algo: &str, key: &str| {
        format!("signature-1 {{ algo = \"{algo}\"; key-name-hint = \"{key}\"; sign-images = \"kernel\", \"fdt\"; }};")
    };
    let signed = |name: &str, source: &str, required: &str, options: &[&str]| {
        let control = format!("{name}.dtb");
        fs::write(dir.join("x.its"), source).unwrap();
        fs::copy(dir.join("board.dtb"), dir.join(&control)).unwrap();
        let mut command = kimage();
        command.current_dir(dir).args(["fit", "x.its", "-q", "--keys", ".", "--control-dtb", &control]);
        run_ok(command.args(["--required", required, "-o", name]).args(options));
        dir.join(name)
    };
    let dev = signature("sha256,rsa2048", "dev");
    let good = signed("good.itb", &source(&dev, ""), "conf", &[]);
    let long = signed("long.itb", &source(&signature("sha512,rsa4096", "r4096"), ""), "conf", &[]);
    let behind = signed("behind.itb", &source(&dev, ""), "conf", &["-E"]);
    let images = signed("images.itb", &source("", &dev), "image", &[]);
    let unsigned = dir.join("unsigned.itb");
    fs::write(dir.join("x.its"), source("", "")).unwrap();
    run_ok(kimage().current_dir(dir).args(["fit", "x.its", "-q", "-o", "unsigned.itb"]));
    // Signed by somebody else, after it was made.
    fs::copy(&good, dir.join("other.itb")).unwrap();
    run_ok(kimage().current_dir(dir).args(["sign", "other.itb", "-q", "--key", "other.key"]));
    let changed = |name: &str, what: &str| {
        let mut bytes = read(&good);
        let tree = kimage::internals::fdt::Dtb::parse_at(&bytes, 0).unwrap().tree().unwrap();
        let (node, property) = what.rsplit_once('/').unwrap();
        let at = tree.find(node).unwrap().property(property).unwrap().at.0 as usize;
        bytes[at + 2] ^= 1;
        put(dir, name, &bytes)
    };
    let cases = [
        (good.clone(), "good.itb.dtb", "dev+"),
        (long, "long.itb.dtb", "r4096+"),
        (behind, "behind.itb.dtb", "dev+"),
        (images, "images.itb.dtb", "dev+"),
        (unsigned, "good.itb.dtb", ""),
        (dir.join("other.itb"), "good.itb.dtb", ""),
        (good.clone(), "long.itb.dtb", ""),
        (changed("load.itb", "/images/kernel/load"), "good.itb.dtb", ""),
        (changed("value.itb", "/configurations/conf-1/signature-1/value"), "good.itb.dtb", ""),
        (changed("data.itb", "/images/kernel/data"), "good.itb.dtb", ""),
    ];
    each(&cases, |(image, control, words)| {
        let what = format!("{}, {control}", image.file_name().unwrap().display());
        let mut machine = board.with_tree(&dir.join(control)).start(&what, &[(image, AT)]);
        let verified = kimage().arg("verify").arg(image).arg("--control-dtb").arg(dir.join(control)).output().unwrap();
        assert_eq!(verified.status.success(), !words.is_empty(), "{what}: {}", support::stdout(&verified));
        machine.ask("setenv fdt_high");
        let command = format!("bootm {AT:#x}");
        if words.is_empty() {
            let said = machine.ask(&command);
            let is_refused = said.contains("rror") || said.contains("Bad");
            assert!(is_refused && !said.contains("Starting kernel"), "{what}: {said}");
        } else {
            machine.leave(&command).says(&[words, "Starting kernel", "TINY-BOOT-OK\n"]);
        }
    });
}
