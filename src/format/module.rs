//! Kernel modules (`.ko`): relocatable ELF files that say of themselves which kernel they are for.
//!
//! Sources: include/linux/module.h and moduleparam.h (`.modinfo`: texts `key=value`, each with a NUL), kernel/module/version.c
//! and scripts/mod/modpost.c (`__versions`: a checksum of one word and a name, 64 bytes together; `__version_ext_crcs` and
//! `__version_ext_names` from 6.14 on), scripts/sign-file.c and include/linux/module_signature.h (what stands behind the ELF
//! file), Linux 7.2; RFC 5652 for the signature itself.

use super::foreign::MODULE_MARK;
use crate::bytes::{Cursor, len64, slice, until_zero};
use crate::elf::raw::STB_GLOBAL;
use crate::elf::{Elf, Kind, MODINFO, Section, release_in};
use std::collections::BTreeSet;
use std::ops::Range;

/// `struct module`, of which the name is known.
const THIS_MODULE: [&str; 2] = [".gnu.linkonce.this_module", "__this_module"];
/// `struct modversion_info`.
const VERSION_LEN: u64 = 64;

/// A module.
#[derive(Debug)]
pub(crate) struct Module<'e, 'a> {
    elf: &'e Elf<'a>,
    /// Keys and values of `.modinfo`, and where the values stand in the file.
    info: Vec<(&'a [u8], &'a [u8], u64)>,
}

/// What is signed behind a module; nobody here has the key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    /// All that stands behind the ELF file.
    pub at: Range<u64>,
    /// How it is written.
    pub form: &'static str,
    /// The name in the signer's certificate.
    pub signer: Option<&'a [u8]>,
    /// What is signed: the name of a hash, as the kernel has it.
    pub hash: Option<&'static str>,
}

impl<'e, 'a> Module<'e, 'a> {
    /// The module that `elf` is.
    pub(crate) fn of(elf: &'e Elf<'a>) -> Option<Self> {
        let modinfo = elf.section(MODINFO);
        let is_module = modinfo.is_some() || THIS_MODULE.iter().any(|name| elf.section(name).is_some());
        if elf.kind() != Kind::Relocatable || !is_module {
            return None;
        }
        let (texts, mut at) =
            modinfo.map_or((&[][..], 0), |section| (elf.contents(section).unwrap_or_default(), section.offset));
        let mut info = Vec::new();
        for text in texts.split(|byte| *byte == 0) {
            if let Some(len) = memchr::memchr(b'=', text) {
                let (key, value) = (text.get(..len).unwrap_or_default(), text.get(len + 1..).unwrap_or_default());
                info.push((key, value, at + len64(key) + 1));
            }
            at += len64(text) + 1;
        }
        Some(Module { elf, info })
    }

    /// The first value of that key, and its offset in the file.
    pub(crate) fn info(&self, key: &str) -> Option<(&'a [u8], u64)> {
        self.info.iter().find(|(own, ..)| *own == key.as_bytes()).map(|(_, value, at)| (*value, *at))
    }

    /// May it use what is for modules under the GPL alone (include/linux/license.h, `license_is_gpl_compatible`)? One that says
    /// nothing may not.
    pub(crate) fn is_gpl_compatible(&self) -> bool {
        const LICENSES: [&[u8]; 6] =
            [b"GPL", b"GPL v2", b"GPL and additional rights", b"Dual BSD/GPL", b"Dual MIT/GPL", b"Dual MPL/GPL"];
        self.info("license").is_some_and(|(license, _)| LICENSES.contains(&license))
    }

    /// May it use what is in that namespace (kernel/module/main.c, `verify_namespace_is_imported`)? One that begins with
    /// `module:` names the modules that may, each to the end or to a `*` (6.16 on).
    pub(crate) fn imports_namespace(&self, namespace: &[u8]) -> bool {
        let plain = |name: &[u8]| name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect::<Vec<u8>>();
        let own = self.name().map(plain).unwrap_or_default();
        let names = namespace.strip_prefix(b"module:").into_iter().flat_map(|names| names.split(|byte| *byte == b','));
        let is_named = |name: &[u8]| match name.strip_suffix(b"*") {
            Some(start) => own.starts_with(&plain(start)),
            None => own == plain(name),
        };
        let imports = |(key, value, _): &(&[u8], &[u8], u64)| *key == b"import_ns" && *value == namespace;
        namespace.is_empty() || names.into_iter().any(is_named) || self.info.iter().any(imports)
    }

