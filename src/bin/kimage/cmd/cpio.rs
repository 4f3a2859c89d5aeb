//! `cpio`.

use super::common::{at_input, finish, one_stdin, source_date_epoch};
use crate::args::{Cpio, Source};
use crate::input::Input;
use anyhow::{Context, Result, bail};
use kimage::assemble::{self, Assembled, CpioFile};
use kimage::codec::{Codec, Parameters};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(crate) fn cpio(args: &Cpio) -> Result<()> {
    one_stdin(&args.sources);
    let mut contents = Contents::default();
    for path in &args.sources {
        match path.is_dir() {
            true => contents.folder(path, &args.source, &args.output)?,
            false => contents.list(&Input::open(path)?)?,
        }
    }
    let options = args.codec.over(Parameters::default());
    let assembled = contents.archive(&args.source, args.compress, &options)?;
    finish("cpio", &args.output, &args.building, &assembled)
}

/// What goes into an archive.
#[derive(Default)]
pub(super) struct Contents {
    /// Each with the file that its contents are in.
    files: Vec<(CpioFile<'static>, Option<Input>)>,
}

impl Contents {
    /// The archive.
    pub(super) fn archive(&self, source: &Source, codec: Codec, options: &Parameters) -> Result<Assembled<'_>> {
        let time = source.time.map_or_else(source_date_epoch, Ok)?;
        Ok(assemble::cpio(self.files(), time, codec, options)?)
    }

    /// The files, with what they contain.
    fn files(&self) -> Vec<CpioFile<'_>> {
        fn whole<'a>((file, input): &'a (CpioFile<'static>, Option<Input>)) -> CpioFile<'a> {
            let data = input.as_ref().map_or_else(|| file.data.clone(), |input| (&**input).into());
            CpioFile { data, ..file.clone() }
        }
        self.files.iter().map(whole).collect()
    }

    /// Adds what a list says.
    pub(super) fn list(&mut self, list: &Input) -> Result<()> {
        let files = assemble::cpio_list(list).map_err(|error| at_input(error, &[("LIST", &[list])]))?;
        for file in files {
            let place = file.location.as_ref().map(|location| expanded(location));
            let input = place.map(|place| Input::open(Path::new(OsStr::from_bytes(&place)))).transpose();
            self.files.push((file, input.with_context(|| list.name())?));
        }
        Ok(())
    }

    /// Adds what is in a folder, in the order of the paths: each folder before what is in it. A file with several names stands
    /// where the last of them does, since the kernel makes none in a folder that is not there yet.
    pub(super) fn folder(&mut self, folder: &Path, source: &Source, output: &Path) -> Result<()> {
        let mut paths = Vec::new();
        collect(folder, &mut paths)?;
        paths.sort();
        // The next archive would have this one in it.
        let place = output.parent().map(|place| if place == Path::new("") { Path::new(".") } else { place });
        let place = place.filter(|_| output != Path::new("-")).and_then(|place| place.metadata().ok());
        let takes_output =
            |meta: &Metadata| place.as_ref().is_some_and(|it| it.dev() == meta.dev() && it.ino() == meta.ino());
        let refuse =
            || bail!("would be in the folder {}, which goes into it: write it elsewhere (-o)", folder.display());
        if folder.metadata().is_ok_and(|meta| takes_output(&meta)) {
            return refuse().with_context(|| output.display().to_string());
        }
        // Where a file with several names is.
        let mut linked = HashMap::new();
        for path in paths {
            let path = Path::new(OsStr::from_bytes(&path));
            let at = || path.display().to_string();
            let meta = path.symlink_metadata().context("cannot be looked at").with_context(at)?;
            let name = path.strip_prefix(folder).unwrap_or(path).as_os_str().as_bytes().to_vec();
            let mut file =
                CpioFile { names: vec![name], mode: meta.mode(), owner: source.owner, ..CpioFile::default() };
            let mut input = None;
            if meta.is_symlink() {
                let target = fs::read_link(path).context("cannot be read").with_context(at)?;
                file.data = target.into_os_string().into_vec().into();
            } else if meta.is_file() {
                let at = linked.entry((meta.dev(), meta.ino())).or_insert(self.files.len());
                if let Some(before) = self.files.get_mut(*at).filter(|_| meta.nlink() > 1) {
                    let (mut before, contents) = std::mem::take(before);
                    before.names.append(&mut file.names);
                    (file, input) = (before, contents);
                    *at = self.files.len();
                } else {
                    input = Some(Input::open(path)?);
                }
            } else if takes_output(&meta) {
                return refuse().with_context(|| output.display().to_string());
            } else if !meta.is_dir() {
                file.device = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
            }
            self.files.push((file, input));
        }
        self.files.retain(|(file, _)| !file.names.is_empty());
        Ok(())
    }
}

/// The paths of all that is in a folder.
pub(super) fn collect(folder: &Path, paths: &mut Vec<Vec<u8>>) -> Result<()> {
    let at = || folder.display().to_string();
    for entry in fs::read_dir(folder).context("cannot be read").with_context(at)? {
        let entry = entry.context("cannot be read").with_context(at)?;
        paths.push(entry.path().into_os_string().into_vec());
        if entry.file_type().context("cannot be looked at").with_context(at)?.is_dir() {
            collect(&entry.path(), paths)?;
        }
    }
    Ok(())
}

/// With the values of variables in place of `${NAME}`, one after the other, as gen_init_cpio has it: what a value brings along
/// is expanded, too. One that is not set is empty.
fn expanded(location: &[u8]) -> Vec<u8> {
    /// A variable may have itself in it.
    const LONGEST: usize = 4096;
    let mut out = location.to_vec();
    while let Some(start) = memchr::memmem::find(&out, b"${").filter(|_| out.len() <= LONGEST) {
        let Some(end) = out.get(start..).and_then(|rest| memchr::memchr(b'}', rest)) else { break };
        let name = out.get(start + 2..start + end).unwrap_or_default();
        let value = std::env::var_os(OsStr::from_bytes(name)).unwrap_or_default();
        out.splice(start..=start + end, value.into_vec());
    }
    out
}
