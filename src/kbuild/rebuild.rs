//! The stages on the way from the kernel's own vmlinux to its decompressor, which are those of
//! `arch/x86/boot/compressed/Makefile` and `arch/arm/boot/compressed/Makefile`:
//! [`Rebuild::new`] reads the folder and checks that it is this kernel's; [`Rebuild::kernel`] makes what is compressed,
//! [`Rebuild::compress`] compresses it, [`Rebuild::piggy`] wraps it for the link, whose command is [`Rebuild::link`]; the
//! caller runs that; [`Rebuild::setup`] lets the setup follow the link. The image is then made as always.

use super::folder::{Files, Image};
use super::xz_wrap::XzWrap;
use super::{Error, LinkCommand, Piggy, Result, Target, ZOFFSET, offsets, tree};
use crate::arch::Arch;
use crate::assemble::payload::{flat, relocs, stripped};
use crate::assemble::{bzimage_setup, describe};
use crate::bytes::{Patch, len64};
use crate::codec::{self, Codec, Parameters, size_trailer};
use crate::elf::{self, Elf};
use crate::format::Format;
use crate::format::bzimage::{Offsets, follow_link};
use crate::layout::{Plan, RegionKind, Reserver};
use crate::payload::{parse_relocs, points_into};
use crate::stub::Stub;
use std::io::{self, Write};

/// A kernel and the build folder that it is wrapped in.
#[derive(Debug)]
pub(super) struct Rebuild<'a> {
    vmlinux: Elf<'a>,
    arch: Arch,
    folder: Files<&'a [u8], &'a str>,
    /// The link, with this kernel's values in it.
    pub(super) link: LinkCommand,
    /// The codec that the folder's decompressor understands.
    pub(super) codec: Codec,
    /// What the folder's own compressed kernel was compressed with, as far as it tells.
    pub(super) parameters: Parameters,
}

/// What is compressed, and how it came about.
#[derive(Debug)]
pub(super) struct UnpackedKernel<'a> {
    /// The stripped kernel with its relocations behind it (x86), or the flat one (ARM).
    pub(super) plan: Plan<'a>,
    /// The relocation table, and the file that it was taken from.
    pub(super) relocs: Option<(Vec<u8>, &'static str)>,
}

impl<'a> Rebuild<'a> {
    /// Reads the folder's files. `linker` replaces the folder's own.
    ///
    /// # Errors
    /// [`Error::Image`] when `vmlinux` is not the kernel itself, [`Error::Link`] and others when the folder is not that of a
    /// finished build, [`Error::Refused`] when it is that of another kernel.
    pub(super) fn new(
        vmlinux: &'a [u8],
        image: Image,
        folder: Files<&'a [u8], &'a str>,
        linker: Option<&str>,
    ) -> Result<Self> {
        const WANT: &str = "the kernel's own vmlinux, at the top of the build folder (an ELF file)";
        let wrong = |found, help| Error::from(crate::Error::wrong_input("VMLINUX", found, WANT, help));
        if Format::detect(vmlinux) != Some(Format::Elf) {
            let help = "give vmlinux (or vmlinux.unstripped) with its symbols";
            return Err(wrong(describe(vmlinux), help));
        }
        let vmlinux = Elf::parse(vmlinux).map_err(|error| crate::Error::input("VMLINUX", error))?;
        let (is_x86, cpus): (_, &[Arch]) = match image {
            Image::BzImage => (true, &[Arch::X86, Arch::X86_64]),
            Image::ZImage => (false, &[Arch::Arm]),
        };
        let help = "an x86 kernel is wrapped by `kimage bzimage`, an ARM one by `kimage zimage`";
        let arch = vmlinux.arch().filter(|arch| cpus.contains(arch));
        let arch = arch.ok_or_else(|| wrong("a kernel for another CPU", help))?;
        let is_stub = if is_x86 { Stub::x86(vmlinux.clone()) } else { Stub::arm(vmlinux.clone()) }.is_ok();
        if is_stub {
            let help = "leave out `request.build_dir` to make an image of a decompressor that is linked already";
            return Err(wrong("the decompressor, with a kernel inside", help));
        }
        let link = need(folder.link, "compressed/.vmlinux.cmd")?;
        let mut link = LinkCommand::parse(link, linker)?;
        let mut findings = Vec::from_iter(tree::check_cpu(&vmlinux, &link));
        if is_x86 && findings.is_empty() {
            let text = need(folder.voffset, "arch/x86/boot/voffset.h")?;
            findings = tree::check_voffsets(text, &vmlinux)?;
        }
        if arch == Arch::Arm {
            if folder.config.is_some_and(|config| tree::is_set(config, "XIP_KERNEL")) {
                let message = "the build folder is configured for a kernel that runs from flash (CONFIG_XIP_KERNEL=y)";
                let help = "such a kernel is not compressed: `kimage image vmlinux -R .comment` makes xipImage";
                findings.push(super::rules::XIP.finding(message).with_help(help));
            }
            link.set_defsym("_kernel_bss_size", tree::kernel_bss_size(&vmlinux)?);
        }
        if !findings.is_empty() {
            return Err(Error::Refused { findings });
        }
        let codec = tree::codec(folder.piggy_s, folder.config)?.ok_or(Error::Uncompressed)?;
        let parameters = match folder.stream {
            Some(stream) if Codec::detect(stream) == Some(codec) => codec.parameters_of(stream)?,
            Some(_) => return Err(Error::OtherStream { want: codec }),
            None if codec == Codec::Xz => XzWrap { script: folder.xz_wrap, config: folder.config }.parameters(&vmlinux),
            None => Parameters::default(),
        };
        Ok(Rebuild { vmlinux, arch, folder, link, codec, parameters })
    }

