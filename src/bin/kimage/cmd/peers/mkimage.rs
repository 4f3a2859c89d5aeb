//! mkimage.

use super::{Called, Kind, foreign, getopt, kind, list_types, making, now, open, print};
use crate::args::Fit;
use crate::cmd::common::finish;
use crate::cmd::fit as sourced;
use crate::input::Input;
use crate::message;
use anyhow::{Context, Result};
use clap::Parser;
use kimage::assemble::{
    ARCH, AutoFitRequest, COMPRESSION, External, FitFile, FitOptions, Names, OS, TYPE, UImageRequest, fit_again,
    fit_auto, is_tree_blob, uimage,
};
use kimage::bytes::Align;
use kimage::error::InputError;
use kimage::report::last_signature;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const LETTERS: &str = "a:A:b:B:c:C:d:D:e:Ef:Fg:G:hi:k:K:ln:N:o:O:p:qrR:stT:vVxy:Y:z:Z:";

const LONG: [(&str, char); 37] = [
    ("load-address", 'a'),
    ("architecture", 'A'),
    ("device-tree", 'b'),
    ("alignment", 'B'),
    ("comment", 'c'),
    ("compression", 'C'),
    ("image", 'd'),
    ("dtcopts", 'D'),
    ("entry-point", 'e'),
    ("external", 'E'),
    ("fit", 'f'),
    ("update", 'F'),
    ("key-name-hint", 'g'),
    ("key-file", 'G'),
    ("help", 'h'),
    ("initramfs", 'i'),
    ("key-dir", 'k'),
    ("key-dest", 'K'),
    ("list", 'l'),
    ("config", 'n'),
    ("engine", 'N'),
    ("algo", 'o'),
    ("os", 'O'),
    ("position", 'p'),
    ("quiet", 'q'),
    ("key-required", 'r'),
    ("secondary-config", 'R'),
    ("no-copy", 's'),
    ("touch", 't'),
    ("type", 'T'),
    ("verbose", 'v'),
    ("version", 'V'),
    ("xip", 'x'),
    ("tfa-bl31-file", 'y'),
    ("tfa-bl31-addr", 'Y'),
    ("tee-file", 'z'),
    ("tee-addr", 'Z'),
];

const USAGE: &str = "\
Usage: mkimage [-T TYPE] [-q] -l IMAGE
       mkimage [-x] [-s] -A ARCH -O OS -T TYPE -C COMP -a ADDR -e ENTRY -n NAME -d FILE[:FILE...] IMAGE
       mkimage [-E] [-B SIZE] [-p OFFSET] [-D DTC_OPTIONS] -f SOURCE.its FIT
       mkimage -f auto|auto-conf [-A -O -T -C -a -e -n as above] -d FILE [-b DTB]... [-i RAMDISK] FIT
       mkimage -F [-t] FIT
       of a FIT: [-k KEYS | -G KEY] [-K CONTROL_DTB [-r]] [-c COMMENT] [-o ALGORITHM] [-g KEY_NAME]
       mkimage -V
Numbers are hexadecimal. -T list shows the types. This is kimage: docs/peers.md says what is the same.
";

/// What is to be made a FIT of.
enum From {
    Source(OsString),
    Auto { configurations: bool },
    Again,
}

/// The options, as they were given.
#[derive(Default)]
struct Asked {
    arch: u8,
    os: u8,
    comp: u8,
    kind: Option<(OsString, u8)>,
    load: u64,
    entry: Option<u64>,
    name: OsString,
    data: Option<OsString>,
    fit: Option<From>,
    list: bool,
    quiet: bool,
    xip: bool,
    empty: bool,
    touch: bool,
    external: bool,
    align: u64,
    position: u64,
    dtbs: Vec<OsString>,
    ramdisk: Option<OsString>,
    bl31: (Option<OsString>, u64),
    tee: (Option<OsString>, u64),
    dtc: OsString,
    keys: Option<OsString>,
    key: Option<OsString>,
    control: Option<OsString>,
    required: bool,
    comment: Option<OsString>,
    algo: Option<OsString>,
    hint: Option<OsString>,
    /// The keys are on a token.
    token: bool,
    image: OsString,
}

