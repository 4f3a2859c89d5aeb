//! What comes behind an image: a tail, and padding up to what flash or a vendor's boot loader wants.

use super::Assembled;
use crate::bytes::Align;
use crate::error::Result;
use crate::layout::{self, RegionKind, Reserver};

/// What comes behind an image. Checksums of the image do not cover it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Padding<'a> {
    /// A file at the very end, behind the padding.
    pub tail: Option<&'a [u8]>,
    /// The length of the whole is a multiple of this.
    pub align: Option<Align>,
    /// The whole is at least this long.
    pub pad_to: Option<u64>,
    /// The byte of the padding.
    pub fill: u8,
}

/// The same image with a tail and padding.
///
/// # Errors
/// [`layout::Error::DoesNotFit`] when image and tail are longer than what they are to be padded to.
pub fn pad<'a>(mut image: Assembled<'a>, padding: &Padding<'a>) -> Result<Assembled<'a>> {
    let tail = padding.tail.unwrap_or_default();
    let need = image.plan.len().saturating_add(crate::bytes::len64(tail));
    let have = padding.pad_to.unwrap_or(need);
    if need > have {
        return Err(layout::Error::DoesNotFit { what: "the image, in `request.pad_to`,".into(), need, have }.into());
    }
    let whole = padding.align.map_or(Some(have), |align| align.up(have));
    let too_long = || layout::Error::DoesNotFit { what: "the padding".into(), need: u64::MAX, have };
    let start = whole.ok_or_else(too_long)? - (need - image.plan.len());
    let mut regions = image.plan.regions().to_vec();
    let mut out = Reserver::new();
    out.append(&image.plan)?;
    let mut add = |name: &'static str, from: u64, to: u64, kind| {
        if from < to {
            regions.push(layout::Region::new(name, from..to, kind));
        }
    };
    add("padding", out.at(), start, RegionKind::Padding);
    out.fill_to("the image", start, padding.fill)?;
    out.bytes(tail)?;
    add("tail", start, out.at(), RegionKind::Data);
    image.plan = out.finish_with(regions);
    Ok(image)
}
