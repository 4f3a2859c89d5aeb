//! `map`: the picture of a file.

use crate::args::Map;
use crate::input::Input;
use crate::output::Output;
use crate::{message, screen};
use anyhow::{Context, Result};
use kimage::inspect::map::map as picture;
use kimage::inspect::open;
use kimage::report::{map_svg, write_map_text};
use std::io;

/// What is not a terminal.
const WIDTH: usize = 80;

pub(crate) fn map(args: &Map) -> Result<()> {
    let input = Input::open(&args.file)?;
    let opened = message::busy("reading", || open(&input, &args.opening.limits())).with_context(|| input.name())?;
    message::left_out(&opened);
    let map = picture(&opened);
    if let Some(path) = &args.svg {
        let svg = map_svg(&input.name(), &map);
        let output = Output { path, sync: args.sync, is_text: true };
        return output.write(svg.len() as u64, |out| Ok(out.write_all(svg.as_bytes())?));
    }
    screen::print(|out| write_map_text(&input.name(), &map, width(), screen::style(), out))
}

/// COLUMNS, where it is set; else the terminal's own width.
fn width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|width| *width > 0);
    let own = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    set.or_else(own).unwrap_or(WIDTH)
}
