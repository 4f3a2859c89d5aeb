//! `kimage piggy`: mkpiggy's text and the assembler's object, on every tree of the corpus.

use crate::support::{self, Tree, assert_same, corpus, kimage, run, run_ok, stderr, tempdir, tool};
use kimage::arch::Arch;
use kimage::bytes::{Endian, help};
use kimage::elf::Elf;
use kimage::kbuild::{Error, Piggy, Target};
use kimage::layout::Plan;
use std::fs;
use std::process::Command;

/// The compressed kernel, by the name that `.incbin` has in the tree's piggy.S.
fn incbin(tree: &Tree) -> String {
    let arch = if tree.is_arm() { "arm" } else { "x86" };
    let text = String::from_utf8(tree.read(&format!("arch/{arch}/boot/compressed/piggy.S"))).unwrap();
    text.split_once(".incbin").unwrap().1.split('"').nth(1).unwrap().to_owned()
}

/// The CPU as `--arch` names it.
fn arch(tree: &Tree) -> &'static str {
    let elf = tree.read("vmlinux");
    match (elf[18] | elf[19], elf[5]) {
        (3, _) => "i386",
        (62, _) => "x86_64",
        (40, 1) => "arm",
        (40, 2) => "armeb",
        other => panic!("{}: {other:?}", tree.name),
    }
}

#[test]
fn the_text_is_mkpiggys() {
    for tree in support::x86_trees().into_iter() {
        let want = tree.read("arch/x86/boot/compressed/piggy.S");
        let output = run_ok(kimage().current_dir(&tree.dir).args(["piggy", &incbin(tree)]));
        assert_same(&tree.name, &output.stdout, &want);
        assert!(stderr(&output).is_empty(), "{}", stderr(&output));
        let dir = tempdir();
        run_ok(kimage().current_dir(dir.path()).arg("piggy").arg(tree.path(&incbin(tree))).args([
            "--path",
            &incbin(tree),
            "-o",
            "piggy.S",
        ]));
        assert_same(&tree.name, &fs::read(dir.path().join("piggy.S")).unwrap(), &want);
    }
}

/// Sections, symbols and values, and everything else: the whole file.
#[test]
fn the_object_is_the_assemblers() {
    for tree in corpus() {
        let folder = if tree.is_arm() { "arch/arm/boot/compressed" } else { "arch/x86/boot/compressed" };
        let want = tree.read(&format!("{folder}/piggy.o"));
        let head = ["head.o", "head_64.o", "head_32.o"].map(|name| tree.path(folder).join(name));
        let head = head.iter().find(|path| path.is_file()).unwrap();
        for (option, value) in [("--arch", arch(tree).into()), ("--like", head.as_os_str().to_owned())] {
            let dir = tempdir();
            let output = run_ok(kimage().current_dir(dir.path()).arg("piggy").arg(tree.path(&incbin(tree))).args([
                "--object".as_ref(),
                option.as_ref(),
                value.as_os_str(),
            ]));
            let got = fs::read(dir.path().join("piggy.o")).unwrap();
            assert_same(&format!("{} {option}", tree.name), &got, &want);
            assert!(stderr(&output).is_empty(), "{}", stderr(&output));
        }
    }
}

