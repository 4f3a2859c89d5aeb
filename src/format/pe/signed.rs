//! What the signatures of a PE image claim, held against it: no key but those that stand there is asked.

use super::authenticode::{ALIGNMENT, ENTRY_HEADER, PKCS_SIGNED_DATA, REVISION, Signature};
use super::file::{NoDigest, Pe};
use crate::bytes::{hex, len64, slice};
use crate::finding::{Checks, Finding, Hex, Severity, rules};
use crate::sign::Algorithm;
use crate::sign::certificate::Certificate;
use crate::sign::pkcs7::Held;

/// What a verdict calls them.
const AUTHENTICODE_DIGESTS: &str = "Authenticode digests";
pub(crate) const AUTHENTICODE_SIGNATURES: &str = "Authenticode signatures";

rules! {
    /// What is looked at.
    pub(crate) RULES:
    CHECKSUM = "pe.checksum", Error, "CheckSum",
        "bytes changed after the sum was made; firmware does not check this sum itself",
        "take the image as it was built, or have the sum made again (sbsign does so)";
    CERTIFICATES = "pe.certificates", Error, "certificate table",
        "UEFI firmware does not find the signature: with Secure Boot the image is refused",
        "sign the image again";
    SEVERAL = "pe.signatures", Note, "certificate table",
        "firmware takes the image if it trusts one of them and forbids none; osslsigncode looks at the first alone",
        "sign with `request.replace` if the others are not wanted";
    pub(crate) DIGEST = "pe.digest", Error, "digest that the signature signs",
        "bytes changed after the image was signed: with Secure Boot it is refused",
        "sign the image again if the change is yours; else take it from where it was signed";
    pub(crate) NO_DIGEST = "pe.no_digest", Warning, "digest that a signature signs",
        "nobody looked whether it is the one that was signed",
        "check it with the tool that signed the image (sbverify, osslsigncode)";
    pub(crate) DIGEST_ORDER = "pe.digest_order", Warning, "order of the bytes that the signature signs",
        "UEFI firmware counts the sections' bytes, osslsigncode takes the file's from first to last: they sign different digests",
        "link the image without gaps between its sections, in the order of the file";
    VALUE = "pe.signature_value", Error, "signature",
        "with Secure Boot the image is refused",
        "sign the image again";
    KEY_KIND = "pe.key_kind", Warning, "key of the signature",
        "most firmware takes signatures of RSA keys alone, EDK II up to 2022 among it",
        "sign with an RSA key of 2048 bits, as all firmware knows it";
    HASH_KIND = "pe.hash_kind", Warning, "hash of the signature",
        "EDK II takes it; shim and sbverify know SHA-256 alone",
        "sign with SHA-256";
    KEY_USAGE = "pe.key_usage", Warning, "key usage of the certificate",
        "firmware does not look at it; sbverify and osslsigncode refuse the signature",
        "make a certificate with extendedKeyUsage = codeSigning, or without key usage";
    pub(crate) SIGNATURE = "pe.signature", Note, "certificate table",
        "nobody looked whether firmware with Secure Boot trusts who signed",
        "say which certificates are trusted (`request.cert`)";
}

