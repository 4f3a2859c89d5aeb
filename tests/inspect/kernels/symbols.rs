//! `extract --symbols` of flat kernels: an ELF file with the symbols of their kallsyms, as nm reads it.

use super::made::{BANNER, Order, noise, packed, piggy, zimage};
use crate::support::{self, kimage, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::codec::Codec;
use std::fs;
use std::process::Command;

/// What scripts/kallsyms.c writes.
#[derive(Debug, Clone, Copy)]
struct Form {
    order: Order,
    is_64: bool,
    addresses: Addresses,
    /// Tables are aligned to so many words.
    align: usize,
    /// With a table of tokens, or names as they are (OpenWrt's CONFIG_KALLSYMS_UNCOMPRESSED).
    tokens: bool,
}

/// How symbols' addresses are written, and what tells that of the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    /// One each.
    Words,
    /// From a base; the first symbol is the first byte.
    Offsets,
    /// The same, and no symbol is the first byte: pointers to texts tell it.
    Texts,
    /// The base and all pointers stand in a RELA table alone (arm64 up to 6.1 and where the linker knows no RELR).
    Relocated,
    /// S/390 up to 6.9: the same, at the beginning of all addresses, and the base is a symbol's.
    Low,
    /// From the place where each stands (7.2): pointers tell the rest.
    Distances,
}

/// Tables of 2.4 to 2.6.9, and what modules may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    /// 2.6.0 to 2.6.9: what a name has in common with the one before is left out.
    Stems,
    /// 2.4 with modutils' kallsyms: header, sections, symbols, names.
    Modutils,
    /// `__ksymtab`: value and name.
    Exports,
    /// The same with a third word, the namespace.
    Namespaces,
    /// The same by distances.
    NearExports,
}

impl Form {
    /// A kernel of 500 functions with such a table, and what is in it.
    fn old_kernel(self, cpu: &str, old: Old) -> (Vec<u8>, Vec<(String, u64)>) {
        let width = if self.is_64 { 8 } else { 4 };
        let mut symbols: Vec<(String, u64)> =
            self.symbols(cpu).into_iter().take(600).map(|(name, _, address)| (name, address)).collect();
        symbols[7].0 = "kfree".to_owned();
        // Code, and pointers to texts.
        let mut out = self.kernel(cpu)[..0x4000].to_vec();
        out.extend(BANNER);
        out.resize(out.len().next_multiple_of(16), 0);
        let base = self.base();
        let address = |at: usize| base + u64::try_from(at).unwrap();
        let texts_at = out.len() + 600 * width + 1;
        let mut texts = vec![0];
        for (name, _) in &symbols {
            out.extend(self.word(address(texts_at + texts.len() - 1)));
            texts.extend(name.bytes().chain([0]));
        }
        out.extend(texts);
        out.resize(out.len().next_multiple_of(16), 0);
        let text_at = |out: &[u8], name: &str| memchr::memmem::find(out, format!("\0{name}\0").as_bytes()).unwrap() + 1;
        match old {
            Old::Stems => {
                symbols.iter().for_each(|(_, address)| out.extend(self.word(*address)));
                out.extend(self.word(600));
                let mut before = "";
                for (name, _) in &symbols {
                    let common = name.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
                    out.push(u8::try_from(common).unwrap());
                    out.extend(name[common..].bytes().chain([0]));
                    before = name;
                }
            }
            Old::Modutils => {
                let number = |number: usize| self.order.word(u32::try_from(number).unwrap());
                let (head, section) = if self.is_64 { (72, 32) } else { (44, 16) };
                let names_at = head + section + 600 * 3 * width;
                let strings: Vec<u8> =
                    b".text\0".iter().copied().chain(symbols.iter().flat_map(|it| it.0.bytes().chain([0]))).collect();
                let total = names_at + strings.len();
                let pad = |out: &mut Vec<u8>| {
                    if self.is_64 {
                        out.extend([0; 4])
                    }
                };
                out.extend([number(head), number(total), number(1)].concat());
                pad(&mut out);
                out.extend(self.word(head as u64));
                out.extend([number(section), number(600)].concat());
                out.extend(self.word((head + section) as u64));
                out.extend(number(3 * width));
                pad(&mut out);
                [names_at as u64, base, base + 0x8000].into_iter().for_each(|word| out.extend(self.word(word)));
                // Start, size, name, flags: allocated code.
                out.extend(self.word(base));
                out.extend(number(0x8000));
                pad(&mut out);
                out.extend(self.word(0));
                out.extend(number(6));
                pad(&mut out);
                let mut name_at = 6;
                for (name, address) in &symbols {
                    [0, *address, name_at].into_iter().for_each(|word| out.extend(self.word(word)));
                    name_at += name.len() as u64 + 1;
                }
                out.extend(strings);
            }
            Old::Exports | Old::Namespaces => {
                for (name, value) in &symbols {
                    out.extend(self.word(*value));
                    out.extend(self.word(address(text_at(&out, name))));
                    if old == Old::Namespaces {
                        out.extend(self.word(0));
                    }
                }
            }
            Old::NearExports => {
                for (name, value) in &symbols {
                    let here = address(out.len());
                    let distance = |from: u64, to: u64| self.order.word(to.wrapping_sub(from) as u32);
                    out.extend(distance(here, *value));
                    out.extend(distance(here + 4, address(text_at(&out, name))));
                    out.extend([0; 4]);
                }
            }
        }
        // None of the symbols is behind the file.
        out.resize(0x9000.max(out.len() + 100), 0x55);
        (out, symbols)
    }
}

