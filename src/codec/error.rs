//! Why data could not be compressed or decompressed.

use super::Codec;
use crate::bytes::{FieldError, FileOffset};
use miette::Diagnostic;
use std::borrow::Cow;
use std::io;

/// The result of a codec.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a codec.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// No codec's magic number begins the data.
    #[error("found {found} at offset 0x0, wanted the magic number of a codec")]
    #[diagnostic(help("kimage reads gzip, bzip2, lzma, xz, lzop, lz4 and zstd streams"))]
    Unknown {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The stream contradicts itself, or a checksum in it is not that of the data.
    #[error("damaged {} stream, near offset {at}: {what}", codec.name())]
    #[diagnostic(help("make or fetch the file again"))]
    Damaged {
        /// The codec.
        codec: Codec,
        /// How far it was read.
        at: FileOffset,
        /// What its decoder says.
        what: Cow<'static, str>,
    },
    /// The input ends before the stream does.
    #[error("truncated {} stream: the input ends at offset {at}, in the middle of it", codec.name())]
    #[diagnostic(help("fetch the whole file again"))]
    Truncated {
        /// The codec.
        codec: Codec,
        /// Where the input ends.
        at: FileOffset,
    },
    /// A field of a container is wrong.
    #[error("{}: {source}", codec.name())]
    #[diagnostic(forward(source))]
    Field {
        /// The codec.
        codec: Codec,
        /// The field, its offset, what was found and wanted.
        source: FieldError,
    },
    /// More data than allowed.
    #[error("the {} stream holds more than the {limit} bytes allowed", codec.name())]
    #[diagnostic(help("if that much is right, raise `request.limit`"))]
    TooBig {
        /// The codec.
        codec: Codec,
        /// The limit in bytes of output.
        limit: u64,
    },
    /// A parameter is outside of the codec's range.
    #[error("{option} {value} for {}: allowed are {allowed}", codec.name())]
    #[diagnostic(help("change {option}, or leave it out for the kernel's value"))]
    Range {
        /// The codec.
        codec: Codec,
        /// The parameter, by its option.
        option: &'static str,
        /// What was asked for.
        value: u64,
        /// The range, in words.
        allowed: &'static str,
    },
    /// The codec has no such parameter.
    #[error("{option} means nothing to {}", codec.name())]
    #[diagnostic(help("leave out {option}; it is for {known_to}"))]
    NotForCodec {
        /// The codec.
        codec: Codec,
        /// The parameter, by its option.
        option: &'static str,
        /// The codecs that know it.
        known_to: &'static str,
    },
    /// The size trailer has 32 bits.
    #[error("{len} bytes do not fit the 32-bit size trailer")]
    #[diagnostic(help("leave out `request.with_size`: a kernel's decompressor takes less than 4 GiB"))]
    Trailer {
        /// Bytes of input.
        len: u64,
    },
    /// The library behind a codec failed to compress.
    #[error("{} cannot compress this: {source}", codec.name())]
    Library {
        /// The codec.
        codec: Codec,
        /// What the library says.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot be written")]
    Write(#[from] io::Error),
}

impl Error {
    /// The failure of a library while it compressed.
    pub(super) fn library(codec: Codec, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Library { codec, source: io::Error::other(source) }
    }
}
