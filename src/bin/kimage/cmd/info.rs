//! `info`: what a file is, layer by layer.

use crate::args::Info;
use crate::input::Input;
use crate::{say, screen};
use anyhow::{Context, Result, bail};
use kimage::inspect::{Layer, Opened, open};
use kimage::report::{self, FileInfo, write_info_json, write_info_text};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

pub(crate) fn info(args: &Info) -> Result<()> {
    if args.schema {
        return screen::print(|out| out.write_all(report::INFO_JSON_SCHEMA.as_bytes()));
    }
    super::build::one_stdin(&args.files);
    if let Some(field) = &args.field {
        return print_field(args, field);
    }
    let mut files = Vec::new();
    let mut failures = 0;
    for path in &args.files {
        match describe(path, args) {
            Ok((info, damaged)) => {
                failures += usize::from(damaged);
                files.push(info);
            }
            Err(error) => {
                failures += 1;
                files.push(FileInfo::failed(&path.display().to_string(), say::text(&error)));
                say::error(&error);
            }
        }
    }
    if args.json {
        screen::print(|out| write_info_json(&report::Info::new(files), out))?;
    }
    match failures {
        0 => Ok(()),
        // Said already, each with its file.
        _ => Err(say::Said.into()),
    }
}

/// Reads a file and, unless JSON is wanted, prints what it is. True when its own header is damaged.
fn describe(path: &Path, args: &Info) -> Result<(FileInfo, bool)> {
    let input = Input::open(path)?;
    let opened = open(&input, &args.opening.limits()).with_context(|| input.name())?;
    if !args.json {
        screen::print(|out| write_info_text(&input.name(), &opened, screen::style(), out))?;
    }
    let damaged = opened.layers().first().is_some_and(Layer::is_damaged);
    Ok((FileInfo::new(&input.name(), &opened), damaged))
}

fn print_field(args: &Info, field: &str) -> Result<()> {
    for path in &args.files {
        let input = Input::open(path)?;
        let mut opened = Opened::new(&input, &args.opening.limits()).with_context(|| input.name())?;
        let Some((_, fact)) = opened.fact(field) else {
            let mut names: Vec<&str> =
                opened.layers().iter().flat_map(|layer| layer.facts.iter().map(|fact| fact.name)).collect();
            names.sort_unstable();
            names.dedup();
            bail!("{}: has no field {field}; there are: {}", input.name(), names.join(", "));
        };
        let text = format!("{}\n", fact.value);
        // A program gets what the file has; a terminal would obey it.
        if io::stdout().is_terminal() {
            screen::print(|out| out.write_all(text.as_bytes()))?;
        } else {
            screen::pass(text.as_bytes())?;
        }
    }
    Ok(())
}