/// The tables of before 2.6.10, and exports where there is no other; each is called what it is.
#[test]
fn tables_of_each_age_and_exports() {
    let Some(nm_path) = tool("nm", "binutils") else { return };
    for (order, is_64) in [(Order::Little, false), (Order::Big, false), (Order::Little, true), (Order::Big, true)] {
        for old in [Old::Stems, Old::Modutils, Old::Exports, Old::Namespaces, Old::NearExports] {
            let form = Form { order, is_64, addresses: Addresses::Texts, align: 1, tokens: true };
            let (kernel, mut symbols) = form.old_kernel("mips", old);
            let dir = tempdir();
            let (inner, file) = (dir.path().join("k"), dir.path().join("v"));
            fs::write(&inner, packed(Codec::Gzip, &kernel)).unwrap();
            let output = run(kimage().arg("extract").arg(&inner).args(["vmlinux", "--symbols", "-o"]).arg(&file));
            assert!(output.status.success(), "{order:?} {is_64} {old:?}: {}", stderr(&output));
            let said = match old {
                Old::Stems | Old::Modutils => "600 symbols from kallsyms",
                _ => "600 symbols, those that modules may use alone: the kernel has no kallsyms",
            };
            assert!(stderr(&output).contains(said), "{order:?} {is_64} {old:?}: {}", stderr(&output));
            symbols.sort_by_key(|(_, address)| *address);
            // What modules may use is no System.map.
            let map = run(kimage().arg("system-map").arg(&inner));
            let is_whole = matches!(old, Old::Stems | Old::Modutils);
            assert_eq!(map.status.code(), Some(i32::from(!is_whole)), "{order:?} {is_64} {old:?}");
            if is_whole {
                let name = |line: &str| line.split(' ').nth(2).map(str::to_owned);
                let names: Vec<_> = stdout(&map).lines().filter_map(name).collect();
                assert!(symbols.iter().map(|(name, _)| name).eq(&names), "{order:?} {is_64} {old:?}");
            } else {
                let said = stderr(&map);
                assert!(said.contains("what it exports to modules is not all") && map.stdout.is_empty(), "{said}");
            }
            let found: Vec<_> = nm(&file, &nm_path).into_iter().map(|(name, _, address)| (name, address)).collect();
            assert_eq!(found, symbols, "{order:?} {is_64} {old:?}");
        }
    }
}

