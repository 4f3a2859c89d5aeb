//! Every rule of `kimage verify` has a file that breaks it and no other: a whole file, and one change of it. What the changed
//! field should be is the format's specification's word.

mod across; // a kernel held against another, the layers of a file, sums and signatures
mod containers; // Image, zboot, uImage, device tree, FIT
mod disk; // partition tables, FATs, CDs, and what starts from them
mod pe; // the EFI side of an image, and other EFI programs
mod x86; // bzImage and the kernel in it

use kimage::inspect::verify::verify;
use kimage::inspect::{Limits, open};
use std::collections::BTreeSet;

type Rules = BTreeSet<&'static str>;

/// What `verify` reports.
fn rules(bytes: &[u8]) -> Rules {
    let opened = open(bytes, &Limits::default()).unwrap();
    verify(&opened).findings.into_iter().map(|found| found.finding.rule).collect()
}

/// A rule, and the changes of the whole file that break it.
type Case<'c> = (&'static str, &'c [(usize, &'c [u8])]);

/// Each case adds its rule to what is reported of the whole file, and no other rule.
#[track_caller]
fn each_breaks_one_rule(what: &str, whole: &[u8], expected: &[&'static str], cases: &[Case<'_>]) {
    let before = rules(whole);
    assert_eq!(before, expected.iter().copied().collect(), "{what}, whole");
    let mut wrong = Vec::new();
    for (rule, changes) in cases {
        let mut changed = whole.to_vec();
        for (at, bytes) in *changes {
            changed[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        let added: Vec<&str> = rules(&changed).difference(&before).copied().collect();
        if added != [*rule] {
            wrong.push(format!("{changes:x?}: found {added:?}, wanted {rule}"));
        }
    }
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}

/// The same for a file that is longer or shorter, or another.
#[track_caller]
fn breaks(rule: &'static str, whole: &[u8], changed: &[u8]) {
    let before = rules(whole);
    let added: Vec<&str> = rules(changed).difference(&before).copied().collect();
    assert!(added == [rule] && !before.contains(rule), "{rule}: found {added:?} beside {before:?}");
}
