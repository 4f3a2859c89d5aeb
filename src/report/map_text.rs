//! The picture of a file for a terminal: bars of Unicode blocks, to scale.

use super::Style;
use super::style::clean;
use crate::inspect::map::{Map, Memory, Paint, Span};
use std::io::{self, Write};
use std::ops::Range;

/// The narrowest picture that shows anything, in columns.
const NARROWEST: usize = 20;

/// What stands for a colour where there is none, and beside a colour tells those apart who do not see it; and the colour's SGR
/// code.
fn look(paint: Paint) -> (char, &'static str) {
    match paint {
        Paint::Header => ('▓', "33"),
        Paint::Code => ('█', "34"),
        Paint::Payload => ('▒', "35"),
        Paint::Data => ('░', "32"),
        Paint::Digest => ('#', "31"),
        Paint::Padding => ('·', "90"),
        Paint::Memory => ('-', "36"),
    }
}

fn glyph(paint: Paint) -> char {
    look(paint).0
}

/// The glyph in its colour.
fn mark(paint: Paint, style: Style) -> String {
    let (glyph, colour) = look(paint);
    style.paint(&glyph.to_string(), colour)
}

/// Writes the picture of the file called `name`, `width` columns wide.
///
/// # Errors
/// The writer's own.
pub fn write_map_text(name: &str, map: &Map, width: usize, style: Style, mut out: impl Write) -> io::Result<()> {
    let width = width.max(NARROWEST);
    let mut used: Vec<Paint> = Vec::new();
    for (index, bar) in map.bars.iter().enumerate() {
        let label = if index == 0 { clean(name) } else { clean(&bar.path) };
        let range = 0..bar.spans.last().map_or(0, |span| span.at.end);
        for line in wrapped(&format!("{label}: {}, {} bytes", clean(&bar.title), range.end), width) {
            writeln!(out, "{}", style.paint(&line, "1"))?;
        }
        write_bar(&bar.spans, &range, width, style, &mut out)?;
        // One region that is all of the layer was said in the title.
        if bar.spans.len() > 1 {
            write_list(&bar.spans, &range, width, style, &mut out)?;
        }
        used.extend(bar.spans.iter().map(|span| span.paint));
    }
    match &map.memory {
        Ok(memory) => {
            write_memory(memory, width, style, &mut out)?;
            used.extend(memory.lanes.iter().flat_map(|lane| &lane.spans).map(|span| span.paint));
        }
        Err(why) => {
            writeln!(out)?;
            for line in wrapped(&format!("no picture of memory: {why}"), width) {
                writeln!(out, "{line}")?;
            }
        }
    }
    let legend = Paint::ALL.into_iter().filter(|paint| used.contains(paint));
    let words: Vec<(String, String)> = legend
        .map(|paint| {
            let text = format!("{} {}", glyph(paint), paint.name());
            (mark(paint, style) + " " + paint.name(), text)
        })
        .collect();
    let mut column = 0;
    for (painted, plain) in words {
        let len = plain.chars().count() + 2;
        if column > 0 && column + len > width {
            writeln!(out)?;
            column = 0;
        }
        write!(out, "{painted}  ")?;
        column += len;
    }
    writeln!(out)
}

/// One row: each column stands for an equal share of `range`, and shows what most of its share is.
fn write_bar(spans: &[Span], range: &Range<u64>, width: usize, style: Style, out: &mut impl Write) -> io::Result<()> {
    let columns: Vec<Option<Paint>> = (0..width).map(|column| dominant(spans, range, column, width)).collect();
    for run in columns.chunk_by(|one, other| one == other) {
        let paint = run.first().copied().flatten();
        let text: String = run.iter().map(|paint| paint.map_or(' ', glyph)).collect();
        write!(out, "{}", paint.map_or(text.clone(), |paint| style.paint(&text, look(paint).1)))?;
    }
    writeln!(out)?;
    // The names that fit under their own span.
    let mut line = String::new();
    let mut at = 0;
    for span in spans {
        let name = clean(&span.name);
        let len = name.chars().count();
        let (start, end) = (column_of(span.at.start, range, width), column_of(span.at.end, range, width));
        if start >= at && start + len < end.max(start + 1) + usize::from(end == width) {
            line.push_str(&" ".repeat(start - at));
            line.push_str(&name);
            at = start + len;
        }
    }
    if line.is_empty() { Ok(()) } else { writeln!(out, "{}", style.paint(&line, "2")) }
}

