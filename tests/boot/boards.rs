//! Real U-Boots of other CPUs in QEMU start what kimage makes of Debian's kernels: arm64, RISC-V, MIPS. `tests/boot/loaders` and
//! `tests/boot/fit.rs` have the same for ARM.

use crate::machine::{self, Board, Cpu, Machine, USER_OK, each, initrd, loaders, u_boot};
use crate::support::{debian_kernel, kimage, put, read, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};

/// A board with its U-Boot, and a kernel for it.
struct Target {
    board: Board,
    /// Its board file.
    name: &'static str,
    kernel: PathBuf,
    /// Where files are put into memory, and the kernel by the boot loader.
    at: u64,
    load: &'static str,
    console: &'static str,
    cpu: Cpu,
}

impl Target {
    fn arm64() -> Option<Target> {
        Some(Target {
            board: Board::arm64(512)?,
            name: "qemu-arm64-virt",
            kernel: debian_kernel("bookworm-arm64-cloud-arm64")?,
            at: 0x5000_0000,
            load: "40200000",
            console: "earlycon console=ttyAMA0",
            cpu: Cpu::Arm64,
        })
    }

    fn riscv64() -> Option<Target> {
        Some(Target {
            board: Board::riscv64(512)?,
            name: "qemu-riscv64-virt",
            kernel: debian_kernel("trixie-riscv64-riscv64")?,
            at: 0x9000_0000,
            load: "80200000",
            console: "earlycon=sbi console=ttyS0",
            cpu: Cpu::Riscv64,
        })
    }

    fn start(&self, what: &str, image: &Path) -> Machine {
        let mut machine = self.board.start(what, &[(image, self.at)]);
        machine.ask(&format!("setenv bootargs {} panic=-1", self.console));
        machine
    }

    /// The board's own device tree under another name.
    fn tree(&self, dir: &Path, model: &str) {
        // Another `compatible`, or U-Boot takes the first configuration that suits its own board.
        put(dir, &format!("{model}.dtb"), &self.board.tree(model, &[model]));
    }

    /// Kernel, device trees and ramdisk in one folder.
    fn files(&self, dir: &Path) {
        fs::copy(&self.kernel, dir.join("Image")).unwrap();
        self.tree(dir, "kimage-one");
        self.tree(dir, "kimage-two");
        fs::write(dir.join("initrd"), initrd(self.cpu)).unwrap();
        self.file(dir);
    }

    /// The board file, for this machine of 512 MiB instead of 256.
    fn file(&self, dir: &Path) {
        let text = stdout(&run_ok(kimage().args(["lint", "--show", "--board", self.name])));
        assert!(text.contains("size = 0x10000000"));
        fs::write(dir.join("board.toml"), text.replace("size = 0x10000000", "size = 0x20000000")).unwrap();
    }

    /// Makes each image and boots it: the words must come one after the other. What boots has `lint`'s blessing.
    fn boots(&self, dir: &Path, images: &[Image<'_>]) {
        for image in images {
            let all = [image.options, &["--quiet", "-o", image.name]].concat();
            run_ok(kimage().current_dir(dir).args(all));
            let high = if image.moved { "" } else { "fdt_high=ffffffffffffffff\n" };
            fs::write(dir.join("env"), format!("kernel_addr_r={:x}\n{high}", self.at)).unwrap();
            let mut command = kimage();
            run_ok(command.current_dir(dir).args(["lint", image.name, "--board", "board.toml", "--uboot-env", "env"]));
        }
        each(images, |image| {
            let mut machine = self.start(image.name, &dir.join(image.name));
            if image.moved {
                // This board's U-Boot uses the parts where they lie if not told otherwise.
                machine.ask("setenv fdt_high; setenv initrd_high");
            }
            machine.type_keys(&format!("bootm {:#x}{}\r", self.at, image.with));
            for words in image.says.iter().chain(&["Starting kernel ...", "Linux version 6.1"]) {
                machine.wait_for(words);
            }
            image.then.iter().for_each(|words| {
                machine.wait_for(words);
            });
        });
    }
}

struct Image<'a> {
    name: &'a str,
    options: &'a [&'a str],
    /// What follows the address in `bootm`.
    with: &'a str,
    moved: bool,
    /// U-Boot's words, and the kernel's behind its banner.
    says: &'a [&'a str],
    then: &'a [&'a str],
}

/// The device tree that U-Boot has itself.
const OWN_TREE: &str = " - ${fdtcontroladdr}";

