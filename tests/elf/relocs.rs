//! `kimage relocs` against the tables that the kernels' own builds made.

use crate::elf_builder as build;
use crate::support::{self, Tree, assert_same, corpus, kimage, read, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::elf::{Elf, Lists, RelocOptions};
use kimage::internals::elf::{RelocKind, relocs};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The kernels that the table was made of.
fn tables() -> impl Iterator<Item = (&'static Tree, PathBuf, Vec<u8>)> {
    corpus().iter().filter_map(|tree| {
        let table = tree.path("arch/x86/boot/compressed/vmlinux.relocs");
        let whole = tree.path("vmlinux.unstripped");
        let kernel = if whole.is_file() { whole } else { tree.path("vmlinux") };
        table.is_file().then(|| (tree, kernel, read(&table)))
    })
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn the_table_of_every_kernel() {
    for (tree, kernel, want) in tables() {
        let output = run_ok(kimage().arg("relocs").arg(&kernel));
        assert_same(&tree.name, &output.stdout, &want);
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
        let mut text = ".section \".data.reloc\",\"a\"\n.balign 4\n".to_owned();
        words(&want).iter().for_each(|word| writeln!(text, "\t.long 0x{word:08x}").unwrap());
        let output = run_ok(kimage().args(["relocs", "--text"]).arg(&kernel));
        assert_same(&tree.name, &output.stdout, text.as_bytes());
    }
}

/// Three lists in 5.10 to 6.12, two in 7.2; the wrong one can be had by force, and is another table.
#[test]
fn lists_are_derived_and_can_be_forced() {
    for (tree, kernel, want) in tables() {
        let bytes = read(&kernel);
        let elf = Elf::parse(&bytes).unwrap();
        let kind = relocs(&elf, RelocOptions::default()).unwrap().kind;
        if tree.name.contains("i386") {
            assert_eq!(kind, RelocKind::Kernel32);
            let output = run(kimage().args(["relocs", "--lists", "2"]).arg(&kernel));
            assert!(stderr(&output).contains("a 32-bit ELF file"), "{}", stderr(&output));
            continue;
        }
        let (own, other) = if tree.name.contains("linux-7.") { ("2", "3") } else { ("3", "2") };
        assert_eq!(kind, RelocKind::Kernel64(if own == "2" { Lists::Two } else { Lists::Three }), "{}", tree.name);
        let with = |count: &str| run_ok(kimage().args(["relocs", "--lists", count]).arg(&kernel)).stdout;
        assert_same(&tree.name, &with(own), &want);
        assert_ne!(with(other), want, "{}", tree.name);
    }
}

#[test]
fn kernels_whose_relocations_were_cut_out_are_refused() {
    for tree in
        support::trees_of_generations("vmlinux.unstripped of a", |tree| tree.path("vmlinux.unstripped").is_file())
    {
        let dir = tempdir();
        let output = run(kimage().arg("relocs").arg(tree.path("vmlinux")).arg("-o").arg(dir.path().join("out")));
        assert_eq!(output.status.code(), Some(1));
        for words in ["vmlinux: no executable section", "vmlinux.unstripped", "compressed/vmlinux.relocs"] {
            assert!(stderr(&output).contains(words), "{}: {}", tree.name, stderr(&output));
        }
        assert!(!dir.path().join("out").exists());
    }
    for tree in support::arm_trees().into_iter() {
        let output = run(kimage().arg("relocs").arg(tree.path("vmlinux")));
        assert!(stderr(&output).contains("this is an ELF file for ARM; wanted an x86 kernel"), "{}", stderr(&output));
    }
}

/// Every relocation of a loaded section that is no note has its line.
#[test]
fn the_listing_is_complete() {
    for (tree, kernel, table) in tables() {
        let text = stdout(&run_ok(kimage().args(["relocs", "--reloc-info"]).arg(&kernel)));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("reloc section\treloc type\tsymbol\tsymbol section"));
        assert!(lines.clone().all(|line| line.split('\t').count() == 4), "{}", tree.name);
        assert!(lines.count() > words(&table).len(), "{}", tree.name);
        let output = run_ok(kimage().args(["relocs", "--abs-relocs"]).arg(&kernel));
        assert!(output.stdout.is_empty(), "{}: {}", tree.name, stdout(&output));
    }
}

/// The symbols that readelf finds absolute, in the words of the kernel's tool.
#[test]
fn absolute_symbols_are_those_of_readelf() {
    let Some(readelf) = tool("readelf", "binutils") else { return };
    for (tree, kernel, _) in tables() {
        let is_64 = !tree.name.contains("i386");
        let mut want = "Absolute symbols\n Num:    Value Size  Type       Bind        Visibility  Name\n".to_owned();
        let text = stdout(&run_ok(Command::new(&readelf).arg("-sW").arg(&kernel)));
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let mut word = || words.next().unwrap_or_default();
            let (index, value, size, kind, binding, visibility) = (word(), word(), word(), word(), word(), word());
            if word() != "ABS" {
                continue;
            }
            let index: u32 = index.strip_suffix(':').unwrap().parse().unwrap();
            let size =
                size.strip_prefix("0x").map_or_else(|| size.parse(), |hex| u64::from_str_radix(hex, 16)).unwrap();
            let gap = if is_64 { "" } else { " " };
            let (kind, binding) = (format!("STT_{kind}"), format!("STB_{binding}"));
            let visibility = format!("STV_{visibility}");
            let name = Some(word()).filter(|name| !name.is_empty()).unwrap_or("ABSOLUTE");
            writeln!(want, "{index:5} {value} {gap}{size:5} {kind:>10} {binding:>10} {visibility:>12} {name}").unwrap();
        }
        want.push('\n');
        assert!(want.lines().count() > 100, "{}", tree.name);
        let output = run_ok(kimage().args(["relocs", "--abs-syms"]).arg(&kernel));
        assert_same(&tree.name, &output.stdout, want.as_bytes());
    }
}

