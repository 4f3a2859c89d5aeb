//! The same kernel as an ELF file and flat: what objcopy makes of the one is the other.

use super::made::{BANNER, noise, packed};
use super::opened;
use crate::elf_builder::Builder;
use crate::support::{read, run_ok, tempdir, tool};
use kimage::codec::Codec;
use kimage::finding::Severity;
use kimage::inspect::{diff, verify};
use std::fs;
use std::process::Command;

/// A kernel of MIPS: code, banner and data in two sections, and what is not loaded.
fn kernel() -> Vec<u8> {
    let mut elf = Builder::new(false, true, 8);
    let text = [&noise(3000, 1)[..], &[0, 0, 0, 0], BANNER, &noise(500, 2)].concat();
    let text = elf.section(".text", 1, 6, 0x8000_0000, &text);
    elf.skip(0x100);
    let data = elf.section(".data", 1, 3, 0x8000_2000, &noise(2000, 3));
    elf.section(".comment", 1, 0, 0, b"GCC: (GNU) 12\0");
    elf.segment(1, text..text + 1, 0x8000_0000);
    elf.segment(1, data..data + 1, 0x8000_2000);
    elf.build()
}

#[test]
fn loadable_bytes_are_compared() {
    let Some(objcopy) = tool("mips-linux-gnu-objcopy", "binutils-mips-linux-gnu") else { return };
    let dir = tempdir();
    let kernel = kernel();
    fs::write(dir.path().join("vmlinux"), &kernel).unwrap();
    run_ok(Command::new(objcopy).current_dir(dir.path()).args(["-O", "binary", "-S", "vmlinux", "Image"]));
    let flat = read(&dir.path().join("Image"));
    let stream = packed(Codec::Lzma, &flat);
    for (one, other) in [(&kernel, &flat), (&flat, &kernel), (&kernel, &stream), (&stream, &kernel)] {
        let (one, other) = (opened(one), opened(other));
        let verified = verify::against(&one, &other);
        assert!(verified.findings.is_empty(), "{:#?}", verified.findings);
        let causes: Vec<_> = diff::diff(&one, &other).causes.into_iter().map(|cause| cause.id).collect();
        assert_eq!(causes.first(), Some(&"flat"), "{causes:?}");
    }
    let mut changed = flat.clone();
    changed[0x2100] ^= 1;
    for (one, other) in [(&kernel, &changed), (&changed, &kernel)] {
        let (one, other) = (opened(one), opened(other));
        let verified = verify::against(&one, &other);
        assert_eq!(verified.findings.len(), 1);
        let finding = &verified.findings[0].finding;
        assert_eq!((finding.rule, finding.severity), ("against.kernel", Severity::Error));
        let causes = diff::diff(&one, &other).causes;
        assert!(causes.iter().all(|cause| cause.id != "flat"), "{causes:?}");
    }
}
