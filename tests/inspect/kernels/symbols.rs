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
    /// The same, and no symbol is the first byte: the exported functions tell it, by distances (from 4.19 on).
    Exported,
    /// The base and all pointers stand in a RELA table alone (arm64 up to 6.1 and where the linker knows no RELR).
    Relocated,
    /// From the place where each stands (7.2): pointers tell the rest.
    Distances,
}

const COUNT: u64 = 700;

impl Form {
    fn base(self) -> u64 {
        if self.is_64 { 0xffff_ffff_8010_0000 } else { 0xc000_8000 }
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
            Addresses::Exported | Addresses::Relocated => "_stext",
            _ => "_text",
        };
        std::iter::once((first.to_owned(), 'T', self.base())).chain((1..COUNT).map(function)).collect()
    }

    fn kernel(self, cpu: &str) -> Vec<u8> {
        let symbols = self.symbols(cpu);
        let width = if self.is_64 { 8 } else { 4 };
        let mut out = [&noise(0x4000, 6)[..], BANNER].concat();
        let unit = width * self.align;
        let align = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(unit), 0);
        let address = |at: usize| self.base() + u64::try_from(at).unwrap();
        let distance = |from: u64, to: u64| self.order.word(to.wrapping_sub(from) as u32);
        align(&mut out);
        let pointers = out.len();
        match self.addresses {
            // Zero until the kernel has started.
            Addresses::Relocated => out.resize(out.len() + 100 * width, 0),
            Addresses::Distances => symbols.iter().for_each(|(_, _, address)| out.extend(self.word(*address))),
            Addresses::Exported => {
                let names_at = out.len() + 100 * 8;
                let mut names = vec![0];
                for (index, (name, _, function)) in
                    symbols.iter().filter(|(_, class, _)| *class == 'T').take(100).enumerate()
                {
                    let here = address(pointers + 8 * index);
                    let name_at = address(names_at + names.len());
                    out.extend(distance(here, *function));
                    out.extend(distance(here + 4, name_at));
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
                for (_, _, address) in &symbols {
                    out.extend(self.order.word(u32::try_from(address - self.base()).unwrap()));
                }
                align(&mut out);
                base_at = out.len();
                out.extend(self.word(if self.addresses == Addresses::Relocated { 0 } else { self.base() }));
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
            for (_, _, symbol) in &symbols {
                let here = address(out.len());
                out.extend(distance(here, *symbol));
            }
        }
        out.extend(noise(100, 9));
        if self.addresses == Addresses::Relocated {
            out.resize(out.len().next_multiple_of(8), 0);
            let pointers = (0..100).map(|index| (pointers + 8 * index, symbols[index].2));
            for (place, value) in pointers.chain([(base_at, self.base())]) {
                // R_AARCH64_RELATIVE.
                [address(place), 0x403, value].into_iter().for_each(|word| out.extend(self.word(word)));
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
            (Addresses::Exported, true),
        ] {
            comes_out("mips", 8, Form { order, is_64, addresses, align: 1, tokens });
        }
        // Up to 4.19 `.align 4` and `.align 8`, which for many assemblers are powers of two.
        let align = if is_64 { 32 } else { 4 };
        comes_out("mips", 8, Form { order, is_64, addresses: Addresses::Words, align, tokens: true });
        comes_out("mips", 8, Form { order, is_64, addresses: Addresses::Offsets, align, tokens: true });
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
    assert!(stderr(&output).contains("neither a header around it nor its symbols tell its CPU"), "{}", stderr(&output));
    fs::write(&input, super::made::flat_kernel(9000)).unwrap();
    let output = command();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no kallsyms"), "{}", stderr(&output));
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
        let elf = extract(&wild.join("014-zImage-suniv-b"));
        assert_eq!(super::fact(&elf, "load_address"), "0xc0008000");
    }
    for (name, base) in [("bookworm-armhf-armmp", "0xc0208000"), ("bookworm-armel-marvell", "0xc0008000")] {
        let Some(kernel) = support::debian_kernel(name) else { continue };
        assert_eq!(super::fact(&extract(&kernel), "load_address"), base, "{name}");
    }
}
