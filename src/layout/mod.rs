//! Layer 3: what goes where.
//!
//! A builder reserves sizes with [`Reserver`], which hands out offsets; the finished [`Plan`] is then written in one
//! pass by [`Plan::emit`], each byte once. What a plan promises, a parser finds as [`Region`]s.

mod emit;
mod reserve;

pub use emit::Emitted;
pub(crate) use reserve::Reserver;

use std::borrow::Cow;
use std::ops::Range;

/// What a region is, for pictures and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RegionKind {
    /// Fields that a loader reads.
    Header,
    /// Code and data that runs as it stands.
    Code,
    /// The compressed kernel.
    Payload,
    /// Data of another format: a device tree, a ramdisk.
    Data,
    /// Bytes without meaning.
    Padding,
    /// A checksum.
    Digest,
}

/// A named range of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Region {
    /// Name, unique in its image: `setup`, `payload`, `dtb[2]`.
    pub name: Cow<'static, str>,
    /// What it is.
    pub kind: RegionKind,
    /// File offsets, end exclusive.
    #[serde(flatten, serialize_with = "place")]
    pub at: Range<u64>,
}

/// A range as reports have it: `offset` and `size`.
pub(crate) fn place<S: serde::Serializer>(at: &Range<u64>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map([("offset", at.start), ("size", at.end - at.start)])
}

impl Region {
    /// A region.
    pub(crate) fn new(name: impl Into<Cow<'static, str>>, at: Range<u64>, kind: RegionKind) -> Self {
        Region { name: name.into(), at, kind }
    }

    /// One region for all of `bytes`; none where there are none.
    pub(crate) fn whole(bytes: &[u8], name: &'static str, kind: RegionKind) -> Vec<Region> {
        if bytes.is_empty() { Vec::new() } else { vec![Region::new(name, 0..crate::bytes::len64(bytes), kind)] }
    }
}

/// Where the bytes of a piece come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// These bytes.
    Bytes(Cow<'a, [u8]>),
    /// The same byte over and over.
    Fill(u8),
    /// Little-endian CRC-32 (reflected polynomial 0xedb88320, start 0xffffffff) of everything before it, **without**
    /// the final inversion: what `arch/x86/boot/tools/build.c` wrote up to Linux 6.14.
    Crc32NoXor,
    /// A header with the digest of what it stands before.
    Leading(Leading),
}

/// A header that has the CRC-32 of the pieces behind it, and then its own, both big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leading {
    /// The header with zeros in place of both.
    pub bytes: Vec<u8>,
    /// Bytes behind it that it has the CRC-32 of: whole pieces.
    pub len: u64,
    /// Where in it that CRC-32 goes.
    pub behind_at: usize,
    /// Where in it its own CRC-32 goes, for which these four bytes are zeros.
    pub own_at: usize,
}

impl Leading {
    /// The header before what has this CRC-32.
    fn finished(&self, behind: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let put = |at: usize, crc: u32, bytes: &mut [u8]| {
            if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = crc.to_be_bytes();
            }
        };
        put(self.behind_at, behind, &mut bytes);
        let own = crc32fast::hash(&bytes);
        put(self.own_at, own, &mut bytes);
        bytes
    }
}

/// A run of bytes of the image that comes from one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// File offsets, end exclusive.
    pub at: Range<u64>,
    /// The bytes.
    pub content: Content<'a>,
}

/// A whole image before it is written: pieces without gap or overlap, and the regions they make up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    pieces: Vec<Piece<'a>>,
    regions: Vec<Region>,
}

#[allow(clippy::len_without_is_empty, reason = "an image has bytes")]
impl<'a> Plan<'a> {
    /// Length of the image in bytes.
    pub fn len(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.at.end)
    }

    /// The regions, in file order.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The pieces, in file order.
    pub(crate) fn pieces(&self) -> &[Piece<'a>] {
        &self.pieces
    }

    /// A plan of these bytes alone, as one region.
    pub fn of(name: &'static str, bytes: &'a [u8]) -> Plan<'a> {
        let at = 0..crate::bytes::len64(bytes);
        if at.is_empty() {
            return Plan { pieces: Vec::new(), regions: Vec::new() };
        }
        Plan {
            pieces: vec![Piece { at: at.clone(), content: Content::Bytes(Cow::Borrowed(bytes)) }],
            regions: vec![Region::new(name, at, RegionKind::Data)],
        }
    }

    /// All bytes, as they will be written; a digest reads as zeros.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_at(0..self.len())
    }

    /// The bytes of `range` (cut at the end of the image) as they will be written; a digest reads as zeros.
    pub(crate) fn bytes_at(&self, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        let first = self.pieces.partition_point(|piece| piece.at.end <= range.start);
        for piece in self.pieces.iter().skip(first).take_while(|piece| piece.at.start < range.end) {
            let start = piece.at.start.max(range.start);
            let end = piece.at.end.min(range.end);
            if start >= end {
                continue;
            }
            let len = end - start;
            match &piece.content {
                Content::Bytes(bytes) => {
                    out.extend_from_slice(crate::bytes::slice(bytes, start - piece.at.start, len).unwrap_or(&[]));
                }
                Content::Fill(byte) => out.resize(out.len().saturating_add(usize_or_max(len)), *byte),
                Content::Leading(header) => {
                    let bytes = crate::bytes::slice(&header.bytes, start - piece.at.start, len);
                    out.extend_from_slice(bytes.unwrap_or(&[]));
                }
                Content::Crc32NoXor => out.resize(out.len().saturating_add(usize_or_max(len)), 0),
            }
        }
        out
    }
}

/// The layout could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is larger than the place it must go to.
    #[error("{what} does not fit: it needs {need} bytes, there is room for {have}")]
    DoesNotFit {
        /// What was to be placed.
        what: Cow<'static, str>,
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// The output could not be written.
    #[error("the image could not be written")]
    Write(#[source] std::io::Error),
}

pub(crate) fn usize_or_max(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
