//! `kimage diff`: the reason is found, and not only its consequences.

use crate::schema;
use crate::support::{self, Tree, kimage, run, run_ok, stdout, tempdir, testdata};
use crate::{elf_builder, files};
use kimage::codec::{Codec, Parameters};
use kimage::inspect::diff::{Aspect, Diff, diff};
use kimage::inspect::{Limits, open};
use kimage::report::{Style, json_schema, write_diff_json, write_diff_text};
use std::fs;

fn compare(left: &[u8], right: &[u8]) -> Diff {
    let limits = Limits::default();
    let found = diff(&open(left, &limits).unwrap(), &open(right, &limits).unwrap());
    let mut json = Vec::new();
    write_diff_json(["a", "b"], &found, &mut json).unwrap();
    schema::assert_valid(json_schema("diff").unwrap(), &serde_json::from_slice(&json).unwrap());
    found
}

fn ids(found: &Diff) -> Vec<&str> {
    found.causes.iter().map(|cause| cause.id).collect()
}

/// A kernel as its payload has it, of an x86 tree.
fn payload(tree: &Tree) -> Vec<u8> {
    let bytes = tree.read("arch/x86/boot/bzImage");
    let opened = open(&bytes, &Limits::default()).unwrap();
    let payload = opened.layers().iter().find(|layer| layer.name == "payload").unwrap();
    opened.contents(payload.id).unwrap().to_vec()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(bytes, from.as_bytes()).collect();
    assert!(!places.is_empty(), "{from}");
    places.into_iter().for_each(|at| out[at..at + from.len()].copy_from_slice(to.as_bytes()));
    out
}

fn packed(bytes: &[u8], codec: Codec, level: u32) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(bytes, &Parameters { level: Some(level), ..Parameters::default() }, &mut out).unwrap();
    out
}

/// One kernel, changed as another build would change it.
#[test]
fn the_first_cause() {
    let Some(tree) = support::tree("5.10-x86_64") else { return };
    let kernel = payload(tree);
    let pack = |bytes: &[u8]| packed(bytes, Codec::Gzip, 1);
    let original = pack(&kernel);
    assert!(compare(&original, &original).is_same());
    // Linux 6.1 has one without number and time beside it.
    let banners = memchr::memmem::find_iter(&kernel, b"Linux version ");
    let lines = banners.map(|at| kernel[at..].split(|byte| *byte == b'\n').next().unwrap());
    let mut lines = lines.filter_map(|line| std::str::from_utf8(line).ok());
    let banner = lines.find(|line| line.contains(" UTC 20")).unwrap();
    let time = &banner[banner.len() - 8 - 9..];
    let other_time = compare(&original, &pack(&replaced(&kernel, time, "23:59:58 UTC 2031")));
    assert_eq!(ids(&other_time), ["time"], "{other_time:#?}");
    assert!(other_time.causes[0].message.ends_with("; nothing else in the kernel differs"));
    let compiler = compare(&original, &pack(&replaced(&kernel, "12.2.0", "12.9.9")));
    assert_eq!(ids(&compiler)[0], "compiler", "{compiler:#?}");
    // A byte of the code: no text tells why.
    let mut code = kernel.clone();
    let text = 0x20_1000;
    code[text] ^= 1;
    let code = compare(&original, &pack(&code));
    assert_eq!(ids(&code), ["code"], "{code:#?}");
    assert!(code.causes[0].left.as_ref().unwrap().starts_with("first in .text"), "{code:#?}");
    // The name of a section is not loaded.
    let mut renamed = kernel.clone();
    let name = memchr::memmem::rfind(&kernel, b".shstrtab\0").unwrap();
    renamed[name + 1] = b'S';
    assert_eq!(ids(&compare(&original, &packed(&renamed, Codec::Zstd, 1))), ["elf", "codec"]);
    assert_eq!(ids(&compare(&original, &packed(&kernel, Codec::Gzip, 9))), ["compressor"]);
    assert_eq!(ids(&compare(&original, &packed(&kernel, Codec::Zstd, 1))), ["codec"]);
    let xz = |dictionary| {
        let mut out = Vec::new();
        let parameters = Parameters { level: Some(0), dictionary: Some(dictionary), ..Parameters::default() };
        Codec::Xz.compress(&kernel, &parameters, &mut out).unwrap();
        out
    };
    let other = compare(&xz(1 << 20), &xz(1 << 22));
    assert_eq!(ids(&other), ["parameters"], "{other:#?}");
    assert_eq!(other.causes[0].left.as_deref(), Some("1048576"));
}

