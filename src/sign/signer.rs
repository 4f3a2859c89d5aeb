//! Who signs: a key in memory, a token, or somebody elsewhere.

use super::{Algorithm, Error, Mechanism, PublicKey, Scheme};

/// A hash that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the signature is for: the path of its node in a FIT.
    pub subject: String,
    /// The name of the key, `key-name-hint` in a FIT; empty where there is none.
    pub key: String,
    /// How it is to be signed.
    pub scheme: Scheme,
    /// The hash of what is signed, by [`Scheme::hash`].
    pub digest: Vec<u8>,
}

/// A signature that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// As U-Boot has it: as many bytes as an RSA key has, or `r` and `s` of ECDSA, all big-endian.
    pub value: Vec<u8>,
    /// The key that checks it; `None` where it is not known yet.
    pub public: Option<PublicKey>,
}

/// Who signs. Each signature is asked for once.
pub trait Signer {
    /// Signs a hash.
    ///
    /// # Errors
    /// [`Error`]: there is no key, or it does not sign this.
    fn sign(&self, request: &Request) -> Result<Signature, Error>;
}

impl Request {
    /// What a private key works on: of PKCS#1 v1.5 the hash in a DigestInfo (RFC 8017, 9.2), else the bare hash. PKCS#11 takes
    /// it so (CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_ECDSA).
    pub fn input(&self) -> Vec<u8> {
        // DigestInfo without the hash: SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }.
        let prefix: &[u8] = match (self.scheme.mechanism, self.scheme.hash) {
            (Mechanism::RsaPss | Mechanism::Ecdsa, _) => &[],
            (_, Algorithm::Sha1) => &[0x30, 33, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, 20],
            (_, Algorithm::Sha384) => &digest_info(2, 48),
            (_, Algorithm::Sha512) => &digest_info(3, 64),
            _ => &digest_info(1, 32),
        };
        [prefix, &self.digest].concat()
    }

    /// A signature that was made elsewhere, once it is found good; of ECDSA also one in DER, as openssl writes it.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::OtherKey`], or [`Error::Wrong`] when it is not that of this hash with this key.
    pub fn answered(&self, value: &[u8], public: PublicKey) -> Result<Signature, Error> {
        self.scheme.check(public.name())?;
        let wanted = self.scheme.size;
        let is_good = |value: &[u8]| public.verify(self.scheme, &self.digest, value);
        let value = match self.scheme.mechanism {
            Mechanism::Ecdsa if !is_good(value) => raw(value, wanted).unwrap_or_else(|| value.to_vec()),
            _ => value.to_vec(),
        };
        if value.len() != wanted {
            return Err(Error::Size { found: value.len(), wanted });
        }
        if !is_good(&value) {
            return Err(Error::Wrong);
        }
        Ok(Signature { value, public: Some(public) })
    }
}

/// The head of SHA-2's DigestInfo: the last number of the OID 2.16.840.1.101.3.4.2.x, and bytes of the hash.
const fn digest_info(oid: u8, len: u8) -> [u8; 19] {
    [0x30, 17 + len, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, oid, 5, 0, 4, len]
}

/// `r` and `s` of an ECDSA signature in DER (RFC 3279, 2.2.3), each in half of `size` bytes.
pub(super) fn raw(der: &[u8], size: usize) -> Option<Vec<u8>> {
    match size {
        64 => p256::ecdsa::Signature::from_der(der).ok().map(|value| value.to_bytes().to_vec()),
        96 => p384::ecdsa::Signature::from_der(der).ok().map(|value| value.to_bytes().to_vec()),
        _ => None,
    }
}

/// What [`raw`] reads.
pub(super) fn der(raw: &[u8]) -> Option<Vec<u8>> {
    match raw.len() {
        64 => p256::ecdsa::Signature::from_slice(raw).ok().map(|value| value.to_der().as_bytes().to_vec()),
        96 => p384::ecdsa::Signature::from_slice(raw).ok().map(|value| value.to_der().as_bytes().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8017, 9.2, note 1, and a signature with a short `r`.
    #[test]
    fn forms() {
        let request = |hash: &str, crypto: &str, padding| Request {
            subject: String::new(),
            key: String::new(),
            scheme: Scheme::parse(&format!("{hash},{crypto}"), padding).unwrap(),
            digest: Algorithm::from_name(hash).unwrap().hash(b""),
        };
        for (hash, head) in [
            ("sha1", "3021300906052b0e03021a05000414"),
            ("sha256", "3031300d060960864801650304020105000420"),
            ("sha384", "3041300d060960864801650304020205000430"),
            ("sha512", "3051300d060960864801650304020305000440"),
        ] {
            let asked = request(hash, "rsa2048", None);
            let hex = asked.input().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert!(hex.starts_with(head) && asked.input().ends_with(&asked.digest), "{hash}: {hex}");
        }
        assert_eq!(request("sha256", "rsa2048", Some("pss")).input().len(), 32);
        assert_eq!(request("sha384", "ecdsa384", None).input().len(), 48);
        let der = [0x30, 7, 2, 1, 5, 2, 2, 0, 0x80];
        for size in [64, 96] {
            let mut wanted = vec![0; size];
            (wanted[size / 2 - 1], wanted[size - 1]) = (5, 0x80);
            assert_eq!(raw(&der, size).unwrap(), wanted);
            for bad in [&der[..8], &[], &[0x30, 0], &[&der[..], &[0]].concat()] {
                assert_eq!(raw(bad, size), None);
            }
        }
    }
}