/// An ELF file that has a symbol table is written as it is.
#[test]
fn a_symbol_table_of_its_own() {
    let (Some(assembler), Some(linker)) = (tool("as", "binutils"), tool("ld", "binutils")) else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    let text = format!(
        ".globl _start\n_start: ret\n.section .rodata\n.asciz {:?}\n",
        std::str::from_utf8(&BANNER[..BANNER.len() - 1]).unwrap()
    );
    fs::write(path("k.s"), text).unwrap();
    run_ok(Command::new(assembler).current_dir(dir.path()).args(["k.s", "-o", "k.o"]));
    run_ok(Command::new(linker).current_dir(dir.path()).args(["k.o", "-o", "k"]));
    let output = run_ok(kimage().current_dir(dir.path()).args(["extract", "k", "vmlinux", "--symbols", "-o", "v"]));
    assert!(stderr(&output).contains("the symbol table is the kernel's own"), "{}", stderr(&output));
    assert_eq!(fs::read(path("v")).unwrap(), fs::read(path("k")).unwrap());
}

const COUNT: u64 = 700;

impl Form {
    fn base(self) -> u64 {
        if self.addresses == Addresses::Low {
            0x10_0000
        } else if self.is_64 {
            0xffff_ffff_8010_0000
        } else {
            0xc000_8000
        }
    }

    fn word(self, value: u64) -> Vec<u8> {
        let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
        match (self.order, self.is_64) {
            (Order::Little, true) => little.to_vec(),
            (Order::Little, false) => little[..4].to_vec(),
            (Order::Big, true) => big.to_vec(),
            (Order::Big, false) => big[4..].to_vec(),
        }
    }

    /// Name, class and address; the first is the first byte of the kernel.
    fn symbols(self, cpu: &str) -> Vec<(String, char, u64)> {
        // At irregular distances, as functions have them.
        let steps = noise(usize::try_from(COUNT).unwrap(), 3);
        let place = |n: u64| 32 * n + u64::from(steps[usize::try_from(n).unwrap()] % 8) * 4;
        let class = |n: u64| if n % 3 == 0 { 't' } else { 'T' };
        let function = |n| (format!("{cpu}_function_{n}"), class(n), self.base() + place(n));
        let first = match self.addresses {
            Addresses::Texts | Addresses::Relocated | Addresses::Low => "_stext",
            _ => "_text",
        };
        std::iter::once((first.to_owned(), 'T', self.base())).chain((1..COUNT).map(function)).collect()
    }

    /// The last four bytes of a function, by the architecture manuals.
    fn returns(self, cpu: &str) -> [u8; 4] {
        let word = |word: u32| if self.order == Order::Little { word.to_le_bytes() } else { word.to_be_bytes() };
        match cpu {
            "mips" => word(0x03e0_0008),
            // Little-endian whatever the data is.
            "arm64" => 0xd65f_03c0_u32.to_le_bytes(),
            "arm" => word(0xe12f_ff1e),
            "be8" => 0xe12f_ff1e_u32.to_le_bytes(),
            "thumb" => [0, 0xbf, 0x70, 0x47],
            "powerpc" => word(0x4e80_0020),
            "riscv" => [0x01, 0, 0x82, 0x80],
            "loongarch" => 0x4c00_0020_u32.to_le_bytes(),
            "x86" => [0xc3, 0x90, 0x90, 0x90],
            "sparc" => word(0x81c3_e008),
            "m68k" => [0x4e, 0x75, 0x4e, 0x71],
            "sh" => word(if self.order == Order::Little { 0x0009_000b } else { 0x000b_0009 }),
            "s390" => [0x07, 0xfe, 0x07, 0x07],
            _ => [0; 4],
        }
    }

    fn kernel(self, cpu: &str) -> Vec<u8> {
        self.kernel_of(cpu, &self.symbols(cpu))
    }

