//! Why two kernels differ: reasons in the order of a kernel's build, without their consequences.

use super::{Aspect, Change, Pair};
use crate::codec::Codec;
use crate::elf::banner_in;
use crate::format::Format;
use crate::format::uki::{Role, role_of};
use crate::inspect::flat::{is_loaded_alike, is_same_kernel};
use crate::inspect::{Kind, Layer, LayerId, Opened};

/// A reason why two files differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cause {
    /// Stable id: `config`, `compiler`, `time`.
    pub id: &'static str,
    /// In words.
    pub message: String,
    /// What can be done about it; may be empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub help: &'static str,
    /// The first file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// The second file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
}

impl Cause {
    fn new(id: &'static str, message: impl Into<String>, help: &'static str) -> Cause {
        Cause { id, message: message.into(), help, left: None, right: None }
    }

    /// The same cause with what the files have.
    fn between(self, left: Option<String>, right: Option<String>) -> Cause {
        Cause { left, right, ..self }
    }
}

/// The words of a banner (init/version.c): release, who built it where, with what, and when.
#[derive(Debug, Default, PartialEq, Eq)]
struct Banner {
    release: String,
    builder: String,
    compiler: String,
    linker: String,
    /// Build number and flags: `#1 SMP PREEMPT`.
    number: String,
    time: String,
}

/// `Linux version RELEASE (USER@HOST) (COMPILER, LINKER) #1 SMP TIME`; before Linux 5.8 the compiler alone in the brackets.
fn parse(banner: &str) -> Option<Banner> {
    let rest = banner.strip_prefix("Linux version ")?;
    let (release, rest) = rest.split_once(" (")?;
    let (builder, rest) = rest.split_once(") (")?;
    let (tools, version) = rest.rsplit_once(") #")?;
    // The compiler's own name may have a comma, the linker's has none in front of it that is followed by one.
    let split = ["GNU ld", "LLD", "gold", "mold"].iter().find_map(|name| tools.find(&format!(", {name}")));
    let (compiler, linker) = match split {
        Some(at) => (tools.get(..at)?, tools.get(at + 2..)?),
        None => (tools, ""),
    };
    const DAYS: [&str; 7] = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
    let version = version.trim_end();
    // Debian has its own version and an ISO date there.
    let time = DAYS.iter().filter_map(|day| version.find(day)).min();
    let dated = || version.find(" (20").map(|at| at + 1);
    let at = time.or_else(dated).or_else(|| version.find(' ').map(|at| at + 1)).unwrap_or(version.len());
    Some(Banner {
        release: release.to_owned(),
        builder: builder.to_owned(),
        compiler: compiler.to_owned(),
        linker: linker.to_owned(),
        number: format!("#{}", version.get(..at)?.trim_end()),
        time: version.get(at..)?.to_owned(),
    })
}

/// The reasons why the paired layers differ, the first of a kernel's build first; empty when they do not.
pub(crate) fn causes(left: &Opened<'_>, right: &Opened<'_>, pairs: &[Pair]) -> Vec<Cause> {
    let mut causes = Vec::new();
    if pairs.iter().all(|pair| pair.changes.is_empty()) {
        return causes;
    }
    config(pairs, &mut causes);
    let found = (kernel(left), kernel(right));
    if let (Some(one), Some(other)) = found {
        let (bytes, others) = (left.bytes(one), right.bytes(other));
        if bytes == others {
            around_the_kernel(left, right, (one.parent, other.parent), pairs, &mut causes);
        } else if is_loaded_alike(bytes, others) {
            let message = "the same kernel, byte for byte, in another ELF file: other section headers, or other sections \
                           beside what is loaded";
            let help = "both boot alike; strip both in the same way, with the same objcopy or with kimage strip";
            causes.push(Cause::new("elf", message, help));
            around_the_kernel(left, right, (one.parent, other.parent), pairs, &mut causes);
        } else if is_same_kernel(bytes, others) {
            let message = "the same kernel, once as an ELF file and once flat: what is loaded is equal byte for byte";
            causes.push(Cause::new("flat", message, ""));
            around_the_kernel(left, right, (one.parent, other.parent), pairs, &mut causes);
        } else {
            builds(bytes, others, pairs, &mut causes);
        }
    }
    uki_sections(left, right, pairs, &mut causes);
    header(pairs, &mut causes);
    // Another release brings other options with it: it is the reason for them, not the other way round.
    if let Some(at) = causes.iter().position(|cause| cause.id == "release") {
        causes.get_mut(..=at).unwrap_or_default().rotate_right(1);
    }
    if causes.is_empty() {
        let first = pairs.iter().rev().find(|pair| !pair.changes.is_empty());
        let what = first.map_or("", |pair| &pair.path);
        let message = format!("nothing tells why; the innermost difference is in {what}");
        causes.push(Cause::new("unknown", message, ""));
    }
    causes
}

