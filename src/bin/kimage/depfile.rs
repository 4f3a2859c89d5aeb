//! `--depfile`: what an output was made from, for Make and Ninja.
//!
//! Every file that is opened for reading or put in place is noted here, whichever command does it; so no command can forget
//! one.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

static READ: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static WRITTEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Notes a file that was read.
pub(crate) fn read(path: &Path) {
    note(&READ, path);
}

/// Notes an output.
pub(crate) fn written(path: &Path) {
    note(&WRITTEN, path);
}

fn note(list: &Mutex<Vec<PathBuf>>, path: &Path) {
    if let Ok(mut list) = list.lock() {
        if !list.iter().any(|known| known == path) {
            list.push(path.to_owned());
        }
    }
}

fn noted(list: &Mutex<Vec<PathBuf>>) -> Vec<PathBuf> {
    list.lock().map(|list| list.clone()).unwrap_or_default()
}

/// Writes what was noted to `file`, in the syntax that Make includes and Ninja reads with `deps = gcc`: one rule with the
/// outputs and the inputs, and one without recipe for each input, so that Make does not stop when one goes away.
pub(crate) fn write(file: &Path) -> Result<()> {
    let outputs = noted(&WRITTEN);
    if outputs.is_empty() {
        bail!("--depfile {}: no file was written; name one with -o", file.display());
    }
    // An output that was read first (a tree that was patched in place, say) does not depend on itself.
    let inputs: Vec<PathBuf> = noted(&READ).into_iter().filter(|path| !outputs.contains(path)).collect();
    let names = |paths: &[PathBuf]| paths.iter().map(|path| escaped(path)).collect::<Result<Vec<String>>>();
    let (outputs, inputs) = (names(&outputs)?, names(&inputs)?);
    let mut text = format!("{}:", outputs.join(" "));
    for input in &inputs {
        text.push_str(" \\\n ");
        text.push_str(input);
    }
    text.push('\n');
    for input in &inputs {
        text.push_str(input);
        text.push_str(":\n");
    }
    let output = crate::output::Output { path: file, sync: false, is_text: true };
    output.write_unnoted(text.len() as u64, |out| Ok(out.write_all(text.as_bytes())?))
}

/// As gcc -M writes names; and a colon, which gcc leaves alone and Make stumbles over.
fn escaped(path: &Path) -> Result<String> {
    let name = path.to_str().with_context(|| format!("{}: not UTF-8, which --depfile cannot name", path.display()))?;
    let mut out = String::new();
    let mut backslashes = 0;
    for character in name.chars() {
        match character {
            // Backslashes in front would be taken for escapes themselves.
            ' ' | '#' => {
                out.extend(std::iter::repeat_n('\\', backslashes + 1));
                out.push(character);
            }
            ':' => out.push_str("\\:"),
            '$' => out.push_str("$$"),
            '\n' | '\r' | '\t' => bail!("{name:?}: --depfile cannot name a file with a line break or tab in it"),
            other => out.push(other),
        }
        backslashes = if character == '\\' { backslashes + 1 } else { 0 };
    }
    Ok(out)
}
