//! Characters to words: where the parser stands, in which of the texts, and what stands there.

use super::{Error, Include, Place};
use std::borrow::Cow;

/// Texts that include one another, as dtc allows them (srcpos.c, `MAX_SRCFILE_DEPTH`).
const MAX_INCLUDES: usize = 200;
/// Text of all files together; a source that includes itself twice would fill the memory.
const MAX_TEXT: usize = 64 << 20;

struct Text {
    bytes: Vec<u8>,
    at: usize,
    place: Place,
}

pub(super) struct Scanner<'i> {
    /// The text that is being read last.
    open: Vec<Text>,
    pub(super) texts: Vec<String>,
    include: &'i mut Include<'i>,
    read: usize,
}

impl<'i> Scanner<'i> {
    pub(super) fn new(name: &str, text: &[u8], include: &'i mut Include<'i>) -> Self {
        let place = Place { text: 0, line: 1, column: 1 };
        let first = Text { bytes: text.to_vec(), at: 0, place };
        Scanner { open: vec![first], texts: vec![name.to_owned()], include, read: text.len() }
    }

    pub(super) fn place(&self) -> Place {
        self.open.last().map(|text| text.place).unwrap_or_default()
    }

    /// The name of the text that is being read.
    pub(super) fn text_name(&self) -> &str {
        self.texts.get(self.place().text).map_or("", String::as_str)
    }

    pub(super) fn error(&self, place: Place, message: impl Into<String>, help: impl Into<Cow<'static, str>>) -> Error {
        place.error(&self.texts, message, help)
    }

    pub(super) fn error_here(&self, message: impl Into<String>, help: &'static str) -> Error {
        self.error(self.place(), message, help)
    }

    /// An error at what stands here.
    pub(super) fn wanted(&mut self, want: &str) -> Error {
        let rest = self.rest();
        let end = rest.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(rest.len()).min(20);
        let found = match rest.get(..end) {
            None | Some([]) => "the end of the text".to_owned(),
            Some(word) => format!("{:?}", String::from_utf8_lossy(word)),
        };
        self.error_here(format!("found {found}, wanted {want}"), "")
    }

