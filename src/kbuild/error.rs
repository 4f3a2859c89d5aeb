//! Why the kernel's build cannot be done again.

use crate::bytes::{FieldError, FileOffset};
use crate::codec::{self, Codec};
use crate::elf;
use crate::error::{list, ways_out};
use crate::finding::Finding;
use crate::layout;
use miette::Diagnostic;

/// The result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the kernel's build cannot be done again.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// What every image can fail with: its inputs, and the steps that are not of the kernel's build alone.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Image(#[from] crate::Error),
    /// The kernel and the build folder do not belong together.
    #[error("{}", list(.findings))]
    #[diagnostic(help("{}", ways_out(findings, "")))]
    Refused {
        /// Why, worst first.
        findings: Vec<Finding>,
    },
    /// A field of a file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Field(#[from] FieldError),
    /// kbuild's link command cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Link(#[from] LinkError),
    /// A line of a text has an unknown form.
    #[error("{file} at offset {at:#x}: `{found}`, wanted {want}")]
    #[diagnostic(help("give the folder of a finished kernel build"))]
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
    #[diagnostic(help("give the folder of a finished kernel build"))]
    Lacks {
        /// Which file.
        file: &'static str,
        /// What is missing.
        want: &'static str,
    },
    /// A kernel older than mkpiggy.
    #[error("Linux 2.6.30 and before have no piggy.S: their build links the data itself")]
    #[diagnostic(help("make the object with `request.object`"))]
    NoMkpiggy,
    /// A symbol whose value is not in the data.
    #[error("Linux 3.18 to 4.6 want z_run_size, which the compressed kernel does not tell")]
    #[diagnostic(help(
        "give `request.vmlinux`, or `request.run_size`: where .bss begins in the file vmlinux, and the sizes of .bss and .brk (objdump -h), all added"
    ))]
    NoRunSize,
    /// A file is not there.
    #[error("the build folder has no {file}")]
    #[diagnostic(help("give the folder of a finished kernel build"))]
    NoFile {
        /// Its path.
        file: &'static str,
    },
    /// Files that the link reads are not there.
    #[error("the link needs {}, which {} not there", files.join(", "), if files.len() == 1 { "is" } else { "are" })]
    #[diagnostic(help("give the folder of a finished build, or run make there"))]
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
    #[diagnostic(help("give the folder of a finished kernel build"))]
    Uncompressed,
    /// The compressed kernel that stands there is not of the codec that the folder is configured for.
    #[error("the compressed kernel in the build folder is no {} stream, which piggy.S or .config say it is", want.name())]
    #[diagnostic(help("the folder is of an unfinished build: run make there"))]
    OtherStream {
        /// The codec.
        want: Codec,
    },
    /// The two files that tell the codec disagree.
    #[error("piggy.S includes {path}, but .config says CONFIG_KERNEL_{config}=y")]
    #[diagnostic(help("the configuration was changed after the build: run make once more"))]
    TwoCodecs {
        /// The file in `.incbin`.
        path: String,
        /// The option's last part.
        config: &'static str,
    },
    /// The path cannot stand in the assembler's quotes.
    #[error("the path of the compressed kernel has a {what} in it, which the assembler does not take as it stands")]
    #[diagnostic(help("name the file in another way with `request.path`"))]
    Path {
        /// The character.
        what: &'static str,
    },
    /// No kernel of this CPU has a piggy.
    #[error("kernels for {found} have no piggy.o")]
    #[diagnostic(help(
        "x86 and 32-bit ARM have one (x86_64, i386, arm, armeb); other CPUs' images are flat or EFI zboot"
    ))]
    WrongCpu {
        /// The CPU.
        found: String,
    },
    /// piggy.o did not come out.
    #[error(transparent)]
    #[diagnostic(help("a 32-bit object holds less than 4 GiB"))]
    Object(layout::Error),
}

const NOT_BUILT: &str =
    "give the folder of a finished kernel build, with arch/*/boot/compressed/.vmlinux.cmd as kbuild wrote it";
const NO_SHELL: &str = "kimage splits kbuild's kept command into words itself and never starts a shell: build the kernel \
                        with plain linker flags, or repair the .cmd file";

/// Why kbuild's link command cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum LinkError {
    /// The file has no command.
    #[error("no line of the form `cmd_… := …` or `savedcmd_… := …` is in the .cmd file")]
    #[diagnostic(help("{NOT_BUILT}"))]
    NoCommand,
    /// The shell would have to do more than to part words.
    #[error("the kept command has {what} at offset {at}{}{}", if .found.is_empty() { "" } else { ": " }, .found)]
    #[diagnostic(help("{NO_SHELL}"))]
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
    #[diagnostic(help("name the linker with `request.linker`"))]
    NotALinker {
        /// Its first word.
        found: String,
    },
    /// An option that writes further files, or that brings in what the words do not show.
    #[error("the kept link command has `{option}`, which {why}")]
    #[diagnostic(help("build the kernel's decompressor without this option"))]
    Option {
        /// The option.
        option: String,
        /// What it does.
        why: &'static str,
    },
    /// An option's value is missing.
    #[error("the kept link command ends in `{option}`, which wants a value")]
    #[diagnostic(help("{NO_SHELL}"))]
    NoValue {
        /// The option.
        option: String,
    },
    /// Something that every link of a decompressor has is missing, or is there twice.
    #[error("the kept link command has {count} {what}, wanted one")]
    #[diagnostic(help("{NOT_BUILT}"))]
    Count {
        /// What there must be one of.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The file has the command of another target.
    #[error("the command is kept for {target}, but writes {output}")]
    #[diagnostic(help("{NOT_BUILT}"))]
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
    pub(crate) fn which(&self) -> Option<(&'static str, usize)> {
        match self {
            Error::Image(error) => error.which(),
            _ => None,
        }
    }
}
