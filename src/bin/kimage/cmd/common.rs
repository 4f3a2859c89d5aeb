//! What commands that make a file have in common.

use crate::args::{Building, FolderOptions, TextOutput};
use crate::input::Input;
use crate::output::Output;
use crate::{message, screen};
use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use kimage::assemble::{Assembled, Names};
use kimage::finding::{Finding, Severity};
use kimage::inspect::{Opened, Part};
use kimage::report::{Report, write_files_json, write_json, write_plan, write_text};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) fn list(names: Names) -> Result<()> {
    screen::print(|out| names.all().try_for_each(|name| writeln!(out, "{:<22}{}", name.short, name.long)))
}

/// Standard input can be read once.
pub(crate) fn one_stdin<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) {
    if paths.into_iter().filter(|path| *path == Path::new("-")).count() > 1 {
        message::usage(ErrorKind::ArgumentConflict, "`-` (standard input) can be given for one file only");
    }
}

pub(crate) fn open_all(paths: &[PathBuf]) -> Result<Vec<Input>> {
    paths.iter().map(|path| Input::open(path)).collect()
}

pub(crate) fn refs(inputs: &[Input]) -> Vec<&Input> {
    inputs.iter().collect()
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>; 0 when it is not set, never the clock.
pub(crate) fn source_date_epoch() -> Result<u32> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) else { return Ok(0) };
    value.to_str().and_then(|text| text.parse().ok()).with_context(|| {
        format!(
            "SOURCE_DATE_EPOCH is {value:?}, wanted seconds since 1970 that fit 32 bits: set it right, unset it, or give --time"
        )
    })
}

/// The error with the path of the input that it is about.
pub(crate) fn at_input(error: kimage::Error, inputs: &[(&str, &[&Input])]) -> anyhow::Error {
    let path = error.which().and_then(|(which, index)| {
        let (_, files) = inputs.iter().find(|(name, _)| *name == which)?;
        Some(files.get(index)?.name())
    });
    match path {
        Some(path) => anyhow::Error::new(error).context(path),
        None => error.into(),
    }
}

/// What means nothing without `--build-dir`. (clap would not ask for an option that the second file excludes.)
pub(super) fn only_with_folder(folder: &FolderOptions, compresses: bool) {
    let given = [
        ("--payload", folder.payload.is_some()),
        ("--ld", folder.ld.is_some()),
        ("--keep", folder.keep.is_some()),
        ("--level and the like", folder.codec.is_given() && !compresses),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
        let done = if compresses { "linked" } else { "compressed or linked" };
        let message = format!("nothing is {done} here: {option} needs --build-dir");
        message::usage(ErrorKind::ArgumentConflict, message);
    }
}

/// Says what is wrong with an image that is made all the same.
pub(crate) fn warn(building: &Building, assembled: &Assembled<'_>) {
    let findings = assembled.findings.iter().filter(|finding| finding.severity > Severity::Note);
    for finding in findings.filter(|_| !building.quiet) {
        // What a peer passes over is no error.
        let severity = if building.terse { Severity::Warning } else { finding.severity };
        message::finding(&Finding { severity, ..finding.clone() });
    }
}

pub(crate) fn finish(command: &'static str, path: &Path, building: &Building, assembled: &Assembled<'_>) -> Result<()> {
    let output = Output { path, sync: building.sync, is_text: false };
    if output.is_stdout() && building.json && !building.plan {
        let message = "image and report cannot both go to standard output: name a file with -o, or leave out --json";
        message::usage(ErrorKind::ArgumentConflict, message);
    }
    let emitted = if building.plan {
        assembled.emit(io::sink())?
    } else {
        output.write(assembled.plan.len(), |out| Ok(assembled.emit_seek(out)?))?
    };
    let name = output.name();
    let report = Report::new(&name, assembled, emitted, !building.plan);
    if building.plan && !building.json {
        screen::print(|out| write_plan(&report, out))?;
        assembled.findings.iter().for_each(message::finding);
    } else if building.json {
        screen::print(|out| write_json(command, &report, out))?;
    } else if !building.quiet {
        warn(building, assembled);
        if building.terse {
            return Ok(());
        }
        // In one piece, so that parallel builds do not mix their lines. A closed standard error is no reason to fail: the
        // image is written.
        let mut text = Vec::new();
        write_text(&report, &mut text)?;
        screen::print_error(&String::from_utf8_lossy(&text));
    }
    Ok(())
}

/// Calls `one` for each file, and prints what came of all as JSON where that is wanted; `failed` is what is said of one that
/// cannot be read. Fails when one of them could not be, or `one` says that it is not good.
pub(crate) fn each<R: Serialize>(
    command: &str,
    files: &[PathBuf],
    json: bool,
    failed: impl Fn(&str, String) -> R,
    one: impl Fn(&Path) -> Result<(R, bool)>,
) -> Result<()> {
    let (mut reports, mut is_good) = (Vec::new(), true);
    for path in files {
        let (report, good) = one(path).unwrap_or_else(|error| {
            let report = failed(&path.display().to_string(), message::text(&error));
            message::error(&error);
            (report, false)
        });
        is_good &= good;
        reports.push(report);
    }
    if json {
        screen::print(|out| write_files_json(command, &reports, out))?;
    }
    // What is wrong was said, each with its file.
    if is_good { Ok(()) } else { Err(message::AlreadyReported.into()) }
}

/// What came out of a damaged stream is not the part that was packed.
pub(crate) fn undamaged(opened: &Opened<'_>, part: &Part) -> Result<()> {
    let Some(damage) = opened.part_damage(part) else { return Ok(()) };
    bail!("{}: it is not to be had, for it comes out of a damaged stream: {}", part.name, damage.message)
}

/// Writes a text to its file, or to standard output.
pub(crate) fn put_text(to: &TextOutput, text: &[u8]) -> Result<()> {
    let output = Output { path: &to.output, sync: to.sync, is_text: true };
    output.write(text.len() as u64, |out| Ok(out.write_all(text)?))
}