/// Two kernels of the corpus: what their configurations and System.maps have.
#[test]
fn options_and_symbols_are_those_of_the_trees() {
    let trees: Vec<&Tree> = support::trees("x86-64", |tree| tree.name.contains("x86_64"));
    let [one, other, ..] = trees.as_slice() else {
        return support::missing(&format!("two x86-64 kernel trees to compare ({})", support::way_to_generations()));
    };
    let (left, right) = (one.read("arch/x86/boot/bzImage"), other.read("arch/x86/boot/bzImage"));
    let found = compare(&left, &right);
    // Options come and go with releases.
    assert_eq!(ids(&found)[..2], ["release", "config"], "{:#?}", found.causes);
    let set = |tree: &Tree, option: &str| {
        let config = String::from_utf8(tree.read(".config")).unwrap();
        config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('=').map(str::to_owned))
    };
    let address = |tree: &Tree, symbol: &str| {
        let map = String::from_utf8(tree.read("System.map")).unwrap();
        let line = map.lines().find(|line| line.split(' ').nth(2) == Some(symbol)).map(str::to_owned);
        line.map(|line| u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap())
    };
    let changes = || found.pairs.iter().flat_map(|pair| &pair.changes);
    let options: Vec<_> = changes().filter(|change| change.aspect == Aspect::Option).collect();
    assert!(!options.is_empty());
    for change in options {
        assert_eq!(change.left, set(one, &change.name), "{change:?}");
        assert_eq!(change.right, set(other, &change.name), "{change:?}");
    }
    let hex = |text: &Option<String>| text.as_ref().map(|text| u64::from_str_radix(&text[2..], 16).unwrap());
    for change in changes().filter(|change| change.aspect == Aspect::Symbol && change.name != "all") {
        for (tree, side) in [(one, &change.left), (other, &change.right)] {
            if let (Some(want), Some(got)) = (address(tree, &change.name), hex(side)) {
                assert_eq!(got, want, "{change:?}");
            }
        }
    }
}

#[test]
fn goldens() {
    let tiny = |name: &str| fs::read(testdata("tiny").join(name)).unwrap();
    let image = |setup: &str| {
        let (vmlinux, setup) = (tiny("vmlinux"), tiny(setup));
        let mut out = Vec::new();
        kimage::assemble::bzimage(&vmlinux, &setup, Default::default()).unwrap().emit(&mut out).unwrap();
        out
    };
    let (left, right) = (image("setup.bin"), image("setup-7.bin"));
    let limits = Limits::default();
    let (one, other) = (open(&left, &limits).unwrap(), open(&right, &limits).unwrap());
    let found = diff(&one, &other);
    let (mut text, mut json) = (Vec::new(), Vec::new());
    write_diff_text(["6.12", "7.2"], &one, &found, Style::default(), &mut text).unwrap();
    write_diff_json(["6.12", "7.2"], &found, &mut json).unwrap();
    for (name, got) in [("diff.txt", text), ("diff.json", json)] {
        let path = testdata("golden").join(name);
        if std::env::var_os("KIMAGE_UPDATE").is_some() {
            fs::write(&path, &got).unwrap();
        }
        let got = String::from_utf8(got).unwrap();
        assert!(
            got == fs::read_to_string(&path).unwrap(),
            "{name} is not as it was; KIMAGE_UPDATE=1 writes it anew:\n{got}"
        );
    }
}

