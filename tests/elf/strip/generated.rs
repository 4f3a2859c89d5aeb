//! Layouts that nobody wrote by hand: sections, scripts and options drawn at random, linked by GNU ld, some with every
//! physical address zero. objcopy's bytes or a refusal.

use super::beside::agree;
use crate::support::{run, tempdir, tool};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

/// The same sequence on every machine (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Names and kinds of sections; the last word of a kind is chosen for some.
const SECTIONS: [(&str, &[&str]); 12] = [
    (".data", &["\"aw\",@progbits"]),
    (".bss", &["\"aw\",@nobits"]),
    (".rodata", &["\"a\",@progbits"]),
    (".tdata", &["\"awT\",@progbits"]),
    (".tbss", &["\"awT\",@nobits"]),
    (".note.a", &["\"a\",@note"]),
    (".note.b", &["\"\",@note", "\"a\",@note"]),
    (".foo", &["\"aw\",@progbits"]),
    (".bar", &["\"ax\",@progbits", "\"\",@progbits"]),
    (".zero", &["\"aw\",@nobits"]),
    (".noload", &["\"aw\",@progbits"]),
    (".empty", &["\"a\",@progbits", "\"aw\",@nobits"]),
];

fn source(random: &mut Random, names: &[&str]) -> String {
    let mut text = ".globl _start\n.text\n_start: nop\n".to_owned();
    for name in names {
        let (_, kinds) = SECTIONS.iter().find(|(known, _)| known == name).unwrap();
        writeln!(text, ".section {name},{}", random.of(kinds)).unwrap();
        if name.starts_with(".note") {
            text.push_str(".p2align 2\n.long 4, 4, 1\n.asciz \"abc\"\n.long 0\n");
        } else {
            let size = if *name == ".empty" { 0 } else { random.of(&[1, 4, 16, 100, 5000]) };
            writeln!(text, ".p2align {}\n.zero {size}", random.of(&[0, 0, 2, 4, 6])).unwrap();
        }
    }
    text
}

/// A linker script with these sections in some order.
fn script(random: &mut Random, names: &[&str]) -> String {
    let mut order: Vec<&str> = names.iter().copied().chain([".text"]).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, random.below(index + 1));
    }
    let with_headers = !random.one_in(3);
    let load_addresses = random.one_in(3);
    let base = random.of(&[0x1000, 0x10_0000, 0x40_0000, 0x40_00e8]);
    let mut text = String::new();
    if with_headers {
        let first = random.of(&["", " FILEHDR PHDRS"]);
        let stack = random.of(&["", " st PT_GNU_STACK FLAGS(6);"]);
        writeln!(text, "PHDRS {{ p1 PT_LOAD{first}; p2 PT_LOAD; p3 PT_LOAD; note PT_NOTE; tls PT_TLS;{stack} }}")
            .unwrap();
    }
    writeln!(text, "SECTIONS {{ . = {base:#x}{};", random.of(&["", " + SIZEOF_HEADERS"])).unwrap();
    for (index, name) in order.iter().enumerate() {
        if random.one_in(3) {
            writeln!(text, " . = ALIGN({}){};", random.of(&["16", "0x1000", "0x2000"]), random.of(&["", " + 4"]))
                .unwrap();
        }
        let load = if load_addresses && random.one_in(2) {
            format!("AT({:#x})", base + 0x10_0000 * index)
        } else {
            String::new()
        };
        let noload = if *name == ".noload" { " (NOLOAD)" } else { "" };
        let mut segments = String::new();
        if with_headers && !random.one_in(3) {
            write!(segments, " :{}", random.of(&["p1", "p2", "p3"])).unwrap();
        }
        if with_headers && (name.starts_with(".t") && *name != ".text") {
            segments = format!(" :{} :tls", random.of(&["p1", "p2", "p3"]));
        }
        if with_headers && name.starts_with(".note") {
            segments = format!(" :{} :note", random.of(&["p1", "p2", "p3"]));
        }
        writeln!(text, " {name}{noload} : {load} {{ *({name}) }}{segments}").unwrap();
    }
    text + "}\n"
}

/// Sets every `p_paddr` to zero, as some linkers leave it.
fn forget_physical(elf: &mut [u8]) {
    let is_64 = elf[4] == 2;
    let half = |elf: &[u8], at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let (table, entries, size, at, width) =
        if is_64 { (64, half(elf, 56), 56, 24, 8) } else { (52, half(elf, 44), 32, 12, 4) };
    for index in 0..entries {
        let start = table + index * size + at;
        elf[start..start + width].fill(0);
    }
}

