//! Unified kernel images around systemd's stub start from UEFI firmware.

use crate::machine::{Machine, USER_OK, initrd, x86_cpu};
use crate::standalone_efi::{disk, installed, pc};
use crate::support::{kimage, put, run_ok, tempdir, tree};
use std::path::Path;

const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// The kernel has the command line of the image, and both RAM disks of it, the first of which is no multiple of 4 bytes long.
#[test]
fn by_systemds_stub() {
    let Some(tree) = tree("6.1-x86_64") else { return };
    if !installed(FIRMWARE, "ovmf") || !installed(STUB, "systemd-boot-efi") {
        return; // no gap: installed() says so
    }
    let Some(mut qemu) = pc("q35") else { return };
    let dir = tempdir();
    put(dir.path(), "first", &[&crate::files::cpio()[..], &[0; 2]].concat());
    put(dir.path(), "second", &initrd(x86_cpu(tree)));
    let cmdline = "console=ttyS0 earlyprintk=ttyS0 panic=-1 no_timer_check of.image=1";
    let made = ["--initrd=first", "--initrd=second", "--stub", STUB, "--os-release=ID=test", "-o", "x.efi"];
    let kernel = tree.path("arch/x86/boot/bzImage");
    run_ok(kimage().current_dir(dir.path()).args(["uki", "--cmdline", cmdline, "--linux"]).arg(&kernel).args(made));
    let image = dir.path().join("x.efi");
    let Some(disk) = disk(dir.path(), "disk", &[("/EFI/BOOT/BOOTX64.EFI", &image as &Path)]) else { return }; // no gap: disk() says so
    qemu.args(["-bios", FIRMWARE, "-drive"]).arg(format!("file={},format=raw", disk.display()));
    let console = Machine::start("systemd's stub", &mut qemu).finish();
    console.says(&["of.image=1", USER_OK]);
}