    fn kernel_of(self, cpu: &str, symbols: &[(String, char, u64)]) -> Vec<u8> {
        let width = if self.is_64 { 8 } else { 4 };
        let mut out = [&noise(0x4000, 6)[..], BANNER].concat();
        // Each function in front of another ends with a return.
        for (_, _, address) in &symbols[1..] {
            let end = usize::try_from(address - self.base()).unwrap();
            if let Some(slot) = out[..0x4000].get_mut(end - 4..end) {
                slot.copy_from_slice(&self.returns(cpu));
            }
        }
        let unit = width * self.align;
        let align = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(unit), 0);
        let address = |at: usize| self.base() + u64::try_from(at).unwrap();
        let distance = |from: u64, to: u64| self.order.word(to.wrapping_sub(from) as u32);
        align(&mut out);
        let pointers = out.len();
        match self.addresses {
            // Zero until the kernel has started.
            Addresses::Relocated | Addresses::Low => out.resize(out.len() + 100 * width, 0),
            Addresses::Distances => symbols.iter().for_each(|(_, _, address)| out.extend(self.word(*address))),
            Addresses::Texts => {
                let mut names = vec![0];
                for (name, ..) in symbols.iter().take(100) {
                    out.extend(self.word(address(pointers + 100 * width + names.len())));
                    names.extend(name.bytes().chain([0]));
                }
                out.extend(names);
            }
            Addresses::Words | Addresses::Offsets => {}
        }
        align(&mut out);
        let mut base_at = 0;
        match self.addresses {
            Addresses::Words => symbols.iter().for_each(|(_, _, address)| out.extend(self.word(*address))),
            Addresses::Distances => {}
            _ => {
                for (_, _, address) in symbols {
                    out.extend(self.order.word(u32::try_from(address - self.base()).unwrap()));
                }
                align(&mut out);
                base_at = out.len();
                let is_there = !matches!(self.addresses, Addresses::Relocated | Addresses::Low);
                out.extend(self.word(if is_there { self.base() } else { 0 }));
            }
        }
        align(&mut out);
        out.extend(self.order.word(u32::try_from(symbols.len()).unwrap()));
        align(&mut out);
        let (names_at, mut marks) = (out.len(), Vec::new());
        for (index, (name, class, _)) in symbols.iter().enumerate() {
            if index % 256 == 0 {
                marks.push(out.len() - names_at);
            }
            out.push(u8::try_from(name.len() + 1).unwrap());
            out.extend(class.to_string().bytes().chain(name.bytes()));
        }
        align(&mut out);
        marks.iter().for_each(|mark| out.extend(self.order.word(u32::try_from(*mark).unwrap())));
        if self.tokens {
            align(&mut out);
            // Each character stands for itself; those that no name has for nothing that matters.
            let texts: Vec<Vec<u8>> =
                (0..=255).map(|byte| if byte == 0 { b"zero".to_vec() } else { vec![byte] }).collect();
            texts.iter().for_each(|text| out.extend(text.iter().chain(&[0])));
            align(&mut out);
            let mut at = 0_u16;
            for text in &texts {
                out.extend(if self.order == Order::Little { at.to_le_bytes() } else { at.to_be_bytes() });
                at += u16::try_from(text.len()).unwrap() + 1;
            }
        }
        if self.addresses == Addresses::Distances {
            for (_, _, symbol) in symbols {
                let here = address(out.len());
                out.extend(distance(here, *symbol));
            }
        }
        out.extend(noise(100, 9));
        if matches!(self.addresses, Addresses::Relocated | Addresses::Low) {
            out.resize(out.len().next_multiple_of(8), 0);
            let pointers = (0..100).map(|index| (pointers + 8 * index, symbols[index].2));
            // R_AARCH64_RELATIVE; R_390_RELATIVE, and R_390_64 with symbol 0x283.
            let (relative, of_base) = match self.addresses {
                Addresses::Relocated => (0x403, (0x403, self.base())),
                _ => (12, (0x283_0000_0016, 0)),
            };
            let pointers = pointers.map(|(place, value)| (place, (relative, value)));
            for (place, (kind, value)) in pointers.chain([(base_at, of_base)]) {
                [address(place), kind, value].into_iter().for_each(|word| out.extend(self.word(word)));
            }
        }
        out.resize(out.len().next_multiple_of(16), 0);
        out
    }
}

/// What nm says, by address and name.
fn nm(file: &std::path::Path, nm: &std::path::Path) -> Vec<(String, char, u64)> {
    let text = stdout(&run_ok(Command::new(nm).arg(file)));
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2].to_owned(), words[1].chars().next().unwrap(), u64::from_str_radix(words[0], 16).unwrap())
    };
    let mut all: Vec<_> = text.lines().map(line).collect();
    all.sort_by_key(|(_, _, address)| *address);
    all
}

