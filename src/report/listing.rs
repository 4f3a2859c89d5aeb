//! What U-Boot's own tools print of an image: `mkimage -l`, `dumpimage -l`, and mkimage of what it has made.
//!
//! Source: U-Boot's boot/image.c (`image_print_contents`), boot/image-fit.c (`fit_print_contents`), tools/default_image.c,
//! tools/fit_image.c and tools/fit_common.c.

use crate::assemble::FitLayout;
use crate::bytes::{FieldError, hex, len64, slice_at, until_zero};
use crate::error::{Error, Result};
use crate::format::fdt::{Dtb, NodeRef, PropertyRef};
use crate::format::fit::Fit;
use crate::format::uimage::{ARCH, COMPRESSION, HEADER_LEN, Header, Names, OS, TYPE, UImage, is_listed, kind};
use std::ops::Range;

/// How an image is listed. Its texts come from the image, byte for byte: what goes to a terminal must not go there as it is.
#[derive(Clone, Copy)]
pub struct Listing<'l> {
    /// As this release lists.
    pub layout: FitLayout,
    /// Seconds since 1970 as ctime(3) has them, without the line's end.
    pub time: &'l dyn Fn(u32) -> String,
}

impl std::fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// What mkimage takes for a node of checks, and what it calls it.
const CHECKS: [(&str, &str); 2] = [("hash", "Hash"), ("signature", "Sign")];

