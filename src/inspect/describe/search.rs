//! Compressed kernels that no header leads to: what begins as a codec's streams do is a candidate, decoding is the judge.

use super::Decoded;
use crate::bytes::{len64, slice};
use crate::codec::Codec;
use crate::elf::release_in;
use std::ops::Range;

/// A compressed kernel.
#[derive(Debug)]
pub(super) struct Found {
    /// The stream, and what the judge takes for a part of the payload behind it.
    pub(super) at: Range<u64>,
    pub(super) codec: Codec,
    pub(super) decoded: Decoded,
}

/// Codecs whose streams have pieces of the text as it is, a kernel's banner among them.
pub(super) const VERBATIM: &[Codec] = &[Codec::Zstd, Codec::Lz4Legacy, Codec::Lz4Frame, Codec::Lzo, Codec::Gzip];

/// The first stream of one of `codecs` that begins in front of `before`, decodes, and is what is searched by `judge`. That
/// sees the codec, where the stream stands and what it came to, and says where the payload ends.
pub(super) fn find_stream(
    bytes: &[u8],
    before: u64,
    codecs: &[Codec],
    limit: u64,
    judge: impl Fn(Codec, &Range<u64>, &[u8]) -> Option<u64>,
) -> Option<Found> {
    // A magic number that begins in front of it ends behind.
    let starts = slice(bytes, 0, before.saturating_add(16).min(len64(bytes)))?;
    // Every candidate of the codec whose magic number is the longest first: the fewer there are by chance.
    let mut codecs: Vec<Codec> = codecs.to_vec();
    codecs.sort_by_key(|codec| std::cmp::Reverse(codec.magic().len()));
    codecs.into_iter().find_map(|codec| {
        codec.candidates(starts).find_map(|offset| {
            let rest = bytes.get(offset..)?;
            let mut data = Vec::new();
            let inflated = codec.decompress_one(rest, limit, &mut data).ok()?;
            let start = u64::try_from(offset).ok()?;
            let stream = start..start + inflated.consumed;
            let end = judge(codec, &stream, &data)?;
            Some(Found { at: start..end, codec, decoded: Decoded { data, inflated } })
        })
    })
}

/// Where the size ends that the kernel's build puts behind the stream `at`, unless the codec is gzip, whose own end it is.
pub(super) fn size_behind(bytes: &[u8], codec: Codec, at: &Range<u64>, data: &[u8]) -> Option<u64> {
    let size = u32::try_from(data.len()).ok().filter(|_| codec != Codec::Gzip)?;
    (slice(bytes, at.end, 4) == Some(&size.to_le_bytes())).then_some(at.end + 4)
}

/// A judge: the stream is a kernel.
pub(super) fn kernel_end(bytes: &[u8], codec: Codec, at: &Range<u64>, data: &[u8]) -> Option<u64> {
    release_in(data)?;
    Some(size_behind(bytes, codec, at, data).unwrap_or(at.end))
}
