//! What a TPM's registers come to when an EFI program is started: foretold from the files alone.

use crate::bytes::{FieldError, hex, len64, printable, slice};
use crate::error::{Error, Result};
use crate::finding::{Finding, rules};
use crate::format::bzimage::{BzImage, StandaloneImage};
use crate::format::pe::Pe;
use crate::format::tpm::{BANKS, Event, PerBank};
use crate::format::uki::measured::{
    Boot, Groups, Hashes, IMAGE_PCR, PHASES, Stub, archive, sections as sections_of, utf16, words,
};
use crate::format::uki::{self, LINUX};
use crate::sign::Algorithm;
use crate::stub::parameters::CMDLINE_OVERRIDES;
use crate::stub::{cmdline, sections};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

rules! {
    /// The rules of [`measure`].
    pub(crate) RULES:
    CMDLINE = "measure.cmdline", Warning, "command line from outside",
        "with Secure Boot the stub takes the image's own (.cmdline) and drops it: it is not measured",
        "leave it out, or put it into an addon";
    ADDON = "measure.addon", Warning, "addon of an image",
        "the stub leaves it out: it is not measured",
        "make it for this image: without a kernel, and with its .uname or none";
    INITRD = "measure.initrd", Warning, "RAM disk from outside",
        "the stub loads none beside that of a bzImage, nor when the command line has `noinitrd`: it is not measured",
        "leave it out, or take the word off the command line";
    FIRMWARE = "measure.efifw", Warning, ".efifw",
        "whether the stub measures it depends on the machine; the values are those without it",
        "read the register on the machine that it is for";
}

/// A file by its name, which the stub sorts by and measures.
type Named<'r> = (&'r str, &'r [u8]);

/// What is to be foretold, and of which boot. The default is a boot with nothing from outside and without Secure Boot.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeasureRequest<'r> {
    /// The banks: SHA-1, SHA-256, SHA-384, SHA-512; none for all of them.
    pub banks: &'r [Algorithm],
    /// The registers, 4, 9, 11, 12 or 13; none for those that something is said about.
    pub pcrs: &'r [u32],
    /// The release of systemd whose stub it is, whatever the file says.
    pub stub_version: Option<u32>,
    /// Up to which phases of a boot: words with colons between them, in the order that they come; none for systemd's four.
    pub phases: &'r [&'r str],
    /// The profile that is chosen, from 0; else all of them.
    pub profile: Option<usize>,
    /// Secure Boot is on.
    pub secure_boot: bool,
    /// The command line that the boot loader gives, `@N` in front for a profile.
    pub cmdline: Option<&'r str>,
    /// The EFI programs that start one the other and at last this one, in this order.
    pub loaders: &'r [&'r [u8]],
    /// The RAM disk that the boot loader offers, or the files that `initrd=` names, in their order.
    pub initrds: &'r [&'r [u8]],
    /// `NAME.efi.extra.d/*.addon.efi`.
    pub addons: &'r [Named<'r>],
    /// `/loader/addons/*.addon.efi`.
    pub global_addons: &'r [Named<'r>],
    /// `NAME.efi.extra.d/*.cred`.
    pub credentials: &'r [Named<'r>],
    /// `/loader/credentials/*.cred`.
    pub global_credentials: &'r [Named<'r>],
    /// `NAME.efi.extra.d/*.raw`, system extensions.
    pub sysexts: &'r [Named<'r>],
    /// `NAME.efi.extra.d/*.confext.raw`, configuration extensions.
    pub confexts: &'r [Named<'r>],
    /// `/loader/extensions/*.raw`, system extensions.
    pub global_sysexts: &'r [Named<'r>],
    /// `/loader/extensions/*.confext.raw`, configuration extensions.
    pub global_confexts: &'r [Named<'r>],
    /// Give each extension of a register, too.
    pub explain: bool,
}

/// What the registers come to. As text, it is what systemd-measure prints; its JSON has the banks as that has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measurement {
    /// The stub's name and version, as it says them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stub: Option<String>,
    /// By bank.
    #[serde(flatten)]
    banks: BTreeMap<&'static str, Vec<Row>>,
    /// Each extension, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event>,
    /// What is worth knowing about it.
    pub findings: Vec<Finding>,
}

