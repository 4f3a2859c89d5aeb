//! The architecture is a test: no layer names one that lies above it, only the binary touches paths and the clock, and
//! no file grows too long.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first; those in one line may use what is below the line, not each other.
const LAYERS: &[&[&str]] = &[
    &["bytes"],
    &["codec", "arch", "finding", "sign"],
    &["layout"],
    &["elf"],
    &["stub", "payload"],
    &["format"],
    &["error"],
    &["assemble", "inspect", "lint"],
    &["edit", "kbuild", "doctor"],
    &["report"],
];

/// What only the library itself uses.
const PRIVATE: &[&str] = &["stub", "payload", "format"];

pub(crate) fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        // The boot stub is a crate of its own.
        if path.is_dir() && !path.ends_with("bootstub") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

pub(crate) fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Source without comments and without the unit tests at its end.
pub(crate) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The layer of a file of the library; `None` for lib.rs and the binary.
fn layer_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(src()).unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "bin").then(|| name.to_owned())
}

fn heights() -> BTreeMap<&'static str, usize> {
    let height = |(height, layers): (usize, &&'static [&'static str])| {
        layers.iter().map(move |layer| (*layer, height)).collect::<Vec<_>>()
    };
    LAYERS.iter().enumerate().flat_map(height).collect()
}

/// The layers that `text` names by `crate::layer` or inside `use crate::{layer…, layer…}`.
fn named_layers<'r>(text: &str, layers: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let grouped: String =
        text.split("use crate::{").skip(1).filter_map(|rest| rest.split(';').next()).collect::<Vec<_>>().join(",");
    layers
        .filter(|layer| {
            let direct = format!("crate::{layer}");
            let names = |text: &str, word: &str| {
                text.match_indices(word).any(|(at, _)| {
                    let before = text[..at].chars().next_back().unwrap_or(' ');
                    let after = text[at + word.len()..].chars().next().unwrap_or(' ');
                    !before.is_alphanumeric() && before != '_' && !after.is_alphanumeric() && after != '_'
                })
            };
            let in_group = grouped.split([',', '{', '}']).any(|part| part.trim().split("::").next() == Some(layer));
            names(text, &direct) || in_group
        })
        .collect()
}

