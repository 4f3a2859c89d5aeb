//! Images around kimage's own boot stub, read again: wrapped once more they are the same, `verify` finds nothing wrong with
//! them and finds what is, `info` names them, and other tools get the kernel out.

// The boot stub's own; kimage has another's.
#[path = "../../src/bootstub/src/codec/xxh64.rs"]
#[allow(unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own file")]
mod sum;

use crate::simulated::parameters::{RELOCS, SUMMED};
use crate::simulated::{payload, told};
use crate::support::{self, Tree, kimage, put, read, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use kimage::assemble::{StandaloneRequest, bzimage_standalone};
use kimage::codec::{Codec, Parameters as CodecParameters};
use kimage::finding::Severity;
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, open};
use kimage::internals::BzImage;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CODECS: [Codec; 5] = [Codec::Lz4Legacy, Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::None];

/// Quick rather than small.
fn request(codec: Codec) -> StandaloneRequest<'static> {
    let level = match codec {
        Codec::Zstd | Codec::Gzip => Some(1),
        Codec::Xz => Some(0),
        _ => None,
    };
    StandaloneRequest {
        codec,
        parameters: CodecParameters { level, ..CodecParameters::default() },
        ..StandaloneRequest::default()
    }
}

fn pack(kernel: &[u8], request: &StandaloneRequest<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    bzimage_standalone(kernel, request).unwrap().emit(&mut out).unwrap();
    out
}

/// The rules that are not kept, and how much each matters.
fn broken(image: &[u8]) -> Vec<(Severity, &'static str, String)> {
    let opened = open(image, &Limits::default()).unwrap();
    let found = verify(&opened).findings.into_iter().map(|found| found.finding);
    found.map(|finding| (finding.severity, finding.rule, finding.message)).collect()
}

fn x86_trees() -> impl Iterator<Item = &'static Tree> {
    support::x86_trees().into_iter()
}

/// LZ4 has no sum of what it packs: the parameters have one, to which `verify` holds the payload as the boot stub does; and of a kernel that is not
/// compressed where that is asked for. Images from before there was one are as good as ever.
#[test]
fn lz4s_payload_has_a_sum() {
    let tiny = |codec, payload_sum| {
        pack(&read(&testdata("tiny/kernel")), &StandaloneRequest { payload_sum, ..request(codec) })
    };
    let image = tiny(Codec::Lz4Legacy, false);
    let (parameters, at) = told(&image);
    let range = payload(&image);
    assert!(parameters.has(SUMMED) && parameters.payload_sum == sum::xxh64(&image[range.clone()]));
    assert_eq!(broken(&image), []);
    let mut changed = image.clone();
    // A literal: it unpacks as well as before.
    let text = b"hello from 64 bits";
    let place = range.start + image[range.clone()].windows(text.len()).position(|found| found == text).unwrap();
    changed[place] ^= 0x20;
    assert_eq!(broken(&changed).iter().map(|found| found.1).collect::<Vec<_>>(), ["bzimage.stub_payload_sum"]);
    let mut old = changed;
    let flags = parameters.flags & !SUMMED;
    old[at + 8..at + 16].copy_from_slice(&flags.to_le_bytes());
    assert_eq!(broken(&old), []);
    for (codec, without, with) in [
        (Codec::Lz4Legacy, true, true),
        (Codec::None, false, true),
        (Codec::Gzip, false, false),
        (Codec::Zstd, false, false),
        (Codec::Xz, false, false),
    ] {
        assert_eq!([false, true].map(|asked| told(&tiny(codec, asked)).0.has(SUMMED)), [without, with], "{codec:?}");
    }
}

/// The kernel with its relocations, the kernel without, and its own image, where there are such.
fn sources(tree: &Tree) -> Vec<PathBuf> {
    let names = ["vmlinux.unstripped", "vmlinux", "arch/x86/boot/bzImage"].map(|name| tree.path(name));
    names.into_iter().filter(|path| path.is_file()).collect()
}

