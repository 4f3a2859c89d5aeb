//! Files in: mapped where possible, so that what nobody looks at is never read.
//!
//! A file can change while it is read. What was read of it then is no longer the file's, or anybody's: the command says so and
//! fails, whatever it made of it ([`are_unchanged`]). A mapped file that gets shorter, or that its disk does not give, is a
//! SIGBUS where it is touched: the command says what happened and ends.

use crate::{cleanup, dash, fd, message};
use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use kimage::bytes::printable;
use rustix::io::Errno;
use signal_hook::consts::SIGBUS;
use signal_hook::low_level::{emulate_default_handler, exit};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::ops::{Deref, Range};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};

/// The bytes of an input, and its path for messages.
pub(crate) struct Input {
    path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mapped),
    Read(Vec<u8>),
}

/// A file in memory.
struct Mapped {
    map: memmap2::Mmap,
}

/// A mapped file, to be looked at again.
struct Source {
    name: String,
    file: File,
    /// Where it is in memory.
    at: Range<usize>,
    /// Size and time of the last change.
    state: State,
    /// What to say if it got shorter, and if the disk does not give it; made beforehand, for there is no time then.
    shorter: String,
    unread: String,
}

type State = (u64, (i64, i64));

/// Files that are mapped.
static SOURCES: Mutex<Vec<Arc<Source>>> = Mutex::new(Vec::new());

/// What is wrong with files that were mapped and no longer are.
static CHANGED: Mutex<Option<String>> = Mutex::new(None);

/// So many are mapped at a time, and so kept open; a process may have 1024 files. Others are read.
const MOST_MAPPED: usize = 200;

/// The smallest page of memory and block of a file system that counts.
const PAGE: u64 = 4096;

/// Below this, reading is cheaper than mapping and its page faults.
const MAP_FROM: u64 = 128 << 10;

/// Fails if a file is no longer what it was when it was opened.
pub(crate) fn are_unchanged() -> Result<()> {
    if let Some(changed) = CHANGED.lock().ok().and_then(|mut changed| changed.take()) {
        bail!(changed);
    }
    let Ok(sources) = SOURCES.lock() else { return Ok(()) };
    sources.iter().try_for_each(|source| source.is_unchanged())
}

/// Lets the kernel copy `bytes`, if they are part of a mapped file, to offset `at` of `to`, where that stands: nothing of
/// them passes through this process, and a file system that can share blocks between files shares them. Gives how many
/// were copied; `None` where that is not possible or not worth it, and they have to be written: where pages of the one file
/// do not become pages of the other, nothing can be shared, and the kernel copies page by half page, which takes longer
/// than a write of mapped bytes.
pub(crate) fn copy(bytes: &[u8], to: &File, at: u64) -> io::Result<Option<usize>> {
    let start = bytes.as_ptr() as usize;
    let found = SOURCES.lock().ok().and_then(|sources| {
        let holds = |source: &&Arc<Source>| start >= source.at.start && start + bytes.len() <= source.at.end;
        sources.iter().find(holds).cloned()
    });
    let Some(source) = found else { return Ok(None) };
    let mut from = (start - source.at.start) as u64;
    if (from ^ at) % PAGE != 0 {
        return Ok(None);
    }
    match rustix::fs::copy_file_range(&source.file, Some(&mut from), to, None, bytes.len()) {
        // Shorter than it was: whoever touches the bytes now will learn it.
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO | Errno::INTR)) => Err(error.into()),
        // Other file systems, pipes, files that are appended to, kernels that cannot (copy_file_range(2)).
        Err(_) => Ok(None),
    }
}

