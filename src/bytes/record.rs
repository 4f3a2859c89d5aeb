//! Fixed records: the table of a record's fields, and the writer that keeps account of what it changed.

use super::{FieldError, len64};
use byteorder::{ByteOrder, LittleEndian};

/// One field of an on-disk record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// Name, as its specification spells it.
    pub name: &'static str,
    /// Offset in bytes from the start of the image (not of the record).
    pub at: u64,
    /// Width in bytes: 1, 2, 4 or 8.
    pub width: u64,
    /// First version of the protocol that has the field.
    pub since: u16,
}

impl Field {
    /// A field that every version has.
    pub(crate) const fn new(name: &'static str, at: u64, width: u64) -> Field {
        Field { name, at, width, since: 0 }
    }
}

/// Makes a zerocopy record and the table of its fields, so that neither name nor offset is written twice: what a field is
/// called, its type, the first version that has it.
macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $record:ident, $(#[$table_doc:meta])* $table:ident, at $base:expr =>
     { $($name:ident: $type:ty, $since:expr;)* }) => {
        $(#[$doc])*
        $vis struct $record { $($vis $name: $type,)* }

        $(#[$table_doc])*
        pub(crate) const $table: &[$crate::bytes::Field] = &[$($crate::bytes::Field {
            name: stringify!($name),
            at: $base + ::std::mem::offset_of!($record, $name) as u64,
            width: size_of::<$type>() as u64,
            since: $since,
        }),*];
    };
}
pub(crate) use record;

/// Offset of the field `name` of a table; a name that is not in the table does not compile where it is a constant, and
/// panics in the first test that meets it elsewhere.
#[allow(clippy::panic, reason = "a misspelt field is a bug of kimage that no input can reach")]
pub(crate) const fn offset_of(fields: &[Field], name: &str) -> u64 {
    let mut index = 0;
    while index < fields.len() {
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, below the length")]
        let field = &fields[index];
        if same(field.name.as_bytes(), name.as_bytes()) {
            return field.at;
        }
        index += 1;
    }
    panic!("no such field")
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, below the length")]
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// One header field that an image builder wrote.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Patch {
    /// Name, as its specification spells it.
    pub name: &'static str,
    /// Offset in bytes from the start of the image.
    pub offset: u64,
    /// Width in bytes.
    pub width: u8,
    /// What stood there.
    pub old: u64,
    /// What stands there now.
    pub new: u64,
}

/// Writes little-endian fields into a header that is still being made, and remembers each of them.
#[derive(Debug)]
pub(crate) struct FieldWriter {
    bytes: Vec<u8>,
    patches: Vec<Patch>,
}

impl FieldWriter {
    /// A writer of the header `bytes`.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        FieldWriter { bytes, patches: Vec::new() }
    }

    /// The header as it is now.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The header, and every field written, in the order of writing.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<Patch>) {
        (self.bytes, self.patches)
    }

    /// Writes the byte `value`.
    ///
    /// # Errors
    /// [`Problem::Truncated`] when the header ends before the field.
    pub(crate) fn u8(&mut self, name: &'static str, at: u64, value: u8) -> Result<(), FieldError> {
        self.put(name, at, 1, u64::from(value))
    }

    /// Writes the 16-bit `value`.
    ///
    /// # Errors
    /// As [`FieldWriter::u8`].
    pub(crate) fn u16(&mut self, name: &'static str, at: u64, value: u16) -> Result<(), FieldError> {
        self.put(name, at, 2, u64::from(value))
    }

    /// Writes the 32-bit `value`.
    ///
    /// # Errors
    /// As [`FieldWriter::u8`].
    pub(crate) fn u32(&mut self, name: &'static str, at: u64, value: u32) -> Result<(), FieldError> {
        self.put(name, at, 4, u64::from(value))
    }

    /// Writes `value`, which must fit 32 bits.
    ///
    /// # Errors
    /// As [`FieldWriter::u8`]; [`Problem::OutOfRange`](super::Problem::OutOfRange).
    pub(crate) fn narrow(&mut self, name: &'static str, at: u64, value: u64) -> Result<(), FieldError> {
        self.put(name, at, 4, FieldError::within(name, at, value, 0..=u32::MAX.into())?)
    }

    fn put(&mut self, name: &'static str, at: u64, width: u8, new: u64) -> Result<(), FieldError> {
        let have = len64(&self.bytes);
        let slot = usize::try_from(at)
            .ok()
            .and_then(|start| self.bytes.get_mut(start..start.checked_add(usize::from(width))?))
            .ok_or_else(|| FieldError::truncated(name, at, at.saturating_add(u64::from(width)), have))?;
        let old = LittleEndian::read_uint(slot, slot.len());
        LittleEndian::write_uint(slot, new, slot.len());
        self.patches.push(Patch { name, offset: at, width, old, new });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writer_keeps_account() {
        let mut writer = FieldWriter::new(vec![0, 1, 2, 3, 4, 5]);
        writer.u32("word", 1, 0xdead_beef).unwrap();
        assert!(writer.u16("tail", 5, 1).is_err());
        let (bytes, patches) = writer.finish();
        assert_eq!(bytes, [0, 0xef, 0xbe, 0xad, 0xde, 5]);
        assert_eq!(patches, [Patch { name: "word", offset: 1, width: 4, old: 0x0403_0201, new: 0xdead_beef }]);
    }
}
