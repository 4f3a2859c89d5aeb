//! zImages around kimage's own boot stub start where the kernel's own do: from HYP mode, by U-Boot, with an appended device
//! tree and a boot loader's tags, on CPUs before ARMv7, and big-endian.

use crate::elf_builder::{Builder, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS};
use crate::machine::{Board, Cpu, Machine, USER_OK, initrd, qemu};
use crate::support::{
    FULL_MAKES, Tree, arm_trees, cache, debian_kernel, full, kimage, make, missing, put, read, run, run_ok, stderr,
    tempdir, tool,
};
use kimage::internals::elf::release_in;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A kernel of Thumb-2 code, whose branches xz converts as they are (CONFIG_THUMB2_KERNEL): smaller than without, or by the
/// converter for ARM code, and back to the kernel that it was.
#[test]
fn a_thumb_2_kernel_with_its_converter() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(tree) = crate::support::tree("arm-gzip") else { return };
    let (kernel, banner, cpu) = vmlinux(tree);
    assert!(String::from_utf8(tree.read(".config")).unwrap().contains("CONFIG_THUMB2_KERNEL=y\n"), "{}", tree.name);
    let dir = tempdir();
    let packed = |bcj: &str| make(dir.path(), bcj, "zimage", &[&kernel], &["--compress", "xz", "--bcj", bcj]);
    let image = packed("armthumb");
    for other in ["none", "arm"] {
        assert!(read(&image).len() < read(&packed(other)).len(), "{other}");
    }
    let ramdisk = put(dir.path(), "cpio", &initrd(cpu));
    let mut command = qemu(&program, "virt");
    command.args(["-m", "128", "-append", ARGS]).arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk);
    Machine::start("armthumb", &mut command).finish().says(&[&banner, USER_OK]);
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

/// A program for QEMU's Versatile/PB: the sum of all its words is zero, or it was not unpacked as it was; r0 is 0, r1 the board's
/// number, r2 leads to tags.
#[rustfmt::skip]
const PROGRAM: [u32; 27] = [
    0xe1a0_0000,                           // nothing; with BE8, `setend be`
    0xe3a0_4201, 0xe384_481f, 0xe384_4a01, // r4: the UART at 0x101f1000
    0xe24f_5018,                           // r5: the first byte of all
    0xe59f_6050,                           // r6: how many bytes
    0xe3a0_7000,                           // r7 = 0
    0xe495_8004, 0xe087_7008, 0xe256_6004, 0x1aff_fffb, // r7 += word, up to the last
    0xe592_8004, 0xe1a0_0000,              // r8: the first tag; with BE8 turned round, `rev r8, r8`
    0xe59f_9034, 0xe028_8009,              // less ATAG_CORE
    0xe221_1f60, 0xe221_1003,              // r1 less 0x183
    0xe188_8001, 0xe188_8000, 0xe198_8007, // all of them zero?
    0x028f_501c, 0x128f_5030,              // the text for that
    0xe4d5_6001, 0xe356_0000, 0x0aff_fffe, 0xe5c4_6000, 0xeaff_fffa, // written, then for ever nothing
];
const BE8: [(usize, u32); 2] = [(0, 0xf101_0200), (12, 0xe6bf_8f38)];
const AS_IT_WAS: &str = "unpacked as it had been";

/// That program, a MiB of it; its numbers of this byte order, its instructions little-endian.
fn program(big_endian: bool) -> Vec<u8> {
    let len = 1_u32 << 20;
    let mut code = PROGRAM;
    if big_endian {
        BE8.into_iter().for_each(|(at, word)| code[at] = word);
    }
    let number = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut bytes = code.map(u32::to_le_bytes).concat();
    bytes.extend([number(len), number(0x5441_0001)].concat());
    bytes.extend(format!("{AS_IT_WAS}\0something is wrong\n\0Linux version 2.6.22.6 (kimage)").bytes());
    bytes.extend((0_u32..).map(|index| (index.wrapping_mul(index) >> 9) as u8).take(len as usize - 4 - bytes.len()));
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum = words.map(|word| u32::from_le_bytes(number(word))).fold(0_u32, u32::wrapping_sub);
    bytes.extend(number(sum));
    assert_eq!(bytes.len() as u32, len);
    bytes
}

/// Each has its way with caches: ARMv5TEJ, ARMv5TE (XScale), ARMv6.
#[test]
fn on_cpus_before_armv7() {
    let Some(qemu_arm) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    let flat = put(dir.path(), "Image", &program(false));
    let all = ["none", "lz4", "gzip", "xz"].map(|codec| (codec, "arm926"));
    for (codec, cpu) in all.into_iter().chain([("gzip", "pxa270"), ("gzip", "arm1136"), ("xz", "arm1176")]) {
        let image = make(dir.path(), codec, "zimage", &[&flat], &["--compress", codec]);
        let mut command = qemu(&qemu_arm, "versatilepb");
        command.args(["-cpu", cpu, "-m", "32", "-nic", "none"]).arg("-kernel").arg(&image);
        Machine::start(&format!("{codec} on {cpu}"), &mut command).wait_for(AS_IT_WAS);
    }
}

