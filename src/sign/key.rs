//! Private and public keys.

use super::{Algorithm, CRYPTO, Error, Mechanism, Request, Scheme, Signature, Signer};
use ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa;
use pkcs8::der::pem::PemLabel;
use pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePublicKey, EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo,
    SecretDocument,
};
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPublicKey};
use rsa::rand_core::{CryptoRng, RngCore};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;
use x509_cert::der::{Decode, DecodePem, Encode};

/// A key that signs.
#[derive(Clone)]
pub struct PrivateKey(Private);

#[derive(Clone)]
enum Private {
    Rsa(Box<RsaPrivateKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
}

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Rsa(Box<RsaPublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
}

/// The numbers of an RSA key, as control device trees have them; all are big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RsaNumbers {
    pub(crate) bits: u32,
    /// As many bytes as the key has.
    pub(crate) modulus: Vec<u8>,
    pub(crate) exponent: u64,
    /// `2^(2*bits)` modulo the modulus.
    pub(crate) r_squared: Vec<u8>,
    /// `-1/modulus` modulo `2^32`.
    pub(crate) n0_inverse: u32,
}

/// A point of a curve, as control device trees have it: the curve's name, `x` and `y` (big-endian).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcPoint {
    pub(crate) curve: &'static str,
    pub(crate) x: Vec<u8>,
    pub(crate) y: Vec<u8>,
}

/// Nobody prints a secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public().name()).finish()
    }
}

/// The text between the first BEGIN and END line, with them, and its label.
fn pem(bytes: &[u8], wanted: &'static str) -> Result<(String, String), Error> {
    let none = |found: &str| Error::NoKey { found: found.to_owned(), wanted };
    let text = std::str::from_utf8(bytes).map_err(|_| none("binary data"))?;
    // Files of EC keys may begin with a block of parameters, certificates with their description.
    for (at, _) in text.match_indices("-----BEGIN ") {
        let block = text.get(at..).unwrap_or_default();
        let label = block.get(11..).and_then(|rest| rest.split_once("-----")).map_or("", |(label, _)| label);
        let end = format!("-----END {label}-----");
        if let Some(len) = block.find(&end).filter(|_| label != "EC PARAMETERS") {
            return Ok((label.to_owned(), format!("{}{end}\n", block.get(..len).unwrap_or_default())));
        }
    }
    Err(none("a file without PEM data"))
}

impl PrivateKey {
    /// A PEM file: PKCS#8, encrypted or not, PKCS#1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`Error::NoKey`]; [`Error::Passphrase`] when it is encrypted and `passphrase` does not open it.
    pub fn from_pem(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Self, Error> {
        const WANTED: &str = "private key that kimage reads";
        let (label, text) = pem(bytes, WANTED)?;
        let none = |why: String| Error::NoKey { found: format!("{label} ({why})"), wanted: WANTED };
        let document = || SecretDocument::from_pem(&text).map_err(|error| none(error.to_string()));
        let key = match label.as_str() {
            "RSA PRIVATE KEY" if text.contains("ENCRYPTED") => return Err(none("PKCS#1, encrypted".into())),
            "RSA PRIVATE KEY" => {
                let (_, document) = document()?;
                let key =
                    RsaPrivateKey::from_pkcs1_der(document.as_bytes()).map_err(|error| none(error.to_string()))?;
                Private::Rsa(Box::new(key))
            }
            "EC PRIVATE KEY" => {
                let (_, document) = document()?;
                let bytes = document.as_bytes();
                let p256 = p256::SecretKey::from_sec1_der(bytes).map(|key| Private::P256(Box::new(key.into())));
                let p384 = || p384::SecretKey::from_sec1_der(bytes).map(|key| Private::P384(Box::new(key.into())));
                p256.or_else(|_| p384()).map_err(|error| none(error.to_string()))?
            }
            label if label == EncryptedPrivateKeyInfo::PEM_LABEL => {
                let (_, document) = document()?;
                let info = EncryptedPrivateKeyInfo::from_der(document.as_bytes());
                let info = info.map_err(|error| none(error.to_string()))?;
                let Some(passphrase) = passphrase else { return Err(Error::Passphrase { given: false }) };
                use pkcs8::pkcs5::Error as Pkcs5;
                let opened = info.decrypt(passphrase).map_err(|error| match error {
                    // What comes out of a wrong passphrase may by chance be padded right, and is no DER then.
                    pkcs8::Error::EncryptedPrivateKey(Pkcs5::DecryptFailed | Pkcs5::EncryptFailed)
                    | pkcs8::Error::Asn1(_) => Error::Passphrase { given: true },
                    error => none(error.to_string()),
                })?;
                pkcs8(opened.as_bytes()).map_err(|_| Error::Passphrase { given: true })?
            }
            label if label == PrivateKeyInfo::PEM_LABEL => {
                let (_, document) = document()?;
                pkcs8(document.as_bytes()).map_err(none)?
            }
            _ => return Err(none("no private key".into())),
        };
        let key = PrivateKey(key);
        key.public().checked()?;
        Ok(key)
    }

    /// What belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Private::Rsa(key) => Public::Rsa(Box::new(key.to_public_key())),
            Private::P256(key) => Public::P256(Box::new(*key.verifying_key())),
            Private::P384(key) => Public::P384(Box::new(*key.verifying_key())),
        })
    }

    fn value(&self, scheme: Scheme, hash: &[u8]) -> Result<Vec<u8>, Error> {
        scheme.check(self.public().name())?;
        let failed = |why: &dyn fmt::Display| Error::Failed { why: why.to_string() };
        match &self.0 {
            Private::Rsa(key) if scheme.mechanism == Mechanism::RsaPss => {
                let mut stream = Stream::new(&key.d().to_bytes_be(), hash);
                key.sign_with_rng(&mut stream, pss(scheme.hash, hash.len()), hash).map_err(|error| failed(&error))
            }
            Private::Rsa(key) => key.sign(pkcs1(scheme.hash), hash).map_err(|error| failed(&error)),
            Private::P256(key) => {
                let value: p256::ecdsa::Signature = key.sign_prehash(hash).map_err(|error| failed(&error))?;
                Ok(value.to_bytes().to_vec())
            }
            Private::P384(key) => {
                let value: p384::ecdsa::Signature = key.sign_prehash(hash).map_err(|error| failed(&error))?;
                Ok(value.to_bytes().to_vec())
            }
        }
    }
}

