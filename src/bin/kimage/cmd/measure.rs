//! `measure`: files to the values of a TPM's registers.

use super::common::{at_input, one_stdin, open_all, refs};
use crate::args::Measure;
use crate::input::Input;
use crate::{message, screen};
use anyhow::Result;
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
    let outside = &args.outside;
    one_stdin([&args.file].into_iter().chain(&outside.loader));
    let input = Input::open(&args.file)?;
    let loaders = open_all(&outside.loader)?;
    let (addons, global_addons) = (open_all(&outside.addon)?, open_all(&outside.global_addon)?);
    let (credentials, global_credentials) = (open_all(&outside.credential)?, open_all(&outside.global_credential)?);
    let (sysexts, confexts) = (open_all(&outside.sysext)?, open_all(&outside.confext)?);
    let programs: Vec<&[u8]> = loaders.iter().map(|input| &**input).collect();
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
        addons: &named(&addons),
        global_addons: &named(&global_addons),
        credentials: &named(&credentials),
        global_credentials: &named(&global_credentials),
        sysexts: &named(&sysexts),
        confexts: &named(&confexts),
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
