//! `kimage strip` beside GNU objcopy, for the tests that hold it to that.

use crate::support::{assert_same, kimage, read, run, stderr, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tools of CPUs, by `e_machine`: each objcopy knows its own CPU best. One takes foreign files by rules that are not
/// theirs.
pub(super) const TOOLS: [(u16, &str); 16] = [
    (3, ""),
    (62, ""),
    (40, "arm-linux-gnueabihf"),
    (183, "aarch64-linux-gnu"),
    (243, "riscv64-linux-gnu"),
    (8, "mips-linux-gnu"),
    (20, "powerpc-linux-gnu"),
    (21, "powerpc-linux-gnu"),
    (22, "s390x-linux-gnu"),
    (43, "sparc64-linux-gnu"),
    (18, "sparc64-linux-gnu"),
    (2, "sparc64-linux-gnu"),
    (4, "m68k-linux-gnu"),
    (42, "sh4-linux-gnu"),
    (93, "arc-linux-gnu"),
    (195, "arc-linux-gnu"),
];

/// A program of the binutils for another CPU.
pub(super) fn cross(prefix: &str, name: &str) -> Option<PathBuf> {
    tool(&format!("{prefix}-{name}"), &format!("binutils-{prefix}"))
}

/// The objcopy that knows the file's CPU.
fn objcopy(file: &[u8]) -> Option<PathBuf> {
    let machine = [*file.get(18)?, *file.get(19)?];
    let machine = if file.get(5) == Some(&2) { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    match TOOLS.iter().find(|(known, _)| *known == machine)? {
        (_, "") => tool("objcopy", "binutils"),
        (_, prefix) => cross(prefix, "objcopy"),
    }
}

/// Strips with both. True when they agree, false when kimage refused.
#[track_caller]
pub(super) fn agree(dir: &Path, file: &Path, options: &[&str]) -> Option<bool> {
    let objcopy = objcopy(&read(file))?;
    let want = dir.join("want");
    let mut command = Command::new(objcopy);
    let whole = (!options.contains(&"--strip-debug")).then_some("-S");
    command.args(["-R", ".comment", "-R", ".modinfo"]).args(whole).args(options).arg(file).arg(&want);
    if !run(&mut command).status.success() {
        return None; // Not for objcopy either.
    }
    let output = run(kimage().arg("strip").args(options).arg(file));
    if !output.status.success() {
        let text = stderr(&output);
        assert!(text.contains("help: "), "{}: {text}", file.display());
        assert!(output.stdout.is_empty());
        return Some(false);
    }
    assert_same(&format!("{} {options:?}", file.display()), &output.stdout, &read(&want));
    Some(true)
}

/// Sections that may go, and what remains must still be laid out as objcopy would.
pub(super) const REMOVED: [&[&str]; 10] = [
    &["--strip-debug", "-R", ".note.gnu.build-id"],
    &["-R", ".note.gnu.build-id"],
    &["-R", ".note*"],
    &["-R", ".eh_frame*"],
    &["-R", ".interp"],
    &["-R", ".init"],
    &["-R", ".data"],
    &["-R", ".bss"],
    &["-R", ".tdata"],
    &["-R", ".rodata", "-R", ".outside"],
];
