//! `verify`: does everything hold that a file claims?

use super::common::{at_input, each, one_stdin, open_all, refs};
use crate::args::Verify;
use crate::input::Input;
use crate::keys::secrets;
use crate::{message, screen};
use anyhow::{Context, Result};
use kimage::inspect::verify::{FirmwareRequest, Trust, Verified, against, decrypted, fits, signed, verify as check};
use kimage::inspect::{Limits, Opened, open};
use kimage::report::{FileVerification, write_verify_text};
use kimage::sign::PublicKey;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn verify(args: &Verify) -> Result<()> {
    let all: Vec<_> = args.files.iter().chain(&args.against).chain(&args.kernel).cloned().collect();
    one_stdin(&all);
    let reference = args.against.as_ref().or(args.kernel.as_ref());
    let limits = match reference {
        Some(_) => args.opening.limits_of_two(),
        None => args.opening.limits(),
    };
    let reference = reference.map(|path| Input::open(path)).transpose()?;
    let reference = match &reference {
        Some(input) => Some(open(input, &limits).with_context(|| input.name())?),
        None => None,
    };
    let hold: Option<Hold<'_>> = reference.as_ref().map(|reference| -> Hold<'_> {
        if args.kernel.is_some() { Box::new(fits(reference)) } else { Box::new(|opened| against(opened, reference)) }
    });
    let trust = trust(args)?;
    let trust = trust.as_ref();
    each(
        "verify",
        &args.files,
        args.json,
        |name, error| FileVerification::new(name, Err(error)),
        |path| one(path, args, &limits, (hold.as_ref(), trust)),
    )
}

/// The keys that a FIT is held to, or what an EFI program is.
fn trust(args: &Verify) -> Result<Option<Trust>> {
    if let Some(path) = &args.control_dtb {
        let input = Input::open(path)?;
        return Ok(Some(Trust::of_control(&input).with_context(|| input.name())?));
    }
    if !args.cert.is_empty() || !args.dbx.is_empty() || args.vars.is_some() || args.sbat_level.is_some() {
        return firmware(args).map(Some);
    }
    let Some(path) = &args.key else { return Ok(None) };
    let input = Input::open(path)?;
    let key = PublicKey::from_pem(&input).with_context(|| input.name())?;
    Ok(Some(Trust::of_key(&input.name(), key)))
}

fn bytes(inputs: &[Input]) -> Vec<&[u8]> {
    inputs.iter().map(|input| &**input).collect()
}

/// Whom UEFI firmware trusts.
fn firmware(args: &Verify) -> Result<Trust> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let open = |path: &Option<PathBuf>| path.as_deref().map(Input::open).transpose();
    let (vars, level) = (open(&args.vars)?, open(&args.sbat_level)?);
    let (allowed, forbidden) = (open_all(&args.cert)?, open_all(&args.dbx)?);
    let request = FirmwareRequest {
        variables: vars.as_deref(),
        allowed: &bytes(&allowed),
        forbidden: &bytes(&forbidden),
        sbat_level: level.as_deref(),
        seconds: now.as_secs(),
    };
    let (flash, certs, dbx): (Vec<&Input>, _, _) = (vars.iter().collect(), refs(&allowed), refs(&forbidden));
    let inputs = [("VARS", &flash[..]), ("CERT", &certs[..]), ("DBX", &dbx[..])];
    Trust::of_firmware(&request).map_err(|error| at_input(error, &inputs))
}

/// What holds a file against another one.
type Hold<'r> = Box<dyn Fn(&Opened<'_>) -> Verified + 'r>;

/// Verifies a file and, unless JSON is wanted, prints what does not hold. True when there was no error.
fn one(
    path: &Path,
    args: &Verify,
    limits: &Limits,
    (hold, trust): (Option<&Hold<'_>>, Option<&Trust>),
) -> Result<(FileVerification, bool)> {
    let input = Input::open(path)?;
    let (opened, verified) = message::busy(&format!("checking {}", input.name()), || {
        let opened = open(&input, limits)?;
        let mut verified = check(&opened);
        if let Some(hold) = hold {
            verified.append(hold(&opened));
        }
        if let Some(trust) = trust {
            signed(&opened, trust, &mut verified);
        }
        if let Some(folder) = &args.keys {
            decrypted(&opened, &secrets(Some(folder)), limits, &mut verified)?;
        }
        Ok::<_, anyhow::Error>((opened, verified))
    })
    .with_context(|| input.name())?;
    if !args.json {
        screen::print(|out| write_verify_text(&input.name(), &opened, &verified, screen::style(), out))?;
    }
    Ok((FileVerification::new(&input.name(), Ok((&opened, &verified))), verified.is_good()))
}
