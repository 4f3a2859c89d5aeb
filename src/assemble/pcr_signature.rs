//! Signatures of what a TPM's register 11 comes to, put into a unified kernel image.

use super::{Assembled, Facts, rules};
use crate::bytes::{FieldWriter, len64, slice};
use crate::error::{Error, Result};
use crate::format::pe::add::{AddedSection, NotAdded, with_sections};
use crate::format::pe::write::CODE;
use crate::format::pe::{Pe, PeSection};
use crate::format::tpm::BANKS;
use crate::format::uki::measured::{Boot, Groups, Hashes, PcrKey, Section, Stub, sections, signatures};
use crate::format::uki::{DTBAUTO, LINUX, PCRPKEY, PCRSIG, PROFILE, role_of};
use crate::sign::{Algorithm, PublicKey};

/// How the register's values are signed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PcrSigning<'k> {
    /// The banks: SHA-1, SHA-256, SHA-384, SHA-512; none for all of them.
    pub banks: &'k [Algorithm],
    /// The release of systemd whose stub it is, whatever the file says.
    pub stub_version: Option<u32>,
    /// The keys that sign; their signatures stand beside each other.
    pub keys: &'k [PcrKey<'k>],
}

/// A unified kernel image with signatures of what register 11 comes to when it boots, in `.pcrsig` of each profile, and the public
/// key in `.pcrpkey`, where there is none: what ukify puts there. Signatures that were there are replaced.
///
/// # Errors
/// [`Error::NotMeasured`] where the register is not known, or the image is none or is signed for Secure Boot; [`Error::Key`] of what
/// signs.
pub fn sign_pcrs<'a>(image: &'a [u8], signing: &PcrSigning<'_>) -> Result<Assembled<'a>> {
    const AGAIN: &str = "make the image again";
    let pe = Pe::parse(image).map_err(|error| Error::input("FILE", error))?;
    if pe.section(LINUX).is_none() {
        let help = "give a unified kernel image, as kimage uki or ukify makes it";
        return Err(refused("it is no unified kernel image (it has no section .linux)", help));
    }
    if pe.certificate_range().is_some() {
        let why = "it is signed for Secure Boot, which each change breaks";
        return Err(refused(why, "take that signature out, and sign for Secure Boot last"));
    }
    // What was added to the stub is taken off, and put there again with what is new between it.
    let first = pe.sections.iter().position(|one| role_of(one.name()).is_some()).unwrap_or(0);
    let (base, rest) = pe.sections.split_at(first);
    let end = base.iter().filter(|one| one.raw_size > 0).map(|one| one.file_range().end).max().unwrap_or(0);
    let is_behind = rest.iter().all(|one| u64::from(one.raw_at) >= end);
    let is_sorted = |place: fn(&PeSection) -> u32| rest.iter().map(place).is_sorted();
    if !is_behind || !is_sorted(|one| one.virtual_address) || !is_sorted(|one| one.raw_at) {
        return Err(refused("its sections do not stand behind the stub, one behind the other", AGAIN));
    }
    let mut added = Vec::new();
    for section in rest {
        let name = String::from_utf8_lossy(section.name()).into_owned();
        if section.virtual_size > section.raw_size {
            return Err(refused(format!("{name} is longer in memory than in the file"), AGAIN));
        }
        let Some(contents) = slice(image, section.raw_at.into(), section.virtual_size.into()) else {
            return Err(refused(format!("{name} lies outside of the file"), AGAIN));
        };
        if name != PCRSIG {
            added.push(AddedSection { is_code: section.flags & CODE != 0, ..AddedSection::new(name, contents) });
        }
    }
    let program = without(&pe, first, end)?;
    let signed = with_signatures(&program, &mut added, signing)?;
    let mut findings = Vec::new();
    if let Some(there) = pe.section(PCRPKEY.as_bytes()).and_then(|section| pe.contents(section)) {
        let key = PublicKey::from_pem(there);
        if !signing.keys.iter().any(|one| key.as_ref().is_ok_and(|key| key == one.public)) {
            findings.push(rules::OTHER_PCRPKEY.finding("the key in .pcrpkey is none of those that sign"));
        }
    }
    let plan = with_sections(program.into(), &added, 0).map_err(|error| not_added(error, "FILE", refused))?;
    let facts = Facts::PcrSignature { policies: signed.policies, profiles: signed.profiles };
    Ok(Assembled { findings, ..Assembled::new(plan, facts) })
}

/// What was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed {
    /// Policies, each of a phase in a bank.
    pub(crate) policies: usize,
    /// Profiles that the image has.
    pub(crate) profiles: usize,
}

