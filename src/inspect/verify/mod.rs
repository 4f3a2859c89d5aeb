//! Every claim of every layer, held against what is there.
//!
//! The rules that need one layer alone stand with its format (`bzimage::check`, `pe::check`) or in the file of its family here;
//! those across layers (does the payload's length fit the stream, does the header fit the kernel?) stand here. What was
//! noticed while the file was read is among the findings too.

mod against;
mod authenticode;
mod containers;
mod elf;
mod module;
mod signatures;
mod signed;
mod tree;
mod x86;

pub use against::against;
pub use authenticode::FirmwareRequest;
pub use module::fits;
pub(crate) use signed::holds;
pub use signed::{Trust, decrypted, signed};

use super::rules::{DAMAGED, LIMIT, STREAM_DAMAGED};
use super::{FoundBy, Kind, Layer, LayerId, Opened};
use crate::bytes::Cursor;
use crate::codec::Codec;
use crate::elf::data_end;
use crate::finding::{Checks, Finding, Rule, Severity, rules};
use crate::format::Format;
use crate::format::android::BootImage;
use crate::format::bzimage::{BzImage, StandaloneImage};
use crate::format::disk::{self, Disk};
use crate::format::fdt::Dtb;
use crate::format::foreign::Foreign;
use crate::format::image64::Image64;
use crate::format::pe::{DosHeader, E_LFANEW, Pe};
use crate::format::trx::Trx;
use crate::format::uki::check as uki;
use crate::layout::{Region, RegionKind};
use crate::payload::search::SEARCH_LIMIT;

/// A finding, and the layer it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFinding {
    /// The layer.
    pub layer: LayerId,
    /// What was found; its offset counts from the layer's first byte.
    pub finding: Finding,
}

/// What came of holding a file to its claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many claims were looked at.
    pub checks: u64,
    /// Those that do not hold, layer by layer from the outside in.
    pub findings: Vec<LayerFinding>,
}

impl Verified {
    /// Findings of that severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.finding.severity == severity).count()
    }

    /// Why the verdict is neither good nor, without an error, bad: not all of the file could be looked at.
    pub fn unknown(&self) -> Option<&'static str> {
        let is_broken = |rule: &Rule| self.findings.iter().any(|found| found.finding.rule == rule.id);
        NOT_KNOWN.iter().find(|(rule, _)| is_broken(rule)).map(|(_, why)| *why)
    }

    /// All that the file claims holds; what kimage cannot check is another matter ([`Verified::unchecked`]).
    pub fn is_good(&self) -> bool {
        self.count(Severity::Error) == 0 && self.unknown().is_none()
    }

    /// What is there and was not checked, each once, from the outside in.
    pub fn unchecked(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for name in self.findings.iter().filter_map(|found| found.finding.unchecked) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Adds what came of further rules.
    pub fn append(&mut self, other: Verified) {
        self.checks += other.checks;
        self.findings.extend(other.findings);
    }
}

rules! {
    ACROSS:
    PE_HEADER = "pe.header", Error, "MS-DOS header",
        "UEFI firmware does not take the file for a program",
        "copy the image again; if a tool took the header off, it is for BIOS boot loaders alone";
    KERNEL_MAGIC = "pe.kernel_magic", Error, "magic number of a kernel",
        "UEFI firmware starts this image; other boot loaders do not know it for a kernel",
        "copy the image again";
    PAYLOAD_CODEC = "payload.codec", Error, "beginning of the payload",
        "the decompressor fails, or boot loaders that unpack the kernel themselves do",
        "copy the image again; an encrypted or foreign payload is not known to kimage";
    PAYLOAD_LENGTH = "payload.length", Error, "length of the payload",
        "the length in the header is not that of the stream: boot loaders that unpack the kernel themselves may fail",
        "build the image again with the zoffset.h of this decompressor";
    PAYLOAD_SIZE = "payload.size", Error, "size behind the stream",
        "the decompressor sets aside the wrong amount of memory, and looks for relocations in the wrong place: the \
         kernel does not boot",
        "append the size as the kernel's build does (kimage compress `request.with_size`)";
    UNEXPLAINED = "data.unexplained", Note, "data around the images",
        "no header tells what they are: nobody looked whether they are whole",
        "";
    KERNEL_END = "kernel.end", Error, "end of the kernel",
        "the file was cut off: the kernel lacks data, and does not boot",
        "copy the file again, whole";
    NO_END = "kernel.no_end", Note, "end of the file",
        "neither a header nor the kernel's own symbols say how long it is: nobody looked whether the file was cut off",
        "compare its length, or a sum of it, with that of the original";
    FOREIGN = "data.foreign", Note, "file of another kind",
        "kimage does not read what is in it: nobody looked whether it is whole",
        "take out of it what is to be checked, with the tools for such files, and check that";
}