/// The layer of the kernel itself.
fn kernel<'o>(opened: &'o Opened<'_>) -> Option<&'o Layer> {
    let part = opened.parts().iter().find(|part| part.name == "vmlinux")?;
    opened.layer(part.layer)
}

fn config(pairs: &[Pair], causes: &mut Vec<Cause>) {
    let changes = || pairs.iter().flat_map(|pair| &pair.changes);
    // The compiler writes its version into the configuration.
    let told = [
        "CONFIG_CC_VERSION_TEXT",
        "CONFIG_GCC_VERSION",
        "CONFIG_CLANG_VERSION",
        "CONFIG_AS_VERSION",
        "CONFIG_LD_VERSION",
    ];
    let own = || changes().filter(|change| change.aspect == Aspect::Option && !told.contains(&change.name.as_str()));
    let Some(first) = own().next() else { return };
    // Of many only the first are listed.
    let unlisted = |pair: &&Pair| pair.changes.iter().any(|change| change.aspect == Aspect::Option);
    let listed = u64::try_from(own().count()).unwrap_or(u64::MAX);
    let count = listed + pairs.iter().filter(unlisted).map(|pair| pair.more).sum::<u64>();
    let others = if count > 1 { format!(" and {} other options", count - 1) } else { String::new() };
    let message = format!("another configuration: {}{others}", first.name);
    let cause = Cause::new("config", message, "build with the same .config");
    causes.push(cause.between(first.left.clone(), first.right.clone()));
}

fn builds(left: &[u8], right: &[u8], pairs: &[Pair], causes: &mut Vec<Cause>) {
    let banner = |bytes: &[u8]| {
        let range = banner_in(bytes)?;
        parse(&String::from_utf8_lossy(bytes.get(range)?))
    };
    let (one, other) = (banner(left).unwrap_or_default(), banner(right).unwrap_or_default());
    let rows: [(&'static str, &str, &'static str, &String, &String); 6] = [
        ("release", "another kernel release", "build from the same sources", &one.release, &other.release),
        ("compiler", "another compiler", "build with the same compiler", &one.compiler, &other.compiler),
        ("linker", "another linker", "build with the same binutils or lld", &one.linker, &other.linker),
        (
            "builder",
            "built by another user or on another host",
            "set KBUILD_BUILD_USER and KBUILD_BUILD_HOST",
            &one.builder,
            &other.builder,
        ),
        ("number", "another build number or version text", "set KBUILD_BUILD_VERSION", &one.number, &other.number),
        ("time", "another build time", "set KBUILD_BUILD_TIMESTAMP (or SOURCE_DATE_EPOCH)", &one.time, &other.time),
    ];
    for (id, message, help, left, right) in rows {
        if left != right {
            causes.push(Cause::new(id, message, help).between(Some(left.clone()), Some(right.clone())));
        }
    }
    let initramfs = pairs.iter().find(|pair| pair.path.ends_with("/initramfs") && !pair.changes.is_empty());
    if let Some(pair) = initramfs {
        let message = format!("another built-in initial RAM disk ({})", pair.path);
        let help = "files in it may carry their times: set KBUILD_BUILD_TIMESTAMP";
        causes.push(Cause::new("initramfs", message, help));
    }
    // Who, where and when stand in a few texts; what compilers and options change is everywhere.
    let texts = |banner: &Banner| {
        let (user, host) = banner.builder.split_once('@').unwrap_or(("", ""));
        // Short words stand everywhere.
        let is_word = |word: &&str| word.len() > 3;
        let words = [host, user].into_iter().filter(is_word).map(str::to_owned);
        let version = format!("{} {}", banner.number, banner.time);
        [version, banner.builder.clone()]
            .into_iter()
            .filter(|text| text.len() > 2)
            .chain(words)
            .collect::<Vec<String>>()
    };
    // Those of both, in both: the name of one may be any word in the other.
    let mut all: Vec<String> = texts(&one).into_iter().chain(texts(&other)).collect();
    all.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let only_texts = without(left, &all) == without(right, &all);
    let is_deep =
        causes.iter().any(|cause| matches!(cause.id, "config" | "compiler" | "linker" | "release" | "initramfs"));
    if only_texts {
        if let Some(last) = causes.last_mut() {
            last.message.push_str("; nothing else in the kernel differs");
        }
    } else if !is_deep {
        let section = pairs.iter().find(|pair| pair.path.ends_with("vmlinux"));
        let section = section.and_then(|pair| pair.changes.iter().find(|change| change.aspect == Aspect::Region));
        let first = |side: fn(&Change) -> &Option<String>| {
            let shown = |section: &Change| side(section).clone().unwrap_or_default();
            section.map(|section| format!("first in {}: {}", section.name, shown(section)))
        };
        let message = "the kernel itself differs: other sources, or something that the build makes anew each time (a signing \
                       key, the seed of randomised structures, BTF)";
        causes.push(Cause::new("code", message, "").between(first(|it| &it.left), first(|it| &it.right)));
    }
}

