//! GNU objcopy, llvm-objcopy, nm and goblin as oracles for all that kimage reads of ELF files.
//!
//! - `kimage image` gives the bytes of `objcopy -O binary` with the same -R, --gap-fill and --pad-to: for kernels, for
//!   the programs of this system, and for generated files with everything a linker script can do to load addresses.
//! - Where llvm-objcopy has the same opinion (linked kernels), it is asked too.
//! - Every header field and symbol is read as goblin, an independent reader, reads it.
//! - The class letter and value of every symbol are those that nm prints.
//!
//! `KIMAGE_SEED=n` generates other files, `KIMAGE_CASES=n` more or fewer of them.

#[path = "support/elf.rs"]
mod elf_builder;
mod support;

use elf_builder::{
    Builder, ET_EXEC, ET_REL, GLOBAL, PT_LOAD, PT_NOTE, PT_TLS, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHN_ABS,
    SHT_INIT_ARRAY, SHT_NOBITS, SHT_NOTE, SHT_PROGBITS, Section, Segment,
};
use kimage::assemble;
use kimage::bytes::Endian;
use kimage::elf::{self, Elf, FlatOptions, Kind, RemoveList};
use kimage::error::InputError;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Tree, assert_same, corpus, kimage, read, run, run_ok, stderr, stdout, tempdir, tool};

fn objcopy() -> Option<PathBuf> {
    tool("objcopy", "binutils")
}

/// What to flatten with: the options of both.
#[derive(Debug, Clone, Default)]
struct Options {
    remove: Vec<String>,
    gap_fill: Option<u8>,
    pad_to: Option<u64>,
    /// Neither may write more: two sections can be a universe apart. objcopy is held to it by the system.
    max_size: u64,
}

impl Options {
    fn new(remove: &[&str], gap_fill: Option<u8>, pad_to: Option<u64>) -> Options {
        Options { remove: remove.iter().map(|name| (*name).to_owned()).collect(), gap_fill, pad_to, max_size: 64 << 20 }
    }

    /// As objcopy and kimage both spell them.
    fn args(&self) -> Vec<String> {
        let removed = self.remove.iter().flat_map(|name| ["-R".to_owned(), name.clone()]);
        let gap_fill = self.gap_fill.map(|byte| format!("--gap-fill={byte:#x}"));
        let pad_to = self.pad_to.map(|address| format!("--pad-to={address:#x}"));
        removed.chain(gap_fill).chain(pad_to).collect()
    }

    fn flat(&self) -> FlatOptions {
        let remove = RemoveList::new(&self.remove).unwrap();
        FlatOptions { remove, gap_fill: self.gap_fill, pad_to: self.pad_to, max_size: self.max_size }
    }
}

fn run_objcopy(objcopy: &Path, elf: &Path, options: &Options, out: &Path) -> Output {
    let mut command = Command::new("prlimit");
    command.env("LC_ALL", "C").arg(format!("--fsize={}", options.max_size)).args(["--core=0", "--"]).arg(objcopy);
    // The native GNU objcopy has backends for x86 alone; its generic ones are for every machine that has no backend,
    // but must be asked for by name.
    let head = start(elf);
    let machine = if head[5] == 2 { [head[19], head[18]] } else { [head[18], head[19]] };
    if objcopy.ends_with("objcopy") && ![3, 62].contains(&u16::from_le_bytes(machine)) {
        let (class, order) = (32 * u32::from(head[4]), if head[5] == 2 { "big" } else { "little" });
        command.arg(format!("--input-target=elf{class}-{order}"));
    }
    run(command.args(["-O", "binary"]).args(options.args()).arg(elf).arg(out))
}

/// What came of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Same,
    /// Nothing is left to load.
    Empty,
    /// Over the limit.
    TooLarge,
}

