//! What a bzImage is made of, and what can be wrong with it.

use super::parse::Setup;
use crate::bytes::{FieldError, Patch};
use crate::codec::Codec;
use crate::elf;
use crate::layout::{self, Plan};
use crate::stub::builtin::BootStub;
use crate::stub::parameters::Parameters;
use crate::stub::{self, Stub};
use miette::Diagnostic;
use std::borrow::Cow;

/// How a kernel's own build puts its image together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// Up to Linux 6.6: `tools/build` pads the setup to sectors, fills in the header and the PE fields, adds the CRC.
    Patched,
    /// Linux 6.7 to 6.14 and late stable releases before it: the header is assembled complete; the tool pads the
    /// setup to pages and puts the CRC over the last four bytes.
    Padded,
    /// From Linux 6.15 on: no tool, no CRC; setup padded to pages, then the system as it is.
    Plain,
}

/// Whether the image ends in a CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrcChoice {
    /// As the kernel's own build has it: always in [`Generation::Patched`]; else by the release in `kernel_version`.
    #[default]
    ByGeneration,
    /// Written.
    Yes,
    /// The last four bytes stay as the linker left them.
    No,
}

/// What a bzImage is made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts<'a, 's> {
    /// The real-mode setup: flat, not padded. Before Linux 2.6.23 `bootsect`, and `setup` behind it ([`join_setup`](super::join_setup)).
    pub setup: Cow<'s, [u8]>,
    /// What follows it.
    pub decompressor: Decompressor<'a, 's>,
    /// Whether to write the CRC; an image for UEFI around kimage's own boot stub has none, for there signatures stand.
    pub crc: CrcChoice,
}

/// What unpacks the kernel, with the kernel.
#[derive(Debug, Clone)]
pub(crate) enum Decompressor<'a, 's> {
    /// `arch/x86/boot/compressed/vmlinux`, linked around its payload.
    Linked {
        /// The file.
        stub: &'s Stub<'a>,
        /// Major and minor number of the root's device, of which the build took 8 bits each up to Linux 3.2; later 0, 0.
        root_dev: (u32, u32),
    },
    /// A boot stub of kimage's own.
    Standalone(Box<Standalone<'a, 's>>),
}

/// A boot stub of kimage's own, and what it finds behind itself.
#[derive(Debug, Clone)]
pub(crate) struct Standalone<'a, 's> {
    /// The boot stub.
    pub stub: &'s BootStub,
    /// What the payload is compressed with.
    pub codec: Codec,
    /// The compressed kernel, with the size trailer where its codec has one.
    pub payload: Cow<'a, [u8]>,
    /// Bytes of it that are the trailer's.
    pub trailer: u64,
    /// What the stub is to know; lengths and places are filled in here.
    pub parameters: Parameters,
    /// The command line to build in.
    pub cmdline: Cow<'a, [u8]>,
    /// The RAM disks to build in, one behind the other.
    pub initrd: Vec<&'a [u8]>,
    /// What the image that the kernel is from says to it by its header; `None` where there was no image.
    pub inherited: Option<Inherited>,
    /// What the kernel is called.
    pub version: String,
    /// The setup is kimage's own, and has room for the version.
    pub is_setup_builtin: bool,
    /// Highest type of `setup_data` that the kernel knows, for `kernel_info`; 0 when that is not known.
    pub setup_type_max: u32,
    /// Be a program for UEFI firmware, too.
    pub efi: bool,
    /// A program for 32-bit firmware, behind the boot stub for CPUs of 64 bits; with [`efi`](Self::efi).
    pub mixed: Option<&'s BootStub>,
    /// Contents of the section `.sbat` for UEFI; empty for none.
    pub sbat: Cow<'a, [u8]>,
    /// Whether to leave out what follows the setup.
    pub setup_only: bool,
    /// Make no bzImage but the program of a unified kernel image, its kernel in the section `.linux`, with room in the headers
    /// for what belongs to it.
    pub is_unified: bool,
    /// Refuse an image that needs more bytes to start.
    pub max_memory: u64,
}

/// What a header says to the kernel, or of it, that the kernel itself does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// The root file system is mounted read-only first.
    pub root_flags: u16,
    /// Obsolete; rdev sets it.
    pub ram_size: u16,
    /// Video mode.
    pub vid_mode: u16,
    /// Device of the root file system, major and minor number in a byte each; 0 for none.
    pub root_dev: u16,
    /// Highest address of a byte of an initial RAM disk.
    pub initrd_addr_max: u32,
    /// Longest command line in bytes, its NUL not counted.
    pub cmdline_size: u32,
}

impl Inherited {
    /// What the header of an image says; what its protocol has no field for is as boot.rst has it for that protocol.
    pub(crate) fn of(setup: &Setup<'_>) -> Inherited {
        let header = setup.header();
        let since = |version, value: u32, before| if setup.has(version) { value } else { before };
        Inherited {
            root_flags: header.root_flags.get(),
            ram_size: header.ram_size.get(),
            vid_mode: header.vid_mode.get(),
            root_dev: header.root_dev.get(),
            initrd_addr_max: since(0x203, header.initrd_addr_max.get(), 0x37ff_ffff),
            cmdline_size: since(0x206, header.cmdline_size.get(), 255),
        }
    }
}

/// A planned bzImage, and what was decided on the way.
#[derive(Debug)]
pub(crate) struct Built<'a> {
    /// The image.
    pub plan: Plan<'a>,
    /// Header fields that were written.
    pub patches: Vec<Patch>,
    /// `kernel_version`'s text.
    pub kernel_version: Option<String>,
    /// What was decided.
    pub details: Details,
}