const NO_ENDS: &str = "ends of files that state no length";
const OTHERS: &str = "contents of files of other kinds";
const IN_PIECES: &str = "a file system may have a file in pieces: take it out of the file system, and check that";

/// What leaves open whether a file is good, and how a verdict says it.
const NOT_KNOWN: [(&Rule, &str); 7] = [
    (&disk::UNREAD, "kimage does not read all partitions"),
    (&disk::IN_PIECES, "not all images on the disk were looked at"),
    (&UNEXPLAINED, "no header tells what the file is"),
    (&FOREIGN, "kimage does not check files of this kind"),
    (&LIMIT, "not all that is inside was looked at"),
    (&module::UNKNOWN, "what the kernel exports"),
    (&SEARCH_LIMIT, "not all of it was searched"),
];

/// The rules of [`verify`] and [`against`] that do not stand with a format.
pub(crate) const RULES: [&[&Rule]; 8] = [
    ACROSS,
    authenticode::RULES,
    x86::RULES,
    elf::RULES,
    tree::RULES,
    signatures::RULES,
    against::RULES,
    module::RULES,
];

/// Holds every layer of a file that was taken apart ([`super::open`]) to its claims.
///
/// # Example
///
/// ```
/// use kimage::assemble::{CrcChoice, bzimage};
/// use kimage::inspect::{Limits, open, verify::verify};
///
/// let vmlinux = include_bytes!("../../../testdata/tiny/vmlinux");
/// let setup = include_bytes!("../../../testdata/tiny/setup.bin");
/// let mut image = Vec::new();
/// bzimage(vmlinux, setup, CrcChoice::default())?.emit(&mut image)?;
/// assert!(verify(&open(&image, &Limits::default())?).is_good());
///
/// image[0x2000] ^= 1;
/// let damaged = verify(&open(&image, &Limits::default())?);
/// assert!(damaged.findings.iter().any(|found| found.finding.rule == "bzimage.crc32"));
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn verify(opened: &Opened<'_>) -> Verified {
    let mut verified = Verified::default();
    // A file system may have a file in pieces, which only look like a damaged one.
    let in_pieces = opened
        .layers()
        .first()
        .is_some_and(|file| file.kind == Kind::Data && Foreign::detect(opened.bytes(file)).is_some());
    for layer in opened.layers() {
        // A layer that could not be read makes no claims.
        let checks = if layer.is_damaged() { Checks::default() } else { check(opened, layer) };
        verified.checks += checks.count() + 1;
        let found = checks.into_findings();
        let read = layer.findings.iter().filter(|one| !found.iter().any(|other| other.rule == one.rule));
        let mut all: Vec<Finding> = read.cloned().chain(found.iter().cloned()).collect();
        let may_be_in_pieces = in_pieces && layer.parent.is_some() || is_scanned_on_disk(opened, layer);
        for finding in all.iter_mut().filter(|finding| may_be_in_pieces && finding.severity == Severity::Error) {
            finding.severity = Severity::Warning;
            finding.help = IN_PIECES.into();
        }
        verified.findings.extend(all.into_iter().map(|finding| LayerFinding { layer: layer.id, finding }));
    }
    verified
}

/// Is it in a partition that is not read?
fn is_scanned_on_disk(opened: &Opened<'_>, layer: &Layer) -> bool {
    let mut inner = layer;
    while let Some(outer) = inner.parent.and_then(|id| opened.layer(id)) {
        if outer.kind == Kind::Known(Format::Disk) {
            return inner.found_by == FoundBy::Scan;
        }
        inner = outer;
    }
    false
}

