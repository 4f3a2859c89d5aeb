//! What is wrong (or worth knowing) but readable. Findings are collected, never thrown.

use crate::bytes::FieldError;
use std::borrow::Cow;
use std::fmt;

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
    pub(crate) fn name(self) -> &'static str {
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
    /// What stands there, where a [`Rule`] was not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What should stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What it means for booting.
    #[serde(rename = "means", skip_serializing_if = "str::is_empty")]
    pub consequence: &'static str,
    /// What is there and was not checked, in the plural, as a verdict names it: `signatures of the FIT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<&'static str>,
}

impl Finding {
    /// The same finding, which says that `what` (in the plural) was not checked: no verdict passes over it.
    #[must_use]
    pub(crate) fn not_checked(mut self, what: &'static str) -> Self {
        self.unchecked = Some(what);
        self
    }

    /// The same finding where it matters more, or less, than its rule says.
    #[must_use]
    pub(crate) fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same finding with the file offset it is about.
    #[must_use]
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same finding with the way out.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = help.into();
        self
    }
}

/// What findings are about: each is of one rule, and each rule stands once, in the module that knows the format.
///
/// `kimage explain` prints them ([`crate::report::rules`] lists all).
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// Stable id, `format.field_name`.
    pub id: &'static str,
    /// How much a breach matters, where the finding does not say otherwise.
    pub severity: Severity,
    /// What is looked at: a field by its name in the specification, or a few words.
    pub what: &'static str,
    /// What a breach means for booting.
    pub consequence: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

impl Rule {
    /// A finding with the rule's severity and help, without an offset.
    pub fn finding(&self, message: impl Into<String>) -> Finding {
        Finding {
            rule: self.id,
            severity: self.severity,
            offset: None,
            message: message.into(),
            help: Cow::Borrowed(self.help),
            found: None,
            wanted: None,
            consequence: self.consequence,
            unchecked: None,
        }
    }

    /// A finding for a field that cannot be read.
    pub(crate) fn of(&self, error: FieldError) -> Finding {
        self.finding(error.to_string()).at(error.at.0).with_help(error.help)
    }
}

/// Declares rules and the list of them, so that none is left out of the registry:
/// `NAME = id, severity, what is looked at, consequence, help;`.
macro_rules! rules {
    ($(#[$doc:meta])* $vis:vis $list:ident:
     $($(#[$rule_doc:meta])* $rule_vis:vis $name:ident =
       $id:literal, $severity:ident, $what:literal, $consequence:literal, $help:literal;)*) => {
        $(#[doc = concat!("`", $id, "`: ", $what, ".")]
        $(#[$rule_doc])*
        $rule_vis const $name: $crate::finding::Rule = $crate::finding::Rule {
            id: $id,
            severity: $crate::finding::Severity::$severity,
            what: $what,
            consequence: $consequence,
            help: $help,
        };)*
        $(#[$doc])*
        $vis const $list: &[&$crate::finding::Rule] = &[$(&$name),*];
    };
}
pub(crate) use rules;

/// Rules applied, and the findings where they were not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    count: u64,
    findings: Vec<Finding>,
}

impl Checks {
    /// Applies `rule` to what was `found` at the offset `at`: a finding, unless it is `kept`.
    pub(crate) fn expect(
        &mut self,
        rule: &'static Rule,
        at: impl Into<Option<u64>>,
        kept: bool,
        found: impl fmt::Display,
        wanted: impl fmt::Display,
    ) {
        self.expect_as(rule.severity, rule, at, kept, found, wanted);
    }

    /// The same, where a breach matters more or less than the rule says.
    pub(crate) fn expect_as(
        &mut self,
        severity: Severity,
        rule: &'static Rule,
        at: impl Into<Option<u64>>,
        kept: bool,
        found: impl fmt::Display,
        wanted: impl fmt::Display,
    ) {
        self.count += 1;
        if kept {
            return;
        }
        let (found, wanted) = (found.to_string(), wanted.to_string());
        let message = format!("{}: found {found}, wanted {wanted}", rule.what);
        let (found, wanted) = (Some(found), Some(wanted));
        self.findings.push(Finding { severity, offset: at.into(), found, wanted, ..rule.finding(message) });
    }

    /// Notes that `what` (in the plural, as a verdict names it) is there and was not checked.
    pub(crate) fn not_checked(
        &mut self,
        rule: &'static Rule,
        at: impl Into<Option<u64>>,
        found: impl fmt::Display,
        what: &'static str,
    ) {
        self.count += 1;
        let finding = rule.finding(format!("{}: {found}", rule.what)).not_checked(what);
        self.findings.push(Finding { offset: at.into(), ..finding });
    }

    /// How many rules were applied.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where they were not kept.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Adds those of another part of the same layer.
    pub(crate) fn append(&mut self, other: Checks) {
        self.count += other.count;
        self.findings.extend(other.findings);
    }
}

/// What looks at many things at once counts as one rule.
impl From<Vec<Finding>> for Checks {
    fn from(findings: Vec<Finding>) -> Checks {
        Checks { count: 1, findings }
    }
}

/// A number as findings show it: `0x1f4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
