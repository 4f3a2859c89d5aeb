//! Layer 9: an image with something in it changed: the RAM disk or command line built into the kernel, the device tree behind
//! it, its compression.
//!
//! A kernel is taken out, changed where it stands in memory and put back into the place that it had, so that nothing that its
//! decompressor was linked with changes. Where that is not possible, kernels of x86 and ARM get kimage's own boot stub.

mod container;
mod kernel;
mod packed;

use crate::assemble::{
    self, Assembled, Facts, Firmware, StandaloneRequest, Step, ZImageRequest, rewrapped, zimage_rewrapped,
};
use crate::bytes::{Cursor, Endian, len64, slice};
use crate::codec::{Codec, Parameters, size_trailer};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::format::Format;
use crate::format::boot_elf;
use crate::format::bzimage::{BzImage, StandaloneImage, XLF_EFI_HANDOVER_32};
use crate::format::fdt::Behind;
use crate::format::pe::{self, Pe};
use crate::format::uimage::{self, COMP_NONE, UImage, comp_id};
use crate::format::zimage::ZImage;
use crate::format::zimage_stub::StubImage;
use crate::inspect::{Limits, Opened};
use crate::layout::Reserver;
use crate::stub::parameters::{CMDLINE_OVERRIDES, KASLR};
use kernel::{Line, Outside, change};
use packed::Packed;

/// What is to be changed.
#[derive(Debug, Clone, Default)]
pub struct EditRequest<'a> {
    /// The archive, compressed or not, in place of the one that is built into the kernel.
    pub initramfs: Option<&'a [u8]>,
    /// The command line to build in, in place of the kernel's own.
    pub cmdline: Option<&'a [u8]>,
    /// The device tree behind an ARM zImage, in place of those that are there.
    pub dtb: Option<&'a [u8]>,
    /// Compress the kernel anew, by this codec.
    pub codec: Option<Codec>,
    /// What the codec is told; with a level, the kernel is compressed anew.
    pub parameters: Parameters,
    /// Refuse an image that needs more memory to start, in bytes; where kimage's own boot stub is in it.
    pub max_memory: u64,
    /// How far the image is unpacked.
    pub limits: Limits,
}

