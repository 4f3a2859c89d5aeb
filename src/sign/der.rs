//! Values of DER (ITU-T X.690) as they stand in the file: what is signed is hashed byte for byte, so nothing is encoded anew.

use x509_cert::der::{Decode, Header, Reader, Result, SliceReader};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed; the others follow it.
pub(crate) const CONTEXT: u8 = 0xa0;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// The first byte: class, form and number.
    pub(crate) tag: u8,
    /// With tag and length.
    pub(crate) whole: &'a [u8],
    /// Without.
    pub(crate) inner: &'a [u8],
}

impl<'a> Value<'a> {
    /// The first value of `bytes`.
    pub(crate) fn first(bytes: &'a [u8]) -> Result<Value<'a>> {
        let whole = SliceReader::new(bytes)?.tlv_bytes()?;
        let mut reader = SliceReader::new(whole)?;
        let header = Header::decode(&mut reader)?;
        Ok(Value { tag: header.tag.octet(), whole, inner: reader.read_slice(header.length)? })
    }

    /// What it is made of.
    pub(crate) fn parts(&self) -> Parts<'a> {
        Parts { rest: self.inner }
    }
}

/// Values one behind the other.
#[derive(Debug, Clone)]
pub(crate) struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Those that `bytes` are.
    pub(crate) fn of(bytes: &'a [u8]) -> Parts<'a> {
        Parts { rest: bytes }
    }

    /// The next one, where it has this tag.
    pub(crate) fn next_of(&mut self, tag: u8) -> Option<Value<'a>> {
        if self.rest.first() == Some(&tag) { self.next() } else { None }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Value<'a>;

    /// Ends at the first that is no DER, too.
    fn next(&mut self) -> Option<Value<'a>> {
        let value = Value::first(self.rest).ok()?;
        self.rest = self.rest.get(value.whole.len()..).unwrap_or_default();
        Some(value)
    }
}

/// A value of these parts.
pub(crate) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = len.to_be_bytes();
    let mut out = vec![tag];
    match u8::try_from(len) {
        Ok(short @ ..0x80) => out.push(short),
        _ => {
            let digits: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            out.extend(digits);
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}

/// The same with the parts in the order that DER has for sets.
pub(crate) fn encode_set(tag: u8, mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    encode(tag, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
