//! A kernel to an ELF file that PVH, Multiboot, coreboot and plain ELF loaders take.

use super::standalone::{bzimage_standalone, loadable};
use super::{Assembled, Facts, Firmware, StandaloneRequest};
use crate::codec::Codec;
use crate::elf::{Elf, PHYS32_ENTRY};
use crate::error::{Error, Result};
use crate::format::boot_elf;
use crate::layout::{Plan, RegionKind, Reserver};

/// What kind of ELF file to make.
#[derive(Debug, Clone, Default)]
pub struct ElfRequest<'a> {
    /// What goes into it. Without a codec ([`Codec::None`]) it is the kernel itself, for loaders that enter it by Linux'
    /// 64-bit boot protocol or by its own PVH entry; then there is no place for a command line or RAM disks. `setup`, `efi`,
    /// `sbat`, `crc` and `setup_only` mean nothing here.
    pub kernel: StandaloneRequest<'a>,
    /// A file of 64 bits, or of 32; by default that of the kernel.
    pub is_64: Option<bool>,
}

/// An ELF file that loaders start which do not know a bzImage: by PVH, Multiboot 1 and 2, from coreboot, and by Linux' own
/// 32-bit and 64-bit protocols at its entry point. Out of what [`bzimage_standalone`] takes.
///
/// # Errors
/// [`Error`] says what the input is instead, or why it cannot be started.
///
/// # Example
///
/// ```
/// use kimage::assemble::{ElfRequest, boot_elf};
///
/// let kernel = include_bytes!("../../testdata/tiny/kernel");
/// let mut file = Vec::new();
/// boot_elf(kernel, &ElfRequest::default())?.emit(&mut file)?;
/// assert_eq!(file[0x1000..0x1004], 0x1bad_b002_u32.to_le_bytes());
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn boot_elf<'a>(vmlinux: &'a [u8], request: &ElfRequest<'a>) -> Result<Assembled<'a>> {
    if request.kernel.codec == Codec::None {
        return as_it_is(vmlinux, request);
    }
    let wanted = StandaloneRequest {
        setup: None,
        efi: false,
        // A loader of 64-bit ELF files may enter in 64-bit mode, a boot stub for 32-bit CPUs cannot be entered so.
        firmware: request.is_64.filter(|is_64| *is_64).map(|_| Firmware::X64),
        sbat: &[],
        crc: false,
        setup_only: false,
        ..request.kernel.clone()
    };
    let made = bzimage_standalone(vmlinux, &wanted)?;
    let image = made.plan.bytes();
    // The kernel's class is that of what comes out of the image.
    let is_64 = request.is_64.unwrap_or_else(|| boot_elf::is_for_64_bits(&image));
    let (plan, head) = boot_elf::plan(image, is_64).map_err(Error::BzImage)?;
    let facts = match made.facts {
        Facts::StandaloneBzImage { kernel_version, compression, kernel_size, payload_size, kaslr, .. } => {
            Facts::BootElf {
                bits: bits(is_64),
                kernel_version: Some(kernel_version),
                compression,
                kernel_size,
                payload_size,
                load_address: head.memory.start,
                memory: head.memory.end - head.memory.start,
                entry_point: head.entry,
                pvh_entry: Some(head.pvh_entry),
                kaslr,
            }
        }
        facts => facts,
    };
    Ok(Assembled { findings: made.findings, ..Assembled::new(plan, facts) })
}

fn bits(is_64: bool) -> u8 {
    if is_64 { 64 } else { 32 }
}

/// The kernel's own segments.
fn as_it_is<'a>(vmlinux: &'a [u8], request: &ElfRequest<'a>) -> Result<Assembled<'a>> {
    const HELP: &str = "choose a codec with `request.compress`: the file then has the code that passes them on";
    for (part, is_given) in [
        ("`request.cmdline`", !request.kernel.cmdline.is_empty()),
        ("`request.initrd`", !request.kernel.initrd.is_empty()),
    ] {
        if is_given {
            let why = "a kernel that is loaded as it is has no place for it".to_owned();
            return Err(Error::NotEdited { part, why, help: HELP });
        }
    }
    let (kernel, findings) = loadable(vmlinux, request.kernel.max_memory)?;
    if request.is_64.is_some_and(|is_64| is_64 != kernel.is_64) {
        let why =
            format!("a kernel that is loaded as it is has the class of its own ELF file, {} bits", bits(kernel.is_64));
        return Err(Error::NotEdited { part: "`request.is_64`", why, help: "leave it out, or choose a codec" });
    }
    let elf = Elf::parse(&kernel.bytes)?;
    let note = elf.notes().into_iter().find(|note| note.owner == b"Xen" && note.kind == PHYS32_ENTRY);
    let pvh_entry = note.map(|note| note.desc.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    let facts = Facts::BootElf {
        bits: bits(kernel.is_64),
        kernel_version: kernel.release.clone(),
        compression: Codec::None.name(),
        kernel_size: kernel.elf_len,
        payload_size: kernel.elf_len,
        load_address: kernel.load_min,
        memory: kernel.span,
        entry_point: kernel.entry,
        pvh_entry,
        kaslr: false,
    };
    let mut reserver = Reserver::new();
    reserver.bytes(kernel.bytes)?;
    reserver.region("kernel", 0, RegionKind::Payload);
    let plan: Plan<'a> = reserver.finish();
    Ok(Assembled { findings, ..Assembled::new(plan, facts) })
}