/// Puts `.pcrsig` among the sections that are to be added to a stub, and `.pcrpkey` where that is not there and one key signs.
///
/// # Errors
/// [`Error::NotMeasured`] where the register is not known; [`Error::Key`] of what signs.
pub(crate) fn with_signatures(
    stub: &[u8],
    added: &mut Vec<AddedSection<'_>>,
    signing: &PcrSigning<'_>,
) -> Result<Signed> {
    let pe = Pe::parse(stub).map_err(|error| Error::input("FILE", error))?;
    let all: Vec<_> = BANKS.iter().map(|(bank, _)| *bank).collect();
    let banks = if signing.banks.is_empty() { &all } else { signing.banks };
    let shared = added.iter().position(|one| one.name == PROFILE).unwrap_or(added.len());
    if let ([key], false) = (signing.keys, added.iter().take(shared).any(|one| one.name == PCRPKEY)) {
        // As ukify: in front of the kernel, unless that is a part of the stub and may not move.
        let kernel = added.iter().position(|one| one.name == ".linux").filter(|at| (1..shared).contains(at));
        let pem = key.public.pem().ok_or_else(|| refused("a key is not RSA", "sign with an RSA key of 2048 bits"))?;
        added.insert(kernel.unwrap_or(shared), AddedSection::new(PCRPKEY, pem.into_bytes()));
    }
    let mut measured = sections(&pe).map_err(|why| refused(why, "take another stub"))?;
    measured.retain(|one| one.name == DTBAUTO || added.iter().all(|new| new.name != one.name));
    measured.extend(added.iter().map(|one| Section { name: one.name.to_string(), contents: one.parts(), zeros: 0 }));
    let known = signing.stub_version.map_or_else(|| Stub::of(&pe), Stub::of_release);
    let Some(order) = known.order(&measured) else {
        let why = format!("the order of the sections of {} is not known", known.name.as_deref().unwrap_or("this stub"));
        return Err(refused(why, "say which stub it is (`request.stub_version`)"));
    };
    let mut hashes = Hashes::new(banks);
    let groups = Groups::new(&measured);
    let (profiles, mut policies, mut texts) = (groups.profile_count(), 0, Vec::new());
    for number in 0..profiles.max(1) {
        let Some(boot) = Boot::new(&groups, number) else { continue };
        let made = signatures(&boot, &order, signing.keys, &mut hashes)?;
        policies += made.count();
        texts.push(made.text());
    }
    // Each at the end of its group.
    let mut at = added.len();
    for text in texts.into_iter().rev() {
        added.insert(at, AddedSection::new(PCRSIG, text.into_bytes()));
        at = added.iter().take(at).rposition(|one| one.name == PROFILE).unwrap_or(0);
    }
    Ok(Signed { policies, profiles })
}

/// The program with its first `count` sections alone, which end at `end` in the file.
fn without(pe: &Pe<'_>, count: usize, end: u64) -> Result<Vec<u8>> {
    let damaged = |error| Error::input("FILE", error);
    let gone = pe.sections.get(count..).unwrap_or_default();
    let headers = pe.value("SizeOfHeaders");
    let mut out =
        FieldWriter::new(slice(pe.bytes(), 0, end.max(headers).min(len64(pe.bytes()))).unwrap_or_default().to_vec());
    let of_gone: u64 = gone.iter().map(|one| u64::from(one.virtual_size)).sum();
    let initialized = pe.value("SizeOfInitializedData").saturating_sub(of_gone);
    out.narrow("SizeOfInitializedData", pe.place("SizeOfInitializedData"), initialized).map_err(damaged)?;
    let left = u16::try_from(count).unwrap_or(u16::MAX);
    out.u16("NumberOfSections", pe.place("NumberOfSections"), left).map_err(damaged)?;
    for section in gone {
        for word in (section.at..).step_by(4).take(10) {
            out.u32("section header", word, 0).map_err(damaged)?;
        }
    }
    Ok(out.finish().0)
}

/// Why sections were not added to `which`.
pub(super) fn not_added(
    error: NotAdded,
    which: &'static str,
    refused: impl FnOnce(String, &'static str) -> Error,
) -> Error {
    match error {
        NotAdded::Field(error) => Error::input(which, error),
        NotAdded::Layout(error) => error.into(),
        NotAdded::Refused { why, help } => refused(why, help),
    }
}

fn refused(why: impl Into<String>, help: &'static str) -> Error {
    Error::NotMeasured { why: why.into(), help }
}