/// Gives back the memory of `bytes`, if they are part of a mapped file: whoever has written a large piece needs it no more, and it
/// comes from the file again if somebody looks.
#[allow(unsafe_code, reason = "as for the map itself")]
pub(crate) fn written(bytes: &[u8]) {
    const PAGE: usize = self::PAGE as usize;
    let (start, end) = (bytes.as_ptr() as usize, bytes.as_ptr() as usize + bytes.len());
    let is_mapped = |source: &Arc<Source>| start >= source.at.start && end <= source.at.end;
    let Ok(sources) = SOURCES.lock() else { return };
    // Whole pages.
    let skipped = start.next_multiple_of(PAGE) - start;
    if !sources.iter().any(is_mapped) || bytes.len() < skipped + PAGE {
        return;
    }
    let len = (bytes.len() - skipped) / PAGE * PAGE;
    let from = bytes.as_ptr().wrapping_add(skipped).cast_mut().cast();
    // SAFETY: these pages are of a private, read-only map of a file, which `bytes` keeps: no page of it was changed, and one that
    // was dropped is filled from the file as it was the first time. Failing does no harm.
    let _ = unsafe { rustix::mm::madvise(from, len, rustix::mm::Advice::LinuxDontNeed) };
}

impl Source {
    fn is_unchanged(&self) -> Result<()> {
        let now = self.file.metadata().with_context(|| format!("{}: cannot be looked at", self.name))?;
        check_unchanged(&self.name, self.state, state(&now))
    }
}

fn state(meta: &Metadata) -> State {
    (meta.len(), (meta.mtime(), meta.mtime_nsec()))
}

fn check_unchanged(name: &str, before: State, now: State) -> Result<()> {
    if now.0 < before.0 {
        bail!(
            "{name}: got shorter while it was read, from {} to {} bytes: try again when nobody writes it",
            before.0,
            now.0
        );
    }
    if now != before {
        bail!("{name}: was written to while it was read: try again when nobody writes it");
    }
    Ok(())
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let Ok(mut sources) = SOURCES.lock() else { return };
        let start = self.map.as_ptr() as usize;
        let Some(index) = sources.iter().position(|source| source.at.start == start) else { return };
        if let (Err(error), Ok(mut changed)) = (sources.remove(index).is_unchanged(), CHANGED.lock()) {
            changed.get_or_insert_with(|| error.to_string());
        }
    }
}

impl Input {
    /// Opens `path`; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Input> {
        let bytes = if path == Path::new("-") {
            fd::check_stdin()?;
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
            Bytes::Read(bytes)
        } else {
            read(path)?
        };
        if path != Path::new("-") {
            crate::depfile::read(path);
        }
        Ok(Input { path: path.to_owned(), bytes })
    }

    /// All of a file that this process has made, and nobody else sees; `path` is for messages.
    pub(crate) fn of(mut file: File, path: &Path) -> Result<Input> {
        let name = path.display().to_string();
        file.rewind().with_context(|| format!("{name}: a temporary file cannot be read"))?;
        let meta = file.metadata().with_context(|| format!("{name}: a temporary file cannot be looked at"))?;
        Ok(Input { path: path.to_owned(), bytes: contents(file, &meta, name)? })
    }

    /// The path, for messages.
    pub(crate) fn name(&self) -> String {
        if self.path == Path::new("-") { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Gives back the memory of `bytes`, a part of this input; they come from the file again if somebody looks.
    #[allow(unsafe_code, reason = "as for the map itself")]
    pub(crate) fn forget(&self, bytes: &[u8]) {
        let Bytes::Mapped(Mapped { map, .. }) = &self.bytes else { return };
        let at = (bytes.as_ptr() as usize).wrapping_sub(map.as_ptr() as usize);
        if at.checked_add(bytes.len()).is_some_and(|end| end <= map.len()) {
            // SAFETY: the map is of a file, private and read-only: no page of it has been changed, and a page that was
            // dropped is filled from the file as it was the first time. Failing does no harm.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, at, bytes.len()) };
        }
    }

    /// The path without its folder.
    pub(crate) fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or("file")
    }
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapped) => &mapped.map,
            Bytes::Read(bytes) => bytes,
        }
    }
}

