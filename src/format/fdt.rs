//! Flattened device tree (DTB): so far its header, for trees that are appended to a zImage.
//!
//! Source: Devicetree Specification 0.4, chapter 5.

use crate::bytes::{FieldError, Problem, len64, slice};
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// `0xd00dfeed`, big-endian.
pub const FDT_MAGIC: u32 = 0xd00d_feed;

/// `struct fdt_header`, version 17.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: U32,
    totalsize: U32,
    off_dt_struct: U32,
    off_dt_strings: U32,
    off_mem_rsvmap: U32,
    version: U32,
    last_comp_version: U32,
    boot_cpuid_phys: U32,
    size_dt_strings: U32,
    size_dt_struct: U32,
}

/// A device tree blob whose header holds together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtb<'a> {
    bytes: &'a [u8],
}

impl<'a> Dtb<'a> {
    /// True when `bytes` begin with the magic number.
    pub fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(&FDT_MAGIC.to_be_bytes())
    }

    /// Reads the header of the blob that begins `bytes`; more bytes may follow it.
    ///
    /// `base` is the file offset of `bytes`, for errors.
    ///
    /// # Errors
    /// A [`FieldError`] when the magic number is wrong, `totalsize` promises more than there is, or a block lies outside
    /// of it.
    pub fn parse_at(bytes: &'a [u8], base: u64) -> Result<Self, FieldError> {
        const HELP: &str = "give a device tree blob (.dtb) as dtc writes it";
        let fail = |field, at: u64, problem| Err(FieldError::new(field, base + at, problem).with_help(HELP));
        let have = len64(bytes);
        let Ok((header, _)) = RawHeader::read_from_prefix(bytes) else {
            return fail("fdt_header", 0, Problem::Truncated { need: size_of::<RawHeader>() as u64, have });
        };
        if header.magic.get() != FDT_MAGIC {
            let found = u64::from(header.magic.get());
            return fail("magic", 0, Problem::Magic { found, want: u64::from(FDT_MAGIC) });
        }
        let total = u64::from(header.totalsize.get());
        if total > have {
            return fail("totalsize", 4, Problem::Truncated { need: total, have });
        }
        if total < size_of::<RawHeader>() as u64 {
            let min = size_of::<RawHeader>() as u64;
            return fail("totalsize", 4, Problem::OutOfRange { value: total, min, max: have });
        }
        for (field, at, start, len) in [
            ("off_dt_struct", 8, header.off_dt_struct, header.size_dt_struct.get()),
            ("off_dt_strings", 12, header.off_dt_strings, header.size_dt_strings.get()),
            // The reserve map ends itself with an entry of 16 zero bytes.
            ("off_mem_rsvmap", 16, header.off_mem_rsvmap, 16),
        ] {
            let need = u64::from(start.get()) + u64::from(len);
            if need > total {
                return fail(field, at, Problem::Truncated { need, have: total });
            }
        }
        match slice(bytes, 0, total) {
            Some(bytes) => Ok(Dtb { bytes }),
            None => fail("totalsize", 4, Problem::Truncated { need: total, have }),
        }
    }

    /// The blob, `totalsize` bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest tree there is: an unnamed root node.
    pub(crate) fn tiny() -> Vec<u8> {
        let words: [u32; 18] = [FDT_MAGIC, 72, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 0, 0, 1, 0, 2, 9];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn header_is_checked() {
        let good = tiny();
        assert_eq!(Dtb::parse_at(&good, 0).unwrap().bytes().len(), 72);
        let err = Dtb::parse_at(&good[..60], 0x100).unwrap_err();
        assert_eq!(err.to_string(), "totalsize at offset 0x104: the input ends too early: 72 bytes needed, 60 there");
        let mut bad = good.clone();
        bad[11] = 200;
        assert!(Dtb::parse_at(&bad, 0).unwrap_err().field.contains("off_dt_struct"));
        assert!(Dtb::parse_at(b"\xd0\x0d", 0).is_err());
    }
}