/// An image with something in it changed: x86 bzImage, ARM zImage, arm64 and RISC-V `Image` and flat kernels, compressed or not,
/// zboot images; uImages, FITs and Android's boot images of these.
///
/// The steps of the result say what was done. Signatures are left out, checksums computed anew.
///
/// # Errors
/// [`Error::NotEdited`] says what cannot be changed, why, and what to do; [`Error::Input`] and [`Error::WrongInput`], what is
/// wrong with the image.
///
/// # Example
///
/// ```
/// use kimage::assemble::{DEFAULT_MAX_SIZE, StandaloneRequest, bzimage_standalone};
/// use kimage::edit::{EditRequest, edit};
///
/// let kernel = include_bytes!("../../testdata/tiny/kernel");
/// let mut image = Vec::new();
/// bzimage_standalone(kernel, &StandaloneRequest::default())?.emit(&mut image)?;
/// let max_memory = DEFAULT_MAX_SIZE;
/// let changed = edit(&image, &EditRequest { cmdline: Some(b"quiet"), max_memory, ..EditRequest::default() })?;
/// assert_eq!(changed.steps[0].file, "cmdline");
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn edit(image: &[u8], request: &EditRequest<'_>) -> Result<Assembled<'static>> {
    let mut work =
        Work { request, steps: Vec::new(), findings: Vec::new(), wrapped: false, is_in_stream: false, depth: 0 };
    let bytes = work.image(image)?;
    let regions = Opened::new(&bytes, &request.limits)?.layers().first().map(|file| file.regions.clone());
    let mut out = Reserver::new();
    out.bytes(bytes)?;
    let container = Format::detect(image).map_or("kernel", Format::id);
    let facts = Facts::Edited { container, wrapped: work.wrapped };
    let plan = out.finish_with(regions.unwrap_or_default());
    Ok(Assembled { steps: work.steps, findings: work.findings, ..Assembled::new(plan, facts) })
}

struct Work<'r, 'a> {
    request: &'r EditRequest<'a>,
    steps: Vec<Step>,
    findings: Vec<Finding>,
    wrapped: bool,
    /// Is the image that is looked at what a stream holds, which is compressed again?
    is_in_stream: bool,
    /// Images around the one that is looked at.
    depth: u32,
}

/// What becomes of a signature.
const UNSIGNED: &str = "left out: it was that of the image before";

/// What cannot be changed.
fn refused(part: &'static str, why: impl Into<String>, help: &'static str) -> Error {
    Error::NotEdited { part, why: why.into(), help }
}

/// `new` in place of the first `end` bytes of `old`; what is behind them, as a file system is, stays where it is.
fn before_rest(mut new: Vec<u8>, old: &[u8], end: u64) -> Result<Vec<u8>> {
    let rest = slice(old, end, len64(old) - end).unwrap_or_default();
    if rest.is_empty() {
        return Ok(new);
    }
    let free = end + Behind::padding_len(rest);
    if len64(&new) > free {
        let why = format!("the image takes {} bytes now, and what is behind it begins at {free}", len64(&new));
        return Err(refused("payload", why, "give the image alone, without what is behind it"));
    }
    new.resize(new.len().max(old.len() - rest.len()), 0);
    let len = len64(&new);
    new.extend_from_slice(slice(old, len, len64(old) - len).unwrap_or_default());
    Ok(new)
}

impl Work<'_, '_> {
    fn step(&mut self, file: &str, size: u64, how: impl Into<String>) {
        self.steps.push(Step { file: file.to_owned(), size, how: how.into() });
    }

    fn image(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.depth += 1;
        match Format::detect(bytes) {
            _ if self.depth > self.request.limits.depth => {
                let want = "a kernel in an image or two";
                Err(Error::wrong_input(
                    "IMAGE",
                    "a file with many images one in the other",
                    want,
                    "kimage info IMAGE shows them",
                ))
            }
            Some(Format::BzImage) => self.bzimage(bytes),
            Some(Format::ZImage) => self.zimage(bytes),
            Some(Format::UImage) => self.uimage(bytes),
            Some(Format::Zboot) => self.zboot(bytes),
            Some(Format::Android) => self.boot_image(bytes),
            Some(Format::Fit) => self.fit(bytes),
            Some(Format::Elf) if boot_elf::image_in(bytes).is_some() => self.boot_elf(bytes),
            Some(Format::Compressed(codec)) => self.stream(codec, bytes),
            Some(Format::Image64(_)) => self.flat(bytes),
            None if crate::elf::release_in(bytes).is_some() => self.flat(bytes),
            _ => {
                let want = "a bzImage, zImage or Image, compressed or not, or a uImage, FIT or boot image of one";
                let help = "take the kernel out first: kimage extract IMAGE kernel";
                Err(Error::wrong_input("IMAGE", assemble::describe(bytes), want, help))
            }
        }
    }

    /// A device tree is behind an ARM zImage alone.
    fn no_tree(&self) -> Result<()> {
        let help = "give the device tree to the boot loader, or make a FIT of both: kimage fit";
        let refused = || refused("dtb", "no kernel but that of an ARM zImage looks for one behind it", help);
        self.request.dtb.map_or(Ok(()), |_| Err(refused()))
    }

    /// Is the kernel to be compressed anew?
    fn is_repacked(&self) -> bool {
        self.request.codec.is_some() || self.request.parameters.level.is_some()
    }

    /// Changes a kernel that nothing else could carry something for.
    fn change_alone(&mut self, kernel: &mut [u8], line: Line) -> Result<()> {
        let outside = change(kernel, self.request, line, &mut self.steps)?;
        match outside.refusal {
            Some((part, why)) => Err(refused(part, why, kernel::help(part))),
            None => Ok(()),
        }
    }

    /// A kernel that is not compressed, or is what a stream holds.
    fn flat(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.no_tree()?;
        if self.is_repacked() && !self.is_in_stream {
            let help = "compress it: kimage compress CODEC IMAGE";
            return Err(refused("codec", "this kernel is not compressed", help));
        }
        let mut kernel = self.unsigned(bytes);
        self.change_alone(&mut kernel, Line::Text)?;
        Ok(kernel)
    }

    /// Without the signatures of an EFI file.
    fn unsigned(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(plain) = pe::unsigned(bytes) else { return bytes.to_vec() };
        let signatures = len64(bytes) - len64(&plain);
        if signatures > 0 {
            self.step("signature", signatures, UNSIGNED);
        }
        plain
    }

    /// A compressed kernel by itself, as Image.gz; what is behind the stream stays.
    fn stream(&mut self, codec: Codec, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut kernel = Vec::new();
        let limits = &self.request.limits;
        let most = limits.size.min(codec.most(bytes, limits.undeclared));
        let inflated = codec.decompress_one(bytes, most, &mut kernel)?;
        let was_in_stream = std::mem::replace(&mut self.is_in_stream, true);
        let changed = self.image(&kernel)?;
        self.is_in_stream = was_in_stream;
        let (new, mut options) = (self.request.codec.unwrap_or(codec), self.request.parameters.clone());
        if new == codec {
            let old = codec.parameters_of(bytes)?;
            options = Parameters {
                level: options.level.or(old.level),
                dictionary: options.dictionary.or(old.dictionary),
                bcj: options.bcj.or(old.bcj),
                ..options
            };
        }
        let mut out = Vec::new();
        new.compress(&changed, &options, &mut out)?;
        self.step("payload", len64(&out), format!("compressed: {}", new.name()));
        // The size that kernels' builds put behind a stream is that of before: as many bytes come out.
        let rest = slice(bytes, inflated.consumed, len64(bytes) - inflated.consumed).unwrap_or_default();
        let size = size_trailer(len64(&changed)).ok().filter(|size| rest.starts_with(size));
        if Behind::read(bytes, inflated.consumed + size.map_or(0, |size| len64(&size))).rest.is_some() {
            return before_rest(out, bytes, inflated.consumed);
        }
        out.extend_from_slice(rest);
        Ok(out)
    }

    fn uimage(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let image = UImage::parse(bytes).map_err(|error| Error::input("IMAGE", error))?;
        let mut header = image.header();
        let (Some(data), 1) = (image.files().next(), image.files().count()) else {
            let want = "a uImage of one file";
            let help = "take its files out: kimage extract";
            return Err(Error::wrong_input("IMAGE", "a uImage of several files", want, help));
        };
        let changed = self.image(data)?;
        let comp = |bytes: &[u8]| match Format::detect(bytes) {
            Some(Format::Compressed(codec)) => comp_id(codec),
            _ => Some(COMP_NONE),
        };
        // U-Boot unpacks what the header says.
        if Some(header.comp) == comp(data) {
            header.comp = comp(&changed).ok_or_else(|| {
                refused("codec", "U-Boot's header has no word for it", "take gzip, bzip2, lzma, lzo, lz4 or zstd")
            })?;
        }
        let magic = Cursor::new(bytes, Endian::Big).u32("ih_magic", 0).ok();
        let mut file = Reserver::new();
        file.bytes(changed)?;
        let plan = uimage::plan(magic, &header, &[file.finish()]).map_err(Error::UImage)?;
        let mut out = Vec::new();
        plan.emit(&mut out)?;
        self.step("uImage", len64(&out), "header with the new size and checksums");
        before_rest(out, bytes, image.data_end())
    }

    fn zimage(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let image = ZImage::parse_alone(bytes).map_err(|error| Error::input("IMAGE", error))?;
        let mut out = bytes.to_vec();
        if self.request.initramfs.is_some() || self.request.cmdline.is_some() || self.is_repacked() {
            let packed = Packed::find(bytes, &self.request.limits)?;
            let mut kernel = packed.kernel.clone();
            self.change_alone(&mut kernel, Line::Buffer(kernel::ARM_LINE))?;
            let stub = StubImage::find(bytes);
            let why = match self.is_repacked() || stub.is_some() {
                true => "its own decompressor unpacks what it was linked with".to_owned(),
                false => match packed.pack(&kernel, u64::MAX)? {
                    Ok(payload) => {
                        self.step("payload", len64(&payload), packed.how());
                        crate::bytes::overwrite(&mut out, packed.at.start, &payload);
                        String::new()
                    }
                    Err(why) => why,
                },
            };
            if !why.is_empty() {
                out = self.wrap_arm(bytes, &image, &packed, &kernel)?;
                self.wrapped = stub.is_none();
                let how = match stub {
                    None => format!("wrapped anew, with kimage's own boot stub: {why}"),
                    Some(_) => "wrapped anew".to_owned(),
                };
                self.step("zImage", len64(&out), how);
            }
            packed::held_to(&out, &kernel, &self.request.limits)?;
            out = self.unsigned(&out);
        }
        if let Some(dtb) = self.request.dtb {
            let end = ZImage::parse_alone(&out).map_or(image.kernel_len(), |image| image.kernel_len());
            let alone = slice(&out, 0, end).unwrap_or(&out);
            let with = assemble::zimage(alone, &[dtb])?;
            self.findings.extend(with.findings.iter().cloned());
            let mut whole = Vec::new();
            with.emit(&mut whole)?;
            let before = image.behind().trees.len();
            self.step("dtb", len64(dtb), format!("behind the zImage, where {before} device trees were"));
            out = whole;
        }
        Ok(out)
    }

    /// An ARM kernel in a zImage around kimage's own boot stub, with what was behind the one that it had.
    fn wrap_arm(&self, bytes: &[u8], image: &ZImage<'_>, packed: &Packed, kernel: &[u8]) -> Result<Vec<u8>> {
        let codec = match (self.request.codec, packed.codec) {
            (Some(codec), _) => codec,
            // What the boot stub unpacks.
            (None, codec @ (Codec::None | Codec::Gzip | Codec::Xz | Codec::Lz4Legacy)) => codec,
            (None, _) => Codec::Xz,
        };
        let default = ZImageRequest::default();
        let request = ZImageRequest { codec, parameters: self.request.parameters.clone(), ..default };
        let mut out = Vec::new();
        zimage_rewrapped(bytes, kernel.to_vec(), &request)?.emit(&mut out)?;
        // Its decompressor looks for a device tree right behind it.
        let behind = slice(bytes, image.kernel_len(), len64(bytes) - image.kernel_len()).unwrap_or_default();
        if image.behind().trees.is_empty() {
            return before_rest(out, bytes, image.kernel_len());
        }
        out.extend_from_slice(behind);
        Ok(out)
    }

    fn bzimage(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let request = self.request;
        self.no_tree()?;
        let image = BzImage::parse(bytes).map_err(|error| Error::input("IMAGE", error))?;
        let standalone = StandaloneImage::find(&image);
        let packed = Packed::find(bytes, &self.request.limits)?;
        let mut kernel = packed.kernel.clone();
        // kimage's own boot stub has a command line of its own.
        let inner = EditRequest { cmdline: request.cmdline.filter(|_| standalone.is_none()), ..request.clone() };
        let line = Line::Buffer(image.setup().line_len());
        let outside = change(&mut kernel, &inner, line, &mut self.steps)?;
        let why = match (&outside.refusal, standalone) {
            (_, Some(_)) => None,
            (Some((part, why)), None) => Some(format!("{part}: {why}")),
            (None, None) if self.is_repacked() => {
                Some("its own decompressor unpacks what it was linked with".to_owned())
            }
            (None, None) => match packed.pack(&kernel, image.setup().slack(packed.codec, len64(&kernel)))? {
                Ok(payload) => {
                    let changed = image.with_bytes(packed.at.start, &payload).unwrap_or_default();
                    packed::held_to(&changed, &kernel, &request.limits)?;
                    self.step("payload", len64(&payload), packed.how());
                    if changed.len() < bytes.len() {
                        self.step("signature", len64(bytes) - len64(&changed), UNSIGNED);
                    }
                    return Ok(changed);
                }
                Err(why) => Some(why),
            },
        };
        let wrapped = self.wrap(bytes, &image, standalone, packed, kernel, &outside)?;
        let how = match why {
            Some(why) => format!("wrapped anew, with kimage's own boot stub: {why}"),
            None => "wrapped anew".to_owned(),
        };
        self.wrapped = standalone.is_none();
        let unsigned = pe::unsigned_len(bytes);
        if unsigned < len64(bytes) {
            self.step("signature", len64(bytes) - unsigned, UNSIGNED);
        }
        self.step("bzImage", len64(&wrapped), how);
        Ok(wrapped)
    }

    /// Puts a kernel behind kimage's own boot stub, with what the image had of it.
    fn wrap(
        &mut self,
        bytes: &[u8],
        image: &BzImage<'_>,
        standalone: Option<StandaloneImage>,
        packed: Packed,
        kernel: Vec<u8>,
        outside: &Outside<'_>,
    ) -> Result<Vec<u8>> {
        let request = self.request;
        let start = image.system_range().0;
        let had = |at: u64, len: u64| slice(bytes, start.checked_add(at)?, len).filter(|bytes| !bytes.is_empty());
        let words = standalone.map(|standalone| standalone.parameters);
        let cmdline = match (outside.cmdline, standalone) {
            (Some(text), _) => Some(text),
            (None, Some(_)) if request.cmdline.is_some() => request.cmdline,
            _ => standalone.as_ref().map(|standalone| standalone.cmdline(image)),
        };
        if let Some(text) = request.cmdline.filter(|text| Some(*text) == cmdline) {
            self.step("cmdline", len64(text), "built in by kimage's own boot stub, in front of the boot loader's");
        }
        let mut initrd = Vec::from_iter(outside.initramfs);
        initrd.extend(words.and_then(|words| had(words.initrd_at, words.initrd_len)));
        if let Some(archive) = outside.initramfs {
            let how = "the image's own RAM disk, in place of the boot loader's; the one built into the kernel is empty";
            self.step("initramfs", len64(archive), how);
        }
        let efi = Pe::find(bytes);
        let sbat = efi.as_ref().and_then(|efi| efi.contents(efi.section(b".sbat")?)).unwrap_or_default();
        let able = [Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Lz4Legacy, Codec::None];
        let codec = request.codec.unwrap_or(if able.contains(&packed.codec) { packed.codec } else { Codec::Gzip });
        let wanted = StandaloneRequest {
            codec,
            parameters: request.parameters.clone(),
            kaslr: words.is_none_or(|words| words.has(KASLR)),
            cmdline: cmdline.unwrap_or_default(),
            cmdline_overrides: words.is_some_and(|words| words.has(CMDLINE_OVERRIDES)),
            initrd,
            max_memory: request.max_memory,
            efi: standalone.is_none() || efi.is_some(),
            firmware: standalone.map(|standalone| match standalone.is_64 {
                true if image.setup().xloadflag(XLF_EFI_HANDOVER_32) == Some(true) => Firmware::Mixed,
                true => Firmware::X64,
                false => Firmware::Ia32,
            }),
            sbat,
            crc: standalone.is_some() && image.crc32().is_some(),
            ..StandaloneRequest::default()
        };
        let at = packed.scanned.then_some(packed.at);
        let wrapped = rewrapped(bytes, (kernel.into(), at), &wanted)?;
        self.findings.extend(wrapped.findings.iter().cloned());
        let mut whole = Vec::new();
        wrapped.emit(&mut whole)?;
        Ok(whole)
    }
}
