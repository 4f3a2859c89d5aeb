//! A unified kernel image: a boot stub, and the kernel and what belongs to it in sections of its own. Addons and profiles, too.
//!
//! Order and bytes are those of systemd's ukify 257.

use super::pcr_signature::{PcrSigning, not_added, with_signatures};
use super::standalone::unified_program;
use super::{Assembled, DEFAULT_MAX_SIZE, Facts, describe, kernel};
use crate::bytes::{FieldError, len64, until_zero};
use crate::codec::{Codec, Parameters};
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::format::pe::add::{AddedSection, NAME_LEN, with_sections};
use crate::format::pe::{NX_COMPAT, Pe};
use crate::format::uki::measured::Stub;
use crate::format::uki::{self, DTBAUTO, EFIFW, PCRPKEY, PROFILE, Role, addon, check, hwids};
use std::borrow::Cow;

/// What a unified kernel image is made of; what is not given, or empty, has no section.
#[derive(Debug, Clone)]
pub struct UkiRequest<'a> {
    /// The boot stub that the sections are put behind; `None` for kimage's own, which is for x86-64 and takes any such kernel,
    /// and of an addon or a profile for a program that does nothing.
    pub stub: Option<&'a [u8]>,
    /// The kernel, for `.linux`. Without it the image is an addon, or a profile to be joined to another.
    pub linux: Option<&'a [u8]>,
    /// RAM disks, for `.initrd`: one behind the other, each filled up to a multiple of 4 bytes.
    pub initrds: Vec<&'a [u8]>,
    /// `.ucode`, a RAM disk with microcode.
    pub ucode: &'a [u8],
    /// `.cmdline`
    pub cmdline: &'a [u8],
    /// `.osrel`
    pub os_release: &'a [u8],
    /// `.uname`; `None` for the kernel's own release, where it is found.
    pub uname: Option<&'a [u8]>,
    /// `.splash`, a BMP picture.
    pub splash: &'a [u8],
    /// `.dtb`
    pub dtb: &'a [u8],
    /// `.dtbauto`, one each: device trees that the stub chooses from.
    pub dtbs_auto: Vec<&'a [u8]>,
    /// `.hwids`: descriptions of devices, JSON objects with `name`, `compatible` and `hwids`.
    pub hwids: Vec<&'a [u8]>,
    /// `.pcrpkey`, the public key of PCR signatures; by default that of the one key of [`UkiRequest::pcr_signing`].
    pub pcr_key: &'a [u8],
    /// What register 11 comes to is signed by these keys: `.pcrsig`, of each profile.
    pub pcr_signing: PcrSigning<'a>,
    /// Lines for `.sbat`, with the first line of such a section; none for one that names the UKI specification.
    pub sbat: Vec<&'a [u8]>,
    /// Further sections: names and contents.
    pub sections: Vec<(&'a str, &'a [u8])>,
    /// `.profile`
    pub profile: &'a [u8],
    /// Images of further profiles, whose sections are put behind all others.
    pub join_profiles: Vec<&'a [u8]>,
    /// kimage's own stub: how the kernel is compressed, LZ4's legacy frame or zstd.
    pub codec: Codec,
    /// What the codec is told. A level of `None` is 3 for zstd, which takes a hundredth of the time of
    /// 19 and gives a third more.
    pub parameters: Parameters,
    /// Make what the stub does not start, too; findings say why.
    pub force: bool,
}

impl Default for UkiRequest<'_> {
    fn default() -> Self {
        let own = super::StandaloneRequest::default();
        UkiRequest {
            stub: None,
            linux: None,
            initrds: Vec::new(),
            ucode: &[],
            cmdline: &[],
            os_release: &[],
            uname: None,
            splash: &[],
            dtb: &[],
            dtbs_auto: Vec::new(),
            hwids: Vec::new(),
            pcr_key: &[],
            pcr_signing: PcrSigning::default(),
            sbat: Vec::new(),
            sections: Vec::new(),
            profile: &[],
            join_profiles: Vec::new(),
            codec: Codec::Zstd,
            parameters: own.parameters,
            force: false,
        }
    }
}

