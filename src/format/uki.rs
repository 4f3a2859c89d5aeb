//! Unified kernel image: an EFI stub with the kernel and what belongs to it in sections of its own.
//!
//! Source: <https://uapi-group.org/specifications/specs/unified_kernel_image/>, and systemd 257 (src/boot/uki.h).

pub(crate) mod addon;
pub(crate) mod check;
pub(crate) mod hwids;
pub(crate) mod measured;

use super::pe::{Pe, PeSection};

/// The section that makes an EFI application a UKI.
pub(crate) const LINUX: &[u8] = b".linux";
/// Signatures of the PCR values to come, and the key that made them; the first is never measured.
pub(crate) const PCRSIG: &str = ".pcrsig";
pub(crate) const PCRPKEY: &str = ".pcrpkey";
/// Where a group of sections begins.
pub(crate) const PROFILE: &str = ".profile";
/// Sections of which the stub takes the one that fits the hardware.
pub(crate) const DTBAUTO: &str = ".dtbauto";
pub(crate) const EFIFW: &str = ".efifw";

/// What a section of a UKI, or of an addon to one, holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The kernel.
    Linux,
    /// The initial RAM disk.
    Initrd,
    /// CPU microcode, an initial RAM disk to be put in front.
    Ucode,
    /// The command line.
    Cmdline,
    /// os-release of the system.
    OsRelease,
    /// The kernel's release.
    Uname,
    /// A device tree.
    Dtb,
    /// A device tree for hardware of a certain kind.
    DtbAuto,
    /// A firmware image for hardware of a certain kind.
    EfiFirmware,
    /// Hardware identifiers (CHIDs) that tell which of these to take.
    HardwareIds,
    /// A picture to show.
    Splash,
    /// Signatures of the PCR values to come, JSON.
    PcrSignature,
    /// The public key of these.
    PcrKey,
    /// Description of a profile: the sections behind it, up to the next such, take the place of those of the same name
    /// in front of the first.
    Profile,
}

/// The names of the sections, without the dot in front.
const SECTIONS: [(&str, Role); 14] = [
    ("linux", Role::Linux),
    ("initrd", Role::Initrd),
    ("ucode", Role::Ucode),
    ("cmdline", Role::Cmdline),
    ("osrel", Role::OsRelease),
    ("uname", Role::Uname),
    ("dtb", Role::Dtb),
    ("dtbauto", Role::DtbAuto),
    ("efifw", Role::EfiFirmware),
    ("hwids", Role::HardwareIds),
    ("splash", Role::Splash),
    ("pcrsig", Role::PcrSignature),
    ("pcrpkey", Role::PcrKey),
    ("profile", Role::Profile),
];

/// A section that a UKI's stub looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'s> {
    /// Its name, without the dot in front.
    pub name: &'static str,
    /// What it holds.
    pub role: Role,
    /// Its header.
    pub section: &'s PeSection,
    /// The profile that it belongs to, counted from 0; `None` for what all of them share.
    pub profile: Option<usize>,
}

/// The name without the dot in front, and what a section of this name holds.
pub(crate) fn role_of(name: &[u8]) -> Option<(&'static str, Role)> {
    SECTIONS.into_iter().find(|(known, _)| name.strip_prefix(b".") == Some(known.as_bytes()))
}

/// The sections of a UKI or an addon, in the order of the section table.
pub(crate) fn sections<'s>(pe: &'s Pe<'_>) -> impl Iterator<Item = Part<'s>> {
    let mut profiles = 0_usize;
    pe.sections.iter().filter_map(move |section| {
        let (name, role) = role_of(section.name())?;
        profiles += usize::from(role == Role::Profile);
        Some(Part { name, role, section, profile: profiles.checked_sub(1) })
    })
}

/// Is it an addon: no kernel, but sections for one? Of those, os-release and the kernel's release alone say nothing.
pub(crate) fn is_addon(pe: &Pe<'_>) -> bool {
    let mut parts = sections(pe);
    pe.section(LINUX).is_none() && parts.any(|part| !matches!(part.role, Role::OsRelease | Role::Uname))
}

/// The value of a line `NAME=VALUE` of a `.profile` section, as os-release(5) has them, without quotes.
pub(crate) fn profile_field<'p>(profile: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let lines = profile.split(|byte| matches!(byte, b'\n' | 0));
    let mut values = lines.filter_map(|line| line.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = values.next()?;
    let quoted = [b'"', b'\''].into_iter().find_map(|quote| value.strip_prefix(&[quote])?.strip_suffix(&[quote]));
    Some(quoted.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_profiles() {
        let text = b"ID=main\nTITLE=\"The usual\"\nOTHER=ID=x\n";
        assert_eq!(profile_field(text, "ID"), Some(&b"main"[..]));
        assert_eq!(profile_field(text, "TITLE"), Some(&b"The usual"[..]));
        assert_eq!(profile_field(text, "NONE"), None);
    }
}
