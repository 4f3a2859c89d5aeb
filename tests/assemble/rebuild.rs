//! From the kernel's own vmlinux to the image, with the build folders of the corpus: the same bytes as the kernel's build.

use crate::support::{self, Tree, assert_same, corpus, kimage, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::codec::Codec;
use kimage::elf::Elf;
use kimage::internals::bzimage::{Offsets, follow_link};
use kimage::internals::tree::{self, voffsets, zoffsets};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn boot(tree: &Tree) -> &'static str {
    if tree.is_arm() { "arch/arm/boot" } else { "arch/x86/boot" }
}

fn image(tree: &Tree) -> PathBuf {
    tree.path(boot(tree)).join(if tree.is_arm() { "zImage" } else { "bzImage" })
}

/// The compressed kernel of the tree's own build.
fn stream(tree: &Tree) -> String {
    match tree.is_arm() {
        true => "arch/arm/boot/compressed/piggy_data".into(),
        false => tree::incbin(&tree.read("arch/x86/boot/compressed/piggy.S")).unwrap(),
    }
}

/// Is the tree's linker there?
fn can_link(tree: &Tree) -> bool {
    match tree.is_arm() {
        true => tool("arm-linux-gnueabihf-ld", "binutils-arm-linux-gnueabihf").is_some(),
        false => tool("ld", "binutils").is_some(),
    }
}

/// The trees whose linker is there; the others are said to be left out.
fn linkable() -> impl Iterator<Item = &'static Tree> {
    corpus().iter().filter(|tree| can_link(tree)) // no gap: can_link says which
}

fn command(is_arm: bool, vmlinux: &Path, folder: &Path) -> Command {
    let mut command = kimage();
    command.arg(if is_arm { "zimage" } else { "bzimage" }).arg(vmlinux).arg("--build-dir").arg(folder);
    command
}

/// vmlinux, and vmlinux.unstripped where there is one.
fn kernels(tree: &Tree) -> impl Iterator<Item = PathBuf> {
    ["vmlinux", "vmlinux.unstripped"].map(|name| tree.path(name)).into_iter().filter(|path| path.is_file())
}

/// Does our compressor give the bytes of the command line?
fn is_identical(codec: Codec) -> bool {
    matches!(codec, Codec::Bzip2 | Codec::Lzma | Codec::Xz | Codec::Lz4Legacy)
}

