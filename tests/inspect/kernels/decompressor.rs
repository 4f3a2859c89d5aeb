//! Decompressors that are ELF files, assembled and linked by the CPU's binutils: MIPS' vmlinuz, PowerPC's zImage, SuperH's,
//! x86's and ARM's compressed/vmlinux.

use super::made::{flat_kernel, noise, piggy};
use super::{assert_good, broken, fact, opened, part};
use crate::files;
use crate::support::{assert_same, read, run_ok, tempdir, tool};
use kimage::codec::Codec;
use kimage::finding::Severity;
use std::fs;
use std::process::Command;

struct Cpu {
    prefix: &'static str,
    flags: (&'static str, &'static [&'static str]),
    section: &'static str,
}

const CPUS: [Cpu; 5] = [
    Cpu { prefix: "mips-linux-gnu", flags: ("-EB", &["-EB"]), section: ".image" },
    Cpu { prefix: "powerpc-linux-gnu", flags: ("-mbig", &["-m", "elf32ppc"]), section: ".kernel:vmlinux.strip" },
    Cpu { prefix: "sh4-linux-gnu", flags: ("-little", &["-EL"]), section: ".data" },
    Cpu { prefix: "x86_64-linux-gnu", flags: ("--64", &["-z", "noexecstack"]), section: ".rodata..compressed" },
    Cpu { prefix: "arm-linux-gnueabihf", flags: ("-EL", &["-EL"]), section: ".piggydata" },
];

/// `source` assembled and linked, as the kernel's build does.
fn linked(cpu: &Cpu, source: &str, files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let package = format!("binutils-{}", cpu.prefix.replace('_', "-"));
    let (assembler, linker) =
        (tool(&format!("{}-as", cpu.prefix), &package)?, tool(&format!("{}-ld", cpu.prefix), &package)?);
    let dir = tempdir();
    let dir = dir.path();
    fs::write(dir.join("s.S"), source).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
    run_ok(Command::new(assembler).current_dir(dir).args([cpu.flags.0, "s.S", "-o", "s.o"]));
    let mut link = Command::new(linker);
    let place = format!("--section-start={}=0x500000", cpu.section);
    link.current_dir(dir)
        .args(cpu.flags.1)
        .arg(place)
        .args(["-Ttext", "0x400000", "-e", "_start", "s.o", "-o", "vmlinuz"]);
    run_ok(&mut link);
    Some(read(&dir.join("vmlinuz")))
}

fn source(section: &str) -> String {
    format!(".globl _start\n.text\n_start: .long 0\n.section \"{section}\",\"a\"\n.incbin \"piggy\"\n")
}

#[test]
fn the_kernel_comes_out() {
    let kernel = flat_kernel(60_000);
    for cpu in &CPUS {
        for codec in [Codec::Gzip, Codec::Lzma, Codec::Xz, Codec::Zstd] {
            let what = format!("{} {}", cpu.prefix, codec.name());
            let piggy = piggy(codec, &kernel);
            let Some(elf) = linked(cpu, &source(cpu.section), &[("piggy", &piggy)]) else { break };
            assert_good(&what, &elf);
            assert_same(&what, &part(&elf, "vmlinux"), &kernel);
            assert_same(&what, &part(&elf, "decompressor"), &elf);
            assert_same(&what, &part(&elf, "payload"), &super::made::packed(codec, &kernel));
            assert_eq!(fact(&elf, "release"), "6.6.1", "{what}");
            assert_eq!(fact(&elf, "decompressor"), "yes", "{what}");
            // Packed once more, as a uImage of such a file is: the kernel is still the inner one.
            let outer = super::made::packed(Codec::Gzip, &elf);
            assert_same(&what, &part(&outer, "vmlinux"), &kernel);
        }
    }
}

/// A kernel that was damaged is an error where no header leads to it, too; a program of an operating system may hold what it likes.
#[test]
fn a_damaged_kernel_is_an_error() {
    let code = noise(600_000, 9).into_iter().map(|byte| byte & 31);
    let kernel: Vec<u8> = flat_kernel(40_000).into_iter().chain(code).collect();
    for codec in [Codec::Gzip, Codec::Xz] {
        let piggy = piggy(codec, &kernel);
        let Some(mut elf) = linked(&CPUS[0], &source(CPUS[0].section), &[("piggy", &piggy)]) else { return };
        let start = elf.windows(piggy.len()).position(|window| window == piggy).unwrap();
        let from = start + piggy.len() * 9 / 10;
        elf[from..from + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
        assert_eq!(broken(&elf, Severity::Error), ["stream.damaged"], "{}", codec.name());
        // e_type ET_DYN.
        elf[17] = 3;
        assert_eq!(broken(&elf, Severity::Error), [""; 0], "{}", codec.name());
    }
}

/// PowerPC's wrapper puts device tree and RAM disk into sections of their own.
#[test]
fn a_device_tree_and_a_ram_disk_beside_it() {
    let kernel = flat_kernel(20_000);
    let (dtb, cpio) = (files::dtb(), files::cpio());
    let piggy = piggy(Codec::Gzip, &kernel);
    let source = format!(
        "{}.section \".kernel:dtb\",\"a\"\n.incbin \"dtb\"\n.section \".kernel:initrd\",\"a\"\n.incbin \"cpio\"\n",
        source(CPUS[1].section)
    );
    let files = [("piggy", &piggy[..]), ("dtb", &dtb), ("cpio", &cpio)];
    let Some(elf) = linked(&CPUS[1], &source, &files) else { return };
    assert_good("simpleImage", &elf);
    for (name, want) in [("vmlinux", &kernel), ("dtb", &dtb), ("initramfs", &cpio)] {
        assert_same(name, &part(&elf, name), want);
    }
}

/// A program that is no decompressor has no payload, and a kernel's own archives are none either.
#[test]
fn other_elf_files() {
    let archive = piggy(Codec::Gzip, b"a text that is no kernel");
    for cpu in &CPUS {
        if cpu.section.starts_with(".kernel:") {
            continue;
        }
        let Some(elf) = linked(cpu, &source(cpu.section), &[("piggy", &archive)]) else { continue };
        let opened = opened(&elf);
        assert!(opened.parts().iter().all(|part| part.name != "vmlinux" && part.name != "decompressor"));
    }
    let kernel = files::kernel();
    assert_eq!(part(&kernel, "vmlinux"), kernel);
    assert!(opened(&kernel).parts().iter().all(|part| part.name != "decompressor"));
}
