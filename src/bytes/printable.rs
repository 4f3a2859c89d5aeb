//! Text out of files, made fit to be shown.

use std::borrow::Cow;

/// Does `c` show as what it is? False for what a terminal obeys (the control characters C0, DEL and C1), for what turns the
/// direction of the text around it (Unicode 16.0, `Bidi_Control`), and for what shows as nothing or as a line break: with
/// each of them a text can look like another one.
pub fn is_printable(c: char) -> bool {
    !matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Soft hyphen, grapheme joiner, Arabic letter mark, Hangul fillers, Mongolian vowel separator.
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}'
        // Zero width, left-to-right and right-to-left marks; line and paragraph separators, embeddings and overrides;
        // invisible operators, isolates.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Byte order mark, annotations, noncharacters, tags.
        | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with everything escaped, as Rust would write it, that is not [`is_printable`]: `\n`, `\u{1b}`, `\u{202e}`. A line
/// break too: the result is one line.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_printable(c) => shown.push(c),
            '\n' | '\r' | '\t' | '\0' => shown.extend(c.escape_debug()),
            c => shown.extend(c.escape_unicode()),
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_escaped_and_nothing_else() {
        assert_eq!(printable("Linux 6.1 \"kernel\" C:\\ Grüße 漢字 👍"), "Linux 6.1 \"kernel\" C:\\ Grüße 漢字 👍");
        assert_eq!(printable("a\x1b[31mb\nc\td\r\0\x7f\u{9b}"), "a\\u{1b}[31mb\\nc\\td\\r\\0\\u{7f}\\u{9b}");
        for c in
            ['\u{202e}', '\u{2066}', '\u{2069}', '\u{200b}', '\u{200f}', '\u{feff}', '\u{61c}', '\u{2028}', '\u{e0041}']
        {
            let shown = printable(&c.to_string()).into_owned();
            assert_eq!(shown, format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
}
