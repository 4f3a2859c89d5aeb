//! ARM zImage.

use super::{Child, Context, Decoded, Described, pe};
use crate::bytes::FieldError;
use crate::finding::Severity;
use crate::format::Format;
use crate::format::zimage::{self, ZImage};
use crate::format::zimage_stub::{PARAMETERS, StubImage};
use crate::inspect::rules;
use crate::inspect::{Fact, Kind};
use crate::layout::{Region, RegionKind};

pub(super) fn describe(bytes: &[u8], context: &Context<'_>) -> Result<Described, FieldError> {
    // What is behind it may be anything; the kernel is still one.
    let image = ZImage::parse_alone(bytes)?;
    let order = if image.is_big_endian() { "big-endian" } else { "little-endian" };
    let mut described = Described::new(Kind::Known(Format::ZImage), format!("ARM zImage, {order}"));
    let facts = &mut described.facts;
    facts.push(Fact::new("arch", "ARM"));
    facts.push(Fact::new("endianness", order).of(zimage::FIELDS));
    facts.push(Fact::hex("start", image.start()).meaning("link address").of(zimage::FIELDS));
    let meaning = format!("link address; {} bytes in all", image.kernel_len());
    facts.push(Fact::hex("end", u64::from(image.start()) + image.kernel_len()).meaning(meaning).of(zimage::FIELDS));
    if let Some(table) = image.table() {
        let meaning = "by the size table: bytes of the decompressed kernel";
        facts.push(Fact::number("kernel_size", table.kernel_size).meaning(meaning).at(table.size_word_at, 4));
        facts.push(Fact::number("kernel_bss_size", table.bss_size).meaning("bytes of memory behind it"));
        facts.push(Fact::number("memory_needed", table.memory()).meaning("bytes for the running kernel"));
    } else {
        facts.push(Fact::new("size_table", false).meaning("none, as before Linux 4.15"));
    }
    let end = image.kernel_len();
    let mut regions = Vec::new();
    let stub = StubImage::find(bytes);
    if let Some(stub) = stub {
        let meaning = "the boot stub that unpacks the kernel";
        facts.push(
            Fact::new("boot_stub", stub.to_string())
                .meaning(meaning)
                .at(PARAMETERS.start, PARAMETERS.end - PARAMETERS.start),
        );
    }
    match image.find_payload(context.left, context.budget) {
        _ if stub.is_some_and(|stub| stub.is_plain()) => {
            let at = stub.map(|stub| stub.payload()).unwrap_or_default();
            regions.push(Region::new("head", 0..at.start, RegionKind::Code));
            regions.push(Region::new("payload", at.clone(), RegionKind::Payload));
            regions.push(Region::new("size", at.end..end, RegionKind::Data));
            described.children.push(Child::range("payload", at).kind(Kind::Kernel));
        }
        Some(found) => {
            regions.push(Region::new("head", 0..found.at.start, RegionKind::Code));
            regions.push(Region::new("payload", found.at.clone(), RegionKind::Payload));
            regions.push(Region::new("decompressor", found.at.end..end, RegionKind::Code));
            let child = Child::range("payload", found.at).kind(Kind::Known(Format::Compressed(found.codec)));
            // By the table it is known where it ends, and how much must come out.
            let child = if image.table().is_some() { child } else { child.scanned() };
            let decoded = Decoded { data: found.data, inflated: found.inflated };
            described.children.push(Child { decoded: Some(decoded), ..child });
        }
        None => {
            regions.push(Region::new("zImage", 0..end, RegionKind::Code));
            let broken = Child::broken(0..image.payload_end(), context.budget).filter(|_| image.table().is_none());
            let message = "no compressed kernel was found in it";
            let help = "the kernel may be compressed with a codec that kimage does not read, or be damaged";
            let finding = rules::ZIMAGE_PAYLOAD.finding(message).with_severity(Severity::Warning).with_help(help);
            match broken {
                Some(child) => described.children.push(child),
                None => described.findings.push(finding.not_checked("the compressed kernel")),
            }
        }
    }
    regions.retain(|region| !region.at.is_empty());
    described.part("decompressor", 0..end);
    described.regions = regions;
    described.behind(bytes, image.behind(), 0);
    // A tree that is damaged; anything else is none of the decompressor's business.
    if let Some(error) = ZImage::parse(bytes).err().filter(|_| image.has_damaged_dtb()) {
        described.findings.push(rules::ZIMAGE_TRAILER.of(error));
    }
    pe::describe_efi(bytes, &mut described);
    Ok(described)
}
