//! `kimage uimage vmlinux`: the same bytes as objcopy, the compressor and mkimage one after the other; and what vendors' boot
//! loaders want of a header.

use crate::elf_builder::{Builder, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS};
use crate::support::{self, assert_same, kimage, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::internals::UImage;
use std::fs;
use std::process::Command;

/// CPUs whose U-Boot unpacks the kernel: name, ELF machine, 64 bits, big-endian, virtual and physical address of the text,
/// entry point, and the addresses that U-Boot is to be told.
type Cpu = (&'static str, u16, bool, bool, u64, u64, u64, u32, u32);
const CPUS: &[Cpu] = &[
    // KSEG0, and its sign extension to 64 bits, which U-Boot has no name of its own for.
    ("mips", 8, false, true, 0x8010_0000, 0x8010_0000, 0x8010_0400, 0x8010_0000, 0x8010_0400),
    ("mips", 8, false, false, 0x8000_2000, 0x8000_2000, 0x8000_2000, 0x8000_2000, 0x8000_2000),
    (
        "mips",
        8,
        true,
        true,
        0xffff_ffff_8010_0000,
        0xffff_ffff_8010_0000,
        0xffff_ffff_8010_0040,
        0x8010_0000,
        0x8010_0040,
    ),
    // Linked at 0xc0000000, loaded at 0; the entry point is a virtual address, or (as Linux has it) physical already.
    ("powerpc", 20, false, true, 0xc000_0000, 0, 0xc000_0000, 0, 0),
    ("powerpc", 21, true, true, 0xc000_0000_0000_0000, 0, 0xc000_0000_0000_0000, 0, 0),
    ("arm", 40, false, false, 0xc000_8000, 0x4000_8000, 0xc000_8000, 0x4000_8000, 0x4000_8000),
    ("m68k", 4, false, true, 0x2000, 0x2000, 0x2000, 0x2000, 0x2000),
    ("microblaze", 189, false, false, 0xc000_0000, 0x8000_0000, 0xc000_0000, 0x8000_0000, 0x8000_0000),
    ("xtensa", 94, false, false, 0xd000_3000, 0x3000, 0xd000_3000, 0x3000, 0x3000),
    ("sh", 42, false, false, 0x8c00_1000, 0x8c00_1000, 0x8c00_2000, 0x8c00_1000, 0x8c00_2000),
    ("sparc", 2, false, true, 0xf000_4000, 0x4000_4000, 0xf000_4000, 0x4000_4000, 0x4000_4000),
    ("nios2", 113, false, false, 0xc000_0000, 0xc000_0000, 0xc000_0000, 0xc000_0000, 0xc000_0000),
    ("or1k", 92, false, true, 0xc000_0000, 0, 0xc000_0000, 0, 0),
    ("arc", 93, false, false, 0x8000_0000, 0x8000_0000, 0x8000_2000, 0x8000_0000, 0x8000_2000),
    ("arc", 195, false, false, 0x9000_0000, 0x8000_0000, 0x9000_2000, 0x8000_0000, 0x8000_2000),
    ("x86", 3, false, false, 0xc100_0000, 0x100_0000, 0x100_0000, 0x100_0000, 0x100_0000),
    ("x86_64", 62, true, false, 0xffff_ffff_8100_0000, 0x100_0000, 0x100_0000, 0x100_0000, 0x100_0000),
    ("arm64", 183, true, false, 0xffff_8000_0800_0000, 0x4020_0000, 0xffff_8000_0800_0000, 0x4020_0000, 0x4020_0000),
    ("riscv", 243, false, false, 0xc000_0000, 0x8040_0000, 0xc000_0000, 0x8040_0000, 0x8040_0000),
    ("riscv", 243, true, false, 0xffff_ffff_8000_0000, 0x8020_0000, 0xffff_ffff_8000_0000, 0x8020_0000, 0x8020_0000),
];

fn vmlinux(cpu: &Cpu) -> Vec<u8> {
    let (_, machine, is_64, big_endian, virt, phys, entry, ..) = *cpu;
    let mut builder = Builder::new(is_64, big_endian, machine);
    builder.entry = entry;
    let text: Vec<u8> = (0..9000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    let first = builder.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, virt, &text);
    builder.section(".data", SHT_PROGBITS, SHF_ALLOC, virt + 0x1_0000, b"some data");
    builder.nobits(".bss", SHF_ALLOC, virt + 0x1_1000, 0x4000);
    builder.segment(PT_LOAD, first..first + 3, phys);
    builder.build()
}

/// The compressors that give the same bytes as ours.
const IDENTICAL: &[(&str, &str, &[&str])] =
    &[("none", "cat", &[]), ("bzip2", "bzip2", &["-9"]), ("lzma", "lzma", &["-9"])];

#[test]
fn as_objcopy_compressor_and_mkimage() {
    let (Some(objcopy), Some(mkimage)) = (tool("llvm-objcopy", "llvm"), tool("mkimage", "u-boot-tools")) else {
        return;
    };
    for cpu in CPUS {
        let (name, .., load, entry) = *cpu;
        let dir = tempdir();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("vmlinux"), vmlinux(cpu)).unwrap();
        run_ok(Command::new(&objcopy).args(["-O", "binary"]).args([path("vmlinux"), path("vmlinux.bin")]));
        for (comp, compressor, options) in IDENTICAL {
            let Some(compressor) = tool(compressor, compressor) else { continue };
            let flat = fs::File::open(path("vmlinux.bin")).unwrap();
            let packed = run_ok(Command::new(compressor).args(*options).arg("-").stdin(flat)).stdout;
            fs::write(path("packed"), packed).unwrap();
            let mut command = Command::new(&mkimage);
            command
                .env("SOURCE_DATE_EPOCH", "7")
                .args(["-A", name, "-O", "linux", "-T", "kernel", "-C", comp, "-n", "x"]);
            command
                .args(["-a", &format!("{load:x}"), "-e", &format!("{entry:x}"), "-d"])
                .args([path("packed"), path("theirs")]);
            run_ok(&mut command);
            let mut command = kimage();
            command.env("SOURCE_DATE_EPOCH", "7").arg("uimage").arg(path("vmlinux")).args([
                "-n",
                "x",
                "--compress",
                comp,
                "-o",
            ]);
            run_ok(command.arg(path("ours")));
            assert_same(
                &format!("{name} {load:#x} {comp}"),
                &fs::read(path("ours")).unwrap(),
                &fs::read(path("theirs")).unwrap(),
            );
        }
        // The others unpack to the same.
        let flat = fs::read(path("vmlinux.bin")).unwrap();
        for (comp, unpack, options) in
            [("gzip", "gzip", "-dc"), ("lzo", "lzop", "-dc"), ("lz4", "lz4", "-dc"), ("zstd", "zstd", "-dc")]
        {
            let Some(unpack) = tool(unpack, unpack) else { continue };
            run_ok(kimage().arg("uimage").arg(path("vmlinux")).args(["--compress", comp, "-o"]).arg(path("ours")));
            let ours = fs::read(path("ours")).unwrap();
            let image = UImage::parse(&ours).unwrap();
            assert!(support::wrong_checksums(&ours).is_empty());
            assert_eq!((image.header().load, image.header().entry), (load, entry), "{name}");
            fs::write(path("packed"), image.files().next().unwrap()).unwrap();
            let unpacked =
                run_ok(Command::new(unpack).arg(options).stdin(fs::File::open(path("packed")).unwrap())).stdout;
            assert_same(&format!("{name} {comp}"), &unpacked, &flat);
        }
    }
}

/// Options win over the ELF file; the plan shows the numbers and writes nothing.
#[test]
fn options_win_and_the_plan_shows() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("vmlinux"), vmlinux(&CPUS[0])).unwrap();
    let mut command = kimage();
    command.current_dir(dir.path()).args(["uimage", "vmlinux", "-a", "80200000", "-e", "80200010", "--plan"]);
    let plan = stdout(&run_ok(&mut command));
    for words in
        ["vmlinux.bin ", "flattened (objcopy -O binary), its first byte at 0x80100000", "vmlinux.bin.gzip", "header"]
    {
        assert!(plan.contains(words), "no {words:?} in\n{plan}");
    }
    assert!(!path("uImage").exists());
    run_ok(kimage().current_dir(dir.path()).args(["uimage", "vmlinux", "-a", "80200000", "-e", "80200010"]));
    let image = fs::read(path("uImage")).unwrap();
    let header = UImage::parse(&image).unwrap().header();
    assert_eq!((header.load, header.entry, header.comp, header.arch), (0x8020_0000, 0x8020_0010, 1, 5));
    // With -C the data goes in as it is.
    run_ok(kimage().current_dir(dir.path()).args(["uimage", "vmlinux", "-C", "none"]));
    assert_eq!(fs::read(path("uImage")).unwrap()[64..], vmlinux(&CPUS[0]));
    // arm64 kernels name virtual addresses only.
    let arm64 = vmlinux(&(
        "arm64",
        183,
        true,
        false,
        0xffff_8000_0800_0000,
        0xffff_8000_0800_0000,
        0xffff_8000_0800_0000,
        0,
        0,
    ));
    fs::write(path("vmlinux"), arm64).unwrap();
    let output = run(kimage().current_dir(dir.path()).args(["uimage", "vmlinux"]));
    assert!(!output.status.success() && stderr(&output).contains("say it with -a"), "{}", stderr(&output));
    for (options, words) in [
        (&["-C", "gzip", "--compress", "lzma"][..], "-C says how the data is compressed already"),
        (&["-T", "multi", "--compress", "gzip"], "hold files as they are"),
    ] {
        let output = run(kimage().current_dir(dir.path()).args(["uimage", "vmlinux", "-a", "0"]).args(options));
        assert!(!output.status.success() && stderr(&output).contains(words), "{}", stderr(&output));
    }
}

