//! Does an image contain exactly this kernel?

use super::{LayerFinding, Verified};
use crate::bytes::{hex, len64};
use crate::elf::{Elf, KERNEL_REMOVES, RelocOptions, RemoveList, StripOptions, relocs, strip};
use crate::finding::{Checks, rules};
use crate::format::pe::Pe;
use crate::inspect::abi::kernel;
use crate::inspect::flat::{flat_forms, is_loaded_alike};
use crate::inspect::rules::LIMIT;
use crate::inspect::{LayerId, Opened};
use crate::payload::{RelocForm, emit_relocs, parse_relocs, points_into};
use std::borrow::Cow;

rules! {
    pub(super) RULES:
    HAS_KERNEL = "against.none", Error, "kernel to compare",
        "nothing was compared",
        "give a file with a kernel in it";
    SAME_KERNEL = "against.kernel", Error, "kernel",
        "the image boots another kernel than this one",
        "make the image again from this vmlinux";
    SAME_RELOCS = "against.relocs", Error, "relocations",
        "the image boots this kernel, but does not survive being moved (KASLR)",
        "make the image again from this vmlinux";
    RELOCS_UNKNOWN = "against.relocs_unknown", Note, "relocations",
        "this vmlinux has lost them, so they could not be compared (the build leaves them in vmlinux.unstripped); \
         what the image's relocations point to fits the kernel",
        "give vmlinux.unstripped of the same build to compare them";
}

/// Holds the kernel in `image` against `reference`: the kernel's own vmlinux, which is stripped as the kernel's build does, or
/// another image, whose kernel is taken out. Kernels are the same that come to the same memory, however their files are
/// laid out.
pub fn against(image: &Opened<'_>, reference: &Opened<'_>) -> Verified {
    let mut checks = Checks::default();
    let layer = compare(image, reference, &mut checks).unwrap_or(LayerId(0));
    let checks_count = checks.count();
    let findings = checks.into_findings().into_iter().map(|finding| LayerFinding { layer, finding }).collect();
    Verified { checks: checks_count, findings }
}

fn compare(image: &Opened<'_>, reference: &Opened<'_>, checks: &mut Checks) -> Option<LayerId> {
    let (have, want) = (kernel(image), kernel(reference));
    checks.expect(&HAS_KERNEL, None, have.is_some(), none("the image", image), "a kernel");
    checks.expect(&HAS_KERNEL, None, want.is_some(), none("what it is held against", reference), "a kernel");
    let ((have, kernel), (want, other)) = (have?, want?);
    let (kernel, other) = (unsigned(kernel), unsigned(other));
    // The one of the two that the build made something of, and what it can have made of the other.
    let (made, from) = match (Elf::detect(&kernel), Elf::detect(&other)) {
        (true, false) => (&other, &kernel),
        _ => (&kernel, &other),
    };
    let candidates = as_built(from, Elf::detect(made));
    // Another layout of the file, as packing makes it of one without section headers, is no other kernel.
    let kept = candidates.iter().any(|candidate| candidate == made) || is_loaded_alike(&kernel, &other);
    let nearest = candidates.iter().max_by_key(|candidate| same_len(candidate, made));
    let (at, found, wanted) = match nearest {
        Some(nearest) if !kept => {
            let at = len64(made.get(..same_len(nearest, made)).unwrap_or(&[]));
            let place = section_at(made, at);
            let build = |opened: &Opened<'_>, id: LayerId| {
                let fact = opened.layer(id).and_then(|layer| layer.facts.get("build_id"));
                fact.map_or_else(|| "none".to_owned(), super::super::Fact::text)
            };
            let (found, wanted) = (build(image, have), build(reference, want));
            let bytes = format!("{} bytes, the first difference at {at:#x}{place}; build id {found}", kernel.len());
            (
                Some(at),
                bytes,
                format!("{} bytes, build id {wanted}", if made == &kernel { nearest.len() } else { other.len() }),
            )
        }
        _ => (None, String::new(), String::new()),
    };
    checks.expect(&SAME_KERNEL, at, kept, found, wanted);
    if kept {
        compare_relocs(image, reference, &other, checks);
    }
    Some(have)
}

