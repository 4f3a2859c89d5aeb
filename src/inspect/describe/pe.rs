//! The EFI side of an image: facts that bzImage, Image, zboot and UKI share.

use super::Described;
use crate::bytes::len64;
use crate::format::pe::authenticode::Signature;
use crate::format::pe::{NX_COMPAT, Pe, machine_name};
use crate::inspect::rules;
use crate::inspect::{Fact, Row, Value};
use crate::sign::Algorithm;

/// Adds what the PE header of `bytes` says. An image without one adds nothing; one that is damaged, a finding.
pub(super) fn describe_efi<'a>(bytes: &'a [u8], described: &mut Described) -> Option<Pe<'a>> {
    if !Pe::detect(bytes) {
        return None;
    }
    let pe = match Pe::parse(bytes) {
        Ok(pe) => pe,
        Err(error) => {
            described.findings.push(rules::PE_DAMAGED.of(error));
            return None;
        }
    };
    let facts = &mut described.facts;
    let at = |fact: Fact, field: &str, width| fact.at(pe.place(field), width);
    let hex = |name, field| at(Fact::hex(name, pe.value(field)), field, 4);
    let number = |name, field| at(Fact::number(name, pe.value(field)), field, 4);
    let machine = pe.value("Machine");
    facts.push(at(Fact::hex("efi_machine", machine).meaning(machine_name(machine)), "Machine", 2));
    facts.push(hex("efi_entry", "AddressOfEntryPoint").meaning("from the start of the loaded image"));
    let (base_at, base_width) = pe.image_base_place();
    facts.push(Fact::hex("efi_image_base", pe.image_base).at(base_at, base_width));
    facts.push(hex("efi_section_alignment", "SectionAlignment"));
    facts.push(hex("efi_file_alignment", "FileAlignment"));
    let version = format!("{}.{}", pe.value("MajorImageVersion"), pe.value("MinorImageVersion"));
    facts.push(at(Fact::new("efi_image_version", version), "MajorImageVersion", 4));
    facts.push(number("efi_size_of_image", "SizeOfImage").meaning("bytes of memory"));
    facts.push(number("efi_size_of_headers", "SizeOfHeaders"));
    facts.push(hex("efi_checksum", "CheckSum"));
    let subsystem = pe.value("Subsystem");
    let meaning = match subsystem {
        10 => "EFI application",
        11 => "EFI boot service driver",
        12 => "EFI runtime driver",
        _ => "not one of EFI",
    };
    facts.push(at(Fact::number("efi_subsystem", subsystem).meaning(meaning), "Subsystem", 2));
    let nx = pe.value("DllCharacteristics") & u64::from(NX_COMPAT) != 0;
    let meaning = if nx { "its memory may be write-xor-execute" } else { "firmware must leave its memory executable" };
    facts.push(at(Fact::new("efi_nx_compat", nx).meaning(meaning), "DllCharacteristics", 2));
    let rows = pe.sections.iter().map(|section| {
        Row(vec![
            ("name", Value::text(section.name())),
            ("offset", Value::Hex(section.raw_at.into())),
            ("size", Value::Number(section.raw_size.into())),
            ("address", Value::Hex(section.virtual_address.into())),
            ("memory_size", Value::Number(section.virtual_size.into())),
            ("permissions", Value::Text(section.permissions())),
        ])
    });
    facts.push(Fact::new("efi_sections", Value::Table(rows.collect())));
    let gaps = gaps(&pe);
    if !gaps.is_empty() {
        facts.push(Fact::new("efi_gaps", Value::Table(gaps)).meaning("bytes of the file between sections"));
    }
    if let Some(section) = pe.section(b".sbat") {
        if let Some(text) = pe.sbat() {
            let start = u64::from(section.raw_at);
            facts.push(Fact::new("sbat", Value::text(text)).at(start, len64(text)));
            described.part("sbat", start..start + len64(text));
        }
    }
    described.later(&["authenticode_sha256"], |bytes, _, described| {
        let Ok(pe) = Pe::parse(bytes) else { return };
        if let Ok(digest) = pe.digest(Algorithm::Sha256) {
            let meaning = match pe.padding() {
                0 => "what a Secure Boot signature signs".to_owned(),
                zeros => format!("what a Secure Boot signature signs, behind {zeros} zeros that signing appends"),
            };
            let fact = Fact::new("authenticode_sha256", Value::Bytes(digest));
            described.facts.push(fact.meaning(meaning));
        }
    });
    let facts = &mut described.facts;
    let certificates = pe.certificates();
    let count = u64::try_from(certificates.len()).unwrap_or(0);
    let meaning = if count == 0 { "not signed" } else { "" };
    facts.push(Fact::number("signatures", count).meaning(meaning));
    if count > 0 {
        let rows = certificates.iter().map(|certificate| {
            let kind = match certificate.kind {
                1 => "X.509",
                2 => "PKCS #7",
                _ => "unknown",
            };
            let mut row = vec![
                ("offset", Value::Hex(certificate.at)),
                ("size", Value::Number(len64(certificate.data))),
                ("type", kind.into()),
            ];
            if let Some(signature) = Signature::parse(certificate) {
                row.push(("hash", signature.hash_name().into()));
                row.push(("signer", Value::Text(signature.name())));
            }
            Row(row)
        });
        facts.push(Fact::new("signature_table", Value::Table(rows.collect())));
    }
    Some(pe)
}

/// The holes between headers and sections in the file.
fn gaps(pe: &Pe<'_>) -> Vec<Row> {
    let mut sections: Vec<_> = pe.sections.iter().filter(|section| section.raw_size > 0).collect();
    sections.sort_by_key(|section| section.raw_at);
    let mut at = pe.value("SizeOfHeaders");
    let mut rows = Vec::new();
    for section in sections {
        let range = section.file_range();
        if range.start > at {
            rows.push(Row(vec![("offset", Value::Hex(at)), ("size", Value::Number(range.start - at))]));
        }
        at = at.max(range.end);
    }
    rows
}
