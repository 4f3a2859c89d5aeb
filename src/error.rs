//! Layer 7: the error of what lies above, made of the errors below.

use crate::bytes::FieldError;
use crate::finding::Finding;
use crate::format::{bootp, bzimage, cpio, disk, dts, fit, uimage, zimage};
use crate::payload::kernel;
use crate::{codec, elf, layout, stub};
use miette::Diagnostic;

pub use crate::format::bzimage::Error as BzImageError;
pub use crate::format::disk::Error as DiskError;
pub use crate::format::fit::{Error as FitError, Unfilled};
pub use crate::format::uimage::Error as UImageError;
pub use crate::format::zimage::Error as ZImageError;
pub use crate::payload::kernel::Error as KernelError;
pub use crate::stub::Error as StubError;

/// The result of what can fail with [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// An input is damaged, or not what was asked for.
    #[error("{source}")]
    #[diagnostic(forward(source))]
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
        #[help]
        help: &'static str,
    },
    /// A part of an image cannot be changed.
    #[error("{part}: {why}")]
    NotEdited {
        /// What was to be changed, by the name of the request's field.
        part: &'static str,
        /// Why it cannot be.
        why: String,
        /// What to do instead.
        #[help]
        help: &'static str,
    },
    /// No header tells what a file is.
    #[error("no header tells what this is: it begins with {found}")]
    #[diagnostic(help(
        "kimage looked for: x86 bzImage and zImage, ARM zImage, flat Image, S/390 bzImage, EFI zboot, UKI and other EFI files, \
         uImage, FIT, device tree, ELF, cpio, Android boot.img and vendor_boot.img, Raspberry Pi kernel.img, QCDT, DTBH and \
         DTBO tables, MediaTek, TRX and TP-Link headers, Chrome OS partitions, gzip, bzip2, lzma, xz, lzop, lz4 and zstd \
         streams, and the banner of a kernel without a header; a uImage with a vendor's magic number needs `request.magic`"
    ))]
    UnknownFormat {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// A target of the boot doctor is not known, or its file cannot be read.
    #[error("{reason}")]
    Target {
        /// In words.
        reason: String,
    },
    /// One of several inputs that an option names.
    #[error("{source}")]
    #[diagnostic(forward(source))]
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
    #[diagnostic(transparent)]
    BzImage(bzimage::Error),
    /// The kernel cannot be put into an image of our own.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Kernel(kernel::Error),
    /// No boot stub unpacks it.
    #[error("kimage has no boot stub that unpacks {codec}")]
    #[diagnostic(help("take {wanted}"))]
    NoBootStub {
        /// The codec.
        codec: &'static str,
        /// Those that there is one for.
        wanted: &'static str,
    },
    /// There is no such firmware for this kernel.
    #[error("a {bits}-bit kernel cannot be made a program for UEFI firmware {without}")]
    #[diagnostic(help(
        "leave `request.firmware` out; `x64` is for any kernel, `ia32` for 32-bit ones, `mixed` for 64-bit ones"
    ))]
    Firmware {
        /// Bits of the kernel.
        bits: u32,
        /// The firmware that was asked for.
        without: &'static str,
    },
    /// The parts do not make a zImage.
    #[error(transparent)]
    #[diagnostic(transparent)]
    ZImage(zimage::Error),
    /// The parts do not make a bootpImage.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bootp(#[from] bootp::Error),
    /// The files do not make a cpio archive.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cpio(#[from] cpio::Error),
    /// The files do not make a disk.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] disk::Error),
    /// The data does not make a uImage.
    #[error(transparent)]
    #[diagnostic(transparent)]
    UImage(uimage::Error),
    /// The tree does not make a FIT.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fit(#[from] fit::Error),
    /// An EFI program cannot be signed.
    #[error("it cannot be signed: {why}")]
    NotSigned {
        /// Why it cannot be.
        why: String,
        /// What to do instead.
        #[help]
        help: &'static str,
    },
    /// What a TPM measures of an image cannot be said.
    #[error("what is measured cannot be said: {why}")]
    NotMeasured {
        /// Why not.
        why: String,
        /// What to do instead.
        #[help]
        help: &'static str,
    },
    /// A key or a certificate is not what it should be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Key(#[from] crate::sign::Error),
    /// A device tree source cannot be understood.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] dts::Error),
    /// A field that must be known could be neither read from the data nor was it given.
    #[error("the {field} is neither given nor does the data tell it")]
    #[diagnostic(help("say it with {option}"))]
    Underivable {
        /// The field.
        field: &'static str,
        /// The option that gives it.
        option: &'static str,
    },
    /// What was asked for contradicts itself or the data.
    #[error("{}", list(.findings))]
    #[diagnostic(help("{}", ways_out(findings, "to go ahead all the same, say `request.force`")))]
    Contradiction {
        /// All contradictions, worst first.
        findings: Vec<Finding>,
    },
    /// An ELF file is damaged, or has not what was asked for.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Elf(#[from] elf::Error),
    /// A kernel has no symbols of its own that can be read.
    #[error(transparent)]
    Unflatten(#[from] elf::UnflattenError),
    /// Data could not be compressed or decompressed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Codec(#[from] codec::Error),
    /// The image could not be laid out or written.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// What can be wrong with an input.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum InputError {
    /// A field of it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Field(#[from] FieldError),
    /// As an ELF file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Elf(#[from] elf::Error),
    /// As the linked setup: no command that takes one leaves sections out of it.
    #[error(transparent)]
    #[diagnostic(help(
        "take the section out that does not belong in a setup (objcopy -R), or give arch/x86/boot/setup.bin"
    ))]
    SetupTooLarge(elf::Error),
    /// As a decompressor.
    #[error(transparent)]
    #[diagnostic(transparent)]
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
            | Error::BzImage(bzimage::Error::UnknownRelease { .. } | bzimage::Error::OldSetup { .. }) => {
                Some(("SETUP", 0))
            }
            Error::BzImage(bzimage::Error::Stub(_)) => Some(("VMLINUX", 0)),
            Error::Kernel(_) => Some(("VMLINUX", 0)),
            Error::ZImage(zimage::Error::Dtb { index, .. } | zimage::Error::DtbTail { index, .. }) => {
                Some(("DTB", *index))
            }
            Error::ZImage(_) => Some(("VMLINUX", 0)),
            Error::Cpio(cpio::Error::Line { .. }) => Some(("LIST", 0)),
            _ => None,
        }
    }
}

pub(crate) fn list(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ")
}

/// What all of them say to do, and `more`.
pub(crate) fn ways_out(findings: &[Finding], more: &str) -> String {
    let all = findings.iter().map(|finding| &*finding.help).chain([more]);
    all.filter(|help| !help.is_empty()).collect::<Vec<_>>().join("; ")
}
