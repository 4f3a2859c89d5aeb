//! Authenticode signatures put into an EFI program, and taken out of it.

use super::pcr_signature::not_added;
use super::{Assembled, Facts, rules};
use crate::bytes::{FieldError, FieldWriter, hex, len64, slice};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::bzimage::{BzImage, StandaloneImage};
use crate::format::pe::add::{AddedSection, part, with_sections};
use crate::format::pe::authenticode::{ALIGNMENT, ENTRY_HEADER, INDIRECT_DATA, entry, indirect_data};
use crate::format::pe::signed::{self, checksum};
use crate::format::pe::{Pe, sbat};
use crate::layout::{RegionKind, Reserver};
use crate::sign::certificate::Certificate;
use crate::sign::pkcs7::NewSignedData;
use crate::sign::{Algorithm, Request, Scheme, Signer};
use std::borrow::Cow;
use std::ops::Range;

/// How an EFI program is signed.
#[derive(Clone, Copy)]
pub struct EfiSigning<'k> {
    /// Has the key, or the signature.
    pub signer: &'k dyn Signer,
    /// The certificate of the key, in PEM or DER; others that are in the file go into the signature, too.
    pub certificate: &'k [u8],
    /// Files of further certificates, as of those who issued it.
    pub others: &'k [&'k [u8]],
    /// The hash of the image, and of what is signed: SHA-256, as all firmware knows it, SHA-384 or SHA-512.
    pub hash: Algorithm,
    /// In place of the signatures that are there; else behind them.
    pub replace: bool,
    /// Write `CheckSum` where the image has none (0), too.
    pub checksum: bool,
    /// The text of a section `.sbat` for an image that has none, by which shim refuses old versions.
    pub sbat: Option<&'k [u8]>,
}

impl std::fmt::Debug for EfiSigning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EfiSigning").field("hash", &self.hash).field("replace", &self.replace).finish_non_exhaustive()
    }
}

