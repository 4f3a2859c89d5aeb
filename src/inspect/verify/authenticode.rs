//! Would firmware that trusts these start the program under Secure Boot?
//!
//! As EDK2 decides it (DxeImageVerificationLib): nothing of it is forbidden, and one signature leads to a certificate that is trusted,
//! or the digest itself is. What firmware does not look at, as the time, is told.

use super::{LayerFinding, Verified};
use crate::bytes::hex;
use crate::error::Error;
use crate::finding::{Finding, Severity, rules};
use crate::format::efi_signatures::{SignatureList, Variables};
use crate::format::pe::authenticode::Signature;
use crate::format::pe::{Pe, sbat, signed};
use crate::inspect::{LayerId, Opened};
use crate::sign::Algorithm;
use crate::sign::certificate::Certificate;
use crate::sign::pkcs7::Held;

rules! {
    pub(super) RULES:
    SIGNED = "pe.signed", Note, "signature of the program",
        "firmware that trusts these starts it under Secure Boot",
        "";
    UNSIGNED = "pe.unsigned", Error, "signature of the program",
        "with Secure Boot, firmware that trusts these refuses it (Access Denied, Security Violation)",
        "sign it with a key that is trusted (kimage sign), or enroll the certificate of who signed it";
    REVOKED = "pe.revoked", Error, "what is forbidden (dbx)",
        "with Secure Boot, firmware refuses it, whoever else has signed it",
        "take a newer version of the program, or the entry out of dbx";
    ISSUER = "pe.revoked_issuer", Warning, "what is forbidden (dbx)",
        "EDK II does not look for the hashes of certificates between the signer's and the one that is trusted; other firmware may refuse the program",
        "have it signed by who has a certificate of another issuer";
    DIGEST_KIND = "pe.digest_kind", Warning, "digest in db",
        "newer EDK II takes it; up to 2022 it looked for SHA-256 alone, and refuses the program",
        "enroll the SHA-256 digest";
    VALIDITY = "pe.validity", Warning, "validity of a certificate",
        "firmware does not look at the time and takes it; osslsigncode refuses it",
        "have a new certificate made for the key, and sign again";
    NOT_ENFORCED = "pe.not_enforced", Warning, "variables of the firmware",
        "this firmware does not enforce Secure Boot: it starts anything",
        "enroll a platform key (PK), and switch Secure Boot on";
    LIST = "pe.list_entry", Note, "entries of the signature lists",
        "nobody looked whether they allow or forbid the program",
        "";
    SBAT = "pe.sbat_revoked", Error, "generations of the section .sbat",
        "shim with these revocations refuses it",
        "take a version of the program whose .sbat has these generations";
}

/// Whom firmware trusts.
#[derive(Debug, Clone, Default)]
pub(super) struct Firmware {
    allowed: SignatureList,
    forbidden: SignatureList,
    is_enforced: Option<bool>,
    /// Seconds since 1970.
    now: Option<u64>,
    revocations: Option<Vec<(String, u64)>>,
}

/// Whom UEFI firmware with Secure Boot trusts, and what it forbids.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirmwareRequest<'a> {
    /// The flash image that EDK2 keeps its variables in: a copy of OVMF_VARS.fd.
    pub variables: Option<&'a [u8]>,
    /// Who is trusted, as by `db`: certificates in PEM or DER, signature lists (`.esl`), or signed updates of them (`.auth`).
    pub allowed: &'a [&'a [u8]],
    /// What is forbidden, as by `dbx`: the same kinds of files.
    pub forbidden: &'a [&'a [u8]],
    /// The least generations that shim takes (`SbatLevel`): lines as `grub,4`.
    pub sbat_level: Option<&'a [u8]>,
    /// The time, in seconds since 1970.
    pub seconds: u64,
}

