//! `uki`: files to a unified kernel image.

use super::common::{at_input, finish, one_stdin, open_all, refs};
use crate::args::{Building, Key, Signer, Uki, UkiConfig, UkiParts};
use crate::input::Input;
use crate::keys::{Keys, read};
use crate::message;
use crate::output::Output;
use anyhow::{Context, Result, anyhow, bail};
use clap::error::ErrorKind;
use kimage::assemble::{self, Algorithm, EfiSigning, PcrKey, PcrSigning, UkiRequest, sign_efi};
use kimage::sign::PublicKey;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub(crate) fn uki(args: &Uki) -> Result<()> {
    let parts = configured(&args.parts)?;
    let compresses = parts.stub.is_none() && parts.linux.is_some();
    if !compresses && (args.compress.is_some() || args.codec.is_given()) {
        let message =
            "nothing is compressed here: --compress, --level and the like are for a kernel behind kimage's own stub";
        message::usage(ErrorKind::ArgumentConflict, message);
    }
    let own = UkiRequest::default();
    let base = UkiRequest {
        codec: args.compress.unwrap_or(own.codec),
        parameters: args.codec.over(own.parameters),
        force: args.force,
        ..UkiRequest::default()
    };
    make("uki", parts, base, &args.building)
}

/// With what the configuration file says.
pub(super) fn configured(parts: &UkiParts) -> Result<UkiParts> {
    let Some(path) = &parts.config else { return Ok(parts.clone()) };
    let text = Input::open(path)?;
    let text = std::str::from_utf8(&text).with_context(|| format!("{} is no text", path.display()))?;
    let config = UkiConfig::read(text).map_err(|why| anyhow!("{}: {why}", path.display()))?;
    for word in config.unknown {
        message::line(&format!("{}: {word} means nothing to kimage, and is passed over", path.display()));
    }
    Ok(parts.clone().over(config.parts))
}

/// A text, or the file that is named behind `@`; a text of the command line may have white space that means nothing.
pub(super) enum Text {
    Given(String),
    File(Input),
}

impl Text {
    pub(super) fn open(text: &str) -> Result<Text> {
        match text.strip_prefix('@') {
            Some(path) => Ok(Text::File(Input::open(Path::new(path))?)),
            None => Ok(Text::Given(text.to_owned())),
        }
    }

    fn file(&self) -> Option<&Input> {
        if let Text::File(input) = self { Some(input) } else { None }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Text::Given(text) => text.as_bytes(),
            Text::File(input) => input,
        }
    }
}

fn text(text: Option<&String>) -> Result<Option<Text>> {
    text.map(|text| Text::open(text)).transpose()
}

fn bytes(text: &Option<Text>) -> &[u8] {
    text.as_ref().map_or(&[], Text::bytes)
}

/// The system's own, for an image with a kernel.
fn os_release(parts: &UkiParts) -> Result<Option<Text>> {
    if parts.os_release.is_some() || parts.linux.is_none() {
        return text(parts.os_release.as_ref());
    }
    let places = ["/etc/os-release", "/usr/lib/os-release"].map(Path::new);
    let found = places.into_iter().find(|path| path.is_file());
    Ok(found.map(Input::open).transpose()?.map(Text::File))
}

/// The descriptions of devices: a file, or all that a folder has, in the order of their paths.
fn descriptions(path: &Path) -> Result<Vec<Input>> {
    if !path.is_dir() {
        return Ok(vec![Input::open(path)?]);
    }
    let mut paths = Vec::new();
    super::cpio::collect(path, &mut paths)?;
    let paths = paths.into_iter().map(|path| PathBuf::from(OsString::from_vec(path)));
    let mut paths: Vec<PathBuf> =
        paths.filter(|path: &PathBuf| path.extension().is_some_and(|it| it == "json") && path.is_file()).collect();
    paths.sort();
    if paths.is_empty() {
        bail!("{}: there is no *.json in it", path.display());
    }
    open_all(&paths)
}

