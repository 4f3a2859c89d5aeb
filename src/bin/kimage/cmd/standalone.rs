//! `kimage bzimage` and `kimage zimage` around kimage's own boot stub, and `kimage elf`.

use super::common::{at_input, finish, only_with_folder, open_all, refs};
use crate::args::{BootElf, Bzimage, Carried, Class, CodecOptions, YesNo, Zimage};
use crate::input::Input;
use crate::message;
use anyhow::Result;
use clap::error::ErrorKind;
use kimage::assemble::{self, ElfRequest, StandaloneRequest, ZImageRequest};
use std::os::unix::ffi::OsStrExt;

/// The files that go into an image beside the kernel.
struct Files {
    relocs: Option<Input>,
    initrd: Vec<Input>,
}

impl Files {
    fn open(carried: &Carried) -> Result<Files> {
        Ok(Files {
            relocs: carried.relocs.as_deref().map(Input::open).transpose()?,
            initrd: open_all(&carried.initrd)?,
        })
    }

    fn request<'f>(&'f self, carried: &'f Carried, codec: &CodecOptions) -> StandaloneRequest<'f> {
        let default = StandaloneRequest::default();
        StandaloneRequest {
            codec: carried.compress.unwrap_or(default.codec),
            parameters: codec.over(default.parameters.clone()),
            relocs: self.relocs.as_deref(),
            kaslr: !carried.no_kaslr,
            cmdline: carried.cmdline.as_ref().map_or(&[], |text| text.as_bytes()),
            cmdline_overrides: carried.cmdline_override,
            payload_sum: carried.payload_sum,
            initrd: self.initrd.iter().map(|disk| &**disk).collect(),
            max_memory: carried.max_memory,
            ..default
        }
    }
}

pub(super) fn bzimage(args: &Bzimage, vmlinux: &Input, setup: Option<&Input>) -> Result<()> {
    let own = &args.own;
    if args.crc == Some(YesNo::Yes) && !own.no_efi {
        let message = "--crc yes needs --no-efi: an image for UEFI has no CRC at its end, for signatures stand there";
        message::usage(ErrorKind::ArgumentConflict, message);
    }
    only_with_folder(&args.folder, true);
    let files = Files::open(&own.carried)?;
    let sbat = own.sbat.as_deref().map(Input::open).transpose()?;
    let request = StandaloneRequest {
        setup: setup.map(|setup| &**setup),
        efi: !own.no_efi,
        firmware: own.efi,
        sbat: sbat.as_deref().unwrap_or_default(),
        crc: args.crc == Some(YesNo::Yes),
        setup_only: own.setup_only,
        ..files.request(&own.carried, &args.folder.codec)
    };
    let (setups, tables) = (Vec::from_iter(setup), Vec::from_iter(&files.relocs));
    let inputs: [(&str, &[&Input]); 3] = [("VMLINUX", &[vmlinux]), ("SETUP", &setups), ("RELOCS", &tables)];
    let assembled = assemble::bzimage_standalone(vmlinux, &request).map_err(|error| at_input(error, &inputs))?;
    finish("bzimage", &args.output, &args.building, &assembled)
}

pub(super) fn elf(args: &BootElf) -> Result<()> {
    let vmlinux = Input::open(&args.vmlinux)?;
    let files = Files::open(&args.carried)?;
    let is_64 = args.class.map(|class| class == Class::Bits64);
    let request = ElfRequest { kernel: files.request(&args.carried, &args.codec), is_64 };
    let tables = Vec::from_iter(&files.relocs);
    let inputs: [(&str, &[&Input]); 2] = [("VMLINUX", &[&vmlinux]), ("RELOCS", &tables)];
    let assembled = assemble::boot_elf(&vmlinux, &request).map_err(|error| at_input(error, &inputs))?;
    finish("elf", &args.output, &args.building, &assembled)
}

pub(super) fn zimage(args: &Zimage, vmlinux: &Input, dtbs: &[Input]) -> Result<()> {
    only_with_folder(&args.folder, true);
    let default = ZImageRequest::default();
    let request = ZImageRequest {
        codec: args.own.compress.unwrap_or(default.codec),
        parameters: args.folder.codec.over(default.parameters),
        text_offset: args.own.text_offset,
        load_address: args.own.load_address,
        dtbs: dtbs.iter().map(|dtb| &**dtb).collect(),
        max_size: default.max_size,
    };
    let inputs: [(&str, &[&Input]); 2] = [("VMLINUX", &[vmlinux]), ("DTB", &refs(dtbs))];
    let assembled = assemble::zimage_standalone(vmlinux, &request).map_err(|error| at_input(error, &inputs))?;
    finish("zimage", &args.output, &args.building, &assembled)
}
