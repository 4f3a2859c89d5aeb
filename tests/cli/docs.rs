//! Every command of README, docs/ and the other Markdown files is run, or stands in a list here with the reason why it
//! cannot be; a reason that no command needs any more fails, too.
//!
//! A command is a line of a block that is indented or fenced as `sh`, and a code span that begins with `kimage` and goes on. The
//! commands of one block run one after the other in one folder, each span in a folder of its own. The folder has a file for
//! each name that the documents use, small ones made here; what only a real kernel has is shown on a tree of the corpus.

use crate::files;
use crate::support::{self, kimage_path, put, run, stderr, stdout, tempdir, testdata};
use kimage::codec::Codec;
use kimage::internals::fdt::{Flat, Node, Property, Strings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What these commands begin with, and why they are not run here.
const NOT_RUN: &[(&str, &str)] = &[
    ("sh tests/run.sh", "this test is part of it"),
    ("bash .ci/run", "this test is part of it"),
    ("cargo test", "this test is part of it"),
    ("KIMAGE_UPDATE=1 cargo test", "it would rewrite what other tests compare with"),
    ("cargo bench", "minutes of measuring; `cargo test --benches` shows that they run"),
    ("cargo install", "it would change the machine; `cargo build` makes the same program"),
    ("cargo run --example", "tests/inspect/examples.rs runs both"),
    ("sh fuzz/run.sh", "a fuzzer has no end"),
];

/// What only a kernel's own build has: commands with these words get one of these trees.
const REAL: &[(&str, &str)] = &[
    ("kimage zimage vmlinux", "arm"),
    ("kimage zimage Image", "arm"),
    ("--build-dir", "x86_64-xz"),
    ("kimage relocs", "x86_64-xz"),
    ("kimage voffset", "x86_64-xz"),
    ("kimage system-map vmlinux", "x86_64-xz"),
    ("--against vmlinux", "x86_64-xz"),
    ("kimage doctor", "x86_64-xz"),
    // The kernels of the corpus have no kallsyms.
    ("--symbols", DEBIAN),
    ("virtio_net.ko", DEBIAN),
    ("--abi vmlinuz", DEBIAN),
];
const DEBIAN: &str = "bookworm-amd64-cloud-amd64";

/// The documents: every Markdown file that says what to type.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "benches/README.md", "testdata/README.md", "testdata/pipelines/README.md"]
            .map(|name| root.join(name))
            .to_vec();
    found.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    found.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The commands of a document: blocks, whose commands belong together.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut prose = String::new();
    let mut fence: Option<&str> = None;
    let mut open = false;
    let mut before = "";
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.trim()) };
            open = false;
        } else if fence.is_some_and(|language| language == "sh") || fence.is_none() && line.starts_with("    ") {
            // The second line of an item of a list is indented by two.
            open &= !before.is_empty();
            let command = line.split(" # ").next().unwrap_or_default().trim();
            match blocks.last_mut().filter(|_| open) {
                Some(block) => block.push(command.to_owned()),
                None => blocks.push(vec![command.to_owned()]),
            }
            open = true;
        } else if fence.is_none() {
            open = false;
            prose += line;
            prose += " ";
        }
        before = line;
    }
    // Of a table's cell: an escaped bar is a bar.
    let spans = prose.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|"));
    blocks.extend(spans.filter(|span| is_whole(span)).map(|span| vec![span]));
    blocks
}

/// A command of ours that can be typed as it stands: with what it works on, and without a place for something else.
fn is_whole(span: &str) -> bool {
    let words: Vec<&str> = span.split_whitespace().collect();
    let placeholder = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    words.len() > 2 && words[0] == "kimage" && !words.iter().any(placeholder) && !span.contains('…')
}