/// Makes the image; `base` has what no ukify knows.
pub(super) fn make(command: &'static str, parts: UkiParts, base: UkiRequest<'_>, building: &Building) -> Result<()> {
    let key = parts.secureboot_private_key.as_ref();
    if key.is_some() != parts.secureboot_certificate.is_some() {
        let message = "--secureboot-private-key and --secureboot-certificate (--key, --cert) belong together";
        message::usage(ErrorKind::MissingRequiredArgument, message);
    }
    let singles = [&parts.linux, &parts.splash, &parts.devicetree, &parts.microcode, &parts.pcrpkey, &parts.stub];
    let lists = [&parts.initrd, &parts.devicetree_auto, &parts.join_profile];
    one_stdin(singles.into_iter().flatten().chain(lists.into_iter().flatten()));
    let output = match (&parts.output, &parts.linux) {
        (Some(output), _) => output.clone(),
        (None, Some(linux)) => {
            let mut name = linux.file_name().unwrap_or_default().to_owned();
            name.push(if key.is_some() { ".efi" } else { ".unsigned.efi" });
            name.into()
        }
        (None, None) => {
            let message = format!("{command}: give --linux FILE, or --output FILE for an addon or a profile");
            message::usage(ErrorKind::MissingRequiredArgument, message);
        }
    };
    let open = |path: &Option<PathBuf>| path.as_deref().map(Input::open).transpose();
    let (linux, stub) = (open(&parts.linux)?, open(&parts.stub)?);
    let (splash, dtb, ucode, pcr_key) =
        (open(&parts.splash)?, open(&parts.devicetree)?, open(&parts.microcode)?, open(&parts.pcrpkey)?);
    let (initrds, dtbs, profiles) =
        (open_all(&parts.initrd)?, open_all(&parts.devicetree_auto)?, open_all(&parts.join_profile)?);
    let hwids = parts.hwids.as_deref().map(descriptions).transpose()?.unwrap_or_default();
    let mut cmdline = text(parts.cmdline.as_ref())?;
    if let Some(Text::Given(text)) = &mut cmdline {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    let (os_release, profile) = (os_release(&parts)?, text(parts.profile.as_ref())?);
    let sbat = parts.sbat.iter().map(|text| Text::open(text)).collect::<Result<Vec<_>>>()?;
    let mut sections = Vec::new();
    for section in &parts.section {
        let Some((name, contents)) = section.split_once(':') else {
            let message = format!("--section {section}: wanted NAME:TEXT or NAME:@FILE");
            message::usage(ErrorKind::InvalidValue, message);
        };
        sections.push((name, Text::open(contents)?));
    }
    let texts = [&cmdline, &os_release, &profile].into_iter().flatten().chain(&sbat);
    let texts = texts.chain(sections.iter().map(|(_, text)| text)).filter_map(Text::file);
    let files = [&splash, &dtb, &ucode, &pcr_key].into_iter().flatten().chain(&initrds).chain(&dtbs).chain(texts);
    for empty in files.filter(|input| input.is_empty()) {
        message::line(&format!("{}: is empty, and no section is made of it", empty.name()));
    }
    fn all(inputs: &[Input]) -> Vec<&[u8]> {
        inputs.iter().map(|input| &**input).collect()
    }

    let signing = match (key, &parts.secureboot_certificate) {
        (Some(key), Some(certificate)) => Some((
            Signer { key: vec![Key { name: None, file: key.clone() }], ..Signer::default() },
            certificate,
            read(certificate)?,
        )),
        _ => None,
    };
    let keys = signing.as_ref().map(|(options, ..)| Keys::new(options)).transpose()?;
    let signing = signing.as_ref().zip(keys.as_ref()).map(|((_, path, certificate), signer)| {
        let signing = EfiSigning {
            signer,
            certificate,
            others: &[],
            hash: Algorithm::Sha256,
            replace: false,
            checksum: false,
            sbat: None,
        };
        (path, signing)
    });
    let sign = |image: &[u8], what: String| -> Result<Option<(Vec<u8>, kimage::assemble::Facts)>> {
        let Some((path, signing)) = &signing else { return Ok(None) };
        let signed = sign_efi(image, signing).map_err(|error| {
            let name = if matches!(error.which(), Some(("CERT", _))) { path.display().to_string() } else { what };
            anyhow::Error::new(error).context(name)
        })?;
        let mut bytes = Vec::new();
        signed.emit(&mut bytes)?;
        Ok(Some((bytes, signed.facts)))
    };
    // An inner kernel is signed for loaders that start it by firmware.
    let wants_kernel = !parts.no_sign_kernel && stub.is_some();
    let signed_kernel = match linux.as_ref().filter(|_| wants_kernel) {
        Some(linux) if parts.sign_kernel => sign(linux, linux.name())?,
        // What cannot be signed is no kernel for such a stub, which the library says.
        Some(linux) if assemble::unsign_efi(linux).is_err() => sign(linux, linux.name()).unwrap_or_default(),
        _ => None,
    };
    let kernel = signed_kernel.as_ref().map(|(bytes, _)| &**bytes).or(linux.as_deref());
    let pcr_options: Vec<_> = parts
        .pcr_private_key
        .iter()
        .map(|file| Signer { key: vec![Key { name: None, file: file.clone() }], ..Signer::default() })
        .collect();
    let pcr_signers = pcr_options.iter().map(Keys::new).collect::<Result<Vec<_>>>()?;
    let mut pcr_public = Vec::new();
    for (index, (signer, path)) in pcr_signers.iter().zip(&parts.pcr_private_key).enumerate() {
        let public = signer.own_public().with_context(|| path.display().to_string())?;
        if let Some(given) = parts.pcr_public_key.get(index) {
            let key = PublicKey::from_pem(&read(given)?).with_context(|| given.display().to_string())?;
            if key != public {
                bail!("{}: is not the public key of {}", given.display(), path.display());
            }
        }
        pcr_public.push(public);
    }
    let phases: Vec<Vec<&str>> = parts.phases.iter().map(|phases| phases.split_whitespace().collect()).collect();
    let pcr_keys: Vec<_> = pcr_signers
        .iter()
        .zip(&pcr_public)
        .enumerate()
        .map(|(index, (signer, public))| PcrKey {
            signer,
            public,
            phases: phases.get(index).map_or(&[], Vec::as_slice),
        })
        .collect();
    let request = UkiRequest {
        stub: stub.as_deref(),
        pcr_signing: PcrSigning { banks: &parts.pcr_banks, stub_version: None, keys: &pcr_keys },
        linux: kernel,
        initrds: all(&initrds),
        ucode: ucode.as_deref().unwrap_or_default(),
        cmdline: bytes(&cmdline),
        os_release: bytes(&os_release),
        uname: parts.uname.as_deref().map(str::as_bytes),
        splash: splash.as_deref().unwrap_or_default(),
        dtb: dtb.as_deref().unwrap_or_default(),
        dtbs_auto: all(&dtbs),
        hwids: all(&hwids),
        pcr_key: pcr_key.as_deref().unwrap_or_default(),
        sbat: sbat.iter().map(Text::bytes).collect(),
        sections: sections.iter().map(|(name, contents)| (*name, contents.bytes())).collect(),
        profile: bytes(&profile),
        join_profiles: all(&profiles),
        ..base
    };
    let kernel_input = linux.iter().collect::<Vec<_>>();
    let assembled = assemble::uki(&request).map_err(|error| {
        let stub = stub.iter().collect::<Vec<_>>();
        at_input(
            error,
            &[
                ("STUB", &stub),
                ("LINUX", &kernel_input),
                ("VMLINUX", &kernel_input),
                ("HWIDS", &refs(&hwids)),
                ("PROFILE", &refs(&profiles)),
            ],
        )
    })?;
    let Some((path, signing)) = &signing else { return finish("uki", &output, building, &assembled) };
    // The signature covers what the plan writes at last: the image is made, and read again.
    let to = Output { path: &output, sync: false, is_text: false };
    let unsigned = to.temporary(assembled.plan.len(), |out| Ok(assembled.emit_seek(out)?))?;
    let mut signed = sign_efi(&unsigned, signing).with_context(|| path.display().to_string())?;
    signed.findings.extend(assembled.findings);
    finish("uki", &output, building, &signed)
}
