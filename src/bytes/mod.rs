//! Layer 1: measuring bytes. Knows no format.
//!
//! The newtypes say which space a number lives in, [`Cursor`] is the only reader of untrusted bytes, and every
//! failure of it is a [`FieldError`]: the field, the offset, what was found, what was wanted and the way out.

mod cursor;
mod printable;
mod record;

pub(crate) use cursor::Cursor;
pub use cursor::Endian;
pub use printable::{is_printable, printable};
pub use record::Patch;
pub(crate) use record::{Field, FieldWriter};

pub(crate) use record::{offset_of, record};

use miette::Diagnostic;
use std::borrow::Cow;
use std::fmt;
use std::ops::{Range, RangeInclusive};

/// An offset in bytes from the start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileOffset(pub u64);

/// A physical (load memory) address in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

/// A virtual (link-time) address in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtAddr(pub u64);

macro_rules! hex_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}
hex_display!(FileOffset, PhysAddr, VirtAddr);

/// An alignment in bytes; always a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Align(u64);

impl Align {
    /// No alignment at all.
    pub(crate) const ONE: Align = Align(1);
    /// A page, the unit to which newer kernels pad their setup.
    pub(crate) const PAGE: Align = Align(4096);
    /// `None` unless `bytes` is a power of two.
    pub const fn new(bytes: u64) -> Option<Align> {
        if bytes.is_power_of_two() { Some(Align(bytes)) } else { None }
    }

    /// The alignment in bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }

    /// The next multiple at or above `value`; `None` when it does not fit 64 bits.
    pub(crate) const fn up(self, value: u64) -> Option<u64> {
        value.checked_next_multiple_of(self.0)
    }
}

impl From<Align> for u64 {
    fn from(align: Align) -> u64 {
        align.0
    }
}

/// Mostly a constant.
type Name = Cow<'static, str>;

/// A field of an input that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("{field} at offset {at}: {problem}")]
pub struct FieldError {
    /// The field by the name its specification gives it.
    pub field: Cow<'static, str>,
    /// Where it stands in the input.
    pub at: FileOffset,
    /// What is wrong with it.
    pub problem: Problem,
    /// What to do next; empty when the message says it all.
    #[help]
    pub help: Cow<'static, str>,
}

impl FieldError {
    /// An error without advice; see [`FieldError::with_help`].
    pub(crate) fn new(field: impl Into<Name>, at: u64, problem: Problem) -> Self {
        FieldError { field: field.into(), at: FileOffset(at), problem, help: Cow::Borrowed("") }
    }

    /// An error of a constant, of this value in the specification.
    pub(crate) fn magic(field: impl Into<Name>, at: u64, found: impl Into<u64>, want: impl Into<u64>) -> Self {
        Self::new(field, at, Problem::Magic { found: found.into(), want: want.into() })
    }

    /// An error of a value about which two sources disagree.
    pub(crate) fn mismatch(field: impl Into<Name>, at: u64, found: impl Into<u64>, want: impl Into<u64>) -> Self {
        Self::new(field, at, Problem::Mismatch { found: found.into(), want: want.into() })
    }

    /// An error of a value that is none of those known.
    pub(crate) fn unknown(field: impl Into<Name>, at: u64, found: impl Into<u64>, want: &'static str) -> Self {
        Self::new(field, at, Problem::Unknown { found: found.into(), want })
    }

    /// An error of a value outside of what is allowed.
    pub(crate) fn range(field: impl Into<Name>, at: u64, value: impl Into<u64>, allowed: RangeInclusive<u64>) -> Self {
        let (min, max) = allowed.into_inner();
        Self::new(field, at, Problem::OutOfRange { value: value.into(), min, max })
    }

    /// `value`, which must be one of those allowed.
    pub(crate) fn within(
        field: &'static str,
        at: u64,
        value: impl Into<u64>,
        allowed: RangeInclusive<u64>,
    ) -> Result<u64, FieldError> {
        let value = value.into();
        if allowed.contains(&value) { Ok(value) } else { Err(Self::range(field, at, value, allowed)) }
    }

    /// An error of a field that needs an input of `need` bytes, where there are `have`.
    pub(crate) fn truncated(field: impl Into<Name>, at: u64, need: u64, have: u64) -> Self {
        Self::new(field, at, Problem::Truncated { need, have })
    }

