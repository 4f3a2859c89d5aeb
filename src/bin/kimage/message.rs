//! Messages: to standard error, in colour where a person looks and NO_COLOR does not forbid it.

use crate::args::Cli;
use crate::{dash, screen};
use clap::CommandFactory;
use clap::error::ErrorKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kimage::bytes::{help, printable};
use kimage::finding::Finding;
use kimage::inspect::Opened;
use kimage::kbuild;
use kimage::report::{Shown, Style, label, write_finding};
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::process::exit;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Prints the error, each cause behind it, and the way out.
pub(crate) fn error(error: &anyhow::Error) {
    let build = error.chain().find_map(|cause| cause.downcast_ref::<kbuild::Error>());
    let ours = match build {
        Some(kbuild::Error::Image(ours)) => Some(ours),
        _ => error.chain().find_map(|cause| cause.downcast_ref::<kimage::Error>()),
    };
    if let Some(kimage::Error::Contradiction { findings }) = ours {
        findings.iter().for_each(finding);
        labelled("help", "to go ahead all the same, say --force");
        return;
    }
    if let Some(kbuild::Error::Refused { findings }) = build {
        // The context is the path.
        findings.iter().for_each(|found| {
            finding(&Finding { message: format!("{error}: {}", found.message), ..found.clone() });
        });
        return;
    }
    if error.is::<AlreadyReported>() {
        return;
    }
    labelled("error", &printable(&text(error)));
    let help = build.map(|error| help(error)).or(ours.map(|error| help(error))).filter(|help| !help.is_empty());
    if let Some(help) = help {
        labelled("help", &help);
    }
}

/// The error and each cause behind it, in one line.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // An error that only passes its source on would say it twice.
        if !message.ends_with(&text) {
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(&text);
        }
    }
    message
}

/// A failure that was printed when it was met; nothing is left but the exit status.
#[derive(Debug)]
pub(crate) struct AlreadyReported;

impl std::fmt::Display for AlreadyReported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for AlreadyReported {}

/// Prints a finding, and the way out.
pub(crate) fn finding(finding: &Finding) {
    let mut text = Vec::new();
    // A list of bytes takes all.
    let _ = write_finding(finding, Shown::Message, style(), &mut text);
    screen::print_error(&String::from_utf8_lossy(&text));
}

/// Says what was left out of a file because it goes beyond the limits.
pub(crate) fn left_out(opened: &Opened<'_>) {
    let findings = opened.layers().iter().flat_map(|layer| &layer.findings);
    findings.filter(|finding| finding.unchecked.is_some()).for_each(self::finding);
}

/// Does `work`, and says `what` it is on a terminal when it takes longer than half a second.
pub(crate) fn busy<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        scope.spawn(move || {
            if waiting.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout) {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                    .with_message(printable(what).into_owned());
                // The default one is a bar without an end, and without the message.
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(100));
                let _ = waiting.recv();
                bar.finish_and_clear();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    screen::print_error(&format!("{}\n", printable(text)));
}

/// `error:`, as messages begin.
pub(crate) fn error_label() -> String {
    label("error", style())
}

/// Prints a line behind a label: `error: …`.
fn labelled(name: &str, text: &str) {
    // What a program said on many lines goes on further in: no line can be taken for another message.
    let lines: Vec<_> = text.lines().map(printable).collect();
    screen::print_error(&format!("{} {}\n", label(name, style()), lines.join("\n    ")));
}

fn style() -> Style {
    Style { colour: screen::colour_on_stderr() }
}

/// Ends the command with a usage error that the command line's own rules cannot find.
pub(crate) fn usage(kind: ErrorKind, message: impl Display) -> ! {
    refuse(&Cli::command().error(kind, message))
}

/// Ends the command with what clap has to say of the command line.
pub(crate) fn refuse(error: &clap::Error) -> ! {
    if let Some(advice) = dash::advice_on_command_line() {
        labelled("error", &advice);
        exit(error.exit_code());
    }
    let text = error.to_string();
    let text = text.strip_prefix("error:").map_or(text.clone(), |rest| format!("{}{rest}", error_label()));
    screen::print_error(&text);
    exit(error.exit_code())
}