/// An EFI program with an Authenticode signature, as sbsign puts it there. No time is in it: the same program, key and certificate give
/// the same bytes. Where a sum of all bytes (`CheckSum`) is written, it is made anew; one of 0, none, stays.
///
/// # Errors
/// [`Error::NotSigned`] when the image cannot be signed, or the certificate is of another key; [`Error::Key`] of what signs.
pub fn sign_efi<'a>(image: &'a [u8], signing: &EfiSigning<'_>) -> Result<Assembled<'a>> {
    let has_sum = signing.checksum || program(image)?.value("CheckSum") != 0;
    let with_text = signing.sbat.map(|text| with_sbat(image, text, signing.replace)).transpose()?.flatten();
    let image: Cow<'a, [u8]> = with_text.map_or(Cow::Borrowed(image), Cow::Owned);
    let pe = program(&image)?;
    let table = table(&pe)?.filter(|_| !signing.replace);
    let mut certificates = Vec::new();
    for (index, file) in std::iter::once(&signing.certificate).chain(signing.others).enumerate() {
        let of_file = |error: crate::sign::Error| Error::Part { which: "CERT", index, source: Box::new(error.into()) };
        certificates.extend(Certificate::all(file).map_err(of_file)?);
    }
    if !matches!(signing.hash, Algorithm::Sha256 | Algorithm::Sha384 | Algorithm::Sha512) {
        return Err(not_signed(format!("{} is no hash for signatures", signing.hash.name()), "take sha256"));
    }
    let digest = pe.digest(signing.hash).map_err(|why| not_signed(format!("it has no digest, {why}"), BUILD_ANEW))?;
    let unfit = || not_signed("the hash cannot be signed".into(), "take sha256");
    let content = indirect_data(signing.hash, &digest).ok_or_else(unfit)?;
    // The key's certificate comes first: of several, the one whose key has made the signature.
    let (mut value, mut unknown) = (None, None);
    for index in 0..certificates.len() {
        let key = match certificates.get(index).map(|one| one.key.clone()) {
            Some(Ok(key)) => key,
            Some(Err(_)) => {
                unknown = unknown.or(Some(index));
                continue;
            }
            None => break,
        };
        let scheme = Scheme::of(signing.hash, &key)?;
        let new =
            NewSignedData { content_type: &INDIRECT_DATA, content: &content, scheme, certificates: &certificates };
        let digest = signing.hash.hash(&new.to_sign());
        let request = Request { subject: "authenticode".into(), key: String::new(), scheme, digest };
        match signing.signer.sign(&request) {
            Ok(made) if made.public.as_ref().is_none_or(|public| *public == key) => {
                certificates.swap(0, index);
                value = Some((scheme, made.value));
                break;
            }
            Ok(_) | Err(crate::sign::Error::OtherKey { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Some((scheme, value)) = value else {
        if let Some(one) = unknown.and_then(|index| certificates.get(index)) {
            let help = "take an RSA key of 2048, 3072 or 4096 bits, or one on the curve P-256 or P-384";
            return Err(not_signed(
                format!("kimage signs with no key as that of the certificate of {}", one.name()),
                help,
            ));
        }
        let names: Vec<_> = certificates.iter().map(Certificate::name).collect();
        let help = "give the certificate that was made for the key: openssl req -new -x509 -key KEY -out CERT";
        return Err(not_signed(format!("the key is not that of the certificate of {}", names.join(", ")), help));
    };
    let mut unique: Vec<Certificate> = Vec::new();
    for one in certificates {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    let new = NewSignedData { content_type: &INDIRECT_DATA, content: &content, scheme, certificates: &unique };
    let new = entry(&new.signed(&value).ok_or_else(unfit)?).ok_or_else(unfit)?;
    let mut findings = signed::of_signer(&unique, signing.hash);
    if !pe.is_hashed_in_order() {
        findings.push(signed::DIGEST_ORDER.finding("bytes lie between the sections, or these in another order"));
    }
    // Signing says that this is what shall run.
    findings.extend(BzImage::parse(&image).ok().and_then(|image| StandaloneImage::find(&image)?.open_cmdline(&image)));
    let (end, old) = match &table {
        Some(range) => (range.start, part(&image, range.clone())),
        None => (pe.certificate_range().map_or(len64(&image), |range| range.start), Cow::default()),
    };
    let signature_count = if table.is_some() { pe.certificates().len() + 1 } else { 1 };
    let signer = unique.first().map(Certificate::name);
    let facts = Facts::Efi { signer, algorithm: scheme.to_string(), digest: hex(&digest), signature_count };
    let signed = put_together(&pe, (&image, end), vec![old, new.into()], has_sum, facts)?;
    Ok(Assembled { findings, ..signed })
}

/// The image with a section `.sbat` behind all others; `None` when it has one with this text already.
fn with_sbat(image: &[u8], text: &[u8], replace: bool) -> Result<Option<Vec<u8>>> {
    if let Some(why) = sbat::fault(text) {
        let help = "begin it with: sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md, and give a line for each \
                    component: NAME,GENERATION,VENDOR,PACKAGE,VERSION,URL";
        return Err(not_signed(format!("shim would refuse the text for .sbat: {why}"), help));
    }
    let pe = program(image)?;
    if let Some(there) = pe.sbat() {
        if there == crate::bytes::until_zero(text) {
            return Ok(None);
        }
        // Lines that are left out would take back what the components' makers can revoke.
        let names: Vec<_> = sbat::generations(there).into_iter().map(|(name, it)| format!("{name},{it}")).collect();
        let why = format!("it has a section .sbat already ({})", names.join(" "));
        return Err(not_signed(
            why,
            "sign it as it is, or give the lines where the image is made: kimage uki, bzimage, zboot",
        ));
    }
    let unsigned = match table(&pe)? {
        None => Cow::Borrowed(image),
        Some(_) if replace => Cow::Owned(unsign_efi(image)?.plan.bytes()),
        Some(_) => {
            let why = "it is signed, and a section more would break the signatures that are there";
            return Err(not_signed(why.into(), "sign in place of them (`request.replace`)"));
        }
    };
    let sections = [AddedSection::new(".sbat", text)];
    let refused = |why: String, _| {
        not_signed(
            format!("a section .sbat cannot be added: {why}"),
            "give the lines where the image is made: kimage uki, bzimage, zboot",
        )
    };
    with_sections(unsigned, &sections, 0)
        .map(|plan| Some(plan.bytes()))
        .map_err(|error| not_added(error, "IMAGE", refused))
}

/// An EFI program without its signatures: as it was before it was signed, as far as that can be known. Findings say what cannot.
///
/// # Errors
/// [`Error::NotSigned`] when there is no signature, or the image is damaged.
pub fn unsign_efi(image: &[u8]) -> Result<Assembled<'_>> {
    let pe = program(image)?;
    let Some(range) = table(&pe)? else {
        return Err(not_signed("it has no signature".into(), "there is nothing to remove"));
    };
    let mut findings = Vec::new();
    // The file ended with the kernel, as its setup says, or with its last section or its symbols.
    let bzimage = BzImage::parse(image).ok().map(|image| image.system_range().1).filter(|end| *end <= range.start);
    let sections = pe.sections.iter().filter(|section| section.raw_size > 0).map(|section| section.file_range().end);
    let end = bzimage.or(sections.chain(pe.symbols_end()).max()).unwrap_or(0).max(pe.value("SizeOfHeaders"));
    let zeros = |from: u64| slice(image, from, range.start.checked_sub(from)?).filter(|it| it.iter().all(|b| *b == 0));
    let is_padding = zeros(end).is_some_and(|zeros| len64(zeros) < ALIGNMENT);
    let end = if is_padding { end } else { range.start };
    let body = slice(image, 0, end).unwrap_or_default();
    let last = body.iter().rev().take(7).take_while(|byte| **byte == 0).count();
    if !is_padding && last > 0 {
        let message = format!(
            "of the last {last} bytes, which are zeros, it is not known whether they were put there when it was signed"
        );
        findings.push(rules::NOT_AS_BEFORE.finding(message).at(len64(body) - u64::try_from(last).unwrap_or(0)));
    }
    // A kernel's build, as ours, leaves the sum out.
    let kernel =
        matches!(Format::detect(image), Some(Format::BzImage | Format::ZImage | Format::Image64(_) | Format::Zboot));
    let sum = pe.value("CheckSum") != 0 && !kernel;
    if sum {
        let message = "CheckSum was made anew: what it was before the program was signed is not known";
        findings.push(rules::NOT_AS_BEFORE.finding(message).at(pe.place("CheckSum")));
    }
    let facts = Facts::Efi { signer: None, algorithm: String::new(), digest: String::new(), signature_count: 0 };
    Ok(Assembled { findings, ..put_together(&pe, (&Cow::Borrowed(image), end), Vec::new(), sum, facts)? })
}

/// What is to be done with anything that cannot be signed as it is.
const BUILD_ANEW: &str = "take the image as it was built, and sign that";

fn not_signed(why: String, help: &'static str) -> Error {
    Error::NotSigned { why, help }
}

/// The headers of what UEFI firmware starts, and a signature may be put into.
fn program(image: &[u8]) -> Result<Pe<'_>> {
    const HELP: &str = "give an EFI program: a kernel with CONFIG_EFI_STUB, a unified kernel image, what kimage bzimage or zboot makes";
    if !Pe::detect(image) {
        return Err(not_signed("it is no EFI program (there is no PE header)".into(), HELP));
    }
    let pe = Pe::parse(image).map_err(|error| not_signed(error.to_string(), BUILD_ANEW))?;
    if pe.signed_fields().len() < 2 {
        let why = "its header has no room for signatures (NumberOfRvaAndSizes is less than 5)";
        return Err(not_signed(why.into(), "link it with a linker, or objcopy, that writes all data directories"));
    }
    Ok(pe)
}

/// Where the certificate table lies, which must be one that more can be put behind.
fn table(pe: &Pe<'_>) -> Result<Option<Range<u64>>> {
    let Some(range) = pe.certificate_range() else { return Ok(None) };
    let (start, end) = (range.start, range.end);
    let size: u64 = pe.certificates().iter().map(|one| len64(one.data) + ENTRY_HEADER).map(padded).sum();
    if end != len64(pe.bytes()) || start % ALIGNMENT != 0 || start + size != end || start < pe.headers_end() {
        let why =
            format!("its certificate table, at {start:#x} to {end:#x}, is damaged, or does not end with the file");
        return Err(not_signed(why, "take the image as it was before it was signed"));
    }
    Ok(Some(range))
}

fn padded(len: u64) -> u64 {
    len.next_multiple_of(ALIGNMENT)
}

/// The image up to `end` with these entries in its certificate table, and no others; with `CheckSum`, or 0 there.
fn put_together<'a>(
    pe: &Pe<'_>,
    (image, end): (&Cow<'a, [u8]>, u64),
    entries: Vec<Cow<'a, [u8]>>,
    has_sum: bool,
    facts: Facts,
) -> Result<Assembled<'a>> {
    let fail = |error: FieldError| Error::input("IMAGE", error);
    let fields = pe.signed_fields();
    let split = fields.iter().map(|field| field.end).max().unwrap_or(0);
    let rest = part(image, split..end.max(split));
    let body = slice(image, 0, end).unwrap_or_default();
    let size: u64 = entries.iter().map(|one| len64(one)).sum();
    let (start, padding) = match size {
        0 => (0, 0),
        _ => (padded(len64(body)), padded(len64(body)) - len64(body)),
    };
    let mut header = FieldWriter::new(slice(body, 0, split).unwrap_or_default().to_vec());
    let entry = fields.last().map_or(0, |field| field.start);
    header.narrow("CertificateTable.VirtualAddress", entry, start).map_err(fail)?;
    header.narrow("CertificateTable.Size", entry + 4, size).map_err(fail)?;
    let at = pe.place("CheckSum");
    let zeros = [0; 8];
    let zeros = zeros.get(..usize::try_from(padding).unwrap_or(0)).unwrap_or_default();
    let mut parts = vec![header.bytes(), &*rest, zeros];
    parts.extend(entries.iter().map(|one| &**one));
    let sum = if has_sum { checksum(&parts, at) } else { 0 };
    header.narrow("CheckSum", at, sum).map_err(fail)?;
    let (bytes, patches) = header.finish();
    let mut out = Reserver::new();
    out.bytes(bytes)?;
    out.bytes(rest)?;
    out.region("program", 0, RegionKind::Code);
    let mut from = out.at();
    out.fill(padding, 0)?;
    out.region("padding", from, RegionKind::Padding);
    from = out.at();
    entries.into_iter().try_for_each(|one| out.bytes(one))?;
    out.region("signatures", from, RegionKind::Digest);
    let mut assembled = Assembled::new(out.finish(), facts);
    assembled.patches = patches;
    Ok(assembled)
}
