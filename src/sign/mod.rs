//! Layer 2: hashes, ciphers, keys and signatures, by U-Boot's names. Who signs what is the business of the formats.
//!
//! Source: U-Boot's lib/rsa/rsa-sign.c, lib/rsa/rsa-verify.c, lib/ecdsa/ and boot/image-sig.c; RFC 8017 for RSA, RFC 6979 for ECDSA.

pub(crate) mod certificate;
mod cipher;
pub(crate) mod der;
mod hash;
mod key;
pub(crate) mod names;
pub(crate) mod pkcs7;
mod signer;

pub(crate) use cipher::{Cipher, IV_LEN, named_iv};
pub use cipher::{Secret, Secrets};
pub use hash::Algorithm;
pub(crate) use key::{EcPoint, RsaNumbers};
pub use key::{PrivateKey, PublicKey};
pub use signer::{Request, Signature, Signer};

use miette::Diagnostic;

/// A key cannot be read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// There is no such key.
    #[error("the key {name} is not there: {why}")]
    #[diagnostic(help("name the folder that has it; a key is made with openssl genpkey"))]
    NotFound {
        /// Where it was looked for.
        name: String,
        /// Why it cannot be read.
        why: String,
    },
    /// It is no key that kimage reads.
    #[error("{found} is no {wanted}")]
    #[diagnostic(help(
        "give a PEM file with an RSA key of 2048, 3072 or 4096 bits, or a key on the curve P-256 or P-384"
    ))]
    NoKey {
        /// What it is.
        found: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// It is no certificate.
    #[error("{found} is no X.509 certificate")]
    #[diagnostic(help("give a file with a certificate in PEM or DER, as openssl req -x509 makes it"))]
    NoCertificate {
        /// What it is.
        found: String,
    },
    /// The key is encrypted.
    #[error("the key is encrypted, and {}", if *.given { "this passphrase does not open it" } else { "there is no passphrase" })]
    #[diagnostic(help("give the right passphrase (`request.pass_file`)"))]
    Passphrase {
        /// A passphrase was given.
        given: bool,
    },
    /// No such algorithm.
    #[error("unknown algorithm {name:?}")]
    #[diagnostic(help(
        "say algo = \"sha256,rsa2048\"; known are sha1, sha256, sha384, sha512 with rsa2048, rsa3072, rsa4096, ecdsa256, \
         ecdsa384, and padding \"pkcs-1.5\" or, of RSA, \"pss\""
    ))]
    Algorithm {
        /// What is asked for.
        name: String,
    },
    /// Key and algorithm do not go together.
    #[error("the key is of {key}, the algorithm {wanted} was asked for")]
    #[diagnostic(help("change the algorithm in the source, or give another key"))]
    OtherKey {
        /// What the key is for.
        key: &'static str,
        /// What was asked for.
        wanted: String,
    },
    /// A signature that was made elsewhere has another length.
    #[error("the signature has {found} bytes, wanted {wanted}")]
    #[diagnostic(help(
        "sign the hash with the right key, and give the bare signature: of RSA as many bytes as the key has"
    ))]
    Size {
        /// Bytes of it.
        found: usize,
        /// Bytes that one has.
        wanted: usize,
    },
    /// A signature that was made elsewhere is not that of the hash.
    #[error("the signature is not that of this hash with this key")]
    #[diagnostic(help(
        "sign the hash as it is, with the key that belongs to the public key, and with the padding that is asked for"
    ))]
    Wrong,
    /// What keeps the key does not sign with it.
    #[error("{0}")]
    #[diagnostic(help(
        "see that what keeps the key is there and open, has it under that name, and that its signature is of what was prepared"
    ))]
    Token(String),
    /// No such cipher.
    #[error("unknown cipher {name:?}")]
    #[diagnostic(help("say algo = \"aes256\"; known are aes128, aes192 and aes256"))]
    Cipher {
        /// What is asked for.
        name: String,
    },
    /// A secret of another length than its cipher's.
    #[error("{name} has {found} bytes, wanted {wanted}")]
    #[diagnostic(help("the file has the bytes themselves, as `head -c {wanted} /dev/urandom` makes them"))]
    SecretLength {
        /// The file, or the property.
        name: String,
        /// Its length.
        found: usize,
        /// The cipher's.
        wanted: usize,
    },
    /// The value could not be made.
    #[error("the key does not sign: {why}")]
    #[diagnostic(help("the key is damaged: make it again"))]
    Failed {
        /// Why.
        why: String,
    },
}

/// The keys of U-Boot's algorithms: the word behind the comma of `algo`, bytes of a signature, and whether it is RSA.
const CRYPTO: [(&str, usize); 5] =
    [("rsa2048", 256), ("rsa3072", 384), ("rsa4096", 512), ("ecdsa256", 64), ("ecdsa384", 96)];

/// How a signature is made: `algo` and `padding` of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The hash that is signed.
    pub hash: Algorithm,
    /// The form of the signature.
    pub mechanism: Mechanism,
    /// Bytes of a signature.
    pub size: usize,
    key: &'static str,
}

/// The form of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RSASSA-PKCS1-v1_5 (RFC 8017).
    RsaPkcs1,
    /// RSASSA-PSS (RFC 8017), the hash of the mask that of the data.
    RsaPss,
    /// ECDSA, `r` and `s` one behind the other.
    Ecdsa,
}

/// What it is called in `algo`: `sha256,rsa2048`.
impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.hash.name(), self.key)
    }
}

impl Scheme {
    /// Of `sha256,rsa2048`, and the padding that is said.
    pub(crate) fn parse(algo: &str, padding: Option<&str>) -> Result<Scheme, Error> {
        let unknown = || Error::Algorithm {
            name: padding.map_or(algo.to_owned(), |padding| format!("{algo} with padding {padding}")),
        };
        let (hash, crypto) = algo.split_once(',').ok_or_else(unknown)?;
        let hash = Algorithm::from_name(hash).filter(|hash| hash.signs()).ok_or_else(unknown)?;
        let (key, size) = CRYPTO.into_iter().find(|(name, _)| *name == crypto).ok_or_else(unknown)?;
        let mechanism = match padding {
            None | Some("pkcs-1.5") if key.starts_with("ecdsa") => Mechanism::Ecdsa,
            None | Some("pkcs-1.5") => Mechanism::RsaPkcs1,
            Some("pss") if key.starts_with("rsa") => Mechanism::RsaPss,
            Some(_) => return Err(unknown()),
        };
        Ok(Scheme { hash, mechanism, size, key })
    }

    /// PKCS#1 v1.5 or ECDSA, whichever the key is for.
    pub(crate) fn of(hash: Algorithm, key: &PublicKey) -> Result<Scheme, Error> {
        Scheme::parse(&format!("{},{}", hash.name(), key.name()), None)
    }

    /// A key that fits.
    pub(crate) fn check(self, key: &'static str) -> Result<(), Error> {
        if key == self.key { Ok(()) } else { Err(Error::OtherKey { key, wanted: self.to_string() }) }
    }
}