/// What cannot be done with the options; `Some` is the answer that is there already.
enum Stop {
    Usage(String),
    Refused(String),
    Done(u8),
}

pub(super) fn mkimage(called: &Called<'_>, arguments: Vec<OsString>) -> Result<u8> {
    let asked = match asked(called, arguments) {
        Ok(asked) => asked,
        Err(Stop::Usage(what)) => return Ok(called.usage(&what, USAGE)),
        Err(Stop::Refused(what)) => return Ok(called.refuse(&what)),
        Err(Stop::Done(status)) => return Ok(status),
    };
    if asked.list {
        let fit = asked.kind.as_ref().map(|(word, _)| matches!(kind(word), Kind::Fit));
        return list(called, &asked.image, fit, asked.quiet);
    }
    match &asked.fit {
        None => legacy(called, &asked),
        Some(from) => fit(called, &asked, from),
    }
}

/// A number as strtoull(3) has it with base 16, all of the text.
fn hex(text: &OsStr) -> Option<u64> {
    let text = text.to_str()?.trim_start();
    let (minus, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits =
        text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).filter(|it| !it.is_empty()).unwrap_or(text);
    let mut value: u64 = 0;
    for digit in digits.chars() {
        let digit = u64::from(digit.to_digit(16)?);
        value = value.checked_mul(16).and_then(|value| value.checked_add(digit)).unwrap_or(u64::MAX);
    }
    Some(if minus { value.wrapping_neg() } else { value })
}

/// A number of a field of 32 bits: what mkimage keeps of it.
fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}

fn id(names: Names, word: &OsStr) -> Result<u8, Stop> {
    word.to_str().and_then(|word| names.id(word)).ok_or_else(|| {
        let known: Vec<&str> = names.all().map(|name| name.short).collect();
        let word = word.to_string_lossy();
        Stop::Usage(format!("invalid {} {word:?}: there are {}", names.field, known.join(", ")))
    })
}

