//! What a boot loader is to unpack or run: the kernel as a flat file, compressed if wished.

use super::Step;
use crate::arch::Arch;
use crate::bytes::{FieldError, Problem, len64};
use crate::codec::{Codec, Parameters};
use crate::elf::{self, BANNER, Elf, FlatOptions, PT_LOAD, RemoveList, flatten, release_in};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::bzimage::{BzImage, Setup};
use crate::format::uimage::comp_id;
use crate::format::zimage::{self, ZImage};
use crate::format::{Format, header_arch};
use std::borrow::Cow;

/// Few other things in a decompressor look like the start of its payload; more than this are a trap.
const MAX_PAYLOADS: usize = 16;

/// Why a kernel cannot be put together in memory.
pub(super) fn not_flat(which: &'static str, error: elf::Error) -> Error {
    match error {
        elf::Error::TooLarge { .. } | elf::Error::SectionTooLarge { .. } => {
            let found = "an ELF file with holes of more than 64 MiB between its sections";
            let help = "leave out what does not belong to the kernel: kimage image VMLINUX -R SECTION, and give that";
            Error::wrong_input(which, found, "a kernel", help)
        }
        error => Error::input(which, error),
    }
}

/// A kernel ready for its container.
#[derive(Debug)]
pub(super) struct Kernel<'a> {
    /// What goes into the container.
    pub(super) bytes: Cow<'a, [u8]>,
    /// Its compression; `None` when it is not compressed.
    pub(super) codec: Option<Codec>,
    /// What was given.
    pub(super) format: Option<Format>,
    /// The CPU, and what told it.
    pub(super) arch: Option<(Arch, &'static str)>,
    /// Physical addresses that an ELF file names: of its first byte, and of its entry point.
    pub(super) addresses: Option<(u64, u64)>,
    /// They may be virtual ones: ARM's Linux has no others in its ELF file (arch/arm/kernel/vmlinux.lds.S).
    pub(super) is_virtual: bool,
    /// Its release, where it is found.
    pub(super) release: Option<String>,
    /// Does a symbol say that it looks for a device tree behind its end?
    looks_for_tree: bool,
    /// What was done to it.
    pub(super) steps: Vec<Step>,
}

impl<'a> Kernel<'a> {
    /// Reads `data`, called `which` in the usage line; flattens an ELF file; appends `dtbs`; compresses what is not
    /// compressed yet, when `compress` says so.
    ///
    /// # Errors
    /// What flattening and compressing say; [`Error::WrongInput`] when compressed data is to be compressed again, and when
    /// the kernel does not look for a device tree behind its end.
    pub(super) fn read(which: &'static str, data: &'a [u8], dtbs: &[&[u8]], compress: Option<Codec>) -> Result<Self> {
        let format = Format::detect(data);
        let mut kernel = Kernel {
            bytes: Cow::Borrowed(data),
            codec: None,
            format,
            arch: None,
            addresses: None,
            is_virtual: false,
            release: release(format, data),
            looks_for_tree: false,
            steps: Vec::new(),
        };
        match format {
            Some(Format::Elf) => {
                let elf = Elf::parse(data).map_err(|error| Error::input(which, error))?;
                // The kernel is put together in memory: its load addresses must not say how much.
                let remove = elf.arch().map_or(&[][..], |arch| arch.left_out_of_flat());
                let remove = RemoveList::new(remove.iter().copied()).map_err(|error| Error::input(which, error))?;
                let options = FlatOptions { remove, ..FlatOptions::default() }.in_memory(&elf);
                let flat = flatten(&elf, &options).map_err(|error| not_flat(which, error))?;
                kernel.arch = elf.arch().map(|arch| (arch, "the ELF header"));
                // The first segment: the page of the vectors has an address of its own in every kernel.
                let loaded = elf.segments().iter().filter(|segment| segment.kind == PT_LOAD);
                let first = loaded.min_by_key(|segment| segment.paddr);
                kernel.is_virtual = elf.arch() == Some(Arch::Arm)
                    && kernel.release.is_some()
                    && first.is_some_and(|segment| segment.vaddr == segment.paddr);
                kernel.addresses = Some((flat.base.0, elf.physical_entry().0));
                kernel.bytes = Cow::Owned(flat.plan.bytes());
                let how = format!("flattened (objcopy -O binary), its first byte at {:#x}", flat.base.0);
                kernel.steps.push(Step { file: "vmlinux.bin".to_owned(), size: kernel.len(), how });
            }
            Some(Format::Compressed(codec)) => {
                kernel.arch = arch_by_header(format, data);
                kernel.codec = comp_id(codec).map(|_| codec);
                if compress.is_some_and(|wanted| wanted != Codec::None) {
                    let help = "leave out `request.compress`, or give the kernel before it was compressed";
                    let found = Format::Compressed(codec).name();
                    return Err(Error::wrong_input("KERNEL", found, "data to compress", help));
                }
            }
            _ => kernel.arch = arch_by_header(format, data),
        }
        if !dtbs.is_empty() {
            kernel.append(which, data, dtbs)?;
        }
        if let Some(codec) = compress.filter(|codec| *codec != Codec::None) {
            let mut out = Vec::new();
            codec.compress(&kernel.bytes, &Parameters::default(), &mut out)?;
            kernel.bytes = Cow::Owned(out);
            kernel.codec = Some(codec);
            let file = format!("vmlinux.bin.{}", codec.name());
            kernel.steps.push(Step { file, size: kernel.len(), how: "compressed".to_owned() });
        }
        Ok(kernel)
    }