impl Listing<'_> {
    /// The listing of an image: a uImage if `fit` is false, a FIT if it is true, or what it is.
    ///
    /// # Errors
    /// [`Error::Input`] for what is neither, is damaged, or has another type.
    pub fn image(&self, bytes: &[u8], fit: Option<bool>) -> Result<Vec<u8>> {
        let is_fit = fit.unwrap_or_else(|| Dtb::detect(bytes));
        let mut out = Lines::default();
        match is_fit {
            true => self.fit(&whole_fit(bytes)?, &mut out),
            false => self.uimage(&whole_uimage(bytes)?, &mut out),
        }
        Ok(out.0)
    }

    /// One file of an image, and what dumpimage prints when it writes it: a FIT's image or the file of a multi-file uImage of that
    /// number, or all data of any other.
    ///
    /// # Errors
    /// As [`Listing::image`]; [`Error::WrongInput`] where there is none of that number.
    pub fn file<'a>(&self, bytes: &'a [u8], fit: bool, number: usize) -> Result<(Vec<u8>, &'a [u8])> {
        let none =
            || Error::wrong_input("IMAGE", "an image", "one with a file of that number", "list it: dumpimage -l");
        let mut out = Lines::default();
        if !fit {
            let image = whole_uimage(bytes)?;
            let range = match image.header().kind {
                kind::MULTI => image.file_ranges().get(number).cloned().filter(|at| !at.is_empty()).ok_or_else(none)?,
                _ => HEADER_LEN..image.data_end(),
            };
            return Ok((out.0, slice_at(bytes, &range).ok_or_else(none)?));
        }
        let fit = whole_fit(bytes)?;
        let Some(image) = fit.images().nth(number) else {
            return Err(none());
        };
        out.line(format_args!("Extracted:"));
        out.line(format_args!(" Image {number} ({})", image.name()));
        self.fit_image(&fit, image.node(), &mut out);
        let data = image.data().ok_or_else(|| Error::input("IMAGE", no_data(image.node())))?;
        Ok((out.0, data))
    }

    fn uimage(&self, image: &UImage<'_>, out: &mut Lines) {
        let header = image.header();
        out.text("Image Name:   ", &header.name);
        out.line(format_args!("Created:      {}", (self.time)(header.time)));
        let Header { arch, os, kind, comp, .. } = header;
        let [arch, os, of, comp] = [(ARCH, arch), (OS, os), (TYPE, kind), (COMPRESSION, comp)].map(long);
        out.line(format_args!("Image Type:   {arch} {os} {of} ({comp})"));
        out.size("Data Size:    ", image.size().into());
        out.line(format_args!("Load Address: {:08x}", header.load));
        out.line(format_args!("Entry Point:  {:08x}", header.entry));
        if is_listed(kind) {
            out.line(format_args!("Contents:"));
            for (index, at) in image.file_ranges().iter().enumerate() {
                out.size(&format!("   Image {index}: "), at.end.saturating_sub(at.start));
                // mkimage says where it is in its own memory, which tells nobody anything.
                if kind == kind::SCRIPT && index > 0 {
                    out.line(format_args!("    Offset = 0x{:08x}", at.start));
                }
            }
        } else if kind == kind::FIRMWARE_IVT {
            let (before, length) = (u64::from(header.load).wrapping_sub(HEADER_LEN), image.data_end());
            out.line(format_args!("HAB Blocks:   0x{:08x}   0x0000   0x{length:08x}", before & u64::from(u32::MAX)));
        }
    }

    fn fit(&self, fit: &Fit<'_>, out: &mut Lines) {
        let root = fit.tree().root();
        out.property("FIT description: ", root.property("description"));
        out.line(format_args!("Created:         {}", self.created(root)));
        for (index, image) in fit.images().enumerate() {
            out.line(format_args!(" Image {index} ({})", image.name()));
            self.fit_image(fit, image.node(), out);
        }
        let Some(configurations) = root.child("configurations") else { return };
        let behind = || root.children().skip_while(|child| child.name() != "images").nth(1);
        let holder = if self.layout.lists_all() { Some(configurations) } else { behind() };
        if let Some(name) = holder.and_then(|node| node.property("default")) {
            out.bytes(b" Default Configuration: '");
            out.bytes(until_zero(name.value));
            out.bytes(b"'\n");
        }
        for (index, node) in configurations.children().enumerate() {
            out.line(format_args!(" Configuration {index} ({})", node.name()));
            self.configuration(node, out);
        }
    }

    fn created(&self, node: NodeRef<'_, '_>) -> String {
        let time = node.property("timestamp").and_then(PropertyRef::u32);
        time.map_or_else(|| "unavailable".to_owned(), |time| (self.time)(time))
    }

    pub(super) fn fit_image(&self, fit: &Fit<'_>, node: NodeRef<'_, '_>, out: &mut Lines) {
        let id = |names: Names, property: &str| {
            let word = node.property(property).map(|it| String::from_utf8_lossy(until_zero(it.value)));
            word.map(|word| names.id(&word).unwrap_or(u8::MAX))
        };
        out.property("  Description:  ", node.property("description"));
        out.line(format_args!("  Created:      {}", self.created(fit.tree().root())));
        let of = id(TYPE, "type").unwrap_or(u8::MAX);
        out.line(format_args!("  Type:         {}", long((TYPE, of))));
        out.line(format_args!("  Compression:  {}", long((COMPRESSION, id(COMPRESSION, "compression").unwrap_or(0)))));
        match data_size(node) {
            Some(size) => out.size("  Data Size:    ", size),
            None => out.line(format_args!("  Data Size:    unavailable")),
        }
        let is = |kinds: &[u8]| kinds.contains(&of);
        let main = [kind::KERNEL, kind::RAMDISK, kind::FIRMWARE];
        if is(&main) || is(&[kind::STANDALONE, kind::FLAT_DT]) {
            let arch = id(ARCH, "arch").unwrap_or(u8::MAX);
            out.line(format_args!("  Architecture: {}", long((ARCH, arch))));
        }
        if is(&main) {
            out.line(format_args!("  OS:           {}", long((OS, id(OS, "os").unwrap_or(u8::MAX)))));
        }
        let load = address(node, "load");
        if is(&main) || is(&[kind::STANDALONE, kind::FPGA]) {
            out.line(format_args!("  Load Address: {}", shown(load)));
        }
        if is(&[kind::FLAT_DT]) && load.is_some() {
            out.line(format_args!("  Load Address: {}", shown(load)));
        }
        if is(&[kind::KERNEL, kind::STANDALONE, kind::RAMDISK]) {
            out.line(format_args!("  Entry Point:  {}", shown(address(node, "entry"))));
        }
        self.checks(node, out);
    }

    fn configuration(&self, node: NodeRef<'_, '_>, out: &mut Lines) {
        out.property("  Description:  ", node.property("description"));
        out.property("  Kernel:       ", node.property("kernel"));
        let one = |out: &mut Lines, label: &str, name: &str| {
            if let Some(property) = node.property(name) {
                out.property(label, Some(property));
            }
        };
        one(out, "  Init Ramdisk: ", "ramdisk");
        one(out, "  Firmware:     ", "firmware");
        out.list("  FDT:          ", node.property("fdt"));
        if self.layout.lists_compatible() {
            out.list("  Compatible:   ", node.property("compatible"));
        }
        one(out, "  FPGA:         ", "fpga");
        out.list("  Loadables:    ", node.property("loadables"));
        self.checks(node, out);
    }

    /// Hashes and signatures.
    fn checks(&self, node: NodeRef<'_, '_>, out: &mut Lines) {
        for child in node.children() {
            if let Some((_, word)) = CHECKS.iter().find(|(start, _)| child.name().starts_with(start)) {
                self.check(child, word, out);
            } else if child.name() == "dm-verity" && self.layout.lists_all() {
                if let Some(algo) = child.property("algo") {
                    out.property("  Verity algo:  ", Some(algo));
                }
                for (label, name) in [("  Verity hash:  ", "digest"), ("  Verity salt:  ", "salt")] {
                    if let Some(value) = child.property(name).filter(|it| !it.value.is_empty()) {
                        out.line(format_args!("{label}{}", hex(value.value)));
                    }
                }
            }
        }
    }

    fn check(&self, node: NodeRef<'_, '_>, word: &str, out: &mut Lines) {
        let Some(algo) = node.property("algo") else {
            return out.line(format_args!("  {word} algo:    invalid/unsupported"));
        };
        let hint = node.property("key-name-hint");
        out.bytes(format!("  {word} algo:    ").as_bytes());
        out.bytes(until_zero(algo.value));
        if let Some(hint) = hint {
            out.bytes(b":");
            out.bytes(until_zero(hint.value));
        }
        out.bytes(if node.property("required").is_some() { b" (required)\n" } else { b"\n" });
        if let Some(padding) = node.property("padding") {
            out.property(&format!("  {word} padding: "), Some(padding));
        }
        let value = node.property("value").map_or_else(|| "unavailable".to_owned(), |value| hex(value.value));
        out.line(format_args!("  {word} value:   {value}"));
        if hint.is_some() {
            out.line(format_args!("  Timestamp:    {}", self.created(node)));
        }
    }
}

