//! `diff`: what differs between two files, and why.

use super::common::at_input;
use crate::args::Diff;
use crate::input::Input;
use crate::{message, screen};
use anyhow::{Context, Result};
use kimage::inspect::diff::{abi, diff as compare};
use kimage::inspect::open;
use kimage::report::{write_diff_json, write_diff_text};

pub(crate) fn diff(args: &Diff) -> Result<()> {
    // The command line has seen to it that there are two.
    let [left, right] = args.files.as_slice() else { return Ok(()) };
    super::common::one_stdin(&args.files);
    let (left, right) = (Input::open(left)?, Input::open(right)?);
    let limits = args.opening.limits_of_two();
    let names = [&*left.name(), &*right.name()];
    let (opened, diff) = message::busy("comparing", || {
        let one = open(&left, &limits).with_context(|| left.name())?;
        let other = open(&right, &limits).with_context(|| right.name())?;
        let diff = match args.abi {
            true => abi(&one, &other).map_err(|error| at_input(error, &[("OLD", &[&left]), ("NEW", &[&right])]))?,
            false => compare(&one, &other),
        };
        anyhow::Ok(([one, other], diff))
    })?;
    opened.iter().for_each(message::left_out);
    screen::print(|out| match args.json {
        true => write_diff_json(names, &diff, out),
        false => write_diff_text(names, &opened[0], &diff, screen::style(), out),
    })?;
    if diff.is_same() { Ok(()) } else { Err(message::AlreadyReported.into()) }
}
