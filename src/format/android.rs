//! Android boot image, header versions 0 to 4, and the vendor's half of it, versions 3 and 4: read only.
//!
//! Source: <https://source.android.com/docs/core/architecture/bootloader/boot-image-header>, and
//! <https://source.android.com/docs/core/architecture/partitions/vendor-boot-partitions>.

use crate::bytes::{Cursor, Field, FieldError, hex, len64, overwrite, slice, slice_at, until_zero};
use crate::finding::{Checks, rules};
use crate::format::footprint::{Footprint, Stage};
use crate::layout::RegionKind;
use sha1::{Digest, Sha1};
use std::ops::Range;

/// The first eight bytes.
pub(crate) const MAGIC: &[u8] = b"ANDROID!";
/// The same of `vendor_boot.img`, which versions 3 and 4 have beside `boot.img`.
pub(crate) const VENDOR_MAGIC: &[u8] = b"VNDRBOOT";
/// Versions 3 and 4 have no page size of their own.
const PAGE_3: u64 = 4096;
/// Where every version has its number: in versions 0 to 2 the field after the reserved word.
const VERSION_AT: u64 = 40;
const ID_AT: u64 = 576;
/// Page sizes that boot loaders know.
const PAGES: Range<u64> = 2048..(64 << 10) + 1;

rules! {
    /// What is looked at in the image.
    pub(crate) RULES:
    ID = "android.id", Note, "id, the SHA-1 of the sections",
        "a section was changed after mkbootimg, or another tool made the image; few boot loaders look at it",
        "mkbootimg makes the id again";
}

/// Fields of the header in `boot.img`, of versions 0 to 2 but for the first.
const BOOT_FIELDS: &[Field] = &[
    Field::new("header_version", VERSION_AT, 4),
    Field::new("name", 48, 16),
    Field::new("tags_addr", 32, 4),
    Field::new("id", ID_AT, 32),
];
/// The same of `vendor_boot.img`.
const VENDOR_FIELDS: &[Field] = &[
    Field::new("header_version", 8, 4),
    Field::new("name", 2080, 16),
    Field::new("tags_addr", 2076, 4),
    Field::new("kernel_addr", 16, 4),
];

/// A part of a boot image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootSection {
    /// `kernel`, `ramdisk`, `second`, `recovery_dtbo`, `dtb`, `signature`, in old images `dt`; of the vendor's `ramdisk_table` and
    /// `bootconfig` too.
    pub name: &'static str,
    /// File offsets.
    pub at: Range<u64>,
    /// The field of its size, and where it stands.
    pub field: (&'static str, u64),
    /// Physical load address, in versions 0 to 2 and in the vendor's image.
    pub address: Option<u64>,
}

/// One of the RAM disks in the vendor's `ramdisk` section, by the table of version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VendorRamdisk<'a> {
    /// File offsets.
    pub at: Range<u64>,
    /// `ramdisk_type`: 1 platform, 2 recovery, 3 dynamically loaded modules.
    pub kind: u32,
    /// `ramdisk_name`.
    pub name: &'a [u8],
}

