//! Files in: mapped where possible, so that what nobody looks at is never read.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The bytes of an input, and its path for messages.
pub(crate) struct Input {
    path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Read(Vec<u8>),
}

/// Below this, reading is cheaper than mapping and its page faults.
const MAP_FROM: u64 = 128 << 10;

impl Input {
    /// Opens `path`; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Input> {
        let bytes = if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
            Bytes::Read(bytes)
        } else {
            read(path).with_context(|| path.display().to_string())?
        };
        if path != Path::new("-") {
            crate::depfile::read(path);
        }
        Ok(Input { path: path.to_owned(), bytes })
    }

    /// The path, for messages.
    pub(crate) fn name(&self) -> String {
        if self.path == Path::new("-") { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Gives back the memory of `bytes`, a part of this input; they come from the file again if somebody looks.
    #[allow(unsafe_code, reason = "as for the map itself")]
    pub(crate) fn forget(&self, bytes: &[u8]) {
        let Bytes::Mapped(map) = &self.bytes else { return };
        let at = (bytes.as_ptr() as usize).wrapping_sub(map.as_ptr() as usize);
        if at.checked_add(bytes.len()).is_some_and(|end| end <= map.len()) {
            // SAFETY: the map is of a file, private and read-only: no page of it has been changed, and a page that was
            // dropped is filled from the file as it was the first time. Failing does no harm.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, at, bytes.len()) };
        }
    }
}

impl Input {
    /// The path without its folder.
    pub(crate) fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or("file")
    }
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Read(bytes) => bytes,
        }
    }
}

fn read(path: &Path) -> Result<Bytes> {
    let mut file = File::open(path).context("cannot be opened")?;
    let meta = file.metadata().context("cannot be looked at")?;
    if meta.is_dir() {
        bail!("is a folder; give a file");
    }
    if meta.is_file() && meta.len() >= MAP_FROM {
        if let Some(map) = map(&file) {
            return Ok(Bytes::Mapped(map));
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("cannot be read")?;
    Ok(Bytes::Read(bytes))
}

/// Maps a whole file; `None` where the file system cannot.
#[allow(unsafe_code, reason = "the one place: mapping a file needs it, and debug kernels have hundreds of megabytes")]
fn map(file: &File) -> Option<memmap2::Mmap> {
    // SAFETY: the map is private and read-only. Should another program cut the file meanwhile, a page fault ends this
    // process with SIGBUS before anything was renamed into place; should it write to it, the bytes read change, which
    // the library survives: it trusts no byte, and every access is bounds-checked against the length of the map.
    unsafe { memmap2::Mmap::map(file) }.ok()
}
