//! What stands around kernels and is named, but not read: file systems, archives, signatures, padding.
//!
//! Sources: each format's own magic number, as its kernel header has it (include/uapi/linux/magic.h,
//! fs/squashfs/squashfs_fs.h, include/uapi/linux/jffs2.h, drivers/mtd/ubi/ubi-media.h, Linux 7.2), Documentation of
//! OpenWrt's image format for its end mark.

use super::avb;
use crate::bytes::{Cursor, len64, run_of, slice};
use std::borrow::Cow;

/// Something that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// What it is, in words.
    pub name: Cow<'static, str>,
    /// Its length in bytes, where it tells; more than there are when it is cut off.
    pub len: Option<u64>,
    /// What it is to check something else by, in the plural.
    pub unchecked: Option<&'static str>,
}

/// Where a magic number stands, which, and whose.
const MAGICS: &[(u64, &[u8], &str)] = &[
    (0, b"hsqs", "squashfs file system"),
    (0, b"sqsh", "squashfs file system, big-endian"),
    (0, b"qshs", "squashfs file system, LZMA of a vendor's"),
    (0, b"shsq", "squashfs file system, big-endian, LZMA of a vendor's"),
    (0, b"\x45\x3d\xcd\x28", "cramfs file system"),
    (0, b"\x28\xcd\x3d\x45", "cramfs file system, big-endian"),
    (0, b"-rom1fs-", "romfs file system"),
    (0, b"\x85\x19\x03\x20", "JFFS2 file system"),
    (0, b"\x85\x19\x01\xe0", "JFFS2 file system"),
    (0, b"\x85\x19\x02\xe0", "JFFS2 file system"),
    (0, b"\x19\x85\x20\x03", "JFFS2 file system, big-endian"),
    (0, b"\x19\x85\xe0\x01", "JFFS2 file system, big-endian"),
    (0, b"\x19\x85\xe0\x02", "JFFS2 file system, big-endian"),
    (0, b"UBI#", "UBI image"),
    (0, b"\x31\x18\x10\x06", "UBIFS file system"),
    (0, b"XFSB", "XFS file system"),
    (0x438, b"\x53\xef", "ext2, ext3 or ext4 file system"),
    (0x400, b"\xe2\xe1\xf5\xe0", "EROFS file system"),
    (0x400, b"\x10\x20\xf5\xf2", "F2FS file system"),
    (0x1_0040, b"_BHRfS_M", "btrfs file system"),
    (0x8001, b"CD001", "ISO 9660 file system"),
    (0x36, b"FAT1", "FAT file system"),
    (0x52, b"FAT32", "FAT file system"),
    (0x200, b"EFI PART", "disk image with a GUID partition table"),
    (0x101, b"ustar", "tar archive"),
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"QFI\xfb", "qcow2 disk image"),
    (0, b"KDMV", "VMDK disk image"),
    (0, b"vhdxfile", "VHDX disk image"),
    (0, b"\x3a\xff\x26\xed", "Android sparse image"),
    (0, b"CrAU", "Android update (payload.bin)"),
    (0, b"!<arch>\n", "ar archive"),
    (0, b"\xed\xab\xee\xdb", "RPM package"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (0, b"\xcf\xfa\xed\xfe", "Mach-O file"),
    (0, b"\xce\xfa\xed\xfe", "Mach-O file"),
    (0, b"\xfe\xed\xfa\xcf", "Mach-O file, big-endian"),
    (0, b"\xfe\xed\xfa\xce", "Mach-O file, big-endian"),
    (0, b"\xca\xfe\xba\xbe", "Mach-O file for several CPUs, or Java class"),
    (0, b"\0asm", "WebAssembly module"),
    (0, b"%PDF-", "PDF document"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG picture"),
    (0, avb::MAGIC, "Android verified boot metadata"),
    (0, avb::FOOTER_MAGIC, "Android verified boot footer"),
    (0, b"SEANDROIDENFORCE", "Samsung's mark SEANDROIDENFORCE"),
    (0, b"-----BEGIN ", "PEM text: a key, certificate or signature"),
    (0, b"sign", "signature (\"sign\")"),
    (0, b"\xde\xad\xc0\xde", "OpenWrt's end mark (0xdeadc0de)"),
    (0, MODULE_MARK, "mark of an appended signature"),
];

/// The end of a signature behind a kernel module or a kernel (include/linux/module_signature.h, `MODULE_SIG_STRING`).
pub(crate) const MODULE_MARK: &[u8] = b"~Module signature appended~\n";

/// What those are to check something by, in the plural.
const SIGNATURES: &[(&[u8], &str)] =
    &[(avb::MAGIC, AVB), (avb::FOOTER_MAGIC, AVB), (b"sign", "vendors' signatures"), (MODULE_MARK, APPENDED)];
/// What Android's boot loader checks.
pub(crate) const AVB: &str = "digests and signatures of Android's verified boot";
const APPENDED: &str = "appended signatures";

/// Has it a signature at its end, as a kernel module?
pub(crate) fn is_signed_module(bytes: &[u8]) -> bool {
    bytes.ends_with(MODULE_MARK)
}

/// The length of a signature of Android's verified boot 1.0: a DER sequence of format version 1, a certificate and more
/// (AOSP, system/extras/verity, `AndroidVerifiedBootSignature`).
fn verified_boot_1(bytes: &[u8]) -> Option<u64> {
    let [0x30, 0x82, high, low, 2, 1, 1, 0x30, 0x82, ..] = bytes else { return None };
    Some(4 + u64::from(u16::from_be_bytes([*high, *low])))
}

/// Has it a partition table of the PC's BIOS: its mark, and four entries of which each is bootable or not and one is used
/// (UEFI specification 2.10, section 5.2.1)?
pub(crate) fn is_partitioned(bytes: &[u8]) -> bool {
    let entries = slice(bytes, 446, 64).unwrap_or_default().chunks_exact(16);
    slice(bytes, 510, 2) == Some(&[0x55, 0xaa])
        && entries.clone().all(|entry| matches!(entry.first(), Some(0 | 0x80)))
        && entries.into_iter().any(|entry| {
            let at = |at| Cursor::little(entry).u32("partition", at).unwrap_or(0);
            entry.get(4).is_some_and(|kind| *kind != 0) && at(8) != 0 && at(12) != 0
        })
}

impl Foreign {
    /// What begins `bytes`, by its magic number.
    pub(crate) fn detect(bytes: &[u8]) -> Option<Foreign> {
        let is = |at: u64, magic: &[u8]| slice(bytes, at, len64(magic)) == Some(magic);
        let named = |name: &'static str, len, unchecked| Some(Foreign { name: name.into(), len, unchecked });
        // Four letters, with which a text may begin, too.
        let is_word = |magic: &[u8]| magic == b"sign" && is_text(bytes);
        let Some((_, magic, name)) = MAGICS.iter().find(|(at, magic, _)| is(*at, magic) && !is_word(magic)) else {
            if let Some(len) = verified_boot_1(bytes) {
                let len = Some(len).filter(|len| *len <= len64(bytes));
                return named("signature of Android's verified boot 1.0", len, Some(AVB));
            }
            if is_partitioned(bytes) {
                return named("disk image with a partition table", None, None);
            }
            return is_signed_module(bytes).then(|| named("appended signature", Some(len64(bytes)), Some(APPENDED)))?;
        };
        // `struct squashfs_super_block`, version 4: s_major at 28, bytes_used at 40.
        let cursor = Cursor::little(bytes);
        let is_squashfs_4 = *magic == b"hsqs" && cursor.u16("s_major", 28) == Ok(4);
        let len = cursor.u64("bytes_used", 40).ok().filter(|len| is_squashfs_4 && *len >= 96);
        let unchecked = SIGNATURES.iter().find(|(signature, _)| signature == magic).map(|(_, what)| *what);
        named(name, len, unchecked)
    }

    /// What all of `bytes` are: by magic number, as padding, as text.
    pub(crate) fn describe(bytes: &[u8]) -> Option<Foreign> {
        let len = Some(len64(bytes));
        let named = |name: &'static str| Some(Foreign { name: name.into(), len, unchecked: None });
        match bytes.first()? {
            first @ (0 | 0xff) if run_of(bytes, *first) == bytes.len() => {
                named(if *first == 0 { "zeros (padding)" } else { "0xff bytes (erased flash or padding)" })
            }
            0 | 0xff if bytes.iter().all(|byte| matches!(byte, 0 | 0xff)) => named("zeros and 0xff bytes (padding)"),
            _ => Foreign::detect(bytes).or_else(|| if is_text(bytes) { named("text") } else { None }),
        }
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    !text.is_empty()
        && std::str::from_utf8(text).is_ok_and(|text| text.chars().all(|c| !c.is_control() || "\n\r\t".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Option<String> {
        Foreign::describe(bytes).map(|foreign| foreign.name.into_owned())
    }

    #[test]
    fn names() {
        assert_eq!(name(b""), None);
        assert_eq!(name(&[0; 9]).as_deref(), Some("zeros (padding)"));
        assert_eq!(name(&[0xff]).as_deref(), Some("0xff bytes (erased flash or padding)"));
        assert_eq!(name(b"TAMPERED_DATA\n").as_deref(), Some("text"));
        assert_eq!(name(b"\x00\x01\x02"), None);
        assert_eq!(name(b"\x1bworld"), None);
        let mut ext = vec![0; 2048];
        ext[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(name(&ext).as_deref(), Some("ext2, ext3 or ext4 file system"));
    }

    #[test]
    fn a_squashfs_tells_its_length() {
        let mut fs = b"hsqs".to_vec();
        fs.resize(300, 0);
        fs[28] = 4;
        fs[40] = 200;
        assert_eq!(Foreign::detect(&fs).unwrap().len, Some(200));
        fs[28] = 3;
        assert_eq!(Foreign::detect(&fs).unwrap().len, None);
    }
}