/// The corpus's own kernel.
#[test]
fn a_real_kernel() {
    let (Some(objcopy), Some(mkimage)) = (tool("llvm-objcopy", "llvm"), tool("mkimage", "u-boot-tools")) else {
        return;
    };
    for tree in support::arm_trees().into_iter() {
        let dir = tempdir();
        let path = |name: &str| dir.path().join(name);
        run_ok(Command::new(&objcopy).args(["-O", "binary"]).arg(tree.path("vmlinux")).arg(path("Image")));
        let mut command = Command::new(&mkimage);
        command
            .env("SOURCE_DATE_EPOCH", "0")
            .args(["-A", "arm", "-C", "none", "-a", "40008000", "-e", "40008000", "-n", "x"]);
        run_ok(command.arg("-d").args([path("Image"), path("theirs")]));
        let mut command = kimage();
        command.arg("uimage").arg(tree.path("vmlinux")).args(["-a", "40008000", "-n", "x", "--compress", "none", "-o"]);
        run_ok(command.arg(path("ours")));
        assert_same(&tree.name, &fs::read(path("ours")).unwrap(), &fs::read(path("theirs")).unwrap());
        // Its ELF file has no physical addresses to take, and that is said; not where one is given.
        for (command, more) in [("uimage", ""), ("uimage", "-a40008000"), ("fit", ""), ("fit", "-a40008000")] {
            let kernel = if command == "fit" { "--kernel" } else { "--compress=none" };
            let mut made = kimage();
            made.current_dir(dir.path()).args([command, kernel]).arg(tree.path("vmlinux"));
            let said = stderr(&run_ok(made.args(Some(more).filter(|more| !more.is_empty()))));
            assert_eq!(
                said.contains("names virtual addresses: 0xc0008000"),
                more.is_empty(),
                "{command} {more}: {said}"
            );
        }
    }
}