impl Firmware {
    pub(super) fn new(request: &FirmwareRequest<'_>) -> Result<Firmware, Error> {
        let part = |which, index, source: Error| Error::Part { which, index, source: Box::new(source) };
        let mut firmware = Firmware { now: Some(request.seconds), ..Firmware::default() };
        if let Some(flash) = request.variables {
            let read = Variables::parse(flash).map_err(|error| part("VARS", 0, Error::input("VARS", error)))?;
            (firmware.allowed, firmware.forbidden) = (read.db, read.dbx);
            firmware.is_enforced = Some(read.has_platform_key && read.is_enabled != Some(false));
        }
        for (index, file) in request.allowed.iter().enumerate() {
            firmware.allowed.add_file(file).map_err(|error| part("CERT", index, error.into()))?;
        }
        for (index, file) in request.forbidden.iter().enumerate() {
            firmware.forbidden.add_file(file).map_err(|error| part("DBX", index, error.into()))?;
        }
        firmware.revocations = request.sbat_level.map(sbat::generations);
        Ok(firmware)
    }

    /// Only revocations by SBAT were given.
    fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.forbidden.is_empty() && self.is_enforced.is_none()
    }
}

/// Holds the EFI program in `opened` to what firmware trusts, and says so in `verified`, which [`super::verify`] made of it.
pub(super) fn check(opened: &Opened<'_>, firmware: &Firmware, verified: &mut Verified) {
    let bytes = opened.layers().first().map(|layer| opened.bytes(layer)).unwrap_or_default();
    let mut findings = Vec::new();
    match Pe::find(bytes) {
        None => findings.push(UNSIGNED.finding("the file is no EFI program: it has no signature that was looked for")),
        Some(pe) => {
            if let Some(levels) = &firmware.revocations {
                revocations(&pe, levels, &mut findings);
            }
            if !firmware.is_empty() {
                let mut check = Check { firmware, pe: &pe, findings, unknown: false };
                check.run(verified);
                findings = check.findings;
                if !check.unknown {
                    let is_done =
                        |found: &LayerFinding| found.layer == LayerId(0) && found.finding.rule == signed::SIGNATURE.id;
                    verified.findings.retain(|found| !is_done(found));
                }
                // Firmware starts this program, which starts those in it.
                for inner in verified.findings.iter_mut().filter(|found| found.finding.rule == signed::SIGNATURE.id) {
                    if inner.layer != LayerId(0) {
                        inner.finding.help = "take the program out, and verify it by itself".into();
                        inner.finding.unchecked = Some("Authenticode signatures of programs inside");
                    }
                }
            }
        }
    }
    verified.checks += 1;
    verified.findings.extend(findings.into_iter().map(|finding| LayerFinding { layer: LayerId(0), finding }));
}

/// What shim demands of the generations.
fn revocations(pe: &Pe<'_>, levels: &[(String, u64)], findings: &mut Vec<Finding>) {
    let Some(text) = pe.sbat() else {
        findings.push(
            SBAT.finding("there is no section .sbat")
                .with_help("link the program with one: shim starts none without it"),
        );
        return;
    };
    let own = sbat::generations(text);
    for (name, least) in levels {
        for (_, generation) in own.iter().filter(|(own, generation)| own == name && generation < least) {
            let name = name.escape_debug();
            findings
                .push(SBAT.finding(format!("{name} is of generation {generation}, those below {least} are revoked")));
        }
    }
}

struct Check<'c> {
    firmware: &'c Firmware,
    pe: &'c Pe<'c>,
    findings: Vec<Finding>,
    /// Something could not be checked.
    unknown: bool,
}

