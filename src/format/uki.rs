//! Unified kernel image: an EFI stub with the kernel and what belongs to it in sections of its own.
//!
//! Source: <https://uapi-group.org/specifications/specs/unified_kernel_image/>.

use super::pe::{Pe, Section};

/// The section that makes an EFI application a UKI.
pub const LINUX: &[u8] = b".linux";

/// What a section of a UKI holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
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
    /// A device tree, one of several with `.dtbauto`.
    Dtb,
}

/// The sections of a UKI, in the order of the section table.
pub fn sections<'s>(pe: &'s Pe<'_>) -> impl Iterator<Item = (Role, &'s Section)> {
    pe.sections.iter().filter_map(|section| {
        let role = match section.name() {
            b".linux" => Role::Linux,
            b".initrd" => Role::Initrd,
            b".ucode" => Role::Ucode,
            b".cmdline" => Role::Cmdline,
            b".osrel" => Role::OsRelease,
            b".uname" => Role::Uname,
            b".dtb" | b".dtbauto" => Role::Dtb,
            _ => return None,
        };
        Some((role, section))
    })
}
