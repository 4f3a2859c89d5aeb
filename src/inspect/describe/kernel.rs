//! What is inside a kernel, with or without ELF headers: banner, configuration, built-in initial RAM disk.

use super::{Child, Context, Decoded, Described};
use crate::bytes::{Endian, len64, slice, slice_at};
use crate::codec::Codec;
use crate::elf::{banner_in, notes_around};
use crate::format::fdt::Behind;
use crate::format::{Format, btf};
use crate::inspect::{Fact, Kind};
use crate::layout::{Region, RegionKind};
use crate::payload::search::Tried;
use std::ops::Range;

/// How the configuration in a kernel begins and ends (kernel/configs.c); between them is a gzip file.
const CONFIG_BEGIN: &[u8] = b"IKCFG_ST";
const CONFIG_END: &[u8] = b"IKCFG_ED";

/// How a cpio archive of the kernel's build begins ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).
const CPIO: &[u8] = b"070701";

/// The facts that looking into a kernel adds.
pub(super) const INSIDE: &[&str] = &["release", "banner", "config_built_in", "initramfs_built_in", "build_id"];

/// A kernel that has no header: flat, as ARM's `Image`. Device trees behind it (MIPS: `RAW_APPENDED_DTB`) are none of it.
pub(super) fn describe_flat(bytes: &[u8]) -> Described {
    let mut described = Described::new(Kind::Kernel, "kernel without a header (flat Image)");
    let behind = Behind::at_end(bytes).unwrap_or_default();
    described.part("vmlinux", 0..behind.start(bytes));
    described.behind(bytes, &behind, 0);
    fill_gaps(&mut described.regions, len64(bytes), "kernel", RegionKind::Code);
    described.later(INSIDE, |bytes, context, described| {
        let behind = Behind::at_end(bytes).unwrap_or_default();
        look_inside_flat(slice(bytes, 0, behind.start(bytes)).unwrap_or(bytes), context, described);
        described.regions = child_regions(&described.children);
        described.regions.extend(behind.regions(0));
        fill_gaps(&mut described.regions, len64(bytes), "kernel", RegionKind::Code);
    });
    described
}

/// The same in a kernel whose sections nothing tells apart.
pub(super) fn look_inside_flat(bytes: &[u8], context: &Context<'_>, described: &mut Described) {
    let whole = 0..len64(bytes);
    let all = std::slice::from_ref(&whole);
    describe_inside(bytes, all, all, None, context, described);
    if let Some((head, at, order)) = scan_build_id(bytes) {
        let id = slice_at(bytes, &at).unwrap_or_default();
        let fact = Fact::new("build_id", crate::inspect::Value::Bytes(id.to_vec()));
        described.facts.push(fact.meaning("found by the head of its note").at(at.start, len64(id)));
        described.part("notes", notes_around(bytes, head, order));
    }
}

/// Finds what a kernel carries. `loaded` are the ranges of `bytes` that are loaded, `init` those where an initial RAM
/// disk may be.
pub(super) fn describe_inside(
    bytes: &[u8],
    loaded: &[Range<u64>],
    init: &[Range<u64>],
    endian: Option<Endian>,
    context: &Context<'_>,
    described: &mut Described,
) {
    let part = |range: &Range<u64>| slice_at(bytes, range).unwrap_or(&[]);
    let banner = loaded.iter().find_map(|range| {
        let found = banner_in(part(range))?;
        let start = range.start + u64::try_from(found.start).ok()?;
        Some(start..start + u64::try_from(found.len()).ok()?)
    });
    if let Some(at) = banner {
        let text = String::from_utf8_lossy(part(&at)).into_owned();
        let release = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
        let release_at = at.start + len64(crate::elf::BANNER);
        described.facts.push(Fact::new("release", release.as_str()).at(release_at, len64(release.as_bytes())));
        described.facts.push(Fact::new("banner", text).at(at.start, at.end - at.start));
        described.part("banner", at);
        if let Some(at) = btf::find(bytes) {
            described.part("btf", at);
        }
    }
    if let Some(at) = loaded.iter().find_map(|range| find_config(bytes, range)) {
        described
            .facts
            .push(Fact::new("config_built_in", true).meaning("CONFIG_IKCONFIG").at(at.start, at.end - at.start));
        let kind = Kind::Known(Format::Compressed(Codec::Gzip));
        let child = Child::range("config", at).kind(kind);
        described.children.push(Child { contents: Some(Kind::Config), ..child });
    } else {
        described.facts.push(Fact::new("config_built_in", false));
    }
    if let Some(found) = init.iter().find_map(|range| find_initramfs(bytes, range, endian, context)) {
        let (start, len) = (found.at.start, found.at.end - found.at.start);
        described.facts.push(Fact::number("initramfs_built_in", len).meaning("bytes").at(start, len));
        let child = Child::range("initramfs", found.at).part("initramfs");
        let child = match found.codec {
            Some(codec) => child.kind(Kind::Known(Format::Compressed(codec))),
            None => child,
        };
        let child = if found.sized { child } else { child.scanned() };
        described.children.push(Child { decoded: found.decoded, ..child });
    }
}