/// Every kernel in every form through every codec: what comes out when it is wrapped once more, without compression, is
/// what comes out when it is wrapped so in the first place. Codecs take turns, but with `KIMAGE_FULL=1`.
#[test]
fn wrapped_once_more_it_is_the_same_and_nothing_is_wrong_with_it() {
    let full = support::full();
    let (mut with, mut without) = (0, 0);
    for tree in x86_trees() {
        for source in sources(tree) {
            let kernel = read(&source);
            let direct = pack(&kernel, &request(Codec::None));
            let parameters = told(&direct).0;
            if parameters.has(RELOCS) {
                with += 1
            } else {
                without += 1
            }
            let turn = with + without;
            for codec in if full { &CODECS[..] } else { &CODECS[turn % CODECS.len()..][..1] } {
                let image = pack(&kernel, &request(*codec));
                let what = format!("{}, {}", source.display(), codec.name());
                assert_eq!(broken(&image), [], "{what}");
                assert!(pack(&image, &request(Codec::None)) == direct, "{what}");
            }
            // What else there is in an image.
            let setup = tree.read("arch/x86/boot/setup.bin");
            let variants = [
                StandaloneRequest { cmdline: b"quiet", initrd: vec![b"one", b"two"], ..request(Codec::Lz4Legacy) },
                StandaloneRequest { efi: false, crc: true, ..request(Codec::Lz4Legacy) },
                StandaloneRequest { sbat: b"sbat,1\n", kaslr: false, ..request(Codec::Lz4Legacy) },
                StandaloneRequest { setup: Some(&setup), ..request(Codec::Lz4Legacy) },
            ];
            for (index, more) in variants.iter().enumerate().filter(|(index, _)| full || index % 3 == turn % 3) {
                assert_eq!(broken(&pack(&kernel, more)), [], "{}, variant {index}", source.display());
            }
        }
    }
    if with == 0 || without == 0 {
        support::missing(&format!(
            "{with} kernels with a relocation table and {without} without: 6.1 and 6.12 are both ({})",
            support::way_to_generations()
        ));
    }
}

/// A 64-bit kernel whose last segment has no bytes, with a relocation table: one with entries, and one with none.
#[test]
fn a_last_segment_without_bytes_and_a_table() {
    let mut kernel = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    for word in [0x100_0000_u64, 64, 0] {
        kernel.extend(word.to_le_bytes());
    }
    kernel.extend([0; 4]);
    for half in [64_u16, 56, 2, 0, 0, 0] {
        kernel.extend(half.to_le_bytes());
    }
    let map = 0xffff_ffff_8000_0000_u64;
    for [offset, at, filesz, memsz] in [[0x1000, 0x100_0000, 0x1000, 0x1000], [0x2000, 0x120_0000, 0, 0x12_3456_u64]] {
        kernel.extend([1, 0, 0, 0, 7, 0, 0, 0]);
        // More than a large page, as kernels for 32 bits may have it.
        for word in [offset, map + at, at, filesz, memsz, 0x100_0000] {
            kernel.extend(word.to_le_bytes());
        }
    }
    kernel.resize(0x2000, 0x90);
    kernel[0x1000..0x1000 + 22].copy_from_slice(b"Linux version 6.1.0 (x");
    for words in [&[0_u32, 0x8100_0100, 0, 0x8100_0200][..], &[0, 0, 0x8100_0080, 0, 0x8100_0040, 0x8100_0200], &[0, 0]]
    {
        let table: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let given = |codec| StandaloneRequest { relocs: Some(&table), ..request(codec) };
        let direct = pack(&kernel, &given(Codec::None));
        let parameters = told(&direct).0;
        assert!(parameters.has(RELOCS) && parameters.unpacked_len - parameters.elf_len == table.len() as u64);
        for codec in CODECS {
            let image = pack(&kernel, &given(codec));
            assert!(pack(&image, &request(Codec::None)) == direct, "{words:x?}, {}", codec.name());
            // The table points to nothing, of course.
            let found: Vec<_> = broken(&image).into_iter().filter(|found| found.1 != "relocs.inside").collect();
            assert_eq!(found, [], "{words:x?}, {}", codec.name());
        }
    }
}

/// Each change of the image breaks a rule, by its name.
#[test]
fn what_is_wrong_is_found() {
    each_change_breaks(&read(&testdata("tiny/kernel")), false);
    if let Some(tree) = support::tree("6.1-x86_64") {
        each_change_breaks(&tree.read("vmlinux"), true);
    }
}

