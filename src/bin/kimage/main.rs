//! The command: opens files, calls the library, says what came of it.
//!
//! Paths, the environment, the terminal and exit codes live here and nowhere else. Exit status: 0 good, 1 failure,
//! 2 usage.

mod args;
mod cmd;
mod depfile;
mod input;
mod link;
mod output;
mod say;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let dependencies = cli.depfile.clone();
    let done = cmd::run(cli).and_then(|()| dependencies.as_deref().map_or(Ok(()), depfile::write));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if say::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}