#[test]
fn layouts_drawn_at_random() {
    let (Some(gas), Some(ld)) = (tool("as", "binutils"), tool("ld", "binutils")) else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    let options: [&[&str]; 7] = [
        &[],
        &["-z", "noseparate-code"],
        &["-z", "max-page-size=0x10000"],
        &["-N"],
        &["-n"],
        &["-pie"],
        &["-z", "norelro"],
    ];
    let cases = if std::env::var_os("KIMAGE_FULL").is_some() { 2000 } else { 160 };
    let (mut same, mut refused) = (0, 0);
    for case in 1..=cases {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ case);
        let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).filter(|_| random.one_in(2)).collect();
        fs::write(path("a.s"), source(&mut random, &names)).unwrap();
        let (bits, emulation) = random.of(&[("--64", "elf_x86_64"), ("--32", "elf_i386")]);
        if !run(Command::new(&gas).arg(bits).arg(path("a.s")).arg("-o").arg(path("a.o"))).status.success() {
            continue;
        }
        let mut link = Command::new(&ld);
        link.args(["-m", emulation, "--build-id=none"]).args(random.of(&options));
        if !random.one_in(4) {
            fs::write(path("a.ld"), script(&mut random, &names)).unwrap();
            link.arg("-T").arg(path("a.ld"));
        }
        if !run(link.arg(path("a.o")).arg("-o").arg(path("a"))).status.success() {
            continue;
        }
        if random.one_in(3) {
            let mut elf = fs::read(path("a")).unwrap();
            forget_physical(&mut elf);
            fs::write(path("a"), elf).unwrap();
        }
        println!("case {case}");
        match agree(dir.path(), &path("a"), &[]) {
            Some(true) => same += 1,
            Some(false) => refused += 1,
            None => {}
        }
    }
    // Refusing all would be agreement too.
    assert!(same > 3 * refused && same > 80, "{same} the same, {refused} refused");
}

/// A program that says 42, with its physical addresses forgotten: what comes out runs and is as long as objcopy's.
#[test]
fn a_program_without_physical_addresses_still_runs() {
    let Some(gcc) = tool("gcc", "gcc") else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.c"), "#include <stdio.h>\nint data = 42;\nint main(void) { printf(\"%d\\n\", data); }\n")
        .unwrap();
    for options in [&["-static", "-no-pie"][..], &["-no-pie"], &["-pie"]] {
        super::run_ok(Command::new(&gcc).args(options).arg(path("a.c")).arg("-o").arg(path("a")));
        let mut elf = fs::read(path("a")).unwrap();
        forget_physical(&mut elf);
        fs::write(path("a"), elf).unwrap();
        assert_eq!(agree(dir.path(), &path("a"), &[]), Some(true), "{options:?}");
        super::run_ok(super::kimage().arg("strip").arg(path("a")).arg("-o").arg(path("k")));
        super::run_ok(Command::new("chmod").arg("+x").arg(path("k")));
        assert_eq!(super::run_ok(&mut Command::new(path("k"))).stdout, b"42\n");
    }
}

/// The hash table of MIPS' own kind names the dynamic symbols, as every other hash table does.
#[test]
fn the_hash_table_of_mips() {
    let prefix = "mips-linux-gnu";
    let (Some(gas), Some(ld)) = (super::beside::cross(prefix, "as"), super::beside::cross(prefix, "ld")) else {
        return;
    };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.s"), ".globl f\n.ent f\nf: nop\n.end f\n.data\n.globl g\n.type g,@object\ng: .word 1\n").unwrap();
    super::run_ok(Command::new(gas).arg("-EB").arg(path("a.s")).arg("-o").arg(path("a.o")));
    let options = ["-EB", "-shared", "--hash-style=gnu"];
    super::run_ok(Command::new(ld).args(options).arg(path("a.o")).arg("-o").arg(path("a.so")));
    let named = fs::read(path("a.so")).unwrap().windows(11).any(|window| window == b".MIPS.xhash");
    assert!(named, "ld makes no such table any more");
    assert_eq!(agree(dir.path(), &path("a.so"), &[]), Some(true));
}