/// The last signature of a configuration, which is what mkimage speaks of when it has signed: the path of its node, the name of the
/// key, and whether it is an ECDSA one.
pub fn last_signature(fit: &[u8]) -> Option<(String, String, bool)> {
    let fit = Fit::parse(fit).ok()?;
    let nodes = fit.configurations().flat_map(|configuration| configuration.node().children());
    let last = nodes.filter(|node| node.name().starts_with("signature")).last()?;
    let text = |name| last.property(name).map(|it| String::from_utf8_lossy(until_zero(it.value)).into_owned());
    let is_ecdsa = text("algo").is_some_and(|algo| algo.contains(",ecdsa"));
    Some((last.path(), text("key-name-hint").unwrap_or_default(), is_ecdsa))
}

/// Where a property of a device tree stands: the name of its node, and the file offsets of its value.
///
/// # Errors
/// [`Error::Input`] when it is no device tree; `None` inside: there is no such node, or property.
pub fn property_at(dtb: &[u8], node: &str, property: &str) -> Result<Option<(String, Option<Range<u64>>)>> {
    let fail = |error: FieldError| Error::input("FIT", error);
    let tree = Dtb::parse_at(dtb, 0).and_then(|dtb| dtb.tree()).map_err(fail)?;
    let found = tree.find(node).map(|node| {
        let value = node.property(property).map(|it| it.at.0..it.at.0 + len64(it.value));
        (node.name().to_owned(), value)
    });
    Ok(found)
}

