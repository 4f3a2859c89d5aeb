//! The words of a command that kbuild kept in a `.cmd` file, split as `sh` splits them, without a shell.
//!
//! kbuild (`scripts/Kbuild.include`, `make-cmd`) writes `savedcmd_TARGET := COMMAND` (`cmd_TARGET` before Linux 6.3),
//! with `$$` for a dollar sign and `$(pound)` for `#` (`\#` before Linux 4.16). What is left is a line for `sh`: blanks
//! part words, quotes and backslashes protect them (POSIX.1-2017, Shell Command Language, 2.2). Whatever would make the
//! shell do more than that is refused, for then the words that stand there are not the words the linker got.

use super::LinkError as Error;
use crate::bytes::FileOffset;

type Result<T> = std::result::Result<T, Error>;

/// Longest command line read; Linux hands no more than 2 MiB of arguments to a program (`ARG_MAX`).
const MAX_COMMAND: usize = 2 << 20;

/// A kept command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SavedCommand {
    /// What it makes.
    pub(super) target: String,
    /// The words of its first command; those behind it are not read.
    pub(super) words: Vec<String>,
}

/// A character of the command, and where it stands in the `.cmd` file.
type Char = (usize, char);

/// Reads the first command that the text of a `.cmd` file keeps.
pub(super) fn read(bytes: &[u8]) -> Result<SavedCommand> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| refused(error.valid_up_to(), "a byte that is no UTF-8", ""))?;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let line = logical_line(rest);
        if let Some((target, command)) = assignment(line) {
            let command_at = at + (line.len() - command.len());
            if command.len() > MAX_COMMAND {
                return Err(refused(command_at, "a command of more than 2 MiB", ""));
            }
            let (chars, broken) = unescape(command, command_at);
            let words = match (split(&chars), broken) {
                // What make would choke on behind the first command is not read.
                (Ok((words, true)), _) => words,
                (_, Some(error)) => return Err(error),
                (split, None) => split?.0,
            };
            return Ok(SavedCommand { target: target.to_owned(), words });
        }
        at += line.len() + 1;
    }
    Err(Error::NoCommand)
}

fn refused(at: usize, what: &'static str, found: impl Into<String>) -> Error {
    Error::Refused { at: FileOffset(u64::try_from(at).unwrap_or(u64::MAX)), what, found: found.into() }
}

/// The first line, with those that a backslash at the end of a line makes part of it.
fn logical_line(text: &str) -> &str {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        let Some(body) = line.strip_suffix('\n') else { break };
        let backslashes = body.len() - body.trim_end_matches('\\').len();
        if backslashes % 2 == 0 {
            end -= 1;
            break;
        }
    }
    text.get(..end).unwrap_or(text)
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("savedcmd_").or_else(|| line.strip_prefix("cmd_"))?;
    let (target, command) = rest.split_once(":=")?;
    Some((target.trim(), command))
}

/// What make hands to the shell, up to what it would not hand on, if there is such.
fn unescape(command: &str, at: usize) -> (Vec<Char>, Option<Error>) {
    let mut out = Vec::new();
    let mut rest = command;
    while let Some(char) = rest.chars().next() {
        let at = at + (command.len() - rest.len());
        let (len, value) = if rest.starts_with("$$") {
            (2, '$')
        } else if rest.starts_with("$(pound)") {
            (8, '#')
        } else if rest.starts_with("\\#") {
            (2, '#')
        } else if rest.starts_with("\\\n") {
            (2, ' ')
        } else if char == '$' {
            return (out, Some(refused(at, "a variable of make", excerpt(rest))));
        } else if char == '#' {
            return (out, Some(refused(at, "a comment", excerpt(rest))));
        } else if char.is_control() && char != '\t' {
            return (out, Some(refused(at, "a control character", char.escape_default().to_string())));
        } else {
            (char.len_utf8(), char)
        };
        out.push((at, value));
        rest = rest.get(len..).unwrap_or_default();
    }
    (out, None)
}

/// The first few characters, for a message.
fn excerpt(text: &str) -> String {
    text.split([' ', '\t', '\n']).next().unwrap_or_default().chars().take(40).collect()
}

