//! From an unpacked payload to a kernel in its place, inside one piece of memory.
//!
//! `core` alone: the boot stub compiles this file too. It trusts no number in the payload, for the host runs it on any.

use super::parameters::{BITS32, Parameters, RELOCS};

/// Why the kernel cannot be put into place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No ELF file of the class that the parameters promise.
    NotElf,
    /// A segment lies outside of the kernel's memory, or not where the packer puts segments.
    Segment,
    /// The entry point is outside of the kernel.
    Entry,
    /// The relocation table has not the zero words that divide its lists.
    Table,
    /// A relocation lies outside of the kernel.
    Relocation,
}

impl Fault {
    /// For the screen.
    pub const fn text(self) -> &'static str {
        match self {
            Fault::NotElf => "the unpacked kernel is no ELF file",
            Fault::Segment => "a segment of the kernel is out of place",
            Fault::Entry => "the kernel's entry point is out of place",
            Fault::Table => "the kernel's relocation table is damaged",
            Fault::Relocation => "a relocation of the kernel is out of place",
        }
    }
}

/// A little-endian number of `N` bytes.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn word16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(array(bytes, at)?)))
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array(bytes, at)?))
}

/// A 64-bit number of a 64-bit file, a 32-bit number of a 32-bit one.
fn word(bytes: &[u8], at: (usize, usize), is_64: bool) -> Option<u64> {
    if is_64 { Some(u64::from_le_bytes(array(bytes, at.0)?)) } else { Some(u64::from(word32(bytes, at.1)?)) }
}

/// A segment: offsets into the file, and from the kernel's first byte in memory.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Where it begins in the file.
    pub from: usize,
    /// Where it goes.
    pub to: usize,
    /// Bytes that the file has of it.
    pub filesz: usize,
    /// Bytes that it has in memory.
    pub memsz: usize,
}

fn load_segment(memory: &[u8], index: usize, is_64: bool, parameters: &Parameters) -> Option<Option<Load>> {
    const PT_LOAD: u32 = 1;
    let table = usize::try_from(word(memory, (0x20, 0x1c), is_64)?).ok()?;
    let size = if is_64 { 56 } else { 32 };
    let at = table.checked_add(index.checked_mul(size)?)?;
    let header = memory.get(at..at.checked_add(size)?)?;
    if word32(header, 0)? != PT_LOAD {
        return Some(None);
    }
    let to = word(header, (0x18, 0x0c), is_64)?.checked_sub(parameters.load_min)?;
    let load = Load {
        from: usize::try_from(word(header, (0x08, 0x04), is_64)?).ok()?,
        to: usize::try_from(to).ok()?,
        filesz: usize::try_from(word(header, (0x20, 0x10), is_64)?).ok()?,
        memsz: usize::try_from(word(header, (0x28, 0x14), is_64)?).ok()?,
    };
    let end = u64::try_from(load.to.checked_add(load.memsz)?).ok()?;
    let file_end = u64::try_from(load.from.checked_add(load.filesz)?).ok()?;
    // Moved down one after the other, none may run over one that still waits, nor over the relocation table.
    let fits = load.filesz <= load.memsz && load.from >= load.to;
    (fits && end <= parameters.span && file_end <= parameters.elf_len).then_some(Some(load))
}

/// What is loaded, and where the kernel is entered.
#[derive(Debug)]
pub struct Headers {
    /// In the order of their places; none overlaps another, and none is moved up.
    loads: [Option<Load>; Headers::MAX],
    /// From the kernel's first byte.
    pub entry: usize,
}

impl Headers {
    const MAX: usize = 64;

    /// Reads the headers of an ELF file, which is as long as the parameters say at the least.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(file: &[u8], parameters: &Parameters) -> Result<Headers, Fault> {
        let is_64 = !parameters.has(BITS32);
        let class = if is_64 { 2 } else { 1 };
        if file.get(..6) != Some(&[0x7f, b'E', b'L', b'F', class, 1]) {
            return Err(Fault::NotElf);
        }
        let entry = word(file, (0x18, 0x18), is_64).ok_or(Fault::NotElf)?;
        let count = word16(file, if is_64 { 0x38 } else { 0x2c }).ok_or(Fault::NotElf)?;
        let mut loads = [const { None }; Headers::MAX];
        let (mut found, mut done) = (0, 0);
        for index in 0..count {
            if let Some(load) = load_segment(file, index, is_64, parameters).ok_or(Fault::Segment)? {
                // Both ends are inside of the file and of the kernel.
                if load.to < done || load.from.saturating_add(load.filesz) > file.len() {
                    return Err(Fault::Segment);
                }
                done = load.to.saturating_add(load.filesz);
                *loads.get_mut(found).ok_or(Fault::Segment)? = Some(load);
                found += 1;
            }
        }
        let entry = entry.checked_sub(parameters.load_min).filter(|entry| *entry < parameters.span);
        let entry = entry.and_then(|entry| usize::try_from(entry).ok()).ok_or(Fault::Entry)?;
        Ok(Headers { loads, entry })
    }

    /// The segments, in the order of their places.
    pub fn loads(&self) -> impl DoubleEndedIterator<Item = &Load> {
        self.loads.iter().flatten()
    }

    /// When all are as far from their places in the file as each other: they can be moved up or down in one piece.
    pub fn in_one_piece(&self) -> bool {
        let mut far = self.loads().map(|load| load.from.wrapping_sub(load.to));
        let first = far.next();
        far.all(|other| Some(other) == first)
    }
}

