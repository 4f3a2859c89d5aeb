//! The picture of a file as SVG: layer under layer, then memory.

use super::svg::{Anchor, Svg};
use crate::inspect::map::{Bar, Map, Memory, Paint, Span};
use std::ops::Range;

/// Pixels.
const WIDTH: f64 = 1100.0;
const LEFT: f64 = 20.0;
const RIGHT: f64 = WIDTH - 20.0;
const BAR: f64 = 28.0;
/// From one layer to the next: title, bar, and room for what leads to the next.
const STEP: f64 = 78.0;
const LANE: f64 = 40.0;
/// Where the memory bars begin, behind their names.
const LANES: f64 = 130.0;

/// Colours that stay apart for the colour-blind (Okabe and Ito), paler in the dark.
const STYLE: &str = "\
.k0{fill:#e69f00}.k1{fill:#4a90d9}.k2{fill:#b5739d}.k3{fill:#2ca58d}.k4{fill:#d55e00}.k5{fill:#c4c9cf}.k6{fill:#9fd8ef}\
.k0,.k1,.k2,.k3,.k4,.k5,.k6{stroke:#fff;stroke-width:.6}\
.on{fill:#101418;pointer-events:none}.wedge{fill:#8c959f;fill-opacity:.18}\
@media(prefers-color-scheme:dark){.k0,.k1,.k2,.k3,.k4,.k5,.k6{stroke:#0d1117}.k5{fill:#6e7681}}";

/// Draws the picture of the file called `name`.
pub fn map_svg(name: &str, map: &Map) -> String {
    let bars = count(map.bars.len()) * STEP;
    let memory = map
        .memory
        .as_ref()
        .map_or(44.0, |memory| 70.0 + count(memory.lanes.len()) * LANE + count(memory.notes.len()) * 18.0);
    let height = 60.0 + bars + memory + 54.0;
    let mut svg = Svg::new(WIDTH, height, &format!("Map of {name}"));
    svg.style(STYLE);
    svg.text(LEFT, 30.0, Anchor::Start, "head", name);
    for (index, bar) in map.bars.iter().enumerate() {
        let top = 60.0 + count(index) * STEP;
        wedge(map, bar, index, top, &mut svg);
        let size = length(&bar.spans);
        let title = format!("{}: {}, {size} bytes", bar.path, bar.title);
        svg.text(LEFT, top + 12.0, Anchor::Start, "strong halo", &title);
        spans(&bar.spans, &(0..size), (LEFT, RIGHT), top + 18.0, "offset", &mut svg);
    }
    let mut y = 60.0 + bars;
    match &map.memory {
        Ok(memory) => y = draw_memory(memory, y + 10.0, &mut svg),
        Err(why) => {
            svg.text(LEFT, y + 24.0, Anchor::Start, "quiet", &format!("No picture of memory: {why}."));
            y += 34.0;
        }
    }
    legend(map, y + 20.0, &mut svg);
    svg.finish()
}

/// A number of things, or of bytes, as pixels are counted.
#[allow(clippy::cast_precision_loss, reason = "a picture is exact to a tenth of a pixel")]
fn count(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "a picture is exact to a tenth of a pixel")]
fn real(number: u64) -> f64 {
    number as f64
}

fn length(spans: &[Span]) -> u64 {
    spans.last().map_or(0, |span| span.at.end)
}

fn place(at: u64, range: &Range<u64>, (left, right): (f64, f64)) -> f64 {
    let total = real(range.end.saturating_sub(range.start)).max(1.0);
    left + (right - left) * real(at.saturating_sub(range.start)) / total
}

fn spans(all: &[Span], range: &Range<u64>, ends: (f64, f64), top: f64, what: &str, svg: &mut Svg) {
    for span in all {
        let (left, right) = (place(span.at.start, range, ends), place(span.at.end, range, ends));
        let share = real(span.size()) * 100.0 / real(range.end.saturating_sub(range.start)).max(1.0);
        let Range { start, end } = span.at;
        let title = format!(
            "{}\n{what} {start:#x} to {end:#x}\n{} bytes, {share:.1} percent\n{}",
            span.name,
            span.size(),
            span.paint.name()
        );
        svg.open(&title);
        // What is smaller than half a pixel is still there to be pointed at.
        svg.rect((left, top), ((right - left).max(0.5), BAR), class(span.paint));
        let need = 8.0 + 7.0 * count(span.name.chars().count());
        if right - left > need {
            svg.text((left + right) / 2.0, top + BAR / 2.0 + 4.0, Anchor::Middle, "on", &span.name);
        }
        svg.close();
    }
}

fn class(paint: Paint) -> &'static str {
    match paint {
        Paint::Header => "k0",
        Paint::Code => "k1",
        Paint::Payload => "k2",
        Paint::Data => "k3",
        Paint::Digest => "k4",
        Paint::Padding => "k5",
        Paint::Memory => "k6",
    }
}

/// From the range in the parent's bar to both ends of this one.
fn wedge(map: &Map, bar: &Bar, index: usize, top: f64, svg: &mut Svg) {
    let parent = map.bars.iter().enumerate().find(|(_, other)| Some(other.layer) == bar.parent);
    let Some((at, parent)) = parent else { return };
    let whole = 0..length(&parent.spans);
    let range = bar.in_parent.clone().filter(|range| range.end <= whole.end).unwrap_or(whole.clone());
    let (left, right) = (place(range.start, &whole, (LEFT, RIGHT)), place(range.end, &whole, (LEFT, RIGHT)));
    // Only from bar to bar: over others it would hide more than it shows.
    if index == at + 1 {
        let from = 60.0 + count(at) * STEP + 18.0 + BAR;
        let to = top + 18.0;
        svg.polygon(&[(left, from), (right.max(left + 1.0), from), (RIGHT, to), (LEFT, to)], "wedge");
    }
}

fn draw_memory(memory: &Memory, top: f64, svg: &mut Svg) -> f64 {
    let range = memory.range();
    svg.text(LEFT, top + 14.0, Anchor::Start, "head", "Memory");
    svg.text(LEFT, top + 34.0, Anchor::Start, "quiet", &memory.title);
    let mut y = top + 48.0;
    let bottom = y + count(memory.lanes.len()) * LANE;
    for (at, anchor) in [(range.start, Anchor::Start), (range.end, Anchor::End)] {
        let x = place(at, &range, (LANES, RIGHT));
        svg.line((x, y - 4.0), (x, bottom), "leader");
        svg.text(x, bottom + 14.0, anchor, "quiet", &format!("{at:#x}"));
    }
    for lane in &memory.lanes {
        svg.text(LEFT, y + 18.0, Anchor::Start, "strong", lane.name);
        spans(&lane.spans, &range, (LANES, RIGHT), y, "address", svg);
        y += LANE;
    }
    y += 18.0;
    for note in &memory.notes {
        y += 18.0;
        svg.text(LEFT, y, Anchor::Start, "", &format!("• {note}"));
    }
    y
}

fn legend(map: &Map, y: f64, svg: &mut Svg) {
    let lanes = map.memory.iter().flat_map(|memory| &memory.lanes).flat_map(|lane| &lane.spans);
    let used: Vec<Paint> = map.bars.iter().flat_map(|bar| &bar.spans).chain(lanes).map(|span| span.paint).collect();
    let mut x = LEFT;
    for paint in Paint::ALL.into_iter().filter(|paint| used.contains(paint)) {
        svg.rect((x, y), (14.0, 14.0), class(paint));
        svg.text(x + 20.0, y + 12.0, Anchor::Start, "", paint.name());
        x += 40.0 + 8.0 * count(paint.name().len());
    }
}