#[test]
fn no_layer_names_a_later_one() {
    let heights = heights();
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        let Some(layer) = layer_of(&path) else { continue }; // no gap: not in a layer
        let own =
            *heights.get(layer.as_str()).unwrap_or_else(|| panic!("{}: a layer that has no height", path.display()));
        for named in named_layers(&code(&path), heights.keys().copied()) {
            if named != layer && heights[named] >= own {
                wrong.push(format!("{} (layer {layer}) names {named}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The test above would be worthless if it could not see.
#[test]
fn the_check_sees_both_ways_of_naming() {
    let layers = ["bytes", "format", "elf"];
    let see = |text| named_layers(text, layers.iter().copied());
    assert_eq!(see("use crate::format::pe;"), ["format"]);
    assert_eq!(see("let x = crate::elf::Elf::parse(b);"), ["elf"]);
    assert_eq!(see("use crate::{bytes::len64, elf};"), ["bytes", "elf"]);
    assert_eq!(see("use crate::{\n    elf::{self, Elf},\n    bytes,\n};"), ["bytes", "elf"]);
    assert!(see("use crate::formats; format!(\"x\")").is_empty());
}

#[test]
fn lib_docs_map_every_layer() {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    for layer in LAYERS.iter().copied().flatten() {
        let linked = text.contains(&format!("[`{layer}`]")) || text.contains(&format!("[`mod@{layer}`]"));
        let linked = linked || PRIVATE.contains(layer) && text.contains(&format!("`{layer}`"));
        assert!(linked, "the map in lib.rs does not show {layer}");
        let declared = if PRIVATE.contains(layer) { "pub(crate) mod" } else { "pub mod" };
        assert!(text.contains(&format!("{declared} {layer};")), "lib.rs does not declare {layer}");
    }
}

#[test]
fn only_the_binary_knows_paths_clock_environment_and_terminal() {
    for path in sources(&src()) {
        if layer_of(&path).is_none() {
            continue;
        }
        let code = code(&path);
        for word in
            ["std::fs", "std::path", "std::env", "std::time", "std::process", "IsTerminal", "println!", "unsafe "]
        {
            assert!(!code.contains(word), "{} uses {word}", path.display());
        }
    }
}

/// Cargo finds `tests/*.rs` and `tests/*/main.rs` by itself, and nobody finds a file that no `mod` names: its tests would
/// never run.
#[test]
fn every_test_file_is_part_of_a_test_binary() {
    fn hold(folder: &Path, root: &str) {
        let modules = fs::read_to_string(folder.join(root)).unwrap();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_module = path.extension().is_some_and(|extension| extension == "rs") || path.is_dir();
            if !is_module || path.file_name().is_some_and(|name| name == root) {
                continue;
            }
            let named = modules.lines().any(|line| line.trim_start().starts_with(&format!("mod {name};")));
            assert!(named, "{}: no `mod {name};` in {}", path.display(), folder.join(root).display());
            if path.is_dir() {
                hold(&path, "mod.rs");
            }
        }
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in fs::read_dir(tests).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let alone = path.extension().is_some_and(|extension| extension == "rs");
        assert!(!alone, "{}: make it a module of one of the test binaries, `tests/*/main.rs`", path.display());
        if path.is_dir() && !path.ends_with("support") {
            hold(&path, "main.rs");
        }
    }
}

/// What a merge or an editor leaves behind does not come back.
#[test]
fn no_strays() {
    fn look(folder: &Path, strays: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if [".orig", ".rej", ".bak", ".swp", "~"].iter().any(|end| name.ends_with(end)) {
                strays.push(path);
            } else if path.is_dir() && name != "target" {
                look(&path, strays);
            }
        }
    }
    let (root, mut strays) = (Path::new(env!("CARGO_MANIFEST_DIR")), Vec::new());
    for folder in ["src", "tests", "benches", "examples", "docs", "testdata"] {
        look(&root.join(folder), &mut strays);
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn no_file_is_too_long() {
    for path in sources(&src()) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines: split it by responsibility", path.display());
    }
}

/// What the binary may name of the library: what does a command's work, and the words that all of them share.
const FOR_THE_BINARY: &[&str] = &[
    "assemble", "edit", "inspect", "kbuild", "doctor", "lint", "report", "arch", "bytes", "codec", "error", "finding",
    "sign",
];

#[test]
fn the_binary_reaches_no_deeper_than_the_works() {
    let heights = heights();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in sources(&src().join("bin")) {
        let code = code(&path).replace("use crate::", "use binary::").replace("kimage::", "crate::");
        for named in named_layers(&code, heights.keys().copied()) {
            seen += 1;
            if !FOR_THE_BINARY.contains(&named) {
                wrong.push(format!("{} names {named}", path.display()));
            }
        }
    }
    assert!(seen > 40, "the test reads no imports");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Options of other programs that the library has to name.
const OF_OTHERS: &[&str] = &["emit-relocs", "update-section", "verify", "cert", "armthumb"];

/// The library names fields; which option sets one is the binary's business (src/bin/kimage/options.rs).
#[test]
fn the_library_names_no_option() {
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        // The options of ld are what it reads.
        if layer_of(&path).is_none() || path.ends_with("kbuild/link.rs") {
            continue;
        }
        let code = code(&path);
        for (at, _) in code.match_indices("--") {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            let name: String =
                code[at + 2..].chars().take_while(|char| char.is_ascii_lowercase() || *char == '-').collect();
            let is_option = name.starts_with(|char: char| char.is_ascii_lowercase());
            if is_option && " \"(`".contains(before) && !OF_OTHERS.contains(&name.as_str()) {
                wrong.push(format!("{}: --{name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