/// What was decided on the way to an image.
#[derive(Debug)]
pub(crate) enum Details {
    /// For a kernel's own decompressor.
    Linked {
        /// How the kernel's own build does it.
        generation: Generation,
        /// Protocol version of the header.
        protocol: u16,
        /// Bytes of the setup, with the `.reloc` and `.compat` sections that were reserved behind it.
        setup_len: u64,
        /// Bytes of the setup when padded.
        setup_padded: u64,
        /// Bytes of the flat system.
        system_len: u64,
    },
    /// For a boot stub of kimage's own.
    Standalone {
        /// What the payload is compressed with.
        codec: Codec,
        /// What the stub is told.
        parameters: Parameters,
        /// The stub is for CPUs of 64 bits.
        is_64: bool,
    },
}

/// The parts do not make a bzImage.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The setup has an impossible field.
    #[error("setup: {0}")]
    #[diagnostic(transparent)]
    Setup(#[from] FieldError),
    /// The decompressor is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stub(#[from] stub::Error),
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// Setup and decompressor are not of the same build.
    #[error(
        "setup and vmlinux do not belong together: {field} at offset {at:#x} of the setup says {found:#x}, {symbol} of vmlinux says {want:#x}"
    )]
    #[diagnostic(help("give both files from the same build of the same kernel"))]
    Mixed {
        /// The field of the setup.
        field: &'static str,
        /// Its offset.
        at: u64,
        /// Its value.
        found: u64,
        /// What vmlinux has instead.
        symbol: &'static str,
        /// The value there.
        want: u64,
    },
    /// The setup is too long for `setup_sects`.
    #[error("setup: {len} bytes are {sectors} sectors, setup_sects at offset 0x1f1 can say at most {max}")]
    #[diagnostic(help("give arch/x86/boot/setup.bin or setup.elf, not a whole image"))]
    SetupTooLong {
        /// Bytes of the setup.
        len: u64,
        /// Sectors when padded.
        sectors: u64,
        /// Sectors allowed.
        max: u64,
    },
    /// A zImage is loaded at 64 KiB, into what a PC has free there (`DEF_SYSSIZE` of build.c).
    #[error("the protected-mode code is {len} bytes with its padding, a zImage can have at most {max}")]
    #[diagnostic(help("link setup and decompressor as a bzImage's, or leave out of the kernel what can be a module"))]
    TooLargeForLow {
        /// Bytes of the system.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The kernel's build writes no such field any more.
    #[error(
        "setup: root_dev at offset 0x1fc is 0 in every kernel of protocol {protocol:#x}: builds since Linux 3.3 write no other"
    )]
    #[diagnostic(help("name the root's device on the kernel's command line: root="))]
    RootDev {
        /// The protocol's version.
        protocol: u16,
    },
    /// The release does not tell whether the image ends in a CRC.
    #[error(
        "kernel_version at offset 0x20e of the setup gives no release ({found}), so nothing tells whether this kernel's build writes the CRC"
    )]
    #[diagnostic(help("say `request.crc` yes (kernels before 6.15) or `request.crc` no (6.15 and later)"))]
    UnknownRelease {
        /// What stands there.
        found: String,
    },
    /// A field changes with the link, and the old link does not explain its value.
    #[error(
        "setup: {field} at offset {at:#x} is {found:#x}{}, and it changes with the new link",
        .want.map_or_else(String::new, |want| format!(", by zoffset.h it should be {want:#x}"))
    )]
    #[diagnostic(help("setup.bin and zoffset.h of the build folder are not of one build: run make there"))]
    Unfollowed {
        /// The field.
        field: &'static str,
        /// Its offset.
        at: u64,
        /// Its value.
        found: u64,
        /// What it would be by the old link.
        want: Option<u64>,
    },
    /// EFI mixed mode needs one entry point for both.
    #[error(
        "32-bit and 64-bit EFI entry points do not match: efi32_stub_entry is {found:#x}, efi64_stub_entry - 0x200 is {want:#x}"
    )]
    #[diagnostic(help("the decompressor's head_64.S and setup are not of the same kernel"))]
    MixedEntry {
        /// `efi32_stub_entry`.
        found: u64,
        /// `efi64_stub_entry` - 0x200.
        want: u64,
    },
    /// The setup is too old for what has to be said in its header.
    #[error("setup: version at offset 0x206 is {found:#x}, the boot stub needs {OLDEST_STANDALONE:#x} (2.12) or newer")]
    #[diagnostic(help("leave SETUP out: then kimage's own is used"))]
    OldSetup {
        /// The version.
        found: u16,
    },
    /// A built-in part of kimage is damaged.
    #[error("the built-in boot stub")]
    #[diagnostic(transparent)]
    BuiltIn(#[from] elf::Error),
    /// The command line is longer than kernels read.
    #[error("the command line has {len} bytes, the kernel reads at most {max}")]
    #[diagnostic(help("shorten it"))]
    Cmdline {
        /// Its length.
        len: u64,
        /// What `cmdline_size` says.
        max: u64,
    },
    /// The image would need more memory than allowed.
    #[error("the image needs {need} bytes of memory to start, more than {max}")]
    #[diagnostic(help("allow it with `request.max_memory`, or pass the initrd by the boot loader"))]
    TooLarge {
        /// Bytes needed.
        need: u64,
        /// Bytes allowed.
        max: u64,
    },
}

/// The oldest protocol of a setup in front of kimage's boot stub: its header has all fields up to `init_size`.
pub(super) const OLDEST_STANDALONE: u16 = 0x20c;
