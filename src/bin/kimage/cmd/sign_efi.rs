//! `sign` of EFI programs.

use super::common::{finish, warn};
use super::deferred::{self, Attached, Deferred};
use super::uki::Text;
use crate::args::{EfiHash, Key, Sign};
use crate::input::Input;
use crate::keys::{Keys, read};
use crate::message;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use kimage::assemble::{Algorithm, Assembled, EfiSigning, sign_efi, unsign_efi};
use kimage::sign::Signer;
use serde::{Deserialize, Serialize};

/// What counts when a signature that was made elsewhere is put in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Choices {
    hash: String,
    replace: bool,
    checksum: bool,
    #[serde(default)]
    sbat: Option<String>,
}

/// Options that mean something for FITs alone.
fn only_efi(args: &Sign) {
    let given = [
        ("--keys", args.signer.keys.is_some()),
        ("--comment", args.signer.comment.is_some()),
        ("--algo", args.signer.algo.is_some()),
        ("--control-dtb", args.signer.control_dtb.is_some()),
        ("--external", args.placing.external),
        ("--layout", args.layout.is_some()),
        ("--time", args.time.is_some()),
        ("--force", args.force),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        let message = format!("{option} is for FITs: an EFI program is signed with --key FILE --cert FILE");
        message::usage(ErrorKind::ArgumentConflict, message);
    }
}

pub(crate) fn sign(args: &Sign) -> Result<()> {
    only_efi(args);
    let input = Input::open(&args.file)?;
    let output = args.output.as_deref().unwrap_or(&args.file);
    let put = |assembled: Assembled<'_>| finish("sign", output, &args.building, &assembled);
    let Some(path) = &args.efi.cert else {
        return put(unsign_efi(&input).with_context(|| input.name())?);
    };
    if args.signer.key.is_empty() && args.prepare.is_none() && args.attach.is_none() {
        let message = "sign: give the key with --key FILE; --prepare DIR needs none";
        message::usage(ErrorKind::MissingRequiredArgument, message);
    }
    let certificate = read(path)?;
    let others = args.efi.add_cert.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let others: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
    let hash = match args.efi.hash {
        None | Some(EfiHash::Sha256) => Algorithm::Sha256,
        Some(EfiHash::Sha384) => Algorithm::Sha384,
        Some(EfiHash::Sha512) => Algorithm::Sha512,
    };
    let (replace, checksum) = (args.efi.replace, args.efi.checksum);
    // Every such text begins with its own name.
    let open = |given: &str| match given.starts_with("sbat,") || given.starts_with('@') {
        true => Text::open(given),
        false => Text::open(&format!("@{given}")),
    };
    let sbat = args.efi.sbat.as_deref().map(open).transpose()?;
    let sbat = sbat.as_ref().map(Text::bytes);
    let signed = |signer: &dyn Signer| {
        let signing = EfiSigning { signer, certificate: &certificate, others: &others, hash, replace, checksum, sbat };
        sign_efi(&input, &signing).map_err(|error| {
            let file = match error.which() {
                Some((_, index @ 1..)) => args.efi.add_cert.get(index - 1),
                Some(("CERT", _)) => Some(path),
                _ => None,
            };
            let name = file.map_or_else(|| input.name(), |path| path.display().to_string());
            anyhow::Error::new(error).context(name)
        })
    };
    let text = sbat.map(|text| String::from_utf8_lossy(text).into_owned());
    let choices = Choices { hash: hash.name().to_owned(), replace, checksum, sbat: text };
    if let Some(folder) = &args.prepare {
        let later = Deferred::default();
        let assembled = signed(&later)?;
        warn(&args.building, &assembled);
        return deferred::prepare(folder, &input, choices, &later.requests.into_inner());
    }
    let mut options = args.signer.clone();
    if args.attach.is_some() && options.key.is_empty() {
        // What is attached is checked with the certificate's key.
        options.key.push(Key { name: None, file: path.clone() });
    }
    let keys = Keys::new(&options)?;
    match &args.attach {
        None => put(signed(&keys)?),
        Some(folder) => {
            let attached = Attached::<Choices>::open(folder, &input, &keys)?;
            if attached.manifest.options != choices {
                let message = "--hash, --replace, --checksum and --sbat are to be those of --prepare";
                message::usage(ErrorKind::ArgumentConflict, message);
            }
            put(signed(&attached)?)
        }
    }
}
