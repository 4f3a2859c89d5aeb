//! `kimage edit`: kernels boot to the program of a RAM disk that was not in them.

use crate::files;
use crate::machine::{self, Cpu, Machine, USER_OK, each, initrd, pc, x86_cpu};
use crate::support::{arm_trees, debian_kernel, kimage, put, run_ok, stderr, stdout, tempdir, tool, wild, x86_trees};
use std::path::{Path, PathBuf};
use std::process::Command;

/// With as much behind the program as no built-in archive has room for.
fn large(cpu: Cpu) -> Vec<u8> {
    let mut archive = initrd(cpu);
    let mut random = crate::support::Random(7);
    let noise: Vec<u8> = (0..300_000).map(|_| random.below(256) as u8).collect();
    let more = machine::initrd_of(&[("noise", &noise)]);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(more);
    archive
}

/// Edits an image; gives the new one, and what was said.
fn edited(dir: &Path, image: &Path, name: &str, archive: &[u8]) -> (PathBuf, String) {
    let archive = put(dir, &format!("{name}.cpio"), archive);
    let out = dir.join(name);
    let output = run_ok(kimage().arg("edit").arg(image).arg("--initramfs").arg(archive).arg("-o").arg(&out));
    run_ok(kimage().arg("verify").arg(&out));
    (out, stderr(&output))
}

fn boot(what: &str, qemu: &Path, cpu: &str, image: &Path, args: &str) -> machine::Console {
    let mut command = pc(qemu, "pc", cpu, 1, 256);
    command.arg("-kernel").arg(image).args(["-append", args]);
    Machine::start(what, &mut command).finish()
}

const PC_ARGS: &str = "console=ttyS0 panic=-1 no_timer_check";

/// The kernels of the corpus, with the decompressor that each has itself or, where there is no room, with kimage's.
#[test]
fn x86() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    let mut wrapped = Vec::new();
    let mut jobs = Vec::new();
    for tree in x86_trees() {
        let (image, cpu) = (tree.path("arch/x86/boot/bzImage"), x86_cpu(tree));
        for (size, archive) in [("small", initrd(cpu)), ("large", large(cpu))] {
            let name = format!("{}-{size}", tree.name);
            let (image, said) = edited(dir.path(), &image, &name, &archive);
            let is_wrapped = said.contains("wrapped anew, with kimage's own boot stub");
            assert!(
                is_wrapped || said.contains("for the image's own decompressor") && size == "small",
                "{name}: {said}"
            );
            wrapped.push(is_wrapped);
            jobs.push((name, image));
        }
    }
    each(&jobs, |(name, image)| {
        boot(name, &qemu, "Nehalem-v1", image, PC_ARGS).says(&[USER_OK]).never_says("unpacking failed");
    });
    assert!(wrapped.is_empty() || wrapped.contains(&true) && wrapped.contains(&false), "{wrapped:?}");
}

/// 2.6.32, as others published it: gzip, and no word that tells how large what is built in is.
#[test]
fn an_old_x86_kernel() {
    let (Some(qemu), Some(wild)) = (tool("qemu-system-x86_64", "qemu-system-x86"), wild()) else { return };
    let dir = tempdir();
    let name = "132-vmlinuz-viab";
    let (image, said) = edited(dir.path(), &wild.join(name), name, &files::gzip(&initrd(Cpu::X86_64)));
    assert!(said.contains("for the image's own decompressor"), "{said}");
    boot(name, &qemu, "Nehalem-v1", &image, PC_ARGS).says(&["Linux version 2.6.32", USER_OK]);
}

#[test]
fn arm() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let (image, said) = edited(dir.path(), &tree.path("arch/arm/boot/zImage"), &tree.name, &initrd(Cpu::Arm));
        assert!(said.contains("for the image's own decompressor"), "{said}");
        let mut command = machine::qemu(&qemu, "virt");
        command.args(["-m", "256", "-kernel"]).arg(&image).args(["-append", "console=ttyAMA0 panic=-1"]);
        Machine::start(&tree.name, &mut command).finish().says(&[USER_OK]).never_says("Kernel panic");
    }
}

