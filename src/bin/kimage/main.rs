//! The command: opens files, calls the library, says what came of it.
//!
//! Paths, the environment, the terminal and exit codes live here and nowhere else. Exit status: 0 good, 1 failure,
//! 2 usage.

mod args;
mod cleanup;
mod cmd;
mod dash;
mod depfile;
mod draft;
mod fd;
mod input;
mod keys;
mod link;
mod message;
mod options;
mod output;
mod place;
mod screen;
mod secret;
#[cfg(feature = "pkcs11")]
mod token;
#[cfg(not(feature = "pkcs11"))]
#[path = "no_token.rs"]
mod token;

use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let done = match cmd::by_name(&arguments) {
        Some(done) => finished(done),
        None => match args::Cli::read() {
            Ok(Ok(cli)) => run(cli),
            Ok(Err(schema)) => screen::print(|out| out.write_all(schema.as_bytes())).map(|()| 0),
            Err(error) => help(&error).map(|()| 0),
        },
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            message::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: args::Cli) -> Result<u8> {
    let dependencies = cli.depfile.clone();
    let done = cmd::run(cli);
    finished(match dependencies.as_deref().filter(|_| done.is_ok()) {
        Some(path) => write_depfile(path).and(done),
        None => done,
    })
}

fn finished(done: Result<u8>) -> Result<u8> {
    // Whatever came of it: it came of files that were others at the end.
    let status = input::are_unchanged().and(done)?;
    fd::closed(std::io::stdout()).context("standard output cannot be written")?;
    Ok(status)
}

fn write_depfile(path: &Path) -> Result<()> {
    let text = depfile::text(path)?;
    let output = output::Output { path, sync: false, is_text: true };
    output.write_unnoted(text.len() as u64, |out| Ok(out.write_all(text.as_bytes())?))
}

/// Help and version, which clap has for an error too; with any other, this is the end.
fn help(error: &clap::Error) -> Result<()> {
    if error.use_stderr() {
        message::refuse(error);
    }
    let text = error.render();
    let text = if screen::style().colour { text.ansi().to_string() } else { text.to_string() };
    screen::print(|out| out.write_all(text.as_bytes()))
}
