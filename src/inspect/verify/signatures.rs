//! What is signed or summed up. Sums are computed; signatures need keys that kimage does not have, and are named: no verdict
//! passes over them.

use crate::bytes::{hex, len64, slice, slice_at};
use crate::codec::Codec;
use crate::finding::{Checks, Hex, rules};
use crate::format::android::BootImage;
use crate::format::avb::VerifiedBoot;
use crate::format::cpio::{Cpio, Entry};
use crate::format::foreign::{AVB, Foreign, MODULE_MARK, is_signed_module};
use crate::format::module::Module;
use crate::format::pe::Pe;
use crate::format::tplink::TpLink;
use crate::format::tpm;
use crate::format::uki::{self, Role, measured};
use crate::sign::{Algorithm, PublicKey, Scheme};
use base64ct::{Base64, Encoding};
use std::collections::BTreeMap;
use std::io::{self, Write};

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
    SIGNED_MODULE = "module.signature", Note, "signature of the module",
        "nobody looked whether the kernel would take it: where it wants signatures (CONFIG_MODULE_SIG_FORCE, lockdown), it \
         may refuse the module",
        "check it on the machine that it is for, or with the key";
    ANDROID_SIGNATURE = "android.signature", Note, "signature of the boot image",
        "nobody looked whether it is that of these bytes: avbtool verify_image does",
        "check it with avbtool verify_image";
    AVB_DIGEST = "avb.digest", Error, "digest of Android's verified boot",
        "bytes changed after the digest was made: a locked device does not boot it",
        "make the footer again if the change is yours (avbtool add_hash_footer); else take the image from where it was made";
    AVB_SIGNATURE = "avb.signature", Note, "Android's verified boot",
        "nobody looked whether a locked device takes it: avbtool verify_image does, with the key",
        "check it with avbtool verify_image and the public key";
    DATA_SIGNATURE = "data.signature", Note, "data",
        "nobody looked whether it is that of these bytes",
        "check it with the tool that made it";
    PCRSIG = "uki.pcrsig", Note, ".pcrsig",
        "nobody looked whether these values come out when the image is booted, or who signed them",
        "compare them with what kimage measure says";
    PCR_SIGNATURE = "uki.pcr_signature", Error, "signature of a PCR value",
        "systemd cannot open what is sealed to it",
        "sign the values again, as the image is now";
    PCR_POLICY = "uki.pcr_policy", Warning, "PCR values that are signed",
        "unless other phases than systemd's were signed, the image was changed afterwards: systemd cannot open what is sealed to \
         them",
        "sign the values again, as the image is now";
}

const MODULE_SIGNATURES: &str = "signatures of kernel modules";

/// Bytes that may come out of compressed modules of one archive.
const MODULES_WORK: u64 = 64 << 20;
/// What it costs to begin with one, in such bytes.
const EACH_MODULE: u64 = 32 << 10;

/// `name.ko.xz` and the like, which the kernel or kmod decompresses.
fn is_packed_module(name: &[u8]) -> bool {
    memchr::memmem::rfind(name, b".ko.").is_some()
}

