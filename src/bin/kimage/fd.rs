//! What the standard library does not tell of open files: errors of close(2), and which standard streams were closed when
//! the command was started.

use anyhow::{Result, bail};
use std::io;
use std::os::fd::{AsFd, IntoRawFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// Has the system tell what it would tell when the last descriptor of a file is closed: a file system over a network writes
/// then, and only then says that there is no room.
pub(crate) fn closed(file: impl AsFd) -> io::Result<()> {
    // Each close of each descriptor is told (nfs(5), "Close-to-open cache consistency"); a file that is to get a name yet
    // has to stay open.
    let other = file.as_fd().try_clone_to_owned()?.into_raw_fd();
    // SAFETY: the descriptor was made just now and belongs to nobody else; it is not used again.
    #[allow(unsafe_code, reason = "the standard library closes without looking at what comes of it")]
    let done = unsafe { libc::close(other) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A bit for each of the first three descriptors that was not open.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Looks before Rust's start does, which opens /dev/null for each of them: all that is written there would be lost, and
/// nobody told.
extern "C" fn look() {
    for number in 0..3 {
        // SAFETY: reads the flags of a descriptor, open or not; there are no pointers.
        #[allow(unsafe_code, reason = "a descriptor that may not be open has no safe type")]
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
}

// SAFETY: the loader calls what stands in this section once, before main, with arguments that `look` does not take; that
// uses nothing of the standard library's that needs its start.
#[allow(unsafe_code, reason = "nothing else runs before the standard library's own start")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = look;

/// Fails if there is nobody to write to.
pub(crate) fn check_stdout() -> Result<()> {
    if CLOSED.load(Ordering::Relaxed) & 2 != 0 {
        bail!("is closed: nothing can be written there; name a file with -o where the command has that, or open it");
    }
    Ok(())
}

/// Fails if there is nothing to read from.
pub(crate) fn check_stdin() -> Result<()> {
    if CLOSED.load(Ordering::Relaxed) & 1 != 0 {
        bail!("standard input is closed: give it a file, or name one");
    }
    Ok(())
}
