//! A U-Boot that decrypts (tests/make-uboot.sh) starts what kimage encrypted and signed; a wrong key, a missing one and changed bytes it refuses,
//! and `kimage verify` with the same control device tree says so alike.

use crate::machine::{Board, each};
use crate::support::{self, kimage, noise, put, read, run, run_ok, tempdir, testdata};
use kimage::internals::fdt::{Dtb, Flat, Node, Property, Strings};
use std::fs;
use std::path::{Path, PathBuf};

const AT: u64 = 0x4400_0000;

/// Does `kimage verify` take it?
fn is_good(fit: &Path, control: &Path) -> (bool, String) {
    let output = run(kimage().arg("verify").arg(fit).arg("--control-dtb").arg(control));
    (output.status.success(), support::stdout(&output))
}

fn source(kernel: &str, cipher: &str, signature: &str) -> String {
    format!(
        "/dts-v1/; / {{ description = \"x\"; #address-cells = <1>; images {{
          kernel {{ data = /incbin/(\"{kernel}\"); type = \"kernel\"; arch = \"arm\"; os = \"linux\"; compression = \"{}\";
           load = <0x40008000>; entry = <0x40008000>; hash-1 {{ algo = \"sha256\"; }}; {cipher} }};
          fdt-1 {{ data = /incbin/(\"board.dtb\"); type = \"flat_dt\"; arch = \"arm\"; compression = \"none\";
           hash-1 {{ algo = \"sha256\"; }}; {cipher} }}; }};
         configurations {{ default = \"conf-1\"; conf-1 {{ kernel = \"kernel\"; fdt = \"fdt-1\"; {signature} }}; }}; }};",
        if kernel.ends_with(".gz") { "gzip" } else { "none" }
    )
}

const DEV: &str =
    "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; sign-images = \"kernel\", \"fdt\"; };";
const NAMED: &str = "cipher { algo = \"aes256\"; key-name-hint = \"k32\"; iv-name-hint = \"iv\"; };";

#[test]
fn encrypted_fits_start_by_the_right_key_alone() {
    let Some(board) = Board::decrypting() else { return };
    let dir = tempdir();
    let dir = dir.path();
    put(dir, "board.dtb", &board.tree("kimage,one", &["kimage,one", "linux,dummy-virt"]));
    run_ok(kimage().arg("zimage").arg(testdata("tiny/arm-vmlinux")).arg("-o").arg(dir.join("zImage")));
    put(dir, "zImage.gz", &run_ok(kimage().current_dir(dir).args(["compress", "gzip", "zImage"])).stdout);
    fs::copy(testdata("keys/dev.key"), dir.join("dev.key")).unwrap();
    for (name, len) in [("k16", 16), ("k24", 24), ("k32", 32), ("lost", 32), ("iv", 16)] {
        put(dir, &format!("{name}.bin"), &noise(len, len as u64 + name.len() as u64));
    }
    // One control device tree for all of them, which has all keys but one.
    let control = dir.join("ctl.dtb");
    fs::copy(dir.join("board.dtb"), &control).unwrap();
    let made = |name: &str, text: &str, options: &[&str]| -> PathBuf {
        fs::write(dir.join("x.its"), text).unwrap();
        let mut command = kimage();
        run_ok(command.current_dir(dir).args(["fit", "x.its", "-q", "--keys", ".", "-o", name]).args(options));
        dir.join(name)
    };
    let with_keys = ["--control-dtb", "ctl.dtb", "--required", "conf"];
    let external = [&with_keys[..], &["-E"]].concat();
    let of = |algo: &str, key: &str| format!("cipher {{ algo = \"{algo}\"; key-name-hint = \"{key}\"; }};");
    let pss = DEV.replace("sign-images", "padding = \"pss\"; sign-images");
    let good = made("good.itb", &source("zImage", NAMED, DEV), &with_keys);
    let starts = [
        good.clone(),
        made("packed.itb", &source("zImage.gz", &of("aes192", "k24"), DEV), &with_keys),
        made("behind.itb", &source("zImage", &of("aes128", "k16"), DEV), &external),
        made("pss.itb", &source("zImage", NAMED, &pss), &with_keys),
    ];
    let lost = made("lost.itb", &source("zImage", &of("aes256", "lost"), DEV), &[]);
    let unsigned = made("unsigned.itb", &source("zImage", NAMED, ""), &[]);
    // The key of another: what comes out is no device tree.
    let bytes = read(&control);
    let tree = Dtb::parse_at(&bytes, 0).unwrap().tree().unwrap();
    let mut root = Node::from(tree.root());
    let group = root.children.iter_mut().find(|child| child.name == "cipher").unwrap();
    for node in &mut group.children {
        let key = node.properties.iter_mut().find(|it| it.name == "key").unwrap();
        *key = Property::bytes("key", noise(key.value.len(), 99));
    }
    let mut out = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
    let wrong = put(dir, "wrong.dtb", &out);

    // By its name: which device tree suits the board cannot be seen before it is decrypted.
    let right = board.with_tree(&control);
    each(&starts, |image| {
        let what = image.display().to_string();
        let (good, said) = is_good(image, &control);
        assert!(good && !said.contains("was not checked"), "{what}: {said}");
        let mut machine = right.start(&what, &[(image, AT)]);
        machine.ask("setenv fdt_high");
        let console = machine.leave(&format!("bootm {AT:#x}#conf-1"));
        console.says(&["dev+ OK", "Decrypting Data ... OK", "Starting kernel", "TINY-BOOT-OK\n"]);
    });

    let changed = |name: &str, path: &str, property: &str| {
        let mut bytes = read(&good);
        let tree = Dtb::parse_at(&bytes, 0).unwrap().tree().unwrap();
        let at = tree.find(path).unwrap().property(property).unwrap().at.0 as usize;
        bytes[at + 3] ^= 1;
        put(dir, name, &bytes)
    };
    let refused = [
        (lost, "Can't found cipher node offset"),
        (unsigned, "rror"),
        (changed("data.itb", "/images/kernel", "data"), "Bad hash value"),
        (changed("dtb.itb", "/images/fdt-1", "data"), "Bad hash value"),
        (changed("algo.itb", "/images/kernel/cipher", "algo"), "rror"),
        (changed("hint.itb", "/images/kernel/cipher", "key-name-hint"), "rror"),
        (changed("size.itb", "/images/kernel", "data-size-unciphered"), "rror"),
    ];
    let loaded: Vec<(&Path, u64)> = refused.iter().map(|(path, _)| &**path).zip((AT..).step_by(0x20_0000)).collect();
    let mut machine = right.start("encrypted, and refused", &loaded);
    for ((image, at), (_, words)) in loaded.iter().zip(&refused) {
        let said = machine.ask(&format!("bootm {at:#x}#conf-1"));
        let what = image.display();
        assert!(said.contains(words) && !said.contains("Starting kernel"), "{what}: {said}");
        let (good, found) = is_good(image, &control);
        assert!(!good, "{what}: {found}");
    }
    drop(machine);
    let mut machine = board.with_tree(&wrong).start("encrypted, another key", &[(&good, AT)]);
    let said = machine.ask(&format!("bootm {AT:#x}#conf-1"));
    assert!(said.contains("Subimage data is not a FDT") && !said.contains("Starting kernel"), "{said}");
    let (is_taken, found) = is_good(&good, &wrong);
    assert!(!is_taken && found.contains("[fit.decrypted]"), "{found}");
}
