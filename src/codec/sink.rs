//! Where decoders put what they find, counted and cut off at the limit; where encoders write.

use super::{Codec, Error, Result};
use crate::bytes::{FieldError, FileOffset, len64};
use std::io::{self, ErrorKind, Read, Write};

/// Bytes that a streaming decoder hands on at once; it bounds a decoder's memory beside its window.
const PIECE: usize = 64 << 10;

/// The output of a decoder.
pub(super) struct Sink<'w> {
    out: &'w mut dyn Write,
    codec: Codec,
    limit: u64,
    produced: u64,
    /// Where the current stream begins in the input, for errors.
    base: u64,
    /// How much had come out when it began, and how much came out of the one before it.
    started: u64,
    before: u64,
    /// For many small frames of zstd.
    pub(super) decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl<'w> Sink<'w> {
    /// The most that comes out of a small stream, in bytes.
    pub(super) const SMALL: u64 = 64 << 10;

    pub(super) fn new(codec: Codec, limit: u64, out: &'w mut dyn Write) -> Self {
        Sink { out, codec, limit, produced: 0, base: 0, started: 0, before: u64::MAX, decompressor: None }
    }

    /// Says where in the input the next stream begins.
    pub(super) fn begin(&mut self, base: u64) {
        self.before = if base > self.base { self.produced - self.started } else { u64::MAX };
        (self.base, self.started) = (base, self.produced);
    }

    /// Does the current stream follow one out of which little came?
    pub(super) fn is_behind_small(&self) -> bool {
        self.before <= Self::SMALL
    }

    /// Bytes put so far.
    pub(super) fn produced(&self) -> u64 {
        self.produced
    }

    /// Bytes that may still come.
    pub(super) fn left(&self) -> u64 {
        self.limit - self.produced
    }

    /// Takes decoded bytes; of those beyond the limit none.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let room = usize::try_from(self.left()).unwrap_or(usize::MAX);
        let fits = bytes.get(..room).unwrap_or(bytes);
        self.out.write_all(fits)?;
        self.produced += len64(fits);
        if fits.len() < bytes.len() { Err(self.too_big()) } else { Ok(()) }
    }

    /// Takes all that `decoder` reads; `consumed` tells how many bytes of the stream it has used, as does the result.
    ///
    /// A decoder that was told to read may allocate no more than one piece ahead: what a stream claims to hold is
    /// never believed.
    pub(super) fn take<R: Read>(&mut self, decoder: &mut R, consumed: impl Fn(&R) -> u64) -> Result<u64> {
        let mut piece = vec![0; PIECE];
        loop {
            let (filled, failure) = fill(decoder, &mut piece);
            self.put(piece.get(..filled).unwrap_or_default())?;
            match failure {
                None if filled == 0 => return Ok(consumed(decoder)),
                None => {}
                Some(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(self.truncated(consumed(decoder)));
                }
                Some(error) => return Err(self.damaged(consumed(decoder), error.to_string())),
            }
        }
    }

    pub(super) fn too_big(&self) -> Error {
        Error::TooBig { codec: self.codec, limit: self.limit }
    }

    /// `at`: bytes from the beginning of the stream.
    pub(super) fn truncated(&self, at: u64) -> Error {
        Error::Truncated { codec: self.codec, at: FileOffset(self.base + at) }
    }

    pub(super) fn damaged(&self, at: u64, what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::Damaged { codec: self.codec, at: FileOffset(self.base + at), what: what.into() }
    }

    /// A field of the container, with its offset from the beginning of the stream.
    pub(super) fn field(&self, mut source: FieldError) -> Error {
        source.at.0 += self.base;
        if let crate::bytes::Problem::Truncated { have, .. } = source.problem {
            return self.truncated(have);
        }
        Error::Field { codec: self.codec, source }
    }
}

/// Fills `piece` as far as there is something: what came before a failure still counts.
fn fill(decoder: &mut impl Read, piece: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = piece.get_mut(filled..) {
        match decoder.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

/// Captures the failure of a writer, apart from those of the encoder in front of it.
pub(super) struct ErrorCapture<'w> {
    out: &'w mut dyn Write,
    failure: Option<io::Error>,
}

impl<'w> ErrorCapture<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        ErrorCapture { out, failure: None }
    }

    /// The writer's failure, or else the result of the encoder of `codec`.
    pub(super) fn result(self, codec: Codec, done: io::Result<()>) -> Result<()> {
        match self.failure {
            Some(error) => Err(error.into()),
            None => done.map_err(|error| Error::library(codec, error)),
        }
    }
}

impl Write for ErrorCapture<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            // What is tried again has not failed.
            if kind != ErrorKind::Interrupted {
                self.failure = Some(error);
            }
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
