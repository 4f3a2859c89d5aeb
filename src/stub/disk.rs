//! kimage's boot sector and its loader, by which a BIOS starts a bzImage from a disk: `src/bootstub/src/disk.s`.

use super::builtin::{DISK, Program};
use crate::bytes::{len64, overwrite, slice};
use crate::elf;
use crate::layout::usize_or_max;

const SECTOR: u64 = 512;
/// Where the loader is in memory.
const LOADER: u64 = 0x8000;
/// Bytes of a command line with its NUL, for which there is room.
pub(crate) const CMDLINE_MAX: u64 = 0x1000;
/// What the parameters begin with.
const MAGIC: &[u8] = b"KIMGDISK";

/// What is to be loaded; sectors count from the disk's first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaded {
    /// First sector and bytes of the bzImage.
    pub kernel: (u32, u32),
    /// Bytes of its setup.
    pub setup: u32,
    /// Where the memory that it needs ends.
    pub memory_end: u32,
    /// First sector and bytes of the RAM disk.
    pub initrd: (u32, u32),
    /// The last address where that may be.
    pub initrd_max: u32,
}

/// The boot sector and the loader.
#[derive(Debug)]
pub(crate) struct DiskLoader {
    sector: Vec<u8>,
    loader: Vec<u8>,
    lba_at: u64,
    parameters_at: u64,
}

impl DiskLoader {
    /// The loader, with what it is to say where there is too little memory for a kernel that ends there and a RAM disk of so many
    /// bytes, and this command line.
    ///
    /// # Errors
    /// [`elf::Error`] for a file that is none of ours.
    pub(crate) fn new(cmdline: &[u8], memory_end: u64, initrd: u64) -> elf::Result<DiskLoader> {
        let program = Program::read(DISK)?;
        let boot = program.symbol("boot")?;
        let sector = slice(&program.bytes, boot, SECTOR).unwrap_or_default().to_vec();
        let mut loader = program.bytes.get(usize_or_max(LOADER)..).unwrap_or_default().to_vec();
        let parameters_at = program.symbol("parameters")? - LOADER + len64(MAGIC);
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let text = format!(
            "kimage: too little memory: the kernel needs {} MiB, the RAM disk {} MiB above that\r\n\0",
            mib(memory_end),
            mib(initrd)
        );
        let at = |loader: &[u8]| u16::try_from(LOADER + len64(loader)).unwrap_or(u16::MAX).to_le_bytes();
        let cmdline_at = at(&loader);
        loader.extend_from_slice(cmdline);
        loader.push(0);
        let message_at = at(&loader);
        loader.extend_from_slice(text.as_bytes());
        // Behind the seven words.
        put(&mut loader, parameters_at + 28, &[cmdline_at, message_at].concat());
        loader.resize(loader.len().next_multiple_of(usize_or_max(SECTOR)), 0);
        let lba_at = program.symbol("loader_lba")? - boot;
        Ok(DiskLoader { sector, loader, lba_at, parameters_at })
    }

    /// What our loader loads, if a boot sector of ours is at `at` of a disk and names it there; and where it says so.
    pub(crate) fn loaded(disk: &[u8], at: u64) -> Option<(u64, Loaded)> {
        let ours = DiskLoader::new(&[], 0, 0).ok()?;
        let word = |at: u64| -> Option<u64> { Some(u32::from_le_bytes(*slice(disk, at, 4)?.first_chunk()?).into()) };
        let loader = word(at.checked_add(ours.lba_at)?)?.checked_mul(SECTOR)?;
        let parameters = loader.checked_add(ours.parameters_at)?;
        let magic = parameters.checked_sub(len64(MAGIC))?;
        if slice(disk, magic, len64(MAGIC)) != Some(MAGIC) {
            return None;
        }
        let word = |index: u64| u32::try_from(word(parameters + 4 * index)?).ok();
        let kernel = (word(0)?, word(1)?);
        let initrd = (word(4)?, word(5)?);
        let (setup, memory_end, initrd_max) = (word(2)?, word(3)?, word(6)?);
        Some((parameters, Loaded { kernel, setup, memory_end, initrd, initrd_max }))
    }

    /// Bytes of the loader, whole sectors.
    pub(crate) fn len(&self) -> u64 {
        len64(&self.loader)
    }

    /// The boot sector that reads the loader from this sector on.
    pub(crate) fn sector(&self, lba: u32) -> Vec<u8> {
        let mut sector = self.sector.clone();
        let sectors = u16::try_from(self.len() / SECTOR).unwrap_or(u16::MAX);
        put(&mut sector, self.lba_at, &lba.to_le_bytes());
        put(&mut sector, self.lba_at + 4, &sectors.to_le_bytes());
        sector
    }

    /// The loader that loads this.
    pub(crate) fn loader(&self, loaded: &Loaded) -> Vec<u8> {
        let mut loader = self.loader.clone();
        let Loaded { kernel, setup, memory_end, initrd, initrd_max } = *loaded;
        let words = [kernel.0, kernel.1, setup, memory_end, initrd.0, initrd.1, initrd_max];
        put(&mut loader, self.parameters_at, &words.map(u32::to_le_bytes).concat());
        loader
    }
}

fn put(to: &mut [u8], at: u64, bytes: &[u8]) {
    overwrite(to, at, bytes).unwrap_or_default();
}

/// A boot sector of a disk that no BIOS is to start: lets it try the next one (INT 18h).
pub(crate) fn no_loader() -> Vec<u8> {
    let mut sector = vec![0; usize_or_max(SECTOR)];
    // jmp to behind the parameters of a FAT; int $0x18; hlt; jmp back
    put(&mut sector, 0, &[0xeb, 0x58, 0x90]);
    put(&mut sector, 0x5a, &[0xcd, 0x18, 0xf4, 0xeb, 0xfd]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_has_its_parameters_where_the_linker_put_them() {
        let made = DiskLoader::new(b"console=ttyS0", 20 << 20, 5 << 20).unwrap();
        let at = usize_or_max(made.parameters_at);
        assert_eq!(&made.loader[at - 8..at], MAGIC);
        let loaded = Loaded { kernel: (1, 2), setup: 3, memory_end: 4, initrd: (5, 6), initrd_max: 0x0807_0605 };
        let loader = made.loader(&loaded);
        assert_eq!(loader[at..at + 4], [1, 0, 0, 0]);
        assert_eq!(loader[at + 24..at + 28], [5, 6, 7, 8]);
        let text = usize::from(u16::from_le_bytes([loader[at + 28], loader[at + 29]])) - 0x8000;
        assert!(loader[text..].starts_with(b"console=ttyS0\0"));
        assert_eq!(loader.len() % 512, 0);
        let sector = made.sector(0x0403_0201);
        let lba = usize_or_max(made.lba_at);
        assert_eq!(sector[lba..lba + 6], [1, 2, 3, 4, (loader.len() / 512) as u8, 0]);
        assert!(lba < 446 - 6 && sector.len() == 512);
    }
}