/// With another codec, in kimage's boot stub.
#[test]
fn arm_with_another_codec() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let (image, _) = edited(dir.path(), &tree.path("arch/arm/boot/zImage"), "first", &initrd(Cpu::Arm));
        let out = dir.path().join("second");
        let said = stderr(&run_ok(kimage().arg("edit").arg(image).args(["--compress", "lz4", "-o"]).arg(&out)));
        assert!(said.contains("wrapped anew, with kimage's own boot stub"), "{said}");
        let mut command = machine::qemu(&qemu, "virt");
        command.args(["-m", "256", "-kernel"]).arg(&out).args(["-append", "console=ttyAMA0 panic=-1"]);
        Machine::start(&tree.name, &mut command).finish().says(&[USER_OK]).never_says("Kernel panic");
    }
}

/// Nobody gives these a command line, and the first gets its codec from here, too.
#[test]
fn a_command_line() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    let dir = tempdir();
    for tree in x86_trees().into_iter().take(1) {
        let (image, _) = edited(dir.path(), &tree.path("arch/x86/boot/bzImage"), "first", &initrd(x86_cpu(tree)));
        let out = dir.path().join("second");
        let args = ["--cmdline", "console=ttyS0 panic=-1 no_timer_check of=edit", "--compress", "lz4"];
        run_ok(kimage().arg("edit").arg(image).args(args).arg("-o").arg(&out));
        run_ok(kimage().arg("verify").arg(&out));
        boot(&tree.name, &qemu, "Nehalem-v1", &out, "").says(&["of=edit", USER_OK]);
    }
}

/// The kernel takes the tree behind it in place of QEMU's; that has another name and a command line.
#[test]
fn a_device_tree() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(fdtput) = tool("fdtput", "device-tree-compiler") else { return };
    let dir = tempdir();
    let dtb = put(dir.path(), "virt.dtb", &machine::device_tree(&qemu, "virt", &["-m", "256"]));
    for (node, field, value) in
        [("/", "model", "a board of edit"), ("/chosen", "bootargs", "console=ttyAMA0 panic=-1 of=edit")]
    {
        run_ok(Command::new(&fdtput).arg("-p").args(["-t", "s"]).arg(&dtb).args([node, field, value]));
    }
    for tree in arm_trees() {
        let (image, _) = edited(dir.path(), &tree.path("arch/arm/boot/zImage"), "first", &initrd(Cpu::Arm));
        let out = dir.path().join("second");
        run_ok(kimage().arg("edit").arg(image).arg("--dtb").arg(&dtb).arg("-o").arg(&out));
        run_ok(kimage().arg("verify").arg(&out));
        let mut command = machine::qemu(&qemu, "virt");
        command.args(["-m", "256", "-kernel"]).arg(&out);
        Machine::start(&tree.name, &mut command).finish().says(&["a board of edit", "of=edit", USER_OK]);
    }
}

/// Debian's signed Image, and the same compressed, which QEMU unpacks.
#[test]
fn arm64() {
    let Some(qemu) = tool("qemu-system-aarch64", "qemu-system-arm") else { return };
    let Some(kernel) = debian_kernel("bookworm-arm64-cloud-arm64") else { return };
    let dir = tempdir();
    let packed = dir.path().join("Image.gz");
    run_ok(kimage().args(["compress", "gzip", "-q"]).arg(&kernel).arg("-o").arg(&packed));
    for (name, image) in [("Image", &kernel), ("Image.gz", &packed)] {
        let (image, said) = edited(dir.path(), image, &format!("new-{name}"), &files::gzip(&initrd(Cpu::Arm64)));
        assert!(said.contains("in place of the one built in"), "{said}");
        let mut command: Command = machine::qemu(&qemu, "virt");
        command.args(["-cpu", "cortex-a57", "-m", "512", "-kernel"]).arg(&image);
        command.args(["-append", "earlycon console=ttyAMA0 panic=-1"]);
        Machine::start(name, &mut command).finish().says(&[USER_OK]).never_says("Kernel panic");
    }
    let said =
        stdout(&run_ok(kimage().arg("info").arg(dir.path().join("new-Image")).args(["--field", "initramfs_built_in"])));
    assert!(said.trim().parse::<u64>().unwrap() <= 512, "{said}");
}
