//! Why the kernel's build cannot be done again.

use crate::bytes::{FieldError, FileOffset};
use crate::codec::{self, Codec};
use crate::elf;
use crate::error::list;
use crate::finding::Finding;
use crate::layout;
use std::borrow::Cow;

/// The result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the kernel's build cannot be done again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What every image can fail with: its inputs, and the steps that are not of the kernel's build alone.
    #[error(transparent)]
    Image(#[from] crate::Error),
    /// The kernel and the build folder do not belong together.
    #[error("{}", list(.findings))]
    Refused {
        /// Why, worst first.
        findings: Vec<Finding>,
    },
    /// A field of a file.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// kbuild's link command cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A line of a text has an unknown form.
    #[error("{file} at offset {at:#x}: `{found}`, wanted {want}")]
    Line {
        /// Which file.
        file: &'static str,
        /// Byte offset of the line.
        at: u64,
        /// What stands there.
        found: String,
        /// What should.
        want: &'static str,
    },
    /// A text lacks what it is there for.
    #[error("{file} has no {want}")]
    Lacks {
        /// Which file.
        file: &'static str,
        /// What is missing.
        want: &'static str,
    },
    /// A file is not there.
    #[error("the build folder has no {file}")]
    NoFile {
        /// Its path.
        file: &'static str,
    },
    /// Files that the link reads are not there.
    #[error("the link needs {}, which {} not there", files.join(", "), if files.len() == 1 { "is" } else { "are" })]
    Missing {
        /// Their paths.
        files: Vec<String>,
    },
    /// The symbol table has none of what was asked for, or not all of it.
    #[error("{}", if names.is_empty() {
        "none of the symbols of this header is in the symbol table".to_owned()
    } else {
        format!("the symbol table has no {}", names.join(", "))
    })]
    NoSymbols {
        /// The symbols that are missing; none when nothing of a header's own set is there.
        names: Vec<String>,
    },
    /// The kernel is not compressed.
    #[error("the build folder is configured for a kernel that is not compressed")]
    Uncompressed,
    /// The compressed kernel that stands there is not of the codec that the folder is configured for.
    #[error("the compressed kernel in the build folder is no {} stream, which piggy.S or .config say it is", want.name())]
    OtherStream {
        /// The codec.
        want: Codec,
    },
    /// The two files that tell the codec disagree.
    #[error("piggy.S includes {path}, but .config says CONFIG_KERNEL_{config}=y")]
    TwoCodecs {
        /// The file in `.incbin`.
        path: String,
        /// The option's last part.
        config: &'static str,
    },
    /// The path cannot stand in the assembler's quotes.
    #[error("the path of the compressed kernel has a {what} in it, which the assembler does not take as it stands")]
    Path {
        /// The character.
        what: &'static str,
    },
    /// No kernel of this CPU has a piggy.
    #[error("kernels for {found} have no piggy.o")]
    WrongCpu {
        /// The CPU.
        found: String,
    },
    /// piggy.o did not come out.
    #[error(transparent)]
    Object(layout::Error),
}

/// Why kbuild's link command cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The file has no command.
    #[error("no line of the form `cmd_… := …` or `savedcmd_… := …` is in the .cmd file")]
    NoCommand,
    /// The shell would have to do more than to part words.
    #[error("the kept command has {what} at offset {at}{}{}", if .found.is_empty() { "" } else { ": " }, .found)]
    Refused {
        /// Where in the `.cmd` file.
        at: FileOffset,
        /// What it is.
        what: &'static str,
        /// What stands there; may be empty.
        found: String,
    },
    /// The first command does not start a linker.
    #[error("the kept command starts `{found}`, wanted a linker (ld, ld.bfd, ld.lld, …-ld)")]
    NotALinker {
        /// Its first word.
        found: String,
    },
    /// An option that writes further files, or that brings in what the words do not show.
    #[error("the kept link command has `{option}`, which {why}")]
    Option {
        /// The option.
        option: String,
        /// What it does.
        why: &'static str,
    },
    /// An option's value is missing.
    #[error("the kept link command ends in `{option}`, which wants a value")]
    NoValue {
        /// The option.
        option: String,
    },
    /// Something that every link of a decompressor has is missing, or is there twice.
    #[error("the kept link command has {count} {what}, wanted one")]
    Count {
        /// What there must be one of.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The file has the command of another target.
    #[error("the command is kept for {target}, but writes {output}")]
    Target {
        /// What the file says that the command makes.
        target: String,
        /// What it makes.
        output: String,
    },
}

macro_rules! of_images {
    ($($error:ty),*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::Image(error.into())
            }
        })*
    };
}
of_images!(elf::Error, codec::Error, layout::Error);

impl Error {
    /// The input it is about, as [`crate::Error::which`]; `None` for the build folder.
    pub fn which(&self) -> Option<(&'static str, usize)> {
        match self {
            Error::Image(error) => error.which(),
            _ => None,
        }
    }

    /// What to do next; empty when the message says it all.
    pub fn help(&self) -> Cow<'static, str> {
        match self {
            Error::Image(error) => error.help(),
            Error::Refused { findings } => {
                let help = findings.iter().map(|finding| &*finding.help).filter(|help| !help.is_empty());
                help.collect::<Vec<_>>().join("; ").into()
            }
            Error::Field(error) => error.help.clone(),
            Error::Link(error) => error.help().into(),
            Error::Line { .. } | Error::Lacks { .. } | Error::NoFile { .. } | Error::Uncompressed => {
                "give the folder of a finished kernel build".into()
            }
            Error::OtherStream { .. } => "the folder is of an unfinished build: run make there".into(),
            Error::TwoCodecs { .. } => "the configuration was changed after the build: run make once more".into(),
            Error::Path { .. } => "name the file in another way with `request.path`".into(),
            Error::WrongCpu { .. } => {
                "x86 and 32-bit ARM have one (x86_64, i386, arm, armeb); other CPUs' images are flat or EFI zboot"
                    .into()
            }
            Error::Missing { .. } => "give the folder of a finished build, or run make there".into(),
            Error::NoSymbols { .. } => "".into(),
            Error::Object(_) => "a 32-bit object holds less than 4 GiB".into(),
        }
    }
}

impl LinkError {
    /// What to do next.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            LinkError::NoCommand | LinkError::Target { .. } | LinkError::Count { .. } => {
                "give the folder of a finished kernel build, with arch/*/boot/compressed/.vmlinux.cmd as kbuild wrote it"
            }
            LinkError::Refused { .. } | LinkError::NoValue { .. } => {
                "kimage splits kbuild's kept command into words itself and never starts a shell: build the kernel with \
                 plain linker flags, or repair the .cmd file"
            }
            LinkError::NotALinker { .. } => "name the linker with `request.linker`",
            LinkError::Option { .. } => "build the kernel's decompressor without this option",
        }
    }
}
