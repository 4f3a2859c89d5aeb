//! Whom UEFI firmware trusts: signature lists, signed updates of them, and the variable store that QEMU's firmware keeps them in.
//!
//! Source: UEFI specification 2.10, sections 32.4.1 (EFI_SIGNATURE_LIST) and 8.2.2 (EFI_VARIABLE_AUTHENTICATION_2); EDK2,
//! MdeModulePkg/Include/Guid/VariableFormat.h.

use crate::bytes::{Cursor, FieldError, len64, slice};
use crate::sign::certificate::Certificate;
use crate::sign::{Algorithm, Error};

/// A GUID as it stands in memory.
const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

/// What stands in a list.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Certificate,
    /// The hash of an image.
    Image(Algorithm),
    /// The hash of what is signed of a certificate.
    Issued(Algorithm),
}

const KINDS: [([u8; 16], Kind); 8] = [
    (guid(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072), Kind::Certificate),
    (guid(0x826c_a512, 0xcf10, 0x4ac9, 0xb187_be01_4966_31bd), Kind::Image(Algorithm::Sha1)),
    (guid(0xc1c4_1626, 0x504c, 0x4092, 0xaca9_41f9_3693_4328), Kind::Image(Algorithm::Sha256)),
    (guid(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1_8ad5_6c70_1e01), Kind::Image(Algorithm::Sha384)),
    (guid(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b_d41e_2b89_c19a), Kind::Image(Algorithm::Sha512)),
    (guid(0x3bd2_a492, 0x96c0, 0x4079, 0xb420_fcf9_8ef1_03ed), Kind::Issued(Algorithm::Sha256)),
    (guid(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2_28b3_49a6_865b), Kind::Issued(Algorithm::Sha384)),
    (guid(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa_2465_d2b0_fe9d), Kind::Issued(Algorithm::Sha512)),
];

/// Certificates and hashes.
#[derive(Debug, Clone, Default)]
pub(crate) struct SignatureList {
    pub(crate) certificates: Vec<Certificate>,
    /// Of images.
    pub(crate) images: Vec<(Algorithm, Vec<u8>)>,
    /// Of what is signed of certificates.
    pub(crate) issued: Vec<(Algorithm, Vec<u8>)>,
    /// Entries of other kinds.
    pub(crate) unknown: usize,
}

impl SignatureList {
    /// What a file has: certificates in PEM or one in DER, signature lists (`.esl`), a signed update of a variable (`.auth`), whose
    /// signature is not looked at, or a variable as Linux shows it in efivarfs, its attributes in front.
    ///
    /// # Errors
    /// [`Error::NoCertificate`].
    pub(crate) fn add_file(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let no_list = |error: FieldError| Error::NoCertificate { found: format!("a signature list ({error})") };
        let is_list = |bytes: &[u8]| KINDS.iter().any(|(kind, _)| bytes.starts_with(kind));
        if is_list(bytes) {
            return self.add_lists(bytes).map_err(no_list);
        }
        /// `EFI_VARIABLE_…` of db and dbx are in the lowest byte.
        const ATTRIBUTES: usize = 4;
        if let Some(([_, 0, 0, 0], lists)) = bytes.split_at_checked(ATTRIBUTES).filter(|(_, lists)| is_list(lists)) {
            return self.add_lists(lists).map_err(no_list);
        }
        if let Some(lists) = update(bytes) {
            return self.add_lists(lists).map_err(no_list);
        }
        self.certificates.extend(Certificate::all(bytes)?);
        Ok(())
    }

    /// `EFI_SIGNATURE_LIST`s, one behind the other.
    ///
    /// # Errors
    /// [`FieldError`] where one does not hold together.
    pub(crate) fn add_lists(&mut self, bytes: &[u8]) -> Result<(), FieldError> {
        let cursor = Cursor::little(bytes);
        let mut at = 0;
        while at < len64(bytes) {
            let named = cursor.take("SignatureType", at, 16)?;
            let size = u64::from(cursor.u32("SignatureListSize", at + 16)?);
            let header = u64::from(cursor.u32("SignatureHeaderSize", at + 20)?);
            let each = u64::from(cursor.u32("SignatureSize", at + 24)?);
            // The list's own head, and the owner of each signature.
            FieldError::within("SignatureListSize", at + 16, size, 28..=len64(bytes) - at)?;
            FieldError::within("SignatureHeaderSize", at + 20, header, 0..=size - 28)?;
            FieldError::within("SignatureSize", at + 24, each, 17..=u32::MAX.into())?;
            let kind = KINDS.iter().find(|(kind, _)| kind == named).map(|(_, kind)| *kind);
            let mut one = at + 28 + header;
            while one + each <= at + size {
                self.add(kind, cursor.take("SignatureData", one + 16, each - 16)?);
                one += each;
            }
            at += size;
        }
        Ok(())
    }

    fn add(&mut self, kind: Option<Kind>, data: &[u8]) {
        match kind {
            Some(Kind::Certificate) => match Certificate::from_der(data) {
                Some(certificate) => self.certificates.push(certificate),
                None => self.unknown += 1,
            },
            Some(Kind::Image(hash)) => self.images.push((hash, data.to_vec())),
            // The time from which on it counts stands behind it.
            Some(Kind::Issued(hash)) => {
                self.issued.push((hash, data.get(..data.len().saturating_sub(16)).unwrap_or_default().to_vec()));
            }
            None => self.unknown += 1,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.images.is_empty() && self.issued.is_empty()
    }
}

/// The lists in an `EFI_VARIABLE_AUTHENTICATION_2`.
fn update(bytes: &[u8]) -> Option<&[u8]> {
    /// `WIN_CERT_TYPE_EFI_GUID`, revision 2.0.
    const CERTIFICATE: u32 = 0x0ef1_0200;
    const TIME: u64 = 16;
    let cursor = Cursor::little(bytes);
    let len = u64::from(cursor.u32("dwLength", TIME).ok()?);
    let is_one = cursor.u32("wRevision", TIME + 4).ok()? == CERTIFICATE;
    slice(bytes, TIME + len, len64(bytes).checked_sub(TIME + len)?).filter(|_| is_one)
}

/// What of the variables of a firmware decides who is trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    pub(crate) db: SignatureList,
    pub(crate) dbx: SignatureList,
    /// There is a platform key: else anything is started.
    pub(crate) has_platform_key: bool,
    /// `SecureBootEnable` of EDK2; `None` where it is not said.
    pub(crate) is_enabled: Option<bool>,
}

