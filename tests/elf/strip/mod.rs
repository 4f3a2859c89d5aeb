//! `kimage strip` against the kernel's own payloads and against GNU objcopy: the same bytes, or a refusal.

mod beside;
mod cpus;
mod generated;
mod objects;

use crate::support::{self, Tree, assert_same, corpus, kimage, read, run, run_ok, stderr, tempdir, tool};
use beside::{REMOVED, agree};
use kimage::elf::{Elf, FlatOptions, RemoveList, StripOptions, flatten};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The inputs that must all give the tree's payload.
fn kernels(tree: &Tree) -> Vec<PathBuf> {
    ["vmlinux", "vmlinux.unstripped"].iter().map(|name| tree.path(name)).filter(|path| path.is_file()).collect()
}

#[test]
fn the_payload_of_every_x86_kernel() {
    for tree in support::x86_trees().into_iter() {
        let want = tree.read("arch/x86/boot/compressed/vmlinux.bin");
        for kernel in kernels(tree) {
            let output = run_ok(kimage().arg("strip").arg(&kernel));
            assert_same(&kernel.display().to_string(), &output.stdout, &want);
            assert!(output.stderr.is_empty(), "{}", stderr(&output));
        }
    }
}

#[test]
fn programs_that_gcc_makes() {
    let Some(gcc) = tool("gcc", "gcc") else { return };
    let dir = tempdir();
    let source = dir.path().join("main.c");
    fs::write(
        &source,
        "#include <stdio.h>\n_Thread_local int one = 1, none;\nint big[1000];\n\
         int main(int c, char **v) { printf(\"%d\\n\", big[c] + one + none); return v == 0; }\n",
    )
    .unwrap();
    for (name, options) in [
        ("static", &["-g", "-static"][..]),
        ("pie", &["-g", "-pie"]),
        ("fixed", &["-no-pie"]),
        ("static-pie", &["-static-pie"]),
        ("library", &["-shared", "-fPIC"]),
        ("now", &["-Wl,-z,relro,-z,now"]),
        ("plain", &["-Wl,--build-id=none,-z,noseparate-code,-z,norelro"]),
        ("sysv", &["-Wl,--hash-style=sysv"]),
        ("emit", &["-Wl,--emit-relocs"]),
    ] {
        let program = dir.path().join(name);
        run_ok(Command::new(&gcc).args(options).arg(&source).arg("-o").arg(&program));
        assert_eq!(agree(dir.path(), &program, &[]), Some(true), "{name}");
        assert_eq!(agree(dir.path(), &program, &["--strip-debug"]), Some(true), "{name}");
        for removed in REMOVED {
            agree(dir.path(), &program, removed);
        }
    }
}

/// What kernels have and programs have not: notes in a segment of their own, load addresses that differ, empty
/// allocated sections, sections outside of every segment; and the layouts that ld can be talked into.
#[test]
fn layouts_of_linker_scripts() {
    let (Some(gcc), Some(ld)) = (tool("gcc", "gcc"), tool("ld", "binutils")) else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.S"), include_str!("layouts.S")).unwrap();
    for (bits, emulation, high, mask) in [
        ("-m64", "elf_x86_64", "0xffffffff81000000", "0xffffffff80000000"),
        ("-m32", "elf_i386", "0xc1000000", "0xc0000000"),
    ] {
        let script = include_str!("layouts.ld").replace("HIGH", high).replace("MASK", mask);
        fs::write(path("a.ld"), script).unwrap();
        run_ok(Command::new(&gcc).args([bits, "-c"]).arg(path("a.S")).arg("-o").arg(path("a.o")));
        let script = path("a.ld").into_os_string().into_string().unwrap();
        for options in [
            &["--emit-relocs", "-T", &script][..],
            &["-T", &script, "-z", "max-page-size=0x200000"],
            &[],
            &["-N"],
            &["-n"],
            &["-z", "noseparate-code"],
            &["-z", "max-page-size=0x10000"],
        ] {
            let program = path("program");
            run_ok(Command::new(&ld).args(["-m", emulation]).args(options).arg(path("a.o")).arg("-o").arg(&program));
            assert_eq!(agree(dir.path(), &program, &[]), Some(true), "{emulation} {options:?}");
            assert_eq!(agree(dir.path(), &program, &["--strip-debug"]), Some(true), "{emulation} {options:?}");
            for removed in REMOVED {
                agree(dir.path(), &program, removed);
            }
        }
    }
}

#[test]
fn programs_of_this_machine() {
    let dir = tempdir();
    let mut files = Vec::new();
    for folder in ["/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/libexec"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> = entries
            .filter(|path| path.is_file() && path.metadata().is_ok_and(|meta| meta.len() < 4 << 20))
            .filter(|path| read(path).starts_with(b"\x7fELF"))
            .collect();
        found.sort();
        files.extend(found.into_iter().step_by(9).take(25));
    }
    // The toolchain's own programs were linked by another linker (lld).
    files.push(std::env::var_os("CARGO").map(PathBuf::from).unwrap_or_default());
    let mut agreed = 0;
    for file in files.iter().filter(|file| file.is_file()) {
        match agree(dir.path(), file, &[]) {
            Some(true) => agreed += 1,
            Some(false) if read(file).get(16) == Some(&1) => {} // An object file.
            Some(false) => panic!("{} was refused", file.display()),
            None => {}
        }
        agree(dir.path(), file, REMOVED[0]);
        agree(dir.path(), file, REMOVED[1]);
    }
    assert!(agreed > 0 || tool("objcopy", "binutils").is_none());
}

