//! Passphrases and PINs: from a file, or from the terminal.

use anyhow::{Context, Result};
use std::path::Path;

/// The first line of a file, without its end.
pub(crate) fn first_line(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("the passphrase's file {}", path.display()))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

/// What is typed at the terminal, unseen; `None` where there is no terminal.
pub(crate) fn typed(prompt: &str) -> Option<Vec<u8>> {
    rpassword::prompt_password(prompt).ok().map(String::into_bytes)
}
