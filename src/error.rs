//! Layer 7: the error of what lies above, made of the errors below.

use crate::bytes::FieldError;
use crate::finding::Finding;
use crate::format::{bzimage, dts, fit, uimage, zimage};
use crate::payload::kernel;
use crate::{codec, elf, layout, stub};
use std::borrow::Cow;

pub use crate::stub::Error as StubError;

/// The result of what can fail with [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input is damaged, or not what was asked for.
    #[error("{source}")]
    Input {
        /// Which input, by its name in the usage line.
        which: &'static str,
        /// What is wrong with it.
        source: InputError,
    },
    /// An input is a file of another kind.
    #[error("this is {found}; wanted {want}")]
    WrongInput {
        /// Which input, by its name in the usage line.
        which: &'static str,
        /// What it is.
        found: &'static str,
        /// What it should be.
        want: &'static str,
        /// What to do instead.
        help: &'static str,
    },
    /// No header tells what a file is.
    #[error("no header tells what this is: it begins with {found}")]
    UnknownFormat {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// One of several inputs that an option names.
    #[error("{source}")]
    Part {
        /// The option.
        which: &'static str,
        /// Which of the inputs, from 0.
        index: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The parts do not make a bzImage.
    #[error(transparent)]
    BzImage(bzimage::Error),
    /// The kernel cannot be put into an image of our own.
    #[error(transparent)]
    Kernel(kernel::Error),
    /// The parts do not make a bzImage around the boot stub of our own.
    #[error(transparent)]
    StandaloneBzImage(bzimage::StandaloneError),
    /// No boot stub unpacks it.
    #[error("kimage has no boot stub that unpacks {codec}")]
    NoBootStub {
        /// The codec.
        codec: &'static str,
    },
    /// The parts do not make a zImage.
    #[error(transparent)]
    ZImage(zimage::Error),
    /// The data does not make a uImage.
    #[error(transparent)]
    UImage(uimage::Error),
    /// The tree does not make a FIT.
    #[error(transparent)]
    Fit(#[from] fit::Error),
    /// A device tree source cannot be understood.
    #[error(transparent)]
    Source(#[from] dts::Error),
    /// A field that must be known could be neither read from the data nor was it given.
    #[error("the {field} is neither given nor does the data tell it")]
    Underivable {
        /// The field.
        field: &'static str,
        /// The option that gives it.
        option: &'static str,
    },
    /// What was asked for contradicts itself or the data.
    #[error("{}", list(.findings))]
    Contradiction {
        /// All contradictions, worst first.
        findings: Vec<Finding>,
    },
    /// An ELF file is damaged, or has not what was asked for.
    #[error(transparent)]
    Elf(#[from] elf::Error),
    /// A kernel has no symbols of its own that can be read.
    #[error(transparent)]
    Unflatten(#[from] elf::UnflattenError),
    /// Data could not be compressed or decompressed.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// The image could not be laid out or written.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// What can be wrong with an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A field of it.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// As an ELF file.
    #[error(transparent)]
    Elf(#[from] elf::Error),
    /// As a decompressor.
    #[error(transparent)]
    Stub(#[from] stub::Error),
}

impl Error {
    pub(crate) fn input(which: &'static str, source: impl Into<InputError>) -> Self {
        Error::Input { which, source: source.into() }
    }

    pub(crate) fn wrong_input(
        which: &'static str,
        found: &'static str,
        want: &'static str,
        help: &'static str,
    ) -> Self {
        Error::WrongInput { which, found, want, help }
    }

    /// The input it is about, by its name in the usage line (`VMLINUX`, `SETUP`, `DTB`, `DATA`), and which of several.
    pub fn which(&self) -> Option<(&'static str, usize)> {
        match self {
            Error::Input { which, .. } | Error::WrongInput { which, .. } => Some((which, 0)),
            Error::Part { which, index, .. } => Some((which, *index)),
            Error::BzImage(bzimage::Error::Setup(_) | bzimage::Error::SetupTooLong { .. })
            | Error::BzImage(bzimage::Error::UnknownRelease { .. }) => Some(("SETUP", 0)),
            Error::BzImage(bzimage::Error::Stub(_) | bzimage::Error::Elf(_)) => Some(("VMLINUX", 0)),
            Error::Kernel(_) => Some(("VMLINUX", 0)),
            Error::StandaloneBzImage(
                bzimage::StandaloneError::Setup(_) | bzimage::StandaloneError::OldSetup { .. },
            ) => Some(("SETUP", 0)),
            Error::ZImage(zimage::Error::Dtb { index, .. } | zimage::Error::DtbTail { index, .. }) => {
                Some(("DTB", *index))
            }
            Error::ZImage(_) => Some(("VMLINUX", 0)),
            _ => None,
        }
    }

    /// What to do next; empty when the message says it all.
    pub fn help(&self) -> Cow<'static, str> {
        match self {
            Error::Input { source: InputError::Field(error), .. } => error.help.clone(),
            Error::Input { source: InputError::Elf(error), .. } => error.help(),
            Error::Input { source: InputError::Stub(error), .. } => error.help(),
            Error::WrongInput { help, .. } => (*help).into(),
            Error::UnknownFormat { .. } => {
                "kimage looked for: x86 bzImage and zImage, ARM zImage, arm64 and RISC-V Image, \
                 EFI zboot, UKI and other EFI files, uImage, FIT, device tree, ELF, cpio, Android boot.img and \
                 vendor_boot.img, Raspberry Pi kernel.img, QCDT and DTBH tables, MediaTek, TRX and TP-Link headers, Chrome OS partitions, gzip, bzip2, lzma, xz, lzop, lz4 and zstd streams, and the banner of a kernel without a \
                 header; a uImage with a vendor's magic number needs `request.magic`"
                    .into()
            }
            Error::Part { source, .. } => source.help(),
            Error::BzImage(error) => error.help(),
            Error::Kernel(error) => error.help(),
            Error::StandaloneBzImage(error) => error.help(),
            Error::NoBootStub { .. } => "take gzip, lz4, xz, zstd or none".into(),
            Error::ZImage(error) => error.help(),
            Error::UImage(error) => error.help(),
            Error::Fit(error) => error.help(),
            Error::Source(error) => error.help.clone(),
            Error::Underivable { option, .. } => format!("say it with {option}").into(),
            Error::Contradiction { findings } => findings
                .iter()
                .map(|finding| &*finding.help)
                .filter(|help| !help.is_empty())
                .chain(std::iter::once("to go ahead all the same, say `request.force`"))
                .collect::<Vec<_>>()
                .join("; ")
                .into(),
            Error::Elf(error) => error.help(),
            Error::Codec(error) => error.help(),
            Error::Unflatten(_) | Error::Layout(_) => "".into(),
        }
    }
}

pub(crate) fn list(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ")
}