/// The first line of every `.sbat`, and what stands behind it of a UKI and of an addon where nothing is given.
const SBAT_HEAD: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";
const SBAT_UKI: &str = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/";
const SBAT_ADDON: &str =
    "uki-addon,1,UKI Addon,addon,1,https://www.freedesktop.org/software/systemd/man/latest/systemd-stub.html";

fn refused(part: &'static str, why: String, help: &'static str) -> Error {
    Error::NotEdited { part, why, help }
}

/// A unified kernel image, an addon, or a profile.
///
/// # Errors
/// [`Error`] says which part is not what it should be; [`Error::Contradiction`] what the stub would not start.
pub fn uki<'a>(request: &UkiRequest<'a>) -> Result<Assembled<'a>> {
    let mut findings = Vec::new();
    let linux = request.linux.map(|linux| kernel_for(request.stub, linux, &mut findings)).transpose()?;
    let release = linux
        .as_deref()
        .and_then(|linux| kernel::release(Format::detect(linux), linux).or_else(|| zboot_release(linux)));
    let is_joined = !request.join_profiles.is_empty();
    let default_profile: &[u8] = if request.profile.is_empty() && is_joined { b"ID=main" } else { request.profile };
    let mut sections: Vec<AddedSection<'a>> = Vec::new();
    let mut add = |name: &'static str, contents: Cow<'a, [u8]>| {
        if !contents.is_empty() {
            sections.push(AddedSection::new(name, contents));
        }
    };
    if !is_joined {
        add(PROFILE, default_profile.into());
    }
    add(".osrel", request.os_release.into());
    add(".cmdline", request.cmdline.into());
    add(".dtb", request.dtb.into());
    request.dtbs_auto.iter().for_each(|dtb| add(DTBAUTO, (*dtb).into()));
    if !request.hwids.is_empty() {
        let table = hwids::table(&request.hwids)
            .map_err(|(index, error)| part("HWIDS", index, Error::input("HWIDS", error)))?;
        add(".hwids", table.into());
    }
    let uname = request.uname.map(Cow::Borrowed).or_else(|| release.clone().map(|release| release.into_bytes().into()));
    add(".uname", uname.unwrap_or_default());
    add(".splash", request.splash.into());
    add(PCRPKEY, request.pcr_key.into());
    let inner = linux.as_deref().and_then(Pe::find);
    let clear = if inner.as_ref().is_some_and(|pe| pe.value("DllCharacteristics") & u64::from(NX_COMPAT) == 0) {
        NX_COMPAT
    } else {
        0
    };
    let wants_sbat = is_joined || default_profile.is_empty();
    let sbat = if wants_sbat { sbat(request, inner.as_ref())? } else { Vec::new() };
    drop(inner);
    let is_own = request.stub.is_none() && request.linux.is_some();
    if let (false, Some(linux)) = (is_own, linux) {
        sections.push(AddedSection { is_code: true, ..AddedSection::new(".linux", linux) });
    }
    let initrds: Vec<Cow<'a, [u8]>> =
        request.initrds.iter().filter(|one| !one.is_empty()).map(|one| (*one).into()).collect();
    if !initrds.is_empty() {
        sections.push(AddedSection { pieces: initrds, ..AddedSection::new(".initrd", &[][..]) });
    }
    let mut add = |name: &'a str, contents: Cow<'a, [u8]>| sections.push(AddedSection::new(name, contents));
    if !request.ucode.is_empty() {
        add(".ucode", request.ucode.into());
    }
    for (name, contents) in &request.sections {
        check_name(name)?;
        add(name, (*contents).into());
    }
    if wants_sbat && !is_own {
        add(".sbat", sbat.clone().into());
    }
    if is_joined {
        add(PROFILE, default_profile.into());
    }
    for (index, profile) in request.join_profiles.iter().enumerate() {
        sections.extend(sections_of_profile(profile, request).map_err(|error| self::part("PROFILE", index, error))?);
    }
    check_repeated(&sections)?;
    if let Some(section) = sections.iter().find(|one| is_own && check::is_passed_over(one.name.as_bytes())) {
        let why = format!("kimage's own stub takes no {}: no kernel for a PC reads it", section.name);
        return Err(refused("section", why, "leave it out, or give a stub of systemd's (`request.stub`)"));
    }

    let (stub, name) = match (request.stub, request.linux) {
        (Some(stub), _) => (Cow::Borrowed(stub), stub_name(stub)),
        (None, Some(linux)) => {
            let own = unified_program(linux, request.codec, &request.parameters, &sbat)?;
            findings.extend(own.findings);
            (own.plan.bytes().into(), Some("kimage".to_owned()))
        }
        (None, None) => {
            let program = addon::program().map_err(|error| Error::input("STUB", error))?;
            (program.into(), Some("kimage".to_owned()))
        }
    };
    check_replaced(&stub, &sections, is_own)?;
    if is_own && !request.splash.is_empty() {
        findings.push(check::not_shown());
    }
    let profiles = sections.iter().filter(|section| section.name == PROFILE).count();
    if !request.pcr_signing.keys.is_empty() {
        with_signatures(&stub, &mut sections, &request.pcr_signing)?;
    }
    let count = sections.len() + usize::from(is_own);
    let plan = with_sections(stub, &sections, clear)
        .map_err(|error| not_added(error, "STUB", |why, help| refused("stub", why, help)))?;
    if !request.force && findings.iter().any(|finding| finding.severity == Severity::Error) {
        findings.retain(|finding| finding.severity == Severity::Error);
        return Err(Error::Contradiction { findings });
    }
    let facts = Facts::Uki {
        boot_stub: name,
        kernel_version: release,
        sections: count,
        profiles,
        addon: request.linux.is_none(),
    };
    Ok(Assembled { findings, ..Assembled::new(plan, facts) })
}

