//! `kimage strip --strip-debug` and `--strip-unneeded` on object files, kernel modules and static libraries, beside GNU strip:
//! the same bytes, or a refusal.

use super::beside::{TOOLS, cross};
use super::cpus::CPUS;
use crate::support::{
    self, Random, assert_same, debian, kimage, missing, put, read, run, run_ok, stderr, tempdir, tool,
};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODES: [&str; 2] = ["--strip-debug", "--strip-unneeded"];

/// The strip that knows the CPU of an object file.
fn strip_of(object: &[u8]) -> Option<PathBuf> {
    let number = [object[18], object[19]];
    let machine = if object[5] == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
    match TOOLS.iter().find(|(known, _)| *known == machine)? {
        (_, "") => tool("strip", "binutils"),
        (_, prefix) => cross(prefix, "strip"),
    }
}

/// Do both make the same of a file, in either mode? How often kimage refused instead.
#[track_caller]
fn agree(strip: &Path, dir: &Path, file: &Path) -> usize {
    let (want, mut refused) = (dir.join("want"), 0);
    for mode in MODES {
        let theirs = run(Command::new(strip).arg(mode).arg("-o").arg(&want).arg(file));
        let output = run(kimage().arg("strip").arg(mode).arg(file));
        if output.status.success() {
            assert!(theirs.status.success(), "{}: {}", file.display(), stderr(&theirs));
            assert_same(&format!("{} {mode}", file.display()), &output.stdout, &read(&want));
        } else {
            assert!(stderr(&output).contains("cannot be stripped"), "{}: {}", file.display(), stderr(&output));
            refused += 1;
        }
    }
    refused
}

#[test]
fn debians_modules() {
    for kernel in [
        "bookworm-amd64-cloud-amd64",
        "bookworm-arm64-cloud-arm64",
        "bookworm-armhf-armmp",
        "bookworm-mipsel-4kc-malta",
    ] {
        let folder = debian().join(kernel).join("modules");
        let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
        let modules: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "ko")).collect();
        if modules.is_empty() {
            missing(&format!("no modules in {} (sh tests/fetch-debian.sh)", folder.display()));
        }
        let dir = tempdir();
        for module in modules {
            let Some(strip) = strip_of(&read(&module)) else { return };
            assert_eq!(agree(&strip, dir.path(), &module), 0, "{}", module.display());
        }
    }
}

const SOURCE: &str = "\
_Thread_local int tl = 3, tlz; static int z[100]; static const char *names[] = {\"a\", \"b\"};
extern int ext(int) __attribute__((weak)); extern int ext2(int); int common[5] __attribute__((common));
__attribute__((constructor)) static void ctor(void) { z[1] = tl; }
static int unused(void) { return 4; }
__attribute__((noinline)) static int helper(int x) { static int count; return ++count + x + tlz; }
int f(int x) { if (ext) x += ext(x); return helper(x) + ext2(x) + z[x] + names[x & 1][0] + common[x]; }
";
const GROUPS: &str = "\
template <class T> struct S { static T v; virtual ~S() {} T get() { return v; } };
template <class T> T S<T>::v = 5;
inline int counter() { static int n; return n++; }
int f() { S<int> s; try { throw counter(); } catch (int) {} return s.get(); }
";

#[test]
fn what_compilers_make() {
    let dir = tempdir();
    let (c, cc) = (put(dir.path(), "a.c", SOURCE.as_bytes()), put(dir.path(), "a.cc", GROUPS.as_bytes()));
    let gcc = [
        "-g",
        "-g -O2 -ffunction-sections -fdata-sections",
        "-g3",
        "-g -gz",
        "-g -gdwarf-4 -gsplit-dwarf",
        "-g -fPIC -pg",
        "-g -O2 -flto",
        "-g -O2 -flto -ffat-lto-objects",
    ];
    let arm =
        ["-g", "-g -O2 -ffunction-sections", "-g3 -mthumb", "-g -marm -fexceptions", "-g -mbig-endian", "-g -flto"];
    for (compiler, package, source, options) in [
        ("gcc", "gcc", &c, &gcc[..]),
        ("g++", "g++", &cc, &gcc),
        ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf", &c, &arm),
    ] {
        let Some(compiler) = tool(compiler, package) else { continue };
        for options in options {
            let object = dir.path().join("a.o");
            run_ok(
                Command::new(&compiler).args(["-w", "-c"]).args(options.split(' ')).arg(source).arg("-o").arg(&object),
            );
            let Some(strip) = strip_of(&read(&object)) else { return };
            assert_eq!(agree(&strip, dir.path(), &object), 0, "{} {options}", compiler.display());
        }
    }
}

