//! A uImage: what is not given is read from the data, and what contradicts the data is found.

use super::kernel::{Kernel, arch_by_header, cut_off, needs_no_load, release};
use super::{Assembled, Facts};
use crate::arch::Arch;
use crate::bytes::Cursor;
use crate::codec::Codec;
use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::finding::Rule;
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::format::fdt::FDT_MAGIC;
use crate::format::uimage::{
    self, ARCH, COMP_NONE, COMPRESSION, HEADER_LEN, Header, NAME_LEN, Names, OS, TYPE, arch_ids, arch_word, comp_id,
    kind,
};
use crate::format::zimage::{self, ZImage};
use crate::layout::{Plan, Region, RegionKind, Reserver};
use std::borrow::Cow;
use std::ops::Range;

/// What the caller wants; `None` is derived from the data, or has mkimage's default.
#[derive(Debug, Clone, Default)]
pub struct UImageRequest {
    /// CPU, a number of [`ARCH`].
    pub arch: Option<u8>,
    /// Operating system, a number of [`uimage::OS`].
    pub os: Option<u8>,
    /// Type, a number of [`TYPE`].
    pub kind: Option<u8>,
    /// Compression, a number of [`COMPRESSION`].
    pub comp: Option<u8>,
    /// Load address.
    pub load: Option<u64>,
    /// Entry point.
    pub entry: Option<u64>,
    /// Name.
    pub name: Option<Vec<u8>>,
    /// Cut a name over 32 bytes.
    pub truncate_name: bool,
    /// Execute in place: the first 64 bytes of the data are 0xff and make room for the header.
    pub xip: bool,
    /// Creation time in seconds since 1970.
    pub time: u32,
    /// Go ahead in spite of contradictions.
    pub force: bool,
    /// Compress the kernel so. An ELF file is flattened first; one that is a kernel and has no [`UImageRequest::comp`] is
    /// flattened, and compressed with gzip, also when this is not given.
    pub compress: Option<Codec>,
    /// A vendor's magic number.
    pub magic: Option<u32>,
    /// All 32 bytes of the name, which need not be text.
    pub raw_name: Option<[u8; NAME_LEN]>,
    /// No data at all: a header that only takes a place.
    pub empty: bool,
}

/// A header field that nobody gave.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Derived {
    /// The field.
    pub field: &'static str,
    /// Its value, as the option would have it.
    pub value: String,
    /// What told it.
    pub from: &'static str,
}

