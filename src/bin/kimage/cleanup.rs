//! What has a name before it may stay: gone again when a signal ends the command.
//!
//! Most outputs have no name until they are whole (see [`crate::place`]), and nothing of them can stay. What needs one is
//! noted here. SIGINT, SIGTERM, SIGHUP and SIGQUIT then first remove it and do what they do then. (SIGKILL asks nobody: what
//! it leaves, the next one who writes the same output removes.)

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, PoisonError};

/// Something that must not stay.
pub(crate) enum Stray {
    /// A file of that name in an open folder.
    File(Arc<OwnedFd>, OsString),
    /// A folder and all that is in it.
    Folder(PathBuf),
}

impl Stray {
    fn remove(&self) {
        // It may be gone already; and there is nobody left to tell.
        match self {
            Stray::File(folder, name) => drop(rustix::fs::unlinkat(folder, name, rustix::fs::AtFlags::empty())),
            Stray::Folder(path) => drop(std::fs::remove_dir_all(path)),
        }
    }
}

static NOTED: Mutex<Vec<(usize, Stray)>> = Mutex::new(Vec::new());

/// While it lives, a signal removes what was noted. Dropping it only forgets.
#[must_use]
pub(crate) struct Noted(usize);

/// Makes something and notes it: for a signal, one step.
pub(crate) fn made<T, E>(make: impl FnOnce() -> Result<(T, Stray), E>) -> Result<(T, Noted), E> {
    static WATCH: Once = Once::new();
    WATCH.call_once(watch);
    // Held while it is made: whoever ends the command has to wait, and then knows of it.
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    let (made, stray) = make()?;
    let id = noted.last().map_or(1, |(id, _)| id + 1);
    noted.push((id, stray));
    Ok((made, Noted(id)))
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Ok(mut noted) = NOTED.lock() {
            noted.retain(|(id, _)| *id != self.0);
        }
    }
}

/// For one who cannot wait: removes files, not folders.
pub(crate) fn at_once() {
    if let Ok(noted) = NOTED.try_lock() {
        noted.iter().filter(|(_, stray)| matches!(stray, Stray::File(..))).for_each(|(_, stray)| stray.remove());
    }
}

/// Starts the thread that waits for signals. Where it cannot be had, signals do what they always did.
fn watch() {
    let ignored = ignored();
    let wanted = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let waiting = std::thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            if let Ok(noted) = NOTED.lock() {
                noted.iter().for_each(|(_, stray)| stray.remove());
                // With the lock held: nothing is noted any more.
                let _ = emulate_default_handler(signal);
            }
        }
    });
    drop(waiting);
}

/// The signals that whoever started the command wants ignored (`nohup`, `command &` in a script): a bit each, signal 1
/// the lowest (proc(5), SigIgn).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
}
