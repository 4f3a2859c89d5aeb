//! The public surface does not grow: what only the library uses is `pub(crate)`.

use crate::layers::{code, sources, src};

/// Functions, methods, types, constants and modules that are `pub`; the compiler's `unreachable_pub` holds that each can be
/// named, or called, from outside. Fields, variants and re-exports are not counted. Make it smaller where you can.
const LIMIT: usize = 565;

const KINDS: [&str; 9] = ["fn ", "struct ", "enum ", "trait ", "type ", "static ", "mod ", "union ", "const "];

fn is_public(line: &str) -> bool {
    line.trim_start().strip_prefix("pub ").is_some_and(|item| KINDS.iter().any(|kind| item.starts_with(kind)))
}

#[test]
fn the_public_surface_does_not_grow() {
    let shared = src().join("stub");
    let files = sources(&src()).into_iter().filter(|path| !path.starts_with(src().join("bin")));
    // What the boot stub compiles, too, is `pub` in a private module.
    let files = files.filter(|path| !path.starts_with(&shared));
    let count = files.map(|path| code(&path).lines().filter(|line| is_public(line)).count()).sum::<usize>();
    assert!(count > 100, "the test sees nothing: {count}");
    assert!(count <= LIMIT, "{count} public items, {LIMIT} are allowed: what only the library uses is pub(crate)");
}

#[test]
fn the_test_sees_items_only() {
    assert!(is_public("    pub const fn new() {") && is_public("pub mod elf;") && is_public("pub struct Elf<'a> {"));
    assert!(!is_public("pub(crate) fn new() {") && !is_public("    pub name: u64,") && !is_public("pub use a::b;"));
}
