//! Hands out ranges. The only code that adds up offsets.

use super::{Content, Error, Leading, Piece, Plan, Region, RegionKind};
use crate::bytes::{Align, len64};
use std::borrow::Cow;

/// Collects the pieces of an image in file order and knows where the next one begins.
#[derive(Debug, Default)]
pub(crate) struct Reserver<'a> {
    pieces: Vec<Piece<'a>>,
    regions: Vec<Region>,
    at: u64,
}

impl<'a> Reserver<'a> {
    /// An empty image.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The offset at which the next piece will begin.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Adds `bytes`.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when the image grows past 2^64 bytes.
    pub(crate) fn bytes(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Result<(), Error> {
        let bytes = bytes.into();
        self.push(len64(&bytes), Content::Bytes(bytes))
    }

    /// Adds `len` times the byte `fill`.
    ///
    /// # Errors
    /// As [`Reserver::bytes`].
    pub(crate) fn fill(&mut self, len: u64, fill: u8) -> Result<(), Error> {
        self.push(len, Content::Fill(fill))
    }

    /// Fills up to the absolute offset `end`.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when the image, here called `what`, is already longer.
    pub(crate) fn fill_to(&mut self, what: &'static str, end: u64, fill: u8) -> Result<(), Error> {
        match end.checked_sub(self.at) {
            Some(len) => self.fill(len, fill),
            None => Err(Error::DoesNotFit { what: what.into(), need: self.at, have: end }),
        }
    }

    /// Fills with zeros up to the next multiple of `align`.
    ///
    /// # Errors
    /// As [`Reserver::bytes`].
    pub(crate) fn align(&mut self, align: Align) -> Result<(), Error> {
        let end = align.up(self.at).ok_or_else(|| too_long(self.at, align.bytes()))?;
        self.fill(end - self.at, 0)
    }

    /// Adds the little-endian CRC-32 of everything so far, without final inversion.
    ///
    /// # Errors
    /// As [`Reserver::bytes`].
    pub(crate) fn crc32_no_xor(&mut self) -> Result<(), Error> {
        self.push(4, Content::Crc32NoXor)
    }

    /// Adds a header with digests, which must be the first piece.
    ///
    /// # Errors
    /// As [`Reserver::bytes`].
    pub(crate) fn leading(&mut self, header: Leading) -> Result<(), Error> {
        self.push(len64(&header.bytes), Content::Leading(header))
    }

    /// Adds every piece of another plan.
    ///
    /// # Errors
    /// As [`Reserver::bytes`].
    pub(crate) fn append(&mut self, plan: &Plan<'a>) -> Result<(), Error> {
        for piece in &plan.pieces {
            self.push(piece.at.end - piece.at.start, piece.content.clone())?;
        }
        Ok(())
    }

    /// Names the regions of a plan that was appended at the offset `start`.
    pub(crate) fn regions_of(&mut self, plan: &Plan<'_>, start: u64) {
        let moved = |region: &Region| Region { at: region.at.start + start..region.at.end + start, ..region.clone() };
        self.regions.extend(plan.regions.iter().map(moved));
    }

    /// Names what was added since the offset `start`; an empty range gets no name.
    pub(crate) fn region(&mut self, name: impl Into<Cow<'static, str>>, start: u64, kind: RegionKind) {
        if start < self.at {
            self.regions.push(Region::new(name, start..self.at, kind));
        }
    }

    /// The finished plan; `regions` were added in file order.
    pub(crate) fn finish(self) -> Plan<'a> {
        Plan { pieces: self.pieces, regions: self.regions }
    }

    /// The finished plan, with the regions that a format's own rules cut it into.
    pub(crate) fn finish_with(self, regions: Vec<Region>) -> Plan<'a> {
        Plan { pieces: self.pieces, regions }
    }

    fn push(&mut self, len: u64, content: Content<'a>) -> Result<(), Error> {
        if len == 0 {
            return Ok(());
        }
        let end = self.at.checked_add(len).ok_or_else(|| too_long(self.at, len))?;
        self.pieces.push(Piece { at: self.at..end, content });
        self.at = end;
        Ok(())
    }
}

fn too_long(at: u64, len: u64) -> Error {
    Error::DoesNotFit { what: "the image".into(), need: len, have: u64::MAX - at }
}
