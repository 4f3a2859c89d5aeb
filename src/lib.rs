//! Turns a linked kernel into the file a boot loader wants.
//!
//! # Two pipelines over the same modules
//!
//! ```text
//! out:  vmlinux bytes > elf::Elf > stub::Stub ─┐
//!       setup bytes ───────────────────────────┼> format::x::plan > layout::Plan > emit > bytes
//!       other data, device trees ──────────────┘                       │ regions()
//!                                                                      │ same type
//! in:   image bytes > inspect::open > format::x::parse, layer by layer ┘ regions()
//! ```
//!
//! Both speak of [`layout::Region`]s: what a plan promises, a parser finds in the bytes that were written.
//! Sizes come first, then offsets, then header bytes, then digests; nothing is changed after it was written.
//!
//! # The layers
//!
//! A module uses only modules above it in this list (`tests/architecture/layers.rs` holds everybody to it). The library takes `&[u8]`
//! and [`std::io::Write`]; paths, clock, environment, terminal and exit codes are the business of the binary.
//!
//! 1. [`bytes`]: measuring bytes. Offsets, the bounds-checked cursor, field errors, header writers.
//! 2. [`codec`]: bytes to fewer bytes and back. [`arch`]: what differs from CPU to CPU. [`finding`]: what is wrong but
//!    readable. [`sign`]: hashes, keys and signatures.
//! 3. [`layout`]: what goes where: reserve, plan, emit.
//! 4. [`elf`]: the kernel as the linker left it: lazy view, symbols, flat image, stripped file, relocations.
//! 5. `stub`: the decompressor that is linked around its payload, and those of kimage's own with the arithmetic of
//!    memory that they share with the packer. [`payload`]: what an image carries: the kernel laid out anew, the relocation
//!    table behind it.
//! 6. [`mod@format`]: one container, one file: bzImage, zImage, uImage, `Image`, zboot, device tree, FIT, PE, UKI, cpio,
//!    boot.img; device tree source.
//! 7. [`error`]: the error of what follows, made of the errors of the modules above.
//! 8. [`assemble`]: writing; [`assemble::bzimage_standalone`] goes the whole way from the kernel's own vmlinux with kimage's own
//!    boot stub, [`assemble::payload()`] as far as the bytes that are compressed. [`inspect`]: reading;
//!    [`inspect::verify`] checks what it finds against its claims, [`inspect::diff`] compares two files, [`inspect::map`]
//!    is the picture of one. [`mod@lint`]: will it boot on that board?
//! 9. [`mod@edit`]: an image with something in it changed. [`kbuild`]: the kernel's own build with the decompressor of a build
//!    folder: `piggy.S` and its object, `zoffset.h` and `voffset.h`, the link. [`mod@doctor`]: will it reach user space?
//! 10. [`report`]: results for people and for programs: as text, JSON and pictures. What was measured is a report of
//!     its own ([`report::BenchReport`]).
//!
//! # Errors and findings
//!
//! A parser fails with a [`bytes::FieldError`]: field, offset, found, wanted, help. A module's error adds what it
//! knows, [`Error`] which input it is about; the binary adds the path. What could be read but is not right is a
//! [`finding::Finding`] and is collected.
//!
//! # Example
//!
//! ```
//! let vmlinux = include_bytes!("../testdata/tiny/vmlinux"); // arch/x86/boot/compressed/vmlinux
//! let setup = include_bytes!("../testdata/tiny/setup.bin"); // arch/x86/boot/setup.bin
//! let image = kimage::assemble::bzimage(vmlinux, setup, Default::default())?;
//! let mut file = Vec::new();
//! image.emit(&mut file)?;
//! # Ok::<(), kimage::Error>(())
//! ```
#![forbid(unsafe_code)]
// Docs lead maintainers to what is private, too.
#![allow(rustdoc::private_intra_doc_links)]
// What the internals show is public in a private module without them.
#![cfg_attr(not(feature = "internals"), allow(unreachable_pub))]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::missing_errors_doc
    )
)]

pub mod arch;
pub mod assemble;
pub mod bytes;
pub mod codec;
pub mod doctor;
pub mod edit;
pub mod elf;
pub mod error;
pub mod finding;
pub(crate) mod format;
pub mod inspect;
pub mod kbuild;
pub mod layout;
pub mod lint;
pub(crate) mod payload;
pub mod report;
pub mod sign;
pub(crate) mod stub;

pub use error::{Error, Result};

// Its examples are run with the others.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Library;

