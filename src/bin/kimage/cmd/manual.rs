//! `completions` and `man`, made of the command line's own description.

use crate::args::{Cli, Completions, Man};
use crate::output::Output;
use crate::screen;
use anyhow::{Result, bail};
use clap::{Command, CommandFactory};
use std::io::Write;
use std::path::Path;

pub(crate) fn completions(args: &Completions) -> Result<()> {
    // Hidden commands are offered to nobody; clap would.
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command =
        Command::new("kimage").version(env!("CARGO_PKG_VERSION")).args(all.get_arguments().cloned()).subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kimage", &mut script);
    screen::print(|out| out.write_all(&script))
}

pub(crate) fn man(args: &Man) -> Result<()> {
    let mut all = Cli::command();
    // Global options are in every page only after this.
    all.build();
    let Some(dir) = &args.dir else {
        let text = match &args.command {
            None => page(all)?,
            Some(name) => match all.find_subcommand(name) {
                Some(command) => page(command.clone())?,
                None => bail!("there is no command {name}; `kimage --help` shows those"),
            },
        };
        return screen::print(|out| out.write_all(&text));
    };
    for command in all.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set()) {
        put(dir, command.clone())?;
    }
    put(dir, all)
}

fn put(dir: &Path, command: Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).replace(' ', "-");
    let path = dir.join(format!("{name}.1"));
    let text = page(command)?;
    let output = Output { path: &path, sync: false, is_text: true };
    output.write(text.len() as u64, |out| Ok(out.write_all(&text)?))
}

fn page(command: Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(text)
}
