//! What comes of starting a program.
//!
//! Source: fs/exec.c, fs/binfmt_script.c, fs/binfmt_elf.c, Linux 7.2.

use super::initrd::{ENOENT, Tree};
use super::kernel::{Answer, Kernel};
use crate::arch::Arch;
use crate::elf::{Elf, Kind};
use crate::format::cpio::FILE;
use std::collections::BTreeSet;

const ENOEXEC: i32 = 8;
const EACCES: i32 = 13;
const ELOOP: i32 = 40;
const ELIBBAD: i32 = 80;

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exec {
    Runs,
    /// It starts, and ends for want of a library.
    Dies(String),
    /// It does not start: the number of the error, and why.
    Fails(i32, String),
    /// The option or fact that is not known.
    NotKnown(String),
}

/// The kernel and the files that it has.
#[derive(Clone, Copy)]
pub(super) struct Files<'f> {
    pub(super) kernel: &'f Kernel<'f>,
    pub(super) tree: &'f Tree<'f>,
}

impl Files<'_> {
    /// Starts a program of the initial RAM disk.
    pub(super) fn exec(&self, path: &str) -> Exec {
        self.exec_at(path.as_bytes(), 0)
    }

    fn exec_at(&self, path: &[u8], depth: u32) -> Exec {
        const DEEPEST: u32 = 5;
        let name = shown(path);
        let node = match self.tree.find(path) {
            Ok(node) => node,
            Err(ENOENT) => return Exec::Fails(ENOENT, format!("there is no {name}")),
            Err(error) => return Exec::Fails(error, format!("the path {name} leads nowhere")),
        };
        if node.kind() != FILE {
            return Exec::Fails(EACCES, format!("{name} is no regular file"));
        }
        if !node.is_executable() {
            return Exec::Fails(EACCES, format!("{name} is not executable (mode {:o})", node.mode & 0o7777));
        }
        if depth > DEEPEST {
            return Exec::Fails(
                ELOOP,
                format!("{name} comes behind {DEEPEST} scripts for scripts, and the kernel follows no more"),
            );
        }
        if Elf::detect(node.data) {
            return self.exec_elf(&name, node.data);
        }
        match node.data.strip_prefix(b"#!") {
            Some(rest) => self.exec_script(&name, rest, depth),
            None if node.data.starts_with(b"bFLT") => match self.kernel.option("BINFMT_FLAT") {
                Answer::Yes => Exec::Runs,
                Answer::No => {
                    Exec::Fails(ENOEXEC, format!("{name} is a flat program, and CONFIG_BINFMT_FLAT is not set"))
                }
                _ => Exec::NotKnown("CONFIG_BINFMT_FLAT".to_owned()),
            },
            // Programs of other kinds (a.out, those of other systems) are no text.
            None if node.data.contains(&0) => Exec::NotKnown(format!("what kind of program {name} is")),
            None => Exec::Fails(ENOEXEC, format!("{name} is neither a program nor a script that begins with #!")),
        }
    }

    fn exec_script(&self, name: &str, rest: &[u8], depth: u32) -> Exec {
        // BINPRM_BUF_SIZE, the mark at the start not counted; 126 up to Linux 5.0.
        const LINE: usize = 254;
        let option = self.kernel.option("BINFMT_SCRIPT");
        if option == Answer::No {
            return Exec::Fails(ENOEXEC, format!("{name} is a script, and CONFIG_BINFMT_SCRIPT is not set"));
        }
        let line = rest.get(..LINE).unwrap_or(rest).split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let Some(interpreter) = line.split(is_blank).find(|word| !word.is_empty()) else {
            return Exec::Fails(ENOEXEC, format!("the first line of {name} names no program"));
        };
        match self.exec_at(interpreter, depth + 1) {
            Exec::Fails(error, why) => {
                Exec::Fails(error, format!("{name} is a script for {}: {why}", shown(interpreter)))
            }
            Exec::Runs if option == Answer::NotKnown => Exec::NotKnown("CONFIG_BINFMT_SCRIPT".to_owned()),
            other => other,
        }
    }

    fn exec_elf(&self, name: &str, bytes: &[u8]) -> Exec {
        let Ok(elf) = Elf::parse(bytes) else {
            return Exec::NotKnown(format!("the ELF file {name}, which is damaged"));
        };
        let option = self.kernel.any(&["BINFMT_ELF", "BINFMT_ELF_FDPIC"].map(str::to_owned));
        if option == Answer::No {
            return Exec::Fails(ENOEXEC, format!("{name} is a program, and CONFIG_BINFMT_ELF is not set"));
        }
        if !matches!(elf.kind(), Kind::Executable | Kind::Dynamic) {
            return Exec::Fails(ENOEXEC, format!("{name} is no linked program"));
        }
        match self.runs(&elf) {
            Ok(()) => {}
            Err(Some(why)) => return Exec::Fails(ENOEXEC, format!("{name} is {why}")),
            Err(None) => return Exec::NotKnown(format!("whether the kernel runs {} programs", class(&elf))),
        }
        if let Some(interpreter) = elf.interpreter() {
            let loader = shown(interpreter);
            let needs = format!("{name} needs {loader} to be started");
            let node = match self.tree.find(interpreter) {
                Ok(node) => node,
                Err(error) => return Exec::Fails(error, format!("{needs}, which is not there")),
            };
            if node.kind() != FILE || !node.is_executable() {
                return Exec::Fails(EACCES, format!("{needs}, which is not executable"));
            }
            let is_fit = Elf::parse(node.data).ok().map(|loader| self.runs(&loader).err().flatten().is_none());
            if !Elf::detect(node.data) || is_fit == Some(false) {
                return Exec::Fails(ELIBBAD, format!("{needs}, which is no program for this kernel"));
            }
            if let Some(library) = self.missing(&elf, interpreter) {
                return Exec::Dies(format!("{name} needs the library {library}, which is not there"));
            }
        }
        if option == Answer::NotKnown { Exec::NotKnown("CONFIG_BINFMT_ELF".to_owned()) } else { Exec::Runs }
    }

    /// Does the kernel run programs of this CPU, class and byte order? Else what they are; `None`: not known.
    fn runs(&self, elf: &Elf<'_>) -> Result<(), Option<String>> {
        let kernel = self.kernel;
        let (Some(ours), Some(theirs)) = (kernel.arch, elf.arch()) else { return Err(None) };
        let is_64 = kernel.is_64.ok_or(None)?;
        let emulated = match (ours, theirs) {
            (Arch::X86_64, Arch::X86) => Some("IA32_EMULATION"),
            (Arch::X86_64, Arch::X86_64) if !elf.is_64() => Some("X86_X32_ABI"),
            (Arch::Mips64, Arch::Mips) => Some("MIPS32_O32"),
            (Arch::Arm64, Arch::Arm) | (Arch::Sparc64, Arch::Sparc) => Some("COMPAT"),
            _ if ours == theirs && is_64 && !elf.is_64() => Some("COMPAT"),
            _ => None,
        };
        let what =
            format!("a program for {}, the kernel is for {ours} with {} bits", class(elf), if is_64 { 64 } else { 32 });
        let is_other_order = kernel.endian.is_some_and(|endian| endian != elf.endian());
        match emulated {
            _ if is_other_order => Err(Some(format!("{what}, of the other byte order"))),
            None if ours == theirs && is_64 == elf.is_64() => Ok(()),
            None => Err(Some(what)),
            Some(option) => match kernel.option(option) {
                Answer::Yes => Ok(()),
                Answer::No => Err(Some(format!("{what}, and CONFIG_{option} is not set"))),
                _ => Err(None),
            },
        }
    }

    /// The first library that is not there, of those that the program or one of its libraries names.
    fn missing(&self, elf: &Elf<'_>, interpreter: &[u8]) -> Option<String> {
        // musl's loader is these itself (ldso/dynlink.c).
        const OF_MUSL: [&[u8]; 7] =
            [b"libc.", b"libpthread.", b"librt.", b"libm.", b"libdl.", b"libutil.", b"libxnet."];
        let is_musl = memchr::memmem::find(interpreter, b"ld-musl").is_some();
        let by_name = self.tree.by_name();
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut next: Vec<Vec<u8>> = elf.needed().into_iter().map(<[u8]>::to_vec).collect();
        while let Some(name) = next.pop() {
            if is_musl && OF_MUSL.iter().any(|own| name.starts_with(own)) || !seen.insert(name.clone()) {
                continue;
            }
            let found = if name.contains(&b'/') { self.tree.find(&name).ok() } else { by_name.get(&*name).copied() };
            match found {
                Some(node) => {
                    let more = Elf::parse(node.data)
                        .map(|elf| elf.needed().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                    next.extend(more.unwrap_or_default());
                }
                None => return Some(shown(&name)),
            }
        }
        None
    }
}

fn class(elf: &Elf<'_>) -> String {
    let bits = if elf.is_64() { 64 } else { 32 };
    elf.arch().map_or_else(|| "an unknown CPU".to_owned(), |arch| format!("{arch} with {bits} bits"))
}

/// A path or name for a message.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}