fn asked(called: &Called<'_>, arguments: Vec<OsString>) -> Result<Asked, Stop> {
    let given = getopt::parse(arguments, LETTERS, &LONG).map_err(Stop::Usage)?;
    let number = |what: &str, text: &OsStr| {
        hex(text).ok_or_else(|| {
            Stop::Refused(format!("invalid {what} {:?}: wanted a hexadecimal number", text.to_string_lossy()))
        })
    };
    // mkimage's own defaults.
    let default = |names: Names, word| names.id(word).unwrap_or_default();
    let mut asked = Asked {
        arch: default(ARCH, "powerpc"),
        os: default(OS, "linux"),
        comp: default(COMPRESSION, "gzip"),
        ..Asked::default()
    };
    for (letter, value) in given.options {
        match letter {
            'a' => asked.load = number("load address", &value)?,
            'A' => asked.arch = id(ARCH, &value)?,
            'b' => asked.dtbs.push(value),
            'B' => asked.align = number("block length", &value)?,
            'c' => asked.comment = Some(value),
            'C' => asked.comp = id(COMPRESSION, &value)?,
            'd' => asked.data = Some(value),
            'D' => asked.dtc = value,
            'e' => asked.entry = Some(number("entry point", &value)?),
            'E' => asked.external = true,
            'f' => {
                asked.fit = Some(match value.to_str() {
                    Some("auto") => From::Auto { configurations: false },
                    Some("auto-conf") => From::Auto { configurations: true },
                    _ => From::Source(value),
                });
            }
            'F' => asked.fit = asked.fit.take().or(Some(From::Again)),
            'g' => asked.hint = Some(value),
            'G' => asked.key = Some(value),
            'i' => asked.ramdisk = Some(value),
            'k' => asked.keys = Some(value),
            'K' => asked.control = Some(value),
            'l' => asked.list = true,
            'n' => asked.name = value,
            'N' if value == "pkcs11" => asked.token = true,
            'N' => {
                let value = value.to_string_lossy();
                return Err(Stop::Refused(format!(
                    "-N {value}: of OpenSSL's engines kimage stands in for pkcs11 alone"
                )));
            }
            'o' => asked.algo = Some(value),
            'O' => asked.os = id(OS, &value)?,
            'p' => asked.position = number("offset size", &value)?,
            'q' => asked.quiet = true,
            'r' => asked.required = true,
            's' => asked.empty = true,
            't' => asked.touch = true,
            'T' if value == "list" => {
                list_types();
                return Err(Stop::Done(0));
            }
            'T' => match kind(&value) {
                Kind::Foreign(_) if value.eq_ignore_ascii_case("invalid") => asked.kind = None,
                Kind::Foreign(long) if asked.fit.is_none() && !is_fit_type(&value) => {
                    return Err(Stop::Refused(foreign(&value, long)));
                }
                Kind::Unknown => return Err(id(TYPE, &value).err().unwrap_or(Stop::Done(1))),
                _ => {
                    let number = id(TYPE, &value)?;
                    asked.kind = Some((value, number));
                }
            },
            'V' => {
                let text = format!("{} version {}\n", called.name, called.layout);
                return Err(match print(text.as_bytes()) {
                    Ok(()) => Stop::Done(0),
                    Err(error) => Stop::Refused(message::text(&error)),
                });
            }
            'x' => asked.xip = true,
            'y' => asked.bl31.0 = Some(value),
            'Y' => asked.bl31.1 = number("TFA BL31 address", &value)?,
            'z' => asked.tee.0 = Some(value),
            'Z' => asked.tee.1 = number("TEE address", &value)?,
            // For types that kimage does not make, and what it says all the time.
            'R' | 'v' => {}
            _ => return Err(Stop::Usage("invalid option".to_owned())),
        }
    }
    check(asked, given.operands)
}

