//! `kimage bzimage` around kimage's own boot stub.

use super::common::{at_input, finish, only_with_folder, open_all};
use crate::args::{Bzimage, YesNo};
use crate::input::Input;
use crate::message;
use anyhow::Result;
use clap::error::ErrorKind;
use kimage::assemble::{self, StandaloneRequest};
use std::os::unix::ffi::OsStrExt;

pub(super) fn bzimage(args: &Bzimage, vmlinux: &Input, setup: Option<&Input>) -> Result<()> {
    let own = &args.own;
    if args.crc == Some(YesNo::Yes) && !own.no_efi {
        let message = "--crc yes needs --no-efi: an image for UEFI has no CRC at its end, for signatures stand there";
        message::usage(ErrorKind::ArgumentConflict, message);
    }
    only_with_folder(&args.folder, true);
    let relocs = own.relocs.as_deref().map(Input::open).transpose()?;
    let sbat = own.sbat.as_deref().map(Input::open).transpose()?;
    let initrd = open_all(&own.initrd)?;
    let default = StandaloneRequest::default();
    let request = StandaloneRequest {
        codec: own.compress.unwrap_or(default.codec),
        parameters: args.folder.codec.over(default.parameters),
        setup: setup.map(|setup| &**setup),
        relocs: relocs.as_deref(),
        kaslr: !own.no_kaslr,
        cmdline: own.cmdline.as_ref().map_or(&[], |text| text.as_bytes()),
        cmdline_overrides: own.cmdline_override,
        initrd: initrd.iter().map(|disk| &**disk).collect(),
        max_memory: own.max_memory,
        efi: !own.no_efi,
        sbat: sbat.as_deref().unwrap_or_default(),
        crc: args.crc == Some(YesNo::Yes),
        setup_only: own.setup_only,
    };
    let (setups, tables) = (Vec::from_iter(setup), Vec::from_iter(&relocs));
    let inputs: [(&str, &[&Input]); 3] = [("VMLINUX", &[vmlinux]), ("SETUP", &setups), ("RELOCS", &tables)];
    let assembled = assemble::bzimage_standalone(vmlinux, &request).map_err(|error| at_input(error, &inputs))?;
    finish("bzimage", &args.output, &args.building, &assembled)
}