/// In a kernel as small as ours a changed figure of the kernel is beyond its memory first of all. At the end of Linux are
/// its relocations, so that a change there shows without a checksum, too.
fn each_change_breaks(kernel: &[u8], is_linux: bool) {
    let kernel_rules = &["bzimage.stub_kernel", "bzimage.stub_memory"][..if is_linux { 1 } else { 2 }];
    for codec in CODECS {
        let good = pack(kernel, &request(codec));
        let errors = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut image = good.clone();
            change(&mut image);
            let found = broken(&image).into_iter().filter(|found| found.0 == Severity::Error);
            found.map(|(_, rule, _)| rule).collect::<Vec<_>>()
        };
        let at = told(&good).1;
        let payload = payload(&good);
        // init_size, pref_address, kernel_alignment, payload_offset
        for field in [0x260, 0x258, 0x230, 0x248] {
            let found = errors(&|image| image[field + 1] ^= 0x20);
            assert!(found.contains(&"bzimage.stub_header"), "{codec:?}, {field:#x}: {found:?}");
        }
        // Both agree, and are wrong.
        let found = errors(&|image| {
            image[0x261] ^= 0x10;
            image[at + 12 * 8 + 1] ^= 0x10;
        });
        assert_eq!(found, ["bzimage.stub_memory"], "{codec:?}");
        // The place of the command line, the memory of the stub, the kernel's, the length that comes out.
        for (word, rules) in
            [(15, &["bzimage.stub_places"][..]), (19, &["bzimage.stub_memory"]), (8, kernel_rules), (4, kernel_rules)]
        {
            let found = errors(&|image| image[at + word * 8 + 2] ^= 0x40);
            assert!(found.iter().any(|found| rules.contains(found)), "{codec:?}, word {word}: {found:?}");
        }
        if codec == Codec::None {
            continue;
        }
        if is_linux || codec != Codec::Lz4Legacy {
            let found = errors(&|image| image[payload.end - 1] ^= 1);
            assert!(!found.is_empty(), "{codec:?}: the stream's end");
        }
        if codec != Codec::Lz4Legacy {
            // Somewhere in the data: the checksum shows it, where the codec has one.
            let found = errors(&|image| image[payload.start + payload.len() / 2] ^= 4);
            assert!(!found.is_empty(), "{codec:?}: a payload's bit");
        }
    }
    // What rdev would write into the header, UEFI's kernel does not get.
    let mut image = pack(kernel, &request(Codec::Gzip));
    image[0x1fa] ^= 1;
    let found = broken(&image).into_iter().filter(|found| found.0 != Severity::Note);
    assert_eq!(found.map(|found| found.1).collect::<Vec<_>>(), ["bzimage.stub_header_copy"]);
    // The code of the stub is compared with what kimage brings along.
    let mut image = pack(kernel, &request(Codec::Gzip));
    image[0x1300] ^= 1;
    assert_eq!(
        broken(&image).iter().map(|found| (found.0, found.1)).collect::<Vec<_>>(),
        [(Severity::Note, "bzimage.stub")]
    );
}

fn make(dir: &Path, name: &str, source: &Path, options: &[&str]) -> PathBuf {
    run_ok(kimage().current_dir(dir).arg("bzimage").arg(source).args(options).args(["--quiet", "-o", name]));
    dir.join(name)
}

