//! Android's verified boot 2.0: the footer at the end of a partition, and the metadata (`vbmeta`) that it leads to.
//!
//! Source: AOSP, external/avb, libavb/avb_footer.h, avb_vbmeta_image.h and avb_hash_descriptor.h, version 1.3. Numbers are
//! big-endian.

use crate::bytes::{Cursor, Endian, len64, slice};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// `AVB_FOOTER_MAGIC`.
pub(crate) const FOOTER_MAGIC: &[u8] = b"AVBf";
/// `AVB_MAGIC`.
pub(crate) const MAGIC: &[u8] = b"AVB0";
/// `AVB_FOOTER_SIZE`.
const FOOTER_LEN: u64 = 64;
/// `AVB_VBMETA_IMAGE_HEADER_SIZE`.
const HEADER_LEN: u64 = 256;
/// `AVB_DESCRIPTOR_TAG_HASH`.
const TAG_HASH: u64 = 2;
/// Bytes of a hash descriptor before its name, salt and digest.
const HASH_LEN: u64 = 132;
/// More descriptors for one image are not looked at: each costs a digest of all of it.
const MOST: usize = 4;

/// A file that ends in a footer whose metadata is there.
#[derive(Debug)]
pub(crate) struct VerifiedBoot<'a> {
    /// The image, without what was appended.
    image: &'a [u8],
    /// Offset of the metadata in the file.
    pub(crate) metadata_at: u64,
    metadata: &'a [u8],
    /// Where descriptors begin and end in the metadata; where the header's digest stands, and what it is of.
    auxiliary: (u64, u64),
    descriptors: (u64, u64),
    digest: (u64, u64),
    algorithm: u32,
}

/// A digest that was computed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Computed {
    /// What it is of.
    pub(crate) what: String,
    /// Offset in the file of the digest that was wanted.
    pub(crate) at: u64,
    pub(crate) found: Vec<u8>,
    pub(crate) wanted: Vec<u8>,
}

impl<'a> VerifiedBoot<'a> {
    /// `None` where no footer ends `bytes`, or one that leads to no metadata.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let footer = slice(bytes, len64(bytes).checked_sub(FOOTER_LEN)?, FOOTER_LEN)?;
        if !footer.starts_with(FOOTER_MAGIC) {
            return None;
        }
        let cursor = Cursor::new(footer, Endian::Big);
        let number = |field, at| cursor.u64(field, at).ok();
        let image = slice(bytes, 0, number("original_image_size", 12)?)?;
        let metadata_at = number("vbmeta_offset", 20)?;
        let metadata = slice(bytes, metadata_at, number("vbmeta_size", 28)?)?;
        if !metadata.starts_with(MAGIC) {
            return None;
        }
        let cursor = Cursor::new(metadata, Endian::Big);
        let number = |field, at| cursor.u64(field, at).ok();
        let authentication = number("authentication_data_block_size", 12)?;
        let auxiliary = (HEADER_LEN.checked_add(authentication)?, number("auxiliary_data_block_size", 20)?);
        let (digest, len) = (number("hash_offset", 32)?, number("hash_size", 40)?);
        let descriptors =
            (auxiliary.0.checked_add(number("descriptors_offset", 96)?)?, number("descriptors_size", 104)?);
        let algorithm = cursor.u32("algorithm_type", 28).ok()?;
        slice(metadata, auxiliary.0, auxiliary.1)?;
        let digest = (HEADER_LEN.checked_add(digest)?, len);
        Some(VerifiedBoot { image, metadata_at, metadata, auxiliary, descriptors, digest, algorithm })
    }

    /// Is there a signature?
    pub(crate) fn is_signed(&self) -> bool {
        self.algorithm != 0
    }

    /// The digest that the signature signs: of the header and the auxiliary block. `None` without a signature, and where
    /// kimage does not know its algorithm.
    pub(crate) fn of_metadata(&self) -> Option<Computed> {
        let header = slice(self.metadata, 0, HEADER_LEN)?;
        let auxiliary = slice(self.metadata, self.auxiliary.0, self.auxiliary.1)?;
        // AVB_ALGORITHM_TYPE_SHA256_RSA2048 to SHA512_RSA8192.
        let found = match self.algorithm {
            1..=3 => of::<Sha256>(header, auxiliary),
            4..=6 => of::<Sha512>(header, auxiliary),
            _ => return None,
        };
        let wanted = slice(self.metadata, self.digest.0, self.digest.1)?.to_vec();
        Some(Computed { what: "vbmeta".to_owned(), at: self.metadata_at.saturating_add(self.digest.0), found, wanted })
    }

    /// The digests of the image itself, which the descriptors of its size want; and how many descriptors are for something
    /// else, or by an algorithm that kimage does not know.
    pub(crate) fn of_image(&self) -> (Vec<Computed>, usize) {
        let (mut computed, mut others) = (Vec::new(), 0);
        let (mut at, end) = (self.descriptors.0, self.descriptors.0.saturating_add(self.descriptors.1));
        let cursor = Cursor::new(self.metadata, Endian::Big);
        while at < end {
            let (Ok(tag), Ok(len)) = (cursor.u64("tag", at), cursor.u64("num_bytes_following", at.saturating_add(8)))
            else {
                break;
            };
            // Trees of hashes (1) and chained partitions (4) have digests and keys of something else.
            if tag == TAG_HASH && computed.len() < MOST {
                match self.hash(&cursor, at) {
                    Some(digest) => computed.push(digest),
                    None => others += 1,
                }
            } else if matches!(tag, 1 | TAG_HASH | 4) {
                others += 1;
            }
            at = at.saturating_add(16).saturating_add(len);
        }
        (computed, others)
    }

    fn hash(&self, cursor: &Cursor<'_>, at: u64) -> Option<Computed> {
        let field = |offset: u64| at.checked_add(offset);
        let len = |offset| cursor.u32("hash descriptor", field(offset)?).ok().map(u64::from);
        if cursor.u64("image_size", field(16)?).ok()? != len64(self.image) {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
        let algorithm = text(slice(self.metadata, field(24)?, 32)?);
        let (name, salt, digest) = (len(56)?, len(60)?, len(64)?);
        let name_at = field(HASH_LEN)?;
        let salt_at = name_at.checked_add(name)?;
        let digest_at = salt_at.checked_add(salt)?;
        let (name, salt) = (slice(self.metadata, name_at, name)?, slice(self.metadata, salt_at, salt)?);
        let found = match &*algorithm {
            "sha1" => of::<Sha1>(salt, self.image),
            "sha256" => of::<Sha256>(salt, self.image),
            "sha512" => of::<Sha512>(salt, self.image),
            _ => return None,
        };
        let wanted = slice(self.metadata, digest_at, digest)?.to_vec();
        let what = format!("partition {}, {algorithm}", text(name));
        Some(Computed { what, at: self.metadata_at.saturating_add(digest_at), found, wanted })
    }
}

fn of<D: Digest>(first: &[u8], second: &[u8]) -> Vec<u8> {
    D::new().chain_update(first).chain_update(second).finalize().to_vec()
}
