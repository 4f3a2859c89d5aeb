//! No file of the sources names, by way of others, itself.

use crate::layers::{code, sources, src};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The path of a module: `["elf", "strip"]`; the binary's begin with `bin`, to which its `crate` leads.
type Module = Vec<String>;

fn module_of(path: &Path) -> Module {
    let inside = path.strip_prefix(src()).unwrap().with_extension("");
    let mut parts: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Every path in `text` that begins with `crate`, `super` or `self`, its groups taken apart, as words.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    for (at, _) in text.match_indices("::") {
        let start = text[..at].rfind(|char| !is_word(char)).map_or(0, |before| before + 1);
        let is_first = !text[..start].ends_with("::");
        if is_first && matches!(&text[start..at], "crate" | "super" | "self") {
            tails(&text[start..], Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one path, or one entry of a group, and gives what is left behind it.
fn tails<'t>(text: &'t str, mut lead: Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            loop {
                rest = tails(rest, lead.clone(), found).trim_start();
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => return rest.strip_prefix('}').unwrap_or(rest),
                }
            }
        }
        let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
        if end > 0 {
            lead.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) if end > 0 => rest = more,
            _ => break,
        }
    }
    found.push(lead);
    // `as name` is no part of it.
    let end = rest.find([',', '}', ';', '(']).unwrap_or(rest.len());
    &rest[end..]
}

/// The modules, other than its own and those around it, that the text of the module `own` names.
fn named(own: &Module, text: &str, all: &BTreeSet<Module>) -> BTreeSet<Module> {
    let root: &[String] = match own.first().map(String::as_str) {
        Some("bin") => &own[..2.min(own.len())],
        _ => &[],
    };
    let is_child = |word: &str| all.contains(&[own.as_slice(), &[word.to_owned()]].concat());
    let mut paths = paths(text);
    // A module's own children, by their names alone.
    let words = text.split(|char: char| !char.is_alphanumeric() && char != '_' && char != ':');
    let children = words.filter_map(|word| word.split_once("::")).filter(|(first, _)| is_child(first));
    paths.extend(children.map(|(first, _)| vec!["self".to_owned(), first.to_owned()]));
    let mut found = BTreeSet::new();
    for path in paths {
        let mut at: Module = own.clone();
        let mut words = path.iter().peekable();
        while let Some(word) = words.peek() {
            match word.as_str() {
                "crate" => at = root.to_vec(),
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            words.next();
        }
        for word in words {
            let next = [at.as_slice(), std::slice::from_ref(word)].concat();
            if !all.contains(&next) {
                break;
            }
            at = next;
        }
        if all.contains(&at) && !own.starts_with(&at) {
            found.insert(at);
        }
    }
    found
}

/// Where one can come back to from `start`: the way there and back, if there is one.
fn circle(start: &Module, arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut ahead = vec![start];
    while let Some(at) = ahead.pop() {
        for next in arrows.get(at).into_iter().flatten() {
            if next == start {
                let mut way = vec![start.join("/"), at.join("/")];
                let mut back = at;
                while back != start {
                    back = came_from[back];
                    way.push(back.join("/"));
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                ahead.push(next);
            }
        }
    }
    None
}

#[test]
fn no_file_names_itself_by_way_of_others() {
    let files = sources(&src());
    let all: BTreeSet<Module> = files.iter().map(|path| module_of(path)).collect();
    let arrows: BTreeMap<Module, BTreeSet<Module>> =
        files.iter().map(|path| (module_of(path), named(&module_of(path), &code(path), &all))).collect();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 300, "the test reads no imports");
    let circles: Vec<_> = arrows.keys().filter_map(|module| circle(module, &arrows)).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// The test above would be worthless if it could not see.
#[test]
fn the_test_sees_every_way_of_naming() {
    let all: BTreeSet<Module> = ["a", "a/b", "a/c", "a/c/d", "e", "bin/x", "bin/x/f", "bin/x/g"]
        .map(|path| path.split('/').map(str::to_owned).collect())
        .into();
    let see = |own: &str, text: &str| -> Vec<String> {
        let own: Module = own.split('/').map(str::to_owned).collect();
        named(&own, text, &all).iter().map(|module| module.join("/")).collect()
    };
    assert_eq!(see("a/b", "use super::c::Thing;"), ["a/c"]);
    assert_eq!(see("a/b", "use super::{Own, c::{self, d::D}};\nuse crate::e;"), ["a/c", "a/c/d", "e"]);
    assert_eq!(see("a/c/d", "super::super::b::call(); let x: crate::e::E;"), ["a/b", "e"]);
    assert_eq!(see("a", "mod b;\npub use c::Thing;\nb::call();"), ["a/b", "a/c"]);
    assert_eq!(see("bin/x/f", "use crate::g::{self, G as H};"), ["bin/x/g"]);
    assert!(see("a/c/d", "use super::Around; use super::super::More; other::b::c(); supers::b::c()").is_empty());
    let arrows = [("a/b", "a/c"), ("a/c", "e"), ("e", "a/b"), ("a", "a/b")];
    let module = |path: &str| -> Module { path.split('/').map(str::to_owned).collect() };
    let arrows = arrows.map(|(from, to)| (module(from), BTreeSet::from([module(to)]))).into();
    assert_eq!(circle(&module("a/b"), &arrows).unwrap(), ["a/b", "a/c", "e", "a/b"]);
    assert_eq!(circle(&module("a"), &arrows), None);
}
