//! `diff`: what differs between two files, and why.

use crate::args::Diff;
use crate::input::Input;
use crate::say;
use anyhow::{Context, Result};
use kimage::inspect::diff::diff as compare;
use kimage::inspect::open;
use kimage::report::{DIFF_JSON_SCHEMA, Style, write_diff_json, write_diff_text};
use std::io::{self, BufWriter, IsTerminal, Write};

pub(crate) fn diff(args: &Diff) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let [left, right] = args.files.as_slice() else {
        // Two files or --schema: the command line has seen to it.
        return out.write_all(DIFF_JSON_SCHEMA.as_bytes()).and_then(|()| out.flush()).context("standard output");
    };
    super::build::one_stdin(&args.files);
    let (left, right) = (Input::open(left)?, Input::open(right)?);
    let limits = args.opening.limits();
    let names = [&*left.name(), &*right.name()];
    let (opened, diff) = say::busy("comparing", || {
        let one = open(&left, &limits).with_context(|| left.name())?;
        let other = open(&right, &limits).with_context(|| right.name())?;
        let diff = compare(&one, &other);
        anyhow::Ok((one, diff))
    })?;
    let style = Style { colour: io::stdout().is_terminal() && say::colour_wanted() };
    let written = match args.json {
        true => write_diff_json(names, &diff, &mut out),
        false => write_diff_text(names, &opened, &diff, style, &mut out),
    };
    written.and_then(|()| out.flush()).context("standard output")?;
    if diff.is_same() { Ok(()) } else { Err(say::Said.into()) }
}