fn check(opened: &Opened<'_>, layer: &Layer) -> Checks {
    let bytes = opened.bytes(layer);
    let mut checks = Checks::default();
    match layer.kind {
        Kind::Known(Format::BzImage) => {
            x86::check(opened, layer, &mut checks);
            efi(bytes, is_from_kernel_build(bytes), &mut checks);
        }
        Kind::Known(Format::ZImage) => {
            containers::zimage(opened, layer, &mut checks);
            efi(bytes, true, &mut checks);
        }
        Kind::Known(Format::Image64(_)) => {
            if let Ok(image) = Image64::parse(bytes) {
                checks.append(image.check(bytes));
            }
            efi(bytes, true, &mut checks);
            if !Pe::detect(bytes) {
                end(opened, layer, &mut checks);
            }
        }
        Kind::Known(Format::Zboot) => {
            containers::zboot(opened, layer, &mut checks);
            efi(bytes, false, &mut checks);
        }
        Kind::Known(Format::Pe) if Pe::parse(bytes).is_ok_and(|pe| pe.is_for_windows()) => {
            checks.not_checked(&FOREIGN, None, "a program for Windows", OTHERS);
        }
        Kind::Known(Format::Uki | Format::Pe) => {
            let lost = crate::format::lost_magic(bytes);
            let found = lost.map_or(String::new(), |(what, _)| format!("none, in what is {what} otherwise"));
            checks.expect(&KERNEL_MAGIC, lost.map(|(_, at)| at), lost.is_none(), found, "the one that it had");
            efi(bytes, false, &mut checks);
            signatures::uki(bytes, &mut checks);
            if let Ok(pe) = Pe::parse(bytes) {
                uki::check(&pe, &mut checks);
            }
        }
        Kind::Known(Format::UImage) => containers::uimage(opened, layer, &mut checks),
        Kind::Known(Format::Fdt) => {
            if let Ok(dtb) = Dtb::parse_at(bytes, 0) {
                checks.append(dtb.check());
                tree::trailer(bytes, &dtb, &mut checks);
            }
        }
        Kind::Known(Format::Fit) => {
            tree::fit(opened, layer, &mut checks);
        }
        Kind::Known(Format::Android) => {
            if let Ok(image) = BootImage::parse(bytes) {
                checks.append(image.check(bytes));
            }
            signatures::android(bytes, &mut checks);
        }
        Kind::Known(Format::Elf) => {
            elf::check(opened, layer, &mut checks);
            payload(opened, layer, None, &mut checks);
        }
        Kind::Relocs => elf::relocs(opened, layer, &mut checks),
        Kind::Known(Format::Trx) => {
            if let Ok(trx) = Trx::parse(bytes) {
                checks.append(trx.check());
            }
        }
        Kind::Known(Format::TpLink) => signatures::tplink(bytes, &mut checks),
        Kind::Known(Format::ChromeOs) => signatures::chromeos(&mut checks),
        Kind::Known(Format::Disk) => checks.append(Disk::read(bytes).checks),
        Kind::Known(Format::Cpio) => signatures::cpio(bytes, &mut checks),
        Kind::Known(Format::Compressed(Codec::Lz4Legacy)) if layer.parent.is_none() => {
            let facts = ["decompressed_size", "size_trailer"].map(|name| layer.facts.get(name).map(|fact| &fact.value));
            if let [Some(super::Value::Number(size)), None] = facts {
                if crate::codec::may_go_on(*size) {
                    checks.not_checked(&NO_END, layer.size(), "the stream may go on behind it", NO_ENDS);
                }
            }
        }
        // Their readers check all there is.
        Kind::Known(
            Format::Compressed(_) | Format::KernelImg | Format::Symvers | Format::DtTable | Format::Mtk | Format::S390,
        ) => {}
        Kind::Data => {
            signatures::data(opened.layers().first().map_or(bytes, |file| opened.bytes(file)), bytes, &mut checks);
            unexplained(layer, bytes, &mut checks);
        }
        Kind::Kernel => end(opened, layer, &mut checks),
        Kind::Config => {}
    }
    if layer.parent.is_none() {
        signatures::verified_boot(bytes, &mut checks);
    }
    checks
}

/// Whether a kernel was cut off that no header bounds, and no container around it.
fn end(opened: &Opened<'_>, layer: &Layer, checks: &mut Checks) {
    /// The largest: where the last section ends, some linker scripts go up to the next one.
    const PAGE: u64 = 64 << 10;
    let outer = layer.parent.and_then(|id| opened.layer(id)).map(|outer| outer.kind);
    let is_bounded = outer.is_some_and(|kind| kind != Kind::Known(Format::KernelImg));
    let has_tree_behind = opened.children(layer.id).any(|child| child.name.starts_with("dtb"));
    if is_bounded || has_tree_behind {
        return;
    }
    let len = layer.size();
    match data_end(opened.bytes(layer), opened.arch_of(layer.id)) {
        Some(end) if len < end && len + PAGE > end => {}
        Some(end) => {
            let wanted = format!("{end} at least, by its own symbols");
            return checks.expect(&KERNEL_END, len, len >= end, format!("{len} bytes"), wanted);
        }
        None => {}
    }
    checks.not_checked(&NO_END, len, "nothing says where the kernel ends", NO_ENDS);
}

/// A file that nothing explains but images in the middle of it, or that is of a kind that is not read.
fn unexplained(layer: &Layer, bytes: &[u8], checks: &mut Checks) {
    let is_between = |region: &&Region| region.kind == RegionKind::Data && region.name.starts_with("data");
    let len: u64 = layer.regions.iter().filter(is_between).map(|region| region.at.end - region.at.start).sum();
    if layer.parent.is_some() {
        return;
    }
    if let Some(foreign) = Foreign::detect(bytes) {
        checks.not_checked(&FOREIGN, None, foreign.name, OTHERS);
    } else if len > 0 {
        checks.not_checked(&UNEXPLAINED, None, format!("{len} bytes"), "data that no header explains");
    }
}