fn read(path: &Path) -> Result<Bytes> {
    let name = || path.display().to_string();
    let opened = File::open(path);
    if let (true, Some(advice)) = (opened.is_err(), path.to_str().and_then(dash::advice)) {
        message::usage(ErrorKind::UnknownArgument, advice);
    }
    let file = opened.context("cannot be opened").with_context(name)?;
    let meta = file.metadata().context("cannot be looked at").with_context(name)?;
    if meta.is_dir() {
        bail!("{}: is a folder; give a file", name());
    }
    contents(file, &meta, name())
}

/// All that is in a file; mapped where that pays.
fn contents(mut file: File, meta: &Metadata, name: String) -> Result<Bytes> {
    if meta.is_file() && meta.len() >= MAP_FROM && SOURCES.lock().is_ok_and(|sources| sources.len() < MOST_MAPPED) {
        if let Some(map) = map(&file) {
            return Ok(Bytes::Mapped(guarded(map, file, meta, name)));
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("cannot be read").with_context(|| name.clone())?;
    if meta.is_file() {
        let now = file.metadata().context("cannot be looked at").with_context(|| name.clone())?;
        check_unchanged(&name, state(meta), state(&now))?;
    }
    Ok(Bytes::Read(bytes))
}

/// Sees to it that no fault of the file goes unsaid.
fn guarded(map: memmap2::Mmap, file: File, meta: &Metadata, name: String) -> Mapped {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(handle_faults);
    let state = state(meta);
    let start = map.as_ptr() as usize;
    let says = |what: &str| format!("{} {}: {what}\n", message::error_label(), printable(&name));
    let source = Source {
        at: start..start + map.len(),
        shorter: says(&format!(
            "got shorter while it was read, from {} bytes: try again when nobody writes it",
            state.0
        )),
        unread: says("cannot be read: its disk does not give all of it (Input/output error)"),
        state,
        file,
        name,
    };
    if let Ok(mut sources) = SOURCES.lock() {
        sources.push(Arc::new(source));
    }
    Mapped { map }
}

/// From here on, a SIGBUS in a mapped file ends the command with words.
#[allow(unsafe_code, reason = "what a signal's handler may do, no compiler checks")]
fn handle_faults() {
    // SAFETY: the handler compares numbers, calls fstat, write, unlinkat, sigaction, raise and _exit, and tries locks
    // without waiting: all that may be done in a handler (signal-safety(7)). It allocates nothing and cannot panic.
    // SIGBUS for a map comes with an address (sigaction(2)); nobody else holds the locks while touching one.
    let handled = unsafe {
        signal_hook_registry::register_sigaction(SIGBUS, |info| {
            let address = info.si_addr() as usize;
            let Ok(sources) = SOURCES.try_lock() else { exit(1) };
            let Some(source) = sources.iter().find(|source| info.si_code > 0 && source.at.contains(&address)) else {
                let _ = emulate_default_handler(SIGBUS);
                return;
            };
            let is_shorter = rustix::fs::fstat(&source.file).is_ok_and(|now| (now.st_size as u64) < source.state.0);
            let text = if is_shorter { &source.shorter } else { &source.unread };
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            cleanup::at_once();
            exit(1)
        })
    };
    // Without it the fault ends the command all the same, wordless.
    let _ = handled;
}

/// Maps a whole file; `None` where the file system cannot.
#[allow(unsafe_code, reason = "the one place: mapping a file needs it, and debug kernels have hundreds of megabytes")]
fn map(file: &File) -> Option<memmap2::Mmap> {
    // SAFETY: the map is private and read-only. Should another program cut the file meanwhile, a page fault ends this
    // process ([`guarded`]) before anything was renamed into place; should it write to it, the bytes read change, which
    // the library survives: it trusts no byte, and every access is bounds-checked against the length of the map.
    unsafe { memmap2::Mmap::map(file) }.ok()
}
