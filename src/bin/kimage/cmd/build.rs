//! The image builders.

use super::common::{at_input, finish, list, one_stdin, only_with_folder, open_all, refs, source_date_epoch};
use super::rebuild::{keep, rebuild};
use super::standalone;
use crate::args::{
    Bootp, Building, Bzimage, FolderOptions, Image, NameArg, Uimage, X86Options, Xipimage, YesNo, Zboot, Zimage,
};
use crate::input::Input;
use crate::message;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use kimage::arch::Arch;
use kimage::assemble::{
    self, Assembled, BootpRequest, CrcChoice, FlagList, FlatOptions, Padding, RemoveList, UImageRequest, X86Request,
    ZbootRequest,
};
use kimage::kbuild::{self, Built};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) fn bzimage(args: &Bzimage) -> Result<()> {
    let own = &args.own;
    let crc = match args.crc {
        None => CrcChoice::ByGeneration,
        Some(YesNo::Yes) => CrcChoice::Yes,
        Some(YesNo::No) => CrcChoice::No,
    };
    if args.folder.build_dir.is_some() {
        if let Some(option) = own.asked_for() {
            let message =
                format!("--build-dir takes the folder's own boot code: {option} needs kimage's own, without it");
            message::usage(ErrorKind::ArgumentConflict, message);
        }
        let rebuilt = rebuild(&args.vmlinux, kbuild::Image::BzImage, &args.folder)?;
        let mut assembled = assemble::bzimage(&rebuilt.linked, &rebuilt.setup, crc)?;
        assembled.patches.splice(0..0, rebuilt.patches.iter().cloned());
        return finish_rebuilt("bzimage", &args.output, &args.building, assembled, &rebuilt, &args.folder);
    }
    let parts = &args.x86;
    one_stdin(
        [&args.vmlinux]
            .into_iter()
            .chain(&parts.setup)
            .chain(&parts.zoffset)
            .chain(&own.carried.initrd)
            .chain(&own.carried.relocs),
    );
    let vmlinux = Input::open(&args.vmlinux)?;
    // A decompressor is told from the kernel in it by content; with a setup and none of the options that only kimage's
    // own stub has, an input that is neither is to be named as what the kernel's build would have there.
    if parts.setup.is_empty() || own.asked_for().is_some() || assemble::is_for_standalone_stub(&vmlinux, Arch::X86_64) {
        let [.., setup] = &parts.setup[..] else { return standalone::bzimage(args, &vmlinux, None) };
        let others = [("BOOTSECT", parts.setup.len() > 1), ("--root-dev", parts.root_dev.is_some())];
        if let Some((given, _)) = others.into_iter().find(|(_, given)| *given) {
            let message =
                format!("kimage's own boot stub takes no {given}: it is for the decompressor of a kernel's build");
            message::usage(ErrorKind::ArgumentConflict, message);
        }
        return standalone::bzimage(args, &vmlinux, Some(&Input::open(setup)?));
    }
    only_with_folder(&args.folder, false);
    x86_image("bzimage", &vmlinux, parts, crc, &args.output, &args.building)
}

/// An x86 image as the kernel's own build makes it.
fn x86_image(
    command: &'static str,
    vmlinux: &Input,
    parts: &X86Options,
    crc: CrcChoice,
    output: &Path,
    building: &Building,
) -> Result<()> {
    let files = open_all(&parts.setup)?;
    let ([bootsect @ .., setup], Some(setup_path)) = (&files[..], parts.setup.last()) else { return Ok(()) };
    // The kernel's build has both in one folder.
    let beside =
        || Some(setup_path.with_file_name("zoffset.h")).filter(|path| assemble::is_flat(vmlinux) && path.is_file());
    let zoffset = parts.zoffset.clone().or_else(beside).as_deref().map(Input::open).transpose()?;
    let symbols = zoffset.as_ref().map(|file| kbuild::zoffsets(file).context(file.name())).transpose()?;
    let request = X86Request {
        bootsect: bootsect.first().map(|file| &**file),
        setup,
        zoffset: symbols.as_deref().unwrap_or_default(),
        crc,
        root_dev: parts.root_dev.unwrap_or_default(),
        is_low: command == "zimage",
    };
    let bootsect: Vec<&Input> = bootsect.iter().collect();
    let assembled = assemble::x86_image(vmlinux, &request)
        .map_err(|error| at_input(error, &[("VMLINUX", &[vmlinux]), ("BOOTSECT", &bootsect), ("SETUP", &[setup])]))?;
    finish(command, output, building, &assembled)
}

pub(crate) fn zimage(args: &Zimage) -> Result<()> {
    one_stdin(args.append_dtb.iter().chain([&args.vmlinux]).chain(&args.x86.setup).chain(&args.x86.zoffset));
    let dtbs = open_all(&args.append_dtb)?;
    let dtb_bytes: Vec<&[u8]> = dtbs.iter().map(|dtb| &**dtb).collect();
    if args.folder.build_dir.is_some() {
        let rebuilt = rebuild(&args.vmlinux, kbuild::Image::ZImage, &args.folder)?;
        let assembled =
            assemble::zimage(&rebuilt.linked, &dtb_bytes).map_err(|error| at_input(error, &[("DTB", &refs(&dtbs))]))?;
        return finish_rebuilt("zimage", &args.output, &args.building, assembled, &rebuilt, &args.folder);
    }
    let vmlinux = Input::open(&args.vmlinux)?;
    if args.x86.setup.is_empty() && (args.own.is_asked_for() || assemble::is_for_standalone_stub(&vmlinux, Arch::Arm)) {
        return standalone::zimage(args, &vmlinux, &dtbs);
    }
    only_with_folder(&args.folder, false);
    if !args.x86.setup.is_empty() {
        return x86_image("zimage", &vmlinux, &args.x86, CrcChoice::ByGeneration, &args.output, &args.building);
    }
    let assembled = assemble::zimage(&vmlinux, &dtb_bytes)
        .map_err(|error| at_input(error, &[("VMLINUX", &[&vmlinux]), ("DTB", &refs(&dtbs))]))?;
    finish("zimage", &args.output, &args.building, &assembled)
}

