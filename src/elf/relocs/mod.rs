//! The relocations that a kernel's decompressor applies: what arch/x86/tools/relocs reads out of a vmlinux that was
//! linked with `--emit-relocs`.

mod list;
mod walk;

pub use list::{list_absolute_relocs, list_absolute_symbols, list_relocs};

use super::facts::numbers;
use super::raw::{SHN_ABS, SHN_UNDEF};
use super::{Elf, Error, Result, Section};
use crate::arch::x86::{
    NOT_PER_CPU, PER_CPU_LOAD, PER_CPU_SECTION, REALMODE_LINEAR, REALMODE_SEGMENT, RelocAction, is_any,
};
use crate::bytes::VirtAddr;
use std::borrow::Cow;
use walk::{Entry, Walk, low_half, not_for};

/// How many lists the table of a 64-bit kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// 64-bit and 32-bit addresses: Linux 3.14 to 3.18, and 7.2.
    Two,
    /// And between them the inverse ones, distances into a per-CPU area that does not move: Linux 3.19 to 6.12.
    Three,
}

/// A relocation that cannot be applied when the kernel is moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("relocation {kind} ({number}) at {at} in section {section}, against symbol {symbol}: {why}")]
pub struct BadReloc {
    /// The name of its type.
    pub kind: Cow<'static, str>,
    /// The number of its type.
    pub number: u32,
    /// The section it is in.
    pub section: String,
    /// Where it stands (`r_offset`).
    pub at: VirtAddr,
    /// The symbol it is against.
    pub symbol: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelocOptions {
    /// The lists of a 64-bit kernel; by default what the kernel's symbols say.
    pub lists: Option<Lists>,
    /// The input is the real-mode trampoline (arch/x86/realmode/rm/realmode.elf), not a kernel.
    pub realmode: bool,
}

/// Which table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocKind {
    /// Of a 32-bit kernel: one list.
    Kernel32,
    /// Of a 64-bit kernel.
    Kernel64(Lists),
    /// Of the real-mode trampoline.
    RealMode,
}

/// The relocations, each list by rising (unsigned) address; duplicates stay.
///
/// An address is the low half of a 64-bit one, which the decompressor extends by its sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelocTable {
    /// Which table it is.
    pub kind: RelocKind,
    /// Where 16-bit segments stand (real mode only).
    pub segments16: Vec<u32>,
    /// Where 32-bit addresses stand.
    pub addresses32: Vec<u32>,
    /// Where 32-bit distances into the per-CPU area stand, from which the difference is taken away.
    pub inverse32: Vec<u32>,
    /// Where 64-bit addresses stand.
    pub addresses64: Vec<u32>,
}

impl RelocTable {
    /// How many relocations it has.
    pub fn len(&self) -> usize {
        self.segments16.len() + self.addresses32.len() + self.inverse32.len() + self.addresses64.len()
    }

    /// True for a table without relocations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads the relocations of an x86 kernel, or of its real-mode trampoline.
///
/// # Errors
/// [`Error::NoRelocs`] when they were cut out of this file, [`Error::RelocNotAllowed`] for one that a decompressor
/// cannot apply, [`Error::NotForRelocs`] when it is no x86 kernel.
pub fn relocs(elf: &Elf<'_>, options: RelocOptions) -> Result<RelocTable> {
    relocs_with_progress(elf, options, drop)
}

/// As [`relocs`], for a mapped file: `passed` is shown every stretch of the file that has been read and will not be read
/// again, so that its memory can be given back. A kernel has about 30 times as many bytes of relocations as its table.
///
/// # Errors
/// As [`relocs`].
pub(crate) fn relocs_with_progress<'a>(
    elf: &Elf<'a>,
    options: RelocOptions,
    passed: impl FnMut(&'a [u8]),
) -> Result<RelocTable> {
    let walk = Walk::new(elf)?;
    let kind = match (walk.is_64, options.realmode, options.lists) {
        (false, true, None) => RelocKind::RealMode,
        (false, false, None) => RelocKind::Kernel32,
        (true, false, Some(lists)) => RelocKind::Kernel64(lists),
        (true, false, None) => RelocKind::Kernel64(lists_of(&walk)),
        (true, true, _) => return Err(not_for("a 64-bit ELF file", "real-mode code, which is a 32-bit one")),
        (false, _, Some(_)) => return Err(not_for("a 32-bit ELF file", "a 64-bit one: only those have several lists")),
    };
    if !options.realmode && !walk.has_executable() {
        return Err(Error::NoRelocs);
    }
    let mut table = RelocTable {
        kind,
        segments16: Vec::new(),
        addresses32: Vec::new(),
        inverse32: Vec::new(),
        addresses64: Vec::new(),
    };
    let per_cpu = match kind {
        RelocKind::Kernel64(_) => PerCpu::find(&walk)?,
        _ => None,
    };
    walk.each(
        |entry| match kind {
            RelocKind::Kernel64(_) => table.add_64(&walk, entry, per_cpu),
            RelocKind::Kernel32 => table.add_32(&walk, entry),
            RelocKind::RealMode => table.add_real(&walk, entry),
        },
        passed,
    )?;
    for list in [&mut table.segments16, &mut table.addresses32, &mut table.inverse32, &mut table.addresses64] {
        list.sort_unstable();
    }
    if table.is_empty() && !options.realmode {
        return Err(Error::NoRelocs);
    }
    Ok(table)
}

impl RelocTable {
    fn add_64(&mut self, walk: &Walk<'_, '_>, entry: &Entry<'_>, per_cpu: Option<PerCpu>) -> Result<()> {
        let symbol = walk.symbols.at(entry.symbol)?;
        if symbol.shndx == SHN_UNDEF {
            return Ok(());
        }
        let mut offset = entry.offset;
        if let Some(per_cpu) = per_cpu.filter(|per_cpu| per_cpu.index == entry.target_index) {
            offset = offset.wrapping_add(per_cpu.load);
        }
        let name = || walk.name_of(entry.symbol);
        let has_inverse = self.kind == RelocKind::Kernel64(Lists::Three);
        let is_per_cpu = || -> Result<bool> {
            let inside = has_inverse
                && per_cpu.is_some_and(|per_cpu| walk.symbols.section(entry.symbol, &symbol) == Some(per_cpu.index));
            Ok(inside && !is_any(NOT_PER_CPU, name()?))
        };
        let kind = walk.kind(entry);
        match kind.map(|kind| kind.action) {
            Some(RelocAction::Nothing) => {}
            Some(RelocAction::Distance32) => {
                if is_per_cpu()? {
                    // As the kernel's tool: no look at the upper half.
                    self.inverse32.push(low_half(offset));
                }
            }
            Some(RelocAction::Distance64) => {
                if is_per_cpu()? {
                    return Err(walk.refuse(entry, "it leads into the per-CPU area, and no list is for 64 bits")?);
                }
            }
            Some(action @ (RelocAction::Address32 | RelocAction::Address64)) => {
                if is_per_cpu()? || walk.is_constant(entry, symbol.shndx)? {
                    return Ok(());
                }
                let low = low_half(offset);
                if sign_extended(low) != offset {
                    return Err(walk.refuse(entry, "its place does not fit a sign-extended 32-bit address")?);
                }
                let list = if action == RelocAction::Address64 { &mut self.addresses64 } else { &mut self.addresses32 };
                list.push(low);
            }
            _ => return Err(walk.refuse(entry, "the decompressor cannot apply this type")?),
        }
        Ok(())
    }