impl Pe<'_> {
    /// The sum and the table that signing adds.
    pub(super) fn check_signature(&self, checks: &mut Checks) {
        let certificates = self.certificates();
        let signatures = self.signatures();
        let mut digests = Vec::new();
        let mut digest = |hash: Algorithm| match digests.iter().find(|(one, _)| *one == hash) {
            Some((_, digest)) => Result::clone(digest),
            None => {
                let digest = self.digest(hash);
                digests.push((hash, digest.clone()));
                digest
            }
        };
        let found: Vec<_> = signatures.iter().map(|one| one.hash.map(&mut digest)).collect();
        let is_right = |(one, found): (&Signature<'_>, &Option<Result<Vec<u8>, NoDigest>>)| matches!(found, Some(Ok(digest)) if digest == one.digest);
        let at = self.place("CheckSum");
        let sum = self.value("CheckSum");
        if sum != 0 {
            let computed = checksum(&[self.bytes()], at);
            // A stub is linked with a sum, and tools that add sections or sign it leave that as it is. Where the digest that
            // the signature signs is right, nothing was changed since.
            let untouched = signatures.len() == certificates.len() && signatures.iter().zip(&found).all(is_right);
            let severity = if untouched { Severity::Warning } else { Severity::Error };
            checks.expect_as(severity, &CHECKSUM, at, sum == computed, Hex(sum), Hex(computed));
        }
        let Some(entry) = self.signed_fields().into_iter().nth(1) else { return };
        let raw = slice(self.bytes(), entry.start, 8).unwrap_or(&[]);
        if raw.iter().all(|byte| *byte == 0) {
            if self.signed_ranges() == Err(NoDigest::Shared) {
                checks.not_checked(&NO_DIGEST, self.place("NumberOfSections"), NoDigest::Shared, AUTHENTICODE_DIGESTS);
            }
            return;
        }
        self.check_table(entry.start, checks);
        for certificate in &certificates {
            let kept = certificate.revision == REVISION && certificate.kind == PKCS_SIGNED_DATA;
            let found = format!("revision {:#x}, type {}", certificate.revision, certificate.kind);
            checks.expect(&CERTIFICATES, certificate.at + 4, kept, found, "revision 0x200, type 2 (PKCS #7)");
        }
        let mut other = certificates.len() - signatures.len();
        for (signature, computed) in signatures.iter().zip(found) {
            match computed {
                None => other += 1,
                Some(Err(NoDigest::Shared)) => {
                    checks.not_checked(&NO_DIGEST, signature.at, NoDigest::Shared, AUTHENTICODE_DIGESTS);
                }
                Some(computed) => {
                    let kept = computed.as_ref().is_ok_and(|computed| computed == signature.digest);
                    let found = computed.map_or_else(|why| why.to_string(), |digest| hex(&digest));
                    let wanted = format!(
                        "{} ({}, signed by {})",
                        hex(signature.digest),
                        signature.hash_name(),
                        signature.name()
                    );
                    checks.expect(&DIGEST, signature.at, kept, found, wanted);
                }
            }
            if let Held::Wrong(why) = signature.check() {
                let wanted = format!("one of {} that holds", signature.name());
                checks.expect(&VALUE, signature.at, false, why, wanted);
            }
        }
        if !self.is_hashed_in_order() && !signatures.is_empty() {
            let found = "bytes between sections, or sections not in the order of the file";
            checks.expect(
                &DIGEST_ORDER,
                self.headers_end(),
                false,
                found,
                "each byte of the file, one behind the other",
            );
        }
        let many = |count: usize| if count == 1 { "1 signature".to_owned() } else { format!("{count} signatures") };
        if other > 0 {
            let found = format!("{} without a digest that kimage knows", many(other));
            checks.not_checked(&NO_DIGEST, entry.start, found, AUTHENTICODE_DIGESTS);
        }
        if certificates.len() > 1 {
            let message = format!("{}: {}", SEVERAL.what, many(certificates.len()));
            checks.append(vec![SEVERAL.finding(message).at(entry.start)].into());
        }
        if !certificates.is_empty() {
            let by: Vec<_> = signatures.iter().map(|one| format!("{} ({})", one.name(), one.hash_name())).collect();
            let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(" and ")) };
            let found = format!("{}{by}, not checked against who is trusted", many(certificates.len()));
            checks.not_checked(&SIGNATURE, entry.start, found, AUTHENTICODE_SIGNATURES);
        }
    }

    /// Where the table lies, and what it is made of.
    fn check_table(&self, entry: u64, checks: &mut Checks) {
        let len = len64(self.bytes());
        let range = self.certificate_range().unwrap_or(0..0);
        let mut expect = |kept: bool, found: String, wanted: String| {
            checks.expect(&CERTIFICATES, entry, kept, found, wanted);
        };
        let found = format!("it lies at {:#x} to {:#x}", range.start, range.end);
        if range.end < len {
            let wanted = format!("it ends with the file, at {len:#x}: {} bytes are behind it", len - range.end);
            expect(false, found.clone(), wanted);
        } else {
            expect(range.end == len, found.clone(), format!("it ends with the file, at {len:#x}"));
        }
        let wanted = format!("it begins at a multiple of {ALIGNMENT}");
        expect(range.start % ALIGNMENT == 0, found, wanted);
        // What the entries take, each rounded up.
        let size = |data: &[u8]| (len64(data) + ENTRY_HEADER).next_multiple_of(ALIGNMENT);
        let whole: u64 = self.certificates().iter().map(|one| size(one.data)).sum();
        let found = format!("{} signatures of {whole} bytes", self.certificates().len());
        let kept = whole != 0 && range.start + whole == range.end;
        expect(kept, found, format!("signatures of {} bytes", range.end - range.start));
    }
}

/// What is worth knowing about who signs (the first of these) and how.
pub(crate) fn of_signer(certificates: &[Certificate], hash: Algorithm) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(signer) = certificates.first() else { return findings };
    let name = signer.name();
    let key = signer.key.as_ref().map_or("an unknown kind", |key| key.name());
    if !key.starts_with("rsa") {
        findings.push(KEY_KIND.finding(format!("the key of {name} is of {key}")));
    }
    if hash != Algorithm::Sha256 {
        findings.push(HASH_KIND.finding(format!("the hash that {name} signed is {}", hash.name())));
    }
    if !signer.signs_code {
        findings.push(KEY_USAGE.finding(format!("the certificate of {name} is not for signing code")));
    }
    findings
}

/// The sum of all 16-bit words of these bytes, one behind the other, with carries added back in, the four bytes at the offset `at` of
/// the first taken for zeros, and the length.
pub(crate) fn checksum(parts: &[&[u8]], at: u64) -> u64 {
    let (mut sum, mut len) = (0_u64, 0_u64);
    for part in parts {
        // The high byte of a word that began in the part before.
        let (high, rest) = part.split_at(if len % 2 == 1 { part.len().min(1) } else { 0 });
        sum += high.iter().map(|byte| u64::from(*byte) << 8).sum::<u64>();
        let words = rest.chunks_exact(2);
        sum += words.remainder().iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let word = |word: &[u8]| word.first_chunk().map_or(0, |word| u64::from(u16::from_le_bytes(*word)));
        sum += words.map(word).sum::<u64>();
        len += len64(part);
    }
    let field = parts.first().and_then(|first| slice(first, at, 4)).unwrap_or_default();
    for (index, byte) in (at..).zip(field) {
        sum -= u64::from(*byte) << (index % 2 * 8);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum + len) & u64::from(u32::MAX)
}
