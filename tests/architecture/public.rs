//! The public surface does not grow: what only the library uses is private to it, what only its tests use is in `internals`.

use crate::layers::{code, sources, src};
use std::path::{Path, PathBuf};

/// Modules, types, traits, functions, methods and constants that an outsider can name or call: what rustdoc lists of the
/// library without the feature `internals`. Fields, variants and trait implementations belong to their type and are not
/// counted. Make it smaller where you can.
const LIMIT: usize = 400;

const KINDS: [&str; 10] =
    ["fn ", "const fn ", "struct ", "enum ", "trait ", "type ", "static ", "mod ", "union ", "const "];

const TYPES: [&str; 4] = ["pub struct ", "pub enum ", "pub trait ", "pub type "];

/// The name of the `pub` item that begins in this line.
fn public_name(line: &str) -> Option<&str> {
    let item = line.trim_start().strip_prefix("pub ")?;
    let name = KINDS.iter().find_map(|kind| item.strip_prefix(kind))?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// The type of a line that begins an `impl` at the left margin.
fn implemented(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        rest = rest.split_once("> ")?.1;
    }
    let of = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    of.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Source as an outsider sees it.
fn seen(path: &Path) -> String {
    code(path).split("#[cfg(feature = \"internals\")]").next().unwrap_or_default().to_owned()
}

/// The files whose modules are public up to the root, with the folder of each.
fn public_modules(file: PathBuf, folder: PathBuf, found: &mut Vec<(PathBuf, PathBuf)>) {
    for line in seen(&file).lines() {
        let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        let inner = folder.join(name);
        let alone = inner.with_extension("rs");
        public_modules(if alone.exists() { alone } else { inner.join("mod.rs") }, inner, found);
    }
    found.push((file, folder));
}

/// What a public module shows of others by `pub use`: where it is from, and its name there.
fn shown(text: &str, folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for used in text.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        let (path, names) = used.split_once("::{").or_else(|| used.rsplit_once("::")).unwrap();
        let from = path.strip_prefix("crate::").map_or(folder.to_owned(), |path| src().join(path.replace("::", "/")));
        for name in names.trim_end_matches('}').split(',').map(str::trim).filter(|name| !name.is_empty()) {
            found.push((from.clone(), name.split(" as ").next().unwrap().to_owned()));
        }
    }
    found
}

/// The public ones of a file's items, by the names that are public in it, with methods and what a trait asks for.
fn public_items(text: &str, names: &[&str]) -> Vec<String> {
    let mut items = Vec::new();
    let (mut within, mut is_trait) = ("", false);
    for line in text.lines() {
        let name = public_name(line);
        // Types stand in no `impl`, but some in a macro.
        let is_type = TYPES.iter().any(|kind| line.trim_start().starts_with(kind));
        if let Some(outer) = implemented(line).or(name.filter(|_| is_type || !line.starts_with(' '))) {
            (within, is_trait) = (outer, line.starts_with("pub trait "));
        }
        let asked = is_trait && (line.starts_with("    fn ") || line.starts_with("    type "));
        let rule = line.strip_prefix("    pub ").and_then(|rest| rest.split_once(" = \"")).map(|(name, _)| name);
        match name.or(asked.then_some("asked")) {
            Some(name) if names.contains(&within) => items.push(format!("{within}::{name}")),
            None => items.extend(rule.filter(|name| names.contains(name)).map(str::to_owned)),
            _ => {}
        }
    }
    items
}

#[test]
fn the_public_surface_does_not_grow() {
    let mut modules = Vec::new();
    public_modules(src().join("lib.rs"), src(), &mut modules);
    let mut public = Vec::new();
    for (file, folder) in &modules {
        let text = seen(file);
        public.extend(shown(&text, folder));
        let outer = text.lines().filter(|line| !line.starts_with(' ')).filter_map(public_name);
        public.extend(outer.map(|name| (folder.clone(), name.to_owned())));
    }
    let mut items = Vec::new();
    for path in sources(&src()).into_iter().filter(|path| !path.starts_with(src().join("bin"))) {
        let holds = |from: &Path| path.starts_with(from) || path == from.with_extension("rs");
        let names: Vec<&str> = public.iter().filter(|(from, _)| holds(from)).map(|(_, name)| name.as_str()).collect();
        items.extend(public_items(&seen(&path), &names));
    }
    let count = items.len();
    assert!(count > 100, "the test sees nothing: {count}");
    assert!(count <= LIMIT, "{count} public items, {LIMIT} are allowed: {items:#?}");
}

#[test]
fn the_test_sees_items_only() {
    assert_eq!(public_name("    pub const fn new() {"), Some("new"));
    assert_eq!(public_name("pub const MOST: u64 = 1;"), Some("MOST"));
    assert_eq!(public_name("pub struct Elf<'a> {"), Some("Elf"));
    for line in ["pub(crate) fn new() {", "    pub name: u64,", "pub use a::b;"] {
        assert_eq!(public_name(line), None, "{line}");
    }
    assert_eq!(implemented("impl<'a> Elf<'a> {"), Some("Elf"));
    assert_eq!(implemented("impl From<u8> for Kind {"), Some("Kind"));
    let names = shown("pub use crate::a::{B as D, E};\npub use f::G;\npub(crate) use h::I;", Path::new("here"));
    let names: Vec<_> = names.iter().map(|(from, name)| (from.strip_prefix(src()).unwrap_or(from), &**name)).collect();
    assert_eq!(names, [(Path::new("a"), "B"), (Path::new("a"), "E"), (Path::new("here"), "G")]);
    let text = "pub struct E {\n    pub field: u8,\n}\nimpl E {\n    pub fn f() {}\n}\npub struct Hidden;\n";
    assert_eq!(public_items(text, &["E"]), ["E::E", "E::f"]);
    let text = "rules! {\n    pub CODEC = \"codec.x\", Note;\n}\nmacro! {\n    pub struct T,\n}\npub trait A {\n    fn f();\n}\n";
    assert_eq!(public_items(text, &["CODEC", "T", "A"]), ["CODEC", "T::T", "A::A", "A::asked"]);
}
