//! The EFI side of an image: facts that bzImage, Image, zboot and UKI share.

use super::Described;
use crate::format::pe::{NX_COMPAT, Pe, machine_name};
use crate::inspect::rules;
use crate::inspect::{Fact, Row, Value};

/// Adds what the PE header of `bytes` says. An image without one adds nothing; one that is damaged, a finding.
pub(super) fn describe_efi<'a>(bytes: &'a [u8], described: &mut Described) -> Option<Pe<'a>> {
    if !Pe::detect(bytes) {
        return None;
    }
    let pe = match Pe::parse(bytes) {
        Ok(pe) => pe,
        Err(error) => {
            let finding = rules::PE_DAMAGED.finding(error.to_string()).at(error.at.0);
            described.findings.push(finding.with_help(error.help));
            return None;
        }
    };
    let facts = &mut described.facts;
    facts.push(Fact::hex("efi_machine", pe.machine).meaning(machine_name(pe.machine)).at(pe.place("Machine"), 2));
    facts.push(
        Fact::hex("efi_entry", pe.entry)
            .meaning("from the start of the loaded image")
            .at(pe.place("AddressOfEntryPoint"), 4),
    );
    let (at, width) = pe.image_base_place();
    facts.push(Fact::hex("efi_image_base", pe.image_base).at(at, width));
    facts.push(Fact::hex("efi_section_alignment", pe.section_alignment).at(pe.place("SectionAlignment"), 4));
    facts.push(Fact::hex("efi_file_alignment", pe.file_alignment).at(pe.place("FileAlignment"), 4));
    let (major, minor) = pe.image_version;
    facts.push(Fact::new("efi_image_version", format!("{major}.{minor}")).at(pe.place("MajorImageVersion"), 4));
    facts.push(
        Fact::number("efi_size_of_image", pe.size_of_image).meaning("bytes of memory").at(pe.place("SizeOfImage"), 4),
    );
    facts.push(Fact::number("efi_size_of_headers", pe.size_of_headers).at(pe.place("SizeOfHeaders"), 4));
    facts.push(Fact::hex("efi_checksum", pe.checksum).at(pe.place("CheckSum"), 4));
    let subsystem = match pe.subsystem {
        10 => "EFI application",
        11 => "EFI boot service driver",
        12 => "EFI runtime driver",
        _ => "not one of EFI",
    };
    facts.push(Fact::number("efi_subsystem", pe.subsystem).meaning(subsystem).at(pe.place("Subsystem"), 2));
    let nx = pe.dll_characteristics & NX_COMPAT != 0;
    let meaning = if nx { "its memory may be write-xor-execute" } else { "firmware must leave its memory executable" };
    facts.push(Fact::new("efi_nx_compat", nx).meaning(meaning).at(pe.place("DllCharacteristics"), 2));
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
        if let Some(text) = pe.contents(section) {
            let text = text.split(|byte| *byte == 0).next().unwrap_or(text);
            let start = u64::from(section.raw_at);
            facts.push(Fact::new("sbat", Value::text(text)).at(start, crate::bytes::len64(text)));
            described.parts.push(super::PartAt {
                name: "sbat",
                what: None,
                at: start..start + crate::bytes::len64(text),
            });
        }
    }
    described.later(&["authenticode_sha256"], |bytes, _, described| {
        if let Some(digest) = Pe::parse(bytes).ok().and_then(|pe| pe.authenticode_sha256().ok()) {
            let fact = Fact::new("authenticode_sha256", Value::Bytes(digest.to_vec()));
            described.facts.push(fact.meaning("what a Secure Boot signature signs"));
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
            Row(vec![
                ("offset", Value::Hex(certificate.at)),
                ("size", Value::Number(crate::bytes::len64(certificate.data))),
                ("type", kind.into()),
            ])
        });
        facts.push(Fact::new("signature_table", Value::Table(rows.collect())));
    }
    Some(pe)
}

/// The holes between headers and sections in the file.
fn gaps(pe: &Pe<'_>) -> Vec<Row> {
    let mut sections: Vec<_> = pe.sections.iter().filter(|section| section.raw_size > 0).collect();
    sections.sort_by_key(|section| section.raw_at);
    let mut at = u64::from(pe.size_of_headers);
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
