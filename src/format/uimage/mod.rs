//! U-Boot legacy image (uImage): a 64-byte big-endian header, then the data.
//!
//! Source: U-Boot's include/image.h (`struct legacy_img_hdr`), boot/image.c, tools/default_image.c and tools/mkimage.c.

mod check;
mod names;
pub(crate) mod rules;

pub(crate) use names::{
    ANY_ROLE, ARCH_ARM64, BOOTED_OS, COMP_NONE, ENTERED_BY_SETUP, OS_U_BOOT, arch_ids, arch_word, comp_id, comp_word,
};
pub use names::{ARCH, COMPRESSION, Name, Names, OS, TYPE};
pub(crate) use rules::RULES;

use crate::bytes::{self, Align, Cursor, Endian, Field, FieldError, len64, record, slice, slice_at};
use crate::finding::Severity;
use crate::format::entered;
use crate::format::footprint::{Footprint, Stage};
use crate::layout::{self, Leading, Plan, Region, RegionKind, Reserver};
use miette::Diagnostic;
use std::borrow::Cow;
use std::ops::Range;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `IH_OS_LINUX`, a number of [`OS`].
pub(crate) const OS_LINUX: u8 = 5;
/// `IH_MAGIC`.
pub(crate) const MAGIC: u32 = 0x2705_1956;
/// Length of the header in bytes.
pub(crate) const HEADER_LEN: u64 = 64;
/// Length of the name in bytes (`IH_NMLEN`).
pub const NAME_LEN: usize = 32;

/// What [`kind::FIRMWARE_IVT`] adds to `ih_size` for the signature data (CSF) that is put behind the image later
/// (tools/default_image.c).
const CSF_LEN: u64 = 0x2040;

/// Numbers of the `type` field that kimage acts on.
pub mod kind {
    /// A program that returns.
    pub(crate) const STANDALONE: u8 = 1;
    /// A kernel that U-Boot copies to its load address.
    pub const KERNEL: u8 = 2;
    /// An initial RAM disk.
    pub const RAMDISK: u8 = 3;
    /// Several files behind a table of their sizes.
    pub const MULTI: u8 = 4;
    /// What U-Boot starts in place of itself.
    pub(crate) const FIRMWARE: u8 = 5;
    /// U-Boot commands, behind a table as in [`MULTI`].
    pub const SCRIPT: u8 = 6;
    /// A device tree.
    pub const FLAT_DT: u8 = 8;
    /// A kernel that runs where it is.
    pub const KERNEL_NOLOAD: u8 = 14;
    /// What an FPGA is loaded with.
    pub(crate) const FPGA: u8 = 29;
    /// Firmware with the table that i.MX boot ROMs verify (HABv4): the table follows the data.
    pub(crate) const FIRMWARE_IVT: u8 = 32;
    /// mkimage's word for a device tree in a legacy image; stored as [`FLAT_DT`].
    pub(crate) const FDT_LEGACY: u8 = 42;
}

record! {
    #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    struct RawHeader,
    /// The fields of the header.
    FIELDS, at 0 => {
        ih_magic: U32, 0;
        ih_hcrc: U32, 0;
        ih_time: U32, 0;
        ih_size: U32, 0;
        ih_load: U32, 0;
        ih_ep: U32, 0;
        ih_dcrc: U32, 0;
        ih_os: u8, 0;
        ih_arch: u8, 0;
        ih_type: u8, 0;
        ih_comp: u8, 0;
        ih_name: [u8; NAME_LEN], 0;
    }
}

/// File offset of a field of [`FIELDS`].
pub(crate) const fn offset_of(name: &str) -> u64 {
    bytes::offset_of(FIELDS, name)
}

/// What Asus has in the place of the name.
pub(crate) const BOARD_FIELDS: &[Field] = &[
    Field::new("vendor_kernel_version", offset_of("ih_name"), 2),
    Field::new("vendor_fs_version", offset_of("ih_name") + 2, 2),
    Field::new("vendor_product", offset_of("ih_name") + 4, 12),
    Field::new("vendor_hardware", offset_of("ih_name") + 16, 16),
];