fn sum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A Netgear kernel partition: kernel, padding to a flash block less a header, and a header without data.
#[test]
fn vendors_wishes() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("kernel"), vec![7; 1000]).unwrap();
    let uimage = |options: &[&str]| {
        run_ok(kimage().current_dir(dir.path()).arg("uimage").args(options).args(["-A", "mips", "-q"]));
    };
    uimage(&["--empty", "-T", "filesystem", "--magic", "33373033", "-n", "x", "-o", "fake"]);
    let fake = fs::read(path("fake")).unwrap();
    assert_eq!((fake.len(), &fake[..4], &fake[12..16], &fake[24..28]), (64, &b"3703"[..], &[0; 4][..], &[0; 4][..]));
    let mut header = fake.clone();
    header[4..8].fill(0);
    assert_eq!(fake[4..8], sum(&header).to_be_bytes());

    let name = "01020304ff";
    let more =
        ["--tail", "fake", "--align", "64k", "--fill", "0xff", "--time", "9", "--name-bytes", name, "-o", "whole"];
    uimage(&[&["kernel", "-a", "80002000", "-C", "none", "--magic", "0x83800000"], &more[..]].concat());
    let whole = fs::read(path("whole")).unwrap();
    assert_eq!(whole.len(), 64 << 10);
    assert_eq!(whole[..4], [0x83, 0x80, 0, 0]);
    assert_eq!((&whole[8..12], &whole[32..38]), (&[0, 0, 0, 9][..], &[1, 2, 3, 4, 0xff, 0][..]));
    assert_eq!(whole[12..16], 1000_u32.to_be_bytes());
    assert_eq!(whole[24..28], sum(&[7; 1000]).to_be_bytes());
    assert!(whole[64 + 1000..(64 << 10) - 64].iter().all(|byte| *byte == 0xff));
    assert_eq!(whole[(64 << 10) - 64..], fake);

    uimage(&["kernel", "-a", "0", "--pad-to", "2000", "-o", "padded"]);
    assert_eq!(fs::read(path("padded")).unwrap().len(), 2000);
    for (options, words) in [
        (&["kernel", "-a", "0", "--pad-to", "1000"][..], "it needs 1064 bytes, there is room for 1000"),
        (&["--empty", "kernel"], "cannot be used with"),
        (&["kernel", "--name-bytes", "0g"], "pairs of hexadecimal digits"),
        (&["kernel", "--align", "100"], "a power of two"),
    ] {
        let output = run(kimage().current_dir(dir.path()).args(["uimage", "-A", "mips", "-o", "none"]).args(options));
        assert!(!output.status.success() && stderr(&output).contains(words), "{}", stderr(&output));
        assert!(!path("none").exists());
    }
}