/// The same key signs the same hash with the same value always: the salt of PSS, as long as the hash, and the number of ECDSA
/// (RFC 6979) are made of both.
impl Signer for PrivateKey {
    fn sign(&self, request: &Request) -> Result<Signature, Error> {
        let value = self.value(request.scheme, &request.digest)?;
        Ok(Signature { value, public: Some(self.public()) })
    }
}

fn pkcs8(bytes: &[u8]) -> Result<Private, String> {
    let rsa = RsaPrivateKey::from_pkcs8_der(bytes).map(|key| Private::Rsa(Box::new(key)));
    let p256 = || p256::SecretKey::from_pkcs8_der(bytes).map(|key| Private::P256(Box::new(key.into())));
    let p384 = || p384::SecretKey::from_pkcs8_der(bytes).map(|key| Private::P384(Box::new(key.into())));
    rsa.or_else(|error| p256().or_else(|_| p384()).map_err(|_| error.to_string()))
}

impl PublicKey {
    /// A certificate in DER, or a PEM file: `PUBLIC KEY`, `RSA PUBLIC KEY` or a certificate, of which nothing but the key is looked at; of a private key that
    /// is not encrypted, what belongs to it.
    ///
    /// # Errors
    /// [`Error::NoKey`].
    pub fn from_pem(bytes: &[u8]) -> Result<Self, Error> {
        const WANTED: &str = "public key that kimage reads";
        if let Some(certificate) = super::certificate::Certificate::from_der(bytes) {
            return certificate.key;
        }
        let (label, text) = pem(bytes, WANTED)?;
        let none = |why: String| Error::NoKey { found: format!("{label} ({why})"), wanted: WANTED };
        let key = match label.as_str() {
            "RSA PUBLIC KEY" => {
                let (_, document) = pkcs8::Document::from_pem(&text).map_err(|error| none(error.to_string()))?;
                let key = RsaPublicKey::from_pkcs1_der(document.as_bytes()).map_err(|error| none(error.to_string()))?;
                Public::Rsa(Box::new(key))
            }
            "CERTIFICATE" => {
                let certificate = x509_cert::Certificate::from_pem(&text).map_err(|error| none(error.to_string()))?;
                let key = certificate.tbs_certificate.subject_public_key_info.to_der();
                spki(&key.map_err(|error| none(error.to_string()))?).map_err(none)?
            }
            "PUBLIC KEY" => {
                let (_, document) = pkcs8::Document::from_pem(&text).map_err(|error| none(error.to_string()))?;
                spki(document.as_bytes()).map_err(none)?
            }
            _ => return PrivateKey::from_pem(bytes, None).map(|key| key.public()),
        };
        PublicKey(key).checked()
    }