/// The library and objcopy on the same file come to the same.
#[track_caller]
fn same(objcopy: &Path, dir: &Path, what: &str, elf: &Path, options: &Options) -> Outcome {
    use elf::Error::{NothingToLoad, PadTooFar, SectionTooLarge, TooLarge};
    let out = dir.join("theirs");
    let output = run_objcopy(objcopy, elf, options, &out);
    let theirs = output.status.success().then(|| read(&out));
    let what = format!("{what} {}", options.args().join(" "));
    let said = format!("{what}: objcopy says {} {}", output.status, stderr(&output));
    match assemble::image(&read(elf), &options.flat()) {
        Ok(image) => {
            let mut got = Vec::new();
            image.emit(&mut got).unwrap();
            assert_same(&what, &got, &theirs.unwrap_or_else(|| panic!("{said}")));
            Outcome::Same
        }
        Err(kimage::Error::Input { source: InputError::Elf(NothingToLoad), .. }) => {
            assert_eq!(theirs.map(|bytes| bytes.len()), Some(0), "{said}");
            Outcome::Empty
        }
        Err(kimage::Error::Input {
            source: InputError::Elf(TooLarge { .. } | SectionTooLarge { .. } | PadTooFar { .. }),
            ..
        }) => {
            assert_eq!(theirs.map(|bytes| bytes.len()), None, "{said}");
            Outcome::TooLarge
        }
        Err(error) => panic!("{error}; {said}"),
    }
}

fn tiny(name: &str) -> PathBuf {
    support::testdata("tiny").join(name)
}

/// The linked ELF files of a tree that are flattened in a build, and some that could be.
fn linked(tree: &Tree) -> Vec<PathBuf> {
    let files = [
        "vmlinux",
        "vmlinux.unstripped",
        "arch/x86/boot/compressed/vmlinux",
        "arch/x86/boot/setup.elf",
        "arch/arm/boot/compressed/vmlinux",
    ];
    files.iter().map(|file| tree.path(file)).filter(|path| path.is_file()).collect()
}

/// The first bytes of a file; zeros where there is none.
fn start(path: &Path) -> [u8; 20] {
    let mut bytes = [0; 20];
    if let Ok(mut file) = fs::File::open(path) {
        // Shorter files are no ELF files.
        let _ = file.read_exact(&mut bytes);
    }
    bytes
}

fn is_elf(path: &Path) -> bool {
    start(path).starts_with(b"\x7fELF")
}

/// Every ELF file of a tree, objects and all.
fn elf_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(elf_files(&path));
        } else if is_elf(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn kernels() {
    let Some(objcopy) = objcopy() else { return };
    let dir = tempdir();
    for tree in corpus() {
        for path in linked(tree) {
            let bytes = read(&path);
            let base = assemble::image(&bytes, &FlatOptions::default()).unwrap();
            let kimage::assemble::Facts::Flat { base: start, .. } = base.facts else { unreachable!() };
            let end = start.0 + base.plan.len();
            for options in [
                Options::new(&[], None, None),
                Options::new(&[".note", ".comment"], None, None),
                Options::new(&[".note*", ".comment"], Some(0xff), None),
                Options::new(&["*"], None, None),
                Options::new(&["*", "!.text", "!.*data"], None, None),
                Options::new(&[".[rd]*"], Some(0x5a), Some(end + 0x1001)),
                Options::new(&[".?ext", ".bss"], Some(0), Some(end - 1)),
                Options::new(&["!.text", ".text"], None, Some(end + 1)),
            ] {
                same(&objcopy, dir.path(), &path.display().to_string(), &path, &options);
            }
        }
    }
}

/// The same through the command line, whose spelling of the options is objcopy's.
#[test]
fn the_command_line_is_objcopys() {
    let Some(objcopy) = objcopy() else { return };
    let dir = tempdir();
    let (theirs, out) = (dir.path().join("theirs"), dir.path().join("ours"));
    let compressed = corpus().iter().flat_map(linked).filter(|path| path.ends_with("compressed/vmlinux"));
    for path in compressed.chain(["vmlinux", "setup.elf", "arm-vmlinux"].map(tiny)) {
        for options in [
            Options::new(&[], None, None),
            Options::new(&[".note", ".comment", ".ro*"], Some(0xa5), None),
            Options::new(&[".*text", "!.text"], Some(255), Some(0x200_0000)),
        ] {
            assert!(run_objcopy(&objcopy, &path, &options, &theirs).status.success());
            run_ok(kimage().args(["image", "-q"]).args(options.args()).arg(&path).arg("-o").arg(&out));
            assert_same(&format!("{} {options:?}", path.display()), &read(&out), &read(&theirs));
        }
    }
}

/// Programs that no kernel's linker script has seen: position-independent, static, shared, not linked at all.
#[test]
fn programs_of_this_system() {
    let Some(objcopy) = objcopy() else { return };
    let dir = tempdir();
    let mut files: Vec<PathBuf> = vec![PathBuf::from("/bin/ls"), PathBuf::from("/bin/sh"), objcopy.clone()];
    for (folder, wanted) in [("/usr/bin", "python3"), ("/usr/lib/x86_64-linux-gnu", "libc.so.6"), ("/usr/bin", "gdb")] {
        let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        files.extend(names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(wanted)).take(2));
    }
    files.extend(compiled(dir.path()));
    let mut seen = 0;
    for path in files.iter().filter(|path| is_elf(path)) {
        for options in [
            Options::new(&[], None, None),
            Options::new(&[".note*", ".dyn*", ".eh_frame"], Some(0xcc), Some(0x20_0000)),
            Options::new(&["*", "!.rodata", "!.data", "!.tbss", "!.init_array"], Some(1), None),
        ] {
            same(&objcopy, dir.path(), &path.display().to_string(), path, &options);
        }
        seen += 1;
    }
    assert!(seen >= 2, "{files:?}");
}

