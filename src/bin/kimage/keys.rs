//! The keys that the options name: files and tokens, and what opens them.

use crate::args::Signer as Options;
use crate::depfile;
use crate::secret::{first_line, typed};
use crate::token::Tokens;
use anyhow::Result;
use kimage::sign::{Error, Mechanism, PrivateKey, PublicKey, Request, Secret, Signature, Signer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What signs, as the options say.
#[derive(Debug)]
pub(crate) struct Keys<'o> {
    options: &'o Options,
    /// What opens the keys that are encrypted.
    passphrase: Option<Vec<u8>>,
    /// Keys that were read, so that nobody is asked twice for a passphrase.
    read: RefCell<HashMap<PathBuf, PrivateKey>>,
    tokens: Tokens,
}

/// A key's file. What is wrong with a key is said with the name of its file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    depfile::read(path);
    std::fs::read(path).map_err(|error| Error::NotFound { name: path.display().to_string(), why: error.to_string() })
}

/// Keys and initialization vectors of ciphers: NAME.bin in this folder; and random numbers.
pub(crate) fn secrets(folder: Option<&Path>) -> impl Fn(Secret<'_>) -> Result<Vec<u8>, Error> + '_ {
    // A token has no such files.
    let folder = folder.filter(|folder| uri(folder).is_none());
    move |secret| match (secret, folder) {
        (Secret::Named(name), Some(folder)) => read(&folder.join(format!("{name}.bin"))),
        (Secret::Named(name), None) => {
            Err(Error::NotFound { name: format!("{name}.bin"), why: "it is looked for in the folder of --keys".into() })
        }
        (Secret::Random(len), _) => {
            let mut bytes = vec![0; len];
            getrandom::fill(&mut bytes).map_err(|error| Error::Failed { why: error.to_string() })?;
            Ok(bytes)
        }
    }
}

/// The URI that stands in place of a file.
fn uri(path: &Path) -> Option<&str> {
    path.to_str().filter(|path| path.starts_with("pkcs11:"))
}

/// What is wrong with a key, with the name of its file.
fn of(path: &Path, error: Error) -> Error {
    match error {
        Error::NoKey { found, wanted } => Error::NoKey { found: format!("{}: {found}", path.display()), wanted },
        error => error,
    }
}

impl<'o> Keys<'o> {
    pub(crate) fn new(options: &'o Options) -> Result<Self> {
        let file = options.pass_file.clone();
        let file = file.or(options.pass_fd.map(|number| Path::new("/dev/fd").join(number.to_string())));
        let passphrase = file.as_deref().map(first_line).transpose()?;
        Ok(Keys { options, passphrase, read: RefCell::default(), tokens: Tokens::default() })
    }

    /// The file that is given for the keys of this name.
    fn given(&self, name: &str) -> Option<&'o Path> {
        let keys = &self.options.key;
        let key = keys.iter().find(|key| key.name.as_deref() == Some(name));
        key.or_else(|| keys.iter().find(|key| key.name.is_none())).map(|key| &*key.file)
    }

    /// The private key in a file.
    fn private(&self, path: &Path) -> Result<PrivateKey, Error> {
        if let Some(key) = self.read.borrow().get(path) {
            return Ok(key.clone());
        }
        let bytes = read(path)?;
        let key = match PrivateKey::from_pem(&bytes, self.passphrase.as_deref()) {
            Err(Error::Passphrase { given: false }) => {
                // Without a terminal there is nobody to ask.
                let typed = typed(&format!("Passphrase of {}: ", path.display()));
                let typed = typed.ok_or(Error::Passphrase { given: false })?;
                PrivateKey::from_pem(&bytes, Some(&typed))
            }
            key => key,
        };
        let key = key.map_err(|error| of(path, error))?;
        self.read.borrow_mut().insert(path.to_owned(), key.clone());
        Ok(key)
    }

    /// The public key of the one private key that is given.
    pub(crate) fn own_public(&self) -> Result<PublicKey, Error> {
        match self.given("").map(|path| (path, uri(path))) {
            Some((_, Some(uri))) => self.tokens.public(uri, ""),
            Some((path, None)) => Ok(self.private(path)?.public()),
            None => Err(Error::NotFound { name: "key".into(), why: "none is given".into() }),
        }
    }

    /// The public key of that name, for signatures that are made elsewhere.
    pub(crate) fn public(&self, name: &str) -> Result<PublicKey, Error> {
        let folder = self.options.keys.as_deref().unwrap_or(Path::new(""));
        match (self.given(name), uri(self.given(name).unwrap_or(folder))) {
            (_, Some(uri)) => self.tokens.public(uri, name),
            (Some(file), None) => public(file),
            (None, None) => public_in(folder, name).1,
        }
    }
}

fn public(path: &Path) -> Result<PublicKey, Error> {
    read(path).and_then(|bytes| PublicKey::from_pem(&bytes)).map_err(|error| of(path, error))
}

/// The file of a folder that has the public key of this name, or the first of those that could.
pub(crate) fn public_in(folder: &Path, name: &str) -> (PathBuf, Result<PublicKey, Error>) {
    if let Some(uri) = uri(folder) {
        return (folder.to_owned(), Tokens::default().public(uri, name));
    }
    let paths = ["crt", "pub", "key", "pem"].map(|ending| folder.join(format!("{name}.{ending}")));
    let path = paths.iter().find(|path| path.is_file()).unwrap_or(&paths[0]);
    (path.clone(), public(path))
}

impl Signer for Keys<'_> {
    fn sign(&self, request: &Request) -> Result<Signature, Error> {
        let name = &request.key;
        let folder = self.options.keys.as_deref().unwrap_or(Path::new(""));
        if let Some(uri) = uri(self.given(name).unwrap_or(folder)) {
            return self.tokens.sign(uri, request, self.passphrase.as_deref());
        }
        // So mkimage calls its files.
        let ending = if request.scheme.mechanism == Mechanism::Ecdsa { "pem" } else { "key" };
        let path = self.given(name).map_or_else(|| folder.join(format!("{name}.{ending}")), Path::to_owned);
        self.private(&path)?.sign(request)
    }
}
