//! `sign` and `pubkey`; keys for `fit`.

use super::common::{finish, source_date_epoch, warn};
use super::deferred::{self, Attached, Deferred, FitOptions as Choices};
use crate::args::{Building, Pubkey, Required, Sign, Signer};
use crate::input::Input;
use crate::keys::{Keys, public_in, secrets};
use crate::message;
use crate::output::Output;
use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use kimage::assemble::{Assembled, FitOptions, Signing, add_public_key, is_tree_blob, sign_fit};
use kimage::sign::Signer as Signs;
use std::path::Path;

impl Signer {
    fn is_given(&self) -> bool {
        self.keys.is_some() || !self.key.is_empty()
    }

    /// What means nothing without keys, or beside others.
    fn is_consistent(&self, defers: bool) {
        let needs_key = [
            ("--pass-file", self.pass_file.is_some()),
            ("--pass-fd", self.pass_fd.is_some()),
            ("--comment", self.comment.is_some() && !defers),
            ("--algo", self.algo.is_some() && !defers),
            ("--control-dtb", self.control_dtb.is_some()),
        ];
        if let Some((option, _)) = needs_key.into_iter().find(|(_, is_given)| *is_given && !self.is_given()) {
            let message = format!("{option} means nothing without --keys DIR or --key FILE");
            message::usage(ErrorKind::MissingRequiredArgument, message);
        }
        let all = self.key.iter().filter(|key| key.name.is_none()).count();
        let mut names: Vec<_> = self.key.iter().map(|key| &key.name).collect();
        names.sort();
        if all > 0 && self.keys.is_some() || names.windows(2).any(|pair| pair[0] == pair[1]) {
            let message =
                "two keys are given for the same signatures: say --key NAME=FILE, the NAME being their key-name-hint";
            message::usage(ErrorKind::ArgumentConflict, message);
        }
    }

    /// Calls `make` with what signs, if anything is to, and writes what it makes, and the control device tree.
    pub(crate) fn with<'a>(
        &self,
        command: &'static str,
        output: (&Path, &Building),
        make: impl FnOnce(Option<Signing<'_>>) -> Result<Assembled<'a>>,
    ) -> Result<()> {
        self.is_consistent(false);
        let keys = Keys::new(self)?;
        let signer: Option<&dyn Signs> = if self.is_given() { Some(&keys) } else { None };
        self.with_signer(command, output, signer, make)
    }

    fn with_signer<'a>(
        &self,
        command: &'static str,
        (path, building): (&Path, &Building),
        signer: Option<&dyn Signs>,
        make: impl FnOnce(Option<Signing<'_>>) -> Result<Assembled<'a>>,
    ) -> Result<()> {
        let given = self.control_dtb.as_deref().filter(|_| !self.as_overlay);
        let given = given.map(Input::open).transpose()?;
        let secrets = secrets(self.keys.as_deref());
        let signing = signer.map(|signer| Signing {
            signer,
            secrets: &secrets,
            comment: self.comment.as_deref(),
            algo: self.algo.as_deref(),
            control: given.as_deref(),
            control_overlay: self.as_overlay,
            require_configurations: self.required.contains(&Required::Conf),
            require_images: self.required.contains(&Required::Image),
        });
        let assembled = make(signing)?;
        finish(command, path, building, &assembled)?;
        let (Some(path), Some(bytes)) = (&self.control_dtb, &assembled.control) else { return Ok(()) };
        if building.plan {
            return Ok(());
        }
        let output = Output { path, sync: building.sync, is_text: false };
        drop(given);
        output.write(bytes.len() as u64, |out| Ok(out.write_all(bytes)?))
    }
}

pub(crate) fn sign(args: &Sign) -> Result<()> {
    if args.efi.cert.is_some() || args.efi.remove {
        return super::sign_efi::sign(args);
    }
    args.signer.is_consistent(args.prepare.is_some());
    if args.prepare.is_none() && !args.signer.is_given() {
        let message = match args.attach {
            Some(_) => "sign: give the public keys with --keys DIR or --key FILE: what is attached is checked",
            None => "sign: give the keys with --keys DIR, or one with --key FILE; --prepare DIR needs none",
        };
        message::usage(ErrorKind::MissingRequiredArgument, message);
    }
    let input = Input::open(&args.file)?;
    if !is_tree_blob(&input) {
        let name = input.name();
        bail!(
            "{name}: this is no FIT; give a file that is one, or with --cert FILE, the key's certificate, an EFI program"
        );
    }
    let output = args.output.as_deref().unwrap_or(&args.file);
    let output = (output, &args.building);
    let again = |options: &FitOptions<'_>| {
        sign_fit(&input, options, args.force).map_err(|error| anyhow::Error::new(error).context(input.name()))
    };
    if let Some(folder) = &args.attach {
        let keys = Keys::new(&args.signer)?;
        let attached = Attached::<Choices>::open(folder, &input, &keys)?;
        let Choices { layout, time, comment, algo, .. } = &attached.manifest.options;
        let layout =
            layout.parse().map_err(|wanted| anyhow::anyhow!("the manifest's layout is {layout:?}: {wanted}"))?;
        let external = attached.manifest.options.external();
        return args.signer.with_signer("sign", output, Some(&attached), |signing| {
            let signing = signing.map(|it| Signing { comment: comment.as_deref(), algo: algo.as_deref(), ..it });
            again(&FitOptions { time: *time, external, unsigned: false, layout, signing })
        });
    }
    let time = match args.time {
        Some(time) => time,
        None => source_date_epoch()?,
    };
    let (external, layout) = (args.placing.external(), args.layout.unwrap_or_default());
    let options = FitOptions { time, external, unsigned: false, layout, signing: None };
    let Some(folder) = &args.prepare else {
        return args.signer.with("sign", output, |signing| again(&FitOptions { signing, ..options }));
    };
    let (comment, algo) = (args.signer.comment.clone(), args.signer.algo.clone());
    let later = Deferred::default();
    let signing = Signing {
        signer: &later,
        secrets: &secrets(None),
        comment: comment.as_deref(),
        algo: algo.as_deref(),
        control: None,
        control_overlay: false,
        require_configurations: false,
        require_images: false,
    };
    let assembled = again(&FitOptions { signing: Some(signing), ..options })?;
    warn(&args.building, &assembled);
    let choices = Choices {
        layout: layout.to_string(),
        time,
        comment,
        algo,
        external: external.is_some(),
        position: external.and_then(|external| external.position),
        align: external.and_then(|external| external.align).map(u64::from),
    };
    deferred::prepare(folder, &input, choices, &later.requests.into_inner())
}

pub(crate) fn pubkey(args: &Pubkey) -> Result<()> {
    let input = args.dtb.as_deref().map(Input::open).transpose()?;
    let (path, key) = public_in(&args.key_dir, &args.key_name);
    let key = key.with_context(|| path.display().to_string())?;
    let required = args.required.map(|required| match required {
        Required::Conf => "conf",
        Required::Image => "image",
    });
    let made = add_public_key(input.as_deref(), &key, (&args.algo, &args.key_name), required);
    let made = made.with_context(|| input.as_ref().map_or("overlay".to_owned(), Input::name))?;
    let output = Output { path: &args.output.output, sync: args.output.sync, is_text: false };
    output.write(made.len() as u64, |out| Ok(out.write_all(&made)?))
}