impl Check<'_> {
    fn run(&mut self, verified: &Verified) {
        let firmware = self.firmware;
        if firmware.is_enforced == Some(false) {
            self.findings.push(NOT_ENFORCED.finding("there is no platform key, or Secure Boot is switched off"));
        }
        let unknown = firmware.allowed.unknown + firmware.forbidden.unknown;
        if unknown > 0 {
            self.findings.push(LIST.finding(format!("{unknown} entries are of a kind that kimage does not know")));
        }
        let signatures = self.pe.signatures();
        // That the digests are right was found out already.
        let is_broken = |signature: &Signature<'_>| {
            let of_digest = [signed::DIGEST.id, signed::NO_DIGEST.id];
            let is_it = |one: &&LayerFinding| one.layer == LayerId(0) && of_digest.contains(&one.finding.rule);
            verified
                .findings
                .iter()
                .filter(is_it)
                .find(|one| one.finding.offset == Some(signature.at))
                .map(|one| one.finding.rule)
        };
        let revoked = self.forbidden(&signatures);
        let is_revoked = revoked.iter().any(|one| one.rule == REVOKED.id);
        self.findings.extend(revoked);
        let (mut reasons, mut good) = (Vec::new(), Vec::new());
        if let Some((hash, digest)) = self.listed(&firmware.allowed, &signatures) {
            let name = hash.name();
            good.push(SIGNED.finding(format!("its digest is among those that are trusted: {name} {}", hex(&digest))));
            if hash != Algorithm::Sha256 && signatures.is_empty() {
                good.push(
                    DIGEST_KIND
                        .finding(format!("the digest that is trusted is {name}, of a program without a signature")),
                );
            }
        }
        for signature in &signatures {
            let name = signature.name();
            let held = match is_broken(signature) {
                Some(rule) if rule == signed::DIGEST.id => Err("the digest that it signs is another".to_owned()),
                Some(_) => Err(self.not_known("the digest that it signs was not checked".to_owned())),
                None => self.trusted(signature),
            };
            match held {
                Ok(chain) => {
                    let by: Vec<_> = chain.iter().map(Certificate::name).collect();
                    let key = chain.first().and_then(|one| one.key.as_ref().ok()).map_or("", |key| key.name());
                    let trusted = match by.as_slice() {
                        [_] => "its certificate is trusted".to_owned(),
                        all => format!(
                            "its certificate leads to {}, which is trusted",
                            all.last().map_or("", String::as_str)
                        ),
                    };
                    let hash = signature.hash_name();
                    good.push(
                        SIGNED
                            .finding(format!(
                                "signed by {name} ({hash}, {key}): digest and signature are right; {trusted}"
                            ))
                            .at(signature.at),
                    );
                    let hash = signature.hash.unwrap_or(Algorithm::Sha256);
                    good.extend(signed::of_signer(&chain, hash).into_iter().map(|one| one.at(signature.at)));
                    good.extend(chain.iter().filter_map(|one| self.validity(one)));
                }
                Err(why) => reasons.push((signature.at, format!("signed by {name}: {why}"))),
            }
        }
        let severity = if good.is_empty() { Severity::Error } else { Severity::Note };
        if reasons.is_empty() && good.is_empty() {
            let message = match self.pe.certificates().len() {
                0 => "it has no signature",
                _ => "none of its signatures can be read",
            };
            self.findings.push(UNSIGNED.finding(message));
        }
        let reasons = reasons.into_iter().map(|(at, why)| UNSIGNED.finding(why).with_severity(severity).at(at));
        self.findings.extend(reasons);
        // It is of no use then.
        if !is_revoked {
            self.findings.extend(good);
        }
    }

    fn not_known(&mut self, why: String) -> String {
        self.unknown = true;
        why
    }

    /// The digest of the program that is in a list: of one that is signed, by the hashes of its signatures, for no other is looked for.
    fn listed(&self, list: &SignatureList, signatures: &[Signature<'_>]) -> Option<(Algorithm, Vec<u8>)> {
        let is_signed = self.pe.certificate_range().is_some();
        let all = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Sha384, Algorithm::Sha512];
        all.into_iter().find_map(|hash| {
            let is_listed = list.images.iter().any(|(one, _)| *one == hash);
            if !is_listed || is_signed && !signatures.iter().any(|one| one.hash == Some(hash)) {
                return None;
            }
            let digest = self.pe.digest(hash).ok()?;
            list.images.iter().any(|(one, value)| *one == hash && *value == digest).then_some((hash, digest))
        })
    }

    /// What of the program is forbidden.
    fn forbidden(&mut self, signatures: &[Signature<'_>]) -> Vec<Finding> {
        let list = &self.firmware.forbidden;
        let mut found = Vec::new();
        if let Some((hash, digest)) = self.listed(list, signatures) {
            found.push(REVOKED.finding(format!("its digest is forbidden: {} {}", hash.name(), hex(&digest))));
        }
        for signature in signatures {
            let Some(signer) = signature.certificate() else { continue };
            let forbidden = match Way::new(signer, signature.certificates()).to(&list.certificates) {
                Ok(chain) => chain.and_then(|chain| chain.last().map(|last| last.name())),
                Err(why) => {
                    self.not_known(why);
                    None
                }
            };
            // By its hash the signer's is looked for, and the one that is trusted; no other.
            let is_listed = |one: &&Certificate| is_issued_one(list, one);
            let forbidden = forbidden.or_else(|| Some(signer).filter(is_listed).map(Certificate::name));
            if let Some(one) = signature
                .certificates()
                .iter()
                .filter(|one| *one != signer && !self.firmware.allowed.certificates.contains(one))
                .find(is_listed)
            {
                let message = format!(
                    "the hash of the certificate of {}, which {} sends along, is forbidden",
                    one.name(),
                    signature.name()
                );
                found.push(ISSUER.finding(message).at(signature.at));
            }
            if let Some(name) = forbidden {
                let message = format!(
                    "the signature of {} leads to the certificate of {name}, which is forbidden",
                    signature.name()
                );
                found.push(REVOKED.finding(message).at(signature.at));
            }
        }
        found
    }

    /// The certificates from the signer's up to one that is trusted.
    fn trusted(&mut self, signature: &Signature<'_>) -> Result<Vec<Certificate>, String> {
        match signature.check() {
            Held::Right => {}
            Held::Wrong(why) => return Err(format!("the signature does not hold, {why}")),
            Held::Unknown(why) => return Err(self.not_known(format!("the signature was not checked, {why}"))),
        }
        let signer = signature.certificate().ok_or("the signer's certificate is not there")?;
        let (list, forbidden) = (&self.firmware.allowed.certificates, &self.firmware.forbidden);
        match Way::new(signer, signature.certificates()).to(list) {
            // The first that it leads to decides.
            Ok(Some(chain)) => match chain.last().filter(|end| is_issued_one(forbidden, end)) {
                None => Ok(chain.into_iter().cloned().collect()),
                Some(end) => {
                    let name = end.name();
                    Err(format!("its certificate leads to that of {name}, which is trusted, but its hash is forbidden"))
                }
            },
            Ok(None) => Err("its certificate leads to none that is trusted".to_owned()),
            Err(why) => {
                Err(self.not_known(format!("whether its certificate leads to one that is trusted is not known: {why}")))
            }
        }
    }

    fn validity(&self, certificate: &Certificate) -> Option<Finding> {
        let (now, valid) = (self.firmware.now?, certificate.validity.as_ref()?);
        let why = match () {
            () if now < valid.start => "is not valid yet",
            () if now > valid.end => "has expired",
            () => return None,
        };
        Some(VALIDITY.finding(format!("the certificate of {} {why}", certificate.name())))
    }
}

