//! What stands for [`crate::token`] where kimage is built without PKCS#11.

use kimage::sign::{Error, PublicKey, Request, Signature};

#[derive(Debug, Default)]
pub(crate) struct Tokens;

fn none<T>() -> Result<T, Error> {
    Err(Error::Token("this kimage was built without PKCS#11 (feature `pkcs11`)".to_owned()))
}

impl Tokens {
    pub(crate) fn sign(&self, _uri: &str, _request: &Request, _pin: Option<&[u8]>) -> Result<Signature, Error> {
        none()
    }

    pub(crate) fn public(&self, _uri: &str, _name: &str) -> Result<PublicKey, Error> {
        none()
    }
}