/// A register of a bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtbauto: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    pcr: u32,
    hash: String,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = |f: &mut fmt::Formatter<'_>, pcr, profile: Option<usize>, tree: Option<usize>| {
            write!(f, "# PCR[{pcr}]")?;
            profile.map_or(Ok(()), |number| write!(f, " Profile {number}"))?;
            tree.map_or(Ok(()), |number| write!(f, " .dtbauto {number}"))
        };
        for event in &self.events {
            about(f, event.pcr, event.profile, event.dtbauto)?;
            writeln!(f, " {} {:?}: {}", event.kind, event.event, event.of)?;
            for ((bank, digest), (_, value)) in event.digests.0.iter().zip(&event.values.0) {
                writeln!(f, "#   {} {} -> {}", bank.name(), hex(digest), hex(value))?;
            }
        }
        let rows = self.banks.values().map(Vec::len).max().unwrap_or(0);
        for index in 0..rows {
            let mut is_first = true;
            for (bank, values) in &self.banks {
                let Some(row) = values.get(index) else { continue };
                if is_first {
                    about(f, row.pcr, row.profile, row.dtbauto)?;
                    match row.phase.as_deref() {
                        Some(phase) => writeln!(f, " Phase <{}>", if phase.is_empty() { ":" } else { phase })?,
                        None => writeln!(f)?,
                    }
                    is_first = false;
                }
                writeln!(f, "{}:{bank}={}", row.pcr, row.hash)?;
            }
        }
        Ok(())
    }
}

