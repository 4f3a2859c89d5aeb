//! `disk`.

use super::common::{at_input, finish, one_stdin, open_all, refs, source_date_epoch};
use super::cpio::collect;
use crate::args::{Disk, DiskSort};
use crate::input::Input;
use crate::message;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use kimage::assemble::{self, DiskFile, DiskRequest};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(crate) fn disk(args: &Disk) -> Result<()> {
    let added = args.add.iter().map(|add| files(add)).collect::<Result<Vec<_>>>()?.concat();
    one_stdin(args.images.iter().chain(&args.initrd).chain(&args.loader).chain(added.iter().map(|(_, path)| path)));
    if args.size.is_some() && !matches!(args.kind, DiskSort::Esp | DiskSort::Gpt) {
        message::usage(
            ErrorKind::ArgumentConflict,
            "--size is for --kind esp and gpt: the others have the size of what is in them",
        );
    }
    if args.sector_size != 512 && !matches!(args.kind, DiskSort::Esp | DiskSort::Gpt) {
        message::usage(
            ErrorKind::ArgumentConflict,
            "--sector-size is for --kind esp and gpt: a CD and a floppy have one size",
        );
    }
    let (images, initrd, loaders) = (open_all(&args.images)?, open_all(&args.initrd)?, open_all(&args.loader)?);
    let inputs = added.iter().map(|(_, path)| Input::open(path)).collect::<Result<Vec<_>>>()?;
    let add = added.iter().zip(&inputs).map(|((name, _), input)| DiskFile { name: name.clone(), data: input });
    let kernels: Vec<DiskFile<'_>> =
        images.iter().map(|image| DiskFile { name: image.file_name().to_owned(), data: image }).collect();
    let request = DiskRequest {
        initrd: initrd.iter().map(|disk| &**disk).collect(),
        cmdline: args.cmdline.as_ref().map_or(&[], |text| text.as_bytes()),
        loader: loaders.iter().map(|loader| &**loader).collect(),
        add: add.collect(),
        size: args.size,
        sector_size: args.sector_size,
        time: args.time.map_or_else(source_date_epoch, Ok)?,
        ..DiskRequest::from(assemble::DiskKind::from(args.kind))
    };
    let images = refs(&images);
    let assembled = assemble::disk(&kernels, &request).map_err(|error| at_input(error, &[("VMLINUX", &images)]))?;
    finish("disk", &args.output, &args.building, &assembled)
}

/// The files that an option names: paths on the disk, and where they are.
fn files(add: &OsStr) -> Result<Vec<(String, PathBuf)>> {
    let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("a name on the disk is no text (UTF-8)");
    let bytes = add.as_bytes();
    if let Some(at) = memchr::memchr(b'=', bytes).filter(|_| !Path::new(add).is_dir()) {
        let (path, file) = (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default());
        return Ok(vec![(name(path)?, PathBuf::from(OsStr::from_bytes(file)))]);
    }
    let folder = Path::new(add);
    if !folder.is_dir() {
        let message = format!("--add {}: is no folder; a file is PATH=FILE", folder.display());
        message::usage(ErrorKind::ValueValidation, message);
    }
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    paths.sort();
    let paths = paths.into_iter().map(|path| PathBuf::from(OsStr::from_bytes(&path))).filter(|path| !path.is_dir());
    paths.map(|path| Ok((name(path.strip_prefix(folder)?.as_os_str().as_bytes())?, path.clone()))).collect()
}
