//! Vendors' containers: tables of device trees, and headers in front of a kernel.

use super::{Child, Described, kernel};
use crate::bytes::{FieldError, count64, len64, slice, slice_at, until_zero};
use crate::format::Format;
use crate::format::bzimage::Setup;
use crate::format::cros::KernelPartition;
use crate::format::dt_table::{self, DtTable, Vendor};
use crate::format::fdt::Behind;
use crate::format::mtk::{self, MtkImage};
use crate::format::tplink::{self, TpLink};
use crate::format::trx::{self, Trx};
use crate::inspect::{Fact, Kind, Row, Value};
use crate::layout::{Region, RegionKind};

pub(super) fn dt_table(bytes: &[u8]) -> Result<Described, FieldError> {
    let table = DtTable::parse(bytes)?;
    let trees = table.trees()?;
    let title = format!("{} version {}, a table of device trees", table.vendor.magic(), table.version);
    let mut described = Described::new(Kind::Known(Format::DtTable), title);
    let fields = if table.vendor == Vendor::Android { dt_table::ANDROID_FIELDS } else { dt_table::FIELDS };
    described.facts.push(Fact::number("entries", count64(table.entries.len())).of(fields));
    let rows = table.entries.iter().map(|entry| {
        let ids = entry.ids.iter().map(|(name, value)| (*name, Value::Hex((*value).into())));
        let size = Value::Number(entry.at.end - entry.at.start);
        Row(ids.chain([("offset", Value::Hex(entry.at.start)), ("size", size)]).collect())
    });
    described.facts.push(Fact::new("boards", Value::Table(rows.collect())));
    described.regions.push(Region::new("header", 0..table.header_end, RegionKind::Header));
    let mut first = 0;
    for at in &trees {
        // A tree is padded to a page; whatever else stands there is shown for what it is.
        let found = Behind::read(slice(bytes, 0, at.end).unwrap_or(bytes), at.start);
        described.behind(bytes, &found, first);
        first += found.trees.len();
    }
    let last = trees.last().map_or(table.header_end, |at| at.end);
    described.behind(bytes, &Behind::read(bytes, last), first);
    kernel::fill_gaps(&mut described.regions, len64(bytes), "padding", RegionKind::Padding);
    Ok(described)
}

pub(super) fn mtk(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = MtkImage::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::Mtk), "MediaTek header");
    described.facts.push(Fact::new("name", Value::text(image.name)).of(mtk::FIELDS));
    described.facts.push(Fact::number("size", image.contents.end - image.contents.start).of(mtk::FIELDS));
    described.regions.push(Region::new("header", 0..image.contents.start, RegionKind::Header));
    let (name, part) = if image.is_ramdisk() {
        ("ramdisk", "initramfs")
    } else if image.name == b"KERNEL" {
        ("kernel", "kernel")
    } else {
        ("contents", "image")
    };
    described.regions.push(Region::new(name, image.contents.clone(), RegionKind::Data));
    described.children.push(Child::range(name, image.contents.clone()).part(part));
    described.behind(bytes, &Behind::read(bytes, image.contents.end), 0);
    Ok(described)
}

pub(super) fn trx(bytes: &[u8]) -> Result<Described, FieldError> {
    let trx = Trx::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::Trx), "Broadcom TRX firmware");
    described.facts.push(Fact::number("header_version", trx.version).of(trx::FIELDS));
    let meaning = if trx.crc32 == trx.computed { "the CRC-32 of these bytes" } else { "not the CRC-32 of these bytes" };
    described.facts.push(Fact::hex("crc32", trx.crc32).of(trx::FIELDS).meaning(meaning));
    described.regions.push(Region::new("header", 0..trx.header_len, RegionKind::Header));
    for (index, at) in trx.partitions.iter().enumerate() {
        let name = format!("partition[{index}]");
        described.regions.push(Region::new(name.clone(), at.clone(), RegionKind::Data));
        described.children.push(Child::range(name, at.clone()).part("image"));
    }
    described.behind(bytes, &Behind::read(bytes, trx.end), 0);
    kernel::fill_gaps(&mut described.regions, len64(bytes), "padding", RegionKind::Padding);
    Ok(described)
}

