//! A compressed stream, with the kernel's size trailer behind it or not.

use super::{Child, Content, Context, Described};
use crate::bytes::{Cursor, len64, slice};
use crate::codec::{Codec, Inflated};
use crate::format::Format;
use crate::inspect::{Fact, Kind, Value};
use crate::layout::{Region, RegionKind};

/// Nothing is decompressed yet: what the stream's own header says.
pub(super) fn describe(codec: Codec, bytes: &[u8], context: &Context<'_>) -> Described {
    let mut described = Described::new(Kind::Known(Format::Compressed(codec)), format!("{} stream", codec.name()));
    described.regions = crate::inspect::opened::whole(bytes, "stream", RegionKind::Payload);
    described.facts.push(Fact::new("codec", codec.name()));
    stream_header(codec, bytes, &mut described);
    if is_payload(context.parent) {
        described.whole_part("piggy", bytes);
    }
    described.children.push(Child::new("contents", Content::Stream));
    described
}

/// Is the stream inside this a part of its own? The configuration in a kernel and its RAM disk are compressed too, and have
/// parts of their own.
pub(in crate::inspect) fn is_part(parent: Option<Kind>) -> bool {
    !matches!(parent, Some(Kind::Kernel | Kind::Known(Format::Elf | Format::Image64(_) | Format::Cpio)))
}

/// Does a decompressor of the kernel's own hold it?
fn is_payload(parent: Option<Kind>) -> bool {
    matches!(parent, Some(Kind::Known(Format::BzImage | Format::ZImage | Format::Zboot)))
}

fn stream_header(codec: Codec, bytes: &[u8], described: &mut Described) {
    let cursor = Cursor::little(bytes);
    let facts = &mut described.facts;
    match codec {
        Codec::Gzip => {
            if let Ok(time) = cursor.u32("MTIME", 4) {
                let meaning = if time == 0 { "none".to_owned() } else { crate::inspect::utc(time.into()) };
                facts.push(Fact::number("gzip_time", time).meaning(meaning).at(4, 4));
            }
            if let Ok(extra @ (2 | 4)) = cursor.u8("XFL", 8) {
                let level = if extra == 2 { "gzip -9 or as slow" } else { "gzip -1 or as fast" };
                facts.push(Fact::number("gzip_level", extra).meaning(level).at(8, 1));
            }
        }
        Codec::Bzip2 => {
            if let Ok(digit @ b'1'..=b'9') = cursor.u8("block size", 3) {
                let size = u64::from(digit - b'0') * 100_000;
                facts.push(Fact::number("block_size", size).meaning(format!("bzip2 -{}", digit - b'0')).at(3, 1));
            }
        }
        Codec::Lzma => {
            if let (Ok(properties), Ok(size)) = (cursor.u8("properties", 0), cursor.u32("dictionary", 1)) {
                let text = format!("lc={} lp={} pb={}", properties % 9, properties / 9 % 5, properties / 45);
                facts.push(Fact::hex("lzma_properties", properties).meaning(text).at(0, 1));
                facts.push(Fact::number("dictionary", size).at(1, 4));
            }
        }
        Codec::Xz => {
            if let Ok(check) = cursor.u8("stream flags", 7) {
                let name = match check {
                    0 => "none",
                    1 => "CRC32",
                    4 => "CRC64: the kernel's own decompressor cannot check it",
                    10 => "SHA-256: the kernel's own decompressor cannot check it",
                    _ => "unknown",
                };
                facts.push(Fact::number("xz_check", check).meaning(name).at(7, 1));
            }
            let filters = xz_filters(&cursor).unwrap_or_default();
            if !filters.is_empty() {
                facts.push(Fact::new("xz_filters", Value::List(filters)));
            }
        }
        Codec::Zstd => {
            if let Some(window) = zstd_window(&cursor) {
                facts.push(Fact::number("window", window));
            }
        }
        _ => {}
    }
}

