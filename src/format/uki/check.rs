//! What a unified kernel image, or an addon, has to be for its stub to start it; the rules of its headers are those of any program.
//!
//! Source: the UKI specification; systemd 252 to 257 (src/boot/efi/stub.c, linux.c), shim's SBAT.md.

use super::measured::Stub;
use super::{LINUX, Role, sections as parts};
use crate::bytes::len64;
use crate::finding::{Checks, Finding, rules};
use crate::format::Format;
use crate::format::pe::{NX_COMPAT, Pe, machine_name};
use crate::stub::sections;

rules! {
    /// What is looked at.
    pub(crate) RULES:
    KERNEL = "uki.kernel", Error, "kernel of a UKI",
        "the stub cannot start it",
        "give a kernel with an EFI stub (CONFIG_EFI_STUB; arm64, RISC-V and LoongArch: Image or vmlinuz.efi); kimage's own boot stub \
         starts any x86-64 kernel";
    MACHINE = "uki.machine", Error, "CPU of a UKI's kernel",
        "the stub cannot start it",
        "take the stub that is for the kernel's CPU";
    MISSING = "uki.missing", Error, "section .linux",
        "the stub finds no kernel to start",
        "give the kernel; an addon needs no such stub, or the one for addons (addonx64.efi.stub)";
    REPEATED = "uki.repeated", Warning, "sections of the same name",
        "the stub takes the first of each profile, and passes over the others",
        "leave one out; RAM disks go into one section, one behind the other";
    NOT_TAKEN = "uki.not_taken", Warning, "section that the stub does not take",
        "kimage's own boot stub passes over device trees and firmware: no kernel for a PC reads one there",
        "leave it out, or make the image with a stub of systemd's";
    SPLASH = "uki.splash", Warning, ".splash",
        "kimage's own boot stub shows no picture; with a TPM it is measured all the same",
        "leave it out, or make the image with a stub of systemd's";
    CUT = "uki.cut", Error, "sections of a UKI's kernel",
        "the stub cannot start it",
        "the kernel is cut off: copy it again";
    PROFILE = "uki.profile", Warning, ".profile",
        "who chooses a profile does not find it by its name",
        "write a line ID=NAME into it, as the UKI specification has it";
    SBAT = "uki.sbat", Warning, ".sbat",
        "shim refuses the image: it cannot tell whether it was revoked",
        "make the image with a section .sbat, its first line sbat,1,…";
    OS_RELEASE = "uki.os_release", Note, ".osrel",
        "boot loaders that look for such images by themselves (systemd-boot) do not list it",
        "add the system's os-release";
    NX = "uki.nx", Warning, "NX_COMPAT",
        "firmware that keeps its promise of write-xor-execute memory starts the image, and the kernel faults",
        "clear NX_COMPAT of the image, as its kernel lacks it";
}

/// Why a stub that starts EFI programs, of this `Machine`, does not start this kernel.
pub(crate) fn cannot_start(machine: u64, kernel: &[u8]) -> Option<Finding> {
    let Some(pe) = Pe::find(kernel) else {
        let found = Format::detect(kernel).map_or("it has no PE header", Format::name);
        return Some(KERNEL.finding(format!("the kernel is no EFI program: {found}")));
    };
    let names = [machine, pe.value("Machine")].map(machine_name);
    if machine != pe.value("Machine") {
        return Some(MACHINE.finding(format!("the stub is for {}, the kernel for {}", names[0], names[1])));
    }
    let cut = pe.sections.iter().find(|section| section.raw_size > 0 && section.file_range().end > len64(kernel))?;
    let (name, end) = (String::from_utf8_lossy(cut.name()), cut.file_range().end);
    Some(CUT.finding(format!("the kernel has {} bytes, and its section {name} ends at {end:#x}", len64(kernel))))
}

/// What kimage's own stub does with a picture.
pub(crate) fn not_shown() -> Finding {
    SPLASH.finding("kimage's own stub shows no .splash")
}

/// Is it a section that kimage's own stub passes over?
pub(crate) fn is_passed_over(name: &[u8]) -> bool {
    sections::NOT_TAKEN.iter().any(|one| one.as_bytes() == name)
}

/// Holds an image to these rules.
pub(crate) fn check(pe: &Pe<'_>, checks: &mut Checks) {
    let table = pe.place("NumberOfSections");
    let stub = Stub::of(pe);
    let starts_programs = stub.name.as_ref().is_some_and(|name| name.starts_with("systemd-stub"));
    let has_kernel = pe.section(LINUX).is_some();
    let mut names: Vec<&str> = Vec::new();
    let mut has_any = false;
    for part in parts(pe) {
        has_any = true;
        if part.role == Role::Profile {
            names.clear();
            let id = pe.contents(part.section).and_then(|text| super::profile_field(text, "ID")).unwrap_or_default();
            let found = format!("profile {} without a line ID=", part.profile.unwrap_or(0));
            checks.expect(&PROFILE, part.section.at, !id.is_empty(), found, "a line ID=NAME");
        }
        let is_list = matches!(part.role, Role::DtbAuto | Role::EfiFirmware);
        let kept = is_list || !names.contains(&part.name);
        checks.expect(
            &REPEATED,
            part.section.at,
            kept,
            format!(".{} again", part.name),
            "one of each name in a profile",
        );
        names.push(part.name);
        let is_taken = !stub.is_ours() || !is_passed_over(part.section.name());
        let found = format!(".{}, behind kimage's own stub", part.name);
        checks.expect(&NOT_TAKEN, part.section.at, is_taken, found, "sections that the stub takes");
        let found = "one, behind kimage's own stub".to_owned();
        checks.expect(&SPLASH, part.section.at, !stub.is_ours() || part.role != Role::Splash, found, "none");
        if part.role != Role::Linux {
            continue;
        }
        let kernel = pe.contents(part.section).unwrap_or_default();
        match cannot_start(pe.value("Machine"), kernel).filter(|_| starts_programs) {
            Some(finding) => checks.append(vec![finding.at(part.section.raw_at.into())].into()),
            None => {
                let lacks =
                    Pe::find(kernel).is_some_and(|inner| inner.value("DllCharacteristics") & u64::from(NX_COMPAT) == 0);
                let has = pe.value("DllCharacteristics") & u64::from(NX_COMPAT) != 0;
                let wanted = "the same of the image and of its kernel";
                checks.expect(
                    &NX,
                    pe.place("DllCharacteristics"),
                    !(has && lacks && starts_programs),
                    "the kernel lacks it",
                    wanted,
                );
            }
        }
    }
    if starts_programs && has_any {
        checks.expect(&MISSING, table, has_kernel, "none, behind a stub that starts one", "a kernel");
    }
    let is_profile = !has_kernel && parts(pe).next().is_some_and(|first| first.role == Role::Profile);
    if !has_any || is_profile {
        return;
    }
    let sbat = pe.sbat();
    let found =
        sbat.map_or("none".to_owned(), |text| format!("a text of {} bytes without its first line", len64(text)));
    let at = pe.section(b".sbat").map_or(table, |section| section.raw_at.into());
    checks.expect(
        &SBAT,
        at,
        sbat.is_some_and(|text| text.starts_with(b"sbat,1,")),
        found,
        "lines of SBAT, the first of which is sbat,1",
    );
    if has_kernel {
        checks.expect(&OS_RELEASE, table, pe.section(b".osrel").is_some(), "none", "the system's os-release");
    }
}
