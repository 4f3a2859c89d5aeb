//! U-Boot's own tools by their names: kimage called as mkimage, dumpimage, fit_check_sign, fit_info or fdt_add_pubkey, by a link of that
//! name or by `kimage as`. Each translates its arguments to what the library is asked for by kimage's own commands, and prints what
//! the tool prints (docs/peers.md).

mod check;
mod dump;
mod getopt;
mod mkimage;
mod ukify;

use crate::args::{Building, Links, Peer, Signer};
use crate::cmd::common::source_date_epoch;
use crate::input::Input;
use crate::{message, screen};
use anyhow::{Context, Result, bail};
use clap::Parser;
use clap::error::ErrorKind;
use kimage::assemble::{FitLayout, TYPE};
use kimage::report::{Listing, Style};
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// A tool: its name, and what it does with its arguments; gives the exit status.
type Tool = (&'static str, fn(&Called<'_>, Vec<OsString>) -> Result<u8>);

const TOOLS: [Tool; 6] = [
    ("mkimage", mkimage::mkimage),
    ("dumpimage", dump::dumpimage),
    ("fit_check_sign", check::fit_check_sign),
    ("fit_info", dump::fit_info),
    ("fdt_add_pubkey", check::fdt_add_pubkey),
    ("ukify", ukify::ukify),
];

/// The environment's word for the release whose text and bytes are wanted; a link has no option for it.
const LAYOUT: &str = "KIMAGE_LAYOUT";

/// What a tool was called as.
struct Called<'c> {
    name: &'c str,
    layout: FitLayout,
}

/// What the program was called as, if that is a tool of U-Boot's.
pub(crate) fn by_name(arguments: &[OsString]) -> Option<Result<u8>> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name().and_then(OsStr::to_str)?;
    TOOLS.iter().any(|(known, _)| *known == name).then(|| call(name, None, rest.to_vec()))
}

pub(crate) fn peer(args: &Peer) -> Result<u8> {
    let Some((tool, rest)) = args.arguments.split_first() else { bail!("as: name a tool") };
    call(&tool.to_string_lossy(), args.layout, rest.to_vec())
}

/// The names of the tools.
fn names() -> [&'static str; TOOLS.len()] {
    TOOLS.map(|(name, _)| name)
}

fn call(name: &str, layout: Option<FitLayout>, arguments: Vec<OsString>) -> Result<u8> {
    let named = std::env::var(LAYOUT).ok().filter(|text| !text.is_empty());
    let layout = match (layout, named) {
        (Some(layout), _) => layout,
        (None, Some(text)) => text.parse().map_err(|wanted| anyhow::anyhow!("{LAYOUT} is {text:?}, {wanted}"))?,
        (None, None) => FitLayout::default(),
    };
    let Some((name, tool)) = TOOLS.iter().find(|(known, _)| *known == name) else {
        let message = format!("as: {name} is none of {}", names().join(", "));
        message::usage(ErrorKind::InvalidValue, message);
    };
    tool(&Called { name, layout }, arguments)
}

impl Called<'_> {
    /// What is wrong with the arguments, and how they are to be; the status of the peers for that.
    fn usage(&self, what: &str, usage: &str) -> u8 {
        screen::print_error(&format!("{}: {what}\n{usage}", self.name));
        1
    }

    /// What cannot be done.
    fn refuse(&self, what: &str) -> u8 {
        message::line(&format!("{}: {what}", self.name));
        1
    }

    fn listing(&self) -> Listing<'static> {
        Listing { layout: self.layout, time: &local_time }
    }
}

/// The text of ctime(3), without the line's end.
fn local_time(seconds: u32) -> String {
    let time = jiff::Timestamp::from_second(seconds.into()).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// Now, or what the environment has for it.
fn now() -> Result<u32> {
    match std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) {
        Some(_) => source_date_epoch(),
        None => Ok(jiff::Timestamp::now().as_second().try_into().unwrap_or(u32::MAX)),
    }
}