/// The gzip file between the two marks.
fn find_config(bytes: &[u8], range: &Range<u64>) -> Option<Range<u64>> {
    let inside = slice_at(bytes, range)?;
    // What begins behind the last mark of an end has none.
    let inside = inside.get(..memchr::memmem::rfind(inside, CONFIG_END)? + CONFIG_END.len())?;
    memchr::memmem::find_iter(inside, CONFIG_BEGIN).find_map(|at| {
        let start = at + CONFIG_BEGIN.len();
        let rest = inside.get(start..).filter(|rest| Codec::detect(rest) == Some(Codec::Gzip))?;
        let len = memchr::memmem::find(rest, CONFIG_END)?;
        let start = range.start + u64::try_from(start).ok()?;
        Some(start..start + u64::try_from(len).ok()?)
    })
}

struct Initramfs {
    at: Range<u64>,
    codec: Option<Codec>,
    decoded: Option<Decoded>,
    /// Does the size behind it (`__initramfs_size`) agree?
    sized: bool,
}

/// The archive that usr/initramfs_data.S puts between `__initramfs_start` and `__initramfs_size`, at a multiple of 4; the
/// size follows at a multiple of 8. The stripped kernel has no symbol for it: every magic number is a candidate, and is
/// one no longer when what it decodes to is no archive.
fn find_initramfs(
    bytes: &[u8],
    range: &Range<u64>,
    endian: Option<Endian>,
    context: &Context<'_>,
) -> Option<Initramfs> {
    let inside = slice_at(bytes, range)?;
    let absolute = |at: usize| Some(range.start + u64::try_from(at).ok()?);
    // A candidate that is followed by its own size is beyond doubt; the first of the others may do.
    let mut doubtful = None;
    let mut end = 0;
    for at in memchr::memmem::find_iter(inside, CPIO).filter(|at| at % 4 == 0) {
        let start = absolute(at)?;
        // Each entry of an archive begins as one.
        if start < end {
            continue;
        }
        let Some(len) = inside.get(at..).and_then(crate::format::cpio::archive_len) else { continue };
        end = start + len;
        // The build's archive is padded to whole blocks of 512 bytes.
        let padded = len.next_multiple_of(512);
        for len in [len, padded] {
            let at = start..start + len;
            if size_follows(bytes, &at, endian) {
                return Some(Initramfs { at, codec: None, decoded: None, sized: true });
            }
        }
        doubtful.get_or_insert(Initramfs { at: start..start + len, codec: None, decoded: None, sized: false });
    }
    for codec in Codec::ALL {
        let candidates = memchr::memmem::find_iter(inside, codec.magic());
        for at in candidates.filter(|at| at % 4 == 0) {
            let Some(rest) = inside.get(at..).filter(|rest| Codec::detect(rest) == Some(codec)) else { continue };
            let start = absolute(at)?;
            let judge = |tried: &Tried| {
                // Some builds put their size trailer behind it.
                let ends = [0, 4].map(|extra| start + tried.inflated.consumed + extra);
                let sized = ends.into_iter().find(|end| size_follows(bytes, &(start..*end), endian));
                // The first that is doubtful is kept, and no other.
                let doubt = doubtful.is_none().then_some(start + tried.inflated.consumed);
                let (end, sized) = sized.map(|end| (end, true)).or(doubt.map(|end| (end, false)))?;
                Some((end, sized, tried.inflated))
            };
            let is_archive = |first: &[u8]| first.starts_with(CPIO);
            let found = context.budget.search(codec, rest, context.left, is_archive, judge);
            let Some(((end, sized, inflated), data)) = found else { continue };
            let found =
                Initramfs { at: start..end, codec: Some(codec), decoded: Some(Decoded { data, inflated }), sized };
            if sized {
                return Some(found);
            }
            doubtful = Some(found);
        }
    }
    doubtful
}