/// A program with thread-local data, linked in several ways, and its object file.
fn compiled(dir: &Path) -> Vec<PathBuf> {
    let Some(gcc) = tool("gcc", "gcc") else { return Vec::new() };
    let source = dir.join("program.c");
    let text = "__thread int a = 7; __thread char b[99]; int c[1000]; const char d[] = \"text\"; int e = 5;\n\
                int main(void) { a += b[3] + c[4] + d[1] + e; return a == 0; }\n";
    fs::write(&source, text).unwrap();
    let mut made = Vec::new();
    for (name, flags) in [
        ("static", &["-static"][..]),
        ("static-pie", &["-static-pie"]),
        ("pie", &["-pie", "-fpie"]),
        ("fixed", &["-no-pie"]),
        ("object.o", &["-c", "-ffunction-sections", "-fdata-sections"]),
        // One segment that is written and executed, and a text segment far from the data.
        ("omagic", &["-static", "-nostdlib", "-Wl,-N,-e,main"]),
        ("far", &["-static", "-Wl,-Ttext-segment=0x10000000", "-Wl,-z,noseparate-code"]),
    ] {
        let out = dir.join(name);
        let output = run(Command::new(&gcc).args(flags).arg("-o").arg(&out).arg(&source));
        match output.status.success() {
            true => made.push(out),
            false => support::missing(&format!("gcc cannot link {name}: {}", stderr(&output))),
        }
    }
    made
}

/// Without section headers the segments tell what is loaded: in a kernel, the same bytes. (objcopy itself finds nothing
/// in such a file, so its image of the whole file is the oracle.)
#[test]
fn kernels_without_section_headers() {
    let Some(objcopy) = objcopy() else { return };
    let dir = tempdir();
    let theirs = dir.path().join("theirs");
    for path in corpus().iter().flat_map(linked).chain(["vmlinux", "setup.elf", "arm-vmlinux"].map(tiny)) {
        let mut bytes = read(&path);
        let (shoff, counts) = if bytes[4] == 2 { (40..48, 60..64) } else { (32..36, 48..52) };
        bytes[shoff].fill(0);
        bytes[counts].fill(0);
        let options = Options::new(&[], None, None);
        assert!(run_objcopy(&objcopy, &path, &options, &theirs).status.success());
        let mut got = Vec::new();
        assemble::image(&bytes, &options.flat()).unwrap().emit(&mut got).unwrap();
        let theirs = read(&theirs);
        assert_same(&path.display().to_string(), &got[..theirs.len().min(got.len())], &theirs);
        // Linux 7.2 makes NOBITS of the sections at the end: their segment still has the zeros.
        assert!(got[theirs.len()..].iter().all(|byte| *byte == 0), "{}", path.display());
    }
}

/// llvm-objcopy goes by the segments that hold a section, GNU objcopy by the section's own load address: in a linked
/// kernel that is the same.
#[test]
fn llvm_objcopy_on_kernels() {
    let Some(llvm) = tool("llvm-objcopy", "llvm") else { return };
    let dir = tempdir();
    for tree in corpus() {
        for path in linked(tree) {
            for options in [Options::new(&[], None, None), Options::new(&[".note", ".comment"], None, None)] {
                same(&llvm, dir.path(), &format!("llvm {}", path.display()), &path, &options);
            }
        }
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Bytes of which none is 0, so that a hole shows.
    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(255) as u8 + 1).collect()
    }
}

/// For a linker that still has to link: an image has it all the same.
const SHF_EXCLUDE: u64 = 0x8000_0000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

const NAMES: [&str; 16] = [
    ".text",
    ".rodata",
    ".data",
    ".bss",
    ".note",
    ".note.a",
    ".init.text",
    ".init.data",
    ".tdata",
    ".tbss",
    ".a-b",
    ".x[1]",
    "__ex_table",
    ".exit.text",
    "text",
    ".comment",
];