/// z_run_size of Linux 3.18 to 4.6: what arch/x86/tools/calc_run_size makes of `objdump -h vmlinux`.
#[test]
fn the_memory_of_the_running_kernel() {
    let (Some(assembler), Some(ld)) = (tool("as", "binutils"), tool("ld", "binutils")) else { return };
    let Some(objdump) = tool("objdump", "binutils") else { return };
    let dir = tempdir();
    let at = |command: &mut Command| run_ok(command.current_dir(dir.path()));
    for (release, wants) in [("3.17.8", false), ("3.18.0", true), ("4.6.7", true), ("4.7.0", false)] {
        let text = format!(
            ".globl _start\n_start: ret\n.section .rodata\n.asciz \"Linux version {release} (u@h) #1\\n\"\n\
             .bss\n.skip 0x12345\n.section .brk,\"aw\",@nobits\n.skip 0x26000\n"
        );
        fs::write(dir.path().join("k.s"), text).unwrap();
        at(Command::new(&assembler).args(["k.s", "-o", "k.o"]));
        at(Command::new(&ld).args(["k.o", "-o", "vmlinux"]));
        let table = support::stdout(&at(Command::new(&objdump).args(["-h", "vmlinux"])));
        // Index, name, size, two addresses, file offset.
        let column = |name: &str, column: usize| {
            let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap();
            u64::from_str_radix(line.split_whitespace().nth(column).unwrap(), 16).unwrap()
        };
        let size = column(".bss", 5) + column(".bss", 2) + column(".brk", 2);
        fs::write(dir.path().join("data"), b"payload\x07\0\0\0").unwrap();
        let said = support::stdout(&at(kimage().args(["piggy", "data", "--vmlinux", "vmlinux"])));
        let line = format!(".globl z_run_size\nz_run_size = {size}\n");
        assert_eq!(said.contains(&line), wants, "{release}: {said}");
        assert_eq!(said.contains("z_run_size"), wants, "{release}: {said}");
    }
}

/// The linker refuses to mix the profiles A and M: what --like is for.
#[test]
fn an_object_like_its_neighbours_links_with_them() {
    let Some(assembler) = tool("arm-linux-gnueabihf-as", "binutils-arm-linux-gnueabihf") else { return };
    let Some(ld) = tool("arm-linux-gnueabihf-ld", "binutils-arm-linux-gnueabihf") else { return };
    let dir = tempdir();
    fs::write(dir.path().join("head.s"), ".syntax unified\n.thumb\n.globl _start\n_start: bx lr\n").unwrap();
    fs::write(dir.path().join("data"), b"payload\x07\0\0\0").unwrap();
    for (byte_order, arch) in [("-EL", "arm"), ("-EB", "armeb")] {
        let at = |command: &mut Command| run(command.current_dir(dir.path())).status.success();
        assert!(at(Command::new(&assembler).args([byte_order, "-march=armv7-m", "-o", "head.o", "head.s"])));
        for (option, value, links) in [("--arch", arch, false), ("--like", "head.o", true)] {
            assert!(at(kimage().args(["piggy", "data", "--object", option, value])));
            assert_eq!(at(Command::new(&ld).args([byte_order, "-o", "out", "head.o", "piggy.o"])), links, "{option}");
        }
    }
}

#[test]
fn hostile_inputs() {
    let dir = tempdir();
    let file = dir.path().join("short");
    fs::write(&file, [1, 2, 3]).unwrap();
    fs::write(dir.path().join("empty"), []).unwrap();
    fs::write(dir.path().join("good"), b"\x1f\x8b\x08data\x20\0\0\0").unwrap();
    fs::write(dir.path().join("q\"uote"), [0; 9]).unwrap();
    fs::write(dir.path().join("noelf"), [b'x'; 99]).unwrap();
    fs::write(dir.path().join("bare.xz"), b"\xfd7zXZ\0............YZ").unwrap();
    for (args, status, words) in [
        (&["short"][..], 1, &["output_len", "4 bytes needed, 3 there", "last four bytes"][..]),
        (&["empty"], 1, &["4 bytes needed, 0 there"]),
        (&["q\"uote"], 1, &["double quote", "--path"]),
        (&["good", "--path", "a\nb"], 1, &["line end"]),
        (&["good", "--object"], 2, &["--arch", "--like"]),
        (&["good", "--arch", "arm"], 2, &["--object"]),
        (&["good", "--object", "--arch", "mips"], 2, &["x86_64, i386, arm, armeb"]),
        (&["good", "--object", "--like", "noelf"], 1, &["noelf", "e_ident[EI_MAG]"]),
        (&["-"], 1, &["standard input", "0 there"]),
        (&["bare.xz"], 0, &["warning:", "not the uncompressed size", "--with-size"]),
    ] {
        let output = run(kimage().current_dir(dir.path()).arg("piggy").args(args));
        assert_eq!(output.status.code(), Some(status), "{args:?} {}", stderr(&output));
        for word in words {
            assert!(stderr(&output).contains(word), "{args:?} {word}: {}", stderr(&output));
        }
        assert!(!dir.path().join("piggy.o").exists(), "{args:?}");
    }
}

