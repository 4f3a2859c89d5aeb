//! Initial RAM disks and the boot images that hold one.

use super::{Child, Described, kernel};
use crate::bytes::{FieldError, len64, slice};
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::cpio::{self, Cpio, archive_len};
use crate::format::fdt::Behind;
use crate::inspect::rules;
use crate::inspect::{Fact, Kind, Row, Value};
use crate::layout::{Region, RegionKind};

/// A cpio archive.
pub(super) fn describe_cpio(bytes: &[u8]) -> Result<Described, FieldError> {
    let archive = Cpio::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::Cpio), "cpio archive (newc)");
    let (mut files, mut folders, mut size) = (0_u64, 0_u64, 0_u64);
    let mut names = Vec::new();
    for entry in archive.entries() {
        match entry {
            Ok(entry) => {
                files += 1;
                folders += u64::from(entry.mode & cpio::TYPE == cpio::FOLDER);
                size += entry.size;
                // Enough to see what it is; `cpio -t` lists all.
                if names.len() < 12 {
                    names.push(Value::text(entry.name));
                }
            }
            Err(error) => described.findings.push(rules::CPIO_DAMAGED.of(error)),
        }
    }
    described.facts.push(Fact::number("entries", files).meaning(format!("{folders} of them folders")));
    described.facts.push(Fact::number("contents_size", size).meaning("bytes in its files"));
    described.facts.push(Fact::new("first_entries", Value::List(names)));
    // What follows it is the business of the chain that it stands in: see `Opened::follow`.
    described.regions.push(Region::new("archive", 0..archive_len(bytes).unwrap_or(len64(bytes)), RegionKind::Data));
    Ok(described)
}

pub(super) fn describe_android(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = BootImage::parse(bytes)?;
    let half = if image.is_vendor { "vendor boot" } else { "boot" };
    let title = format!("Android {half} image, header version {}", image.version);
    let mut described = Described::new(Kind::Known(Format::Android), title);
    let facts = &mut described.facts;
    facts.push(Fact::number("header_version", image.version).of(image.fields()));
    facts.push(Fact::number("page_size", image.page_size).meaning("bytes: each section begins at a multiple of it"));
    let version = image.os_version;
    if version != 0 {
        let (os, patch) = (version >> 11, version & 0x7ff);
        let text = format!("{}.{}.{}", os >> 14, os >> 7 & 0x7f, os & 0x7f);
        let meaning = format!("security patches of {}-{:02}", 2000 + (patch >> 4), patch & 15);
        facts.push(Fact::new("os_version", text).meaning(meaning));
    }
    if !image.name.is_empty() {
        facts.push(Fact::new("name", Value::text(image.name)).of(image.fields()));
    }
    let (at, cmdline) = image.cmdline;
    facts.push(Fact::new("cmdline", Value::text(cmdline)).at(at, len64(cmdline)));
    if !cmdline.is_empty() {
        described.part("cmdline", at..at + len64(cmdline));
    }
    let (at, extra) = image.extra_cmdline;
    let facts = &mut described.facts;
    if !extra.is_empty() {
        facts.push(Fact::new("extra_cmdline", Value::text(extra)).at(at, len64(extra)));
    }
    facts.extend(image.tags_address.map(|address| Fact::hex("tags_addr", address).of(image.fields())));
    facts.extend(image.kernel_address.map(|address| Fact::hex("kernel_addr", address).of(image.fields())));
    if !image.id.is_empty() {
        facts.push(Fact::new("id", Value::Bytes(image.id.to_vec())).of(image.fields()));
    }
    if !image.vendor_ramdisks.is_empty() {
        let rows = image.vendor_ramdisks.iter().map(|ramdisk| {
            let kind = match ramdisk.kind {
                0 => "none",
                1 => "platform",
                2 => "recovery",
                3 => "loadable modules",
                _ => "unknown",
            };
            Row(vec![
                ("name", Value::text(ramdisk.name)),
                ("type", kind.into()),
                ("offset", Value::Hex(ramdisk.at.start)),
                ("size", Value::Number(ramdisk.at.end - ramdisk.at.start)),
            ])
        });
        facts.push(Fact::new("ramdisks", Value::Table(rows.collect())));
    }
    // The vendor's header may take two pages.
    let header_end = image.sections.first().map_or(image.page_size, |first| first.at.start);
    described.regions.push(Region::new("header", 0..header_end.min(len64(bytes)), RegionKind::Header));
    for section in &image.sections {
        let (field, field_at) = section.field;
        let size = section.at.end - section.at.start;
        let fact = Fact::number(field, size);
        let fact = match section.address {
            Some(address) => fact.meaning(format!("bytes, to be loaded at {address:#x}")),
            None => fact,
        };
        described.facts.push(fact.at(field_at, 4));
        described.regions.push(Region::new(section.name, section.at.clone(), RegionKind::Data));
        if section.name == "ramdisk" && !image.vendor_ramdisks.is_empty() {
            let each = image.vendor_ramdisks.iter().filter(|ramdisk| !ramdisk.at.is_empty());
            described.children.extend(each.map(|one| Child::range("ramdisk", one.at.clone()).part("initramfs")));
            continue;
        }
        if section.name == "dtb" {
            // One tree or several; a section that has none is shown for what it is.
            let trees = Behind::read(slice(bytes, 0, section.at.end).unwrap_or(bytes), section.at.start);
            if !trees.trees.is_empty() {
                described.children.extend(super::behind_children(bytes, &trees, 0));
                continue;
            }
        }
        let child = Child::range(section.name, section.at.clone());
        described.children.push(match section.name {
            "kernel" => child.part("kernel"),
            "ramdisk" => child.part("initramfs"),
            name @ ("second" | "recovery_dtbo" | "bootconfig" | "signature" | "dt") => child.part(name),
            _ => child,
        });
    }
    let is_tree = |child: &&Child| child.name.starts_with("dtb");
    let trees = described.children.iter().filter(is_tree).count();
    // The last section goes up to the end of its page, too.
    let end = image.sections.last().map_or(header_end, |last| last.at.end).min(len64(bytes));
    let page_end = end.next_multiple_of(image.page_size).min(len64(bytes));
    let is_filled = slice(bytes, end, page_end - end).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    described.behind(bytes, &Behind::read(bytes, if is_filled { page_end } else { end }), trees);
    kernel::fill_gaps(&mut described.regions, len64(bytes), "padding", RegionKind::Padding);
    Ok(described)
}
