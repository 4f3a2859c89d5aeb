//! The tests are held to their word: none may pass without having tested and without saying so by `support::missing`.
//!
//! A text search, as a reader would do it: wherever a test leaves early, what made it leave is a call of `missing` or
//! of a function that comes to it, or a comment there begins with `no gap:` and says why nothing is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of the tests.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
                _ => (),
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut found);
    found.sort();
    found
}

/// The topic that a file belongs to (`boot/lint`): a module of a test topic; `support` is part of all of them.
fn topic(path: &Path) -> String {
    let mut parts = path.iter().skip_while(|part| *part != "tests").skip(1).map(|part| part.to_str().unwrap());
    match (parts.next().unwrap(), parts.next()) {
        ("support", _) | (_, None) => "support".to_owned(),
        (subject, Some(topic)) => format!("{subject}/{}", topic.strip_suffix(".rs").unwrap_or(topic)),
    }
}

/// The names that are called in a text, macros not counted.
fn calls(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let ends = text.match_indices('(').map(|(at, _)| &text[..at]);
    ends.map(|before| &before[before.trim_end_matches(is_name).len()..]).filter(|name| !name.is_empty()).collect()
}

/// The block that begins at this brace, without the braces.
fn block(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[1..at],
            '}' => depth -= 1,
            _ => (),
        }
    }
    text
}

/// Every function of a file: its name and its body.
fn functions(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices("fn ").filter(|(at, _)| *at == 0 || text[..*at].ends_with([' ', '\n', '(']));
    let named = starts.filter_map(|(at, _)| {
        let rest = &text[at + 3..];
        let name = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_')?];
        Some((name, block(&rest[rest.find('{')?..])))
    });
    named.collect()
}

/// The functions of each topic that come to `missing`, one way or another.
fn speakers(sources: &[(String, String)]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut speaking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    speaking.entry("support").or_default().insert("missing");
    loop {
        let before: usize = speaking.values().map(BTreeSet::len).sum();
        for (topic, text) in sources {
            for (name, body) in functions(text) {
                if speaks(&speaking, topic, body) {
                    speaking.entry(topic).or_default().insert(name);
                }
            }
        }
        if speaking.values().map(BTreeSet::len).sum::<usize>() == before {
            return speaking;
        }
    }
}

fn speaks(speaking: &BTreeMap<&str, BTreeSet<&str>>, topic: &str, text: &str) -> bool {
    let known = |whose: &str, name| speaking.get(whose).is_some_and(|names| names.contains(name));
    calls(text).into_iter().any(|name| known("support", name) || known(topic, name))
}

/// Where one leaves, and the text that decides it: of `let … else { return … }` the expression, of `if … { return; }` the
/// condition and the block.
fn leavings(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("else {") {
        let inside = block(&text[at + 5..]);
        let leaves = inside.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let statement = text[..at].rfind("let ").map_or(at, |start| start);
        // Not the other half of an `if`.
        let is_let = !text[statement..at].contains(';') && !text[statement..at].trim_end().ends_with('}');
        if is_let && ["return", "continue", "break"].iter().any(|word| leaves.starts_with(word)) {
            found.push((at, &text[statement..at + 5 + inside.len()]));
        }
    }
    for (at, _) in text.match_indices("return;") {
        let mut depth = 0_i32;
        let open = text[..at].char_indices().rev().find(|(_, c)| {
            depth += i32::from(*c == '}') - i32::from(*c == '{');
            depth < 0
        });
        let Some((open, _)) = open else { continue };
        let header = text[..open].rfind([';', '{', '}']).map_or(0, |start| start + 1);
        if !text[header..open].contains("else") {
            found.push((at, &text[header..at]));
        }
    }
    found
}

/// Does a comment at or right above the line of `at` say why this is none of ours?
fn is_explained(text: &str, at: usize) -> bool {
    let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let mut lines = text[..line_end].lines().rev();
    lines.next().is_some_and(|line| line.contains("// no gap: ")) || {
        lines.take(4).take_while(|line| !line.trim_end().ends_with(';')).any(|line| line.contains("// no gap: "))
    }
}

