//! The memory that a boot takes, by the rules of U-Boot (boot/bootm.c, arch/arm/lib/image.c) and of the kernels
//! (Documentation/arch/arm/booting.rst, arm64/booting.rst, x86/boot.rst; arch/arm/boot/compressed/head.S).

use super::{Board, Files, codec_word, format_word};
use crate::arch::Arch;
use crate::bytes::{Align, Cursor, len64};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::format::bzimage::BzImage;
use crate::format::fit::Fit;
use crate::format::image64::Image64;
use crate::format::uimage::{COMPRESSION, HEADER_LEN, UImage, kind};
use crate::format::zimage::ZImage;
use std::fmt;

/// What a piece of memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The image as it was loaded.
    Image,
    /// The kernel where U-Boot copies it; it may overlap the image.
    Copied,
    /// The kernel where U-Boot unpacks it.
    Unpacked,
    /// The kernel when it runs, and what unpacks it.
    Running,
    /// The device tree as it was loaded.
    DeviceTree,
    /// The ramdisk as it was loaded.
    Ramdisk,
    /// Not to be touched.
    Reserved,
}

impl Role {
    /// The variable that moves it.
    pub(super) fn variable(self) -> Option<&'static str> {
        match self {
            Role::Image => Some("kernel_addr_r"),
            Role::DeviceTree => Some("fdt_addr_r"),
            Role::Ramdisk => Some("ramdisk_addr_r"),
            _ => None,
        }
    }
}

/// A piece of memory in use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Use {
    /// By what.
    pub what: String,
    /// Its address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// For what.
    pub role: Role,
}

impl Use {
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    pub(super) fn overlaps(&self, other: &Use) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#x}..{:#x})", self.what, self.start, self.end())
    }
}

/// ARM's decompressor looks for the start of the memory at the next lower multiple of this (head.S, AUTO_ZRELADDR).
const ARM_BANK: u64 = 128 << 20;
/// Where the kernel goes in it, and the 16 KiB of page tables below that.
const TEXT_OFFSET: u64 = 0x8000;
const PAGE_TABLES: u64 = 0x4000;
/// No kernel unpacks to more.
const UNPACK_LIMIT: u64 = 1 << 30;

/// The uses of the memory, and what the loader cannot.
///
/// # Errors
/// When the image is damaged.
pub fn memory(board: &Board, files: &Files<'_>) -> Result<(Vec<Use>, Vec<Finding>)> {
    let mut boot = Boot { board, uses: Vec::new(), findings: Vec::new() };
    boot.image(files.image)?;
    for (bytes, at, role, what, variable) in [
        (files.dtb, board.env.fdt_addr_r, Role::DeviceTree, "the device tree", "fdt_addr_r"),
        (files.ramdisk, board.env.ramdisk_addr_r, Role::Ramdisk, "the ramdisk", "ramdisk_addr_r"),
    ] {
        match (bytes, at) {
            (Some(bytes), Some(at)) => boot.add(role, what, at, len64(bytes)),
            (Some(_), None) => boot.missing(variable),
            (None, _) => {}
        }
    }
    Ok((boot.uses, boot.findings))
}

struct Boot<'b> {
    board: &'b Board,
    uses: Vec<Use>,
    findings: Vec<Finding>,
}