/// A file of sections drawn at random: groups, some of debug sections alone; sections that follow another one; symbols of
/// each kind, and words that name them.
fn source(random: &mut Random, word: &str) -> String {
    const SECTIONS: [&str; 18] = [
        ".text.a,\"ax\",%progbits",
        ".data.b,\"aw\",%progbits",
        ".rodata.c,\"a\",%progbits",
        ".bss.d,\"aw\",%nobits",
        ".tdata,\"awT\",%progbits",
        ".tbss,\"awT\",%nobits",
        ".init_array,\"aw\",%init_array",
        ".note.x,\"a\",%note",
        ".rodata.str,\"aMS\",%progbits,1",
        ".debug_info,\"\",%progbits",
        ".debug_str,\"MS\",%progbits,1",
        ".comment,\"MS\",%progbits,1",
        ".modinfo,\"a\",%progbits",
        ".text.g,\"axG\",%progbits,named,comdat",
        ".data.g,\"awG\",%progbits,named,comdat",
        ".debug_macro,\"G\",%progbits,debugged,comdat",
        ".text.h,\"axG\",%progbits,f1",
        ".ordered,\"ao\",%progbits,.text.a",
    ];
    let mut text =
        ".file \"a.c\"\n.globl f1, f2, unused\n.weak w1, w2\n.hidden f2\n.comm c1,24,8\nabs = 5\nzero = 0\n".to_owned();
    let symbols = ["f1", "f2", "w1", "w2", "u1", "u2", "c1", "l1", "l2", "l3", "abs", "zero", "named"];
    let mut undefined = vec!["f1", "f2", "w1", "l1", "l2", "l3", "l4"];
    text.push_str(".section .text.a,\"ax\",%progbits\n.balign 4\n");
    for index in 0..8 + random.below(12) {
        let section = random.one(&SECTIONS);
        writeln!(text, ".section {section}").unwrap();
        let is_empty = section.contains("nobits");
        if section.contains("MS") {
            text.push_str(".asciz \"some text\"\n");
            continue;
        }
        writeln!(text, ".balign {}", [1, 4, 8, 16][random.below(4)]).unwrap();
        let is_debug = section.contains("debug");
        if is_debug {
            writeln!(text, "d{index}:").unwrap();
        } else if random.below(2) == 0 && !undefined.is_empty() && !section.contains("T\"") {
            let label = undefined.remove(random.below(undefined.len()));
            let kind = if section.contains('x') { "function" } else { "object" };
            writeln!(text, ".type {label},%{kind}\n{label}:\n .size {label},8").unwrap();
        }
        for _ in 0..random.below(4) {
            match is_empty || section.contains("T\"") {
                true => writeln!(text, " .zero {}", 8 + index).unwrap(),
                false => writeln!(text, " {word} {}+{}", random.one(&symbols), 8 * random.below(3)).unwrap(),
            }
        }
    }
    text.push_str(".section .data.b,\"aw\",%progbits\n .balign 8\n");
    undefined.iter().for_each(|label| writeln!(text, "{label}: .zero 8").unwrap());
    text
}

#[test]
fn objects_drawn_at_random_for_each_cpu() {
    let cases = if support::full() { 60 } else { 5 };
    for (index, cpu) in CPUS.iter().enumerate() {
        let dir = tempdir();
        let mut refused = 0;
        for case in 0..cases {
            let mut random = Random(1000 * index as u64 + case);
            let source = source(&mut random, if cpu.is_64 { ".quad" } else { ".long" });
            let Some(object) = cpu.assemble(dir.path(), "a", &source) else { break };
            let Some(strip) = cross(cpu.prefix, "strip") else { break };
            refused += agree(&strip, dir.path(), &object);
        }
        assert_eq!(refused, 0, "{}", cpu.emulation);
    }
}

#[test]
fn static_libraries() {
    for (index, cpu) in CPUS.iter().enumerate() {
        let dir = tempdir();
        let word = if cpu.is_64 { ".quad" } else { ".long" };
        let mut objects = Vec::new();
        for name in ["a", "fifteen_letters", "a_name_that_does_not_fit", "sixteen__letters"] {
            let source = source(&mut Random(77 + index as u64 + name.len() as u64), word);
            objects.extend(cpu.assemble(dir.path(), name, &source));
        }
        let (Some(ar), Some(strip)) = (cross(cpu.prefix, "ar"), cross(cpu.prefix, "strip")) else { continue };
        for flags in ["rcs", "rcS", "rcsU"] {
            let library = dir.path().join(format!("{flags}.a"));
            run_ok(Command::new(&ar).arg(flags).arg(&library).args(&objects));
            assert_eq!(agree(&strip, dir.path(), &library), 0, "{} {flags}", cpu.emulation);
        }
    }
}

