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
    /// Offsets from a base, or an address each.
    offsets: bool,
    /// With a table of tokens, or names as they are (OpenWrt's CONFIG_KALLSYMS_UNCOMPRESSED).
    tokens: bool,
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
        let function = |n| (format!("{cpu}_function_{n}"), if n % 3 == 0 { 't' } else { 'T' }, self.base() + 16 * n);
        std::iter::once(("_text".to_owned(), 'T', self.base())).chain((1..COUNT).map(function)).collect()
    }

    fn kernel(self, cpu: &str) -> Vec<u8> {
        let symbols = self.symbols(cpu);
        let width = if self.is_64 { 8 } else { 4 };
        let mut out = [&noise(0x4000, 6)[..], BANNER].concat();
        let align = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(8), 0);
        align(&mut out);
        if self.offsets {
            for (_, _, address) in &symbols {
                out.extend(self.order.word(u32::try_from(address - self.base()).unwrap()));
            }
            out.resize(out.len().next_multiple_of(width), 0);
            out.extend(self.word(self.base()));
        } else {
            symbols.iter().for_each(|(_, _, address)| out.extend(self.word(*address)));
        }
        out.extend(self.order.word(u32::try_from(symbols.len()).unwrap()));
        out.resize(out.len().next_multiple_of(width), 0);
        let (names_at, mut marks) = (out.len(), Vec::new());
        for (index, (name, class, _)) in symbols.iter().enumerate() {
            if index % 256 == 0 {
                marks.push(out.len() - names_at);
            }
            out.push(u8::try_from(name.len() + 1).unwrap());
            out.extend(class.to_string().bytes().chain(name.bytes()));
        }
        out.resize(out.len().next_multiple_of(width), 0);
        marks.iter().for_each(|mark| out.extend(self.order.word(u32::try_from(*mark).unwrap())));
        if self.tokens {
            out.resize(out.len().next_multiple_of(width), 0);
            // Each character stands for itself; those that no name has for nothing that matters.
            let texts: Vec<Vec<u8>> =
                (0..=255).map(|byte| if byte == 0 { b"zero".to_vec() } else { vec![byte] }).collect();
            texts.iter().for_each(|text| out.extend(text.iter().chain(&[0])));
            out.resize(out.len().next_multiple_of(width), 0);
            let mut at = 0_u16;
            for text in &texts {
                out.extend(if self.order == Order::Little { at.to_le_bytes() } else { at.to_be_bytes() });
                at += u16::try_from(text.len()).unwrap() + 1;
            }
        }
        out.extend(noise(100, 9));
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
    let Some(nm_path) = tool("nm", "binutils") else { return };
    let dir = tempdir();
    let (inner, file) = (dir.path().join("k"), dir.path().join("v"));
    for (order, is_64) in [(Order::Little, false), (Order::Big, false), (Order::Little, true), (Order::Big, true)] {
        for (offsets, tokens) in [(false, true), (true, true), (false, false), (true, false)] {
            let form = Form { order, is_64, offsets, tokens };
            let kernel = form.kernel("mips");
            fs::write(&inner, packed(Codec::Gzip, &kernel)).unwrap();
            run_ok(kimage().arg("extract").arg(&inner).args(["vmlinux", "--symbols", "-o"]).arg(&file));
            assert_eq!(nm(&file, &nm_path), form.symbols("mips"), "{form:?}");
            let elf = fs::read(&file).unwrap();
            // The kernel's bytes are in the segment as they are, and MIPS is 8.
            assert!(memchr::memmem::find(&elf, &kernel).is_some_and(|at| at % 0x1000 == 0), "{form:?}");
            assert_eq!(elf[18] | elf[19], 8, "{form:?}");
            assert_eq!(super::fact(&elf, "load_address"), format!("{:#x}", form.base()), "{form:?}");
            // What came out is a kernel that kimage takes for one.
            assert_eq!(super::part(&elf, "vmlinux").len(), elf.len(), "{form:?}");
        }
    }
}

/// The header around a kernel tells its CPU; without one, nor names that do, there is no ELF file.
#[test]
fn what_tells_the_cpu() {
    let form = Form { order: Order::Little, is_64: false, offsets: true, tokens: true };
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

/// Real kernels: 35,892 symbols of an OpenWrt kernel with uncompressed kallsyms, as vmlinux-to-elf 1.4 counts them; Debian's
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
    }
    for (name, base) in [("bookworm-armhf-armmp", "0xc0208000"), ("bookworm-armel-marvell", "0xc0008000")] {
        let Some(kernel) = support::debian_kernel(name) else { continue };
        assert_eq!(super::fact(&extract(&kernel), "load_address"), base, "{name}");
    }
}