/// Moves the segments of the ELF file at the start of `memory` to where they belong, the first byte of `memory` being
/// the kernel's, and clears what has no bytes in the file. Returns the entry point as an offset into `memory`.
///
/// # Errors
/// [`Fault`]; `memory` is then spoilt.
pub fn segments(memory: &mut [u8], parameters: &Parameters) -> Result<usize, Fault> {
    // They are overwritten by the first segment.
    let headers = Headers::read(memory, parameters)?;
    let (mut done, mut spoilt) = (0, 0);
    for load in headers.loads() {
        let source = load.from..load.from.checked_add(load.filesz).ok_or(Fault::Segment)?;
        memory.copy_within(source, load.to);
        // Between two segments stood the file until now, which has zeros there: but for the end of the one before.
        memory.get_mut(done..load.to.min(spoilt)).unwrap_or_default().fill(0);
        done = load.to.checked_add(load.filesz).ok_or(Fault::Segment)?;
        let in_file = load.from.checked_add(load.filesz).ok_or(Fault::Segment)?;
        spoilt = load.to.checked_add(load.memsz).ok_or(Fault::Segment)?.max(in_file);
    }
    let span = usize::try_from(parameters.span).map_err(|_| Fault::Segment)?;
    memory.get_mut(done..span).ok_or(Fault::Segment)?.fill(0);
    Ok(headers.entry)
}

/// Adds `delta` to all that the relocation table behind the kernel lists: the kernel, linked for a virtual address, runs
/// at one that is `delta` higher. `memory` and `table` as the payload has them.
///
/// The table, from its end: addresses of 32-bit words up to a zero; in a 64-bit kernel addresses of 64-bit words up to a
/// zero, the table's first word; between the two, up to another zero, those of 32-bit words to subtract from (Linux up to
/// 6.13 or so). What lists there are shows in the number of zero words, for no address is zero.
/// (arch/x86/boot/compressed/misc.c, `handle_relocations`)
///
/// # Errors
/// [`Fault::Table`], [`Fault::Relocation`].
pub fn relocate(memory: &mut [u8], table: &[u8], parameters: &Parameters, delta: u64) -> Result<(), Fault> {
    if !parameters.has(RELOCS) || delta == 0 {
        return Ok(());
    }
    let words = || table.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
    let lists = words().filter(|word| *word == 0).count();
    let is_64 = !parameters.has(BITS32);
    if words().next() != Some(0) || !table.chunks_exact(4).remainder().is_empty() || !lists_fit(lists, is_64) {
        return Err(Fault::Table);
    }
    let mut list = 0;
    for word in words() {
        if word == 0 {
            list += 1;
            continue;
        }
        let address = if is_64 { sign_extended(word) } else { u64::from(word) };
        let at = address.wrapping_sub(parameters.virt_offset).wrapping_sub(parameters.load_min);
        let at = usize::try_from(at).map_err(|_| Fault::Relocation)?;
        // The first list of a 64-bit kernel has 64-bit words, the middle one of three is to subtract from.
        let width = if is_64 && list == 1 { 8 } else { 4 };
        let end = at.checked_add(width).ok_or(Fault::Relocation)?;
        let place = memory.get_mut(at..end).ok_or(Fault::Relocation)?;
        if let Ok(place) = <&mut [u8; 8]>::try_from(&mut *place) {
            *place = u64::from_le_bytes(*place).wrapping_add(delta).to_le_bytes();
        } else if let Ok(place) = <&mut [u8; 4]>::try_from(place) {
            let [a, b, c, d, ..] = delta.to_le_bytes();
            let delta = u32::from_le_bytes([a, b, c, d]);
            let value = u32::from_le_bytes(*place);
            let moved = if lists == 3 && list == 2 { value.wrapping_sub(delta) } else { value.wrapping_add(delta) };
            *place = moved.to_le_bytes();
        }
    }
    Ok(())
}

/// One list in a 32-bit kernel, two or three in a 64-bit one.
pub const fn lists_fit(lists: usize, is_64: bool) -> bool {
    if is_64 { lists == 2 || lists == 3 } else { lists == 1 }
}

fn sign_extended(word: u32) -> u64 {
    let high = if word >= 1 << 31 { 0xffff_ffff_0000_0000 } else { 0 };
    u64::from(word) | high
}
