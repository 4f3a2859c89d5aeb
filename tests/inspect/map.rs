//! `kimage map`: no byte is left out, no line is too long, the memory is that of the header.

use crate::files;
use crate::support::{self, corpus, kimage, read, run, run_ok, stdout, tempdir, testdata, tool};
use kimage::inspect::map::{Paint, map};
use kimage::inspect::{Limits, open};
use kimage::report::{Style, map_svg, write_map_text};
use std::fs;

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
        assert_eq!(memory.range(), base..base + size, "{}", tree.name);
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
