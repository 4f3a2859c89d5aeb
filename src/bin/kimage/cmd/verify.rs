//! `verify`: does everything hold that a file claims?

use super::common::{each, one_stdin};
use crate::args::Verify;
use crate::input::Input;
use crate::{message, screen};
use anyhow::{Context, Result};
use kimage::inspect::verify::{Verified, against, fits, verify as check};
use kimage::inspect::{Limits, Opened, open};
use kimage::report::{FileVerification, write_verify_text};
use std::path::Path;

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
    each("verify", &args.files, args.json, FileVerification::failed, |path| one(path, args, &limits, hold.as_ref()))
}

/// What holds a file against another one.
type Hold<'r> = Box<dyn Fn(&Opened<'_>) -> Verified + 'r>;

/// Verifies a file and, unless JSON is wanted, prints what does not hold. True when there was no error.
fn one(path: &Path, args: &Verify, limits: &Limits, hold: Option<&Hold<'_>>) -> Result<(FileVerification, bool)> {
    let input = Input::open(path)?;
    let (opened, verified) = message::busy(&format!("checking {}", input.name()), || {
        let opened = open(&input, limits)?;
        let mut verified = check(&opened);
        if let Some(hold) = hold {
            verified.append(hold(&opened));
        }
        Ok::<_, kimage::Error>((opened, verified))
    })
    .with_context(|| input.name())?;
    if !args.json {
        screen::print(|out| write_verify_text(&input.name(), &opened, &verified, screen::style(), out))?;
    }
    Ok((FileVerification::new(&input.name(), &opened, &verified), verified.is_good()))
}