/// A boot image.
#[derive(Debug, Clone, Default)]
pub(crate) struct BootImage<'a> {
    /// The vendor's half: no kernel in it.
    pub is_vendor: bool,
    /// `header_version`.
    pub version: u32,
    /// Bytes in a page: each section begins at a multiple of it.
    pub page_size: u64,
    /// `os_version`: version of the system and of its security patches.
    pub os_version: u32,
    /// Name of the product, in versions 0 to 2 and in the vendor's image.
    pub name: &'a [u8],
    /// Where the command line stands, and what it is. Versions 0 to 2 may go on in `extra_cmdline`.
    pub cmdline: (u64, &'a [u8]),
    /// The rest of the command line, in versions 0 to 2.
    pub extra_cmdline: (u64, &'a [u8]),
    /// `tags_addr`: where the device tree goes, in versions 0 to 2 and in the vendor's image.
    pub tags_address: Option<u32>,
    /// `kernel_addr` of the vendor's image, where the kernel of the other half goes.
    pub kernel_address: Option<u32>,
    /// SHA-1 of the contents, with zeros behind it, in versions 0 to 2; see [`BootImage::computed_id`].
    pub id: &'a [u8],
    /// The sections that have contents, in file order.
    pub sections: Vec<BootSection>,
    /// What the vendor's RAM disk consists of, in version 4.
    pub vendor_ramdisks: Vec<VendorRamdisk<'a>>,
}

impl<'a> BootImage<'a> {
    /// True when `bytes` begin with the magic number of either half.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC) || bytes.starts_with(VENDOR_MAGIC)
    }

    /// Reads the header and lays out the sections.
    ///
    /// # Errors
    /// A [`FieldError`] for an unknown version, a page size that is none, and a section that leads out of the file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let cursor = Cursor::little(bytes);
        if !Self::detect(bytes) {
            let found = cursor.u64("magic", 0)?;
            return Err(FieldError::magic("magic", 0, found, u64::from_le_bytes(*b"ANDROID!")));
        }
        if bytes.starts_with(VENDOR_MAGIC) {
            return Self::parse_vendor(bytes, &cursor);
        }
        match cursor.u32("header_version", VERSION_AT)? {
            version @ 0..=2 => Self::parse_old(bytes, &cursor, version),
            version @ 3..=4 => Self::parse_new(bytes, &cursor, version),
            // Before there were versions, this word was the size of a table of device trees (`dt_size`, Code Aurora's
            // mkbootimg), and of nothing elsewhere.
            _ => Self::parse_old(bytes, &cursor, 0),
        }
    }

    /// Length in bytes of the image that begins `bytes`, in whole pages; `None` where they do not have all of it.
    pub(crate) fn announced_len(bytes: &'a [u8]) -> Option<u64> {
        let image = Self::parse(bytes).ok()?;
        image.sections.last().map(|last| last.at.end.next_multiple_of(image.page_size.max(1)))
    }

    /// The fields of its header.
    pub(crate) fn fields(&self) -> &'static [Field] {
        if self.is_vendor { VENDOR_FIELDS } else { BOOT_FIELDS }
    }

    /// Holds `id` to the sections of `bytes`, the whole file.
    pub(crate) fn check(&self, bytes: &[u8]) -> Checks {
        let mut checks = Checks::default();
        // Zeros are no claim.
        let claim = self.id.split_at_checked(20).filter(|_| self.id.iter().any(|byte| *byte != 0));
        if let Some((digest, rest)) = claim {
            let computed = self.computed_id(bytes);
            let is_right = digest == computed && rest.iter().all(|byte| *byte == 0);
            checks.expect(&ID, ID_AT, is_right, hex(self.id), hex(&computed));
        }
        checks
    }

    /// Where the header has the sections loaded to.
    pub(crate) fn footprint(&self) -> Footprint {
        let mut footprint = Footprint::default();
        for section in &self.sections {
            let kind = if section.name == "kernel" { RegionKind::Code } else { RegionKind::Data };
            if let Some(address) = section.address {
                footprint.add(Stage::Loaded, section.name, address, section.at.end - section.at.start, kind);
            }
        }
        if footprint.range(Stage::Loaded).is_none() {
            footprint.unknown = Some("header versions 3 and 4 have no load addresses: the boot loader chooses them");
        }
        footprint
    }

    /// What mkbootimg writes into `id` of versions 0 to 2: the SHA-1 of each section with its size behind it.
    pub(crate) fn computed_id(&self, bytes: &[u8]) -> [u8; 20] {
        // Each version hashes what it knows, even where there is none of it; `dt` only where there is one.
        let names: &[&str] = match self.version {
            0 if self.sections.iter().any(|section| section.name == "dt") => &["kernel", "ramdisk", "second", "dt"],
            0 => &["kernel", "ramdisk", "second"],
            1 => &["kernel", "ramdisk", "second", "recovery_dtbo"],
            _ => &["kernel", "ramdisk", "second", "recovery_dtbo", "dtb"],
        };
        let mut hash = Sha1::new();
        for name in names.iter().copied() {
            let section = self.sections.iter().find(|section| section.name == name);
            let contents = section.and_then(|section| slice_at(bytes, &section.at));
            let contents = contents.unwrap_or_default();
            hash.update(contents);
            hash.update(u32::try_from(contents.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        hash.finalize().into()
    }

    /// The image with another kernel in it, without the certificate of version 4; `None` when a size does not fit its field.
    pub(crate) fn with_kernel(&self, bytes: &[u8], kernel: &[u8]) -> Option<Vec<u8>> {
        let page = usize::try_from(self.page_size.max(1)).ok()?;
        let first = self.sections.first()?;
        let mut out = slice(bytes, 0, first.at.start)?.to_vec();
        for section in &self.sections {
            let contents = match section.name {
                "kernel" => kernel,
                "signature" => &[],
                _ => slice_at(bytes, &section.at)?,
            };
            overwrite(&mut out, section.field.1, &u32::try_from(contents.len()).ok()?.to_le_bytes())?;
            out.extend_from_slice(contents);
            out.resize(out.len().next_multiple_of(page), 0);
        }
        if self.id.iter().any(|byte| *byte != 0) {
            let id = BootImage::parse(&out).ok()?.computed_id(&out);
            overwrite(&mut out, ID_AT, &id)?;
        }
        Some(out)
    }

    fn parse_old(bytes: &'a [u8], cursor: &Cursor<'a>, version: u32) -> Result<Self, FieldError> {
        let page_size = page_size(cursor, 36)?;
        let mut fields = vec![
            ("kernel", "kernel_size", 8, Some(u64::from(cursor.u32("kernel_addr", 12)?))),
            ("ramdisk", "ramdisk_size", 16, Some(u64::from(cursor.u32("ramdisk_addr", 20)?))),
            ("second", "second_size", 24, Some(u64::from(cursor.u32("second_addr", 28)?))),
        ];
        if version >= 1 {
            fields.push(("recovery_dtbo", "recovery_dtbo_size", 1632, None));
        }
        if version >= 2 {
            fields.push(("dtb", "dtb_size", 1648, Some(cursor.u64("dtb_addr", 1652)?)));
        }
        let dt_size = cursor.u32("dt_size", VERSION_AT)?;
        let mut sections = sections(bytes, cursor, &fields, page_size, page_size)?;
        if version == 0 && dt_size != 0 {
            let at = sections.last().map_or(page_size, |last| last.at.end.next_multiple_of(page_size));
            let at = at..at.saturating_add(dt_size.into());
            if slice(bytes, at.start, dt_size.into()).is_some() {
                sections.push(BootSection { name: "dt", at, field: ("dt_size", VERSION_AT), address: None });
            }
        }
        let text = |at, len| Ok::<_, FieldError>((at, until_zero(cursor.take("cmdline", at, len)?)));
        Ok(BootImage {
            version,
            page_size,
            os_version: cursor.u32("os_version", 44)?,
            name: until_zero(cursor.take("name", 48, 16)?),
            cmdline: text(64, 512)?,
            extra_cmdline: text(608, 1024)?,
            tags_address: Some(cursor.u32("tags_addr", 32)?),
            id: cursor.take("id", ID_AT, 32)?,
            sections,
            ..BootImage::default()
        })
    }

    fn parse_new(bytes: &'a [u8], cursor: &Cursor<'a>, version: u32) -> Result<Self, FieldError> {
        let mut fields = vec![("kernel", "kernel_size", 8, None), ("ramdisk", "ramdisk_size", 12, None)];
        if version >= 4 {
            fields.push(("signature", "signature_size", 1580, None));
        }
        Ok(BootImage {
            version,
            page_size: PAGE_3,
            os_version: cursor.u32("os_version", 16)?,
            cmdline: (44, until_zero(cursor.take("cmdline", 44, 1536)?)),
            sections: sections(bytes, cursor, &fields, PAGE_3, PAGE_3)?,
            ..BootImage::default()
        })
    }

    fn parse_vendor(bytes: &'a [u8], cursor: &Cursor<'a>) -> Result<Self, FieldError> {
        let version = cursor.u32("header_version", 8)?;
        if !(3..=4).contains(&version) {
            let help = "vendor boot images have header version 3 or 4";
            return Err(FieldError::range("header_version", 8, version, 3..=4).with_help(help));
        }
        let page_size = page_size(cursor, 12)?;
        let mut fields = vec![
            ("ramdisk", "vendor_ramdisk_size", 24, Some(u64::from(cursor.u32("ramdisk_addr", 20)?))),
            ("dtb", "dtb_size", 2100, Some(cursor.u64("dtb_addr", 2104)?)),
        ];
        if version == 4 {
            fields.push(("ramdisk_table", "vendor_ramdisk_table_size", 2112, None));
            fields.push(("bootconfig", "bootconfig_size", 2124, None));
        }
        let header_len: u64 = if version == 4 { 2128 } else { 2112 };
        let sections = sections(bytes, cursor, &fields, header_len.next_multiple_of(page_size), page_size)?;
        let find = |name| sections.iter().find(|section| section.name == name);
        let vendor_ramdisks = match (find("ramdisk"), find("ramdisk_table")) {
            (Some(ramdisk), Some(table)) => vendor_ramdisks(cursor, &ramdisk.at, &table.at)?,
            _ => Vec::new(),
        };
        Ok(BootImage {
            is_vendor: true,
            version,
            page_size,
            name: until_zero(cursor.take("name", 2080, 16)?),
            cmdline: (28, until_zero(cursor.take("cmdline", 28, 2048)?)),
            tags_address: Some(cursor.u32("tags_addr", 2076)?),
            kernel_address: Some(cursor.u32("kernel_addr", 16)?),
            sections,
            vendor_ramdisks,
            ..BootImage::default()
        })
    }
}

fn page_size(cursor: &Cursor<'_>, at: u64) -> Result<u64, FieldError> {
    let size = u64::from(cursor.u32("page_size", at)?);
    if PAGES.contains(&size) && size.is_power_of_two() {
        return Ok(size);
    }
    Err(FieldError::range("page_size", at, size, PAGES.start..=PAGES.end - 1)
        .with_help("a page size is a power of two"))
}

/// `struct vendor_ramdisk_table_entry_v4`: as many as the header says, and as fit in the table.
fn vendor_ramdisks<'a>(
    cursor: &Cursor<'a>,
    ramdisk: &Range<u64>,
    table: &Range<u64>,
) -> Result<Vec<VendorRamdisk<'a>>, FieldError> {
    const LEN: u64 = 108;
    let count = u64::from(cursor.u32("vendor_ramdisk_table_entry_num", 2116)?);
    let size = u64::from(cursor.u32("vendor_ramdisk_table_entry_size", 2120)?);
    let room = (table.end - table.start).checked_div(size).unwrap_or(0);
    if size < LEN || count > room {
        let help = "the table is shorter than its entries: the image is damaged";
        return Err(FieldError::range(
            "vendor_ramdisk_table_entry_num",
            2116,
            count,
            0..=if size < LEN { 0 } else { room },
        )
        .with_help(help));
    }
    let entry = |index: u64| {
        let at = table.start + index * size;
        let (len, offset) = (cursor.u32("ramdisk_size", at)?, cursor.u32("ramdisk_offset", at + 4)?);
        let start = ramdisk.start + u64::from(offset);
        let end = start + u64::from(len);
        if end > ramdisk.end {
            return Err(FieldError::truncated("ramdisk_size", at, end, ramdisk.end)
                .with_help("it leads out of the vendor's RAM disk"));
        }
        let name = until_zero(cursor.take("ramdisk_name", at + 12, 32)?);
        Ok(VendorRamdisk { at: start..end, kind: cursor.u32("ramdisk_type", at + 8)?, name })
    };
    (0..count).map(entry).collect()
}

type SizeField = (&'static str, &'static str, u64, Option<u64>);

/// Each section begins at a multiple of the page size, the first behind the pages of the header.
fn sections(
    bytes: &[u8],
    cursor: &Cursor<'_>,
    fields: &[SizeField],
    header_end: u64,
    page: u64,
) -> Result<Vec<BootSection>, FieldError> {
    let mut sections = Vec::new();
    let mut at = header_end;
    for (name, field, field_at, address) in fields {
        let len = u64::from(cursor.u32(field, *field_at)?);
        if len == 0 {
            continue;
        }
        if slice(bytes, at, len).is_none() {
            return Err(FieldError::truncated(*field, *field_at, at.saturating_add(len), len64(bytes))
                .with_help("the image is cut off: copy it again"));
        }
        sections.push(BootSection { name, at: at..at + len, field: (field, *field_at), address: *address });
        at = (at + len).next_multiple_of(page);
    }
    Ok(sections)
}
