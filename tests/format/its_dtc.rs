//! Device tree sources beside dtc: generated trees with overrides and deletions, and the shapes of dtc's own tests. For each
//! source both make the same blob, or both refuse.

use crate::support::{self, Random, assert_same, run_ok, tempdir, tool};
use kimage::internals::dts::Source;
use kimage::internals::fdt::{Flat, Strings};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

fn compiled(path: &Path) -> Result<Vec<u8>, String> {
    let beside = |name: &str, from: &str| Path::new(from).parent().unwrap_or(Path::new("")).join(name);
    let text = fs::read(path).unwrap();
    let source = Source::parse(path.to_str().unwrap(), &text, &mut |name, from| {
        let path = beside(name, from);
        Ok((path.to_str().unwrap().to_owned(), fs::read(&path)?))
    })
    .map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    for file in source.files() {
        files.push(fs::read(beside(&file.name, &file.from)).map_err(|error| error.to_string())?);
    }
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let resolved = kimage::internals::resolved(&source, &files).map_err(|error| error.to_string())?;
    let flat = Flat::new(&resolved.root, Strings::default()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    flat.with_reservations(&resolved.reservations).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
    Ok(out)
}

/// Compiles every source by dtc, in one run of a shell; `None` where dtc refuses. The CPU that boots is left out.
fn by_dtc(dtc: &Path, dir: &Path, sources: &[String]) -> Vec<Option<Vec<u8>>> {
    for (number, source) in sources.iter().enumerate() {
        fs::write(dir.join(format!("{number}.dts")), source).unwrap();
    }
    let script = "for f in *.dts; do \"$0\" -q -q -q -I dts -O dtb -o \"${f%dts}dtb\" \"$f\" 2>/dev/null; done; true";
    run_ok(Command::new("sh").args(["-c", script]).arg(dtc).current_dir(dir));
    let read = |number| {
        let mut blob = fs::read(dir.join(format!("{number}.dtb"))).ok()?;
        blob[28..32].fill(0);
        Some(blob)
    };
    (0..sources.len()).map(read).collect()
}

/// How many of the sources both compile, and how many both refuse.
fn compare(dtc: &Path, dir: &Path, sources: &[String]) -> (usize, usize) {
    let theirs = by_dtc(dtc, dir, sources);
    let (mut same, mut refused, mut wrong) = (0, 0, Vec::new());
    for (number, (source, theirs)) in sources.iter().zip(theirs).enumerate() {
        match (compiled(&dir.join(format!("{number}.dts"))), theirs) {
            (Ok(ours), Some(theirs)) if ours == theirs => same += 1,
            (Ok(_), Some(_)) => wrong.push(format!("another blob than dtc's of:\n{source}")),
            (Err(_), None) => refused += 1,
            // dtc writes a blob without any node, which nobody can read.
            (Err(error), Some(_)) if error.contains("the root node is deleted") => refused += 1,
            (Ok(_), None) => wrong.push(format!("dtc alone refuses:\n{source}")),
            (Err(error), Some(_)) => wrong.push(format!("only dtc compiles: {error}\n{source}")),
        }
    }
    let all = wrong.len();
    wrong.sort_by_key(String::len);
    wrong.truncate(10);
    assert!(wrong.is_empty(), "{all} of {} sources: {}", sources.len(), wrong.join("\n"));
    (same, refused)
}

/// The nodes in the root, which have the labels l0, l1 ...
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "a@1", "a@2"];

/// Random trees, the same in every run.
struct Generator {
    random: Random,
    /// This source may have errors.
    wrong: bool,
    /// Labels made so far.
    labels: usize,
    /// The sources are overlays.
    plugin: bool,
}

impl Generator {
    fn rarely(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    fn wrongly(&mut self, one_in: usize) -> bool {
        self.wrong && self.rarely(one_in)
    }

    /// A label that no other thing has, rarely one that another has.
    fn new_label(&mut self) -> String {
        self.labels += 1;
        if self.wrongly(40) { self.label().to_owned() } else { format!("n{}", self.labels) }
    }

    /// References may lead nowhere, and labels and names may be there twice, but seldom.
    fn label(&mut self) -> &'static str {
        if self.plugin && self.rarely(3) {
            return self.random.one(&["x0", "x1", "__fixups__"]);
        }
        self.random.one(&["l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8", "l9"])
    }