/// What a header says, but for sizes and checksums, which follow from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Creation time in seconds since 1970, UTC.
    pub time: u32,
    /// Address to copy the data to.
    pub load: u32,
    /// Address to jump to ([`kind::KERNEL_NOLOAD`]: offset from the data).
    pub entry: u32,
    /// Operating system, a number of [`OS`].
    pub os: u8,
    /// CPU, a number of [`ARCH`].
    pub arch: u8,
    /// Type, a number of [`TYPE`].
    pub kind: u8,
    /// Compression, a number of [`COMPRESSION`].
    pub comp: u8,
    /// Name, padded with zeros; a name of 32 bytes has no zero.
    pub name: [u8; NAME_LEN],
}

impl Header {
    /// Where U-Boot copies or unpacks the data to; `None`: it stays where it is.
    pub(crate) fn load_address(&self) -> Option<u64> {
        (self.kind != kind::KERNEL_NOLOAD).then_some(self.load.into())
    }

    /// The name as text.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.split_name().0)
    }

    /// The name in front of its first NUL, and what is behind that.
    fn split_name(&self) -> (&[u8], &[u8]) {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
        self.name.split_at_checked(end).unwrap_or((&self.name, &[]))
    }

    /// The name, if it is a text: without control characters, not empty where something stands behind its NUL.
    pub(crate) fn text(&self) -> Option<&str> {
        let (name, behind) = self.split_name();
        let text = std::str::from_utf8(name).ok()?;
        let is_empty = text.is_empty() && behind.iter().any(|byte| *byte != 0);
        (!is_empty && !text.chars().any(char::is_control)).then_some(text)
    }

    /// What stands behind a name that is a text: zeros, but for vendors who have data there.
    pub(crate) fn behind_text(&self) -> Option<&[u8]> {
        let (_, behind) = self.split_name();
        self.text().map(|_| behind).filter(|behind| behind.iter().any(|byte| *byte != 0))
    }

    /// What Asus has in the place of a name.
    pub(crate) fn board(&self) -> Option<Board<'_>> {
        if self.text().is_some() {
            return None;
        }
        let [kernel, kernel_minor, fs, fs_minor, rest @ ..] = &self.name;
        let versions = [kernel, kernel_minor, fs, fs_minor];
        let (product, hardware) = rest.split_first_chunk::<12>()?;
        let end = product.iter().position(|byte| *byte == 0).unwrap_or(product.len());
        let (product, padding) = product.split_at_checked(end)?;
        let is_name = product.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(byte));
        let product = std::str::from_utf8(product).ok().filter(|product| is_name && product.len() >= 2)?;
        let is_padded = padding.iter().all(|byte| *byte == 0);
        // Numbers, not letters.
        let are_small = versions.iter().all(|version| **version < 0x20);
        (is_padded && are_small).then_some(Board {
            kernel: (*kernel, *kernel_minor),
            fs: (*fs, *fs_minor),
            product,
            hardware,
        })
    }
}

/// What Asus's routers have in the place of a name: `TAIL` of the tools in their published sources (asustrx, mkimage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Board<'a> {
    /// Major and minor version of the kernel, as the vendor counts.
    pub kernel: (u8, u8),
    /// The same of the file system.
    pub fs: (u8, u8),
    /// Name of the product.
    pub product: &'a str,
    /// Versions of the hardware that it suits: pairs of major and minor, least and greatest, padded with zeros.
    pub hardware: &'a [u8],
}

impl Header {
    /// Is it wrong, or doubtful, to enter `data` where the header says? Says why; see [`entered`].
    ///
    /// U-Boots before 2015 leave an image alone whose load address is that of its header: its first byte is then 64 bytes
    /// further on. `moved` says that this is not so.
    pub(crate) fn entered(&self, data: &[u8], moved: bool) -> Option<(Severity, &'static str)> {
        if self.comp != COMP_NONE {
            return None;
        }
        let (load, entry) = (u64::from(self.load), u64::from(self.entry));
        match self.kind {
            kind::KERNEL => {
                let (severity, why) = entered(data, entry.checked_sub(load))?;
                if entry == load + HEADER_LEN && !moved {
                    return Some((
                        Severity::Warning,
                        "only a U-Boot that does not move the image starts it there (before 2015, loaded to that very address)",
                    ));
                }
                Some((severity, why))
            }
            // An offset. U-Boot moves an arm64 kernel to its place, and enters it there.
            kind::KERNEL_NOLOAD if self.arch == ARCH_ARM64 => None,
            kind::KERNEL_NOLOAD if entry >= len64(data) => Some((
                Severity::Error,
                "for kernel_noload the entry point is an offset into the data, and it has no more",
            )),
            kind::KERNEL_NOLOAD => entered(data, Some(entry)),
            _ => None,
        }
    }
}