#[test]
fn kernels_and_decompressors() {
    let dir = tempdir();
    for tree in corpus() {
        let arch = if tree.is_arm() { "arm" } else { "x86" };
        let mut files = kernels(tree);
        files.push(tree.path(&format!("arch/{arch}/boot/compressed/vmlinux")));
        files.push(tree.path("arch/x86/boot/setup.elf"));
        for file in files.iter().filter(|file| file.is_file()) {
            assert_ne!(agree(dir.path(), file, &[]), Some(false), "{}", file.display());
            // With it, the relocations stay and name the symbols by their new numbers.
            assert_ne!(agree(dir.path(), file, &["--strip-debug"]), Some(false), "{}", file.display());
            for removed in [&["-R", ".notes"][..], &["-R", ".smp_locks", "-R", ".bss"], &["-R", "__*"]] {
                agree(dir.path(), file, removed);
            }
        }
    }
}

fn options(smallest: bool) -> StripOptions {
    StripOptions { remove: RemoveList::new([".comment", ".modinfo"]).unwrap(), smallest, ..StripOptions::default() }
}

fn strip(bytes: &[u8], smallest: bool) -> Vec<u8> {
    let plan = kimage::elf::strip(&Elf::parse(bytes).unwrap(), &options(smallest)).unwrap();
    kimage::internals::planned(&plan)
}

#[test]
fn the_smallest_has_the_same_segments() {
    for tree in corpus() {
        let input = tree.read("vmlinux");
        let (full, small) = (strip(&input, false), strip(&input, true));
        assert!(small.len() < full.len());
        let (full_elf, small_elf) = (Elf::parse(&full).unwrap(), Elf::parse(&small).unwrap());
        assert_eq!(full_elf.segments(), small_elf.segments());
        assert_eq!(full_elf.entry(), small_elf.entry());
        assert!(small_elf.sections().is_empty());
        for segment in full_elf.segments() {
            let range = segment.offset as usize..(segment.offset + segment.filesz) as usize;
            // The headers at the start of a file differ in where the section headers are.
            let start = range.start.max(64);
            assert_same(&tree.name, &small[start.min(range.end)..range.end], &full[start.min(range.end)..range.end]);
        }
        let output = run_ok(kimage().args(["strip", "--smallest"]).arg(tree.path("vmlinux")));
        assert_same(&tree.name, &output.stdout, &small);
        let flat = |bytes: &[u8]| {
            let plan = flatten(&Elf::parse(bytes).unwrap(), &FlatOptions::default()).unwrap().plan;
            kimage::internals::planned(&plan)
        };
        if tree.is_arm() {
            assert_same(&tree.name, &flat(&full), &tree.read("arch/arm/boot/Image"));
        }
    }
}

/// What is not kept is not read: a debug section that lies outside of the file does no harm, one that is kept does.
#[test]
fn debug_sections_are_never_looked_at() {
    let Some(gcc) = tool("gcc", "gcc") else { return };
    let dir = tempdir();
    fs::write(dir.path().join("a.c"), "int main(void) { return 0; }\n").unwrap();
    run_ok(Command::new(gcc).current_dir(dir.path()).args(["-g", "a.c", "-o", "a"]));
    let bytes = read(&dir.path().join("a"));
    let want = strip(&bytes, false);
    for (name, harmless) in [(".debug_info", true), (".symtab", true), (".strtab", true), (".text", false)] {
        let elf = Elf::parse(&bytes).unwrap();
        let index = elf.sections().iter().position(|section| section.name() == name).unwrap();
        let table = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
        let mut bad = bytes.clone();
        // sh_offset
        bad[table + index * 64 + 24..][..8].copy_from_slice(&0x7fff_ffff_0000_u64.to_le_bytes());
        let elf = Elf::parse(&bad).unwrap();
        match kimage::elf::strip(&elf, &options(false)) {
            Ok(plan) => {
                assert!(harmless, "{name}");
                assert_same(name, &kimage::internals::planned(&plan), &want);
            }
            Err(error) => assert!(!harmless, "{name}: {error}"),
        }
    }
}

#[test]
fn what_cannot_be_stripped_is_refused() {
    let Some(gcc) = tool("gcc", "gcc") else { return };
    let dir = tempdir();
    fs::write(dir.path().join("a.c"), "int main(void) { return 0; }\n").unwrap();
    run_ok(Command::new(gcc).current_dir(dir.path()).args(["-c", "a.c", "-o", "a.o"]));
    fs::write(dir.path().join("text"), "no ELF file at all\n").unwrap();
    for (file, words) in [("a.o", "no linked executable: without its symbols"), ("text", "this is not an ELF file")] {
        let output = run(kimage().current_dir(dir.path()).args(["strip", file, "-o", "out"]));
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert!(!dir.path().join("out").exists());
    }
}

/// Truncated and damaged files end in an error or in another file, never in a panic or in gigabytes.
#[test]
fn hostile_files() {
    let source = read(&support::testdata("tiny/vmlinux"));
    let headers = 64 + 56 * 4;
    let table = u64::from_le_bytes(source[40..48].try_into().unwrap()) as usize;
    let try_it = |bytes: &[u8]| {
        if let Ok(elf) = Elf::parse(bytes) {
            for (smallest, debug_only) in [(false, false), (true, false), (false, true)] {
                let options = StripOptions { debug_only, ..options(smallest) };
                if let Ok(plan) = kimage::elf::strip(&elf, &options) {
                    // A hole of any size is a plan of few pieces.
                    assert!(kimage::internals::pieces(&plan) < 10_000);
                }
            }
            let _ = kimage::internals::elf::relocs(&elf, Default::default());
        }
    };
    for len in (0..source.len()).step_by(61) {
        try_it(&source[..len]);
    }
    for at in (16..headers.min(source.len())).chain(table..source.len()) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = source.clone();
            bytes[at] = value;
            try_it(&bytes);
        }
    }
}
