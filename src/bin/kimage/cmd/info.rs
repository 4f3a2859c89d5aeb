//! `info`: what a file is, layer by layer.

use super::common::{each, one_stdin};
use crate::args::Info;
use crate::input::Input;
use crate::screen;
use anyhow::{Context, Result, bail};
use kimage::inspect::{FactFound, Layer, LayerId, Opened, open};
use kimage::report::{FileInfo, write_info_text};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

pub(crate) fn info(args: &Info) -> Result<()> {
    one_stdin(&args.files);
    if let Some(field) = &args.field {
        return print_field(args, field);
    }
    each("info", &args.files, args.json, |name, error| FileInfo::new(name, Err(error)), |path| describe(path, args))
}

/// Reads a file and, unless JSON is wanted, prints what it is. False when its own header is damaged.
fn describe(path: &Path, args: &Info) -> Result<(FileInfo, bool)> {
    let input = Input::open(path)?;
    let opened = open(&input, &args.opening.limits()).with_context(|| input.name())?;
    if !args.json {
        screen::print(|out| write_info_text(&input.name(), &opened, screen::style(), out))?;
    }
    let damaged = opened.layers().first().is_some_and(Layer::is_damaged);
    Ok((FileInfo::new(&input.name(), Ok(&opened)), !damaged))
}

/// The names of the layers down to this one, as --field takes them; the file's own name only where there is no other.
fn dotted(opened: &Opened<'_>, id: LayerId) -> String {
    let path = opened.path(id).replace('/', ".");
    path.strip_prefix("file.").map_or(path.clone(), str::to_owned)
}

fn print_field(args: &Info, field: &str) -> Result<()> {
    for path in &args.files {
        let input = Input::open(path)?;
        let mut opened = Opened::new(&input, &args.opening.limits()).with_context(|| input.name())?;
        let fact = match opened.fact(field) {
            FactFound::One(_, fact) => fact,
            FactFound::Several(layers) => {
                let name = field.rsplit('.').next().unwrap_or(field);
                let paths: Vec<String> = layers.iter().map(|id| format!("{}.{name}", dotted(&opened, *id))).collect();
                let what = format!("{}: several layers have a field {field}, and not the same", input.name());
                bail!("{what}: give one of {}", paths.join(", "));
            }
            FactFound::None => {
                let mut names: Vec<&str> =
                    opened.layers().iter().flat_map(|layer| layer.facts.iter().map(|fact| fact.name)).collect();
                names.sort_unstable();
                names.dedup();
                bail!("{}: has no field {field}; there are: {}", input.name(), names.join(", "));
            }
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