/// The kernel without these texts, and with the build id that follows from them blanked. What follows a text up to its NUL
/// closes up, and NULs take its place: a longer one leaves less of the padding behind it.
fn without(bytes: &[u8], texts: &[String]) -> Vec<u8> {
    /// No banner is longer.
    const LONGEST: usize = 2048;
    let mut out = bytes.to_vec();
    for text in texts {
        let places: Vec<usize> = memchr::memmem::find_iter(&out, text.as_bytes()).collect();
        // From the back, so that none moves before its turn.
        for at in places.into_iter().rev() {
            let rest = out.get_mut(at..).unwrap_or_default();
            let end = rest.iter().take(LONGEST).position(|byte| *byte == 0).unwrap_or(text.len());
            let rest = rest.get_mut(..end).unwrap_or_default();
            rest.rotate_left(text.len().min(end));
            rest.get_mut(end - text.len().min(end)..).unwrap_or_default().fill(0);
        }
    }
    const NOTE: &[u8] = b"\x14\0\0\0\x03\0\0\0GNU\0";
    let notes: Vec<usize> = memchr::memmem::find_iter(bytes, NOTE).map(|at| at + NOTE.len()).collect();
    for at in notes {
        out.get_mut(at..at + 20).unwrap_or_default().fill(0);
    }
    out
}

/// The same kernel in other clothes.
fn around_the_kernel(
    left: &Opened<'_>,
    right: &Opened<'_>,
    parents: (Option<LayerId>, Option<LayerId>),
    pairs: &[Pair],
    causes: &mut Vec<Cause>,
) {
    let changed = |name: &str| pairs.iter().find(|pair| pair.path.ends_with(name) && !pair.changes.is_empty());
    if changed("/relocs").is_some() {
        let help = "make them with the relocs tool of the kernel's own sources, or with kimage relocs";
        causes.push(Cause::new("relocs", "the same kernel with other relocations", help));
    }
    let around = (containers(left, parents.0), containers(right, parents.1));
    // Another codec in the same place is told below.
    let kinds = |layers: &[&Layer]| -> Vec<Option<String>> {
        let is_stream = |layer: &Layer| matches!(layer.kind, Kind::Known(Format::Compressed(_)));
        layers.iter().map(|layer| (!is_stream(layer)).then(|| name_of(layer).to_owned())).collect()
    };
    if kinds(&around.0) != kinds(&around.1) {
        let text = |layers: &[&Layer]| match layers {
            [] => "by itself".to_owned(),
            layers => layers.iter().map(|layer| name_of(layer)).collect::<Vec<_>>().join(" in "),
        };
        let cause = Cause::new("container", "the same kernel in other containers", "");
        causes.push(cause.between(Some(text(&around.0)), Some(text(&around.1))));
        return;
    }
    let stream = pairs.iter().find(|pair| (pair.left, pair.right) == parents && !pair.changes.is_empty());
    let Some(pair) = stream.filter(|_| parents.0.is_some()) else { return };
    let layer =
        |opened: &'_ Opened<'_>, id: Option<LayerId>| id.and_then(|id| opened.layer(id)).map(|layer| layer.kind);
    let kinds = (layer(left, pair.left), layer(right, pair.right));
    let codec = |kind: Option<Kind>| match kind {
        Some(Kind::Known(Format::Compressed(codec))) => Some(codec),
        _ => None,
    };
    let codecs = (codec(kinds.0), codec(kinds.1));
    let name = |codec: Option<Codec>| codec.map_or("nothing", Codec::name).to_owned();
    if codecs == (None, None) {
        // What is around it is no compression.
    } else if codecs.0 != codecs.1 {
        let help = "set the same CONFIG_KERNEL_GZIP, CONFIG_KERNEL_XZ ...";
        let cause = Cause::new("codec", "the same kernel, compressed with another codec", help);
        causes.push(cause.between(Some(name(codecs.0)), Some(name(codecs.1))));
    } else if let Some(change) = pair.changes.iter().find(|change| change.aspect == Aspect::Codec) {
        let message = format!("the same kernel, compressed with another {}", change.name);
        causes.push(Cause::new("parameters", message, "").between(change.left.clone(), change.right.clone()));
    } else if changed("/relocs").is_none() {
        let codec = name(codecs.0);
        let message = format!("the same kernel, compressed by another version of {codec}, or at another level");
        let help = "kimage compress makes the same bytes everywhere; lzop writes the time into its header";
        causes.push(Cause::new("compressor", message, help));
    }
}