/// The first column that is not before `at`.
fn column_of(at: u64, range: &Range<u64>, width: usize) -> usize {
    let (total, offset) = (u128::from(range.end - range.start).max(1), u128::from(at.saturating_sub(range.start)));
    let width = u128::try_from(width).unwrap_or(0);
    usize::try_from(offset * width / total).unwrap_or(usize::MAX)
}

fn dominant(spans: &[Span], range: &Range<u64>, column: usize, width: usize) -> Option<Paint> {
    let total = u128::from(range.end - range.start);
    let (column, width) = (u128::try_from(column).ok()?, u128::try_from(width).ok()?);
    // In units of 1/width of a byte, so that a small file is to scale too.
    let cell = column * total..(column + 1) * total;
    let unit = |at: u64| u128::from(at.saturating_sub(range.start)) * width;
    let shared = |span: &Span| {
        let (start, end) = (unit(span.at.start).max(cell.start), unit(span.at.end).min(cell.end));
        end.saturating_sub(start)
    };
    spans
        .iter()
        .map(|span| (shared(span), span.paint))
        .filter(|(shared, _)| *shared > 0)
        .max_by_key(|(shared, _)| *shared)
        .map(|(_, paint)| paint)
}

/// Every span with its place: name, offset, size, share.
fn write_list(spans: &[Span], range: &Range<u64>, width: usize, style: Style, out: &mut impl Write) -> io::Result<()> {
    let total = u128::from(range.end - range.start).max(1);
    // Padding of a few bytes would be every other line.
    let shown = spans.iter().filter(|span| span.paint != Paint::Padding || u128::from(span.size()) * 1000 >= total);
    let spans: Vec<&Span> = shown.collect();
    let rows: Vec<[String; 4]> = spans
        .iter()
        .map(|span| {
            let share = u128::from(span.size()) * 1000 / total;
            let share = format!("{}.{} %", share / 10, share % 10);
            [clean(&span.name), format!("{:#x}", span.at.start), span.size().to_string(), share]
        })
        .collect();
    let longest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths = [0, 1, 2, 3].map(|column| longest(column).unwrap_or(0));
    // Two blanks and a glyph in front, a blank between columns; as many such rows beside each other as fit.
    let row_width = widths.iter().sum::<usize>() + 3 + 4;
    let beside = (width / (row_width + 2)).clamp(1, 3);
    let lines = rows.len().div_ceil(beside);
    // In a narrow terminal the name gives way.
    let name_width = if row_width > width { widths[0].saturating_sub(row_width - width).max(6) } else { widths[0] };
    for line in 0..lines {
        for (row, span) in rows.iter().zip(&spans).skip(line).step_by(lines) {
            let [name, offset, size, share] = row;
            let name: String = name.chars().take(name_width).collect();
            let mark = mark(span.paint, style);
            let [_, w1, w2, w3] = widths;
            write!(out, "  {mark} {name:<name_width$} {offset:>w1$} {size:>w2$} {share:>w3$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_memory(memory: &Memory, width: usize, style: Style, out: &mut impl Write) -> io::Result<()> {
    let range = memory.range();
    writeln!(out)?;
    for line in wrapped(&format!("memory {:#x} to {:#x}: {}", range.start, range.end, memory.title), width) {
        writeln!(out, "{}", style.paint(&line, "1"))?;
    }
    for lane in &memory.lanes {
        writeln!(out, "{}", lane.name)?;
        write_bar(&lane.spans, &range, width, style, out)?;
        write_addresses(&lane.spans, &range, width, style, out)?;
    }
    for note in &memory.notes {
        for line in wrapped(&format!("- {note}"), width) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Addresses of a lane's spans.
fn write_addresses(
    spans: &[Span],
    range: &Range<u64>,
    width: usize,
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let digits = format!("{:#x}", range.end).len();
    for span in spans {
        let mark = mark(span.paint, style);
        let text = format!("{:#0w$x} to {:#0w$x} {}", span.at.start, span.at.end, clean(&span.name), w = digits);
        let text: String = text.chars().take(width.saturating_sub(4)).collect();
        writeln!(out, "  {mark} {text}")?;
    }
    Ok(())
}

/// Breaks at blanks; a word that is too long is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        while let Some(line) = lines.last_mut() {
            let used = line.chars().count();
            let need = rest.len() + usize::from(used > 0);
            if used + need <= width {
                if used > 0 {
                    line.push(' ');
                }
                line.extend(rest);
                break;
            }
            if used == 0 {
                line.extend(rest.drain(..width.min(rest.len())));
            }
            lines.push(String::new());
        }
    }
    lines
}
