//! EFI applications that are kernels, hold one, or neither: flat `Image`, zboot, UKI.

use super::{Child, Described, PartAt, kernel, pe};
use crate::arch::Arch;
use crate::bytes::{FieldError, len64, slice};
use crate::format::fdt::Behind;
use crate::format::footprint::Stage;
use crate::format::image64::Image64;
use crate::format::pe::Pe;
use crate::format::uki::{self, Role};
use crate::format::zboot::{self, Zboot};
use crate::format::{Format, pe::PeSection};
use crate::inspect::{Fact, Kind, Row, Value, rules};
use crate::layout::{Region, RegionKind};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) fn describe_image(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = Image64::parse(bytes)?;
    let order = if image.flags & 1 == 1 { "big-endian" } else { "little-endian" };
    let title = format!("{} Image, {order}", image.arch);
    let mut described = Described::new(Kind::Known(Format::Image64(image.arch)), title);
    let facts = &mut described.facts;
    facts.push(Fact::new("arch", image.arch.to_string()));
    facts.push(Fact::new("endianness", order).of(image.fields()));
    let meaning = match (image.arch, image.image_size) {
        (Arch::Arm64, 0) => "before Linux 3.17: 0x80000 whatever stands here",
        (Arch::Arm64, _) => "from a 2 MiB boundary",
        _ => "from the start of memory",
    };
    facts.push(Fact::hex("text_offset", image.text_offset).meaning(meaning).of(image.fields()));
    let meaning = if image.image_size == 0 { "unknown: before Linux 3.17" } else { "bytes of memory, BSS included" };
    facts.push(Fact::number("image_size", image.image_size).meaning(meaning).of(image.fields()));
    facts.push(Fact::hex("flags", image.flags).meaning(flags(&image)).of(image.fields()));
    if let Some(version) = image.version {
        facts.push(Fact::new("header_version", format!("{}.{}", version >> 16, version & 0xffff)).of(image.fields()));
    }
    if let Some(entry) = image.entry {
        facts.push(Fact::hex("kernel_entry", entry).of(image.fields()));
    }
    let (len, behind) = image.extent(bytes);
    let memory = image.footprint(0, len);
    let needed = memory.range(Stage::Running).map_or(0, |at| at.end);
    facts.push(Fact::number("memory_needed", needed).meaning(memory.unknown.unwrap_or_default()));
    described.part("vmlinux", 0..len);
    described.behind(bytes, &behind, 0);
    described.regions = image_regions(bytes, &[], &behind);
    described.later(kernel::INSIDE, |bytes, context, described| {
        let (len, behind) =
            Image64::parse(bytes).map_or((len64(bytes), Behind::default()), |image| image.extent(bytes));
        kernel::look_inside_flat(slice(bytes, 0, len).unwrap_or(bytes), context, described);
        described.regions = image_regions(bytes, &described.children, &behind);
    });
    pe::describe_efi(bytes, &mut described);
    Ok(described)
}

fn image_regions(bytes: &[u8], children: &[Child], behind: &Behind) -> Vec<Region> {
    let mut regions = kernel::child_regions(children);
    regions.extend(behind.regions(0));
    regions.insert(0, Region::new("header", 0..64, RegionKind::Header));
    kernel::fill_gaps(&mut regions, len64(bytes), "kernel", RegionKind::Code);
    regions
}

/// Documentation/arch/arm64/booting.rst, "flags".
fn flags(image: &Image64) -> String {
    if image.arch != Arch::Arm64 {
        return String::new();
    }
    let page = match image.flags >> 1 & 3 {
        0 => "page size not said",
        1 => "4 KiB pages",
        2 => "16 KiB pages",
        _ => "64 KiB pages",
    };
    let place = if image.is_anywhere() { "anywhere in memory" } else { "close to the start of memory" };
    format!("{page}, {place}")
}

pub(super) fn describe_zboot(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = Zboot::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::Zboot), "EFI zboot image");
    let payload = image.payload_range();
    let facts = &mut described.facts;
    let meaning = image.codec().map_or("unknown", crate::codec::Codec::name);
    facts.push(
        Fact::new("compression", Value::text(image.tag())).meaning(meaning).at(zboot::CODEC_AT, len64(image.tag())),
    );
    facts.push(Fact::hex("payload_offset", payload.start).of(zboot::FIELDS));
    facts
        .push(Fact::number("payload_size", image.stream_len()).meaning("without the size behind it").of(zboot::FIELDS));
    let child = Child::range("payload", payload.clone());
    let child = match image.codec() {
        Some(codec) => child.kind(Kind::Known(Format::Compressed(codec))),
        None => child,
    };
    described.children.push(child);
    described.regions = vec![
        Region::new("header", 0..64.min(payload.start), RegionKind::Header),
        Region::new("payload", payload, RegionKind::Payload),
    ];
    described.regions.retain(|region| !region.at.is_empty());
    kernel::fill_gaps(&mut described.regions, len64(bytes), "decompressor", RegionKind::Code);
    described.whole_part("decompressor", bytes);
    pe::describe_efi(bytes, &mut described);
    Ok(described)
}

