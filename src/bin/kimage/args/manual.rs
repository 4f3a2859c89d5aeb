//! `completions` and `man`.

use clap::Args;
use std::path::PathBuf;

/// The completions of a shell, on standard output
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage completions bash > /etc/bash_completion.d/kimage
  kimage completions zsh > ~/.zfunc/_kimage
  kimage completions fish > ~/.config/fish/completions/kimage.fish")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// The manual pages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage man | man -l -
  kimage man uimage | man -l -
  kimage man --dir /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The page of this command, on standard output [default: that of kimage itself]
    pub(crate) command: Option<String>,
    /// Write all pages into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}