const PATTERNS: [&str; 33] = [
    ".text",
    "*",
    ".note",
    ".note*",
    "*.text",
    ".?ext",
    ".[bd]*",
    ".[!bd]*",
    ".[a-d]*",
    "!.data",
    "!.*",
    "!*data",
    "!*",
    "__ex_table",
    ".x[1]",
    ".x[[]1]",
    ".x*",
    ".[]a-]*",
    "nothing",
    ".t*a",
    "*a*t*",
    ".init.????",
    ".[^bd]*",
    "**",
    ".**a",
    "***t",
    "\\.text",
    ".x\\[1\\]",
    ".x[1]]",
    ".[]x]*",
    ".[^]x]*",
    ".[!]^]*",
    "!.[!a-z]*",
];

/// A file with everything that a linker script can do to load addresses.
fn generate(rng: &mut Rng) -> Builder {
    // x86 has backends of its own in objcopy; the other machines, known or not, have the generic ones.
    let (is_64, big_endian, machine) = match rng.below(6) {
        0 => (true, false, 62),
        1 => (false, false, 3),
        _ => (rng.one_in(2), rng.one_in(2), rng.pick(&[40, 8, 20, 183, 243, 2, 42, 0x1234, 0xfeed, 0])),
    };
    let mut elf = Builder::new(is_64, big_endian, machine);
    elf.kind = if rng.one_in(8) { ET_REL } else { rng.pick(&[ET_EXEC, 3]) };
    let high = if is_64 { 0xffff_ffff_8000_0000 } else { 0xc000_0000 };
    let link_base = rng.pick(&[0, 0, 0, 0, 0x7000_0000, high]);
    let mut vaddr: u64 = link_base + rng.pick(&[0, 0x1000, 0x2000]);
    let count = 1 + rng.below(12);
    while (elf.sections.len() as u64) <= count {
        let first = elf.sections.len();
        for _ in 0..1 + rng.below(5) {
            let name = rng.pick(&NAMES);
            let mut flags = rng.pick(&[0, SHF_WRITE, SHF_EXECINSTR]) | if rng.one_in(12) { 0 } else { SHF_ALLOC };
            if name.starts_with(".t") && rng.one_in(2) {
                flags |= SHF_TLS;
            }
            if rng.one_in(15) {
                flags |= SHF_EXCLUDE;
            }
            let size = match rng.below(6) {
                0 => 0,
                1 => rng.below(3000),
                _ => 1 + rng.below(64),
            };
            match rng.below(5) {
                0 => drop(elf.nobits(name, flags, vaddr, size)),
                1 => {
                    // Arrays of constructors, hash tables, and what only an operating system or a CPU knows.
                    let kind = rng.pick(&[SHT_NOTE, SHT_INIT_ARRAY, 15, 16, 5, 0x6fff_fff6, 0x6000_0001, 0x7000_0001]);
                    let bytes = rng.bytes(size);
                    elf.section(name, kind, flags, vaddr, &bytes);
                }
                _ => {
                    let bytes = rng.bytes(size);
                    elf.section(name, SHT_PROGBITS, flags, vaddr, &bytes);
                }
            }
            let contents = elf.sections.last().unwrap().kind != SHT_NOBITS;
            let gap = if rng.one_in(2) { 0 } else { rng.below(200) };
            // Most of the time the file has the same gaps as the memory, as a segment wants it.
            match rng.below(8) {
                0 => {
                    vaddr = vaddr.saturating_sub(rng.below(100));
                    elf.skip(rng.below(30));
                }
                _ => {
                    vaddr += size + gap;
                    elf.skip(if contents { gap } else { 0 });
                }
            }
        }
        let end = elf.sections.len();
        // Some sections are in no segment, some in several. Those in none stay where they were linked, which makes
        // most images huge that were linked high: such are few.
        let strays = link_base == 0 || rng.one_in(20);
        for _ in 0..if strays { rng.pick(&[0, 1, 1, 1, 2]) } else { rng.pick(&[1, 1, 1, 2]) } {
            let from = first as u64 + rng.below((end - first) as u64);
            let to = from + 1 + rng.below(end as u64 - from);
            let range = if strays && rng.one_in(3) { from as usize..to as usize } else { first..end };
            let at = elf.sections[range.start].addr.saturating_sub(link_base);
            // Where it is linked, at a fixed distance from there (a few of these overlap), or anywhere.
            let paddr = rng.pick(&[at, at, at + 0x1000, at + 0x80, at.saturating_sub(0x40), 0x3000, 0]);
            let kind = if rng.one_in(8) { rng.pick(&[PT_TLS, PT_NOTE, 0x6474_e552]) } else { PT_LOAD };
            elf.segment(kind, range, paddr);
        }
        vaddr += rng.pick(&[0, 0, 1, 0x1000, 0x321]);
    }
    if elf.kind == ET_REL && rng.one_in(2) {
        elf.segments.clear();
        elf.sections.iter_mut().for_each(|section| section.addr = 0);
    }
    for segment in &mut elf.segments {
        match rng.below(12) {
            0 => segment.filesz = rng.below(segment.filesz + 1),
            1 => segment.memsz += rng.below(500),
            2 => segment.memsz = 0,
            _ => {}
        }
    }
    if rng.one_in(5) {
        elf.segments.iter_mut().for_each(|segment| segment.paddr = 0);
    }
    if rng.one_in(6) {
        elf.segments.reverse();
    }
    if rng.one_in(4) {
        elf.segments.push(Segment { kind: 0x6474_e551, ..Segment::default() });
    }
    elf
}

