//! PKCS #7 `SignedData`, as Authenticode has it: read, checked and made.
//!
//! Source: RFC 2315 (PKCS #7 version 1.5), sections 7 and 9: the contents stand behind `[0]` as any value, where RFC 5652 has an
//! octet string.

use super::certificate::Certificate;
use super::der::{CONTEXT, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, Value, encode, encode_set};
use super::names::{hash_of, identifier, is_pss, key_verifies, object, of_signature, oid};
use super::signer::der;
use super::{Algorithm, Mechanism, PublicKey, Scheme};
use x509_cert::der::asn1::ObjectIdentifier;

const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
/// What is signed, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct SignedData<'a> {
    /// `contentType`: an object identifier.
    content_type: &'a [u8],
    /// What is signed: a value.
    pub(crate) content: Value<'a>,
    /// Of the signers, and of those who issued theirs.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) signers: Vec<Signer<'a>>,
}

/// A signature, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Signer<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    /// The hash under the signature; `None` for one that is not known.
    pub(crate) hash: Option<Algorithm>,
    /// What is signed instead of the contents, as it stands there.
    attributes: Option<Value<'a>>,
    algorithm: &'a [u8],
    value: &'a [u8],
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    Right,
    /// It does not hold.
    Wrong(String),
    /// It is of a kind that is not checked.
    Unknown(String),
}

impl<'a> SignedData<'a> {
    /// Of the DER that begins `bytes`; `None` when it is no `SignedData`, or one that is longer than any.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<SignedData<'a>> {
        /// Each value that is read takes memory.
        const LONGEST: usize = 256 << 10;
        let whole = Value::first(bytes).ok().filter(|value| value.tag == SEQUENCE && value.whole.len() <= LONGEST)?;
        let mut parts = whole.parts();
        if parts.next_of(OID)?.inner != SIGNED_DATA.as_bytes() {
            return None;
        }
        let mut parts = parts.next_of(CONTEXT)?.parts().next_of(SEQUENCE)?.parts();
        parts.next_of(INTEGER)?;
        parts.next_of(SET)?;
        let mut contents = parts.next_of(SEQUENCE)?.parts();
        let content_type = contents.next_of(OID)?.inner;
        let content = contents.next_of(CONTEXT)?.parts().next()?;
        let certificates = parts.next_of(CONTEXT).map(|set| set.parts()).into_iter().flatten();
        let certificates = certificates.filter_map(|one| Certificate::from_der(one.whole)).collect();
        parts.next_of(CONTEXT + 1);
        let signers = parts.next_of(SET)?.parts().map(|one| Signer::parse(&one)).collect::<Option<Vec<_>>>()?;
        Some(SignedData { content_type, content, certificates, signers })
    }

    /// Is it about contents of this kind?
    pub(crate) fn is_of(&self, content_type: &ObjectIdentifier) -> bool {
        self.content_type == content_type.as_bytes()
    }

    /// The certificate of a signer, where it is there.
    pub(crate) fn certificate(&self, signer: &Signer<'_>) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.issuer == signer.issuer && one.serial == signer.serial)
    }

    /// Does the signature hold with this key?
    pub(crate) fn check(&self, signer: &Signer<'_>, key: &PublicKey) -> Held {
        let Some(hash) = signer.hash else { return Held::Unknown("its hash is not known to kimage".into()) };
        if is_pss(signer.algorithm) {
            return Held::Unknown("RSASSA-PSS is not checked".into());
        }
        let is_right = match &signer.attributes {
            None => key_verifies(key, hash, &[self.content.inner], signer.value),
            Some(attributes) => {
                let attribute = |wanted: &ObjectIdentifier| {
                    let found = attributes.parts().find_map(|one| {
                        let mut parts = one.parts();
                        let is_it = parts.next_of(OID)?.inner == wanted.as_bytes();
                        parts.next_of(SET).filter(|_| is_it)?.parts().next()
                    });
                    found.map(|value| value.inner).unwrap_or_default()
                };
                if attribute(&CONTENT_TYPE) != self.content_type {
                    return Held::Wrong("its contentType is another".into());
                }
                if attribute(&MESSAGE_DIGEST) != hash.hash(self.content.inner) {
                    return Held::Wrong("its messageDigest is not that of the contents".into());
                }
                // They are signed as a SET, and stand there as [0].
                let rest = attributes.whole.get(1..).unwrap_or_default();
                key_verifies(key, hash, &[&[SET], rest], signer.value)
            }
        };
        if is_right { Held::Right } else { Held::Wrong("it is not of this key and these bytes".into()) }
    }
}

