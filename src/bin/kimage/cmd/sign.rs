//! `sign` and `pubkey`; keys for `fit`.

use super::common::{finish, source_date_epoch};
use crate::args::{Pubkey, Required, Sign, Signer};
use crate::input::Input;
use crate::message;
use crate::output::Output;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use kimage::assemble::{Assembled, FitOptions, Signing, add_public_key, sign_fit};
use kimage::sign::{Error, PrivateKey, PublicKey};
use std::path::Path;

/// A key's file. What is wrong with a key is said with the name of its file.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    crate::depfile::read(path);
    std::fs::read(path).map_err(|error| Error::NotFound { name: path.display().to_string(), why: error.to_string() })
}

impl Signer {
    /// Calls `make` with what signs, if anything is to, and writes what it makes, and the control device tree.
    pub(crate) fn with<'a>(
        &self,
        command: &'static str,
        output: (&Path, &crate::args::Building),
        make: impl FnOnce(Option<Signing<'_>>) -> Result<Assembled<'a>>,
    ) -> Result<()> {
        let given = self.keys.is_some() || self.key.is_some();
        let needs_key = [
            ("--passphrase", self.passphrase.is_some()),
            ("--comment", self.comment.is_some()),
            ("--algo", self.algo.is_some()),
            ("--control-dtb", self.control_dtb.is_some()),
        ];
        if let Some((option, _)) = needs_key.into_iter().find(|(_, is_given)| *is_given && !given) {
            let message = format!("{option} means nothing without --keys DIR or --key FILE");
            message::usage(ErrorKind::MissingRequiredArgument, message);
        }
        let passphrase = self.passphrase.as_deref().map(passphrase).transpose()?;
        let key = |hint: &str, ending: &str| {
            let path = match (&self.keys, &self.key) {
                (Some(folder), _) => folder.join(format!("{hint}.{ending}")),
                (None, file) => file.clone().unwrap_or_default(),
            };
            PrivateKey::from_pem(&read(&path)?, passphrase.as_deref()).map_err(|error| match error {
                Error::NoKey { found, wanted } => {
                    Error::NoKey { found: format!("{}: {found}", path.display()), wanted }
                }
                error => error,
            })
        };
        let control = self.control_dtb.as_deref().map(Input::open).transpose()?;
        let signing = given.then_some(Signing {
            key: &key,
            comment: self.comment.as_deref(),
            algo: self.algo.as_deref(),
            control: control.as_deref(),
            require_configurations: self.required.contains(&Required::Conf),
            require_images: self.required.contains(&Required::Image),
        });
        let assembled = make(signing)?;
        finish(command, output.0, output.1, &assembled)?;
        let (Some(path), Some(bytes)) = (&self.control_dtb, &assembled.control) else { return Ok(()) };
        if output.1.plan {
            return Ok(());
        }
        let output = Output { path, sync: output.1.sync, is_text: false };
        drop(control);
        output.write(bytes.len() as u64, |out| Ok(out.write_all(bytes)?))
    }
}

/// The first line of a file, without its end.
fn passphrase(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

pub(crate) fn sign(args: &Sign) -> Result<()> {
    if args.signer.keys.is_none() && args.signer.key.is_none() {
        let message = "sign: give the keys with --keys DIR, or one with --key FILE";
        message::usage(ErrorKind::MissingRequiredArgument, message);
    }
    let input = Input::open(&args.fit)?;
    let time = match args.time {
        Some(time) => time,
        None => source_date_epoch()?,
    };
    let external = args.placing.external();
    let layout = args.layout.unwrap_or_default();
    let output = args.output.as_deref().unwrap_or(&args.fit);
    args.signer.with("sign", (output, &args.building), |signing| {
        let options = FitOptions { time, external, unsigned: false, layout, signing };
        sign_fit(&input, &options, args.force).map_err(|error| anyhow::Error::new(error).context(input.name()))
    })
}

pub(crate) fn pubkey(args: &Pubkey) -> Result<()> {
    let dtb = Input::open(&args.dtb)?;
    let named = |ending| args.key_dir.join(format!("{}.{ending}", args.key_name));
    let paths = ["crt", "pub", "key", "pem"].map(named);
    let path = paths.iter().find(|path| path.is_file()).unwrap_or(&paths[0]);
    let key = read(path).and_then(|bytes| PublicKey::from_pem(&bytes)).with_context(|| path.display().to_string())?;
    let required = args.required.map(|required| match required {
        Required::Conf => "conf",
        Required::Image => "image",
    });
    let made = add_public_key(&dtb, &key, (&args.algo, &args.key_name), required).with_context(|| dtb.name())?;
    let output = Output { path: &args.output.output, sync: args.output.sync, is_text: false };
    output.write(made.len() as u64, |out| Ok(out.write_all(&made)?))
}
