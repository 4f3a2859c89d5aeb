//! The memory that a boot takes, by the rules of U-Boot (boot/bootm.c, arch/arm/lib/image.c, arch/riscv/lib/image.c) and
//! of the kernels (Documentation/arch/arm/booting.rst, arm64/booting.rst, riscv/boot.rst, x86/boot.rst;
//! arch/arm/boot/compressed/head.S and misc.c).

use super::rules;
use super::{Board, Files, codec_word, format_word};
use crate::arch::Arch;
use crate::bytes::{help, len64};
use crate::codec::{self, Codec};
use crate::error::{Error, Result};
use crate::finding::Rule;
use crate::finding::{Finding, Severity};
use crate::format::bzimage::BzImage;
use crate::format::fit::{BootView, Configuration, Fit};
use crate::format::footprint::{Footprint, Stage};
use crate::format::image64::{Image64, LARGE_PAGE};
use crate::format::uimage::{ARCH, COMPRESSION, HEADER_LEN, OS, OS_LINUX, TYPE, UImage, arch_word, kind};
use crate::format::zimage::{self, ZImage};
use crate::format::{Format, flat, what_is};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write;

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
    /// U-Boot itself, until the kernel starts.
    Loader,
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
    /// U-Boot refuses a device tree or ramdisk that it finds here (`booti`: "image overlaps OS image").
    #[serde(skip)]
    pub(super) guarded: bool,
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

/// How much memory U-Boot takes an arm64 Image without a size (Linux before 3.17) to need.
const OLD_IMAGE: u64 = 16 << 20;
/// No kernel unpacks to more, whatever its stream declares.
const UNPACK_LIMIT: u64 = 1 << 30;

/// What decoding tells of the kernel, which is the same wherever it goes: done once, whatever comes of it.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// The kernel, or what is wrong with its stream.
    kernel: Option<codec::Result<Vec<u8>>>,
    is_linux: Option<bool>,
    /// Work so far, in steps of about a nanosecond.
    work: u64,
}

impl Decoded {
    fn spend(&mut self, each: u64, count: usize) {
        const STEP: u64 = 500;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.work = self.work.saturating_add(each.saturating_mul(count).saturating_mul(STEP));
    }

    /// Is there no more work that a file is worth? Proposals are found by trying, and a FIT can have any number of images
    /// that are not where they should be.
    pub(super) fn is_used_up(&self) -> bool {
        const WORTH: u64 = 1 << 30;
        self.work >= WORTH
    }
}

/// What is to be said of a FIT's configurations beside the one whose memory is looked at: where U-Boot chooses by `compatible`
/// (CONFIG_FIT_BEST_MATCH), or the script by name, another may be taken.
pub(super) fn other_configurations(image: &[u8]) -> Vec<Finding> {
    let Some(fit) = Some(image).filter(|image| Fit::detect(image)).and_then(|image| Fit::parse(image).ok()) else {
        return Vec::new();
    };
    let Some(chosen) = fit.booted() else { return Vec::new() };
    let view = BootView::of_fit(&fit);
    let own: HashSet<String> =
        view.bootm(Some(chosen.name())).into_iter().map(|finding| format!("{finding:?}")).collect();
    let mut findings = view.bootm(None);
    findings.retain(|finding| !own.contains(&format!("{finding:?}")));
    findings.iter_mut().for_each(|finding| finding.severity = finding.severity.min(Severity::Warning));

    let loaded: HashSet<_> = fit.images().filter(|image| image.load().is_some()).map(|image| image.name()).collect();
    let takes = |configuration: &Configuration<'_, '_>| -> Vec<String> {
        let kernel = configuration.images("kernel").into_iter().take(1);
        let placed = ["fdt", "ramdisk"].into_iter().flat_map(|role| configuration.images(role));
        kernel.chain(placed.filter(|name| loaded.contains(*name))).map(str::to_owned).collect()
    };
    let taken = takes(&chosen);
    let others = fit.configurations().filter(|it| !it.images("kernel").is_empty() && takes(it) != taken);
    let others: Vec<&str> = others.map(|it| it.name()).collect();
    if let Some(first) = others.first() {
        let and_more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        findings.push(rules::CONFIGURATION.finding(format!(
            "the memory is that of configuration {}; those that take other images have not been placed: {first}{and_more}",
            chosen.name()
        )));
    }
    findings
}