    /// The name, as `lsmod` shows it; kernels up to 4.12 have it in `struct module` alone, behind a state and a list.
    pub(crate) fn name(&self) -> Option<&'a [u8]> {
        let stored = || {
            let section = self.section(THIS_MODULE[0]).or_else(|| self.section(THIS_MODULE[1]))?;
            let at = 3 * self.elf.encoder().address_size();
            Some(until_zero(section.get(usize::try_from(at).ok()?..)?)).filter(|name| !name.is_empty())
        };
        self.info("name").map(|(name, _)| name).or_else(stored)
    }

    /// What it wants of others: undefined symbols that are not weak, but for those that the kernel resolves by itself
    /// (scripts/mod/modpost.c, `ignore_undef_symbol`).
    pub(crate) fn imports(&self) -> BTreeSet<&'a [u8]> {
        const OWN: [&[u8]; 9] = [
            b"_GLOBAL_OFFSET_TABLE_",
            b"__this_module",
            b".TOC.",
            b"_restgpr_",
            b"_savegpr_",
            b"_rest32gpr_",
            b"_save32gpr_",
            b"_restvr_",
            b"_savevr_",
        ];
        let symbols = self.elf.symbols().into_iter().flatten();
        let wanted =
            symbols.filter(|symbol| !symbol.is_defined() && symbol.binding == STB_GLOBAL && !symbol.name.is_empty());
        let names = wanted.map(|symbol| symbol.name).filter(|name| !OWN.iter().any(|own| name.starts_with(own)));
        names.map(|name| name.strip_prefix(b".").unwrap_or(name)).collect()
    }

    /// The names of its parameters: described ones, and those that only have a type.
    pub(crate) fn parameters(&self) -> BTreeSet<&'a [u8]> {
        let is_parameter = |key: &[u8]| matches!(key, b"parm" | b"parmtype");
        let values = self.info.iter().filter(|(key, ..)| is_parameter(key)).map(|(_, value, _)| *value);
        values.filter_map(|value| value.split(|byte| *byte == b':').next()).collect()
    }

    /// The symbols of others that it was built with, and the checksum of each one's type (CONFIG_MODVERSIONS); `None` without.
    pub(crate) fn versions(&self) -> Option<Vec<(&'a [u8], u32)>> {
        let cursor = |section| Some(Cursor::new(self.section(section)?, self.elf.endian()));
        if let (Some(crcs), Some(names)) = (cursor("__version_ext_crcs"), self.section("__version_ext_names")) {
            let names = names.split(|byte| *byte == 0);
            return Some(
                names.zip((0..).step_by(4)).map_while(|(name, at)| Some((name, crcs.u32("crc", at).ok()?))).collect(),
            );
        }
        let table = cursor("__versions")?;
        let word = self.elf.encoder().address_size();
        let entry = |at| {
            let crc =
                if word == 8 { u32::try_from(table.u64("crc", at).ok()?).ok()? } else { table.u32("crc", at).ok()? };
            let name = until_zero(table.take("name", at + word, VERSION_LEN - word).ok()?);
            // As the kernel reads those of PowerPC's first 64-bit ABI.
            Some((name.strip_prefix(b".").unwrap_or(name), crc))
        };
        Some((0..table.len() / VERSION_LEN).filter_map(|index| entry(index * VERSION_LEN)).collect())
    }

    fn section(&self, name: &str) -> Option<&'a [u8]> {
        let section: &Section<'a> = self.elf.section(name)?;
        self.elf.contents(section).ok().filter(|bytes| !bytes.is_empty())
    }

    /// What is signed behind it.
    pub(crate) fn signature(&self) -> Option<Signature<'a>> {
        const TRAILER: usize = 12;
        let signed = self.elf.bytes().strip_suffix(MODULE_MARK)?;
        let (rest, trailer) = signed.split_last_chunk::<TRAILER>()?;
        let [_, hash, id_type, signer_len, key_id_len, _, _, _, len @ ..] = *trailer;
        let len = u64::from(u32::from_be_bytes(len)) + u64::from(signer_len) + u64::from(key_id_len);
        let start = len64(rest).checked_sub(len)?;
        let bytes = slice(rest, start, len)?;
        let at = start..len64(self.elf.bytes());
        let plain = || bytes.get(..usize::from(signer_len)).filter(|name| !name.is_empty());
        // `enum pkey_id_type`, and `enum hash_algo` for what was before PKCS #7 (Linux 4.3).
        let old = || HASHES.iter().find(|(number, ..)| *number == Some(hash)).map(|(_, name, _)| *name);
        let (form, signer, hash) = match id_type {
            0 => ("PGP", plain(), old()),
            1 => ("X.509", plain(), old()),
            2 => {
                let (signer, hash) = signer_info(bytes).unwrap_or_default();
                ("PKCS#7", signer, hash)
            }
            _ => ("of an unknown form", None, None),
        };
        Some(Signature { at, form, signer, hash })
    }
}

