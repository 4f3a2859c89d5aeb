//! The table.

use super::{BenchReport, Row, Side, units};
use std::io::{self, Write};

const HEAD: [&str; 7] = ["codec", "size", "ratio", "compress  ", "memory", "decompress  ", "memory"];

/// Writes the table, smallest result first, and what it means; `colour` marks the fronts by terminal sequences, too.
///
/// # Errors
/// The writer's own.
pub fn write_bench_text(report: &BenchReport<'_>, colour: bool, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "{}: {}", report.input, report.payload_text())?;
    if report.results.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; 7]> = report.results.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(HEAD.get(column).map(|head| head.len())).max().unwrap_or(0)
    };
    let line = |cells: &[&str], paint: &dyn Fn(usize, String) -> String| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            paint(column, if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    writeln!(out)?;
    writeln!(out, "{}", line(&HEAD, &|_, cell| cell))?;
    for (cells, row) in rows.iter().zip(&report.results) {
        let green = |column: usize, cell: String| {
            let on_front = (column == 3 && row.compress.on_front) || (column == 5 && row.decompress.on_front);
            if colour && on_front { format!("\x1b[1;32m{cell}\x1b[0m") } else { cell }
        };
        writeln!(out, "{}", line(&cells.each_ref().map(String::as_str), &green))?;
    }
    writeln!(out)?;
    writeln!(out, "* Pareto front over size and the time of that column: no other result is at most as large and at")?;
    writeln!(out, "  most as slow, and better in one of the two.")?;
    writeln!(out, "Times are kimage's own on this machine; {}.", report.conditions_text())?;
    writeln!(out, "Memory is the most in use at once beyond the input and the output.")
}

fn cells(row: &Row) -> [String; 7] {
    let time = |side: Side| format!("{} {}", units::time(side.ns), if side.on_front { '*' } else { ' ' });
    let memory = |side: Side| side.memory.map_or("not known".to_owned(), |bytes| units::bytes(bytes, 3));
    [
        row.codec.clone(),
        units::bytes(row.size, 4),
        format!("{:.2}%", row.ratio * 100.0),
        time(row.compress),
        memory(row.compress),
        time(row.decompress),
        memory(row.decompress),
    ]
}
