//! The options of the peers, as getopt_long(3) of the C library takes them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// Options in their order, with their arguments.
    pub(super) options: Vec<(char, OsString)>,
    /// All else.
    pub(super) operands: Vec<OsString>,
}

/// `letters` as getopt(3) has them, a colon behind each that wants an argument; `long` names some of them. Options and operands may
/// stand in any order. The error says what is wrong.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    letters: &str,
    long: &[(&str, char)],
) -> Result<Given, String> {
    let mut given = Given::default();
    let mut rest: VecDeque<OsString> = arguments.into_iter().collect();
    while let Some(argument) = rest.pop_front() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            given.operands.extend(rest);
            break;
        } else if let Some(text) = bytes.strip_prefix(b"--") {
            let (letter, value) = long_option(text, long)?;
            let value = match (wants_argument(letters, letter).unwrap_or(false), value) {
                (true, Some(value)) => value,
                (true, None) => rest.pop_front().ok_or_else(|| missing(&argument))?,
                (false, None) => OsString::new(),
                (false, Some(_)) => return Err(format!("option {} takes no argument", shown(&argument))),
            };
            given.options.push((letter, value));
        } else if bytes.len() > 1 && bytes.starts_with(b"-") {
            let mut cluster = bytes.get(1..).unwrap_or(&[]);
            while let [first, behind @ ..] = cluster {
                let letter = char::from(*first);
                let wants = wants_argument(letters, letter).ok_or_else(|| format!("invalid option -- '{letter}'"))?;
                let value = match (wants, behind) {
                    (true, []) => rest.pop_front().ok_or_else(|| missing(OsStr::from_bytes(&[b'-', *first])))?,
                    (true, value) => OsString::from_vec(value.to_vec()),
                    (false, _) => OsString::new(),
                };
                cluster = if wants { &[] } else { behind };
                given.options.push((letter, value));
            }
        } else {
            given.operands.push(argument);
        }
    }
    Ok(given)
}

fn shown(text: &OsStr) -> String {
    format!("'{}'", text.to_string_lossy())
}

fn missing(option: &OsStr) -> String {
    format!("option {} requires an argument", shown(option))
}

/// Whether an option wants an argument; `None` for one that there is not.
fn wants_argument(letters: &str, letter: char) -> Option<bool> {
    let at = letters.find(letter).filter(|_| letter != ':')?;
    Some(letters.get(at + 1..).is_some_and(|behind| behind.starts_with(':')))
}

/// The option of a name, or of the beginning of one name alone, and the argument behind its `=`.
fn long_option(text: &[u8], long: &[(&str, char)]) -> Result<(char, Option<OsString>), String> {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    let value = parts.next().map(|value| OsString::from_vec(value.to_vec()));
    let shown = String::from_utf8_lossy(name);
    let begins = |known: &&(&str, char)| known.0.as_bytes().starts_with(name);
    let exact = long.iter().find(|(known, _)| known.as_bytes() == name);
    let mut found = long.iter().filter(begins);
    let letter = match (exact, found.next(), found.next()) {
        (Some(exact), ..) => exact.1,
        (None, Some(only), None) => only.1,
        (None, Some(_), Some(_)) => return Err(format!("option '--{shown}' is ambiguous")),
        (None, None, _) => return Err(format!("unrecognized option '--{shown}'")),
    };
    Ok((letter, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<String, String> {
        let long = [("load-address", 'a'), ("list", 'l'), ("key-dir", 'k'), ("key-dest", 'K'), ("list-all", 'L')];
        let given = parse(arguments.iter().map(OsString::from), "a:k:K:lqL", &long)?;
        let options: Vec<String> =
            given.options.iter().map(|(letter, value)| format!("{letter}{}", value.to_string_lossy())).collect();
        let operands: Vec<_> = given.operands.iter().map(|it| it.to_string_lossy()).collect();
        Ok(format!("{} | {}", options.join(" "), operands.join(" ")))
    }

    #[test]
    fn as_getopt_has_it() {
        let ok = |arguments: &[&str], want: &str| assert_eq!(of(arguments).as_deref(), Ok(want), "{arguments:?}");
        ok(&["-lq", "x"], "l q | x");
        ok(&["x", "-l"], "l | x");
        ok(&["-a10", "-a", "20", "-qa30"], "a10 a20 q a30 | ");
        ok(&["-a", "-l", "--", "-q"], "a-l | -q");
        ok(&["--load-address=1", "--load", "2", "--list"], "a1 a2 l | ");
        ok(&["-", "--list-"], "L | -");
        let err = |arguments: &[&str], words: &str| {
            let said = of(arguments).unwrap_err();
            assert!(said.contains(words), "{arguments:?}: {said}");
        };
        err(&["-Q"], "invalid option -- 'Q'");
        err(&["-:"], "invalid option");
        err(&["-a"], "requires an argument");
        err(&["--load"; 1], "requires an argument");
        err(&["--key-d=x"], "ambiguous");
        err(&["--list=x"], "takes no argument");
        err(&["--nothing"], "unrecognized");
    }
}