fn size_follows(bytes: &[u8], at: &Range<u64>, endian: Option<Endian>) -> bool {
    size_word(bytes, at, endian).is_some()
}

/// Where the size of the built-in RAM disk `at` stands behind it, 32 bits in that byte order; behind zeros, where a smaller one
/// has taken the place of the one that the build put there.
pub(crate) fn size_word(bytes: &[u8], at: &Range<u64>, endian: Option<Endian>) -> Option<(u64, Endian)> {
    let size = u32::try_from(at.end - at.start).ok()?;
    // Addresses and file offsets agree modulo 8.
    let behind = at.end.checked_next_multiple_of(8)?;
    let is = |at: u64, wanted: [u8; 4]| slice(bytes, at, 4) == Some(&wanted);
    let found = |at: u64| match () {
        () if endian != Some(Endian::Big) && is(at, size.to_le_bytes()) => Some((at, Endian::Little)),
        () if endian == Some(Endian::Little) => None,
        () if is(at, size.to_be_bytes()) => Some((at, Endian::Big)),
        // 64 bits wide.
        () => (is(at, [0; 4]) && is(at + 4, size.to_be_bytes())).then_some((at + 4, Endian::Big)),
    };
    found(behind).or_else(|| {
        let rest = slice(bytes, behind, len64(bytes).checked_sub(behind)?)?;
        let zeros = u64::try_from(rest.iter().position(|byte| *byte != 0)?).ok()?;
        found((behind + zeros) / 8 * 8)
    })
}

/// A GNU build id by the head of its note (name size 4, 20 bytes, type 3, `GNU`): where the note begins and the id is, and
/// in which byte order.
fn scan_build_id(bytes: &[u8]) -> Option<(u64, Range<u64>, Endian)> {
    const LITTLE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    const BIG: &[u8] = b"\0\0\0\x04\0\0\0\x14\0\0\0\x03GNU\0";
    [(LITTLE, Endian::Little), (BIG, Endian::Big)].into_iter().find_map(|(head, order)| {
        let note = u64::try_from(memchr::memmem::find(bytes, head)?).ok()?;
        let at = note.checked_add(len64(head))?;
        slice(bytes, at, 20).map(|_| (note, at..at + 20, order))
    })
}

/// Does a text begin as the kernel's configuration tool begins it? (scripts/kconfig/confdata.c: from Linux 3.1 on, and
/// before.)
pub(super) fn is_config(bytes: &[u8]) -> bool {
    const NEW: &[u8] = b"#\n# Automatically generated file; DO NOT EDIT.\n";
    const OLD: &[u8] = b"#\n# Automatically generated make config: don't edit\n";
    bytes.starts_with(NEW) || bytes.starts_with(OLD)
}

/// Options that are set, and those of them that are modules.
pub(super) fn config_options(bytes: &[u8]) -> (u64, u64) {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"CONFIG_"))
        .fold((0, 0), |(set, modules), line| (set + 1, modules + u64::from(line.ends_with(b"=m"))))
}

/// The regions that the layers inside stand in.
pub(super) fn child_regions(children: &[Child]) -> Vec<Region> {
    let mut regions: Vec<Region> = children
        .iter()
        .filter_map(|child| match &child.content {
            super::Content::Range(at) if at.start < at.end => {
                Some(Region::new(child.name.clone(), at.clone(), RegionKind::Data))
            }
            _ => None,
        })
        .collect();
    regions.sort_by_key(|region| region.at.start);
    regions
}

/// Adds regions of this name where `regions`, which are in order, leave gaps in `0..len`.
pub(super) fn fill_gaps(regions: &mut Vec<Region>, len: u64, name: &'static str, kind: RegionKind) {
    let mut gaps = Vec::new();
    let mut at = 0;
    for region in regions.iter() {
        if region.at.start > at {
            gaps.push(at..region.at.start);
        }
        at = at.max(region.at.end);
    }
    if at < len {
        gaps.push(at..len);
    }
    let numbered = gaps.len() > 1;
    for (index, gap) in gaps.into_iter().enumerate() {
        let title = if numbered { format!("{name}[{index}]").into() } else { std::borrow::Cow::Borrowed(name) };
        regions.push(Region::new(title, gap, kind));
    }
    regions.sort_by_key(|region| region.at.start);
}