#[test]
fn every_form_of_kallsyms() {
    for (order, is_64) in [(Order::Little, false), (Order::Big, false), (Order::Little, true), (Order::Big, true)] {
        for (addresses, tokens) in [
            (Addresses::Words, true),
            (Addresses::Offsets, true),
            (Addresses::Words, false),
            (Addresses::Offsets, false),
            (Addresses::Texts, true),
        ] {
            comes_out("mips", 8, Form { order, is_64, addresses, align: 1, tokens });
        }
        // Up to 4.19 `.align 4` and `.align 8`, which for many assemblers are powers of two.
        let align = if is_64 { 32 } else { 4 };
        comes_out("mips", 8, Form { order, is_64, addresses: Addresses::Words, align, tokens: true });
        comes_out("mips", 8, Form { order, is_64, addresses: Addresses::Offsets, align, tokens: true });
    }
}

/// A flat kernel that was cut off: where its own symbols say where its data end, that is an error with the place; where they do
/// not, or where less than a page is missing, which linker scripts fill up, it is said that nobody knows.
#[test]
fn where_a_flat_kernel_ends() {
    const END: usize = 0x4_0000;
    let dir = tempdir();
    let verdict = |kernel: &[u8]| {
        let output = run(kimage().arg("verify").arg(support::put(dir.path(), "kernel", kernel)));
        (output.status.code(), stdout(&output))
    };
    let unknown = "good but for ends of files that state no length, which were NOT checked";
    for is_64 in [false, true] {
        let form = Form { order: Order::Little, is_64, addresses: Addresses::Offsets, align: 1, tokens: true };
        let mut symbols = form.symbols("mips");
        symbols.push(("_edata".to_owned(), 'D', form.base() + END as u64));
        let mut kernel = form.kernel_of("mips", &symbols);
        assert!(kernel.len() < END / 2);
        kernel.extend(noise(END - kernel.len() + 40, 5));
        let (status, text) = verdict(&kernel);
        assert!(status == Some(0) && text.contains(": good: "), "{text}");
        let (status, text) = verdict(&kernel[..END - 100]);
        assert!(status == Some(0) && text.contains(unknown) && text.contains("[kernel.no_end]"), "{text}");
        let (status, text) = verdict(&kernel[..END - 0x1_0000]);
        assert!(status == Some(1) && text.contains("[kernel.end]"), "{text}");
        assert!(text.contains("found 196608 bytes, wanted 262144 at least") && text.contains("0x30000"), "{text}");
        let (status, text) = verdict(&form.kernel("mips"));
        assert!(status == Some(0) && text.contains(unknown), "{text}");
    }
}

/// Kernels that do not say where they are linked to in any word of their own.
#[test]
fn kernels_that_relocate_themselves() {
    for order in [Order::Little, Order::Big] {
        for addresses in [Addresses::Relocated, Addresses::Distances] {
            comes_out("arm64", 183, Form { order, is_64: true, addresses, align: 1, tokens: true });
        }
    }
}

/// Its addresses begin at 1 MiB; the image around it tells the CPU.
#[test]
fn s390_kernels() {
    let Some(nm_path) = tool("nm", "binutils") else { return };
    let form = Form { order: Order::Big, is_64: true, addresses: Addresses::Low, align: 1, tokens: true };
    let dir = tempdir();
    let (image, file) = (dir.path().join("k"), dir.path().join("v"));
    fs::write(&image, super::made::s390(&piggy(Codec::Xz, &form.kernel("s390")))).unwrap();
    run_ok(kimage().arg("extract").arg(&image).args(["vmlinux", "--symbols", "-o"]).arg(&file));
    assert_eq!(nm(&file, &nm_path), form.symbols("s390"));
    assert_eq!(fs::read(&file).unwrap()[16..20], [0, 2, 0, 22]);
}

