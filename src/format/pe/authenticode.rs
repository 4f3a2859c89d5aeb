//! Authenticode: the digest of a PE image, and the signatures over it in the certificate table.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format" (2008) and the UEFI specification 2.10, section 32.2; where they
//! leave it open, what EDK2 (DxeImageVerificationLib) and sbsign do.

use super::file::{Entry, NoDigest, Pe};
use crate::bytes::{len64, slice_at};
use crate::sign::Algorithm;
use crate::sign::certificate::Certificate;
use crate::sign::der::{BIT_STRING, CONTEXT, OCTET_STRING, SEQUENCE, Value, encode};
use crate::sign::names::{hash_of, identifier, object};
use crate::sign::pkcs7::{Held, SignedData, Signer};
use x509_cert::der::asn1::ObjectIdentifier;

/// `SPC_INDIRECT_DATA_OBJID`, `SPC_PE_IMAGE_DATA_OBJID`.
pub(crate) const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
/// Entries of the table begin at multiples of this, and what is in front of the table is filled up to one.
pub(crate) const ALIGNMENT: u64 = 8;
/// `WIN_CERT_REVISION_2_0` and `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
pub(crate) const REVISION: u16 = 0x200;
pub(crate) const PKCS_SIGNED_DATA: u16 = 2;
/// Bytes of a `WIN_CERTIFICATE` before its contents.
pub(crate) const ENTRY_HEADER: u64 = 8;

/// A signature of the table.
#[derive(Debug, Clone)]
pub(crate) struct Signature<'a> {
    /// File offset of its entry.
    pub(crate) at: u64,
    signed: SignedData<'a>,
    /// The hash of the image, and its value; no hash where it is not known.
    pub(crate) hash: Option<Algorithm>,
    pub(crate) digest: &'a [u8],
}

impl<'a> Signature<'a> {
    /// `None` for what is none of Authenticode.
    pub(crate) fn parse(entry: &Entry<'a>) -> Option<Signature<'a>> {
        let signed = SignedData::parse(entry.data).filter(|_| entry.kind == PKCS_SIGNED_DATA)?;
        let mut parts = Some(signed.content).filter(|_| signed.is_of(&INDIRECT_DATA))?.parts();
        parts.next_of(SEQUENCE)?;
        let mut info = parts.next_of(SEQUENCE)?.parts();
        let hash = hash_of(info.next_of(SEQUENCE)?.whole);
        let digest = info.next_of(OCTET_STRING)?.inner;
        Some(Signature { at: entry.at, signed, hash, digest })
    }

    /// Who signed; firmware looks at the first.
    pub(crate) fn signer(&self) -> Option<&Signer<'a>> {
        self.signed.signers.first()
    }

    /// The signer's certificate, where it is there.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.signed.certificate(self.signer()?)
    }

    /// All certificates that are there.
    pub(crate) fn certificates(&self) -> &[Certificate] {
        &self.signed.certificates
    }

    /// The signer's name: that of the certificate, else that of who issued it.
    pub(crate) fn name(&self) -> String {
        match (self.certificate(), self.signer()) {
            (Some(certificate), _) => certificate.name(),
            (None, Some(signer)) => format!("somebody certified by {}", signer.issuer()),
            (None, None) => "nobody".to_owned(),
        }
    }

    /// The name of the hash.
    pub(crate) fn hash_name(&self) -> &'static str {
        self.hash.map_or("unknown", Algorithm::name)
    }

    /// Does the signature hold with the key of the certificate that is there for it?
    pub(crate) fn check(&self) -> Held {
        let Some(signer) = self.signer() else { return Held::Wrong("nobody signed".into()) };
        match self.certificate().map(|certificate| &certificate.key) {
            None => Held::Wrong("the signer's certificate is not there".into()),
            Some(Ok(key)) => self.signed.check(signer, key),
            Some(Err(error)) => Held::Unknown(error.to_string()),
        }
    }
}

