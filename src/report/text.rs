//! The report for people.

use super::style::clean;
use super::{Report, STDOUT};
use crate::assemble::{Facts, FitFacts};
use std::io::{self, Write};

/// Writes `report` as the lines a kernel developer knows. Findings are not among them: whoever shows them decides
/// where and in which colour.
///
/// # Errors
/// The writer's own.
pub fn write_text(report: &Report<'_>, mut out: impl Write) -> io::Result<()> {
    let output = report.output;
    match report.image.facts {
        Facts::BzImage { setup_size, setup_padded, system_size, .. } => {
            writeln!(out, "Setup is {setup_size} bytes (padded to {setup_padded} bytes).")?;
            writeln!(out, "System is {} kB", system_size.div_ceil(1024))?;
            if let Some(Some(crc)) = &report.image.crc32 {
                writeln!(out, "CRC {crc}")?;
            }
        }
        Facts::StandaloneBzImage {
            kernel_version, compression, kernel_size, payload_size, memory, kaslr, cpu, ..
        } => {
            writeln!(
                out,
                "Kernel is {}, {kernel_size} bytes, {compression}: {payload_size} bytes",
                clean(kernel_version)
            )?;
            let kaslr = if *kaslr { "with KASLR" } else { "without KASLR" };
            writeln!(
                out,
                "It needs {} MiB of memory to start, {kaslr}; CPU of the boot stub: {cpu}",
                memory.div_ceil(1 << 20)
            )?;
        }
        Facts::BootElf {
            bits,
            kernel_version,
            compression,
            kernel_size,
            payload_size,
            load_address,
            memory,
            entry_point,
            pvh_entry,
            ..
        } => {
            let version = kernel_version.as_deref().map_or(String::new(), |version| format!(", {}", clean(version)));
            writeln!(out, "kernel is {kernel_size} bytes, {payload_size} as {compression}{version}")?;
            let end = load_address + memory;
            writeln!(
                out,
                "ELF file of {bits} bits for memory from {load_address:#x} to {end:#x}, entry {entry_point:#x}"
            )?;
            match pvh_entry {
                Some(entry) if *compression != "none" => {
                    writeln!(out, "PVH entry {entry:#x}; Multiboot 1 and 2, coreboot, Linux' own protocols")?;
                }
                Some(entry) => writeln!(out, "PVH entry {entry:#x}, the kernel's own; Linux' own protocols")?,
                None => writeln!(out, "No PVH entry: for loaders that enter it by Linux' own protocols")?,
            }
        }
        Facts::Zboot { arch, kernel_version, compression, kernel_size, payload_size, .. } => {
            let version = kernel_version.as_deref().unwrap_or("of unknown release");
            let version = clean(version);
            writeln!(out, "Kernel is {version} ({arch}), {kernel_size} bytes, {compression}: {payload_size} bytes")?;
            writeln!(out, "kimage's own EFI program unpacks and starts it")?;
        }
        Facts::Edited { .. } => {
            for step in report.steps {
                writeln!(out, "{}: {} bytes, {}", clean(&step.file), step.size, clean(&step.how))?;
            }
        }
        Facts::ZImage { kernel_size, .. } => {
            writeln!(out, "zImage is {kernel_size} bytes")?;
            for region in report.regions.iter().skip(1) {
                let at = &region.at;
                writeln!(out, "{} is {} bytes, at offset {:#x}", clean(&region.name), at.end - at.start, at.start)?;
            }
        }
        Facts::Bootp { kernel_size, initrd_size } => {
            writeln!(out, "zImage is {kernel_size} bytes, RAM disk {initrd_size}")?;
        }
        Facts::Cpio { entries, data_size, compression } => {
            let of = if *entries == 1 { "entry" } else { "entries" };
            writeln!(out, "cpio archive of {entries} {of}, {data_size} bytes, compression {compression}")?;
        }
        Facts::Disk { bios, efi, files, .. } => {
            for step in report.steps {
                writeln!(out, "{}: {} bytes, {}", clean(&step.file), step.size, clean(&step.how))?;
            }
            let efi = (!efi.is_empty()).then(|| format!("UEFI firmware (EFI/BOOT: {})", clean(&efi.join(", "))));
            let by: Vec<String> = bios.then(|| "a BIOS".to_owned()).into_iter().chain(efi).collect();
            let s = if *files == 1 { "" } else { "s" };
            writeln!(out, "{files} file{s}; it is started by {}", by.join(" and by "))?;
        }
        Facts::Flat { load_address, sections, .. } => {
            let size = report.size;
            writeln!(out, "Image is {size} bytes of {sections} sections, for load address {load_address:#x}")?;
        }
        Facts::UImage { description, load_address, entry_point, name, data_size, derived, .. } => {
            for fact in derived {
                writeln!(out, "{} {} (from {})", fact.field, clean(&fact.value), clean(fact.from))?;
            }
            writeln!(out, "Image Name:   {}", clean(name))?;
            writeln!(out, "Image Type:   {description}")?;
            writeln!(out, "Data Size:    {data_size} Bytes")?;
            writeln!(out, "Load Address: {load_address:08x}")?;
            writeln!(out, "Entry Point:  {entry_point:08x}")?;
        }
        Facts::Efi { signer: Some(signer), algorithm, digest, signature_count: count } => {
            writeln!(out, "Signed by {}, {algorithm}: {digest}", clean(signer))?;
            if *count > 1 {
                writeln!(out, "It has {count} signatures")?;
            }
        }
        Facts::Efi { .. } => writeln!(out, "The signatures are taken out")?,
        Facts::Uki { boot_stub, kernel_version, sections, profiles, addon } => {
            let stub = clean(boot_stub.as_deref().unwrap_or("another stub"));
            let version =
                kernel_version.as_deref().map_or(String::new(), |version| format!("Kernel is {}; ", clean(version)));
            let what = if *addon { "Addon or profile: " } else { version.as_str() };
            let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
            let profiles = if *profiles > 0 { format!(", {}", many(*profiles, "profile")) } else { String::new() };
            writeln!(out, "{what}{}{profiles}, behind {stub}", many(*sections, "section"))?;
        }
        Facts::PcrSignature { policies, profiles } => {
            let profiles = if *profiles > 1 { format!(" of {profiles} profiles") } else { String::new() };
            writeln!(out, "{policies} policies of PCR 11 are signed{profiles}")?;
        }
        Facts::Fit(facts) => fit(facts, &mut out)?,
    }
    if output != STDOUT { writeln!(out, "{} is ready", clean(output)) } else { Ok(()) }
}