    /// Puts device trees behind a flat MIPS kernel of `CONFIG_MIPS_RAW_APPENDED_DTB`: it looks at `__appended_dtb`, where
    /// its linker script ends the file (arch/mips/kernel/vmlinux.lds.S, Linux 4.4 to 7.2).
    fn append(&mut self, which: &'static str, data: &[u8], dtbs: &[&[u8]]) -> Result<()> {
        zimage::whole_trees(dtbs).map_err(Error::ZImage)?;
        let elf = Elf::parse(data).ok().filter(|_| self.format == Some(Format::Elf));
        let symbol = elf.as_ref().and_then(|elf| elf.symbols().ok()?.find(|one| one.name == b"__appended_dtb"));
        // Addresses of MIPS are 32-bit ones, sign-extended or not.
        let low = |address: u64| address & u64::from(u32::MAX);
        let end = self.addresses.map(|(base, _)| low(base.wrapping_add(self.len())));
        if let (Some(symbol), Some(end)) = (symbol, end) {
            if low(symbol.value) != end {
                let found = "a kernel whose __appended_dtb is not at the end of its file";
                let help = "with CONFIG_MIPS_ELF_APPENDED_DTB the tree goes into the ELF file: objcopy --update-section \
                            .appended_dtb=DTB vmlinux, and no `request.dtbs`";
                let want = "a kernel that looks for a device tree behind its end";
                return Err(Error::wrong_input(which, found, want, help));
            }
        }
        let mut bytes = std::mem::take(&mut self.bytes).into_owned();
        dtbs.iter().for_each(|dtb| bytes.extend_from_slice(dtb));
        self.bytes = Cow::Owned(bytes);
        let how = format!("device trees behind it: {}", dtbs.len());
        self.steps.push(Step { file: "vmlinux.bin-dtb".to_owned(), size: self.len(), how });
        self.looks_for_tree = symbol.is_some();
        Ok(())
    }

    /// What to say when nothing tells whether the kernel looks for the device tree behind it.
    pub(super) fn tree_finding(&self, dtbs: &[&[u8]]) -> Option<Finding> {
        if dtbs.is_empty() || self.looks_for_tree {
            return None;
        }
        let message = "no symbol __appended_dtb tells whether the kernel looks for a device tree behind its end";
        Some(super::rules::KERNEL_APPENDED_DTB.finding(message))
    }

    /// What to say when its own addresses are taken.
    pub(super) fn virtual_finding(&self) -> Option<Finding> {
        let (load, _) = self.addresses.filter(|_| self.is_virtual)?;
        let message = format!(
            "the ELF file of an ARM kernel names virtual addresses: {load:#x} is right only if the RAM begins there"
        );
        Some(super::rules::KERNEL_VIRTUAL.finding(message))
    }

    /// Does it start without a load address (`kernel_noload`)?
    pub(super) fn is_relocatable(&self) -> bool {
        self.codec.is_none() && needs_no_load(self.format)
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        len64(&self.bytes)
    }
}

/// The CPU that a header names: the data's, or one inside of the compressed stream; and what told it.
pub(super) fn arch_by_header(format: Option<Format>, data: &[u8]) -> Option<(Arch, &'static str)> {
    let Some(Format::Compressed(codec)) = format else { return header_arch(data) };
    // Enough for every header that names a CPU.
    let head = codec.scan(data, 4096, 0, |piece| Some(piece.to_vec())).ok().flatten()?;
    header_arch(&head).map(|(arch, _)| (arch, "the header inside the compressed stream"))
}

/// ARM's decompressor runs where it lies, an arm64 Image is moved by U-Boot; neither when it is compressed. RISC-V's lies
/// at an odd place behind the header, and U-Boot leaves it there.
pub(super) fn needs_no_load(format: Option<Format>) -> bool {
    matches!(format, Some(Format::ZImage | Format::Image64(Arch::Arm64)))
}

/// What a kernel's own header proves to be missing of it. An `Image` says how much memory it needs, not how long its file is.
pub(super) fn cut_off(format: Option<Format>, data: &[u8]) -> Option<FieldError> {
    let error = match format? {
        Format::ZImage => ZImage::parse_alone(data).err()?,
        // A setup alone has its own uses, and says no more of what is missing.
        Format::BzImage if !super::is_setup_alone(data) => BzImage::parse(data).err()?,
        _ => return None,
    };
    matches!(error.problem, Problem::Truncated { .. }).then_some(error)
}

/// The kernel's release, read from the data or from inside its compressed payload.
pub(super) fn release(format: Option<Format>, data: &[u8]) -> Option<String> {
    match format? {
        Format::BzImage => Setup::parse(data).ok()?.release().map(str::to_owned),
        Format::Elf => Elf::parse(data).ok()?.release(),
        Format::Image64(_) => release_in(data),
        Format::Compressed(codec) => packed_release(codec, data),
        Format::ZImage => {
            let image = ZImage::parse(data).ok()?;
            Codec::ALL.into_iter().find_map(|codec| {
                let streams = image.payload_candidates(codec.magic()).filter(|it| Codec::detect(it) == Some(codec));
                streams.take(MAX_PAYLOADS).find_map(|stream| packed_release(codec, stream))
            })
        }
        _ => None,
    }
}

/// The release in a compressed kernel.
pub(crate) fn packed_release(codec: Codec, stream: &[u8]) -> Option<String> {
    // A piece that fails later has still shown what came before.
    codec.scan(stream, codec.expected_most(stream), BANNER.len() + 66, release_in).ok().flatten()
}