    fn node_name(&mut self) -> &'static str {
        if self.wrongly(60) {
            return self.random.one(&["a#b", "a@1@2", "\\a", "*", "@1", "0"]);
        }
        if self.plugin && self.rarely(30) {
            return self.random.one(&["__fixups__", "__local_fixups__", "__overlay__", "fragment@0"]);
        }
        self.random.one(&["a", "b", "c", "d", "a@1", "a@2", "hash-1", "kernel-1"])
    }

    fn property_name(&mut self) -> &'static str {
        if self.wrongly(60) {
            return "p@1";
        }
        if self.rarely(30) {
            return self.random.one(&["\\p", "\\#q", "?", "1"]);
        }
        self.random.one(&["p", "q", "r", "data", "#cells", "cells", "load", "value"])
    }

    fn path(&mut self) -> String {
        match self.random.below(80) {
            0..=9 if self.plugin => "/nowhere/b".to_owned(),
            0 => "/".to_owned(),
            1 if self.wrong => "/nowhere".to_owned(),
            2..=5 => format!("/{}/", self.random.one(&["a", "b"])),
            6..=10 => {
                format!("/{}/{}", self.random.one(&["a", "b", "c"]), self.random.one(&["a", "b", "c", "d", "a@1"]))
            }
            _ => format!("/{}", self.random.one(&["a", "b", "c", "d", "e", "f", "a@1"])),
        }
    }

    fn reference(&mut self) -> String {
        if self.rarely(4) { format!("&{{{}}}", self.path()) } else { format!("&{}", self.label()) }
    }

    fn value(&mut self, references: bool) -> String {
        let mut parts = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            parts.push(match self.random.below(8) {
                0 if references => self.reference(),
                1 | 2 if references => format!("<{} {}>", self.random.below(9), self.reference()),
                3 if self.rarely(30) => format!("<{}: 1>", self.new_label()),
                4 => "[00 fF 1 2]".replace("1 2", self.random.one(&["12", "01 02", ""])),
                5 => format!("/bits/ {} <{}>", self.random.one(&["8", "16", "64"]), self.random.below(200)),
                6 => format!("\"{}\"", self.random.one(&["", "text", "t\\n\\x41\\101"])),
                _ => format!("<{} ({} + 1)>", self.random.below(1000), self.random.below(9)),
            });
        }
        parts.join(", ")
    }

    /// The name of something in a node, rarely one that is there already.
    fn fresh(
        &mut self,
        used: &mut Vec<&'static str>,
        name: impl Fn(&mut Self) -> &'static str,
    ) -> Option<&'static str> {
        let name = name(self);
        if used.contains(&name) && !self.wrongly(60) {
            return None;
        }
        used.push(name);
        Some(name)
    }

    fn property(&mut self, out: &mut String, used: &mut Vec<&'static str>, references: bool) {
        if self.rarely(6) {
            let which = self.random.one(&["phandle", "linux,phandle"]);
            let value = if self.wrongly(12) { self.random.below(3) } else { 2 + self.random.below(4000) };
            let both = used.iter().any(|name| name.ends_with("phandle")) && !self.wrongly(6);
            if let Some(which) = self.fresh(used, |_| which).filter(|_| !both) {
                let _ = write!(out, "{which} = <{value}>; ");
            }
            return; // no gap: this property is written
        }
        let Some(name) = self.fresh(used, Self::property_name) else { return }; // no gap: all names are taken
        if self.rarely(30) {
            let _ = write!(out, "{}: ", self.new_label());
        }
        let _ = match self.random.below(20) {
            0..=4 => write!(out, "/delete-property/ {name}; "),
            5 => write!(out, "{name}; "),
            _ => write!(out, "{name} = {}; ", self.value(references)),
        };
    }

    fn body(&mut self, out: &mut String, depth: usize, name: &'static str, references: bool) {
        out.push_str("{ ");
        let mut used = Vec::new();
        if self.rarely(30) {
            let name = if self.wrongly(10) { "x" } else { name.split('@').next().unwrap() };
            let _ = write!(out, "name = \"{name}\"; ");
        }
        for _ in 0..self.random.below(5) {
            self.property(out, &mut used, references);
        }
        for _ in 0..self.random.below(if depth < 3 { 4 } else { 1 }) {
            let Some(name) = self.fresh(&mut used, Self::node_name) else { continue }; // no gap: all names are taken
            if self.rarely(5) {
                let _ = write!(out, "/delete-node/ {name}; ");
                continue;
            }
            if self.rarely(8) {
                out.push_str("/omit-if-no-ref/ ");
            }
            if self.rarely(5) {
                let _ = write!(out, "{}: ", self.new_label());
            }
            let _ = write!(out, "{name} ");
            self.body(out, depth + 1, name, references);
        }
        out.push_str("};\n");
    }

    fn source(&mut self) -> String {
        (self.wrong, self.labels) = (self.rarely(3), 0);
        let references = self.rarely(2);
        let mut out = if self.plugin { "/dts-v1/;\n/plugin/;\n" } else { "/dts-v1/;\n" }.to_owned();
        if self.rarely(10) {
            out.push_str("r: /memreserve/ 0x1000 (16 * 2);\n");
        }
        // Each label once at first, at nodes of their own, so that most references lead somewhere.
        let starts_with_fragment = self.plugin && self.rarely(4);
        if starts_with_fragment {
            let _ = write!(out, "{} ", self.reference());
            self.body(&mut out, 1, "__overlay__", references);
        }
        out.push_str("/ { ");
        self.property(&mut out, &mut Vec::new(), references);
        for (label, name) in NAMES.into_iter().enumerate() {
            if !self.wrongly(20) {
                let _ = write!(out, "l{label}: {name} ");
                self.body(&mut out, 2, name, references);
            }
        }
        out.push_str("};\n");
        for _ in 0..self.random.below(5) {
            match self.random.below(12) {
                0 | 1 => {
                    let _ = writeln!(out, "/delete-node/ {};", self.reference());
                }
                2 => {
                    let _ = writeln!(out, "/omit-if-no-ref/ {};", self.reference());
                }
                3..=6 => {
                    out.push_str("/ ");
                    self.body(&mut out, 0, "", references);
                }
                _ => {
                    if self.rarely(8) {
                        let _ = write!(out, "m{}: ", self.random.below(3));
                    }
                    // What is merged into a label's node is called as that is.
                    let label = self.random.below(NAMES.len());
                    let (reference, name) = match self.rarely(3) {
                        _ if self.plugin && self.rarely(2) => (self.reference(), "__overlay__"),
                        true => (format!("&{{/{}}}", NAMES[label]), NAMES[label]),
                        false => (format!("&l{label}"), NAMES[label]),
                    };
                    let _ = write!(out, "{reference} ");
                    self.body(&mut out, 1, name, references);
                }
            }
        }
        out
    }
}