/// Everything that the tool of the tree's own release prints, where it is at hand.
#[test]
fn the_kernels_own_tool_prints_the_same() {
    let mut compared = 0;
    for tree in support::x86_trees().into_iter() {
        let Some(tool) = tree.relocs_tool() else { continue }; // no gap: said below, where no tree has one
        let kernels = ["vmlinux", "vmlinux.unstripped"].map(|name| tree.path(name));
        let trampolines = ["arch/x86/realmode/rm/realmode.elf", "realmode.elf"].map(|name| tree.path(name));
        let listings = ["--abs-syms", "--abs-relocs", "--reloc-info"];
        let mut runs: Vec<(&PathBuf, Vec<&str>)> = Vec::new();
        runs.extend(kernels.iter().flat_map(|kernel| listings.map(|option| (kernel, vec![option]))));
        // The last one alone has relocations; the tool makes an empty table of the other without a word.
        runs.extend(
            kernels
                .iter()
                .rev()
                .find(|path| path.is_file())
                .into_iter()
                .flat_map(|kernel| [(kernel, vec![]), (kernel, vec!["--text"])]),
        );
        for trampoline in &trampolines {
            runs.extend([(trampoline, vec!["--realmode"]), (trampoline, vec!["--realmode", "--text"])]);
            runs.extend(listings.map(|option| (trampoline, vec![option])));
            runs.extend(listings.map(|option| (trampoline, vec!["--realmode", option])));
        }
        for (file, options) in runs.into_iter().filter(|(file, _)| file.is_file()) {
            let want = run_ok(Command::new(&tool).args(&options).arg(file)).stdout;
            let got = run_ok(kimage().arg("relocs").args(&options).arg(file)).stdout;
            assert_same(&format!("{} {options:?}", file.display()), &got, &want);
            compared += 1;
        }
    }
    if compared == 0 {
        support::no_relocs_tool();
    }
}

/// Assembles and links `source` with all relocations kept.
fn link(dir: &Path, bits: &str, source: &str, options: &[&str]) -> Option<PathBuf> {
    let (gcc, ld) = (tool("gcc", "gcc")?, tool("ld", "binutils")?);
    let (input, object, program) = (dir.join("a.S"), dir.join("a.o"), dir.join("a"));
    fs::write(&input, source).unwrap();
    run_ok(Command::new(gcc).args([bits, "-c"]).arg(&input).arg("-o").arg(&object));
    let emulation = if bits == "-m32" { "elf_i386" } else { "elf_x86_64" };
    run_ok(
        Command::new(ld).args(["-m", emulation, "--emit-relocs"]).args(options).arg(&object).arg("-o").arg(&program),
    );
    Some(program)
}

fn relocs_of(program: &Path, options: &[&str]) -> Output {
    run(kimage().arg("relocs").args(options).arg(program))
}

