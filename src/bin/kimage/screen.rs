//! The one place where text leaves: to standard output or standard error, and to a terminal nothing that it would obey.
//!
//! What leaves here can hold names and texts of files that somebody else made. Each character that deceives is escaped
//! ([`is_printable`]), line breaks and tabs apart, which reports are made of; names and texts within a line are to be made
//! [`printable`](kimage::bytes::printable) by those who put them there.

use crate::{fd, options};
use anyhow::{Context, Result};
use kimage::bytes::is_printable;
use kimage::report::Style;
use std::io::{self, ErrorKind, IsTerminal, Seek, SeekFrom, Write};

/// Prints to standard output what `write` writes.
///
/// A reader that went away has seen enough: that is no failure, and the command goes on to whatever its verdict is.
pub(crate) fn print(write: impl FnOnce(&mut Screen<io::StdoutLock<'static>>) -> io::Result<()>) -> Result<()> {
    fd::check_stdout().context("standard output")?;
    let mut screen = Screen { is_ours: true, ..Screen::new(io::stdout().lock(), style().colour) };
    write(&mut screen).and_then(|()| screen.flush()).context("standard output")
}

/// Gives `bytes` as they are to the program that reads standard output.
pub(crate) fn pass(bytes: &[u8]) -> Result<()> {
    fd::check_stdout().context("standard output")?;
    match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("standard output"),
    }
}

/// Prints to standard error. Nobody there to read it is no failure.
pub(crate) fn print_error(text: &str) {
    let mut screen = Screen { is_ours: true, ..Screen::new(io::stderr().lock(), colour_on_stderr()) };
    let _ = screen.write_all(text.as_bytes()).and_then(|()| screen.flush());
}

/// How reports on standard output are shown.
pub(crate) fn style() -> Style {
    Style { colour: io::stdout().is_terminal() && colour_wanted() }
}

/// May what goes to standard error have colours?
pub(crate) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_wanted()
}

/// Does the user not forbid colour? <https://no-color.org>
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text is gathered up to so many bytes.
const GATHERED: usize = 64 << 10;

/// A writer of text that lets nothing pass which deceives.
pub(crate) struct Screen<W: Write> {
    to: W,
    colour: bool,
    text: Vec<u8>,
    /// It is what kimage has to tell, not the bytes of a file: options are named in place of fields.
    is_ours: bool,
    /// The reader went away.
    gone: bool,
}

impl<W: Write> Screen<W> {
    /// `colour` lets the colours of reports pass, nothing else.
    pub(crate) fn new(to: W, colour: bool) -> Screen<W> {
        Screen { to, colour, text: Vec::new(), is_ours: false, gone: false }
    }

    /// Lets out what is gathered, but for a character at its end that may have only begun.
    fn put(&mut self, all: bool) -> io::Result<()> {
        let mut gathered = std::mem::take(&mut self.text);
        if !all {
            let end = gathered.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.text = gathered.split_off(end);
        }
        let escaped = escaped(&gathered, self.colour);
        let escaped = if self.is_ours { options::named(&escaped) } else { escaped.into() };
        self.send(escaped.as_bytes())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        match self.to.write_all(bytes).and_then(|()| self.to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            done => done,
        }
    }
}

impl<W: Write> Seek for Screen<W> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::NotSeekable.into())
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= GATHERED {
            self.put(false)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.put(true)
    }
}

fn escaped(text: &[u8], colour: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(c) = rest.chars().next() {
            let len = match c {
                '\x1b' if colour => colour_code(rest),
                c if is_printable(c) || c == '\n' || c == '\t' => Some(c.len_utf8()),
                _ => None,
            };
            match len {
                Some(len) => out.push_str(&rest[..len]),
                None => out.push_str(&kimage::bytes::printable(&rest[..c.len_utf8()])),
            }
            rest = &rest[len.unwrap_or(c.len_utf8())..];
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// The length of an SGR sequence that sets a colour, bold, dim or underlined, at the beginning of `text`: what reports and
/// help are painted with. None of them hides or moves text.
fn colour_code(text: &str) -> Option<usize> {
    let (codes, _) = text.strip_prefix("\x1b[")?.split_once('m')?;
    let harmless = |code: &str| matches!(code.parse(), Ok(0 | 1 | 2 | 4 | 22 | 24 | 30..=37 | 39 | 90..=97));
    codes.split(';').all(harmless).then(|| codes.len() + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]], colour: bool) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, colour);
        pieces.iter().for_each(|piece| screen.write_all(piece).unwrap());
        screen.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_leaves_without_what_deceives() {
        assert_eq!(shown(&[b"a\tb\n\xc3", b"\xbc\x1b]0;title\x07"], false), "a\tb\nü\\u{1b}]0;title\\u{7}");
        assert_eq!(shown(&["x\u{202e}y\u{9b}2J".as_bytes()], true), "x\\u{202e}y\\u{9b}2J");
        assert_eq!(
            shown(&[b"\x1b[1;31merror:\x1b[0m \x1b[8mhidden\x1b[2J"], true),
            "\x1b[1;31merror:\x1b[0m \\u{1b}[8mhidden\\u{1b}[2J"
        );
        assert_eq!(shown(&[b"\x1b[31mred"], false), "\\u{1b}[31mred");
        assert_eq!(shown(&[b"not \xff UTF-8"], false), "not \\xff UTF-8");
    }

    #[test]
    fn much_text_is_let_out_by_lines() {
        let line = "ü".repeat(999) + "\n";
        let all = line.repeat(100);
        let pieces: Vec<&[u8]> = all.as_bytes().chunks(777).collect();
        assert_eq!(shown(&pieces, false), all);
    }
}
