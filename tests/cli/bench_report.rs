//! What `kimage bench` draws and prints of given figures: goldens in `testdata/bench`, rewritten by `KIMAGE_UPDATE=1`, and
//! plots of many kinds in which no name may cover another.

use crate::support::testdata;
use kimage::assemble::{Payload, PayloadForm};
use kimage::codec::Bcj;
use kimage::report::{BenchReport, Conditions, Cost, Failed, Measured, write_bench_svg, write_bench_text};
use roxmltree::Document;
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// Name, size, then nanoseconds and memory to compress and to decompress.
type Figures<'f> = (&'f str, u64, (u64, Option<u64>), (u64, Option<u64>));

const CONDITIONS: Conditions = Conditions { threads: 2, compress_runs: 4, decompress_runs: 12 };

/// As `kimage bench` measured them on a kernel of the corpus (Linux 6.1, x86-64), rounded.
const KERNEL: &[Figures<'_>] = &[
    ("xz", 1_184_804, (6_440_000_000, Some(243_863_552)), (214_000_000, Some(12_058_624))),
    ("lzma", 1_241_689, (7_080_000_000, Some(176_594_944)), (196_000_000, Some(12_128_256))),
    ("xz-0", 1_298_808, (1_390_000_000, Some(77_537_280)), (242_000_000, Some(12_124_160))),
    ("zstd", 1_310_463, (7_200_000_000, Some(751_411_200)), (29_100_000, Some(12_304_384))),
    ("zstd-19", 1_311_811, (4_480_000_000, Some(93_372_416)), (5_350_000, Some(8_855_552))),
    ("gzip-best", 1_417_736, (1_620_000_000, Some(17_313_792)), (11_600_000, Some(114_688))),
    ("bzip2", 1_434_242, (1_640_000_000, Some(17_879_040)), (408_000_000, Some(3_866_624))),
    ("gzip", 1_461_093, (457_000_000, Some(10_764_288)), (22_500_000, Some(122_880))),
    ("zstd-3", 1_569_336, (74_900_000, Some(3_506_176)), (4_160_000, Some(2_715_648))),
    ("lzo", 1_739_536, (1_080_000_000, Some(2_678_784)), (73_200_000, Some(364_544))),
    ("lz4", 1_766_565, (400_000_000, Some(18_739_200)), (1_170_000, Some(8_658_944))),
    ("lz4-1", 2_098_598, (18_200_000, Some(12_845_056)), (1_140_000, Some(8_593_408))),
];

/// Lets `with` see the report on `figures` of a payload of `len` bytes.
fn report<T>(len: usize, form: PayloadForm, figures: &[Figures<'_>], with: impl FnOnce(&BenchReport<'_>) -> T) -> T {
    let payload = Payload { bytes: Cow::Owned(vec![0; len]), form, bcj: Bcj::X86, findings: Vec::new() };
    let measured = figures.iter().map(|(name, size, compress, decompress)| Measured {
        codec: (*name).to_owned(),
        size: *size,
        compress: Cost { ns: compress.0, memory: compress.1 },
        decompress: Cost { ns: decompress.0, memory: decompress.1 },
    });
    let failed = vec![Failed { codec: "none".to_owned(), message: "left out".to_owned() }];
    with(&BenchReport::new("vmlinux", &payload, CONDITIONS, measured.collect(), failed))
}