/// By command: `info` names the stub and what is built in, `verify` is content, `extract` gives the kernel back.
#[test]
fn commands_know_it() {
    let dir = tempdir();
    fs::write(dir.path().join("disk"), [7; 12345]).unwrap();
    let kernel = testdata("tiny/kernel");
    for codec in ["lz4", "gzip", "zstd", "xz", "none"] {
        let options = ["--compress", codec, "--cmdline", "kimage=1 quiet", "--initrd", "disk"];
        let image = make(dir.path(), codec, &kernel, &options);
        let said = stdout(&run_ok(kimage().arg("info").arg(&image)));
        for words in [&format!("kimage, {codec} ("), "kimage=1 quiet (the boot loader's follows)", "12345 (bytes"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let field = |name: &str| stdout(&run_ok(kimage().args(["info", "--field", name]).arg(&image)));
        assert_eq!(field("boot_stub").trim(), format!("kimage, {codec}"));
        let verified = run_ok(kimage().arg("verify").arg(&image));
        assert!(stdout(&verified).contains(": good: "), "{}", stdout(&verified));
    }
}

/// Images that are damaged or too large are refused by name, with the way out, and nothing is written.
#[test]
fn what_cannot_be_wrapped_once_more() {
    let dir = tempdir();
    let image = read(&make(dir.path(), "good", &testdata("tiny/kernel"), &[]));
    let mut damaged = image.clone();
    damaged[payload(&image).start + 100] ^= 0x10;
    for (bytes, options, says) in [
        (&image[..700], &[][..], "the image is cut off"),
        (&image[..image.len() - 600], &[], "the image is cut off"),
        (&damaged, &[], "the kernel in the image: "),
        (&image, &["--max-memory", "4K"], "allow it with --max-memory"),
        (&image, &["--max-memory", "64K"], "allow it with --max-memory"),
    ] {
        fs::write(dir.path().join("bad"), bytes).unwrap();
        let output = run(kimage().current_dir(dir.path()).args(["bzimage", "bad", "-o", "out"]).args(options));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: bad: ") && said.contains(says), "{says}: {said}");
        assert!(!dir.path().join("out").exists());
    }
}

/// `--plan` writes nothing and tells the regions without gap or overlap; `--json` tells the same of what it wrote.
#[test]
fn plans_and_reports() {
    let dir = tempdir();
    for codec in ["lz4", "gzip", "zstd", "xz", "none"] {
        let mut command = kimage();
        command.current_dir(dir.path()).arg("bzimage").arg(testdata("tiny/kernel")).args(["--compress", codec]);
        fs::write(dir.path().join("disk"), [7; 333]).unwrap();
        let built_in = ["--cmdline", "quiet", "--initrd", "disk", "--no-efi", "--crc", "yes"];
        command.args(built_in).args(["--json", "-o", "image"]);
        let planned = run_ok(command.arg("--plan"));
        assert!(!dir.path().join("image").exists());
        let planned: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
        let mut command = kimage();
        command.current_dir(dir.path()).arg("bzimage").arg(testdata("tiny/kernel")).args(["--compress", codec]);
        let built = run_ok(command.args(built_in).args(["--json", "-o", "image"]));
        let built: serde_json::Value = serde_json::from_slice(&built.stdout).unwrap();
        let image = read(&dir.path().join("image"));
        fs::remove_file(dir.path().join("image")).unwrap();
        assert_eq!((&planned["written"], &built["written"]), (&false.into(), &true.into()));
        for report in [&planned, &built] {
            assert_eq!(report["size"], image.len());
            assert_eq!((&report["image"]["stub"], &report["image"]["format"]), (&"kimage".into(), &"bzimage".into()));
            let mut at = 0;
            for region in report["regions"].as_array().unwrap() {
                assert_eq!(region["offset"], at, "{report:#}");
                at += region["size"].as_u64().unwrap();
            }
            assert_eq!(at, image.len() as u64);
            let names = report["regions"].as_array().unwrap().iter().map(|region| region["name"].as_str().unwrap());
            let wanted = ["setup", "stub", "payload", "cmdline", "initrd", "padding", "crc32"];
            assert_eq!(names.collect::<Vec<_>>(), wanted);
            let header = BzImage::parse(&image).unwrap();
            assert_eq!(report["image"]["memory"], header.setup().header().init_size.get());
            // Every field that it says was written has that value.
            for field in report["fields"].as_array().unwrap() {
                let at = field["offset"].as_u64().unwrap() as usize;
                let width = field["width"].as_u64().unwrap() as usize;
                let mut raw = [0; 8];
                raw[..width].copy_from_slice(&image[at..at + width]);
                assert_eq!(field["new"], u64::from_le_bytes(raw), "{field:#}");
            }
        }
    }
}

/// What scripts/extract-vmlinux of the kernel does: looks for a magic number and lets the codec's own command unpack from
/// there, the rest behind it notwithstanding. `KIMAGE_LINUX` names a kernel's source, for the script itself.
#[test]
fn scripts_get_the_kernel_out() {
    let dir = tempdir();
    let kernel = testdata("tiny/kernel");
    let plain = make(dir.path(), "plain", &kernel, &["--compress", "none"]);
    let want = {
        let image = read(&plain);
        let parsed = BzImage::parse(&image).unwrap();
        parsed.payload().unwrap().to_vec()
    };
    let script = support::extract_vmlinux();
    for (codec, magic, tool_name, package, options) in [
        ("lz4", &[0x02, 0x21, 0x4c, 0x18][..], "lz4", "lz4", &["-d"][..]),
        ("gzip", &[0x1f, 0x8b, 0x08], "gunzip", "gzip", &[]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd], "unzstd", "zstd", &[]),
        ("xz", &[0xfd, b'7', b'z', b'X', b'Z', 0], "unxz", "xz-utils", &[]),
    ] {
        let image = make(dir.path(), codec, &kernel, &["--compress", codec]);
        let bytes = read(&image);
        let Some(unpack) = tool(tool_name, package) else { continue };
        let found: Vec<usize> = memchr::memmem::find_iter(&bytes, magic).collect();
        let unpacked = found.iter().any(|at| {
            let part = dir.path().join("part");
            fs::write(&part, &bytes[*at..]).unwrap();
            // They complain about what follows, having written all of the kernel.
            let output = run(Command::new(&unpack).args(options).arg("-c").stdin(fs::File::open(&part).unwrap()));
            output.stdout == want
        });
        assert!(unpacked, "{codec}: none of {found:x?}");
        if let Some(script) = &script {
            let output = run(Command::new("sh").arg(script).arg(&image));
            assert!(output.stdout == want, "{codec}: {} {}", script.display(), stderr(&output));
        }
    }
}

