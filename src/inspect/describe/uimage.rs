//! U-Boot legacy image.

use super::{Child, Context, Described};
use crate::bytes::{FieldError, len64, slice_at};
use crate::codec::Codec;
use crate::format::Format;
use crate::format::fdt::Behind;
use crate::format::uimage::{self, ARCH, COMPRESSION, Header, Names, OS, TRAILER, TYPE, UImage, is_listed, kind};
use crate::inspect::{Fact, Facts, Kind, Value, utc};

/// The name, or what a vendor has in its place.
fn names(header: &Header, facts: &mut Facts) {
    let at = uimage::offset_of("ih_name");
    if let Some(text) = header.text() {
        facts.push(Fact::new("ih_name", text).of(uimage::FIELDS));
        if let Some(behind) = header.behind_text() {
            let fact = Fact::new("ih_name_rest", Value::Bytes(behind.to_vec())).meaning("behind the name's NUL");
            let len = len64(behind);
            facts.push(fact.at(at + len64(&header.name) - len, len));
        }
        return;
    }
    let fact = Fact::new("ih_name", Value::Bytes(header.name.to_vec())).of(uimage::FIELDS);
    let Some(board) = header.board() else {
        facts.push(fact.meaning("no text, but data of a vendor's"));
        return;
    };
    facts.push(fact.meaning("no text, but data as Asus lays them out"));
    let version = |(major, minor): (u8, u8)| format!("{major}.{minor}");
    facts.push(Fact::new("vendor_product", board.product).of(uimage::BOARD_FIELDS));
    facts.push(Fact::new("vendor_kernel_version", version(board.kernel)).of(uimage::BOARD_FIELDS));
    facts.push(Fact::new("vendor_fs_version", version(board.fs)).of(uimage::BOARD_FIELDS));
    if board.hardware.iter().any(|byte| *byte != 0) {
        facts.push(Fact::new("vendor_hardware", Value::Bytes(board.hardware.to_vec())).of(uimage::BOARD_FIELDS));
    }
}

pub(super) fn describe(bytes: &[u8], context: &Context<'_>) -> Result<Described, FieldError> {
    let magic = context.limits.uimage_magic.filter(|magic| bytes.starts_with(&magic.to_be_bytes()));
    let image = UImage::parse_magic(bytes, magic.unwrap_or(uimage::MAGIC))?;
    let header = image.header();
    let long = |names: Names, id| names.long(id).unwrap_or("Unknown");
    let short = |names: Names, id: u8| names.short(id).map_or_else(|| format!("number {id}"), str::to_owned);
    let title = format!(
        "U-Boot uImage: {} {} {} ({})",
        long(ARCH, header.arch),
        long(OS, header.os),
        long(TYPE, header.kind),
        long(COMPRESSION, header.comp)
    );
    let mut described = Described::new(Kind::Known(Format::UImage), title);
    let facts = &mut described.facts;
    let (hcrc, dcrc) = image.checksums();
    let right = |pair: (u32, u32)| if pair.0 == pair.1 { "right".to_owned() } else { format!("wanted {:#x}", pair.1) };
    facts.push(Fact::hex("ih_magic", magic.unwrap_or(uimage::MAGIC)).of(uimage::FIELDS));
    names(&header, facts);
    facts.push(Fact::number("ih_time", header.time).meaning(utc(header.time.into())).of(uimage::FIELDS));
    facts.push(Fact::number("ih_size", image.size()).meaning("bytes of data").of(uimage::FIELDS));
    facts.push(Fact::hex("ih_load", header.load).meaning("load address").of(uimage::FIELDS));
    facts.push(Fact::hex("ih_ep", header.entry).meaning("entry point").of(uimage::FIELDS));
    facts.push(Fact::new("ih_os", short(OS, header.os)).meaning(long(OS, header.os)).of(uimage::FIELDS));
    facts.push(Fact::new("ih_arch", short(ARCH, header.arch)).meaning(long(ARCH, header.arch)).of(uimage::FIELDS));
    facts.push(Fact::new("ih_type", short(TYPE, header.kind)).meaning(long(TYPE, header.kind)).of(uimage::FIELDS));
    facts.push(
        Fact::new("ih_comp", short(COMPRESSION, header.comp))
            .meaning(long(COMPRESSION, header.comp))
            .of(uimage::FIELDS),
    );
    facts.push(Fact::hex("ih_hcrc", hcrc.0).meaning(right(hcrc)).of(uimage::FIELDS));
    facts.push(Fact::hex("ih_dcrc", dcrc.0).meaning(right(dcrc)).of(uimage::FIELDS));
    described.regions = image.regions();
    let listed = is_listed(header.kind);
    for (index, at) in image.file_ranges().iter().enumerate().filter(|(_, at)| !at.is_empty()) {
        let name = if listed { format!("image[{index}]") } else { "data".to_owned() };
        let child = Child::range(name, at.clone());
        let child = if listed { child.part("image") } else { child };
        // What the header says is not much, but more than nothing: LZMA's own header proves little.
        let data = slice_at(bytes, at).unwrap_or(&[]);
        let is_lzma = COMPRESSION.short(header.comp) == Some("lzma") && !listed && Codec::Lzma.fits(data);
        let child = if is_lzma { child.kind(Kind::Known(Format::Compressed(Codec::Lzma))) } else { child };
        described.children.push(match (header.kind, index) {
            // The first file of several is the kernel: U-Boot's bootm takes it for that.
            (kind::KERNEL | kind::KERNEL_NOLOAD | kind::MULTI, 0) => child.part("kernel"),
            (kind::RAMDISK, _) => child.part("initramfs"),
            _ => child,
        });
    }
    if let Some(start) = described.regions.last().filter(|last| last.name == TRAILER).map(|last| last.at.start) {
        described.regions.pop();
        described.behind(bytes, &Behind::read(bytes, start), 0);
    }
    Ok(described)
}
