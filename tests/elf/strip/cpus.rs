//! `kimage strip` on the programs of other CPUs, against their own objcopy: what it does differently from CPU to CPU, and
//! what it does the same way that x86 programs do not show.

use super::beside::{REMOVED, agree, cross};
use crate::support::{kimage, read, run, run_ok, side_by_side, stderr, tempdir, testdata, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A CPU, as its assembler and linker know it.
pub(super) struct Cpu {
    pub(super) prefix: &'static str,
    pub(super) emulation: &'static str,
    assembler: &'static [&'static str],
    pub(super) is_64: bool,
    /// Calls `ext`, which is in a library.
    call: &'static str,
}

const fn cpu(
    prefix: &'static str,
    emulation: &'static str,
    assembler: &'static [&'static str],
    is_64: bool,
    call: &'static str,
) -> Cpu {
    Cpu { prefix, emulation, assembler, is_64, call }
}

pub(super) const CPUS: [Cpu; 22] = [
    cpu("arm-linux-gnueabihf", "armelf_linux_eabi", &[], false, "bl ext(PLT)"),
    cpu("arm-linux-gnueabihf", "armelfb_linux_eabi", &["-EB"], false, "bl ext(PLT)"),
    cpu("aarch64-linux-gnu", "aarch64linux", &[], true, "bl ext"),
    cpu("aarch64-linux-gnu", "aarch64linuxb", &["-EB"], true, "bl ext"),
    cpu("riscv64-linux-gnu", "elf64lriscv", &[], true, "call ext@plt"),
    cpu("riscv64-linux-gnu", "elf32lriscv", &["-march=rv32i", "-mabi=ilp32"], false, "call ext@plt"),
    cpu("mips-linux-gnu", "elf32btsmip", &["-mips32r2", "-call_nonpic"], false, ".option pic0\n jal ext"),
    cpu("mips-linux-gnu", "elf32ltsmip", &["-EL", "-mips32r2", "-call_nonpic"], false, ".option pic0\n jal ext"),
    cpu("mips-linux-gnu", "elf64btsmip", &["-mabi=64", "-mips64r2"], true, "nop"),
    cpu("mips-linux-gnu", "elf64ltsmip", &["-EL", "-mabi=64", "-mips64r2"], true, "nop"),
    cpu("mips-linux-gnu", "elf32ltsmipn32", &["-EL", "-mabi=n32", "-mips64r2"], false, "nop"),
    cpu("powerpc-linux-gnu", "elf32ppclinux", &["-a32"], false, "bl ext@plt"),
    cpu("powerpc-linux-gnu", "elf64ppc", &["-a64"], true, "bl ext\n nop"),
    cpu("powerpc-linux-gnu", "elf64lppc", &["-a64", "-mlittle"], true, "bl ext\n nop"),
    cpu("s390x-linux-gnu", "elf64_s390", &["-m64"], true, "brasl %r14,ext@plt"),
    cpu("s390x-linux-gnu", "elf_s390", &["-m31", "-mesa", "-march=z900"], false, "brasl %r14,ext@plt"),
    cpu("sparc64-linux-gnu", "elf64_sparc", &["-64", "-Av9"], true, "call ext\n nop"),
    cpu("sparc64-linux-gnu", "elf32_sparc", &["-32"], false, "call ext\n nop"),
    cpu("m68k-linux-gnu", "m68kelf", &[], false, "bsr.l ext@PLTPC"),
    cpu("arc-linux-gnu", "arclinux", &[], false, "bl @ext@plt"),
    cpu("arc-linux-gnu", "arclinux", &["-mcpu=arc700"], false, "bl @ext@plt"),
    cpu("sh4-linux-gnu", "shlelf_linux", &[], false, ".long ext@PLT"),
];

impl Cpu {
    /// Assembles `source`; `None` without the tools.
    pub(super) fn assemble(&self, dir: &Path, name: &str, source: &str) -> Option<PathBuf> {
        let (input, object) = (dir.join(format!("{name}.s")), dir.join(format!("{name}.o")));
        fs::write(&input, source).unwrap();
        run_ok(Command::new(cross(self.prefix, "as")?).args(self.assembler).arg(input).arg("-o").arg(&object));
        Some(object)
    }

    /// Links; `None` where these options are not for this CPU.
    fn link(&self, program: &Path, options: &[&str], inputs: &[&Path]) -> Option<()> {
        let ld = cross(self.prefix, "ld")?;
        let output =
            run(Command::new(ld).args(["-m", self.emulation]).args(options).args(inputs).arg("-o").arg(program));
        output.status.success().then_some(())
    }

