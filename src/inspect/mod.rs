//! Layer 8: reading: detect, parse, peel.
//!
//! [`open`] takes a file apart into its [`Layer`]s: a uImage holds a zImage, which holds a gzip stream, which holds a
//! kernel, which holds its configuration. Each layer says what it is, where it stands, what it consists of
//! ([`crate::layout::Region`]), what it says about itself ([`Fact`]), what was noticed ([`Finding`]) and which named
//! [`Part`]s it has. `info`, `map`, `verify`, `diff` and `extract` all read these and nothing else.
//!
//! Layers stand in one list, in the order of a walk from the outside in; [`Layer::parent`] makes it a tree. What was
//! decompressed is owned by [`Opened`] and lent out by [`Opened::bytes`], so a layer is plain data, and every typed view
//! (`BzImage`, `Elf`, …) is parsed from its bytes again: that reads headers only. What takes a pass over all bytes is done
//! once and kept in the layer.
//!
//! Nothing is peeled before somebody asks: [`Opened::new`] reads the outermost layer only, [`Opened::peel`] the next one.
//! [`Limits`] bound depth, number of layers and decompressed bytes, whatever the file claims.

mod abi;
mod describe;
pub mod diff;
mod fact;
mod flat;
pub mod map;
mod measure;
mod opened;
mod packed;
pub(crate) mod rules;
mod stored;
mod symbols;
pub mod verify;

pub(crate) use describe::{PAYLOAD, size_word};
pub(crate) use fact::utc;
pub use fact::{Fact, Facts, Row, Value};
pub(crate) use measure::RULES as MEASURE_RULES;
pub use measure::{MeasureRequest, Measurement, measure};
pub use opened::{FactFound, Opened, open};
pub use packed::PackedKernel;
pub(crate) use rules::RULES;
pub use stored::StoredFile;
pub use symbols::{SymbolSource, WithSymbols};

use crate::codec;
use crate::finding::Finding;
use crate::format::Format;
use crate::layout::Region;
use std::borrow::Cow;
use std::ops::Range;

/// How far a file is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Layers one inside the other; the file itself is the first.
    pub depth: u32,
    /// Layers in all.
    pub layers: usize,
    /// Decompressed bytes in all.
    pub size: u64,
    /// Bytes of memory for streams that do not say how much they hold ([`codec::Codec::declared_size`],
    /// [`codec::Codec::undeclared_size`]); [`codec::PER_BYTE`] for each byte of the file are taken in any case. What reaches
    /// a limit is not looked at, and said to be there.
    pub undeclared: u64,
    /// The magic number of a vendor's uImages, beside U-Boot's own.
    pub uimage_magic: Option<u32>,
}

impl Default for Limits {
    /// 16 deep, 1024 in all, 1 GiB; [`codec::LEAST`] for streams that do not say how much they hold.
    fn default() -> Self {
        Limits { depth: 16, layers: 1024, size: 1 << 30, undeclared: codec::LEAST, uimage_magic: None }
    }
}

/// The index of a layer in [`Opened::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct LayerId(pub usize);

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A format with a header of its own.
    Known(Format),
    /// A kernel without any header, as ARM's `Image` is: found by its version banner.
    Kernel,
    /// The relocation table behind an x86 kernel.
    Relocs,
    /// A kernel's `.config`.
    Config,
    /// Something that no header explains.
    Data,
}

impl Kind {
    /// A stable name for programs.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Kind::Known(format) => format.id(),
            Kind::Kernel => "kernel",
            Kind::Relocs => "relocs",
            Kind::Config => "config",
            Kind::Data => "data",
        }
    }
}

/// How a layer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundBy {
    /// A header says where it is.
    Header,
    /// No header says it: it was searched for by its magic number, and decoded to be sure.
    Scan,
}

/// Which bytes a layer's offsets count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The file.
    File,
    /// The decompressed contents of this layer.
    Inside(LayerId),
}

