//! zboot images around kimage's own EFI program start: by EDK II with every codec, by GRUB, systemd-boot and U-Boot; signed,
//! under Secure Boot. `tests/boot/matrix.rs` has kernels × codecs.

use crate::files;
use crate::machine::{Board, Cpu, Machine, USER_OK, each, initrd, qemu};
use crate::standalone_efi::{disk, installed};
use crate::support::{self, debian_kernel, full, kimage, make, missing, put, read, run, run_ok, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FIRMWARE: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
const ARGS: &str = "console=ttyAMA0 panic=-1";
const OFFERED: &str = "EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path";

/// QEMU's arm64 board with EDK II.
pub(super) fn uefi() -> Option<Command> {
    let mut command = board()?;
    installed(FIRMWARE, "qemu-efi-aarch64").then(|| command.args(["-bios", FIRMWARE]))?;
    Some(command)
}

fn board() -> Option<Command> {
    let mut command = qemu(&tool("qemu-system-aarch64", "qemu-system-arm")?, "virt");
    command.args(["-cpu", "cortex-a57", "-m", "512", "-nic", "none", "-device", "virtio-rng-pci"]);
    Some(command)
}

fn with_disk(mut command: Command, disk: &Path) -> Command {
    command.arg("-drive").arg(format!("file={},format=raw,if=none,id=disk", disk.display()));
    command.args(["-device", "virtio-blk-device,drive=disk"]);
    command
}

fn kernel() -> Option<PathBuf> {
    debian_kernel("bookworm-arm64-cloud-arm64")
}

/// Packed so that it takes the test little time; behind `+`, with a converter of branches.
pub(super) fn zboot(dir: &Path, name: &str, kernel: &Path, codec: &str) -> PathBuf {
    let (codec, bcj) = codec.split_once('+').unwrap_or((codec, ""));
    let level: &[&str] = if codec == "lzo" { &[] } else { &["--level", "1"] };
    let bcj: &[&str] = if bcj.is_empty() { &[] } else { &["--bcj", bcj] };
    make(dir, name, "zboot", &[kernel], &[&["--compress", codec], level, bcj].concat())
}

/// A file of another CPU's boot loader, as `tests/fetch-debian.sh` keeps it.
fn loader(name: &str) -> Option<PathBuf> {
    let path = support::debian().join("trixie-arm64-programs").join(name);
    if !path.exists() {
        missing(&format!("no {}: run tests/fetch-debian.sh", path.display()));
        return None;
    }
    Some(path)
}

#[test]
fn by_grub_and_systemd_boot() {
    let (Some(_), Some(kernel)) = (uefi(), kernel()) else { return };
    let dir = tempdir();
    let image = zboot(dir.path(), "image", &kernel, "lz4");
    let ramdisk = put(dir.path(), "ramdisk", &initrd(Cpu::Arm64));
    let mut disks = Vec::new();
    if let (Some(modules), Some(_)) = (loader("arm64-efi"), tool("grub-mkstandalone", "grub-common")) {
        let script =
            format!("search --no-floppy --file /image --set=root\nlinux /image {ARGS}\ninitrd /ramdisk\nboot\n");
        let config = put(dir.path(), "grub.cfg", script.as_bytes());
        let grub = dir.path().join("grub.efi");
        let mut command = Command::new("grub-mkstandalone");
        command.arg("-d").arg(modules).args(["-O", "arm64-efi", "--modules=part_msdos fat linux search", "--fonts="]);
        command
            .args(["--locales=", "--themes=", "--install-modules=normal fat linux search boot test", "-o"])
            .arg(&grub);
        run_ok(command.arg(format!("boot/grub/grub.cfg={}", config.display())));
        let files = [("/EFI/BOOT/BOOTAA64.EFI", &*grub), ("/image", &image), ("/ramdisk", &ramdisk)];
        disks.extend(disk(dir.path(), "grub.img", &files).map(|disk| ("GRUB", disk)));
    }
    if let Some(program) = loader("systemd-bootaa64.efi") {
        let config = put(dir.path(), "loader.conf", b"timeout 0\ndefault kimage\n");
        let entry = format!("title kimage\nlinux /image\ninitrd /ramdisk\noptions {ARGS}\n");
        let entry = put(dir.path(), "kimage.conf", entry.as_bytes());
        let files = [
            ("/EFI/BOOT/BOOTAA64.EFI", &*program),
            ("/image", &image),
            ("/ramdisk", &ramdisk),
            ("/loader/loader.conf", &config),
            ("/loader/entries/kimage.conf", &entry),
        ];
        disks.extend(disk(dir.path(), "systemd.img", &files).map(|disk| ("systemd-boot", disk)));
    }
    each(&disks, |(what, disk)| {
        let console = Machine::start(what, &mut with_disk(uefi().unwrap(), disk)).finish();
        console.says(&[OFFERED, ARGS, "KASLR enabled", USER_OK]).never_says("kimage:");
    });
}

/// The newest firmware of CPUs for which Debian has it from trixie on, with that release's QEMU: every codec, to user space.
#[test]
fn by_edk_ii_of_riscv_and_loongarch() {
    if !full() {
        return; // no gap: the long matrix alone boots them
    }
    let machines = support::debian().join("trixie-machines-programs");
    if !machines.exists() {
        return missing(&format!("no {}: run tests/fetch-debian.sh", machines.display()));
    }
    let firmware = |name: &str| machines.join("share").join(name).into_os_string().into_string().unwrap();
    let dir = tempdir();
    let mut jobs = Vec::new();
    for (cpu, kernel) in [(Cpu::Riscv64, "trixie-riscv64-riscv64"), (Cpu::LoongArch64, "sid-loong64-loong64")] {
        let Some(kernel) = debian_kernel(kernel) else { continue };
        let ramdisk = put(dir.path(), &format!("{cpu:?}"), &initrd(cpu));
        let converted = if cpu == Cpu::Riscv64 { &["xz+riscv"][..] } else { &[] };
        for codec in ["gzip", "lz4", "zstd", "xz", "lzma", "lzo"].iter().chain(converted) {
            let image = zboot(dir.path(), &format!("{cpu:?}.{codec}"), &kernel, codec);
            jobs.push((cpu, image, ramdisk.clone()));
        }
    }
    each(&jobs, |(cpu, image, ramdisk)| {
        let mut command = match cpu {
            Cpu::Riscv64 => {
                let mut command = qemu(&machines.join("qemu-system-riscv64"), "virt");
                let variables = PathBuf::from(format!("{}.fd", image.display()));
                fs::copy(firmware("RISCV_VIRT_VARS.fd"), &variables).unwrap();
                let code = firmware("RISCV_VIRT_CODE.fd");
                command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"));
                command.arg("-drive").arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
                command
            }
            _ => {
                let mut command = qemu(&machines.join("qemu-system-loongarch64"), "virt");
                command.args(["-cpu", "la464", "-bios", &firmware("QEMU_EFI.fd")]);
                command
            }
        };
        command.args(["-m", "1024", "-nic", "none", "-append", "console=ttyS0,115200 panic=-1"]);
        command.arg("-kernel").arg(image).arg("-initrd").arg(ramdisk);
        let what = image.file_name().unwrap().to_str().unwrap();
        let console = Machine::start(what, &mut command).finish();
        console.says(&["Linux version ", "console=ttyS0,115200 panic=-1", USER_OK]).never_says("kimage:");
    });
}

/// U-Boot's EFI; the RAM disk is the kernel's own, for this U-Boot has no other way that both kernels take.
#[test]
fn by_u_boot() {
    let dir = tempdir();
    let mut jobs = Vec::new();
    for (kernel, cpu, board, at, codec, console) in [
        ("bookworm-arm64-cloud-arm64", Cpu::Arm64, Board::arm64(512), 0x5000_0000, "xz", "ttyAMA0"),
        ("trixie-riscv64-riscv64", Cpu::Riscv64, Board::riscv64(512), 0x9000_0000_u64, "gzip", "ttyS0"),
    ] {
        let (Some(board), Some(path)) = (board, debian_kernel(kernel)) else { continue };
        let archive = put(dir.path(), "archive", &files::gzip(&initrd(cpu)));
        let options = ["--initramfs", archive.to_str().unwrap()];
        let image = make(dir.path(), &format!("{kernel}.Image"), "edit", &[&path], &options);
        let codecs: &[&str] = if full() { &["gzip", "lz4", "zstd", "xz"] } else { &[codec] };
        for codec in codecs {
            let made = zboot(dir.path(), &format!("{kernel}.{codec}"), &image, codec);
            jobs.push((kernel, board.clone(), made, at, console));
        }
    }
    each(&jobs, |(kernel, board, image, at, console)| {
        let mut machine = board.start(kernel, &[(image, *at)]);
        machine.ask(&format!("setenv bootargs console={console} panic=-1"));
        let len = fs::metadata(image).unwrap().len();
        machine.type_keys(&format!("bootefi {at:x}:{len:x} ${{fdtcontroladdr}}\r"));
        for words in ["EFI stub: Exiting boot services", "Linux version 6.1", USER_OK] {
            machine.wait_for(words);
        }
    });
}

/// Firmware that starts only what is signed: one signature, that of the whole, is enough.
#[test]
fn under_secure_boot() {
    const CODE: &str = "/usr/share/AAVMF/AAVMF_CODE.snakeoil.fd";
    const VARIABLES: &str = "/usr/share/AAVMF/AAVMF_VARS.snakeoil.fd";
    const KEYS: &str = "/usr/share/qemu-efi-aarch64/PkKek-1-snakeoil";
    // no gap: installed() says so
    if !installed(CODE, "qemu-efi-aarch64") || !installed(&format!("{KEYS}.pem"), "qemu-efi-aarch64") {
        return;
    }
    let Some(openssl) = tool("openssl", "openssl") else { return };
    let (Some(kernel), Some(_)) = (kernel(), board()) else { return };
    let dir = tempdir();
    let sbat =
        put(dir.path(), "sbat", b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n");
    let options = ["--level", "1", "--sbat", sbat.to_str().unwrap()];
    let image = make(dir.path(), "image", "zboot", &[&kernel], &options);
    let (key, signed) = (dir.path().join("key"), dir.path().join("signed"));
    let mut command = Command::new(openssl);
    command.args(["rsa", "-in", &format!("{KEYS}.key"), "-passin", "pass:snakeoil", "-out"]);
    run_ok(command.arg(&key));
    let mut command = kimage();
    command.arg("sign").arg(&image).arg("--key").arg(&key).args(["--cert", &format!("{KEYS}.pem"), "-o"]);
    let said = support::stderr(&run_ok(command.arg(&signed)));
    assert!(!said.contains("warning"), "{said}");
    if let Some(sbverify) = tool("sbverify", "sbsigntool") {
        run_ok(Command::new(sbverify).args(["--cert", &format!("{KEYS}.pem")]).arg(&signed));
    }
    for (image, is_good) in [(&signed, true), (&image, false)] {
        let output = run(kimage().arg("verify").arg(image).args(["--vars", VARIABLES]));
        assert_eq!(output.status.success(), is_good, "{}", support::stdout(&output));
    }
    each(&[("signed", &signed), ("not-signed", &image)], |(what, image)| {
        // no gap: disk() says so
        let Some(disk) = disk(dir.path(), &format!("{what}.img"), &[("/EFI/BOOT/BOOTAA64.EFI", image)]) else { return };
        let variables = dir.path().join(format!("{what}.fd"));
        fs::copy(VARIABLES, &variables).unwrap();
        let mut command = board().unwrap();
        command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}")).arg("-drive");
        command.arg(format!("if=pflash,unit=1,format=raw,file={}", variables.display()));
        let mut machine = Machine::start(what, &mut with_disk(command, &disk));
        match *what {
            "signed" => {
                for words in ["UEFI Secure Boot is enabled", "Linux version 6.1", "secureboot: Secure boot enabled"] {
                    machine.wait_for(words);
                }
            }
            _ => drop(machine.wait_for("Access Denied")),
        }
    });
}

/// What cannot be started is said on the firmware's console, and the firmware goes on.
#[test]
fn what_goes_wrong_is_said() {
    let (Some(_), Some(kernel)) = (uefi(), kernel()) else { return };
    let dir = tempdir();
    let mut jobs = Vec::new();
    for (codec, words) in [("gzip", "its checksum is wrong"), ("lz4", "it is "), ("zstd", "it is damaged")] {
        let mut image = read(&zboot(dir.path(), codec, &kernel, codec));
        // gzip: the checksum at its end; else the middle.
        let [at, len] = [8, 12].map(|at| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize);
        let place = if codec == "gzip" { at + len - 8..at + len - 4 } else { at + len / 2..at + len / 2 + 4096 };
        image[place].fill(0xff);
        jobs.push((format!("kimage: the kernel cannot be unpacked: {words}"), put(dir.path(), codec, &image)));
    }
    // A kernel of 1 GiB, for a machine that has half of that.
    let mut large = files::efi_image(0xaa64);
    for at in [16, 64 + 24 + 56] {
        large[at..at + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    }
    let large = put(dir.path(), "large.Image", &large);
    let image = zboot(dir.path(), "large", &large, "lz4");
    jobs.push(("kimage: not enough RAM: the kernel needs 0x401ff000 bytes in one piece".to_owned(), image));
    each(&jobs, |(words, image)| {
        let mut command = uefi().unwrap();
        command.arg("-kernel").arg(image);
        let mut machine = Machine::start(words, &mut command);
        machine.wait_for(words);
        machine.wait_for("BdsDxe: ");
    });
}
