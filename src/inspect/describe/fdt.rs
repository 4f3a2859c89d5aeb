//! Device tree blobs, and FITs.

use super::{Child, Described};
use crate::bytes::{FieldError, len64, slice};
use crate::format::Format;
use crate::format::fdt::{Dtb, PropertyRef};
use crate::format::fit::{Fit, Hash, ROLES};
use crate::inspect::{Fact, Kind, Row, Value, utc};
use crate::layout::{Region, RegionKind};
use sha2::Digest;

pub(super) fn describe(bytes: &[u8]) -> Result<Described, FieldError> {
    let dtb = Dtb::parse_at(bytes, 0)?;
    let tree = dtb.tree()?;
    let mut described = Described::new(Kind::Known(Format::Fdt), "device tree blob");
    let facts = &mut described.facts;
    let root = tree.root();
    let text = |name, property: &PropertyRef<'_>| {
        let value = property.value.split(|byte| *byte == 0).next().unwrap_or_default();
        Fact::new(name, Value::text(value)).at(property.at.0, len64(property.value))
    };
    facts.extend(root.property("model").map(|model| text("model", model)));
    if let Some(compatible) = root.property("compatible") {
        let names = compatible.strings().unwrap_or_default().into_iter().map(Value::from).collect();
        facts.push(Fact::new("compatible", Value::List(names)).at(compatible.at.0, len64(compatible.value)));
    }
    let bootargs = tree.find("/chosen");
    facts.extend(bootargs.and_then(|node| node.property("bootargs")).map(|value| text("bootargs", value)));
    header_facts(&dtb, &mut described)?;
    let nodes = u64::try_from(tree.nodes().count()).unwrap_or(0);
    described.facts.push(Fact::number("nodes", nodes));
    described.part("dtb", 0..len64(dtb.bytes()));
    described.regions = blocks(&dtb, len64(bytes))?;
    Ok(described)
}

fn header_facts(dtb: &Dtb<'_>, described: &mut Described) -> Result<(), FieldError> {
    let facts = &mut described.facts;
    facts.push(Fact::number("totalsize", len64(dtb.bytes())).meaning("bytes").at(4, 4));
    facts.push(Fact::number("version", dtb.version()).at(20, 4));
    facts.push(Fact::hex("boot_cpuid_phys", dtb.boot_cpu()).at(28, 4));
    let reserved = dtb.reservations()?;
    if !reserved.is_empty() {
        let rows = reserved
            .iter()
            .map(|entry| Row(vec![("address", Value::Hex(entry.address)), ("size", Value::Number(entry.size))]));
        facts.push(Fact::new("reserved_memory", Value::Table(rows.collect())));
    }
    Ok(())
}

/// Header, blocks, and what is behind the tree.
fn blocks(dtb: &Dtb<'_>, len: u64) -> Result<Vec<Region>, FieldError> {
    let mut regions = dtb.regions()?;
    let total = len64(dtb.bytes());
    if total < len {
        regions.push(Region::new("trailer", total..len, RegionKind::Data));
    }
    Ok(regions)
}

pub(super) fn describe_fit(bytes: &[u8]) -> Result<Described, FieldError> {
    let fit = Fit::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::Fit), "U-Boot FIT (flattened image tree)");
    let facts = &mut described.facts;
    facts.push(Fact::new("description", fit.description));
    if let Some(time) = fit.timestamp {
        facts.push(Fact::number("timestamp", time).meaning(utc(time)));
    }
    facts.push(Fact::new("default", fit.default).meaning("default configuration"));
    let rows = fit.images.iter().map(|image| {
        let mut row = vec![("name", image.name.into())];
        for (name, text) in [
            ("description", image.description),
            ("type", image.kind),
            ("arch", image.arch),
            ("os", image.os),
            ("compression", image.compression),
        ] {
            if !text.is_empty() {
                row.push((name, text.into()));
            }
        }
        for (name, address) in [("load", image.load), ("entry", image.entry)] {
            row.extend(address.map(|address| (name, Value::Hex(address))));
        }
        if let Some(at) = &image.data {
            row.push(("offset", Value::Hex(at.start)));
            row.push(("size", Value::Number(at.end - at.start)));
        }
        row.push(("external", Value::Bool(image.is_external)));
        Row(row)
    });
    facts.push(Fact::new("images", Value::Table(rows.collect())));
    let rows = fit.configurations.iter().map(|configuration| {
        let mut row = vec![("name", configuration.name.into())];
        if !configuration.description.is_empty() {
            row.push(("description", configuration.description.into()));
        }
        for (role, names) in &configuration.images {
            if let Some(role) = ROLES.iter().find(|known| known == &role) {
                row.push((role, Value::List(names.iter().map(|name| Value::from(*name)).collect())));
            }
        }
        if !configuration.compatible.is_empty() {
            row.push(("compatible", configuration.compatible.into()));
        }
        let signatures = configuration.signatures.iter().map(|signature| Value::from(signature.algo)).collect();
        if !configuration.signatures.is_empty() {
            row.push(("signatures", Value::List(signatures)));
        }
        Row(row)
    });
    facts.push(Fact::new("configurations", Value::Table(rows.collect())));
    let mut hashes = Vec::new();
    for image in &fit.images {
        let data = image.data.as_ref().and_then(|at| slice(bytes, at.start, at.end - at.start)).unwrap_or(&[]);
        for hash in &image.hashes {
            hashes.push(Row(vec![
                ("image", image.name.into()),
                ("algo", hash.algo.into()),
                ("value", Value::Bytes(hash.value.to_vec())),
                ("check", check(hash, data).into()),
            ]));
        }
        for signature in &image.signatures {
            let key = signature.key.unwrap_or("").into();
            hashes.push(Row(vec![("image", image.name.into()), ("algo", signature.algo.into()), ("key", key)]));
        }
    }
    facts.push(Fact::new("hashes", Value::Table(hashes)));
    header_facts(&fit.dtb, &mut described)?;
    let mut regions = blocks(&fit.dtb, len64(fit.dtb.bytes()))?;
    let mut external: Vec<Region> = Vec::new();
    for (index, image) in fit.images.iter().enumerate() {
        let Some(at) = image.data.clone().filter(|at| !at.is_empty()) else { continue };
        if at.start >= len64(fit.dtb.bytes()) {
            external.push(Region::new(format!("image[{index}]"), at.clone(), RegionKind::Data));
        }
        let child = Child::range(format!("image[{index}]"), at).part("image");
        described.children.push(match fit.default_role(image.name) {
            Some("kernel") => child.part("kernel"),
            Some("ramdisk") => child.part("initramfs"),
            _ => child,
        });
    }
    external.sort_by_key(|region| region.at.start);
    regions.extend(external);
    described.regions = regions;
    Ok(described)
}

/// `right`, `wrong`, or that kimage does not know the algorithm.
fn check(hash: &Hash<'_>, data: &[u8]) -> &'static str {
    let computed = match hash.algo {
        "crc32" => crc32fast::hash(data).to_be_bytes().to_vec(),
        "sha1" => sha1::Sha1::digest(data).to_vec(),
        "sha256" => sha2::Sha256::digest(data).to_vec(),
        "sha384" => sha2::Sha384::digest(data).to_vec(),
        "sha512" => sha2::Sha512::digest(data).to_vec(),
        "md5" => md5::Md5::digest(data).to_vec(),
        _ => return "not checked: unknown algorithm",
    };
    if computed == hash.value { "right" } else { "wrong" }
}