/// A model cut at any place gives an error, never a panic.
#[test]
fn a_damaged_model_is_refused_or_read() {
    let Some(tree) = support::tree("arm-gzip") else { return };
    let whole = tree.read("arch/arm/boot/compressed/head.o");
    for cut in (0..whole.len()).step_by(97).chain(0..60) {
        let _ = kimage::kbuild::Target::like_file(&whole[..cut]);
    }
    let mut broken = whole.clone();
    for at in 0..whole.len().min(60) {
        broken[at] ^= 0xff;
        let _ = kimage::kbuild::Target::like_file(&broken);
        broken[at] ^= 0xff;
    }
}

fn bytes(plan: &Plan<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    plan.emit(&mut out).unwrap();
    out
}

#[test]
fn too_short_for_a_size() {
    for len in 0..4 {
        let error = Piggy::new(&[7; 3][..len]).unwrap_err();
        assert!(error.to_string().contains("output_len at offset 0x0: the input ends too early"), "{error}");
        assert!(help(&error).contains("last four bytes"));
    }
    let text = Piggy::new(&[1, 2, 3, 4]).unwrap().text(b"x").unwrap();
    assert!(String::from_utf8(text).unwrap().contains(&format!("z_output_len = {}\n", 0x0403_0201)));
}

#[test]
fn paths_that_would_end_the_string() {
    let piggy = Piggy::new(&[0; 4]).unwrap();
    for path in [&b"a\".long 1\""[..], b"a\\n", b"a\nb", b"\0"] {
        assert!(matches!(piggy.text(path), Err(Error::Path { .. })), "{path:?}");
    }
    let text = piggy.text(b"dir with spaces/\xff").unwrap();
    assert!(memchr::memmem::find(&text, b".incbin \"dir with spaces/\xff\"\n").is_some());
}

#[test]
fn every_target_parses_again() {
    for (arch, endian) in [
        (Arch::X86, Endian::Little),
        (Arch::X86_64, Endian::Little),
        (Arch::Arm, Endian::Little),
        (Arch::Arm, Endian::Big),
    ] {
        let target = Target::new(arch, endian).unwrap();
        let object = bytes(&Piggy::new(b"payload\x09\0\0\0").unwrap().object(&target).unwrap());
        let elf = Elf::parse(&object).unwrap();
        assert_eq!((elf.arch(), elf.endian()), (Some(arch), endian));
        let symbols: Vec<_> = elf.symbols().unwrap().collect();
        let value = |name: &str| symbols.iter().find(|symbol| symbol.name == name.as_bytes()).map(|s| s.value);
        assert_eq!(value("input_data_end"), Some(11));
        assert_eq!(value("z_output_len"), (arch != Arch::Arm).then_some(9));
        // An object made after the model of an object is the same object.
        let again =
            bytes(&Piggy::new(b"payload\x09\0\0\0").unwrap().object(&Target::like_file(&object).unwrap()).unwrap());
        assert_eq!(again, object);
    }
    assert!(Target::new(Arch::X86, Endian::Big).is_err());
    assert!(Target::new(Arch::Mips, Endian::Big).is_err());
}

#[test]
fn a_missing_size_is_noticed() {
    let xz = b"\xfd7zXZ\0..............YZ";
    assert_eq!(Piggy::new(xz).unwrap().findings().len(), 1);
    let zstd = b"\x28\xb5\x2f\xfd...........\x02\0\0\0";
    assert_eq!(Piggy::new(zstd).unwrap().findings().len(), 1);
    let good = b"\x28\xb5\x2f\xfd...........\x02\0\x01\0";
    assert!(Piggy::new(good).unwrap().findings().is_empty());
}
