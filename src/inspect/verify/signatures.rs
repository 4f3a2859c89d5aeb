//! What is signed or summed up. Sums are computed; signatures need keys that kimage does not have, and are named: no verdict
//! passes over them.

use crate::bytes::{len64, slice};
use crate::finding::{Checks, Hex, rules};
use crate::format::android::BootImage;
use crate::format::cpio::Cpio;
use crate::format::foreign::{Foreign, is_signed_module};
use crate::format::pe::Pe;
use crate::format::tplink::TpLink;
use crate::format::uki::{self, Role};

rules! {
    pub(super) RULES:
    TPLINK_MD5 = "tplink.md5sum", Note, "md5sum",
        "nobody knows whether the firmware is whole: it was damaged, or changed after the sum was made",
        "copy the file again, whole; the vendor's own tool knows other sums (mktplinkfw -i)";
    TPLINK_ROOTFS = "tplink.rootfs_len", Warning, "bytes behind the kernel",
        "the file was cut off: the kernel does not find all of its root file system",
        "copy the file again, whole";
    CHROMEOS_SIGNATURE = "chromeos.signature", Note, "signatures of key block, preamble and body",
        "nobody looked whether the firmware would take them: vbutil_kernel --verify does, with the public key",
        "check them with vbutil_kernel --verify and the public key";
    CPIO_CHECK = "cpio.c_check", Error, "c_check",
        "the file was damaged: Linux 5.18 and newer unpack nothing more (\"bad data checksum\"), older ones do not \
         look",
        "make the archive again, or copy the file again, whole";
    MODULE_SIGNATURE = "cpio.module_signature", Note, "kernel modules",
        "nobody looked whether the kernel would take them: where it wants signatures (CONFIG_MODULE_SIG_FORCE, \
         lockdown), it may refuse them",
        "check them on the machine that they are for, or with modinfo and the key";
    ANDROID_SIGNATURE = "android.signature", Note, "signature of the boot image",
        "nobody looked whether it is that of these bytes: avbtool verify_image does",
        "check it with avbtool verify_image";
    DATA_SIGNATURE = "data.signature", Note, "data",
        "nobody looked whether it is that of these bytes",
        "check it with the tool that made it";
    PCRSIG = "uki.pcrsig", Note, ".pcrsig",
        "nobody looked whether these values come out when the image is booted: systemd-measure calculates them",
        "compare them with what systemd-measure calculates";
}

const MODULE_SIGNATURES: &str = "signatures of kernel modules";

pub(super) fn tplink(bytes: &[u8], checks: &mut Checks) {
    let Ok(image) = TpLink::parse(bytes) else { return };
    if image.is_md5_right(bytes) {
        checks.expect(&TPLINK_MD5, TpLink::MD5_AT, true, "", "");
    } else {
        let found = "neither that of header and kernel, nor of fw_length, nor of the whole file";
        checks.not_checked(&TPLINK_MD5, TpLink::MD5_AT, found, "MD5 sums of firmware");
    }
    let (have, wanted) = (len64(bytes).saturating_sub(image.kernel.end), u64::from(image.rootfs_len));
    checks.expect(&TPLINK_ROOTFS, 0x8c, have >= wanted, have, format!("{wanted} at least, by rootfs_len"));
}

pub(super) fn chromeos(checks: &mut Checks) {
    checks.not_checked(&CHROMEOS_SIGNATURE, None, "not checked", "signatures of the Chrome OS partition");
}

/// The sums of archives that have some, and the signatures of the modules in them.
pub(super) fn cpio(bytes: &[u8], checks: &mut Checks) {
    let Ok(archive) = Cpio::parse(bytes) else { return };
    let (mut sums, mut wrong, mut first) = (0_u64, 0_u64, None);
    let (mut modules, mut module_at) = (0_u64, None);
    for entry in archive.entries().flatten() {
        let data = slice(bytes, entry.data_at, entry.size).unwrap_or_default();
        if let Some(found) = entry.checksum() {
            let sum = data.iter().fold(0_u32, |sum, byte| sum.wrapping_add((*byte).into()));
            sums += 1;
            if sum != found {
                wrong += 1;
                first.get_or_insert((entry, found, sum));
            }
        }
        if is_signed_module(data) {
            modules += 1;
            module_at.get_or_insert(entry.data_at);
        }
    }
    if let Some((entry, found, sum)) = first {
        let name = String::from_utf8_lossy(entry.name);
        let others = if wrong > 1 { format!("; {} more of {sums} are wrong", wrong - 1) } else { String::new() };
        let wanted = format!("{sum:#x}, the sum of its bytes{others}");
        checks.expect(&CPIO_CHECK, entry.check_at(), false, format!("{} for {name}", Hex(found.into())), wanted);
    } else if sums > 0 {
        checks.expect(&CPIO_CHECK, None, true, "", "");
    }
    if modules > 0 {
        let found = format!("{modules} with a signature, not checked");
        checks.not_checked(&MODULE_SIGNATURE, module_at, found, MODULE_SIGNATURES);
    }
}

/// The signature section of a boot image where it is none that has a magic number: that is a layer of its own.
pub(super) fn android(bytes: &[u8], checks: &mut Checks) {
    let Ok(image) = BootImage::parse(bytes) else { return };
    let Some(section) = image.sections.iter().find(|section| section.name == "signature") else { return };
    let contents = slice(bytes, section.at.start, section.at.end - section.at.start).unwrap_or_default();
    // Zeros are no claim.
    if contents.iter().any(|byte| *byte != 0) && Foreign::detect(contents).is_none() {
        let found = format!("{} bytes, not checked", contents.len());
        checks.not_checked(&ANDROID_SIGNATURE, section.at.start, found, "signatures of boot images");
    }
}

/// Data that a magic number names a signature.
pub(super) fn data(bytes: &[u8], checks: &mut Checks) {
    let Some(foreign) = Foreign::detect(bytes) else { return };
    if let Some(what) = foreign.unchecked {
        checks.not_checked(&DATA_SIGNATURE, 0, format!("{}, not checked", foreign.name), what);
    }
}

/// The signatures of the values that a UKI should measure to.
pub(super) fn uki(bytes: &[u8], checks: &mut Checks) {
    let Ok(pe) = Pe::parse(bytes) else { return };
    let mut sections = uki::sections(&pe).filter(|part| part.role == Role::PcrSignature && part.section.raw_size > 0);
    if let Some(first) = sections.next() {
        let found = format!("signatures of expected PCR values in {} sections, not checked", sections.count() + 1);
        checks.not_checked(&PCRSIG, u64::from(first.section.raw_at), found, "signatures of PCR values");
    }
}
