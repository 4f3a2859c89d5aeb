//! An initial RAM disk is a chain of segments, as the kernel unpacks them: cpio archives and compressed ones, with zeros
//! between.
//!
//! Source: init/initramfs.c (`unpack_to_rootfs`, `flush_buffer`) and lib/decompress.c, Linux 7.2. What is no segment ends
//! the work: what was unpacked before stays, and the kernel says "Initramfs unpacking failed"; one built into the kernel
//! makes it panic.

use super::{Child, Content};
use crate::bytes::{count64, len64, run_of, slice};
use crate::codec::Codec;
use crate::finding::Finding;
use crate::format::Format;
use crate::format::cpio::Cpio;
use crate::inspect::Kind;
use crate::inspect::rules;
use crate::layout::{Region, RegionKind};
use std::ops::Range;

/// The layer of a segment that is not the first.
const FURTHER: &str = "next";
/// What is decompressed to see whether it is an archive.
const PEEK: u64 = 1 << 16;

/// What follows a segment.
#[derive(Debug, Default)]
pub(in crate::inspect) struct Next {
    /// Padding, and all that comes behind it.
    pub(in crate::inspect) regions: Vec<Region>,
    /// The next segment, up to the end of the chain: its own end shows when it was read.
    pub(in crate::inspect) segment: Option<Child>,
    /// What is none.
    pub(in crate::inspect) junk: Option<Range<u64>>,
    /// What is wrong there.
    pub(in crate::inspect) finding: Option<Finding>,
}

/// Is this the name of a segment that is not the first?
pub(in crate::inspect) fn is_further(name: &str) -> bool {
    name.split('[').next() == Some(FURTHER)
}

/// Does the stream begin as a cpio archive?
pub(in crate::inspect) fn is_packed_archive(codec: Codec, bytes: &[u8]) -> bool {
    matches!(codec.scan(bytes, PEEK, 0, |piece| Some(piece.starts_with(b"07070"))), Ok(Some(true)))
}

/// A further segment that decompresses to something else.
pub(in crate::inspect) fn no_archive() -> Finding {
    junk("a segment of the initial RAM disk that is compressed, and no cpio archive inside")
}

/// A segment that the kernel does not unpack.
pub(in crate::inspect) fn newer_lz4() -> Finding {
    junk("a segment in lz4's newer frame format: the kernel reads the legacy one (lz4 -l)")
}

fn junk(message: impl Into<String>) -> Finding {
    rules::INITRAMFS_JUNK.finding(message)
}

/// A chain with zeros in front, over which the kernel passes: what stands behind them. `None` where that is no archive.
pub(in crate::inspect) fn behind_zeros(bytes: &[u8]) -> Option<Next> {
    if bytes.first() != Some(&0) {
        return None;
    }
    let next = next(bytes, 0, false, false);
    let segment = next.segment.as_ref()?;
    let is_archive = match (segment.kind, &segment.content) {
        (Some(Kind::Known(Format::Compressed(codec))), Content::Range(at)) => {
            is_packed_archive(codec, slice(bytes, at.start, at.end.saturating_sub(at.start))?)
        }
        _ => true,
    };
    is_archive.then_some(next)
}

/// What stands in the chain `bytes` from `end` on, where an `archive` that is not compressed ended, or a stream. `inside`:
/// these are the contents of a compressed segment, in which there are archives alone.
pub(in crate::inspect) fn next(bytes: &[u8], end: u64, archive: bool, inside: bool) -> Next {
    let rest = slice(bytes, end, len64(bytes).saturating_sub(end)).unwrap_or_default();
    let start = end + count64(run_of(rest, 0));
    let mut next = Next::default();
    if start > end {
        next.regions.push(Region::new("padding", end..start, RegionKind::Padding));
    }
    let at = start..len64(bytes);
    let rest = slice(bytes, start, at.end - start).unwrap_or_default();
    if rest.is_empty() {
        return next;
    }
    let segment = Child::range(FURTHER, at.clone());
    match Format::detect(rest) {
        Some(Format::Cpio) => {
            if start % 4 != 0 {
                let message =
                    format!("an archive at offset {start:#x} of the initial RAM disk, not at a multiple of 4");
                next.finding = Some(junk(message).at(start));
            }
            next.segment = Some(segment.kind(Kind::Known(Format::Cpio)));
        }
        Some(Format::Compressed(codec)) if !inside => {
            // The zeros behind an archive are that archive's padding (`do_reset`: "broken padding").
            if archive && start % 4 != 0 {
                let message = format!("a stream at offset {start:#x}, behind an archive, not at a multiple of 4");
                next.finding = Some(junk(message).at(start));
            }
            if codec == Codec::Lz4Frame {
                next.finding = Some(newer_lz4().at(start));
            }
            next.segment = Some(segment.kind(Kind::Known(Format::Compressed(codec))));
        }
        // A header that is cut off or damaged shows as that.
        _ if rest.starts_with(b"07070") && Cpio::parse(rest).is_err() => {
            next.segment = Some(segment.kind(Kind::Known(Format::Cpio)));
        }
        _ => {
            let message = format!("{} bytes behind the last archive that are none", len64(rest));
            next.finding = Some(junk(message).at(start));
            next.junk = Some(at.clone());
        }
    }
    let name = if next.junk.is_some() { "trailer" } else { FURTHER };
    next.regions.push(Region::new(name, at, RegionKind::Data));
    next
}
