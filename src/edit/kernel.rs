//! What is built into a kernel, changed where it stands: nothing in it moves.

use super::{EditRequest, refused};
use crate::assemble::{Step, describe};
use crate::bytes::{len64, overwrite, slice, slice_at};
use crate::codec::{Codec, Parameters};
use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::finding::Severity;
use crate::format::Format;
use crate::format::cpio::{self, Cpio, archive_len};
use crate::inspect::{FoundBy, Kind, Layer, LayerId, Limits, Opened, open, size_word};
use std::ops::Range;

/// `COMMAND_LINE_SIZE` of ARM (arch/arm/include/uapi/asm/setup.h, Linux 2.4 to 7.2).
pub(super) const ARM_LINE: u64 = 1024;
/// Up to this length, an archive is compressed as well as it goes.
const SMALL: usize = 1 << 20;

/// How a kernel of this kind has its built-in command line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line {
    /// In an array of this many bytes, filled up with zeros (`builtin_cmdline` of x86, `default_command_line` of ARM).
    Buffer(u64),
    /// As a text, with nothing behind it.
    Text,
}

/// What the kernel itself has no place for.
#[derive(Debug, Default)]
pub(super) struct Outside<'a> {
    /// The archive: the one built in is empty now.
    pub(super) initramfs: Option<&'a [u8]>,
    /// The command line.
    pub(super) cmdline: Option<&'a [u8]>,
    /// Which part, and why.
    pub(super) refusal: Option<(&'static str, String)>,
}

/// What to do for a part that a kernel has no place for.
pub(super) fn help(part: &str) -> &'static str {
    match part {
        "initramfs" => {
            "leave something out, compress it by a codec that the kernel unpacks (kimage compress), or have the boot \
             loader pass it as initial RAM disk"
        }
        _ => "have the boot loader pass it",
    }
}

/// Changes `kernel`, as it comes out of its payload, to what is asked for.
///
/// # Errors
/// [`Error::NotEdited`] for what the kernel does not have, and [`Error::WrongInput`] for an archive that is none.
pub(super) fn change<'a>(
    kernel: &mut [u8],
    request: &EditRequest<'a>,
    line: Line,
    steps: &mut Vec<Step>,
) -> Result<Outside<'a>> {
    let mut outside = Outside::default();
    if request.initramfs.is_none() && request.cmdline.is_none() {
        return Ok(outside);
    }
    // What begins as nothing that is known has nothing that could be found in it.
    let mut opened = open(kernel, &request.limits).ok();
    let config = opened.as_mut().and_then(|opened| opened.part("config"));
    let config = opened.as_ref().zip(config).map(|(opened, part)| opened.part_bytes(&part).to_vec());
    let place = opened.as_ref().and_then(|opened| Place::find(opened, kernel));
    drop(opened);
    let config = config.as_deref();
    if let Some(archive) = request.initramfs {
        match initramfs(kernel, archive, place, config)? {
            Ok(step) => steps.push(step),
            Err(why) => {
                outside.initramfs = Some(archive);
                outside.refusal = Some(("initramfs", why));
            }
        }
    }
    if let Some(text) = request.cmdline {
        match cmdline(kernel, text, config, line) {
            Ok(step) => steps.push(step),
            Err(why) => {
                outside.cmdline = Some(text);
                outside.refusal.get_or_insert(("cmdline", why));
            }
        }
    }
    Ok(outside)
}

/// Where the built-in RAM disk is.
struct Place {
    /// Where another one may stand.
    at: Range<u64>,
    /// Where its size stands, and in which byte order; before Linux 2.6.37 the kernel goes by the place alone.
    size: Option<(u64, crate::bytes::Endian)>,
    codec: Option<Codec>,
}

impl Place {
    fn find(opened: &Opened<'_>, kernel: &[u8]) -> Option<Place> {
        let is_built_in = |layer: &&Layer| layer.name == "initramfs" && layer.parent == Some(LayerId(0));
        let layer = opened.layers().iter().find(is_built_in)?;
        let endian = Elf::parse(kernel).ok().map(|elf| elf.endian());
        let size = size_word(kernel, &layer.at, endian).filter(|_| layer.found_by == FoundBy::Header);
        let codec = if let Kind::Known(Format::Compressed(codec)) = layer.kind { Some(codec) } else { None };
        let end = size.map_or(layer.at.end, |(at, _)| at / 8 * 8);
        Some(Place { at: layer.at.start..end, size, codec })
    }