/// Does this kernel refuse a module that uses a namespace without importing it? It complains as of an error, or as of a
/// warning (CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS); `None` where its text is not there.
pub(crate) fn refuses_missing_namespaces(kernel: &[u8]) -> Option<bool> {
    const TEXT: &[u8] = b"from namespace %s, but does not import it.";
    const FARTHEST: usize = 64;
    let at = memchr::memmem::find(kernel, TEXT)?;
    let front = kernel.get(at.saturating_sub(FARTHEST)..at)?;
    // `KERN_SOH`, and the level.
    let soh = memchr::memrchr(1, front)?;
    match front.get(soh + 1)? {
        b'3' => Some(true),
        b'4' => Some(false),
        _ => None,
    }
}

/// The text that modules' vermagic must be (`VERMAGIC_STRING` of include/linux/vermagic.h): a kernel that loads modules has it,
/// behind its own release flags for SMP, preemption and the like, and what its CPU adds. `None` where it is not there once.
pub(crate) fn kernel_vermagic(kernel: &[u8]) -> Option<String> {
    const LONGEST: usize = 256;
    const FLAGS: [&str; 5] = ["SMP", "preempt", "preempt_rt", "mod_unload", "modversions"];
    let release = release_in(kernel)?;
    let found = memchr::memmem::find_iter(kernel, &release).filter_map(|at| {
        let text = kernel.get(at..)?;
        let text = text.get(..text.iter().take(LONGEST).position(|byte| *byte == 0)?)?;
        let text = std::str::from_utf8(text).ok()?;
        let mut flags = text.strip_prefix(&release)?.strip_prefix(' ')?.split(' ');
        let first = flags.next()?;
        let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (FLAGS.contains(&first) && flags.all(is_word)).then(|| text.to_owned())
    });
    let found: BTreeSet<String> = found.collect();
    let mut found = found.into_iter();
    found.next().filter(|_| found.next().is_none())
}

/// Number in `enum hash_algo`, the kernel's name, and the object identifier in DER.
const HASHES: [(Option<u8>, &str, &[u8]); 10] = [
    (Some(1), "md5", b"\x2a\x86\x48\x86\xf7\x0d\x02\x05"),
    (Some(2), "sha1", b"\x2b\x0e\x03\x02\x1a"),
    (Some(4), "sha256", b"\x60\x86\x48\x01\x65\x03\x04\x02\x01"),
    (Some(5), "sha384", b"\x60\x86\x48\x01\x65\x03\x04\x02\x02"),
    (Some(6), "sha512", b"\x60\x86\x48\x01\x65\x03\x04\x02\x03"),
    (Some(7), "sha224", b"\x60\x86\x48\x01\x65\x03\x04\x02\x04"),
    (None, "sha3-256", b"\x60\x86\x48\x01\x65\x03\x04\x02\x08"),
    (None, "sha3-384", b"\x60\x86\x48\x01\x65\x03\x04\x02\x09"),
    (None, "sha3-512", b"\x60\x86\x48\x01\x65\x03\x04\x02\x0a"),
    (None, "sm3", b"\x2a\x81\x1c\xcf\x55\x01\x83\x11"),
];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 6;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = b"\x55\x04\x03";

/// Common name of the issuer, and the hash, of the first signer of `SignedData` (RFC 5652, 5.1 and 5.3).
fn signer_info(bytes: &[u8]) -> Option<(Option<&[u8]>, Option<&'static str>)> {
    let content = inside(bytes, SEQUENCE)?;
    // The object identifier stands in front, in a tag of its own, [0].
    let (_, _, explicit) = value(content)?;
    let data = inside(inside(explicit, 0xa0)?, SEQUENCE)?;
    // digestAlgorithms is a SET, too, and comes first.
    let infos = values(data).filter(|(tag, _)| *tag == SET).last()?.1;
    let mut fields = values(inside(infos, SEQUENCE)?).skip(1);
    let (_, signer) = fields.next()?;
    let (_, algorithm) = fields.next()?;
    let oid = inside(algorithm, OBJECT_ID)?;
    let hash = HASHES.iter().find(|(_, _, own)| *own == oid).map(|(_, name, _)| *name);
    // issuerAndSerialNumber; the other form, [0], names a key by number.
    let names = inside(signer, SEQUENCE).into_iter().flat_map(values).flat_map(|(_, set)| values(set));
    let mut common = names.filter_map(|(_, pair)| {
        let (_, oid, rest) = value(pair)?;
        Some(value(rest)?.1).filter(|_| oid == COMMON_NAME)
    });
    Some((common.next(), hash))
}

/// A value in DER: its tag, its contents, and what follows it (X.690, 8.1).
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((*tag, contents, rest))
}

/// The contents of the value that comes first, if it has this tag.
fn inside(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    value(bytes).filter(|(found, ..)| *found == tag).map(|(_, contents, _)| contents)
}

/// Tags and contents of values that follow each other.
fn values(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let all = std::iter::successors(value(bytes), |(_, _, rest)| value(rest));
    all.map(|(tag, contents, _)| (tag, contents))
}
