//! ARM images other than a zImage, made from parts.
#![cfg(feature = "cli")]

use crate::elf_builder::{Builder, GLOBAL, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS};
use crate::machine;
use crate::support::{self, assert_same, kimage, make, put, read, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::io::Read;
use std::process::Command;

/// A kernel in flash memory at 0x08008000: 3000 bytes of code, then data that is to run in RAM. `__data_loc` is `off` bytes
/// from where it stands.
fn xip_kernel(is_deflated: bool, off: u64) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let code: Vec<u8> = (0..3000_u32).map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect();
    let data = vec![0x5a; 2000];
    let mut elf = Builder::new(false, false, 40);
    elf.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x0800_8000, &code);
    elf.section(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0x0800_8bb8, &data);
    elf.segment(PT_LOAD, 1..3, 0x0800_8000);
    elf.symbol("_xiprom", 0x0800_8000, GLOBAL, 1);
    elf.symbol("__data_loc", 0x0800_8bb8 + off, GLOBAL, 2);
    elf.symbol("_edata_loc", 0x0800_8bb8 + 2000 + off, GLOBAL, 2);
    if is_deflated {
        elf.symbol("__inflate_kernel_data", 0x0800_8004, GLOBAL, 1);
    }
    (elf.build(), code, data)
}

/// The layout by arithmetic over the parts; the compressed data by another decoder.
#[test]
fn xip_images_are_flat_and_their_data_may_be_deflated() {
    let dir = tempdir();
    let made = |elf: &[u8]| {
        let vmlinux = put(dir.path(), "vmlinux", elf);
        let out = dir.path().join("xipImage");
        (run(kimage().arg("xipimage").arg(vmlinux).arg("-o").arg(&out)), out)
    };
    let (elf, code, data) = xip_kernel(false, 0);
    let (output, out) = made(&elf);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_same("plain", &read(&out), &[&code[..], &data].concat());
    let (elf, ..) = xip_kernel(true, 0);
    let (output, out) = made(&elf);
    assert!(output.status.success(), "{}", stderr(&output));
    let image = read(&out);
    assert_same("code", &image[..3000], &code);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&image[3000..]).read_to_end(&mut unpacked).unwrap();
    assert_same("data", &unpacked, &data);
    assert!(image.len() < 3200, "{}", image.len());
    let json = run_ok(kimage().args(["xipimage", "--plan", "--json"]).arg(dir.path().join("vmlinux")));
    assert!(
        stdout(&json).contains("\"command\": \"xipimage\"") && stdout(&json).contains("data.gz"),
        "{}",
        stdout(&json)
    );
    // The data is not last, and what is not to run in place.
    let (output, _) = made(&xip_kernel(true, 4).0);
    assert!(stderr(&output).contains("whose data does not end its file"), "{}", stderr(&output));
    let mut plain = Builder::new(false, false, 40);
    plain.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x8000, &code);
    plain.segment(PT_LOAD, 1..2, 0x8000);
    plain.symbol("stext", 0x8000, GLOBAL, 1);
    let (output, _) = made(&plain.build());
    assert!(stderr(&output).contains("has no symbol _xiprom"), "{}", stderr(&output));
}

/// Linux 2.6.12 and 2.6.32, as their builds made them of the same decompressor.
#[test]
fn zimages_of_published_trees() {
    const TREES: [&str; 2] = ["arm-2.6.12.1", "arm-2.6.32.2"];
    let Some(dir) = support::old_trees(TREES) else { return };
    for tree in TREES.map(|tree| dir.path().join(tree)) {
        let made = make(dir.path(), "made", "zimage", &[&tree.join("compressed/vmlinux")], &[]);
        assert_same(&tree.display().to_string(), &read(&made), &read(&tree.join("zImage")));
    }
}

