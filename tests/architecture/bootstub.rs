//! The boot stubs that are committed are what their source makes, byte for byte; and they are in the package, where their
//! source is not.

use crate::support::{full, missing, read, run, run_ok, stderr, stdout, target_dir, tempdir, tool};
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

/// A stub for CPUs of 32 bits has no instruction that a 486 lacks; CPUID, the time stamp counter and RDRAND it uses where the
/// CPU has them, each in very few places. TZCNT is BSF with a prefix that older CPUs pass over: the compiler writes it where both
/// give the same.
#[test]
fn a_486_knows_every_instruction() {
    const KNOWN: &str = "adc add and bsf bsr bswap bt btr bts call cbw cdq cld cli cmp cmpxchg cwde dec div hlt idiv imul in \
        inc int3 lea lgdtd lidtd lock mov movs movsx movzx mul neg nop not or out pop popa popf push pusha pushf rep repz \
        repnz ret retf rol ror sar sbb scas shl shld shr shrd std sti stos sub test ud2 xadd xchg xor lret loop cpuid rdtsc rdrand tzcnt";
    let Some(objdump) = tool("objdump", "binutils") else { return };
    let known: Vec<&str> = KNOWN.split_whitespace().collect();
    let mut stubs = 0;
    for (name, _) in manifest()["files"].as_object().unwrap() {
        let path = root().join("src/stub/builtin").join(name);
        if !name.contains("-i486") {
            continue;
        }
        stubs += 1;
        let text = stdout(&run_ok(Command::new(&objdump).args(["-d", "-M", "intel"]).arg(&path)));
        let instructions: Vec<&str> =
            text.lines().filter_map(|line| line.split('\t').nth(2)?.split_whitespace().next()).collect();
        assert!(instructions.len() > 2000, "{name}: {}", instructions.len());
        for found in &instructions {
            let is_conditional = found.starts_with('j') || found.starts_with("set");
            assert!(is_conditional || known.contains(found), "{name}: {found}");
        }
        // CPUID behind the question whether the CPU has it, which the compiler may write twice; that for mixed mode asks
        // for long mode, too.
        let most = 3;
        for once in ["cpuid", "rdtsc", "rdrand"] {
            let count = instructions.iter().filter(|found| **found == once).count();
            assert!(count <= most, "{name}: {count} times {once}");
        }
        // The compiler's own registers: SSE, MMX and the coprocessor have names that integers do not.
        for register in ["xmm", "mm0", "st(", "QWORD PTR"] {
            assert!(!text.contains(register), "{name}: {register}");
        }
    }
    assert!(stubs >= 4, "{stubs}");
}

/// Nothing in them is of the machine that they were built on: elsewhere the same bytes come out.
#[test]
fn no_path_of_a_machine() {
    for (name, _) in manifest()["files"].as_object().unwrap() {
        let bytes = read(&root().join("src/stub/builtin").join(name));
        for path in ["/.cargo/", "/.rustup/", "/home/", "/root/", "/usr/", "rustlib", "/rustc/"] {
            assert!(!bytes.windows(path.len()).any(|found| found == path.as_bytes()), "{name}: {path}");
        }
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
    for (name, _) in manifest()["files"].as_object().unwrap() {
        assert!(list.contains(&format!("src/stub/builtin/{name}")), "{name}");
    }
    assert!(!list.contains("bootstub/"), "{list}");
}