/// What is said of a file in which no kernel was found.
fn none(of: &str, opened: &Opened<'_>) -> String {
    let is_cut = opened.layers().iter().any(|layer| layer.findings.iter().any(|finding| finding.rule == LIMIT.id));
    if is_cut { format!("none in as much of {of} as was looked at") } else { format!("none in {of}") }
}

fn compare_relocs(image: &Opened<'_>, reference: &Opened<'_>, vmlinux: &[u8], checks: &mut Checks) {
    let part = |opened: &Opened<'_>| {
        opened.parts().iter().find(|part| part.name == "relocs").map(|part| opened.part_bytes(part).to_vec())
    };
    let found = part(image);
    let is_vmlinux = reference.layers().len() == 1 || reference.parts().iter().any(|part| part.layer == LayerId(0));
    let wanted = match (part(reference), Elf::parse(vmlinux)) {
        (Some(table), _) => Some(table),
        (None, Ok(elf)) => relocs(&elf, RelocOptions::default()).ok().and_then(|table| {
            let mut bytes = Vec::new();
            emit_relocs(&table, RelocForm::Binary, &mut bytes).ok().map(|()| bytes)
        }),
        (None, Err(_)) => None,
    };
    let show = |table: &Option<Vec<u8>>| match table {
        Some(table) => format!("{} bytes, SHA-256 {}", table.len(), digest(table)),
        None => "none".to_owned(),
    };
    match (&found, &wanted) {
        (Some(table), None) if is_vmlinux => {
            let fits = Elf::parse(vmlinux).ok().and_then(|elf| {
                let table = parse_relocs(table, 0, elf.is_64()).ok()?.table;
                Some(points_into(&elf, &table).is_right())
            });
            checks.expect(&SAME_RELOCS, None, fits == Some(true), "a table that does not fit", "one of this kernel");
            checks.expect(&RELOCS_UNKNOWN, None, fits != Some(true), show(&found), "those of the vmlinux");
        }
        // A vmlinux that was linked with --emit-relocs says nothing of whether the image should have a table.
        (None, Some(_)) if is_vmlinux => {}
        _ => checks.expect(&SAME_RELOCS, None, found == wanted, show(&found), show(&wanted)),
    }
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(sha2::Sha256::digest(bytes).get(..8).unwrap_or(&[]))
}

/// What the kernel's build makes of a kernel: as it is, stripped, or flat.
fn as_built(bytes: &[u8], is_elf: bool) -> Vec<Cow<'_, [u8]>> {
    let mut all = vec![Cow::Borrowed(bytes)];
    let Ok(elf) = Elf::parse(bytes) else { return all };
    if is_elf {
        if let Ok(remove) = RemoveList::new(KERNEL_REMOVES) {
            let options = StripOptions { remove, ..StripOptions::default() };
            all.extend(strip(&elf, &options).ok().map(|plan| Cow::Owned(plan.bytes())));
        }
        return all;
    }
    all.extend(flat_forms(bytes).into_iter().map(Cow::Owned));
    all
}

/// An `Image` as it was before it was signed.
fn unsigned(bytes: &[u8]) -> Cow<'_, [u8]> {
    let plain = Pe::find(bytes).and_then(|pe| pe.unsigned(pe.certificate_range()?.start));
    plain.map_or(Cow::Borrowed(bytes), Cow::Owned)
}

fn same_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// ` in section .data`.
fn section_at(kernel: &[u8], at: u64) -> String {
    let Ok(elf) = Elf::parse(kernel) else { return String::new() };
    let section = elf.sections().iter().find(|section| {
        let holds = elf.contents(section).is_ok_and(|contents| !contents.is_empty());
        holds && (section.offset..section.offset.saturating_add(section.size)).contains(&at)
    });
    section.map_or(String::new(), |section| format!(" (section {})", section.name()))
}
