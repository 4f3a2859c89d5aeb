//! What a layer says about itself: named values, in the order in which a reader wants them.

use crate::bytes::{Field, hex};
use serde::ser::{SerializeMap, Serializer};
use std::borrow::Cow;
use std::fmt;

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A count or a size in bytes: a JSON number.
    Number(u64),
    /// An address, an offset, flags: hexadecimal, in JSON a string such as `"0x1000000"` (64-bit addresses do not
    /// survive in programs that take every JSON number for floating point).
    Hex(u64),
    /// Yes or no.
    Bool(bool),
    /// Text as it stands in the file; whoever prints it must escape control characters.
    Text(String),
    /// Bytes: a digest, an identifier. In JSON lower-case hexadecimal digits.
    Bytes(Vec<u8>),
    /// Several values.
    List(Vec<Value>),
    /// Rows of named values.
    Table(Vec<Row>),
}

/// A row of a [`Value::Table`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row(pub Vec<(&'static str, Value)>);

impl Value {
    /// Text, from bytes that should be UTF-8.
    pub(crate) fn text(bytes: &[u8]) -> Value {
        Value::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The names of the bits set in `flags`; a bit without a name is named by its number.
    pub(crate) fn flags(flags: u64, names: &[(u32, &'static str)]) -> Vec<Cow<'static, str>> {
        (0..u64::BITS)
            .filter(|bit| flags >> bit & 1 == 1)
            .map(|bit| match names.iter().find(|(number, _)| *number == bit) {
                Some((_, name)) => Cow::Borrowed(*name),
                None => Cow::Owned(format!("bit {bit}")),
            })
            .collect()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Value {
        Value::Bool(yes)
    }
}

/// One line, as `--field` prints it. A table has one row a line, `name=value` each.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(value) => write!(f, "{value}"),
            Value::Hex(value) => write!(f, "{value:#x}"),
            Value::Bool(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::Text(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&hex(bytes)),
            Value::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Value::Table(rows) => {
                for (index, row) in rows.iter().enumerate() {
                    write!(f, "{}{row}", if index == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl serde::Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Number(value) => to.serialize_u64(*value),
            Value::Bool(yes) => to.serialize_bool(*yes),
            Value::Text(text) => to.serialize_str(text),
            Value::Hex(_) | Value::Bytes(_) => to.collect_str(self),
            Value::List(values) => to.collect_seq(values),
            Value::Table(rows) => to.collect_seq(rows),
        }
    }
}

impl serde::Serialize for Row {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// One thing known of a layer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fact {
    /// Its name, where there is one the name of the format's own specification; unique in its layer, and stable.
    #[serde(skip)]
    pub name: &'static str,
    /// The value.
    pub value: Value,
    /// What the value means, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
    /// Offset in bytes from the start of the layer, where the value stands in one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes it has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u64>,
    /// The first version of the format that has it: `2.10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

impl Fact {
    /// A fact of a value alone.
    pub(crate) fn new(name: &'static str, value: impl Into<Value>) -> Fact {
        Fact { name, value: value.into(), meaning: None, offset: None, width: None, since: None }
    }

    /// A size or a count.
    pub(crate) fn number(name: &'static str, value: impl Into<u64>) -> Fact {
        Fact::new(name, Value::Number(value.into()))
    }

    /// An address, an offset or flags.
    pub(crate) fn hex(name: &'static str, value: impl Into<u64>) -> Fact {
        Fact::new(name, Value::Hex(value.into()))
    }

    /// The same fact with what it means; empty words say nothing.
    #[must_use]
    pub(crate) fn meaning(mut self, meaning: impl Into<String>) -> Fact {
        let meaning = meaning.into();
        self.meaning = (!meaning.is_empty()).then_some(meaning);
        self
    }

    /// The same fact with the place of the field of its name; none where the format has no such field.
    #[must_use]
    pub(crate) fn of(self, fields: &[Field]) -> Fact {
        match fields.iter().find(|field| field.name == self.name) {
            Some(field) => self.at(field.at, field.width),
            None => self,
        }
    }

    /// The same fact with its place in the layer.
    #[must_use]
    pub(crate) fn at(mut self, offset: u64, width: u64) -> Fact {
        self.offset = Some(offset);
        self.width = Some(width);
        self
    }
}

/// The facts of a layer, in order; in JSON an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts(Vec<Fact>);

impl Facts {
    /// Adds a fact; the first of a name stays.
    pub(crate) fn push(&mut self, fact: Fact) {
        if self.get(fact.name).is_none() {
            self.0.push(fact);
        }
    }

    /// Adds facts in front of the one with that index; the first of a name stays.
    pub(super) fn insert(&mut self, index: usize, facts: Facts) {
        let new: Vec<Fact> = facts.0.into_iter().filter(|fact| self.get(fact.name).is_none()).collect();
        let index = index.min(self.0.len());
        self.0.splice(index..index, new);
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The fact of that name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|fact| fact.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }
}

impl Extend<Fact> for Facts {
    fn extend<T: IntoIterator<Item = Fact>>(&mut self, facts: T) {
        facts.into_iter().for_each(|fact| self.push(fact));
    }
}

impl serde::Serialize for Facts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for fact in &self.0 {
            map.serialize_entry(fact.name, fact)?;
        }
        map.end()
    }
}

/// `seconds` since 1970 as a date in UTC: `2026-11-21 12:34:56 UTC`.
pub(crate) fn utc(seconds: u64) -> String {
    let [year, month, day, hour, minute, second] = crate::bytes::utc_fields(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // As date -u -d @SECONDS prints them.
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (4_294_967_295, "2106-02-07 06:28:15 UTC"),
        ] {
            assert_eq!(utc(seconds), want);
        }
    }

    #[test]
    fn json_keeps_order_and_addresses() {
        let mut facts = Facts::default();
        facts.push(Fact::hex("z", u64::MAX).meaning("all").at(1, 8));
        facts.push(Fact::number("a", 7_u64));
        facts.push(Fact::number("a", 8_u64));
        let json = serde_json::to_string(&facts).unwrap();
        let want = r#"{"z":{"value":"0xffffffffffffffff","meaning":"all","offset":1,"width":8},"a":{"value":7}}"#;
        assert_eq!(json, want);
    }
}
