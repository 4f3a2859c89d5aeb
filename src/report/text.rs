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
