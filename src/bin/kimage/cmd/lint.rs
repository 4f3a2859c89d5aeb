//! `lint`: board file, environment and image to findings.

use super::common::one_stdin;
use crate::args::Lint;
use crate::input::Input;
use crate::{message, screen};
use anyhow::{Result, anyhow, bail};
use clap::error::ErrorKind;
use kimage::finding::Severity;
use kimage::lint::{Board, Files, SHIPPED, lint as check};
use kimage::report::{write_lint_json, write_lint_text};
use std::io::Write;
use std::path::Path;

pub(crate) fn lint(args: &Lint) -> Result<()> {
    if args.board == Path::new("list") {
        for (name, text) in SHIPPED {
            let board = Board::parse(text).map_err(|error| anyhow!("{name}: {error}"))?;
            screen::print(|out| writeln!(out, "{name:<22}{}", board.name))?;
        }
        return Ok(());
    }
    let text = board_text(&args.board)?;
    if args.show {
        return screen::print(|out| out.write_all(text.as_bytes()));
    }
    let mut board = Board::parse(&text).map_err(|error| {
        anyhow!("{}: is no board file that kimage can read: {error}; {BEGIN}", args.board.display())
    })?;
    let Some(image) = &args.image else {
        message::usage(ErrorKind::MissingRequiredArgument, "lint: give the image to check: IMAGE");
    };
    one_stdin([image].into_iter().chain(&args.dtb).chain(&args.ramdisk).chain(&args.uboot_env));
    let mut findings = Vec::new();
    if let Some(path) = &args.uboot_env {
        let text = Input::open(path)?;
        findings = board.env.read(&String::from_utf8_lossy(&text));
    }
    let image = Input::open(image)?;
    let dtb = args.dtb.as_deref().map(Input::open).transpose()?;
    let ramdisk = args.ramdisk.as_deref().map(Input::open).transpose()?;
    let files = Files { image: &image, dtb: dtb.as_deref(), ramdisk: ramdisk.as_deref() };
    let mut linted = check(&board, &files).map_err(|error| anyhow::Error::new(error).context(image.name()))?;
    linted.findings.append(&mut findings);
    if args.json {
        screen::print(|out| write_lint_json(&image.name(), &linted, out))?;
    } else {
        screen::print(|out| write_lint_text(&linted, out))?;
        linted.findings.iter().for_each(message::finding);
    }
    let unchecked = linted.findings.iter().find_map(|finding| finding.unchecked);
    match (linted.findings.iter().filter(|finding| finding.severity == Severity::Error).count(), unchecked) {
        (0, None) => Ok(()),
        (0, Some(what)) => {
            bail!("not known whether {} boots on {}: {what} was NOT checked", image.name(), linted.board)
        }
        (1, _) => bail!("{} would not boot on {}", image.name(), linted.board),
        (count, _) => bail!("{} would not boot on {}: {count} errors", image.name(), linted.board),
    }
}

/// The way to a board file.
const BEGIN: &str =
    "`kimage lint --board NAME --show` prints a shipped one to begin with, `--board list` shows the names";

/// The text of a board file, or of a shipped one.
fn board_text(path: &Path) -> Result<String> {
    let shipped = SHIPPED.iter().find(|(name, _)| Path::new(name) == path);
    match shipped {
        Some((_, text)) => Ok((*text).to_owned()),
        None if path.extension().is_none() && !path.exists() => {
            bail!("{}: no such file, and no shipped board; `--board list` shows those", path.display())
        }
        None => match std::str::from_utf8(&Input::open(path)?) {
            Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
            _ => bail!("{}: is no board file: it is not text; {BEGIN}", path.display()),
        },
    }
}