/// The symbols come out as nm reads them, in an ELF file of this machine.
fn comes_out(cpu: &str, machine: u8, form: Form) {
    let Some(nm_path) = tool("nm", "binutils") else { return };
    let dir = tempdir();
    let (inner, file) = (dir.path().join("k"), dir.path().join("v"));
    let kernel = form.kernel(cpu);
    fs::write(&inner, packed(Codec::Gzip, &kernel)).unwrap();
    let output = run(kimage().arg("extract").arg(&inner).args(["vmlinux", "--symbols", "-o"]).arg(&file));
    assert!(output.status.success(), "{form:?}: {}", stderr(&output));
    assert_eq!(nm(&file, &nm_path), form.symbols(cpu), "{form:?}");
    let elf = fs::read(&file).unwrap();
    // The kernel's bytes are in the segment as they are.
    assert!(
        memchr::memmem::find(&elf, &kernel).is_some_and(|at| at % 0x1000 == form.base() as usize % 0x1000),
        "{form:?}"
    );
    assert_eq!(elf[18] | elf[19], machine, "{form:?}");
    assert_eq!(super::fact(&elf, "load_address"), format!("{:#x}", form.base()), "{form:?}");
    // What came out is a kernel that kimage takes for one.
    assert_eq!(super::part(&elf, "vmlinux").len(), elf.len(), "{form:?}");
}

/// The instructions that functions end with tell the CPU; readelf and objdump of the CPU read what comes out.
#[test]
fn the_cpu_by_its_code() {
    for (cpu, binutils, machine, order, is_64, line) in [
        ("arm", "arm-linux-gnueabihf", 40, Order::Little, false, "bx\tlr"),
        ("arm", "arm-linux-gnueabihf", 40, Order::Big, false, "bx\tlr"),
        ("be8", "arm-linux-gnueabihf", 40, Order::Big, false, "bx\tlr"),
        ("thumb", "arm-linux-gnueabihf", 40, Order::Little, false, "bx\tlr"),
        ("arm64", "aarch64-linux-gnu", 183, Order::Little, true, "ret"),
        ("mips", "mips-linux-gnu", 8, Order::Big, false, "jr\tra"),
        ("mips", "mips-linux-gnu", 8, Order::Little, true, "jr\tra"),
        ("powerpc", "powerpc-linux-gnu", 20, Order::Big, false, "blr"),
        ("powerpc", "powerpc-linux-gnu", 21, Order::Little, true, "blr"),
        ("riscv", "riscv64-linux-gnu", 243, Order::Little, true, "ret"),
        ("loongarch", "", 258, Order::Little, true, "ret"),
        ("x86", "x86-64-linux-gnu", 62, Order::Little, true, "ret"),
        ("x86", "x86-64-linux-gnu", 3, Order::Little, false, "ret"),
        ("sparc", "sparc64-linux-gnu", 2, Order::Big, false, "retl"),
        ("m68k", "m68k-linux-gnu", 4, Order::Big, false, "rts"),
        ("sh", "sh4-linux-gnu", 42, Order::Little, false, "rts"),
        ("s390", "s390x-linux-gnu", 22, Order::Big, true, "br\t%r14"),
    ] {
        let form = Form { order, is_64, addresses: Addresses::Offsets, align: 1, tokens: true };
        let dir = tempdir();
        let (inner, file) = (dir.path().join("k"), dir.path().join("v"));
        fs::write(&inner, packed(Codec::Gzip, &form.kernel(cpu))).unwrap();
        let output = run_ok(kimage().arg("extract").arg(&inner).args(["vmlinux", "--symbols", "-o"]).arg(&file));
        assert!(stderr(&output).contains(&format!("{COUNT} symbols from kallsyms")), "{cpu}: {}", stderr(&output));
        let elf = fs::read(&file).unwrap();
        let number = |at| u16::from(elf[at]) << 8 | u16::from(elf[at + 1]);
        let found = if order == Order::Little { number(18).swap_bytes() } else { number(18) };
        assert_eq!(found, machine, "{cpu}");
        let function = &form.symbols(cpu)[40];
        let (start, stop) = (function.2 - 4, function.2);
        // Debian 12 has none for LoongArch.
        if binutils.is_empty() {
            continue;
        }
        let Some(objdump) =
            tool(&format!("{}-objdump", binutils.replace("x86-64", "x86_64")), &format!("binutils-{binutils}"))
        else {
            continue;
        };
        let text = run(Command::new(&objdump)
            .args(["-d", &format!("--start-address={start:#x}"), &format!("--stop-address={stop:#x}")])
            .arg(&file));
        assert!(stdout(&text).contains(line), "{cpu}: {}{}", stdout(&text), stderr(&text));
    }
}

