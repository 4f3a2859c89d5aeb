//! A step of a firmware's build: a linked kernel becomes the uImage that a board's U-Boot starts, and the step fails when what
//! it wrote would not boot.
//!
//!     cargo run --example build_step -- vmlinux uImage
//!
//! The library makes a plan first: sizes and addresses are known before a byte is written. It takes bytes and gives bytes;
//! files, time and names are the caller's.

use kimage::assemble::{UImageRequest, uimage};
use kimage::codec::Codec;
use kimage::finding::Severity;
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, open};
use std::error::Error;
use std::process::ExitCode;

/// The uImage of a kernel, compressed with gzip; the same bytes for the same kernel and name.
///
/// # Errors
///
/// The kernel is no ELF file that U-Boot could start, or what was made does not pass `verify`.
pub fn build(vmlinux: &[u8], name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    // Load address, entry point and CPU are those of the ELF file; the time stays 0.
    let request =
        UImageRequest { name: Some(name.as_bytes().to_vec()), compress: Some(Codec::Gzip), ..UImageRequest::default() };
    let assembled = uimage(&request, &[vmlinux], &[])?;
    let mut image = Vec::new();
    assembled.emit(&mut image)?;

    let opened = open(&image, &Limits::default())?;
    let findings = verify(&opened).findings.into_iter().map(|found| found.finding);
    if let Some(wrong) = findings.into_iter().find(|finding| finding.severity == Severity::Error) {
        return Err(format!("[{}] {}", wrong.rule, wrong.message).into());
    }
    Ok(image)
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        eprintln!("usage: build_step VMLINUX UIMAGE");
        return ExitCode::from(2);
    };
    let step =
        || -> Result<(), Box<dyn Error>> { Ok(std::fs::write(&to, build(&std::fs::read(&from)?, "firmware")?)?) };
    match step() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build_step: {error}");
            ExitCode::FAILURE
        }
    }
}