    fn rest(&self) -> &[u8] {
        self.open.last().and_then(|text| text.bytes.get(text.at..)).unwrap_or(&[])
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    pub(super) fn peek_at(&self, index: usize) -> Option<u8> {
        self.rest().get(index).copied()
    }

    pub(super) fn looking_at(&self, word: &str) -> bool {
        self.rest().starts_with(word.as_bytes())
    }

    /// The next character, passed over.
    pub(super) fn next(&mut self) -> Option<u8> {
        let text = self.open.last_mut()?;
        let byte = *text.bytes.get(text.at)?;
        text.at += 1;
        if byte == b'\n' {
            text.place.line += 1;
            text.place.column = 1;
        } else {
            text.place.column += 1;
        }
        Some(byte)
    }

    fn pass(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    /// Passes over white space, comments, line marks, and into and out of included texts.
    pub(super) fn space(&mut self) -> Result<(), Error> {
        loop {
            match self.rest() {
                [] if self.open.len() > 1 => {
                    self.open.pop();
                }
                [] => return Ok(()),
                [byte, ..] if is_space(*byte) => self.pass(1),
                [b'/', b'/', ..] => {
                    let Some(length) = memchr::memchr(b'\n', self.rest()) else {
                        let help = "end the line: dtc takes no comment that ends with the file";
                        return Err(self.error_here("the comment has no end of line", help));
                    };
                    self.pass(length);
                }
                [b'/', b'*', ..] => {
                    let start = self.place();
                    let length = memchr::memmem::find(self.rest(), b"*/");
                    let Some(length) = length else {
                        return Err(self.error(start, "the comment has no end", "end it with */"));
                    };
                    self.pass(length + 2);
                }
                [b'#', ..] if self.place().column == 1 => match line_mark(self.rest()) {
                    Some((length, false)) => self.pass(length),
                    Some((_, true)) => {
                        let help = "change the file name in the line mark";
                        return Err(self.error_here("a file name with a zero byte", help));
                    }
                    // The name of a property may begin so.
                    None => return Ok(()),
                },
                _ if self.looking_at("/include/") => self.include()?,
                _ => return Ok(()),
            }
        }
    }

    fn include(&mut self) -> Result<(), Error> {
        let place = self.place();
        self.pass("/include/".len());
        while self.peek().is_some_and(is_space) {
            self.pass(1);
        }
        // Here a backslash is a letter of the file name, but for the end of the string.
        let Some(length) = quoted(self.rest()) else { return Err(self.wanted("a string in quotes")) };
        let name = self.rest().get(1..length.saturating_sub(1)).unwrap_or(&[]);
        let name = String::from_utf8_lossy(name).into_owned();
        self.pass(length);
        if self.open.len() == MAX_INCLUDES {
            let message = format!("{MAX_INCLUDES} texts include one another");
            return Err(self.error(place, message, "a file includes itself"));
        }
        let from = self.text_name().to_owned();
        let (called, bytes) = (self.include)(&name, &from)
            .map_err(|error| self.error(place, format!("{name} cannot be read: {error}"), "change the name"))?;
        self.read = self.read.saturating_add(bytes.len());
        if self.read > MAX_TEXT {
            return Err(self.error(place, "the included texts are too long", "a file includes itself"));
        }
        let text = match self.texts.iter().position(|known| *known == called) {
            Some(index) => index,
            None => {
                self.texts.push(called);
                self.texts.len() - 1
            }
        };
        self.open.push(Text { bytes, at: 0, place: Place { text, line: 1, column: 1 } });
        Ok(())
    }

    /// Passes over `word` when it stands here, behind space.
    pub(super) fn skip(&mut self, word: &str) -> Result<bool, Error> {
        self.space()?;
        let here = self.looking_at(word);
        if here {
            self.pass(word.len());
        }
        Ok(here)
    }

    /// Passes over `word`, which must stand here.
    pub(super) fn expect(&mut self, word: &str) -> Result<(), Error> {
        match self.skip(word)? {
            true => Ok(()),
            false => Err(self.wanted(&format!("{word:?}"))),
        }
    }

    /// The longest run of characters that are `of` it.
    pub(super) fn run(&mut self, of: impl Fn(u8) -> bool) -> String {
        let length = self.rest().iter().position(|byte| !of(*byte)).unwrap_or(self.rest().len());
        let word = String::from_utf8_lossy(self.rest().get(..length).unwrap_or(&[])).into_owned();
        self.pass(length);
        word
    }

    /// A label and its colon, if one stands here.
    pub(super) fn label(&mut self) -> Result<Option<(Place, String)>, Error> {
        self.space()?;
        let rest = self.rest();
        let length = rest.iter().position(|byte| !is_label(*byte)).unwrap_or(rest.len());
        let starts = rest.first().is_some_and(|byte| is_label(*byte) && !byte.is_ascii_digit());
        if !starts || rest.get(length) != Some(&b':') {
            return Ok(None);
        }
        let place = self.place();
        let label = self.run(is_label);
        self.pass(1);
        Ok(Some((place, label)))
    }

    /// A string in quotes, with C's escapes; without the zero byte at its end.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, Error> {
        let start = self.place();
        if self.peek() != Some(b'"') {
            return Err(self.wanted("a string in quotes"));
        }
        self.pass(1);
        let mut out = Vec::new();
        loop {
            match self.next() {
                Some(b'"') => return Ok(out),
                Some(b'\\') => out.push(self.escape(start)?),
                Some(byte) => out.push(byte),
                None => return Err(self.error(start, "the string has no end", "end it with a quote")),
            }
        }
    }

    /// A character in single quotes.
    pub(super) fn character(&mut self) -> Result<u64, Error> {
        let start = self.place();
        // A quote behind a backslash is no end where another quote follows, be it far away: flex takes the longest word.
        let mut end = None;
        for at in memchr::memchr_iter(b'\'', self.rest()).skip(1) {
            end = Some(at);
            if self.peek_at(at - 1) != Some(b'\\') {
                break;
            }
        }
        let Some(end) = end else {
            return Err(self.error(start, "the character has no end", "end it with a single quote"));
        };
        let from = self.open.last().map_or(0, |text| text.at);
        self.pass(1);
        let mut bytes = Vec::new();
        let at = |scan: &Self| scan.open.last().map_or(0, |text| text.at).saturating_sub(from);
        while at(self) < end {
            match self.next() {
                // A backslash and no more: dtc reads on, and finds the quote.
                Some(b'\\') if at(self) == end => bytes.push(b'\''),
                Some(b'\\') => bytes.push(self.escape(start)?),
                Some(byte) => bytes.push(byte),
                None => break,
            }
        }
        self.pass(1);
        match bytes.as_slice() {
            // dtc's `char` has a sign, but its value is taken as one byte.
            [byte] => Ok(u64::from(*byte)),
            [] => Err(self.error(start, "the character is missing", "put one character between the quotes")),
            _ => {
                Err(self.error(start, "more than one character between single quotes", "put a string in double quotes"))
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, start: Place) -> Result<u8, Error> {
        let first = self.next();
        Ok(match first {
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'v') => 11,
            Some(b'f') => 12,
            Some(b'r') => b'\r',
            Some(b'x') => {
                let digits = self.digits(2, 16);
                match u8::from_str_radix(&digits, 16) {
                    Ok(byte) => byte,
                    Err(_) => return Err(self.error(start, "\\x without hexadecimal digits", "give one or two")),
                }
            }
            Some(digit @ b'0'..=b'7') => {
                let digits = format!("{}{}", char::from(digit), self.digits(2, 8));
                // Of more than 8 bits dtc takes the lower ones.
                let [.., byte] = u32::from_str_radix(&digits, 8).unwrap_or_default().to_be_bytes();
                byte
            }
            Some(b'\n') => {
                return Err(self.error(start, "a backslash at the end of a line", "write \\n for the end of a line"));
            }
            Some(other) => other,
            None => return Err(self.error(start, "the string has no end", "end it with a quote")),
        })
    }

    fn digits(&mut self, most: usize, radix: u32) -> String {
        let mut digits = String::new();
        while digits.len() < most {
            match self.peek().filter(|byte| char::from(*byte).is_digit(radix)) {
                Some(digit) => digits.push(char::from(digit)),
                None => break,
            }
            self.pass(1);
        }
        digits
    }
}

/// As C's `isspace`.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The length of a string with its quotes.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut rest = text.iter().enumerate();
    rest.next().filter(|(_, byte)| **byte == b'"')?;
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => rest.next().filter(|(_, byte)| **byte != b'\n').map(|_| ())?,
            _ => {}
        }
    }
    None
}

