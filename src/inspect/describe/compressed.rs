//! A compressed stream, with the kernel's size trailer behind it or not.

use super::{Child, Content, Context, Described};
use crate::bytes::{Cursor, len64, offset_of, slice};
use crate::codec::{Bcj, Codec, FIELDS, Inflated, Literal, Parameters, TRAILER_LEN};
use crate::format::Format;
use crate::format::fdt::Behind;
use crate::inspect::{Fact, Kind};
use crate::layout::{Region, RegionKind};
use crate::payload::search::size_behind_zeros;

/// Nothing is decompressed yet: what the stream's own header says.
pub(super) fn describe(codec: Codec, bytes: &[u8], context: &Context<'_>) -> Described {
    let mut described = Described::new(Kind::Known(Format::Compressed(codec)), format!("{} stream", codec.name()));
    described.regions = Region::whole(bytes, "stream", RegionKind::Payload);
    described.facts.push(Fact::new("codec", codec.name()));
    stream_header(codec, bytes, &mut described);
    if is_payload(context) {
        described.whole_part("piggy", bytes);
    }
    described.children.push(Child::new("contents", Content::Stream));
    described
}

/// Is the stream of this name inside this a part of its own? The configuration in a kernel and its RAM disk are compressed
/// too, and have parts of their own.
pub(in crate::inspect) fn is_part(name: &str, parent: Option<Kind>) -> bool {
    name == PAYLOAD
        || !matches!(parent, Some(Kind::Kernel | Kind::Known(Format::Elf | Format::Image64(_) | Format::Cpio)))
}

/// What a compressed kernel is to the decompressor around it.
pub(crate) const PAYLOAD: &str = "payload";

/// Does a decompressor of the kernel's own hold it?
fn is_payload(context: &Context<'_>) -> bool {
    context.name == PAYLOAD
}

fn stream_header(codec: Codec, bytes: &[u8], described: &mut Described) {
    let cursor = Cursor::little(bytes);
    let facts = &mut described.facts;
    if codec == Codec::Gzip {
        if let Ok(time) = cursor.u32("MTIME", offset_of(FIELDS, "gzip_time")) {
            let meaning = if time == 0 { "none".to_owned() } else { crate::inspect::utc(time.into()) };
            facts.push(Fact::number("gzip_time", time).meaning(meaning).of(FIELDS));
        }
        if let Ok(extra @ (2 | 4)) = cursor.u8("XFL", offset_of(FIELDS, "gzip_level")) {
            let level = if extra == 2 { "gzip -9 or as slow" } else { "gzip -1 or as fast" };
            facts.push(Fact::number("gzip_level", extra).meaning(level).of(FIELDS));
        }
    }
    // A stream whose headers are damaged is said to be so when it is decompressed.
    let Ok(Parameters { level, dictionary, bcj, literal, .. }) = codec.parameters_of(bytes) else { return };
    let properties = match literal {
        Literal { lc: Some(lc), lp: Some(lp), pb: Some(pb) } => format!("lc={lc} lp={lp} pb={pb}"),
        _ => String::new(),
    };
    match codec {
        Codec::Bzip2 => {
            let block = level.filter(|level| (1..=9).contains(level)).map(|level| {
                Fact::number("block_size", level * 100_000).meaning(format!("bytes: bzip2 -{level}")).of(FIELDS)
            });
            facts.extend(block);
        }
        Codec::Lzma => {
            facts.push(Fact::new("lzma_properties", properties).of(FIELDS));
            facts.extend(dictionary.map(|size| Fact::number("dictionary", size).meaning("bytes").of(FIELDS)));
        }
        Codec::Xz => {
            if let Ok(check) = cursor.u8("stream flags", offset_of(FIELDS, "xz_check")) {
                let name = match check {
                    0 => "none",
                    1 => "CRC32",
                    4 => "CRC64: the kernel's own decompressor cannot check it",
                    10 => "SHA-256: the kernel's own decompressor cannot check it",
                    _ => "unknown",
                };
                facts.push(Fact::number("xz_check", check).meaning(name).of(FIELDS));
            }
            let converter = bcj.unwrap_or(Bcj::None);
            let meaning = if converter == Bcj::None { "no branch converter" } else { "branch converter" };
            facts.push(Fact::new("xz_bcj", converter.name()).meaning(meaning));
            facts.extend(dictionary.map(|size| Fact::number("dictionary", size).meaning("bytes")));
            if !properties.is_empty() {
                facts.push(Fact::new("lzma_properties", properties));
            }
        }
        Codec::Zstd => facts.extend(dictionary.map(|size| Fact::number("window", size).meaning("bytes"))),
        _ => {}
    }
}