/// What kimage's boot stub has built in is no part of the kernel: it is said to be left out, unless something takes its place.
#[test]
fn what_is_built_in_is_not_dropped_in_silence() {
    let dir = tempdir();
    let kernel = testdata("tiny").join("kernel");
    put(dir.path(), "disk", b"a RAM disk");
    let (line, disk) = ("the command line `first one` is left out", "the RAM disk of 10 bytes is left out");
    for command in ["bzimage", "elf"] {
        let made = |input: &Path, name: &str, options: &[&str]| {
            let output = run(kimage().current_dir(dir.path()).arg(command).arg(input).args(["-o", name]).args(options));
            assert!(output.status.success(), "{}", stderr(&output));
            stderr(&output)
        };
        made(&kernel, "old", &["--initrd", "disk", "--cmdline", "first one"]);
        let old = dir.path().join("old");
        for (options, has_line, has_disk) in [
            (&[][..], false, false),
            (&["--cmdline", "other"], true, false),
            (&["--initrd", "disk"], false, true),
            (&["--cmdline", "other", "--initrd", "disk"], true, true),
        ] {
            let said = made(&old, "new", options);
            assert_eq!((said.contains(line), said.contains(disk)), (!has_line, !has_disk), "{said}");
        }
    }
    let old = read(&dir.path().join("old"));
    let findings = kimage::assemble::boot_elf(&old, &Default::default()).unwrap().findings;
    assert_eq!(findings.iter().filter(|finding| finding.rule == "bzimage.built_in").count(), 2, "{findings:?}");
    let output = run(kimage().current_dir(dir.path()).args(["elf", "old", "--compress", "none", "-o", "bare"]));
    assert!(stderr(&output).contains(line) && stderr(&output).contains(disk), "{}", stderr(&output));
    // An edit keeps both.
    let output =
        run(kimage().current_dir(dir.path()).args(["bzimage"]).arg(&kernel).args(["--initrd", "disk", "-o", "old"]));
    assert!(output.status.success());
    let output = run(kimage().current_dir(dir.path()).args(["edit", "old", "--cmdline", "x", "-o", "new"]));
    assert!(output.status.success() && !stderr(&output).contains("built_in"), "{}", stderr(&output));
}
