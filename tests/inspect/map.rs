//! `kimage map`: no byte is left out, no line is too long, the memory is that of the header.

use crate::files;
use crate::support::{self, corpus, kimage, read, run, run_ok, stdout, tempdir, testdata, tool};
use kimage::assemble::{ARCH, FitFile, FitRequest, StandaloneRequest, UImageRequest, bzimage_standalone, fit, uimage};
use kimage::inspect::map::{Paint, map};
use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, open};
use kimage::lint::{Board, Files, Role, lint};
use kimage::report::{Style, map_svg, write_map_text};
use std::fs;
use std::ops::Range;

/// Small files of every format, and the images of the corpus.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = files::all().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    for tree in corpus() {
        for image in ["arch/x86/boot/bzImage", "arch/arm/boot/zImage"].map(|name| tree.path(name)) {
            if image.is_file() {
                all.push((image.display().to_string(), read(&image)));
            }
        }
    }
    all
}

fn text(name: &str, bytes: &[u8], width: usize, style: Style) -> String {
    let opened = open(bytes, &Limits::default()).unwrap();
    let mut out = Vec::new();
    write_map_text(name, &map(&opened), width, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_byte_of_every_layer_has_its_place() {
    for (name, bytes) in all() {
        let opened = open(&bytes, &Limits::default()).unwrap();
        let map = map(&opened);
        let layers = opened.layers().iter().filter(|layer| layer.size() > 0);
        assert_eq!(map.bars.len(), layers.count(), "{name}");
        for bar in &map.bars {
            let mut at = 0;
            for span in &bar.spans {
                assert!(span.at.start == at && span.at.end > at, "{name}: {bar:#?}");
                at = span.at.end;
            }
            assert_eq!(at, opened.layer(bar.layer).unwrap().size(), "{name}: {}", bar.path);
        }
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, bytes) in all() {
        for width in [20, 40, 80, 160, 300] {
            // Some 100 sections need more than 20 columns for a row of numbers.
            let least = if width < 40 { 40 } else { width };
            let name = if name.starts_with('/') { "a/long/path/with-a-name-that-does-not-break" } else { &*name };
            for line in text(name, &bytes, width, Style::default()).lines() {
                assert!(line.chars().count() <= least, "{name}, {width} columns: {line}");
            }
        }
    }
}

/// By the header, read here: the kernel is decompressed to pref_address, the decompressor stands at the end of init_size.
#[test]
fn memory_is_that_of_the_header() {
    for tree in support::x86_trees().into_iter() {
        let bytes = tree.read("arch/x86/boot/bzImage");
        let word = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
        let (base, size) = (word(0x258), word(0x260));
        let opened = open(&bytes, &Limits::default()).unwrap();
        let memory = map(&opened).memory.unwrap();
        let spans = || memory.lanes.iter().flat_map(|lane| &lane.spans);
        let ends = (spans().map(|span| span.at.start).min(), spans().map(|span| span.at.end).max());
        assert_eq!(ends, (Some(base), Some(base + size)), "{}", tree.name);
        let lane = |name: &str| memory.lanes.iter().find(|lane| lane.name == name).unwrap();
        assert_eq!(lane("loaded").spans[0].at.start, base);
        assert_eq!(
            lane("decompressing").spans.last().unwrap().at.end.next_multiple_of(0x1000),
            base + size,
            "{}",
            tree.name
        );
        // The last word of the payload is the size of what comes out of it (gzip's own end has it too).
        let end = (usize::from(bytes[0x1f1]) + 1) * 512 + (word(0x248) + word(0x24c)) as usize;
        assert_eq!(lane("decompressed").spans.last().unwrap().at.end, base + word(end - 4), "{}", tree.name);
        assert!(lane("running").spans.iter().any(|span| span.paint == Paint::Code), "{}", tree.name);
    }
}

fn board(arch: &str, kernel_at: u64) -> Board {
    Board::parse(&format!(
        "name = \"x\"\nsource = \"y\"\narch = \"{arch}\"\n[[ram]]\nstart = 0\nsize = 0x10000000\n\
         [env]\nkernel_addr_r = {kernel_at}\n[loader]\nformats = [\"zimage\", \"image\", \"bzimage\"]\n"
    ))
    .unwrap()
}

/// What lint has running on a board whose RAM begins at 0: name, start, end.
fn running(board: &Board, image: &[u8]) -> Vec<(String, Range<u64>)> {
    let linted = lint(board, &Files { image, dtb: None, ramdisk: None }).unwrap();
    let uses = linted.memory.into_iter().filter(|using| using.role == Role::Running);
    uses.map(|using| (using.what, using.start..using.start + using.size)).collect()
}

/// From the first address of a lane of the map to behind the last.
fn lane(image: &[u8], name: &str) -> Range<u64> {
    let memory = map(&open(image, &Limits::default()).unwrap()).memory.unwrap();
    let lane = memory.lanes.iter().find(|lane| lane.name == name).unwrap();
    let starts = lane.spans.iter().map(|span| span.at.start);
    starts.min().unwrap()..lane.spans.iter().map(|span| span.at.end).max().unwrap()
}

/// The values that verify wants for `rule`.
fn wanted(image: &[u8], rule: &str) -> Vec<String> {
    let findings = verify(&open(image, &Limits::default()).unwrap()).findings;
    findings.into_iter().filter(|it| it.finding.rule == rule).filter_map(|it| it.finding.wanted).collect()
}

/// x86: both go by the header's words, read here; verify knows what they should be.
#[test]
fn map_lint_and_verify_agree_on_x86() {
    let word = |bytes: &[u8], at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let mut standalone = Vec::new();
    let request = StandaloneRequest { initrd: vec![b"a RAM disk"], cmdline: b"quiet", ..Default::default() };
    bzimage_standalone(&files::kernel(), &request).unwrap().emit(&mut standalone).unwrap();
    let mut images = vec![(standalone, "bzimage.stub_header")];
    images
        .extend(support::x86_trees().into_iter().map(|tree| (tree.read("arch/x86/boot/bzImage"), "bzimage.init_size")));
    for (mut image, rule) in images {
        let (base, size) = (word(&image, 0x258), word(&image, 0x260));
        let all = base..base + size;
        assert_eq!(lane(&image, "init_size"), all);
        assert_eq!(running(&board("x86_64", 1 << 20), &image), [("the running kernel".to_owned(), all.clone())]);
        assert_eq!(wanted(&image, rule), [""; 0]);
        let moved = lane(&image, "decompressing");
        assert!(moved.start >= base && moved.end <= all.end, "{moved:x?}");
        // Where the PE header tells what the decompressor takes: SizeOfImage less the setup.
        let pe = word(&image, 0x3c) as usize;
        let setup = (u64::from(image[0x1f1]) + 1) * 512;
        if rule == "bzimage.init_size" && word(&image, pe + 24 + 36) == 0x200 {
            assert_eq!(moved, all.end + setup - word(&image, pe + 24 + 56)..all.end);
        }
        if rule == "bzimage.stub_header" {
            // The stub's own layout: behind the kernel and behind the loaded file, the RAM disk at a page, all inside.
            let file = image.len() as u64 - setup;
            assert!(moved.start >= base + file && moved.start >= lane(&image, "running").end, "{moved:x?}");
            assert_eq!(moved.start % 4096, 0);
            assert!(all.end - moved.end < 4096 && (moved.end - 10) % 4096 == 0, "{moved:x?}");
        }
        // Half as much: map and lint follow the header, and verify wants back what stood there.
        let half = (size / 2) & !0xfff;
        image[0x260..0x264].copy_from_slice(&(half as u32).to_le_bytes());
        assert_eq!(lane(&image, "init_size"), base..base + half);
        assert_eq!(running(&board("x86_64", 1 << 20), &image), [("the running kernel".to_owned(), base..base + half)]);
        let wanted = wanted(&image, rule);
        let is_known = wanted.iter().any(|wanted| wanted.contains(&format!("{size:#x} ")));
        assert!(is_known || rule == "bzimage.init_size" && !wanted.is_empty(), "{wanted:?}");
    }
}

/// ARM and arm64: counted from the start of the RAM, by the words of the headers, read here.
#[test]
fn map_and_lint_agree_on_arm() {
    let zimage = files::zimage();
    let word = |at: u64| u64::from(u32::from_le_bytes(zimage[at as usize..][..4].try_into().unwrap()));
    let table = word(0x38) - word(0x28);
    let kernel = 0x8000 - 0x4000..0x8000 + word(word(table + 8)) + word(table + 12);
    assert_eq!(lane(&zimage, "running"), kernel);
    let at = |start: u64| start..start + zimage.len() as u64 + 0x1_2000;
    let uses = |start| running(&board("arm", start), &zimage);
    let named = |name: &str, at: Range<u64>| (name.to_owned(), at);
    let apart = [named("the running kernel", kernel.clone()), named("the decompressor", at(32 << 20))];
    assert_eq!(uses(32 << 20), apart);
    assert_eq!(lane(&zimage, "loaded"), at(32 << 20));
    // In the way of what it unpacks it moves behind it; its code is not head.S's.
    let out = 0x8000 + word(word(table + 8));
    let moved = named("the decompressor, moved", at((out + 0x1000) / 256 * 256));
    assert_eq!(uses(0x8000), [apart[0].clone(), named("the decompressor", at(0x8000)), moved]);

    let mut image = files::image64(b"ARM\x64");
    let all = [named("the running kernel", 0x8_0000..0x18_0000)];
    assert_eq!((lane(&image, "running"), running(&board("arm64", 0x8_0000), &image)), (all[0].1.clone(), all.to_vec()));
    // Before Linux 3.17: no size, and whatever offset; U-Boot takes it for 16 MiB, and nobody says that he knows.
    image[8..24].fill(0);
    assert_eq!(lane(&image, "running"), 0x8_0000..0x8_0000 + image.len() as u64);
    assert_eq!(running(&board("arm64", 0x8_0000), &image)[0].1, 0x8_0000..0x108_0000);
    let text = text("image", &image, 300, Style::default());
    assert!(text.contains("not known") && !text.contains("must be free"), "{text}");
    let linted = lint(&board("arm64", 0x8_0000), &Files { image: &image, dtb: None, ramdisk: None }).unwrap();
    assert_eq!(linted.findings.iter().map(|it| it.rule).collect::<Vec<_>>(), ["lint.bss"]);
}

/// head.S (Linux 6.1): `r10 = r4 + size + ((reloc_code_end - restart + 256) & ~255)`, rounded down to 256, is where it moves;
/// the size is that of what comes out, without its BSS. In a uImage and in a FIT as well as by itself.
#[test]
fn a_zimage_moves_itself_as_head_s_does() {
    const AT: u64 = 0x8000_8000;
    let moved_in = |image: &[u8]| {
        let memory = map(&open(image, &Limits::default()).unwrap()).memory.unwrap();
        let lane = memory.lanes.into_iter().find(|lane| lane.name == "decompressing").unwrap();
        lane.spans.into_iter().find(|span| span.name == "zImage, moved").unwrap().at
    };
    let in_containers = |zimage: &[u8]| {
        let request = UImageRequest { load: Some(AT), arch: ARCH.id("arm"), ..UImageRequest::default() };
        let uimage = files::emit(&uimage(&request, &[zimage], &[]).unwrap().plan);
        let kernel = Some(FitFile { name: "zImage", bytes: zimage });
        let request =
            FitRequest { kernel, arch: ARCH.id("arm"), load: Some(AT), entry: Some(AT), ..Default::default() };
        let places = [moved_in(&uimage), moved_in(&files::emit(&fit(&request).unwrap().plan))];
        assert_eq!(places[0], places[1]);
        assert_eq!(lane(&uimage, "running").start, AT - 0x4000);
        places[0].clone()
    };
    let mut made = files::zimage();
    let len = made.len() as u64;
    let word = |bytes: &[u8], at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let table = word(&made, 0x38) as usize - word(&made, 0x28) as usize;
    let size = word(&made, word(&made, table + 8) as usize);
    // What the assembler makes of `add r10, r10, #N; bic r10, r10, #255`: ARM code with 0xb00, Thumb-2 code with 0x800.
    for (code, relocation) in [
        ([0xe28a_ac0b_u32, 0xe3ca_a0ff].map(u32::to_le_bytes).concat(), 0xb00),
        ([0xf50a_u16, 0x6a00, 0xf02a, 0x0aff].map(u16::to_le_bytes).concat(), 0x800),
    ] {
        made[0x40..0x48].copy_from_slice(&code);
        let start = (AT + size + relocation) / 256 * 256;
        assert_eq!(in_containers(&made), start..start + len, "{relocation:#x}");
    }
    for tree in support::trees("ARM", support::Tree::is_arm) {
        let zimage = tree.read("arch/arm/boot/zImage");
        let vmlinux = tree.path("arch/arm/boot/compressed/vmlinux");
        let Some(nm) = tool("nm", "binutils") else { return };
        let symbols = stdout(&run_ok(std::process::Command::new(nm).arg(vmlinux)));
        let symbol = |name: &str| {
            let line = symbols.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap();
            u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
        };
        let relocation = (symbol("reloc_code_end") - symbol("restart") + 256) & !255;
        let size = word(&zimage, symbol("input_data_end") as usize - 4);
        assert_eq!(in_containers(&zimage).start, (AT + size + relocation) & !255, "{}", tree.name);
    }
}

/// U-Boot starts an arm64 kernel from a multiple of 2 MiB on (`booti_setup`), where its header does not ask for the start of RAM.
#[test]
fn a_kernel_in_a_container_runs_where_u_boot_moves_it() {
    let mut image = files::image64(b"ARM\x64");
    let size = u64::from_le_bytes(image[16..24].try_into().unwrap());
    let offset = u64::from_le_bytes(image[8..16].try_into().unwrap());
    let made = |image: &[u8]| {
        let kernel = Some(FitFile { name: "Image", bytes: image });
        let (load, entry) = (Some(0x4010_0000), Some(0x4010_0000));
        files::emit(&fit(&FitRequest { kernel, load, entry, ..FitRequest::default() }).unwrap().plan)
    };
    image[24] = 8;
    let start = (0x4010_0000_u64 - offset).next_multiple_of(2 << 20) + offset;
    assert_eq!(lane(&made(&image), "running"), start..start + size);
    image[24] = 0;
    let text = text("fit", &made(&image), 300, Style::default());
    assert!(text.contains("start of the RAM, which nothing in the file tells") && !text.contains("running"), "{text}");
}

#[test]
fn goldens() {
    let file = |name: &str| files::all().into_iter().find(|(other, _)| *other == name).unwrap().1;
    let (zimage, bzimage) = (file("zimage-dtb"), file("bzimage"));
    let svg = map_svg("bzimage", &map(&open(&bzimage, &Limits::default()).unwrap()));
    for (name, got) in [
        ("map-40.txt", text("zimage-dtb", &zimage, 40, Style::default())),
        ("map-80.txt", text("bzimage", &bzimage, 80, Style::default())),
        ("map-colour.txt", text("fit", &file("fit"), 80, Style { colour: true })),
        ("map.svg", svg),
    ] {
        let path = testdata("golden").join(name);
        if std::env::var_os("KIMAGE_UPDATE").is_some() {
            fs::write(&path, &got).unwrap();
        }
        assert!(
            got == fs::read_to_string(&path).unwrap(),
            "{name} is not as it was; KIMAGE_UPDATE=1 writes it anew:\n{got}"
        );
    }
}

/// A renderer takes it, and it asks for no other file.
#[test]
fn svg_is_self_contained() {
    let dir = tempdir();
    let (input, svg) = (dir.path().join("a<b>&\".img"), dir.path().join("map.svg"));
    for (name, bytes) in files::all() {
        fs::write(&input, bytes).unwrap();
        run_ok(kimage().arg("map").arg(&input).arg("--svg").arg(&svg));
        let text = fs::read_to_string(&svg).unwrap();
        assert_eq!(text.matches("http").count(), 1, "{name}: only the name space");
        assert!(!text.contains("href") && text.contains("<title>"), "{name}");
        let Some(renderer) = tool("rsvg-convert", "librsvg2-bin") else { return };
        run_ok(std::process::Command::new(renderer).arg(&svg).arg("-o").arg(dir.path().join("map.png")));
    }
}

#[test]
fn width_and_colour() {
    let dir = tempdir();
    let path = dir.path().join("dtb");
    fs::write(&path, files::dtb()).unwrap();
    let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    for (columns, want) in [(None, 80), (Some("40"), 40), (Some("160"), 160), (Some("junk"), 80), (Some("0"), 80)] {
        let mut command = kimage();
        command.env_remove("COLUMNS").envs(columns.map(|columns| ("COLUMNS", columns)));
        let output = stdout(&run_ok(command.arg("map").arg(&path)));
        assert_eq!(longest(&output), want, "{columns:?}");
        assert!(!output.contains('\x1b'), "colour without a terminal");
    }
    assert_eq!(run(kimage().arg("map").arg(dir.path().join("none"))).status.code(), Some(1));
    assert_eq!(run(kimage().arg("map")).status.code(), Some(2));
}
