//! Files out: written beside the target, then renamed. A failure leaves the old file as it was.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kimage::report::STDOUT;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where an output goes.
pub(crate) struct Output<'p> {
    pub(crate) path: &'p Path,
    /// fsync file and folder before success is reported.
    pub(crate) sync: bool,
    /// Text may go to a terminal.
    pub(crate) is_text: bool,
}

impl Output<'_> {
    /// Standard output?
    pub(crate) fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Does what was written become visible only when all went well?
    pub(crate) fn is_replaced(&self) -> bool {
        !self.is_stdout() && self.target().metadata().map_or(true, |meta| meta.is_file())
    }

    /// The path, for messages.
    pub(crate) fn name(&self) -> String {
        if self.is_stdout() { STDOUT.to_owned() } else { self.path.display().to_string() }
    }

    /// Lets `write` write the output of `len` bytes.
    pub(crate) fn write<T>(&self, len: u64, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
        let value = self.write_unnoted(len, write)?;
        if !self.is_stdout() {
            crate::depfile::written(self.path);
        }
        Ok(value)
    }

    /// The same for a file that no build engine waits for.
    pub(crate) fn write_unnoted<T>(&self, len: u64, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
        if self.is_stdout() {
            let stdout = io::stdout().lock();
            if stdout.is_terminal() && !self.is_text {
                bail!("standard output is a terminal; name a file with -o, or redirect the output");
            }
            return fill(stdout, len, write).map(|(_, value)| value);
        }
        self.write_file(len, write).with_context(|| self.name())
    }

    /// Fails where [`Output::write`] is sure to fail: for those who would otherwise work long in vain.
    pub(crate) fn check(&self) -> Result<()> {
        let target = self.target();
        let checked = match target.metadata() {
            _ if self.is_stdout() => Ok(()),
            Ok(meta) if meta.is_dir() => is_folder(),
            Ok(_) => Ok(()),
            Err(_) => folder_of(&target).map(|_| ()),
        };
        checked.with_context(|| self.name())
    }

    /// A link stays, and the file it leads to is replaced.
    fn target(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.to_owned())
    }

    fn write_file<T>(&self, len: u64, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
        let target = self.target();
        let old = match target.metadata() {
            Ok(meta) if meta.is_dir() => return is_folder(),
            // A device or a pipe has nothing to rename over.
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(&target).context("cannot be opened")?;
                return fill(file, len, write).map(|(_, value)| value);
            }
            Ok(meta) => Some(meta.permissions()),
            Err(_) => None,
        };
        let folder = folder_of(&target)?;
        let mut temporary = tempfile::Builder::new()
            .prefix(".kimage-")
            .suffix(".tmp")
            // As any program makes a file: the umask takes away from this.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&folder)
            // Without the name of a file that nobody asked for.
            .map_err(|error| io::Error::from(error.kind()))
            .with_context(|| format!("no file can be made in {}", folder.display()))?;
        let (_, value) = fill(temporary.as_file_mut(), len, write)?;
        if let Some(old) = old {
            temporary.as_file().set_permissions(old).context("cannot be given the permissions of the old file")?;
        }
        if self.sync {
            temporary.as_file().sync_all().context("cannot be written through to the disk")?;
        }
        temporary.persist(&target).map_err(|error| error.error).context("cannot be put in place")?;
        if self.sync {
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .with_context(|| format!("{} cannot be written through to the disk", folder.display()))?;
        }
        Ok(value)
    }
}

fn is_folder<T>() -> Result<T> {
    bail!("is a folder; name a file")
}

/// The folder of `target`, which must be there.
fn folder_of(target: &Path) -> Result<PathBuf> {
    let folder = match target.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if !folder.is_dir() {
        bail!("there is no folder {}; make it, or name another file", folder.display());
    }
    Ok(folder)
}

fn fill<W: Write, T>(to: W, len: u64, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<(W, T)> {
    // Small pieces are gathered; large ones pass through without a copy.
    let mut out = BufWriter::with_capacity(64 << 10, Watched { to, bar: Bar::new(len) });
    let value = write(&mut out)?;
    let watched = out.into_inner().map_err(io::IntoInnerError::into_error).context("cannot be written")?;
    Ok((watched.to, value))
}

/// Bytes written in one go. Before each step of its copying Linux looks whether all that is left of a write is there: with
/// 8 MiB, that took as long as the rest.
const TURN: usize = 1 << 20;

/// A writer under a progress bar.
struct Watched<W> {
    to: W,
    bar: Bar,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // In turns, so that the bar moves. They end at multiples of their length in the file, since half a page costs the
        // page cache as much as a whole one.
        let left = TURN - self.bar.done as usize % TURN;
        let turn = bytes.get(..left).unwrap_or(bytes);
        touch(turn);
        let count = self.to.write(turn)?;
        self.bar.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Reads a byte of every page. The bytes are mostly those of a mapped file; a `write` that finds them all there takes a
/// sixth less time, this loop included.
fn touch(bytes: &[u8]) {
    const PAGE: usize = 4096;
    std::hint::black_box(bytes.iter().step_by(PAGE).fold(0, |all, byte| all | byte));
}

/// Shows itself only on a terminal, and only when the work takes longer than half a second.
struct Bar {
    started: Instant,
    len: u64,
    done: u64,
    shown: Option<ProgressBar>,
}

impl Bar {
    fn new(len: u64) -> Bar {
        Bar { started: Instant::now(), len, done: 0, shown: None }
    }

    fn advance(&mut self, count: u64) {
        self.done += count;
        if self.shown.is_none() && self.started.elapsed() > Duration::from_millis(500) {
            let bar = ProgressBar::with_draw_target(Some(self.len), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("writing {wide_bar} {bytes}/{total_bytes}") {
                bar.set_style(style);
            }
            self.shown = Some(bar);
        }
        if let Some(bar) = &self.shown {
            bar.set_position(self.done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
