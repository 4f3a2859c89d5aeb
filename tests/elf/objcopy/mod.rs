//! GNU objcopy, llvm-objcopy, nm and goblin as oracles for all that kimage reads of ELF files.
//!
//! - `kimage image` gives the bytes of `objcopy -O binary` with the same -R, --gap-fill and --pad-to: for kernels, for
//!   the programs of this system, and for generated files with everything a linker script can do to load addresses.
//! - Where llvm-objcopy has the same opinion (linked kernels), it is asked too.
//! - Every header field and symbol is read as goblin, an independent reader, reads it.
//! - The class letter and value of every symbol are those that nm prints.
//!
//! `KIMAGE_SEED=n` generates other files, `KIMAGE_CASES=n` more or fewer of them.

mod flags;
mod flat;
mod generate;
mod readers;

use crate::elf_builder::{
    Builder, ET_EXEC, ET_REL, GLOBAL, PT_LOAD, PT_NOTE, PT_TLS, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHN_ABS,
    SHT_INIT_ARRAY, SHT_NOBITS, SHT_NOTE, SHT_PROGBITS, Section, Segment,
};
use crate::support::{self, Tree, assert_same, corpus, kimage, read, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::assemble;
use kimage::bytes::Endian;
use kimage::elf::{self, Elf, FlatOptions, Kind, RemoveList};
use kimage::error::InputError;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
        FlatOptions {
            remove,
            gap_fill: self.gap_fill,
            pad_to: self.pad_to,
            max_size: self.max_size,
            ..FlatOptions::default()
        }
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