fn part(which: &'static str, index: usize, source: Error) -> Error {
    Error::Part { which, index, source: Box::new(source) }
}

/// What a stub of systemd's calls itself: `systemd-stub 257.9`.
fn stub_name(stub: &[u8]) -> Option<String> {
    Stub::of(&Pe::find(stub)?).name
}

/// The release of the kernel in a zboot image.
fn zboot_release(linux: &[u8]) -> Option<String> {
    let zboot =
        crate::format::zboot::Zboot::parse(linux).ok().filter(|_| Format::detect(linux) == Some(Format::Zboot))?;
    let at = zboot.payload_range();
    super::packed_release(zboot.codec()?, crate::bytes::slice_at(linux, &at)?)
}

/// The kernel as the stub starts it: an EFI program, unpacked where it is not one as it is; for kimage's own stub as it is.
fn kernel_for<'a>(stub: Option<&[u8]>, linux: &'a [u8], findings: &mut Vec<Finding>) -> Result<Cow<'a, [u8]>> {
    let Some(stub) = stub else { return Ok(linux.into()) };
    if linux.is_empty() {
        return Err(Error::wrong_input("LINUX", describe(linux), "a kernel", "give the kernel's vmlinuz"));
    }
    let linux: Cow<'a, [u8]> = match Format::detect(linux) {
        Some(Format::Compressed(codec)) => {
            let mut kernel = Vec::new();
            codec.decompress(linux, DEFAULT_MAX_SIZE, &mut kernel)?;
            kernel.into()
        }
        _ => linux.into(),
    };
    findings.extend(Pe::find(stub).and_then(|pe| check::cannot_start(pe.value("Machine"), &linux)));
    Ok(linux)
}

/// The text of `.sbat`: the lines of stub and kernel, then those that are given.
fn sbat(request: &UkiRequest<'_>, linux: Option<&Pe<'_>>) -> Result<Vec<u8>> {
    let mut lines: Vec<String> = Vec::new();
    let stub = request.stub.and_then(Pe::find);
    for pe in stub.iter().chain(linux).filter(|_| request.linux.is_some()) {
        for section in pe.sections.iter().filter(|section| section.name() == b".sbat") {
            let text = crate::bytes::slice_at(pe.bytes(), &section.file_range()).unwrap_or_default();
            let text = String::from_utf8_lossy(until_zero(text)).into_owned();
            if text.starts_with("sbat,") {
                lines.extend(text.lines().skip(1).map(str::to_owned));
            }
        }
    }
    for (index, text) in request.sbat.iter().enumerate() {
        let text = String::from_utf8_lossy(until_zero(text)).into_owned();
        if !text.starts_with("sbat,") {
            let help = "begin it with: sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";
            let error = Error::wrong_input(
                "SBAT",
                "a text without the first line of SBAT",
                "lines of SBAT, the first of which is sbat,1",
                help,
            );
            return Err(part("SBAT", index, error));
        }
        lines.extend(text.lines().skip(1).map(str::to_owned));
    }
    if request.sbat.is_empty() {
        lines.push(if request.linux.is_some() { SBAT_UKI } else { SBAT_ADDON }.to_owned());
    }
    Ok([SBAT_HEAD, &lines.join("\n"), "\n\0"].concat().into_bytes())
}

