//! Decompressors that are ELF files with their payloads in sections of their own: PowerPC's `zImage` and `simpleImage`.
//!
//! Source: arch/powerpc/boot/wrapper (`addsec`) and zImage.lds.S, Linux 2.6.15 to 7.2. The decompressors of other CPUs, ELF
//! files too (MIPS' `vmlinuz`, SuperH's `compressed/vmlinux`, that of x86 and ARM), have no such names: their payload is found
//! by decoding.

use crate::elf::Elf;
use std::ops::Range;

/// What a section of the wrapper holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The kernel, compressed as a rule.
    Kernel,
    /// The device tree.
    Dtb,
    /// The initial RAM disk.
    Initrd,
}

/// Section names. An older wrapper called the kernel `.kernel:vmlinux.bin`.
const SECTIONS: &[(&[u8], Role)] = &[
    (b".kernel:vmlinux.strip", Role::Kernel),
    (b".kernel:vmlinux.bin", Role::Kernel),
    (b".kernel:vmlinux", Role::Kernel),
    (b".kernel:dtb", Role::Dtb),
    (b".kernel:initrd", Role::Initrd),
];

/// The payloads that have a section, with their file offsets, in file order; each wholly in the file and not empty.
pub fn payloads(elf: &Elf<'_>) -> Vec<(Role, Range<u64>)> {
    let mut found: Vec<(Role, Range<u64>)> = Vec::new();
    for section in elf.sections() {
        let role = SECTIONS.iter().find(|(name, _)| section.name().as_bytes() == *name).map(|(_, role)| *role);
        let has_bytes = section.size > 0 && elf.contents(section).is_ok_and(|bytes| !bytes.is_empty());
        if let Some(role) = role.filter(|role| has_bytes && !found.iter().any(|(known, _)| known == role)) {
            found.push((role, section.offset..section.offset + section.size));
        }
    }
    found.sort_by_key(|(_, at)| at.start);
    found
}