impl<'a> Signer<'a> {
    fn parse(info: &Value<'a>) -> Option<Signer<'a>> {
        let mut parts = info.parts();
        parts.next_of(INTEGER)?;
        let mut of = parts.next_of(SEQUENCE)?.parts();
        let (issuer, serial) = (of.next_of(SEQUENCE)?.whole, of.next_of(INTEGER)?.whole);
        let hash = hash_of(parts.next_of(SEQUENCE)?.whole);
        let attributes = parts.next_of(CONTEXT);
        let algorithm = parts.next_of(SEQUENCE)?.whole;
        Some(Signer { issuer, serial, hash, attributes, algorithm, value: parts.next_of(OCTET_STRING)?.inner })
    }

    /// The name of who issued the signer's certificate.
    pub(crate) fn issuer(&self) -> String {
        super::certificate::name(self.issuer)
    }
}

/// A `SignedData` that is to be made, of one signer. No time is in it: the same contents and key give the same bytes.
#[derive(Debug)]
pub(crate) struct NewSignedData<'n> {
    pub(crate) content_type: &'n ObjectIdentifier,
    /// What is signed: a value.
    pub(crate) content: &'n [u8],
    pub(crate) scheme: Scheme,
    /// The signer's certificate, and others.
    pub(crate) certificates: &'n [Certificate],
}

impl NewSignedData<'_> {
    /// What the key signs the hash of: the attributes, as a SET.
    pub(crate) fn to_sign(&self) -> Vec<u8> {
        let attribute = |id: &ObjectIdentifier, value: &[u8]| encode(SEQUENCE, &[&object(id), &encode(SET, &[value])]);
        let content = Value::first(self.content).map(|value| value.inner).unwrap_or_default();
        let digest = encode(OCTET_STRING, &[&self.scheme.hash.hash(content)]);
        let all = vec![attribute(&CONTENT_TYPE, &object(self.content_type)), attribute(&MESSAGE_DIGEST, &digest)];
        encode_set(SET, all)
    }

    /// The whole with a signature of [`NewSignedData::to_sign`], as keys give it: of RSA as many bytes as the key has, of ECDSA `r` and
    /// `s`. `None` without a certificate, or for a hash that nobody signs.
    pub(crate) fn signed(&self, value: &[u8]) -> Option<Vec<u8>> {
        let signer = self.certificates.first()?;
        let algorithm = of_signature(self.scheme)?;
        let value = match self.scheme.mechanism {
            // Zeros stand for a signature that is to come.
            Mechanism::Ecdsa => der(value).unwrap_or_else(|| value.to_vec()),
            _ => value.to_vec(),
        };
        let hash = identifier(self.scheme.hash)?;
        let one = encode(INTEGER, &[&[1]]);
        let mut attributes = self.to_sign();
        *attributes.first_mut()? = CONTEXT;
        let of = encode(SEQUENCE, &[&signer.issuer, &signer.serial]);
        let value = encode(OCTET_STRING, &[&value]);
        let info = encode(SEQUENCE, &[&one, &of, &hash, &attributes, &algorithm, &value]);
        let contents = encode(SEQUENCE, &[&object(self.content_type), &encode(CONTEXT, &[self.content])]);
        let certificates: Vec<&[u8]> = self.certificates.iter().map(Certificate::der).collect();
        let data = [&one, &encode(SET, &[&hash]), &contents, &encode(CONTEXT, &certificates), &encode(SET, &[&info])];
        let data = encode(SEQUENCE, &data.map(Vec::as_slice));
        Some(encode(SEQUENCE, &[&object(&SIGNED_DATA), &encode(CONTEXT, &[&data])]))
    }
}
