//! The command under limits of memory and time.

use super::*;

/// The command on a file, with 256 MiB of address space and 10 seconds: it ends by itself, with a word if it fails.
#[track_caller]
fn within_limits(what: &str, args: &[&str], input: &[u8]) -> bool {
    let Some(prlimit) = tool("prlimit", "util-linux") else { return false };
    let dir = tempdir();
    let path = dir.path().join("input");
    fs::write(&path, input).unwrap();
    let mut command = Command::new(prlimit);
    command.args(["--as=268435456", "--cpu=10", "--core=0", "--"]).arg(support::kimage_path());
    let output = run(command.args(args).arg(&path).args(["-o", "/dev/null"]));
    let said = stderr(&output);
    match output.status.code() {
        Some(0) => true,
        Some(1) => {
            assert!(said.contains("error"), "{what} {args:?}: {said}");
            false
        }
        _ => panic!("{what} {args:?}: {} {said}", output.status),
    }
}

/// A number in a header is no reason to allocate.
#[test]
fn no_memory_for_a_headers_number() {
    let image = ["image"].as_slice();
    for (is_64, big_endian, machine) in VARIANTS {
        let input = program(is_64, big_endian, machine);
        let [_, segments, sections, symbols] = elf_tables(&input);
        let (word, shentsize) = if is_64 { (8, 64) } else { (4, 40) };
        let symtab = sections.clone().step_by(shentsize).rev().nth(2).unwrap();
        let section = |index: usize, field: usize| (sections.start + index * shentsize + field, word);
        let (sh_addr, sh_offset, sh_size) = (8 + word, 8 + 2 * word, 8 + 3 * word);
        let (paddr, memsz) = if is_64 { (24, 40) } else { (12, 20) };
        let counts = if is_64 { 56 } else { 44 };
        for (what, number, value) in [
            ("e_shnum", (counts + 4, 2), 0xffff),
            ("e_shnum", (counts + 4, 2), 0),
            ("e_phnum", (counts, 2), 0xffff),
            ("sh_size of section 0", section(0, sh_size), u64::MAX),
            ("sh_size of .text", section(1, sh_size), u64::MAX),
            ("sh_size of .bss", section(4, sh_size), u64::MAX),
            ("sh_size of .bss", section(4, sh_size), 0x3fff_ffff),
            ("sh_size of .symtab", (symtab + sh_size, word), u64::MAX / 2),
            ("sh_offset of .data", section(3, sh_offset), u64::MAX),
            ("sh_addr of .data", section(3, sh_addr), u64::MAX),
            ("sh_addr of .data", section(3, sh_addr), 0x3fff_0000),
            ("p_paddr", (segments.start + paddr, word), u64::MAX),
            ("p_paddr", (segments.start + paddr, word), 0x3fff_0000),
            ("p_memsz", (segments.start + memsz, word), u64::MAX),
            ("st_name", (symbols.start + 24, 4), u64::MAX),
        ] {
            let mut bytes = input.clone();
            put(&mut bytes, big_endian, number, value);
            let what = format!("machine {machine}, {what} {value:#x}");
            within_limits(&what, image, &bytes);
            match machine {
                40 => within_limits(&what, &["zimage"], &bytes),
                _ => within_limits(&what, &["uimage", "-A", "arm"], &bytes),
            };
        }
    }
}

