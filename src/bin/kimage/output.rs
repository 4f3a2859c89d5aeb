//! Files out: written beside the target, then renamed. A failure leaves the old file as it was.

use crate::draft::Draft;
use crate::input::Input;
use crate::place::{Folder, Place, find};
use crate::screen::Screen;
use crate::{fd, input, message};
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kimage::report::OUTPUT_OWNER;
use kimage::report::STDOUT;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// What an output is written to. Only a file that nobody sees yet has a position.
pub(crate) trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

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
        !self.is_stdout() && matches!(find(self.path), Ok(Place::Replace(_)))
    }

    /// The path, for messages.
    pub(crate) fn name(&self) -> String {
        if self.is_stdout() { STDOUT.to_owned() } else { self.path.display().to_string() }
    }

    /// Lets `write` write the output of `len` bytes.
    pub(crate) fn write<T>(&self, len: u64, write: impl FnOnce(&mut dyn Sink) -> Result<T>) -> Result<T> {
        let value = self.write_unnoted(len, write)?;
        if !self.is_stdout() {
            crate::depfile::written(self.path);
        }
        Ok(value)
    }

    /// The same for a file that no build engine waits for.
    pub(crate) fn write_unnoted<T>(&self, len: u64, write: impl FnOnce(&mut dyn Sink) -> Result<T>) -> Result<T> {
        if self.is_stdout() && !self.is_text && io::stdout().is_terminal() {
            bail!("standard output is a terminal; name a file with -o, or redirect the output");
        }
        let written = match self.path {
            _ if self.is_stdout() => self.write_stdout(len, write),
            path => find(path).and_then(|place| self.write_at(&place, len, write)),
        };
        written.with_context(|| self.name())
    }

    /// What `write` makes of `len` bytes, to be read again before it becomes the output. It lies in a file without a name, beside the
    /// output where that can be: it takes no more memory than any other input.
    pub(crate) fn temporary<T>(&self, len: u64, write: impl FnOnce(&mut dyn Sink) -> Result<T>) -> Result<Input> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(folder).or_else(|_| tempfile::tempfile());
        let file = file.context("no temporary file can be made").with_context(|| self.name())?;
        fill(&file, true, len, write).with_context(|| self.name())?;
        Input::of(file, self.path)
    }

    /// Fails where [`Output::write`] is sure to fail: for those who would otherwise work long in vain.
    pub(crate) fn check(&self) -> Result<()> {
        let checked = if self.is_stdout() { Ok(()) } else { find(self.path).map(|_| ()) };
        checked.with_context(|| self.name())
    }

    fn write_stdout<T>(&self, len: u64, write: impl FnOnce(&mut dyn Sink) -> Result<T>) -> Result<T> {
        fd::check_stdout()?;
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            // Not by way of the standard library's buffer, which looks for line ends.
            let file = File::from(stdout.as_fd().try_clone_to_owned().context("cannot be written")?);
            return fill(&file, false, len, write);
        }
        let mut screen = Screen::new(stdout.lock(), false);
        let value = write(&mut screen)?;
        screen.flush().context("cannot be written")?;
        Ok(value)
    }

    /// As [`Output::write`], to `name` in a folder that is held open; the path is for messages and for who waits for the file.
    pub(crate) fn write_into(&self, folder: &Folder, name: &str, pieces: &[&[u8]]) -> Result<()> {
        let write = |out: &mut dyn Sink| Ok(pieces.iter().try_for_each(|piece| out.write_all(piece))?);
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        let written = folder.entry(name).and_then(|place| self.write_at(&place, len, write));
        written.with_context(|| self.name())?;
        crate::depfile::written(self.path);
        Ok(())
    }

    fn write_at<T>(&self, place: &Place, len: u64, write: impl FnOnce(&mut dyn Sink) -> Result<T>) -> Result<T> {
        let entry = match place {
            Place::Open(entry) => {
                let file = entry.open()?;
                let value = fill(&file, false, len, write)?;
                fd::closed(&file).context("cannot be written")?;
                return Ok(value);
            }
            Place::Replace(entry) => entry,
        };
        let draft = Draft::new(entry).context("no file can be made in its folder")?;
        let value = fill(draft.file(), true, len, write)?;
        input::are_unchanged()?;
        for lost in draft.put(self.sync)? {
            message::finding(&OUTPUT_OWNER.finding(format!("{} {lost}", self.name())));
        }
        Ok(value)
    }
}

fn fill<T>(to: &File, is_ours: bool, len: u64, write: impl FnOnce(&mut dyn Sink) -> Result<T>) -> Result<T> {
    // Small pieces are gathered; large ones pass through without a copy.
    let mut out = BufWriter::with_capacity(64 << 10, Watched { to, is_ours, bar: Bar::new(len) });
    let value = write(&mut out)?;
    out.flush().context("cannot be written")?;
    Ok(value)
}

/// Bytes written in one go. Before each step of its copying Linux looks whether all that is left of a write is there: with
/// 8 MiB, that took as long as the rest.
const TURN: usize = 1 << 20;

/// From here on it is less work to let the kernel copy parts of an input than to write them. It copies in steps of as much (a
/// pipe of 16 pages, splice(2)), and takes a sixth longer where they do not begin at a multiple of that in the output: there,
/// each is in two of the page cache's large folios.
const BY_KERNEL: usize = 64 << 10;

/// Bytes copied by the kernel in one go, for the bar.
const KERNEL_TURN: usize = 64 << 20;

/// Of a larger piece, what was written is given back: what a file takes in memory does not follow its parts.
const LARGE: usize = 8 << 20;

/// A writer under a progress bar.
struct Watched<'f> {
    to: &'f File,
    /// From its first byte to its last.
    is_ours: bool,
    bar: Bar,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() >= BY_KERNEL {
            // A first piece up to the next such step of the output, which the others then begin at.
            let step = BY_KERNEL - self.bar.done as usize % BY_KERNEL;
            let most = if step < BY_KERNEL { step } else { KERNEL_TURN };
            if let Some(count) = input::copy(bytes.get(..most).unwrap_or(bytes), self.to, self.bar.done)? {
                self.bar.advance(count as u64);
                return Ok(count);
            }
        }
        // In turns, so that the bar moves. They end at multiples of their length in the file, since half a page costs the
        // page cache as much as a whole one.
        let left = TURN - self.bar.done as usize % TURN;
        let turn = bytes.get(..left).unwrap_or(bytes);
        touch(turn);
        let count = self.to.write(turn)?;
        if bytes.len() >= LARGE {
            input::written(bytes.get(..count).unwrap_or_default());
        }
        self.bar.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Seek for Watched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if !self.is_ours {
            return Err(io::ErrorKind::NotSeekable.into());
        }
        self.bar.done = self.to.seek(to)?;
        Ok(self.bar.done)
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
