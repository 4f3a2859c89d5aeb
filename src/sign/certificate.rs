//! X.509 certificates: whose key it is, who says so, for how long and what for.
//!
//! Source: RFC 5280. Read value by value, since what firmware takes need not be what the RFC asks for.

use super::der::{BIT_STRING, CONTEXT, INTEGER, OID, SEQUENCE, Value};
use super::names::{hash_of_signature, key_verifies};
use super::{Error, PublicKey};
use std::ops::Range;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, pem};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::RdnSequence;
use x509_cert::time::Validity;

/// `id-kp-codeSigning`, and `anyExtendedKeyUsage`.
const CODE_SIGNING: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];
/// `commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// `id-ce-keyUsage`, `id-ce-basicConstraints`, `id-ce-extKeyUsage`.
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    /// What its issuer signs.
    pub(crate) signed: Vec<u8>,
    /// Names and number as they stand there.
    subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    /// `AlgorithmIdentifier` and value of the issuer's signature.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    /// The key, or why there is none that kimage reads.
    pub(crate) key: Result<PublicKey, Error>,
    /// Seconds since 1970, both ends included.
    pub(crate) validity: Option<Range<u64>>,
    /// May it issue others?
    is_authority: bool,
    /// May its key sign programs? Where nothing is said, it may.
    pub(crate) signs_code: bool,
}

impl Certificate {
    /// Of the DER that begins `bytes`.
    pub(crate) fn from_der(bytes: &[u8]) -> Option<Certificate> {
        let certificate = Value::first(bytes).ok().filter(|value| value.tag == SEQUENCE)?;
        let mut parts = certificate.parts();
        let signed = parts.next_of(SEQUENCE)?;
        let algorithm = parts.next_of(SEQUENCE)?;
        // The first byte counts the bits that are none.
        let signature = parts.next_of(BIT_STRING)?.inner.get(1..)?;
        let mut parts = signed.parts();
        let version = parts.next_of(CONTEXT);
        let serial = parts.next_of(INTEGER)?;
        parts.next_of(SEQUENCE)?;
        let issuer = parts.next_of(SEQUENCE)?;
        let validity = parts.next_of(SEQUENCE)?;
        let subject = parts.next_of(SEQUENCE)?;
        let key = parts.next_of(SEQUENCE)?;
        let extensions = parts.find(|part| part.tag == CONTEXT + 3).and_then(|part| part.parts().next());
        let extension = |wanted: &ObjectIdentifier| {
            let mut all = extensions.iter().flat_map(Value::parts);
            all.find_map(|one| {
                let mut parts = one.parts();
                let is_this = parts.next_of(OID)?.inner == wanted.as_bytes();
                parts.last().filter(|_| is_this).map(|value| value.inner)
            })
        };
        let usage = extension(&KEY_USAGE).and_then(|usage| KeyUsage::from_der(usage).ok());
        let constraints = extension(&BASIC_CONSTRAINTS).map(|it| BasicConstraints::from_der(it).is_ok_and(|it| it.ca));
        let purposes = extension(&EXTENDED_KEY_USAGE).map(ExtendedKeyUsage::from_der);
        let may_sign = usage.as_ref().is_none_or(KeyUsage::digital_signature);
        let for_code = purposes.is_none_or(|all| all.is_ok_and(|all| all.0.iter().any(|it| CODE_SIGNING.contains(it))));
        let validity = Validity::from_der(validity.whole).ok().map(|validity| {
            validity.not_before.to_unix_duration().as_secs()..validity.not_after.to_unix_duration().as_secs()
        });
        Some(Certificate {
            der: certificate.whole.to_vec(),
            signed: signed.whole.to_vec(),
            subject: subject.whole.to_vec(),
            issuer: issuer.whole.to_vec(),
            serial: serial.whole.to_vec(),
            algorithm: algorithm.whole.to_vec(),
            signature: signature.to_vec(),
            key: PublicKey::from_spki(key.whole),
            validity,
            // Version 1 does not say.
            is_authority: match constraints {
                Some(is_one) => is_one && usage.as_ref().is_none_or(KeyUsage::key_cert_sign),
                None => version.is_none() || usage.as_ref().is_some_and(KeyUsage::key_cert_sign),
            },
            signs_code: may_sign && for_code,
        })
    }

    /// All that a file has: one in DER, or any number in PEM.
    ///
    /// # Errors
    /// [`Error::NoCertificate`].
    pub(crate) fn all(bytes: &[u8]) -> Result<Vec<Certificate>, Error> {
        const END: &str = "-----END CERTIFICATE-----";
        let none = |found: &str| Error::NoCertificate { found: found.to_owned() };
        if bytes.first() == Some(&SEQUENCE) {
            return Ok(vec![Certificate::from_der(bytes).ok_or_else(|| none("damaged DER"))?]);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| none("binary data"))?;
        let mut found = Vec::new();
        for (at, _) in text.match_indices("-----BEGIN CERTIFICATE-----") {
            let block = text.get(at..).unwrap_or_default();
            let block = block.find(END).and_then(|end| block.get(..end)).ok_or_else(|| none("PEM that is cut off"))?;
            let (_, der) = pem::decode_vec(format!("{block}{END}\n").as_bytes()).map_err(|_| none("damaged PEM"))?;
            found.push(Certificate::from_der(&der).ok_or_else(|| none("damaged DER in PEM"))?);
        }
        if found.is_empty() { Err(none("a file without PEM data of certificates")) } else { Ok(found) }
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The common name of its subject; all of the subject where it has none.
    pub(crate) fn name(&self) -> String {
        name(&self.subject)
    }

    /// Has `issuer` signed it, and may it? An error says why this is not known.
    pub(crate) fn is_issued_by(&self, issuer: &Certificate) -> Result<bool, String> {
        if self.issuer != issuer.subject || !issuer.is_authority {
            return Ok(false);
        }
        let hash = hash_of_signature(&self.algorithm).ok_or_else(|| {
            format!("the certificate of {} is signed in a way that kimage does not check", self.name())
        })?;
        let key = issuer.key.as_ref().map_err(|error| format!("the key of {}: {error}", issuer.name()))?;
        Ok(key_verifies(key, hash, &[&self.signed], &self.signature))
    }
}

/// The common name in a distinguished name, or all of it; printable.
pub(crate) fn name(der: &[u8]) -> String {
    let Ok(names) = RdnSequence::from_der(der) else { return "somebody (the name is no X.501)".to_owned() };
    let parts = || names.0.iter().flat_map(|part| part.0.iter());
    let common = parts().find(|part| part.oid == COMMON_NAME).map(|part| String::from_utf8_lossy(part.value.value()));
    common.unwrap_or_else(|| names.to_string().into()).escape_debug().to_string()
}