/// `name` as the header has it, cut after 32 bytes.
pub fn name_bytes(name: &[u8]) -> [u8; NAME_LEN] {
    let mut out = [0; NAME_LEN];
    for (to, from) in out.iter_mut().zip(name) {
        *to = *from;
    }
    out
}

/// Does mkimage write this type with the legacy header? The others have headers of their own.
pub fn is_legacy_kind(kind: u8) -> bool {
    matches!(kind, 1..=8 | 14 | 32 | 42)
}

/// A uImage.
#[derive(Debug, Clone)]
pub struct UImage<'a> {
    bytes: &'a [u8],
    raw: RawHeader,
    files: Vec<Range<u64>>,
    /// Where the table of [`kind::FIRMWARE_IVT`] begins.
    ivt: Option<u64>,
}

impl<'a> UImage<'a> {
    /// True when `bytes` begin with the magic number.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC.to_be_bytes())
    }

    /// The length of the image that begins `bytes`, which may have less, if these are `magic` and a header whose CRC-32 is right.
    pub(crate) fn announced_len(bytes: &[u8], magic: u32) -> Option<u64> {
        let (raw, _) = RawHeader::read_from_prefix(bytes).ok()?;
        let computed = crc32fast::hash(RawHeader { ih_hcrc: 0.into(), ..raw }.as_bytes());
        (raw.ih_magic.get() == magic && raw.ih_hcrc.get() == computed).then(|| data_end(&raw))
    }

    /// Reads header and file table. Checksums are not compared here: see [`UImage::checksums`].
    ///
    /// # Errors
    /// A [`FieldError`] when the magic number is wrong, `size` promises more than there is, or the table does.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        Self::parse_magic(bytes, MAGIC)
    }

    /// The same, whatever the magic number is: whoever opened the image has asked for it.
    pub(crate) fn parse_any(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let magic = Cursor::new(bytes, Endian::Big).u32("ih_magic", offset_of("ih_magic")).unwrap_or(MAGIC);
        Self::parse_magic(bytes, magic)
    }

    /// The same for an image of a vendor who has another magic number.
    ///
    /// # Errors
    /// As [`UImage::parse`].
    pub(crate) fn parse_magic(bytes: &'a [u8], want: u32) -> Result<Self, FieldError> {
        let cursor = Cursor::new(bytes, Endian::Big);
        let magic = cursor.u32("ih_magic", offset_of("ih_magic"))?;
        if magic != want {
            return Err(FieldError::magic("ih_magic", 0, magic, want).with_help("this is no U-Boot legacy image"));
        }
        let truncated = |field, at, need| FieldError::truncated(field, at, need, len64(bytes));
        let Ok((raw, _)) = RawHeader::read_from_prefix(bytes) else {
            return Err(truncated("header", 0, HEADER_LEN));
        };
        let end = data_end(&raw);
        if end > len64(bytes) {
            return Err(
                truncated("ih_size", offset_of("ih_size"), end).with_help("the image is cut off: copy it again, whole")
            );
        }
        let ivt = end.checked_sub(IVT_LEN).filter(|at| {
            raw.ih_type == kind::FIRMWARE_IVT && at % Align::PAGE.bytes() == 0 && slice(bytes, *at, 4) == Some(&IVT_TAG)
        });
        let files = match raw.ih_type {
            listed if is_listed(listed) => file_table(&cursor, end)?,
            _ => std::iter::once(HEADER_LEN..ivt.unwrap_or(end)).collect(),
        };
        Ok(UImage { bytes, raw, files, ivt })
    }

    /// What the header says.
    pub fn header(&self) -> Header {
        let raw = &self.raw;
        Header {
            time: raw.ih_time.get(),
            load: raw.ih_load.get(),
            entry: raw.ih_ep.get(),
            os: raw.ih_os,
            arch: raw.ih_arch,
            kind: raw.ih_type,
            comp: raw.ih_comp,
            name: raw.ih_name,
        }
    }

    /// Where `bootm` puts a kernel. `unpacked`: how many bytes its data unpacks to.
    pub(crate) fn footprint(&self, unpacked: Option<u64>) -> Footprint {
        let mut footprint = Footprint::default();
        let header = self.header();
        if header.kind == kind::KERNEL {
            let len = unpacked.filter(|_| header.comp != COMP_NONE).unwrap_or(self.size().into());
            footprint.add(Stage::Loaded, "kernel", header.load.into(), len, RegionKind::Code);
        }
        footprint
    }

    /// The files in it: one, or those of the table. That of [`kind::FIRMWARE_IVT`] has its padding behind it.
    pub fn files(&self) -> impl Iterator<Item = &'a [u8]> {
        self.files.iter().map(|at| slice_at(self.bytes, at).unwrap_or(&[]))
    }

    /// Where they stand in the file.
    pub(crate) fn file_ranges(&self) -> &[Range<u64>] {
        &self.files
    }

    /// Where the data ends in the file: that of [`kind::FIRMWARE_IVT`] before the signature data that `ih_size` counts.
    pub(crate) fn data_end(&self) -> u64 {
        data_end(&self.raw)
    }

    /// `ih_size`: bytes of data.
    pub(crate) fn size(&self) -> u32 {
        self.raw.ih_size.get()
    }

    /// The checksums of header and data, each as it was found and as it should be.
    pub(crate) fn checksums(&self) -> ((u32, u32), (u32, u32)) {
        let mut raw = self.raw;
        raw.ih_hcrc = 0.into();
        let data = slice(self.bytes, HEADER_LEN, data_end(&self.raw) - HEADER_LEN).unwrap_or(&[]);
        let header = (self.raw.ih_hcrc.get(), crc32fast::hash(raw.as_bytes()));
        (header, (self.raw.ih_dcrc.get(), crc32fast::hash(data)))
    }

    /// What the image consists of.
    pub fn regions(&self) -> Vec<Region> {
        let end = data_end(&self.raw);
        let mut regions = regions(self.raw.ih_type, &self.files, self.ivt, end);
        if end < len64(self.bytes) {
            regions.push(Region::new(TRAILER, end..len64(self.bytes), RegionKind::Data));
        }
        regions
    }
}