/// A colon in a file name parts nothing, and a device tree that is not on 8 bytes is spoken of.
#[test]
fn colons_and_alignment() {
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    let tree: Vec<u8> = [0xd00d_feed_u32, 72, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 0, 0, 1, 0, 2, 9]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    fs::write(path("a:b"), vec![1; 16]).unwrap();
    fs::write(path("c:d.dtb"), &tree).unwrap();
    let uimage = |files: &[&str]| {
        let options = ["-A", "arm", "-T", "multi", "-C", "none", "-a", "0", "-o", "multi"];
        stderr(&run_ok(kimage().current_dir(dir.path()).arg("uimage").args(options).args(files)))
    };
    // 64 + 4 * 3 + 16 = 92, and with a third file 64 + 4 * 4 + 16 + 16 = 112.
    let said = uimage(&["a:b", "c:d.dtb"]);
    assert!(said.contains("the device tree data[1] is at offset 0x5c, not on 8 bytes"), "{said}");
    let said = uimage(&["a:b", "a:b", "c:d.dtb"]);
    assert!(!said.contains("8 bytes"), "{said}");
    let image = fs::read(path("multi")).unwrap();
    let files: Vec<&[u8]> = UImage::parse(&image).unwrap().files().collect();
    assert_eq!(files, [&[1; 16][..], &[1; 16], &tree]);
}
