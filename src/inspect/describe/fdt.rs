//! Device tree blobs, and FITs.

use super::{Child, Described};
use crate::bytes::{FieldError, len64, until_zero};
use crate::format::Format;
use crate::format::fdt::{self, Behind, Dtb, NodeRef, PropertyRef};
use crate::format::fit::cipher::CIPHER;
use crate::format::fit::verity::{self, Fault};
use crate::format::fit::{Algorithm, Configuration, Fit, Image, Placement};
use crate::inspect::{Fact, Kind, Row, Value, utc};
use crate::layout::RegionKind;
use std::collections::HashSet;

pub(super) fn describe(bytes: &[u8]) -> Result<Described, FieldError> {
    let dtb = Dtb::parse_at(bytes, 0)?;
    let tree = dtb.tree()?;
    let mut described = Described::new(Kind::Known(Format::Fdt), "device tree blob");
    let facts = &mut described.facts;
    let root = tree.root();
    let text = |name, property: &PropertyRef<'_>| {
        let value = until_zero(property.value);
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
    described.regions = dtb.regions()?;
    // Trees that were written into one file or section: this is the first.
    described.behind(bytes, &Behind::read(bytes, len64(dtb.bytes())), 1);
    Ok(described)
}

fn header_facts(dtb: &Dtb<'_>, described: &mut Described) -> Result<(), FieldError> {
    let facts = &mut described.facts;
    facts.push(Fact::number("totalsize", len64(dtb.bytes())).meaning("bytes").of(fdt::FIELDS));
    facts.push(Fact::number("version", dtb.version()).of(fdt::FIELDS));
    facts.push(Fact::hex("boot_cpuid_phys", dtb.boot_cpu()).of(fdt::FIELDS));
    let reserved = dtb.reservations()?;
    if !reserved.is_empty() {
        let rows = reserved
            .iter()
            .map(|entry| Row(vec![("address", Value::Hex(entry.address)), ("size", Value::Number(entry.size))]));
        facts.push(Fact::new("reserved_memory", Value::Table(rows.collect())));
    }
    Ok(())
}

pub(super) fn describe_fit(bytes: &[u8]) -> Result<Described, FieldError> {
    let fit = Fit::parse(bytes)?;
    let mut described = Described::new(Kind::Known(Format::Fit), "U-Boot FIT (flattened image tree)");
    let facts = &mut described.facts;
    facts.extend(fit.description().map(|text| Fact::new("description", text)));
    facts.extend(fit.timestamp().map(|time| Fact::number("timestamp", time).meaning(utc(time.into()))));
    facts.extend(fit.default().map(|name| Fact::new("default", name).meaning("default configuration")));
    facts.push(Fact::new("images", Value::Table(fit.images().map(image_row).collect())));
    facts.push(Fact::new("configurations", Value::Table(fit.configurations().map(configuration_row).collect())));
    let hashable = fit.hashed_bytes().is_ok();
    facts.push(Fact::new("hashes", Value::Table(fit.images().flat_map(|image| hash_rows(image, hashable)).collect())));
    let signatures = fit.tree().nodes().filter(|node| node.name().starts_with("signature"));
    let signatures: Vec<Row> = signatures.filter(|node| node.property("algo").is_some()).map(signature_row).collect();
    if !signatures.is_empty() {
        facts.push(Fact::new("signatures", Value::Table(signatures)));
    }
    let trees = fit.images().filter_map(|image| verity_row(image, hashable)).collect::<Vec<Row>>();
    if !trees.is_empty() {
        described.facts.push(Fact::new("hash_trees", Value::Table(trees)));
    }
    let ciphers: Vec<Row> = fit.encrypted().map(cipher_row).collect();
    if !ciphers.is_empty() {
        described.facts.push(Fact::new("ciphers", Value::Table(ciphers)));
    }
    header_facts(fit.dtb(), &mut described)?;
    let default = fit.configurations().find(|configuration| Some(configuration.name()) == fit.default());
    let default = default.or_else(|| fit.configurations().next());
    let of = |role| default.as_ref().map(|chosen| chosen.images(role)).unwrap_or_default();
    let (kernels, ramdisks): (HashSet<_>, HashSet<_>) =
        (of("kernel").into_iter().collect(), of("ramdisk").into_iter().collect());
    for (index, image) in fit.images().enumerate() {
        let at = match image.placement() {
            Ok(Some(placement)) => placement.range().clone(),
            Ok(None) => continue,
            Err(error) => {
                described.findings.push(crate::format::fit::rules::DATA.of(error));
                continue;
            }
        };
        let child = Child::range(format!("image[{index}]"), at).part("image");
        // Whatever encrypted data begins as is chance.
        let child = if image.plain_size().is_some() { child.kind(Kind::Data) } else { child };
        described.children.push(match (kernels.contains(image.name()), ramdisks.contains(image.name())) {
            (true, _) => child.part("kernel"),
            (_, true) => child.part("initramfs"),
            _ => child,
        });
    }
    described.regions = fit.regions()?;
    // Behind the tree, and behind external data if there is any.
    if let Some(last) = described.regions.last().filter(|last| last.kind == RegionKind::Padding) {
        let start = last.at.start;
        described.regions.pop();
        described.behind(bytes, &Behind::read(bytes, start), 0);
    }
    Ok(described)
}