/// From the flash memory of QEMU's `virt` board, which is at address 0: the code runs where it is stored, and finds its data
/// behind itself, where the image has them.
#[test]
fn an_xip_image_runs_where_it_is_stored() {
    const PACKAGE: &str = "binutils-arm-linux-gnueabihf";
    const AT: usize = 0x8000;
    let (Some(assembler), Some(linker)) =
        (tool("arm-linux-gnueabihf-as", PACKAGE), tool("arm-linux-gnueabihf-ld", PACKAGE))
    else {
        return;
    };
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let dir = tempdir();
    // Copies its data to RAM and says them on the board's PL011.
    let code = "
        .globl _start, _xiprom
        _start: _xiprom:
            ldr r0, =__data_loc; ldr r1, =_sdata; ldr r2, =_edata
        1:  cmp r1, r2; ldrlo r3, [r0], #4; strlo r3, [r1], #4; blo 1b
            ldr r4, =0x09000000; ldr r0, =_sdata
        2:  ldrb r1, [r0], #1; cmp r1, #0; strne r1, [r4]; bne 2b
        3:  b 3b
            .ltorg
            .space 3000
        .data
            .ascii \"data from \"; .asciz \"flash\\n\"; .balign 4
    ";
    let script = "
        ENTRY(_start)
        SECTIONS {
            . = 0x8000; .text : { *(.text) } __data_loc = ALIGN(4);
            .data 0x40000000 : AT(__data_loc) { _sdata = .; *(.data) _edata = .; }
            _edata_loc = __data_loc + SIZEOF(.data);
            .bss (NOLOAD) : { *(.bss) }
            /DISCARD/ : { *(.ARM.attributes) *(.note*) }
        }
    ";
    put(dir.path(), "k.s", code.as_bytes());
    put(dir.path(), "k.lds", script.as_bytes());
    let at = |command: &mut Command| run_ok(command.current_dir(dir.path()));
    at(Command::new(assembler).args(["k.s", "-o", "k.o"]));
    at(Command::new(linker).args(["-T", "k.lds", "k.o", "-o", "vmlinux"]));
    at(kimage().args(["xipimage", "vmlinux", "-o", "xipImage"]));
    // What starts at address 0 goes there: `b 0x8000`.
    let mut flash = vec![0xff; 64 << 20];
    flash[..4].copy_from_slice(&0xea00_1ffe_u32.to_le_bytes());
    let image = read(&dir.path().join("xipImage"));
    flash[AT..AT + image.len()].copy_from_slice(&image);
    let flash = put(dir.path(), "flash", &flash);
    let mut command = machine::qemu(&qemu, "virt");
    command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={}", flash.display()));
    machine::Machine::start("XIP", &mut command).wait_for("data from flash\n");
}

/// A zImage of 8 KiB that says `words` on the console of ARM's Versatile board when the list of tags in `r2` has a RAM disk, whose
/// bytes come to `sum`.
fn asking_zimage(words: &str, sum: u32) -> Vec<u8> {
    let mut code = vec![0xe1a0_0000; 8]; // mov r0, r0
    code.extend([0xea00_0002, 0x016f_2818, 0, 0x2000]); // b 0x30; the header: magic number, start, end
    code.extend([0xe592_3000, 0xe353_0000, 0x0a00_0014]); // walk: ldr r3, [r2]; cmp r3, #0; beq fail
    code.extend([0xe592_4004, 0xe59f_504c, 0xe154_0005]); // ldr r4, [r2, #4]; ldr r5, tag; cmp r4, r5
    code.extend([0x1082_2103, 0x1aff_fff7]); // addne r2, r2, r3, lsl #2; bne walk
    code.extend([0xe592_4008, 0xe592_500c, 0xe3a0_6000]); // ldr r4, [r2, #8]; ldr r5, [r2, #12]; mov r6, #0
    code.extend([0xe4d4_7001, 0xe086_6007, 0xe255_5001, 0x1aff_fffb]); // sum: ldrb r7, [r4], #1; add; subs r5, r5, #1; bne sum
    code.extend([0xe59f_8028, 0xe156_0008, 0x1a00_0005]); // ldr r8, want; cmp r6, r8; bne fail
    code.extend([0xe28f_4020, 0xe59f_5014]); // adr r4, text; ldr r5, uart
    code.extend([0xe4d4_6001, 0xe356_0000, 0x15c5_6000, 0x1aff_fffb]); // out: ldrb r6, [r4], #1; cmp r6, #0; strbne r6, [r5]; bne out
    code.extend([0xeaff_fffe, 0x5442_0005, 0x101f_1000, sum]); // fail: b fail; tag, uart, want
    let mut image: Vec<u8> = code.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    image.extend(words.bytes());
    image.extend(b"\n\0");
    image.resize(0x2000, 0);
    image
}

/// The bytes by arithmetic; QEMU runs them: the disk is copied far away, and over itself to either side.
#[test]
fn a_bootp_image_brings_its_ram_disk() {
    let dir = tempdir();
    let disk: Vec<u8> = (0..50_001_u32).map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]).collect();
    let sum = disk.iter().map(|byte| u32::from(*byte)).sum();
    let words = "DISK ok";
    let kernel = asking_zimage(words, sum);
    let (zimage, initrd) = (put(dir.path(), "zImage", &kernel), put(dir.path(), "initrd", &disk));
    let made = |name: &str, at: u32| {
        let options = ["--initrd-phys", &format!("{at:x}"), "--params-phys", "100"];
        make(dir.path(), name, "bootp", &[&zimage, &initrd], &options)
    };
    let image = read(&made("far", 0x80_0000));
    let init = image.len() - disk.len() - kernel.len();
    assert!(init < 256 && init % 4 == 0, "{init}");
    assert_same("zImage", &image[init..init + 0x2000], &kernel);
    assert_same("initrd", &image[init + 0x2000..], &disk);
    let data: Vec<u8> = [init as u32 + 0x2000, 0x80_0000, 50_001, 0x100, init as u32, 0x5441_0001, 0x5442_0005]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    assert_same("data", &image[init - 28..init], &data);
    let output =
        run(kimage().arg("bootp").args([&initrd, &zimage]).args(["--initrd-phys", "0", "--params-phys", "100"]));
    assert!(stderr(&output).contains("wanted an ARM zImage"), "{}", stderr(&output));
    let options = ["--initrd-phys", "fffffffc", "--params-phys", "102"];
    let output = run(kimage().arg("bootp").args([&zimage, &initrd]).args(options));
    assert!(stderr(&output).contains("params_phys is 0x102, wanted a multiple of 4"), "{}", stderr(&output));
    let output = run(kimage().arg("bootp").args([&zimage, &initrd]).args(&options[..3]).arg("100"));
    assert!(stderr(&output).contains("behind 32 bits of addresses"), "{}", stderr(&output));
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    // QEMU loads a file without a header that it knows at 0x10000.
    let here = 0x1_0000 + init as u32 + 0x2000;
    for (name, at) in [("far", 0x80_0000), ("up", here + 64), ("down", here - 64), ("stay", here)] {
        let mut command = machine::qemu(&qemu, "versatilepb");
        machine::Machine::start(name, command.arg("-kernel").arg(made(name, at))).wait_for(words);
    }
}