/// Is what is signed of this certificate in a list, by its hash?
fn is_issued_one(list: &SignatureList, certificate: &Certificate) -> bool {
    list.issued.iter().any(|(hash, value)| hash.hash(&certificate.signed) == *value)
}

/// From a certificate to all that it leads to.
struct Way<'c> {
    /// Each is issued by the next.
    certificates: Vec<&'c Certificate>,
    /// What could not be checked.
    unknown: Option<String>,
}

impl<'c> Way<'c> {
    /// Through the certificates of `between`. Of several that might have issued one, the first counts: EDK2 takes no other when
    /// that leads nowhere.
    fn new(from: &'c Certificate, between: &'c [Certificate]) -> Way<'c> {
        /// More than anybody has: each may take a check of a signature.
        const MOST: usize = 16;
        let mut way = Way { certificates: vec![from], unknown: None };
        while let Some(last) = way.certificates.last().filter(|_| way.certificates.len() < MOST) {
            let next = between.iter().take(MOST).filter(|one| !way.certificates.contains(one)).find(|one| {
                last.is_issued_by(one).unwrap_or_else(|why| {
                    way.unknown = Some(why);
                    false
                })
            });
            let Some(next) = next else { break };
            way.certificates.push(next);
        }
        way
    }

    /// The part of it up to the first of these that it leads to; `None` where it leads to none. An error says what could not be checked.
    fn to(&self, ends: &'c [Certificate]) -> Result<Option<Vec<&'c Certificate>>, String> {
        let mut unknown = self.unknown.clone();
        for end in ends {
            for (last, count) in self.certificates.iter().zip(1..) {
                let part = self.certificates.iter().take(count).copied();
                if *last == end {
                    return Ok(Some(part.collect()));
                }
                match last.is_issued_by(end) {
                    Ok(true) => return Ok(Some(part.chain([end]).collect())),
                    Ok(false) => {}
                    Err(why) => unknown = Some(why),
                }
            }
        }
        unknown.map_or(Ok(None), Err)
    }
}
