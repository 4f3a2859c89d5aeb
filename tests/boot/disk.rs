//! What `kimage disk` makes is started by SeaBIOS from a floppy, a hard disk and a CD, and by UEFI firmware; and says so where it
//! cannot be. Kernels to user space are rows of the matrix.

use crate::machine::{self, Machine, each};
use crate::support::{full, make, missing, noise, put, read, tempdir, testdata, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";
const EFI_AARCH64: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";

/// UEFI firmware for PCs, or a loud word and `None`.
pub(crate) fn firmware() -> Option<&'static str> {
    if !Path::new(FIRMWARE).is_file() {
        missing(&format!("no {FIRMWARE} (apt-get install ovmf)"));
        return None;
    }
    Some(FIRMWARE)
}

fn pc(megabytes: usize) -> Option<Command> {
    let qemu = tool("qemu-system-x86_64", "qemu-system-x86")?;
    Some(machine::pc(&qemu, "pc", "Nehalem-v1", 1, megabytes))
}

/// The disk, with QEMU's option for it.
pub(crate) fn attach(command: &mut Command, with: &str, disk: &Path) {
    let file = format!("file={},format=raw", disk.display());
    match with {
        "floppy" => command.args(["-drive", &format!("{file},if=floppy")]),
        "cd" => command.args(["-drive", &format!("{file},media=cdrom,readonly=on")]),
        _ => command.args(["-drive", &file]),
    };
}

fn disk(dir: &Path, name: &str, options: &[&str]) -> PathBuf {
    make(dir, name, "disk", &[&testdata("tiny/kernel")], options)
}

/// The shipped tiny kernel, which prints what it was passed, with a RAM disk of more than one read.
#[test]
fn the_tiny_kernel() {
    let Some(_) = pc(64) else { return };
    let has_firmware = firmware().is_some();
    let dir = tempdir();
    let ramdisk = noise(234_567, 5);
    let sum: u64 = ramdisk.iter().map(|byte| u64::from(*byte)).sum();
    let ramdisk = put(dir.path(), "ramdisk", &ramdisk);
    let jobs = [
        ("floppy144", "floppy", false),
        ("gpt", "disk", false),
        ("iso", "cd", false),
        ("hybrid", "cd", false),
        ("hybrid", "disk", false),
        ("esp", "disk", true),
        ("iso", "cd", true),
    ];
    each(&jobs, |(kind, with, is_uefi)| {
        if *is_uefi && !has_firmware {
            return; // no gap: firmware() has said so
        }
        let name = format!("{kind}.{with}.{is_uefi}");
        let options = ["--kind", kind, "--initrd", ramdisk.to_str().unwrap(), "--cmdline", "kimage=1 word"];
        let disk = disk(dir.path(), &name, &options);
        let mut command = pc(if *is_uefi { 256 } else { 64 }).unwrap();
        attach(&mut command, with, &disk);
        if *is_uefi {
            command.args(["-bios", FIRMWARE]);
        }
        let console = Machine::start(&name, &mut command).finish();
        console.says(&[
            "tiny: boot parameters: good\n",
            "tiny: command line: kimage=1 word\n",
            &format!(", size 234567, sum of bytes {sum}\n"),
            "TINY-BOOT-OK\n",
        ]);
        assert_eq!(console.text().contains("kimage: loading the kernel"), !is_uefi);
    });
}

/// Disks with sectors of 4 KiB, as UEFI firmware sees them.
#[test]
fn large_sectors() {
    let (Some(_), Some(firmware)) = (pc(256), firmware()) else { return };
    let dir = tempdir();
    let large = ["--sector-size", "4096", "--cmdline", "kimage=1 word"];
    let jobs = [
        ("gpt", "nvme,serial=1,drive=d,logical_block_size=4096,physical_block_size=4096"),
        ("gpt", "virtio-blk-pci,drive=d,logical_block_size=4096,physical_block_size=4096"),
        ("esp", "virtio-blk-pci,drive=d,logical_block_size=4096,physical_block_size=4096"),
    ];
    each(&jobs, |(kind, device)| {
        let disk = disk(dir.path(), &format!("{kind}.{}", &device[..4]), &[&["--kind", kind], &large[..]].concat());
        let mut command = pc(256).unwrap();
        command.args(["-bios", firmware, "-drive", &format!("file={},format=raw,if=none,id=d", disk.display())]);
        command.args(["-device", device]);
        let console = Machine::start(device, &mut command).finish();
        console.says(&["tiny: command line: kimage=1 word\n", "TINY-BOOT-OK\n"]);
    });
}

/// Too little memory, a kernel that is no longer where it was, a disk that ends too early: each has its words.
#[test]
fn what_cannot_be_started_says_so() {
    let Some(_) = pc(64) else { return };
    let dir = tempdir();
    let floppy = disk(dir.path(), "floppy", &["--kind", "floppy144"]);
    let gpt = read(&disk(dir.path(), "gpt", &["--kind", "gpt"]));
    let kernel = memchr::memmem::find(&gpt, b"HdrS").unwrap();
    let mut changed = gpt.clone();
    changed[kernel..kernel + 4].copy_from_slice(b"????");
    let changed = put(dir.path(), "changed", &changed);
    let cut = put(dir.path(), "cut", &gpt[..kernel / 512 * 512 + 512]);
    let jobs = [
        ("floppy", &floppy, 2, "kimage: too little memory: the kernel needs "),
        ("disk", &changed, 64, "kimage: the kernel is not where it was: make the disk anew"),
        ("disk", &cut, 64, "kimage: read error"),
    ];
    each(&jobs, |(with, disk, megabytes, words)| {
        let mut command = pc(*megabytes).unwrap();
        attach(&mut command, with, disk);
        Machine::start(words, &mut command).wait_for(words);
    });
}

/// A kernel of another CPU, as it is: Debian's for arm64, which finds no root file system for want of a command line.
#[test]
fn arm64_by_its_firmware() {
    if !full() {
        return; // no gap: the long matrix alone boots it
    }
    let Some(qemu) = tool("qemu-system-aarch64", "qemu-system-arm") else { return };
    if !Path::new(EFI_AARCH64).is_file() {
        return missing(&format!("no {EFI_AARCH64} (apt-get install qemu-efi-aarch64)"));
    }
    let Some(kernel) = crate::support::debian_kernel("bookworm-arm64-cloud-arm64") else { return };
    let dir = tempdir();
    let disk = make(dir.path(), "disk", "disk", &[&kernel], &["--kind", "gpt"]);
    let mut command = machine::qemu(&qemu, "virt");
    command.args(["-cpu", "cortex-a57", "-m", "512", "-nic", "none", "-bios", EFI_AARCH64]);
    attach(&mut command, "disk", &disk);
    let mut machine = Machine::start("arm64", &mut command);
    machine.wait_for("Linux version ");
    machine.wait_for("VFS: Unable to mount root fs");
}