fn fit(facts: &FitFacts, out: &mut impl Write) -> io::Result<()> {
    for fact in &facts.derived {
        writeln!(out, "{} {} (from {})", fact.field, clean(&fact.value), clean(fact.from))?;
    }
    for image in &facts.images {
        let kind = image.kind.as_deref().unwrap_or("image");
        let packed = image.compression.as_deref().filter(|name| *name != "none");
        let packed = packed.map_or_else(String::new, |name| format!(", {name}"));
        let hashes = if image.hashes.is_empty() { "no hash".to_owned() } else { image.hashes.join(", ") };
        let about = clean(&format!("{}: {kind}{packed}", image.name));
        writeln!(out, "{about}, {} bytes, {hashes}", image.size)?;
    }
    for signature in &facts.signatures {
        let about = format!("{}: {} by {}", signature.node, signature.algo, signature.key);
        writeln!(out, "{}", clean(&about))?;
    }
    let configurations = clean(&facts.configurations.join(", "));
    match &facts.default {
        Some(default) => writeln!(out, "Configurations: {configurations}; default {}", clean(default)),
        None => writeln!(out, "Configurations: {configurations}"),
    }
}

/// Writes what would be done: the steps, then where everything goes in the image.
///
/// # Errors
/// The writer's own.
pub fn write_plan(report: &Report<'_>, mut out: impl Write) -> io::Result<()> {
    let digits = |sizes: &mut dyn Iterator<Item = u64>| sizes.max().unwrap_or(0).to_string().len();
    if !report.steps.is_empty() {
        writeln!(out, "Steps:")?;
        let file = report.steps.iter().map(|step| step.file.len()).max().unwrap_or(0);
        let size = digits(&mut report.steps.iter().map(|step| step.size));
        for step in report.steps {
            writeln!(out, "  {:<file$}  {:>size$} bytes  {}", clean(&step.file), step.size, clean(&step.how))?;
        }
    }
    if !report.fields.is_empty() {
        writeln!(out, "Header fields:")?;
        let name = report.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
        for field in report.fields.iter().filter(|field| field.old != field.new) {
            writeln!(out, "  {:<name$}  at {:#06x}  {:#x} -> {:#x}", field.name, field.offset, field.old, field.new)?;
        }
    }
    writeln!(out, "{}: {} bytes, not written", clean(report.output), report.size)?;
    let offset = format!("{:#x}", report.size).len();
    let size = digits(&mut std::iter::once(report.size));
    for region in report.regions {
        let (start, len) = (format!("{:#x}", region.at.start), region.at.end - region.at.start);
        writeln!(out, "  {start:>offset$}  {len:>size$} bytes  {}", clean(&region.name))?;
    }
    Ok(())
}
