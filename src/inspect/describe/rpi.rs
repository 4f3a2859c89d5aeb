//! Raspberry Pi kernel.img with boot code in front.

use super::{Child, Described};
use crate::bytes::{FieldError, slice_at};
use crate::format::Format;
use crate::format::rpi::{KernelImg, TAGS_AT};
use crate::inspect::{Fact, Kind, Value};
use crate::layout::{Region, RegionKind};

pub(super) fn describe(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = KernelImg::parse(bytes)?;
    let title = "Raspberry Pi kernel.img, 32 KiB of boot code in front of the kernel";
    let mut described = Described::new(Kind::Known(Format::KernelImg), title);
    described.facts.push(Fact::new("arch", "ARM"));
    if let Some((start, size)) = image.memory {
        let meaning = format!("bytes of memory at {start:#x}, by ATAG_MEM");
        described.facts.push(Fact::number("atag_memory", size).meaning(meaning));
    }
    if let Some(at) = image.cmdline.filter(|at| !at.is_empty()) {
        let text = slice_at(bytes, &at).unwrap_or(&[]);
        described.facts.push(Fact::new("cmdline", Value::text(text)).at(at.start, at.end - at.start));
        described.part("cmdline", at);
    }
    described.regions = vec![
        Region::new("boot code", 0..TAGS_AT, RegionKind::Code),
        Region::new("ATAGs", image.tags.clone(), RegionKind::Header),
        Region::new("padding", image.tags.end..image.kernel.start, RegionKind::Padding),
        Region::new("kernel", image.kernel.clone(), RegionKind::Data),
    ];
    described.regions.retain(|region| !region.at.is_empty());
    described.children.push(Child::range("kernel", image.kernel).part("kernel"));
    Ok(described)
}