impl<'a> Pe<'a> {
    /// The signatures of the table that can be read.
    pub(crate) fn signatures(&self) -> Vec<Signature<'a>> {
        self.certificates().iter().filter_map(Signature::parse).collect()
    }

    /// The digest that Authenticode signs. A file that has no signatures is filled with zeros to a multiple of 8 first, as signing
    /// does.
    ///
    /// # Errors
    /// As [`Pe::signed_ranges`].
    pub(crate) fn digest(&self, hash: Algorithm) -> Result<Vec<u8>, NoDigest> {
        self.digest_with(hash, self.padding())
    }

    /// The digest that firmware measures when it starts the program: that of the file as it is.
    ///
    /// # Errors
    /// As [`Pe::signed_ranges`].
    pub(crate) fn measured_digest(&self, hash: Algorithm) -> Result<Vec<u8>, NoDigest> {
        self.digest_with(hash, 0)
    }

    fn digest_with(&self, hash: Algorithm, zeros: usize) -> Result<Vec<u8>, NoDigest> {
        let ranges = self.signed_ranges()?;
        let mut parts = Vec::with_capacity(ranges.len() + 1);
        for range in &ranges {
            parts.push(slice_at(self.bytes(), range).ok_or(NoDigest::Outside)?);
        }
        let padding = [0; 8];
        parts.extend(padding.get(..zeros));
        Ok(hash.hash_all(&parts))
    }

    /// Zeros that signing puts behind the file.
    pub(crate) fn padding(&self) -> usize {
        let len = len64(self.bytes());
        let padding = if self.certificate_range().is_some() { 0 } else { len.next_multiple_of(ALIGNMENT) - len };
        usize::try_from(padding).unwrap_or(0)
    }

    /// Does signing count bytes as they stand in the file? Some tools hash the file from its start to its end; firmware hashes what the
    /// headers count, which is the same bytes where nothing is between sections, and they are in order.
    pub(crate) fn is_hashed_in_order(&self) -> bool {
        let mut end = 0;
        let gaps: Vec<_> = self.signed_fields();
        self.signed_ranges().is_ok_and(|ranges| {
            ranges.iter().filter(|range| !range.is_empty()).all(|range| {
                let skipped = end..range.start;
                end = range.end;
                skipped.start == skipped.end || gaps.contains(&skipped)
            })
        })
    }
}

/// `SpcIndirectDataContent`: what is signed for an image of this digest. The link to a file has an empty name.
pub(crate) fn indirect_data(hash: Algorithm, digest: &[u8]) -> Option<Vec<u8>> {
    let flags = encode(BIT_STRING, &[&[0]]);
    // [0] EXPLICIT SpcLink, of it [2] EXPLICIT SpcString, of it [0] IMPLICIT BMPString.
    let link = encode(CONTEXT, &[&encode(CONTEXT + 2, &[&encode(0x80, &[])])]);
    let data = encode(SEQUENCE, &[&object(&IMAGE_DATA), &encode(SEQUENCE, &[&flags, &link])]);
    let info = encode(SEQUENCE, &[&identifier(hash)?, &encode(OCTET_STRING, &[digest])]);
    let content = encode(SEQUENCE, &[&data, &info]);
    Value::first(&content).ok()?;
    Some(content)
}

/// An entry of the certificate table with a signature in DER, with its padding; the length is that of header and signature, as sbsign
/// has it. `None` for one of 4 GiB.
pub(crate) fn entry(signature: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(len64(signature) + ENTRY_HEADER).ok()?;
    let mut out = len.to_le_bytes().to_vec();
    out.extend(REVISION.to_le_bytes());
    out.extend(PKCS_SIGNED_DATA.to_le_bytes());
    out.extend(signature);
    out.resize(out.len().checked_next_multiple_of(usize::try_from(ALIGNMENT).ok()?)?, 0);
    Some(out)
}