#[test]
fn two_thousand_trees_with_overrides_and_deletions() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    let mut generator = Generator { random: Random(20_230_101), wrong: false, labels: 0, plugin: false };
    let sources: Vec<String> = (0..2000).map(|_| generator.source()).collect();
    let (same, refused) = compare(&dtc, dir.path(), &sources);
    // Both kinds are there, and most are trees.
    assert!(same > 800 && refused > 200, "{same} the same, {refused} refused by both");
}

#[test]
fn overlays_with_fragments_and_fixups() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    let mut generator = Generator { random: Random(20_261_129), wrong: false, labels: 0, plugin: true };
    let sources: Vec<String> = (0..600).map(|_| generator.source()).collect();
    let (same, refused) = compare(&dtc, dir.path(), &sources);
    assert!(same > 200 && refused > 60, "{same} the same, {refused} refused by both");
}

/// mkimage takes an overlay as a FIT, and no tree whose root stays deleted: what is made of the first is the same.
#[test]
fn overlays_are_taken_as_mkimage_takes_them() {
    let (Some(mkimage), Some(_)) = (tool("mkimage", "u-boot-tools"), tool("dtc", "device-tree-compiler")) else {
        return;
    };
    let layout = support::mkimage_layout(&mkimage);
    let dir = tempdir();
    let image = "description = \"k\"; data = [00]; type = \"kernel\"; arch = \"arm\"; os = \"linux\"; \
                 compression = \"none\"; load = <0>; entry = <0>; r = <&other 1 &k>;";
    let tree = format!(
        "/ {{ description = \"x\"; images {{ k: k {{ {image} }}; }}; configurations {{ default = \"c\"; \
         c {{ kernel = \"k\"; }}; }}; }};\n"
    );
    for (number, (source, taken)) in [
        (format!("/plugin/;\n{tree}&other {{ p; }};\n&{{/soc}} {{ q = <&k>; }};\n"), true),
        (format!("{tree}&other {{ p; }};\n"), false),
        (format!("/plugin/;\n{tree}/delete-node/ &{{/}};\n"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let (its, theirs, ours) = (format!("{number}.its"), format!("{number}.theirs"), format!("{number}.ours"));
        fs::write(dir.path().join(&its), format!("/dts-v1/;\n{source}")).unwrap();
        let run = |command: &mut Command| support::run(command.env("SOURCE_DATE_EPOCH", "1").current_dir(dir.path()));
        run(Command::new(&mkimage).args(["-f", &its, &theirs]));
        let our_run = run(support::kimage().args(["fit", &its, "-q", "--force", "--layout", &layout, "-o", &ours]));
        assert_eq!(our_run.status.success(), taken, "{}", support::stderr(&our_run));
        let theirs = fs::read(dir.path().join(theirs)).ok();
        assert_eq!(theirs.is_some(), taken, "{source}");
        if let Some(theirs) = theirs {
            assert_same(&source, &support::read(&dir.path().join(ours)), &theirs);
        }
    }
}

/// dtc's own tests, in shapes of our own: what each is about, and the source.
#[test]
fn shapes_of_the_tests_of_dtc() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    fs::write(dir.path().join("bytes"), [1, 2, 3, 0, 255]).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/bytes"), [9]).unwrap();
    fs::write(dir.path().join("sub/part.dtsi"), "i { data = /incbin/(\"bytes\"); };\n").unwrap();
    fs::write(dir.path().join("head.dtsi"), "/dts-v1/;\n/memreserve/ 1 2;\n").unwrap();
    fs::write(dir.path().join("property.dtsi"), "p = <1>").unwrap();
    fs::write(dir.path().join("no-newline.dtsi"), "/ { q; };").unwrap();
    fs::write(dir.path().join("back\\slash"), "/ { b; };\n").unwrap();
    let bodies = [
        // Names.
        "/ { \\a = <1>; \\#b; \\n { }; /delete-property/ \\c; };",
        "/ { a@1 { }; };",
        "/ { p@1; };",
        "/ { a#b { }; };",
        "/ { a@1@2 { }; };",
        "/ { @1 { }; };",
        "/ { *; };",
        "/ { 1 { 2; }; };",
        "/ { a { name = \"a\"; b@1 { name = \"b\"; }; }; };",
        "/ { a { name = \"b\"; }; };",
        "/ { a@1 { name = \"a@1\"; }; };",
        "/ { a { name = <1>; }; };",
        "/ { a { name; }; };",
        "/ { name = \"\"; };",
        "/ { a { name = \"a\\0\"; }; };",
        "/ { a { name = \"x\"; /delete-property/ name; }; };",
        "/ { x: a { name = \"x\"; }; };\n&x { /delete-property/ name; };",
        "/ { x: a { name = \"a\"; }; };\n&x { /delete-property/ name; };",
        "/ { x: a { l: name = \"a\"; }; l: b { }; };",
        // Nodes and properties that are there twice.
        "/ { a { }; a { }; };",
        "/ { a { }; };\n/ { a { }; a { p; }; };",
        "/ { p; p = <1>; };",
        "/ { p; };\n/ { p = <1>; p = <2>; };",
        "/ { a { }; p; };",
        "/ { /delete-node/ a; p; };",
        "/ { /delete-node/ a; /delete-property/ p; };",
        // Deletions where there is nothing to override.
        "/ { p; /delete-property/ p; };",
        "/ { /delete-property/ p; p; };",
        "/ { a { }; /delete-node/ a; };",
        "/ { /delete-node/ a; a { }; };",
        "/ { /delete-property/ p; p; };\n/ { p = <1>; };",
        "/ { /delete-property/ p; };\n/ { q; p = <1>; };",
        "/ { /delete-node/ a; b { }; };\n/ { a { x; }; };",
        "/ { };\n/ { a { /delete-property/ p; p; q; /delete-property/ q; }; };",
        // Deletions and what is set again: the old place.
        "/ { p = \"1\"; q = \"2\"; a { }; b { }; };\n/ { /delete-property/ p; /delete-node/ a; };\n/ { p = \"3\"; a { z; }; };",
        "/ { a { p; b { q; c { r; }; }; }; };\n/ { a { /delete-property/ p; b { /delete-node/ c; }; }; };",
        "/ { x: a { y: b { p; }; }; };\n/delete-node/ &x;\n/ { a { q; }; };",
        "/ { x: a { y: b { p; }; }; };\n/delete-node/ &x;\n/ { a { b { }; }; };\n&y { };",
        "/ { x: a { y: b { p; }; }; };\n/delete-node/ &x;\n/ { a { y: b { }; }; };\n&y { z; };",
        "/ { x: a { }; };\n/delete-node/ &x;\n&x { };",
        "/ { x: a { }; };\n/delete-node/ &x;\n/ { x: b { }; };\n&x { p; };",
        "/ { x: a { }; };\n/delete-node/ &x;\n/ { r = <&x>; };",
        "/ { x: a { }; };\n/ { /delete-node/ x; };",
        "/ { a; };\n/delete-node/ &{/};\n/ { b; };",
        "/ { l: p; };\n/ { /delete-property/ p; };\n/ { l: q; };",
        "/ { l: p; };\n/ { /delete-property/ p; };\n/ { l: p; };",
        "/ { a { }; };\n/ { x: /delete-node/ a; };\n/ { x: b { }; };",
        // Overrides.
        "/ { x: a { }; };\ny: &x { p; };\n&y { q; };",
        "/ { x: a { }; };\ny: z: &x { p; };",
        "/ { x: a { }; };\ny: &{/a} { p; };\n/ { r = <&y>, &y; };",
        "/ { };\nx: / { };",
        "/ { x: a { }; };\ny: /delete-node/ &x;",
        "/ { a { b { }; }; };\n&{/a/b} { p; };\n&{/a/b/} { q; };\n&{//a//b} { r; };\n&{/} { s; };",
        "/ { a { }; };\n&{/a//} { };",
        "/ { };\n&{/nowhere} { };",
        "&x { };\n/ { x: a { }; };",
        "/ { a@1 { }; };\n&{/a} { };",
        "x: / { };",
        "/ { x: y: a { }; };\n&y { x: z: b { }; };",
        "/ { x: a { }; y: b { }; };\nx: &y { };",
        "/ { x: a { }; y: b { }; };\nx: &y { };\n/delete-node/ &x;\n",
        // Labels.
        "/ { x: a { }; x: b { }; };",
        "/ { x: a { }; x: p; };",
        "/ { x: p; x: q; };",
        "/ { x: p = x: <1>; };",
        "/ { p = x: <1 x: 2>; };",
        "/ { p = x: <1>; x: a { }; };",
        "/ { p = <x: 1>, \"s\" x:, [x2: 00 y:], <y2:>; };",
        "/ { x: x: a { }; };",
        "/ { x: x: p; };",
        "/ { x: };",
        "x: y: /memreserve/ 1 2;\n/ { x: a { }; };",
        "/ { p = <&x>; };\n/ { x: q; };",
        "/ { x: q; };\n&x { };",
        "/ { 1x: a { }; };",
        "/ { x : a { }; };",
        // Phandles.
        "/ { a { phandle = <1>; }; b { phandle = <1>; }; };",
        "/ { a { phandle = <0>; }; };",
        "/ { a { phandle = <0xffffffff>; }; };",
        "/ { a { phandle = <1 2>; }; };",
        "/ { a { phandle; }; };",
        "/ { a { phandle = [00 00 00 05]; }; x: b { phandle = \"abc\"; }; r = <&x>; };",
        "/ { a { linux,phandle = <0x2000>; }; r = <&{/a}>; };",
        "/ { a { linux,phandle = <1>; phandle = <1>; }; r = <&{/a}>; };",
        "/ { a { linux,phandle = <1>; phandle = <2>; }; };",
        "/ { x: a { phandle = <&x>; }; y: b { linux,phandle = <&y>; }; };",
        "/ { x: a { phandle = <&x>; linux,phandle = <7>; }; };",
        "/ { x: a { phandle = <&y>; }; y: b { }; };",
        "/ { x: a { phandle = <&nowhere>; }; };",
        "/ { x: a { phandle = &x; }; };",
        "/ { y: b { z: c { }; }; x: a { r = <&x &z &y>; }; d { phandle = <2>; }; };",
        "/ { x: a { }; r = <&x>; };\n&x { phandle = <5>; };\n&x { /delete-property/ phandle; };",
        // References.
        "/ { x: a { c { }; }; r = <&{/a/c}>, &{/a}, &x, &{/}; };",
        "/ { r = <&{/nowhere}>; };",
        "/ { r = &nowhere; };",
        "/ { r = <&{ /a}>; a { }; };",
        "/ { r = <&{/a }>; a { }; };",
        "/ { r = <& a>; a: a { }; };",
        "/ { r = /bits/ 64 <&a>; a: a { }; };",
        // What may be left out.
        "/ { /omit-if-no-ref/ x: a { }; /omit-if-no-ref/ y: b { }; r = <&x>; };",
        "/ { x: /omit-if-no-ref/ a { }; /omit-if-no-ref/ y: b { }; r = &y; };",
        "/ { x: a { y: b { }; }; r = <&y>; };\n/omit-if-no-ref/ &x;",
        "/ { x: a { r = <&y>; }; y: b { }; };\n/omit-if-no-ref/ &x;\n/omit-if-no-ref/ &{/b};",
        "/ { a { }; };\n/ { /omit-if-no-ref/ a { p; }; };",
        "/ { /omit-if-no-ref/ p; };",
        "/ { /omit-if-no-ref/ /delete-node/ a; };",
        "/ { };\n/omit-if-no-ref/ &nowhere;",
        // Numbers.
        "/ { a = <08>; };",
        "/ { a = <0x>; };",
        "/ { a = <1U2 3UL4ULL5>; };",
        "/ { a = <1u>; };",
        "/ { a = <1LU>; };",
        "/ { a = <l1:1l2:2>; };",
        "/ { a = <1x:2>; };",
        "/ { a = <0x1g>; };",
        "/ { a = <00 01 017>; };",
        "/ { a = /bits/ 64 <18446744073709551615>; };",
        "/ { a = /bits/ 64 <18446744073709551616>; };",
        "/ { a = /bits/ (8) <1>; };",
        "/ { a = /bits/ 0x10 <1>; };",
        "/ { a = /bits/ 8<0xff (-1) 'a'>; };",
        "/ { a = /bits/ 8 <(-256)>; };",
        "/ { a = <(2 > 1)>; b = <1 > ; c = <(1>>1)>; };",
        "/ { a = <<1>; };",
        "/ { a = <1>>; };",
        "/ { a = <-1>; };",
        "/ { a = <(1 ? 2)>; };",
        "/ { a = <(0 ?: 1)>; };",
        "/ { a = <(1 ? 2 : 3 ? 4 : 5) (1 ? 0 ? 6 : 7 : 8)>; };",
        "/ { a = <(1 % 0)>; };",
        "/ { a = <(1 - -1) (- - 1) (!!5) (~~5) (1 + (2))>; };",
        "/ { a = <(1 && 2 || 0) (0 || 0) (5 & 6 == 6) (1 | 2 ^ 3)>; };",
        // Characters and strings.
        "/ { a = <'a' '\\n' '\\0' '\\x41' '\\''>; };",
        "/ { a = <'\\\\'>; };",
        "/ { a = <'\\\\' 'a'>; };",
        "/ { a = <''>; };",
        "/ { a = <'ab'>; };",
        "/ { a = <'\\'>; };",
        "/ { a = /bits/ 'a' <1>; };",
        "/ { a = \"\\777\\400\\18\"; };",
        "/ { a = \"\\x\"; };",
        "/ { a = \"\\xg\"; };",
        "/ { a = \"two\nlines\"; };",
        "/ { a = \"two\\\nlines\"; };",
        "/ { a = \"a\\0b\", \"\"; };",
        "/ { a = \"/* no comment */ // nor this\"; };",
        "/ { a = \"x\" \"y\"; };",
        "/ { a = ; };",
        "/ { a = <1>, ; };",
        "/ { a = x: ; };",
        // Byte strings.
        "/ { a = [0]; };",
        "/ { a = [012]; };",
        "/ { a = [ab: 00 cd:ef]; };",
        "/ { a = [00 /* c */ 11 // d\n 22]; };",
        "/ { a = [<1>]; };",
        // Comments, line marks and white space.
        "/ { }; // the end",
        "/ { }; /* the end",
        "/**/ / /***/ { /* ** / */ a /**/ ; } ; // x\n",
        "/\u{b}{\u{c}a\u{b}=\u{b}<1>\u{b};\u{b}}\u{b};",
        "/ {\n# 5 \"x.dts\"\n#line 6 \"y\" 1 2\n# 7 \"z\" a;\n};",
        "/ {\n#line-cells = <1>;\n#l;\n};",
        "/ {\n# 5\n};",
        "/ {\n#line 5\n};",
        "# 5 \"x\\0y\"\n/ { };",
        "# 5 \"x\\x00y\"\n/ { };",
        "# 5 \"x\\x01y\\001\"\n/ { };",
        "/ {\n #line 5 \"x\"\n};",
        // Order of the parts.
        "/ { };\n/memreserve/ 1 2;",
        "/memreserve/ 1 2;\n/dts-v1/;\n/ { };",
        "/dts-v1/;\n/ { };",
        "/ { };\n/dts-v1/;",
        "/memreserve/ 1;\n/ { };",
        "/memreserve/ 1-2;\n/ { };",
        "/memreserve/ (1) (2);\n/memreserve/ 'a' 0x10;\n/ { };",
        "/ { }",
        "/ { a { } };",
        "/ { };;",
        "/ { ; };",
        "",
        // Overlays.
        "/plugin/;\n/ { };",
        "/plugin/;\n/dts-v1/;\n/plugin/;\n/ { };",
        "/plugin/;\n/dts-v1/;\n/ { };",
        "/plugin/;\n/plugin/;\n/ { };",
        "/dts-v1/;\n/plugin/;\n/ { };",
        "/ { };\n/plugin/;",
        "/plugin/;\n/memreserve/ 1 2;\n&a { };\n/ { };",
        "/plugin/;\n&a { p = <&b &a>, <&c>; };\n&{/b} { q = <&a>; };",
        "/plugin/;\nx: &a { };",
        "/plugin/;\n&a { };\nx: &a { };",
        "/plugin/;\n/ { a: a { }; };\nx: &a { p; };\n&a { q = <&x>; };\nx: &{/a} { r; };\n&{/a} { s; };",
        "/plugin/;\n/ { r = <1 &a 2 &b>, \"ab\", <&a>; a: a { t = <&a &b>; }; };",
        "/plugin/;\n/ { r = &b; };",
        "/plugin/;\n/ { r = &a, <&a>, <&b>; a: a { }; };",
        "/plugin/;\n/ { a { phandle = <&b>; }; };",
        "/plugin/;\n/ { b: a { phandle = <&b>; }; };",
        "/plugin/;\n/ { r = <&{/nowhere}>; };",
        "/plugin/;\n/ { r = [00 01], <&b>; s = /incbin/(\"bytes\"), <&b>; };",
        "/plugin/;\n&a { };\n/ { fragment@0 { target = <5>; }; fragment@1 { }; };\n&b { };",
        "/plugin/;\n/delete-node/ &a;\n/ { };",
        "/plugin/;\n/ { };\n/delete-node/ &a;",
        "/plugin/;\n/ { /omit-if-no-ref/ x: a { r = <&b>; y: b { s = <&x>; }; }; t = <&y>; };",
        "/plugin/;\n/ { /omit-if-no-ref/ x: a { r = <&b>; y: b { }; }; t = <&y>; };",
        "/plugin/;\n/ { b = <&b>; __fixups__ { b = \"x\"; }; __local_fixups__ { b = <&a>; a: a { }; }; c = <&a>; };",
        "/plugin/;\n/ { __fixups__ { b = <&b>; c = <&b>; }; };",
        "/plugin/;\n/ { a { name = \"a\"; r = <&b>; }; };",
        // Files.
        "/ { a = /incbin/(\"bytes\"), /incbin/(\"bytes\", 1, 2), /incbin/(\"bytes\", 5, 0); };",
        "/ { a = /incbin/(\"bytes\", 1); };",
        "/ { a = /incbin/(\"missing\"); };",
        "/ { /include/ \"sub/part.dtsi\" j { data = /incbin/(\"bytes\"); }; };",
        "/include/ \"head.dtsi\"\n/ { };",
        "/ { /include/ \"property.dtsi\"; a { /include/\"property.dtsi\" ; }; };",
        "/ { };\n/include/ \"no-newline.dtsi\"",
        "/ { };\n/include/ \"back\\slash\"",
        "/include/ \"missing\"\n/ { };",
    ];
    let sources: Vec<String> = bodies.iter().map(|body| format!("/dts-v1/;\n{body}\n")).collect();
    // The same without a line's end behind them, where one might be asked for.
    let sources: Vec<String> =
        sources.iter().cloned().chain(["/dts-v1/; / { }; // x".to_owned(), "/dts-v1/; / { };".to_owned()]).collect();
    let (same, refused) = compare(&dtc, dir.path(), &sources);
    assert!(same > 60 && refused > 60, "{same} the same, {refused} refused by both");
}

/// dtc 1.6.1 has no references of a label and a path; 1.7 takes them for the node that the path alone names.
#[test]
fn label_and_path() {
    let dir = tempdir();
    let source = |override_, reference: &str| {
        format!("/dts-v1/;\n/ {{ r = <{reference}>; x: a {{ b {{ }}; }}; }};\n{override_} {{ p; }};\n")
    };
    let file = dir.path().join("a.dts");
    fs::write(&file, source("&{x/b}", "&{x/b}")).unwrap();
    let ours = compiled(&file).unwrap();
    fs::write(&file, source("&{/a/b}", "&{/a/b}")).unwrap();
    assert_same("label and path", &ours, &compiled(&file).unwrap());
    for bad in ["&{x/c}", "&{y/b}", "&{1/b}", "&{x,y/b}", "&{}"] {
        fs::write(&file, source("&{/a}", bad)).unwrap();
        assert!(compiled(&file).is_err(), "{bad}");
    }
}

/// Folders for files that a source names: its own first, then those given, in their order, for text and bytes alike.
#[test]
fn search_paths() {
    let dtc = tool("dtc", "device-tree-compiler");
    let (Some(mkimage), true) = (tool("mkimage", "u-boot-tools"), dtc.is_some()) else { return };
    let layout = support::mkimage_layout(&mkimage);
    let dir = tempdir();
    for (name, text) in [
        ("src/a.its", "/dts-v1/;\n/ { description = \"x\"; images { /include/ \"k.dtsi\" }; };\n"),
        ("src/near", "near in src"),
        ("one/near", "near in one"),
        ("one/k.dtsi", "k { data = /incbin/(\"near\"), /incbin/(\"far\"), /incbin/(\"sub/x\"); };\n"),
        ("two/k.dtsi", "wrong"),
        ("two/far", "far in two"),
        ("one/sub/x", "x in one"),
        ("two/sub/x", "x in two"),
    ] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let both = |folders: &[&str]| {
        let mut command = Command::new(&mkimage);
        let options = format!("-I dts -O dtb {}", folders.iter().map(|dir| format!("-i {dir} ")).collect::<String>());
        command.env("SOURCE_DATE_EPOCH", "1").current_dir(dir.path()).args(["-D", options.trim(), "-f", "src/a.its"]);
        let _ = fs::remove_file(dir.path().join("theirs.itb"));
        support::run(command.arg("theirs.itb"));
        let mut command = support::kimage();
        command.env("SOURCE_DATE_EPOCH", "1").current_dir(dir.path());
        command.args(["fit", "src/a.its", "-q", "--layout", &layout, "-o", "ours.itb"]);
        let ours = support::run(command.args(folders.iter().flat_map(|dir| ["-i", dir])));
        (fs::read(dir.path().join("theirs.itb")).ok(), ours)
    };
    for folders in [&["one", "two"][..], &["empty", "one", "two"], &["one/", "./two"]] {
        let (theirs, ours) = both(folders);
        assert!(ours.status.success(), "{folders:?}: {}", support::stderr(&ours));
        assert_same(&format!("{folders:?}"), &support::read(&dir.path().join("ours.itb")), &theirs.unwrap());
    }
    for folders in [&[][..], &["one"], &["two", "one"]] {
        let (theirs, ours) = both(folders);
        assert!(theirs.is_none() && ours.status.code() == Some(1), "{folders:?}");
    }
}