/// The layers from this one to the outermost.
fn containers<'o>(opened: &'o Opened<'_>, first: Option<LayerId>) -> Vec<&'o Layer> {
    let layer = |id: LayerId| opened.layer(id);
    std::iter::successors(first.and_then(layer), |one| one.parent.and_then(layer)).collect()
}

/// What the layer is, without what varies within its kind.
fn name_of(layer: &Layer) -> &str {
    layer.title.split(',').next().unwrap_or_default()
}

/// What a unified kernel image, or an addon, has beside its kernel.
fn uki_sections(left: &Opened<'_>, right: &Opened<'_>, pairs: &[Pair], causes: &mut Vec<Cause>) {
    let is_uki = |opened: &Opened<'_>, id: Option<LayerId>| {
        let kind = id.and_then(|id| opened.layer(id)).map(|layer| layer.kind);
        matches!(kind, Some(Kind::Known(Format::Uki | Format::Pe)))
    };
    let is_one = |change: &&Change| {
        change.aspect == Aspect::Region && role_of(change.name.as_bytes()).is_some_and(|(_, role)| role != Role::Linux)
    };
    for pair in pairs.iter().filter(|pair| is_uki(left, pair.left) && is_uki(right, pair.right)) {
        let mut names: Vec<&str> = pair.changes.iter().filter(is_one).map(|change| change.name.as_str()).collect();
        names.dedup();
        if !names.is_empty() {
            let message = format!("other contents in the unified kernel image: {}", names.join(", "));
            causes.push(Cause::new("section", message, ""));
        }
    }
}

/// What a container or a signature adds.
fn header(pairs: &[Pair], causes: &mut Vec<Cause>) {
    let find = |name: &str| {
        let mut facts = pairs.iter().flat_map(|pair| &pair.changes).filter(|change| change.aspect == Aspect::Fact);
        facts.find(|change| change.name == name)
    };
    for (name, id, message, help) in [
        ("release", "release", "another kernel release", "build from the same sources"),
        ("gzip_time", "gzip_time", "another time in the header of gzip", "compress with gzip -n"),
        ("ih_time", "container_time", "another time in the header of the uImage", "set SOURCE_DATE_EPOCH"),
        ("timestamp", "container_time", "another time in the FIT", "set SOURCE_DATE_EPOCH"),
        ("signatures", "signature", "signed differently", ""),
        ("signature_table", "signature", "signed differently", ""),
    ] {
        if let Some(change) = find(name).filter(|_| !causes.iter().any(|cause| cause.id == id)) {
            causes.push(Cause::new(id, message, help).between(change.left.clone(), change.right.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners() {
        let banner = parse(
            "Linux version 6.1.0-50-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld (GNU \
             Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-10-09)\n",
        )
        .unwrap();
        assert_eq!(banner.compiler, "gcc-12 (Debian 12.2.0-14) 12.2.0");
        assert_eq!(banner.linker, "GNU ld (GNU Binutils for Debian) 2.40");
        assert_eq!(banner.number, "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1");
        assert_eq!(banner.time, "(2026-10-09)");
        let banner =
            parse("Linux version 5.10.223 (a@b) (gcc (Debian 12.2.0) 12.2.0) #7 SMP Sat Nov 21 10:00:00 UTC 2026")
                .unwrap();
        assert_eq!((&*banner.number, &*banner.time), ("#7 SMP", "Sat Nov 21 10:00:00 UTC 2026"));
        assert_eq!((&*banner.compiler, &*banner.linker), ("gcc (Debian 12.2.0) 12.2.0", ""));
    }
}
