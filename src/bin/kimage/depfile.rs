//! `--depfile`: what an output was made from, for Make and Ninja.
//!
//! Every file that is opened for reading or put in place is noted here, whichever command does it; so no command can forget
//! one.

use anyhow::{Context, Result, bail};
use std::collections::HashSet;
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
    list.lock().into_iter().for_each(|mut list| list.push(path.to_owned()));
}

/// Each once, in the order in which they were noted first.
fn noted(list: &Mutex<Vec<PathBuf>>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let mut noted = list.lock().map(|list| list.clone()).unwrap_or_default();
    noted.retain(|path| seen.insert(path.clone()));
    noted
}

/// What was noted, for `file`, in the syntax that Make includes and Ninja reads with `deps = gcc`: one rule with the
/// outputs and the inputs, and one without recipe for each input, so that Make does not stop when one goes away.
pub(crate) fn text(file: &Path) -> Result<String> {
    let outputs = noted(&WRITTEN);
    if outputs.is_empty() {
        bail!("--depfile {}: no file was written; name one with -o", file.display());
    }
    // An output that was read first (a tree that was patched in place, say) does not depend on itself.
    let written: HashSet<&PathBuf> = outputs.iter().collect();
    let inputs: Vec<PathBuf> = noted(&READ).into_iter().filter(|path| !written.contains(path)).collect();
    let outputs = names(&outputs)?;
    let mut inputs = names(&inputs)?;
    // Make takes `out: a=b` for a variable of that target, but not when another name is in front.
    inputs.sort_by_key(|name| name.contains('='));
    for (first, rule) in [(outputs.first(), "output"), (inputs.first(), "first input")] {
        if let Some(name) = first.filter(|name| name.contains('=')) {
            bail!(
                "{name}: --depfile cannot name it as {rule}: Make takes `=` there for an assignment; give the file another name"
            );
        }
    }
    if let Some(name) = outputs.iter().find(|name| name.contains('%')) {
        bail!(
            "{name}: --depfile cannot name an output with % in it: Make takes it for a pattern; give the file another name"
        );
    }
    let mut text = format!("{}:", outputs.join(" "));
    for input in &inputs {
        text.push_str(" \\\n ");
        text.push_str(input);
    }
    text.push('\n');
    // Without recipe or input: Make does not stop when one of them goes away. In front of a colon, % would make a pattern of
    // the name, and = an assignment.
    for input in inputs.iter().filter(|name| !name.contains(['%', '='])) {
        text.push_str(input);
        text.push_str(":\n");
    }
    Ok(text)
}

fn names(paths: &[PathBuf]) -> Result<Vec<String>> {
    paths.iter().map(|path| escaped(path)).collect()
}

/// Words that begin a line of another kind (GNU Make 4.4, 3.1 "What Makefiles Contain" and what it refers to).
const DIRECTIVES: [&str; 19] = [
    "-include", "-load", "define", "else", "endef", "endif", "export", "ifdef", "ifeq", "ifndef", "ifneq", "include",
    "load", "override", "private", "sinclude", "undefine", "unexport", "vpath",
];

/// A name as GNU Make and Ninja both read it (`depfile_parser.in.cc`): as gcc -M writes names, and a colon, which gcc leaves
/// alone and Make stumbles over. There are names that no spelling says to both.
fn escaped(path: &Path) -> Result<String> {
    let name = path.to_str().with_context(|| format!("{}: not UTF-8, which --depfile cannot name", path.display()))?;
    let refuse = |what: &str| -> Result<String> {
        bail!(
            "{name}: --depfile cannot name a file with {what} so that both Make and Ninja find it; give it another name"
        )
    };
    let mut out = String::new();
    if name.starts_with('~') || DIRECTIVES.contains(&name) {
        out.push_str("./");
    }
    let mut backslashes = 0;
    let mut rest = name.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            // Backslashes in front would be taken for escapes themselves.
            '#' if backslashes > 0 => return refuse("a backslash before #"),
            ' ' | '#' => {
                out.extend(std::iter::repeat_n('\\', backslashes + 1));
                out.push(character);
            }
            ':' if backslashes > 0 => return refuse("a backslash before a colon"),
            ':' if rest.peek().is_none_or(|next| *next == ' ') => {
                return refuse("a colon at its end or before a blank");
            }
            ':' => out.push_str("\\:"),
            '$' => out.push_str("$$"),
            ';' | '|' => return refuse(&format!("{character} in it")),
            '\n' | '\r' | '\t' => return refuse("a line break or tab in it"),
            other => out.push(other),
        }
        backslashes = if character == '\\' { backslashes + 1 } else { 0 };
    }
    if backslashes > 0 { refuse("a backslash at its end") } else { Ok(out) }
}