    /// Of a `SubjectPublicKeyInfo` in DER.
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, Error> {
        let none = |found| Error::NoKey { found, wanted: "public key that kimage reads" };
        PublicKey(spki(der).map_err(none)?).checked()
    }

    /// The curves of ECDSA keys, as OpenSSL and control device trees call them.
    pub(crate) const CURVES: [&str; 2] = [P256, P384];

    /// The size of an RSA key by its modulus, big-endian.
    pub(crate) fn rsa_bits(modulus: &[u8]) -> usize {
        BigUint::from_bytes_be(modulus).bits()
    }

    /// Is that a size of U-Boot's algorithms?
    pub(crate) fn is_rsa_size(bits: usize) -> bool {
        CRYPTO.into_iter().any(|(name, len)| name.starts_with("rsa") && len * 8 == bits)
    }

    /// Of the point that a control device tree has.
    pub(crate) fn ecdsa(curve: &str, x: &[u8], y: &[u8]) -> Result<Self, Error> {
        let key = PublicKey::try_from(&*[&[4], x, y].concat())?;
        if key.point().is_some_and(|point| point.curve == curve) {
            return Ok(key);
        }
        Err(Error::NoKey { found: format!("a point that is not on the curve {curve}"), wanted: "ECDSA key" })
    }

    /// Sizes that U-Boot's algorithms have.
    fn checked(self) -> Result<Self, Error> {
        match self.name() {
            "" => Err(Error::NoKey { found: "a key of another size".to_owned(), wanted: "key of U-Boot's algorithms" }),
            _ => Ok(self),
        }
    }

    /// What it is for: `rsa2048`, `ecdsa256` ...; empty for a size that U-Boot does not know.
    pub(crate) fn name(&self) -> &'static str {
        let is_this = |name: &str, len: usize| match &self.0 {
            Public::Rsa(key) => name.starts_with("rsa") && key.n().bits() == len * 8,
            Public::P256(_) => name == "ecdsa256",
            Public::P384(_) => name == "ecdsa384",
        };
        CRYPTO.into_iter().find(|(name, len)| is_this(name, *len)).map_or("", |(name, _)| name)
    }

    /// The numbers of an RSA key.
    pub(crate) fn numbers(&self) -> Option<RsaNumbers> {
        let Public::Rsa(key) = &self.0 else { return None };
        let (modulus, bits) = (key.n(), key.n().bits());
        let padded = |number: &BigUint| {
            let bytes = number.to_bytes_be();
            [vec![0; bits.div_ceil(8).saturating_sub(bytes.len())], bytes].concat()
        };
        let exponent = key.e().to_bytes_be().iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // Newton: each step doubles the bits that are right.
        let low = modulus.to_bytes_be().last_chunk().copied().map_or(1, u32::from_be_bytes);
        let inverse = (0..5).fold(1_u32, |x, _| x.wrapping_mul(2_u32.wrapping_sub(low.wrapping_mul(x))));
        Some(RsaNumbers {
            bits: u32::try_from(bits).unwrap_or(u32::MAX),
            modulus: padded(modulus),
            exponent,
            r_squared: padded(&((BigUint::from(1_u32) << (2 * bits)) % modulus)),
            n0_inverse: inverse.wrapping_neg(),
        })
    }

    /// An RSA key as `RSAPublicKey` in DER (RFC 8017, A.1.1).
    pub(crate) fn pkcs1(&self) -> Option<Vec<u8>> {
        let Public::Rsa(key) = &self.0 else { return None };
        Some(key.to_pkcs1_der().ok()?.into_vec())
    }

    /// An RSA key as `SubjectPublicKeyInfo` in PEM, as `openssl rsa -pubout` writes it.
    pub(crate) fn pem(&self) -> Option<String> {
        let Public::Rsa(key) = &self.0 else { return None };
        key.to_public_key_pem(LineEnding::LF).ok()
    }

    /// The point of an ECDSA key.
    pub(crate) fn point(&self) -> Option<EcPoint> {
        // Uncompressed: 4, x, y (SEC 1, 2.3.3).
        let (curve, bytes) = match &self.0 {
            Public::Rsa(_) => return None,
            Public::P256(key) => (P256, key.to_encoded_point(false).as_bytes().to_vec()),
            Public::P384(key) => (P384, key.to_encoded_point(false).as_bytes().to_vec()),
        };
        let (x, y) = bytes.get(1..)?.split_at_checked(bytes.len() / 2)?;
        Some(EcPoint { curve, x: x.to_vec(), y: y.to_vec() })
    }

    /// Is it the signature of this hash?
    pub(crate) fn verify(&self, scheme: Scheme, hash: &[u8], value: &[u8]) -> bool {
        if scheme.check(self.name()).is_err() || value.len() != scheme.size {
            return false;
        }
        match &self.0 {
            Public::Rsa(key) if scheme.mechanism == Mechanism::RsaPss => {
                // U-Boot takes a salt of any length: its tools made the longest one before they made one as long as the hash.
                let longest = value.len().saturating_sub(hash.len() + 2);
                let lengths = [hash.len(), longest].into_iter().chain(0..longest);
                lengths.into_iter().any(|len| key.verify(pss(scheme.hash, len), hash, value).is_ok())
            }
            Public::Rsa(key) => key.verify(pkcs1(scheme.hash), hash, value).is_ok(),
            Public::P256(key) => {
                p256::ecdsa::Signature::from_slice(value).is_ok_and(|value| key.verify_prehash(hash, &value).is_ok())
            }
            Public::P384(key) => {
                p384::ecdsa::Signature::from_slice(value).is_ok_and(|value| key.verify_prehash(hash, &value).is_ok())
            }
        }
    }
}