/// The words of the first command, and whether it ends before the line does.
fn split(line: &[Char]) -> Result<(Vec<String>, bool)> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.iter().copied().enumerate().peekable();
    while let Some((index, (at, char))) = chars.next() {
        let rest = || line.iter().skip(index).map(|(_, char)| *char);
        let refuse = |what| Err(refused(at, what, excerpt(&rest().collect::<String>())));
        match char {
            ' ' | '\t' => words.extend(word.take()),
            ';' => {
                words.extend(word.take());
                return Ok((words, true));
            }
            '&' if chars.peek().is_some_and(|(_, (_, next))| *next == '&') => {
                words.extend(word.take());
                let is_last = rest().skip(2).all(char::is_whitespace);
                return if is_last { refuse("an && with nothing behind it") } else { Ok((words, true)) };
            }
            '&' => return refuse("a command in the background"),
            '|' => return refuse("a pipe"),
            '<' | '>' => return refuse("a redirection"),
            '(' | ')' => return refuse("a subshell"),
            '$' | '`' => return refuse("a substitution of the shell"),
            '*' | '?' | '[' => return refuse("a file name pattern"),
            '{' | '}' => return refuse("a brace"),
            '~' if word.is_none() => return refuse("a home folder"),
            '#' if word.is_none() => return refuse("a comment"),
            '\\' => match chars.next() {
                Some((_, (_, next))) => word.get_or_insert_default().push(next),
                None => return refuse("a backslash at the end"),
            },
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some((_, (_, '\''))) => break,
                        Some((_, (_, inside))) => word.push(inside),
                        None => return refuse("a quote without end"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some((_, (_, '"'))) => break,
                        Some((_, (_, '$' | '`'))) => return refuse("a substitution of the shell"),
                        Some((_, (_, '\\'))) => match chars.next() {
                            Some((_, (_, next @ ('$' | '`' | '"' | '\\')))) => word.push(next),
                            Some((_, (_, next))) => word.extend(['\\', next]),
                            None => return refuse("a quote without end"),
                        },
                        Some((_, (_, inside))) => word.push(inside),
                        None => return refuse("a quote without end"),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok((words, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<String> {
        read(format!("cmd_a := {command}\n").as_bytes()).unwrap().words
    }

    fn refusal(command: &str) -> (u64, &'static str) {
        match read(format!("savedcmd_a := {command}\ncmd_b := fine\n").as_bytes()) {
            // "savedcmd_a := " has 14 bytes.
            Err(Error::Refused { at, what, .. }) => (at.0 - 14, what),
            other => panic!("{command}: {other:?}"),
        }
    }

    #[test]
    fn words_as_sh_has_them() {
        assert_eq!(words("ld  -m\telf_i386 "), ["ld", "-m", "elf_i386"]);
        assert_eq!(words(r#"a 'b  c'd "e f" g\ h"#), ["a", "b  cd", "e f", "g h"]);
        assert_eq!(words(r#"'' "" a''b"#), ["", "", "ab"]);
        assert_eq!(words(r#"'\' "\\ \" \n \$$ \`" \\ \'"#), ["\\", r#"\ " \n $ `"#, "\\", "'"]);
        assert_eq!(
            words("'a;b|c>d&e*$$(x)`y`' a~ x\\#y"),
            ["a;b|c>d&e*$(x)`y`", "a~", "x#y"].map(String::from).to_vec()
        );
    }

    #[test]
    fn what_make_escapes() {
        assert_eq!(words(r"'$$(x)' a$(pound)b c\#d"), ["$(x)", "a#b", "c#d"]);
        assert_eq!(words("a \\\n b"), ["a", "b"]);
        assert_eq!(refusal("ld $(LDFLAGS)"), (3, "a variable of make"));
        assert_eq!(refusal("ld # -o x"), (3, "a comment"));
        assert_eq!(refusal("ld $(pound) -o x"), (3, "a comment"));
    }

    #[test]
    fn only_the_first_command() {
        let kept = read(b"cmd_x/y := ld -o x/y a.o; rm -rf / ; $(anything\n").unwrap();
        assert_eq!(kept.words, ["ld", "-o", "x/y", "a.o"]);
        let kept = read(b"\n# x\nsource_a := b\nsavedcmd_x/y:=ld a.o ; objcopy | x\nsavedcmd_z := no\n").unwrap();
        assert_eq!((kept.target.as_str(), kept.words.len()), ("x/y", 2));
        assert_eq!(read(b"cmd_x := ld a.o&&b").unwrap().words, ["ld", "a.o"]);
        assert_eq!(read(b"cmd_x := ;ld a.o").unwrap().words, [""; 0]);
        assert_eq!(read(b"cmd_x :="), Ok(SavedCommand { target: "x".into(), words: Vec::new() }));
    }

    #[test]
    fn what_only_a_shell_could_do() {
        for (command, at, what) in [
            ("ld a | sh", 5, "a pipe"),
            ("ld a || sh", 5, "a pipe"),
            ("ld a & sh", 5, "a command in the background"),
            ("ld a &&", 5, "an && with nothing behind it"),
            ("ld >x", 3, "a redirection"),
            ("ld 2>x", 4, "a redirection"),
            ("ld <x", 3, "a redirection"),
            ("(ld x)", 0, "a subshell"),
            ("ld `x`", 3, "a substitution of the shell"),
            ("ld $$x", 3, "a substitution of the shell"),
            ("ld \"$$x\"", 3, "a substitution of the shell"),
            ("ld \"`x`\"", 3, "a substitution of the shell"),
            ("ld *.o", 3, "a file name pattern"),
            ("ld a?.o", 4, "a file name pattern"),
            ("ld [a].o", 3, "a file name pattern"),
            ("ld {a,b}.o", 3, "a brace"),
            ("ld ~/a.o", 3, "a home folder"),
            ("ld 'a", 3, "a quote without end"),
            ("ld \"a\\", 3, "a quote without end"),
            ("ld a\\\\\\", 6, "a backslash at the end"),
            ("ld a\u{0}b", 4, "a control character"),
            ("ld a\rb", 4, "a control character"),
        ] {
            if command.ends_with("\\\\\\") || command.ends_with("a\\") {
                // With a line end behind it, it would be a continued line.
                let text = format!("savedcmd_a := {command}");
                let Err(Error::Refused { at: found, what: why, .. }) = read(text.as_bytes()) else { panic!("{text}") };
                assert_eq!((found.0 - 14, why), (at, what), "{command}");
            } else {
                assert_eq!(refusal(command), (at, what), "{command}");
            }
        }
    }

    #[test]
    fn no_command_at_all() {
        for text in [&b""[..], b"\n\n", b"deps_x := a\n", b"cmd_", b"cmd_x", b" cmd_x := a"] {
            assert_eq!(read(text), Err(Error::NoCommand), "{text:?}");
        }
        assert!(matches!(read(b"cmd_\xff := ld"), Err(Error::Refused { at: FileOffset(4), .. })));
        assert!(matches!(read(&[b"cmd_x := ", &[b'a'; 3 << 20][..]].concat()), Err(Error::Refused { .. })));
    }
}
