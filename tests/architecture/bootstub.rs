//! The boot stubs that are committed are what their source makes, byte for byte; and they are in the package, where their
//! source is not.

use crate::support::{full, missing, read, run, stderr, stdout, target_dir, tempdir};
use std::fs;
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest() -> serde_json::Value {
    serde_json::from_slice(&read(&root().join("src/stub/builtin/manifest.json"))).unwrap()
}

#[test]
fn built_again_they_are_the_same() {
    let source = root().join("src/bootstub");
    // The pinned compiler, where rustup has it; another one makes other bytes.
    let version = run(Command::new("rustc").arg("--version").current_dir(&source));
    let wanted = manifest()["rustc"].as_str().unwrap().to_owned();
    if !version.status.success() || stdout(&version).trim() != wanted {
        return missing(&format!(
            "the boot stubs are not built again: that needs {wanted} (rustup toolchain install), here is {} {}",
            stdout(&version).trim(),
            stderr(&version).lines().next().unwrap_or_default()
        ));
    }
    let out = tempdir();
    let mut fetch = Command::new("cargo");
    let fetched = run(fetch.args(["fetch", "--locked", "--quiet"]).current_dir(&source));
    if !fetched.status.success() {
        return missing(&format!("the boot stubs are not built again: no network? {}", stderr(&fetched)));
    }
    let mut build = Command::new("sh");
    build.arg(source.join("build.sh")).arg(out.path()).env("CARGO_TARGET_DIR", target_dir());
    // Their library has to be built first, which takes its time.
    let left_out = |name: &str| !full() && (name.contains("loongarch64") || name == "manifest.json");
    if !full() {
        build.env("KIMAGE_STUBS_BUT", "*loongarch64*");
    }
    let built = run(&mut build);
    if built.status.code() == Some(2) {
        return missing(&format!("the boot stubs are not built again: {}", stderr(&built)));
    }
    assert!(built.status.success(), "{}", stderr(&built));
    for entry in fs::read_dir(root().join("src/stub/builtin")).unwrap() {
        let name = entry.unwrap().file_name();
        if left_out(name.to_str().unwrap()) {
            continue;
        }
        let (committed, fresh) = (root().join("src/stub/builtin").join(&name), out.path().join(&name));
        assert!(read(&committed) == read(&fresh), "{}: run src/bootstub/build.sh and commit", name.display());
    }
}

/// The manifest tells of every file, and of no other.
#[test]
fn the_manifest_is_right() {
    let files = manifest()["files"].as_object().unwrap().clone();
    let mut found = 0;
    for entry in fs::read_dir(root().join("src/stub/builtin")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "manifest.json" {
            found += 1;
            assert_eq!(files[name]["size"], read(&path).len(), "{name}");
        }
    }
    assert_eq!(found, files.len());
}

#[test]
fn the_package_has_the_stubs_and_not_their_source() {
    let list = run(Command::new("cargo").args(["package", "--list", "--allow-dirty", "--offline"]).current_dir(root()));
    if !list.status.success() {
        return missing(&format!("the package's list: {}", stderr(&list)));
    }
    let list = stdout(&list);
    for name in [
        "setup",
        "lz4",
        "gzip",
        "zstd",
        "xz",
        "loaders",
        "zboot-arm64-gzip",
        "zboot-riscv64-xz",
        "zboot-loongarch64-lz4",
        "arm-gzip",
    ] {
        assert!(list.contains(&format!("src/stub/builtin/{name}.elf")), "{name}");
    }
    assert!(!list.contains("bootstub/"), "{list}");
}
