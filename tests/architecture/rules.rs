//! The registry of rules: every finding is of a rule in it, and each id stands once.

use crate::support;
use kimage::report::rules;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn texts(folder: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() && !path.ends_with("bootstub") {
            texts(&name, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn ids_are_unique_and_of_one_style() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.id), "{} stands twice", rule.id);
        let (format, what) = rule.id.split_once('.').unwrap_or_else(|| panic!("{} has no dot", rule.id));
        let is_word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        assert!(is_word(format) && is_word(what), "{}: lower case, digits and underscores, one dot", rule.id);
        assert!(!rule.what.is_empty() && !rule.consequence.is_empty(), "{} has no text", rule.id);
        let text = [rule.what, rule.consequence, rule.help].concat();
        assert!(!text.contains('\n') && !text.contains("  "), "{}: lines or spaces in its text", rule.id);
    }
}

/// The macro alone makes rules, and puts them into a list; each list is one of the registry's.
#[test]
fn no_finding_is_made_beside_the_registry() {
    let (mut sources, mut declared) = (Vec::new(), BTreeMap::new());
    texts("src", &mut sources);
    for (name, text) in &sources {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let by_hand = |line: &&str| {
            let built = |word: &str| {
                line.split(word).nth(1).is_some_and(|rest| !rest.trim().is_empty() && !rest.contains(".."))
            };
            built("= Rule {") || built(" Finding { rule")
        };
        let found = code.lines().filter(|line| !line.trim_start().starts_with("let Finding")).find(by_hand);
        assert!(name == "src/finding.rs" || found.is_none(), "{name} makes a rule or a finding by hand: {found:?}");
        for block in text.split("rules! {").skip(1) {
            let block = block.split("\n}").next().unwrap_or_default();
            for line in block.lines().filter(|line| line.contains(" = \"")) {
                let id = line.split('"').nth(1).unwrap_or_default();
                declared.insert(id.to_owned(), name.clone());
            }
        }
    }
    let listed: BTreeSet<&str> = rules().map(|rule| rule.id).collect();
    let lost: Vec<_> = declared.iter().filter(|(id, _)| !listed.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "not in report::rules(): {lost:?}");
    assert_eq!(declared.len(), listed.len());
}

/// Rules of the command itself, which says them in words: with the test that reads those.
const PROVOKED_BY_TEXT: &[(&str, &str)] = &[
    ("codec.trailer", "the_command_reports_what_follows_the_stream"),
    ("codec.trailing", "the_command_reports_what_follows_the_stream"),
    ("output.owner", "owner_and_permissions_of_the_old_file"),
    ("uki.pcrpkey", "values_that_are_signed"),
];

/// A rule that no test names may never fire, or fire at what is whole. Those of `verify` and of the builders are held to files with
/// one change: tests/inspect/provoked, tests/assemble/provoked.rs.
#[test]
fn every_rule_is_provoked_by_a_test() {
    let mut tests = Vec::new();
    texts("tests", &mut tests);
    tests.retain(|(name, _)| !name.ends_with("architecture/rules.rs"));
    let named = |id: &str| {
        tests.iter().any(|(_, text)| text.contains(&format!("\"{id}\"")) || text.contains(&format!("[{id}]")))
    };
    let by_text = |id: &str| PROVOKED_BY_TEXT.iter().any(|(rule, _)| *rule == id);
    let lost: Vec<&str> = rules().map(|rule| rule.id).filter(|id| !named(id) && !by_text(id)).collect();
    assert!(lost.is_empty(), "no test names {} rules: {lost:#?}", lost.len());
    for (id, test) in PROVOKED_BY_TEXT {
        assert!(tests.iter().any(|(_, text)| text.contains(&format!("fn {test}("))), "{id}: there is no test {test}");
    }
}

#[test]
fn explain_prints_the_registry() {
    let all = support::stdout(&support::run_ok(support::kimage().arg("explain")));
    for rule in rules() {
        assert!(all.lines().any(|line| line.starts_with(&format!("{} ", rule.id))), "{}", rule.id);
    }
    let one = support::stdout(&support::run_ok(support::kimage().args(["explain", "bzimage.init_size"])));
    assert!(one.starts_with("bzimage.init_size (error)\n") && one.contains("means"), "{one}");
}
