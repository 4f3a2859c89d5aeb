//! How reports look on a terminal: colour, and text out of files made harmless.

/// How text is shown: plain, or with the terminal's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Use ANSI colours.
    pub colour: bool,
}

impl Style {
    pub(super) fn paint(self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from a file, in one line and without what deceives.
pub(super) fn clean(text: &str) -> String {
    crate::bytes::printable(text).into_owned()
}
