//! Messages: to standard error, in colour where a person looks and NO_COLOR does not forbid it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kimage::finding::{Finding, Severity};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Prints the error, each cause behind it, and the way out.
pub(crate) fn error(error: &anyhow::Error) {
    let ours = error.chain().find_map(|cause| cause.downcast_ref::<kimage::Error>());
    match ours {
        Some(kimage::Error::Contradiction { findings }) => {
            findings.iter().for_each(finding);
            // `fit` has no such option.
            if findings.iter().any(|finding| finding.rule.starts_with("uimage.")) {
                line(&format!("{} to go ahead all the same, say --force", paint("help:", "1;36")));
            }
            return;
        }
        Some(kimage::Error::Refused { findings }) => {
            // The context is the path.
            findings.iter().for_each(|found| {
                finding(&Finding { message: format!("{error}: {}", found.message), ..found.clone() });
            });
            return;
        }
        _ => {}
    }
    if error.is::<Said>() {
        return;
    }
    line(&format!("{} {}", paint("error:", "1;31"), text(error)));
    if let Some(help) = ours.map(kimage::Error::help).filter(|help| !help.is_empty()) {
        line(&format!("{} {help}", paint("help:", "1;36")));
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
pub(crate) struct Said;

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Said {}

/// Prints a finding, and the way out.
pub(crate) fn finding(finding: &Finding) {
    let label = format!("{}:", finding.severity.name());
    let colour = match finding.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
        _ => "1",
    };
    line(&format!("{} {}", paint(&label, colour), finding.message));
    if !finding.help.is_empty() {
        line(&format!("{} {}", paint("help:", "1;36"), finding.help));
    }
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
                let bar =
                    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what.to_owned());
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

/// Was the output closed by its reader?
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Does the user not forbid colour? <https://no-color.org>
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn paint(text: &str, colour: &str) -> String {
    if colour_wanted() && io::stderr().is_terminal() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}
