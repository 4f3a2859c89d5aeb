//! The plot: size against what it costs, one panel for each cost.

use super::axis::Axis;
use super::labels::{Area, place};
use super::{BenchReport, Row, units};
use crate::report::svg::{Anchor, Svg};
use std::io::{self, Write};

/// Of the whole drawing, and of its parts, in pixels.
const WIDTH: f64 = 1080.0;
const HEAD: f64 = 58.0;
const PANEL: (f64, f64) = (WIDTH / 2.0, 380.0);
const FOOT: f64 = 50.0;
/// Around the axes of a panel.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 54.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
/// From number to number on an axis below a panel.
const TICKS_APART: f64 = 58.0;
/// Of a mark.
const RADIUS: f64 = 4.5;

/// A cost of a codec, which one panel shows.
#[derive(Debug, Clone, Copy)]
struct Panel {
    title: &'static str,
    of: fn(&Row) -> Option<u64>,
    is_memory: bool,
    /// Is it on the front over size and this cost? `None` for a panel without one.
    on_front: Option<fn(&Row) -> bool>,
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "Time to decompress",
        of: |row| Some(row.decompress.ns),
        is_memory: false,
        on_front: Some(|row| row.decompress.on_front),
    },
    Panel {
        title: "Time to compress",
        of: |row| Some(row.compress.ns),
        is_memory: false,
        on_front: Some(|row| row.compress.on_front),
    },
    Panel { title: "Memory to decompress", of: |row| row.decompress.memory, is_memory: true, on_front: None },
    Panel { title: "Memory to compress", of: |row| row.compress.memory, is_memory: true, on_front: None },
];

/// Writes the plot as SVG: a mark for each result, the marks on a front joined by a line.
///
/// # Errors
/// The writer's own.
pub fn write_bench_svg(report: &BenchReport<'_>, mut out: impl Write) -> io::Result<()> {
    // Where no memory is known there is nothing to show of it.
    let panels = PANELS.iter().filter(|panel| report.results.iter().any(|row| (panel.of)(row).is_some()));
    let panels: Vec<&Panel> = panels.collect();
    let rows = f64::from(u8::try_from(panels.len().div_ceil(2)).unwrap_or(2));
    let height = HEAD + PANEL.1 * rows + FOOT;
    let title = format!("What codecs make of {}", report.input);
    let mut svg = Svg::new(WIDTH, height, &title);
    svg.text(20.0, 28.0, Anchor::Start, "head", &title);
    svg.text(20.0, 47.0, Anchor::Start, "quiet", &report.payload_text());
    let mut corner = (0.0, HEAD);
    for panel in panels {
        draw_panel(&mut svg, report, panel, corner);
        corner = if corner.0 == 0.0 { (PANEL.0, corner.1) } else { (0.0, corner.1 + PANEL.1) };
    }
    draw_legend(&mut svg, report, height - FOOT);
    out.write_all(svg.finish().as_bytes())
}

