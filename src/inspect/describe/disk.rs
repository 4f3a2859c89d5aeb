//! Disks: the files of their file systems, of which images are layers.

use super::initrd;
use super::within::images;
use super::{Child, Context, Described, PartAt};
use crate::bytes::slice_at;
use crate::format::Format;
use crate::format::disk::Disk;
use crate::format::flat;
use crate::inspect::{Fact, Kind, Row, Value, rules};
use crate::layout::{Region, RegionKind};
use std::borrow::Cow;

pub(super) fn describe(bytes: &[u8], context: &Context<'_>) -> Described {
    let disk = Disk::read(bytes);
    let mut described = Described::new(Kind::Known(Format::Disk), disk.name.clone());
    partitions(&disk, &mut described);
    let rows = disk.files.iter().map(|file| {
        let file = &file.found;
        let pieces = match file.is_whole {
            true => ("pieces", Value::Number(crate::bytes::count64(file.pieces.len()))),
            false => ("pieces", Value::text(b"its clusters end too early")),
        };
        let offset = file.pieces.first().map_or(0, |piece| piece.start);
        let path = ("path", Value::text(file.path.as_bytes()));
        Row(vec![path, ("offset", Value::Hex(offset)), ("size", Value::Number(file.size)), pieces])
    });
    let fact = Fact::new("files", Value::Table(rows.collect()));
    described.facts.push(if disk.are_all { fact } else { fact.meaning("the first of them") });
    if !disk.are_all {
        let finding = rules::LIMIT.finding("not all that is inside was looked at: there are more files");
        described.findings.push(finding.not_checked("layers beyond the limits"));
    }
    described.regions.extend(disk.regions.iter().cloned());
    let mut images = Images::default();
    for file in &disk.files {
        let Some(data) = disk.data(&file.found).filter(|data| !data.is_empty()) else { continue };
        let Some(place) = file.found.pieces.first() else { continue };
        described.regions.push(Region::new(file.found.path.clone(), place.clone(), RegionKind::Data));
        let kind = file.format.map(Kind::Known).or_else(|| is_kernel(data).then_some(Kind::Kernel));
        let Some(kind) = kind else { continue };
        let is_ramdisk = match kind {
            Kind::Known(Format::Cpio) => true,
            Kind::Known(Format::Compressed(codec)) => initrd::is_packed_archive(codec, data),
            _ => false,
        };
        let name = match kind {
            Kind::Known(Format::Fdt) => "dtb",
            _ if is_ramdisk => "initramfs",
            _ => "image",
        };
        let child = Child::range(images.name(name), place.clone()).kind(kind);
        let child = if kind == Kind::Kernel { child.scanned() } else { child };
        // A tree names itself.
        let part = Child { parts: part(name, &file.found.path, data), ..child };
        described.children.push(part);
    }
    for place in &disk.unread {
        let inside = slice_at(bytes, &(place.start..place.end.min(crate::bytes::len64(bytes)))).unwrap_or_default();
        for found in images_in(inside, context) {
            let name = if found.format == Format::Fdt { "dtb" } else { "image" };
            let at = place.start + found.at.start..place.start + found.at.end;
            let child = Child::range(images.name(name), at).kind(Kind::Known(found.format)).scanned();
            described.children.push(if name == "dtb" { child } else { child.part("image") });
        }
    }
    let count = images.count;
    if count > 0 {
        let count = if count == 1 { "an image".to_owned() } else { format!("{count} images") };
        described.title = format!("{}, with {count} in it", described.title);
    }
    described
}

/// Images in a partition that is not read, where somebody asks for them.
fn images_in(bytes: &[u8], context: &Context<'_>) -> Vec<super::Within> {
    if super::within::is_asked_for(context) { images(bytes, context.limits, context.budget) } else { Vec::new() }
}

fn part(name: &'static str, path: &str, data: &[u8]) -> Vec<PartAt> {
    let what = Some(Cow::Owned(format!("the file {path} of the disk")));
    if name == "dtb" { Vec::new() } else { vec![PartAt { name, what, at: 0..crate::bytes::len64(data) }] }
}

/// Could it be a kernel without a header?
fn is_kernel(data: &[u8]) -> bool {
    const LEAST: usize = 64 << 10;
    data.len() >= LEAST && flat::is_kernel(data)
}

/// The names of images, numbered.
#[derive(Default)]
struct Images {
    count: u64,
    trees: u64,
    ramdisks: u64,
    others: u64,
}

impl Images {
    fn name(&mut self, name: &'static str) -> String {
        self.count += 1;
        let counter = match name {
            "dtb" => &mut self.trees,
            "initramfs" => &mut self.ramdisks,
            _ => &mut self.others,
        };
        *counter += 1;
        // One RAM disk has no number.
        if name == "initramfs" && *counter == 1 { name.to_owned() } else { format!("{name}[{}]", *counter - 1) }
    }
}

fn partitions(disk: &Disk<'_>, described: &mut Described) {
    if disk.partitions.is_empty() {
        return;
    }
    let rows = disk.partitions.iter().map(|(entry, what)| {
        let mut row = vec![("type", Value::text(entry.what().as_bytes()))];
        if !entry.name.is_empty() {
            row.push(("name", Value::text(entry.name.as_bytes())));
        }
        let size = entry.at.end.saturating_sub(entry.at.start);
        row.extend([("offset", Value::Hex(entry.at.start)), ("size", Value::Number(size))]);
        row.push(("contents", Value::text(what.as_bytes())));
        Row(row)
    });
    described.facts.push(Fact::new("partitions", Value::Table(rows.collect())));
}