fn image_row(image: Image<'_, '_>) -> Row {
    let mut row = vec![("name", image.name().into())];
    for name in ["description", "type", "arch", "os", "compression"] {
        row.extend(image.text(name).map(|text| (name, text.into())));
    }
    for (name, address) in [("load", image.load()), ("entry", image.entry())] {
        row.extend(address.map(|address| (name, Value::Hex(address))));
    }
    if let Ok(Some(placement)) = image.placement() {
        let at = placement.range();
        row.push(("offset", Value::Hex(at.start)));
        row.push(("size", Value::Number(at.end - at.start)));
        row.push(("external", Value::Bool(!matches!(placement, Placement::Embedded(_)))));
    }
    Row(row)
}

fn configuration_row(configuration: Configuration<'_, '_>) -> Row {
    let mut row = vec![("name", configuration.name().into())];
    row.extend(configuration.description().map(|text| ("description", text.into())));
    let texts = |names: Vec<&str>| Value::List(names.into_iter().map(Value::from).collect());
    for role in Configuration::ROLES {
        let names = configuration.images(role);
        if !names.is_empty() {
            row.push((role, texts(names)));
        }
    }
    if !configuration.compatible().is_empty() {
        row.push(("compatible", texts(configuration.compatible())));
    }
    Row(row)
}

/// Each hash, and whether it is that of the data.
fn hash_rows(image: Image<'_, '_>, hashable: bool) -> Vec<Row> {
    let rows = image.hashes().map(|hash| {
        let algorithm = hash.algo.and_then(Algorithm::from_name);
        let check = match (algorithm, hash.value, image.data()) {
            (_, None, _) => "no value",
            (None, _, _) => "not checked: unknown algorithm",
            (_, _, None) => "not checked: the data is not all there",
            _ if !hashable => "not checked: images share their bytes",
            (Some(algorithm), Some(value), Some(data)) if algorithm.hash(data) == value => "right",
            _ => "wrong",
        };
        Row(vec![
            ("image", image.name().into()),
            ("algo", hash.algo.unwrap_or("").into()),
            ("value", Value::Bytes(hash.value.unwrap_or_default().to_vec())),
            ("check", check.into()),
        ])
    });
    rows.collect()
}

/// The hash tree of an image, and whether it is that of the data.
fn verity_row(image: Image<'_, '_>, hashable: bool) -> Option<Row> {
    let node = image.verity()?;
    let mut row = vec![("image", image.name().into())];
    row.extend(node.property("algo").and_then(|it| it.string()).map(|algo| ("algo", algo.into())));
    for (name, property) in [
        ("data_block_size", "data-block-size"),
        ("hash_block_size", "hash-block-size"),
        ("data_blocks", "num-data-blocks"),
        ("hash_start_block", "hash-start-block"),
    ] {
        row.extend(node.property(property).and_then(|it| it.number()).map(|number| (name, Value::Number(number))));
    }
    for name in ["digest", "salt"] {
        row.extend(node.property(name).map(|it| (name, Value::Bytes(it.value.to_vec()))));
    }
    let check = match image.data().filter(|_| hashable) {
        _ if node.property("digest").is_none() => "no digest",
        None => "not checked",
        Some(data) => match verity::check_node(node, data) {
            Ok(()) => "right",
            Err(Fault::Unknown(_)) => "not checked: unknown algorithm",
            Err(Fault::Wrong(_)) => "wrong",
        },
    };
    row.push(("check", check.into()));
    Some(Row(row))
}

fn cipher_row(image: Image<'_, '_>) -> Row {
    let node = image.node().child(CIPHER);
    let text = |name| node.and_then(|node| node.property(name)?.string());
    let iv = text("iv-name-hint").or_else(|| node?.property("iv").map(|_| "in the node"));
    let mut row = vec![("image", image.name().into())];
    for (name, value) in [("algo", text("algo")), ("key", text("key-name-hint")), ("iv", iv)] {
        row.push((name, value.unwrap_or("").into()));
    }
    row.extend(image.plain_size().map(|size| ("decrypted_size", Value::Number(size))));
    Row(row)
}

fn signature_row(node: NodeRef<'_, '_>) -> Row {
    let text = |name| node.property(name).and_then(|property| property.string()).unwrap_or("");
    Row(vec![("node", node.path().into()), ("algo", text("algo").into()), ("key", text("key-name-hint").into())])
}