/// A bzImage for which the rules of a kernel's build hold: not around our own boot stub, and no other program.
fn is_from_kernel_build(bytes: &[u8]) -> bool {
    BzImage::parse(bytes).is_ok_and(|image| image.setup().is_linux() && StandaloneImage::find(&image).is_none())
}

/// The EFI side of an image that has one.
fn efi(bytes: &[u8], is_kernel: bool, checks: &mut Checks) {
    let DosHeader { is_mz, lfanew, leads } = DosHeader::read(bytes);
    let found =
        if is_mz { format!("MZ, and no PE header at {lfanew:#x}") } else { "a PE header without MZ".to_owned() };
    let at = if is_mz { E_LFANEW } else { 0 };
    checks.expect(&PE_HEADER, at, is_mz == leads, found, "MZ and a PE header, or neither");
    if let Some(pe) = Pe::parse(bytes).ok().filter(|_| is_mz) {
        checks.append(pe.check(is_kernel));
    }
}

/// The payload that a kernel's decompressor holds: the stream, and behind it its size unless the codec is gzip. `at` is
/// where the header of `layer` says so.
fn payload(opened: &Opened<'_>, layer: &Layer, at: impl Into<Option<u64>>, checks: &mut Checks) {
    let Some(payload) = opened.children(layer.id).find(|child| child.name == "payload") else { return };
    let Kind::Known(Format::Compressed(codec)) = payload.kind else {
        let found = format!("{:02x?}", opened.bytes(payload).get(..4).unwrap_or(&[]));
        checks.expect(&PAYLOAD_CODEC, payload.in_parent.start, false, found, "the magic number of a codec");
        return;
    };
    let stopped = [&DAMAGED, &STREAM_DAMAGED, &LIMIT].map(|rule| rule.id);
    if payload.findings.iter().any(|finding| stopped.contains(&finding.rule)) {
        return;
    }
    let has = |name: &str| payload.regions.iter().find(|region| region.name == name);
    let rest: &Option<&Region> = &has("trailer");
    let (start, len) = (payload.in_parent.start, payload.size());
    if let (Some(rest), None) = (rest, has("size")) {
        if codec != Codec::Gzip && rest.at.end - rest.at.start == 4 {
            let word = Cursor::little(opened.bytes(payload)).u32("size", rest.at.start).unwrap_or(0);
            let produced = payload.facts.get("decompressed_size").map_or(String::new(), super::Fact::text);
            checks.expect(&PAYLOAD_SIZE, start + rest.at.start, false, word, produced);
            return;
        }
    }
    let wanted = match (codec, rest) {
        (_, Some(rest)) => rest.at.start,
        (Codec::Gzip, None) => has("stream").map_or(0, |stream| stream.at.end),
        // Without its size, four bytes are missing.
        (_, None) if has("size").is_none() => len + 4,
        _ => len,
    };
    checks.expect(&PAYLOAD_LENGTH, at, wanted == len, len, wanted);
    checks.expect(&PAYLOAD_SIZE, start + len, true, "", "");
}

/// The decompressed kernel in the payload of `layer`.
fn kernel<'o>(opened: &'o Opened<'_>, layer: &Layer) -> Option<&'o Layer> {
    let payload = opened.children(layer.id).find(|child| child.name == "payload")?;
    opened.children(payload.id).find(|child| child.name == "vmlinux" && !child.is_damaged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::bzimage::CRCS;
    use crate::inspect::{Limits, open};

    /// The CRC takes a pass over the whole image: once for all that `verify` looks at, and none for a part.
    #[test]
    fn a_bzimage_is_hashed_once() {
        let vmlinux = include_bytes!("../../../testdata/tiny/vmlinux");
        let setup = include_bytes!("../../../testdata/tiny/setup.bin");
        let built = crate::assemble::bzimage(vmlinux, setup, crate::assemble::CrcChoice::Yes).unwrap();
        let mut image = Vec::new();
        built.emit(&mut image).unwrap();
        let count = |work: &dyn Fn()| {
            let before = CRCS.get();
            work();
            CRCS.get() - before
        };
        let verified = count(&|| {
            let opened = open(&image, &Limits::default()).unwrap();
            let crc = opened.layers()[0].facts.get("crc32").unwrap().meaning.clone();
            assert_eq!(crc.as_deref(), Some("right"));
            assert!(opened.layers()[0].regions.iter().any(|region| region.name == "crc32"));
            assert_eq!(verify(&opened).count(Severity::Error), 0);
        });
        assert_eq!(verified, 1);
        let extracted = count(&|| {
            let mut opened = Opened::new(&image, &Limits::default()).unwrap();
            assert!(opened.part("setup").is_some());
        });
        assert_eq!(extracted, 0);
    }
}
