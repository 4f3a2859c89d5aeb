//! zImages around kimage's own boot stub start where the kernel's own do: from HYP mode, by U-Boot, with an appended device
//! tree and a boot loader's tags, and on an ARM926.

use crate::machine::{Board, Cpu, Machine, USER_OK, initrd, qemu};
use crate::support::{Tree, arm_trees, debian_kernel, kimage, make, put, read, run, stderr, tempdir, tool};
use kimage::internals::elf::release_in;
use std::path::{Path, PathBuf};

const ARGS: &str = "console=ttyAMA0 earlycon panic=-1";

fn vmlinux(tree: &Tree) -> (PathBuf, String, Cpu) {
    let bytes = tree.read("vmlinux");
    let banner = format!("Linux version {} ", release_in(&bytes).unwrap());
    (tree.path("vmlinux"), banner, if bytes[5] == 2 { Cpu::ArmBe8 } else { Cpu::Arm })
}

/// QEMU enters in HYP mode, and so must the kernel be: only then has it virtualization.
#[test]
fn in_hyp_mode() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let (kernel, banner, cpu) = vmlinux(tree);
        let image = make(dir.path(), "image", "zimage", &[&kernel], &["--compress", "lz4"]);
        let ramdisk = put(dir.path(), "cpio", &initrd(cpu));
        let mut command = qemu(&program, "virt,virtualization=on");
        command.args(["-cpu", "cortex-a15", "-m", "128", "-append", ARGS]);
        command.arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk);
        let console = Machine::start(&tree.name, &mut command).finish();
        console.says(&[&banner, "CPU: All CPU(s) started in HYP mode.", USER_OK]);
    }
}

/// `bootz` with the zImage, and `bootm` with a uImage of it.
#[test]
fn by_u_boot() {
    let Some(board) = Board::arm() else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let (kernel, banner, cpu) = vmlinux(tree);
        let image = make(dir.path(), "image", "zimage", &[&kernel], &["--compress", "xz"]);
        let uimage = make(dir.path(), "uImage", "uimage", &[&image], &[]);
        let disk = initrd(cpu);
        let ramdisk = put(dir.path(), "cpio", &disk);
        let loaded = [(&*image, 0x4100_0000), (&*ramdisk, 0x4800_0000), (&*uimage, 0x4600_0000)];
        let disk = format!("48000000:{:x}", disk.len());
        for boot in
            [format!("bootz 41000000 {disk} ${{fdtcontroladdr}}"), "bootm 46000000 - ${fdtcontroladdr}".to_owned()]
        {
            let mut machine = board.start(&format!("{} {boot}", tree.name), &loaded);
            machine.ask(&format!("setenv bootargs {ARGS}"));
            let console = machine.leave(&boot);
            console.says(&["Starting kernel ...", &banner]);
            // bootm takes no RAM disk without a header of its own: the kernel finds no program then.
            if boot.starts_with("bootz") {
                console.says(&[USER_OK]);
            }
        }
    }
}

/// The board passes tags, as boards without a device tree do; what they say of memory, command line and RAM disk reaches the
/// kernel by the appended tree.
#[test]
fn tags_are_merged_into_the_appended_tree() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    for tree in arm_trees() {
        let (kernel, banner, _) = vmlinux(tree);
        let tree_option = format!("--append-dtb={}", tree.path("arch/arm/boot/dts/vexpress-v2p-ca9.dtb").display());
        let image = make(dir.path(), "image", "zimage", &[&kernel], &[&tree_option]);
        // A RAM disk that is none, of a size that can be told.
        let ramdisk = put(dir.path(), "disk", &vec![0x55; 3 << 20]);
        let mut command = qemu(&program, "vexpress-a9");
        command.args(["-m", "96", "-nic", "none", "-append", "earlycon=pl011,0x10009000 by-tags"]);
        command.arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk);
        let mut machine = Machine::start(&tree.name, &mut command);
        for words in
            [&*banner, "Machine model: V2P-CA9", "Kernel command line: earlycon=pl011,0x10009000 by-tags", "/98304K"]
        {
            machine.wait_for(words);
        }
    }
}