fn plot(len: usize, figures: &[Figures<'_>]) -> String {
    let mut svg = Vec::new();
    report(len, PayloadForm::AsIs, figures, |report| write_bench_svg(report, &mut svg)).unwrap();
    String::from_utf8(svg).unwrap()
}

/// A file of testdata must be `got`.
#[track_caller]
fn golden(name: &str, got: &[u8]) {
    let path = testdata("bench").join(name);
    if std::env::var_os("KIMAGE_UPDATE").is_some() {
        fs::write(&path, got).unwrap();
    }
    let want = fs::read(&path).unwrap_or_default();
    assert!(
        got == want,
        "{} is not what it was; look at it after KIMAGE_UPDATE=1:\n{}",
        path.display(),
        String::from_utf8_lossy(got)
    );
}

#[test]
fn goldens() {
    const FORM: PayloadForm = PayloadForm::Elf { relocs_size: Some(131_100) };
    let mut svg = Vec::new();
    let mut text = Vec::new();
    let mut colour = Vec::new();
    report(12_123_580, FORM, KERNEL, |report| {
        write_bench_svg(report, &mut svg).unwrap();
        write_bench_text(report, false, &mut text).unwrap();
        write_bench_text(report, true, &mut colour).unwrap();
    });
    names_do_not_overlap(std::str::from_utf8(&svg).unwrap(), KERNEL.len());
    golden("kernel.svg", &svg);
    golden("kernel.txt", &text);
    let text = String::from_utf8(text).unwrap();
    let speed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/speed.md")).unwrap();
    assert!(speed.contains(&text), "docs/speed.md shows another table:\n{text}");
    // Colour adds its sequences and nothing else.
    let colour = String::from_utf8(colour).unwrap();
    assert!(colour.contains("\x1b[1;32m"));
    assert_eq!(colour.replace("\x1b[1;32m", "").replace("\x1b[0m", ""), text);
}

/// Every name once in each panel, none over another, none outside of the drawing.
#[track_caller]
fn names_do_not_overlap(svg: &str, count: usize) {
    let document = Document::parse(svg).unwrap();
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| -> f64 { node.attribute(name).unwrap().parse().unwrap() };
    let (width, height) = (number(&document.root_element(), "width"), number(&document.root_element(), "height"));
    let mut boxes = Vec::new();
    for node in
        document.descendants().filter(|node| node.attribute("class").is_some_and(|class| class.contains("halo")))
    {
        let (x, y, name) = (number(&node, "x"), number(&node, "y"), node.text().unwrap());
        // Six pixels a character is what DejaVu Sans, a wide font, takes of most letters at this size.
        boxes.push((x, y - 9.0, x + name.len() as f64 * 6.0, y + 2.0, name));
    }
    let panels = document.descendants().filter(|node| node.attribute("class") == Some("frame")).count();
    assert_eq!(boxes.len(), panels * count);
    for (index, one) in boxes.iter().enumerate() {
        assert!(one.0 > 0.0 && one.1 > 0.0 && one.2 < width && one.3 < height, "{one:?}");
        for other in &boxes[index + 1..] {
            let apart = one.2 <= other.0 || other.2 <= one.0 || one.3 <= other.1 || other.3 <= one.1;
            assert!(apart, "{one:?} covers {other:?}");
        }
    }
}

const MIB: u64 = 1 << 20;

#[test]
fn plots_of_all_kinds() {
    // One result; two that are equal; sizes from one byte to the largest number; no memory known.
    let one: [Figures<'_>; 1] = [("xz", 1000, (5, Some(0)), (5, Some(MIB)))];
    names_do_not_overlap(&plot(4000, &one), 1);
    let equal: [Figures<'_>; 2] =
        [("lz4", 9, (7, Some(MIB)), (7, Some(MIB))), ("lz4-frame", 9, (7, Some(MIB)), (7, Some(MIB)))];
    names_do_not_overlap(&plot(10, &equal), 2);
    let wide: [Figures<'_>; 3] = [
        ("none", u64::MAX, (0, Some(0)), (1, Some(1))),
        ("lz4", 1 << 30, (1_000_000, Some(MIB)), (u64::MAX, Some(u64::MAX))),
        ("zstd-19-128MiB-split", 1, (u64::MAX, Some(u64::MAX)), (1_000_000_000, Some(MIB))),
    ];
    names_do_not_overlap(&plot(0, &wide), 3);
    let unknown: Vec<Figures<'_>> = KERNEL.iter().map(|one| (one.0, one.1, (one.2.0, None), (one.3.0, None))).collect();
    let svg = plot(1 << 20, &unknown);
    names_do_not_overlap(&svg, KERNEL.len());
    assert!(!svg.contains("Memory") && svg.contains("memory not known"));
    // Nothing at all still is a drawing.
    Document::parse(&plot(100, &[])).unwrap();
}

/// The line of a front goes through its marks, from the smallest result on.
#[test]
fn the_front_is_drawn_through_its_marks() {
    let figures: [Figures<'_>; 4] = [
        ("xz", 100, (90, None), (50, None)),
        ("gzip", 150, (50, None), (60, None)),
        ("zstd", 180, (40, None), (20, None)),
        ("lz4", 300, (10, None), (10, None)),
    ];
    let svg = plot(1000, &figures);
    let document = Document::parse(&svg).unwrap();
    let centre = |title: &str, nth: usize| {
        let group = document.descendants().filter(|node| {
            node.has_tag_name("g")
                && node.descendants().any(|inner| inner.text().is_some_and(|text| text.starts_with(title)))
        });
        let circle =
            group.flat_map(|node| node.children()).filter(|node| node.has_tag_name("circle")).nth(nth).unwrap();
        format!("{},{}", circle.attribute("cx").unwrap(), circle.attribute("cy").unwrap())
    };
    let lines: Vec<&str> = document
        .descendants()
        .filter(|node| node.has_tag_name("polyline"))
        .filter_map(|node| node.attribute("points"))
        .collect();
    // gzip decompresses slower than xz, and is larger. The third line is the legend's.
    let line = |names: &[&str], panel| names.iter().map(|name| centre(name, panel)).collect::<Vec<_>>().join(" ");
    assert_eq!(lines[..2], [line(&["xz", "zstd", "lz4"], 0), line(&["xz", "gzip", "zstd", "lz4"], 1)]);
    assert_eq!(lines.len(), 3);
}