/// An RSA key of its modulus and exponent, big-endian.
impl TryFrom<(&[u8], &[u8])> for PublicKey {
    type Error = Error;

    fn try_from((modulus, exponent): (&[u8], &[u8])) -> Result<Self, Error> {
        let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent));
        let key = key.map_err(|error| Error::NoKey { found: error.to_string(), wanted: "RSA key" })?;
        PublicKey(Public::Rsa(Box::new(key))).checked()
    }
}

/// An ECDSA key of its point on P-256 or P-384: 4, x, y (SEC 1, 2.3.3).
impl TryFrom<&[u8]> for PublicKey {
    type Error = Error;

    fn try_from(point: &[u8]) -> Result<Self, Error> {
        let p256 = || p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(|key| Public::P256(Box::new(key)));
        let p384 = || p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().map(|key| Public::P384(Box::new(key)));
        let key = p256().or_else(p384).map(PublicKey);
        key.ok_or_else(|| Error::NoKey { found: "a point elsewhere".to_owned(), wanted: "ECDSA key on P-256 or P-384" })
    }
}

/// The curves' names in control device trees.
const P256: &str = "prime256v1";
const P384: &str = "secp384r1";

fn spki(bytes: &[u8]) -> Result<Public, String> {
    let rsa = RsaPublicKey::from_public_key_der(bytes).map(|key| Public::Rsa(Box::new(key)));
    let p256 = || p256::ecdsa::VerifyingKey::from_public_key_der(bytes).map(|key| Public::P256(Box::new(key)));
    let p384 = || p384::ecdsa::VerifyingKey::from_public_key_der(bytes).map(|key| Public::P384(Box::new(key)));
    rsa.or_else(|error| p256().or_else(|_| p384()).map_err(|_| error.to_string()))
}

fn pkcs1(hash: Algorithm) -> Pkcs1v15Sign {
    match hash {
        Algorithm::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
        Algorithm::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        Algorithm::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
        _ => Pkcs1v15Sign::new::<Sha256>(),
    }
}

fn pss(hash: Algorithm, salt: usize) -> Pss {
    match hash {
        Algorithm::Sha1 => Pss::new_with_salt::<Sha1>(salt),
        Algorithm::Sha384 => Pss::new_with_salt::<Sha384>(salt),
        Algorithm::Sha512 => Pss::new_with_salt::<Sha512>(salt),
        _ => Pss::new_with_salt::<Sha256>(salt),
    }
}

/// Bytes that nobody without the key can tell from random ones, the same for the same key and hash: SHA-256 of both with a
/// counter.
struct Stream {
    state: Sha256,
    count: u64,
    left: Vec<u8>,
}

impl Stream {
    fn new(secret: &[u8], hash: &[u8]) -> Self {
        let state = Sha256::new().chain_update(b"kimage PSS").chain_update(secret).chain_update(hash);
        Stream { state, count: 0, left: Vec::new() }
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        for byte in to {
            if self.left.is_empty() {
                self.count += 1;
                self.left = self.state.clone().chain_update(self.count.to_be_bytes()).finalize().to_vec();
            }
            *byte = self.left.pop().unwrap_or_default();
        }
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Stream {}