pub(super) fn tplink(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = TpLink::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::TpLink), "TP-Link firmware, header version 1");
    let facts = &mut described.facts;
    facts.push(Fact::new("vendor", Value::text(image.vendor)).of(tplink::FIELDS));
    facts.push(Fact::new("fw_version", Value::text(image.version)).of(tplink::FIELDS));
    facts.push(Fact::hex("hw_id", image.hardware.0).of(tplink::FIELDS));
    facts.push(Fact::hex("hw_rev", image.hardware.1).of(tplink::FIELDS));
    facts.push(Fact::hex("kernel_load", image.load).of(tplink::FIELDS));
    facts.push(Fact::hex("kernel_entry", image.entry).of(tplink::FIELDS));
    facts.push(Fact::new("md5sum", Value::Bytes(image.md5.to_vec())).of(tplink::FIELDS));
    described.regions.push(Region::new("header", 0..image.kernel.start, RegionKind::Header));
    described.regions.push(Region::new("kernel", image.kernel.clone(), RegionKind::Data));
    described.children.push(Child::range("kernel", image.kernel.clone()).part("kernel"));
    described.behind(bytes, &Behind::read(bytes, image.kernel.end), 0);
    Ok(described)
}

pub(super) fn cros(bytes: &[u8]) -> Result<Described, FieldError> {
    let image = KernelPartition::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::ChromeOs), "Chrome OS kernel partition");
    let preamble = image.preamble.start;
    described.facts.push(Fact::number("kernel_version", image.version).at(preamble + 40, 8));
    described.facts.push(Fact::hex("body_load_address", image.load).at(preamble + 48, 8));
    described.facts.push(Fact::new("signatures", "not checked").meaning("of the key block, the preamble and the body"));
    let raw = slice_at(bytes, &image.cmdline).unwrap_or(&[]);
    let text = until_zero(raw);
    let cmdline = image.cmdline.start..image.cmdline.start + len64(text);
    described.facts.push(Fact::new("cmdline", Value::text(text)).at(cmdline.start, len64(text)));
    described.regions = vec![
        Region::new("key block", image.keyblock.clone(), RegionKind::Header),
        Region::new("preamble", image.preamble.clone(), RegionKind::Header),
        Region::new("kernel", image.kernel.clone(), RegionKind::Data),
        Region::new("cmdline", image.cmdline.clone(), RegionKind::Data),
        Region::new("boot loader stub", image.bootloader.clone(), RegionKind::Code),
    ];
    described.part("cmdline", cmdline);
    let setup = image.setup.as_ref().and_then(|at| Some((at, slice_at(bytes, at)?)));
    // What stands behind the setup of a bzImage counts from its own first byte.
    let payload = setup.and_then(|(_, setup)| Setup::parse(setup).ok()?.payload_within(image.kernel.clone()));
    if let Some((at, _)) = setup {
        described.regions.push(Region::new("setup", at.clone(), RegionKind::Code));
        described.part("setup", at.clone());
    }
    match payload {
        Some(at) => {
            described.part("decompressor", image.kernel.clone());
            described.children.push(Child::range(super::PAYLOAD, at).part("payload"));
        }
        None => described.children.push(Child::range("kernel", image.kernel.clone()).part("kernel")),
    }
    described.regions.retain(|region| !region.at.is_empty());
    described.behind(bytes, &Behind::read(bytes, image.end), 0);
    described.regions.sort_by_key(|region| region.at.start);
    kernel::fill_gaps(&mut described.regions, len64(bytes), "padding", RegionKind::Padding);
    Ok(described)
}