/// One as it stands in the flash.
struct Variable<'a> {
    vendor: &'a [u8],
    /// UTF-16 with its zero.
    name: &'a [u8],
    data: &'a [u8],
    is_added: bool,
}

/// `gEfiAuthenticatedVariableGuid`
const AUTHENTICATED: [u8; 16] = guid(0xaaf3_2c78, 0x947b, 0x439a, 0xa180_2e14_4ec3_7792);
/// `gEfiSystemNvDataFvGuid`
const NV_DATA: [u8; 16] = guid(0xfff1_2b8d, 0x7696, 0x4c8b, 0xa985_2747_075b_4f50);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, of `db` and `dbx`.
const DATABASE: [u8; 16] = guid(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc_dad0_0e67_656f);
/// `EFI_GLOBAL_VARIABLE`, of `PK`.
const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, 0xaa0d_00e0_9803_2b8c);
/// `gEfiSecureBootEnableDisableGuid`
const ENABLE: [u8; 16] = guid(0xf0a3_0bc7, 0xaf08, 0x4556, 0x99c4_0010_09c9_3a44);

impl Variables {
    /// Of the flash image that EDK2 keeps its variables in, as OVMF_VARS.fd.
    ///
    /// # Errors
    /// [`FieldError`] when it is none, or damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Variables, FieldError> {
        const HELP: &str = "give the file that QEMU has as second flash: a copy of OVMF_VARS.fd";
        let cursor = Cursor::little(bytes);
        let found = cursor.take("FileSystemGuid", 16, 16).map_err(|error| error.with_help(HELP))?;
        if found != NV_DATA {
            let error =
                FieldError::unknown("FileSystemGuid", 16, cursor.u32("FileSystemGuid", 16)?, "that of variables");
            return Err(error.with_help(HELP));
        }
        let store = u64::from(cursor.u16("HeaderLength", 48)?);
        if cursor.take("Signature", store, 16)? != AUTHENTICATED {
            let found = cursor.u32("Signature", store)?;
            return Err(
                FieldError::unknown("Signature", store, found, "the GUID of authenticated variables").with_help(HELP)
            );
        }
        let size = u64::from(cursor.u32("Size", store + 16)?);
        /// `VAR_ADDED`: whole, and not deleted since; without `VAR_IN_DELETED_TRANSITION` it was to be replaced, and counts if it was not.
        const ADDED: u8 = 0x3f;
        const REPLACED: u8 = 0x3e;
        const START: u16 = 0x55aa;
        /// Flash that nothing was written to.
        const ERASED: u16 = 0xffff;
        let mut counting: Vec<Variable<'_>> = Vec::new();
        let mut at = store + 28;
        while at + 60 <= store + size {
            match cursor.u16("StartId", at)? {
                START => {}
                ERASED => break,
                // What is behind it would be missing, as what is forbidden.
                other => {
                    let want = "0x55aa, or 0xffff behind the last variable";
                    return Err(FieldError::unknown("StartId", at, other, want).with_help(HELP));
                }
            }
            let state = cursor.u8("State", at + 2)?;
            let name = u64::from(cursor.u32("NameSize", at + 36)?);
            let data = u64::from(cursor.u32("DataSize", at + 40)?);
            let one = Variable {
                vendor: cursor.take("VendorGuid", at + 44, 16)?,
                name: cursor.take("Name", at + 60, name)?,
                data: cursor.take("Data", at + 60 + name, data)?,
                is_added: state == ADDED,
            };
            let is_same = |other: &Variable<'_>| other.vendor == one.vendor && other.name == one.name;
            match counting.iter().position(is_same) {
                _ if !matches!(state, ADDED | REPLACED) => {}
                None => counting.push(one),
                // The firmware takes the first that is whole.
                Some(place) => {
                    if let Some(other) = counting.get_mut(place).filter(|other| one.is_added && !other.is_added) {
                        *other = one;
                    }
                }
            }
            at = (at + 60 + name + data).next_multiple_of(4);
        }
        let mut found = Variables::default();
        for one in counting {
            let in_it = |error: FieldError| {
                error.with_help("the offset is in the variable db or dbx of the file, which is damaged")
            };
            let text: String = char::decode_utf16(
                one.name.chunks_exact(2).filter_map(|unit| unit.first_chunk()).map(|unit| u16::from_le_bytes(*unit)),
            )
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
            match (text.trim_end_matches('\0'), one.vendor) {
                ("db", vendor) if vendor == DATABASE => found.db.add_lists(one.data).map_err(in_it)?,
                ("dbx", vendor) if vendor == DATABASE => found.dbx.add_lists(one.data).map_err(in_it)?,
                ("PK", vendor) if vendor == GLOBAL => found.has_platform_key = true,
                ("SecureBootEnable", vendor) if vendor == ENABLE => found.is_enabled = Some(one.data == [1]),
                _ => {}
            }
        }
        Ok(found)
    }
}