/// Foretells the registers of a TPM for the boot of an EFI program: of a unified kernel image, and of one around kimage's own boot stub,
/// those that its stub extends.
///
/// # Errors
/// [`Error::Input`] and [`Error::Part`] of a damaged file; [`Error::NotMeasured`] where it is not known, or cannot be.
pub fn measure(file: &[u8], request: &MeasureRequest<'_>) -> Result<Measurement> {
    let pe = Pe::parse(file).map_err(|error| Error::input("FILE", error))?;
    let all: Vec<_> = BANKS.iter().map(|(bank, _)| *bank).collect();
    let banks = if request.banks.is_empty() { &all } else { request.banks };
    if let Some(bank) = banks.iter().find(|bank| !all.contains(bank)) {
        return Err(not_known(format!("a TPM has no bank of {}", bank.name()), "take sha1, sha256, sha384 or sha512"));
    }
    if let Some(pcr) = request.pcrs.iter().find(|pcr| !matches!(**pcr, 4 | INITRD_PCR | 11..=13)) {
        let why = format!("register {pcr} is not the affair of a program's boot");
        return Err(not_known(why, "ask for 4, 9, 11, 12 or 13"));
    }
    let is_uki = pe.section(LINUX).is_some();
    let mut work = Work {
        request,
        banks,
        stub: Stub::of(&pe),
        register: PerBank::zero(banks),
        at: (0, None, None),
        measurement: Measurement { stub: None, banks: BTreeMap::new(), events: Vec::new(), findings: Vec::new() },
    };
    if let Some(release) = request.stub_version {
        work.stub = Stub::of_release(release);
    }
    work.measurement.stub = work.stub.name.clone().filter(|_| is_uki);
    let of_stub = !request.credentials.is_empty()
        || !request.global_credentials.is_empty()
        || !request.addons.is_empty()
        || !request.global_addons.is_empty()
        || !request.confexts.is_empty()
        || !request.global_confexts.is_empty();
    let has_extensions = !request.sysexts.is_empty() || !request.global_sysexts.is_empty();
    if !is_uki && (request.profile.is_some() || !request.phases.is_empty()) {
        let why = "it is no unified kernel image: it has no profiles, and its boot no phases in register 11";
        return Err(not_known(why.into(), "leave profile and phases out"));
    }
    let kernel = BzImage::parse(file).ok().filter(|_| !is_uki);
    let kernel = kernel.as_ref().and_then(|image| Some((image, StandaloneImage::find(image)?)));
    let wants = |pcr: u32, by_default: bool| match request.pcrs {
        [] => by_default,
        pcrs => pcrs.contains(&pcr),
    };
    if let Some((image, own)) = kernel.filter(|_| !of_stub && !has_extensions) {
        if request.pcrs.iter().any(|pcr| !matches!(*pcr, 4 | INITRD_PCR)) {
            let why = "an image around kimage's own boot stub, which is no unified one, extends register 9 alone";
            return Err(not_known(why.into(), "ask for 9, or for 4, which the firmware extends"));
        }
        if wants(4, true) {
            work.programs(&pe, None)?;
        }
        if wants(INITRD_PCR, !request.initrds.is_empty() || request.cmdline.is_some()) {
            work.kernel(image, &own)?;
        }
        return Ok(work.measurement);
    }
    if !is_uki {
        if request.pcrs.iter().any(|pcr| *pcr != 4)
            || of_stub
            || has_extensions
            || !request.initrds.is_empty()
            || request.cmdline.is_some()
        {
            let why = "it is no unified kernel image: what it measures is its own affair";
            let help = "ask for register 4 alone, which the firmware extends; of images around kimage's own boot stub also for 9";
            return Err(not_known(why.into(), help));
        }
        work.programs(&pe, None)?;
        return Ok(work.measurement);
    }
    let sections = sections_of(&pe).map_err(|why| not_known(why, "make the image again"))?;
    let (chosen, cmdline) = chosen(request, &work.stub)?;
    let groups = Groups::new(&sections);
    let profiles = match chosen.or(request.profile) {
        Some(number) => number..number + 1,
        None => 0..groups.profile_count().max(1),
    };
    let mut hashes = Hashes::new(banks);
    let stub = work.stub.clone();
    let order = stub.order(&sections);
    for number in profiles {
        let Some(boot) = Boot::new(&groups, number) else {
            let why = format!("there is no profile {number}, the image has {}", groups.profile_count());
            return Err(not_known(why, "kimage info shows the profiles, from 0"));
        };
        if wants(4, !request.loaders.is_empty()) {
            work.programs(&pe, Some(&boot))?;
        }
        if wants(INITRD_PCR, !request.initrds.is_empty()) {
            work.initrd(&boot, cmdline)?;
        }
        if wants(IMAGE_PCR, true) {
            work.image(order.as_deref(), &boot, &mut hashes)?;
        }
        if wants(12, of_stub || cmdline.is_some() || number > 0) {
            work.parameters(&boot, cmdline)?;
        }
        if wants(13, has_extensions) {
            work.extensions(&boot)?;
        }
    }
    Ok(work.measurement)
}

/// The register of RAM disks that are none of the image's own, as the kernel's EFI stub has it.
const INITRD_PCR: u32 = 9;
const SAY_RELEASE: &str = "say which stub it is (`request.stub_version`), or read the register on the machine";

fn not_known(why: String, help: &'static str) -> Error {
    Error::NotMeasured { why, help }
}

/// The work on one file.
struct Work<'r, 'w> {
    request: &'w MeasureRequest<'r>,
    banks: &'w [Algorithm],
    stub: Stub,
    register: PerBank,
    /// The register, the profile, the device tree.
    at: (u32, Option<usize>, Option<usize>),
    measurement: Measurement,
}

impl Work<'_, '_> {
    fn begin(&mut self, pcr: u32, profile: Option<usize>) {
        self.at = (pcr, profile, None);
        self.register = PerBank::zero(self.banks);
    }

    /// Extends the register.
    fn extend(&mut self, kind: &'static str, event: &str, of: &str, digests: PerBank) {
        self.register.extend(&digests);
        if self.request.explain {
            let (pcr, profile, dtbauto) = self.at;
            let (event, of, values) = (event.to_owned(), of.to_owned(), self.register.clone());
            self.measurement.events.push(Event { pcr, profile, dtbauto, kind, event, of, digests, values });
        }
    }

    fn extend_by(&mut self, kind: &'static str, event: &str, of: &str, data: &[u8]) {
        self.extend(kind, event, of, PerBank::hash(self.banks, &[data], 0));
    }