/// Text of a file: as it is to whoever reads it, without what a terminal would obey to a terminal.
fn print(text: &[u8]) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return screen::pass(text);
    }
    let mut out = screen::Screen::new(std::io::stdout().lock(), Style { colour: false }.colour);
    out.write_all(text).and_then(|()| out.flush()).context("standard output")
}

/// What is made is one file, and what is said of it the peer's to say; warnings are ours.
#[derive(Debug, Parser)]
struct Making {
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    building: Building,
}

/// Options of kimage's own, as the command line would have them.
fn making(options: &[OsString]) -> Result<Making> {
    let mut made = Making::try_parse_from(std::iter::once(OsString::from("kimage")).chain(options.iter().cloned()))?;
    made.building.terse = true;
    Ok(made)
}

/// A type's number, and whether it is one that kimage makes.
enum Kind {
    Legacy,
    Fit,
    Foreign(&'static str),
    Unknown,
}

/// What mkimage writes with the legacy header.
const LEGACY: [&str; 10] = [
    "standalone",
    "kernel",
    "ramdisk",
    "multi",
    "firmware",
    "script",
    "filesystem",
    "kernel_noload",
    "firmware_ivt",
    "fdt_legacy",
];

fn kind(word: &OsStr) -> Kind {
    let Some((word, id)) = word.to_str().and_then(|word| Some((word, TYPE.id(word)?))) else { return Kind::Unknown };
    if word.eq_ignore_ascii_case("flat_dt") {
        Kind::Fit
    } else if LEGACY.iter().any(|name| name.eq_ignore_ascii_case(word)) {
        Kind::Legacy
    } else {
        Kind::Foreign(TYPE.long(id).unwrap_or("unknown"))
    }
}

fn foreign(word: &OsStr, long: &str) -> String {
    let word = word.to_string_lossy();
    format!(
        "{word} ({long}) is a type that kimage does not make or read: use the mkimage of u-boot-tools for it; -T list names those of kimage"
    )
}

/// The types, those first that kimage has.
fn list_types() {
    let mut text = String::from("\nImage types of kimage:\n");
    let mut others = Vec::new();
    for name in TYPE.all() {
        match kind(OsStr::new(name.short)) {
            Kind::Foreign(_) => others.push(name.short),
            _ => text += &format!("\t{:<16} {}\n", name.short, name.long),
        }
    }
    text += &format!("\nTypes that u-boot-tools alone make:\n\t{}\n\n", others.join(" "));
    screen::print_error(&text);
}

/// The links of the tools' names to this program, in a folder.
pub(crate) fn links(args: &Links) -> Result<()> {
    if !args.folder.is_dir() {
        bail!("{}: there is no such folder: make it first", args.folder.display());
    }
    let program = std::env::current_exe().context("where kimage is cannot be found out")?;
    let mut made = Vec::new();
    let is_ours = |path: &Path| std::fs::read_link(path).is_ok_and(|to| to == program);
    let taken: Vec<PathBuf> = names()
        .iter()
        .map(|name| args.folder.join(name))
        .filter(|path| !args.force && path.symlink_metadata().is_ok() && !is_ours(path))
        .collect();
    if let Some(path) = taken.first() {
        bail!("{}: is there already: --force replaces it", path.display());
    }
    for name in names() {
        let path = args.folder.join(name);
        if is_ours(&path) {
            continue;
        }
        if path.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        std::os::unix::fs::symlink(&program, &path).with_context(|| path.display().to_string())?;
        made.push(name);
    }
    message::line(&format!("{}: {} links to {}", args.folder.display(), made.len(), program.display()));
    Ok(())
}

fn open(path: &OsStr) -> Result<Input> {
    // A file of that name: `-` is nothing else to the peers.
    let path = Path::new(path);
    Input::open(if path == Path::new("-") { Path::new("./-") } else { path })
}
