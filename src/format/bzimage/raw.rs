//! The `setup_header` of the x86 boot protocol.
//!
//! Source: Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header") and `struct setup_header` in
//! arch/x86/include/uapi/asm/bootparam.h, Linux 7.2.

#![allow(missing_debug_implementations, reason = "of what zerocopy derives from the tokens of a macro")]

use crate::bytes::{self, record};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, Unaligned};

/// File offset of the header's first field.
pub(crate) const HEADER_AT: u64 = 0x1f1;
/// Where the place for a header ends that boot parameters have (`struct boot_params`, asm/bootparam.h).
pub(super) const BOOT_PARAMS_HEADER_END: u64 = 0x290;
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

record! {
    /// The header as it stands in the file, from [`HEADER_AT`] on; all integers are little-endian.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, Immutable, Unaligned)]
    #[repr(C)]
    #[allow(missing_docs, reason = "the names are the specification's; the meaning stands there")]
    pub struct SetupHeader,
    /// Every field of [`SetupHeader`]: name, file offset, width and the protocol version that brought it.
    FIELDS, at HEADER_AT => {
        setup_sects: u8, 0;
        root_flags: U16, 0;
        syssize: U32, 0;
        ram_size: U16, 0;
        vid_mode: U16, 0;
        root_dev: U16, 0;
        boot_flag: U16, 0;
        jump: U16, 0x200;
        header: U32, 0x200;
        version: U16, 0x200;
        realmode_swtch: U32, 0x200;
        start_sys_seg: U16, 0x200;
        kernel_version: U16, 0x200;
        type_of_loader: u8, 0x200;
        loadflags: u8, 0x200;
        setup_move_size: U16, 0x200;
        code32_start: U32, 0x200;
        ramdisk_image: U32, 0x200;
        ramdisk_size: U32, 0x200;
        bootsect_kludge: U32, 0x200;
        heap_end_ptr: U16, 0x201;
        ext_loader_ver: u8, 0x202;
        ext_loader_type: u8, 0x202;
        cmd_line_ptr: U32, 0x202;
        initrd_addr_max: U32, 0x203;
        kernel_alignment: U32, 0x205;
        relocatable_kernel: u8, 0x205;
        min_alignment: u8, 0x20a;
        xloadflags: U16, 0x20c;
        cmdline_size: U32, 0x206;
        hardware_subarch: U32, 0x207;
        hardware_subarch_data: U64, 0x207;
        payload_offset: U32, 0x208;
        payload_length: U32, 0x208;
        setup_data: U64, 0x209;
        pref_address: U64, 0x20a;
        init_size: U32, 0x20a;
        handover_offset: U32, 0x20b;
        kernel_info_offset: U32, 0x20f;
    }
}

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
        let end = FIELDS.iter().map(|field| field.at + field.width).max();
        assert_eq!(end, Some(0x26c));
    }
}