/// A type that only an image of a FIT can have.
fn is_fit_type(word: &OsStr) -> bool {
    ["fpga", "tee", "tfa-bl31", "copro", "x86_setup", "flat_dt"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Do they go together?
fn check(mut asked: Asked, operands: Vec<OsString>) -> Result<Asked, Stop> {
    let usage = |what: &str| Err(Stop::Usage(what.to_owned()));
    match &asked.fit {
        Some(From::Auto { configurations: true }) if asked.hint.is_none() || asked.algo.is_none() => {
            return usage("signed configurations need the key's name and the algorithm: -g NAME -o sha256,rsa2048");
        }
        Some(From::Auto { .. }) if asked.hint.is_some() && asked.algo.is_none() => {
            return usage("signed images need the algorithm: -o sha256,rsa2048");
        }
        Some(From::Auto { .. }) if asked.data.is_none() => return usage("-f auto needs the main image: -d FILE"),
        Some(From::Auto { .. }) => {}
        Some(_) if asked.data.is_some() || asked.list => return usage("-f and -F do not go with -d or -l"),
        None if asked.list && asked.data.is_some() => return usage("-l does not go with -d"),
        _ => {}
    }
    let is_script = asked.kind.as_ref().is_some_and(|(word, _)| word.eq_ignore_ascii_case("script"));
    if asked.fit.is_none() && is_script && asked.data.is_none() {
        return usage("a script needs its text: -d FILE");
    }
    let Some(image) = operands.into_iter().next() else { return usage("the image's name is missing") };
    asked.image = image;
    Ok(asked)
}

/// A path that is meant as one: `-` is a file's name here.
fn file(path: &OsStr) -> OsString {
    if path == "-" { "./-".into() } else { path.to_owned() }
}

/// What is wrong with the data, so that mkimage makes nothing of it either.
const REFUSED: [&str; 3] = ["uimage.type", "uimage.xip", "uimage.empty"];

fn legacy(called: &Called<'_>, asked: &Asked) -> Result<u8> {
    let (word, kind_id) =
        asked.kind.clone().unwrap_or_else(|| ("kernel".into(), TYPE.id("kernel").unwrap_or_default()));
    match kind(&word) {
        Kind::Legacy => {}
        Kind::Fit => {
            return Ok(
                called.refuse("-T flat_dt makes a FIT, of a source: -f SOURCE.its; the old header: -T fdt_legacy")
            );
        }
        Kind::Foreign(long) => return Ok(called.refuse(&foreign(&word, long))),
        Kind::Unknown => return Ok(1),
    }
    let is_listed = ["multi", "script"].iter().any(|listed| word.eq_ignore_ascii_case(listed));
    let names: Vec<&OsStr> = match &asked.data {
        _ if asked.empty && !is_listed => Vec::new(),
        Some(data) if is_listed => data.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes).collect(),
        Some(data) => vec![data],
        None => return Ok(called.refuse("the data is missing: -d FILE, or -s for a header alone")),
    };
    let files = names.iter().map(|name| open(name)).collect::<Result<Vec<Input>>>()?;
    let bytes: Vec<&[u8]> = files.iter().map(|file| &**file).collect();
    let is_tee = OS.id("tee") == Some(asked.os);
    let load = low(asked.load);
    let entry = asked.entry.map_or_else(|| load.wrapping_add(if asked.xip { 64 } else { 0 }), low);
    let request = UImageRequest {
        arch: Some(asked.arch),
        os: Some(asked.os),
        kind: Some(kind_id),
        comp: Some(asked.comp),
        // mkimage reads those of an OP-TEE image from its own header, whatever is given.
        load: (!is_tee).then_some(load.into()),
        entry: (!is_tee).then_some(entry.into()),
        name: Some(asked.name.as_bytes().to_vec()),
        truncate_name: true,
        xip: asked.xip,
        time: now()?,
        force: true,
        empty: files.is_empty(),
        ..UImageRequest::default()
    };
    let assembled = uimage(&request, &bytes, &[])?;
    if assembled.findings.iter().any(|finding| REFUSED.contains(&finding.rule)) {
        assembled.findings.iter().for_each(message::finding);
        return Ok(1);
    }
    finish("uimage", Path::new(&file(&asked.image)), &making(&[])?.building, &assembled)?;
    drop(files);
    list(called, &asked.image, Some(false), false)
}

/// Lists an image; the status is the peers'.
pub(super) fn list(called: &Called<'_>, path: &OsStr, fit: Option<bool>, quiet: bool) -> Result<u8> {
    let input = open(path)?;
    match called.listing().image(&input, fit) {
        Ok(_) if quiet => Ok(0),
        Ok(text) => print(&text).map(|()| 0),
        Err(error) => {
            let status = status(&error, input.len(), fit);
            message::error(&anyhow::Error::new(error).context(input.name()));
            Ok(status)
        }
    }
}

/// With a type given, mkimage ends with the negative number of libfdt's error that stands for what it found.
pub(super) fn status(error: &kimage::Error, len: usize, fit: Option<bool>) -> u8 {
    const HEADER: usize = 64;
    let kimage::Error::Input { source: InputError::Field(error), .. } = error else { return 1 };
    match (&*error.field, fit) {
        _ if fit != Some(false) || len < HEADER => 1,
        ("ih_magic", _) => 9_u8.wrapping_neg(),
        ("ih_hcrc", _) => 7_u8.wrapping_neg(),
        _ => 11_u8.wrapping_neg(),
    }
}

/// `kimage fit`'s own options.
#[derive(Debug, Parser)]
struct FitCommand {
    #[command(flatten)]
    fit: Fit,
}

fn option(name: &str, value: &OsStr) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(value);
    option
}