/// What annobin's plugin has in every object of some distributions: notes with the addresses of functions, which relocations
/// fill in, and what a linker made of them, of which those that say the same become one.
#[test]
fn build_attributes() {
    const HEAD: &str =
        ".globl f\nf: nop\ne:\n.section .debug_x,\"\",%progbits\n.long 5\n.section .gnu.build.attributes,\"\",%note\n";
    let note = |name: &str, kind: u32, place: &str| {
        let len = name.len() - 3 * name.matches('\\').count() + 1;
        let size = place.split([',', ' ']).count() - 1;
        let size = if place.starts_with(".8byte") { 8 * size } else { 4 * size };
        format!(".long {len},{size},{kind}\n.asciz \"{name}\"\n.balign 4\n{place}\n")
    };
    const NAMES: [&str; 8] =
        ["GA*FORTIFY", "GA+stack", "GA!\\007", "GA*\\007\\002", "GA*\\007\\003", "GA$\\005gcc", "GA", "GA*\\301x"];
    let counts = if support::full() { 60 } else { 6 };
    for (index, cpu) in CPUS.iter().enumerate().filter(|(index, _)| support::full() || index % 5 == 3) {
        let dir = tempdir();
        let (Some(strip), word) = (cross(cpu.prefix, "strip"), if cpu.is_64 { ".8byte" } else { ".4byte" }) else {
            break;
        };
        let mut random = Random(7 + index as u64);
        for case in 0..counts {
            let mut source = HEAD.to_owned();
            let place = if case == 0 { format!("{word} f,e") } else { format!("{word} 1,9") };
            if case != 1 {
                source.push_str(&note("GA$\\0013a1", 0x100, &place));
            }
            for _ in 0..random.below(60) {
                let start = 16 + 8 * random.below(20);
                let place = match random.below(8) {
                    0..=3 => String::new(),
                    4 => format!("{word} {start}"),
                    _ => format!("{word} {start},{}", start + 8 * random.below(9)),
                };
                source.push_str(&note(random.one(&NAMES), 0x100 + random.below(2) as u32, &place));
            }
            let Some(object) = cpu.assemble(dir.path(), "a", &source) else { break };
            assert_eq!(agree(&strip, dir.path(), &object), 0, "{} {case}", cpu.emulation);
        }
    }
    // Older versions stay as they are; what strip takes for damage is refused.
    let (Some(gas), Some(strip)) = (tool("as", "binutils"), tool("strip", "binutils")) else { return };
    let dir = tempdir();
    let range = ".8byte 1,9";
    for (notes, refused) in [
        ([note("GA$\\0012a1", 0x100, range), note("GA$\\0012a1", 0x100, range)].concat(), 0),
        ([note("GA$\\0012a1", 0x100, range), note("GA$\\0013a1", 0x100, range)].concat(), 1),
        (note("GA$\\0014a1", 0x100, range), 1),
        (note("GA+x", 0x102, range), 1),
        (note("GA+x", 0x100, ".8byte 1,2,3"), 1),
        (note("GA+x", 0x100, range) + ".long 7\n", 1),
        (".long 4,16,0x100\n.ascii \"GA+x\"\n.quad 1,9\n".to_owned(), 1),
    ] {
        let input = put(dir.path(), "a.s", format!("{HEAD}{notes}").as_bytes());
        let object = dir.path().join("a.o");
        run_ok(Command::new(&gas).arg(input).arg("-o").arg(&object));
        assert_eq!(agree(&strip, dir.path(), &object), refused, "{notes}");
    }
    // A linked program's, too.
    let Some(ld) = tool("ld", "binutils") else { return };
    let two = [note("GA$\\0013a1", 0x100, range), note("GA$\\0013a1", 0x100, range)].concat();
    let input = put(dir.path(), "a.s", format!("{HEAD}{two}").as_bytes());
    let (object, program) = (dir.path().join("a.o"), dir.path().join("a"));
    run_ok(Command::new(&gas).arg(input).arg("-o").arg(&object));
    run_ok(Command::new(&ld).args(["-e", "f"]).arg(&object).arg("-o").arg(&program));
    assert_eq!(agree(&strip, dir.path(), &program), 0);
}

