//! `piggy`.

use super::common::one_stdin;
use crate::args::{Piggy as Args, PiggyArch};
use crate::input::Input;
use crate::message;
use crate::output::Output;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use kimage::arch::Arch;
use kimage::bytes::Endian;
use kimage::kbuild::{Piggy, Target};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) fn piggy(args: &Args) -> Result<()> {
    one_stdin(args.like.iter().chain(&args.vmlinux).chain([&args.file]));
    let input = Input::open(&args.file)?;
    let mut piggy = Piggy::new(&input).with_context(|| input.name())?;
    if let Some(path) = &args.vmlinux {
        let vmlinux = Input::open(path)?;
        piggy = piggy.of_kernel(&vmlinux).with_context(|| vmlinux.name())?;
    }
    if args.run_size.is_some() {
        piggy = piggy.with_run_size(args.run_size);
    }
    let is_text = !args.object;
    let default = if is_text { "-" } else { "piggy.o" };
    let path = args.output.as_deref().unwrap_or(Path::new(default));
    let output = Output { path, sync: args.sync, is_text };
    if is_text {
        let incbin = args.path.as_ref().unwrap_or(&args.file);
        if incbin == Path::new("-") {
            let message = "standard input has no name for .incbin: give it one with --path";
            message::usage(ErrorKind::MissingRequiredArgument, message);
        }
        let text = piggy.text(incbin.as_os_str().as_bytes()).with_context(|| incbin.display().to_string())?;
        output.write(text.len() as u64, |out| Ok(out.write_all(&text)?))?;
    } else {
        let plan = piggy.object(&target(args)?).with_context(|| input.name())?;
        output.write(plan.len(), |out| Ok(plan.emit(out).map_err(kimage::Error::from)?))?;
    }
    piggy.findings().iter().for_each(message::finding);
    Ok(())
}

fn target(args: &Args) -> Result<Target> {
    if let Some(like) = &args.like {
        let model = Input::open(like)?;
        return Target::like_file(&model).with_context(|| model.name());
    }
    let (arch, endian) = match args.arch {
        Some(PiggyArch::I386) => (Arch::X86, Endian::Little),
        Some(PiggyArch::Arm) => (Arch::Arm, Endian::Little),
        Some(PiggyArch::Armeb) => (Arch::Arm, Endian::Big),
        // --object is refused without --arch or --like.
        Some(PiggyArch::X86_64) | None => (Arch::X86_64, Endian::Little),
    };
    Ok(Target::new(arch, endian)?)
}
