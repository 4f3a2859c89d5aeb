//! Device trees and FITs.

use crate::bytes::{self, len64};
use crate::codec::Codec;
use crate::finding::{Checks, rules};
use crate::format::Format;
use crate::format::fdt::{self, Behind, Dtb};
use crate::format::fit::{Fit, compression_fits};
use crate::inspect::{Kind, Layer, Opened};
use std::collections::HashMap;

rules! {
    pub(super) RULES:
    TOTAL = "dtb.totalsize", Warning, "bytes behind totalsize",
        "nobody who reads the tree sees them",
        "cut them off, if nobody put them there on purpose";
}

pub(super) fn fit(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    let Ok(fit) = Fit::parse(opened.bytes(layer)) else { return };
    checks.append(fit.dtb().check());
    checks.append(fit.check());
    let kinds: HashMap<&str, Kind> = opened.children(layer.id).map(|child| (child.name.as_str(), child.kind)).collect();
    // Of encrypted data nothing is known before it is decrypted.
    for (index, image) in fit.images().enumerate().filter(|(_, image)| image.plain_size().is_none()) {
        let found = match kinds.get(format!("image[{index}]").as_str()) {
            Some(Kind::Known(Format::Compressed(codec))) => Some(*codec),
            // The limit of layers: what it begins as was not looked at.
            None => continue,
            _ => None,
        };
        let Some(kept) = compression_fits(image.text("compression").unwrap_or(""), found) else { continue };
        let text = found.map_or("data", Codec::name);
        let found_text = format!("{} for {text}, image {}", image.text("compression").unwrap_or(""), image.name());
        checks.expect(&crate::format::fit::rules::COMPRESSION, None, kept, found_text, "what its data begins as");
    }
}

/// What is behind the tree: others, or nothing but padding.
pub(super) fn trailer(bytes: &[u8], dtb: &Dtb<'_>, checks: &mut Checks) {
    let rest = Behind::read(bytes, len64(dtb.bytes())).rest.unwrap_or(0..0);
    checks.expect(&TOTAL, bytes::offset_of(fdt::FIELDS, "totalsize"), rest.is_empty(), rest.end - rest.start, 0);
}