fn check_name(name: &str) -> Result<()> {
    let why = match name {
        _ if name.is_empty() || name.bytes().any(|byte| !byte.is_ascii_graphic()) => "it is no name",
        _ if name.len() > NAME_LEN => "stubs know no names of more than 8 characters",
        _ => return Ok(()),
    };
    Err(refused("section", format!("{name:?}: {why}"), "give a name such as .extra, with its dot"))
}

/// Refuses what the stub would not find: of sections of one name, in one profile, it takes the first.
fn check_repeated(sections: &[AddedSection<'_>]) -> Result<()> {
    let mut names: Vec<&str> = Vec::new();
    for section in sections {
        if section.name == PROFILE {
            names.clear();
        }
        if names.contains(&&*section.name) && section.name != DTBAUTO && section.name != EFIFW {
            let why = format!("{} is there twice", section.name);
            return Err(refused("section", why, "leave one out: the stub takes the first of each profile"));
        }
        names.push(&section.name);
    }
    Ok(())
}

/// Refuses what would take the place of the stub's own code and data: its lines of SBAT alone are written anew.
fn check_replaced(stub: &[u8], sections: &[AddedSection<'_>], is_own: bool) -> Result<()> {
    let has = |name: &str| Pe::find(stub).is_some_and(|pe| pe.section(name.as_bytes()).is_some());
    let kept = |name: &str| name == ".sbat" && !is_own || !has(name);
    sections.iter().find(|one| !kept(&one.name)).map_or(Ok(()), |section| {
        let help = "choose another name; the kernel, and lines of SBAT, have options of their own";
        Err(refused("section", format!("{} is a section of the stub itself", section.name), help))
    })
}

/// What a profile has for those that it is joined to.
fn sections_of_profile<'a>(profile: &'a [u8], request: &UkiRequest<'a>) -> Result<Vec<AddedSection<'a>>> {
    let pe = Pe::parse(profile).map_err(|error| Error::input("PROFILE", error))?;
    let mut found: Vec<AddedSection<'a>> = Vec::new();
    for section in &pe.sections {
        let name = String::from_utf8_lossy(section.name()).into_owned();
        let is_taken = match uki::role_of(section.name()) {
            Some((_, Role::PcrSignature | Role::PcrKey)) => false,
            Some((_, Role::OsRelease)) => !request.os_release.is_empty(),
            Some(_) => true,
            // In front of all else it is the stub's.
            None => name == ".sbat" && !found.is_empty(),
        };
        if !is_taken {
            continue;
        }
        let Some(contents) = pe.contents(section) else {
            let range = section.file_range();
            return Err(Error::input(
                "PROFILE",
                FieldError::truncated("section", section.at, range.end, len64(profile)),
            ));
        };
        found.push(AddedSection { is_code: name == ".linux", ..AddedSection::new(name, contents) });
    }
    let count = found.iter().filter(|section| section.name == PROFILE).count();
    let found_what = match (found.first().map(|first| first.name == PROFILE), count) {
        (Some(true), 1) => return Ok(found),
        (None, _) => "a program without sections of a profile",
        (Some(false), _) => "a program whose first section for the kernel is not .profile",
        (Some(true), _) => "a program with several profiles",
    };
    let help = "make one: an image without a kernel, with `request.profile`";
    Err(Error::wrong_input("PROFILE", found_what, "the image of one profile", help))
}
