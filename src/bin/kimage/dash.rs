//! Options pasted from a page whose typesetting made a dash of `-`.

use std::path::Path;

/// Hyphens, dashes and minus signs that are not `-` (Unicode 16.0, general category Pd, and U+2212).
fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
}

/// What to say of `word`, if it looks like an option with such a dash and no file is called so.
pub(crate) fn advice(word: &str) -> Option<String> {
    let first = word.chars().next()?;
    let dash = word.split('=').next()?.chars().find(|c| is_dash(*c))?;
    if !(is_dash(first) || first == '-') || Path::new(word).exists() {
        return None;
    }
    let plain: String = word.chars().map(|c| if is_dash(c) { '-' } else { c }).collect();
    // Two hyphens become one dash, and then there is more than a letter behind it.
    let is_long = plain.strip_prefix('-').is_some_and(|rest| {
        !rest.starts_with('-')
            && rest
                .split('=')
                .next()
                .is_some_and(|name| name.len() > 1 && !name.starts_with(|c: char| c.is_ascii_digit()))
    });
    let plain = if is_dash(first) && is_long { format!("-{plain}") } else { plain };
    Some(format!(
        "`{word}` has a typographic dash (U+{:04X}) where an option has `-`, as web pages and word processors put it there; type \
         `{plain}`",
        u32::from(dash)
    ))
}

/// What to say of the command line, if a word of it is such.
pub(crate) fn advice_on_command_line() -> Option<String> {
    let words = std::env::args_os().skip(1);
    words.take_while(|word| word != "--").find_map(|word| advice(&word.to_string_lossy()))
}