/// One layer of a file.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its index.
    pub id: LayerId,
    /// The layer around it.
    pub parent: Option<LayerId>,
    /// 0 for the file itself.
    pub depth: u32,
    /// What it is to its parent, unique among its siblings: `payload`, `dtb[1]`; `file` for the outermost.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it is, for people: `x86 bzImage, boot protocol 2.15`.
    pub title: String,
    /// What [`Layer::at`] counts in.
    pub space: Space,
    /// Where it stands there, end exclusive.
    pub at: Range<u64>,
    /// Where it stands in its parent, counted from the parent's first byte; in its contents, if that is compressed.
    pub in_parent: Range<u64>,
    /// How it was found.
    pub found_by: FoundBy,
    /// What it consists of, in order; offsets count from its own first byte.
    pub regions: Vec<Region>,
    /// What it says about itself.
    pub facts: Facts,
    /// What was noticed while it was read; [`Finding::offset`] counts from its own first byte.
    pub findings: Vec<Finding>,
    buffer: Buffer,
    /// A bzImage's CRC-32, which takes a pass over all its bytes.
    crc: Option<u32>,
}

impl Layer {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.at.end - self.at.start
    }

    /// True when it could not be read for what it claims to be.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.rule == rules::DAMAGED.id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Buffer {
    Input,
    Owned(usize),
}

/// Something with a name that `kimage extract` can write: bytes of one layer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    /// `vmlinux`, `dtb[2]`; always one of kimage's own names, never one from the file.
    pub name: String,
    /// What it is, in words.
    pub what: Cow<'static, str>,
    /// The layer that has its bytes.
    pub layer: LayerId,
    /// Which of them, counted from the layer's first byte.
    #[serde(flatten, serialize_with = "crate::layout::place")]
    pub at: Range<u64>,
}

/// The names of parts, and what they stand for.
pub(crate) const PARTS: &[(&str, &str)] = &[
    ("vmlinux", "the kernel itself, decompressed: an ELF file, or a flat Image on CPUs that have that"),
    ("payload", "the compressed kernel alone, as its codec's command reads it"),
    ("piggy", "the compressed kernel as the kernel's build linked it in, with the size behind it"),
    ("relocs", "the relocation table behind an x86 kernel (vmlinux.relocs)"),
    ("setup", "the real-mode code of a bzImage, with the boot protocol's header"),
    ("decompressor", "the program around the compressed kernel, as it is loaded: the payload is inside"),
    ("kernel", "the kernel as a container (uImage, FIT, UKI, boot.img) holds it"),
    ("config", "the kernel's .config (CONFIG_IKCONFIG)"),
    ("initramfs", "the initial RAM disk, built into the kernel or beside it in a container"),
    ("dtb[N]", "a device tree blob"),
    ("image[N]", "a file of a multi-file uImage or a FIT; an image in the middle of other data"),
    ("trailer", "what stands behind the end of an image: a file system, a signature"),
    ("cmdline", "the kernel command line of a UKI or a boot.img, or in kimage's boot stub"),
    ("banner", "the kernel's version text"),
    ("btf", "the kernel's description of its types (BTF), as bpftool reads it"),
    ("notes", "the notes of a kernel: build id, entry points for Xen and PVH"),
    ("orc_unwind", "the stack unwinder's table of an x86 kernel in an ELF file"),
    ("orc_unwind_ip", "the addresses to that"),
    ("orc_header", "the hash of that table's layout"),
    ("modinfo", "what modinfo says of built-in modules, in a vmlinux that has it"),
    ("initcalls", "the functions that start what is built into the kernel, by its symbols: address, level and name"),
    ("second", "the second-stage boot loader of a boot.img"),
    ("recovery_dtbo", "the device tree overlays, or the ACPI tables, for recovery in a boot.img"),
    ("dt", "the device tree table of an old boot.img"),
    ("bootconfig", "the boot configuration of a vendor_boot.img"),
    ("signature", "the signature in a boot.img"),
    ("sbat", "the SBAT table of an EFI image"),
    ("osrel", "the os-release of a UKI"),
    ("uname", "the kernel release of a UKI"),
    ("ucode", "the CPU microcode of a UKI or its addon"),
    ("splash", "the splash picture of a UKI"),
    ("pcrsig", "the signatures of the expected PCR values, for a UKI"),
    ("pcrpkey", "the public key of these signatures"),
    ("hwids", "the hardware identifiers for which a UKI has device trees"),
    ("dtbauto[N]", "a device tree of a UKI for certain hardware"),
    ("efifw[N]", "a firmware image of a UKI for certain hardware"),
    ("profile[N]", "the description of a UKI's profile"),
];