/// Relocations of 64-bit MIPS with every kind of three operations: strip joins them anew.
#[test]
fn three_operations_in_a_relocation() {
    let dir = tempdir();
    for cpu in CPUS.iter().filter(|cpu| ["elf64btsmip", "elf64ltsmip"].contains(&cpu.emulation)) {
        let Some(strip) = cross(cpu.prefix, "strip") else { return };
        let source = format!(".data\n{}x: .quad x\n", ".quad f\n.quad f+8\n".repeat(4));
        let Some(object) = cpu.assemble(dir.path(), "a", &source) else { return };
        let good = read(&object);
        let elf = kimage::elf::Elf::parse(&good).unwrap();
        let section = elf.sections().iter().find(|section| section.name == b".rela.data").unwrap();
        let (start, count) = (section.offset as usize, section.size as usize / 24);
        let mut random = Random(3);
        let mut make = |special: u8, file: &Path| {
            let mut bytes = good.clone();
            for at in (0..count).map(|index| start + 24 * index) {
                // Some at the same place as the one before.
                if at > start && random.below(2) == 0 {
                    bytes.copy_within(at - 24..at - 16, at);
                }
                bytes[at + 12] = special;
                let kinds = [0; 3].map(|_| [0, 0, 0, 2, 7, 8, 18, 24, 25, 26, 27][random.below(11)]);
                bytes[at + 13..at + 16].copy_from_slice(&if special == 0 { kinds } else { [0, 0, kinds[0]] });
            }
            fs::write(file, bytes).unwrap();
        };
        for special in [0, 0, 0, 0, 0, 0, 1] {
            make(special, &object);
            assert_eq!(agree(&strip, dir.path(), &object), 0, "{} {special}", cpu.emulation);
        }
        let mut bytes = good.clone();
        bytes[start + 12..start + 16].copy_from_slice(&[1, 0, 24, 7]);
        fs::write(&object, bytes).unwrap();
        let output = run(kimage().args(["strip", "--strip-debug"]).arg(&object));
        assert!(stderr(&output).contains("of which strip itself loses the second"), "{}", stderr(&output));
    }
}

/// What has no bytes of strip's is refused in words: what it is, and what to do.
#[test]
fn what_is_refused() {
    let (Some(gas), Some(ar)) = (tool("as", "binutils"), tool("ar", "binutils")) else { return };
    let dir = tempdir();
    let object = |name: &str, source: &str| {
        let (input, output) = (put(dir.path(), "a.s", source.as_bytes()), dir.path().join(name));
        run_ok(Command::new(&gas).arg(input).arg("-o").arg(&output));
        output
    };
    let plain = object("plain.o", ".globl f\nf: nop\n");
    let thin = dir.path().join("thin.a");
    run_ok(Command::new(&ar).arg("rcsT").arg(&thin).arg(&plain));
    let text = dir.path().join("text.a");
    run_ok(Command::new(&ar).arg("rcs").arg(&text).arg(put(dir.path(), "readme.txt", b"no object\n")));
    let notes = ".section .gnu.build.attributes,\"\",%note\n.long 4,0,0x102\n.asciz \"GA$\"\n";
    for (file, mode, words) in [
        (&plain, None, "without its symbols and relocations"),
        (&plain, Some("--smallest"), "without its symbols and relocations"),
        (&thin, Some("--strip-debug"), "a form that strip does not write"),
        (&text, Some("--strip-debug"), "readme.txt: it is no ELF file"),
        (&object("attributes.o", notes), Some("--strip-unneeded"), "a note's type or its name"),
        (&object("named.o", ".section .relocate,\"a\"\n.long 1\n"), Some("--strip-debug"), "named like relocations"),
    ] {
        let output = run(kimage().arg("strip").args(mode).arg(file));
        assert_eq!(output.status.code(), Some(1), "{}", file.display());
        assert!(stderr(&output).contains(words) && stderr(&output).contains("help: "), "{}", stderr(&output));
    }
}

/// Truncated and damaged files end in an error or in another file.
#[test]
fn hostile_objects() {
    let Some(gas) = tool("as", "binutils") else { return };
    let dir = tempdir();
    let input = put(dir.path(), "a.s", source(&mut Random(5), ".quad").as_bytes());
    run_ok(Command::new(gas).arg(input).arg("-o").arg(dir.path().join("a.o")));
    let object = read(&dir.path().join("a.o"));
    let header = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "a.o/", 0, 0, 0, 644, object.len());
    let library = [b"!<arch>\n", header.as_bytes(), &object].concat();
    for good in [object, library] {
        for unneeded in [false, true] {
            let options = kimage::elf::StripOptions { debug_only: true, unneeded, ..Default::default() };
            assert!(kimage::kbuild::strip(&good, &options).is_ok());
            for len in (0..good.len()).step_by(7) {
                let _ = kimage::kbuild::strip(&good[..len], &options);
            }
            for at in 0..good.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut bad = good.clone();
                    bad[at] = value;
                    let _ = kimage::kbuild::strip(&bad, &options).map(|plan| plan.len());
                }
            }
        }
    }
}