/// A folder with links to all files of the tree, in which single files can be replaced.
fn shadow(tree: &Tree) -> tempfile::TempDir {
    fn links(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                fs::create_dir(&target).unwrap();
                links(&entry.path(), &target);
            } else {
                symlink(entry.path(), &target).unwrap();
            }
        }
    }
    let dir = tempdir();
    links(&tree.dir, dir.path());
    dir
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every file below a folder, with its size and time.
fn listing(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let meta = entry.metadata().unwrap();
        all.push(format!("{} {} {:?}", entry.path().display(), meta.len(), meta.modified().unwrap()));
        if meta.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn the_same_image_as_the_kernels_build() {
    for tree in linkable() {
        let want = fs::read(image(tree)).unwrap();
        let codec = Codec::detect(&tree.read(&stream(tree))).unwrap();
        for vmlinux in kernels(tree) {
            let dir = tempdir();
            let out = dir.path().join("image");
            let what = vmlinux.display();
            if is_identical(codec) {
                let before = listing(&tree.dir);
                run_ok(command(tree.is_arm(), &vmlinux, &tree.dir).arg("-o").arg(&out));
                assert_same(&format!("{what}, compressed anew"), &fs::read(&out).unwrap(), &want);
                assert_eq!(listing(&tree.dir), before, "the build folder is only read");
            }
            let payload = tree.path(&stream(tree));
            run_ok(command(tree.is_arm(), &vmlinux, &tree.dir).arg("--payload").arg(payload).arg("-o").arg(&out));
            assert_same(&format!("{what} --payload"), &fs::read(&out).unwrap(), &want);
        }
    }
}

/// Each under the name that the kernel's build has for it, from another folder, by relative paths.
#[test]
fn every_intermediate_file_is_kept() {
    for tree in linkable() {
        let dir = tempdir();
        let parent = tree.dir.parent().unwrap();
        let output = run_ok(
            command(tree.is_arm(), &Path::new(&tree.name).join("vmlinux"), Path::new(&tree.name))
                .current_dir(parent)
                .args(["--json", "--payload"])
                .arg(tree.path(&stream(tree)))
                .arg("--keep")
                .arg(dir.path().join("a/b"))
                .arg("-o")
                .arg(dir.path().join("image")),
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let steps = report["steps"].as_array().unwrap();
        assert!(steps.len() >= if tree.is_arm() { 4 } else { 9 }, "{steps:?}");
        for step in steps {
            let name = step["file"].as_str().unwrap();
            let kept = fs::read(dir.path().join("a/b").join(name)).unwrap();
            assert_eq!(kept.len() as u64, step["size"].as_u64().unwrap(), "{name}");
            assert_same(&format!("{} {name}", tree.name), &kept, &tree.read(name));
        }
    }
}

#[test]
fn a_plan_writes_nothing() {
    for tree in linkable() {
        let dir = tempdir();
        let mut plan = command(tree.is_arm(), &tree.path("vmlinux"), &tree.dir);
        plan.current_dir(dir.path()).args(["--plan", "--keep", "kept", "--payload"]).arg(tree.path(&stream(tree)));
        let text = stdout(&run_ok(&mut plan));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let size = fs::metadata(image(tree)).unwrap().len();
        for words in [format!("{size} bytes, not written"), "linked by: ".into(), stream(tree)] {
            assert!(text.contains(&words), "{words}: {text}");
        }
        let report: serde_json::Value = serde_json::from_slice(&run_ok(plan.arg("--json")).stdout).unwrap();
        assert_eq!(report["written"], false);
        assert_eq!(report["size"], size);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

/// Where an image is made of parts that are there, too.
#[test]
fn every_image_builder_can_plan() {
    let Some(tree) = support::tree("x86_64-xz") else { return };
    let dir = tempdir();
    let vmlinux = tree.path("arch/x86/boot/compressed/vmlinux");
    for args in [&["bzimage"][..], &["image"], &["uimage", "-a", "0x8000", "-A", "x86_64"]] {
        let mut command = kimage();
        command.current_dir(dir.path()).args(args).arg("--plan").arg(&vmlinux);
        if args == ["bzimage"] {
            command.arg(tree.path("arch/x86/boot/setup.bin"));
        }
        assert!(stdout(&run_ok(&mut command)).contains("not written"));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The setup's numbers are those of zoffset.h, all of them: moved somewhere else and back they are as before.
#[test]
fn every_number_of_the_setup_is_explained() {
    for tree in support::x86_trees().into_iter() {
        let setup = tree.read("arch/x86/boot/setup.bin");
        let old: Offsets = zoffsets(&tree.read("arch/x86/boot/zoffset.h")).unwrap().into_iter().collect();
        let kernel: Offsets = voffsets(&tree.read("arch/x86/boot/voffset.h")).unwrap().into_iter().collect();
        let mut new = old.clone();
        for (name, value) in &mut new {
            // The head stands in front of the payload and stays.
            let behind =
                !matches!(name.as_str(), "startup_32" | "startup_64" | "_ehead" | "input_data" | "z_output_len");
            // Not all by the same, so that every difference changes too; EFI mixed mode has both entries move together.
            let spread = match name.as_str() {
                "_data" | "_sbat" => 0x1000,
                "_esbat" | "_edata" => 0x3000,
                "_end" => 0x1080_0000,
                _ => 0x800,
            };
            *value += if behind { spread } else { 0 };
        }
        let (moved, patches) =
            follow_link(&setup, &old, &new, &kernel).unwrap_or_else(|error| panic!("{}: {error}", tree.name));
        let names: Vec<_> = patches.iter().map(|patch| patch.name).collect();
        let mut want = vec!["payload_length", "init_size"];
        let pe = setup.starts_with(b"MZ");
        let assembled = setup[0x1f1] != 0;
        if assembled {
            want.extend(["syssize", "kernel_info_offset"]);
        }
        if assembled && pe {
            want.extend(["SizeOfCode", "SizeOfInitializedData", "AddressOfEntryPoint", "SizeOfImage"]);
            want.extend([".text VirtualSize", ".text SizeOfRawData"]);
            want.extend([".data VirtualSize", ".data VirtualAddress", ".data SizeOfRawData", ".data PointerToRawData"]);
        }
        for name in want {
            assert!(names.contains(&name), "{} {name}: {names:?}", tree.name);
        }
        let (back, _) = follow_link(&moved, &new, &old, &kernel).unwrap();
        assert_same(&tree.name, &back, &setup);
        // What no longer is what the old link says cannot follow.
        let mut damaged = setup.clone();
        damaged[0x24c] ^= 1;
        let error = follow_link(&damaged, &old, &new, &kernel).unwrap_err().to_string();
        assert!(error.contains("payload_length at offset 0x24c"), "{error}");
    }
}

/// Another level is another payload, another link, another setup: and the parts still belong together.
#[test]
fn another_level_gives_another_image() {
    for tree in linkable() {
        let codec = Codec::detect(&tree.read(&stream(tree))).unwrap();
        let dir = tempdir();
        let out = dir.path().join("image");
        run_ok(
            command(tree.is_arm(), &tree.path("vmlinux"), &tree.dir)
                // lzokay has one level, and other bytes than lzop.
                .args(if codec == Codec::Lzo { &[][..] } else { &["--level", "1"] })
                .arg("-o")
                .arg(&out)
                .arg("--keep")
                .arg(dir.path()),
        );
        let made = fs::read(&out).unwrap();
        let payload = fs::read(dir.path().join(stream(tree))).unwrap();
        assert_ne!(payload, tree.read(&stream(tree)));
        assert!(memchr::memmem::find(&made, &payload).is_some());
        let mut unpacked = Vec::new();
        kimage::internals::decompress_one(codec, &payload, u64::MAX, &mut unpacked).unwrap();
        let mut want = Vec::new();
        kimage::internals::decompress_one(codec, &tree.read(&stream(tree)), u64::MAX, &mut want).unwrap();
        assert_same(&tree.name, &unpacked, &want);
        // zoffset.h of the kept files is that of the kept link, and the parts given apart make the same image.
        if tree.is_x86() {
            let apart = dir.path().join("apart");
            let part = |name: &str| dir.path().join("arch/x86/boot").join(name);
            run_ok(kimage().arg("bzimage").args([part("compressed/vmlinux"), part("setup.bin")]).arg("-o").arg(&apart));
            assert_same(&tree.name, &fs::read(&apart).unwrap(), &made);
        }
    }
}

/// Runs `change` on a copy of the tree, then kimage, which must fail with these words and leave the old image.
#[track_caller]
fn refused(tree: &Tree, args: &[&str], change: impl FnOnce(&Path), words: &[&str]) {
    let folder = shadow(tree);
    change(folder.path());
    let out = folder.path().join("old image");
    fs::write(&out, "old").unwrap();
    let output =
        run(command(tree.is_arm(), &folder.path().join("vmlinux"), folder.path()).args(args).arg("-o").arg(&out));
    check_refusal(&output, words);
    assert_eq!(fs::read(&out).unwrap(), b"old");
}

#[track_caller]
fn check_refusal(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
    assert!(text.contains(from), "{}: {from}", path.display());
    replace(path, text.replace(from, to).as_bytes());
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(tree) = support::tree("x86_64-xz") else { return };
    let Some(arm) = support::tree("arm-gzip") else { return };
    if !can_link(tree) || !can_link(arm) {
        return;
    }
    let boot = |name: &str| format!("arch/x86/boot/{name}");
    refused(
        tree,
        &[],
        |at| edit(&at.join(boot("voffset.h")), "VO__end _AC(0xffffffff81", "VO__end _AC(0xffffffff82"),
        &["_end is at 0xffffffff81", "voffset.h has it at 0xffffffff82", "of another build"],
    );
    refused(
        tree,
        &[],
        |at| edit(&at.join(".config"), "CONFIG_KERNEL_XZ=y", "CONFIG_KERNEL_GZIP=y"),
        &["piggy.S includes arch/x86/boot/compressed/vmlinux.bin.xz, but .config says CONFIG_KERNEL_GZIP=y"],
    );
    refused(
        tree,
        &[],
        |at| fs::remove_file(at.join(boot("compressed/misc.o"))).unwrap(),
        &["the link needs arch/x86/boot/compressed/misc.o, which is not there", "run make there"],
    );
    refused(
        tree,
        &[],
        |at| fs::remove_file(at.join(boot("compressed/.vmlinux.cmd"))).unwrap(),
        &["the build folder has no compressed/.vmlinux.cmd"],
    );
    refused(
        tree,
        &[],
        |at| {
            let payload = fs::read(at.join(boot("compressed/vmlinux.bin.xz"))).unwrap();
            replace(&at.join(boot("compressed/vmlinux.bin.xz")), &payload[100..]);
        },
        &["the compressed kernel in the build folder is no xz stream"],
    );
    refused(
        tree,
        &["--ld", "arm-linux-gnueabihf-ld"],
        |_| {},
        &["the linker arm-linux-gnueabihf-ld does not know the emulation elf_x86_64"],
    );
    refused(tree, &["--ld", "no-such-ld"], |_| {}, &["no-such-ld cannot be started", "name one with --ld"]);
    refused(tree, &["--ld", "false"], |_| {}, &["the link failed", "exit status: 1"]);
    refused(tree, &["--level", "10"], |_| {}, &["--level 10 for xz: allowed are 0 to 9"]);
    refused(
        tree,
        &["--payload", arm.path("arch/arm/boot/compressed/piggy_data").to_str().unwrap()],
        |_| {},
        &["the payload is gzip, the folder's decompressor understands xz only"],
    );
    // A setup of another build.
    refused(
        tree,
        &["--level", "1"],
        |at| {
            let mut setup = fs::read(at.join(boot("setup.bin"))).unwrap();
            setup[0x24d] ^= 1;
            replace(&at.join(boot("setup.bin")), &setup);
        },
        &["payload_length at offset 0x24c", "not of one build"],
    );
    // The kernel's own stream, but not of this kernel.
    refused(
        tree,
        &["--payload", &tree.path(&stream(tree)).display().to_string()],
        |at| {
            let mut vmlinux = fs::read(at.join("vmlinux")).unwrap();
            let at_banner = memchr::memmem::find(&vmlinux, b"Linux version 6").unwrap();
            vmlinux[at_banner] = b'l';
            replace(&at.join("vmlinux"), &vmlinux);
        },
        &["the payload holds another kernel than VMLINUX", "offset 0x"],
    );
    let not_ours = |args: &[&Path]| run(kimage().arg("bzimage").args(args).arg("--build-dir").arg(&tree.dir));
    check_refusal(&not_ours(&[&arm.path("vmlinux")]), &["a kernel for another CPU", "kimage zimage"]);
    check_refusal(&not_ours(&[&tree.path(&boot("compressed/vmlinux"))]), &["the decompressor, with a kernel inside"]);
    check_refusal(&not_ours(&[&tree.path(&boot("bzImage"))]), &["wanted the kernel's own vmlinux"]);
    check_refusal(&not_ours(&[&tree.path(&boot("compressed/vmlinux.bin"))]), &["no symbol"]);
    let dir = tempdir();
    let keep = run(command(false, &tree.path("vmlinux"), &tree.dir)
        .current_dir(dir.path())
        .arg("--keep")
        .arg(tree.path("arch/x86"))
        .arg("--payload")
        .arg(tree.path(&stream(tree))));
    check_refusal(&keep, &["lies in the build folder, which is only read"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    for args in [&["--level", "3"][..], &["--keep", "x"], &["--payload", "x"], &["--ld", "x"]] {
        let parts = [tree.path(&boot("compressed/vmlinux")), tree.path(&boot("setup.bin"))];
        let output = run(kimage().arg("bzimage").args(parts).args(args));
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

/// Without the compressed kernel of the tree's build, xz is called as that build called it.
#[test]
fn xz_of_a_folder_that_keeps_no_stream() {
    let has_xz = |tree: &Tree| tree::is_set(&tree.read(".config"), "KERNEL_XZ");
    for tree in support::trees("xz", has_xz).into_iter().filter(|tree| can_link(tree)) {
        let folder = shadow(tree);
        fs::remove_file(folder.path().join(stream(tree))).unwrap();
        let mut command = command(tree.is_arm(), &tree.path("vmlinux"), folder.path());
        let out = tempdir();
        run_ok(command.current_dir(out.path()).args(["--keep", "kept", "-o", "image"]));
        let kept = fs::read(out.path().join("kept").join(stream(tree))).unwrap();
        assert_same(&tree.name, &kept, &tree.read(&stream(tree)));
    }
}

/// The converter for Thumb came with 6.12's script, and older decompressors do not know it.
#[test]
fn the_thumb_converter_is_for_decompressors_that_know_it() {
    let Some(tree) = support::tree("arm-gzip") else { return };
    if !can_link(tree) {
        return;
    }
    let folder = shadow(tree);
    let at = |name: &str| folder.path().join(name);
    fs::remove_file(at(&stream(tree))).unwrap();
    let config = String::from_utf8(tree.read(".config")).unwrap();
    let config = config.replace("CONFIG_KERNEL_GZIP=y", "CONFIG_KERNEL_XZ=y");
    let check = |config: &str, want: &str| {
        replace(&at(".config"), config.as_bytes());
        let plan = run_ok(command(true, &tree.path("vmlinux"), folder.path()).arg("--plan"));
        assert!(stdout(&plan).contains(want), "{}", stdout(&plan));
    };
    check(&config, "xz, BCJ arm, dictionary 32 MiB");
    check(&format!("{config}CONFIG_XZ_DEC_ARM64=y\n"), "xz, BCJ armthumb, dictionary 128 MiB");
    // The sources know best.
    fs::create_dir_all(at("source/scripts")).unwrap();
    fs::write(at("source/scripts/xz_wrap.sh"), "BCJ=--armthumb\n").unwrap();
    check(&config, "xz, BCJ armthumb, dictionary 128 MiB");
}

/// 6.12 cuts the relocations out of vmlinux: without vmlinux.unstripped beside it, the table of the folder serves.
#[test]
fn relocations_of_the_folder() {
    let Some(tree) = support::tree("x86_64-lz4") else { return };
    if !can_link(tree) {
        return;
    }
    let folder = shadow(tree);
    let (vmlinux, out) = (folder.path().join("vmlinux"), folder.path().join("out"));
    fs::remove_file(folder.path().join("vmlinux.unstripped")).unwrap();
    run_ok(command(false, &vmlinux, folder.path()).arg("-o").arg(&out));
    assert_same("6.12 with the folder's table", &fs::read(&out).unwrap(), &fs::read(image(tree)).unwrap());

    // Changed after the link, it is no longer the folder's own; what the table points to still is.
    let mut changed = fs::read(&vmlinux).unwrap();
    let at_banner = memchr::memmem::find(&changed, b"Linux version 6").unwrap();
    changed[at_banner..at_banner + 5].copy_from_slice(b"LINUX");
    replace(&vmlinux, &changed);
    run_ok(command(false, &vmlinux, folder.path()).arg("-o").arg(&out));

    // A shifted table points into the same kernel, but not to addresses.
    let relocs = folder.path().join("arch/x86/boot/compressed/vmlinux.relocs");
    let mut table = fs::read(&relocs).unwrap();
    for word in table.chunks_exact_mut(4) {
        let value = u32::from_le_bytes(word.try_into().unwrap());
        if value != 0 {
            word.copy_from_slice(&(value + 16).to_le_bytes());
        }
    }
    replace(&relocs, &table);
    let words = ["are not those of this vmlinux", "vmlinux.unstripped"];
    check_refusal(&run(command(false, &vmlinux, folder.path()).arg("-o").arg(&out)), &words);
    fs::remove_file(&relocs).unwrap();
    check_refusal(&run(command(false, &vmlinux, folder.path()).arg("-o").arg(&out)), &["vmlinux.unstripped"]);
}

/// Standard input, a read-only folder, a folder for temporary files whose name is no text, a reader that has seen enough.
#[test]
fn odd_places() {
    use std::os::unix::ffi::OsStrExt;
    let Some(tree) = support::tree("i386-lzma") else { return };
    if !can_link(tree) {
        return;
    }
    let want = fs::read(image(tree)).unwrap();
    let payload = tree.path(&stream(tree));
    let with_payload = |vmlinux: &Path| {
        let mut made = command(false, vmlinux, &tree.dir);
        made.arg("--payload").arg(&payload);
        made
    };
    let dir = tempdir();
    let mut from_stdin = with_payload(Path::new("-"));
    from_stdin.current_dir(dir.path()).stdin(fs::File::open(tree.path("vmlinux")).unwrap());
    run_ok(&mut from_stdin);
    assert_same("standard input", &fs::read(dir.path().join("bzImage")).unwrap(), &want);

    let to_stdout = run_ok(with_payload(&tree.path("vmlinux")).args(["-o", "-"]));
    assert_same("standard output", &to_stdout.stdout, &want);

    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    let output = run(with_payload(&tree.path("vmlinux")).env("TMPDIR", &odd).arg("-o").arg(dir.path().join("x")));
    check_refusal(&output, &["the path is not UTF-8: name another folder by TMPDIR"]);
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0, "no temporary file stays behind");
    let output = run(with_payload(&tree.path("vmlinux")).env("TMPDIR", "/nowhere").arg("-o").arg(dir.path().join("x")));
    check_refusal(&output, &["no temporary folder can be made"]);

    let full = run(with_payload(&tree.path("vmlinux")).args(["-o", "/dev/full"]));
    check_refusal(&full, &["/dev/full", "No space left"]);
}

/// Another linker of the same kind gives the same bytes; a path is meant from where the user is.
#[test]
fn the_linker_can_be_replaced() {
    let Some(tree) = support::tree("i386-lzma") else { return };
    let Some(ld) = tool("ld.bfd", "binutils") else { return };
    let dir = tempdir();
    symlink(ld, dir.path().join("my-ld")).unwrap();
    for name in ["ld.bfd", "./my-ld"] {
        run_ok(command(false, &tree.path("vmlinux"), &tree.dir).current_dir(dir.path()).args(["--ld", name]));
        assert_same(name, &fs::read(dir.path().join("bzImage")).unwrap(), &fs::read(image(tree)).unwrap());
    }
}

/// BSS that grew after the link is what the decompressor must know of.
#[test]
fn the_arm_kernels_bss_is_counted_anew() {
    let Some(tree) = support::tree("arm-gzip") else { return };
    if !can_link(tree) {
        return;
    }
    let vmlinux = tree.read("vmlinux");
    let size = tree::kernel_bss_size(&Elf::parse(&vmlinux).unwrap()).unwrap();
    let folder = shadow(tree);
    let cmd = folder.path().join("arch/arm/boot/compressed/.vmlinux.cmd");
    edit(&cmd, &format!("_kernel_bss_size={size}"), "_kernel_bss_size=4096");
    let out = folder.path().join("out");
    run_ok(
        command(true, &tree.path("vmlinux"), folder.path())
            .arg("--payload")
            .arg(tree.path(&stream(tree)))
            .arg("-o")
            .arg(&out),
    );
    assert_same("another bss size in the kept command", &fs::read(&out).unwrap(), &fs::read(image(tree)).unwrap());
}
