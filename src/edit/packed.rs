//! A kernel in the payload of an image: taken out, and put back into its place.

use super::refused;
use crate::bytes::{len64, slice_at};
use crate::codec::{Codec, Parameters, size_trailer};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::inspect::{FoundBy, Kind, Layer, Limits, Opened, PAYLOAD};
use std::ops::Range;

/// A compressed kernel.
#[derive(Debug)]
pub(super) struct Packed {
    /// Its place in the file, the size behind it included.
    pub(super) at: Range<u64>,
    /// How it is compressed.
    pub(super) codec: Codec,
    /// No header says where it is.
    pub(super) scanned: bool,
    /// All that comes out of it.
    pub(super) kernel: Vec<u8>,
    /// What its stream tells of the compression.
    parameters: Parameters,
    /// Does its size stand behind it?
    has_size: bool,
}

impl Packed {
    /// The payload of an image.
    pub(super) fn find(image: &[u8], limits: &Limits) -> Result<Packed> {
        let mut opened = Opened::new(image, limits)?;
        let found = loop {
            let payload = opened.layers().iter().find(|layer| layer.name == PAYLOAD);
            let is_whole = payload.is_some_and(|layer| kernel_of(&opened, layer).is_some());
            if is_whole || opened.peel().is_none() {
                break payload_of(&opened);
            }
        };
        found.ok_or_else(|| {
            let want = "an image with a compressed kernel";
            Error::wrong_input(
                "IMAGE",
                "an image in which no compressed kernel is found",
                want,
                "kimage info IMAGE says why",
            )
        })
    }

    /// Bytes of the place.
    pub(super) fn room(&self) -> u64 {
        self.at.end - self.at.start
    }

    /// What becomes of it.
    pub(super) fn how(&self) -> String {
        format!("compressed, {}, into the place that it had: for the image's own decompressor", self.codec.name())
    }

    /// Compresses `kernel`, which is as long as the one that was there, to as many bytes as that took. The stream may end up to
    /// `slack` bytes in front of its place's end; gzip's ends just there. Says why
    /// where that is not possible.
    pub(super) fn pack(&self, kernel: &[u8], slack: u64) -> Result<std::result::Result<Vec<u8>, String>> {
        let size = if self.has_size { size_trailer(len64(kernel))?.to_vec() } else { Vec::new() };
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX).saturating_sub(size.len());
        let harder = (self.codec == Codec::Gzip).then(|| Parameters { best: true, ..Parameters::default() });
        let mut least = usize::MAX;
        for options in [Some(self.parameters.clone()), harder].into_iter().flatten() {
            let mut stream = Vec::new();
            self.codec.compress(kernel, &options, &mut stream)?;
            least = least.min(stream.len());
            let Some(missing) = room.checked_sub(stream.len()) else { continue };
            match self.codec {
                Codec::Gzip => lengthen(&mut stream, missing),
                // Decoders of lz4 take zeros for a block, and older ones stop there.
                Codec::Lz4Legacy if missing > 0 => continue,
                _ if u64::try_from(missing).unwrap_or(u64::MAX) > slack => continue,
                _ => stream.resize(room, 0),
            }
            stream.extend_from_slice(&size);
            return Ok(Ok(stream));
        }
        let is =
            format!("the payload, compressed anew, has {} bytes, and its place {}", least + size.len(), self.room());
        Ok(Err(match self.codec {
            _ if least > room => is,
            Codec::Lz4Legacy => format!("{is}, which lz4's decoder wants filled"),
            _ => format!("{is}: its decoder would overtake what it is still to read"),
        }))
    }
}

/// Makes a gzip stream of ours, which has no file name, `len` bytes longer, so that it still ends where it did: by empty stored
/// blocks of 5 bytes (RFC 1951, 3.2.4), and a name for the rest (RFC 1952, 2.3.1), which every decoder passes over.
fn lengthen(stream: &mut Vec<u8>, len: usize) {
    const FLAGS_AT: usize = 3;
    const FNAME: u8 = 8;
    const DATA_AT: usize = 10;
    const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];
    let (blocks, rest) = (len / EMPTY.len(), len % EMPTY.len());
    let mut more = Vec::with_capacity(len);
    if rest > 0 {
        stream.get_mut(FLAGS_AT).into_iter().for_each(|flags| *flags |= FNAME);
        more.resize(rest - 1, b'-');
        more.push(0);
    }
    more.extend(EMPTY.repeat(blocks));
    stream.splice(DATA_AT..DATA_AT, more);
}

/// Fails where an image does not hold this kernel: nobody is to get that.
pub(super) fn held_to(image: &[u8], kernel: &[u8], limits: &Limits) -> Result<()> {
    if Packed::find(image, limits).is_ok_and(|packed| packed.kernel == kernel) {
        return Ok(());
    }
    let help = "please report it, with the image";
    Err(refused("payload", "what comes out of the changed image is not what went in", help))
}

fn payload_of(opened: &Opened<'_>) -> Option<Packed> {
    let layer = opened.layers().iter().find(|layer| layer.name == PAYLOAD)?;
    let (codec, kernel) = kernel_of(opened, layer)?;
    let bytes = opened.bytes(layer);
    let size = u32::try_from(len64(kernel)).ok()?.to_le_bytes();
    let end = layer.regions.iter().find(|region| region.name == "stream").map_or(len64(bytes), |stream| stream.at.end);
    let behind = slice_at(bytes, &(end..len64(bytes))).unwrap_or_default();
    Some(Packed {
        at: layer.at.clone(),
        codec,
        scanned: layer.found_by == FoundBy::Scan,
        kernel: kernel.to_vec(),
        parameters: codec.parameters_of(bytes).unwrap_or_default(),
        has_size: behind.ends_with(&size),
    })
}

/// What is in the payload, once it is known.
fn kernel_of<'o>(opened: &'o Opened<'_>, layer: &Layer) -> Option<(Codec, &'o [u8])> {
    match layer.kind {
        Kind::Known(Format::Compressed(codec)) => Some((codec, opened.contents(layer.id)?)),
        Kind::Known(Format::Elf) | Kind::Kernel => Some((Codec::None, opened.bytes(layer))),
        _ => None,
    }
}
