//! Where an output goes: which file a path means.
//!
//! A path is followed link by link with each folder held open, as the kernel would (path_resolution(7)), so that what was
//! looked at is what is written. In a folder where everybody may put files (sticky and writable for all, as /tmp), links and
//! pipes of somebody else are refused, whatever fs.protected_symlinks and fs.protected_fifos say (proc_sys_fs(5)).

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
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
    pub(crate) folder: Arc<OwnedFd>,
    pub(crate) name: OsString,
    /// What has that name, if anything has.
    pub(crate) stat: Option<Stat>,
    /// It belongs to somebody else and stands where everybody may put files.
    pub(crate) planted: bool,
}

/// A folder that files are put into, whatever becomes of its path.
pub(crate) struct Folder(Arc<OwnedFd>);

/// The kernel follows so many (path_resolution(7)).
const LINKS: usize = 40;

/// Follows `path` to what is to be written.
pub(crate) fn find(path: &Path) -> Result<Place> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return is_folder();
    }
    match follow(path)? {
        End::Folder(_) => is_folder(),
        End::Place(place) => Ok(place),
    }
}

/// What is at the end of a path.
enum End {
    Folder(OwnedFd),
    Place(Place),
}

fn follow(path: &Path) -> Result<End> {
    let mut folder = open_folder(CWD, path)?;
    let mut name = path.file_name().map_or_else(is_folder, |name| Ok(name.to_owned()))?;
    let mut from: Option<PathBuf> = None;
    for _ in 0..=LINKS {
        let Some((entry, stat)) = look(&folder, &name)? else {
            return from.map_or(Ok(End::Place(Place::Replace(Entry::new(folder, name, None, false)))), |to| {
                bail!(
                    "is a link to {}, and nothing is there: remove the link, or make the file that it is to lead to",
                    to.display()
                )
            });
        };
        let planted = is_planted(&folder, &stat)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(End::Folder(entry)),
            FileType::Symlink => {}
            FileType::RegularFile => {
                return Ok(End::Place(Place::Replace(Entry::new(folder, name, Some(stat), planted))));
            }
            FileType::Fifo if planted => return refuse("pipe", stat.st_uid),
            _ => return Ok(End::Place(Place::Open(Entry::new(folder, name, Some(stat), planted)))),
        }
        // /dev/stdout and its like lead to an open file, not to a name.
        if rustix::fs::fstatfs(&folder).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC) {
            return Ok(End::Place(Place::Open(Entry::new(folder, name, None, planted))));
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

/// What has that name, a link itself and not what it leads to.
fn look(folder: &OwnedFd, name: &OsStr) -> Result<Option<(OwnedFd, Stat)>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(entry) => entry,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error).context("cannot be looked at"),
    };
    let stat = rustix::fs::fstat(&entry).context("cannot be looked at")?;
    Ok(Some((entry, stat)))
}

fn is_folder<T>() -> Result<T> {
    bail!("is a folder; name a file")
}

/// Opens the folder of `path`, which must be there.
fn open_folder(beside: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    open_as_folder(beside, folder).map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => {
            anyhow!("there is no folder {}; make it, or name another file", folder.display())
        }
        error => anyhow!(error).context(format!("the folder {} cannot be opened", folder.display())),
    })
}

fn open_as_folder(beside: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    // With a dot behind it, a link to a folder is on the way and not at its end.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(beside, path.join("."), flags, Mode::empty())
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
    fn new(folder: impl Into<Arc<OwnedFd>>, name: OsString, stat: Option<Stat>, planted: bool) -> Entry {
        Entry { folder: folder.into(), name, stat, planted }
    }

    /// Opens what stands there for writing.
    pub(crate) fn open(&self) -> Result<File> {
        let file = rustix::fs::openat(&self.folder, &self.name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(file.context("cannot be opened")?.into())
    }
}

impl Folder {
    /// The folder of that path, made if it is not there.
    pub(crate) fn make(path: &Path) -> Result<Folder> {
        std::fs::create_dir_all(path)?;
        let folder = match path.file_name() {
            Some(_) => match follow(path)? {
                End::Folder(folder) => folder,
                End::Place(_) => bail!("is not a folder"),
            },
            // `/`, `..`
            None => open_as_folder(CWD, path).context("cannot be opened")?,
        };
        Ok(Folder(Arc::new(folder)))
    }

    /// A folder in it, made if it is not there; a link to one is in the way.
    pub(crate) fn folder(&self, name: &str) -> Result<Folder> {
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).context("the folder cannot be made"),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.0, name, flags, Mode::empty());
        let folder = folder.context("is in the way and is not a folder; remove it, or name another folder")?;
        Ok(Folder(Arc::new(folder)))
    }

    /// A file of the folder, or one that is not there yet; what else has the name is in the way.
    pub(crate) fn entry(&self, name: &str) -> Result<Place> {
        let (folder, name) = (Arc::clone(&self.0), OsString::from(name));
        let Some((_, stat)) = look(&folder, &name)? else {
            return Ok(Place::Replace(Entry::new(folder, name, None, false)));
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            bail!("is in the way and is not a file; remove it, or name another folder");
        }
        let planted = is_planted(&folder, &stat)?;
        Ok(Place::Replace(Entry::new(folder, name, Some(stat), planted)))
    }
}