    /// This is what the register comes to.
    fn put(&mut self, phase: Option<&str>) {
        let (pcr, profile, dtbauto) = self.at;
        for (bank, value) in &self.register.0 {
            let row = Row { profile, dtbauto, phase: phase.map(str::to_owned), pcr, hash: hex(value) };
            self.measurement.banks.entry(bank.name()).or_default().push(row);
        }
    }

    fn finding(&mut self, finding: Finding) {
        if !self.measurement.findings.contains(&finding) {
            self.measurement.findings.push(finding);
        }
    }

    /// Register 4: the programs that the firmware starts.
    fn programs(&mut self, pe: &Pe<'_>, boot: Option<&Boot<'_, '_>>) -> Result<()> {
        const STARTED: &str = "a program's Authenticode digest";
        const APPLICATION: &str = "EV_EFI_BOOT_SERVICES_APPLICATION";
        const ACTION: &str = "Calling EFI Application from Boot Option";
        self.begin(4, boot.and_then(|boot| boot.profile));
        self.extend_by("EV_EFI_ACTION", ACTION, "the text", ACTION.as_bytes());
        self.extend_by("EV_SEPARATOR", "", "four zeros", &[0; 4]);
        let digests = |pe: &Pe<'_>, banks: &[Algorithm]| -> Result<PerBank> {
            let one = |bank: &Algorithm| pe.measured_digest(*bank).map(|digest| (*bank, digest));
            let all: std::result::Result<Vec<_>, _> = banks.iter().map(one).collect();
            all.map(PerBank).map_err(|why| not_known(format!("a program has no digest, {why}"), "link it anew"))
        };
        for (index, loader) in self.request.loaders.iter().enumerate() {
            let of_loader = |source: Error| Error::Part { which: "LOADER", index, source: Box::new(source) };
            let pe = Pe::parse(loader).map_err(|error: FieldError| of_loader(Error::input("FILE", error)))?;
            let digests = digests(&pe, self.banks).map_err(of_loader)?;
            self.extend(APPLICATION, &format!("boot loader {index}"), STARTED, digests);
        }
        self.extend(APPLICATION, "the image", STARTED, digests(pe, self.banks)?);
        if let Some(boot) = boot.filter(|_| !self.request.secure_boot) {
            let Some(loads) = self.stub.has_kernel_loaded() else {
                let why = "register 4: whether this stub has the firmware start the kernel is not known";
                return Err(not_known(why.into(), SAY_RELEASE));
            };
            let kernel = boot.section(".linux").and_then(|section| section.contents.first());
            if let Some(kernel) = kernel.filter(|_| loads) {
                let of_kernel = |error: FieldError| {
                    not_known(format!("the kernel is no EFI program, {error}"), "make the image again")
                };
                let kernel = Pe::parse(kernel).map_err(of_kernel)?;
                self.extend(APPLICATION, ".linux", STARTED, digests(&kernel, self.banks)?);
            }
        }
        self.put(None);
        Ok(())
    }

    /// Register 9 of a unified image: the RAM disk from outside, as kimage's own stub takes it.
    fn initrd(&mut self, boot: &Boot<'_, '_>, given: Option<&str>) -> Result<()> {
        if !self.stub.is_ours() {
            let why = "register 9: with this stub the kernel measures the RAM disk that it is given, by its own rules";
            return Err(not_known(
                why.into(),
                "leave register 9 and the RAM disks out, or read the register on the machine",
            ));
        }
        self.begin(INITRD_PCR, boot.profile);
        let own = boot.section(".cmdline").and_then(|section| section.contents.first()).copied();
        let given = given.filter(|_| own.is_none() || !self.request.secure_boot).map(str::as_bytes);
        let mut line = given.or(own).unwrap_or_default().to_vec();
        for addon in self.addons(boot)? {
            line.push(b' ');
            line.extend(addon.cmdline.as_deref().unwrap_or_default().as_bytes());
        }
        // The image's own takes the place of files by name.
        self.disks(&[&line], boot.section(".initrd").is_none(), false)?;
        self.put(None);
        Ok(())
    }

    /// Register 9 of another image around kimage's own stub: the load options as they are, and the RAM disk from outside.
    fn kernel(&mut self, image: &BzImage<'_>, own: &StandaloneImage) -> Result<()> {
        if !own.is_known() {
            let why = "register 9: the boot stub in it is of another version of kimage, or damaged";
            return Err(not_known(why.into(), "make the image again with kimage bzimage"));
        }
        self.begin(INITRD_PCR, None);
        let given = self.request.cmdline.filter(|text| !text.is_empty());
        if let Some(text) = given {
            // Whether the stub then takes them or not.
            let of = "the load options, UTF-16 with a zero at the end";
            self.extend_by("EV_EVENT_TAG", "LOADED_IMAGE::LoadOptions", of, &utf16(text));
        }
        let p = &own.parameters;
        let start = image.system_range().0.saturating_add(p.cmdline_at);
        let built_in = slice(image.bytes(), start, p.cmdline_len).unwrap_or_default();
        let is_closed = p.has(CMDLINE_OVERRIDES) || self.request.secure_boot && !built_in.is_empty();
        let loader = given.filter(|_| !is_closed).unwrap_or_default().as_bytes();
        self.disks(&[built_in, loader], true, p.initrd_len != 0)?;
        self.put(None);
        Ok(())
    }

    /// RAM disks from outside, where the command line has these words; `by_name`: the stub takes what `initrd=` names, `has_own`: it
    /// takes none, for it has one.
    fn disks(&mut self, words: &[&[u8]], by_name: bool, has_own: bool) -> Result<()> {
        /// The stub lays each file at a multiple of this.
        const ALIGN: u64 = 4;
        const PADDING: &[u8] = &[0; 3];
        let why = match words.iter().any(|words| cmdline::has(words, b"noinitrd")) {
            _ if has_own => Some("the image has one of its own"),
            true => Some("the command line has noinitrd"),
            false => None,
        };
        let mut names = words.iter().flat_map(|words| cmdline::values(words, b"initrd=")).filter(|_| by_name);
        let name = names.next().map(String::from_utf8_lossy);
        if let Some(name) = name.filter(|_| why.is_none() && self.request.initrds.is_empty()) {
            let why = format!("register 9: the command line has initrd={}, a file that is not given", printable(&name));
            return Err(not_known(
                why,
                "give what it names (`request.initrds`), or what the boot loader offers instead",
            ));
        }
        if let Some(why) = why.filter(|_| !self.request.initrds.is_empty()) {
            self.finding(INITRD.finding(format!("{} does not count: {why}", INITRD.what)));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut len = 0_u64;
        for disk in self.request.initrds.iter().filter(|_| why.is_none()) {
            let padding = len.next_multiple_of(ALIGN) - len;
            parts.extend(slice(PADDING, 0, padding));
            parts.push(disk);
            len += padding + len64(disk);
        }
        // Nothing is measured of no bytes.
        if len != 0 {
            let digests = PerBank::hash(self.banks, &parts, 0);
            self.extend("EV_EVENT_TAG", "Linux initrd", "the RAM disk from outside", digests);
        }
        Ok(())
    }

    /// Register 11: the image's sections, then the phases.
    fn image<'s>(&mut self, order: Option<&[&str]>, boot: &Boot<'s, '_>, hashes: &mut Hashes<'s>) -> Result<()> {
        let Some(order) = order else {
            let stub = self.stub.name.as_deref().unwrap_or("this stub");
            return Err(not_known(format!("the order of the sections of {stub} is not known"), SAY_RELEASE));
        };
        if boot.has_firmware() && order.contains(&".efifw") {
            self.finding(FIRMWARE.finding("the image has a section .efifw, which waits for its hardware"));
        }
        for tree in std::iter::once(None).chain((0..boot.tree_count()).map(Some)) {
            let (register, mut events) = boot.measure(order, tree, hashes);
            if self.request.explain {
                self.measurement.events.append(&mut events);
            }
            let phases: &[&str] = if self.request.phases.is_empty() { &PHASES } else { self.request.phases };
            // Each word is shown once where the phases go on where those before ended.
            let mut before = Vec::new();
            self.at = (IMAGE_PCR, boot.profile, tree);
            self.register = register.clone();
            for phase in phases {
                let path: Vec<_> = words(phase).collect();
                let new = path.strip_prefix(&before[..]).unwrap_or(&path);
                if new.len() == path.len() {
                    self.register = register.clone();
                }
                for word in new {
                    self.extend_by("phase", word, "the word", word.as_bytes());
                }
                self.put(Some(&path.join(":")));
                before = path;
            }
        }
        Ok(())
    }

    /// Register 12: what comes from outside.
    fn parameters(&mut self, boot: &Boot<'_, '_>, cmdline: Option<&str>) -> Result<()> {
        self.begin(12, boot.profile);
        if let Some(number) = boot.profile.filter(|number| *number > 0) {
            let text = number.to_string();
            self.extend_by("EV_EVENT_TAG", &text, "the profile's number, UTF-16", &utf16(&text));
        }
        match cmdline {
            Some(_) if self.request.secure_boot && boot.section(".cmdline").is_some() => {
                self.finding(CMDLINE.finding("the command line from outside is dropped"));
            }
            Some(text) => self.extend_by("EV_IPL", text, "the command line, UTF-16", &utf16(text)),
            None => {}
        }
        let addons = self.addons(boot)?;
        let lines: Vec<_> = addons.iter().filter_map(|addon| addon.cmdline.as_deref()).collect();
        if !lines.is_empty() {
            let text = lines.join(" ");
            self.extend_by("EV_IPL", &text, "the addons' command lines, UTF-16", &utf16(&text));
        }
        for addon in &addons {
            if let Some(tree) = addon.dtb {
                self.extend_by("EV_EVENT_TAG", &addon.name, "the addon's device tree", tree);
            }
        }
        let request = self.request;
        self.archive(&sections::CREDENTIALS, request.credentials)?;
        self.archive(&sections::GLOBAL_CREDENTIALS, request.global_credentials)?;
        if !request.confexts.is_empty() {
            self.needs(257, "configuration extensions")?;
        }
        self.archive(&sections::CONFEXTS, request.confexts)?;
        self.global(&sections::GLOBAL_CONFEXTS, request.global_confexts)?;
        for addon in addons.iter().rev() {
            if let Some(ucode) = addon.ucode {
                self.extend_by("EV_EVENT_TAG", &addon.name, "the addon's microcode", ucode);
            }
        }
        for addon in &addons {
            if let Some(initrd) = addon.initrd {
                self.extend_by("EV_EVENT_TAG", &addon.name, "the addon's initial RAM disk", initrd);
            }
        }
        self.put(None);
        Ok(())
    }

    /// Register 13: system extensions.
    fn extensions(&mut self, boot: &Boot<'_, '_>) -> Result<()> {
        self.begin(13, boot.profile);
        let request = self.request;
        self.archive(&sections::SYSEXTS, request.sysexts)?;
        self.global(&sections::GLOBAL_SYSEXTS, request.global_sysexts)?;
        self.put(None);
        Ok(())
    }

    /// What stubs before that release do otherwise.
    fn needs(&self, release: u32, what: &str) -> Result<()> {
        if self.stub.is_ours() || self.stub.release.is_some_and(|own| own >= release) {
            return Ok(());
        }
        let stub = self.stub.name.as_deref().unwrap_or("this stub");
        Err(not_known(format!("whether and how {stub} measures {what} is not known"), SAY_RELEASE))
    }

    /// Extensions for all images of a disk.
    fn global(&mut self, kind: &sections::Beside, files: &[Named<'_>]) -> Result<()> {
        if !files.is_empty() {
            self.needs(261, "extensions of /loader/extensions")?;
        }
        self.archive(kind, files)
    }

    /// Files that the stub packs into an archive, and measures that.
    fn archive(&mut self, kind: &sections::Beside, files: &[Named<'_>]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        self.needs(252, "them")?;
        if let Some((name, _)) = files.iter().find(|(name, _)| !name.ends_with(kind.ending)) {
            let why = format!("the stub takes files whose names end with {}, which {name} does not", kind.ending);
            return Err(not_known(why, "give the files by the names that they have on the boot partition"));
        }
        let archive = archive(kind.path, kind.modes.0, kind.modes.1, files);
        self.extend_by("EV_IPL", kind.event, "the archive that the stub makes", &archive);
        Ok(())
    }

    /// The addons that count, in the stub's order.
    fn addons<'w>(&mut self, boot: &Boot<'_, '_>) -> Result<Vec<Addon<'w>>>
    where
        Self: 'w,
    {
        let request = self.request;
        let mut counting = Vec::new();
        for (which, files) in [("GLOBAL_ADDON", request.global_addons), ("ADDON", request.addons)] {
            if files.is_empty() {
                continue;
            }
            self.needs(257, "addons")?;
            let mut files: Vec<_> = files.iter().enumerate().collect();
            files.sort_by_cached_key(|(_, (name, _))| name.encode_utf16().collect::<Vec<_>>());
            for (index, (name, bytes)) in files {
                let fail =
                    |error: FieldError| Error::Part { which, index, source: Box::new(Error::input("FILE", error)) };
                let pe = Pe::parse(bytes).map_err(fail)?;
                let text = |wanted: &str| {
                    let contents = pe.section(wanted.as_bytes()).and_then(|section| pe.contents(section));
                    contents.filter(|contents| !contents.is_empty())
                };
                let own = boot.section(".uname").and_then(|section| section.contents.first());
                let is_other = own.zip(text(".uname")).is_some_and(|(own, its)| *own != its);
                let why = match (uki::is_addon(&pe), name.ends_with(sections::ADDON)) {
                    (false, _) => Some("it holds a kernel, or nothing for one"),
                    (_, false) => Some("its name does not end with .addon.efi"),
                    _ if is_other => Some("its .uname is that of another kernel"),
                    _ => None,
                };
                if let Some(why) = why {
                    self.finding(ADDON.finding(format!("{name} does not count: {why}")));
                    continue;
                }
                let is_ours = self.stub.is_ours();
                if let Some(section) = sections::NOT_TAKEN.iter().find(|one| is_ours && text(one).is_some()) {
                    self.finding(ADDON.finding(format!("{section} of {name} does not count: the stub takes none")));
                }
                let cmdline = text(".cmdline").map(|line| {
                    String::from_utf8_lossy(line).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
                });
                counting.push(Addon {
                    name: (*name).to_owned(),
                    cmdline: cmdline.filter(|line| !line.is_empty()),
                    dtb: text(".dtb").filter(|_| !is_ours),
                    ucode: text(".ucode"),
                    initrd: text(".initrd"),
                });
            }
        }
        Ok(counting)
    }
}

/// The profile that the command line chooses, and what is left of it.
fn chosen<'r>(request: &MeasureRequest<'r>, stub: &Stub) -> Result<(Option<usize>, Option<&'r str>)> {
    let Some(given) = request.cmdline else { return Ok((None, None)) };
    let odd = |c: char| c.is_control();
    if given.trim() != given || given.contains(odd) {
        let why = "a command line with blanks around it or control characters is measured as the stub changes it";
        return Err(not_known(why.into(), "give it without them"));
    }
    let at = given.strip_prefix('@').filter(|_| stub.knows_profiles());
    let number = at.and_then(|rest| {
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Some((number.parse().ok()?, rest))
    });
    Ok(match number {
        None => (None, Some(given).filter(|text| !text.is_empty())),
        Some((number, rest)) => {
            if request.profile.is_some_and(|profile| profile != number) {
                let why = format!("the command line chooses profile {number}, the request another");
                return Err(not_known(why, "leave one of them out"));
            }
            (Some(number), Some(rest).filter(|text| !text.is_empty()))
        }
    })
}

/// What an addon brings along.
struct Addon<'a> {
    name: String,
    cmdline: Option<String>,
    dtb: Option<&'a [u8]>,
    ucode: Option<&'a [u8]>,
    initrd: Option<&'a [u8]>,
}