/// As [`memory`], with the kernel loaded to `load` whatever its header says.
pub(super) fn boot(
    board: &Board,
    files: &Files<'_>,
    load: Option<u64>,
    decoded: &mut Decoded,
) -> Result<(Vec<Use>, Vec<Finding>)> {
    let mut boot = Boot { board, load, decoded, uses: Vec::new(), findings: Vec::new() };
    boot.image(files.image)?;
    let uses = boot.uses.len();
    boot.decoded.spend(10, 1);
    boot.decoded.spend(1, uses);
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
    for area in &board.reserved {
        boot.add(Role::Reserved, area.name.clone(), area.start, area.size);
    }
    if let Some(place) = board.loader_place() {
        boot.add(Role::Loader, "U-Boot itself", place.start, place.size);
    }
    Ok((boot.uses, boot.findings))
}

/// What a container says of the kernel in it.
struct Packed<'a> {
    data: &'a [u8],
    /// U-Boot's word for the compression.
    comp: &'a str,
    /// U-Boot's word for the CPU.
    arch: &'a str,
    /// Where the data stands.
    start: u64,
    /// Where it is to go; `None`: it stays.
    load: Option<u64>,
}

struct Boot<'b> {
    board: &'b Board,
    load: Option<u64>,
    decoded: &'b mut Decoded,
    uses: Vec<Use>,
    findings: Vec<Finding>,
}