    /// Is the program stripped as objcopy strips it, and with sections removed at least not otherwise?
    #[track_caller]
    fn check(&self, dir: &Path, program: &Path, what: &str) {
        let name = format!("{} {what}", self.emulation);
        assert_eq!(agree(dir, program, &[]), Some(true), "{name}");
        // The relocations of 64-bit MIPS are refused.
        let may_refuse =
            self.emulation.starts_with("elf64") && self.prefix.starts_with("mips") && what.contains("emit");
        let same = agree(dir, program, &["--strip-debug"]);
        assert!(same == Some(true) || (may_refuse && same == Some(false)), "{name}: --strip-debug {same:?}");
        for removed in REMOVED {
            agree(dir, program, removed);
        }
    }
}

/// Load addresses that differ, a section outside of all segments, notes: the file offsets depend on the CPU's page, the
/// symbols that are left on whether there are relocations.
#[test]
fn layouts_of_linker_scripts() {
    let source = include_str!("layouts.S");
    let (_, source) = source.split_once("#endif").unwrap();
    side_by_side(&CPUS, |cpu| {
        let dir = tempdir();
        let word = if cpu.is_64 { ".quad" } else { ".long" };
        // no gap: who looks for the tools says so
        let Some(object) = cpu.assemble(dir.path(), "a", &source.replace("WORD", word)) else { return };
        let (high, mask) =
            if cpu.is_64 { ("0xffffffff81000000", "0xffffffff80000000") } else { ("0xc1000000", "0xc0000000") };
        let script = include_str!("layouts.ld").replace("HIGH", high).replace("MASK", mask);
        // The second place is beyond the largest page.
        let scripts = ["0x5000", "0x345000"].map(|outside| {
            let path = dir.path().join(format!("{outside}.ld"));
            fs::write(&path, script.replace("0x5000", outside)).unwrap();
            path.into_os_string().into_string().unwrap()
        });
        let with = scripts.iter().flat_map(|script| {
            let script = ["-T", script];
            let more = [&["--emit-relocs"][..], &[], &["-z", "max-page-size=0x200000"]];
            more.map(|more| [&script[..], more].concat())
        });
        let without = [&[][..], &["-N"], &["-n"], &["-z", "noseparate-code"], &["-z", "max-page-size=0x10000"]]
            .map(<[_]>::to_vec);
        let mut linked = 0;
        for options in with.chain(without) {
            let program = dir.path().join("program");
            if cpu.link(&program, &options, &[&object]).is_some() {
                linked += 1;
                cpu.check(dir.path(), &program, &format!("{options:?}"));
            }
        }
        assert!(linked >= 9, "{}: {linked}", cpu.emulation);
    });
}

/// A call into a library: what `.rela.plt` is about differs, and MIPS leaves program headers spare.
#[test]
fn programs_with_a_library() {
    for cpu in CPUS {
        let dir = tempdir();
        let path = |name: &str| dir.path().join(name);
        let library = " .text\n .globl ext\n .type ext,STT_FUNC\next:\n nop\n .size ext,.-ext\n";
        let Some(library) = cpu.assemble(dir.path(), "lib", library) else { continue };
        let main = format!(
            " .text\n .globl _start,__start\n_start:\n__start:\n {}\n .data\n .long _start\n .bss\n .skip 4\n",
            cpu.call
        );
        let main = cpu.assemble(dir.path(), "main", &main).unwrap();
        cpu.link(&path("lib.so"), &["-shared"], &[&library]).unwrap();
        cpu.check(dir.path(), &path("lib.so"), "library");
        cpu.link(&path("program"), &[], &[&main, &path("lib.so")]).unwrap();
        cpu.check(dir.path(), &path("program"), "program");
        if cpu.call != "nop" {
            let text = String::from_utf8_lossy(&read(&path("program"))).into_owned();
            assert!(text.contains(".plt"), "{}", cpu.emulation);
        }
        cpu.link(&path("program"), &["--emit-relocs"], &[&main, &path("lib.so")]).unwrap();
        cpu.check(dir.path(), &path("program"), "emit");
    }
}

/// Relocations of what goes away still decide which symbols there are.
#[test]
fn relocations_of_debug_sections_alone() {
    for cpu in CPUS {
        let dir = tempdir();
        let source = " .text\n .globl _start\n_start: .long 0\nlocal: .long 1\n .data\n .long 5\n\
                      \x20.section .debug_x,\"\",\"progbits\"\n .long local\n";
        let Some(object) = cpu.assemble(dir.path(), "a", source) else { continue };
        let program = dir.path().join("program");
        cpu.link(&program, &["--emit-relocs"], &[&object]).unwrap();
        cpu.check(dir.path(), &program, "emit");
        // On MIPS, `.pdr` comes to lie behind `.reginfo`, which objcopy confuses with it: refused there.
        cpu.link(&program, &["--emit-relocs", "-Ttext", "0x10000"], &[&object]).unwrap();
        assert!(agree(dir.path(), &program, &[]).is_some(), "{}", cpu.emulation);
    }
}