#[test]
fn exit_status() {
    let dir = tempdir();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    fs::write(&one, files::dtb()).unwrap();
    fs::write(&other, files::fit(false)).unwrap();
    let same = run_ok(kimage().arg("diff").args([&one, &one]));
    assert!(stdout(&same).ends_with(" are the same\n"));
    assert_eq!(run(kimage().arg("diff").args([&one, &other])).status.code(), Some(1));
    assert_eq!(run(kimage().arg("diff").args([&one, &dir.path().join("none")])).status.code(), Some(1));
    for args in [&[][..], &["one"], &["one", "two", "three"]] {
        assert_eq!(run(kimage().arg("diff").args(args)).status.code(), Some(2), "{args:?}");
    }
}

/// A kernel of Linux 6.1 or newer as its build leaves its texts: a weak banner without number and time, the whole one, the format
/// of /proc/version with the compiler and the builder, and the fields of `init_uts_ns`.
fn two_banners(builder: &str, version: &str, time: &str, code: u8) -> Vec<u8> {
    let tools = "gcc (Debian 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40";
    let mut text = vec![0x90; 999];
    text.extend([code, 0]);
    let mut string = |words: String, room: usize| {
        let mut words = words.into_bytes();
        words.resize(room, 0);
        text.extend(words);
    };
    string(format!("Linux version 6.1.0 ({builder}) ({tools}) # SMP PREEMPT_DYNAMIC\n"), 256);
    string(format!("Linux version 6.1.0 ({builder}) ({tools}) {version} {time}\n"), 256);
    string(format!("%s version %s ({builder}) ({tools}) %s\n"), 256);
    for field in ["Linux", "(none)", "6.1.0", &format!("{version} {time}"), "x86_64"] {
        string(field.to_owned(), 65);
    }
    let mut elf = elf_builder::Builder::new(true, false, 62);
    let section = elf.section(".text", 1, 6, 0xffff_ffff_8100_0000, &text);
    elf.segment(1, section..section + 1, 0x100_0000);
    elf.build()
}

#[test]
fn the_cause_where_a_kernel_has_two_banners() {
    let (builder, version) = ("someone@somewhere", "#1 SMP PREEMPT_DYNAMIC");
    let (monday, tuesday) = ("Mon Jan  1 00:00:00 UTC 2024", "Tue Jan  2 03:04:05 UTC 2024");
    let kernel = two_banners(builder, version, monday, 1);
    let of = |other: &[u8]| {
        let found = compare(&kernel, other);
        assert_eq!(found, compare(&kernel, other));
        let ids: Vec<String> = ids(&found).into_iter().map(str::to_owned).collect();
        ids
    };
    assert_eq!(of(&kernel), [""; 0]);
    assert_eq!(of(&two_banners(builder, version, tuesday, 1)), ["time"]);
    // A time zone of another length, a builder of another length, one who has the name of what stands everywhere.
    assert_eq!(of(&two_banners(builder, version, "Tue Jan  2 03:04:05 CEST 2024", 1)), ["time"]);
    assert_eq!(of(&two_banners("u@h", version, monday, 1)), ["builder"]);
    assert_eq!(of(&two_banners("Linux@Debian", version, monday, 1)), ["builder"]);
    assert_eq!(of(&two_banners(builder, "#12 SMP PREEMPT_DYNAMIC", monday, 1)), ["number"]);
    // Code that differs is not passed over.
    assert_eq!(of(&two_banners(builder, version, tuesday, 2)), ["time", "code"]);
    assert_eq!(of(&two_banners(builder, version, monday, 2)), ["code"]);
}