#[test]
fn arm64() {
    let Some(target) = Target::arm64() else { return };
    let dir = tempdir();
    let dir = dir.path();
    target.files(dir);
    let plain = |name, options, says| Image { name, options, with: OWN_TREE, moved: true, says, then: &[] };
    let load = target.load;
    let fit = ["fit", "--kernel=Image", "--dtb=kimage-one.dtb", "--dtb=kimage-two.dtb", "--ramdisk=initrd", "-a", load];
    let gzip = [&fit[..], &["--compress=gzip", "--hash=sha256,crc32"]].concat();
    target.boots(
        dir,
        &[
            // What U-Boot's environment has there, fdt_high=0xffffffff, keeps nothing in place on 64 bits.
            Image {
                moved: false,
                ..plain(
                    "none",
                    &["uimage", "Image", "-a", load],
                    &["Load Address: 40200000", "Loading Kernel Image", "Loading Device Tree to"],
                )
            },
            plain(
                "gzip",
                &["uimage", "Image", "-a", load, "--compress=gzip"],
                &["(gzip compressed)", "Verifying Checksum ... OK", "Uncompressing Kernel Image"],
            ),
            plain("noload", &["uimage", "Image"], &["(no loading done)", "Verifying Checksum ... OK"]),
            Image {
                name: "multi",
                options: &[
                    "uimage",
                    "-T",
                    "multi",
                    "-C",
                    "none",
                    "-A",
                    "arm64",
                    "-a",
                    load,
                    "Image",
                    "initrd",
                    "kimage-two.dtb",
                ],
                with: "",
                moved: true,
                says: &[
                    "AArch64 Linux Multi-File Image",
                    "   Image 2: ",
                    "Verifying Checksum ... OK",
                    "Loading Ramdisk to",
                ],
                then: &["Machine model: kimage-two", USER_OK],
            },
            Image {
                name: "plain.itb",
                options: &fit,
                with: "#conf-1",
                moved: true,
                says: &["Using 'conf-1' configuration", "sha256+ OK"],
                then: &["Machine model: kimage-one", USER_OK],
            },
            Image {
                name: "noload.itb",
                options: &["fit", "--kernel=Image", "--dtb=kimage-one.dtb", "--dtb=kimage-two.dtb"],
                with: "#conf-2",
                moved: true,
                says: &["Kernel Image (no loading done)", "sha256+ OK"],
                then: &["Machine model: kimage-two"],
            },
            Image {
                name: "gzip.itb",
                options: &gzip,
                with: "#conf-2",
                moved: true,
                says: &["Using 'conf-2' configuration", "sha256+ crc32+ OK", "Uncompressing Kernel Image"],
                then: &["Machine model: kimage-two", USER_OK],
            },
        ],
    );
}

/// A ramdisk where `booti` moves the kernel to: refused on the board, and found by `lint`.
#[test]
fn arm64_booti_refuses_what_overlaps() {
    let Some(target) = Target::arm64() else { return };
    let dir = tempdir();
    let ramdisk = dir.path().join("initrd");
    fs::write(&ramdisk, [7; 4096]).unwrap();
    let says = |ramdisk_at: u64| {
        // Not on 2 MiB, the kernel moves to 0x51000000.
        let env = format!("kernel_addr_r=50f80000\nramdisk_addr_r={ramdisk_at:x}\nfdt_high=ffffffff\n");
        fs::write(dir.path().join("env"), env).unwrap();
        let mut command = kimage();
        command.current_dir(dir.path()).arg("lint").arg(&target.kernel);
        target.file(dir.path());
        let lint = run(command.args(["--board", "board.toml", "--uboot-env", "env", "--ramdisk", "initrd"]));
        let mut machine = Target { at: 0x50f8_0000, ..Target::arm64().unwrap() }.start("booti", &target.kernel);
        machine.type_keys(&format!("booti 50f80000 {ramdisk_at:x}:1000 ${{fdtcontroladdr}}\r"));
        machine.wait_for("Moving Image from 0x50f80000 to 0x51000000, end=");
        (lint, machine)
    };
    let image_size: u64 = stdout(&run_ok(kimage().args(["info", "--field", "memory_needed"]).arg(&target.kernel)))
        .trim()
        .parse()
        .unwrap();
    let (lint, mut machine) = says(0x5100_0000 + image_size - 1);
    assert!(stderr(&lint).contains("and the ramdisk (0x"), "{}", stderr(&lint));
    machine.wait_for("ERROR: RD image overlaps OS image");
    let (lint, mut machine) = says(0x5100_0000 + image_size);
    assert!(lint.status.success(), "{}", stderr(&lint));
    machine.wait_for("Starting kernel ...");
}

