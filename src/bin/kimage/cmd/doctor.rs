//! `doctor`: image, RAM disks and command line to findings.

use super::common::{one_stdin, open_all};
use crate::args::Doctor;
use crate::input::Input;
use crate::{message, screen};
use anyhow::{Context, Result, bail};
use kimage::doctor::{Diagnosis, Request, doctor as diagnose};
use kimage::finding::Severity;
use kimage::report::write_json;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

#[derive(Serialize)]
struct Report<'r> {
    image: &'r str,
    #[serde(flatten)]
    diagnosis: &'r Diagnosis,
}

pub(crate) fn doctor(args: &Doctor) -> Result<()> {
    let is_file = |target: &&std::path::PathBuf| target.extension().is_some_and(|extension| extension == "toml");
    let (files, names): (Vec<_>, Vec<_>) = args.target.iter().partition(is_file);
    one_stdin([&args.image].into_iter().chain(&args.initrd).chain(&args.config).chain(&args.log));
    let image = Input::open(&args.image)?;
    let initrds = open_all(&args.initrd)?;
    let config = args.config.as_deref().map(text).transpose()?;
    let log = args.log.as_deref().map(text).transpose()?;
    let files = files.into_iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?;
    let request = Request {
        initrds: initrds.iter().map(|input| &**input).collect(),
        cmdline: args.cmdline.as_deref(),
        targets: names.iter().filter_map(|name| name.to_str()).collect(),
        target_files: files.iter().map(String::as_str).collect(),
        config: config.as_deref(),
        log: log.as_deref(),
        limits: args.opening.limits(),
    };
    let diagnosis =
        message::busy("looking into the kernel", || diagnose(&image, &request)).with_context(|| image.name())?;
    if args.json {
        screen::print(|out| write_json("doctor", &Report { image: &image.name(), diagnosis: &diagnosis }, out))?;
    } else {
        screen::print(|out| out.write_all(diagnosis.to_string().as_bytes()))?;
        diagnosis.findings.iter().for_each(message::finding);
    }
    if diagnosis.reaches_user_space == "no" {
        bail!("{} would not reach user space", image.name());
    }
    if diagnosis.findings.iter().any(|finding| finding.severity == Severity::Error) {
        bail!("{} has not what the target needs", image.name());
    }
    if diagnosis.reaches_user_space != "yes" {
        bail!(
            "not known whether {} reaches user space: no first program was found in what was given, or it was NOT checked; \
             --initrd, --cmdline and --config tell more",
            image.name()
        );
    }
    Ok(())
}

/// A text file; a log may have bytes that are no text.
fn text(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&Input::open(path)?).into_owned())
}
