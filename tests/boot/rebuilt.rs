//! Kernels wrapped again with another payload boot, on SeaBIOS and on OVMF: an image with stale PE fields boots on the one
//! and hangs on the other.

use crate::machine::{self, Cpu, Machine, USER_OK, each, initrd, x86_cpu};
use crate::support::{self, Tree, kimage, missing, run_ok, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};

const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// An old word of the banner, and the one that is put in its place after the link.
const BANNER: (&[u8], &[u8]) = (b"Linux version ", b"KImage version");

/// The kernel, changed after its link, wrapped with another level of compression.
fn rewrap(dir: &Path, tree: &Tree) -> PathBuf {
    // The name stays: vmlinux.unstripped is looked for beside it.
    let vmlinux = dir.join(format!("{}.vmlinux", tree.name));
    let unstripped = tree.path("vmlinux.unstripped");
    let mut bytes = tree.read(if unstripped.is_file() { "vmlinux.unstripped" } else { "vmlinux" });
    let mut count = 0;
    while let Some(at) = memchr::memmem::find(&bytes, BANNER.0) {
        bytes[at..at + BANNER.1.len()].copy_from_slice(BANNER.1);
        count += 1;
    }
    assert!(count > 0, "{}: no banner", tree.name);
    fs::write(&vmlinux, bytes).unwrap();
    let image = dir.join(format!("{}.image", tree.name));
    // lzokay has one level, and other bytes than lzop.
    let lzo = kimage::internals::tree::is_set(&tree.read(".config"), "KERNEL_LZO");
    let level: &[&str] = if lzo { &[] } else { &["--level", "2"] };
    run_ok(
        kimage()
            .arg(if tree.is_arm() { "zimage" } else { "bzimage" })
            .arg(&vmlinux)
            .arg("--build-dir")
            .arg(&tree.dir)
            .args(level)
            .args(["--quiet", "-o"])
            .arg(&image),
    );
    let old = tree.path(if tree.is_arm() { "arch/arm/boot/zImage" } else { "arch/x86/boot/bzImage" });
    assert_ne!(fs::metadata(&image).unwrap().len(), fs::metadata(old).unwrap().len());
    image
}

/// Has the image a PE header for this CPU?
fn has_pe(image: &Path) -> bool {
    fs::read(image).unwrap().starts_with(b"MZ")
}

#[test]
fn x86_on_seabios_and_ovmf() {
    let Some(qemu) = tool("qemu-system-x86_64", "qemu-system-x86") else { return };
    if tool("ld", "binutils").is_none() {
        return;
    }
    let ovmf = Path::new(OVMF).is_file();
    if !ovmf {
        missing(&format!("no {OVMF} (apt-get install ovmf)"));
    }
    let dir = tempdir();
    let mut jobs = Vec::new();
    for tree in support::x86_trees().into_iter() {
        let image = rewrap(dir.path(), tree);
        let cpu = x86_cpu(tree);
        let ramdisk = dir.path().join(format!("{}.cpio", tree.name));
        fs::write(&ramdisk, initrd(cpu)).unwrap();
        jobs.push((tree, image.clone(), ramdisk.clone(), false));
        // OVMF is 64-bit, and starts nothing else.
        if ovmf && cpu == Cpu::X86_64 && has_pe(&image) {
            jobs.push((tree, image, ramdisk, true));
        }
    }
    each(&jobs, |(tree, image, ramdisk, efi)| {
        let mut command = machine::pc(&qemu, "q35", "Nehalem-v1", 1, 256);
        command.args(["-append", "console=ttyS0 panic=-1"]);
        if *efi {
            command.args(["-bios", OVMF]);
        }
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk);
        let what = format!("{} on {}", tree.name, if *efi { "OVMF" } else { "SeaBIOS" });
        let console = Machine::start(&what, &mut command).finish();
        console.says(&["KImage version", USER_OK]).never_says("Linux version");
        if *efi {
            console.says(&["efi: EFI v"]);
        }
    });
}

#[test]
fn arm_on_virt() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    if tool("arm-linux-gnueabihf-ld", "binutils-arm-linux-gnueabihf").is_none() {
        return;
    }
    let dir = tempdir();
    let trees: Vec<_> = support::arm_trees();
    each(&trees, |tree| {
        let image = rewrap(dir.path(), tree);
        let big = tree.read("vmlinux")[5] == 2;
        let ramdisk = dir.path().join(format!("{}.cpio", tree.name));
        fs::write(&ramdisk, initrd(if big { Cpu::ArmBe8 } else { Cpu::Arm })).unwrap();
        let mut command = machine::qemu(&qemu, "virt");
        command.args(["-m", "256", "-nic", "none"]);
        command.args(["-append", "console=ttyAMA0 panic=-1", "-kernel"]).arg(&image).arg("-initrd").arg(&ramdisk);
        Machine::start(&tree.name, &mut command).finish().says(&["KImage version", USER_OK]);
    });
}
