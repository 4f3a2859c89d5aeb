//! Starts the linker that a kernel's build folder names: the one program that kimage runs.

use crate::{cleanup, message};
use anyhow::{Context, Result, anyhow, bail};
use kimage::kbuild::LinkCommand;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A linker given by `--ld`: a path is meant from here, not from the build folder; a name is looked up in PATH.
pub(crate) fn linker(given: &Path) -> Result<String> {
    let path = match given.components().count() {
        0 | 1 if !given.is_absolute() => given.to_owned(),
        _ => given.canonicalize().with_context(|| given.display().to_string())?,
    };
    path.into_os_string().into_string().ok().with_context(|| format!("{}: the path is not UTF-8", given.display()))
}

/// What the linker says of itself, whatever its exit status.
pub(crate) fn version(link: &LinkCommand, folder: &Path) -> Result<String> {
    let output = run(link.linker(), &["-V".to_owned()], folder)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Links `piggy`, and gives the linked file and what the linker said. Only a temporary folder is written to.
pub(crate) fn link(link: &LinkCommand, folder: &Path, piggy: &[u8]) -> Result<(Vec<u8>, String)> {
    let made = cleanup::made(|| {
        let folder = tempfile::tempdir()?;
        let stray = cleanup::Stray::Folder(folder.path().to_owned());
        Ok::<_, std::io::Error>((folder, stray))
    });
    let (temporary, _watched) = made.context("no temporary folder can be made; name another by TMPDIR")?;
    let piggy_path = temporary.path().join("piggy.o");
    fs::write(&piggy_path, piggy).with_context(|| piggy_path.display().to_string())?;
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .with_context(|| format!("{}: the path is not UTF-8: name another folder by TMPDIR", path.display()))
    };
    let linked = temporary.path().join("vmlinux");
    let mut link = link.clone();
    link.redirect(&text(&piggy_path)?, &text(&linked)?);
    let words = link.words();
    let (linker, args) = words.split_first().context("the kept link command is empty")?;
    let output = run(linker, args, folder)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        said.lines().for_each(message::line);
        bail!("the link failed ({}): {} in {}", output.status, words.join(" "), folder.display());
    }
    let bytes = fs::read(&linked).with_context(|| linked.display().to_string())?;
    Ok((bytes, said.trim_end().to_owned()))
}

fn run(linker: &str, args: &[String], folder: &Path) -> Result<Output> {
    let mut command = Command::new(linker);
    command.args(args).current_dir(folder).stdin(Stdio::null());
    // What would change the result behind the command's back (binutils, "Environment Variables").
    for name in ["LDEMULATION", "GNUTARGET", "COLLECT_NO_DEMANGLE", "LD_RUN_PATH"] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C");
    command.output().map_err(|error| {
        let help = match error.kind() {
            ErrorKind::NotFound => {
                "; install it, or name one with --ld (Debian: binutils, binutils-arm-linux-gnueabihf)"
            }
            _ => "",
        };
        anyhow!("the linker {linker} cannot be started: {error}{help}")
    })
}