    /// Puts `archive` there, zeros behind it, and its size.
    fn put(&self, kernel: &mut [u8], archive: &[u8]) -> Option<()> {
        let room = self.at.end - self.at.start;
        let mut whole = archive.to_vec();
        whole.resize(usize::try_from(room).ok().filter(|room| *room >= archive.len())?, 0);
        overwrite(kernel, self.at.start, &whole)?;
        let Some((at, endian)) = self.size else { return Some(()) };
        let size = u32::try_from(archive.len()).ok()?;
        let word = if endian == crate::bytes::Endian::Little { size.to_le_bytes() } else { size.to_be_bytes() };
        overwrite(kernel, at, &word)
    }
}

/// Fails where the kernel would not unpack that: it panics at a built-in RAM disk that it cannot read.
fn held_to_archive(archive: &[u8], config: Option<&[u8]>) -> Result<()> {
    let opened = open(archive, &Limits::default()).ok();
    let layers = opened.as_ref().map_or(&[][..], |opened| opened.layers());
    let help = "make one of a folder: kimage cpio DIR";
    if matches!(Format::detect(archive), Some(Format::Cpio | Format::Compressed(_))) {
        let mut findings = layers.iter().flat_map(|layer| &layer.findings);
        if let Some(fault) = findings.find(|finding| finding.severity > Severity::Note) {
            return Err(refused("initramfs", format!("the archive: {}", fault.message), help));
        }
    }
    if !layers.iter().any(|layer| layer.kind == Kind::Known(Format::Cpio)) {
        let want = "a cpio archive, compressed or not";
        return Err(Error::wrong_input("INITRAMFS", describe(archive), want, help));
    }
    let has_options = config.is_some_and(|config| memchr::memmem::find(config, b"CONFIG_RD_").is_some());
    for layer in layers {
        let Kind::Known(Format::Compressed(codec)) = layer.kind else { continue };
        let known = UNPACKED.iter().find(|(able, _)| *able == codec);
        if known.is_none() || has_options && !known.is_some_and(|known| is_unpacked(known, config)) {
            return Err(refused("initramfs", format!("the kernel does not unpack {}", codec.name()), help));
        }
    }
    Ok(())
}

/// What kernels unpack, and what the option for it ends with.
const UNPACKED: [(Codec, &str); 7] = [
    (Codec::Gzip, "GZIP"),
    (Codec::Bzip2, "BZIP2"),
    (Codec::Lzma, "LZMA"),
    (Codec::Xz, "XZ"),
    (Codec::Lzo, "LZO"),
    (Codec::Lz4Legacy, "LZ4"),
    (Codec::Zstd, "ZSTD"),
];

fn is_unpacked((_, name): &(Codec, &str), config: Option<&[u8]>) -> bool {
    config.and_then(|config| value(config, &format!("CONFIG_RD_{name}"))).is_some_and(|set| set == b"y")
}

/// Replaces the built-in RAM disk; says why where there is no room, and leaves an empty one.
fn initramfs(
    kernel: &mut [u8],
    archive: &[u8],
    place: Option<Place>,
    config: Option<&[u8]>,
) -> Result<std::result::Result<Step, String>> {
    held_to_archive(archive, config)?;
    let Some(place) = place else {
        let help = "have the boot loader pass it, if the kernel has CONFIG_BLK_DEV_INITRD";
        return Err(refused("initramfs", "no RAM disk was found in this kernel", help));
    };
    // The padding behind it is none of it; what else may follow is.
    let end = archive_len(archive).filter(|_| Cpio::detect(archive)).unwrap_or(len64(archive));
    let behind = slice(archive, end, len64(archive) - end).unwrap_or_default();
    let archive = match behind.iter().all(|byte| *byte == 0) {
        true => slice(archive, 0, end).unwrap_or(archive),
        false => archive,
    };
    if place.size.is_none() {
        // Nothing but the archive itself says that it is one: there must be no other.
        let mut without = kernel.to_vec();
        place.put(&mut without, &[]);
        if open(&without, &Limits::default()).is_ok_and(|opened| Place::find(&opened, &without).is_some()) {
            let why = "there are several archives in this kernel, and nothing tells which is unpacked";
            return Err(refused("initramfs", why, help("initramfs")));
        }
    }
    let room = place.at.end - place.at.start;
    let fitting = match len64(archive) <= room {
        true => Some((archive.to_vec(), None)),
        false => smaller(archive, &place, config, room)?,
    };
    let how = |codec: Option<Codec>| {
        let packed = codec.map_or(String::new(), |codec| format!(", compressed: {}", codec.name()));
        format!("in place of the one built in, which had {room} bytes{packed}")
    };
    if let Some((archive, codec)) = fitting {
        place.put(kernel, &archive);
        return Ok(Ok(Step { file: "initramfs".to_owned(), size: len64(&archive), how: how(codec) }));
    }
    let empty = cpio::plan(Vec::new(), 0)?.bytes();
    let empty = slice(&empty, 0, archive_len(&empty).unwrap_or(0)).unwrap_or_default();
    place.put(kernel, if len64(empty) <= room { empty } else { &[] });
    Ok(Err(format!("{} bytes, and the one built into the kernel has room for {room}", len64(archive))))
}