fn whole_uimage(bytes: &[u8]) -> Result<UImage<'_>> {
    let fail = |error: FieldError| Error::input("IMAGE", error);
    let image = UImage::parse(bytes).map_err(fail)?;
    let (header, data) = image.checksums();
    for (field, at, (found, computed)) in [("ih_hcrc", 4, header), ("ih_dcrc", 24, data)] {
        if found != computed {
            let help = "the image was changed or damaged: make it again";
            return Err(fail(FieldError::mismatch(field, at, found, computed).with_help(help)));
        }
    }
    Ok(image)
}

fn whole_fit(bytes: &[u8]) -> Result<Fit<'_>> {
    let fail = |error: FieldError| Error::input("IMAGE", error);
    let fit = Fit::parse(bytes).map_err(fail)?;
    for name in ["description", "timestamp"] {
        if fit.tree().root().property(name).is_none() {
            let at = fit.tree().root().at().0;
            let help = "U-Boot takes no FIT without it, and mkimage lists none";
            return Err(fail(FieldError::unknown(name, at, 0_u64, "a property of the root").with_help(help)));
        }
    }
    Ok(fit)
}

fn no_data(node: NodeRef<'_, '_>) -> FieldError {
    FieldError::unknown("data", node.at().0, 0_u64, "data that is all in the file")
}

/// A number's name, or what is said of one that has none.
pub(super) fn long((names, id): (Names, u8)) -> &'static str {
    let unknown = match names.field {
        "arch" => "Unknown Architecture",
        "os" => "Unknown OS",
        "type" => "Unknown Image",
        _ => "Unknown Compression",
    };
    names.long(id).unwrap_or(unknown)
}

/// The size of an image's data, as the tree has it.
fn data_size(node: NodeRef<'_, '_>) -> Option<u64> {
    let is_external = ["data-position", "data-offset"].iter().any(|name| node.property(name).is_some());
    match is_external {
        true => node.property("data-size").and_then(PropertyRef::u32).map(u64::from),
        false => node.property("data").map(|data| len64(data.value)),
    }
}

/// An address of as many cells as there are.
fn address(node: NodeRef<'_, '_>, name: &str) -> Option<u64> {
    let cells = node.property(name)?.value.chunks_exact(4);
    Some(cells.fold(0, |sum, cell| sum << 32 | cell.iter().fold(0, |cell, byte| cell << 8 | u64::from(*byte))))
}

fn shown(address: Option<u64>) -> String {
    address.map_or_else(|| "unavailable".to_owned(), |address| format!("0x{address:08x}"))
}

#[derive(Debug, Default)]
pub(super) struct Lines(pub(super) Vec<u8>);

impl Lines {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.bytes(line.to_string().as_bytes());
        self.bytes(b"\n");
    }

    /// A text up to its zero byte.
    fn text(&mut self, label: &str, text: &[u8]) {
        self.bytes(label.as_bytes());
        self.bytes(until_zero(text));
        self.bytes(b"\n");
    }

    fn property(&mut self, label: &str, property: Option<&PropertyRef<'_>>) {
        self.text(label, property.map_or(b"unavailable", |property| property.value));
    }

    /// A property's strings, each in a line of its own.
    fn list(&mut self, label: &str, property: Option<&PropertyRef<'_>>) {
        let strings = property.into_iter().flat_map(|it| it.value.split_inclusive(|byte| *byte == 0));
        for (index, text) in strings.map_while(|text| text.strip_suffix(&[0])).enumerate() {
            self.text(if index == 0 { label } else { "                " }, text);
        }
    }

    fn size(&mut self, label: &str, size: u64) {
        // A division of floating-point numbers, as printf has it: 32 bits fit.
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let (kib, mib) = (f64::from(size) / 1024.0, f64::from(size) / 1_048_576.0);
        self.line(format_args!("{label}{size} Bytes = {kib:.2} KiB = {mib:.2} MiB"));
    }
}