/// A token's URI of what mkimage has in place of a folder with its engine: `token=LABEL`, and the PIN from the environment.
fn token(folder: &OsStr) -> OsString {
    let mut uri = OsString::from(if folder.as_bytes().starts_with(b"pkcs11:") { "" } else { "pkcs11:" });
    uri.push(folder);
    if let Some(pin) = std::env::var_os("MKIMAGE_SIGN_PIN") {
        let pin: String = pin.as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
        uri.push(if uri.as_bytes().contains(&b'?') { "&" } else { "?" });
        uri.push(format!("pin-value={pin}"));
    }
    uri
}

/// The options of kimage's that sign, where there are keys.
fn signer(asked: &Asked) -> Vec<OsString> {
    let mut options = Vec::new();
    match (&asked.keys, &asked.key) {
        (Some(folder), _) if asked.token => options.push(option("keys", &token(folder))),
        (Some(folder), _) => options.push(option("keys", folder)),
        (None, Some(key)) if asked.token => options.push(option("key", &token(key))),
        // With a folder in it, so that no = is taken for the end of a name.
        (None, Some(key)) if !key.as_bytes().iter().any(|byte| b"/:".contains(byte)) => {
            options.push(option("key", Path::new(".").join(key).as_os_str()));
        }
        (None, Some(key)) => options.push(option("key", key)),
        (None, None) => {
            if asked.control.is_some() {
                message::line("mkimage: without keys (-k) nothing is signed, and -K gets no key");
            }
            return options;
        }
    }
    let all = [("comment", &asked.comment), ("algo", &asked.algo), ("control-dtb", &asked.control)];
    options.extend(all.into_iter().filter_map(|(name, value)| Some(option(name, value.as_ref()?))));
    if asked.required && asked.control.is_some() {
        options.push("--required=conf,image".into());
    }
    options
}

/// Folders that dtc is told to look in; all else that mkimage's users give it has no effect on a FIT, or cannot be had.
fn folders(dtc: &OsStr) -> Result<Vec<OsString>, String> {
    let text = dtc.to_str().ok_or("-D: not UTF-8")?;
    let mut words = text.split_whitespace();
    let mut folders = Vec::new();
    while let Some(word) = words.next() {
        let letters = word.get(..2).unwrap_or(word);
        let joined = word.get(2..).filter(|rest| !rest.is_empty());
        let mut value = || joined.or_else(|| words.next()).ok_or_else(|| format!("-D: {word} lacks its value"));
        match letters {
            "-i" => folders.push(value()?.into()),
            "-I" if value()? == "dts" => {}
            "-O" if value()? == "dtb" => {}
            // Room that mkimage takes out again, and warnings.
            "-p" | "-S" | "-a" | "-W" | "-E" => {
                value()?;
            }
            "-q" => {}
            _ => {
                return Err(format!(
                    "-D: dtc's {word} is not known here: -i DIR is, and what changes no byte of a FIT"
                ));
            }
        }
    }
    Ok(folders)
}

fn external(asked: &Asked) -> Result<Option<External>> {
    let align = Some(asked.align).filter(|align| *align > 0);
    let align = align.map(|align| Align::new(align).context("-B: wanted a power of two, hexadecimal")).transpose()?;
    let position = Some(u64::from(low(asked.position))).filter(|at| *at > 0);
    Ok(asked.external.then_some(External { align, position, ..External::default() }))
}