/// The header around a kernel tells its CPU; without one, nor names that do, there is no ELF file.
#[test]
fn what_tells_the_cpu() {
    let form = Form { order: Order::Little, is_64: false, addresses: Addresses::Offsets, align: 1, tokens: true };
    let dir = tempdir();
    let (input, file) = (dir.path().join("z"), dir.path().join("v"));
    let kernel = form.kernel("some");
    let command = || {
        let mut command = kimage();
        command.arg("extract").arg(&input).args(["vmlinux", "--symbols", "-o"]).arg(&file);
        run(&mut command)
    };
    fs::write(&input, zimage(Order::Little, &piggy(Codec::Gzip, &kernel), &[])).unwrap();
    let output = command();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(&file).unwrap()[18], 40);
    fs::write(&input, &kernel).unwrap();
    let output = command();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("neither a header around it nor its code tells its CPU"), "{}", stderr(&output));
    fs::write(&input, super::made::flat_kernel(9000)).unwrap();
    let output = command();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("neither kallsyms"), "{}", stderr(&output));
}

/// Real kernels: Linux 4.19 of an ARM board (18,522 symbols by vmlinux-to-elf 1.4 too, and the same base); 35,892 symbols of an OpenWrt kernel with uncompressed kallsyms, as vmlinux-to-elf 1.4 counts them; Debian's
/// ARM kernels, whose first byte is at PAGE_OFFSET and TEXT_OFFSET of their configuration.
#[test]
fn real_kernels() {
    let dir = tempdir();
    let file = dir.path().join("v");
    let extract = |path: &std::path::Path| {
        run_ok(kimage().arg("extract").arg(path).args(["vmlinux", "--symbols", "-o"]).arg(&file));
        fs::read(&file).unwrap()
    };
    if let Some(wild) = support::wild() {
        let output = run_ok(
            kimage()
                .arg("extract")
                .arg(wild.join("112-vmlinuz-openwrt-x86-64"))
                .args(["vmlinux", "--symbols", "-o"])
                .arg(&file),
        );
        assert!(stderr(&output).contains("35892 symbols"), "{}", stderr(&output));
        // 2.4.18 with modutils' kallsyms: System.map has 17,142 lines, with symbols of sections that are not loaded.
        let output = run_ok(
            kimage()
                .arg("extract")
                .arg(wild.join("062-bzImage-2.4.18"))
                .args(["vmlinux", "--symbols", "-o"])
                .arg(&file),
        );
        assert!(stderr(&output).contains("16742 symbols from kallsyms"), "{}", stderr(&output));
        assert_eq!(super::fact(&fs::read(&file).unwrap(), "load_address"), "0xc0100000");
        // The same kernel, as an ELF file without symbols and flat: it exports the same to modules.
        let exported = ["033-vmlinux-realtek-rlx", "035-vmlinux_img.squish-realtek-lzma"].map(|name| {
            run_ok(kimage().arg("extract").arg(wild.join(name)).args(["vmlinux", "--symbols", "-o"]).arg(&file));
            tool("nm", "binutils")
                .map(|path| nm(&file, &path).into_iter().map(|(name, _, at)| (name, at)).collect::<Vec<_>>())
        });
        assert_eq!(exported[0], exported[1]);
        assert!(exported[0].as_ref().is_none_or(|all| all.len() == 2897));
        for (name, base) in [
            ("001-bzImage-2.6.11-x86_64", "0xffffffff80100000"),
            ("005-uImage-stm32h743", "0xc0008000"),
            ("027-Image-arm-2.6.12", "0xc0008000"),
            ("090-openwrt-tplink-sysupgrade.bin", "0x80060000"),
        ] {
            assert_eq!(super::fact(&extract(&wild.join(name)), "load_address"), base, "{name}");
        }
        let elf = extract(&wild.join("014-zImage-suniv-b"));
        assert_eq!(super::fact(&elf, "load_address"), "0xc0008000");
    }
    for (name, base) in [("bookworm-armhf-armmp", "0xc0208000"), ("bookworm-armel-marvell", "0xc0008000")] {
        let Some(kernel) = support::debian_kernel(name) else { continue };
        assert_eq!(super::fact(&extract(&kernel), "load_address"), base, "{name}");
    }
}