pub(crate) fn image(args: &Image) -> Result<()> {
    let vmlinux = Input::open(&args.vmlinux)?;
    let options = FlatOptions {
        remove: RemoveList::new(&args.remove_section).map_err(kimage::Error::from)?,
        only: RemoveList::new(&args.only_section).map_err(kimage::Error::from)?,
        flags: FlagList::try_from(&args.set_section_flags[..]).map_err(kimage::Error::from)?,
        gap_fill: args.gap_fill,
        pad_to: args.pad_to,
        max_size: args.max_size,
    };
    let assembled =
        assemble::image(&vmlinux, &options).map_err(|error| at_input(error, &[("VMLINUX", &[&vmlinux])]))?;
    finish("image", &args.output, &args.building, &assembled)
}

pub(crate) fn zboot(args: &Zboot) -> Result<()> {
    one_stdin([&args.image].into_iter().chain(&args.sbat));
    let image = Input::open(&args.image)?;
    let sbat = args.sbat.as_deref().map(Input::open).transpose()?;
    let request = ZbootRequest {
        codec: args.compress,
        parameters: args.codec.over(ZbootRequest::default().parameters),
        sbat: sbat.as_deref().unwrap_or_default(),
        max_size: args.max_size,
    };
    let assembled = assemble::zboot(&image, &request).map_err(|error| at_input(error, &[("IMAGE", &[&image])]))?;
    finish("zboot", &args.output, &args.building, &assembled)
}

pub(crate) fn bootp(args: &Bootp) -> Result<()> {
    one_stdin([&args.zimage, &args.initrd]);
    let (image, initrd) = (Input::open(&args.zimage)?, Input::open(&args.initrd)?);
    let init = args.build_dir.as_ref().map(|tree| Input::open(&tree.join("arch/arm/boot/bootp/init.o"))).transpose()?;
    let init = init.as_deref();
    let request = BootpRequest { initrd: &initrd, init, initrd_phys: args.initrd_phys, params_phys: args.params_phys };
    let assembled = assemble::bootp(&image, &request).map_err(|error| at_input(error, &[("ZIMAGE", &[&image])]))?;
    finish("bootp", &args.output, &args.building, &assembled)
}

pub(crate) fn xipimage(args: &Xipimage) -> Result<()> {
    let vmlinux = Input::open(&args.vmlinux)?;
    let assembled = assemble::xipimage(&vmlinux).map_err(|error| at_input(error, &[("VMLINUX", &[&vmlinux])]))?;
    finish("xipimage", &args.output, &args.building, &assembled)
}

pub(crate) fn uimage(args: &Uimage) -> Result<()> {
    for arg in [args.arch, args.os, args.kind, args.compression] {
        if let Some(NameArg::List(names)) = arg {
            return list(names);
        }
    }
    if args.data.is_empty() && !args.vendor.empty {
        message::usage(ErrorKind::MissingRequiredArgument, "uimage: give the data to wrap: DATA");
    }
    one_stdin(args.data.iter().chain(&args.append_dtb).chain(&args.vendor.tail));
    let data = open_all(&args.data)?;
    let tail = args.vendor.tail.as_deref().map(Input::open).transpose()?;
    let dtbs = open_all(&args.append_dtb)?;
    let data_bytes: Vec<&[u8]> = data.iter().map(|data| &**data).collect();
    let dtb_bytes: Vec<&[u8]> = dtbs.iter().map(|dtb| &**dtb).collect();
    let request = UImageRequest {
        arch: args.arch.and_then(NameArg::id),
        os: args.os.and_then(NameArg::id),
        kind: args.kind.and_then(NameArg::id),
        comp: args.compression.and_then(NameArg::id),
        load: args.load_address,
        entry: args.entry_point,
        name: args.name.as_ref().map(|name| name.as_bytes().to_vec()),
        truncate_name: args.truncate_name,
        xip: args.xip,
        time: match args.time {
            Some(time) => time,
            None => source_date_epoch()?,
        },
        force: args.force,
        compress: args.compress,
        magic: args.vendor.magic,
        raw_name: args.vendor.name_bytes,
        empty: args.vendor.empty,
    };
    let padding =
        Padding { tail: tail.as_deref(), align: args.vendor.align, pad_to: args.vendor.pad_to, fill: args.vendor.fill };
    let assembled = assemble::uimage(&request, &data_bytes, &dtb_bytes)
        .and_then(|image| assemble::pad(image, &padding))
        .map_err(|error| at_input(error, &[("DATA", &refs(&data)), ("DTB", &refs(&dtbs))]))?;
    finish("uimage", &args.output, &args.building, &assembled)
}

fn finish_rebuilt(
    command: &'static str,
    path: &Path,
    building: &Building,
    mut assembled: Assembled<'_>,
    rebuilt: &Built,
    folder: &FolderOptions,
) -> Result<()> {
    assembled.steps.clone_from(&rebuilt.steps);
    assembled.findings.extend(rebuilt.findings.iter().cloned());
    if let (Some(to), Some(tree), false) = (&folder.keep, &folder.build_dir, building.plan) {
        keep(rebuilt, to, tree, building.sync)?;
    }
    finish(command, path, building, &assembled)
}
