//! `extract IMAGE initcalls`: the table by both ways of writing it, and those of real kernels against their System.map.

use crate::support::{self, debian_kernel, kimage, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

fn initcalls(path: &Path) -> Vec<(String, String)> {
    let text = stdout(&run_ok(kimage().arg("extract").arg(path).arg("initcalls")));
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2].to_owned(), words[1].to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn by_address_and_by_distance() {
    let (Some(assembler), Some(linker)) = (tool("as", "binutils"), tool("ld", "binutils")) else { return };
    let dir = tempdir();
    let at = |command: &mut Command| run_ok(command.current_dir(dir.path()));
    for (class, elf, entry) in
        [("--64", "elf_x86_64", ".quad"), ("--64", "elf_x86_64", ".long"), ("--32", "elf_i386", ".long")]
    {
        let is_near = class == "--64" && entry == ".long";
        let call = |name: &str| format!("{entry} {name}{}\n", if is_near { " - ." } else { "" });
        let text = [
            ".globl _start\n_start: ret\na_init: ret\nb_init: ret\nc_init: ret\n.data\n.balign 8\n__initcall_start:\n",
            &call("a_init"),
            "__initcall0_start: __initcall1_start:\n",
            &call("c_init"),
            &call("b_init"),
            "__initcallrootfs_start: __initcall7_start:\n",
            &call("a_init"),
            "__initcall_end:\n.section .rodata\n.asciz \"Linux version 6.1.0 (u@h) #1\\n\"\n",
        ]
        .concat();
        fs::write(dir.path().join("k.s"), text).unwrap();
        at(Command::new(&assembler).args([class, "k.s", "-o", "k.o"]));
        at(Command::new(&linker).args(["-m", elf, "k.o", "-o", "k"]));
        let want = [("a_init", "early"), ("c_init", "1"), ("b_init", "1"), ("a_init", "7")];
        assert_eq!(
            initcalls(&dir.path().join("k")),
            want.map(|(name, level)| (name.to_owned(), level.to_owned())),
            "{class} {entry}"
        );
    }
    // An entry that leads nowhere.
    let text = fs::read_to_string(dir.path().join("k.s")).unwrap().replace("1_start:\n", "1_start: .long 77\n");
    fs::write(dir.path().join("k.s"), text).unwrap();
    at(Command::new(&assembler).args(["--32", "k.s", "-o", "k.o"]));
    at(Command::new(&linker).args(["-m", "elf_i386", "k.o", "-o", "k"]));
    let output = run(kimage().current_dir(dir.path()).args(["extract", "k", "initcalls"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("do not say where its initcalls are"), "{}", stderr(&output));
}

/// The linker's symbols name each entry: `__initcall__kmod_ext4__123_456_ext4_init_fs6`, before 5.11 `__initcall_ext4_init_fs6`.
#[test]
fn as_the_builds_own_symbols_have_them() {
    for tree in support::x86_trees() {
        let map = tree.read("System.map");
        let mut entries: Vec<(u64, &str)> = Vec::new();
        let mut bounds = (0, 0);
        for line in std::str::from_utf8(&map).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let at = u64::from_str_radix(words[0], 16).unwrap();
            match words[2] {
                "__initcall_start" => bounds.0 = at,
                "__initcall_end" => bounds.1 = at,
                name if words[1] == "d" && name.starts_with("__initcall_") => entries.push((at, name)),
                _ => {}
            }
        }
        entries.retain(|(at, _)| (bounds.0..bounds.1).contains(at));
        entries.sort_unstable();
        let found = initcalls(&tree.path("vmlinux"));
        assert!(found.len() == entries.len() && found.len() > 20, "{}: {} {}", tree.name, found.len(), entries.len());
        for ((name, level), (_, symbol)) in found.iter().zip(entries) {
            let ends = |last: &str| symbol.ends_with(&format!("{name}{level}{last}"));
            assert!(ends("") || ends("s"), "{}: {name} {level}: {symbol}", tree.name);
        }
    }
}

/// Flat, and without a System.map: 632 as that of Debian's -dbg package has.
#[test]
fn of_a_flat_kernel() {
    let Some(kernel) = debian_kernel("trixie-riscv64-riscv64") else { return };
    let found = initcalls(&kernel);
    assert!(found.len() > 600 && found.iter().any(|(name, level)| name == "virtio_init" && level == "1"), "{found:?}");
    assert!(found.iter().any(|(name, level)| name == "populate_rootfs" && level == "rootfs"), "{found:?}");
    // Without CONFIG_KALLSYMS_ALL nothing bounds the table.
    let Some(kernel) = debian_kernel("bookworm-armhf-armmp") else { return };
    let output = run(kimage().arg("extract").arg(kernel).arg("initcalls"));
    assert!(stderr(&output).contains("CONFIG_KALLSYMS_ALL"), "{}", stderr(&output));
}