/// The filters of the first block (xz-file-format.txt 1.2, 3.1).
fn xz_filters(cursor: &Cursor<'_>) -> Option<Vec<Value>> {
    const BLOCK: u64 = 12;
    let size = cursor.u8("block header size", BLOCK).ok().filter(|size| *size != 0)?;
    let end = BLOCK + (u64::from(size) + 1) * 4 - 4;
    let flags = cursor.u8("block flags", BLOCK + 1).ok()?;
    let mut at = BLOCK + 2;
    let number = |at: &mut u64| -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = cursor.u8("multibyte integer", *at).ok().filter(|_| *at < end)?;
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    for bit in [0x40, 0x80] {
        if flags & bit != 0 {
            number(&mut at)?;
        }
    }
    let mut filters = Vec::new();
    for _ in 0..=(flags & 3) {
        let id = number(&mut at)?;
        let len = number(&mut at)?;
        let name = match id {
            0x03 => "delta".to_owned(),
            0x04 => "x86".to_owned(),
            0x05 => "powerpc".to_owned(),
            0x06 => "ia64".to_owned(),
            0x07 => "arm".to_owned(),
            0x08 => "armthumb".to_owned(),
            0x09 => "sparc".to_owned(),
            0x0a => "arm64".to_owned(),
            0x0b => "riscv".to_owned(),
            0x21 => match cursor.u8("dictionary size", at).ok()? {
                // 2 or 3 times a power of two (5.3.1).
                bits @ 0..=39 => format!("lzma2 dict={}KiB", (2 | u64::from(bits & 1)) << (bits / 2 + 11) >> 10),
                _ => "lzma2 dict=4GiB".to_owned(),
            },
            id => format!("filter {id:#x}"),
        };
        at = at.checked_add(len)?;
        filters.push(Value::Text(name));
    }
    Some(filters)
}

/// The window size in bytes (RFC 8878, 3.1.1.1.2).
fn zstd_window(cursor: &Cursor<'_>) -> Option<u64> {
    let descriptor = cursor.u8("frame header descriptor", 4).ok()?;
    if descriptor & 0x20 != 0 {
        return None; // A single segment: the window is the contents.
    }
    let window = cursor.u8("window descriptor", 5).ok()?;
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}

/// How much memory to set aside: what the kernel's trailer says, if that is plausible. Never more than the data could
/// come to, so that a lie costs nothing.
pub(in crate::inspect) fn expected_size(codec: Codec, bytes: &[u8], limit: u64) -> usize {
    let Some(at) = len64(bytes).checked_sub(4) else { return 0 };
    let says = u64::from(Cursor::little(bytes).u32("size", at).unwrap_or(0));
    let most = len64(bytes).saturating_mul(if codec == Codec::None { 1 } else { 16 });
    let plausible = says > len64(bytes) / 2 && says <= most && says <= limit;
    if plausible { usize::try_from(says).unwrap_or(0) } else { 0 }
}

pub(in crate::inspect) fn stream_regions(inflated: &Inflated, rest: &[u8]) -> Vec<Region> {
    let end = inflated.consumed;
    let mut regions = vec![Region::new("stream", 0..end, RegionKind::Payload)];
    if is_trailer(inflated, rest) {
        regions.push(Region::new("size", end..end + 4, RegionKind::Header));
        if rest.len() > 4 {
            regions.push(Region::new("trailer", end + 4..end + len64(rest), RegionKind::Data));
        }
    } else if !rest.is_empty() {
        let kind = if rest.iter().all(|byte| *byte == 0) { RegionKind::Padding } else { RegionKind::Data };
        regions.push(Region::new("trailer", end..end + len64(rest), kind));
    }
    regions
}

/// Is the word behind the stream the size of what came out of it, modulo 2^32?
fn is_trailer(inflated: &Inflated, rest: &[u8]) -> bool {
    let produced = inflated.produced.to_le_bytes();
    slice(rest, 0, 4).is_some_and(|word| produced.starts_with(word))
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
    if is_trailer(inflated, rest) {
        let fact = Fact::number("size_trailer", inflated.produced & u64::from(u32::MAX));
        facts.push(fact.meaning("right: as much came out").at(len64(bytes) - len64(rest), 4));
    }
}