/// The kernel of S/390 has its tables in another order: `.dynstr` in front of what names it.
#[test]
fn string_tables_in_front() {
    let (Some(gcc), Some(ld)) = (tool("gcc", "gcc"), tool("ld", "binutils")) else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.c"), "extern int other; int *where = &other; int f(void) { return *where; }\n").unwrap();
    fs::write(
        path("a.ld"),
        "SECTIONS { .dynstr : { *(.dynstr) } .hash : { *(.hash) } .gnu.hash : { *(.gnu.hash) } .text : { *(.text) }\n\
         .rela.dyn : { *(.rela.*) } .data : { *(.data) *(.data.*) } .dynamic : { *(.dynamic) } .dynsym : { *(.dynsym) } }\n",
    )
    .unwrap();
    run_ok(Command::new(gcc).current_dir(dir.path()).args(["-g", "-fPIC", "-c", "a.c"]));
    for options in [&[][..], &["--hash-style=sysv"], &["--emit-relocs"]] {
        let mut command = Command::new(&ld);
        run_ok(command.current_dir(dir.path()).args(["-shared", "-T", "a.ld", "a.o", "-o", "a.so"]).args(options));
        let bytes = read(&path("a.so"));
        let names: Vec<String> =
            kimage::elf::Elf::parse(&bytes).unwrap().sections().iter().map(|section| section.name().into()).collect();
        let at = |name: &str| names.iter().position(|other| other == name).unwrap();
        assert!(at(".dynstr") < at(".dynsym") && at(".rela.dyn") < at(".dynsym"), "{names:?}");
        assert_eq!(agree(dir.path(), &path("a.so"), &[]), Some(true), "{options:?}");
        assert_eq!(agree(dir.path(), &path("a.so"), &["--strip-debug"]), Some(true), "{options:?}");
        for removed in [&["-R", ".data"][..], &["-R", ".hash"], &["-R", ".note*"]] {
            agree(dir.path(), &path("a.so"), removed);
        }
    }
}

/// Segments of one file that are aligned differently (RISC-V: some to 2 MiB), with and without a section removed.
#[test]
fn segments_of_different_alignment() {
    let (Some(gcc), Some(ld)) = (tool("gcc", "gcc"), tool("ld", "binutils")) else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.S"), include_str!("layouts.S")).unwrap();
    run_ok(Command::new(gcc).args(["-m64", "-c"]).arg(path("a.S")).arg("-o").arg(path("a.o")));
    run_ok(Command::new(ld).args(["-z", "noseparate-code"]).arg(path("a.o")).arg("-o").arg(path("a")));
    let bytes = read(&path("a"));
    let elf = kimage::elf::Elf::parse(&bytes).unwrap();
    let loads: Vec<usize> = (0..elf.segments().len()).filter(|index| elf.segments()[*index].kind == 1).collect();
    assert_eq!(loads.len(), 2);
    for aligns in [(0x1000, 0x2000), (0x2000, 0x1000), (0x1_0000, 0x1000), (0x1000, 0x1_0000), (0x4000, 0x2000)] {
        let mut bytes = bytes.clone();
        for (index, align) in loads.iter().zip([aligns.0, aligns.1]) {
            // p_align
            bytes[64 + 56 * index + 48..][..8].copy_from_slice(&u64::to_le_bytes(align));
        }
        fs::write(path("b"), &bytes).unwrap();
        for options in [&[][..], &["-R", ".rodata"], &["-R", ".data"], &["-R", ".note*"]] {
            assert_eq!(agree(dir.path(), &path("b"), options), Some(true), "{aligns:x?} {options:?}");
        }
    }
}

/// For a CPU that kimage was never held against objcopy, it promises nothing; what is loaded can be had all the same.
#[test]
fn an_unknown_cpu_is_refused() {
    let mut bytes = read(&testdata("tiny/vmlinux"));
    for (machine, name) in [(189_u16, "MicroBlaze"), (0x7777, "of ELF machine 30583")] {
        let dir = tempdir();
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        fs::write(dir.path().join("vmlinux"), &bytes).unwrap();
        let output = run(kimage().current_dir(dir.path()).args(["strip", "vmlinux", "-o", "out"]));
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains(name) && text.contains("--smallest"), "{text}");
        assert!(!dir.path().join("out").exists());
        run_ok(kimage().current_dir(dir.path()).args(["strip", "--smallest", "vmlinux", "-o", "out"]));
    }
}