/// The expected words were made by arch/x86/tools/relocs of Linux 7.3 from the same file.
#[test]
fn the_real_mode_trampoline() {
    let dir = tempdir();
    let source = "\
        .code16\n .text\n .globl _start\n\
        _start: movw $seg_a, %ax\n ljmpw $real_mode_seg, $1f\n\
        1: movl $pa_thing, %eax\n movl $plain, %eax\n .long pa_other - .\n call _start\n\
        plain: nop\n\
        .section .data,\"aw\"\n .long pa_thing\n .word real_mode_seg\n .long pa_abs\n\
        seg_a = 5\n";
    let symbols = ["real_mode_seg=0", "pa_thing=_start+4", "pa_other=_start+8", "pa_abs=0x1234"];
    let mut options = vec!["-Ttext", "0", "-Tdata", "0x1000"];
    symbols.iter().for_each(|symbol| options.extend(["--defsym", symbol]));
    let Some(program) = link(dir.path(), "-m32", source, &options) else { return };
    let output = relocs_of(&program, &["--realmode"]);
    assert_eq!(words(&output.stdout), [2, 6, 0x1004, 3, 0xa, 0x1000, 0x1006], "{}", stderr(&output));
    let text = stdout(&relocs_of(&program, &["--realmode", "--text"]));
    assert!(text.starts_with(".section \".data.reloc\",\"a\"\n.balign 4\n\t.long 0x00000002\n"), "{text}");
}

#[test]
fn what_cannot_be_moved_is_named() {
    let dir = tempdir();
    let source = "\
        .text\n .globl _start\n_start: movq $absolute, %rax\n .quad _start, __crc_x, _end\n .long _start\n";
    let options = ["-Ttext", "0x1000000", "--defsym", "__crc_x=7", "--defsym", "_end=0x1000100", "--defsym"];
    let with = |symbol: &'static str| [&options[..], &[symbol]].concat();
    let Some(program) = link(dir.path(), "-m64", source, &with("absolute=1")) else { return };
    let output = relocs_of(&program, &[]);
    assert_eq!(output.status.code(), Some(1));
    let want =
        "relocation R_X86_64_32S (11) at 0x1000003 in section .text, against symbol absolute: the symbol is absolute";
    assert!(stderr(&output).contains(want), "{}", stderr(&output));
    let listed = stdout(&relocs_of(&program, &["--abs-relocs"]));
    assert!(
        listed.starts_with("WARNING: Absolute relocations present\nOffset     Info     Type     Sym.Value Sym.Name\n"),
        "{listed}"
    );
    assert!(listed.contains(" R_X86_64_32S 0000000000000001  absolute\n"), "{listed}");

    // The same symbol under a name that is known: it moves (`jiffies`), or it never needs to (`__crc_`).
    for (name, is_moved) in [("jiffies", true), ("__crc_absolute", false)] {
        let source = source.replace("absolute", name);
        let symbol: &'static str = if is_moved { "jiffies=1" } else { "__crc_absolute=1" };
        let Some(program) = link(dir.path(), "-m64", &source, &with(symbol)) else { return };
        let found = words(&relocs_of(&program, &[]).stdout);
        let mut want = vec![0, 0x100_0007, 0x100_0017, 0];
        want.extend(is_moved.then_some(0x100_0003));
        want.push(0x100_001f);
        assert_eq!(found, want, "{name}");
    }

    // A type that no decompressor applies.
    let source = ".text\n .globl _start\n_start: movw $_start, %ax\n .quad _start\n";
    let Some(program) = link(dir.path(), "-m64", source, &["-Ttext", "0x1000"]) else { return };
    let output = relocs_of(&program, &[]);
    let want = "relocation R_X86_64_16 (12) at 0x1002 in section .text, against symbol ";
    assert!(stderr(&output).contains(want), "{}", stderr(&output));
    // A place that 32 bits cannot name.
    let source = ".text\n .globl _start\n_start: .quad _start\n";
    let Some(program) = link(dir.path(), "-m64", source, &["-Ttext", "0x123456780"]) else { return };
    assert!(stderr(&relocs_of(&program, &[])).contains("at 0x123456780 in section .text"));
}

/// Linux 3.19 brought the list of distances into the per-CPU area; the tool of 3.14 to 3.18 passed them over. The words by
/// hand from what the source puts where.
#[test]
fn lists_of_each_age() {
    let dir = tempdir();
    let script = support::put(
        dir.path(),
        "script",
        b"SECTIONS { .data..percpu 0 : { *(.data..percpu) } .text 0x1000000 : { *(.text) } .rodata : { *(.rodata) } }",
    );
    let options = ["-T", script.to_str().unwrap(), "--defsym", "__per_cpu_load=0x2000000"];
    for (release, want) in [
        ("3.14.8", &[0, 0x100_0000, 0, 0x100_0008][..]),
        ("3.18.20", &[0, 0x100_0000, 0, 0x100_0008]),
        ("3.19.8", &[0, 0x100_0000, 0, 0x100_000e, 0, 0x100_0008]),
        // Red Hat's, which has the later tool.
        ("3.10.0-1160.el7", &[0, 0x100_0000, 0, 0x100_000e, 0, 0x100_0008]),
    ] {
        let source = format!(
            ".text\n .globl _start\n_start: .quad _start\n .long _start\n movl counter(%rip), %eax\n\
             .section .data..percpu,\"aw\"\n .globl counter\ncounter: .quad 0\n\
             .section .rodata,\"a\"\n .asciz \"Linux version {release} (u@h) #1\"\n"
        );
        let Some(program) = link(dir.path(), "-m64", &source, &options) else { return };
        assert_eq!(words(&relocs_of(&program, &[]).stdout), want, "{release}");
    }
}

