//! The `setup_header` of the x86 boot protocol.
//!
//! Source: Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header") and `struct setup_header` in
//! arch/x86/include/uapi/asm/bootparam.h, Linux 7.2.

use crate::bytes::{self, Field, fields};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// File offset of the header's first field.
pub(crate) const HEADER_AT: u64 = 0x1f1;
/// `HdrS`, little-endian.
pub(crate) const HDRS: u32 = 0x5372_6448;
/// The boot sector's last two bytes.
pub(crate) const BOOT_FLAG: u16 = 0xaa55;

/// `LOADED_HIGH` of `loadflags`: the protected-mode part is for 1 MiB, not for 64 KiB.
pub(crate) const LOADED_HIGH: u8 = 1 << 0;
/// The bits of `loadflags`.
pub(crate) const LOADFLAGS: &[(u32, &str)] =
    &[(0, "LOADED_HIGH"), (1, "KASLR_FLAG"), (5, "QUIET_FLAG"), (6, "KEEP_SEGMENTS"), (7, "CAN_USE_HEAP")];

/// `XLF_KERNEL_64`: there is an entry point at 0x200 for CPUs in 64-bit mode.
pub(crate) const XLF_KERNEL_64: u16 = 1 << 0;
/// `XLF_CAN_BE_LOADED_ABOVE_4G`: kernel, boot parameters, command line and RAM disk may be anywhere.
pub(crate) const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
/// `XLF_EFI_HANDOVER_32`: `handover_offset` is the entry point of 32-bit firmware.
pub(crate) const XLF_EFI_HANDOVER_32: u16 = 1 << 2;
/// `XLF_EFI_HANDOVER_64`: that of 64-bit firmware is 512 bytes behind it (boot.rst, "EFI HANDOVER PROTOCOL").
pub(crate) const XLF_EFI_HANDOVER_64: u16 = 1 << 3;
/// `XLF_5LEVEL`: the kernel knows five levels of page tables.
pub(crate) const XLF_5LEVEL: u16 = 1 << 5;
/// `XLF_5LEVEL_ENABLED`: five levels of page tables may be on at the entry.
pub(crate) const XLF_5LEVEL_ENABLED: u16 = 1 << 6;
/// The bits of `xloadflags`.
pub(crate) const XLOADFLAGS: &[(u32, &str)] = &[
    (0, "XLF_KERNEL_64"),
    (1, "XLF_CAN_BE_LOADED_ABOVE_4G"),
    (2, "XLF_EFI_HANDOVER_32"),
    (3, "XLF_EFI_HANDOVER_64"),
    (4, "XLF_EFI_KEXEC"),
    (5, "XLF_5LEVEL"),
    (6, "XLF_5LEVEL_ENABLED"),
    (7, "XLF_MEM_ENCRYPTION"),
];

/// The header as it stands in the file, from [`HEADER_AT`] on; all integers are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the specification's; the meaning stands there")]
pub struct SetupHeader {
    pub setup_sects: u8,
    pub root_flags: U16,
    pub syssize: U32,
    pub ram_size: U16,
    pub vid_mode: U16,
    pub root_dev: U16,
    pub boot_flag: U16,
    pub jump: U16,
    pub header: U32,
    pub version: U16,
    pub realmode_swtch: U32,
    pub start_sys_seg: U16,
    pub kernel_version: U16,
    pub type_of_loader: u8,
    pub loadflags: u8,
    pub setup_move_size: U16,
    pub code32_start: U32,
    pub ramdisk_image: U32,
    pub ramdisk_size: U32,
    pub bootsect_kludge: U32,
    pub heap_end_ptr: U16,
    pub ext_loader_ver: u8,
    pub ext_loader_type: u8,
    pub cmd_line_ptr: U32,
    pub initrd_addr_max: U32,
    pub kernel_alignment: U32,
    pub relocatable_kernel: u8,
    pub min_alignment: u8,
    pub xloadflags: U16,
    pub cmdline_size: U32,
    pub hardware_subarch: U32,
    pub hardware_subarch_data: U64,
    pub payload_offset: U32,
    pub payload_length: U32,
    pub setup_data: U64,
    pub pref_address: U64,
    pub init_size: U32,
    pub handover_offset: U32,
    pub kernel_info_offset: U32,
}

/// Every field of [`SetupHeader`]: name, file offset, width and the protocol version that brought it.
pub(crate) const FIELDS: &[Field] = fields!(SetupHeader, at HEADER_AT => {
    setup_sects since 0,
    root_flags since 0,
    syssize since 0,
    ram_size since 0,
    vid_mode since 0,
    root_dev since 0,
    boot_flag since 0,
    jump since 0x200,
    header since 0x200,
    version since 0x200,
    realmode_swtch since 0x200,
    start_sys_seg since 0x200,
    kernel_version since 0x200,
    type_of_loader since 0x200,
    loadflags since 0x200,
    setup_move_size since 0x200,
    code32_start since 0x200,
    ramdisk_image since 0x200,
    ramdisk_size since 0x200,
    bootsect_kludge since 0x200,
    heap_end_ptr since 0x201,
    ext_loader_ver since 0x202,
    ext_loader_type since 0x202,
    cmd_line_ptr since 0x202,
    initrd_addr_max since 0x203,
    kernel_alignment since 0x205,
    relocatable_kernel since 0x205,
    min_alignment since 0x20a,
    xloadflags since 0x20c,
    cmdline_size since 0x206,
    hardware_subarch since 0x207,
    hardware_subarch_data since 0x207,
    payload_offset since 0x208,
    payload_length since 0x208,
    setup_data since 0x209,
    pref_address since 0x20a,
    init_size since 0x20a,
    handover_offset since 0x20b,
    kernel_info_offset since 0x20f,
});

/// File offset of a field of [`FIELDS`].
pub(crate) const fn offset_of(name: &str) -> u64 {
    bytes::offset_of(FIELDS, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets as boot.rst prints them.
    #[test]
    fn offsets_are_those_of_the_documentation() {
        for (name, at, width) in [
            ("setup_sects", 0x1f1, 1),
            ("syssize", 0x1f4, 4),
            ("root_dev", 0x1fc, 2),
            ("boot_flag", 0x1fe, 2),
            ("header", 0x202, 4),
            ("version", 0x206, 2),
            ("kernel_version", 0x20e, 2),
            ("code32_start", 0x214, 4),
            ("cmd_line_ptr", 0x228, 4),
            ("kernel_alignment", 0x230, 4),
            ("xloadflags", 0x236, 2),
            ("payload_offset", 0x248, 4),
            ("payload_length", 0x24c, 4),
            ("pref_address", 0x258, 8),
            ("init_size", 0x260, 4),
            ("handover_offset", 0x264, 4),
            ("kernel_info_offset", 0x268, 4),
        ] {
            let field = FIELDS.iter().find(|field| field.name == name).unwrap();
            assert_eq!((field.at, field.width), (at, width), "{name}");
            assert_eq!(offset_of(name), at);
        }
        let end = FIELDS.iter().map(|field| field.at + field.width as u64).max();
        assert_eq!(end, Some(0x26c));
    }
}