/// The code of a kernel's build, linked here as ld and objcopy link it with the kernel's layout: `.start` and `.text` of the one
/// object file, the zImage, the disk at a multiple of 4. The code is ours; what it asks for is what the kernel's asks for.
#[test]
fn a_bootp_image_with_the_trees_own_code() {
    let cross = |name: &str| tool(&format!("arm-linux-gnueabihf-{name}"), "binutils-arm-linux-gnueabihf");
    let (Some(gas), Some(ld), Some(objcopy)) = (cross("as"), cross("ld"), cross("objcopy")) else {
        return; // no gap: tool() says so
    };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    const CODE: &str = "\
.section .start,\"ax\"
.globl _start
_start: bl move
    ldr r0, =initrd_phys
    b kernel_start
.ltorg
data: .word initrd_start, initrd_phys, initrd_size, 0x54410001, params_phys, kernel_end, move, data - .
.text
move: beq _start
    blne kernel_start
    bx lr
";
    const LAYOUT: &str =
        "ENTRY(_start) SECTIONS { . = 0; .text : { *(.start) *(.text) initrd_size = initrd_end - initrd_start; } }";
    fs::write(path("kernel.S"), ".globl kernel_start, kernel_end\nkernel_start: .incbin \"zImage\"\nkernel_end:\n")
        .unwrap();
    fs::write(
        path("initrd.S"),
        ".globl initrd_start, initrd_end\n.align 2\ninitrd_start: .incbin \"initrd\"\ninitrd_end:\n",
    )
    .unwrap();
    fs::write(path("init.S"), CODE).unwrap();
    fs::write(path("bootp.lds"), LAYOUT).unwrap();
    let folder = path("arch/arm/boot/bootp");
    fs::create_dir_all(&folder).unwrap();
    for (endian, disk) in [("-EL", 5001), ("-EL", 4), ("-EB", 77)] {
        fs::write(path("zImage"), asking_zimage("DISK ok", 1)).unwrap();
        fs::write(path("initrd"), vec![0xa5; disk]).unwrap();
        for name in ["init", "kernel", "initrd"] {
            let object = if name == "init" { folder.join("init.o") } else { path(&format!("{name}.o")) };
            run_ok(
                Command::new(&gas).current_dir(dir.path()).arg(endian).arg(format!("{name}.S")).arg("-o").arg(object),
            );
        }
        let symbols = ["--defsym", "initrd_phys=0x800000", "--defsym", "params_phys=0x100"];
        let objects = ["arch/arm/boot/bootp/init.o", "kernel.o", "initrd.o"];
        run_ok(
            Command::new(&ld)
                .current_dir(dir.path())
                .args([endian, "-T", "bootp.lds"])
                .args(symbols)
                .args(objects)
                .args(["-o", "bootp"]),
        );
        run_ok(Command::new(&objcopy).current_dir(dir.path()).args(["-O", "binary", "bootp", "want"]));
        let options = ["--initrd-phys", "800000", "--params-phys", "100", "--build-dir", "."];
        let made = make(dir.path(), "got", "bootp", &[&path("zImage"), &path("initrd")], &options);
        assert_same(endian, &read(&made), &read(&path("want")));
    }
    // What the kernel's layout has no place or no value for is refused.
    for (source, words) in [
        (".text\n .word nobody\n", "symbol nobody is not known"),
        (".text\n .byte 1\n", "is not made of words"),
        (".text\n movw r0, #:lower16:kernel_start\n", "relocation 43"),
    ] {
        fs::write(path("init.S"), source).unwrap();
        let gas = Command::new(&gas)
            .current_dir(dir.path())
            .args(["init.S", "-march=armv7-a", "-o"])
            .arg(folder.join("init.o"))
            .status();
        assert!(gas.unwrap().success());
        let options = ["--initrd-phys", "800000", "--params-phys", "100", "--build-dir", "."];
        let output = run(kimage().current_dir(dir.path()).args(["bootp", "zImage", "initrd"]).args(options));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(1));
    }
}
