//! Options of `kimage bzimage` for images around kimage's own boot stub.

use super::codec::{STUB_CODECS, one_of};
use super::size;
use clap::Args;
use kimage::assemble::DEFAULT_MAX_MEMORY;
use kimage::codec::Codec;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "With kimage's own boot stub")]
pub(crate) struct Own {
    /// How to compress the kernel
    ///
    /// gzip is the default: of a distribution's kernel it makes a sixth more than zstd does at level 19, in a tenth of
    /// the time, and it starts as fast. lz4 is quickest both ways and largest, xz smallest and slowest; none is for media
    /// that are compressed themselves. The boot stub checks the checksums of gzip, zstd and xz; lz4 has none.
    #[arg(long, value_name = "CODEC", value_parser = one_of(STUB_CODECS))]
    pub(crate) compress: Option<Codec>,
    /// Build in this command line; what the boot loader says is added behind it
    #[arg(long, value_name = "TEXT")]
    pub(crate) cmdline: Option<std::ffi::OsString>,
    /// Do not add what the boot loader says
    #[arg(long, requires = "cmdline")]
    pub(crate) cmdline_override: bool,
    /// Build in this RAM disk (repeatable: one behind the other)
    ///
    /// A kernel takes one RAM disk: that of the boot loader is then not used.
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// Do not choose the kernel's addresses at random
    ///
    /// The default is to do so where there is a relocation table, unless the command line says nokaslr. With memmap=, and
    /// where a boot loader passes UEFI's memory map, only the virtual address is chosen.
    #[arg(long)]
    pub(crate) no_kaslr: bool,
    /// Make no program for UEFI firmware of it: for BIOS, and for boot loaders that know the boot protocol
    #[arg(long)]
    pub(crate) no_efi: bool,
    /// The contents of the section .sbat, for images that will be signed for UEFI Secure Boot
    #[arg(long, value_name = "FILE", conflicts_with = "no_efi")]
    pub(crate) sbat: Option<PathBuf>,
    /// The relocation table (vmlinux.relocs), where the kernel does not bring it along
    #[arg(long, value_name = "FILE")]
    pub(crate) relocs: Option<PathBuf>,
    /// Refuse a kernel that needs more memory to start (K, M and G count in 1024s)
    #[arg(long, value_name = "SIZE", value_parser = size, default_value_t = DEFAULT_MAX_MEMORY)]
    pub(crate) max_memory: u64,
    /// Write just the padded setup with its filled-in header
    #[arg(long)]
    pub(crate) setup_only: bool,
}

impl Own {
    /// The first option that only makes sense with kimage's own boot stub.
    pub(crate) fn asked_for(&self) -> Option<&'static str> {
        [
            (self.compress.is_some(), "--compress"),
            (self.cmdline.is_some(), "--cmdline"),
            (!self.initrd.is_empty(), "--initrd"),
            (self.no_kaslr, "--no-kaslr"),
            (self.relocs.is_some(), "--relocs"),
            (self.setup_only, "--setup-only"),
            (self.no_efi, "--no-efi"),
            (self.sbat.is_some(), "--sbat"),
        ]
        .into_iter()
        .find_map(|(is_given, name)| is_given.then_some(name))
    }
}
