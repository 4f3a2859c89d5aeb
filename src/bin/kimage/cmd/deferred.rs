//! `sign --prepare` and `sign --attach`: a folder that has what is to be signed, and what was signed.

use crate::input::Input;
use crate::keys::Keys;
use crate::output::Output;
use anyhow::{Context, Result, bail};
use kimage::assemble::Algorithm;
use kimage::bytes::Align;
use kimage::sign::{Error, Mechanism, Request, Signature, Signer};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";

/// What stands in the manifest: `O` is what of the options counts when the signatures are put in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest<O> {
    /// The name of the file that is to be signed.
    file: String,
    /// Its SHA-256, hexadecimal.
    sha256: String,
    pub(crate) options: O,
    pub(crate) signatures: Vec<Wanted>,
}

/// A signature that is to be made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// What it is for: the path of its node.
    node: String,
    /// The name of the key.
    key: String,
    /// `sha256,rsa2048`
    algo: String,
    /// `pkcs-1.5`, `pss`, or nothing for ECDSA.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    padding: Option<String>,
    /// The hash that is to be signed, hexadecimal.
    digest: String,
    /// What the private key works on: a DigestInfo for PKCS#1 v1.5, else the hash.
    input: String,
    /// Bytes of the signature.
    size: usize,
    /// The files of these.
    digest_file: String,
    input_file: String,
    signature_file: String,
}

/// How the data of a FIT lies, in the manifest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FitOptions {
    pub(crate) layout: String,
    pub(crate) time: u32,
    pub(crate) comment: Option<String>,
    pub(crate) algo: Option<String>,
    /// Put the data behind the tree, though it is not there, or elsewhere there.
    pub(crate) external: bool,
    pub(crate) position: Option<u64>,
    pub(crate) align: Option<u64>,
}

impl FitOptions {
    pub(crate) fn external(&self) -> Option<kimage::assemble::External> {
        let align = self.align.and_then(Align::new);
        self.external.then_some(kimage::assemble::External { align, position: self.position, ..Default::default() })
    }
}

/// Signs nothing yet: remembers what is asked for, and answers with zeros of the right length.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    /// What was asked for, in this order.
    pub(crate) requests: RefCell<Vec<Request>>,
}

impl Signer for Deferred {
    fn sign(&self, request: &Request) -> Result<Signature, Error> {
        self.requests.borrow_mut().push(request.clone());
        Ok(Signature { value: vec![0; request.scheme.size], public: None })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Wanted {
    /// The signature of that number, from 1 on.
    fn new(number: usize, request: &Request) -> Wanted {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let path = request.subject.rsplitn(3, '/').take(2).collect::<Vec<_>>();
        // The number makes it one of its own, whatever the nodes are called.
        let name: String = path.into_iter().rev().collect::<Vec<_>>().join(".").chars().map(plain).take(64).collect();
        let file = |ending: &str| format!("{number}-{name}.{ending}");
        Wanted {
            node: request.subject.clone(),
            key: request.key.clone(),
            algo: request.scheme.to_string(),
            padding: match request.scheme.mechanism {
                Mechanism::RsaPkcs1 => Some("pkcs-1.5".to_owned()),
                Mechanism::RsaPss => Some("pss".to_owned()),
                Mechanism::Ecdsa => None,
            },
            digest: hex(&request.digest),
            input: hex(&request.input()),
            size: request.scheme.size,
            digest_file: file("digest"),
            input_file: file("input"),
            signature_file: file("sig"),
        }
    }
}

/// Writes what is to be signed into a folder, and a manifest of it. Gives the number of signatures.
pub(crate) fn prepare<O: Serialize>(folder: &Path, input: &Input, options: O, requests: &[Request]) -> Result<()> {
    let manifest = folder.join(MANIFEST);
    if manifest.exists() {
        bail!("{} is there already: name another folder, or remove it with its signatures", manifest.display());
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let write = |name: &str, bytes: &[u8]| {
        let output = Output { path: &folder.join(name), sync: false, is_text: false };
        output.write(bytes.len() as u64, |out| Ok(out.write_all(bytes)?))
    };
    let mut signatures = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let wanted = Wanted::new(index + 1, request);
        write(&wanted.digest_file, &request.digest)?;
        write(&wanted.input_file, &request.input())?;
        signatures.push(wanted);
    }
    let sha256 = hex(&Algorithm::Sha256.hash(input));
    let made = Manifest { file: input.name(), sha256, options, signatures };
    // The last one: who finds it finds all.
    write(MANIFEST, format!("{}\n", serde_json::to_string_pretty(&made)?).as_bytes())
}

/// Signatures that were made elsewhere.
#[derive(Debug)]
pub(crate) struct Attached<'k, O> {
    folder: PathBuf,
    pub(crate) manifest: Manifest<O>,
    keys: &'k Keys<'k>,
}

impl<'k, O: for<'de> Deserialize<'de>> Attached<'k, O> {
    /// Reads the manifest of a folder, and holds the file to it.
    pub(crate) fn open(folder: &Path, input: &Input, keys: &'k Keys<'k>) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path)
            .with_context(|| format!("{}: make it with kimage sign --prepare {}", path.display(), folder.display()))?;
        let manifest: Manifest<O> = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no manifest of kimage sign --prepare", path.display()))?;
        if manifest.sha256 != hex(&Algorithm::Sha256.hash(input)) {
            bail!(
                "{} was changed after it was prepared for signing: prepare it again, in another folder",
                input.name()
            );
        }
        Ok(Attached { folder: folder.to_owned(), manifest, keys })
    }
}

impl<O: std::fmt::Debug> Signer for Attached<'_, O> {
    fn sign(&self, request: &Request) -> Result<Signature, Error> {
        let all = &self.manifest.signatures;
        let found = all.iter().enumerate().find(|(_, wanted)| wanted.node == request.subject);
        let expected = found.map(|(index, _)| Wanted::new(index + 1, request));
        let (Some((_, wanted)), Some(expected)) = (found, expected) else {
            return Err(Error::Token(format!(
                "{MANIFEST} has no signature for it: prepare it again, in another folder"
            )));
        };
        if *wanted != expected {
            let message = "it does not ask for what the manifest has: prepare it again, in another folder";
            return Err(Error::Token(message.to_owned()));
        }
        let path = self.folder.join(&expected.signature_file);
        let in_file = |error: Error| Error::Token(format!("{}: {error}", path.display()));
        let value = crate::keys::read(&path).map_err(|error| match error {
            Error::NotFound { name, why } => Error::Token(format!("the signature {name} is not there: {why}")),
            error => error,
        })?;
        let public = self.keys.public(&request.key)?;
        request.answered(&value, public).map_err(in_file)
    }
}
