//! `edit`.

use super::common::{at_input, finish, one_stdin};
use super::cpio::Contents;
use crate::args::{CodecOptions, Edit, limited};
use crate::input::Input;
use crate::message;
use anyhow::Result;
use clap::error::ErrorKind;
use kimage::codec::{Codec, Parameters};
use kimage::edit::{EditRequest, edit as change};
use std::os::unix::ffi::OsStrExt;

pub(crate) fn edit(args: &Edit) -> Result<()> {
    let CodecOptions { level, .. } = args.codec;
    let is_asked = [
        args.initramfs.is_some(),
        args.cmdline.is_some(),
        args.dtb.is_some(),
        args.compress.is_some(),
        level.is_some(),
    ];
    if !is_asked.contains(&true) {
        let message = "edit: say what to change: --initramfs, --cmdline, --dtb, --compress or --level";
        message::usage(ErrorKind::MissingRequiredArgument, message);
    }
    one_stdin([&args.image].into_iter().chain(&args.initramfs).chain(&args.dtb));
    let image = Input::open(&args.image)?;
    let archive = archive(args)?;
    let dtb = args.dtb.as_deref().map(Input::open).transpose()?;
    let request = EditRequest {
        initramfs: archive.as_deref(),
        cmdline: args.cmdline.as_ref().map(|text| text.as_bytes()),
        dtb: dtb.as_deref(),
        codec: args.compress,
        parameters: args.codec.over(Parameters::default()),
        max_memory: args.max_memory,
        limits: limited(args.limit),
    };
    let dtbs = Vec::from_iter(&dtb);
    let inputs: [(&str, &[&Input]); 3] = [("IMAGE", &[&image]), ("VMLINUX", &[&image]), ("DTB", &dtbs)];
    let assembled = change(&image, &request).map_err(|error| match (error.which(), &args.initramfs) {
        (Some(("INITRAMFS", _)), Some(path)) => anyhow::Error::new(error).context(path.display().to_string()),
        _ => at_input(error, &inputs),
    })?;
    finish("edit", &args.output, &args.building, &assembled)
}

/// The archive that is given, or what a folder or a list makes; a list is a text.
fn archive(args: &Edit) -> Result<Option<Vec<u8>>> {
    let Some(path) = &args.initramfs else { return Ok(None) };
    let mut contents = Contents::default();
    if path.is_dir() {
        contents.folder(path, &args.source, &args.output)?;
    } else {
        let input = Input::open(path)?;
        if input.contains(&0) {
            return Ok(Some(input.to_vec()));
        }
        contents.list(&input)?;
    }
    let mut archive = Vec::new();
    contents.archive(&args.source, Codec::None, &Parameters::default())?.emit(&mut archive)?;
    Ok(Some(archive))
}