fn fit(called: &Called<'_>, asked: &Asked, from: &From) -> Result<u8> {
    let signer = signer(asked);
    let image = file(&asked.image);
    let output = Path::new(&image);
    let made = making(&signer)?;
    let place = (output, &made.building);
    let options = FitOptions {
        time: now()?,
        external: external(asked)?,
        unsigned: signer.is_empty(),
        layout: called.layout,
        signing: None,
    };
    match from {
        From::Source(source) => {
            let folders = match folders(&asked.dtc) {
                Ok(folders) => folders,
                Err(what) => return Ok(called.refuse(&what)),
            };
            if source != "-" && is_tree_blob(&open(source)?) {
                return Ok(called.refuse("-f wants a source (.its); a FIT that is there is signed again with -F"));
            }
            let mut words: Vec<OsString> = vec!["fit".into(), "--force".into()];
            words.extend(
                [("output", image.clone()), ("layout", called.layout.to_string().into())]
                    .map(|(name, value)| option(name, &value)),
            );
            words.push(format!("--time={}", options.time).into());
            words.extend(folders.iter().map(|folder| option("include", folder)));
            if let Some(External { align, position, .. }) = options.external {
                words.push("--external".into());
                words.extend(align.map(|align| format!("--align={:x}", u64::from(align)).into()));
                words.extend(position.map(|at| format!("--position={at:x}").into()));
            }
            words.extend(options.unsigned.then(|| "--unsigned".into()));
            words.extend(signer.iter().cloned());
            words.extend(["--".into(), source.clone()]);
            let mut command = FitCommand::try_parse_from(words)?;
            command.fit.building.terse = true;
            sourced::fit(&command.fit)?;
        }
        From::Again => {
            let input = open(&asked.image)?;
            made.signer.with("sign", place, |signing| {
                fit_again(&input, &FitOptions { signing, ..options }, asked.touch, true)
                    .map_err(|error| anyhow::Error::new(error).context(input.name()))
            })?;
        }
        From::Auto { configurations } => {
            let data = asked.data.as_deref().map(open).transpose()?;
            let dtbs = asked.dtbs.iter().map(|path| open(path)).collect::<Result<Vec<Input>>>()?;
            let ramdisk = asked.ramdisk.as_deref().map(open).transpose()?;
            let bl31 = asked.bl31.0.as_deref().map(open).transpose()?;
            let tee = asked.tee.0.as_deref().map(open).transpose()?;
            fn named(input: &Input) -> FitFile<'_> {
                FitFile { name: input.file_name(), bytes: input }
            }
            let text = |text: &Option<OsString>| text.as_ref().map(|text| text.to_string_lossy().into_owned());
            let load = low(asked.load);
            let request = AutoFitRequest {
                arch: asked.arch,
                os: asked.os,
                kind: asked.kind.as_ref().map_or_else(|| TYPE.id("kernel").unwrap_or_default(), |(_, id)| *id),
                comp: asked.comp,
                load,
                entry: asked.entry.map_or_else(|| load.wrapping_add(if asked.xip { 64 } else { 0 }), low),
                name: asked.name.as_bytes().to_vec(),
                data: data.as_deref().unwrap_or_default(),
                dtbs: dtbs.iter().map(named).collect(),
                ramdisk: ramdisk.as_deref(),
                bl31: bl31.as_ref().map(|file| (named(file), low(asked.bl31.1))),
                tee: tee.as_ref().map(|file| (named(file), low(asked.tee.1))),
                signature: text(&asked.algo).zip(text(&asked.hint)).map(|(algo, hint)| (algo, hint, *configurations)),
            };
            made.signer.with("fit", place, |signing| Ok(fit_auto(&request, &FitOptions { signing, ..options })?))?;
        }
    }
    let status = list(called, &asked.image, Some(true), asked.quiet)?;
    if status == 0 && !signer.is_empty() {
        summary(asked, &open(&asked.image)?)?;
    }
    Ok(status)
}

/// What mkimage says last when it has signed a configuration.
fn summary(asked: &Asked, fit: &[u8]) -> Result<()> {
    let Some((path, hint, is_ecdsa)) = last_signature(fit) else { return Ok(()) };
    let mut text = Vec::new();
    text.write_all(b"Signature written to '")?;
    text.write_all(asked.image.as_bytes())?;
    writeln!(text, "', node '{path}'")?;
    if let Some(control) = &asked.control {
        let node = if is_ecdsa { hint } else { format!("key-{hint}") };
        text.write_all(b"Public key written to '")?;
        text.write_all(control.as_bytes())?;
        writeln!(text, "', node '/signature/{node}'")?;
    }
    print(&text)
}