impl Boot<'_> {
    fn add(&mut self, role: Role, what: impl Into<String>, start: u64, size: u64) {
        self.uses.push(Use { what: what.into(), start, size, role });
    }

    fn error(&mut self, rule: &'static str, message: String, help: String) {
        self.findings.push(Finding::new(rule, Severity::Error, message).with_help(help));
    }

    fn missing(&mut self, variable: &str) {
        let message = format!("neither board file nor environment says {variable}");
        self.error("lint.env", message, format!("add {variable} to [env] of the board file"));
    }

    fn image(&mut self, image: &[u8]) -> Result<()> {
        let format = Format::detect(image);
        let word = format_word(format);
        if !self.board.loader.formats.iter().any(|known| known == word) {
            let known = self.board.loader.formats.join(", ");
            let name = format.map_or("no image that kimage knows", Format::name);
            self.error(
                "lint.format",
                format!("this is {name}, which the boot loader does not start"),
                format!("give it one of: {known}"),
            );
        }
        let Some(at) = self.board.env.kernel_addr_r else {
            self.missing("kernel_addr_r");
            return Ok(());
        };
        self.add(Role::Image, "the image", at, len64(image));
        let damaged = |error| Error::input("IMAGE", error);
        match format {
            Some(Format::UImage) => self.uimage(&UImage::parse(image).map_err(damaged)?, at),
            Some(Format::Fit) => self.fit(&Fit::parse(image).map_err(damaged)?, at)?,
            Some(Format::Compressed(codec)) => match self.board.env.kernel_comp_addr_r {
                Some(unpacked_at) => {
                    let max = self.board.env.kernel_comp_size;
                    if let Some(kernel) = self.unpack(codec, image, unpacked_at, max, "kernel_comp_size") {
                        self.running(&kernel, unpacked_at, len64(&kernel));
                    }
                }
                None => self.missing("kernel_comp_addr_r"),
            },
            _ => self.running(image, at, len64(image)),
        }
        Ok(())
    }

    fn uimage(&mut self, image: &UImage<'_>, at: u64) {
        let header = image.header();
        let data = image.files().next().unwrap_or(&[]);
        let start = match header.kind {
            kind::KERNEL | kind::KERNEL_NOLOAD => at + HEADER_LEN,
            // The table of sizes stands in front.
            kind::MULTI => {
                image.regions().iter().find(|region| region.name == "data[0]").map_or(at, |it| at + it.at.start)
            }
            _ => return,
        };
        let comp = COMPRESSION.short(header.comp).unwrap_or("?");
        let load = if header.kind == kind::KERNEL_NOLOAD { start } else { u64::from(header.load) };
        self.kernel(data, comp, start, load);
    }

    fn fit(&mut self, fit: &Fit<'_>, at: u64) -> Result<()> {
        let names: Vec<&str> = fit.configurations().map(|configuration| configuration.name()).collect();
        let wanted = fit.default().or(names.first().copied());
        let Some(configuration) = fit.configurations().find(|it| Some(it.name()) == wanted) else {
            let help = "add a configuration".to_owned();
            self.error("lint.fit", "the FIT has no configuration to boot".to_owned(), help);
            return Ok(());
        };
        for (role, what) in [("fdt", "the device tree of the FIT"), ("ramdisk", "the ramdisk of the FIT")] {
            for image in configuration.images(role).iter().filter_map(|name| fit.image(name)) {
                if let (Some(load), Some(data)) = (image.load(), image.data()) {
                    let role = if role == "fdt" { Role::DeviceTree } else { Role::Ramdisk };
                    self.add(role, what, load, len64(data));
                }
            }
        }
        for image in configuration.images("kernel").iter().filter_map(|name| fit.image(name)) {
            let placement = image.placement().map_err(|error| Error::input("IMAGE", error))?;
            let (Some(data), Some(placement)) = (image.data(), placement) else { continue };
            let start = at.saturating_add(placement.range().start);
            let noload = image.text("type") == Some("kernel_noload");
            let load = if noload { start } else { image.load().unwrap_or(start) };
            self.kernel(data, image.text("compression").unwrap_or("none"), start, load);
            // The other images of the FIT are read after the kernel was unpacked.
            for using in self.uses.iter_mut().filter(|using| using.role == Role::Copied && load != start) {
                using.role = Role::Unpacked;
            }
        }
        Ok(())
    }

    /// A kernel at `start`, which `bootm` copies or unpacks to `load`.
    fn kernel(&mut self, data: &[u8], comp: &str, start: u64, load: u64) {
        let codecs = &self.board.loader.codecs;
        if !codecs.iter().any(|known| known == comp) {
            let message = format!("the kernel is compressed with {comp}, which the boot loader does not unpack");
            let known = codecs.join(", ");
            self.error("lint.codec", message, format!("compress it with one of: {known}"));
        }
        let detected = Codec::detect(data);
        match detected.filter(|_| comp != "none") {
            Some(codec) if codec_word(codec) == comp => {
                let max = self.board.env.bootm_len;
                // Unpacked where the data stands, a kernel would be written over before it was read: noload finds a place.
                let load =
                    if load == start { start.saturating_add(len64(data)).next_multiple_of(2 << 20) } else { load };
                if let Some(kernel) = self.unpack(codec, data, load, max, "bootm_len (CONFIG_SYS_BOOTM_LEN)") {
                    self.running(&kernel, load, len64(&kernel));
                }
            }
            _ => {
                if load != start {
                    self.add(Role::Copied, "the kernel at its load address", load, len64(data));
                }
                self.running(data, load, len64(data));
            }
        }
    }

    /// The unpacked kernel; `None` when it cannot be unpacked.
    fn unpack(&mut self, codec: Codec, data: &[u8], to: u64, max: Option<u64>, limit: &str) -> Option<Vec<u8>> {
        let dictionary = if codec == Codec::Lzma { Cursor::little(data).u32("dictionary", 1).ok() } else { None };
        if let (Some(found), Some(max)) = (dictionary, self.board.loader.lzma_dict_max) {
            if u64::from(found) > max {
                let message = format!("the LZMA dictionary has {found} bytes, the boot loader takes up to {max}");
                self.error("lint.lzma-dictionary", message, format!("compress it with --dict-size {max}"));
            }
        }
        let mut kernel = Vec::new();
        match codec.decompress_one(data, UNPACK_LIMIT, &mut kernel) {
            Ok(_) => {
                let size = len64(&kernel);
                if let Some(max) = max.filter(|max| size > *max) {
                    let message = format!("the kernel unpacks to {size} bytes, {limit} is {max}");
                    self.error(
                        "lint.bootm-len",
                        message,
                        "raise it in U-Boot's configuration, or make the kernel smaller".into(),
                    );
                }
                self.add(Role::Unpacked, "the unpacked kernel", to, size);
                Some(kernel)
            }
            Err(error) => {
                self.error("lint.codec", format!("the kernel cannot be unpacked: {error}"), error.help().into_owned());
                None
            }
        }
    }

    /// What the kernel itself takes once it is started at `at`.
    fn running(&mut self, kernel: &[u8], at: u64, len: u64) {
        match Format::detect(kernel) {
            Some(Format::ZImage) => self.zimage(kernel, at, len),
            Some(Format::Image64(_)) => {
                if let Some(image) = Image64::detect(kernel) {
                    self.image64(kernel, &image, at);
                }
            }
            Some(Format::BzImage) => {
                if let Ok(image) = BzImage::parse(kernel) {
                    let header = image.setup().header();
                    let (start, size) = (header.pref_address.get(), u64::from(header.init_size.get()));
                    if size > 0 {
                        self.add(Role::Running, "the running kernel", start, size);
                    }
                }
            }
            _ => {}
        }
    }

    fn zimage(&mut self, kernel: &[u8], at: u64, len: u64) {
        let table = ZImage::parse(kernel).ok().and_then(|image| image.table());
        let Some(table) = table else {
            let message = "the zImage has no size table (Linux before 4.15): how much it unpacks is not known";
            self.findings.push(Finding::new("lint.zimage", Severity::Note, message));
            return;
        };
        let base = at / ARM_BANK * ARM_BANK + TEXT_OFFSET;
        let size = u64::from(table.kernel_size) + u64::from(table.bss_size);
        let start = base - PAGE_TABLES;
        self.add(Role::Running, "the running kernel", start, size + PAGE_TABLES);
        let end = start + size + PAGE_TABLES;
        // In the way of what it unpacks, the decompressor first moves itself behind it.
        if at < end && start < at.saturating_add(len) {
            self.add(Role::Running, "the decompressor, moved", end.next_multiple_of(256), len);
        }
    }

    fn image64(&mut self, kernel: &[u8], image: &Image64, at: u64) {
        let align = Align::new(2 << 20).unwrap_or(Align::PAGE);
        let flags = Cursor::little(kernel).u64("flags", 24).unwrap_or_default();
        // arm64: with bit 3 it may be anywhere; else `booti` takes it to the start of the RAM.
        let anywhere = image.arch != Arch::Arm64 || flags & 8 != 0;
        let low = self.board.ram.first().map_or(at, |area| area.start);
        let wanted = if anywhere { at.saturating_sub(image.text_offset % align.bytes()) } else { low };
        let start = align.up(wanted).unwrap_or(wanted).saturating_add(image.text_offset % align.bytes());
        let size = if image.image_size == 0 { len64(kernel) } else { image.image_size };
        if start != at {
            self.add(Role::Copied, "the kernel where booti copies it", start, len64(kernel));
        }
        self.add(Role::Running, "the running kernel", start, size);
    }
}