/// A big-endian kernel (BE8) is started little-endian, as it expects.
#[test]
fn a_big_endian_kernel() {
    let Some(qemu_arm) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    let mut elf = Builder::new(false, true, 40);
    elf.entry = 0xc000_8000;
    let text = elf.section(".head.text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, elf.entry, &program(true));
    elf.segment(PT_LOAD, text..text + 1, elf.entry);
    let mut vmlinux = elf.build();
    // e_flags: EF_ARM_BE8.
    vmlinux[0x24..0x28].copy_from_slice(&0x0080_0000_u32.to_be_bytes());
    let vmlinux = put(dir.path(), "vmlinux", &vmlinux);
    for cpu in ["arm1136", "cortex-a8"] {
        let image = make(dir.path(), "image", "zimage", &[&vmlinux], &[]);
        let mut command = qemu(&qemu_arm, "versatilepb");
        command.args(["-cpu", cpu, "-m", "32", "-nic", "none"]).arg("-kernel").arg(&image);
        Machine::start(&format!("BE8 on {cpu}"), &mut command).wait_for(AS_IT_WAS);
    }
}

/// An Allwinner A10's serial line, an 8250 whose registers are words, in a bus, by an alias.
const CUBIEBOARD: &str = "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>;
    chosen { stdout-path = \"serial0:115200n8\"; };
    aliases { serial0 = \"/soc/serial@1c28000\"; };
    memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x20000000>; };
    soc { #address-cells = <1>; #size-cells = <1>; ranges;
        serial@1c28400 { compatible = \"snps,dw-apb-uart\"; reg = <0x1c28400 0x400>; reg-shift = <2>; };
        serial@1c28000 { compatible = \"snps,dw-apb-uart\"; reg = <0x1c28000 0x400>; reg-shift = <2>; };
    };
};";

/// On the serial line of the device tree's `stdout-path`, a PL011 or an 8250.
#[test]
fn it_says_why_it_does_not_start() {
    let Some(qemu_arm) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    let source = put(dir.path(), "dts", CUBIEBOARD.as_bytes());
    let tree = dir.path().join("dtb");
    run_ok(Command::new(dtc).args(["-q", "-o"]).arg(&tree).arg(source));
    let flat = put(dir.path(), "Image", &program(false));
    let says = |board: &str, image: &Path, why: &str| {
        let mut command = qemu(&qemu_arm, board);
        if board == "cubieboard" {
            command.args(["-m", "512", "-dtb"]).arg(&tree);
        } else {
            command.args(["-m", "64", "-cpu", "cortex-a15"]);
        }
        let mut machine =
            Machine::start(&format!("{board}: {why}"), command.args(["-nic", "none", "-kernel"]).arg(image));
        machine.wait_for(&format!("kimage cannot start this kernel: {why}"));
    };
    for codec in ["lz4", "gzip", "xz"] {
        let mut image = read(&make(dir.path(), codec, "zimage", &[&flat], &["--compress", codec]));
        let middle = image.len() / 2;
        image[middle] ^= 0x55;
        let image = put(dir.path(), "damaged", &image);
        says(if codec == "gzip" { "cubieboard" } else { "virt" }, &image, "it");
    }
    let elsewhere = make(dir.path(), "elsewhere", "zimage", &[&flat], &["--load-address", "70000000"]);
    says("virt", &elsewhere, "too little memory");
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

/// Debian's kernel for ARMv6, on the first Raspberry Pi's CPU (ARM1176); the device tree is QEMU's argument. On this machine of QEMU's it does
/// not come to user space, by its own zImage neither.
#[test]
fn debians_kernel_for_armv6() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(kernel) = debian_kernel("bookworm-armel-rpi") else { return };
    let dir = tempdir();
    let all = ["gzip", "xz", "lz4", "none"];
    for codec in if full() { &all[..] } else { &all[2..3] } {
        let image = make(dir.path(), "image", "zimage", &[&kernel], &["--compress", codec]);
        let mut command = qemu(&program, "raspi0");
        command.arg("-dtb").arg(kernel.with_file_name("bcm2835-rpi-zero.dtb"));
        command.args(["-append", "earlycon=pl011,0x20201000 console=ttyAMA0 panic=-1"]).arg("-kernel").arg(&image);
        let mut machine = Machine::start(&format!("rpi {codec}"), &mut command);
        machine.wait_for("Linux version 6.1.0-");
        machine.wait_for("CPU: ARMv6-compatible processor");
        machine.wait_for("Memory: ");
    }
}

/// A big-endian kernel, of its ELF file and of its own zImage, to user space.
#[test]
fn linux_big_endian() {
    let Some(program) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let folder = cache().join("kernels/big-endian-6.1-arm-gzip");
    if !folder.is_dir() {
        return missing(&format!("no {} ({FULL_MAKES})", folder.display()));
    }
    let dir = tempdir();
    let ramdisk = put(dir.path(), "cpio", &initrd(Cpu::ArmBe8));
    let all = [("vmlinux", "lz4"), ("zImage", "xz"), ("vmlinux", "gzip"), ("vmlinux", "none")];
    for (file, codec) in if full() { &all[..] } else { &all[..1] } {
        let image = make(dir.path(), "image", "zimage", &[&folder.join(file)], &["--compress", codec]);
        let mut command = qemu(&program, "virt");
        command.args(["-m", "128", "-append", ARGS]).arg("-kernel").arg(&image).arg("-initrd").arg(&ramdisk);
        let console = Machine::start(&format!("big-endian {file} {codec}"), &mut command).finish();
        // SCTLR.EE: exceptions are taken big-endian.
        console.says(&["Linux version 6.1.", "(ARMv7), cr=52c5", USER_OK]);
    }
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
