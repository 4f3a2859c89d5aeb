//! Room 2: what is wrong (or worth knowing) but readable. Findings are collected, never thrown.

use std::borrow::Cow;

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It will probably not do what was meant.
    Warning,
    /// It contradicts itself; a builder refuses it unless it is forced.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing noticed about an input or an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Stable id, `layer.what`.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// File offset it is about, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What was found and what was wanted.
    pub message: String,
    /// What to do next; may be empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub help: Cow<'static, str>,
}

impl Finding {
    /// A finding without offset and advice.
    pub fn new(rule: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Finding { rule, severity, offset: None, message: message.into(), help: Cow::Borrowed("") }
    }

    /// The same finding with the file offset it is about.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same finding with the way out.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = help.into();
        self
    }
}
