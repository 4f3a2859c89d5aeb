//! fit_check_sign and fdt_add_pubkey: the keys of a control device tree.

use super::{Called, getopt, open, print};
use crate::keys::public_in;
use crate::output::Output;
use crate::{message, screen};
use anyhow::{Context, Result};
use kimage::assemble::add_public_key;
use kimage::inspect::verify::{Trust, signed, verify};
use kimage::inspect::{Limits, open as open_image};
use kimage::report::{Style, write_verify_text};
use std::ffi::OsString;
use std::path::Path;

const CHECK_USAGE: &str = "\
Usage: fit_check_sign -f FIT -k CONTROL_DTB [-c CONFIGURATION]
This is kimage: docs/peers.md says what is the same.
";

pub(super) fn fit_check_sign(called: &Called<'_>, arguments: Vec<OsString>) -> Result<u8> {
    let given = match getopt::parse(arguments, "f:k:c:", &[]) {
        Ok(given) => given,
        Err(what) => return Ok(called.usage(&what, CHECK_USAGE)),
    };
    let value = |letter| given.options.iter().rev().find(|(is, _)| *is == letter).map(|(_, value)| value);
    let (Some(file), Some(keys)) = (value('f'), value('k')) else {
        return Ok(called.usage("give the FIT and the device tree with the keys", CHECK_USAGE));
    };
    let (fit, control) = (open(file)?, open(keys)?);
    let trust = Trust::of_control(&control).with_context(|| control.name())?;
    let opened = open_image(&fit, &Limits::default()).with_context(|| fit.name())?;
    let mut verified = verify(&opened);
    signed(&opened, &trust, &mut verified);
    let configuration = value('c').map(|name| name.to_string_lossy());
    let checked = called.listing().check_sign(&opened, &control, configuration.as_deref(), &verified);
    let (text, is_good) = checked.with_context(|| fit.name())?;
    print(&text)?;
    // What kimage alone has to say.
    let mut said = Vec::new();
    let style = Style { colour: screen::colour_on_stderr() };
    write_verify_text(&fit.name(), &opened, &verified, style, &mut said)?;
    screen::print_error(&String::from_utf8_lossy(&said));
    message::line(if is_good { "Signature check OK" } else { "Signature check bad (error 1)" });
    Ok(u8::from(!is_good))
}

const ADD_USAGE: &str = "\
Usage: fdt_add_pubkey [-a HASH,KEY] [-k KEYS] [-n NAME] [-r conf|image] DTB
Defaults: -a sha1,rsa2048 -k . -n key. This is kimage: docs/peers.md says what is the same.
";

pub(super) fn fdt_add_pubkey(called: &Called<'_>, arguments: Vec<OsString>) -> Result<u8> {
    let given = match getopt::parse(arguments, "a:k:n:r:h", &[]) {
        Ok(given) => given,
        Err(what) => return Ok(called.usage(&what, ADD_USAGE)),
    };
    let value =
        |letter| given.options.iter().rev().find(|(is, _)| *is == letter).map(|(_, value)| value.to_string_lossy());
    if value('h').is_some() {
        return Ok(called.usage("what it does", ADD_USAGE));
    }
    let Some(dtb) = given.operands.first() else { return Ok(called.usage("the device tree is missing", ADD_USAGE)) };
    let required = value('r');
    if let Some(other) = required.as_deref().filter(|it| !["conf", "image"].contains(it)) {
        return Ok(called.refuse(&format!("-r {other}: wanted conf or image; U-Boot demands nothing by another word")));
    }
    let algo = value('a').unwrap_or("sha1,rsa2048".into());
    let name = value('n').unwrap_or("key".into());
    let folder = value('k').unwrap_or(".".into());
    let input = open(dtb)?;
    let (path, key) = public_in(Path::new(&*folder), &name);
    let key = key.with_context(|| path.display().to_string())?;
    let made = add_public_key(Some(&input), &key, (&algo, &name), required.as_deref()).with_context(|| input.name())?;
    drop(input);
    let output = Output { path: Path::new(dtb), sync: false, is_text: false };
    output.write(made.len() as u64, |out| Ok(out.write_all(&made)?))?;
    Ok(0)
}
