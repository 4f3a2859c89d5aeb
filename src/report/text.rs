//! The report for people.

use super::{ImageReport, Report, STDOUT};
use std::io::{self, Write};

/// Writes `report` as the lines a kernel developer knows. Findings are not among them: whoever shows them decides
/// where and in which colour.
///
/// # Errors
/// The writer's own.
pub fn write_text(report: &Report<'_>, mut out: impl Write) -> io::Result<()> {
    let output = report.output;
    match &report.image {
        ImageReport::BzImage { setup_size, setup_padded, system_size, crc32, .. } => {
            writeln!(out, "Setup is {setup_size} bytes (padded to {setup_padded} bytes).")?;
            writeln!(out, "System is {} kB", system_size.div_ceil(1024))?;
            if let Some(crc) = crc32 {
                writeln!(out, "CRC {crc}")?;
            }
        }
        ImageReport::ZImage { kernel_size, .. } => {
            writeln!(out, "zImage is {kernel_size} bytes")?;
            for region in report.regions.iter().skip(1) {
                writeln!(out, "{} is {} bytes, at offset {:#x}", region.name, region.size, region.offset)?;
            }
        }
        ImageReport::Flat { load_address, sections, .. } => {
            let size = report.size;
            writeln!(out, "Image is {size} bytes of {sections} sections, for load address {load_address:#x}")?;
        }
        ImageReport::UImage { description, load_address, entry_point, name, data_size, derived, .. } => {
            for fact in *derived {
                writeln!(out, "{} {} (from {})", fact.field, fact.value, fact.from)?;
            }
            writeln!(out, "Image Name:   {name}")?;
            writeln!(out, "Image Type:   {description}")?;
            writeln!(out, "Data Size:    {data_size} Bytes")?;
            writeln!(out, "Load Address: {load_address:08x}")?;
            writeln!(out, "Entry Point:  {entry_point:08x}")?;
        }
    }
    if output != STDOUT { writeln!(out, "{output} is ready") } else { Ok(()) }
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
            writeln!(out, "  {:<file$}  {:>size$} bytes  {}", step.file, step.size, step.how)?;
        }
    }
    if !report.fields.is_empty() {
        writeln!(out, "Header fields:")?;
        let name = report.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
        for field in report.fields.iter().filter(|field| field.old != field.new) {
            writeln!(out, "  {:<name$}  at {:#06x}  {:#x} -> {:#x}", field.name, field.offset, field.old, field.new)?;
        }
    }
    writeln!(out, "{}: {} bytes, not written", report.output, report.size)?;
    let offset = format!("{:#x}", report.size).len();
    let size = digits(&mut std::iter::once(report.size));
    for region in &report.regions {
        writeln!(out, "  {:>offset$}  {:>size$} bytes  {}", format!("{:#x}", region.offset), region.size, region.name)?;
    }
    Ok(())
}