/// A folder with a file for every name that the documents use.
fn folder() -> tempfile::TempDir {
    let temp = tempdir();
    let dir = temp.path();
    for sub in ["arch/x86/boot/compressed", "arch/arm/boot/compressed", "old", "new", "tools"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for (name, from) in [
        ("vmlinux", "kernel"),
        ("a.elf", "kernel"),
        ("arch/x86/boot/compressed/vmlinux", "vmlinux"),
        ("arch/x86/boot/setup.elf", "setup.elf"),
        ("arch/x86/boot/setup.bin", "setup.bin"),
        ("arch/arm/boot/compressed/vmlinux", "arm-vmlinux"),
    ] {
        fs::copy(testdata("tiny").join(from), dir.join(name)).unwrap();
    }
    let tree = |model: &str| {
        let root = Node::new("")
            .with(Property::string("model", model))
            .with(Property::strings("compatible", [model]))
            .with_child(Node::new("chosen"));
        let mut out = Vec::new();
        Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
        out
    };
    for name in ["board.dtb", "one.dtb", "two.dtb"] {
        put(dir, name, &tree(&format!("tiny,{name}")));
    }
    let (zimage, kernel) = (files::zimage(), files::kernel());
    put(dir, "zImage", &zimage);
    put(dir, "zImage-dtb", &[zimage, tree("tiny,board")].concat());
    put(dir, "Image", &files::efi_image(0xaa64));
    put(dir, "kernel.elf", &kernel);
    put(dir, "uki.efi", &files::uki());
    put(dir, "linuxx64.efi.stub", &files::stub());
    put(dir, "ucode", &files::cpio());
    // A program for x86-64.
    let program = support::read(&testdata("tiny/kernel"));
    put(dir, "initrd", &files::cpio_of(&[("init", 0o100_755, &program)]));
    put(dir, "dmesg.txt", b"Warning: unable to open an initial console.\n");
    put(dir, "initrd.cpio.gz", &files::gzip(&files::cpio()));
    fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
    put(dir, "rootfs/bin/sh", b"#!\n");
    put(dir, "nodes.txt", b"dir /dev 755 0 0\nnod /dev/console 600 0 0 c 5 1\n");
    put(dir, "boot.cmd", b"echo hello\n");
    put(dir, "vmlinux.bin", &kernel);
    put(dir, "vmlinux.bin.gz", &files::gzip(&kernel));
    put(dir, "kernel.lzma", &files::packed(Codec::Lzma, &[0x55; 4096]));
    put(
        dir,
        "image.its",
        b"/dts-v1/;\n/ { description = \"tiny\"; images { kernel-1 { data = /incbin/(\"zImage\"); type = \"kernel\";\
          arch = \"arm\"; os = \"linux\"; compression = \"none\"; load = <0x80008000>; entry = <0x80008000>;\
          hash-1 { algo = \"sha256\"; }; }; }; configurations { default = \"conf-1\"; conf-1 { kernel = \"kernel-1\"; }; }; };",
    );
    let its = fs::read_to_string(dir.join("image.its")).unwrap();
    let signature = "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; };";
    let signed = its.replace("kernel = \"kernel-1\";", &format!("kernel = \"kernel-1\"; {signature}"));
    put(dir, "signed.its", signed.as_bytes());
    let cipher = "cipher { algo = \"aes256\"; key-name-hint = \"k\"; };";
    put(dir, "secret.its", its.replace("hash-1 {", &format!("{cipher} hash-1 {{")).as_bytes());
    let generators = its.replace("kernel-1 {", "@fdt-SEQ { type = \"flat_dt\"; compression = \"none\"; }; kernel-1 {");
    let generators = generators
        .replace("\"conf-1\"", "\"@conf-DEFAULT-SEQ\"")
        .replace(" conf-1 {", " @conf-SEQ { fdt = \"fdt-SEQ\";");
    put(dir, "boards.its", generators.as_bytes());
    fs::create_dir(dir.join("dtbs")).unwrap();
    put(dir, "dtbs/one.dtb", &tree("tiny,one"));
    put(dir, "u-boot.dtb", &tree("tiny,u-boot"));
    fs::create_dir(dir.join("keys")).unwrap();
    put(dir, "keys/dev.key", &support::read(&testdata("keys/dev.key")));
    put(dir, "keys/k.bin", &[7; 32]);
    put(dir, "db.key", &support::read(&testdata("keys/dev.key")));
    put(dir, "db.pem", &support::read(&testdata("keys/dev.pem")));
    for (options, name) in [("", "vmlinuz"), ("", "old/bzImage"), (" --compress lz4", "new/bzImage")] {
        let from = if name == "vmlinuz" { "kernel.elf" } else { "vmlinux" };
        shell(dir, &format!("kimage bzimage {from} --quiet{options} -o {name}")).unwrap();
    }
    shell(dir, "kimage fit signed.its --keys keys --quiet -o image.itb").unwrap();
    shell(dir, "kimage fit secret.its --keys keys --quiet -o secret.itb").unwrap();
    fs::copy(dir.join("old/bzImage"), dir.join("bzImage")).unwrap();
    shell(dir, "kimage sign vmlinuz --key db.key --cert db.pem --quiet -o vmlinuz.signed").unwrap();
    put(dir, "pcr.key", &support::read(&testdata("keys/dev.key")));
    shell(dir, "kimage uki --linux vmlinuz --stub linuxx64.efi.stub --os-release '' --quiet -o linux.efi").unwrap();
    fs::copy(dir.join("linux.efi"), dir.join("other.efi")).unwrap();
    shell(dir, "kimage uki --linux vmlinuz --os-release '' --quiet -o own.efi").unwrap();
    std::os::unix::fs::symlink(testdata(""), dir.join("testdata")).unwrap();
    shell(dir, "kimage uimage --empty -A mips -T filesystem --quiet -o fake").unwrap();
    temp
}

/// Runs a command in that folder, by the shell, with the kimage under test; what it said, where it failed.
fn shell(dir: &Path, command: &str) -> Result<(), String> {
    let program = Path::new(kimage_path()).parent().unwrap();
    let path = std::env::join_paths(
        [program.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-ec", command]).current_dir(dir).env("PATH", path.unwrap());
    let output = run(shell.stdin(std::process::Stdio::null()));
    // Two files that differ; a log, which says nothing of the first program: that is what their status says.
    const NO: [&str; 2] = ["kimage diff old/bzImage new/bzImage", "kimage doctor vmlinuz --log dmesg.txt"];
    // Who types until the machine is gone is ended by SIGPIPE; with pipefail all behind it ended well.
    let wanted = if command.starts_with("while ") { 141 } else { NO.contains(&command).into() };
    let as_wanted = output.status.code() == Some(wanted);
    as_wanted.then_some(()).ok_or_else(|| format!("{}\n{}{}", output.status, stdout(&output), stderr(&output)))
}

/// Puts what only a real kernel has into the folder; false, said loudly, where there is none.
fn make_real(dir: &Path, traits: &str) -> bool {
    let replace = |name: &str, to: &Path| {
        // No link: a command may write to it.
        fs::copy(to, dir.join(name)).unwrap();
    };
    if traits == DEBIAN {
        let Some(kernel) = support::debian_kernel(DEBIAN) else { return false };
        replace("vmlinuz", &kernel);
        let modules = kernel.with_file_name("modules");
        if !modules.is_dir() {
            support::missing(&format!("no modules in {} (sh tests/fetch-debian.sh)", modules.display()));
            return false;
        }
        ["virtio_net.ko", "Module.symvers"].iter().for_each(|name| replace(name, &modules.join(name)));
        return true;
    }
    let Some(tree) = support::tree(traits) else { return false };
    // The build folder is only read.
    let _ = fs::remove_file(dir.join("linux"));
    std::os::unix::fs::symlink(&tree.dir, dir.join("linux")).unwrap();
    replace("vmlinux", &tree.unstripped());
    if tree.is_arm() {
        replace("Image", &tree.path("arch/arm/boot/Image"));
        support::tool("arm-linux-gnueabihf-ld", "binutils-arm-linux-gnueabihf").is_some()
    } else {
        replace("vmlinuz", &tree.path("arch/x86/boot/bzImage"));
        support::tool("ld", "binutils").is_some()
    }
}

/// Is what the commands of a block boot on there? What is not is said.
fn has_machine(block: &[String]) -> bool {
    const PROGRAMS: [(&str, &str); 4] = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-system-arm", "qemu-system-arm"),
        ("swtpm", "swtpm"),
        ("sign-efi-sig-list", "efitools"),
    ];
    const FILES: [(&str, &str); 3] = [
        ("/usr/lib/u-boot/qemu_arm/u-boot.bin", "u-boot-qemu"),
        ("/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"),
        ("/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "systemd-boot-efi"),
    ];
    let wanted = |name: &str| block.iter().any(|command| command.contains(name));
    for (file, package) in FILES {
        if wanted(file) && !Path::new(file).exists() {
            support::missing(&format!("{file}: package {package}"));
            return false;
        }
    }
    PROGRAMS.iter().filter(|(name, _)| wanted(name)).all(|(name, package)| support::tool(name, package).is_some())
}

/// The page whose commands take longest: it has a test of its own, which runs beside the others.
const SECURE_BOOT: &str = "docs/secure-boot.md";

/// What running the commands came to.
struct Ran {
    /// What each block begins with, as [`folder`] made it.
    made: tempfile::TempDir,
    count: usize,
    wrong: Vec<String>,
    /// Of [`NOT_RUN`].
    used: [bool; NOT_RUN.len()],
}

impl Ran {
    fn new() -> Ran {
        Ran { made: folder(), count: 0, wrong: Vec::new(), used: [false; NOT_RUN.len()] }
    }

    fn run(&mut self, document: &str, block: Vec<String>) {
        if !has_machine(&block) {
            return; // no gap: has_machine() says so
        }
        let folder = tempdir();
        let dir = folder.path();
        support::run_ok(Command::new("cp").arg("-a").arg(self.made.path().join(".")).arg(dir));
        for command in block {
            if let Some(at) = NOT_RUN.iter().position(|(start, _)| command.starts_with(start)) {
                self.used[at] = true;
                continue;
            }
            // Of the same source; an optimised one takes minutes to build.
            let command = command.replace("cargo run --locked --release -- ", "kimage ");
            let real = REAL.iter().find(|(words, _)| command.contains(words));
            if real.is_some_and(|(_, traits)| !make_real(dir, traits)) {
                continue; // no gap: make_real() says so
            }
            match shell(dir, &command) {
                Ok(()) => self.count += 1,
                Err(said) => self.wrong.push(format!("{document}: {command}\n{said}")),
            }
        }
    }
}

#[test]
fn every_command_runs() {
    let mut all = Ran::new();
    for (document, text) in documents().iter().filter(|(document, _)| document != SECURE_BOOT) {
        commands(text).into_iter().for_each(|block| all.run(document, block));
    }
    let Ran { count: ran, wrong, used, .. } = all;
    assert!(wrong.is_empty(), "{} commands fail:\n{}", wrong.len(), wrong.join("\n"));
    println!("{ran} commands ran");
    assert!(ran > 60, "{ran}: the search no longer finds the commands");
    for ((start, why), used) in NOT_RUN.iter().zip(used) {
        assert!(used, "no document has a command that begins with {start} any more ({why})");
    }
}

/// Ten commands: keys, enrolled in a firmware; an image that it starts, with the foretold value in the TPM, and one that it refuses.
#[test]
fn secure_boot_in_ten_commands() {
    let text = documents().into_iter().find(|(document, _)| document == SECURE_BOOT).unwrap().1;
    let mut blocks = commands(&text);
    assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [10]);
    let mut ran = Ran::new();
    ran.run(SECURE_BOOT, blocks.remove(0));
    assert!(ran.wrong.is_empty(), "{}", ran.wrong.join("\n"));
}

/// The search finds what a reader would type, and nothing else.
#[test]
fn the_search_sees() {
    let text = "Use `kimage info FILE`, `kimage`, `kimage info x` or `kimage\ninfo y`.\n\n    kimage a b   # why\n    \
                kimage c d\n\n| `old \\| x` | `kimage e f \\| g` |\n```text\nkimage no no\n```\n```sh\nkimage h i\n```\n";
    let found = commands(text);
    let want: &[&[&str]] =
        &[&["kimage a b", "kimage c d"], &["kimage h i"], &["kimage info x"], &["kimage info y"], &["kimage e f | g"]];
    assert_eq!(found, want);
}

/// docs/formats.md names a proof for each claim: its files are there, and the published kernels of its table, too.
#[test]
fn the_proofs_of_formats_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/formats.md")).unwrap();
    let files = page.split('`').filter(|word| word.starts_with("tests/") && !word.contains(' '));
    let mut count = 0;
    for file in files {
        let path = root.join(file);
        assert!(path.exists() || path.with_extension("rs").exists(), "docs/formats.md: no {file}");
        count += 1;
    }
    assert!(count > 80, "{count}");
    let wild = fs::read_to_string(root.join("testdata/wild.toml")).unwrap();
    let releases: Vec<&str> = wild.lines().filter_map(|line| line.strip_prefix("release = \"")).collect();
    let (_, table) = page.split_once("| kernels | info, verify |").unwrap();
    let mut published = 0;
    for row in table.split("\n\n").next().unwrap().lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 5 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        for group in cells[1..].iter().flat_map(|cell| cell.split(';')) {
            let Some(numbers) = group.trim().strip_prefix('W') else { continue }; // no gap: not of wild/
            let digits = numbers.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|word| word.contains('.'));
            for number in digits {
                assert!(releases.iter().any(|release| release.starts_with(number)), "{number}: {row}");
                published += 1;
            }
        }
    }
    assert!(published > 30, "{published}");
}
