//! A virtual machine monitor that loads the kernel out of any file that distributions ship: bzImage, UKI, zboot, uImage, FIT …
//!
//!     cargo run --example vmm -- /boot/vmlinuz
//!
//! A monitor without firmware wants the ELF file itself: its segments go to their physical addresses and the CPU begins at
//! the entry point. What the file is need not be known: kimage takes it apart layer by layer until the kernel is there.

use kimage::elf::Elf;
use kimage::inspect::{Limits, open};
use std::error::Error;
use std::process::ExitCode;

/// A guest's memory, from address 0.
#[derive(Debug)]
pub struct Guest {
    /// Its bytes.
    pub memory: Vec<u8>,
    /// Where the CPU begins: a physical address.
    pub entry: u64,
}

/// Loads the kernel of `file` into a guest with that many bytes of memory.
///
/// # Errors
///
/// The file has no kernel that is an ELF file, or one of its segments lies outside of the memory.
pub fn load(file: &[u8], size: usize) -> Result<Guest, Box<dyn Error>> {
    // What is decompressed is bounded, whatever the file claims.
    let limits = Limits { size: 1 << 30, ..Limits::default() };
    let mut opened = open(file, &limits)?;
    let part = opened.part("vmlinux").ok_or("there is no vmlinux in this file")?;
    let vmlinux = opened.part_bytes(&part);
    let elf = Elf::parse(vmlinux)?;

    let mut memory = vec![0; size];
    for segment in elf.segments().iter().filter(|segment| segment.kind == object::elf::PT_LOAD.0) {
        let from = usize::try_from(segment.offset)?..usize::try_from(segment.offset + segment.filesz)?;
        let to = usize::try_from(segment.paddr)?..usize::try_from(segment.paddr + segment.filesz)?;
        // The rest of p_memsz is zero already.
        if segment.paddr + segment.memsz > size as u64 {
            return Err(format!("the segment at {:#x} ends behind the memory", segment.paddr).into());
        }
        let bytes = vmlinux.get(from).ok_or("a segment ends behind the file")?;
        memory.get_mut(to).ok_or("a segment ends behind the memory")?.copy_from_slice(bytes);
    }
    Ok(Guest { memory, entry: elf.physical_entry().0 })
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: vmm FILE");
        return ExitCode::from(2);
    };
    match std::fs::read(path).map_err(Into::into).and_then(|file| load(&file, 512 << 20)) {
        Ok(guest) => {
            let used = guest.memory.iter().filter(|byte| **byte != 0).count();
            println!("entry {:#x}, {used} bytes that are not zero", guest.entry);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("vmm: {error}");
            ExitCode::FAILURE
        }
    }
}
