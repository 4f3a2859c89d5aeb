//! The bounds-checked reader.

use super::{FieldError, count64, len64, slice};

/// Byte order of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Reads integers and slices at given offsets of an input; an error names the field and the offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Cursor<'a> {
    /// A reader of `bytes`, whose first byte has offset 0.
    pub(crate) fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Cursor { bytes, endian }
    }

    /// A reader of little-endian `bytes`.
    pub(crate) fn little(bytes: &'a [u8]) -> Self {
        Self::new(bytes, Endian::Little)
    }

    /// The number of bytes of the whole input.
    pub(crate) fn len(&self) -> u64 {
        len64(self.bytes)
    }

    /// `len` bytes at `at`.
    ///
    /// # Errors
    /// [`Problem::Truncated`](super::Problem::Truncated) when they are not all there.
    pub(crate) fn take(&self, field: &'static str, at: u64, len: u64) -> Result<&'a [u8], FieldError> {
        slice(self.bytes, at, len).ok_or_else(|| FieldError::truncated(field, at, at.saturating_add(len), self.len()))
    }

    /// The constant `want` stands at `at`, 32 bits.
    ///
    /// # Errors
    /// [`Problem::Truncated`](super::Problem::Truncated), [`Problem::Magic`](super::Problem::Magic).
    pub(crate) fn magic(&self, field: &'static str, at: u64, want: u32) -> Result<(), FieldError> {
        match self.u32(field, at)? {
            found if found == want => Ok(()),
            found => Err(FieldError::magic(field, at, found, want)),
        }
    }

    /// The bytes of an integer, the least significant one first.
    fn word<const N: usize>(&self, field: &'static str, at: u64) -> Result<[u8; N], FieldError> {
        let mut word: [u8; N] = self.take(field, at, count64(N))?.try_into().unwrap_or([0; N]);
        if self.endian == Endian::Big {
            word.reverse();
        }
        Ok(word)
    }

    /// The byte at `at`.
    ///
    /// # Errors
    /// [`Problem::Truncated`](super::Problem::Truncated).
    pub(crate) fn u8(&self, field: &'static str, at: u64) -> Result<u8, FieldError> {
        self.word(field, at).map(|[byte]| byte)
    }

    /// The 16-bit integer at `at`.
    ///
    /// # Errors
    /// [`Problem::Truncated`](super::Problem::Truncated).
    pub(crate) fn u16(&self, field: &'static str, at: u64) -> Result<u16, FieldError> {
        self.word(field, at).map(u16::from_le_bytes)
    }

    /// The 32-bit integer at `at`.
    ///
    /// # Errors
    /// [`Problem::Truncated`](super::Problem::Truncated).
    pub(crate) fn u32(&self, field: &'static str, at: u64) -> Result<u32, FieldError> {
        self.word(field, at).map(u32::from_le_bytes)
    }

    /// The 64-bit integer at `at`.
    ///
    /// # Errors
    /// [`Problem::Truncated`](super::Problem::Truncated).
    pub(crate) fn u64(&self, field: &'static str, at: u64) -> Result<u64, FieldError> {
        self.word(field, at).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_endians_and_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(Cursor::little(&bytes).u32("x", 0), Ok(0x0403_0201));
        assert_eq!(Cursor::new(&bytes, Endian::Big).u64("x", 0), Ok(0x0102_0304_0506_0708));
        let err = Cursor::little(&bytes).u16("tail", 7).unwrap_err();
        assert_eq!(err.to_string(), "tail at offset 0x7: the input ends too early: 9 bytes needed, 8 there");
    }
}