/// What `lint` says of a compressed arm64 kernel that is not to be loaded.
#[test]
fn arm64_noload_must_not_be_compressed() {
    let Some(target) = Target::arm64() else { return };
    let dir = tempdir();
    let path = dir.path().join("uImage");
    let mut command = kimage();
    command.arg("uimage").arg(&target.kernel).args(["-T", "kernel_noload", "--compress", "gzip", "-o"]);
    let made = run_ok(command.arg(&path));
    assert!(
        stderr(&made).contains("warning: U-Boot looks for an arm64 kernel that is not loaded"),
        "{}",
        stderr(&made)
    );
    // Nobody asked for that type: then an address is asked for.
    let refused =
        run(kimage().current_dir(dir.path()).args(["fit", "--compress", "gzip", "--kernel"]).arg(&target.kernel));
    assert!(!refused.status.success() && stderr(&refused).contains("say it with -a"), "{}", stderr(&refused));
    let said = target.start("noload gzip", &path).ask(&format!("bootm {:#x}{OWN_TREE}", target.at));
    assert!(said.contains("Verifying Checksum ... OK") && said.contains("Bad Linux ARM64 Image magic!"), "{said}");
    let linted = run(kimage().arg("lint").arg(&path).args(["--board", "qemu-arm64-virt"]));
    assert!(stderr(&linted).contains("Bad Linux ARM64 Image magic!"), "{}", stderr(&linted));
}

#[test]
fn riscv64() {
    let Some(target) = Target::riscv64() else { return };
    let dir = tempdir();
    let dir = dir.path();
    target.files(dir);
    let load = target.load;
    target.boots(
        dir,
        &[
            Image {
                name: "gzip",
                options: &["uimage", "Image", "-a", load, "--compress=gzip"],
                with: OWN_TREE,
                moved: false,
                says: &[
                    "RISC-V Linux Kernel Image (gzip compressed)",
                    "Verifying Checksum ... OK",
                    "Uncompressing Kernel Image",
                ],
                then: &["Machine model: riscv-virtio,qemu"],
            },
            Image {
                name: "two.itb",
                options: &[
                    "fit",
                    "--kernel=Image",
                    "--dtb=kimage-one.dtb",
                    "--dtb=kimage-two.dtb",
                    "--ramdisk=initrd",
                    "-a",
                    load,
                    "--compress=gzip",
                    "-E",
                    "-B",
                    "1000",
                ],
                with: "#conf-2",
                moved: true,
                says: &["Using 'conf-2' configuration", "sha256+ OK", "Uncompressing Kernel Image"],
                then: &["Machine model: kimage-two", USER_OK],
            },
        ],
    );
}

/// The ELF file that Debian ships: flattened, compressed, entered where U-Boot of 32 bits can. The addresses of a 64-bit
/// kernel are sign extensions of 32 bits, and those are what the header has.
#[test]
fn mips() {
    let Some(rom) = u_boot("maltael/u-boot.bin") else { return };
    let dir = tempdir();
    let dir = dir.path();
    // QEMU swaps the words of a little-endian Malta's firmware (hw/mips/malta.c), Debian's is not swapped.
    let mut swapped = read(&rom);
    swapped.resize(swapped.len().next_multiple_of(4), 0);
    swapped.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    fs::write(dir.join("rom"), swapped).unwrap();
    let kernels = [
        ("bookworm-mipsel-4kc-malta", "qemu-system-mipsel", "24Kc"),
        ("bookworm-mips64el-5kc-malta", "qemu-system-mips64el", "MIPS64R2-generic"),
    ];
    for (name, qemu, cpu) in kernels {
        let (Some(qemu), Some(kernel)) = (tool(qemu, "qemu-system-mips"), debian_kernel(name)) else { continue };
        run_ok(kimage().current_dir(dir).arg("uimage").arg(kernel).args([
            "--compress=gzip",
            "--quiet",
            "-o",
            "uImage",
        ]));
        fs::write(dir.join("env"), "kernel_addr_r=84000000\n").unwrap();
        let lint = ["lint", "uImage", "--board", "qemu-malta", "--uboot-env", "env"];
        run_ok(kimage().current_dir(dir).args(lint));
        let mut command = machine::qemu(&qemu, "malta");
        command.current_dir(dir).args(["-cpu", cpu, "-m", "256", "-bios", "rom"]);
        command.args(loaders(&[(Path::new("uImage"), 0x0400_0000)]));
        let mut machine = Machine::start(name, &mut command);
        machine.wait_for("maltael # ");
        machine.type_keys("setenv bootargs console=ttyS0 panic=-1\r");
        machine.wait_for("maltael # ");
        machine.type_keys("bootm 0x84000000\r");
        for words in [
            "Image Type:   MIPS Linux Kernel Image (gzip compressed)",
            "Load Address: 81",
            "Verifying Checksum ... OK",
            "Uncompressing Kernel Image",
            "Linux version 6.1",
            "MIPS: machine is mti,malta",
        ] {
            machine.wait_for(words);
        }
    }
}
