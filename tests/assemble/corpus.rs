//! Byte for byte the same as the kernel's own build, on every tree of the corpus.

use crate::support::{self, Tree, assert_same, kimage, run_ok, stderr, stdout, tempdir};
use kimage::bytes::help;
use std::fs;

fn x86() -> impl Iterator<Item = &'static Tree> {
    support::x86_trees().into_iter()
}

fn arm() -> impl Iterator<Item = &'static Tree> {
    support::arm_trees().into_iter()
}

/// A tree of every kind that the tests look for: generations of the kernel's build, CPUs, codecs.
#[test]
fn the_corpus_is_complete() {
    for traits in
        ["5.10-x86_64-gzip", "6.1-x86_64-xz", "6.12-x86_64-lz4", "x86_64-zstd", "6.1-i386-lzma", "6.1-arm-gzip"]
    {
        support::tree(traits);
    }
}

#[test]
fn bzimage_from_setup_bin_and_setup_elf() {
    for tree in x86() {
        let want = tree.read("arch/x86/boot/bzImage");
        for setup in ["setup.bin", "setup.elf"] {
            let dir = tempdir();
            let output = run_ok(
                kimage()
                    .current_dir(dir.path())
                    .arg("bzimage")
                    .arg(tree.path("arch/x86/boot/compressed/vmlinux"))
                    .arg(tree.path("arch/x86/boot").join(setup)),
            );
            let got = fs::read(dir.path().join("bzImage")).unwrap();
            assert_same(&format!("{} with {setup}", tree.name), &got, &want);
            assert!(stdout(&output).is_empty());
            assert!(stderr(&output).ends_with("bzImage is ready\n"), "{}", stderr(&output));
        }
    }
}

#[test]
fn bzimage_says_what_the_kernels_tool_says() {
    let Some(tree) = support::tree("6.1-x86_64") else { return };
    // Linux 6.1, arch/x86/boot/tools/build.c: with an EFI stub the setup ends at a page.
    let (setup, system) = (tree.read("arch/x86/boot/setup.bin").len(), tree.read("arch/x86/boot/vmlinux.bin").len());
    let crc = u32::from_le_bytes(*tree.read("arch/x86/boot/bzImage").last_chunk().unwrap());
    let dir = tempdir();
    let output = run_ok(
        kimage()
            .current_dir(dir.path())
            .arg("bzimage")
            .arg(tree.path("arch/x86/boot/compressed/vmlinux"))
            .arg(tree.path("arch/x86/boot/setup.bin")),
    );
    assert_eq!(
        stderr(&output),
        format!(
            "Setup is {setup} bytes (padded to {} bytes).\nSystem is {} kB\nCRC {crc:x}\nbzImage is ready\n",
            setup.next_multiple_of(4096),
            system.div_ceil(1024)
        )
    );
}

#[test]
fn the_crc_can_be_overridden() {
    for tree in x86() {
        let want = tree.read("arch/x86/boot/bzImage");
        for (choice, zero) in [("no", true), ("yes", false)] {
            let dir = tempdir();
            run_ok(
                kimage()
                    .current_dir(dir.path())
                    .args(["bzimage", "--quiet", "--crc", choice])
                    .arg(tree.path("arch/x86/boot/compressed/vmlinux"))
                    .arg(tree.path("arch/x86/boot/setup.bin")),
            );
            let got = fs::read(dir.path().join("bzImage")).unwrap();
            let body = want.len() - 4;
            assert_same(&tree.name, &got[..body], &want[..body]);
            let want_tail = if zero { [0; 4] } else { (!crc32fast::hash(&want[..body])).to_le_bytes() };
            assert_eq!(got[body..], want_tail, "{} --crc {choice}", tree.name);
        }
    }
}