/// Has an image of this type a table of its files?
pub(crate) fn is_listed(kind: u8) -> bool {
    matches!(kind, kind::MULTI | kind::SCRIPT)
}

/// What an image of this type consists of, whose data ends at `end`.
fn regions(kind: u8, files: &[Range<u64>], ivt: Option<u64>, end: u64) -> Vec<Region> {
    let mut regions = vec![Region::new("header", 0..HEADER_LEN, RegionKind::Header)];
    if is_listed(kind) {
        let table_end = files.first().map_or(end, |file| file.start);
        regions.push(Region::new("sizes", HEADER_LEN..table_end, RegionKind::Header));
    }
    for (index, at) in files.iter().enumerate().filter(|(_, at)| !at.is_empty()) {
        let name = if is_listed(kind) { format!("data[{index}]").into() } else { Cow::Borrowed("data") };
        regions.push(Region::new(name, at.clone(), RegionKind::Data));
    }
    regions.extend(ivt.map(|at| Region::new("ivt", at..end, RegionKind::Header)));
    regions
}

/// The name of the region behind the data.
pub(crate) const TRAILER: &str = "trailer";

/// Where the data ends in the file, by `ih_size`.
fn data_end(raw: &RawHeader) -> u64 {
    let extra = if raw.ih_type == kind::FIRMWARE_IVT { CSF_LEN } else { 0 };
    HEADER_LEN + u64::from(raw.ih_size.get()).saturating_sub(extra)
}

/// Tag, length and version of the image vector table.
const IVT_TAG: [u8; 4] = [0xd1, 0x00, 0x20, 0x40];
const IVT_LEN: u64 = 0x20;

/// The image vector table of an i.MX boot ROM, as mkimage makes it: tag 0xd1, length, version 0x40, then little-endian
/// entry point, addresses of the table itself and of the signature data behind it (U-Boot, include/imximage.h).
fn image_vector_table(load: u32, at: u64) -> Result<Vec<u8>, Error> {
    let own = load.wrapping_add(u32::try_from(at).map_err(|_| Error::TooLarge { size: at })?);
    let words = [load, 0, 0, 0, own, own.wrapping_add(0x20), 0];
    let mut table = IVT_TAG.to_vec();
    table.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    Ok(table)
}