/// A line mark of a C preprocessor (`# 12 "file" 1`, `#line 12 "file"`): its length, and whether the file's name has a zero
/// byte, written as an escape, which dtc refuses.
fn line_mark(text: &[u8]) -> Option<(usize, bool)> {
    let blank = |text: &[u8]| text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"#")?;
    let rest = rest.strip_prefix(b"line").unwrap_or(rest);
    let rest = rest.get(blank(rest)..).filter(|after| after.len() < rest.len())?;
    let rest = rest.get(digits(rest)..).filter(|after| after.len() < rest.len())?;
    let rest = rest.get(blank(rest)..).filter(|after| after.len() < rest.len())?;
    let length = quoted(rest)?;
    let name = rest.get(..length)?;
    let has_zero = has_zero(name);
    let mut rest = rest.get(length..)?;
    loop {
        let after = rest.get(blank(rest)..)?;
        let numbers = digits(after);
        if after.len() == rest.len() || numbers == 0 {
            return Some((text.len() - rest.len(), has_zero));
        }
        rest = after.get(numbers..)?;
    }
}

/// True when the text of a string has a zero byte, or an escape for one.
fn has_zero(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let (radix, most) = match (byte, after.first()) {
            (0, _) => return true,
            (b'\\', Some(b'x')) => (16, 2),
            (b'\\', Some(b'0'..=b'7')) => (8, 3),
            (b'\\', _) => {
                rest = after.get(1..).unwrap_or(&[]);
                continue;
            }
            _ => continue,
        };
        let digits = after.get(usize::from(radix == 16)..).unwrap_or(&[]);
        let length = digits.iter().take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count();
        if length > 0 && digits.iter().take(length).all(|byte| *byte == b'0') {
            return true;
        }
        rest = digits.get(length..).unwrap_or(&[]);
    }
    false
}

pub(super) fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Characters of the names of nodes and properties.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b",._+*#?@-".contains(&byte)
}
