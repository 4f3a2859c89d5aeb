//! dumpimage and fit_info: what stands in an image.

use super::{Called, Kind, foreign, getopt, kind, mkimage, open, print};
use crate::message;
use crate::output::Output;
use anyhow::Result;
use kimage::error::InputError;
use kimage::report::property_at;
use std::ffi::{OsStr, OsString};
use std::path::Path;

const DUMP_USAGE: &str = "\
Usage: dumpimage [-T TYPE] -l IMAGE
       dumpimage -T TYPE [-p NUMBER] -o FILE IMAGE
       dumpimage -h | -V
NUMBER is that of the file in the image, from 0. This is kimage: docs/peers.md says what is the same.
";

pub(super) fn dumpimage(called: &Called<'_>, arguments: Vec<OsString>) -> Result<u8> {
    let is_bare = arguments.is_empty();
    // dumpimage ends well whatever it is asked.
    let unclear = |what: &str| {
        called.usage(what, DUMP_USAGE);
        Ok(0)
    };
    let given = match getopt::parse(arguments, "hlo:T:p:V", &[]) {
        Ok(given) if !is_bare => given,
        Ok(_) => return unclear("the image is missing"),
        Err(what) => return unclear(&what),
    };
    let (mut list, mut output, mut of, mut number) = (false, None, None, 0);
    for (letter, value) in given.options {
        match letter {
            'l' => list = true,
            'o' => output = Some(value),
            'T' => match kind(&value) {
                Kind::Legacy => of = Some(false),
                Kind::Fit => of = Some(true),
                Kind::Foreign(long) => return Ok(called.refuse(&foreign(&value, long))),
                Kind::Unknown => return Ok(called.refuse(&format!("invalid type {:?}", value.to_string_lossy()))),
            },
            'p' => match value.to_str().and_then(|text| text.trim_start().parse::<usize>().ok()) {
                Some(given) => number = given,
                None => return Ok(called.refuse(&format!("invalid file position {:?}", value.to_string_lossy()))),
            },
            'V' => {
                print(format!("{} version {}\n", called.name, called.layout).as_bytes())?;
                return Ok(0);
            }
            _ => return unclear("what it does"),
        }
    }
    if list && output.is_some() {
        return unclear("-l does not go with -o");
    }
    let Some(image) = given.operands.first() else { return Ok(called.refuse("the image is missing")) };
    if list {
        return mkimage::list(called, image, of, false);
    }
    let (Some(of), Some(output)) = (of, output) else {
        return Ok(called.refuse("say what the image is and where its file goes: -T TYPE -o FILE"));
    };
    let input = open(image)?;
    match called.listing().file(&input, of, number) {
        Ok((text, data)) => {
            print(&text)?;
            put(&output, data)?;
            Ok(0)
        }
        Err(error) => {
            // An image that is none, and one without such a file.
            let status = match (&error, input.len()) {
                (_, 0..64) => 1,
                (kimage::Error::WrongInput { .. }, _) => {
                    if of {
                        print(format!("No such component at '{number}'\n").as_bytes())?;
                    }
                    3_u8.wrapping_neg()
                }
                (kimage::Error::Input { source: InputError::Field(field), .. }, _) if field.field == "data" => {
                    3_u8.wrapping_neg()
                }
                _ => 1_u8.wrapping_neg(),
            };
            message::error(&anyhow::Error::new(error).context(input.name()));
            Ok(status)
        }
    }
}

fn put(path: &OsStr, data: &[u8]) -> Result<()> {
    let path = if path == "-" { Path::new("./-") } else { Path::new(path) };
    let output = Output { path, sync: false, is_text: false };
    output.write(data.len() as u64, |out| Ok(out.write_all(data)?))
}

const INFO_USAGE: &str = "\
Usage: fit_info -f FIT -n NODE -p PROPERTY
This is kimage: docs/peers.md says what is the same.
";

pub(super) fn fit_info(called: &Called<'_>, arguments: Vec<OsString>) -> Result<u8> {
    let given = match getopt::parse(arguments, "f:n:p:", &[]) {
        Ok(given) => given,
        Err(what) => return Ok(called.usage(&what, INFO_USAGE)),
    };
    let value = |letter| given.options.iter().rev().find(|(is, _)| *is == letter).map(|(_, value)| value);
    let (Some(file), Some(node), Some(property)) = (value('f'), value('n'), value('p')) else {
        return Ok(called.usage("give the file, the node and the property", INFO_USAGE));
    };
    let (node_text, property_text) = (node.to_string_lossy(), property.to_string_lossy());
    let found = open(file).and_then(|input| {
        property_at(&input, &node_text, &property_text).map_err(|error| anyhow::Error::new(error).context(input.name()))
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            print(format!("Could not open {}\n", file.to_string_lossy()).as_bytes())?;
            message::error(&error);
            return Ok(1);
        }
    };
    match found {
        None => {
            print(format!("{node_text} not found.").as_bytes())?;
            Ok(1)
        }
        Some((_, Some(value))) if value.is_empty() => {
            print(format!("len == 0 {property_text}\n").as_bytes())?;
            Ok(1)
        }
        // fit_info prints the length -1, and its own memory's distance.
        Some((_, None)) => Ok(called.refuse(&format!("{node_text} has no property {property_text}"))),
        Some((name, Some(value))) => {
            let (len, at) = (value.end - value.start, value.start);
            print(format!("NAME: {name}\nLEN: {len}\nOFF: {at}\n").as_bytes())?;
            Ok(0)
        }
    }
}
