//! What is read is what others read.

use super::generate::{Rng, generate};
use super::*;

/// goblin reads what kimage reads: header, segments, sections, symbols, to the last field that kimage keeps.
fn same_as_goblin(what: &str, bytes: &[u8]) -> usize {
    let ours = Elf::parse(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let theirs = goblin::elf::Elf::parse(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let kind = match ours.kind() {
        Kind::Relocatable => goblin::elf::header::ET_REL,
        Kind::Executable => goblin::elf::header::ET_EXEC,
        Kind::Dynamic => goblin::elf::header::ET_DYN,
        Kind::Other(other) => other,
    };
    assert_eq!(
        (ours.is_64(), ours.endian() == Endian::Little, kimage::internals::elf::machine(&ours), kind, ours.entry()),
        (theirs.is_64, theirs.little_endian, theirs.header.e_machine, theirs.header.e_type, theirs.entry),
        "{what}"
    );
    assert_eq!(ours.segments().len(), theirs.program_headers.len(), "{what}");
    for (ours, theirs) in ours.segments().iter().zip(&theirs.program_headers) {
        let theirs = elf::Segment {
            kind: theirs.p_type,
            flags: theirs.p_flags,
            offset: theirs.p_offset,
            vaddr: theirs.p_vaddr,
            paddr: theirs.p_paddr,
            filesz: theirs.p_filesz,
            memsz: theirs.p_memsz,
            align: theirs.p_align,
        };
        assert_eq!(*ours, theirs, "{what}");
    }
    assert_eq!(ours.sections().len(), theirs.section_headers.len(), "{what}");
    for (section, header) in ours.sections().iter().zip(&theirs.section_headers) {
        let theirs = elf::Section {
            name: theirs.shdr_strtab.get_at(header.sh_name).unwrap().as_bytes(),
            kind: header.sh_type,
            flags: header.sh_flags,
            addr: header.sh_addr,
            offset: header.sh_offset,
            size: header.sh_size,
            link: header.sh_link,
            info: header.sh_info,
            align: header.sh_addralign,
            entsize: header.sh_entsize,
        };
        assert_eq!(*section, theirs, "{what}");
        if let Some(range) = header.file_range() {
            assert_eq!(ours.contents(section).unwrap(), &bytes[range], "{what} {}", section.name());
        }
    }
    let symbols: Vec<elf::Symbol<'_>> = ours.symbols().map_or_else(|_| Vec::new(), Iterator::collect);
    assert_eq!(symbols.len(), theirs.syms.len().saturating_sub(1), "{what}");
    for (ours, symbol) in symbols.iter().zip(theirs.syms.iter().skip(1)) {
        let theirs = elf::Symbol {
            name: theirs.strtab.get_at(symbol.st_name).unwrap().as_bytes(),
            value: symbol.st_value,
            kind: symbol.st_type(),
            binding: symbol.st_bind(),
            section: symbol.st_shndx as u32 | if symbol.st_shndx >= 0xff00 { RESERVED } else { 0 },
        };
        assert_eq!(*ours, theirs, "{what}");
    }
    symbols.len()
}

#[test]
fn goblin_reads_the_same() {
    let (mut files, mut symbols) = (0, 0);
    for path in corpus().iter().flat_map(|tree| elf_files(&tree.dir)).chain(elf_files(&support::testdata("tiny"))) {
        symbols += same_as_goblin(&path.display().to_string(), &read(&path));
        files += 1;
    }
    assert!(files >= 3 && symbols > 100, "{files} files, {symbols} symbols");
    for case in 0..300 {
        let mut elf = generate(&mut Rng(case));
        elf.symbol("first", case, 0, 1);
        elf.symbol("last", u64::from(u32::MAX), GLOBAL, SHN_ABS);
        assert_eq!(same_as_goblin(&format!("case {case}"), &elf.build()), 2);
    }
}

const SHN_UNDEF: u32 = 0;
/// What kimage adds to reserved section indices: some files have as many sections.
const RESERVED: u32 = 0xffff_0000;
const SHN_COMMON: u32 = RESERVED | 0xfff2;

/// `nm -p` (in table order) prints what kimage makes of each symbol.
fn same_as_nm(nm: &Path, path: &Path) -> usize {
    let output = run_ok(Command::new(nm).env("LC_ALL", "C").args(["-p", "--special-syms"]).arg(path));
    let bytes = read(path);
    let elf = Elf::parse(&bytes).unwrap();
    let width = if elf.is_64() { 16 } else { 8 };
    let mut ours = String::new();
    let mut count = 0;
    for symbol in elf.symbols().unwrap() {
        let Some(class) = kimage::internals::elf::nm_class(&elf, &symbol) else { continue }; // no gap: debugging symbols
        let value = match symbol.section {
            SHN_UNDEF => " ".repeat(width),
            // nm prints the size, which kimage does not keep: generated files have 0, corpus files have no such symbol.
            SHN_COMMON => "0".repeat(width),
            _ => format!("{:0width$x}", symbol.value),
        };
        ours += &format!("{value} {class} {}\n", String::from_utf8_lossy(symbol.name));
        count += 1;
    }
    let theirs = stdout(&output);
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{}", path.display());
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{}", path.display());
    count
}

#[test]
fn nm_prints_the_same() {
    let Some(nm) = tool("nm", "binutils") else { return };
    let mut kernels = 0;
    for path in corpus().iter().flat_map(|tree| elf_files(&tree.dir)).chain(elf_files(&support::testdata("tiny"))) {
        if Elf::parse(&read(&path)).unwrap().symbols().is_ok() {
            kernels += usize::from(same_as_nm(&nm, &path) > 1000);
        }
    }
    assert!(kernels >= corpus().len(), "{kernels} kernels");
}

/// More sections than 16 bits count: section numbers stand elsewhere then (`SHN_XINDEX`).
#[test]
fn more_sections_than_sixteen_bits_count() {
    let (Some(assembler), Some(nm), Some(objcopy)) = (tool("as", "binutils"), tool("nm", "binutils"), objcopy()) else {
        return;
    };
    let dir = tempdir();
    let (source, object) = (dir.path().join("many.s"), dir.path().join("many.o"));
    let section = |index: usize| {
        let flags = ["a", "aw", "ax", ""][index % 4];
        format!(".section .s{index},\"{flags}\"\nlocal{index}: .globl g{index}\ng{index}: .byte {}\n", index % 255 + 1)
    };
    fs::write(&source, (0..66_000).map(section).collect::<String>()).unwrap();
    run_ok(Command::new(assembler).arg("-o").arg(&object).arg(&source));
    assert!(Elf::parse(&read(&object)).unwrap().sections().len() > 66_000);
    assert_eq!(same_as_nm(&nm, &object), 2 * 66_000);
    // All of them at address 0, one over the other.
    assert_eq!(same(&objcopy, dir.path(), "many.o", &object, &Options::new(&[], None, None)), Outcome::Same);
    let options = Options::new(&["*[02468]"], Some(1), Some(9));
    assert_eq!(same(&objcopy, dir.path(), "many.o", &object, &options), Outcome::Same);
}

/// Every kind of section by every kind of symbol.
#[test]
fn nm_has_the_same_letters() {
    let Some(nm) = tool("nm", "binutils") else { return };
    let dir = tempdir();
    let path = dir.path().join("elf");
    const NAMES: [&str; 28] = [
        ".text",
        ".data",
        ".bss",
        ".rodata",
        ".comment",
        ".note",
        ".debug_info",
        ".debug",
        ".debug.x",
        ".debug1",
        ".debugger",
        ".zdebug_line",
        ".line",
        ".stab",
        ".stabstr",
        ".gdb_index",
        ".gnu.debuglto_.debug_info",
        ".sdata",
        ".sbss",
        ".sdata2",
        ".scommon",
        ".drectve",
        ".edata",
        ".edata.x",
        ".idata$2",
        ".pdata9",
        ".pdatax",
        ".gnu.linkonce.wi.x",
    ];
    for (is_64, big_endian, machine) in
        [(true, false, 62), (false, false, 3), (true, true, 0x1234), (false, true, 8), (false, false, 40)]
    {
        let mut elf = Builder::new(is_64, big_endian, machine);
        let mut letters = 0;
        for name in NAMES {
            for flags in 0..16 {
                let bits = [SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS];
                let flags =
                    bits.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, flag)| flag).sum();
                for kind in [SHT_PROGBITS, SHT_NOBITS, SHT_NOTE] {
                    let (offset, addr) = (elf.at(), 0x1000 * elf.sections.len() as u64);
                    let section =
                        Section { name: name.to_owned(), kind, flags, addr, offset, size: 8, ..Section::default() };
                    let index = elf.header(section) as u16;
                    for info in [0, 1, GLOBAL, GLOBAL | 2] {
                        elf.symbol(&format!("s{letters}"), addr + 4, info, index);
                        letters += 1;
                    }
                }
            }
        }
        elf.skip(8);
        // Bindings LOCAL, GLOBAL, WEAK, GNU_UNIQUE by types NOTYPE, OBJECT, FUNC, COMMON, TLS, GNU_IFUNC by places
        // undefined, in a section, absolute, common.
        for binding in [0, 1, 2, 10] {
            for kind in [0, 1, 2, 5, 6, 10] {
                for (place, section) in
                    [("undefined", 0), ("here", 2), ("absolute", SHN_ABS), ("common", SHN_COMMON as u16)]
                {
                    elf.symbol(&format!("{place}{binding}{kind}"), 0x10, binding << 4 | kind, section);
                }
            }
        }
        // Local symbols stand first.
        elf.symbols.sort_by_key(|symbol| symbol.info >> 4 != 0);
        fs::write(&path, elf.build()).unwrap();
        assert!(same_as_nm(&nm, &path) > 5000);
    }
}