pub(super) use crate::format::uimage::OS_LINUX;
const OS_TEE: u8 = 26;
/// `struct optee_header` (U-Boot, include/tee/optee.h): magic, length, and where the load address stands in it.
const OPTEE_MAGIC: &[u8] = b"OPTE";
const OPTEE_HEADER_LEN: u32 = 28;
const OPTEE_LOAD_AT: u64 = 16;
/// U-Boot legacy image of `files`, with device trees appended to the first when that is an ARM zImage or a MIPS kernel.
///
/// # Errors
/// [`Error::Contradiction`] lists what contradicts the data, unless forced; [`Error::Underivable`] names the option
/// for what could not be found out.
///
/// # Example
///
/// ```
/// use kimage::assemble::{ARCH, OS, TYPE, UImageRequest, uimage};
///
/// let request = UImageRequest {
///     arch: ARCH.id("riscv"),
///     os: OS.id("linux"),
///     kind: TYPE.id("ramdisk"),
///     comp: Some(0),
///     name: Some(b"files".to_vec()),
///     ..UImageRequest::default()
/// };
/// let files = b"070701, or whatever the kernel unpacks";
/// let image = uimage(&request, &[files], &[])?;
/// assert_eq!(image.plan.len(), 64 + files.len() as u64);
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn uimage<'a>(request: &UImageRequest, files: &[&'a [u8]], dtbs: &[&'a [u8]]) -> Result<Assembled<'a>> {
    let first = files.first().copied().unwrap_or(&[]);
    super::trees_of_boards(dtbs)?;
    let mut facts = DataFacts::read(request, first);
    let mut decided = Decided::default();
    let kernel = decided.kernel(request, &facts, first, dtbs)?;
    // Where the flat kernel begins, which need not be where the first segment does: that may hold the ELF header, too.
    if let (Some((base, _)), Some((span, _))) = (kernel.as_ref().and_then(|kernel| kernel.addresses), &mut facts.elf) {
        span.start = base;
    }
    let packed = kernel.as_ref().map(|kernel| kernel.codec.and_then(comp_id).unwrap_or(COMP_NONE));
    let request = &UImageRequest { comp: packed.or(request.comp), ..request.clone() };
    let header = decided.header(request, &facts, first)?;

    let mut steps = Vec::new();
    let mut plans = Vec::with_capacity(files.len());
    if let Some(kernel) = kernel {
        decided.check_flat_load(request, &facts)?;
        if request.load.is_none() {
            decided.findings.extend(kernel.virtual_finding());
        }
        facts.format = kernel.codec.map(Format::Compressed);
        steps = kernel.steps;
        let mut data = Reserver::new();
        data.bytes(kernel.bytes)?;
        data.region("data", 0, RegionKind::Data);
        plans.push(data.finish());
    }
    for (index, data) in files.iter().enumerate().skip(plans.len()) {
        let plan = match (index, dtbs) {
            (0, [_, ..]) => with_dtbs(data, dtbs)?,
            (0, []) if request.xip => Plan::of("data", decided.xip(data)),
            _ => Plan::of("data", data),
        };
        plans.push(plan);
    }
    decided.check(request, &header, &facts, first, &plans);
    let mut findings = decided.findings;
    if !request.force && findings.iter().any(|finding| finding.severity == Severity::Error) {
        findings.retain(|finding| finding.severity == Severity::Error);
        return Err(Error::Contradiction { findings });
    }
    let plan = uimage::plan(request.magic, &header, &plans).map_err(Error::UImage)?;
    findings.extend(misplaced_trees(&plan));
    let long = |names: Names, id| names.long(id).unwrap_or("Unknown");
    let [arch, os] = [long(ARCH, header.arch), long(OS, header.os)];
    let facts = Facts::UImage {
        arch: ARCH.short(header.arch),
        os: OS.short(header.os),
        kind: TYPE.short(header.kind),
        compression: COMPRESSION.short(header.comp),
        description: format!("{arch} {os} {} ({})", long(TYPE, header.kind), long(COMPRESSION, header.comp)),
        load_address: header.load,
        entry_point: header.entry,
        name: header.name().into_owned(),
        time: header.time,
        data_size: plan.len() - HEADER_LEN,
        derived: decided.derived,
    };
    Ok(Assembled { findings, steps, ..Assembled::new(plan, facts) })
}

/// Device trees of a multi-file image that Linux would refuse if U-Boot handed them on where they lie (`fdt_high` of all
/// ones): arch/arm64 and, from 6.x on, the others want a tree on 8 bytes.
fn misplaced_trees(plan: &Plan<'_>) -> Vec<Finding> {
    let tree = |region: &&Region| {
        let head = region.at.start..region.at.start.saturating_add(4);
        region.name.starts_with("data[") && region.at.start % 8 != 0 && plan.bytes_at(head) == FDT_MAGIC.to_be_bytes()
    };
    let found = plan.regions().iter().filter(tree).map(|region| {
        let message = format!("the device tree {} is at offset {:#x}, not on 8 bytes", region.name, region.at.start);
        uimage::rules::DTB_ALIGNMENT.finding(message)
    });
    found.collect()
}

/// May device trees stand behind this kernel before it is compressed? `CONFIG_MIPS_RAW_APPENDED_DTB` is MIPS' alone.
fn takes_trees(request: &UImageRequest, facts: &DataFacts) -> bool {
    let by_file = matches!(facts.arch, Some((Arch::Mips | Arch::Mips64, _)));
    let by_option = request.arch.is_some_and(|arch| arch_ids(Arch::Mips64).contains(&arch));
    let fits = facts.format == Some(Format::Elf) && by_file || facts.format.is_none() && by_option;
    fits && request.kind.is_none_or(self::is_kernel) && request.comp.is_none_or(|comp| comp == COMP_NONE)
}

fn with_dtbs<'a>(data: &'a [u8], dtbs: &[&'a [u8]]) -> Result<Plan<'a>> {
    if !ZImage::detect(data) {
        let found = super::describe(data);
        let help = "an ARM zImage carries device trees behind it, and a MIPS kernel before it is compressed: give that, \
                    with `request.compress`, or leave out `request.dtbs`";
        return Err(Error::wrong_input("DATA", found, "an ARM zImage or a MIPS vmlinux, for `request.dtbs`", help));
    }
    let image = ZImage::parse(data).map_err(|error| Error::input("DATA", error))?;
    zimage::plan_append(&image, dtbs).map_err(Error::ZImage)
}

/// What the data says about itself.
#[derive(Debug, Default)]
struct DataFacts {
    format: Option<Format>,
    arch: Option<(Arch, &'static str)>,
    /// Where an ELF file wants to be loaded and entered.
    elf: Option<(Range<u64>, u64)>,
    /// The address in the header of an OP-TEE image.
    tee: Option<u32>,
}

impl DataFacts {
    fn read(request: &UImageRequest, data: &[u8]) -> DataFacts {
        let format = Format::detect(data);
        let mut facts = DataFacts { format, ..DataFacts::default() };
        if request.os == Some(OS_TEE) {
            facts.tee = Cursor::little(data).u32("init_load_addr_lo", OPTEE_LOAD_AT).ok();
        }
        match format {
            Some(Format::Elf) => {
                if let Ok(elf) = Elf::parse(data) {
                    facts.arch = elf.arch().map(|arch| (arch, "the ELF header"));
                    facts.elf = elf.physical_span().map(|span| (span, elf.physical_entry().0));
                }
            }
            _ => facts.arch = arch_by_header(format, data),
        }
        facts
    }
}

fn is_kernel(kind: u8) -> bool {
    matches!(kind, kind::KERNEL | kind::KERNEL_NOLOAD)
}

/// A 32-bit address; a 64-bit one that is the sign extension of a 32-bit one (MIPS) counts as that.
fn address32(value: u64) -> Option<u32> {
    let low = u32::try_from(value & u64::from(u32::MAX)).ok()?;
    let extended = value >> 32 == u64::from(u32::MAX) && low >> 31 == 1;
    (value >> 32 == 0 || extended).then_some(low)
}

/// Collects decisions and what they rest on.
#[derive(Debug, Default)]
struct Decided {
    derived: Vec<Derived>,
    findings: Vec<Finding>,
}

impl Decided {
    fn derive(&mut self, field: &'static str, value: impl Into<String>, from: &'static str) {
        self.derived.push(Derived { field, value: value.into(), from });
    }

    fn add(&mut self, rule: &Rule, message: impl Into<String>) {
        self.findings.push(rule.finding(message));
    }

    /// The same with a help of its own.
    fn advise(&mut self, rule: &Rule, message: impl Into<String>, help: impl Into<Cow<'static, str>>) {
        self.findings.push(rule.finding(message).with_help(help));
    }

    /// The kernel as it goes into the image, when it does not go in as it is.
    fn kernel<'a>(
        &mut self,
        request: &UImageRequest,
        facts: &DataFacts,
        data: &'a [u8],
        dtbs: &[&[u8]],
    ) -> Result<Option<Kernel<'a>>> {
        let is_elf = facts.format == Some(Format::Elf);
        // MIPS kernels have their trees behind them before they are compressed.
        let appends = !dtbs.is_empty() && takes_trees(request, facts);
        let as_it_is = request.comp.is_some() || request.xip || !dtbs.is_empty() && !appends || facts.tee.is_some();
        let flattened = is_elf && !as_it_is && request.kind.is_none_or(is_kernel);
        if request.compress.is_none() && !flattened && !appends {
            return Ok(None);
        }
        let contradiction = match request.kind {
            Some(kind::MULTI | kind::SCRIPT) => {
                Some("`request.kind` multi and `request.kind` script hold files as they are")
            }
            _ if request.comp.is_some() && request.compress.is_some() => {
                Some("`request.comp` says how the data is compressed already")
            }
            _ if request.xip => Some("what is executed in place cannot be compressed"),
            _ if !dtbs.is_empty() && !appends => Some("a device tree is appended to what is not compressed"),
            _ => None,
        };
        if let Some(message) = contradiction {
            let message = format!("{message}: `request.compress` does not go with it");
            self.add(&uimage::rules::COMPRESS, message);
            return Ok(None);
        }
        let compress = match request.compress {
            Some(codec) => codec,
            None if !flattened => Codec::None,
            None => {
                self.derive("compression", "gzip", "what every U-Boot unpacks");
                Codec::Gzip
            }
        };
        let kernel = Kernel::read("DATA", data, dtbs, Some(compress))?;
        self.findings.extend(kernel.tree_finding(dtbs));
        Ok(Some(kernel))
    }

    /// A kernel whose ELF file names virtual addresses, or some above 4 GiB, is no use at address 0.
    fn check_flat_load(&self, request: &UImageRequest, facts: &DataFacts) -> Result<()> {
        let found = facts.elf.as_ref().is_some_and(|(span, _)| address32(span.start).is_some());
        let wanted = facts.format == Some(Format::Elf) && request.load.is_none() && !found;
        match wanted {
            true => Err(Error::Underivable { field: "load address", option: "`request.load`" }),
            false => Ok(()),
        }
    }

    fn header(&mut self, request: &UImageRequest, facts: &DataFacts, data: &[u8]) -> Result<Header> {
        let arch = match (request.arch, facts.arch) {
            (Some(arch), _) => arch,
            (None, Some((arch, from))) if !arch_ids(arch).is_empty() => {
                let id = arch_ids(arch).first().copied().unwrap_or_default();
                self.derive("arch", ARCH.short(id).unwrap_or_default(), from);
                id
            }
            (None, _) => {
                return Err(Error::Underivable {
                    field: "CPU",
                    option: "`request.arch` (`request.arch` list shows the names)",
                });
            }
        };
        let packed = request.compress.is_some_and(|codec| codec != Codec::None);
        let noload = needs_no_load(facts.format) && request.load.is_none() && !packed;
        let kind = match request.kind {
            Some(kind) => kind,
            None if noload => {
                self.derive("type", "kernel_noload", "the kernel's header: it needs no load address");
                kind::KERNEL_NOLOAD
            }
            None => kind::KERNEL,
        };
        let comp = match (request.comp, facts.format) {
            (Some(comp), _) => comp,
            (None, Some(Format::Compressed(codec))) => match comp_id(codec) {
                Some(id) => {
                    self.derive("compression", COMPRESSION.short(id).unwrap_or_default(), "the data's magic number");
                    id
                }
                None => {
                    self.add(
                        &uimage::rules::CODEC_UNNAMED,
                        format!("U-Boot has no number for {}: the image is labelled `none`", codec.name()),
                    );
                    COMP_NONE
                }
            },
            (None, _) => COMP_NONE,
        };
        let (load, entry) = self.addresses(request, facts, kind, packed);
        let name = self.name(request, facts, kind, data);
        Ok(Header { time: request.time, load, entry, os: request.os.unwrap_or(OS_LINUX), arch, kind, comp, name })
    }

    fn addresses(&mut self, request: &UImageRequest, facts: &DataFacts, kind: u8, packed: bool) -> (u32, u32) {
        let mut given = |value: u64, option: &'static str| {
            address32(value).unwrap_or_else(|| {
                let message = format!("{option} {value:#x} does not fit the header's 32 bits");
                self.add(&uimage::rules::ADDRESS, message);
                // What mkimage does without a word.
                u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
            })
        };
        let load = request.load.map(|load| given(load, "`request.load`"));
        let entry = request.entry.map(|entry| given(entry, "`request.entry`"));
        // An address of the ELF file that does not fit is none that U-Boot could use.
        let from_elf = facts.elf.as_ref().filter(|_| is_kernel(kind) || kind == kind::STANDALONE);
        let elf_load = from_elf.and_then(|(span, _)| address32(span.start));
        let elf_entry = from_elf.and_then(|(_, entry)| address32(*entry));
        let xip_room = if request.xip { 64 } else { 0 };
        let (load, entry) = match (load, entry) {
            (Some(load), Some(entry)) => (load, entry),
            // As mkimage: the header of an OP-TEE image is loaded too, in front of what it names.
            (None, entry) if facts.tee.is_some() => {
                let start = facts.tee.unwrap_or_default();
                let load = start.wrapping_sub(OPTEE_HEADER_LEN);
                self.derive("load address", format!("{load:#x}"), "the OP-TEE header");
                if entry.is_none() {
                    self.derive("entry point", format!("{start:#x}"), "the OP-TEE header");
                }
                (load, entry.unwrap_or(start))
            }
            // As mkimage: where it is loaded, it is entered. With -x the header comes first.
            (Some(load), None) => (load, load.wrapping_add(xip_room)),
            (None, entry) => {
                if let Some(load) = elf_load {
                    self.derive("load address", format!("{load:#x}"), "the ELF file's program headers");
                }
                if let (Some(start), None) = (elf_entry.filter(|_| elf_load.is_some()), entry) {
                    self.derive("entry point", format!("{start:#x}"), "the ELF file's entry point");
                }
                let load = elf_load.unwrap_or(0);
                let fallback = elf_entry.filter(|_| elf_load.is_some()).unwrap_or(load.wrapping_add(xip_room));
                (load, entry.unwrap_or(fallback))
            }
        };
        if request.load.is_none() && elf_load.is_none() && facts.tee.is_none() && kind == kind::KERNEL {
            self.add(&uimage::rules::LOAD, "no load address: the image says 0, where U-Boot will copy the kernel to");
        }
        if kind == kind::KERNEL_NOLOAD && packed && matches!(facts.arch, Some((Arch::Arm64, _))) {
            self.add(
                &uimage::rules::NOLOAD,
                "U-Boot looks for an arm64 kernel that is not loaded in the compressed data, and refuses it",
            );
        }
        (load, entry)
    }

    fn name(&mut self, request: &UImageRequest, facts: &DataFacts, kind: u8, data: &[u8]) -> [u8; NAME_LEN] {
        if let Some(name) = request.raw_name {
            return name;
        }
        if let Some(name) = &request.name {
            if name.len() > NAME_LEN && !request.truncate_name {
                self.add(
                    &uimage::rules::NAME,
                    format!("the name has {} bytes, the header has room for {NAME_LEN}", name.len()),
                );
            }
            return uimage::name_bytes(name);
        }
        let release = if is_kernel(kind) { release(facts.format, data) } else { None };
        let Some(release) = release else { return [0; NAME_LEN] };
        let name = uimage::name_bytes(format!("Linux-{release}").as_bytes());
        let shown = name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect::<String>();
        self.derive("name", shown, "the kernel's version string");
        name
    }

    /// The data behind the 64 bytes that the header takes the place of.
    fn xip<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        match data.split_at_checked(64) {
            Some((room, rest)) if room.iter().all(|byte| *byte == 0xff) => rest,
            _ => {
                self.add(
                    &uimage::rules::XIP,
                    "the first 64 bytes of the data are not all 0xff, so the header cannot take their place",
                );
                data
            }
        }
    }

    fn check(&mut self, request: &UImageRequest, header: &Header, facts: &DataFacts, first: &[u8], plans: &[Plan<'_>]) {
        if !uimage::is_legacy_kind(header.kind) {
            let name = TYPE.short(header.kind).unwrap_or("?");
            self.add(
                &uimage::rules::TYPE,
                format!("type {name} is not one of U-Boot's legacy images: mkimage gives it a header of its own"),
            );
        }
        if plans.iter().any(|plan| plan.len() == 0) && !request.empty {
            self.add(&uimage::rules::EMPTY, "the data is empty");
        }
        if let Some(error) = cut_off(facts.format, first) {
            self.advise(
                &super::rules::UIMAGE_TRUNCATED,
                format!("the kernel is cut off: {error}"),
                error.help.to_string(),
            );
        }
        if plans.len() > 1 && header.kind != kind::MULTI {
            self.add(&uimage::rules::FILES, format!("{} files, but only type multi holds more than one", plans.len()));
        }
        self.check_arch(header, facts);
        if matches!(facts.arch, Some((Arch::Mips64, _))) && is_kernel(header.kind) && header.load >> 31 == 1 {
            // Seen with U-Boot's malta64el, which faults at 0x81260000.
            self.add(
                &uimage::rules::MIPS64,
                "a 64-bit U-Boot takes the load address without its sign and faults: only a 32-bit one boots this",
            );
        }
        self.check_compression(header, facts);
        self.check_entry(request, header, facts, first, plans);
        if facts.tee.is_some() && request.load.is_none() && !first.starts_with(OPTEE_MAGIC) {
            self.add(
                &uimage::rules::OPTEE,
                "the data does not begin with an OP-TEE header (OPTE), but the addresses were read from it",
            );
        }
        if facts.format == Some(Format::Elf) && is_kernel(header.kind) {
            self.add(
                &uimage::rules::ELF,
                "the data is an ELF file, which U-Boot copies as it stands instead of loading its segments",
            );
        }
    }

    fn check_arch(&mut self, header: &Header, facts: &DataFacts) {
        let Some((arch, from)) = facts.arch.filter(|(arch, _)| !arch_ids(*arch).contains(&header.arch)) else { return };
        let given = ARCH.short(header.arch).unwrap_or("?");
        let want = arch_word(arch);
        self.advise(
            &uimage::rules::ARCH,
            format!("`request.arch` {given}, but {from} says {arch}"),
            format!("change `request.arch` to {want}"),
        );
    }

    fn check_compression(&mut self, header: &Header, facts: &DataFacts) {
        let found = match facts.format {
            Some(Format::Compressed(codec)) => Some(codec),
            _ => None,
        };
        let given = COMPRESSION.short(header.comp).unwrap_or("?");
        let is = found.map_or_else(
            || facts.format.map_or(super::UNKNOWN, Format::name).to_owned(),
            |codec| format!("{} data", codec.name()),
        );
        match found.and_then(comp_id) {
            Some(id) if id == header.comp => {}
            // A ramdisk is handed on as it is: the kernel unpacks it, whatever the label says.
            Some(id) if header.comp == COMP_NONE => {
                if is_kernel(header.kind) {
                    let want = COMPRESSION.short(id).unwrap_or("?");
                    self.advise(
                        &uimage::rules::COMP,
                        format!("`request.comp` none, but the data is {is}: U-Boot would start the compressed bytes"),
                        format!("change `request.comp` to {want}"),
                    );
                }
            }
            None if header.comp == COMP_NONE => {}
            id => {
                let want = id.and_then(|id| COMPRESSION.short(id)).unwrap_or("none");
                self.advise(
                    &uimage::rules::COMP,
                    format!("`request.comp` {given}, but the data is {is}"),
                    format!("change `request.comp` to {want}, or compress the data first"),
                );
            }
        }
        if found == Some(Codec::Lz4Legacy) {
            self.add(
                &uimage::rules::LZ4_LEGACY,
                "the data is in LZ4's legacy frame, which the kernel reads but U-Boot does not",
            );
        }
    }

    /// The entry point must lie in the image as U-Boot leaves it in memory.
    fn check_entry(
        &mut self,
        request: &UImageRequest,
        header: &Header,
        facts: &DataFacts,
        first: &[u8],
        plans: &[Plan<'_>],
    ) {
        let program = is_kernel(header.kind) || header.kind == kind::STANDALONE;
        if !program || request.entry.is_none() {
            return;
        }
        let len = plans.first().map_or(0, Plan::len);
        let (load, entry) = (u64::from(header.load), u64::from(header.entry));
        let range = if header.kind == kind::KERNEL_NOLOAD {
            0..len
        } else if header.comp != COMP_NONE {
            // How far it reaches only the decompressor knows.
            load..u64::MAX
        } else if let Some((span, _)) = facts.elf.as_ref().filter(|_| request.load.is_none()) {
            let mask = u64::from(u32::MAX);
            (span.start & mask)..(span.start & mask).saturating_add(span.end - span.start)
        } else {
            load..load + len + if request.xip { 64 } else { 0 }
        };
        if !range.contains(&entry) && !range.is_empty() {
            let what = if header.kind == kind::KERNEL_NOLOAD { "an offset into the data, " } else { "" };
            let end = if range.end == u64::MAX { String::new() } else { format!("{:#x}", range.end) };
            let message =
                format!("`request.entry` {entry:#x} is outside of the image ({what}{:#x}..{end})", range.start);
            let finding = uimage::rules::ENTRY.finding(message).with_severity(Severity::Error);
            self.findings.push(finding.with_help("change `request.entry` or `request.load`"));
        } else if let Some((_, why)) = header.entered(first, false).filter(|_| !request.xip) {
            let first = if header.kind == kind::KERNEL_NOLOAD { 0 } else { load };
            let message = format!("`request.entry` {entry:#x} is not the first byte of the kernel, {first:#x}: {why}");
            let help = format!("leave out `request.entry`, or say `request.entry` {first:#x}");
            self.advise(&uimage::rules::ENTRY, message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fit_or_are_sign_extended() {
        assert_eq!(address32(0x8000_8000), Some(0x8000_8000));
        assert_eq!(address32(0xffff_ffff_8010_0000), Some(0x8010_0000));
        assert_eq!(address32(0xffff_ffff_0010_0000), None);
        assert_eq!(address32(0x80_0000_0000), None);
    }
}
