//! x86 bzImage: a real-mode setup with the boot protocol's header, then the protected-mode system.
//!
//! Source: Documentation/arch/x86/boot.rst, arch/x86/boot/header.S and arch/x86/boot/tools/build.c of Linux 2.2 to 7.2.

mod check;
mod efi;
mod init_size;
mod join;
mod kernel_info;
mod parse;
mod parts;
mod plan;
mod raw;
mod relink;
mod scan;
mod standalone;
mod standalone_image;

pub use check::CrcState;
pub(crate) use check::INFO as KERNEL_INFO_RULE;
pub(crate) use check::RULES;
pub(crate) use check::{LAST_ROOT_DEV, demands_large_alignment};
pub(crate) use init_size::{MemoryOf, Unpacked, init_size};
pub(crate) use join::{is_second_part, join_setup};
pub(crate) use kernel_info::KernelInfo;
#[cfg(test)]
pub(crate) use parse::CRCS;
pub use parse::{BzImage, Setup};
pub(crate) use parts::{Built, Decompressor, Details, Inherited, Parts, Standalone};
pub use parts::{CrcChoice, Error, Generation};
pub(crate) use plan::MAX_SETUP;
pub(crate) use raw::{
    BOOT_FLAG, FIELDS, HDRS, LOADFLAGS, XLF_5LEVEL_ENABLED, XLF_EFI_HANDOVER_32, XLF_KERNEL_64, XLOADFLAGS, offset_of,
};
pub use relink::{Offsets, follow_link};
pub(crate) use scan::{FLAT_64_BIT_ALIGN, flat_64_bit_address};
pub(crate) use standalone::{builtin_setup, joined};
pub(crate) use standalone_image::{NO_RELEASE, STANDALONE_RULES, StandaloneImage, payload_sum, stub_cpu};

/// Plans the image.
///
/// # Errors
/// [`Error`]: parts that are damaged, of different builds, or too large for their header fields.
pub(crate) fn plan<'a>(parts: Parts<'a, '_>) -> Result<Built<'a>, Error> {
    let setup = Setup::parse(&parts.setup)?;
    setup.check_end()?;
    match parts.decompressor {
        Decompressor::Linked { stub, root_dev } => plan::plan(&setup, stub, root_dev, parts.crc),
        Decompressor::Standalone(own) => standalone::plan(&setup, *own, parts.crc == CrcChoice::Yes),
    }
}