    /// The same error with the way out.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<Name>) -> Self {
        self.help = help.into();
        self
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The input ends before the field does.
    Truncated {
        /// Bytes the input must have for this field.
        need: u64,
        /// Bytes it has.
        have: u64,
    },
    /// A constant that marks the format is something else.
    Magic {
        /// The value read.
        found: u64,
        /// The value of the specification.
        want: u64,
    },
    /// Two sources disagree about the value.
    Mismatch {
        /// The value read.
        found: u64,
        /// The value that the rest of the input asks for.
        want: u64,
    },
    /// Outside of what the format, or kimage, allows.
    OutOfRange {
        /// The value read.
        value: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },
    /// The value is none of those known.
    Unknown {
        /// The value read.
        found: u64,
        /// What it could have been.
        want: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Truncated { need, have } => {
                write!(f, "the input ends too early: {need} bytes needed, {have} there")
            }
            Problem::Magic { found, want } => write!(f, "found {found:#x}, wanted the magic number {want:#x}"),
            Problem::Mismatch { found, want } => write!(f, "found {found:#x}, wanted {want:#x}"),
            Problem::OutOfRange { value, min, max } => {
                write!(f, "found {value:#x}, allowed are {min:#x} to {max:#x}")
            }
            Problem::Unknown { found, want } => write!(f, "found {found:#x}, wanted {want}"),
        }
    }
}

/// What `error` says to do next; empty when its message says it all.
pub fn help(error: &dyn Diagnostic) -> String {
    error.help().map_or_else(String::new, |help| help.to_string())
}

/// `bytes.len()` as the 64-bit number the formats count in.
pub(crate) fn len64(bytes: &[u8]) -> u64 {
    count64(bytes.len())
}

/// Puts `bytes` to the offset `at`; `None`, and nothing is changed, when they do not fit there.
pub(crate) fn overwrite(to: &mut [u8], at: u64, bytes: &[u8]) -> Option<()> {
    let start = usize::try_from(at).ok()?;
    to.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

/// `bytes[at..at + len]`, or `None` when that is not wholly inside.
pub(crate) fn slice(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    let end = usize::try_from(at.checked_add(len)?).ok()?;
    bytes.get(start..end)
}

/// The bytes of a range, or `None` when that is not wholly inside.
pub(crate) fn slice_at<'a>(bytes: &'a [u8], at: &Range<u64>) -> Option<&'a [u8]> {
    slice(bytes, at.start, at.end.checked_sub(at.start)?)
}

/// A text in a field of fixed length: up to its first zero byte, or all of it.
pub(crate) fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// How many bytes of `bytes` in front are `value`, compared page by page: there may be gigabytes of them.
pub(crate) fn run_of(bytes: &[u8], value: u8) -> usize {
    let page = [value; 4096];
    let whole = bytes.chunks_exact(page.len()).take_while(|chunk| *chunk == page.as_slice()).count() * page.len();
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().position(|byte| *byte != value).unwrap_or(rest.len())
}

/// A number of things in memory.
pub(crate) fn count64(count: usize) -> u64 {
    // usize is at most 64 bits on every target Rust has.
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Year, month, day, hour, minute and second in UTC, of `seconds` since 1970.
pub(crate) fn utc_fields(seconds: u64) -> [u64; 6] {
    // Days to a date of the Gregorian calendar, counted in eras of 400 years that begin on a 1 March.
    let (days, second) = (seconds / 86400 + 719_468, seconds % 86400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    [year, month, day, second / 3600, second / 60 % 60, second % 60]
}

/// Text in UTF-16, little-endian, as UEFI has it; without a NUL at its end.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same with a space between bytes, for a few of them.
pub(crate) fn spaced_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn align_rounds_up_and_refuses_non_powers() {
        assert_eq!(Align::new(24), None);
        assert_eq!(Align::new(0), None);
        assert_eq!(Align::PAGE.up(0), Some(0));
        assert_eq!(Align::PAGE.up(1), Some(4096));
        assert_eq!(Align::PAGE.up(u64::MAX), None);
    }

    #[test]
    fn runs() {
        for (len, run) in [(0, 0), (1, 1), (1, 0), (4095, 4095), (4097, 4097), (9000, 8191), (9000, 8192), (9000, 4100)]
        {
            let mut bytes = vec![7; len];
            bytes.iter_mut().skip(run).for_each(|byte| *byte = 8);
            assert_eq!(run_of(&bytes, 7), run, "{len} {run}");
        }
    }

    #[test]
    fn slice_refuses_overflow() {
        assert_eq!(slice(b"abc", 1, 2), Some(&b"bc"[..]));
        assert_eq!(slice(b"abc", 3, 0), Some(&b""[..]));
        assert_eq!(slice(b"abc", 2, 2), None);
        assert_eq!(slice(b"abc", u64::MAX, 2), None);
    }
}