/// A plain archive, compressed to fit by what the kernel is known to unpack.
fn smaller(
    archive: &[u8],
    place: &Place,
    config: Option<&[u8]>,
    room: u64,
) -> Result<Option<(Vec<u8>, Option<Codec>)>> {
    // No codec makes more of a program.
    const MOST: u64 = 32;
    if !Cpio::detect(archive) || room.saturating_mul(MOST) < len64(archive) {
        return Ok(None);
    }
    let known = UNPACKED.iter().filter(|known| is_unpacked(known, config)).map(|(codec, _)| *codec);
    for codec in place.codec.into_iter().chain(known) {
        let best = codec == Codec::Gzip && archive.len() <= SMALL;
        let mut packed = Vec::new();
        codec.compress(archive, &Parameters { best, ..Parameters::default() }, &mut packed)?;
        if len64(&packed) <= room {
            return Ok(Some((packed, Some(codec))));
        }
    }
    Ok(None)
}

/// The value of an option in a kernel's configuration.
fn value<'c>(config: &'c [u8], option: &str) -> Option<&'c [u8]> {
    let mut lines = config.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(option.as_bytes())?.strip_prefix(b"="))
}

/// Replaces `CONFIG_CMDLINE`, where its text is found once; says why where it cannot.
fn cmdline(kernel: &mut [u8], text: &[u8], config: Option<&[u8]>, line: Line) -> std::result::Result<Step, String> {
    let config = config.ok_or("the kernel does not tell its own: it has no CONFIG_IKCONFIG")?;
    let quoted = value(config, "CONFIG_CMDLINE").and_then(|value| value.strip_prefix(b"\"")?.strip_suffix(b"\""));
    let mut escaped = false;
    let unescaped = quoted.unwrap_or_default().iter().filter(|byte| {
        escaped = **byte == b'\\' && !escaped;
        !escaped
    });
    let old: Vec<u8> = unescaped.copied().collect();
    if old.is_empty() {
        return Err("the kernel has none of its own (CONFIG_CMDLINE)".to_owned());
    }
    let ended = [&old[..], &[0]].concat();
    let places: Vec<u64> = memchr::memmem::find_iter(kernel, &ended).filter_map(|at| u64::try_from(at).ok()).collect();
    let is_buffer = |at: &u64, len: u64| {
        let rest = slice_at(kernel, &(at + len64(&old)..at.saturating_add(len)));
        rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    };
    let buffers: Vec<u64> = match line {
        Line::Buffer(len) => places.iter().copied().filter(|at| is_buffer(at, len)).collect(),
        Line::Text => Vec::new(),
    };
    let (at, room) = match (&buffers[..], line, &places[..]) {
        ([at], Line::Buffer(len), _) => (*at, len.saturating_sub(1)),
        ([], _, [at]) => (*at, len64(&old)),
        _ => return Err(format!("the text that the kernel has of its own is in it {} times", places.len())),
    };
    if len64(text) > room {
        return Err(format!("{} bytes, and the kernel's own has room for {room}", len64(text)));
    }
    let mut whole = text.to_vec();
    whole.resize(whole.len().max(old.len()), 0);
    overwrite(kernel, at, &whole).ok_or("the text that the kernel has of its own is at its end")?;
    let how = format!("in place of the one built in, which has room for {room} bytes");
    Ok(Step { file: "cmdline".to_owned(), size: len64(text), how })
}
