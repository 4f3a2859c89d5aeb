//! The architecture is a test: no room names a room that lies above it, only the binary touches paths and the clock,
//! and no file outgrows its room.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest first; those in one line may use what is below the line, not each other.
const ROOMS: &[&[&str]] = &[
    &["bytes"],
    &["codec", "arch", "finding"],
    &["layout"],
    &["elf"],
    &["stub", "payload"],
    &["format"],
    &["error"],
    &["assemble", "inspect", "lint"],
    &["kbuild"],
    &["report"],
];

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
    let body = text.split("#[cfg(test)]").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The room of a file of the library; `None` for lib.rs and the binary.
fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(src()).unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "bin").then(|| name.to_owned())
}

fn floors() -> BTreeMap<&'static str, usize> {
    let floor = |(floor, rooms): (usize, &&'static [&'static str])| {
        rooms.iter().map(move |room| (*room, floor)).collect::<Vec<_>>()
    };
    ROOMS.iter().enumerate().flat_map(floor).collect()
}

/// The rooms that `text` names by `crate::room` or inside `use crate::{room…, room…}`.
fn named_rooms<'r>(text: &str, rooms: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let grouped: String =
        text.split("use crate::{").skip(1).filter_map(|rest| rest.split(';').next()).collect::<Vec<_>>().join(",");
    rooms
        .filter(|room| {
            let direct = format!("crate::{room}");
            let names = |text: &str, word: &str| {
                text.match_indices(word).any(|(at, _)| {
                    let before = text[..at].chars().next_back().unwrap_or(' ');
                    let after = text[at + word.len()..].chars().next().unwrap_or(' ');
                    !before.is_alphanumeric() && before != '_' && !after.is_alphanumeric() && after != '_'
                })
            };
            let in_group = grouped.split([',', '{', '}']).any(|part| part.trim().split("::").next() == Some(room));
            names(text, &direct) || in_group
        })
        .collect()
}

#[test]
fn no_room_names_a_later_room() {
    let floors = floors();
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        let Some(room) = room_of(&path) else { continue }; // no gap: not in a room
        let own = *floors.get(room.as_str()).unwrap_or_else(|| panic!("{}: a room that has no floor", path.display()));
        for named in named_rooms(&code(&path), floors.keys().copied()) {
            if named != room && floors[named] >= own {
                wrong.push(format!("{} (room {room}) names {named}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The test above would be worthless if it could not see.
#[test]
fn the_check_sees_both_ways_of_naming() {
    let rooms = ["bytes", "format", "elf"];
    let see = |text| named_rooms(text, rooms.iter().copied());
    assert_eq!(see("use crate::format::pe;"), ["format"]);
    assert_eq!(see("let x = crate::elf::Elf::parse(b);"), ["elf"]);
    assert_eq!(see("use crate::{bytes::len64, elf};"), ["bytes", "elf"]);
    assert_eq!(see("use crate::{\n    elf::{self, Elf},\n    bytes,\n};"), ["bytes", "elf"]);
    assert!(see("use crate::formats; format!(\"x\")").is_empty());
}

#[test]
fn lib_docs_map_every_room() {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    for room in ROOMS.iter().copied().flatten() {
        let linked = text.contains(&format!("[`{room}`]")) || text.contains(&format!("[`mod@{room}`]"));
        assert!(linked, "the map in lib.rs does not show {room}");
        assert!(text.contains(&format!("pub mod {room};")), "lib.rs does not declare {room}");
    }
}

#[test]
fn only_the_binary_knows_paths_clock_environment_and_terminal() {
    for path in sources(&src()) {
        if room_of(&path).is_none() {
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
fn no_file_outgrows_its_room() {
    for path in sources(&src()) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines: split it by responsibility", path.display());
    }
}

/// What the binary may name of the library: what does a command's work, and the words that all of them share.
const FOR_THE_BINARY: &[&str] =
    &["assemble", "inspect", "kbuild", "lint", "report", "arch", "bytes", "codec", "error", "finding"];

#[test]
fn the_binary_reaches_no_deeper_than_the_works() {
    let floors = floors();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in sources(&src().join("bin")) {
        let code = code(&path).replace("use crate::", "use binary::").replace("kimage::", "crate::");
        for named in named_rooms(&code, floors.keys().copied()) {
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
        if room_of(&path).is_none() || path.ends_with("kbuild/link.rs") {
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