/// Damaged tables end in an error or another table.
#[test]
fn hostile_tables() {
    let dir = tempdir();
    let source = ".text\n .globl _start\n_start: .quad _start, local\nlocal: .long _start\n call _start\n";
    let Some(program) = link(dir.path(), "-m64", source, &["-Ttext", "0x1000"]) else { return };
    let bytes = read(&program);
    let try_it = |bytes: &[u8]| {
        if let Ok(elf) = Elf::parse(bytes) {
            for lists in [None, Some(Lists::Two), Some(Lists::Three)] {
                let _ = relocs(&elf, RelocOptions { lists, realmode: false });
            }
            let options = kimage::elf::StripOptions { debug_only: true, ..Default::default() };
            let _ = kimage::elf::strip(&elf, &options);
            let _ = kimage::internals::elf::list_relocs(&elf, std::io::sink());
            let _ = kimage::internals::elf::list_absolute_relocs(&elf, false, std::io::sink());
            let _ = kimage::internals::elf::list_absolute_symbols(&elf, std::io::sink());
        }
    };
    assert!(relocs(&Elf::parse(&bytes).unwrap(), RelocOptions::default()).is_ok());
    for len in 0..bytes.len() {
        try_it(&bytes[..len]);
    }
    // Everything behind the code: relocations, symbols, names, section headers.
    let start = bytes.len().saturating_sub(1500);
    for at in (0..120).chain(start..bytes.len()) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            try_it(&bytes);
        }
    }
}

/// A field that leads to nothing: the error says where that field stands in the file, by the layout of the specification,
/// and not where the section's contents are, or where it is in its table.
#[test]
fn a_wrong_field_is_shown_where_it_stands() {
    for is_64 in [true, false] {
        // A relocation of the first word (R_X86_64_64, R_386_32) against the first symbol, with its two numbers.
        let (machine, name, kind) = if is_64 { (62, ".rela.text", 4) } else { (3, ".rel.text", 9) };
        let entry = if is_64 {
            [0x1000_u64, 1 << 32 | 1, 0].map(u64::to_le_bytes).concat()
        } else {
            [0x1000_u32, 1 << 8 | 1].map(u32::to_le_bytes).concat()
        };
        let symbol_in_entry = if is_64 { 12 } else { 5 };
        let mut builder = build::Builder::new(is_64, false, machine);
        builder.section(".text", build::SHT_PROGBITS, build::SHF_ALLOC | build::SHF_EXECINSTR, 0x1000, &[0; 64]);
        let section = builder.section(name, kind, 0, 0, &entry);
        // Behind it come .symtab, .strtab and .shstrtab.
        (builder.sections[section].info, builder.sections[section].link) = (1, 3);
        builder.symbol("symbol", 0x1000, build::GLOBAL, 1);
        let good = builder.build();
        let number = |at: usize, width: usize| (0..width).rev().fold(0, |sum, n| sum << 8 | usize::from(good[at + n]));
        let (table, size, link) = if is_64 { (number(40, 8), 64, 40) } else { (number(32, 4), 40, 24) };
        let contents = |index: usize| number(table + index * size + if is_64 { 24 } else { 16 }, 4);
        let symbol_size = if is_64 { 24 } else { 16 };
        let error_with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            let elf = Elf::parse(&bytes).unwrap();
            kimage::internals::elf::list_relocs(&elf, std::io::sink()).unwrap_err().to_string()
        };
        assert_eq!(relocs(&Elf::parse(&good).unwrap(), RelocOptions::default()).unwrap().len(), 1);

        for (index, name) in [(section, name), (3, ".symtab")] {
            let at = table + index * size + link;
            let error = error_with(at, 99);
            assert!(error.starts_with(&format!("sh_link of {name} at offset {at:#x}: found 0x63")), "{error}");
        }
        let at = contents(3) + 7 * symbol_size;
        let error = error_with(contents(section) + symbol_in_entry, 7);
        assert!(error.starts_with(&format!("symbol at offset {at:#x}: the input ends too early")), "{error}");
        let at = contents(3) + symbol_size;
        let error = error_with(at, 0x7f);
        assert!(error.starts_with(&format!("st_name at offset {at:#x}: found 0x7f")), "{error}");
    }
}