impl Boot<'_> {
    fn add(&mut self, role: Role, what: impl Into<String>, start: u64, size: u64) {
        self.uses.push(Use { what: what.into(), start, size, role, guarded: false });
    }

    fn error(&mut self, rule: &Rule, message: String, help: String) {
        self.findings.push(rule.finding(message).with_severity(Severity::Error).with_help(help));
    }

    fn warn(&mut self, rule: &Rule, message: String, help: &'static str) {
        self.findings.push(rule.finding(message).with_severity(Severity::Warning).with_help(help));
    }

    fn note(&mut self, rule: &Rule, message: &'static str) {
        self.findings.push(rule.finding(message).with_severity(Severity::Note));
    }

    fn missing(&mut self, variable: &str) {
        let message = format!("neither board file nor environment says {variable}");
        let help = "leave the file out if the board does not load it; else set it in [env] of a board file of your own \
                    (`request.board` NAME `request.show` prints one to start from), or by `request.environment`";
        self.error(&rules::ENV, message, help.to_owned());
    }

    /// Where the RAM begins; kernels count from there.
    fn ram_start(&self) -> Option<u64> {
        self.board.ram.first().map(|area| area.start)
    }

    fn image(&mut self, image: &[u8]) -> Result<()> {
        let format = Format::detect(image);
        let word = format_word(format);
        if !self.board.loader.formats.iter().any(|known| known == word) {
            let known = self.board.loader.formats.join(", ");
            let name = what_is(image);
            if matches!(format, Some(Format::Zboot | Format::Uki | Format::Pe)) {
                let message = format!("this is {name}: whether the boot loader starts EFI programs is not known");
                let help = format!("start it by bootefi, where U-Boot has that, or give it one of: {known}");
                let finding = rules::FORMAT.finding(message).with_severity(Severity::Warning).with_help(help);
                self.findings.push(finding.not_checked("what EFI (bootefi) does with it"));
                return Ok(());
            }
            self.error(
                &rules::FORMAT,
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
            Some(Format::Compressed(codec)) => {
                self.codec(codec_word(codec));
                match self.board.env.kernel_comp_addr_r {
                    Some(unpacked_at) => {
                        let max = self.board.env.kernel_comp_size;
                        if self.unpack(codec, image, unpacked_at, max, "kernel_comp_size") {
                            self.running_unpacked(unpacked_at);
                        }
                    }
                    None => self.missing("kernel_comp_addr_r"),
                }
            }
            Some(Format::ZImage | Format::Image64(_) | Format::BzImage) => self.running(image, at),
            None if flat::is_kernel(image) => self.running(image, at),
            Some(_) if !self.findings.iter().any(|finding| finding.rule == rules::FORMAT.id) => {
                self.note(&rules::BSS, "how much memory the running kernel takes is not known");
            }
            _ => {}
        }
        let is_booti = matches!(format, Some(Format::Image64(_) | Format::Compressed(_)));
        for using in self.uses.iter_mut().filter(|using| is_booti && using.role == Role::Running) {
            using.guarded = true;
        }
        Ok(())
    }

    fn uimage(&mut self, image: &UImage<'_>, at: u64) {
        let header = image.header();
        let data = image.files().next().unwrap_or(&[]);
        let comp = COMPRESSION.short(header.comp).unwrap_or("?");
        let is_linux = *self.decoded.is_linux.get_or_insert_with(|| is_linux(data, comp));
        let start = match header.kind {
            kind::KERNEL | kind::KERNEL_NOLOAD => at.saturating_add(HEADER_LEN),
            // The table of sizes stands in front.
            kind::MULTI => {
                let regions = image.regions();
                let first = regions.iter().find(|region| region.name == "data[0]");
                at.saturating_add(first.map_or(0, |region| region.at.start))
            }
            kind => {
                let name = TYPE.long(kind).map_or_else(|| format!("number {kind}"), str::to_owned);
                if kind == kind::STANDALONE && !is_linux {
                    return self.note(&rules::TYPE, "a standalone program does what it likes with the memory");
                }
                let message = format!("the type of the image is {name}, which bootm does not start as a kernel");
                return self.error(&rules::TYPE, message, "make it with `request.kind` kernel".to_owned());
            }
        };
        if header.os != OS_LINUX {
            let name = OS.long(header.os).map_or_else(|| format!("number {}", header.os), str::to_owned);
            if is_linux || header.os == 0 || OS.long(header.os).is_none() {
                let message =
                    format!("the image says that it is for {name}: U-Boot does not start it as Linux is started");
                self.error(&rules::OS, message, "make it with `request.os` linux".to_owned());
            } else {
                let message = format!("the image is for {name}: whether this U-Boot starts that is not known");
                self.warn(&rules::OS, message, "look for CONFIG_BOOTM_... in U-Boot's configuration");
            }
        }
        let moved = header.kind != kind::KERNEL_NOLOAD && u64::from(header.load) != at;
        if let Some((severity, why)) = header.entered(data, moved) {
            let (load, entry) = (header.load, header.entry);
            let noload = header.kind == kind::KERNEL_NOLOAD;
            let message = match noload {
                true => format!("the kernel is entered {entry:#x} bytes behind its first byte: {why}"),
                false => format!("the kernel is entered at {entry:#x}, not at its first byte, {load:#x}: {why}"),
            };
            let help = format!("make it with `request.entry` {:#x}", if noload { 0 } else { load });
            self.findings.push(rules::ENTRY.finding(message).with_severity(severity).with_help(help));
        }
        let arch = ARCH.short(header.arch).unwrap_or("?");
        let load = header.load_address();
        self.kernel(&Packed { data, comp, arch, start, load });
    }

    fn fit(&mut self, fit: &Fit<'_>, at: u64) -> Result<()> {
        let Some(configuration) = fit.booted() else {
            let help = "add a configuration".to_owned();
            self.error(&rules::FIT, "the FIT has no configuration to boot".to_owned(), help);
            return Ok(());
        };
        self.findings.extend(BootView::of_fit(fit).bootm(Some(configuration.name())));
        if configuration.images("kernel").is_empty() && !self.findings.iter().any(|it| it.severity == Severity::Error) {
            let message = format!("configuration {} has no kernel: bootm starts nothing else", configuration.name());
            self.error(&rules::FIT, message, "give the FIT whose configuration has one".to_owned());
        }
        // By name, since each of thousands may be asked for; of two of one name the first counts.
        let mut images = HashMap::new();
        for image in fit.images() {
            images.entry(image.name()).or_insert(image);
        }
        self.decoded.spend(4, images.len());
        let named = |role: &str, most| {
            let mut names = configuration.images(role);
            names.truncate(most);
            // One that is named again is loaded to the same place.
            let mut seen = HashSet::new();
            names.retain(|name| seen.insert(*name));
            names.into_iter().filter_map(|name| images.get(name)).collect::<Vec<_>>()
        };
        let trees =
            named("fdt", usize::MAX).into_iter().map(|image| (image, Role::DeviceTree, "the device tree of the FIT"));
        // Of several kernels and ramdisks, U-Boot takes the first (boot/image-fit.c, fit_image_load).
        let ramdisk = named("ramdisk", 1).into_iter().map(|image| (image, Role::Ramdisk, "the ramdisk of the FIT"));
        for (image, role, what) in trees.chain(ramdisk) {
            if let (Some(load), Some(data)) = (image.load(), image.data()) {
                self.add(role, what, load, len64(data));
            }
        }
        for image in named("kernel", 1) {
            let placement = image.placement().map_err(|error| Error::input("IMAGE", error))?;
            let (Some(data), Some(placement)) = (image.data(), placement) else { continue };
            let start = at.saturating_add(placement.range().start);
            let load = image.load_address();
            let comp = image.text("compression").unwrap_or("none");
            self.kernel(&Packed { data, comp, arch: image.text("arch").unwrap_or("?"), start, load });
            // The other images of the FIT are read after the kernel was unpacked.
            for using in self.uses.iter_mut().filter(|using| using.role == Role::Copied && load.is_some()) {
                using.role = Role::Unpacked;
            }
        }
        Ok(())
    }

    fn codec(&mut self, comp: &str) {
        let codecs = &self.board.loader.codecs;
        if !codecs.iter().any(|known| known == comp) {
            let message = format!("the kernel is compressed with {comp}, which the boot loader does not unpack");
            let known = codecs.join(", ");
            self.error(&rules::CODEC, message, format!("compress it with one of: {known}"));
        }
    }

    /// U-Boot looks at the CPU before anything else; false when it is the wrong one.
    fn arch(&mut self, arch: &str) -> bool {
        let board = &*self.board.arch;
        // A 64-bit x86 U-Boot starts 32-bit code, too, and the other way round.
        let same = arch == board || (arch.starts_with("x86") && board.starts_with("x86"));
        if !same {
            let message = format!("the kernel is for {arch}, the boot loader runs on {board}");
            self.error(&rules::ARCH, message, format!("take a kernel that was built for {board}"));
        }
        same
    }

    /// A kernel that `bootm` copies or unpacks.
    fn kernel(&mut self, kernel: &Packed<'_>) {
        let Packed { data, comp, arch, start, load } = *kernel;
        if !self.arch(arch) {
            return;
        }
        self.codec(comp);
        let load = load.map(|load| self.load.unwrap_or(load));
        match Codec::detect(data).filter(|codec| comp != "none" && codec_word(*codec) == comp) {
            Some(codec) => {
                let Some(load) = load else { return self.packed_noload(arch) };
                let limit = "bootm_len (CONFIG_SYS_BOOTM_LEN)";
                if self.unpack(codec, data, load, self.board.env.bootm_len, limit) {
                    self.running_unpacked(load);
                }
            }
            None => {
                // Of arm64, `bootm` takes what need not be loaded to the start of the RAM; others stay where they are.
                let noload = || match Image64::detect(data).filter(|image| image.arch == Arch::Arm64) {
                    Some(image) => Some(
                        self.ram_start()?.checked_next_multiple_of(LARGE_PAGE)?.saturating_add(image.load_offset()),
                    ),
                    None => Some(start),
                };
                let load = load.or_else(noload).unwrap_or(start);
                if load != start {
                    self.add(Role::Copied, "the kernel at its load address", load, len64(data));
                }
                self.running(data, load);
            }
        }
    }

    /// Compressed, and without a load address.
    fn packed_noload(&mut self, arch: &str) {
        if arch == "arm64" {
            let message = "U-Boot wants an arm64 kernel that is not loaded to be uncompressed: it looks for the header of \
                           the Image and says \"Bad Linux ARM64 Image magic!\"";
            let help = "give it a load address (`request.load`) and the type kernel";
            self.error(&rules::NOLOAD, message.to_owned(), help.to_owned());
        } else {
            self.note(
                &rules::NOLOAD_PLACE,
                "U-Boot itself looks for a place to unpack the kernel to, in four times its size",
            );
        }
    }

    /// Unpacks the kernel; false when it cannot be unpacked.
    fn unpack(&mut self, codec: Codec, data: &[u8], to: u64, max: Option<u64>, limit: &str) -> bool {
        let dictionary = if codec == Codec::Lzma { codec::lzma_dictionary(data) } else { None };
        if let (Some(found), Some(max)) = (dictionary, self.board.loader.lzma_dict_max) {
            if u64::from(found) > max {
                let message = format!("the LZMA dictionary has {found} bytes, the boot loader takes up to {max}");
                self.error(
                    &rules::LZMA_DICTIONARY,
                    message,
                    format!("compress it with `kimage compress lzma`, `request.dictionary` {max}, and say `request.comp` lzma"),
                );
            }
        }
        let kernel = self.decoded.kernel.get_or_insert_with(|| {
            let most = codec.expected_most(data).min(UNPACK_LIMIT);
            let unpack = |out: &mut dyn Write| codec.decompress_one(data, most, out);
            let (kernel, _, result) = codec::held(codec.worth(data), 0, unpack);
            result.map(|_| kernel)
        });
        let size = match kernel {
            Ok(kernel) => len64(kernel),
            Err(codec::Error::TooBig { limit: most, .. }) => {
                let most = *most;
                self.too_big(most, data, max.filter(|max| most >= *max), limit);
                return false;
            }
            Err(error) => {
                let (message, help) = (format!("the kernel cannot be unpacked: {error}"), help(error));
                self.error(&rules::CODEC, message, help);
                return false;
            }
        };
        if let Some(max) = max.filter(|max| size > *max) {
            let message = format!("the kernel unpacks to {size} bytes, {limit} is {max}");
            let help = "raise it in U-Boot's configuration, or make the kernel smaller";
            self.error(&rules::BOOTM_LEN, message, help.to_owned());
        }
        self.add(Role::Unpacked, "the unpacked kernel", to, size);
        true
    }

    /// More than `most` bytes come out, which is too much for the boot loader if it takes no more than `max`.
    fn too_big(&mut self, most: u64, data: &[u8], max: Option<u64>, limit: &str) {
        let Some(max) = max else {
            let message = format!(
                "{} bytes of the kernel unpack to more than {most}: it was not unpacked, and what it takes of the memory was \
                 not checked",
                len64(data)
            );
            return self
                .findings
                .push(rules::UNPACK_LIMIT.finding(message).not_checked("memory of the unpacked kernel"));
        };
        let message = format!("the kernel unpacks to more than {most} bytes, {limit} is {max}");
        let help = "raise it in U-Boot's configuration, or make the kernel smaller";
        self.error(&rules::BOOTM_LEN, message, help.to_owned());
    }

    fn running_unpacked(&mut self, at: u64) {
        // Taken out while it is looked at.
        if let Some(Ok(kernel)) = self.decoded.kernel.take() {
            self.running(&kernel, at);
            self.decoded.kernel = Some(Ok(kernel));
        }
    }

    /// What the kernel itself takes once it is started at `at`.
    fn running(&mut self, kernel: &[u8], at: u64) {
        match Format::detect(kernel) {
            Some(Format::ZImage) if self.arch(arch_word(Arch::Arm)) => match ZImage::parse_alone(kernel) {
                Ok(image) => self.zimage(&image, at),
                Err(_) => self.note(&rules::ZIMAGE, "the zImage is damaged: how much memory it takes is not known"),
            },
            Some(Format::Image64(arch)) if self.arch(arch_word(arch)) => {
                if let Some(image) = Image64::detect(kernel) {
                    self.image64(kernel, &image, at);
                }
            }
            Some(Format::BzImage) if self.arch(arch_word(Arch::X86)) => {
                if let Ok(image) = BzImage::parse(kernel) {
                    self.footprint(&image.footprint(None), &rules::BSS);
                }
            }
            _ => self
                .note(&rules::BSS, "the kernel has no header: how much memory it takes behind its data is not known"),
        }
    }

    /// What the running kernel takes, and what unpacks it; of what is not known, a note of this rule.
    fn footprint(&mut self, footprint: &Footprint, rule: &Rule) {
        let running = footprint.range(Stage::Reserved).or_else(|| footprint.range(Stage::Running));
        if let (None, Some(why)) = (&running, footprint.unknown) {
            self.note(rule, why);
        }
        // What x86 demands to be free counts the decompressor.
        let apart = |stage| footprint.range(stage).filter(|_| footprint.range(Stage::Reserved).is_none());
        let (decompressor, moved) = (apart(Stage::Loaded), apart(Stage::Decompressing));
        for (what, at) in
            [("the running kernel", running), ("the decompressor", decompressor), ("the decompressor, moved", moved)]
        {
            at.into_iter().for_each(|at| self.add(Role::Running, what, at.start, at.end - at.start));
        }
    }

    fn zimage(&mut self, image: &ZImage<'_>, at: u64) {
        let bank = zimage::memory_start(at);
        let ram = self.board.ram.iter().find(|area| (area.start..area.end()).contains(&at));
        if let Some(lost) = ram.filter(|area| area.start < bank).map(|area| bank - area.start) {
            let message = format!(
                "started at {at:#x} the kernel takes {bank:#x} for the start of the RAM: the {lost} bytes below are lost"
            );
            self.warn(&rules::ZIMAGE_BANK, message, "start it in the first 128 MiB of the RAM");
        }
        self.footprint(&image.footprint(at), &rules::ZIMAGE);
    }

    fn image64(&mut self, kernel: &[u8], image: &Image64, at: u64) {
        let len = len64(kernel);
        if image.arch != Arch::Arm64 {
            // U-Boot leaves it where it is.
            if image.arch == Arch::Riscv && at % LARGE_PAGE != 0 {
                let message = format!("the RISC-V kernel is started at {at:#x}, which is no multiple of 2 MiB");
                self.error(&rules::ALIGN, message, "have it started at a multiple of 2 MiB".to_owned());
            }
            return self.footprint(&image.footprint(at, len), &rules::BSS);
        }
        let start = image.started_at(at, self.ram_start().unwrap_or(at));
        let size = match image.footprint(start, len).unknown {
            Some(why) => {
                self.note(&rules::BSS, why);
                OLD_IMAGE.max(len)
            }
            None => image.image_size,
        };
        if start != at {
            // It moves as much as the running kernel takes.
            self.add(Role::Copied, "the kernel where U-Boot moves it", start, size);
        }
        self.add(Role::Running, "the running kernel", start, size);
    }
}

/// Is it Linux, by the header of what is in it?
fn is_linux(data: &[u8], comp: &str) -> bool {
    let codec = Codec::detect(data).filter(|codec| comp != "none" && codec_word(*codec) == comp);
    // Enough for every header.
    let head =
        codec.map(|codec| codec.scan(data, 4096, 0, |piece| Some(piece.to_vec())).ok().flatten().unwrap_or_default());
    let format = Format::detect(head.as_deref().unwrap_or(data));
    matches!(format, Some(Format::ZImage | Format::Image64(_) | Format::BzImage))
}