    fn add_32(&mut self, walk: &Walk<'_, '_>, entry: &Entry<'_>) -> Result<()> {
        match walk.kind(entry).map(|kind| kind.action) {
            Some(RelocAction::Nothing) => {}
            Some(RelocAction::Address32) => {
                let symbol = walk.symbols.at(entry.symbol)?;
                if !walk.is_constant(entry, symbol.shndx)? {
                    self.addresses32.push(low_half(entry.offset));
                }
            }
            _ => return Err(walk.refuse(entry, "the decompressor cannot apply this type")?),
        }
        Ok(())
    }

    fn add_real(&mut self, walk: &Walk<'_, '_>, entry: &Entry<'_>) -> Result<()> {
        let action = match walk.kind(entry).map(|kind| kind.action) {
            Some(RelocAction::Nothing) => return Ok(()),
            Some(action @ (RelocAction::Address16 | RelocAction::Address32)) => action,
            _ => return Err(walk.refuse(entry, "the boot code cannot apply this type")?),
        };
        let symbol = walk.symbols.at(entry.symbol)?;
        let name = walk.name_of(entry.symbol)?;
        let is_linear = is_any(REALMODE_LINEAR, name);
        let is_absolute = symbol.shndx == SHN_ABS && !is_linear;
        let place = low_half(entry.offset);
        match (action, is_absolute) {
            (RelocAction::Address16, true) if is_any(REALMODE_SEGMENT, name) => self.segments16.push(place),
            (RelocAction::Address16, false) if !is_linear => {}
            (RelocAction::Address32, false) if is_linear => self.addresses32.push(place),
            (RelocAction::Address32, false) => {}
            (_, true) => return Err(walk.refuse(entry, "the symbol is absolute")?),
            (_, false) => return Err(walk.refuse(entry, "16 bits cannot hold a linear address")?),
        }
        Ok(())
    }
}

/// Three lists where the per-CPU area has a place of its own; but the first 64-bit kernels with a table, Linux 3.14 to 3.18,
/// moved nothing by distances into it.
fn lists_of(walk: &Walk<'_, '_>) -> Lists {
    let release = walk.elf.release().and_then(|release| numbers(&release));
    let is_old = release.is_some_and(|(major, minor, _)| major == 3 && (14..19).contains(&minor));
    if is_old || walk.symbols.value_of(PER_CPU_LOAD).is_none() { Lists::Two } else { Lists::Three }
}

/// The per-CPU area, when its symbols are offsets.
#[derive(Debug, Clone, Copy)]
struct PerCpu {
    /// Its section.
    index: u32,
    /// Where its first copy is loaded.
    load: u64,
}

impl PerCpu {
    fn find(walk: &Walk<'_, '_>) -> Result<Option<PerCpu>> {
        let sections = walk.elf.sections();
        let named = |section: &&Section<'_>| section.name == PER_CPU_SECTION.as_bytes();
        let Some(index) = sections.iter().position(|section| named(&section)) else { return Ok(None) };
        if sections.get(index).is_none_or(|section| section.addr != 0) {
            return Ok(None); // A kernel for one CPU: ordinary data.
        }
        let load = walk.symbols.value_of(PER_CPU_LOAD).ok_or_else(|| {
            not_for("a kernel without __per_cpu_load", "one that has it, as every kernel with three lists")
        })?;
        Ok(Some(PerCpu { index: u32::try_from(index).unwrap_or(u32::MAX), load }))
    }
}

/// As the decompressor of a 64-bit kernel makes an address out of an entry of its table.
pub(crate) fn sign_extended(low: u32) -> u64 {
    let value = u64::from(low);
    if value & 0x8000_0000 == 0 { value } else { value | 0xffff_ffff_0000_0000 }
}