/// A program for ARMv5 and for QEMU's Versatile/PB: the sum of all its words is zero, or it was not unpacked as it was; r0 is 0,
/// r1 the board's number, r2 leads to tags.
#[rustfmt::skip]
const PROGRAM: &[u32] = &[
    0xe3a0_4201, 0xe384_481f, 0xe384_4a01, // r4: the UART at 0x101f1000
    0xe24f_5014,                           // r5: the first byte of all
    0xe59f_604c,                           // r6: how many bytes
    0xe3a0_7000,                           // r7 = 0
    0xe495_8004, 0xe087_7008, 0xe256_6004, 0x1aff_fffb, // r7 += word, up to the last
    0xe592_8004, 0xe59f_9034, 0xe028_8009, // r8: the first tag, less ATAG_CORE
    0xe221_1f60, 0xe221_1003,              // r1 less 0x183
    0xe188_8001, 0xe188_8000, 0xe198_8007, // all of them zero?
    0x028f_501c, 0x128f_5030,              // the text for that
    0xe4d5_6001, 0xe356_0000, 0x0aff_fffe, 0xe584_6000, 0xeaff_fffa, // written, then for ever nothing
];

#[test]
fn on_an_arm926() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    let mut words = PROGRAM.to_vec();
    let len = 1_u32 << 20;
    words.extend([len, 0x5441_0001]);
    let mut kernel: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    kernel.extend(b"unpacked for an ARM926\n\0something is wrong\n\0Linux version 2.6.22.6 (kimage)");
    kernel.extend((0_u32..).map(|index| (index.wrapping_mul(index) >> 9) as u8).take(len as usize - 4 - kernel.len()));
    let sum = kernel.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    kernel.extend(sum.fold(0_u32, u32::wrapping_sub).to_le_bytes());
    assert_eq!(kernel.len() as u32, len);
    let flat = put(dir.path(), "Image", &kernel);
    for codec in ["none", "lz4", "gzip", "xz"] {
        let image = make(dir.path(), codec, "zimage", &[&flat], &["--compress", codec]);
        let mut command = qemu(&program, "versatilepb");
        command.args(["-m", "32", "-nic", "none"]).arg("-kernel").arg(&image);
        Machine::start(codec, &mut command).wait_for("unpacked for an ARM926");
    }
}

/// Debian's kernel for ARMv7, out of its own zImage.
#[test]
fn debians_armhf_kernel() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(kernel) = debian_kernel("bookworm-armhf-armmp") else { return };
    let dir = tempdir();
    let image = make(dir.path(), "image", "zimage", &[&kernel], &["--compress", "lz4"]);
    let ramdisk = put(dir.path(), "cpio", &initrd(Cpu::Arm));
    let mut command = qemu(&program, "virt");
    command.args(["-m", "256", "-append", ARGS]).arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk);
    Machine::start("armmp", &mut command).finish().says(&["Linux version 6.1.0-", USER_OK]);
}

/// What the boot stub cannot start is refused, with the way out.
#[test]
fn what_it_cannot_start_is_refused() {
    let dir = tempdir();
    let refused = |name: &str, file: &[u8], options: &[&str], words: &[&str]| {
        let path = put(dir.path(), name, file);
        let out = run(kimage().arg("zimage").arg(&path).args(options).arg("-o").arg(dir.path().join("out")));
        assert!(!out.status.success(), "{name}");
        let text = stderr(&out);
        words.iter().for_each(|word| assert!(text.contains(word), "{name}: {text}"));
        assert!(!Path::new(&dir.path().join("out")).exists());
    };
    // The magic number big-endian, as ARMv5's big-endian kernels have it.
    let mut old = read(&crate::support::testdata("tiny/arm-vmlinux"));
    let at = old.windows(4).position(|word| word == [0x18, 0x28, 0x6f, 0x01]).unwrap();
    old.drain(..at - 0x24);
    for word in old[0x20..0x40].chunks_exact_mut(4) {
        word.reverse();
    }
    old[0x34..0x38].fill(0);
    refused("BE32", &old, &["--compress", "gzip"], &["BE32", "the zImage of the kernel's own build"]);
    refused("text", b"no kernel", &["--compress", "gzip"], &["no kernel file that kimage knows"]);
    refused("flat", b"Linux version 6.1.0 (me)", &["--text-offset", "1"], &["--text-offset, or --load-address"]);
}