/// A UKI, or an EFI application of another kind.
pub(super) fn describe_pe(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = Pe::parse(bytes)?;
    let is_uki = image.section(uki::LINUX).is_some();
    let is_addon = uki::is_addon(&image);
    let (format, title) = match (is_uki, is_addon) {
        (true, _) => (Format::Uki, "unified kernel image (UKI)"),
        (false, true) => (Format::Pe, "UKI addon: an EFI application that holds no kernel, but parts for one"),
        (false, false) if image.is_for_windows() => (Format::Pe, "program for Windows (PE)"),
        (false, false) => (Format::Pe, "EFI application"),
    };
    let mut described = Described::new(Kind::Known(format), title);
    described.regions = regions(&image, len64(bytes));
    if is_uki || is_addon {
        uki_sections(&image, &mut described);
    }
    pe::describe_efi(bytes, &mut described);
    Ok(described)
}

/// What a section is as a part, and as a layer where it may be of a format that is known.
fn uki_names(part: &uki::Part<'_>) -> (&'static str, Option<&'static str>) {
    match part.role {
        Role::Linux => ("kernel", Some("kernel")),
        Role::Initrd => ("initramfs", Some("initrd")),
        // The tree itself is the part.
        Role::Dtb => ("", Some("dtb")),
        Role::Ucode | Role::DtbAuto | Role::EfiFirmware => (part.name, Some(part.name)),
        _ => (part.name, None),
    }
}

fn uki_sections(image: &Pe<'_>, described: &mut Described) {
    let mut profiles: Vec<Row> = Vec::new();
    let mut profile = String::new();
    // Where sections share bytes, the work for each would be done again and again: no stub's builder makes such.
    let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
    let mut shared = None;
    for part in uki::sections(image) {
        let section = part.section;
        let Some(contents) = image.contents(section) else {
            let range = section.file_range();
            let name = String::from_utf8_lossy(section.name()).into_owned();
            let message =
                format!("section {name} is at {:#x} to {:#x}, beyond the end of the file", range.start, range.end);
            described.findings.push(rules::DAMAGED.finding(message).at(section.at));
            continue;
        };
        let start = u64::from(section.raw_at);
        let end = start + len64(contents);
        if taken.range(..end).next_back().is_some_and(|(_, end)| *end > start) {
            shared.get_or_insert(section);
            continue;
        }
        if start < end {
            taken.insert(start, end);
        }
        let (name, layer) = uki_names(&part);
        let is_text = matches!(part.role, Role::Cmdline | Role::OsRelease | Role::Uname | Role::Profile);
        let text = contents.split(|byte| *byte == 0).next().filter(|_| is_text);
        let contents = text.unwrap_or(contents);
        let at = start..start + len64(contents);
        if part.role == Role::Profile {
            let field = |name| uki::profile_field(contents, name).map(Value::text);
            let number = u64::try_from(profiles.len()).unwrap_or(0);
            let mut row = vec![("profile", Value::Number(number))];
            row.extend(field("ID").map(|id| ("id", id)));
            row.extend(field("TITLE").map(|title| ("title", title)));
            let id = field("ID").map_or(String::new(), |id| format!(" ({id})"));
            profile = format!("profile {number}{id}");
            profiles.push(Row(row));
        } else if let Some(text) = text {
            described.facts.push(Fact::new(name, Value::text(text.trim_ascii_end())).at(at.start, len64(text)));
        }
        let known = super::what_is(name);
        let what = part.profile.map(|_| Cow::from(format!("{}, of {profile}", known.unwrap_or("a section"))));
        if let Some(Row(row)) = part.profile.and_then(|index| profiles.get_mut(index)) {
            if let (true, Some(text)) = (part.role == Role::Cmdline, text) {
                row.push(("cmdline", Value::text(text.trim_ascii_end())));
            }
        }
        let here = PartAt { name, what, at: 0..len64(contents) };
        match layer {
            Some(layer) => {
                let parts = if name.is_empty() { Vec::new() } else { vec![here] };
                described.children.push(Child { parts, ..Child::range(layer, at) });
            }
            None => described.parts.push(PartAt { at, ..here }),
        }
    }
    if let Some(section) = shared {
        let name = String::from_utf8_lossy(section.name()).into_owned();
        let message = format!("section {name} shares bytes of the file with one before it, and is not looked at");
        described.findings.push(rules::UKI_OVERLAP.finding(message).at(section.at));
    }
    if !profiles.is_empty() {
        described.facts.push(Fact::new("profiles", Value::Table(profiles)).meaning("to choose from at boot"));
    }
}

/// Headers, sections and what lies between and behind them.
fn regions(image: &Pe<'_>, len: u64) -> Vec<Region> {
    let mut found: Vec<&PeSection> = image.sections.iter().filter(|section| section.raw_size > 0).collect();
    found.sort_by_key(|section| section.raw_at);
    let mut regions = vec![Region::new("headers", 0..image.headers_end().min(len), RegionKind::Header)];
    for section in found {
        let range = section.file_range();
        if regions.last().is_none_or(|last| last.at.end <= range.start) && range.end <= len {
            let name = String::from_utf8_lossy(section.name()).into_owned();
            let is_code = section.flags & crate::format::pe::SECTION_EXECUTE != 0;
            regions.push(Region::new(name, range, if is_code { RegionKind::Code } else { RegionKind::Data }));
        }
    }
    if let Some(range) = image.certificate_range().filter(|range| range.end <= len) {
        if regions.last().is_none_or(|last| last.at.end <= range.start) {
            regions.push(Region::new("certificates", range, RegionKind::Digest));
        }
    }
    kernel::fill_gaps(&mut regions, len, "padding", RegionKind::Padding);
    regions
}
