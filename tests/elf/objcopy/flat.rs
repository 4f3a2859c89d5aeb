//! The flat image is that of objcopy.

use super::generate::{Rng, generate};
use super::*;

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

#[test]
fn kernels() {
    let Some(objcopy) = objcopy() else { return };
    let dir = tempdir();
    for tree in corpus() {
        for path in linked(tree) {
            let bytes = read(&path);
            let base = assemble::image(&bytes, &FlatOptions::default()).unwrap();
            let kimage::assemble::Facts::Flat { load_address: start, .. } = base.facts else { unreachable!() };
            let end = start + base.plan.len();
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

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

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

fn generate_options(rng: &mut Rng, elf: &[u8]) -> Options {
    let mut options = Options { max_size: 1 << 20, ..Options::default() };
    if rng.one_in(2) {
        options.remove = (0..1 + rng.below(3)).map(|_| rng.pick(&PATTERNS).to_owned()).collect();
    }
    options.gap_fill = rng.one_in(3).then(|| rng.below(256) as u8);
    if rng.one_in(3) {
        // Only a starting point: objcopy has the last word on what comes of it.
        if let Ok(image) = assemble::image(elf, &options.flat()) {
            let kimage::assemble::Facts::Flat { load_address: base, .. } = image.facts else { unreachable!() };
            let end = base.saturating_add(image.plan.len());
            options.pad_to = Some(match rng.below(4) {
                0 => rng.below(end.max(1)),
                1 => base.saturating_add(rng.below(image.plan.len() + 1)),
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
