//! Where an output goes: which file a path means, and how that file gets its new bytes.
//!
//! A path is followed link by link with each folder held open, as the kernel would (path_resolution(7)), so that what was
//! looked at is what is written. In a folder where everybody may put files (sticky and writable for all, as /tmp), links and
//! pipes of somebody else are refused, whatever fs.protected_symlinks and fs.protected_fifos say (proc_sys_fs(5)).
//!
//! The new bytes go to a file without a name (`O_TMPFILE`), which gets one when it is whole: nothing of it stays however the
//! command ends. Where the file system has no such files, it has a name from the beginning, and [`cleanup`] watches it.

use crate::cleanup::{self, Noted, Stray};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, PROC_SUPER_MAGIC, Stat, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a path means for who wants to write there.
pub(crate) enum Place {
    /// A device, a pipe: written to as it stands.
    Open(Entry),
    /// A file, or none yet: replaced.
    Replace(Entry),
}

/// A name in a folder.
pub(crate) struct Entry {
    folder: Arc<OwnedFd>,
    name: OsString,
    /// What has that name, if anything has.
    stat: Option<Stat>,
    /// It belongs to somebody else and stands where everybody may put files.
    planted: bool,
}

/// The kernel follows so many (path_resolution(7)).
const LINKS: usize = 40;

/// Follows `path` to what is to be written.
pub(crate) fn find(path: &Path) -> Result<Place> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.ends_with(b"/") {
        return is_folder();
    }
    let mut folder = open_folder(CWD, path)?;
    let mut name = path.file_name().map_or_else(is_folder, |name| Ok(name.to_owned()))?;
    let mut from: Option<PathBuf> = None;
    for _ in 0..=LINKS {
        let entry = match rustix::fs::openat(
            &folder,
            &name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(entry) => entry,
            Err(Errno::NOENT) => match from {
                None => {
                    return Ok(Place::Replace(Entry { folder: Arc::new(folder), name, stat: None, planted: false }));
                }
                Some(to) => bail!(
                    "is a link to {}, and nothing is there: remove the link, or make the file that it is to lead to",
                    to.display()
                ),
            },
            Err(error) => return Err(error).context("cannot be looked at"),
        };
        let stat = rustix::fs::fstat(&entry).context("cannot be looked at")?;
        let planted = is_planted(&folder, &stat)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return is_folder(),
            FileType::Symlink => {}
            FileType::RegularFile => {
                return Ok(Place::Replace(Entry { folder: Arc::new(folder), name, stat: Some(stat), planted }));
            }
            FileType::Fifo if planted => return refuse("pipe", stat.st_uid),
            _ => return Ok(Place::Open(Entry { folder: Arc::new(folder), name, stat: Some(stat), planted })),
        }
        // /dev/stdout and its like lead to an open file, not to a name.
        if rustix::fs::fstatfs(&folder).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC) {
            return Ok(Place::Open(Entry { folder: Arc::new(folder), name, stat: None, planted }));
        }
        if planted {
            return refuse("link", stat.st_uid);
        }
        let to = rustix::fs::readlinkat(&entry, "", Vec::new()).context("is a link that cannot be read")?;
        let to = PathBuf::from(OsString::from_vec(to.into_bytes()));
        folder = open_folder(&folder, &to).with_context(|| format!("is a link to {}", to.display()))?;
        name = to.file_name().map_or_else(is_folder, |name| Ok(name.to_owned()))?;
        from = Some(to);
    }
    bail!("is a link that leads back to itself; remove it, or name another file")
}

pub(crate) fn is_folder<T>() -> Result<T> {
    bail!("is a folder; name a file")
}

/// Opens the folder of `path`, which must be there.
fn open_folder(beside: impl std::os::fd::AsFd, path: &Path) -> Result<OwnedFd> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // With a dot behind it, a link to a folder is on the way and not at its end.
    let opened =
        rustix::fs::openat(beside, folder.join("."), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => {
            anyhow!("there is no folder {}; make it, or name another file", folder.display())
        }
        error => anyhow!(error).context(format!("the folder {} cannot be opened", folder.display())),
    })
}

/// Could somebody else have put this where it is, for us to fall over?
fn is_planted(folder: &OwnedFd, stat: &Stat) -> Result<bool> {
    let around = rustix::fs::fstat(folder).context("its folder cannot be looked at")?;
    let for_all = Mode::SVTX | Mode::WOTH;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw() || stat.st_uid == around.st_uid;
    Ok(Mode::from_raw_mode(around.st_mode).contains(for_all) && !ours)
}

fn refuse<T>(what: &str, owner: u32) -> Result<T> {
    bail!(
        "is a {what} of user {owner}, in a folder where everybody may put files: it may have been put there to mislead; \
         remove it, or name another file"
    )
}

impl Entry {
    /// Opens what stands there for writing.
    pub(crate) fn open(&self) -> Result<File> {
        let file = rustix::fs::openat(&self.folder, &self.name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(file.context("cannot be opened")?.into())
    }

    /// A file that is to take this place.
    pub(crate) fn draft(&self) -> Result<Draft<'_>> {
        // What replaces a file that only some may read is never readable for more.
        let mode = Mode::from_raw_mode(if self.stat.is_some() && !self.planted { 0o600 } else { 0o666 });
        let draft = match self.unnamed(mode) {
            Some(file) => Ok(Draft { entry: self, file, name: None }),
            None => self.named(mode),
        };
        draft.context("no file can be made in its folder")
    }

    /// A file without a name, if the file system has such, and /proc is there to give it one later.
    fn unnamed(&self, mode: Mode) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, ".", flags, mode).ok()?;
        rustix::fs::statat(CWD, open_path(&file), AtFlags::empty()).ok()?;
        Some(file.into())
    }

    fn named(&self, mode: Mode) -> rustix::io::Result<Draft<'_>> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, name) = self.temporary(|name| rustix::fs::openat(&self.folder, name, flags, mode))?;
        Ok(Draft { entry: self, file: file.into(), name: Some(name) })
    }

    /// Makes something by a name that nothing else has.
    fn temporary<T>(&self, make: impl Fn(&OsStr) -> rustix::io::Result<T>) -> rustix::io::Result<(T, Temporary)> {
        let mut number = 0_u32;
        loop {
            let name = OsString::from(format!(".kimage-{}-{number}.tmp", std::process::id()));
            let noted = cleanup::note(Stray::File(Arc::clone(&self.folder), name.clone()));
            match make(&name) {
                Ok(made) => {
                    return Ok((made, Temporary { folder: Arc::clone(&self.folder), name, noted: Some(noted) }));
                }
                Err(Errno::EXIST) if number < 9999 => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
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

impl Draft<'_> {
    /// Where the bytes go.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place, with the owner and the permissions of the one that it replaces. With `sync`, file and
    /// folder are on the disk afterwards. Gives what could not be kept of the old file, in words.
    pub(crate) fn put(self, sync: bool) -> Result<Vec<String>> {
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
        let temporary = match self.name {
            Some(temporary) => temporary,
            // Nothing is there to be replaced, unless somebody was faster.
            None if stat.is_none() => match link(name) {
                Err(Errno::EXIST) => self.entry.temporary(link)?.1,
                done => return done,
            },
            None => self.entry.temporary(link)?.1,
        };
        rustix::fs::renameat(folder, &temporary.name, folder, name)?;
        temporary.keep();
        Ok(())
    }
}

/// The path that leads to an open file, whether it has a name or not.
fn open_path(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