fn generate_options(rng: &mut Rng, elf: &[u8]) -> Options {
    let mut options = Options { max_size: 1 << 20, ..Options::default() };
    if rng.one_in(2) {
        options.remove = (0..1 + rng.below(3)).map(|_| rng.pick(&PATTERNS).to_owned()).collect();
    }
    options.gap_fill = rng.one_in(3).then(|| rng.below(256) as u8);
    if rng.one_in(3) {
        // Only a starting point: objcopy has the last word on what comes of it.
        if let Ok(image) = assemble::image(elf, &options.flat()) {
            let kimage::assemble::Facts::Flat { base, .. } = image.facts else { unreachable!() };
            let end = base.0.saturating_add(image.plan.len());
            options.pad_to = Some(match rng.below(4) {
                0 => rng.below(end.max(1)),
                1 => base.0.saturating_add(rng.below(image.plan.len() + 1)),
                _ => end.saturating_add(rng.below(5000)),
            });
        }
    }
    options
}

#[test]
fn generated_files() {
    let Some(objcopy) = objcopy() else { return };
    let (seed, cases) = (setting("KIMAGE_SEED", 1), setting("KIMAGE_CASES", 400));
    let dir = tempdir();
    let mut outcomes = Vec::new();
    for case in 0..cases {
        let mut rng = Rng(seed.wrapping_mul(1_000_003).wrapping_add(case));
        let elf = generate(&mut rng).build();
        let path = dir.path().join("elf");
        fs::write(&path, &elf).unwrap();
        for _ in 0..2 {
            let options = generate_options(&mut rng, &elf);
            let what = format!("seed {seed} case {case}");
            let keep = Keep { elf: &elf, what: &what };
            outcomes.push(same(&objcopy, dir.path(), &what, &path, &options));
            std::mem::forget(keep);
        }
    }
    let same = outcomes.iter().filter(|outcome| **outcome == Outcome::Same).count();
    let huge = outcomes.iter().filter(|outcome| **outcome == Outcome::TooLarge).count();
    eprintln!("{same} of {} images compared, {huge} too large", outcomes.len());
    assert!(same * 3 > outcomes.len() * 2, "{same} of {}: the generator makes too little to compare", outcomes.len());
}

/// Keeps the file of a failing case.
struct Keep<'a> {
    elf: &'a [u8],
    what: &'a str,
}

impl Drop for Keep<'_> {
    fn drop(&mut self) {
        let path = std::env::temp_dir().join(format!("kimage {}.elf", self.what).replace(' ', "-"));
        if fs::write(&path, self.elf).is_ok() {
            eprintln!("the file of {} is kept as {}", self.what, path.display());
        }
    }
}

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
        (ours.is_64(), ours.endian() == Endian::Little, ours.machine(), kind, ours.entry()),
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
    for symbol in elf.symbols().unwrap().filter(|symbol| !symbol.is_debugging()) {
        let value = match symbol.section {
            SHN_UNDEF => " ".repeat(width),
            // nm prints the size, which kimage does not keep: generated files have 0, corpus files have no such symbol.
            SHN_COMMON => "0".repeat(width),
            _ => format!("{:0width$x}", symbol.value),
        };
        ours += &format!("{value} {} {}\n", elf.nm_class(&symbol), String::from_utf8_lossy(symbol.name));
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