    /// What is compressed. `unstripped` is `vmlinux.unstripped` from beside the kernel.
    ///
    /// # Errors
    /// [`Error::Image`] when the kernel cannot be stripped or flattened, or its relocations are needed and not to be had;
    /// [`Error::Refused`] when there are some, but not of this kernel.
    pub(super) fn kernel(&self, unstripped: Option<&[u8]>) -> Result<UnpackedKernel<'a>> {
        if self.arch == Arch::Arm {
            return Ok(UnpackedKernel { plan: flat(&self.vmlinux, self.arch)?, relocs: None });
        }
        let stripped = stripped(&self.vmlinux)?;
        let config = need(self.folder.config, ".config")?;
        let relocs =
            if tree::is_set(config, "X86_NEED_RELOCS") { Some(self.relocs(&stripped, unstripped)?) } else { None };
        let mut all = Reserver::new();
        all.append(&stripped)?;
        all.region("vmlinux.bin", 0, RegionKind::Payload);
        if let Some((table, _)) = &relocs {
            let start = all.at();
            all.bytes(table.clone())?;
            all.region("vmlinux.relocs", start, RegionKind::Data);
        }
        Ok(UnpackedKernel { plan: all.finish(), relocs })
    }

    /// The table of the kernel itself; else one that belongs to it.
    fn relocs(&self, kernel: &Plan<'_>, unstripped: Option<&[u8]>) -> Result<(Vec<u8>, &'static str)> {
        let without = match relocs(&self.vmlinux) {
            Ok(table) => return Ok((table, "this vmlinux")),
            Err(error @ elf::Error::NoRelocs) => error,
            Err(error) => return Err(error.into()),
        };
        if let Some(bytes) = unstripped {
            let other = Elf::parse(bytes)?;
            match relocs(&other) {
                Ok(table) if same(&stripped(&other)?, kernel) || self.agrees(&table)? => {
                    return Ok((table, "vmlinux.unstripped"));
                }
                Ok(_) | Err(elf::Error::NoRelocs) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(table) = self.folder.relocs else { return Err(without.into()) };
        let is_same = self.folder.stripped.is_some_and(|stripped| same(&Plan::of("vmlinux.bin", stripped), kernel));
        if is_same || self.agrees(table)? {
            return Ok((table.to_vec(), "compressed/vmlinux.relocs of the build folder"));
        }
        let message = "the relocations in compressed/vmlinux.relocs of the build folder are not those of this vmlinux";
        Err(Error::Refused { findings: vec![super::rules::RELOCS.finding(message)] })
    }

    /// Is the table of this kernel, by what it points to?
    fn agrees(&self, table: &[u8]) -> Result<bool> {
        let table = parse_relocs(table, 0, self.vmlinux.is_64())?.table;
        Ok(points_into(&self.vmlinux, &table).is_right())
    }

    /// Compresses `kernel` with the size behind it, as the folder's decompressor wants it.
    ///
    /// # Errors
    /// [`Error::Image`] for parameters that the codec cannot have.
    pub(super) fn compress(&self, kernel: &[u8], parameters: &Parameters) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.codec.compress(kernel, parameters, &mut out)?;
        // gzip ends in it.
        if self.codec != Codec::Gzip {
            out.extend(size_trailer(len64(kernel))?);
        }
        Ok(out)
    }

    /// Does the compressed kernel `payload` hold exactly `kernel`, in a form that the folder's decompressor understands?
    ///
    /// # Errors
    /// [`Error::Image`] when it cannot be unpacked, [`Error::Refused`] when something else is in it.
    pub(super) fn check_payload(&self, payload: &[u8], kernel: &[u8]) -> Result<()> {
        let refuse = |message: String, help: &'static str| {
            let finding = super::rules::PAYLOAD.finding(message).with_help(help);
            Error::Refused { findings: vec![finding] }
        };
        let (found, want) = (Codec::detect(payload), self.codec);
        if found != Some(want) {
            let found = found.map_or("no stream that kimage knows", Codec::name);
            let message = format!("the payload is {found}, the folder's decompressor understands {} only", want.name());
            return Err(refuse(message, "compress the kernel with that codec, or leave out `request.payload`"));
        }
        let mut compare = Compare { want: kernel, at: 0, differs: None };
        let inflated = want.decompress_one(payload, len64(kernel).saturating_add(1), &mut compare);
        let differs = match inflated {
            Ok(inflated) if inflated.produced != len64(kernel) => Some(inflated.produced.min(len64(kernel))),
            Ok(_) => compare.differs,
            Err(codec::Error::TooBig { .. }) => Some(compare.differs.unwrap_or(len64(kernel))),
            Err(error) => return Err(error.into()),
        };
        if let Some(at) = differs {
            let message =
                format!("the payload holds another kernel than VMLINUX: unpacked, they differ from offset {at:#x} on");
            return Err(refuse(message, "give the compressed file that was made of this vmlinux"));
        }
        let trailer = Piggy::of_a_new_one(payload)?.output_len();
        if u64::from(trailer) != len64(kernel) {
            let message = format!("the payload's last four bytes say {trailer} bytes, it unpacks to {}", kernel.len());
            return Err(refuse(
                message,
                "the size must follow the stream: `kimage compress` adds it with `request.with_size`",
            ));
        }
        Ok(())
    }

    /// `payload` as the build of this kernel has it.
    ///
    /// # Errors
    /// [`Error::Field`] when it is too short.
    pub(super) fn piggy_of<'p>(&self, payload: &'p [u8]) -> Result<Piggy<'p>> {
        let has_run_size = |text| memchr::memmem::find(text, b"z_run_size").is_some();
        Ok(Piggy::of_a_new_one(payload)?.of(&self.vmlinux, self.folder.piggy_s.is_some_and(has_run_size)))
    }

    /// `piggy.o`, ready for the link.
    ///
    /// # Errors
    /// [`Error::Field`] when the payload is too short or too long.
    pub(super) fn piggy<'p>(&self, payload: &'p [u8]) -> Result<Plan<'p>> {
        let target = match self.folder.piggy_o {
            Some(model) => Target::like(&Elf::parse(model)?)?,
            None => Target::new(self.arch, self.vmlinux.endian())?,
        };
        self.piggy_of(payload)?.object(&target)
    }

    /// x86: `setup` for the decompressor `linked`, and its fields that changed.
    ///
    /// # Errors
    /// [`Error::Image`] when a field that must follow cannot, [`Error::NoFile`] without zoffset.h.
    pub(super) fn setup(&self, setup: &[u8], linked: &[u8]) -> Result<(Vec<u8>, Vec<Patch>)> {
        let setup = bzimage_setup(setup)?;
        let old = tree::zoffsets(need(self.folder.zoffset, "arch/x86/boot/zoffset.h")?)?;
        let kernel = tree::voffsets(need(self.folder.voffset, "arch/x86/boot/voffset.h")?)?;
        let new = offsets(&Elf::parse(linked)?, ZOFFSET, None)?;
        let new: Offsets = new.into_iter().map(|line| (line.name, line.value)).collect();
        let (old, kernel) = (Offsets::from_iter(old), Offsets::from_iter(kernel));
        Ok(follow_link(&setup, &old, &new, &kernel).map_err(crate::Error::BzImage)?)
    }
}

fn need<'a>(file: Option<&'a [u8]>, name: &'static str) -> Result<&'a [u8]> {
    file.ok_or(Error::NoFile { file: name })
}

/// Do two plans give the same bytes?
fn same(a: &Plan<'_>, b: &Plan<'_>) -> bool {
    a.len() == b.len() && a.bytes() == b.bytes()
}

/// Compares what is written with what should be.
struct Compare<'k> {
    want: &'k [u8],
    at: u64,
    differs: Option<u64>,
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.differs.is_none() {
            let want = usize::try_from(self.at).ok().and_then(|at| self.want.get(at..)).unwrap_or_default();
            if !want.starts_with(bytes) {
                let same = want.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                self.differs = Some(self.at + u64::try_from(same).unwrap_or_default());
            }
        }
        self.at += len64(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