/// The report's fields are what the image differs in from the setup that was given.
#[test]
fn json_lists_every_patched_field() {
    for tree in x86() {
        let dir = tempdir();
        let output = run_ok(
            kimage()
                .current_dir(dir.path())
                .args(["bzimage", "--json"])
                .arg(tree.path("arch/x86/boot/compressed/vmlinux"))
                .arg(tree.path("arch/x86/boot/setup.bin")),
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let image = fs::read(dir.path().join("bzImage")).unwrap();
        let mut rebuilt = tree.read("arch/x86/boot/setup.bin");
        rebuilt.resize(report["image"]["setup_padded"].as_u64().unwrap() as usize, 0);
        for field in report["fields"].as_array().unwrap() {
            let at = field["offset"].as_u64().unwrap() as usize;
            let width = field["width"].as_u64().unwrap() as usize;
            let old = field["old"].as_u64().unwrap().to_le_bytes();
            assert_eq!(rebuilt[at..at + width], old[..width], "{} {field}", tree.name);
            rebuilt[at..at + width].copy_from_slice(&field["new"].as_u64().unwrap().to_le_bytes()[..width]);
        }
        assert_same(&tree.name, &rebuilt, &image[..rebuilt.len()]);
        assert_eq!(report["size"].as_u64().unwrap() as usize, image.len());
        let old_tool = tree.name.contains("-5.10-");
        assert_eq!(report["image"]["generation"] == "patched", old_tool, "{}", tree.name);
    }
}

#[test]
fn zimage_and_image_of_arm() {
    for tree in arm() {
        let dir = tempdir();
        run_ok(kimage().current_dir(dir.path()).arg("zimage").arg(tree.path("arch/arm/boot/compressed/vmlinux")));
        let got = fs::read(dir.path().join("zImage")).unwrap();
        assert_same(&tree.name, &got, &tree.read("arch/arm/boot/zImage"));
        run_ok(kimage().current_dir(dir.path()).args(["image", "-R", ".comment"]).arg(tree.path("vmlinux")));
        let got = fs::read(dir.path().join("Image")).unwrap();
        assert_same(&tree.name, &got, &tree.read("arch/arm/boot/Image"));
    }
}

#[test]
fn the_flat_parts_of_x86() {
    for tree in x86() {
        let dir = tempdir();
        let boot = "arch/x86/boot";
        for (elf, removed, want) in [
            ("setup.elf", &[][..], "setup.bin"),
            ("compressed/vmlinux", &["-R", ".note", "-R", ".comment"][..], "vmlinux.bin"),
        ] {
            run_ok(
                kimage()
                    .current_dir(dir.path())
                    .args(["image", "-o", "flat"])
                    .args(removed)
                    .arg(tree.path(boot).join(elf)),
            );
            let got = fs::read(dir.path().join("flat")).unwrap();
            assert_same(&format!("{} {elf}", tree.name), &got, &tree.read(&format!("{boot}/{want}")));
        }
    }
}

/// Every line of the kernel's header stands in ours, in the same order, and where the age is not one that changed in mid-series
/// ours is the same file; with its own symbols it always is.
#[test]
fn voffset_and_zoffset() {
    for tree in x86() {
        for (command, elf, header, prefix) in [
            ("voffset", "vmlinux", "arch/x86/boot/voffset.h", "#define VO_"),
            ("zoffset", "arch/x86/boot/compressed/vmlinux", "arch/x86/boot/zoffset.h", "#define ZO_"),
        ] {
            let want = String::from_utf8(tree.read(header)).unwrap();
            let ours = stdout(&run_ok(kimage().arg(command).arg(tree.path(elf))));
            let kept: String =
                ours.lines().filter(|line| want.lines().any(|w| w == *line)).map(|l| format!("{l}\n")).collect();
            assert_eq!(kept, want, "{} {command}", tree.name);
            if !tree.name.contains("-6.1-") {
                assert_eq!(ours, want, "{} {command}", tree.name);
            }
            let names: Vec<&str> =
                want.lines().map(|line| line.strip_prefix(prefix).unwrap().split_once(' ').unwrap().0).collect();
            let only = run_ok(kimage().arg(command).arg(tree.path(elf)).args(["--symbols", &names.join(",")]));
            assert_eq!(stdout(&only), want, "{} {command} --symbols", tree.name);
        }
    }
}

/// Of vmlinux byte for byte; of a distribution's image what its symbol table for nm has, as nm prints it.
#[test]
fn system_maps() {
    for tree in support::trees("", |_| true) {
        let map = run_ok(kimage().arg("system-map").arg(tree.unstripped())).stdout;
        assert_same(&tree.name, &map, &tree.read("System.map"));
    }
    let (Some(image), Some(nm)) =
        (support::debian_kernel("bookworm-amd64-cloud-amd64"), support::tool("nm", "binutils"))
    else {
        return;
    };
    let dir = tempdir();
    let elf = dir.path().join("vmlinux");
    run_ok(kimage().arg("extract").arg(&image).args(["vmlinux", "--symbols", "-o"]).arg(&elf));
    // nm's letters are those of the sections that the extracted file has.
    let sorted = |output: std::process::Output| {
        let parted = |line: &str| (line[..16].to_owned(), line[19..].to_owned());
        let mut lines: Vec<_> = stdout(&output).lines().map(parted).collect();
        lines.sort();
        lines
    };
    let ours = sorted(run_ok(kimage().arg("system-map").arg(&image)));
    assert!(ours.len() > 50_000, "{}", ours.len());
    assert!(ours == sorted(run_ok(std::process::Command::new(nm).arg(&elf))));
}

/// The kernel itself in place of its decompressor, where that is wanted: says what it is, what is missing and which file
/// to give. (The command puts such a kernel around kimage's own boot stub: tests/boot/standalone.rs.)
#[test]
fn the_kernel_itself_is_refused_with_the_way_out() {
    for tree in x86() {
        let (vmlinux, setup) = (tree.read("vmlinux"), tree.read("arch/x86/boot/setup.bin"));
        let error = kimage::assemble::bzimage(&vmlinux, &setup, Default::default()).unwrap_err();
        let text = format!("{error}; {}", help(&error));
        for word in ["this is the kernel itself (Linux ", "input_data", "give arch/x86/boot/compressed/vmlinux"] {
            assert!(text.contains(word), "{}: {text}", tree.name);
        }
    }
}