/// The end of what is written.
#[derive(Default)]
struct End {
    bytes: Vec<u8>,
    len: u64,
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const KEPT: usize = MODULE_MARK.len();
        self.bytes.extend_from_slice(bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or_default());
        self.bytes.drain(..self.bytes.len().saturating_sub(KEPT));
        self.len = self.len.saturating_add(len64(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn tplink(bytes: &[u8], checks: &mut Checks) {
    let Ok(image) = TpLink::parse(bytes) else { return };
    if image.is_md5_right(bytes) {
        checks.expect(&TPLINK_MD5, TpLink::MD5_AT, true, "", "");
    } else {
        let found = "neither that of header and kernel, nor of fw_length, nor of the whole file";
        checks.not_checked(&TPLINK_MD5, TpLink::MD5_AT, found, "MD5 sums of firmware");
    }
    let (have, wanted) = (len64(bytes).saturating_sub(image.kernel.end), u64::from(image.rootfs_len));
    checks.expect(
        &TPLINK_ROOTFS,
        TpLink::ROOTFS_LEN_AT,
        have >= wanted,
        have,
        format!("{wanted} at least, by rootfs_len"),
    );
}

pub(super) fn chromeos(checks: &mut Checks) {
    checks.not_checked(&CHROMEOS_SIGNATURE, None, "not checked", "signatures of the Chrome OS partition");
}

/// The sums of archives that have some, and the signatures of the modules in them.
pub(super) fn cpio(bytes: &[u8], checks: &mut Checks) {
    let Ok(archive) = Cpio::parse(bytes) else { return };
    let (mut sums, mut wrong, mut first) = (0_u64, 0_u64, None);
    let (mut modules, mut module_at) = (0_u64, None);
    let (mut left, mut unread) = (MODULES_WORK, 0_u64);
    for entry in archive.entries().flatten() {
        let data = slice(bytes, entry.data_at, entry.size).unwrap_or_default();
        if let Some(found) = entry.checksum() {
            let sum = Entry::sum(data);
            sums += 1;
            if sum != found {
                wrong += 1;
                first.get_or_insert((entry, found, sum));
            }
        }
        let is_signed = match Codec::detect(data).filter(|_| is_packed_module(entry.name)) {
            None => is_signed_module(data),
            Some(_) if left == 0 => {
                unread += 1;
                continue;
            }
            Some(codec) => {
                let mut end = End::default();
                // What is damaged, or holds more, has no end to look at.
                let is_whole = codec.decompress_one(data, left, &mut end).is_ok();
                left = left.saturating_sub(end.len.max(entry.size).saturating_add(EACH_MODULE));
                unread += u64::from(!is_whole);
                is_whole && is_signed_module(&end.bytes)
            }
        };
        if is_signed {
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
    if modules > 0 || unread > 0 {
        let more = if unread > 0 { format!("; {unread} compressed ones were not looked into") } else { String::new() };
        let found = format!("{modules} with a signature, not checked{more}");
        checks.not_checked(&MODULE_SIGNATURE, module_at, found, MODULE_SIGNATURES);
    }
}

/// The signature behind a module.
pub(super) fn module(module: &Module<'_, '_>, checks: &mut Checks) {
    let Some(signature) = module.signature() else { return };
    let of = |name: Option<&[u8]>| name.map_or("somebody".into(), |name| String::from_utf8_lossy(name).into_owned());
    let found = format!("{} by {}, not checked", signature.form, of(signature.signer));
    checks.not_checked(&SIGNED_MODULE, signature.at.start, found, MODULE_SIGNATURES);
}

/// The signature section of a boot image where it is none that has a magic number: that is a layer of its own.
pub(super) fn android(bytes: &[u8], checks: &mut Checks) {
    let Ok(image) = BootImage::parse(bytes) else { return };
    let Some(section) = image.sections.iter().find(|section| section.name == "signature") else { return };
    let contents = slice_at(bytes, &section.at).unwrap_or_default();
    // Zeros are no claim.
    if contents.iter().any(|byte| *byte != 0) && Foreign::detect(contents).is_none() {
        let found = format!("{} bytes, not checked", contents.len());
        checks.not_checked(&ANDROID_SIGNATURE, section.at.start, found, "signatures of boot images");
    }
}

/// The digests in the metadata behind a file, and what else is signed there.
pub(super) fn verified_boot(bytes: &[u8], checks: &mut Checks) {
    let Some(boot) = VerifiedBoot::parse(bytes) else { return };
    let (of_image, others) = boot.of_image();
    for one in of_image.iter().chain(&boot.of_metadata()) {
        let found = format!("{} of {}", hex(&one.found), one.what);
        checks.expect(&AVB_DIGEST, one.at, one.found == one.wanted, found, hex(&one.wanted));
    }
    if boot.is_signed() {
        let found = "a signature, not checked against a key";
        checks.not_checked(&AVB_SIGNATURE, boot.metadata_at, found, "signatures of Android's verified boot");
    }
    if of_image.is_empty() || others > 0 {
        let found = format!("{} descriptors of the image, {others} of something else, not checked", of_image.len());
        checks.not_checked(&AVB_SIGNATURE, boot.metadata_at, found, "other digests of Android's verified boot");
    }
}

/// Data that a magic number names a signature; of a file's footer more is known ([`verified_boot`]).
pub(super) fn data(file: &[u8], bytes: &[u8], checks: &mut Checks) {
    let Some(foreign) = Foreign::detect(bytes) else { return };
    let is_known = foreign.unchecked == Some(AVB) && VerifiedBoot::parse(file).is_some();
    if let Some(what) = foreign.unchecked.filter(|_| !is_known) {
        checks.not_checked(&DATA_SIGNATURE, 0, format!("{}, not checked", foreign.name), what);
    }
}

/// The signatures of the values that a UKI should measure to.
pub(super) fn uki(bytes: &[u8], checks: &mut Checks) {
    let Ok(pe) = Pe::parse(bytes) else { return };
    let Some(first) = uki::sections(&pe).find(|part| part.role == Role::PcrSignature && part.section.raw_size > 0)
    else {
        return;
    };
    let at = u64::from(first.section.raw_at);
    let unknown = |checks: &mut Checks, why: &str| checks.not_checked(&PCRSIG, at, why, PCR_SIGNATURES);
    let sections = match measured::sections(&pe) {
        Ok(sections) => sections,
        Err(why) => return unknown(checks, &why),
    };
    let stub = measured::Stub::of(&pe);
    let Some(order) = stub.order(&sections) else {
        return unknown(
            checks,
            "signatures of PCR values, not checked: in which order this stub measures is not known",
        );
    };
    let groups = measured::Groups::new(&sections);
    for number in 0..groups.profile_count().max(1) {
        let Some(boot) = measured::Boot::new(&groups, number) else { continue };
        let Some(signed) = boot.section(uki::PCRSIG) else { continue };
        pcr_signatures(&boot, &order, &signed.contents.concat(), at, checks);
    }
}

const PCR_SIGNATURES: &str = "signatures of PCR values";

/// An entry of `.pcrsig`.
#[derive(serde::Deserialize)]
struct PcrEntry {
    pcrs: Vec<u32>,
    pkfp: String,
    pol: String,
    sig: String,
}

/// The signatures for a boot.
fn pcr_signatures(boot: &measured::Boot<'_, '_>, order: &[&str], text: &[u8], at: u64, checks: &mut Checks) {
    /// Each is a key's work, and no image has so many.
    const MOST: usize = 4096;
    const MORE_PHASES: [&str; 3] = [
        "",
        "enter-initrd:leave-initrd:sysinit:ready:shutdown",
        "enter-initrd:leave-initrd:sysinit:ready:shutdown:final",
    ];
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let entries: BTreeMap<String, Vec<PcrEntry>> = match serde_json::from_slice(text) {
        Ok(entries) => entries,
        Err(error) => {
            checks.expect(&PCR_SIGNATURE, at, false, error, "JSON as systemd-measure writes it");
            return;
        }
    };
    let key = boot.section(uki::PCRPKEY).map(|section| section.contents.concat());
    let key = key.and_then(|text| PublicKey::from_pem(&text).ok());
    let fingerprint = key.as_ref().and_then(PublicKey::pkcs1).map(|key| hex(&Algorithm::Sha256.hash(&key)));
    let named = |name: &str| tpm::BANKS.into_iter().map(|(bank, _)| bank).find(|bank| bank.name() == name);
    let banks: Vec<_> = entries.keys().filter_map(|name| named(name)).collect();
    let mut hashes = measured::Hashes::new(&banks);
    let mut known = Vec::new();
    for tree in std::iter::once(None).chain((0..boot.tree_count()).map(Some)) {
        let (register, _) = boot.measure(order, tree, &mut hashes);
        for phases in measured::PHASES.into_iter().chain(MORE_PHASES) {
            let values = measured::after(&register, &banks, phases);
            let policies =
                values.0.iter().map(|(bank, value)| (*bank, hex(&tpm::policy(*bank, measured::IMAGE_PCR, value))));
            known.extend(policies);
        }
    }
    let (mut unknown, mut others) = (0, 0);
    let all: usize = entries.values().map(Vec::len).sum();
    for (name, entries) in &entries {
        let Some(bank) = named(name).filter(|_| all <= MOST) else {
            unknown += entries.len();
            continue;
        };
        let of_image = |entry: &&PcrEntry| entry.pcrs == [measured::IMAGE_PCR];
        let is_known = |entry: &&PcrEntry| known.iter().any(|(one, policy)| *one == bank && *policy == entry.pol);
        let ours: Vec<_> = entries.iter().filter(of_image).collect();
        let found = ours.iter().filter(|entry| is_known(entry)).count();
        if !ours.is_empty() {
            let what =
                format!("none of the {} of {name} is what the image comes to after a phase of systemd", ours.len());
            checks.expect(&PCR_POLICY, at, found > 0, what, "those of this image");
        }
        unknown += entries.len() - found;
        for entry in entries {
            if Some(&entry.pkfp) != fingerprint.as_ref() {
                others += 1;
                continue;
            }
            let Some(key) = &key else { continue };
            let is_good = (|| {
                let (policy, value) = (unhex(&entry.pol)?, Base64::decode_vec(&entry.sig).ok()?);
                // systemd 252 hashes by the bank's algorithm.
                let is_by = |hash: Algorithm| {
                    Scheme::of(hash, key).is_ok_and(|scheme| key.verify(scheme, &hash.hash(&policy), &value))
                };
                Some(is_by(Algorithm::Sha256) || is_by(bank))
            })();
            let wrong = format!("one of {name} that does not hold");
            checks.expect(&PCR_SIGNATURE, at, is_good == Some(true), wrong, "one by the key in .pcrpkey");
        }
    }
    if unknown > 0 {
        let found = format!(
            "{unknown} of {all} signatures are for other values than those after systemd's phases, not checked"
        );
        checks.not_checked(&PCRSIG, at, found, PCR_SIGNATURES);
    }
    if others > 0 {
        let found = match &key {
            Some(_) => format!("{others} of {all} signatures are by other keys than that in .pcrpkey, not checked"),
            None => format!("{others} of {all} signatures have no key in .pcrpkey to check them with, not checked"),
        };
        checks.not_checked(&PCRSIG, at, found, PCR_SIGNATURES);
    }
}

/// The bytes of a hexadecimal text.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