fn draw_panel(svg: &mut Svg, report: &BenchReport<'_>, panel: &Panel, corner: (f64, f64)) {
    let area = Area {
        left: corner.0 + LEFT,
        top: corner.1 + TOP,
        right: corner.0 + PANEL.0 - RIGHT,
        bottom: corner.1 + PANEL.1 - BOTTOM,
    };
    let results: Vec<(&Row, u64)> =
        report.results.iter().filter_map(|row| Some((row, (panel.of)(row)?.max(1)))).collect();

    // Sizes count in the largest unit that fits the largest of them, costs in one that makes round numbers.
    let largest = results.iter().map(|(row, _)| row.size).max().unwrap_or(1);
    let (size_unit, size_name) = binary_unit(largest);
    let sizes = results.iter().map(|(row, _)| row.size.max(1) as f64 / size_unit);
    let y = Axis::new(sizes, (area.bottom, area.top), 0.06);
    let cost_unit = if panel.is_memory { f64::from(1 << 20) } else { 1.0 };
    let x = Axis::new(results.iter().map(|(_, cost)| *cost as f64 / cost_unit), (area.left, area.right), 0.2);
    let at = |row: &Row, cost: u64| (x.at(cost as f64 / cost_unit), y.at(row.size.max(1) as f64 / size_unit));

    let scale = |axis: &Axis| if axis.log { " (log scale)" } else { "" };
    let middle = (area.left + area.right) / 2.0;
    svg.text(middle, area.top - 14.0, Anchor::Middle, "strong", panel.title);
    svg.text(
        area.left - 8.0,
        area.top - 14.0,
        Anchor::End,
        "quiet",
        &format!("size{}", if y.log { ", log" } else { "" }),
    );
    svg.text(area.right + 8.0, area.top - 14.0, Anchor::Start, "quiet", "ratio");
    let unit = if panel.is_memory { "beyond input and output" } else { "wall clock" };
    svg.text(middle, area.bottom + 36.0, Anchor::Middle, "quiet", &format!("{unit}{}", scale(&x)));
    for tick in y.ticks(24.0) {
        let at = y.at(tick);
        svg.line((area.left, at), (area.right, at), "grid");
        let size = format!("{} {size_name}", units::plain(tick));
        svg.text(area.left - 8.0, at + 4.0, Anchor::End, "", &size);
        let percent = tick * size_unit / report.payload.size.max(1) as f64 * 100.0;
        let percent = if percent < 99.5 { format!("{percent:.1}%") } else { format!("{percent:.0}%") };
        svg.text(area.right + 8.0, at + 4.0, Anchor::Start, "quiet", &percent);
    }
    for tick in x.ticks(TICKS_APART) {
        let at = x.at(tick);
        svg.line((at, area.top), (at, area.bottom), "grid");
        svg.text(at, area.bottom + 18.0, Anchor::Middle, "", &if panel.is_memory { mib(tick) } else { seconds(tick) });
    }
    svg.rect((area.left, area.top), (area.right - area.left, area.bottom - area.top), "frame");

    let is_best = |row: &Row| panel.on_front.is_some_and(|on_front| on_front(row));
    let best: Vec<(f64, f64)> =
        results.iter().filter(|(row, _)| is_best(row)).map(|(row, cost)| at(row, *cost)).collect();
    if best.len() > 1 {
        svg.polyline(&best, "front");
    }
    // Those on the front have the first choice of a place for their name.
    let mut order: Vec<&(&Row, u64)> = results.iter().collect();
    order.sort_by_key(|(row, _)| !is_best(row));
    let marks: Vec<((f64, f64), &str)> = order.iter().map(|(row, cost)| (at(row, *cost), row.codec.as_str())).collect();
    for (((row, _), (centre, name)), label) in
        order.iter().zip(&marks).zip(place(&marks, RADIUS, &best, &area.shrunk(3.0)))
    {
        svg.open(&hover(row));
        if let Some([from, to]) = label.and_then(|label| label.leader) {
            svg.line(from, to, "leader");
        }
        svg.circle(*centre, RADIUS, if is_best(row) { "mark best" } else { "mark" });
        if let Some(label) = label {
            let (x, y) = label.start();
            svg.text(x, y, Anchor::Start, if is_best(row) { "halo strong" } else { "halo" }, name);
        }
        svg.close();
    }
}

fn draw_legend(svg: &mut Svg, report: &BenchReport<'_>, top: f64) {
    let y = top + 14.0;
    svg.polyline(&[(22.0, y), (62.0, y)], "front");
    svg.circle((28.0, y), RADIUS, "mark best");
    svg.circle((56.0, y), RADIUS, "mark best");
    let front = "Pareto front over size and the time of that panel: no other result is at most as large and at most as \
                 slow, and better in one of the two.";
    svg.text(72.0, y + 4.0, Anchor::Start, "", front);
    let times = format!("Times are kimage's own on one machine; {}.", report.conditions_text());
    svg.text(20.0, y + 24.0, Anchor::Start, "quiet", &times);
}

/// All that is known of a result.
fn hover(row: &Row) -> String {
    let side = |side: super::Side| {
        let memory = side.memory.map_or("memory not known".to_owned(), |memory| units::bytes(memory, 3));
        let front = if side.on_front { ", on the front" } else { "" };
        format!("{}, {memory}{front}", units::time(side.ns))
    };
    format!(
        "{}\n{} bytes ({}, {:.2}%)\ncompress: {}\ndecompress: {}",
        row.codec,
        row.size,
        units::bytes(row.size, 4),
        row.ratio * 100.0,
        side(row.compress),
        side(row.decompress)
    )
}

fn binary_unit(largest: u64) -> (f64, &'static str) {
    match largest {
        0..0x2000 => (1.0, "B"),
        0x2000..0x20_0000 => (1024.0, "KiB"),
        _ => (f64::from(1 << 20), "MiB"),
    }
}

/// A round number of nanoseconds.
fn seconds(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", units::plain(value))
}

/// A round number of MiB.
fn mib(value: f64) -> String {
    format!("{} MiB", units::plain(value))
}
