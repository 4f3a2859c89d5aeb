//! Algorithms by their object identifiers, as X.509 and PKCS #7 name them.

use super::der::{NULL, OID, Parts, SEQUENCE, encode};
use super::signer::raw;
use super::{Algorithm, Mechanism, PublicKey, Scheme};
use x509_cert::der::asn1::ObjectIdentifier;

pub(super) const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
/// The hashes, and signatures of them: with RSA, with ECDSA.
const ALGORITHMS: [(Algorithm, ObjectIdentifier, ObjectIdentifier, ObjectIdentifier); 4] = [
    (Algorithm::Sha1, oid("1.3.14.3.2.26"), oid("1.2.840.113549.1.1.5"), oid("1.2.840.10045.4.1")),
    (Algorithm::Sha256, oid("2.16.840.1.101.3.4.2.1"), oid("1.2.840.113549.1.1.11"), oid("1.2.840.10045.4.3.2")),
    (Algorithm::Sha384, oid("2.16.840.1.101.3.4.2.2"), oid("1.2.840.113549.1.1.12"), oid("1.2.840.10045.4.3.3")),
    (Algorithm::Sha512, oid("2.16.840.1.101.3.4.2.3"), oid("1.2.840.113549.1.1.13"), oid("1.2.840.10045.4.3.4")),
];

/// The hash that an `AlgorithmIdentifier` names.
pub(crate) fn hash_of(algorithm: &[u8]) -> Option<Algorithm> {
    let named = Parts::of(algorithm).next_of(SEQUENCE)?.parts().next_of(OID)?.inner;
    ALGORITHMS.iter().find(|(_, hash, ..)| hash.as_bytes() == named).map(|(hash, ..)| *hash)
}

/// The hash under a signature whose `AlgorithmIdentifier` names both.
pub(super) fn hash_of_signature(algorithm: &[u8]) -> Option<Algorithm> {
    let named = Parts::of(algorithm).next_of(SEQUENCE)?.parts().next_of(OID)?.inner;
    let is_it = |one: &ObjectIdentifier| one.as_bytes() == named;
    ALGORITHMS.iter().find(|(_, _, rsa, ecdsa)| is_it(rsa) || is_it(ecdsa)).map(|(hash, ..)| *hash)
}

/// The `AlgorithmIdentifier` of a hash. `None` of those that nobody signs.
pub(crate) fn identifier(hash: Algorithm) -> Option<Vec<u8>> {
    let (_, id, ..) = ALGORITHMS.iter().find(|(one, ..)| *one == hash)?;
    Some(encode(SEQUENCE, &[&object(id), &encode(NULL, &[])]))
}

pub(crate) fn object(id: &ObjectIdentifier) -> Vec<u8> {
    encode(OID, &[id.as_bytes()])
}

/// Is it the signature of these bytes, one behind the other?
pub(super) fn key_verifies(key: &PublicKey, hash: Algorithm, parts: &[&[u8]], value: &[u8]) -> bool {
    let Ok(scheme) = Scheme::of(hash, key) else { return false };
    let hashed = hash.hash_all(parts);
    match scheme.mechanism {
        Mechanism::Ecdsa => raw(value, scheme.size).is_some_and(|value| key.verify(scheme, &hashed, &value)),
        _ => key.verify(scheme, &hashed, value),
    }
}

/// RSASSA-PSS, whose parameters say which hash?
pub(super) fn is_pss(algorithm: &[u8]) -> bool {
    let named = Parts::of(algorithm).next_of(SEQUENCE).and_then(|it| it.parts().next_of(OID));
    named.is_some_and(|named| named.inner == RSA_PSS.as_bytes())
}

/// The `AlgorithmIdentifier` of a signature in PKCS #7: of RSA the key's alone.
pub(super) fn of_signature(scheme: Scheme) -> Option<Vec<u8>> {
    let (_, _, _, with_ecdsa) = ALGORITHMS.iter().find(|(one, ..)| *one == scheme.hash)?;
    Some(match scheme.mechanism {
        Mechanism::Ecdsa => encode(SEQUENCE, &[&object(with_ecdsa)]),
        _ => encode(SEQUENCE, &[&object(&RSA), &encode(NULL, &[])]),
    })
}