/// The files of a multi-file image: 32-bit sizes up to a zero, then each file, the next one at a multiple of 4.
fn file_table(cursor: &Cursor<'_>, end: u64) -> Result<Vec<Range<u64>>, FieldError> {
    let mut sizes = Vec::new();
    let mut at = HEADER_LEN;
    loop {
        if at + 4 > end {
            return Err(FieldError::truncated("size table", at, at + 4, end));
        }
        let size = cursor.u32("size table", at)?;
        at += 4;
        match size {
            0 => break,
            size => sizes.push(u64::from(size)),
        }
    }
    let mut files = Vec::with_capacity(sizes.len());
    for (index, size) in sizes.iter().enumerate() {
        let stop = at + size;
        if stop > end {
            let entry = HEADER_LEN + 4 * u64::try_from(index).unwrap_or(0);
            return Err(FieldError::truncated("size table", entry, stop, end));
        }
        files.push(at..stop);
        at = stop.next_multiple_of(4);
    }
    Ok(files)
}

/// The data does not make a uImage.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// `ih_size` has 32 bits.
    #[error("ih_size at offset 0xc: {size} bytes of data, a uImage can hold {max}", max = u32::MAX)]
    #[diagnostic(help("wrap the data in a FIT, or compress it"))]
    TooLarge {
        /// Bytes of data.
        size: u64,
    },
}

/// Plans the image of `files`: one, or as many as [`kind::MULTI`] is to hold; with a `magic` number of a vendor, only that
/// vendor's U-Boot takes it for a uImage.
///
/// # Errors
/// [`Error::TooLarge`] for 4 GiB and more.
pub fn plan<'a>(magic: Option<u32>, header: &Header, files: &[Plan<'a>]) -> Result<Plan<'a>, Error> {
    let narrow = |size: u64| u32::try_from(size).map_err(|_| Error::TooLarge { size });
    let (mut body, mut places) = (Reserver::new(), Vec::new());
    if is_listed(header.kind) {
        let mut table = Vec::new();
        for file in files {
            table.extend_from_slice(&narrow(file.len())?.to_be_bytes());
        }
        table.extend_from_slice(&[0; 4]);
        body.bytes(table)?;
    }
    for file in files {
        // Each file begins at a multiple of 4; behind the last one nothing is padded.
        body.fill_to("the file", body.at().next_multiple_of(4), 0)?;
        let start = HEADER_LEN + body.at();
        body.append(file)?;
        if header.kind == kind::FIRMWARE_IVT {
            // The table behind it begins at a page of the file. mkimage's padding is its loop counter: each byte is the
            // low byte of its own file offset.
            let at = HEADER_LEN + body.at();
            let page = Align::PAGE.up(at).unwrap_or(at);
            body.bytes((at..page).map(|at| at.to_le_bytes()[0]).collect::<Vec<u8>>())?;
        }
        places.push(start..HEADER_LEN + body.at());
    }
    let ivt = (header.kind == kind::FIRMWARE_IVT).then_some(HEADER_LEN + body.at());
    if ivt.is_some() {
        body.bytes(image_vector_table(header.load, body.at())?)?;
    }
    let signature = if ivt.is_some() { CSF_LEN } else { 0 };
    let body = body.finish();
    let raw = RawHeader {
        ih_magic: magic.unwrap_or(MAGIC).into(),
        ih_hcrc: 0.into(),
        ih_time: header.time.into(),
        ih_size: narrow(body.len() + signature)?.into(),
        ih_load: header.load.into(),
        ih_ep: header.entry.into(),
        ih_dcrc: 0.into(),
        ih_os: header.os,
        ih_arch: header.arch,
        ih_type: if header.kind == kind::FDT_LEGACY { kind::FLAT_DT } else { header.kind },
        ih_comp: header.comp,
        ih_name: header.name,
    };
    let mut image = Reserver::new();
    image.leading(Leading {
        bytes: raw.as_bytes().to_vec(),
        len: body.len(),
        behind_at: std::mem::offset_of!(RawHeader, ih_dcrc),
        own_at: std::mem::offset_of!(RawHeader, ih_hcrc),
    })?;
    image.append(&body)?;
    Ok(image.finish_with(regions(header.kind, &places, ivt, HEADER_LEN + body.len())))
}