/// A zImage is flattened in memory; its load addresses must not say how much.
#[test]
fn no_memory_for_a_scattered_zimage() {
    for distance in [0x780_0000_u64, 0x1000_0000, 0x3000_0000, 0x7000_0000] {
        let mut elf = Builder::new(false, false, 40);
        let mut text = vec![0; 0x40];
        for (at, word) in [(0x24, 0x016f_2818), (0x28, 0), (0x2c, distance as u32 + 4)] {
            text[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        elf.section(".text", SHT_PROGBITS, SHF_ALLOC, 0, &text);
        elf.section(".data", SHT_PROGBITS, SHF_ALLOC, distance, &[1; 4]);
        elf.symbol("input_data", 0, GLOBAL, 1);
        elf.symbol("_edata", distance + 4, GLOBAL, 2);
        assert!(!within_limits(&format!("data at {distance:#x}"), &["zimage"], &elf.build()));
    }
}

/// Empty sections grow into the gaps behind them; 65000 of them are no reason to think for minutes.
#[test]
fn many_empty_sections_take_no_time() {
    let mut elf = Builder::new(true, false, 62);
    for index in 0..65_000 {
        elf.section("", SHT_PROGBITS, SHF_ALLOC, 0x1000 + 2 * index, &[]);
    }
    elf.section(".data", SHT_PROGBITS, SHF_ALLOC, 0x30_0000, b"end");
    let bytes = elf.build();
    within_limits("empty sections", &["image"], &bytes);
    assert!(within_limits("empty sections", &["image", "--gap-fill", "7"], &bytes));
    // One byte each, every one over the one before.
    let mut elf = Builder::new(true, false, 62);
    for index in 0..60_000 {
        elf.section("", SHT_PROGBITS, SHF_ALLOC, 0x10_0000 - index, &[index as u8; 9]);
    }
    assert!(within_limits("overlapping sections", &["image", "--gap-fill", "7", "--pad-to", "0x200000"], &elf.build()));
}

/// Headers and symbols that all name the same megabytes, sections that all have the same contents.
#[test]
fn shared_names_and_contents_take_no_time() {
    let shared = |kind: u32, flags: u64| {
        let mut elf = Builder::new(true, false, 62);
        elf.section(".text", SHT_PROGBITS, SHF_ALLOC, 0, &vec![b'x'; 8 << 20]);
        let (offset, size) = (elf.sections[1].offset, 8 << 20);
        for _ in 0..60_000 {
            elf.header(Section { kind, flags, offset, size, ..Section::default() });
        }
        elf
    };
    // Every section name, and every symbol's name, is all of .text.
    let mut elf = shared(SHT_STRTAB, 0);
    (0..400_000).for_each(|_| elf.symbol("", 0, GLOBAL, 1));
    let mut bytes = elf.build();
    let [_, _, sections, _] = elf_tables(&bytes);
    bytes[62..64].copy_from_slice(&1_u16.to_le_bytes());
    within_limits("shared section names", &["image"], &bytes);
    let mut bytes = elf.build();
    // sh_offset and sh_size of .text go to .strtab, the last but one.
    let (text, strtab) = (sections.start + 64, sections.end - 2 * 64);
    bytes.copy_within(text + 24..text + 40, strtab + 24);
    within_limits("shared symbol names", &["zoffset"], &bytes);
    // No banner anywhere, but it must be looked for.
    let bytes = shared(SHT_PROGBITS, SHF_ALLOC).build();
    within_limits("shared contents", &["uimage"], &bytes);
    within_limits("shared contents", &["image"], &bytes);
}

/// A zImage full of gzip's magic number, each of which could begin the payload.
#[test]
fn many_payloads_take_no_time() {
    let mut bytes = [0x1f, 0x8b, 8].repeat(700_000);
    for (at, word) in [(0x24, 0x016f_2818_u32), (0x28, 0), (0x2c, bytes.len() as u32)] {
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    assert!(within_limits("gzip magics", &["uimage"], &bytes));
}

/// Nor are 600 MiB between two sections, where a kernel is held against what its build would make of it.
#[test]
fn no_memory_for_what_lies_between_sections() {
    let mut far = Builder::new(true, false, 183);
    let at = 0xffff_8000_0800_0000;
    let banner = b"code Linux version 6.1.0-far (someone@somewhere) #1\n\0";
    let text = far.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, at, banner);
    let data = far.section(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, at + (600 << 20), b"data");
    far.segment(PT_LOAD, text..text + 1, 0x4000_0000);
    far.segment(PT_LOAD, data..data + 1, 0x4000_0000 + (600 << 20));
    let far = far.build();
    let error = assemble::payload(&far).unwrap_err().to_string();
    assert!(error.contains("holes of more than 64 MiB between its sections"), "{error}");

    let Some(prlimit) = tool("prlimit", "util-linux") else { return };
    let mut flat = vec![0; 64];
    flat[16..18].copy_from_slice(&[0, 1]);
    flat[56..60].copy_from_slice(b"ARM\x64");
    flat.extend(&banner[5..]);
    let dir = tempdir();
    fs::write(dir.path().join("far"), far).unwrap();
    fs::write(dir.path().join("flat"), flat).unwrap();
    for args in [vec!["verify", "flat", "--against", "far"], vec!["diff", "far", "flat"]] {
        let mut command = Command::new(&prlimit);
        command.args(["--as=268435456", "--cpu=10", "--core=0", "--"]).arg(support::kimage_path());
        let output = run(command.args(&args).current_dir(dir.path()));
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
    }
}
