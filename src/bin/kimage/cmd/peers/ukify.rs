//! ukify of systemd, by `kimage uki`.

use super::Called;
use crate::args::{Building, UkiParts};
use crate::cmd::uki::{configured, make};
use anyhow::Result;
use clap::Parser;
use kimage::assemble::UkiRequest;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const USAGE: &str = "usage: ukify build --linux=LINUX [--initrd=INITRD...] [OPTION...] --output=FILE";

/// What ukify looks for where no file is named.
const CONFIGURATIONS: [&str; 4] = [
    "/etc/systemd/ukify.conf",
    "/run/systemd/ukify.conf",
    "/usr/local/lib/systemd/ukify.conf",
    "/usr/lib/systemd/ukify.conf",
];

/// ukify's command line; what it has for its own helpers is passed over.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct Ukify {
    positional: Vec<PathBuf>,
    #[command(flatten)]
    parts: UkiParts,
    #[arg(long)]
    efi_arch: Option<String>,
    #[arg(long)]
    tools: Vec<PathBuf>,
    #[arg(long)]
    signtool: Option<String>,
    #[arg(long)]
    no_measure: bool,
}

/// What UEFI calls this machine's CPU.
fn this_machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "x86" => "ia32",
        "aarch64" => "aa64",
        "arm" => "arm",
        "riscv64" => "riscv64",
        "loongarch64" => "loongarch64",
        other => other,
    }
}

pub(super) fn ukify(called: &Called<'_>, arguments: Vec<OsString>) -> Result<u8> {
    let parsed = Ukify::try_parse_from(std::iter::once(OsString::from(called.name)).chain(arguments));
    let mut asked = match parsed {
        Ok(asked) => asked,
        Err(error) if !error.use_stderr() => {
            called.usage("by kimage: see kimage uki --help", USAGE);
            return Ok(0);
        }
        Err(error) => {
            called.usage(error.to_string().lines().next().unwrap_or_default(), USAGE);
            return Ok(2);
        }
    };
    let verb = asked.positional.first().and_then(|word| word.to_str()).unwrap_or_default().to_owned();
    match &*verb {
        "build" if asked.positional.len() == 1 => {}
        "inspect" => {
            return Ok(called.refuse("kimage info FILE says what is in it, kimage extract FILE PART takes it out"));
        }
        "genkey" => {
            return Ok(called.refuse("openssl req -new -x509 -newkey rsa:2048 -nodes -keyout KEY -out CERT makes keys"));
        }
        _ if asked.parts.linux.is_some() || !asked.parts.initrd.is_empty() => {
            return Ok(called.usage("--linux=/--initrd= options cannot be used with positional arguments", USAGE));
        }
        _ => {
            let mut files = std::mem::take(&mut asked.positional).into_iter();
            asked.parts.linux = files.next();
            asked.parts.initrd = files.collect();
        }
    }
    if asked.signtool.as_deref() == Some("pesign") {
        return Ok(
            called.refuse("--signtool=pesign: kimage signs with --secureboot-private-key and --secureboot-certificate")
        );
    }
    let mut parts = asked.parts;
    let default = CONFIGURATIONS.into_iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned);
    parts.config = parts.config.or(default);
    let mut parts = configured(&parts)?;
    if parts.stub.is_none() {
        let kind = if parts.linux.is_some() { "linux" } else { "addon" };
        let arch = asked.efi_arch.as_deref().unwrap_or(this_machine());
        parts.stub = Some(format!("/usr/lib/systemd/boot/efi/{kind}{arch}.efi.stub").into());
    }
    let building = Building { json: false, sync: false, quiet: false, plan: false, terse: true };
    make("ukify", parts, UkiRequest { force: true, ..UkiRequest::default() }, &building)?;
    Ok(0)
}