#[test]
fn nothing_is_passed_over_in_silence() {
    let sources: Vec<(PathBuf, String, String)> =
        files().into_iter().map(|path| (path.clone(), topic(&path), fs::read_to_string(&path).unwrap())).collect();
    let texts: Vec<(String, String)> = sources.iter().map(|(_, topic, text)| (topic.clone(), text.clone())).collect();
    let speaking = speakers(&texts);
    let mut silent = Vec::new();
    let mut seen = 0;
    for (path, topic, text) in
        sources.iter().filter(|(_, topic, _)| !["support", "architecture/untested"].contains(&&**topic))
    {
        let mut report = |at: usize, why: &str| {
            let line = text[..at].lines().count();
            silent.push(format!("{}:{line}: {why}", path.display()));
        };
        for (at, decides) in leavings(text) {
            seen += 1;
            // One of many is chosen: that there is none is nothing that the many have said.
            let (how, then) = decides.split_once("else {").unwrap_or((decides, ""));
            let chosen = [".find(", ".next()", ".first()", ".get("].iter().any(|one| how.contains(one));
            let said = speaks(&speaking, topic, then) || !chosen && speaks(&speaking, topic, how);
            if !said && !is_explained(text, at) {
                report(at, "leaves early, and nothing says so by support::missing; or add `// no gap: why`");
            }
        }
        for how in [
            "corpus().iter().filter(",
            "corpus().iter().find(",
            "corpus().iter().any(",
            "_trees().into_iter().filter(",
            "_trees().into_iter().find(",
        ] {
            for (at, _) in text.match_indices(how).filter(|(at, _)| !is_explained(text, *at)) {
                report(at, "may find nothing: ask support::trees or support::tree, which say so");
            }
        }
    }
    assert!(seen > 200, "{seen}: the search no longer finds what it looks for");
    assert!(silent.is_empty(), "{} places:\n{}", silent.len(), silent.join("\n"));
}

/// `cargo test` passes where a filter names nothing: what `.ci/run` asks for by name is there.
#[test]
fn what_ci_asks_for_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // no gap: the package does not contain it
    let Ok(script) = fs::read_to_string(root.join(".ci/run")) else { return };
    let sources: Vec<(String, String)> =
        files().iter().map(|path| (topic(path), fs::read_to_string(path).unwrap())).collect();
    let is_there = |module: &str, start: &str| {
        let texts = sources.iter().filter(|(topic, _)| topic.rsplit('/').next() == Some(module));
        texts.map(|(_, text)| functions(text)).any(|all| all.iter().any(|(name, _)| name.starts_with(start)))
    };
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || "_:".contains(c));
    let words = script.split([' ', '(', ')', '\n']).filter(|word| is_name(word));
    let asked: Vec<(&str, &str)> = words.filter_map(|word| word.split_once("::")).collect();
    assert!(asked.len() > 5, "{asked:?}: the search no longer finds what it looks for");
    for (module, start) in asked {
        assert!(is_there(module, start), ".ci/run asks for {module}::{start}, which is no test of a test binary");
    }
}

/// The search itself finds what it should.
#[test]
fn the_search_sees() {
    let support = "pub fn missing(what: &str) {}\npub fn tool(name: &str) -> bool { missing(name); false }\n";
    let test = "fn helper() -> Option<u8> { tool(\"x\").then_some(1) }\n\
                fn a() {\n    let Some(x) = helper() else { return };\n}\n\
                fn b() {\n    let Some(x) = other() else {\n        return;\n    };\n}\n\
                fn c() {\n    if !tool(\"x\") {\n        return;\n    }\n}\n\
                fn d() {\n    if nothing {\n        return;\n    }\n}\n\
                fn e() {\n    if nothing {\n        missing(\"x\");\n        return;\n    }\n}\n\
                fn f() {\n    // no gap: it is right so\n    let Ok(x) = y() else { continue };\n}\n";
    let sources = [("support".to_owned(), support.to_owned()), ("test".to_owned(), test.to_owned())];
    let speaking = speakers(&sources);
    let heard: Vec<bool> = leavings(test)
        .into_iter()
        .map(|(at, decides)| speaks(&speaking, "test", decides) || is_explained(test, at))
        .collect();
    // let … else first: a, b, f; then c, d, e (b has a `return;` of its own, which belongs to its else).
    assert_eq!(heard, [true, false, true, true, false, true]);
}