/// Two unified images: the section that differs is named, each of several profiles beside its own kind, and nobody speaks of compression.
#[test]
fn sections_of_unified_images() {
    let kernel = files::efi_image(0xaa64);
    let uki = |sections: &[(&str, &[u8])]| {
        let all = [&[(".text", &b"the stub"[..]), (".linux", &kernel), (".initrd", b"a disk")], sections].concat();
        files::pe(&[], &all)
    };
    let profiles = |last: &'static [u8]| {
        let first: [(&str, &[u8]); 4] =
            [(".cmdline", b"quiet"), (".profile", b"ID=main"), (".profile", b"ID=one"), (".cmdline", b"debug")];
        uki(&[&first[..], &[(".profile", b"ID=two"), (".cmdline", last)]].concat())
    };
    let changed = |found: &Diff, aspect: Aspect| -> Vec<String> {
        let all = found.pairs.iter().filter(|pair| pair.path == "file").flat_map(|pair| &pair.changes);
        all.filter(|change| change.aspect == aspect).map(|change| change.name.clone()).collect()
    };
    let found = compare(&profiles(b"single"), &profiles(b"rescue"));
    assert_eq!(changed(&found, Aspect::Region), [".cmdline"], "{found:#?}");
    assert!(!changed(&found, Aspect::Fact).iter().any(|name| name.starts_with("efi_sections")), "{found:#?}");
    assert_eq!(ids(&found), ["section"], "{found:#?}");
    assert!(found.causes[0].message.ends_with(": .cmdline"), "{found:#?}");
    assert!(compare(&profiles(b"single"), &profiles(b"single")).is_same());

    let found = compare(&uki(&[(".ucode", b"one"), (".osrel", b"ID=x")]), &uki(&[(".osrel", b"ID=y")]));
    assert!(found.causes[0].message.ends_with(": .ucode, .osrel"), "{found:#?}");
    let ucode = found.pairs.iter().flat_map(|pair| &pair.changes).find(|change| change.name == ".ucode").unwrap();
    assert!(ucode.left.is_some() && ucode.right.is_none(), "{ucode:?}");
    // Another kernel is the cause of itself.
    let mut other = files::efi_image(0xaa64);
    let at = other.len() - 100;
    other[at] ^= 1;
    let other = files::pe(&[], &[(".text", b"the stub"), (".linux", &other), (".initrd", b"a disk")]);
    assert_eq!(ids(&compare(&uki(&[]), &other)), ["code"]);
}

/// The same kernel by itself, compressed, in an EFI zboot image, in a unified image: what is around it is the cause.
#[test]
fn the_same_kernel_in_other_containers() {
    let dir = support::tempdir();
    let image = files::efi_image(0xaa64);
    let mut other = image.clone();
    other[0x5000] ^= 1;
    let zboot = |image: &[u8], codec: &str| {
        let (from, to) = (support::put(dir.path(), "Image", image), dir.path().join("zboot"));
        let mut command = support::kimage();
        support::run_ok(command.arg("zboot").arg(&from).args(["-q", "--compress", codec, "-o"]).arg(&to));
        support::read(&to)
    };
    let uki = |kernel: &[u8]| files::pe(&[], &[(".text", b"the stub"), (".linux", kernel), (".initrd", b"a disk")]);
    let (flat, packed) = (uki(&image), uki(&zboot(&image, "gzip")));
    for (left, right, texts) in [
        (&image, &zboot(&image, "gzip"), ["by itself", "gzip stream in EFI zboot image"]),
        (&files::gzip(&image), &image, ["gzip stream", "by itself"]),
        (&zboot(&image, "zstd"), &files::gzip(&image), ["zstd stream in EFI zboot image", "gzip stream"]),
        (&image, &flat, ["by itself", "unified kernel image (UKI)"]),
        (
            &flat,
            &packed,
            ["unified kernel image (UKI)", "gzip stream in EFI zboot image in unified kernel image (UKI)"],
        ),
    ] {
        let found = compare(left, right);
        assert_eq!(ids(&found), ["container"], "{found:#?}");
        let cause = &found.causes[0];
        assert_eq!([cause.left.as_deref(), cause.right.as_deref()], texts.map(Some));
    }
    assert_eq!(ids(&compare(&zboot(&image, "gzip"), &zboot(&image, "zstd"))), ["codec"]);
    assert_eq!(ids(&compare(&image, &zboot(&other, "gzip"))), ["code"]);
}
