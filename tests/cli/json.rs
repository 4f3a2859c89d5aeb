//! Every command that has `--json` prints what its schema describes, and prints that schema.

#[path = "../support/schema.rs"]
mod schema;

use crate::elf_builder::{Builder, GLOBAL, PT_LOAD, SHF_ALLOC, SHT_PROGBITS};
use crate::files;
use crate::support::{self, kimage, put, run, run_ok, stdout, tempdir, testdata};
use kimage::report::json_schema;
use serde_json::Value;

/// What each command is run with; a name that is no option is a file of [`put`] or of testdata/tiny.
const RUNS: &[&[&str]] = &[
    &["bzimage", "vmlinux", "setup.bin"],
    &["bzimage", "kernel", "--compress", "gzip"],
    &["zimage", "arm-vmlinux"],
    &["image", "vmlinux", "--plan"],
    &["uimage", "zImage", "-a", "0x80008000"],
    // The data contradicts the architecture: findings.
    &["uimage", "zImage", "-A", "mips", "-a", "0", "-e", "0", "--force"],
    &["fit", "--kernel", "zImage", "--dtb", "dtb"],
    &["fit", "sign.its", "--key", "dev.key", "-o", "signed.itb"],
    &["sign", "signed.itb", "--key", "dev.key"],
    &["verify", "signed.itb", "--key", "dev.key"],
    &["elf", "kernel", "--class", "32"],
    &["elf", "kernel", "--compress", "none", "-o", "none.elf"],
    &["bootp", "zImage", "dtb", "--initrd-phys", "800000", "--params-phys", "100"],
    &["elf", "kernel"],
    &["xipimage", "xip"],
    &["zboot", "efi-image"],
    &["uki", "--linux", "kernel", "-o", "linux.efi"],
    &["cpio", "list", "--compress", "gzip"],
    &["disk", "kernel", "--kind", "gpt", "-o", "disk.img"],
    &["edit", "zImage", "--dtb", "dtb", "-o", "edited"],
    &["measure", "uki", "--stub-version", "252", "--explain", "--cmdline", "quiet"],
    &["lint", "zImage", "--board", "qemu-arm-virt"],
    &["lint", "zImage", "--board", "qemu-malta"],
    &["doctor", "kernel", "--cmdline", "root=UUID=0", "--target", "raspberry-pi"],
    &["doctor", "uki"],
    &["info", "damaged", "uki", "fit", "nothing"],
    &["extract", "uki"],
    &["verify", "damaged", "uki", "fit", "nothing"],
    &["explain"],
    &["diff", "bzImage", "damaged"],
    &["bench", "vmlinux", "--codec", "gzip", "--codec", "none"],
];

#[test]
fn every_json_form_is_as_its_schema_says() {
    let dir = tempdir();
    let mut damaged = files::bzimage();
    put(dir.path(), "bzImage", &damaged);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x11;
    for (name, bytes) in [
        ("damaged", damaged),
        ("zImage", files::zimage()),
        ("dtb", files::dtb()),
        ("uki", files::uki()),
        ("fit", files::fit(false)),
        ("efi-image", files::efi_image(0xaa64)),
        (
            "sign.its",
            b"/dts-v1/; / { description = \"x\"; images { k { data = /incbin/(\"dtb\"); hash { algo = \"sha256\"; }; }; }; \
              configurations { c { kernel = \"k\"; signature { algo = \"sha256,rsa2048\"; }; }; }; };"
                .to_vec(),
        ),
        ("dev.key", support::read(&testdata("keys/dev.key"))),
        ("list", b"dir /dev 755 0 0\nfile /dtb dtb 644 0 0\n".to_vec()),
    ] {
        put(dir.path(), name, &bytes);
    }
    for name in ["vmlinux", "setup.bin", "kernel", "arm-vmlinux"] {
        put(dir.path(), name, &std::fs::read(testdata("tiny").join(name)).unwrap());
    }
    let mut xip = Builder::new(false, false, 40);
    xip.section(".text", SHT_PROGBITS, SHF_ALLOC, 0x8000, &[0; 64]);
    xip.segment(PT_LOAD, 1..2, 0x8000);
    xip.symbol("_xiprom", 0x8000, GLOBAL, 1);
    put(dir.path(), "xip", &xip.build());
    let mut findings = 0;
    for words in RUNS {
        let output = run(kimage().current_dir(dir.path()).args(*words).arg("--json"));
        let text = stdout(&output);
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {output:?}"));
        schema::assert_valid(json_schema(words[0]).unwrap(), &json);
        assert_eq!((&json["schema"], &json["command"]), (&1.into(), &words[0].into()), "{words:?}");
        // What is read first comes first.
        assert!(text.starts_with("{\n  \"schema\": 1,\n  \"command\": "), "{text}");
        findings += text.matches("\"rule\"").count();
    }
    assert!(findings > 10, "the schema of findings is hardly tried");
    let help = stdout(&run_ok(kimage().arg("--help")));
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut with_json = 0;
    let name_of = |line: &'_ str| {
        line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.split(' ').next().map(str::to_owned)
    };
    for name in commands.lines().filter_map(name_of).filter(|name| name != "help") {
        let name = &*name;
        let has_json = stdout(&run_ok(kimage().args([name, "--help"]))).contains("\n      --json\n");
        assert_eq!(has_json, json_schema(name).is_some(), "{name}");
        if has_json {
            with_json += 1;
            assert!(RUNS.iter().any(|words| words[0] == name), "{name} is not tried");
            let printed = run_ok(kimage().args([name, "--schema"]));
            assert_eq!(stdout(&printed), json_schema(name).unwrap(), "{name}");
            assert_eq!(run(kimage().args([name, "--schema", "--json"])).status.code(), Some(2), "{name}");
        }
    }
    assert_eq!(with_json, 23, "{help}");
}

/// One finding is the same in every form.
#[test]
fn findings_are_described_alike() {
    let of = |name: &str| serde_json::from_str::<Value>(json_schema(name).unwrap()).unwrap()["$defs"]["finding"].take();
    for name in ["fit", "lint", "doctor", "bench"] {
        assert_eq!(of(name), of("info"), "{name}");
    }
    let (plain, mut verified) = (of("info"), of("verify"));
    for more in ["layer", "path", "format", "file_offset"] {
        verified["properties"].as_object_mut().unwrap().remove(more).unwrap();
    }
    let names = |form: &Value| form["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&plain), names(&verified));
}
