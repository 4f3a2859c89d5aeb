//! `measure`: files to the values of a TPM's registers.

use super::common::{at_input, finish, one_stdin, open_all, refs};
use crate::args::{Building, Key, Measure, Signer};
use crate::input::Input;
use crate::keys::Keys;
use crate::{message, screen};
use anyhow::{Context, Result};
use kimage::assemble::{PcrKey, PcrSigning, sign_pcrs};
use kimage::inspect::{MeasureRequest, Measurement, measure as foretell};
use kimage::report::write_json;
use serde::Serialize;
use std::io::Write;

#[derive(Serialize)]
struct Report<'r> {
    file: &'r str,
    #[serde(flatten)]
    measurement: &'r Measurement,
}

fn named(inputs: &[Input]) -> Vec<(&str, &[u8])> {
    inputs.iter().map(|input| (input.file_name(), &**input)).collect()
}

pub(crate) fn measure(args: &Measure) -> Result<()> {
    if !args.signing.sign.is_empty() {
        return sign(args);
    }
    let outside = &args.outside;
    one_stdin([&args.file].into_iter().chain(&outside.loader).chain(&outside.initrd));
    let input = Input::open(&args.file)?;
    let (loaders, initrds) = (open_all(&outside.loader)?, open_all(&outside.initrd)?);
    let (addons, global_addons) = (open_all(&outside.addon)?, open_all(&outside.global_addon)?);
    let (credentials, global_credentials) = (open_all(&outside.credential)?, open_all(&outside.global_credential)?);
    let (sysexts, confexts) = (open_all(&outside.sysext)?, open_all(&outside.confext)?);
    let (global_sysexts, global_confexts) = (open_all(&outside.global_sysext)?, open_all(&outside.global_confext)?);
    let programs: Vec<&[u8]> = loaders.iter().map(|input| &**input).collect();
    let disks: Vec<&[u8]> = initrds.iter().map(|input| &**input).collect();
    let phases: Vec<_> = args.phase.iter().map(String::as_str).collect();
    let request = MeasureRequest {
        banks: &args.bank,
        pcrs: &args.pcr,
        stub_version: args.stub_version,
        phases: &phases,
        profile: args.profile,
        secure_boot: args.secure_boot,
        cmdline: outside.cmdline.as_deref(),
        loaders: &programs,
        initrds: &disks,
        addons: &named(&addons),
        global_addons: &named(&global_addons),
        credentials: &named(&credentials),
        global_credentials: &named(&global_credentials),
        sysexts: &named(&sysexts),
        confexts: &named(&confexts),
        global_sysexts: &named(&global_sysexts),
        global_confexts: &named(&global_confexts),
        explain: args.explain,
    };
    let measured = message::busy("hashing", || foretell(&input, &request));
    let inputs = [
        ("FILE", &[&input][..]),
        ("LOADER", &refs(&loaders)[..]),
        ("ADDON", &refs(&addons)[..]),
        ("GLOBAL_ADDON", &refs(&global_addons)[..]),
    ];
    let measurement = measured.map_err(|error| match error.which() {
        Some(_) => at_input(error, &inputs),
        None => anyhow::Error::new(error).context(input.name()),
    })?;
    if args.json {
        let report = Report { file: &input.name(), measurement: &measurement };
        return screen::print(|out| write_json("measure", &report, out));
    }
    screen::print(|out| out.write_all(measurement.to_string().as_bytes()))?;
    measurement.findings.iter().for_each(message::finding);
    Ok(())
}

/// Signs what register 11 comes to.
fn sign(args: &Measure) -> Result<()> {
    let input = Input::open(&args.file)?;
    let signing = &args.signing;
    let one = |file: &std::path::PathBuf| Signer {
        key: vec![Key { name: None, file: file.clone() }],
        pass_file: signing.pass_file.clone(),
        ..Signer::default()
    };
    let options: Vec<_> = signing.sign.iter().map(one).collect();
    let signers = options.iter().map(Keys::new).collect::<Result<Vec<_>>>()?;
    let named =
        |(keys, path): (&Keys<'_>, &std::path::PathBuf)| keys.own_public().with_context(|| path.display().to_string());
    let public = signers.iter().zip(&signing.sign).map(named).collect::<Result<Vec<_>>>()?;
    let phases: Vec<_> = args.phase.iter().map(String::as_str).collect();
    let pair = |(signer, public)| PcrKey { signer, public, phases: &phases };
    let keys: Vec<_> = signers.iter().map(|keys| keys as _).zip(&public).map(pair).collect();
    let request = PcrSigning { banks: &args.bank, stub_version: args.stub_version, keys: &keys };
    let assembled = message::busy("hashing", || sign_pcrs(&input, &request)).with_context(|| input.name())?;
    let output = signing.output.as_deref().unwrap_or(&args.file);
    let building = Building { json: false, sync: signing.sync, quiet: signing.quiet, plan: false, terse: false };
    finish("measure", output, &building, &assembled)
}