/// How many bytes the stream of this name claims to hold: by its own format, or by the word that the kernel's build puts behind
/// a payload; 0 when nothing tells.
pub(in crate::inspect) fn declared_size(codec: Codec, bytes: &[u8], name: &str) -> u64 {
    let word = || {
        let at = len64(bytes).checked_sub(TRAILER_LEN).filter(|_| name == PAYLOAD)?;
        Cursor::little(bytes).u32("size", at).ok().map(u64::from)
    };
    codec.declared_size(bytes).or_else(word).unwrap_or(0)
}

/// How much memory to set aside: what the kernel's trailer says, if that is plausible. Never more than the data could
/// come to, so that a lie costs nothing.
pub(in crate::inspect) fn expected_size(codec: Codec, bytes: &[u8], limit: u64) -> usize {
    let Some(at) = len64(bytes).checked_sub(TRAILER_LEN) else { return 0 };
    let says = u64::from(Cursor::little(bytes).u32("size", at).unwrap_or(0));
    let most = len64(bytes).saturating_mul(if codec == Codec::None { 1 } else { 16 });
    let plausible = says > len64(bytes) / 2 && says <= most && says <= limit;
    if plausible { usize::try_from(says).unwrap_or(0) } else { 0 }
}

/// The stream, the size behind it, and what follows; that is told apart where `behind` says what it is.
pub(in crate::inspect) fn stream_regions(
    inflated: &Inflated,
    rest: &[u8],
    name: &str,
    behind: Option<&Behind>,
) -> Vec<Region> {
    let end = inflated.consumed;
    let mut regions = vec![Region::new("stream", 0..end, RegionKind::Payload)];
    let size_end = size_behind_zeros(rest, inflated.produced).filter(|end| name == PAYLOAD && *end == len64(rest));
    if let Some((size_at, size_end)) =
        size_end.and_then(|size_end| Some((size_end.checked_sub(TRAILER_LEN)?, size_end)))
    {
        regions.push(Region::new("padding", end..end + size_at, RegionKind::Padding));
        regions.push(Region::new("size", end + size_at..end + size_end, RegionKind::Header));
        return regions;
    }
    let from = end + trailer_len(inflated, rest);
    regions.extend((from > end).then(|| Region::new("size", end..from, RegionKind::Header)));
    let at = from..end + len64(rest);
    match behind {
        Some(behind) => regions.extend(behind.regions(0)),
        None if !at.is_empty() => regions.push(Region::new("trailer", at, RegionKind::Data)),
        None => {}
    }
    regions
}

/// Device trees and what else is behind a stream; nothing that belongs to its own container is.
pub(in crate::inspect) fn behind_stream(
    bytes: &[u8],
    inflated: &Inflated,
    name: &str,
    parent: Option<Kind>,
) -> Option<Behind> {
    let rest = slice(bytes, inflated.consumed, len64(bytes) - inflated.consumed).unwrap_or(&[]);
    let size = trailer_len(inflated, rest);
    (is_part(name, parent) && name != PAYLOAD).then(|| Behind::read(bytes, inflated.consumed + size))
}

/// The length of the word behind the stream, if that is the size of what came out of it, modulo 2^32.
fn trailer_len(inflated: &Inflated, rest: &[u8]) -> u64 {
    let produced = inflated.produced.to_le_bytes();
    slice(rest, 0, TRAILER_LEN).filter(|word| produced.starts_with(word)).map_or(0, len64)
}

/// What is known once the stream was decompressed.
pub(in crate::inspect) fn stream_facts(bytes: &[u8], inflated: &Inflated, rest: &[u8], facts: &mut Vec<Fact>) {
    facts.push(Fact::number("compressed_size", inflated.consumed));
    facts.push(Fact::number("decompressed_size", inflated.produced));
    // Tenths of a percent: integers do for that.
    if let Some(share) = inflated.consumed.saturating_mul(1000).checked_div(inflated.produced) {
        facts.push(Fact::new("ratio", format!("{}.{} percent", share / 10, share % 10)));
    }
    if inflated.streams > 1 {
        facts.push(Fact::number("streams", inflated.streams).meaning("one behind the other"));
    }
    let len = trailer_len(inflated, rest);
    if len > 0 {
        let fact = Fact::number("size_trailer", inflated.produced & u64::from(u32::MAX));
        facts.push(fact.meaning("right: as much came out").at(len64(bytes) - len64(rest), len));
    }
}