/// What kimage's tests and fuzz targets look at one by one. No part of the interface: it is there with the feature `internals`
/// only, and anything in it may change or go at any time.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    #![allow(missing_docs)]

    use crate::codec::{Codec, Inflated, Parameters};
    pub use crate::format::bzimage::{BzImage, CrcState, Setup};
    pub use crate::format::fit::{Configuration, Fit, Placement};
    pub use crate::format::uimage::{Header, UImage, kind};
    pub use crate::format::{bzimage, dts, fdt, fit, image64, pe, uimage, wrapper, zimage};
    use crate::kbuild::LinkCommand;
    pub use crate::kbuild::offsets::{OffsetHeader, OffsetLine, VOFFSET, ZOFFSET, offsets};

    /// The program that a unified kernel image with kimage's own boot stub begins with.
    pub fn unified_program(kernel: &[u8], codec: Codec) -> crate::error::Result<Vec<u8>> {
        Ok(crate::assemble::unified_program(kernel, codec, &Parameters::default(), &[])?.plan.bytes())
    }

    /// What [`dts::Source`] means, with the bytes of its files.
    pub fn resolved<'a>(source: &dts::Source, files: &[&'a [u8]]) -> Result<dts::Resolved<'a>, dts::Error> {
        source.tree(files)
    }

    /// What a link command says beside the words of a link.
    #[derive(Debug)]
    pub struct LinkFacts<'l> {
        pub output: &'l str,
        pub reads: Vec<&'l str>,
        pub arch: Option<crate::arch::Arch>,
    }

    impl<'l> LinkFacts<'l> {
        pub fn of(link: &'l LinkCommand) -> Self {
            LinkFacts { output: link.output(), reads: link.reads().collect(), arch: link.arch() }
        }
    }

    pub const PARTS: &[(&str, &str)] = crate::inspect::PARTS;

    pub fn converter_of(bytes: &[u8]) -> crate::codec::Bcj {
        crate::codec::Bcj::of(bytes)
    }

    pub fn decompress_one(
        codec: Codec,
        bytes: &[u8],
        limit: u64,
        out: &mut dyn std::io::Write,
    ) -> crate::codec::Result<Inflated> {
        codec.decompress_one(bytes, limit, out)
    }

    pub fn fits(codec: Codec, bytes: &[u8]) -> bool {
        codec.fits(bytes)
    }

    pub fn parameters_of(codec: Codec, bytes: &[u8]) -> crate::codec::Result<Parameters> {
        codec.parameters_of(bytes)
    }

    /// All bytes of a plan, a digest as zeros.
    pub fn planned(plan: &crate::layout::Plan<'_>) -> Vec<u8> {
        plan.bytes()
    }

    /// How many pieces a plan has.
    pub fn pieces(plan: &crate::layout::Plan<'_>) -> usize {
        plan.pieces().len()
    }

    /// Where U-Boot itself is, and whether it leaves device tree and RAM disk where they were loaded.
    pub fn loader(board: &crate::lint::Board) -> (Option<crate::lint::Area>, bool, bool) {
        (board.loader_place(), board.fdt_in_place(), board.initrd_in_place())
    }

    pub fn set_defsym(link: &mut LinkCommand, symbol: &str, value: u64) -> bool {
        link.set_defsym(symbol, value)
    }

    pub fn check_fit(fit: &Fit<'_>) -> Vec<crate::finding::Finding> {
        fit.check().into_findings()
    }

    pub mod elf {
        use crate::elf::{Elf, Symbol};

        /// `e_machine`.
        pub fn machine(elf: &Elf<'_>) -> u16 {
            elf.machine()
        }

        /// From the lowest to the highest byte that is loaded.
        pub fn physical_span(elf: &Elf<'_>) -> Option<std::ops::Range<u64>> {
            elf.physical_span()
        }

        /// The letter of nm; `None` for what nm leaves out, debugging symbols.
        pub fn nm_class(elf: &Elf<'_>, symbol: &Symbol<'_>) -> Option<char> {
            (!symbol.is_debugging()).then(|| elf.nm_class(symbol))
        }

        pub use crate::elf::facts::release_in;
        pub use crate::elf::kallsyms::{KernelSymbol, kallsyms};
        pub use crate::elf::relocs::{
            RelocKind, RelocTable, list_absolute_relocs, list_absolute_symbols, list_relocs, relocs,
        };
        pub use crate::elf::resymbol::with_symbols;
        pub use crate::elf::unflatten::{FlatKernel, unflatten};
    }

    pub mod payload {
        pub use crate::payload::agreement::{Agreement, Share};
        pub use crate::payload::{FoundRelocs, RelocForm, emit_relocs, parse_relocs, points_into, relocs_behind};
    }

    pub mod tree {
        pub use crate::kbuild::tree::*;
    }
}