/// gdb and the CPU's disassembler start from what comes out: a place in a function has its name, and its code is code.
#[test]
fn gdb_reads_them() {
    let Some(gdb) = tool("gdb-multiarch", "gdb-multiarch") else { return };
    let dir = tempdir();
    for (name, instruction) in [
        ("bookworm-s390x-s390x", "stmg"),
        ("bookworm-mipsel-4kc-malta", "addiu"),
        ("bookworm-mips64el-5kc-malta", "daddiu"),
        ("bookworm-armhf-armmp", "push"),
        ("bookworm-armel-marvell", "push"),
        ("bookworm-arm64-cloud-arm64", "stp"),
        ("trixie-riscv64-riscv64", "sd"),
        ("bookworm-i386-686", "push"),
    ] {
        let Some(kernel) = support::debian_kernel(name) else { continue };
        run_ok(kimage().current_dir(dir.path()).arg("extract").arg(kernel).args(["vmlinux", "--symbols", "-o", "v"]));
        let mut command = Command::new(&gdb);
        command.current_dir(dir.path()).args(["-batch", "-nx", "-ex", "info symbol (char *)&schedule + 4"]);
        let said = stdout(&run_ok(command.args(["-ex", "x/12i &schedule", "v"])));
        assert!(said.contains("schedule + 4 in section .text"), "{name}: {said}");
        assert!(
            said.lines().any(|line| line.split('\t').nth(1).is_some_and(|it| it.starts_with(instruction))),
            "{name}: {said}"
        );
    }
}

/// None of the symbols is wrong: the build's own System.map has each, at its address. Of 2.4.18 it has those of sections, too,
/// and of others what is no code, which their kallsyms leave out.
#[test]
fn none_is_wrong_beside_the_builds_system_map() {
    let Some(nm_path) = tool("nm", "binutils") else { return };
    let dir = tempdir();
    let file = dir.path().join("v");
    let compare = |image: &std::path::Path, map: &[u8], least: usize| {
        run_ok(kimage().arg("extract").arg(image).args(["vmlinux", "--symbols", "-o"]).arg(&file));
        let line = |line: &str| {
            let (address, rest) = line.split_once(' ').unwrap();
            (u64::from_str_radix(address, 16).unwrap(), rest.split_once(' ').unwrap().1.to_owned())
        };
        let map: std::collections::HashSet<(u64, String)> =
            std::str::from_utf8(map).unwrap().lines().map(line).collect();
        let found = nm(&file, &nm_path);
        // ARM's marks of code are kimage's own.
        let found: Vec<_> = found.into_iter().filter(|(name, ..)| !name.starts_with('$')).collect();
        let wrong = found.iter().find(|(name, _, address)| !map.contains(&(*address, name.clone())));
        assert!(wrong.is_none() && found.len() >= least, "{}: {}, {wrong:?}", image.display(), found.len());
    };
    let old = [
        ("2.4.18-i386", "bzImage", 16742),
        ("2.6.26.5-x86", "compressed/vmlinux.bin.gz", 32992),
        ("arm-4.15-xip", "xipImage", 12148),
    ];
    // The archive has one of their files as a link to another tree's.
    let names = old.map(|(tree, ..)| tree).into_iter().chain(["mixed/a-2.6.22-setup/vmlinux"]);
    let Some(trees) = support::old_trees(names) else { return };
    for (tree, image, least) in old {
        let tree = trees.path().join(tree);
        compare(&tree.join(image), &fs::read(tree.join("System.map")).unwrap(), least);
    }
}
