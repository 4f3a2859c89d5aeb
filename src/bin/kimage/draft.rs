//! How an output gets into its place: written beside it, then renamed.
//!
//! The new bytes go to a file without a name (`O_TMPFILE`), which gets one when it is whole: nothing of it stays however the
//! command ends. Where the file system has no such files, it has a name from the beginning, and [`cleanup`] watches it.
//!
//! To replace a file takes a name for a moment, since the kernel renames names only (linkat(2) replaces nothing). Such a name
//! is made of the output's, and its file is locked (flock(2)) by who makes it: one without a lock was left by a kill -9, and
//! whoever writes the same output next removes it.

use crate::cleanup::{self, Noted, Stray};
use crate::fd;
use crate::place::Entry;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// Makes something by a name beside `entry` that nothing else has.
fn temporary<T>(entry: &Entry, make: impl Fn(&OsStr) -> rustix::io::Result<T>) -> rustix::io::Result<(T, Temporary)> {
    let mut number = 0;
    loop {
        let name = temporary_name(entry, number);
        let made = cleanup::made(|| Ok((make(&name)?, Stray::File(Arc::clone(&entry.folder), name.clone()))));
        match made {
            Ok((made, noted)) => {
                return Ok((made, Temporary { folder: Arc::clone(&entry.folder), name, noted: Some(noted) }));
            }
            Err(Errno::EXIST) if number < 9999 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Names that are near the length that a file system allows would be too long.
fn temporary_name(entry: &Entry, number: u32) -> OsString {
    let stem: String = entry.name.to_string_lossy().chars().take(30).collect();
    format!(".kimage-{stem}-{number}.tmp").into()
}

/// How many names are looked at in any case: so many that write one output at a time could have been killed.
const SWEPT: u32 = 8;

/// Removes what is left of others who were to write this output and were killed.
fn sweep(entry: &Entry) {
    let mut number = 0;
    loop {
        let is_there = sweep_one(&entry.folder, &temporary_name(entry, number));
        number += 1;
        if number >= SWEPT && !is_there {
            return;
        }
    }
}

/// Removes a file of that name that is ours and that nobody holds locked. False if there is nothing of that name.
fn sweep_one(folder: &OwnedFd, name: &OsStr) -> bool {
    let look = || rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let Ok(found) = look() else { return false };
    let is_ours = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_uid == rustix::process::geteuid().as_raw();
    let open = |access| {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(folder, name, flags, Mode::empty())
    };
    // Network file systems lock only what is open for writing (flock(2)).
    let Some(file) = is_ours.then(|| open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)).ok()).flatten() else {
        return true;
    };
    let is_same = |stat: Stat| id(&stat) == id(&found);
    // A file system without locks does not tell who is at work: it stays.
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && rustix::fs::fstat(&file).is_ok_and(is_same)
        && look().is_ok_and(is_same)
    {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    true
}

/// What a file is, whatever its names.
fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Tells others that somebody is at work on the file. Where there are no locks, nobody takes it for one that was left.
/// False if another one has it.
fn lock(file: impl AsFd) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

/// The name of a file that is not whole yet; dropping it removes the file.
struct Temporary {
    folder: Arc<OwnedFd>,
    name: OsString,
    noted: Option<Noted>,
}

impl Temporary {
    /// The file has its own name now.
    fn keep(mut self) {
        self.name.clear();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
        self.noted = None;
    }
}

/// A file in the making; dropped, it is gone.
pub(crate) struct Draft<'e> {
    entry: &'e Entry,
    file: File,
    /// Where the file system has no files without one.
    name: Option<Temporary>,
}

impl<'e> Draft<'e> {
    /// An empty file that is to take the place of `entry`.
    pub(crate) fn new(entry: &'e Entry) -> rustix::io::Result<Draft<'e>> {
        sweep(entry);
        // What replaces a file that only some may read is never readable for more.
        let mode = Mode::from_raw_mode(if entry.stat.is_some() && !entry.planted { 0o600 } else { 0o666 });
        match unnamed(entry, mode) {
            Some(file) => Ok(Draft { entry, file, name: None }),
            None => {
                let (file, name) = named(entry, mode)?;
                Ok(Draft { entry, file, name: Some(name) })
            }
        }
    }

    /// Where the bytes go.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place, with the owner and the permissions of the one that it replaces. With `sync`, file and
    /// folder are on the disk afterwards. Gives what could not be kept of the old file, in words.
    pub(crate) fn put(self, sync: bool) -> Result<Vec<String>> {
        // Some file systems say only now that there is no room for it, or that its bytes did not arrive (close(2)).
        fd::closed(&self.file).context("cannot be written")?;
        let lost = match &self.entry.stat {
            Some(old) if self.entry.planted => vec![format!(
                "was a file of user {} where everybody may put files: owner and permissions are those of a new file",
                old.st_uid
            )],
            Some(old) => self.inherit(old)?,
            None => Vec::new(),
        };
        if sync {
            self.file.sync_all().context("cannot be written through to the disk")?;
        }
        let entry = self.entry;
        self.rename().context("cannot be put in place")?;
        if sync {
            // A folder that is open as a path only cannot be synced.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(&entry.folder, ".", flags, Mode::empty())
                .and_then(rustix::fs::fsync)
                .context("its folder cannot be written through to the disk")?;
        }
        Ok(lost)
    }

    /// Takes over owner, group and permissions.
    fn inherit(&self, old: &Stat) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        let new = rustix::fs::fstat(&self.file).context("cannot be looked at")?;
        let mut mode = old.st_mode & 0o777;
        if old.st_mode & 0o7000 != 0 {
            lost.push(format!(
                "is no longer set-user-ID, set-group-ID or sticky (mode {:o}, now {mode:o})",
                old.st_mode & 0o7777
            ));
        }
        let owner = (new.st_uid != old.st_uid).then(|| Uid::from_raw(old.st_uid));
        let group = (new.st_gid != old.st_gid).then(|| Gid::from_raw(old.st_gid));
        if owner.is_some() && rustix::fs::fchown(&self.file, owner, None).is_err() {
            lost.push(format!(
                "belongs to user {} now, before to {}: only root may give files away",
                new.st_uid, old.st_uid
            ));
        }
        if group.is_some() && rustix::fs::fchown(&self.file, None, group).is_err() {
            lost.push(format!("belongs to group {} now, before to {}", new.st_gid, old.st_gid));
            // Another group gets no more than everybody.
            mode = mode & 0o707 | mode & (mode & 7) << 3;
        }
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))
            .context("cannot be given the permissions of the old file")?;
        Ok(lost)
    }

    fn rename(self) -> rustix::io::Result<()> {
        let Entry { folder, name, stat, .. } = self.entry;
        let link = |name: &OsStr| rustix::fs::linkat(CWD, open_path(&self.file), folder, name, AtFlags::SYMLINK_FOLLOW);
        let by_way = || {
            lock(&self.file);
            temporary(self.entry, link)
        };
        let temporary = match self.name {
            Some(temporary) => temporary,
            // Nothing is there to be replaced, unless somebody was faster.
            None if stat.is_none() => match link(name) {
                Err(Errno::EXIST) => by_way()?.1,
                done => return done,
            },
            None => by_way()?.1,
        };
        rustix::fs::renameat(folder, &temporary.name, folder, name)?;
        temporary.keep();
        Ok(())
    }
}

/// A file without a name, if the file system has such, and /proc is there to give it one later.
fn unnamed(entry: &Entry, mode: Mode) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&entry.folder, ".", flags, mode).ok()?;
    rustix::fs::statat(CWD, open_path(&file), AtFlags::empty()).ok()?;
    Some(file.into())
}

fn named(entry: &Entry, mode: Mode) -> rustix::io::Result<(File, Temporary)> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    temporary(entry, |name| {
        let file = rustix::fs::openat(&entry.folder, name, flags, mode)?;
        // Who sweeps may have come between, and taken it for one that was left: then it is gone, or soon will be.
        let is_there = || Some(id(&rustix::fs::statat(&entry.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?));
        let is_ours = lock(&file) && is_there() == Some(id(&rustix::fs::fstat(&file)?));
        if is_ours { Ok(file.into()) } else { Err(Errno::EXIST) }
    })
}

/// The path that leads to an open file, whether it has a name or not.
fn open_path(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
